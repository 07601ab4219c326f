"""Larger images: the same models by rule, stored and read back alike."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clineval.data.phantom import phantom
from clineval.models.classifier import read_model, risk_of
from clineval.models.ensemble import train_models
from clineval.models.preprocessing import View
from clineval.models.stored import write_model
from clineval.settings import LogisticSettings, NetworkSettings, TrainingSettings

SMALL = phantom(3, cases=(60, 20, 10))
QUICK = TrainingSettings(
    members=2,
    network=NetworkSettings(epochs=1, batch=16),
    logistic=LogisticSettings(strengths=(1e-3,), folds=2),
)


@pytest.mark.slow
@pytest.mark.parametrize("side", [64, 128, 224])
def test_every_model_trains_is_stored_and_read_back_with_the_same_risks(side, tmp_path):
    larger = np.stack([np.asarray(Image.fromarray(image).resize((side, side))) for image in SMALL.images])
    cohort = replace(SMALL, images=larger)
    for model in train_models(cohort, settings=QUICK, jobs=1):
        write_model(model.stored, tmp_path, model.kind)
        read = read_model(tmp_path, model.kind)
        assert read.image == (side, side)
        np.testing.assert_array_equal(risk_of(read.classifier, View(larger)), model.risk)


def test_weights_do_not_grow_with_the_image():
    from clineval.models.network_training import build_network, parameters_of

    assert parameters_of(build_network(224, 224, seed=0)) < 1.3 * parameters_of(build_network(28, 28, seed=0))
