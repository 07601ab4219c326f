"""Images to numbers: scaling is learnt on training only, larger images are averaged down."""

import math

import numpy as np
import pytest

from clineval.errors import InputError
from clineval.models import preprocessing
from clineval.models.preprocessing import learn_grey_scaling, learn_pixel_scaling

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
    many = np.random.default_rng(1).integers(0, 256, (preprocessing.PART + 3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(preprocessing.shrink(many)[-2:], preprocessing.shrink(many[-2:]))
