"""The table of predictions: one row per model and case, read, checked and written."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clineval.errors import InputError
from clineval.files import Origin, read_columns, text_cell

COLUMNS = ("model", "split", "case", "group", "outcome", "risk")
"""The columns of the table, in the order in which they are written."""

MEMBER_COLUMNS = ("seed", "fold")
"""What tells the members of an ensemble, or the repetitions of a study, apart."""

TRAIN, VAL, OUT_OF_FOLD, TEST = "train", "val", "train_out_of_fold", "test"

_NAMES = ("model", "split", "case", "group", *MEMBER_COLUMNS)
_TEXT = pd.StringDtype("pyarrow")
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+")
_TRUE, _FALSE = ("1", "true", "1.0"), ("0", "false", "0.0")


def read_predictions(path: str | Path, *, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read anybody's predictions from a CSV or Parquet file and check every row.

    Parameters
    ----------
    path : a CSV (comma, semicolon or tab; UTF-8) or Parquet file.
    columns : the file's own names for the table's columns, ``{"risk": "p_malignant"}``.

    Returns
    -------
    DataFrame with ``model``, ``split``, ``case``, ``group`` (where there is one), ``outcome`` (bool)
    and ``risk`` (float64, exactly the written number), then ``seed`` and ``fold`` and the attributes.
    Without a ``model`` column the file is one model, named as the file; without ``split`` all rows
    are ``test``; without ``case`` a case is its row number within its model and split.

    Raises
    ------
    InputError : the file cannot be read, or a row is wrong; file, row and column are named.
    """
    path = Path(path)
    table, origin = read_columns(path)
    return _checked(_renamed(table, columns or {}, path.name), origin=origin, model=path.stem)


def check_predictions(frame: pd.DataFrame, *, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The same checks and defaults for a table already in memory; a table without models is ``"model"``.

    Raises
    ------
    InputError : as ``read_predictions``; rows are counted from 1.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"Predictions must be a pandas DataFrame; came {type(frame).__name__}.")
    given = {str(name): _to_arrow(frame.iloc[:, place]) for place, name in enumerate(frame.columns)}
    if len(given) != frame.shape[1]:
        raise InputError("The table has two columns of one name; give each column its own.")
    return _checked(_renamed(given, columns or {}, "the table"), origin=Origin("the table"), model="model")


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
    text.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def attributes(frame: pd.DataFrame) -> list[str]:
    """Names of the columns that describe cases beyond the contract, for subgroup analysis."""
    return [name for name in frame.columns if name not in (*COLUMNS, *MEMBER_COLUMNS)]


def codes_of(column: pd.Series) -> NDArray[np.int32]:
    """Codes of a column's values, numbered by first appearance; equal values have equal codes."""
    return _encoded(_to_arrow(column))[0]


def encode(column: pd.Series) -> tuple[NDArray[np.int32], list[str]]:
    """Codes of a column's values, numbered by first appearance, and what each code stands for."""
    codes, values = _encoded(_to_arrow(column))
    return codes, values.to_pylist()


def _guarded(column: pd.Series) -> pd.Series:
    return column.map({value: text_cell(str(value)) for value in column.unique() if not pd.isna(value)})


def _ordered(names: Iterable[str]) -> list[str]:
    first = [name for name in (*COLUMNS, *MEMBER_COLUMNS) if name in names]
    return first + [name for name in names if name not in first]


def _renamed(given: Mapping[str, pa.ChunkedArray], columns: Mapping[str, str], name: str) -> dict[str, Any]:
    """The columns under the table's own names; one whose place is taken by a mapped one is left out.

    So are row numbers that pandas wrote as a column without a name.
    """
    given = {key: value for key, value in given.items() if key and not _INDEX.fullmatch(key)}
    for wanted, source in columns.items():
        if wanted not in (*COLUMNS, *MEMBER_COLUMNS):
            raise InputError(f"{wanted!r} is no column of the table; columns are {', '.join(COLUMNS)}.")
        if source not in given:
            raise InputError(f"{name} has no column {source!r} for {wanted}; it has {_listed(given)}.")
    rest = {key: value for key, value in given.items() if key not in (*columns, *columns.values())}
    return {**{wanted: given[source] for wanted, source in columns.items()}, **rest}


def _checked(given: dict[str, Any], *, origin: Origin, model: str) -> pd.DataFrame:
    _require_columns(given, origin)
    rows = len(given["risk"])
    if rows == 0:
        raise InputError(f"{origin.name} has a header but no rows; one row per model and case is needed.")
    given = {"model": _constant(model, rows), "split": _constant(TEST, rows), **given}
    names = {name: _as_names(given[name], name, origin) for name in _NAMES if name in given}
    if "case" not in names:
        names["case"] = _row_numbers(names)
    columns = {
        **{name: pd.Series(values, dtype=_TEXT) for name, values in names.items()},
        "outcome": _as_outcome(given["outcome"], origin),
        "risk": _as_risk(given["risk"], origin),
        **{
            name: _as_attribute(values)
            for name, values in given.items()
            if name not in (*COLUMNS, *MEMBER_COLUMNS)
        },
    }
    _refuse_contradictions(columns, origin)
    return pd.DataFrame({name: columns[name] for name in _ordered(columns)}, copy=False)


def _require_columns(given: Mapping[str, Any], origin: Origin) -> None:
    for name in ("outcome", "risk"):
        if name not in given:
            raise InputError(
                f"{origin.name} lacks the column {name!r}; it has {_listed(given)}. "
                f"Say which column holds it with --{name}-column."
            )


