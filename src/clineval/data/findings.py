"""What an audit finds: kinds of finding, checks and quantities of single images, the table of findings."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clineval.data.audit import Audit
from clineval.data.duplicates import DETAIL, Pair
from clineval.data.image_files import DEEP, ReadImage, Unusable, read_images
from clineval.data.preparation import few_levels
from clineval.data.similarity import Images
from clineval.errors import InputError, Progress, option

BLANK = 3.0  # grey levels: standard deviation below which nothing is shown
WHITE = 250  # grey level from which a pixel counts as saturated
SATURATED = 0.10  # of the pixels; the most in BreastMNIST is 0.04
DARK, IN_THE_DARK = 32, 0.99  # grey level; share of the pixels below it (no image of BreastMNIST has 0.95)
FAR_OUT = 3.0  # interquartile ranges beyond a quartile (Tukey's outer fence)
FEWEST = 20  # images below which "unlike the rest" means nothing
NARROW = 3  # pixels: letters' strokes and the arms of calipers are narrower across, speckle is wider
UPRIGHT, STROKE_CONTRAST = 3, 25  # pixels: least height of a stroke; grey levels above both its sides
SHORT, SHORT_CONTRAST = 2, 70  # the same of smaller images, whose calipers are no higher and tissue as fine
LARGE_ENOUGH = 128  # pixels per side from which an image is not small
STROKE_PIXELS = 8  # on strokes; fewer may be one bright reflection
PRINT_SIDE = 256  # pixels of the short side to which larger pictures are reduced: print is then this narrow
BLOCK = 1024  # images looked at together


def blank(images: Images) -> NDArray[np.bool_]:
    """Images that show nothing, shape (cases,)."""
    return _by_block(images, lambda block: (block.std(axis=(1, 2)) < BLANK) | _flat_but_for_marks(block))


def _flat_but_for_marks(images: Images) -> NDArray[np.bool_]:
    counts = (np.bincount(image.ravel(), minlength=256) for image in images)
    return np.array([few_levels(each) != "" for each in counts], bool)


def saturated(images: Images) -> NDArray[np.bool_]:
    """Images of which at least a tenth is as good as white, shape (cases,)."""
    return _by_block(images, lambda block: (block >= WHITE).mean(axis=(1, 2)) >= SATURATED)


def nearly_black(images: Images) -> NDArray[np.bool_]:
    """Images of which at least 99 of 100 pixels are as good as black, shape (cases,)."""
    return (images < DARK).mean(axis=(1, 2)) >= IN_THE_DARK


def unlike_the_rest(images: Images) -> NDArray[np.bool_]:
    """Images whose brightness, contrast or layout lies beyond Tukey's outer fences, shape (cases,).

    Layout is the correlation with the average image. Of fewer than 20 images none is called unlike.
    """
    if len(images) < FEWEST:
        return np.zeros(len(images), bool)
    brightness = _by_block(images, lambda block: _flat(block).mean(axis=1))
    contrast = _by_block(images, lambda block: _flat(block).std(axis=1))
    average = images.reshape(len(images), -1).mean(axis=0, dtype=np.float64).astype(np.float32)
    along = (average - average.mean()) / average.size  # sums to 0, so that brightness does not count
    product = _by_block(images, lambda block: _flat(block) @ along)
    scale = contrast * average.std()
    layout = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    return _far_out(brightness) | _far_out(contrast) | (_far_out(layout) & (layout < np.median(layout)))


def marked_images(images: Images) -> NDArray[np.bool_]:
    """Images with text or measuring marks burnt in, shape (cases,).

    Letters and calipers have bright upright strokes a pixel or two across, which ultrasound's
    speckle, smeared sideways by the beam, has not. The outermost columns are not looked at: there
    the edge of the picture makes narrow strokes of wide structures. Marks that were shrunk with
    the image to less than 128 pixels have mostly blurred into the tissue and are not found.
    """
    strokes = _by_block(images, lambda block: np.sum(_marks(block), axis=(1, 2)))
    return np.asarray(strokes >= STROKE_PIXELS)


def _by_block(images: Images, quantity: Callable[[Images], NDArray[Any]]) -> NDArray[Any]:
    """A quantity of each image, shape (cases,), a block at a time: floating point takes 8 times the room."""
    starts = range(0, max(1, len(images)), BLOCK)
    return np.concatenate([quantity(images[start : start + BLOCK]) for start in starts])


def _flat(images: Images) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32)


def stroke_pixels(image: Images) -> NDArray[np.bool_]:
    """Where an image with text or measuring marks has their strokes, shape (height, width).

    Nowhere in an image that ``marked_images`` does not name.
    """
    marks = _marks(image[None])[0]
    inside = np.pad(marks, ((0, 0), (NARROW, NARROW)))
    return inside if marks.sum() >= STROKE_PIXELS else np.zeros_like(inside)


def bears_marks(picture: Image.Image) -> bool:
    """Whether a whole picture, in Pillow's mode ``L`` and of any size, bears text or measuring marks."""
    shrink = max(1.0, min(picture.size) / PRINT_SIDE)
    size = (round(picture.width / shrink), round(picture.height / shrink))
    return bool(marked_images(np.asarray(picture.resize(size, Image.Resampling.BILINEAR))[None])[0])


