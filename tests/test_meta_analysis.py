"""Summaries over sites: textbook cases, metafor and hand-written R, naive references, laws, coverage."""

import math

import numpy as np
import pytest
from clinical_reference import golden, triple
from discrimination_reference import law
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import chi2, norm
from scipy.stats import t as student

from clineval.statistics.intervals import Estimate
from clineval.statistics.meta_analysis import (
    from_scale,
    leave_one_site_out,
    logit_rates,
    next_site,
    on_scale,
    on_scale_by_variance,
    plan_sites,
    random_effects,
    to_scale,
)

R = golden("meta_analysis")
ESTIMATORS = {"reml": "reml", "dersimonian-laird": "dl"}


@st.composite
def sites(draw, least=3):
    """Values and standard errors of a few sites, alike or not."""
    number = draw(st.integers(least, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    error = rng.uniform(0.1, 0.6, number)
    return rng.normal(1, np.hypot(error, draw(st.sampled_from([0, 0.2, 1])))), error


@pytest.mark.parametrize("name", R)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_mean_tau_and_i_squared_are_metafor_s(name, estimator):
    row = R[name][ESTIMATORS[estimator]] | {"value": R[name]["value"], "given": R[name]["error"]}
    found = random_effects(row["value"], row["given"], estimator=estimator)
    assert found.scale_mean == pytest.approx(row["mean"][0], abs=1e-9)
    assert found.standard_error == pytest.approx(row["error"], abs=1e-9)
    for ours, metafor in ((found.tau, row["tau"]), (found.i_squared, row["i_squared"])):
        if name == "alike":  # metafor tells an empty interval as 0 to 0
            assert ours.value == metafor[0] == 0
            assert math.isnan(ours.low)
        else:
            assert triple(ours) == pytest.approx(metafor, rel=1e-9, abs=1e-9)
    assert (found.q, found.p_value) == pytest.approx((row["q"], row["p_value"]), rel=1e-9)
    assert [site.weight for site in found.sites] == pytest.approx(row["weight"], abs=1e-9)
    if "narrower" not in found.mean.method:
        assert triple(found.mean) == pytest.approx(row["mean"], abs=1e-9)


@pytest.mark.parametrize("name", [name for name in R if "prediction" in R[name]])
def test_the_prediction_is_that_of_r_written_by_hand(name):
    row = R[name]
    found = next_site(row["value"], row["error"])
    quantiles = [found.quantile(p) for p in (0.025, 0.5, 0.975)]
    # 1e-8: R's uniroot within uniroot within integrate; the worst case at hand differs by 1e-12.
    assert quantiles == pytest.approx(row["prediction"]["quantiles"], abs=1e-8)
    below = found.chance_below(np.mean(row["value"]))
    assert below == pytest.approx(row["prediction"]["chance_below_mean_of_values"], abs=1e-8)


def test_the_bcg_trials_give_the_values_of_the_textbook():
    # Viechtbauer 2010, doi:10.18637/jss.v036.i03: REML on the log risk ratio, tau2 = .3132, I2 = 92.22 %.
    found = random_effects(R["bcg"]["value"], R["bcg"]["error"], scale="log")
    assert found.tau.value**2 == pytest.approx(0.3132, abs=5e-5)
    assert found.i_squared.value == pytest.approx(0.9222, abs=5e-5)
    assert found.mean.value == pytest.approx(math.exp(-0.7145), abs=5e-5)
    assert found.q == pytest.approx(152.2330, abs=5e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_standard_errors_by_hand(estimator):
    value, variance = np.array([1.0, 2.0, 4.0, 5.0]), 0.5
    found = random_effects(value, np.full(4, math.sqrt(variance)), estimator=estimator)
    # Mean 3, sum of squares 10, so variance 10/3 between the values, of which .5 is chance.
    assert found.scale_mean == pytest.approx(3)
    assert found.tau.value**2 == pytest.approx(10 / 3 - 0.5)
    assert found.q == pytest.approx(10 / 0.5)
    assert found.i_squared.value == pytest.approx(1 - 3 / 20)
    half = student.ppf(0.975, 3) * math.sqrt(10 / 3 / 4)
    assert triple(found.mean) == pytest.approx([3, 3 - half, 3 + half])
    bounds = [10 / chi2.ppf(p, 3) - 0.5 for p in (0.975, 0.025)]
    assert [found.tau.low**2, found.tau.high**2] == pytest.approx(bounds)
    assert [site.weight for site in found.sites] == pytest.approx([0.25] * 4)


def test_sites_measured_almost_without_error_give_the_prediction_of_a_normal_sample():
    value = np.array([0.3, 1.1, 0.7, 1.9, 1.2])
    found = random_effects(value, np.full(5, 1e-7)).prediction
    half = student.ppf(0.975, 4) * value.std(ddof=1) * math.sqrt(1 + 1 / 5)
    assert triple(found) == pytest.approx([value.mean(), value.mean() - half, value.mean() + half], rel=1e-6)


@pytest.mark.slow
def test_the_prediction_is_the_middle_of_as_many_draws():
    # Naive: chi-squared is drawn, tau found by bisection, the next site drawn; 40,000 draws leave .006.
    value, error = np.array(R["four_scanners"]["value"]), np.array(R["four_scanners"]["error"])
    rng = np.random.default_rng(0)

    def q_less(tau2, target):
        weight = 1 / (error**2 + tau2)
        return (weight * (value - np.average(value, weights=weight)) ** 2).sum() - target

    grid = chi2.ppf((np.arange(1000) + 0.5) / 1000, 3)
    tau2 = np.array([brentq(q_less, 0, 1e7, args=(u,)) if q_less(0, u) > 0 else 0.0 for u in grid])
    tau2 = np.repeat(tau2, 40)
    weight = 1 / (error**2 + tau2[:, None])
    mean = (weight * value).sum(axis=1) / weight.sum(axis=1)
    drawn = rng.normal(mean, np.sqrt(tau2 + 1 / weight.sum(axis=1)))
    found = next_site(value, error)
    assert np.mean(drawn < found.quantile(0.025)) == pytest.approx(0.025, abs=0.004)
    assert np.mean(drawn < found.quantile(0.975)) == pytest.approx(0.975, abs=0.004)


@pytest.mark.parametrize("name", ["bcg", "some_chance", "ten"])
def test_no_other_tau_is_likelier_than_reml_s(name):
    value, error = np.array(R[name]["value"]), np.array(R[name]["error"])
    # The restricted likelihood as the density of orthonormal contrasts.
    contrast = np.linalg.qr(np.column_stack([np.ones(len(value)), np.eye(len(value))[:, 1:]]))[0][:, 1:]

    def likelihood(tau2):
        covariance = contrast.T @ np.diag(error**2 + tau2) @ contrast
        z = contrast.T @ value
        return -np.linalg.slogdet(covariance)[1] / 2 - z @ np.linalg.solve(covariance, z) / 2

    best = random_effects(value, error).tau.value ** 2
    assert likelihood(best) >= max(map(likelihood, np.linspace(0, 2, 401))) - 1e-12


@law(sites())
def test_moving_and_stretching_the_values_moves_and_stretches_the_summary(drawn):
    value, error = drawn
    plain, moved = random_effects(value, error), random_effects(3 - 2 * value, 2 * error)
    for name in ("mean", "prediction"):
        here, there = getattr(plain, name), getattr(moved, name)
        expected = [3 - 2 * here.value, 3 - 2 * here.high, 3 - 2 * here.low]
        assert triple(there) == pytest.approx(expected, rel=1e-7, abs=1e-7)
    assert moved.tau.value == pytest.approx(2 * plain.tau.value, rel=1e-6, abs=1e-7)
    assert moved.q == pytest.approx(plain.q)


@law(sites())
def test_the_order_of_sites_does_not_matter_and_the_prediction_holds_the_mean_s_interval(drawn):
    value, error = drawn
    plain, turned = random_effects(value, error), random_effects(value[::-1], error[::-1])
    assert triple(turned.prediction) == pytest.approx(triple(plain.prediction), rel=1e-8, abs=1e-8)
    assert plain.prediction.low <= plain.mean.low <= plain.mean.high <= plain.prediction.high
    assert sum(site.weight for site in plain.sites) == pytest.approx(1)
    assert plain.tau.low <= plain.tau.high or math.isnan(plain.tau.low)


@pytest.mark.slow
@law(sites(least=4))
def test_leaving_a_site_out_is_summing_the_others_up(drawn):
    value, error = drawn
    found = leave_one_site_out(value, error, site=[f"s{n}" for n in range(len(value))])
    assert len(found) == len(value)
    assert triple(found[1].mean) == pytest.approx(
        triple(random_effects(np.delete(value, 1), np.delete(error, 1)).mean)
    )
    assert "s1" not in [site.name for site in found[1].sites]


def test_sites_that_are_all_alike_keep_the_interval_of_their_chance():
    found = random_effects([1.5, 1.5, 1.5], [0.2, 0.3, 0.4])
    half = 1.959963984540054 / math.sqrt(1 / 0.04 + 1 / 0.09 + 1 / 0.16)
    assert triple(found.mean) == pytest.approx([1.5, 1.5 - half, 1.5 + half])
    assert triple(found.prediction) == pytest.approx([1.5, 1.5 - half, 1.5 + half])
    assert "would be narrower" in found.mean.method
    assert found.tau.value == found.i_squared.value == 0
    assert math.isnan(found.tau.high)
    assert "less than chance" in found.tau.method


def test_two_sites_have_a_mean_but_no_prediction():
    found = random_effects([0.1, 1.2], [0.2, 0.3])
    assert math.isfinite(found.mean.high)
    assert math.isnan(found.prediction.high)
    assert "at least 3 sites, got 2" in found.prediction.method
    assert math.isnan(found.chance_next_site_reaches(0.5))


def test_an_auc_is_summed_up_on_the_logit_scale_and_told_in_its_own():
    value, error = R["four_scanners"]["value"], R["four_scanners"]["error"]
    plain, auc = random_effects(value, error), random_effects(value, error, scale="logit", site=list("abcd"))
    for name in ("mean", "prediction"):
        back = [1 / (1 + math.exp(-number)) for number in triple(getattr(plain, name))]
        assert triple(getattr(auc, name)) == pytest.approx(back)
    assert auc.tau == plain.tau
    assert [site.name for site in auc.sites] == list("abcd")
    assert auc.sites[0].estimate.value == pytest.approx(1 / (1 + math.exp(-1.30)))
    assert auc.sites[0].estimate.low == pytest.approx(1 / (1 + math.exp(-1.30 + 1.959963984540054 * 0.14)))
    assert auc.chance_next_site_reaches(auc.prediction.low) == pytest.approx(0.975)
    assert auc.chance_next_site_reaches(auc.prediction.value) == pytest.approx(0.5)


@law(st.floats(0.02, 0.98), st.floats(0.01, 1), st.sampled_from(["logit", "log", "identity"]))
def test_an_interval_made_on_a_scale_gives_back_its_standard_error(value, error, scale):
    middle, z = to_scale(value, scale), norm.ppf(0.95)
    low, high = (from_scale(middle + sign * z * error, scale) for sign in (-1, 1))
    assert on_scale(Estimate(value, low, high, 0.9), scale) == pytest.approx((middle, error), rel=1e-6)
    assert from_scale(middle, scale) == pytest.approx(value)


@pytest.mark.parametrize(
    ("scale", "steepness"), [("logit", 1 / (0.8 * 0.2)), ("log", 1 / 0.8), ("identity", 1)]
)
def test_a_variance_is_put_on_the_scale_by_the_delta_method(scale, steepness):
    assert on_scale_by_variance(0.8, 0.04, scale) == pytest.approx((to_scale(0.8, scale), 0.2 * steepness))


def test_a_slope_of_1_has_a_place_and_an_auc_of_1_has_none():
    assert on_scale_by_variance(1.0, 0.04, "identity") == (1.0, 0.2)
    assert all(map(math.isnan, on_scale_by_variance(1.0, 0.0, "logit")))
    assert all(map(math.isnan, on_scale(Estimate(1.0, 0.8, 1.0), "logit")))


def test_rates_go_to_the_logit_scale_by_hand():
    value, error = logit_rates([18, 20], [20, 20])
    assert value == pytest.approx([math.log(18.5 / 2.5), math.log(20.5 / 0.5)])
    share = 38.5 / 41
    assert error == pytest.approx([1 / math.sqrt(20 * share * (1 - share))] * 2)
    worth_half = logit_rates([18, 20], [20, 20], independent=[10, 10])
    assert worth_half[0][0] == pytest.approx(math.log(9.5 / 1.5))
    assert np.all(worth_half[1] > error)


@law(st.lists(st.integers(0, 20), min_size=2, max_size=8))
def test_the_rates_of_the_other_outcome_are_the_mirror(successes):
    value, error = logit_rates(successes, np.full(len(successes), 20))
    other, other_error = logit_rates(20 - np.array(successes), np.full(len(successes), 20))
    assert other == pytest.approx(-value)
    assert other_error == pytest.approx(error)


def test_rates_near_1_are_not_drawn_towards_a_half():
    rng = np.random.default_rng(0)
    means = [
        random_effects(*logit_rates(rng.binomial(40, 0.95, 6), np.full(6, 40))).scale_mean for _ in range(200)
    ]
    # With the variance of its own rate for each site the same simulation gives .943; 200 sets leave .001.
    assert from_scale(np.mean(means), "logit") == pytest.approx(0.95, abs=0.005)


def test_small_sites_are_pooled_where_together_they_suffice_and_else_left_out():
    found = plan_sites([30, 6, 7, 0], [90, 20, 25, 0])
    assert found.use == ("own", "pooled", "pooled", "left out")
    assert found.reason[1] == "6 cases with and 20 without the condition; 10 of each are needed"
    assert found.reason[0] == ""
    assert plan_sites([30, 6, 40], [90, 20, 50]).use == ("own", "left out", "own")
    assert plan_sites([30, 3, 4], [90, 20, 50]).use == ("own", "left out", "left out")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_effects([1.0], [0.1]), "at least 2 sites; got 1"),
        (lambda: random_effects([1.0, 2.0], [0.1, 0.0], site=["a", "b"]), "site b has 2 and 0: leave it out"),
        (lambda: random_effects([1.0, math.nan], [0.1, 0.1]), "site 2 has nan and 0.1"),
        (lambda: random_effects([1.0, 2.0], [0.1]), "one standard error per site"),
        (lambda: random_effects([1.0, 2.0], [0.1, 0.1], site=["a"]), "one name per site"),
        (lambda: random_effects([1.0, 2.0], [0.1, 0.1], scale="probit"), "got 'probit'"),
        (lambda: random_effects([1.0, 2.0], [0.1, 0.1], estimator="ml"), "got 'ml'"),
        (lambda: leave_one_site_out([1.0, 2.0], [0.1, 0.1]), "at least 3 sites; got 2"),
        (lambda: next_site([1.0, 2.0], [0.1, 0.1]), "at least 3 sites; got 2"),
        (lambda: logit_rates([3, 1], [2, 2]), r"got \[3. 1.\] of \[2. 2.\]"),
    ],
)
def test_what_cannot_be_summed_up_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "tau"), [(4, 0.2), (10, 0.2), (10, 0.8)])
def test_the_prediction_holds_the_next_site_as_often_as_it_says(number, tau):
    # The short version of benchmarks/bench_meta_analysis.py; 500 sets leave a standard error of .01.
    rng = np.random.default_rng(number)
    held = 0
    for _ in range(500):
        error = np.exp(rng.uniform(np.log(0.12), np.log(0.5), number))
        value = rng.normal(0, np.hypot(error, tau))
        held += 0.025 <= next_site(value, error).chance_below(tau * rng.normal()) <= 0.975
    assert held / 500 >= 0.93


def test_an_interval_by_students_t_gives_back_its_standard_error():
    reach = 2.0930240544082634 * 0.1  # t with 19 degrees of freedom
    found = on_scale(Estimate(1.2, 1.2 - reach, 1.2 + reach), "identity", groups=20)
    assert found == pytest.approx((1.2, 0.1), rel=1e-12)
