"""Stored models: read back, refused, their risks numbers from 0 to 1; heads fitted anew on local images."""

import json
import shutil

import numpy as np
import pytest
from scipy.special import expit, logit

from clineval.errors import InputError
from clineval.models import logistic, svm
from clineval.models.classifier import (
    COMBINED,
    KINDS,
    NewHead,
    checked_risk,
    head_features,
    head_kernel,
    mean_of,
    read_model,
    risk_of,
    standardised_by,
    write_refitted,
)
from clineval.models.logistic import LogisticModel
from clineval.models.preprocessing import CHUNK, ORIGINAL, PixelScaling, View
from clineval.models.scattering import ENDS, ScatteringModel, scattering_features
from clineval.models.stored import Stored, read_arrays, read_record, write_arrays, write_model
from clineval.models.transfer import TransferModel
from clineval.settings import ScatteringSettings, TrainingSettings

MODELS = TrainingSettings.models


@pytest.fixture
def models(finished_run, tmp_path):
    """The stored models, to be spoilt."""
    return shutil.copytree(finished_run / "models", tmp_path / "models")


def test_every_kind_sees_an_external_image_as_it_is():
    assert all(ORIGINAL in kind.views for kind in KINDS.values())
    assert set(COMBINED) < set(KINDS)


def test_the_mean_of_risks_is_taken_on_the_logit_scale():
    one, other = np.array([0.2, 0.5, 0.9]), np.array([0.2, 0.8, 0.99])
    odds = np.sqrt(one / (1 - one) * other / (1 - other))
    np.testing.assert_allclose(mean_of([one, other]), odds / (1 + odds), rtol=1e-12)
    assert mean_of([one]) is one


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, np.inf])
def test_a_risk_that_is_no_number_from_0_to_1_is_refused(wrong):
    with pytest.raises(InputError, match="not a number from 0 to 1"):
        checked_risk(np.array([0.5, wrong]))


def test_risks_are_asked_for_some_dozens_at_a_time():
    seen = []

    class Counting:
        def risk(self, view):
            seen.append(len(view))
            return np.full(len(view), 0.5)

    images = np.zeros((2 * CHUNK + 3, 28, 28), np.uint8)
    assert len(risk_of(Counting(), View(images))) == len(images)
    assert seen == [CHUNK, CHUNK, 3]
    assert risk_of(Counting(), View(images[:0])).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_missing_record_and_missing_arrays_are_refused(models, name):
    (models / f"{name}.safetensors").unlink()
    with pytest.raises(InputError, match=f"{name}.safetensors"):
        read_model(models, name)
    (models / f"{name}.json").unlink()
    with pytest.raises(InputError, match="Train one with: clineval run"):
        read_model(models, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"kind": "oracle"},
        {"kind": ["cnn"]},
        {"image": [28]},
        {"image": "large"},
        {"image": [28, 10**9]},
        {"image": [28, -28]},
        {"image": [True, True]},
        {"members": None},
        {"members": []},
        {"members": [{}] * 100_000},
        {"members": [{"scaling": {"mean": 0.3, "sd": 0.0}}] * 2},
        {"members": [{"scaling": {"mean": float("nan"), "sd": 1.0}}] * 2},
        {"architecture": "another"},
    ],
)
def test_a_record_of_another_kind_is_refused(models, change):
    path = models / "cnn.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"cnn\.json is not"):
        read_model(models, "cnn")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"ends": [-5, 2989]}, {"ends": [2989]}, {"vectors": 10**15}, {"vectors": -1}, {"gammas": [1, 0]}],
)
def test_a_machine_with_odd_parts_is_refused(models, change):
    path = models / "scattering.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"scattering\.(json|safetensors)"):
        read_model(models, "scattering")


@pytest.mark.slow
def test_arrays_that_do_not_fit_the_record_are_refused(models):
    shutil.copy(models / "logreg.safetensors", models / "cnn.safetensors")
    with pytest.raises(InputError, match=r"cnn\.safetensors does not fit its model"):
        read_model(models, "cnn")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "array", "value"),
    [
        ("logreg", "intercept", np.nan),
        ("logreg", "sd", 0.0),
        ("scattering", "dual", np.inf),
        ("scattering", "sd", -1),
    ],
)
def test_weights_and_scales_that_are_no_fit_numbers_are_refused(models, model, array, value):
    arrays, record = read_arrays(models / f"{model}.safetensors")
    arrays[array] = arrays[array].copy()
    arrays[array][0] = value
    write_arrays(models / f"{model}.safetensors", arrays, record)
    with pytest.raises(InputError, match=f"{model}"):
        read_model(models, model)


