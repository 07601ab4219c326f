"""What so many cases can show and what they cannot, how many the next study needs, and a simulation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import entr, expit, logit, ndtr, ndtri

from clineval.statistics import calibration, roc, scores
from clineval.statistics.counts import (
    Bools,
    Floats,
    checked_risks,
    group_codes,
    probabilities,
    takes_series,
)
from clineval.statistics.decision_curve import decision_curve
from clineval.statistics.intervals import (
    Estimate,
    check_draws,
    normal_quantile,
    shared_groups,
    undefined,
    wilson_bounds,
)
from clineval.statistics.operating_point import operating_point
from clineval.statistics.thresholds import events_to_flag

# The threshold at which the simulated rates are taken, unless another is asked for.
THRESHOLD = 0.5


@dataclass(frozen=True)
class CoverageRow:
    """How often the interval of one measure held the truth.

    ``covered`` is the share among simulations where the interval is defined, ``error`` its Monte Carlo
    standard error; ``too_low`` and ``too_high`` are the shares of intervals wholly below and above the
    truth; ``undefined`` counts simulations without an interval.
    """

    measure: str
    truth: float
    covered: float
    error: float
    too_low: float
    too_high: float
    mean_width: float
    undefined: int
    simulations: int


@dataclass(frozen=True)
class _World:
    """Binormal scores of equal spread, told as the risks that they truly mean: calibrated by nature."""

    separation: float
    prevalence: float
    threshold: float

    def risk(self, score: Floats) -> Floats:
        return expit(logit(self.prevalence) + self.separation * score - self.separation**2 / 2)

    def truths(self) -> dict[str, float]:
        """The value that each measure would have on endless cases."""
        cut = (self.separation**2 / 2 + logit(self.threshold) - logit(self.prevalence)) / self.separation
        hit, alarm, share = ndtr(self.separation - cut), ndtr(-cut), self.prevalence
        brier = self._mean(lambda p: p * (1 - p))
        flagged = share * hit + (1 - share) * alarm
        odds = self.threshold / (1 - self.threshold)
        return {
            "auc": float(ndtr(self.separation / np.sqrt(2))),
            "auc_logit": float(ndtr(self.separation / np.sqrt(2))),
            "brier": brier,
            "scaled_brier": 1 - brier / (share * (1 - share)),
            "log_loss": self._mean(lambda p: entr(p) + entr(1 - p)),
            "calibration_intercept": 0.0,
            "calibration_slope": 1.0,
            "observed_expected": 1.0,
            "sensitivity": float(hit),
            "specificity": float(1 - alarm),
            "ppv": float(share * hit / flagged),
            "npv": float((1 - share) * (1 - alarm) / (1 - flagged)),
            "accuracy": float(share * hit + (1 - share) * (1 - alarm)),
            "lr_positive": float(hit / alarm),
            "lr_negative": float((1 - hit) / (1 - alarm)),
            "ici": 0.0,
            "average_precision": self._average_precision(),
            "partial_auc": self._partial_auc(),
            "net_benefit": float(share * hit - (1 - share) * alarm * odds),
        }

    def _average_precision(self) -> float:
        def step(score: float) -> float:
            caught = self.prevalence * ndtr(self.separation - score)
            flagged = caught + (1 - self.prevalence) * ndtr(-score)
            bell = np.exp(-((score - self.separation) ** 2) / 2) / np.sqrt(2 * np.pi)
            return float(caught / flagged * bell)

        return float(quad(step, -10, 10 + self.separation, limit=200)[0])

    def _partial_auc(self) -> float:
        """McClish's standardised area where the sensitivity is at least .8."""
        area = quad(lambda sensitivity: ndtr(-(self.separation - ndtri(sensitivity))), 0.8, 1)[0]
        spared = 0.2 - area  # specificity summed over the sensitivities from .8 to 1
        useless, perfect = 0.02, 0.2
        return float((1 + (spared - useless) / (perfect - useless)) / 2)

    def _mean(self, of_risk: Callable[[Floats], Floats]) -> float:
        """The mean of a function of the risk over both classes."""

        def density(score: float) -> float:
            bells = np.exp(-((score - np.array([0, self.separation])) ** 2) / 2) / np.sqrt(2 * np.pi)
            both = (1 - self.prevalence) * bells[0] + self.prevalence * bells[1]
            return float(of_risk(self.risk(np.array(score))) * both)

        return float(quad(density, -10, 10 + self.separation, limit=200)[0])


