"""The >= rule and counts at thresholds: by hand, against searching, exact at the grid's own floats."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from clinical_reference import cases
from discrimination_reference import law
from hypothesis import strategies as st

from clineval.statistics import counts as counting
from clineval.statistics import roc, scores
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


# From Python ------------------------------------------------------------------------------------------

OUTCOME, RISK = [1, 1, 0, 0, 1, 0], [0.9, 0.6, 0.4, 0.2, 0.7, 0.1]


def test_series_of_one_index_in_another_order_are_aligned():
    outcome = pd.Series(OUTCOME, index=list("abcdef"))
    risk = pd.Series(RISK, index=list("abcdef"))
    group = pd.Series(["p", "p", "q", "q", "r", "r"], index=list("abcdef"))
    expected = roc.auc(OUTCOME, RISK)
    assert roc.auc(outcome, risk.sort_values()) == expected
    assert roc.auc(outcome, risk=risk.iloc[::-1]) == expected
    shuffled = scores.brier(outcome, risk[::-1], group=group.sample(frac=1, random_state=1))
    assert shuffled.value == scores.brier(OUTCOME, RISK).value
    compared = roc.compare_auc(outcome, risk[::-1], risk.sort_values())
    assert compared.difference.value == 0


@pytest.mark.parametrize("index", [list("abcdeg"), range(6), list("aabcde")])
def test_series_whose_labels_differ_are_refused_with_what_to_do(index):
    outcome, risk = pd.Series(OUTCOME, index=list("abcdef")), pd.Series(RISK, index=index)
    with pytest.raises(ValueError, match=r"outcome and risk are Series of different index; .*to_numpy"):
        roc.auc(outcome, risk)
    assert roc.auc(outcome, risk.to_numpy()) == roc.auc(OUTCOME, RISK)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, np.datetime64("NaT")])
def test_a_case_without_a_group_is_refused_by_its_row(missing):
    for group in (
        ["p", "q", missing, "r", "s", "t"],
        pd.Series(["p", "q", missing, "r", "s", "t"], dtype=object),
    ):
        with pytest.raises(ValueError, match=r"a group for every case; got .* in row 3"):
            roc.auc(OUTCOME, RISK, group=group)


def test_a_group_of_nan_among_numbers_is_refused():
    with pytest.raises(ValueError, match="a group for every case; got nan in row 2"):
        group_codes(np.array([1.0, np.nan, 2.0]), 3)


def test_groups_of_mixed_kinds_are_told_apart():
    assert group_codes([1, "1", 1, "a"], 4).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(
    "outcome",
    [
        pd.array([True, False, pd.NA], dtype="boolean"),
        pd.Series([1, 0, None], dtype="Int64"),
        [1, 0, None],
        ["1", "0", "1"],
        ["yes", "no", "no"],
    ],
)
def test_outcomes_that_are_missing_or_words_are_refused(outcome):
    with pytest.raises(ValueError, match=r"every outcome to be 0 or 1; got .* in row [13]"):
        checked_outcome(outcome)


def test_nullable_columns_without_a_gap_are_read():
    assert checked_outcome(pd.array([True, False], dtype="boolean")).tolist() == [True, False]
    assert (
        checked_cases(pd.Series([1, 0], dtype="Int64"), pd.Series([0.2, 0.1], dtype="Float64"))[1][0] == 0.2
    )


@pytest.mark.parametrize(
    ("risk", "shown"),
    [(["0.2", "0.1"], "'0.2' in row 1"), ([0.2, None], "None in row 2"), ([0.2, pd.NA], "<NA> in row 2")],
)
def test_risks_that_are_text_or_missing_are_refused(risk, shown):
    with pytest.raises(ValueError, match=f"a number for every risk; got {re.escape(shown)}"):
        checked_cases([1, 0], risk)


def test_a_threshold_in_words_is_refused():
    with pytest.raises(ValueError, match=r"a number as threshold; got '0.5'"):
        counts([1, 0], [0.2, 0.1], "0.5")


def test_whatever_numpy_reads_is_an_array():
    class Column:
        """A column of another library, such as polars, which hands itself over as an array."""

        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.values, dtype=dtype)

    assert roc.auc(Column(OUTCOME), Column(RISK)) == roc.auc(OUTCOME, RISK)


@pytest.mark.parametrize("frame", [pd.DataFrame, pa.table, "polars"])
def test_a_frame_of_one_column_is_that_column(frame):
    frame = pytest.importorskip("polars").DataFrame if frame == "polars" else frame
    columns = [frame({"a": values}) for values in (OUTCOME, RISK)]
    assert roc.auc(*columns) == roc.auc(OUTCOME, RISK)
    with pytest.raises(ValueError, match=r"one dimension; got shape \(6, 2\)"):
        roc.auc(frame({"a": OUTCOME, "b": OUTCOME}), RISK)


def test_columns_of_polars_belong_by_their_order_and_may_miss_nothing():
    polars = pytest.importorskip("polars")
    group = polars.Series(["p", "p", "q", "q", "r", "r"])
    columns = polars.Series(OUTCOME), polars.Series(RISK)
    assert roc.auc(*columns, group=group.cast(polars.Categorical)) == roc.auc(OUTCOME, RISK, group=[*group])
    with pytest.raises(ValueError, match="got None in row 2"):
        group_codes(polars.Series(["a", None]), 2)
    with pytest.raises(ValueError, match="0 or 1; got None in row 1"):
        checked_outcome(polars.Series([None, True]))
    with pytest.raises(ValueError, match="finite number for every risk; got nan in row 1"):
        checked_cases([1, 0], polars.Series([None, 0.5]))
