"""Image files as scanners, archives, cameras and other systems write them."""

import csv
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import unicodedata
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from finished_run import WORDS, write_cohort
from PIL import Image

import clineval
from clineval.cli.main import run_command
from clineval.data.image_files import find_images, read_image
from clineval.data.own_images import read_own_cohort, read_own_images
from clineval.data.preparation import Unusable
from clineval.errors import InputError
from clineval.tables.own_table import Columns

pydicom = pytest.importorskip("pydicom")

CASES = Path(__file__).parent / "cases"
REFERENCE = CASES / "base" / "ref.png"
PYTHON_WORDS = re.compile(
    r"NoneType|has no attribute|invalid literal|Traceback|' object|out of range|unpack|<_io|Error\b|argument"
)


def grey(path) -> np.ndarray:
    return np.asarray(read_image(Path(path)).grey)


def refusal(path) -> str:
    """Why a file is refused: a clause in which Python's own words have no place."""
    with pytest.raises(Unusable) as caught:
        read_image(Path(path))
    reason = str(caught.value)
    assert reason.startswith(("it ", "its "))
    assert "\n" not in reason
    assert not PYTHON_WORDS.search(reason), reason
    return reason


@pytest.fixture
def predict(finished_run, capsys):
    """Runs ``clineval predict``: exit code, rows of the CSV, standard error."""

    def predicted(*words):
        capsys.readouterr()
        code = run_command(["predict", str(finished_run), "--all-models", *map(str, words)])
        shown = capsys.readouterr()
        return code, list(csv.DictReader(io.StringIO(shown.out))), shown.err

    return predicted


def risks(row):
    return {name: value for name, value in row.items() if name.startswith("risk_")}


# Pictures in another encoding -------------------------------------------------------------------------

DICOM = CASES / "dicom"
SAME_PICTURE = (
    *(CASES / "tiff" / f"{name}.tif" for name in ("black16", "black8", "white16", "white8", "signed16")),
    *(
        DICOM / f"{name}.dcm"
        for name in (
            "reference", "clean", "highbit15", "native-dirty", "j2k-clean", "voilut-16", "window", "implicit",
            "two-windows", "explicit-no-meta", "implicit-no-meta", "no-preamble-meta", "empty-frames",
            "empty-modlut", "empty-padding", "empty-rescale", "empty-voilut", "empty-window",
            "empty-window12",
        )
    ),
    CASES / "folders" / "mixed" / "IM00001",
    CASES / "folders" / "mixed" / "1.2.826.0.1.3680043.8.498.77",
    CASES / "folders" / "jfif-folder" / "three.jp2",
)  # fmt: skip


@pytest.mark.slow
def test_one_picture_has_one_risk_in_every_encoding(predict):
    code, rows, _ = predict(REFERENCE, *SAME_PICTURE)
    assert code == 0
    assert len(rows) == 1 + len(SAME_PICTURE)
    for row in rows:
        assert risks(row) == risks(rows[0]), row["image"]


@pytest.mark.parametrize("path", SAME_PICTURE, ids=lambda path: path.name)
def test_one_picture_is_read_alike_from_every_encoding(path):
    assert np.array_equal(grey(path), grey(REFERENCE))


def test_an_empty_window_function_is_the_linear_one():
    assert np.abs(grey(DICOM / "empty-function.dcm").astype(int) - grey(REFERENCE)).max() <= 1  # centre 127.5


@pytest.mark.parametrize("name", ["padding.dcm", "padding-12-window.dcm"])
def test_padding_is_black_and_the_rest_is_the_picture(name):
    found, expected = grey(DICOM / name), grey(REFERENCE)
    same = found == expected
    assert (found[~same] == 0).all()
    assert 0.7 < same.mean() < 1


def test_pixels_that_are_not_square_are_made_so():
    found, expected = grey(DICOM / "aspect.dcm").astype(float), grey(REFERENCE).astype(float)
    assert found.shape == expected.shape  # half the columns were written, each pixel twice as wide as high
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


# DICOM ------------------------------------------------------------------------------------------------

RAMP12 = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 4


