"""Image files found by their content and read: in order, alike however they are read, each bad one named."""

import struct
import subprocess
import sys
import threading
import time
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clineval.data import image_files
from clineval.data.image_files import (
    Budget,
    Missing,
    NamedFiles,
    find_images,
    is_image,
    read_image,
    read_squares,
)
from clineval.data.own_images import read_own_images
from clineval.data.preparation import Unusable, square
from clineval.errors import InputError

FITS = ("crop", "top")


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for number, size in enumerate([(28, 28), (40, 60), (60, 40), (28, 28), (31, 30)]):
        pixels = random.integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


def read(folder):
    return read_squares([path for path, _ in find_images([folder]).images], side=28, fits=FITS)


def why(squares):
    return {place: str(each) for place, each in enumerate(squares.read) if isinstance(each, Unusable)}


def test_squares_are_those_of_each_file_in_order(folder):
    assert [name for _, name in find_images([folder]).images] == [f"{number}.png" for number in range(5)]
    for view, fit in zip(read(folder).views, FITS, strict=True):
        for number, cut in enumerate(view):
            with Image.open(folder / f"{number}.png") as image:
                np.testing.assert_array_equal(cut, square(image, side=28, fit=fit))


def test_small_files_and_large_ones_are_read_alike(folder, monkeypatch):
    small = read(folder)
    monkeypatch.setattr(image_files, "SMALL", 0)
    for one, other in zip(small.views, read(folder).views, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("small", [0, 1_000_000])
def test_each_file_that_cannot_be_used_has_its_reason_and_the_others_are_read(folder, monkeypatch, small):
    monkeypatch.setattr(image_files, "SMALL", small)
    (folder / "1.png").write_bytes(b"no picture")
    Image.new("L", (40, 40)).save(folder / "3.png")
    squares = read(folder)
    assert list(why(squares)) == [1, 3]
    assert squares.usable.tolist() == [True, False, True, False, True]
    assert [view.any() for view in squares.views[0]] == squares.usable.tolist()


def test_a_file_that_vanishes_after_it_was_found_is_named(folder):
    paths = [path for path, _ in find_images([folder]).images]
    (folder / "2.png").unlink()
    assert why(read_squares(paths, side=28, fits=FITS)) == {2: "no such file"}


def test_a_file_that_cannot_even_be_looked_at_is_named(tmp_path):
    squares = read_squares([tmp_path / ("x" * 300)], side=28, fits=FITS)
    assert why(squares) == {0: "it cannot be read (File name too long)"}


def test_a_folder_holds_for_predict_what_it_holds_for_the_audit(folder):
    for name in ("scan.dcm", "deep/scan.DICOM", "deep/scan.ima", "deep/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no picture")
    found = find_images([folder])
    names = [name for _, name in found.images]
    audited = read_own_images(folder)
    assert names == sorted([*audited.case, *(file.case for file in audited.unreadable)])
    assert names[-4:] == ["4.png", "deep/scan.DICOM", "deep/scan.ima", "scan.dcm"]
    assert found.passed_over == ("deep/notes.txt",)
    assert audited.passed_over == found.note == "1 file passed over as no image: deep/notes.txt"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000"])
def test_a_picture_is_known_by_its_content_whatever_its_name(folder, tmp_path, form):
    with Image.open(folder / "1.png") as image:
        image.save(tmp_path / "IMG.0001", form)
    assert is_image(tmp_path / "IMG.0001")


def test_texts_archives_and_pipes_are_no_images(tmp_path):
    for name, content in (("a.csv", b"a,b\n"), ("b.zip", b"PK\x03\x04"), ("c", b""), ("d.eps", b"%!PS")):
        (tmp_path / name).write_bytes(content)
        assert not is_image(tmp_path / name)


def test_threads_that_want_more_than_there_is_wait_for_one_another():
    budget, most, now = Budget(100), [0], [0]
    lock = threading.Lock()

    def work(amount):
        with budget.take(amount):
            with lock:
                now[0] += min(amount, 100)
                most[0] = max(most[0], now[0])
            time.sleep(0.01)
            with lock:
                now[0] -= min(amount, 100)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in (60, 30, 50, 40, 1000, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert 0 < most[0] <= 100
    assert now[0] == 0


def test_a_name_that_no_file_can_have_is_refused_as_not_there():
    with pytest.raises(InputError, match="There is no file or folder x"):
        find_images(["x" * 300])


def grey(path: Path) -> np.ndarray:
    return np.asarray(read_image(path).grey)


def refusal(path: Path) -> str:
    with pytest.raises(Unusable) as caught:
        read_image(path)
    return str(caught.value)


RAMP16 = (np.arange(900, dtype=np.uint16).reshape(30, 30) * 72).astype(np.uint16)


def tiff(levels, *, order="<", white_is_zero=False, signed=False, deflate=False, bits=None) -> bytes:
    """A TIFF file of one strip, written field by field as the specification has it."""
    bits = 8 * levels.dtype.itemsize if bits is None else bits
    pixels = levels.astype(levels.dtype.newbyteorder(order)).tobytes()
    if bits == 12:
        joined = "".join(f"{level:012b}" for level in levels.ravel().tolist())
        pixels = int(joined, 2).to_bytes(len(joined) // 8, "big")
    pixels = zlib.compress(pixels) if deflate else pixels
    fields = [
        (256, 4, levels.shape[1]), (257, 4, levels.shape[0]), (258, 3, bits), (259, 3, 8 if deflate else 1),
        (262, 3, 0 if white_is_zero else 1), (273, 4, 0), (277, 3, 1), (278, 4, levels.shape[0]),
        (279, 4, len(pixels)), (339, 3, 2 if signed else 1),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(fields) + 4
    body = b"".join(
        struct.pack(f"{order}HHI", tag, kind, 1)
        + (struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value or start))
        for tag, kind, value in fields
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(fields))
    return head + body + bytes(4) + pixels


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_16_bit_tiff_whose_zero_is_white_is_that_whose_zero_is_black(tmp_path, order, deflate):
    (tmp_path / "black.tif").write_bytes(tiff(RAMP16, order=order, deflate=deflate))
    inverted = tiff(65535 - RAMP16, order=order, white_is_zero=True, deflate=deflate)
    (tmp_path / "white.tif").write_bytes(inverted)
    expected = np.rint(RAMP16 / 65535 * 255)
    assert np.array_equal(grey(tmp_path / "black.tif"), expected)
    assert np.array_equal(grey(tmp_path / "white.tif"), expected)
    stretched = [
        np.asarray(read_image(tmp_path / f"{name}.tif", bits=None).grey) for name in ("black", "white")
    ]
    assert np.array_equal(*stretched)


@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_samples_have_their_white_at_the_greatest_positive_number(tmp_path, order):
    (tmp_path / "16.tif").write_bytes(tiff((RAMP16 // 2).astype(np.int16), order=order, signed=True))
    assert np.array_equal(grey(tmp_path / "16.tif"), np.rint((RAMP16 // 2) / 32767 * 255))
    ramp8 = (RAMP16 // 512).astype(np.int8)
    (tmp_path / "8.tif").write_bytes(tiff(ramp8, order=order, signed=True))
    assert np.array_equal(grey(tmp_path / "8.tif"), np.rint(ramp8 / 127 * 255))


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_negative_grey_levels_are_refused(tmp_path, kind):
    (tmp_path / "x.tif").write_bytes(tiff(np.arange(-60, 60, dtype=kind).reshape(10, 12), signed=True))
    assert "negative grey levels" in refusal(tmp_path / "x.tif")


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_a_tiff_of_12_bits_says_its_white(tmp_path, white_is_zero):
    levels = np.arange(900, dtype=np.uint16).reshape(30, 30) * 4
    stored = 4095 - levels if white_is_zero else levels
    (tmp_path / "x.tif").write_bytes(tiff(stored, bits=12, white_is_zero=white_is_zero))
    assert np.array_equal(grey(tmp_path / "x.tif"), np.rint(levels / 4095 * 255))


def test_a_damaged_tiff_is_refused_in_one_line_and_nothing_else_is_written(tmp_path):
    content = bytearray(tiff(RAMP16, deflate=True))
    content[140:200] = b"\xff" * 60
    (tmp_path / "x.tif").write_bytes(content)
    code = f"""
from pathlib import Path
from clineval.data.image_files import read_image
try:
    read_image(Path({str(tmp_path / "x.tif")!r}))
except ValueError as reason:
    print(reason)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "it cannot be read as an image" in ended.stdout
    assert ended.stderr == ""


def files(folder: Path, *names: str) -> NamedFiles:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(folder / name, "PNG")
    return NamedFiles(folder)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("deep/a.png", "deep/a.png"),
        ("deep/a", "deep/a.png"),
        ("./deep//a.png", "deep/a.png"),
        ("deep\\a.png", "deep/a.png"),
        (".\\deep\\a", "deep/a.png"),
        ("Deep/A.PNG", "deep/a.png"),
        ("DEEP\\A", "deep/a.png"),
    ],
)
def test_a_file_is_found_however_its_name_is_written(tmp_path, name, file):
    assert files(tmp_path, "deep/a.png", "b.png").find(name) == tmp_path / file


def test_a_file_with_a_backslash_in_its_very_name_comes_first(tmp_path):
    assert files(tmp_path, "x\\a.png", "x/a.png").find("x\\a.png") == tmp_path / "x\\a.png"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_accent_is_found_in_either_form_of_unicode(tmp_path, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    stored = unicodedata.normalize(form, "l\u00e9sion/\u00e9.png")
    found = files(tmp_path, stored).find(unicodedata.normalize(other, "l\u00e9sion/\u00e9"))
    assert found == tmp_path / stored


def test_the_very_name_comes_before_one_that_is_alike(tmp_path):
    named = files(tmp_path, "A.png", "a.png", "a")
    assert [named.find(name).name for name in ("a.png", "A.png", "a")] == ["a.png", "A.png", "a"]


@pytest.mark.parametrize(("names", "wanted"), [(("A.png", "a.PNG"), "a.png"), (("a.jpg", "a.png"), "a")])
def test_a_name_that_fits_several_files_is_refused_with_them(tmp_path, names, wanted):
    with pytest.raises(Unusable, match=f"it fits {names[0]} and {names[1]}; write its whole name"):
        files(tmp_path, *names).find(wanted)


def test_a_text_of_the_same_stem_is_no_image(tmp_path):
    (tmp_path / "a.txt").write_text("notes")
    assert files(tmp_path, "a.png").find("a") == tmp_path / "a.png"


@pytest.mark.parametrize("name", [r"C:\Users\lab\a.png", "D:/study/a.png", r"\\server\share\a.png"])
def test_a_drive_is_refused_as_such(tmp_path, name):
    with pytest.raises(Unusable, match="it names a drive or another computer"):
        files(tmp_path, "a.png").find(name)


@pytest.mark.parametrize("name", ["../out/b.png", "..\\out\\b.png", "in/../../out/b.png", "/etc/passwd"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    files(tmp_path / "out", "b.png")
    with pytest.raises(Unusable, match="it lies outside the image folder"):
        files(tmp_path / "in", "a.png").find(name)


@pytest.mark.parametrize("name", ["c.png", "c", "deep/a.png", ""])
def test_a_file_that_is_not_there_is_missing(tmp_path, name):
    with pytest.raises(Missing, match="no such file"):
        files(tmp_path, "a.png").find(name)
