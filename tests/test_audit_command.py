import csv
import json
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clineval.cli import main
from clineval.cli.images import audit as audit_images_command
from clineval.data import image_files
from clineval.data.findings import KINDS
from clineval.data.own_images import read_own_images
from clineval.data.phantom import phantom, planted
from clineval.errors import InputError
from clineval.pipeline.audit import audit_source, write_audit
from clineval.results import hash_folder

pytestmark = pytest.mark.slow

SMALL = (60, 24, 30)


@pytest.fixture(scope="module")
def pictures():
    """Unlike images of 90 x 120 pixels."""
    small = np.random.default_rng(0).integers(0, 200, (12, 15, 20))
    return np.kron(small, np.ones((1, 6, 6))).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, pictures):
    """Ten images in train and test: one byte-identical pair, one brightened mirror image, no more."""
    root = tmp_path / "images"
    for name in ("train", "test"):
        (root / name).mkdir(parents=True)
    for row, picture in enumerate(pictures[:8]):
        Image.fromarray(picture).save(root / ("train" if row < 6 else "test") / f"{row}.png")
    Image.fromarray(pictures[0]).save(root / "test" / "same.png")
    Image.fromarray(pictures[1][:, ::-1] + 20).save(root / "test" / "mirrored.jpg", quality=80)
    return root


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Leave the pictures out where a test does not ask for them; drawing takes longer than all the rest."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("clineval.pipeline.audit.draw_audit", lambda *_, **__: None)


@pytest.fixture
def drawn():
    """Asks for the pictures."""


def audited(source, tmp_path, **options):
    return audit_source(source, out=tmp_path / "out", **options)


def codes(result):
    return {finding.code for finding in result.findings}


def test_a_folder_of_images_is_audited_and_written(folder, tmp_path, drawn):
    result = audited(folder, tmp_path)
    record = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert record["byte_identical"] == [["test/same.png", "train/0.png"]]
    assert {tuple(pair["cases"]) for pair in record["pairs"]} == {
        ("test/same.png", "train/0.png"),
        ("test/mirrored.jpg", "train/1.png"),
    }
    assert record["test_with_twin"] == 2
    assert record["test_clean"] == ["test/6.png", "test/7.png"]
    assert record["groups"][0]["outcomes"] is None
    for name in (
        "duplicates.png",
        "duplicates_threshold.png",
        "duplicates_similarity.png",
        "own_near_duplicates.csv",
    ):
        assert (tmp_path / "out" / name).is_file()
    assert codes(result) >= {"AUD002", "AUD006"}


def test_fail_on_names_the_codes_that_were_found(folder, tmp_path):
    result = audited(folder, tmp_path, fail_on=["aud006", "AUD010"])
    assert result.failing == ("AUD006",)


def test_an_unknown_code_is_refused_before_any_image_is_read(folder, tmp_path):
    with pytest.raises(InputError, match="got AUD123"):
        audited(folder, tmp_path, fail_on=["AUD123"])
    assert not (tmp_path / "out").exists()


