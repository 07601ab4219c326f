"""Choosing a threshold: by hand, against trying every cut, against R's binomial, and by laws."""

import math

import numpy as np
import pytest
from clinical_reference import NAMES, cases, golden, sample
from discrimination_reference import law
from hypothesis import strategies as st
from scipy.stats import beta, binom, norm

from clineval.statistics import thresholds as th
from clineval.statistics.counts import counts
from clineval.statistics.intervals import clopper_pearson, wilson
from clineval.statistics.thresholds import choose_threshold, defer_region, guaranteed_threshold

R = golden("operating_point")


def sensitivity(outcome, risk, threshold):
    table = counts(outcome, risk, threshold)
    return table.true_positives / table.events


def specificity(outcome, risk, threshold):
    table = counts(outcome, risk, threshold)
    return table.true_negatives / table.non_events


def test_thresholds_by_hand():
    outcome, risk = [1, 1, 1, 1, 0, 0, 0, 0], [0.9, 0.8, 0.6, 0.3, 0.7, 0.4, 0.2, 0.1]
    assert th.threshold_for_sensitivity(outcome, risk, 0.75) == 0.6
    assert th.threshold_for_sensitivity(outcome, risk, 0.76) == 0.3
    assert th.threshold_for_specificity(outcome, risk, 0.75) == 0.6
    # .8, .6 and .3 all have the index .5; the lowest misses nobody.
    assert th.threshold_youden(outcome, risk) == 0.3
    assert th.threshold_for_harm_ratio(9) == 0.1


@law(cases(), st.sampled_from([0.05, 0.29, 0.5, 0.7, 0.9, 0.95, 1.0]))
def test_the_threshold_for_sensitivity_is_the_largest_that_reaches_it(drawn, target):
    outcome, risk = drawn
    reaching = [t for t in set(risk) if sensitivity(outcome, risk, t) >= target]
    assert th.threshold_for_sensitivity(outcome, risk, target) == max(reaching)


@law(cases(), st.sampled_from([0.05, 0.29, 0.5, 0.7, 0.9, 0.95, 1.0]))
def test_the_threshold_for_specificity_is_the_smallest_that_reaches_it(drawn, target):
    outcome, risk = drawn
    above_all = np.nextafter(max(risk), 2)
    reaching = [t for t in {*risk, above_all} if specificity(outcome, risk, t) >= target]
    assert th.threshold_for_specificity(outcome, risk, target) == min(reaching)


@law(cases())
def test_youden_is_the_best_of_all_cuts_and_of_equal_ones_the_lowest(drawn):
    outcome, risk = drawn

    def index(threshold):
        table = counts(outcome, risk, threshold)
        return table.true_positives * table.non_events - table.false_positives * table.events

    best = max(index(t) for t in set(risk))
    assert th.threshold_youden(outcome, risk) == min(t for t in set(risk) if index(t) == best)


@pytest.mark.parametrize("name", NAMES)
def test_the_youden_index_reached_is_p_roc_s(name):
    outcome, risk, _, _ = sample(name)
    cut = th.threshold_youden(outcome, risk)
    index = sensitivity(outcome, risk, cut) + specificity(outcome, risk, cut) - 1
    assert index == pytest.approx(R["samples"][name]["youden"], rel=1e-9)


def test_a_target_that_a_float_cannot_hold_costs_no_extra_case():
    # .07 * 100 is 7.000000000000001, yet 7 of 100 is a sensitivity of .07.
    outcome, risk = np.ones(100, bool), np.arange(100, 0, -1) / 100
    assert th.threshold_for_sensitivity(outcome, risk, 0.07) == risk[6]


