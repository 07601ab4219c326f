"""The units of a bootstrap of sums: who is drawn with whom, and with what spread."""

import numpy as np
import pytest
from clinical_reference import cases, sample
from discrimination_reference import law

from clineval.statistics.resampling import resampling_units, shared_groups


def test_each_case_is_a_unit_where_there_are_no_groups():
    outcome, _, _, _ = sample("small")
    units = resampling_units(outcome, None, stratified=False)
    assert (units.number, units.gathered, len(units.strata)) == (24, False, 1)
    assert sorted(units.of_case) == list(range(24))


@law(cases())
def test_stratified_draws_keep_the_number_of_events(drawn):
    outcome, _ = drawn
    units = resampling_units(outcome, None, stratified=True)
    weights = units.weights(20, 0)
    events = weights @ units.sums(np.zeros(len(outcome), dtype=int), 1, outcome)
    assert (events == outcome.sum()).all()
    assert (weights.sum(axis=1) == len(outcome)).all()


def test_groups_are_drawn_whole_among_their_own_kind():
    outcome = np.array([1, 1, 0, 0, 1, 0]) == 1
    units = resampling_units(outcome, ["a", "a", "b", "b", "c", "c"], stratified=True)
    assert units.number == 3
    assert sorted(len(stratum) for stratum in units.strata) == [1, 1, 1]
    assert (units.weights(10, 0) == 1).all()


def test_sums_by_unit_and_column_add_up_to_the_cases():
    outcome, _, _, group = sample("tied")
    units = resampling_units(outcome, group, stratified=False)
    column = np.arange(len(outcome)) % 4
    assert units.sums(column, 4).sum(axis=0).tolist() == np.bincount(column).tolist()
    events = units.sums(column, 4, outcome).sum(axis=0)
    assert events.tolist() == np.bincount(column, weights=outcome).tolist()


def test_too_many_groups_are_dealt_to_units_in_equal_shares_by_chance():
    units = resampling_units(np.zeros(1050, dtype=bool), None, stratified=False, most=100)
    shares = np.bincount(units.of_case)
    assert (units.number, units.gathered) == (100, True)
    assert (shares.min(), shares.max()) == (10, 11)
    assert not np.array_equal(units.of_case, np.arange(1050) % 100)


def test_a_file_sorted_by_risk_has_the_bootstrap_error_of_a_shuffled_one():
    values = np.sort(np.random.default_rng(0).random(20_000))
    units = resampling_units(np.zeros(20_000, dtype=bool), None, stratified=False)
    sums = units.sums(np.zeros(20_000, dtype=int), 1, values)
    spread = (units.weights(1000, 0) @ sums).std()
    assert spread == pytest.approx(values.std() * np.sqrt(20_000), rel=0.1)


def test_groups_without_a_second_case_are_none():
    assert shared_groups(None, 3) is None
    assert shared_groups(["a", "b", "c"], 3) is None
    assert shared_groups([], 0) is None
    assert shared_groups(["a", "b", "a"], 3).tolist() == [0, 1, 0]
