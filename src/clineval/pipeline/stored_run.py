"""A finished run, or a model without one, read back to score images: without torch."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clineval.data.cohort import Cohort
from clineval.data.preparation import FITS, grey_of_colour
from clineval.data.similarity import WAVES, Trace, evenly_spaced, trace
from clineval.errors import InputError, Progress, option, reason_of
from clineval.files import EVALUATION, PREDICTIONS, PROVENANCE, parse_json, read_regular
from clineval.models.classifier import KINDS, Classifier, ReadModel, mean_of, read_model, risk_of
from clineval.models.onnx_model import OnnxModel, open_model
from clineval.models.preprocessing import (
    CHUNK,
    LEVELS,
    MIRRORED,
    ORIGINAL,
    View,
    external_view,
    mean_histogram,
)
from clineval.models.scattering import FEATURES, Distance, Novelty, distance, learn_novelty
from clineval.models.stored import (
    MOST_JSON,
    Arrays,
    Floats,
    positive,
    read_arrays,
    real,
    require_shapes,
    write_arrays,
)
from clineval.results import altered
from clineval.results.folder import require_results
from clineval.settings import WITHOUT_NEAR_DUPLICATES
from clineval.statistics.recalibration import Recalibration

FILE = "training_images.safetensors"
FORMAT = 2
MOST = 2000  # training images, at even steps, from which the directions of their variation are learnt


@dataclass(frozen=True)
class TrainingReference:
    """The training images' grey levels and features, and what recognises each of them."""

    novelty: Novelty
    trace: Trace


def learn_reference(cohort: Cohort) -> TrainingReference:
    """The reference of a cohort's training images; limits come from its validation images."""
    train = np.flatnonzero(cohort.within("train"))
    images = cohort.images[train]
    some = images[evenly_spaced(len(images), MOST)]
    validation, grey = cohort.images[cohort.within("val")], mean_histogram(images)
    with threadpool_limits(1):  # the same bytes on any number of cores
        return TrainingReference(
            learn_novelty(some, validation, grey=grey),
            trace(images, case=cohort.case[train], group=cohort.group[train]),
        )


def write_reference(reference: TrainingReference, folder: Path) -> None:
    """Write ``training_images.safetensors``: numbers of the images, none of their pixels."""
    known, kept = reference.novelty, reference.trace
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
        "near_duplicate_limit": kept.limit,
        "case": kept.case.tolist(),
        "digest": kept.digest.tolist(),
    }
    write_arrays(folder / FILE, arrays, record)


def read_reference(folder: Path) -> TrainingReference:
    """Read the reference back.

    Raises
    ------
    InputError : the file is missing, damaged or of another format, or a number in it is not finite.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{path} is not there: the run was made before it was kept. Run again: clineval run")
    arrays, record = read_arrays(path)
    try:
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r}, this version reads {FORMAT}")
        case, digest = (np.array([str(one) for one in record[name]]) for name in ("case", "digest"))
        require_shapes(path, arrays, _reference_shapes(arrays, cases=len(case)))
        kept = Trace(case, digest, arrays["layout"], real(record["near_duplicate_limit"]))
        if len(digest) != len(case):
            raise ValueError(f"{len(digest)} digests of {len(case)} cases")
        return TrainingReference(_novelty(arrays, record), kept)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is incomplete ({reason_of(error)}); run clineval run again.") from error


def _reference_shapes(arrays: Arrays, *, cases: int) -> dict[str, tuple[int, ...]]:
    directions = len(arrays["variance"])
    return {
        "grey": (LEVELS,),
        "centre": (FEATURES,),
        "scale": (FEATURES,),
        "axes": (directions, FEATURES),
        "variance": (directions,),
        "layout": (cases, WAVES),
    }


def _novelty(arrays: Arrays, record: Mapping[str, Any]) -> Novelty:
    if not ((arrays["variance"] > 0).all() and (arrays["scale"] > 0).all()):
        raise ValueError("a variance or scale that is not above 0")
    return Novelty(
        **{name: arrays[name] for name in ("grey", "centre", "scale", "axes", "variance")},
        noise=positive(record["noise"]),
        texture_limit=_or_nan(record["texture_limit"]),
        grey_limit=_or_nan(record["grey_limit"]),
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else real(value)


DECIMALS = 12  # of a final risk: few enough for every CSV reader to read the same number back
MOST_EVALUATION = 2**25  # bytes of evaluation.json
NAME = re.compile(r"[A-Za-z0-9_.+-]{1,100}")  # of a model
AS_TRAINED = "as-trained"  # squares are cut as those of the training images were
MODELS_OF = ("run", "adopt")  # commands that leave models with frozen thresholds
GRAPH = ".onnx"  # ending of a model without a run
RECORDS = "models.json"  # of all models of a run, in its folder of models
NEEDED = (PROVENANCE, EVALUATION, f"models/{RECORDS}")


@dataclass(frozen=True)
class FrozenThreshold:
    """A threshold as the run froze it: flagged means risk >= threshold; ``chosen_on`` says on what.

    What scoring needs of ``statistics.thresholds.Point``, which loads scipy.stats and would slow predict.
    """

    name: str
    threshold: float
    chosen_on: str


@dataclass(frozen=True)
class WithoutRun:
    """Where a model without a run is from: its file's name and SHA-256, and how the file is read."""

    file: str
    sha256: str
    reading: Mapping[str, Any]

    @property
    def lacks(self) -> str:
        """What a run would give and this model has not."""
        return (
            f"{self.file} is a model without a run: thresholds chosen out of fold, internal figures, the "
            "distance from the training images and matched grey levels are left out."
        )