def dicom(pixels, *, bits=12, compress=None, sop_class=None, **tags) -> bytes:
    """A DICOM file of the pixels as they are; tags by keyword, those of the pixels included."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = sop_class or pydicom.uid.UltrasoundImageStorage
    data.SOPInstanceUID = pydicom.uid.generate_uid()
    data.Modality = "US"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    data.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * pixels.dtype.itemsize, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    if compress is not None:
        data.compress(compress, generate_instance_uid=False)
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.fixture
def written(tmp_path):
    def write(content: bytes, name="x.dcm") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


TWELVE_BITS = np.rint(RAMP12 / 4095 * 255)


@pytest.mark.parametrize("compress", [None, pydicom.uid.RLELossless])
def test_the_highest_bit_in_use_is_where_the_file_says(written, compress):
    content = dicom(RAMP12 * 16, bits=16, compress=compress, BitsStored=12, HighBit=15)
    assert np.array_equal(grey(written(content)), TWELVE_BITS)


@pytest.mark.parametrize("compress", [None, pydicom.uid.RLELossless])
def test_bits_that_are_not_in_use_count_for_nothing(written, compress):
    dirty = RAMP12 | np.where(RAMP12 % 3 == 0, 0x9000, 0).astype(np.uint16)
    content = dicom(dirty, bits=16, compress=compress, BitsStored=12, HighBit=11)
    assert np.array_equal(grey(written(content)), TWELVE_BITS)


def test_signed_words_of_fewer_bits_keep_their_sign(written):
    signed = RAMP12.astype(np.int16) - 2048
    assert np.array_equal(grey(written(dicom(signed))), TWELVE_BITS)
    masked = (signed.view(np.uint16) & 0x0FFF).view(np.int16)  # the sign not carried on into unused bits
    assert np.array_equal(grey(written(dicom(masked))), TWELVE_BITS)


def test_a_compressed_picture_beyond_the_stated_bits_is_refused(written):
    stream = io.BytesIO()
    Image.fromarray(RAMP12 * 16).save(stream, "JPEG2000", no_jp2=True)
    content = dicom(RAMP12, BitsStored=12)
    data = pydicom.dcmread(io.BytesIO(content))
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    data.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    data["PixelData"].is_undefined_length = True
    again = io.BytesIO()
    data.save_as(again)
    assert "beyond the 12 bits" in refusal(written(again.getvalue()))


def test_a_big_endian_file_without_preamble_is_read(written):
    data = pydicom.dcmread(io.BytesIO(dicom(RAMP12)))
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    data.PixelData = RAMP12.astype(">u2").tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, little_endian=False, implicit_vr=False, force_encoding=True)
    content = stream.getvalue()
    assert np.array_equal(grey(written(content)), TWELVE_BITS)
    start = content.index(b"\x00\x08\x00")
    assert np.array_equal(grey(written(content[start:])), TWELVE_BITS)


def test_bits_that_cannot_be_are_refused(written):
    assert "cannot be" in refusal(written(dicom(RAMP12, BitsStored=12, HighBit=3)))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 60000, "WindowWidth": 1000},
        {"WindowCenter": 2000, "WindowWidth": 200000},
        {"RescaleSlope": 0.001, "WindowCenter": 2000, "WindowWidth": 4000},
        {"BitsStored": 16, "HighBit": 15, "PixelPaddingValue": 65535},
    ],
)
def test_a_picture_of_next_to_no_grey_levels_is_refused_on_every_path(written, photometric, tags):
    pixels = RAMP12 // 4
    pixels[0, :5] = 65535 if "PixelPaddingValue" in tags else 0
    content = dicom(pixels, bits=16, PhotometricInterpretation=photometric, **tags)
    try:
        reason = refusal(written(content))
    except pytest.fail.Exception:
        assert np.ptp(grey(written(content))) == 0  # a picture of one level is refused when it is scored
    else:
        assert "grey levels" in reason


def test_a_colour_file_of_next_to_no_grey_levels_is_refused(written):
    pixels = np.repeat(np.random.default_rng(0).integers(0, 9, (40, 40, 1), dtype=np.uint8), 3, axis=2)
    assert "of 256 grey levels" in refusal(written(dicom(pixels, bits=8)))


def test_a_table_of_more_bits_than_its_entries_use_is_refused():
    assert "spans 15 of 256 grey levels" in refusal(DICOM / "voilut-16-holding-12.dcm")


def test_a_table_from_12_bits_to_8_is_looked_up_whole(written):
    item = pydicom.Dataset()
    item.LUTDescriptor = [4096, 0, 8]
    item.add_new("LUTData", "OW", (np.arange(4096) // 16).astype("<u2").tobytes())
    found = grey(written(dicom(RAMP12, VOILUTSequence=pydicom.Sequence([item]))))
    assert np.array_equal(found, RAMP12 // 16)


def test_the_window_of_an_enhanced_object_is_that_of_its_frame(written):
    voi, group = pydicom.Dataset(), pydicom.Dataset()
    voi.WindowCenter, voi.WindowWidth = 1000, 2000
    group.FrameVOILUTSequence = pydicom.Sequence([voi])
    plain = grey(written(dicom(RAMP12, WindowCenter=1000, WindowWidth=2000)))
    enhanced = dicom(RAMP12, NumberOfFrames=1, SharedFunctionalGroupsSequence=pydicom.Sequence([group]))
    assert np.array_equal(grey(written(enhanced)), plain)


@pytest.mark.parametrize(
    "keyword",
    ["BurnedInAnnotation", "PixelPaddingRangeLimit", "PixelAspectRatio", "PixelSpacing", "HighBit",
     "PixelRepresentation", "SharedFunctionalGroupsSequence", "UltrasoundColorDataPresent"],
)  # fmt: skip
def test_an_optional_tag_that_is_empty_counts_as_absent(written, keyword):
    empty = [] if keyword.endswith("Sequence") else None
    assert np.array_equal(grey(written(dicom(RAMP12, **{keyword: empty}))), TWELVE_BITS)


NO_PICTURE = {
    "a segmentation": ({"Modality": "SEG"}, "1.2.840.10008.5.1.4.1.1.66.4", "a segmentation object"),
    "a dose": ({"Modality": "RTDOSE"}, "1.2.840.10008.5.1.4.1.1.481.2", "a radiotherapy dose"),
    "a report": ({"Modality": "SR"}, "1.2.840.10008.5.1.4.1.1.88.33", "a structured report"),
}


@pytest.mark.parametrize("name", NO_PICTURE)
@pytest.mark.parametrize("without_modality", [False, True])
def test_an_object_that_is_no_picture_is_refused_as_what_it_is(written, name, without_modality):
    tags, sop_class, words = NO_PICTURE[name]
    tags = {"Modality": ""} if without_modality else tags
    assert words in refusal(written(dicom(RAMP12, sop_class=sop_class, **tags)))


def test_a_segmentation_of_one_bit_is_refused(written):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 1
    content = dicom(
        mask, bits=1, BitsAllocated=1, PixelData=np.packbits(mask, bitorder="little").tobytes(),
        Modality="SEG", sop_class="1.2.840.10008.5.1.4.1.1.66.4", NumberOfFrames=1,
    )  # fmt: skip
    assert "a segmentation object (modality SEG), not a picture" in refusal(written(content))
    other = dicom(mask, bits=1, BitsAllocated=1, PixelData=np.packbits(mask, bitorder="little").tobytes())
    assert "1 bits each; expected 8 or 16" in refusal(written(other))


def test_a_damaged_stream_is_no_missing_plugin():
    reason = refusal(DICOM / "jpeg-cut.dcm")
    assert "cut short" in reason
    assert "install" not in reason


def test_a_compression_without_a_decoder_is_named(written):
    data = pydicom.dcmread(io.BytesIO(dicom(RAMP12)))
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7" + bytes(20)])
    data["PixelData"].is_undefined_length = True
    stream = io.BytesIO()
    data.save_as(stream)
    reason = refusal(written(stream.getvalue()))
    assert "JPEG-LS" in reason
    assert "install pylibjpeg[all]" in reason


@pytest.mark.parametrize("start", [0, 132, 200, 400])
def test_a_damaged_file_is_refused_in_plain_words(written, start):
    content = bytearray(dicom(RAMP12))
    content[start : start + 60] = bytes(range(60))
    for damaged in (bytes(content), bytes(content)[: start + 40]):
        path = written(damaged)
        try:
            read_image(path)  # where nothing was hit that the picture depends on
        except Unusable:
            refusal(path)


# Colour -----------------------------------------------------------------------------------------------


def frame(*, bar=0, box=0) -> np.ndarray:
    """A grey frame of 120 x 160 with a coloured bar at its right edge and a coloured box in its middle."""
    speckle = np.random.default_rng(0).integers(20, 200, (120, 160), dtype=np.uint8)
    pixels = np.repeat(speckle[..., None], 3, axis=2)
    if bar:
        pixels[10:110, -bar:] = (255, 60, 0)
    if box:
        pixels[60 - box // 2 : 60 + box // 2, 80 - box // 2 : 80 + box // 2] = (0, 40, 255)
    return pixels


@pytest.mark.slow
def test_a_frame_with_a_coloured_bar_is_taken_by_its_luma_and_its_share_of_colour_is_said(
    predict, written, tmp_path, finished_run
):
    pixels = frame(bar=8)
    path = written(dicom(pixels, bits=8), "bar.dcm")
    Image.fromarray(pixels).save(tmp_path / "bar.png")
    code, (one, other), _ = predict(path, tmp_path / "bar.png")
    assert code == 0
    assert risks(one) == risks(other)
    assert one["coloured"] == other["coloured"] == f"{100 * 8 / (120 * 160):.4f}"
    found = clineval.predict(finished_run, [path])
    assert json.loads(found.to_json())["images"][0]["coloured"] == pytest.approx(800 / 19200, abs=1e-12)


@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        (frame(box=40), {}),
        (frame(box=90), {}),
        (frame(bar=30), {}),
        (frame(box=16, bar=8), {"UltrasoundColorDataPresent": 1}),
    ],
)
def test_a_doppler_picture_is_refused(written, pixels, tags):
    assert "as Doppler pictures are" in refusal(written(dicom(pixels, bits=8, **tags)))


def test_a_region_of_colour_flow_makes_it_a_doppler_picture(written):
    region = pydicom.Dataset()
    region.RegionDataType = 2
    content = dicom(frame(bar=8), bits=8, SequenceOfUltrasoundRegions=pydicom.Sequence([region]))
    assert "as Doppler pictures are" in refusal(written(content))


# Transparency -----------------------------------------------------------------------------------------

ALPHA = CASES / "alpha"


@pytest.mark.slow
def test_a_colour_under_full_transparency_is_not_scored(predict):
    paths = [ALPHA / f"{name}.png" for name in ("seen-on-black", "hidden-white", "hidden-white-la")]
    code, rows, _ = predict(*paths)
    assert code == 0
    assert risks(rows[0]) == risks(rows[1]) == risks(rows[2])


def test_transparency_of_every_kind_is_black(tmp_path):
    levels = np.random.default_rng(0).integers(1, 200, (30, 30), dtype=np.uint8)
    levels[:10] = 255
    expected = np.where(levels == 255, 0, levels)
    whole = Image.fromarray(levels)
    alpha = Image.fromarray(np.where(levels == 255, 0, 255).astype(np.uint8))
    Image.merge("RGBA", (whole, whole, whole, alpha)).save(tmp_path / "rgba.tif")
    Image.merge("RGBA", (whole, whole, whole, alpha)).save(tmp_path / "rgba.webp", lossless=True, exact=True)
    whole.save(tmp_path / "grey.png", transparency=255)
    whole.convert("P").save(tmp_path / "palette.gif", transparency=255)
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "deep.png", transparency=65535)
    for path in sorted(tmp_path.iterdir()):
        assert np.array_equal(grey(path), expected), path.name


def test_half_transparent_pixels_are_half_as_bright(tmp_path):
    picture = Image.new("LA", (30, 30), (200, 255))
    picture.paste((200, 128), (0, 0, 15, 30))
    picture.save(tmp_path / "half.png")
    assert np.unique(grey(tmp_path / "half.png")).tolist() == [100, 200]


# Folders ----------------------------------------------------------------------------------------------

FOLDERS = CASES / "folders"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "images", "passed_over"),
    [
        ("mixed", ["1.2.826.0.1.3680043.8.498.77", "IM00001", "a.png"], ["t.csv"]),
        ("jfif-folder", ["one.png", "three.jp2", "two.jfif"], []),
        (
            "32-appledouble/images",
            ["a.png", "b.png"],
            [".DS_Store", "._a.png", "Thumbs.db", "__MACOSX/._b.png"],
        ),
    ],
)
def test_files_are_known_by_their_content_and_the_others_are_counted(
    predict, tmp_path, name, images, passed_over
):
    code, rows, said = predict(FOLDERS / name)
    assert code == 0
    assert [row["image"] for row in rows] == images
    assert run_command(["audit", str(FOLDERS / name), "--out", str(tmp_path / "a"), "--quiet"]) == 0
    record = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert record["cases"] == len(images)
    findings = [each for each in record["findings"] if each["code"] == "AUD016"]
    if not passed_over:
        assert "passed over" not in said
        assert not findings
        return
    assert f"{len(passed_over)} file" in said
    assert all(each in said for each in passed_over)
    assert all(each in findings[0]["words"] for each in passed_over)


@pytest.mark.slow
def test_json_names_the_files_passed_over(finished_run):
    found = json.loads(clineval.predict(finished_run, [FOLDERS / "mixed"]).to_json())
    assert found["passed_over"] == ["t.csv"]


def test_the_index_of_a_dicom_disc_is_passed_over(tmp_path):
    shutil.copy(DICOM / "reference.dcm", tmp_path / "IM0")
    content = (DICOM / "reference.dcm").read_bytes()
    kind = content.index(b"1.2.840.10008.5.1.4")
    length = content[kind - 2]
    index = content[: kind - 2] + b"\x14\x00" + b"1.2.840.10008.1.3.10" + content[kind + length :]
    (tmp_path / "DICOMDIR").write_bytes(index)
    found = find_images([tmp_path])
    assert [name for _, name in found.images] == ["IM0"]
    assert found.passed_over == ("DICOMDIR",)


def test_a_wrong_ending_does_not_hide_what_a_file_is(tmp_path):
    for source, name in ((REFERENCE, "x.dcm"), (REFERENCE, "x.jpg"), (DICOM / "reference.dcm", "x.png")):
        shutil.copy(source, tmp_path / name)
        assert np.array_equal(grey(tmp_path / name), grey(REFERENCE))


@pytest.mark.slow
def test_a_pipe_is_neither_waited_for_nor_read(tmp_path):
    shutil.copy(REFERENCE, tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    os.mkfifo(tmp_path / "c")
    code = f"""
