"""Images to numbers: scaling learnt on the training split, flattening, augmentation."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from clineval.errors import InputError
from clineval.models.arrays import finite

GREY_LEVELS = 255.0
SMALLEST_SIDE = 16  # pixels; below it the network's three halvings leave no image
SEEN_SIDE = 28  # pixels; logistic regression sees larger images averaged down to it, as wavelets do
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
        return shrink(images, SEEN_SIDE).reshape(len(images), -1).astype(np.float64)
    return images.reshape(len(images), -1) / GREY_LEVELS


def scale_pixels(images: NDArray[np.uint8], scaling: PixelScaling) -> NDArray[np.float64]:
    """Flattened images with the training split's mean and spread taken out, pixel by pixel."""
    return finite((flatten(images) - scaling.mean) / scaling.sd)


def scale_grey(images: NDArray[np.uint8], scaling: GreyScaling) -> Tensor:
    """Images as one float32 tensor of shape (cases, 1, height, width), channels last."""
    grey = (images.astype(np.float32) / np.float32(GREY_LEVELS) - np.float32(scaling.mean)) / np.float32(
        scaling.sd
    )
    return torch.from_numpy(finite(grey)).unsqueeze(1).contiguous(memory_format=torch.channels_last)


def shrink(images: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Images of any size averaged down to ``side`` x ``side`` pixels, grey levels in [0, 1]."""
    if images.shape[1:] == (side, side):
        return images.astype(np.float32) / np.float32(GREY_LEVELS)
    small = np.empty((len(images), side, side), np.float32)
    for start in range(0, len(images), PART):
        grey = torch.from_numpy(images[start : start + PART].astype(np.float32) / np.float32(GREY_LEVELS))
        small[start : start + PART] = functional.interpolate(grey[:, None], size=(side, side), mode="area")[
            :, 0
        ]
    return small


def augment(images: Tensor, *, shift: int, generator: torch.Generator) -> Tensor:
    """A fresh variant of each image: mirrored left to right or not, moved by up to ``shift`` pixels.

    One gather for the whole set, with reflected borders. Up and down are never exchanged, for depth
    has a meaning in ultrasound. Without it grouped cross-validated AUC falls from .86 to .79.

    Parameters
    ----------
    images : float, shape (cases, 1, height, width).
    shift : largest move in pixels, in each direction, all whole moves equally likely.
    generator : the only source of chance; on the CPU, whatever device the images are on.
    """
    cases, _, height, width = images.shape
    mirrored = torch.rand(cases, generator=generator) < 0.5
    down, right = torch.randint(-shift, shift + 1, (2, cases), generator=generator)
    columns = torch.where(mirrored[:, None], torch.arange(width).flip(0), torch.arange(width))
    rows = _reflected(torch.arange(height) + down[:, None], height).to(images.device)
    columns = _reflected(columns + right[:, None], width).to(images.device)
    cell = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    return images.flatten(1).gather(1, cell).view_as(images)


def check_images(images: NDArray[np.uint8]) -> None:
    """Refuse images that the models cannot take.

    Raises
    ------
    InputError : an image is smaller than 16 pixels on a side.
    """
    height, width = images.shape[1:]
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"Images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels are needed to learn from; "
            f"came {height} x {width}. Use larger images."
        )


def _require_variety(low: ArrayLike, high: ArrayLike, learnt_on: str) -> None:
    if np.array_equal(low, high):
        raise InputError(
            f"Images that differ are needed to learn a scaling; those of {learnt_on} are constant "
            "(standard deviation 0). Look for blank images."
        )


def _reflected(position: Tensor, length: int) -> Tensor:
    """Positions beyond an edge, mirrored at it without repeating the edge pixel."""
    return (length - 1) - ((length - 1) - position.abs()).abs()
