"""What a model does at one threshold: by hand, against epiR, and by laws."""

import math

import numpy as np
import pytest
from clinical_reference import NAMES, cases, golden, sample, triple
from discrimination_reference import law

from clineval.statistics import operating_point as op
from clineval.statistics import rates
from clineval.statistics.counts import Counts, counts

R = golden("operating_point")["samples"]
MEASURES = {
    "se": "sensitivity",
    "sp": "specificity",
    "pv.pos": "ppv",
    "pv.neg": "npv",
    "diag.ac": "accuracy",
    "lr.pos": "lr_positive",
    "lr.neg": "lr_negative",
    "balanced": "balanced_accuracy",
}


def rows(name):
    outcome, risk, _, _ = sample(name)
    return [(row, op.operating_point(outcome, risk, row["threshold"])) for row in R[name]["at"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_2x2_table_is_r_s(name):
    for row, point in rows(name):
        assert row["counts"] == [
            point.true_positives,
            point.false_positives,
            point.false_negatives,
            point.true_negatives,
        ]


@pytest.mark.parametrize("name", NAMES)
def test_rates_and_likelihood_ratios_are_epi_r_s(name):
    for row, point in rows(name):
        for theirs, ours in MEASURES.items():
            if theirs in row:
                assert triple(getattr(point, ours)) == pytest.approx(row[theirs], rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_mcc_is_the_correlation_of_flag_and_condition_with_r_s_interval(name):
    for row, point in rows(name):
        if "mcc" in row:
            assert triple(point.appendix.mcc) == pytest.approx(row["mcc"], rel=1e-9)


def test_f1_by_hand():
    found = rates.f1(Counts(6, 2, 4, 8))
    assert found.value == pytest.approx(2 * 6 / (2 * 6 + 2 + 4))
    assert found.low < found.value < found.high
    assert found.method.startswith("appendix measure")


def test_a_point_says_its_name_and_where_its_threshold_comes_from():
    point = op.operating_point([1, 0], [0.9, 0.1], 0.5, name="half", chosen_on="fixed")
    assert (point.name, point.chosen_on, point.threshold) == ("half", "fixed", 0.5)
    assert point.counts == Counts(1, 0, 0, 1)


@pytest.mark.parametrize(
    ("outcome", "threshold", "measure", "reason"),
    [
        ([0, 0, 0], 0.5, "sensitivity", "no case has the condition"),
        ([1, 1, 1], 0.5, "specificity", "no case is without the condition"),
        ([1, 0, 0], 0.95, "ppv", "no case is flagged"),
        ([1, 0, 0], 0.05, "npv", "every case is flagged"),
        ([0, 0, 0], 0.5, "balanced_accuracy", "with and without"),
        ([1, 1, 1], 0.5, "lr_positive", "with and without"),
        ([1, 0, 0], 0.85, "lr_positive", "has no bound"),
    ],
)
def test_a_rate_of_nothing_is_nan_with_the_reason(outcome, threshold, measure, reason):
    found = getattr(op.operating_point(outcome, [0.9, 0.5, 0.1], threshold), measure)
    assert np.isnan(triple(found)).all()
    assert reason in found.method


def test_no_cases_at_all_leave_every_rate_undefined():
    point = op.operating_point([], [], 0.5)
    assert math.isnan(point.accuracy.value)
    assert math.isnan(point.appendix.f1.value)
    assert math.isnan(point.appendix.mcc.value)


def test_a_likelihood_ratio_of_0_has_no_log_interval_and_says_so():
    found = op.likelihood_ratio_negative(Counts(5, 3, 0, 4))
    assert found.value == 0
    assert math.isnan(found.low)
    assert "log method has no interval" in found.method


def test_a_perfect_2x2_table_gives_mcc_1_without_an_interval():
    found = rates.mcc(Counts(5, 0, 0, 4))
    assert found.value == 1
    assert math.isnan(found.low)


@law(cases())
def test_naming_the_other_class_the_condition_swaps_the_rates(drawn):
    outcome, risk = drawn
    one = op.operating_point(outcome, risk, 0.45)
    other = op.operating_point(~outcome, 1 - risk, 0.55)
    assert triple(one.sensitivity) == triple(other.specificity)
    assert triple(one.ppv) == pytest.approx(triple(other.npv), nan_ok=True)
    assert one.balanced_accuracy.value == pytest.approx(other.balanced_accuracy.value)


@law(cases())
def test_every_row_twice_keeps_the_rates_and_narrows_their_intervals(drawn):
    outcome, risk = drawn
    once, twice = (op.operating_point(np.tile(outcome, k), np.tile(risk, k), 0.45) for k in (1, 2))
    assert twice.accuracy.value == once.accuracy.value
    assert twice.accuracy.high - twice.accuracy.low < once.accuracy.high - once.accuracy.low


@law(cases())
def test_rates_lie_in_their_intervals_and_these_in_0_to_1(drawn):
    point = op.operating_point(*drawn, 0.45)
    for measure in ("sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy"):
        found = getattr(point, measure)
        if not math.isnan(found.value):
            assert 0 <= found.low <= found.value <= found.high <= 1


@law(cases())
def test_the_table_of_thresholds_holds_the_operating_points(drawn):
    outcome, risk = drawn
    thresholds = np.arange(1, 10) / 10
    table = op.threshold_table(outcome, risk, thresholds)
    for i, threshold in enumerate(thresholds):
        point = op.operating_point(outcome, risk, threshold)
        for measure in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
            held = [column[i] for column in getattr(table, measure)]
            assert held == pytest.approx(triple(getattr(point, measure)), nan_ok=True, abs=1e-15)
        assert point.counts == counts(outcome, risk, threshold)


def test_the_table_refuses_a_risk_that_is_no_probability():
    with pytest.raises(ValueError, match="between 0 and 1"):
        op.threshold_table([1, 0], [2.0, 0.5], [0.5])
