"""Calibration intercept, slope, observed/expected, curves, ICI, E50, E90: by hand, against R, by laws."""

import math

import numpy as np
import pytest
from clinical_reference import LETTERS, NAMES, as_student, cases, cases_of, freedom, golden, sample, triple
from discrimination_reference import law
from scipy.special import expit, logit
from scipy.stats import t as student

from clineval.statistics import calibration as cal
from clineval.statistics.calibration import (
    calibration_errors,
    e50,
    e90,
    ici,
    smoothed_calibration,
    smoothed_curve,
)
from clineval.statistics.intervals import wilson

R = golden("calibration")
Z = 1.959963984540054


def surely_wrong(outcome, risk):
    return bool(np.any((risk == 0) & outcome) or np.any((risk == 1) & ~outcome))


def sandwich_by_case(outcome, risk, intercept):
    """The error of an intercept from its residuals, one case at a time: HC1."""
    inner = [(y, logit(p)) for y, p in zip(outcome, risk, strict=True) if 0 < p < 1]
    chances = [(y, expit(intercept + x)) for y, x in inner]
    bread = sum(p * (1 - p) for _, p in chances)
    meat = sum((y - p) ** 2 for y, p in chances) * len(inner) / (len(inner) - 1)
    return meat**0.5 / bread


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("coefficient", ["intercept", "slope"])
def test_intercept_and_slope_are_glm_s_with_their_wald_and_clustered_errors(name, letter, coefficient):
    outcome, risk, group = cases_of(name, letter)
    function = getattr(cal, f"calibration_{coefficient}")
    plain, clustered = function(outcome, risk), function(outcome, risk, group=group)
    theirs = R[name][letter]["logistic"].get(coefficient)
    if theirs is None or surely_wrong(outcome, risk):
        assert np.isnan(triple(plain)).all()
        return
    assert plain.value == pytest.approx(theirs["value"], rel=1e-6)
    error = theirs["error"] if coefficient == "slope" else sandwich_by_case(outcome, risk, theirs["value"])
    assert (plain.high - plain.low) / 2 / Z == pytest.approx(error, rel=1e-6)
    assert clustered.value == plain.value
    inner = (risk > 0) & (risk < 1)
    reach = student.ppf(0.975, freedom(group[inner]))
    assert (clustered.high - clustered.low) / 2 / reach == pytest.approx(theirs["clustered"], rel=1e-6)
    assert "clustered" in clustered.method


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", LETTERS)
def test_observed_over_expected_is_r_s(name, letter):
    outcome, risk, group = cases_of(name, letter)
    theirs = R[name][letter]["scores"]["observed_expected"]
    plain = cal.observed_expected(outcome, risk)
    assert triple(plain) == pytest.approx([theirs["value"], *theirs["by_case"]], rel=1e-9)
    grouped = cal.observed_expected(outcome, risk, group=group)
    assert [grouped.low, grouped.high] == pytest.approx(as_student(theirs["by_group"], group), rel=1e-9)


def test_the_intercept_of_one_risk_for_all_is_the_shift_of_log_odds():
    outcome = np.arange(40) < 10
    found = cal.calibration_intercept(outcome, np.full(40, 0.5))
    assert found.value == pytest.approx(logit(0.25))
    assert found.high - found.value == pytest.approx(Z / math.sqrt(39 * 0.25 * 0.75))


def test_observed_over_expected_by_hand():
    assert cal.observed_expected([1, 1, 0, 0], [0.5, 0.5, 0.25, 0.25]).value == pytest.approx(2 / 1.5)


