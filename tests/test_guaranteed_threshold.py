"""Thresholds with a guarantee: exact binomial bounds, simulation, cases by hand and laws."""

import numpy as np
import pytest
from clinical_reference import cases
from discrimination_reference import law
from scipy.stats import beta, norm

from clineval.statistics.guaranteed_threshold import defer_region, guaranteed_threshold
from clineval.statistics.intervals import clopper_pearson, wilson
from clineval.statistics.thresholds import choose_threshold


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
    with pytest.raises(ValueError, match="one cannot be guaranteed"):
        defer_region([1, 0], [0.5, 0.1], rule_out=np.nan, rule_in=0.5)
    none = guaranteed_threshold([0, 0], [0.5, 0.1], target=0.9)
    assert (none.units, none.needed) == (0, 29)
    assert np.isnan(none.threshold)
