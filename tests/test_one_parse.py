"""Each table is parsed and checked once a command, and handed on."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from finished_run import SETTINGS, WORDS, write_cohort

from clineval import predictions
from clineval.cli.main import run_command
from clineval.data.phantom import phantom
from clineval.pipeline.run import run

pytestmark = pytest.mark.usefixtures("unpainted")
BASE = Path(__file__).parent / "cases" / "splits" / "lower.csv"


@pytest.fixture
def parsed(monkeypatch) -> Counter:
    """How often a table of each name was parsed and checked."""
    counted: Counter = Counter()
    check = predictions._checked

    def counting(table, **named):
        counted[named["origin"].name] += 1
        return check(table, **named)

    monkeypatch.setattr(predictions, "_checked", counting)
    return counted


@pytest.mark.slow
def test_evaluate_parses_the_table_that_it_is_given_and_nothing_else(tmp_path, parsed):
    assert run_command(["evaluate", str(BASE), "--draws", "20", "--out", str(tmp_path / "out"), "-q"]) == 0
    assert parsed == {"lower.csv": 1}
    parsed.clear()
    assert run_command(["report", str(tmp_path / "out"), "-q"]) == 0
    assert parsed == {"predictions.csv": 1}


@pytest.mark.slow
def test_run_parses_each_of_its_tables_once(tmp_path, parsed, monkeypatch):
    cohort = phantom(seed=1, cases=(60, 24, 40), reason="a test asked for it")
    monkeypatch.setattr("clineval.pipeline.run.load_cohort", lambda *words, **named: cohort)
    one = replace(SETTINGS, training=replace(SETTINGS.training, models=("cnn",)))
    run(one, out=tmp_path / "out", jobs=1)
    assert parsed.pop("predictions.csv") == 1
    assert set(parsed.values()) == {1}, parsed
    parsed.clear()
    assert run_command(["report", str(tmp_path / "out"), "-q"]) == 0
    assert set(parsed.values()) == {1}, parsed


@pytest.mark.slow
def test_validate_parses_the_table_of_the_run_once_and_its_own_once(tmp_path, finished_run, parsed):
    write_cohort(tmp_path)
    words = ["validate", str(finished_run), str(tmp_path / "cohort.csv"), "--name", "hospital-b"]
    more = ["--image-folder", str(tmp_path / "images"), *WORDS, "--out", str(tmp_path / "out"), "-q"]
    assert run_command([*words, *more]) == 0
    assert parsed == {"predictions.csv": 2}
