"""Updating a frozen model on labelled cases of one site: its steps, a new last layer too, and their gain."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, logit

from clineval.statistics.auc import auc_logit, compare_auc
from clineval.statistics.counts import (
    Bools,
    Floats,
    checked_outcome,
    checked_risks,
    flagged,
    group_codes,
    takes_series,
)
from clineval.statistics.intervals import (
    Estimate,
    Units,
    effective_groups,
    few_groups,
    percentile_interval,
    resampling_units,
    shared_groups,
    undefined,
    without_bounds,
)
from clineval.statistics.recalibration import Recalibration, closed_testing, fit_intercept, fit_platt
from clineval.statistics.scores import surprise
from clineval.statistics.thresholds import local_threshold

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
    step : ``"nothing"``; ``"threshold"``, set locally for the ``target`` sensitivity, the risks unchanged;
        ``"intercept"`` or ``"intercept_slope"``, the risks recalibrated and the threshold kept;
        ``"shrunken"``, intercept and slope shrunk towards no change by the factor 1 - 2 / statistic of
        ``closed_testing``, not below 0; ``"closed_testing"``, the step that ``closed_testing`` chooses.
    threshold : the frozen model's, on its risks.
    assurance : of the step ``"threshold"``, as in ``thresholds.local_threshold``.
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
    means = _case_means(outcome, group, repeats=repeats, draws=draws, seed=seed, level=level)
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
class _CaseMeans:
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


def _case_means(
    outcome: Bools, group: ArrayLike | None, *, repeats: int, draws: int, seed: int, level: float
) -> _CaseMeans:
    """The draws of cases, or of whole groups, for scores that were cross-fitted ``repeats`` times."""
    code = shared_groups(group, len(outcome))
    units = resampling_units(outcome, code, stratified=False)
    drawn = "" if code is None else " of groups"
    words = (
        f"cross-fitted {repeats} times, percentile of {draws} bootstrap draws{drawn}; the fits are taken as "
        "given: covers 80 to 92 % where it says 95 %"  # benchmarks/coverage.md
    )
    weights = units.weights(draws, seed)
    return _CaseMeans(outcome, units, weights, level, words, effective_groups(code), few_groups(code))


def _evaluated(step: str, found: _CrossFitted, frozen: _CrossFitted, means: _CaseMeans) -> EvaluatedUpdate:
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


HEADS = ("head", "head_shrunken")
"""Steps that refit the last layer."""

PENALTIES = (0.03, 0.3, 3.0, 30.0)  # C: how far local cases may move the head, small = little
INNER_FOLDS = 5  # grouped, inside the fitting cases: they choose C and give risks for the threshold
STEPS_OF_NEWTON, SMALLEST_STEP = 100, 1e-9


@dataclass(frozen=True)
class Head:
    """A head on a kernel: log odds = offset + intercept + kernel with the fitting cases @ ``weight``.

    ``weight`` has shape (fitting cases,). ``out_of_fold`` are the risks of the fitting cases by heads that
    did not see their group, from which a threshold may be set. ``penalty`` is the C chosen.
    """

    weight: Floats
    intercept: float
    penalty: float
    out_of_fold: Floats


@dataclass(frozen=True)
class EvaluatedHead:
    """A step on local cases that took no part in its fit, the threshold set on the fitting cases.

    ``scores`` are the rates at that threshold, Brier score and log loss; ``gain`` and ``change`` are less
    those of the step ``threshold``, which keeps the head. ``penalties`` counts the C that were chosen.
    """

    step: str
    auc: Estimate
    gain: Estimate
    scores: UpdateScores
    change: UpdateScores
    penalties: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class LocalKernel:
    """How alike local cases are to a head, shape (n, n), and what it keeps of the frozen model.

    ``offset``, shape (n,), are log odds that stay: the frozen model's for a shrunken head. Of a model that
    is a mean of several on the logit scale, ``share`` is the head's and ``rest``, shape (n,), what the
    others add.
    """

    kernel: Floats
    offset: Floats
    share: float = 1.0
    rest: Floats | float = 0.0

    def rows(self, fit: NDArray[np.intp]) -> "LocalKernel":
        """Of some cases alone."""
        rest = self.rest[fit] if isinstance(self.rest, np.ndarray) else self.rest
        return LocalKernel(self.kernel[np.ix_(fit, fit)], self.offset[fit], self.share, rest)


@takes_series
def fit_head(
    outcome: ArrayLike,
    local: LocalKernel,
    *,
    group: ArrayLike | None,
    penalties: Sequence[float] = PENALTIES,
    seed: int | Sequence[int] = 0,
) -> Head:
    """A head fitted on local cases, shrunk towards the offset as far as grouped folds of them say.

    The penalty of least log loss in grouped folds is taken. Kernel logistic regression: it minimises the sum
    of the log losses + weight' kernel weight / (2 C), the intercept free (Zhu and Hastie 2005,
    doi:10.1198/106186005X25619); without an offset the weights are shrunk to 0, with the frozen model's log
    odds as offset towards that model.

    Parameters
    ----------
    outcome, group : shape (n,).
    local : the kernel of these cases, symmetric and positive semidefinite, and their offset.
    """
    outcome = checked_outcome(outcome)
    fold = grouped_folds(outcome, group, folds=INNER_FOLDS, seed=seed)
    risks = [_crossed(outcome, local, fold, penalty) for penalty in penalties]
    losses = [float(surprise(outcome, risk).mean()) for risk in risks]
    best = int(np.argmin(losses))
    weight, intercept = kernel_logistic(outcome, local.kernel, local.offset, penalties[best])
    return Head(weight, intercept, penalties[best], risks[best])


def kernel_logistic(outcome: Bools, kernel: Floats, offset: Floats, penalty: float) -> tuple[Floats, float]:
    """Weights, shape (n,), and intercept of kernel logistic regression, by Newton's method with halved steps.

    At the solution weight = C (outcome - risk) and the weights add up to 0.
    """
    now = _Fit(outcome, kernel, offset, penalty, np.zeros(len(outcome)), 0.0)
    for _ in range(STEPS_OF_NEWTON):
        aim = now.newton()
        size = 1.0
        after = aim
        while not after.loss <= now.loss and size > SMALLEST_STEP:
            size /= 2
            after = now.towards(aim, size)
        if size <= SMALLEST_STEP or now.loss - after.loss < 1e-14 * (1 + now.loss):
            return (after if after.loss <= now.loss else now).solution
        now = after
    raise ValueError(f"the head did not converge in {STEPS_OF_NEWTON} steps at C = {penalty:g}")


@dataclass(frozen=True)
class _Fit:
    """A point of the search for a head."""

    outcome: Bools
    kernel: Floats
    offset: Floats
    penalty: float
    weight: Floats
    intercept: float

    @cached_property
    def own(self) -> Floats:
        """What the head adds to the offset, shape (n,)."""
        return self.kernel @ self.weight + self.intercept

    @cached_property
    def loss(self) -> float:
        """Sum of the log losses + weight' kernel weight / (2 C)."""
        log_odds = self.offset + self.own
        fit = np.logaddexp(0.0, np.where(self.outcome, -log_odds, log_odds)).sum()
        return float(fit + self.weight @ (self.own - self.intercept) / (2 * self.penalty))

    @property
    def solution(self) -> tuple[Floats, float]:
        return self.weight, self.intercept

    def newton(self) -> "_Fit":
        """Where the full step leads: Rasmussen and Williams 2006, algorithm 3.1, with a free intercept."""
        risk = expit(self.offset + self.own)
        spread = risk * (1 - risk)
        root = np.sqrt(spread)
        inner = np.eye(len(risk)) + self.penalty * (root[:, None] * self.kernel * root)
        factor = cho_factor(inner, lower=True)
        response = spread * self.own + (self.outcome - risk)  # the working response times spread
        of_one = root * cho_solve(factor, root)
        of_response = response - self.penalty * root * cho_solve(factor, root * (self.kernel @ response))
        intercept = float(of_response.sum() / of_one.sum())
        return replace(self, weight=self.penalty * (of_response - intercept * of_one), intercept=intercept)

    def towards(self, aim: "_Fit", share: float) -> "_Fit":
        """A part of the way."""
        return replace(
            self,
            weight=self.weight + share * (aim.weight - self.weight),
            intercept=self.intercept + share * (aim.intercept - self.intercept),
        )


