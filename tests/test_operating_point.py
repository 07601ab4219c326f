"""What a model does at one threshold: by hand, against epiR, and by laws."""

import math

import numpy as np
import pytest
from clinical_reference import NAMES, cases, golden, sample, triple
from discrimination_reference import law
from hypothesis import strategies as st
from scipy.special import logit

from clineval.statistics import operating_point as op
from clineval.statistics.counts import Counts, counts
from clineval.statistics.decision_curve import decision_curve
from clineval.statistics.operating_point import operating_point, score_bounds_of_ratio
from clineval.statistics.thresholds import Point

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
    # 6 of 10 with the condition are flagged, and 2 of 10 without.
    flags = np.repeat([1.0, 0.0, 1.0, 0.0], [6, 4, 2, 8])
    found = op.operating_point(np.arange(20) < 10, flags, 0.5).appendix.f1
    assert found.value == pytest.approx(2 * 6 / (2 * 6 + 2 + 4))
    assert found.low < found.value < found.high
    assert found.method.startswith("appendix measure")


def test_a_point_says_its_name_and_where_its_threshold_comes_from():
    point = op.operating_point([1, 0], [0.9, 0.1], 0.5, name="half", chosen_on="fixed")
    assert (point.name, point.chosen_on, point.threshold) == ("half", "fixed", 0.5)
    assert point.table == Counts(1, 0, 0, 1)
    frozen = Point("half", 0.5, "fixed", "as likely as not")
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
    assert score_bounds_of_ratio(36 / 40, 40, 16 / 80, 80) == pytest.approx((2.94, 7.15), abs=0.005)


def test_a_threshold_that_could_not_be_chosen_leaves_every_rate_undefined_for_its_reason():
    point = op.operating_point([1, 0], [0.9, 0.1], Point("chosen", math.nan, "val", "no rows"))
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


@pytest.mark.slow
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
    found = op.operating_point(outcome, outcome.astype(float), 0.5).appendix.mcc
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


@law(cases(least=8))
def test_groups_of_one_are_no_groups(drawn):
    outcome, risk = drawn
    plain = operating_point(outcome, risk, 0.45)
    assert operating_point(outcome, risk, 0.45, group=np.arange(len(risk))) == plain or math.isnan(
        plain.ppv.value
    )
    for measure in MEASURES.values():
        grouped = getattr(operating_point(outcome, risk, 0.45, group=np.arange(len(risk))), measure)
        assert triple(grouped) == pytest.approx(triple(getattr(plain, measure)), nan_ok=True)


def test_groups_of_copies_widen_every_interval_and_move_no_value():
    outcome, risk, _, _ = sample("breastmnist")
    copied = np.repeat(outcome, 3), np.repeat(risk, 3)
    apart = operating_point(*copied, 0.3)
    grouped = operating_point(*copied, 0.3, group=np.repeat(np.arange(156), 3))
    for measure in MEASURES.values():
        one, other = getattr(apart, measure), getattr(grouped, measure)
        assert one.value == other.value
        assert other.high - other.low > 1.5 * (one.high - one.low)


def test_fewer_independent_cases_widen_a_likelihood_ratio():
    table = Counts(30, 20, 12, 94)
    plain, grouped = (
        op.likelihood_ratio_positive(table),
        op.likelihood_ratio_positive(table, independent=(21.0, 57.0)),
    )
    assert grouped.value == plain.value
    assert grouped.high / grouped.low == pytest.approx((plain.high / plain.low) ** math.sqrt(2))


def test_mcc_of_a_table_with_an_empty_row_is_undefined():
    nobody = op.operating_point(np.arange(7) < 3, np.zeros(7), 0.5)
    assert "empty" in nobody.appendix.mcc.method


