"""Scattering features: their number, their invariances, a slow reference."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import convolve

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models import scattering
from clineval.models.preprocessing import View, mean_histogram
from clineval.models.scattering import DIRECTIONS, FEATURES, distance, learn_novelty, scattering_features

IMAGES = np.random.default_rng(3).integers(0, 256, (70, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def features():
    return scattering_features(IMAGES)


def test_there_are_2989_features_an_image(features):
    assert features.shape == (70, FEATURES)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_the_same_image_has_the_same_features_in_any_company(features):
    for row in (0, 3, 66, 69):
        assert np.array_equal(scattering_features(IMAGES[row : row + 1])[0], features[row])
    assert np.array_equal(scattering_features(IMAGES[::-1])[::-1], features)


def test_brightness_alone_does_not_change_them():
    dim = IMAGES[:3] // 2
    np.testing.assert_allclose(scattering_features(dim + 100), scattering_features(dim), atol=2e-2)


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("scale", range(3))
def test_first_order_maps_agree_with_a_plain_convolution(features, scale, turn):
    image = IMAGES[0] / 255 - (IMAGES[0] / 255).mean()
    expected = log_windows(modulus_of(image, scale=scale, turn=turn))
    place = 1 + scattering.ORIENTATIONS * scale + turn
    # near the floor of 1e-3 the logarithm makes a rounding of 1e-7 a thousand times larger
    np.testing.assert_allclose(features[0].reshape(61, 49)[place], expected, atol=2e-4)


@pytest.mark.parametrize(("fine", "coarse", "start"), [(0, 1, 13), (0, 2, 29), (1, 2, 45)])
def test_second_order_maps_are_coarser_wavelets_of_first_order_ones(features, fine, coarse, start):
    image = IMAGES[1] / 255 - (IMAGES[1] / 255).mean()
    for first, second in ((0, 1), (1, 3), (3, 2), (2, 0)):
        inner = modulus_of(image, scale=fine, turn=first)
        expected = log_windows(modulus_of(inner, scale=coarse, turn=second))
        found = features[1].reshape(61, 49)[start + 4 * first + second]
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_order_zero_is_the_image_less_its_mean(features):
    image = IMAGES[2] / 255 - (IMAGES[2] / 255).mean()
    np.testing.assert_allclose(features[2].reshape(61, 49)[0], log_windows(image), atol=2e-4)


def test_every_wavelet_ignores_a_constant():
    for scale in range(scattering.SCALES):
        for turn in range(scattering.ORIENTATIONS):
            assert abs(scattering._wavelet(scale, np.pi * turn / scattering.ORIENTATIONS).sum()) < 1e-5


def test_larger_images_are_averaged_down_first(features):
    larger = np.repeat(np.repeat(IMAGES[:2], 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(scattering_features(larger), features[:2], atol=1e-3)


def test_one_wavelet_response_is_the_sum_that_a_convolution_is():
    """By hand, pixel by pixel, for one place of one image: the finest wavelet across the image."""
    image = IMAGES[0] / 255.0
    centred = np.pad(image - image.mean(), 8, mode="reflect")
    row, column, total = 11, 17, 0j
    envelope = {(y, x): np.exp(-(x**2) / (2 * 1.1**2)) for y in (-2, -1, 0, 1, 2) for x in (-2, -1, 0, 1, 2)}
    whole = sum(envelope.values())
    shift = sum(envelope[y, x] * np.cos(2.2 * x) for y, x in envelope) / whole
    for (y, x), weight in envelope.items():
        wave = (np.cos(2.2 * x) - shift) + 1j * np.sin(2.2 * x)
        total += weight / whole * wave * centred[8 + row + y, 8 + column + x]
    found = scattering._modulus((image - image.mean())[None].astype(np.float32), 0)
    assert found[0, 0, row, column] == pytest.approx(abs(total), abs=1e-6)


def test_a_constant_image_has_finite_features_and_no_image_has_none():
    assert np.isfinite(scattering_features(np.full((1, 28, 28), 7, np.uint8))).all()
    assert scattering_features(np.zeros((0, 28, 28), np.uint8)).shape == (0, 2989)


def modulus_of(image, *, scale, turn):
    return np.hypot(*(convolve(image, kernel, mode="mirror") for kernel in _wavelet(scale=scale, turn=turn)))


def log_windows(maps):
    padded = np.pad(maps, 2, mode="reflect")
    windows = [padded[4 * r : 4 * r + 8, 4 * c : 4 * c + 8].mean() for r in range(7) for c in range(7)]
    return np.log(np.abs(windows) + scattering.FLOOR)


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


@pytest.fixture(scope="module")
def cohort():
    return phantom(3, cases=(120, 100, 40))


@pytest.fixture(scope="module")
def known(cohort):
    train, validation = (cohort.images[cohort.within(name)] for name in ("train", "val"))
    return learn_novelty(train, validation, grey=mean_histogram(train))


@pytest.mark.slow
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


@pytest.mark.slow
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
