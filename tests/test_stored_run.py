"""A finished run read back: what is frozen, what is refused, and that a risk depends on its image alone."""

import json
import math
import os
import shutil

import numpy as np
import pytest
from finished_run import WORDS, write_cohort
from PIL import Image
from scipy.special import expit, logit

from clineval.cli.console import REFUSED
from clineval.cli.main import run_command
from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.evaluation import read_evaluation
from clineval.models import stored
from clineval.models.classifier import risk_of
from clineval.models.preprocessing import CHUNK, external_view
from clineval.pipeline.predict import predict
from clineval.pipeline.stored_run import cut_for, final_risks, read_run, score_images
from clineval.predictions import read_predictions
from clineval.results import hash_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(finished_run):
    return read_run(finished_run)


@pytest.fixture(scope="module")
def images():
    return phantom(seed=9, cases=(60, 20, 30)).images


@pytest.fixture
def copy(finished_run, tmp_path):
    """The run, to be spoilt."""
    return shutil.copytree(finished_run, tmp_path / "run")


def rewrite(folder, name: str, change) -> None:
    """Change a JSON file and its hash, as somebody would who knows how."""
    path = folder / name
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    if name != "provenance.json":
        rewrite(folder, "provenance.json", lambda own: own["artefacts"].update({name: hash_file(path)}))


# What is read back ------------------------------------------------------------------------------------


def test_models_thresholds_and_notice_are_those_of_the_run(run, finished_run):
    evaluation = read_evaluation(finished_run / "evaluation.json")
    assert run.names == ("logreg", "cnn", "scattering", "combined")
    assert run.parts == {"combined": ("cnn", "scattering")}
    for name in run.names:
        found = [(one.name, one.threshold, one.chosen_on) for one in run.thresholds[name]]
        assert found == [(one.name, one.threshold, one.chosen_on) for one in evaluation.points[name]]
    assert run.condition == "malignant"
    assert "SYNTHETIC PHANTOM DATA" in run.notice
    assert (run.side, run.fit) == (28, "crop")


def test_its_own_test_images_get_the_risks_of_the_runs_table_to_the_last_digit(run, finished_run):
    cohort = phantom(seed=1, cases=(150, 60, 90))
    table = read_predictions(finished_run / "predictions.csv")
    risks = final_risks(run, [score_images(run, cohort.images, matching=False).risks])
    assert set(risks) == {"logreg", "cnn", "scattering", "combined"}
    for model, risk in risks.items():
        rows = table[(table["model"] == model) & (table["split"] != "train_out_of_fold")]
        assert len(rows) == len(cohort)
        np.testing.assert_array_equal(rows.set_index("case")["risk"][cohort.case], risk)


def test_the_combined_risk_is_the_mean_logit_of_its_recalibrated_parts(run, images):
    risks = final_risks(run, [score_images(run, images).risks])
    expected = expit((logit(risks["cnn"]) + logit(risks["scattering"])) / 2)
    np.testing.assert_allclose(risks["combined"], expected, atol=1e-12)  # twelve decimals


def test_each_model_takes_the_mean_over_its_views(run, images):
    scored, grey = score_images(run, images).risks, run.reference.novelty.grey
    for name, names in run.views.items():
        views = [external_view(images, each, grey) for each in names]
        odds = [logit(risk_of(run.models[name], view)) for view in views]
        np.testing.assert_allclose(scored[name], expit(np.mean(odds, axis=0)), atol=1e-12)


def test_a_risk_is_the_same_to_the_last_bit_in_any_company_and_on_any_number_of_threads(run, images):
    whole = score_images(run, images, jobs=2)
    turned = score_images(run, images[::-1], jobs=1)
    alone = [score_images(run, images[[row]]) for row in (0, CHUNK - 1, CHUNK, 37)]
    for name, risk in whole.risks.items():
        np.testing.assert_array_equal(risk, turned.risks[name][::-1])
        np.testing.assert_array_equal(
            risk[[0, CHUNK - 1, CHUNK, 37]], np.concatenate([one.risks[name] for one in alone])
        )
    np.testing.assert_array_equal(whole.distance.texture, turned.distance.texture[::-1])


