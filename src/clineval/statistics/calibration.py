"""Whether risks mean what they say: calibration, and the scores that calibration enters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from clineval.statistics.counts import Bools, Floats, checked_risks, takes_series
from clineval.statistics.differences import compare_brier, compare_log_loss
from clineval.statistics.intervals import (
    Estimate,
    effective_groups,
    few_groups,
    quantile_by_group,
    shared_groups,
    undefined,
    wilson_bounds,
)
from clineval.statistics.rates import grouped_rate
from clineval.statistics.recalibration import (
    ChangeAfterRecalibration,
    LogisticFit,
    Recalibration,
    change_after_recalibration,
    fit_isotonic,
    fit_logistic,
    fit_platt,
    fit_temperature,
)
from clineval.statistics.scores import (
    MurphyDecomposition,
    brier,
    columns_by_risk,
    log_loss,
    log_scale,
    murphy_decomposition,
    scaled_brier,
)
from clineval.statistics.smoothing import (
    CalibrationErrors,
    SmoothedCurve,
    calibration_errors,
    e50,
    e90,
    ici,
    smoothed_calibration,
    smoothed_curve,
)

__all__ = [
    "CalibrationErrors",
    "ChangeAfterRecalibration",
    "GroupedCurve",
    "MurphyDecomposition",
    "Recalibration",
    "SmoothedCurve",
    "brier",
    "calibration_errors",
    "calibration_intercept",
    "calibration_slope",
    "change_after_recalibration",
    "compare_brier",
    "compare_log_loss",
    "e50",
    "e90",
    "fit_isotonic",
    "fit_platt",
    "fit_temperature",
    "grouped_curve",
    "ici",
    "log_loss",
    "murphy_decomposition",
    "observed_expected",
    "scaled_brier",
    "smoothed_calibration",
    "smoothed_curve",
]


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