import clineval.data.own_images as own
found = own.read_own_images(__import__("pathlib").Path({str(tmp_path)!r}))
assert [each.case for each in found.unreadable] == ["b.png"], found.unreadable
assert "c" in found.passed_over
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Nothing but the formats that the documentation names -------------------------------------------------

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n{} loop\nshowpage\n%%EOF\n"


@pytest.mark.slow
def test_no_postscript_is_ever_run(predict, tmp_path, monkeypatch, capsys):
    (tmp_path / "bin").mkdir()
    for name in ("gs", "gswin32c", "gswin64c"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ntouch {tmp_path / 'was-run'}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "scan.png").write_bytes(POSTSCRIPT)
    shutil.copy(REFERENCE, tmp_path / "images" / "other.png")
    shutil.copy(CASES / "base" / "ref-inverted.png", tmp_path / "images" / "third.png")
    code, _, said = predict(tmp_path / "images" / "scan.png")
    assert code == 3
    assert "no known format" in said
    assert run_command(["audit", str(tmp_path / "images"), "--out", str(tmp_path / "a"), "--quiet"]) == 0
    (tmp_path / "t.csv").write_text("image,outcome\nscan.png,1\nother.png,0\n")
    with pytest.raises(InputError, match="no known format"):
        read_own_cohort(tmp_path / "t.csv", Columns(), image_folder=tmp_path / "images")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("form", ["PPM", "PCX", "TGA", "ICO", "SGI", "PDF", "DDS"])