@pytest.mark.parametrize("name", NAMES)
def test_predictive_values_and_net_benefit_at_10_percent_are_r_s(name):
    outcome, risk, _, _ = sample(name)
    for row in R[name]["at"]:
        if "ppv_at_10" not in row:
            continue
        table = counts(outcome, risk, row["threshold"])
        assert triple(op.ppv_at_prevalence(table, 0.1)) == pytest.approx(row["ppv_at_10"], rel=1e-9)
        assert triple(op.npv_at_prevalence(table, 0.1)) == pytest.approx(row["npv_at_10"], rel=1e-9)
        benefit = op.net_benefit_at_prevalence(table, row["threshold"], 0.1)
        assert triple(benefit) == pytest.approx(row["net_benefit_at_10"], rel=1e-9)


@law(cases())
def test_at_the_sample_s_own_prevalence_nothing_changes(drawn):
    outcome, risk = drawn
    point, share = operating_point(outcome, risk, 0.45), outcome.mean()
    if point.table.flagged:
        assert op.ppv_at_prevalence(point.table, share).value == pytest.approx(point.ppv.value)
    if point.table.flagged < point.table.cases:
        assert op.npv_at_prevalence(point.table, share).value == pytest.approx(point.npv.value)
    benefit = decision_curve(outcome, risk, thresholds=[0.45], draws=0).net_benefit[0]
    assert op.net_benefit_at_prevalence(point.table, 0.45, share).value == pytest.approx(benefit)


@law(st.floats(0.01, 0.98), st.floats(0.001, 0.01))
def test_ppv_rises_and_npv_falls_with_prevalence(prevalence, more):
    table = Counts(30, 20, 12, 94)
    low, high = (op.ppv_at_prevalence(table, p).value for p in (prevalence, prevalence + more))
    assert low < high
    low, high = (op.npv_at_prevalence(table, p).value for p in (prevalence, prevalence + more))
    assert low > high


def test_a_class_that_is_absent_leaves_everything_undefined():
    for table in (Counts(3, 0, 2, 0), Counts(0, 3, 0, 2)):
        assert math.isnan(op.ppv_at_prevalence(table, 0.1).value)
        assert math.isnan(op.net_benefit_at_prevalence(table, 0.5, 0.1).value)


def test_groups_widen_a_predictive_value_as_far_as_they_are_worth():
    table = Counts(30, 20, 12, 94)
    for of in (op.ppv_at_prevalence, op.npv_at_prevalence):
        plain, grouped = of(table, 0.05), of(table, 0.05, independent=(21.0, 57.0))
        width = logit(plain.high) - logit(plain.low)
        assert logit(grouped.high) - logit(grouped.low) == pytest.approx(width * math.sqrt(2))
    plain, grouped = (
        op.net_benefit_at_prevalence(table, 0.1, 0.05, independent=worth) for worth in (None, (21.0, 57.0))
    )
    assert grouped.high - grouped.low > 1.2 * (plain.high - plain.low)


def test_an_empty_cell_has_the_score_bounds_of_its_likelihood_ratio():
    found = op.ppv_at_prevalence(Counts(3, 0, 2, 5), 0.1)
    low, high = score_bounds_of_ratio(3 / 5, 5, 0, 5)
    assert (found.value, high, found.high) == (1, np.inf, 1)
    assert found.low == pytest.approx(low / 9 / (1 + low / 9))
    assert "empty cell" in found.method
    missed = op.npv_at_prevalence(Counts(5, 1, 0, 4), 0.1)
    assert missed.value == 1
    assert 0.5 < missed.low < 1
    assert "no case is flagged" in op.ppv_at_prevalence(Counts(0, 0, 2, 5), 0.1).method


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, np.nan])
def test_a_prevalence_outside_0_to_1_is_refused(prevalence):
    with pytest.raises(ValueError, match="A prevalence must lie between 0 and 1"):
        op.ppv_at_prevalence(Counts(1, 1, 1, 1), prevalence)


def test_a_threshold_of_1_has_no_net_benefit():
    with pytest.raises(ValueError, match=r"a threshold in \[0, 1\)"):
        op.net_benefit_at_prevalence(Counts(1, 1, 1, 1), 1.0, 0.1)


def test_at_a_threshold_of_0_the_net_benefit_is_the_share_of_events_found():
    found = op.net_benefit_at_prevalence(Counts(3, 1, 1, 5), 0.0, 0.2)
    assert found.value == pytest.approx(0.75 * 0.2)
