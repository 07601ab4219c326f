"""Recalibration: against glm and isoreg in R, against scikit-learn, and by laws."""

import json
import math

import numpy as np
import pytest
from clinical_reference import LETTERS, NAMES, cases, cases_of, golden, sample
from discrimination_reference import law
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from clineval.statistics import recalibration as re
from clineval.statistics.calibration import calibration_intercept, calibration_slope
from clineval.statistics.recalibration import fit_logistic
from clineval.statistics.scores import brier

R = golden("calibration")
FITS = (re.fit_temperature, re.fit_platt, re.fit_isotonic)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", LETTERS)
def test_platt_and_temperature_are_glm_s(name, letter):
    outcome, risk, _ = cases_of(name, letter)
    theirs = R[name][letter]["logistic"]
    wrong = np.any((risk == 0) & outcome)
    if wrong or "platt" not in theirs or theirs["platt"][1] <= 0:
        with pytest.raises(ValueError, match=r"proved wrong|No recalibration|do not rise"):
            re.fit_platt(outcome, risk, fitted_on="val")
        return
    platt = re.fit_platt(outcome, risk, fitted_on="val")
    assert [platt.intercept, platt.slope] == pytest.approx(theirs["platt"], rel=1e-6)
    temperature = re.fit_temperature(outcome, risk, fitted_on="val")
    assert temperature.slope == pytest.approx(theirs["inverse_temperature"], rel=1e-6)
    assert temperature.temperature == pytest.approx(1 / theirs["inverse_temperature"], rel=1e-6)


@pytest.mark.parametrize("name", ["small", "useless", "breastmnist"])
def test_isotonic_steps_are_isoreg_s(name):
    outcome, risk, _, _ = sample(name)
    theirs = R[name]["a"]["isotonic"]
    fitted = re.fit_isotonic(outcome, risk, fitted_on="val")
    assert fitted.apply(theirs["risk"]) == pytest.approx(theirs["fitted"], rel=1e-9, abs=1e-12)


@law(cases())
def test_isotonic_recalibration_is_scikit_learn_s_on_any_risk(drawn):
    outcome, risk = drawn
    theirs = IsotonicRegression(out_of_bounds="clip").fit(risk, outcome)
    ours = re.fit_isotonic(outcome, risk, fitted_on="val")
    grid = np.linspace(0, 1, 41)
    assert ours.apply(grid) == pytest.approx(theirs.predict(grid), abs=1e-9)


def test_platt_on_its_own_population_leaves_intercept_0_and_slope_1():
    outcome, risk, _, _ = sample("breastmnist")
    fixed = re.fit_platt(outcome, risk, fitted_on="val").apply(risk)
    assert calibration_intercept(outcome, fixed).value == pytest.approx(0, abs=1e-9)
    assert calibration_slope(outcome, fixed).value == pytest.approx(1, rel=1e-9)


def test_no_temperature_has_a_lower_log_loss():
    outcome, risk, _, _ = sample("breastmnist")
    best = re.fit_temperature(outcome, risk, fitted_on="val").slope

    def loss(slope):
        fixed = re.Recalibration("temperature", "val", 0, 0, slope=slope).apply(risk)
        return -np.mean(np.log(np.where(outcome, fixed, 1 - fixed)))

    assert loss(best) < min(loss(best * 1.001), loss(best / 1.001))


@law(cases(least=10))
def test_recalibration_keeps_the_order_of_risks_and_stays_in_0_to_1(drawn):
    outcome, risk = drawn
    for fit in FITS:
        try:
            fixed = fit(outcome, risk, fitted_on="val").apply(np.sort(risk))
        except ValueError:
            continue
        assert (np.diff(fixed) >= -1e-15).all()
        assert ((fixed >= 0) & (fixed <= 1)).all()


