"""A table's columns as names, splits, outcomes, risks and attributes, each cell checked and understood."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clineval.errors import InputError, in_short, option
from clineval.tables.reading import Origin


def in_other_case(names: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """The one column that each wanted name means where none has it and case alone differs.

    Examples
    --------
    >>> in_other_case(["Case", "Reader", "READER", "score"], ["case", "reader", "score"])
    {'case': 'Case'}
    """
    held = list(names)
    alike = {name: [each for each in held if each.casefold() == name] for name in wanted}
    return {name: found[0] for name, found in alike.items() if len(found) == 1 and found[0] != name}


SPLITS = ("train", "val", "test")
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_IN_OTHER_LANGUAGES = {  # read as the split, but no word is taken for a slip of one
    word: split
    for split, words in (
        ("train", "entraînement entrainement apprentissage entrenamiento addestramento treinamento treino"),
        ("val", "validierung validación validacion validazione validação validacao validatie"),
        ("test", "prueba teste"),
    )
    for word in words.split()
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
    known = {**_SPLIT_WORDS, **_IN_OTHER_LANGUAGES}
    whole = unicodedata.normalize("NFC", word.strip().casefold())
    return known.get(whole) or known.get(_without_set(whole))


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

_FAULTS = ("#n/a", "#ref!", "#div/0!", "#value!", "#name?", "#num!", "#null!")  # of a spreadsheet
_MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?", ".", *_FAULTS)
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


Warn = Callable[[str], None]
Floats = NDArray[np.float64]

TRAIN, VAL, OUT_OF_FOLD, TEST = "train", "val", "train_out_of_fold", "test"

ROUNDING = 1e-4
"""How far beyond 0 to 1 a risk may lie by rounding: sums in single precision are off by less."""

TEXT = pd.StringDtype("pyarrow")
_TRUE, _FALSE = ("1", "true"), ("0", "false")
_OUT_OF_FOLD = (OUT_OF_FOLD, "out_of_fold", "oof", "train_oof", "training_out_of_fold")


@dataclass(frozen=True)
class Column:
    """One column as given, under the name that its owner gave it."""

    values: Any
    title: str
    origin: Origin

    @property
    def text(self) -> Any:
        """Every cell as text without the spaces around it, which cells of a CSV have lost already."""
        text = as_text(self.values)
        return text if self.origin.path else pc.utf8_trim_whitespace(text)

    def cell(self, index: int) -> str:
        """A cell's place in words."""
        return f"{self.origin.row(index)}, column {self.title!r}"

    def first(self, mask: NDArray[np.bool_]) -> tuple[str, str]:
        """The place and the content of the first cell of a mask, in words."""
        index = int(np.argmax(mask))
        return self.cell(index), _shown(self.values[index])


MOST_ALIKE = 50
"""Values beyond which a column makes no sites or subgroups, so that their spelling says nothing."""

ALIKE = " differ in nothing but case, blanks, zeros in front or Unicode form"

COUNTED_APART = "are counted apart; where they mean the same, write them in one way."


def spelt_alike(values: Any, *, most: int | None = MOST_ALIKE) -> str:
    """A clause that names values which differ only in how they are spelt; empty where none do.

    Parameters
    ----------
    values : text, an Arrow array; empty cells say nothing.
    most : distinct values, spelling apart, beyond which nothing is said; None: however many.

    Examples
    --------
    >>> spelt_alike(pa.array(["GE Logiq", "Esaote", "ge  logiq"]))
    "'GE Logiq' and 'ge  logiq' differ in nothing but case, blanks, zeros in front or Unicode form"
    """
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    distinct = pc.unique(whole).drop_null()
    spaced = pc.replace_substring_regex(pc.utf8_normalize(distinct, "NFC"), r"\s+", " ")
    small = pc.utf8_lower(pc.utf8_trim_whitespace(spaced))
    plain = pc.replace_substring_regex(small, r"^0*(\d+)(\.0+)?$", r"\1").dictionary_encode()
    if len(plain.dictionary) == len(distinct) or (most is not None and len(plain.dictionary) > most):
        return ""
    kin: dict[int, list[str]] = {}
    for code, value in zip(plain.indices.to_pylist(), distinct.to_pylist(), strict=True):
        kin.setdefault(code, []).append(repr(value))
    told = [" and ".join(each) for each in kin.values() if len(each) > 1]
    return f"{in_short(told)}{ALIKE}" if told else ""


TAKEN_FOR_ONE = "so that several may be taken for one; write such names as text in the table."

