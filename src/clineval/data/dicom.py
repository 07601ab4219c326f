"""One DICOM file as the grey picture that a viewer would show, and what it gives away about a patient."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.data.preparation import FEWEST_LEVELS, Unusable, grey_of_colour

SUFFIXES = (".dcm", ".dicom", ".ima")
TOLERANCE = 16  # grey levels by which lossy compression may part the channels of a grey pixel
MOST_COLOURED = 0.01  # share of the pixels: a coloured logo or marker is no Doppler image
VIDEO = "1.2.840.10008.1.2.4.10"  # how the transfer syntaxes of MPEG-2, MPEG-4 and HEVC (.100 to .108) begin
IDENTIFYING = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime",
    "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "MilitaryRank", "EthnicGroup", "Occupation",
    "PatientComments", "MedicalRecordLocator", "AccessionNumber", "StudyID", "InstitutionName",
    "InstitutionAddress", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
    "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "StationName", "DeviceSerialNumber",
    "RequestingPhysician", "ResponsiblePerson", "PersonName", "InsurancePlanIdentification",
)  # fmt: skip


@dataclass(frozen=True)
class DicomImage:
    """The picture of one DICOM file.

    Attributes
    ----------
    grey : uint8, shape (rows, columns), dark to bright as displayed.
    bits : bits stored per pixel.
    burnt_in : the file says that its pixels hold identifying or other text (BurnedInAnnotation YES).
    identifying : keywords of the filled tags that identify a patient; never their content.
    """

    grey: NDArray[np.uint8]
    bits: int
    burnt_in: bool
    identifying: tuple[str, ...]


def looks_like_dicom(path: Path, content: bytes) -> bool:
    """By its preamble, else by the ending of its name."""
    return content[128:132] == b"DICM" or path.suffix.lower() in SUFFIXES


def read_dicom(content: bytes, *, most_pixels: int) -> DicomImage:
    """The grey picture in a DICOM file, as displayed (PS3.3 C.7.6.3, C.11.1 and C.11.2, PS3.4 N.2).

    Rescale slope and intercept (or the modality table) are applied, then the first window (or the
    VOI table, which comes first where both are there); without either the whole range of the stored
    bits becomes 0 to 255. MONOCHROME1, where low means bright, is inverted at the end. Padding is black.
    Grey that is kept in three colour channels is read as grey.

    Raises
    ------
    Unusable : no pixels, a video, several frames, colour, more than ``most_pixels``, a compression
        that is not at hand, or pixels that fill next to nothing of a range without a window.
    """
    try:
        import pydicom
    except ImportError:
        raise Unusable(
            "it is a DICOM file, for which pydicom is needed: "
            "pip install 'breastmnist-clinical-evaluation[dicom]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of every irregularity, most of them harmless
        try:
            dataset = pydicom.dcmread(io.BytesIO(content))
            _check(dataset, most_pixels)
            return _read(dataset)
        except Unusable:
            raise
        except Exception as error:  # pydicom and its decoders may raise anything on a broken file
            raise Unusable(_in_words(error)) from error


def _read(dataset: Any) -> DicomImage:
    return DicomImage(
        grey=_picture(dataset),
        bits=int(dataset.BitsStored),
        burnt_in=str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES",
        identifying=tuple(keyword for keyword in IDENTIFYING if str(dataset.get(keyword, "")).strip()),
    )


def _check(dataset: Any, most_pixels: int) -> None:
    syntax = str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ""))
    if syntax.startswith(VIDEO):
        raise Unusable("it is a DICOM video; export the frame that is meant as one image")
    if "PixelData" not in dataset:
        kind = str(dataset.get("Modality", "")).strip() or "unknown"
        raise Unusable(f"it is a DICOM file without a picture (modality {kind})")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise Unusable(f"it is a DICOM file of {frames} frames; export the one that is meant as one image")
    if dataset.Rows * dataset.Columns > most_pixels:
        raise Unusable(f"it claims {dataset.Columns} x {dataset.Rows} pixels, more than {most_pixels:,}")


def _picture(dataset: Any) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_color_lut, pixel_array

    stored = np.asarray(pixel_array(dataset))  # YBR comes as RGB
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 3 and stored.shape[2] in (3, 4):
        return _grey_in_colour(stored[..., :3])
    if stored.ndim != 2:
        raise Unusable(f"its pixels have the shape {stored.shape} where rows and columns are needed")
    return _displayed(dataset, stored)


def _grey_in_colour(stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey kept in three channels, as many ultrasound scanners do; true colour is refused."""
    eight = stored if stored.dtype == np.uint8 else (stored >> (8 * stored.itemsize - 8)).astype(np.uint8)
    coloured = float((np.ptp(eight, axis=2) > TOLERANCE).mean())
    if coloured > MOST_COLOURED:
        raise Unusable(
            f"it is a DICOM file in colour ({coloured:.0%} of its pixels) where grey is needed; "
            "export it as grey, or as PNG, of which the luma is taken"
        )
    return grey_of_colour(eight[None])[0]


