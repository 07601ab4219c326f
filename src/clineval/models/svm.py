"""Support vector machine on an image's features, with risks by Platt scaling.

Platt J (1999) Probabilistic outputs for support vector machines; the fit follows
Lin H-T, Lin C-J, Weng RC (2007), doi:10.1007/s10994-007-5018-6.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clineval.data.cohort import grouped_folds, some_cases
from clineval.errors import InputError
from clineval.models.stored import Arrays, Floats, Shapes, Stored, finite, positive
from clineval.settings import ScatteringSettings

CHUNK = 64  # cases scored at a time; filled up, so that no sum depends on how many are asked for
Features = NDArray[np.float32]


@dataclass(frozen=True)
class SupportVectorModel:
    """A fitted machine on standardised features; its kernel is the mean of one per part of the features.

    A part's kernel is exp(-gamma * squared distance).

    Attributes
    ----------
    mean, sd : of each feature over the training cases, shape (features,).
    support_vectors : standardised features of the cases at or inside the margin, shape (vectors, features).
    dual : weight of each support vector times its sign, shape (vectors,).
    ends : one past the last feature of each part; ``gammas`` are those of the parts' kernels.
    slope, platt_intercept : risk = inverse logit of slope * decision + platt_intercept.
    """

    mean: Features
    sd: Features
    support_vectors: Features
    dual: Floats
    intercept: float
    ends: tuple[int, ...]
    gammas: tuple[float, ...]
    slope: float
    platt_intercept: float

    def risk(self, features: Features) -> Floats:
        """Risk of each case, shape (cases,), from its features, shape (cases, features)."""
        return self.risk_by(self.similarity(features))

    def risk_by(self, similarity: Floats) -> Floats:
        """Risk of each case, shape (cases,), from its similarity to the support vectors."""
        return expit(self.slope * self._weighed(similarity) + self.platt_intercept)

    def decision(self, features: Features) -> Floats:
        """Signed distance to the margin, shape (cases,); positive on the side of the condition."""
        starts = range(0, len(features), CHUNK)
        parts = [self._weighed(self.similarity(features[start : start + CHUNK])) for start in starts]
        return np.concatenate([np.empty(0), *parts])

    def similarity(self, features: Features) -> Floats:
        """How alike each case is to each support vector, 0 to 1, shape (cases, vectors)."""
        found = np.empty((len(features), len(self.support_vectors)))
        for start in range(0, len(features), CHUNK):
            part = features[start : start + CHUNK]
            full = np.zeros((CHUNK, features.shape[1]))
            full[: len(part)] = finite((part - self.mean) / self.sd)
            found[start : start + CHUNK] = _kernel(full, self._vectors, self._parts)[: len(part)]
        return found

    def standardised(self, features: Features) -> Floats:
        """The features as the kernel takes them, shape (cases, features)."""
        return finite((features - self.mean) / self.sd).astype(np.float64)

    def scaled_by(self, features: Features) -> "SupportVectorModel":
        """The machine with the mean and spread of these cases in place of those of training."""
        mean, sd = _scale(features)
        return replace(self, mean=mean, sd=sd)

    def kernel(self, left: Floats, right: Floats) -> Floats:
        """How alike cases are, shape (left, right), from their standardised features."""
        return _kernel(left, _Vectors.of(right, self._parts), self._parts)

    def _weighed(self, similarity: Floats) -> Floats:
        return np.sum(similarity * self.dual, axis=1) + self.intercept

    @property
    def _parts(self) -> tuple["_Part", ...]:
        return _parts(self.ends, self.gammas)

    @cached_property
    def _vectors(self) -> "_Vectors":
        return _Vectors.of(self.support_vectors.astype(np.float64), self._parts)


@dataclass(frozen=True)
class _Part:
    """Features that share a kernel."""

    place: slice
    gamma: float


@dataclass(frozen=True)
class _Vectors:
    """Standardised features and their squared lengths by part: as long to compute as a dozen risks."""

    features: Floats
    squares: tuple[Floats, ...]

    @staticmethod
    def of(features: Floats, parts: tuple[_Part, ...]) -> "_Vectors":
        return _Vectors(features, tuple(_squares(features[:, part.place]) for part in parts))


@dataclass(frozen=True)
class _Machine:
    """A machine before Platt scaling; ``support`` are the places of its vectors among the cases."""

    support: NDArray[np.int32]
    dual: Floats
    intercept: float


def fit(
    features: Features,
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    ends: tuple[int, ...],
    settings: ScatteringSettings,
    seed: int,
) -> SupportVectorModel:
    """The machine on all cases given, its Platt scaling on decision values of grouped folds of them.

    Of more than ``settings.most`` cases it learns from so many, for its kernel grows with their square.

    Parameters
    ----------
    features : float32, shape (cases, features).
    ends : one past the last feature of each part; as many parts as ``settings.sharpness`` has numbers.

    Raises
    ------
    InputError : all features are constant, or there are too few groups for the folds.
    """
    some = some_cases(outcome, group, most=settings.most, seed=seed)
    if len(some) < len(outcome):
        features, outcome, group = features[some], outcome[some], group[some]
    mean, sd = _scale(features)
    standard = finite((features - mean) / sd)
    sizes = np.diff((0, *ends)).tolist()  # a radial kernel's usual gamma is 1 / features of unit variance
    gammas = tuple(sharpness / size for sharpness, size in zip(settings.sharpness, sizes, strict=True))
    parts = _parts(ends, gammas)
    exact = _Vectors.of(standard.astype(np.float64), parts)
    kernel = _kernel(exact.features, exact, parts)
    fold = grouped_folds(outcome, group, folds=settings.folds, seed=seed)
    slope, intercept = fit_platt(
        out_of_fold_decisions(kernel, outcome, fold, penalty=settings.penalty), outcome
    )
    machine = _fit(kernel, outcome, settings.penalty)
    return SupportVectorModel(
        mean,
        sd,
        support_vectors=standard[machine.support],
        dual=machine.dual,
        intercept=machine.intercept,
        ends=ends,
        gammas=gammas,
        slope=slope,
        platt_intercept=intercept,
    )


def stored(model: SupportVectorModel) -> Stored:
    """The machine in its stored form."""
    record = {
        "ends": list(model.ends),
        "gammas": list(model.gammas),
        "vectors": len(model.dual),
        "learnt_on": "train",
    }
    arrays: Arrays = {
        "mean": model.mean,
        "sd": model.sd,
        "support_vectors": model.support_vectors,
        "dual": model.dual,
        "intercept": np.array([model.intercept]),
        "platt": np.array([model.slope, model.platt_intercept]),
    }
    return Stored(record, arrays)


def shapes(record: Mapping[str, Any], *, ends: tuple[int, ...]) -> Shapes:
    """The arrays of a stored machine on features whose parts end there; ValueError for another record."""
    vectors, features = int(record["vectors"]), ends[-1]
    if tuple(record["ends"]) != ends or len(record["gammas"]) != len(ends):
        raise ValueError(f"parts of the features that end at {record['ends']}")
    return {
        "mean": (features,),
        "sd": (features,),
        "support_vectors": (vectors, features),
        "dual": (vectors,),
        "intercept": (1,),
        "platt": (2,),
    }


def read(record: Mapping[str, Any], arrays: Arrays) -> SupportVectorModel:
    """The machine from its stored form; ValueError where a gamma or a spread is not above 0."""
    if not (arrays["sd"] > 0).all():
        raise ValueError("a feature's standard deviation is not above 0")
    slope, platt_intercept = map(float, arrays["platt"])
    return SupportVectorModel(
        **{name: arrays[name] for name in ("mean", "sd", "support_vectors", "dual")},
        intercept=float(arrays["intercept"][0]),
        ends=tuple(map(int, record["ends"])),
        gammas=tuple(map(positive, record["gammas"])),
        slope=slope,
        platt_intercept=platt_intercept,
    )


def out_of_fold_decisions(
    kernel: Floats, outcome: NDArray[np.bool_], fold: NDArray[np.int64], *, penalty: float
) -> Floats:
    """Decision value of each case by a machine that saw no outcome of its fold, shape (cases,).

    The features were scaled once for all folds: one kernel serves them all, and no outcome is in it.
    """
    decision = np.empty(len(outcome))
    for number in np.unique(fold):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        machine = _fit(kernel[np.ix_(inside, inside)], outcome[inside], penalty)
        seen = kernel[np.ix_(outside, inside[machine.support])]
        decision[outside] = np.sum(seen * machine.dual, axis=1) + machine.intercept
    return decision


def fit_platt(decision: Floats, outcome: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of the logistic curve from decision value to risk, by Newton's method.

    The two targets are drawn in from 0 and 1 as Platt did, so that separable cases have an answer too.
    """
    events, others = int(outcome.sum()), int((~outcome).sum())
    target = np.where(outcome, (events + 1) / (events + 2), 1 / (others + 2))
    design = np.stack([decision, np.ones_like(decision)], axis=1)
    answer = np.array([0.0, np.log((events + 1) / (others + 1))])
    loss = _platt_loss(design, answer, target)
    for _ in range(100):
        risk = expit(design @ answer)
        gradient = design.T @ (risk - target)
        step = np.linalg.solve(design.T @ (design * (risk * (1 - risk))[:, None]), gradient)
        scale = 1.0
        while _platt_loss(design, answer - scale * step, target) > loss and scale > 1e-10:
            scale /= 2
        answer = answer - scale * step
        loss = _platt_loss(design, answer, target)
        if np.abs(gradient).max() < 1e-10 * len(target):
            break
    return float(answer[0]), float(answer[1])


