"""Recalibration: the logistic fit, temperature, Platt and isotonic maps, a shift to another prevalence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, expit, logit

from clineval.statistics.counts import (
    Bools,
    Floats,
    checked_prevalence,
    checked_risks,
    probabilities,
    takes_series,
)
from clineval.statistics.intervals import (
    Estimate,
    effective_groups,
    few_groups,
    quantile_by_group,
    shared_groups,
    undefined,
)
from clineval.statistics.scores import surely_wrong, surprise

# Cases per pass of a Newton step: its temporaries stay within a core's cache, and its dot products below
# the 10,000 from which OpenBLAS wakes other threads for nothing.
BLOCK = 2**13
# Above twice this many cases Newton starts from the fit to every k-th case, about so many of them.
START_CASES = 20_000
MOST_STEPS = 100


@dataclass(frozen=True)
class LogisticFit:
    """Coefficients (intercept first) with their covariance; ``failure`` says why there are none."""

    coefficients: Floats
    covariance: Floats
    failure: str = ""


@dataclass(frozen=True)
class _Problem:
    """log-odds = offset + coefficients[0] + coefficients[1] * x; without ``x`` the intercept alone."""

    outcome: Bools
    x: Floats | None
    offset: Floats | None
    weight: Floats | None

    @property
    def terms(self) -> int:
        return 1 if self.x is None else 2

    def block(self, rows: slice) -> "_Problem":
        return _Problem(
            self.outcome[rows],
            None if self.x is None else self.x[rows],
            None if self.offset is None else self.offset[rows],
            None if self.weight is None else self.weight[rows],
        )

    def log_odds(self, coefficients: Floats) -> Floats:
        eta = np.full(len(self.outcome), coefficients[0])
        if self.x is not None:
            eta += coefficients[1] * self.x
        if self.offset is not None:
            eta += self.offset
        return eta

    def residual(self, coefficients: Floats) -> Floats:
        residual = self.outcome - expit(self.log_odds(coefficients))
        return residual if self.weight is None else residual * self.weight


def fit_logistic(
    outcome: Bools,
    *,
    x: Floats | None = None,
    offset: Floats | None = None,
    weight: Floats | None = None,
    code: NDArray[np.intp] | None = None,
) -> LogisticFit:
    """Maximum likelihood by Newton's method, to the last bits of a float.

    Parameters
    ----------
    outcome : shape (n,).
    x : covariate, shape (n,), finite; None fits the intercept alone.
    offset : added to the log-odds, shape (n,), finite.
    weight : of each case in the likelihood, shape (n,), above 0.
    code : shape (n,), numbers from 0; the covariance is then the sandwich clustered by them, with the
        factor G/(G-1) (n-1)/(n-k) for G clusters, n cases and k coefficients. Without it, and without
        weights, the inverse information (Wald); with weights alone, the sandwich by case.

    Notes
    -----
    The likelihood has a maximum only where both outcomes are present and, with a covariate, where the
    two classes overlap in it (Albert and Anderson 1984, doi:10.1093/biomet/71.1.1); that is checked
    beforehand, and ``failure`` says which it was.
    """
    problem = _Problem(outcome, x, offset, weight)
    failure = _no_maximum(outcome, x)
    if failure:
        nothing = np.full(problem.terms, np.nan)
        return LogisticFit(nothing, np.full((problem.terms, problem.terms), np.nan), failure)
    try:
        coefficients, information = _maximise(problem)
        inverse: Floats = np.linalg.inv(information).astype(np.float64)
    except np.linalg.LinAlgError:
        nothing = np.full(problem.terms, np.nan)
        failure = "the risks are so extreme that the likelihood is flat in floating point"
        return LogisticFit(nothing, np.full((problem.terms, problem.terms), np.nan), failure)
    if code is None and weight is None:
        return LogisticFit(coefficients, inverse)
    meat = _meat(problem, coefficients, np.arange(len(outcome)) if code is None else code)
    return LogisticFit(coefficients, inverse @ meat @ inverse)


def _no_maximum(outcome: Bools, x: Floats | None) -> str:
    events = int(np.count_nonzero(outcome))
    if events in (0, len(outcome)):
        return "needs cases with and without the condition"
    if x is None:
        return ""
    low, high = x.min(), x.max()
    if low == high:
        return "every case has the same risk: no slope"
    with_condition, without = x[outcome], x[~outcome]
    if with_condition.min() >= without.max() or with_condition.max() <= without.min():
        return "the risks separate the classes: the slope has no finite value"
    return ""


def _maximise(problem: _Problem) -> tuple[Floats, Floats]:
    """Coefficients and information at the maximum of the likelihood, which is known to exist."""
    coefficients = _start(problem)
    value, score, information = _likelihood(problem, coefficients)
    for _ in range(MOST_STEPS):
        step = np.linalg.solve(information, score)
        # The decrement is twice what the step still adds to the log-likelihood; from here on Newton doubles
        # the right digits with each step, so that this one is the last that a float can show.
        last = score @ step <= 1e-15 * (1 + abs(value))
        for _ in range(MOST_STEPS):
            ahead = _likelihood(problem, coefficients + step)
            # A rise too small for a float to show is no reason to step back.
            if ahead[0] >= value - 1e-13 * (1 + abs(value)):
                break
            step = step / 2
        coefficients = coefficients + step
        value, score, information = ahead
        if last:
            break
    return coefficients, information


def _start(problem: _Problem) -> Floats:
    cases = len(problem.outcome)
    if cases > 2 * START_CASES:
        every = problem.block(slice(None, None, cases // START_CASES))
        if not _no_maximum(every.outcome, every.x):
            return _maximise(every)[0]
    return np.zeros(problem.terms)


def _likelihood(problem: _Problem, coefficients: Floats) -> tuple[float, Floats, Floats]:
    """Log-likelihood, score and information at the coefficients, summed over blocks of cases."""
    value, score, information = 0.0, np.zeros(problem.terms), np.zeros((problem.terms, problem.terms))
    for start in range(0, len(problem.outcome), BLOCK):
        part = problem.block(slice(start, start + BLOCK))
        eta = part.log_odds(coefficients)
        chance = expit(eta)
        weight = 1.0 if part.weight is None else part.weight
        # log(1 + exp(eta)) without overflow; the outcome's sign turns it into -log P(outcome).
        value -= np.sum(weight * np.logaddexp(0, np.where(part.outcome, -eta, eta)))
        residual, spread = weight * (part.outcome - chance), weight * chance * (1 - chance)
        score[0] += residual.sum()
        information[0, 0] += spread.sum()
        if part.x is not None:
            score[1] += residual @ part.x
            information[0, 1] += spread @ part.x
            information[1, 1] += spread @ part.x**2
    if problem.terms == 2:
        information[1, 0] = information[0, 1]
    return float(value), score, information


def _meat(problem: _Problem, coefficients: Floats, code: NDArray[np.intp]) -> Floats:
    """The middle of the sandwich: squares of the clusters' scores, with the small-sample factor."""
    residual = problem.residual(coefficients)
    columns = [residual] if problem.x is None else [residual, residual * problem.x]
    scores = np.stack([np.bincount(code, weights=column) for column in columns])
    clusters, cases, terms = scores.shape[1], len(residual), problem.terms
    if clusters < 2 or cases <= terms:
        return np.full((terms, terms), np.nan)
    return scores @ scores.T * (clusters / (clusters - 1)) * ((cases - 1) / (cases - terms))


