"""What a command shows at its end: the answer in five lines, the table, or the record."""

import json

import pandas as pd
import pytest

from clineval.cli import main


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
def predictions(tmp_path):
    table().astype({"outcome": int}).to_csv(tmp_path / "t.csv", index=False)
    return ["evaluate", str(tmp_path / "t.csv"), "--draws", "20", "--out", str(tmp_path / "out")]


def test_evaluate_ends_with_the_answer_and_the_path(predictions, tmp_path, capsys):
    assert main.run_command(predictions) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("Primary model: m, threshold")
    assert shown[-1] == f"Report: {tmp_path / 'out' / 'report.html'}"
    assert len([line for line in shown if not line.startswith("  ")]) == 5
    assert all(len(line) <= 80 for line in shown[:-1])


def test_the_table_of_every_model_comes_when_asked_for(predictions, capsys):
    assert main.run_command([*predictions, "--table"]) == 0
    assert "sensitivity" in capsys.readouterr().out


def test_json_is_the_evaluation_and_nothing_else(predictions, tmp_path, capsys):
    assert main.run_command([*predictions, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((tmp_path / "out" / "evaluation.json").read_text())


def test_the_auc_without_the_cases_that_share_a_group_with_development_data_follows_the_auc(tmp_path, capsys):
    test = table(split="test", group=[f"g{k}" for k in range(60)])
    val = table(split="val", group=[f"g{k}" if k < 20 else f"v{k}" for k in range(60)])
    pd.concat([test, val]).astype({"outcome": int}).to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "out"
    assert main.run_command(["evaluate", str(tmp_path / "t.csv"), "--draws", "20", "--out", str(out)]) == 0
    shown = capsys.readouterr().out.splitlines()
    (at,) = [place for place, line in enumerate(shown) if line.startswith("AUC") and "without the" in line]
    clean = json.loads((out / "evaluation.json").read_text())["models"]["m"]["test_clean"]["auc_logit"]
    bounds = f"{clean['value']:.2f} ({clean['low']:.2f} to {clean['high']:.2f})"
    said = f"AUC {bounds} without the 20 cases that share a group with development data"
    assert shown[at - 1].startswith("AUC ")
    assert " ".join(line.strip() for line in shown[at : at + 2]).startswith(said)
