"""The audit: near-duplicates across splits, the groups that they make, and splits that keep these whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.data.cohort import Cohort, by_group
from clineval.data.duplicates import (
    DECIMALS,
    DETAIL,
    About,
    Copies,
    Duplicates,
    Label,
    Pair,
    Threshold,
    copies_of,
    duplicate_pairs,
    find_duplicates,
    pairs_below,
    working_images,
)
from clineval.data.similarity import SHIFT, Images, Indices, digests, similarity_of
from clineval.errors import InputError, Progress, option

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
    val_with_near_duplicate: int
    test_with_near_duplicate: int

    def to_json(self) -> dict[str, float]:
        """The counts by their names in ``audit.json``."""
        keys = {"val_with_near_duplicate": "val_with_twin", "test_with_near_duplicate": "test_with_twin"}
        return {keys.get(name, name): value for name, value in vars(self).items()}


def shares_group(group: NDArray[np.generic], split: NDArray[np.str_], *others: str) -> NDArray[np.bool_]:
    """Mask of the cases whose group has a case in one of the ``others`` splits, shape (cases,)."""
    return np.isin(group, group[np.isin(split, others)])


def components(edges: Sequence[tuple[int, int]] | Indices, count: int) -> Indices:
    """Number of the connected component of each of ``count`` positions, shape (count,)."""
    from scipy.sparse import coo_matrix  # both a tenth of a second, which predict need not wait for
    from scipy.sparse.csgraph import connected_components

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
        val_with_near_duplicate=int(np.sum(val & shares_group(component, about.split, "train"))),
        test_with_near_duplicate=int(np.sum(test & shares_group(component, about.split, "train", "val"))),
    )


def _with_two(component: Indices, value: NDArray[np.generic]) -> int:
    """Number of components that hold more than one value."""
    _, code = np.unique(value, return_inverse=True)
    seen = np.unique(np.stack([component, code.ravel()], axis=1), axis=0)
    return int(np.sum(np.bincount(seen[:, 0]) > 1))


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
    def test_with_near_duplicate(self) -> int:
        """Test cases whose group reaches into train or val."""
        return int(np.sum(self._test() & shares_group(self.group_of, self.split, "train", "val")))

    @property
    def val_with_near_duplicate(self) -> int:
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
            "test_with_twin": self.test_with_near_duplicate,
            "val_with_twin": self.val_with_near_duplicate,
            "test_clean": list(self.test_clean),
            "pairs": [pair.to_json() for pair in self.pairs],
            "below_threshold": [pair.to_json() for pair in self.below],
            "sensitivity": [counts.to_json() for counts in self.sensitivity],
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
    digest = digests(images).astype(np.bytes_)
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


WAYS = ("official", "deduplicated", "grouped")


def check_way(how: str) -> None:
    """Refuse an unknown way to split, as InputError."""
    if how not in WAYS:
        raise InputError(f"{option('--split')} needs one of {', '.join(WAYS)}; got {how!r}.")


def apply_split(cohort: Cohort, audit: Audit, how: str = "official", *, seed: int = 0) -> Cohort:
    """The cohort under one of the three splits, its groups being those of the audit.

    Parameters
    ----------
    how : ``official``, ``deduplicated`` or ``grouped``.
    seed : chooses the grouped split; the other two need none.

    Raises
    ------
    InputError : an unknown way, or a cohort that has no train, val and test to split again.
    """
    check_way(how)
    if how == "grouped":
        return grouped(cohort, audit, seed=seed)
    return deduplicated(cohort, audit) if how == "deduplicated" else official(cohort, audit)


def official(cohort: Cohort, audit: Audit) -> Cohort:
    """The split as given; cases that show the same picture share a group."""
    return cohort.with_groups(audit.group_of)


def deduplicated(cohort: Cohort, audit: Audit) -> Cohort:
    """Train and val without images that have a near-duplicate in test, and without contradictory ones.

    Test stays whole, so that a model trained on this can be compared case by case with one trained
    on everything. Where two images outside test contradict each other both go, for nobody can
    tell which label is right.
    """
    return official(cohort, audit).select(~superfluous(cohort, audit))


def superfluous(cohort: Cohort, audit: Audit) -> NDArray[np.bool_]:
    """Mask of the cases that ``deduplicated`` drops, shape (cases,)."""
    contradictory = np.zeros(len(cohort), bool)
    contradictory[[position for pair in audit.pairs if pair.contradictory for position in pair.positions]] = (
        True
    )
    return cohort.within("train", "val") & (
        shares_group(audit.group_of, cohort.split, "test") | contradictory
    )


def grouped(cohort: Cohort, audit: Audit, *, seed: int = 0) -> Cohort:
    """Train, val and test redrawn: no group is parted; sizes and prevalence are near the official ones.

    Cases keep their names, so that ``test/76`` may now lie in train.

    Parameters
    ----------
    seed : chooses the split; the same seed gives the same split.

    Raises
    ------
    InputError : the cohort lacks train, val or test, or has too few groups of either outcome.
    """
    sizes = {name: int(cohort.within(name).sum()) for name in ("train", "val", "test")}
    if not all(sizes.values()) or sum(sizes.values()) != len(cohort):
        got = ", ".join(np.unique(cohort.split).tolist())
        how = option("--split grouped", "split='grouped'")
        raise InputError(f"{how} needs a cohort of train, val and test; got {got}.")
    shares = (sizes["val"] / len(cohort), sizes["test"] / len(cohort))
    split = by_group(cohort.outcome, audit.group_of, shares=shares, seed=seed)
    return replace(official(cohort, audit), split=split, case=audit.case)