def _displayed(dataset: Any, stored: NDArray[Any]) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_modality_lut

    share = _windowed(dataset, np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    share[_padding(dataset, stored)] = 0.0
    return np.rint(255 * share).astype(np.uint8)


def _windowed(dataset: Any, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Position of each value in what the display shows, 0 to 1."""
    from pydicom.pixels import apply_voi

    if "VOILUTSequence" in dataset:
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return np.clip(np.asarray(apply_voi(values.astype(np.int64), dataset)) / (2**bits - 1), 0, 1)
    if "WindowCenter" in dataset and "WindowWidth" in dataset:
        center, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
        return window(values, center, width, function=str(dataset.get("VOILUTFunction", "LINEAR")))
    low, high = _whole_range(dataset)
    if dataset.BitsStored > 8 and 0 < np.ptp(values) * 256 < (high - low) * FEWEST_LEVELS:
        raise Unusable(
            f"it has no window and its pixels fill {np.ptp(values):,.0f} of {high - low:,.0f} grey levels, "
            "so that nothing would be seen; export it with a window (WindowCenter, WindowWidth)"
        )
    return np.clip((values - low) / (high - low), 0, 1)


def window(
    values: NDArray[np.float64], center: float, width: float, *, function: str = "LINEAR"
) -> NDArray[np.float64]:
    """Position of each value in a window, 0 to 1 (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Raises
    ------
    Unusable : a width that the function does not allow, or an unknown function.
    """
    if function == "SIGMOID" and width > 0:
        return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR_EXACT" and width > 0:
        return np.clip((values - center) / width + 0.5, 0, 1)
    if function != "LINEAR" or width < 1:
        raise Unusable(f"its window (function {function}, width {width:g}) is none that DICOM allows")
    if width == 1:  # a step: the formula would divide by zero
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _whole_range(dataset: Any) -> tuple[float, float]:
    """What the stored bits can hold, after rescaling."""
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1], dtype=float)
    if "ModalityLUTSequence" in dataset:
        return 0.0, float(2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    ends = ends * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    return float(ends.min()), float(ends.max())


def _padding(dataset: Any, stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Where the scanner had nothing to show and filled in a value of its own."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    low, high = sorted((int(value), int(dataset.get("PixelPaddingRangeLimit", value))))
    return (stored >= low) & (stored <= high)


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def _in_words(error: Exception) -> str:
    words = " ".join(str(error).split())
    if words.startswith("Unknown Value Representation"):
        return f"it is a broken DICOM file ({words[:200]})"
    if isinstance(error, NotImplementedError) or "missing dependencies" in words or "plugin" in words:
        return "its compression cannot be undone here; install pylibjpeg[all], or export it uncompressed"
    if type(error).__name__ == "InvalidDicomError":
        return "it is no DICOM file, although its name ends like one"
    return f"it is no DICOM image that can be read ({words[:200] or type(error).__name__})"