@dataclass(frozen=True)
class Recalibration:
    """How to correct a risk, and on which population that was learnt.

    ``temperature``, ``intercept`` and ``platt``: logit(new) = intercept + slope * logit(risk), where
    temperature = 1 / slope.
    ``isotonic``: straight lines through ``knots``, pairs of risk and new risk.
    """

    kind: str
    fitted_on: str
    cases: int
    events: int
    intercept: float = 0.0
    slope: float = 1.0
    knots: tuple[tuple[float, float], ...] = ()

    @property
    def temperature(self) -> float:
        """What the log-odds are divided by; above 1 makes risks less extreme."""
        return 1 / self.slope

    def apply(self, risk: ArrayLike) -> Floats:
        """The corrected risks, shape (n,). The order of risks stays; 0 and 1 stay except under isotonic."""
        risk = np.asarray(risk, dtype=np.float64)
        if self.kind == "isotonic":
            return np.interp(risk, *np.transpose(self.knots))
        return expit(self.intercept + self.slope * logit(risk))

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON; written and read back it gives the same floats."""
        return {**asdict(self), "knots": [list(knot) for knot in self.knots]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Recalibration":
        """The record that ``to_json`` gave."""
        return cls(**{**fields, "knots": tuple((float(x), float(y)) for x, y in fields["knots"])})


@takes_series
def fit_temperature(outcome: ArrayLike, risk: ArrayLike, *, fitted_on: str) -> Recalibration:
    """One number that makes risks more or less extreme: log-odds divided by the likeliest temperature.

    Parameters
    ----------
    outcome, risk : shape (n,), of the population to learn from.
    fitted_on : that population's name, kept in the record.

    Raises
    ------
    ValueError
        Where there is no likeliest temperature: one class absent, a risk of exactly 0 or 1 that proved
        wrong, risks that are all right or do not rise with the outcome.

    Notes
    -----
    Guo et al. 2017, arXiv:1706.04599.
    """
    outcome, risk = checked_risks(outcome, risk)
    own, log_odds = _learnable(outcome, risk)
    # Every case told twice, as itself and in the mirror, has its likeliest intercept at 0.
    fit = fit_logistic(np.concatenate([own, ~own]), x=np.concatenate([log_odds, -log_odds]))
    slope = _rising(fit.coefficients[1], fit.failure)
    return Recalibration("temperature", fitted_on, len(outcome), int(outcome.sum()), slope=slope)


@takes_series
def fit_intercept(outcome: ArrayLike, risk: ArrayLike, *, fitted_on: str) -> Recalibration:
    """One number that moves all risks up or down, the likeliest shift of the log-odds.

    Parameters and errors as for ``fit_temperature``, but the risks need not rise with the outcome.
    Steyerberg et al. 2004, doi:10.1002/sim.1844.
    """
    outcome, risk = checked_risks(outcome, risk)
    own, log_odds = _learnable(outcome, risk)
    fit = fit_logistic(own, offset=log_odds)
    if fit.failure:
        raise ValueError(f"No recalibration can be fitted: {fit.failure}.")
    shift = float(fit.coefficients[0])
    return Recalibration("intercept", fitted_on, len(outcome), int(outcome.sum()), intercept=shift)


@takes_series
def fit_platt(outcome: ArrayLike, risk: ArrayLike, *, fitted_on: str) -> Recalibration:
    """Two numbers, the likeliest intercept and slope of the log-odds: logistic recalibration.

    Parameters and errors as for ``fit_temperature``. Without Platt's smoothed targets (Platt 1999), so
    that the fit is Cox's (1958, doi:10.1093/biomet/45.3-4.562): on its own population the result has
    intercept 0 and slope 1.
    """
    outcome, risk = checked_risks(outcome, risk)
    own, log_odds = _learnable(outcome, risk)
    fit = fit_logistic(own, x=log_odds)
    slope = _rising(fit.coefficients[1], fit.failure)
    return Recalibration(
        "platt",
        fitted_on,
        len(outcome),
        int(outcome.sum()),
        intercept=float(fit.coefficients[0]),
        slope=slope,
    )


@takes_series
def fit_isotonic(outcome: ArrayLike, risk: ArrayLike, *, fitted_on: str) -> Recalibration:
    """The best rising steps, by pooling neighbours that stand in the wrong order.

    Parameters as for ``fit_temperature``; ValueError where one class is absent. New risks of exactly 0
    and 1 are what it says at the ends, and surely wrong on some future case: prefer it for thousands of
    cases only. Between the steps a straight line; outside the learnt risks the end values. Zadrozny and
    Elkan 2002, doi:10.1145/775047.775151.
    """
    from scipy.optimize import (
        isotonic_regression,  # half a second that applying a recalibration does not need
    )

    outcome, risk = checked_risks(outcome, risk)
    _both_classes(outcome)
    distinct, place = np.unique(risk, return_inverse=True)
    cases = np.bincount(place)
    pooled = isotonic_regression(np.bincount(place, weights=outcome) / cases, weights=cases)
    first, last = pooled.blocks[:-1], pooled.blocks[1:] - 1
    # A step is told by its two ends, one point where they are the same risk.
    ends = np.unique(np.concatenate([first, last]))
    knots = tuple(zip(distinct[ends].tolist(), pooled.x[ends].tolist(), strict=True))
    return Recalibration("isotonic", fitted_on, len(outcome), int(outcome.sum()), knots=knots)


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
    checked_prevalence(prevalence)
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


@takes_series
def risk_at_prevalence(risk: ArrayLike, *, trained_at: float, prevalence: float) -> Floats:
    """Risks moved to another prevalence by Bayes' rule: the log-odds shift by the change of prior log-odds.

    Parameters
    ----------
    risk : shape (n,), in [0, 1]; 0 and 1 stay.
    trained_at, prevalence : between 0 and 1, both excluded.
    """
    shift = logit(checked_prevalence(prevalence)) - logit(checked_prevalence(trained_at))
    return expit(logit(probabilities(risk)) + shift)


@dataclass(frozen=True)
class ChangeAfterRecalibration:
    """Brier score and log loss after recalibration less before, on cases that it was not fitted on.

    Below 0 is better.
    """

    kind: str
    fitted_on: str
    population: str
    brier: Estimate
    log_loss: Estimate


@takes_series
def change_after_recalibration(
    outcome: ArrayLike,
    risk: ArrayLike,
    recalibration: Recalibration,
    *,
    population: str,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> ChangeAfterRecalibration:
    """Whether a recalibration helps on another population: the paired change of Brier score and log loss.

    Parameters
    ----------
    outcome, risk : shape (n,), the risks before.
    population : the name of these cases; the one that the recalibration was fitted on is refused.
    group : shape (n,); with groups of several cases the variance is that between groups.
    """
    if population == recalibration.fitted_on:
        raise ValueError(f"A recalibration fitted on {population!r} must be judged on other cases.")
    from clineval.statistics.differences import compare_brier, compare_log_loss  # scipy.stats, as above

    outcome, risk = checked_risks(outcome, risk)
    corrected = recalibration.apply(risk)
    return ChangeAfterRecalibration(
        recalibration.kind,
        recalibration.fitted_on,
        population,
        compare_brier(outcome, corrected, risk, group=group, level=level).difference,
        compare_log_loss(outcome, corrected, risk, group=group, level=level).difference,
    )


@dataclass(frozen=True)
class ClosedTest:
    """Which update the local cases call for, by likelihood-ratio tests of smaller against the largest.

    ``statistic``, ``p_value`` and ``design_effect`` have two entries, no change (2 degrees of freedom) and
    the intercept alone (1), each against intercept and slope; ``log_likelihood`` has all three in that
    order. A statistic is the likelihood ratio over the design effect, which is 1 for independent cases.
    """

    chosen: str
    log_likelihood: tuple[float, float, float]
    statistic: tuple[float, float]
    p_value: tuple[float, float]
    design_effect: tuple[float, float]
    alpha: float


@takes_series
def closed_testing(
    outcome: ArrayLike, risk: ArrayLike, *, group: ArrayLike | None = None, alpha: float = 0.05
) -> ClosedTest:
    """The smallest update that these cases do not reject: nothing, the intercept, or intercept and slope.

    Parameters
    ----------
    outcome, risk, group : shape (n,); risks of the frozen model.
    alpha : level of each test, and of the procedure: so often a model that needs no update is changed.

    Notes
    -----
    Vergouwe et al. 2017, doi:10.1002/sim.7179, without their refitted model. Where groups join cases the
    likelihood ratio is divided by the mean ratio of clustered to plain variance, never below 1 (Rao and
    Scott 1984, doi:10.1214/aos/1176346391).
    """
    outcome, risk = checked_risks(outcome, risk)
    fits = [fit(outcome, risk, fitted_on="local") for fit in (fit_intercept, fit_platt)]
    risks = [risk, *(each.apply(risk) for each in fits)]
    nothing, intercept, both = (-float(surprise(outcome, each).sum()) for each in risks)
    effect = _design_effects(outcome, risk, shared_groups(group, len(outcome)))
    # Rounding can leave a ratio of -1e-14 where there is nothing to gain.
    statistic = (max(0.0, 2 * (both - nothing)) / effect[0], max(0.0, 2 * (both - intercept)) / effect[1])
    p_value = (float(chdtrc(2, statistic[0])), float(chdtrc(1, statistic[1])))
    larger = "intercept" if p_value[1] >= alpha else "intercept_slope"
    chosen = "nothing" if p_value[0] >= alpha else larger
    return ClosedTest(chosen, (nothing, intercept, both), statistic, p_value, effect, alpha)


def _design_effects(outcome: Bools, risk: Floats, code: NDArray[np.intp] | None) -> tuple[float, float]:
    """How much larger groups make the variances of intercept and slope together, and of the slope."""
    if code is None:
        return 1.0, 1.0
    own, log_odds = _learnable(outcome, risk)
    kept = np.unique(code[(risk > 0) & (risk < 1)], return_inverse=True)[1]
    plain, clustered = (fit_logistic(own, x=log_odds, code=each).covariance for each in (None, kept))
    both = float(np.trace(np.linalg.solve(plain, clustered))) / 2
    return max(1.0, both), max(1.0, float(clustered[1, 1] / plain[1, 1]))


def _learnable(outcome: Bools, risk: Floats) -> tuple[Bools, Floats]:
    """Outcomes and log-odds of the cases whose risk has a logit; the others must have proved right.

    Raises
    ------
    ValueError
        Where one class is absent, or a risk of exactly 0 or 1 proved wrong.
    """
    _both_classes(outcome)
    wrong = surely_wrong(outcome, risk)
    if wrong:
        raise ValueError(
            f"Log-odds cannot be corrected: {wrong} cases given a risk of exactly 0 or 1 proved wrong."
        )
    inner = (risk > 0) & (risk < 1)
    return outcome[inner], logit(risk[inner])


def _both_classes(outcome: Bools) -> None:
    if not 0 < np.count_nonzero(outcome) < len(outcome):
        raise ValueError("A recalibration needs cases with and without the condition.")


def _rising(slope: float, failure: str) -> float:
    if failure:
        raise ValueError(f"No recalibration can be fitted: {failure}.")
    if not slope > 0:
        raise ValueError(f"The risks do not rise with the outcome (slope {slope:.3g}): nothing to correct.")
    return float(slope)
