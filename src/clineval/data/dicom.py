"""One DICOM file as the grey picture that a viewer shows (PS3.3 C.11), and its tags that identify people."""

import io
import warnings
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clineval.data.preparation import TOLERANCE, Unusable, colour_spread, few_levels, looked_up

RUN_LENGTH = "1.2.840.10008.1.2.5"  # a transfer syntax
BLOCK = 2**20  # pixels counted at once
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
    counts = np.where(padding, 0, _counted(found, len(words)))
    shown = counts > 0
    low, high = samples.ends
    if ((values < low) | (values > high))[shown].any():
        raise Unusable(f"its pixels hold values beyond the {samples.bits} bits that it states")
    share = _windowed(dataset, _rescaled(dataset, values), samples)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    grey = np.rint(255 * np.where(padding, 0.0, share)).astype(np.uint8)
    check_levels(np.bincount(grey, counts, minlength=256))
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


def _counted(found: NDArray[Any], count: int) -> NDArray[np.int64]:
    """How often each of the words occurs, shape (count,)."""
    flat, seen = found.ravel(), np.zeros(count, np.int64)
    for start in range(0, len(flat), BLOCK):
        seen += np.bincount(flat[start : start + BLOCK], minlength=count)
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


def check_levels(counts: NDArray[np.number]) -> None:
    """Refuse a picture of next to no grey levels: its window, table or range was meant for other values.

    Parameters
    ----------
    counts : pixels at each grey level, padding left out, shape (256,). One level alone is shown as it is.
    """
    if np.count_nonzero(counts) > 1 and (few := few_levels(counts)):
        raise Unusable(
            f"its picture as displayed {few}, so that nothing would be seen; "
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


SUFFIXES = (".dcm", ".dicom", ".ima")
MARKER = 0.01  # share of coloured pixels up to which even a colour Doppler file shows none of its colour
MOST_COLOURED = 0.10  # share of coloured pixels up to which the colour is a legend's, a marker's or a logo's
MOST_COLOURED_IN_THE_MIDDLE = 0.05  # the same of the middle half, where tissue and Doppler colours lie
COLOUR_FLOW = 2  # RegionDataType of an ultrasound region (PS3.3 C.8.5.5.1.2)
LONG_FORM = (  # representations with a length of four bytes, two unused before it
    b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV",
)  # fmt: skip
REPRESENTATIONS = (*LONG_FORM, b"UL", b"UI", b"CS", b"DA", b"TM", b"DT", b"LO", b"SH", b"PN", b"AE", b"US")
BIG_ENDIAN_8 = 0x0800  # group 8 of a big-endian file, read as little-endian
DEFLATED = b"1.2.840.10008.1.2.1.99"
VIDEO = "1.2.840.10008.1.2.4.10"  # how the transfer syntaxes of MPEG-2, MPEG-4 and HEVC (.100 to .108) begin
NO_PICTURE = {
    "SEG": "a segmentation object",
    "SR": "a structured report",
    "KO": "a key object selection",
    "PR": "a presentation state",
    "DOC": "a document",
    "RTSTRUCT": "a radiotherapy structure set",
    "RTPLAN": "a radiotherapy plan",
    "RTDOSE": "a radiotherapy dose",
    "RTRECORD": "a radiotherapy record",
    "REG": "a spatial registration",
    "RWV": "a real world value map",
    "ECG": "a waveform",
    "HD": "a waveform",
    "EPS": "a waveform",
    "AU": "a sound recording",
    "M3D": "a model of a surface",
}
OF_STORAGE_CLASS = {
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.88.": "SR",
    "1.2.840.10008.5.1.4.1.1.11.": "PR",
    "1.2.840.10008.5.1.4.1.1.104.": "DOC",
    "1.2.840.10008.5.1.4.1.1.481.2": "RTDOSE",
    "1.2.840.10008.5.1.4.1.1.9.": "ECG",
}
IN_GROUPS = ("FrameVOILUTSequence", "PixelValueTransformationSequence", "PixelMeasuresSequence")
IDENTIFYING = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime",
    "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "MilitaryRank", "EthnicGroup", "Occupation",
    "PatientComments", "MedicalRecordLocator", "AccessionNumber", "StudyID", "InstitutionName",
    "InstitutionAddress", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
    "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "StationName", "DeviceSerialNumber",
    "RequestingPhysician", "ResponsiblePerson", "PersonName", "InsurancePlanIdentification",
)  # fmt: skip
BROKEN = "it is a damaged or incomplete DICOM file"
Decoding = Callable[[int], AbstractContextManager[None]]


@dataclass(frozen=True)
class DicomImage:
    """The picture of one DICOM file.

    Attributes
    ----------
    grey : uint8, shape (rows, columns), dark to bright as displayed, of square pixels.
    bits : bits stored per pixel.
    burnt_in : the file says that its pixels hold identifying or other text (BurnedInAnnotation YES).
    identifying : keywords of the filled tags that identify a patient; never their content.
    coloured : share of the pixels that have a colour, 0 to 1.
    """

    grey: NDArray[np.uint8]
    bits: int
    burnt_in: bool
    identifying: tuple[str, ...]
    coloured: float = 0.0


