"""The work of clineval verify and compare: files of a folder against each other; two folders side by side."""

import html
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from clineval import results
from clineval.errors import InputError, reason_of
from clineval.evaluation import Evaluation
from clineval.files import (
    EVALUATION,
    PREDICTIONS,
    PREDICTIONS_PARQUET,
    PROVENANCE,
    REPORT,
    hash_file,
    hash_text,
    read_regular,
)
from clineval.predictions import ranked_by, read_predictions
from clineval.reporting.sentences import subject_of
from clineval.reporting.tables import DISCRIMINATION, Row, measure_table, point_table
from clineval.results import read_provenance
from clineval.results.folder import folder_kind, foreign_entries, require_results
from clineval.results.provenance import PLATFORM, environment_differences

ROW = re.compile(r"<tr>(.*?)</tr>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")


def misquoted(report: str, evaluation: Evaluation) -> str | None:
    """The first row of discrimination or operating points that the report lacks; None where it has all."""
    shown = {_split_words(html.unescape(TAG.sub(" ", row))) for row in ROW.findall(report)}
    return next((" ".join(row) for row in _rows(evaluation) if row not in shown), None)


def _rows(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    subject = subject_of(evaluation)
    tested = [subject.population, *subject.others]
    for table in (measure_table(subject, DISCRIMINATION, tested), point_table(subject, subject.population)):
        yield from (_split_words(_text(row)) for row in table.rows)


def _text(row: Row) -> str:
    return " ".join(
        cell if isinstance(cell, str) else f"{cell.text} {cell.interval} {cell.words}" for cell in row
    )


def _split_words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


README = "README.md"
QUOTATION = re.compile(
    r"<!-- results:begin"
    r"(?: evaluation\.json (?P<evaluation>[0-9a-f]{64}) text (?P<of_text>[0-9a-f]{64}))?[^\n]*-->\n"
    r"(?P<text>.*?)\n?<!-- results:end -->",
    re.DOTALL,
)
"""The part of a README that quotes results, with the SHA-256 of their ``evaluation.json`` and of the text."""

TOLERANCE = 1e-9
"""Relative difference of a recomputed number that another processor or version is allowed."""


@dataclass(frozen=True)
class Verdict:
    """What a verification found: a line for each thing that differs, and what is to be known beside."""

    differences: tuple[str, ...]
    notes: tuple[str, ...] = ()


def verify_results(folder: Path) -> Verdict:
    """Compare a results folder with its own provenance.

    Checked are the SHA-256 of every artefact, the provenance's own seal, that ``evaluation.json``
    follows from ``predictions.csv`` to the last digit (within ``TOLERANCE`` where the processor or a
    version is another), the ledger, and that the report quotes these numbers. So must a README in the
    folder above that names this ``evaluation.json`` as its source; one that quotes another is a note.

    Raises
    ------
    InputError : ``folder`` is not a results folder, or its provenance is of another schema.
    """
    require_results(folder, PROVENANCE)
    broken = _broken_provenance(folder / PROVENANCE)
    if broken:
        return Verdict((broken,))
    record = results.read_provenance(folder / PROVENANCE)
    changed = environment_differences(record)
    if _foreign_among(folder, record["artefacts"]):  # a pipe or device would never end; a link leads outside
        return Verdict(
            (
                *_provenance_differences(folder, record),
                *_artefact_differences(folder, record["artefacts"]),
                f"{EVALUATION}, {results.LEDGER} and {REPORT} were not read: regular files are needed",
            )
        )
    return Verdict(
        (
            *_provenance_differences(folder, record),
            *_artefact_differences(folder, record["artefacts"]),
            *_evaluation_differences(folder, record, tolerance=TOLERANCE if changed else 0.0),
            *_ledger_differences(folder, record),
            *_report_differences(folder),
            *_readme_differences(folder),
        ),
        (
            *((_note(changed),) if changed and EVALUATION in record["artefacts"] else ()),
            *_readme_notes(folder),
        ),
    )


def marked(text: str, *, evaluation: str) -> str:
    """A quoting text between its two marks; ``evaluation`` is the SHA-256 of the file that it quotes."""
    mark = f"<!-- results:begin evaluation.json {evaluation} text {hash_text(text)} (make results) -->"
    return f"{mark}\n{text}\n<!-- results:end -->"


def first_difference(left: Any, right: Any, place: str = "", *, tolerance: float = 0.0) -> str | None:
    """Path of the first place where two JSON values differ; None where they are equal.

    Parameters
    ----------
    tolerance : relative difference up to which two numbers that are not whole count as equal.
    """
    if isinstance(left, dict) and isinstance(right, dict):
        keys = sorted(left.keys() | right.keys())
        pairs = [(f"{place}.{key}".lstrip("."), left.get(key), right.get(key)) for key in keys]
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        pairs = [(f"{place}[{index}]", *both) for index, both in enumerate(zip(left, right, strict=True))]
    else:
        return None if _equal(left, right, tolerance) else place or "the top"
    found = (first_difference(one, other, where, tolerance=tolerance) for where, one, other in pairs)
    return next((where for where in found if where), None)


def _equal(left: Any, right: Any, tolerance: float) -> bool:
    if tolerance and isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
    return bool(left == right)


def _note(changed: list[str]) -> str:
    return (
        f"recomputed numbers were compared within {TOLERANCE:g} instead of to the last digit, for other "
        f"than when the results were written are: {'; '.join(changed)}"
    )


def _broken_provenance(path: Path) -> str:
    """What is wrong with a provenance that cannot even be read, for then no hash in it can be trusted."""
    try:
        json.loads(read_regular(path))
    except (ValueError, OSError, RecursionError) as error:
        reason = reason_of(error)
        return f"{PROVENANCE}: its content differs from what the run wrote; it cannot be read ({reason})"
    return ""


def _foreign_among(folder: Path, artefacts: Mapping[str, Any]) -> bool:
    """Whether a link, pipe or device has the place of a file of the results, or of a folder of them."""
    names = {*artefacts, PROVENANCE, results.LEDGER}
    parents = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    return any(entry in names | parents for entry in foreign_entries(folder))


def _provenance_differences(folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    if "seal" not in record:
        yield f"{PROVENANCE}: carries no seal of its own, as this version writes; write the results again"
    elif not results.is_as_sealed(folder / PROVENANCE, record):
        yield f"{PROVENANCE}: its content differs from what the run wrote"


def _artefact_differences(folder: Path, expected: dict[str, str]) -> Iterator[str]:
    for name in foreign_entries(folder):
        yield f"{name}: a link or special file, not written by the run"
    found = results.hash_folder(folder)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"{name}: missing from {folder.name}"
        elif name not in expected:
            yield f"{name}: not written by the run"
        elif found[name] != expected[name]:
            yield f"{name}: its content differs from what the run wrote"


def _evaluation_differences(folder: Path, record: dict[str, Any], *, tolerance: float) -> Iterator[str]:
    if EVALUATION not in record["artefacts"]:
        return
    try:
        written = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
        computed = _recomputed(folder, record)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError, InputError) as error:
        yield f"{EVALUATION}: cannot be recomputed from predictions.csv ({reason_of(error)})"
        return
    place = first_difference(written, computed, tolerance=tolerance)
    if place:
        yield f"{EVALUATION}: does not follow from predictions.csv, first at {place}"


def _recomputed(folder: Path, record: Mapping[str, Any]) -> Any:
    from clineval.pipeline.scoring import score_folder

    scored = score_folder(folder, record["settings"]["evaluation"], condition=record["data"]["condition"])
    return json.loads(json.dumps(scored.to_json()))


def _ledger_differences(folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    path, name = folder / results.LEDGER, results.LEDGER
    if not path.is_file():
        if EVALUATION in record["artefacts"]:
            yield f"{name}: missing from {folder.name}, so no opening of its test cases is on record"
        return
    if (number := results.broken_link(path)) is not None:
        yield f"{name}: line {number} does not follow from the line before"
    elif "ledger" in record and record["ledger"] != results.ledger_state(path):
        yield f"{name}: its content differs from what the run left; lines were altered, cut off or added"
    elif odd := _other_than_opened(record, results.read_openings(path)):
        yield f"{name}: at its last opening other {odd} were frozen than lie here"


def _other_than_opened(record: Mapping[str, Any], openings: list[dict[str, Any]]) -> str:
    """Which of the things frozen at the last opening are not those of this folder; empty if none."""
    frozen = openings[-1].get("frozen") if openings else {}
    if not isinstance(frozen, dict):
        return "things"
    artefacts = record["artefacts"]
    table = artefacts.get(PREDICTIONS_PARQUET) or artefacts.get(PREDICTIONS)
    here = {
        "predictions": ("predictions_sha256", table),
        "settings": ("settings_sha256", results.hash_settings(record["settings"])),
    }
    return " and ".join(word for word, (key, now) in here.items() if frozen.get(key, now) != now)


def _report_differences(folder: Path) -> Iterator[str]:
    if not (folder / REPORT).is_file() or not (folder / EVALUATION).is_file():
        return
    from clineval.evaluation import read_evaluation

    try:
        row = misquoted(
            (folder / REPORT).read_text(encoding="utf-8", errors="replace"),
            read_evaluation(folder / EVALUATION),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, InputError) as error:
        yield f"{REPORT}: cannot be compared with {EVALUATION} ({reason_of(error)})"
        return
    if row:
        yield f"{REPORT}: does not quote {EVALUATION}; it lacks the row: {row}"


def _readme(folder: Path) -> str:
    """The README beside a results folder; empty where there is none."""
    path = folder.resolve().parent / README
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _readme_differences(folder: Path) -> Iterator[str]:
    """A README that names this evaluation must still hold the text that was written from it."""
    quoted = QUOTATION.search(_readme(folder))
    if quoted and _quotes(quoted, folder) and hash_text(quoted["text"]) != quoted["of_text"]:
        yield f"{README}: its numbers were altered since they were written from {EVALUATION}"


def _readme_notes(folder: Path) -> Iterator[str]:
    quoted = QUOTATION.search(_readme(folder))
    source = quoted["evaluation"] if quoted else None
    if quoted and source and (folder / EVALUATION).is_file() and not _quotes(quoted, folder):
        yield f"{README} quotes another run, whose {EVALUATION} has the SHA-256 {source[:12]}..."


def _quotes(quoted: re.Match[str], folder: Path) -> bool:
    path = folder / EVALUATION
    return path.is_file() and quoted["evaluation"] == hash_file(path)


TABLES = (PREDICTIONS_PARQUET, PREDICTIONS)
NOT_COMPARED = ("readers", "adopt")
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
    """A measure in both folders with its interval; NaN where it is undefined or a folder does not have it."""

    model: str
    population: str
    measure: str
    one: float
    other: float
    one_interval: tuple[float, float] = (math.nan, math.nan)
    other_interval: tuple[float, float] = (math.nan, math.nan)

    @property
    def difference(self) -> float:
        """The other folder's value less the first one's."""
        return self.other - self.one

    @property
    def differs(self) -> bool:
        """Whether value or interval is not the same; two undefined ones are."""
        pairs = zip((self.one, *self.one_interval), (self.other, *self.other_interval), strict=True)
        return any(one != other and not (math.isnan(one) and math.isnan(other)) for one, other in pairs)


@dataclass(frozen=True)
class GroupGap:
    """A population whose cases belong to other numbers of groups, or are others, in the two folders."""

    population: str
    one: int
    one_cases: int
    other: int
    other_cases: int


@dataclass(frozen=True)
class ResultsComparison:
    """What differs between two results folders.

    ``made`` never makes two results unequal: two machines may well give the same numbers.
    """

    made: tuple[Made, ...]
    risks: tuple[RiskGap, ...]
    thresholds: tuple[ThresholdGap, ...]
    measures: tuple[MeasureGap, ...]
    groups: tuple[GroupGap, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both hold the same risks of the same cases, groups, thresholds, flags and measures."""
        return not any(
            (
                any(gap.largest > 0 or gap.unshared for gap in self.risks),
                any(gap.turned or gap.one != gap.other for gap in self.thresholds),
                any(gap.differs for gap in self.measures),
                self.groups,
            )
        )


def compare_results(one: Path, other: Path) -> ResultsComparison:
    """Set two results folders side by side, case by case and measure by measure.

    Raises
    ------
    InputError : a folder is not of ``clineval run``, ``evaluate`` or ``validate``, or they share no case.
    """
    for folder in (one, other):
        if (kind := folder_kind(folder)) in NOT_COMPARED:
            raise InputError(
                f"{folder} holds results of clineval {kind}, which are not compared; name folders written by "
                "run, evaluate or validate."
            )
    records = [
        read_provenance(require_results(folder, PROVENANCE, EVALUATION) / PROVENANCE)
        for folder in (one, other)
    ]
    tables = [_table(folder) for folder in (one, other)]
    evaluations = [_evaluation(folder) for folder in (one, other)]
    both = _joined(*tables)
    if not len(both.dropna()):
        raise InputError(
            f"{one} and {other} have no case of the same model and split in common; compare results of the "
            "same data."
        )
    return ResultsComparison(
        tuple(_made(*records)),
        tuple(_risk_gap(rows) for _, rows in both.groupby(KEY[:2], sort=False)),
        tuple(_threshold_gaps(evaluations[0], evaluations[1], both)),
        tuple(_measure_gaps(*evaluations)),
        tuple(_group_gaps(*evaluations)),
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
        raise InputError(
            f"{folder / EVALUATION} cannot be read ({reason_of(error)}); write it again."
        ) from error


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
                yield Made(prefix + name, _in_words(left.get(name)), _in_words(right.get(name)))


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


def _in_words(value: Any) -> str:
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
                scores = [each.get(population, {}).get(measure) or {} for each in (left, right)]
                a, b = (_number(each, "value") for each in scores)
                of_a, of_b = ((_number(each, "low"), _number(each, "high")) for each in scores)
                yield MeasureGap(model, population, measure, a, b, of_a, of_b)


def _number(estimate: Mapping[str, Any], name: str) -> float:
    return math.nan if estimate.get(name) is None else float(estimate[name])


def _group_gaps(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[GroupGap]:
    left, right = map(_grouped, (one, other))
    for name in (each for each in left if each in right):
        grouped = any(groups < cases for groups, cases in (left[name], right[name]))
        if grouped and left[name] != right[name]:
            yield GroupGap(name, *left[name], *right[name])


def _grouped(evaluation: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Groups and cases of each population, as its first model has them."""
    found: dict[str, tuple[int, int]] = {}
    for populations in evaluation["models"].values():
        for name, scores in populations.items():
            found.setdefault(name, (scores.get("groups", 0), scores.get("cases", 0)))
    return found
