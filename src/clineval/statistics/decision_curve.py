"""Whether acting on a model does more good than harm: net benefit over thresholds, with its band."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clineval.statistics.counts import (
    Bools,
    Floats,
    ascending,
    checked_risks,
    flagged,
    flagged_counts,
    steps_reached,
    takes_series,
)
from clineval.statistics.intervals import (
    Estimate,
    Units,
    effective_groups,
    few_groups,
    quantile_by_group,
    resampling_units,
    shared_groups,
    tails,
    undefined,
)
from clineval.statistics.scores import standard_error


def decision_grid() -> Floats:
    """The thresholds .01, .02, ... .99, each the float nearest to k / 100; shape (99,)."""
    return np.arange(1, 100) / 100


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit at each threshold with its band; every array of shape (k,).

    ``treat_all``: net benefit of treating all; treating none has 0. ``standardised``: net benefit
    as a share of the prevalence, the most that any model could have. ``interventions_avoided``: per 100
    cases, against treating all, with no event missed on balance. ``gain``: net benefit less that of
    the better of treating all and treating none, on the same resamples, so that its band answers whether
    the model helps. ``probability_useful``: share of resamples in which the model beats both. ``low``,
    ``high`` and kin are NaN where no resamples were drawn, and of net benefit also at thresholds at which
    nobody is flagged: 0 is then what was counted, and no resample can say how far it is from the truth.
    """

    threshold: Floats
    net_benefit: Floats
    low: Floats
    high: Floats
    treat_all: Floats
    standardised: Floats
    standardised_low: Floats
    standardised_high: Floats
    interventions_avoided: Floats
    interventions_avoided_low: Floats
    interventions_avoided_high: Floats
    gain: Floats
    gain_low: Floats
    gain_high: Floats
    probability_useful: Floats
    prevalence: float
    level: float
    draws: int
    method: str


@takes_series
def decision_curve(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    thresholds: ArrayLike | None = None,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    stratified: bool = False,
) -> DecisionCurve:
    """The net benefit of acting on the model at every threshold, with a bootstrap band.

    >>> curve = decision_curve([1, 1, 0, 0, 0], [0.9, 0.4, 0.6, 0.2, 0.1], thresholds=[0.25, 0.5])
    >>> curve.net_benefit.round(3).tolist()
    [0.333, 0.0]

    Parameters
    ----------
    outcome, risk : shape (n,), at least one case.
    thresholds : strictly ascending, in (0, 1); None takes .01 to .99 by .01.
    group : shape (n,); with groups whole groups are resampled.
    draws : resamples; 0 gives the curve without a band.
    seed, level : of the pointwise percentile band.
    stratified : whether resamples keep the number of events, which suits a sample taken with that number
        fixed; else the band includes how uncertain the prevalence is.

    Notes
    -----
    NB(t) = TP / n - FP / n * t / (1 - t). Vickers and Elkin 2006, doi:10.1177/0272989X06295361; band by
    the bootstrap as in Vickers et al. 2008, doi:10.1186/1472-6947-8-53.
    """
    outcome, risk = checked_risks(outcome, risk)
    grid = _checked_grid(thresholds, cases=len(risk), draws=draws)
    sample = _sample(outcome, risk, grid)
    columns = [sample.net_benefit, sample.standardised, sample.interventions_avoided, sample.gain]
    code = shared_groups(group, len(risk))
    nothing = np.full(len(grid), np.nan)
    if draws and not few_groups(code):
        units = resampling_units(outcome, code, stratified=stratified)
        drawn = _resampled(outcome, risk, grid, units, units.weights(draws, seed))
        resamples = [drawn.net_benefit, drawn.standardised, drawn.interventions_avoided, drawn.gain]
        bands = [_band(replicates, level, code) for replicates in resamples]
        silent = sample.flagged[0] == 0
        bands[:2] = [
            (np.where(silent, np.nan, low), np.where(silent, np.nan, high)) for low, high in bands[:2]
        ]
        useful = np.mean(drawn.net_benefit > np.maximum(drawn.treat_all, 0), axis=0)
        method = _words(units, code, draws, stratified)
    else:
        bands, useful = [(nothing, nothing)] * 4, nothing
        method = few_groups(code) if draws else "no band: no resamples were asked for"
    benefit, standardised, avoided, gain = (column[0] for column in columns)
    return DecisionCurve(
        threshold=grid,
        net_benefit=benefit,
        low=bands[0][0],
        high=bands[0][1],
        treat_all=sample.treat_all[0],
        standardised=standardised,
        standardised_low=bands[1][0],
        standardised_high=bands[1][1],
        interventions_avoided=avoided,
        interventions_avoided_low=bands[2][0],
        interventions_avoided_high=bands[2][1],
        gain=gain,
        gain_low=bands[3][0],
        gain_high=bands[3][1],
        probability_useful=useful,
        prevalence=float(outcome.mean()),
        level=level,
        draws=draws,
        method=method,
    )


