"""Pairs of images that look alike, named and described: what the search found, in a cohort's own words."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.data.similarity import Alignment, Images
from clineval.data.twins import Twins

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
        """The labels of some images: 1 and 0 of a cohort, words as they came in a user's own table."""
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


def digests(images: Images) -> NDArray[np.bytes_]:
    """A fingerprint of each image, shape (cases,); equal where the images are the same bytes."""
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images]
    return np.array(digests, dtype=np.bytes_)


def copies_of(digest: NDArray[np.bytes_]) -> list[list[int]]:
    """Positions that share a digest, in the order of their first member."""
    together: dict[bytes, list[int]] = {}
    for position, key in enumerate(digest.tolist()):
        together.setdefault(key, []).append(position)
    return list(together.values())


def twin_pairs(
    twins: Twins, copies: Copies, fingerprint: NDArray[np.bytes_], about: About
) -> tuple[Pair, ...]:
    """Every pair of twins, byte-identical ones first, then the most similar first.

    Parameters
    ----------
    copies : positions that show the same bytes, in the order in which the search numbered them.
    fingerprint : shape (cases,), of the files as they came; equal where those were the same.
    """
    pairs = [
        _pair(a, b, 1.0, 1.0, STILL, about, identical=bool(fingerprint[a] == fingerprint[b]))
        for positions in copies
        for a, b in _within(positions)
    ]
    for row in np.flatnonzero(twins.twin).tolist():
        similarity, detail = float(twins.listed.similarity[row]), float(twins.detail[row])
        first, second = copies[twins.listed.first[row]], copies[twins.listed.second[row]]
        for a, b in _between(first, second):
            pairs.append(_pair(a, b, similarity, detail, twins.alignment_of(row), about))
    return tuple(sorted(pairs, key=lambda pair: (not pair.byte_identical, -pair.similarity, pair.positions)))


def pairs_below(twins: Twins, copies: Copies, about: About) -> tuple[Pair, ...]:
    """The most similar pairs that are not twins, so that a reader can judge the cut."""
    rest = np.flatnonzero(~twins.twin)
    nearest = rest[np.argsort(-twins.listed.similarity[rest], kind="stable")][:SHOWN_BELOW]
    return tuple(
        _pair(
            copies[twins.listed.first[row]][0],
            copies[twins.listed.second[row]][0],
            float(twins.listed.similarity[row]),
            float(twins.detail[row]),
            twins.alignment_of(row),
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
