"""Curve, rates, band, partial area, average precision: against R, scikit-learn, naive counts and laws."""

import numpy as np
import pytest
from discrimination_reference import GOLDEN, NAMES, bootstrap, law, naive_auc, naive_average_precision, sample
from hypothesis import assume
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_curve

from clineval.statistics import sample_size
from clineval.statistics import scores as levels_module
from clineval.statistics.intervals import clopper_pearson, resampling_units
from clineval.statistics.roc import (
    auc,
    average_precision,
    bootstrap_auc,
    partial_auc,
    roc_band,
    roc_curve,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)
from clineval.statistics.sample_size import _World, coverage

RATES = (0.5, 0.9, 0.95)
RANGES = ((0.9, 1), (0.8, 0.95), (0, 1))
RESAMPLED = ("small", "tied")


def bounds(estimate):
    return estimate.low, estimate.high


def area(curve):
    return -np.trapezoid(curve.sensitivity, curve.specificity)


@pytest.mark.parametrize("name", RESAMPLED)
def test_the_curve_is_proc_s(name):
    outcome, risk, *_ = sample(name)
    curve, golden = roc_curve(outcome, risk), GOLDEN[name]["resampled"]["curve"]
    assert curve.sensitivity == pytest.approx(np.array(golden["sensitivity"]), rel=1e-9)
    assert curve.specificity == pytest.approx(np.array(golden["specificity"]), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_curve_is_scikit_learn_s(name):
    outcome, risk, *_ = sample(name)
    false_alarms, sensitivity, threshold = sklearn_curve(outcome, risk, drop_intermediate=False)
    curve = roc_curve(outcome, risk)
    assert np.array_equal(curve.threshold, threshold)
    assert curve.sensitivity == pytest.approx(sensitivity, rel=1e-12)
    assert 1 - curve.specificity == pytest.approx(false_alarms, abs=1e-12)


def test_a_curve_by_hand_flags_at_or_above_its_threshold():
    curve = roc_curve([1, 1, 0, 0], [0.8, 0.5, 0.5, 0.1])
    assert curve.threshold.tolist() == [np.inf, 0.8, 0.5, 0.1]
    assert curve.sensitivity.tolist() == [0, 0.5, 1, 1]
    assert curve.specificity.tolist() == [1, 1, 0.5, 0]


@pytest.mark.parametrize("outcome", [[0, 0], [1, 1], []])
def test_a_curve_of_one_outcome_is_refused(outcome):
    for of in (roc_curve, roc_band):
        with pytest.raises(ValueError, match="ROC curve needs cases with and without the condition"):
            of(outcome, [0.1, 0.2][: len(outcome)])


@pytest.mark.parametrize("name", NAMES)
def test_rates_on_the_curve_are_proc_s(name):
    outcome, risk, *_ = sample(name)
    sensitivity = [sensitivity_at_specificity(outcome, risk, rate, draws=2).value for rate in RATES]
    specificity = [specificity_at_sensitivity(outcome, risk, rate, draws=2).value for rate in RATES]
    assert sensitivity == pytest.approx(GOLDEN[name]["sensitivity_at"], rel=1e-9)
    assert specificity == pytest.approx(GOLDEN[name]["specificity_at"], rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_partial_areas_are_proc_s(name):
    outcome, risk, *_ = sample(name)
    for over in ("specificity", "sensitivity"):
        ours = [
            partial_auc(outcome, risk, low=low, high=high, over=over, draws=2).value for low, high in RANGES
        ]
        assert ours == pytest.approx(GOLDEN[name][f"partial_{over}"], rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_average_precision_is_r_s_and_scikit_learn_s(name):
    outcome, risk, *_ = sample(name)
    value = average_precision(outcome, risk, draws=2).value
    assert value == pytest.approx(GOLDEN[name]["average_precision"], rel=1e-9)
    assert value == pytest.approx(average_precision_score(outcome, risk), rel=1e-9)


@pytest.mark.parametrize("name", RESAMPLED)
def test_bootstrap_intervals_are_r_s_on_the_same_resamples(name):
    outcome, risk, *_ = sample(name)
    options = {"draws": 200, "seed": 7}
    ours = {
        "auc": bootstrap_auc(outcome, risk, **options),
        "sensitivity_at_90": sensitivity_at_specificity(outcome, risk, 0.9, **options),
        "specificity_at_90": specificity_at_sensitivity(outcome, risk, 0.9, **options),
    }
    for key, estimate in ours.items():
        assert bounds(estimate) == pytest.approx(GOLDEN[name]["resampled"][key], rel=1e-9), key


def test_all_resamples_at_once_are_the_resamples_one_by_one():
    outcome, risk, *_ = sample("small")
    options = {"draws": 100, "seed": 3}
    at_once, one_by_one = (
        bootstrap_auc(outcome, risk, **options), bootstrap(naive_auc, outcome, risk, **options)
    )  # fmt: skip
    assert bounds(at_once) == pytest.approx(bounds(one_by_one), rel=1e-9)
    assert at_once.method == one_by_one.method


@pytest.mark.parametrize("grouped", [False, True])
def test_average_precision_has_the_logit_error_of_resamples_one_by_one(grouped):
    outcome, risk, _, group = sample("breastmnist")
    code = np.unique(group, return_inverse=True)[1] if grouped else np.arange(len(outcome))
    found = average_precision(outcome, risk, group=group if grouped else None, draws=60, seed=3)
    units = resampling_units(outcome, code, stratified=False)
    values = []
    for row in units.weights(60, 3):
        chosen = np.repeat(np.arange(len(outcome)), row[units.of_case].astype(int))
        values.append(logit(naive_average_precision(outcome[chosen], risk[chosen])))
    reach = (student.ppf(0.975, code.max()) if grouped else norm.ppf(0.975)) * np.std(values, ddof=1)
    expected = expit(logit(found.value) + np.array([-reach, reach]))
    assert bounds(found) == pytest.approx(tuple(expected), rel=1e-9)
    assert "events left to chance" in found.method


def of_both(outcome, risk, group, _threshold, draws, level):
    """The two measures of a simulated set that are looked at, of all that coverage looks at."""
    how = {"group": group, "draws": draws, "level": level}
    return {
        "average_precision": average_precision(outcome, risk, **how),
        "partial_auc": partial_auc(outcome, risk, over="sensitivity", low=0.8, **how),
    }


@pytest.mark.slow
@pytest.mark.parametrize("events", [20, 42])
def test_average_precision_and_the_partial_area_cover_what_they_say(events, monkeypatch):
    monkeypatch.setattr(sample_size, "_estimates", of_both)
    monkeypatch.setattr(_World, "truths", lambda world, all_of=_World.truths: {
        name: value for name, value in all_of(world).items() if name in ("average_precision", "partial_auc")
    })  # fmt: skip
    found = {row.measure: row for row in coverage(
        round(events / 0.27), events, 0.86, simulations=400, draws=100, threshold=0.27
    )}  # fmt: skip
    # 93 to 97 %, and two standard errors of 400 sets; the partial area of 20 events falls a little short.
    assert found["average_precision"].covered >= 0.93 - 0.022
    assert found["partial_auc"].covered >= 0.91 - 0.022


def test_the_band_is_the_interval_at_each_specificity():
    outcome, risk, _, group = sample("breastmnist")
    band = roc_band(outcome, risk, specificity=[0, 0.9, 1], group=group, draws=100, seed=5)
    single = sensitivity_at_specificity(outcome, risk, 0.9, group=group, draws=100, seed=5)
    assert (band.sensitivity[1], band.low[1], band.high[1]) == (single.value, single.low, single.high)
    assert band.sensitivity[0] == band.low[0] == 1
    assert "pointwise" in band.method
    assert "of groups" in band.method


def test_the_band_takes_every_percent_unless_told_otherwise():
    outcome, risk, *_ = sample("small")
    band = roc_band(outcome, risk, draws=20)
    assert np.array_equal(band.specificity, np.arange(101) / 100)
    assert (np.diff(band.sensitivity) <= 0).all()
    assert (band.low <= band.high).all()


def test_a_vertical_step_is_read_at_its_upper_end():
    # At specificity .5 the curve climbs from .5 to 1; at sensitivity .5 it runs from specificity 1 to .5.
    outcome, risk = [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]
    assert sensitivity_at_specificity(outcome, risk, 0.5, draws=2).value == 1
    assert specificity_at_sensitivity(outcome, risk, 0.5, draws=2).value == 1
    assert sensitivity_at_specificity(outcome, risk, 0.75, draws=2).value == 0.5


def test_a_partial_area_by_hand():
    # Between specificity .5 and 1 sensitivity stands at .5: area .25 of .5, and the diagonal has .125.
    estimate = partial_auc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], low=0.5, draws=2)
    assert estimate.value == pytest.approx((1 + (0.25 - 0.125) / (0.5 - 0.125)) / 2)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.37])
