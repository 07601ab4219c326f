"""Proportions' intervals against R and by hand; the bootstrap against R, naive references and its laws."""

import json
import re

import numpy as np
import pytest
from clinical_reference import cases
from clinical_reference import sample as clinical_sample
from discrimination_reference import GOLDEN, REFERENCE, bootstrap, law, naive_auc, sample
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from clineval.statistics import intervals as module
from clineval.statistics.intervals import (
    Estimate,
    Worth,
    bootstrap_weights,
    clopper_pearson,
    effective_groups,
    few_groups,
    independent_cases,
    normal_quantile,
    percentile_interval,
    rate,
    resampling_units,
    shared_groups,
    tails,
    undefined,
    weight_blocks,
    wilson,
    wilson_bounds,
)

PROPORTIONS = json.loads((REFERENCE / "proportions.json").read_text())


@pytest.mark.parametrize("row", PROPORTIONS, ids=lambda row: f"{row['successes']} of {row['total']}")
def test_proportions_agree_with_r(row):
    counts, level = (row["successes"], row["total"]), row["level"]
    ours, exact = wilson(*counts, level=level), clopper_pearson(*counts, level=level)
    assert (ours.low, ours.high) == pytest.approx(row["wilson"], rel=1e-9, abs=1e-15)
    assert (ours.low, ours.high) == pytest.approx(row["epi_wilson"], rel=1e-9, abs=1e-15)
    assert (exact.low, exact.high) == pytest.approx(row["clopper_pearson"], rel=1e-9, abs=1e-15)
    assert ours.value == exact.value == counts[0] / counts[1]


def test_wilson_of_one_half_by_hand():
    # z = 2 exactly: centre .5, reach 2 sqrt(.25 / 4 + 4 / 64) / (1 + 4 / 4) = sqrt(.125).
    level = float(2 * 0.977249868051821 - 1)
    estimate = wilson(2, 4, level=level)
    assert (estimate.low, estimate.high) == pytest.approx((0.5 - 0.125**0.5, 0.5 + 0.125**0.5), rel=1e-12)


def test_clopper_pearson_of_none_by_hand():
    assert clopper_pearson(0, 10).high == pytest.approx(1 - 0.025**0.1, rel=1e-12)
    assert clopper_pearson(10, 10).low == pytest.approx(0.025**0.1, rel=1e-12)


def test_bounds_at_none_and_all_are_exactly_0_and_1():
    totals = np.arange(1, 300)
    assert (wilson_bounds(np.zeros(299), totals)[0] == 0).all()
    assert (wilson_bounds(totals, totals)[1] == 1).all()


def test_a_proportion_of_nothing_is_undefined_with_its_reason():
    for estimate in (wilson(0, 0), clopper_pearson(0, 0)):
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
        assert "no cases" in estimate.method
    assert np.isnan(wilson_bounds([0], [0])).all()


def test_many_bounds_are_the_single_ones():
    successes, totals = np.array([[0, 3], [5, 9]]), np.array([[4, 3], [8, 20]])
    low, high = wilson_bounds(successes, totals, level=0.9)
    for place in np.ndindex(2, 2):
        single = wilson(int(successes[place]), int(totals[place]), level=0.9)
        assert (low[place], high[place]) == (single.low, single.high)


