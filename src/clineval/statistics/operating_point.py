"""What a model does at one threshold: the 2x2 table and what follows from it, also at other prevalences."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from clineval.statistics.counts import (
    Bools,
    Counts,
    Floats,
    Integers,
    ascending,
    checked_cases,
    checked_prevalence,
    checked_risks,
    counts,
    flagged,
    flagged_counts,
    steps_reached,
    takes_series,
)
from clineval.statistics.intervals import (
    Estimate,
    Worth,
    effective_cases,
    effective_groups,
    few_groups,
    independent_cases,
    normal_quantile,
    quantile_by_group,
    rate,
    shared_groups,
    undefined,
    wilson_bounds,
    without_bounds,
    worth_of_moments,
)
from clineval.statistics.thresholds import Point

Worths = tuple[float, float]
"""How many independent events and non-events the counts are worth, where cases come in groups."""


def ppv_at_prevalence(
    table: Counts, prevalence: float, *, independent: Worths | None = None, level: float = 0.95
) -> Estimate:
    """How many of those flagged would have the condition at another prevalence.

    >>> ppv_at_prevalence(Counts(38, 11, 4, 103), 0.01)
    0.087 (0.051 to 0.143)

    Sensitivity and specificity are taken to travel unchanged (a prevalence shift, not a change of case
    mix). Interval on the logit scale (Mercaldo, Lau and Zhou 2007, doi:10.1002/sim.2677); where a cell is
    empty, by the score bounds of the likelihood ratio.

    Parameters
    ----------
    table : 2x2 counts at a threshold.
    prevalence : between 0 and 1, both excluded.
    independent : how many independent events and non-events the counts are worth, where cases come in
        groups; ``threshold_table`` gives them.
    """
    right, wrong = (table.true_positives, table.events), (table.false_positives, table.non_events)
    return _predictive_value(right, wrong, checked_prevalence(prevalence), "flagged", independent, level)


def npv_at_prevalence(
    table: Counts, prevalence: float, *, independent: Worths | None = None, level: float = 0.95
) -> Estimate:
    """How many of those not flagged would be free of the condition at another prevalence.

    Assumptions and interval as for ``ppv_at_prevalence``.
    """
    right, wrong = (table.true_negatives, table.non_events), (table.false_negatives, table.events)
    worth = None if independent is None else independent[::-1]
    return _predictive_value(right, wrong, 1 - checked_prevalence(prevalence), "left unflagged", worth, level)


def _predictive_value(
    right: tuple[int, int],
    wrong: tuple[int, int],
    share: float,
    what: str,
    independent: Worths | None,
    level: float,
) -> Estimate:
    """Share of the right ones among those so called, where a ``share`` of all cases could be right."""
    if not (right[1] and wrong[1]):
        return undefined("needs cases with and without the condition", level=level)
    if not (right[0] or wrong[0]):
        return undefined(f"no case is {what}", level=level)
    right_rate, wrong_rate = right[0] / right[1], wrong[0] / wrong[1]
    worth, other = independent or (right[1], wrong[1])
    value = share * right_rate / (share * right_rate + (1 - share) * wrong_rate)
    variance = sum(
        (1 - rate) / (cases * rate) for rate, cases in ((right_rate, worth), (wrong_rate, other)) if rate
    )
    if not (right[0] and wrong[0]) or variance == 0:
        ratios = score_bounds_of_ratio(right_rate, worth, wrong_rate, other, level=level)
        odds = share / (1 - share)
        low, high = (1.0 if np.isinf(ratio) else odds * ratio / (1 + odds * ratio) for ratio in ratios)
        return Estimate(value, low, high, level, "score bounds of the likelihood ratio, for an empty cell")
    reach = normal_quantile(level) * np.sqrt(variance)
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return Estimate(value, float(low), float(high), level, "logit method")


def net_benefit_at_prevalence(
    table: Counts,
    threshold: float,
    prevalence: float,
    *,
    independent: Worths | None = None,
    level: float = 0.95,
) -> Estimate:
    """True positives less false positives, these weighed by the threshold's odds, per case at a prevalence.

    NB = sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * t / (1 - t). The interval joins
    the Wilson intervals of the two rates (MOVER, Zou and Donner 2008, doi:10.1002/sim.3095).

    Parameters
    ----------
    table : 2x2 counts at the threshold.
    threshold : in [0, 1).
    prevalence, independent : as for ``ppv_at_prevalence``.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"Net benefit needs a threshold in [0, 1); got {threshold}.")
    gain = checked_prevalence(prevalence)
    cost = (1 - gain) * threshold / (1 - threshold)
    if not (table.events and table.non_events):
        return undefined("needs cases with and without the condition", level=level)
    worth, other = independent or (table.events, table.non_events)
    hit = rate(table.true_positives, table.events, Worth(worth), reason="", level=level)
    alarm = rate(table.false_positives, table.non_events, Worth(other), reason="", level=level)
    value = gain * hit.value - cost * alarm.value
    below = np.hypot(gain * (hit.value - hit.low), cost * (alarm.high - alarm.value))
    above = np.hypot(gain * (hit.high - hit.value), cost * (alarm.value - alarm.low))
    method = f"MOVER of two Wilson intervals at prevalence {prevalence:g}"
    return Estimate(value, float(value - below), float(value + above), level, method)


COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")
"""The four cells of the 2x2 table, in the order in which they are written."""

RATES = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "lr_positive", "lr_negative")
"""The rates that every operating point carries."""


@dataclass(frozen=True)
class Appendix:
    """Measures that readers ask for and that no decision should rest on.

    F1 ignores the true negatives and MCC weighs both errors by their counts: neither says what a missed
    case costs, both move with prevalence, and neither is proper (Van Calster et al. 2025,
    doi:10.1016/j.landig.2025.100916).
    """

    balanced_accuracy: Estimate
    f1: Estimate
    mcc: Estimate


@dataclass(frozen=True)
class OperatingPoint:
    """A model at one threshold: where the threshold comes from, the 2x2 table, the rates with intervals.

    Attributes
    ----------
    point : the threshold, frozen before these cases were scored.
    true_positives and its three kin : the 2x2 table; None where the threshold is undefined.
    net_benefit : at the threshold itself, in true positives per case; NaN where it was not asked for.
    gain : the net benefit less that of the better of treating all and treating none.
    """

    point: Point = field(metadata={"inline": ("name", "threshold", "chosen_on", "rule")})
    true_positives: int | None
    false_positives: int | None
    false_negatives: int | None
    true_negatives: int | None
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    accuracy: Estimate
    lr_positive: Estimate
    lr_negative: Estimate
    appendix: Appendix
    net_benefit: float = math.nan
    gain: Estimate | None = field(default=None, metadata={"key": "net_benefit_gain"})

    @property
    def name(self) -> str:
        """What the threshold is called."""
        return self.point.name

    @property
    def threshold(self) -> float:
        """A case is flagged where its risk is at least this; NaN where none could be chosen."""
        return self.point.threshold

    @property
    def chosen_on(self) -> str:
        """The population that chose the threshold, or ``fixed`` or ``given``."""
        return self.point.chosen_on

    @property
    def rule(self) -> str:
        """How the threshold was chosen; where it could not be, why."""
        return self.point.rule

    @property
    def balanced_accuracy(self) -> Estimate:
        """The mean of sensitivity and specificity."""
        return self.appendix.balanced_accuracy

    @property
    def counts(self) -> Mapping[str, int | None]:
        """The four cells by name."""
        return {name: getattr(self, name) for name in COUNTS}

    @property
    def rates(self) -> Mapping[str, Estimate]:
        """The rates by name."""
        return {name: getattr(self, name) for name in RATES}

    @property
    def table(self) -> Counts:
        """The 2x2 table."""
        return Counts(*(getattr(self, name) or 0 for name in COUNTS))


