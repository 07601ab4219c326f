"""The table of predictions: one row per model and case, read, checked and written."""

import re
import shlex
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clineval.errors import InputError, in_short, option
from clineval.files import CsvRows, in_utf8, text_cell
from clineval.tables.columns import (
    COUNTED_APART,
    MOST_ALIKE,
    OUT_OF_FOLD,
    TAKEN_FOR_ONE,
    TEST,
    TEXT,
    TRAIN,
    VAL,
    Column,
    Warn,
    as_attribute,
    as_names,
    as_outcome,
    as_risk,
    as_score,
    as_splits,
    encoded,
    in_other_case,
    shortened,
    spelt_alike,
    split_of,
)
from clineval.tables.reading import Origin, read_columns

COLUMNS = ("model", "split", "case", "group", "outcome", "risk")
"""The columns of the table, in the order in which they are written."""

SCORE = "score"
"""Stands in place of ``risk`` where a table ranks its cases by scores that are no probabilities."""

MEMBER_COLUMNS = ("seed", "fold")
"""What tells the members of an ensemble, or the repetitions of a study, apart."""

__all__ = ["OUT_OF_FOLD", "TEST", "TRAIN", "VAL", "Warn"]

_NAMES = ("model", "split", "case", "group", *MEMBER_COLUMNS)
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+")


def as_warning(text: str) -> None:
    """Say what was read otherwise than as written by Python's ``warnings``."""
    warnings.warn(text, UserWarning, stacklevel=3)


def read_predictions(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    positive: str | None = None,
    scores: bool | None = False,
    warn: Warn = as_warning,
) -> pd.DataFrame:
    """Read predictions from any source, a CSV or Parquet file, and check every row.

    Parameters
    ----------
    path : a CSV (comma, semicolon or tab; UTF-8 or UTF-16) or Parquet file.
    columns : the file's own names for the table's columns, ``{"risk": "p_malignant"}``.
    positive : the outcome column's value where the condition is present; by default 1 or true.
    scores : whether the column of risks (or one named ``score``) holds scores of any range, such as logits
        or ratings, by which cases are ranked and no more; None: where there is ``score`` and no ``risk``.
    warn : told in a sentence what was read otherwise than as written: decimal commas, risks beyond 1 by
        rounding, units; by default a ``UserWarning``.

    Returns
    -------
    DataFrame with ``model``, ``split``, ``case``, ``group`` (where there is one), ``outcome`` (bool)
    and ``risk`` (float64, exactly the written number), then ``seed`` and ``fold`` and the attributes.
    Names of columns are read whatever their case. Without a ``model`` column the file is one model, named
    as the file; without ``split`` all rows are ``test``; without ``case`` a case is its row number
    within its model and split. With ``scores`` there is ``score`` (float64, finite) in place of ``risk``.

    Raises
    ------
    InputError : the file cannot be read, or a row is wrong; file, row and column are named.
    """
    path = Path(path)
    table, origin = read_columns(path)
    given = _renamed(table, columns or {}, origin)
    return _checked(
        given, origin=origin, positive=positive, scores=scores, model=in_utf8(path.stem), warn=warn
    )


def check_predictions(
    frame: pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    positive: str | None = None,
    scores: bool | None = None,
    warn: Warn = as_warning,
) -> pd.DataFrame:
    """The same checks and defaults for a table already in memory; a table without models is ``"model"``.

    Raises
    ------
    InputError : as ``read_predictions``; rows are counted from 1.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"Expected predictions as a pandas DataFrame, got {type(frame).__name__}.")
    given = {str(name): _to_arrow(frame.iloc[:, place]) for place, name in enumerate(frame.columns)}
    origin = Origin("the table")
    if len(given) != frame.shape[1]:
        raise InputError(f"{origin.name} has two columns of one name; give each column its own.")
    renamed = _renamed(given, columns or {}, origin)
    return _checked(renamed, origin=origin, positive=positive, scores=scores, model="model", warn=warn)


def write_predictions(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table so that every risk reads back to the same float64; ``.parquet`` by its name, else CSV.

    In a CSV a name that a spreadsheet would run as a formula gets a leading apostrophe, which
    ``read_predictions`` takes away again.
    """
    path, ordered = Path(path), frame[[*_ordered(frame.columns)]]
    if path.suffix.lower() in (".parquet", ".pq"):
        ordered.to_parquet(path, index=False)
        return
    text = ordered.assign(outcome=np.asarray(ordered["outcome"], dtype=np.int8))
    for name in text.columns:
        if not pd.api.types.is_numeric_dtype(text[name].dtype):
            text[name] = _guarded(text[name])
    text.columns = [text_cell(str(name)) for name in text.columns]
    with path.open("w", newline="", encoding="utf-8") as file:
        text.to_csv(CsvRows(file), index=False, lineterminator="\r\n")


