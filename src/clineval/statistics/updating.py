"""Updating a frozen model on labelled cases of one site: what each step buys, and how many cases it takes."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from clineval.statistics.counts import (
    Bools,
    Floats,
    checked_cases,
    checked_outcome,
    checked_risks,
    flagged,
    group_codes,
    takes_series,
)
from clineval.statistics.intervals import (
    Estimate,
    Units,
    check_draws,
    effective_groups,
    few_groups,
    percentile_interval,
    resampling_units,
    shared_groups,
    undefined,
    without_bounds,
)
from clineval.statistics.recalibration import Recalibration, fit_intercept, fit_logistic, fit_platt, learnable
from clineval.statistics.scores import surprise
from clineval.statistics.thresholds import least_sure_count, threshold_for_sensitivity

# Events of a local sample at which the curve is drawn.
NUMBERS = (10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200)
# The share of adoptions that should reach the target.
NINE_IN_TEN = 0.9


@dataclass(frozen=True)
class LocalCases:
    """How well a locally set threshold keeps its sensitivity, by the number of local events that set it.

    Each of shape (k,): ``events``; ``sensitivity`` and ``specificity`` to expect; ``worst_tenth``, the
    sensitivity that one adoption in ten stays below; ``reached``, the share of adoptions whose sensitivity
    is at least ``target`` - ``tolerance``. ``needed`` is the least of ``events`` from which on nine in ten
    reach it, NaN where none does, with the ``reason``.
    """

    events: NDArray[np.intp]
    sensitivity: Floats
    worst_tenth: Floats
    specificity: Floats
    reached: Floats
    target: float
    tolerance: float
    assurance: float | None
    needed: float
    reason: str


@takes_series
def local_cases_needed(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    target: float = 0.9,
    tolerance: float = 0.05,
    assurance: float | None = None,
    numbers: Sequence[int] = NUMBERS,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> LocalCases:
    """The sensitivity to expect of a threshold set on so many local events, and how many are enough.

    The cohort at hand stands for all of the site's patients: local samples of so many events are drawn
    from it, whole groups with replacement, each sets a threshold, and the sensitivity and specificity of
    that threshold are those in the whole cohort.

    Parameters
    ----------
    outcome, risk, group : shape (n,), the cohort at hand.
    target : sensitivity that the threshold is set for, between 0 and 1.
    tolerance : how far below the target an adoption may end, 0 or more. Without ``assurance`` about half
        of all adoptions end below the target itself, however many cases there are.
    assurance : None sets the threshold at the target sensitivity of the sample; a probability such as 0.9
        sets it lower, so that the true sensitivity reaches the target with that probability (at the lowest
        event's risk where the sample is too small for that).
    numbers : events in a local sample, ascending, each at least 1; the last group may bring some more.
    draws, seed : of the samples of each number.
    """
    outcome, risk = checked_risks(outcome, risk)
    check_draws(draws)
    if not 0 < np.count_nonzero(outcome) < len(outcome):
        raise ValueError("Expected local cases with and without the condition; got one class only.")
    groups, rng = _events_by_group(outcome, risk, group), np.random.default_rng(seed)
    thresholds = np.array(
        [[_threshold(_sample(groups, m, rng), target, assurance) for _ in range(draws)] for m in numbers]
    )
    sensitivity = 1 - _share_below(risk[outcome], thresholds)
    # A rate is a ratio of counts: one that equals the target may differ from it in the last bit.
    reached = (sensitivity >= target - tolerance - 1e-12).mean(axis=1)
    needed, reason = _needed(numbers, reached)
    return LocalCases(
        events=np.asarray(numbers, dtype=np.intp),
        sensitivity=sensitivity.mean(axis=1),
        worst_tenth=np.quantile(sensitivity, 0.1, axis=1),
        specificity=_share_below(risk[~outcome], thresholds).mean(axis=1),
        reached=reached,
        target=target,
        tolerance=tolerance,
        assurance=assurance,
        needed=needed,
        reason=reason,
    )


@takes_series
def local_threshold(
    outcome: ArrayLike, risk: ArrayLike, *, target: float, assurance: float | None = None
) -> float:
    """The threshold that local cases set for a sensitivity.

    Parameters
    ----------
    outcome, risk : shape (n,), at least one event.
    target, assurance : as for ``local_cases_needed``; the assurance takes events as independent.
    """
    outcome, risk = checked_cases(outcome, risk)
    total = int(np.count_nonzero(outcome))
    if assurance is None or not total:
        return threshold_for_sensitivity(outcome, risk, target)
    return threshold_for_sensitivity(
        outcome, risk, min(least_sure_count(total, target, assurance), total) / total
    )


def _events_by_group(outcome: Bools, risk: Floats, group: ArrayLike | None) -> list[Floats]:
    code = np.unique(group_codes(group, len(outcome))[outcome], return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    return np.split(risk[outcome][order], np.cumsum(np.bincount(code))[:-1])


def _sample(groups: list[Floats], number: int, rng: np.random.Generator) -> Floats:
    """The risks of at least ``number`` events, from whole groups drawn with replacement."""
    drawn = rng.integers(len(groups), size=number)
    events = np.cumsum([len(groups[each]) for each in drawn])
    return np.concatenate([groups[each] for each in drawn[: np.searchsorted(events, number) + 1]])


def _threshold(events: Floats, target: float, assurance: float | None) -> float:
    return local_threshold(np.ones(len(events), dtype=bool), events, target=target, assurance=assurance)


def _share_below(risk: Floats, thresholds: Floats) -> Floats:
    """The share of cases that each threshold does not flag."""
    return np.searchsorted(np.sort(risk), thresholds) / len(risk)


def _needed(numbers: Sequence[int], reached: Floats) -> tuple[float, str]:
    """The least number from which on nine in ten reach the target, and the reason where there is none."""
    enough = int(np.append(0, np.flatnonzero(reached < NINE_IN_TEN) + 1)[-1])
    if enough < len(numbers):
        return float(numbers[enough]), ""
    return math.nan, f"with {numbers[-1]} events, the most considered, {reached[-1]:.0%} reach it"


# From the smallest change to the largest; the last two find their own size.
STEPS = ("nothing", "threshold", "intercept", "intercept_slope", "shrunken", "closed_testing")


@dataclass(frozen=True)
class Update:
    """A frozen model as changed for one site: its recalibration, None for none, and its threshold.

    ``step`` is the step asked for, ``taken`` the one made of it.
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


@takes_series
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
    group = shared_groups(group, len(outcome))
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


@takes_series
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
    the steps made of the fits.
    """

    step: str
    scores: UpdateScores
    change: UpdateScores
    sensitivity_by_repeat: Floats
    specificity_by_repeat: Floats
    taken: tuple[tuple[str, int], ...]


@takes_series
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
    means = case_means(outcome, group, repeats=repeats, draws=draws, seed=seed, level=level)
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
    outcome = checked_outcome(outcome)
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
class CaseMeans:
    """Means over cases with bootstrap intervals, from the same draws of whole groups for all of them."""

    outcome: Bools
    units: Units
    weights: Floats
    level: float
    method: str
    groups: float
    few: str

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
        found = percentile_interval(
            float(values[among].mean()), drawn, level=self.level, method=self.method, groups=self.groups
        )
        return without_bounds(found, self.few)


def case_means(
    outcome: Bools, group: ArrayLike | None, *, repeats: int, draws: int, seed: int, level: float
) -> CaseMeans:
    """The draws of cases, or of whole groups, for scores that were cross-fitted ``repeats`` times."""
    code = shared_groups(group, len(outcome))
    units = resampling_units(outcome, code, stratified=False)
    drawn = "" if code is None else " of groups"
    words = (
        f"cross-fitted {repeats} times, percentile of {draws} bootstrap draws{drawn}; the fits are taken as "
        "given: covers 80 to 92 % where it says 95 %"  # benchmarks/coverage.md
    )
    weights = units.weights(draws, seed)
    return CaseMeans(outcome, units, weights, level, words, effective_groups(code), few_groups(code))


def _evaluated(step: str, found: _CrossFitted, frozen: _CrossFitted, means: CaseMeans) -> EvaluatedUpdate:
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
