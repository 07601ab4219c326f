"""What so many cases can tell and what they cannot, and how many the next study needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri

from clineval.statistics.counts import Floats
from clineval.statistics.intervals import Estimate, normal_quantile, undefined, wilson_bounds
from clineval.statistics.simulation import CoverageRow, coverage

__all__ = [
    "CoverageRow",
    "SampleSize",
    "auc_precision",
    "coverage",
    "events_for_sensitivity",
    "hanley_mcneil_error",
    "sample_size_for_auc",
    "sample_size_for_observed_expected",
    "sample_size_for_slope",
    "sentence",
    "smallest_detectable_difference",
]

# Two models that read the same images rank the cases alike to about this degree: the correlation of
# their AUC estimates in Hanley and McNeil's tables for scores that correlate at .7.
USUAL_CORRELATION = 0.6


@dataclass(frozen=True)
class SampleSize:
    """Cases, and events among them, that a stated precision needs."""

    measure: str
    cases: int
    events: int
    width: float
    level: float
    method: str


def hanley_mcneil_error(auc: float, events: int, non_events: int) -> float:
    """The standard error of an AUC expected of so many cases.

    Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747: the risks of both classes are taken as
    exponential, which is near enough to most.

    Parameters
    ----------
    auc : in [0, 1].
    events, non_events : at least 1 each.
    """
    if not 0 <= auc <= 1:
        raise ValueError(f"An AUC must lie between 0 and 1; came {auc}.")
    if events < 1 or non_events < 1:
        raise ValueError(f"An AUC needs cases of both classes; came {events} and {non_events}.")
    both_above, both_below = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (events - 1) * (both_above - auc**2) + (non_events - 1) * (both_below - auc**2)
    ) / (events * non_events)
    return math.sqrt(variance)


def auc_precision(auc: float, events: int, non_events: int, *, level: float = 0.95) -> Estimate:
    """The interval to expect around an AUC from so many cases, on the logit scale.

    Undefined at an AUC of 0 or 1, or where a class is absent.
    """
    if events < 1 or non_events < 1:
        return undefined("needs cases with and without the condition", level=level)
    if not 0 < auc < 1:
        return undefined("Hanley and McNeil's error is 0 at an AUC of 0 or 1", level=level)
    reach = normal_quantile(level) * hanley_mcneil_error(auc, events, non_events) / (auc * (1 - auc))
    low, high = expit(logit(auc) + np.array([-reach, reach]))
    return Estimate(auc, float(low), float(high), level, "Hanley and McNeil's error, logit scale")


def sample_size_for_auc(
    auc: float, prevalence: float, *, width: float = 0.1, level: float = 0.95
) -> SampleSize:
    """How many cases give an AUC to within an interval of this width.

    Parameters
    ----------
    auc : expected, between 0.5 and 1.
    prevalence : share of events, between 0 and 1.
    width : of the whole interval, e.g. 0.1 for plus or minus .05.

    Notes
    -----
    Newcombe's variance as in Riley et al. 2021, doi:10.1002/sim.9025, equation 12 and kin.
    """
    _check_share("An expected AUC", auc)
    _check_share("A prevalence", prevalence)
    error = _wanted(width) / (2 * normal_quantile(level))
    cases = _least_cases(lambda n: _newcombe_error(auc, n, prevalence) <= error)
    return SampleSize("auc", cases, math.ceil(cases * prevalence), width, level, "Newcombe's variance")


def _newcombe_error(auc: float, cases: int, prevalence: float) -> float:
    half = cases / 2 - 1
    factor = 1 + half * (1 - auc) / (2 - auc) + half * auc / (1 + auc)
    return math.sqrt(auc * (1 - auc) * factor / (cases**2 * prevalence * (1 - prevalence)))


def sample_size_for_observed_expected(
    prevalence: float, *, width: float = 0.2, level: float = 0.95
) -> SampleSize:
    """How many cases give the observed/expected ratio to within an interval of this width around 1.

    Riley et al. 2021, doi:10.1002/sim.9025: the error of ln(O/E) is sqrt((1 - prevalence) / events).

    Parameters
    ----------
    prevalence : share of events, between 0 and 1.
    width : exp(z error) - exp(-z error), the whole interval on the ratio's own scale.
    """
    _check_share("A prevalence", prevalence)
    error = math.asinh(_wanted(width) / 2) / normal_quantile(level)
    cases = math.ceil((1 - prevalence) / (prevalence * error**2))
    return SampleSize(
        "observed_expected", cases, math.ceil(cases * prevalence), width, level, "error of ln(O/E)"
    )


def sample_size_for_slope(
    risk: ArrayLike, *, width: float = 0.4, slope: float = 1.0, intercept: float = 0.0, level: float = 0.95
) -> SampleSize:
    """How many cases give the calibration slope to within an interval of this width.

    Parameters
    ----------
    risk : shape (n,), the risks expected in the next study, for instance those of this one; those of
        exactly 0 or 1 are left out.
    width : of the whole interval.
    slope, intercept : the calibration expected; 1 and 0 are perfect.

    Notes
    -----
    Riley et al. 2021, doi:10.1002/sim.9025: n = I_a / (SE^2 (I_a I_b - I_ab^2)), with the unit
    information I averaged over the expected log-odds.
    """
    log_odds = _log_odds(risk)
    chance = expit(intercept + slope * log_odds)
    spread = chance * (1 - chance)
    information_a, information_ab = spread.mean(), (spread * log_odds).mean()
    determinant = information_a * (spread * log_odds**2).mean() - information_ab**2
    if not determinant > 0:
        raise ValueError("The expected risks must differ: a slope cannot be told from equal ones.")
    error = _wanted(width) / (2 * normal_quantile(level))
    cases = math.ceil(information_a / (error**2 * determinant))
    events = math.ceil(cases * chance.mean())
    return SampleSize("calibration_slope", cases, events, width, level, "unit information of the risks")


def _log_odds(risk: ArrayLike) -> Floats:
    risk = np.asarray(risk, dtype=np.float64)
    inner = risk[(risk > 0) & (risk < 1)]
    if not len(inner):
        raise ValueError("Expected risks between 0 and 1 are needed; came none.")
    return logit(inner)


def events_for_sensitivity(sensitivity: float, *, width: float = 0.1, level: float = 0.95) -> int:
    """How many events give a sensitivity to within a Wilson interval of this width (or a specificity,
    non-events)."""
    _check_share("An expected sensitivity", sensitivity)
    _wanted(width)

    def narrow(events: int) -> bool:
        low, high = wilson_bounds(sensitivity * events, events, level=level)
        return bool(high - low <= width)

    return _least_cases(narrow)


def smallest_detectable_difference(
    auc: float,
    events: int,
    non_events: int,
    *,
    correlation: float = USUAL_CORRELATION,
    power: float = 0.8,
    level: float = 0.95,
) -> float:
    """How much better a second model must be for these cases to show it; NaN where even 1 is too near.

    Parameters
    ----------
    auc : of the first model, between 0 and 1.
    events, non_events : at least 1 each.
    correlation : of the two AUC estimates on the same cases; 0 for two separate cohorts of this size.
    power : chance to find the difference where it is real; 0.5 gives the least difference that would be
        significant if observed.

    Notes
    -----
    Hanley and McNeil 1983, doi:10.1148/radiology.148.3.6878708: each model with the error of its own
    AUC, the two correlated.
    """
    if not 0 <= correlation < 1:
        raise ValueError(f"A correlation must be at least 0 and below 1; came {correlation}.")
    _check_share("An AUC", auc)
    _check_share("A power", power)
    reach = normal_quantile(level) + float(ndtri(power))
    error = hanley_mcneil_error(auc, events, non_events)

    def shortfall(difference: float) -> float:
        other = hanley_mcneil_error(auc + difference, events, non_events)
        return difference - reach * math.sqrt(error**2 + other**2 - 2 * correlation * error * other)

    return float(brentq(shortfall, 0, 1 - auc)) if shortfall(1 - auc) > 0 else math.nan


def sentence(auc: float, events: int, non_events: int, *, level: float = 0.95) -> str:
    """One plain sentence on what a test set of this size cannot tell apart."""
    cases = events + non_events
    if events < 1 or non_events < 1:
        return f"A test set of {cases} cases of one class says nothing about telling two classes apart."
    if not 0 < auc < 1:
        return f"An AUC of {auc:g} on {events} events among {cases} cases leaves its own doubt unmeasured."
    head = f"With {events} events among {cases} cases this test set cannot tell"
    apparent = smallest_detectable_difference(auc, events, non_events, power=0.5, level=level)
    if math.isnan(apparent):
        return f"{head} an AUC of {_short(auc)} from any better one, not even from 1."
    # Rounded down: the sentence names a difference that is still too small.
    blurred = math.floor((auc + apparent) * 100 - 1e-9) / 100
    found = smallest_detectable_difference(auc, events, non_events, level=level)
    tail = (
        "not even a perfect one would be shown better four times in five."
        if math.isnan(found)
        else f"to do so four times in five it must gain {_short(found, 3)}."
    )
    return (
        f"{head} {_short(auc)} from {_short(blurred)}: a second model on the same cases must gain "
        f"{_short(apparent, 3)} of AUC to differ significantly at all; {tail}"
    )


def _short(share: float, digits: int = 2) -> str:
    return f"{share:.{digits}f}".removeprefix("0")


def _least_cases(enough: Callable[[int], bool]) -> int:
    """The least number of cases that are enough, where every larger number is."""
    above = 2
    while not enough(above):
        above *= 2
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if enough(middle) else (middle, above)
    return above


def _check_share(what: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{what} must lie between 0 and 1; came {value}.")


def _wanted(width: float) -> float:
    if not width > 0:
        raise ValueError(f"The width of an interval must be above 0; came {width}.")
    return width
