"""Many comparisons: Holm's p values, those read off an interval, and the smallest gap that could be seen."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from clineval.statistics.intervals import Estimate
from clineval.statistics.multiplicity import holm, p_value_of, smallest_gap

R = json.loads((Path(__file__).parent / "reference" / "multiplicity.json").read_text())


def test_holms_p_values_are_rs():
    given = np.array([np.nan if each is None else each for each in R["p_value"]])
    expected = [np.nan if each is None else each for each in R["holm"]]
    assert holm(given) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_holms_p_values_are_those_of_testing_step_by_step():
    """The smallest p value first, each at alpha over the comparisons left, until one is not rejected."""
    random = np.random.default_rng(2)
    for _ in range(50):
        p_values = random.random(6) ** 3
        for alpha in (0.01, 0.05, 0.2):
            rejected, left = set(), list(range(6))
            while left:
                first = min(left, key=lambda place: p_values[place])
                if p_values[first] > alpha / len(left):
                    break
                rejected.add(first)
                left.remove(first)
            assert set(np.flatnonzero(holm(p_values) <= alpha)) == rejected


def test_one_comparison_stays_as_it_is_and_none_gives_none():
    assert holm([0.03]).tolist() == [0.03]
    assert holm([]).tolist() == []


@pytest.mark.parametrize(("low", "high", "below"), [(0.001, 0.3, True), (-0.001, 0.3, False)])
def test_a_p_value_is_below_five_percent_where_the_interval_excludes_0(low, high, below):
    assert (p_value_of(Estimate(0.1, low, high)) < 0.05) == below
    assert (p_value_of(Estimate(-0.1, -high, -low)) < 0.05) == below


def test_the_p_value_of_a_symmetric_interval_is_walds():
    assert p_value_of(Estimate(0.3, 0.1, 0.5)) == pytest.approx(2 * ndtr(-0.3 / (0.2 / 1.959963984540054)))
    assert p_value_of(Estimate(0.0, -0.2, 0.2)) == 1
    assert np.isnan(p_value_of(Estimate(0.3, np.nan, np.nan)))


def test_the_smallest_gap_is_found_in_eight_of_ten_samples():
    random = np.random.default_rng(4)
    error = 0.07
    gap = smallest_gap(Estimate(0.2, 0.2 - 1.959963984540054 * error, 0.2 + 1.959963984540054 * error))
    assert gap / error == pytest.approx(R["errors_found_with_80_percent_power"], abs=1e-9)
    found = random.normal(gap, error, 20_000)
    assert np.mean(np.abs(found) > 1.959963984540054 * error) == pytest.approx(0.8, abs=0.01)
