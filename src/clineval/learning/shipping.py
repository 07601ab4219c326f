"""Trained models to and from a folder, and the risk that a stored one gives to new images."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clineval.learning.jobs import Arrays
from clineval.learning.logistic import LogisticModel, logistic_risk
from clineval.learning.member import member_risk
from clineval.learning.plain_models import FORMAT, SHAPES, Shapes
from clineval.learning.preprocessing import GreyScaling, PixelScaling
from clineval.learning.scattering import scattering_features
from clineval.learning.storage import read_arrays, require_shapes, write_arrays, write_bytes
from clineval.learning.support_vectors import SupportVectorModel, support_vector_risk
from clineval.learning.threads import one_thread
from clineval.refusal import Refusal


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
    Refusal : the folder cannot be written, or the disk is full.
    """
    folder = Path(folder)
    write_arrays(folder / f"{model.name}.safetensors", model.weights, {"format": FORMAT, "model": model.name})
    text = json.dumps({"format": FORMAT, "model": model.name, **model.record}, indent=2, allow_nan=False)
    write_bytes(folder / f"{model.name}.json", (text + "\n").encode())


def load_model(folder: Path, name: str) -> StoredModel:
    """Read a model back, every array's shape checked against what its kind needs.

    Raises
    ------
    Refusal : a file is missing or damaged, or its arrays do not fit the record.
    """
    path = Path(folder) / f"{name}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        kind, (height, width) = record["kind"], record["image"]
    except FileNotFoundError:
        raise Refusal(
            f"A trained model is needed; {path} is not there. Train one with: clineval run"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refusal(f"{path} is not the record of a model ({error}); train again.") from error
    if not isinstance(kind, str) or kind not in SHAPES or record.get("format") != FORMAT:
        raise Refusal(
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
    Refusal : images of another size or type.
    """
    height, width = model.record["image"]
    if images.ndim != 3 or images.dtype != np.uint8 or images.shape[1:] != (height, width):
        raise Refusal(
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
        raise Refusal(f"{path} is not a whole record of a model ({error!r}); train again.") from error
