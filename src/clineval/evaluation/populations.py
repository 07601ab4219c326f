"""Populations and subgroups: rows as outcome and risk per model, and the rates of parts beside the rest."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.errors import InputError, in_short, option
from clineval.evaluation.records import Point, Scale, SubgroupCell, SubgroupTable
from clineval.predictions import (
    MEMBER_COLUMNS,
    OUT_OF_FOLD,
    SCORE,
    TEST,
    TRAIN,
    VAL,
    attributes,
    codes_of,
    encode,
    ranked_by,
)
from clineval.statistics import calibration, roc
from clineval.statistics.counts import Bools, flagged
from clineval.statistics.differences import auc_of_part_less_rest, gap_tests, rate_of_part_less_rest
from clineval.statistics.intervals import Estimate, undefined
from clineval.statistics.operating_point import operating_point
from clineval.tables.own_table import left_out, names_patients

TEST_CLEAN = "test_clean"

MOST_COMPARED = 12
"""Models up to which every two are compared (66 pairs); of more each is compared with the primary one."""

USED_FOR = {
    VAL: "development: early stopping, recalibration or thresholds may rest on these cases",
    OUT_OF_FOLD: "development: models were built on these cases, each scored by members that never saw it",
}
"""What a population was used for before it was scored; the others were kept for testing."""


@dataclass(frozen=True)
class Cases:
    """The rows of one model in one population.

    Attributes
    ----------
    outcome, risk : shape (n,), bool and float64 in [0, 1].
    case : codes of the cases, shape (n,); equal codes are the same case.
    group : codes of the groups, shape (n,), or None where every case stands for itself.
    rows : where the cases stand in the table, shape (n,).
    ranking : whether ``risk`` holds scores of any range, which rank cases and say no more.
    """

    outcome: NDArray[np.bool_]
    risk: NDArray[np.float64]
    case: NDArray[np.int32]
    group: NDArray[np.int32] | None
    rows: NDArray[np.int64]
    ranking: bool = False

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def groups(self) -> int:
        """Number of independent groups."""
        return len(self) if self.group is None else len(np.unique(self.group))

    def select(self, chosen: NDArray[np.generic]) -> "Cases":
        """The cases of a mask or of indices; groups that hold one case each are dropped."""
        group = None if self.group is None else self.group[chosen]
        return Cases(
            self.outcome[chosen],
            self.risk[chosen],
            self.case[chosen],
            _shared(group),
            self.rows[chosen],
            self.ranking,
        )


@dataclass(frozen=True)
class Population:
    """Cases of one split per model, in one order wherever the models were scored on the same ones.

    ``used_for`` is empty where the cases were kept for testing; ``removed`` counts the test cases that
    ``test_clean`` leaves out; ``shared`` the cases kept and those of each model, where only shared
    ones were asked for and some were not.
    """

    name: str
    used_for: str
    models: Mapping[str, Cases]
    removed: int | None = None
    shared: Mapping[str, int] | None = None

    def pairs(self, primary: str | None = None) -> Iterator[tuple[str, str, Cases, Cases]]:
        """Every two models that were scored on the same cases; of many models those with the primary one."""
        for first, second in combinations(self.models, 2):
            if len(self.models) > MOST_COMPARED and primary not in (first, second):
                continue
            one, other = self.models[first], self.models[second]
            if np.array_equal(one.case, other.case):
                yield first, second, one, other


def populations(frame: pd.DataFrame, *, shared_cases_only: bool = False) -> tuple[Population, ...]:
    """Every split of a checked table but ``train`` as a population, and ``test_clean`` beside ``test``.

    ``test_clean`` is given where the table has groups and rows of development data: without either
    it is not known which test cases have a near-duplicate there. Tests and external cohorts come first.

    Parameters
    ----------
    frame : as ``check_predictions`` gives it, one row per model, split and case.
    shared_cases_only : score models that were given different cases on those they share.

    Raises
    ------
    InputError : two models were scored on different cases of a population kept for testing.
    """
    columns = _Columns.of(frame)
    _refuse_reserved(columns)
    built = [_population(columns, split) for split in _in_reading_order(columns.splits)]
    aligned = [_aligned(one, columns, shared_cases_only=shared_cases_only) for one in built]
    clean = _test_clean(aligned, columns)
    return tuple(part for one in aligned for part in ((one, clean) if one.name == TEST and clean else (one,)))


@dataclass(frozen=True)
class _Columns:
    """The table as codes and what they stand for; text is compared once, here."""

    model: NDArray[np.int32]
    models: list[str]
    split: NDArray[np.int32]
    splits: list[str]
    case: NDArray[np.int32]
    group: NDArray[np.int32] | None
    outcome: NDArray[np.bool_]
    risk: NDArray[np.float64]
    names: pd.Series
    ranking: bool

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "_Columns":
        model, models = encode(frame["model"])
        split, splits = encode(frame["split"])
        return cls(
            model,
            models,
            split,
            splits,
            codes_of(frame["case"]),
            codes_of(frame["group"]) if "group" in frame else None,
            frame["outcome"].to_numpy(),
            frame[ranked_by(frame)].to_numpy(),
            frame["case"],
            ranked_by(frame) == SCORE,
        )

    def cases(self, rows: NDArray[np.int64]) -> Cases:
        group = None if self.group is None else self.group[rows]
        return Cases(self.outcome[rows], self.risk[rows], self.case[rows], _shared(group), rows, self.ranking)


def without_repeats(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per model, split and case: where seeds or folds repeat a case its risks are averaged.

    A table with seeds or folds is scored as the mean of its members, which is how an ensemble is used.
    """
    if not any(name in frame for name in MEMBER_COLUMNS):
        return frame
    keys = [codes_of(frame[name]) for name in ("model", "split", "case")]
    code, _ = pd.factorize(pd.MultiIndex.from_arrays(keys))
    once = frame.drop(columns=[name for name in MEMBER_COLUMNS if name in frame])
    first = np.flatnonzero(~pd.Series(code).duplicated().to_numpy())
    if len(first) == len(frame):
        return once
    ranked = ranked_by(frame)
    mean = np.bincount(code, weights=frame[ranked]) / np.bincount(code)
    # Rounding may lift a mean of ones a hair above 1.
    mean = mean if ranked == SCORE else np.clip(mean, 0, 1)
    return once.iloc[first].assign(**{ranked: mean}).reset_index(drop=True)


