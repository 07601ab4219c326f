"""Net benefit: by hand, against R's formula and dcurves, its bands against a loop, and by laws."""

import math

import dcurves
import numpy as np
import pandas as pd
import pytest
from clinical_reference import NAMES, cases, golden, sample
from discrimination_reference import law

from clineval.statistics.decision_curve import (
    compare_decision_curves,
    decision_curve,
    decision_grid,
    net_benefit,
)
from clineval.statistics.operating_point import operating_point

R = golden("decision_curve")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("column", ["net_benefit", "treat_all", "standardised", "interventions_avoided"])
def test_every_column_is_r_s_at_all_99_thresholds(name, column):
    outcome, risk, _, _ = sample(name)
    found = getattr(decision_curve(outcome, risk, draws=0), column)
    assert found == pytest.approx(R[name][column], rel=1e-9, abs=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["small", "tied", "breastmnist"])
def test_net_benefit_is_that_of_dcurves(name):
    outcome, risk, _, _ = sample(name)
    table = dcurves.dca(
        data=pd.DataFrame({"outcome": outcome.astype(int), "risk": risk}),
        outcome="outcome",
        modelnames=["risk"],
        thresholds=decision_grid(),
    )
    for model, column in {"risk": "net_benefit", "all": "treat_all"}.items():
        theirs = table[table["model"] == model].sort_values("threshold")["net_benefit"]
        assert getattr(decision_curve(outcome, risk, draws=0), column) == pytest.approx(
            theirs, rel=1e-9, abs=1e-12
        )


def test_net_benefit_by_hand():
    curve = decision_curve([1, 1, 0, 0, 0], [0.9, 0.2, 0.6, 0.2, 0.1], thresholds=[0.2, 0.5], draws=0)
    assert curve.net_benefit == pytest.approx([2 / 5 - 2 / 5 * 0.25, 1 / 5 - 1 / 5])
    assert curve.treat_all == pytest.approx([0.4 - 0.6 * 0.25, 0.4 - 0.6])
    assert curve.interventions_avoided == pytest.approx([100 * (0.3 - 0.25) / 0.25, 100 * 0.2])
    assert curve.prevalence == 0.4


def test_the_grid_is_k_over_100_to_the_last_bit():
    assert decision_grid().tolist() == [k / 100 for k in range(1, 100)]
    assert decision_curve([1, 0], [0.9, 0.1], draws=0).threshold.tolist() == decision_grid().tolist()


def test_a_risk_of_exactly_a_threshold_is_flagged_at_it_and_not_above():
    for k in range(1, 100):
        found = decision_curve([1, 0], [k / 100, 0.0], draws=0).net_benefit
        assert np.array_equal(found > 0, decision_grid() <= k / 100)


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("stratified", [False, True])
def test_the_band_is_that_of_a_loop_over_resamples(grouped, stratified):
    outcome, risk, _, group = sample("breastmnist")
    grid = np.array([0.1, 0.3, 0.5])
    own = group if grouped else None
    found = decision_curve(outcome, risk, thresholds=grid, group=own, draws=4000, stratified=stratified)
    rng = np.random.default_rng(1)
    units = [np.flatnonzero(group == g) for g in np.unique(group)] if grouped else np.arange(156)[:, None]
    kind = [outcome[unit].mean() if stratified else 0 for unit in units]
    kind = np.digitize(kind, [1e-9, 1]) if stratified else np.zeros(len(units), int)
    looped, gains = [], []
    for _ in range(700):
        drawn = np.concatenate(
            [rng.choice(np.flatnonzero(kind == k), np.count_nonzero(kind == k)) for k in np.unique(kind)]
        )
        rows = np.concatenate([units[i] for i in drawn])
        one = decision_curve(outcome[rows], risk[rows], thresholds=grid, draws=0)
        looped.append(one.net_benefit)
        gains.append(one.net_benefit - [max(everyone, 0) for everyone in one.treat_all])
    assert (found.gain_low, found.gain_high) == pytest.approx(
        np.quantile(gains, [0.025, 0.975], axis=0), abs=0.015
    )
    low, high = np.quantile(looped, [0.025, 0.975], axis=0)
    assert found.low == pytest.approx(low, abs=0.015)
    assert found.high == pytest.approx(high, abs=0.015)
    assert ("events held fixed" in found.method) is stratified
    assert ("groups" in found.method) is grouped


