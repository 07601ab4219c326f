"""Two models' errors on the same cases: the difference of their Brier scores, paired."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from clineval.statistics.counting import checked_risks
from clineval.statistics.delong import Comparison
from clineval.statistics.intervals import Estimate, normal_quantile, undefined
from clineval.statistics.resampling import shared_groups
from clineval.statistics.scores import standard_error


def compare_brier(
    outcome: ArrayLike,
    risk_a: ArrayLike,
    risk_b: ArrayLike,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """How much further one model's risks lie from the outcomes than another's: below 0 favours the first.

    Parameters
    ----------
    outcome, risk_a, risk_b : shape (n,), risks in [0, 1].
    group : shape (n,); with groups of several cases the variance is that between groups.
    level : of the Wald interval around the mean difference of squared errors.

    Notes
    -----
    The mean over cases of (a - outcome)^2 - (b - outcome)^2, tested as a mean: Redelmeier, Bloch and
    Hickam 1991, doi:10.1016/0895-4356(91)90146-Z, with the observed variance of the differences.
    """
    outcome, risk_a = checked_risks(outcome, risk_a)
    _, risk_b = checked_risks(outcome, risk_b)
    if not len(outcome):
        return _untested(undefined("no cases", level=level))
    change = (risk_a - outcome) ** 2 - (risk_b - outcome) ** 2
    mean, code = float(change.mean()), shared_groups(group, len(change))
    error = standard_error((change - mean) / len(change), code)
    if not error > 0:
        reason = (
            "the two models err alike in every case" if error == 0 else "one case or group shows no spread"
        )
        return _untested(Estimate(mean, np.nan, np.nan, level, f"no interval: {reason}"))
    reach = normal_quantile(level) * error
    method = "paired difference of squared errors, Wald, variance between " + (
        "cases" if code is None else "groups"
    )
    z = mean / error
    return Comparison(
        Estimate(mean, mean - reach, mean + reach, level, method), z, float(2 * ndtr(-abs(z))), method
    )


def _untested(difference: Estimate) -> Comparison:
    return Comparison(difference, np.nan, np.nan, difference.method)
