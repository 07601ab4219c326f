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
    assert point.table == Counts(1, 0, 0, 1)
    frozen = op.Point("half", 0.5, "fixed", "as likely as not")
    assert op.operating_point([1, 0], [0.9, 0.1], frozen).rule == "as likely as not"


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


def test_a_likelihood_ratio_of_0_has_score_bounds():
    found = op.likelihood_ratio_negative(Counts(5, 3, 0, 4))
    assert found.value == found.low == 0
    assert 0 < found.high < 2
    assert "Koopman" in found.method


def test_flagging_nobody_leaves_a_likelihood_ratio_of_1_with_some_width():
    found = op.likelihood_ratio_negative(Counts(0, 0, 5, 9))
    assert found.value == 1
    assert found.low < 0.8 < 1.2 < found.high


def test_the_score_bounds_are_koopman_s():
    # His example: 36 of 40 against 16 of 80, doi:10.2307/2530931.
    assert rates.score_bounds_of_ratio(36 / 40, 40, 16 / 80, 80) == pytest.approx((2.94, 7.15), abs=0.005)


def test_a_threshold_that_could_not_be_chosen_leaves_every_rate_undefined_for_its_reason():
    point = op.operating_point([1, 0], [0.9, 0.1], op.Point("chosen", math.nan, "val", "no rows"))
    assert point.true_positives is None
    assert {each.method for each in point.rates.values()} == {"no rows"}


@pytest.mark.parametrize("groups", [9, 3, 1])
def test_fewer_than_ten_groups_leave_rates_without_intervals(groups):
    outcome, risk, _, _ = sample("breastmnist")
    point = op.operating_point(outcome, risk, 0.3, group=np.arange(len(risk)) % groups)
    plain = op.operating_point(outcome, risk, 0.3)
    for measure in MEASURES.values():
        found = getattr(point, measure)
        assert found.value == getattr(plain, measure).value
        assert math.isnan(found.low)
        assert "too few" in found.method


@law(cases(least=20))
def test_the_table_of_thresholds_respects_groups_as_the_points_do(drawn):
    outcome, risk = drawn
    group = np.arange(len(risk)) // 2
    thresholds = np.arange(1, 10) / 10
    table = op.threshold_table(outcome, risk, thresholds, group=group)
    for i, threshold in enumerate(thresholds):
        point = op.operating_point(outcome, risk, threshold, group=group)
        for measure in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
            held = [column[i] for column in getattr(table, measure)]
            assert held == pytest.approx(triple(getattr(point, measure)), nan_ok=True, abs=1e-9)
        if point.true_positives and point.false_positives:
            worth = table.independent_events[i], table.independent_non_events[i]
            ratio = op.likelihood_ratio_positive(point.table, independent=worth)
            assert triple(ratio) == pytest.approx(triple(point.lr_positive), rel=1e-9)


def test_a_perfect_2x2_table_gives_mcc_1_without_an_interval():
    outcome = np.arange(9) < 5
    found = rates.mcc(outcome, outcome)
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
        assert point.table == counts(outcome, risk, threshold)


def test_the_table_refuses_a_risk_that_is_no_probability():
    with pytest.raises(ValueError, match="between 0 and 1"):
        op.threshold_table([1, 0], [2.0, 0.5], [0.5])
