"""Logistic regression on pixels."""

from dataclasses import replace

import numpy as np
import pytest

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models.logistic import fit_logistic, logistic_risk
from clineval.settings import LogisticSettings

COHORT = phantom(2, cases=(100, 20, 20))
TRAIN = COHORT.select(COHORT.within("train"))
SETTINGS = LogisticSettings(strengths=(1e-3, 1e-2), folds=3)


@pytest.fixture(scope="module")
def model():
    return fit_logistic(TRAIN.images, TRAIN.outcome, TRAIN.group, settings=SETTINGS)


def test_the_risks_are_those_of_scikit_learn(model):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    flat = TRAIN.images.reshape(len(TRAIN), -1) / 255
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=model.strength, max_iter=5000, tol=1e-6))
    expected = theirs.fit(flat, TRAIN.outcome).predict_proba(COHORT.images.reshape(len(COHORT), -1) / 255)
    np.testing.assert_allclose(logistic_risk(model, COHORT.images), expected[:, 1], atol=1e-9)


def test_the_penalty_of_smallest_cross_validated_log_loss_is_chosen(model):
    assert model.strength == SETTINGS.strengths[int(np.argmin(model.log_losses))]


def test_twins_share_a_fold_so_that_copies_do_not_weaken_the_penalty():
    noise = np.random.default_rng(0).integers(0, 256, (80, 20, 20), dtype=np.uint8)  # nothing to learn
    doubled, outcome = np.concatenate([noise] * 2), np.tile(np.arange(80) % 2 == 0, 2)
    settings = replace(SETTINGS, strengths=(1e-4, 1e2))
    apart = fit_logistic(doubled, outcome, np.arange(160).astype(str), settings=settings)
    together = fit_logistic(doubled, outcome, np.tile(np.arange(80), 2).astype(str), settings=settings)
    assert apart.strength == 1e2  # each case is known by heart from its copy
    assert together.strength == 1e-4


def test_a_solver_that_does_not_converge_is_refused():
    with pytest.raises(InputError, match=r"did not converge in 1 iterations at C = 0\.001"):
        fit_logistic(TRAIN.images, TRAIN.outcome, TRAIN.group, settings=replace(SETTINGS, iterations=1))


def test_scaling_is_learnt_on_the_training_cases_alone(model):
    np.testing.assert_allclose(model.scaling.mean, (TRAIN.images / 255).reshape(100, -1).mean(axis=0))
    assert model.scaling.learnt_on == "train"


def test_of_too_many_cases_some_choose_the_penalty_and_all_fit_the_weights(model):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    fitted = fit_logistic(TRAIN.images, TRAIN.outcome, TRAIN.group, settings=replace(SETTINGS, most=60))
    assert fitted.log_losses != model.log_losses
    flat = StandardScaler().fit_transform(TRAIN.images.reshape(len(TRAIN), -1) / 255)
    whole = LogisticRegression(C=fitted.strength, max_iter=5000, tol=1e-6).fit(flat, TRAIN.outcome)
    np.testing.assert_allclose(fitted.coefficients, whole.coef_[0], atol=1e-9)
