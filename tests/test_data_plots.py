import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from clineval.data.audit import audit
from clineval.data.own_images import RawSample, RawSamples
from clineval.data.phantom import phantom
from clineval.reporting import data_plots
from clineval.reporting.data_plots import (
    ScoredSquares,
    draw_scored_strip,
    sections_at_threshold,
    sections_by_kind,
    write_scored_strip,
)
from clineval.reporting.style import PRESENT, new_figure


@pytest.fixture(scope="module")
def cohort():
    return phantom(0, cases=(80, 24, 30))


@pytest.fixture(scope="module")
def found(cohort):
    return audit(cohort)


def words_of(ax):
    return [text.get_text() for text in ax.texts]


def test_the_worst_kind_of_pair_comes_first_and_no_pair_twice(found):
    sections = sections_by_kind(found.pairs)
    assert sections[0].heading == "Opposite labels on one picture"
    assert all(pair.contradictory for pair in sections[0].pairs)
    shown = [pair.cases for section in sections for pair in section.pairs]
    assert len(shown) == len(set(shown))


def test_within_a_section_similarity_falls(found):
    for section in sections_by_kind(found.pairs):
        similarity = [pair.similarity for pair in section.pairs]
        assert similarity == sorted(similarity, reverse=True)


def test_a_section_of_many_shows_its_most_and_its_least_similar_pair_and_says_so(found):
    many = [pair for pair in found.pairs if not pair.contradictory] * 3
    section = sections_by_kind(sorted(many, key=lambda pair: -pair.similarity))[0]
    crossing = [pair for pair in many if "test" in pair.splits and pair.across_splits]
    assert section.pairs[0].similarity == max(pair.similarity for pair in crossing)
    assert section.pairs[-1].similarity == min(pair.similarity for pair in crossing)
    assert section.heading.endswith(f"(12 of {len(crossing)})")


def test_the_gallery_at_the_threshold_shows_both_sides(found):
    for section in sections_at_threshold(found):
        if section.heading.startswith("Not near-duplicates"):
            assert not {pair.cases for pair in section.pairs} & {pair.cases for pair in found.pairs}
        else:
            assert {pair.cases for pair in section.pairs} <= {pair.cases for pair in found.pairs}


def test_a_pair_is_drawn_with_names_labels_similarity_and_its_own_pixels(cohort, found):
    ax = Figure().add_subplot()
    pair = found.pairs[0]
    data_plots.draw_pair(pair, cohort.images, ax, condition="malignant")
    words = " ".join(words_of(ax))
    assert pair.cases[0] in words
    assert pair.cases[1] in words
    assert "byte-identical" in words
    assert "malignant" in words
    drawn = np.asarray(ax.images[0].get_array())
    assert np.array_equal(drawn[:, :28], cohort.images[pair.positions[0]])
    assert np.array_equal(drawn[:, -28:], cohort.images[pair.positions[1]])


def test_long_file_names_keep_their_ends_and_never_run_into_each_other(found, cohort, monkeypatch):
    named = "hospital_north_2021_patient_{:04d}_view_{}.png"
    long = dataclasses.replace(
        found.pairs[0],
        cases=(named.format(1, 1), named.format(1, 2)),
        splits=("train", "hospital-north-b"),
        outcomes=("malignant, proven by biopsy", "benign"),
    )
    figure = data_plots._page([data_plots.Section("Pairs", (long,))], cohort.images, condition="")
    figure.canvas.draw()
    left, right, _ = figure.axes[0].texts
    assert left.get_text().splitlines() == ["hospi…01_view_1", "train", "malig…by biopsy"]
    assert right.get_text().splitlines() == ["hospi…01_view_2", "hospi…l-north-b", "benign"]
    assert left.get_window_extent().x1 < right.get_window_extent().x0


def test_a_split_that_everything_is_in_is_not_named(found):
    pair = dataclasses.replace(found.pairs[0], cases=("a.png", "b.png"), splits=("all", "all"), outcomes=None)
    assert data_plots._caption(pair, 0, "") == "a.png"


def test_the_distribution_shows_every_neighbour_and_the_threshold(found):
    ax = Figure().add_subplot()
    data_plots.draw_nearest(found, ax)
    assert sum(patch.get_height() for patch in ax.patches) == len(found.nearest)
    assert ax.lines[0].get_xdata()[0] == pytest.approx(np.arctanh(found.threshold.value))


def test_the_galleries_are_written_opaque_and_marked_synthetic(cohort, found, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(data_plots, "save", lambda figure, stem: written.append(figure))
    data_plots.write_gallery_of_duplicates(
        found, cohort.images, tmp_path / "duplicates.png", notice=cohort.source.notice
    )
    (figure,) = written
    words = [text.get_text() for text in figure.texts]
    assert "SYNTHETIC PHANTOM DATA" in words
    assert "Images that count as the same picture" in words
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)


def test_an_audit_without_near_duplicates_still_draws_a_page_that_says_so(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype(np.uint8)
    from clineval.data.audit import audit_images

    none = audit_images(images, case=np.arange(6).astype(str), split=np.full(6, "all"))
    data_plots.write_gallery_of_duplicates(none, images, tmp_path / "duplicates.png")
    with Image.open(tmp_path / "duplicates.png") as picture:
        assert picture.size[0] > 1000


def test_the_same_audit_draws_the_same_bytes(found, tmp_path):
    for name in ("a.png", "b.png"):
        data_plots.write_nearest(found, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


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