def is_dicom(head: bytes) -> bool:
    """Whether a file begins as DICOM does: with a preamble, or else with an element of group 2 or 8."""
    if head[128:132] == b"DICM":
        return True
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    if len(head) < 16 or group not in (2, 8, BIG_ENDIAN_8) or element > 0x2000:
        return False
    explicit = head[4:6] in REPRESENTATIONS
    return explicit or (group == 8 and 0 < int.from_bytes(head[4:8], "little") <= 64)


def read_dicom(content: bytes, *, most_pixels: int, decoding: Decoding | None = None) -> DicomImage:
    """The grey picture in a DICOM file, as displayed (PS3.3 C.7.6.3, C.11.1 and C.11.2, PS3.4 N.2).

    Rescale slope and intercept (or the modality table) are applied, then the first window (or the
    VOI table, which comes first where both are there); without either the whole range of the stored
    bits becomes 0 to 255. MONOCHROME1, where low means bright, is inverted at the end. Padding is black
    and counts for nothing else. A tag that is there but empty counts as absent. A file without a
    preamble or file meta information is read as its first element shows. Pixels that are not square
    are made so. Colour that is a minor part of a frame becomes grey by its luma (ITU-R BT.601).

    Parameters
    ----------
    decoding : called with the bytes that decoding may take; the context that it gives is held meanwhile.

    Raises
    ------
    Unusable : no picture, a video, several frames, a Doppler picture or another in colour, more than
        ``most_pixels``, a compression that cannot be undone here, a damaged file, pixels beyond the
        bits that the file states, or a picture of next to no grey levels.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise Unusable(
            "it is a DICOM file, for which pydicom is needed: pip install 'clineval[dicom]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of every irregularity, most of them harmless
        try:
            dataset = _dataset(content, most_bytes=4 * most_pixels)
            _check(dataset, most_pixels)
            with decoding(_memory(dataset)) if decoding else nullcontext():
                return _read(dataset)
        except (Unusable, MemoryError):
            raise
        except Exception as error:  # pydicom and its decoders may raise anything on a broken file
            raise Unusable(BROKEN) from error


# The file ---------------------------------------------------------------------------------------------


def _dataset(content: bytes, *, most_bytes: int) -> Any:
    """The file's tags, with those of its one frame, and a transfer syntax even where it names none."""
    import pydicom

    if not is_dicom(content):
        raise Unusable("it is no DICOM file, although its name ends like one")
    _check_inflated(content, most_bytes)
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _syntax_as_read(dataset)
    _bring_up_frame_tags(dataset)
    return dataset


def _check_inflated(content: bytes, most_bytes: int) -> None:
    """Refuse a deflated file that inflates beyond all measure, before it is inflated."""
    if DEFLATED not in content:
        return
    start = _end_of_meta(content)
    if DEFLATED not in content[:start]:
        raise Unusable(BROKEN)
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:], most_bytes + 1)
    if len(inflated) > most_bytes:
        raise Unusable(f"it inflates to more than {most_bytes:,} bytes, as a decompression bomb does")


def _end_of_meta(content: bytes) -> int:
    """Where the file meta information (group 2, always explicit and little endian) ends."""
    place = 132 if content[128:132] == b"DICM" else 0
    while content[place : place + 2] == b"\x02\x00":
        long = content[place + 4 : place + 6] in LONG_FORM
        size = content[place + 8 : place + 12] if long else content[place + 6 : place + 8]
        place += (12 if long else 8) + int.from_bytes(size, "little")
    return place


