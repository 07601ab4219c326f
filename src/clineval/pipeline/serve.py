"""A finished run held in memory, and what it says of images: to a notebook and to clineval serve's page."""

import base64
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clineval.data.image_files import HeldFile, ReadImage, Seen, find_images
from clineval.data.preparation import DEEP, box_of, grey_of_colour
from clineval.data.similarity import Neighbour, Trace, digests, most_alike
from clineval.errors import InputError
from clineval.files import (
    ADOPTION,
    ADOPTION_PAGE,
    EVALUATION,
    PREDICTIONS,
    PROVENANCE,
    REPORT,
    hash_file,
    program_version,
    read_regular,
)
from clineval.pipeline.predict import (
    SERIOUS,
    WARNINGS,
    Prediction,
    Predictions,
    predict_files,
    predict_images,
)
from clineval.pipeline.stored_run import AS_TRAINED, MOST_EVALUATION, StoredRun, cut_for, left_out, read_run
from clineval.results import altered

if TYPE_CHECKING:
    from clineval.pipeline.explain import ShownExplanation

NEAREST = 4  # training images shown beside an image
SIDE_OF_PICTURE = 640  # pixels of the longer side of the picture shown
SIDE_OF_SQUARE = 224  # the same of squares; smaller ones are shown pixel by pixel
MOST_ON_DISK = 300_000_000  # bytes of a data set's file from which training images are shown
MOST_SHOWN = 100  # rows of a table in a notebook; ``table`` has them all
PHANTOM = "phantom"
Picture = Path | str | Image.Image | NDArray[np.uint8]
COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")
BOUNDED = ("sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative")


@dataclass(frozen=True)
class Preparing:
    """How uploaded images are read and cut: the options of ``clineval predict``."""

    fit: str = AS_TRAINED
    bits: int = 16
    matching: bool = True
    second_view: bool = True
    skip_unreadable: bool = False


@dataclass(frozen=True)
class Served:
    """A finished run, read once, and what else its page shows.

    Attributes
    ----------
    folder : the results folder; ``state`` is what told its files apart when they were read.
    evaluation, provenance : ``evaluation.json`` and ``provenance.json`` as they stand.
    provenance_sha256 : names the run; ``report`` is its page, None where there is none as the run wrote it.
    adoption_page : the same of the page of ``clineval adopt``.
    """

    run: StoredRun
    folder: Path
    state: tuple[Any, ...]
    evaluation: Mapping[str, Any]
    provenance: Mapping[str, Any]
    provenance_sha256: str
    report: bytes | None
    adoption_page: bytes | None = None

    @property
    def unchanged(self) -> bool:
        """Whether the folder still holds the files that were read."""
        return _state(self.folder) == self.state

    @property
    def trace(self) -> Trace:
        """What recognises the training images."""
        if self.run.reference is None:
            raise InputError(
                f"{self.folder} tells nothing of the training images; serve a folder of clineval run."
            )
        return self.run.reference.trace

    @property
    def main(self) -> tuple[str, float]:
        """The model that the page speaks of first, and its threshold."""
        model, threshold = self.run.main
        if np.isnan(threshold):
            raise InputError(f"No model of {self.folder} has a frozen threshold; run clineval run again.")
        return model, threshold

    @cached_property
    def outcomes(self) -> Mapping[str, bool]:
        """Whether the condition is present, by training case; empty where the table does not say it."""
        path = self.folder / PREDICTIONS
        if not _is_as_written(path, self.provenance):
            return {}
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            return {row["case"]: row["outcome"] == "1" for row in rows if row["split"] == "train"}

    @cached_property
    def training_images(self) -> Mapping[str, tuple[NDArray[np.uint8], bool]]:
        """The training images by case, with outcomes, where their data set is on this machine; else empty."""
        cohort = self._data_set()
        if cohort is None:
            return {}
        row_of = {case: row for row, case in enumerate(cohort.case.tolist())}
        kept = dict(zip(self.trace.case.tolist(), self.trace.digest.tolist(), strict=True))
        rows = {case: row_of[case] for case in kept if case in row_of}
        found = digests(cohort.images[list(rows.values())]).tolist()
        return {
            case: (cohort.images[row].copy(), bool(cohort.outcome[row]))
            for (case, row), digest in zip(rows.items(), found, strict=True)
            if digest == kept[case]
        }

    @cached_property
    def loaded(self) -> "LoadedRun":
        """The run, ready to map images."""
        return LoadedRun(self.run)

    def prepare(self) -> None:
        """Load what the first image and the first map would wait for."""
        _ = self.outcomes, self.training_images
        if self.main[0] not in self.run.in_colour:
            self.loaded.explainer(self.main[0]).prepare()

    def _data_set(self) -> Any:
        """The cohort that the run learnt from, never fetched; None where it is not here."""
        from clineval.data import medmnist  # which brings what downloads

        settings = self.provenance.get("settings", {})
        name = str(self.provenance.get("data", {}).get("dataset", "")).split("_")[0]
        try:
            if name == PHANTOM:
                return medmnist.load_cohort(PHANTOM, size=self.run.side, seed=settings["training"]["seed"])
            if name not in medmnist.SETS:
                return None
            path = medmnist.find(name, size=self.run.side)
            if path is None or path.stat().st_size > MOST_ON_DISK:
                return None
            return medmnist.read(path, name, size=self.run.side, condition=settings["data"]["condition"])
        except (InputError, OSError, KeyError, TypeError):
            return None


