"""Support vector machine on scattering features, with risks by Platt scaling.

Platt J (1999) Probabilistic outputs for support vector machines; the fit follows
Lin H-T, Lin C-J, Weng RC (2007), doi:10.1007/s10994-007-5018-6.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clineval.learning.folds import grouped_folds, some_cases
from clineval.learning.preprocessing import finite
from clineval.refusal import Refusal
from clineval.settings import ScatteringSettings

CHUNK = 64  # cases scored at a time; fixed, so that a risk does not depend on how many are asked for


@dataclass(frozen=True)
class SupportVectorModel:
    """A fitted machine with radial kernel exp(-gamma * squared distance) of standardised features.

    Attributes
    ----------
    mean, sd : of each feature over the training cases, shape (features,).
    support_vectors : standardised features of the cases at or inside the margin, shape (vectors, features).
    dual : weight of each support vector times its sign, shape (vectors,).
    slope, platt_intercept : risk = inverse logit of slope * decision + platt_intercept.
    """

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    support_vectors: NDArray[np.float32]
    dual: NDArray[np.float64]
    intercept: float
    gamma: float
    slope: float
    platt_intercept: float


@dataclass(frozen=True)
class _Machine:
    """A machine before Platt scaling."""

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    support_vectors: NDArray[np.float32]
    dual: NDArray[np.float64]
    intercept: float
    gamma: float


def fit_support_vectors(
    features: NDArray[np.float32],
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    settings: ScatteringSettings,
    seed: int = 0,
) -> SupportVectorModel:
    """The machine on all cases given, its Platt scaling on decision values of grouped folds of them.

    Of more than ``settings.most`` cases it learns from so many, for its kernel grows with their square.

    Parameters
    ----------
    features : float32, shape (cases, features), as :func:`scattering.scattering_features` gives them.
    """
    some = some_cases(outcome, group, most=settings.most, seed=seed)
    if len(some) < len(outcome):
        features, outcome, group = features[some], outcome[some], group[some]
    fold = grouped_folds(outcome, group, folds=settings.folds, seed=seed)
    decision = np.empty(len(outcome))
    for number in range(settings.folds):
        inside = fold != number
        machine = _fit(features[inside], outcome[inside], settings.penalty)
        decision[~inside] = _decision(machine, features[~inside])
    slope, intercept = fit_platt(decision, outcome)
    machine = _fit(features, outcome, settings.penalty)
    return SupportVectorModel(**vars(machine), slope=slope, platt_intercept=intercept)


def decision_values(model: SupportVectorModel, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Signed distance to the margin, shape (cases,); positive on the side of the condition."""
    return _decision(model, features)


def support_vector_risk(model: SupportVectorModel, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Risk of each case, shape (cases,)."""
    return expit(model.slope * decision_values(model, features) + model.platt_intercept)


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


def _fit(features: NDArray[np.float32], outcome: NDArray[np.bool_], penalty: float) -> _Machine:
    from sklearn.svm import SVC

    mean, sd = features.mean(axis=0), features.std(axis=0)
    varies = np.ptp(features, axis=0) > 0  # rounding leaves a constant feature a spread of its own
    if not varies.any():
        raise Refusal(
            "Images that differ are needed to learn from; all scattering features of the training split are "
            "constant. Look for blank images."
        )
    sd = np.where(varies, sd, np.float32(1))
    standard = finite((features - mean) / sd)
    gamma = 1.0 / features.shape[1]  # sklearn's "scale" for features of unit variance
    machine = SVC(C=penalty, kernel="precomputed").fit(_kernel(standard, standard, gamma), outcome)
    return _Machine(
        mean, sd, standard[machine.support_], machine.dual_coef_[0], float(machine.intercept_[0]), gamma
    )


def _decision(machine: "_Machine | SupportVectorModel", features: NDArray[np.float32]) -> NDArray[np.float64]:
    parts = [_chunk(machine, features[start : start + CHUNK]) for start in range(0, len(features), CHUNK)]
    return np.concatenate(parts) + machine.intercept


def _chunk(machine: "_Machine | SupportVectorModel", features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weighted kernels of up to ``CHUNK`` cases, computed in a full chunk so that company changes no bit."""
    full = np.zeros((CHUNK, features.shape[1]), dtype=np.float32)
    full[: len(features)] = finite((features - machine.mean) / machine.sd)
    kernel = _kernel(full, machine.support_vectors, machine.gamma)
    return np.sum(kernel * machine.dual, axis=1)[: len(features)]


def _kernel(left: NDArray[np.float32], right: NDArray[np.float32], gamma: float) -> NDArray[np.float64]:
    a, b = left.astype(np.float64), right.astype(np.float64)
    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return np.exp(-gamma * np.maximum(squared, 0.0))
