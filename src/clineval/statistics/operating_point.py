"""What a model does at one threshold: the 2x2 table and all that follows from it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

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
)
from clineval.statistics.intervals import Estimate, wilson_bounds
from clineval.statistics.paired import PairedRate, PairedRates, mcnemar
from clineval.statistics.prevalence import (
    intercept_at_prevalence,
    net_benefit_at_prevalence,
    npv_at_prevalence,
    ppv_at_prevalence,
    risk_at_prevalence,
)
from clineval.statistics.rates import (
    balanced_accuracy,
    f1,
    independent_cases,
    likelihood_ratio_negative,
    likelihood_ratio_positive,
    mcc,
    rate,
)
from clineval.statistics.resampling import shared_groups
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
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> OperatingPoint:
    """Everything that a threshold means on these cases.

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    risk : shape (n,).
    threshold : a case is flagged where its risk is at least this.
    name, chosen_on : what the point is called and which population chose it.
    group : shape (n,); with groups of several cases the intervals of rates and likelihood ratios are those
        of as many independent cases as the groups are worth.
    level : of the intervals.

    Notes
    -----
    Rates have Wilson intervals. A rate of no cases is NaN with the reason. The appendix takes cases as
    independent.
    """
    table = counts(outcome, risk, threshold)
    worth = _worth(table, *checked_cases(outcome, risk), threshold, group)
    caught = rate(
        table.true_positives, table.events, worth.events, reason="no case has the condition", level=level
    )
    spared = rate(
        table.true_negatives,
        table.non_events,
        worth.non_events,
        reason="no case is without the condition",
        level=level,
    )
    right, classes = table.true_positives + table.true_negatives, (worth.events, worth.non_events)
    left = table.cases - table.flagged
    return OperatingPoint(
        name,
        float(threshold),
        chosen_on,
        table.true_positives,
        table.false_positives,
        table.false_negatives,
        table.true_negatives,
        sensitivity=caught,
        specificity=spared,
        ppv=rate(
            table.true_positives, table.flagged, worth.flagged, reason="no case is flagged", level=level
        ),
        npv=rate(table.true_negatives, left, worth.unflagged, reason="every case is flagged", level=level),
        accuracy=rate(right, table.cases, worth.cases, reason="no cases", level=level),
        balanced_accuracy=balanced_accuracy(caught, spared),
        lr_positive=likelihood_ratio_positive(table, level=level, independent=classes),
        lr_negative=likelihood_ratio_negative(table, level=level, independent=classes),
        appendix=Appendix(f1(table, level=level), mcc(table, level=level)),
    )


@dataclass(frozen=True)
class _Worth:
    """How many independent cases stand behind each kind of rate."""

    events: float
    non_events: float
    flagged: float
    unflagged: float
    cases: float


def _worth(table: Counts, outcome: Bools, risk: Floats, threshold: float, group: ArrayLike | None) -> _Worth:
    code = shared_groups(group, table.cases)
    if code is None:
        left = table.cases - table.flagged
        return _Worth(table.events, table.non_events, table.flagged, left, table.cases)
    reached = flagged(risk, threshold)
    return _Worth(
        events=independent_cases(reached[outcome], code[outcome]),
        non_events=independent_cases(~reached[~outcome], code[~outcome]),
        flagged=independent_cases(outcome[reached], code[reached]),
        unflagged=independent_cases(~outcome[~reached], code[~reached]),
        cases=independent_cases(reached == outcome, code),
    )


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
