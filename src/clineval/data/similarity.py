"""How alike two small grey images are: normalised correlation over shifts and mirror images, exactly and fast.

The similarity of two images is the largest Pearson correlation of their grey levels over all
displacements of up to ``shift`` pixels (compared where the images overlap) and over mirroring
left to right. It ignores brightness and contrast by construction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clineval.refusal import Refusal

Images = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Progress = Callable[[int, int], None]

FEATURES = 63  # cosines in the first pass; a multiple of 16 with the residual appended
BLOCK = 2048  # images a side in one matrix product: 16 MB of bounds, which stays in cache reach
MOST_PAIRS = 5_000_000  # beyond this a listing helps nobody and memory is at risk


@dataclass(frozen=True)
class Alignment:
    """How one image is laid over another: ``dy`` rows down, ``dx`` columns right, mirrored or not."""

    dy: int
    dx: int
    flipped: bool


@dataclass(frozen=True)
class Matches:
    """Pairs of images at or above a similarity.

    Attributes
    ----------
    first, second : int, shape (pairs,), positions of the images, ``first < second``.
    similarity : float64, shape (pairs,), in [-1, 1].
    alignment : int, shape (pairs,), position in ``alignments`` of the one that matched best.
    alignments : the alignments that were tried.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float64]
    alignment: NDArray[np.int64]
    alignments: tuple[Alignment, ...]

    def __len__(self) -> int:
        return len(self.first)


def alignments(shift: int = 2, *, flips: bool = True) -> tuple[Alignment, ...]:
    """Every displacement up to ``shift`` pixels, each plain and mirrored; the smallest come first."""
    steps = sorted(
        ((dy, dx) for dy in range(-shift, shift + 1) for dx in range(-shift, shift + 1)),
        key=lambda step: (abs(step[0]) + abs(step[1]), step),
    )
    return tuple(
        Alignment(dy, dx, mirrored) for mirrored in ((False, True) if flips else (False,)) for dy, dx in steps
    )


def find_pairs(
    images: Images,
    threshold: float,
    *,
    shift: int = 2,
    flips: bool = True,
    progress: Progress | None = None,
) -> Matches:
    """All pairs of images whose similarity reaches ``threshold``; none is missed.

    A first pass bounds every correlation from above. With unit vectors a and b split into their
    part in a few smooth cosines, Pa and Pb, and the rest, Cauchy-Schwarz gives
    a.b <= Pa.Pb + |a - Pa| |b - Pb|, which is one short product once the residual lengths are
    appended to the features. Only pairs whose bound reaches the threshold are correlated in full.

    Parameters
    ----------
    images : uint8, shape (cases, height, width).
    threshold : least similarity, in (0, 1].
    shift : largest displacement in pixels, each way.
    progress : called with (alignments done, alignments in all).

    Raises
    ------
    Refusal : the threshold is so low that more than five million pairs reach it.
    """
    tried = alignments(shift, flips=flips)
    found = [_Found.nothing()]
    for position, alignment in enumerate(tried):
        fixed, moved = overlap(images, alignment)
        found.append(
            _pairs_of(fixed, moved, threshold, shape=_overlap_shape(images, alignment), label=position)
        )
        if sum(len(part.first) for part in found) > 4 * MOST_PAIRS:
            found = [_best_of(found)]
        _refuse_flood(found, threshold, cases=len(images))
        if progress is not None:
            progress(position + 1, len(tried))
    best = _best_of(found)
    return Matches(best.first, best.second, best.similarity, best.alignment, tried)


def nearest(
    images: Images, queries: NDArray[np.int64], *, shift: int = 2, flips: bool = True
) -> NDArray[np.float64]:
    """Similarity of each query image to the most similar other image, shape (queries,)."""
    best = np.full(len(queries), -1.0, np.float32)
    for alignment in alignments(shift, flips=flips):
        fixed, moved = overlap(images, alignment)
        for rows in _blocks(len(queries), 256):
            correlation = fixed[queries[rows]] @ moved.T
            correlation[np.arange(len(correlation)), queries[rows]] = -1.0  # an image is not its own twin
            np.maximum(best[rows], correlation.max(axis=1), out=best[rows])
    return best.astype(np.float64)


def similarity_of(
    images: Images, first: NDArray[np.int64], second: NDArray[np.int64], *, shift: int = 2, flips: bool = True
) -> NDArray[np.float64]:
    """Similarity of given pairs of images, shape (pairs,)."""
    best = np.full(len(first), -1.0)
    involved, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    left, right = place[: len(first)], place[len(first) :]
    for alignment in alignments(shift, flips=flips):
        fixed, moved = overlap(images[involved], alignment)
        for rows in _blocks(len(first), 20_000):
            best[rows] = np.maximum(best[rows], np.einsum("ij,ij->i", fixed[left[rows]], moved[right[rows]]))
    return best


