"""Differences, paired and between parts of the cases: against R, every flip listed, by hand, and by laws."""

import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from clinical_reference import NAMES, as_student, cases, golden, sample, triple
from discrimination_reference import law
from scipy.special import expit, ndtr
from scipy.stats import ttest_rel

from clineval.statistics import differences
from clineval.statistics.auc import auc_logit
from clineval.statistics.differences import (
    auc_of_part_less_rest,
    compare_brier,
    compare_log_loss,
    holm,
    mcnemar,
    p_value_of,
    rate_of_part_less_rest,
    smallest_gap,
)
from clineval.statistics.intervals import Estimate, wilson
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
    monkeypatch.setattr(differences, "MOST_EXACT", 10)
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


def simulated(groups=400, *, seed=0, both_sides=True):
    """Two cases a group that resemble each other; a part that splits the groups, or does not."""
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 2)
    shared = np.repeat(random.normal(0, 1.5, groups), 2)
    outcome = np.repeat(random.random(groups) < 0.4, 2)
    risk = expit(shared + outcome + random.normal(0, 0.5, 2 * groups))
    part = np.tile([True, False], groups) if both_sides else group % 2 == 0
    return outcome, risk, part, group


def naive_auc(outcome, risk):
    higher = risk[outcome][:, None] - risk[~outcome][None, :]
    return ((higher > 0) + (higher == 0) / 2).mean()


def by_bootstrap(statistic, outcome, risk, part, group, draws=400):
    """The standard deviation of a difference over resampled groups: shares no step with the formula."""
    random = np.random.default_rng(7)
    rows = [np.flatnonzero(group == one) for one in np.unique(group)]
    found = []
    for _ in range(draws):
        drawn = np.concatenate([rows[one] for one in random.integers(0, len(rows), len(rows))])
        found.append(
            statistic(outcome[drawn][part[drawn]], risk[drawn][part[drawn]])
            - statistic(outcome[drawn][~part[drawn]], risk[drawn][~part[drawn]])
        )
    return np.std(found, ddof=1)


def test_rates_of_a_million_cases_are_compared_by_newcombe_s_formula():
    rng = np.random.default_rng(4)
    outcome = np.zeros(1_000_000, dtype=bool)
    risk_a, risk_b = rng.random((2, len(outcome)))
    found = mcnemar(outcome, risk_a, risk_b, threshold_a=0.3, threshold_b=0.6).specificity.difference
    reach = 1.96 * np.sqrt((0.3 * 0.7 + 0.6 * 0.4) / len(outcome))  # independent models, by the plain formula
    assert found.high - found.low == pytest.approx(2 * reach, rel=0.01)


def test_a_difference_of_rates_by_hand_is_newcombes():
    """Newcombe 1998, method 10: 56 of 70 less 48 of 80 is .2000 (.0524 to .3339)."""
    right = np.repeat([True, False, True, False], [56, 14, 48, 32])
    part = np.repeat([True, False], [70, 80])
    found = rate_of_part_less_rest(right, part)
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)


def test_without_shared_groups_the_two_intervals_are_joined_as_independent():
    outcome, risk, part, group = simulated(60, both_sides=False)
    found = auc_of_part_less_rest(outcome, risk, part, group=group)
    a, b = (auc_logit(outcome[on], risk[on], group=group[on]) for on in (part, ~part))
    assert found.value == pytest.approx(a.value - b.value)
    assert found.low == pytest.approx(found.value - np.hypot(a.value - a.low, b.high - b.value))
    assert found.high == pytest.approx(found.value + np.hypot(a.high - a.value, b.value - b.low))
    assert "correlated" not in found.method


@pytest.mark.parametrize("both_sides", [True, False])
def test_the_interval_of_the_auc_is_as_wide_as_resampled_groups_make_it(both_sides):
    outcome, risk, part, group = simulated(both_sides=both_sides)
    found = auc_of_part_less_rest(outcome, risk, part, group=group)
    wide = 2 * 1.96 * by_bootstrap(naive_auc, outcome, risk, part, group, draws=200)
    assert found.high - found.low == pytest.approx(wide, rel=0.15)


def test_groups_with_both_outcomes_widen_a_difference_as_resampled_groups_do():
    _, _, part, group = simulated()
    random = np.random.default_rng(5)
    shared = np.repeat(random.normal(0, 1.5, 400), 2)
    outcome = part ^ np.repeat(random.random(400) < 0.4, 2)  # one side has the condition, the other has not
    risk = expit(shared + outcome + random.normal(0, 0.5, 800))
    found = auc_of_part_less_rest(outcome, risk, part, group=group)
    assert "correlated by −0." in found.method.replace("-", "−")
    wide = 2 * 1.96 * by_bootstrap(naive_auc, outcome, risk, part, group, draws=200)
    assert found.high - found.low == pytest.approx(wide, rel=0.15)


@pytest.mark.parametrize("both_sides", [True, False])
def test_the_interval_of_a_rate_is_as_wide_as_resampled_groups_make_it(both_sides):
    outcome, risk, part, group = simulated(both_sides=both_sides)
    right = risk >= 0.5
    found = rate_of_part_less_rest(right, part, group=group)
    wide = 2 * 1.96 * by_bootstrap(lambda _, r: (r >= 0.5).mean(), outcome, risk, part, group)
    assert found.high - found.low == pytest.approx(wide, rel=0.15)