def test_the_maximum_is_where_brute_force_finds_it():
    outcome, risk, _, _ = sample("small")
    x, target = logit(risk), cal.calibration_slope(outcome, risk).value
    best, step = np.zeros(2), 1.0
    while step > 1e-9:
        around = [best + step * np.array([i, j]) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        fit = [np.sum(np.log(expit(np.where(outcome, 1, -1) * (a + b * x)))) for a, b in around]
        step = step / 2 if np.argmax(fit) == 4 else step
        best = around[int(np.argmax(fit))]
    assert best[1] == pytest.approx(target, abs=1e-6)


@pytest.mark.parametrize("extreme", [[0.0], [1.0], [0.0, 1.0]])
def test_a_risk_of_0_or_1_that_proved_right_changes_no_estimate(extreme):
    outcome, risk, _, _ = sample("small")
    longer = np.append(outcome, [value == 1 for value in extreme]), np.append(risk, extreme)
    for function in (cal.calibration_intercept, cal.calibration_slope):
        found = function(*longer)
        assert triple(found) == triple(function(outcome, risk))
        assert f"{len(extreme)} cases with a risk of exactly 0 or 1" in found.method


def test_a_group_of_nothing_but_sure_risks_is_no_cluster():
    outcome, risk, _, group = sample("small")
    longer = np.append(outcome, [True, False]), np.append(risk, [1.0, 0.0])
    for function in (cal.calibration_intercept, cal.calibration_slope):
        found = function(*longer, group=np.append(group, [99, 99]))
        assert triple(found) == pytest.approx(triple(function(outcome, risk, group=group)), rel=1e-12)


@pytest.mark.parametrize(("risk_of_it", "happened"), [(0.0, True), (1.0, False)])
def test_a_risk_of_0_or_1_that_proved_wrong_leaves_the_intercept_and_slope_undefined(risk_of_it, happened):
    outcome, risk, _, _ = sample("small")
    for function in (cal.calibration_intercept, cal.calibration_slope):
        found = function(np.append(outcome, happened), np.append(risk, risk_of_it))
        assert math.isnan(found.value)
        assert "1 cases given a risk of exactly 0 or 1 proved wrong" in found.method


@pytest.mark.parametrize(
    ("outcome", "risk", "reason"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "separate the classes"),
        ([0, 0, 1, 1], [0.9, 0.8, 0.2, 0.1], "separate the classes"),
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9], "separate the classes"),
        ([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3], "the same risk"),
        ([1, 1], [0.3, 0.4], "with and without"),
        ([], [], "with and without"),
    ],
)
def test_a_slope_without_a_finite_value_is_nan_with_the_reason(outcome, risk, reason):
    found = cal.calibration_slope(outcome, risk)
    assert np.isnan(triple(found)).all()
    assert reason in found.method


def test_nothing_expected_leaves_the_ratio_undefined_and_nothing_observed_leaves_it_without_interval():
    assert "no event is expected" in cal.observed_expected([0, 1], [0, 0]).method
    found = cal.observed_expected([0, 0], [0.2, 0.4])
    assert found.value == 0
    assert math.isnan(found.low)


@law(cases(least=8))
def test_a_shift_of_all_log_odds_moves_the_intercept_by_as_much_and_the_slope_not_at_all(drawn):
    outcome, risk = drawn
    moved = expit(logit(risk) + 0.7)
    before, after = (cal.calibration_intercept(outcome, r) for r in (risk, moved))
    assert after.value == pytest.approx(before.value - 0.7, abs=1e-6)
    before, after = (cal.calibration_slope(outcome, r).value for r in (risk, moved))
    # Rounding can make or break the overlap of tied log-odds: only both defined is comparable.
    if not math.isnan(before) and not math.isnan(after):
        assert after == pytest.approx(before, rel=1e-6, abs=1e-6)


@law(cases(least=8))
def test_the_complement_turns_the_intercept_s_sign_and_keeps_the_slope(drawn):
    outcome, risk = drawn
    one, other = cal.calibration_intercept(outcome, risk), cal.calibration_intercept(~outcome, 1 - risk)
    assert one.value == pytest.approx(-other.value, abs=1e-9)
    assert one.low == pytest.approx(-other.high, abs=1e-9)


@law(cases(least=10))
def test_every_row_twice_in_one_group_keeps_the_values_and_tells_no_more_than_once(drawn):
    outcome, risk = drawn
    twice = np.repeat(outcome, 2), np.repeat(risk, 2)
    pairs = np.repeat(np.arange(len(risk)), 2)
    once, doubled = cal.observed_expected(outcome, risk), cal.observed_expected(*twice, group=pairs)
    expected = as_student(triple(once)[1:], pairs) if once.low > 0 else triple(once)[1:]
    assert triple(doubled) == pytest.approx([once.value, *expected], nan_ok=True)
    assert cal.calibration_intercept(*twice).value == pytest.approx(
        cal.calibration_intercept(outcome, risk).value, abs=1e-9
    )


@law(cases(least=8))
def test_shuffling_the_cases_changes_nothing(drawn):
    outcome, risk = drawn
    order = np.random.default_rng(0).permutation(len(risk))
    for function in (cal.calibration_intercept, cal.calibration_slope, cal.observed_expected):
        one, other = function(outcome, risk), function(outcome[order], risk[order])
        assert triple(one) == pytest.approx(triple(other), nan_ok=True, rel=1e-6, abs=1e-9)


