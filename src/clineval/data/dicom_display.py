"""The grey of a DICOM file's stored pixels as a viewer displays it (PS3.3 C.7.6.3, C.11.1 and C.11.2)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clineval.data.preparation import FEWEST_LEVELS, Unusable, looked_up

RUN_LENGTH = "1.2.840.10008.1.2.5"  # a transfer syntax
NEGATIVE = 2**15  # from here on a tag that was read as unsigned stands for a negative number
WIDEST_PIXEL = 4.0  # times as wide as high, or as high as wide; beyond, the tag cannot be meant
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


@dataclass(frozen=True)
class Samples:
    """How a pixel is stored: bits in use of those allotted, the highest of them, and whether signed.

    ``plain`` is True where the stored words are at hand, bits that are not in use included.
    """

    allotted: int
    bits: int
    high: int
    signed: bool
    plain: bool

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the greatest value that the bits can hold."""
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)


def displayed(dataset: Any, stored: NDArray[Any], samples: Samples) -> NDArray[np.uint8]:
    """The displayed grey of every pixel, worked out once for each of the 256 or 65,536 stored words.

    Parameters
    ----------
    dataset : the file's tags, as pydicom reads them.
    stored : the words as they are stored, unsigned, where ``samples.plain``, else the decoded numbers;
        shape (rows, columns).

    Raises
    ------
    Unusable : numbers beyond the stated bits, a window that DICOM does not allow, or next to no grey levels.
    """
    words = np.arange(2 ** (8 * stored.itemsize))
    found = stored.view(f"{stored.dtype.byteorder}u{stored.itemsize}")
    values = _values(words, samples)
    padding = _padding(dataset, words, values)
    shown = _occurring(found, len(words)) & ~padding
    low, high = samples.ends
    if ((values < low) | (values > high))[shown].any():
        raise Unusable(f"its pixels hold values beyond the {samples.bits} bits that it states")
    share = _windowed(dataset, _rescaled(dataset, values), samples)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    grey = np.rint(255 * np.where(padding, 0.0, share)).astype(np.uint8)
    check_levels(grey[shown])
    return looked_up(found, grey)


def samples_of(dataset: Any) -> Samples:
    """How the pixels are stored.

    Raises
    ------
    Unusable : the file states bits that cannot be.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    bits, allotted = int(dataset.BitsStored), int(dataset.BitsAllocated)
    high = given(dataset, "HighBit")
    high = bits - 1 if high is None else int(high)
    if not 1 <= bits <= high + 1 <= allotted:
        raise Unusable(f"it states {bits} bits of {allotted}, the highest of them at {high}, which cannot be")
    signed = bool(given(dataset, "PixelRepresentation"))
    return Samples(allotted, bits, high, signed, plain=not syntax.is_encapsulated or syntax == RUN_LENGTH)


def given(dataset: Any, keyword: str) -> Any:
    """A tag's value; None where the tag is absent or empty."""
    value = dataset.get(keyword) if keyword else None
    if value is None or (hasattr(value, "__len__") and not len(value)):
        return None
    return value


def _values(words: NDArray[np.int64], samples: Samples) -> NDArray[np.int64]:
    """The number that each stored word stands for; unused bits count for nothing (PS3.5 8.1.1)."""
    bits, values = len(words).bit_length() - 1, words
    if samples.plain:
        bits = samples.bits
        values = (words >> (samples.high + 1 - bits)) & (2**bits - 1)
    return np.where(values >= 2 ** (bits - 1), values - 2**bits, values) if samples.signed else values


