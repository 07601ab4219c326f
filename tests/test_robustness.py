"""Corrupted cohorts under a frozen run: what is scored, and that nothing is fitted anew."""

import numpy as np
import pandas as pd
import pytest

from clineval.data.corruptions import KINDS, corrupt
from clineval.data.phantom import phantom
from clineval.pipeline.robustness import robustness, write_robustness
from clineval.pipeline.stored_run import final_risks, read_run, score_images
from clineval.progress import silent
from clineval.settings import ValidationSettings

pytestmark = pytest.mark.slow
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
        patch.setattr("clineval.pipeline.robustness.SEVERITIES", (2,))
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
    monkeypatch.setattr("clineval.pipeline.robustness.SEVERITIES", (1, 4))
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

    monkeypatch.setattr("clineval.pipeline.robustness.SEVERITIES", (1,))
    monkeypatch.setattr("clineval.pipeline.robustness.score_images", scored)
    write_robustness(run, cohort, [cohort.images], SETTINGS, tmp_path, jobs=1, announce=silent)
    assert asked == [1] * (1 + len(KINDS))


def test_the_table_is_written_as_it_is_and_a_figure_beside_it(run, cohort, tmp_path, monkeypatch):
    monkeypatch.setattr("clineval.pipeline.robustness.SEVERITIES", (5,))
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
