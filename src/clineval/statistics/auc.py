"""The area under the ROC curve with DeLong's interval, and two of them compared, also by group."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri, stdtr, stdtrit

from clineval.statistics.counts import Floats, checked_cases, group_codes, numbers, takes_series
from clineval.statistics.intervals import (
    Estimate,
    clopper_pearson,
    effective_groups,
    few_groups,
    normal_quantile,
    shared_groups,
    square_and_add,
    undefined,
)

PLAIN = "; covers 85 to 94 % where it says 95 %, least with few events or groups: read the logit interval"
"""What stands beside the plain interval: benchmarks/coverage.md."""

FEW = 30
"""Cases, or groups, of a class from which on the logit interval keeps its level: benchmarks/coverage.md."""

ROUNDING = 16 * float(np.finfo(np.float64).eps)  # of a sum, as a share of what was summed


@dataclass(frozen=True)
class Comparison:
    """Two models set against each other: the difference (first minus second), its test, its p value."""

    difference: Estimate
    statistic: float
    p_value: float
    method: str


@dataclass(frozen=True)
class _Placements:
    """Where each case stands among the cases of the other outcome, ties counting half.

    ``event``: shape (events,), the share of non-events that this event's risk exceeds. ``non_event``:
    shape (non-events,), the share of events whose risk exceeds this one. Both have the AUC as mean.
    """

    value: float
    event: Floats
    non_event: Floats


@dataclass(frozen=True)
class _Spread:
    """The variance of an AUC or of a difference, NaN with the reason where it cannot be had.

    ``least``: cases, or groups with cases, of the rarer class. ``freedom``: the degrees of freedom that few
    groups leave to it, infinite without groups; ``few`` says why groups are too few for any interval.
    """

    variance: float
    method: str
    units: int
    least: int = 0
    freedom: float = np.inf
    few: str = ""

    def quantile(self, level: float) -> float:
        """How many standard errors a two-sided interval reaches."""
        normal = normal_quantile(level)
        return float(stdtrit(self.freedom, (1 + level) / 2)) if np.isfinite(self.freedom) else normal


@takes_series
def auc(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """How often a case with the condition is given a higher risk than one without: the AUC.

    >>> auc([1, 1, 1, 0, 0, 0], [0.9, 0.6, 0.3, 0.4, 0.2, 0.1])
    0.89 (0.58 to 1.00)

    The interval is DeLong's, cut at 0 and 1; where a group has more than one case, clustered and reaching as
    far as Student's t. In small samples it covers less than its level: ``auc_logit`` does better. At an AUC
    of 1 or 0, and where all risks are the same, it would have no width: an exact binomial bound stands there
    instead.

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    risk : shape (n,), finite; only the order counts.
    group : shape (n,); cases that are not independent share it. None: each case is its own.
    level : between 0 and 1.

    Returns
    -------
    Estimate, NaN where one outcome is missing; its bounds NaN where the variance needs more cases.

    References
    ----------
    DeLong et al. 1988, doi:10.2307/2531595; midranks in n log n after Sun and Xu 2014,
    doi:10.1109/LSP.2014.2337313; by group Obuchowski 1997, doi:10.2307/2533958.
    """

    def bounds(value: float, spread: _Spread) -> tuple[float, float]:
        reach = spread.quantile(level) * float(np.sqrt(spread.variance))
        return max(0.0, value - reach), min(1.0, value + reach)

    return _auc(outcome, risk, group, level, bounds, scale=lambda spread: PLAIN)


@takes_series
def auc_logit(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """The AUC with an interval built on the logit scale, which keeps its coverage in small samples.

    The same variance as ``auc``, moved to log(AUC / (1 - AUC)) and back, so that the interval never
    leaves [0, 1] and leans towards .5. Pepe 2003, ISBN 978-0-19-850984-4. By group it
    reaches as far as Student's t with Satterthwaite's degrees of freedom (1946, doi:10.2307/3002019):
    a variance from few groups is itself uncertain.
    """

    def bounds(value: float, spread: _Spread) -> tuple[float, float]:
        reach = spread.quantile(level) * np.sqrt(spread.variance) / (value * (1 - value))
        low, high = expit(logit(value) + np.array([-reach, reach]))
        return float(low), float(high)

    return _auc(outcome, risk, group, level, bounds, scale=_of_few)


@takes_series
def auc_variance(outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None) -> float:
    """The variance of the AUC by DeLong, by group Obuchowski's; NaN where it cannot be had.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    """
    return _ranked(*checked_cases(outcome, risk), group)[1].variance


