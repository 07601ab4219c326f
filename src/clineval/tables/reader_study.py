"""A reader study's table, in long form or as iMRMC writes it, read and checked row by row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from clineval.errors import MOST_SHOWN, InputError, listed_columns, option
from clineval.files import in_utf8
from clineval.tables.columns import (
    NOT_KNOWN,
    OTHERS,
    TAKEN_FOR_ONE,
    code_for_unknown,
    in_other_case,
    is_missing,
    is_value,
    plain_numbers,
    says_nothing,
    shortened,
    spelt_alike,
)
from clineval.tables.reading import read_columns

Text = NDArray[np.str_]
Floats = NDArray[np.float64]
Row = Callable[[int], str]

ONE_MODALITY = "all"  # the name of the modality where a table has one only
IMRMC = ("readerID", "caseID", "modalityID", "score")
IMRMC_DATA = "BEGIN DATA"  # the line of iMRMC's own file after which the readings stand
IMRMC_TRUTH = ("-1", "truth")  # its reader who knows the outcome


@dataclass(frozen=True)
class ReadingColumns:
    """Which column of a long table means what; ``positive`` is the outcome column's value of the condition.

    ``order``: categories from least to most suspicious, where ratings are words.
    """

    reader: str = "reader"
    case: str = "case"
    rating: str = "rating"
    outcome: str = "outcome"
    positive: str = "1"
    modality: str | None = None
    group: str | None = None
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadingTable:
    """A checked table, one entry per reading in every array of shape (n,).

    ``rating``: numbers; of ordered words their place in the order, from 1. ``group``: None where no column
    was named. ``row`` names a row as its owner counts it. ``notes`` should be known first, a sentence each.
    """

    name: str
    rating: Floats
    outcome: NDArray[np.bool_]
    reader: Text
    case: Text
    modality: Text
    group: Text | None
    columns: ReadingColumns
    row: Row
    notes: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        """The readings in long form, as a table that is written and read again says the same."""
        columns = {"modality": self.modality, "reader": self.reader, "case": self.case}
        if self.group is not None:
            columns["group"] = self.group
        return pd.DataFrame({**columns, "outcome": self.outcome.astype(int), "rating": self.rating})


def read_readings(path: Path, columns: ReadingColumns) -> ReadingTable:
    """Read a CSV or Parquet table with a row per reading, or iMRMC's own file, and check every row.

    The columns ``reader``, ``case``, ``rating`` and ``outcome`` are found whatever their case; others as
    they are named.

    Raises
    ------
    InputError : a column or cell is missing, a case has two outcomes or groups, a reader read a case twice
        with one modality, or a rating is neither a number nor in the order; row and column are named.
    """
    file = in_utf8(path.name)
    if _is_imrmc_file(path):
        reader, case, modality, score, row = _imrmc_lines(path)
        return _imrmc((reader, case, modality, score), row, name=file, columns=columns)
    found, origin = read_columns(path)
    cells = {name: np.array([_text(cell) for cell in column.to_pylist()]) for name, column in found.items()}
    if not len(next(iter(cells.values()), ())):
        raise InputError(f"{file} has a header but no rows; expected one row per reading.")
    if set(IMRMC) <= set(cells) and columns.reader not in cells:
        return _imrmc([cells[name] for name in IMRMC], origin.row, name=file, columns=columns)
    columns = _as_spelt(columns, cells)
    _require_columns(file, cells, columns)
    outcome = _outcome(file, columns, _filled(cells, columns.outcome, origin.row), origin.row)
    named = {name: _filled(cells, column, origin.row) for name, column in _named(columns).items()}
    notes = list(_several_others(file, columns, cells[columns.outcome][~outcome]))
    place = f"{file}, column {columns.rating!r}"
    if not columns.order:
        rated = _rated(named["rating"], columns, origin.row)
        named["rating"], words = plain_numbers(rated, comma_is_decimal=True)
        notes += [f"{place}: read as numbers, with {words}."] if words else []
    checked = _checked(file, named, outcome, columns, origin.row)
    if words := code_for_unknown(checked.rating):
        notes.append(f"{place}: {words}, or take out the row of a reading that was not made.")
    return replace(checked, notes=tuple(notes))


def scaled(cells: Text, *, order: Sequence[str], place: Row) -> Floats:
    """Ratings as numbers, shape (n,): as they are, or by their place in an order of words, from 1.

    ``place`` names the cell of an index for a refusal: the row and the column.

    Raises
    ------
    InputError : a cell is no number where there is no order, or is not in the order; its row is named.
    """
    if not order:
        return _numbers(cells, place)
    rank = np.full(len(cells), np.nan)
    for number, value in enumerate(order, start=1):
        rank[is_value(cells, value)] = number
    if (odd := np.flatnonzero(np.isnan(rank))).size:
        named = option("--reader-order", "order")
        raise InputError(
            f"{place(int(odd[0]))}: expected one of {', '.join(order)} ({named}), got "
            f"{str(cells[odd[0]])!r}. Add it to the order, or correct it."
        )
    return rank


def cut_in(cut: str, *, order: Sequence[str], option: str) -> float:
    """The number from which a reader acts, of a cut in the words of the ratings."""
    return float(scaled(np.array([cut]), order=order, place=lambda _: option)[0])


def _numbers(cells: Text, place: Row) -> Floats:
    found = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(np.float64)
    if (odd := np.flatnonzero(~np.isfinite(found))).size:
        raise InputError(
            f"{place(int(odd[0]))}: expected a number, got {str(cells[odd[0]])!r}. Ratings in words need "
            "their order, least suspicious first: --reader-order 1,2,3,4a,4b,4c,5"
        )
    return found


def _text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell).strip()


def _as_spelt(columns: ReadingColumns, cells: dict[str, Text]) -> ReadingColumns:
    """The columns as the table spells those that have no name of its owner's."""
    own = ("reader", "case", "rating", "outcome")
    alike = in_other_case(cells, [getattr(ReadingColumns, name) for name in own])
    return replace(columns, **{name: alike.get(given := getattr(columns, name), given) for name in own})


