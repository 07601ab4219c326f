"""The numbers behind each figure as one tidy table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clineval.data.exploration import Example, Exploration
from clineval.evaluation.curves import Curves, PopulationCurves
from clineval.evaluation.record import COUNTS, RATES, PopulationScores
from clineval.reporting.data_plots import LearningCurve
from clineval.table_files import text_cell


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, text that a spreadsheet would run as a formula made harmless."""
    texts = [
        name
        for name in frame.columns
        if frame[name].dtype == object or pd.api.types.is_string_dtype(frame[name])
    ]
    safe = frame.assign(**{name: [text_cell(str(cell)) for cell in frame[name]] for name in texts})
    safe.to_csv(path, index=False, lineterminator="\n")


def of_splits(exploration: Exploration) -> pd.DataFrame:
    """Cases, events and prevalence per split."""
    return pd.DataFrame(
        [
            {"split": each.split, "cases": each.cases, "events": each.events, "prevalence": each.prevalence}
            for each in exploration.splits
        ]
    )


def of_grey_levels(exploration: Exploration, outcome: int) -> pd.DataFrame:
    """Pixels per grey level, per split and in all."""
    levels = {each.split: each.histogram for each in exploration.grey_levels if each.outcome == outcome}
    return pd.DataFrame({"grey_level": np.arange(256), **levels})


def of_examples(example: Example) -> pd.DataFrame:
    """Which cases are shown."""
    return pd.DataFrame({"case": list(example.cases), "class": example.name})


def of_roc(curves: PopulationCurves) -> pd.DataFrame:
    """The curve and, in further rows, the band on its grid."""
    line = curves.roc
    if line is None:
        return pd.DataFrame()
    curve = pd.DataFrame(
        {
            "part": "curve",
            "false_positive_rate": line.false_positive_rate,
            "sensitivity": line.sensitivity,
            "threshold": line.threshold,
        }
    )
    if line.band is None:
        return curve
    band = {"sensitivity": line.band.value, "low": line.band.low, "high": line.band.high}
    return pd.concat([curve, pd.DataFrame({"part": "band", "false_positive_rate": line.grid, **band})])


def of_points(scores: PopulationScores) -> pd.DataFrame:
    """The 2x2 and its rates per operating point, with bounds."""
    rows = []
    for point in scores.operating_points:
        row: dict[str, object] = {
            "point": point.name,
            "threshold": point.threshold,
            "chosen_on": point.chosen_on,
        }
        row.update({name: point.counts[name] for name in COUNTS})
        for name in RATES:
            rate = point.rates[name]
            row.update({name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high})
        rows.append(row)
    return pd.DataFrame(rows)


def of_calibration(curves: PopulationCurves) -> pd.DataFrame:
    """The smoothed line and, in further rows, the groups of cases."""
    lines, parts = curves.calibration, []
    if lines is None:
        return pd.DataFrame()
    if lines.smooth is not None:
        smooth = {"observed": lines.smooth.value, "low": lines.smooth.low, "high": lines.smooth.high}
        parts.append(pd.DataFrame({"part": "smoothed", "risk": lines.risk, **smooth}))
    if lines.grouped is not None:
        groups = {"observed": lines.grouped.value, "low": lines.grouped.low, "high": lines.grouped.high}
        parts.append(
            pd.DataFrame({"part": "groups", "risk": lines.mean_risk, **groups, "cases": lines.cases})
        )
    return pd.concat(parts) if parts else pd.DataFrame()


def of_risks(curves: PopulationCurves) -> pd.DataFrame:
    """Cases per interval of risk and outcome."""
    risks = curves.risks
    return pd.DataFrame(
        {
            "from": risks.edges[:-1],
            "to": risks.edges[1:],
            "events": risks.events,
            "non_events": risks.non_events,
        }
    )


def of_decision(curves: Curves, population: str) -> pd.DataFrame:
    """Net benefit per model and threshold, with its band."""
    parts = []
    for model, by_population in curves.models.items():
        lines = by_population[population].decision if population in by_population else None
        if lines is None:
            continue
        band = lines.net_benefit
        parts.append(
            pd.DataFrame(
                {
                    "model": model,
                    "threshold": lines.threshold,
                    "net_benefit": band.value,
                    "low": band.low,
                    "high": band.high,
                    "treat_all": lines.treat_all,
                    "interventions_avoided": lines.interventions_avoided,
                }
            )
        )
    return pd.concat(parts) if parts else pd.DataFrame()


def of_learning(learning_curves: Sequence[LearningCurve]) -> pd.DataFrame:
    """Losses per member and epoch."""
    parts = []
    for member, curve in enumerate(learning_curves):
        frame = pd.DataFrame({"member": member, "epoch": np.arange(1, len(curve.train_loss) + 1)})
        frame["train_loss"] = curve.train_loss
        frame["val_loss"] = pd.Series(curve.val_loss, dtype=float)
        frame["kept"] = frame["epoch"] == curve.kept_epoch
        parts.append(frame)
    return pd.concat(parts)