BOOTSTRAPPED = ("ici", "average_precision", "partial_auc", "net_benefit")
"""Measures whose interval is a bootstrap, simulated only where ``draws`` are asked for."""


def coverage(
    cases: int,
    events: int,
    expected_auc: float,
    *,
    sizes: Sequence[int] | None = None,
    correlation: float = 0.0,
    outcome_correlation: float = 1.0,
    respect_groups: bool = True,
    threshold: float = THRESHOLD,
    simulations: int = 2000,
    draws: int = 0,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[CoverageRow, ...]:
    """How often our intervals hold the truth on sets of this size, by simulation.

    Parameters
    ----------
    cases, events : the size of the set and its expected events; each simulated set redraws its events,
        as a random sample of patients does, and has at least one case of each class.
    expected_auc : of the simulated model, above 0.5 and below 1. Its risks are calibrated.
    sizes : cases of each group, summing to ``cases``; None: every case stands alone.
    correlation : of the scores of one group's cases, in [0, 1).
    outcome_correlation : of the outcomes of one group's cases, 0 to 1: the share of groups of one outcome.
    respect_groups : whether the intervals are told of the groups; False shows what ignoring them costs.
    threshold : at which rates and net benefit are taken, between 0 and 1.
    simulations, level, seed : as they say.
    draws : of the bootstrap of the measures in ``BOOTSTRAPPED``; 0 leaves these out.
    progress : called with (done, simulations).
    """
    sizes = (1,) * cases if sizes is None else tuple(sizes)
    fit = 0 < events < cases and 0.5 < expected_auc < 1 and 0 <= correlation < 1
    if not fit or sum(sizes) != cases or min(sizes) < 1 or not 0 <= outcome_correlation <= 1:
        raise ValueError(
            "Coverage needs 0 < events < cases, an AUC above 0.5 and below 1, groups that sum to the cases "
            f"and a correlation in [0, 1); got {events} of {cases}, {expected_auc}, {sum(sizes)}, "
            f"{correlation}."
        )
    world = _World(float(np.sqrt(2) * ndtri(expected_auc)), events / cases, threshold)
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(len(sizes)), sizes)
    told = code if respect_groups and len(sizes) < cases else None
    truths = {name: value for name, value in world.truths().items() if draws or name not in BOOTSTRAPPED}
    bounds = np.empty((simulations, len(truths), 2))
    for i in range(simulations):
        outcome, score = simulated(
            world.separation, world.prevalence, code, correlation, outcome_correlation, rng
        )
        estimates = _estimates(outcome, world.risk(score), told, threshold, draws, level)
        bounds[i] = [(estimates[measure].low, estimates[measure].high) for measure in truths]
        if progress:
            progress(i + 1, simulations)
    return tuple(_row(measure, truth, bounds[:, i]) for i, (measure, truth) in enumerate(truths.items()))


def simulated(
    separation: float,
    prevalence: float,
    code: NDArray[np.intp],
    correlation: float,
    outcome_correlation: float,
    rng: np.random.Generator,
) -> tuple[Bools, Floats]:
    """Outcomes and normal scores of cases in groups, each shape (n,), at least one case of each class."""
    groups = int(code.max()) + 1
    outcome = np.zeros(len(code), dtype=np.bool_)
    while outcome.all() or not outcome.any():
        alike = rng.random(groups) < outcome_correlation
        shared, own = rng.random(groups), rng.random(len(code))
        outcome = np.where(alike[code], shared[code], own) < prevalence
    noise = np.sqrt(correlation) * rng.standard_normal(groups)[code]
    noise += np.sqrt(1 - correlation) * rng.standard_normal(len(code))
    return outcome, noise + separation * outcome


@takes_series
def group_correlations(outcome: ArrayLike, risk: ArrayLike, group: ArrayLike) -> tuple[float, float]:
    """How alike the cases of a group are: the correlations of their scores and of their outcomes, 0 to 1.

    Intraclass correlations by analysis of variance (Donner and Koval 1980, doi:10.2307/2530491), of the
    log-odds of the risks less the mean of their class, and of the outcomes; below 0 counts as 0.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    """
    outcome, risk = checked_risks(outcome, risk)
    code = shared_groups(group, len(outcome))
    if code is None:
        return 0.0, 0.0
    score = logit(np.clip(risk, 1e-6, 1 - 1e-6))  # only to see how alike; an exact 0 or 1 has no logit
    for side in (outcome, ~outcome):
        score[side] -= score[side].mean() if side.any() else 0.0
    return min(0.95, _intraclass(score, code)), _intraclass(outcome.astype(np.float64), code)


