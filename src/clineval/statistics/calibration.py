"""Whether risks mean what they say: intercept, slope, observed over expected, curves, ICI, E50 and E90."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from clineval.statistics.counts import Bools, Floats, checked_risks, takes_series
from clineval.statistics.intervals import (
    Estimate,
    effective_groups,
    few_groups,
    grouped_rate,
    percentile_interval,
    quantile_by_group,
    resampling_units,
    shared_groups,
    tails,
    undefined,
    wilson_bounds,
)
from clineval.statistics.recalibration import (
    LogisticFit,
    fit_logistic,
)
from clineval.statistics.scores import (
    Columns,
    columns_by_risk,
    log_scale,
)

# Above this many cases the curve is fitted to quantile bins.
LARGE = 50_000
# Bins of a large sample, and most columns that resamples are drawn on: finer than a curve of span 2/3
# can show.
BINS = 500
# R's defaults: the share of cases in each local fit, and the share of the risks' range within which the
# curve is joined by a straight line instead of being refitted.
SPAN = 2 / 3
SKIP = 0.01
# How often the intervals of ICI, E50 and E90 hold the truth: benchmarks/calibration.md and coverage.md.
COVERS = tuple(f"{share} % where it says 95 %" for share in ("84 to 97", "72 to 99", "86 to 99"))
# Numbers in one block of simulated outcomes.
BLOCK = 2**20


@takes_series
def calibration_intercept(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Whether risks are too low (above 0) or too high (below 0) overall: calibration in the large.

    The intercept of a logistic model of the outcome with logit(risk) as offset.

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    risk : shape (n,), in [0, 1].
    group : shape (n,); with groups of several cases the variance is the sandwich clustered by them, and
        the interval reaches as far as Student's t with one degree of freedom less than groups.
    level : of the interval, with the sandwich variance by case: Wald's own would take the slope to be 1.

    Notes
    -----
    A risk of exactly 0 or 1 has no logit. Where it proved right it adds nothing to the likelihood and is
    left out, which changes no estimate; where one proved wrong the likelihood is 0 whatever the
    intercept, and the intercept is undefined. Cox 1958, doi:10.1093/biomet/45.3-4.562; Van Calster et
    al. 2019, doi:10.1186/s12916-019-1466-7.
    """
    return _coefficient(outcome, risk, group, level, slope=False)


