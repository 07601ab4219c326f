"""The audit: images that show the same picture, near-duplicates across splits, contradictory labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.data.cohort import Cohort
from clineval.data.duplicate_threshold import Threshold
from clineval.data.duplicates import (
    DETAIL,
    About,
    Pair,
    copies_of,
    digests,
    duplicate_pairs,
    find_duplicates,
    pairs_below,
    working_images,
)
from clineval.data.groups import (
    Counts,
    DuplicateGroup,
    components,
    duplicate_groups,
    joined_groups,
    sensitivity,
    shares_group,
)
from clineval.data.similarity import SHIFT, Images
from clineval.errors import InputError
from clineval.progress import Progress

SMALLEST = 8  # pixels; in less, displacements leave nothing to compare
MEASURE = (
    "largest mean-centred normalised correlation of the grey levels over displacements of up to "
    f"{SHIFT} pixels each way, on the overlap, plain and mirrored left to right"
)


@dataclass(frozen=True)
class Audit:
    """What the images of a cohort say about its splits and its labels.

    Attributes
    ----------
    threshold : the least similarity of a near-duplicate, with its reason.
    second_look : pairs a little below the threshold count too where their fine detail agrees.
    exact : every pair of images was looked at; False after an approximate first pass.
    case, split : str, shape (cases,); a case is made ``split/case`` where bare names repeat.
    group_of : str, shape (cases,), near-duplicates joined with the cohort's own groups (patients).
    pairs : every pair of near-duplicates, byte-identical ones first, then the most similar first.
    below : the most similar pairs that are not near-duplicates.
    groups : every group of two images or more.
    sensitivity : the counts at other thresholds.
    nearest : similarity of (up to 1,000) images to their nearest neighbour.
    """

    threshold: Threshold
    second_look: bool
    exact: bool
    case: NDArray[np.str_]
    split: NDArray[np.str_]
    group_of: NDArray[np.str_]
    pairs: tuple[Pair, ...]
    below: tuple[Pair, ...]
    groups: tuple[DuplicateGroup, ...]
    sensitivity: tuple[Counts, ...]
    nearest: NDArray[np.float64]

    @property
    def byte_identical(self) -> tuple[tuple[str, str], ...]:
        """Pairs of cases whose images are the same bytes."""
        return tuple(pair.cases for pair in self.pairs if pair.byte_identical)

    @property
    def contradictory(self) -> tuple[tuple[str, str], ...]:
        """Pairs of cases that show the same picture under opposite labels."""
        return tuple(pair.cases for pair in self.pairs if pair.contradictory)

    @property
    def cross_split_pairs(self) -> int:
        """Pairs of near-duplicates whose two images lie in different splits."""
        return sum(pair.across_splits for pair in self.pairs)

    @property
    def test_with_twin(self) -> int:
        """Test cases whose group reaches into train or val."""
        return int(np.sum(self._test() & shares_group(self.group_of, self.split, "train", "val")))

    @property
    def val_with_twin(self) -> int:
        """Validation cases whose group reaches into train."""
        return int(np.sum((self.split == "val") & shares_group(self.group_of, self.split, "train")))

    @property
    def test_clean(self) -> tuple[str, ...]:
        """Test cases whose group has no row in train or val."""
        clean = self._test() & ~shares_group(self.group_of, self.split, "train", "val")
        return tuple(map(str, self.case[clean]))

    def _test(self) -> NDArray[np.bool_]:
        return self.split == "test"

    def to_json(self) -> dict[str, Any]:
        """The contract of ``audit.json``, with what a reader needs to judge it."""
        return {
            "measure": MEASURE,
            "threshold": self.threshold.value,
            "threshold_origin": self.threshold.origin,
            "threshold_reason": self.threshold.reason,
            "second_look": self._second_look_in_words(),
            "search": "exact" if self.exact else "approximate",
            "cases": len(self.case),
            "groups": [group.to_json() for group in self.groups],
            "byte_identical": [list(cases) for cases in self.byte_identical],
            "contradictory": [list(cases) for cases in self.contradictory],
            "cross_split_pairs": self.cross_split_pairs,
            "test_with_twin": self.test_with_twin,
            "val_with_twin": self.val_with_twin,
            "test_clean": list(self.test_clean),
            "pairs": [pair.to_json() for pair in self.pairs],
            "below_threshold": [pair.to_json() for pair in self.below],
            "sensitivity": [vars(counts) for counts in self.sensitivity],
        }

    def _second_look_in_words(self) -> str:
        if not self.second_look:
            return ""
        below = sum(pair.similarity < self.threshold.value for pair in self.pairs)
        return (
            f"{below} pairs below the threshold count as near-duplicates because structures narrower than a "
            f"seventh of the image agree (correlation of at least {DETAIL:g})."
        )


def audit(cohort: Cohort, *, threshold: float | None = None, progress: Progress | None = None) -> Audit:
    """Find the images of a cohort that show the same picture, and what that does to splits and labels.

    Parameters
    ----------
    threshold : least similarity of a near-duplicate, above 0 and at most 1; None reads it off the data.
    progress : called with (steps done, steps in all).

    Raises
    ------
    InputError : fewer than two images, or a threshold out of range.
    """
    return audit_images(
        cohort.images,
        case=case_names(cohort.case, cohort.split),
        split=cohort.split,
        outcome=cohort.outcome,
        group=cohort.group,
        threshold=threshold,
        progress=progress,
    )


def audit_images(
    images: Images,
    *,
    case: NDArray[np.str_],
    split: NDArray[np.str_],
    outcome: NDArray[np.generic] | None = None,
    group: NDArray[np.str_] | None = None,
    fingerprint: NDArray[np.bytes_] | None = None,
    threshold: float | None = None,
    progress: Progress | None = None,
) -> Audit:
    """``audit`` for images that need carry no outcome, or labels of any kind.

    ``fingerprint``, shape (cases,), says which images were the same bytes before they were brought
    to one size; by default the images as given are compared.
    """
    if len(images) < 2:
        raise InputError(
            f"An audit compares images with each other and needs at least two; got {len(images)}."
        )
    if min(images.shape[1:]) < SMALLEST:
        raise InputError(
            f"An audit needs images of at least {SMALLEST} x {SMALLEST} pixels; "
            f"got {images.shape[1]} x {images.shape[2]}."
        )
    about = About(case, split, outcome)
    digest = digests(images)
    copies = copies_of(digest)
    originals = [positions[0] for positions in copies]
    found = find_duplicates(images[originals], threshold=threshold, progress=progress)
    pairs = duplicate_pairs(found, copies, digest if fingerprint is None else fingerprint, about)
    component = components([pair.positions for pair in pairs], len(images))
    return Audit(
        threshold=found.threshold,
        second_look=found.second_look,
        exact=found.exact,
        case=case,
        split=split,
        group_of=joined_groups(component, case, group),
        pairs=pairs,
        below=pairs_below(found, copies, about),
        groups=duplicate_groups(working_images(images), component, about),
        sensitivity=sensitivity(found, copies, about),
        nearest=found.nearest,
    )


def case_names(case: NDArray[np.str_], split: NDArray[np.str_]) -> NDArray[np.str_]:
    """Names that are unique over the whole cohort: ``split/case`` where a bare name occurs twice."""
    if len(np.unique(case)) == len(case):
        return case
    return np.char.add(np.char.add(split, "/"), case)
