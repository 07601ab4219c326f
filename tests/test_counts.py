"""The >= rule and counts at thresholds: by hand, against searching, exact at the grid's own floats."""

import numpy as np
import pytest
from clinical_reference import cases
from discrimination_reference import law
from hypothesis import strategies as st

from clineval.statistics import counts as counting
from clineval.statistics.counts import (
    Counts,
    ascending,
    checked_cases,
    checked_outcome,
    checked_risks,
    counts,
    flagged,
    flagged_counts,
    group_codes,
    steps_reached,
)


@pytest.mark.parametrize("outcome", [[1, 0, 1], [True, False, True], [1.0, 0.0, 1.0]])
def test_outcomes_are_read_as_true_and_false(outcome):
    assert checked_outcome(outcome).tolist() == [True, False, True]


@pytest.mark.parametrize("outcome", [[1, 2, 0], [0, -1], [0.5, 1], [np.nan, 1]])
def test_another_outcome_is_refused_by_its_number(outcome):
    with pytest.raises(ValueError, match=r"every outcome to be 0 or 1; got .* in row \d"):
        checked_outcome(outcome)


def test_words_are_no_outcomes():
    with pytest.raises(ValueError, match="0 or 1"):
        checked_outcome(["malignant", "benign"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_risk_that_is_no_finite_number_is_refused_by_its_number(value):
    with pytest.raises(ValueError, match="in row 2"):
        checked_cases([1, 0, 1], [0.1, value, 0.2])


def test_lengths_must_agree_and_stand_in_one_dimension():
    with pytest.raises(ValueError, match="one risk per outcome"):
        checked_cases([1, 0], [0.1])
    with pytest.raises(ValueError, match="one dimension"):
        checked_cases([[1, 0]], [[0.1, 0.2]])
    with pytest.raises(ValueError, match="one group per case"):
        group_codes(["a"], 2)


def test_groups_are_numbered_by_first_appearance():
    assert group_codes(["b", "a", "b", "c"], 4).tolist() == [0, 1, 0, 2]
    assert group_codes([7, 3, 7, 0], 4).tolist() == [0, 1, 0, 2]


def test_without_groups_each_case_is_its_own():
    assert group_codes(None, 3).tolist() == [0, 1, 2]
    assert len(group_codes([], 0)) == 0


GRIDS = {
    "hundredths": np.arange(1, 100) / 100,
    "thousandths with both ends": np.arange(1001) / 1000,
    "a stretch of thousandths": np.arange(5, 40) / 1000,
    "uneven": np.array([0.015, 0.2, 0.21, 0.9]),
    "one": np.array([0.5]),
}


def test_a_risk_equal_to_the_threshold_is_flagged():
    assert flagged([0.29, 0.3, 0.31], 0.3).tolist() == [False, True, True]


def test_counts_by_hand():
    found = counts([1, 1, 0, 0, 1], [0.9, 0.2, 0.5, 0.1, 0.5], 0.5)
    assert found == Counts(true_positives=2, false_positives=1, false_negatives=1, true_negatives=1)
    assert (found.events, found.non_events, found.flagged, found.cases) == (3, 2, 3, 5)


def test_a_threshold_of_nan_is_refused():
    with pytest.raises(ValueError, match="a number as threshold; got nan"):
        counts([1, 0], [0.2, 0.1], np.nan)


def test_a_risk_outside_0_to_1_is_named():
    with pytest.raises(ValueError, match=r"between 0 and 1; got 1.5 in row 2"):
        checked_risks([1, 0], [0.5, 1.5])


@pytest.mark.parametrize("thresholds", [[0.2, 0.1], [0.1, 0.1], [0.1, np.nan]])
def test_thresholds_out_of_order_are_refused(thresholds):
    with pytest.raises(ValueError, match="strictly ascending"):
        ascending(thresholds)


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_value_and_its_neighbouring_floats_are_counted_exactly(name):
    grid = GRIDS[name]
    values = np.arange(1001) / 1000
    risk = np.clip(np.concatenate([values, np.nextafter(values, -1), np.nextafter(values, 2)]), 0, 1)
    assert np.array_equal(steps_reached(risk, grid), (risk[:, None] >= grid).sum(axis=1))


@law(cases(), st.sampled_from(sorted(GRIDS)))
def test_counts_at_many_thresholds_are_the_counts_at_each(drawn, name):
    outcome, risk = drawn
    true_positives, false_positives = flagged_counts(outcome, risk, GRIDS[name])
    for i, threshold in enumerate(GRIDS[name]):
        one = counts(outcome, risk, threshold)
        assert (true_positives[i], false_positives[i]) == (one.true_positives, one.false_positives)


def test_more_cases_than_one_block_are_all_counted():
    risk = np.random.default_rng(0).random(100_000)
    true_positives, false_positives = flagged_counts(risk < 0.4, risk, GRIDS["hundredths"])
    assert true_positives[0] + false_positives[0] == np.count_nonzero(risk >= 0.01)
    assert true_positives[39] == 0


@pytest.mark.parametrize(
    ("thresholds", "steps"),
    [
        (np.arange(1, 100) / 100, 100),
        (np.arange(101) / 100, 100),
        (np.arange(1, 1000) / 1000, 1000),
        (np.array([0.01, 0.03]), None),
        (np.array([0.99, 1.0, 1.01]), None),
        (np.array([-0.01, 0.0]), None),
        (np.zeros(0), None),
    ],
)
def test_decimal_grids_are_known_as_such(thresholds, steps):
    assert counting._decimal_steps(thresholds) == steps
