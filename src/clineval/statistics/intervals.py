"""A value with its confidence interval: Estimate, proportions, the bootstrap; of cases and of groups."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtr, ndtri, stdtrit

from clineval.statistics.counts import (
    Bools,
    Floats,
    checked_outcome,
    group_codes,
)

# Numbers in one block of bootstrap weights: 2 MB, which stays in the cache of one core.
BLOCK = 2**18

FEWEST_GROUPS = 10
"""Groups below which no variance between groups is estimated: a variance from fewer is itself a guess."""


@dataclass(frozen=True, repr=False)
class Estimate:
    """A value with its confidence interval; NaN where undefined, the reason in ``method``.

    >>> Estimate(0.83, 0.726, 0.936)
    0.83 (0.73 to 0.94)
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    method: str = ""

    def __repr__(self) -> str:
        if np.isnan(self.value):
            return f"undefined ({self.method})"
        digits = (
            2 if abs(self.value) >= 0.1 or self.value == 0 else 1 - int(np.floor(np.log10(abs(self.value))))
        )
        if np.isnan(self.low) and np.isnan(self.high):
            return f"{self.value:.{digits}f} (no interval)"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def undefined(reason: str, *, level: float = 0.95) -> Estimate:
    """A number that these cases cannot give, with the reason."""
    return Estimate(np.nan, np.nan, np.nan, level, reason)


def normal_quantile(level: float) -> float:
    """How many standard errors a two-sided interval of this level reaches: 1.96 for 0.95."""
    if not 0 < level < 1:
        raise ValueError(f"The level of an interval lies between 0 and 1, such as 0.95; got {level}.")
    return float(ndtri((1 + level) / 2))


def quantile_by_group(level: float, groups: float = np.inf) -> float:
    """``normal_quantile``, or Student's t with ``groups`` - 1 degrees of freedom: a variance is estimated."""
    normal = normal_quantile(level)
    return normal if np.isinf(groups) else float(stdtrit(groups - 1, (1 + level) / 2))


def effective_groups(code: NDArray[np.intp] | None) -> float:
    """How many groups of one size a variance between these groups is as uncertain as that of.

    (sum of n^2)^2 / sum of n^4 over groups of n cases, which is Satterthwaite's rule (1946,
    doi:10.2307/3002019) where the cases of a group are alike: the number of groups where all have one size,
    few where some are much larger than the others, at least 3. Infinite without groups.

    Parameters
    ----------
    code : shape (n,), the group of each case numbered from 0, or None where cases are independent.
    """
    if code is None:
        return np.inf
    squares = np.bincount(code).astype(np.float64) ** 2
    return max(3.0, float(squares.sum() ** 2 / (squares @ squares)))


def few_groups(code: NDArray[np.intp] | None) -> str:
    """Why groups are too few for an interval; empty where they are enough or there are none.

    Parameters
    ----------
    code : shape (n,), the group of each case numbered from 0, or None where cases are independent.
    """
    if code is None or not len(code):
        return ""
    groups = int(code.max()) + 1
    if groups >= FEWEST_GROUPS:
        return ""
    number = f"{groups} group{'s are' if groups > 1 else ' is'}"
    return f"no interval: {number} too few to estimate how groups vary; at least {FEWEST_GROUPS} are needed"


def without_bounds(estimate: Estimate, reason: str) -> Estimate:
    """The value alone, with the reason, such as that of ``few_groups``; the same where there is none."""
    if not reason or np.isnan(estimate.value):
        return estimate
    return Estimate(estimate.value, np.nan, np.nan, estimate.level, reason)


def square_and_add(
    first: Estimate,
    second: Estimate,
    *,
    weights: tuple[float, float] = (1.0, -1.0),
    correlation: float = 0.0,
) -> tuple[float, float]:
    """Bounds of a weighted sum, by default first - second, from the bounds of each (MOVER).

    Zou and Donner 2008, doi:10.1002/sim.3095.

    Parameters
    ----------
    weights : of the two; the first at least 0. A negative weight takes the other side of its interval.
    correlation : of the two estimates; 0 where they share no case.
    """
    (one, other), (low, high) = weights, (second.value - second.low, second.high - second.value)
    below, above = (low, high) if other >= 0 else (high, low)

    def reach(a: float, b: float) -> float:
        return float(np.sqrt(max(0.0, a**2 + b**2 + 2 * correlation * np.sign(other) * a * b)))

    value = one * first.value + other * second.value
    return (
        value - reach(one * (first.value - first.low), abs(other) * below),
        value + reach(one * (first.high - first.value), abs(other) * above),
    )


