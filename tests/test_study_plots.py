"""Case mix at home and elsewhere as a figure: what it draws, by its lines and labels."""

import numpy as np
import pytest
from transport_content import content

from clineval.reporting.study_plots import draw_grey, draw_risks, write_case_mix
from clineval.reporting.style import journal_style, new_figure


@pytest.fixture
def ax():
    with journal_style():
        _, (ax,) = new_figure()
        yield ax


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


@pytest.mark.parametrize("drops", [True, False], ids=["beside test cases", "without any"])
def test_the_figure_is_written_with_and_without_internal_test_cases(tmp_path, drops):
    write_case_mix(content(tested=drops), tmp_path / "case_mix.png", notice="SYNTHETIC PHANTOM DATA: no")
    assert (tmp_path / "case_mix.png").stat().st_size > 10_000