def test_with_events_held_fixed_flagging_everybody_is_certain():
    outcome, _, _, _ = sample("breastmnist")
    everybody = np.full(len(outcome), 0.999)
    fixed = decision_curve(outcome, everybody, stratified=True, draws=200)
    free = decision_curve(outcome, everybody, draws=200)
    assert fixed.low == pytest.approx(fixed.high)
    assert (free.low[:50] < free.high[:50]).all()


def test_a_useful_model_is_probably_useful_and_a_useless_one_is_not():
    outcome, risk, _, _ = sample("perfect")
    # Between .5 and .59 the risks part the classes; turned over they flag the wrong class alone.
    assert (decision_curve(outcome, risk).probability_useful[49:59] > 0.99).all()
    assert (decision_curve(outcome, 1 - risk).probability_useful[49:59] == 0).all()


def test_the_gain_is_what_the_model_adds_to_the_better_of_treating_all_and_none_by_hand():
    # 4 of 10 ill. At .2 all are flagged but two of the healthy; treating all: (4 - 6/4) / 10 = .25.
    outcome = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    risk = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.5, 0.4, 0.3, 0.1, 0.1])
    curve = decision_curve(outcome, risk, thresholds=[0.2, 0.75], draws=0)
    assert curve.gain == pytest.approx([(4 - 4 / 4) / 10 - 0.25, 2 / 10])


def test_treating_all_by_a_model_gains_exactly_nothing():
    outcome, _, _, _ = sample("breastmnist")
    curve = decision_curve(outcome, np.full(len(outcome), 0.999), draws=100)
    below = curve.treat_all >= 0
    assert (curve.gain[below] == 0).all()
    assert (curve.gain_high[:5] == 0).all()
    assert (curve.gain_low <= 0).all()


@law(cases())
def test_net_benefit_never_exceeds_the_prevalence_and_the_band_surrounds_it(drawn):
    outcome, risk = drawn
    curve = decision_curve(outcome, risk, draws=50)
    assert (curve.net_benefit <= curve.prevalence + 1e-12).all()
    silent = [not (risk >= threshold).any() for threshold in curve.threshold]
    assert np.array_equal(np.isnan(curve.low), silent)
    assert (curve.low <= curve.high)[~np.isnan(curve.low)].all()
    assert ((curve.probability_useful >= 0) & (curve.probability_useful <= 1)).all()
    assert curve.standardised == pytest.approx(curve.net_benefit / curve.prevalence)


@law(cases())
def test_net_benefit_follows_from_the_2x2_table(drawn):
    outcome, risk = drawn
    point = operating_point(outcome, risk, 0.3)
    expected = (point.true_positives - point.false_positives * 0.3 / 0.7) / len(risk)
    assert decision_curve(outcome, risk, thresholds=[0.3], draws=0).net_benefit[0] == pytest.approx(expected)


@law(cases())
def test_every_row_twice_and_shuffling_change_nothing(drawn):
    outcome, risk = drawn
    order = np.random.default_rng(0).permutation(len(risk))
    one = decision_curve(outcome, risk, draws=0).net_benefit
    assert decision_curve(outcome[order], risk[order], draws=0).net_benefit == pytest.approx(one, abs=1e-15)
    twice = decision_curve(np.tile(outcome, 2), np.tile(risk, 2), draws=0).net_benefit
    assert twice == pytest.approx(one, abs=1e-15)


def test_groups_of_copies_keep_the_band_as_wide_as_without_the_copies():
    outcome, risk, _, _ = sample("breastmnist")
    once = decision_curve(outcome, risk)
    copied = np.repeat(outcome, 3), np.repeat(risk, 3)
    grouped = decision_curve(*copied, group=np.repeat(np.arange(156), 3))
    width = np.nanmean(once.high - once.low)
    assert np.nanmean(grouped.high - grouped.low) == pytest.approx(width, rel=0.1)
    assert np.nanmean(decision_curve(*copied).high - decision_curve(*copied).low) < 0.7 * width


def test_the_difference_of_two_models_is_that_of_their_curves():
    outcome, a, b, group = sample("breastmnist")
    found = compare_decision_curves(outcome, a, b, group=group)
    one, other = (decision_curve(outcome, risk, draws=0).net_benefit for risk in (a, b))
    assert found.difference == pytest.approx(one - other, abs=1e-15)
    known = ~np.isnan(found.low)
    assert known.mean() > 0.8
    assert (found.low <= found.high)[known].all()
    back = compare_decision_curves(outcome, b, a, group=group)
    assert back.probability_better == pytest.approx(1 - found.probability_better)
    assert back.low == pytest.approx(-found.high, nan_ok=True)


