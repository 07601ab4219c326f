"""From the 2x2 table to its rates and ratios, each with an interval."""

import numpy as np
from numpy.typing import NDArray

from clineval.statistics.counts import Bools, Counts
from clineval.statistics.intervals import Estimate, normal_quantile, undefined, wilson, wilson_bounds


def rate(successes: int, total: int, independent: float, *, reason: str, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's interval, as wide as so many independent cases make it.

    Parameters
    ----------
    successes, total : counts; ``reason`` says why there is no rate where ``total`` is 0.
    independent : cases that the total is worth, from ``independent_cases``; the total itself without
        groups.
    """
    if not total:
        return undefined(reason, level=level)
    if independent == total:
        return wilson(successes, total, level=level)
    share = successes / total
    low, high = wilson_bounds(share * independent, independent, level=level)
    words = f"Wilson score, {total} cases in groups worth {independent:.1f} independent ones"
    return Estimate(share, float(low), float(high), level, words)


def independent_cases(right: Bools, code: NDArray[np.intp]) -> float:
    """How many independent cases would tell as much of a proportion as these cases in groups.

    The cases divided by the design effect, the variance between groups over the binomial one; never more
    than the cases. Where all are right or all wrong, the number of groups. Rao and Scott 1992,
    doi:10.2307/2532311.

    Parameters
    ----------
    right : shape (n,), whether the case counts as a success.
    code : shape (n,), groups by number from 0.
    """
    cases, successes = len(right), int(np.count_nonzero(right))
    sizes = np.bincount(code)
    groups = int(np.count_nonzero(sizes))
    if groups < 2 or successes in (0, cases):
        return float(groups)
    share = successes / cases
    surplus = np.bincount(code, weights=right) - share * sizes
    between = groups / (groups - 1) * (surplus @ surplus) / cases**2
    worth = share * (1 - share) / float(between) if between > 0 else float(cases)
    return min(float(cases), worth)


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
    single = int(own.max()) + 1 == len(own)
    worth = float(len(right)) if single else independent_cases(right, own)
    return rate(int(np.count_nonzero(right)), len(right), worth, reason=reason, level=level)


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

    Interval by the log method (Simel et al. 1991, doi:10.1016/0895-4356(91)90128-V), as R's epiR gives it.
    ``independent``: how many independent events and non-events the counts are worth, where cases come in
    groups.
    """
    return _likelihood_ratio(
        table.true_positives, table.false_positives, table, "flagged", level, independent
    )


def likelihood_ratio_negative(
    table: Counts, *, level: float = 0.95, independent: tuple[float, float] | None = None
) -> Estimate:
    """How many times likelier no flag is in those with the condition than in those without.

    Interval by the log method (Simel et al. 1991, doi:10.1016/0895-4356(91)90128-V), as R's epiR gives it.
    ``independent``: how many independent events and non-events the counts are worth, where cases come in
    groups.
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
    if events == 0:
        reason = f"no case with the condition is {what}: the log method has no interval"
        return Estimate(ratio, np.nan, np.nan, level, reason)
    worth, worth_others = independent or (table.events, table.non_events)
    error = np.sqrt(
        (1 - among_events) / (worth * among_events) + (1 - among_others) / (worth_others * among_others)
    )
    reach = np.exp(normal_quantile(level) * error)
    return Estimate(ratio, float(ratio / reach), float(ratio * reach), level, "log method")


def f1(table: Counts, *, level: float = 0.95) -> Estimate:
    """The harmonic mean of sensitivity and PPV; for the appendix, see ``Appendix``.

    F1 = 2 J / (1 + J) with J = TP / (TP + FP + FN), a proportion: its Wilson interval is carried over.
    """
    concerned = table.true_positives + table.false_positives + table.false_negatives
    if not concerned:
        return undefined("appendix measure; no case is flagged and none has the condition", level=level)
    jaccard = wilson(table.true_positives, concerned, level=level)
    value, low, high = (2 * j / (1 + j) for j in (jaccard.value, jaccard.low, jaccard.high))
    return Estimate(value, low, high, level, "appendix measure; Wilson interval of TP / (TP + FP + FN)")


def mcc(table: Counts, *, level: float = 0.95) -> Estimate:
    """Matthews' correlation between flag and condition; for the appendix, see ``Appendix``.

    Interval on Fisher's z scale with the multinomial delta-method variance of a correlation.
    """
    tp, fp, fn, tn = (
        float(n)
        for n in (table.true_positives, table.false_positives, table.false_negatives, table.true_negatives)
    )
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    if product == 0:
        return undefined("appendix measure; a row or column of the 2x2 table is empty", level=level)
    value = (tp * tn - fp * fn) / np.sqrt(product)
    if abs(value) == 1:
        return Estimate(
            value, np.nan, np.nan, level, "appendix measure; a correlation of 1 has no delta-method interval"
        )
    reach = normal_quantile(level) * _correlation_error(tp, fp, fn, tn, value) / (1 - value**2)
    low, high = np.tanh(np.arctanh(value) + np.array([-reach, reach]))
    return Estimate(float(value), float(low), float(high), level, "appendix measure; Fisher z, delta method")


def _correlation_error(tp: float, fp: float, fn: float, tn: float, value: float) -> float:
    """Standard error of the correlation of two yes/no variables, from each cell's influence."""
    cases = tp + fp + fn + tn
    flag, event = (tp + fp) / cases, (tp + fn) / cases
    cell = np.array([tp, fp, fn, tn])
    x = (np.array([1, 1, 0, 0]) - flag) / np.sqrt(flag * (1 - flag))
    y = (np.array([1, 0, 1, 0]) - event) / np.sqrt(event * (1 - event))
    influence = x * y - value * (x**2 + y**2) / 2
    return float(np.sqrt(np.sum(cell * influence**2)) / cases)
