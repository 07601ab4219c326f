"""What so many cases can show and what they cannot, and how many the next study needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri

from clineval.statistics.auc import auc_variance
from clineval.statistics.counts import Floats
from clineval.statistics.intervals import Estimate, normal_quantile, undefined, wilson_bounds
from clineval.statistics.resampling import shared_groups
from clineval.statistics.simulation import CoverageRow, coverage, group_correlations

__all__ = [
    "CoverageRow",
    "SampleSize",
    "auc_design_effect",
    "auc_precision",
    "coverage",
    "events_for_sensitivity",
    "group_correlations",
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


def hanley_mcneil_error(auc: float, events: float, non_events: float) -> float:
    """The standard error of an AUC expected of so many cases.

    Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747: the risks of both classes are taken as
    exponential, which is near enough to most.

    Parameters
    ----------
    auc : in [0, 1].
    events, non_events : at least 1 each; of cases in groups, the independent ones that they are worth.
    """
    if not 0 <= auc <= 1:
        raise ValueError(f"An AUC must lie between 0 and 1; got {auc}.")
    if events < 1 or non_events < 1:
        raise ValueError(f"An AUC needs cases of both classes; got {events} and {non_events}.")
    both_above, both_below = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (events - 1) * (both_above - auc**2) + (non_events - 1) * (both_below - auc**2)
    ) / (events * non_events)
    return math.sqrt(variance)


def auc_precision(auc: float, events: float, non_events: float, *, level: float = 0.95) -> Estimate:
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

    >>> sample_size_for_auc(0.86, 0.27).cases
    277

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
        raise ValueError("Expected risks between 0 and 1 are needed; got none.")
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
    events: float,
    non_events: float,
    *,
    correlation: float = USUAL_CORRELATION,
    power: float = 0.8,
    level: float = 0.95,
) -> float:
    """How much better a second model must be for these cases to show it; NaN where even 1 is too near.

    >>> round(smallest_detectable_difference(0.86, 42, 114), 3)
    0.086

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
        raise ValueError(f"A correlation must be at least 0 and below 1; got {correlation}.")
    _check_share("An AUC", auc)
    _check_share("A power", power)
    reach = normal_quantile(level) + float(ndtri(power))
    error = hanley_mcneil_error(auc, events, non_events)

    def shortfall(difference: float) -> float:
        other = hanley_mcneil_error(auc + difference, events, non_events)
        return difference - reach * math.sqrt(error**2 + other**2 - 2 * correlation * error * other)

    return float(brentq(shortfall, 0, 1 - auc)) if shortfall(1 - auc) > 0 else math.nan


def sentence(
    auc: float, events: int, non_events: int, *, design_effect: float = 1.0, level: float = 0.95
) -> str:
    """One plain sentence on the difference that a test set of this size is too small to show.

    Parameters
    ----------
    design_effect : how many cases in groups tell as much as one independent case, at least 1; see
        ``auc_design_effect``.
    """
    cases = events + non_events
    if events < 1 or non_events < 1:
        return f"A test set of {cases} cases of one class says nothing about telling two classes apart."
    if not 0 < auc < 1:
        return f"At an AUC of {auc:g} on {events} events among {cases} cases no precision can be worked out."
    worth = events / design_effect, non_events / design_effect
    if min(worth) < 1:
        return f"{events} events among {cases} cases in groups are too few to distinguish any two models."
    told = "" if design_effect < 1.05 else f", worth {sum(worth):.0f} independent ones,"
    head = f"With {events} events among {cases} cases{told} this test set is too small to distinguish"
    apparent = smallest_detectable_difference(auc, *worth, power=0.5, level=level)
    if math.isnan(apparent):
        return f"{head} an AUC of {auc:.2f} from any better one, even 1."
    found = smallest_detectable_difference(auc, *worth, level=level)
    tail = (
        "and even a perfect one would not be shown to be better four times in five."
        if math.isnan(found)
        else f"and {found:.3g} for that to happen four times in five."
    )
    lower, upper = _distinct(auc, auc + apparent)
    return (
        f"{head} an AUC of {lower} from {upper}: a second model on the same cases must gain {apparent:.3g} "
        f"to differ significantly, {tail}"
    )


def _distinct(low: float, high: float) -> tuple[str, str]:
    """Two numbers with as many decimals as it takes to tell them apart, the higher one rounded down."""
    for digits in range(2, 8):
        shown = f"{low:.{digits}f}", f"{math.floor(high * 10**digits - 1e-9) / 10**digits:.{digits}f}"
        if shown[0] != shown[1]:
            return shown
    return f"{low:.3g}", f"{high:.9g}"


def auc_design_effect(outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None) -> float:
    """How many cases in groups tell as much of the AUC as one independent case; 1 without groups.

    The variance of the AUC by group over that by case, never below 1; NaN where either is undefined.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    """
    code = shared_groups(group, len(np.asarray(outcome)))
    if code is None:
        return 1.0
    clustered, alone = (auc_variance(outcome, risk, group=each) for each in (code, None))
    return max(1.0, clustered / alone) if alone > 0 and clustered >= 0 else math.nan


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
        raise ValueError(f"{what} must lie between 0 and 1; got {value}.")


def _wanted(width: float) -> float:
    if not width > 0:
        raise ValueError(f"The width of an interval must be above 0; got {width}.")
    return width
