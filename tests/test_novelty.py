"""How unlike the training images an image is: against the full Gaussian density, and by its laws."""

import math
from dataclasses import replace

import numpy as np
import pytest

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models.novelty import DIRECTIONS, distance, learn_novelty
from clineval.models.scattering import scattering_features
from clineval.models.views import View, mean_histogram


@pytest.fixture(scope="module")
def cohort():
    return phantom(3, cases=(120, 100, 40))


@pytest.fixture(scope="module")
def known(cohort):
    train, validation = (cohort.images[cohort.within(name)] for name in ("train", "val"))
    return learn_novelty(train, validation, grey=mean_histogram(train))


def test_the_texture_distance_is_mahalanobis_under_the_model_of_principal_components(cohort, known):
    """The covariance written out in full and solved for, which the code never does."""
    train = scattering_features(cohort.images[cohort.within("train")]).astype(np.float64)
    standard = (train - train.mean(axis=0)) / np.where(train.std(axis=0) > 0, train.std(axis=0), 1)
    spread, axes = np.linalg.svd(standard, full_matrices=False)[1:]
    variance, kept, features = spread**2 / len(standard), axes[:DIRECTIONS], standard.shape[1]
    noise = variance[DIRECTIONS:].sum() / (features - DIRECTIONS)
    covariance = noise * np.eye(features) + kept.T @ np.diag(variance[:DIRECTIONS] - noise) @ kept
    images = cohort.images[cohort.within("test")][:6]
    new = (scattering_features(images) - train.mean(axis=0)) / np.where(
        train.std(axis=0) > 0, train.std(axis=0), 1
    )
    expected = np.sqrt((new * np.linalg.solve(covariance, new.T).T).sum(axis=1) / features)
    np.testing.assert_allclose(distance(known, View(images)).texture, expected, rtol=1e-3)


def test_training_images_lie_about_one_away_and_one_validation_image_in_a_hundred_beyond(cohort, known):
    train, validation = (View(cohort.images[cohort.within(name)]) for name in ("train", "val"))
    assert np.sqrt(np.mean(distance(known, train).texture ** 2)) == pytest.approx(1, abs=0.05)
    far = distance(known, validation)
    assert np.sum(far.texture > known.texture_limit) <= 1
    assert np.sum(far.grey > known.grey_limit) <= 1


def test_noise_stripes_and_a_black_image_are_unlike_and_other_phantoms_are_not(cohort, known):
    random = np.random.default_rng(0)
    strange = np.stack(
        [
            random.integers(0, 256, (28, 28)),
            np.tile([0, 255], (28, 14)),
            np.zeros((28, 28)),
        ]
    ).astype(np.uint8)
    assert distance(known, View(strange)).unlike.all()
    assert distance(known, View(cohort.images[cohort.within("test")])).unlike.mean() < 0.15


def test_without_validation_images_nothing_is_called_unlike(cohort):
    train = cohort.images[cohort.within("train")]
    known = learn_novelty(train, train[:0], grey=mean_histogram(train))
    assert np.isnan(known.texture_limit)
    assert np.isnan(known.grey_limit)
    assert not distance(known, View(np.zeros((2, 28, 28), np.uint8))).unlike.any()


def test_a_distance_does_not_depend_on_the_images_beside_it(cohort, known):
    images = cohort.images[cohort.within("test")]
    whole = distance(known, View(images))
    for row in (0, 17, 39):
        assert distance(known, View(images[[row]])).texture[0] == whole.texture[row]


def test_a_distance_that_is_not_a_number_is_refused_not_called_like(cohort, known):
    broken = replace(known, noise=math.nan)
    with pytest.raises(InputError, match="NaN or infinite"):
        distance(broken, View(cohort.images[:3]))
