"""How many local cases: against exact order statistics, a naive resampling, and by laws."""

import math

import numpy as np
import pytest
from discrimination_reference import law
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import beta

from clineval.statistics.counts import counts
from clineval.statistics.local_cases import local_cases_needed
from clineval.statistics.thresholds import threshold_for_sensitivity


def cohort(seed=0, *, cases=4000, per_group=1):
    rng = np.random.default_rng(seed)
    outcome = np.repeat(rng.random(cases // per_group) < 0.3, per_group)
    shared = np.repeat(rng.normal(size=cases // per_group), per_group)
    score = np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.normal(size=cases) + 1.5 * outcome
    return outcome, expit(score - 1), np.repeat(np.arange(cases // per_group), per_group)


@pytest.mark.parametrize("number", [10, 25, 60])
def test_without_groups_the_sensitivity_is_that_of_an_order_statistic(number):
    # The k-th largest of m independent events has sensitivity Beta(k, m + 1 - k); 4,000 draws and 1,200
    # events of the cohort leave about .005.
    outcome, risk, _ = cohort()
    found = local_cases_needed(outcome, risk, numbers=[number], draws=4000)
    k = math.ceil(round(0.9 * number, 9))
    exact = beta(k, number + 1 - k)
    assert found.sensitivity[0] == pytest.approx(exact.mean(), abs=0.006)
    assert found.worst_tenth[0] == pytest.approx(exact.ppf(0.1), abs=0.01)
    assert found.reached[0] == pytest.approx(exact.sf(0.85), abs=0.03)


def test_with_groups_it_is_the_resampling_written_out():
    outcome, risk, group = cohort(cases=200, per_group=2)
    found = local_cases_needed(outcome, risk, group=group, numbers=[7], draws=60, seed=3)
    rng, with_events = np.random.default_rng(3), list(dict.fromkeys(group[outcome]))
    rates = []
    for _ in range(60):
        sample = []
        for each in rng.integers(len(with_events), size=7):
            if len(sample) < 7:
                sample += list(risk[(group == with_events[each]) & outcome])
        table = counts(outcome, risk, threshold_for_sensitivity(np.ones(len(sample)), sample, 0.9))
        rates.append((table.true_positives / table.events, table.true_negatives / table.non_events))
    sensitivity, specificity = np.transpose(rates)
    assert found.sensitivity[0] == pytest.approx(sensitivity.mean())
    assert found.worst_tenth[0] == pytest.approx(np.quantile(sensitivity, 0.1))
    assert found.specificity[0] == pytest.approx(specificity.mean())
    assert found.reached[0] == pytest.approx(np.mean(sensitivity > 0.8499999))


def test_half_of_all_adoptions_end_below_the_target_unless_the_threshold_is_set_lower():
    outcome, risk, _ = cohort()
    plain = local_cases_needed(outcome, risk, tolerance=0, draws=400)
    assert plain.reached[-1] == pytest.approx(0.5, abs=0.1)
    assert math.isnan(plain.needed)
    assert "with 200 events, the most considered" in plain.reason
    sure = local_cases_needed(outcome, risk, tolerance=0, assurance=0.9, numbers=[30, 60, 200], draws=1000)
    assert sure.reached == pytest.approx([0.92, 0.9, 0.9], abs=0.06)
    assert np.all(sure.specificity < plain.specificity[-1] + 0.01)


def test_the_number_needed_is_the_first_from_which_on_nine_in_ten_reach_the_target():
    outcome, risk, _ = cohort()
    found = local_cases_needed(outcome, risk, draws=500)
    enough = found.reached >= 0.9
    first = list(found.events).index(int(found.needed))
    assert enough[first:].all()
    assert not enough[first - 1]
    # Exactly, by Beta: .866 of adoptions with 80 events, .901 with 100, .951 with 150.
    assert found.needed in (100, 150)


def test_patients_with_alike_images_need_more_images():
    outcome, risk, group = cohort(per_group=4)
    alone, together = (
        local_cases_needed(outcome, risk, group=each, numbers=[40], draws=1000) for each in (None, group)
    )
    assert together.worst_tenth[0] < alone.worst_tenth[0] - 0.01


@law(st.integers(0, 1000))
def test_rates_are_rates_and_the_worst_tenth_is_no_better_than_the_mean_by_far(seed):
    outcome, risk, group = cohort(seed, cases=120, per_group=2)
    found = local_cases_needed(outcome, risk, group=group, numbers=[5, 20], draws=30, seed=seed)
    for each in (found.sensitivity, found.worst_tenth, found.specificity, found.reached):
        assert np.all((each >= 0) & (each <= 1))
    again = local_cases_needed(outcome, risk, group=group, numbers=[5, 20], draws=30, seed=seed)
    assert np.array_equal(found.sensitivity, again.sensitivity)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="with and without the condition"):
        local_cases_needed([1, 1], [0.2, 0.4])
