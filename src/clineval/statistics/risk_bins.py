"""Distinct risks of a sample, with how often each occurs, and risks grouped in bins."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clineval.statistics.intervals import BLOCK, Floats, check_draws, weight_blocks
from clineval.statistics.resampling import resampling_units

# Above this many cases the levels are quantile bins: a resample then costs the bins, not the cases.
LARGE = 50_000

# So that no bin holds more than about a two-thousandth of the events or of the non-events.
BINS = 4_000


@dataclass(frozen=True)
class Levels:
    """The distinct risks, descending, or bins of neighbouring ones; L levels over n cases.

    ``order``: shape (n,), the cases by descending risk. ``start``: shape (L,), where each level begins in
    that order. ``events``, ``non_events``: shape (L,), how many each level holds. ``concordance``: shape
    (L,), the share of event/non-event pairs within a level that are ranked rightly, ties counting half;
    .5 for a single risk.
    """

    risk: Floats
    order: NDArray[np.intp]
    start: NDArray[np.intp]
    events: Floats
    non_events: Floats
    concordance: Floats


def levels_of(outcome: NDArray[np.bool_], risk: Floats) -> Levels:
    """The distinct risks of checked cases that hold both outcomes."""
    order = np.argsort(-risk)
    ranked = risk[order]
    start = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    present = outcome[order].astype(np.float64)
    events, non_events = np.add.reduceat(present, start), np.add.reduceat(1 - present, start)
    return Levels(ranked[start], order, start, events, non_events, np.full(len(start), 0.5))


def coarsened(levels: Levels) -> Levels:
    """The levels themselves, or, above 50,000 cases, quantile bins of them; equal risks never part."""
    if len(levels.order) <= LARGE:
        return levels
    bins = _bins(levels.events, levels.non_events)
    start = levels.start[bins]
    concordance = _concordance_within(levels.events, levels.non_events, bins)
    events, non_events = (np.add.reduceat(counts, bins) for counts in (levels.events, levels.non_events))
    return Levels(levels.risk[bins], levels.order, start, events, non_events, concordance)


def _bins(events: Floats, non_events: Floats) -> NDArray[np.intp]:
    """Levels at which a new bin begins, so that none holds much of the events nor of the non-events.

    By both rather than by rank: where events are rare each stays at the end of a bin of its own.
    """
    passed = (np.cumsum(events) - events) / events.sum() + (
        np.cumsum(non_events) - non_events
    ) / non_events.sum()
    return np.flatnonzero(np.diff(np.floor(passed * (BINS / 2)), prepend=-1))


def _concordance_within(events: Floats, non_events: Floats, bins: NDArray[np.intp]) -> Floats:
    """The share of rightly ranked pairs inside each bin of levels; .5 where a bin has no pair."""
    passed = np.cumsum(non_events)
    end = np.append(bins[1:], len(events)) - 1
    size = np.diff(np.append(bins, len(events)))
    right = events * (np.repeat(passed[end], size) - passed + non_events / 2)
    pairs = np.add.reduceat(events, bins) * np.add.reduceat(non_events, bins)
    return np.divide(np.add.reduceat(right, bins), pairs, out=np.full(len(bins), 0.5), where=pairs > 0)


def resampled_levels(
    outcome: NDArray[np.bool_],
    levels: Levels,
    *,
    group: ArrayLike | None,
    draws: int,
    seed: int,
    stratified: bool = True,
) -> Iterator[tuple[Floats, Floats]]:
    """Events and non-events of each level over bootstrap resamples, in blocks, each of shape (rows, L).

    ``stratified``: whether resamples keep the number of events, or leave it to chance.
    """
    check_draws(draws)
    if len(levels.order) <= LARGE:
        weights = (
            weight_blocks(outcome, group=group, draws=draws, seed=seed)
            if stratified
            else _weights_left_to_chance(outcome, group, draws, seed)
        )
        return _by_case(outcome, levels, weights)
    if group is None:
        return _by_bin(levels, draws, seed, stratified=stratified)
    return _by_unit(outcome, levels, group, draws, seed, stratified=stratified)


def _weights_left_to_chance(
    outcome: NDArray[np.bool_], group: ArrayLike | None, draws: int, seed: int
) -> Iterator[Floats]:
    """How often each case comes in each resample of all cases or groups, in blocks of shape (rows, n)."""
    units = resampling_units(outcome, group, stratified=False)
    weights, start = units.weights(draws, seed), 0
    for rows in _row_counts(draws, len(outcome)):
        yield weights[start : start + rows][:, units.of_case]
        start += rows


def _by_case(
    outcome: NDArray[np.bool_], levels: Levels, blocks: Iterator[Floats]
) -> Iterator[tuple[Floats, Floats]]:
    present = outcome[levels.order]
    for weights in blocks:
        ranked = weights[:, levels.order]
        events, non_events = ranked * present, ranked * ~present
        if len(levels.start) < len(levels.order):
            events = np.add.reduceat(events, levels.start, axis=1)
            non_events = np.add.reduceat(non_events, levels.start, axis=1)
        yield events, non_events


def _by_bin(levels: Levels, draws: int, seed: int, *, stratified: bool) -> Iterator[tuple[Floats, Floats]]:
    """The same resamples in distribution: each class, or both together, multinomial over the bins."""
    rng, width = np.random.default_rng(seed), len(levels.start)
    for rows in _row_counts(draws, width):
        if stratified:
            yield _multinomial(rng, levels.events, rows), _multinomial(rng, levels.non_events, rows)
        else:
            drawn = _multinomial(rng, np.concatenate([levels.events, levels.non_events]), rows)
            yield drawn[:, :width], drawn[:, width:]


def _multinomial(rng: np.random.Generator, counts: Floats, rows: int) -> Floats:
    return rng.multinomial(int(counts.sum()), counts / counts.sum(), size=rows).astype(np.float64)


def _by_unit(
    outcome: NDArray[np.bool_],
    levels: Levels,
    group: ArrayLike,
    draws: int,
    seed: int,
    *,
    stratified: bool,
) -> Iterator[tuple[Floats, Floats]]:
    """Groups gathered into units, so that a block of resamples is one product."""
    width = len(levels.start)
    column = np.empty(len(outcome), dtype=np.intp)
    column[levels.order] = np.repeat(np.arange(width), np.diff(np.append(levels.start, len(outcome))))
    column[~outcome] += width
    units = resampling_units(outcome, group, stratified=stratified)
    counts, weights = units.sums(column, 2 * width), units.weights(draws, seed)
    start = 0
    for rows in _row_counts(draws, 2 * width):
        drawn = weights[start : start + rows] @ counts
        yield drawn[:, :width], drawn[:, width:]
        start += rows


def _row_counts(draws: int, width: int) -> Iterator[int]:
    """How many draws each block holds, so that a block of this width stays small."""
    step = max(1, BLOCK // width)
    for start in range(0, draws, step):
        yield min(step, draws - start)


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