def _refuse_reserved(columns: _Columns) -> None:
    if TEST_CLEAN in columns.splits:
        row = int(np.argmax(columns.split == columns.splits.index(TEST_CLEAN)))
        raise InputError(
            f"Row {row + 1}, column 'split': the name {TEST_CLEAN!r} is kept for the test cases "
            "without a near-duplicate in development data, which are found by group; rename the split."
        )


def _in_reading_order(splits: list[str]) -> list[str]:
    kept = [name for name in splits if name not in (TRAIN, TEST, *USED_FOR)]
    scored = [TEST, *kept, OUT_OF_FOLD, VAL]
    return [name for name in scored if name in splits]


def _population(columns: _Columns, split: str) -> Population:
    rows = np.flatnonzero(columns.split == columns.splits.index(split))
    model = columns.model[rows]
    order = np.argsort(model, kind="stable")
    ends = np.searchsorted(model[order], np.arange(len(columns.models) + 1))
    parts = {name: rows[order[ends[code] : ends[code + 1]]] for code, name in enumerate(columns.models)}
    models = {name: columns.cases(part) for name, part in parts.items() if len(part)}
    return Population(split, USED_FOR.get(split, ""), models)


def _aligned(population: Population, columns: _Columns, *, shared_cases_only: bool) -> Population:
    """The same population with the cases of all models in the order of the first."""
    names = list(population.models)
    first = population.models[names[0]]
    ordered = {names[0]: first, **{name: _ordered_as(first, population.models[name]) for name in names[1:]}}
    odd = next((name for name in names[1:] if not np.array_equal(ordered[name].case, first.case)), None)
    if odd is None or population.used_for:
        return replace(population, models=ordered)
    if not shared_cases_only:
        raise _different_cases(population, names[0], odd, columns)
    return _shared_part(replace(population, models=ordered))


