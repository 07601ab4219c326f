"""Any image as the grey square that BreastMNIST's makers would have cut."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from clineval.data.phantom import phantom
from clineval.data.preparation import (
    KINDS,
    SEVERITIES,
    STRENGTHS,
    Unusable,
    box_of,
    check_corruption,
    check_fit,
    corrupt,
    few_levels,
    grey_of,
    grey_of_colour,
    grey_of_deep,
    in_words,
    square,
    square_to_score,
)
from clineval.errors import InputError


def picture(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def saved(image: Image.Image, kind: str = "PNG") -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, format=kind)
    return Image.open(stream)


@pytest.mark.parametrize(("height", "width"), [(383, 274), (274, 383), (90, 90), (91, 60), (60, 93)])
def test_the_square_is_the_middle_of_the_short_side_and_bilinear(height, width):
    image = picture(height, width)
    short = min(height, width)
    top, left = round((height - short) / 2), round((width - short) / 2)
    cut = Image.fromarray(image[top : top + short, left : left + short])
    expected = np.asarray(cut.resize((28, 28), Image.Resampling.BILINEAR))
    assert np.array_equal(square(Image.fromarray(image), side=28), expected)


def test_the_top_square_starts_at_the_upper_edge_and_is_centred_sideways():
    assert box_of(60, 100, fit="top") == (0, 0, 60, 60)
    assert box_of(100, 60, fit="top") == (20, 0, 80, 60)


def test_padding_keeps_the_whole_image_and_puts_black_beside_it():
    image = np.full((100, 60), 200, np.uint8)
    padded = square(Image.fromarray(image), side=100, fit="pad")
    assert padded.shape == (100, 100)
    assert (padded[:, 20:80] == 200).all()
    assert not padded[:, :20].any()
    assert not padded[:, 80:].any()


def test_an_image_of_the_right_size_is_left_as_it_is():
    image = picture(28, 28)
    assert np.array_equal(square(Image.fromarray(image), side=28), image)


def test_an_unknown_fit_is_refused():
    with pytest.raises(InputError, match="fit needs one of crop, top, pad; got 'squash'"):
        check_fit("squash")


def test_colour_becomes_grey_to_the_bit_as_pillow_has_it():
    colour = np.random.default_rng(1).integers(0, 256, (7, 40, 30, 3), dtype=np.uint8)
    expected = np.stack([np.asarray(Image.fromarray(each).convert("L")) for each in colour])
    assert np.array_equal(grey_of_colour(colour), expected)
    extremes = np.array([[[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]]], np.uint8)
    assert grey_of_colour(extremes).ravel().tolist() == [255, 0, 76, 150, 29]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "LA", "CMYK", "YCbCr"])
def test_every_eight_bit_mode_becomes_pillows_grey(mode):
    image = Image.fromarray(picture(20, 30)).convert(mode)
    assert np.array_equal(np.asarray(grey_of(image)), np.asarray(image.convert("L")))


def test_sixteen_bits_are_scaled_by_their_container_and_not_by_the_image():
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        assert np.asarray(grey_of(saved(Image.fromarray(deep), kind))).tolist() == [[0, 1, 128, 255]]


def test_twelve_bits_in_sixteen_are_refused_until_the_bits_are_named():
    deep = np.array([[0, 2048, 4095]], np.uint16)
    with pytest.raises(Unusable, match=r"4,095 of 65,535, nearly black.*12 bits, say bits=12"):
        grey_of(Image.fromarray(deep))
    assert np.asarray(grey_of(Image.fromarray(deep), bits=12)).tolist() == [[0, 128, 255]]


def test_more_bits_than_named_are_refused():
    with pytest.raises(Unusable, match="5,000, more than 12 bits hold"):
        grey_of_deep(np.array([[0, 5000]]), bits=12)


def test_a_black_deep_image_is_black():
    assert not grey_of_deep(np.zeros((3, 3), np.uint16), bits=16).any()


@pytest.mark.parametrize("values", [[[0.0, 0.5]], [[0.0, np.nan]]])
def test_floating_point_grey_is_refused_for_its_white_is_unknown(values):
    image = Image.fromarray(np.array(values, np.float32))
    with pytest.raises(Unusable, match="not whole numbers of 8 or 16 bits"):
        grey_of(image)


def test_thirty_two_bits_are_refused():
    with pytest.raises(Unusable, match="not whole numbers of 8 or 16 bits"):
        grey_of(Image.fromarray(np.array([[0, 70000]], np.int32)))


def test_without_bits_a_deep_image_is_stretched():
    deep = Image.fromarray(np.array([[100, 140, 200]], np.uint16))
    assert np.asarray(grey_of(deep, bits=None)).tolist() == [[0, 102, 255]]
    assert not np.asarray(grey_of(Image.fromarray(np.full((2, 2), 9, np.uint16)), bits=None)).any()


def test_the_preparation_is_told_in_words():
    assert in_words(side=64, fit="pad") == (
        "grey (ITU-R BT.601), whole image with black beside it (--fit pad), bilinear to 64 x 64 pixels"
    )


@pytest.mark.real_data
def test_the_official_smaller_images_follow_from_the_official_larger_ones_within_rounding(real_data_folder):
    """Both were cut from the same source; from 224 the square at 64 differs by interpolation alone."""
    from clineval.data import medmnist

    large = medmnist.load(size=224, folders=[real_data_folder]).images[:20]
    small = medmnist.load(size=64, folders=[real_data_folder]).images[:20]
    made = np.stack([square(Image.fromarray(image), side=64) for image in large])
    assert np.abs(made.astype(int) - small).mean() < 1.0


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


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_picture_with_more_than_marks_on_black_is_kept(share):
    levels = np.zeros((80, 80), np.uint8)
    levels.ravel()[: round(share * levels.size)] = np.random.default_rng(0).integers(
        0, 256, round(share * 6400)
    )
    assert square_to_score(Image.fromarray(levels), side=28).shape == (28, 28)


@pytest.mark.real_data
def test_no_real_image_is_refused_for_its_grey_levels(real_breastmnist):
    for image in real_breastmnist.images:
        assert few_levels(np.bincount(image.ravel(), minlength=256)) == ""
