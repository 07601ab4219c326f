"""What the words in a table's cells mean: splits, outcomes and numbers, alike in every table that is read."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_SET = re.compile(r"[\s_-]*(set|split|data|cases)$")  # "test set", "training_data"
_NEAR = 0.75  # similarity of two words, 0 to 1, from which on one may be the other misspelt
_UNCLEAR = {
    **dict.fromkeys(("development", "derivation", "discovery", "learning"), "train or val"),
    **dict.fromkeys((*map(str, range(10)), *(f"{digit}.0" for digit in range(10))), "train, val or test"),
}


def split_of(word: str) -> str | None:
    """The split that a word names, whatever its case: train, val or test; None where it names none.

    Examples
    --------
    >>> split_of("Training"), split_of(" VALID "), split_of("Test set"), split_of("hospital-b")
    ('train', 'val', 'test', None)
    """
    return _SPLIT_WORDS.get(word.strip().casefold()) or _SPLIT_WORDS.get(_without_set(word))


def split_meant(word: str) -> str | None:
    """The split that a word which names none probably means; None where it is like none of them.

    Examples
    --------
    >>> split_meant("trian"), split_meant("vald"), split_meant("derivation"), split_meant("hospital-b")
    ('train', 'val', 'train or val', None)
    """
    bare = _without_set(word)
    alike = [known for known in _SPLIT_WORDS if known[:1] == bare[:1]]  # "west" is no slip of "test"
    near = get_close_matches(bare, alike, n=1, cutoff=_NEAR)
    return _UNCLEAR.get(bare) or (_SPLIT_WORDS[near[0]] if near else None)


def _without_set(word: str) -> str:
    bare = word.strip().casefold()
    found = _SET.search(bare)
    return bare[: found.start()] if found and found.start() > 2 else bare


def is_value(cells: NDArray[np.str_], wanted: str) -> NDArray[np.bool_]:
    """Which cells hold a value, shape (n,): the same text, or the same number as ``1`` and ``1.0`` are.

    Examples
    --------
    >>> is_value(np.array(["1.0", "0,0", "yes"]), "1").tolist()
    [True, False, False]
    """
    same = np.array([value == wanted or _same_number(value, wanted) for value in np.unique(cells).tolist()])
    return same[np.unique(cells, return_inverse=True)[1]] if len(cells) else np.zeros(0, bool)


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one.replace(",", ".")) == float(other.replace(",", "."))
    except ValueError:
        return False


UNITS = (
    *("mm", "cm", "m", "µm", "μm", "um", "mm2", "mm²", "cm2", "cm²", "mm3", "mm³", "cm3", "cm³"),
    *("ml", "cc", "l", "g", "mg", "kg", "kg/m2", "kg/m²", "ng/ml", "mg/dl", "mmol/l", "mmhg", "bpm"),
    *("%", "°", "°c", "hz", "khz", "mhz", "db", "kv", "kvp", "ma", "mas", "px", "dpi", "mgy", "msv"),
    *("y", "yr", "yrs", "year", "years", "yo", "y/o", "mo", "month", "months", "w", "wk", "week", "weeks"),
    *(
        "d",
        "day",
        "days",
        "h",
        "hr",
        "hour",
        "hours",
        "min",
        "s",
        "sec",
        "ms",
        "jahre",
        "ans",
        "años",
        "anni",
    ),
)
"""What may stand behind the number in a cell, in small letters; text behind it that is none stays text."""

_MISSING = ("", "na", "n/a", "nan", "null", "none", "#n/a", "-", "?", ".")
_SPACES = " \u00a0\u202f"
_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))


@dataclass(frozen=True)
class Notation:
    """How the numbers of a column are written: the decimal sign, what parts thousands, and the unit.

    Examples
    --------
    >>> Notation(",", ".", "mm").number("1.024,5 mm")
    1024.5
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    def number(self, cell: str) -> float:
        """The number in a cell that ``notation_of`` found to be written so; NaN where nothing is told."""
        if is_missing(cell):
            return math.nan
        bare = cell.strip()[: -len(self.unit)] if self.unit else cell
        for sign in _SPACES if self.thousands == " " else self.thousands:
            bare = bare.replace(sign, "")
        return float(bare.replace(self.decimal, "."))

    @property
    def words(self) -> str:
        """The same in words; empty for plain numbers."""
        names = {",": "commas", ".": "points", " ": "spaces", "'": "apostrophes"}
        parts = [
            "a decimal comma" if self.decimal == "," else "",
            f"{names[self.thousands]} between thousands" if self.thousands else "",
            f"the unit {self.unit} left out" if self.unit else "",
        ]
        return " and ".join(filter(None, parts))