@law(cases(least=8))
def test_groups_of_one_are_no_groups(drawn):
    outcome, risk = drawn
    names = np.array([f"patient {i}" for i in range(len(risk))])
    for function in (cal.calibration_intercept, cal.calibration_slope, cal.observed_expected):
        plain, grouped = function(outcome, risk), function(outcome, risk, group=names)
        assert triple(plain) == pytest.approx(triple(grouped), nan_ok=True)


def test_two_hundred_thousand_cases_agree_with_statsmodels_on_their_counts():
    # 99 distinct risks: the binomial likelihood of their counts is that of the cases.
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    risk = rng.integers(1, 100, 200_000) / 100
    outcome = rng.random(200_000) < expit(0.2 + 0.9 * logit(risk))
    level, place = np.unique(risk, return_inverse=True)
    events, every = np.bincount(place, weights=outcome), np.bincount(place)
    counted = sm.GLM(
        np.column_stack([events, every - events]),
        sm.add_constant(logit(level)),
        family=sm.families.Binomial(),
    ).fit(tol=1e-14)
    found = cal.calibration_slope(outcome, risk)
    assert found.value == pytest.approx(counted.params[1], rel=1e-9)
    assert found.high - found.value == pytest.approx(Z * counted.bse[1], rel=1e-6)


def test_the_grouped_curve_by_hand():
    curve = cal.grouped_curve([0, 1, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.7, 0.8], bins=2)
    assert curve.mean_risk == pytest.approx([0.2, 0.7])
    assert curve.observed == pytest.approx([1 / 3, 1])
    assert curve.cases.tolist() == [3, 3]
    assert [curve.low[0], curve.high[0]] == pytest.approx(triple(wilson(1, 3))[1:])


@law(cases())
def test_the_grouped_curve_holds_every_case_once_in_rising_bins(drawn):
    outcome, risk = drawn
    curve = cal.grouped_curve(outcome, risk, bins=5)
    assert curve.cases.sum() == len(risk)
    assert len(curve.cases) <= 5 or len(set(risk)) <= 5
    assert (np.diff(curve.mean_risk) > 0).all()
    assert curve.cases @ curve.observed == pytest.approx(outcome.sum())
    assert curve.cases @ curve.mean_risk == pytest.approx(risk.sum())


def test_equal_risks_are_never_parted():
    curve = cal.grouped_curve([0, 1] * 20, [0.3] * 30 + [0.9] * 10, bins=10)
    assert curve.cases.tolist() == [30, 10]


def test_a_curve_without_bins_is_refused():
    with pytest.raises(ValueError, match="at least one bin; got 0"):
        cal.grouped_curve([0, 1], [0.1, 0.2], bins=0)


def test_one_bin_holds_every_case():
    curve = cal.grouped_curve([0, 1, 1, 0], [0.1, 0.2, 0.6, 0.7], bins=1)
    assert (curve.cases.tolist(), curve.observed.tolist()) == ([4], [0.5])
    assert curve.mean_risk == pytest.approx(0.4)


def test_exact_risks_have_no_interval_of_observed_over_expected_and_say_why():
    outcome = np.arange(30) < 9
    found = cal.observed_expected(outcome, outcome * 1.0)
    assert found.value == 1
    assert math.isnan(found.low)
    assert "show no spread" in found.method


def test_bars_by_group_are_as_wide_as_the_groups_make_them():
    outcome, risk, _, _ = sample("breastmnist")
    copied = np.repeat(outcome, 3), np.repeat(risk, 3)
    once, thrice = (
        cal.grouped_curve(outcome, risk),
        cal.grouped_curve(*copied, group=np.repeat(np.arange(156), 3)),
    )
    assert thrice.observed == pytest.approx(once.observed)
    assert ((thrice.high - thrice.low) > 0.99 * (once.high - once.low)).all()
    few = cal.grouped_curve(outcome, risk, group=np.arange(156) % 9)
    assert np.isnan(few.low).all()
    assert "9 groups are too few" in few.method


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
    # The loop chooses each fit's width again, the bootstrap keeps it: hardly a tenth of the interval.
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
def test_shuffling_the_cases_moves_no_curve(drawn):
    outcome, risk = drawn
    order = np.random.default_rng(0).permutation(len(risk))
    assert ici(outcome, risk, draws=2).value == pytest.approx(ici(outcome[order], risk[order], draws=2).value)


def test_above_50_000_cases_the_curve_is_that_of_bins_and_says_so(monkeypatch):
    rng = np.random.default_rng(0)
    risk = rng.beta(2, 4, 6000)
    outcome = rng.random(6000) < expit(1.3 * logit(risk))
    exact = calibration_errors(outcome, risk, draws=200)
    monkeypatch.setattr(cal, "LARGE", 5000)
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
