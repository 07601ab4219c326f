"""Groups of images that are not independent: chains of near-duplicates, joined with a cohort's own groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from clineval.data.duplicates import DECIMALS, About, Copies, Duplicates, Label
from clineval.data.similarity import Images, Indices, similarity_of

MOST_COMPARED = 60  # members of a group among which the least similar pair is sought
THRESHOLDS = (0.95, 0.96, 0.97, 0.98, 0.99, 0.995)  # of the sensitivity table


@dataclass(frozen=True)
class DuplicateGroup:
    """Images joined by a chain of near-duplicates; ``similarity`` is that of the two least alike."""

    name: str
    positions: tuple[int, ...]
    cases: tuple[str, ...]
    splits: tuple[str, ...]
    outcomes: tuple[Label, ...] | None
    similarity: float
    least_similar: tuple[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in ``audit.json``."""
        return {
            "group": self.name,
            "cases": list(self.cases),
            "splits": list(self.splits),
            "outcomes": None if self.outcomes is None else list(self.outcomes),
            "similarity": self.similarity,
            "least_similar": list(self.least_similar),
        }


@dataclass(frozen=True)
class Counts:
    """What one threshold would find by similarity alone."""

    threshold: float
    pairs: int
    groups: int
    images: int
    groups_across_splits: int
    groups_mixed_labels: int
    val_with_twin: int
    test_with_twin: int


def shares_group(group: NDArray[np.generic], split: NDArray[np.str_], *others: str) -> NDArray[np.bool_]:
    """Mask of the cases whose group has a case in one of the ``others`` splits, shape (cases,)."""
    return np.isin(group, group[np.isin(split, others)])


def components(edges: Sequence[tuple[int, int]] | Indices, count: int) -> Indices:
    """Number of the connected component of each of ``count`` positions, shape (count,)."""
    ends = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def duplicate_groups(working: Images, component: Indices, about: About) -> tuple[DuplicateGroup, ...]:
    """Every component of two images or more, in the order of their first members.

    Parameters
    ----------
    working : uint8, shape (cases, height, width), at the size at which images are compared.
    component : int, shape (cases,), as ``components`` numbers them.
    """
    members: dict[int, list[int]] = {}
    for position, number in enumerate(component.tolist()):
        members.setdefault(number, []).append(position)
    groups = [positions for positions in members.values() if len(positions) > 1]
    ends = [np.array(list(combinations(positions[:MOST_COMPARED], 2))) for positions in groups]
    if not groups:
        return ()
    every = np.concatenate(ends)
    similarity = _similarity(working, every[:, 0], every[:, 1])
    starts = np.cumsum([0, *map(len, ends)])
    return tuple(
        _group(positions, pairs, similarity[start : start + len(pairs)], about)
        for positions, pairs, start in zip(groups, ends, starts[:-1], strict=True)
    )


def _similarity(working: Images, first: Indices, second: Indices) -> NDArray[np.float64]:
    """Similarity of given pairs; images without any contrast are alike where they are the same bytes."""
    involved, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    left, right = np.split(place, 2)
    similarity = similarity_of(working[involved], left, right).similarity
    similarity[np.all(working[first] == working[second], axis=(1, 2))] = 1.0
    return similarity


def _group(
    positions: list[int], pairs: Indices, similarity: NDArray[np.float64], about: About
) -> DuplicateGroup:
    weakest = int(np.argmin(similarity))
    a, b = pairs[weakest]
    return DuplicateGroup(
        name=str(about.case[positions[0]]),
        positions=tuple(positions),
        cases=tuple(map(str, about.case[positions])),
        splits=tuple(map(str, about.split[positions])),
        outcomes=about.outcomes(positions),
        similarity=round(float(similarity[weakest]), DECIMALS),
        least_similar=(str(about.case[a]), str(about.case[b])),
    )


def joined_groups(
    component: Indices, case: NDArray[np.str_], group: NDArray[np.str_] | None
) -> NDArray[np.str_]:
    """Groups of near-duplicates joined with the cases' own groups, each named after its first case."""
    if group is not None:
        _, own = np.unique(group, return_inverse=True)
        links = np.stack([component, own + component.max() + 1], axis=1)  # each case ties one to the other
        component = components(links, int(links.max()) + 1)[component]
    _, first, number = np.unique(component, return_index=True, return_inverse=True)
    return case[first[number]]


def sensitivity(found: Duplicates, copies: Copies, about: About) -> tuple[Counts, ...]:
    """What other thresholds would find by similarity alone, as far down as pairs were listed."""
    original = np.array([positions[0] for positions in copies])
    identical = [(positions[0], other) for positions in copies for other in positions[1:]]
    size = np.array([len(positions) for positions in copies])
    inside = int(np.sum(size * (size - 1) // 2))
    rows = []
    for threshold in THRESHOLDS:
        if threshold < found.from_similarity:
            continue
        kept = found.listed.select(found.listed.similarity >= threshold)
        near = np.stack([original[kept.first], original[kept.second]], axis=1)
        edges = np.concatenate([near, np.array(identical, dtype=np.int64).reshape(-1, 2)])
        pairs = inside + int(np.sum(size[kept.first] * size[kept.second]))
        rows.append(_counts(threshold, pairs, components(edges, len(about.case)), about))
    return tuple(rows)


def _counts(threshold: float, pairs: int, component: Indices, about: About) -> Counts:
    size = np.bincount(component)
    several = size > 1
    val, test = about.split == "val", about.split == "test"
    return Counts(
        threshold=threshold,
        pairs=pairs,
        groups=int(several.sum()),
        images=int(size[several].sum()),
        groups_across_splits=_with_two(component, about.split),
        groups_mixed_labels=0 if about.outcome is None else _with_two(component, about.outcome),
        val_with_twin=int(np.sum(val & shares_group(component, about.split, "train"))),
        test_with_twin=int(np.sum(test & shares_group(component, about.split, "train", "val"))),
    )


def _with_two(component: Indices, value: NDArray[np.generic]) -> int:
    """Number of components that hold more than one value."""
    _, code = np.unique(value, return_inverse=True)
    seen = np.unique(np.stack([component, code.ravel()], axis=1), axis=0)
    return int(np.sum(np.bincount(seen[:, 0]) > 1))
