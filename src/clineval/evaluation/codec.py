"""An Evaluation, to and from JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clineval.errors import InputError
from clineval.evaluation.records import (
    APPENDIX_RATES,
    COUNTS,
    EXTENDED_MEASURES,
    MEASURES,
    RATES,
    READ_OFF_MEASURES,
    Adequacy,
    Choice,
    DecisionArrays,
    ModelComparison,
    Point,
    PointComparison,
    PopulationScores,
    Primary,
    ScoredPoint,
    Spread,
    SubgroupCell,
    SubgroupTable,
)
from clineval.statistics.intervals import Estimate

_ALL_MEASURES = (*MEASURES, *EXTENDED_MEASURES, *READ_OFF_MEASURES)
_DECISION_LINES = ("threshold", "net_benefit", "low", "high", "treat_all")


def number(value: float) -> float | None:
    """A number as JSON knows it: None for NaN and for infinity, which strict JSON cannot hold."""
    return float(value) if math.isfinite(value) else None


def estimate(given: Estimate) -> dict[str, Any]:
    """Value, bounds, level and method; an infinite value is None and ``method`` says that it is infinite."""
    method = f"{given.method}; the value is infinite" if math.isinf(given.value) else given.method
    return {
        "value": number(given.value),
        "low": number(given.low),
        "high": number(given.high),
        "level": given.level,
        "method": method,
    }


def point(given: Point) -> dict[str, Any]:
    """A frozen threshold with how it was chosen."""
    return {
        "name": given.name,
        "threshold": number(given.threshold),
        "chosen_on": given.chosen_on,
        "rule": given.rule,
        "choice": None if given.choice is None else plain_record(given.choice),
    }


def scored_point(given: ScoredPoint) -> dict[str, Any]:
    """The contract's keys of an operating point, then the appendix."""
    return {
        "name": given.name,
        "threshold": number(given.threshold),
        "chosen_on": given.chosen_on,
        "rule": given.rule,
        **{name: given.counts[name] for name in COUNTS},
        **{name: estimate(given.rates[name]) for name in RATES},
        "net_benefit": number(given.net_benefit),
        "net_benefit_gain": None if given.gain is None else estimate(given.gain),
        "appendix": {
            name: estimate(given.appendix[name]) for name in APPENDIX_RATES if name in given.appendix
        },
    }


def population(given: PopulationScores) -> dict[str, Any]:
    """The contract's keys of a population, then the further ones."""
    return {
        "cases": given.cases,
        "events": given.events,
        "groups": given.groups,
        "prevalence": given.prevalence,
        "used_for": given.used_for or None,
        **{name: estimate(given.measures[name]) for name in _ALL_MEASURES if name in given.measures},
        "operating_points": [scored_point(one) for one in given.operating_points],
        "decision_curve": None if given.decision_curve is None else _decision(given.decision_curve),
        "subgroups": [_subgroup_table(one) for one in given.subgroups],
        "spread": [plain_record(one) for one in given.spread],
        "adequacy": None if given.adequacy is None else plain_record(given.adequacy),
        "removed": given.removed,
        "brier_parts": {name: number(value) for name, value in given.brier_parts.items()},
        "notes": list(given.notes),
    }


def comparison(given: ModelComparison) -> dict[str, Any]:
    """A paired comparison of two models by one measure."""
    return {
        "measure": given.measure,
        "population": given.population,
        "models": list(given.models),
        "difference": estimate(given.difference),
        "statistic": number(given.statistic),
        "p_value": number(given.p_value),
        "method": given.method,
    }


def point_comparison(given: PointComparison) -> dict[str, Any]:
    """A paired comparison of two models at their thresholds of one name."""
    return {
        "point": given.point,
        "population": given.population,
        "models": list(given.models),
        "thresholds": [number(value) for value in given.thresholds],
        "differences": {name: estimate(value) for name, value in given.differences.items()},
        "p_values": {name: number(value) for name, value in given.p_values.items()},
        "discordant": dict(given.discordant),
        "method": given.method,
    }


def plain_record(record: Any) -> dict[str, Any]:
    """A flat record as it stands: numbers through ``number``, tuples as lists."""
    return {name: plain(value) for name, value in vars(record).items()}


def plain(value: Any) -> Any:
    """A value as JSON knows it: floats through ``number``, tuples as lists, all else as it is."""
    if isinstance(value, float):
        return number(value)
    return [plain(one) for one in value] if isinstance(value, tuple) else value


