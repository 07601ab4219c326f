"""Images to numbers: test-time views, averaged down, flattened, scaled as was learnt on the training split.

Matching uses the grey levels of the images that are scored, one image at a time, and never their
outcomes. Which model averages over which views was chosen on BreastMNIST alone:
research/README.md.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clineval.errors import InputError
from clineval.models.stored import finite

LEVELS = 256
ORIGINAL, MATCHED = "original", "matched"  # grey levels
DEVELOPMENT = (False, True)  # a network's risk is the mean over an image and its mirror image
MIRRORED = {ORIGINAL: (False,), MATCHED: (True,)}  # of external images, which are seen twice anyway
COUNTED_AT_ONCE = 4096  # images whose histograms are counted at once
CHUNK = 64  # images scored at once; bounds the memory
Images = NDArray[np.uint8]
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class View:
    """Images, uint8, shape (cases, height, width), and what models compute from them, once for all.

    Attributes
    ----------
    mirrored : whether a network sees each image as it is (False), mirrored left to right (True), or both.
    colour : the same images in colour, shape (cases, height, width, 3), where a model takes them so.
    """

    images: Images
    mirrored: tuple[bool, ...] = DEVELOPMENT
    colour: Images | None = None
    _known: dict[Callable[[Images], Array], Array] = field(default_factory=dict, repr=False)
    _part_of: "tuple[View, NDArray[np.int64]] | None" = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.images)

    def computed(self, function: Callable[[Images], Array]) -> Array:
        """What ``function`` makes of each image, one row per image; computed once per view and its parts."""
        if self._part_of is not None:
            whole, rows = self._part_of
            return whole.computed(function)[rows]
        if function not in self._known:
            self._known[function] = function(self.images)
        return self._known[function]

    def take(self, rows: NDArray[np.int64]) -> "View":
        """The view of some of the images, which shares what is computed with the whole."""
        whole, own = self._part_of or (self, np.arange(len(self)))
        colour = None if self.colour is None else self.colour[rows]
        return View(self.images[rows], self.mirrored, colour, _part_of=(whole, own[rows]))

    def chunks(self) -> "Iterator[View]":
        """Parts of up to 64 images, in order."""
        for start in range(0, len(self), CHUNK):
            yield self.take(np.arange(start, min(start + CHUNK, len(self))))


def mean_histogram(images: Images) -> NDArray[np.float64]:
    """Share of the pixels at each of 256 grey levels, over all images, shape (256,)."""
    counts = np.zeros(LEVELS, dtype=np.int64)
    for start in range(0, len(images), COUNTED_AT_ONCE):
        counts += np.bincount(images[start : start + COUNTED_AT_ONCE].ravel(), minlength=LEVELS)
    return counts / images.size


def histograms(images: Images) -> NDArray[np.float64]:
    """Share of each image's pixels at each grey level, shape (cases, 256)."""
    flat = _flat(images)
    own = np.arange(len(images))[:, None] * LEVELS + flat
    counts = np.bincount(own.ravel(), minlength=len(images) * LEVELS)
    return counts.reshape(len(images), LEVELS) / flat.shape[1]


def external_view(
    images: Images, name: str, reference: NDArray[np.float64], colour: Images | None = None
) -> View:
    """External images in one of the views of ``MIRRORED``; ``reference`` is training's mean histogram."""
    if name == MATCHED:
        return View(match_mean_and_spread(images, reference), MIRRORED[name])
    return View(images, MIRRORED[name], colour)


def match_mean_and_spread(images: Images, reference: NDArray[np.float64]) -> Images:
    """The same images with the mean and the standard deviation of grey levels that the reference has.

    What falls below black or above white is cut off. A constant image becomes the reference's mean.

    Parameters
    ----------
    images : uint8, shape (cases, height, width).
    reference : shape (256,), shares that add up to 1, as ``mean_histogram`` gives them.
    """
    levels = np.arange(LEVELS)
    mean = reference @ levels
    spread = np.sqrt(reference @ (levels - mean) ** 2)
    grey = _flat(images).astype(np.float64)
    own_mean, own_spread = grey.mean(axis=1, keepdims=True), grey.std(axis=1, keepdims=True)
    factor = np.divide(spread, own_spread, out=np.zeros_like(own_spread), where=own_spread > 0)
    matched = mean + (grey - own_mean) * factor
    return np.clip(np.rint(matched), 0, LEVELS - 1).astype(np.uint8).reshape(images.shape)


def grey_distance(images: Images, reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many grey levels a pixel must move on average to bring an image to the reference, shape (cases,).

    The Wasserstein distance of the two distributions, 0 to 255.
    """
    gap = np.cumsum(histograms(images), axis=1) - np.cumsum(reference)
    return np.abs(gap[:, :-1]).sum(axis=1)


def _flat(images: Images) -> Images:
    return images.reshape(len(images), math.prod(images.shape[1:]))  # -1 means nothing of no images


GREY_LEVELS = 255.0
SMALLEST_SIDE = 16  # pixels; below it the network's three halvings leave no image
SEEN_SIDE = 28  # pixels; logistic regression and wavelets see larger images averaged down to it
AVERAGED_AT_ONCE = 1024  # images averaged down at once; bounds the memory


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
    varies = high > low  # rounding leaves a constant pixel a spread of 1e-17, so the spread does not show it
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
    for start in range(0, len(images), AVERAGED_AT_ONCE):
        grey = images[start : start + AVERAGED_AT_ONCE].astype(np.float32) / np.float32(GREY_LEVELS)
        if (height, width) != (SEEN_SIDE, SEEN_SIDE):
            grey = _averaging(height) @ grey @ _averaging(width).T
        small[start : start + AVERAGED_AT_ONCE] = grey
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
