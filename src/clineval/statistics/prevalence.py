"""What a model would do where the condition is more or less common than in the sample at hand."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from clineval.statistics.counts import Counts, Floats, checked_risks, group_codes
from clineval.statistics.intervals import Estimate, normal_quantile, undefined, wilson
from clineval.statistics.logistic_fit import fit_logistic


def ppv_at_prevalence(table: Counts, prevalence: float, *, level: float = 0.95) -> Estimate:
    """How many of those flagged would have the condition at another prevalence.

    Sensitivity and specificity are taken to travel unchanged (a prevalence shift, not a change of case
    mix). Interval on the logit scale (Mercaldo, Lau and Zhou 2007, doi:10.1002/sim.2677).

    Parameters
    ----------
    table : 2x2 counts at a threshold.
    prevalence : between 0 and 1, both excluded.
    """
    return _predictive_value(
        (table.true_positives, table.events),
        (table.false_positives, table.non_events),
        _checked(prevalence),
        "flagged",
        level,
    )


def npv_at_prevalence(table: Counts, prevalence: float, *, level: float = 0.95) -> Estimate:
    """How many of those not flagged would be free of the condition at another prevalence.

    Assumptions and interval as for ``ppv_at_prevalence``.
    """
    return _predictive_value(
        (table.true_negatives, table.non_events),
        (table.false_negatives, table.events),
        1 - _checked(prevalence),
        "left unflagged",
        level,
    )


def _predictive_value(
    right: tuple[int, int], wrong: tuple[int, int], share: float, what: str, level: float
) -> Estimate:
    """Share of the right ones among those so called, where a ``share`` of all cases could be right."""
    if not (right[1] and wrong[1]):
        return undefined("needs cases with and without the condition", level=level)
    if not (right[0] or wrong[0]):
        return undefined(f"no case is {what}", level=level)
    right_rate, wrong_rate = right[0] / right[1], wrong[0] / wrong[1]
    value = share * right_rate / (share * right_rate + (1 - share) * wrong_rate)
    if not (right[0] and wrong[0]):
        reason = f"all cases {what} are of one class: the logit method has no interval"
        return Estimate(value, np.nan, np.nan, level, reason)
    reach = normal_quantile(level) * np.sqrt((1 - right_rate) / right[0] + (1 - wrong_rate) / wrong[0])
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return Estimate(value, float(low), float(high), level, "logit method")


def net_benefit_at_prevalence(
    table: Counts, threshold: float, prevalence: float, *, level: float = 0.95
) -> Estimate:
    """True positives less false positives, these weighed by the threshold's odds, per case at a prevalence.

    NB = sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * t / (1 - t). The interval joins
    the Wilson intervals of the two rates (MOVER, Zou and Donner 2008, doi:10.1002/sim.3095).

    Parameters
    ----------
    table : 2x2 counts at the threshold.
    threshold : in [0, 1).
    prevalence : between 0 and 1, both excluded.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"Net benefit needs a threshold in [0, 1); came {threshold}.")
    gain = _checked(prevalence)
    cost = (1 - gain) * threshold / (1 - threshold)
    if not (table.events and table.non_events):
        return undefined("needs cases with and without the condition", level=level)
    hit = wilson(table.true_positives, table.events, level=level)
    alarm = wilson(table.false_positives, table.non_events, level=level)
    value = gain * hit.value - cost * alarm.value
    below = np.hypot(gain * (hit.value - hit.low), cost * (alarm.high - alarm.value))
    above = np.hypot(gain * (hit.high - hit.value), cost * (alarm.value - alarm.low))
    method = f"MOVER of two Wilson intervals at prevalence {prevalence:g}"
    return Estimate(value, float(value - below), float(value + above), level, method)


def intercept_at_prevalence(
    outcome: ArrayLike,
    risk: ArrayLike,
    prevalence: float,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The calibration intercept that the unchanged risks would have at another prevalence.

    Events and non-events are weighted so that events make up the prevalence; below 0 the risks would be
    too high there. Wald interval with the sandwich variance of the weighted fit, clustered by group.

    Parameters
    ----------
    outcome, risk, group : shape (n,); a risk of exactly 0 or 1 makes the intercept undefined here.
    prevalence : between 0 and 1, both excluded.
    """
    outcome, risk = checked_risks(outcome, risk)
    events = np.count_nonzero(outcome)
    _checked(prevalence)
    if not 0 < events < len(outcome):
        return undefined("needs cases with and without the condition", level=level)
    if risk.min() == 0 or risk.max() == 1:
        return undefined("a risk of exactly 0 or 1 has no logit to shift", level=level)
    share = events / len(outcome)
    weight = np.where(outcome, prevalence / share, (1 - prevalence) / (1 - share))
    code = None if group is None else group_codes(group, len(outcome))
    fit = fit_logistic(outcome, offset=logit(risk), weight=weight, code=code)
    value = float(fit.coefficients[0])
    reach = normal_quantile(level) * float(np.sqrt(fit.covariance[0, 0]))
    method = f"Wald, sandwich variance, weighted to prevalence {prevalence:g}"
    return Estimate(value, value - reach, value + reach, level, method)


def risk_at_prevalence(risk: ArrayLike, *, trained_at: float, prevalence: float) -> Floats:
    """Risks moved to another prevalence by Bayes' rule: the log-odds shift by the change of prior log-odds.

    Parameters
    ----------
    risk : shape (n,), in [0, 1]; 0 and 1 stay.
    trained_at, prevalence : between 0 and 1, both excluded.
    """
    shift = logit(_checked(prevalence)) - logit(_checked(trained_at))
    return expit(logit(np.asarray(risk, dtype=np.float64)) + shift)


def _checked(prevalence: float) -> float:
    if not 0 < prevalence < 1:
        raise ValueError(f"A prevalence must lie between 0 and 1; came {prevalence}.")
    return prevalence
