"""What every statistic takes is checked once, and refused in words."""

import numpy as np
import pytest

from clineval.statistics.cases import checked_cases, checked_outcome, group_codes


@pytest.mark.parametrize("outcome", [[1, 0, 1], [True, False, True], [1.0, 0.0, 1.0]])
def test_outcomes_are_read_as_true_and_false(outcome):
    assert checked_outcome(outcome).tolist() == [True, False, True]


@pytest.mark.parametrize("outcome", [[1, 2, 0], [0, -1], [0.5, 1], [np.nan, 1]])
def test_another_outcome_is_refused_by_its_number(outcome):
    with pytest.raises(ValueError, match="Every outcome must be 0 or 1; number"):
        checked_outcome(outcome)


def test_words_are_no_outcomes():
    with pytest.raises(ValueError, match="0 or 1"):
        checked_outcome(["malignant", "benign"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_risk_that_is_no_finite_number_is_refused_by_its_number(value):
    with pytest.raises(ValueError, match="number 1 is"):
        checked_cases([1, 0, 1], [0.1, value, 0.2])


def test_lengths_must_agree_and_stand_in_one_dimension():
    with pytest.raises(ValueError, match="One risk per outcome"):
        checked_cases([1, 0], [0.1])
    with pytest.raises(ValueError, match="one dimension"):
        checked_cases([[1, 0]], [[0.1, 0.2]])
    with pytest.raises(ValueError, match="One group per case"):
        group_codes(["a"], 2)


def test_groups_are_numbered_by_first_appearance():
    assert group_codes(["b", "a", "b", "c"], 4).tolist() == [0, 1, 0, 2]
    assert group_codes([7, 3, 7, 0], 4).tolist() == [0, 1, 0, 2]


def test_without_groups_each_case_is_its_own():
    assert group_codes(None, 3).tolist() == [0, 1, 2]
    assert len(group_codes([], 0)) == 0
