"""Scattering features without torch: those that the models learnt from, and what they must do."""

import numpy as np
import pytest

from clineval.models import plain_scattering, scattering
from clineval.models.plain_scattering import plain_scattering_features


def images_of(side: int, count: int = 20) -> np.ndarray:
    return np.random.default_rng(side).integers(0, 256, (count, side, side), dtype=np.uint8)


def test_its_constants_are_those_of_the_features_that_are_learnt_from():
    for name in ("SIDE", "SCALES", "ORIENTATIONS", "WINDOW", "STRIDE", "MARGIN", "FLOOR", "FEATURES"):
        assert getattr(plain_scattering, name) == getattr(scattering, name), name


@pytest.mark.parametrize("side", [28, 64, 130])
def test_the_features_are_those_of_torch(side):
    images = images_of(side)
    found, expected = plain_scattering_features(images), scattering.scattering_features(images)
    assert found.shape == (20, 2989)
    assert found.dtype == np.float32
    # near the floor of 1e-3 the logarithm makes a rounding of 1e-7 a thousand times larger
    np.testing.assert_allclose(found, expected, atol=2e-4)
    np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=1e-6)


def test_one_wavelet_response_is_the_sum_that_a_convolution_is():
    """By hand, pixel by pixel, for one place of one image: the finest wavelet across the image."""
    image = images_of(28, 1)[0] / 255.0
    centred = np.pad(image - image.mean(), 8, mode="reflect")
    row, column, total = 11, 17, 0j
    envelope = {(y, x): np.exp(-(x**2) / (2 * 1.1**2)) for y in (-2, -1, 0, 1, 2) for x in (-2, -1, 0, 1, 2)}
    whole = sum(envelope.values())
    shift = sum(envelope[y, x] * np.cos(2.2 * x) for y, x in envelope) / whole
    for (y, x), weight in envelope.items():
        wave = (np.cos(2.2 * x) - shift) + 1j * np.sin(2.2 * x)
        total += weight / whole * wave * centred[8 + row + y, 8 + column + x]
    found = plain_scattering._modulus((image - image.mean())[None].astype(np.float32), 0)
    assert found[0, 0, row, column] == pytest.approx(abs(total), abs=1e-6)


def test_brightness_changes_the_order_zero_windows_alone():
    images = images_of(28) // 2
    change = np.abs(plain_scattering_features(images + 60) - plain_scattering_features(images))
    assert change.max() < 1e-3


def test_a_constant_image_has_finite_features_and_no_image_has_none():
    assert np.isfinite(plain_scattering_features(np.full((1, 28, 28), 7, np.uint8))).all()
    assert plain_scattering_features(np.zeros((0, 28, 28), np.uint8)).shape == (0, 2989)
