"""Models beside readers: a column of the table holds what a reader said of each case."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.errors import InputError, option
from clineval.evaluation.operating_points import GUARANTEED, points_for
from clineval.evaluation.populations import Cases, Population
from clineval.evaluation.records import (
    AgainstOneReader,
    AtPoint,
    Category,
    CountLine,
    InCategory,
    Point,
    ReaderPoint,
    ReaderRoc,
    ReaderScores,
    Scale,
    Together,
    TriageCurve,
)
from clineval.settings import BesideReaders
from clineval.statistics.auc import auc, auc_difference_by_logit, auc_logit, compare_auc
from clineval.statistics.counts import flagged, group_codes
from clineval.statistics.intervals import Estimate, few_groups, grouped_rate, shared_groups, without_bounds
from clineval.statistics.model_and_reader import (
    NonInferiority,
    at_cuts,
    at_reader,
    joint_reading_curve,
    joint_readings,
    kappa,
    non_inferiority,
    ordinal_levels,
    within_category,
)
from clineval.statistics.roc import roc_curve
from clineval.tables.reader_study import cut_in, scaled

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST_CATEGORIES = 12  # different ratings up to which they count as categories
STEPS = 40  # of the triage curve, at equal shares of the cases
CURVE = {
    "read": "AI first",
    "lost": "AI first",
    "spared": "AI first",
    "gained": "second reader",
    "added": "second reader",
}  # which count of the triage curve belongs to which way of reading together


@dataclass(frozen=True)
class ReaderColumn:
    """One reader: the column, the ratings of the table's rows as numbers, and from which one the reader acts.

    ``words``: each rating as the table has it. ``category``: the ratings in which a model may decide alone.
    """

    column: str
    rating: Floats
    words: Mapping[float, str]
    cut: float | None
    at: str
    category: tuple[float, ...]


def reader_columns(
    table: pd.DataFrame, parts: Iterable[Population], asked: BesideReaders
) -> tuple[ReaderColumn, ...]:
    """The readings that were asked for, checked on every case that is to be scored.

    Raises
    ------
    InputError : a column is not there, a case was not read, a rating is neither a number nor in the order, a
        case has two readings, or the reader gave one rating throughout; row and column are named.
    """
    check_readers(asked, map(str, table.columns))
    rows = np.unique(
        np.concatenate([each.rows for part in parts if not part.used_for for each in part.models.values()])
    )
    return tuple(_column(table, rows, spec, asked) for spec in dict.fromkeys(asked.readers))


def check_readers(asked: BesideReaders, columns: Iterable[str]) -> None:
    """Refuse a reader whose column is not there, a cut without a value, and shares that are none."""
    there = list(columns)
    for spec in asked.readers:
        column, acts, cut = _parts(spec)
        if column not in there or (acts and not cut):
            raise InputError(
                f"{_named()} needs a column of the table, or one with a cut such as 'BIRADS>=4'; got "
                f"{spec!r}. The table has {', '.join(there)}."
            )
    for name in ("prevalence", "acting_threshold"):
        value = getattr(asked, name)
        if value is not None and not 0 < value < 1:
            asked_as = option(f"--{name.replace('_', '-')}")
            raise InputError(f"{asked_as} needs a number between 0 and 1; got {value:g}.")


def _named() -> str:
    return option("--reader", "readers")


def _parts(spec: str) -> tuple[str, str, str]:
    column, acts, cut = (part.strip() for part in spec.partition(">="))
    return column, acts, cut


def _column(table: pd.DataFrame, rows: NDArray[np.int64], spec: str, asked: BesideReaders) -> ReaderColumn:
    column, acts, cut = _parts(spec)
    texts = np.array([_text(cell) for cell in table[column].iloc[rows]])

    def place(index: int) -> str:
        return f"Row {int(rows[index]) + 1}, column {column!r}"

    if (empty := np.flatnonzero(texts == "")).size:
        raise InputError(
            f"{place(int(empty[0]))}: expected a reading of every case that is scored, got nothing in "
            f"{len(empty)} rows. Fill the cells, or take these cases out."
        )
    rating = np.full(len(table), np.nan)
    rating[rows] = scaled(texts, order=asked.order, place=place)
    _one_reading_per_case(table, rows, rating, place)
    if np.ptp(rating[rows]) == 0:
        raise InputError(
            f"{place(0)}: expected different ratings, got {str(texts[0])!r} in all {len(rows)} rows."
        )
    words = dict(zip(rating[rows].tolist(), texts.tolist(), strict=True))
    at = cut_in(cut, order=asked.order, option=_named()) if acts else None
    if at is not None and len(set((rating[rows] >= at).tolist())) == 1:
        reached = "every" if rating[rows][0] >= at else "no"
        raise InputError(
            f"{_named()} {spec}: {reached} rating reaches the cut {cut}; ratings go from "
            f"{words[min(words)]} to {words[max(words)]}. Choose another cut."
        )
    return ReaderColumn(column, rating, words, at, cut, _category(words, at, asked))


def _text(cell: object) -> str:
    """A cell as it was typed; a whole number without the .0 that a column of numbers gives it."""
    if cell is None or cell is pd.NA or cell != cell:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _one_reading_per_case(
    table: pd.DataFrame, rows: NDArray[np.int64], rating: Floats, place: Callable[[int], str]
) -> None:
    """A table has a row per model and case; what a reader said of a case must be the same in each."""
    about = table.iloc[rows]
    first = pd.Series(rating[rows]).groupby([about["split"].to_numpy(), about["case"].to_numpy()])
    odd = np.flatnonzero(first.transform("first").to_numpy() != rating[rows])
    if odd.size:
        case = about["case"].iloc[odd[0]]
        raise InputError(
            f"{place(int(odd[0]))}: expected one reading of case {str(case)!r}, got another beside another "
            "model. A second reader needs a column of its own."
        )


def _category(words: Mapping[float, str], cut: float | None, asked: BesideReaders) -> tuple[float, ...]:
    """The ratings named by the user, else the lowest one at which the reader acts, among few."""
    if asked.category:
        named = option("--reader-category", "category")
        return tuple(cut_in(each, order=asked.order, option=named) for each in asked.category)
    acted = [value for value in words if cut is not None and value >= cut]
    return (min(acted),) if acted and len(words) <= MOST_CATEGORIES else ()


def beside_readers(
    columns: Sequence[ReaderColumn],
    parts: Iterable[Population],
    frozen: Mapping[str, Sequence[Point]],
    asked: BesideReaders,
    scale: Scale,
) -> dict[str, dict[str, ReaderScores]]:
    """Each reader on each population kept for testing, and every model beside each.

    Parameters
    ----------
    frozen : the thresholds of each model; those that may be scored on a population are.
    """
    return {
        part.name: {
            column.column: replace(
                _reader(column, part, frozen, asked, scale),
                agreement=_agreement(column, columns, part, scale.level),
            )
            for column in columns
        }
        for part in parts
        if not part.used_for
    }


def _reader(
    column: ReaderColumn,
    part: Population,
    frozen: Mapping[str, Sequence[Point]],
    asked: BesideReaders,
    scale: Scale,
) -> ReaderScores:
    first = next(iter(part.models.values()))
    reading, outcome = column.rating[first.rows], first.outcome
    both = 0 < outcome.sum() < len(outcome)
    line = roc_curve(outcome, reading) if both else None
    against = {
        model: _against(cases, column, _points(part, model, frozen), asked, scale)
        for model, cases in part.models.items()
    }
    return ReaderScores(
        auc=auc(outcome, reading, group=first.group, level=scale.level),
        auc_logit=auc_logit(outcome, reading, group=first.group, level=scale.level),
        cases=len(first),
        events=int(outcome.sum()),
        categories=_categories(column, reading, outcome),
        roc=None if line is None else ReaderRoc(1 - line.specificity, line.sensitivity),
        cut=None if column.cut is None else _at_cut(column, reading, first, scale.level),
        against=against,
        together=tuple(_together(column, part, frozen, asked, scale))
        if both and column.cut is not None
        else (),
    )


def _agreement(
    column: ReaderColumn, columns: Sequence[ReaderColumn], part: Population, level: float
) -> dict[str, Estimate]:
    """Weighted kappa with each further reader whose ratings are of the same scale: two or more in common."""
    cases = next(iter(part.models.values()))
    own, found = column.rating[cases.rows], {}
    for other in columns:
        theirs = other.rating[cases.rows]
        levels = ordinal_levels(np.concatenate([own, theirs]))
        if other.column != column.column and levels is not None and len(np.intersect1d(own, theirs)) > 1:
            found[other.column] = kappa(
                own, theirs, weights="quadratic", categories=levels, group=cases.group, level=level
            )
    return found


def _points(part: Population, model: str, frozen: Mapping[str, Sequence[Point]]) -> list[Point]:
    return [point for point in points_for(part.name, frozen[model]) if not np.isnan(point.threshold)]


def _categories(column: ReaderColumn, reading: Floats, outcome: Bools) -> tuple[Category, ...]:
    values = np.unique(reading)
    if len(values) > MOST_CATEGORIES:
        return ()
    return tuple(
        Category(column.words[value], int((reading == value).sum()), int(outcome[reading == value].sum()))
        for value in values.tolist()
    )


def _at_cut(column: ReaderColumn, reading: Floats, cases: Cases, level: float) -> ReaderPoint:
    acts, outcome = flagged(reading, float(column.cut or 0)), cases.outcome
    code, few = group_codes(cases.group, len(cases)), few_groups(shared_groups(cases.group, len(cases)))

    def share(right: Bools, of: Bools, reason: str) -> Estimate:
        return without_bounds(grouped_rate(right[of], code[of], reason=reason, level=level), few)

    return ReaderPoint(
        at=column.at,
        value=float(column.cut or 0),
        true_positives=int((acts & outcome).sum()),
        false_positives=int((acts & ~outcome).sum()),
        false_negatives=int((~acts & outcome).sum()),
        true_negatives=int((~acts & ~outcome).sum()),
        sensitivity=share(acts, outcome, "no case has the condition"),
        specificity=share(~acts, ~outcome, "every case has the condition"),
        ppv=share(outcome, acts, "the reader acts on no case"),
        npv=share(~outcome, ~acts, "the reader acts on every case"),
    )


def _against(
    cases: Cases, column: ReaderColumn, points: Sequence[Point], asked: BesideReaders, scale: Scale
) -> AgainstOneReader:
    outcome, risk, reading = cases.outcome, cases.risk, column.rating[cases.rows]
    group, level = cases.group, scale.level
    ranking = compare_auc(outcome, risk, reading, group=group, level=level)
    bound = auc_difference_by_logit(outcome, risk, reading, group=group, level=level)
    met = _margin(asked, "auc", ranking.difference, bound=bound)
    if column.cut is None or not 0 < outcome.sum() < len(outcome):
        return AgainstOneReader(ranking, met)
    return AgainstOneReader(
        auc=ranking,
        non_inferiority=met,
        at_reader=at_reader(
            outcome,
            risk,
            reading,
            cut=column.cut,
            group=group,
            draws=scale.draws,
            seed=scale.seed,
            level=level,
        ),
        points=tuple(_at_point(cases, reading, column.cut, point, asked, level) for point in points),
        within=_within(cases, column, points, level),
        curve=_curve(cases, reading, column.cut, asked, level),
    )


def _margin(
    asked: BesideReaders, measure: str, difference: Estimate, *, bound: Estimate | None = None
) -> NonInferiority | None:
    margin = asked.margins.get(measure)
    return None if margin is None else non_inferiority(difference, margin=margin, bound=bound)


def _at_point(
    cases: Cases, reading: Floats, cut: float, point: Point, asked: BesideReaders, level: float
) -> AtPoint:
    found = at_cuts(
        cases.outcome,
        cases.risk,
        reading,
        threshold=point.threshold,
        cut=cut,
        group=cases.group,
        level=level,
    )
    differences = {
        "sensitivity": found.rates.sensitivity.difference,
        "specificity": found.rates.specificity.difference,
    }
    met = {name: _margin(asked, name, difference) for name, difference in differences.items()}
    kept = {name: each for name, each in met.items() if each is not None}
    return AtPoint(point.name, point.threshold, point.chosen_on, found, kept)


def _within(cases: Cases, column: ReaderColumn, points: Sequence[Point], level: float) -> InCategory | None:
    if not column.category:
        return None
    inside = np.isin(column.rating[cases.rows], column.category)
    chosen = cases.select(inside)
    name = ", ".join(column.words.get(value, f"{value:g}") for value in column.category)
    found = {
        point.name: within_category(
            cases.outcome,
            cases.risk,
            inside,
            threshold=point.threshold,
            group=cases.group,
            level=level,
        )
        for point in points
    }
    own = auc_logit(chosen.outcome, chosen.risk, group=chosen.group, level=level)
    return InCategory(name, len(chosen), int(chosen.outcome.sum()), own, found)


def _curve(cases: Cases, reading: Floats, cut: float, asked: BesideReaders, level: float) -> TriageCurve:
    thresholds = np.unique(np.quantile(cases.risk, np.linspace(0, 1, STEPS + 1), method="inverted_cdf"))
    rows = joint_reading_curve(
        cases.outcome,
        cases.risk,
        reading,
        thresholds=thresholds,
        cut=cut,
        prevalence=asked.prevalence,
        group=cases.group,
        level=level,
        strategies=set(CURVE.values()),
    )
    at = [{each.strategy: each for each in row} for row in rows]
    lines = {name: _line([getattr(each[way], name) for each in at]) for name, way in CURVE.items()}
    return TriageCurve(threshold=thresholds, **lines)


def _line(estimates: Sequence[Estimate]) -> CountLine:
    value, low, high = (
        np.array([getattr(each, name) for each in estimates]) for name in ("value", "low", "high")
    )
    return CountLine(value, low, high)


def _decides(point: Point) -> bool:
    """Whether cases below the threshold would be left alone: not one half, nor one that rules in."""
    return point.chosen_on != "fixed" and not point.name.startswith(f"{GUARANTEED}specificity")


def _together(
    column: ReaderColumn,
    part: Population,
    frozen: Mapping[str, Sequence[Point]],
    asked: BesideReaders,
    scale: Scale,
) -> Iterator[Together]:
    """Every way of combining, at the thresholds by which a model would decide; one half where it has none."""
    for model, cases in part.models.items():
        points = _points(part, model, frozen)
        reading = column.rating[cases.rows]
        for point in [each for each in points if _decides(each)] or points:
            rows = joint_readings(
                cases.outcome,
                cases.risk,
                reading,
                threshold=point.threshold,
                cut=float(column.cut or 0),
                prevalence=asked.prevalence,
                acting_threshold=asked.acting_threshold,
                category=np.isin(reading, column.category) if column.category else None,
                group=cases.group,
                level=scale.level,
            )
            for row in rows:
                yield Together(**vars(row), model=model, point=point.name)
