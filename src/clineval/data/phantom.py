"""The phantom set: synthetic ultrasound images as a cohort, for demonstrations and tests.

No image of any patient was used, and nothing that is measured on them says anything about patients.
Near-duplicates are planted in it, known by their cases, for whoever looks for them.
"""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clineval.data.cohort import Cohort, LabelMeaning, Source
from clineval.data.phantom_images import MARGIN, SIZE, draw
from clineval.refusal import Refusal

__all__ = ["CASES", "CONDITION", "SIZE", "Artefact", "Planted", "phantom", "planted", "with_artefacts"]

CONDITION = "malignant"

SPLITS = ("train", "val", "test")
CASES = (546, 78, 156)  # images of each split: the sizes of BreastMNIST
PREVALENCE = 7 / 26  # of malignant images in each of BreastMNIST's splits: 147, 21 and 42

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Planted:
    """One planted pair: ``copy`` shows ``original`` again after ``corruption``; cases as ``split/index``."""

    original: str
    copy: str
    corruption: str


def phantom(
    seed: int = 0, *, cases: Sequence[int] = CASES, reason: str = "it was made by phantom()"
) -> Cohort:
    """A synthetic cohort with the split sizes and prevalence of BreastMNIST, label coding included.

    Parameters
    ----------
    seed : chooses tissue, masses, speckle and the planted pairs; the same seed gives the same bytes.
    cases : images in train, val and test, each at least 8; 27 % of each are malignant.
    reason : why synthetic images are shown, for every artefact made of them.

    ``planted(seed, cases=cases)`` names the near-duplicates that were planted.
    """
    outcome, split, case = _layout(seed, cases)
    canvas = draw(outcome, seed=seed)
    images = np.ascontiguousarray(canvas[:, MARGIN:-MARGIN, MARGIN:-MARGIN])
    index = {name: row for row, name in enumerate(case.tolist())}
    for pair in planted(seed, cases=cases):
        images[index[pair.copy]] = _CORRUPTIONS[pair.corruption](canvas[index[pair.original]])
    return Cohort(
        condition=CONDITION,
        images=images,
        outcome=outcome,
        split=split,
        case=case,
        group=case.copy(),
        source=_source(seed, reason, sha256(images.tobytes() + outcome.tobytes()).hexdigest()),
    )


def _source(seed: int, reason: str, digest: str) -> Source:
    return Source(
        dataset="phantom",
        title=f"Synthetic ultrasound phantoms (seed {seed})",
        sha256=digest,
        licence="MIT",
        labels=(
            LabelMeaning(code=0, name="malignant (synthetic)", is_condition=True),
            LabelMeaning(code=1, name="normal or benign (synthetic)", is_condition=False),
        ),
        synthetic=True,
        reason=reason,
    )


def _layout(seed: int, cases: Sequence[int]) -> tuple[NDArray[np.bool_], NDArray[np.str_], NDArray[np.str_]]:
    """Outcome, split and case name of every image, each of shape (images,)."""
    if len(cases) != len(SPLITS) or min(cases) < 8 or seed < 0:
        raise Refusal(
            f"A phantom set needs three split sizes of at least 8 and a seed of at least 0; "
            f"came {tuple(cases)} and {seed}."
        )
    rng = np.random.default_rng([seed, 0])
    outcome = [rng.permutation(np.arange(count) < round(count * PREVALENCE)) for count in cases]
    case = [f"{split}/{row}" for split, count in zip(SPLITS, cases, strict=True) for row in range(count)]
    return np.concatenate(outcome), np.repeat(SPLITS, cases), np.array(case)


# What is planted --------------------------------------------------------------------------------------


def _cropped(canvas: Grey, *, down: int = 0, right: int = 0) -> Grey:
    top, left = MARGIN + down, MARGIN + right
    return canvas[top : top + SIZE, left : left + SIZE]


def _compressed(image: Grey, *, quality: int) -> Grey:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as again:
        return np.asarray(again)


def _rescaled(image: Grey, *, contrast: float = 1.0, brighter: float = 0.0) -> Grey:
    grey = image.astype(np.float64)
    return np.clip(np.rint((grey - grey.mean()) * contrast + grey.mean() + brighter), 0, 255).astype(np.uint8)


CONTRADICTION = "exact, label contradicts"
_CORRUPTIONS = {
    "exact": _cropped,
    "shifted by 1 px": lambda canvas: _cropped(canvas, right=1),
    "shifted by 2 px": lambda canvas: _cropped(canvas, right=-1, down=2),
    "flipped left-right": lambda canvas: _cropped(canvas)[:, ::-1],
    "brightened": lambda canvas: _rescaled(_cropped(canvas), brighter=25),
    "contrast changed": lambda canvas: _rescaled(_cropped(canvas), contrast=0.7),
    "JPEG-compressed": lambda canvas: _compressed(_cropped(canvas), quality=85),
    CONTRADICTION: _cropped,
}
_PLACES = (("train", "test"), ("train", "train"), ("train", "val"), ("val", "test"))  # original, copy


def planted(seed: int = 0, *, cases: Sequence[int] = CASES) -> tuple[Planted, ...]:
    """The pairs that ``phantom(seed, cases=cases)`` holds, the contradictory pair first.

    Each corruption is planted from train into test, within train, from train into val and from val into
    test, as far as a third of a split's images of each outcome suffices. No image stands in two pairs.
    Both images of a pair have the same outcome, except in the contradictory pair: a malignant training
    image that comes again, byte for byte, as a test image that is not malignant.
    """
    free = _free(seed, cases)
    pairs = [Planted(free["train", True].pop(), free["test", False].pop(), CONTRADICTION)]
    kinds = [kind for kind in _CORRUPTIONS if kind != CONTRADICTION]
    for turn, (place, kind) in enumerate(product(_PLACES, kinds)):
        malignant = turn % 3 == 0  # about the prevalence
        originals, copies = (free[split, malignant] for split in place)
        if originals and copies and (originals is not copies or len(copies) > 1):
            pairs.append(Planted(originals.pop(), copies.pop(), kind))
    return tuple(pairs)


def _free(seed: int, cases: Sequence[int]) -> dict[tuple[str, bool], list[str]]:
    """The cases that may be used for planting, in random order, by split and outcome."""
    outcome, split, case = _layout(seed, cases)
    rng = np.random.default_rng([seed, 3])
    free = {}
    for name, malignant in product(SPLITS, (True, False)):
        shuffled = rng.permutation(case[(split == name) & (outcome == malignant)])
        free[name, malignant] = shuffled[: max(1, len(shuffled) // 3)].tolist()
    return free


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
        raise Refusal(f"{len(_ARTEFACTS)} training images are needed to spoil; there are {len(rows)}.")
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


_ARTEFACTS = {
    "blank": lambda image: np.full_like(image, 0),
    "saturated": lambda image: _rescaled(image, contrast=2.0, brighter=160),
    "burnt-in text": _with_text,
    "calipers": _with_calipers,
}
