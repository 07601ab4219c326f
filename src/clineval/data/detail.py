"""Whether two images agree in their fine detail, once the layout that all images of a kind share is removed.

Ultrasound images of different lesions correlate highly because all are bright above and dark
below. Structures narrower than about a seventh of the image do not repeat from one lesion to
another, so a pair that agrees in these shows the same tissue.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from clineval.data.similarity import Images, Indices

COARSEST = 2 / 28  # of the image's side: standard deviation of the blur that is taken away
FINEST = 0.5 / 28  # of the side: speckle below this differs between two saves of one frame
REACH = 2 / 28  # of the side: largest displacement each way
CHUNK_PIXELS = 3_000_000  # pairs times pixels that are worked on at once; about 200 MB

Field = NDArray[np.float32]


def detail_of(
    images: Images, first: Indices, second: Indices, *, flipped: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Correlation of the fine detail of pairs of images, the largest over small displacements, (pairs,).

    Computed at the images' own size, by Fourier transform, so that displacements of a fraction of
    a working pixel are tried too.

    Parameters
    ----------
    images : uint8, shape (cases, height, width), at full size.
    first, second : positions, shape (pairs,).
    flipped : bool, shape (pairs,); True compares with the mirror image of the second.
    """
    best = np.empty(len(first))
    for pairs in _chunks(len(first), images.shape[1:]):
        involved, place = np.unique(np.concatenate([first[pairs], second[pairs]]), return_inverse=True)
        left, right = np.split(place, 2)
        best[pairs] = _largest_correlation(_details(images[involved]), left, right, flipped[pairs])
    return best


@dataclass(frozen=True)
class _Details:
    """The fine detail of images, ready to be correlated; sums are over the overlap at each displacement.

    ``spectrum`` has shape (2, images, ...): plain and mirrored. The sums have shape (2, 2, images,
    steps, steps): plain and mirrored, then as the fixed image and as the displaced one.
    """

    shape: tuple[int, int]
    steps: NDArray[np.int64]
    padded: tuple[int, int]
    spectrum: NDArray[np.complex64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]


def _details(images: Images) -> _Details:
    height, width = images.shape[1:]
    reach = max(1, round(REACH * max(height, width)))
    steps = np.arange(-reach, reach + 1)
    padded = (fft.next_fast_len(height + reach), fft.next_fast_len(width + reach, real=True))
    plain = _band(images)
    both = np.stack([plain, plain[:, :, ::-1]])
    sums, squares = (
        np.stack([[_overlap_sums(field, way * steps) for way in (1, -1)] for field in fields])
        for fields in (both, both**2)
    )
    return _Details((height, width), steps, padded, fft.rfft2(both, padded), sums, squares)


def _band(images: Images) -> Field:
    """The images between the finest and the coarsest scale, float32."""
    side = max(images.shape[1:])
    blur = np.sqrt(max((FINEST * side) ** 2 - 0.5**2, 0.0))  # none at 28 pixels, where one pixel is that wide
    grey = images.astype(np.float32)
    fine = gaussian_filter(grey, (0, blur, blur), mode="nearest") if blur else grey
    coarse = COARSEST * side
    return fine - gaussian_filter(grey, (0, coarse, coarse), mode="nearest")


def _largest_correlation(
    details: _Details, left: Indices, right: Indices, flipped: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Largest Pearson correlation on the overlap over every displacement, (pairs,)."""
    mirror, steps = flipped.astype(np.int64), details.steps
    spectrum = details.spectrum[0, left] * np.conj(details.spectrum[mirror, right])
    product = fft.irfft2(spectrum, details.padded)[:, steps[:, None], steps[None, :]].astype(np.float64)
    height, width = details.shape
    count = (height - np.abs(steps))[:, None] * (width - np.abs(steps))[None, :]
    left_sum, right_sum = details.sums[0, 0, left], details.sums[mirror, 1, right]
    covariance = product - left_sum * right_sum / count
    left_spread = details.squares[0, 0, left] - left_sum**2 / count
    right_spread = details.squares[mirror, 1, right] - right_sum**2 / count
    spread = np.maximum(left_spread, 0.0) * np.maximum(right_spread, 0.0)
    flat = spread < 1e-3  # no detail at all: nothing to agree on
    correlation = np.divide(covariance, np.sqrt(spread), out=np.zeros_like(covariance), where=~flat)
    return np.clip(correlation.max(axis=(1, 2)), -1.0, 1.0)


def _overlap_sums(field: Field, steps: Indices) -> NDArray[np.float64]:
    """Sum of each field over its overlap with a copy displaced by every step, (images, steps, steps)."""
    height, width = field.shape[1:]
    table = np.zeros((len(field), height + 1, width + 1))
    table[:, 1:, 1:] = field.cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    top, bottom = np.maximum(steps, 0)[:, None], (height + np.minimum(steps, 0))[:, None]
    left, right = np.maximum(steps, 0)[None, :], (width + np.minimum(steps, 0))[None, :]
    return table[:, bottom, right] - table[:, top, right] - table[:, bottom, left] + table[:, top, left]


def _chunks(count: int, shape: tuple[int, ...]) -> Iterator[slice]:
    size = max(1, CHUNK_PIXELS // (shape[0] * shape[1]))
    for low in range(0, count, size):
        yield slice(low, min(low + size, count))
