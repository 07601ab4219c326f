"""Images to numbers: averaged down, flattened, scaled as was learnt on the training split."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clineval.errors import InputError
from clineval.models.stored import finite

GREY_LEVELS = 255.0
SMALLEST_SIDE = 16  # pixels; below it the network's three halvings leave no image
SEEN_SIDE = 28  # pixels; logistic regression and wavelets see larger images averaged down to it
PART = 1024  # images averaged down at once; bounds the memory


@dataclass(frozen=True)
class GreyScaling:
    """One mean and one standard deviation of all pixels (0 to 1 scale), and the split they were learnt on.

    Not per image: absolute brightness carries information in ultrasound (grouped cross-validated
    AUC .853 against .834 with per-image standardisation).
    """

    mean: float
    sd: float
    learnt_on: str


@dataclass(frozen=True)
class PixelScaling:
    """Mean and standard deviation of every pixel, shape (pixels,), and the split they were learnt on."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    learnt_on: str


def learn_grey_scaling(images: NDArray[np.uint8], *, learnt_on: str) -> GreyScaling:
    """Mean and spread of all grey levels of ``images``, shape (cases, height, width).

    Raises
    ------
    InputError : the images are constant, so that scaling would divide by zero.
    """
    _require_variety(images.min(), images.max(), learnt_on)
    grey = images / GREY_LEVELS
    return GreyScaling(float(grey.mean()), float(grey.std()), learnt_on)


def learn_pixel_scaling(images: NDArray[np.uint8], *, learnt_on: str) -> PixelScaling:
    """Mean and spread of every pixel over ``images``; a pixel that never varies keeps a spread of 1.

    Raises
    ------
    InputError : no pixel varies between the images.
    """
    pixels = flatten(images)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    _require_variety(low, high, learnt_on)
    mean, sd = pixels.mean(axis=0), pixels.std(axis=0)
    varies = high > low  # rounding leaves a constant pixel a spread of 1e-17, so the spread cannot tell
    return PixelScaling(np.where(varies, mean, low), np.where(varies, sd, 1.0), learnt_on)


def flatten(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Each image as one row of pixel intensities in [0, 1], shape (cases, pixels).

    Images of more than 28 pixels a side are averaged down to 28 x 28 first: finer pixels gain nothing
    (docs/training.md, by size), and a hundred thousand of them would not fit into memory.
    """
    if min(images.shape[1:]) > SEEN_SIDE:
        return shrink(images).reshape(len(images), -1).astype(np.float64)
    return images.reshape(len(images), -1) / GREY_LEVELS


def scale_pixels(images: NDArray[np.uint8], scaling: PixelScaling) -> NDArray[np.float64]:
    """Flattened images with the training split's mean and spread taken out, pixel by pixel."""
    return finite((flatten(images) - scaling.mean) / scaling.sd)


def shrink(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images of any size averaged down to 28 x 28 pixels, grey levels in [0, 1], float32.

    Each pixel is the mean over the pixels that its cell touches. An image's do not depend on the others.
    """
    height, width = images.shape[1:]
    small = np.empty((len(images), SEEN_SIDE, SEEN_SIDE), np.float32)
    for start in range(0, len(images), PART):
        grey = images[start : start + PART].astype(np.float32) / np.float32(GREY_LEVELS)
        if (height, width) != (SEEN_SIDE, SEEN_SIDE):
            grey = _averaging(height) @ grey @ _averaging(width).T
        small[start : start + PART] = grey
    return small


def check_images(images: NDArray[np.uint8]) -> None:
    """Refuse images that the models cannot take.

    Raises
    ------
    InputError : an image is smaller than 16 pixels on a side.
    """
    height, width = images.shape[1:]
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"Expected images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels to learn from, got "
            f"{height} x {width}. Use larger images."
        )


def _require_variety(low: ArrayLike, high: ArrayLike, learnt_on: str) -> None:
    if np.array_equal(low, high):
        raise InputError(
            f"Expected images that differ, to learn a scaling from; those of {learnt_on} are constant "
            "(standard deviation 0). Look for blank images."
        )


@cache
def _averaging(length: int) -> NDArray[np.float32]:
    """The matrix that takes ``length`` places to 28 means, each over the places that its cell touches."""
    matrix = np.zeros((SEEN_SIDE, length), np.float32)
    for row in range(SEEN_SIDE):
        start, end = row * length // SEEN_SIDE, -(-(row + 1) * length // SEEN_SIDE)
        matrix[row, start:end] = 1 / (end - start)
    return matrix