SHORTENED = " is a number that a spreadsheet shortened"


def shortened(values: Any) -> str:
    """A clause that names a value such as ``1.23457E+11``, for which several were taken; empty without one.

    Examples
    --------
    >>> shortened(pa.array(["P1", "1,23457E+11"]))
    "'1,23457E+11' is a number that a spreadsheet shortened"
    """
    texts = values.cast(pa.string())
    found = texts.filter(pc.match_substring_regex(texts, r"^\d([.,]\d+)?E\+\d\d$"))
    return f"{found[0].as_py()!r}{SHORTENED}" if len(found) else ""


def as_names(column: Column, *, needed: bool = True) -> Any:
    """Text of every cell; where ``needed``, an empty one is refused."""
    text = column.text
    nameless = pc.fill_null(pc.equal(text, ""), True)
    if needed and pc.any(nameless).as_py():
        place, _ = column.first(nameless.to_numpy(zero_copy_only=False))
        raise InputError(f"{place}: expected a name, got nothing. Fill the cell.")
    return pc.fill_null(text, "")


def as_splits(column: Column) -> Any:
    """Names of splits, known ones in one spelling; a word that may be a slip of one is refused."""
    codes, seen = encoded(as_names(column))
    words = seen.to_pylist()
    known = [split_or_cohort(word) for word in words]
    if None in known:
        unknown = known.index(None)
        place, shown = column.first(codes == unknown)
        raise InputError(
            f"{place}: expected train, val, test, {OUT_OF_FOLD} or the name of an external cohort, got "
            f"{shown}. Write {split_meant(words[unknown])} if that is meant, or give the cohort another name."
        )
    places = {name: place for place, name in enumerate(dict.fromkeys(known))}
    merged = np.array([places[name] for name in known], dtype=np.int32)[codes]
    return pa.DictionaryArray.from_arrays(pa.array(merged), pa.array(list(places), type=pa.large_string()))


def split_or_cohort(word: str) -> str | None:
    """The split that a word names, or the word as a cohort's own name; None where it is not clear."""
    if word.casefold().replace("-", "_").replace(" ", "_") in _OUT_OF_FOLD:
        return OUT_OF_FOLD
    return split_of(word) or (None if split_meant(word) else word)


def as_outcome(column: Column, *, positive: str | None, warn: Warn) -> NDArray[np.bool_]:
    """Whether the condition is present: 1 or true, or the word ``positive``; every cell must say."""
    values = column.values
    if positive is None and values.null_count == 0:
        if pa.types.is_boolean(values.type):
            return np.asarray(values)
        numbers = values.to_numpy() if pa.types.is_integer(values.type) else None
        if numbers is not None and bool(((numbers == 0) | (numbers == 1)).all()):
            return np.asarray(numbers == 1)
    codes, seen = encoded(pc.fill_null(column.text, ""))
    words = np.array(seen.to_pylist(), dtype=np.str_)
    if (unknown := says_nothing(words, positive=positive)).any():
        place, shown = column.first(codes == int(np.argmax(unknown)))
        raise InputError(f"{place}: expected an outcome, got {shown}. {NOT_KNOWN}")
    if positive is not None and pa.types.is_boolean(values.type):
        positive = positive.lower()  # True is written so in Python
    if positive is None:
        return _outcome_of_known(column, codes, words)
    return named_outcome(words, np.bincount(codes), positive, place=_place(column), warn=warn)[codes]


def _outcome_of_known(column: Column, codes: NDArray[Any], words: NDArray[np.str_]) -> NDArray[np.bool_]:
    small = np.char.lower(words)
    yes, no = (np.any([is_value(small, one) for one in known], axis=0) for known in (_TRUE, _FALSE))
    if not (yes | no).all():
        place, shown = column.first(~(yes | no)[codes])
        raise InputError(
            f"{place}: expected 1 or 0 (true or false), 1 where the condition is present, got {shown}. Say "
            f"which value means the condition with {option('--positive VALUE', 'positive=VALUE')}."
        )
    return np.asarray(yes[codes])


NOT_KNOWN = "Fill the cell or take the row out."

_NOT_KNOWN = ("", "na", "n/a", "nan", "null", "?", ".", "unknown", "missing", "not known", *_FAULTS)