def _named(columns: ReadingColumns) -> dict[str, str]:
    """The table's columns that name things, by what they name."""
    named = {"reader": columns.reader, "case": columns.case, "rating": columns.rating}
    named |= {"modality": columns.modality} if columns.modality else {}
    return named | ({"group": columns.group} if columns.group else {})


def _require_columns(name: str, cells: dict[str, Text], columns: ReadingColumns) -> None:
    wanted = {**_named(columns), "outcome": columns.outcome}
    for what, column in wanted.items():
        if column not in cells:
            raise InputError(
                f"{name} has no column {column!r}; "
                f"it has {listed_columns(column, cells)}. Say which one holds the {what} "
                f"with --{what}-column."
            )
    twice = [column for column in wanted.values() if list(wanted.values()).count(column) > 1]
    if twice:
        raise InputError(
            f"{name}, column {twice[0]!r}: expected a column for each thing, got it named twice."
        )


def _filled(cells: dict[str, Text], column: str, row: Row) -> Text:
    values = cells[column]
    if (empty := np.flatnonzero(values == "")).size:
        raise InputError(
            f"{row(int(empty[0]))}, column {column!r}: expected a value, got nothing. Fill the cell, or take "
            "out the row of a reading that was not made."
        )
    return values


def _rated(cells: Text, columns: ReadingColumns, row: Row) -> Text:
    """Cells of ratings, none of which says that there is none."""
    if (empty := np.flatnonzero(np.array([is_missing(cell) for cell in cells.tolist()]))).size:
        raise InputError(
            f"{row(int(empty[0]))}, column {columns.rating!r}: expected a rating, got "
            f"{str(cells[empty[0]])!r}. Fill the cell, or take out the row of a reading that was not made."
        )
    return cells


def _outcome(name: str, columns: ReadingColumns, given: Text, row: Row) -> NDArray[np.bool_]:
    if (unknown := np.flatnonzero(says_nothing(given, positive=columns.positive))).size:
        raise InputError(
            f"{row(int(unknown[0]))}, column {columns.outcome!r}: expected an outcome, got "
            f"{str(given[unknown[0]])!r}. {NOT_KNOWN}"
        )
    outcome = is_value(given, columns.positive.strip())
    seen = ", ".join(repr(value) for value in np.unique(given).tolist()[:MOST_SHOWN])
    if outcome.all() or not outcome.any():
        raise InputError(
            f"{name}, column {columns.outcome!r}: expected rows with and without --positive "
            f"{columns.positive!r}, got {'it in every row' if outcome.all() else f'{seen} only'}."
        )
    return outcome


def _several_others(name: str, columns: ReadingColumns, others: Text) -> tuple[str, ...]:
    """A sentence where cases without the condition have several values, as of three classes."""
    seen = np.unique(others).tolist()
    if len(seen) < 2:
        return ()
    listed = ", ".join(map(repr, seen[:MOST_SHOWN]))
    return (
        f"{name}, column {columns.outcome!r}: {columns.positive!r} means the condition; {OTHERS}: {listed}.",
    )


def _checked(
    name: str, cells: dict[str, Text], outcome: NDArray[np.bool_], columns: ReadingColumns, row: Row
) -> ReadingTable:
    rating = scaled(
        cells["rating"],
        order=columns.order,
        place=lambda index: f"{row(index)}, column {columns.rating!r}",
    )
    modality = cells.get("modality", np.full(len(rating), ONE_MODALITY))
    _one_spelling(name, cells, columns)
    truth = np.where(outcome, "with the condition", "without it")
    _one_per_case(cells["case"], truth, row, columns.outcome, "outcome")
    if "group" in cells:
        _one_per_case(cells["case"], cells["group"], row, str(columns.group), "group")
    _once(cells["reader"], cells["case"], modality, row, columns)
    return ReadingTable(
        name, rating, outcome, cells["reader"], cells["case"], modality, cells.get("group"), columns, row
    )