def _ordered_as(reference: Cases, given: Cases) -> Cases:
    """``given`` in the order of ``reference``: shared cases first, the others after them."""
    if np.array_equal(reference.case, given.case):
        return given
    place = np.full(int(max(reference.case.max(), given.case.max())) + 1, len(reference), dtype=np.int64)
    place[reference.case] = np.arange(len(reference))
    return given.select(np.argsort(place[given.case], kind="stable"))


def _shared_part(population: Population) -> Population:
    shared = next(iter(population.models.values())).case
    for cases in population.models.values():
        shared = shared[np.isin(shared, cases.case)]
    if not len(shared):
        raise InputError(
            f"The models share no case of {population.name!r}, so there is nothing to compare them on."
        )
    kept = {name: cases.select(np.isin(cases.case, shared)) for name, cases in population.models.items()}
    counts = {"kept": len(shared), **{name: len(cases) for name, cases in population.models.items()}}
    return replace(population, models=kept, shared=counts)


def _different_cases(population: Population, first: str, second: str, columns: _Columns) -> InputError:
    one, other = population.models[first], population.models[second]
    shared = int(np.isin(one.case, other.case).sum())
    alone, owner, lacking = (one, first, second) if shared < len(one) else (other, second, first)
    fellow = other if alone is one else one
    row = int(alone.rows[~np.isin(alone.case, fellow.case)][0])
    name, split = columns.names.iloc[row], population.name
    return InputError(
        f"Row {row + 1}, column 'case': {name!r} of split {split!r} was scored by model {owner!r} but not by "
        f"{lacking!r} ({first!r} has {len(one)} cases, {second!r} {len(other)}, {shared} shared). "
        "Give both models the same cases, or compare them on the shared ones with "
        f"{option('--shared-cases-only', 'shared_cases_only=True')}."
    )


def _test_clean(aligned: list[Population], columns: _Columns) -> Population | None:
    test = next((one for one in aligned if one.name == TEST), None)
    codes = [columns.splits.index(name) for name in (TRAIN, VAL, OUT_OF_FOLD) if name in columns.splits]
    if test is None or columns.group is None or not codes:
        return None
    used = np.zeros(int(columns.group.max()) + 1, dtype=np.bool_)
    used[columns.group[np.isin(columns.split, codes)]] = True
    models = {name: cases.select(~used[columns.group[cases.rows]]) for name, cases in test.models.items()}
    models = {name: cases for name, cases in models.items() if len(cases)}
    removed = len(next(iter(test.models.values()))) - len(next(iter(models.values()))) if models else None
    return Population(TEST_CLEAN, "", models, removed) if models else None


def ungrouped_column(table: pd.DataFrame) -> str | None:
    """Where no column groups the cases, one of patients, or identifying people, whose values repeat."""
    naming = {name for name in attributes(table) if names_patients(name)}
    asked = sorted({*left_out(attributes(table)), *naming})
    if "group" in table or not asked:
        return None
    split = table["split"].replace({OUT_OF_FOLD: TRAIN})  # the same cases
    once = table[["case", *asked]].assign(split=split).drop_duplicates(["split", "case"])
    values = {name: once[name].dropna() for name in asked}
    repeated = {name: column.nunique() for name, column in values.items() if column.duplicated().any()}
    return max(repeated, key=lambda name: (name in naming, repeated[name]), default=None)


def _shared(group: NDArray[np.int32] | None) -> NDArray[np.int32] | None:
    """The groups, or None where none holds more than one case: then a case is its own group."""
    if group is None or not len(group):
        return None
    return group if np.bincount(group - group.min()).max() > 1 else None


MOST_VALUES = 20
"""Distinct values beyond which a column is no grouping; numbers are then cut at their quartiles."""

CLINICAL = (
    {"device", "scanner", "manufacturer", "vendor", "machine", "probe", "transducer"},
    {"site", "hospital", "centre", "center", "institution", "clinic", "operator"},
    {"birads", "density", "acr"},
    {"side", "laterality", "breast", "view", "quadrant"},
    {"age", "sex", "gender", "ethnicity", "race", "menopausal", "menopause"},
    {"symptom", "symptoms", "symptomatic", "palpable", "indication", "screening"},
)
"""Words in the names of columns that are asked for first, in this order."""