@takes_series
def auc_design_effect(outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None) -> float:
    """How many cases in groups tell as much of the AUC as one independent case; 1 without groups.

    The variance of the AUC by group over that by case, never below 1; NaN where either is undefined.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    """
    code = shared_groups(group, len(np.asarray(outcome)))
    if code is None:
        return 1.0
    clustered, alone = (auc_variance(outcome, risk, group=each) for each in (code, None))
    return max(1.0, clustered / alone) if alone > 0 and clustered >= 0 else np.nan


def untested(difference: Estimate) -> Comparison:
    """A comparison without statistic and p-value, for the reason that the difference has no interval."""
    return Comparison(difference, np.nan, np.nan, difference.method)


@takes_series
def compare_auc(
    outcome: ArrayLike,
    risk_a: ArrayLike,
    risk_b: ArrayLike,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """Two models on the same cases: the difference of their AUCs (a - b), paired, with DeLong's test.

    Given as long as the variance of the difference is above 0, even where one AUC is 1. Clustered where
    a group has more than one case, and then with Student's t on Satterthwaite's degrees of freedom.

    Parameters
    ----------
    outcome, risk_a, risk_b, group : shape (n,).
    """
    normal_quantile(level)  # refuses a level outside (0, 1)
    outcome, risk_a = checked_cases(outcome, risk_a)
    _, risk_b = checked_cases(outcome, risk_b)
    if reason := missing_outcome(outcome):
        return untested(undefined(reason, level=level))
    a, b = (_placements_by_case(outcome, risk) for risk in (risk_a, risk_b))
    difference = _Placements(a.value - b.value, a.event - b.event, a.non_event - b.non_event)
    spread = _spread(difference, outcome, group)
    if spread.few or not spread.variance > 0:
        flat = spread.method if np.isnan(spread.variance) else "no test: the difference shows no spread"
        return untested(Estimate(difference.value, np.nan, np.nan, level, spread.few or flat))
    error = float(np.sqrt(spread.variance))
    z = difference.value / error
    reach = spread.quantile(level) * error
    clustered = np.isfinite(spread.freedom)
    p_value = 2 * (stdtr(spread.freedom, -abs(z)) if clustered else ndtr(-abs(z)))
    method = f"{spread.method}, paired"
    estimate = Estimate(difference.value, difference.value - reach, difference.value + reach, level, method)
    return Comparison(estimate, float(z), float(p_value), method)


@takes_series
def auc_difference_by_logit(
    outcome: ArrayLike,
    risk_a: ArrayLike,
    risk_b: ArrayLike,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The same difference with bounds from the two logit intervals, for a margin of non-inferiority.

    The square-and-add rule (MOVER: Zou and Donner 2008, doi:10.1002/sim.3095) with the correlation of the
    two AUCs. A model worse by exactly the margin is called non-inferior by DeLong's bound in up to 4 % of
    studies where AUCs are near 1, for these are skewed; by this one in 2 to 2.8 %.

    Parameters
    ----------
    outcome, risk_a, risk_b, group : shape (n,).
    """
    plain = compare_auc(outcome, risk_a, risk_b, group=group, level=level).difference
    first, second = (auc_logit(outcome, risk, group=group, level=level) for risk in (risk_a, risk_b))
    if not np.isfinite([plain.low, first.low, first.high, second.low, second.high]).all():
        return plain
    outcome, risk_a = checked_cases(outcome, risk_a)
    a, b = (_placements_by_case(outcome, risk) for risk in (risk_a, numbers(risk_b, "risk")))
    between = _Placements(a.value - b.value, a.event - b.event, a.non_event - b.non_event)
    variance, of_a, of_b = (_spread(each, outcome, group).variance for each in (between, a, b))
    product = 2 * float(np.sqrt(of_a * of_b))  # 0 where an AUC is 1: then nothing is known to be shared
    alike = float(np.clip((of_a + of_b - variance) / product, -1, 1)) if product > 0 else 0.0
    low, high = square_and_add(first, second, correlation=alike)
    method = f"MOVER of two logit intervals, paired: {_scale_alone(first)}"
    return Estimate(plain.value, low, high, level, method)


def compare_auc_unpaired(
    outcome_a: ArrayLike,
    risk_a: ArrayLike,
    outcome_b: ArrayLike,
    risk_b: ArrayLike,
    *,
    group_a: ArrayLike | None = None,
    group_b: ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """AUCs of two cohorts that share no case: their difference (a - b) with its interval and test.

    The interval joins the two AUCs' own on the logit scale by the square-and-add rule (MOVER: Zou and
    Donner 2008, doi:10.1002/sim.3095), so that it holds its level where an AUC is near 1 or cases are few,
    which an interval from the sum of two variances does not. The p value is 1 less the level at which that
    interval would just reach 0; ``statistic`` is the normal deviate of that p value.

    Parameters
    ----------
    outcome_a, risk_a, group_a : shape (n,); outcome_b, risk_b, group_b : shape (k,).
    """

    def both(at: float) -> tuple[Estimate, Estimate]:
        return (
            auc_logit(outcome_a, risk_a, group=group_a, level=at),
            auc_logit(outcome_b, risk_b, group=group_b, level=at),
        )

    first, second = both(level)
    value = first.value - second.value
    unknown = next((each for each in (first, second) if not np.isfinite([each.low, each.high]).all()), None)
    if unknown is not None:
        nothing = np.nan if np.isnan(value) else value
        return untested(Estimate(nothing, np.nan, np.nan, level, unknown.method))
    low, high = square_and_add(first, second)
    p_value = _level_reaching_zero(both, value) if value else 1.0
    method = "MOVER of two logit intervals, unpaired: " + " and ".join(
        dict.fromkeys([_scale_alone(first), _scale_alone(second)])
    )
    statistic = float(np.sign(value) * -ndtri(p_value / 2)) if p_value > 0 else np.nan
    return Comparison(Estimate(value, low, high, level, method), statistic, p_value, method)


def _scale_alone(estimate: Estimate) -> str:
    """The method without what it says of the coverage of a single AUC."""
    return estimate.method.partition("; from")[0]


def _level_reaching_zero(both: Callable[[float], tuple[Estimate, Estimate]], value: float) -> float:
    """The p value: 1 less the level whose interval has 0 as the bound on the side of 0."""

    def nearest(tail: float) -> float:
        low, high = square_and_add(*both(1 - np.exp(tail)))
        return low if value > 0 else -high

    least = np.log(1e-15)
    if nearest(least) > 0:
        return 0.0
    widest = np.log(1 - 1e-9)
    return float(np.exp(brentq(nearest, least, widest, xtol=1e-13))) if nearest(widest) > 0 else 1.0


def missing_outcome(outcome: NDArray[np.bool_]) -> str:
    """Why no ranking can be judged on these cases; empty where both outcomes are there."""
    events = int(np.count_nonzero(outcome))
    if 0 < events < len(outcome):
        return ""
    return f"needs cases with and without the condition: {events} events among {len(outcome)} cases"


def degenerate_auc(
    outcome: NDArray[np.bool_],
    risk: Floats,
    value: float,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate | None:
    """An exact interval where the ranking shows no spread (AUC 1 or 0, or all risks the same), else None.

    Of k pairs, each an event and a non-event, that share no case and no group, all k were ranked alike. Each
    would with the probability that is asked for, so Clopper and Pearson's bound on k of k holds for it:
    the AUC, 1 - AUC, or the share of ties.
    """
    tied = len(risk) > 0 and risk.min() == risk.max()
    if not (tied or value in (0.0, 1.0)):
        return None
    pairs = _disjoint_pairs(outcome, group)
    bound = clopper_pearson(pairs, pairs, level=level).low if pairs else 0.0
    if tied:
        low, high, what = bound / 2, 1 - bound / 2, "one risk for all"
    else:
        low, high, what = (bound, 1.0, "an AUC of 1") if value == 1 else (0.0, 1 - bound, "an AUC of 0")
    method = (
        f"At {what} an interval by variance is degenerate (no width); "
        f"exact binomial bound on {pairs} disjoint pairs instead"
    )
    return Estimate(value, low, high, level, method)


def _disjoint_pairs(outcome: NDArray[np.bool_], group: ArrayLike | None) -> int:
    """Most event/non-event pairs of which no two share a group, and none lies within a group."""
    code = group_codes(group, len(outcome))
    with_event = np.bincount(code, weights=outcome) > 0
    with_other = np.bincount(code, weights=~outcome) > 0
    return min(int(with_event.sum()), int(with_other.sum()), len(with_event) // 2)


def _auc(
    outcome: ArrayLike,
    risk: ArrayLike,
    group: ArrayLike | None,
    level: float,
    bounds: Callable[[float, _Spread], tuple[float, float]],
    *,
    scale: Callable[[_Spread], str],
) -> Estimate:
    normal_quantile(level)  # refuses a level outside (0, 1)
    outcome, risk = checked_cases(outcome, risk)
    value, spread = _ranked(outcome, risk, group)
    if np.isnan(value):
        return undefined(spread.method, level=level)
    if spread.few:
        return Estimate(value, np.nan, np.nan, level, spread.few)
    exact = degenerate_auc(outcome, risk, value, group=group, level=level)
    if exact:
        return exact
    if not spread.variance > 0:
        return Estimate(value, np.nan, np.nan, level, spread.method)
    low, high = bounds(value, spread)
    return Estimate(value, low, high, level, spread.method + scale(spread))


def _of_few(spread: _Spread) -> str:
    """The scale of ``auc_logit``, and what few cases or groups of a class leave of its coverage."""
    if spread.least >= FEW:
        return ", logit scale"
    units = "groups with cases" if np.isfinite(spread.freedom) else "cases"
    return (
        f", logit scale; from {spread.least} {units} of one class covers 83 to 96 % where it says 95 %, "
        "least near an AUC of 1"
    )


def _ranked(outcome: NDArray[np.bool_], risk: Floats, group: ArrayLike | None) -> tuple[float, _Spread]:
    """The AUC and its variance; without groups nothing is put back into the order of the cases."""
    if reason := missing_outcome(outcome):
        return np.nan, _Spread(np.nan, reason, len(outcome))
    if group is None:
        placements = _placements(np.sort(risk[outcome]), np.sort(risk[~outcome]))
    else:
        placements = _placements_by_case(outcome, risk)
    return placements.value, _spread(placements, outcome, group)


def _placements_by_case(outcome: NDArray[np.bool_], risk: Floats) -> _Placements:
    """Placements in the order of the cases, so that two models or the cases of a group can be joined."""
    event_order, events = _ordered(risk[outcome])
    non_event_order, non_events = _ordered(risk[~outcome])
    ranked = _placements(events, non_events)
    del events, non_events  # as large as the data
    event, non_event = np.empty_like(ranked.event), np.empty_like(ranked.non_event)
    event[event_order], non_event[non_event_order] = ranked.event, ranked.non_event
    return _Placements(ranked.value, event, non_event)


def _ordered(values: Floats) -> tuple[NDArray[np.intp], Floats]:
    order = np.argsort(values)
    return order, values[order]


def _placements(events: Floats, non_events: Floats) -> _Placements:
    """Placements of ascending risks, in that order."""
    pairs = len(events) * len(non_events)
    # Searching the few among the many costs least; the counts of the many follow from the same search.
    if len(events) <= len(non_events):
        event, non_event = _exceeded(events, non_events)
        value = float(event.sum()) / pairs
    else:
        non_event, event = _exceeded(non_events, events)
        value = 1 - float(non_event.sum()) / pairs
    event /= len(non_events)
    non_event /= -len(events)
    non_event += 1
    return _Placements(value, event, non_event)


def _exceeded(few: Floats, many: Floats) -> tuple[Floats, Floats]:
    """How many of the other each value exceeds, ties counting half, for both; both ascending."""
    below = np.searchsorted(many, few, side="left")
    tied = many.take(below, mode="clip") == few
    up_to = below.copy() if tied.any() else below
    if up_to is not below:
        up_to[tied] = np.searchsorted(many, few[tied], side="right")
    # A value of few is at most many[j] where its ``below`` is at most j, and less where its ``up_to`` is.
    half: Floats = np.full(len(few), 0.5)
    passed = np.asarray(np.bincount(below, half, minlength=len(many) + 1), dtype=np.float64)
    passed += passed if up_to is below else np.bincount(up_to, half, minlength=len(many) + 1)
    np.cumsum(passed, out=passed)
    np.add(below, up_to, out=half)
    half /= 2
    return half, passed[:-1]


def _spread(placements: _Placements, outcome: NDArray[np.bool_], group: ArrayLike | None) -> _Spread:
    """Variance by DeLong, or by Obuchowski where a group has more than one case."""
    code = None if group is None else group_codes(group, len(outcome))
    if code is None or code.max() + 1 == len(code):
        return _delong(placements)
    return replace(_obuchowski(placements, code[outcome], code[~outcome]), few=few_groups(code))


def _delong(placements: _Placements) -> _Spread:
    events, non_events = len(placements.event), len(placements.non_event)
    if min(events, non_events) < 2:
        return _Spread(np.nan, _too_few("", events, non_events), events + non_events)
    variance = placements.event.var(ddof=1) / events + placements.non_event.var(ddof=1) / non_events
    return _Spread(float(variance), "DeLong", events + non_events, min(events, non_events))


def _obuchowski(
    placements: _Placements, event_group: NDArray[np.intp], other_group: NDArray[np.intp]
) -> _Spread:
    """Clustered variance; the letters are those of Obuchowski 1997."""
    groups = int(max(event_group.max(), other_group.max())) + 1
    M, N = len(placements.event), len(placements.non_event)
    V10 = np.bincount(event_group, placements.event - placements.value, minlength=groups)
    V01 = np.bincount(other_group, placements.non_event - placements.value, minlength=groups)
    I10 = int(np.count_nonzero(np.bincount(event_group)))
    I01 = int(np.count_nonzero(np.bincount(other_group)))
    if min(I10, I01) < 2:
        return _Spread(np.nan, _too_few("groups with ", I10, I01), groups)
    S10 = I10 / ((I10 - 1) * M) * (V10 @ V10)
    S01 = I01 / ((I01 - 1) * N) * (V01 @ V01)
    S11 = groups / (groups - 1) * (V10 @ V01)
    parts = np.array([S10 / M, S01 / N, 2 * S11 / (M * N)])
    variance, rounding = float(parts.sum()), ROUNDING * np.abs(parts).sum()
    if variance < -rounding:
        return _Spread(np.nan, "no interval: Obuchowski's variance is below 0 on these groups", groups)
    if variance <= rounding:  # parts that cancel, whose last bits depend on the order of the cases
        return _Spread(0.0, "no interval: Obuchowski's variance is 0 on these groups", groups)
    few10, few01 = (effective_groups(each) - 1 for each in (event_group, other_group))
    freedom = (S10 / M + S01 / N) ** 2 / ((S10 / M) ** 2 / few10 + (S01 / N) ** 2 / few01)
    words = f"DeLong clustered by {groups} groups (Obuchowski)"
    return _Spread(variance, words, groups, min(I10, I01), float(freedom))


def _too_few(of: str, events: int, non_events: int) -> str:
    return (
        f"no interval: a variance needs two {of}events and two {of}non-events; "
        f"there are {events} and {non_events}"
    )