@pytest.mark.parametrize("fit", FITS)
def test_a_recalibration_reads_back_from_json_to_the_last_bit(fit):
    outcome, risk, _, _ = sample("breastmnist")
    fitted = fit(outcome, risk, fitted_on="val")
    assert re.Recalibration.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    assert (fitted.fitted_on, fitted.cases, fitted.events) == ("val", 156, 42)


def test_0_and_1_stay_where_log_odds_are_fixed():
    outcome, risk, _, _ = sample("small")
    for fit in (re.fit_platt, re.fit_temperature):
        assert fit(outcome, risk, fitted_on="val").apply([0.0, 1.0]).tolist() == [0.0, 1.0]


def test_the_change_on_another_population_is_that_of_the_scores():
    outcome, risk, other, _ = sample("breastmnist")
    fitted = re.fit_platt(outcome, risk, fitted_on="val")
    change = re.change_after_recalibration(outcome, other, fitted, population="test")
    difference = brier(outcome, fitted.apply(other)).value - brier(outcome, other).value
    assert change.brier.value == pytest.approx(difference)
    assert change.brier.low < change.brier.value < change.brier.high
    assert (change.kind, change.fitted_on, change.population) == ("platt", "val", "test")
    assert change.log_loss.value < 0


def test_a_sure_risk_after_isotonic_that_proves_wrong_leaves_the_log_loss_undefined():
    fitted = re.fit_isotonic([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], fitted_on="val")
    change = re.change_after_recalibration([1, 0], [0.15, 0.3], fitted, population="test")
    assert math.isnan(change.log_loss.value)
    assert "infinite: 1" in change.log_loss.method


def test_judging_a_recalibration_where_it_was_fitted_is_refused():
    outcome, risk, _, _ = sample("small")
    fitted = re.fit_platt(outcome, risk, fitted_on="val")
    with pytest.raises(ValueError, match="fitted on 'val' must be judged on other cases"):
        re.change_after_recalibration(outcome, risk, fitted, population="val")


@pytest.mark.parametrize(
    ("outcome", "risk", "message"),
    [
        ([1, 1], [0.2, 0.3], "with and without the condition"),
        ([0, 1, 1], [0.2, 0.0, 0.4], "1 cases given a risk of exactly 0 or 1 proved wrong"),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "separate the classes"),
        ([1, 1, 0, 0, 1, 0], [0.1, 0.2, 0.8, 0.9, 0.6, 0.4], "do not rise with the outcome"),
        ([0, 0, 1, 1], [0.0, 0.0, 1.0, 1.0], "with and without"),
    ],
)
def test_what_cannot_be_learnt_is_refused_in_words(outcome, risk, message):
    with pytest.raises(ValueError, match=message):
        re.fit_platt(outcome, risk, fitted_on="val")


def test_risks_of_exactly_0_and_1_that_proved_right_are_left_out_of_the_fit():
    outcome, risk = np.array([0, 0, 1, 0, 1, 1]), np.array([0.1, 0.4, 0.3, 0.6, 0.7, 0.9])
    alone = re.fit_platt(outcome, risk, fitted_on="val")
    beside = re.fit_platt(np.append(outcome, [0, 1]), np.append(risk, [0.0, 1.0]), fitted_on="val")
    assert beside.apply(risk) == pytest.approx(alone.apply(risk))


sm = pytest.importorskip("statsmodels.api")


def statsmodels_fit(outcome, risk, **how):
    design = sm.add_constant(logit(risk))
    model = sm.GLM(outcome.astype(float), design, family=sm.families.Binomial())
    return model.fit(tol=1e-14, **how)


@pytest.mark.parametrize(("name", "letter"), [("small", "a"), ("rare", "a"), ("useless", "b")])
def test_coefficients_and_covariances_are_statsmodels_own(name, letter):
    outcome, risk, group = cases_of(name, letter)
    plain = statsmodels_fit(outcome, risk)
    found = fit_logistic(outcome, x=logit(risk))
    assert found.coefficients == pytest.approx(plain.params, rel=1e-9)
    # 1e-7: statsmodels takes the information from the step before its last.
    assert found.covariance == pytest.approx(plain.cov_params(), rel=1e-7)
    clustered = statsmodels_fit(outcome, risk, cov_type="cluster", cov_kwds={"groups": group})
    found = fit_logistic(outcome, x=logit(risk), code=group)
    assert found.covariance == pytest.approx(clustered.cov_params(), rel=1e-7)


