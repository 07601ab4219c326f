"""Scattering features: their number, their invariances, a slow reference."""

import numpy as np
import pytest
from scipy.ndimage import convolve

from clineval.models import scattering
from clineval.models.scattering import FEATURES, scattering_features

IMAGES = np.random.default_rng(3).integers(0, 256, (70, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def features():
    return scattering_features(IMAGES)


def test_there_are_2989_features_an_image(features):
    assert features.shape == (70, FEATURES)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_the_same_image_has_the_same_features_in_any_company(features):
    assert np.array_equal(scattering_features(IMAGES[66:67])[0], features[66])


def test_brightness_alone_does_not_change_them():
    dim = IMAGES[:3] // 2
    np.testing.assert_allclose(scattering_features(dim + 100), scattering_features(dim), atol=2e-2)


def test_a_first_order_map_agrees_with_a_plain_convolution(features):
    image = IMAGES[0] / 255 - (IMAGES[0] / 255).mean()
    modulus = np.hypot(*(convolve(image, kernel, mode="mirror") for kernel in _wavelet(scale=1, turn=2)))
    padded = np.pad(modulus, 2, mode="reflect")
    windows = [padded[4 * r : 4 * r + 8, 4 * c : 4 * c + 8].mean() for r in range(7) for c in range(7)]
    place = 1 + scattering.ORIENTATIONS * 1 + 2
    ours = features[0].reshape(61, 49)[place]
    np.testing.assert_allclose(ours, np.log(np.array(windows) + scattering.FLOOR), atol=1e-4)


def test_every_wavelet_ignores_a_constant():
    for scale in range(scattering.SCALES):
        assert abs(float(scattering._wavelets(scale).sum(dim=(1, 2, 3)).abs().max())) < 1e-5


def test_larger_images_are_averaged_down_first(features):
    larger = np.repeat(np.repeat(IMAGES[:2], 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(scattering_features(larger), features[:2], atol=1e-3)


def _wavelet(*, scale, turn):
    """Real and imaginary part, written out cell by cell; scipy's convolve turns its kernel round."""
    half, sigma, frequency = 2 ** (scale + 1), 1.1 * 2**scale, 2.2 / 2**scale
    angle = np.pi * turn / 4
    real, imaginary, weight = (np.zeros((2 * half + 1,) * 2) for _ in range(3))
    for y in range(-half, half + 1):
        for x in range(-half, half + 1):
            u = x * np.cos(angle) + y * np.sin(angle)
            weight[y + half, x + half] = np.exp(-(u * u) / (2 * sigma**2))
            real[y + half, x + half] = np.cos(frequency * u)
            imaginary[y + half, x + half] = np.sin(frequency * u)
    weight /= weight.sum()
    return (weight * (real - (weight * real).sum()))[::-1, ::-1], (weight * imaginary)[::-1, ::-1]
