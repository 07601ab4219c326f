"""Evaluation: every statistic of a table side by side, to and from ``evaluation.json``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clineval.evaluation import json_form
from clineval.evaluation.record import ModelComparison, Point, PointComparison, PopulationScores
from clineval.refusal import Refusal

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
            "models": {
                model: {name: json_form.population(scores) for name, scores in populations.items()}
                for model, populations in self.models.items()
            },
            "comparisons": [json_form.comparison(one) for one in self.comparisons],
            "point_comparisons": [json_form.point_comparison(one) for one in self.point_comparisons],
            "points": {
                model: [json_form.point(one) for one in points] for model, points in self.points.items()
            },
            "shared_cases": {name: dict(counts) for name, counts in self.shared_cases.items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Evaluation":
        """The record of a ``to_json()``; Refusal where a key is missing or of another schema."""
        if content.get("schema") != SCHEMA:
            raise Refusal(
                f"An evaluation of schema {SCHEMA} is needed; came {content.get('schema')!r}. "
                "Write it anew with this version: clineval evaluate."
            )
        try:
            return cls(**_fields(content))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise Refusal(
                f"The evaluation is not whole: {error!r} is missing or of another kind. "
                "Write it anew: clineval evaluate."
            ) from error


def _fields(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: content[name] for name in ("condition", "level", "draws", "seed")},
        "models": {
            model: {name: json_form.to_population(scores) for name, scores in populations.items()}
            for model, populations in content["models"].items()
        },
        "comparisons": tuple(json_form.to_comparison(one) for one in content["comparisons"]),
        "point_comparisons": tuple(
            json_form.to_point_comparison(one) for one in content["point_comparisons"]
        ),
        "points": {
            model: tuple(json_form.to_point(one) for one in points)
            for model, points in content["points"].items()
        },
        "shared_cases": content["shared_cases"],
        "notes": tuple(content["notes"]),
    }


def write_evaluation(evaluation: Evaluation, path: str | Path) -> None:
    """Write ``evaluation.json``: strict JSON, keys in a fixed order, every float as it reads back."""
    text = json.dumps(evaluation.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_evaluation(path: str | Path) -> Evaluation:
    """Read ``evaluation.json``; Refusal where it is not there or not an evaluation."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Refusal(f"{path} cannot be read as an evaluation: {error}.") from error
    if not isinstance(content, dict):
        raise Refusal(f"{path} is not an evaluation: a JSON object is needed.")
    return Evaluation.from_json(content)
