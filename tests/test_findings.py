"""Findings: marks burnt into pictures, and the quantities of pictures that should not matter."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from clineval.data import findings
from clineval.data.findings import QUANTITIES, bears_marks, file_quantities, marked_images, picture_quantities
from clineval.data.own_images import read_own_images

MARKED = ("0004-l", "0020-r", "0048-l", "0060-r", "0120-l", "0132-l", "0188-l", "0272-r", "0484-l", "0532-l",
          "0616-l", "0740-s", "0772-s", "0848-r", "0980-r", "1016-r", "1064-l")  # fmt: skip
UNMARKED = ("0028-r", "0044-r", "0068-r", "0124-r", "0144-r", "0156-l", "0176-r", "0192-l", "0232-r",
            "0288-l", "0296-r", "0852-s", "0856-l", "0976-r")  # fmt: skip


@pytest.fixture(scope="module")
def tissue():
    """Speckle smeared sideways, as a beam smears it, with a bright layer across: 300 x 260 pixels."""
    noise = np.random.default_rng(0).normal(0, 1, (300, 260))
    speckle = gaussian_filter(noise, (1.0, 3.0))
    grey = 70 + 25 * speckle / speckle.std()
    grey[120:123] += 120
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def with_text(picture, words="LEFT 66 Y", *, at=(20, 230), grey=220):
    copy = picture.copy()
    ImageDraw.Draw(copy).text(at, words, fill=grey)
    return copy


def with_calipers(picture):
    copy = picture.copy()
    draw = ImageDraw.Draw(copy)
    for x, y in ((90, 150), (160, 165)):
        draw.line((x - 5, y, x + 5, y), fill=230)
        draw.line((x, y - 5, x, y + 5), fill=230)
    return copy


def enlarged(picture, times):
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.BICUBIC)


def test_speckle_and_bright_layers_are_no_marks(tissue):
    assert not bears_marks(tissue)


@pytest.mark.parametrize("mark", [with_text, with_calipers])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_text_and_calipers_are_found_whatever_the_pictures_size(tissue, mark, times):
    assert bears_marks(enlarged(mark(tissue), times))
    assert not bears_marks(enlarged(tissue, times))


def test_a_wide_bar_and_what_the_edge_cuts_off_are_no_marks(tissue):
    copy = tissue.copy()
    ImageDraw.Draw(copy).rectangle((40, 200, 60, 260), fill=255)
    ImageDraw.Draw(copy).line((0, 30, 0, 200), fill=255)
    assert not bears_marks(copy)


def test_marks_of_many_images_are_found_image_by_image(tissue, monkeypatch):
    monkeypatch.setattr(findings, "BLOCK", 4)
    images = np.stack([np.asarray(tissue), np.asarray(with_text(tissue))] * 5)
    assert marked_images(images).tolist() == [False, True] * 5
    assert marked_images(images[:0]).tolist() == []


def test_marks_outside_the_compared_square_are_found_too(tissue, tmp_path):
    tall = Image.new("L", (260, 600))
    tall.paste(tissue, (0, 0))
    tall.paste(tissue, (0, 300))
    tall.save(tmp_path / "plain.png")
    with_text(tall, at=(20, 580)).save(tmp_path / "text.png")
    assert read_own_images(tmp_path).marked.tolist() == [False, True]


def test_marks_that_a_person_saw_on_the_external_cohort_are_found_and_no_others(busbra_folder):
    def found(name):
        with Image.open(busbra_folder / "images" / f"bus_{name}.png") as picture:
            return bears_marks(picture.convert("L"))

    assert [name for name in MARKED if not found(name)] == []
    assert [name for name in UNMARKED if found(name)] == []


def picture(grey: np.ndarray) -> dict[str, float]:
    return dict(zip(QUANTITIES, picture_quantities(Image.fromarray(grey.astype(np.uint8))), strict=True))


def test_the_quantities_of_a_picture_by_hand():
    grey = np.full((100, 200), 50)
    grey[5:-5, 5:-5] = 150
    found = picture(grey)
    assert found["border brightness"] == 50
    assert found["mean grey"] == pytest.approx((150 * 90 * 190 + 50 * (20_000 - 90 * 190)) / 20_000)
    assert found["size"] == pytest.approx(np.log(20_000))
    assert found["aspect"] == pytest.approx(np.log(2))
    assert found["text or measuring marks"] == 0


def test_a_blurred_picture_has_less_focus_and_its_size_does_not_matter():
    noise = np.random.default_rng(0).integers(0, 255, (256, 256))
    sharp = Image.fromarray(noise.astype(np.uint8))
    soft = sharp.resize((64, 64), Image.Resampling.BOX).resize((256, 256), Image.Resampling.BICUBIC)
    place = QUANTITIES.index("focus")
    assert picture_quantities(soft)[place] < picture_quantities(sharp)[place] - 1
    larger = soft.resize((512, 512), Image.Resampling.BICUBIC)
    assert picture_quantities(larger)[place] == pytest.approx(picture_quantities(soft)[place], abs=0.3)


def test_files_are_measured_in_their_order(tmp_path):
    for name, grey in (("a", 10), ("b", 200)):
        Image.new("L", (40, 30), grey).save(tmp_path / f"{name}.png")
    found = file_quantities([tmp_path / "a.png", tmp_path / "b.png"])
    assert found["mean grey"].tolist() == [10, 200]
    assert list(found) == list(QUANTITIES)