def _intraclass(values: Floats, code: NDArray[np.intp]) -> float:
    sizes = np.bincount(code)
    groups, cases = len(sizes), len(values)
    means = np.bincount(code, weights=values) / sizes
    between = float(sizes @ (means - values.mean()) ** 2) / (groups - 1) if groups > 1 else 0.0
    within = float(np.sum((values - means[code]) ** 2)) / (cases - groups)
    usual = (cases - float(sizes @ sizes) / cases) / max(1, groups - 1)
    total = between + (usual - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 0.0


def _estimates(
    outcome: Bools,
    risk: Floats,
    code: NDArray[np.intp] | None,
    threshold: float,
    draws: int,
    level: float,
) -> dict[str, Estimate]:
    plain: dict[str, Any] = {"group": code, "level": level}
    point = operating_point(outcome, risk, threshold, **plain)
    found = {
        "auc": roc.auc(outcome, risk, **plain),
        "auc_logit": roc.auc_logit(outcome, risk, **plain),
        "brier": scores.brier(outcome, risk, **plain),
        "scaled_brier": scores.scaled_brier(outcome, risk, **plain),
        "log_loss": scores.log_loss(outcome, risk, **plain),
        "calibration_intercept": calibration.calibration_intercept(outcome, risk, **plain),
        "calibration_slope": calibration.calibration_slope(outcome, risk, **plain),
        "observed_expected": calibration.observed_expected(outcome, risk, **plain),
        **point.rates,
    }
    if not draws:
        return found
    curve = decision_curve(outcome, risk, thresholds=[threshold], draws=draws, **plain)
    return {
        **found,
        "ici": calibration.ici(outcome, risk, draws=draws, **plain),
        "average_precision": roc.average_precision(outcome, risk, draws=draws, **plain),
        "partial_auc": roc.partial_auc(outcome, risk, over="sensitivity", low=0.8, draws=draws, **plain),
        "net_benefit": Estimate(curve.net_benefit[0], curve.low[0], curve.high[0], level, curve.method),
    }


def _row(measure: str, truth: float, bounds: Floats) -> CoverageRow:
    defined = bounds[~np.isnan(bounds).any(axis=1)]
    number = len(defined)
    if not number:
        nothing = np.nan
        return CoverageRow(
            measure, truth, nothing, nothing, nothing, nothing, nothing, len(bounds), len(bounds)
        )
    # A bound that equals the truth holds it.
    too_low, too_high = float(np.mean(defined[:, 1] < truth)), float(np.mean(defined[:, 0] > truth))
    covered = 1 - too_low - too_high
    return CoverageRow(
        measure,
        truth,
        covered,
        float(np.sqrt(covered * (1 - covered) / number)),
        too_low,
        too_high,
        float(np.mean(defined[:, 1] - defined[:, 0])),
        len(bounds) - number,
        len(bounds),
    )


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


@takes_series
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
        raise ValueError("The expected risks must differ: equal risks have no slope.")
    error = _wanted(width) / (2 * normal_quantile(level))
    cases = math.ceil(information_a / (error**2 * determinant))
    events = math.ceil(cases * chance.mean())
    return SampleSize("calibration_slope", cases, events, width, level, "unit information of the risks")


def _log_odds(risk: ArrayLike) -> Floats:
    risk = probabilities(risk)
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
        shown = f"{auc:.2f}" if auc < 0.995 else f"{auc:.9g}"
        return f"{head} an AUC of {shown} from any better one, even 1."
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
        if float(shown[0]) < float(shown[1]):
            return shown
    return f"{low:.3g}", f"{high:.9g}"


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


# Events of a local sample at which the curve is drawn.
NUMBERS = (10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200)
# The share of adoptions that should reach the target.
NINE_IN_TEN = 0.9


@dataclass(frozen=True)
class LocalCases:
    """How well a locally set threshold keeps its sensitivity, by the number of local events that set it.

    Each of shape (k,): ``events``; ``sensitivity`` and ``specificity`` to expect; ``worst_tenth``, the
    sensitivity that one adoption in ten stays below; ``reached``, the share of adoptions whose sensitivity
    is at least ``target`` - ``tolerance``. ``needed`` is the least of ``events`` from which on nine in ten
    reach it, NaN where none does, with the ``reason``.
    """

    events: NDArray[np.intp]
    sensitivity: Floats
    worst_tenth: Floats
    specificity: Floats
    reached: Floats
    target: float
    tolerance: float
    assurance: float | None
    needed: float
    reason: str


@takes_series
def local_cases_needed(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    target: float = 0.9,
    tolerance: float = 0.05,
    assurance: float | None = None,
    numbers: Sequence[int] = NUMBERS,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> LocalCases:
    """The sensitivity to expect of a threshold set on so many local events, and how many are enough.

    The cohort at hand stands for all of the site's patients: local samples of so many events are drawn
    from it, whole groups with replacement, each sets a threshold, and the sensitivity and specificity of
    that threshold are those in the whole cohort.

    Parameters
    ----------
    outcome, risk, group : shape (n,), the cohort at hand.
    target : sensitivity that the threshold is set for, between 0 and 1.
    tolerance : how far below the target an adoption may end, 0 or more. Without ``assurance`` about half
        of all adoptions end below the target itself, however many cases there are.
    assurance : None sets the threshold at the target sensitivity of the sample; a probability such as 0.9
        sets it lower, so that the true sensitivity reaches the target with that probability (at the lowest
        event's risk where the sample is too small for that).
    numbers : events in a local sample, ascending, each at least 1; the last group may bring some more.
    draws, seed : of the samples of each number.
    """
    outcome, risk = checked_risks(outcome, risk)
    check_draws(draws)
    if not 0 < np.count_nonzero(outcome) < len(outcome):
        raise ValueError("Expected local cases with and without the condition; got one class only.")
    groups, rng = _events_by_group(outcome, risk, group), np.random.default_rng(seed)
    drawn = [rng.integers(len(groups), size=(draws, number)) for number in numbers]
    thresholds = np.array([_local_thresholds(groups, each, target, assurance) for each in drawn])
    sensitivity = 1 - _share_below(risk[outcome], thresholds)
    # A rate is a ratio of counts: one that equals the target may differ from it in the last bit.
    reached = (sensitivity >= target - tolerance - 1e-12).mean(axis=1)
    needed, reason = _needed(numbers, reached)
    return LocalCases(
        events=np.asarray(numbers, dtype=np.intp),
        sensitivity=sensitivity.mean(axis=1),
        worst_tenth=np.quantile(sensitivity, 0.1, axis=1),
        specificity=_share_below(risk[~outcome], thresholds).mean(axis=1),
        reached=reached,
        target=target,
        tolerance=tolerance,
        assurance=assurance,
        needed=needed,
        reason=reason,
    )


def _events_by_group(outcome: Bools, risk: Floats, group: ArrayLike | None) -> list[Floats]:
    code = np.unique(group_codes(group, len(outcome))[outcome], return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    return np.split(risk[outcome][order], np.cumsum(np.bincount(code))[:-1])


def _local_thresholds(
    groups: list[Floats], drawn: NDArray[np.int64], target: float, assurance: float | None
) -> Floats:
    """The ``local_threshold`` of each sample, (draws,): of the first groups drawn that bring enough events.

    Parameters
    ----------
    groups : the risks of the events of each group.
    drawn : numbers of groups, shape (draws, events wanted).
    """
    size = np.array([len(each) for each in groups])
    events = np.cumsum(size[drawn], axis=1)
    last = np.count_nonzero(events < drawn.shape[1], axis=1)  # the place of the group that brings enough
    total = events[np.arange(len(drawn)), last]
    flagged = {each: events_to_flag(int(each), target, assurance) for each in np.unique(total)}
    risk = np.full((len(groups) + 1, size.max()), -np.inf)  # the last stands for no group
    risk[:-1][np.arange(size.max()) < size[:, None]] = np.concatenate(groups)
    kept = np.where(np.arange(drawn.shape[1]) <= last[:, None], drawn, len(groups))
    return np.array(
        [
            np.partition(one, one.size - flagged[whole])[one.size - flagged[whole]]
            for one, whole in zip((risk[each].ravel() for each in kept), total, strict=True)
        ]
    )


def _share_below(risk: Floats, thresholds: Floats) -> Floats:
    """The share of cases that each threshold does not flag."""
    return np.searchsorted(np.sort(risk), thresholds) / len(risk)


def _needed(numbers: Sequence[int], reached: Floats) -> tuple[float, str]:
    """The least number from which on nine in ten reach the target, and the reason where there is none."""
    enough = int(np.append(0, np.flatnonzero(reached < NINE_IN_TEN) + 1)[-1])
    if enough < len(numbers):
        return float(numbers[enough]), ""
    return math.nan, f"with {numbers[-1]} events, the most considered, {reached[-1]:.0%} reach it"
