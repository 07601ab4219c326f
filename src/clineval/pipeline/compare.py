"""Two results folders side by side: what they were made with, and how far their numbers are apart."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clineval.errors import InputError
from clineval.predictions import ranked_by, read_predictions
from clineval.results import FILE, read_provenance
from clineval.results.environment import PLATFORM
from clineval.results.folder import require_results

EVALUATION = "evaluation.json"
TABLES = ("predictions.parquet", "predictions.csv")
KEY = ["model", "split", "case"]
MEASURES = (
    "auc", "average_precision", "brier", "scaled_brier", "log_loss", "calibration_intercept",
    "calibration_slope", "observed_expected", "ici",
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """One thing that two results were made with differently: a setting, a version, the processor."""

    what: str
    one: str
    other: str


@dataclass(frozen=True)
class RiskGap:
    """How far the risks of one model are apart on the cases of one split that both folders have.

    ``largest`` and ``mean`` are of the absolute differences, 0 to 1; ``case`` has the largest one;
    ``unshared`` counts cases that only one of the folders has.
    """

    model: str
    split: str
    cases: int
    unshared: int
    largest: float
    mean: float
    case: str


@dataclass(frozen=True)
class ThresholdGap:
    """One named threshold of a model in both folders, and the cases whose flag differs at it.

    A threshold is None where a folder has none of that name. ``turned`` counts cases of ``split`` that one
    folder flags and the other does not, of the ``cases`` that both have.
    """

    model: str
    name: str
    one: float | None
    other: float | None
    split: str
    turned: int
    cases: int


@dataclass(frozen=True)
class MeasureGap:
    """A measure in both folders; NaN where it is undefined or a folder does not have it."""

    model: str
    population: str
    measure: str
    one: float
    other: float

    @property
    def difference(self) -> float:
        """The other folder's value less the first one's."""
        return self.other - self.one

    @property
    def differs(self) -> bool:
        """Whether the values are not the same; two undefined ones are."""
        return self.one != self.other and not (math.isnan(self.one) and math.isnan(self.other))


@dataclass(frozen=True)
class ResultsComparison:
    """What differs between two results folders.

    ``made`` never makes two results unequal: two machines may well give the same numbers.
    """

    made: tuple[Made, ...]
    risks: tuple[RiskGap, ...]
    thresholds: tuple[ThresholdGap, ...]
    measures: tuple[MeasureGap, ...]

    @property
    def equal(self) -> bool:
        """Whether both folders hold the same risks of the same cases, thresholds, flags and measures."""
        return not any(
            (
                any(gap.largest > 0 or gap.unshared for gap in self.risks),
                any(gap.turned or gap.one != gap.other for gap in self.thresholds),
                any(gap.differs for gap in self.measures),
            )
        )


def compare_results(one: Path, other: Path) -> ResultsComparison:
    """Set two results folders side by side, case by case and measure by measure.

    Raises
    ------
    InputError : a folder is not of ``clineval run``, ``evaluate`` or ``validate``, or they share no case.
    """
    records = [read_provenance(require_results(folder, FILE, EVALUATION) / FILE) for folder in (one, other)]
    tables = [_table(folder) for folder in (one, other)]
    evaluations = [_evaluation(folder) for folder in (one, other)]
    both = _joined(*tables)
    if not len(both.dropna()):
        raise InputError(
            f"{one} and {other} share no case of one model and split; compare results of the same data."
        )
    return ResultsComparison(
        tuple(_made(*records)),
        tuple(_risk_gap(rows) for _, rows in both.groupby(KEY[:2], sort=False)),
        tuple(_threshold_gaps(evaluations[0], evaluations[1], both)),
        tuple(_measure_gaps(*evaluations)),
    )


def _table(folder: Path) -> pd.DataFrame:
    found = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"{folder} lacks {TABLES[-1]}; name a folder written by run, evaluate or validate.")
    return read_predictions(found, scores=None)


def _evaluation(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
        return {name: dict(record[name]) for name in ("models", "points")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{folder / EVALUATION} cannot be read ({error!r}); write it anew.") from error


def _joined(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Risks of both by model, split and case; NaN where a folder lacks the case."""
    risks = [frame.set_index(KEY)[ranked_by(frame)] for frame in (one, other)]
    return pd.concat(risks, axis=1, keys=["one", "other"], sort=False).reset_index()