def test_a_partial_area_is_scikit_learn_s(share):
    outcome, risk, *_ = sample("breastmnist")
    ours = partial_auc(outcome, risk, low=1 - share, draws=2).value
    assert ours == pytest.approx(roc_auc_score(outcome, risk, max_fpr=share), rel=1e-9)


def test_a_perfect_ranking_says_that_resampling_shows_no_spread():
    outcome = np.arange(30) < 12
    risk = outcome * 0.5
    exact = clopper_pearson(12, 12)
    sensitivity = sensitivity_at_specificity(outcome, risk, 0.9, draws=20)
    assert (sensitivity.value, *bounds(sensitivity)) == (1, exact.low, 1)
    assert "exact binomial bound on 12" in sensitivity.method
    assert specificity_at_sensitivity(outcome, risk, 0.9, draws=20).low == clopper_pearson(18, 18).low
    assert bounds(bootstrap_auc(outcome, risk, draws=20)) == bounds(auc(outcome, risk))
    for estimate in (
        average_precision(outcome, risk, draws=20),
        partial_auc(outcome, risk, low=0.8, draws=20),
    ):
        assert estimate.value == pytest.approx(1)
        assert np.isnan(bounds(estimate)).all()
        assert "1 has no logit" in estimate.method


def test_a_lone_event_has_numbers_but_no_intervals():
    outcome, risk = [1, 0, 0, 0, 0], [0.5, 0.7, 0.2, 0.1, 0.3]
    estimates = [
        bootstrap_auc(outcome, risk),
        average_precision(outcome, risk),
        sensitivity_at_specificity(outcome, risk, 0.9),
        partial_auc(outcome, risk, low=0.5),
    ]
    for estimate in estimates:
        assert np.isfinite(estimate.value)
        assert np.isnan(bounds(estimate)).all()
        assert "needs two events" in estimate.method
    band = roc_band(outcome, risk)
    assert np.isfinite(band.sensitivity).all()
    assert np.isnan([band.low, band.high]).all()


