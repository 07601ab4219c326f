"""Proper scores of risks, which reward both ranking and calibration: Brier, log loss, Murphy's parts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlog1py, xlogy

from clineval.statistics.counts import Bools, Floats, checked_risks, takes_series
from clineval.statistics.intervals import Estimate, effective_groups, few_groups, quantile_by_group, undefined
from clineval.statistics.resampling import shared_groups
from clineval.statistics.risk_bins import columns_by_risk


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
