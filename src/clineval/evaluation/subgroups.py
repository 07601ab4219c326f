"""Subgroups: how a model does within each value of an attribute, and where the gap is widest."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.evaluation.columns import MOST_VALUES, ordered_columns
from clineval.evaluation.populations import Cases
from clineval.evaluation.record import Point, SubgroupCell, SubgroupTable
from clineval.evaluation.scale import Scale
from clineval.statistics import calibration, roc
from clineval.statistics.counting import Bools, flagged
from clineval.statistics.intervals import Estimate
from clineval.statistics.operating_point import operating_point
from clineval.statistics.parts import auc_of_part_less_rest, rate_of_part_less_rest

Codes = NDArray[np.intp]

LEAST = 10
"""Events and non-events that a cell needs: with fewer an interval spans most of what is possible."""

NOT_RECORDED = "not recorded"


def subgroup_tables(
    frame: pd.DataFrame,
    cases: Cases,
    points: tuple[Point, ...],
    scale: Scale,
    *,
    chosen: Sequence[str] = (),
) -> tuple[SubgroupTable, ...]:
    """One table per further column, each cell with its intervals and its difference from all other cases.

    Parameters
    ----------
    frame : the table that ``cases.rows`` points into.
    points : the thresholds that may be scored on these cases; the table takes the chosen one where it
        is defined, else one that the user gave, else one half.
    chosen : the columns to look at; by default all that ``ordered_columns`` finds fit. The others stand
        last, each with the reason.
    """
    point = _preferred(points)
    rows = frame.iloc[cases.rows]
    return tuple(
        SubgroupTable(name, point.name, point.threshold, (), skipped=reason)
        if reason
        else _table(name, _cells(rows[name]), cases, point, scale)
        for name, reason in ordered_columns(rows, chosen).items()
    )


def _preferred(points: tuple[Point, ...]) -> Point:
    order = {"sensitivity_90": 0, "given": 1}
    return min(
        (point for point in points if point.threshold == point.threshold),
        key=lambda one: order.get(one.name, 2),
    )


def _cells(column: pd.Series) -> tuple[Codes, list[str]]:
    """Which value each case has, shape (n,), and the values in words."""
    codes, values = pd.factorize(column)
    if len(values) > MOST_VALUES:
        return _quartiles(column.to_numpy(dtype=np.float64))
    order = np.argsort(values)
    rank = np.append(np.argsort(order), len(values))  # code -1, a missing value, takes the last place
    return _with_missing(rank[codes], [_word(values[i]) for i in order])


def _with_missing(codes: Codes, words: list[str]) -> tuple[Codes, list[str]]:
    return codes, [*words, NOT_RECORDED] if (codes == len(words)).any() else words


def _word(value: Any) -> str:
    """A value as text, whole numbers without a decimal point."""
    number = isinstance(value, (float, np.floating))
    return str(int(value)) if number and float(value).is_integer() else str(value)


def _quartiles(values: NDArray[np.float64]) -> tuple[Codes, list[str]]:
    known = ~np.isnan(values)
    cuts = np.unique(np.quantile(values[known], [0.25, 0.5, 0.75]))
    edges = _edges(cuts)
    words = [f"up to {edges[0]}", *(f"above {a} to {b}" for a, b in pairwise(edges)), f"above {edges[-1]}"]
    codes = np.where(known, np.searchsorted(cuts, values, side="left"), len(words))
    return _with_missing(codes, words)


def _edges(cuts: NDArray[np.float64]) -> list[str]:
    """Quartiles in words of six digits; in full where those would not tell them apart."""
    words = [f"{cut:.6g}" for cut in cuts]
    return words if len(set(words)) == len(words) else [_word(cut) for cut in cuts]


def _table(
    attribute: str, cells: tuple[Codes, list[str]], cases: Cases, point: Point, scale: Scale
) -> SubgroupTable:
    codes, values = cells
    scored = tuple(
        _cell(value, codes == code, cases, point, scale)
        for code, value in enumerate(values)
        if (codes == code).any()
    )
    return SubgroupTable(attribute, point.name, point.threshold, scored, _largest_gaps(scored))


def _cell(value: str, part: Bools, cases: Cases, point: Point, scale: Scale) -> SubgroupCell:
    inside = cases.select(np.flatnonzero(part))
    events = int(inside.outcome.sum())
    others = len(inside) - events
    if reason := _too_few(events, others):
        return SubgroupCell(value, len(inside), events, suppressed=reason)
    measures = dict(_measures(inside, point, scale))
    return SubgroupCell(value, len(inside), events, measures, dict(_differences(part, cases, point, scale)))


def _too_few(events: int, others: int) -> str:
    if min(events, others) >= LEAST:
        return ""
    return f"{events} events and {others} non-events; fewer than {LEAST} of either support no estimate"


def _measures(cases: Cases, point: Point, scale: Scale) -> Iterator[tuple[str, Estimate]]:
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    scored = operating_point(cases.outcome, cases.risk, point.threshold, **plain)
    yield "auc_logit", roc.auc_logit(cases.outcome, cases.risk, **plain)
    yield "sensitivity", scored.sensitivity
    yield "specificity", scored.specificity
    yield "calibration_intercept", calibration.calibration_intercept(cases.outcome, cases.risk, **plain)
    yield "observed_expected", calibration.observed_expected(cases.outcome, cases.risk, **plain)


def _differences(part: Bools, cases: Cases, point: Point, scale: Scale) -> Iterator[tuple[str, Estimate]]:
    """The cell less all other cases; none where those are too few to say anything."""
    rest = cases.outcome[~part]
    if _too_few(int(rest.sum()), int((~rest).sum())):
        return
    plain: dict[str, Any] = {"level": scale.level}
    yield "auc_logit", auc_of_part_less_rest(cases.outcome, cases.risk, part, group=cases.group, **plain)
    called = flagged(cases.risk, point.threshold)
    for name, side, right in (
        ("sensitivity", cases.outcome, called),
        ("specificity", ~cases.outcome, ~called),
    ):
        group = None if cases.group is None else cases.group[side]
        yield name, rate_of_part_less_rest(right[side], part[side], group=group, **plain)


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
