"""What the explorer of thresholds looks up: counts and intervals, a row per change of the counts."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from clineval.evaluation.curves import Curves, ExplorerSteps, PopulationCurves
from clineval.evaluation.records import COUNTS, OperatingPoint, PopulationScores
from clineval.reporting import charts
from clineval.reporting.sentences import (
    Subject,
    aim_words,
    chosen_words,
    frequencies,
    natural,
    number,
    people,
)
from clineval.statistics.counts import Counts

BOUNDED = ("sensitivity", "specificity", "ppv", "npv")
RATIOS = ("lr_positive", "lr_negative")
LOWEST_SHARE, HIGHEST_SHARE = 0.001, 0.5

REASONS = {
    "sensitivity": "no case has the condition",
    "specificity": "every case has the condition",
    "ppv": "no one is flagged",
    "npv": "everyone is flagged",
    "net_benefit": "undefined here",
    "lr_positive": "undefined here",
    "lr_negative": "undefined here",
}

ROC_FRAME = charts.Frame(
    charts.unit_axis("1 − specificity"), charts.unit_axis("sensitivity"), width=300, height=280
)


COLUMNS = 40  # dots across; 25 rows make 1,000
SHAPES = {
    "found": (0.8, 5.0, "a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0 -8.4 0Z"),
    "missed": (1.7, 1.7, "l6.6 6.6m0 -6.6l-6.6 6.6"),
    "alarms": (1.9, 1.9, "h6.2v6.2h-6.2Z"),
    "cleared": (3.7, 5.0, "a1.3 1.3 0 1 0 2.6 0a1.3 1.3 0 1 0 -2.6 0Z"),
}
"""Of each call where its sign starts within a square of side 10, and the rest of its outline."""


def sign(call: str, place: int = 0) -> str:
    """The outline of one person's sign in its place among the dots."""
    x, y, outline = SHAPES[call]
    return f"M{place % COLUMNS * 10 + x:g} {place // COLUMNS * 10 + y:g}{outline}"


def signs(counts: Mapping[str, int]) -> dict[str, str]:
    """The outlines of all people, call by call, in the order of ``SHAPES``."""
    drawn, place = {}, 0
    for call in SHAPES:
        drawn[call] = "".join(sign(call, place + each) for each in range(counts[call]))
        place += counts[call]
    return drawn


def opening_state(subject: Subject, population: str, *, dataset: str = "") -> dict[str, Any]:
    """What the explorer shows before it is moved: 1,000 people at the primary threshold."""
    point, scores = subject.point(population=population), subject.scores(subject.main, population)
    if point is None or scores is None:
        return {
            "sentence": "",
            "people": {},
            "dots": signs(dict.fromkeys(("found", "missed", "alarms"), 0) | {"cleared": 1000}),
        }
    cells = frequencies(
        prevalence=scores.prevalence,
        sensitivity=point.rates["sensitivity"].value,
        specificity=point.rates["specificity"].value,
    )
    counts = dict(
        zip(
            ("found", "missed", "alarms", "cleared"),
            (cells[n] for n in ("true_positives", "false_negatives", "false_positives", "true_negatives")),
            strict=True,
        )
    )
    return {
        "sentence": natural(cells, people=people(dataset, scores), condition=subject.condition),
        "people": counts,
        "dots": signs(counts),
    }


def explorer_data(subject: Subject, curves: Curves, *, dataset: str = "") -> dict[str, Any]:
    """Everything that ``explorer.js`` reads, JSON-able; empty where there is no threshold to open at.

    It opens at the primary model and threshold on the main population.
    """
    evaluation = subject.evaluation
    populations: dict[str, dict[str, Any]] = {}
    for model, by_population in curves.models.items():
        for population, drawn in by_population.items():
            scores = evaluation.models[model][population]
            if drawn.explorer is None or drawn.cases == 0 or scores.used_for:
                continue
            entry = populations.setdefault(
                population,
                {
                    "prevalence": scores.prevalence,
                    "cases": scores.cases,
                    "people": people(dataset, scores),
                    "models": {},
                },
            )
            entry["models"][model] = _rows(scores, drawn, drawn.explorer)
    if not populations:
        return {}
    opens_on = subject.population if subject.population in populations else next(iter(populations))
    if subject.point(population=opens_on) is None:
        return {}
    return {
        "condition": evaluation.condition,
        "opens_on": opens_on,
        "opens_at": _opens_at(subject, opens_on),
        "reasons": REASONS,
        "columns": COLUMNS,
        "shapes": SHAPES,
        "roc_frame": roc_corners(),
        "highest_share": highest_share(entry["prevalence"] for entry in populations.values()),
        "populations": populations,
    }