@takes_series
def net_benefit(
    outcome: ArrayLike,
    risk: ArrayLike,
    threshold: float,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The net benefit at one threshold, in true positives per case, without a bootstrap.

    Parameters
    ----------
    outcome, risk : shape (n,), at least one case.
    threshold : between 0 and 1; at these it is undefined.
    group : shape (n,); with groups of several cases the variance is that between groups, and the interval
        reaches as far as Student's t, see ``effective_groups``.

    Notes
    -----
    The mean over cases of 1 for a true and -t / (1 - t) for a false positive (Vickers and Elkin 2006,
    doi:10.1177/0272989X06295361), with the interval of a mean.
    """
    outcome, risk = checked_risks(outcome, risk)
    if not 0 < threshold < 1:
        return undefined(f"net benefit needs a threshold between 0 and 1; got {threshold:g}", level=level)
    called, code = flagged(risk, threshold), shared_groups(group, len(risk))
    gained = called * np.where(outcome, 1.0, -threshold / (1 - threshold))
    value = float(gained.mean())
    error = standard_error((gained - value) / len(gained), code)
    if reason := few_groups(code) or ("" if error > 0 else "no interval: the cases show no spread"):
        return Estimate(value, np.nan, np.nan, level, reason)
    reach = quantile_by_group(level, effective_groups(code)) * error
    words = "cases" if code is None else f"{code.max() + 1} groups, Student's t"
    return Estimate(value, value - reach, value + reach, level, f"mean over cases, variance between {words}")


@dataclass(frozen=True)
class DecisionDifference:
    """Net benefit of model A less that of model B at each threshold, with its band; each shape (k,).

    ``probability_better``: share of resamples in which A has the larger net benefit, ties counting half.
    """

    threshold: Floats
    difference: Floats
    low: Floats
    high: Floats
    probability_better: Floats
    level: float
    draws: int
    method: str


@takes_series
def compare_decision_curves(
    outcome: ArrayLike,
    risk_a: ArrayLike,
    risk_b: ArrayLike,
    *,
    thresholds: ArrayLike | None = None,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    stratified: bool = False,
) -> DecisionDifference:
    """How much more net benefit one model gives than another on the same cases, at every threshold.

    Parameters
    ----------
    outcome, risk_a, risk_b : shape (n,), at least one case.
    thresholds, group, draws, seed, level, stratified : as for ``decision_curve``; both models are
        resampled together.
    """
    outcome, risk_a = checked_risks(outcome, risk_a)
    _, risk_b = checked_risks(outcome, risk_b)
    grid = _checked_grid(thresholds, cases=len(outcome), draws=draws)
    value = _sample(outcome, risk_a, grid).net_benefit[0] - _sample(outcome, risk_b, grid).net_benefit[0]
    code = shared_groups(group, len(outcome))
    if not draws or few_groups(code):
        nothing = np.full(len(grid), np.nan)
        method = few_groups(code) if draws else "no band: no resamples were asked for"
        return DecisionDifference(grid, value, nothing, nothing, nothing, level, draws, method)
    units = resampling_units(outcome, code, stratified=stratified)
    weights = units.weights(draws, seed)
    drawn = (
        _resampled(outcome, risk_a, grid, units, weights).net_benefit
        - _resampled(outcome, risk_b, grid, units, weights).net_benefit
    )
    # Equal counts weighted in another order may differ in the last bit: no difference of benefit.
    drawn[np.abs(drawn) < 1e-12] = 0
    better = np.mean(drawn > 0, axis=0) + np.mean(drawn == 0, axis=0) / 2
    # A difference rests on the few cases that only one model flags: percentiles of so few would be narrow.
    reach = quantile_by_group(level, effective_groups(code)) * np.std(drawn, axis=0, ddof=min(1, draws - 1))
    reach[reach == 0] = np.nan
    words = _words(units, code, draws, stratified).replace("percentile bootstrap", "error of the bootstrap")
    return DecisionDifference(grid, value, value - reach, value + reach, better, level, draws, words)


@dataclass(frozen=True)
class _Resamples:
    """Counts by resample and threshold, (draws, k); events and cases by resample, (draws, 1)."""

    odds: Floats
    true_positives: Floats
    false_positives: Floats
    events: Floats
    cases: Floats

    @property
    def net_benefit(self) -> Floats:
        return (self.true_positives - self.false_positives * self.odds) / self.cases

    @property
    def flagged(self) -> Floats:
        return self.true_positives + self.false_positives

    @property
    def treat_all(self) -> Floats:
        return (self.events - (self.cases - self.events) * self.odds) / self.cases

    @property
    def gain(self) -> Floats:
        gain = self.net_benefit - np.maximum(self.treat_all, 0)
        gain[np.abs(gain) < 1e-12] = 0  # equal counts added in another order: no gain
        return gain

    @property
    def standardised(self) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            share = self.net_benefit * self.cases / self.events
        return np.where(self.events > 0, share, np.nan)

    @property
    def interventions_avoided(self) -> Floats:
        return 100 * (self.net_benefit - self.treat_all) / self.odds


def _checked_grid(thresholds: ArrayLike | None, *, cases: int, draws: int) -> Floats:
    if not cases:
        raise ValueError("A decision curve needs at least one case; got none.")
    if draws < 0:
        raise ValueError(f"Draws cannot be fewer than 0; got {draws}.")
    grid = decision_grid() if thresholds is None else ascending(thresholds)
    if not len(grid) or not (grid[0] > 0 and grid[-1] < 1):
        raise ValueError("Decision thresholds must lie above 0 and below 1.")
    return grid


def _sample(outcome: Bools, risk: Floats, grid: Floats) -> _Resamples:
    """The sample itself, as one resample."""
    true_positives, false_positives = flagged_counts(outcome, risk, grid)
    return _Resamples(
        grid / (1 - grid),
        true_positives[None, :].astype(float),
        false_positives[None, :].astype(float),
        np.full((1, 1), float(np.count_nonzero(outcome))),
        np.full((1, 1), float(len(outcome))),
    )


def _resampled(outcome: Bools, risk: Floats, grid: Floats, units: Units, weights: Floats) -> _Resamples:
    """The counts of every resample, from the counts of each unit by the step that its risks reach."""
    reached = steps_reached(risk, grid)
    every = weights @ units.sums(reached, len(grid) + 1)
    events = weights @ units.sums(reached, len(grid) + 1, outcome)
    flagged, caught = (np.cumsum(steps[:, ::-1], axis=1)[:, ::-1] for steps in (every, events))
    return _Resamples(
        grid / (1 - grid),
        caught[:, 1:],
        (flagged - caught)[:, 1:],
        caught[:, :1],
        flagged[:, :1],
    )


def _band(replicates: Floats, level: float, code: NDArray[np.intp] | None) -> tuple[Floats, Floats]:
    # A resample without events has no standardised net benefit, at any threshold.
    kept = replicates[~np.isnan(replicates[:, 0])]
    if not len(kept):
        return np.full(replicates.shape[1], np.nan), np.full(replicates.shape[1], np.nan)
    groups = effective_groups(code)
    low, high = np.quantile(kept, tails(level, groups), axis=0)
    return low, high


def _words(units: Units, code: NDArray[np.intp] | None, draws: int, stratified: bool) -> str:
    what = "cases" if code is None else "groups"
    gathered = f" gathered by chance into {units.number} units" if units.gathered else ""
    events = "events held fixed" if stratified else "events left to chance"
    return f"percentile bootstrap, {draws} draws of {what}{gathered}, {events}"
