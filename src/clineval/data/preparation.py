"""Any image brought to the grey square that a model takes, and as worse scanners and archives show it."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from clineval.errors import InputError, option

FITS = ("crop", "top", "pad")
SMALLEST, LARGEST = 16, 1024  # pixels of the prepared square
DEEP = 16  # bits of a deep image's container, its white unless told otherwise
FEWEST_LEVELS = 16  # of 256 grey levels; a deep image that would keep fewer was meant for another white
NEARLY_ALL = 0.98  # of the pixels, less a few bright marks; in real ultrasound images they span 62 levels
TOLERANCE = 16  # levels by which lossy compression may part the channels of a grey pixel
BLOCK = 4096  # images that are turned grey at once


class Unusable(InputError):
    """One image that cannot be used: its message is a clause that follows the file's name."""


def check_fit(fit: str) -> None:
    """Refuse a way of making a square that is not one of ``FITS``."""
    if fit not in FITS:
        raise InputError(f"{option('--fit')} needs one of {', '.join(FITS)}; got {fit!r}.")


def check_preparation(*, size: int, fit: str, bits: int) -> None:
    """Refuse a size, fit or number of bits that no image can be brought to."""
    check_fit(fit)
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"{option('--size')} needs {SMALLEST} to {LARGEST} pixels per side; got {size}.")
    if not 8 <= bits <= DEEP:
        raise InputError(
            f"{option('--bits')} needs 8 to {DEEP}, the bits in which deep images hold their white; "
            f"got {bits}."
        )


def square(grey: Image.Image, *, side: int, fit: str = "crop") -> NDArray[np.uint8]:
    """The square of an image that a model looks at, shape (side, side), grey levels 0 to 255.

    Parameters
    ----------
    grey : in Pillow's mode ``L``, of any size.
    side : pixels; the square is brought to them by bilinear interpolation (wider when it shrinks).
    fit : ``crop``, the middle square of the short side, as BreastMNIST's makers cut it; ``top``, the
        same at the upper end, where an upright ultrasound image has its skin; ``pad``, the whole
        image with black beside it.
    """
    part = grey.crop(box_of(*grey.size, fit=fit))  # beyond the image Pillow puts black
    return np.asarray(part.resize((side, side), Image.Resampling.BILINEAR))


def square_to_score(grey: Image.Image, *, side: int, fit: str = "crop") -> NDArray[np.uint8]:
    """``square``, of images alone that hold something for a model to look at.

    Raises
    ------
    Unusable : the short side has less than half of ``side``, so that three of four pixels that a model
        sees would be made up in between; or nearly all of the image, or of what the square shows of it, spans
        next to none of 256 grey levels, so that nothing would be seen.
    """
    if 2 * min(grey.size) < side:
        raise Unusable(
            f"it has {grey.width} x {grey.height} pixels; models that look at {side} x {side} need at least "
            f"{-(-side // 2)} on the short side"
        )
    _check_levels(grey, where="")
    part = grey.crop(box_of(*grey.size, fit=fit))
    _check_levels(part, where=f" in the square that is scored ({option('--fit')} {fit})")
    return square(grey, side=side, fit=fit)


def _check_levels(grey: Image.Image, *, where: str) -> None:
    """Refuse a picture of next to no grey levels: it is empty, or was stored for another white."""
    low, high = grey.getextrema()
    if low == high:
        raise Unusable(f"it shows nothing{where}: every pixel has the grey level {low}")
    if few := few_levels(grey.histogram()):
        raise Unusable(
            f"its picture{where} {few}, so that nothing would be seen; export it with the contrast at which "
            "it is read"
        )


def few_levels(counts: Sequence[int] | NDArray[np.number]) -> str:
    """That a picture spans 16 of 256 grey levels or fewer, or 17 but for a few marks; else empty.

    Parameters
    ----------
    counts : pixels at each grey level, shape (256,), not all of them 0.

    Examples
    --------
    >>> few_levels([0] * 10 + [49, 0, 50] + [0] * 242 + [1])
    'spans 3 of 256 grey levels, from 10 to 12, in 98% of its pixels'
    >>> few_levels([1] * 256)
    ''
    """
    for share, most in ((1.0, FEWEST_LEVELS), (NEARLY_ALL, FEWEST_LEVELS + 1)):  # 17: of 12 bits in 16
        first, levels = _narrowest(np.asarray(counts), share)
        if levels <= most:
            where = f", in {share:.0%} of its pixels" if share < 1 else ""
            return f"spans {levels} of 256 grey levels, from {first} to {first + levels - 1}{where}"
    return ""


def _narrowest(counts: NDArray[np.number], share: float) -> tuple[int, int]:
    """The first and the number of the fewest neighbouring grey levels that hold a share of the pixels."""
    until = np.concatenate([[0], np.cumsum(counts)])
    ends = np.searchsorted(until, until[:-1] + np.ceil(share * until[-1]))
    levels = np.where(ends < len(until), ends - np.arange(len(ends)), len(until))
    first = int(np.argmin(levels))
    return first, int(levels[first])


