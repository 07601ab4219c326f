"""AUC, its interval and its comparisons: against pROC, by hand, by every pair, and by their laws."""

import numpy as np
import pytest
from clinical_reference import freedom
from clinical_reference import sample as clinical_sample
from discrimination_reference import GOLDEN, NAMES, law, naive_auc, sample
from hypothesis import assume
from hypothesis import strategies as st
from scipy.special import expit, logit, ndtri
from scipy.stats import norm
from scipy.stats import t as student

from clineval.statistics.auc import (
    auc,
    auc_design_effect,
    auc_difference_by_logit,
    auc_logit,
    auc_variance,
    compare_auc,
    compare_auc_unpaired,
)

IMPERFECT = [name for name in NAMES if name != "perfect"]


def bounds(estimate):
    return estimate.low, estimate.high


def variance_of(comparison):
    """The variance that a comparison's interval tells of."""
    return ((comparison.difference.high - comparison.difference.low) / (2 * norm.ppf(0.975))) ** 2


@pytest.mark.parametrize("name", NAMES)
def test_the_auc_is_proc_s(name):
    outcome, a, b, _ = sample(name)
    assert auc(outcome, a).value == pytest.approx(GOLDEN[name]["auc"], rel=1e-9)
    assert auc(outcome, b).value == pytest.approx(GOLDEN[name]["auc_b"], rel=1e-9)