def says_nothing(words: NDArray[np.str_], *, positive: str | None) -> NDArray[np.bool_]:
    """Which of an outcome column's values say that it is not known, shape (values,); never ``positive``.

    ``none`` and ``-`` may stand for the absence of the condition, and so are no such values.

    Examples
    --------
    >>> says_nothing(np.array(["yes", "NA", "none", "Unknown"]), positive="yes").tolist()
    [False, True, False, True]
    """
    wanted = words == positive.strip() if positive else np.zeros(len(words), bool)
    return np.isin(np.char.lower(words), _NOT_KNOWN) & ~wanted


def is_mistyped(word: str, wanted: str) -> bool:
    """Whether a word is another with one letter left out, added or changing places with the next.

    A first letter is not looked at, nor a letter in the place of another: these make words of their own.

    Examples
    --------
    >>> [is_mistyped(word, "malignant") for word in ("maligant", "Malignnat", "benign", "nonmalignant")]
    [True, True, False, False]
    >>> is_mistyped("atypical", "typical"), is_mistyped("type B", "type A")
    (False, False)
    """
    shorter, longer = sorted((word.strip().casefold(), wanted.strip().casefold()), key=len)
    if len(shorter) < SHORTEST_MISTYPED or shorter[0] != longer[0] or len(longer) - len(shorter) > 1:
        return False
    if len(longer) > len(shorter):
        places = [place for place, letter in enumerate(longer) if letter.isalpha()]
        return any(longer[:place] + longer[place + 1 :] == shorter for place in places)
    pairs = [place for place in range(len(longer) - 1) if longer[place : place + 2].isalpha()]
    swapped = (longer[:place] + longer[place + 1] + longer[place] + longer[place + 2 :] for place in pairs)
    return shorter != longer and shorter in swapped


SHORTEST_MISTYPED = 6  # letters; shorter words have neighbours that are words

OTHERS = "every other value counts as its absence"


def named_outcome(
    words: NDArray[np.str_],
    count: NDArray[np.int64],
    positive: str,
    *,
    place: str,
    warn: Warn = lambda sentence: None,
) -> NDArray[np.bool_]:
    """Which of an outcome column's values mean the condition, shape (values,).

    Parameters
    ----------
    words, count : the distinct values and how many rows have each, shape (values,).
    positive : the value that means the condition; as a number it may be written otherwise (1 and 1.0).
    place : file and column, for messages.

    Raises
    ------
    InputError : no row has the value, some have it in other letters, or some say that it is not known.
    """
    wanted = positive.strip()
    if (unknown := says_nothing(words, positive=wanted)).any():
        rows = int(count[unknown].sum())
        told = f"{str(words[unknown][0])!r} in {rows:,} row{'s' if rows > 1 else ''}"
        raise InputError(f"{place}: expected an outcome in each row, got {told}. {NOT_KNOWN}")
    given = option(f"--positive {wanted!r}", f"positive={wanted!r}")
    seen = ", ".join(
        in_short([f"{word!r} ({n:,})" for word, n in zip(words.tolist(), count.tolist(), strict=True)]).split(
            "; "
        )
    )
    yes = is_value(words, wanted)
    if not yes.any():
        raise InputError(f"{place}: {given} is in no row; the values are {seen}.")
    alike = [word for word in words[~yes].tolist() if word.casefold() == wanted.casefold()]
    if alike:
        raise InputError(f"{place}: {wanted!r} and {alike[0]!r} both occur; write the condition in one way.")
    mistyped = [word for word in words[~yes].tolist() if is_mistyped(word, wanted)]
    if mistyped:
        raise InputError(f"{place}: {mistyped[0]!r} looks like {wanted!r} mistyped; the values are {seen}.")
    if len(words) - yes.sum() > 1:
        warn(f"{place}: {wanted!r} means the condition; {OTHERS}: {seen}.")
    return yes


def as_risk(column: Column, *, warn: Warn) -> Floats:
    """Probabilities from 0 to 1, exactly as written; what is beyond by rounding is clipped and said."""
    risk, comma = _as_numbers(column.values)
    if not (valid := (risk >= 0) & (risk <= 1)).all():  # NaN passes neither comparison
        if not ((risk >= -ROUNDING) & (risk <= 1 + ROUNDING)).all():
            place, shown = column.first(~valid)
            reason = _why_no_numbers(column.values, risk) or _why_no_risks(risk)
            raise InputError(f"{place}: expected a probability from 0 to 1, got {shown}. {reason}".rstrip())
        beyond = risk[~valid]
        furthest = beyond[np.argmax(np.abs(beyond - 0.5))]
        told = f"{len(beyond):,} value{'s' if len(beyond) > 1 else ''} beyond 0 or 1 by rounding clipped"
        warn(f"{_place(column)}: {told}; the furthest was {furthest:.10g}.")
        risk = np.clip(risk, 0, 1)
    if comma:
        warn(_comma_read(column))
    return risk