def test_a_format_that_the_documentation_does_not_name_is_refused(tmp_path, form):
    Image.new("RGB", (32, 32), (9, 90, 9)).save(tmp_path / "x.png", form)
    assert "no known format" in refusal(tmp_path / "x.png")


def test_the_package_opens_no_image_without_a_list_of_formats():
    for path in (Path(clineval.__file__).parent).rglob("*.py"):
        for call in re.findall(r"Image\.open\([^\n]*", path.read_text()):
            assert "formats=" in call, (path.name, call)


# Budgets ----------------------------------------------------------------------------------------------


@cache
def png(width: int, height: int, *, depth: int) -> bytes:
    """A PNG of one grey level, small however large it claims to be."""
    packed, line = zlib.compressobj(1), bytes(1 + width * depth // 8)
    body = b"".join(packed.compress(line) for _ in range(height)) + packed.flush()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)),
        (b"IDAT", body),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@cache
def deflated(megabytes: int) -> bytes:
    """A deflated DICOM file whose dataset inflates to so many megabytes."""
    meta = dicom(RAMP12)
    data = pydicom.dcmread(io.BytesIO(meta))
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    stream = io.BytesIO()
    data.save_as(stream)
    content = stream.getvalue()
    end = 144 + int.from_bytes(content[140:144], "little")
    whole = zlib.decompress(content[end:], -zlib.MAX_WBITS)
    packed = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    size = megabytes * 2**20
    tail = packed.compress(whole + b"\xfe\xff\x00\x00OB\x00\x00" + struct.pack("<I", size))
    block = bytes(2**20)
    return content[:end] + tail + b"".join(packed.compress(block) for _ in range(megabytes)) + packed.flush()


