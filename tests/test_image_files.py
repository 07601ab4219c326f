"""Image files found by their content and read: in order, alike however they are read, each bad one named."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from clineval.data import image_files
from clineval.data.image_files import Room, find_images, is_image, read_squares
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
    room, most, now = Room(100), [0], [0]
    lock = threading.Lock()

    def work(amount):
        with room.take(amount):
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
