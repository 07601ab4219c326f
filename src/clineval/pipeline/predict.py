"""Risks of single images by a finished run: what ``clineval predict`` and a script ask for."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clineval.data.findings import bears_marks, nearly_black
from clineval.data.image_files import (
    ENDINGS,
    HeldFile,
    ReadImage,
    Seen,
    Squares,
    Unreadable,
    as_cell,
    find_images,
    read_squares,
)
from clineval.data.preparation import DEEP, Unusable, check_preparation, grey_of_colour
from clineval.data.similarity import Recognised, recognise
from clineval.errors import InputError, Progress, digits_apart, in_short, option
from clineval.files import CsvRows, json_text, write_whole
from clineval.models.scattering import Distance
from clineval.pipeline.stored_run import (
    AS_TRAINED,
    FrozenThreshold,
    StoredRun,
    cut_for,
    final_risks,
    left_out,
    read_run,
    score_images,
)
from clineval.results.folder import require_writable, unwritable

FORMS = ("csv", "json")
SCHEMA = 1
MARKED = "The image contains text or measuring marks; their effect on the risk is not known."
BLOCK = 1024  # images read at a time: bounds the memory
COLOURED = 0.05  # share of coloured pixels from which it is said that only their brightness was seen
WARNINGS = {
    "unlike_training": "unlike the training images",
    "seen_in_training": "seen in training",
    "burnt_in": "text or measuring marks burnt in",
    "nearly_black": "nearly black",
    "coloured": "in colour",
}
"""What an image is warned of, by code, in a few words."""
SERIOUS = ("unlike_training", "seen_in_training", "nearly_black")
"""Warnings after which the risk says nothing of the image; the others are notes."""


@dataclass(frozen=True)
class Warned:
    """Something to know before the risk is read: its code, of ``WARNINGS``, and a sentence."""

    code: str
    text: str


@dataclass(frozen=True)
class Prediction:
    """What the run says of one image.

    Attributes
    ----------
    image : the file as it was named, or its path below the folder that was.
    risk : predicted probability of the condition by model, 0 to 1.
    flagged : by model and frozen threshold, whether the risk is at or above it.
    unlike_training : the image lies further from the training images than 99 of 100 validation images do.
    texture_distance, grey_distance : how far; see ``clineval.models.scattering``. None, all three, where
        nothing is known of the training images.
    coloured : share of the file's pixels that have a colour, 0 to 1; their luma was taken.
    warnings : what to know before the risk is read.
    """

    image: str
    risk: Mapping[str, float]
    flagged: Mapping[str, Mapping[str, bool]]
    unlike_training: bool | None
    texture_distance: float | None
    grey_distance: float | None
    coloured: float = 0.0
    warnings: tuple[Warned, ...] = ()

    @property
    def warning(self) -> str:
        """What to know before the risk is read, in a few words; empty where there is nothing."""
        words = [
            WARNINGS[each.code] + (": do not rely on its risk" if each.code in SERIOUS else "")
            for each in self.warnings
        ]
        return "; ".join(words)

    def to_row(self) -> dict[str, str]:
        """One line of a table: a column per model's risk and per threshold, in words that read back;
        ``warnings`` has the codes, ``warning`` the same in a few words."""
        row = {"image": as_cell(self.image)}
        if self.unlike_training is not None:
            row["unlike_training"] = str(int(self.unlike_training))
        for model, risk in self.risk.items():
            row[f"risk_{model}"] = repr(risk)
            row |= {f"flagged_{model}_{name}": str(int(yes)) for name, yes in self.flagged[model].items()}
        distances = {"texture_distance": self.texture_distance, "grey_distance": self.grey_distance}
        shares = {"coloured": self.coloured}
        row |= {name: f"{each:.4f}" for name, each in (distances | shares).items() if each is not None}
        codes = " ".join(each.code for each in self.warnings)
        return row | {"warnings": codes, "warning": self.warning}


@dataclass(frozen=True)
class Predictions:
    """What a run says of some images, and the thresholds at which it flags them.

    Attributes
    ----------
    notice : says that the run learnt from synthetic images, which of its models cannot score others, and what
        a model without a run lacks; empty where none is so.
    limits : of ``texture_distance`` and ``grey_distance``; an image beyond either is unlike the training
        images. NaN where the run had no validation images to learn them from: then none is. Empty for a model
        without a run.
    unreadable : files that could not be used, where these were to be left out, else None.
    passed_over : names of files in the folders that are no images; ``note`` says how many and which.
    primary : the model that the run speaks of first, and its threshold (NaN where a model without a run has
        none); None in runs that named none.
    """

    condition: str
    notice: str
    thresholds: Mapping[str, tuple[FrozenThreshold, ...]]
    limits: Mapping[str, float]
    images: tuple[Prediction, ...]
    unreadable: tuple[Unreadable, ...] | None = None
    passed_over: tuple[str, ...] = ()
    note: str = ""
    primary: tuple[str, float] | None = None

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def to_json(self) -> str:
        """One JSON object: condition, thresholds by model, limits of the distances, images, other files."""
        record = {
            "schema": SCHEMA,
            "condition": self.condition,
            "notice": self.notice,
            "thresholds": {model: [vars(one) for one in given] for model, given in self.thresholds.items()},
            "limits": {name: None if isnan(limit) else limit for name, limit in self.limits.items()},
            "images": [
                {name: value for name, value in vars(image).items() if value is not None}
                | {"warnings": [vars(each) for each in image.warnings]}
                for image in self.images
            ],
            "passed_over": list(self.passed_over),
        }
        if self.unreadable is not None:
            record["unreadable"] = [{"image": file.case, "reason": file.reason} for file in self.unreadable]
        return json_text(record)

    def to_short_csv(self) -> str:
        """File, risk to three digits, flagged and warning by the primary model, one line per image.

        ValueError where the run named no primary model; ``to_csv`` has every model, to the last digit.
        """
        if self.primary is None:
            raise ValueError("The run names no primary model; ask for all models.")
        text, (model, threshold) = io.StringIO(), self.primary
        writer = csv.writer(CsvRows(text))
        writer.writerow(("file", "risk", "flagged", "warning"))
        for image in self.images:
            risk = image.risk[model]
            writer.writerow((as_cell(image.image), f"{risk:.3f}", _call(risk, threshold), image.warning))
        for file in self.unreadable or ():
            writer.writerow((as_cell(file.case), "", "", file.reason))
        return text.getvalue()

    def to_csv(self) -> str:
        """One line per image under a header, comma-separated; the limits of the distances end each line.

        Files that could not be used follow without a risk, their reason in the last column.
        """
        text = io.StringIO()
        limits = {
            name.replace("distance", "limit"): "" if isnan(limit) else f"{limit:.4f}"
            for name, limit in self.limits.items()
        }
        rows = [image.to_row() | limits for image in self.images]
        names = list(rows[0])
        if self.unreadable is not None:
            names.append("reason")
            rows.extend({"image": as_cell(file.case), "reason": file.reason} for file in self.unreadable)
        writer = csv.DictWriter(CsvRows(text), fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def predict(
    results: Path | str,
    sources: Sequence[Path | str],
    *,
    fit: str = AS_TRAINED,
    bits: int = DEEP,
    matching: bool = True,
    second_view: bool = True,
    skip_unreadable: bool = False,
    thresholds: Sequence[float] = (),
    progress: Progress | None = None,
) -> Predictions:
    """Risks of image files by the models of a finished run, or by a model without one.

    Parameters
    ----------
    results : folder of ``clineval run``; or ``model.onnx`` with ``model.json`` beside it.
    sources : PNG, JPEG, TIFF, DICOM or other image files, or folders of them, which are searched to the
        bottom.
    fit, bits : how the square is cut (by default as the run's were), and the white of deep images; see
        ``clineval.data.preparation``.
    matching : bring grey levels to those of the training images, for the models that gain by it.
    second_view : of an upright image also score the upper square, and take the mean of both.
    skip_unreadable : score the images that can be used and list the others, instead of refusing all.
    thresholds : of a model without a run, 0 to 1; without any, in its record either, nothing is flagged.
    progress : called with (images done, images in all).

    Raises
    ------
    InputError : the run is incomplete, a source is missing or holds no image, or files cannot be read.
    """
    run, found = read_run(Path(results), thresholds=thresholds), find_images(sources)
    predictions = predict_files(
        run,
        found.images,
        fit=fit,
        bits=bits,
        matching=matching,
        second_view=second_view,
        skip_unreadable=skip_unreadable,
        progress=progress,
    )
    return replace(predictions, passed_over=found.passed_over, note=found.note)


def predict_files(
    run: StoredRun,
    files: Sequence[tuple[Path | HeldFile, str]],
    *,
    fit: str = AS_TRAINED,
    bits: int = DEEP,
    matching: bool = True,
    second_view: bool = True,
    skip_unreadable: bool = False,
    seen: Seen = lambda place, read, square: None,
    progress: Progress | None = None,
) -> Predictions:
    """``predict`` by a run that was read, of files on the disk or in memory, each with its name.

    Parameters
    ----------
    seen : called, in any thread, with each usable file's number, its whole image and its first square.
    """
    fits = cut_for(run, fit, second_view=second_view)
    check_preparation(size=run.side, fit=fits[0], bits=bits)
    found: list[Prediction] = []
    bad: list[Unreadable] = []
    for start in range(0, len(files), BLOCK):
        paths, names = zip(*files[start : start + BLOCK], strict=True)
        squares = read_squares(
            paths,
            side=run.side,
            fits=fits,
            bits=bits,
            colour=bool(run.in_colour),
            marked=bears_marks,
            seen=_counted_from(start, seen),
        )
        read = zip(names, squares.read, strict=True)
        bad.extend(Unreadable(name, str(why)) for name, why in read if isinstance(why, Unusable))
        if squares.usable.any() and (skip_unreadable or not bad):
            found.extend(_predict_squares(run, squares, names, matching=matching))
        if progress is not None:
            progress(start + len(paths), len(files))
    if bad and not (skip_unreadable and found):
        listed = in_short([f"{file.case}: {file.reason}" for file in bad])
        raise InputError(f"{len(bad)} of {len(files)} images cannot be used: {listed}.")
    return Predictions(
        run.condition,
        " ".join(filter(None, (run.notice, left_out(run)))),
        run.thresholds,
        _limits(run),
        tuple(found),
        tuple(bad) if skip_unreadable else None,
        primary=run.primary,
    )


def _counted_from(start: int, seen: Seen) -> Seen:
    return lambda place, read, square: seen(start + place, read, square)


def _predict_squares(
    run: StoredRun, squares: Squares, names: Sequence[str], *, matching: bool
) -> list[Prediction]:
    """Risks of the files that can be used, in their order."""
    first, *second = (view[squares.usable] for view in squares.views)
    shown = [name for name, usable in zip(names, squares.usable, strict=True) if usable]
    read = [each for each in squares.read if isinstance(each, ReadImage)]
    return predict_images(
        run, first, second=next(iter(second), None), names=shown, read=read, matching=matching
    )


def check_answer(path: Path, *, results: Path, sources: Sequence[Path]) -> None:
    """Refuse a file to write, before any image is looked at, that is no plain file or is itself read."""
    out = option("--out", "path")
    if path.resolve().is_relative_to(results.resolve()):
        raise InputError(f"{out} {path} lies inside the run {results}, which stays as it is; choose another.")
    if any(path.resolve() == source.resolve() for source in sources):
        raise InputError(f"{out} {path} is one of the images; choose another file.")
    if path.is_dir():
        example = path / "risks.csv"
        raise InputError(f"{out} needs a file to write; {path} is a folder. Say for example: {example}")
    if path.is_symlink() or (path.exists() and not path.is_file()) or path.suffix.lower() in ENDINGS:
        raise InputError(f"{out} needs a plain file to write, such as risks.csv; got {path}.")
    if any(parent.exists() and not parent.is_dir() for parent in path.parents):
        raise InputError(f"{out} {path} lies below a file; choose another.")
    if path.parent.is_dir():
        require_writable(path.parent)


def write_answer(text: str, path: Path) -> None:
    """Write what was answered; parents are made, and the file appears whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise unwritable(path.parent, error) from error


def predict_images(
    run: StoredRun,
    images: NDArray[np.uint8],
    *,
    second: NDArray[np.uint8] | None = None,
    names: Sequence[str] | None = None,
    read: Sequence[ReadImage] | None = None,
    matching: bool = True,
) -> list[Prediction]:
    """Risks of images that are prepared already: uint8, shape (cases, side, side), or (cases, side, side, 3).

    Parameters
    ----------
    run : as ``stored_run.read_run`` gives it.
    second : another view of each image, of the same shape; the risks are the mean of both.
    names : what each image is called; by default its number.
    read : the files that the images were cut from, where they are files.
    """
    scored = score_images(run, images, matching=matching)
    views = [scored.risks]
    if second is not None:
        views.append(_second_risks(run, images, second, scored.risks, matching=matching))
    risks = final_risks(run, views)
    far = scored.distance
    shown = names if names is not None else [str(number) for number in range(len(images))]
    warnings = warnings_of(run, images, scored.distance, read)
    return [
        Prediction(
            shown[row],
            {model: float(risk[row]) for model, risk in risks.items()},
            {model: _flagged(float(risk[row]), run.thresholds[model]) for model, risk in risks.items()},
            unlike_training=None if far is None else bool(far.unlike[row]),
            texture_distance=None if far is None else float(far.texture[row]),
            grey_distance=None if far is None else float(far.grey[row]),
            coloured=read[row].coloured if read is not None else 0.0,
            warnings=warnings[row],
        )
        for row in range(len(images))
    ]


def warnings_of(
    run: StoredRun, images: NDArray[np.uint8], far: Distance | None, read: Sequence[ReadImage] | None
) -> list[tuple[Warned, ...]]:
    """What to know of each prepared image before its risk is read.

    Parameters
    ----------
    images : the squares, shape (cases, side, side) or (cases, side, side, 3).
    far : their distance from the training images; ``read`` the files that they were cut from, if any.
    """
    grey = images if images.ndim == 3 else grey_of_colour(images)
    seen = {} if run.reference is None else {each.row: each for each in recognise(run.reference.trace, grey)}
    dark = nearly_black(grey)
    sees_colour = run.main[0] in run.in_colour
    found = []
    for row in range(len(images)):
        warned = [*_unlike(run, far, row), *_seen(seen.get(row))]
        if read is not None and (read[row].burnt_in or read[row].marked):
            warned.append(Warned("burnt_in", MARKED))
        if dark[row]:
            warned.append(Warned("nearly_black", "The square that is scored is nearly black."))
        if read is not None and read[row].coloured >= COLOURED and not sees_colour:
            share = f"{read[row].coloured:.0%}"
            text = f"{share} of the pixels have a colour; models see the brightness only."
            warned.append(Warned("coloured", text))
        found.append(tuple(warned))
    return found


def _unlike(run: StoredRun, far: Distance | None, row: int) -> Iterator[Warned]:
    """Which distance from the training images is beyond its limit."""
    if far is not None and far.unlike[row]:
        limits = _limits(run)
        beyond = [
            _beyond(name, values[row], limit)
            for name, values in (("texture", far.texture), ("grey", far.grey))
            if values[row] > (limit := limits[f"{name}_distance"])
        ]
        text = f"This image is unlike the training images ({'; '.join(beyond)}): do not rely on its risk."
        yield Warned("unlike_training", text)


def _beyond(name: str, distance: float, limit: float) -> str:
    digits = digits_apart(distance, limit)
    return f"{name} distance {distance:.{digits}f}, limit {limit:.{digits}f}"


def _seen(known: Recognised | None) -> Iterator[Warned]:
    """Whether an image was trained on."""
    if known is not None:
        what = known.training_case if known.identical else f"the same picture as {known.training_case}"
        text = f"This image was seen in training ({what}): its risk says nothing about new images."
        yield Warned("seen_in_training", text)


def _second_risks(
    run: StoredRun,
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    risks: Mapping[str, NDArray[np.float64]],
    *,
    matching: bool,
) -> dict[str, NDArray[np.float64]]:
    """Risks of the second views, computed where they differ from the first, as those of upright images do."""
    other = np.flatnonzero((first != second).reshape(len(first), -1).any(axis=1))
    found = {name: risk.copy() for name, risk in risks.items()}
    for name, risk in score_images(run, second[other], matching=matching).risks.items():
        found[name][other] = risk
    return found


def _limits(run: StoredRun) -> dict[str, float]:
    if run.reference is None:
        return {}
    known = run.reference.novelty
    return {"texture_distance": known.texture_limit, "grey_distance": known.grey_limit}


def _call(risk: float, threshold: float) -> str:
    """Whether a risk is flagged, in a word; of no threshold neither yes nor no."""
    if isnan(threshold):
        return "no threshold"
    return "yes" if risk >= threshold else "no"


def _flagged(risk: float, thresholds: Sequence[FrozenThreshold]) -> dict[str, bool]:
    return {each.name: risk >= each.threshold for each in thresholds}
