"""From the 2x2 table to its rates and ratios, each with an interval."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from clineval.statistics.counts import Bools, Counts, Floats
from clineval.statistics.intervals import (
    FEWEST_GROUPS,
    Estimate,
    effective_groups,
    normal_quantile,
    quantile_by_group,
    undefined,
    wilson,
    wilson_bounds,
)


@dataclass(frozen=True)
class Worth:
    """How many independent cases a proportion's cases are worth, and the groups that they come in.

    ``groups``: as many of one size as these are worth where a group's cases are copies, (sum of n)^2 / sum of
    n^2; infinite where nothing was estimated between groups. Wilson's interval then reaches as far as the
    normal distribution, else as Student's t.
    """

    cases: float
    groups: float = np.inf


def rate(successes: int, total: int, worth: Worth, *, reason: str, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's interval, as wide as so many independent cases make it.

    Parameters
    ----------
    successes, total : counts; ``reason`` says why there is no rate where ``total`` is 0.
    worth : of the total, from ``independent_cases``; the total itself without groups.
    """
    if not total:
        return undefined(reason, level=level)
    if worth.cases == total and np.isinf(worth.groups):
        return wilson(successes, total, level=level)
    share, effective = successes / total, effective_cases(worth, level)
    low, high = wilson_bounds(share * effective, effective, level=level)
    words = f"Wilson score, {total} cases in groups worth {effective:.1f} independent ones"
    return Estimate(share, float(low), float(high), level, words)


def effective_cases(worth: Worth, level: float) -> float:
    """The independent cases, fewer where a variance from few groups needs Student's t instead of 1.96.

    Korn and Graubard 1998, Survey Methodology 24:193.
    """
    return worth.cases * (normal_quantile(level) / quantile_by_group(level, worth.groups)) ** 2


def grouped_rate(
    right: Bools, code: NDArray[np.intp], *, reason: str = "no case to take the rate of", level: float = 0.95
) -> Estimate:
    """A proportion with Wilson's interval, as wide as the groups make it.

    Parameters
    ----------
    right : shape (n,), whether the case counts as a success; ``reason`` says why there is no rate of none.
    code : shape (n,), the group of each case as a number; a number for each case leaves Wilson's own.
    """
    if not len(right):
        return undefined(reason, level=level)
    own = np.unique(code, return_inverse=True)[1]
    return rate(
        int(np.count_nonzero(right)), len(right), independent_cases(right, own), reason=reason, level=level
    )


def independent_cases(right: Bools, code: NDArray[np.intp]) -> Worth:
    """How many independent cases would tell as much of a proportion as these cases in groups.

    The cases divided by the design effect, the variance between groups over the binomial one; never more
    than the cases. Rao and Scott 1992, doi:10.2307/2532311. Where that variance cannot be estimated, from
    fewer than ten groups or where all are right or all wrong, the least that groups can be worth: as if
    the cases of a group were copies of one.

    Parameters
    ----------
    right : shape (n,), whether the case counts as a success.
    code : shape (n,), groups by number from 0.
    """
    sizes = np.bincount(code)
    right_by_group = np.bincount(code, weights=right, minlength=len(sizes))
    worth, groups = worth_of_moments(
        np.array([np.count_nonzero(sizes)]),
        np.array([len(right)]),
        np.array([np.count_nonzero(right)]),
        np.array([right_by_group @ right_by_group]),
        np.array([right_by_group @ sizes]),
        np.array([sizes @ sizes]),
    )
    return Worth(float(worth[0]), float(groups[0]))