def _decision(given: DecisionArrays) -> dict[str, Any]:
    lines = {name: [number(value) for value in getattr(given, name)] for name in _DECISION_LINES}
    return {**lines, "method": given.method}


def _subgroup_table(given: SubgroupTable) -> dict[str, Any]:
    return {
        "attribute": given.attribute,
        "point": given.point,
        "threshold": number(given.threshold),
        "cells": [
            {
                "value": cell.value,
                "cases": cell.cases,
                "events": cell.events,
                **{name: estimate(value) for name, value in cell.measures.items()},
                "less_rest": {name: estimate(value) for name, value in cell.less_rest.items()},
                "suppressed": cell.suppressed or None,
            }
            for cell in given.cells
        ],
        "largest_gap": {name: dict(gap) for name, gap in given.largest_gap.items()},
        "skipped": given.skipped or None,
    }


# --- and back ---------------------------------------------------------------------------------------


def to_number(value: float | None) -> float:
    """NaN for None."""
    return math.nan if value is None else float(value)


def to_estimate(given: Mapping[str, Any]) -> Estimate:
    """The Estimate of ``estimate``; an infinite value comes back as undefined."""
    value, low, high = (to_number(given[name]) for name in ("value", "low", "high"))
    return Estimate(value, low, high, given["level"], given["method"])


def to_point(given: Mapping[str, Any]) -> Point:
    """The record of ``point``."""
    choice = given["choice"]
    return Point(
        given["name"],
        to_number(given["threshold"]),
        given["chosen_on"],
        given["rule"],
        None if choice is None else _numeric(Choice, choice),
    )


def to_primary(given: Mapping[str, Any]) -> Primary:
    """The primary model and threshold."""
    return Primary(given["model"], to_number(given["threshold"]), given["chosen_on"], given["rule"])


def to_scored_point(given: Mapping[str, Any]) -> ScoredPoint:
    """The record of ``scored_point``."""
    return ScoredPoint(
        given["name"],
        to_number(given["threshold"]),
        given["chosen_on"],
        given["rule"],
        {name: given[name] for name in COUNTS},
        {name: to_estimate(given[name]) for name in RATES},
        {name: to_estimate(value) for name, value in given["appendix"].items()},
        to_number(given["net_benefit"]),
        None if given.get("net_benefit_gain") is None else to_estimate(given["net_benefit_gain"]),
    )


def to_population(given: Mapping[str, Any]) -> PopulationScores:
    """The record of ``population``."""
    return PopulationScores(
        given["cases"],
        given["events"],
        given["groups"],
        given["used_for"] or "",
        {name: to_estimate(given[name]) for name in _ALL_MEASURES if name in given},
        tuple(to_scored_point(one) for one in given["operating_points"]),
        None if given["decision_curve"] is None else _to_decision(given["decision_curve"]),
        tuple(_to_subgroup_table(one) for one in given["subgroups"]),
        tuple(_numeric(Spread, one) for one in given["spread"]),
        None if given["adequacy"] is None else _numeric(Adequacy, given["adequacy"]),
        given["removed"],
        {name: to_number(value) for name, value in given["brier_parts"].items()},
        tuple(given["notes"]),
    )


def to_comparison(given: Mapping[str, Any]) -> ModelComparison:
    """The record of ``comparison``."""
    return ModelComparison(
        given["measure"],
        given["population"],
        _pair(given["models"]),
        to_estimate(given["difference"]),
        to_number(given["statistic"]),
        to_number(given["p_value"]),
        given["method"],
    )


def to_point_comparison(given: Mapping[str, Any]) -> PointComparison:
    """The record of ``point_comparison``."""
    return PointComparison(
        given["point"],
        given["population"],
        _pair(given["models"]),
        _pair([to_number(value) for value in given["thresholds"]]),
        {name: to_estimate(value) for name, value in given["differences"].items()},
        {name: to_number(value) for name, value in given["p_values"].items()},
        given["discordant"],
        given["method"],
    )