@law(cases(), st.sampled_from(["sensitivity", "specificity", "youden"]))
def test_a_monotone_change_of_risks_moves_the_threshold_with_them(drawn, rule):
    outcome, risk = drawn
    choose = {
        "sensitivity": lambda r: th.threshold_for_sensitivity(outcome, r, 0.8),
        "specificity": lambda r: th.threshold_for_specificity(outcome, r, 0.3),
        "youden": lambda r: th.threshold_youden(outcome, r),
    }[rule]
    # Where nobody may be flagged the threshold lies above every risk and is no risk of a case.
    if choose(risk) <= risk.max():
        assert choose(risk**2) == pytest.approx(choose(risk) ** 2, rel=1e-15)


@pytest.mark.parametrize("row", R["met"])
def test_the_probability_that_the_target_is_met_is_r_s_binomial(row):
    found = th.probability_target_met(row["successes"], row["total"], row["target"])
    assert found == pytest.approx(row["probability"], rel=1e-9)


def test_the_probability_is_how_often_new_patients_of_the_same_kind_bear_the_promise_out():
    rng, events, target = np.random.default_rng(4), 21, 0.9
    met = 0
    for _ in range(2000):
        cut = th.threshold_for_sensitivity(np.ones(events, bool), rng.random(events), target)
        met += 1 - cut >= target  # risks are uniform: a share 1 - cut of all events lies above the cut
    expected = th.probability_target_met(19, events, target)
    assert met / 2000 == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 2000))


def test_21_events_cannot_guarantee_a_sensitivity_of_90():
    rng = np.random.default_rng(0)
    outcome = np.arange(78) < 21
    found = th.choose_threshold(outcome, rng.random(78), target=0.9)
    assert math.isnan(found.guaranteed)
    assert "cannot be guaranteed with 21 events" in found.sentence
    assert "at least 29 are needed" in found.sentence
    assert found.probability_met == pytest.approx(binom.cdf(18, 21, 0.9))
    assert found.achieved.value == 19 / 21


def test_enough_events_name_the_threshold_that_guarantees():
    rng = np.random.default_rng(0)
    outcome = np.arange(400) < 100
    risk = rng.random(400)
    found = th.choose_threshold(outcome, risk, target=0.9)
    caught = counts(outcome, risk, found.guaranteed).true_positives
    assert found.guaranteed < found.value
    assert binom.cdf(caught - 1, 100, 0.9) >= 0.95 > binom.cdf(caught - 2, 100, 0.9)
    assert f"{found.guaranteed:.6g}" in found.sentence


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95, 0.99])
def test_the_events_needed_are_the_least_that_can_guarantee(target):
    needed = th.events_to_guarantee(target)
    assert th.probability_target_met(needed, needed, target) >= 0.95
    assert th.probability_target_met(needed - 1, needed - 1, target) < 0.95


def test_a_sensitivity_of_1_is_never_promised():
    found = th.choose_threshold([1, 0, 1, 0], [0.9, 0.1, 0.8, 0.2], target=1.0)
    assert found.probability_met == 0
    assert "any number of events" in found.sentence


@pytest.mark.parametrize("rule", ["sensitivity", "specificity", "youden"])
def test_the_bootstrap_of_a_threshold_is_that_of_a_loop(rule):
    outcome, risk, _, _ = sample("small")
    target = None if rule == "youden" else 0.8
    found = th.choose_threshold(outcome, risk, rule=rule, target=target, draws=4000)
    choose = {
        "sensitivity": lambda y, r: th.threshold_for_sensitivity(y, r, 0.8),
        "specificity": lambda y, r: th.threshold_for_specificity(y, r, 0.8),
        "youden": th.threshold_youden,
    }[rule]
    rng = np.random.default_rng(9)
    events, others = np.flatnonzero(outcome), np.flatnonzero(~outcome)
    looped = []
    for _ in range(800):
        rows = np.concatenate([rng.choice(events, len(events)), rng.choice(others, len(others))])
        looped.append(choose(outcome[rows], risk[rows]))
    assert found.bootstrap.mean() == pytest.approx(np.mean(looped), abs=0.02)
    assert found.bootstrap.std() == pytest.approx(np.std(looped), rel=0.2)
    assert found.threshold.low <= found.value <= found.threshold.high


