"""Which preparation, views and training let models of BreastMNIST travel, chosen on BreastMNIST alone.

Models are trained on folds of train + val (near-duplicates in one fold) and score the fold left out: as it
is, under the six corruptions of ``clineval validate --corruptions`` (severities 2 and 4), and under eleven
simulated differences between scanners (scanner_shifts.py; levels 2 and 3, of all together 1, 2 and 3). No test image and no image of
another cohort is used. The rule that chooses is in docs/external-validation-choices.md.

    CLINEVAL_DATA=FOLDER python benchmarks/study_transport.py --keep FOLDER [--repeats N] [--trainings NAME]

Needs breastmnist.npz and breastmnist_224.npz. Finished trainings and risks are kept in --keep and not made
again. Writes benchmarks/transport_choices.csv: for each training, preparation, view and model the AUC (mean
over folds) of each shift (mean over its levels), their mean, and the worst single level.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import scanner_shifts
import shifted_training
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import expit, logit

from clineval.data import corruptions, medmnist
from clineval.data.audit import audit
from clineval.data.cohort import Cohort
from clineval.data.preparation import square
from clineval.learning.folds import derived_seed, grouped_folds
from clineval.learning.jobs import Arrays, Job, Material, perform
from clineval.learning.logistic import LogisticModel, logistic_risk
from clineval.learning.matching import match_grey_levels, mean_histogram
from clineval.learning.member import member_risk
from clineval.learning.preprocessing import GreyScaling, PixelScaling
from clineval.learning.scattering import scattering_features
from clineval.learning.storage import read_arrays, write_arrays
from clineval.learning.support_vectors import SupportVectorModel, support_vector_risk
from clineval.learning.threads import one_thread
from clineval.settings import TrainingSettings
from clineval.statistics.roc import auc

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
Prepare = Callable[[Images, Floats], Images]

FOLDS = 5
SIDE = 28
SEVERITIES = (2, 4)  # of the corruptions
LEVELS = (2, 3)  # of the single shifts; all three of "scanner"
RECORD = Path(__file__).with_name("transport_choices.csv")
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
    """Cases learnt from and left out, and what was learnt: arrays and records by model."""

    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    grey: Floats
    models: Mapping[str, list[tuple[Arrays, dict]]]


def main() -> None:
    asked = _arguments()
    cohort = medmnist.load("breastmnist", size=SIDE, folders=[os.environ["CLINEVAL_DATA"]])
    cohort = cohort.with_groups(audit(cohort).group_of)
    pool = np.flatnonzero(cohort.within("train", "val"))
    shown = list(_conditions(cohort, pool, asked.keep))
    parts = []
    with one_thread():
        for repeat, training in product(range(asked.repeats), asked.trainings):
            folds = list(_folds(cohort, pool, training, repeat, asked.keep))
            names = PREPARATIONS if training in FULL else SHORT
            for name in names:
                risks = _risks(folds, shown, name, asked.keep / f"risks-{training}-{name}-{repeat}.npz")
                parts.append((training, name, repeat, folds, risks))
                say(f"{training}, {name}, repeat {repeat}")
    pd.DataFrame(_scores(cohort.outcome[pool], pool, shown, parts)).to_csv(
        asked.record, index=False, float_format="%.4f"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=TRAININGS)
    asked = parser.parse_args()
    asked.keep.mkdir(parents=True, exist_ok=True)
    return asked


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# What the models are shown.


def _conditions(cohort: Cohort, pool: NDArray[np.int64], keep: Path) -> Iterator[Shown]:
    images = cohort.images[pool]
    yield Shown("clean", 0, images)
    for kind, level in product(corruptions.KINDS, SEVERITIES):
        yield Shown(kind, level, corruptions.corrupt(images, kind, level))
    large = None
    for kind, level in _levels():
        path = keep / f"shift-{kind}-{level}.npz"
        if not path.is_file():
            if large is None:
                large = medmnist.load("breastmnist", size=224, folders=[os.environ["CLINEVAL_DATA"]])
            _write_shift(large.images[pool], kind, level, path)
        stored = np.load(path)
        upper = stored["upper"] if (stored["upper"] != stored["middle"]).any() else None
        yield Shown(
            f"{kind} (scanner)" if kind in corruptions.KINDS else kind, level, stored["middle"], upper
        )


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


def _mean_matched(images: Images, grey: Floats) -> Images:
    """Each image with the mean and SD that the training images have over all."""
    levels = np.arange(len(grey))
    mean = (grey * levels).sum()
    spread = np.sqrt((grey * (levels - mean) ** 2).sum())
    own = images.reshape(len(images), -1).astype(float)
    sd = np.maximum(own.std(axis=1), 1e-9)
    out = mean + (own - own.mean(axis=1)[:, None]) * (spread / sd)[:, None]
    return np.clip(np.rint(out), 0, 255).astype(np.uint8).reshape(images.shape)


def _half_matched(images: Images, grey: Floats) -> Images:
    """Half way between the image as it came and matched."""
    both = images.astype(np.uint16) + match_grey_levels(images, grey)
    return ((both + 1) // 2).astype(np.uint8)


def _blurred(images: Images, pixels: float) -> Images:
    return np.rint(gaussian_filter(images.astype(float), (0, pixels, pixels), mode="reflect")).astype(
        np.uint8
    )


def _then_blurred(first: Prepare, pixels: float) -> Prepare:
    return lambda images, grey: _blurred(first(images, grey), pixels)


def _unchanged(images: Images, _grey: Floats) -> Images:
    return images


PREPARATIONS: Mapping[str, Prepare] = {
    "as it came": _unchanged,
    "matched": match_grey_levels,
    "mean and SD matched": _mean_matched,
    "half matched": _half_matched,
    "blurred .8": _then_blurred(_unchanged, 0.8),
    "matched, blurred .5": _then_blurred(match_grey_levels, 0.5),
    "matched, blurred .8": _then_blurred(match_grey_levels, 0.8),
}
SHORT = ("as it came", "matched", "matched, blurred .5")
FULL = ("as shipped",)
MODELS = ("logreg", "cnn", "scattering")
TRAININGS = ("as shipped", *shifted_training.KINDS)


# Trainings, kept as files.


def _folds(cohort: Cohort, pool: NDArray[np.int64], training: str, repeat: int, keep: Path) -> Iterator[Fold]:
    fold = grouped_folds(cohort.outcome[pool], cohort.group[pool], folds=FOLDS, seed=repeat)
    for number in range(FOLDS):
        inside, outside = pool[fold != number], pool[fold == number]
        grey = mean_histogram(cohort.images[inside])
        models = {
            name: [
                _trained(cohort, job, training, grey, keep / f"{training}-{repeat}-{number}-{name}-{place}")
                for place, job in enumerate(_jobs(cohort, inside, name, repeat, number))
            ]
            for name in MODELS
        }
        yield Fold(inside, outside, grey, models)


def _jobs(cohort: Cohort, inside: NDArray[np.int64], name: str, repeat: int, number: int) -> list[Job]:
    none = inside[:0]
    if name == "logreg":
        return [Job(name, inside, none, SETTINGS.logistic, 0)]
    if name == "scattering":
        return [Job(name, inside, none, SETTINGS.scattering, 0)]
    seed = derived_seed(0, repeat, number, "members")
    member = grouped_folds(cohort.outcome[inside], cohort.group[inside], folds=SETTINGS.members, seed=seed)
    return [
        Job(
            "cnn", inside[member != each], none, SETTINGS.network, derived_seed(0, repeat, number, each), each
        )
        for each in range(SETTINGS.members)
    ]


def _trained(cohort: Cohort, job: Job, training: str, grey: Floats, path: Path) -> tuple[Arrays, dict]:
    path = path.with_name(path.name.replace(" ", "-") + ".safetensors")
    if not path.is_file():
        with shifted_training.as_if(training, Material.of(cohort), job, grey) as (material, changed):
            fitted = perform(material, changed)
        write_arrays(path, fitted.arrays, fitted.record)
    return read_arrays(path)


# Risks of the cases left out.


def _risks(folds: list[Fold], shown: list[Shown], name: str, path: Path) -> Mapping[str, Floats]:
    """By ``MODEL/KIND/LEVEL/VIEW`` the risks of all pool cases by models that never saw their groups."""
    if path.is_file():
        return dict(np.load(path))
    risks: dict[str, Floats] = {}
    first = min(int(fold.inside.min()) for fold in folds)
    if first:
        raise ValueError("the pool must be the first cases of the cohort")
    for one in shown:
        for view, images in (("middle", one.middle), ("upper", one.upper)):
            if images is None:
                continue
            found = {model: np.empty(len(images)) for model in MODELS}
            for fold in folds:
                prepared = PREPARATIONS[name](images[fold.outside], fold.grey)
                for model in MODELS:
                    found[model][fold.outside] = _RISKS[model](fold.models[model], prepared)
            risks |= {f"{model}/{one.kind}/{one.level}/{view}": found[model] for model in MODELS}
    np.savez_compressed(path, **risks)
    return risks


def _network_risk(members: list[tuple[Arrays, dict]], images: Images) -> Floats:
    return np.mean(
        [
            member_risk(weights, images, scaling=GreyScaling(**record["scaling"]))
            for weights, record in members
        ],
        axis=0,
    )


def _logistic_risk(models: list[tuple[Arrays, dict]], images: Images) -> Floats:
    arrays, _ = models[0]
    scaling = PixelScaling(arrays["mean"], arrays["sd"], "train")
    return logistic_risk(
        LogisticModel(scaling, arrays["coefficients"], float(arrays["intercept"][0]), 0.0, ()), images
    )


def _machine_risk(models: list[tuple[Arrays, dict]], images: Images) -> Floats:
    arrays, record = models[0]
    plain = {name: arrays[name] for name in ("mean", "sd", "support_vectors", "dual")}
    slope, platt = map(float, arrays["platt"])
    machine = SupportVectorModel(
        **plain,
        intercept=float(arrays["intercept"][0]),
        gamma=record["gamma"],
        slope=slope,
        platt_intercept=platt,
    )
    return support_vector_risk(machine, scattering_features(images))


_RISKS = {"logreg": _logistic_risk, "cnn": _network_risk, "scattering": _machine_risk}


# Scores.


def _scores(outcome: NDArray[np.bool_], pool, shown, parts) -> Iterator[dict[str, object]]:
    """One row per training, preparation, view, model and repeat."""
    found = {(training, name, repeat): (folds, risks) for training, name, repeat, folds, risks in parts}
    for (training, name, repeat), (folds, risks) in found.items():
        for model, view in product(MODELS, ("middle", "both")):
            seen = {(one.kind, one.level): _seen(risks, model, one, view) for one in shown}
            yield _row(outcome, folds, seen, f"{model}: {training}, {name}, {view}", repeat)


def _seen(risks: Mapping[str, Floats], model: str, one: Shown, view: str) -> Floats:
    middle = risks[f"{model}/{one.kind}/{one.level}/middle"]
    if view == "middle" or one.upper is None:
        return middle
    return mixed([middle, risks[f"{model}/{one.kind}/{one.level}/upper"]])


def mixed(risks: list[Floats]) -> Floats:
    """The mean on the logit scale."""
    return expit(np.mean([logit(np.clip(risk, 1e-12, 1 - 1e-12)) for risk in risks], axis=0))


def _row(outcome, folds, seen, about: str, repeat: int) -> dict[str, object]:
    aucs = {
        key: float(np.mean([auc(outcome[f.outside], risk[f.outside]).value for f in folds]))
        for key, risk in seen.items()
    }
    kinds = list(dict.fromkeys(kind for kind, _ in aucs))
    by_kind = {kind: np.mean([value for (k, _), value in aucs.items() if k == kind]) for kind in kinds}
    return {"about": about, "repeat": repeat, **by_kind, "worst": min(aucs.values())}


if __name__ == "__main__":
    main()
