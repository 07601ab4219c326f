"""Training of a run's models: fold members, out-of-fold risks, one stored form for each model."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.data.cohort import Cohort, derived_seed, grouped_folds
from clineval.errors import InputError, Progress, option
from clineval.models.classifier import BUILT_IN, KINDS, Given
from clineval.models.network import LearningCurve
from clineval.models.parallel import Fitted, Indices, Job, Material, run_jobs
from clineval.models.preprocessing import check_images
from clineval.models.stored import Floats, Stored
from clineval.settings import WITHOUT_NEAR_DUPLICATES, TrainingSettings

DEVICES = ("cpu", "cuda", "mps")
OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,59}")  # of a model of a user's
TAKEN = (*BUILT_IN, "combined")
EARLY_STOPPING = ("guard", "strict", "off")


@dataclass(frozen=True)
class TrainedModel:
    """A model in its stored form, and what that gives on the cohort it was trained in.

    Attributes
    ----------
    name : that its risks go by.
    kind : of ``classifier.KINDS``.
    risk : of every case, float64, shape (cases,), not recalibrated.
    out_of_fold : of every training case by models that never saw its group; NaN outside the training split.
    members : the table of an ensemble's members; None for a model that is one.
    curves : how each network learnt; empty for a model without epochs.
    seconds : processor time of all its trainings.
    """

    name: str
    kind: str
    stored: Stored
    risk: Floats
    out_of_fold: Floats
    members: pd.DataFrame | None
    curves: tuple[LearningCurve, ...]
    seconds: float


def train_models(
    cohort: Cohort,
    *,
    settings: TrainingSettings,
    names: Sequence[str] | None = None,
    given: Sequence[Given] = (),
    jobs: int | None = None,
    finished: Path | None = None,
    progress: Progress | None = None,
) -> tuple[TrainedModel, ...]:
    """The named models of one cohort, by default those of the settings; as :func:`train_cohorts`."""
    wanted = settings.models if names is None else names
    (models,) = train_cohorts(
        [(cohort, wanted)], settings=settings, given=given, jobs=jobs, finished=finished, progress=progress
    )
    return models


def train_cohorts(
    wanted: Sequence[tuple[Cohort, Sequence[str]]],
    *,
    settings: TrainingSettings,
    given: Sequence[Given] = (),
    jobs: int | None = None,
    finished: Path | None = None,
    progress: Progress | None = None,
) -> tuple[tuple[TrainedModel, ...], ...]:
    """Train models on the training split of each cohort; the same bytes on any number of cores.

    Training sees ``train``; early stopping watches ``val``; the outcomes of every other split are
    never looked at. Folds are drawn from ``train`` alone, cases of one group together.

    Parameters
    ----------
    wanted : cohorts, each with the names of its models, of ``classifier.BUILT_IN`` or ``given``.
    given : models of the user's.
    jobs : trainings at once, at least 1; all cores by default.
    finished : folder in which finished trainings are kept, and found again by a later call.
    progress : called with (trainings done, trainings in all).

    Raises
    ------
    InputError : wrong name, seed or device; splits too small or without a class; constant images.
    """
    for cohort, names in wanted:
        check_trainable(cohort, settings, names, given)
    own = {model.name: model for model in given}
    plans = [
        (
            cohort,
            Material.of(cohort, own[name].kind if name in own else name),
            name,
            plan_jobs(cohort, name, settings, own.get(name)),
        )
        for cohort, names in wanted
        for name in names
    ]
    plans_in_turn = sorted(plans, key=lambda plan: -len(plan[3]))  # what takes longest starts first
    tasks = [(material, job) for _, material, _, planned in plans_in_turn for job in planned]
    arriving = iter(run_jobs(tasks, workers=jobs, finished=finished, progress=progress))
    fitted = {id(planned): [next(arriving) for _ in planned] for *_, planned in plans_in_turn}
    trained = iter(
        [_assemble(name, cohort, jobs_, fitted[id(jobs_)], settings) for cohort, _, name, jobs_ in plans]
    )
    return tuple(tuple(next(trained) for _ in names) for _, names in wanted)


def check_trainable(
    cohort: Cohort, settings: TrainingSettings, names: Sequence[str], given: Sequence[Given] = ()
) -> None:
    """Refuse what cannot be trained, before anything is started.

    Raises
    ------
    InputError : as :func:`train_cohorts`.
    """
    check_names(names, given)
    check_images(cohort.images)
    built_in = [name for name in names if name in BUILT_IN]
    for name in built_in:
        KINDS[name].check(*cohort.images.shape[1:])
    check_seeds(settings)
    check_device(settings.device)
    outcome = cohort.outcome[cohort.within("train")]
    if outcome.all() or not outcome.any():
        present = "without" if not outcome.any() else "with"
        raise InputError(
            f"Expected a training split with and without {cohort.condition}; "
            f"its {len(outcome)} cases are all {present} it. Check the outcome column and the split."
        )
    check_early_stopping(settings.early_stopping)
    if settings.early_stopping != "off" and any(KINDS[name].join for name in built_in):
        check_watched(cohort.outcome[cohort.within("val")])


def check_names(names: Sequence[str], given: Sequence[Given] = ()) -> None:
    """Refuse unknown, repeated or no names of models, and a given model whose name is taken.

    Raises
    ------
    InputError : as above.
    """
    own = [model.name for model in given]
    for name in own:
        check_own_name(name)
    known = {*BUILT_IN, *own}
    if not names or not set(names) <= known or len(set(names)) < len(names) or len(set(own)) < len(own):
        there = ", ".join(dict.fromkeys([*BUILT_IN, *own]))
        raise InputError(f"Models to train are {there}, each once; got {', '.join(names) or 'none'}.")


def check_own_name(name: str) -> None:
    """Refuse a name that no model of a user's may have.

    Raises
    ------
    InputError : as above.
    """
    if not OWN_NAME.fullmatch(name) or name in TAKEN or name.endswith(WITHOUT_NEAR_DUPLICATES):
        raise InputError(
            f"A model of yours needs a name of letters, digits, . + - and _, none of {', '.join(TAKEN)}; "
            f"got {name!r:.80}."
        )


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
            f"At least 2 members and 1 repeat are needed; got {settings.members} and {settings.repeats}."
        )
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        raise InputError(
            f"Each member needs a seed of its own; {', '.join(map(str, repeated))} was given more than once."
        )
    if len(seeds) != wanted:
        raise InputError(f"One seed per member is needed: {wanted}; got {len(seeds)}.")


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises
    ------
    InputError : an unknown or absent device.
    """
    kind = device.split(":")[0]
    if kind not in DEVICES:
        raise InputError(f"The device must be one of {', '.join(DEVICES)}; got {device!r}.")
    if kind != "cpu" and not _is_present(kind):
        on_cpu = option("--device cpu", 'device="cpu"')
        raise InputError(f"This machine has no {kind} device that torch can use; train with {on_cpu}.")


