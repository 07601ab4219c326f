"""The similarity from which images count as near-duplicates, read off the data, with its reason."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from clineval.errors import InputError

LEAST = 0.9  # images that correlate less are not called duplicates, however empty the gap
MOST = 0.999  # a copy saved again as JPEG must still be found
CEILING = 0.9999  # similarities above are as good as 1; keeps Fisher's z finite
BANDWIDTH = 0.15  # in z: wide enough to smooth chance out of some hundred neighbours
DEPTH = 1.5  # a gap is a place with humps more than this many times as high on both sides
EMPTY = 10.0  # and with humps this many times as high it is as good as empty: no need to go on
FEWEST_TWINS = 10  # images above a gap; fewer may be the ragged end of one hump
FEWEST_IMAGES = 20  # below, no distribution to speak of
FALLBACK = 0.97  # what the gap in BreastMNIST comes to; used where nothing can be read off the data
FAR_OUT = 3.0  # standard deviations above the hump of single images; chance exceeds it once in 740


@dataclass(frozen=True)
class Threshold:
    """The least similarity of a duplicate, how it was come by, and the reason in words.

    ``origin`` is ``gap`` (read off the data), ``fence`` (no gap there: far above what unrelated
    images reach), ``fallback`` (too little data for either) or ``given`` (asked for).
    """

    value: float
    origin: str
    reason: str


def given(value: float) -> Threshold:
    """The threshold that the user asked for, above 0 and at most 1."""
    if not 0.0 < value <= 1.0:
        raise InputError(f"A similarity threshold must be above 0 and at most 1; got {value:g}. Try 0.97.")
    return Threshold(value, "given", f"{value:g} was asked for.")


def calibrate(nearest: NDArray[np.float64]) -> Threshold:
    """The gap between the similarities of images without a near-duplicate and of images with one.

    An image's similarity to its nearest neighbour comes from one of two populations: images
    without a near-duplicate, as a broad hump, and images with one, close to 1. On Fisher's z scale, which
    spreads the crowded end out, a kernel density shows both. The threshold is the first low point
    to the right of the broad hump.

    Parameters
    ----------
    nearest : similarity of images to their nearest neighbour, shape (images,), in [-1, 1].
    """
    scale = np.arctanh(np.clip(nearest[np.isfinite(nearest)], -CEILING, CEILING))
    if len(scale) < FEWEST_IMAGES or scale.std() == 0:
        reason = f"{FALLBACK:g} by default: there are too few different images to see a gap."
        return Threshold(FALLBACK, "fallback", reason)
    gap = _gap(scale)
    return _fence(scale) if gap is None else gap


def _gap(scale: NDArray[np.float64]) -> Threshold | None:
    grid, density = _density(scale)
    lowest = _first_low_point(density, grid >= np.arctanh(LEAST))
    if lowest is None or np.sum(scale > grid[lowest]) < FEWEST_TWINS:
        return None
    value = round(float(np.tanh(grid[lowest])), 3)
    below, above = np.tanh(scale[scale < np.arctanh(value)]), np.tanh(scale[scale >= np.arctanh(value)])
    reason = (
        f"{value:g}: the gap in the similarities of {len(scale)} images to their nearest neighbour; "
        f"{len(below)} lie below it (median {np.median(below):.2f}), "
        f"{len(above)} above (median {np.median(above):.3f})."
    )
    return Threshold(value, "gap", reason)


def _density(scale: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    grid = np.linspace(scale.min(), np.arctanh(CEILING), 1000)
    return grid, gaussian_kde(scale, BANDWIDTH / scale.std())(grid)


def _first_low_point(density: NDArray[np.float64], allowed: NDArray[np.bool_]) -> int | None:
    """The first allowed position, with higher humps on both sides, that is empty or where the fall ends."""
    left, right = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    humps = np.minimum(left, right)
    bottom = density * EMPTY < humps
    bottom[:-1] |= density[:-1] <= density[1:]
    low = allowed & bottom & (density * DEPTH < humps)
    return int(np.argmax(low)) if low.any() else None


def _fence(scale: NDArray[np.float64]) -> Threshold:
    """Far above the hump of images without a near-duplicate, whose width is read off its left side alone."""
    grid, density = _density(scale)
    peak = grid[np.argmax(density)]
    spread = np.sqrt(np.mean((peak - scale[scale <= peak]) ** 2))
    value = round(float(np.clip(np.tanh(peak + FAR_OUT * spread), LEAST, MOST)), 3)
    reason = (
        f"{value:g}: the similarities of {len(scale)} images to their nearest neighbour show no gap, so "
        f"it lies {FAR_OUT:g} standard deviations above their hump at {np.tanh(peak):.2f}, on Fisher's z."
    )
    return Threshold(value, "fence", reason)
