"""Proper scores of risks: Brier, log loss, Murphy's parts; and the distinct risks and bins that they sum."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlog1py, xlogy

from clineval.statistics.counts import Bools, Floats, checked_risks, takes_series
from clineval.statistics.intervals import (
    BLOCK,
    Estimate,
    check_draws,
    effective_groups,
    few_groups,
    quantile_by_group,
    resampling_units,
    shared_groups,
    undefined,
    weight_blocks,
)

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


@takes_series
def brier(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """The mean squared distance of risk and outcome: 0 is perfect, always saying .5 scores .25.

    >>> brier([1, 0, 0, 1], [0.8, 0.3, 0.1, 0.6])
    0.075 (0.032 to 0.177)

    Parameters
    ----------
    outcome, risk : shape (n,).
    group : shape (n,); with groups of several cases the variance is that between groups.
    level : of the interval, on the log scale.

    Notes
    -----
    Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2. The interval is for cases drawn at
    random, events included, not for a fixed number of events.
    """
    outcome, risk = checked_risks(outcome, risk)
    if not len(risk):
        return undefined("no cases", level=level)
    return _mean((risk - outcome) ** 2, shared_groups(group, len(risk)), level)


@takes_series
def log_loss(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """The mean surprise, -log of the probability given to what happened, in nats: 0 is perfect.

    Undefined where a risk of exactly 0 or 1 proved wrong, which is an infinite surprise; where such a
    risk proved right it counts as 0.

    Parameters
    ----------
    outcome, risk, group, level : as for ``brier``.

    Notes
    -----
    Good 1952, doi:10.1111/j.2517-6161.1952.tb00104.x.
    """
    outcome, risk = checked_risks(outcome, risk)
    if not len(risk):
        return undefined("no cases", level=level)
    wrong = surely_wrong(outcome, risk)
    if wrong:
        return undefined(f"infinite: {wrong} cases given a risk of exactly 0 or 1 proved wrong", level=level)
    return _mean(surprise(outcome, risk), shared_groups(group, len(risk)), level)


def surprise(outcome: Bools, risk: Floats) -> Floats:
    """-log of the probability given to what happened, shape (n,)."""
    return -np.where(outcome, xlogy(1.0, risk), xlog1py(1.0, -risk))


def surely_wrong(outcome: Bools, risk: Floats) -> int:
    """Cases given a risk of exactly 0 or 1 that proved wrong."""
    return int(np.count_nonzero(np.where(outcome, risk == 0, risk == 1)))


@takes_series
def scaled_brier(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """How much better than giving every case the prevalence: 1 is perfect, 0 no better, below 0 worse.

    Parameters
    ----------
    outcome, risk, group, level : as for ``brier``; the interval is on the scale of log(1 - value).

    Notes
    -----
    1 - Brier / (prevalence (1 - prevalence)), with the prevalence of these cases, whose uncertainty is
    part of the interval. Steyerberg et al. 2010, doi:10.1097/EDE.0b013e3181c30fb2.
    """
    outcome, risk = checked_risks(outcome, risk)
    events = np.count_nonzero(outcome)
    if not 0 < events < len(outcome):
        return undefined("needs cases with and without the condition", level=level)
    prevalence, squares = events / len(outcome), (risk - outcome) ** 2
    worst = prevalence * (1 - prevalence)
    ratio = squares.mean() / worst
    influence = squares - ratio * worst - ratio * (1 - 2 * prevalence) * (outcome - prevalence)
    code = shared_groups(group, len(risk))
    complement = log_scale(ratio, influence / (worst * len(risk)), code, level=level)
    return Estimate(1 - complement.value, 1 - complement.high, 1 - complement.low, level, complement.method)


def _mean(values: Floats, code: NDArray[np.intp] | None, level: float) -> Estimate:
    mean = values.mean()
    return log_scale(mean, (values - mean) / len(values), code, level=level)


def log_scale(value: float, influence: Floats, code: NDArray[np.intp] | None, *, level: float) -> Estimate:
    """A number above 0 with an interval on the log scale, from what each case adds to its error.

    Parameters
    ----------
    value : at or above 0.
    influence : shape (n,), summing to about 0; the error of ``value`` is their sum over new cases.
    code : shape (n,), groups numbered from 0, or None where cases are independent.
    """
    value, error = float(value), standard_error(influence, code)
    groups = effective_groups(code)
    if reason := few_groups(code) or _no_spread(value, error):
        return Estimate(value, np.nan, np.nan, level, reason)
    reach = np.exp(quantile_by_group(level, groups) * error / value)
    units = "cases" if code is None else f"{code.max() + 1} groups, Student's t"
    method = f"log scale, variance between {units}"
    return Estimate(value, float(value / reach), float(value * reach), level, method)


def _no_spread(value: float, error: float) -> str:
    if np.isnan(error):
        return "no interval: a single case or group shows no spread"
    if value == 0:
        return "no interval: 0 has no logarithm"
    # What is left where contributions cancel to the last bits.
    return "no interval: the cases show no spread" if error <= 1e-13 * value else ""


def standard_error(influence: Floats, code: NDArray[np.intp] | None) -> float:
    """Standard error of the sum of independent contributions by case, or by group; NaN for one alone."""
    sums = influence if code is None else np.bincount(code, weights=influence)
    units = len(sums)
    return float(np.sqrt(units / (units - 1) * (sums @ sums))) if units > 1 else np.nan


@dataclass(frozen=True)
class MurphyDecomposition:
    """Brier = reliability - resolution + uncertainty + within_bin_variance - within_bin_covariance.

    ``reliability`` is the squared distance of risk and observed share over bins (0 is best),
    ``resolution`` how far the observed shares lie apart (more is better), ``uncertainty`` what giving
    everybody the prevalence would score. The last two are 0 where all risks in a bin are equal.
    """

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bin_variance: float
    within_bin_covariance: float
    bins: int


@takes_series
def murphy_decomposition(outcome: ArrayLike, risk: ArrayLike, *, bins: int = 10) -> MurphyDecomposition:
    """The Brier score in parts: what calibration costs and what telling cases apart gains.

    Parameters
    ----------
    outcome, risk : shape (n,), at least one case.
    bins : at most so many bins of about equally many cases; equal risks are never parted.

    Notes
    -----
    Murphy 1973, doi:10.1175/1520-0450(1973)012<0595:ANVPOT>2.0.CO;2, with the two within-bin terms of
    Stephenson, Coelho and Jolliffe 2008, doi:10.1175/2007WAF2006116.1, without which the parts of binned
    risks do not add up.
    """
    outcome, risk = checked_risks(outcome, risk)
    if not len(risk) or bins < 1:
        raise ValueError(f"At least one case and one bin are needed; got {len(risk)} and {bins}.")
    columns = columns_by_risk(risk, bins)
    place = columns.of_case
    cases = np.bincount(place, minlength=columns.number)
    observed = np.bincount(place, weights=outcome, minlength=columns.number) / cases
    mean_risk = np.bincount(place, weights=risk, minlength=columns.number) / cases
    prevalence, share = outcome.mean(), cases / len(risk)
    from_mean = risk - mean_risk[place]
    return MurphyDecomposition(
        brier=float(np.mean((risk - outcome) ** 2)),
        reliability=float(share @ (mean_risk - observed) ** 2),
        resolution=float(share @ (observed - prevalence) ** 2),
        uncertainty=float(prevalence * (1 - prevalence)),
        within_bin_variance=float(np.mean(from_mean**2)),
        within_bin_covariance=float(2 * np.mean(from_mean * (outcome - observed[place]))),
        bins=columns.number,
    )
