"""Larger images: the same models by rule, stored and applied without torch alike."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clineval.data.phantom import phantom
from clineval.models.ensemble import MODELS, load_model, predict, save_model, train_models
from clineval.models.stored import View, read_plain_model
from clineval.settings import LogisticSettings, NetworkSettings, TrainingSettings

SMALL = phantom(3, cases=(60, 20, 10))
QUICK = TrainingSettings(
    members=2,
    network=NetworkSettings(epochs=1, batch=16),
    logistic=LogisticSettings(strengths=(1e-3,), folds=2),
)


@pytest.mark.slow
@pytest.mark.parametrize("side", [64, 128, 224])
def test_every_model_trains_is_stored_and_predicts_alike_with_and_without_torch(side, tmp_path):
    larger = np.stack([np.asarray(Image.fromarray(image).resize((side, side))) for image in SMALL.images])
    cohort = replace(SMALL, images=larger)
    for model in train_models(cohort, settings=QUICK, names=MODELS, jobs=1):
        save_model(model, tmp_path)
        np.testing.assert_array_equal(predict(load_model(tmp_path, model.name), larger), model.risk)
        plain, size = read_plain_model(tmp_path, model.name)
        assert size == (side, side)
        np.testing.assert_allclose(plain.risk(View(larger)), model.risk, atol=1e-5)


def test_weights_do_not_grow_with_the_image():
    from clineval.models.network import build_network, parameters_of

    assert parameters_of(build_network(224, 224, seed=0)) < 1.3 * parameters_of(build_network(28, 28, seed=0))
