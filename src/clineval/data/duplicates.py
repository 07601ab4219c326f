"""Near-duplicate images: the similarity from which images count, their evidence, the search in large sets."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.data.similarity import (
    ALIGNMENTS,
    SHIFT,
    Alignment,
    Images,
    Indices,
    Matches,
    TooManyPairs,
    Vectors,
    cosines,
    detail_of,
    evenly_spaced,
    find_pairs,
    nearest,
    overlap,
    working_images,
)
from clineval.errors import InputError, Progress

LEAST = 0.9  # images that correlate less are not called duplicates, however empty the gap
MOST = 0.999  # a copy saved again as JPEG must still be found
CEILING = 0.9999  # similarities above are as good as 1; keeps Fisher's z finite
BANDWIDTH = 0.15  # in z: wide enough to smooth chance out of some hundred neighbours
DEPTH = 1.5  # a gap is a place with humps more than this many times as high on both sides
EMPTY = 10.0  # and with humps this many times as high it is as good as empty: no need to go on
FEWEST_ABOVE = 10  # images above a gap; fewer may be the ragged end of one hump
FEWEST_IMAGES = 20  # below, no distribution to speak of
FALLBACK = 0.97  # what the gap in BreastMNIST comes to; used where nothing can be read off the data
FAR_OUT = 3.0  # standard deviations above the hump of single images; chance exceeds it once in 740


@dataclass(frozen=True)
class Threshold:
    """The least similarity of a duplicate, how it was come by, and the reason in words.

    ``origin`` is ``gap`` (read off the data), ``fence`` (no gap there: far above what unrelated
    images reach), ``fallback`` (too little data for either) or ``given`` (asked for).
    """

    value: float
    origin: str
    reason: str


def given(value: float) -> Threshold:
    """The threshold that the user asked for, above 0 and at most 1."""
    if not 0.0 < value <= 1.0:
        raise InputError(f"A similarity threshold must be above 0 and at most 1; got {value:g}. Try 0.97.")
    return Threshold(value, "given", f"{value:g} was asked for.")


def calibrate(nearest: NDArray[np.float64]) -> Threshold:
    """The gap between the similarities of images without a near-duplicate and of images with one.

    An image's similarity to its nearest neighbour comes from one of two populations: images
    without a near-duplicate, as a broad hump, and images with one, close to 1. On Fisher's z scale, which
    spreads the crowded end out, a kernel density shows both. The threshold is the first low point
    to the right of the broad hump.

    Parameters
    ----------
    nearest : similarity of images to their nearest neighbour, shape (images,), in [-1, 1].
    """
    scale = np.arctanh(np.clip(nearest[np.isfinite(nearest)], -CEILING, CEILING))
    if len(scale) < FEWEST_IMAGES or scale.std() == 0:
        reason = f"{FALLBACK:g} by default: there are too few different images to see a gap."
        return Threshold(FALLBACK, "fallback", reason)
    gap = _gap(scale)
    return _fence(scale) if gap is None else gap


def _gap(scale: NDArray[np.float64]) -> Threshold | None:
    grid, density = _density(scale)
    lowest = _first_low_point(density, grid >= np.arctanh(LEAST))
    if lowest is None or np.sum(scale > grid[lowest]) < FEWEST_ABOVE:
        return None
    value = round(float(np.tanh(grid[lowest])), 3)
    below, above = np.tanh(scale[scale < np.arctanh(value)]), np.tanh(scale[scale >= np.arctanh(value)])
    reason = (
        f"{value:g}: the gap in the similarities of {len(scale)} images to their nearest neighbour; "
        f"{len(below)} lie below it (median {np.median(below):.2f}), "
        f"{len(above)} above (median {np.median(above):.3f})."
    )
    return Threshold(value, "gap", reason)


def _density(scale: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from scipy.stats import gaussian_kde  # half a second, which predict need not wait for

    grid = np.linspace(scale.min(), np.arctanh(CEILING), 1000)
    return grid, gaussian_kde(scale, BANDWIDTH / scale.std())(grid)


def _first_low_point(density: NDArray[np.float64], allowed: NDArray[np.bool_]) -> int | None:
    """The first allowed position, with higher humps on both sides, that is empty or where the fall ends."""
    left, right = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    humps = np.minimum(left, right)
    bottom = density * EMPTY < humps
    bottom[:-1] |= density[:-1] <= density[1:]
    low = allowed & bottom & (density * DEPTH < humps)
    return int(np.argmax(low)) if low.any() else None


def _fence(scale: NDArray[np.float64]) -> Threshold:
    """Far above the hump of images without a near-duplicate, whose width is read off its left side alone."""
    grid, density = _density(scale)
    peak = grid[np.argmax(density)]
    spread = np.sqrt(np.mean((peak - scale[scale <= peak]) ** 2))
    value = round(float(np.clip(np.tanh(peak + FAR_OUT * spread), LEAST, MOST)), 3)
    reason = (
        f"{value:g}: the similarities of {len(scale)} images to their nearest neighbour show no gap, so "
        f"it lies {FAR_OUT:g} standard deviations above their hump at {np.tanh(peak):.2f}, on Fisher's z."
    )
    return Threshold(value, "fence", reason)


MOST_QUERIES, FEWEST_QUERIES = 1000, 200  # images whose nearest neighbours calibrate the threshold
MOST_COMPARISONS = 10_000_000  # of those with all others; decides between the two
EXACT_UP_TO = 30_000  # images; beyond, candidates come from an approximate search if it is installed
MOST_LOOKED_AT = 500_000  # pairs, near-duplicates included, that get a second look; about half a minute
NEAR = 0.07  # how far below the threshold the second look goes
LOWEST = 0.85  # and not below this
LISTED_FROM = 0.95  # every pair from here up is kept, for the table of counts per threshold
DETAIL = 0.6  # least agreement in fine detail; it lies in a gap on BreastMNIST, at every size
UNDECIDED = 0.1  # width of the band under DETAIL that must be nearly empty for the second look to count


@dataclass(frozen=True)
class Duplicates:
    """What the search found.

    Attributes
    ----------
    threshold : the least similarity of a near-duplicate.
    second_look : pairs below the threshold count as near-duplicates too if their fine detail agrees.
    exact : every pair was looked at; False after an approximate first pass.
    nearest : similarity of (up to 1,000) images to their nearest neighbour.
    listed : every pair from ``from_similarity`` up, counted or not.
    detail : agreement in fine detail of each listed pair, at full size where it can decide.
    counted : bool, of each listed pair: whether it counts as near-duplicates.
    """

    threshold: Threshold
    second_look: bool
    exact: bool
    nearest: NDArray[np.float64]
    from_similarity: float
    listed: Matches
    detail: NDArray[np.float64]
    counted: NDArray[np.bool_]

    def alignment_of(self, row: int) -> Alignment:
        """How the two images of a listed pair fit."""
        return ALIGNMENTS[int(self.listed.alignment[row])]


def find_duplicates(
    images: Images, *, threshold: float | None = None, progress: Progress | None = None
) -> Duplicates:
    """Every pair of images that shows the same picture.

    A pair counts when its similarity reaches the threshold. Where the threshold is read off the data,
    pairs up to .07 below it get a second look and count if their fine detail agrees; a threshold that
    was asked for is applied as it stands.

    Parameters
    ----------
    images : uint8, shape (cases, height, width), no two the same bytes.
    threshold : in (0, 1]; None calibrates it on the data.
    progress : called with (steps done, steps in all).
    """
    asked = None if threshold is None else given(threshold)
    working = working_images(images)
    neighbours = _neighbours(working, progress=_part(progress, 0))
    cut = asked or calibrate(neighbours)
    floor = float(np.clip(cut.value - NEAR, LOWEST, LISTED_FROM))
    listed, floor = _listed(working, cut.value, floor, progress=_part(progress, 1))
    similar = listed.similarity >= cut.value
    detail = _detail(images, working, listed, similar)
    second_look = threshold is None and _separates(detail)
    counted = similar | (second_look & (detail >= DETAIL))
    exact = _is_exact(len(images))
    return Duplicates(cut, second_look, exact, neighbours, floor, listed, detail, counted)


def _neighbours(working: Images, *, progress: Progress | None) -> NDArray[np.float64]:
    """Nearest-neighbour similarities of evenly spaced images: no chance in the threshold."""
    if len(working) < 2:
        return np.empty(0)
    wanted = np.clip(MOST_COMPARISONS // len(working), FEWEST_QUERIES, MOST_QUERIES)
    return nearest(working, evenly_spaced(len(working), int(wanted)), progress=progress)


def _is_exact(cases: int) -> bool:
    return cases <= EXACT_UP_TO or not is_available()


def _listed(
    working: Images, threshold: float, floor: float, *, progress: Progress | None
) -> tuple[Matches, float]:
    """Every pair from the floor up, or from the threshold up where the floor would bring in a flood."""
    if not _is_exact(len(working)):
        floor = min(floor, threshold)
        return find_pairs_approximately(working, floor, progress=progress), floor
    if floor < threshold:
        with contextlib.suppress(TooManyPairs):
            return find_pairs(working, floor, most=MOST_LOOKED_AT, progress=progress), floor
    return find_pairs(working, threshold, progress=progress), threshold


def _detail(
    images: Images, working: Images, listed: Matches, similar: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Agreement in detail: of all at the working size, then at full size of those that may count."""
    flipped = np.array([alignment.flipped for alignment in ALIGNMENTS])[listed.alignment]
    detail = detail_of(working, listed.first, listed.second, flipped=flipped)
    if images is working:
        return detail
    promising: Indices = np.flatnonzero(similar | (detail >= DETAIL - 2 * UNDECIDED))
    detail[promising] = detail_of(
        images, listed.first[promising], listed.second[promising], flipped=flipped[promising]
    )
    return detail


