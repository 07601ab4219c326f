"""What a model would do where the condition is more or less common than in the sample at hand."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from clineval.statistics.counts import Counts, Floats, checked_risks, takes_series
from clineval.statistics.intervals import (
    Estimate,
    effective_groups,
    few_groups,
    normal_quantile,
    quantile_by_group,
    undefined,
)
from clineval.statistics.logistic_fit import fit_logistic
from clineval.statistics.rates import Worth, rate, score_bounds_of_ratio
from clineval.statistics.resampling import shared_groups

Worths = tuple[float, float]
"""How many independent events and non-events the counts are worth, where cases come in groups."""


def ppv_at_prevalence(
    table: Counts, prevalence: float, *, independent: Worths | None = None, level: float = 0.95
) -> Estimate:
    """How many of those flagged would have the condition at another prevalence.

    >>> ppv_at_prevalence(Counts(38, 11, 4, 103), 0.01)
    0.087 (0.051 to 0.143)

    Sensitivity and specificity are taken to travel unchanged (a prevalence shift, not a change of case
    mix). Interval on the logit scale (Mercaldo, Lau and Zhou 2007, doi:10.1002/sim.2677); where a cell is
    empty, by the score bounds of the likelihood ratio.

    Parameters
    ----------
    table : 2x2 counts at a threshold.
    prevalence : between 0 and 1, both excluded.
    independent : how many independent events and non-events the counts are worth, where cases come in
        groups; ``threshold_table`` gives them.
    """
    right, wrong = (table.true_positives, table.events), (table.false_positives, table.non_events)
    return _predictive_value(right, wrong, _checked(prevalence), "flagged", independent, level)


def npv_at_prevalence(
    table: Counts, prevalence: float, *, independent: Worths | None = None, level: float = 0.95
) -> Estimate:
    """How many of those not flagged would be free of the condition at another prevalence.

    Assumptions and interval as for ``ppv_at_prevalence``.
    """
    right, wrong = (table.true_negatives, table.non_events), (table.false_negatives, table.events)
    worth = None if independent is None else independent[::-1]
    return _predictive_value(right, wrong, 1 - _checked(prevalence), "left unflagged", worth, level)


def _predictive_value(
    right: tuple[int, int],
    wrong: tuple[int, int],
    share: float,
    what: str,
    independent: Worths | None,
    level: float,
) -> Estimate:
    """Share of the right ones among those so called, where a ``share`` of all cases could be right."""
    if not (right[1] and wrong[1]):
        return undefined("needs cases with and without the condition", level=level)
    if not (right[0] or wrong[0]):
        return undefined(f"no case is {what}", level=level)
    right_rate, wrong_rate = right[0] / right[1], wrong[0] / wrong[1]
    worth, other = independent or (right[1], wrong[1])
    value = share * right_rate / (share * right_rate + (1 - share) * wrong_rate)
    variance = sum(
        (1 - rate) / (cases * rate) for rate, cases in ((right_rate, worth), (wrong_rate, other)) if rate
    )
    if not (right[0] and wrong[0]) or variance == 0:
        ratios = score_bounds_of_ratio(right_rate, worth, wrong_rate, other, level=level)
        odds = share / (1 - share)
        low, high = (1.0 if np.isinf(ratio) else odds * ratio / (1 + odds * ratio) for ratio in ratios)
        return Estimate(value, low, high, level, "score bounds of the likelihood ratio, for an empty cell")
    reach = normal_quantile(level) * np.sqrt(variance)
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return Estimate(value, float(low), float(high), level, "logit method")


def net_benefit_at_prevalence(
    table: Counts,
    threshold: float,
    prevalence: float,
    *,
    independent: Worths | None = None,
    level: float = 0.95,
) -> Estimate:
    """True positives less false positives, these weighed by the threshold's odds, per case at a prevalence.

    NB = sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * t / (1 - t). The interval joins
    the Wilson intervals of the two rates (MOVER, Zou and Donner 2008, doi:10.1002/sim.3095).

    Parameters
    ----------
    table : 2x2 counts at the threshold.
    threshold : in [0, 1).
    prevalence, independent : as for ``ppv_at_prevalence``.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"Net benefit needs a threshold in [0, 1); got {threshold}.")
    gain = _checked(prevalence)
    cost = (1 - gain) * threshold / (1 - threshold)
    if not (table.events and table.non_events):
        return undefined("needs cases with and without the condition", level=level)
    worth, other = independent or (table.events, table.non_events)
    hit = rate(table.true_positives, table.events, Worth(worth), reason="", level=level)
    alarm = rate(table.false_positives, table.non_events, Worth(other), reason="", level=level)
    value = gain * hit.value - cost * alarm.value
    below = np.hypot(gain * (hit.value - hit.low), cost * (alarm.high - alarm.value))
    above = np.hypot(gain * (hit.high - hit.value), cost * (alarm.value - alarm.low))
    method = f"MOVER of two Wilson intervals at prevalence {prevalence:g}"
    return Estimate(value, float(value - below), float(value + above), level, method)


@takes_series
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
    code = shared_groups(group, len(outcome))
    fit = fit_logistic(outcome, offset=logit(risk), weight=weight, code=code)
    value, groups = float(fit.coefficients[0]), effective_groups(code)
    if few := few_groups(code):
        return Estimate(value, np.nan, np.nan, level, few)
    reach = quantile_by_group(level, groups) * float(np.sqrt(fit.covariance[0, 0]))
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
        raise ValueError(f"A prevalence must lie between 0 and 1; got {prevalence}.")
    return prevalence
