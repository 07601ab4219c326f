"""What a model does at one threshold: the 2x2 table and all that follows from it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from clineval.statistics.counting import (
    Counts,
    Floats,
    Integers,
    ascending,
    checked_risks,
    counts,
    flagged,
    flagged_counts,
)
from clineval.statistics.intervals import Estimate, normal_quantile, undefined, wilson, wilson_bounds
from clineval.statistics.paired_rates import PairedRate, PairedRates, mcnemar
from clineval.statistics.prevalence import (
    intercept_at_prevalence,
    net_benefit_at_prevalence,
    npv_at_prevalence,
    ppv_at_prevalence,
    risk_at_prevalence,
)
from clineval.statistics.thresholds import (
    ChosenThreshold,
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


@dataclass(frozen=True)
class Appendix:
    """Measures that readers ask for and that no decision should rest on.

    F1 ignores the true negatives and MCC weighs both errors by their counts: neither says what a missed
    case costs, both move with prevalence, and neither is proper (Van Calster et al. 2025,
    doi:10.1016/j.landig.2025.100916).
    """

    f1: Estimate
    mcc: Estimate


@dataclass(frozen=True)
class OperatingPoint:
    """A model at one threshold: where the threshold comes from, the 2x2 table, the rates with intervals."""

    name: str
    threshold: float
    chosen_on: str
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    lr_positive: Estimate
    lr_negative: Estimate
    appendix: Appendix

    @property
    def counts(self) -> Counts:
        """The 2x2 table."""
        return Counts(self.true_positives, self.false_positives, self.false_negatives, self.true_negatives)


def operating_point(
    outcome: ArrayLike,
    risk: ArrayLike,
    threshold: float,
    *,
    name: str = "given",
    chosen_on: str = "given",
    level: float = 0.95,
) -> OperatingPoint:
    """Everything that a threshold means on these cases.

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    risk : shape (n,).
    threshold : a case is flagged where its risk is at least this.
    name, chosen_on : what the point is called and which population chose it.
    level : of the intervals.

    Notes
    -----
    Rates have Wilson intervals, which take cases as independent. A rate of no cases is NaN with the
    reason.
    """
    return _point(counts(outcome, risk, threshold), float(threshold), name, chosen_on, level)


def _point(table: Counts, threshold: float, name: str, chosen_on: str, level: float) -> OperatingPoint:
    return OperatingPoint(
        name,
        threshold,
        chosen_on,
        table.true_positives,
        table.false_positives,
        table.false_negatives,
        table.true_negatives,
        sensitivity=_rate(table.true_positives, table.events, "no case has the condition", level),
        specificity=_rate(table.true_negatives, table.non_events, "no case is without the condition", level),
        ppv=_rate(table.true_positives, table.flagged, "no case is flagged", level),
        npv=_rate(table.true_negatives, table.cases - table.flagged, "every case is flagged", level),
        accuracy=_rate(table.true_positives + table.true_negatives, table.cases, "no cases", level),
        balanced_accuracy=balanced_accuracy(table, level=level),
        lr_positive=likelihood_ratio_positive(table, level=level),
        lr_negative=likelihood_ratio_negative(table, level=level),
        appendix=Appendix(f1(table, level=level), mcc(table, level=level)),
    )


def _rate(successes: int, total: int, reason: str, level: float) -> Estimate:
    return wilson(successes, total, level=level) if total else undefined(reason, level=level)


def balanced_accuracy(table: Counts, *, level: float = 0.95) -> Estimate:
    """The mean of sensitivity and specificity: accuracy as it would be if half the cases had the condition.

    The interval joins the two Wilson intervals by Zou and Donner's square-and-add rule (MOVER 2008,
    doi:10.1002/sim.3095).
    """
    if not (table.events and table.non_events):
        return undefined("needs cases with and without the condition", level=level)
    caught = wilson(table.true_positives, table.events, level=level)
    spared = wilson(table.true_negatives, table.non_events, level=level)
    value = (caught.value + spared.value) / 2
    below = np.hypot(caught.value - caught.low, spared.value - spared.low) / 2
    above = np.hypot(caught.high - caught.value, spared.high - spared.value) / 2
    return Estimate(value, float(value - below), float(value + above), level, "MOVER of two Wilson intervals")


def likelihood_ratio_positive(table: Counts, *, level: float = 0.95) -> Estimate:
    """How many times likelier a flag is in those with the condition than in those without.

    Interval by the log method (Simel et al. 1991, doi:10.1016/0895-4356(91)90128-V), as R's epiR gives it.
    """
    return _likelihood_ratio(table.true_positives, table.false_positives, table, "flagged", level)


def likelihood_ratio_negative(table: Counts, *, level: float = 0.95) -> Estimate:
    """How many times likelier no flag is in those with the condition than in those without.

    Interval by the log method (Simel et al. 1991, doi:10.1016/0895-4356(91)90128-V), as R's epiR gives it.
    """
    return _likelihood_ratio(table.false_negatives, table.true_negatives, table, "left unflagged", level)


def _likelihood_ratio(events: int, non_events: int, table: Counts, what: str, level: float) -> Estimate:
    if not (table.events and table.non_events):
        return undefined("needs cases with and without the condition", level=level)
    if non_events == 0:
        return undefined(f"no case without the condition is {what}: the ratio has no bound", level=level)
    ratio = (events / table.events) / (non_events / table.non_events)
    if events == 0:
        reason = f"no case with the condition is {what}: the log method has no interval"
        return Estimate(ratio, np.nan, np.nan, level, reason)
    error = np.sqrt((1 - events / table.events) / events + (1 - non_events / table.non_events) / non_events)
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


@dataclass(frozen=True)
class ThresholdTable:
    """The 2x2 counts and rates at each of many thresholds, every array of shape (k,)."""

    threshold: Floats
    true_positives: Integers
    false_positives: Integers
    false_negatives: Integers
    true_negatives: Integers
    level: float

    @property
    def sensitivity(self) -> tuple[Floats, Floats, Floats]:
        """Value, low and high of the sensitivity (Wilson), each shape (k,)."""
        return self._rates(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> tuple[Floats, Floats, Floats]:
        """Value, low and high of the specificity (Wilson), each shape (k,)."""
        return self._rates(self.true_negatives, self.true_negatives + self.false_positives)

    @property
    def ppv(self) -> tuple[Floats, Floats, Floats]:
        """Value, low and high of the PPV (Wilson), each shape (k,); NaN where nobody is flagged."""
        return self._rates(self.true_positives, self.true_positives + self.false_positives)

    @property
    def npv(self) -> tuple[Floats, Floats, Floats]:
        """Value, low and high of the NPV (Wilson), each shape (k,); NaN where everybody is flagged."""
        return self._rates(self.true_negatives, self.true_negatives + self.false_negatives)

    @property
    def accuracy(self) -> tuple[Floats, Floats, Floats]:
        """Value, low and high of the accuracy (Wilson), each shape (k,)."""
        right = self.true_positives + self.true_negatives
        return self._rates(right, right + self.false_positives + self.false_negatives)

    def _rates(self, successes: Integers, totals: Integers) -> tuple[Floats, Floats, Floats]:
        value = np.full(len(totals), np.nan)
        np.divide(successes, totals, out=value, where=totals > 0)
        return value, *wilson_bounds(successes, totals, level=self.level)


def threshold_table(
    outcome: ArrayLike, risk: ArrayLike, thresholds: ArrayLike, *, level: float = 0.95
) -> ThresholdTable:
    """The 2x2 table at many thresholds in one pass over the cases.

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    risk : shape (n,), in [0, 1].
    thresholds : shape (k,), strictly ascending; k/100 and k/1000 are fastest.
    level : of the Wilson intervals that the table gives.
    """
    outcome, risk = checked_risks(outcome, risk)
    thresholds = ascending(thresholds)
    true_positives, false_positives = flagged_counts(outcome, risk, thresholds)
    events = int(np.count_nonzero(outcome))
    return ThresholdTable(
        thresholds,
        true_positives,
        false_positives,
        events - true_positives,
        len(outcome) - events - false_positives,
        level,
    )