def _separates(detail: NDArray[np.float64]) -> bool:
    """Fine detail tells near-duplicates apart here: hardly any pair lies just below the cut."""
    return bool(2 * np.sum((detail >= DETAIL - UNDECIDED) & (detail < DETAIL)) <= np.sum(detail >= DETAIL))


def _part(progress: Progress | None, part: int) -> Progress | None:
    """The progress of one of the two searches as that of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(part * total + done, 2 * total)


MOST_COPIES = 50  # identical copies are listed pair by pair up to here, beyond each against the first
SHOWN_BELOW = 24  # pairs just below the threshold that are kept for a gallery
DECIMALS = 4  # of a similarity; single precision gives six, and more would differ between machines
STILL = Alignment(0, 0, False)

Label = int | str
Copies = list[list[int]]


@dataclass(frozen=True)
class About:
    """What is known of each image beside its pixels, one entry per image; ``outcome`` may be missing."""

    case: NDArray[np.str_]
    split: NDArray[np.str_]
    outcome: NDArray[np.generic] | None

    def outcomes(self, positions: Sequence[int]) -> tuple[Label, ...] | None:
        """The labels of some images: 1 and 0 of a cohort, words as given in a user's own table."""
        if self.outcome is None:
            return None
        values = self.outcome[list(positions)].tolist()
        return tuple(value if isinstance(value, str) else int(value) for value in values)


