"""Models of grouped folds of BreastMNIST, and what they say of images as other scanners would show them."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import scanner_shifts
import shifted_training
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from clineval.data import medmnist, preparation
from clineval.data.audit import audit
from clineval.data.cohort import Cohort, derived_seed, grouped_folds
from clineval.data.preparation import square
from clineval.models.classifier import KINDS, Classifier, risk_of
from clineval.models.parallel import Job, Material, perform
from clineval.models.preprocessing import View, match_mean_and_spread, mean_histogram
from clineval.models.stored import read_arrays, write_arrays
from clineval.settings import TrainingSettings

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Prepare = Callable[[Images, Floats], Images]

FOLDS = 5
SIDE = 28
SEVERITIES = (3,)  # of the corruptions
LEVELS = (2,)  # of the single shifts; all three of "scanner"
SETTINGS = TrainingSettings()


@dataclass(frozen=True)
class Shown:
    """One condition: the middle squares of all images and, where they are upright, the upper squares."""

    kind: str
    level: int
    middle: Images
    upper: Images | None = None


@dataclass(frozen=True)
class Fold:
    """Cases learnt from and left out, the mean histogram of the former, and each model's members."""

    inside: Indices
    outside: Indices
    grey: Floats
    models: Mapping[str, list[Classifier]]


@dataclass(frozen=True)
class Training:
    """One way of training: ``changed`` is None or one of ``shifted_training.KINDS``."""

    name: str
    changed: str | None
    models: tuple[str, ...]
    members: int
    preparations: tuple[str, ...]


# What the models are shown.


def ground(keep: Path) -> tuple[Cohort, Indices, list[Shown]]:
    """BreastMNIST with its groups, the places of train + val in it, and all that is shown of these."""
    folder = os.environ["CLINEVAL_DATA"]
    cohort = medmnist.load("breastmnist", size=SIDE, folders=[folder])
    cohort = cohort.with_groups(audit(cohort).group_of)
    pool = np.flatnonzero(cohort.within("train", "val"))
    large = lambda: medmnist.load("breastmnist", size=224, folders=[folder]).images[pool]  # noqa: E731
    return cohort, pool, list(conditions(cohort.images[pool], large, keep))


def conditions(images: Images, large: Callable[[], Images], keep: Path) -> Iterator[Shown]:
    """Everything that the models are shown, the images as they are first.

    ``large`` hands out the same images at 224 pixels; called only where a shift is not kept yet.
    """
    yield Shown("clean", 0, images)
    for kind, level in product(preparation.KINDS, SEVERITIES):
        yield Shown(kind, level, preparation.corrupt(images, kind, level))
    for kind, level in _levels():
        path = keep / f"shift-{kind}-{level}.npz"
        if not path.is_file():
            _write_shift(large(), kind, level, path)
        stored = np.load(path)
        upper = stored["upper"] if (stored["upper"] != stored["middle"]).any() else None
        yield Shown(_distinct(kind), level, stored["middle"], upper)


def _distinct(kind: str) -> str:
    return f"{kind} (scanner)" if kind in preparation.KINDS else kind


def _levels() -> Iterator[tuple[str, int]]:
    for kind in scanner_shifts.KINDS:
        yield from ((kind, level) for level in (scanner_shifts.LEVELS if kind == "scanner" else LEVELS))


def _write_shift(large: Images, kind: str, level: int, path: Path) -> None:
    pictures = scanner_shifts.shift_images(large, kind, level)
    squares = {
        name: np.stack([square(picture, side=SIDE, fit=fit) for picture in pictures])
        for name, fit in (("middle", "crop"), ("upper", "top"))
    }
    np.savez_compressed(path, **squares)


# How images are prepared: functions of the images and of the training images' mean histogram.