@pytest.mark.parametrize("name", IMPERFECT)
def test_delong_s_interval_is_proc_s(name):
    outcome, a, *_ = sample(name)
    golden = GOLDEN[name]
    assert bounds(auc(outcome, a)) == pytest.approx((golden["low"], golden["high"]), rel=1e-9)
    assert bounds(auc(outcome, a, level=0.8)) == pytest.approx((golden["low80"], golden["high80"]), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_paired_test_is_proc_s(name):
    outcome, a, b, _ = sample(name)
    comparison, golden = compare_auc(outcome, a, b), GOLDEN[name]["paired"]
    assert comparison.statistic == pytest.approx(golden["statistic"], rel=1e-9)
    assert comparison.p_value == pytest.approx(golden["p_value"], rel=1e-9)
    assert bounds(comparison.difference) == pytest.approx((golden["low"], golden["high"]), rel=1e-9)


@pytest.mark.parametrize("name", IMPERFECT)
def test_the_unpaired_difference_joins_the_logit_intervals_on_proc_s_variances(name):
    outcome, a, *_ = sample(name)
    second = "small" if name == "tied" else "tied"
    other, b, *_ = sample(second)
    comparison = compare_auc_unpaired(outcome, a, other, b)
    (x, x_low, x_high), (y, y_low, y_high) = (logit_interval(each, 0.975) for each in (name, second))
    low = x - y - np.hypot(x - x_low, y_high - y)
    high = x - y + np.hypot(x_high - x, y - y_low)
    assert bounds(comparison.difference) == pytest.approx((low, high), rel=1e-9)
    assert comparison.difference.value == pytest.approx(x - y, rel=1e-9)
    assert "MOVER" in comparison.method


def logit_interval(name, quantile):
    """AUC of a sample with its logit interval, from pROC's AUC and variance."""
    value, error = GOLDEN[name]["auc"], GOLDEN[name]["variance"] ** 0.5
    reach = norm.ppf(quantile) * error / (value * (1 - value))
    return value, *expit(logit(value) + np.array([-reach, reach]))


@pytest.mark.parametrize("name", IMPERFECT)
def test_the_unpaired_p_value_is_the_level_whose_interval_ends_at_0(name):
    outcome, a, *_ = sample(name)
    other, _, b, _ = sample("small" if name == "tied" else "tied")
    comparison = compare_auc_unpaired(outcome, a, other, b)
    again = compare_auc_unpaired(outcome, a, other, b, level=1 - comparison.p_value)
    assert min(np.abs(bounds(again.difference))) == pytest.approx(0, abs=1e-9)
    assert comparison.p_value == pytest.approx(2 * norm.sf(abs(comparison.statistic)), rel=1e-9)
    # Near pROC's own p value, which takes the sum of two variances.
    assert comparison.p_value == pytest.approx(GOLDEN[name]["unpaired"]["p_value"], abs=0.1)


@pytest.mark.parametrize("name", IMPERFECT)
def test_the_clustered_variance_is_obuchowski_s_written_out_in_r(name):
    outcome, a, b, group = sample(name)
    golden = GOLDEN[name]
    reach = student.ppf(0.975, satterthwaite(outcome, a, group)) * golden["clustered_variance"] ** 0.5
    value = golden["auc"]
    expected = max(0, value - reach), min(1, value + reach)
    assert bounds(auc(outcome, a, group=group)) == pytest.approx(expected, rel=1e-9)
    clustered = compare_auc(outcome, a, b, group=group)
    error = clustered.difference.value / clustered.statistic
    assert error**2 == pytest.approx(golden["clustered_difference"], rel=1e-9)
    assert auc_variance(outcome, a, group=group) == pytest.approx(golden["clustered_variance"], rel=1e-9)
    assert golden["alone_variance"] == pytest.approx(golden["variance"], rel=1e-9)


@pytest.mark.parametrize("name", IMPERFECT)
def test_the_logit_interval_is_the_formula_on_proc_s_variance(name):
    outcome, a, *_ = sample(name)
    value, error = GOLDEN[name]["auc"], GOLDEN[name]["variance"] ** 0.5
    reach = norm.ppf(0.975) * error / (value * (1 - value))
    expected = expit(logit(value) + np.array([-reach, reach]))
    assert bounds(auc_logit(outcome, a)) == pytest.approx(tuple(expected), rel=1e-9)


def satterthwaite(outcome, risk, group):
    """Degrees of freedom by loops: each side's variance with one less than its groups, as of one size."""
    theta = naive_auc(outcome, risk)
    parts = []
    for present in (True, False):
        rows = np.flatnonzero(outcome == present)
        others = risk[outcome != present]
        beaten = {i: np.mean((others < risk[i]) + (others == risk[i]) / 2) for i in rows}
        placed = beaten if present else {i: 1 - each for i, each in beaten.items()}
        names = set(group[rows])
        sums = [sum(placed[i] - theta for i in rows if group[i] == name) for name in names]
        variance = len(names) / (len(names) - 1) * sum(each**2 for each in sums) / len(rows) ** 2
        parts.append((variance, freedom(group[rows])))
    return sum(each for each, _ in parts) ** 2 / sum(each**2 / free for each, free in parts)


@pytest.mark.parametrize("name", IMPERFECT)
def test_by_group_the_logit_interval_reaches_as_far_as_student_s_t(name):
    outcome, a, _, group = sample(name)
    golden = GOLDEN[name]
    value = golden["auc"]
    quantile = student.ppf(0.975, satterthwaite(outcome, a, group))
    reach = quantile * golden["clustered_variance"] ** 0.5 / (value * (1 - value))
    expected = expit(logit(value) + np.array([-reach, reach]))
    assert bounds(auc_logit(outcome, a, group=group)) == pytest.approx(tuple(expected), rel=1e-9)


def test_four_cases_by_hand():
    # .9 beats both others, .4 one of two; .6 is beaten by one of two, .2 by both. Each half's variance is
    # .125, over two cases: .125 / 2 + .125 / 2 = .125.
    estimate = auc([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.2])
    reach = norm.ppf(0.975) * 0.125**0.5
    assert estimate.value == 0.75
    assert bounds(estimate) == (pytest.approx(0.75 - reach), 1.0)


def test_two_patients_of_two_images_and_two_of_one_by_hand():
    # Events .9 .4 (patient p), .8 (q); others .6 .2 (r), .5 (q). Placements: .9, .8 -> 1, .4 -> 1/3;
    # .6, .5 -> 2/3, .2 -> 1. So the AUC is 7/9; q alone has both an event and another image.
    outcome = [1, 1, 1, 0, 0, 0]
    risk = [0.9, 0.4, 0.8, 0.6, 0.2, 0.5]
    theta = 7 / 9
    p, q_event = 1 + 1 / 3 - 2 * theta, 1 - theta
    r, q_other = 2 / 3 + 1 - 2 * theta, 2 / 3 - theta
    s10 = 2 / (1 * 3) * (p**2 + q_event**2)
    s01 = 2 / (1 * 3) * (r**2 + q_other**2)
    s11 = 3 / 2 * q_event * q_other
    variance = s10 / 3 + s01 / 3 + 2 * s11 / 9
    assert auc(outcome, risk, group=list("ppqrrq")).value == pytest.approx(theta, rel=1e-12)
    assert auc_variance(outcome, risk, group=list("ppqrrq")) == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize(("sign", "value"), [(1, 1.0), (-1, 0.0)])
@pytest.mark.parametrize("of", [auc, auc_logit])
def test_a_perfect_or_reversed_ranking_gets_an_exact_bound_and_says_so(of, sign, value):
    outcome = np.arange(20) < 5
    estimate = of(outcome, sign * outcome.astype(float))
    reach = 0.025 ** (1 / 5)
    assert estimate.value == value
    assert bounds(estimate) == pytest.approx((reach, 1.0) if sign == 1 else (0.0, 1 - reach))
    assert "degenerate" in estimate.method
    assert "5 disjoint pairs" in estimate.method


def test_the_exact_bound_counts_patients_not_images():
    outcome = np.arange(100) < 50
    estimate = auc(outcome, outcome * 1.0, group=np.arange(100) // 5)
    assert estimate.low == pytest.approx(0.025 ** (1 / 10))
    mixed = auc(outcome, outcome * 1.0, group=np.arange(100) % 11)
    assert mixed.low == pytest.approx(0.025 ** (1 / 5)), "eleven patients with both outcomes make five pairs"


@pytest.mark.parametrize("of", [auc, auc_logit])
def test_fewer_than_ten_groups_leave_the_value_without_an_interval(of):
    outcome, a, *_ = sample("breastmnist")
    estimate = of(outcome, a, group=np.arange(len(a)) % 9)
    assert estimate.value == auc(outcome, a).value
    assert np.isnan(bounds(estimate)).all()
    assert "9 groups are too few" in estimate.method
    assert np.isfinite(bounds(of(outcome, a, group=np.arange(len(a)) % 10))).all()


def test_the_exact_bound_holds_its_level():
    # Were the AUC just below the bound, all events would outrank all others less often than 1 - level.
    rng = np.random.default_rng(1)
    events, others = 6, 9
    bound = auc([1] * events + [0] * others, [1] * events + [0] * others).low
    shift = np.sqrt(2) * ndtri(bound)
    apart = rng.normal(shift, 1, (20_000, events)).min(axis=1) > rng.normal(0, 1, (20_000, others)).max(
        axis=1
    )
    assert apart.mean() <= 0.025


def test_one_risk_for_all_is_a_useless_ranking_with_an_exact_bound():
    estimate = auc([1, 1, 1, 0, 0, 0, 0], [0.3] * 7)
    bound = 0.025 ** (1 / 3)
    assert estimate.value == 0.5
    assert bounds(estimate) == pytest.approx((bound / 2, 1 - bound / 2))
    assert "one risk for all" in estimate.method


@pytest.mark.parametrize("of", [auc, auc_logit])
@pytest.mark.parametrize("outcome", [[1, 0, 0, 0], [0, 1, 1, 1]])
def test_a_lone_event_or_non_event_has_an_auc_but_no_interval(of, outcome):
    estimate = of(outcome, [0.5, 0.7, 0.2, 0.1])
    assert 0 < estimate.value < 1
    assert np.isnan(bounds(estimate)).all()
    assert "needs two events and two non-events; there are" in estimate.method


def test_a_lone_event_that_outranks_all_has_an_exact_bound():
    assert bounds(auc([1, 0, 0], [0.9, 0.2, 0.1])) == pytest.approx((0.025, 1))


def test_events_of_a_single_patient_give_no_interval():
    others = [f"patient {number}" for number in range(12)]
    estimate = auc([1, 1, *[0] * 12], [0.9, 0.3, *np.arange(12) / 20], group=["p", "p", *others])
    assert np.isnan(bounds(estimate)).all()
    assert "two groups with events" in estimate.method


@pytest.mark.parametrize("outcome", [[0, 0, 0], [1, 1, 1], []])
def test_one_outcome_missing_leaves_everything_undefined_with_the_reason(outcome):
    risk = [0.1, 0.2, 0.3][: len(outcome)]
    for estimate in (
        auc(outcome, risk),
        auc_logit(outcome, risk),
        compare_auc(outcome, risk, risk).difference,
    ):
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
        assert "with and without the condition" in estimate.method
    unpaired = compare_auc_unpaired(outcome, risk, [1, 0], [0.1, 0.2])
    assert np.isnan(unpaired.difference.value)
    assert "with and without the condition" in unpaired.method


def test_a_model_compared_with_itself_has_no_test():
    outcome, a, *_ = sample("breastmnist")
    comparison = compare_auc(outcome, a, a)
    assert comparison.difference.value == 0
    assert np.isnan([comparison.statistic, comparison.p_value, comparison.difference.low]).all()
    assert "no spread" in comparison.method


def test_a_perfect_model_can_be_compared_while_the_difference_has_spread():
    outcome, a, b, _ = sample("perfect")
    assert auc(outcome, a).value == 1
    comparison = compare_auc(outcome, a, b)
    assert 0 < comparison.p_value < 1
    assert comparison.difference.low < 1 - auc(outcome, b).value < comparison.difference.high


def test_two_perfect_cohorts_have_an_exact_interval_around_no_difference():
    comparison = compare_auc_unpaired([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2])
    reach = 1 - 0.025 ** (1 / 2)
    assert comparison.difference.value == 0
    assert bounds(comparison.difference) == pytest.approx((-reach, reach))
    assert comparison.p_value == 1


def test_unpaired_by_group_uses_the_clustered_intervals():
    outcome, a, _, group = sample("breastmnist")
    other, c, _, others = sample("tied")
    comparison = compare_auc_unpaired(outcome, a, other, c, group_a=group, group_b=others)
    first, second = auc_logit(outcome, a, group=group), auc_logit(other, c, group=others)
    low = comparison.difference.value - np.hypot(first.value - first.low, second.high - second.value)
    assert comparison.difference.low == pytest.approx(low, rel=1e-12)
    assert "clustered by 78 groups" in comparison.method


@pytest.mark.slow
def test_the_unpaired_difference_covers_where_both_aucs_are_near_1():
    rng, held = np.random.default_rng(3), 0
    for _ in range(1000):
        cohorts = []
        for events, others in ((10, 20), (10, 20)):
            outcome = np.arange(events + others) < events
            cohorts += [outcome, rng.normal(size=events + others) + np.sqrt(2) * ndtri(0.97) * outcome]
        found = compare_auc_unpaired(*cohorts).difference
        held += found.low <= 0 <= found.high
    assert held / 1000 >= 0.93


cases = st.lists(st.tuples(st.booleans(), st.integers(-20, 20)), min_size=4, max_size=60)


def both_twice(drawn):
    """Outcome and risk of drawn cases; skipped where an outcome has fewer than two."""
    outcome, risk = np.array([y for y, _ in drawn]), np.array([r for _, r in drawn], dtype=float)
    assume(outcome.sum() >= 2 and (~outcome).sum() >= 2)
    return outcome, risk


def same(first, second):
    numbers = [(e.value, e.low, e.high) for e in (first, second)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-9, abs=1e-12, nan_ok=True)


@law(cases)
def test_the_auc_is_the_share_of_pairs_ranked_rightly(drawn):
    outcome, risk = both_twice(drawn)
    assert auc(outcome, risk).value == pytest.approx(naive_auc(outcome, risk), rel=1e-12)


@law(cases)
def test_bounds_hold_the_value_within_0_and_1(drawn):
    outcome, risk = both_twice(drawn)
    for estimate in (auc(outcome, risk), auc_logit(outcome, risk)):
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@law(cases)
def test_only_the_order_of_risks_counts(drawn):
    outcome, risk = both_twice(drawn)
    same(auc(outcome, risk), auc(outcome, np.exp(risk / 10) + 3))


@law(cases)
def test_mirrored_risks_mirror_the_interval_and_swapped_outcomes_mirror_it_back(drawn):
    outcome, risk = both_twice(drawn)
    plain, mirrored = auc_logit(outcome, risk), auc_logit(outcome, -risk)
    expected = 1 - plain.value, 1 - plain.high, 1 - plain.low
    assert (mirrored.value, *bounds(mirrored)) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    same(plain, auc_logit(~outcome, -risk))


@law(cases, st.randoms(use_true_random=False))
def test_the_order_of_the_cases_does_not_count(drawn, random):
    outcome, risk = both_twice(drawn)
    group = np.arange(len(outcome)) // 3
    order = np.array(random.sample(range(len(outcome)), len(outcome)))
    same(auc(outcome, risk), auc(outcome[order], risk[order]))
    same(auc(outcome, risk, group=group), auc(outcome[order], risk[order], group=group[order]))


@law(cases)
def test_each_case_as_its_own_group_changes_nothing(drawn):
    outcome, risk = both_twice(drawn)
    names = [f"patient {place}" for place in range(len(outcome))]
    same(auc(outcome, risk), auc(outcome, risk, group=names))
    same(auc_logit(outcome, risk), auc_logit(outcome, risk, group=names))


@law(cases)
def test_every_case_twice_in_one_group_tells_no_more_than_once(drawn):
    outcome, risk = both_twice(drawn)
    assume(len(outcome) >= 10)
    group = np.arange(len(outcome))
    once, twice = (
        auc(outcome, risk), auc(np.tile(outcome, 2), np.tile(risk, 2), group=np.tile(group, 2))
    )  # fmt: skip
    assert twice.value == pytest.approx(once.value)
    # As wide, but for Student's t.
    assert np.isnan(once.low) or (twice.low <= once.low + 1e-9 and twice.high >= once.high - 1e-9)
    assert auc_variance(np.tile(outcome, 2), np.tile(risk, 2), group=np.tile(group, 2)) == pytest.approx(
        auc_variance(outcome, risk), rel=1e-9, abs=1e-12, nan_ok=True
    )


@law(cases)
@pytest.mark.slow
def test_rows_doubled_keep_the_auc_and_narrow_its_interval(drawn):
    outcome, risk = both_twice(drawn)
    assume(0 < naive_auc(outcome, risk) < 1 and len(np.unique(risk)) > 1)
    plain, doubled = auc_logit(outcome, risk), auc_logit(np.tile(outcome, 2), np.tile(risk, 2))
    assert doubled.value == pytest.approx(plain.value, rel=1e-12)
    assert plain.low <= doubled.low <= doubled.high <= plain.high


@law(cases, st.integers(0, 10**6))
def test_a_comparison_turns_its_sign_with_its_models(drawn, seed):
    outcome, risk = both_twice(drawn)
    other = np.random.default_rng(seed).normal(size=len(risk))
    there, back = compare_auc(outcome, risk, other), compare_auc(outcome, other, risk)
    assert there.difference.value == pytest.approx(-back.difference.value, abs=1e-12)
    assert there.p_value == pytest.approx(back.p_value, rel=1e-9, nan_ok=True)
    assert there.difference.value == pytest.approx(
        auc(outcome, risk).value - auc(outcome, other).value, abs=1e-12
    )


@law(cases, st.integers(1, 4))
def test_groups_of_any_kind_never_crash(drawn, size):
    outcome, risk = both_twice(drawn)
    estimate = auc_logit(outcome, risk, group=np.arange(len(outcome)) // size)
    assert np.isnan(estimate.low) or 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.method


def normal_cohort(rng, auc_of_it, correlation, together):
    """42 events among 156 images with normal scores; ``together`` images of a patient share their outcome."""
    patient = np.arange(156) // together
    outcome = patient < 42 // together
    shared = rng.normal(size=156)[patient]
    noise = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=156)
    return outcome, noise + np.sqrt(2) * ndtri(auc_of_it) * outcome, patient


@pytest.mark.slow
@pytest.mark.parametrize("true", [0.86, 0.95])
@pytest.mark.parametrize("together", [1, 2])
def test_the_logit_interval_covers_what_it_says(true, together):
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(1000):
        outcome, risk, patient = normal_cohort(rng, true, 0.6, together)
        estimate = auc_logit(outcome, risk, group=patient)
        hits += estimate.low <= true <= estimate.high
    # 93 to 97 %, and two standard errors of a thousand sets; benchmarks/bench_coverage.py has more sets.
    assert 0.93 - 0.014 <= hits / 1000 <= 0.97 + 0.014


@pytest.mark.parametrize("level", [-0.5, 0, 1, 1.5])
def test_a_level_outside_0_and_1_is_refused_even_where_nothing_can_be_compared(level):
    with pytest.raises(ValueError):
        compare_auc([1, 1], [0.2, 0.3], [0.4, 0.1], level=level)
    with pytest.raises(ValueError):
        compare_auc_unpaired([1, 1], [0.2, 0.3], [1, 1], [0.4, 0.1], level=level)


def test_a_clustered_variance_that_cancels_is_0_in_any_order_of_the_cases():
    outcome, risk = np.array([0, 0, 1, 0, 1, 1]), np.array([0, -2, -1, 0, 1, -1])
    rng = np.random.default_rng(0)
    group = np.array([0, 0, 0, 1, 1, 1])
    for _ in range(50):
        order, code = rng.permutation(6), rng.permutation(group)
        found, again = (auc(outcome[o], risk[o], group=code[o]) for o in (np.arange(6), order))
        assert found.method == again.method
        assert np.isnan(found.low) == np.isnan(again.low)


def test_the_bounds_by_logit_of_a_paired_difference_are_the_square_and_add_rule():
    rng = np.random.default_rng(3)
    outcome = np.arange(60) < 24
    shared = rng.normal(size=60)
    first, second = (1.5 * outcome + shared + rng.normal(size=60) for _ in range(2))
    plain = compare_auc(outcome, first, second).difference
    variance = ((plain.high - plain.low) / 2 / 1.959963984540054) ** 2
    one, other = (auc_variance(outcome, each) for each in (first, second))
    alike = (one + other - variance) / 2 / np.sqrt(one * other)
    a, b = (auc_logit(outcome, each) for each in (first, second))
    below, above = a.value - a.low, b.high - b.value
    expected = plain.value - np.sqrt(below**2 + above**2 - 2 * alike * below * above)
    found = auc_difference_by_logit(outcome, first, second)
    assert found.value == plain.value
    assert found.low == pytest.approx(expected, abs=1e-9)
    turned = auc_difference_by_logit(outcome, second, first)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-12)


def test_where_an_auc_is_1_a_difference_has_bounds_by_logit_that_share_nothing():
    outcome, best = np.arange(20) < 8, -np.arange(20.0)
    other = np.random.default_rng(0).normal(size=20) + outcome
    found, one, two = (
        auc_difference_by_logit(outcome, best, other),
        auc_logit(outcome, best),
        auc_logit(outcome, other),
    )
    expected = found.value - np.hypot(one.value - one.low, two.high - two.value)
    assert found.low == pytest.approx(expected, abs=1e-12)


def test_three_copies_of_each_case_in_a_group_have_a_design_effect_of_3():
    outcome, risk, _, _ = clinical_sample("breastmnist")
    copied = np.repeat(outcome, 3), np.repeat(risk, 3)
    found = auc_design_effect(*copied, group=np.repeat(np.arange(156), 3))
    assert found == pytest.approx(3, rel=0.05)
    assert auc_design_effect(outcome, risk) == 1
    assert auc_design_effect(outcome, risk, group=np.arange(156)) == 1