def test_groups_of_copies_widen_the_bootstrap_of_a_threshold():
    rng = np.random.default_rng(3)
    outcome, risk = np.arange(150) < 50, rng.random(150)
    copied = th.choose_threshold(np.repeat(outcome, 4), np.repeat(risk, 4), target=0.8)
    grouped = th.choose_threshold(
        np.repeat(outcome, 4), np.repeat(risk, 4), target=0.8, group=np.repeat(np.arange(150), 4)
    )
    assert grouped.bootstrap.std() > 1.5 * copied.bootstrap.std()


def test_the_same_seed_gives_the_same_draws():
    outcome, risk, _, group = sample("tied")
    one, other = (th.choose_threshold(outcome, risk, target=0.8, group=group, seed=5) for _ in range(2))
    assert np.array_equal(one.bootstrap, other.bootstrap)


def test_many_distinct_risks_are_cut_at_quantiles_only_in_the_bootstrap():
    rng = np.random.default_rng(1)
    outcome = np.arange(60_000) < 20_000
    risk = rng.random(60_000)
    found = th.choose_threshold(outcome, risk, target=0.9, draws=200)
    assert found.value == th.threshold_for_sensitivity(outcome, risk, 0.9)
    # The tenth percentile of 20,000 uniform risks has a standard error of .0021.
    assert found.bootstrap.std() == pytest.approx(0.0021, rel=0.25)


def test_a_harm_ratio_sets_the_threshold_without_data():
    found = th.choose_threshold([1, 0], [0.9, 0.1], rule="harm_ratio", target=4)
    assert found.value == 0.2
    assert "calibrated risks only" in found.sentence


