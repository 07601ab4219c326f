"""Training of the models that are shipped: fold-members, out-of-fold risks, one record for each model."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from clineval.data.cohort import Cohort
from clineval.errors import InputError
from clineval.models.folds import derived_seed, grouped_folds
from clineval.models.jobs import Arrays, Fitted, Job, Material
from clineval.models.network import ARCHITECTURE, build_network, parameters_of
from clineval.models.network_training import LearningCurve, check_stopping
from clineval.models.parallel import run_jobs
from clineval.models.preprocessing import check_images
from clineval.models.stored import load_model, predict, save_model
from clineval.progress import Progress
from clineval.settings import TrainingSettings

__all__ = ["MODELS", "TrainedModel", "combine", "load_model", "predict", "save_model", "train_models"]

MODELS = ("logreg", "cnn", "scattering")
DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class TrainedModel:
    """A model as it is shipped, and what it gives on the cohort it was trained in.

    Attributes
    ----------
    risk : of every case by the shipped model, float64, shape (cases,), not recalibrated.
    out_of_fold : of every training case by models that never saw its group; NaN outside the training split.
    members : the table of an ensemble's members; None for a model that is one.
    curves : how each network learnt; empty for a model without epochs.
    record : architecture, hyperparameters and what was learnt where, ready for JSON; holds no times.
    seconds : ``cpu`` of all its trainings; ``wall`` of the call that trained it, models beside it included.
    weights : the arrays that the model is, by name.
    """

    name: str
    risk: NDArray[np.float64]
    out_of_fold: NDArray[np.float64]
    members: pd.DataFrame | None
    curves: tuple[LearningCurve, ...]
    record: dict[str, Any]
    seconds: dict[str, float]
    weights: Arrays


def train_models(
    cohort: Cohort,
    *,
    settings: TrainingSettings,
    names: Sequence[str] = MODELS,
    jobs: int | None = None,
    cluster: str | None = None,
    progress: Progress | None = None,
    finished: Path | None = None,
) -> tuple[TrainedModel, ...]:
    """Train the named models on the cohort's training split; the same bytes on any number of cores.

    Training sees ``train``; early stopping watches ``val``; the outcomes of every other split are
    never looked at. Folds are drawn from ``train`` alone, cases of one group together.

    Parameters
    ----------
    names : of ``logreg``, ``cnn`` and ``scattering``.
    jobs : trainings at once, at least 1; all cores by default.
    cluster : address of a Dask scheduler instead of local processes.
    finished : folder in which finished trainings are kept, and found again by a later call.

    Raises
    ------
    InputError : wrong name, seed or device; splits too small or without a class; constant images.
    """
    began = time.monotonic()
    check_trainable(cohort, settings, names)
    plan = {name: _PLANS[name](cohort, settings) for name in dict.fromkeys(names)}
    order = sorted(plan, key=lambda name: -len(plan[name]))
    fitted = run_jobs(
        Material.of(cohort),
        [job for name in order for job in plan[name]],
        workers=jobs,
        cluster=cluster,
        finished=finished,
        progress=progress,
    )
    found = iter(fitted)
    results = {name: [next(found) for _ in plan[name]] for name in order}
    wall = time.monotonic() - began
    return tuple(_assemble(name, cohort, plan[name], results[name], settings, wall) for name in names)


def combine(risks: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean of several models' risks on the logit scale, shape (cases,)."""
    return expit(np.mean([logit(risk) for risk in risks], axis=0))


def check_trainable(cohort: Cohort, settings: TrainingSettings, names: Sequence[str]) -> None:
    """Refuse what cannot be trained, before anything is started.

    Raises
    ------
    InputError : as :func:`train_models`.
    """
    unknown = [name for name in names if name not in MODELS]
    if unknown or len(set(names)) < len(names):
        raise InputError(f"Models to train are {', '.join(MODELS)}, each once; came {', '.join(names)}.")
    check_images(cohort.images)
    check_seeds(settings)
    check_device(settings.device)
    outcome = cohort.outcome[cohort.within("train")]
    if outcome.all() or not outcome.any():
        present = "without" if not outcome.any() else "with"
        raise InputError(
            f"A training split with and without {cohort.condition} is needed; "
            f"its {len(outcome)} cases are all {present} it. Check the outcome column and the split."
        )
    if "cnn" in names:
        check_stopping(settings.early_stopping, cohort.outcome[cohort.within("val")])


def seeds_of(settings: TrainingSettings) -> tuple[int, ...]:
    """The seed of every member, in order."""
    wanted = settings.members * settings.repeats
    return settings.seeds or tuple(settings.seed + number for number in range(wanted))


