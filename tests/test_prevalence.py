"""Prevalence transport: by hand, against R, and by laws."""

import math

import numpy as np
import pytest
from clinical_reference import LETTERS, NAMES, cases, cases_of, golden, sample, triple
from discrimination_reference import law
from hypothesis import strategies as st
from scipy.special import logit

from clineval.statistics import prevalence as pv
from clineval.statistics.counts import Counts, counts
from clineval.statistics.decision_curve import decision_curve
from clineval.statistics.operating_point import operating_point
from clineval.statistics.rates import score_bounds_of_ratio

R = golden("operating_point")["samples"]
CALIBRATION = golden("calibration")


@pytest.mark.parametrize("name", NAMES)
def test_predictive_values_and_net_benefit_at_10_percent_are_r_s(name):
    outcome, risk, _, _ = sample(name)
    for row in R[name]["at"]:
        if "ppv_at_10" not in row:
            continue
        table = counts(outcome, risk, row["threshold"])
        assert triple(pv.ppv_at_prevalence(table, 0.1)) == pytest.approx(row["ppv_at_10"], rel=1e-9)
        assert triple(pv.npv_at_prevalence(table, 0.1)) == pytest.approx(row["npv_at_10"], rel=1e-9)
        benefit = pv.net_benefit_at_prevalence(table, row["threshold"], 0.1)
        assert triple(benefit) == pytest.approx(row["net_benefit_at_10"], rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", LETTERS)
def test_the_intercept_at_10_percent_is_r_s(name, letter):
    outcome, risk, _ = cases_of(name, letter)
    found = pv.intercept_at_prevalence(outcome, risk, 0.1)
    if risk.min() == 0:
        assert math.isnan(found.value)
        assert "exactly 0 or 1" in found.method
    else:
        theirs = CALIBRATION[name][letter]["logistic"]["intercept_at_10"]
        assert found.value == pytest.approx(theirs["value"], rel=1e-6)
        assert (found.high - found.low) / 2 / 1.959963984540054 == pytest.approx(theirs["error"], rel=1e-6)


@law(cases())
def test_at_the_sample_s_own_prevalence_nothing_changes(drawn):
    outcome, risk = drawn
    point, share = operating_point(outcome, risk, 0.45), outcome.mean()
    if point.table.flagged:
        assert pv.ppv_at_prevalence(point.table, share).value == pytest.approx(point.ppv.value)
    if point.table.flagged < point.table.cases:
        assert pv.npv_at_prevalence(point.table, share).value == pytest.approx(point.npv.value)
    benefit = decision_curve(outcome, risk, thresholds=[0.45], draws=0).net_benefit[0]
    assert pv.net_benefit_at_prevalence(point.table, 0.45, share).value == pytest.approx(benefit)


@law(st.floats(0.01, 0.98), st.floats(0.001, 0.01))
def test_ppv_rises_and_npv_falls_with_prevalence(prevalence, more):
    table = Counts(30, 20, 12, 94)
    low, high = (pv.ppv_at_prevalence(table, p).value for p in (prevalence, prevalence + more))
    assert low < high
    low, high = (pv.npv_at_prevalence(table, p).value for p in (prevalence, prevalence + more))
    assert low > high


def test_risks_of_a_calibrated_model_are_calibrated_again_after_the_shift():
    rng = np.random.default_rng(0)
    risk = rng.beta(2, 5, 200_000)
    outcome = rng.random(200_000) < risk
    own = outcome.mean()
    moved = pv.risk_at_prevalence(risk, trained_at=own, prevalence=0.05)
    before = pv.intercept_at_prevalence(outcome, risk, 0.05)
    after = pv.intercept_at_prevalence(outcome, moved, 0.05)
    assert before.high < -1
    assert abs(after.value) < 0.03


@law(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_moving_risks_there_and_back_changes_nothing(one, other):
    risk = np.array([0.0, 0.1, 0.5, 0.97, 1.0])
    there = pv.risk_at_prevalence(risk, trained_at=one, prevalence=other)
    assert pv.risk_at_prevalence(there, trained_at=other, prevalence=one) == pytest.approx(risk)


def test_a_class_that_is_absent_leaves_everything_undefined():
    for table in (Counts(3, 0, 2, 0), Counts(0, 3, 0, 2)):
        assert math.isnan(pv.ppv_at_prevalence(table, 0.1).value)
        assert math.isnan(pv.net_benefit_at_prevalence(table, 0.5, 0.1).value)
    assert math.isnan(pv.intercept_at_prevalence([1, 1], [0.2, 0.3], 0.1).value)


def test_groups_widen_a_predictive_value_as_far_as_they_are_worth():
    table = Counts(30, 20, 12, 94)
    for of in (pv.ppv_at_prevalence, pv.npv_at_prevalence):
        plain, grouped = of(table, 0.05), of(table, 0.05, independent=(21.0, 57.0))
        width = logit(plain.high) - logit(plain.low)
        assert logit(grouped.high) - logit(grouped.low) == pytest.approx(width * math.sqrt(2))
    plain, grouped = (
        pv.net_benefit_at_prevalence(table, 0.1, 0.05, independent=worth) for worth in (None, (21.0, 57.0))
    )
    assert grouped.high - grouped.low > 1.2 * (plain.high - plain.low)


def test_an_empty_cell_has_the_score_bounds_of_its_likelihood_ratio():
    found = pv.ppv_at_prevalence(Counts(3, 0, 2, 5), 0.1)
    low, high = score_bounds_of_ratio(3 / 5, 5, 0, 5)
    assert (found.value, high, found.high) == (1, np.inf, 1)
    assert found.low == pytest.approx(low / 9 / (1 + low / 9))
    assert "empty cell" in found.method
    missed = pv.npv_at_prevalence(Counts(5, 1, 0, 4), 0.1)
    assert missed.value == 1
    assert 0.5 < missed.low < 1
    assert "no case is flagged" in pv.ppv_at_prevalence(Counts(0, 0, 2, 5), 0.1).method


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, np.nan])
def test_a_prevalence_outside_0_to_1_is_refused(prevalence):
    with pytest.raises(ValueError, match="A prevalence must lie between 0 and 1"):
        pv.ppv_at_prevalence(Counts(1, 1, 1, 1), prevalence)


def test_a_threshold_of_1_has_no_net_benefit():
    with pytest.raises(ValueError, match=r"a threshold in \[0, 1\)"):
        pv.net_benefit_at_prevalence(Counts(1, 1, 1, 1), 1.0, 0.1)


def test_at_a_threshold_of_0_the_net_benefit_is_the_share_of_events_found():
    found = pv.net_benefit_at_prevalence(Counts(3, 1, 1, 5), 0.0, 0.2)
    assert found.value == pytest.approx(0.75 * 0.2)
