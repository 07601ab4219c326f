"""Neighbouring risks gathered into columns: one per distinct risk, or quantile bins where there are many."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """The column of each case (n,), from the lowest risks up, and the least risk in each column (k,)."""

    of_case: NDArray[np.intp]
    least: Floats
    binned: bool

    @property
    def number(self) -> int:
        """How many columns there are."""
        return len(self.least)


def columns_by_risk(risk: Floats, most: int) -> Columns:
    """At most ``most`` columns of about equally many cases, equal risks always together.

    Each distinct risk has a column of its own where they are no more than ``most``; ``binned`` says that
    they are more.
    """
    order = np.argsort(risk)
    ranked = risk[order]
    starts = np.empty(len(risk), dtype=bool)
    starts[:1] = True
    np.not_equal(ranked[1:], ranked[:-1], out=starts[1:])
    binned = np.count_nonzero(starts) > most
    if binned:
        first = np.flatnonzero(starts)
        opens = np.diff(first * most // len(risk), prepend=-1) > 0
        starts[first[~opens]] = False
    of_case = np.empty(len(risk), dtype=np.intp)
    of_case[order] = np.cumsum(starts) - 1
    return Columns(of_case, ranked[starts], bool(binned))
