"""A part of the cases against the rest: differences of AUC and of rates, groups on both sides or not."""

import numpy as np
import pytest
from scipy.special import expit

from clineval.statistics.auc import auc_logit
from clineval.statistics.intervals import wilson
from clineval.statistics.subgroup_difference import auc_of_part_less_rest, rate_of_part_less_rest


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


@pytest.mark.parametrize("both_sides", [True, False])
def test_the_interval_holds_no_difference_as_often_as_it_says(both_sides):
    held = []
    for seed in range(400):
        outcome, risk, part, group = simulated(100, seed=seed, both_sides=both_sides)
        found = auc_of_part_less_rest(outcome, risk, part, group=group)
        held.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.98
