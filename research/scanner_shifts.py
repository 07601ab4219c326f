"""What another ultrasound scanner, probe or operator changes in an image, simulated from its physics.

An echo's amplitude falls with depth and is amplified again by an operator's curve (time-gain compensation),
compressed by a logarithm to the dynamic range of a screen, then bent by a grey map. The beam is wider than
the pulse is long, so detail is coarser from left to right than in depth; interference within it makes
speckle, which newer machines smooth away. Depth and width of the field are the operator's choice, calipers
and text are written over it. Every shift works on images of 224 pixels and hands out what an archive would
hold, which need not be square. Nothing here was fitted to any other cohort.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, median_filter

Grey = NDArray[np.float64]
Shift = Callable[[Grey, float, np.random.Generator], Grey]

SIDE = 224  # pixels of the images that are shifted; lengths below are theirs
LEVELS = (1, 2, 3)  # hardly seen, plain, as far apart as scanners of two generations
RANGE = 60  # decibels from black to white, the usual setting
WIDER = 2  # times that the beam is wider than the pulse is long


def shift_images(images: NDArray[np.uint8], kind: str, level: int, *, seed: int = 0) -> list[Image.Image]:
    """Each image as another machine might have shown it, in Pillow's mode ``L``.

    Each has its own stream of chance, from ``seed``, kind, level and its place.
    """
    strength = STRENGTHS[kind][level - 1]
    return [
        as_picture(_SHIFTS[kind](image.astype(np.float64), strength, _chance(seed, kind, level, place)))
        for place, image in enumerate(images)
    ]


def as_picture(grey: Grey) -> Image.Image:
    """Grey levels clipped to 0 to 255, as an image file would hold them."""
    return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))


def gain_over_depth(grey: Grey, strength: float, chance: np.random.Generator) -> Grey:
    """Another time-gain curve: decibels, thus grey levels, added by depth (``strength``: their SD)."""
    depth = np.linspace(0, np.pi, len(grey))
    curve = sum(chance.standard_normal() * np.cos(wave * depth + chance.uniform(0, 6)) for wave in range(4))
    return grey + (strength * curve / np.sqrt(2))[:, None]


def dynamic_range(grey: Grey, strength: float, chance: np.random.Generator) -> Grey:
    """``strength`` times as many decibels between black and white, or as few; white stays white."""
    return 255 - (255 - grey) * _either_way(strength, chance)


def grey_map(grey: Grey, strength: float, chance: np.random.Generator) -> Grey:
    """Another curve from echo to grey level: a power of ``strength`` or of its inverse."""
    return 255 * (grey / 255) ** _either_way(strength, chance)


def beam(grey: Grey, strength: float, _chance: np.random.Generator) -> Grey:
    """A wider beam: a Gaussian of ``strength`` pixels from left to right, half of it in depth."""
    return gaussian_filter(grey, (strength / WIDER, strength), mode="reflect")


def speckle(grey: Grey, strength: float, chance: np.random.Generator) -> Grey:
    """Fresh speckle of a grain of ``strength`` pixels: the log intensity of a complex Gaussian field."""
    grain = (0, strength / WIDER, strength)
    real, imaginary = gaussian_filter(chance.standard_normal((2, *grey.shape)), grain, mode="wrap")
    decibels = 10 * np.log10(real**2 + imaginary**2)
    return grey + np.sqrt(0.5) * 255 / RANGE * (decibels - decibels.mean())


def smoothing(grey: Grey, strength: float, _chance: np.random.Generator) -> Grey:
    """Speckle smoothed away, edges kept: a median over squares of ``strength`` pixels."""
    halved = as_picture(grey).reduce(2)
    smooth = median_filter(np.asarray(halved), size=round(strength / 2), mode="reflect")
    return np.asarray(Image.fromarray(smooth).resize(grey.shape[::-1], Image.Resampling.BILINEAR), float)


def burnt_in(grey: Grey, strength: float, chance: np.random.Generator) -> Grey:
    """``strength`` pairs of calipers with dotted lines between them, and as many lines of text at an edge."""
    marked = grey.copy()
    for _ in range(int(strength)):
        ends = chance.uniform(0.2, 0.8, (2, 2)) * grey.shape
        for share in np.linspace(0, 1, 15):
            _dot(marked, ends[0] + share * (ends[1] - ends[0]), 1)
        for end in ends:
            _cross(marked, end)
        _text(marked, chance)
    return marked


def field(grey: Grey, strength: float, chance: np.random.Generator) -> Grey:
    """Another depth setting: ``strength`` times nearer or farther, beyond the edge mirrored tissue."""
    factor = _either_way(strength, chance)
    centre = np.array(grey.shape) / 2 * (1 + chance.uniform(-0.2, 0.2, 2) * abs(1 - 1 / strength))
    rows, columns = (
        np.rint(middle + (np.arange(length) - length / 2) * factor).astype(int)
        for middle, length in zip(centre, grey.shape, strict=True)
    )
    smooth = gaussian_filter(grey, 0.4 * max(0.0, factor - 1), mode="reflect")
    return smooth[np.ix_(_mirrored(rows, len(grey)), _mirrored(columns, grey.shape[1]))]


def depth_offset(grey: Grey, strength: float, chance: np.random.Generator) -> Grey:
    """The lesion ``strength`` of the height deeper or nearer, as under more or less fat."""
    moved = np.arange(len(grey)) + round(chance.choice((-1, 1)) * strength * len(grey))
    return grey[_mirrored(moved, len(grey))]


def portrait(grey: Grey, strength: float, chance: np.random.Generator) -> Grey:
    """An upright image, ``strength`` times as wide as high: a narrow part of the whole depth."""
    width = round(strength * grey.shape[1])
    start = chance.integers(0, grey.shape[1] - width + 1)
    return grey[:, start : start + width]


def scanner(grey: Grey, strength: float, chance: np.random.Generator) -> Grey:
    """All of it at once, each drawn at random up to ``strength`` of the single shifts' largest."""
    order = (field, portrait, beam, speckle, smoothing, dynamic_range, grey_map, gain_over_depth, burnt_in)
    for change in order:
        name = change.__name__
        gentle, strong = _NONE[name], STRENGTHS[name][-1]
        grey = np.clip(change(grey, gentle + chance.uniform(0, strength) * (strong - gentle), chance), 0, 255)
    return grey


