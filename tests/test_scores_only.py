"""Scores that are no probabilities: ranked as the risks that they stand for, and nothing said of those."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clineval
from clineval.cli.main import run_command
from clineval.errors import InputError
from clineval.predictions import attributes, check_predictions, read_predictions, write_predictions

CASES = Path(__file__).parent / "cases"
BASE = pd.read_csv(CASES / "base" / "base.csv")
LOGIT = np.log(BASE["risk"] / (1 - BASE["risk"]))
RANKS = ("auc", "auc_logit", "average_precision", "partial_auc", "sensitivity_at_specificity_90")
PROBABILITIES = ("brier", "scaled_brier", "log_loss", "calibration_intercept", "calibration_slope")
MORE = ("observed_expected", "ici", "e50", "e90")


@pytest.fixture(scope="module")
def pair():
    """The same cases given as risks and as their logits, with a threshold that is the same one."""
    side = {"side": np.arange(len(BASE)) % 2}
    thresholds = ([0.3], [float(np.log(0.3 / 0.7))])
    return [
        clineval.evaluate(
            BASE["outcome"], values, attributes=side, thresholds=cut, scores=as_scores, draws=50
        ).models["model"]["test"]
        for values, cut, as_scores in zip((BASE["risk"], LOGIT), thresholds, (False, True), strict=True)
    ]


@pytest.mark.parametrize("name", RANKS)
def test_scores_rank_as_the_risks_that_rise_with_them(pair, name):
    risks, scores = (each.measures[name] for each in pair)
    assert (scores.value, scores.low, scores.high) == (risks.value, risks.low, risks.high)


@pytest.mark.parametrize("name", PROBABILITIES + MORE)
def test_what_needs_probabilities_is_undefined_with_the_reason(pair, name):
    estimate = pair[1].measures[name]
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    assert "no probabilities" in estimate.method


def test_a_given_threshold_flags_the_same_cases(pair):
    risks, scores = (each.point("given") for each in pair)
    for name in ("true_positives", "false_positives", "sensitivity", "ppv", "lr_positive"):
        assert getattr(scores, name) == getattr(risks, name)
    assert np.isnan(scores.net_benefit)
    assert "half" not in [point.name for point in pair[1].operating_points]


def test_no_decision_or_calibration_curve_is_given(pair):
    assert pair[1].decision_curve is pair[1].calibration_curve is None
    assert pair[1].brier_parts == {}


def test_subgroups_rank_and_have_no_calibration(pair):
    (risks,), (scores,) = (each.subgroups for each in pair)
    for one, other in zip(risks.cells, scores.cells, strict=True):
        assert other.measures["auc_logit"] == one.measures["auc_logit"]
        assert np.isnan(other.measures["observed_expected"].value)


def test_two_models_are_compared_by_ranking_alone():
    other = LOGIT + np.random.default_rng(0).normal(size=len(LOGIT))
    found = clineval.evaluate(BASE["outcome"], {"a": LOGIT, "b": other}, scores=True, draws=20)
    assert [one.measure for one in found.comparisons] == ["auc"]
    assert any("no probabilities" in note for note in found.notes)


@pytest.mark.slow
def test_the_command_keeps_the_scores_and_its_folder_can_be_used_again(tmp_path, capsys):
    out = tmp_path / "out"
    path = CASES / "risks" / "logits.csv"
    words = ["--scores", "--threshold", "-0.5", "--draws", "20", "--out", str(out), "--quiet"]
    assert run_command(["evaluate", str(path), *words]) == 0
    stored = pd.read_csv(out / "predictions.csv")
    assert stored["score"].tolist() == pd.read_csv(path)["risk"].tolist()
    assert "risk" not in stored
    scored = json.loads((out / "evaluation.json").read_text())["models"]["logits"]["test"]
    assert scored["auc"]["value"] == pytest.approx(0.831019, abs=1e-6)
    assert scored["decision_curve"] is None
    assert "no probabilities" in (out / "report.html").read_text()
    for again in (["verify", str(out)], ["report", str(out)], ["compare", str(out), str(out)]):
        assert run_command([*again, "--quiet"]) == 0, capsys.readouterr().err
    assert run_command(["evaluate", str(out / "predictions.csv"), *words]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [[], ["--threshold", "3"]])
def test_ratings_are_ranked_with_and_without_a_threshold(tmp_path, threshold):
    path, out = CASES / "risks" / "ratings.csv", tmp_path / "out"
    assert (
        run_command(["evaluate", str(path), "--scores", *threshold, "--out", str(out), "--draws", "20", "-q"])
        == 0
    )
    assert (out / "report.html").is_file()


def test_scores_are_refused_where_none_was_announced_and_where_they_are_not_finite(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("outcome,score\n1,2.5\n0,-1\n")
    with pytest.raises(InputError, match="lacks the column 'risk'"):
        read_predictions(path)
    assert read_predictions(path, scores=True)["score"].tolist() == [2.5, -1]
    for cell in ("inf", "nan", "", "high"):
        path.write_text(f"outcome,score\n1,2.5\n0,{cell}\n")
        with pytest.raises(InputError, match=r"row 2 .*'score': expected a finite number, got"):
            read_predictions(path, scores=True)


def test_a_stored_table_of_scores_reads_back_as_it_was(tmp_path):
    frame = pd.DataFrame({"outcome": BASE["outcome"], "score": LOGIT, "site": "A"})
    table = check_predictions(frame)
    assert attributes(table) == ["site"]
    for name in ("predictions.csv", "predictions.parquet"):
        write_predictions(table, tmp_path / name)
        pd.testing.assert_frame_equal(read_predictions(tmp_path / name, scores=None), table, check_exact=True)


def test_the_report_of_scores_speaks_of_no_probability(tmp_path):
    table = tmp_path / "t.csv"
    pd.DataFrame({"outcome": BASE["outcome"], "risk": LOGIT}).to_csv(table, index=False)
    out = tmp_path / "o"
    assert run_command(["evaluate", str(table), "--scores", "--threshold", "0", "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "Every score on this page ranks cases, no more" in page
    for words in (
        "predicted probability",
        "predicted risk",
        "Calibration: all models",
        "given a risk of 0.3",
    ):
        assert words not in page
