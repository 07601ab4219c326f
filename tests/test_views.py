"""Grey levels brought to those of the training images."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from clineval.models.views import (
    CHUNK,
    MATCHED,
    MIRRORED,
    ORIGINAL,
    View,
    external_view,
    grey_distance,
    histograms,
    match_mean_and_spread,
    mean_histogram,
)

RANDOM = np.random.default_rng(5)
TRAINING = np.clip(RANDOM.normal(90, 50, (40, 28, 28)), 0, 255).astype(np.uint8)
IMAGES = np.clip(RANDOM.normal(60, 20, (6, 28, 28)), 0, 255).astype(np.uint8)
REFERENCE = mean_histogram(TRAINING)


def test_the_mean_histogram_counts_every_pixel():
    counted = [np.sum(level == TRAINING) / TRAINING.size for level in range(256)]
    np.testing.assert_allclose(REFERENCE, counted, atol=1e-15)
    assert histograms(IMAGES).sum(axis=1) == pytest.approx(1)


def test_a_matched_image_has_the_mean_and_spread_of_the_training_images():
    matched = match_mean_and_spread(IMAGES, REFERENCE).reshape(6, -1).astype(float)
    np.testing.assert_allclose(matched.mean(axis=1), TRAINING.mean(), atol=2)  # some are cut off at black
    np.testing.assert_allclose(matched.std(axis=1), TRAINING.std(), atol=3)


def test_darker_stays_darker_and_gain_and_offset_drop_out():
    matched = match_mean_and_spread(IMAGES, REFERENCE)
    for image, other in zip(IMAGES, matched, strict=True):
        order = np.argsort(image, axis=None, kind="stable")
        assert (np.diff(other.ravel()[order].astype(int)) >= 0).all()
    half = IMAGES // 2
    np.testing.assert_array_equal(
        match_mean_and_spread(half * 2, REFERENCE), match_mean_and_spread(half + 40, REFERENCE)
    )


def test_a_constant_image_becomes_the_references_mean():
    matched = match_mean_and_spread(np.full((1, 28, 28), 3, np.uint8), REFERENCE)
    assert np.unique(matched).tolist() == [round(TRAINING.mean())]


def test_an_image_is_matched_alike_in_any_company():
    alone = np.concatenate([match_mean_and_spread(IMAGES[[row]], REFERENCE) for row in range(6)])
    np.testing.assert_array_equal(match_mean_and_spread(IMAGES, REFERENCE), alone)


def test_no_images_are_matched_to_none():
    assert match_mean_and_spread(IMAGES[:0], REFERENCE).shape == (0, 28, 28)


def test_the_grey_distance_is_wassersteins():
    expected = [wasserstein_distance(image.ravel(), TRAINING.ravel()) for image in IMAGES]
    np.testing.assert_allclose(grey_distance(IMAGES, REFERENCE), expected, rtol=1e-9)


def test_an_external_image_is_seen_once_from_each_side():
    views = {name: external_view(IMAGES, name, REFERENCE) for name in MIRRORED}
    assert views[ORIGINAL].images is IMAGES
    np.testing.assert_array_equal(views[MATCHED].images, match_mean_and_spread(IMAGES, REFERENCE))
    assert [way for view in views.values() for way in view.mirrored] == [False, True]


def test_what_is_computed_is_computed_once_and_shared_with_parts_of_parts():
    calls = []

    def mean(images):
        calls.append(len(images))
        return images.mean(axis=(1, 2))

    whole = View(TRAINING)
    part = whole.take(np.array([30, 3, 5])).take(np.array([2, 0]))
    np.testing.assert_array_equal(part.images, TRAINING[[5, 30]])
    np.testing.assert_array_equal(part.computed(mean), mean(TRAINING)[[5, 30]])
    np.testing.assert_array_equal(whole.computed(mean), mean(TRAINING))
    assert calls == [40, 40, 40]  # twice by this test itself


def test_chunks_are_all_images_in_order():
    images = np.arange(2 * CHUNK + 1, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    chunks = list(View(images, (True,)).chunks())
    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, 1]
    assert {chunk.mirrored for chunk in chunks} == {(True,)}
    np.testing.assert_array_equal(np.concatenate([chunk.images for chunk in chunks]), images)
