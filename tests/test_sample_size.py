"""What so many cases can tell: against the papers' formulas in R, by hand, and by laws."""

import math

import numpy as np
import pytest
from clinical_reference import NAMES, golden, sample
from discrimination_reference import law
from hypothesis import strategies as st

from clineval.statistics import sample_size as ad
from clineval.statistics.intervals import wilson_bounds

R = golden("adequacy")


@pytest.mark.parametrize("row", R["hanley"])
def test_the_error_of_an_auc_is_hanley_and_mc_neil_s(row):
    found = ad.hanley_mcneil_error(row["auc"], row["events"], row["non_events"])
    assert found == pytest.approx(row["error"], rel=1e-9)


@pytest.mark.parametrize("row", R["auc"])
def test_the_sample_size_for_an_auc_is_riley_s(row):
    found = ad.sample_size_for_auc(row["auc"], row["prevalence"], width=row["width"])
    assert found.cases == row["cases"]
    assert found.events == math.ceil(row["cases"] * row["prevalence"])


@pytest.mark.parametrize("row", R["observed_expected"])
def test_the_sample_size_for_observed_over_expected_is_riley_s(row):
    assert ad.sample_size_for_observed_expected(row["prevalence"], width=row["width"]).cases == row["cases"]


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_size_for_the_slope_is_riley_s(name):
    _, risk, _, _ = sample(name)
    assert ad.sample_size_for_slope(risk, width=0.4).cases == R["slope"][name]


@pytest.mark.parametrize("row", R["least_difference"])
def test_the_least_difference_is_r_s_root(row):
    found = ad.smallest_detectable_difference(
        row["auc"], row["events"], row["non_events"], correlation=row["correlation"], power=row["power"]
    )
    assert found == pytest.approx(row["difference"], rel=1e-9)


def test_the_precision_of_156_cases_at_an_auc_of_86():
    found = ad.auc_precision(0.86, 42, 114)
    assert found.low < 0.80 < 0.90 < found.high
    assert found.value == 0.86


def test_precision_without_a_class_or_at_the_edge_is_undefined_with_the_reason():
    assert "with and without" in ad.auc_precision(0.8, 0, 10).method
    assert "AUC of 0 or 1" in ad.auc_precision(1.0, 5, 10).method


def test_the_sentence_names_what_42_of_156_cannot_tell():
    assert ad.sentence(0.86, 42, 114).startswith(
        "With 42 events among 156 cases this test set is too small to distinguish an AUC of 0.86 from 0.92"
    )


@pytest.mark.parametrize(
    ("auc", "events", "non_events", "words"),
    [
        (0.9, 2, 5, "any better one, even 1"),
        (0.9, 20, 60, "even a perfect one would not be shown to be better"),
        (0.8, 0, 20, "of one class says nothing"),
        (1.0, 5, 20, "no precision can be worked out"),
        (math.nan, 5, 20, "no precision can be worked out"),
    ],
)
def test_the_sentence_stays_honest_at_the_edges(auc, events, non_events, words):
    assert words in ad.sentence(auc, events, non_events)


def test_a_large_test_set_is_told_with_as_many_decimals_as_it_takes():
    said = ad.sentence(0.86, 40_000, 110_000)
    assert "an AUC of 0.860 from 0.862" in said
    assert "0.86 from 0.86:" not in said


def test_groups_take_from_what_a_test_set_can_show():
    said = ad.sentence(0.86, 84, 228, design_effect=2.0)
    assert "84 events among 312 cases, worth 156 independent ones," in said
    assert said.partition("small")[2] == ad.sentence(0.86, 42, 114).partition("small")[2]
    assert "too few" in ad.sentence(0.86, 3, 8, design_effect=4.0)


def test_three_copies_of_each_case_in_a_group_have_a_design_effect_of_3():
    outcome, risk, _, _ = sample("breastmnist")
    copied = np.repeat(outcome, 3), np.repeat(risk, 3)
    found = ad.auc_design_effect(*copied, group=np.repeat(np.arange(156), 3))
    assert found == pytest.approx(3, rel=0.05)
    assert ad.auc_design_effect(outcome, risk) == 1
    assert ad.auc_design_effect(outcome, risk, group=np.arange(156)) == 1


