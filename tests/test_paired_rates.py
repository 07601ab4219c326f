"""McNemar's exact test and paired differences: against R, against all sign flips, and by laws."""

import math
from itertools import product

import numpy as np
import pytest
from clinical_reference import NAMES, cases, golden, sample, triple
from discrimination_reference import law

from clineval.statistics import paired_rates
from clineval.statistics.paired_rates import mcnemar

R = golden("operating_point")["samples"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("measure", ["sensitivity", "specificity", "accuracy"])
def test_the_test_and_the_interval_are_r_s(name, measure):
    outcome, risk_a, risk_b, _ = sample(name)
    theirs = R[name]["mcnemar"][measure]
    found = getattr(mcnemar(outcome, risk_a, risk_b, threshold_a=0.3, threshold_b=0.4), measure)
    assert [found.only_a, found.only_b] == theirs["only"]
    assert found.p_value == pytest.approx(theirs["p_value"], rel=1e-9)
    assert triple(found.difference) == pytest.approx(theirs["difference"], rel=1e-9, abs=1e-15)


def every_flip(surplus):
    """Two-sided probability by listing all signs of the groups' surpluses."""
    nonzero = [s for s in surplus if s]
    totals = [
        abs(sum(sign * s for sign, s in zip(signs, nonzero, strict=True)))
        for signs in product([1, -1], repeat=len(nonzero))
    ]
    return np.mean([total >= abs(sum(surplus)) for total in totals])


@pytest.mark.parametrize("seed", range(6))
def test_with_groups_the_test_is_the_list_of_all_sign_flips(seed):
    rng = np.random.default_rng(seed)
    outcome, group = rng.random(24) < 0.5, np.arange(24) // 3
    risk_a, risk_b = rng.random(24), rng.random(24)
    found = mcnemar(outcome, risk_a, risk_b, threshold_a=0.5, threshold_b=0.5, group=group).accuracy
    better = ((risk_a >= 0.5) == outcome).astype(int) - ((risk_b >= 0.5) == outcome)
    assert found.p_value == pytest.approx(every_flip(np.bincount(group, weights=better).astype(int)))
    assert found.method == "McNemar exact by groups"


@law(cases(least=6))
def test_groups_of_one_give_the_exact_test(drawn):
    outcome, risk = drawn
    given = {"threshold_a": 0.4, "threshold_b": 0.6}
    plain = mcnemar(outcome, risk, risk[::-1], **given)
    grouped = mcnemar(outcome, risk, risk[::-1], group=np.arange(len(risk)), **given)
    for measure in ("sensitivity", "specificity", "accuracy"):
        one, other = getattr(plain, measure), getattr(grouped, measure)
        assert one.p_value == pytest.approx(other.p_value)
        assert one.difference.value == pytest.approx(other.difference.value)


@law(cases(least=6))
def test_changing_the_models_over_changes_the_sign_only(drawn):
    outcome, risk = drawn
    one = mcnemar(outcome, risk, risk[::-1], threshold_a=0.4, threshold_b=0.6).accuracy
    other = mcnemar(outcome, risk[::-1], risk, threshold_a=0.6, threshold_b=0.4).accuracy
    assert (one.only_a, one.only_b) == (other.only_b, other.only_a)
    assert one.p_value == other.p_value
    assert one.difference.low == pytest.approx(-other.difference.high, abs=1e-15)


def test_copies_of_each_case_in_a_group_add_no_evidence():
    rng = np.random.default_rng(0)
    outcome, risk_a, risk_b = rng.random(60) < 0.5, rng.random(60), rng.random(60)
    given = {"threshold_a": 0.5, "threshold_b": 0.5}
    once = mcnemar(outcome, risk_a, risk_b, **given).accuracy
    copied = [np.repeat(values, 3) for values in (outcome, risk_a, risk_b)]
    grouped = mcnemar(*copied, group=np.repeat(np.arange(60), 3), **given).accuracy
    assert grouped.p_value == pytest.approx(once.p_value)
    assert mcnemar(*copied, **given).accuracy.p_value < once.p_value


def test_a_model_against_itself_differs_in_nothing():
    outcome, risk, _, group = sample("tied")
    for own in (None, group):
        found = mcnemar(outcome, risk, risk, threshold_a=0.3, threshold_b=0.3, group=own).accuracy
        assert (found.difference.value, found.p_value) == (0, 1)


def test_beyond_the_exact_sum_the_normal_law_takes_over(monkeypatch):
    rng = np.random.default_rng(0)
    outcome, group = rng.random(600) < 0.5, np.arange(600) // 3
    risks = rng.random(600), rng.random(600)
    given = {"threshold_a": 0.5, "threshold_b": 0.5, "group": group}
    exact = mcnemar(outcome, *risks, **given).accuracy
    monkeypatch.setattr(paired_rates, "MOST_EXACT", 10)
    near = mcnemar(outcome, *risks, **given).accuracy
    assert "normal approximation" in near.method
    assert near.p_value == pytest.approx(exact.p_value, abs=0.06)


def test_an_absent_class_leaves_its_rate_undefined():
    found = mcnemar([1, 1], [0.9, 0.1], [0.8, 0.2], threshold_a=0.5, threshold_b=0.5)
    assert math.isnan(found.specificity.p_value)
    assert "no cases" in found.specificity.method


def test_one_group_alone_has_no_interval():
    found = mcnemar([1, 0], [0.9, 0.8], [0.1, 0.2], threshold_a=0.5, threshold_b=0.5, group=[7, 7])
    assert "one group alone" in found.accuracy.difference.method


def test_two_groups_are_enough_for_an_interval():
    risk_a, risk_b = [0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.2, 0.9]
    found = mcnemar([1, 0, 1, 0], risk_a, risk_b, threshold_a=0.5, threshold_b=0.5, group=[1, 1, 2, 2])
    assert found.accuracy.difference.low < found.accuracy.difference.value < found.accuracy.difference.high
