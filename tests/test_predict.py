"""clineval predict: risks of single files, flags, warnings, and what it refuses."""

import csv
import dataclasses
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from finished_run import SETTINGS, write_cohort
from PIL import Image

import clineval
from clineval import results
from clineval.cli.console import DONE, REFUSED
from clineval.cli.external import _warned
from clineval.cli.main import run_command
from clineval.data.own_images import prepare_files
from clineval.data.phantom import phantom
from clineval.errors import InputError, silent
from clineval.evaluation import evaluate, write_evaluation
from clineval.pipeline.predict import predict, predict_images
from clineval.pipeline.run import audit_and_group, facts
from clineval.pipeline.stored_run import final_risks, read_run, score_images
from clineval.pipeline.train import train_all, write_tables
from clineval.predictions import read_predictions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("predict"), patients=6) / "images"


def answer(capsys, *words) -> str:
    """Every model, to the last digit, as CSV, unless the words ask for another form."""
    assert run_command(["predict", "--quiet", "--all-models", *map(str, words)]) == DONE
    return capsys.readouterr().out


def refused(capsys, *words) -> str:
    assert run_command(["predict", "--quiet", *map(str, words)]) == REFUSED
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    return shown.err


# What it says -----------------------------------------------------------------------------------------


def test_each_image_gets_its_risk_by_every_model_and_a_flag_at_every_frozen_threshold(
    finished_run, images, capsys
):
    rows = list(csv.DictReader(io.StringIO(answer(capsys, finished_run, images))))
    assert [row["image"] for row in rows] == sorted(path.name for path in images.iterdir())
    thresholds = {
        (model, one.name): one.threshold
        for model, given in read_run(finished_run).thresholds.items()
        for one in given
    }
    for row in rows:
        for (model, name), threshold in thresholds.items():
            assert row[f"flagged_{model}_{name}"] == str(int(float(row[f"risk_{model}"]) >= threshold))


def test_the_risk_is_the_one_that_the_views_give_one_by_one(finished_run, images):
    run, (path, *_) = read_run(finished_run), sorted(images.iterdir())
    views = [prepare_files([path], size=28, fit=fit).images for fit in ("crop", "top")]
    expected = final_risks(run, [score_images(run, view).risks for view in views])
    (found,) = predict(finished_run, [path]).images
    assert found.risk == {model: float(risk[0]) for model, risk in expected.items()}
    assert (views[0] != views[1]).any()


def test_json_holds_what_csv_holds_and_the_thresholds(finished_run, images, capsys):
    path = sorted(images.iterdir())[0]
    record = json.loads(answer(capsys, finished_run, path, "--format", "json"))
    (row,) = csv.DictReader(io.StringIO(answer(capsys, finished_run, path)))
    (image,) = record["images"]
    assert record["condition"] == "malignant"
    assert "SYNTHETIC PHANTOM DATA" in record["notice"]
    assert float(row["risk_combined"]) == image["risk"]["combined"]
    assert record["thresholds"]["cnn"][0] == {"name": "half", "threshold": 0.5, "chosen_on": "fixed"}


def test_the_limits_of_the_distances_stand_in_both_forms(finished_run, images, capsys):
    path = sorted(images.iterdir())[0]
    known = read_run(finished_run).reference.novelty
    record = json.loads(answer(capsys, finished_run, path, "--format", "json"))
    assert record["limits"] == {"texture_distance": known.texture_limit, "grey_distance": known.grey_limit}
    (row,) = csv.DictReader(io.StringIO(answer(capsys, finished_run, path)))
    assert float(row["texture_limit"]) == pytest.approx(known.texture_limit, abs=1e-4)
    assert float(row["grey_limit"]) == pytest.approx(known.grey_limit, abs=1e-4)


def test_limits_that_no_image_taught_are_null_in_json_and_empty_in_csv(finished_run, images):
    found = predict(finished_run, [sorted(images.iterdir())[0]])
    without = dataclasses.replace(found, limits={"texture_distance": float("nan"), "grey_distance": 4.0})
    assert json.loads(without.to_json())["limits"] == {"texture_distance": None, "grey_distance": 4.0}
    (row,) = csv.DictReader(io.StringIO(without.to_csv()))
    assert (row["texture_limit"], row["grey_limit"]) == ("", "4.0000")


