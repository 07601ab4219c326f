"""The report's own drawings: where values lie, what is left out, what is escaped."""

import math

import numpy as np
import pytest

from clineval.reporting import charts

FRAME = charts.Frame(charts.unit_axis("x"), charts.unit_axis("y"))


def test_the_corners_of_the_axes_are_the_corners_of_the_frame():
    assert FRAME.across(0) == charts.LEFT
    assert FRAME.across(1) == charts.WIDTH - charts.RIGHT
    assert FRAME.down(1) == pytest.approx(charts.TOP)
    assert FRAME.down(0) == charts.HEIGHT - charts.BOTTOM


def test_a_line_breaks_where_a_value_is_undefined_and_repeats_no_point():
    commands = charts.path(FRAME, [0, 0.5, 0.5, 0.7, 1], [0, 0.5, 0.5, math.nan, 1])
    assert commands.count("M") == 2
    assert commands.count("L") == 1


def test_a_band_skips_undefined_bounds():
    x = np.array([0.0, 0.5, 1.0])
    assert charts.area(FRAME, x, np.full(3, np.nan), np.full(3, np.nan), css="m0") == ""
    assert charts.area(FRAME, x, x, x, css="m0").count("L") >= 2


@pytest.mark.parametrize(("low", "high"), [(0, 0.013), (-0.4, 1.7), (0, 1), (-3, 250_000)])
def test_axes_get_a_handful_of_round_ticks_inside_their_range(low, high):
    ticks = charts.axis_over("name", low, high).ticks
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-9 <= value <= high + 1e-9 for value, _ in ticks)


def test_names_are_escaped():
    drawing = charts.draw(FRAME, [], key="k", title="<b>&", description='"')
    assert "<b>" not in drawing
    assert "&lt;b&gt;&amp;" in drawing


def test_the_largest_value_overlooks_what_is_undefined():
    assert charts.largest(np.array([np.nan, 2.0]), np.array([np.inf]), least=1.0) == 2.0
    assert charts.largest(np.array([np.nan]), least=0.1) == 0.1
