"""Grey levels brought to those of the training images: by a naive count of pixels, and by its laws."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from clineval.learning.matching import (
    MATCHED,
    grey_distance,
    histograms,
    match_grey_levels,
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


def test_each_grey_level_goes_where_the_reference_has_as_many_pixels_below_it():
    """Naively: the training pixels in order, and each image pixel put at its mid-rank among its own."""
    image = IMAGES[0]
    ordered = np.sort(TRAINING.ravel())
    matched = match_grey_levels(IMAGES[:1], REFERENCE)[0]
    for level in np.unique(image):
        below = (np.sum(image < level) + np.sum(image == level) / 2) / image.size
        wanted = ordered[min(int(below * len(ordered)), len(ordered) - 1)]
        assert abs(int(matched[image == level][0]) - int(wanted)) <= 1


def test_a_matched_image_has_about_the_grey_levels_of_the_training_images():
    before, after = (
        grey_distance(each, REFERENCE) for each in (IMAGES, match_grey_levels(IMAGES, REFERENCE))
    )
    assert before.min() > 20
    assert after.max() < 2


def test_darker_stays_darker_and_gain_and_offset_drop_out():
    matched = match_grey_levels(IMAGES, REFERENCE)
    for image, other in zip(IMAGES, matched, strict=True):
        order = np.argsort(image, axis=None, kind="stable")
        assert (np.diff(other.ravel()[order].astype(int)) >= 0).all()
    np.testing.assert_array_equal(
        match_grey_levels(IMAGES // 2 * 2 // 2 + 40, REFERENCE), match_grey_levels(IMAGES // 2, REFERENCE)
    )


def test_a_constant_image_becomes_the_references_median():
    matched = match_grey_levels(np.full((1, 28, 28), 3, np.uint8), REFERENCE)
    assert abs(int(matched[0, 0, 0]) - np.median(TRAINING)) <= 1
    assert np.ptp(matched) == 0


def test_an_image_is_matched_alike_in_any_company():
    alone = np.concatenate([match_grey_levels(IMAGES[[row]], REFERENCE) for row in range(6)])
    np.testing.assert_array_equal(match_grey_levels(IMAGES, REFERENCE), alone)


def test_no_images_are_matched_to_none():
    assert match_grey_levels(IMAGES[:0], REFERENCE).shape == (0, 28, 28)


def test_the_grey_distance_is_wassersteins():
    expected = [wasserstein_distance(image.ravel(), TRAINING.ravel()) for image in IMAGES]
    np.testing.assert_allclose(grey_distance(IMAGES, REFERENCE), expected, rtol=1e-9)


def test_wavelet_features_are_left_out_of_the_matching():
    assert "scattering" not in MATCHED
