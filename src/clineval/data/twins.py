"""The search for twins: pairs of images that show the same picture, with the evidence for each."""

import contextlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clineval.data import approximate
from clineval.data.detail import detail_of
from clineval.data.similarity import (
    ALIGNMENTS,
    Alignment,
    Images,
    Indices,
    Matches,
    Progress,
    TooManyPairs,
    find_pairs,
    nearest,
    working_images,
)
from clineval.data.threshold import Threshold, calibrate, given

MOST_QUERIES, FEWEST_QUERIES = 1000, 200  # images whose nearest neighbours calibrate the threshold
MOST_COMPARISONS = 10_000_000  # of those with all others; decides between the two
EXACT_UP_TO = 30_000  # images; beyond, candidates come from an approximate search if it is installed
MOST_LOOKED_AT = 500_000  # pairs, twins included, that get a second look; about half a minute
NEAR = 0.07  # how far below the threshold the second look goes
LOWEST = 0.85  # and not below this
LISTED_FROM = 0.95  # every pair from here up is kept, for the table of counts per threshold
DETAIL = 0.6  # least agreement in fine detail; it lies in a gap on BreastMNIST, at every size
UNDECIDED = 0.1  # width of the band under DETAIL that must be nearly empty for the second look to count


@dataclass(frozen=True)
class Twins:
    """What the search found.

    Attributes
    ----------
    threshold : the least similarity of a twin.
    second_look : pairs below the threshold count as twins too if their fine detail agrees.
    exact : every pair was looked at; False after an approximate first pass.
    nearest : similarity of (up to 1,000) images to their nearest neighbour.
    listed : every pair from ``from_similarity`` up, twin or not.
    detail : agreement in fine detail of each listed pair, at full size where it can decide.
    twin : bool, of each listed pair.
    """

    threshold: Threshold
    second_look: bool
    exact: bool
    nearest: NDArray[np.float64]
    from_similarity: float
    listed: Matches
    detail: NDArray[np.float64]
    twin: NDArray[np.bool_]

    def alignment_of(self, row: int) -> Alignment:
        """How the two images of a listed pair fit."""
        return ALIGNMENTS[int(self.listed.alignment[row])]


def find_twins(images: Images, *, threshold: float | None = None, progress: Progress | None = None) -> Twins:
    """Every pair of images that shows the same picture.

    A pair is a twin when its similarity reaches the threshold. Where the threshold is read off the
    data, pairs up to .07 below it get a second look and count if their fine detail agrees; a
    threshold that was asked for is applied as it stands.

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
    twin = similar | (second_look & (detail >= DETAIL))
    exact = _is_exact(len(images))
    return Twins(cut, second_look, exact, neighbours, floor, listed, detail, twin)


def _neighbours(working: Images, *, progress: Progress | None) -> NDArray[np.float64]:
    """Nearest-neighbour similarities of evenly spaced images: no chance in the threshold."""
    if len(working) < 2:
        return np.empty(0)
    wanted = np.clip(MOST_COMPARISONS // len(working), FEWEST_QUERIES, MOST_QUERIES)
    queries = np.linspace(0, len(working) - 1, min(len(working), wanted)).astype(np.int64)
    return nearest(working, np.unique(queries), progress=progress)


def _is_exact(cases: int) -> bool:
    return cases <= EXACT_UP_TO or not approximate.is_available()


def _listed(
    working: Images, threshold: float, floor: float, *, progress: Progress | None
) -> tuple[Matches, float]:
    """Every pair from the floor up, or from the threshold up where the floor would bring in a flood."""
    if not _is_exact(len(working)):
        floor = min(floor, threshold)
        return approximate.find_pairs_approximately(working, floor, progress=progress), floor
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
    """Fine detail tells twins apart here: hardly any pair lies just below the cut."""
    return bool(2 * np.sum((detail >= DETAIL - UNDECIDED) & (detail < DETAIL)) <= np.sum(detail >= DETAIL))


def _part(progress: Progress | None, part: int) -> Progress | None:
    """The progress of one of the two searches as that of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(part * total + done, 2 * total)
