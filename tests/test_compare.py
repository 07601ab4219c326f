"""Two results folders side by side: equal, or named where they differ."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clineval.cli import main
from clineval.errors import InputError
from clineval.pipeline.compare import compare_results

ROOT = Path(__file__).resolve().parents[1]


def write_table(path, *, moved=0.0, cases=40):
    chance = np.random.default_rng(0)
    rows = [
        {
            "model": "m",
            "split": split,
            "case": f"{split}/{k}",
            "outcome": k % 2,
            "risk": chance.uniform(0.1, 0.8),
        }
        for split in ("val", "test")
        for k in range(cases)
    ]
    table = pd.DataFrame(rows)
    table.loc[table["case"] == "test/0", "risk"] += moved
    table.to_csv(path, index=False)
    return table


def evaluated(folder, *options, **changes):
    folder.mkdir()
    write_table(folder / "table.csv", **changes)
    words = [
        "evaluate",
        str(folder / "table.csv"),
        "--draws",
        "20",
        "--threshold",
        "0.3",
        "--quiet",
        *options,
    ]
    assert main.run_command([*words, "--out", str(folder / "results")]) == 0
    return folder / "results"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return evaluated(tmp_path_factory.mktemp("compare") / "first")


def test_a_folder_equals_its_copy(first, tmp_path, capsys):
    copy = shutil.copytree(first, tmp_path / "copy")
    found = compare_results(first, copy)
    assert found.equal
    assert found.made == ()
    assert [(gap.split, gap.cases, gap.largest) for gap in found.risks] == [
        ("val", 40, 0.0),
        ("test", 40, 0.0),
    ]
    assert main.run_command(["compare", str(first), str(copy)]) == 0
    assert "hold the same risks, thresholds, flags and measures" in " ".join(capsys.readouterr().out.split())


def test_a_moved_risk_is_found_with_its_case_its_flag_and_every_measure(first, tmp_path, capsys):
    other = evaluated(tmp_path / "other", moved=0.19)
    found = compare_results(first, other)
    (gap,) = [gap for gap in found.risks if gap.split == "test"]
    assert gap.case == "test/0"
    assert gap.largest == pytest.approx(0.19)
    assert gap.mean == pytest.approx(0.19 / 40)
    one = json.loads((first / "evaluation.json").read_text())["models"]["m"]["test"]["brier"]["value"]
    two = json.loads((other / "evaluation.json").read_text())["models"]["m"]["test"]["brier"]["value"]
    (brier,) = [gap for gap in found.measures if (gap.population, gap.measure) == ("test", "brier")]
    assert (brier.one, brier.other, brier.difference) == (one, two, two - one)
    assert main.run_command(["compare", str(first), str(other)]) == 4
    shown = capsys.readouterr()
    assert "differ." in shown.err
    assert "test/0" in shown.out


def test_flags_that_turn_are_counted_each_folder_at_its_own_threshold(first, tmp_path):
    before = pd.read_csv(first / "predictions.csv")
    risk = before.loc[before["case"] == "test/0", "risk"].item()
    other = evaluated(tmp_path / "other", moved=0.5 - risk)
    turned = {gap.name: gap.turned for gap in compare_results(first, other).thresholds if gap.split == "test"}
    assert turned["half"] == int(risk < 0.5)
    assert turned["given"] == int(risk < 0.3)


def test_settings_that_differ_are_named_and_are_no_difference_of_the_results(first, tmp_path):
    other = evaluated(tmp_path / "other", "--seed", "3")
    found = compare_results(first, other)
    assert [(made.what, made.one, made.other) for made in found.made] == [
        ("setting evaluation.seed", "0", "3")
    ]
    assert found.equal, "the seed moves intervals, not values"


def test_versions_and_processor_that_differ_are_named(first, tmp_path):
    other = shutil.copytree(first, tmp_path / "other")
    path = other / "provenance.json"
    record = json.loads(path.read_text())
    record["versions"]["numpy"] = "0.1"
    record["platform"]["processor"] = "abacus"
    record["settings"]["evaluation"]["of_a_later_version"] = []
    path.write_text(json.dumps(record))
    named = {made.what: made.other for made in compare_results(first, other).made}
    assert named == {"version of numpy": "0.1", "processor": "abacus"}


def test_cases_of_one_folder_only_are_counted(first, tmp_path):
    other = evaluated(tmp_path / "other", cases=38)
    found = compare_results(first, other)
    assert not found.equal
    assert {gap.split: (gap.cases, gap.unshared) for gap in found.risks} == {"val": (38, 2), "test": (38, 2)}


def test_folders_of_other_cases_are_refused(first):
    with pytest.raises(InputError, match="share no case"):
        compare_results(first, ROOT / "results")


def test_the_published_record_equals_itself():
    assert compare_results(ROOT / "results", ROOT / "results").equal
