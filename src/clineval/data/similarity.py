"""How alike two images are, and whether an image is among those of training, told from a stored trace.

The trace of an image is its 28 x 28 version, less two pixels on each side, as smooth cosines only.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

from clineval.errors import InputError, Progress

Images = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Indices = NDArray[np.int64]

WORKING_SIDE = 28  # pixels; larger images are compared at this size, then looked at in full
SHIFT = 2  # pixels each way; 7 % of the width of a 28-pixel image
FEATURES = (63, 127, 191, 255)  # smooth cosines of the first pass; with the residual a multiple of 16
ROOM = 0.05  # by which what the cosines leave out must fall short of the threshold
FEW = 0.05  # of the images may do otherwise
SAMPLED = 1000  # images that decide how many cosines the first pass takes
BLOCK = 2048  # images a side of one matrix product: 16 MB of bounds
MOST_PAIRS = 5_000_000  # a longer list helps nobody, and memory is at risk
ROUNDING = 1e-5  # float32 products of unit vectors are good to about 1e-6


class TooManyPairs(InputError):
    """So many pairs reach the threshold that they are no duplicates."""


@dataclass(frozen=True)
class Alignment:
    """How the second image is laid over the first: rows down, columns to the right, mirrored or not."""

    dy: int
    dx: int
    flipped: bool


def alignments(shift: int = SHIFT) -> tuple[Alignment, ...]:
    """Every displacement of up to ``shift`` pixels, plain and mirrored; plain and small ones first."""
    reach = range(-shift, shift + 1)
    every = [Alignment(dy, dx, flipped) for flipped in (False, True) for dy in reach for dx in reach]
    return tuple(sorted(every, key=lambda a: (a.flipped, abs(a.dy) + abs(a.dx))))


ALIGNMENTS = alignments()


@dataclass(frozen=True)
class Matches:
    """Pairs of images and how alike they are, each array of shape (pairs,).

    ``first`` and ``second`` are positions of images, ``first < second``; ``similarity`` is in
    [-1, 1]; ``alignment`` is the position, in the alignments tried, of the one that fitted best.
    """

    first: Indices
    second: Indices
    similarity: NDArray[np.float64]
    alignment: Indices

    def __len__(self) -> int:
        return len(self.first)

    def select(self, chosen: NDArray[np.generic]) -> "Matches":
        """The pairs of a mask or of indices, in their order."""
        return Matches(
            self.first[chosen], self.second[chosen], self.similarity[chosen], self.alignment[chosen]
        )


def find_pairs(
    images: Images,
    threshold: float,
    *,
    over: Sequence[Alignment] = ALIGNMENTS,
    among: tuple[Indices, Indices] | None = None,
    most: int = MOST_PAIRS,
    progress: Progress | None = None,
) -> Matches:
    """All pairs of images whose similarity reaches ``threshold``; none is missed.

    A first pass bounds every correlation from above. With unit vectors a and b split into their
    part in a few smooth cosines, Pa and Pb, and the rest, Cauchy-Schwarz gives
    a.b <= Pa.Pb + |a - Pa| |b - Pb|, one short product once the residual lengths are appended to
    the features. Only pairs whose bound reaches the threshold are correlated in full. Images of which
    much is not smooth, such as noise, take more cosines, or every pair would be one of them.

    Parameters
    ----------
    images : uint8, shape (cases, height, width).
    threshold : least similarity, in (0, 1].
    over : the alignments to try, closed under exchange of the two images.
    among : positions of the first and second images of the only pairs to look at; None looks at all.
    most : pairs beyond which the search is given up.
    progress : called with (alignments done, alignments in all).

    Raises
    ------
    TooManyPairs : more than ``most`` pairs reach the threshold.
    """
    best = _nothing()
    kept = FEATURES[0] if among is not None else _features(images, threshold)
    for position, alignment in enumerate(over):
        fixed, moved = overlap(images, alignment)
        basis = cosines(images.shape[1] - abs(alignment.dy), images.shape[2] - abs(alignment.dx), kept=kept)
        pairs = [best]
        for first, second in _candidates(fixed, moved, basis, threshold, among):
            pairs.append(_correlated(fixed, moved, first, second, position))
            pairs[-1] = pairs[-1].select(pairs[-1].similarity >= threshold)
            if sum(map(len, pairs)) > 2 * most:
                raise _flood(threshold, most)
        best = _best_of(pairs)
        if len(best) > most:
            raise _flood(threshold, most)
        if progress is not None:
            progress(position + 1, len(over))
    return best


def nearest(
    images: Images,
    queries: Indices,
    *,
    over: Sequence[Alignment] = ALIGNMENTS,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Similarity of each query image to the most similar other image, shape (queries,)."""
    best = np.full(len(queries), -1.0, np.float32)
    for position, alignment in enumerate(over):
        fixed, moved = overlap(images, alignment)
        for rows in _blocks(len(queries), 256):
            correlation = fixed[queries[rows]] @ moved.T
            correlation[
                np.arange(len(correlation)), queries[rows]
            ] = -1.0  # an image is not its own near-duplicate
            np.maximum(best[rows], correlation.max(axis=1), out=best[rows])
        if progress is not None:
            progress(position + 1, len(over))
    return best.astype(np.float64)