@takes_series
def calibration_slope(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Whether risks are too extreme (below 1) or too timid (above 1).

    The coefficient of logit(risk) in a logistic model of the outcome. Undefined where the risks separate
    the two classes, or are all equal.

    Parameters
    ----------
    outcome, risk, group, level : as for ``calibration_intercept``, risks of exactly 0 or 1 included; without
        groups the variance is Wald's.

    Notes
    -----
    Cox 1958, doi:10.1093/biomet/45.3-4.562.
    """
    return _coefficient(outcome, risk, group, level, slope=True)


def _coefficient(
    outcome: ArrayLike, risk: ArrayLike, group: ArrayLike | None, level: float, *, slope: bool
) -> Estimate:
    outcome, risk = checked_risks(outcome, risk)
    code = shared_groups(group, len(outcome))
    kept, remark = _with_logit(outcome, risk)
    if kept is None:
        return undefined(remark, level=level)
    outcome, log_odds = outcome[kept], logit(risk[kept])
    # Renumbered: a group that is left out whole is no cluster of the fit.
    code = None if code is None else np.unique(code[kept], return_inverse=True)[1]
    terms = {"x": log_odds} if slope else {"offset": log_odds}
    # With a fixed slope the model is wrong wherever the slope is not 1: the variance must not rest on it.
    by_case = None if slope else np.arange(len(outcome))
    fit = fit_logistic(outcome, code=by_case if code is None else code, **terms)
    if fit.failure:
        return undefined(fit.failure, level=level)
    kind = "Wald" if slope else "sandwich by case"
    groups = effective_groups(code)
    words = kind if code is None else f"clustered sandwich, {code.max() + 1} groups, Student's t"
    return _interval(fit, int(slope), level, words + remark, groups=groups, few=few_groups(code))


def _with_logit(outcome: Bools, risk: Floats) -> tuple[Bools | slice | None, str]:
    """Cases whose risk has a logit and a remark on the others, or None and the reason there is no fit."""
    if not risk.size or (risk.min() > 0 and risk.max() < 1):
        return slice(None), ""
    extreme = (risk == 0) | (risk == 1)
    number, wrong = np.count_nonzero(extreme), np.count_nonzero(extreme & ((risk == 1) != outcome))
    if wrong:
        return None, f"undefined: {wrong} cases given a risk of exactly 0 or 1 proved wrong, likelihood 0"
    return ~extreme, f"; {number} cases with a risk of exactly 0 or 1, all right, carry no information"


def _interval(
    fit: LogisticFit, place: int, level: float, method: str, *, groups: float, few: str
) -> Estimate:
    value, variance = float(fit.coefficients[place]), float(fit.covariance[place, place])
    if few or not variance > 0:
        reason = few or "no interval: the cases show no spread"
        return Estimate(value, np.nan, np.nan, level, reason)
    reach = quantile_by_group(level, groups) * np.sqrt(variance)
    return Estimate(value, float(value - reach), float(value + reach), level, method)


@takes_series
def observed_expected(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """How many cases had the condition for each one that the risks led to expect.

    >>> round(observed_expected([1, 0, 0, 1, 0, 0], [0.6, 0.2, 0.1, 0.3, 0.2, 0.1]).value, 3)
    1.333

    Parameters
    ----------
    outcome, risk : shape (n,).
    group : shape (n,); with groups of several cases the variance is that between groups.
    level : of the interval.

    Notes
    -----
    O / E = sum(outcome) / sum(risk). Interval on the log scale, variance of a ratio of two sums over
    cases or groups: events and risks vary together, which a Poisson or binomial O over a fixed E ignores
    (its intervals cover 99 % and more).
    """
    outcome, risk = checked_risks(outcome, risk)
    observed, expected = np.count_nonzero(outcome), risk.sum()
    if expected == 0:
        return undefined("no event is expected: every risk is 0 or there are no cases", level=level)
    ratio = observed / expected
    influence = (outcome - ratio * risk) / expected
    return log_scale(ratio, influence, shared_groups(group, len(risk)), level=level)


@dataclass(frozen=True)
class GroupedCurve:
    """Bins of neighbouring risks: mean risk, observed share with Wilson bounds, cases; each shape (k,)."""

    mean_risk: Floats
    observed: Floats
    low: Floats
    high: Floats
    cases: NDArray[np.int64]
    level: float
    method: str


@takes_series
def grouped_curve(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    group: ArrayLike | None = None,
    bins: int = 10,
    level: float = 0.95,
) -> GroupedCurve:
    """How often the condition was present among cases of about the same risk.

    Parameters
    ----------
    outcome, risk : shape (n,).
    group : shape (n,); with groups of several cases the bounds are as wide as the groups make them.
    bins : at most so many bins of about equally many cases; equal risks are never parted.
    level : of the Wilson bounds.
    """
    outcome, risk = checked_risks(outcome, risk)
    if bins < 1:
        raise ValueError(f"Expected at least one bin; got {bins}.")
    columns = columns_by_risk(risk, bins)
    cases = np.bincount(columns.of_case, minlength=columns.number)
    events = np.bincount(columns.of_case, weights=outcome, minlength=columns.number)
    mean_risk = np.bincount(columns.of_case, weights=risk, minlength=columns.number) / cases
    method = f"{columns.number} bins of equally many cases, Wilson bounds"
    code = shared_groups(group, len(outcome))
    if code is None:
        low, high = wilson_bounds(events, cases, level=level)
    elif few := few_groups(code):
        low = high = np.full(columns.number, np.nan)
        method = f"{columns.number} bins of equally many cases; {few}"
    else:
        inside = (columns.of_case == column for column in range(columns.number))
        bars = [grouped_rate(outcome[each], code[each], level=level) for each in inside]
        low, high = (np.array([getattr(bar, bound) for bar in bars]) for bound in ("low", "high"))
        method += " by group"
    return GroupedCurve(mean_risk, events / cases, low, high, cases, level, method)


@dataclass(frozen=True)
class SmoothedCurve:
    """Observed share of the condition along the risks, piecewise linear, with its band; each shape (k,)."""

    risk: Floats
    observed: Floats
    low: Floats
    high: Floats
    level: float
    method: str


@dataclass(frozen=True)
class CalibrationErrors:
    """Distances of the risks from the smoothed curve: their mean (ICI), median (E50) and 90 % point (E90).

    ``ici_by_chance`` is what perfectly calibrated risks would show on as many cases by chance (median).
    """

    ici: Estimate
    e50: Estimate
    e90: Estimate
    ici_by_chance: float


@dataclass(frozen=True)
class _Smoother:
    """Local lines at ``anchor`` (k,) over columns of cases at ``risk`` (c,), ready for any weights.

    ``kernel`` (c, k) holds the tricube weight of a column in the fit at an anchor.
    """

    risk: Floats
    anchor: Floats
    kernel: Floats

    def fits(self, cases: Floats, events: Floats) -> Floats:
        """The curve at the anchors, shape (draws, k), from cases and events by column, (draws, c)."""
        distance = self.risk[:, None] - self.anchor
        first, second = self.kernel * distance, self.kernel * distance**2
        with np.errstate(invalid="ignore", divide="ignore"):
            total = cases @ self.kernel
            centre, level = (cases @ first) / total, (events @ self.kernel) / total
            spread = (cases @ second) / total - centre**2
            slope = ((events @ first) / total - centre * level) / spread
        # Cleveland's rule: no slope where the cases under the kernel hardly differ in risk.
        sloped = np.sqrt(np.maximum(spread, 0)) > 0.001 * (self.risk[-1] - self.risk[0])
        return self._bridged(np.where(sloped, level - centre * slope, level))

    def _bridged(self, fits: Floats) -> Floats:
        """Straight lines over anchors that a resample left without a case under their kernel."""
        for row in np.flatnonzero(np.isnan(fits).any(axis=1)):
            fitted = ~np.isnan(fits[row])
            if fitted.any():
                fits[row] = np.interp(self.anchor, self.anchor[fitted], fits[row, fitted])
        return fits

    def errors(self, fits: Floats) -> Floats:
        """How far each column's risk lies from each curve, shape (draws, c)."""
        place = np.clip(np.searchsorted(self.anchor, self.risk) - 1, 0, max(len(self.anchor) - 2, 0))
        after = np.minimum(place + 1, len(self.anchor) - 1)
        gap = self.anchor[after] - self.anchor[place]
        share = np.divide(self.risk - self.anchor[place], gap, out=np.zeros(len(self.risk)), where=gap > 0)
        return np.abs(fits[:, place] * (1 - share) + fits[:, after] * share - self.risk)


@takes_series
def smoothed_curve(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> SmoothedCurve:
    """How often the condition was present at each risk, by local regression, with a pointwise band.

    Parameters
    ----------
    outcome, risk : shape (n,), at least one case.
    group : shape (n,); with groups whole groups are resampled.
    draws, seed, level : of the percentile band.

    Notes
    -----
    Cleveland's lowess as R's ``lowess(risk, outcome, iter = 0)`` (1979,
    doi:10.1080/01621459.1979.10481038). The curve may leave [0, 1] where cases are few, as R's does. The
    bootstrap keeps each local fit's width; events are not held fixed, since calibration is about how
    many there are. Above 50,000 cases the curve is that of 500 quantile bins; resamples never have
    more columns than that.
    """
    outcome, risk = checked_risks(outcome, risk)
    if not len(risk):
        raise ValueError("A smoothed curve needs at least one case.")
    return smoothed_calibration(outcome, risk, group=group, draws=draws, seed=seed, level=level).curve


@dataclass(frozen=True)
class SmoothedCalibration:
    """The smoothed curve and the distances of the risks from it, from one bootstrap."""

    curve: SmoothedCurve
    errors: CalibrationErrors


@takes_series
def smoothed_calibration(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> SmoothedCalibration:
    """``smoothed_curve`` and ``calibration_errors`` at the cost of one; parameters as for these.

    With one outcome absent the errors are undefined; without a case there is no curve (ValueError).
    """
    outcome, risk = checked_risks(outcome, risk)
    code = shared_groups(group, len(risk))
    whole, carrier = _samples(outcome, risk)
    cases, events = _resampled(carrier.columns, outcome, code, draws, seed)
    fits = carrier.smoother.fits(cases, events)
    curve = _curve(whole, carrier, fits, code, draws=draws, level=level)
    if not 0 < np.count_nonzero(outcome) < len(outcome):
        nothing = undefined("needs cases with and without the condition", level=level)
        return SmoothedCalibration(curve, CalibrationErrors(nothing, nothing, nothing, np.nan))
    values = _summaries(whole.smoother, whole.cases, whole.smoother.fits(whole.cases, whole.events))
    drawn = _summaries(carrier.smoother, cases, fits)
    chance = _by_chance(carrier, risk, code, draws, seed)
    method = f"{_curve_words(len(risk))}, percentile bootstrap of {draws} draws" + (
        "" if code is None else " of groups"
    )
    ici, e50, e90 = (
        _above_chance(float(value[0]), own, perfect, level, f"{method}; covers {covers}", code)
        for value, own, perfect, covers in zip(values, drawn, chance, COVERS, strict=True)
    )
    return SmoothedCalibration(curve, CalibrationErrors(ici, e50, e90, float(np.median(chance[0]))))


def _curve(
    whole: "_Sample",
    carrier: "_Sample",
    fits: Floats,
    code: NDArray[np.intp] | None,
    *,
    draws: int,
    level: float,
) -> SmoothedCurve:
    anchor, carried = whole.smoother.anchor, carrier.smoother.anchor
    observed = whole.smoother.fits(whole.cases, whole.events)[0]
    words = _curve_words(int(whole.cases.sum()))
    if few := few_groups(code):
        nothing = np.full(len(anchor), np.nan)
        return SmoothedCurve(anchor, observed, nothing, nothing, level, f"{words}; {few}")
    groups = effective_groups(code)
    low, high = np.nanquantile(fits, tails(level, groups), axis=0)
    return SmoothedCurve(
        anchor,
        observed,
        np.interp(anchor, carried, low),
        np.interp(anchor, carried, high),
        level,
        f"{words}, pointwise percentile band of {draws} draws{'' if code is None else ' of groups'}, "
        "which covers less than its level at the ends",
    )


@takes_series
def calibration_errors(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> CalibrationErrors:
    """How far the risks lie from the smoothed curve: mean, median and 90 % point, from one bootstrap.

    Parameters
    ----------
    outcome, risk, group, draws, seed, level : as for ``smoothed_curve``.

    Notes
    -----
    Austin and Steyerberg 2019, doi:10.1002/sim.8281; the mean and the 90 % point are Eavg and E90 of R's
    ``rms::val.prob``. Intervals are percentile ones. A distance is never below 0 and chance alone pushes
    it up, so no resample tells of perfect calibration: where risks that are perfect would lie as far off
    in at least ``1 - level`` of simulated outcomes, the lower bound is 0. The outcomes of a group are
    simulated together, each case with the condition where one number drawn for the group lies below its risk.
    """
    outcome, risk = checked_risks(outcome, risk)
    if not 0 < np.count_nonzero(outcome) < len(outcome):
        nothing = undefined("needs cases with and without the condition", level=level)
        return CalibrationErrors(nothing, nothing, nothing, nothing.value)
    return smoothed_calibration(outcome, risk, group=group, draws=draws, seed=seed, level=level).errors


@takes_series
def ici(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The integrated calibration index: how far a risk lies from the smoothed curve on average.

    Parameters as for ``smoothed_curve``; ``calibration_errors`` gives ICI, E50 and E90 at one cost.
    """
    return calibration_errors(outcome, risk, group=group, draws=draws, seed=seed, level=level).ici


@takes_series
def e50(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The median distance of a risk from the smoothed calibration curve; parameters as for ``ici``."""
    return calibration_errors(outcome, risk, group=group, draws=draws, seed=seed, level=level).e50


@takes_series
def e90(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The distance from the smoothed calibration curve that nine of ten risks keep; as for ``ici``."""
    return calibration_errors(outcome, risk, group=group, draws=draws, seed=seed, level=level).e90


def _curve_words(cases: int) -> str:
    return "lowess" if cases <= LARGE else f"lowess of {BINS} quantile bins"


@dataclass(frozen=True)
class _Sample:
    """A sample by columns of neighbouring risks: its smoother, its cases and events, each shape (1, c)."""

    columns: Columns
    smoother: _Smoother
    cases: Floats
    events: Floats


def _samples(outcome: Bools, risk: Floats) -> tuple[_Sample, _Sample]:
    """The sample with a column for each distinct risk (bins where it is large), and as resamples carry it."""
    carrier = _sample(columns_by_risk(risk, BINS), outcome, risk)
    if len(risk) > LARGE or not carrier.columns.binned:
        return carrier, carrier
    return _sample(columns_by_risk(risk, len(risk)), outcome, risk), carrier


def _sample(columns: Columns, outcome: Bools, risk: Floats) -> _Sample:
    cases = np.bincount(columns.of_case)
    events = np.bincount(columns.of_case, weights=outcome).astype(np.float64)
    # The risk itself, to the last bit, where each column holds one risk only.
    centre = np.bincount(columns.of_case, weights=risk) / cases if columns.binned else columns.least
    return _Sample(columns, _smoother(centre, cases), cases[None, :].astype(np.float64), events[None, :])


def _resampled(
    columns: Columns, outcome: Bools, group: ArrayLike | None, draws: int, seed: int
) -> tuple[Floats, Floats]:
    """Cases and events by column of each resample, each shape (draws, c)."""
    units = resampling_units(outcome, group, stratified=False)
    weights = units.weights(draws, seed)
    cases = weights @ units.sums(columns.of_case, columns.number)
    return cases, weights @ units.sums(columns.of_case, columns.number, outcome)


def _smoother(risk: Floats, cases: NDArray[np.intp]) -> _Smoother:
    anchor = risk[_anchors(risk)]
    width = _widths(risk, cases, anchor)
    distance = np.abs(risk[:, None] - anchor)
    with np.errstate(invalid="ignore", divide="ignore"):
        tricube = (1 - (distance / width) ** 3) ** 3
    near = distance <= 0.001 * width
    return _Smoother(risk, anchor, np.where(near, 1.0, np.where(distance <= 0.999 * width, tricube, 0.0)))


def _anchors(risk: Floats) -> list[int]:
    """Columns at which a line is fitted: the first, the last, and no two closer than R's ``delta`` needs."""
    skip, last = SKIP * (risk[-1] - risk[0]), 0
    anchors = [0]
    while last < len(risk) - 1:
        within = int(np.searchsorted(risk, risk[last] + skip, side="right")) - 1
        last = max(last + 1, within)
        anchors.append(last)
    return anchors


def _widths(risk: Floats, cases: NDArray[np.intp], anchor: Floats) -> Floats:
    """The distance from each anchor to the farthest of the nearest two thirds of the cases."""
    number = int(cases.sum())
    nearest = max(min(int(SPAN * number + 1e-7), number), min(2, number))
    ranked = np.repeat(risk, cases)
    first, final = ranked[: number - nearest + 1], ranked[nearest - 1 :]
    # Of all runs of so many neighbours the tightest around an anchor is where its ends balance.
    balanced = np.minimum(np.searchsorted(first + final, 2 * anchor), len(first) - 1)
    runs = np.stack([np.maximum(balanced - 1, 0), balanced])
    return np.maximum(anchor - first[runs], final[runs] - anchor).min(axis=0)


def _by_chance(
    sample: _Sample, risk: Floats, code: NDArray[np.intp] | None, draws: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    """The distances where outcomes happen just as the risks say: mean, median, 90 % point by simulation."""
    cases, events = (
        sample.cases,
        (
            _perfect(sample, draws, seed)
            if code is None
            else _perfect_by_group(sample, risk, code, draws, seed)
        ),
    )
    return _summaries(
        sample.smoother, np.broadcast_to(cases, events.shape), sample.smoother.fits(cases, events)
    )


def _perfect(sample: _Sample, draws: int, seed: int) -> Floats:
    """Events by column, shape (draws, c), each case with an outcome of its own."""
    held = sample.cases[0].astype(np.int64)
    rng = np.random.default_rng([seed, 1])
    return rng.binomial(held, sample.smoother.risk, size=(draws, len(held))).astype(np.float64)


def _perfect_by_group(sample: _Sample, risk: Floats, code: NDArray[np.intp], draws: int, seed: int) -> Floats:
    """Events by column, shape (draws, c): one number drawn per group, an event where it is below the risk."""
    if len(risk) > LARGE:
        draws = min(draws, 200)  # chance is small there, and known well enough
    rng, order = np.random.default_rng([seed, 1]), np.argsort(sample.columns.of_case, kind="stable")
    starts = np.searchsorted(sample.columns.of_case[order], np.arange(sample.columns.number))
    risk, code = risk[order], code[order]
    events, step = np.empty((draws, sample.columns.number)), max(1, BLOCK // len(risk))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        happened = rng.random((rows, int(code.max()) + 1))[:, code] < risk
        events[start : start + rows] = np.add.reduceat(happened, starts, axis=1, dtype=np.float64)
    return events


def _summaries(smoother: _Smoother, cases: Floats, fits: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, median and 90 % point of the distances by resample, each shape (draws,)."""
    errors = smoother.errors(fits)
    number = cases.sum(axis=1)
    order = np.argsort(errors, axis=1)
    ranked = np.take_along_axis(errors, order, 1)
    passed = np.cumsum(np.take_along_axis(cases, order, 1), axis=1)
    return (
        # A column that a resample left out may have no fit; it counts for nothing.
        np.sum(np.where(cases > 0, errors, 0) * cases, axis=1) / number,
        _quantile(ranked, passed, number, 0.5),
        _quantile(ranked, passed, number, 0.9),
    )


def _quantile(ranked: Floats, passed: Floats, number: Floats, share: float) -> Floats:
    """R's default quantile (type 7) of ranked distances, of which ``passed`` cases lie at or below each."""
    place = (number - 1) * share
    below = np.floor(place)

    def at(rank: Floats) -> Floats:
        column = np.count_nonzero(passed <= rank[:, None], axis=1)
        return np.take_along_axis(ranked, column[:, None], 1)[:, 0]

    low, high = at(below), at(np.ceil(place))
    return low + (place - below) * (high - low)


def _above_chance(
    value: float, drawn: Floats, perfect: Floats, level: float, method: str, code: NDArray[np.intp] | None
) -> Estimate:
    """The percentile interval, down to 0 where perfect calibration would show as much by chance."""
    if few := few_groups(code):
        return Estimate(value, np.nan, np.nan, level, few)
    groups = effective_groups(code)
    found = percentile_interval(value, drawn, level=level, method=method, groups=groups)
    if np.isnan(found.low) or np.mean(perfect >= value) < 1 - level:
        return found
    return replace(found, low=0.0, method=f"{found.method}; low 0, perfect risks show as much by chance")
