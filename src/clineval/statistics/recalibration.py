"""Recalibration: temperature, Platt and isotonic maps, and risks as they change them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from clineval.statistics.counts import Bools, Floats, checked_risks
from clineval.statistics.intervals import Estimate
from clineval.statistics.logistic_fit import fit_logistic
from clineval.statistics.scores import surely_wrong


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
    own, log_odds = learnable(outcome, risk)
    # Every case told twice, as itself and in the mirror, has its likeliest intercept at 0.
    fit = fit_logistic(np.concatenate([own, ~own]), x=np.concatenate([log_odds, -log_odds]))
    slope = _rising(fit.coefficients[1], fit.failure)
    return Recalibration("temperature", fitted_on, len(outcome), int(outcome.sum()), slope=slope)


def fit_intercept(outcome: ArrayLike, risk: ArrayLike, *, fitted_on: str) -> Recalibration:
    """One number that moves all risks up or down, the likeliest shift of the log-odds.

    Parameters and errors as for ``fit_temperature``, but the risks need not rise with the outcome.
    Steyerberg et al. 2004, doi:10.1002/sim.1844.
    """
    outcome, risk = checked_risks(outcome, risk)
    own, log_odds = learnable(outcome, risk)
    fit = fit_logistic(own, offset=log_odds)
    if fit.failure:
        raise ValueError(f"No recalibration can be fitted: {fit.failure}.")
    shift = float(fit.coefficients[0])
    return Recalibration("intercept", fitted_on, len(outcome), int(outcome.sum()), intercept=shift)


def fit_platt(outcome: ArrayLike, risk: ArrayLike, *, fitted_on: str) -> Recalibration:
    """Two numbers, the likeliest intercept and slope of the log-odds: logistic recalibration.

    Parameters and errors as for ``fit_temperature``. Without Platt's smoothed targets (Platt 1999), so
    that the fit is Cox's (1958, doi:10.1093/biomet/45.3-4.562): on its own population the result has
    intercept 0 and slope 1.
    """
    outcome, risk = checked_risks(outcome, risk)
    own, log_odds = learnable(outcome, risk)
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
    from clineval.statistics.paired import compare_brier, compare_log_loss  # scipy.stats, as above

    outcome, risk = checked_risks(outcome, risk)
    corrected = recalibration.apply(risk)
    return ChangeAfterRecalibration(
        recalibration.kind,
        recalibration.fitted_on,
        population,
        compare_brier(outcome, corrected, risk, group=group, level=level).difference,
        compare_log_loss(outcome, corrected, risk, group=group, level=level).difference,
    )


def learnable(outcome: Bools, risk: Floats) -> tuple[Bools, Floats]:
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