def _listed(names: Iterable[str]) -> str:
    names = [repr(name) for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _constant(value: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([value]))


def _to_arrow(column: pd.Series) -> pa.ChunkedArray:
    try:
        converted = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # A column of mixed kinds, such as text among numbers: its cells are read as text.
        converted = pa.array(column.astype(object).map(str, na_action="ignore"), from_pandas=True)
    return converted if isinstance(converted, pa.ChunkedArray) else pa.chunked_array([converted])


def _as_text(values: Any) -> Any:
    """Text of any kind of column; whole numbers stored as floats lose their ``.0``."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    if pa.types.is_floating(values.type) and _all_whole(values):
        values = values.cast(pa.int64())
    try:
        return values.cast(pa.large_string())
    except pa.ArrowException:  # lists and kin, which only Python puts into words
        words = [None if cell is None else str(cell) for cell in values.to_pylist()]
        return pa.chunked_array([pa.array(words, type=pa.large_string())])


def _all_whole(values: Any) -> bool:
    """Whether every number is whole and small enough to be told apart from its neighbours, below 2^53."""
    known = values.drop_null()
    whole = pc.and_(pc.equal(pc.floor(known), known), pc.less(pc.abs(known), 2.0**53))
    return bool(pc.all(whole).as_py())


def _as_names(values: Any, name: str, origin: Origin) -> Any:
    text = _as_text(values)
    nameless = pc.fill_null(pc.equal(text, ""), True)
    if name not in MEMBER_COLUMNS and pc.any(nameless).as_py():
        index = _first(nameless.to_numpy(zero_copy_only=False))
        raise InputError(
            f"{origin.row(index)}, column {name!r}: a name is needed; came nothing. Fill the cell."
        )
    return pc.fill_null(text, "")


def _row_numbers(names: Mapping[str, Any]) -> Any:
    """Row number within model, split, seed and fold, from 1, for tables without a case column."""
    keys = pd.DataFrame({key: _encoded(values)[0] for key, values in names.items() if key != "group"})
    return pa.array((keys.groupby(list(keys)).cumcount() + 1).astype(str))


def _as_outcome(values: Any, origin: Origin) -> NDArray[np.bool_]:
    if pa.types.is_boolean(values.type) and values.null_count == 0:
        return values.to_numpy()
    if pa.types.is_integer(values.type) and values.null_count == 0:
        numbers = values.to_numpy()
        if bool(((numbers == 0) | (numbers == 1)).all()):
            return numbers == 1
    text = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(_as_text(values), "")))
    positive = pc.is_in(text, pa.array(_TRUE, type=text.type)).to_numpy()
    known = positive | pc.is_in(text, pa.array(_FALSE, type=text.type)).to_numpy()
    if not known.all():
        index = _first(~known)
        raise InputError(
            f"{origin.row(index)}, column 'outcome': 1 or 0 (true or false) is needed, 1 where the condition "
            f"is present; came {_shown(values[index])}."
        )
    return positive


def _as_risk(values: Any, origin: Origin) -> NDArray[np.float64]:
    risk = _as_numbers(values)
    # NaN passes neither comparison, so it is found here as well.
    valid = (risk >= 0) & (risk <= 1)
    if not valid.all():
        index = _first(~valid)
        raise InputError(
            f"{origin.row(index)}, column 'risk': a probability from 0 to 1 is needed; came "
            f"{_shown(values[index])}.{_hint(risk[index])}"
        )
    return risk


def _as_numbers(values: Any) -> NDArray[np.float64]:
    """Exactly the numbers that were written; NaN where a cell is not a number."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = pc.utf8_trim_whitespace(values)
    try:
        return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowException:
        return np.array([_number(cell) for cell in values.to_pylist()], dtype=np.float64)


def _number(cell: Any) -> float:
    try:
        # Python also reads 0.1_5 and digits of other scripts; no table means those
        return float(cell) if str(cell).isascii() and "_" not in str(cell) else float("nan")
    except (TypeError, ValueError):
        return float("nan")


def _hint(risk: float) -> str:
    if 1 < risk <= 100:
        return " Divide percentages by 100."
    return " Scores that are no probabilities need recalibration first." if np.isfinite(risk) else ""


def _as_attribute(values: Any) -> pd.Series:
    """Numbers where every cell that is filled is one, else text; empty where a cell is empty."""
    if pa.types.is_boolean(values.type) or pa.types.is_dictionary(values.type):
        values = _as_text(values)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, values.type), values)
        try:
            return pd.Series(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
        except pa.ArrowException:
            return pd.Series(values, dtype=_TEXT)
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        with suppress(pa.ArrowInvalid):  # whole numbers above 2^53, as some identifiers are, stay text
            return pd.Series(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
    return pd.Series(_as_text(values), dtype=_TEXT)


def _shown(cell: Any) -> str:
    value = cell.as_py() if hasattr(cell, "as_py") else cell
    if value is None or value == "":
        return "nothing"
    return repr(value)[:60]


def _first(mask: NDArray[np.bool_]) -> int:
    return int(np.argmax(mask))


def _encoded(values: Any) -> tuple[NDArray[np.int32], Any]:
    """Codes by first appearance and the distinct values; one array encodes ten times faster than chunks."""
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    encoded = whole if pa.types.is_dictionary(whole.type) else pc.dictionary_encode(whole)
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False), encoded.dictionary


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
        f"(first in row {earlier + 1}); keep one row per model and case."
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