@takes_series
def operating_point(
    outcome: ArrayLike,
    risk: ArrayLike,
    threshold: float | Point,
    *,
    name: str = "given",
    chosen_on: str = "given",
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> OperatingPoint:
    """Everything that a threshold means on these cases.

    >>> point = operating_point([1, 1, 0, 0, 0], [0.9, 0.4, 0.6, 0.2, 0.1], 0.5)
    >>> point.true_positives, point.false_negatives
    (1, 1)
    >>> point.sensitivity
    0.50 (0.09 to 0.91)

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    risk : shape (n,).
    threshold : a case is flagged where its risk is at least this; or a ``Point``, which has a name.
    name, chosen_on : what the point is called and which population chose it, where it is no ``Point``.
    group : shape (n,); with groups of several cases the intervals of rates and likelihood ratios are those
        of as many independent cases as the groups are worth.
    level : of the intervals.

    Notes
    -----
    Rates have Wilson intervals. A rate of no cases is NaN with the reason. From fewer than ten groups no
    interval is given.
    """
    point = threshold if isinstance(threshold, Point) else Point(name, threshold, chosen_on)
    if isinstance(threshold, Point) and math.isnan(threshold.threshold):
        return without_threshold(point, level=level)
    outcome, risk = checked_cases(outcome, risk)
    table = counts(outcome, risk, point.threshold)
    code = shared_groups(group, table.cases)
    called = flagged(risk, point.threshold)
    few = few_groups(code)

    def proportion(right: Bools, of: Bools, reason: str) -> Estimate:
        return without_bounds(rate(*_taken(right, of, code), reason=reason, level=level), few)

    everyone = np.ones(len(outcome), dtype=np.bool_)
    caught = proportion(called, outcome, "no case has the condition")
    spared = proportion(~called, ~outcome, "no case is without the condition")
    concerned = called | outcome
    classes = (
        effective_cases(_worth(called[outcome], code, outcome), level),
        effective_cases(_worth(~called[~outcome], code, ~outcome), level),
    )
    return OperatingPoint(
        Point(point.name, float(point.threshold), point.chosen_on, point.rule, point.choice),
        table.true_positives,
        table.false_positives,
        table.false_negatives,
        table.true_negatives,
        sensitivity=caught,
        specificity=spared,
        ppv=proportion(outcome, called, "no case is flagged"),
        npv=proportion(~outcome, ~called, "every case is flagged"),
        accuracy=proportion(called == outcome, everyone, "no cases"),
        lr_positive=without_bounds(likelihood_ratio_positive(table, level=level, independent=classes), few),
        lr_negative=without_bounds(likelihood_ratio_negative(table, level=level, independent=classes), few),
        appendix=Appendix(
            without_bounds(_balanced_accuracy(caught, spared), few),
            without_bounds(
                _f1(table, level=level, worth=_worth((called & outcome)[concerned], code, concerned)), few
            ),
            without_bounds(_mcc(called, outcome, code=code, level=level), few),
        ),
    )


def without_threshold(point: Point, *, level: float = 0.95) -> OperatingPoint:
    """The operating point of a threshold that could not be chosen: every rate undefined, for that reason."""
    missing = undefined(point.rule, level=level)
    rates: dict[str, Any] = dict.fromkeys(RATES, missing)
    nothing = Appendix(missing, missing, missing)
    return OperatingPoint(point, None, None, None, None, **rates, appendix=nothing)


def _taken(right: Bools, of: Bools, code: NDArray[np.intp] | None) -> tuple[int, int, Worth]:
    """Successes and total of a proportion, and what the total is worth."""
    among = right[of]
    return int(np.count_nonzero(among)), len(among), _worth(among, code, of)


def _worth(right: Bools, code: NDArray[np.intp] | None, of: Bools) -> Worth:
    return Worth(float(len(right))) if code is None or not len(right) else independent_cases(right, code[of])


def _balanced_accuracy(caught: Estimate, spared: Estimate) -> Estimate:
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
    table: Counts, *, level: float = 0.95, independent: Worths | None = None
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
    table: Counts, *, level: float = 0.95, independent: Worths | None = None
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
    independent: Worths | None,
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


def _f1(table: Counts, *, level: float = 0.95, worth: Worth | None = None) -> Estimate:
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


def _mcc(
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


@dataclass(frozen=True)
class ThresholdTable:
    """The 2x2 counts and rates at each of many thresholds, every array of shape (k,).

    A rate is (value, low, high), NaN where it is a rate of no cases; ``independent_events`` and
    ``independent_non_events`` say how many independent cases the two classes are worth for their rates.
    """

    threshold: Floats
    true_positives: Integers
    false_positives: Integers
    false_negatives: Integers
    true_negatives: Integers
    sensitivity: tuple[Floats, Floats, Floats]
    specificity: tuple[Floats, Floats, Floats]
    ppv: tuple[Floats, Floats, Floats]
    npv: tuple[Floats, Floats, Floats]
    accuracy: tuple[Floats, Floats, Floats]
    independent_events: Floats
    independent_non_events: Floats
    level: float


@takes_series
def threshold_table(
    outcome: ArrayLike,
    risk: ArrayLike,
    thresholds: ArrayLike,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> ThresholdTable:
    """The 2x2 table at many thresholds in one pass over the cases.

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    risk : shape (n,), in [0, 1].
    thresholds : shape (k,), strictly ascending; k/100 and k/1000 are fastest.
    group : shape (n,); with groups of several cases the intervals respect them, as in ``operating_point``.
    level : of the Wilson intervals.
    """
    outcome, risk = checked_risks(outcome, risk)
    thresholds = ascending(thresholds)
    tp, fp = flagged_counts(outcome, risk, thresholds)
    events = int(np.count_nonzero(outcome))
    fn, tn = events - tp, len(outcome) - events - fp
    code = shared_groups(group, len(outcome))
    few = bool(few_groups(code))
    parts = {
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
        "accuracy": (tp + tn, tp + tn + fp + fn),
    }
    effective = (
        {name: total.astype(np.float64) for name, (_, total) in parts.items()}
        if code is None
        else _effective(outcome, steps_reached(risk, thresholds), code, len(thresholds), level)
    )
    rates = {name: _rates(*parts[name], effective[name], level, few=few) for name in parts}
    return ThresholdTable(
        thresholds,
        tp,
        fp,
        fn,
        tn,
        **rates,
        independent_events=effective["sensitivity"],
        independent_non_events=effective["specificity"],
        level=level,
    )


def _rates(
    right: Integers, totals: Integers, effective: Floats, level: float, *, few: bool
) -> tuple[Floats, Floats, Floats]:
    value = np.full(len(totals), np.nan)
    np.divide(right, totals, out=value, where=totals > 0)
    if few:
        nothing = np.full(len(totals), np.nan)
        return value, nothing, nothing
    whole = effective == totals
    successes = np.where(whole, right, np.where(totals > 0, value, 0.0) * effective)
    return value, *wilson_bounds(np.minimum(successes, effective), effective, level=level)


def _effective(
    outcome: Bools, reached: NDArray[np.intp], code: NDArray[np.intp], steps: int, level: float
) -> dict[str, Floats]:
    """How many independent cases stand behind each rate at each threshold, each shape (steps,).

    Per step and group the counts are cumulated from the highest threshold down, in blocks of groups.
    """
    moments = {
        name: np.zeros((6, steps)) for name in ("sensitivity", "specificity", "ppv", "npv", "accuracy")
    }
    order = np.argsort(code, kind="stable")
    block = max(1, BLOCK // steps)
    ends = np.searchsorted(code[order], np.arange(0, int(code.max()) + 1 + block, block))
    for number, (start, end) in enumerate(pairwise(ends)):
        rows = order[start:end]
        cell = (code[rows] - number * block) * (steps + 1) + reached[rows]
        shape = (block, steps + 1)
        every = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
        events = np.bincount(cell[outcome[rows]], minlength=shape[0] * shape[1]).reshape(shape)
        called, caught = (np.cumsum(each[:, ::-1], axis=1)[:, ::-1] for each in (every, events))
        all_of, events_of = called[:, :1], caught[:, :1]
        called, caught = called[:, 1:], caught[:, 1:]
        spared = (all_of - events_of) - (called - caught)
        for name, right, of in (
            ("sensitivity", caught, np.broadcast_to(events_of, caught.shape)),
            ("specificity", spared, np.broadcast_to(all_of - events_of, caught.shape)),
            ("ppv", caught, called),
            ("npv", spared, all_of - called),
            ("accuracy", caught + spared, np.broadcast_to(all_of, caught.shape)),
        ):
            known = np.count_nonzero(of, axis=0), of.sum(axis=0), right.sum(axis=0)
            moments[name] += [*known, *(each.sum(axis=0) for each in (right**2, right * of, of**2))]
    return {name: _by_level(*worth_of_moments(*found), level) for name, found in moments.items()}


def _by_level(cases: Floats, groups: Floats, level: float) -> Floats:
    wide = np.array([effective_cases(Worth(1.0, number), level) for number in np.unique(groups)])
    return cases * wide[np.searchsorted(np.unique(groups), groups)]


# Numbers in one block of groups by thresholds.
BLOCK = 2**18
