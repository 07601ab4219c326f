"""The lines behind an evaluation: they agree with its numbers and hold what figures and explorer need."""

import numpy as np
import pandas as pd
import pytest

from clineval.errors import InputError
from clineval.evaluation import Evaluation, evaluate
from clineval.evaluation.curves import MOST_POINTS, Curves, PopulationCurves, curves
from clineval.statistics import roc
from clineval.statistics.intervals import wilson


def table(cases: int = 90, splits: tuple[str, ...] = ("val", "test"), seed: int = 5) -> pd.DataFrame:
    parts = []
    for number, split in enumerate(splits):
        rng = np.random.default_rng([seed, number])
        outcome = rng.random(cases) < 0.3
        signal = rng.normal(size=cases) + 1.5 * outcome - 1.5
        for model, noise in (("a", 0.2), ("b", 1.0)):
            risk = 1 / (1 + np.exp(-signal - noise * rng.normal(size=cases)))
            # Some risks lie on steps of the explorer, where >= and > differ.
            risk[::9] = np.round(risk[::9], 2)
            parts.append(
                pd.DataFrame(
                    {"model": model, "split": split, "case": range(cases), "outcome": outcome, "risk": risk}
                )
            )
    return pd.concat(parts, ignore_index=True)


TABLE = table()


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(TABLE, condition="malignant", thresholds=[0.25], draws=60, seed=3)


@pytest.fixture(scope="module")
def lines(evaluation: Evaluation) -> Curves:
    return curves(TABLE, evaluation)


@pytest.fixture(scope="module")
def test_lines(lines: Curves) -> PopulationCurves:
    return lines.models["a"]["test"]


def test_every_model_and_population_of_the_evaluation_has_its_lines(
    evaluation: Evaluation, lines: Curves
) -> None:
    assert {model: set(parts) for model, parts in lines.models.items()} == {
        model: set(parts) for model, parts in evaluation.models.items()
    }
    assert (lines.condition, lines.level) == ("malignant", 0.95)


def test_the_area_under_the_line_is_the_auc(evaluation: Evaluation, test_lines: PopulationCurves) -> None:
    line = test_lines.roc
    assert line is not None
    area = np.trapezoid(line.sensitivity, line.false_positive_rate)
    assert area == pytest.approx(evaluation.models["a"]["test"].measures["auc"].value, abs=1e-12)
    assert (line.false_positive_rate[0], line.sensitivity[0]) == (0, 0)
    assert (line.false_positive_rate[-1], line.sensitivity[-1]) == (1, 1)


def test_the_band_lies_around_the_curve_on_a_rising_grid(test_lines: PopulationCurves) -> None:
    assert test_lines.roc is not None
    band = test_lines.roc.band
    assert band is not None
    assert np.all(np.diff(test_lines.roc.grid) > 0)
    assert np.all(band.low <= band.value)
    assert np.all(band.value <= band.high)


def test_the_explorer_agrees_with_the_operating_points(
    evaluation: Evaluation, test_lines: PopulationCurves
) -> None:
    steps = test_lines.explorer
    assert steps is not None
    for name, threshold in (("half", 0.5), ("given", 0.25)):
        point = evaluation.models["a"]["test"].point(name)
        step = round(threshold * 1000)
        assert steps.threshold[step] == threshold
        assert steps.true_positives[step] == point.counts["true_positives"]
        assert steps.false_positives[step] == point.counts["false_positives"]
        for rate in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
            band, expected = steps.rates[rate], point.rates[rate]
            assert (band.value[step], band.low[step], band.high[step]) == (
                expected.value,
                expected.low,
                expected.high,
            )
        assert steps.net_benefit[step] == pytest.approx(point.net_benefit, abs=1e-15)


