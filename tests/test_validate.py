"""clineval validate: a frozen run on other patients, whole or not at all; on BUS-BRA where it is there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_run import HEADER, WORDS, read_rows, write_cohort, write_table
from PIL import Image

import clineval
from clineval.cli.console import DONE, REFUSED, USAGE
from clineval.cli.main import run_command
from clineval.data.own_images import prepare_files
from clineval.data.phantom import phantom
from clineval.evaluation import read_evaluation
from clineval.pipeline.stored_run import final_risks, read_run, score_images
from clineval.pipeline.validate import validate
from clineval.predictions import read_predictions
from clineval.results import hash_folder
from clineval.settings import EvaluationSettings

NAME = "hospital-b"
FIGURES = ("roc_cnn", "roc_logreg", "cm_cnn", "calibration_cnn", "risk_distribution_combined", "failures_cnn")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted")]


def words(results: Path, cohort: Path, out: Path, *further: str, name: str = NAME) -> list[str]:
    place = ["--name", name, "--image-folder", str(cohort / "images"), "--out", str(out), "--quiet"]
    return ["validate", str(results), str(cohort / "cohort.csv"), *WORDS, *place, *further]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("external") / "cohort")


@pytest.fixture(scope="module")
def out(finished_run, cohort, tmp_path_factory):
    """One validation of the small cohort, one image of which was trained on, corruptions included."""
    folder = tmp_path_factory.mktemp("validated")
    known = shutil.copytree(cohort, folder / "cohort")
    trained = phantom(seed=1, cases=(150, 60, 90), reason="a test asked for it")
    Image.fromarray(trained.images[5]).save(known / "images" / "known.png")
    rows = [*read_rows(known / "cohort.csv"), ("known", "p99", "benign", "scanner 0", "left")]
    write_table(known / "cohort.csv", rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clineval.pipeline.external.SEVERITIES", (3,))
        assert run_command(words(finished_run, known, folder / "out", "--corruptions")) == DONE
    return folder / "out"


@pytest.fixture(scope="module")
def transport(out):
    return json.loads((out / "transport.json").read_text())


# What it writes ---------------------------------------------------------------------------------------


def test_the_evaluation_has_every_model_under_the_cohorts_name_with_patients_as_groups(out):
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert list(evaluation["models"]) == ["logreg", "cnn", "scattering", "combined"]
    for populations in evaluation["models"].values():
        assert list(populations) == [NAME]
        scores = populations[NAME]
        assert (scores["cases"], scores["groups"]) == (61, 31)
        assert "clustered by 31 groups" in scores["auc"]["method"]
        assert {table["attribute"] for table in scores["subgroups"]} >= {"device", "side"}
        cells = next(table for table in scores["subgroups"] if table["attribute"] == "device")["cells"]
        assert {cell["value"] for cell in cells} == {"scanner 0", "scanner 1"}


def test_the_thresholds_are_those_of_the_run_and_nothing_was_chosen_here(out, finished_run):
    frozen = read_evaluation(finished_run / "evaluation.json").points
    evaluation = read_evaluation(out / "evaluation.json")
    for model, populations in evaluation.models.items():
        found = [(one.name, one.threshold, one.chosen_on) for one in populations[NAME].operating_points]
        assert found == [(one.name, one.threshold, one.chosen_on) for one in frozen[model]]


def test_the_same_artefacts_as_of_a_run_are_there(out):
    for name in (
        *(f"{figure}_{NAME}.png" for figure in FIGURES),
        f"decision_curve_{NAME}.png", "predictions.csv", "transport.json", "exploration.json", "report.html",
        "checklist.csv", "model_card.md", "ledger.jsonl", "provenance.json", "check_strip.png",
        "case_mix.png", "robustness.csv", "robustness.png",
    ):  # fmt: skip
        assert (out / name).stat().st_size > 0, name
    assert not (out / "models").exists()


def test_each_risk_in_the_table_is_the_one_that_predict_gives(out, finished_run, cohort):
    table = read_predictions(out / "predictions.csv")
    found = clineval.predict(finished_run, sorted((cohort / "images").iterdir())[:9])
    for image in found:
        rows = table[table["case"] == image.image.removesuffix(".png")].set_index("model")
        for model, risk in image.risk.items():
            assert rows["risk"][model] == pytest.approx(risk, abs=1e-12)
        assert set(rows["unlike_training"].astype(int)) == {int(image.unlike_training)}


def test_an_image_that_was_trained_on_is_reported_and_the_others_are_not(transport):
    (twin,) = (one for one in transport["seen_in_training"] if one["identical"])
    assert twin["case"] == "known"
    assert twin["training_case"] == "train/5"
    assert len(transport["seen_in_training"]) <= 3


def test_the_warnings_are_those_of_predict(transport, finished_run, out):
    expected = {}
    for image in clineval.predict(finished_run, [out.parent / "cohort"]):
        for each in image.warnings:
            expected.setdefault(each.code, set()).add(Path(image.image).stem)
    assert {code: set(cases) for code, cases in transport["warnings"].items()} == expected
    assert "known" in expected["seen_in_training"]


def test_what_each_step_of_preparation_gave_is_told_and_which_uses_grey_levels(transport, out):
    assert [(step["step"], step["uses_grey_levels"]) for step in transport["steps"]] == [
        ("middle square", False),
        ("a further view: grey levels matched", True),
        ("mean with the upper square", True),  # of which a matched look is taken, too
    ]
    external = json.loads((out / "evaluation.json").read_text())["models"]["cnn"][NAME]["auc_logit"]
    assert transport["steps"][-1]["auc"]["cnn"]["value"] == pytest.approx(external["value"])


def test_grey_levels_at_home_and_elsewhere_are_those_of_the_images(transport, out, cohort):
    here = transport["images"]["grey_levels"]["external"]
    paths = sorted((cohort / "images").iterdir())
    share = np.bincount(prepare_files(paths, size=28).images.ravel(), minlength=256)
    assert np.abs(np.array(here) * 61 / 60 - share / share.sum()).max() < 0.05
    assert transport["images"]["mean_grey"]["external"] < transport["images"]["mean_grey"]["training"]
    unlike = read_predictions(out / "predictions.csv").query("model == 'cnn'")["unlike_training"]
    assert transport["images"]["unlike"] == unlike.astype(int).sum()


def test_how_many_images_are_unlike_stands_apart_for_texture_and_grey_levels(transport, finished_run, out):
    run, images = read_run(finished_run), transport["images"]
    files = sorted((out.parent / "cohort" / "images").iterdir())
    far = score_images(run, prepare_files(files, size=28).images).distance
    for name in ("texture", "grey"):
        beyond = getattr(far, name) > getattr(run.reference.novelty, f"{name}_limit")
        assert images[f"unlike_{name}"] == beyond.sum()
        assert images[f"{name}_distance"]["median"] == pytest.approx(np.median(getattr(far, name)))


def test_provenance_says_which_run_how_prepared_and_that_grey_levels_were_matched(out):
    record = json.loads((out / "provenance.json").read_text())
    assert record["kind"] == "validate"
    assert record["data"]["run"] == "run"
    assert "models_sha256" in record["data"]
    assert record["settings"]["own"]["fit"] == "crop"
    notes = " ".join(record["data"]["notes"])
    assert (
        "a step that uses this cohort's grey levels, never its outcomes (--no-matching leaves it out)"
        in notes
    )
    assert "SYNTHETIC PHANTOM DATA" in record["data"]["notice"]


def test_the_report_sets_internal_beside_external(out):
    page = (out / "report.html").read_text()
    for said in (
        "Ranking and found cases, all models", "AUC, internal and external", "Rates at the frozen thresholds",
        "Calibration, internal and external", "Recalibrated on these patients", "Mix of cases as each model",
        "known as train/5", "by preparation", "as given beside every square", "Corrupted images",
    ):  # fmt: skip
        assert said in page, said
    assert "No external cohort was scored" not in page


def test_subgroups_are_those_chosen_and_verify_scores_the_same(finished_run, cohort, tmp_path, undrawn):
    own = clineval.OwnSettings("id", "pathology", "malignant", "patient")
    images = clineval.OwnImages(cohort / "cohort.csv", cohort / "images")
    few = EvaluationSettings(draws=20)
    settings = clineval.ValidationSettings(NAME, own, attributes=("side",), evaluation=few)
    validate(finished_run, images, settings, out=tmp_path / "out")
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["cnn"][NAME]
    found = {one["attribute"]: one["skipped"] for one in scores["subgroups"]}
    assert list(found) == ["side", "device", "unlike_training"]
    assert found["side"] is None
    assert found["device"] == found["unlike_training"] == "not among the columns that were chosen"
    assert run_command(["verify", str(tmp_path / "out")]) == DONE


def test_a_column_named_as_the_programs_own_is_kept_beside_it(finished_run, broken, tmp_path, undrawn):
    header, *lines = (broken / "cohort.csv").read_text().splitlines()
    marked = [f"{header},unlike_training", *(f"{line},{row % 3}" for row, line in enumerate(lines))]
    (broken / "cohort.csv").write_text("\n".join(marked) + "\n")
    own = clineval.OwnSettings("id", "pathology", "malignant", "patient")
    settings = clineval.ValidationSettings(NAME, own, evaluation=EvaluationSettings(draws=20))
    images = clineval.OwnImages(broken / "cohort.csv", broken / "images")
    validate(finished_run, images, settings, out=tmp_path / "out")
    table = clineval.read_predictions(tmp_path / "out" / "predictions.csv")
    assert set(table["own_unlike_training"]) == {0, 1, 2}
    assert set(table["unlike_training"]) <= {0, 1}


def test_verify_accepts_it_and_report_writes_it_again_to_the_same_bytes(out, tmp_path, capsys):
    copy = shutil.copytree(out, tmp_path / "out")
    assert run_command(["verify", str(copy)]) == DONE
    before = hash_folder(copy)
    assert run_command(["report", str(copy)]) == DONE
    assert hash_folder(copy) == before


def test_the_ledger_holds_one_opening_of_the_cohort(out):
    (line,) = (out / "ledger.jsonl").read_text().splitlines()
    assert json.loads(line)["population"] == NAME


def test_the_numbers_do_not_depend_on_threads_and_matching_can_be_switched_off(
    finished_run, cohort, tmp_path, undrawn
):
    own = clineval.OwnSettings("id", "pathology", "malignant", "patient")
    images = clineval.OwnImages(cohort / "cohort.csv", cohort / "images")
    few = EvaluationSettings(draws=50)
    settings = clineval.ValidationSettings(NAME, own, matching=False, second_view=False, evaluation=few)
    found = validate(finished_run, images, settings, out=tmp_path / "out", jobs=1)
    assert [step["step"] for step in found.transport["steps"]] == ["middle square"]
    run = read_run(finished_run)
    scored = score_images(run, found.cohort.images, matching=False, jobs=2)
    table = read_predictions(tmp_path / "out" / "predictions.csv")
    for model, risk in final_risks(run, [scored.risks]).items():
        np.testing.assert_allclose(table[table["model"] == model]["risk"], risk, atol=1e-12)
    assert not any("--no-matching" in note for note in found.cohort.source.notes)


# What it refuses, with nothing half-written -----------------------------------------------------------


@pytest.fixture
def broken(cohort, tmp_path):
    return shutil.copytree(cohort, tmp_path / "cohort")


def refused(capsys, finished_run, cohort, *further: str, name: str = NAME) -> str:
    before = sorted(path.name for path in cohort.parent.iterdir())
    assert run_command(words(finished_run, cohort, cohort.parent / "out", *further, name=name)) == REFUSED
    shown = capsys.readouterr()
    said = [line for line in shown.err.splitlines() if line.startswith("clineval: ")]
    assert len(said) == len(shown.err.splitlines()) == 1
    assert sorted(path.name for path in cohort.parent.iterdir()) == before
    return said[0]


def change(cohort: Path, row: int, column: str, value: str) -> None:
    rows = read_rows(cohort / "cohort.csv")
    rows[row][HEADER.index(column)] = value
    write_table(cohort / "cohort.csv", rows)


def test_missing_files_are_all_counted_and_ten_are_named(finished_run, broken, capsys):
    for number in range(12):
        (broken / "images" / f"im{number:03d}.png").unlink()
    said = refused(capsys, finished_run, broken)
    assert "12 of 60 images that cohort.csv names are not in images: row 1: im000" in said
    assert "row 10: im009; and 2 more" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "row 3, im002: it is empty (0 bytes)"),
        (b"no image", "row 3, im002: it cannot be read as an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "row 3, im002: it cannot be read as an image"),
    ],
)
def test_an_unreadable_file_is_named_with_its_row(finished_run, broken, capsys, content, message):
    (broken / "images" / "im002.png").write_bytes(content)
    assert message in refused(capsys, finished_run, broken)


def test_a_decompression_bomb_is_named(finished_run, broken, capsys, monkeypatch):
    monkeypatch.setattr("clineval.data.image_files.MOST_PIXELS", 10_000)
    Image.new("L", (200, 200)).save(broken / "images" / "im004.png")
    assert "row 5, im004: it claims 200 x 200 pixels, more than 10,000" in refused(
        capsys, finished_run, broken
    )


def test_a_path_and_a_link_out_of_the_folder_are_refused(finished_run, broken, capsys):
    shutil.copy(broken / "images" / "im000.png", broken.parent / "outside.png")
    (broken / "images" / "im007.png").unlink()
    (broken / "images" / "im007.png").symlink_to(broken.parent / "outside.png")
    assert "row 8, im007: it lies outside the image folder" in refused(capsys, finished_run, broken)
    change(broken, 7, "id", "../../outside.png")
    assert "'../../outside.png': it lies outside the image folder" in refused(capsys, finished_run, broken)


def test_one_group_for_all_cases_is_refused(finished_run, broken, capsys):
    rows = read_rows(broken / "cohort.csv")
    for row in rows:
        row[HEADER.index("patient")] = "p1"
    write_table(broken / "cohort.csv", rows)
    said = refused(capsys, finished_run, broken)
    assert "--group-column patient says 'p1' in all 60 rows" in said
    assert "name the column that tells patients apart, or leave --group-column out" in said


def test_a_chosen_attribute_that_is_not_there_is_refused_with_those_that_are(finished_run, broken, capsys):
    said = refused(capsys, finished_run, broken, "--attribute", "device", "--attribute", "scaner")
    assert "(device; side; unlike_training); got 'scaner'" in said


def test_a_validation_is_no_run_and_names_the_one_that_is(out, cohort, tmp_path, capsys):
    image = str(cohort / "images" / "im000.png")
    for command in (["predict", str(out), image, "--quiet"], words(out, cohort, tmp_path / "again")):
        assert run_command(command) == REFUSED
        said = capsys.readouterr().err
        assert "holds the results of 'clineval validate' and no models" in said
        assert "name the run that it validated, 'run'" in said
        assert len(said.splitlines()) == 1


def test_an_outcome_that_is_not_seen_and_one_class_only_are_refused(finished_run, broken, capsys):
    assert "--positive 'cancer' is in no row" in refused(capsys, finished_run, broken, "--positive", "cancer")
    rows = [row for row in read_rows(broken / "cohort.csv") if row[2] == "malignant"]
    write_table(broken / "cohort.csv", rows)
    assert "expected both classes; every row says 'malignant'" in refused(capsys, finished_run, broken)


def test_one_bad_row_among_a_hundred_thousand_is_named_before_any_image_is_read(finished_run, broken, capsys):
    rows = [
        (f"im{row}", f"p{row // 2}", ("malignant", "benign")[row % 2], "a", "left") for row in range(100_000)
    ]
    rows[70_001] = ("im70001", "p1", "", "a", "left")
    write_table(broken / "cohort.csv", rows)
    assert "row 70002 (line 70003), column 'pathology': a value is needed" in refused(
        capsys, finished_run, broken
    )


def dicom(path: Path, **tags) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileMetaDataset

    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = tags.pop("syntax", pydicom.uid.ExplicitVRLittleEndian)
    data.file_meta.MediaStorageSOPClassUID = pydicom.uid.UltrasoundImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)


VIDEO = "1.2.840.10008.1.2.4.102"  # MPEG-4
FRAME = {
    "Rows": 40, "Columns": 30, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PatientID": "x"}, "without a picture"),
        ({**FRAME, "NumberOfFrames": 3, "PixelData": bytes(3 * 40 * 30)}, "3 frames"),
        ({**FRAME, "syntax": VIDEO, "PixelData": b"\xfe\xff\x00\xe0" + bytes(4)}, "video"),
        (
            {
                **FRAME, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0,
                "PixelData": np.tile(np.array([250, 10, 10], np.uint8), 40 * 30).tobytes(),
            },
            "colour",
        ),
    ],
    ids=["without pixels", "several frames", "video", "colour"],
)  # fmt: skip
def test_a_dicom_file_that_shows_no_grey_picture_is_named(finished_run, broken, capsys, tags, message):
    (broken / "images" / "im006.png").unlink()
    dicom(broken / "images" / "im006.dcm", **dict(tags))
    said = refused(capsys, finished_run, broken)
    assert "row 7, im006: " in said
    assert message in said


@pytest.mark.parametrize("name", ["  ", "test", "val", "train", "Training", "TEST", "tests", "derivation"])
def test_a_name_that_is_none_of_its_own_is_refused(finished_run, broken, capsys, name):
    assert "--name needs a name of its own" in refused(capsys, finished_run, broken, name=name)


def test_a_name_must_be_given(finished_run, cohort, capsys):
    given = words(finished_run, cohort, cohort.parent / "out")
    at = given.index("--name")
    assert run_command(given[:at] + given[at + 2 :]) in (USAGE, REFUSED)
    assert "--name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["--fit", "squash"], "--fit needs one of as-trained, crop, top, pad"),
        (["--bits", "40"], "--bits needs 8 to 16"),
        (["--jobs", "0"], "--jobs needs a number of at least 1; got 0"),
        (["--figures", "gif"], "png"),
        (["--outcome-column", "diagnosis"], "has no column 'diagnosis' (--outcome-column)"),
    ],
)
def test_an_option_that_cannot_be_is_refused(finished_run, broken, capsys, further, message):
    assert message in refused(capsys, finished_run, broken, *further)


@pytest.mark.parametrize("what", ["the run", "the images", "inside the run"])
def test_what_is_read_is_never_deleted_by_writing(finished_run, cohort, tmp_path, capsys, what):
    home = tmp_path / "home"
    copy = shutil.copytree(finished_run, home / "run")
    before = hash_folder(copy)
    given = words(copy, cohort, home, "--force")
    out = {"the run": home, "inside the run": copy / "deep"}.get(what)
    if out is None:
        out = Path(given[given.index("--image-folder") + 1])
    given[given.index("--out") + 1] = str(out)
    assert run_command(given) == REFUSED
    assert "choose another folder" in capsys.readouterr().err
    assert hash_folder(copy) == before
    assert any(Path(given[given.index("--image-folder") + 1]).iterdir())


def test_a_folder_of_images_that_only_the_table_names_is_not_deleted_either(
    finished_run, cohort, tmp_path, capsys
):
    own = shutil.copytree(cohort, tmp_path / "own")
    table = pd.read_csv(own / "cohort.csv")
    table.assign(id="images/" + table["id"].astype(str)).to_csv(own / "cohort.csv", index=False)
    before = hash_folder(own)
    given = ["validate", str(finished_run), str(own / "cohort.csv"), "--name", NAME, *WORDS]
    assert run_command([*given, "--out", str(own / "images"), "--force", "--quiet"]) == REFUSED
    assert "holds images, which the command reads and would delete" in capsys.readouterr().err
    assert hash_folder(own) == before


@pytest.mark.parametrize("name", ["x" * 81, "a\nb", "\x1b[31mred"])
def test_a_name_that_no_figure_can_bear_is_refused(finished_run, cohort, tmp_path, capsys, name):
    given = words(finished_run, cohort, tmp_path / "out")
    given[given.index("--name") + 1] = name
    assert run_command(given) == REFUSED
    assert "up to 80 printable characters" in capsys.readouterr().err


def test_the_run_itself_is_never_replaced(finished_run, cohort, tmp_path, capsys):
    copy = shutil.copytree(finished_run, tmp_path / "run")
    before = hash_folder(copy)
    assert run_command(words(copy, cohort, copy, "--force")) == REFUSED
    assert "is the run that is read" in capsys.readouterr().err
    assert hash_folder(copy) == before


def test_a_table_alone_is_no_run(finished_run, cohort, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    shutil.copy(finished_run / "predictions.csv", tmp_path / "run")
    assert run_command(words(tmp_path / "run", cohort, tmp_path / "out")) == REFUSED
    assert "is an incomplete results folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# On a real external cohort ----------------------------------------------------------------------------


def test_on_busbra_every_case_is_scored_with_patients_as_groups(
    finished_run, busbra_folder, tmp_path, undrawn
):
    """The small phantom run knows nothing of patients; what counts here is that the cohort is read whole."""
    own = clineval.OwnSettings("ID", "Pathology", "malignant", "Case")
    images = clineval.OwnImages(busbra_folder / "bus_data.csv", busbra_folder / "images")
    settings = clineval.ValidationSettings("busbra", own, evaluation=EvaluationSettings(draws=50))
    found = validate(finished_run, images, settings, out=tmp_path / "out")
    scores = found.evaluation.models["cnn"]["busbra"]
    assert (scores.cases, scores.groups, scores.events) == (472, 266, 137)
    assert {table.attribute for table in scores.subgroups} >= {"Device", "BIRADS", "Side"}
