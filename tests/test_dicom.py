"""DICOM files as a viewer shows them: synthetic round trips, files that pydicom ships, what is refused."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from clineval.data.dicom import is_dicom, read_dicom, window
from clineval.data.image_files import read_image
from clineval.data.preparation import Unusable

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed (the extra 'dicom')")

MOST = 100_000_000


def dicom(pixels, *, bits=8, signed=False, photometric="MONOCHROME2", compress=None, **tags) -> bytes:
    """A DICOM file of the given pixels, everything else as small as the standard allows."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    colour = np.ndim(pixels) == 3
    dataset.Rows, dataset.Columns = np.shape(pixels)[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colour else (1, photometric)
    if colour:
        dataset.PlanarConfiguration = 0
    held = 8 if bits <= 8 else 16
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = held, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = np.asarray(pixels).astype(f"<{'i' if signed else 'u'}{held // 8}").tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    for name, value in tags.items():
        setattr(dataset, name, value)
    if compress is not None:
        dataset.compress(compress, generate_instance_uid=False)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def grey_of(content: bytes) -> np.ndarray:
    return read_dicom(content, most_pixels=MOST).grey


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_a_broken_tag_that_no_pixel_depends_on_is_refused_too():
    content = dicom(RAMP, PatientName="A^B").replace(b"\x10\x00\x10\x00PN", b"\x10\x00\x10\x00QN")
    with pytest.raises(Unusable, match=r"damaged or incomplete DICOM file"):
        grey_of(content)


# Round trips ------------------------------------------------------------------------------------------


def test_eight_bits_without_a_window_come_back_as_they_are():
    assert np.array_equal(grey_of(dicom(RAMP)), RAMP)


def test_monochrome1_is_inverted():
    assert np.array_equal(grey_of(dicom(RAMP, photometric="MONOCHROME1")), 255 - RAMP)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_deep_unsigned_pixels_fill_the_range_of_their_bits(bits, photometric):
    white = 2**bits - 1
    pixels = np.linspace(0, white, 100).round().astype(np.uint16).reshape(10, 10)
    expected = np.rint(pixels / white * 255)
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    assert np.abs(grey_of(dicom(pixels, bits=bits, photometric=photometric)) - expected).max() <= 1


def test_signed_pixels_run_from_the_least_to_the_greatest_of_their_bits():
    pixels = np.array([[-2048, -1024, 0, 1024, 2047]])
    assert grey_of(dicom(pixels, bits=12, signed=True)).tolist() == [[0, 64, 128, 191, 255]]


def test_rescale_comes_before_the_window():
    stored = np.array([[0, 984, 1024, 1064, 2000]])  # -1024 to 976 Hounsfield units
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 0, "WindowWidth": 80}
    found = grey_of(dicom(stored, bits=12, **tags))
    assert found.tolist() == [[0, 0, 129, 255, 255]]


def test_of_several_windows_the_first_is_taken():
    pixels = np.array([[0, 100, 200, 4000]])
    tags = {"WindowCenter": [100.5, 2000], "WindowWidth": [201, 4000]}
    assert grey_of(dicom(pixels, bits=12, **tags)).tolist() == [[0, 128, 255, 255]]


def test_a_window_and_monochrome1_together_invert_what_the_window_shows():
    pixels, tags = np.array([[0, 100, 200, 4000]]), {"WindowCenter": 100.5, "WindowWidth": 201}
    found = grey_of(dicom(pixels, bits=12, photometric="MONOCHROME1", **tags))
    assert found.tolist() == [[255, 128, 0, 0]]


def test_the_window_is_pydicoms_own_to_rounding():
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        content = dicom(pixels, bits=12, WindowCenter=1800, WindowWidth=1500, VOILUTFunction=function)
        dataset = pydicom.dcmread(io.BytesIO(content))
        theirs = pydicom.pixels.apply_windowing(pixels, dataset) / 4095 * 255
        assert np.abs(grey_of(content) - theirs).max() <= 0.51


def test_a_voi_table_is_applied():
    item = pydicom.Dataset()
    item.LUTDescriptor = [256, 0, 8]
    item.LUTData = np.arange(255, -1, -1, dtype="<u2").tobytes()
    item["LUTData"].VR = "OW"
    found = grey_of(dicom(RAMP, VOILUTSequence=pydicom.Sequence([item])))
    assert np.array_equal(found, 255 - RAMP)


def test_padding_is_black_whatever_the_photometry():
    pixels = np.array([[0, 63, 126, 255]], np.uint8)
    found = grey_of(dicom(pixels, photometric="MONOCHROME1", PixelPaddingValue=0))
    assert found.tolist() == [[0, 192, 129, 0]]


@pytest.mark.parametrize("bits", [8, 12])
def test_run_length_compression_is_undone(bits):
    pixels = RAMP if bits == 8 else RAMP.astype(np.uint16) * 16
    packed = dicom(pixels, bits=bits, compress=pydicom.uid.RLELossless)
    assert np.array_equal(grey_of(packed), grey_of(dicom(pixels, bits=bits)))


def test_grey_kept_in_three_channels_is_read_as_grey():
    assert np.array_equal(grey_of(dicom(np.repeat(RAMP[..., None], 3, axis=2))), RAMP)


def test_a_small_coloured_marker_leaves_the_picture_grey():
    pixels = np.repeat(np.arange(40, 140, dtype=np.uint8)[:, None, None], 100, axis=1).repeat(3, axis=2)
    pixels[0, :50] = (0, 255, 0)
    assert grey_of(dicom(pixels))[50, 50] == 90


