"""Stored models read back: what they need, what is refused, and that every risk is a number from 0 to 1."""

import json
import shutil

import numpy as np
import pytest

from clineval.errors import InputError
from clineval.models.classifier import COMBINED, KINDS, checked_risk, mean_of, read_model, risk_of
from clineval.models.preprocessing import CHUNK, ORIGINAL, View
from clineval.models.stored import read_arrays, write_arrays
from clineval.settings import TrainingSettings

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
