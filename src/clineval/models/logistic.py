"""Logistic regression on pixel intensities, its penalty chosen inside the training split."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clineval.data.cohort import grouped_folds, some_cases
from clineval.errors import InputError
from clineval.models.preprocessing import (
    SEEN_SIDE,
    Images,
    PixelScaling,
    View,
    learn_pixel_scaling,
    scale_pixels,
)
from clineval.models.stored import Arrays, Floats, Shapes, Stored
from clineval.settings import LogisticSettings


@dataclass(frozen=True)
class LogisticModel:
    """A fitted logistic regression.

    Attributes
    ----------
    coefficients : change of log odds per standard deviation of each pixel, shape (pixels,).
    """

    scaling: PixelScaling
    coefficients: Floats
    intercept: float

    def risk(self, view: View) -> Floats:
        """Risk of each image, shape (cases,): the inverse logit of the weighted pixels."""
        pixels = scale_pixels(view.images, self.scaling)
        return expit(np.sum(pixels * self.coefficients, axis=1) + self.intercept)


def fit(
    images: Images,
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    settings: LogisticSettings,
    seed: int,
) -> Stored:
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
    scaling = learn_pixel_scaling(images, learnt_on="train")
    coefficients, intercept = _fit(scale_pixels(images, scaling), outcome, strength, settings.iterations)
    record = {
        "strength": strength,
        "log_losses": dict(zip(map(str, settings.strengths), losses, strict=True)),
        "learnt_on": scaling.learnt_on,
    }
    arrays: Arrays = {
        "coefficients": coefficients,
        "mean": scaling.mean,
        "sd": scaling.sd,
        "intercept": np.array([intercept]),
    }
    return Stored(record, arrays)


def shapes(_record: Mapping[str, Any], height: int, width: int) -> Shapes:
    """The arrays of a stored logistic regression for images of that size."""
    pixels = (SEEN_SIDE**2 if min(height, width) > SEEN_SIDE else height * width,)
    return {"coefficients": pixels, "mean": pixels, "sd": pixels, "intercept": (1,)}


def read(record: Mapping[str, Any], arrays: Arrays) -> LogisticModel:
    """A logistic regression from its stored form; ValueError where a spread is not above 0."""
    if not (arrays["sd"] > 0).all():
        raise ValueError("a pixel's standard deviation is not above 0")
    scaling = PixelScaling(arrays["mean"], arrays["sd"], str(record["learnt_on"]))
    return LogisticModel(scaling, arrays["coefficients"], float(arrays["intercept"][0]))


def _cross_validated(
    images: Images,
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    settings: LogisticSettings,
    seed: int,
) -> tuple[float, ...]:
    """Mean log loss of every strength on cases left out, scaling refitted in each fold."""
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
    pixels: Floats, outcome: NDArray[np.bool_], strength: float, iterations: int
) -> tuple[Floats, float]:
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
