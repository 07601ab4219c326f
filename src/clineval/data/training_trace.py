"""Whether an image was among the training images, told from a stored trace of these without their pixels.

The trace of an image is its 28 x 28 version, less two pixels on each side, as smooth cosines only.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from clineval.data.similarity import WORKING_SIDE, Images, alignments, cosines, working_images

MARGIN = 2  # working pixels left out on each side, so that an image may be displaced by as many
WAVES = 143  # smooth cosines kept of each image: structures narrower than a twelfth of it are not
MOST_COMPARED = 2000  # training images among which the limit is looked for
PART = 256  # images compared at once


@dataclass(frozen=True)
class Trace:
    """What is kept of the training images to recognise them.

    Attributes
    ----------
    case : names, shape (cases,).
    digest : BLAKE2b of each prepared image's pixels, hexadecimal, shape (cases,).
    layout : float32, shape (cases, 143), unit vectors.
    limit : correlation of two traces above which they show one picture: the largest between training
        images that the audit calls different.
    """

    case: NDArray[np.str_]
    digest: NDArray[np.str_]
    layout: NDArray[np.float32]
    limit: float


@dataclass(frozen=True)
class Recognised:
    """An image (by its row) that is one of the training images, or shows the same picture."""

    row: int
    training_case: str
    similarity: float
    identical: bool


def trace(images: Images, *, case: NDArray[np.str_], group: NDArray[np.str_]) -> Trace:
    """The trace of training images; images of one ``group`` may show the same picture."""
    working = working_images(images)
    layout = _layout(_middle(working))
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), MOST_COMPARED)).astype(int))
    best = _best(working[chosen], layout[chosen], apart=group[chosen])
    return Trace(case, digests(images), layout, float(best.max(initial=-1.0)))


def recognise(kept: Trace, images: Images) -> tuple[Recognised, ...]:
    """Images that were trained on, or show the same picture displaced by a few pixels or mirrored.

    Parameters
    ----------
    images : uint8, shape (cases, height, width), prepared as the training images were.
    """
    found: list[Recognised] = []
    known = {digest: place for place, digest in reversed(list(enumerate(kept.digest.tolist())))}
    for start in range(0, len(images), PART):
        part = images[start : start + PART]
        similarity = _similarity(working_images(part), kept.layout)
        nearest = similarity.argmax(axis=1)
        for row, digest in enumerate(digests(part).tolist()):
            identical = digest in known
            place = known[digest] if identical else int(nearest[row])
            value = 1.0 if identical else float(similarity[row, place])
            if identical or value > kept.limit:
                found.append(Recognised(start + row, str(kept.case[place]), round(value, 4), identical))
    return tuple(found)


def digests(images: Images) -> NDArray[np.str_]:
    """A fingerprint of each prepared image's pixels, hexadecimal."""
    return np.array([hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images])


def _similarity(working: Images, layout: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest correlation of traces over displacements and mirroring, shape (images, training images)."""
    best = np.full((len(working), len(layout)), -1.0, np.float32)
    for moved in _windows(working):
        np.maximum(best, _layout(moved) @ layout.T, out=best)
    return best


def _best(working: Images, layout: NDArray[np.float32], *, apart: NDArray[np.str_]) -> NDArray[np.float32]:
    """Similarity of each image to the most similar one of another group, shape (images,)."""
    best = np.full(len(working), -1.0, np.float32)
    for start in range(0, len(working), PART):
        rows = slice(start, start + PART)
        similarity = _similarity(working[rows], layout)
        similarity[apart[rows, None] == apart] = -1.0
        best[rows] = similarity.max(axis=1, initial=-1.0)
    return best


def _windows(working: Images) -> Iterator[Images]:
    height, width = working.shape[1:]
    for each in alignments(MARGIN):
        seen = working[:, :, ::-1] if each.flipped else working
        top, left = MARGIN + each.dy, MARGIN + each.dx
        yield seen[:, top : height - 2 * MARGIN + top, left : width - 2 * MARGIN + left]


def _middle(working: Images) -> Images:
    return working[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def _layout(windows: Images) -> NDArray[np.float32]:
    """Unit vectors of the smooth cosines of each window, shape (windows, 143); 0 where nothing varies."""
    flat = windows.reshape(len(windows), -1).astype(np.float32)
    layout = flat @ _waves(*windows.shape[1:])
    length = np.linalg.norm(layout, axis=1, keepdims=True)
    return np.divide(layout, length, out=np.zeros_like(layout), where=length > 1e-3 * WORKING_SIDE)


@cache
def _waves(height: int, width: int) -> NDArray[np.float32]:
    return cosines(height, width, kept=WAVES)