def wilson(successes: int, total: int, *, level: float = 0.95) -> Estimate:
    """A proportion such as sensitivity, with Wilson's score interval.

    >>> wilson(38, 42)
    0.90 (0.78 to 0.96)

    Stays inside [0, 1] and keeps its coverage in small samples, unlike value +- 1.96 standard errors.
    Undefined where ``total`` is 0. Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    low, high = wilson_bounds(successes, total, level=level)
    if total == 0:
        return undefined("no cases to take a proportion of", level=level)
    return Estimate(successes / total, float(low), float(high), level, "Wilson score")


def wilson_bounds(successes: ArrayLike, totals: ArrayLike, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's bounds of many proportions at once: (low, high), NaN where a total is 0.

    Parameters
    ----------
    successes, totals : counts of one broadcastable shape, 0 <= successes <= totals.
    level : between 0 and 1.
    """
    successes, totals = _checked_counts(successes, totals)
    z = normal_quantile(level)
    with np.errstate(invalid="ignore", divide="ignore"):
        proportion = successes / totals
        centre = (proportion + z**2 / (2 * totals)) / (1 + z**2 / totals)
        spread = np.sqrt(proportion * (1 - proportion) / totals + z**2 / (4 * totals**2))
        reach = z * spread / (1 + z**2 / totals)
    # At none and at all the bound is 0 and 1 exactly; rounding would leave 1e-17 or 1 - 1e-16.
    low = np.where((successes == 0) & (totals > 0), 0.0, centre - reach)
    high = np.where((successes == totals) & (totals > 0), 1.0, centre + reach)
    return low, high


def clopper_pearson(successes: int, total: int, *, level: float = 0.95) -> Estimate:
    """A proportion with the exact binomial interval, which never covers less than its level.

    Undefined where ``total`` is 0. Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    _checked_counts(successes, total)
    normal_quantile(level)  # refuses a level outside (0, 1)
    if total == 0:
        return undefined("no cases to take a proportion of", level=level)
    tail = (1 - level) / 2
    low = betaincinv(successes, total - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, total - successes, 1 - tail) if successes < total else 1.0
    return Estimate(successes / total, float(low), float(high), level, "Clopper-Pearson exact")


def _checked_counts(successes: ArrayLike, totals: ArrayLike) -> tuple[Floats, Floats]:
    successes, totals = np.asarray(successes, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    if not np.all((successes >= 0) & (successes <= totals)):
        raise ValueError(f"A proportion needs 0 <= successes <= total; got {successes} of {totals}.")
    return successes, totals


@dataclass(frozen=True)
class Worth:
    """How many independent cases a proportion's cases are worth, and the groups that they come in.

    ``groups``: as many of one size as these are worth where a group's cases are copies, (sum of n)^2 / sum of
    n^2; infinite where nothing was estimated between groups. Wilson's interval then reaches as far as the
    normal distribution, else as Student's t.
    """

    cases: float
    groups: float = np.inf


def rate(successes: int, total: int, worth: Worth, *, reason: str, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's interval, as wide as so many independent cases make it.

    Parameters
    ----------
    successes, total : counts; ``reason`` says why there is no rate where ``total`` is 0.
    worth : of the total, from ``independent_cases``; the total itself without groups.
    """
    if not total:
        return undefined(reason, level=level)
    if worth.cases == total and np.isinf(worth.groups):
        return wilson(successes, total, level=level)
    share, effective = successes / total, effective_cases(worth, level)
    low, high = wilson_bounds(share * effective, effective, level=level)
    words = f"Wilson score, {total} cases in groups worth {effective:.1f} independent ones"
    return Estimate(share, float(low), float(high), level, words)


def effective_cases(worth: Worth, level: float) -> float:
    """The independent cases, fewer where a variance from few groups needs Student's t instead of 1.96.

    Korn and Graubard 1998, Survey Methodology 24:193.
    """
    return worth.cases * (normal_quantile(level) / quantile_by_group(level, worth.groups)) ** 2


