"""Quantities of whole pictures that should say nothing of the condition."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clineval.data.findings import bears_marks
from clineval.data.image_files import DEEP, ReadImage, Unusable, read_images
from clineval.errors import InputError
from clineval.progress import Progress

QUANTITIES = (
    "border brightness",
    "text or measuring marks",
    "size",
    "aspect",
    "focus",
    "mean grey",
)
BORDER = 0.05  # of the short side: the frame whose grey levels are taken
SIDE = 256  # pixels of the short side at which focus is measured, so that size does not enter it


def picture_quantities(picture: Image.Image) -> NDArray[np.float64]:
    """The quantities of one picture in Pillow's mode ``L``, shape (6,), in the order of ``QUANTITIES``.

    Border brightness and mean grey: mean grey level, 0 to 255, of a frame of a twentieth of the short side
    and of all pixels. Marks: 1 where text or calipers are found. Size: log of the number of pixels. Aspect:
    log of width / height. Focus: log of 1 + the variance of the Laplacian (Pech-Pacheco et al. 2000,
    doi:10.1109/ICPR.2000.903548) with the short side brought to 256 pixels.
    """
    grey = np.asarray(picture, dtype=np.float64)
    wide = max(1, round(BORDER * min(grey.shape)))
    frame = np.ones(grey.shape, bool)
    frame[wide:-wide, wide:-wide] = False
    return np.array(
        [
            grey[frame].mean(),
            float(bears_marks(picture)),
            np.log(grey.size),
            np.log(grey.shape[1] / grey.shape[0]),
            _focus(picture),
            grey.mean(),
        ]
    )


def file_quantities(
    paths: Sequence[Path],
    *,
    home: Path | None = None,
    bits: int | None = DEEP,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The quantities of image files that were read before, by name, each of shape (files,).

    Other parameters are those of ``read_images``.

    Raises
    ------
    InputError : a file cannot be used any more.
    """
    rows = []
    for path, found in zip(
        paths, read_images(paths, _of_read, home=home, bits=bits, progress=progress), strict=True
    ):
        if isinstance(found, Unusable):
            raise InputError(f"{path.name}: {found}; it could be read a moment ago. Repeat the command.")
        rows.append(found)
    return dict(zip(QUANTITIES, np.array(rows).T, strict=True))


def _of_read(_place: int, read: ReadImage) -> NDArray[np.float64]:
    return picture_quantities(read.grey)


def _focus(picture: Image.Image) -> float:
    shrink = min(picture.size) / SIDE
    size = (max(3, round(picture.width / shrink)), max(3, round(picture.height / shrink)))
    grey = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), dtype=np.float64)
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.log1p((around - 4 * middle).var()))