def _made(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Made]:
    parts = (
        ("", {"command": one["kind"]}, {"command": other["kind"]}),
        ("", _program(one), _program(other)),
        ("setting ", _flat(one["settings"]), _flat(other["settings"])),
        ("data ", _data(one), _data(other)),
        ("version of ", one["versions"], other["versions"]),
        ("", _platform(one), _platform(other)),
    )
    for prefix, left, right in parts:
        for name in dict.fromkeys((*left, *right)):
            if not _same(left.get(name), right.get(name)):
                yield Made(prefix + name, _words(left.get(name)), _words(right.get(name)))


def _same(one: Any, other: Any) -> bool:
    """Whether two settings are equal; one that a version did not have yet is like an empty one."""
    return one == other or (one in (None, [], {}) and other in (None, [], {}))


def _program(record: Mapping[str, Any]) -> dict[str, Any]:
    commit = record.get("commit") or {}
    return {"commit": f"{str(commit.get('hash'))[:12]}{'' if commit.get('clean') else ' with changes'}"}


def _data(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record["data"].get(name) for name in ("dataset", "file", "sha256")}


def _platform(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " "): record["platform"].get(name) for name in (*PLATFORM, "cores")}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their path, such as ``training.network.epochs``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={each}" for name, each in value.items()) or "none"
    return "none" if value is None else str(value)


def _risk_gap(rows: pd.DataFrame) -> RiskGap:
    """The gap of one model on one split."""
    shared = rows.dropna()
    apart = (shared["one"] - shared["other"]).abs().to_numpy()
    furthest = int(apart.argmax()) if len(apart) else 0
    return RiskGap(
        str(rows["model"].iloc[0]),
        str(rows["split"].iloc[0]),
        len(shared),
        len(rows) - len(shared),
        float(apart.max()) if len(apart) else math.nan,
        float(apart.mean()) if len(apart) else math.nan,
        str(shared["case"].iloc[furthest]) if len(apart) else "",
    )


def _threshold_gaps(
    one: Mapping[str, Any], other: Mapping[str, Any], both: pd.DataFrame
) -> Iterator[ThresholdGap]:
    for model in dict.fromkeys((*one["points"], *other["points"])):
        left, right = _points(one, model), _points(other, model)
        for name in dict.fromkeys((*left, *right)):
            given = left.get(name), right.get(name)
            for split in _scored_splits(one, other, model):
                rows = both[(both["model"] == model) & (both["split"] == split)].dropna()
                if len(rows):
                    yield ThresholdGap(model, name, *given, split, _turned(rows, *given), len(rows))


def _points(evaluation: Mapping[str, Any], model: str) -> dict[str, float | None]:
    """Thresholds by name; further ones of one name, as ``given`` may be, are numbered."""
    found: dict[str, float | None] = {}
    for point in evaluation["points"].get(model, ()):
        again = sum(name.partition(" ")[0] == point["name"] for name in found)
        found[point["name"] + (f" {again + 1}" if again else "")] = point["threshold"]
    return found


def _scored_splits(one: Mapping[str, Any], other: Mapping[str, Any], model: str) -> list[str]:
    """The splits kept for testing, on which thresholds are scored."""
    populations = {**other["models"].get(model, {}), **one["models"].get(model, {})}
    return [
        name
        for name, scores in populations.items()
        if scores.get("operating_points") and not scores.get("used_for")
    ]


def _turned(rows: pd.DataFrame, one: float | None, other: float | None) -> int:
    if one is None or other is None:
        return 0
    return int(np.sum((rows["one"] >= one) != (rows["other"] >= other)))


def _measure_gaps(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[MeasureGap]:
    for model in dict.fromkeys((*one["models"], *other["models"])):
        left, right = (each["models"].get(model, {}) for each in (one, other))
        for population in dict.fromkeys((*left, *right)):
            for measure in MEASURES:
                values = (_value(each.get(population, {}), measure) for each in (left, right))
                yield MeasureGap(model, population, measure, *values)


def _value(scores: Mapping[str, Any], measure: str) -> float:
    value = (scores.get(measure) or {}).get("value")
    return math.nan if value is None else float(value)
