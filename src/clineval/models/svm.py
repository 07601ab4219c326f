"""Support vector machine on scattering features, with risks by Platt scaling.

Platt J (1999) Probabilistic outputs for support vector machines; the fit follows
Lin H-T, Lin C-J, Weng RC (2007), doi:10.1007/s10994-007-5018-6.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clineval.errors import InputError
from clineval.models.arrays import finite
from clineval.models.folds import grouped_folds, some_cases
from clineval.settings import ScatteringSettings

CHUNK = 64  # cases scored at a time; fixed, so that a risk does not depend on how many are asked for


@dataclass(frozen=True)
class SupportVectorModel:
    """A fitted machine on standardised features; its kernel is the mean of one per part of the features.

    A part's kernel is exp(-gamma * squared distance).

    Attributes
    ----------
    mean, sd : of each feature over the training cases, shape (features,).
    support_vectors : standardised features of the cases at or inside the margin, shape (vectors, features).
    dual : weight of each support vector times its sign, shape (vectors,).
    ends : one past the last feature of each part.
    gammas : of the parts' kernels.
    slope, platt_intercept : risk = inverse logit of slope * decision + platt_intercept.
    """

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    support_vectors: NDArray[np.float32]
    dual: NDArray[np.float64]
    intercept: float
    ends: tuple[int, ...]
    gammas: tuple[float, ...]
    slope: float
    platt_intercept: float


@dataclass(frozen=True)
class _Machine:
    """A machine before Platt scaling; ``support`` are the places of its vectors among the cases."""

    support: NDArray[np.int32]
    dual: NDArray[np.float64]
    intercept: float


def fit_support_vectors(
    features: NDArray[np.float32],
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    ends: tuple[int, ...],
    settings: ScatteringSettings,
    seed: int = 0,
) -> SupportVectorModel:
    """The machine on all cases given, its Platt scaling on decision values of grouped folds of them.

    Of more than ``settings.most`` cases it learns from so many, for its kernel grows with their square.

    Parameters
    ----------
    features : float32, shape (cases, features), as :func:`scattering.scattering_features` gives them.
    ends : one past the last feature of each part; as many parts as ``settings.sharpness`` has numbers.
    """
    some = some_cases(outcome, group, most=settings.most, seed=seed)
    if len(some) < len(outcome):
        features, outcome, group = features[some], outcome[some], group[some]
    mean, sd = _scale(features)
    standard = finite((features - mean) / sd)
    sizes = np.diff((0, *ends)).tolist()  # a radial kernel's usual gamma is 1 / features of unit variance
    gammas = tuple(sharpness / size for sharpness, size in zip(settings.sharpness, sizes, strict=True))
    exact = standard.astype(np.float64)
    kernel = _kernel(exact, exact, ends, gammas)
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


def decision_values(model: SupportVectorModel, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Signed distance to the margin, shape (cases,); positive on the side of the condition."""
    vectors = model.support_vectors.astype(np.float64)
    parts = [
        _chunk(model, vectors, features[start : start + CHUNK]) for start in range(0, len(features), CHUNK)
    ]
    return np.concatenate(parts) + model.intercept


def support_vector_risk(model: SupportVectorModel, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Risk of each case, shape (cases,)."""
    return expit(model.slope * decision_values(model, features) + model.platt_intercept)


def out_of_fold_decisions(
    kernel: NDArray[np.float64], outcome: NDArray[np.bool_], fold: NDArray[np.int64], *, penalty: float
) -> NDArray[np.float64]:
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


def fit_platt(decision: NDArray[np.float64], outcome: NDArray[np.bool_]) -> tuple[float, float]:
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


def _platt_loss(
    design: NDArray[np.float64], answer: NDArray[np.float64], target: NDArray[np.float64]
) -> float:
    log_odds = design @ answer
    return float(np.sum(np.logaddexp(0.0, log_odds) - target * log_odds))


def _scale(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and spread of each feature; one that never varies keeps a spread of 1."""
    varies = np.ptp(features, axis=0) > 0  # rounding leaves a constant feature a spread of its own
    if not varies.any():
        raise InputError(
            "Images that differ are needed to learn from; all features of the training split are "
            "constant. Look for blank images."
        )
    return features.mean(axis=0), np.where(varies, features.std(axis=0), np.float32(1))


def _fit(kernel: NDArray[np.float64], outcome: NDArray[np.bool_], penalty: float) -> _Machine:
    from sklearn.svm import SVC

    machine = SVC(C=penalty, kernel="precomputed").fit(kernel, outcome)
    return _Machine(machine.support_, machine.dual_coef_[0], float(machine.intercept_[0]))


def _chunk(
    model: SupportVectorModel, vectors: NDArray[np.float64], features: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Weighted kernels of up to ``CHUNK`` cases, computed in a full chunk so that company changes no bit."""
    full = np.zeros((CHUNK, features.shape[1]))
    full[: len(features)] = finite((features - model.mean) / model.sd)
    kernel = _kernel(full, vectors, model.ends, model.gammas)
    return np.sum(kernel * model.dual, axis=1)[: len(features)]


def _kernel(
    left: NDArray[np.float64], right: NDArray[np.float64], ends: tuple[int, ...], gammas: tuple[float, ...]
) -> NDArray[np.float64]:
    """The mean over the parts of their kernels, for all pairs, shape (left, right)."""
    kernels = np.zeros((len(left), len(right)))
    for start, end, gamma in zip((0, *ends), ends, gammas, strict=False):
        kernels += np.exp(-gamma * _squared_distances(left[:, start:end], right[:, start:end]))
    return kernels / len(ends)


def _squared_distances(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = np.einsum("ij,ij->i", left, left)[:, None] + np.einsum("ij,ij->i", right, right)
    return np.maximum(squared - 2 * (left @ right.T), 0.0)
