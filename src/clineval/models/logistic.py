"""Logistic regression on pixel intensities, its penalty chosen inside the training split."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clineval.errors import InputError
from clineval.models.folds import grouped_folds, some_cases
from clineval.models.preprocessing import PixelScaling, learn_pixel_scaling, scale_pixels
from clineval.settings import LogisticSettings


@dataclass(frozen=True)
class LogisticModel:
    """A fitted logistic regression.

    Attributes
    ----------
    coefficients : change of log odds per standard deviation of each pixel, shape (pixels,).
    strength : the inverse penalty C that was chosen.
    log_losses : grouped cross-validated log loss of every C tried, in the settings' order.
    """

    scaling: PixelScaling
    coefficients: NDArray[np.float64]
    intercept: float
    strength: float
    log_losses: tuple[float, ...]


def fit_logistic(
    images: NDArray[np.uint8],
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    settings: LogisticSettings,
    seed: int = 0,
    learnt_on: str = "train",
) -> LogisticModel:
    """Logistic regression with the penalty of smallest log loss in grouped folds of these very cases.

    Where there are more than ``settings.most`` cases, so many of them choose the penalty; it is a prior
    on the weights, whose best size does not grow with the cases. All cases fit the weights.

    Raises
    ------
    InputError : the solver does not converge, or the images are constant.
    """
    some = some_cases(outcome, group, most=settings.most, seed=seed)
    losses = _cross_validated(images[some], outcome[some], group[some], settings=settings, seed=seed)
    strength = settings.strengths[int(np.argmin(losses))]
    scaling = learn_pixel_scaling(images, learnt_on=learnt_on)
    coefficients, intercept = _fit(scale_pixels(images, scaling), outcome, strength, settings.iterations)
    return LogisticModel(scaling, coefficients, intercept, strength, losses)


def logistic_risk(model: LogisticModel, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Risk of each image, shape (cases,): the inverse logit of the weighted pixels."""
    pixels = scale_pixels(images, model.scaling)
    return expit(np.sum(pixels * model.coefficients, axis=1) + model.intercept)


def _cross_validated(
    images: NDArray[np.uint8],
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    settings: LogisticSettings,
    seed: int,
) -> tuple[float, ...]:
    """Mean log loss of every strength on cases left out, scaling learnt anew in each fold."""
    fold = grouped_folds(outcome, group, folds=settings.folds, seed=seed)
    loss = np.zeros((len(settings.strengths), len(outcome)))
    for number in range(settings.folds):
        inside, outside = fold != number, fold == number
        scaling = learn_pixel_scaling(images[inside], learnt_on="train")
        pixels, left_out = scale_pixels(images[inside], scaling), scale_pixels(images[outside], scaling)
        for row, strength in enumerate(settings.strengths):
            coefficients, intercept = _fit(pixels, outcome[inside], strength, settings.iterations)
            log_odds = left_out @ coefficients + intercept
            loss[row, outside] = np.logaddexp(0.0, np.where(outcome[outside], -log_odds, log_odds))
    return tuple(float(mean) for mean in loss.mean(axis=1))


def _fit(
    pixels: NDArray[np.float64], outcome: NDArray[np.bool_], strength: float, iterations: int
) -> tuple[NDArray[np.float64], float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=iterations, tol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(pixels, outcome)
        except ConvergenceWarning as warning:
            raise InputError(
                f"The logistic regression did not converge in {iterations} iterations at C = {strength:g}. "
                "Allow more iterations or a stronger penalty."
            ) from warning
    return model.coef_[0], float(model.intercept_[0])