def test_two_views_are_averaged_on_the_logit_scale_before_recalibration(run, images):
    views = [score_images(run, images).risks, score_images(run, images[:, ::-1]).risks]
    mean = (logit(views[0]["logreg"]) + logit(views[1]["logreg"])) / 2
    fitted = run.recalibrations["logreg"]
    expected = expit(fitted.intercept + fitted.slope * mean) if fitted else expit(mean)
    np.testing.assert_allclose(final_risks(run, views)["logreg"], expected, atol=1e-12)  # twelve decimals


def test_no_images_have_no_risks(run, images):
    scored = score_images(run, images[:0])
    assert {len(risk) for risk in scored.risks.values()} == {0}
    assert scored.distance.unlike.dtype == bool


@pytest.mark.parametrize(
    ("wanted", "second_view", "expected"),
    [
        ("as-trained", True, ("crop", "top")),
        ("as-trained", False, ("crop",)),
        ("pad", True, ("pad",)),
        ("top", True, ("top",)),
    ],
)
def test_the_upper_square_is_seen_beside_the_middle_one_alone(run, wanted, second_view, expected):
    assert cut_for(run, wanted, second_view=second_view) == expected


def test_a_run_on_own_images_is_cut_for_as_those_were(copy):
    own = {"image_column": "image", "fit": "pad"}
    rewrite(copy, "provenance.json", lambda record: record["settings"]["data"].update(own=own))
    assert cut_for(read_run(copy), "as-trained", second_view=True) == ("pad",)


# What is refused --------------------------------------------------------------------------------------


def test_images_of_another_size_type_or_colour_are_refused(run, images):
    for wrong in (
        np.zeros((2, 64, 64), np.uint8),
        images.astype(np.float32),
        np.zeros((2, 28, 28, 3), np.uint8),
        images[0],
    ):
        with pytest.raises(InputError, match="take grey images of 28 x 28 pixels"):
            score_images(run, wrong)


def test_an_unknown_cut_is_refused(run):
    with pytest.raises(InputError, match="fit needs one of as-trained, crop, top, pad; got 'squash'"):
        cut_for(run, "squash", second_view=True)


def test_a_folder_that_is_no_run_is_refused(tmp_path, copy):
    with pytest.raises(InputError, match="A results folder is needed"):
        read_run(tmp_path / "nothing")
    (copy / "models" / "models.json").unlink()
    with pytest.raises(InputError, match=r"lacks models/models\.json"):
        read_run(copy)


def test_the_results_of_another_command_are_refused(copy):
    rewrite(copy, "provenance.json", lambda record: record.update(kind="evaluate"))
    with pytest.raises(
        InputError, match="'clineval evaluate' and no models; models with frozen thresholds are needed"
    ):
        read_run(copy)


@pytest.mark.parametrize("name", ["models/cnn.safetensors", "models/logreg.json", "evaluation.json"])
def test_a_model_or_threshold_that_was_changed_since_is_refused(copy, name):
    path = copy / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match=f"{name} in .* is not the file that the run wrote"):
        read_run(copy)


def test_a_run_without_the_trace_of_its_training_images_says_to_run_again(copy):
    (copy / "models" / "training_images.safetensors").unlink()
    rewrite(copy, "provenance.json", lambda own: own["artefacts"].pop("models/training_images.safetensors"))
    with pytest.raises(InputError, match="Run again: clineval run"):
        read_run(copy)


def test_models_of_different_sizes_are_refused(copy):
    arrays, record = stored.read_arrays(copy / "models" / "logreg.safetensors")
    larger = {name: np.resize(value, 30 * 30) if value.size > 1 else value for name, value in arrays.items()}
    rewrite(copy, "models/logreg.json", lambda own: own.update(image=[20, 20]))
    smaller = {name: value[: 20 * 20] if value.size > 1 else value for name, value in larger.items()}
    stored.write_arrays(copy / "models" / "logreg.safetensors", smaller, record)
    changed = hash_file(copy / "models" / "logreg.safetensors")
    rewrite(
        copy, "provenance.json", lambda own: own["artefacts"].update({"models/logreg.safetensors": changed})
    )
    with pytest.raises(InputError, match="different or oblong sizes"):
        read_run(copy)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("evaluation.json", lambda record: record.pop("points")),
        ("evaluation.json", lambda record: record["points"].pop("cnn")),
        ("models/models.json", lambda record: record["cnn"].pop("recalibration")),
        ("models/models.json", lambda record: record.update(cnn=[])),
    ],
)
def test_a_run_that_lacks_something_is_refused_and_names_it(copy, name, change):
    rewrite(copy, name, change)
    with pytest.raises(InputError, match="is incomplete"):
        read_run(copy)