def test_events_of_one_patient_have_no_interval():
    others = [f"patient {number}" for number in range(12)]
    risk = [0.5, 0.7, *np.arange(12) / 20]
    estimate = average_precision([1, 1, *[0] * 12], risk, group=["p", "p", *others])
    assert np.isnan(estimate.low)
    assert "two groups with events" in estimate.method


@pytest.mark.parametrize("outcome", [[0, 0], [1, 1], []])
def test_one_outcome_missing_leaves_numbers_undefined_with_the_reason(outcome):
    risk = [0.1, 0.2][: len(outcome)]
    estimates = [
        bootstrap_auc(outcome, risk),
        average_precision(outcome, risk),
        sensitivity_at_specificity(outcome, risk, 0.9),
        specificity_at_sensitivity(outcome, risk, 0.9),
        partial_auc(outcome, risk, low=0.5),
    ]
    for estimate in estimates:
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
        assert "with and without the condition" in estimate.method


@pytest.mark.parametrize("rate", [-0.1, 1.1, 90, np.nan])
def test_a_rate_outside_0_and_1_is_refused(rate):
    with pytest.raises(ValueError, match=r"A specificity lies between 0 and 1|a number as specificity"):
        sensitivity_at_specificity([1, 0], [0.2, 0.1], rate)
    with pytest.raises(ValueError, match=r"A sensitivity lies between 0 and 1|a number as sensitivity"):
        specificity_at_sensitivity([1, 0], [0.2, 0.1], rate)
    with pytest.raises(ValueError, match="Every specificity lies between 0 and 1"):
        roc_band([1, 0], [0.2, 0.1], specificity=[0.5, rate])


