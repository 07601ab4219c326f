"""The strip of scored squares: an image a line, every square and look in its column."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from clineval.data.own_images import RawSample, RawSamples
from clineval.reporting.strips import ScoredSquares, draw_scored_strip, write_scored_strip
from clineval.reporting.style import PRESENT, new_figure

NAMES = ("middle\nsquare", "upper\nsquare", "matched")
UPRIGHT = ((0.0, 6.0, 48.0, 54.0), (0.0, 0.0, 48.0, 48.0))


def sample(case, value, *, outcome=True):
    return RawSample(case, value, outcome, np.full((60, 48), 90, np.uint8), UPRIGHT[0], picture(90))


def picture(level):
    return np.full((28, 28), level, np.uint8)


@pytest.fixture
def squares():
    first = ScoredSquares(sample("a", "scanner 1"), UPRIGHT, (picture(90), picture(80), picture(70)))
    second = ScoredSquares(sample("b", "scanner 2"), (UPRIGHT[0],) * 2, (picture(90), None, picture(70)))
    return [first, second]


@pytest.fixture
def drawn(squares):
    cases = {"scanner 1": 40, "scanner 2": 9, "scanner 3": 1}
    return RawSamples("Device", cases, tuple(each.sample for each in squares))


@pytest.fixture
def ax(drawn, squares):
    _, (ax,) = new_figure()
    draw_scored_strip(drawn, squares, ax, names=NAMES, condition="malignant")
    return ax


def test_each_column_and_each_scanner_is_named(ax):
    words = [text.get_text() for text in ax.texts]
    assert words[:4] == ["as\ngiven", *NAMES]
    assert "scanner 1 (n = 40)" in words
    assert "scanner 3 (n = 1): none shown, text is burnt into every one" in words


def test_every_picture_stands_in_its_column_and_one_that_is_the_first_again_says_so(ax):
    assert len(ax.images) == 2 + 3 + 2
    assert [int(image.get_array()[0, 0]) for image in ax.images] == [90, 90, 80, 70, 90, 90, 70]
    assert "the same\nsquare" in [text.get_text() for text in ax.texts]


def test_both_squares_are_outlined_in_the_colour_of_the_outcome_and_equal_ones_once(ax):
    outlines = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert len(outlines) == 2 + 1
    first, second, _ = outlines
    assert first.get_linestyle() != second.get_linestyle()
    assert second.get_y() == pytest.approx(first.get_y() - 6 / 60)
    assert {patch.get_edgecolor()[:3] for patch in outlines} == {
        tuple(int(PRESENT[i : i + 2], 16) / 255 for i in (1, 3, 5))
    }


def test_few_pictures_are_not_drawn_larger_than_four(drawn, squares, ax):
    _, (other,) = new_figure()
    draw_scored_strip(drawn, squares, other, names=NAMES[:1], condition="malignant")
    assert other.get_xlim() == ax.get_xlim()


def test_it_is_written_and_says_how_the_models_look(drawn, squares, tmp_path):
    path = tmp_path / "check_strip.png"
    write_scored_strip(
        drawn, squares, path, names=NAMES, views="cnn: original, matched", condition="malignant",
        notice="SYNTHETIC PHANTOM DATA: a test",
    )  # fmt: skip
    with Image.open(path) as image:
        assert image.height > image.width / 2
