"""Scores of a study, by hand; the folder that keeps it; its figures by what they drew."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clineval.cli.options import seed_list
from clineval.errors import InputError
from clineval.pipeline.study import claim_folder, learning_curve, run_study, score, split_variance, summarise
from clineval.pipeline.verify import verify_results
from clineval.settings import (
    DataSettings,
    LogisticSettings,
    NetworkSettings,
    RunSettings,
    StudySettings,
    TrainingSettings,
)

pytestmark = pytest.mark.slow

ABOUT = {"model": "cnn", "variant": "official", "fraction": 1.0, "repeat": 0, "fold": 0, "seed": 0}
PLAN = StudySettings(models=("logreg", "cnn_single"), seeds=(0, 1), folds=3, repeats=1, fractions=(0.5, 1.0))
QUICK = RunSettings(
    data=DataSettings(dataset="phantom"),
    training=TrainingSettings(
        members=2,
        network=NetworkSettings(epochs=1),
        logistic=LogisticSettings(strengths=(1e-3,), folds=2),
    ),
)


def risks(outcome, risk, **changes):
    """The held-out rows of one training, every case a group of its own."""
    cases = [f"train/{number}" for number in range(len(risk))]
    held_out = {"case": cases, "group": cases, "outcome": outcome, "risk": risk}
    return pd.DataFrame({**ABOUT, **changes, **held_out, "trained_on": 100, "cpu_seconds": 2.0})


def scores(values, **columns):
    """Scores with these AUCs and the columns given; the rest as ``ABOUT`` has it."""
    fixed = {"trained_on": 100, "auc_error": 0.0, "brier": 0.1, "log_loss": 0.4, "cpu_seconds": 2.0}
    return pd.DataFrame({**ABOUT, **fixed, **columns, "auc": values})


def test_a_training_is_scored_on_its_held_out_cases():
    row = score(risks([1, 0, 1, 0], [0.9, 0.2, 0.4, 0.6])).iloc[0]
    assert row["auc"] == 0.75
    assert row["brier"] == pytest.approx((0.01 + 0.04 + 0.36 + 0.36) / 4)
    assert row["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.4]).mean())
    assert (row["cases"], row["events"], row["trained_on"], row["cpu_seconds"]) == (4, 2, 100, 2.0)


def test_trainings_are_scored_apart():
    both = pd.concat([risks([1, 0], [0.9, 0.1]), risks([1, 0], [0.1, 0.9], fold=1)])
    assert list(score(both)["auc"]) == [1.0, 0.0]


def test_the_spread_of_a_summary_is_that_of_whole_cross_validations():
    table = scores([0.8, 0.9, 0.7, 0.8], repeat=[0, 0, 1, 1], fold=[0, 1, 0, 1])
    row = summarise(table).iloc[0]
    assert row["auc"] == pytest.approx(0.8)
    assert row["auc_sd"] == pytest.approx(np.std([0.85, 0.75], ddof=1))
    assert row["cross_validations"] == 2


def test_one_cross_validation_has_no_spread():
    assert np.isnan(summarise(scores([0.8, 0.9], fold=[0, 1])).iloc[0]["auc_sd"])


def test_variance_is_given_to_seeds_folds_and_repeats():
    table = scores(
        [0.80, 0.82, 0.90, 0.92, 0.70, 0.72, 0.80, 0.82],
        repeat=[0] * 4 + [1] * 4,
        fold=[0, 0, 1, 1] * 2,
        seed=[0, 1] * 4,
    )
    row = split_variance(table).iloc[0]
    assert row["seeds"] == pytest.approx(np.std([0.80, 0.82], ddof=1))
    assert row["folds"] == pytest.approx(np.std([0.81, 0.91], ddof=1))
    assert row["repeats"] == pytest.approx(np.std([0.86, 0.76], ddof=1))
    assert row["cases"] == 0


def test_folds_that_differ_less_than_sampling_explains_add_nothing():
    row = split_variance(scores([0.80, 0.81], fold=[0, 1], auc_error=0.05)).iloc[0]
    assert row["cases"] == pytest.approx(0.05)
    assert row["folds"] == 0
    assert np.isnan(row["seeds"])


def test_a_learning_curve_on_its_line_extrapolates_along_it():
    cases = np.array([100.0, 200.0, 400.0])
    table = pd.concat(
        scores([0.95 - 1.5 / np.sqrt(n)] * 4, fold=range(4), fraction=n / 400, trained_on=n) for n in cases
    )
    curve = learning_curve(table)
    assert list(curve["kind"]) == ["measured"] * 3 + ["extrapolated"]
    beyond = curve.iloc[-1]
    assert beyond["trained_on"] == 800
    assert beyond[["auc", "low", "high"]].to_list() == pytest.approx([0.95 - 1.5 / np.sqrt(800)] * 3)


def test_two_fractions_are_too_few_to_extrapolate():
    table = pd.concat(scores([0.8, 0.9], fold=[0, 1], fraction=f, trained_on=f * 100) for f in (0.5, 1.0))
    assert set(learning_curve(table)["kind"]) == {"measured"}


def test_a_study_folder_of_other_settings_is_refused_and_says_which_differ(tmp_path):
    claim_folder(tmp_path / "study", {"study": {"folds": 5}, "seeds": (0, 1)})
    claim_folder(tmp_path / "study", {"study": {"folds": 5}, "seeds": (0, 1)})
    with pytest.raises(InputError, match=r"other settings: study\.folds was 5, is now 3\. Use those"):
        claim_folder(tmp_path / "study", {"study": {"folds": 3}, "seeds": (0, 1)})


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="is not empty and holds no study"):
        claim_folder(tmp_path, {})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder, shown = tmp_path_factory.mktemp("studies") / "study", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clineval.pipeline.study.load", small_phantom)
        return run_study(QUICK, PLAN, out=folder, jobs=1, show=shown.append), shown


def small_phantom(settings, **_named):
    from clineval.data.phantom import phantom

    return phantom(6, cases=(60, 16, 16))


def test_a_study_leaves_its_tables_figures_and_trainings(finished):
    study, _ = finished
    assert {path.name for path in study.folder.iterdir()} == {
        "provenance.json",
        "ro-crate-metadata.json",
        "study.json",
        "study_risks.parquet",
        "trainings",
        *(f"study_{name}.csv" for name in ("scores", "summary", "variance", "curve")),
        *(f"study_{name}.png" for name in ("spread", "variance", "learning_curve")),
    }
    assert len(study.scores) == 3 * 2 * (1 + 2)


def test_the_summary_so_far_is_shown_after_every_training(finished):
    study, shown = finished
    assert len(shown) == len(study.scores)
    pd.testing.assert_frame_equal(
        shown[-1].sort_values(["model", "fraction"], ignore_index=True).drop(columns="cpu_seconds"),
        study.summary.sort_values(["model", "fraction"], ignore_index=True).drop(columns="cpu_seconds"),
    )


def test_the_same_study_again_gives_the_same_bytes_without_training(finished, monkeypatch):
    from clineval.models import parallel

    study, _ = finished
    before = {path.name: path.read_bytes() for path in study.folder.glob("study*")}
    monkeypatch.setattr(parallel, "_fit", None)
    monkeypatch.setattr("clineval.pipeline.study.load", small_phantom)
    run_study(QUICK, PLAN, out=study.folder, jobs=1)
    assert {path.name: path.read_bytes() for path in study.folder.glob("study*")} == before


def test_a_folder_of_another_study_is_refused_before_anything_is_trained(finished, monkeypatch):
    study, _ = finished
    monkeypatch.setattr("clineval.pipeline.study.load", small_phantom)
    with pytest.raises(InputError, match=r"study\.repeats was 1, is now 4"):
        run_study(QUICK, replace(PLAN, repeats=4), out=study.folder, jobs=1)


def test_the_figures_draw_the_numbers_of_the_tables(finished):
    from matplotlib.figure import Figure

    from clineval.reporting.plots import draw_learning_curve, draw_spread, draw_variance

    study, _ = finished
    spread, variance, curve = Figure().subplots(1, 3)
    draw_spread(study.scores, spread)
    means = study.scores.groupby("model", sort=False)["auc"].mean()
    assert [text.get_text() for text in spread.texts] == [f"{mean:.3f}" for mean in means]
    draw_variance(study.variance, variance)
    assert {f"{bar.get_width():.9f}" for bar in variance.patches} >= {
        f"{value:.9f}" for value in study.variance["cases"]
    }
    draw_learning_curve(study.curve, curve)
    logreg = study.curve[study.curve["model"] == "logreg"]
    assert np.array_equal(curve.lines[0].get_ydata(), logreg["auc"])


def test_a_study_verifies_and_names_a_changed_table(finished, tmp_path):
    folder = shutil.copytree(finished[0].folder, tmp_path / "study")
    assert verify_results(folder).differences == ()
    (folder / "study_scores.csv").write_text("auc\n1.0\n")
    assert verify_results(folder).differences == (
        "study_scores.csv: its content differs from what the run wrote",
    )


def test_seeds_are_numbers_and_ranges_of_them():
    assert seed_list("3, 0-2,7-7", "--seeds") == (3, 0, 1, 2, 7)
    assert seed_list("", "--seeds") == ()


@pytest.mark.parametrize("text", ["a", "1-", "-1", "0-9-2", "1.5", "0–9"])
def test_what_are_no_seeds_is_refused(text):
    with pytest.raises(InputError, match=r"--seeds expects whole numbers or ranges as 0-9"):
        seed_list(text, "--seeds")


@pytest.mark.parametrize("text", ["9-0", "0-10000000000"])
def test_ranges_that_are_empty_or_giant_are_refused(text):
    with pytest.raises(InputError, match="ranges upwards of at most 10,000 seeds"):
        seed_list(text, "--seeds")