@dataclass(frozen=True)
class Pair:
    """Two images of a cohort that look alike.

    ``positions`` are rows of the cohort; ``outcomes`` are 1 for the condition and 0 without it (or the
    labels of a user's own table), None where the images carry none.
    ``similarity`` is in [-1, 1]; ``detail`` is the agreement of structures narrower than a seventh
    of the image; ``alignment`` says how the second image is laid over the first.
    """

    positions: tuple[int, int]
    cases: tuple[str, str]
    splits: tuple[str, str]
    outcomes: tuple[Label, ...] | None
    similarity: float
    detail: float
    byte_identical: bool
    alignment: Alignment

    @property
    def kind(self) -> str:
        """``byte-identical`` or ``near-duplicate``."""
        return "byte-identical" if self.byte_identical else "near-duplicate"

    @property
    def contradictory(self) -> bool:
        """The two carry opposite labels; an empty label opposes none."""
        return self.outcomes is not None and len(labels(self.outcomes)) > 1

    @property
    def across_splits(self) -> bool:
        """The two lie in different splits."""
        return self.splits[0] != self.splits[1]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in ``audit.json``."""
        return {
            "cases": list(self.cases),
            "splits": list(self.splits),
            "outcomes": None if self.outcomes is None else list(self.outcomes),
            "kind": self.kind,
            "similarity": self.similarity,
            "detail": self.detail,
            "rows": self.alignment.dy,
            "columns": self.alignment.dx,
            "mirrored": self.alignment.flipped,
        }


def labels(outcomes: Sequence[Label]) -> set[Label]:
    """The different labels among some images, empty ones left out."""
    return set(outcomes) - {""}


def copies_of(digest: NDArray[np.bytes_]) -> list[list[int]]:
    """Positions that share a digest, in the order of their first member."""
    together: dict[bytes, list[int]] = {}
    for position, key in enumerate(digest.tolist()):
        together.setdefault(key, []).append(position)
    return list(together.values())


def duplicate_pairs(
    found: Duplicates, copies: Copies, fingerprint: NDArray[np.bytes_], about: About
) -> tuple[Pair, ...]:
    """Every pair of near-duplicates, byte-identical ones first, then the most similar first.

    Parameters
    ----------
    copies : positions that show the same bytes, in the order in which the search numbered them.
    fingerprint : shape (cases,), of the files as given; equal where those were the same.
    """
    pairs = [
        _pair(a, b, 1.0, 1.0, STILL, about, identical=bool(fingerprint[a] == fingerprint[b]))
        for positions in copies
        for a, b in _within(positions)
    ]
    for row in np.flatnonzero(found.counted).tolist():
        similarity, detail = float(found.listed.similarity[row]), float(found.detail[row])
        first, second = copies[found.listed.first[row]], copies[found.listed.second[row]]
        for a, b in _between(first, second):
            pairs.append(_pair(a, b, similarity, detail, found.alignment_of(row), about))
    return tuple(sorted(pairs, key=lambda pair: (not pair.byte_identical, -pair.similarity, pair.positions)))


def pairs_below(found: Duplicates, copies: Copies, about: About) -> tuple[Pair, ...]:
    """The most similar pairs that are not near-duplicates, so that a reader can judge the cut."""
    rest = np.flatnonzero(~found.counted)
    nearest = rest[np.argsort(-found.listed.similarity[rest], kind="stable")][:SHOWN_BELOW]
    return tuple(
        _pair(
            copies[found.listed.first[row]][0],
            copies[found.listed.second[row]][0],
            float(found.listed.similarity[row]),
            float(found.detail[row]),
            found.alignment_of(row),
            about,
        )
        for row in nearest.tolist()
    )


def _within(positions: list[int]) -> list[tuple[int, int]]:
    if len(positions) > MOST_COPIES:
        return [(positions[0], other) for other in positions[1:]]
    return list(combinations(positions, 2))


def _between(first: list[int], second: list[int]) -> list[tuple[int, int]]:
    if len(first) * len(second) > MOST_COPIES:
        return [(first[0], second[0])]
    return [(a, b) for a in first for b in second]


def _pair(
    a: int,
    b: int,
    similarity: float,
    detail: float,
    alignment: Alignment,
    about: About,
    *,
    identical: bool = False,
) -> Pair:
    i, j = min(a, b), max(a, b)
    return Pair(
        positions=(i, j),
        cases=(str(about.case[i]), str(about.case[j])),
        splits=(str(about.split[i]), str(about.split[j])),
        outcomes=about.outcomes((i, j)),
        similarity=round(similarity, DECIMALS),
        detail=round(detail, DECIMALS),
        byte_identical=identical,
        alignment=alignment,
    )


NEIGHBOURS = 4  # candidates per look-up, of which each image has ten
SMOOTHEST = 24  # cosines; more of them change too much under a displacement
DISPLACED = ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))  # rows down, columns to the right


def is_available() -> bool:
    """The neighbour library of the extra ``audit`` is installed."""
    return find_spec("pynndescent") is not None


def find_pairs_approximately(
    images: Images, threshold: float, *, progress: Progress | None = None
) -> Matches:
    """Pairs of images whose similarity reaches ``threshold``; nearly all of them.

    The middle of each image, as it is and displaced by a pixel along either diagonal, plain and
    mirrored, is looked up among the middles of all by its smoothest cosines. So every displacement
    of up to two pixels comes within a pixel of one that was looked up.

    Parameters
    ----------
    images : uint8, shape (cases, height, width).
    threshold : least similarity, in (0, 1].
    progress : called with (alignments done, alignments in all).
    """
    return find_pairs(images, threshold, among=_candidates(images), progress=progress)


def _candidates(images: Images) -> tuple[Indices, Indices]:
    from pynndescent import NNDescent  # its compiler takes ten seconds, spent only where it is needed

    index = NNDescent(_middle(images, 0, 0), n_neighbors=15, random_state=0, n_jobs=-1)
    found = [index.neighbor_graph[0][:, : NEIGHBOURS + 1]]
    for field in (images, images[:, :, ::-1]):
        for dy, dx in DISPLACED:
            found.append(index.query(_middle(field, dy, dx), k=NEIGHBOURS + 1)[0])  # one is the image itself
    here = np.concatenate([np.repeat(np.arange(len(images)), near.shape[1]) for near in found])
    there = np.concatenate([near.ravel() for near in found]).astype(np.int64)
    known = (there >= 0) & (here != there)  # the search marks a neighbour that it did not find by -1
    low, high = np.minimum(here, there)[known], np.maximum(here, there)[known]
    code = np.unique(low * len(images) + high)
    return code // len(images), code % len(images)


def _middle(images: Images, dy: int, dx: int) -> Vectors:
    """Smooth cosines of the middle of each image, displaced by rows and columns, (images, 24)."""
    height, width = (side - SHIFT for side in images.shape[1:])
    middle = images[:, SHIFT + dy : height + dy, SHIFT + dx : width + dx]
    return overlap(middle, STILL)[0] @ cosines(*middle.shape[1:])[:, :SMOOTHEST]
