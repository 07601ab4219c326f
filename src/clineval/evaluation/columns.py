"""Which columns of a table make subgroups, in which order, and why the others do not.

By default every column does that can group cases. Those that a clinician asks for first come first, known
by the words of their names; what only describes the picture's file, and what names single cases, is left
out and said to be. Columns that were chosen are taken as chosen.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from clineval.predictions import attributes
from clineval.refusal import Refusal, in_short

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
"""Words of which a name that speaks of the picture's file, and of nothing else, is made."""

MEANS_MORE = frozenset({"original", "left", "right", "top", "bottom", "size", "mask"})
"""Words of ``GEOMETRY`` that may speak of the patient where they stand alone."""

NOT_CHOSEN = "not among the columns that were chosen"
FILE_ONLY = "named for the picture's file, not for the patient"
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
    Refusal : a chosen column is not in the table.
    """
    there = attributes(cases)
    check_chosen(chosen, there)
    if chosen:
        rest = [name for name in there if name not in chosen]
        return {**{name: _ungrouped(cases[name]) for name in chosen}, **dict.fromkeys(rest, NOT_CHOSEN)}
    columns: dict[str, pd.Series] = {name: cases[name] for name in there}
    reasons = {name: _left_out(name, column) for name, column in columns.items()}
    order = sorted(there, key=lambda name: (bool(reasons[name]), *_rank(name, columns[name])))
    return {name: reasons[name] for name in order}


def check_chosen(chosen: Iterable[str], there: Sequence[str]) -> None:
    """Refuse a chosen column that there is not."""
    for name in chosen:
        if name not in there:
            known = in_short(list(there)) or "none"
            raise Refusal(
                f"--attribute needs one of the table's further columns ({known}); came {name!r}, which is "
                "not there or serves as image, outcome or group."
            )


def _left_out(name: str, column: pd.Series) -> str:
    words = _words(name)
    if words and words <= GEOMETRY and not (len(words) == 1 and words <= MEANS_MORE):
        return FILE_ONLY
    return _ungrouped(column) or _naming(column)


def _ungrouped(column: pd.Series) -> str:
    """Why no values of a column can be told apart as groups; empty where they can."""
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
