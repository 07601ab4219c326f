"""Images to numbers: scaling is learnt on training only, larger images are averaged down."""

import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from clineval.errors import InputError
from clineval.models import preprocessing
from clineval.models.preprocessing import (
    CHUNK,
    MATCHED,
    MIRRORED,
    ORIGINAL,
    View,
    external_view,
    grey_distance,
    histograms,
    learn_grey_scaling,
    learn_pixel_scaling,
    match_mean_and_spread,
    mean_histogram,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 20, 24), dtype=np.uint8)


def test_grey_scaling_takes_mean_and_spread_of_all_pixels():
    scaling = learn_grey_scaling(IMAGES, learnt_on="train")
    assert scaling.mean == pytest.approx((IMAGES / 255).mean())
    assert scaling.sd == pytest.approx((IMAGES / 255).std())
    assert scaling.learnt_on == "train"


def test_pixel_scaling_agrees_with_scikit_learn():
    from sklearn.preprocessing import StandardScaler

    ours = preprocessing.scale_pixels(IMAGES, learn_pixel_scaling(IMAGES[:30], learnt_on="train"))
    flat = IMAGES.reshape(40, -1) / 255
    np.testing.assert_allclose(ours, StandardScaler().fit(flat[:30]).transform(flat), atol=1e-12)


def test_a_pixel_that_never_varies_stays_at_zero():
    images = IMAGES.copy()
    images[:, 0, 0] = 7
    scaled = preprocessing.scale_pixels(images, learn_pixel_scaling(images, learnt_on="train"))
    assert not scaled[:, 0].any()


@pytest.mark.parametrize("learn", [learn_grey_scaling, learn_pixel_scaling])
def test_constant_images_are_refused(learn):
    with pytest.raises(InputError, match=r"those of train are constant \(standard deviation 0\)"):
        learn(np.full((5, 28, 28), 9, dtype=np.uint8), learnt_on="train")


def test_images_too_small_for_the_network_are_refused():
    with pytest.raises(InputError, match="at least 16 x 16 pixels to learn from, got 12 x 28"):
        preprocessing.check_images(np.zeros((3, 12, 28), dtype=np.uint8))


def test_shrinking_averages_whole_blocks():
    small = np.random.default_rng(1).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    images = np.repeat(np.repeat(small, 2, axis=1), 3, axis=2)
    np.testing.assert_allclose(preprocessing.shrink(images), small / 255, atol=1e-6)


def test_a_pixel_of_a_shrunk_image_is_the_mean_over_the_pixels_that_its_cell_touches():
    image = np.random.default_rng(2).integers(0, 256, (1, 45, 33), dtype=np.uint8)
    small = preprocessing.shrink(image)[0]
    for row, column in ((0, 0), (7, 13), (27, 27)):
        rows = slice(math.floor(row * 45 / 28), math.ceil((row + 1) * 45 / 28))
        columns = slice(math.floor(column * 33 / 28), math.ceil((column + 1) * 33 / 28))
        assert small[row, column] == pytest.approx(image[0, rows, columns].mean() / 255, abs=1e-6)


def test_larger_images_are_averaged_down_before_logistic_regression_sees_them():
    images = np.kron(np.arange(784).reshape(1, 28, 28) % 251, np.ones((1, 8, 8))).astype(np.uint8)
    pixels = preprocessing.flatten(images)
    assert pixels.shape == (1, 28 * 28)
    np.testing.assert_allclose(pixels[0] * 255, np.arange(784) % 251, atol=1e-3)
    assert preprocessing.flatten(IMAGES).shape == (40, 20 * 24)


def test_averaging_down_does_not_depend_on_the_company():
    many = np.random.default_rng(1).integers(
        0, 256, (preprocessing.AVERAGED_AT_ONCE + 3, 32, 32), dtype=np.uint8
    )
    np.testing.assert_array_equal(preprocessing.shrink(many)[-2:], preprocessing.shrink(many[-2:]))


RANDOM = np.random.default_rng(5)
TRAINING = np.clip(RANDOM.normal(90, 50, (40, 28, 28)), 0, 255).astype(np.uint8)
GREY_IMAGES = np.clip(RANDOM.normal(60, 20, (6, 28, 28)), 0, 255).astype(np.uint8)
REFERENCE = mean_histogram(TRAINING)


def test_the_mean_histogram_counts_every_pixel():
    counted = [np.sum(level == TRAINING) / TRAINING.size for level in range(256)]
    np.testing.assert_allclose(REFERENCE, counted, atol=1e-15)
    assert histograms(GREY_IMAGES).sum(axis=1) == pytest.approx(1)


def test_a_matched_image_has_the_mean_and_spread_of_the_training_images():
    matched = match_mean_and_spread(GREY_IMAGES, REFERENCE).reshape(6, -1).astype(float)
    np.testing.assert_allclose(matched.mean(axis=1), TRAINING.mean(), atol=2)  # some are cut off at black
    np.testing.assert_allclose(matched.std(axis=1), TRAINING.std(), atol=3)


def test_darker_stays_darker_and_gain_and_offset_drop_out():
    matched = match_mean_and_spread(GREY_IMAGES, REFERENCE)
    for image, other in zip(GREY_IMAGES, matched, strict=True):
        order = np.argsort(image, axis=None, kind="stable")
        assert (np.diff(other.ravel()[order].astype(int)) >= 0).all()
    half = GREY_IMAGES // 2
    np.testing.assert_array_equal(
        match_mean_and_spread(half * 2, REFERENCE), match_mean_and_spread(half + 40, REFERENCE)
    )


def test_a_constant_image_becomes_the_references_mean():
    matched = match_mean_and_spread(np.full((1, 28, 28), 3, np.uint8), REFERENCE)
    assert np.unique(matched).tolist() == [round(TRAINING.mean())]


def test_an_image_is_matched_alike_in_any_company():
    alone = np.concatenate([match_mean_and_spread(GREY_IMAGES[[row]], REFERENCE) for row in range(6)])
    np.testing.assert_array_equal(match_mean_and_spread(GREY_IMAGES, REFERENCE), alone)


def test_no_images_are_matched_to_none():
    assert match_mean_and_spread(GREY_IMAGES[:0], REFERENCE).shape == (0, 28, 28)


def test_the_grey_distance_is_wassersteins():
    expected = [wasserstein_distance(image.ravel(), TRAINING.ravel()) for image in GREY_IMAGES]
    np.testing.assert_allclose(grey_distance(GREY_IMAGES, REFERENCE), expected, rtol=1e-9)


def test_an_external_image_is_seen_once_from_each_side():
    views = {name: external_view(GREY_IMAGES, name, REFERENCE) for name in MIRRORED}
    assert views[ORIGINAL].images is GREY_IMAGES
    np.testing.assert_array_equal(views[MATCHED].images, match_mean_and_spread(GREY_IMAGES, REFERENCE))
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