def as_score(column: Column, *, warn: Warn) -> Floats:
    """Scores of any range in which more means the condition is likelier; all must be finite."""
    score, comma = _as_numbers(column.values)
    if not (finite := np.isfinite(score)).all():
        place, shown = column.first(~finite)
        reason = _why_no_numbers(column.values, score)
        raise InputError(f"{place}: expected a finite number, got {shown}. {reason}".rstrip())
    if comma:
        warn(_comma_read(column))
    return score


def _comma_read(column: Column) -> str:
    return f"{_place(column)}: the numbers have a decimal comma, which was read as a decimal point."


def _place(column: Column) -> str:
    return f"{column.origin.name}, column {column.title!r}"


def _why_no_numbers(values: Any, numbers: Floats) -> str:
    """What to do where cells are no numbers, judged by all of these; empty where all are."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not _is_text(values.type):
        return ""
    bad = pc.unique(values.filter(pa.array(np.isnan(numbers)))) if np.isnan(numbers).any() else []
    cells = [str(cell) for cell in bad if cell.is_valid and cell.as_py() != ""]
    if any("%" in cell for cell in cells):
        return "The column holds percentages with a % sign: leave the sign out and divide by 100."
    if any("," in cell for cell in cells):
        return (
            "Some of its cells have a comma and others a point: write every number with a decimal point, or "
            "every one with a decimal comma."
        )
    return ""


def _why_no_risks(risk: Floats) -> str:
    """What numbers are that are no probabilities, judged by the whole column, and what to do."""
    known = risk[np.isfinite(risk)]
    if not len(known):
        return ""
    low, high = float(known.min()), float(known.max())
    span = f"The column's values, from {low:.4g} to {high:.4g}, are"
    as_scores = option("--scores", "scores=True")
    if low < -ROUNDING:
        return (
            f"{span} scores such as logits: turn them into probabilities, or rank by them with {as_scores}."
        )
    if high <= 10 and bool((known == np.round(known)).all()) and high > 1:
        return f"{span} ratings in whole numbers, not probabilities: rank by them with {as_scores}."
    if high <= 100 * (1 + ROUNDING) and np.mean(known > 1) >= 0.5 and high > 10:
        return f"{span} percentages, it seems: divide them by 100."
    beyond = int(((known < 0) | (known > 1)).sum())
    if beyond < len(known) / 2:
        return f"{beyond:,} of {len(risk):,} values lie beyond 0 to 1: look at these rows." if beyond else ""
    return (
        f"{span} scores, not probabilities: turn them into probabilities, or rank by them with {as_scores}."
    )


def as_attribute(column: Column, *, comma_is_decimal: bool, warn: Warn) -> pd.Series:
    """Numbers where every cell that is filled is one, else text; empty where a cell is empty.

    Decimal commas, signs between thousands and one unit behind every number are understood and said, and
    that a number may be a code for "not known".
    """
    found = _as_attribute(column, comma_is_decimal=comma_is_decimal, warn=warn)
    if found.dtype == np.float64 and (words := code_for_unknown(found.to_numpy())):
        warn(f"{_place(column)}: {words}.")
    return found


_CODES = (9, 99, 999, 9999)


def code_for_unknown(numbers: Floats) -> str:
    """A clause that names a value such as 99 or -999 far from all others; empty where there is none.

    Examples
    --------
    >>> code_for_unknown(np.array([31.0, 64.0, 52.0, -999.0, np.nan]))
    '-999 in 1 row lies far from all other values; where it means "not known", empty the cell'
    >>> code_for_unknown(np.array([1.0, 5.0, 9.0]))
    ''
    """
    seen = np.unique(numbers[np.isfinite(numbers)])
    for code, others in ((seen[-1:], seen[:-1]), (seen[:1], seen[1:])):
        far = len(others) > 1 and np.abs(others - code).min() > np.ptp(others)
        if far and abs(code[0]) in _CODES:
            rows = int((numbers == code[0]).sum())
            where = f"{code[0]:g} in {rows:,} row{'s' if rows > 1 else ''}"
            return f'{where} lies far from all other values; where it means "not known", empty the cell'
    return ""


def _as_attribute(column: Column, *, comma_is_decimal: bool, warn: Warn) -> pd.Series:
    values = column.values
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        with suppress(pa.ArrowInvalid):  # whole numbers above 2^53, as some identifiers are, stay text
            return pd.Series(_in_full(values).cast(pa.float64()).to_numpy(zero_copy_only=False))
    return _of_text(column, comma_is_decimal=comma_is_decimal, warn=warn)


def _of_text(column: Column, *, comma_is_decimal: bool, warn: Warn) -> pd.Series:
    values = column.text
    filled = pc.if_else(pc.equal(values, ""), pa.scalar(None, values.type), values)
    with suppress(pa.ArrowException):
        numbers = filled.cast(pa.float64())
        most = pc.max(pc.abs(numbers)).as_py()
        if (
            most is not None
            and most >= 2.0**53
            and pc.any(pc.match_substring_regex(filled, r"^[+-]?\d{16,}$")).as_py()
        ):
            return pd.Series(filled, dtype=TEXT)
        return pd.Series(numbers.to_numpy(zero_copy_only=False))
    if notation_of(filled.slice(0, 100).to_pylist(), comma_is_decimal=comma_is_decimal) is None:
        return pd.Series(filled, dtype=TEXT)  # a column of words ends here, without a look at all of it
    codes, seen = encoded(filled)
    notation = notation_of(seen.to_pylist(), comma_is_decimal=comma_is_decimal)
    if notation is None:
        return pd.Series(filled, dtype=TEXT)
    if notation.words:
        warn(f"{_place(column)}: read as numbers, with {notation.words}.")
    return pd.Series(np.array([*map(notation.number, seen.to_pylist()), np.nan])[codes])


def as_text(values: Any) -> Any:
    """Text of any kind of column; whole numbers stored as floats lose their ``.0``."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    values = _in_full(values)
    if pa.types.is_floating(values.type) and _all_whole(values):
        values = values.cast(pa.int64())
    try:
        return values.cast(pa.large_string())
    except pa.ArrowException:  # lists and kin, which only Python puts into words
        words = [None if cell is None else str(cell) for cell in values.to_pylist()]
        return pa.chunked_array([pa.array(words, type=pa.large_string())])