# Read -------------------------------------------------------------------------------------------------


def open_run(results: Path) -> Served:
    """Read a finished run for serving.

    Raises
    ------
    InputError : as ``read_run``; or the folder was replaced while it was read.
    """
    if results.is_file():
        raise InputError(f"clineval serve needs a folder of clineval run; {results} is a file.")
    before = _state(results)
    run = read_run(results)
    provenance = json.loads(read_regular(results / PROVENANCE))
    served = Served(
        run,
        results,
        _state(results),
        json.loads(read_regular(results / EVALUATION, most=MOST_EVALUATION)),
        provenance,
        hash_file(results / PROVENANCE),
        _page(results / REPORT, provenance),
        _page(results / ADOPTION_PAGE, provenance),
    )
    if served.state != before:
        raise InputError(f"{results} was replaced by another run while it was read; repeat the command.")
    _refuse_unready(served)
    return served


def _refuse_unready(served: Served) -> None:
    """Refuse a run of which no model has a threshold, or which says nothing of its training images."""
    for needed in ("main", "trace"):
        getattr(served, needed)


def _state(folder: Path) -> tuple[Any, ...]:
    """What changes when a file that is served, or the folder itself, is replaced or altered."""
    names = ("", PROVENANCE, EVALUATION, PREDICTIONS, REPORT, ADOPTION, ADOPTION_PAGE, "models")
    paths = [folder / name for name in names]
    try:
        paths += sorted((folder / "models").iterdir())
    except OSError:
        return ()
    return tuple(_stamp(path) for path in paths)


def _stamp(path: Path) -> tuple[Any, ...]:
    try:
        found = path.stat()
    except OSError:
        return (path.name,)
    size = found.st_size if path.is_file() else 0  # a folder's own size and time tell of lock files, too
    return path.name, found.st_dev, found.st_ino, size, found.st_mtime_ns if size else 0


def _page(path: Path, provenance: Mapping[str, Any]) -> bytes | None:
    """A page, None where there is none as the run wrote it."""
    return read_regular(path) if _is_as_written(path, provenance) else None


def _is_as_written(path: Path, provenance: Mapping[str, Any]) -> bool:
    written = provenance.get("artefacts")
    return isinstance(written, dict) and not any(altered(path.parent, written, [path.name]))


