"""What a run keeps of its training images, so that new images can be set beside them without these."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from clineval.data.cohort import Cohort
from clineval.data.training_twins import Trace, trace
from clineval.learning.familiarity import Familiarity, learn_familiarity
from clineval.learning.matching import LEVELS, mean_histogram
from clineval.learning.plain_scattering import FEATURES
from clineval.learning.storage import Arrays, read_arrays, require_shapes, write_arrays
from clineval.refusal import Refusal

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
    Refusal : the file is missing, damaged or of another format.
    """
    path = folder / FILE
    if not path.is_file():
        raise Refusal(
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
        if isinstance(error, Refusal):
            raise
        raise Refusal(f"{path} is not a whole reference ({error!r}); make the run anew.") from error
    return TrainingReference(familiarity, kept)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
