"""An evaluation in five lines of at most 80 columns."""

import json
from pathlib import Path

import pandas as pd
import pytest

import clineval
from clineval.cli import main
from clineval.reporting.subject import subject_of
from clineval.reporting.summary import in_few_lines

ROOT = Path(__file__).resolve().parents[1]


def table(cases=60, **changes):
    rows = range(cases)
    return pd.DataFrame(
        {
            "model": "m",
            "case": [f"c{k}" for k in rows],
            "outcome": [k % 3 == 0 for k in rows],
            "risk": [(k % 3 == 0) * 0.3 + (k * 7 % cases) / cases * 0.6 for k in rows],
            **changes,
        }
    )


@pytest.fixture
def lines():
    return in_few_lines(subject_of(clineval.evaluate(table(), condition="malignant")))


def test_the_answer_is_model_counts_auc_and_verdict(lines):
    labels = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert labels == ["Model", "Found", "AUC", "Verdict"]
    assert lines[0].startswith("Model     m at threshold 0.5")
    evaluation = clineval.evaluate(table(), condition="malignant")
    counts = evaluation.models["m"]["test"].operating_points[0].counts
    assert f"{counts['true_positives']} of 20 malignant, {counts['false_negatives']} missed" in lines[1]
    assert f"{counts['false_positives']} false alarms in 40 others" in lines[1]
    assert "60 cases of test" in lines[2]


def test_every_line_fits_the_narrowest_terminal(lines):
    record = clineval.evaluate(table(), condition="a condition with a rather long name, as some have")
    for line in (*lines, *in_few_lines(subject_of(record), where="another hospital in another town")):
        assert len(line) <= 80


def test_one_class_only_has_no_auc_and_no_crash():
    shown = in_few_lines(subject_of(clineval.evaluate(table(outcome=[0] * 60), condition="x")))
    assert any("undefined" in line for line in shown)


@pytest.fixture
def predictions(tmp_path):
    table().astype({"outcome": int}).to_csv(tmp_path / "t.csv", index=False)
    return ["evaluate", str(tmp_path / "t.csv"), "--draws", "20", "--out", str(tmp_path / "out")]


def test_evaluate_ends_with_the_answer_and_the_path(predictions, tmp_path, capsys):
    assert main.run_command(predictions) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("Model     m at threshold")
    assert shown[-1] == f"Report    {tmp_path / 'out' / 'report.html'}"
    assert len(shown) <= 6


def test_the_table_of_every_model_comes_when_asked_for(predictions, capsys):
    assert main.run_command([*predictions, "--table"]) == 0
    assert "sensitivity" in capsys.readouterr().out


def test_json_is_the_evaluation_and_nothing_else(predictions, tmp_path, capsys):
    assert main.run_command([*predictions, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((tmp_path / "out" / "evaluation.json").read_text())