_PLAIN = (".", "")
_FORMS = (_PLAIN, (".", ","), (",", ""), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))
_COMMA_FORMS = (_PLAIN, (",", ""), (",", "."), *_FORMS[1:])


def is_missing(cell: str | None) -> bool:
    """Whether a cell among numbers says that there is none, as ``NA`` and an empty one do."""
    return cell is None or cell.strip().casefold() in _MISSING


def notation_of(cells: Iterable[str | None], *, comma_is_decimal: bool = False) -> Notation | None:
    """The one way in which all the numbers of a column are written; None where they are not, or are words.

    Parameters
    ----------
    cells : the distinct values; those that say that there is none (``NA``) are passed over.
    comma_is_decimal : how to read a column in which every comma has three digits behind it, as in ``1,024``:
        as ``1.024`` in a table that has semicolons between its columns, else as 1024.

    Examples
    --------
    >>> notation_of(["1,5 mm", "2 mm"])
    Notation(decimal=',', thousands='', unit='mm')
    >>> notation_of(["1,5", "2.5"]) is None, notation_of(["up to 3"]) is None
    (True, True)
    """
    numbers, units = [], set()
    for cell in cells:  # a column of words ends at its first one
        if cell is None or is_missing(cell):
            continue
        found = _NUMBER_AND_UNIT.fullmatch(cell.strip())
        if not found:
            return None
        numbers.append(found["number"])
        units.add(found["unit"] or "")
    if len({unit.casefold() for unit in units}) > 1:
        return None
    for decimal, thousands in _COMMA_FORMS if comma_is_decimal else _FORMS:
        if all(map(_number_in(decimal, thousands).fullmatch, numbers)):
            return Notation(decimal, thousands, min(units, default=""))
    return None


_NUMBER_AND_UNIT = re.compile(
    rf"(?P<number>[+-]?[\d.,'{_SPACES}]*\d(?:[eE][+-]?\d+)?)[{_SPACES}]*(?P<unit>{_UNIT})?", re.IGNORECASE
)


def _number_in(decimal: str, thousands: str) -> re.Pattern[str]:
    groups = (
        rf"[1-9]\d{{0,2}}(?:[{_SPACES if thousands == ' ' else thousands}]\d{{3}})+|" if thousands else ""
    )
    return re.compile(rf"[+-]?(?:{groups}\d+|(?=[{decimal}]))(?:[{decimal}]\d*)?(?:[eE][+-]?\d+)?")


def plain_numbers(cells: NDArray[np.str_], *, comma_is_decimal: bool) -> tuple[NDArray[np.str_], str]:
    """The numbers of a column of text in plain writing, and what was different, in words.

    Other columns come back as they are, with no words.

    Examples
    --------
    >>> plain_numbers(np.array(["12,5 mm", "NA", "8 mm"]), comma_is_decimal=True)
    (array(['12.5', '', '8.0'], dtype='<U4'), 'a decimal comma and the unit mm left out')
    """
    seen, code = np.unique(cells, return_inverse=True)
    notation = notation_of(seen.tolist(), comma_is_decimal=comma_is_decimal)
    if notation is None or not notation.words:
        return cells, ""
    plain = ["" if is_missing(cell) else repr(notation.number(cell)) for cell in seen.tolist()]
    return np.array(plain)[code], notation.words
