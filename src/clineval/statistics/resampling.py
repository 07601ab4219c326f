"""Bootstrap of sums over any number of cases: whole groups gathered into at most a few thousand units."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clineval.statistics.counts import group_codes

# Units per stratum. A thousand fix the bootstrap's standard error to 1 / sqrt(2 x 1000) = 2 %, which is
# also what a thousand draws leave open; fewer groups than that are units of their own.
MOST_UNITS = 1000


@dataclass(frozen=True)
class Units:
    """What a bootstrap draws: ``of_case`` (n,) says which unit each case is in, ``strata`` which units are
    drawn among each other, ``gathered`` whether units hold several groups, picked by chance."""

    of_case: NDArray[np.intp]
    strata: tuple[NDArray[np.intp], ...]
    gathered: bool

    @property
    def number(self) -> int:
        """How many units there are."""
        return sum(len(stratum) for stratum in self.strata)

    def weights(self, draws: int, seed: int) -> NDArray[np.float64]:
        """How often each unit comes in each resample, shape (draws, units)."""
        rng = np.random.default_rng(seed)
        weights = np.zeros((draws, self.number))
        for stratum in self.strata:
            drawn = rng.integers(len(stratum), size=(draws, len(stratum)))
            drawn += len(stratum) * np.arange(draws)[:, None]
            counted = np.bincount(drawn.ravel(), minlength=draws * len(stratum))
            weights[:, stratum] = counted.reshape(draws, len(stratum))
        return weights

    def sums(
        self, column: NDArray[np.intp], columns: int, values: NDArray | None = None
    ) -> NDArray[np.float64]:
        """Cases (or their ``values``, summed) by unit and column, shape (units, columns).

        ``column`` (n,) gives the place of each case; so a resample's sums are ``weights @ sums``.
        """
        cell = self.of_case * columns + column
        size = self.number * columns
        return np.bincount(cell, weights=values, minlength=size).reshape(-1, columns).astype(np.float64)


def resampling_units(
    outcome: NDArray[np.bool_],
    group: ArrayLike | None,
    *,
    stratified: bool,
    most: int = MOST_UNITS,
) -> Units:
    """The units of a bootstrap over cases, or over whole groups.

    Parameters
    ----------
    outcome : shape (n,).
    group : shape (n,), or None where cases are independent.
    stratified : whether groups with events only, with non-events only, and mixed ones are each drawn
        among their own kind, so that resamples keep the events of the sample.
    most : units per stratum; more groups than that are dealt to units by chance, the same every time.
    """
    code = group_codes(group, len(outcome))
    groups = int(code.max()) + 1 if len(code) else 0
    kind = _kind(outcome, code, groups, own=group is None) if stratified else np.zeros(groups, np.int8)
    unit_of_group = np.empty(groups, dtype=np.intp)
    strata: list[NDArray[np.intp]] = []
    taken = 0
    for this in range(3):
        members = np.flatnonzero(kind == this)
        units = min(len(members), most)
        if units:
            unit_of_group[members] = taken + _dealt(len(members), units)
            strata.append(np.arange(taken, taken + units))
            taken += units
    return Units(unit_of_group[code], tuple(strata), gathered=taken < groups)


def _kind(outcome: NDArray[np.bool_], code: NDArray[np.intp], groups: int, *, own: bool) -> NDArray[np.int8]:
    """0 for groups without events, 1 for groups of events only, 2 for mixed ones."""
    if own:
        return outcome.astype(np.int8)
    members = np.bincount(code, minlength=groups)
    events = np.bincount(code[outcome], minlength=groups)
    return np.where(events == 0, 0, np.where(events == members, 1, 2)).astype(np.int8)


def _dealt(members: int, units: int) -> NDArray[np.int32]:
    """A unit for each member, in equal shares; by chance, since the rows of a file may be in any order."""
    dealt = (np.arange(members) % units).astype(np.int32)
    if units < members:
        np.random.default_rng(0).shuffle(dealt)
    return dealt


def shared_groups(group: ArrayLike | None, cases: int) -> NDArray[np.intp] | None:
    """The group of each case, numbered from 0, shape (cases,); None where no group has a second case."""
    if group is None:
        return None
    code = group_codes(group, cases)
    return None if not cases or code.max() + 1 == cases else code
