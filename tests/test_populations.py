"""Which columns make subgroups, in which order, and what is said of those that do not."""

import numpy as np
import pandas as pd
import pytest

from clineval.errors import InputError
from clineval.evaluation.populations import FILE_ONLY, NAMES_CASES, NOT_CHOSEN, ordered_columns

CASES = 60


def table(**columns) -> pd.DataFrame:
    base = {"model": "cnn", "split": "test", "case": np.arange(CASES).astype(str), "group": "p"}
    return pd.DataFrame({**base, "outcome": 0, "risk": 0.5, **columns})


def cycle(*values):
    return [values[row % len(values)] for row in range(CASES)]


def test_what_a_clinician_asks_for_first_comes_first_and_numbers_come_last():
    found = ordered_columns(
        table(
            Histology=cycle("cyst", "cancer"), score=np.linspace(0, 1, CASES), Side=cycle("left", "right"),
            BIRADS=cycle(2, 3, 4), patient_age=np.arange(CASES) // 2 + 30, Device=cycle("A", "B"),
        )
    )  # fmt: skip
    assert list(found) == ["Device", "BIRADS", "Side", "patient_age", "Histology", "score"]
    assert set(found.values()) == {""}


@pytest.mark.parametrize("name", ["BI-RADS", "birads", "Bi_Rads category", "acrBIRADS"])
def test_bi_rads_is_known_however_it_is_written(name):
    found = ordered_columns(table(**{"Histology": cycle("a", "b"), name: cycle(3, 4)}))
    assert next(iter(found)) == name


@pytest.mark.parametrize("name", ["Width", "image_height", "BBOX", "xmin", "ImageWidth", "file path", "y"])
def test_what_describes_the_file_alone_is_left_out_and_said_to_be(name):
    found = ordered_columns(table(**{name: cycle(1, 2), "site": cycle("a", "b")}))
    assert found == {"site": "", name: FILE_ONLY}


@pytest.mark.parametrize(
    "name", ["lesion width", "body_height", "right", "size", "site", "box type", "年齢 w"]
)
def test_a_name_that_may_speak_of_the_patient_is_kept(name):
    assert ordered_columns(table(**{name: cycle(1, 2)})) == {name: ""}


def test_numbers_that_name_cases_are_left_out_and_measurements_are_not():
    found = ordered_columns(table(number=np.arange(CASES), volume=np.linspace(0.5, 9, CASES)))
    assert found == {"volume": "", "number": NAMES_CASES}


def test_one_value_and_too_many_words_are_left_out():
    found = ordered_columns(table(country=cycle("x"), remark=[f"r{row}" for row in range(CASES)]))
    assert found["country"] == "every case has the same value"
    endless = np.where(np.arange(CASES) < 20, np.inf, np.arange(CASES) / 7)
    assert ordered_columns(table(dose=endless)) == {"dose": "infinite values have no quartiles to be cut at"}
    assert ordered_columns(table(age=np.full(CASES, np.nan))) == {"age": "no case has a value"}
    assert found["remark"] == "60 different values are too many to group by; at most 20 are"


def test_what_is_left_out_stands_last_whatever_its_name():
    found = ordered_columns(table(Device=cycle("A"), score=np.linspace(0, 1, CASES)))
    assert list(found) == ["score", "Device"]


def test_chosen_columns_stand_first_as_chosen_and_the_others_are_said_not_to_be():
    given = table(Device=cycle("A", "B"), Width=cycle(1, 2), Side=cycle("l", "r"))
    found = ordered_columns(given, ("Width", "Device"))
    assert found == {"Width": "", "Device": "", "Side": NOT_CHOSEN}


def test_a_chosen_column_that_cannot_group_says_why():
    found = ordered_columns(table(remark=[f"r{row}" for row in range(CASES)]), ("remark",))
    assert "too many to group by" in found["remark"]


def test_a_chosen_column_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InputError, match=r"further columns \(Device; Side\); got 'Devise'"):
        ordered_columns(table(Device=cycle("A", "B"), Side=cycle("l", "r")), ("Devise",))
