import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from clineval.data.audit import audit
from clineval.data.phantom import phantom
from clineval.reporting import data_plots
from clineval.reporting.data_plots import sections_at_threshold, sections_by_kind


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
    data_plots.write_duplicates(found, cohort, tmp_path / "duplicates.png")
    (figure,) = written
    words = [text.get_text() for text in figure.texts]
    assert "SYNTHETIC PHANTOM DATA" in words
    assert "Images that count as the same picture" in words
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)


def test_the_gallery_of_a_cohort_that_lost_cases_shows_the_pairs_it_still_holds(
    cohort, found, monkeypatch, tmp_path
):
    drawn = []
    monkeypatch.setattr(
        data_plots, "draw_pair", lambda pair, images, ax, condition: drawn.append((pair, images))
    )
    monkeypatch.setattr(data_plots, "save", lambda figure, stem: None)
    lost = found.pairs[0].cases[0]
    rest = cohort.select(cohort.case != lost)
    data_plots.write_duplicates(found, rest, tmp_path / "duplicates.png")
    assert drawn
    for pair, images in drawn:
        assert lost not in pair.cases
        before = cohort.images[np.flatnonzero(cohort.case == pair.cases[0])[0]]
        assert np.array_equal(images[pair.positions[0]], before)


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