def overlap(images: Images, alignment: Alignment) -> tuple[Vectors, Vectors]:
    """The overlap of every image, fixed and moved, as centred vectors of length 1, each (cases, pixels).

    An image that is constant over the overlap has no correlation; its vector is 0, so it matches nothing.
    """
    dy, dx = alignment.dy, alignment.dx
    other = images[:, :, ::-1] if alignment.flipped else images
    return _unit_vectors(_cut(images, dy, dx)), _unit_vectors(_cut(other, -dy, -dx))


def _cut(images: Images, dy: int, dx: int) -> Images:
    height, width = images.shape[1:]
    return images[:, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]


def _overlap_shape(images: Images, alignment: Alignment) -> tuple[int, int]:
    return images.shape[1] - abs(alignment.dy), images.shape[2] - abs(alignment.dx)


def _unit_vectors(images: NDArray[np.generic]) -> Vectors:
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-3)


@dataclass(frozen=True)
class _Found:
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float64]
    alignment: NDArray[np.int64]

    @classmethod
    def nothing(cls) -> "_Found":
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))


def _pairs_of(
    fixed: Vectors, moved: Vectors, threshold: float, *, shape: tuple[int, int], label: int
) -> _Found:
    basis = _cosines(shape, FEATURES)
    fixed_features, moved_features = _with_residual(fixed, basis), _with_residual(moved, basis)
    found = [_Found.nothing()]
    for rows in _blocks(len(fixed), BLOCK):
        for columns in _blocks(len(fixed), BLOCK, start=rows.start):
            bound = fixed_features[rows] @ moved_features[columns].T
            i, j = np.nonzero(bound >= threshold - 1e-5)  # float32 products are good to about 1e-6
            i, j = i + rows.start, j + columns.start
            above = i < j
            found.append(_exact(fixed, moved, i[above], j[above], threshold, label=label))
    return _joined(found)


def _exact(
    fixed: Vectors,
    moved: Vectors,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    threshold: float,
    *,
    label: int,
) -> _Found:
    similarity = np.empty(len(i))
    for rows in _blocks(len(i), 20_000):
        similarity[rows] = np.einsum("ij,ij->i", fixed[i[rows]], moved[j[rows]])
    kept = similarity >= threshold
    return _Found(i[kept], j[kept], similarity[kept], np.full(int(kept.sum()), label))


def _with_residual(vectors: Vectors, basis: Vectors) -> Vectors:
    """Coordinates in an orthonormal basis, and the length of what the basis leaves out."""
    inside = vectors @ basis.T
    total = np.einsum("ij,ij->i", vectors, vectors)
    rest = np.sqrt(np.maximum(total - np.einsum("ij,ij->i", inside, inside), 0.0))
    return np.concatenate([inside, rest[:, None]], axis=1)


def _cosines(shape: tuple[int, int], count: int) -> Vectors:
    """The ``count`` smoothest two-dimensional cosines but for the constant one, orthonormal, (count, pixels)."""
    height, width = shape
    down, across = _cosine_rows(height), _cosine_rows(width)
    order = sorted(
        ((u / height) ** 2 + (v / width) ** 2, u, v) for u in range(height) for v in range(width) if u or v
    )
    return np.stack([np.outer(down[u], across[v]).ravel() for _, u, v in order[:count]]).astype(np.float32)


def _cosine_rows(length: int) -> NDArray[np.float64]:
    frequency, place = np.arange(length)[:, None], np.arange(length)[None, :] + 0.5
    rows = np.cos(np.pi * frequency * place / length)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _joined(parts: Sequence[_Found]) -> _Found:
    return _Found(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.similarity for part in parts]),
        np.concatenate([part.alignment for part in parts]),
    )


def _best_of(parts: Sequence[_Found]) -> _Found:
    """Each pair once, with its most similar alignment; the smaller displacement where two are equal."""
    every = _joined(parts)
    order = np.lexsort((every.alignment, -every.similarity, every.second, every.first))
    first, second = every.first[order], every.second[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    kept = order[fresh]
    return _Found(every.first[kept], every.second[kept], every.similarity[kept], every.alignment[kept])


def _refuse_flood(found: Sequence[_Found], threshold: float, *, cases: int) -> None:
    most = max(len(part.first) for part in found)
    if most > MOST_PAIRS:
        raise Refusal(
            f"More than {MOST_PAIRS:,} pairs of the {cases:,} images reach similarity {threshold:g}, which is no "
            f"longer a list of duplicates; raise --threshold, or check that the images are what you meant."
        )


def _blocks(length: int, size: int, *, start: int = 0) -> Iterator[slice]:
    for low in range(start, length, size):
        yield slice(low, min(low + size, length))
