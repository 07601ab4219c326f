"""Paired differences of Brier score and log loss: against a paired t statistic, and by laws."""

import math

import numpy as np
import pytest
from clinical_reference import cases, sample, triple
from discrimination_reference import law
from scipy.stats import ttest_rel

from clineval.statistics.paired_scores import compare_brier, compare_log_loss
from clineval.statistics.scores import brier, log_loss


def test_the_statistic_is_that_of_a_paired_t_test():
    outcome, a, b, _ = sample("breastmnist")
    found = compare_brier(outcome, a, b)
    theirs = ttest_rel((a - outcome) ** 2, (b - outcome) ** 2)
    assert found.statistic == pytest.approx(theirs.statistic, rel=1e-9)
    # The normal law instead of t with 155 degrees of freedom.
    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.005)


@law(cases())
def test_the_difference_is_that_of_the_scores_and_changes_sign_with_the_models(drawn):
    outcome, risk = drawn
    other = risk[::-1]
    for compare, score in ((compare_brier, brier), (compare_log_loss, log_loss)):
        found, back = compare(outcome, risk, other), compare(outcome, other, risk)
        difference = score(outcome, risk).value - score(outcome, other).value
        assert found.difference.value == pytest.approx(difference, abs=1e-12)
        assert back.difference.value == pytest.approx(-difference, abs=1e-12)
        assert back.p_value == pytest.approx(found.p_value, nan_ok=True)


@law(cases())
def test_copies_in_a_group_tell_no_more_than_one(drawn):
    outcome, risk = drawn
    copied = [np.repeat(values, 3) for values in (outcome, risk, risk**2)]
    grouped = compare_brier(*copied, group=np.repeat(np.arange(len(risk)), 3))
    assert triple(grouped.difference) == pytest.approx(
        triple(compare_brier(outcome, risk, risk**2).difference)
    )
    assert "groups" in grouped.method


def test_models_that_err_alike_have_no_test():
    found = compare_brier([1, 0], [0.7, 0.2], [0.7, 0.2])
    assert found.difference.value == 0
    assert math.isnan(found.p_value)
    assert "err alike" in found.method


def test_no_cases_and_one_case_say_why_there_is_no_test():
    assert compare_brier([], [], []).method == "no cases"
    assert "shows no spread" in compare_brier([1], [0.5], [0.4]).method


def test_a_sure_risk_that_proved_wrong_leaves_the_log_losses_apart():
    assert "infinite: 1 risks" in compare_log_loss([1, 0], [0, 0.2], [0.4, 0.3]).method


def test_the_interval_reaches_as_many_errors_as_its_level_says():
    outcome, a, b, _ = sample("breastmnist")
    found = compare_brier(outcome, a, b, level=0.9)
    error = found.difference.value / found.statistic
    reach = abs(1.6448536269514722 * error)
    assert found.difference.high - found.difference.value == pytest.approx(reach, rel=1e-9)
    assert found.difference.value - found.difference.low == pytest.approx(reach, rel=1e-9)
