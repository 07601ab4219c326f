"""The support vector machine, against scikit-learn's own."""

import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from clineval.data.cohort import grouped_folds, some_cases
from clineval.errors import InputError
from clineval.models.svm import fit, fit_platt, out_of_fold_decisions, read, shapes, stored
from clineval.settings import ScatteringSettings

RNG = np.random.default_rng(5)
OUTCOME = np.arange(150) % 3 == 0
FEATURES = (RNG.normal(size=(150, 30)) + 0.8 * OUTCOME[:, None]).astype(np.float32)
GROUP = np.arange(150).astype(str)
NEW = RNG.normal(size=(100, 30)).astype(np.float32)
ENDS = (12, 30)
SETTINGS = ScatteringSettings()


def fitted(features=FEATURES, outcome=OUTCOME, group=GROUP, *, settings=SETTINGS):
    return fit(features, outcome, group, ends=ENDS, settings=settings, seed=0)


@pytest.fixture(scope="module")
def model():
    return fitted()


def test_decision_values_are_those_of_scikit_learn(model):
    scaler = StandardScaler().fit(FEATURES.astype(np.float64))
    learnt, new = scaler.transform(FEATURES), scaler.transform(NEW)

    def kernel(left):
        parts = (slice(0, 12), 1.4 / 12), (slice(12, 30), 0.7 / 18)
        return np.mean([rbf_kernel(left[:, part], learnt[:, part], gamma) for part, gamma in parts], axis=0)

    theirs = SVC(C=6.0, kernel="precomputed").fit(kernel(learnt), OUTCOME)
    np.testing.assert_allclose(
        model.decision(NEW), theirs.decision_function(kernel(new)), atol=2e-3
    )  # both solve to 1e-3


def test_decision_values_follow_from_the_stored_vectors_exactly(model):
    standard = ((NEW - model.mean) / model.sd).astype(np.float64)
    vectors = model.support_vectors.astype(np.float64)
    parts = list(zip((slice(0, 12), slice(12, 30)), model.gammas, strict=True))
    expected = [
        sum(
            weight * np.mean([np.exp(-gamma * ((case - vector)[part] ** 2).sum()) for part, gamma in parts])
            for weight, vector in zip(model.dual, vectors, strict=True)
        )
        + model.intercept
        for case in standard
    ]
    np.testing.assert_allclose(model.decision(NEW), expected, atol=1e-9)


def test_a_case_has_the_same_risk_in_any_company(model):
    assert model.risk(NEW[70:71])[0] == model.risk(NEW)[70]
    np.testing.assert_array_equal(model.risk(NEW[::-1])[::-1], model.risk(NEW))


def test_it_comes_back_from_its_stored_form_with_the_same_risks(model):
    kept = stored(model)
    record = json.loads(json.dumps(kept.record))
    assert {name: array.shape for name, array in kept.arrays.items()} == shapes(record, ends=ENDS)
    np.testing.assert_array_equal(read(record, kept.arrays).risk(NEW), model.risk(NEW))


@pytest.mark.parametrize(
    "change", [{"ends": [-12, 30]}, {"ends": [30]}, {"gammas": [1.0]}, {"ends": [30, 12]}, {"ends": []}]
)
def test_a_record_of_other_features_has_no_shapes(model, change):
    with pytest.raises(ValueError, match="parts of the features that end at"):
        shapes({**stored(model).record, **change}, ends=ENDS)


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("nan"), "1"])
def test_a_gamma_that_is_no_number_above_0_is_refused(model, gamma):
    kept = stored(model)
    with pytest.raises(ValueError, match="expected a"):
        read({**kept.record, "gammas": [0.1, gamma]}, kept.arrays)


def test_platt_scaling_is_a_logistic_regression_on_drawn_in_targets():
    decision = RNG.normal(size=200) + np.arange(200) % 2
    outcome = np.arange(200) % 2 == 1
    slope, intercept = fit_platt(decision, outcome)
    events, others = outcome.sum(), (~outcome).sum()
    high, low = (events + 1) / (events + 2), 1 / (others + 2)
    target = np.where(outcome, high, low)
    theirs = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(
        np.tile(decision, 2)[:, None],
        np.repeat([1, 0], 200),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    assert slope == pytest.approx(theirs.coef_[0, 0], abs=1e-4)
    assert intercept == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_separable_cases_have_a_finite_platt_scaling():
    slope, intercept = fit_platt(np.linspace(-1, 1, 40), np.arange(40) >= 20)
    assert np.isfinite([slope, intercept]).all()
    assert expit(slope + intercept) > 0.9


def test_platt_scaling_is_learnt_on_machines_that_saw_no_outcome_of_the_case(model):
    fold = grouped_folds(OUTCOME, GROUP, folds=5, seed=0)
    other = np.where(fold == 0, ~OUTCOME, OUTCOME)
    kernel = np.exp(-((FEATURES[:, None] - FEATURES) ** 2).mean(axis=2).astype(np.float64))
    first, again = (out_of_fold_decisions(kernel, known, fold, penalty=6.0) for known in (OUTCOME, other))
    np.testing.assert_array_equal(first[fold == 0], again[fold == 0])
    assert not np.array_equal(first[fold == 1], again[fold == 1])


def test_constant_features_are_refused():
    with pytest.raises(InputError, match="all features of the training split are constant"):
        fitted(np.ones_like(FEATURES))


def test_of_too_many_cases_it_learns_from_some():
    fewer = fitted(settings=ScatteringSettings(most=60))
    some = some_cases(OUTCOME, GROUP, most=60)
    again = fitted(FEATURES[some], OUTCOME[some], GROUP[some])
    np.testing.assert_array_equal(fewer.decision(NEW), again.decision(NEW))
    assert len(fewer.dual) <= 60