# What the run is --------------------------------------------------------------------------------------


def describe_run(served: Served) -> dict[str, Any]:
    """Condition, models with their frozen thresholds and what these did on the test set, and where from."""
    run, (model, threshold) = served.run, served.main
    population = _population(served, model)
    scores = _scores(served, model, population)
    return {
        "condition": run.condition,
        "data_title": run.data_title,
        "notice": " ".join(filter(None, (run.notice, left_out(run)))),
        "side": run.side,
        "fit": run.fit,
        "primary": {"model": model, "threshold": threshold},
        "population": population,
        "cases": scores.get("cases"),
        "events": scores.get("events"),
        "level": served.evaluation.get("level"),
        "models": {name: _points(served, name, population) for name in run.names},
        "adoption": _adoption(served),
        "warnings": WARNINGS,
        "serious": SERIOUS,
        "report": served.report is not None,
        "adoption_page": served.adoption_page is not None,
        "provenance_sha256": served.provenance_sha256,
        "program": f"clineval {program_version()}",
    }


def _adoption(served: Served) -> dict[str, Any] | None:
    """The site of an adopted run, what its threshold was set for, and what it gave on local cases.

    Cross-fitted: on patients that were not used to fit. None of other runs, or where the record was altered.
    """
    if served.provenance.get("kind") != "adopt":
        return None
    from clineval.pipeline.evaluate import read_adoption  # which loads what a report is written with
    from clineval.reporting.adoption import own_step

    try:
        found = read_adoption(served.folder, served.provenance)
    except (InputError, OSError):
        return None
    point = found.models[found.model].points[-1]
    if (found.model, point.threshold) != served.main:
        return None
    scores = own_step(found).scores
    return {
        "site": found.site,
        "rule": point.rule,
        "level": found.level,
        "sensitivity": _rate(scores.sensitivity),
        "specificity": _rate(scores.specificity),
    }


def _rate(found: Any) -> list[float] | None:
    """Value, lower and upper bound; None where one is not defined."""
    values = [float(each) for each in (found.value, found.low, found.high)]
    return values if np.isfinite(values).all() else None


def _population(served: Served, model: str) -> str:
    """The population that the counts are taken of: test, else the first that was kept for testing."""
    there = served.evaluation["models"].get(model, {})
    kept = [name for name, scores in there.items() if scores.get("operating_points")]
    return "test" if "test" in kept else next(iter(kept), "")


def _scores(served: Served, model: str, population: str) -> Mapping[str, Any]:
    found = served.evaluation["models"].get(model, {}).get(population, {})
    return found if isinstance(found, dict) else {}


def _points(served: Served, model: str, population: str) -> list[dict[str, Any]]:
    """A model's frozen thresholds, each with its counts and intervals where it was scored."""
    scored = {
        (each["name"], each["threshold"]): each
        for each in _scores(served, model, population).get("operating_points", ())
    }
    return [
        {**vars(each), **_what_it_did(scored.get((each.name, each.threshold), {}))}
        for each in served.run.thresholds[model]
    ]


def _what_it_did(point: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: point.get(name) for name in ("rule", *COUNTS)}
    return counts | {name: _bounds(point.get(name)) for name in BOUNDED}


def _bounds(estimate: Any) -> list[float | None] | None:
    """Lower and upper bound of an interval; None where there is no estimate."""
    return None if not isinstance(estimate, dict) else [estimate.get("low"), estimate.get("high")]


# What it says of images -------------------------------------------------------------------------------


def predict_held(
    served: Served, files: Sequence[HeldFile], how: Preparing, seen: Seen = lambda place, read, square: None
) -> Predictions:
    """What ``clineval predict`` says of files that lie in memory; ``seen`` as for ``predict_files``."""
    return predict_files(served.run, [(file, file.name) for file in files], seen=seen, **vars(how))