def test_groups_on_both_sides_narrow_a_difference_and_are_named():
    outcome, risk, part, group = simulated()
    alone = auc_of_part_less_rest(outcome, risk, part)
    together = auc_of_part_less_rest(outcome, risk, part, group=group)
    assert together.value == alone.value
    assert together.high - together.low < alone.high - alone.low
    assert "correlated by +0." in together.method


def test_the_part_and_the_rest_changed_about_change_the_sign():
    outcome, risk, part, group = simulated(80)
    here, there = (auc_of_part_less_rest(outcome, risk, one, group=group) for one in (part, ~part))
    assert (here.value, here.low, here.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_a_part_that_is_the_rest_once_more_differs_by_almost_nothing():
    outcome, risk, part, group = simulated(80)
    risk = np.repeat(risk[::2], 2)
    found = auc_of_part_less_rest(outcome, risk, part, group=group)
    assert found.value == 0
    assert found.high - found.low < 0.05  # what the two bounds' skewness leaves


def test_each_case_its_own_group_is_as_no_groups():
    outcome, risk, part, _ = simulated(60)
    given = auc_of_part_less_rest(outcome, risk, part, group=np.arange(len(risk)))
    plain = auc_of_part_less_rest(outcome, risk, part)
    assert (given.low, given.high) == pytest.approx((plain.low, plain.high))
    assert rate_of_part_less_rest(risk > 0.5, part, group=np.arange(len(risk))) == rate_of_part_less_rest(
        risk > 0.5, part
    )


def test_a_side_without_an_outcome_or_without_cases_has_no_difference_and_says_which():
    outcome, risk, part, group = simulated(30)
    found = auc_of_part_less_rest(outcome & part, risk, part, group=group)
    assert np.isnan(found.value)
    assert "the others: needs cases with and without the condition" in found.method
    none = rate_of_part_less_rest(risk > 0.5, np.zeros(len(risk), bool))
    assert np.isnan(none.value)
    assert none.method == "the part: no case to take the rate of"


def test_every_case_right_leaves_an_interval_from_wilsons():
    right, part = np.ones(40, bool), np.repeat([True, False], 20)
    found = rate_of_part_less_rest(right, part)
    low = wilson(20, 20).low
    assert (found.value, found.low, found.high) == pytest.approx((0, low - 1, 1 - low))


@pytest.mark.slow
@pytest.mark.parametrize("both_sides", [True, False])
def test_the_interval_holds_no_difference_as_often_as_it_says(both_sides):
    held = []
    for seed in range(400):
        outcome, risk, part, group = simulated(100, seed=seed, both_sides=both_sides)
        found = auc_of_part_less_rest(outcome, risk, part, group=group)
        held.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.98


HOLM = json.loads((Path(__file__).parent / "reference" / "multiplicity.json").read_text())


def test_holms_p_values_are_rs():
    given = np.array([np.nan if each is None else each for each in HOLM["p_value"]])
    expected = [np.nan if each is None else each for each in HOLM["holm"]]
    assert holm(given) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_holms_p_values_are_those_of_testing_step_by_step():
    """The smallest p value first, each at alpha over the comparisons left, until one is not rejected."""
    random = np.random.default_rng(2)
    for _ in range(50):
        p_values = random.random(6) ** 3
        for alpha in (0.01, 0.05, 0.2):
            rejected, left = set(), list(range(6))
            while left:
                first = min(left, key=lambda place: p_values[place])
                if p_values[first] > alpha / len(left):
                    break
                rejected.add(first)
                left.remove(first)
            assert set(np.flatnonzero(holm(p_values) <= alpha)) == rejected


def test_one_comparison_stays_as_it_is_and_none_gives_none():
    assert holm([0.03]).tolist() == [0.03]
    assert holm([]).tolist() == []


@pytest.mark.parametrize(("low", "high", "below"), [(0.001, 0.3, True), (-0.001, 0.3, False)])
def test_a_p_value_is_below_five_percent_where_the_interval_excludes_0(low, high, below):
    assert (p_value_of(Estimate(0.1, low, high)) < 0.05) == below
    assert (p_value_of(Estimate(-0.1, -high, -low)) < 0.05) == below


def test_the_p_value_of_a_symmetric_interval_is_walds():
    assert p_value_of(Estimate(0.3, 0.1, 0.5)) == pytest.approx(2 * ndtr(-0.3 / (0.2 / 1.959963984540054)))
    assert p_value_of(Estimate(0.0, -0.2, 0.2)) == 1
    assert np.isnan(p_value_of(Estimate(0.3, np.nan, np.nan)))


def test_the_smallest_gap_is_found_in_eight_of_ten_samples():
    random = np.random.default_rng(4)
    error = 0.07
    gap = smallest_gap(Estimate(0.2, 0.2 - 1.959963984540054 * error, 0.2 + 1.959963984540054 * error))
    assert gap / error == pytest.approx(HOLM["errors_found_with_80_percent_power"], abs=1e-9)
    found = random.normal(gap, error, 20_000)
    assert np.mean(np.abs(found) > 1.959963984540054 * error) == pytest.approx(0.8, abs=0.01)
