"""The robustness figure: what it draws of the table, by its lines and labels."""

import numpy as np
import pandas as pd
import pytest

from clineval.data.corruptions import KINDS
from clineval.reporting.figure_style import journal_style, new_figure
from clineval.reporting.robustness_plots import ROWS, draw_measure, robustness_figure, write_robustness_figure


@pytest.fixture(scope="module")
def table():
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


def test_a_panel_draws_each_model_from_the_cohort_as_it_is_to_severity_five(table):
    with journal_style():
        _, (ax,) = new_figure()
        draw_measure(table, ax, kind="blur", measure="auc")
    for line, model in zip(ax.get_lines(), ("logreg", "cnn"), strict=True):
        rows = table[(table["model"] == model) & table["corruption"].isin(["as it is", "blur"])]
        assert line.get_label() == model
        assert line.get_xdata().tolist() == [0, 1, 2, 3, 4, 5]
        assert line.get_ydata().tolist() == rows.sort_values("severity")["auc"].tolist()
    assert len(ax.collections) == 1  # one band, of the model that is spoken of


def test_the_figure_has_a_block_per_measure_with_a_panel_per_corruption_on_one_scale(table):
    with journal_style():
        figure = robustness_figure(table, about="hospital-b: n = 60")
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


def test_no_panel_of_the_figure_lies_over_another(table):
    with journal_style():
        axes = robustness_figure(table, about="hospital-b: n = 60").axes
    boxes = [ax.get_position() for ax in axes]
    apart = [
        a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        for place, a in enumerate(boxes)
        for b in boxes[:place]
    ]
    assert all(apart)


def test_a_measure_that_is_undefined_leaves_a_gap(table, tmp_path):
    holes = table.copy()
    holes.loc[holes["severity"] == 3, "auc"] = np.nan
    write_robustness_figure(
        holes, tmp_path / "robustness.png", about="x", notice="SYNTHETIC PHANTOM DATA: no"
    )
    assert (tmp_path / "robustness.png").stat().st_size > 10_000


@pytest.mark.parametrize("lost", ["_low", "", "all"])
def test_a_measure_without_any_interval_or_value_still_has_a_scale(table, lost):
    holes = table.copy()
    names = [f"sensitivity{end}" for end in (("", "_low", "_high") if lost == "all" else (lost,))]
    holes[names] = np.nan
    with journal_style():
        figure = robustness_figure(holes, about="x", level=0.9)
    assert all(np.isfinite(ax.get_ylim()).all() for ax in figure.axes)
    assert any("band: 90% interval of cnn" in text.get_text() for text in figure.texts)
