"""The verdict: no light is green where its interval leaves the contrary possible; the explorer's counts."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_results import DRAWS, table

from clineval.evaluation import evaluate
from clineval.evaluation.curves import Band, DecisionLines, curves
from clineval.evaluation.records import Adequacy, PopulationScores
from clineval.predictions import check_predictions
from clineval.reporting.sentences import detection, subject_of
from clineval.reporting.verdict import (
    COLUMNS,
    NO,
    SHAPES,
    UNCLEAR,
    YES,
    Verdict,
    explorer_data,
    highest_share,
    judge,
    signs,
)
from clineval.statistics.counts import counts
from clineval.statistics.intervals import Estimate, undefined
from clineval.statistics.operating_point import operating_point

GOOD = {
    "auc": Estimate(0.9, 0.87, 0.93),
    "auc_logit": Estimate(0.9, 0.87, 0.93),
    "observed_expected": Estimate(1.0, 0.92, 1.08),
    "calibration_slope": Estimate(1.0, 0.85, 1.2),
}
ADEQUACY = Adequacy("", 0.03, 0.05, 100, 100, 100)


BASE = operating_point(np.array([True, False]), np.array([0.9, 0.05]), 0.1, name="given", chosen_on="given")


def point(low: float = 0.01, high: float = 0.05, *, net_benefit: float = 0.2):
    gain = Estimate((low + high) / 2, low, high, 0.95, "bootstrap")
    return dataclasses.replace(BASE, net_benefit=net_benefit, gain=gain)


def verdict(scored=None, *, events=200, cases=600, lines=None, where="", **measures) -> Verdict:
    scores = PopulationScores(cases, events, cases, "", {**GOOD, **measures}, adequacy=ADEQUACY)
    chosen = point() if scored is None else scored
    return judge(scores, chosen, condition="malignant", lines=lines, where=where)


def test_four_green_lights_and_a_headline_that_says_so():
    found = verdict()
    assert list(found.states.items()) == [
        ("ranking", YES),
        ("risks", YES),
        ("benefit", YES),
        ("data", YES),
    ]
    assert found.headline == (
        "At this cohort's prevalence (33%) the model helps at this threshold; "
        "it ranks well and its risks are right."
    )
    assert found.brief == "The model helps at this threshold; it ranks well and its risks are right."


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (0.70, 0.9, YES),
        (math.nextafter(0.70, 0), 0.9, UNCLEAR),
        (0.50, 0.70, UNCLEAR),
        (0.4, math.nextafter(0.70, 0), NO),
        (0.1, 0.3, NO),
    ],
)
def test_ranking_is_judged_by_the_whole_interval_at_seven_tenths(low, high, state):
    assert verdict(auc_logit=Estimate((low + high) / 2, low, high)).states["ranking"] == state


def test_ranking_says_what_is_not_shown():
    said = {low: verdict(auc_logit=Estimate(0.65, low, 0.8)).lights[0].sentence for low in (0.45, 0.55)}
    assert "no evidence that it ranks better than chance" in said[0.45]
    assert "better than chance, but" in said[0.55]
    assert "wrong way round" in verdict(auc_logit=Estimate(0.3, 0.2, 0.4)).lights[0].sentence


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (0.80, 1.25, YES),
        (math.nextafter(0.80, 0), 1.25, UNCLEAR),
        (0.80, math.nextafter(1.25, 2), UNCLEAR),
        (1.01, 1.25, YES),
        (1.01, 1.26, NO),
        (1.0, 1.26, UNCLEAR),
        (0.7, 0.99, NO),
        (0.7, 1.0, UNCLEAR),
    ],
)
@pytest.mark.parametrize("name", ["observed_expected", "calibration_slope"])
def test_risks_are_right_only_where_both_intervals_lie_within_the_tolerance(name, low, high, state):
    assert verdict(**{name: Estimate((low + high) / 2, low, high)}).states["risks"] == state


def test_wrong_risks_are_called_too_low_too_high_or_too_extreme():
    low = verdict(observed_expected=Estimate(1.9, 1.6, 2.2))
    assert low.headline == (
        "At this cohort's prevalence (33%) the model helps at this threshold, but its risks are too low."
    )
    assert "too low: observed/expected ratio 1.90 (1.60 to 2.20)" in low.lights[1].sentence
    assert "too high" in verdict(observed_expected=Estimate(0.5, 0.4, 0.6)).headline
    assert "too extreme" in verdict(calibration_slope=Estimate(0.5, 0.4, 0.6)).lights[1].sentence
    assert "too timid" in verdict(calibration_slope=Estimate(1.6, 1.4, 1.8)).lights[1].sentence


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(1e-9, 0.1, YES), (0.0, 0.1, UNCLEAR), (-0.1, 0.0, UNCLEAR), (-0.1, -1e-9, NO)],
)
def test_help_needs_a_gain_whose_whole_interval_is_above_nothing(low, high, state):
    assert verdict(point(low, high)).states["benefit"] == state


@pytest.mark.parametrize(
    ("events", "cases", "state"), [(10, 600, YES), (9, 600, UNCLEAR), (591, 600, UNCLEAR)]
)
def test_fewer_than_ten_cases_of_a_kind_do_not_show_that_it_helps(events, cases, state):
    found = verdict(point(0.01, 0.1), events=events, cases=cases)
    assert found.states["benefit"] == state
    assert ("too few cases to say whether the model helps" in found.headline) == (state == UNCLEAR)


def test_the_policy_to_beat_is_named():
    assert "fewer than acting on all" in verdict(point(-0.1, -0.05, net_benefit=0.1)).lights[2].sentence
    worse = verdict(point(-0.1, -0.05, net_benefit=-0.075))
    assert worse.headline == (
        "At this cohort's prevalence (33%) the model's net benefit at this threshold is lower than that of "
        "acting on none."
    )
    said = "30 net true positives per 1,000 more than acting on all (95% CI +10 to +50) at this cohort's "
    assert verdict().lights[2].sentence == f"{said}prevalence (33%)."


def test_a_default_threshold_is_named_as_one_in_headline_and_detection():
    half = operating_point(
        np.array([True, False]), np.array([0.9, 0.05]), 0.5, name="half", chosen_on="fixed"
    )
    found = verdict(dataclasses.replace(half, net_benefit=0.2, gain=Estimate(0.03, 0.01, 0.05)))
    assert "the model helps at the default threshold of 0.5" in found.headline
    assert detection(half, condition="condition") == (
        "At the threshold 0.50 (a default; no threshold was chosen) it finds 1 "
        "of 1 cases with the condition and raises 0 false alarms among 1 others."
    )


def test_without_a_threshold_or_an_interval_help_is_uncertain_with_the_reason():
    none = dataclasses.replace(point(), point=dataclasses.replace(BASE.point, threshold=math.nan))
    assert verdict(none).lights[2].sentence == "No threshold was fixed beforehand."
    old = dataclasses.replace(point(), gain=None)
    assert "evaluate the table again" in verdict(old).lights[2].sentence
    ends = dataclasses.replace(point(), gain=undefined("thresholds of 0 and 1 leave nothing to weigh"))
    assert "nothing to weigh" in verdict(ends).lights[2].sentence
    assert {verdict(each).states["benefit"] for each in (none, old, ends)} == {UNCLEAR}


def lines(low, high) -> DecisionLines:
    threshold = np.arange(1, 100) / 100
    none = np.zeros(99)
    gain = Band(none, np.full(99, -0.1), np.full(99, 0.1))
    for start, end in low:
        gain.low[(threshold >= start - 1e-9) & (threshold <= end + 1e-9)] = 0.01
    for start, end in high:
        gain.high[(threshold >= start - 1e-9) & (threshold <= end + 1e-9)] = -0.01
    return DecisionLines(threshold, gain, none, none, none, gain, "")


def test_it_says_at_which_thresholds_up_to_one_half_there_is_no_gain_and_where_a_loss():
    said = verdict(lines=lines([(0.05, 0.3), (0.33, 0.9)], [(0.02, 0.03)])).lights[2].sentence
    assert said.endswith("No gain at thresholds of 0.01 to 0.04 and 0.31 to 0.32; a loss at 0.02 to 0.03.")
    assert verdict(lines=lines([], [])).lights[2].sentence.endswith("at any threshold up to 0.50.")
    assert verdict(lines=lines([(0.01, 0.5)], [(0.6, 0.7)])).lights[2].sentence.endswith("prevalence (33%).")


@pytest.mark.parametrize(
    ("events", "cases", "state"),
    [(100, 200, YES), (99, 1000, NO), (901, 1000, NO), (900, 1000, YES)],
)
def test_fewer_than_a_hundred_with_or_without_the_condition_are_too_few(events, cases, state):
    assert verdict(events=events, cases=cases).states["data"] == state


def test_enough_cases_with_wide_intervals_are_enough_in_part():
    light = verdict(calibration_slope=Estimate(1.0, 0.8, math.nextafter(1.2, 2))).lights[3]
    assert (light.state, light.answer) == (UNCLEAR, "Partly")
    assert "the interval of the calibration slope is wider than advised" in light.sentence


def test_too_few_cases_say_what_they_cannot_show():
    assert "must gain 0.05 of AUC" in verdict(events=40).lights[3].sentence
    scores = PopulationScores(150, 40, 150, "", GOOD, adequacy=dataclasses.replace(
        ADEQUACY, smallest_detectable_difference=math.nan))  # fmt: skip
    sentence = judge(scores, point(), condition="malignant").lights[3].sentence
    assert (
        "Even a perfect model would be shown to rank better in fewer than four of five such studies."
        in sentence
    )


def test_the_headline_names_red_lights_before_amber_ones_and_the_external_cohort():
    found = verdict(point(-0.01, 0.01), events=40, auc_logit=Estimate(0.7, 0.6, 0.8), where="hospital-b")
    assert found.headline == (
        "In hospital-b (prevalence 6.7%) there is no evidence that the model helps at this threshold; "
        "the cases are too few to be sure."
    )
    amber = verdict(auc_logit=Estimate(0.66, 0.62, 0.71))
    assert amber.headline == (
        "At this cohort's prevalence (33%) the model helps at this threshold, but how well it ranks is "
        "uncertain."
    )


def test_one_outcome_alone_leaves_everything_uncertain_in_words():
    nothing = undefined("no case has the condition")
    found = verdict(
        dataclasses.replace(point(), gain=None), events=0, cases=30,
        auc_logit=nothing, observed_expected=nothing, calibration_slope=nothing, auc=nothing,
    )  # fmt: skip
    assert found.states == {"ranking": UNCLEAR, "risks": UNCLEAR, "benefit": UNCLEAR, "data": NO}
    assert "nan" not in " ".join(light.sentence for light in found.lights)


finite = st.floats(-0.5, 1.5, allow_nan=False)


@given(finite, finite, finite, finite)
@settings(max_examples=200, deadline=None)
@pytest.mark.slow
def test_no_light_is_green_where_its_interval_leaves_the_contrary_possible(a, b, c, d):
    (low, high), (worse, better) = sorted((a, b)), sorted((c, d))
    found = verdict(
        point(worse, better),
        auc_logit=Estimate((low + high) / 2, low, high),
        observed_expected=Estimate((low + high) / 2, low, high),
    )
    assert found.states["ranking"] != YES or low >= 0.7
    assert found.states["risks"] != YES or (low >= 0.8 and high <= 1.25)
    assert found.states["benefit"] != YES or worse > 0
    assert found.states["ranking"] != NO or high < 0.7
    assert found.states["benefit"] != NO or better < 0


@pytest.fixture(scope="module")
def frame():
    return check_predictions(table(("cnn",)))


@pytest.fixture(scope="module")
def data(frame):
    evaluation = evaluate(frame, condition="malignant", thresholds=(0.25, 0.75), draws=DRAWS)
    return explorer_data(subject_of(evaluation), curves(frame, evaluation), dataset="breastmnist")


def test_every_step_finds_the_counts_of_its_threshold(data, frame):
    rows = data["populations"]["test"]["models"]["cnn"]
    mine = frame[frame["split"] == "test"]
    for step in range(0, 1001, 7):
        row = int(np.searchsorted(rows["starts"], step, side="right")) - 1
        cells = counts(mine["outcome"].to_numpy(bool), mine["risk"].to_numpy(), step / 1000)
        assert (rows["true_positives"][row], rows["false_positives"][row]) == (
            cells.true_positives,
            cells.false_positives,
        )


def test_populations_that_were_used_before_are_not_offered(data):
    assert list(data["populations"]) == ["test", "test_clean"]
    assert data["opens_on"] == "test"


def test_pre_specified_points_have_a_row_and_a_name_of_their_own(data):
    rows = data["populations"]["test"]["models"]["cnn"]
    assert [point["name"] for point in rows["points"]] == ["half", "sensitivity_90", "given", "given-2"]
    assert [point["row"] for point in rows["points"]] == list(
        range(len(rows["starts"]), len(rows["starts"]) + 4)
    )
    assert len(rows["true_positives"]) == len(rows["starts"]) + 4


def test_bounds_are_rounded_as_they_are_printed_but_ratios_are_kept_in_full(data):
    bounds = data["populations"]["test"]["models"]["cnn"]["bounds"]
    assert all(value == round(value, 3) for pair in bounds["sensitivity"] if pair for value in pair)
    assert any(value != round(value, 3) for pair in bounds["lr_positive"] if pair for value in pair)


def test_the_prevalence_slider_reaches_a_population_above_one_half():
    assert highest_share([0.2, 0.3]) == 0.5
    assert highest_share([0.2, 0.7]) == 0.999


def test_it_opens_at_the_primary_threshold(data):
    assert data["opens_at"] == "given"  # the first that the user gave


def test_a_thousand_people_fill_the_square_call_by_call():
    drawn = signs({"found": 3, "missed": 1, "alarms": 0, "cleared": 996})
    assert [part.count("M") for part in drawn.values()] == [3, 1, 0, 996]
    assert drawn["missed"].startswith(f"M{3 * 10 + SHAPES['missed'][0]:g} ")
    last = 999
    assert f"M{last % COLUMNS * 10 + 3.7:g} {last // COLUMNS * 10 + 5:g}" in drawn["cleared"]


def test_a_bound_that_decides_never_looks_like_what_it_is_held_to():
    light = verdict(auc_logit=Estimate(0.65, 0.6, 0.6976)).lights[0]
    assert "(95% CI 0.60 to 0.698): the whole interval lies below 0.70" in light.sentence
    light = verdict(observed_expected=Estimate(1.1, 1.003, 1.3)).lights[1]
    assert "1.10 (1.003 to 1.30)" in light.sentence
