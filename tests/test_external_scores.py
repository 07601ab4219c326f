"""The strip of a validation shows the very squares and views that were scored."""

import numpy as np
import pytest
from finished_run import write_cohort

import clineval
from clineval.data.preparation import box_of
from clineval.models.preprocessing import MATCHED, match_mean_and_spread
from clineval.pipeline.external import further_views, views_in_words
from clineval.pipeline.stored_run import read_run
from clineval.settings import EvaluationSettings


def test_every_model_with_further_views_is_named_and_the_network_sees_the_matched_image_mirrored(
    finished_run,
):
    said = dict(part.split(": ") for part in views_in_words(read_run(finished_run)).split("; "))
    assert said == {"logreg": "original, matched", "cnn": "original, matched and mirrored"}


def test_the_further_views_are_all_but_that_of_the_original_image(finished_run):
    assert further_views(read_run(finished_run)) == (MATCHED,)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn(finished_run, tmp_path_factory):
    """What was handed over to be drawn: the squares of some images and how the columns are named."""
    cohort, found = write_cohort(tmp_path_factory.mktemp("drawn") / "cohort"), []
    own = clineval.OwnSettings("id", "pathology", "malignant", "patient")
    settings = clineval.ValidationSettings("b", own, evaluation=EvaluationSettings(draws=20))
    images = clineval.OwnImages(cohort / "cohort.csv", cohort / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clineval.reporting.figures.write_figures", lambda *given, **named: None)
        patch.setattr(
            "clineval.reporting.strips.write_scored_strip",
            lambda _, squares, path, **named: found.append((squares, named)),
        )
        clineval.validate(finished_run, images, settings, out=cohort.parent / "out")
    return found[0]


def test_the_columns_are_the_squares_and_the_further_views(drawn):
    squares, named = drawn
    assert named["names"] == ("middle\nsquare", "upper\nsquare", "matched")
    assert "cnn: original, matched and mirrored" in named["views"]
    assert {len(each.pictures) for each in squares} == {3}
    assert {each.sample.value for each in squares} == {"scanner 0", "scanner 1"}


def test_each_picture_is_what_was_scored(drawn, finished_run):
    grey = read_run(finished_run).reference.novelty.grey
    for each in drawn[0]:
        first, upper, matched = each.pictures
        height, width = each.sample.raw.shape
        assert (upper is None) == (height == width)
        np.testing.assert_array_equal(first, each.sample.prepared)
        np.testing.assert_array_equal(matched, match_mean_and_spread(first[None], grey)[0])
        assert (matched != first).any()
        assert each.boxes == tuple(
            tuple(map(float, box_of(width, height, fit=fit))) for fit in ("crop", "top")
        )
    assert {each.pictures[1] is None for each in drawn[0]} == {True, False}