def _one_spelling(name: str, cells: dict[str, Text], columns: ReadingColumns) -> None:
    """Refuse readers, modalities or groups that would be counted apart for their spelling alone."""
    for what in ("reader", "modality", "group"):
        values = pa.array(cells.get(what, np.array([], str)), pa.string())
        if words := spelt_alike(values, most=None):
            raise InputError(
                f"{name}, column {getattr(columns, what)!r}: {words}. Write each {what} in one way."
            )
        if words := shortened(values):
            raise InputError(f"{name}, column {getattr(columns, what)!r}: {words}, {TAKEN_FOR_ONE}")


def _one_per_case(case: Text, values: Text, row: Row, column: str, what: str) -> None:
    first = pd.Series(np.arange(len(case))).groupby(case).transform("first").to_numpy()
    if (odd := np.flatnonzero(values != values[first])).size:
        here, there = int(odd[0]), int(first[odd[0]])
        raise InputError(
            f"{row(here)}, column {column!r}: expected one {what} for case {str(case[here])!r}, got "
            f"{str(values[here])!r} here and {str(values[there])!r} in row {there + 1}."
        )


def _once(reader: Text, case: Text, modality: Text, row: Row, columns: ReadingColumns) -> None:
    keys = pd.DataFrame({"reader": reader, "case": case, "modality": modality})
    if (twice := np.flatnonzero(keys.duplicated())).size:
        here = int(twice[0])
        same = (keys == keys.iloc[here]).all(axis=1).to_numpy()
        hint = "" if columns.modality else " Two modalities (as without and with AI) need --modality-column."
        raise InputError(
            f"{row(here)}, column {columns.rating!r}: expected one rating by reader {str(reader[here])!r} of "
            f"case {str(case[here])!r}, got another in row {int(np.argmax(same)) + 1}.{hint}"
        )


def _is_imrmc_file(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return any(line.strip().startswith(IMRMC_DATA.encode()) for line in file.readlines(100_000))


def _imrmc_lines(path: Path) -> tuple[Text, Text, Text, Text, Row]:
    """The four columns after the line BEGIN DATA, and how to name their rows."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    start = next(place for place, line in enumerate(lines) if line.strip().startswith(IMRMC_DATA)) + 1
    rows = [
        (number, line) for number, line in enumerate(lines[start:], start=start + 1) if line.strip(" ,\t")
    ]
    cells = [[cell.strip() for cell in line.split(",")] for _, line in rows]
    for (number, line), row in zip(rows, cells, strict=True):
        if len(row) < 4 or "" in row[:4]:
            raise InputError(
                f"{path.name}, line {number}: expected reader, case, modality and score between commas, got "
                f"{line.strip()[:60]!r}."
            )
    if not rows:
        raise InputError(f"{path.name} has no rows after {IMRMC_DATA}; expected one per reading.")
    columns = (np.array([row[place] for row in cells]) for place in range(4))
    reader, case, modality, score = columns
    return reader, case, modality, score, lambda index: f"{path.name}, line {rows[index][0]}"


def _imrmc(given: Sequence[Text], row: Row, *, name: str, columns: ReadingColumns) -> ReadingTable:
    """A table of iMRMC's form: rows of reader -1 hold each case's outcome as 0 or 1."""
    reader, case, modality, score = given
    knows = np.isin(np.char.lower(reader), IMRMC_TRUTH)
    rows = np.flatnonzero(~knows)
    truth: dict[str, bool] = {}
    for place in np.flatnonzero(knows):
        said = bool(is_value(score[[place]], "1")[0])
        if not (said or is_value(score[[place]], "0")[0]):
            raise InputError(
                f"{row(int(place))}, column 'score': expected 0 or 1, got {str(score[place])!r}."
            )
        if truth.setdefault(str(case[place]), said) != said:
            raise InputError(
                f"{row(int(place))}, column 'score': expected one outcome for case {str(case[place])!r}, "
                "got two."
            )
    for place in rows:
        if str(case[place]) not in truth:
            raise InputError(
                f"{row(int(place))}, column 'caseID': expected a row of reader -1 with the outcome of case "
                f"{str(case[place])!r}, got none."
            )
    if len(set(truth.values())) < 2:
        raise InputError(f"{name}, column 'score': expected cases of outcome 0 and 1, got one of them only.")
    named = ReadingColumns("readerID", "caseID", "score", "score", "1", "modalityID", None, columns.order)
    outcome = np.array([truth[str(each)] for each in case[rows]])
    kept = {
        "reader": reader[rows],
        "case": case[rows],
        "modality": modality[rows],
        "rating": score[rows],
    }
    return _checked(name, kept, outcome, named, lambda index: row(int(rows[index])))
