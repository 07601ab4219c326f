"""The ladder of updating: by hand, against glm in R, against cross-fitting written out, and by laws."""

import math

import numpy as np
import pytest
from clinical_reference import cases, cases_of, golden, triple
from discrimination_reference import law
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression

from clineval.statistics.counts import counts
from clineval.statistics.recalibration import closed_testing, fit_intercept, fit_platt
from clineval.statistics.scores import brier, log_loss
from clineval.statistics.thresholds import threshold_for_sensitivity
from clineval.statistics.updating import (
    STEPS,
    LocalKernel,
    evaluate_heads,
    evaluate_updates,
    fit_head,
    fit_update,
    grouped_folds,
    kernel_logistic,
    least_events,
)

R = golden("updating")
SAMPLES = [(name, letter) for name in R for letter in R[name]]


def shifted(seed=0, *, cases=400, intercept=1.0, slope=0.6):
    """A local sample whose log-odds need this intercept and slope; two cases a group."""
    rng = np.random.default_rng(seed)
    log_odds = np.repeat(rng.normal(-1.5, 1.5, cases // 2), 2) + rng.normal(0, 0.5, cases)
    outcome = rng.random(cases) < expit(intercept + slope * log_odds)
    return outcome, expit(log_odds), np.repeat(np.arange(cases // 2), 2)


@pytest.mark.parametrize(("name", "letter"), SAMPLES)
def test_intercept_and_slope_are_glm_s(name, letter):
    outcome, risk, _ = cases_of(name, letter)
    theirs = R[name][letter]
    assert fit_intercept(outcome, risk, fitted_on="x").intercept == pytest.approx(
        theirs["intercept"], rel=1e-9
    )
    update = fit_update(outcome, risk, "intercept_slope", threshold=0.3, fitted_on="x")
    found = [update.recalibration.intercept, update.recalibration.slope]
    assert found == pytest.approx(theirs["both"], rel=1e-6)


@pytest.mark.parametrize(("name", "letter"), SAMPLES)
@pytest.mark.parametrize("grouped", [False, True])
def test_closed_testing_is_that_of_likelihood_ratios_in_r(name, letter, grouped):
    outcome, risk, group = cases_of(name, letter)
    theirs = R[name][letter]
    found = closed_testing(outcome, risk, group=group if grouped else None)
    told = theirs["by_group" if grouped else "by_case"]
    assert found.log_likelihood == pytest.approx(theirs["log_likelihood"], rel=1e-9)
    # 1e-7: a likelihood ratio is a small difference of two log-likelihoods.
    assert found.statistic == pytest.approx(told["statistic"], rel=1e-7)
    assert found.p_value == pytest.approx(told["p_value"], rel=1e-6)
    assert found.chosen == told["chosen"]
    assert found.design_effect == pytest.approx(theirs["effect"] if grouped else (1, 1), rel=1e-6)


def test_closed_testing_of_two_risks_by_hand():
    # 20 of 50 events at a risk of .2 and 40 of 50 at .6: intercept and slope fit both shares exactly.
    risk = np.repeat([0.2, 0.6], 50)
    outcome = np.concatenate([np.arange(50) < 20, np.arange(50) < 40])

    def likelihood(low, high):
        return 20 * math.log(low) + 30 * math.log(1 - low) + 40 * math.log(high) + 10 * math.log(1 - high)

    shift = brentq(lambda a: 50 * expit(a + logit(0.2)) + 50 * expit(a + logit(0.6)) - 60, -5, 5, xtol=1e-14)
    three = [
        likelihood(0.2, 0.6),
        likelihood(expit(shift + logit(0.2)), expit(shift + logit(0.6))),
        likelihood(0.4, 0.8),
    ]
    found = closed_testing(outcome, risk)
    assert found.log_likelihood == pytest.approx(three)
    assert found.statistic == pytest.approx((2 * (three[2] - three[0]), 2 * (three[2] - three[1])))
    assert found.p_value == pytest.approx((chi2.sf(found.statistic[0], 2), chi2.sf(found.statistic[1], 1)))
    assert found.chosen == "intercept"
    slope = (logit(0.8) - logit(0.4)) / (logit(0.6) - logit(0.2))
    whole = fit_update(outcome, risk, "intercept_slope", threshold=0.5, fitted_on="here").recalibration
    assert whole.slope == pytest.approx(slope)
    part = fit_update(outcome, risk, "shrunken", threshold=0.5, fitted_on="here").recalibration
    kept = 1 - 2 / found.statistic[0]
    assert part.slope == pytest.approx(1 + kept * (slope - 1))
    assert part.intercept == pytest.approx(kept * whole.intercept)


def test_the_local_threshold_finds_the_target_where_it_was_set_and_risks_stay_to_the_last_bit():
    outcome, risk, _ = shifted()
    update = fit_update(outcome, risk, "threshold", threshold=0.5, fitted_on="here", target=0.9)
    assert update.threshold == threshold_for_sensitivity(outcome, risk, 0.9)
    assert np.array_equal(update.apply(risk), risk)
    table = counts(outcome, update.apply(risk), update.threshold)
    assert table.true_positives / table.events >= 0.9 > (table.true_positives - 1) / table.events


def test_closed_testing_takes_the_step_that_it_chooses():
    outcome, risk, group = shifted(cases=2000)
    found = fit_update(outcome, risk, "closed_testing", threshold=0.3, fitted_on="here", group=group)
    assert (found.step, found.taken) == ("closed_testing", "intercept_slope")
    assert found.recalibration == fit_platt(outcome, risk, fitted_on="here")


def test_a_model_that_needs_no_update_is_changed_about_one_time_in_twenty():
    changed = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        risk = expit(rng.normal(-1, 1.5, 300))
        changed += closed_testing(rng.random(300) < risk, risk).chosen != "nothing"
    # 400 samples leave a standard error of .011.
    assert changed / 400 == pytest.approx(0.05, abs=0.03)


@pytest.mark.slow
def test_the_design_effect_keeps_the_level_where_patients_have_two_images():
    plain = grouped = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        risk = np.repeat(expit(rng.normal(-1, 1.5, 150)), 2)
        outcome = np.repeat(rng.random(150) < risk[::2], 2)
        group = np.repeat(np.arange(150), 2)
        plain += closed_testing(outcome, risk).chosen != "nothing"
        grouped += closed_testing(outcome, risk, group=group).chosen != "nothing"
    assert plain / 300 > 0.15
    assert grouped / 300 == pytest.approx(0.05, abs=0.04)


@law(cases(least=12))
def test_likelihoods_rise_and_shrinkage_stays_between_no_change_and_the_whole(drawn):
    outcome, risk = drawn
    try:
        found = closed_testing(outcome, risk)
        whole = fit_update(outcome, risk, "intercept_slope", threshold=0.5, fitted_on="x").recalibration
    except ValueError:
        return  # no slope: covered below
    nothing, intercept, both = found.log_likelihood
    assert nothing <= intercept + 1e-9
    assert intercept <= both + 1e-9
    part = fit_update(outcome, risk, "shrunken", threshold=0.5, fitted_on="x")
    slope = 1.0 if part.recalibration is None else part.recalibration.slope
    assert min(1, whole.slope) - 1e-12 <= slope <= max(1, whole.slope) + 1e-12
    assert (part.taken == "nothing") == (found.statistic[0] <= 2)


def test_groups_of_one_give_what_no_groups_give():
    outcome, risk, _ = shifted(cases=120)
    alone = closed_testing(outcome, risk, group=np.arange(120))
    assert alone == closed_testing(outcome, risk)
    both = [
        evaluate_updates(outcome, risk, threshold=0.3, group=group, repeats=2, draws=50)
        for group in (None, np.arange(120))
    ]
    assert [each.scores for each in both[0]] == [each.scores for each in both[1]]


def test_folds_keep_groups_whole_and_spread_the_events():
    outcome, _, group = shifted(cases=200)
    fold = grouped_folds(outcome, group, folds=5, seed=3)
    assert all(len(set(fold[group == each])) == 1 for each in np.unique(group))
    events = np.bincount(fold, weights=outcome, minlength=5)
    assert events.max() - events.min() <= 4
    assert not np.array_equal(fold, grouped_folds(outcome, group, folds=5, seed=4))


@pytest.mark.parametrize("step", STEPS)
def test_cross_fitting_is_each_fold_scored_by_a_fit_to_the_others(step):
    outcome, risk, group = shifted(cases=200)
    (found,) = evaluate_updates(
        outcome, risk, threshold=0.3, steps=[step], group=group, repeats=3, draws=20, seed=5
    )
    right, squares, surprises = np.zeros((3, 3, 200))
    for repeat in range(3):
        fold = grouped_folds(outcome, group, folds=5, seed=(5, repeat))
        updates = [
            fit_update(
                outcome[fold != number],
                risk[fold != number],
                step,
                threshold=0.3,
                fitted_on="x",
                group=group[fold != number],
            )
            for number in range(5)
        ]
        for case in range(200):
            update = updates[fold[case]]
            new = float(update.apply(risk[case : case + 1])[0])
            right[repeat, case] = (new >= update.threshold) == outcome[case]
            squares[repeat, case] = (new - outcome[case]) ** 2
            surprises[repeat, case] = -math.log(new if outcome[case] else 1 - new)
    assert found.scores.sensitivity.value == pytest.approx(right[:, outcome].mean())
    assert found.scores.specificity.value == pytest.approx(right[:, ~outcome].mean())
    assert found.scores.brier.value == pytest.approx(squares.mean())
    assert found.scores.log_loss.value == pytest.approx(surprises.mean())
    assert found.sensitivity_by_repeat == pytest.approx(right[:, outcome].mean(axis=1))
    assert sum(number for _, number in found.taken) == 15


def test_doing_nothing_scores_as_the_frozen_model_does_and_changes_nothing():
    outcome, risk, group = shifted()
    found = evaluate_updates(
        outcome, risk, threshold=0.3, steps=["nothing"], group=group, repeats=2, draws=200
    )[0]
    table = counts(outcome, risk, 0.3)
    assert found.scores.sensitivity.value == pytest.approx(table.true_positives / table.events)
    assert found.scores.specificity.value == pytest.approx(table.true_negatives / table.non_events)
    assert found.scores.brier.value == pytest.approx(brier(outcome, risk).value)
    assert found.scores.log_loss.value == pytest.approx(log_loss(outcome, risk).value)
    # The same interval by the delta method, to the chance of 200 draws.
    ours, theirs = found.scores.brier, brier(outcome, risk, group=group)
    assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.2)
    assert triple(found.change.log_loss) == pytest.approx([0, math.nan, math.nan], nan_ok=True)


def test_the_ladder_on_a_shifted_site_buys_what_it_should():
    outcome, risk, group = shifted(cases=1000)
    found = {
        each.step: each
        for each in evaluate_updates(outcome, risk, threshold=0.3, group=group, repeats=4, draws=200)
    }
    assert found["threshold"].scores.sensitivity.value == pytest.approx(0.9, abs=0.03)
    assert found["threshold"].change.brier.value == 0
    losses = [found[step].scores.log_loss.value for step in ("nothing", "intercept", "intercept_slope")]
    assert losses == sorted(losses, reverse=True)
    assert found["closed_testing"].taken == (("intercept_slope", 20),)
    assert found["shrunken"].change.log_loss.high < 0


def test_a_fit_that_fails_leaves_its_step_undefined_with_the_reason():
    outcome, risk, _ = shifted(cases=100, slope=-0.5)
    nothing, both = evaluate_updates(
        outcome, risk, threshold=0.3, steps=["nothing", "intercept_slope"], repeats=2, draws=20
    )
    assert math.isfinite(nothing.scores.sensitivity.value)
    assert math.isnan(both.scores.sensitivity.value)
    assert "10 of 10 fits failed: The risks do not rise" in both.scores.sensitivity.method


def test_a_risk_of_0_that_proved_wrong_leaves_the_log_loss_undefined():
    outcome, risk, _ = shifted(cases=100)
    risk[np.flatnonzero(outcome)[0]] = 0
    (found,) = evaluate_updates(outcome, risk, threshold=0.3, steps=["threshold"], repeats=1, draws=20)
    assert math.isfinite(found.scores.brier.value)
    assert "exactly 0 or 1 proved wrong" in found.scores.log_loss.method


@pytest.mark.parametrize(("target", "events"), [(0.9, 10), (0.95, 20), (0.8, 5), (0.5, 2)])
def test_below_the_least_events_a_threshold_flags_every_event_that_set_it(target, events):
    assert least_events(target) == events
    for number, missed in ((events - 1, 0), (events, 1)):
        risk = np.arange(number) / number
        threshold = threshold_for_sensitivity(np.ones(number, dtype=bool), risk, target)
        assert (risk < threshold).sum() == missed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, p: evaluate_updates(y[:9], p[:9], threshold=0.5), "at least 10 local cases with"),
        (lambda y, p: evaluate_updates(y, p, threshold=0.5, folds=1), "at least 2 folds; got 1"),
        (
            lambda y, p: evaluate_updates(y, p, threshold=0.5, group=np.arange(100) // 40),
            "5 groups with the cond",
        ),
        (lambda y, p: fit_update(y, p, "refit", threshold=0.5, fitted_on="x"), "got 'refit'"),
        (
            lambda y, p: fit_update(y & False, p, "intercept", threshold=0.5, fitted_on="x"),
            "with and without",
        ),
        (lambda y, p: least_events(1.0), "between 0 and 1; got 1.0"),
    ],
)
def test_what_cannot_be_updated_is_refused_with_the_reason(call, message):
    outcome, risk, _ = shifted(cases=100)
    with pytest.raises(ValueError, match=message):
        call(outcome, risk)


def drawn(cases=200, *, seed=0, features=4):
    """Features of which the first says the outcome; a risk that knows the second only."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(cases, features))
    outcome = rng.random(cases) < expit(1.5 * x[:, 0] + 0.7 * x[:, 1] - 0.5)
    return x, outcome, expit(0.7 * x[:, 1] - 0.5)


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


@pytest.mark.slow
def test_a_head_takes_risks_that_were_rounded_to_certainty():
    x, outcome, risk = drawn(60)
    outcome[0], risk[0] = True, 1.0
    certain = evaluate_heads(outcome, risk, x @ x.T, target=0.9, repeats=1, draws=50)
    risk[0] = 1 - 5e-13
    assert certain == evaluate_heads(outcome, risk, x @ x.T, target=0.9, repeats=1, draws=50)


@pytest.mark.slow
def test_a_head_finds_what_the_frozen_model_does_not_know():
    x, outcome, risk = drawn(300)
    kept, refitted, shrunken = evaluate_heads(outcome, risk, x @ x.T, target=0.9, repeats=2, draws=100)
    assert (kept.step, refitted.step, shrunken.step) == ("threshold", "head", "head_shrunken")
    assert kept.gain.value == 0
    assert refitted.gain.low > 0.05
    assert shrunken.gain.low > 0.05
    assert shrunken.scores.sensitivity.value == pytest.approx(0.9, abs=0.06)
    assert shrunken.scores.specificity.value > kept.scores.specificity.value + 0.1
    assert sum(count for _, count in shrunken.penalties) == 10


@pytest.mark.slow
def test_features_that_say_nothing_buy_nothing_and_a_shrunken_head_costs_little():
    _, outcome, risk = drawn(300)
    noise = np.random.default_rng(9).normal(size=(300, 5))
    _, refitted, shrunken = evaluate_heads(outcome, risk, noise @ noise.T, target=0.9, repeats=2, draws=100)
    assert refitted.gain.value < 0  # it forgot the frozen model
    assert shrunken.gain.value > -0.03


@pytest.mark.slow
def test_the_part_of_a_mean_counts_by_its_share():
    x, outcome, risk = drawn(200)
    given = {"target": 0.9, "repeats": 1, "draws": 50}
    whole = evaluate_heads(outcome, risk, x @ x.T, **given)[2]
    same = evaluate_heads(outcome, risk, x @ x.T, share=1.0, head_risk=risk, **given)[2]
    assert same == whole
    half = evaluate_heads(outcome, risk, x @ x.T, share=0.5, head_risk=risk, **given)[2]
    assert 0 < half.gain.value < whole.gain.value + 0.02