GEOMETRY = frozenset(
    {"width", "height", "rows", "columns", "cols", "w", "h", "x", "y", "x1", "x2", "y1", "y2"}
    | {"xmin", "xmax", "ymin", "ymax", "left", "top", "right", "bottom", "size", "resolution", "dpi"}
    | {"bbox", "box", "bounding", "roi", "polygon", "mask", "contour", "pixel", "pixels", "px"}
    | {"image", "img", "picture", "original", "file", "filename", "path", "url", "bytes", "hash", "md5"}
)
"""Words of which a name that speaks of the image file, and of nothing else, is made."""

MEANS_MORE = frozenset({"original", "left", "right", "top", "bottom", "size", "mask"})
"""Words of ``GEOMETRY`` that may speak of the patient where they stand alone."""

MOST_TABLES = 30
"""Columns that make subgroups where none was chosen: more tables find a gap in one by chance alone."""

TOO_MANY = f"more than {MOST_TABLES} columns can group cases; choose this one with --attribute"
NOT_CHOSEN = "not among the columns that were chosen"
FILE_ONLY = "named for the image file, not for the patient"
NAMES_CASES = "a whole number of its own in each case, which names cases and groups none"


def ordered_columns(cases: pd.DataFrame, chosen: Sequence[str] = ()) -> dict[str, str]:
    """The columns beyond the contract, each with why it makes no subgroups; empty where it does.

    Chosen ones come first, in the order chosen; else those of ``CLINICAL``, other categories, numbers that
    are cut at their quartiles, and last what is left out.

    Parameters
    ----------
    cases : rows of a table as ``check_predictions`` gives it, one per case.

    Raises
    ------
    InputError : a chosen column is not in the table.
    """
    there = attributes(cases)
    check_chosen(chosen, there)
    if chosen:
        rest = [name for name in there if name not in chosen]
        return {**{name: _ungrouped(cases[name]) for name in chosen}, **dict.fromkeys(rest, NOT_CHOSEN)}
    columns: dict[str, pd.Series] = {name: cases[name] for name in there}
    reasons = {name: _left_out(name, column) for name, column in columns.items()}
    order = sorted(there, key=lambda name: (bool(reasons[name]), *_rank(name, columns[name])))
    return {
        name: reasons[name] or (TOO_MANY if place >= MOST_TABLES else "") for place, name in enumerate(order)
    }


def check_chosen(chosen: Iterable[str], there: Sequence[str]) -> None:
    """Refuse an unknown column."""
    for name in chosen:
        if name not in there:
            known = in_short(list(there)) or "none"
            asked = option("--attribute", "attributes")
            raise InputError(
                f"{asked} needs one of the table's further columns ({known}); got {name!r}, which is not "
                "there or serves as image, outcome or group."
            )


def _left_out(name: str, column: pd.Series) -> str:
    words = _words(name)
    if words and words <= GEOMETRY and not (len(words) == 1 and words <= MEANS_MORE):
        return FILE_ONLY
    return _ungrouped(column) or _naming(column)


def _ungrouped(column: pd.Series) -> str:
    """Why the values of a column make no groups; empty where they can."""
    distinct = column.nunique()
    if not distinct:
        return "no case has a value"
    if distinct < 2 and column.notna().all():
        return "every case has the same value"
    if distinct > MOST_VALUES and not _numeric(column):
        return f"{distinct} different values are too many to group by; at most {MOST_VALUES} are"
    if distinct > MOST_VALUES and np.isinf(column.to_numpy(dtype=np.float64)).any():
        return "infinite values have no quartiles to be cut at"
    return ""


def _naming(column: pd.Series) -> str:
    if column.nunique() < max(len(column), MOST_VALUES + 1) or not _numeric(column):
        return ""
    values = column.to_numpy(dtype=np.float64)
    return NAMES_CASES if (values == np.round(values)).all() else ""


def _rank(name: str, column: pd.Series) -> tuple[int, bool]:
    words = _words(name)
    place = next((place for place, known in enumerate(CLINICAL) if words & known), len(CLINICAL))
    return place, _numeric(column) and column.nunique() > MOST_VALUES


