"""The images that a report keeps: which, how small, and what they resemble."""

import base64
import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from simulated_results import DRAWS

from clineval.data.phantom import phantom
from clineval.evaluation import evaluate
from clineval.predictions import check_predictions
from clineval.reporting.artefacts import NEAREST, failures, read_gallery, write_gallery
from clineval.reporting.sentences import main_point


@pytest.fixture(scope="module")
def cohort():
    return phantom(cases=(40, 10, 20), seed=2)


@pytest.fixture(scope="module")
def gallery(cohort, tmp_path_factory):
    rng = np.random.default_rng(0)
    columns = {"split": cohort.split, "case": cohort.case, "group": cohort.group, "outcome": cohort.outcome}
    table = check_predictions(pd.DataFrame({"model": "cnn", **columns, "risk": rng.random(len(cohort))}))
    folder = tmp_path_factory.mktemp("gallery")
    write_gallery(folder, cohort=cohort, table=table, evaluation=evaluate(table, draws=DRAWS))
    return folder, table


def test_every_wrong_call_is_kept_with_its_nearest_training_images(gallery, cohort):
    folder, table = gallery
    kept = read_gallery(folder)
    point = main_point(evaluate(table, draws=DRAWS).models["cnn"]["test"])
    wrong = failures(table, point, model="cnn", population="test").cases
    assert set(kept.nearest) <= set(wrong["case"])
    assert set(kept.nearest) >= set(wrong["case"][wrong["outcome"] == 1])
    train = set(cohort.case[cohort.within("train")])
    for found in kept.nearest.values():
        assert len(found) == NEAREST
        assert {each["case"] for each in found} <= train
        assert [each["similarity"] for each in found] == sorted(
            (e["similarity"] for e in found), reverse=True
        )


def test_an_image_of_28_pixels_is_kept_as_it_is(gallery, cohort):
    kept = read_gallery(gallery[0])
    case, text = next(iter(kept.images.items()))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    np.testing.assert_array_equal(picture, cohort.images[list(cohort.case).index(case)])


def test_a_folder_without_images_has_an_empty_gallery(tmp_path):
    assert read_gallery(tmp_path).images == {}


def test_the_file_is_strict_json(gallery):
    text = (gallery[0] / "gallery.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["schema"] == 1
