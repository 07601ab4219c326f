"""One training as a value: what it learns from, what came of it, the key it is filed under."""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from clineval.data.cohort import Cohort
from clineval.models.folds import grouped_folds
from clineval.models.logistic import LogisticModel, fit_logistic, logistic_risk
from clineval.models.network import ARCHITECTURE
from clineval.models.network_training import fit_member, member_risk
from clineval.models.preprocessing import learn_grey_scaling
from clineval.models.scattering import ENDS, scattering_features
from clineval.models.svm import SupportVectorModel, fit_support_vectors, support_vector_risk
from clineval.models.threads import one_thread
from clineval.settings import LogisticSettings, NetworkSettings, ScatteringSettings

FORMAT = 3  # of a finished training; another number is trained anew
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Material:
    """What all trainings of a run share: images (cases, height, width), outcomes and groups (cases,).

    Outcomes of cases outside the training and validation splits are not in it: they are set to False.
    """

    images: NDArray[np.uint8]
    outcome: NDArray[np.bool_]
    group: NDArray[np.str_]

    @staticmethod
    def of(cohort: Cohort) -> "Material":
        """The cohort's material, without the outcomes of the test split."""
        known = cohort.within("train", "val")
        return Material(cohort.images, np.where(known, cohort.outcome, False), cohort.group)


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes
    ----------
    kind : ``cnn`` (one network), ``logreg`` or ``scattering``.
    train, watch : indices into the material of the cases learnt from and of those watched to stop early.
    fold : number of the fold that was left out of ``train``; -1 where none was.
    keep_weights : False where only the risks are wanted, as in a study of thousands.
    own_folds : grouped folds of ``train`` whose held-out risks are wanted too; 0 for none.
    """

    kind: str
    train: NDArray[np.int64]
    watch: NDArray[np.int64]
    settings: NetworkSettings | LogisticSettings | ScatteringSettings
    seed: int
    fold: int = -1
    own_folds: int = 0
    early_stopping: str = "off"
    device: str = "cpu"
    keep_weights: bool = True


@dataclass(frozen=True)
class Fitted:
    """What came of one training.

    Attributes
    ----------
    arrays : the model's weights by name.
    record : hyperparameters and what was learnt, ready for JSON.
    risk : of every case of the material, shape (cases,).
    out_of_fold : of the training cases, shape (cases,), NaN where none was asked for.
    seconds : processor time.
    """

    arrays: Arrays
    record: dict[str, Any]
    risk: NDArray[np.float64]
    out_of_fold: NDArray[np.float64]
    seconds: float


def key_of(material: Material, job: Job) -> str:
    """The name that a training is filed under: a hash of its data, settings, seed, fold and libraries."""
    plain = {
        "format": FORMAT,
        "kind": job.kind,
        "architecture": ARCHITECTURE,
        "settings": asdict(job.settings),
        "seed": job.seed,
        "fold": job.fold,
        "own_folds": job.own_folds,
        "early_stopping": job.early_stopping,
        "device": job.device,
        "weights": job.keep_weights,
        "torch": torch.__version__,
        "shape": material.images.shape,
    }
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
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


def perform(material: Material, job: Job) -> Fitted:
    """Do one training, on one thread; depends on the arguments alone."""
    began = time.process_time()
    with _ALONE, one_thread(job.device), _memory_named():
        arrays, record, risk, out_of_fold = _TRAININGS[job.kind](material, job)
    kept = arrays if job.keep_weights else {}
    return Fitted(kept, record, risk, out_of_fold, time.process_time() - began)


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
_Parts = tuple[Arrays, dict[str, Any], NDArray[np.float64], NDArray[np.float64]]


def _network(material: Material, job: Job) -> _Parts:
    images, outcome = material.images[job.train], material.outcome[job.train]
    scaling = learn_grey_scaling(images, learnt_on="train")
    watch = (material.images[job.watch], material.outcome[job.watch]) if len(job.watch) else None
    fitted = fit_member(
        images,
        outcome,
        scaling=scaling,
        settings=cast(NetworkSettings, job.settings),
        seed=job.seed,
        fold=job.fold,
        early_stopping=job.early_stopping,
        watch=watch,
        device=job.device,
    )
    risk = member_risk(fitted.weights, material.images, scaling=scaling, device=job.device)
    record = {"scaling": asdict(scaling), "curve": asdict(fitted.curve)}
    return dict(fitted.weights), record, risk, _none(len(risk))


def _logistic(material: Material, job: Job) -> _Parts:
    settings = cast(LogisticSettings, job.settings)

    def fit(chosen: NDArray[np.int64]) -> LogisticModel:
        return fit_logistic(
            material.images[chosen],
            material.outcome[chosen],
            material.group[chosen],
            settings=settings,
            seed=job.seed,
        )

    model = fit(job.train)
    out_of_fold = _none(len(material.images))
    for inside, outside in _own_folds(material, job):
        out_of_fold[outside] = logistic_risk(fit(inside), material.images[outside])
    arrays = {
        "coefficients": model.coefficients,
        "mean": model.scaling.mean,
        "sd": model.scaling.sd,
        "intercept": np.array([model.intercept]),
    }
    record = {
        "strength": model.strength,
        "log_losses": dict(zip(map(str, settings.strengths), model.log_losses, strict=True)),
        "learnt_on": model.scaling.learnt_on,
    }
    return arrays, record, logistic_risk(model, material.images), out_of_fold


def _scattering(material: Material, job: Job) -> _Parts:
    features = scattering_features(material.images)
    out_of_fold = _none(len(features))
    settings = cast(ScatteringSettings, job.settings)

    def fit(chosen: NDArray[np.int64]) -> SupportVectorModel:
        return fit_support_vectors(
            features[chosen],
            material.outcome[chosen],
            material.group[chosen],
            ends=ENDS,
            settings=settings,
            seed=job.seed,
        )

    model = fit(job.train)
    for inside, outside in _own_folds(material, job):
        out_of_fold[outside] = support_vector_risk(fit(inside), features[outside])
    arrays: Arrays = {
        "mean": model.mean,
        "sd": model.sd,
        "support_vectors": model.support_vectors,
        "dual": model.dual,
        "intercept": np.array([model.intercept]),
        "platt": np.array([model.slope, model.platt_intercept]),
    }
    record = {
        "ends": list(model.ends),
        "gammas": list(model.gammas),
        "vectors": len(model.dual),
        "learnt_on": "train",
    }
    return arrays, record, support_vector_risk(model, features), out_of_fold


_TRAININGS = {"cnn": _network, "logreg": _logistic, "scattering": _scattering}


def _own_folds(material: Material, job: Job) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Cases inside and outside each fold of the training cases, as indices into the material."""
    if not job.own_folds:
        return []
    fold = grouped_folds(
        material.outcome[job.train], material.group[job.train], folds=job.own_folds, seed=job.seed
    )
    return [(job.train[fold != number], job.train[fold == number]) for number in range(job.own_folds)]


def _none(cases: int) -> NDArray[np.float64]:
    return np.full(cases, np.nan)
