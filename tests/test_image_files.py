"""Image files read in blocks: in order, alike however they are read, each bad one named."""

import numpy as np
import pytest
from PIL import Image

from clineval.data import image_files
from clineval.data.image_files import find_files, read_blocks
from clineval.data.own_images import read_own_images
from clineval.data.preparation import square
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
    return list(read_blocks(find_files([folder]), side=28, fits=FITS, bits=16))


def test_squares_are_those_of_each_file_in_order(folder, monkeypatch):
    monkeypatch.setattr(image_files, "BLOCK", 2)
    blocks = read(folder)
    assert [len(block.names) for block in blocks] == [2, 2, 1]
    assert [name for block in blocks for name in block.names] == [f"{number}.png" for number in range(5)]
    for place, fit in enumerate(FITS):
        found = np.concatenate([block.views[place] for block in blocks])
        for number, cut in enumerate(found):
            with Image.open(folder / f"{number}.png") as image:
                np.testing.assert_array_equal(cut, square(image, side=28, fit=fit))


def test_small_files_and_large_ones_are_read_alike(folder, monkeypatch):
    (small,) = read(folder)
    monkeypatch.setattr(image_files, "SMALL", 0)
    (large,) = read(folder)
    for one, other in zip(small.views, large.views, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("small", [0, 1_000_000])
def test_each_file_that_cannot_be_used_is_named_and_the_others_are_read(folder, monkeypatch, small):
    monkeypatch.setattr(image_files, "SMALL", small)
    (folder / "1.png").write_bytes(b"no picture")
    Image.new("L", (40, 40)).save(folder / "3.png")
    (block,) = read(folder)
    assert [reason.split(":")[0] for reason in block.reasons] == ["1.png", "3.png"]
    assert [view.any() for view in block.views[0]] == [True, False, True, False, True]


def test_a_file_that_vanishes_after_it_was_found_is_named(folder):
    files = find_files([folder])
    (folder / "2.png").unlink()
    (block,) = read_blocks(files, side=28, fits=FITS, bits=16)
    assert block.reasons == ["2.png: no such file"]


def test_a_file_that_cannot_even_be_looked_at_is_named(tmp_path):
    (block,) = read_blocks([(tmp_path / ("x" * 300), "x")], side=28, fits=FITS, bits=16)
    assert block.reasons == ["x: it cannot be read (File name too long)"]


def test_a_folder_holds_for_predict_what_it_holds_for_the_audit(folder):
    for name in ("scan.dcm", "deep/scan.DICOM", "deep/scan.ima", "deep/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no picture")
    names = [name for _, name in find_files([folder])]
    audited = read_own_images(folder)
    assert names == sorted([*audited.case, *(file.case for file in audited.unreadable)])
    assert names[-4:] == ["4.png", "deep/scan.DICOM", "deep/scan.ima", "scan.dcm"]


def test_a_name_that_no_file_can_have_is_refused_as_not_there():
    with pytest.raises(InputError, match="There is no file or folder x"):
        find_files(["x" * 300])
