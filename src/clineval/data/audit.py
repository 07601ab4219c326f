"""The audit: which images are the same picture, where such twins cross splits, where their labels disagree."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from clineval.data.cohort import Cohort
from clineval.data.similarity import Alignment, Images, find_pairs, nearest, similarity_of
from clineval.data.threshold import Threshold, calibrate, given
from clineval.refusal import Refusal

Progress = Callable[[int, int], None]

SHIFT = 2  # pixels at the working size; 7 % of the width
WORKING_SIDE = 28  # pixels; larger images are reduced to this before they are compared
MOST_COPIES = 50  # identical copies of one image are listed pair by pair up to here, then against the first
MOST_QUERIES = 1000  # images whose nearest neighbour calibrates the threshold
MEASURE = (
    "largest mean-centred normalised correlation of the grey levels over displacements of up to "
    f"{SHIFT} pixels each way, on the overlap, plain and mirrored left to right"
)


@dataclass(frozen=True)
class Pair:
    """Two images that are the same picture, as far as their grey levels can tell.

    ``positions`` are rows of the cohort; ``outcomes`` are None where the images carry no label.
    """

    positions: tuple[int, int]
    cases: tuple[str, str]
    splits: tuple[str, str]
    outcomes: tuple[bool, bool] | None
    similarity: float
    byte_identical: bool
    alignment: Alignment

    @property
    def contradictory(self) -> bool:
        """The two carry opposite labels."""
        return self.outcomes is not None and self.outcomes[0] != self.outcomes[1]

    @property
    def across_splits(self) -> bool:
        """The two lie in different splits."""
        return self.splits[0] != self.splits[1]


@dataclass(frozen=True)
class DuplicateGroup:
    """Images joined by a chain of duplicate pairs; ``similarity`` is that of the two least alike."""

    name: str
    positions: tuple[int, ...]
    cases: tuple[str, ...]
    splits: tuple[str, ...]
    outcomes: tuple[bool, ...] | None
    similarity: float
    least_similar: tuple[str, str]

    @property
    def mixed(self) -> bool:
        """The group holds both labels."""
        return self.outcomes is not None and len(set(self.outcomes)) > 1

    @property
    def across_splits(self) -> bool:
        """The group reaches over more than one split."""
        return len(set(self.splits)) > 1


@dataclass(frozen=True)
class Audit:
    """What the images of a cohort say about its splits and its labels.

    Attributes
    ----------
    case : str, shape (cases,), names as in the table; made ``split/case`` where a name occurs twice.
    group_of : str, shape (cases,), duplicates joined with the cohort's own groups (patients).
    pairs : every duplicate pair, most similar first.
    groups : every group of two images or more.
    nearest : float64, similarity of images to their nearest neighbour, on which the threshold rests.
    """

    threshold: Threshold
    case: NDArray[np.str_]
    split: NDArray[np.str_]
    group_of: NDArray[np.str_]
    pairs: tuple[Pair, ...]
    groups: tuple[DuplicateGroup, ...]
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
        """Duplicate pairs whose two images lie in different splits."""
        return sum(pair.across_splits for pair in self.pairs)

    @property
    def test_with_twin(self) -> int:
        """Test cases whose group reaches into train or val."""
        return int((self._in("test") & self._shares_group_with("train", "val")).sum())

    @property
    def val_with_twin(self) -> int:
        """Validation cases whose group reaches into train."""
        return int((self._in("val") & self._shares_group_with("train")).sum())

    @property
    def test_clean(self) -> tuple[str, ...]:
        """Test cases whose group has no row in train or val."""
        return tuple(map(str, self.case[self._in("test") & ~self._shares_group_with("train", "val")]))

    def _in(self, *splits: str) -> NDArray[np.bool_]:
        return np.isin(self.split, splits)

    def _shares_group_with(self, *splits: str) -> NDArray[np.bool_]:
        return np.isin(self.group_of, self.group_of[self._in(*splits)])

    def to_json(self) -> dict[str, Any]:
        """The contract of ``audit.json``, with what a reader needs to judge it."""
        return {
            "measure": MEASURE,
            "threshold": self.threshold.value,
            "threshold_reason": self.threshold.reason,
            "cases": len(self.case),
            "groups": [_group_json(group) for group in self.groups],
            "byte_identical": [list(pair) for pair in self.byte_identical],
            "contradictory": [list(pair) for pair in self.contradictory],
            "cross_split_pairs": self.cross_split_pairs,
            "test_with_twin": self.test_with_twin,
            "val_with_twin": self.val_with_twin,
            "test_clean": list(self.test_clean),
            "pairs": [_pair_json(pair) for pair in self.pairs],
        }


def audit(cohort: Cohort, *, threshold: float | None = None, progress: Progress | None = None) -> Audit:
    """Find the images of a cohort that are the same picture, and what that does to its splits and labels.

    Parameters
    ----------
    threshold : least similarity of a duplicate, in (0, 1]; None calibrates it on the data.
    progress : called with (steps done, steps in all).

    Raises
    ------
    Refusal : fewer than two images, or a threshold outside (0, 1].
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
    outcome: NDArray[np.bool_] | None = None,
    group: NDArray[np.str_] | None = None,
    threshold: float | None = None,
    progress: Progress | None = None,
) -> Audit:
    """``audit`` for images that need carry no outcome; the same parameters, one entry per image."""
    if len(images) < 2:
        raise Refusal(f"An audit compares images, so it needs at least two; came {len(images)}.")
    working, representative = working_images(images), identical_to(images)
    unique = np.flatnonzero(representative == np.arange(len(images)))
    neighbours = (
        nearest(working[unique], _sample(len(unique)), shift=SHIFT) if len(unique) > 1 else np.empty(0)
    )
    cut = calibrate(neighbours) if threshold is None else given(threshold)
    table = _Table(case, split, outcome)
    pairs = _pairs(working[unique], unique, representative, table, cut.value, progress)
    groups = _groups(working, pairs, table)
    return Audit(cut, case, split, _joined_groups(pairs, case, group), pairs, groups, neighbours)


