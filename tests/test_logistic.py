"""Logistic regression on pixels."""

from dataclasses import replace

import numpy as np
import pytest

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models.classifier import risk_of
from clineval.models.logistic import fit, read
from clineval.models.preprocessing import View
from clineval.settings import LogisticSettings

COHORT = phantom(2, cases=(100, 20, 20))
TRAIN = COHORT.select(COHORT.within("train"))
SETTINGS = LogisticSettings(strengths=(1e-3, 1e-2), folds=3)


def fitted(settings=SETTINGS):
    return fit(TRAIN.images, TRAIN.outcome, TRAIN.group, settings=settings, seed=0)


@pytest.fixture(scope="module")
def stored():
    return fitted()


def test_the_risks_of_the_stored_form_are_those_of_scikit_learn(stored):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    flat = TRAIN.images.reshape(len(TRAIN), -1) / 255
    theirs = make_pipeline(
        StandardScaler(), LogisticRegression(C=stored.record["strength"], max_iter=5000, tol=1e-6)
    )
    expected = theirs.fit(flat, TRAIN.outcome).predict_proba(COHORT.images.reshape(len(COHORT), -1) / 255)
    found = risk_of(read(stored.record, stored.arrays), View(COHORT.images))
    np.testing.assert_allclose(found, expected[:, 1], atol=1e-9)


def test_the_penalty_of_smallest_cross_validated_log_loss_is_chosen(stored):
    losses = stored.record["log_losses"]
    assert str(stored.record["strength"]) == min(losses, key=losses.get)
    assert list(losses) == ["0.001", "0.01"]


def test_near_duplicates_share_a_fold_so_that_copies_do_not_weaken_the_penalty():
    noise = np.random.default_rng(0).integers(0, 256, (80, 20, 20), dtype=np.uint8)  # nothing to learn
    doubled, outcome = np.concatenate([noise] * 2), np.tile(np.arange(80) % 2 == 0, 2)
    settings = replace(SETTINGS, strengths=(1e-4, 1e2))
    apart = fit(doubled, outcome, np.arange(160).astype(str), settings=settings, seed=0)
    together = fit(doubled, outcome, np.tile(np.arange(80), 2).astype(str), settings=settings, seed=0)
    assert apart.record["strength"] == 1e2  # each case is known by heart from its copy
    assert together.record["strength"] == 1e-4


def test_a_solver_that_does_not_converge_is_refused():
    with pytest.raises(InputError, match=r"did not converge in 1 iterations at C = 0\.001"):
        fitted(replace(SETTINGS, iterations=1))


def test_scaling_is_learnt_on_the_training_cases_alone(stored):
    np.testing.assert_allclose(stored.arrays["mean"], (TRAIN.images / 255).reshape(100, -1).mean(axis=0))
    assert stored.record["learnt_on"] == "train"


def test_a_spread_that_is_not_above_0_is_refused(stored):
    with pytest.raises(ValueError, match="not above 0"):
        read(stored.record, {**stored.arrays, "sd": np.zeros(784)})


def test_of_too_many_cases_some_choose_the_penalty_and_all_fit_the_weights(stored):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    fewer = fitted(replace(SETTINGS, most=60))
    assert fewer.record["log_losses"] != stored.record["log_losses"]
    flat = StandardScaler().fit_transform(TRAIN.images.reshape(len(TRAIN), -1) / 255)
    whole = LogisticRegression(C=fewer.record["strength"], max_iter=5000, tol=1e-6).fit(flat, TRAIN.outcome)
    np.testing.assert_allclose(fewer.arrays["coefficients"], whole.coef_[0], atol=1e-9)
