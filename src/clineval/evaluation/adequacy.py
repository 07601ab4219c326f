"""Adequacy: what one population's number of cases can and cannot tell."""

import math

from clineval.evaluation.populations import Cases
from clineval.evaluation.record import Adequacy
from clineval.evaluation.scale import Scale
from clineval.statistics import adequacy
from clineval.statistics.intervals import Estimate


def adequacy_of(cases: Cases, auc: Estimate, scale: Scale) -> Adequacy | None:
    """The sentence for the report and the numbers behind it; None where one class is absent."""
    events = int(cases.outcome.sum())
    others = len(cases) - events
    if not events or not others:
        return None
    level = scale.level
    expected = adequacy.auc_precision(auc.value, events, others, level=level)
    inner = 0 < auc.value < 1
    return Adequacy(
        sentence=adequacy.sentence(auc.value, events, others, level=level),
        auc_half_width=(expected.high - expected.low) / 2,
        smallest_detectable_difference=(
            adequacy.smallest_detectable_difference(auc.value, events, others, level=level)
            if inner
            else math.nan
        ),
        cases_for_auc_width_10=_cases_for_auc(auc.value, events / len(cases), level),
        cases_for_slope_width_40=_cases_for_slope(cases, level),
        cases_for_observed_expected_width_20=adequacy.sample_size_for_observed_expected(
            events / len(cases), level=level
        ).cases,
    )


def _cases_for_auc(auc: float, prevalence: float, level: float) -> float:
    """Cases for an interval of width .10 around an AUC like this one; NaN below .5 and at 1."""
    if not 0.5 < auc < 1:
        return math.nan
    return adequacy.sample_size_for_auc(auc, prevalence, width=0.1, level=level).cases


def _cases_for_slope(cases: Cases, level: float) -> float:
    """Cases for a slope's interval of width .40 with risks like these; NaN where the risks are all equal."""
    try:
        return adequacy.sample_size_for_slope(cases.risk, width=0.4, level=level).cases
    except ValueError:
        return math.nan
