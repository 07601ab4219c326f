"""Coverage of our own intervals: how often they hold the truth on simulated sets of the user's size."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import entr, expit, logit, ndtr, ndtri

from clineval.progress import Progress
from clineval.statistics import calibration, roc
from clineval.statistics.counts import Bools, Floats
from clineval.statistics.intervals import Estimate
from clineval.statistics.operating_point import operating_point

# The threshold at which the simulated rates are taken.
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

    def risk(self, score: Floats) -> Floats:
        return expit(logit(self.prevalence) + self.separation * score - self.separation**2 / 2)

    def truths(self) -> dict[str, float]:
        """The value that each measure would have on endless cases."""
        cut = (self.separation**2 / 2 + logit(THRESHOLD) - logit(self.prevalence)) / self.separation
        hit, alarm, share = ndtr(self.separation - cut), ndtr(-cut), self.prevalence
        brier = self._mean(lambda p: p * (1 - p))
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
            "ppv": float(share * hit / (share * hit + (1 - share) * alarm)),
            "npv": float((1 - share) * (1 - alarm) / ((1 - share) * (1 - alarm) + share * (1 - hit))),
        }

    def _mean(self, of_risk: Callable[[Floats], Floats]) -> float:
        """The mean of a function of the risk over both classes."""

        def density(score: float) -> float:
            bells = np.exp(-((score - np.array([0, self.separation])) ** 2) / 2) / np.sqrt(2 * np.pi)
            both = (1 - self.prevalence) * bells[0] + self.prevalence * bells[1]
            return float(of_risk(self.risk(np.array(score))) * both)

        return float(quad(density, -10, 10 + self.separation, limit=200)[0])


def coverage(
    cases: int,
    events: int,
    expected_auc: float,
    *,
    per_group: int = 1,
    correlation: float = 0.0,
    respect_groups: bool = True,
    simulations: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[CoverageRow, ...]:
    """How often our intervals hold the truth on sets of this size, by simulation.

    Parameters
    ----------
    cases, events : the size of the set and its expected events; each simulated set draws its events anew,
        as a random sample of patients does, and has at least one case of each class.
    expected_auc : of the simulated model, above 0.5 and below 1. Its risks are calibrated.
    per_group : cases of one patient, who share the outcome.
    correlation : of the scores of one patient's cases, in [0, 1).
    respect_groups : whether the intervals are told of the groups; False shows what ignoring them costs.
    simulations, level, seed : as they say.
    progress : called with (done, simulations).
    """
    if not (0 < events < cases and 0.5 < expected_auc < 1 and 0 <= correlation < 1 and per_group >= 1):
        raise ValueError(
            f"Coverage needs 0 < events < cases, an AUC above 0.5 and below 1, a correlation in [0, 1); came "
            f"{events} of {cases}, {expected_auc}, {correlation}."
        )
    world = _World(float(np.sqrt(2) * ndtri(expected_auc)), events / cases)
    rng = np.random.default_rng(seed)
    groups = max(2, round(cases / per_group))
    code = np.repeat(np.arange(groups), per_group) if respect_groups and per_group > 1 else None
    truths = world.truths()
    bounds = np.empty((simulations, len(truths), 2))
    for i in range(simulations):
        outcome, risk = _simulated(world, groups, per_group, correlation, rng)
        estimates = _estimates(outcome, risk, code, level)
        bounds[i] = [(estimates[measure].low, estimates[measure].high) for measure in truths]
        if progress:
            progress(i + 1, simulations)
    return tuple(_row(measure, truth, bounds[:, i]) for i, (measure, truth) in enumerate(truths.items()))


def _simulated(
    world: _World, groups: int, per_group: int, correlation: float, rng: np.random.Generator
) -> tuple[Bools, Floats]:
    present = rng.random(groups) < world.prevalence
    while present.all() or not present.any():
        present = rng.random(groups) < world.prevalence
    shared = np.repeat(rng.standard_normal(groups), per_group)
    own = rng.standard_normal(groups * per_group)
    outcome = np.repeat(present, per_group)
    score = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own + world.separation * outcome
    return outcome, world.risk(score)


def _estimates(
    outcome: Bools, risk: Floats, code: NDArray[np.intp] | None, level: float
) -> dict[str, Estimate]:
    point = operating_point(outcome, risk, THRESHOLD, group=code, level=level)
    return {
        "auc": roc.auc(outcome, risk, group=code, level=level),
        "auc_logit": roc.auc_logit(outcome, risk, group=code, level=level),
        "brier": calibration.brier(outcome, risk, group=code, level=level),
        "scaled_brier": calibration.scaled_brier(outcome, risk, group=code, level=level),
        "log_loss": calibration.log_loss(outcome, risk, group=code, level=level),
        "calibration_intercept": calibration.calibration_intercept(outcome, risk, group=code, level=level),
        "calibration_slope": calibration.calibration_slope(outcome, risk, group=code, level=level),
        "observed_expected": calibration.observed_expected(outcome, risk, group=code, level=level),
        "sensitivity": point.sensitivity,
        "specificity": point.specificity,
        "ppv": point.ppv,
        "npv": point.npv,
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
