"""Which parts of an image a model's risk depends on: occlusion maps, and the same of a randomised model.

Zeiler MD, Fergus R (2014) Visualizing and understanding convolutional networks,
doi:10.1007/978-3-319-10590-1_53; the randomised model: Adebayo J et al. (2018) Sanity checks for saliency
maps, arXiv:1810.03292.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from clineval.models.preprocessing import Images
from clineval.models.stored import Floats

BATCH = 1024  # occluded images scored at once; bounds the memory
RiskOf = Callable[[Images], Floats]


def occlusion_map(
    risk_of: RiskOf,
    image: Images,
    *,
    patch: int,
    stride: int = 1,
    batch: int = BATCH,
    shift: tuple[int, int] = (0, 0),
) -> Floats:
    """How much of the risk each part of an image carries, shape (rows, columns), -1 to 1.

    The risk of the whole image less that of the image with a square patch around the cell replaced by
    the image's mean grey level: positive where the patch raises the risk, negative where it lowers it.

    Parameters
    ----------
    risk_of : risks, shape (images,), of images of one size, uint8, shape (images, height, width). Where it
        gives those of several models, shape (images, models), so has the map a last axis of models.
    image : grey levels, uint8, shape (height, width).
    patch, stride : pixels a side of a patch, and from one cell to the next; at the edges patches are cut off.
    batch : occluded images that ``risk_of`` gets at once.
    shift : rows and columns by which all patches are moved, for an image that was moved by as much.

    >>> image = np.array([[0, 0], [0, 200]], np.uint8)
    >>> occlusion_map(lambda images: images[:, 1, 1] / 255, image, patch=1).round(3).tolist()
    [[0.0, 0.0], [0.0, 0.588]]
    """
    occluded = occlude(image, patch=patch, stride=stride, shift=shift)
    parts = [risk_of(occluded[start : start + batch]) for start in range(0, len(occluded), batch)]
    change = risk_of(image[None])[0] - np.concatenate(parts)
    rows, columns = (-(-side // stride) for side in image.shape)
    return change.reshape(rows, columns, *change.shape[1:])


def occlude(image: Images, *, patch: int, stride: int = 1, shift: tuple[int, int] = (0, 0)) -> Images:
    """The image with each patch in turn replaced by its mean grey level, shape (cells, height, width)."""
    if patch < 1 or stride < 1:
        raise ValueError(f"expected a patch and a stride of at least 1 pixel, got {patch} and {stride}")
    (top, height), (left, width) = ((shift[axis], image.shape[axis]) for axis in (0, 1))
    fill = np.uint8(np.rint(image.mean()))
    rows = _hidden(height, patch=patch, stride=stride, shift=top)
    columns = _hidden(width, patch=patch, stride=stride, shift=left)
    hidden = rows[:, None, :, None] & columns[None, :, None, :]
    return np.where(hidden, fill, image).reshape(-1, height, width)


def _hidden(length: int, *, patch: int, stride: int, shift: int) -> NDArray[np.bool_]:
    """Which places of a line each patch hides, bool, shape (cells, length)."""
    first = np.arange(0, length, stride)[:, None] + (stride - patch) // 2 + shift
    places = np.arange(length)
    return (places >= first) & (places < first + patch)