def _marks(images: Images) -> NDArray[np.bool_]:
    """Pixels on narrow bright upright strokes, less the outermost columns."""
    large = min(images.shape[1:]) >= LARGE_ENOUGH
    height, contrast = (UPRIGHT, STROKE_CONTRAST) if large else (SHORT, SHORT_CONTRAST)
    return _strokes(images, height=height) >= contrast


def _strokes(images: Images, *, height: int) -> Images:
    """By how much each pixel of a narrow upright stroke stands out from both its sides, 0 elsewhere."""
    narrow = images - _opened(images, NARROW, axis=2)
    return _opened(narrow, height, axis=1)[:, :, NARROW:-NARROW]


def _opened(images: Images, length: int, *, axis: int) -> Images:
    """What remains of grey levels without bright things shorter than ``length`` pixels along one axis."""
    along = np.moveaxis(images, axis, -1)
    places = max(0, along.shape[-1] - length + 1)
    windows = [slice(start, start + places) for start in range(length)]
    darkest = reduce(np.minimum, (along[..., window] for window in windows))
    opened = np.zeros_like(along)
    for window in windows:
        np.maximum(opened[..., window], darkest, out=opened[..., window])
    return np.moveaxis(opened, -1, axis)


def _far_out(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    lower, upper = np.quantile(values, [0.25, 0.75])
    reach = FAR_OUT * (upper - lower)
    return (values < lower - reach) | (values > upper + reach)


@dataclass(frozen=True)
class Kind:
    """One kind of finding: its code (never reused), its severity, what it means and what to do."""

    code: str
    severity: str
    title: str
    meaning: str
    remedy: str


_KINDS = (
    Kind(
        "AUD001",
        "error",
        "Contradictory labels",
        "Two images of one picture carry opposite labels.",
        "Check both in the source; until then leave both out of training.",
    ),
    Kind(
        "AUD002",
        "error",
        "Near-duplicate across train and test",
        "A test image shows the same picture as a training image.",
        "Report clean test images too, or use --split deduplicated.",
    ),
    Kind(
        "AUD003",
        "error",
        "Near-duplicate across val and test",
        "A test image shows the same picture as a validation image.",
        "As for AUD002.",
    ),
    Kind(
        "AUD004",
        "warning",
        "Near-duplicate across other splits",
        "One picture lies in two splits, mostly train and val.",
        "Use --split grouped, or distrust validation scores.",
    ),
    Kind(
        "AUD005",
        "error",
        "One patient in several splits",
        "Images of one of your groups (patient, lesion) lie in several splits.",
        "Use --split grouped.",
    ),
    Kind("AUD006", "warning", "Byte-identical images", "Two files hold the same image.", "Keep one."),
    Kind(
        "AUD007",
        "note",
        "Near-duplicate images",
        "Images of one split are not independent cases.",
        "Keep them in one group.",
    ),
    Kind(
        "AUD008",
        "note",
        "Chained group",
        "Two images below the threshold are joined only through others.",
        "Check the two; if they differ, raise --threshold.",
    ),
    Kind(
        "AUD009",
        "note",
        "Near-duplicate that detail does not confirm",
        "Alike as a whole but not in fine structures: another frame of one lesion, or chance.",
        "As for AUD008.",
    ),
    Kind("AUD010", "warning", "Blank image", "The image shows next to nothing.", "Leave it out."),
    Kind(
        "AUD011",
        "warning",
        "Saturated image",
        "A tenth or more of the image is white.",
        "Leave it out if the lesion cannot be seen.",
    ),
    Kind(
        "AUD012",
        "note",
        "Text or measuring marks burnt in",
        "A model may learn letters, calipers or a scale; letters may name the patient.",
        "Check for names; compare results without these images.",
    ),
    Kind(
        "AUD013",
        "note",
        "Unlike the rest",
        "Brightness, contrast or layout lies far outside that of the other images.",
        "Check for another device, another organ or a broken export.",
    ),
    Kind(
        "AUD014", "error", "Unreadable file", "The file could not be read as an image.", "Fix or remove it."
    ),
    Kind(
        "AUD015",
        "note",
        "Images of different sizes",
        "Images were cut to a square and resized to be compared.",
        "Nothing, if your models see the same.",
    ),
    Kind(
        "AUD016",
        "note",
        "Files passed over",
        "Files without an image's content or ending, or left by macOS or Windows.",
        "Nothing, unless one was meant as an image.",
    ),
)
KINDS: Mapping[str, Kind] = {kind.code: kind for kind in _KINDS}


@dataclass(frozen=True)
class Finding:
    """One thing found: its code, the cases concerned, their similarity (NaN for single images), the words."""

    code: str
    cases: tuple[str, ...]
    similarity: float
    words: str

    @property
    def kind(self) -> Kind:
        """What the code stands for."""
        return KINDS[self.code]

    def to_json(self) -> dict[str, Any]:
        """Plain values; the similarity is null where there is none."""
        similarity = None if np.isnan(self.similarity) else self.similarity
        return {
            "code": self.code,
            "severity": self.kind.severity,
            "title": self.kind.title,
            "cases": list(self.cases),
            "similarity": similarity,
            "words": self.words,
        }


def findings(
    audit: Audit,
    images: Images,
    *,
    own_group: NDArray[np.str_] | None = None,
    marked: NDArray[np.bool_] | None = None,
) -> tuple[Finding, ...]:
    """Everything worth saying about the images of a cohort, by code, then the most similar first.

    Parameters
    ----------
    images : uint8, shape (cases, height, width), those that were audited.
    own_group : str, shape (cases,), the cohort's own groups (patients), before near-duplicates were joined.
    marked : bool, shape (cases,), where text or measuring marks were found in the whole pictures of which
        ``images`` are a part; without it they are looked for in ``images``.
    """
    every = [
        *_of_pairs(audit.pairs),
        *_of_groups(audit),
        *_of_images(audit, images, marked),
        *_of_own_groups(audit, own_group),
    ]
    return in_order(every)


def in_order(every: Iterable[Finding]) -> tuple[Finding, ...]:
    """By code, then the most similar first, single images last."""
    return tuple(sorted(every, key=lambda f: (f.code, -np.nan_to_num(f.similarity, nan=-1.0), f.cases)))


def counts(every: Sequence[Finding]) -> dict[str, int]:
    """Number of findings of each code that occurs, in the order of the codes."""
    return {code: number for code in KINDS if (number := sum(finding.code == code for finding in every))}


def check_codes(codes: Iterable[str]) -> tuple[str, ...]:
    """The codes as given, or a refusal that names the ones that exist."""
    asked = tuple(code.strip().upper() for code in codes)
    unknown = [code for code in asked if code not in KINDS]
    if unknown:
        raise InputError(
            f"{option('--fail-on')} needs codes from {_KINDS[0].code} to {_KINDS[-1].code}; got "
            f"{', '.join(unknown)}."
        )
    return asked


def _of_pairs(pairs: Sequence[Pair]) -> Iterator[Finding]:
    for pair in pairs:
        words = _words(pair)
        if pair.contradictory:
            yield Finding("AUD001", pair.cases, pair.similarity, words)
        if pair.across_splits:
            yield Finding(_crossing(pair), pair.cases, pair.similarity, words)
        if pair.byte_identical:
            yield Finding("AUD006", pair.cases, pair.similarity, words)
        elif not pair.across_splits:
            yield Finding("AUD007", pair.cases, pair.similarity, words)
        if pair.detail < DETAIL:
            yield Finding("AUD009", pair.cases, pair.similarity, words)


def _crossing(pair: Pair) -> str:
    return {("test", "train"): "AUD002", ("test", "val"): "AUD003"}.get(_sorted(pair.splits), "AUD004")


def _sorted(splits: tuple[str, str]) -> tuple[str, str]:
    first, second = sorted(splits)
    return first, second


def _words(pair: Pair) -> str:
    parts = ["the same bytes" if pair.byte_identical else f"similarity {pair.similarity:.3f}"]
    if pair.alignment.flipped:
        parts.append("mirrored")
    if pair.alignment.dy or pair.alignment.dx:
        parts.append(f"displaced by {pair.alignment.dy} rows and {pair.alignment.dx} columns")
    if pair.outcomes is not None:
        parts.append(f"labels {pair.outcomes[0]} and {pair.outcomes[1]}")
    if pair.detail < DETAIL:
        parts.append(f"detail agrees by {pair.detail:.2f} only")
    return ", ".join(parts)


def _of_groups(audit: Audit) -> Iterator[Finding]:
    for group in audit.groups:
        if group.similarity < audit.threshold.value and len(group.cases) > 2:
            words = (
                f"a group of {len(group.cases)}; its least similar two correlate by {group.similarity:.3f}"
            )
            yield Finding("AUD008", group.least_similar, group.similarity, words)


def _of_images(audit: Audit, images: Images, marked: NDArray[np.bool_] | None) -> Iterator[Finding]:
    checks: dict[str, tuple[Callable[[Images], NDArray[np.bool_]], str]] = {
        "AUD010": (
            blank,
            "its grey levels vary by less than 3, or nearly all of it spans 16 of them or fewer",
        ),
        "AUD011": (saturated, "a tenth or more of it is white"),
        "AUD012": (
            marked_images if marked is None else lambda _: marked,
            "bright upright strokes narrower than speckle",
        ),
        "AUD013": (unlike_the_rest, "brightness, contrast or layout beyond the outer fences"),
    }
    for code, (check, words) in checks.items():
        for position in np.flatnonzero(check(images)):
            yield Finding(code, (str(audit.case[position]),), float("nan"), words)


def _of_own_groups(audit: Audit, own_group: NDArray[np.str_] | None) -> Iterator[Finding]:
    if own_group is None:
        return
    for name in np.unique(own_group):
        members = own_group == name
        splits = np.unique(audit.split[members])
        if len(splits) > 1:
            cases = tuple(map(str, audit.case[members]))
            yield Finding("AUD005", cases, float("nan"), f"group {name} lies in {', '.join(splits)}")


QUANTITIES = (
    "border brightness",
    "text or measuring marks",
    "size",
    "aspect",
    "focus",
    "mean grey",
)
BORDER = 0.05  # of the short side: the frame whose grey levels are taken
SIDE = 256  # pixels of the short side at which focus is measured, so that size does not enter it


def picture_quantities(picture: Image.Image) -> NDArray[np.float64]:
    """The quantities of one picture in Pillow's mode ``L``, shape (6,), in the order of ``QUANTITIES``.

    Border brightness and mean grey: mean grey level, 0 to 255, of a frame of a twentieth of the short side
    and of all pixels. Marks: 1 where text or calipers are found. Size: log of the number of pixels. Aspect:
    log of width / height. Focus: log of 1 + the variance of the Laplacian (Pech-Pacheco et al. 2000,
    doi:10.1109/ICPR.2000.903548) with the short side brought to 256 pixels.
    """
    grey = np.asarray(picture, dtype=np.float64)
    wide = max(1, round(BORDER * min(grey.shape)))
    frame = np.ones(grey.shape, bool)
    frame[wide:-wide, wide:-wide] = False
    return np.array(
        [
            grey[frame].mean(),
            float(bears_marks(picture)),
            np.log(grey.size),
            np.log(grey.shape[1] / grey.shape[0]),
            _focus(picture),
            grey.mean(),
        ]
    )


def file_quantities(
    paths: Sequence[Path],
    *,
    bits: int | None = DEEP,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The quantities of image files that were read before, by name, each of shape (files,).

    Other parameters are those of ``read_images``.

    Raises
    ------
    InputError : a file cannot be used any more.
    """
    rows = []
    for path, found in zip(paths, read_images(paths, _of_read, bits=bits, progress=progress), strict=True):
        if isinstance(found, Unusable):
            raise InputError(f"{path.name}: {found}; it could be read a moment ago. Repeat the command.")
        rows.append(found)
    return dict(zip(QUANTITIES, np.array(rows).T, strict=True))


def _of_read(_place: int, read: ReadImage) -> NDArray[np.float64]:
    return picture_quantities(read.grey)


def _focus(picture: Image.Image) -> float:
    shrink = min(picture.size) / SIDE
    size = (max(3, round(picture.width / shrink)), max(3, round(picture.height / shrink)))
    grey = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), dtype=np.float64)
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.log1p((around - 4 * middle).var()))
