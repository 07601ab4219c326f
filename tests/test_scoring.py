"""Test outcomes are scored behind one door, which writes the ledger's line first."""

import ast
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clineval
from clineval import results
from clineval.errors import InputError
from clineval.evaluation import evaluate
from clineval.pipeline import scoring

SETTINGS = {"level": 0.95, "draws": 20, "seed": 0}
SOURCE = Path(clineval.__file__).parent

AFTER_OPENING = {
    "pipeline/scoring.py": "the opening itself",
    "pipeline/audit.py": "the pictures of a run's cases, beside risks that were scored",
    "pipeline/external.py": "an external cohort, opened through it, and corrupted copies of it",
}
PACKAGES = ("pipeline", "models", "data", "results", "cli")
NEVER_TEST = {
    "pipeline/train.py": "out-of-fold risks of train",
    "pipeline/study.py": "held-out folds of train and val",
    "pipeline/evaluate.py": "simulated cases",
}


def write_table(folder, populations=("val", "test")):
    chance = np.random.default_rng(1)
    rows = [
        {"model": "m", "split": split, "case": f"{split}/{k}", "outcome": k % 2, "risk": chance.random()}
        for split in populations
        for k in range(30)
    ]
    pd.DataFrame(rows).to_csv(folder / "predictions.csv", index=False)


def write_records(folder, *, fitted_on="train_out_of_fold", watched="val", learnt_on="train"):
    record = {
        "recalibration": {"fitted": {"fitted_on": fitted_on}},
        "training": {
            "early_stopping": {"kind": "guard", "watched": watched},
            "members": [{"scaling": {"learnt_on": learnt_on}}],
        },
    }
    (folder / "models").mkdir()
    (folder / "models" / "models.json").write_text(json.dumps({"m": record}))


def open_it(folder, **named):
    settings = {**SETTINGS, **named}
    return scoring.open_and_score(folder, settings, condition="ill", frozen={"settings_sha256": "s"})


def names_imported(tree):
    """Everything that a module imports, wherever in it, by full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@cache
def imports():
    return [
        (
            path.relative_to(SOURCE).as_posix(),
            set(names_imported(ast.parse(path.read_text(encoding="utf-8")))),
        )
        for path in sorted(SOURCE.rglob("*.py"))
    ]


def test_only_the_door_evaluates_a_table():
    outside = {name: found for name, found in imports() if not name.startswith("evaluation/")}
    evaluating = {
        name
        for name, found in outside.items()
        if found & {"clineval.evaluation.evaluate", "clineval.evaluation.evaluate.evaluate"}
    }
    # The package hands the function to users for tables of their own; it is not called there.
    assert evaluating - {"__init__.py"} == {"pipeline/scoring.py"}


def test_every_step_that_computes_a_statistic_is_known_and_says_of_what():
    of_outcomes = tuple(
        f"clineval.statistics.{name}"
        for name in ("roc", "calibration", "operating_point", "decision_curve", "scores", "thresholds")
    )
    found = {
        name
        for name, names in imports()
        if name.split("/")[0] in PACKAGES
        and any(one.startswith((*of_outcomes, "clineval.evaluation.external")) for one in names)
    }
    assert found <= {*AFTER_OPENING, *NEVER_TEST}, (
        "a new path to outcomes: open it through pipeline/scoring.py"
    )


def test_the_ledgers_line_is_there_before_any_number_is_computed(tmp_path, monkeypatch):
    write_table(tmp_path)
    seen = []

    def look(*_words, **_named):
        seen.append((tmp_path / "ledger.jsonl").is_file())
        raise RuntimeError("a number would have been computed here")

    for name in ("score", "compare", "compare_points", "subgroup_tables", "_spreads"):
        monkeypatch.setattr(sys.modules["clineval.evaluation.evaluate"], name, look)
    with pytest.raises(RuntimeError):
        open_it(tmp_path)
    assert seen == [True]


def test_an_opening_that_cannot_be_entered_computes_no_number(tmp_path, monkeypatch):
    write_table(tmp_path)

    def full(*_words, **_named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "open_ledger", full)
    with pytest.raises(OSError, match="No space"):
        open_it(tmp_path)
    assert not (tmp_path / "evaluation.json").exists()


def test_the_line_says_what_was_frozen(tmp_path):
    write_table(tmp_path, populations=("val", "test", "hospital-b"))
    evaluation = open_it(tmp_path, thresholds=[0.2])
    openings = results.read_openings(tmp_path / "ledger.jsonl")
    assert [entry["population"] for entry in openings] == ["test", "hospital-b"]
    frozen = openings[0]["frozen"]
    assert frozen["settings_sha256"] == "s"
    assert frozen["predictions_sha256"] == results.hash_file(tmp_path / "predictions.csv")
    points = [(each["name"], each["threshold"], each["chosen_on"]) for each in frozen["thresholds"]["m"]]
    assert points == [(each.name, each.threshold, each.chosen_on) for each in evaluation.points["m"]]
    assert {"opened", "commit", "previous"} <= openings[0].keys()


def test_frozen_thresholds_do_not_depend_on_test_outcomes(tmp_path):
    write_table(tmp_path)
    table = pd.read_csv(tmp_path / "predictions.csv")
    swapped = table.assign(outcome=np.where(table["split"] == "test", 1 - table["outcome"], table["outcome"]))
    opened = []
    for frame in (table, swapped):
        evaluate(frame, draws=20, opening=lambda sealed, points: opened.append((sealed, points)))
    assert opened[0] == opened[1]
    assert opened[0][0] == ("test",)


@pytest.mark.parametrize(
    ("learnt", "words"),
    [
        ({"fitted_on": "test"}, "its recalibration was learnt on 'test'"),
        ({"fitted_on": "test_clean"}, "its recalibration was learnt on 'test_clean'"),
        ({"watched": "test"}, "when to stop its training was learnt on 'test'"),
        ({"learnt_on": "test"}, "its scaling of grey levels was learnt on 'test'"),
    ],
)
def test_what_was_learnt_on_test_is_not_scored_there_and_opens_nothing(tmp_path, learnt, words):
    write_table(tmp_path)
    write_records(tmp_path, **learnt)
    with pytest.raises(InputError, match=words):
        open_it(tmp_path)
    assert not (tmp_path / "ledger.jsonl").exists()
    with pytest.raises(InputError, match=words):
        scoring.score_folder(tmp_path, SETTINGS, condition="ill")


def test_a_threshold_chosen_on_test_is_not_scored_there_and_opens_nothing(tmp_path):
    write_table(tmp_path)
    chosen = {"name": "best", "threshold": 0.3, "chosen_on": "test", "rule": "", "choice": None}
    with pytest.raises(InputError, match="chosen on 'test'; it may come from fixed, given"):
        open_it(tmp_path, points={"m": [chosen]})
    assert not (tmp_path / "ledger.jsonl").exists()


def test_what_was_learnt_on_development_data_is_scored(tmp_path):
    write_table(tmp_path)
    write_records(tmp_path)
    assert open_it(tmp_path).models["m"]["test"].cases == 30


def test_scoring_a_folder_once_more_is_no_opening(tmp_path):
    write_table(tmp_path)
    opened = open_it(tmp_path)
    again = scoring.score_folder(tmp_path, SETTINGS, condition="ill")
    assert again.to_json() == opened.to_json()
    assert len(results.read_openings(tmp_path / "ledger.jsonl")) == 1