def case_names(case: NDArray[np.str_], split: NDArray[np.str_]) -> NDArray[np.str_]:
    """Names that are unique over the whole cohort: ``split/case`` where a bare name occurs twice."""
    if len(np.unique(case)) == len(case):
        return case
    return np.char.add(np.char.add(split, "/"), case)


def identical_to(images: Images) -> NDArray[np.int64]:
    """For each image the position of the first one with the same bytes, shape (cases,)."""
    first: dict[bytes, int] = {}
    return np.array(
        [
            first.setdefault(hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest(), position)
            for position, image in enumerate(images)
        ],
        dtype=np.int64,
    )


def working_images(images: Images) -> Images:
    """The images at the size at which they are compared, (cases, 28, 28); smaller ones as they are."""
    if max(images.shape[1:]) <= WORKING_SIDE:
        return images
    side = (WORKING_SIDE, WORKING_SIDE)
    return np.stack(
        [np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BILINEAR)) for image in images]
    )


@dataclass(frozen=True)
class _Table:
    """What is known of each image beside its pixels."""

    case: NDArray[np.str_]
    split: NDArray[np.str_]
    outcome: NDArray[np.bool_] | None

    def outcomes(self, positions: Sequence[int]) -> Any:
        return None if self.outcome is None else tuple(bool(self.outcome[p]) for p in positions)

    def words(self, column: NDArray[np.str_], positions: Sequence[int]) -> Any:
        return tuple(str(column[p]) for p in positions)


