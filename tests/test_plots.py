"""Figures of models and studies: what they draw, by its lines and labels."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from simulated_results import CURVES, DRAWS, table
from transport_content import content

from clineval.data.cohort import GreyLevels, SplitCount
from clineval.data.preparation import KINDS
from clineval.evaluation import evaluate
from clineval.evaluation.curves import curves
from clineval.predictions import check_predictions
from clineval.reporting import data_plots, plots
from clineval.reporting.plots import (
    ROWS,
    draw_grey,
    draw_measure,
    draw_risks,
    robustness_figure,
    write_case_mix,
    write_robustness_figure,
)
from clineval.reporting.style import journal_style, new_figure


@pytest.fixture(scope="module")
def scored():
    """Scores and curves of one simulated model on test."""
    frame = check_predictions(table(("cnn",)))
    evaluation = evaluate(frame, condition="malignant", thresholds=(0.3,), draws=DRAWS)
    return evaluation.models["cnn"]["test"], curves(frame, evaluation).models["cnn"]["test"]


@pytest.fixture
def ax():
    """Axes that no global state knows of."""
    return Figure().add_subplot()


def labels(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def test_the_roc_curve_is_the_records_line_and_names_its_auc(scored, ax):
    scores, drawn = scored
    plots.draw_roc(drawn.roc, ax, points=scores.operating_points, measures=scores.measures)
    curve = ax.lines[0]
    np.testing.assert_array_equal(curve.get_xdata(), drawn.roc.false_positive_rate)
    np.testing.assert_array_equal(curve.get_ydata(), drawn.roc.sensitivity)
    auc = scores.measures["auc_logit"]
    assert labels(ax)[0].startswith(f"AUC {auc.value:.3f} (95% CI {auc.low:.3f} to {auc.high:.3f})")
    assert "DeLong" in labels(ax)[0]


def test_every_operating_point_is_marked_where_its_rates_lie(scored, ax):
    scores, drawn = scored
    plots.draw_roc(drawn.roc, ax, points=scores.operating_points, measures=scores.measures)
    marks = [line for line in ax.lines if line.get_marker() not in ("None", "")]
    assert len(marks) == 3
    for line, point in zip(marks, scores.operating_points, strict=True):
        assert line.get_xdata()[0] == pytest.approx(1 - point.rates["specificity"].value)
        assert line.get_ydata()[0] == pytest.approx(point.rates["sensitivity"].value)
        assert f"threshold {point.threshold:.3f}" in line.get_label()


def test_a_confusion_matrix_says_which_class_is_which(scored, ax):
    point = scored[0].point("half")
    plots.draw_confusion(point, ax, condition="malignant")
    rows = [label.get_text() for label in ax.get_yticklabels()]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    assert rows == ["malignant", "not malignant"]
    assert [column.split("\n")[0] for column in columns] == ["flagged", "not flagged"]
    written = [text.get_text() for text in ax.texts]
    for name, place in (
        ("true_positives", 0),
        ("false_negatives", 3),
        ("false_positives", 6),
        ("true_negatives", 9),
    ):
        assert written[place] == str(point.counts[name])
        assert written[place + 1] == name.replace("_", " ")


def test_calibration_shows_the_smooth_line_the_groups_and_the_summary(scored, ax):
    scores, drawn = scored
    plots.draw_calibration(
        drawn.calibration, ax, risks=drawn.risks, measures=scores.measures, condition="malignant"
    )
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.clip(drawn.calibration.smooth.value, 0, 1))
    assert f"slope {scores.measures['calibration_slope'].value:.3f}" in labels(ax)[0]
    assert ax.get_xlabel() == "predicted risk of malignant"


def test_risks_stand_upwards_for_the_condition_and_downwards_without_it(scored, ax):
    _, drawn = scored
    plots.draw_risk_distribution(drawn.risks, ax, condition="malignant", points=scored[0].operating_points)
    up, down = ax.patches
    np.testing.assert_array_equal(up.get_data().values, drawn.risks.events)
    np.testing.assert_array_equal(down.get_data().values, -drawn.risks.non_events)
    assert "malignant (n = 42), upwards" in labels(ax)
    assert "not malignant (n = 114), downwards" in labels(ax)
    assert all(tick == round(tick) for tick in ax.get_yticks())


def test_a_decision_curve_has_both_plain_strategies_and_every_model(scored, ax):
    decision = scored[1].decision
    plots.draw_decision_curves({"cnn": decision, "other": decision}, ax)
    assert labels(ax) == ["treating all", "treating none", "cnn", "other"]
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), decision.net_benefit.value)


def test_many_models_keep_their_lines_but_only_the_named_ones_their_bands(scored, ax):
    decision = scored[1].decision
    plots.draw_decision_curves(dict.fromkeys("abcde", decision), ax, with_band=("a", "b"))
    assert len(ax.collections) == 2
    assert len(ax.lines) == 2 + 5


def test_an_undefined_point_is_not_marked(scored, ax):
    scores, drawn = scored
    gone = replace(scores.measures["auc"], value=np.nan)
    point = replace(scores.operating_points[0], sensitivity=gone)
    plots.draw_roc(drawn.roc, ax, points=[point], measures=scores.measures)
    assert not any("threshold" in label for label in labels(ax))


def test_class_counts_are_written_over_their_bars(ax):
    data_plots.draw_class_distribution([SplitCount("test", 156, 42, 42 / 156)], ax, condition="malignant")
    assert [text.get_text() for text in ax.texts] == ["42", "114"]
    assert ax.get_xticklabels()[0].get_text() == "test\nn = 156\n26.9%"


def test_a_grey_level_histogram_adds_up_to_all_pixels(ax):
    histogram = np.zeros(256, dtype=np.int64)
    histogram[[0, 100, 255]] = (1, 2, 1)
    quantiles = dict.fromkeys((0.05, 0.25, 0.5, 0.75, 0.95), 100.0)
    levels = GreyLevels("all", 1, 1, mean=113.75, sd=91.4, quantiles=quantiles, histogram=histogram)
    data_plots.draw_grey_levels(levels, ax, colour="black")
    assert ax.patches[0].get_data().values.sum() == pytest.approx(100)
    assert labels(ax) == ["mean 114, SD 91", "median 100"]


def test_a_learning_curve_marks_where_the_kept_weights_come_from(ax):
    data_plots.draw_learning_curves(CURVES, ax)
    marks = {
        line.get_label(): line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() != "None"
    }
    assert marks["stopped early, best weights kept"] == [3, 0.45]
    assert marks["weights kept (stopping did not fire)"] == [3, 0.5]


def test_tiles_hold_every_image_at_its_own_pixels(ax):
    images = [np.full((28, 28), level, np.uint8) for level in (10, 20, 30)]
    data_plots.draw_tiles(images, ["a", "b", "c"], ax, columns=2)
    sheet = ax.images[0].get_array()
    assert [int((sheet == level).sum()) for level in (10, 20, 30)] == [784] * 3
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]


@pytest.fixture(scope="module")
def corruptions():
    random, rows = np.random.default_rng(0), []
    for kind, severity in [
        ("as it is", 0),
        *((kind, severity) for kind in KINDS for severity in range(1, 6)),
    ]:
        for model in ("logreg", "cnn"):
            row = {"corruption": kind, "severity": severity, "model": model}
            for measure in ROWS:
                value = random.random()
                row |= {measure: value, f"{measure}_low": value - 0.1, f"{measure}_high": value + 0.1}
            rows.append(row)
    return pd.DataFrame(rows)


def test_a_panel_draws_each_model_from_the_cohort_as_it_is_to_severity_five(corruptions):
    with journal_style():
        _, (ax,) = new_figure()
        draw_measure(corruptions, ax, kind="blur", measure="auc")
    for line, model in zip(ax.get_lines(), ("logreg", "cnn"), strict=True):
        rows = corruptions[
            (corruptions["model"] == model) & corruptions["corruption"].isin(["as it is", "blur"])
        ]
        assert line.get_label() == model
        assert line.get_xdata().tolist() == [0, 1, 2, 3, 4, 5]
        assert line.get_ydata().tolist() == rows.sort_values("severity")["auc"].tolist()
    assert len(ax.collections) == 1  # one band, of the model that is spoken of


@pytest.mark.slow
def test_the_figure_has_a_block_per_measure_with_a_panel_per_corruption_on_one_scale(
    corruptions,
):
    with journal_style():
        figure = robustness_figure(corruptions, about="hospital-b: n = 60")
    assert len(figure.axes) == len(KINDS) * len(ROWS)
    heights = {text.get_text(): text.get_position()[1] for text in figure.texts}
    for place, (label, _) in enumerate(ROWS.values()):
        block = figure.axes[place * len(KINDS) : (place + 1) * len(KINDS)]
        assert [ax.get_title() for ax in block] == list(KINDS)
        ((low, high),) = {ax.get_ylim() for ax in block}
        for ax in block:
            assert ax.get_position().y1 < heights[label]
            for line in ax.get_lines()[:2]:
                assert low <= min(line.get_ydata())
                assert max(line.get_ydata()) <= high


@pytest.mark.slow
def test_no_panel_of_the_figure_lies_over_another(corruptions):
    with journal_style():
        axes = robustness_figure(corruptions, about="hospital-b: n = 60").axes
    boxes = [ax.get_position() for ax in axes]
    apart = [
        a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        for place, a in enumerate(boxes)
        for b in boxes[:place]
    ]
    assert all(apart)


@pytest.mark.slow
def test_a_measure_that_is_undefined_leaves_a_gap(corruptions, tmp_path):
    holes = corruptions.copy()
    holes.loc[holes["severity"] == 3, "auc"] = np.nan
    write_robustness_figure(
        holes, tmp_path / "robustness.png", about="x", notice="SYNTHETIC PHANTOM DATA: no"
    )
    assert (tmp_path / "robustness.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["_low", "", "all"])
def test_a_measure_without_any_interval_or_value_still_has_a_scale(corruptions, lost):
    holes = corruptions.copy()
    names = [f"sensitivity{end}" for end in (("", "_low", "_high") if lost == "all" else (lost,))]
    holes[names] = np.nan
    with journal_style():
        figure = robustness_figure(holes, about="x", level=0.9)
    assert all(np.isfinite(ax.get_ylim()).all() for ax in figure.axes)
    assert any("band: 90% interval of cnn" in text.get_text() for text in figure.texts)


def test_risks_are_drawn_as_shares_with_the_frozen_thresholds_as_lines(ax):
    draw_risks({"internal": [3, 1, 0, 0], "there": [1, 1, 1, 1]}, ax, thresholds=[0.2, 0.5])
    outlines = [patch for patch in ax.patches if patch.get_label() in ("internal", "there")]
    assert [patch.get_data().values.tolist() for patch in outlines] == [[75, 25, 0, 0], [25, 25, 25, 25]]
    assert [line.get_xdata()[0] for line in ax.get_lines()] == [0.2, 0.5]
    assert [text.get_text() for text in ax.texts] == ["0.20", "0.50"]


def test_grey_levels_are_drawn_eight_at_a_time_and_all_shares_are_there(ax):
    share = np.arange(256) / np.arange(256).sum()
    draw_grey({"training": share, "there": share[::-1]}, ax)
    first, second = ax.get_lines()
    assert first.get_ydata().sum() == pytest.approx(100)
    assert first.get_ydata()[0] == pytest.approx(100 * share[:8].sum())
    assert second.get_ydata().tolist() == pytest.approx(first.get_ydata()[::-1].tolist())


@pytest.mark.slow
@pytest.mark.parametrize("drops", [True, False], ids=["beside test cases", "without any"])
def test_the_figure_is_written_with_and_without_internal_test_cases(tmp_path, drops):
    write_case_mix(content(tested=drops), tmp_path / "case_mix.png", notice="SYNTHETIC PHANTOM DATA: no")
    assert (tmp_path / "case_mix.png").stat().st_size > 10_000
