"""Words in the cells of tables: splits in every spelling, outcomes as text and as numbers."""

import doctest

import numpy as np
import pytest

from clineval.errors import listed_columns
from clineval.tables import columns
from clineval.tables.columns import Notation, is_mistyped, is_value, notation_of, split_meant, split_of


def test_the_examples_hold():
    assert doctest.testmod(columns).failed == 0


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", "train Train TRAINING training"),
        ("val", "val Val VALID valid Validation dev Dev"),
        ("test", "test TEST Testing prueba"),
        ("train", "Entraînement entrenamiento Apprentissage"),
        ("val", "Validierung validación"),
    ],
)
def test_a_split_is_known_in_every_spelling(split, words):
    assert {split_of(word) for word in words.split()} == {split}


@pytest.mark.parametrize(
    "word", ["hospital-b", "external", "torino", "valencia", "site 2", "2024", "", "all", "cohort"]
)
def test_a_cohort_is_no_split_and_no_misspelt_one(word):
    assert split_of(word) is None
    assert split_meant(word) is None


@pytest.mark.parametrize(("word", "meant"), [("trian", "train"), ("vald", "val"), ("tset", "test")])
def test_a_misspelt_split_is_told_from_a_cohort(word, meant):
    assert split_of(word) is None
    assert split_meant(word) == meant


def test_a_value_is_the_same_text_or_the_same_number():
    cells = np.array(["1", "1.0", "01", "0", "one", "1e0", "nan"])
    assert is_value(cells, "1").tolist() == [True, True, True, False, False, True, False]
    assert is_value(cells, "one").tolist() == [False] * 4 + [True, False, False]
    assert is_value(np.array(["nan", "NaN"]), "nan").tolist() == [True, False]
    assert is_value(np.array([], dtype=str), "1").tolist() == []


def test_a_refusal_names_the_column_that_differs_only_in_case():
    assert listed_columns("id", ["ID", "Case"]) == "ID, Case (did you mean ID?)"
    assert listed_columns("name", ["ID", "Case"]) == "ID, Case"


def test_faults_of_a_spreadsheet_are_no_numbers_and_no_words():
    assert notation_of(["#REF!", "1,5", "#DIV/0!", "2,5"]) == Notation(",")


def test_one_letter_too_few_too_many_or_in_another_place_is_a_mistyped_word():
    letters = "malignant"
    for place in range(1, len(letters)):
        assert is_mistyped(letters[:place] + letters[place + 1 :], letters)
        assert is_mistyped(letters[:place] + "x" + letters[place:], letters)
    assert is_mistyped(" Malignnat", letters)
    for word in ("malignant", "Malignant ", "benign", "xmalignant", "malignxnt", "malig", "malignant1"):
        assert not is_mistyped(word, letters), word
    assert not is_mistyped("high", "hig")
