"""The model card: its layout, its numbers, its warnings."""

import json
import re

import pytest
from simulated_results import table, write_results
from transport_content import write_validation

from clineval.evaluation import read_evaluation
from clineval.reporting.model_card import plain, write_model_card


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