def similarity_of(
    images: Images, first: Indices, second: Indices, *, over: Sequence[Alignment] = ALIGNMENTS
) -> Matches:
    """Similarity of given pairs of images, and the alignment of each; in the order given."""
    best = _correlated(*overlap(images, over[0]), first, second, 0)
    for position, alignment in enumerate(over[1:], start=1):
        other = _correlated(*overlap(images, alignment), first, second, position)
        better = other.similarity > best.similarity
        best.similarity[better] = other.similarity[better]
        best.alignment[better] = position
    return best


def working_images(images: Images) -> Images:
    """The images at the size at which they are compared: 28 x 28, or their own where that is smaller."""
    if max(images.shape[1:]) <= WORKING_SIDE:
        return images
    side = (WORKING_SIDE, WORKING_SIDE)
    reduced = [Image.fromarray(image).resize(side, Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in reduced])


def overlap(images: Images, alignment: Alignment) -> tuple[Vectors, Vectors]:
    """The overlap of every image, fixed and moved, as centred vectors of length 1, each (cases, pixels).

    An image that is constant over the overlap has no correlation: its vector is 0, so it matches nothing.
    """
    dy, dx = alignment.dy, alignment.dx
    other = images[:, :, ::-1] if alignment.flipped else images
    return _unit_vectors(_cut(images, dy, dx)), _unit_vectors(_cut(other, -dy, -dx))


def cosines(height: int, width: int, *, kept: int = FEATURES[0]) -> Vectors:
    """The smoothest two-dimensional cosines but for the constant one, orthonormal, (pixels, kept)."""
    down, across = _cosine_rows(height), _cosine_rows(width)
    waves = [((u / height) ** 2 + (v / width) ** 2, u, v) for u in range(height) for v in range(width)]
    smoothest = sorted(waves)[1 : kept + 1]
    return np.stack([np.outer(down[u], across[v]).ravel() for _, u, v in smoothest], axis=1).astype(
        np.float32
    )


def _cut(images: Images, dy: int, dx: int) -> Images:
    height, width = images.shape[1:]
    return images[:, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]


