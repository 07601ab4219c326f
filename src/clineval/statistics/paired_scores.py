"""Two models' errors on the same cases: the differences of their Brier scores and log losses, paired."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from clineval.statistics.counting import Floats, checked_risks
from clineval.statistics.delong import Comparison
from clineval.statistics.intervals import Estimate, normal_quantile, undefined
from clineval.statistics.resampling import shared_groups
from clineval.statistics.scores import standard_error, surely_wrong, surprise


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
    return _paired((risk_a - outcome) ** 2 - (risk_b - outcome) ** 2, "squared errors", group, level)


def compare_log_loss(
    outcome: ArrayLike,
    risk_a: ArrayLike,
    risk_b: ArrayLike,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """How much more one model is surprised by the outcomes than another: below 0 favours the first.

    Parameters as for ``compare_brier``. Undefined where a risk of exactly 0 or 1 proved wrong, which is
    an infinite surprise.
    """
    outcome, risk_a = checked_risks(outcome, risk_a)
    _, risk_b = checked_risks(outcome, risk_b)
    wrong = surely_wrong(outcome, risk_a) + surely_wrong(outcome, risk_b)
    if wrong:
        return _untested(undefined(f"infinite: {wrong} risks of exactly 0 or 1 proved wrong", level=level))
    return _paired(surprise(outcome, risk_a) - surprise(outcome, risk_b), "log losses", group, level)


def _paired(change: Floats, what: str, group: ArrayLike | None, level: float) -> Comparison:
    if not len(change):
        return _untested(undefined("no cases", level=level))
    mean, code = float(change.mean()), shared_groups(group, len(change))
    error = standard_error((change - mean) / len(change), code)
    if not error > 0:
        reason = (
            "the two models err alike in every case" if error == 0 else "one case or group shows no spread"
        )
        return _untested(Estimate(mean, np.nan, np.nan, level, f"no interval: {reason}"))
    reach, z = normal_quantile(level) * error, mean / error
    units = "cases" if code is None else "groups"
    method = f"paired difference of {what}, Wald, variance between {units}"
    estimate = Estimate(mean, mean - reach, mean + reach, level, method)
    return Comparison(estimate, z, float(2 * ndtr(-abs(z))), method)


def _untested(difference: Estimate) -> Comparison:
    return Comparison(difference, np.nan, np.nan, difference.method)