@pytest.mark.parametrize("counts", [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(counts):
    for interval in (wilson, clopper_pearson):
        with pytest.raises(ValueError, match="0 <= successes <= total"):
            interval(*counts)


@pytest.mark.parametrize("level", [0, 1, 95, -0.1, np.nan])
def test_a_level_outside_0_and_1_is_refused(level):
    for interval in (wilson, clopper_pearson):
        with pytest.raises(ValueError, match=r"such as 0\.95"):
            interval(1, 2, level=level)


def test_the_normal_quantile_is_the_textbooks():
    assert normal_quantile(0.95) == pytest.approx(1.959963984540054, rel=1e-14)


@law(st.integers(0, 60), st.integers(0, 60), st.floats(0.5, 0.999))
def test_intervals_hold_their_value_and_mirror(successes, failures, level):
    total = successes + failures
    if total == 0:
        return
    for interval in (wilson, clopper_pearson):
        estimate, mirrored = (interval(k, total, level=level) for k in (successes, failures))
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert (estimate.low, estimate.high) == pytest.approx(
            (1 - mirrored.high, 1 - mirrored.low), abs=1e-12
        )


def test_undefined_keeps_level_and_reason():
    estimate = undefined("no events", level=0.9)
    assert np.isnan(estimate.value)
    assert (estimate.level, estimate.method) == (0.9, "no events")


outcomes = st.lists(st.booleans(), min_size=1, max_size=30)


@law(outcomes, st.integers(0, 5))
def test_resamples_keep_the_number_of_events_and_of_others(outcome, seed):
    outcome = np.array(outcome)
    weights = bootstrap_weights(outcome, draws=20, seed=seed)
    assert (weights[:, outcome].sum(axis=1) == outcome.sum()).all()
    assert (weights[:, ~outcome].sum(axis=1) == (~outcome).sum()).all()


@law(st.data())
def test_groups_are_drawn_whole_and_within_their_kind(data):
    outcome = np.array(data.draw(outcomes))
    group = np.array(data.draw(st.lists(st.integers(0, 8), min_size=len(outcome), max_size=len(outcome))))
    weights = bootstrap_weights(outcome, group=group, draws=10, seed=1)
    kinds = {}
    for this in np.unique(group):
        of_group = weights[:, group == this]
        assert (of_group == of_group[:, :1]).all()
        members = outcome[group == this]
        kinds.setdefault((members.all(), not members.any()), []).append(of_group[:, 0])
    for drawn in kinds.values():
        assert (np.sum(drawn, axis=0) == len(drawn)).all()


@law(outcomes)
def test_each_case_as_its_own_group_gives_the_draws_of_no_groups(outcome):
    names = [f"patient {9 * place % 31}" for place in range(len(outcome))]
    plain = bootstrap_weights(outcome, draws=10, seed=3)
    assert np.array_equal(plain, bootstrap_weights(outcome, group=names, draws=10, seed=3))


@pytest.mark.parametrize("block", [1, 50, 130, 10**6])
def test_weights_do_not_depend_on_the_size_of_the_blocks(block):
    outcome = np.arange(24) % 3 == 0
    whole = bootstrap_weights(outcome, draws=40, seed=5)
    blocks = list(weight_blocks(outcome, draws=40, seed=5, block=block))
    assert np.array_equal(np.concatenate(blocks), whole)
    assert all(part.size <= max(block, 24) for part in blocks)


def test_weights_are_those_of_sampling_with_replacement():
    # A case's count in m draws from m is binomial: mean 1, variance 1 - 1/m; two counts oppose each other.
    weights = bootstrap_weights(np.ones(8, dtype=bool), draws=40_000, seed=2)
    assert weights.mean(axis=0) == pytest.approx(np.ones(8), abs=0.03)
    expected = np.eye(8) - 1 / 8
    assert np.cov(weights.T) == pytest.approx(expected, abs=0.04)


def test_seeds_differ_and_repeat():
    outcome = np.arange(20) < 8
    first, again, other = (bootstrap_weights(outcome, draws=5, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["small", "tied"])
def test_the_bootstrap_agrees_with_r_on_the_same_resamples(name):
    outcome, risk, *_ = sample(name)
    estimate = bootstrap(naive_auc, outcome, risk, draws=200, seed=7)
    assert (estimate.low, estimate.high) == pytest.approx(GOLDEN[name]["resampled"]["auc"], rel=1e-9)
    assert estimate.value == pytest.approx(GOLDEN[name]["auc"], rel=1e-9)


def test_resamples_that_leave_the_number_undefined_are_counted():
    estimate = percentile_interval(1.0, [0.0, 1.0, 2.0, np.nan], level=0.5, method="percentile bootstrap")
    assert (estimate.low, estimate.high) == (0.5, 1.5)
    assert "1 of them undefined" in estimate.method


def test_mostly_undefined_resamples_give_no_interval():
    estimate = percentile_interval(1.0, [0.0, np.nan, np.nan], level=0.5, method="")
    assert estimate.value == 1
    assert np.isnan([estimate.low, estimate.high]).all()
    assert "2 of 3 resamples" in estimate.method


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([3] * 20, 20.0), ([15] * 8 + [1] * 72, (8 * 225 + 72) ** 2 / (8 * 15**4 + 72)), ([90] + [1] * 20, 3.0)],
)
def test_groups_of_one_size_count_each_and_a_few_large_ones_count_alone(sizes, expected):
    code = np.repeat(np.arange(len(sizes)), sizes)
    assert effective_groups(code) == pytest.approx(expected)
    assert effective_groups(None) == np.inf


def test_a_percentile_interval_of_few_groups_is_expanded_as_hesterberg_says():
    low, high = tails(0.95, 20)
    assert low == pytest.approx(norm.cdf(-np.sqrt(20 / 19) * student.ppf(0.975, 19)))
    assert low + high == pytest.approx(1)
    assert tails(0.95) == pytest.approx((0.025, 0.975))


@pytest.mark.parametrize("groups", [1, 3, 9])
def test_fewer_than_ten_groups_are_too_few_and_the_reason_counts_them(groups):
    assert re.search(rf"\b{groups} groups? (is|are) too few .* at least 10", few_groups(np.arange(groups)))
    assert few_groups(np.arange(10)) == few_groups(None) == ""


def test_an_estimate_prints_short():
    assert repr(Estimate(0.8312, 0.726, 0.936)) == "0.83 (0.73 to 0.94)"
    assert str(Estimate(0.0045, 0.001, 0.012)) == "0.0045 (0.0010 to 0.0120)"
    assert f"{Estimate(-1.25, -2.0, -0.5)}" == "-1.25 (-2.00 to -0.50)"
    assert repr(Estimate(0.5, np.nan, np.nan)) == "0.50 (no interval)"
    assert repr(Estimate(np.nan, np.nan, np.nan, 0.95, "no cases")) == "undefined (no cases)"


def test_a_lone_event_comes_in_every_resample():
    weights = bootstrap_weights([True, False, False, False], draws=50)
    assert (weights[:, 0] == 1).all()


def test_a_number_undefined_on_the_cases_has_no_interval():
    estimate = percentile_interval(np.nan, [0.0, 1.0], level=0.95, method="")
    assert np.isnan(estimate.value)
    assert "undefined on these cases" in estimate.method


def test_resamples_that_all_give_the_same_number_give_no_interval():
    estimate = percentile_interval(1.0, [1.0, 1.0], level=0.95, method="")
    assert estimate.value == 1
    assert np.isnan(estimate.low)
    assert "every resample gives the same number" in estimate.method


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="at least one draw"):
        bootstrap_weights([1, 0], draws=0)


def test_the_percentile_interval_covers_a_mean():
    rng = np.random.default_rng(8)
    outcome, hits = np.arange(60) < 30, 0
    for seed in range(300):
        value, weights = rng.normal(size=60), bootstrap_weights(outcome, draws=400, seed=seed)
        estimate = percentile_interval(value.mean(), weights @ value / 60, level=0.95, method="")
        hits += estimate.low <= 0 <= estimate.high
    # Two strata of 30 leave the bootstrap's spread short by 1/60; three standard errors are .04.
    assert 0.90 <= hits / 300 <= 0.98


def test_an_estimate_is_frozen():
    with pytest.raises(AttributeError):
        Estimate(1.0, 0.0, 2.0).value = 3.0


def test_an_interval_needs_half_of_its_resamples():
    assert module._defined(np.array([1.0, np.nan]), "m")[0].tolist() == [1.0]
    assert len(module._defined(np.array([1.0, np.nan, np.nan]), "m")[0]) == 0


def test_each_case_is_a_unit_where_there_are_no_groups():
    outcome, _, _, _ = clinical_sample("small")
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
    outcome, _, _, group = clinical_sample("tied")
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