@pytest.mark.parametrize("name", ["=1+1.png", "-cmd.png", "+a.png", "@b.png", "\tc.png"])
def test_no_file_name_becomes_a_formula_and_each_still_leads_to_its_file(
    finished_run, images, tmp_path, name
):
    shutil.copy(sorted(images.iterdir())[0], tmp_path / name)
    found = predict(finished_run, [tmp_path])
    (row,) = csv.DictReader(io.StringIO(found.to_csv()))
    assert row["image"] == f"./{name}"
    assert (tmp_path / row["image"]).samefile(tmp_path / name)
    assert found.images[0].image == name  # JSON and Python compute nothing


def test_without_a_form_the_primary_model_answers_in_four_columns(finished_run, images, capsys):
    assert run_command(["predict", "--quiet", str(finished_run), str(images)]) == DONE
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    found = predict(finished_run, [images])
    model, threshold = found.primary
    assert model == json.loads((finished_run / "evaluation.json").read_text())["primary"]["model"]
    assert list(rows[0]) == ["file", "risk", "flagged", "warning"]
    for row, image in zip(rows, found, strict=True):
        assert row["risk"] == f"{image.risk[model]:.3f}"
        assert row["flagged"] == ("yes" if image.risk[model] >= threshold else "no")
        assert ("unlike the training images" in row["warning"]) == image.unlike_training
        assert bool(row["warning"]) == bool(image.warnings)


def test_the_form_follows_the_ending_of_the_file(finished_run, images, tmp_path, capsys):
    path = sorted(images.iterdir())[0]
    for name in ("risks.json", "risks.csv"):
        assert answer(capsys, finished_run, path, "--out", tmp_path / name) == ""
    assert json.loads((tmp_path / "risks.json").read_text())["schema"] == 1
    assert (tmp_path / "risks.csv").read_text().startswith("image,unlike_training,risk_logreg")


def test_a_phantom_run_says_on_stderr_that_it_learnt_from_made_up_images(finished_run, images, capsys):
    assert run_command(["predict", str(finished_run), str(images), "--quiet"]) == DONE
    assert "SYNTHETIC PHANTOM DATA" in capsys.readouterr().err


def test_an_image_unlike_the_training_images_is_warned_of(finished_run, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)).save(
        tmp_path / "noise.png"
    )
    (found,) = predict(finished_run, [tmp_path / "noise.png"])
    assert found.unlike_training
    assert found.texture_distance > read_run(finished_run).reference.novelty.texture_limit


def test_matching_and_the_second_view_can_be_switched_off(finished_run, images):
    path = sorted(images.iterdir())[0]
    run = read_run(finished_run)
    plain = score_images(run, prepare_files([path], size=28).images, matching=False)
    (found,) = predict(finished_run, [path], matching=False, second_view=False)
    assert found.risk == {model: float(risk[0]) for model, risk in final_risks(run, [plain.risks]).items()}
    (usual,) = predict(finished_run, [path])
    assert usual.risk["cnn"] != found.risk["cnn"]


def test_a_square_image_has_the_same_risk_with_and_without_the_second_view(finished_run, tmp_path):
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    one, other = (predict(finished_run, [tmp_path / "a.png"], second_view=wanted) for wanted in (True, False))
    for model, risk in other.images[0].risk.items():
        assert one.images[0].risk[model] == pytest.approx(risk, rel=1e-12)  # the mean of two equal views


def test_a_risk_does_not_depend_on_the_files_beside_it(finished_run, images):
    paths = sorted(images.iterdir())
    together = {each.image: each for each in predict(finished_run, paths)}
    for path in paths[::5]:
        assert predict(finished_run, [path]).images[0] == together[path.name]


