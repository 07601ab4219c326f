"""The strip of a validation shows the very squares and views that were scored."""

import numpy as np
import pandas as pd
import pytest
from finished_run import write_cohort

import clineval
from clineval.data.phantom import phantom
from clineval.data.preparation import KINDS, box_of, corrupt
from clineval.errors import silent
from clineval.models.preprocessing import MATCHED, match_mean_and_spread
from clineval.pipeline.external import further_views, robustness, views_in_words, write_robustness
from clineval.pipeline.stored_run import final_risks, read_run, score_images
from clineval.settings import EvaluationSettings, ValidationSettings


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
            "clineval.reporting.data_plots.write_scored_strip",
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


SETTINGS = ValidationSettings("elsewhere")


@pytest.fixture(scope="module")
def run(finished_run):
    return read_run(finished_run)


@pytest.fixture(scope="module")
def cohort():
    whole = phantom(seed=6, cases=(8, 8, 60))
    return whole.select(whole.within("test"))


@pytest.fixture(scope="module")
def table(run, cohort):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clineval.pipeline.external.SEVERITIES", (2,))
        return robustness(run, cohort, [cohort.images], SETTINGS)


def test_there_is_a_row_for_each_corruption_severity_and_model_and_for_the_cohort_as_it_is(table, run):
    found = list(table[["corruption", "severity", "model"]].itertuples(index=False, name=None))
    grid = [("as it is", 0), *((kind, 2) for kind in KINDS)]
    assert found == [(kind, severity, model) for kind, severity in grid for model in run.names]


def test_a_row_holds_what_the_corrupted_images_give_at_the_frozen_threshold(table, run, cohort):
    risk = final_risks(run, [score_images(run, corrupt(cohort.images, "blur", 2)).risks])["cnn"]
    (row,) = table.query("corruption == 'blur' and model == 'cnn'").itertuples()
    threshold = next(one.threshold for one in run.thresholds["cnn"] if one.name == "sensitivity_90")
    present, absent = risk[cohort.outcome], risk[~cohort.outcome]
    wins = (present[:, None] > absent).mean() + (present[:, None] == absent).mean() / 2
    assert row.auc == pytest.approx(wins)
    assert row.sensitivity == pytest.approx((present >= threshold).mean())
    assert row.specificity == pytest.approx((absent < threshold).mean())
    assert row.auc_low < row.auc < row.auc_high


def test_a_change_of_gain_is_undone_where_grey_levels_are_matched(table):
    as_it_is, brighter = (
        table.query(f"corruption == {kind!r} and model == 'logreg'")["auc"].item()
        for kind in ("as it is", "brightness")
    )
    assert brighter == pytest.approx(as_it_is, abs=0.03)


def test_progress_counts_every_square_that_is_scored(run, cohort, monkeypatch):
    seen = []
    monkeypatch.setattr("clineval.pipeline.external.SEVERITIES", (1, 4))
    few = cohort.select(np.arange(len(cohort)) % 3 == 0)
    views = [few.images, few.images]
    robustness(run, few, views, SETTINGS, progress=lambda done, total: seen.append((done, total)))
    each = len(few)
    assert seen == [(each * step, 26 * each) for step in range(1, 27)]  # 13 of each of two squares


def test_as_many_threads_score_corrupted_images_as_were_asked_for(run, cohort, tmp_path, monkeypatch):
    asked = []

    def scored(*given, jobs, **named):
        asked.append(jobs)
        return score_images(*given, jobs=jobs, **named)

    monkeypatch.setattr("clineval.pipeline.external.SEVERITIES", (1,))
    monkeypatch.setattr("clineval.pipeline.external.score_images", scored)
    write_robustness(run, cohort, [cohort.images], SETTINGS, tmp_path, jobs=1, announce=silent)
    assert asked == [1] * (1 + len(KINDS))


def test_the_table_is_written_as_it_is_and_a_figure_beside_it(run, cohort, tmp_path, monkeypatch):
    monkeypatch.setattr("clineval.pipeline.external.SEVERITIES", (5,))
    told = []
    found = write_robustness(
        run,
        cohort,
        [cohort.images],
        SETTINGS,
        tmp_path,
        announce=lambda step: told.append(step) or silent(""),
    )
    assert told == ["Scoring 6 corrupted copies of the images, about 6 times what scoring them took"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "robustness.csv"), found)
    assert (tmp_path / "robustness.png").stat().st_size > 10_000
