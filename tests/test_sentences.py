"""Sentences say what their intervals allow, and nothing more."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clineval.evaluation.records import PopulationScores
from clineval.reporting import sentences
from clineval.statistics.intervals import Estimate, undefined

finite = st.floats(-1, 1, allow_nan=False)


@given(finite, finite, finite)
@settings(max_examples=60, deadline=None)
def test_no_sentence_prefers_a_model_unless_the_interval_excludes_0(value, one, other):
    low, high = sorted((one, other))
    said = sentences.difference("a", "b", Estimate(value, low, high), measure="AUC")
    assert ("is better on these cases" in said) == (low > 0 or high < 0)


def test_a_difference_without_an_interval_prefers_nobody():
    said = sentences.difference("a", "b", Estimate(0.3, math.nan, math.nan), measure="AUC")
    assert "do not show which of the two is better" in said


def test_the_better_model_is_the_one_the_sign_names():
    up = sentences.difference("a", "b", Estimate(0.1, 0.05, 0.15), measure="AUC")
    down = sentences.difference("a", "b", Estimate(-0.1, -0.15, -0.05), measure="AUC")
    assert "a is better on these cases" in up
    assert "b is better on these cases" in down


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


def test_percentages_in_sentences_are_whole_and_headlines_have_two_decimals():
    assert sentences.whole_percent(0.9286) == "93%"
    assert sentences.two_decimals(Estimate(0.926, 0.846, 0.966)) == "0.93 (0.85 to 0.97)"
    assert sentences.two_decimals(Estimate(0.926, math.nan, math.nan)) == "0.93 (no interval)"


@given(st.floats(0.001, 0.5), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_natural_frequencies_are_whole_people_that_add_up(prevalence, sensitivity, specificity):
    people = sentences.frequencies(prevalence=prevalence, sensitivity=sensitivity, specificity=specificity)
    assert sum(people.values()) == 1000
    assert min(people.values()) >= 0


def test_people_are_named_by_the_data_set():
    assert sentences.people("breastmnist") == "women"
    assert sentences.people("breastmnist_64") == "women"
    assert sentences.people("phantom") == "cases"
    assert sentences.people("") == "people"


def test_images_of_which_several_are_of_one_person_are_counted_as_cases():
    assert sentences.people("breastmnist", PopulationScores(472, 150, 266, "", {})) == "cases"
    assert sentences.people("breastmnist", PopulationScores(472, 150, 472, "", {})) == "women"


def test_a_difference_carries_its_sign_and_one_of_proportions_is_in_percentage_points():
    assert [sentences.signed(gap) for gap in (0.1, -0.1, 0.0)] == ["+0.100", "−0.100", "0.000"]
    assert [sentences.signed(gap, as_points=True) for gap in (0.396, -0.396)] == ["+39.6", "−39.6"]
    assert sentences.interval(Estimate(0.1, -0.05, 0.25), as_points=True) == "−5.0 to 25.0"