def _numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype))


def _words(name: str) -> frozenset[str]:
    """A name's words in small letters, ``BI-RADS`` and its kin as one."""
    joined = re.sub(r"bi[\W_]*rads", " birads ", name, flags=re.IGNORECASE)
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", joined)
    return frozenset(re.findall(r"[^\W\d_]+\d*", apart.casefold()))


Codes = NDArray[np.intp]

LEAST = 10
"""Events and non-events, or groups with them, that a cell needs: fewer leave most values possible."""

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
    chosen : the columns to use; by default all that ``ordered_columns`` finds fit. The others stand
        last, each with the reason.
    """
    point = _preferred(points)
    rows = frame.iloc[cases.rows]
    return _tested(
        SubgroupTable(name, point.name, point.threshold, (), skipped=reason)
        if reason
        else _table(name, _cells(rows[name]), cases, point, scale)
        for name, reason in ordered_columns(rows, chosen).items()
    )


def _tested(tables: Iterable[SubgroupTable]) -> tuple[SubgroupTable, ...]:
    """The tables with what every cell's differences show, corrected for all of them."""
    tables = tuple(tables)
    gaps = {
        (place, row): cell.less_rest
        for place, table in enumerate(tables)
        for row, cell in enumerate(table.cells)
    }
    pairs = {(place, 1): (place, 0) for place, table in enumerate(tables) if len(table.cells) == 2}
    tests = gap_tests(gaps, mirrored=pairs)
    return tuple(
        replace(
            table,
            cells=tuple(replace(cell, tests=tests[place, row]) for row, cell in enumerate(table.cells)),
        )
        for place, table in enumerate(tables)
    )


def _preferred(points: tuple[Point, ...]) -> Point:
    order = {"sensitivity_90": 0, "given": 1}
    defined = [point for point in points if point.threshold == point.threshold]
    return min(defined or points, key=lambda one: order.get(one.name, 2))


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
    if reason := _too_few(inside):
        return SubgroupCell(value, len(inside), events, suppressed=reason)
    measures = dict(_measures(inside, point, scale))
    apart = dict(differences(part, cases, point.threshold, scale))
    return SubgroupCell(value, len(inside), events, measures, apart)


def _too_few(cases: Cases) -> str:
    """Why cases are too few for an estimate: groups that share their cases count once."""
    events, others = (
        int(side.sum()) if cases.group is None else len(np.unique(cases.group[side]))
        for side in (cases.outcome, ~cases.outcome)
    )
    if min(events, others) >= LEAST:
        return ""
    of = "" if cases.group is None else "groups with "
    return (
        f"{events} {of}events and {others} {of}non-events; fewer than {LEAST} of either support no estimate"
    )


def _measures(cases: Cases, point: Point, scale: Scale) -> Iterator[tuple[str, Estimate]]:
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    scored = operating_point(cases.outcome, cases.risk, point, **plain)
    yield "auc_logit", roc.auc_logit(cases.outcome, cases.risk, **plain)
    yield "sensitivity", scored.sensitivity
    yield "specificity", scored.specificity
    if cases.ranking:
        reason = undefined("scores are no probabilities", level=scale.level)
        yield from (("calibration_intercept", reason), ("observed_expected", reason))
        return
    yield "calibration_intercept", calibration.calibration_intercept(cases.outcome, cases.risk, **plain)
    yield "observed_expected", calibration.observed_expected(cases.outcome, cases.risk, **plain)


def differences(part: Bools, cases: Cases, threshold: float, scale: Scale) -> Iterator[tuple[str, Estimate]]:
    """AUC, sensitivity and specificity of a part less those of all other cases; none where these are too few.

    Parameters
    ----------
    part : shape (n,), True where a case belongs to the part.
    threshold : NaN for none; then the rates are left out.
    """
    if _too_few(cases.select(np.flatnonzero(~part))):
        return
    plain: dict[str, Any] = {"level": scale.level}
    yield "auc_logit", auc_of_part_less_rest(cases.outcome, cases.risk, part, group=cases.group, **plain)
    if math.isnan(threshold):
        return
    called = flagged(cases.risk, threshold)
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
