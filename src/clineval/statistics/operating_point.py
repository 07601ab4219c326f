"""What a model does at one threshold: the 2x2 table and all that follows from it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clineval.statistics.counts import (
    Bools,
    Counts,
    Floats,
    Integers,
    ascending,
    checked_cases,
    checked_risks,
    counts,
    flagged,
    flagged_counts,
    steps_reached,
    takes_series,
)
from clineval.statistics.intervals import Estimate, few_groups, undefined, wilson_bounds
from clineval.statistics.paired import PairedRate, PairedRates, mcnemar
from clineval.statistics.prevalence import (
    intercept_at_prevalence,
    net_benefit_at_prevalence,
    npv_at_prevalence,
    ppv_at_prevalence,
    risk_at_prevalence,
)
from clineval.statistics.rates import (
    Worth,
    balanced_accuracy,
    effective_cases,
    f1,
    independent_cases,
    likelihood_ratio_negative,
    likelihood_ratio_positive,
    mcc,
    rate,
    worth_of_moments,
)
from clineval.statistics.resampling import shared_groups
from clineval.statistics.thresholds import (
    ChosenThreshold,
    Point,
    choose_threshold,
    events_to_guarantee,
    probability_target_met,
    threshold_for_harm_ratio,
    threshold_for_sensitivity,
    threshold_for_specificity,
    threshold_youden,
)

__all__ = [
    "Appendix",
    "ChosenThreshold",
    "Counts",
    "OperatingPoint",
    "PairedRate",
    "PairedRates",
    "Point",
    "ThresholdTable",
    "choose_threshold",
    "counts",
    "events_to_guarantee",
    "flagged",
    "intercept_at_prevalence",
    "likelihood_ratio_negative",
    "likelihood_ratio_positive",
    "mcnemar",
    "net_benefit_at_prevalence",
    "npv_at_prevalence",
    "operating_point",
    "ppv_at_prevalence",
    "probability_target_met",
    "risk_at_prevalence",
    "threshold_for_harm_ratio",
    "threshold_for_sensitivity",
    "threshold_for_specificity",
    "threshold_table",
    "threshold_youden",
]

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
        return _plain(rate(*_taken(right, of, code), reason=reason, level=level), few)

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
        lr_positive=_plain(likelihood_ratio_positive(table, level=level, independent=classes), few),
        lr_negative=_plain(likelihood_ratio_negative(table, level=level, independent=classes), few),
        appendix=Appendix(
            _plain(balanced_accuracy(caught, spared), few),
            _plain(f1(table, level=level, worth=_worth((called & outcome)[concerned], code, concerned)), few),
            _plain(mcc(called, outcome, code=code, level=level), few),
        ),
    )


def without_threshold(point: Point, *, level: float = 0.95) -> OperatingPoint:
    """The operating point of a threshold that could not be chosen: every rate undefined, for that reason."""
    missing = undefined(point.rule, level=level)
    rates: dict[str, Any] = dict.fromkeys(RATES, missing)
    nothing = Appendix(missing, missing, missing)
    return OperatingPoint(point, None, None, None, None, **rates, appendix=nothing)


def _plain(estimate: Estimate, few: str) -> Estimate:
    """The estimate; its value alone where groups are too few for an interval."""
    if not few or math.isnan(estimate.value):
        return estimate
    return Estimate(estimate.value, math.nan, math.nan, estimate.level, few)


def _taken(right: Bools, of: Bools, code: NDArray[np.intp] | None) -> tuple[int, int, Worth]:
    """Successes and total of a proportion, and what the total is worth."""
    among = right[of]
    return int(np.count_nonzero(among)), len(among), _worth(among, code, of)


def _worth(right: Bools, code: NDArray[np.intp] | None, of: Bools) -> Worth:
    return Worth(float(len(right))) if code is None or not len(right) else independent_cases(right, code[of])


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