def attributes(frame: pd.DataFrame) -> list[str]:
    """Names of the columns that describe cases beyond the contract, for subgroup analysis."""
    return [name for name in frame.columns if name not in (*COLUMNS, *MEMBER_COLUMNS, ranked_by(frame))]


def spellings(frame: pd.DataFrame) -> Iterator[str]:
    """A sentence for each column of a table of which some values differ only in how they are spelt."""
    for name in ("model", "split", "group", *attributes(frame)):
        if name in frame and not pd.api.types.is_numeric_dtype(frame[name].dtype):
            most = None if name in _NAMES else MOST_ALIKE
            values = _to_arrow(frame[name])
            if words := spelt_alike(values, most=most):
                yield f"Column {name}: {words}, and {COUNTED_APART}"
            if name == "group" and (words := shortened(values)):
                yield f"Column {name}: {words}, {TAKEN_FOR_ONE}"


def ranked_by(frame: pd.DataFrame) -> str:
    """The column that ranks a table's cases: ``risk``, or ``score`` where these are no probabilities."""
    return "risk" if "risk" in frame else SCORE


def codes_of(column: pd.Series) -> NDArray[np.int32]:
    """Codes of a column's values, numbered by first appearance; equal values have equal codes."""
    return encoded(_to_arrow(column))[0]


def encode(column: pd.Series) -> tuple[NDArray[np.int32], list[str]]:
    """Codes of a column's values, numbered by first appearance, and what each code stands for."""
    codes, values = encoded(_to_arrow(column))
    return codes, values.to_pylist()


def _guarded(column: pd.Series) -> pd.Series:
    return column.map({value: text_cell(str(value)) for value in column.unique() if not pd.isna(value)})


def _ordered(names: Iterable[str]) -> list[str]:
    names = list(names)
    scored = () if "risk" in names else (SCORE,)
    first = [name for name in (*COLUMNS, *scored, *MEMBER_COLUMNS) if name in names]
    return first + [name for name in names if name not in first]


def _renamed(given: Mapping[str, Any], columns: Mapping[str, str], origin: Origin) -> dict[str, Column]:
    """The columns under the table's own names, whatever their case; one whose place is taken is left out.

    So are row numbers that pandas wrote as a column without a name.
    """
    given = {key: value for key, value in _tidy(given, origin).items() if key and not _INDEX.fullmatch(key)}
    for wanted, source in columns.items():
        if wanted not in (*COLUMNS, *MEMBER_COLUMNS):
            raise InputError(f"{wanted!r} is no column of the table; columns are {', '.join(COLUMNS)}.")
        if source not in given:
            raise InputError(f"{origin.name} has no column {source!r} for {wanted}; it has {_listed(given)}.")
    free = [key for key in given if key not in columns.values()]
    sought = [name for name in (*COLUMNS, *MEMBER_COLUMNS) if name not in columns]
    columns = {**in_other_case(free, sought), **columns}
    rest = {key: key for key in given if key not in (*columns, *columns.values())}
    return {name: Column(given[source], source, origin) for name, source in {**columns, **rest}.items()}


