"""Many comparisons at once: p values corrected for their number, and the differences that they could see."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from clineval.statistics.intervals import Estimate, normal_quantile

Floats = NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)
POWER = 0.8  # with which the smallest gap would have been found


@dataclass(frozen=True)
class GapTest:
    """Whether a subgroup differs from all other cases, and how small a difference would have been seen.

    ``p_holm`` is ``p_value`` corrected for all ``comparisons`` of this measure in the population; a column
    of two values is one comparison. ``smallest_gap`` is the true difference that would be found with 80 %
    power, in the measure's own units and without that correction.
    """

    p_value: float
    p_holm: float
    comparisons: int
    smallest_gap: float


def p_value_of(difference: Estimate) -> float:
    """The two-sided p value of a difference, read off its interval: below 1 - level where that excludes 0.

    The reach of the interval towards 0 is taken for normal. NaN where there is no interval.

    >>> round(p_value_of(Estimate(0.1, 0.0, 0.25)), 3)
    0.05
    """
    bound = difference.low if difference.value > 0 else difference.high
    if not np.isfinite(bound):
        return np.nan
    if difference.value == 0:
        return 1.0
    reach = abs(difference.value - bound)
    errors = normal_quantile(difference.level) * abs(difference.value) / reach if reach > 0 else np.inf
    return float(2 * ndtr(-errors))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's p values, shape (k,): below alpha for any false alarm among all k with probability below alpha.

    Holm 1979, Scand J Stat 6:65-70. Those that are NaN stay NaN and are no comparison.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values)[: np.count_nonzero(~np.isnan(p_values))]
    adjusted = np.full(len(p_values), np.nan)
    left = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(left * p_values[order]), 1.0)
    return adjusted


def smallest_gap(difference: Estimate, *, power: float = POWER) -> float:
    """The true difference that cases like these would show, with this power and one comparison alone.

    (z of the level + z of the power) standard errors; the standard error is half the interval over z. NaN
    where there is no interval.

    >>> round(smallest_gap(Estimate(0.0, -0.196, 0.196)), 3)
    0.28
    """
    reach = normal_quantile(difference.level)
    return float((reach + ndtri(power)) * (difference.high - difference.low) / (2 * reach))


def gap_tests(
    gaps: Mapping[Name, Mapping[str, Estimate]], *, mirrored: Mapping[Name, Name]
) -> dict[Name, dict[str, GapTest]]:
    """What each difference shows, its p value corrected by Holm for all differences of its measure.

    Parameters
    ----------
    gaps : by subgroup and measure, the subgroup less all other cases.
    mirrored : of two subgroups that are each other's other cases the second, and the first, which counts.
    """
    tests: dict[Name, dict[str, GapTest]] = {name: {} for name in gaps}
    for measure in dict.fromkeys(each for found in gaps.values() for each in found):
        of = {name: found[measure] for name, found in gaps.items() if measure in found}
        p_value = {name: p_value_of(gap) for name, gap in of.items()}
        family = [name for name in of if name not in mirrored and not np.isnan(p_value[name])]
        adjusted = dict(zip(family, holm([p_value[name] for name in family]).tolist(), strict=True))
        for name, gap in of.items():
            corrected = adjusted.get(mirrored.get(name, name), np.nan)
            tests[name][measure] = GapTest(p_value[name], corrected, len(family), smallest_gap(gap))
    return tests