def test_the_explorer_counts_every_step_by_the_at_least_rule(test_lines: PopulationCurves) -> None:
    own = TABLE[(TABLE["model"] == "a") & (TABLE["split"] == "test")]
    steps = test_lines.explorer
    assert steps is not None
    assert len(steps.threshold) == 1001
    for step in (0, 1, 120, 250, 333, 500, 870, 999, 1000):
        flagged = own["risk"] >= step / 1000
        assert steps.true_positives[step] == (flagged & own["outcome"]).sum()
        assert steps.false_negatives[step] == (~flagged & own["outcome"]).sum()
        assert steps.true_negatives[step] == (~flagged & ~own["outcome"]).sum()
    expected = wilson(int(steps.true_positives[300]), int(own["outcome"].sum()))
    assert steps.rates["sensitivity"].low[300] == expected.low
    assert steps.net_benefit[0] == own["outcome"].mean()
    assert np.isnan(steps.net_benefit[1000])


def test_the_histogram_holds_every_case_once(test_lines: PopulationCurves) -> None:
    assert test_lines.risks.events.sum() == test_lines.events
    assert test_lines.risks.non_events.sum() == test_lines.cases - test_lines.events
    assert 0.5 in test_lines.risks.edges


def test_decision_lines_are_those_of_the_evaluation(
    evaluation: Evaluation, test_lines: PopulationCurves
) -> None:
    expected = evaluation.models["a"]["test"].decision_curve
    assert expected is not None
    assert test_lines.decision is not None
    np.testing.assert_array_equal(test_lines.decision.net_benefit.value, expected.net_benefit)
    np.testing.assert_array_equal(test_lines.decision.net_benefit.low, expected.low)
    np.testing.assert_array_equal(test_lines.decision.treat_all, expected.treat_all)


def test_the_difference_of_decision_curves_is_first_minus_second(lines: Curves) -> None:
    (difference,) = (one for one in lines.decision_differences if one.population == "test")
    assert difference.models == ("a", "b")
    first, second = (lines.models[model]["test"].decision for model in ("a", "b"))
    assert first is not None
    assert second is not None
    expected = first.net_benefit.value - second.net_benefit.value
    np.testing.assert_allclose(difference.difference.value, expected, atol=1e-15)


def test_groups_of_the_calibration_curve_hold_all_cases(test_lines: PopulationCurves) -> None:
    calibration = test_lines.calibration
    assert calibration is not None
    assert calibration.cases.sum() == test_lines.cases
    assert np.all(np.diff(calibration.mean_risk) > 0)
    assert calibration.smooth is not None
    assert len(calibration.smooth.value) == len(calibration.risk)


def test_val_gets_no_line_that_belongs_to_thresholds(lines: Curves) -> None:
    val = lines.models["a"]["val"]
    assert val.decision is None
    assert val.explorer is None
    assert val.roc is not None
    assert not any(one.population == "val" for one in lines.decision_differences)


def test_with_one_class_absent_there_is_no_roc_and_no_calibration() -> None:
    alone = TABLE[TABLE["split"] == "test"].assign(outcome=0)
    found = curves(alone, evaluate(alone, draws=20)).models["a"]["test"]
    assert found.roc is None
    assert found.calibration is None
    assert found.explorer is not None
    assert np.isnan(found.explorer.rates["sensitivity"].value).all()


@pytest.mark.slow
def test_a_long_curve_is_thinned_without_moving() -> None:
    long = table(cases=6000, splits=("test",))
    found = curves(long, evaluate(long, draws=5)).models["b"]["test"].roc
    assert found is not None
    assert MOST_POINTS / 2 < len(found.sensitivity) <= MOST_POINTS + 2
    own = long[long["model"] == "b"]
    area = np.trapezoid(found.sensitivity, found.false_positive_rate)
    assert area == pytest.approx(roc.auc(own["outcome"], own["risk"]).value, abs=1e-4)
    assert (found.false_positive_rate[-1], found.sensitivity[-1]) == (1, 1)


def test_the_lines_of_another_table_are_refused(evaluation: Evaluation) -> None:
    with pytest.raises(InputError, match="not the one that was evaluated"):
        curves(TABLE[TABLE["case"] != 3], evaluation)
