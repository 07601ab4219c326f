"""TIFF files whose grey levels Pillow misreads: zero white, signed, of 9 to 15 bits."""

import ctypes
import struct
from contextlib import suppress
from ctypes.util import find_library
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clineval.data.preparation import DEEP, Unusable

STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
PHOTOMETRIC, BITS_PER_SAMPLE, SAMPLE_FORMAT = 262, 258, 339  # tags
WHITE_IS_ZERO, BLACK_IS_ZERO, SIGNED = 0, 1, 2  # their values
MOST_TAGS = 1000  # that are looked at


def with_black_zero(content: bytes) -> tuple[bytes, bool]:
    """A TIFF file of more than eight bits marked as one whose zero is black, and whether it is white.

    Pillow inverts up to eight bits only; deeper files it reads as they are, and some of them not at all.
    """
    if not content.startswith(STARTS):
        return content, False
    _mute_library()
    order, wide = "<" if content[:2] == b"II" else ">", content[2:4] in (b"+\x00", b"\x00+")
    start = struct.unpack_from(f"{order}Q" if wide else f"{order}I", content, 8 if wide else 4)[0]
    count = struct.unpack_from(f"{order}Q" if wide else f"{order}H", content, start)[0]
    first, size, value = start + (8 if wide else 2), 20 if wide else 12, 12 if wide else 8
    places = {
        struct.unpack_from(f"{order}H", content, first + size * number)[0]: first + size * number + value
        for number in range(min(count, MOST_TAGS))
    }
    bits, photometric = (
        struct.unpack_from(f"{order}H", content, places[tag])[0] if tag in places else 1
        for tag in (BITS_PER_SAMPLE, PHOTOMETRIC)
    )
    if photometric != WHITE_IS_ZERO or not 8 < bits <= DEEP:
        return content, False
    place = places[PHOTOMETRIC]
    return content[:place] + struct.pack(f"{order}H", BLACK_IS_ZERO) + content[place + 2 :], True


def says_its_white(image: Image.Image) -> bool:
    """Whether samples are signed, or of 9 to 15 bits: then the file says what their white is."""
    bits, signed = _samples(image)
    return len(image.getbands()) == 1 and (8 < bits < DEEP or (signed and 8 <= bits <= DEEP))


def grey_levels(image: Image.Image, bits: int | None, *, inverted: bool) -> tuple[NDArray[Any], int | None]:
    """The grey levels of such a TIFF file, 0 black, and the bits of their white."""
    stated, signed = _samples(image)
    levels = np.asarray(image).view(np.int8) if stated == 8 else np.asarray(image)
    if levels.min(initial=0) < 0:
        raise Unusable("it holds negative grey levels, whose black nobody can know; save it unsigned")
    if inverted:
        levels = (2 ** (stated - signed) - 1 - levels.astype(np.int32)).astype(np.uint16)
    return levels, None if bits is None and stated > 8 else min(bits or DEEP, stated - signed)


def _samples(image: Any) -> tuple[int, bool]:
    """Bits of each sample of a TIFF file, and whether they are signed."""
    bits = int(image.tag_v2.get(BITS_PER_SAMPLE, (1,))[0])
    return bits, SIGNED in np.ravel(image.tag_v2.get(SAMPLE_FORMAT, 1))


@cache
def _mute_library() -> None:
    """Keep libtiff, on which Pillow calls, from writing its own lines to standard error beside a refusal."""
    places = [str(path) for path in Path(Image.__file__).parents[1].glob("pillow.libs/libtiff*")]
    for name in places or filter(None, [find_library("tiff")]):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(name).TIFFSetErrorHandler(None)
