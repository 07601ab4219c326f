"""A head fitted anew: the optimum, and what cross-fitting says of it."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from clineval.statistics.head import LocalKernel, evaluate_heads, fit_head, kernel_logistic
from clineval.statistics.updating import grouped_folds


def drawn(cases=200, *, seed=0, features=4):
    """Features of which the first says the outcome; a risk that knows the second only."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(cases, features))
    outcome = rng.random(cases) < expit(1.5 * x[:, 0] + 0.7 * x[:, 1] - 0.5)
    return x, outcome, expit(0.7 * x[:, 1] - 0.5)


# The fit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.03, 1.0, 30.0])
def test_a_linear_kernel_gives_the_ridge_regression_of_scikit_learn(penalty):
    x, outcome, _ = drawn()
    weight, intercept = kernel_logistic(outcome, x @ x.T, np.zeros(len(x)), penalty)
    reference = LogisticRegression(C=penalty, tol=1e-12, max_iter=10_000).fit(x, outcome)
    assert x.T @ weight == pytest.approx(reference.coef_[0], abs=1e-6)  # its solver stops there
    assert intercept == pytest.approx(reference.intercept_[0], abs=1e-6)


def test_with_an_offset_it_stands_at_the_optimum_of_a_convex_loss():
    x, outcome, risk = drawn(seed=3)
    kernel, offset = np.exp(-((x[:, None] - x) ** 2).sum(axis=2) / 4), logit(risk)
    weight, intercept = kernel_logistic(outcome, kernel, offset, 2.0)
    fitted = expit(offset + kernel @ weight + intercept)
    assert weight == pytest.approx(2.0 * (outcome - fitted), abs=1e-8)
    assert weight.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("penalty", [0.03, 30.0])
def test_risks_that_are_wrong_and_sure_are_left_behind(penalty):
    """Newton's full step overshoots from there; halved steps lead to the optimum."""
    x, outcome, _ = drawn(120)
    offset = np.where(outcome, -12.0, 9.0) + x[:, 1]
    weight, intercept = kernel_logistic(outcome, 50 * x @ x.T, offset, penalty)
    fitted = expit(offset + 50 * x @ x.T @ weight + intercept)
    assert weight == pytest.approx(penalty * (outcome - fitted), abs=1e-4 * penalty)


def test_a_strong_penalty_leaves_the_frozen_model_but_for_its_intercept():
    x, outcome, risk = drawn()
    weight, intercept = kernel_logistic(outcome, x @ x.T, logit(risk), 1e-9)
    fitted = expit(logit(risk) + x @ x.T @ weight + intercept)
    assert fitted.mean() == pytest.approx(outcome.mean())
    assert np.abs(logit(fitted) - logit(risk) - intercept).max() < 1e-5


def test_risks_out_of_fold_are_by_heads_that_did_not_see_the_case():
    x, outcome, risk = drawn(60)
    local = LocalKernel(x @ x.T, logit(risk))
    head = fit_head(outcome, local, group=None, penalties=[1.0], seed=5)
    fold = grouped_folds(outcome, None, folds=5, seed=5)
    rest, out = fold != 2, fold == 2
    weight, intercept = kernel_logistic(outcome[rest], (x @ x.T)[np.ix_(rest, rest)], logit(risk)[rest], 1.0)
    expected = expit(logit(risk)[out] + (x @ x.T)[np.ix_(out, rest)] @ weight + intercept)
    assert head.out_of_fold[out] == pytest.approx(expected)


# What it buys ---------------------------------------------------------------------------------------------


def test_a_head_finds_what_the_frozen_model_does_not_know():
    x, outcome, risk = drawn(300)
    kept, anew, shrunken = evaluate_heads(outcome, risk, x @ x.T, target=0.9, repeats=2, draws=100)
    assert (kept.step, anew.step, shrunken.step) == ("threshold", "head", "head_shrunken")
    assert kept.gain.value == 0
    assert anew.gain.low > 0.05
    assert shrunken.gain.low > 0.05
    assert shrunken.scores.sensitivity.value == pytest.approx(0.9, abs=0.06)
    assert shrunken.scores.specificity.value > kept.scores.specificity.value + 0.1
    assert sum(count for _, count in shrunken.penalties) == 10


def test_features_that_say_nothing_buy_nothing_and_a_shrunken_head_costs_little():
    _, outcome, risk = drawn(300)
    noise = np.random.default_rng(9).normal(size=(300, 5))
    _, anew, shrunken = evaluate_heads(outcome, risk, noise @ noise.T, target=0.9, repeats=2, draws=100)
    assert anew.gain.value < 0  # it forgot the frozen model
    assert shrunken.gain.value > -0.03


def test_the_part_of_a_mean_counts_by_its_share():
    x, outcome, risk = drawn(200)
    given = {"target": 0.9, "repeats": 1, "draws": 50}
    whole = evaluate_heads(outcome, risk, x @ x.T, **given)[2]
    same = evaluate_heads(outcome, risk, x @ x.T, share=1.0, head_risk=risk, **given)[2]
    assert same == whole
    half = evaluate_heads(outcome, risk, x @ x.T, share=0.5, head_risk=risk, **given)[2]
    assert 0 < half.gain.value < whole.gain.value + 0.02