def worth_of_moments(
    groups: ArrayLike,
    cases: ArrayLike,
    right: ArrayLike,
    rr: ArrayLike,
    rn: ArrayLike,
    nn: ArrayLike,
) -> tuple[Floats, Floats]:
    """``independent_cases`` of many proportions at once: cases worth and effective groups, each shape (k,).

    Parameters
    ----------
    groups, cases, right : how many of each, shape (k,).
    rr, rn, nn : sums over groups of right squared, right times cases, cases squared, shape (k,).
    """
    groups, cases, right, rr, rn, nn = (
        np.asarray(each, dtype=np.float64) for each in (groups, cases, right, rr, rn, nn)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        share = right / cases
        spread = groups / (groups - 1) * (rr - 2 * share * rn + share**2 * nn)
        # Sums of whole numbers that cancel leave at most some last bits.
        worth = np.where(spread > 1e-9 * nn, share * (1 - share) * cases**2 / spread, cases)
        copies = cases**2 / nn
    alone = nn == cases  # every group holds one case
    unknown = (groups < FEWEST_GROUPS) | (right == 0) | (right == cases)
    worth = np.where(alone, cases, np.where(unknown, copies, np.minimum(cases, worth)))
    return np.where(cases > 0, worth, 0.0), np.where(alone | unknown, np.inf, np.maximum(3.0, copies))


def balanced_accuracy(caught: Estimate, spared: Estimate) -> Estimate:
    """The mean of sensitivity and specificity: accuracy as it would be if half the cases had the condition.

    The interval joins those of the two by Zou and Donner's square-and-add rule (MOVER 2008,
    doi:10.1002/sim.3095).

    Parameters
    ----------
    caught, spared : sensitivity and specificity, with Wilson's intervals of one level.
    """
    if np.isnan(caught.value) or np.isnan(spared.value):
        return undefined("needs cases with and without the condition", level=caught.level)
    value = (caught.value + spared.value) / 2
    below = np.hypot(caught.value - caught.low, spared.value - spared.low) / 2
    above = np.hypot(caught.high - caught.value, spared.high - spared.value) / 2
    return Estimate(
        value, float(value - below), float(value + above), caught.level, "MOVER of two Wilson intervals"
    )


def likelihood_ratio_positive(
    table: Counts, *, level: float = 0.95, independent: tuple[float, float] | None = None
) -> Estimate:
    """How many times likelier a flag is in those with the condition than in those without.

    Interval by the log method (Simel et al. 1991, doi:10.1016/0895-4356(91)90128-V), as R's epiR gives it;
    where a cell is empty, and the log method has none, by Koopman's score method (1984,
    doi:10.2307/2530931). ``independent``: how many independent events and non-events the counts are worth,
    where cases come in groups.
    """
    return _likelihood_ratio(
        table.true_positives, table.false_positives, table, "flagged", level, independent
    )


def likelihood_ratio_negative(
    table: Counts, *, level: float = 0.95, independent: tuple[float, float] | None = None
) -> Estimate:
    """How many times likelier no flag is in those with the condition than in those without.

    Interval as for ``likelihood_ratio_positive``.
    """
    return _likelihood_ratio(
        table.false_negatives, table.true_negatives, table, "left unflagged", level, independent
    )


def _likelihood_ratio(
    events: int,
    non_events: int,
    table: Counts,
    what: str,
    level: float,
    independent: tuple[float, float] | None,
) -> Estimate:
    if not (table.events and table.non_events):
        return undefined("needs cases with and without the condition", level=level)
    if non_events == 0:
        return undefined(f"no case without the condition is {what}: the ratio has no bound", level=level)
    among_events, among_others = events / table.events, non_events / table.non_events
    ratio = among_events / among_others
    worth, worth_others = independent or (table.events, table.non_events)
    variance = (1 - among_others) / (worth_others * among_others)
    if events:
        variance += (1 - among_events) / (worth * among_events)
    if events == 0 or variance == 0:
        low, high = score_bounds_of_ratio(among_events, worth, among_others, worth_others, level=level)
        return Estimate(ratio, low, high, level, "score method (Koopman), for an empty cell")
    reach = np.exp(normal_quantile(level) * np.sqrt(variance))
    return Estimate(ratio, float(ratio / reach), float(ratio * reach), level, "log method")


def score_bounds_of_ratio(
    share: float, cases: float, other: float, others: float, *, level: float = 0.95
) -> tuple[float, float]:
    """Koopman's score bounds of share / other, two independent proportions; the upper one may be infinite.

    Parameters
    ----------
    share, other : in [0, 1], not both 0; of ``cases`` and ``others`` independent cases.

    References
    ----------
    Koopman 1984, doi:10.2307/2530931.
    """
    limit = normal_quantile(level) ** 2
    x, y = share * cases, other * others

    def excess(log_ratio: float) -> float:
        """Koopman's chi-square at a ratio, less the limit."""
        ratio = np.exp(log_ratio)
        b = ratio * (cases + y) + x + others
        root = np.sqrt(max(0.0, b**2 - 4 * ratio * (cases + others) * (x + y)))
        p = 2 * ratio * (x + y) / (b + root)  # of the first proportion, under the ratio
        return _square(x, cases, p) + _square(y, others, p / ratio) - limit

    middle = np.log(share / other) if share and other else 0.0
    low = _crossing(excess, middle if other else 15.0, -25.0) if share else 0.0
    high = _crossing(excess, middle if share else -15.0, 25.0) if other else np.inf
    return low, high


def _square(successes: float, cases: float, p: float) -> float:
    """The squared distance of a count from its expectation, in variances."""
    variance, distance = cases * p * (1 - p), successes - cases * p
    return distance**2 / variance if variance > 0 else 0.0


def _crossing(excess: Callable[[float], float], inside: float, outside: float) -> float:
    """The ratio between two log-ratios at which the excess changes its sign."""
    return float(np.exp(brentq(excess, inside, outside, xtol=1e-12)))


def f1(table: Counts, *, level: float = 0.95, worth: Worth | None = None) -> Estimate:
    """The harmonic mean of sensitivity and PPV; for the appendix, see ``Appendix``.

    F1 = 2 J / (1 + J) with J = TP / (TP + FP + FN), a proportion: its Wilson interval is carried over.
    ``worth``: of the cases in J, where cases come in groups.
    """
    concerned = table.true_positives + table.false_positives + table.false_negatives
    reason = "appendix measure; no case is flagged and none has the condition"
    jaccard = rate(table.true_positives, concerned, worth or Worth(concerned), reason=reason, level=level)
    if not concerned:
        return jaccard
    value, low, high = (2 * j / (1 + j) for j in (jaccard.value, jaccard.low, jaccard.high))
    return Estimate(value, low, high, level, f"appendix measure; {jaccard.method}, of TP / (TP + FP + FN)")


def mcc(
    called: Bools, outcome: Bools, *, code: NDArray[np.intp] | None = None, level: float = 0.95
) -> Estimate:
    """Matthews' correlation between flag and condition; for the appendix, see ``Appendix``.

    Interval on Fisher's z scale with the delta-method variance of a correlation, between cases or groups.

    Parameters
    ----------
    called, outcome : shape (n,), who is flagged and who has the condition.
    code : shape (n,), groups by number from 0, or None where cases are independent.
    """
    if not len(called) or called.all() or outcome.all() or not (called.any() and outcome.any()):
        return undefined("appendix measure; a row or column of the 2x2 table is empty", level=level)
    x, y = (called - called.mean()) / called.std(), (outcome - outcome.mean()) / outcome.std()
    value = float(np.mean(x * y))
    if abs(value) > 1 - 1e-12:
        reason = "appendix measure; a correlation of 1 has no delta-method interval"
        return Estimate(float(np.sign(value)), np.nan, np.nan, level, reason)
    influence = (x * y - value * (x**2 + y**2) / 2) / len(x)
    sums = influence if code is None else np.bincount(code, weights=influence)
    # As R's correlation has it: no factor for few cases; with groups G / (G - 1).
    factor = 1.0 if code is None else len(sums) / (len(sums) - 1) if len(sums) > 1 else np.nan
    reach = (
        quantile_by_group(level, effective_groups(code)) * np.sqrt(factor * (sums @ sums)) / (1 - value**2)
    )
    low, high = np.tanh(np.arctanh(value) + np.array([-reach, reach]))
    words = "appendix measure; Fisher z, delta method" + ("" if code is None else f", {len(sums)} groups")
    return Estimate(value, float(low), float(high), level, words)
