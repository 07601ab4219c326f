"""Phantom images spoilt on purpose, one in each of four ways, for what an audit should find."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clineval.data.cohort import Cohort

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Artefact:
    """One image spoilt on purpose: its case as ``split/index``, and what was done to it."""

    case: str
    kind: str


def with_artefacts(
    cohort: Cohort, *, seed: int = 0, keep: Collection[str] = ()
) -> tuple[Cohort, tuple[Artefact, ...]]:
    """The cohort with one training image each spoilt in four ways, and which those are.

    Blank (one grey level), saturated (mostly white), burnt-in text, and measuring crosses (calipers):
    the single-image faults that an audit should find. The default phantom set holds none. Cases in
    ``keep`` are left alone: those of planted pairs, so that an audit can still find these.
    """
    rows = np.flatnonzero(cohort.within("train") & ~np.isin(cohort.case, list(keep)))
    if len(rows) < len(_ARTEFACTS):
        raise ValueError(f"{len(_ARTEFACTS)} training images are needed to spoil; there are {len(rows)}.")
    chosen = np.random.default_rng([seed, 4]).choice(rows, len(_ARTEFACTS), replace=False)
    images = cohort.images.copy()
    for row, spoil in zip(chosen, _ARTEFACTS.values(), strict=True):
        images[row] = spoil(images[row])
    spoilt = (Artefact(str(cohort.case[row]), kind) for row, kind in zip(chosen, _ARTEFACTS, strict=True))
    return replace(cohort, images=images), tuple(spoilt)


def _with_text(image: Grey) -> Grey:
    """Three white letters on a black strip at the lower left, as an export from a scanner carries them."""
    letters = ("#.#.###.##.", "###.#.#.#.#", "#.#.#.#.##.", "#.#.###.#.#")
    marked = image.copy()
    marked[-6:, :13] = 0
    marked[-5:-1, 1:12] = np.where(np.array([list(row) for row in letters]) == "#", 255, 0)
    return marked


def _with_calipers(image: Grey) -> Grey:
    """Two white crosses of 5 pixels, one to each side of the middle."""
    marked = image.copy()
    middle = image.shape[0] // 2
    for column in (image.shape[1] // 4, 3 * image.shape[1] // 4):
        marked[middle - 2 : middle + 3, column] = 255
        marked[middle, column - 2 : column + 3] = 255
    return marked


def _brightened(image: Grey) -> Grey:
    grey = image.astype(np.float64)
    return np.clip(np.rint((grey - grey.mean()) * 2 + grey.mean() + 160), 0, 255).astype(np.uint8)


_ARTEFACTS = {
    "blank": lambda image: np.full_like(image, 0),
    "saturated": lambda image: _brightened(image),
    "burnt-in text": _with_text,
    "calipers": _with_calipers,
}
