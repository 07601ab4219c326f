"""Paired differences of Brier score and log loss: against a paired t statistic, and by laws."""

import math
from itertools import product

import numpy as np
import pytest
from clinical_reference import NAMES, as_student, cases, golden, sample, triple
from discrimination_reference import law
from scipy.stats import ttest_rel

from clineval.statistics import paired
from clineval.statistics.paired import compare_brier, compare_log_loss, mcnemar
from clineval.statistics.scores import brier, log_loss

R = golden("operating_point")["samples"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("measure", ["sensitivity", "specificity", "accuracy"])
def test_the_test_and_the_interval_are_r_s(name, measure):
    outcome, risk_a, risk_b, _ = sample(name)
    theirs = R[name]["mcnemar"][measure]
    found = getattr(mcnemar(outcome, risk_a, risk_b, threshold_a=0.3, threshold_b=0.4), measure)
    assert [found.only_a, found.only_b] == theirs["only"]
    assert found.p_value == pytest.approx(theirs["p_value"], rel=1e-9)
    assert triple(found.difference) == pytest.approx(theirs["difference"], rel=1e-9, abs=1e-15)


def every_flip(surplus):
    """Two-sided probability by listing all signs of the groups' surpluses."""
    nonzero = [s for s in surplus if s]
    totals = [
        abs(sum(sign * s for sign, s in zip(signs, nonzero, strict=True)))
        for signs in product([1, -1], repeat=len(nonzero))
    ]
    return np.mean([total >= abs(sum(surplus)) for total in totals])


@pytest.mark.parametrize("seed", range(6))
def test_with_groups_the_test_is_the_list_of_all_sign_flips(seed):
    rng = np.random.default_rng(seed)
    outcome, group = rng.random(24) < 0.5, np.arange(24) // 3
    risk_a, risk_b = rng.random(24), rng.random(24)
    found = mcnemar(outcome, risk_a, risk_b, threshold_a=0.5, threshold_b=0.5, group=group).accuracy
    better = ((risk_a >= 0.5) == outcome).astype(int) - ((risk_b >= 0.5) == outcome)
    assert found.p_value == pytest.approx(every_flip(np.bincount(group, weights=better).astype(int)))
    assert found.method == "McNemar exact by groups"


@law(cases(least=6))
def test_groups_of_one_give_the_exact_test(drawn):
    outcome, risk = drawn
    given = {"threshold_a": 0.4, "threshold_b": 0.6}
    plain = mcnemar(outcome, risk, risk[::-1], **given)
    grouped = mcnemar(outcome, risk, risk[::-1], group=np.arange(len(risk)), **given)
    for measure in ("sensitivity", "specificity", "accuracy"):
        one, other = getattr(plain, measure), getattr(grouped, measure)
        assert one.p_value == pytest.approx(other.p_value)
        assert one.difference.value == pytest.approx(other.difference.value)


@law(cases(least=6))
def test_changing_the_models_over_changes_the_sign_only(drawn):
    outcome, risk = drawn
    one = mcnemar(outcome, risk, risk[::-1], threshold_a=0.4, threshold_b=0.6).accuracy
    other = mcnemar(outcome, risk[::-1], risk, threshold_a=0.6, threshold_b=0.4).accuracy
    assert (one.only_a, one.only_b) == (other.only_b, other.only_a)
    assert one.p_value == other.p_value
    assert one.difference.low == pytest.approx(-other.difference.high, abs=1e-15)


def test_copies_of_each_case_in_a_group_add_no_evidence():
    rng = np.random.default_rng(0)
    outcome, risk_a, risk_b = rng.random(60) < 0.5, rng.random(60), rng.random(60)
    given = {"threshold_a": 0.5, "threshold_b": 0.5}
    once = mcnemar(outcome, risk_a, risk_b, **given).accuracy
    copied = [np.repeat(values, 3) for values in (outcome, risk_a, risk_b)]
    grouped = mcnemar(*copied, group=np.repeat(np.arange(60), 3), **given).accuracy
    assert grouped.p_value == pytest.approx(once.p_value)
    assert mcnemar(*copied, **given).accuracy.p_value < once.p_value


def test_a_model_against_itself_differs_in_nothing():
    outcome, risk, _, group = sample("tied")
    for own in (None, group):
        found = mcnemar(outcome, risk, risk, threshold_a=0.3, threshold_b=0.3, group=own).accuracy
        assert (found.difference.value, found.p_value) == (0, 1)


def test_beyond_the_exact_sum_the_normal_law_takes_over(monkeypatch):
    rng = np.random.default_rng(0)
    outcome, group = rng.random(600) < 0.5, np.arange(600) // 3
    risks = rng.random(600), rng.random(600)
    given = {"threshold_a": 0.5, "threshold_b": 0.5, "group": group}
    exact = mcnemar(outcome, *risks, **given).accuracy
    monkeypatch.setattr(paired, "MOST_EXACT", 10)
    near = mcnemar(outcome, *risks, **given).accuracy
    assert "normal approximation" in near.method
    assert near.p_value == pytest.approx(exact.p_value, abs=0.06)


def test_an_absent_class_leaves_its_rate_undefined():
    found = mcnemar([1, 1], [0.9, 0.1], [0.8, 0.2], threshold_a=0.5, threshold_b=0.5)
    assert math.isnan(found.specificity.p_value)
    assert "no cases" in found.specificity.method


def test_fewer_than_ten_groups_have_a_difference_without_an_interval():
    found = mcnemar([1, 0], [0.9, 0.8], [0.1, 0.2], threshold_a=0.5, threshold_b=0.5, group=[7, 7])
    assert found.accuracy.difference.value == 0
    assert math.isnan(found.accuracy.difference.low)
    assert "1 group is too few" in found.accuracy.difference.method


def test_a_difference_by_group_has_width_where_all_groups_agree():
    # One model finds all events of twelve patients of two images, the other none.
    outcome, group = np.ones(24, bool), np.repeat(np.arange(12), 2)
    found = mcnemar(outcome, np.ones(24), np.zeros(24), threshold_a=0.5, threshold_b=0.5, group=group)
    alone = mcnemar(outcome[:12], np.ones(12), np.zeros(12), threshold_a=0.5, threshold_b=0.5)
    assert triple(found.sensitivity.difference) == pytest.approx(triple(alone.sensitivity.difference))
    same = mcnemar(outcome, np.ones(24), np.ones(24), threshold_a=0.5, threshold_b=0.5, group=group)
    assert same.sensitivity.difference.low < 0 < same.sensitivity.difference.high


def test_three_copies_of_each_case_in_a_group_widen_the_difference_by_student_s_t_alone():
    outcome, a, b, _ = sample("breastmnist")
    points = {"threshold_a": 0.3, "threshold_b": 0.4}
    once = mcnemar(outcome, a, b, **points).specificity.difference
    copied = [np.repeat(values, 3) for values in (outcome, a, b)]
    tripled = mcnemar(*copied, **points, group=np.repeat(np.arange(156), 3)).specificity.difference
    assert 1 <= (tripled.high - tripled.low) / (once.high - once.low) < 1.15


@pytest.mark.slow
def test_a_difference_by_group_covers_with_correlated_pairs():
    rng, held = np.random.default_rng(2), 0
    group, outcome = np.repeat(np.arange(40), 2), np.ones(80, bool)
    for _ in range(1000):
        a, b = (np.repeat(rng.normal(size=40), 2) + 0.5 * rng.normal(size=80) for _ in range(2))
        found = mcnemar(outcome, a, b, threshold_a=0.0, threshold_b=0.0, group=group).sensitivity.difference
        held += found.low <= 0 <= found.high
    assert 0.93 - 0.014 <= held / 1000 <= 0.97 + 0.014


def test_the_statistic_is_that_of_a_paired_t_test():
    outcome, a, b, _ = sample("breastmnist")
    found = compare_brier(outcome, a, b)
    theirs = ttest_rel((a - outcome) ** 2, (b - outcome) ** 2)
    assert found.statistic == pytest.approx(theirs.statistic, rel=1e-9)
    # The normal law instead of t with 155 degrees of freedom.
    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.005)