def box_of(width: int, height: int, *, fit: str = "crop") -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge in pixels of the square that ``square`` takes."""
    check_fit(fit)
    side = max(width, height) if fit == "pad" else min(width, height)
    left, upper = (round((length - side) / 2) for length in (width, height))
    if fit == "top":
        upper = 0
    return left, upper, left + side, upper + side


def grey_of(image: Image.Image, *, bits: int | None = DEEP) -> Image.Image:
    """An image of any depth and colour as eight-bit grey; what is transparent is black.

    Colour becomes grey by the luma of ITU-R BT.601, as Pillow's ``L`` has it. A deep image (one
    channel of 16 bits) is scaled so that ``2**bits - 1`` is white, the same for every image, for
    absolute brightness carries information. Where it does not matter, as in a search for
    near-duplicates, ``bits`` may be None: a deep image is then stretched over its own range.

    Raises
    ------
    Unusable : floating-point or 32-bit grey levels, whose white nobody can know; a deep image that
        uses more than ``bits`` bits, or so few that it was meant for another number of them; an image
        that is wholly transparent.
    """
    if is_deep(image):
        levels = np.asarray(image)
        hidden = image.info.get("transparency")
        return Image.fromarray(
            grey_of_levels(levels if hidden is None else np.where(levels == hidden, 0, levels), bits=bits)
        )
    if not image.has_transparency_data:
        return image.convert("L")
    seen = image.convert("RGBA")
    alpha = seen.getchannel("A")
    least, most = alpha.getextrema()
    if not most:
        raise Unusable("it is wholly transparent, so it shows nothing")
    return seen.convert("L") if least == 255 else ImageChops.multiply(seen.convert("L"), alpha)


def is_deep(image: Image.Image) -> bool:
    """Whether an image has one channel of more than eight bits."""
    return image.mode.startswith(("I", "F"))


def grey_of_levels(levels: NDArray[Any], *, bits: int | None) -> NDArray[np.uint8]:
    """Deep grey levels of any type, shape (height, width), as eight-bit grey. Raises as ``grey_of`` does."""
    if bits is None:
        return _stretched(levels)
    if levels.dtype.kind == "f" or levels.min(initial=0) < 0 or levels.max(initial=0) >= 2**DEEP:
        raise Unusable("its grey levels are not whole numbers of 8 or 16 bits; save it as 8-bit grey")
    return grey_of_deep(levels, bits=bits)


def grey_of_deep(values: NDArray[np.integer], *, bits: int) -> NDArray[np.uint8]:
    """Grey levels from 0 to ``2**bits - 1`` brought to 0 to 255. Raises Unusable as ``grey_of`` does."""
    brightest, white = int(values.max(initial=0)), 2**bits - 1
    if brightest > white:
        raise Unusable(
            f"its brightest pixel is {brightest:,}, more than {bits} bits hold; say "
            f"{option('--bits 16', 'bits=16')}"
        )
    if 0 < brightest * 256 < white * FEWEST_LEVELS:
        needed = max(8, brightest.bit_length())
        raise Unusable(
            f"its brightest pixel is {brightest:,} of {white:,}, nearly black; "
            f"if its grey levels have {needed} bits, say {option(f'--bits {needed}', f'bits={needed}')}"
        )
    return looked_up(values, np.rint(np.arange(white + 1) * (255 / white)).astype(np.uint8))


def looked_up(levels: NDArray[Any], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a table holds for each level, whole numbers from 0; row by row, for pictures may be large."""
    grey = np.empty(levels.shape, np.uint8)
    for row, found in zip(levels, grey, strict=True):
        found[...] = table[row]
    return grey