def _in_full(values: Any) -> Any:
    """Numbers of half and single precision as the shortest decimals they stand for: 0.7, not 0.69999999."""
    if pa.types.is_float16(values.type):
        halves, codes = np.unique(values.to_numpy(), return_inverse=True)
        return pa.chunked_array([pa.array(np.array([float(str(half)) for half in halves])[codes])])
    return values.cast(pa.string()).cast(pa.float64()) if pa.types.is_float32(values.type) else values


def _all_whole(values: Any) -> bool:
    """Whether every number is whole and small enough to be distinguished from its neighbours, below 2^53."""
    known = values.drop_null()
    whole = pc.and_(pc.equal(pc.floor(known), known), pc.less(pc.abs(known), 2.0**53))
    return bool(pc.all(whole).as_py())


def _as_numbers(values: Any) -> tuple[Floats, bool]:
    """Exactly the numbers that were written, NaN for other cells; and whether they have decimal commas."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if _is_text(values.type):
        values = pc.utf8_trim_whitespace(values)
    with suppress(pa.ArrowException):
        return _floats(_in_full(values)), False
    if _is_text(values.type) and not pc.any(pc.match_substring(values, ".")).as_py():
        with suppress(pa.ArrowException):
            return _floats(pc.replace_substring(values, ",", ".")), True
    return np.array([_number(cell) for cell in values.to_pylist()], dtype=np.float64), False


def _floats(values: Any) -> Floats:
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _number(cell: Any) -> float:
    try:
        # Python also reads 0.1_5 and digits of other scripts; no table means those
        return float(cell) if str(cell).isascii() and "_" not in str(cell) else float("nan")
    except (TypeError, ValueError):
        return float("nan")


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _shown(cell: Any) -> str:
    value = cell.as_py() if hasattr(cell, "as_py") else cell
    return "nothing" if value is None or value == "" else repr(value)[:60]


def encoded(values: Any) -> tuple[NDArray[np.int32], Any]:
    """Codes by first appearance, -1 for none, and the distinct values."""
    # one array encodes ten times faster than chunks
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    found = whole if pa.types.is_dictionary(whole.type) else pc.dictionary_encode(whole)
    codes = pc.fill_null(found.indices, -1) if found.indices.null_count else found.indices
    return codes.to_numpy(zero_copy_only=False).astype(np.int32, copy=False), found.dictionary
