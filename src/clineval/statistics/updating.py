"""Updating a frozen model on labelled cases of one site, and what each step of it buys."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from clineval.statistics.counts import Bools, Floats, checked_risks, flagged, group_codes
from clineval.statistics.intervals import Estimate, percentile_interval, undefined
from clineval.statistics.local_cases import local_threshold
from clineval.statistics.logistic_fit import fit_logistic
from clineval.statistics.recalibration import Recalibration, fit_intercept, fit_platt, learnable
from clineval.statistics.resampling import Units, resampling_units, shared_groups
from clineval.statistics.scores import surprise

# From the smallest change to the largest; the last two find their own size.
STEPS = ("nothing", "threshold", "intercept", "intercept_slope", "shrunken", "closed_testing")


@dataclass(frozen=True)
class Update:
    """A frozen model as changed for one site: its recalibration, None for none, and its threshold.

    ``step`` is the step asked for, ``taken`` the one that came of it.
    """

    step: str
    taken: str
    recalibration: Recalibration | None
    threshold: float

    def apply(self, risk: ArrayLike) -> Floats:
        """The updated risks, shape (n,), of cases to which the frozen model gives these risks."""
        if self.recalibration is None:
            return np.asarray(risk, dtype=np.float64)
        return self.recalibration.apply(risk)


def fit_update(
    outcome: ArrayLike,
    risk: ArrayLike,
    step: str,
    *,
    threshold: float,
    fitted_on: str,
    target: float = 0.9,
    assurance: float | None = None,
    group: ArrayLike | None = None,
    alpha: float = 0.05,
) -> Update:
    """The frozen model with one step of updating, fitted on all the local cases given.

    Parameters
    ----------
    outcome, risk, group : shape (n,), local cases; ``risk`` is the frozen model's.
    step : ``"nothing"``; ``"threshold"``, set anew for the ``target`` sensitivity, the risks unchanged;
        ``"intercept"`` or ``"intercept_slope"``, the risks recalibrated and the threshold kept;
        ``"shrunken"``, intercept and slope drawn towards no change by the factor 1 - 2 / statistic of
        ``closed_testing``, not below 0; ``"closed_testing"``, the step that ``closed_testing`` chooses.
    threshold : the frozen model's, on its risks.
    assurance : of the step ``"threshold"``, as in ``local_cases.local_threshold``.
    fitted_on : the site's name, kept in the record.
    alpha : significance level of the closed testing.

    Raises
    ------
    ValueError
        Where the step cannot be fitted: one class absent, risks that separate the classes or do not rise
        with the outcome.

    Notes
    -----
    Steyerberg et al. 2004, doi:10.1002/sim.1844; the shrinkage factor is theirs, after Van Houwelingen and
    Le Cessie 1990, doi:10.1002/sim.4780091109. Recalibration keeps the order of risks: with a threshold
    set locally after it, the cases flagged are those that ``"threshold"`` flags.
    """
    if step not in STEPS:
        raise ValueError(f"Expected a step of {', '.join(STEPS)}; got {step!r}.")
    outcome, risk = checked_risks(outcome, risk)
    if step == "threshold":
        own = local_threshold(outcome, risk, target=target, assurance=assurance)
        return Update(step, step, None, own)
    taken, kept = step, 1.0
    if step in ("shrunken", "closed_testing"):
        test = closed_testing(outcome, risk, group=group, alpha=alpha)
        taken, kept = (test.chosen, 1.0) if step == "closed_testing" else _shrinkage(test.statistic[0])
    if taken == "nothing":
        return Update(step, taken, None, threshold)
    fit = fit_intercept if taken == "intercept" else fit_platt
    full = fit(outcome, risk, fitted_on=fitted_on)
    shrunken = replace(full, intercept=kept * full.intercept, slope=1 + kept * (full.slope - 1))
    return Update(step, taken, full if kept == 1 else shrunken, threshold)


@dataclass(frozen=True)
class ClosedTest:
    """Which update the local cases call for, by likelihood-ratio tests of smaller against the largest.

    ``statistic``, ``p_value`` and ``design_effect`` have two entries, no change (2 degrees of freedom) and
    the intercept alone (1), each against intercept and slope; ``log_likelihood`` has all three in that
    order. A statistic is the likelihood ratio over the design effect, which is 1 for independent cases.
    """

    chosen: str
    log_likelihood: tuple[float, float, float]
    statistic: tuple[float, float]
    p_value: tuple[float, float]
    design_effect: tuple[float, float]
    alpha: float


def closed_testing(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, alpha: float = 0.05
) -> ClosedTest:
    """The smallest update that these cases do not reject: nothing, the intercept, or intercept and slope.

    Parameters
    ----------
    outcome, risk, group : shape (n,); risks of the frozen model.
    alpha : level of each test, and of the procedure: so often a model that needs no update is changed.

    Notes
    -----
    Vergouwe et al. 2017, doi:10.1002/sim.7179, without their refitted model. Where groups join cases the
    likelihood ratio is divided by the mean ratio of clustered to plain variance, never below 1 (Rao and
    Scott 1984, doi:10.1214/aos/1176346391).
    """
    outcome, risk = checked_risks(outcome, risk)
    fits = [fit(outcome, risk, fitted_on="local") for fit in (fit_intercept, fit_platt)]
    risks = [risk, *(each.apply(risk) for each in fits)]
    nothing, intercept, both = (-float(surprise(outcome, each).sum()) for each in risks)
    effect = _design_effects(outcome, risk, shared_groups(group, len(outcome)))
    # Rounding can leave a ratio of -1e-14 where there is nothing to gain.
    statistic = (max(0.0, 2 * (both - nothing)) / effect[0], max(0.0, 2 * (both - intercept)) / effect[1])
    p_value = (float(chdtrc(2, statistic[0])), float(chdtrc(1, statistic[1])))
    larger = "intercept" if p_value[1] >= alpha else "intercept_slope"
    chosen = "nothing" if p_value[0] >= alpha else larger
    return ClosedTest(chosen, (nothing, intercept, both), statistic, p_value, effect, alpha)


@dataclass(frozen=True)
class UpdateScores:
    """How a model does on local cases: the rates at its threshold, Brier score and log loss."""

    sensitivity: Estimate
    specificity: Estimate
    brier: Estimate
    log_loss: Estimate


@dataclass(frozen=True)
class EvaluatedUpdate:
    """What one step buys on local cases that took no part in its fit.

    ``change`` is ``scores`` less those of doing nothing. ``sensitivity_by_repeat`` and
    ``specificity_by_repeat``, shape (repeats,), differ only by how cases fell into folds. ``taken`` counts
    the steps that came of the fits.
    """

    step: str
    scores: UpdateScores
    change: UpdateScores
    sensitivity_by_repeat: Floats
    specificity_by_repeat: Floats
    taken: tuple[tuple[str, int], ...]


def evaluate_updates(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    threshold: float,
    target: float = 0.9,
    assurance: float | None = None,
    steps: Sequence[str] = STEPS,
    group: ArrayLike | None = None,
    folds: int = 5,
    repeats: int = 20,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    alpha: float = 0.05,
) -> tuple[EvaluatedUpdate, ...]:
    """What each step of updating buys, by repeated cross-fitting over whole groups of the local cases.

    Each step is fitted on all folds but one and scored on that one, so that no case is scored by a model
    that it helped to update. This is repeated with other folds; a case counts by its mean over the repeats.

    Parameters
    ----------
    outcome, risk, group : shape (n,), local cases; ``risk`` is the frozen model's.
    threshold : the frozen model's.
    target, assurance : for the step ``"threshold"``.
    steps : those of ``fit_update``.
    folds, repeats : at least 2 and 1.
    draws, seed, level : of the bootstrap intervals, which draw whole groups and take the fits as given.
    alpha : of the closed testing.

    Returns
    -------
    One record per step. Where a fit fails its scores are undefined, with the reason.

    Raises
    ------
    ValueError
        Where a class has fewer cases than ``least_events`` or fewer groups than there are folds.
    """
    outcome, risk = checked_risks(outcome, risk)
    _check_enough(outcome, group, target, folds)
    local = _Local(outcome, risk, group, threshold, target, assurance, alpha)
    parts = [grouped_folds(outcome, group, folds=folds, seed=(seed, repeat)) for repeat in range(repeats)]
    units = resampling_units(outcome, group, stratified=False)
    words = f"cross-fitted {repeats} times, percentile of {draws} bootstrap draws"
    means = _Means(outcome, units, units.weights(draws, seed), level, words)
    frozen = _cross_fitted(local, "nothing", parts)
    return tuple(_evaluated(step, _cross_fitted(local, step, parts), frozen, means) for step in steps)


def least_events(target: float) -> int:
    """The fewest events with which a threshold set for this sensitivity may miss one of them.

    With fewer it is the lowest risk among the events, whatever the target: 10 for a target of 0.9.
    """
    if not 0 < target < 1:
        raise ValueError(f"Expected a target between 0 and 1; got {target}.")
    return math.ceil(round(1 / (1 - target), 9))


def grouped_folds(
    outcome: ArrayLike, group: ArrayLike | None, *, folds: int, seed: int | Sequence[int]
) -> NDArray[np.intp]:
    """The fold of each case, shape (n,), from 0: groups whole, events spread evenly, the rest by chance."""
    outcome = np.asarray(outcome, dtype=bool)
    units = resampling_units(outcome, group, stratified=True, most=len(outcome))
    rng = np.random.default_rng(seed)
    fold = np.empty(units.number, dtype=np.intp)
    fold[np.concatenate([rng.permutation(stratum) for stratum in units.strata])] = (
        np.arange(units.number) % folds
    )
    return fold[units.of_case]


def _shrinkage(statistic: float) -> tuple[str, float]:
    """What is left of the update, a factor in [0, 1), and the step that this makes."""
    kept = max(0.0, 1 - 2 / statistic) if statistic > 0 else 0.0
    return ("intercept_slope" if kept else "nothing"), kept


def _design_effects(outcome: Bools, risk: Floats, code: NDArray[np.intp] | None) -> tuple[float, float]:
    """How much larger groups make the variances of intercept and slope together, and of the slope."""
    if code is None:
        return 1.0, 1.0
    own, log_odds = learnable(outcome, risk)
    kept = np.unique(code[(risk > 0) & (risk < 1)], return_inverse=True)[1]
    plain, clustered = (fit_logistic(own, x=log_odds, code=each).covariance for each in (None, kept))
    both = float(np.trace(np.linalg.solve(plain, clustered))) / 2
    return max(1.0, both), max(1.0, float(clustered[1, 1] / plain[1, 1]))


def _check_enough(outcome: Bools, group: ArrayLike | None, target: float, folds: int) -> None:
    if folds < 2:
        raise ValueError(f"Cross-fitting needs at least 2 folds; got {folds}.")
    least, code = least_events(target), group_codes(group, len(outcome))
    for word, members in (("with", outcome), ("without", ~outcome)):
        cases, groups = int(members.sum()), len(np.unique(code[members]))
        if cases < least:
            raise ValueError(
                f"Updating for a sensitivity of {target:g} needs at least {least} local cases {word} the "
                f"condition; got {cases}."
            )
        if groups < folds:
            raise ValueError(
                f"Cross-fitting in {folds} folds needs at least {folds} groups {word} the condition; "
                f"got {groups}."
            )


@dataclass(frozen=True)
class _Local:
    outcome: Bools
    risk: Floats
    group: ArrayLike | None
    threshold: float
    target: float
    assurance: float | None
    alpha: float

    def update(self, step: str, rows: Bools) -> Update:
        """The step fitted on some of the cases."""
        return fit_update(
            self.outcome[rows],
            self.risk[rows],
            step,
            threshold=self.threshold,
            fitted_on="local",
            target=self.target,
            assurance=self.assurance,
            group=None if self.group is None else np.asarray(self.group)[rows],
            alpha=self.alpha,
        )

    def scored(self, update: Update, rows: Bools) -> Floats:
        """Whether rightly flagged, squared error and surprise of some of the cases, shape (3, m)."""
        outcome, risk = self.outcome[rows], update.apply(self.risk[rows])
        right = flagged(risk, update.threshold) == outcome
        return np.stack([right, (risk - outcome) ** 2, surprise(outcome, risk)])


@dataclass(frozen=True)
class _CrossFitted:
    """The scores of each case by fits that did not see it, shape (3, repeats, n)."""

    scored: Floats
    taken: Counter[str]
    failure: str


def _cross_fitted(local: _Local, step: str, parts: list[NDArray[np.intp]]) -> _CrossFitted:
    scored = np.full((3, len(parts), len(local.outcome)), np.nan)
    taken: Counter[str] = Counter()
    failures = []
    for repeat, fold in enumerate(parts):
        for left_out in (fold == number for number in range(int(fold.max()) + 1)):
            try:
                update = local.update(step, ~left_out)
            except ValueError as error:
                failures.append(str(error))
                continue
            taken[update.taken] += 1
            scored[:, repeat, left_out] = local.scored(update, left_out)
    fits = taken.total() + len(failures)
    return _CrossFitted(
        scored, taken, f"{len(failures)} of {fits} fits failed: {failures[0]}" if failures else ""
    )


@dataclass(frozen=True)
class _Means:
    """Means over cases with bootstrap intervals, from the same draws of whole groups for all of them."""

    outcome: Bools
    units: Units
    weights: Floats
    level: float
    method: str

    def scores(self, each: Floats, failure: str) -> UpdateScores:
        """From the scores of each case, shape (3, n)."""
        right, square, surprised = each
        every = np.ones(len(self.outcome), dtype=bool)
        return UpdateScores(
            self._mean(right, self.outcome, failure),
            self._mean(right, ~self.outcome, failure),
            self._mean(square, every, failure),
            self._mean(surprised, every, failure),
        )

    def _mean(self, values: Floats, among: Bools, failure: str) -> Estimate:
        if failure or not np.isfinite(values).all():
            reason = failure or "infinite: a risk of exactly 0 or 1 proved wrong"
            return undefined(reason, level=self.level)
        one_column = np.zeros(len(among), dtype=np.intp)
        sums = self.weights @ self.units.sums(one_column, 1, values * among)[:, 0]
        cases = self.weights @ self.units.sums(one_column, 1, among.astype(np.float64))[:, 0]
        with np.errstate(invalid="ignore"):  # a draw may have no case of the class
            drawn = sums / cases
        return percentile_interval(float(values[among].mean()), drawn, level=self.level, method=self.method)


def _evaluated(step: str, found: _CrossFitted, frozen: _CrossFitted, means: _Means) -> EvaluatedUpdate:
    after, before = found.scored.mean(axis=1), frozen.scored.mean(axis=1)
    with np.errstate(invalid="ignore"):  # infinite less infinite
        change = after - before
    right = found.scored[0]
    return EvaluatedUpdate(
        step=step,
        scores=means.scores(after, found.failure),
        change=means.scores(change, found.failure),
        sensitivity_by_repeat=right[:, means.outcome].mean(axis=1),
        specificity_by_repeat=right[:, ~means.outcome].mean(axis=1),
        taken=tuple(sorted(found.taken.items())),
    )