def examine(
    served: Served, files: Sequence[HeldFile], how: Preparing, *, pictures: bool = False
) -> dict[str, Any]:
    """What ``clineval predict`` says, and of each image its warnings, square and nearest training images.

    Parameters
    ----------
    pictures : also send the image as sent, and the pictures of the training images.

    Raises
    ------
    InputError : as ``predict`` does.
    """
    looks: dict[int, _Look] = {}

    def look(place: int, read: ReadImage, square: NDArray[np.uint8]) -> None:
        picture = _png(np.asarray(read.grey), side=SIDE_OF_PICTURE) if pictures else ""
        looks[place] = _Look(_grey(square), read.grey.size, picture)

    predictions = predict_held(served, files, how, look)
    fit, *second = cut_for(served.run, how.fit, second_view=how.second_view)
    squares = np.array([looks[place].square for place in sorted(looks)])
    near = most_alike(served.trace, squares, count=NEAREST) if pictures else [()] * len(looks)
    shown = [
        {
            "place": place,
            "image": prediction.image,
            "warnings": [vars(each) for each in prediction.warnings],
            "width": looks[place].size[0],
            "height": looks[place].size[1],
            "box": box_of(*looks[place].size, fit=fit),
            "second": bool(second) and looks[place].size[0] < looks[place].size[1],
            "square": _png(looks[place].square, side=SIDE_OF_SQUARE),
            "picture": looks[place].picture,
            "nearest": [_neighbour(served, each) for each in alike],
        }
        for place, prediction, alike in zip(sorted(looks), predictions, near, strict=True)
    ]
    return {"predictions": json.loads(predictions.to_json()), "images": shown}


@dataclass(frozen=True)
class _Look:
    """One readable file: its grey square, and the size and picture of its whole image."""

    square: NDArray[np.uint8]
    size: tuple[int, int]
    picture: str


