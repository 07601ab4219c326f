"""Stored models: written as safetensors and JSON, checked, read back, applied to images."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from clineval.errors import InputError
from clineval.models.arrays import Arrays, read_arrays, require_shapes, write_arrays, write_bytes
from clineval.models.logistic import LogisticModel, logistic_risk
from clineval.models.network_scoring import ARCHITECTURE, OnnxEnsemble, PlainNetwork, plain_network, shapes_of
from clineval.models.network_training import member_risk
from clineval.models.plain_scattering import FEATURES, SIDE, plain_scattering_features, shrink
from clineval.models.preprocessing import GreyScaling, PixelScaling
from clineval.models.scattering import scattering_features
from clineval.models.svm import SupportVectorModel, support_vector_risk
from clineval.models.threads import one_thread
from clineval.models.views import BOTH

FORMAT = 3  # with anything that changes what arrays or features mean
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """Images as the models see them, uint8, shape (cases, height, width), with what is computed once.

    ``ways`` are those in which networks look at each: from left to right, mirrored, or both.
    """

    images: NDArray[np.uint8]
    ways: tuple[slice, ...] = BOTH

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """Scattering features, shape (cases, 2989)."""
        return plain_scattering_features(self.images)


class PlainModel(Protocol):
    """A model that gives each image of a view its risk, float64, shape (cases,), before recalibration."""

    def risk(self, view: View) -> Floats: ...


@dataclass(frozen=True)
class PlainLogistic:
    """Logistic regression on scaled pixels, all arrays of shape (pixels,)."""

    coefficients: Floats
    mean: Floats
    sd: Floats
    intercept: float

    def risk(self, view: View) -> Floats:
        """The inverse logit of the weighted pixels."""
        small = min(view.images.shape[1:]) <= SIDE
        grey = view.images / 255.0 if small else shrink(view.images).astype(np.float64)
        pixels = grey.reshape(len(grey), -1)
        return expit(((pixels - self.mean) / self.sd) @ self.coefficients + self.intercept)


@dataclass(frozen=True)
class PlainEnsemble:
    """The mean risk of several networks, each over the ways in which it looks at the image."""

    members: tuple[PlainNetwork, ...]

    def risk(self, view: View) -> Floats:
        """The mean of all risks."""
        seen = [self._together(view.images[:, :, way]) for way in view.ways]
        return expit(np.asarray(seen, np.float64)).mean(axis=(0, 2))

    @cached_property
    def _together(self) -> OnnxEnsemble:
        return OnnxEnsemble(self.members)


@dataclass(frozen=True)
class PlainMachine:
    """Support vector machine on standardised scattering features, Platt-scaled.

    Its kernel is the mean of one radial kernel per part of the features; ``ends`` are where the parts end.
    """

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    support_vectors: NDArray[np.float64]
    dual: Floats
    intercept: float
    ends: tuple[int, ...]
    gammas: tuple[float, ...]
    platt: tuple[float, float]

    def risk(self, view: View) -> Floats:
        """The inverse logit of the scaled decision value."""
        features = ((view.features - self.mean) / self.sd).astype(np.float64)
        decision = self._kernel(features) @ self.dual + self.intercept
        slope, intercept = self.platt
        return expit(slope * decision + intercept)

    def _kernel(self, features: Floats) -> Floats:
        parts = []
        for (start, end), right, gamma in zip(self._parts, self._squares, self.gammas, strict=True):
            left = features[:, start:end]
            product = left @ self.support_vectors[:, start:end].T
            squared = (left**2).sum(axis=1)[:, None] + right - 2 * product
            parts.append(np.exp(-gamma * np.maximum(squared, 0.0)))
        return np.mean(parts, axis=0)

    @property
    def _parts(self) -> tuple[tuple[int, int], ...]:
        return tuple(pairwise((0, *self.ends)))

    @cached_property
    def _squares(self) -> tuple[Floats, ...]:
        """The support vectors' squared lengths by part: as long to compute as a dozen risks."""
        return tuple((self.support_vectors[:, start:end] ** 2).sum(axis=1) for start, end in self._parts)