def test_dicom_files_are_answered_like_their_pixels(finished_run, images, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileMetaDataset

    picture = np.asarray(Image.open(sorted(images.iterdir())[3]))
    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.Rows, data.Columns = picture.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME1"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = (255 - picture).tobytes()
    data.file_meta.MediaStorageSOPClassUID = pydicom.uid.UltrasoundImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    (found,) = predict(finished_run, [tmp_path / "one.dcm"])
    (expected,) = predict(finished_run, [sorted(images.iterdir())[3]])
    assert found.risk == expected.risk


def test_prepared_arrays_get_the_same_answer_from_python(finished_run, images):
    paths = sorted(images.iterdir())[:3]
    views = [prepare_files(paths, size=28, fit=fit).images for fit in ("crop", "top")]
    found = predict_images(read_run(finished_run), views[0], second=views[1])
    assert [each.risk for each in found] == [each.risk for each in clineval.predict(finished_run, paths)]
    assert [each.image for each in found] == ["0", "1", "2"]


def test_progress_counts_every_image(finished_run, images):
    seen = []
    predict(finished_run, [images], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)


def test_an_answer_needs_neither_torch_nor_pandas_nor_a_solver(finished_run, images):
    code = (
        "import sys; from clineval.cli.main import run_command; "
        f"assert run_command(['predict', {str(finished_run)!r}, {str(sorted(images.iterdir())[0])!r}]) == 0; "
        "heavy = {'torch', 'sklearn', 'pandas', 'statsmodels', 'matplotlib', 'pyarrow', 'scipy.optimize'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


# The risks of the run, again --------------------------------------------------------------------------


def write_pictures(cohort, folder):
    """Its test images as PNG files, named by their cases."""
    folder.mkdir()
    for row in np.flatnonzero(cohort.within("test")):
        Image.fromarray(cohort.images[row]).save(folder / f"{cohort.case[row].replace('/', ' ')}.png")
    return folder


def texts_of(results, pictures, capsys) -> tuple[dict, dict]:
    """The risks of test images as they are written: by ``clineval predict``, and in ``predictions.csv``."""
    words = (results, pictures, "--no-matching", "--no-second-view")
    rows = list(csv.DictReader(io.StringIO(answer(capsys, *words))))
    models = [name.removeprefix("risk_") for name in rows[0] if name.startswith("risk_")]
    predicted = {(model, row["image"][:-4]): row[f"risk_{model}"] for row in rows for model in models}
    with (results / "predictions.csv").open(newline="") as file:
        table = {
            (row["model"], row["case"].replace("/", " ")): row["risk"]
            for row in csv.DictReader(file)
            if row["split"] == "test" and row["model"] in models
        }
    return predicted, table


def test_the_test_images_as_files_get_the_risks_of_the_table_to_the_last_digit(
    finished_run, tmp_path, capsys
):
    cohort = phantom(seed=1, cases=(150, 60, 90))
    predicted, table = texts_of(finished_run, write_pictures(cohort, tmp_path / "pictures"), capsys)
    assert len(table) == 4 * 90
    assert predicted == table


@pytest.mark.real_data
def test_so_do_real_test_images(real_breastmnist, tmp_path, monkeypatch, capsys):
    """Its outcomes are not scored: thresholds come from train and val alone."""
    monkeypatch.setattr("clineval.pipeline.train.PAIR", ())  # trained once, with near-duplicates
    folder = tmp_path / "run"
    folder.mkdir()
    findings, cohort = audit_and_group(real_breastmnist, SETTINGS, folder)
    write_tables(train_all(cohort, findings, SETTINGS, jobs=1, announce=silent), folder)
    rows = read_predictions(folder / "predictions.csv")
    known = rows[rows["split"] != "test"]
    write_evaluation(evaluate(known, condition=cohort.condition, draws=20), folder / "evaluation.json")
    results.seal(folder, facts("run", ["clineval", "run"], SETTINGS, cohort, results.Recorder()))
    predicted, table = texts_of(folder, write_pictures(cohort, tmp_path / "pictures"), capsys)
    assert len(table) == 4 * 156
    assert predicted == table


# What it refuses --------------------------------------------------------------------------------------


def test_a_missing_file_and_an_empty_folder_are_refused(finished_run, tmp_path, capsys):
    assert "There is no file or folder" in refused(capsys, finished_run, tmp_path / "none.png")
    assert "holds no images; looked for .png" in refused(capsys, finished_run, tmp_path)


def test_unusable_files_are_all_counted_ten_named_and_nothing_is_written(
    finished_run, images, tmp_path, capsys
):
    for number in range(12):
        (tmp_path / f"bad{number:02d}.png").write_bytes(b"no image")
    (tmp_path / "empty.png").write_bytes(b"")
    said = refused(capsys, finished_run, images, tmp_path, "--out", tmp_path / "risks.csv")
    assert "13 of 25 images cannot be used: bad00.png: it cannot be read as an image" in said
    assert "bad09.png" in said
    assert "bad10.png" not in said
    assert "and 3 more" in said
    assert not (tmp_path / "risks.csv").exists()


def test_a_decompression_bomb_is_refused(finished_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("clineval.data.image_files.MOST_PIXELS", 1000)
    Image.new("L", (60, 60), 7).save(tmp_path / "bomb.png")
    assert "60 x 60 pixels, more than 1,000" in refused(capsys, finished_run, tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (Image.new("L", (1, 1), 90), "it has 1 x 1 pixels; models that look at 28 x 28 need at least 14"),
        (Image.new("L", (300, 13), 90), "it has 300 x 13 pixels"),
        (Image.new("RGB", (40, 60), (9, 9, 9)), "it shows nothing: every pixel has the grey level 9"),
        (Image.effect_noise((40, 60), 50).convert("RGBA"), "it is wholly transparent"),
    ],
)
def test_images_without_anything_to_look_at_are_refused(finished_run, tmp_path, capsys, picture, reason):
    if picture.mode == "RGBA":
        picture.putalpha(0)
    picture.save(tmp_path / "odd.png")
    assert f"odd.png: {reason}" in refused(capsys, finished_run, tmp_path / "odd.png")


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "jp2", "webp"])
@pytest.mark.parametrize("low", [0, 120, 240])
def test_a_picture_of_next_to_no_grey_levels_is_refused_in_every_format(
    finished_run, tmp_path, capsys, ending, low
):
    levels = np.random.default_rng(0).integers(low, low + 12, (40, 60), dtype=np.uint8)
    lossless = {"webp": {"lossless": True}}.get(ending, {})
    for mode in ("L", "RGB"):
        Image.fromarray(levels).convert(mode).save(tmp_path / f"dim.{ending}", **lossless)
        said = refused(capsys, finished_run, tmp_path / f"dim.{ending}")
        assert f"spans 12 of 256 grey levels, from {low} to {low + 11}" in said