def _syntax_as_read(dataset: Any) -> Any:
    from pydicom import uid

    implicit, little = dataset.original_encoding
    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        raise Unusable("it does not state how its pixels are compressed; export it again")
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _bring_up_frame_tags(dataset: Any) -> None:
    """Enhanced objects keep window, rescaling and spacing of their one frame in functional groups."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in list(dataset.get(groups) or ())[:1]:
            inner = [item for keyword in IN_GROUPS for item in group.get(keyword) or ()]
            for element in (element for item in inner for element in item):
                if given(dataset, element.keyword) is None:
                    dataset[element.tag] = element


def _check(dataset: Any, most_pixels: int) -> None:
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax.startswith(VIDEO):
        raise Unusable("it is a DICOM video; export the frame that is meant as one image")
    modality = _modality(dataset)
    if modality in NO_PICTURE:
        raise Unusable(f"it is a DICOM file of {NO_PICTURE[modality]} (modality {modality}), not a picture")
    if given(dataset, "PixelData") is None:
        raise Unusable(f"it is a DICOM file without a picture (modality {modality or 'unknown'})")
    frames = int(given(dataset, "NumberOfFrames") or 1)
    if frames > 1:
        raise Unusable(f"it is a DICOM file of {frames} frames; export the one that is meant as one image")
    if dataset.Rows * dataset.Columns > most_pixels:
        raise Unusable(f"it claims {dataset.Columns} x {dataset.Rows} pixels, more than {most_pixels:,}")
    if dataset.BitsAllocated not in (8, 16):
        raise Unusable(f"its pixels have {dataset.BitsAllocated} bits each; expected 8 or 16")


def _modality(dataset: Any) -> str:
    """The modality as the kind of the object states it, else as the file names it."""
    kind = str(dataset.get("SOPClassUID") or "")
    by_class = (name for start, name in OF_STORAGE_CLASS.items() if kind.startswith(start))
    return next(by_class, str(dataset.get("Modality") or "").strip().upper())


def _memory(dataset: Any) -> int:
    """Bytes that decoding takes at most: the file's pixels, the decoder's copy of them and the picture."""
    pixels = dataset.Rows * dataset.Columns
    return int(pixels * (1 + int(dataset.SamplesPerPixel) * 4 * dataset.BitsAllocated / 8))


def _read(dataset: Any) -> DicomImage:
    bits = int(dataset.BitsStored)
    grey, coloured = _picture(dataset)
    return DicomImage(
        grey=with_square_pixels(grey, dataset),
        bits=bits,
        burnt_in=str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES",
        identifying=tuple(keyword for keyword in IDENTIFYING if str(dataset.get(keyword, "")).strip()),
        coloured=coloured,
    )


# Pixels -----------------------------------------------------------------------------------------------


def _picture(dataset: Any) -> tuple[NDArray[np.uint8], float]:
    """The grey picture, and the share of its pixels that have a colour."""
    from pydicom.pixels import apply_color_lut

    samples = samples_of(dataset)
    palette = dataset.PhotometricInterpretation == "PALETTE COLOR"
    stored = _decoded(dataset, raw=samples.plain and int(dataset.SamplesPerPixel) == 1 and not palette)
    if palette:
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 3 and stored.shape[2] in (3, 4):
        return _grey_of_colours(
            dataset, stored[..., :3], bits=8 * stored.itemsize if palette else samples.bits
        )
    if stored.ndim != 2:
        raise Unusable(f"its pixels have the shape {stored.shape}; expected rows and columns")
    return displayed(dataset, stored, samples), 0.0


def _decoded(dataset: Any, *, raw: bool) -> NDArray[Any]:
    """The pixels (YBR as RGB); ``raw`` gives the stored words with all their bits, unsigned."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    unknown = f"its compression ({syntax.name}) cannot be undone here; "
    advice = f"{unknown}install pylibjpeg[all], or export it uncompressed"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Unusable(f"{unknown}export it uncompressed") from None
    if not decoder.is_available:
        raise Unusable(advice)
    _check_stream(dataset, syntax)
    if raw:
        dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
        dataset.PixelRepresentation = 0
    try:
        return np.asarray(pixel_array(dataset))
    except MemoryError:
        raise
    except Exception as error:
        if "not support" in str(error) or "annot decode" in str(error):
            raise Unusable(advice) from error
        raise Unusable(f"{BROKEN}: its pixels are cut short or cannot be decoded") from error


def _check_stream(dataset: Any, syntax: Any) -> None:
    """Refuse a compressed stream that would unpack to more than the size that the file states."""
    if not syntax.is_encapsulated:
        return
    from pydicom.encaps import generate_frames

    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if syntax == RUN_LENGTH:
        words = dataset.Rows * dataset.Columns * int(dataset.SamplesPerPixel) * dataset.BitsAllocated // 8
        if len(frame) > 2 * words + 1024:  # run lengths never lengthen a picture so much
            raise Unusable(BROKEN)
        return
    try:
        with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as stream:
            size = stream.size
    except Exception:  # what Pillow does not know is another decoder's; damage shows when it is decoded
        return
    if size != (dataset.Columns, dataset.Rows):
        raise Unusable(f"it states {dataset.Columns} x {dataset.Rows} pixels and holds {size[0]} x {size[1]}")


def _grey_of_colours(dataset: Any, stored: NDArray[Any], *, bits: int) -> tuple[NDArray[np.uint8], float]:
    """The luma of a frame whose colour is a minor part, and its share; a frame in colour is refused."""
    eight = stored if stored.dtype == np.uint8 else (stored >> (bits - 8)).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(eight))
    coloured = np.asarray(colour_spread(picture)) > TOLERANCE
    rows, columns = coloured.shape
    share = float(coloured.mean())
    middle = float(coloured[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4].mean())
    doppler = share > MARKER and _is_colour_flow(dataset)
    if doppler or share > MOST_COLOURED or middle > MOST_COLOURED_IN_THE_MIDDLE:
        raise Unusable(
            f"it is a DICOM file in colour ({share:.0%} of its pixels, {middle:.0%} in the middle), as "
            "Doppler pictures are; expected grey, with colour in a legend or marker at most"
        )
    grey = np.asarray(picture.convert("L"))
    check_levels(np.bincount(grey.ravel(), minlength=256))
    return grey, share


def _is_colour_flow(dataset: Any) -> bool:
    regions = dataset.get("SequenceOfUltrasoundRegions") or ()
    by_region = any(given(region, "RegionDataType") == COLOUR_FLOW for region in regions)
    return by_region or given(dataset, "UltrasoundColorDataPresent") == 1