def _grey(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return grey_of_colour(square[None])[0] if square.ndim == 3 else square


def explain_held(
    served: Served, file: HeldFile, how: Preparing, *, model: str | None = None
) -> dict[str, Any]:
    """What the risk of one image depends on, as ``clineval explain`` maps and checks it, and its square.

    Raises
    ------
    InputError : as ``explain`` does.
    """
    from clineval.pipeline.explain import as_predicted, read_to_map  # loads what the report is written with

    ready = served.loaded.explainer(model or served.main[0], matching=how.matching)
    ((told, square),) = read_to_map(ready, [(file, file.name)], fit=how.fit, bits=how.bits)
    found = as_predicted(ready.explain(square, image=told.image), told)
    return {**found.to_json(), "square": _png(square, side=SIDE_OF_SQUARE)}


def _neighbour(served: Served, each: Neighbour) -> dict[str, Any]:
    picture, outcome = served.training_images.get(each.training_case, (None, None))
    return {
        "case": each.training_case,
        "similarity": each.similarity,
        "outcome": served.outcomes.get(each.training_case, outcome),
        "picture": "" if picture is None else _png(picture, side=SIDE_OF_SQUARE),
    }


def _png(grey: NDArray[np.uint8], *, side: int) -> str:
    """A picture as base64 PNG, brought down to ``side`` pixels on the longer side."""
    picture, kept = Image.fromarray(grey), io.BytesIO()
    picture.thumbnail((side, side), Image.Resampling.BILINEAR)
    picture.save(kept, format="PNG")
    return base64.b64encode(kept.getvalue()).decode("ascii")


# In a notebook -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PredictedImages:
    """What a run says of some images: a table that a notebook shows with pictures, and maps on demand.

    Attributes
    ----------
    predictions : of each image, as ``clineval.predict`` gives them.
    squares : the prepared images, uint8, shape (images, side, side).
    matching : as it was asked for, which holds for maps, too.
    """

    loaded: "LoadedRun"
    predictions: tuple[Prediction, ...]
    squares: NDArray[np.uint8]
    matching: bool

    @property
    def run(self) -> StoredRun:
        """The run that says it."""
        return self.loaded.run

    def __len__(self) -> int:
        return len(self.predictions)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row per image: its name, warning, risk by the primary model, flagged, risk by every model."""
        model, threshold = self.run.main
        rows = []
        for each in self.predictions:
            flagged = pd.NA if np.isnan(threshold) else each.risk[model] >= threshold
            row = {"image": each.image, "warning": each.warning, "risk": each.risk[model], "flagged": flagged}
            rows.append({**row, **{f"risk_{name}": risk for name, risk in each.risk.items()}})
        return pd.DataFrame(rows).astype({"flagged": "boolean"})

    def explain(self, image: int | str = 0, *, model: str | None = None) -> "ShownExplanation":
        """The checked map of one image, which a notebook shows; by its number or its name.

        Of an upright image the square that was cut first is mapped.

        Raises
        ------
        InputError : there is no such image, more than one of that name, or no such model.
        """
        from clineval.pipeline.explain import ShownExplanation, as_predicted  # loads what writes reports

        place = int(image) if isinstance(image, int | np.integer) else self._place_of(image)
        if not -len(self) <= place < len(self):
            raise InputError(f"explain needs one of {len(self)} images, counted from 0; got {place}.")
        ready = self.loaded.explainer(model, matching=self.matching)
        told = self.predictions[place]
        found = as_predicted(ready.explain(_grey(self.squares[place]), image=told.image), told)
        return ShownExplanation(**vars(found))

    def _place_of(self, name: str) -> int:
        places = [number for number, each in enumerate(self.predictions) if each.image == name]
        if len(places) != 1:
            raise InputError(
                f"explain needs the name of one image; {len(places)} are called {name!r}. Give its number."
            )
        return places[0]

    def __repr__(self) -> str:
        shown = self.table[["image", "warning", "risk", "flagged"]]
        return shown.to_string(max_rows=MOST_SHOWN, float_format="{:.3f}".format)

    def _repr_html_(self) -> str:
        from clineval.reporting.notebook import PictureRow, picture_table

        model, threshold = self.run.main
        shown = [
            PictureRow(square, each.image, each.risk[model], each.warning)
            for square, each in zip(self.squares[:MOST_SHOWN], self.predictions, strict=False)
        ]
        return picture_table(
            shown,
            condition=self.run.condition,
            model=model,
            threshold=threshold,
            notice=" ".join(filter(None, (self.run.notice, left_out(self.run)))),
            left_out=len(self) - len(shown),
        )


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, read once, ready to be asked."""

    run: StoredRun
    _ready: dict[tuple[str, bool], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        model, threshold = self.run.main
        acts = "no threshold" if np.isnan(threshold) else f"flagged at {threshold:.3f} or above"
        first = "Primary" if self.run.primary is not None else "In place of a primary model"
        return f"Run: {self.run.condition}\nModels: {', '.join(self.run.names)}\n{first}: {model}, {acts}"

    def explainer(self, model: str | None = None, *, matching: bool = True) -> Any:
        """A model of the run, by default the primary one, beside its randomised versions; made once.

        Raises
        ------
        InputError : the run has no such model, or one that could not be stored or takes colour.
        """
        from clineval.pipeline.explain import explainer  # loads what the report is written with

        key = (model or self.run.main[0], matching)
        if key not in self._ready:
            self._ready[key] = explainer(self.run, key[0], matching=matching)
        return self._ready[key]

    def predict(
        self,
        images: Picture | Sequence[Picture],
        *,
        fit: str = AS_TRAINED,
        bits: int = DEEP,
        matching: bool = True,
        second_view: bool = True,
    ) -> PredictedImages:
        """Risks of images, with the numbers of ``clineval.predict``.

        Parameters
        ----------
        images : one or several image files, folders of them, or images of Pillow; or prepared images, uint8,
            shape (side, side), (images, side, side) or, in colour, (side, side, 3), or a list of such.
        fit, bits, matching, second_view : as for ``clineval.predict``; ``fit``, ``bits`` and
            ``second_view`` are for files and images of Pillow.

        Raises
        ------
        InputError : images of another size or type, or files that cannot be read (named), or a list of more
            than one of these kinds.
        """
        given = _listed(images)
        if isinstance(given[0], np.ndarray):
            squares = np.stack([_prepared(each, self.run) for each in given])
            found = predict_images(self.run, squares, matching=matching)
            return PredictedImages(self, tuple(found), squares, matching)
        held = isinstance(given[0], Image.Image)
        files = (
            [_held(each, place) for place, each in enumerate(given)] if held else find_images(given).images
        )
        kept: dict[int, NDArray[np.uint8]] = {}
        told = predict_files(
            self.run,
            files,
            fit=fit,
            bits=bits,
            matching=matching,
            second_view=second_view,
            seen=lambda place, _, square: kept.update({place: square}),
        )
        squares = np.stack([kept[place] for place in sorted(kept)])
        return PredictedImages(self, told.images, squares, matching)


def _listed(images: Any) -> list[Any]:
    """The images one by one, all of one kind."""
    single = isinstance(images, str | Path | Image.Image) or _is_array_of_one(images)
    given = [images] if single else list(images) if isinstance(images, Iterable) else [images]
    for kind in (str | Path, Image.Image, np.ndarray):
        if given and all(isinstance(each, kind) for each in given):
            return given
    if not given:
        raise InputError("Expected at least one image; got none.")
    found = ", ".join(dict.fromkeys(type(each).__name__ for each in given))
    raise InputError(
        f"predict needs image files or folders, images of Pillow, or arrays (uint8), one kind at a time; "
        f"got {found}."
    )


def _is_array_of_one(images: Any) -> bool:
    """Whether it is an array of one image, grey or in colour."""
    return isinstance(images, np.ndarray) and (images.ndim == 2 or images.shape[2:] == (3,))


def _prepared(image: NDArray[np.uint8], run: StoredRun) -> NDArray[np.uint8]:
    """A copy of a prepared image, for the caller's may change before a map is asked for.

    It is in colour where a model of the run takes it so, else the luma of its colours.
    """
    side = run.side
    if image.dtype != np.uint8 or image.shape not in ((side, side), (side, side, 3)):
        raise InputError(
            f"The models take images of {side} x {side} pixels, uint8, ({side}, {side}) or, in colour, "
            f"({side}, {side}, 3); got {image.dtype} of shape {image.shape}. Prepare them to that size."
        )
    return np.array(Image.fromarray(image).convert("RGB" if run.in_colour else "L"))


def _held(image: Image.Image, place: int) -> tuple[HeldFile, str]:
    """An image of Pillow as the file that it would be saved as, without loss, and its number as its name.

    A file's word on how it is turned (EXIF) is followed, as it is where the file itself is read.
    """
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise InputError(f"image {place} holds {frames} pictures; copy the one that is meant: image.copy().")
    kept = io.BytesIO()
    turned = ImageOps.exif_transpose(image)
    try:
        (turned.convert("RGB") if turned.mode == "CMYK" else turned).save(kept, format="PNG")
    except OSError as error:
        raise InputError(
            f"predict needs images of Pillow that PNG can hold; image {place}: {error}."
        ) from error
    return HeldFile(f"{place}.png", kept.getvalue()), str(place)


def load_run(results: Path | str) -> LoadedRun:
    """A finished run, read back to be asked for risks and maps.

    Parameters
    ----------
    results : folder of ``clineval run``; or ``model.onnx`` with ``model.json`` beside it.

    Raises
    ------
    InputError : an incomplete folder of a run, or a file that was changed since.
    """
    return LoadedRun(read_run(Path(results)))