def test_whole_weights_are_so_many_copies_of_a_case():
    outcome, risk, _, _ = sample("small")
    weight = np.arange(len(risk)) % 3 + 1
    weighted = fit_logistic(outcome, x=logit(risk), weight=weight.astype(float))
    copied = fit_logistic(np.repeat(outcome, weight), x=logit(np.repeat(risk, weight)))
    assert weighted.coefficients == pytest.approx(copied.coefficients, rel=1e-9)


def test_a_start_from_every_kth_case_ends_at_the_same_maximum(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    outcome = rng.random(3000) < expit(0.4 * x - 2)
    cold = fit_logistic(outcome, x=x)
    monkeypatch.setattr(re, "START_CASES", 100)
    assert fit_logistic(outcome, x=x).coefficients == pytest.approx(cold.coefficients, rel=1e-12)


def test_a_start_that_has_no_maximum_is_passed_over(monkeypatch):
    monkeypatch.setattr(re, "START_CASES", 2)
    x = np.array([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.5])
    outcome = np.array([0, 1, 1, 0, 0, 1, 1, 0, 0]) == 1
    assert np.isfinite(fit_logistic(outcome, x=x).coefficients).all()


def test_hardly_overlapping_classes_still_reach_their_maximum():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-30, 5, 500), rng.normal(30, 5, 500), [1.0, -1.0]])
    outcome = np.concatenate([np.zeros(500), np.ones(500), [0, 1]]) == 1
    found = fit_logistic(outcome, x=x)
    residual = outcome - expit(found.coefficients[0] + found.coefficients[1] * x)
    assert abs(residual.sum()) < 1e-9
    assert abs(residual @ x) < 1e-8


def test_one_cluster_alone_has_no_covariance():
    outcome, risk, _, _ = sample("small")
    assert np.isnan(fit_logistic(outcome, x=logit(risk), code=np.zeros(24, dtype=int)).covariance).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", LETTERS)
def test_the_intercept_at_10_percent_is_r_s(name, letter):
    outcome, risk, _ = cases_of(name, letter)
    found = re.intercept_at_prevalence(outcome, risk, 0.1)
    if risk.min() == 0:
        assert math.isnan(found.value)
        assert "exactly 0 or 1" in found.method
    else:
        theirs = R[name][letter]["logistic"]["intercept_at_10"]
        assert found.value == pytest.approx(theirs["value"], rel=1e-6)
        assert (found.high - found.low) / 2 / 1.959963984540054 == pytest.approx(theirs["error"], rel=1e-6)


def test_risks_of_a_calibrated_model_are_calibrated_again_after_the_shift():
    rng = np.random.default_rng(0)
    risk = rng.beta(2, 5, 200_000)
    outcome = rng.random(200_000) < risk
    own = outcome.mean()
    moved = re.risk_at_prevalence(risk, trained_at=own, prevalence=0.05)
    before = re.intercept_at_prevalence(outcome, risk, 0.05)
    after = re.intercept_at_prevalence(outcome, moved, 0.05)
    assert before.high < -1
    assert abs(after.value) < 0.03


@law(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_moving_risks_there_and_back_changes_nothing(one, other):
    risk = np.array([0.0, 0.1, 0.5, 0.97, 1.0])
    there = re.risk_at_prevalence(risk, trained_at=one, prevalence=other)
    assert re.risk_at_prevalence(there, trained_at=other, prevalence=one) == pytest.approx(risk)


def test_a_class_that_is_absent_leaves_the_intercept_at_a_prevalence_undefined():
    assert math.isnan(re.intercept_at_prevalence([1, 1], [0.2, 0.3], 0.1).value)