def _pair(values: list[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second


def _numeric(kind: Any, given: Mapping[str, Any]) -> Any:
    """A flat record back from ``_plain``: None becomes NaN, lists become tuples."""
    return kind(**{name: _numeric_value(value) for name, value in given.items()})


def _numeric_value(value: Any) -> Any:
    if value is None:
        return math.nan
    return tuple(_numeric_value(one) for one in value) if isinstance(value, list) else value


def _to_decision(given: Mapping[str, Any]) -> DecisionArrays:
    lines = {name: np.array([to_number(value) for value in given[name]]) for name in _DECISION_LINES}
    return DecisionArrays(**lines, method=given["method"])


def _to_subgroup_table(given: Mapping[str, Any]) -> SubgroupTable:
    known = ("value", "cases", "events", "less_rest", "suppressed")
    cells = tuple(
        SubgroupCell(
            cell["value"],
            cell["cases"],
            cell["events"],
            {name: to_estimate(value) for name, value in cell.items() if name not in known},
            {name: to_estimate(value) for name, value in cell.get("less_rest", {}).items()},
            cell["suppressed"] or "",
        )
        for cell in given["cells"]
    )
    return SubgroupTable(
        given["attribute"],
        given["point"],
        to_number(given["threshold"]),
        cells,
        given["largest_gap"],
        given["skipped"] or "",
    )


SCHEMA = 1


@dataclass(frozen=True)
class Evaluation:
    """The statistics of a table.

    Attributes
    ----------
    condition : the word for what ``outcome`` 1 stands for.
    level : coverage aimed at by every interval, 0 to 1.
    draws, seed : of the bootstrap, so that the evaluation can be recomputed.
    models : scores per model and population, in the order of the table.
    comparisons : every pair of models on every population.
    point_comparisons : every pair of models at the operating points that both have.
    points : the thresholds of each model, frozen, for scoring further cohorts.
    primary : the model and threshold to speak of first; None in files of versions before it.
    shared_cases : per population the cases kept and those of each model, where only shared cases
        were scored because that was asked for.
    notes : what a reader must know beside the numbers.
    """

    condition: str
    level: float
    draws: int
    seed: int
    models: Mapping[str, Mapping[str, PopulationScores]]
    comparisons: tuple[ModelComparison, ...] = ()
    point_comparisons: tuple[PointComparison, ...] = ()
    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    shared_cases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    primary: Primary | None = None
    schema: int = SCHEMA

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of all populations, each once, in the order in which they first appear."""
        return tuple(dict.fromkeys(name for scores in self.models.values() for name in scores))

    def to_json(self) -> dict[str, Any]:
        """The contract of ``evaluation.json``: plain values only, None where a number is undefined."""
        return {
            "schema": self.schema,
            "condition": self.condition,
            "level": self.level,
            "draws": self.draws,
            "seed": self.seed,
            "primary": None if self.primary is None else plain_record(self.primary),
            "models": {
                model: {name: population(scores) for name, scores in populations.items()}
                for model, populations in self.models.items()
            },
            "comparisons": [comparison(one) for one in self.comparisons],
            "point_comparisons": [point_comparison(one) for one in self.point_comparisons],
            "points": {model: [point(one) for one in points] for model, points in self.points.items()},
            "shared_cases": {name: dict(counts) for name, counts in self.shared_cases.items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Evaluation":
        """The record of a ``to_json()``; InputError where a key is missing or of another schema."""
        if content.get("schema") != SCHEMA:
            raise InputError(
                f"An evaluation of schema {SCHEMA} is needed; came {content.get('schema')!r}. "
                "Write it anew with this version: clineval evaluate."
            )
        try:
            return cls(**_fields(content))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise InputError(
                f"The evaluation is not whole: {error!r} is missing or of another kind. "
                "Write it anew: clineval evaluate."
            ) from error


def _fields(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: content[name] for name in ("condition", "level", "draws", "seed")},
        "models": {
            model: {name: to_population(scores) for name, scores in populations.items()}
            for model, populations in content["models"].items()
        },
        "comparisons": tuple(to_comparison(one) for one in content["comparisons"]),
        "point_comparisons": tuple(to_point_comparison(one) for one in content["point_comparisons"]),
        "points": {
            model: tuple(to_point(one) for one in points) for model, points in content["points"].items()
        },
        "shared_cases": content["shared_cases"],
        "notes": tuple(content["notes"]),
        "primary": None if content.get("primary") is None else to_primary(content["primary"]),
    }


def write_evaluation(evaluation: Evaluation, path: str | Path) -> None:
    """Write ``evaluation.json``: strict JSON, keys in a fixed order, every float as it reads back."""
    text = json.dumps(evaluation.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_evaluation(path: str | Path) -> Evaluation:
    """Read ``evaluation.json``; InputError where it is not there or not an evaluation."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as an evaluation: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not an evaluation: a JSON object is needed.")
    return Evaluation.from_json(content)