def test_a_deep_picture_of_next_to_no_grey_levels_is_refused(finished_run, tmp_path, capsys):
    levels = np.random.default_rng(0).integers(30_000, 32_000, (40, 60)).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "dim.png")
    assert "of 256 grey levels, from 117 to 125" in refused(capsys, finished_run, tmp_path / "dim.png")


def test_several_pictures_in_one_file_are_refused(finished_run, tmp_path, capsys):
    frames = [Image.new("L", (30, 30), grey) for grey in (10, 90)]
    frames[0].save(tmp_path / "film.tif", save_all=True, append_images=frames[1:])
    assert "it holds 2 pictures" in refused(capsys, finished_run, tmp_path / "film.tif")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "xml"], "one of csv, json, or --out a file that ends in one; got 'xml'"),
        (["--out", "risks.txt"], "one of csv, json, or --out a file that ends in one; got 'txt'"),
        (["--fit", "squash"], "--fit needs one of as-trained, crop, top, pad"),
        (["--bits", "40"], "--bits needs 8 to 16"),
    ],
)
def test_an_option_that_cannot_be_is_refused(finished_run, images, capsys, words, message):
    assert message in refused(capsys, finished_run, images, *words)


def test_a_place_where_no_file_can_be_made_is_refused_before_an_image_is_read(finished_run, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"no image")
    said = refused(capsys, finished_run, tmp_path / "bad.png", "--out", "/proc/x.csv")
    assert "Cannot write into /proc" in said


def test_a_folder_in_place_of_the_file_to_write_is_refused(finished_run, images, tmp_path, capsys):
    assert "is a folder" in refused(capsys, finished_run, images, "--out", tmp_path, "--format", "csv")


def test_without_a_run_it_says_how_to_make_one(images, tmp_path, capsys):
    assert "Make one with: clineval run" in refused(capsys, tmp_path / "nothing", images)


def test_from_python_no_files_are_refused(finished_run):
    with pytest.raises(InputError, match="none was named"):
        predict(finished_run, [])


def test_neither_an_image_nor_the_run_nor_anything_but_a_plain_file_is_written_over(
    finished_run, images, tmp_path, capsys
):
    image = sorted(images.iterdir())[0]
    before = image.read_bytes()
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "target.csv")
    for out in (image, finished_run / "predictions.csv", link, tmp_path / "other.png"):
        words = ["predict", "--quiet", str(finished_run), str(image), "--format", "csv", "--out", str(out)]
        assert run_command(words) == REFUSED
        assert "--out" in capsys.readouterr().err
    assert image.read_bytes() == before


def test_images_of_one_name_are_told_apart_by_their_paths(finished_run, images, tmp_path):
    image = sorted(images.iterdir())[0]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(image, tmp_path / folder / "x.png")
    found = clineval.predict(finished_run, [tmp_path / "a", tmp_path / "b"])
    assert [one.image for one in found] == [(tmp_path / folder / "x.png").as_posix() for folder in ("a", "b")]


