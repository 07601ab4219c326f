"""Outcomes and risks as Python holds them (arrays, Series, data frames) to the table of predictions."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from clineval.errors import InputError
from clineval.predictions import COLUMNS, MEMBER_COLUMNS, check_predictions

ONE_MODEL = "model"
"""What a single model is called that was given no name."""


def to_predictions(
    outcome: Any,
    risk: Any = None,
    *,
    group: ArrayLike | None = None,
    split: ArrayLike | None = None,
    case: ArrayLike | None = None,
    attributes: Mapping[str, ArrayLike] | pd.DataFrame | None = None,
    columns: Mapping[str, str] | None = None,
    positive: object = None,
    scores: bool = False,
) -> pd.DataFrame:
    """The checked table of predictions made of arrays, or of a table in memory.

    Parameters
    ----------
    outcome : shape (n,), 1 or True where the condition is present, or words with ``positive``; or a table
        (pandas, polars, pyarrow, a mapping of columns) with one row per model and case.
    risk : shape (n,), 0 to 1; of several models a mapping of names to such, or a data frame with a column
        each. None where ``outcome`` is a table.
    group : shape (n,), shared by cases that are not independent, such as the patient.
    split : shape (n,), train, val, test, train_out_of_fold or the name of an external cohort; default test.
    case : shape (n,), unique within a split; default the row number.
    attributes : further columns, each of shape (n,), to make subgroups of.
    columns : a table's own names for the columns, ``{"risk": "p_malignant"}``.
    positive : the outcome's value where the condition is present; by default 1 or true.
    scores : whether the risks are scores of any range, such as logits, by which cases are ranked and no more.

    pandas Series are brought into the order of the first one by their index.

    Raises
    ------
    InputError : a value is not what the table needs, lengths or indexes differ, or a column is missing.

    Examples
    --------
    >>> to_predictions(["sick", "well"], [0.9, 0.2], positive="sick")[["model", "outcome", "risk"]]
       model  outcome  risk
    0  model     True   0.9
    1  model    False   0.2
    """
    word = None if positive is None else str(positive)
    if risk is None:
        table = _table(outcome)
        stored = "score" in table and "risk" not in table and not columns  # as ``read_predictions`` gives it
        return check_predictions(table, columns=columns, positive=word, scores=scores or stored)
    if columns:
        raise InputError("columns names those of a table; expected a table alone, got outcome and risk too.")
    risks = _risks(risk)
    about = {"outcome": outcome, "group": group, "split": split, "case": case}
    further = _further(attributes)
    named = {name: values for name, values in {**about, **further}.items() if values is not None}
    together = _in_one_order({**named, **{("risk", model): values for model, values in risks.items()}})
    shared = {name: together[name] for name in named}
    frames = [pd.DataFrame({"model": model, **shared, "risk": together["risk", model]}) for model in risks]
    return check_predictions(pd.concat(frames, ignore_index=True), positive=word, scores=scores)


def _table(given: Any) -> pd.DataFrame:
    """A table in memory as a pandas frame."""
    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, Mapping):
        return pd.DataFrame(_in_one_order({str(name): values for name, values in given.items()}))
    if hasattr(given, "to_pandas") and hasattr(given, "columns"):  # polars, pyarrow and their kin
        frame: pd.DataFrame = given.to_pandas()
        return frame
    raise InputError(
        "Expected outcome and risk, or a table (pandas, polars, pyarrow), got "
        f"{type(given).__name__} alone: evaluate(outcome, risk)."
    )


def _risks(given: Any) -> dict[str, Any]:
    """The risks of each model by its name."""
    if hasattr(given, "columns") or isinstance(given, Mapping):
        return {str(name): given[name] for name in _names(given)}
    name = getattr(given, "name", None)
    return {name if isinstance(name, str) and name not in ("", "risk") else ONE_MODEL: given}


def _further(given: Any) -> dict[str, Any]:
    further = {} if given is None else {str(name): given[name] for name in _names(given)}
    taken = [name for name in further if name in (*COLUMNS, *MEMBER_COLUMNS)]
    if taken:
        raise InputError(f"attributes has {taken[0]!r}, which means something else in a table; rename it.")
    return further


def _names(given: Any) -> list[Any]:
    """Names of the columns of a mapping or a data frame, which each library keeps in its own place."""
    return list(getattr(given, "column_names", getattr(given, "columns", given)))


def _in_one_order(given: Mapping[Any, Any]) -> dict[Any, pd.Series]:
    """Columns of one length; pandas Series in the order of the first one's index, the rest as they stand."""
    first = next((values for values in given.values() if isinstance(values, pd.Series)), None)
    columns = {
        name: _aligned(name, values, first) if first is not None and isinstance(values, pd.Series) else values
        for name, values in given.items()
    }
    found = {name: _column(name, values) for name, values in columns.items()}
    lengths = {_called(name): len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InputError(f"Expected one value per case in each, got different lengths: {told}.")
    return found


def _aligned(name: Any, values: pd.Series, first: pd.Series) -> pd.Series:
    index = first.index
    if values.index.equals(index):
        return values
    once = index.is_unique and values.index.is_unique and len(values) == len(index)
    if once and values.index.isin(index).all():
        return values.reindex(index)
    raise InputError(
        f"The Series {_called(name)} has another index than the first; expected the same labels, each once. "
        "Where rows belong together by their order, pass arrays (.to_numpy())."
    )


def _column(name: Any, values: Any) -> pd.Series:
    if isinstance(values, pd.Series):
        return values.reset_index(drop=True)
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"Expected {_called(name)} as one value per case, got {type(values).__name__}.")
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        of_two = " Pass the column of the condition, such as probabilities[:, 1]." if array.ndim == 2 else ""
        raise InputError(f"Expected {_called(name)} in one dimension, got shape {array.shape}.{of_two}")
    return pd.Series(array)


def _called(name: Any) -> str:
    return f"risk of {name[1]!r}" if isinstance(name, tuple) else str(name)