def _occurring(found: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """Which of the words occur, shape (count,)."""
    seen = np.zeros(count, bool)
    for row in found:
        seen[row] = True
    return seen


def _padding(dataset: Any, words: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which words the scanner filled in where it had nothing to show."""
    value = given(dataset, "PixelPaddingValue")
    if value is None:
        return np.zeros(len(words), bool)
    limit = given(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    as_word = (words >= low % len(words)) & (words <= high % len(words))
    return ((values >= low) & (values <= high)) | as_word


def _rescaled(dataset: Any, values: NDArray[np.int64]) -> NDArray[np.float64]:
    table = given(dataset, "ModalityLUTSequence")
    if table is not None:
        return _through_table(values, table[0], dataset)[0]
    slope, intercept = given(dataset, "RescaleSlope"), given(dataset, "RescaleIntercept")
    scaled = values.astype(np.float64) * (1.0 if slope is None else float(slope))
    return scaled + (0.0 if intercept is None else float(intercept))


def _through_table(values: NDArray[Any], item: Any, dataset: Any) -> tuple[NDArray[np.float64], int]:
    """Values through a modality or VOI table (PS3.3 C.11.1.1), and the most that its bits can hold."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or 2**16
    if first >= NEGATIVE and given(dataset, "PixelRepresentation"):
        first -= 2**16
    content = item.LUTData
    if isinstance(content, bytes):
        little = dataset.original_encoding[1]
        width = "u1" if len(content) < 2 * entries else f"{'<' if little else '>'}u2"
        content = np.frombuffer(content, width)
    table: NDArray[np.float64] = np.asarray(content, dtype=np.float64)[:entries]
    place = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[place], 2**bits - 1


def _windowed(dataset: Any, values: NDArray[np.float64], samples: Samples) -> NDArray[np.float64]:
    """Position of each value in what the display shows, 0 to 1."""
    table = given(dataset, "VOILUTSequence")
    if table is not None:
        looked, white = _through_table(values, table[0], dataset)
        return np.clip(looked / white, 0, 1)
    center, width = given(dataset, "WindowCenter"), given(dataset, "WindowWidth")
    if center is not None and width is not None:
        function = str(given(dataset, "VOILUTFunction") or "LINEAR").strip().upper()
        return window(values, _first(center), _first(width), function=function)
    low, high = _whole_range(dataset, samples)
    return np.clip((values - low) / (high - low), 0, 1)


def window(
    values: NDArray[np.float64], center: float, width: float, *, function: str = "LINEAR"
) -> NDArray[np.float64]:
    """Position of each value in a window, 0 to 1 (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Raises
    ------
    Unusable : a width that the function does not allow, or an unknown function.
    """
    if np.isfinite(center) and function == "SIGMOID" and 0 < width < np.inf:
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if np.isfinite(center) and function == "LINEAR_EXACT" and 0 < width < np.inf:
        return np.clip((values - center) / width + 0.5, 0, 1)
    if function != "LINEAR" or not np.isfinite(center) or not 1 <= width < np.inf:
        raise Unusable(f"its window (function {function}, width {width:g}) is none that DICOM allows")
    if width == 1:  # a step: the formula would divide by zero
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _whole_range(dataset: Any, samples: Samples) -> tuple[float, float]:
    """What the stored bits can hold, after rescaling."""
    table = given(dataset, "ModalityLUTSequence")
    if table is not None:
        return 0.0, float(2 ** int(table[0].LUTDescriptor[2]) - 1)
    low, high = sorted(_rescaled(dataset, np.array(samples.ends)).tolist())
    if not low < high < np.inf:
        raise Unusable("its rescale slope leaves no range of grey levels")
    return low, high


def check_levels(grey: NDArray[np.uint8]) -> None:
    """Refuse a picture of next to no grey levels: its window, table or range was meant for other values."""
    spread = int(np.ptp(grey)) if len(grey) else 0
    if 0 < spread < FEWEST_LEVELS:
        raise Unusable(
            f"its picture as displayed spans {spread + 1} of 256 grey levels, so that nothing would be seen; "
            "export it with a window (WindowCenter, WindowWidth) or table that fits its values"
        )


def with_square_pixels(grey: NDArray[np.uint8], dataset: Any) -> NDArray[np.uint8]:
    """The picture with its longer pixel side resampled, where the file says that pixels are not square."""
    spacing = next((found for name in SPACINGS if (found := given(dataset, name)) is not None), None)
    ratio = given(dataset, "PixelAspectRatio")
    high, wide = (float(side) for side in (ratio if ratio is not None else spacing) or (1, 1))
    if not (high > 0 and wide > 0) or abs(wide / high - 1) < 0.01:
        return grey
    if not 1 / WIDEST_PIXEL <= wide / high <= WIDEST_PIXEL:
        raise Unusable(f"its pixels are {wide / high:.3g} times as wide as high, which cannot be")
    rows, columns = grey.shape
    size = (round(columns * max(1, wide / high)), round(rows * max(1, high / wide)))
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
