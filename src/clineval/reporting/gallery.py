"""The cases that a model calls wrongly, with their images and the training images most like them."""

import base64
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from clineval.data.audit import working_images
from clineval.data.cohort import Cohort, Exploration
from clineval.data.similarity import Alignment, alignments, overlap
from clineval.errors import InputError
from clineval.evaluation import Evaluation
from clineval.evaluation.records import OperatingPoint
from clineval.predictions import ranked_by
from clineval.reporting.sentences import main_point
from clineval.statistics.counts import flagged


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


FILE = "gallery.json"
SCHEMA = 1
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
        images={case: _png(cohort.images[row_of[case]]) for case in shown if case in row_of},
        outcome={case: int(cohort.outcome[row_of[case]]) for case in shown if case in row_of},
        nearest=near,
        examples=examples,
    )
    text = json.dumps(gallery.to_json(), indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")
    return gallery


def read_gallery(folder: Path) -> Gallery:
    """The images kept in a folder; an empty gallery where there are none."""
    path = folder / FILE
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
            f"{FILE} is incomplete ({error!r}); write the results again with: clineval run"
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


def _similarity(
    images: NDArray[np.uint8], rows: NDArray[np.int64], train: NDArray[np.int64]
) -> NDArray[np.float32]:
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


def _png(image: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    kept = io.BytesIO()
    picture.save(kept, format="PNG", optimize=True)
    return base64.b64encode(kept.getvalue()).decode("ascii")