def bounded_logit(risk: Floats) -> Floats:
    """Log odds of stored risks, which have 12 decimals; those of 0 and 1 are taken half of the last away."""
    return logit(np.clip(risk, 5e-13, 1 - 5e-13))


@takes_series
def evaluate_heads(
    outcome: ArrayLike,
    risk: ArrayLike,
    kernel: ArrayLike,
    *,
    share: float = 1.0,
    head_risk: ArrayLike | None = None,
    target: float,
    assurance: float | None = None,
    group: ArrayLike | None = None,
    folds: int = 5,
    repeats: int = 4,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[EvaluatedHead, ...]:
    """What a head fitted on local cases buys beside a threshold set on them, by repeated cross-fitting.

    Parameters
    ----------
    outcome, risk, group : shape (n,), local cases; ``risk`` is the frozen model's.
    kernel : shape (n, n), of the head.
    share, head_risk : of a model that is the mean of several on the logit scale: the share of the one whose
        head is fitted, and that one's frozen risk, shape (n,).
    target, assurance : of the threshold, set in every step on the fitting cases.
    folds, repeats, draws, seed, level : as for ``evaluate_updates``; ranking is by the mean log
        odds over the repeats.
    """
    outcome, risk = checked_risks(outcome, risk)
    frozen = bounded_logit(risk)
    own = frozen if head_risk is None else bounded_logit(checked_risks(outcome, head_risk)[1])
    rest = frozen - share * own
    kernel = np.asarray(kernel, dtype=np.float64)
    offsets = dict(zip(HEADS, (np.zeros(len(risk)), own), strict=True))
    heads = {step: LocalKernel(kernel, offset, share, rest) for step, offset in offsets.items()}
    parts = [grouped_folds(outcome, group, folds=folds, seed=(seed, repeat)) for repeat in range(repeats)]
    means = _case_means(outcome, group, repeats=repeats, draws=draws, seed=seed, level=level)
    plain = (outcome, frozen, group, target, assurance, parts, seed)
    first = _of_step(None, *plain)
    found = {"threshold": first} | {step: _of_step(head, *plain) for step, head in heads.items()}
    return tuple(
        _evaluated_head(step, each, first, outcome, group, means, level) for step, each in found.items()
    )


@dataclass(frozen=True)
class _Scored:
    """Mean over the repeats: log odds (n,); rightly flagged, squared error and surprise (3, n)."""

    log_odds: Floats
    each: Floats
    penalties: Counter[float]


def _of_step(
    local: LocalKernel | None,
    outcome: Bools,
    frozen: Floats,
    group: ArrayLike | None,
    target: float,
    assurance: float | None,
    parts: Sequence[NDArray[np.intp]],
    seed: int,
) -> _Scored:
    log_odds, each = np.zeros(len(outcome)), np.zeros((3, len(outcome)))
    penalties: Counter[float] = Counter()
    for repeat, fold in enumerate(parts):
        for number in range(int(fold.max()) + 1):
            fit, out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            if local is None:
                inside, outside = frozen[fit], frozen[out]
            else:
                groups = None if group is None else np.asarray(group)[fit]
                head = fit_head(outcome[fit], local.rows(fit), group=groups, seed=(seed, repeat, number))
                penalties[head.penalty] += 1
                inside, outside = _log_odds(local, head, fit, out)
            risk = expit(outside)
            threshold = local_threshold(outcome[fit], expit(inside), target=target, assurance=assurance)
            right = flagged(risk, threshold) == outcome[out]
            log_odds[out] += outside / len(parts)
            each[:, out] += np.stack([right, (risk - outcome[out]) ** 2, surprise(outcome[out], risk)]) / len(
                parts
            )
    return _Scored(log_odds, each, penalties)


def _log_odds(
    local: LocalKernel, head: Head, fit: NDArray[np.intp], out: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Of the fitting cases out of fold and of the others, with what the model's other parts add."""
    own = local.offset[out] + head.intercept + local.kernel[np.ix_(out, fit)] @ head.weight
    rest = np.broadcast_to(local.rest, local.offset.shape)
    return local.share * bounded_logit(head.out_of_fold) + rest[fit], local.share * own + rest[out]


def _crossed(outcome: Bools, local: LocalKernel, fold: NDArray[np.intp], penalty: float) -> Floats:
    """Each case's risk by a head that did not see its fold, shape (n,)."""
    risk = np.empty(len(outcome))
    for number in range(int(fold.max()) + 1):
        fit, out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        weight, intercept = kernel_logistic(
            outcome[fit], local.kernel[np.ix_(fit, fit)], local.offset[fit], penalty
        )
        risk[out] = expit(local.offset[out] + intercept + local.kernel[np.ix_(out, fit)] @ weight)
    return risk


def _evaluated_head(
    step: str,
    found: _Scored,
    first: _Scored,
    outcome: Bools,
    group: ArrayLike | None,
    means: _CaseMeans,
    level: float,
) -> EvaluatedHead:
    risk, before = expit(found.log_odds), expit(first.log_odds)
    return EvaluatedHead(
        step,
        auc_logit(outcome, risk, group=group, level=level),
        compare_auc(outcome, risk, before, group=group, level=level).difference,
        means.scores(found.each, ""),
        means.scores(found.each - first.each, ""),
        tuple(sorted(found.penalties.items())),
    )
