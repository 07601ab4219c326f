"""Spread: how far a measure moves when only the seed or the fold of the training changes."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.evaluation.record import Spread
from clineval.predictions import MEMBER_COLUMNS, OUT_OF_FOLD, encode
from clineval.statistics import calibration, roc

MEASURES = {"auc": roc.auc, "brier": calibration.brier}
"""What is followed from member to member: one measure of ranking and one of the risks themselves."""

_SD = "spread over trained members, not an interval over cases; sample standard deviation"
_FOLDS = "; each member is scored on its own cases, so the spread holds their differences too"


def spread_of(members: pd.DataFrame, *, population: str) -> tuple[Spread, ...]:
    """The spread of each measure over the members of one model on one population.

    Parameters
    ----------
    members : rows of one model and population with ``seed`` and/or ``fold`` beside outcome and risk.
    population : its name; out-of-fold rows are told apart, for there members see different cases.

    Returns
    -------
    A Spread per measure; none where there are fewer than two members.
    """
    over, codes, names = _member_codes(members)
    if len(names) < 2:
        return ()
    parts = _parts(members, codes, len(names))
    words = _SD + (_FOLDS if population == OUT_OF_FOLD else "")
    return tuple(_spread(measure, over, names, parts, words) for measure in MEASURES)


def _member_codes(members: pd.DataFrame) -> tuple[str, NDArray[np.int64], tuple[str, ...]]:
    """What tells the members apart (``seed``, ``fold`` or both), each row's member, the members' names."""
    there = [name for name in MEMBER_COLUMNS if name in members]
    varying = [name for name in there if members[name].nunique() > 1] or there[:1]
    keys = pd.MultiIndex.from_arrays([members[name].astype(str) for name in varying])
    codes, values = pd.factorize(keys)
    names = tuple(
        ", ".join(f"{column} {part}" for column, part in zip(varying, value, strict=True)) for value in values
    )
    return " and ".join(varying), codes, names


def _parts(members: pd.DataFrame, codes: NDArray[np.int64], number: int) -> list[tuple[NDArray, NDArray]]:
    outcome, risk = members["outcome"].to_numpy(), members["risk"].to_numpy()
    return [(outcome[codes == code], risk[codes == code]) for code in range(number)]


def _spread(
    measure: str, over: str, names: tuple[str, ...], parts: list[tuple[NDArray, NDArray]], words: str
) -> Spread:
    values = np.array([MEASURES[measure](outcome, risk).value for outcome, risk in parts])
    known = values[~np.isnan(values)]
    if len(known) < len(values):
        words += f"; undefined for {len(values) - len(known)} of {len(values)} members"
    mean, sd, lowest, highest = _summary(known)
    return Spread(measure, over, names, tuple(values.tolist()), mean, sd, lowest, highest, words)


def _summary(values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Mean, sample standard deviation, lowest and highest; NaN of fewer than two values."""
    if len(values) < 2:
        return np.nan, np.nan, np.nan, np.nan
    return float(values.mean()), float(values.std(ddof=1)), float(values.min()), float(values.max())


def members_by_population(
    members: pd.DataFrame, clean: frozenset[str] | None
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Model, population and rows of a table of members; ``clean`` are the cases of ``test_clean``."""
    model, models = encode(members["model"])
    split, splits = encode(members["split"])
    for m, model_name in enumerate(models):
        for s, split_name in enumerate(splits):
            rows = members[(model == m) & (split == s)]
            if len(rows):
                yield model_name, split_name, rows
                if split_name == "test" and clean is not None:
                    yield model_name, "test_clean", rows[rows["case"].isin(clean)]
