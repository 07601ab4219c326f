"""Where a report's numbers come from: what is printed of provenance and ledger, and what is left out."""

import json

import pytest

from clineval.reporting.artefacts import Artefacts
from clineval.reporting.sections import NOT_RECORDED, openings, origin
from clineval.results import open_ledger

RECORD = {
    "program": "clineval 0",
    "commit": {"hash": "a" * 40, "clean": False},
    "settings": {"data": {"own": None, "condition": None}, "training": {"seed": 0, "seeds": [1, 2]}},
    "versions": {"numpy": "2"},
    "platform": {
        "processor": "P",
        "cores": 7,
        "thread_variables": {"OMP_NUM_THREADS": "3"},
        "arithmetic_variables": {},
        "arithmetic_libraries": [{"library": "blas", "threads": 3}],
    },
    "data": {"title": "T", "url": "", "notes": [], "labels": [{"code": 0}], "synthetic": False},
}


@pytest.fixture
def folder(tmp_path):
    for name in ("predictions.csv", "evaluation.json"):
        (tmp_path / name).write_text(name)
    return tmp_path


def artefacts(folder, record=RECORD):
    return Artefacts(folder, table=None, table_name="predictions.csv", evaluation=None, provenance=record)


def test_what_was_not_set_or_not_recorded_is_left_out(folder):
    groups = dict(origin(artefacts(folder)))
    assert groups["Settings"] == [("training.seed", "0"), ("training.seeds", "1, 2")]
    assert groups["Data"] == [("title", "T"), ("synthetic", "False")]
    assert "None" not in json.dumps(groups)


def test_threads_and_cores_are_left_out_for_no_number_depends_on_them(folder):
    assert dict(origin(artefacts(folder)))["Machine"] == [("processor", "P")]


def test_a_commit_with_changes_says_so_and_none_says_that(folder):
    assert ("Commit", f"{'a' * 40}, with changes not committed") in origin(artefacts(folder))[0][1]
    assert ("Commit", "not from a checkout") in origin(artefacts(folder, {**RECORD, "commit": None}))[0][1]


def test_no_provenance_and_no_ledger_give_nothing(folder):
    assert origin(artefacts(folder, {})) == []
    assert openings(artefacts(folder)) == {}


def opened(folder, *, population="test", data="d", **settings):
    frozen = {"settings": settings, "settings_sha256": f"{sorted(settings.items())}", "data_sha256": data}
    open_ledger(folder / "ledger.jsonl", population=population, frozen=frozen)


def test_openings_are_counted_by_population_and_settings(folder):
    opened(folder, seed=0, draws=5)
    opened(folder, seed=0, draws=5)
    opened(folder, seed=1, draws=5)
    opened(folder, seed=0, draws=5, data="other")
    opened(folder, population="hospital-b", seed=0, draws=5)
    told = openings(artefacts(folder))
    assert told["sentences"] == [
        "“test” was opened 4 times in this results folder, under 2 different settings.",
        "“hospital-b” was opened once in this results folder, under one setting.",
    ]
    assert [(row[0], row[1], row[3]) for row in told["table"].rows] == [
        ("test", "2", "nothing"),
        ("test", "1", "seed 1"),
        ("test", "1", "data other"),
        ("hospital-b", "1", "nothing"),
    ]


def test_lines_without_settings_do_not_hide_what_later_ones_changed(folder):
    path = folder / "ledger.jsonl"
    open_ledger(path, population="test", frozen={"models_sha256": "m"})
    opened(folder, seed=0)
    opened(folder, seed=1)
    changes = [row[3] for row in openings(artefacts(folder))["table"].rows]
    assert changes == ["not recorded", "nothing", "seed 1"]


@pytest.mark.parametrize("line", ['{"population": 3, "frozen": 7, "commit": "x"}', "{}", '{"frozen": {}}'])
def test_a_ledger_of_another_form_says_not_recorded(folder, line):
    (folder / "ledger.jsonl").write_text(line + "\n")
    (row,) = openings(artefacts(folder))["table"].rows
    assert row[2:5] == (NOT_RECORDED, NOT_RECORDED, NOT_RECORDED)
