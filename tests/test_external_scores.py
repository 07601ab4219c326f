"""The strip of a validation shows the very squares and looks that were scored."""

import numpy as np
import pytest
from finished_run import write_cohort

import clineval
from clineval.data.preparation import box_of
from clineval.models.views import AS_IT_CAME, LOOKS, match_mean_and_spread
from clineval.pipeline.external import further_looks, looks_in_words
from clineval.pipeline.stored_run import read_run
from clineval.settings import EvaluationSettings


def test_every_model_that_looks_further_is_named_and_the_network_sees_the_matched_image_mirrored():
    said = dict(part.split(": ") for part in looks_in_words().split("; "))
    assert said == {"logreg": "as it came, matched", "cnn": "as it came, matched and mirrored"}


def test_the_further_looks_are_all_but_the_image_as_it_came():
    assert set(further_looks()) == {name for names in LOOKS.values() for name in names} - {AS_IT_CAME}


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


def test_the_columns_are_the_squares_and_the_further_looks(drawn):
    squares, named = drawn
    assert named["names"] == ("middle\nsquare", "upper\nsquare", "matched")
    assert "cnn: as it came, matched and mirrored" in named["looks"]
    assert {len(each.pictures) for each in squares} == {3}
    assert {each.sample.value for each in squares} == {"scanner 0", "scanner 1"}


def test_each_picture_is_what_was_scored(drawn, finished_run):
    grey = read_run(finished_run).reference.familiarity.grey
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
