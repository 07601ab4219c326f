"""Adequacy: what one population's number of cases can and cannot tell."""

from clineval.evaluation.populations import Cases
from clineval.evaluation.record import Adequacy
from clineval.evaluation.scale import Scale
from clineval.statistics.intervals import Estimate


def adequacy_of(cases: Cases, auc: Estimate, scale: Scale) -> Adequacy | None:
    """The sentence for the report and the numbers behind it; None where the AUC is undefined."""
    return None
