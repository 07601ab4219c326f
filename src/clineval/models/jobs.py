"""One training as a value: what it learns from, what it gave, the key it is filed under."""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clineval.data.cohort import Cohort
from clineval.data.splits import grouped_folds
from clineval.models.classifier import KINDS, Lesson, risk_of
from clineval.models.network import ARCHITECTURE
from clineval.models.preprocessing import View
from clineval.models.stored import Floats, Stored
from clineval.models.user_model import Factory, Learnt

FORMAT = 4  # of a finished training; another number is trained anew
PACKAGES = ("torch", "onnxruntime", "scikit-learn", "numpy", "scipy")
COLOUR = ("python",)  # kinds that see a set in colour as it is
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Material:
    """What all trainings of a run share: images (cases, height, width), outcomes and groups (cases,).

    Outcomes of cases outside the training and validation splits are not in it: they are set to False.
    For a user's Python model the images of a set in colour are in colour, (cases, height, width, 3).
    """

    images: NDArray[np.uint8]
    outcome: NDArray[np.bool_]
    group: NDArray[np.str_]

    @staticmethod
    def of(cohort: Cohort, kind: str | None = None) -> "Material":
        """The cohort's material for a kind of model, without the outcomes of the test split."""
        known = cohort.within("train", "val")
        images = cohort.images
        if kind in COLOUR and cohort.colour is not None:
            images = cohort.colour
        return Material(images, np.where(known, cohort.outcome, False), cohort.group)


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes
    ----------
    kind : of ``classifier.KINDS``; ``settings`` are that kind's.
    train, watch : indices into the material of the cases learnt from and of those watched to stop early.
    fold : number of the fold that was left out of ``train``; -1 where none was.
    own_folds : grouped folds of ``train`` whose held-out risks are wanted too; 0 for none.
    strict : of early stopping, always keep the moment of smallest loss.
    keep_model : False where only the risks are wanted, as in a study of thousands.
    call : the user's factory where no file leads to it; such a training is done in this process, and
        never filed.
    """

    kind: str
    train: Indices
    watch: Indices
    settings: Any
    seed: int
    fold: int = -1
    own_folds: int = 0
    strict: bool = False
    device: str = "cpu"
    keep_model: bool = True
    call: Factory | None = None


@dataclass(frozen=True)
class Fitted:
    """What one training gave.

    Attributes
    ----------
    stored : the model; without arrays where it was not to be kept.
    risk : of every case of the material, by the stored form, shape (cases,).
    out_of_fold : of the training cases, shape (cases,), NaN where none was asked for.
    seconds : processor time.
    """

    stored: Stored
    risk: Floats
    out_of_fold: Floats
    seconds: float


def key_of(material: Material, job: Job) -> str:
    """The name that a training is filed under: a hash of its data, settings, seed, fold and libraries."""
    facts = {
        "format": FORMAT,
        "kind": job.kind,
        "architecture": ARCHITECTURE,
        "settings": asdict(job.settings),
        "seed": job.seed,
        "fold": job.fold,
        "own_folds": job.own_folds,
        "strict": job.strict,
        "device": job.device,
        "keep_model": job.keep_model,
        "versions": versions(),
        "shape": material.images.shape,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for values in (
        material.images,
        material.outcome[job.train],
        material.outcome[job.watch],
        job.train,
        job.watch,
    ):
        digest.update(np.ascontiguousarray(values).tobytes())
    digest.update("\n".join(str(name) for name in material.group[job.train]).encode())
    return f"{job.kind}-{digest.hexdigest()[:24]}"


def versions() -> dict[str, str]:
    """Of the packages that decide a training's bits."""
    return {name: version(name) for name in PACKAGES}


def perform(material: Material, job: Job) -> Fitted:
    """Do one training, on one thread, and score every case by the stored form; depends on these alone."""
    began = _processor_seconds()
    with _ALONE, threadpool_limits(1), _memory_named():
        kind = KINDS[job.kind]
        if kind.at_once is not None:
            return _at_once(kind.at_once, material, job, began)
        whole = View(material.images)
        stored = _fit(material, job, whole, job.train)
        risk = risk_of(kind.read(stored.record, stored.arrays), whole)
        out_of_fold = np.full(len(whole), np.nan)
        for inside, outside in _own_folds(material, job):
            fold = _fit(material, job, whole, inside)
            out_of_fold[outside] = risk_of(kind.read(fold.record, fold.arrays), whole.take(outside))
    kept = stored if job.keep_model else Stored(stored.record, {})
    return Fitted(kept, risk, out_of_fold, _processor_seconds() - began)


def _at_once(learn: Callable[..., Learnt], material: Material, job: Job, began: float) -> Fitted:
    """The training of a model that learns from the split and its folds in one go."""
    outcome, group = material.outcome[job.train], material.group[job.train]
    learnt = learn(
        job.settings,
        material.images,
        outcome,
        group,
        train=job.train,
        folds=job.own_folds,
        seed=job.seed,
        factory=job.call,
    )
    out_of_fold = np.full(len(material.images), np.nan)
    out_of_fold[job.train] = learnt.out_of_fold
    kept = learnt.stored if job.keep_model else Stored(learnt.stored.record, {})
    return Fitted(kept, learnt.risk, out_of_fold, _processor_seconds() - began)


def _processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def _fit(material: Material, job: Job, whole: View, cases: Indices) -> Stored:
    return KINDS[job.kind].fit(
        Lesson(
            view=whole.take(cases),
            outcome=material.outcome[cases],
            group=material.group[cases],
            settings=job.settings,
            seed=job.seed,
            fold=job.fold,
            watched=whole.take(job.watch),
            watched_outcome=material.outcome[job.watch],
            strict=job.strict,
            device=job.device,
        )
    )


@contextlib.contextmanager
def _memory_named() -> Iterator[None]:
    """Raise as MemoryError what torch, out of memory, raises as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if "not enough memory" in str(error) or "out of memory" in str(error):
            raise MemoryError(str(error).splitlines()[0]) from error
        raise


_ALONE = threading.Lock()  # torch's chance and thread count are the process's: two threads would mix them


def _own_folds(material: Material, job: Job) -> list[tuple[Indices, Indices]]:
    """Cases inside and outside each fold of the training cases, as indices into the material."""
    if not job.own_folds:
        return []
    fold = grouped_folds(
        material.outcome[job.train], material.group[job.train], folds=job.own_folds, seed=job.seed
    )
    return [(job.train[fold != number], job.train[fold == number]) for number in range(job.own_folds)]
