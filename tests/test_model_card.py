"""The model card: its layout, its numbers, its warnings."""

import csv
import json
import re

import pytest
from simulated_results import table, write_results
from transport_content import write_validation

from clineval.evaluation import read_evaluation
from clineval.reporting.artefacts import read_artefacts
from clineval.reporting.model_card import (
    DONE,
    NOT_APPLICABLE,
    STATUSES,
    WORDS,
    items,
    plain,
    rows_for,
    write_checklist,
    write_model_card,
)
from clineval.reporting.report import CLINICAL, EVIDENCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results"), table(splits=("test",), cases=60, events=20))


@pytest.fixture(scope="module")
def card(folder) -> str:
    return write_model_card(folder).read_text(encoding="utf-8")


def test_it_has_the_sections_of_a_model_card(card):
    headings = re.findall(r"^## (.*)$", card, flags=re.M)
    assert headings == [
        "Model details",
        "Uses",
        "Bias, risks and limitations",
        "Training data",
        "Evaluation",
        "How to use",
        "Citation",
    ]
    assert "**Intended use.**" in card
    assert "**Out-of-scope use.**" in card
    assert "not a medical device" in card


def test_its_header_holds_the_measures_as_numbers(card, folder):
    auc = read_evaluation(folder / "evaluation.json").models["cnn"]["test"].measures["auc"]
    header = card.split("---")[1]
    assert f"value: {round(auc.value, 4)}" in header
    assert 'name: "cnn"' in header


def test_its_table_holds_the_evaluations_numbers(card, folder):
    auc = read_evaluation(folder / "evaluation.json").models["cnn"]["test"].measures["auc_logit"]
    assert f"| cnn | test | 60 (20) | {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) |" in card


def test_a_phantoms_card_warns_and_offers_no_measures_to_a_hub(tmp_path):
    folder = write_results(tmp_path / "r", table(splits=("test",), cases=40, events=15), draws=20)
    record = {"data": {"dataset": "phantom", "title": "Phantoms", "synthetic": True, "reason": "no data"}}
    (folder / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    card = write_model_card(folder).read_text(encoding="utf-8")
    assert "SYNTHETIC PHANTOM DATA" in card
    assert "model-index" not in card


def test_a_name_cannot_change_the_layout(tmp_path):
    assert plain("a|b\n# c <b>") == r"a\|b \# c \<b\>"
    names = ("a | b", 'quote " colon: x')
    folder = write_results(tmp_path / "r", table(names, splits=("test",), cases=40, events=15), draws=20)
    card = write_model_card(folder).read_text(encoding="utf-8")
    assert r"a \| b" in card
    assert r'name: "quote \" colon: x"' in card


def test_a_validations_card_sends_to_the_run_that_holds_the_models(tmp_path):
    card = write_model_card(write_validation(tmp_path / "out")).read_text(encoding="utf-8")
    assert "# Model card: models trained on BreastMNIST, validated on hospital-b" in card
    assert "This folder holds a validation and no models." in card
    assert "the folder `results` (commit abababababab, models cdcdcdcdcdcd)" in card
    assert "clineval predict results IMAGE.png" in card
    assert "In hospital-b" in card


def test_the_command_of_a_validations_card_quotes_the_runs_folder(tmp_path):
    folder = write_validation(tmp_path / "out")
    given = json.loads((folder / "transport.json").read_text(encoding="utf-8"))
    given["run"]["folder"] = "my `first`\nrun; x"
    (folder / "transport.json").write_text(json.dumps(given), encoding="utf-8")
    card = write_model_card(folder).read_text(encoding="utf-8")
    assert "the folder `my first run; x` (commit" in card
    assert "clineval predict 'my first run; x' IMAGE.png" in card


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
    assert status["CLAIM 2024", "31"] == WORDS
    assert status["CLAIM 2024", "33"] == WORDS
    assert status["CLAIM 2024", "34"] == NOT_APPLICABLE


def test_a_run_with_an_audit_has_its_splits_answered(tmp_path):
    folder = write_results(tmp_path / "r", table(splits=("test",), cases=40, events=15), draws=20)
    for name in ("audit.json", "provenance.json", "maps.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    status = {(row.guideline, row.item): row.status for row in rows_for(read_artefacts(folder))}
    assert status["TRIPOD+AI", "12a"] == DONE
    assert status["CLAIM 2024", "20"] == DONE
    assert status["CLAIM 2024", "7"] == DONE
    assert status["CLAIM 2024", "31"] == DONE


def test_the_file_reads_back_as_the_rows(folder, rows):
    with write_checklist(folder).open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [(row["guideline"], row["item"], row["status"], row["where"]) for row in read] == [
        (row.guideline, row.item, row.status, row.where) for row in rows
    ]
