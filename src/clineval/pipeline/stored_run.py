"""A finished run read back: models, thresholds and training reference, without torch."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clineval.data.cohort import Cohort
from clineval.data.preparation import FITS
from clineval.data.training_trace import Trace, trace
from clineval.errors import InputError
from clineval.models.arrays import Arrays, read_arrays, require_shapes, write_arrays
from clineval.models.novelty import Distance, Familiarity, distance, learn_familiarity
from clineval.models.plain_scattering import FEATURES
from clineval.models.stored import Floats, PlainModel, View, mean_of, read_plain_model
from clineval.models.views import AS_IT_CAME, BOTH, LEVELS, LOOKS, WAYS, look, mean_histogram
from clineval.progress import Progress
from clineval.results import hash_file
from clineval.results.folder import MARKER, require_results
from clineval.statistics.recalibration import Recalibration

FILE = "training_images.safetensors"
FORMAT = 1
MOST = 2000  # training images, at even steps, from which the directions of their variation are learnt


@dataclass(frozen=True)
class TrainingReference:
    """The training images' grey levels and features, and what recognises each of them."""

    familiarity: Familiarity
    trace: Trace


def learn_reference(cohort: Cohort) -> TrainingReference:
    """The reference of a cohort's training images; limits come from its validation images."""
    train = np.flatnonzero(cohort.within("train"))
    images = cohort.images[train]
    some = images[np.unique(np.linspace(0, len(images) - 1, min(len(images), MOST)).astype(int))]
    validation, grey = cohort.images[cohort.within("val")], mean_histogram(images)
    with threadpool_limits(1):  # the same bytes on any number of cores
        return TrainingReference(
            learn_familiarity(some, validation, grey=grey),
            trace(images, case=cohort.case[train], group=cohort.group[train]),
        )


def write_reference(reference: TrainingReference, folder: Path) -> None:
    """Write ``training_images.safetensors``: numbers of the images, none of their pixels."""
    known, kept = reference.familiarity, reference.trace
    arrays: Arrays = {
        "grey": known.grey,
        "centre": known.centre,
        "scale": known.scale,
        "axes": known.axes,
        "variance": known.variance,
        "layout": kept.layout,
    }
    record = {
        "format": FORMAT,
        "noise": known.noise,
        "texture_limit": _or_none(known.texture_limit),
        "grey_limit": _or_none(known.grey_limit),
        "twin_limit": kept.limit,
        "case": kept.case.tolist(),
        "digest": kept.digest.tolist(),
    }
    write_arrays(folder / FILE, arrays, record)