def _platt_loss(design: Floats, answer: Floats, target: Floats) -> float:
    log_odds = design @ answer
    return float(np.sum(np.logaddexp(0.0, log_odds) - target * log_odds))


def _scale(features: Features) -> tuple[Features, Features]:
    """Mean and spread of each feature; one that never varies keeps a spread of 1."""
    varies = np.ptp(features, axis=0) > 0  # rounding leaves a constant feature a spread of its own
    if not varies.any():
        raise InputError(
            "Expected images that differ, to learn from; all features of the training split are constant. "
            "Look for blank images."
        )
    return features.mean(axis=0), np.where(varies, features.std(axis=0), np.float32(1))


def _fit(kernel: Floats, outcome: NDArray[np.bool_], penalty: float) -> _Machine:
    from sklearn.svm import SVC

    machine = SVC(C=penalty, kernel="precomputed").fit(kernel, outcome)
    return _Machine(machine.support_, machine.dual_coef_[0], float(machine.intercept_[0]))


def _parts(ends: tuple[int, ...], gammas: tuple[float, ...]) -> tuple[_Part, ...]:
    places = pairwise((0, *ends))
    return tuple(_Part(slice(*place), gamma) for place, gamma in zip(places, gammas, strict=True))


def _kernel(left: Floats, right: _Vectors, parts: tuple[_Part, ...]) -> Floats:
    """The mean over the parts of their kernels, for all pairs, shape (left, right)."""
    kernels = np.zeros((len(left), len(right.features)))
    for part, lengths in zip(parts, right.squares, strict=True):
        ours, theirs = left[:, part.place], right.features[:, part.place]
        squared = np.maximum(_squares(ours)[:, None] + lengths - 2 * (ours @ theirs.T), 0.0)
        kernels += np.exp(-part.gamma * squared)
    return kernels / len(parts)


def _squares(features: Floats) -> Floats:
    return (features**2).sum(axis=1)
