"""Subgroups: how a model does within each value of an attribute, and where the gap is widest."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.evaluation.populations import Cases
from clineval.evaluation.record import Point, SubgroupCell, SubgroupTable
from clineval.evaluation.scale import Scale
from clineval.predictions import attributes
from clineval.statistics import calibration, roc
from clineval.statistics.intervals import Estimate
from clineval.statistics.operating_point import operating_point

LEAST = 10
"""Events and non-events that a cell needs: with fewer an interval spans most of what is possible."""

MOST_VALUES = 20
"""Distinct values beyond which an attribute is no grouping; numbers are then cut at their quartiles."""

NOT_RECORDED = "not recorded"


def subgroup_tables(
    frame: pd.DataFrame, cases: Cases, points: tuple[Point, ...], scale: Scale
) -> tuple[SubgroupTable, ...]:
    """One table per attribute column, each cell with its intervals.

    Parameters
    ----------
    frame : the table that ``cases.rows`` points into.
    points : the thresholds that may be scored on these cases; the table takes the chosen one where it
        is defined, else one that the user gave, else one half.
    """
    point = _preferred(points)
    return tuple(
        _table(name, _cells(frame[name].iloc[cases.rows]), cases, point, scale) for name in attributes(frame)
    )


def _preferred(points: tuple[Point, ...]) -> Point:
    order = {"sensitivity_90": 0, "given": 1}
    return min(
        (point for point in points if point.threshold == point.threshold),
        key=lambda one: order.get(one.name, 2),
    )


def _cells(column: pd.Series) -> tuple[NDArray[np.intp], list[str]] | str:
    """Which value each case has, shape (n,), and the values in words; or why the attribute is no grouping."""
    codes, values = pd.factorize(column)
    if len(values) < 2 and (codes >= 0).all():
        return "every case has the same value"
    if len(values) <= MOST_VALUES:
        order = np.argsort(values)
        rank = np.append(np.argsort(order), len(values))  # code -1, a missing value, takes the last place
        return _with_missing(rank[codes], [_word(values[i]) for i in order])
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _quartiles(column.to_numpy(dtype=np.float64))
    return f"{len(values)} different values are too many to group by; at most {MOST_VALUES} are"


def _with_missing(codes: NDArray[np.intp], words: list[str]) -> tuple[NDArray[np.intp], list[str]]:
    return codes, [*words, NOT_RECORDED] if (codes == len(words)).any() else words


def _word(value: Any) -> str:
    """A value as text, whole numbers without a decimal point."""
    number = isinstance(value, (float, np.floating))
    return str(int(value)) if number and float(value).is_integer() else str(value)


def _quartiles(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], list[str]]:
    known = ~np.isnan(values)
    cuts = np.unique(np.quantile(values[known], [0.25, 0.5, 0.75]))
    edges = [_word(cut) for cut in cuts]
    words = [f"up to {edges[0]}", *(f"above {a} to {b}" for a, b in pairwise(edges)), f"above {edges[-1]}"]
    codes = np.where(known, np.searchsorted(cuts, values, side="left"), len(words))
    return _with_missing(codes, words)


def _table(
    attribute: str, cells: tuple[NDArray[np.intp], list[str]] | str, cases: Cases, point: Point, scale: Scale
) -> SubgroupTable:
    if isinstance(cells, str):
        return SubgroupTable(attribute, point.name, point.threshold, (), skipped=cells)
    codes, values = cells
    parts = [cases.select(np.flatnonzero(codes == code)) for code in range(len(values))]
    scored = tuple(
        _cell(value, part, point, scale) for value, part in zip(values, parts, strict=True) if len(part)
    )
    return SubgroupTable(attribute, point.name, point.threshold, scored, _largest_gaps(scored))


def _cell(value: str, cases: Cases, point: Point, scale: Scale) -> SubgroupCell:
    events = int(cases.outcome.sum())
    others = len(cases) - events
    if min(events, others) < LEAST:
        reason = f"{events} events and {others} non-events; fewer than {LEAST} of either support no estimate"
        return SubgroupCell(value, len(cases), events, suppressed=reason)
    return SubgroupCell(value, len(cases), events, dict(_measures(cases, point, scale)))


def _measures(cases: Cases, point: Point, scale: Scale) -> Iterator[tuple[str, Estimate]]:
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    scored = operating_point(cases.outcome, cases.risk, point.threshold, level=scale.level)
    yield "auc_logit", roc.auc_logit(cases.outcome, cases.risk, **plain)
    yield "sensitivity", scored.sensitivity
    yield "specificity", scored.specificity
    yield "calibration_intercept", calibration.calibration_intercept(cases.outcome, cases.risk, **plain)
    yield "observed_expected", calibration.observed_expected(cases.outcome, cases.risk, **plain)


def _largest_gaps(cells: tuple[SubgroupCell, ...]) -> Mapping[str, Mapping[str, Any]]:
    """Per measure the highest and lowest cell and their difference, where two cells have an estimate."""
    shown = [cell for cell in cells if cell.measures]
    gaps = {}
    for measure in shown[0].measures if shown else ():
        known = [(cell.measures[measure].value, cell.value) for cell in shown]
        known = [pair for pair in known if np.isfinite(pair[0])]
        if len(known) > 1:
            lowest, highest = min(known, key=lambda pair: pair[0]), max(known, key=lambda pair: pair[0])
            gaps[measure] = {"highest": highest[1], "lowest": lowest[1], "gap": highest[0] - lowest[0]}
    return gaps
