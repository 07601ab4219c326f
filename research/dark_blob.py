"""Where the darkest blob of an ultrasound image lies, without masks: a square around it, and its shape."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion, gaussian_filter, label

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

SCALES = (8, 12, 18, 27, 40)  # pixels of 224, SD of the inner Gaussian
RATIO = 1.6  # of the two Gaussians' SDs; their difference is then near a scale-normalised Laplacian
CENTRAL = 56  # pixels, SD of the weight: operators put the lesion near the middle
LEAST = 96  # pixels of a crop's side
COARSE = 4  # pixels a side that are averaged before the blob is looked for
REACH = 3  # SDs around the centre that belong to the blob's square


@dataclass(frozen=True)
class Blob:
    """Centre and size (SD, pixels) of a dark blob."""

    row: int
    column: int
    scale: int


def find(image: Images) -> Blob:
    """The blob of the largest weighted response of an image, shape (224, 224)."""
    grey = np.asarray(Image.fromarray(image).reduce(COARSE), dtype=np.float64)
    rows, columns = (COARSE * (np.arange(length) - (length - 1) / 2) for length in grey.shape)
    weight = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * CENTRAL**2))
    darker = [_smooth(grey, RATIO * scale) - _smooth(grey, scale) for scale in SCALES]
    place, row, column = np.unravel_index(np.argmax(np.stack(darker) * weight), (len(SCALES), *grey.shape))
    return Blob(COARSE * int(row) + COARSE // 2, COARSE * int(column) + COARSE // 2, SCALES[place])


def _smooth(grey: Floats, pixels: float) -> Floats:
    return gaussian_filter(grey, pixels / COARSE)


def crop(image: Images, blob: Blob) -> Images:
    """The square around the blob, enlarged to the image's size."""
    side = min(max(LEAST, 2 * REACH * blob.scale), len(image))
    top, left = (int(np.clip(at - side // 2, 0, len(image) - side)) for at in (blob.row, blob.column))
    part = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(part.resize(image.shape[::-1], Image.Resampling.BILINEAR))


def shape(image: Images, blob: Blob) -> Floats:
    """Seven numbers: width over height, area and roughness (logs), depth, contrast, edge, shadow."""
    grey = gaussian_filter(image.astype(np.float64), 2)
    rows, columns = np.indices(grey.shape)
    distance = np.hypot(rows - blob.row, columns - blob.column)
    ring = grey[(distance > 2 * blob.scale) & (distance <= REACH * blob.scale)].mean()
    contrast = ring - grey[distance <= blob.scale / 2].mean()
    inside = _outline((grey < ring - contrast / 2) & (distance <= REACH * blob.scale), blob)
    edge = inside & ~binary_erosion(inside)
    height, width = (np.ptp(np.flatnonzero(inside.any(axis))) + 1 for axis in (1, 0))
    area = float(inside.sum())
    slope = np.hypot(*np.gradient(grey))[edge].mean()
    below = (rows > blob.row + blob.scale) & (np.abs(columns - blob.column) < blob.scale)
    beside = (rows > blob.row + blob.scale) & ~below
    shadow = _mean(grey[beside]) - _mean(grey[below])
    rough = np.log(edge.sum() ** 2 / (4 * np.pi * area))
    return np.array([width / height, np.log(area), rough, blob.row / len(grey), contrast, slope, shadow])


def _outline(dark: NDArray[np.bool_], blob: Blob) -> NDArray[np.bool_]:
    """The connected dark region at the centre; the centre's pixel alone where it is not dark."""
    dark[blob.row, blob.column] = True
    parts, _ = label(dark)
    return np.asarray(parts == parts[blob.row, blob.column])


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else 0.0
