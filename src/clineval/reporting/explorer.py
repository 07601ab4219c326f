"""What the explorer of thresholds looks up: counts and intervals per step, one row per change of the counts."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from clineval.evaluation import Evaluation
from clineval.evaluation.curves import Band, Curves, ExplorerSteps, PopulationCurves
from clineval.evaluation.record import PopulationScores, ScoredPoint
from clineval.reporting import charts
from clineval.reporting.wording import chosen_words, number

# Bounds are shown, never computed with, except those of the likelihood ratios.
BOUNDED = ("sensitivity", "specificity", "ppv", "npv")
RATIOS = ("lr_positive", "lr_negative")
LOWEST_SHARE, HIGHEST_SHARE = 0.001, 0.5

REASONS = {
    "sensitivity": "no case has the condition",
    "specificity": "every case has the condition",
    "ppv": "nobody is flagged",
    "npv": "everybody is flagged",
    "net_benefit": "infinite price of a false alarm at threshold 1",
    "lr_positive": "undefined at this threshold",
    "lr_negative": "undefined at this threshold",
}

ROC_FRAME = charts.Frame(
    charts.unit_axis("1 − specificity"), charts.unit_axis("sensitivity"), width=300, height=300
)


def explorer_data(evaluation: Evaluation, curves: Curves, *, people: str, opens_on: str) -> dict[str, Any]:
    """Everything that ``explorer.js`` reads, as JSON-able values; empty where no population has thresholds."""
    populations: dict[str, dict[str, Any]] = {}
    for model, by_population in curves.models.items():
        for population, drawn in by_population.items():
            if drawn.explorer is None or drawn.cases == 0:
                continue
            scores = evaluation.models[model][population]
            entry = populations.setdefault(population, {"prevalence": scores.prevalence, "models": {}})
            entry["models"][model] = _rows(scores, drawn, drawn.explorer)
    if not populations:
        return {}
    return {
        "condition": evaluation.condition,
        "people": people,
        "level": f"{evaluation.level * 100:g}% CI",
        "opens_on": opens_on if opens_on in populations else next(iter(populations)),
        "opens_at": "half",
        "reasons": REASONS,
        "roc_frame": roc_corners(),
        "highest_share": highest_share(entry["prevalence"] for entry in populations.values()),
        "populations": populations,
    }


def highest_share(prevalences: Iterable[float]) -> float:
    """Where the prevalence slider ends: 0.5, or 0.999 where some population lies above."""
    return HIGHEST_SHARE if max(prevalences) <= HIGHEST_SHARE else 0.999


def roc_corners() -> dict[str, float]:
    """The corners of the small ROC plot, in units of its drawing."""
    return {
        "left": ROC_FRAME.across(0), "right": ROC_FRAME.across(1), "top": ROC_FRAME.down(1), "foot": ROC_FRAME.down(0)
    }  # fmt: skip


def _rows(scores: PopulationScores, drawn: PopulationCurves, steps: ExplorerSteps) -> dict[str, Any]:
    starts = _changes(steps)
    points = [point for point in scores.operating_points if not math.isnan(point.threshold)]
    return {
        "present": scores.events,
        "absent": scores.cases - scores.events,
        "starts": starts.tolist(),
        "true_positives": _column(steps.true_positives, starts, points, "true_positives"),
        "false_positives": _column(steps.false_positives, starts, points, "false_positives"),
        "bounds": {
            name: _bounds(name, steps.rates.get(name), starts, points) for name in (*BOUNDED, *RATIOS)
        },
        **{name: _ratios(name, steps.rates.get(name), starts, points) for name in RATIOS},
        "roc": _roc_path(drawn),
        "points": [
            _point(point, name, row) for (name, point), row in zip(named(points), range(len(starts), 10**6))
        ],
    }


def _changes(steps: ExplorerSteps) -> np.ndarray:
    """The steps at which some count differs from the step before."""
    counts = np.stack([steps.true_positives, steps.false_positives])
    return np.flatnonzero(np.concatenate([[True], np.any(np.diff(counts, axis=1) != 0, axis=0)]))


def _column(values: np.ndarray, starts: np.ndarray, points: list[ScoredPoint], name: str) -> list[int]:
    return [*values[starts].tolist(), *(int(point.counts[name] or 0) for point in points)]


def _bounds(
    name: str, band: Band | None, starts: np.ndarray, points: list[ScoredPoint]
) -> list[list[Any] | None]:
    rows = (
        []
        if band is None
        else [_pair(low, high, name) for low, high in zip(band.low[starts], band.high[starts])]
    )
    return [*rows, *(_pair(point.rates[name].low, point.rates[name].high, name) for point in points)]


def _pair(low: float, high: float, name: str) -> list[Any] | None:
    if math.isnan(low) or math.isnan(high):
        return None
    return [_written(low, name), _written(high, name)]


def _written(value: float, name: str) -> float | str | None:
    """Rounded to what is printed; ratios in full, for they are carried to other prevalences."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf"
    return float(value) if name in RATIOS else float(f"{value:.3f}")


def _ratios(name: str, band: Band | None, starts: np.ndarray, points: list[ScoredPoint]) -> list[Any]:
    rows = [] if band is None else [_written(value, name) for value in band.value[starts]]
    return [*rows, *(_written(point.rates[name].value, name) for point in points)]


def _roc_path(drawn: PopulationCurves) -> str:
    if drawn.roc is None:
        return ""
    return charts.path(ROC_FRAME, drawn.roc.false_positive_rate, drawn.roc.sensitivity)


def named(points: list[ScoredPoint]) -> list[tuple[str, ScoredPoint]]:
    """Operating points under names that differ: ``given``, ``given-2`` and so on."""
    seen: dict[str, int] = {}
    pairs = []
    for point in points:
        seen[point.name] = seen.get(point.name, 0) + 1
        pairs.append((point.name if seen[point.name] == 1 else f"{point.name}-{seen[point.name]}", point))
    return pairs


def _point(point: ScoredPoint, name: str, row: int) -> dict[str, Any]:
    return {
        "name": name,
        "row": row,
        "threshold": point.threshold,
        "words": f"{number(point.threshold, 5 if point.chosen_on not in ('fixed', 'given') else 3)} ({chosen_words(point)})",
        "label": f"{number(point.threshold)} · {chosen_words(point)}",
    }