def _opens_at(subject: Subject, population: str) -> str:
    """The primary threshold's name among those of its model."""
    point, scores = subject.point(population=population), subject.scores(subject.main, population)
    there = named(scores.operating_points) if scores is not None else []
    return next((name for name, each in there if each is point), "half")


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


def _rows(scores: PopulationScores, drawn: PopulationCurves, steps: ExplorerSteps) -> dict[str, Any]:
    """One row per change of the counts, then one per operating point at its exact threshold."""
    points = named(scores.operating_points)
    tables = [*_tables(steps), *(point.table for _, point in points)]
    ratios = {name: _ratios(steps, tables, points, name) for name in RATIOS}
    return {
        "present": scores.events,
        "absent": scores.cases - scores.events,
        "starts": steps.changes.tolist(),
        "true_positives": [table.true_positives for table in tables],
        "false_positives": [table.false_positives for table in tables],
        "bounds": {
            **{name: _bounds(name, steps, points) for name in BOUNDED},
            **{name: [_pair(low, high, _exact) for _, low, high in ratios[name]] for name in RATIOS},
        },
        **{name: [_exact(value) for value, _, _ in ratios[name]] for name in RATIOS},
        "roc": _roc_path(drawn),
        "points": [
            _point(name, point, len(steps.changes) + place) for place, (name, point) in enumerate(points)
        ],
    }


def _tables(steps: ExplorerSteps) -> Iterator[Counts]:
    columns = (getattr(steps, name)[steps.changes].tolist() for name in COUNTS)
    return (Counts(*cells) for cells in zip(*columns, strict=True))


def _ratios(
    steps: ExplorerSteps, tables: Sequence[Counts], points: Sequence[tuple[str, OperatingPoint]], name: str
) -> list[tuple[float, float, float]]:
    """A likelihood ratio per row; a point's without a bound is that of the step with its counts."""
    band = steps.ratios[name]
    rows = [*zip(band.value.tolist(), band.low.tolist(), band.high.tolist(), strict=True)]
    known = dict(zip(tables, rows, strict=False))
    return [*rows, *(known.get(p.table, r) for (_, p), r in zip(points, _rates(points, name), strict=True))]


def _rates(points: Sequence[tuple[str, OperatingPoint]], name: str) -> list[tuple[float, float, float]]:
    rates = [point.rates[name] for _, point in points]
    return [(rate.value, rate.low, rate.high) for rate in rates]


def _bounds(
    name: str, steps: ExplorerSteps, points: Sequence[tuple[str, OperatingPoint]]
) -> list[list[Any] | None]:
    band = steps.rates[name]
    ends = [*zip(band.low[steps.changes].tolist(), band.high[steps.changes].tolist(), strict=True)]
    ends += [(low, high) for _, low, high in _rates(points, name)]
    return [_pair(low, high, _printed) for low, high in ends]


def _pair(low: float, high: float, write: Callable[[float], float | None]) -> list[Any] | None:
    return None if math.isnan(low) or math.isnan(high) else [write(low), write(high)]


def _printed(value: float) -> float:
    """As it is printed: bounds of rates are shown and never computed with."""
    return float(f"{value:.3f}")


def _exact(value: float) -> float | None:
    """In full, for likelihood ratios are carried to other prevalences; None for infinity too."""
    return value if math.isfinite(value) else None


def _roc_path(drawn: PopulationCurves) -> str:
    if drawn.roc is None:
        return ""
    return charts.path(ROC_FRAME, drawn.roc.false_positive_rate, drawn.roc.sensitivity)


def named(points: Sequence[OperatingPoint]) -> list[tuple[str, OperatingPoint]]:
    """Operating points with a threshold under names that differ: ``given``, ``given-2`` and so on."""
    seen: dict[str, int] = {}
    pairs = []
    for point in points:
        if math.isnan(point.threshold):
            continue
        seen[point.name] = seen.get(point.name, 0) + 1
        pairs.append((point.name if seen[point.name] == 1 else f"{point.name}-{seen[point.name]}", point))
    return pairs


def _point(name: str, point: OperatingPoint, row: int) -> dict[str, Any]:
    return {
        "name": name,
        "row": row,
        "threshold": point.threshold,
        "value": number(point.threshold, 3 if point.chosen_on in ("fixed", "given") else 5),
        "words": chosen_words(point),
        "label": f"{number(point.threshold)}, {aim_words(point)}",
    }
