"""How unlike the training images an image is: its distance in the space of scattering features.

The distance is that of probabilistic principal components (Tipping and Bishop 1999,
doi:10.1111/1467-9868.00196): what an image does along the directions in which training images vary
counts by how much they vary there, everything else by the little that is left.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clineval.models.scattering import scattering_features
from clineval.models.stored import finite
from clineval.models.views import View, grey_distance

DIRECTIONS = 20  # in which training images are taken to vary; the rest counts as noise
SHARE = 0.99  # of the validation images that must lie within a limit
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Novelty:
    """What training images are like, and how far from that validation images still lie.

    Attributes
    ----------
    centre, scale : mean and spread of each scattering feature, shape (features,).
    axes : directions of largest variance, shape (directions, features); ``variance`` along each.
    noise : variance per feature of what the directions leave.
    grey : shape (256,), the mean histogram of the training images.
    texture_limit, grey_limit : what 99 of 100 validation images stay within; NaN without such images.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    axes: NDArray[np.float32]
    variance: Floats
    noise: float
    grey: Floats
    texture_limit: float
    grey_limit: float


@dataclass(frozen=True)
class Distance:
    """Of each image, shape (cases,): ``texture`` (about 1 for a training image), ``grey`` (0 to 255 levels).

    ``unlike`` is True where either is beyond its limit.
    """

    texture: Floats
    grey: Floats
    unlike: NDArray[np.bool_]


def learn_novelty(train: NDArray[np.uint8], validation: NDArray[np.uint8], *, grey: Floats) -> Novelty:
    """Directions from the training images, limits from the validation images, shapes (cases, height, width).

    ``grey`` is the training images' mean histogram.
    """
    features = scattering_features(train)
    centre, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > 0, spread, np.float32(1))
    variances, axes = _principal((features - centre) / scale)
    kept = min(DIRECTIONS, len(train) - 1)
    noise = float(variances[kept:].sum() / (features.shape[1] - kept))
    start = Novelty(centre, scale, axes[:kept], variances[:kept], noise, grey, float("nan"), float("nan"))
    far = distance(start, View(validation))
    return Novelty(**{**vars(start), "texture_limit": _limit(far.texture), "grey_limit": _limit(far.grey)})


def distance(known: Novelty, view: View) -> Distance:
    """How far each image of a view lies from the training images.

    Raises
    ------
    InputError : a distance is not a finite number, which must not pass for one within the limits.
    """
    standard = (view.computed(scattering_features) - known.centre) / known.scale
    # sums along each row, so that no image changes a bit of another's
    along = np.stack([(standard * axis).sum(axis=1) for axis in known.axes], axis=1)
    left = np.maximum((standard**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
    squared = (along**2 / known.variance).sum(axis=1) + left / known.noise
    texture = np.sqrt(squared / standard.shape[1])
    grey = grey_distance(view.images, known.grey)
    unlike = (texture > known.texture_limit) | (grey > known.grey_limit)
    return Distance(finite(texture), finite(grey), unlike)


def _principal(standard: NDArray[np.float32]) -> tuple[Floats, NDArray[np.float32]]:
    """Variances along the principal directions, largest first, and the directions of up to 20 of them."""
    values, vectors = np.linalg.eigh(
        standard.astype(np.float64) @ standard.T
    )  # cases are fewer than features
    variances, vectors = np.maximum(values[::-1], 0.0) / len(standard), vectors[:, ::-1][:, :DIRECTIONS]
    axes = vectors.T @ standard
    return variances, (axes / np.linalg.norm(axes, axis=1, keepdims=True)).astype(np.float32)


def _limit(values: Floats) -> float:
    return float(np.quantile(values, SHARE, method="higher")) if len(values) else float("nan")
