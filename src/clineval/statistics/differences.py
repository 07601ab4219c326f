"""Differences of rates and scores, paired or between parts of the cases, and correction for their number.

The intervals of a part and of the rest are joined by Zou and Donner's square-and-add rule (MOVER 2008,
doi:10.1002/sim.3095). Where a group has cases on both sides, as a patient with a left and a right breast, the
two estimates are not independent; their correlation over the groups enters the rule.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtr
from scipy.stats import binom, binomtest, rankdata

from clineval.statistics.auc import Comparison, auc_logit, untested
from clineval.statistics.counts import (
    Bools,
    Floats,
    checked_cases,
    checked_outcome,
    checked_risks,
    flagged,
    group_codes,
    takes_series,
    true_or_false,
)
from clineval.statistics.intervals import (
    FEWEST_GROUPS,
    Estimate,
    Worth,
    effective_cases,
    effective_groups,
    few_groups,
    grouped_rate,
    normal_quantile,
    quantile_by_group,
    shared_groups,
    square_and_add,
    undefined,
    wilson_bounds,
    without_bounds,
)
from clineval.statistics.scores import standard_error, surely_wrong, surprise

# Largest sum of discordances whose sign-flip distribution is worked out rather than taken as normal:
# the convolution then holds 2 x 20,000 numbers.
MOST_EXACT = 20_000

ROUNDING = 1e-13  # of a standard error, as a share of the largest difference: below it there is no spread


@dataclass(frozen=True)
class PairedRate:
    """One rate of two models on the same cases: the difference, and whom each alone got right."""

    measure: str
    only_a: int
    only_b: int
    difference: Estimate
    p_value: float
    method: str


@dataclass(frozen=True)
class PairedRates:
    """Sensitivity, specificity and accuracy of model A less those of model B on the same cases."""

    sensitivity: PairedRate
    specificity: PairedRate
    accuracy: PairedRate


@takes_series
def mcnemar(
    outcome: ArrayLike,
    risk_a: ArrayLike,
    risk_b: ArrayLike,
    *,
    threshold_a: float,
    threshold_b: float,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> PairedRates:
    """Whether two models, each at its threshold, differ in whom they get right on the same cases.

    Parameters
    ----------
    outcome, risk_a, risk_b : shape (n,).
    threshold_a, threshold_b : each model flags where its risk is at least its threshold.
    group : shape (n,); with groups the signs of whole groups are flipped together.
    level : of the interval of the difference.

    Notes
    -----
    Exact McNemar test (McNemar 1947, doi:10.1007/BF02295996): the discordant cases are coin tosses if
    the models are alike. With groups, the exact distribution of the sum of each group's surplus under a
    toss per group; with one case per group that is the same test. The interval is Newcombe's score
    interval for paired proportions (1998, method 10, doi:10.1002/(SICI)1097-0258(19981130)17:22
    <2635::AID-SIM954>3.0.CO;2-C), with groups at as many independent pairs as the groups are worth: the
    cases divided by the design effect of the difference, as Rao and Scott's for a single rate.
    """
    outcome, risk_a = checked_cases(outcome, risk_a)
    _, risk_b = checked_cases(outcome, risk_b)
    right_a = flagged(risk_a, threshold_a) == outcome
    right_b = flagged(risk_b, threshold_b) == outcome
    code = shared_groups(group, len(outcome))
    few = few_groups(code)

    def paired(measure: str, among: Bools) -> PairedRate:
        own = None if code is None else code[among]
        found = _paired_rate(measure, right_a[among], right_b[among], own, level)
        return replace(found, difference=without_bounds(found.difference, few))

    return PairedRates(
        sensitivity=paired("sensitivity", outcome),
        specificity=paired("specificity", ~outcome),
        accuracy=paired("accuracy", np.ones_like(outcome)),
    )


def _paired_rate(
    measure: str, right_a: Bools, right_b: Bools, code: NDArray[np.intp] | None, level: float
) -> PairedRate:
    only_a, only_b = int(np.count_nonzero(right_a & ~right_b)), int(np.count_nonzero(right_b & ~right_a))
    if not len(right_a):
        nothing = undefined("no cases to take the rate of", level=level)
        return PairedRate(measure, 0, 0, nothing, np.nan, nothing.method)
    if code is None:
        both = int(np.count_nonzero(right_a & right_b))
        difference = _newcombe(both, only_a, only_b, len(right_a), level)
        return PairedRate(measure, only_a, only_b, difference, _coin(only_a, only_b), "McNemar exact")
    own = np.unique(code, return_inverse=True)[1]
    surplus = np.bincount(own, weights=right_a.astype(float) - right_b).astype(np.int64)
    p_value, method = _sign_flips(surplus)
    both, cases = int(np.count_nonzero(right_a & right_b)), len(right_a)
    worth = _worth_of_pairs(surplus, np.bincount(own), only_a, only_b)
    share = effective_cases(worth, level) / cases
    found = _newcombe(both * share, only_a * share, only_b * share, cases * share, level)
    if worth.cases != cases:
        words = f"{found.method}, {cases} pairs in groups worth {worth.cases:.1f} independent ones"
        found = Estimate((only_a - only_b) / cases, found.low, found.high, level, words)
    return PairedRate(measure, only_a, only_b, found, p_value, method)


def _worth_of_pairs(surplus: NDArray[np.int64], sizes: NDArray[np.intp], only_a: int, only_b: int) -> Worth:
    """How many independent pairs the groups are worth for a difference of two rates, never more than all."""
    groups, cases = len(sizes), int(sizes.sum())
    copies = cases**2 / float(sizes @ sizes)
    if groups == cases:
        return Worth(float(cases))
    difference = (only_a - only_b) / cases
    between = groups / max(1, groups - 1) * float(np.sum((surplus - difference * sizes) ** 2))
    independent = cases * ((only_a + only_b) / cases - difference**2)
    if groups < FEWEST_GROUPS or independent <= 0 or between <= 0:
        return Worth(copies)
    return Worth(min(float(cases), cases * independent / between), max(3.0, copies))


def _coin(only_a: int, only_b: int) -> float:
    discordant = only_a + only_b
    return float(binomtest(only_a, discordant).pvalue) if discordant else 1.0


def _newcombe(both: float, only_a: float, only_b: float, cases: float, level: float) -> Estimate:
    """Newcombe's paired score interval: two Wilson intervals joined with the correlation of the pairs."""
    (a_low, b_low), (a_high, b_high) = wilson_bounds(
        [min(both + only_a, cases), min(both + only_b, cases)], [cases, cases], level=level
    )
    a, b = (both + only_a) / cases, (both + only_b) / cases
    neither = max(0.0, cases - both - only_a - only_b)  # scaled counts may miss 0 by their last bits
    # Floats: of 100,000 cases the product of four counts is beyond 64-bit integers.
    product = float(both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    phi = 0.0
    if product:
        surplus = both * neither - only_a * only_b
        # Newcombe's continuity correction of a positive correlation, page 2639.
        surplus = max(surplus - cases / 2, 0.0) if surplus > 0 else surplus
        phi = surplus / np.sqrt(product)
    first, second = Estimate(a, a_low, a_high, level), Estimate(b, b_low, b_high, level)
    low, high = square_and_add(first, second, correlation=phi)
    return Estimate((only_a - only_b) / cases, low, high, level, "Newcombe's paired score interval")


def _sign_flips(surplus: NDArray[np.int64]) -> tuple[float, str]:
    """Two-sided probability of so large a total if each group's surplus had its sign by a coin toss."""
    sizes = np.abs(surplus[surplus != 0])
    total, largest = abs(int(surplus.sum())), int(sizes.sum())
    if not len(sizes):
        return 1.0, "McNemar exact by groups"
    if largest > MOST_EXACT:
        z = total / np.sqrt(np.sum(sizes.astype(float) ** 2))
        return float(2 * ndtr(-z)), "McNemar by groups, normal approximation"
    # The commonest size at one stroke, by the binomial law; the others one group after another.
    common = int(np.bincount(sizes).argmax())
    equal = np.count_nonzero(sizes == common)
    chance = np.zeros(2 * equal * common + 1)
    chance[:: 2 * common] = binom.pmf(np.arange(equal + 1), equal, 0.5)
    for size in sizes[sizes != common]:
        longer = np.zeros(len(chance) + 2 * size)
        longer[: len(chance)] += chance / 2
        longer[2 * size :] += chance / 2
        chance = longer
    # Place i of ``chance`` is the total i - largest; the distribution is symmetric.
    upper = chance[largest + total :].sum()
    return float(min(1.0, 2 * upper)), "McNemar exact by groups"


@takes_series
def compare_brier(
    outcome: ArrayLike,
    risk_a: ArrayLike,
    risk_b: ArrayLike,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """How much further one model's risks lie from the outcomes than another's: below 0 favours the first.

    Parameters
    ----------
    outcome, risk_a, risk_b : shape (n,), risks in [0, 1].
    group : shape (n,); with groups of several cases the variance is that between groups.
    level : of the Wald interval around the mean difference of squared errors.

    Notes
    -----
    The mean over cases of (a - outcome)^2 - (b - outcome)^2, tested as a mean: Redelmeier, Bloch and
    Hickam 1991, doi:10.1016/0895-4356(91)90146-Z, with the observed variance of the differences.
    """
    outcome, risk_a = checked_risks(outcome, risk_a)
    _, risk_b = checked_risks(outcome, risk_b)
    return _paired((risk_a - outcome) ** 2 - (risk_b - outcome) ** 2, "squared errors", group, level)


@takes_series
def compare_log_loss(
    outcome: ArrayLike,
    risk_a: ArrayLike,
    risk_b: ArrayLike,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """How much more one model is surprised by the outcomes than another: below 0 favours the first.

    Parameters as for ``compare_brier``. Undefined where a risk of exactly 0 or 1 proved wrong, which is
    an infinite surprise.
    """
    outcome, risk_a = checked_risks(outcome, risk_a)
    _, risk_b = checked_risks(outcome, risk_b)
    wrong = surely_wrong(outcome, risk_a) + surely_wrong(outcome, risk_b)
    if wrong:
        return untested(undefined(f"infinite: {wrong} risks of exactly 0 or 1 proved wrong", level=level))
    return _paired(surprise(outcome, risk_a) - surprise(outcome, risk_b), "log losses", group, level)


def _paired(change: Floats, what: str, group: ArrayLike | None, level: float) -> Comparison:
    if not len(change):
        return untested(undefined("no cases", level=level))
    mean, code = float(change.mean()), shared_groups(group, len(change))
    if few := few_groups(code):
        return untested(Estimate(mean, np.nan, np.nan, level, few))
    error = standard_error((change - mean) / len(change), code)
    if not error > ROUNDING * np.abs(change).max(initial=0.0):
        reason = (
            "the two models err alike in every case" if error >= 0 else "one case or group shows no spread"
        )
        return untested(Estimate(mean, np.nan, np.nan, level, f"no interval: {reason}"))
    groups = effective_groups(code)
    reach, z = quantile_by_group(level, groups) * error, mean / error
    p_value = 2 * ndtr(-abs(z)) if code is None else 2 * stdtr(groups - 1, -abs(z))
    units = "cases" if code is None else f"{code.max() + 1} groups, Student's t"
    method = f"paired difference of {what}, Wald, variance between {units}"
    estimate = Estimate(mean, mean - reach, mean + reach, level, method)
    return Comparison(estimate, z, float(p_value), method)


@takes_series
def auc_of_part_less_rest(
    outcome: ArrayLike,
    risk: ArrayLike,
    part: ArrayLike,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The AUC within a part of the cases less that within the others; below 0 the part is ranked worse.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    part : shape (n,), True where the case belongs to the part.
    """
    outcome, risk = checked_cases(outcome, risk)
    code, inside = group_codes(group, len(outcome)), true_or_false(part, "part", len(outcome))
    sides = (inside, ~inside)
    aucs = [auc_logit(outcome[on], risk[on], group=code[on], level=level) for on in sides]
    if not all(np.isfinite([each.low, each.high]).all() for each in aucs):
        return undefined(_lacking(aucs), level=level)
    shares = [_sums(_auc_influence(outcome[on], risk[on]), code[on], code) for on in sides]
    return _difference(aucs[0], aucs[1], correlation_through_groups(*shares), what="AUC")


@takes_series
def rate_of_part_less_rest(
    right: ArrayLike, part: ArrayLike, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """A rate, such as the sensitivity, within a part of the cases less that within the others.

    Parameters
    ----------
    right : shape (n,), whether the case counts; of the sensitivity, the cases with the condition that are
        flagged among all that have it.
    part, group : shape (n,), as for ``auc_of_part_less_rest``.
    """
    right = checked_outcome(right)
    code, inside = group_codes(group, len(right)), true_or_false(part, "part", len(right))
    sides = (inside, ~inside)
    rates = [grouped_rate(right[on], code[on], level=level) for on in sides]
    if not all(np.isfinite(each.value) for each in rates):
        return undefined(_lacking(rates), level=level)
    shares = [_sums(right[on] - right[on].mean(), code[on], code) for on in sides]
    return _difference(rates[0], rates[1], correlation_through_groups(*shares), what="rate")


def _auc_influence(outcome: Bools, risk: Floats) -> Floats:
    """How far each case moves the AUC, shape (n,): its placement less the AUC, over the cases like it."""
    among_all = rankdata(risk)
    influence = np.empty(len(risk))
    for side, sign in ((outcome, 1.0), (~outcome, -1.0)):
        beaten = (among_all[side] - rankdata(risk[side])) / np.count_nonzero(~side)
        influence[side] = sign * (beaten - beaten.mean()) / np.count_nonzero(side)
    return influence


def _sums(values: Floats, own: NDArray[np.intp], code: NDArray[np.intp]) -> Floats:
    """The sum per group, over all groups of the population."""
    return np.bincount(own, weights=values, minlength=int(code.max()) + 1).astype(np.float64)


def correlation_through_groups(first: Floats, second: Floats) -> float:
    """Of two estimates through the groups that have cases in both, from each group's deviations, shape (k,).

    0 where no group has cases in both.
    """
    spread = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / spread if spread > 0 else 0.0


def _difference(first: Estimate, second: Estimate, correlation: float, *, what: str) -> Estimate:
    low, high = square_and_add(first, second, correlation=correlation)
    shared = f", correlated by {correlation:+.2f} through groups on both sides" if correlation else ""
    method = f"MOVER of the {what}'s two intervals{shared}"
    return Estimate(first.value - second.value, low, high, first.level, method)


def _lacking(estimates: list[Estimate]) -> str:
    side, each = next(
        (side, each)
        for side, each in zip(("the part", "the others"), estimates, strict=True)
        if not np.isfinite([each.value, each.low, each.high]).all()
    )
    return f"{side}: {each.method}"


Name = TypeVar("Name", bound=Hashable)
POWER = 0.8  # with which the smallest gap would have been found


@dataclass(frozen=True)
class GapTest:
    """Whether a subgroup differs from all other cases, and how small a difference would have been seen.

    ``p_holm`` is ``p_value`` corrected for all ``comparisons`` of this measure in the population; a column
    of two values is one comparison. ``smallest_gap`` is the true difference that would be found with 80 %
    power, in the measure's own units and without that correction.
    """

    p_value: float
    p_holm: float
    comparisons: int
    smallest_gap: float


def p_value_of(difference: Estimate) -> float:
    """The two-sided p value of a difference, read off its interval: below 1 - level where that excludes 0.

    The reach of the interval towards 0 is taken for normal. NaN where there is no interval.

    >>> round(p_value_of(Estimate(0.1, 0.0, 0.25)), 3)
    0.05
    """
    bound = difference.low if difference.value > 0 else difference.high
    if not np.isfinite(bound):
        return np.nan
    if difference.value == 0:
        return 1.0
    reach = abs(difference.value - bound)
    errors = normal_quantile(difference.level) * abs(difference.value) / reach if reach > 0 else np.inf
    return float(2 * ndtr(-errors))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's p values, shape (k,): below alpha for any false alarm among all k with probability below alpha.

    Holm 1979, Scand J Stat 6:65-70. Those that are NaN stay NaN and are no comparison.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values)[: np.count_nonzero(~np.isnan(p_values))]
    adjusted = np.full(len(p_values), np.nan)
    left = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(left * p_values[order]), 1.0)
    return adjusted


def smallest_gap(difference: Estimate, *, power: float = POWER) -> float:
    """The true difference that cases like these would show, with this power and one comparison alone.

    (z of the level + z of the power) standard errors; the standard error is half the interval over z. NaN
    where there is no interval.

    >>> round(smallest_gap(Estimate(0.0, -0.196, 0.196)), 3)
    0.28
    """
    reach = normal_quantile(difference.level)
    return float((reach + ndtri(power)) * (difference.high - difference.low) / (2 * reach))


def gap_tests(
    gaps: Mapping[Name, Mapping[str, Estimate]], *, mirrored: Mapping[Name, Name]
) -> dict[Name, dict[str, GapTest]]:
    """What each difference shows, its p value corrected by Holm for all differences of its measure.

    Parameters
    ----------
    gaps : by subgroup and measure, the subgroup less all other cases.
    mirrored : of two subgroups that are each other's other cases the second, and the first, which counts.
    """
    tests: dict[Name, dict[str, GapTest]] = {name: {} for name in gaps}
    for measure in dict.fromkeys(each for found in gaps.values() for each in found):
        of = {name: found[measure] for name, found in gaps.items() if measure in found}
        p_value = {name: p_value_of(gap) for name, gap in of.items()}
        family = [name for name in of if name not in mirrored and not np.isnan(p_value[name])]
        adjusted = dict(zip(family, holm([p_value[name] for name in family]).tolist(), strict=True))
        for name, gap in of.items():
            corrected = adjusted.get(mirrored.get(name, name), np.nan)
            tests[name][measure] = GapTest(p_value[name], corrected, len(family), smallest_gap(gap))
    return tests