def measured(folder: Path, command: str) -> tuple[float, float, str]:
    """Seconds and gigabytes that reading the files of a folder takes beyond starting, and what was said."""
    # VmHWM is the peak of this process alone; ru_maxrss starts at that of the process that started it.
    code = f"""
import re, sys, time
from pathlib import Path
import clineval.data.own_images as own
from clineval.errors import InputError
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
start = time.perf_counter()
try:
    found = {command}
    said = " ".join(each.reason for each in found.unreadable)
except InputError as error:
    said = str(error)
print(time.perf_counter() - start)
print((peak() - before) / 2**20)
print(said)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True, timeout=120
    )
    seconds, gigabytes, said = ended.stdout.splitlines()
    return float(seconds), float(gigabytes), said


READ = {
    "audit": "own.read_own_images(Path(sys.argv[1]))",
    "prepare": "own.prepare_files(sorted(Path(sys.argv[1]).iterdir()))",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", READ)
def test_bombs_are_refused_before_they_are_unpacked(tmp_path, command):
    for number in range(2):
        (tmp_path / f"deep{number}.png").write_bytes(png(8000, 8000, depth=16))
    bomb = deflated(400)
    (tmp_path / "deflated.dcm").write_bytes(bomb)
    (tmp_path / "no-preamble.dcm").write_bytes(bomb[132:])
    seconds, gigabytes, said = measured(tmp_path, READ[command])
    assert "more than 50,000,000" in said
    if command == "prepare":
        assert said.count("it inflates to more than") == 2
    assert seconds < 5
    assert gigabytes < 1


@pytest.mark.slow
def test_the_largest_pictures_allowed_are_read_within_the_budget(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(png(7000, 7000, depth=16))
    _, gigabytes, said = measured(tmp_path, READ["audit"])
    assert said == ""
    assert gigabytes < 1


def test_a_stream_larger_than_the_file_states_is_refused_before_it_is_decoded(written):
    stream = io.BytesIO()
    Image.new("L", (3000, 3000), 9).save(stream, "JPEG2000", no_jp2=True)
    data = pydicom.dcmread(io.BytesIO(dicom(RAMP12.astype(np.uint8), bits=8)))
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    data.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    data["PixelData"].is_undefined_length = True
    again = io.BytesIO()
    data.save_as(again)
    assert "it states 32 x 32 pixels and holds 3000 x 3000" in refusal(written(again.getvalue()))


# Folders of mixed quality -----------------------------------------------------------------------------


@pytest.fixture
def mixed_quality(tmp_path):
    (tmp_path / "images").mkdir()
    shutil.copy(REFERENCE, tmp_path / "images" / "a.png")
    shutil.copy(CASES / "base" / "ref-inverted.png", tmp_path / "images" / "c.png")
    (tmp_path / "images" / "b.png").write_bytes(REFERENCE.read_bytes()[:4000])
    (tmp_path / "images" / "=d.png").write_bytes(b"no image")
    return tmp_path / "images"


@pytest.mark.slow
def test_predict_refuses_a_folder_of_mixed_quality_unless_told_to_skip(predict, mixed_quality):
    code, rows, said = predict(mixed_quality)
    assert (code, rows) == (3, [])
    assert "2 of 4 images cannot be used" in said
    code, rows, said = predict(mixed_quality, "--skip-unreadable")
    assert code == 0
    assert "2 of 4 images cannot be used and were left out" in said
    assert [row["image"] for row in rows] == ["a.png", "c.png", "./=d.png", "b.png"]
    assert [bool(row["reason"]) for row in rows] == [False, False, True, True]
    assert "cut short" in rows[3]["reason"]
    assert set(risks(rows[3]).values()) == {""}
    (alone,) = predict(mixed_quality / "c.png")[1]
    assert risks(rows[1]) == risks(alone)


@pytest.mark.slow
def test_json_lists_the_files_that_were_skipped(finished_run, mixed_quality):
    found = json.loads(clineval.predict(finished_run, [mixed_quality], skip_unreadable=True).to_json())
    assert [each["image"] for each in found["images"]] == ["a.png", "c.png"]
    assert [each["image"] for each in found["unreadable"]] == ["=d.png", "b.png"]
    assert all(each["reason"].startswith("it ") for each in found["unreadable"])


@pytest.mark.slow
def test_skipping_still_refuses_where_nothing_can_be_read(predict, tmp_path):
    (tmp_path / "b.png").write_bytes(b"no image")
    assert predict(tmp_path, "--skip-unreadable")[0] == 3


@pytest.mark.slow
def test_validate_scores_what_can_be_read_and_lists_the_rest(finished_run, tmp_path, capsys, undrawn):
    folder = write_cohort(tmp_path / "cohort", patients=12)
    (folder / "images" / "im003.png").write_bytes(b"no image")
    (folder / "images" / "im007.png").unlink()
    words = [
        *("validate", str(finished_run), str(folder / "cohort.csv"), "--name", "hospital-b", *WORDS),
        *("--image-folder", str(folder / "images"), "--out", str(tmp_path / "b"), "--quiet"),
    ]
    assert run_command(words) == 3
    assert not (tmp_path / "b").exists()
    capsys.readouterr()
    assert run_command([*words, "--skip-unreadable"]) == 0
    assert "2 of 24 images cannot be used and were left out" in capsys.readouterr().err
    with (tmp_path / "b" / "unreadable.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"].split(", ")[-1] for row in rows] == ["im003", "im007"]
    assert "no known format" in rows[0]["reason"]
    assert rows[1]["reason"] == "no such file"
    record = json.loads((tmp_path / "b" / "evaluation.json").read_text())
    assert next(iter(record["models"].values()))["hospital-b"]["cases"] == 22
    assert "2 of 24 images cannot be used and were left out" in (tmp_path / "b" / "report.html").read_text()
    assert run_command(["verify", str(tmp_path / "b"), "--quiet"]) == 0


# Tables written on another system ---------------------------------------------------------------------

TABLES = CASES / "image-tables"


def names_of(table: str) -> list[str]:
    with (TABLES / table).open(encoding="utf-8-sig", newline="") as file:
        lines = [line for line in file if not line.startswith("sep=")]
    delimiter = ";" if ";" in lines[0] else ","
    return [row[0] for row in csv.reader(lines[1:], delimiter=delimiter)]


def images_for(folder: Path, names) -> Path:
    random = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 40), dtype=np.uint8)).save(folder / name, "PNG")
    return folder


FILES = {
    "backslash.csv": lambda name: name.replace("\\", "/"),
    "nfc.csv": lambda name: unicodedata.normalize("NFD", name),
    "upperstem-lowerext.csv": lambda name: name.replace(".png", ".PNG"),
    "blank-columns.csv": str,
    "sep-line.csv": str,
    "site.csv": str,
    "decimal-comma-age.csv": str,
    "float-outcome.csv": str,
}


@pytest.mark.slow
@pytest.mark.parametrize("table", FILES)
def test_a_table_written_on_another_system_finds_its_images(tmp_path, table):
    shutil.copy(TABLES / table, tmp_path / table)
    images_for(tmp_path, map(FILES[table], names_of(table)))
    positive = "1" if table == "float-outcome.csv" else "malignant"
    cohort = read_own_cohort(tmp_path / table, Columns(positive=positive, group="patient")).cohort
    assert (len(cohort), int(cohort.outcome.sum())) == (60, 30)
    assert not any("\\" in case for case in cohort.case.tolist())


@pytest.mark.slow
@pytest.mark.parametrize("table", ["backslash.csv", "nfc.csv", "upperstem-lowerext.csv"])
def test_the_audit_finds_the_same_images(tmp_path, table):
    shutil.copy(TABLES / table, tmp_path / table)
    images_for(tmp_path, map(FILES[table], names_of(table)))
    assert run_command(["audit", str(tmp_path / table), "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert json.loads((tmp_path / "a" / "audit.json").read_text())["cases"] == 60


@pytest.mark.parametrize("positive", ["1", "1.0"])
def test_one_and_one_point_nought_are_the_same_outcome(tmp_path, positive):
    shutil.copy(TABLES / "float-outcome.csv", tmp_path / "t.csv")
    images_for(tmp_path, names_of("float-outcome.csv"))
    assert read_own_cohort(tmp_path / "t.csv", Columns(positive=positive)).cohort.outcome.sum() == 30


def test_the_table_of_drives_is_refused(tmp_path):
    shutil.copy(TABLES / "drive.csv", tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"row 1 \(line 2\).*names a drive"):
        read_own_cohort(tmp_path / "t.csv", Columns(positive="malignant"))


@pytest.mark.parametrize("words", [("Training", "VALID", "Testing"), ("train", "dev", "TEST")])
def test_split_words_of_an_image_table_are_those_of_every_table(tmp_path, words):
    images_for(tmp_path, [f"{n}.png" for n in range(6)])
    rows = "".join(f"{n}.png,{n % 2},{words[n // 2]}\n" for n in range(6))
    (tmp_path / "t.csv").write_text(f"image,outcome,part\n{rows}")
    cohort = read_own_cohort(tmp_path / "t.csv", Columns(split="part")).cohort
    assert cohort.split.tolist() == ["train", "train", "val", "val", "test", "test"]


# Every case -------------------------------------------------------------------------------------------


def test_every_file_of_the_cases_is_named_in_a_test_of_its_kind():
    text = "".join(
        (Path(__file__).parent / f"test_real_{kind}.py").read_text() for kind in ("files", "tables")
    )
    files = [path for path in CASES.rglob("*") if path.is_file() and path.name != "README.md"]
    assert len(files) > 80
    for path in files:
        folder = any(f'"{part}' in text for part in (path.parent.name, path.parent.parent.name))
        assert f'"{path.stem}"' in text or path.name in text or ("folders" in path.parts and folder), path


def test_white_under_alpha_is_never_composited_on_white():
    assert not np.array_equal(grey(ALPHA / "hidden-white.png"), grey(ALPHA / "seen-on-white.png"))
    assert np.array_equal(grey(ALPHA / "hidden-white.png"), grey(ALPHA / "seen-on-black.png"))


@pytest.mark.parametrize(("positive", "condition"), [("1", "condition"), ("malignant", "malignant")])
def test_a_value_that_names_no_condition_is_not_its_name(tmp_path, positive, condition):
    name = {"1": "float-outcome.csv", "malignant": "site.csv"}[positive]
    shutil.copy(TABLES / name, tmp_path / "t.csv")
    images_for(tmp_path, names_of(name))
    assert read_own_cohort(tmp_path / "t.csv", Columns(positive=positive)).cohort.condition == condition


def test_the_audit_reads_sets_and_patient_ids_as_splits_and_patients(tmp_path):
    names = names_of("site.csv")
    images_for(tmp_path, names)
    rows = [f"{name},{('Training', 'Test')[place % 2]},{place // 2}" for place, name in enumerate(names)]
    (tmp_path / "t.csv").write_text("\n".join(["filename,Set,patient_id", *rows]), encoding="utf-8")
    own = read_own_images(tmp_path / "t.csv")
    assert own.split[:2].tolist() == ["train", "test"]
    assert own.group[:3].tolist() == ["0", "0", "1"]
