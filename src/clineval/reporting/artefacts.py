"""What lies in a results folder, read and checked for the report; the gallery of wrong calls and the maps."""

import base64
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from clineval.data.audit import working_images
from clineval.data.cohort import Cohort, Exploration
from clineval.data.similarity import Alignment, alignments, overlap
from clineval.errors import InputError, digits_apart, reason_of
from clineval.evaluation import Evaluation, read_evaluation
from clineval.evaluation.records import OperatingPoint
from clineval.files import EVALUATION, PREDICTIONS, PREDICTIONS_PARQUET, PROVENANCE, write_json
from clineval.predictions import ranked_by, read_predictions
from clineval.reporting.sentences import main_point, number, signed, whole
from clineval.results import altered
from clineval.statistics.counts import flagged

TABLES = (PREDICTIONS, PREDICTIONS_PARQUET)
AUDIT, EXPLORATION, STORED = "audit.json", "exploration.json", "models/models.json"
TRANSPORT, ROBUSTNESS, COVERAGE = "transport.json", "robustness.csv", "coverage.json"
SITES, PROBES, MAPS, GALLERY = "sites.json", "probes.json", "maps.json", "gallery.json"
SCHEMA = 1  # of the gallery, and of the maps

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Failures:
    """The wrong calls of one model at one operating point.

    ``cases`` has the columns ``case``, ``outcome`` (1 missed, 0 false alarm) and ``risk``: missed cases
    first, those with the lowest risk first; then false alarms, those with the highest risk first.
    """

    point: OperatingPoint
    cases: pd.DataFrame

    @property
    def missed(self) -> int:
        """Cases with the condition that were not flagged."""
        return int(self.cases["outcome"].sum())

    @property
    def alarms(self) -> int:
        """Cases without the condition that were flagged."""
        return len(self.cases) - self.missed


def failures(table: pd.DataFrame, point: OperatingPoint, *, model: str, population: str) -> Failures:
    """The wrong calls of ``model`` at a threshold among one split of the table."""
    rows = table[(table["model"] == model) & (table["split"] == population)]
    rows = rows.rename(columns={ranked_by(rows): "risk"})
    wrong = rows[flagged(rows["risk"], point.threshold) != rows["outcome"].astype(bool)]
    worst_first = np.where(wrong["outcome"].astype(bool), wrong["risk"], -wrong["risk"])
    ordered = wrong.assign(outcome=wrong["outcome"].astype(int), _worst=worst_first)
    ordered = ordered.sort_values(["outcome", "_worst", "case"], ascending=[False, True, True], kind="stable")
    return Failures(point, ordered[["case", "outcome", "risk"]].reset_index(drop=True))


SIDE = 96  # pixels of the longer side at most: a thumbnail, so that the page stays small
NEAREST = 3  # training images shown beside a wrong call
MOST_MISSED, MOST_ALARMS = 40, 12  # wrong calls shown per model and population
MOST_SHIFTED = 20_000  # images up to which the neighbours are sought over displacements and mirror images too


@dataclass(frozen=True)
class Gallery:
    """Images by case, as base64 PNG, and what is known of them.

    ``outcome`` is 1 or 0 per case; ``nearest`` maps a wrongly called case to its nearest training
    images, as ``{"case", "similarity"}``; ``examples`` are the two classes with their label and cases.
    """

    size: tuple[int, int] = (0, 0)
    images: Mapping[str, str] = field(default_factory=dict)
    outcome: Mapping[str, int] = field(default_factory=dict)
    nearest: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    examples: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return {
            "schema": SCHEMA,
            "size": list(self.size),
            "examples": list(self.examples),
            "outcome": dict(self.outcome),
            "nearest": dict(self.nearest),
            "images": dict(self.images),
        }