def test_a_corrupt_file_is_named_and_counted_and_the_rest_is_audited(folder, tmp_path):
    (folder / "train" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot an image")
    whole = (folder / "train" / "3.png").read_bytes()
    (folder / "train" / "cut.png").write_bytes(whole[: len(whole) // 2])
    result = audited(folder, tmp_path)
    unreadable = {finding.cases[0] for finding in result.findings if finding.code == "AUD014"}
    assert unreadable == {"train/broken.png", "train/cut.png"}
    assert result.cases == 10
    assert str(folder) not in (tmp_path / "out" / "audit.json").read_text(encoding="utf-8")


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        audited(tmp_path / "empty", tmp_path)


def test_a_folder_of_broken_files_is_refused(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="None of the 1 images of broken could be read"):
        audited(tmp_path / "broken", tmp_path)


def test_a_single_image_is_refused(tmp_path, pictures):
    (tmp_path / "one").mkdir()
    Image.fromarray(pictures[0]).save(tmp_path / "one" / "a.png")
    with pytest.raises(InputError, match="at least two; got 1"):
        audited(tmp_path / "one", tmp_path)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="needs a folder of images"):
        audited(tmp_path / "nowhere", tmp_path)
    with pytest.raises(InputError, match="There is no table"):
        audited(tmp_path / "nowhere.csv", tmp_path)


def test_a_source_and_a_dataset_together_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="either images of your own or dataset; got"):
        audited(folder, tmp_path, dataset="phantom")


def test_images_of_different_sizes_are_compared_and_said_to_be(folder, tmp_path, pictures):
    larger = Image.fromarray(pictures[2]).resize((240, 180), Image.Resampling.BILINEAR)
    larger.save(folder / "test" / "larger.png")
    result = audited(folder, tmp_path)
    assert "AUD015" in codes(result)
    assert {"test/larger.png", "train/2.png"} in [set(pair.cases) for pair in result.audit.pairs]


def test_links_and_paths_out_of_the_folder_are_refused_one_by_one(folder, tmp_path, pictures):
    outside = tmp_path / "secret.png"
    Image.fromarray(pictures[9]).save(outside)
    os.symlink(outside, folder / "train" / "link.png")
    own = read_own_images(folder)
    assert [(file.case, "outside the image folder" in file.reason) for file in own.unreadable] == [
        ("train/link.png", True)
    ]
    table = folder / "table.csv"
    table.write_text("image\ntrain/1.png\n../secret.png\n", encoding="utf-8")
    own = read_own_images(table)
    assert own.case.tolist() == ["train/1.png"]
    assert own.unreadable[0].case == "../secret.png"


def test_an_image_that_claims_too_many_pixels_is_not_unpacked(folder, monkeypatch):
    monkeypatch.setattr(image_files, "MOST_PIXELS", 90 * 120)
    assert not read_own_images(folder).unreadable
    monkeypatch.setattr(image_files, "MOST_PIXELS", 90 * 120 - 1)
    with pytest.raises(InputError, match="claims 120 x 90 pixels"):
        read_own_images(folder)


def test_a_table_gives_splits_labels_and_patients(folder, tmp_path, pictures):
    rows = [
        ("train/0.png", "train", "benign", "p1"),
        ("test/same.png", "test", "malignant", "p2"),
        ("train/1.png", "train", "benign", "p3"),
        ("train/2.png", "test", "benign", "p3"),
    ]
    frame = pd.DataFrame(rows, columns=["File", "split", "label", "patient"])
    frame.to_csv(folder / "table.csv", index=False)
    result = audited(folder / "table.csv", tmp_path)
    assert result.audit.contradictory == (("train/0.png", "test/same.png"),)
    assert codes(result) >= {"AUD001", "AUD002", "AUD005", "AUD006"}
    assert result.audit.group_of[2] == result.audit.group_of[3]


def test_empty_cells_of_a_table_are_no_label_and_no_patient(folder, tmp_path):
    rows = ["image,label,patient", "train/0.png,benign,", "test/same.png,,", "train/1.png,malignant,p"]
    (folder / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    found = audited(folder / "table.csv", tmp_path).audit
    assert len(found.byte_identical) == 1
    assert found.contradictory == ()
    assert found.group_of.tolist() == ["train/0.png", "train/0.png", "train/1.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na,b\n", "needs a column image .* (came|got) name, label"),
        ("image,label\n", "names no images"),
        ("", "is empty; a header line and one row per image"),
        ('image\n"a\n', "line 2: a quote in this row is never closed"),
        ("image,label\na.png,1\nb.png,0,4\n", "line 3: expected 2 cells, as in the header, got 3"),
    ],
)
def test_a_table_that_names_no_images_is_refused(tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        audited(tmp_path / "table.csv", tmp_path)


def test_a_table_that_is_no_utf8_is_refused_by_its_line(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"image,label\na.png,1\nb\xff.png,0\n")
    with pytest.raises(InputError, match=r"table\.csv, line 3: the text is not UTF-8"):
        audited(tmp_path / "table.csv", tmp_path)


def test_no_file_name_becomes_a_formula_in_the_tables(folder, tmp_path):
    (folder / "test" / "same.png").rename(folder / "=same.png")
    found = audited(folder, tmp_path)
    for table in ("own_near_duplicates.csv", "audit_findings.csv"):
        text = (found.folder / table).read_text(encoding="utf-8")
        assert "./=same.png" in text
        assert not any(cell.startswith("=") for row in csv.reader(text.splitlines()) for cell in row)
    assert "=same.png" in found.audit.case


def test_a_misspelt_split_of_a_table_is_refused_and_a_fold_is_not(folder, tmp_path):
    (folder / "table.csv").write_text("image,split\ntrain/0.png,trian\ntest/same.png,Testing\n")
    with pytest.raises(InputError, match=r"got 'trian'\. Write train if that is meant"):
        audited(folder / "table.csv", tmp_path / "one")
    (folder / "table.csv").write_text("image,split\ntrain/0.png,1\ntest/same.png,Testing\n")
    assert set(audited(folder / "table.csv", tmp_path / "two").audit.split) == {"1", "test"}


def test_no_label_or_split_becomes_a_formula_in_the_tables(folder, tmp_path):
    lines = ["image,split,label", "train/0.png,=1+1,@x", "test/same.png,-2,y"]
    (folder / "table.csv").write_text("\n".join(lines))
    found = audited(folder / "table.csv", tmp_path)
    (pair,) = csv.DictReader(
        (found.folder / "own_near_duplicates.csv").read_text(encoding="utf-8").splitlines()
    )
    told = {pair[name] for name in ("split_a", "split_b", "outcome_a", "outcome_b")}
    assert told == {"'=1+1", "-2", "'@x", "y"}


@pytest.mark.parametrize(("source", "out"), [("", "."), ("table.csv", "test"), ("table.csv", "")])
def test_what_is_audited_is_never_deleted_by_writing(folder, tmp_path, source, out):
    (folder / "table.csv").write_text("image\ntrain/0.png\ntest/same.png\n")
    before = hash_folder(tmp_path)
    target = tmp_path if out == "." else folder / out
    with pytest.raises(InputError, match="which the command reads and would delete"):
        audit_source(folder / source, out=target, force=True)
    assert hash_folder(tmp_path) == before


def test_deep_colour_and_palette_images_are_read_as_grey(tmp_path, pictures):
    root = tmp_path / "modes"
    root.mkdir()
    Image.fromarray(pictures[0]).save(root / "grey.png")
    Image.fromarray(pictures[0].astype(np.uint16) * 200).save(root / "deep.png")
    Image.fromarray(pictures[0]).convert("RGBA").save(root / "colour.png")
    Image.fromarray(pictures[0]).convert("P").save(root / "palette.png")
    found = audited(root, tmp_path).audit
    alike = {name for pair in found.pairs for name in pair.cases}
    assert alike == {"grey.png", "deep.png", "colour.png", "palette.png"}


def test_images_are_prepared_by_centre_crop_and_bilinear_resize(tmp_path, pictures):
    root = tmp_path / "wide"
    root.mkdir()
    Image.fromarray(pictures[0]).save(root / "a.png")
    middle = Image.fromarray(pictures[0][:, 15:105]).resize((128, 128), Image.Resampling.BILINEAR)
    assert np.array_equal(read_own_images(root).images[0], np.asarray(middle))


def test_a_data_set_is_audited_by_name_with_its_grouped_split(tmp_path, monkeypatch):
    monkeypatch.setattr("clineval.pipeline.audit.load_cohort", lambda *_, **__: phantom(0, cases=SMALL))
    audited(None, tmp_path, dataset="phantom")
    with (tmp_path / "out" / "phantom_near_duplicates.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {frozenset((row["case_a"], row["case_b"])) for row in rows} == {
        frozenset((pair.original, pair.copy)) for pair in planted(0, cases=SMALL)
    }
    split = pd.read_csv(tmp_path / "out" / "phantom_grouped_split.csv")
    assert (split.groupby("group")["grouped_split"].nunique() == 1).all()
    assert len(split) == sum(SMALL)
    record = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert record["notice"].startswith("SYNTHETIC PHANTOM DATA")
    assert json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))["kind"] == "audit"


def test_a_cohort_without_three_splits_gets_no_grouped_split(tmp_path):
    from clineval.data.audit import audit

    cohort = phantom(0, cases=SMALL)
    only = cohort.select(cohort.within("train"))
    write_audit(audit(only), only, tmp_path, seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "audit.json",
        "audit_findings.csv",
        "phantom_near_duplicates.csv",
    ]


def test_progress_is_announced_step_by_step(folder, tmp_path):
    steps = []

    def announce(step):
        steps.append(step)
        return lambda done, total: None

    audited(folder, tmp_path, announce=announce)
    assert steps == ["Reading", "Comparing"]


def test_the_help_of_audit_names_every_code_with_its_title():
    words = " ".join(audit_images_command.__doc__.split())
    assert [code for code, kind in KINDS.items() if f"{code} {kind.title}".lower() not in words.lower()] == []


@pytest.mark.parametrize("option", [["--size", "64"], ["--seed", "3"], ["--condition", "x"]])
def test_options_of_data_sets_are_refused_beside_images_of_ones_own(folder, tmp_path, capsys, option):
    words = ["audit", str(folder), "--out", str(tmp_path / "found"), *option]
    assert main.run_command(words) == 3
    assert "are for data sets" in capsys.readouterr().err
