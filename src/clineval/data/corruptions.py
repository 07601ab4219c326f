"""What other scanners, settings and archives do to an ultrasound image, in five steps of severity."""

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from clineval.errors import InputError

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
    """Refuse a kind or a severity that there is not."""
    if kind not in KINDS:
        raise InputError(f"A corruption is one of {', '.join(KINDS)}; got {kind!r}.")
    if severity not in SEVERITIES:
        raise InputError(f"The severity of a corruption is a whole number from 1 to 5; got {severity!r}.")


def _speckle(image: Grey, strength: float, generator: np.random.Generator) -> Grey:
    """Multiplicative noise of standard deviation ``strength``, as interference of the echoes makes it."""
    noise = generator.standard_normal(image.shape)
    grain = image.shape[1] * GRAIN
    if grain > 1:
        noise = gaussian_filter(noise, grain / 2, mode="reflect")
        noise /= noise.std()
    return image * (1 + strength * noise)


def _blur(image: Grey, strength: float, _generator: np.random.Generator) -> Grey:
    """A Gaussian of ``strength`` pixels (at 28 x 28), as a wider beam or a shifted focus makes it."""
    return gaussian_filter(image, strength * image.shape[1] / REFERENCE, mode="reflect")


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
    "speckle": (0.06, 0.12, 0.18, 0.26, 0.36),  # standard deviation, share of the grey level
    "blur": (0.4, 0.7, 1.0, 1.4, 1.9),  # standard deviation in pixels at 28 x 28
    "brightness": (12, 24, 36, 50, 64),  # grey levels of 255
    "contrast": (1.15, 1.3, 1.5, 1.8, 2.2),  # factor
    "pixelation": (1.25, 1.5, 2.0, 2.8, 4.0),  # side of a block in pixels at 28 x 28
    "jpeg": (60, 40, 25, 15, 8),  # quality
}
