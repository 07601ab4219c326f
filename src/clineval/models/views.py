"""A further look at an external image: with its grey levels brought to those of the training images.

Matching uses the grey levels of the images that are scored, one image at a time, and never their
outcomes. Which looks serve which model, and which way round, was decided on BreastMNIST alone:
docs/external-validation-choices.md.
"""

import math

import numpy as np
from numpy.typing import NDArray

LEVELS = 256
AS_IT_CAME, MATCHED = "as it came", "matched"
LOOKS = {  # what each model sees of an external image; its risk is the mean over them, on the logit scale
    "logreg": (AS_IT_CAME, MATCHED),
    "cnn": (AS_IT_CAME, MATCHED),
    "scattering": (AS_IT_CAME,),
}
STRAIGHT, MIRRORED = slice(None), slice(None, None, -1)  # ways in which a network goes along the columns
BOTH = (STRAIGHT, MIRRORED)
WAYS = {AS_IT_CAME: (STRAIGHT,), MATCHED: (MIRRORED,)}  # of an image that is looked at twice anyway
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


def look(images: NDArray[np.uint8], name: str, reference: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The images as one of ``LOOKS`` shows them; ``reference`` is the training images' mean histogram."""
    return match_mean_and_spread(images, reference) if name == MATCHED else images


def match_mean_and_spread(images: NDArray[np.uint8], reference: NDArray[np.float64]) -> NDArray[np.uint8]:
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


def grey_distance(images: NDArray[np.uint8], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many grey levels a pixel must move on average to bring an image to the reference, shape (cases,).

    The Wasserstein distance of the two distributions, 0 to 255.
    """
    gap = np.cumsum(histograms(images), axis=1) - np.cumsum(reference)
    return np.abs(gap[:, :-1]).sum(axis=1)


def _flat(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images.reshape(len(images), math.prod(images.shape[1:]))  # -1 means nothing of no images