def read_reference(folder: Path) -> TrainingReference:
    """Read the reference back.

    Raises
    ------
    InputError : the file is missing, damaged or of another format.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(
            f"{path} is not there: the run was made before it was kept. Make it anew with: clineval run"
        )
    arrays, record = read_arrays(path)
    try:
        cases, directions = len(record["case"]), len(arrays["variance"])
        shapes = {
            "grey": (LEVELS,),
            "centre": (FEATURES,),
            "scale": (FEATURES,),
            "axes": (directions, FEATURES),
            "variance": (directions,),
            "layout": (cases, arrays["layout"].shape[-1]),
        }
        require_shapes(path, arrays, shapes)
        familiarity = Familiarity(
            **{name: arrays[name] for name in ("grey", "centre", "scale", "axes", "variance")},
            noise=float(record["noise"]),
            texture_limit=_or_nan(record["texture_limit"]),
            grey_limit=_or_nan(record["grey_limit"]),
        )
        case, digest = np.array(record["case"]), np.array(record["digest"])
        kept = Trace(case, digest, arrays["layout"], float(record["twin_limit"]))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole reference ({error!r}); make the run anew.") from error
    return TrainingReference(familiarity, kept)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


CHUNK = 64  # images scored at a time; fixed and filled up, so that company changes no bit of a risk
AS_TRAINED = "as-trained"  # squares are cut as those of the training images were
NEEDED = (MARKER, "evaluation.json", "models/shipped.json")


@dataclass(frozen=True)
class FrozenThreshold:
    """A threshold as the run froze it: flagged means risk >= threshold; ``chosen_on`` says on what."""

    name: str
    threshold: float
    chosen_on: str


@dataclass(frozen=True)
class StoredRun:
    """What a finished run applies to new images.

    Attributes
    ----------
    data_title : the data set that the models learnt from; ``notice`` is not empty where it is synthetic.
    side : pixels of the square images that the models take; ``fit`` is how these were cut.
    models : each trained model by name; ``parts`` maps a combined model to those it is the mean of.
    recalibrations : by name, None where a model's risks are left as they are.
    thresholds : by name of the model, in the run's order.
    """

    condition: str
    data_title: str
    notice: str
    side: int
    fit: str
    models: Mapping[str, PlainModel]
    parts: Mapping[str, tuple[str, ...]]
    recalibrations: Mapping[str, Recalibration | None]
    thresholds: Mapping[str, tuple[FrozenThreshold, ...]]
    reference: TrainingReference

    @property
    def names(self) -> tuple[str, ...]:
        """Every model that gives risks, combined ones last."""
        return (*self.models, *self.parts)


@dataclass(frozen=True)
class Seen:
    """Risks of one view of some images, by model and before recalibration, and how unlike training it is."""

    risks: Mapping[str, Floats]
    distance: Distance


def read_run(results: Path) -> StoredRun:
    """Read back what ``clineval run`` stored, after checking that it is as the run wrote it.

    Raises
    ------
    InputError : not a whole folder of ``clineval run``, or a file that was changed since.
    """
    require_results(results, MARKER)
    provenance = _json(results / MARKER)
    if provenance.get("kind") != "run":
        run = (provenance.get("data") or {}).get("run")
        named = f"; name the run that it validated, {run!r}" if run else ", as 'clineval run' writes them"
        raise InputError(
            f"{results} holds the results of 'clineval {provenance.get('kind')}' and no models; models with "
            f"frozen thresholds are needed{named}."
        )
    require_results(results, *NEEDED)
    _refuse_altered(results, provenance.get("artefacts"))
    shipped, evaluation = _json(results / "models" / "shipped.json"), _json(results / "evaluation.json")
    data = provenance.get("data", {})
    try:
        return _stored(results / "models", shipped, evaluation, data, fit=_fit(provenance))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{results} is not whole ({error!r} is missing); make it anew.") from error


def cut_for(run: StoredRun, wanted: str, *, second_view: bool) -> tuple[str, ...]:
    """How squares are cut from images that the run is to score: the middle one and, where wanted, the upper.

    Parameters
    ----------
    wanted : crop, top or pad; or as-trained, as those of the run were cut.
    second_view : score the upper square beside the middle one; there is none beside another cut.
    """
    fit = run.fit if wanted == AS_TRAINED else wanted
    if fit not in FITS:
        raise InputError(f"--fit needs one of {', '.join((AS_TRAINED, *FITS))}; came {wanted!r}.")
    return (fit, "top") if second_view and fit == "crop" else (fit,)


def view_images(
    run: StoredRun,
    images: NDArray[np.uint8],
    *,
    matching: bool = True,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Seen:
    """Risks of prepared images by every trained model, before recalibration.

    An image's risk depends on nothing but itself: not on the images beside it, the number of cores or
    that of ``jobs`` (threads; by default one per core).

    Parameters
    ----------
    images : uint8, shape (cases, side, side), prepared as the training images were.
    matching : look again, at the image with its grey levels matched, where a model gains by it.
    progress : called with (images done, images in all).

    Raises
    ------
    InputError : images of another size or type than the run was trained on.
    """
    if images.ndim != 3 or images.dtype != np.uint8 or images.shape[1:] != (run.side, run.side):
        raise InputError(
            f"The run was trained on grey images of {run.side} x {run.side} pixels (uint8); came "
            f"{images.dtype} of shape {images.shape}. Prepare them to that size."
        )
    parts: list[Seen] = []
    with threadpool_limits(1), ThreadPoolExecutor(max_workers=jobs or os.cpu_count()) as pool:
        for seen in pool.map(lambda chunk: _view_chunk(run, chunk, matching), _chunks(images)):
            parts.append(seen)
            if progress is not None:
                progress(min(len(parts) * CHUNK, len(images)), len(images))
    return _joined(run, parts)


def shipped_risks(run: StoredRun, views: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """The risks that the run ships, by model: the mean over views on the logit scale, recalibrated, combined.

    Parameters
    ----------
    views : one or several mappings from model to its uncalibrated risks of the same cases.
    """
    risks = {}
    for name in run.models:
        mean, recalibration = mean_of([view[name] for view in views]), run.recalibrations[name]
        risks[name] = mean if recalibration is None else recalibration.apply(mean)
    return risks | {name: mean_of([risks[part] for part in parts]) for name, parts in run.parts.items()}


def _view_chunk(run: StoredRun, chunk: NDArray[np.uint8], matching: bool) -> Seen:
    full = np.zeros((CHUNK, *chunk.shape[1:]), np.uint8)
    full[: len(chunk)] = chunk
    grey = run.reference.familiarity.grey
    raw = View(full, WAYS[AS_IT_CAME] if matching else BOTH)
    shown = {AS_IT_CAME: raw}
    if matching:
        shown |= {name: View(look(full, name, grey), WAYS[name]) for name in WAYS if name != AS_IT_CAME}
    kept = slice(len(chunk))
    far = distance(run.reference.familiarity, raw)
    return Seen(
        {
            name: mean_of([model.risk(shown[each]) for each in LOOKS[name] if each in shown])[kept]
            for name, model in run.models.items()
        },
        Distance(far.texture[kept], far.grey[kept], far.unlike[kept]),
    )


def _chunks(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + CHUNK] for start in range(0, len(images), CHUNK))


def _joined(run: StoredRun, parts: Sequence[Seen]) -> Seen:
    def join(values: list[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(values) if values else np.empty(0)

    return Seen(
        {name: join([part.risks[name] for part in parts]) for name in run.models},
        Distance(
            join([part.distance.texture for part in parts]),
            join([part.distance.grey for part in parts]),
            join([part.distance.unlike for part in parts]).astype(bool),
        ),
    )


def _stored(
    folder: Path,
    shipped: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    fit: str,
) -> StoredRun:
    parts = {
        name: tuple(record["mean_logit_of"]) for name, record in shipped.items() if "mean_logit_of" in record
    }
    trained = [name for name in shipped if name not in parts and (folder / f"{name}.json").is_file()]
    read = {name: read_plain_model(folder, name) for name in trained}
    sides = {size for _, size in read.values()}
    if len(sides) != 1 or len(set(*sides)) != 1:
        raise InputError(
            f"The models in {folder} need images of different or oblong sizes; make the run anew."
        )
    fitted = {name: shipped[name]["recalibration"]["fitted"] for name in trained}
    return StoredRun(
        condition=str(evaluation["condition"]),
        data_title=str(data.get("title", "")),
        notice=str(data.get("notice", "")),
        side=next(iter(sides))[0],
        fit=fit,
        models={name: model for name, (model, _) in read.items()},
        parts=parts,
        recalibrations={
            name: None if record is None else Recalibration.from_json(record)
            for name, record in fitted.items()
        },
        thresholds={name: _thresholds(evaluation["points"][name]) for name in (*trained, *parts)},
        reference=read_reference(folder),
    )


def _fit(provenance: Mapping[str, Any]) -> str:
    """How the run's own images were cut; MedMNIST's makers cut theirs as ``crop`` does."""
    own = provenance.get("settings", {}).get("data", {}).get("own")
    return str(own["fit"]) if own else "crop"


def _thresholds(points: Sequence[Mapping[str, Any]]) -> tuple[FrozenThreshold, ...]:
    return tuple(
        FrozenThreshold(point["name"], _proportion(point["threshold"]), point["chosen_on"])
        for point in points
        if point["threshold"] is not None
    )


def _proportion(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"evaluation.json has a threshold of {value!r}, none from 0 to 1; make it anew.")
    return float(value)


def _refuse_altered(results: Path, recorded: Any) -> None:
    """Frozen means: to the last byte what the run wrote."""
    hashes = recorded if isinstance(recorded, dict) else {}
    for name in sorted(name for name in hashes if name.startswith("models/") or name == "evaluation.json"):
        path = results / name
        if not path.is_file() or hash_file(path) != hashes[name]:
            raise InputError(
                f"{name} in {results} is not the file that the run wrote; see what differs with: "
                f"clineval verify {results}"
            )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); make the results anew.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object; make the results anew.")
    return content