@pytest.mark.parametrize("wrong", [{"low": 0.9, "high": 0.8}, {"low": 0.5, "over": "recall"}, {"low": -1}])
def test_a_partial_area_between_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="partial AUC"):
        partial_auc([1, 0], [0.2, 0.1], **wrong)


cases = st.lists(st.tuples(st.booleans(), st.integers(-9, 9)), min_size=4, max_size=40)


def both_twice(drawn):
    """Outcome and risk of drawn cases; skipped where an outcome has fewer than two."""
    outcome, risk = np.array([y for y, _ in drawn]), np.array([r for _, r in drawn], dtype=float)
    assume(outcome.sum() >= 2 and (~outcome).sum() >= 2)
    return outcome, risk


@law(cases)
def test_the_curve_falls_from_nobody_flagged_to_everybody_and_holds_the_auc(drawn):
    outcome, risk = both_twice(drawn)
    curve = roc_curve(outcome, risk)
    assert (curve.sensitivity[0], curve.specificity[0]) == (0, 1)
    assert (curve.sensitivity[-1], curve.specificity[-1]) == (1, 0)
    assert (np.diff(curve.sensitivity) >= 0).all()
    assert (np.diff(curve.specificity) <= 0).all()
    assert area(curve) == pytest.approx(auc(outcome, risk).value, rel=1e-12)
    assert partial_auc(outcome, risk, low=0, draws=2).value == pytest.approx(area(curve), rel=1e-12)


@law(cases, st.integers(0, 99))
def test_estimates_stay_in_range_and_follow_only_the_order(drawn, seed):
    outcome, risk = both_twice(drawn)
    stretched = np.exp(risk / 5)
    for of in (bootstrap_auc, average_precision):
        estimate, same = (of(outcome, scores, draws=30, seed=seed) for scores in (risk, stretched))
        assert 0 <= estimate.value <= 1
        assert np.isnan(estimate.low) or 0 <= estimate.low <= estimate.high <= 1
        assert (estimate.value, *bounds(estimate)) == pytest.approx((same.value, *bounds(same)), nan_ok=True)


@law(cases)
def test_mirrored_scores_swap_the_two_rates(drawn):
    outcome, risk = both_twice(drawn)
    there = sensitivity_at_specificity(outcome, risk, 0.7, draws=2).value
    mirrored = specificity_at_sensitivity(~outcome, -risk, 0.7, draws=2).value
    assert there == pytest.approx(mirrored, rel=1e-12)


@law(cases)
def test_rows_doubled_keep_every_value(drawn):
    outcome, risk = both_twice(drawn)
    twice = np.tile(outcome, 2), np.tile(risk, 2)
    for of in (bootstrap_auc, average_precision):
        assert of(*twice, draws=2).value == pytest.approx(of(outcome, risk, draws=2).value, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("of", [bootstrap_auc, average_precision])
@pytest.mark.parametrize(("events", "size"), [(60, 1), (12_000, 1), (12_000, 3)])
def test_large_samples_in_bins_have_the_value_and_interval_of_their_cases(of, events, size, monkeypatch):
    rng = np.random.default_rng(6)
    outcome = np.arange(60_000) < events
    group = np.arange(60_000) // size
    risk = rng.normal(size=60_000) + 1.5 * outcome + rng.normal(size=60_000)[group]
    binned = of(outcome, risk, group=group, draws=400, seed=1)
    monkeypatch.setattr(levels_module, "LARGE", 10**6)
    by_case = of(outcome, risk, group=group, draws=400, seed=1)
    width = by_case.high - by_case.low
    assert "quantile bins" in binned.method
    assert "quantile bins" not in by_case.method
    assert ("of groups" in binned.method) == ("of groups" in by_case.method) == (size > 1)
    assert binned.value == pytest.approx(by_case.value, rel=1e-12)
    # Other draws of the same distribution: bounds from 400 of them waver by a twelfth of the width.
    assert bounds(binned) == pytest.approx(bounds(by_case), abs=0.15 * width)