# Its head fitted anew at one more site ---------------------------------------------------------------------

IMAGES = np.random.default_rng(1).integers(0, 255, (40, 28, 28), dtype=np.uint8)
VIEWS = [View(IMAGES), View(255 - IMAGES)]


@pytest.mark.parametrize("kept", [None, (0.2, 1.3)])
def test_a_stored_logistic_regression_gives_the_risks_of_its_new_head(tmp_path, kept):
    rng = np.random.default_rng(2)
    scaling = PixelScaling(np.full(784, 0.5), np.full(784, 0.3), "train")
    model = LogisticModel(scaling, rng.normal(0, 0.01, 784), 0.1)
    arrays = {"coefficients": model.coefficients, "mean": scaling.mean, "sd": scaling.sd,
              "intercept": np.array([0.1])}  # fmt: skip
    write_model(Stored({"kind": "logreg", "learnt_on": "train"}, arrays), tmp_path, "logreg")
    features = head_features(model, VIEWS)
    head = NewHead(rng.normal(size=40), -0.4, 0.3, kept)
    write_refitted(model, features, head, tmp_path, "logreg")
    again = logistic.read(
        read_record(tmp_path / "logreg.json"), read_arrays(tmp_path / "logreg.safetensors")[0]
    )
    found = np.mean([logit(again.risk(view)) for view in VIEWS], axis=0)
    expected = head_kernel(model, features) @ head.weight + head.intercept
    if kept is not None:
        expected += kept[0] + kept[1] * np.mean([logit(model.risk(view)) for view in VIEWS], axis=0)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kept", [None, (0.0, 1.0)])
def test_a_stored_kernel_machine_gives_the_risks_of_its_new_head(tmp_path, kept):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 6)).astype(np.float32)
    settings = ScatteringSettings(penalty=3.0, sharpness=(1.0, 1.0))
    outcome, group = x[:, 0] > 0, np.arange(60).astype(str)
    machine = svm.fit(x, outcome, group, ends=(3, 6), settings=settings, seed=0)
    model = TransferModel(None, machine)
    write_model(svm.stored(machine), tmp_path, "transfer")
    seen = [rng.normal(size=(20, 6)).astype(np.float32) for _ in range(2)]  # two views of twenty images
    features = [machine.standardised(each) for each in seen]
    head = NewHead(rng.normal(size=20), 0.3, 3.0, kept)
    write_refitted(model, features, head, tmp_path, "transfer")
    record, (arrays, _) = (
        read_record(tmp_path / "transfer.json"), read_arrays(tmp_path / "transfer.safetensors")
    )  # fmt: skip
    assert svm.shapes(record, ends=(3, 6))["dual"] == arrays["dual"].shape
    again = svm.read(record, arrays)
    found = np.mean([logit(again.risk(each)) for each in seen], axis=0)
    expected = head_kernel(model, features) @ head.weight + head.intercept
    if kept is not None:
        expected += np.mean([logit(machine.risk(each)) for each in seen], axis=0)
    assert found == pytest.approx(expected, abs=1e-5)  # support vectors are kept in single precision


# Features standardised by local images --------------------------------------------------------------------


def test_pixels_are_standardised_by_the_images_themselves():
    rng = np.random.default_rng(2)
    scaling = PixelScaling(np.full(784, 0.5), np.full(784, 0.3), "train")
    model = LogisticModel(scaling, rng.normal(0, 0.01, 784), 0.1)
    pixels = IMAGES.reshape(40, 784) / 255
    expected = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0) @ model.coefficients + 0.1
    assert logit(standardised_by(model, IMAGES).risk(View(IMAGES))) == pytest.approx(expected, abs=1e-6)
    darker = (IMAGES * 0.5).astype(np.uint8)
    found = standardised_by(model, darker).risk(View(darker))
    assert found == pytest.approx(expit(expected), abs=0.02)  # a gain that all images share changes little


def test_scattering_features_are_standardised_and_a_network_has_no_scale_of_features():
    x = scattering_features(IMAGES)
    settings = ScatteringSettings(penalty=3.0, sharpness=(1.0, 1.0))
    outcome, group = np.arange(40) % 2 == 0, np.arange(40).astype(str)
    machine = svm.fit(x, outcome, group, ends=ENDS, settings=settings, seed=0)
    other = 255 - IMAGES
    found = standardised_by(ScatteringModel(machine), other)
    assert found.machine.mean == pytest.approx(scattering_features(other).mean(axis=0), abs=1e-4)
    assert found.machine.support_vectors is machine.support_vectors
    assert standardised_by(object(), IMAGES) is None
