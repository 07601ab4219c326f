"""Corruptions of ultrasound: seeded, growing with severity, the same in parts and whole."""

import hashlib

import numpy as np
import pytest

from clineval.data.corruptions import KINDS, SEVERITIES, STRENGTHS, check_corruption, corrupt
from clineval.data.phantom import phantom
from clineval.errors import InputError


@pytest.fixture(scope="module")
def images():
    return phantom(seed=0, cases=(60, 10, 10)).images[:24]


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_keeps_shape_and_type_and_leaves_the_original_alone(images, kind):
    before = hashlib.sha256(images.tobytes()).hexdigest()
    after = corrupt(images, kind, 3, seed=1)
    assert after.shape == images.shape
    assert after.dtype == np.uint8
    assert hashlib.sha256(images.tobytes()).hexdigest() == before
    assert not np.array_equal(after, images)


@pytest.mark.parametrize("kind", KINDS)
def test_each_severity_changes_the_images_more_than_the_one_before(images, kind):
    change = [
        np.abs(corrupt(images, kind, severity, seed=0).astype(int) - images).mean() for severity in SEVERITIES
    ]
    assert change == sorted(change)
    assert change[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_every_pixel_and_a_part_is_corrupted_as_within_the_whole(images, kind):
    whole = corrupt(images, kind, 4, seed=7)
    assert np.array_equal(whole, corrupt(images, kind, 4, seed=7))
    assert np.array_equal(whole[:5], corrupt(images[:5], kind, 4, seed=7))


@pytest.mark.parametrize("kind", ["speckle", "brightness", "contrast"])
def test_another_seed_gives_another_corruption_where_chance_has_a_part(images, kind):
    assert not np.array_equal(corrupt(images, kind, 3, seed=0), corrupt(images, kind, 3, seed=1))


def test_brightness_moves_grey_levels_by_its_strength_up_or_down():
    flat = np.full((40, 16, 16), 128, np.uint8)
    moved = corrupt(flat, "brightness", 2).astype(int) - 128
    assert set(np.unique(moved)) == {-24, 24}


def test_contrast_keeps_the_mean_and_widens_or_narrows_the_spread():
    image = np.tile(np.array([110, 146], np.uint8), (40, 16, 8))
    spread = np.ptp(corrupt(image, "contrast", 3).astype(int), axis=(1, 2))
    assert set(spread) == {54, 24}  # 36 times or over 1.5


def test_pixelation_makes_blocks():
    image = np.arange(28 * 28, dtype=np.uint32).reshape(1, 28, 28).astype(np.uint8)
    blocks = corrupt(image, "pixelation", 3)[0].reshape(14, 2, 14, 2)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_speckle_leaves_black_black_and_grows_with_brightness(images):
    assert not corrupt(np.zeros((2, 28, 28), np.uint8), "speckle", 5).any()
    dark, bright = (corrupt(np.full((20, 28, 28), grey, np.uint8), "speckle", 3) for grey in (40, 120))
    assert bright.std() / dark.std() == pytest.approx(3, rel=0.1)
    assert bright.std() == pytest.approx(120 * STRENGTHS["speckle"][2], rel=0.05)


def test_blur_grows_with_the_image():
    small, large = np.zeros((1, 28, 28), np.uint8), np.zeros((1, 112, 112), np.uint8)
    small[0, :, 14:], large[0, :, 56:] = 255, 255
    edge = corrupt(small, "blur", 3)[0, 14]
    assert np.allclose(corrupt(large, "blur", 3)[0, 56, 2::4], edge, atol=15)  # a quarter of a pixel apart


@pytest.mark.parametrize(
    ("kind", "severity", "message"),
    [("fog", 1, "one of speckle, .*got 'fog'"), ("blur", 0, "from 1 to 5; got 0"), ("blur", 6, "got 6")],
)
def test_an_unknown_kind_or_severity_is_refused(kind, severity, message):
    with pytest.raises(InputError, match=message):
        check_corruption(kind, severity)
    with pytest.raises(InputError):
        corrupt(np.zeros((1, 16, 16), np.uint8), kind, severity)
