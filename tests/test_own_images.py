"""A user's own table and images: what becomes a cohort, what is noted, what is refused."""

import contextlib
import csv
import json
import os
import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from short_program import shorten

from clineval.cli.console import REFUSED
from clineval.cli.main import run_command
from clineval.data.cohort import by_group
from clineval.data.image_files import read_image
from clineval.data.own_images import UNDIVIDED, draw_samples, prepare_files, read_own_cohort
from clineval.data.preparation import Unusable, square
from clineval.errors import InputError
from clineval.pipeline.run import OwnImages, draw_check_strip, load_own
from clineval.settings import DataSettings, OwnSettings, RunSettings
from clineval.tables.own_table import Columns, read_own_table

pytestmark = pytest.mark.slow

HEADER = ("id", "patient", "pathology", "device", "part")
COLUMNS = {
    "image_column": "id",
    "outcome_column": "pathology",
    "positive": "malignant",
    "group_column": "patient",
}


def picture(seed: int, *, height: int = 40, width: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8))


def rows_of(count: int) -> list[tuple[str, ...]]:
    """Two images a patient; every third patient is malignant; two scanners."""
    return [
        (
            f"im{index:03d}",
            f"p{index // 2}",
            "malignant" if index // 2 % 3 == 0 else "benign",
            f"scanner {index // 2 % 2}",
            ("train", "train", "val", "test")[index // 2 % 4],
        )
        for index in range(count)
    ]


def write(folder: Path, rows, *, header=HEADER, name: str = "cohort.csv") -> Path:
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / name


@pytest.fixture
def folder(tmp_path):
    """Forty-eight PNG files of 24 patients in ``images`` and their table beside it."""
    (tmp_path / "images").mkdir()
    for index, row in enumerate(rows_of(48)):
        picture(index).save(tmp_path / "images" / f"{row[0]}.png")
    write(tmp_path, rows_of(48))
    return tmp_path


def read(folder: Path, **changes):
    return read_table(folder / "cohort.csv", **{**COLUMNS, "image_folder": folder / "images", **changes})


def read_table(table: Path, **words):
    of = {
        word: word.removesuffix("_column") for word in words if word.endswith("_column") or word == "positive"
    }
    columns = Columns(**{name: words.pop(word) for word, name in of.items()})
    return read_own_cohort(table, columns, **words).cohort


# What is read -----------------------------------------------------------------------------------------


def test_a_table_and_a_folder_become_a_cohort(folder):
    cohort = read(folder)
    assert cohort.condition == "malignant"
    assert cohort.images.shape == (48, 28, 28)
    assert np.array_equal(cohort.images[5], square(picture(5), side=28))
    assert cohort.outcome.tolist() == [index // 2 % 3 == 0 for index in range(48)]
    assert cohort.group[:3].tolist() == ["p0", "p0", "p1"]
    assert cohort.case[0] == "im000"
    assert set(cohort.split) == {UNDIVIDED}
    assert set(cohort.attributes) == {"device", "part"}


def test_an_external_cohort_is_one_split_of_its_name_and_states_its_preparation(folder):
    cohort = read(folder, name="Hospital B", size=56, fit="pad", condition="cancer")
    assert set(cohort.split) == {"Hospital B"}
    assert cohort.images.shape[1:] == (56, 56)
    assert cohort.condition == "cancer"
    assert "(--fit pad)" in cohort.source.preparation
    assert "56 x 56" in cohort.source.preparation
    assert cohort.source.file == "cohort.csv"


def test_without_a_group_column_every_image_is_its_own_group(folder):
    assert len(set(read(folder, group_column=None).group)) == 48


def test_endings_may_stand_in_the_table_and_images_in_folders_below(folder):
    (folder / "images" / "left").mkdir()
    picture(1).save(folder / "images" / "left" / "im.x.jpg")
    rows = [
        ("im000.png", "a", "malignant"),
        ("left/im.x", "b", "benign"),
        ("left/../left/im.x.jpg", "c", "benign"),
    ]
    write(folder, rows[:2], header=HEADER[:3])
    assert read(folder).case.tolist() == ["im000.png", "left/im.x"]


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp", "webp"])
def test_every_common_kind_of_file_is_read(tmp_path, ending):
    for index in range(2):
        plain = Image.new("L", (40, 40), 60 + 100 * index)
        plain.paste(80 + 100 * index, (16, 16, 24, 24))
        plain.save(tmp_path / f"{index}.{ending}")
    write(tmp_path, [("0", "a", "malignant"), ("1", "b", "benign")], header=HEADER[:3])
    cohort = read(tmp_path, image_folder=tmp_path)
    assert np.abs(cohort.images.mean(axis=(1, 2)) - [60, 160]).max() < 2


def test_a_parquet_table_is_read_like_a_csv(folder):
    import pandas as pd

    pd.read_csv(folder / "cohort.csv").to_parquet(folder / "cohort.parquet")
    cohort = read_table(folder / "cohort.parquet", image_folder=folder / "images", **COLUMNS)
    assert np.array_equal(cohort.images, read(folder).images)


def test_the_checksum_changes_with_any_image_and_with_the_table(folder):
    first = read(folder).source.sha256
    assert read(folder).source.sha256 == first
    picture(99).save(folder / "images" / "im007.png")
    second = read(folder).source.sha256
    write(folder, rows_of(46))
    assert len({first, second, read(folder).source.sha256}) == 3


def test_progress_counts_every_file_and_the_order_is_the_tables(folder):
    seen = []
    read(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 48) for done in range(1, 49)]


def test_colour_depth_and_values_are_noted_in_sentences(folder):
    picture(0).convert("RGB").save(folder / "images" / "im000.png")
    Image.fromarray(np.arange(40000, 56000, 10, dtype=np.uint16).reshape(40, 40)).save(
        folder / "images" / "im001.png"
    )
    notes = " ".join(read(folder).source.notes)
    assert "1 of 48 images were stored in colour" in notes
    assert "1 of 48 images were stored with more than 8 bits" in notes
    assert "malignant is the condition; the values are benign (32), malignant (16)" in notes


def test_images_too_small_or_without_content_are_counted_and_named(folder):
    Image.new("L", (1, 1), 7).save(folder / "images" / "im003.png")
    Image.new("RGB", (40, 40), (80, 80, 80)).save(folder / "images" / "im005.png")
    clear = picture(3).convert("RGBA")
    clear.putalpha(0)
    clear.save(folder / "images" / "im007.png")
    hollow = Image.new("L", (60, 20), 9)
    hollow.paste(200, (0, 0, 10, 20))
    hollow.save(folder / "images" / "im009.png")
    with pytest.raises(InputError) as refused:
        read(folder)
    for words in (
        "4 of 48 images cannot be used: row 4, im003: it has 1 x 1 pixels; models that look at 28 x 28 ",
        "need at least 14 on the short side",
        "row 6, im005: it shows nothing: every pixel has the grey level 80",
        "row 8, im007: it is wholly transparent",
        "row 10, im009: it shows nothing in the square that is scored (fit crop): every pixel has the grey "
        "level 9",
    ):
        assert words in str(refused.value)


@pytest.mark.parametrize("side", [28, 64, 128, 224])
def test_an_image_of_half_the_models_side_is_enough(folder, side):
    picture(0, height=side // 2, width=side).save(folder / "images" / "one.png")
    assert prepare_files([folder / "images" / "one.png"], size=side).images.shape == (1, side, side)


def test_a_column_that_identifies_patients_is_left_out_and_one_named_as_ours_is_renamed(folder):
    rows = [(*row[:3], "Jane Doe", "0.7") for row in rows_of(48)]
    write(folder, rows, header=(*HEADER[:3], "Patient Name", "risk"))
    cohort = read(folder)
    assert set(cohort.attributes) == {"own_risk"}
    assert "Jane" not in repr(cohort.source)
    assert any("Patient Name" in note for note in cohort.source.notes)


def test_dicom_files_are_read_and_their_tags_named_but_never_copied(folder):
    pytest.importorskip("pydicom", reason="pydicom is not installed (the extra 'dicom')")
    from test_dicom import RAMP, dicom

    (folder / "images" / "im000.png").unlink()
    content = dicom(RAMP, PatientName="Doe^Jane", PatientID="4711", BurnedInAnnotation="YES")
    (folder / "images" / "im000.dcm").write_bytes(content)
    own = read_own_cohort(
        folder / "cohort.csv",
        Columns("id", "pathology", "malignant", "patient"),
        image_folder=folder / "images",
    )
    told = " ".join(own.cohort.source.notes)
    assert "PatientID (1), PatientName (1)" in told
    assert "1 of 48 images say that text is burnt into the picture" in told
    assert "Doe" not in repr(own)
    assert "4711" not in repr(own)
    assert "im000" not in {sample.case for sample in draw_samples(own, by="device", each=48).samples}


# What is refused --------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A PNG of a few hundred bytes whose header claims 40,000 x 40,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


BROKEN_FILES = {
    "empty": (b"", r"row 4, im003: it is empty \(0 bytes\)"),
    "text": (b"hello", "row 4, im003: it cannot be read as an image"),
    "bomb": (bomb(), "row 4, im003: it claims .*(more than|bomb)"),
    "truncated": (None, "row 4, im003: it cannot be read as an image"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_file_that_is_no_image_is_named_with_its_row_and_reason(folder, name):
    content, message = BROKEN_FILES[name]
    path = folder / "images" / "im003.png"
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    with pytest.raises(InputError, match=f"1 of 48 images cannot be used: {message}"):
        read(folder)


def test_several_pictures_in_one_file_are_refused(folder):
    (folder / "images" / "im003.png").unlink()
    picture(0).save(folder / "images" / "im003.tif", save_all=True, append_images=[picture(1)])
    with pytest.raises(InputError, match="row 4, im003: it holds 2 pictures"):
        read(folder)


def test_missing_files_are_all_counted_and_ten_are_shown(folder):
    for index in range(12):
        (folder / "images" / f"im{index:03d}.png").unlink()
    with pytest.raises(
        InputError, match=r"12 of 48 images .* are not in images: row 1: im000; .*im009; and 2 more"
    ):
        read(folder)


def test_unusable_files_are_all_counted_and_ten_are_shown(folder):
    for index in range(11):
        (folder / "images" / f"im{index:03d}.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"11 of 48 images cannot be used: .*im009: .*; and 1 more"):
        read(folder)


def test_a_file_named_with_its_ending_and_without_is_refused(folder):
    write(folder, [*rows_of(46), ("im003.png", *rows_of(48)[46][1:])])
    with pytest.raises(InputError, match=r"row 47 .*'im003\.png' is the file of row 4 again"):
        read(folder)


def test_a_name_that_fits_two_files_is_refused(folder):
    picture(0).save(folder / "images" / "im000.jpg")
    with pytest.raises(InputError, match=r"'im000': it fits im000\.jpg and im000\.png; write its whole"):
        read(folder)


@pytest.mark.parametrize("named", ["../secret.png", "left/../../secret.png", "{outside}"])
def test_a_path_out_of_the_image_folder_is_refused(folder, named):
    picture(0).save(folder / "secret.png")
    rows = rows_of(48)
    rows[2] = (named.format(outside=folder / "secret.png"), *rows[2][1:])
    write(folder, rows)
    with pytest.raises(
        InputError, match=r"cohort\.csv, row 3 \(line 4\): image .* lies outside the image folder"
    ):
        read(folder)


def test_a_link_out_of_the_image_folder_is_refused_and_one_within_is_followed(folder):
    picture(0).save(folder / "secret.png")
    path = folder / "images" / "im003.png"
    path.unlink()
    os.symlink(folder / "secret.png", path)
    with pytest.raises(InputError, match="row 4, im003: it lies outside the image folder"):
        read(folder)
    path.unlink()
    os.symlink(folder / "images" / "im002.png", path)
    cohort = read(folder)
    assert np.array_equal(cohort.images[2], cohort.images[3])


def test_a_link_to_itself_is_refused(folder):
    path = folder / "images" / "im003.png"
    path.unlink()
    os.symlink(path, path)
    with pytest.raises(InputError, match="row 4, im003: it cannot be read"):
        read(folder)


def damaged(content: bytes, generator: np.random.Generator) -> bytes:
    """The same file with a few bytes changed, and sometimes cut short."""
    bytes_of = bytearray(content)
    for place in generator.integers(0, min(len(bytes_of), 400), generator.integers(1, 6)):
        bytes_of[place] = generator.integers(256)
    return bytes(bytes_of[: generator.integers(1, len(bytes_of))] if generator.random() < 0.2 else bytes_of)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "bmp", "webp", "gif"])
def test_no_damage_to_an_image_ends_in_anything_but_a_picture_or_a_clause(tmp_path, kind):
    picture(0).save(tmp_path / f"whole.{kind}")
    content, generator = (tmp_path / f"whole.{kind}").read_bytes(), np.random.default_rng(0)
    path, read_or_refused = tmp_path / f"damaged.{kind}", 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(150):
            path.write_bytes(damaged(content, generator))
            with contextlib.suppress(Unusable):
                assert read_image(path).grey.mode == "L"
            read_or_refused += 1
    assert read_or_refused == 150


def changed(index: int, place: int, value: str) -> list[tuple[str, ...]]:
    rows = rows_of(48)
    rows[index] = (*rows[index][:place], value, *rows[index][place + 1 :])
    return rows


BROKEN_TABLES = {
    "an empty outcome": (changed(6, 2, ""), {}, r"row 7 \(line 8\), column 'pathology': a value is needed"),
    "an empty image": (changed(6, 0, " "), {}, r"row 7 \(line 8\), column 'id': a value is needed"),
    "an empty patient": (changed(6, 1, ""), {}, r"row 7 \(line 8\), column 'patient': a value is needed"),
    "a row twice": (changed(6, 0, "im001"), {}, r"row 7 .*'im001' stands twice \(first in row 2\)"),
    "an unseen value": (
        rows_of(48),
        {"positive": "cancer"},
        r"positive='cancer' is in no row; the values are 'benign' \(32\), 'malignant' \(16\)",
    ),
    "two spellings": (changed(6, 2, "Malignant"), {}, "'malignant' and 'Malignant' both occur"),
    "mistyped": (changed(6, 2, "Maligant"), {}, "'Maligant' looks like 'malignant' mistyped"),
    "one class": (
        [(*row[:2], "malignant", *row[3:]) for row in rows_of(48)],
        {},
        "expected both classes; every row says 'malignant'",
    ),
    "a patient in two splits": (
        changed(1, 4, "test"),
        {"split_column": "part"},
        "row 2 .*patient 'p0' is in test here and in train in row 1; keep all images of a patient",
    ),
    "an unknown split": (
        changed(1, 4, "fold 3"),
        {"split_column": "part"},
        r"row 2 \(line 3\), column 'part': expected train, val or test, got 'fold 3'",
    ),
    "no such column": (
        rows_of(48),
        {"image_column": "file"},
        r"no column 'file' \(image_column\); it has id",
    ),
    "no rows": ([], {}, "has a header but no rows"),
}


@pytest.mark.parametrize("name", BROKEN_TABLES)
def test_a_broken_table_is_refused_with_its_row_and_column(folder, name):
    rows, changes, message = BROKEN_TABLES[name]
    write(folder, rows)
    with pytest.raises(InputError, match=message):
        read(folder, **changes)


def test_a_missing_an_empty_and_a_wrong_table_are_refused(folder):
    with pytest.raises(InputError, match="is not there"):
        read_own_table(folder / "nowhere.csv", Columns())
    with pytest.raises(InputError, match="is a folder"):
        read_own_table(folder, Columns())
    (folder / "empty.csv").write_text("")
    with pytest.raises(InputError, match="is empty"):
        read_own_table(folder / "empty.csv", Columns())
    (folder / "ragged.csv").write_text("image,outcome\na,1\nb\n")
    with pytest.raises(InputError, match=r"ragged\.csv, line 3: expected 2 cells"):
        read_own_table(folder / "ragged.csv", Columns())


@pytest.mark.parametrize(
    ("cells", "plain", "words"),
    [
        (["40,0", "41,1", "42"], ["40.0", "41.1", "42.0"], "with a decimal comma"),
        (["4,5 mm", "NA", "12 mm"], ["4.5", "", "12.0"], "with a decimal comma and the unit mm left out"),
        (["1,024", "2,048", "3,000"], ["1.024", "2.048", "3.0"], "with a decimal comma"),
        (["left", "4,5", ""], ["left", "4,5", ""], None),
        (["61", "62.50", ""], ["61", "62.50", ""], None),
    ],
)
def test_numbers_of_a_table_with_semicolons_are_written_plainly_and_said(tmp_path, cells, plain, words):
    rows = "".join(f"im{row};{'ab'[row % 2]};{cell}\n" for row, cell in enumerate(cells))
    (tmp_path / "t.csv").write_text(f"id;pathology;age\n{rows}")
    table = read_own_table(tmp_path / "t.csv", Columns("id", "pathology", "a"))
    assert table.attributes["age"].tolist() == plain
    assert table.notes == ((f"Column age: read as numbers, {words}.",) if words else ())


def test_the_columns_of_images_and_outcomes_are_found_whatever_their_case(tmp_path):
    (tmp_path / "t.csv").write_text("Image,OUTCOME,Patient\na.png,1,p\nb.png,0,q\n")
    table = read_own_table(tmp_path / "t.csv", Columns())
    assert (table.image.tolist(), table.outcome.tolist()) == (["a.png", "b.png"], [True, False])
    assert list(table.attributes) == ["Patient"]
    with pytest.raises(InputError, match=r"has no column 'patient' .*did you mean Patient\?"):
        read_own_table(tmp_path / "t.csv", Columns(group="patient"))


@pytest.mark.slow
def test_one_bad_row_among_a_hundred_thousand_is_named(tmp_path):
    rows = [
        (f"im{index}", f"p{index}", "malignant" if index % 9 == 0 else "benign") for index in range(100_000)
    ]
    rows[77_776] = ("im77776", "p77776", "")
    table = write(tmp_path, rows, header=HEADER[:3])
    with pytest.raises(InputError, match=r"row 77777 \(line 77778\), column 'pathology': a value is needed"):
        read_own_table(table, Columns("id", "pathology", "malignant", "patient"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": "squash"}, "fit needs one of crop, top, pad"),
        ({"size": 5}, "size needs 16 to 1024"),
        ({"bits": 40}, "bits needs 8 to 16"),
        ({"image_folder": Path("nowhere")}, "image_folder needs a folder"),
    ],
)
def test_a_preparation_that_cannot_be_is_refused(folder, changes, message):
    with pytest.raises(InputError, match=message):
        read(folder, **changes)


def test_prepare_files_needs_no_table(folder):
    paths = sorted((folder / "images").iterdir())[:3]
    assert np.array_equal(prepare_files(paths).images, read(folder).images[:3])
    (folder / "x.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 of 1 images cannot be used: x\.png: it is empty"):
        prepare_files([folder / "x.png"])


# Splits and the run -----------------------------------------------------------------------------------


def settings(seed: int = 0, **own) -> RunSettings:
    columns = OwnSettings("id", "pathology", "malignant", "patient", **own)
    run = RunSettings(data=DataSettings(dataset="own", own=columns))
    return replace(run, training=replace(run.training, seed=seed))


def silent(_step):
    return lambda done, total: None


def loaded(folder: Path, seed: int = 0, **own):
    return load_own(
        OwnImages(folder / "cohort.csv", folder / "images"), settings(seed, **own), announce=silent
    )


def test_a_split_by_group_parts_no_group_keeps_prevalence_and_follows_its_seed():
    generator = np.random.default_rng(0)
    group = np.sort(generator.integers(0, 120, 300)).astype(str)
    outcome = np.isin(group, np.unique(group)[::3])
    split = by_group(outcome, group, shares=(0.1, 0.2), seed=3)
    assert all(len(set(split[group == name])) == 1 for name in np.unique(group))
    for name, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert (split == name).mean() == pytest.approx(share, abs=0.04)
        assert outcome[split == name].mean() == pytest.approx(outcome.mean(), abs=0.06)
    assert np.array_equal(split, by_group(outcome, group, shares=(0.1, 0.2), seed=3))
    assert not np.array_equal(split, by_group(outcome, group, shares=(0.1, 0.2), seed=4))


def test_a_share_of_none_for_val_makes_only_train_and_test():
    outcome = np.arange(100) % 4 == 0
    group = np.arange(100).astype(str)
    assert set(by_group(outcome, group, shares=(0.0, 0.2))) == {"train", "test"}


def test_a_run_splits_by_patient_joined_with_twins(folder):
    picture(0).save(folder / "images" / "im047.png")  # the last patient's image is the first one's
    cohort = loaded(folder, val_share=0.2).cohort
    assert set(cohort.split) == {"train", "val", "test"}
    for patient in set(cohort.group):
        assert len(set(cohort.split[cohort.group == patient])) == 1
    assert cohort.split[0] == cohort.split[47]
    assert "made by group (column patient joined with near-duplicates)" in cohort.source.notes[-1]


def test_a_column_of_splits_is_kept_and_val_is_drawn_from_train_where_it_lacks(folder):
    own = loaded(folder, split_column="part")
    assert own.cohort.split.tolist() == [row[4] for row in rows_of(48)]
    write(folder, [(*row[:4], "test" if row[4] == "test" else "training") for row in rows_of(48)])
    fewer = loaded(folder, split_column="part", val_share=0.2).cohort
    assert np.array_equal(fewer.split == "test", own.cohort.split == "test")
    assert fewer.within("val").sum() > 0
    assert "Val was drawn from train by group" in fewer.source.notes[-1]


def test_a_split_without_train_or_of_one_class_is_refused(folder):
    write(folder, [(*row[:4], "test") for row in rows_of(48)])
    with pytest.raises(InputError, match=r"split_column needs train and test .* got test"):
        loaded(folder, split_column="part")
    rows = [
        (*row[:4], "test" if row[2] == "benign" else row[4].replace("test", "train")) for row in rows_of(48)
    ]
    write(folder, rows)
    with pytest.raises(
        InputError, match=r"cohort\.csv: each of train.* needs cases with and without malignant; .* with it"
    ):
        loaded(folder, split_column="part")


def test_too_few_patients_for_a_split_are_refused(folder):
    write(folder, rows_of(12))
    with pytest.raises(InputError, match="A split by group needs at least"):
        loaded(folder)


def test_a_size_that_the_models_do_not_know_is_refused(folder):
    odd = settings()
    with pytest.raises(InputError, match=r"size needs one of 28, 64, 128, 224 .*got 32"):
        load_own(
            OwnImages(folder / "cohort.csv", folder / "images"),
            replace(odd, data=replace(odd.data, size=32)),
            announce=silent,
        )


def test_the_check_strip_shows_each_scanner_raw_beside_prepared(folder):
    own = loaded(folder, val_share=0.2)
    drawn = draw_samples(own)
    assert drawn.by == "device"
    assert dict(drawn.cases) == {"scanner 0": 24, "scanner 1": 24}
    assert len(drawn.samples) == 8
    sample = drawn.samples[0]
    assert np.array_equal(sample.raw, np.asarray(picture(0)))
    assert sample.box == (0, 5, 30, 35)
    assert np.array_equal(sample.prepared, own.cohort.images[0])
    draw_check_strip(own, folder)
    with Image.open(folder / "check_strip.png") as figure:
        assert figure.width > 1000


def test_the_raw_picture_of_a_check_strip_is_too_small_to_read_names_in(folder):
    picture(0, height=900, width=700).save(folder / "images" / "im000.png")
    assert max(draw_samples(loaded(folder, val_share=0.2)).samples[0].raw.shape) == 64


def test_a_check_strip_by_an_unknown_column_is_refused(folder):
    with pytest.raises(InputError, match="one of the columns device, part; got 'site'"):
        draw_samples(loaded(folder, val_share=0.2), by="site")


@pytest.mark.slow
def test_a_run_on_own_images_writes_the_same_artefacts_as_any_other(folder, monkeypatch, undrawn):
    for index, row in enumerate(rows_of(96)):
        picture(index).save(folder / "images" / f"{row[0]}.png")
    write(folder, rows_of(96))
    monkeypatch.chdir(folder)
    shorten(monkeypatch.setattr, members=3)
    words = "run --cohort cohort.csv --image-folder images --image-column id --outcome-column pathology"
    more = "--positive malignant --group-column patient --split-column part --jobs 1 --quiet --out out"
    assert run_command([*words.split(), *more.split()]) == 0
    for name in ("predictions.csv", "evaluation.json", "audit.json", "report.html", "check_strip.png"):
        assert (folder / "out" / name).is_file()
    record = json.loads((folder / "out" / "provenance.json").read_text(encoding="utf-8"))
    assert record["data"]["dataset"] == "own"
    assert "(--fit crop)" in record["data"]["preparation"]
    assert record["settings"]["data"]["own"]["group_column"] == "patient"
    assert str(folder) not in json.dumps(record)
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "A few images as given beside what the models see" in page
    assert run_command(["predict", "out", "images/im000.png", "--quiet"]) == 0


def test_a_run_never_deletes_the_images_that_its_table_names(folder, capsys):
    write(folder, [(f"images/{name}", *rest) for name, *rest in rows_of(48)])
    words = "--image-column id --outcome-column pathology --positive malignant --split-column part --quiet"
    place = ["--cohort", str(folder / "cohort.csv"), "--out", str(folder / "images"), "--force"]
    assert run_command(["run", *place, *words.split()]) == REFUSED
    assert "holds images, which the command reads and would delete" in capsys.readouterr().err
    assert len(list((folder / "images").iterdir())) == 48


def test_the_door_refuses_a_cohort_beside_a_data_set_and_options_without_one(folder, capsys):
    assert run_command(["run", "--cohort", "x.csv", "--dataset", "phantom"]) == REFUSED
    assert "either --cohort or --dataset" in capsys.readouterr().err
    assert run_command(["run", "--group-column", "patient"]) == REFUSED
    assert "--group-column has no effect without --cohort" in capsys.readouterr().err


# The external cohort, where it is at hand -------------------------------------------------------------


@pytest.fixture(scope="module")
def busbra():
    named = os.environ.get("CLINEVAL_BUSBRA", "")
    if not named or not (Path(named) / "bus_data.csv").is_file():
        pytest.skip("BUS-BRA is not there: CLINEVAL_BUSBRA names no folder with bus_data.csv")
    columns = Columns("ID", "Pathology", "malignant", "Case")
    return read_own_cohort(
        Path(named) / "bus_data.csv", columns, image_folder=Path(named) / "images", name="BUS-BRA"
    )


def test_the_external_cohort_is_read_whole(busbra):
    cohort = busbra.cohort
    assert len(cohort) == 472
    assert len(set(cohort.group)) == 266
    assert int(cohort.outcome.sum()) == 137
    assert len(set(cohort.attributes["Device"])) == 4
    with Image.open(busbra.paths[7]) as image:
        assert np.array_equal(cohort.images[7], square(image.convert("L"), side=28))


def test_the_outcome_needs_a_column_of_its_own(tmp_path):
    (tmp_path / "t.csv").write_text("id,patient\na,1\nb,2\n")
    with pytest.raises(InputError, match="'id' means something else too"):
        read_own_table(tmp_path / "t.csv", Columns("id", "id", "a", "patient"))
