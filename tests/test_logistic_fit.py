"""The logistic fits under calibration: against statsmodels, with weights, clusters and warm starts."""

import numpy as np
import pytest
from clinical_reference import cases_of, sample
from scipy.special import expit, logit

from clineval.statistics import logistic_fit
from clineval.statistics.logistic_fit import fit_logistic

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
    monkeypatch.setattr(logistic_fit, "START_CASES", 100)
    assert fit_logistic(outcome, x=x).coefficients == pytest.approx(cold.coefficients, rel=1e-12)


def test_a_start_that_has_no_maximum_is_passed_over(monkeypatch):
    monkeypatch.setattr(logistic_fit, "START_CASES", 2)
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
