"""Where twins end and different images begin: a similarity threshold read off the data, with its reason."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from clineval.refusal import Refusal

DEFAULT = 0.97  # used where the data show no gap: unrelated breast ultrasound seldom reaches .95 at 28 x 28
LEAST = 0.9  # no calibration goes below: images that correlate less are not worth calling duplicates
CEILING = 0.9999  # similarities above are as good as 1; keeps Fisher's z finite
BANDWIDTH = 0.15  # in z; about the width of one bump that chance puts on 780 neighbours


@dataclass(frozen=True)
class Threshold:
    """The least similarity of a duplicate, and how it was come by (``calibrated``, ``default``, ``given``)."""

    value: float
    origin: str
    reason: str


def given(value: float) -> Threshold:
    """The threshold that the user asked for, in (0, 1]."""
    if not 0.0 < value <= 1.0:
        raise Refusal(f"A similarity threshold lies above 0 and at most 1; came {value:g}.")
    return Threshold(value, "given", f"{value:g} was asked for.")


def calibrate(nearest: NDArray[np.float64]) -> Threshold:
    """The emptiest place between the two humps of the nearest-neighbour similarities.

    Each image's similarity to its nearest neighbour comes from one of two populations: images
    with a twin (close to 1) and images without. On Fisher's z scale, where equal steps mean equal
    evidence, a kernel density shows both; the threshold is the lowest point between them.

    Parameters
    ----------
    nearest : similarity of images to their nearest neighbour, shape (images,), in [-1, 1].
    """
    scale = np.arctanh(np.clip(nearest[np.isfinite(nearest)], 0.0, CEILING))
    if len(scale) < 20 or scale.std() == 0:
        return Threshold(
            DEFAULT, "default", f"{DEFAULT:g} by default: too few different images to calibrate on."
        )
    grid = np.linspace(np.arctanh(LEAST), np.arctanh(CEILING), 400)
    density = gaussian_kde(scale, BANDWIDTH / scale.std())(grid)
    lowest = _valley(density)
    if lowest is None:
        return Threshold(DEFAULT, "default", f"{DEFAULT:g} by default: the similarities show no gap.")
    value = round(float(np.tanh(grid[lowest])), 3)
    near = int(np.sum(np.abs(scale - grid[lowest]) <= BANDWIDTH))
    return Threshold(
        value,
        "calibrated",
        f"{value:g}: the lowest point between images without a twin and images with one in the distribution of "
        f"{len(scale)} nearest-neighbour similarities ({near} lie within {BANDWIDTH:g} of it on Fisher's z scale).",
    )


def _valley(density: NDArray[np.float64]) -> int | None:
    """Position of the lowest interior point that has more than twice its height on both sides."""
    left, right = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    deep = density * 2 < np.minimum(left, right)
    return int(np.flatnonzero(deep)[np.argmin(density[deep])]) if deep.any() else None