def read_plain_model(folder: Path, name: str) -> tuple[PlainModel, tuple[int, int]]:
    """A stored model and the height and width in pixels of the images that it needs.

    Raises
    ------
    InputError : a file is missing or damaged, of another kind, or its arrays do not fit its record.
    """
    path = folder / f"{name}.json"
    record = read_record(path)
    try:
        kind, (height, width) = record["kind"], map(int, record["image"])
        expected = SHAPES[kind](record, height, width)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path} is not the record of a model that this version reads ({error!r})."
        ) from error
    arrays, _ = read_arrays(path.with_suffix(".safetensors"))
    require_shapes(path.with_suffix(".safetensors"), arrays, expected)
    try:
        return _BUILD[kind](record, arrays), (height, width)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} lacks what its kind of model needs ({error!r}); train again.") from error


def read_record(path: Path) -> dict[str, Any]:
    """The JSON record of a model; a InputError where it is missing, unreadable or of another format."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"A trained model is needed; {path} is not there. Train with: clineval run"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not the record of a model ({error}); train again.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputError(f"{path} is not of format {FORMAT}, which this version reads; train again.")
    return record


def mean_of(risks: list[Floats]) -> Floats:
    """The mean of several risks of the same cases on the logit scale, shape (cases,)."""
    return risks[0] if len(risks) == 1 else expit(np.mean([logit(risk) for risk in risks], axis=0))


Shapes = dict[str, tuple[int, ...]]


def _logistic_shapes(_record: Mapping[str, Any], height: int, width: int) -> Shapes:
    pixels = (SIDE**2 if min(height, width) > SIDE else height * width,)  # larger images are averaged down
    return {"coefficients": pixels, "mean": pixels, "sd": pixels, "intercept": (1,)}


def _machine_shapes(record: Mapping[str, Any], _height: int, _width: int) -> Shapes:
    vectors, ends = int(record["vectors"]), list(record["ends"])
    if ends != sorted(ends) or ends[-1] != FEATURES or len(ends) != len(record["gammas"]):
        raise ValueError(f"parts of the features that end at {ends}")
    return {
        "mean": (FEATURES,),
        "sd": (FEATURES,),
        "support_vectors": (vectors, FEATURES),
        "dual": (vectors,),
        "intercept": (1,),
        "platt": (2,),
    }


def _ensemble_shapes(record: Mapping[str, Any], height: int, width: int) -> Shapes:
    if record["architecture"] != ARCHITECTURE:
        raise ValueError(f"architecture {record['architecture']}; this version has {ARCHITECTURE}")
    shapes = shapes_of(height, width)
    return {
        f"member{number}.{name}": shape
        for number in range(len(record["members"]))
        for name, shape in shapes.items()
    }


def _logistic(_record: Mapping[str, Any], arrays: Arrays) -> PlainModel:
    scaled = (arrays["coefficients"], arrays["mean"], arrays["sd"])
    return PlainLogistic(*scaled, intercept=float(arrays["intercept"][0]))


def _machine(record: Mapping[str, Any], arrays: Arrays) -> PlainModel:
    slope, intercept = map(float, arrays["platt"])
    return PlainMachine(
        arrays["mean"],
        arrays["sd"],
        arrays["support_vectors"].astype(np.float64),
        arrays["dual"],
        float(arrays["intercept"][0]),
        tuple(map(int, record["ends"])),
        tuple(map(float, record["gammas"])),
        (slope, intercept),
    )


def _ensemble(record: Mapping[str, Any], arrays: Arrays) -> PlainModel:
    members = []
    for number, member in enumerate(record["members"]):
        prefix = f"member{number}."
        weights = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
        scaling = member["scaling"]
        members.append(plain_network(weights, mean=float(scaling["mean"]), sd=float(scaling["sd"])))
    return PlainEnsemble(tuple(members))


SHAPES: Mapping[str, Callable[[Mapping[str, Any], int, int], Shapes]] = {
    "logreg": _logistic_shapes,
    "scattering": _machine_shapes,
    "cnn": _ensemble_shapes,
}
_BUILD: Mapping[str, Callable[[Mapping[str, Any], Arrays], PlainModel]] = {
    "logreg": _logistic,
    "scattering": _machine,
    "cnn": _ensemble,
}


class Predictor(Protocol):
    """What :func:`predict` needs of a model, freshly trained or read back."""

    @property
    def name(self) -> str: ...
    @property
    def record(self) -> dict[str, Any]: ...
    @property
    def weights(self) -> Arrays: ...


@dataclass(frozen=True)
class StoredModel:
    """A model read back from a folder: its name, its record, its arrays by name."""

    name: str
    record: dict[str, Any]
    weights: Arrays


def save_model(model: Predictor, folder: Path) -> None:
    """Write ``NAME.safetensors`` (the arrays) and ``NAME.json`` (the record) into ``folder``.

    Raises
    ------
    InputError : the folder cannot be written, or the disk is full.
    """
    folder = Path(folder)
    write_arrays(folder / f"{model.name}.safetensors", model.weights, {"format": FORMAT, "model": model.name})
    text = json.dumps({"format": FORMAT, "model": model.name, **model.record}, indent=2, allow_nan=False)
    write_bytes(folder / f"{model.name}.json", (text + "\n").encode())


def load_model(folder: Path, name: str) -> StoredModel:
    """Read a model back, every array's shape checked against what its kind needs.

    Raises
    ------
    InputError : a file is missing or damaged, or its arrays do not fit the record.
    """
    path = Path(folder) / f"{name}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        kind, (height, width) = record["kind"], record["image"]
    except FileNotFoundError:
        raise InputError(
            f"A trained model is needed; {path} is not there. Train one with: clineval run"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not the record of a model ({error}); train again.") from error
    if not isinstance(kind, str) or kind not in SHAPES or record.get("format") != FORMAT:
        raise InputError(
            f"{path} is of kind {kind!r}, format {record.get('format')}; this version reads "
            f"{', '.join(SHAPES)} of format {FORMAT}. Train again, or use the version that wrote it."
        )
    weights, _ = read_arrays(path.with_suffix(".safetensors"))
    require_shapes(path.with_suffix(".safetensors"), weights, _shapes(kind, record, height, width, path))
    return StoredModel(name, record, weights)


def predict(model: Predictor, images: NDArray[np.uint8], *, device: str = "cpu") -> NDArray[np.float64]:
    """Risk of each image by a trained model, float64, shape (cases,), before any recalibration.

    On the CPU the risks are those of training to the last bit, and an image's risk does not depend on
    the others beside it.

    Parameters
    ----------
    images : uint8, shape (cases, height, width), of the size that the model was trained on.

    Raises
    ------
    InputError : images of another size or type.
    """
    height, width = model.record["image"]
    if images.ndim != 3 or images.dtype != np.uint8 or images.shape[1:] != (height, width):
        raise InputError(
            f"The model {model.name} needs grey images as uint8 of {height} x {width} pixels; "
            f"came {images.dtype} of shape {images.shape}. Resize them as its training images were."
        )
    if not len(images):
        return np.empty(0)
    with one_thread(device):
        return _RISKS[model.record["kind"]](model, images, device)


def _logistic_risk(model: Predictor, images: NDArray[np.uint8], device: str) -> NDArray[np.float64]:
    arrays = model.weights
    scaling = PixelScaling(arrays["mean"], arrays["sd"], "train")
    fitted = LogisticModel(
        scaling, arrays["coefficients"], float(arrays["intercept"][0]), float(model.record["strength"]), ()
    )
    return logistic_risk(fitted, images)


def _scattering_risk(model: Predictor, images: NDArray[np.uint8], device: str) -> NDArray[np.float64]:
    arrays = dict(model.weights)
    slope, platt_intercept = arrays.pop("platt")
    intercept = float(arrays.pop("intercept")[0])
    fitted = SupportVectorModel(
        **arrays,
        intercept=intercept,
        ends=tuple(map(int, model.record["ends"])),
        gammas=tuple(map(float, model.record["gammas"])),
        slope=float(slope),
        platt_intercept=float(platt_intercept),
    )
    return support_vector_risk(fitted, scattering_features(images))


def _ensemble_risk(model: Predictor, images: NDArray[np.uint8], device: str) -> NDArray[np.float64]:
    risks = []
    for number, member in enumerate(model.record["members"]):
        prefix = f"member{number}."
        weights = {n.removeprefix(prefix): a for n, a in model.weights.items() if n.startswith(prefix)}
        risks.append(member_risk(weights, images, scaling=GreyScaling(**member["scaling"]), device=device))
    return np.mean(risks, axis=0)


_RISKS: Mapping[str, Callable[[Predictor, NDArray[np.uint8], str], NDArray[np.float64]]] = {
    "logreg": _logistic_risk,
    "scattering": _scattering_risk,
    "cnn": _ensemble_risk,
}


def _shapes(kind: str, record: dict[str, Any], height: int, width: int, path: Path) -> Shapes:
    try:
        return SHAPES[kind](record, int(height), int(width))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is not a whole record of a model ({error!r}); train again.") from error
