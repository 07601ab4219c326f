"""The smoothed calibration curve and ICI, E50, E90: against R, against statsmodels, and by laws."""

import math

import numpy as np
import pytest
from clinical_reference import LETTERS, NAMES, cases, cases_of, golden, sample, triple
from discrimination_reference import law
from scipy.special import expit, logit

from clineval.statistics import smoothing
from clineval.statistics.smoothing import (
    calibration_errors,
    e50,
    e90,
    ici,
    smoothed_calibration,
    smoothed_curve,
)

R = golden("calibration")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", LETTERS)
def test_the_curve_is_r_s_lowess(name, letter):
    outcome, risk, _ = cases_of(name, letter)
    theirs = R[name][letter]["smoothed"]
    curve = smoothed_curve(outcome, risk, draws=2)
    assert np.interp(theirs["grid"], curve.risk, curve.observed) == pytest.approx(
        theirs["curve"], rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", LETTERS)
def test_ici_e50_and_e90_are_those_of_rms(name, letter):
    outcome, risk, _ = cases_of(name, letter)
    theirs = R[name][letter]["smoothed"]
    found = calibration_errors(outcome, risk, draws=20)
    assert found.ici.value == pytest.approx(theirs["eavg"], rel=1e-9)
    assert found.e50.value == pytest.approx(theirs["e50"], rel=1e-9)
    assert found.e90.value == pytest.approx(theirs["e90"], rel=1e-9)


@pytest.mark.parametrize("name", ["small", "useless", "breastmnist"])
def test_the_curve_is_statsmodels_lowess(name):
    lowess = pytest.importorskip("statsmodels.nonparametric.smoothers_lowess").lowess
    outcome, risk, _, _ = sample(name)
    theirs = lowess(outcome, risk, frac=2 / 3, it=0, delta=0.01 * np.ptp(risk))
    curve = smoothed_curve(outcome, risk, draws=2)
    assert np.interp(theirs[:, 0], curve.risk, curve.observed) == pytest.approx(theirs[:, 1], abs=1e-9)


def test_by_hand_a_curve_through_risks_that_are_exact_is_the_diagonal():
    # At each of five risks the share with the condition is the risk itself.
    risk = np.repeat([0.1, 0.3, 0.5, 0.7, 0.9], 10)
    outcome = np.concatenate([np.arange(10) < k for k in (1, 3, 5, 7, 9)])
    found = calibration_errors(outcome, risk, draws=50)
    assert found.ici.value == pytest.approx(0, abs=1e-12)
    assert found.ici.low == 0


def test_the_bootstrap_is_that_of_a_loop_over_r_s_lowess():
    lowess = pytest.importorskip("statsmodels.nonparametric.smoothers_lowess").lowess
    outcome, risk, _, _ = sample("breastmnist")
    rng, looped = np.random.default_rng(1), []
    for _ in range(200):
        rows = rng.integers(len(risk), size=len(risk))
        fit = lowess(
            outcome[rows], risk[rows], frac=2 / 3, it=0, delta=0.01 * np.ptp(risk), return_sorted=False
        )
        looped.append(np.mean(np.abs(fit - risk[rows])))
    found = ici(outcome, risk, draws=2000)
    low, high = np.quantile(looped, [0.025, 0.975])
    # The loop chooses each fit's width anew, the bootstrap keeps it: hardly a tenth of the interval.
    assert found.high == pytest.approx(high, abs=0.12 * (high - low))
    assert found.low == pytest.approx(low, abs=0.12 * (high - low))


def test_perfect_calibration_reaches_down_to_0_and_gross_miscalibration_does_not():
    rng = np.random.default_rng(0)
    true = expit(rng.normal(-1, 1.5, 300))
    outcome = rng.random(300) < true
    honest, boastful = calibration_errors(outcome, true), calibration_errors(outcome, expit(logit(true) + 2))
    assert honest.ici.low == 0
    assert "as much by chance" in honest.ici.method
    assert boastful.ici.low > 0.1
    assert 0.5 * honest.ici_by_chance < honest.ici.value < 3 * honest.ici_by_chance


def test_the_band_surrounds_the_curve_and_groups_of_copies_keep_it_as_wide():
    outcome, risk, _, _ = sample("breastmnist")
    once = smoothed_curve(outcome, risk)
    inside = (once.low <= once.observed) & (once.observed <= once.high)
    assert inside.all()
    copied = np.repeat(outcome, 3), np.repeat(risk, 3)
    grouped = smoothed_curve(*copied, group=np.repeat(np.arange(len(risk)), 3))
    assert np.mean(grouped.high - grouped.low) == pytest.approx(np.mean(once.high - once.low), rel=0.1)
    apart = smoothed_curve(*copied)
    assert np.mean(apart.high - apart.low) < 0.7 * np.mean(once.high - once.low)


@law(cases(least=8))
def test_distances_are_ordered_and_not_below_0(drawn):
    found = calibration_errors(*drawn, draws=20)
    assert 0 <= found.e50.value <= found.e90.value
    assert found.ici.value >= 0
    for one in (found.ici, found.e50, found.e90):
        assert 0 <= one.low <= one.high


@law(cases(least=8))
def test_the_complement_lies_as_far_off(drawn):
    outcome, risk = drawn
    one, other = ici(outcome, risk, draws=2), ici(~outcome, 1 - risk, draws=2)
    # R joins fits with straight lines from the lowest risk up, so a mirrored sample joins elsewhere.
    assert one.value == pytest.approx(other.value, abs=0.02)


@law(cases(least=8))
def test_shuffling_the_cases_changes_nothing(drawn):
    outcome, risk = drawn
    order = np.random.default_rng(0).permutation(len(risk))
    assert ici(outcome, risk, draws=2).value == pytest.approx(ici(outcome[order], risk[order], draws=2).value)


def test_above_50_000_cases_the_curve_is_that_of_bins_and_says_so(monkeypatch):
    rng = np.random.default_rng(0)
    risk = rng.beta(2, 4, 6000)
    outcome = rng.random(6000) < expit(1.3 * logit(risk))
    exact = calibration_errors(outcome, risk, draws=200)
    monkeypatch.setattr(smoothing, "LARGE", 5000)
    binned = calibration_errors(outcome, risk, draws=200)
    assert binned.ici.value == pytest.approx(exact.ici.value, abs=1e-4)
    assert "lowess of 500 quantile bins" in binned.ici.method
    assert triple(binned.ici)[1:] == pytest.approx(triple(exact.ici)[1:], abs=1e-3)


def test_one_risk_for_all_lies_off_by_its_distance_from_the_prevalence():
    found = calibration_errors([1, 0, 0, 0], [0.4] * 4, draws=50)
    assert found.ici.value == pytest.approx(0.15)


def test_one_class_leaves_the_distances_undefined_with_the_reason():
    for function in (ici, e50, e90):
        found = function([1, 1], [0.2, 0.3])
        assert math.isnan(found.value)
        assert "with and without" in found.method


def test_a_curve_of_no_cases_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        smoothed_curve([], [])


def test_a_curve_of_one_case_is_a_point():
    curve = smoothed_curve([1], [0.3], draws=10)
    assert (curve.risk.tolist(), curve.observed.tolist()) == ([0.3], [1.0])


def test_the_band_leaves_out_as_much_above_as_below():
    outcome, risk, _, _ = sample("breastmnist")
    narrow, wide = (smoothed_curve(outcome, risk, draws=400, level=level) for level in (0.5, 0.9))
    above, below = wide.high - narrow.high, narrow.low - wide.low
    assert (above > 0).mean() > 0.95
    assert (below > 0).mean() > 0.95
    assert np.median(above) == pytest.approx(np.median(below), rel=0.5)


def test_exact_risks_lie_on_the_curve_without_an_interval():
    outcome = np.arange(30) < 9
    found = calibration_errors(outcome, outcome * 1.0, draws=50).ici
    assert found.value == pytest.approx(0, abs=1e-12)
    assert np.isnan(found.low)
    assert "every resample gives the same number" in found.method


def test_the_curve_and_its_distances_come_from_one_bootstrap():
    outcome, risk, _, group = sample("breastmnist")
    both = smoothed_calibration(outcome, risk, group=group, draws=60, seed=4)
    assert repr(both.errors) == repr(calibration_errors(outcome, risk, group=group, draws=60, seed=4))
    curve = smoothed_curve(outcome, risk, group=group, draws=60, seed=4)
    assert np.array_equal(both.curve.low, curve.low)


@pytest.mark.slow
def test_perfect_risks_of_three_images_a_patient_are_not_called_miscalibrated():
    rng, code, excluded = np.random.default_rng(1), np.repeat(np.arange(60), 3), 0
    for number in range(300):
        risk = rng.beta(1.5, 3, 60)[code]
        outcome = rng.random(60)[code] < risk
        if outcome.any():
            found = calibration_errors(outcome, risk, group=code, draws=100, seed=number).ici
            excluded += found.low > 0
    assert excluded / 300 <= 0.08