# The window's formula ---------------------------------------------------------------------------------


def test_the_linear_window_is_the_standards_worked_example():
    """PS3.3 C.11.2.1.2.1: centre 2048 and width 4096 show 0 to 4095; width 1 at 2048 is a step at 2048."""
    values = np.array([0.0, 4095.0])
    assert window(values, 2048, 4096).tolist() == [0.0, 1.0]
    assert window(np.array([2047.0, 2048.0]), 2048, 1).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("width", "function"), [(0, "LINEAR"), (0, "LINEAR_EXACT"), (10, "CUBIC")])
def test_a_window_that_dicom_does_not_allow_is_refused(width, function):
    with pytest.raises(Unusable, match="none that DICOM allows"):
        window(np.zeros(3), 10, width, function=function)


# Patients ---------------------------------------------------------------------------------------------


def test_identifying_tags_are_named_and_their_content_is_not_kept():
    content = dicom(RAMP, PatientName="Doe^Jane", PatientID="4711", PatientBirthDate="", Modality="US")
    picture = read_dicom(content, most_pixels=MOST)
    assert picture.identifying == ("PatientName", "PatientID")
    assert "Doe" not in repr(picture)
    assert "4711" not in repr(picture)


def test_the_burnt_in_flag_is_reported():
    assert read_dicom(dicom(RAMP, BurnedInAnnotation="YES"), most_pixels=MOST).burnt_in
    assert not read_dicom(dicom(RAMP, BurnedInAnnotation="NO"), most_pixels=MOST).burnt_in
    assert not read_dicom(dicom(RAMP), most_pixels=MOST).burnt_in


def test_a_file_is_known_by_its_preamble_or_its_ending(tmp_path):
    path = tmp_path / "no_ending"
    path.write_bytes(dicom(RAMP))
    assert np.array_equal(np.asarray(read_image(path).grey), RAMP)
    assert is_dicom(path.read_bytes())
    assert not is_dicom(b"\x89PNG\r\n\x1a\n" + bytes(200))
    assert not is_dicom(b"")


# What is refused --------------------------------------------------------------------------------------


def without_pixels() -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(dicom(RAMP, Modality="SR")))
    del dataset.PixelData
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def video() -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0\0\0\1video!"])
    dataset["PixelData"].is_undefined_length = True
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


REFUSED = {
    "no pixels": (without_pixels, r"of a structured report \(modality SR\)"),
    "video": (video, "a DICOM video; export the frame"),
    "several frames": (
        lambda: dicom(np.zeros((32, 16), np.uint8), Rows=16, NumberOfFrames=2),
        "of 2 frames; export the one",
    ),
    "colour": (
        lambda: dicom(np.random.default_rng(0).integers(0, 256, (20, 20, 3))),
        "in colour .* as Doppler pictures are",
    ),
    "too many pixels": (lambda: dicom(RAMP, Rows=60000, Columns=60000), "claims 60000 x 60000 pixels"),
    "no window": (
        lambda: dicom(np.array([[0, 500, 1000]]), bits=16),
        r"spans 5 of 256 grey levels",
    ),
    "a broken window": (lambda: dicom(RAMP, WindowCenter=10, WindowWidth=0), "none that DICOM allows"),
    "truncated": (lambda: dicom(RAMP)[:-100], "its pixels are cut short or cannot be decoded"),
    "no DICOM": (lambda: b"hello", "no DICOM file, although its name ends like one"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_grey_picture_is_refused_in_a_clause(name):
    make, message = REFUSED[name]
    with pytest.raises(Unusable, match=message):
        read_dicom(make(), most_pixels=MOST)


def test_without_pydicom_the_extra_is_named(monkeypatch):
    content = dicom(RAMP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(Unusable, match=r"pydicom is needed: pip install .*\[dicom\]"):
        read_dicom(content, most_pixels=MOST)


# Files that pydicom ships -----------------------------------------------------------------------------

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("MR_small.dcm", (64, 64)),
        ("MR_small_RLE.dcm", (64, 64)),
        ("MR_small_bigendian.dcm", (64, 64)),
        ("MR_small_expb.dcm", (64, 64)),
        ("MR_small_implicit.dcm", (64, 64)),
        ("MR_small_jp2klossless.dcm", (64, 64)),
        ("MR_small_padded.dcm", (64, 64)),
        ("693_J2KI.dcm", (512, 512)),
        ("examples_overlay.dcm", (300, 484)),
        ("image_dfl.dcm", (512, 512)),
    ],
)
def test_real_files_are_read(name, shape):
    if not (SHIPPED / name).is_file():
        pytest.skip(f"this pydicom ships no {name}")
    read = read_image(SHIPPED / name)
    assert read.grey.size == shape[::-1]
    assert np.ptp(np.asarray(read.grey)) > 100


def test_one_picture_in_several_encodings_is_one_picture():
    names = ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "padded"]
    expected = np.asarray(read_image(SHIPPED / "MR_small.dcm").grey)
    for name in names:
        assert np.array_equal(np.asarray(read_image(SHIPPED / f"MR_small_{name}.dcm").grey), expected)


def told(path: Path) -> str:
    """What is said of a file that is refused; empty where it is read."""
    try:
        read_image(path)
    except Unusable as reason:
        return str(reason)
    return ""


def test_every_shipped_file_is_read_or_refused_in_a_clause():
    clauses = [told(path) for path in sorted(SHIPPED.glob("*.dcm"))]
    assert sum(clause == "" for clause in clauses) >= 10
    assert all(clause.startswith(("it ", "its ")) and "\n" not in clause for clause in clauses if clause)