@dataclass(frozen=True)
class StoredRun:
    """What a finished run, or a model without one, applies to new images.

    Attributes
    ----------
    data_title : the data set that the models learnt from; ``notice`` is not empty where it is synthetic.
    side : pixels of the square images that the models take; ``fit`` is how these were cut.
    models : each trained model by name; ``parts`` maps a combined model to those it is the mean of.
    views : of an external image that each trained model averages over.
    recalibrations : by name, None where a model's risks are left as they are.
    adopted : what ``clineval adopt`` fitted for a site, applied last; by name, none for a run's own risks.
    thresholds : by name of the model, in the run's order.
    not_stored : models of the run that could not be stored, each with the reason.
    primary : the model that the run speaks of first, and its threshold (NaN where a model without a run has
        none); None in runs that named none.
    reference : of the training images; None for a model without a run, whose origin is ``alone``.
    """

    condition: str
    data_title: str
    notice: str
    side: int
    fit: str
    models: Mapping[str, Classifier]
    views: Mapping[str, tuple[str, ...]]
    parts: Mapping[str, tuple[str, ...]]
    recalibrations: Mapping[str, Recalibration | None]
    thresholds: Mapping[str, tuple[FrozenThreshold, ...]]
    reference: TrainingReference | None
    adopted: Mapping[str, Recalibration] = field(default_factory=dict)
    not_stored: Mapping[str, str] = field(default_factory=dict)
    primary: tuple[str, float] | None = None
    alone: WithoutRun | None = None

    @property
    def in_colour(self) -> tuple[str, ...]:
        """The models that take images in colour."""
        return tuple(
            name
            for name, model in self.models.items()
            if isinstance(model, OnnxModel) and model.reading.colour
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Every model that gives risks, combined ones last."""
        return (*self.models, *self.parts)

    @property
    def main(self) -> tuple[str, float]:
        """The primary model and its threshold (NaN: it has none).

        Where the run named none, or it could not be stored, the last model with a threshold that was chosen
        takes its place, else the last with any, else the last: combined ones come last.
        """
        if self.primary is not None:
            return self.primary
        chosen = [name for name in self.names if any(_is_chosen(each) for each in self.thresholds[name])]
        any_at_all = [name for name in self.names if self.thresholds[name]]
        name = (chosen or any_at_all or self.names)[-1]
        return name, self.threshold_of(name)

    def threshold_of(self, model: str) -> float:
        """The first of a model's frozen thresholds that was chosen, else the default one; NaN for none."""
        given = self.thresholds[model]
        points = [each for each in given if _is_chosen(each)] or list(given)
        return points[0].threshold if points else math.nan


def _is_chosen(threshold: FrozenThreshold) -> bool:
    return threshold.chosen_on != "fixed"


@dataclass(frozen=True)
class Scored:
    """Risks of some images by model, before recalibration, and how unlike the training images they are.

    ``distance`` is None where nothing is known of the training images.
    """

    risks: Mapping[str, Floats]
    distance: Distance | None


def read_run(results: Path, *, thresholds: Sequence[float] = ()) -> StoredRun:
    """Read back what ``clineval run`` stored, after checking that it is as the run wrote it.

    Parameters
    ----------
    results : folder of ``clineval run``; or ``model.onnx`` with ``model.json`` beside it, a model without a
        run.
    thresholds : of a model without a run, 0 to 1, in place of the one in its record; the first is its primary
        one.

    Raises
    ------
    InputError : an incomplete folder of ``clineval run``, or a file that was changed since; a model and its
        record that do not fit each other; thresholds for a run, which has its own.
    """
    if results.suffix.lower() == GRAPH and not results.is_dir():
        return _without_run(results, thresholds)
    if thresholds:
        raise InputError(
            f"{option('--threshold', 'thresholds')} is for a model without a run; {results} has the "
            "thresholds that its run froze. "
            "Leave it out."
        )
    require_results(results, PROVENANCE)
    provenance = _json(results / PROVENANCE)
    if provenance.get("kind") not in MODELS_OF:
        run = (provenance.get("data") or {}).get("run")
        named = f"; name the run that it validated, {run!r}" if run else ", as 'clineval run' writes them"
        kind = provenance.get("kind")
        holds = f"holds the results of 'clineval {kind}' and no models" if kind else "names no command"
        raise InputError(f"{results} {holds}; models with frozen thresholds are needed{named}.")
    require_results(results, *NEEDED)
    _refuse_altered(results, provenance.get("artefacts"))
    records = read_records(results)
    evaluation = _json(results / EVALUATION, most=MOST_EVALUATION)
    data = provenance.get("data", {})
    try:
        return _stored(results / "models", records, evaluation, data, fit=_fit(provenance))
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{results} is incomplete ({reason_of(error)}); run clineval run again.") from error


def read_unsealed(folder: Path) -> StoredRun | None:
    """A run whose folder is still being made: models and thresholds as they lie there; None without any."""
    records = read_records(folder)
    if not any(_is_stored(folder / "models", name) for name in records):
        return None
    evaluation = _json(folder / EVALUATION, most=MOST_EVALUATION)
    return _stored(folder / "models", records, evaluation, {}, fit=FITS[0])


def read_records(results: Path) -> dict[str, Any]:
    """What a run recorded of each of its models, by name.

    Raises
    ------
    InputError : there is no such file, or it is no JSON object.
    """
    return _json(results / "models" / RECORDS)


def cut_for(run: StoredRun, wanted: str, *, second_view: bool) -> tuple[str, ...]:
    """How squares are cut from images that the run is to score: the middle one and, where wanted, the upper.

    Parameters
    ----------
    wanted : crop, top or pad; or as-trained, as those of the run were cut.
    second_view : score the upper square beside the middle one; there is none beside another cut, and a model
        without a run is asked as it is, as are models of images in colour, which are no ultrasound.
    """
    fit = run.fit if wanted == AS_TRAINED else wanted
    if fit not in FITS:
        raise InputError(f"{option('--fit')} needs one of {', '.join((AS_TRAINED, *FITS))}; got {wanted!r}.")
    twice = second_view and fit == "crop" and run.alone is None and not run.in_colour
    return (fit, "top") if twice else (fit,)


def score_images(
    run: StoredRun,
    images: NDArray[np.uint8],
    *,
    matching: bool = True,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Scored:
    """Risks of prepared images by every trained model, before recalibration.

    An image's risk depends on nothing but itself: not on the images beside it, the number of cores or
    that of ``jobs`` (threads; by default one per core).

    Parameters
    ----------
    images : uint8, shape (cases, side, side), prepared as the training images were; or in colour, shape
        (cases, side, side, 3), where a model takes them so.
    matching : take the mean with the image of matched grey levels, where a model gains by it and the training
        images' grey levels are known.
    progress : called with (images done, images in all).

    Raises
    ------
    InputError : images of another size or type than the run was trained on.
    """
    allowed = [(run.side, run.side), *([(run.side, run.side, 3)] if run.in_colour else [])]
    if images.dtype != np.uint8 or images.shape[1:] not in allowed:
        kind = "colour or grey" if run.in_colour else "grey"
        raise InputError(
            f"The models take {kind} images of {run.side} x {run.side} pixels (uint8); got "
            f"{images.dtype} of shape {images.shape}. Prepare them to that size."
        )
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    parts: list[Scored] = []
    with threadpool_limits(1), ThreadPoolExecutor(max_workers=jobs or os.cpu_count()) as pool:
        for part in pool.map(lambda chunk: _score_chunk(run, chunk, matching), chunks):
            parts.append(part)
            if progress is not None:
                progress(min(len(parts) * CHUNK, len(images)), len(images))
    return _joined(run, parts)


def final_risks(run: StoredRun, views: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """The final risks by model: the mean over views on the logit scale, recalibrated, combined.

    They have twelve decimals, as in ``predictions.csv``.

    Last comes what was fitted for the site that the run was adopted for.

    Parameters
    ----------
    views : one or several mappings from model to its uncalibrated risks of the same cases.
    """
    risks = {}
    for name in run.models:
        mean, recalibration = mean_of([view[name] for view in views]), run.recalibrations[name]
        risks[name] = mean if recalibration is None else recalibration.apply(mean)
    risks |= {name: mean_of([risks[part] for part in parts]) for name, parts in run.parts.items()}
    final = {name: np.round(risk, DECIMALS) for name, risk in risks.items()}
    return final | {name: np.round(fit.apply(final[name]), DECIMALS) for name, fit in run.adopted.items()}


def _score_chunk(run: StoredRun, chunk: NDArray[np.uint8], matching: bool) -> Scored:
    colour, grey = (chunk, grey_of_colour(chunk)) if chunk.ndim == 4 else (None, chunk)
    known = run.reference.novelty if run.reference is not None else None
    views = {ORIGINAL: View(grey, colour=colour)}
    if matching and known is not None:
        views = {name: external_view(grey, name, known.grey, colour) for name in MIRRORED}
    return Scored(
        {
            name: mean_of([risk_of(model, views[each]) for each in run.views[name] if each in views])
            for name, model in run.models.items()
        },
        None if known is None else distance(known, views[ORIGINAL]),
    )


def _joined(run: StoredRun, parts: Sequence[Scored]) -> Scored:
    def join(values: list[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(values) if values else np.empty(0)

    far = [part.distance for part in parts if part.distance is not None]
    return Scored(
        {name: join([part.risks[name] for part in parts]) for name in run.models},
        None
        if run.reference is None
        else Distance(
            join([each.texture for each in far]),
            join([each.grey for each in far]),
            join([each.unlike for each in far]).astype(bool),
        ),
    )


def _without_run(path: Path, given: Sequence[float]) -> StoredRun:
    """A model in an ONNX file, as the record beside it says; what only a run has is left out."""
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", path.stem)[:100]
    model = open_model(name, path)
    own = () if model.threshold is None else (model.threshold,)
    for each in given:
        if not 0 <= each <= 1:
            raise InputError(
                f"{option('--threshold', 'thresholds')} needs a number from 0 to 1; got {each:g}."
            )
    thresholds = tuple(dict.fromkeys(given or own))
    kind, settings, side = KINDS["onnx"], model.settings, model.classifier.reading.image
    return StoredRun(
        condition=model.condition or "condition",
        data_title="",
        notice="",
        side=side,
        fit=FITS[0],
        models={name: model.classifier},
        views={name: kind.views},
        parts={},
        recalibrations={name: None},
        thresholds={name: tuple(FrozenThreshold("given", each, "given") for each in thresholds)},
        reference=None,
        primary=(name, thresholds[0] if thresholds else math.nan),
        alone=WithoutRun(path.name, settings.sha256, settings.reading),
    )


def _stored(
    folder: Path,
    records: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    fit: str,
) -> StoredRun:
    parts = {
        name: tuple(record["mean_logit_of"]) for name, record in records.items() if "mean_logit_of" in record
    }
    trained = [name for name in records if name not in parts and _is_stored(folder, name)]
    for name, needed in parts.items():
        if not needed or not set(needed) <= set(trained):
            raise InputError(
                f"{folder / RECORDS}: {name} is the mean of {', '.join(map(repr, needed)) or 'nothing'}; "
                f"models stored here are {', '.join(trained) or 'none'}. Run clineval run again."
            )
    not_stored = {
        name: str(record["training"]["not_stored"])
        for name, record in records.items()
        if "not_stored" in record.get("training", {}) and not name.endswith(WITHOUT_NEAR_DUPLICATES)
    }
    if not trained:
        raise InputError(
            "Expected models that can be applied; this run has none"
            + (f": {_reasons(not_stored)}." if not_stored else ". Run clineval run again.")
        )
    read = {name: read_model(folder, name) for name in trained}
    return StoredRun(
        condition=str(evaluation["condition"]),
        data_title=str(data.get("title", "")),
        notice=str(data.get("notice", "")),
        side=_side(folder, read),
        fit=fit,
        models={name: model.classifier for name, model in read.items()},
        views={name: model.kind.views for name, model in read.items()},
        parts=parts,
        recalibrations={name: _recalibration(records[name]["recalibration"]["fitted"]) for name in trained},
        thresholds={name: _thresholds(evaluation["points"][name]) for name in (*trained, *parts)},
        reference=read_reference(folder),
        adopted={
            name: fitted
            for name, record in records.items()
            if (fitted := _recalibration(record.get("adopted"))) is not None
        },
        not_stored=not_stored,
        primary=_primary(evaluation.get("primary"), (*trained, *parts)),
    )


def _primary(record: Mapping[str, Any] | None, names: Sequence[str]) -> tuple[str, float] | None:
    """The run's primary model and threshold; None where it named none, or one that could not be stored."""
    if record is None or record["threshold"] is None or record["model"] not in names:
        return None
    return str(record["model"]), _proportion(record["threshold"])


def _reasons(not_stored: Mapping[str, str]) -> str:
    return "; ".join(f"{name} could not be stored ({reason})" for name, reason in not_stored.items())


def left_out(run: StoredRun) -> str:
    """What is left out of the answer and why; empty where nothing is.

    These are models that were not stored, and which takes the primary one's place; of a model without a run
    what only a run has.
    """
    if run.alone is None:
        not_scored = f"Not scored: {_reasons(run.not_stored)}." if run.not_stored else ""
        return " ".join(filter(None, (not_scored, _in_its_place(run))))
    (thresholds,) = run.thresholds.values()
    flags = (
        ""
        if thresholds
        else f" Not flagged: no threshold ({option('--threshold', 'thresholds')}, or in "
        f"{_record(run.alone.file)})."
    )
    return run.alone.lacks + flags


def _in_its_place(run: StoredRun) -> str:
    if run.primary is not None:
        return ""
    name, threshold = run.main
    acts = "without a threshold" if math.isnan(threshold) else f"flagged at {threshold:.3f} or above"
    return f"No primary model is stored here; {name} takes its place, {acts}."


def _record(file: str) -> str:
    return str(Path(file).with_suffix(".json"))


def _is_stored(folder: Path, name: str) -> bool:
    if not NAME.fullmatch(name) or name.startswith("."):
        raise InputError(f"{folder / RECORDS}: {name[:100]!r} is no name of a model; run clineval run again.")
    return (folder / f"{name}.json").is_file()


def _side(folder: Path, models: Mapping[str, ReadModel]) -> int:
    sides = {side for model in models.values() for side in model.image}
    if len(sides) != 1:
        raise InputError(
            f"The models in {folder} need images of different or oblong sizes; run clineval run again."
        )
    return sides.pop()


def _recalibration(record: Mapping[str, Any] | None) -> Recalibration | None:
    if record is None:
        return None
    fitted = Recalibration.from_json(record)
    numbers = (fitted.intercept, fitted.slope, *(value for knot in fitted.knots for value in knot))
    if not all(math.isfinite(real(number)) for number in numbers):
        raise ValueError("a recalibration that is not finite")
    return fitted


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
        raise InputError(
            f"evaluation.json has a threshold of {value!r}, none from 0 to 1; run clineval run again."
        )
    return float(value)


def refuse_altered_table(results: Path) -> None:
    """InputError where a run's own predictions, beside which others are set, are not those that it wrote."""
    hashes = _hashes(_json(results / PROVENANCE).get("artefacts"))
    _refuse(results, hashes, [name for name in (PREDICTIONS,) if name in hashes])


def _refuse_altered(results: Path, recorded: Any) -> None:
    """Frozen means: to the last byte what the run wrote."""
    hashes = _hashes(recorded)
    _refuse(results, hashes, sorted(n for n in hashes if n.startswith("models/") or n == EVALUATION))


def _hashes(recorded: Any) -> dict[str, Any]:
    return recorded if isinstance(recorded, dict) else {}


def _refuse(results: Path, hashes: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in altered(results, hashes, names):
        raise InputError(
            f"{name} in {results} is not the file that the run wrote; see what differs with: "
            f"clineval verify {results}"
        )


def _json(path: Path, *, most: int = MOST_JSON) -> dict[str, Any]:
    try:
        content = parse_json(read_regular(path, most=most))
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)}); run clineval run again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object; run clineval run again.")
    return content
