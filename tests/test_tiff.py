"""TIFF files written field by field: zero black or white, both byte orders, signed, of 8 to 16 bits."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from clineval.data.image_files import read_image
from clineval.data.preparation import Unusable


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
    assert "it is no image that can be read" in ended.stdout
    assert ended.stderr == ""