def test_the_terminal_says_how_many_images_are_unlike_the_training_images(finished_run, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert run_command(["predict", str(finished_run), str(tmp_path / "noise.png")]) == 0
    shown = capsys.readouterr()
    unlike = (
        "Warning for 1 of 1 image: unlike the training images (do not rely on its risk, flagged or not).\n"
    )
    assert unlike in shown.err
    assert shown.err.index("Risk of") < shown.err.index(unlike)
    assert ",unlike the training images: do not rely on its risk" in shown.out.splitlines()[1]


def test_a_training_image_and_burnt_in_marks_are_warned_of_in_every_form(finished_run, tmp_path, capsys):
    cohort = phantom(seed=1, cases=(150, 60, 90))
    grey = np.tile(np.linspace(10, 200, 256).astype(np.uint8), (256, 1)).T
    grey[100:112, [place + step for place in range(20, 230, 8) for step in (0, 1)]] = 250  # like letters
    for name, image in {"seen": cohort.images[3], "text": grey}.items():
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    assert run_command(["predict", str(finished_run), str(tmp_path)]) == DONE
    shown = capsys.readouterr()
    seen, text = csv.DictReader(io.StringIO(shown.out))
    assert seen["warning"] == "seen in training: do not rely on its risk"
    assert "text or measuring marks burnt in" in text["warning"]
    assert "burnt in: do not rely" not in text["warning"]
    assert "1 of 2 images: seen in training" in shown.err
    assert "1 of 2 images: text or measuring marks burnt in" in shown.err
    seen, text = csv.DictReader(io.StringIO(answer(capsys, finished_run, tmp_path)))
    assert seen["warnings"] == "seen_in_training"
    assert seen["warning"] == "seen in training: do not rely on its risk"
    assert "text or measuring marks burnt in" in text["warning"]
    assert "burnt_in" in text["warnings"].split()
    seen, text = json.loads(answer(capsys, finished_run, tmp_path, "--format", "json"))["images"]
    assert [each["code"] for each in seen["warnings"]] == ["seen_in_training"]
    assert cohort.case[3] in seen["warnings"][0]["text"]


def test_each_warning_is_counted_and_only_images_unlike_training_are_not_to_be_relied_on():
    said = list(_warned({"burnt_in": 1, "unlike_training": 3}, of=25))
    assert said == [
        "Warning for 3 of 25 images: unlike the training images (do not rely on their risk, flagged or not).",
        "Warning for 1 of 25 images: text or measuring marks burnt in.",
    ]


def test_the_short_answer_names_model_threshold_and_condition_once_on_standard_error(
    finished_run, images, capsys
):
    found = predict(finished_run, [images])
    model, threshold = found.primary
    header = f"Risk of {found.condition} by {model}, flagged at {threshold:.3f} or above. Research only"
    assert run_command(["predict", str(finished_run), str(images)]) == DONE
    shown = capsys.readouterr()
    assert shown.err.count(header) == 1
    assert shown.out.startswith("file,risk,flagged,warning\n")
    assert run_command(["predict", str(finished_run), str(images), "--format", "json"]) == DONE
    assert header not in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["png", "dcm"])
@pytest.mark.parametrize(("dark", "bright"), [((0, 9), 255), ((100, 108), 0)])
def test_a_picture_of_next_to_no_grey_levels_but_for_a_few_marks_is_refused(
    finished_run, tmp_path, capsys, ending, dark, bright
):
    from test_dicom import dicom

    levels = np.random.default_rng(0).integers(*dark, (80, 80), dtype=np.uint8)
    levels[30:40, 30:42] = bright  # 120 of 6,400 pixels
    path = tmp_path / f"dim.{ending}"
    path.write_bytes(dicom(levels)) if ending == "dcm" else Image.fromarray(levels).save(path)
    said = refused(capsys, finished_run, path)
    assert f"spans {dark[1] - dark[0]} of 256 grey levels" in said
    assert "in 98% of its pixels, so that nothing would be seen" in said


def test_a_deep_picture_of_twelve_bits_with_marks_at_the_white_of_sixteen_is_refused(
    finished_run, tmp_path, capsys
):
    levels = np.random.default_rng(0).integers(0, 4096, (80, 80)).astype(np.uint16)
    levels[30:40, 30:42] = 65535
    Image.fromarray(levels).save(tmp_path / "dim.png")
    said = refused(capsys, finished_run, tmp_path / "dim.png")
    assert "spans 17 of 256 grey levels, from 0 to 16, in 98% of its pixels" in said