def _half_mean_matched(images: Images, grey: Floats) -> Images:
    """Half way between the image as stored and with mean and SD matched."""
    return ((images.astype(np.uint16) + match_mean_and_spread(images, grey) + 1) // 2).astype(np.uint8)


def _blurred(images: Images, pixels: float) -> Images:
    return np.rint(gaussian_filter(images.astype(float), (0, pixels, pixels), mode="reflect")).astype(
        np.uint8
    )


def _then_blurred(first: Prepare, pixels: float) -> Prepare:
    return lambda images, grey: _blurred(first(images, grey), pixels)


def _unchanged(images: Images, _grey: Floats) -> Images:
    return images


PREPARATIONS: Mapping[str, Prepare] = {
    "as stored": _unchanged,
    "matched": shifted_training.match_histograms,
    "mean and SD matched": match_mean_and_spread,
    "half way to mean and SD": _half_mean_matched,
    "blurred .8": _then_blurred(_unchanged, 0.8),
    "matched, blurred .5": _then_blurred(shifted_training.match_histograms, 0.5),
    "matched, blurred .8": _then_blurred(shifted_training.match_histograms, 0.8),
}
AVERAGED = (  # preparations whose risks are averaged, on the logit scale
    *((name,) for name in PREPARATIONS),
    ("as stored", "matched"),
    ("as stored", "matched, blurred .5"),
    ("as stored", "mean and SD matched"),
    ("as stored", "blurred .8"),
    ("as stored", "mean and SD matched", "blurred .8"),
)
ALL = ("logreg", "cnn", "scattering")
SHORT = ("as stored", "matched")
TRAININGS = (
    Training("unchanged", None, ALL, SETTINGS.members, tuple(PREPARATIONS)),
    Training("unchanged, one network", None, ("cnn",), 1, SHORT),
    Training("matched", "matched", ALL, 1, ("matched",)),
    Training("intensity", "intensity", ("cnn",), 1, SHORT),
    Training("scanner", "scanner", ("cnn", "scattering"), 1, SHORT),
    Training("geometry", "geometry", ("cnn",), 1, SHORT),
    Training("scanner and geometry", "scanner and geometry", ("cnn",), 1, SHORT),
)


# Trainings, kept as files.


def trained_folds(
    cohort: Cohort, pool: Indices, training: Training, repeat: int, keep: Path
) -> Iterator[Fold]:
    """Each fold with the models that learnt from the others."""
    fold = grouped_folds(cohort.outcome[pool], cohort.group[pool], folds=FOLDS, seed=repeat)
    for number in range(FOLDS):
        inside, outside = pool[fold != number], pool[fold == number]
        grey = mean_histogram(cohort.images[inside])
        start = f"{training.changed or 'unchanged'}-{repeat}-{number}"
        models = {
            name: [
                _trained(cohort, job, training.changed, grey, keep / f"{start}-{name}-{place}.safetensors")
                for place, job in enumerate(_jobs(cohort, inside, name, training.members, repeat, number))
            ]
            for name in training.models
        }
        yield Fold(inside, outside, grey, models)


def _jobs(cohort: Cohort, inside: Indices, name: str, members: int, repeat: int, number: int) -> list[Job]:
    none, settings = inside[:0], KINDS[name].settings(SETTINGS)
    if name != "cnn":
        return [Job(name, inside, none, settings, 0)]
    seed = derived_seed(0, repeat, number, "members")
    part = grouped_folds(cohort.outcome[inside], cohort.group[inside], folds=SETTINGS.members, seed=seed)
    seeds = [derived_seed(0, repeat, number, each) for each in range(members)]
    return [Job(name, inside[part != each], none, settings, own, each) for each, own in enumerate(seeds)]


def _trained(cohort: Cohort, job: Job, changed: str | None, grey: Floats, path: Path) -> Classifier:
    path = path.with_name(path.name.replace(" ", "-"))
    if not path.is_file():
        with shifted_training.as_if(changed, Material.of(cohort), job, grey) as (material, made):
            stored = perform(material, made).stored
        write_arrays(path, stored.arrays, stored.record)
    arrays, record = read_arrays(path)
    return KINDS[job.kind].read(record, arrays)


# Risks of the cases left out.


def held_out_risks(
    folds: list[Fold], shown: list[Shown], training: Training, preparation: str, path: Path
) -> Mapping[str, Floats]:
    """By ``MODEL/KIND/LEVEL/VIEW`` the risks of all cases by models that never saw their groups."""
    if path.is_file():
        return dict(np.load(path))
    risks = {
        f"{model}/{one.kind}/{one.level}/{view}": _held_out(folds, images, model, PREPARATIONS[preparation])
        for one in shown
        for view, images in (("middle", one.middle), ("upper", one.upper))
        if images is not None
        for model in training.models
    }
    np.savez_compressed(path, **risks)
    return risks


def _held_out(folds: list[Fold], images: Images, model: str, prepare: Prepare) -> Floats:
    risk = np.empty(len(images))
    for fold in folds:
        risk[fold.outside] = mean_risk(fold.models[model], View(prepare(images[fold.outside], fold.grey)))
    return risk


def mean_risk(members: list[Classifier], view: View) -> Floats:
    """The mean risk of a model's members, shape (cases,)."""
    return np.mean([risk_of(member, view) for member in members], axis=0)