def evenly_spaced(count: int, most: int) -> Indices:
    """At most ``most`` places among ``count``, from the first to the last in even steps; not by chance."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _unit_vectors(images: Images) -> Vectors:
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    blank = length < 1e-3 * np.sqrt(flat.shape[1])  # rounding of the mean, not contrast
    return np.divide(flat, length, out=np.zeros_like(flat), where=~blank)


def _features(images: Images, threshold: float) -> int:
    """How many cosines leave so little of nearly every image out that the bound can tell pairs apart."""
    vectors = _unit_vectors(images[evenly_spaced(len(images), SAMPLED)])
    for kept in FEATURES:
        left_out = _with_residual(vectors, cosines(*images.shape[1:], kept=kept))[:, -1] ** 2
        if np.mean(left_out > threshold - ROOM) <= FEW:
            return kept
    return FEATURES[-1]


def _candidates(
    fixed: Vectors,
    moved: Vectors,
    basis: Vectors,
    threshold: float,
    among: tuple[Indices, Indices] | None,
) -> Iterator[tuple[Indices, Indices]]:
    """Blocks of pairs, first before second, whose correlation could reach the threshold."""
    left, right = _with_residual(fixed, basis), _with_residual(moved, basis)
    least = threshold - ROUNDING
    if among is not None:
        bound = _products(left, right, *among)
        yield among[0][bound >= least], among[1][bound >= least]
        return
    for rows in _blocks(len(left), BLOCK):
        for columns in _blocks(len(left), BLOCK, start=rows.start):
            i, j = np.nonzero(left[rows] @ right[columns].T >= least)
            i, j = i + rows.start, j + columns.start
            yield i[i < j], j[i < j]


def _with_residual(vectors: Vectors, basis: Vectors) -> Vectors:
    """Coordinates in an orthonormal basis, and the length of what the basis leaves out."""
    inside = vectors @ basis
    missing = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", inside, inside)
    return np.concatenate([inside, np.sqrt(np.maximum(missing, 0.0))[:, None]], axis=1)


def _cosine_rows(length: int) -> NDArray[np.float64]:
    frequency, place = np.arange(length)[:, None], np.arange(length)[None, :] + 0.5
    rows = np.cos(np.pi * frequency * place / length)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _correlated(fixed: Vectors, moved: Vectors, first: Indices, second: Indices, position: int) -> Matches:
    similarity = np.clip(_products(fixed, moved, first, second), -1.0, 1.0)
    return Matches(first, second, similarity, np.full(len(first), position))


def _products(left: Vectors, right: Vectors, first: Indices, second: Indices) -> NDArray[np.float64]:
    products = np.empty(len(first))
    for rows in _blocks(len(first), 20_000):
        products[rows] = np.einsum("ij,ij->i", left[first[rows]], right[second[rows]])
    return products


def _best_of(parts: Sequence[Matches]) -> Matches:
    """Each pair once, with the alignment that fitted best; the earlier one where two fit equally."""
    every = Matches(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.similarity for part in parts]),
        np.concatenate([part.alignment for part in parts]),
    )
    ranked = every.select(np.lexsort((every.alignment, -every.similarity, every.second, every.first)))
    fresh = np.ones(len(ranked), bool)
    fresh[1:] = (np.diff(ranked.first) != 0) | (np.diff(ranked.second) != 0)
    return ranked.select(fresh)


def _nothing() -> Matches:
    none = np.empty(0, np.int64)
    return Matches(none, none, np.empty(0), none)


def _flood(threshold: float, most: int) -> TooManyPairs:
    return TooManyPairs(
        f"Duplicates should be few, but more than {most:,} pairs of images reach similarity {threshold:g}; "
        f"raise --threshold, or check that the images are what you meant."
    )


def _blocks(length: int, size: int, *, start: int = 0) -> Iterator[slice]:
    for low in range(start, length, size):
        yield slice(low, min(low + size, length))


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
    from scipy.ndimage import gaussian_filter  # a fifth of a second, which predict need not wait for

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
    chosen = evenly_spaced(len(images), MOST_COMPARED)
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


@dataclass(frozen=True)
class Neighbour:
    """A training image and how much alike it and another image are, -1 to 1; 1 for the very same layout."""

    training_case: str
    similarity: float


def most_alike(kept: Trace, images: Images, *, count: int) -> tuple[tuple[Neighbour, ...], ...]:
    """The training images most like each image, the most similar first, displaced or mirrored if need be.

    Parameters
    ----------
    images : uint8, shape (cases, height, width), prepared as the training images were.
    """
    if not len(images):
        return ()
    similarity = _similarity(working_images(images), kept.layout)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
    return tuple(
        tuple(Neighbour(str(kept.case[place]), round(float(row[place]), 4)) for place in places)
        for row, places in zip(similarity, order, strict=True)
    )


def digests(images: Images) -> NDArray[np.str_]:
    """A fingerprint of each prepared image's pixels, hexadecimal, shape (cases,); equal where these are."""
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
