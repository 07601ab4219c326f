"""What the words in a table's cells mean: splits and outcomes, alike in every table that is read."""

from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_NEAR = 0.75  # similarity of two words, 0 to 1, from which on one may be the other misspelt


def split_of(word: str) -> str | None:
    """The split that a word names, whatever its case: train, val or test; None where it names none.

    Examples
    --------
    >>> split_of("Training"), split_of(" VALID "), split_of("hospital-b")
    ('train', 'val', None)
    """
    return _SPLIT_WORDS.get(word.strip().casefold())


def split_meant(word: str) -> str | None:
    """The split that a misspelt word probably means; None where it is like none of them.

    Examples
    --------
    >>> split_meant("trian"), split_meant("vald"), split_meant("hospital-b")
    ('train', 'val', None)
    """
    near = get_close_matches(word.strip().casefold(), _SPLIT_WORDS, n=1, cutoff=_NEAR)
    return _SPLIT_WORDS[near[0]] if near else None


def is_value(cells: NDArray[np.str_], wanted: str) -> NDArray[np.bool_]:
    """Which cells hold a value, shape (n,): the same text, or the same number as ``1`` and ``1.0`` are.

    Examples
    --------
    >>> is_value(np.array(["1.0", "0.0", "yes"]), "1").tolist()
    [True, False, False]
    """
    same = np.array([value == wanted or _same_number(value, wanted) for value in np.unique(cells).tolist()])
    return same[np.unique(cells, return_inverse=True)[1]] if len(cells) else np.zeros(0, bool)


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False
