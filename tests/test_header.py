"""The head of a report: it says how the cases were parted, by whoever parted them."""

import pytest
from simulated_results import table, write_results

from clineval.reporting.artefacts import read_artefacts
from clineval.reporting.header import header
from clineval.reporting.validation_answer import subject_in


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "a table of predictions"),
        ({"split": "grouped"}, "grouped split"),
        ({"split": "official", "own": {"split_column": "part"}}, "split by column part"),
        ({"split": "official", "own": {"split_column": None}}, "split by group, seeded"),
    ],
)
def test_the_split_of_own_images_is_not_called_official(tmp_path, data, words):
    artefacts = read_artefacts(write_results(tmp_path / "r", table(("only",), splits=("test",)), draws=20))
    given = {**vars(artefacts), "provenance": {"settings": {"data": data}}}
    changed = type(artefacts)(**given)
    facts = {name: value for name, value, _ in header(changed, subject_in(changed))["facts"]}
    assert facts["Data"] == words


def test_a_table_of_predictions_has_a_title_without_a_data_set(tmp_path):
    artefacts = read_artefacts(write_results(tmp_path / "r", table(("only",), splits=("test",)), draws=20))
    found = header(artefacts, subject_in(artefacts))
    assert found["kind"] == "Clinical evaluation"
    assert found["title"].startswith("How well does a model recognise “")