def _stretched(levels: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(levels.min()), float(levels.max())
    grey = np.zeros(levels.shape, np.uint8)
    if not high > low:  # constant, or not a number somewhere
        return grey
    for row, found in zip(levels, grey, strict=True):
        found[...] = np.rint((row.astype(np.float64) - low) * (255 / (high - low)))
    return grey


def colour_spread(picture: Image.Image) -> Image.Image:
    """By how many levels red, green and blue of each pixel lie apart, in mode ``L``; 0 where it is grey."""
    red, green, blue = picture.convert("RGB").split()
    brightest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return ImageChops.subtract(brightest, ImageChops.darker(ImageChops.darker(red, green), blue))


def share_coloured(picture: Image.Image) -> float:
    """Share of the pixels whose red, green and blue lie further apart than lossy compression parts them."""
    counts = colour_spread(picture).histogram()
    return sum(counts[TOLERANCE + 1 :]) / max(1, sum(counts))


def grey_of_colour(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour images as grey ones by the luma of ITU-R BT.601, to the bit as Pillow's ``L`` has it.

    Parameters
    ----------
    images : uint8, shape (cases, height, width, 3), red, green, blue.
    """
    grey = np.empty(images.shape[:-1], np.uint8)
    for part in _blocks(len(images)):
        red, green, blue = np.moveaxis(images[part].astype(np.uint32), -1, 0)
        grey[part] = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    return grey


def in_words(*, side: int, fit: str) -> str:
    """The preparation as provenance records it."""
    cut = {
        "crop": "middle square of the short side",
        "top": "upper square of the short side",
        "pad": "whole image with black beside it",
    }[fit]
    return f"grey (ITU-R BT.601), {cut} (--fit {fit}), bilinear to {side} x {side} pixels"


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


Grey = NDArray[np.float64]
Change = Callable[[Grey, float, np.random.Generator], Grey]

SEVERITIES = (1, 2, 3, 4, 5)
REFERENCE = 28  # pixels; lengths below are given at this size and grow with the image
GRAIN = 1 / 56  # width of a speckle as a share of the image's


def corrupt(images: NDArray[np.uint8], kind: str, severity: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """The same images as if taken or kept under worse conditions.

    Each image has its own stream of chance, from ``seed``, kind, severity and its place, so that a
    part of a cohort is corrupted as it would be within the whole.

    Parameters
    ----------
    images : uint8, shape (cases, height, width), grey levels 0 to 255.
    kind : one of ``KINDS``; severity : 1 (hardly seen) to 5 (a careful reader would reject it).

    Returns
    -------
    uint8, the same shape.

    Raises
    ------
    InputError : an unknown kind or severity.
    """
    check_corruption(kind, severity)
    strength, change = STRENGTHS[kind][severity - 1], _CHANGES[kind]
    out = np.empty_like(images)
    for place, image in enumerate(images):
        generator = np.random.default_rng([seed, KINDS.index(kind), severity, place])
        out[place] = np.clip(np.rint(change(image.astype(np.float64), strength, generator)), 0, 255)
    return out


def check_corruption(kind: str, severity: int) -> None:
    """Refuse an unknown kind or severity."""
    if kind not in KINDS:
        raise InputError(f"A corruption is one of {', '.join(KINDS)}; got {kind!r}.")
    if severity not in SEVERITIES:
        raise InputError(f"The severity of a corruption is a whole number from 1 to 5; got {severity!r}.")


def _speckle(image: Grey, strength: float, generator: np.random.Generator) -> Grey:
    """Multiplicative noise of standard deviation ``strength``, as interference of the echoes makes it."""
    noise = generator.standard_normal(image.shape)
    grain = image.shape[1] * GRAIN
    if grain > 1:
        noise = _smooth(noise, grain / 2)
        noise /= noise.std()
    return image * (1 + strength * noise)


def _blur(image: Grey, strength: float, _generator: np.random.Generator) -> Grey:
    """A Gaussian of ``strength`` pixels (at 28 x 28), as a wider beam or a shifted focus makes it."""
    return _smooth(image, strength * image.shape[1] / REFERENCE)


def _smooth(image: Grey, sigma: float) -> Grey:
    from scipy.ndimage import gaussian_filter  # a fifth of a second, which predict need not wait for

    return gaussian_filter(image, sigma, mode="reflect")


def _brightness(image: Grey, strength: float, generator: np.random.Generator) -> Grey:
    """``strength`` grey levels up or down, by the toss of a coin: another gain."""
    return image + strength * generator.choice((-1, 1))


def _contrast(image: Grey, strength: float, generator: np.random.Generator) -> Grey:
    """Spread about the mean ``strength`` times wider or narrower: another dynamic range."""
    factor = strength if generator.random() < 0.5 else 1 / strength
    return image.mean() + factor * (image - image.mean())


def _pixelation(image: Grey, strength: float, _generator: np.random.Generator) -> Grey:
    """Averaged over squares of ``strength`` pixels (at 28 x 28): a thumbnail blown up again."""
    height, width = image.shape
    block = strength * width / REFERENCE
    small = (max(1, round(width / block)), max(1, round(height / block)))
    reduced = Image.fromarray(image.astype(np.uint8)).resize(small, Image.Resampling.BOX)
    return np.asarray(reduced.resize((width, height), Image.Resampling.NEAREST), dtype=np.float64)


def _jpeg(image: Grey, strength: float, _generator: np.random.Generator) -> Grey:
    """Stored as JPEG of quality ``strength`` and read again: an archive that saves room."""
    stored = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(stored, format="JPEG", quality=int(strength))
    return np.asarray(Image.open(stored, formats=("JPEG",)), dtype=np.float64)


_CHANGES: Mapping[str, Change] = {
    "speckle": _speckle,
    "blur": _blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "pixelation": _pixelation,
    "jpeg": _jpeg,
}
KINDS = tuple(_CHANGES)
STRENGTHS: Mapping[str, tuple[float, float, float, float, float]] = {
    "speckle": (0.06, 0.12, 0.18, 0.26, 0.36),
    "blur": (0.4, 0.7, 1.0, 1.4, 1.9),
    "brightness": (12, 24, 36, 50, 64),
    "contrast": (1.15, 1.3, 1.5, 1.8, 2.2),
    "pixelation": (1.25, 1.5, 2.0, 2.8, 4.0),
    "jpeg": (60, 40, 25, 15, 8),
}
"""Strength at severities 1 to 5.

Speckle: SD as a share of the grey level. Blur: SD in pixels at 28 x 28. Brightness: grey levels of 255.
Contrast: factor about the mean. Pixelation: side of a block in pixels at 28 x 28. JPEG: quality.
"""