def test_youden_promises_nothing():
    found = th.choose_threshold([1, 0, 1, 0], [0.9, 0.1, 0.8, 0.85], rule="youden")
    assert found.achieved.value == 0.5  # all events found, one of two others flagged
    assert math.isnan(found.probability_met)
    assert "promises neither on new ones" in found.sentence


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: th.threshold_for_sensitivity([0, 0], [0.1, 0.2], 0.9),
            "cases with the condition; got none",
        ),
        (lambda: th.threshold_for_specificity([1], [0.1], 0.9), "cases without the condition; got none"),
        (lambda: th.threshold_for_sensitivity([1], [0.1], 0.0), "above 0 and not above 1; got 0.0"),
        (lambda: th.threshold_for_harm_ratio(0), "above 0; got 0"),
        (lambda: th.choose_threshold([1, 0], [0.1, 0.2], rule="best"), "A rule is .* got 'best'"),
        (lambda: th.choose_threshold([1, 0], [0.1, 0.2]), "'sensitivity' needs a target"),
        (lambda: th.events_to_guarantee(1.0), "between 0 and 1; got 1.0"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("outcome", [[0, 0], [1, 1]])
def test_youden_needs_both_classes(outcome):
    with pytest.raises(ValueError):
        th.threshold_youden(outcome, [0.2, 0.3])


@law(cases(least=4), st.floats(0.05, 1))
def test_a_resample_that_is_the_sample_itself_gets_the_very_threshold(drawn, target):
    outcome, risk = drawn
    cut, events, non_events = th._descending_counts(outcome, risk)
    given = cut, events[None, :], non_events[None, :], target
    (found,) = th._cuts_for_rate(*given, sensitivity=True)
    assert found == th.threshold_for_sensitivity(outcome, risk, target)
    (found,) = th._cuts_for_rate(*given, sensitivity=False)
    flagged = (risk[~outcome] >= found).mean()
    assert flagged == pytest.approx(
        (risk[~outcome] >= th.threshold_for_specificity(outcome, risk, target)).mean()
    )


def test_it_takes_29_events_with_none_missed_for_90_percent():
    risk = np.linspace(0.1, 0.9, 29)
    found = guaranteed_threshold(np.ones(29), risk, target=0.9)
    assert (found.threshold, found.allowed, found.needed) == (0.1, 0, 29)
    short = guaranteed_threshold(np.ones(28), risk[:28], target=0.9)
    assert np.isnan(short.threshold)
    assert short.allowed == -1
    assert short.method == (
        "cannot be guaranteed with 28 cases with the condition: it takes at least 29, none of them wrong"
    )


@pytest.mark.parametrize("events", [29, 46, 60, 93, 200])
@pytest.mark.parametrize("target", [0.8, 0.9])
def test_the_threshold_is_the_last_whose_exact_lower_bound_reaches_the_target(events, target):
    rng = np.random.default_rng(events)
    outcome, risk = np.arange(3 * events) < events, rng.random(3 * events)
    found = guaranteed_threshold(outcome, risk, target=target)
    bounds = {}
    for threshold in np.sort(risk[outcome]):
        caught = int(np.sum(risk[outcome] >= threshold))
        # A one-sided 95 % bound is the lower one of a two-sided 90 %.
        bounds[threshold] = clopper_pearson(caught, events, level=0.9).low
    assert found.threshold == max(threshold for threshold, bound in bounds.items() if bound >= target)
    assert found.allowed == int(np.sum(risk[outcome] < found.threshold))


@law(cases(least=30))
def test_it_is_the_guaranteed_threshold_of_a_chosen_one(drawn):
    outcome, risk = drawn
    for rule in ("sensitivity", "specificity"):
        found = guaranteed_threshold(outcome, risk, rule=rule, target=0.8)
        chosen = choose_threshold(outcome, risk, rule=rule, target=0.8, draws=1)
        assert found.threshold == pytest.approx(chosen.guaranteed, nan_ok=True)


def test_specificity_is_the_mirror_image():
    rng = np.random.default_rng(1)
    outcome, risk = rng.random(200) < 0.4, rng.random(200)
    found = guaranteed_threshold(outcome, risk, rule="specificity", target=0.9)
    mirrored = guaranteed_threshold(~outcome, -risk, target=0.9)
    assert found.allowed == mirrored.allowed
    spared, caught = np.sum(risk[~outcome] < found.threshold), np.sum(-risk[~outcome] >= mirrored.threshold)
    assert spared == caught
    alone = guaranteed_threshold(np.zeros(29), np.linspace(0.1, 0.9, 29), rule="specificity", target=0.9)
    assert alone.threshold == np.nextafter(0.9, 1)


def test_a_group_is_right_only_when_all_of_it_is():
    # Thirty patients with two images each; the lower risk of each decides.
    low, high = np.linspace(0.1, 0.4, 30), np.linspace(0.6, 0.9, 30)
    found = guaranteed_threshold(
        np.ones(60), np.concatenate([low, high]), target=0.9, group=np.tile(np.arange(30), 2)
    )
    assert (found.units, found.threshold) == (30, 0.1)
    assert found.method == "exact, order statistic 30 of 30 groups with the condition"
    # A group of both outcomes counts once for each, by its own cases.
    mixed = guaranteed_threshold([1, 0] * 40, np.tile([0.7, 0.2], 40), target=0.9, group=np.arange(80) // 2)
    assert (mixed.units, mixed.threshold) == (40, 0.7)


def test_single_cases_as_groups_change_nothing_and_rows_have_no_order():
    rng = np.random.default_rng(2)
    outcome, risk = rng.random(150) < 0.5, rng.random(150).round(2)
    plain = guaranteed_threshold(outcome, risk, target=0.85)
    order = rng.permutation(150)
    grouped = guaranteed_threshold(outcome[order], risk[order], target=0.85, group=order)
    assert grouped.threshold == plain.threshold


@pytest.mark.parametrize("together", [1, 2])
def test_the_guarantee_holds_in_95_of_100_samples(together):
    # True sensitivity of a threshold t among events N(0, 1): 1 - cdf(t). Two images of a patient, with a
    # correlation of .6, make it hold more often, not less.
    rng = np.random.default_rng(3)
    held = []
    for _ in range(800):
        patient = np.repeat(rng.normal(size=80 // together), together)
        share = 0.6 if together > 1 else 0.0
        risk = np.sqrt(share) * patient + np.sqrt(1 - share) * rng.normal(size=80)
        found = guaranteed_threshold(np.ones(80), risk, target=0.9, group=np.arange(80) // together)
        held.append(norm.sf(found.threshold) >= 0.9)
    # Exactly, single cases: with 3 of 80 allowed, P(Beta(77, 4) >= .9).
    least = beta.sf(0.9, 77, 4) if together == 1 else 0.95
    assert np.mean(held) > least - 3 * np.sqrt(0.05 * 0.95 / 800)


def test_the_defer_region_worked_by_hand():
    outcome = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    risk = [0.9, 0.8, 0.5, 0.1, 0.7, 0.4, 0.3, 0.2, 0.1, 0.1]
    found = defer_region(outcome, risk, rule_out=0.25, rule_in=0.75)
    # Out: .1 with it, .2, .1, .1 without. In: .9, .8 with it. Deferred: .5, .7, .4, .3.
    assert found.deferred_cases == 4
    assert found.deferred == wilson(4, 10)
    assert found.missed == wilson(1, 4)
    assert found.false_alarms == wilson(0, 6)
    assert found.npv == wilson(3, 4)
    assert found.ppv == wilson(2, 2)
    assert found.sensitivity == wilson(2, 3)
    assert found.specificity == wilson(3, 3)


def test_thresholds_that_cross_defer_nothing():
    outcome, risk = [1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1]
    found = defer_region(outcome, risk, rule_out=0.8, rule_in=0.3)
    assert (found.rule_in, found.deferred_cases) == (0.8, 0)
    assert found.sensitivity.value == found.specificity.value == 1


def test_a_zone_without_cases_is_undefined_with_the_reason():
    found = defer_region([1, 0], [0.4, 0.5], rule_out=0.1, rule_in=0.9)
    assert found.deferred.value == 1
    assert np.isnan([found.npv.value, found.sensitivity.value]).all()
    assert found.ppv.method == "no case is ruled in"


def test_groups_widen_the_intervals_of_the_defer_region():
    outcome, risk = np.tile([1, 1, 0, 0, 0, 1], 5), np.tile([0.9, 0.2, 0.1, 0.6, 0.95, 0.5], 5)
    outcome, risk = np.repeat(outcome, 2), np.repeat(risk, 2)
    plain = defer_region(outcome, risk, rule_out=0.3, rule_in=0.8)
    grouped = defer_region(outcome, risk, rule_out=0.3, rule_in=0.8, group=np.arange(60) // 2)
    assert grouped.missed.high - grouped.missed.low > plain.missed.high - plain.missed.low


def test_refusals_name_what_is_wrong():
    with pytest.raises(ValueError, match="Expected as rule sensitivity or specificity, got 'youden'"):
        guaranteed_threshold([1, 0], [0.5, 0.1], target=0.9, rule="youden")
    with pytest.raises(ValueError, match="Expected a confidence between 0 and 1, got 1"):
        guaranteed_threshold([1, 0], [0.5, 0.1], target=0.9, confidence=1)
    with pytest.raises(ValueError, match="lies between 0 and 1"):
        guaranteed_threshold([1, 0], [0.5, 0.1], target=1)
    with pytest.raises(ValueError, match="Expected a number as rule_out; got nan"):
        defer_region([1, 0], [0.5, 0.1], rule_out=np.nan, rule_in=0.5)
    none = guaranteed_threshold([0, 0], [0.5, 0.1], target=0.9)
    assert (none.units, none.needed) == (0, 29)
    assert np.isnan(none.threshold)
