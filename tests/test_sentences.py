"""Sentences say what their intervals allow, and nothing more."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clineval.reporting import sentences
from clineval.statistics.intervals import Estimate, undefined

finite = st.floats(-1, 1, allow_nan=False)


@given(finite, finite, finite)
@settings(max_examples=60, deadline=None)
def test_no_sentence_prefers_a_model_unless_the_interval_excludes_0(value, one, other):
    low, high = sorted((one, other))
    said = sentences.difference("a", "b", Estimate(value, low, high), measure="AUC", p_value=0.5)
    assert ("better on these cases" in said) == (low > 0 or high < 0)


def test_a_difference_without_an_interval_prefers_nobody():
    said = sentences.difference("a", "b", Estimate(0.3, math.nan, math.nan), measure="AUC", p_value=math.nan)
    assert "do not tell which of the two is better" in said


def test_the_better_model_is_the_one_the_sign_names():
    up = sentences.difference("a", "b", Estimate(0.1, 0.05, 0.15), measure="AUC", p_value=0.01)
    down = sentences.difference("a", "b", Estimate(-0.1, -0.15, -0.05), measure="AUC", p_value=0.01)
    assert "so a discriminates better" in up
    assert "so b discriminates better" in down


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9048, "0.905"),
        (-0.1, "−0.100"),
        (-0.0001, "0.000"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (0.0625, "0.062"),
    ],
)
def test_numbers_have_three_decimals_and_a_true_minus(value, text):
    assert sentences.number(value) == text


@given(st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_percentage_is_the_three_decimals_shifted(value):
    assert sentences.percent(value) == f"{float(f'{value:.3f}') * 100:.1f}%"


def test_an_undefined_number_says_why():
    assert sentences.with_interval(undefined("no cases")) == "not defined (no cases)"
    assert sentences.with_interval(None) == "not defined (not computed)"


def test_p_is_never_written_as_zero():
    assert sentences.p_text(1e-9) == "p\u00a0<\u00a00.001"
    assert sentences.p_text(0.0404) == "p\u00a0=\u00a00.040"
    assert sentences.p_text(math.nan) == ""


def test_calibration_claims_a_departure_only_where_the_interval_shows_one():
    covered = sentences.calibration("m", Estimate(0.8, 0.5, 1.1), Estimate(0.1, -0.2, 0.4))
    shown = sentences.calibration("m", Estimate(0.6, 0.4, 0.9), Estimate(-0.5, -0.8, -0.1))
    assert "no departure of the mean risk can be shown" in covered
    assert "too extreme" not in covered
    assert "risks are too high on average" in shown
    assert "risks are too extreme" in shown


@given(st.floats(0.001, 0.5), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_natural_frequencies_are_whole_people_that_add_up(prevalence, sensitivity, specificity):
    people = sentences.frequencies(prevalence=prevalence, sensitivity=sensitivity, specificity=specificity)
    assert sum(people.values()) == 1000
    assert min(people.values()) >= 0


def test_people_are_named_by_the_data_set():
    assert sentences.people("breastmnist") == "women"
    assert sentences.people("breastmnist_64") == "women"
    assert sentences.people("") == "people"


def test_a_difference_carries_its_sign_and_one_of_proportions_is_in_percentage_points():
    assert [sentences.signed(gap) for gap in (0.1, -0.1, 0.0)] == ["+0.100", "−0.100", "0.000"]
    assert [sentences.signed(gap, as_points=True) for gap in (0.396, -0.396)] == ["+39.6", "−39.6"]
    assert sentences.interval(Estimate(0.1, -0.05, 0.25), as_points=True) == "−5.0 to 25.0"
