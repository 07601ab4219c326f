"""Bringing an image's grey levels to those of the training images, before a model sees it.

A step that uses the grey levels of the images that are scored, one image at a time, and never their
outcomes. Which models it serves was decided on BreastMNIST alone: docs/external-validation.md.
"""

import math

import numpy as np
from numpy.typing import NDArray

LEVELS = 256
MATCHED = ("logreg", "cnn")  # models that gain by it; wavelet features see no brightness and lose
PART = 4096  # images whose histograms are counted at once


def mean_histogram(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of the pixels at each of 256 grey levels, over all images, shape (256,)."""
    counts = np.zeros(LEVELS, dtype=np.int64)
    for start in range(0, len(images), PART):
        counts += np.bincount(images[start : start + PART].ravel(), minlength=LEVELS)
    return counts / images.size


def histograms(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of each image's pixels at each grey level, shape (cases, 256)."""
    flat = _flat(images)
    own = np.arange(len(images))[:, None] * LEVELS + flat
    counts = np.bincount(own.ravel(), minlength=len(images) * LEVELS)
    return counts.reshape(len(images), LEVELS) / flat.shape[1]


def match_grey_levels(images: NDArray[np.uint8], reference: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The same images with grey levels distributed as in ``reference``; darker stays darker.

    Each grey level goes to the level of the reference that has as many pixels below it (half of its
    own counted). A constant image becomes the reference's median.

    Parameters
    ----------
    images : uint8, shape (cases, height, width).
    reference : shape (256,), shares that add up to 1, as ``mean_histogram`` gives them.
    """
    filled = np.flatnonzero(reference)
    to = np.interp(_below(histograms(images)), _below(reference)[filled], filled)
    table = np.rint(to).astype(np.uint8)
    return np.take_along_axis(table, _flat(images).astype(np.int64), axis=1).reshape(images.shape)


def grey_distance(images: NDArray[np.uint8], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many grey levels a pixel must move on average to bring an image to the reference, shape (cases,).

    The Wasserstein distance of the two distributions, 0 to 255.
    """
    gap = np.cumsum(histograms(images), axis=1) - np.cumsum(reference)
    return np.abs(gap[:, :-1]).sum(axis=1)


def _flat(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images.reshape(len(images), math.prod(images.shape[1:]))  # -1 means nothing of no images


def _below(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of pixels darker than each level, half of the level's own counted, shape (..., 256)."""
    return np.cumsum(shares, axis=-1) - shares / 2
