"""Files looked up by the names that a table gives them, as each system writes them."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from clineval.data.named_files import Missing, NamedFiles
from clineval.data.preparation import Unusable


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