def check_early_stopping(kind: str) -> None:
    """Refuse an unknown kind of early stopping.

    Raises
    ------
    InputError : as above.
    """
    if kind not in EARLY_STOPPING:
        raise InputError(f"Early stopping must be one of {', '.join(EARLY_STOPPING)}; got {kind!r}.")


def check_watched(outcome: NDArray[np.bool_]) -> None:
    """Refuse a validation split that early stopping cannot watch.

    Raises
    ------
    InputError : there is none, or it lacks a class.
    """
    if not len(outcome):
        raise InputError(
            "Early stopping needs a validation split to watch; there is none. "
            f"Give the cohort a split named val, or train with {_without_stopping()}."
        )
    if outcome.all() or not outcome.any():
        missing = "without" if outcome.all() else "with"
        raise InputError(
            f"Early stopping needs validation cases with and without the condition; none of the "
            f"{len(outcome)} is {missing} it. Use another split, or train with {_without_stopping()}."
        )


def _without_stopping() -> str:
    return option("--early-stopping off", 'early_stopping="off"')


def plan_jobs(cohort: Cohort, name: str, settings: TrainingSettings, given: Given | None = None) -> list[Job]:
    """The trainings that a model takes: one with its own folds, or one for each member of an ensemble."""
    train = np.flatnonzero(cohort.within("train"))
    if given is not None:
        folds = settings.members if KINDS[given.kind].learns else 0
        return [
            Job(
                given.kind,
                train,
                train[:0],
                given.settings,
                settings.seed,
                own_folds=folds,
                call=given.call,
            )
        ]
    kind = KINDS[name]
    if kind.join is None:
        folds = settings.members
        return [Job(name, train, train[:0], kind.settings(settings), settings.seed, own_folds=folds)]
    watch = np.flatnonzero(cohort.within("val"))
    drawings = [_folds(cohort, settings, repeat) for repeat in range(settings.repeats)]
    return [
        Job(
            name,
            train[drawings[number // settings.members] != number % settings.members],
            watch if settings.early_stopping != "off" else watch[:0],
            kind.settings(settings),
            seed,
            fold=number,  # numbered on from repeat to repeat
            strict=settings.early_stopping == "strict",
            device=settings.device,
        )
        for number, seed in enumerate(seeds_of(settings))
    ]


def _is_present(kind: str) -> bool:
    import torch

    return torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()


def _folds(cohort: Cohort, settings: TrainingSettings, repeat: int) -> Indices:
    train = cohort.within("train")
    seed = derived_seed(settings.seed, "folds", repeat)
    return grouped_folds(cohort.outcome[train], cohort.group[train], folds=settings.members, seed=seed)


def _assemble(
    name: str, cohort: Cohort, plan: list[Job], fitted: list[Fitted], settings: TrainingSettings
) -> TrainedModel:
    kind, seconds = plan[0].kind, sum(one.seconds for one in fitted)
    join = KINDS[kind].join
    about = {"kind": kind, "image": list(cohort.images.shape[1:]), "condition": cohort.condition}
    if join is None:
        (one,) = fitted
        how = {"settings": asdict(plan[0].settings), "seed": plan[0].seed} if name in BUILT_IN else {}
        stored = Stored({**about, **how, **one.stored.record}, one.stored.arrays)
        return TrainedModel(name, kind, stored, one.risk, one.out_of_fold, None, (), seconds)
    curves = tuple(_curve(one.stored.record["curve"]) for one in fitted)
    joined = join([one.stored for one in fitted])
    record = {**about, **joined.record, **_ensemble_record(joined, plan, curves, settings)}
    del record["curve"]
    return TrainedModel(
        name,
        kind,
        Stored(record, joined.arrays),
        np.mean([one.risk for one in fitted], axis=0),
        _held_out_mean(cohort, plan, fitted),
        pd.concat(
            [_member_rows(cohort, job, one) for job, one in zip(plan, fitted, strict=True)], ignore_index=True
        ),
        curves,
        seconds,
    )


def _ensemble_record(
    joined: Stored, plan: list[Job], curves: tuple[LearningCurve, ...], settings: TrainingSettings
) -> dict[str, Any]:
    """What an ensemble's record says beside its members' own: how, and how long, each was trained."""
    return {
        "settings": asdict(plan[0].settings),
        "early_stopping": {"kind": settings.early_stopping, "watched": "val"},
        "device": settings.device,
        "members": [
            {
                "seed": job.seed,
                "left_out_fold": job.fold,
                "trained_on": len(job.train),
                **member,
                "stopped_epoch": curve.stopped_epoch,
                "kept_epoch": curve.kept_epoch,
                "best_val_epoch": curve.best_epoch,
                "stopping_fired": curve.fired,
            }
            for job, member, curve in zip(plan, joined.record["members"], curves, strict=True)
        ],
    }


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
            "model": job.kind,
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
