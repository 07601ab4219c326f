"""The last layer of a frozen model fitted anew on local cases, and what that buys on others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, logit

from clineval.statistics.auc import auc_logit, compare_auc
from clineval.statistics.counts import Bools, Floats, checked_outcome, checked_risks, flagged, takes_series
from clineval.statistics.intervals import Estimate
from clineval.statistics.scores import surprise
from clineval.statistics.updating import (
    CaseMeans,
    UpdateScores,
    case_means,
    grouped_folds,
    local_threshold,
)

STEPS = ("threshold", "head", "head_shrunken")
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
    """A head fitted on local cases, drawn towards the offset as far as grouped folds of them say.

    The penalty of least log loss in grouped folds is taken. Kernel logistic regression: it minimises the sum
    of the log losses + weight' kernel weight / (2 C), the intercept free (Zhu and Hastie 2005,
    doi:10.1198/106186005X25619); without an offset the weights are drawn to 0, with the frozen model's log
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
    folds, repeats, draws, seed, level : as for ``updating.evaluate_updates``; ranking is by the mean log
        odds over the repeats.
    """
    outcome, risk = checked_risks(outcome, risk)
    frozen = logit(risk)
    own = frozen if head_risk is None else logit(checked_risks(outcome, head_risk)[1])
    rest = frozen - share * own
    kernel = np.asarray(kernel, dtype=np.float64)
    offsets = {"head": np.zeros(len(risk)), "head_shrunken": own}
    heads = {step: LocalKernel(kernel, offset, share, rest) for step, offset in offsets.items()}
    parts = [grouped_folds(outcome, group, folds=folds, seed=(seed, repeat)) for repeat in range(repeats)]
    means = case_means(outcome, group, repeats=repeats, draws=draws, seed=seed, level=level)
    plain = (outcome, frozen, group, target, assurance, parts, seed)
    first = _of_step(None, *plain)
    found = {"threshold": first} | {step: _of_step(head, *plain) for step, head in heads.items()}
    return tuple(_evaluated(step, each, first, outcome, group, means, level) for step, each in found.items())


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
    return local.share * logit(head.out_of_fold) + rest[fit], local.share * own + rest[out]


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


def _evaluated(
    step: str,
    found: _Scored,
    first: _Scored,
    outcome: Bools,
    group: ArrayLike | None,
    means: CaseMeans,
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
