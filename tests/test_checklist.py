"""The checklists: every item answered, none claimed without its artefact."""

import csv

import pytest
from simulated_results import table, write_results

from clineval.reporting.artefacts import read_artefacts
from clineval.reporting.checklist import (
    DONE,
    NOT_APPLICABLE,
    STATUSES,
    WORDS,
    items,
    rows_for,
    write_checklist,
)
from clineval.reporting.report import CLINICAL, EVIDENCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results"), table(splits=("test",), cases=60, events=20))


@pytest.fixture(scope="module")
def rows(folder):
    return rows_for(read_artefacts(folder))


def test_every_item_has_an_answer_of_its_status(rows):
    assert len(rows) == len(items())
    for row in rows:
        assert row.status in STATUSES
        assert row.where
        assert bool(row.anchor) == (row.status == DONE)


def test_every_item_can_be_answered_without_any_artefact():
    for item in items():
        assert item.not_applicable or item.prompt, item


def test_all_main_items_of_tripod_and_claim_are_there():
    tripod = {item.item.rstrip("abcdefg") for item in items() if item.guideline == "TRIPOD+AI"}
    claim = [item.item for item in items() if item.guideline == "CLAIM 2024"]
    assert tripod == {str(number) for number in range(1, 28)}
    assert claim == [str(number) for number in range(1, 45)]


def test_links_lead_to_sections_of_the_report():
    anchors = {"explorer", "polarity", *(anchor for anchor, _, _ in (*CLINICAL, *EVIDENCE))}
    assert {item.anchor for item in items() if item.anchor} <= anchors


def test_nothing_is_claimed_done_whose_artefact_is_missing(rows, tmp_path):
    status = {(row.guideline, row.item): row.status for row in rows}
    assert status["TRIPOD+AI", "12a"] == WORDS
    assert status["TRIPOD+AI", "12e"] == DONE
    assert status["TRIPOD+AI", "14"] == WORDS
    assert status["CLAIM 2024", "33"] == WORDS
    assert status["CLAIM 2024", "34"] == NOT_APPLICABLE


def test_a_run_with_an_audit_has_its_splits_answered(tmp_path):
    folder = write_results(tmp_path / "r", table(splits=("test",), cases=40, events=15), draws=20)
    for name in ("audit.json", "provenance.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    status = {(row.guideline, row.item): row.status for row in rows_for(read_artefacts(folder))}
    assert status["TRIPOD+AI", "12a"] == DONE
    assert status["CLAIM 2024", "20"] == DONE
    assert status["CLAIM 2024", "7"] == DONE


def test_the_file_reads_back_as_the_rows(folder, rows):
    with write_checklist(folder).open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [(row["guideline"], row["item"], row["status"], row["where"]) for row in read] == [
        (row.guideline, row.item, row.status, row.where) for row in rows
    ]