def write_gallery(
    folder: Path,
    *,
    cohort: Cohort,
    table: pd.DataFrame,
    evaluation: Evaluation,
    exploration: Exploration | None = None,
) -> Gallery:
    """Collect the images that the report of this run will show into ``gallery.json``."""
    row_of = {str(case): row for row, case in enumerate(cohort.case)}
    wrong = [case for case in _wrong_calls(table, evaluation) if case in row_of]
    near = _nearest(cohort, [row_of[case] for case in wrong])
    examples = _examples(exploration)
    shown = dict.fromkeys([case for each in examples for case in each["cases"]])
    shown.update(dict.fromkeys(wrong))
    shown.update(dict.fromkeys(each["case"] for found in near.values() for each in found))
    gallery = Gallery(
        size=(cohort.images.shape[1], cohort.images.shape[2]),
        images={case: png(cohort.images[row_of[case]]) for case in shown if case in row_of},
        outcome={case: int(cohort.outcome[row_of[case]]) for case in shown if case in row_of},
        nearest=near,
        examples=examples,
    )
    write_json(gallery.to_json(), folder / GALLERY)
    return gallery


def read_gallery(folder: Path) -> Gallery:
    """The images kept in a folder; an empty gallery where there are none."""
    path = folder / GALLERY
    if not path.is_file():
        return Gallery()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        height, width = kept["size"]
        return Gallery(
            (height, width), kept["images"], kept["outcome"], kept["nearest"], tuple(kept["examples"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{GALLERY} is incomplete ({reason_of(error)}); write the results again with: clineval run"
        ) from error


def _wrong_calls(table: pd.DataFrame, evaluation: Evaluation) -> list[str]:
    cases: dict[str, None] = {}
    splits = set(table["split"].unique())
    for model, by_population in evaluation.models.items():
        for population, scores in by_population.items():
            point = main_point(scores, evaluation.primary)
            if population in splits and point is not None:
                found = failures(table, point, model=model, population=population).cases
                cases.update(dict.fromkeys(str(case) for case in worst(found)["case"]))
    return list(cases)


def worst(found: pd.DataFrame) -> pd.DataFrame:
    """The wrong calls that a report shows: missed cases, then false alarms, the worst of each."""
    missed, alarms = (found[found["outcome"] == outcome] for outcome in (1, 0))
    return pd.concat([missed.head(MOST_MISSED), alarms.head(MOST_ALARMS)])


def _nearest(cohort: Cohort, rows: list[int]) -> dict[str, list[dict[str, Any]]]:
    train = np.flatnonzero(cohort.within("train"))
    if not rows or not len(train):
        return {}
    similarity = _similarity(cohort.images, np.array(rows), train)
    kept: dict[str, list[dict[str, Any]]] = {}
    for row, line in zip(rows, similarity, strict=True):
        order = np.argsort(-line, kind="stable")[:NEAREST]
        kept[str(cohort.case[row])] = [
            {"case": str(cohort.case[train[place]]), "similarity": round(float(line[place]), 3)}
            for place in order
        ]
    return kept


def _similarity(images: Images, rows: NDArray[np.int64], train: NDArray[np.int64]) -> NDArray[np.float32]:
    """Similarity as the audit measures it, shape (rows, train)."""
    working = working_images(images[np.concatenate([rows, train])])
    best = np.full((len(rows), len(train)), -1.0, np.float32)
    for alignment in _tried(len(train)):
        fixed, moved = overlap(working, alignment)
        np.maximum(best, fixed[: len(rows)] @ moved[len(rows) :].T, out=best)
    return best


def _tried(cases: int) -> Iterable[Alignment]:
    return alignments() if cases <= MOST_SHIFTED else (Alignment(0, 0, False),)


def _examples(exploration: Exploration | None) -> tuple[dict[str, Any], ...]:
    if exploration is None:
        return ()
    return tuple(
        {"outcome": each.outcome, "name": each.name, "label": each.label, "cases": list(each.cases)}
        for each in exploration.examples
    )


def png(image: Images) -> str:
    """A thumbnail as base64 PNG."""
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    kept = io.BytesIO()
    picture.save(kept, format="PNG", optimize=True)
    return base64.b64encode(kept.getvalue()).decode("ascii")


MOST_AGREEMENT, LEAST_STABILITY = 0.3, 0.8  # from here on, and below, a map is not to be read


@dataclass(frozen=True)
class MapCheck:
    """Whether a map depends on the model and holds still.

    Attributes
    ----------
    agreement : with the maps of randomised models: mean absolute rank correlation, 0 to 1. Absolute, for
        a map that is the randomised one turned round depends on the model no more.
    stability : rank correlation with the map of the image moved by one pixel down and right, -1 to 1.
    seeds : mean rank correlation between the maps of an ensemble's members; NaN for a model without.
    marks : share of the absolute map that lies on text or measuring marks burnt in, 0 to 1, and
        ``marks_area`` the share of the cells that do; NaN where the audit (AUD012) finds none.
    """

    agreement: float
    stability: float
    seeds: float
    marks: float = nan
    marks_area: float = nan

    @property
    def reason(self) -> str:
        """Why the map should not be read; empty where it passed."""
        if isnan(self.agreement):
            return "it cannot be compared with the map of a randomised model"
        if self.agreement >= MOST_AGREEMENT:
            digits = digits_apart(self.agreement, MOST_AGREEMENT)
            return (
                "its pattern resembles too closely that of models with random weights, regardless of sign "
                f"({self.agreement:.{digits}f}; limit {MOST_AGREEMENT:g})"
            )
        if not self.stability >= LEAST_STABILITY:
            digits = digits_apart(self.stability, LEAST_STABILITY)
            return (
                "it changes when the image moves by one pixel (rank correlation "
                f"{self.stability:.{digits}f}, must be at least {LEAST_STABILITY:g})"
            )
        return ""

    @property
    def passed(self) -> bool:
        """Whether the map may be read."""
        return not self.reason

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is undefined."""
        numbers = {name: None if isnan(value) else round(value, 4) for name, value in vars(self).items()}
        return {**numbers, "passed": self.passed, "reason": self.reason}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "MapCheck":
        """The check, read back from its JSON form."""
        names = [each.name for each in fields(cls)]
        return cls(**{name: nan if record[name] is None else float(record[name]) for name in names})


@dataclass(frozen=True)
class Explanation:
    """The map of one image by one model, and what its checks found.

    Attributes
    ----------
    risk : of the square, 0 to 1, as the run's model gives it.
    predicted : the risk that ``clineval predict`` gives, which may average this square with a second one.
    map : change in risk by cell, shape (rows, columns): positive where the patch raises the risk.
    randomised : the same by a model of shuffled weights, shape (rows, columns); None where there is none.
    patch, stride : pixels a side of a patch, and from one cell to the next.
    notice : says that the run learnt from synthetic images; else empty.
    warnings : what to know before risk and map are read: sentences by their codes in ``clineval predict``.
    """

    image: str
    model: str
    condition: str
    square: Images
    risk: float
    threshold: float | None
    map: Floats
    randomised: Floats | None
    check: MapCheck
    patch: int
    stride: int
    notice: str = ""
    warnings: Mapping[str, str] = field(default_factory=dict)
    predicted: float | None = None

    @property
    def risk_in_words(self) -> str:
        """The risk that predict gives and, where it is another, that of the mapped square alone."""
        own = f"{self.risk:.3f}"
        if self.predicted is None or (averaged := f"{self.predicted:.3f}") == own:
            return own
        return f"{averaged} (the middle square alone, which this map explains: {own})"

    def __repr__(self) -> str:
        check = "check passed" if self.check.passed else "not to be read"
        return f"Map of {self.image or 'an image'}: risk {self.risk:.3f} by {self.model}; {check}"

    @property
    def flagged(self) -> bool | None:
        """Whether the risk of predict is at or above the threshold; None without one."""
        risk = self.risk if self.predicted is None else self.predicted
        return None if self.threshold is None else risk >= self.threshold

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is undefined."""
        return {
            "image": self.image,
            "model": self.model,
            "condition": self.condition,
            "risk": self.risk,
            "predicted": self.predicted,
            "threshold": self.threshold,
            "flagged": self.flagged,
            "patch": self.patch,
            "stride": self.stride,
            "map": np.round(self.map, 6).tolist(),
            "randomised": None if self.randomised is None else np.round(self.randomised, 6).tolist(),
            "check": self.check.to_json(),
            "warnings": [{"code": code, "text": text} for code, text in self.warnings.items()],
        }


@dataclass(frozen=True)
class CheckedMaps:
    """How the maps of one model fared on test cases, and the maps of those that it missed.

    Attributes
    ----------
    checks : of test cases at even intervals; ``cases`` is how many test cases there are.
    missed : by case the map of a missed case, shape (rows, columns), and its check.
    """

    model: str
    cases: int
    checks: tuple[MapCheck, ...]
    missed: Mapping[str, tuple[Floats, MapCheck]]

    def mean(self, name: str) -> float:
        """The mean of one measure over the cases where it is defined; NaN where it is so nowhere."""
        values = [value for each in self.checks if not isnan(value := getattr(each, name))]
        return float(np.mean(values)) if values else nan

    @property
    def passed(self) -> bool:
        """Whether maps depend on the model and hold still, on average, in the two decimals that are told."""
        agreement, stability = (round(self.mean(name), 2) for name in ("agreement", "stability"))
        return agreement < MOST_AGREEMENT and stability >= LEAST_STABILITY

    @property
    def sentence(self) -> str:
        """What the check showed, for the report."""
        shown, failed = len(self.checks), sum(not each.passed for each in self.checks)
        agreement, stability, seeds = (self.mean(name) for name in ("agreement", "stability", "seeds"))
        verdict = (
            "On average the maps depend on the model and hold still"
            if self.passed
            else "On average the maps fail this check and should not be read"
        )
        members = "" if isnan(seeds) else f", between members of the ensemble {number(seeds, 2)}"
        return (
            f"{verdict}: on {whole(shown)} of {whole(self.cases)} test images their rank correlation with "
            f"maps of the same model with random weights, regardless of sign, is {number(agreement, 2)} "
            f"(wanted: below {number(MOST_AGREEMENT, 1)}), with maps of the images moved by one pixel "
            f"{number(stability, 2)} (wanted: {number(LEAST_STABILITY, 1)} or more){members}. "
            f"{whole(failed)} of these {whole(shown)} maps fail by themselves; a map that fails is greyed."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = [each.name for each in fields(MapCheck)]
        means = {name: self.mean(name) for name in names}
        return {
            "schema": SCHEMA,
            "model": self.model,
            "cases": self.cases,
            "mean": {name: None if isnan(value) else round(value, 4) for name, value in means.items()},
            "passed": self.passed,
            "checks": [each.to_json() for each in self.checks],
            "missed": {
                case: {"map": np.round(found, 6).tolist(), "check": check.to_json()}
                for case, (found, check) in self.missed.items()
            },
        }


def write_maps(folder: Path, maps: CheckedMaps) -> None:
    """Write ``maps.json``."""
    write_json(maps.to_json(), folder / MAPS)


def read_maps(record: Mapping[str, Any]) -> CheckedMaps | None:
    """The maps back from ``maps.json``; None where the folder has none.

    Raises
    ------
    InputError : the file is incomplete.
    """
    if not record:
        return None
    try:
        return CheckedMaps(
            str(record["model"]),
            int(record["cases"]),
            tuple(map(MapCheck.from_json, record["checks"])),
            {
                case: (np.array(each["map"], np.float64), MapCheck.from_json(each["check"]))
                for case, each in record["missed"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{MAPS} is incomplete ({reason_of(error)}); write the results again.") from error


def extremes(found: Floats) -> str:
    """The largest rise and fall of risk on a map, in words."""
    rise, fall = max(float(found.max()), 0.0), min(float(found.min()), 0.0)
    return f"{signed(rise, as_points=True)} to {signed(fall, as_points=True)} percentage points"


@dataclass(frozen=True)
class Artefacts:
    """The records of one results folder; an empty dict where a file is not there."""

    folder: Path
    table: pd.DataFrame
    table_name: str
    evaluation: Evaluation
    audit: dict[str, Any] = field(default_factory=dict)
    exploration: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)
    transport: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] = field(default_factory=dict)
    sites: dict[str, Any] = field(default_factory=dict)
    probes: dict[str, Any] = field(default_factory=dict)
    maps: dict[str, Any] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery)

    @property
    def source(self) -> dict[str, Any]:
        """Where the images are from, as the provenance says; empty for a table of predictions."""
        source = self.provenance.get("data", {})
        return source if isinstance(source, dict) else {}

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up."""
        return bool(self.source.get("synthetic")) or bool(self.exploration.get("notice"))

    @property
    def synthetic_reason(self) -> str:
        """Why made-up data were used."""
        said = str(self.source.get("reason") or self.exploration.get("notice", ""))
        return said.split(": ", 1)[-1]

    @property
    def dataset_id(self) -> str:
        """The data set's short name; empty for a table of predictions."""
        return str(self.source.get("dataset", ""))

    @property
    def dataset(self) -> str:
        """The data set's name in words; empty for a table of predictions."""
        return str(self.source.get("title") or self.exploration.get("dataset", ""))

    def has(self, name: str) -> bool:
        """Whether a file lies in the folder."""
        return (self.folder / name).is_file()


def read_artefacts(folder: Path, *, table: pd.DataFrame | None = None) -> Artefacts:
    """Read what a report is made of.

    Parameters
    ----------
    table : the folder's table as it was read before, where it is at hand.

    Raises
    ------
    InputError : the folder, its table or its evaluation is missing, of another schema, or not what the
        provenance beside it says.
    """
    if not folder.is_dir():
        raise InputError(f"A results folder is needed; {folder} is not a folder. Make one with: clineval run")
    table_name = next((name for name in TABLES if (folder / name).is_file()), None)
    if table_name is None or not (folder / EVALUATION).is_file():
        lacking = EVALUATION if table_name else TABLES[0]
        raise InputError(
            f"{folder} lacks {lacking}, which a report is made from; write it with: clineval run"
        )
    provenance = _read_json(folder, PROVENANCE)
    written = (
        table_name,
        EVALUATION,
        AUDIT,
        EXPLORATION,
        STORED,
        TRANSPORT,
        ROBUSTNESS,
        COVERAGE,
        SITES,
        PROBES,
        MAPS,
    )
    _refuse_altered(folder, provenance, (*written, GALLERY))
    evaluation = read_evaluation(folder / EVALUATION)
    table = read_predictions(folder / table_name, scores=None) if table is None else table
    _refuse_unknown_models(evaluation, table, table_name)
    return Artefacts(
        folder=folder,
        table=table,
        table_name=table_name,
        evaluation=evaluation,
        audit=_read_json(folder, AUDIT),
        exploration=_read_json(folder, EXPLORATION),
        provenance=provenance,
        stored=_read_json(folder, STORED),
        transport=_read_json(folder, TRANSPORT),
        coverage=_read_json(folder, COVERAGE),
        sites=_read_json(folder, SITES),
        probes=_read_json(folder, PROBES),
        maps=_read_json(folder, MAPS),
        gallery=read_gallery(folder),
    )


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{name} in {folder} cannot be read ({error}); write the results again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{name} in {folder} is not a JSON object; write the results again.")
    return content


def _refuse_altered(folder: Path, provenance: dict[str, Any], names: tuple[str, ...]) -> None:
    """A file that changed after the run would make a page that looks like the run's and is not."""
    recorded = provenance.get("artefacts") or {}
    present = [name for name in names if name in recorded and (folder / name).is_file()]
    for name in altered(folder, recorded, present):
        raise InputError(
            f"{name} is not the file that {PROVENANCE} recorded: it was changed after it was written. "
            "See what differs with: clineval verify RESULTS"
        )


def _refuse_unknown_models(evaluation: Evaluation, table: pd.DataFrame, table_name: str) -> None:
    unknown = set(evaluation.models) - set(table["model"].unique())
    if unknown:
        raise InputError(
            f"{EVALUATION} scores {sorted(unknown)[0]!r}, a model that {table_name} does not hold; "
            "they are of different runs. Write both again with: clineval evaluate"
        )