_SHIFTS: Mapping[str, Shift] = {
    each.__name__: each
    for each in (
        gain_over_depth,
        dynamic_range,
        grey_map,
        beam,
        speckle,
        smoothing,
        burnt_in,
        field,
        depth_offset,
        portrait,
        scanner,
    )
}
KINDS = tuple(_SHIFTS)
STRENGTHS: Mapping[str, tuple[float, float, float]] = {
    "gain_over_depth": (8, 20, 36),  # grey levels, SD
    "dynamic_range": (1.1, 1.25, 1.5),  # factor: 60 dB become 55 or 66, 48 or 75, 40 or 90
    "grey_map": (1.2, 1.6, 2.2),  # power
    "beam": (2, 5, 9),  # pixels, SD
    "speckle": (2, 4, 8),  # pixels, SD of the grain
    "smoothing": (4, 8, 14),  # pixels
    "burnt_in": (1, 2, 4),  # pairs of calipers
    "field": (1.1, 1.3, 1.6),  # factor
    "depth_offset": (0.05, 0.12, 0.2),  # share of the height
    "portrait": (0.9, 0.76, 0.6),  # width over height
    "scanner": (0.25, 0.5, 0.75),  # share of the single shifts' largest
}
# Where each of the single shifts changes nothing, or next to nothing.
_NONE = {
    "gain_over_depth": 0.0,
    "dynamic_range": 1.0,
    "grey_map": 1.0,
    "beam": 0.0,
    "speckle": 1.0,
    "smoothing": 2.0,
    "burnt_in": 0.0,
    "field": 1.0,
    "portrait": 1.0,
}


def _chance(seed: int, kind: str, level: int, place: int) -> np.random.Generator:
    return np.random.default_rng([seed, KINDS.index(kind), level, place])


def _either_way(strength: float, chance: np.random.Generator) -> float:
    return strength if chance.random() < 0.5 else 1 / strength


def _mirrored(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return (length - 1) - np.abs((length - 1) - np.abs(places) % (2 * length - 2))


def _dot(grey: Grey, place: NDArray[np.float64], reach: int) -> None:
    row, column = np.rint(place).astype(int)
    grey[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = 255


def _cross(grey: Grey, place: NDArray[np.float64]) -> None:
    row, column = np.rint(place).astype(int)
    grey[max(0, row - 6) : row + 7, max(0, column - 1) : column + 1] = 255
    grey[max(0, row - 1) : row + 1, max(0, column - 6) : column + 7] = 255


def _text(grey: Grey, chance: np.random.Generator) -> None:
    """A line of eight-pixel letters, each a random pattern of strokes, near the upper or lower edge."""
    letters = chance.random((4, int(chance.integers(8, 20)), 3)) < 0.5
    strokes = np.kron(letters.reshape(4, -1), np.ones((2, 2), bool))
    height, width = grey.shape
    row = int(chance.choice((4, height - 14)))
    column = int(chance.integers(0, max(1, width - strokes.shape[1])))
    seen = strokes[:, : width - column]
    grey[row : row + 8, column : column + seen.shape[1]][seen] = 235