def grouped_rate(
    right: Bools, code: NDArray[np.intp], *, reason: str = "no case to take the rate of", level: float = 0.95
) -> Estimate:
    """A proportion with Wilson's interval, as wide as the groups make it.

    Parameters
    ----------
    right : shape (n,), whether the case counts as a success; ``reason`` says why there is no rate of none.
    code : shape (n,), the group of each case as a number; a number for each case leaves Wilson's own.
    """
    if not len(right):
        return undefined(reason, level=level)
    own = np.unique(code, return_inverse=True)[1]
    return rate(
        int(np.count_nonzero(right)), len(right), independent_cases(right, own), reason=reason, level=level
    )


def independent_cases(right: Bools, code: NDArray[np.intp]) -> Worth:
    """How many independent cases would tell as much of a proportion as these cases in groups.

    The cases divided by the design effect, the variance between groups over the binomial one; never more
    than the cases. Rao and Scott 1992, doi:10.2307/2532311. Where that variance cannot be estimated, from
    fewer than ten groups or where all are right or all wrong, the least that groups can be worth: as if
    the cases of a group were copies of one.

    Parameters
    ----------
    right : shape (n,), whether the case counts as a success.
    code : shape (n,), groups by number from 0.
    """
    sizes = np.bincount(code)
    right_by_group = np.bincount(code, weights=right, minlength=len(sizes))
    worth, groups = worth_of_moments(
        np.array([np.count_nonzero(sizes)]),
        np.array([len(right)]),
        np.array([np.count_nonzero(right)]),
        np.array([right_by_group @ right_by_group]),
        np.array([right_by_group @ sizes]),
        np.array([sizes @ sizes]),
    )
    return Worth(float(worth[0]), float(groups[0]))


def worth_of_moments(
    groups: ArrayLike,
    cases: ArrayLike,
    right: ArrayLike,
    rr: ArrayLike,
    rn: ArrayLike,
    nn: ArrayLike,
) -> tuple[Floats, Floats]:
    """``independent_cases`` of many proportions at once: cases worth and effective groups, each shape (k,).

    Parameters
    ----------
    groups, cases, right : how many of each, shape (k,).
    rr, rn, nn : sums over groups of right squared, right times cases, cases squared, shape (k,).
    """
    groups, cases, right, rr, rn, nn = (
        np.asarray(each, dtype=np.float64) for each in (groups, cases, right, rr, rn, nn)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        share = right / cases
        spread = groups / (groups - 1) * (rr - 2 * share * rn + share**2 * nn)
        # Sums of whole numbers that cancel leave at most some last bits.
        worth = np.where(spread > 1e-9 * nn, share * (1 - share) * cases**2 / spread, cases)
        copies = cases**2 / nn
    alone = nn == cases  # every group holds one case
    unknown = (groups < FEWEST_GROUPS) | (right == 0) | (right == cases)
    worth = np.where(alone, cases, np.where(unknown, copies, np.minimum(cases, worth)))
    return np.where(cases > 0, worth, 0.0), np.where(alone | unknown, np.inf, np.maximum(3.0, copies))


@dataclass(frozen=True)
class _Stratum:
    """Units drawn among each other: ``unit`` (k,) says which of ``units`` each case of ``cases`` (k,) is."""

    cases: NDArray[np.intp]
    unit: NDArray[np.intp]
    units: int

    def draw(self, rng: np.random.Generator, rows: int) -> NDArray[np.intp]:
        """How often each case comes in each of ``rows`` resamples, shape (rows, k)."""
        drawn = rng.integers(self.units, size=(rows, self.units))
        drawn += self.units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * self.units).reshape(rows, self.units)
        # Units that are single cases stand in the order of their cases.
        return counts if self.units == len(self.cases) else counts[:, self.unit]


