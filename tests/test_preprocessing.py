"""Scaling is learnt on training only; augmentation is a function of its generator."""

import numpy as np
import pytest
import torch

from clineval.errors import InputError
from clineval.models import preprocessing
from clineval.models.preprocessing import augment, learn_grey_scaling, learn_pixel_scaling, scale_grey

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 20, 24), dtype=np.uint8)


def test_grey_scaling_takes_mean_and_spread_of_all_pixels():
    scaling = learn_grey_scaling(IMAGES, learnt_on="train")
    assert scaling.mean == pytest.approx((IMAGES / 255).mean())
    assert scaling.sd == pytest.approx((IMAGES / 255).std())
    assert scaling.learnt_on == "train"


def test_scaled_training_images_have_mean_zero_and_spread_one():
    scaled = scale_grey(IMAGES, learn_grey_scaling(IMAGES, learnt_on="train"))
    assert scaled.shape == (40, 1, 20, 24)
    assert scaled.dtype == torch.float32
    assert float(scaled.mean()) == pytest.approx(0, abs=1e-5)
    assert float(scaled.std()) == pytest.approx(1, abs=1e-3)


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


def test_values_that_are_not_finite_after_scaling_are_refused():
    with pytest.raises(InputError, match="1 of 3 are NaN or infinite"):
        preprocessing.finite(np.array([0.0, np.nan, 1.0]))


def test_images_too_small_for_the_network_are_refused():
    with pytest.raises(InputError, match="at least 16 x 16 pixels are needed to learn from; came 12 x 28"):
        preprocessing.check_images(np.zeros((3, 12, 28), dtype=np.uint8))


def test_the_same_generator_state_gives_the_same_augmentation():
    images = torch.from_numpy(IMAGES[:, None].astype(np.float32))
    first, again = (augment(images, shift=2, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(images, shift=2, generator=torch.Generator().manual_seed(4)))


def test_augmentation_only_mirrors_and_moves_with_reflected_borders():
    images = torch.from_numpy(IMAGES[:, None].astype(np.float32))
    moved = augment(images, shift=2, generator=torch.Generator().manual_seed(0)).numpy()[:, 0]
    for image, variant in zip(IMAGES.astype(np.float32), moved, strict=True):
        assert any(np.array_equal(variant, candidate) for candidate in _all_variants(image, 2))


def test_without_a_shift_half_of_the_images_are_mirrored():
    images = torch.from_numpy(np.tile(IMAGES, (25, 1, 1))[:, None].astype(np.float32))
    moved = augment(images, shift=0, generator=torch.Generator().manual_seed(0))
    mirrored = (moved == images.flip(3)).flatten(1).all(1)
    assert 430 < int(mirrored.sum()) < 570


def test_shrinking_averages_whole_blocks():
    images = np.repeat(np.repeat(IMAGES[:, :14, :14], 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(preprocessing.shrink(images, 14), IMAGES[:, :14, :14] / 255, atol=1e-6)


def _all_variants(image, shift):
    height, width = image.shape
    padded = np.pad(image, shift, mode="reflect")
    for down in range(2 * shift + 1):
        for right in range(2 * shift + 1):
            part = padded[down : down + height, right : right + width]
            yield part
            yield part[:, ::-1]


def test_larger_images_are_averaged_down_before_logistic_regression_sees_them():
    images = np.kron(np.arange(784).reshape(1, 28, 28) % 251, np.ones((1, 8, 8))).astype(np.uint8)
    pixels = preprocessing.flatten(images)
    assert pixels.shape == (1, 28 * 28)
    np.testing.assert_allclose(pixels[0] * 255, np.arange(784) % 251, atol=1e-3)
    assert preprocessing.flatten(IMAGES).shape == (40, 20 * 24)


def test_averaging_down_does_not_depend_on_the_company():
    many = np.random.default_rng(1).integers(0, 256, (preprocessing.PART + 3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(preprocessing.shrink(many, 28)[-2:], preprocessing.shrink(many[-2:], 28))