def test_a_file_that_is_no_json_object_is_refused(copy):
    (copy / "provenance.json").write_text("[]")
    with pytest.raises(InputError, match="is not a JSON object"):
        read_run(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda record: record["combined"].update(mean_logit_of=["cnn", "oracle"]),
            "mean of 'cnn', 'oracle'",
        ),
        (lambda record: record["combined"].update(mean_logit_of=[]), "mean of nothing"),
        (
            lambda record: record.update({"../../secret": record["cnn"]}),
            "'../../secret' is no name of a model",
        ),
        (lambda record: record.update({"/etc/passwd": {}}), "'/etc/passwd' is no name of a model"),
        (lambda record: record["logreg"]["recalibration"].update(fitted={"slope": 1}), "is incomplete"),
        (
            lambda record: record["logreg"]["recalibration"].update(fitted=broken_recalibration()),
            "is incomplete",
        ),
    ],
)
def test_what_models_there_are_must_make_sense(copy, change, words):
    rewrite(copy, "models/models.json", change)
    with pytest.raises(InputError, match=words):
        read_run(copy)


def broken_recalibration():
    fitted = {
        "kind": "platt",
        "fitted_on": "val",
        "cases": 9,
        "events": 3,
        "intercept": math.nan,
        "slope": 1.0,
    }
    return {**fitted, "knots": []}


@pytest.mark.parametrize("name", ["models/models.json", "models/cnn.json"])
def test_ten_megabytes_of_json_are_refused_unread(copy, name):
    rewrite(copy, name, lambda record: record.update(padding="x" * 10_000_000))
    with pytest.raises(InputError, match="at most 4,194,304 are read"):
        read_run(copy)


def test_a_pipe_in_the_place_of_a_model_is_refused_at_once(copy):
    (copy / "models" / "cnn.safetensors").unlink()
    os.mkfifo(copy / "models" / "cnn.safetensors")
    with pytest.raises(InputError, match=r"models/cnn\.safetensors"):
        read_run(copy)


@pytest.fixture
def not_stored(copy):
    """The run with a further model that could not be stored, its primary one."""
    record = {"training": {"not_stored": "it has no to_onnx(path)"}, "recalibration": {"fitted": None}}
    rewrite(copy, "models/models.json", lambda records: records.update(mine=record))
    points = json.loads((copy / "evaluation.json").read_text())["points"]["cnn"]
    rewrite(copy, "evaluation.json", lambda own: own["points"].update(mine=points))
    rewrite(copy, "evaluation.json", lambda own: own["primary"].update(model="mine"))
    return copy


def test_validate_refuses_a_run_whose_primary_model_was_not_stored(not_stored, tmp_path, capsys):
    external, before = write_cohort(tmp_path / "external"), sorted(tmp_path.iterdir())
    place = ["--name", "b", "--image-folder", str(external / "images"), "--out", str(tmp_path / "out")]
    words = ["validate", str(not_stored), str(external / "cohort.csv"), *WORDS, *place, "--quiet"]
    assert run_command(words) == REFUSED
    (line,) = capsys.readouterr().err.splitlines()
    assert "mine, was not stored. Not scored: mine could not be stored (it has no to_onnx(path))" in line
    assert "another --primary" in line
    assert sorted(tmp_path.iterdir()) == before


def test_predict_gives_the_others_and_says_why_one_is_left_out(not_stored, tmp_path, images):
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    found = predict(not_stored, [tmp_path / "image.png"])
    assert set(found.images[0].risk) == {"logreg", "cnn", "scattering", "combined"}
    assert "Not scored: mine could not be stored (it has no to_onnx(path))." in found.notice
    assert found.primary is None


def test_a_threshold_that_is_not_a_number_is_refused(copy):
    rewrite(copy, "evaluation.json", lambda record: record["points"]["cnn"][0].update(threshold=math.nan))
    with pytest.raises(InputError, match="threshold of nan, none from 0 to 1"):
        read_run(copy)
