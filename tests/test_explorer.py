"""What the explorer looks up holds the counts of every step."""

import numpy as np
import pytest
from simulated_results import DRAWS, table

from clineval.evaluation import evaluate
from clineval.evaluation.curves import curves
from clineval.predictions import check_predictions
from clineval.reporting.explorer import COLUMNS, SHAPES, explorer_data, highest_share, signs
from clineval.reporting.sentences import subject_of
from clineval.statistics.counts import counts


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