def _tidy(given: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """The columns by names on one line and without spaces around them, as a CSV gives them."""
    tidy = {" ".join(name.splitlines()).strip(): values for name, values in given.items()}
    if len(tidy) < len(given):
        raise InputError(f"{origin.name} has two columns of one name; give each column its own.")
    return tidy


def _checked(
    given: dict[str, Column],
    *,
    origin: Origin,
    positive: str | None,
    scores: bool | None,
    model: str,
    warn: Warn,
) -> pd.DataFrame:
    if scores is None:
        scores = SCORE in given and "risk" not in given
    if scores and "risk" in given:
        given = {**given, SCORE: given["risk"]}
        del given["risk"]
    ranked = SCORE if scores else "risk"
    _require_columns(given, ranked, origin)
    rows = len(given["outcome"].values)
    if rows == 0:
        raise InputError(f"{origin.name} has a header but no rows; expected one row per model and case.")
    names = {"model": _constant(model, rows), "split": _constant(TEST, rows), **_names_in(given)}
    if "case" not in names:
        names["case"] = _row_numbers(names)
    outcome = as_outcome(given["outcome"], positive=positive, warn=warn)
    comma = origin.delimiter == ";"
    for line in () if "split" in given else _unused_splits(given):
        warn(line)
    checked = {
        **{name: pd.Series(values, dtype=TEXT) for name, values in names.items()},
        "outcome": outcome,
        ranked: (as_score if scores else as_risk)(given[ranked], warn=warn),
        **{
            name: as_attribute(column, comma_is_decimal=comma, warn=warn)
            for name, column in given.items()
            if name not in (*COLUMNS, *MEMBER_COLUMNS, ranked)
        },
    }
    _refuse_contradictions(checked, origin)
    return pd.DataFrame({name: checked[name] for name in _ordered(checked)}, copy=False)


def _names_in(given: Mapping[str, Column]) -> dict[str, Any]:
    """The columns of names that the table has."""
    return {
        name: as_splits(given[name])
        if name == "split"
        else as_names(given[name], needed=name not in MEMBER_COLUMNS)
        for name in _NAMES
        if name in given
    }


def _unused_splits(given: Mapping[str, Column]) -> Iterator[str]:
    """A sentence for each further column whose every value names a split; all its rows are scored as test."""
    for name, column in given.items():
        text = column.text if name not in (*COLUMNS, *MEMBER_COLUMNS, SCORE) else None
        if text is None or not all(map(split_of, filter(None, pc.unique(text[:1000]).to_pylist()))):
            continue
        words = pc.unique(text).to_pylist()
        if {split_of(word or "") for word in words} & {TRAIN, VAL} and all(
            map(split_of, filter(None, words))
        ):
            how = option(f"--split-column {shlex.quote(name)}", f'columns={{"split": {name!r}}}')
            yield (
                f"{column.origin.name}, column {name!r} holds {', '.join(filter(None, words))}, and every "
                f"row is scored as test: where it names the splits, say so with {how}."
            )


def _require_columns(given: Mapping[str, Column], ranked: str, origin: Origin) -> None:
    missing = [name for name in ("outcome", ranked) if name not in given]
    if not missing:
        return
    sources = ["risk" if name == SCORE else name for name in missing]
    held = {column.title: name for name, column in given.items()}
    if (taken := next((held[name] for name in missing if name in held), None)) is not None:
        raise InputError(
            f"{origin.name}, column {given[taken].title!r} cannot be both {taken} and {given[taken].title}; "
            "name a column for each."
        )
    how = option(
        " and ".join(f"--{source}-column NAME" for source in sources),
        "columns={" + ", ".join(f'"{source}": NAME' for source in sources) + "}",
    )
    lacking, which = ("columns", "columns hold them") if len(missing) > 1 else ("column", "column holds it")
    raise InputError(
        f"{origin.name} lacks the {lacking} {' and '.join(map(repr, missing))}; it has "
        f"{_listed(column.title for column in given.values())}. Say which {which} with {how}."
    )


def _listed(names: Iterable[str]) -> str:
    return in_short([repr(name) for name in names]).replace(";", ",")


def _constant(value: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([value]))


def _to_arrow(column: pd.Series) -> pa.ChunkedArray:
    try:
        converted = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # A column of mixed kinds, such as text among numbers: its cells are read as text.
        converted = pa.array(column.astype(object).map(str, na_action="ignore"), from_pandas=True)
    return converted if isinstance(converted, pa.ChunkedArray) else pa.chunked_array([converted])


def _row_numbers(names: Mapping[str, Any]) -> Any:
    """Row number within model, split, seed and fold, from 1, for tables without a case column."""
    keys = pd.DataFrame({key: encoded(values)[0] for key, values in names.items() if key != "group"})
    return pa.array((keys.groupby(list(keys)).cumcount() + 1).astype(str))


def _first(mask: NDArray[np.bool_]) -> int:
    return int(np.argmax(mask))


def _refuse_contradictions(columns: Mapping[str, Any], origin: Origin) -> None:
    """One row per model, split, case, seed and fold; one outcome and one group per split and case."""
    keys = [name for name in _NAMES if name in columns and name != "group"]
    codes = {name: codes_of(columns[name]) for name in keys}
    who = np.zeros(len(codes["case"]), dtype=np.int64)
    for name in ("model", *MEMBER_COLUMNS, "split"):
        if name in codes:
            who = _paired_code(who, codes[name])
    if "group" in columns:
        _refuse_two_groups(columns, _paired_code(codes["split"], codes["case"]), origin)
    if _surely_consistent(who, codes["split"], codes["case"], columns["outcome"]):
        return
    key = _paired_code(who, codes["case"])
    again = pd.Series(key).duplicated().to_numpy()
    if again.any():
        raise _duplicate(columns, key, _first(again), origin)
    first = _first_row_of_each(_paired_code(codes["split"], codes["case"]))
    differs = columns["outcome"] != columns["outcome"][first]
    if differs.any():
        raise _disagreement(columns, first, _first(differs), origin)


def _refuse_two_groups(columns: Mapping[str, Any], case: NDArray[np.int64], origin: Origin) -> None:
    group = codes_of(columns["group"])
    first = _first_row_of_each(case)
    differs = group != group[first]
    if differs.any():
        index = _first(differs)
        earlier, names = int(first[index]), columns["group"]
        raise InputError(
            f"{origin.row(index)}, column 'group': case {columns['case'].iloc[index]!r} is in group "
            f"{names.iloc[index]!r} here and in {names.iloc[earlier]!r} in row {earlier + 1}; "
            "a case has one group, whatever the model."
        )


def _surely_consistent(
    who: NDArray[np.int64], split: NDArray[np.int32], case: NDArray[np.int32], outcome: NDArray[np.bool_]
) -> bool:
    """Whether counting alone shows that no case stands twice and none has two outcomes.

    Counting costs a tenth of the hashing that finds the offending row, and serves wherever the table
    of all (model, case) pairs is not much larger than the rows.
    """
    if (int(who.max()) + 1) * (int(case.max()) + 1) > 8 * len(case):
        return False
    if np.bincount(_paired_code(who, case)).max() > 1:
        return False
    cell = _paired_code(split, case)
    events = np.bincount(cell[outcome], minlength=int(cell.max()) + 1)
    return bool(((events == 0) | (events == np.bincount(cell))).all())


def _paired_code(major: NDArray[Any], minor: NDArray[Any]) -> NDArray[np.int64]:
    return major.astype(np.int64) * (int(minor.max()) + 1) + minor


def _first_row_of_each(case: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every row the first row of the same case, shape (n,)."""
    code = pd.factorize(case)[0]
    first = np.empty(int(code.max()) + 1, dtype=np.int64)
    first[code[::-1]] = np.arange(len(code) - 1, -1, -1)
    return first[code]


def _duplicate(columns: Mapping[str, Any], key: NDArray[np.int64], index: int, origin: Origin) -> InputError:
    earlier = _first(key == key[index])
    return InputError(
        f"{origin.row(index)}, column 'case': {columns['case'].iloc[index]!r} stands twice for model "
        f"{columns['model'].iloc[index]!r} and split {columns['split'].iloc[index]!r} "
        f"(first in row {earlier + 1}); keep one row per model and case, "
        "or, where they are images of one patient, name no column as the case and give "
        f"{option('--group-column', 'the one that groups them')}."
    )


def _disagreement(
    columns: Mapping[str, Any], first: NDArray[np.int64], index: int, origin: Origin
) -> InputError:
    earlier = int(first[index])
    return InputError(
        f"{origin.row(index)}, column 'outcome': case {columns['case'].iloc[index]!r} of split "
        f"{columns['split'].iloc[index]!r} has outcome {int(columns['outcome'][index])} for model "
        f"{columns['model'].iloc[index]!r} and {int(columns['outcome'][earlier])} for model "
        f"{columns['model'].iloc[earlier]!r} (row {earlier + 1}); a case has one outcome."
    )