def test_a_model_against_itself_is_better_in_half_of_nothing():
    outcome, a, _, _ = sample("tied")
    found = compare_decision_curves(outcome, a, a, draws=50)
    assert found.difference == pytest.approx(0)
    assert found.probability_better == pytest.approx(0.5)


def test_pairing_makes_the_difference_narrower_than_two_curves_apart():
    outcome, a, _, _ = sample("breastmnist")
    near = np.clip(a + 0.01, 0, 1)
    found = compare_decision_curves(outcome, a, near)
    apart = decision_curve(outcome, a)
    assert np.nanmean(found.high - found.low) < 0.5 * np.nanmean(apart.high - apart.low)


def test_a_large_sample_is_resampled_in_units_with_the_error_of_theory():
    rng = np.random.default_rng(0)
    risk = rng.beta(1, 3, 40_000)
    outcome = rng.random(40_000) < risk
    found = decision_curve(outcome, risk, thresholds=[0.2])
    gain = np.where(risk >= 0.2, np.where(outcome, 1, -0.25), 0)
    assert (found.high - found.low)[0] == pytest.approx(2 * 1.96 * gain.std() / 200, rel=0.12)
    assert "gathered by chance into 1000 units" in found.method


def test_without_draws_there_is_no_band_and_the_method_says_so():
    curve = decision_curve([1, 0], [0.9, 0.1], draws=0)
    assert np.isnan(curve.low).all()
    assert "no resamples" in curve.method
    assert "no resamples" in compare_decision_curves([1, 0], [0.9, 0.1], [0.8, 0.2], draws=0).method


def test_one_class_has_a_curve_but_no_standardised_one():
    curve = decision_curve([0, 0], [0.9, 0.1], draws=20)
    assert curve.net_benefit[0] == pytest.approx(-0.01 / 0.99)
    assert np.isnan(curve.standardised).all()
    assert math.isnan(curve.standardised_low[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"thresholds": [0.0, 0.5]}, "above 0 and below 1"),
        ({"thresholds": [0.5, 1.0]}, "above 0 and below 1"),
        ({"thresholds": []}, "above 0 and below 1"),
        ({"thresholds": [0.5, 0.4]}, "strictly ascending"),
        ({"draws": -1}, "fewer than 0; got -1"),
    ],
)
def test_a_curve_that_cannot_be_drawn_is_refused_in_words(given, message):
    with pytest.raises(ValueError, match=message):
        decision_curve([1, 0], [0.9, 0.1], **given)


def test_a_curve_of_no_cases_is_refused():
    with pytest.raises(ValueError, match="at least one case; got none"):
        decision_curve([], [])


def test_net_benefit_at_one_threshold_is_that_of_the_curve_with_the_interval_of_a_mean():
    rng = np.random.default_rng(3)
    outcome, risk = rng.random(300) < 0.4, rng.random(300)
    found = net_benefit(outcome, risk, 0.3)
    gained = np.array(
        [(1.0 if case else -0.3 / 0.7) if r >= 0.3 else 0.0 for case, r in zip(outcome, risk, strict=True)]
    )
    assert found.value == pytest.approx(
        decision_curve(outcome, risk, thresholds=[0.3], draws=0).net_benefit[0]
    )
    error = gained.std(ddof=1) / np.sqrt(300)
    assert (found.low, found.high) == pytest.approx(
        (found.value - 1.959963984540054 * error, found.value + 1.959963984540054 * error)
    )


def test_net_benefit_of_every_case_twice_under_one_group_has_no_narrower_interval():
    rng = np.random.default_rng(4)
    outcome, risk, twice = rng.random(80) < 0.4, rng.random(80), np.repeat(np.arange(80), 2)
    once = net_benefit(outcome, risk, 0.3)
    both = net_benefit(outcome[twice], risk[twice], 0.3, group=twice)
    assert both.value == pytest.approx(once.value)
    assert both.high - both.low >= once.high - once.low
    assert "80 groups" in both.method


def test_net_benefit_is_undefined_at_0_and_1_and_has_no_interval_where_none_is_flagged():
    assert np.isnan(net_benefit([1, 0], [0.2, 0.1], 1.0).value)
    found = net_benefit([1, 0], [0.2, 0.1], 0.5)
    assert found.value == 0
    assert np.isnan(found.low)
