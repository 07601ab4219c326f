"""The coverage simulation of an evaluation, as tables of its report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clineval.reporting.tables import MEASURE_NAMES, Cell, Row, Table
from clineval.reporting.wording import number, percent, whole

HEADINGS = ("measure", "truth", "intervals that held it", "all too high", "all too low", "mean width")


@dataclass(frozen=True)
class SimulatedCoverage:
    """How often our intervals hold the truth on simulated sets of one model's size, events and AUC."""

    title: str
    table: Table


def simulated_coverage(record: Mapping[str, Any]) -> list[SimulatedCoverage]:
    """One table per model and population of ``coverage.json``; none where nothing was simulated."""
    return [
        SimulatedCoverage(_title(each, record), Table(HEADINGS, tuple(map(_row, each["measures"]))))
        for each in record.get("populations", ())
    ]


def _title(simulated: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    return (
        f"{simulated['model']} on {simulated['population']}: {whole(record['simulations'])} simulated sets "
        f"of {whole(simulated['cases'])} cases, {whole(simulated['events'])} with the condition, "
        f"AUC {number(simulated['expected_auc'])}"
    )


def _row(measure: Mapping[str, Any]) -> Row:
    held = Cell(
        percent(measure["covered"]),
        f"± {percent(1.96 * measure['error'])}" if measure["error"] is not None else "",
        words=f"undefined in {whole(measure['undefined'])}" if measure["undefined"] else "",
    )
    return (
        MEASURE_NAMES.get(measure["measure"], measure["measure"]),
        number(measure["truth"]),
        held,
        percent(measure["too_high"]),
        percent(measure["too_low"]),
        number(measure["mean_width"]),
    )
