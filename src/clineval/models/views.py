"""Images as models see them, and the test-time views of external images: grey levels matched, mirrored.

Matching uses the grey levels of the images that are scored, one image at a time, and never their
outcomes. Which model averages over which views was chosen on BreastMNIST alone:
research/README.md.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 256
ORIGINAL, MATCHED = "original", "matched"  # grey levels
DEVELOPMENT = (False, True)  # a network's risk is the mean over an image and its mirror image
MIRRORED = {ORIGINAL: (False,), MATCHED: (True,)}  # of external images, which are seen twice anyway
PART = 4096  # images whose histograms are counted at once
CHUNK = 64  # images scored at once; bounds the memory
Images = NDArray[np.uint8]
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class View:
    """Images, uint8, shape (cases, height, width), and what models compute from them, once for all.

    Attributes
    ----------
    mirrored : whether a network sees each image as it is (False), mirrored left to right (True), or both.
    """

    images: Images
    mirrored: tuple[bool, ...] = DEVELOPMENT
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
        return View(self.images[rows], self.mirrored, _part_of=(whole, own[rows]))

    def chunks(self) -> "Iterator[View]":
        """Parts of up to 64 images, in order."""
        for start in range(0, len(self), CHUNK):
            yield self.take(np.arange(start, min(start + CHUNK, len(self))))


def mean_histogram(images: Images) -> NDArray[np.float64]:
    """Share of the pixels at each of 256 grey levels, over all images, shape (256,)."""
    counts = np.zeros(LEVELS, dtype=np.int64)
    for start in range(0, len(images), PART):
        counts += np.bincount(images[start : start + PART].ravel(), minlength=LEVELS)
    return counts / images.size


def histograms(images: Images) -> NDArray[np.float64]:
    """Share of each image's pixels at each grey level, shape (cases, 256)."""
    flat = _flat(images)
    own = np.arange(len(images))[:, None] * LEVELS + flat
    counts = np.bincount(own.ravel(), minlength=len(images) * LEVELS)
    return counts.reshape(len(images), LEVELS) / flat.shape[1]


def external_view(images: Images, name: str, reference: NDArray[np.float64]) -> View:
    """External images in one of the views of ``MIRRORED``; ``reference`` is training's mean histogram."""
    shown = match_mean_and_spread(images, reference) if name == MATCHED else images
    return View(shown, MIRRORED[name])


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
