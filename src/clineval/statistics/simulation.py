"""How often our own intervals hold the truth on simulated sets of the user's size and grouping."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad
from scipy.special import entr, expit, logit, ndtr, ndtri

from clineval.progress import Progress
from clineval.statistics import calibration, roc
from clineval.statistics.counts import Bools, Floats, checked_risks
from clineval.statistics.decision_curve import decision_curve
from clineval.statistics.intervals import Estimate
from clineval.statistics.operating_point import operating_point
from clineval.statistics.resampling import shared_groups

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
    progress: Progress | None = None,
) -> tuple[CoverageRow, ...]:
    """How often our intervals hold the truth on sets of this size, by simulation.

    Parameters
    ----------
    cases, events : the size of the set and its expected events; each simulated set draws its events anew,
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
        "brier": calibration.brier(outcome, risk, **plain),
        "scaled_brier": calibration.scaled_brier(outcome, risk, **plain),
        "log_loss": calibration.log_loss(outcome, risk, **plain),
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
