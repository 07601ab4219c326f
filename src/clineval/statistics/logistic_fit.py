"""Logistic regression of the outcome on one or no covariate, for calibration: small, exact, any n."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

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
