"""Columns of neighbouring risks: equal risks together, shares equal, order kept."""

import numpy as np
import pytest
from clinical_reference import cases
from discrimination_reference import law
from hypothesis import strategies as st

from clineval.statistics.binning import columns_by_risk


def test_few_distinct_risks_have_a_column_each():
    columns = columns_by_risk(np.array([0.3, 0.1, 0.3, 0.9]), 3)
    assert columns.of_case.tolist() == [1, 0, 1, 2]
    assert columns.least.tolist() == [0.1, 0.3, 0.9]
    assert not columns.binned


def test_many_distinct_risks_are_cut_into_equal_shares():
    columns = columns_by_risk(np.random.default_rng(0).random(1000), 10)
    assert np.bincount(columns.of_case).tolist() == [100] * 10
    assert columns.binned


@law(cases(), st.integers(1, 12))
def test_columns_rise_with_risk_and_never_part_equal_risks(drawn, most):
    _, risk = drawn
    columns = columns_by_risk(risk, most)
    assert columns.number <= most
    for value in set(risk):
        assert len(set(columns.of_case[risk == value])) == 1
    order = np.argsort(risk)
    assert (np.diff(columns.of_case[order]) >= 0).all()
    assert columns.least == pytest.approx([risk[columns.of_case == k].min() for k in range(columns.number)])


def test_no_cases_have_no_columns():
    assert columns_by_risk(np.zeros(0), 10).number == 0