def _sample(count: int) -> NDArray[np.int64]:
    """Evenly spaced positions, all of them where there are few: no chance in the threshold."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_QUERIES)).astype(np.int64))


def _pairs(
    working: Images,
    unique: NDArray[np.int64],
    representative: NDArray[np.int64],
    table: _Table,
    threshold: float,
    progress: Progress | None,
) -> tuple[Pair, ...]:
    matches = find_pairs(working, threshold, shift=SHIFT, progress=progress)
    copies: dict[int, list[int]] = {}
    for position, original in enumerate(representative):
        copies.setdefault(int(original), []).append(position)
    still = matches.alignments[0]
    pairs = [
        _pair(a, b, 1.0, still, table, identical=True) for same in copies.values() for a, b in _within(same)
    ]
    for row in range(len(matches)):
        first, second = copies[int(unique[matches.first[row]])], copies[int(unique[matches.second[row]])]
        alignment, similarity = matches.alignments[matches.alignment[row]], float(matches.similarity[row])
        pairs += [
            _pair(a, b, similarity, alignment, table, identical=False) for a, b in _between(first, second)
        ]
    return tuple(sorted(pairs, key=lambda pair: (not pair.byte_identical, -pair.similarity, pair.positions)))


def _within(same: list[int]) -> list[tuple[int, int]]:
    if len(same) > MOST_COPIES:
        return [(same[0], other) for other in same[1:]]
    return list(combinations(same, 2))


def _between(first: list[int], second: list[int]) -> list[tuple[int, int]]:
    if len(first) * len(second) > MOST_COPIES:
        return [(first[0], second[0])]
    return [(a, b) for a in first for b in second]


def _pair(a: int, b: int, similarity: float, alignment: Alignment, table: _Table, *, identical: bool) -> Pair:
    ends = (min(a, b), max(a, b))
    return Pair(
        positions=ends,
        cases=table.words(table.case, ends),
        splits=table.words(table.split, ends),
        outcomes=table.outcomes(ends),
        similarity=min(similarity, 1.0),
        byte_identical=identical,
        alignment=alignment,
    )


def _components(edges: Sequence[tuple[int, int]], count: int) -> NDArray[np.int64]:
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _groups(working: Images, pairs: Sequence[Pair], table: _Table) -> tuple[DuplicateGroup, ...]:
    component = _components([pair.positions for pair in pairs], len(working))
    involved = np.unique([position for pair in pairs for position in pair.positions]).astype(np.int64)
    members: dict[int, list[int]] = {}
    for position in involved:
        members.setdefault(int(component[position]), []).append(int(position))
    return tuple(_group(working, positions, table) for positions in members.values())


def _group(working: Images, positions: list[int], table: _Table) -> DuplicateGroup:
    ends = np.array(list(combinations(positions[:200], 2)))
    similarity = similarity_of(working, ends[:, 0], ends[:, 1], shift=SHIFT)
    similarity[[np.array_equal(working[a], working[b]) for a, b in ends]] = 1.0
    weakest = int(np.argmin(similarity))
    return DuplicateGroup(
        name=str(table.case[positions[0]]),
        positions=tuple(positions),
        cases=table.words(table.case, positions),
        splits=table.words(table.split, positions),
        outcomes=table.outcomes(positions),
        similarity=min(float(similarity[weakest]), 1.0),
        least_similar=table.words(table.case, ends[weakest]),
    )


def _joined_groups(
    pairs: Sequence[Pair], case: NDArray[np.str_], group: NDArray[np.str_] | None
) -> NDArray[np.str_]:
    """Duplicates and shared own groups joined; each named after its first case."""
    edges = [pair.positions for pair in pairs]
    if group is not None:
        _, first, code = np.unique(group, return_index=True, return_inverse=True)
        edges += [(int(first[c]), position) for position, c in enumerate(code) if first[c] != position]
    component = _components(edges, len(case))
    _, first, code = np.unique(component, return_index=True, return_inverse=True)
    return case[first[code]]


def _group_json(group: DuplicateGroup) -> dict[str, Any]:
    return {
        "group": group.name,
        "cases": list(group.cases),
        "splits": list(group.splits),
        "outcomes": None if group.outcomes is None else [int(outcome) for outcome in group.outcomes],
        "similarity": group.similarity,
        "least_similar": list(group.least_similar),
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "cases": list(pair.cases),
        "splits": list(pair.splits),
        "outcomes": None if pair.outcomes is None else [int(outcome) for outcome in pair.outcomes],
        "similarity": pair.similarity,
        "byte_identical": pair.byte_identical,
        "rows": pair.alignment.dy,
        "columns": pair.alignment.dx,
        "mirrored": pair.alignment.flipped,
    }
