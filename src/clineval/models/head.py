"""A stored model at one more site: its last layer fitted anew, or its features scaled by local images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clineval.models import svm
from clineval.models.classifier import Classifier
from clineval.models.logistic import LogisticModel
from clineval.models.preprocessing import Images, View, learn_pixel_scaling, scale_pixels
from clineval.models.scattering import ScatteringModel, scattering_features
from clineval.models.stored import Arrays, Floats, Stored, read_arrays, read_record, write_model
from clineval.models.transfer import TransferModel

MOST = 1000  # local images: the kernel and the time grow with their square and cube


@dataclass(frozen=True)
class NewHead:
    """A head on the kernel of local images: log odds = kept + intercept + kernel @ ``weight``.

    ``weight`` has shape (cases,). ``kept`` are intercept and slope of the frozen model's recalibration,
    where its log odds stay; None where the head starts from nothing. ``penalty`` is for the record.
    """

    weight: Floats
    intercept: float
    penalty: float
    kept: tuple[float, float] | None


def has_head(model: Classifier) -> bool:
    """Whether the last layer of a model can be fitted anew."""
    return isinstance(model, LogisticModel | TransferModel)


def head_features(model: Classifier, views: Sequence[View]) -> list[Floats]:
    """What the head sees of the same images in each view, each of shape (cases, features)."""
    if isinstance(model, LogisticModel):
        return [scale_pixels(view.images, model.scaling) for view in views]
    if isinstance(model, TransferModel):
        return [model.machine.standardised(model.features(view)) for view in views]
    raise ValueError(f"a {type(model).__name__} has no head to be fitted anew")


def head_kernel(model: Classifier, features: Sequence[Floats]) -> Floats:
    """How alike the images are to the head, shape (cases, cases): the mean over all pairs of their views.

    Of logistic regression the product of their scaled pixels over the number of pixels; of a kernel machine
    its kernel.
    """
    if isinstance(model, LogisticModel):
        mean = np.mean(features, axis=0)
        return np.asarray(mean @ mean.T / mean.shape[1])
    assert isinstance(model, TransferModel)
    kernel = np.mean([model.machine.kernel(one, other) for one in features for other in features], axis=0)
    return np.asarray((kernel + kernel.T) / 2)


def write_refitted(
    model: Classifier,
    features: Sequence[Floats],
    head: NewHead,
    folder: Path,
    name: str,
) -> None:
    """Write the model with its new head over the stored one; its risks need no recalibration any more."""
    path = folder / f"{name}.json"
    record = {key: value for key, value in read_record(path).items() if key not in ("format", "model")}
    arrays, _ = read_arrays(path.with_suffix(".safetensors"))
    about = {"head": {"cases": len(head.weight), "penalty": head.penalty, "kept": head.kept}}
    make = _linear if isinstance(model, LogisticModel) else _kernel_machine
    stored = make(model, features, head)
    write_model(Stored({**record, **stored.record, **about}, {**arrays, **stored.arrays}), folder, name)


def _linear(model: Classifier, features: Sequence[Floats], head: NewHead) -> Stored:
    assert isinstance(model, LogisticModel)
    mean = np.mean(features, axis=0)
    coefficients, intercept = mean.T @ head.weight / mean.shape[1], head.intercept
    if head.kept is not None:
        coefficients = coefficients + head.kept[1] * model.coefficients
        intercept += head.kept[0] + head.kept[1] * model.intercept
    arrays: Arrays = {"coefficients": coefficients, "intercept": np.array([intercept])}
    return Stored({}, arrays)


def _kernel_machine(model: Classifier, features: Sequence[Floats], head: NewHead) -> Stored:
    assert isinstance(model, TransferModel)
    machine = model.machine
    vectors = np.concatenate([each.astype(np.float32) for each in features])
    dual, intercept = np.tile(head.weight / len(features), len(features)), head.intercept
    if head.kept is not None:
        vectors = np.concatenate([machine.support_vectors, vectors])
        dual = np.concatenate([head.kept[1] * machine.slope * machine.dual, dual])
        intercept += head.kept[0] + head.kept[1] * (
            machine.slope * machine.intercept + machine.platt_intercept
        )
    refitted = replace(
        machine,
        support_vectors=vectors,
        dual=dual,
        intercept=intercept,
        slope=1.0,
        platt_intercept=0.0,
    )
    return svm.stored(refitted)


def standardised_by(model: Classifier, images: Images) -> Classifier | None:
    """The model with its features standardised by these images instead of those of training; None without.

    Such a risk depends on the images beside it: a batch's, not one image's.
    """
    if isinstance(model, LogisticModel):
        return replace(model, scaling=learn_pixel_scaling(images, learnt_on="external"))
    if isinstance(model, ScatteringModel):
        return replace(model, machine=model.machine.scaled_by(scattering_features(images)))
    if isinstance(model, TransferModel):
        return replace(model, machine=model.machine.scaled_by(model.features(View(images))))
    return None