@law(cases())
def test_the_difference_is_that_of_the_scores_and_changes_sign_with_the_models(drawn):
    outcome, risk = drawn
    other = risk[::-1]
    for compare, score in ((compare_brier, brier), (compare_log_loss, log_loss)):
        found, back = compare(outcome, risk, other), compare(outcome, other, risk)
        difference = score(outcome, risk).value - score(outcome, other).value
        assert found.difference.value == pytest.approx(difference, abs=1e-12)
        assert back.difference.value == pytest.approx(-difference, abs=1e-12)
        assert back.p_value == pytest.approx(found.p_value, nan_ok=True)


@law(cases(least=10))
def test_copies_in_a_group_tell_no_more_than_one(drawn):
    outcome, risk = drawn
    copied = [np.repeat(values, 3) for values in (outcome, risk, risk**2)]
    grouped = compare_brier(*copied, group=np.repeat(np.arange(len(risk)), 3))
    once = compare_brier(outcome, risk, risk**2).difference
    expected = as_student([once.low, once.high], np.arange(len(risk)), around=once.value)
    assert triple(grouped.difference) == pytest.approx([once.value, *expected])
    assert "groups" in grouped.method


def test_models_that_err_alike_have_no_test():
    found = compare_brier([1, 0], [0.7, 0.2], [0.7, 0.2])
    assert found.difference.value == 0
    assert math.isnan(found.p_value)
    assert "err alike" in found.method


def test_no_cases_and_one_case_say_why_there_is_no_test():
    assert compare_brier([], [], []).method == "no cases"
    assert "shows no spread" in compare_brier([1], [0.5], [0.4]).method


def test_a_sure_risk_that_proved_wrong_leaves_the_log_losses_apart():
    assert "infinite: 1 risks" in compare_log_loss([1, 0], [0, 0.2], [0.4, 0.3]).method


def test_the_interval_reaches_as_many_errors_as_its_level_says():
    outcome, a, b, _ = sample("breastmnist")
    found = compare_brier(outcome, a, b, level=0.9)
    error = found.difference.value / found.statistic
    reach = abs(1.6448536269514722 * error)
    assert found.difference.high - found.difference.value == pytest.approx(reach, rel=1e-9)
    assert found.difference.value - found.difference.low == pytest.approx(reach, rel=1e-9)