@law(st.floats(0.55, 0.97), st.floats(0.05, 0.5), st.floats(0.03, 0.3))
def test_the_sample_size_for_an_auc_is_the_least_that_is_precise_enough(auc, prevalence, width):
    found = ad.sample_size_for_auc(auc, prevalence, width=width)
    wide = [
        2 * 1.959963984540054 * ad._newcombe_error(auc, n, prevalence) for n in (found.cases, found.cases - 1)
    ]
    assert wide[0] <= width * (1 + 1e-12)
    assert found.cases == 2 or wide[1] > width


@law(st.floats(0.55, 0.97), st.floats(0.1, 0.5))
def test_a_narrower_interval_needs_more_cases(auc, prevalence):
    sizes = [ad.sample_size_for_auc(auc, prevalence, width=width).cases for width in (0.2, 0.1, 0.05)]
    assert sizes == sorted(sizes)
    sizes = [ad.sample_size_for_observed_expected(prevalence, width=w).cases for w in (0.4, 0.2, 0.1)]
    assert sizes == sorted(sizes)


@law(st.floats(0.6, 0.95), st.integers(20, 300), st.integers(20, 300))
def test_more_power_and_less_correlation_need_a_larger_difference(auc, events, non_events):
    def least(correlation, power):
        found = ad.smallest_detectable_difference(
            auc, events, non_events, correlation=correlation, power=power
        )
        return math.inf if math.isnan(found) else found

    assert least(0.6, 0.5) <= least(0.6, 0.8)
    assert least(0.8, 0.8) <= least(0.2, 0.8)


def test_the_events_for_a_sensitivity_make_wilson_s_interval_narrow_enough():
    needed = ad.events_for_sensitivity(0.9, width=0.1)
    for events, narrow in ((needed, True), (needed - 1, False)):
        low, high = wilson_bounds(0.9 * events, events)
        assert bool(high - low <= 0.1) is narrow


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ad.hanley_mcneil_error(1.2, 4, 4), "between 0 and 1; got 1.2"),
        (lambda: ad.hanley_mcneil_error(0.9, 0, 4), "cases of both classes; got 0 and 4"),
        (lambda: ad.sample_size_for_auc(1.0, 0.2), "An expected AUC must lie between 0 and 1"),
        (lambda: ad.sample_size_for_auc(0.9, 0.2, width=0), "width of an interval must be above 0"),
        (lambda: ad.sample_size_for_slope([0.3, 0.3]), "must differ"),
        (lambda: ad.sample_size_for_slope([0.0, 1.0]), "got none"),
        (lambda: ad.smallest_detectable_difference(0.9, 5, 5, correlation=1), "at least 0 and below 1"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_risks_of_0_and_1_are_left_out_of_a_plan_for_the_slope():
    _, risk, _, _ = sample("small")
    longer = np.append(risk, [0.0, 1.0])
    assert ad.sample_size_for_slope(longer).cases == ad.sample_size_for_slope(risk).cases


def test_a_lone_event_or_non_event_still_has_hanley_and_mc_neil_s_error():
    assert ad.hanley_mcneil_error(0.8, 1, 9) > ad.hanley_mcneil_error(0.8, 2, 9) > 0
    assert ad.hanley_mcneil_error(0.8, 9, 1) > ad.hanley_mcneil_error(0.8, 9, 2) > 0


def test_the_width_asked_for_is_a_tenth_where_none_is_given():
    assert ad.sample_size_for_auc(0.8, 0.3) == ad.sample_size_for_auc(0.8, 0.3, width=0.1)
    assert ad.events_for_sensitivity(0.9) == ad.events_for_sensitivity(0.9, width=0.1)


@pytest.mark.parametrize("prevalence", [-0.1, 0, 1, 1.1])
def test_a_prevalence_of_none_or_all_is_refused(prevalence):
    with pytest.raises(ValueError, match="A prevalence must lie between 0 and 1"):
        ad.sample_size_for_auc(0.8, prevalence)
