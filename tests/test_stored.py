"""Stored models without torch: the risks of those with it, and refusals of what is no model."""

import json
import shutil

import numpy as np
import pytest

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models import stored
from clineval.models.stored import View, mean_of, read_plain_model

MODELS = ("logreg", "cnn", "scattering")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images():
    return phantom(seed=9, cases=(20, 10, 40)).images


@pytest.fixture
def models(finished_run, tmp_path):
    """The stored models, to be spoilt."""
    return shutil.copytree(finished_run / "models", tmp_path / "models")


@pytest.mark.parametrize("name", MODELS)
def test_a_stored_model_gives_the_risks_that_torch_gives(finished_run, images, name):
    plain, size = read_plain_model(finished_run / "models", name)
    expected = stored.predict(stored.load_model(finished_run / "models", name), images)
    assert size == (28, 28)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(plain.risk(View(images)), expected, atol=1e-6)


def test_the_mean_of_risks_is_taken_on_the_logit_scale():
    one, other = np.array([0.2, 0.5, 0.9]), np.array([0.2, 0.8, 0.99])
    odds = np.sqrt(one / (1 - one) * other / (1 - other))
    np.testing.assert_allclose(mean_of([one, other]), odds / (1 + odds), rtol=1e-12)
    assert mean_of([one]) is one


@pytest.mark.parametrize("name", MODELS)
def test_a_missing_record_and_missing_arrays_are_refused(models, name):
    (models / f"{name}.safetensors").unlink()
    with pytest.raises(InputError, match=f"{name}.safetensors"):
        read_plain_model(models, name)
    (models / f"{name}.json").unlink()
    with pytest.raises(InputError, match="Train with: clineval run"):
        read_plain_model(models, name)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"kind": "oracle"},
        {"image": [28]},
        {"image": "large"},
        {"members": None},
        {"architecture": "another"},
    ],
)
def test_a_record_of_another_kind_is_refused(models, change):
    path = models / "cnn.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"cnn\.json is not"):
        read_plain_model(models, "cnn")


def test_arrays_that_do_not_fit_the_record_are_refused(models):
    shutil.copy(models / "logreg.safetensors", models / "cnn.safetensors")
    with pytest.raises(InputError, match=r"cnn\.safetensors"):
        read_plain_model(models, "cnn")


def test_a_record_that_is_no_json_is_refused(models):
    (models / "logreg.json").write_text("[1, 2")
    with pytest.raises(InputError, match="not the record of a model"):
        read_plain_model(models, "logreg")
