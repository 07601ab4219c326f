"""Rates of cases in groups: what a group is worth, by hand, by laws and by simulation."""

import math

import numpy as np
import pytest
from clinical_reference import cases, sample, triple
from discrimination_reference import law
from scipy.stats import norm
from scipy.stats import t as student

from clineval.statistics.counts import Counts
from clineval.statistics.intervals import wilson, wilson_bounds
from clineval.statistics.operating_point import operating_point
from clineval.statistics.rates import Worth, independent_cases, likelihood_ratio_positive, mcc, rate

RATES = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "accuracy",
    "balanced_accuracy",
    "lr_positive",
    "lr_negative",
)


def test_copies_are_worth_one_case_each_but_for_the_factor_of_few_groups():
    right = np.arange(15) % 3 == 0
    worth = independent_cases(np.repeat(right, 3), np.repeat(np.arange(15), 3))
    assert (worth.cases, worth.groups) == (pytest.approx(15 * 14 / 15), 15)


def test_of_fewer_than_ten_groups_each_is_worth_a_case_at_most():
    right = np.array([1, 0, 1, 1, 0]) == 1
    assert independent_cases(np.repeat(right, 3), np.repeat(np.arange(5), 3)) == Worth(5.0)
    # Groups of 4 and 2: 6 squared over 4 squared + 2 squared.
    assert independent_cases(np.arange(6) % 2 == 0, np.array([0, 0, 0, 0, 1, 1])) == Worth(36 / 20)


def test_groups_that_balance_themselves_are_worth_no_more_than_their_cases():
    assert independent_cases(np.arange(24) % 2 == 0, np.repeat(np.arange(12), 2)).cases == 24


def test_all_right_is_worth_a_case_a_group():
    assert independent_cases(np.ones(6, bool), np.repeat(np.arange(2), 3)) == Worth(2.0)
    found = rate(6, 6, Worth(2.0), reason="")
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(wilson(2, 2).low)


def test_the_method_says_what_the_groups_are_worth():
    assert "20 cases in groups worth 12.5 independent ones" in rate(10, 20, Worth(12.5), reason="").method


def test_a_design_effect_from_few_groups_reaches_as_far_as_student_s_t():
    found = rate(10, 20, Worth(12.5, 12), reason="")
    wider = (student.ppf(0.975, 11) / norm.ppf(0.975)) ** 2
    assert found.low == pytest.approx(wilson_bounds(0.5 * 12.5 / wider, 12.5 / wider)[0])


@law(cases(least=8))
def test_groups_of_one_are_no_groups(drawn):
    outcome, risk = drawn
    plain = operating_point(outcome, risk, 0.45)
    assert operating_point(outcome, risk, 0.45, group=np.arange(len(risk))) == plain or math.isnan(
        plain.ppv.value
    )
    for measure in RATES:
        grouped = getattr(operating_point(outcome, risk, 0.45, group=np.arange(len(risk))), measure)
        assert triple(grouped) == pytest.approx(triple(getattr(plain, measure)), nan_ok=True)


def test_groups_of_copies_widen_every_interval_and_move_no_value():
    outcome, risk, _, _ = sample("breastmnist")
    copied = np.repeat(outcome, 3), np.repeat(risk, 3)
    apart = operating_point(*copied, 0.3)
    grouped = operating_point(*copied, 0.3, group=np.repeat(np.arange(156), 3))
    for measure in RATES:
        one, other = getattr(apart, measure), getattr(grouped, measure)
        assert one.value == other.value
        assert other.high - other.low > 1.5 * (one.high - one.low)


def test_correlated_pairs_are_covered_only_when_they_are_told_apart():
    rng = np.random.default_rng(0)
    code, held = np.repeat(np.arange(60), 2), np.zeros(2)
    for _ in range(800):
        shared = np.repeat(rng.normal(size=60), 2)
        right = np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.normal(size=120) > -0.5
        for i, worth in enumerate((independent_cases(right, code), Worth(120.0))):
            found = rate(int(right.sum()), 120, worth, reason="")
            held[i] += found.low <= 0.6914624612740131 <= found.high
    assert held[0] / 800 >= 0.93
    assert held[1] / 800 < 0.90


def test_fewer_independent_cases_widen_a_likelihood_ratio():
    table = Counts(30, 20, 12, 94)
    plain, grouped = (
        likelihood_ratio_positive(table),
        likelihood_ratio_positive(table, independent=(21.0, 57.0)),
    )
    assert grouped.value == plain.value
    assert grouped.high / grouped.low == pytest.approx((plain.high / plain.low) ** math.sqrt(2))


def test_mcc_of_a_table_with_an_empty_row_is_undefined():
    assert "empty" in mcc(np.zeros(7, bool), np.arange(7) < 3).method