def _strata(outcome: NDArray[np.bool_], group: ArrayLike | None) -> list[_Stratum]:
    """Groups with events only, with non-events only, and mixed ones: each drawn among its own kind."""
    code = group_codes(group, len(outcome))
    if group is None:
        kind = outcome.astype(np.intp)
    else:
        events = np.bincount(code, weights=outcome)[code] if len(code) else np.zeros(0)
        members = np.bincount(code)[code] if len(code) else np.zeros(0)
        kind = np.where(events == members, 1, np.where(events == 0, 0, 2))
    strata = []
    for this in (1, 0, 2):
        cases = np.flatnonzero(kind == this)
        unit = group_codes(code[cases], len(cases)) if group is not None else np.arange(len(cases))
        strata.append(_Stratum(cases, unit, int(unit.max()) + 1 if len(cases) else 0))
    return strata


def bootstrap_weights(
    outcome: ArrayLike, *, group: ArrayLike | None = None, draws: int = 1000, seed: int = 0
) -> Floats:
    """How often each case comes in each bootstrap resample, shape (draws, n).

    Resamples keep the number of events and of non-events. With groups whole groups are drawn, within
    three strata: groups of events only, of non-events only, and mixed. Each case as its own group gives
    the very draws that no groups give.

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    group : shape (n,), or None where cases are independent.
    draws : resamples; draws x n numbers are held, so take ``weight_blocks`` where that is too much.
    seed : the same seed gives the same weights, in however many blocks they are made.
    """
    return np.concatenate(list(weight_blocks(outcome, group=group, draws=draws, seed=seed)))


def check_draws(draws: int) -> None:
    """Refuses a bootstrap of no draws."""
    if draws < 1:
        raise ValueError(f"A bootstrap needs at least one draw; got {draws}.")


def weight_blocks(
    outcome: ArrayLike,
    *,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    block: int = BLOCK,
) -> Iterator[Floats]:
    """The rows of ``bootstrap_weights`` in blocks of at most ``block`` numbers (one row at least)."""
    outcome = checked_outcome(outcome)
    check_draws(draws)
    strata = _strata(outcome, group)
    # A stream per stratum, so that the weights do not depend on the size of the blocks.
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(len(strata))]
    step = max(1, block // max(1, len(outcome)))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        weights = np.empty((rows, len(outcome)))
        for stratum, rng in zip(strata, streams, strict=True):
            if stratum.units:
                weights[:, stratum.cases] = stratum.draw(rng, rows)
        yield weights


def percentile_interval(
    value: float, replicates: ArrayLike, *, level: float, method: str, groups: float = np.inf
) -> Estimate:
    """A value with the middle ``level`` of its bootstrap replicates, shape (draws,).

    Undefined replicates are left out and counted in ``method``; where they are more than half, or where
    all are the same number, the bounds are NaN. ``groups`` widens the interval as ``tails`` says.
    """
    replicates = np.asarray(replicates, dtype=np.float64)
    if np.isnan(value):
        return undefined("undefined on these cases", level=level)
    kept, method = _defined(replicates, method)
    if len(kept) == 0:
        return Estimate(value, np.nan, np.nan, level, method)
    low, high = np.quantile(kept, tails(level, groups))
    if low == high:
        return Estimate(value, np.nan, np.nan, level, "no interval: every resample gives the same number")
    return Estimate(value, float(low), float(high), level, method)


def tails(level: float, groups: float = np.inf) -> tuple[float, float]:
    """The shares of replicates below the two bounds of a percentile interval, .025 and .975 for 0.95.

    Resamples of few groups vary less than new samples would, by sqrt((groups - 1) / groups), and their
    spread is an estimate: the shares are those of the normal distribution at Student's t times the
    inverse of that. Hesterberg 2015, doi:10.1080/00031305.2015.1089789 (expanded percentile interval).
    """
    if np.isinf(groups):
        return (1 - level) / 2, (1 + level) / 2
    tail = float(ndtr(-np.sqrt(groups / (groups - 1)) * quantile_by_group(level, groups)))
    return tail, 1 - tail


def _defined(replicates: Floats, method: str) -> tuple[Floats, str]:
    """The replicates that are numbers, none where they are less than half; and the words for it."""
    kept = replicates[~np.isnan(replicates)]
    lost = len(replicates) - len(kept)
    if 2 * lost > len(replicates):
        return kept[:0], f"no interval: {lost} of {len(replicates)} resamples left the number undefined"
    return kept, f"{method}, {lost} of them undefined" if lost else method


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