def check_seeds(settings: TrainingSettings) -> None:
    """Refuse a member plan that repeats a seed or lacks one.

    Raises
    ------
    InputError : repeated seeds, another number of seeds than members, fewer than two members.
    """
    seeds = seeds_of(settings)
    wanted = settings.members * settings.repeats
    if settings.members < 2 or settings.repeats < 1:
        raise InputError(
            f"At least 2 members and 1 repeat are needed; came {settings.members} and {settings.repeats}."
        )
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        raise InputError(
            f"Each member needs a seed of its own; {', '.join(map(str, repeated))} came more than once."
        )
    if len(seeds) != wanted:
        raise InputError(f"One seed per member is needed: {wanted}; came {len(seeds)}.")


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises
    ------
    InputError : an unknown or absent device.
    """
    import torch

    kind = device.split(":")[0]
    if kind not in DEVICES:
        raise InputError(f"The device must be one of {', '.join(DEVICES)}; came {device!r}.")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present[kind]:
        raise InputError(f"This machine has no {kind} device that torch can use; train with --device cpu.")


def _plan_network(cohort: Cohort, settings: TrainingSettings) -> list[Job]:
    train, watch = _places(cohort, "train"), _places(cohort, "val")
    if settings.early_stopping == "off":
        watch = watch[:0]
    drawings = [_folds(cohort, settings, settings.members, repeat) for repeat in range(settings.repeats)]
    plan = []
    for number, seed in enumerate(seeds_of(settings)):  # folds are numbered on from repeat to repeat
        repeat, left_out = divmod(number, settings.members)
        plan.append(
            Job(
                "cnn",
                train[drawings[repeat] != left_out],
                watch,
                settings.network,
                seed,
                fold=number,
                early_stopping=settings.early_stopping,
                device=settings.device,
            )
        )
    return plan


def _plan_logistic(cohort: Cohort, settings: TrainingSettings) -> list[Job]:
    train = _places(cohort, "train")
    return [Job("logreg", train, train[:0], settings.logistic, settings.seed, own_folds=settings.members)]


def _plan_scattering(cohort: Cohort, settings: TrainingSettings) -> list[Job]:
    train = _places(cohort, "train")
    return [
        Job("scattering", train, train[:0], settings.scattering, settings.seed, own_folds=settings.members)
    ]


_PLANS = {"logreg": _plan_logistic, "cnn": _plan_network, "scattering": _plan_scattering}


def _folds(cohort: Cohort, settings: TrainingSettings, folds: int, repeat: int) -> NDArray[np.int64]:
    train = cohort.within("train")
    seed = derived_seed(settings.seed, "folds", repeat)
    return grouped_folds(cohort.outcome[train], cohort.group[train], folds=folds, seed=seed)


def _places(cohort: Cohort, split: str) -> NDArray[np.int64]:
    return np.flatnonzero(cohort.within(split))


def _assemble(
    name: str, cohort: Cohort, plan: list[Job], fitted: list[Fitted], settings: TrainingSettings, wall: float
) -> TrainedModel:
    seconds = {"cpu": sum(one.seconds for one in fitted), "wall": wall}
    record: dict[str, Any] = {
        "kind": name,
        "image": list(cohort.images.shape[1:]),
        "condition": cohort.condition,
    }
    if name == "cnn":
        return _assemble_ensemble(cohort, plan, fitted, record, seconds, settings)
    record |= {"settings": asdict(plan[0].settings), "seed": plan[0].seed, **fitted[0].record}
    return TrainedModel(
        name, fitted[0].risk, fitted[0].out_of_fold, None, (), record, seconds, fitted[0].arrays
    )


def _assemble_ensemble(
    cohort: Cohort,
    plan: list[Job],
    fitted: list[Fitted],
    record: dict[str, Any],
    seconds: dict[str, float],
    settings: TrainingSettings,
) -> TrainedModel:
    curves = tuple(_curve(one.record["curve"]) for one in fitted)
    record |= {
        "architecture": ARCHITECTURE,
        "parameters": parameters_of(build_network(*cohort.images.shape[1:], seed=0)),
        "settings": asdict(settings.network),
        "early_stopping": {"kind": settings.early_stopping, "watched": "val"},
        "device": settings.device,
        "members": [
            {
                "seed": job.seed,
                "left_out_fold": job.fold,
                "trained_on": len(job.train),
                "scaling": one.record["scaling"],
                "stopped_epoch": curve.stopped_epoch,
                "kept_epoch": curve.kept_epoch,
                "best_val_epoch": curve.best_epoch,
                "stopping_fired": curve.fired,
            }
            for job, one, curve in zip(plan, fitted, curves, strict=True)
        ],
    }
    weights = {
        f"member{number}.{name}": array
        for number, one in enumerate(fitted)
        for name, array in one.arrays.items()
    }
    return TrainedModel(
        "cnn",
        np.mean([one.risk for one in fitted], axis=0),
        _held_out_mean(cohort, plan, fitted),
        pd.concat(
            [_member_rows(cohort, job, one) for job, one in zip(plan, fitted, strict=True)], ignore_index=True
        ),
        curves,
        record,
        seconds,
        weights,
    )


def _held_out(cohort: Cohort, job: Job) -> NDArray[np.bool_]:
    """Training cases that this job left out, shape (cases,)."""
    left_out = cohort.within("train")
    left_out[job.train] = False
    return left_out


def _held_out_mean(cohort: Cohort, plan: list[Job], fitted: list[Fitted]) -> NDArray[np.float64]:
    risks = np.stack(
        [np.where(_held_out(cohort, job), one.risk, np.nan) for job, one in zip(plan, fitted, strict=True)]
    )
    mean = np.full(len(cohort), np.nan)
    train = cohort.within("train")
    mean[train] = np.nanmean(risks[:, train], axis=0)
    return mean


def _member_rows(cohort: Cohort, job: Job, fitted: Fitted) -> pd.DataFrame:
    split = np.where(_held_out(cohort, job), "train_out_of_fold", cohort.split)
    return pd.DataFrame(
        {
            "model": "cnn",
            "split": split,
            "case": cohort.case,
            "group": cohort.group,
            "outcome": cohort.outcome.astype(int),
            "risk": fitted.risk,
            "seed": job.seed,
            "fold": job.fold,
        }
    )


def _curve(record: dict[str, Any]) -> LearningCurve:
    return LearningCurve(
        **{**record, "train_loss": tuple(record["train_loss"]), "val_loss": tuple(record["val_loss"])}
    )
