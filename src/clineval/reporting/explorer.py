"""What the explorer of thresholds looks up: counts and intervals, a row per change of the counts."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.evaluation import Evaluation
from clineval.evaluation.curves import Curves, ExplorerSteps, PopulationCurves
from clineval.evaluation.records import COUNTS, PopulationScores, ScoredPoint
from clineval.reporting import charts
from clineval.reporting.sentences import aim_words, chosen_words, number
from clineval.statistics.counts import Counts
from clineval.statistics.operating_point import likelihood_ratio_negative, likelihood_ratio_positive

BOUNDED = ("sensitivity", "specificity", "ppv", "npv")
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


def explorer_data(
    evaluation: Evaluation, curves: Curves, *, people: str, opens_on: str, opens_at: str = "half"
) -> dict[str, Any]:
    """Everything that ``explorer.js`` reads, JSON-able; empty where no population has thresholds.

    Parameters
    ----------
    opens_on, opens_at : the population and the operating point that stand there first; a model without
        that point opens at one half.
    """
    populations: dict[str, dict[str, Any]] = {}
    for model, by_population in curves.models.items():
        for population, drawn in by_population.items():
            scores = evaluation.models[model][population]
            if drawn.explorer is None or drawn.cases == 0 or scores.used_for:
                continue
            entry = populations.setdefault(population, {"prevalence": scores.prevalence, "models": {}})
            entry["models"][model] = _rows(scores, drawn, drawn.explorer, level=evaluation.level)
    if not populations:
        return {}
    return {
        "condition": evaluation.condition,
        "people": people,
        "level": f"{evaluation.level * 100:g}% CI",
        "opens_on": opens_on if opens_on in populations else next(iter(populations)),
        "opens_at": opens_at,
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
        "left": ROC_FRAME.across(0),
        "right": ROC_FRAME.across(1),
        "top": ROC_FRAME.down(1),
        "foot": ROC_FRAME.down(0),
    }


def _rows(
    scores: PopulationScores, drawn: PopulationCurves, steps: ExplorerSteps, *, level: float
) -> dict[str, Any]:
    """One row per change of the counts, then one per operating point at its exact threshold."""
    starts = _changes(steps)
    points = named([point for point in scores.operating_points if not math.isnan(point.threshold)])
    tables = [*_tables(steps, starts), *(_table(point) for _, point in points)]
    ratios = {
        "lr_positive": [likelihood_ratio_positive(table, level=level) for table in tables],
        "lr_negative": [likelihood_ratio_negative(table, level=level) for table in tables],
    }
    return {
        "present": scores.events,
        "absent": scores.cases - scores.events,
        "starts": starts.tolist(),
        "true_positives": [table.true_positives for table in tables],
        "false_positives": [table.false_positives for table in tables],
        "bounds": {
            **{name: _bounds(name, steps, starts, points) for name in BOUNDED},
            **{name: [_pair(each.low, each.high, _exact) for each in ratios[name]] for name in ratios},
        },
        **{name: [_exact(each.value) for each in ratios[name]] for name in ratios},
        "roc": _roc_path(drawn),
        "points": [_point(name, point, len(starts) + place) for place, (name, point) in enumerate(points)],
    }


def _changes(steps: ExplorerSteps) -> NDArray[np.intp]:
    """The steps at which some count differs from the step before."""
    counts = np.stack([steps.true_positives, steps.false_positives])
    return np.flatnonzero(np.concatenate([[True], np.any(np.diff(counts, axis=1) != 0, axis=0)]))


def _tables(steps: ExplorerSteps, starts: NDArray[np.intp]) -> Iterator[Counts]:
    columns = (getattr(steps, name)[starts].tolist() for name in COUNTS)
    return (Counts(*cells) for cells in zip(*columns, strict=True))


def _table(point: ScoredPoint) -> Counts:
    return Counts(*(int(point.counts[name] or 0) for name in COUNTS))


def _bounds(
    name: str, steps: ExplorerSteps, starts: NDArray[np.intp], points: list[tuple[str, ScoredPoint]]
) -> list[list[Any] | None]:
    band = steps.rates[name]
    ends = [*zip(band.low[starts].tolist(), band.high[starts].tolist(), strict=True)]
    ends += [(point.rates[name].low, point.rates[name].high) for _, point in points]
    return [_pair(low, high, _printed) for low, high in ends]


def _pair(low: float, high: float, write: Callable[[float], float | None]) -> list[Any] | None:
    return None if math.isnan(low) or math.isnan(high) else [write(low), write(high)]


def _printed(value: float) -> float:
    """As it is printed: bounds of rates are shown and never computed with."""
    return float(f"{value:.3f}")


def _exact(value: float) -> float | None:
    """In full: likelihood ratios are carried to other prevalences."""
    return None if math.isnan(value) else value


def _roc_path(drawn: PopulationCurves) -> str:
    if drawn.roc is None:
        return ""
    return charts.path(ROC_FRAME, drawn.roc.false_positive_rate, drawn.roc.sensitivity)


def named(points: Sequence[ScoredPoint]) -> list[tuple[str, ScoredPoint]]:
    """Operating points under names that differ: ``given``, ``given-2`` and so on."""
    seen: dict[str, int] = {}
    pairs = []
    for point in points:
        seen[point.name] = seen.get(point.name, 0) + 1
        pairs.append((point.name if seen[point.name] == 1 else f"{point.name}-{seen[point.name]}", point))
    return pairs


def _point(name: str, point: ScoredPoint, row: int) -> dict[str, Any]:
    words = chosen_words(point)
    return {
        "name": name,
        "row": row,
        "threshold": point.threshold,
        "words": f"{number(point.threshold, 3 if point.chosen_on in ('fixed', 'given') else 5)} ({words})",
        "label": f"{number(point.threshold)}, {aim_words(point)}",
    }
