"""Curves: the lines and counts that figures, report and explorer draw, so that they compute nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.errors import InputError, Progress
from clineval.evaluation.evaluate import on_one_thread
from clineval.evaluation.populations import Cases, Population, populations, without_repeats
from clineval.evaluation.records import COUNTS, Evaluation, PopulationScores, Scale
from clineval.predictions import SCORE, VAL, ranked_by
from clineval.statistics.calibration import SmoothedCurve, grouped_curve
from clineval.statistics.counts import Counts
from clineval.statistics.decision_curve import compare_decision_curves, decision_curve
from clineval.statistics.intervals import Estimate, few_groups, shared_groups
from clineval.statistics.operating_point import (
    ThresholdTable,
    likelihood_ratio_negative,
    likelihood_ratio_positive,
    score_bounds_of_ratio,
    threshold_table,
)
from clineval.statistics.roc import roc_band, roc_curve

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BINS = 50
"""Bins of the risk histogram: .02 wide, so that .5 is an edge."""

STEPS = 1000
"""Steps of the explorer's threshold between 0 and 1."""

MOST_POINTS = 2000
"""Points kept of a ROC curve."""


@dataclass(frozen=True)
class Band:
    """A line with its bounds: three arrays of one shape, NaN where undefined."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class RocLine:
    """The ROC curve, from (0, 0) to (1, 1), with a pointwise band.

    Attributes
    ----------
    false_positive_rate, sensitivity, threshold : shape (m,), 0 to 1; the first threshold is +inf.
        Thinned to at most some 2,000 points where there are many distinct risks.
    grid : false positive rates at which the band is given, shape (g,), increasing from 0 to 1.
    band : sensitivity at ``grid`` with its bounds, shape (g,); None where it is undefined.
    method : in words, where the band comes from.
    """

    false_positive_rate: Floats
    sensitivity: Floats
    threshold: Floats
    grid: Floats
    band: Band | None
    method: str


@dataclass(frozen=True)
class CalibrationLines:
    """Observed share against predicted risk: a smooth line with its band, and groups of cases.

    ``smooth`` is given at ``risk`` (shape (m,), increasing), ``grouped`` at ``mean_risk`` (shape
    (b,)) with ``cases`` per group. Either is None where it is undefined, ``method`` says why.
    """

    risk: Floats
    smooth: Band | None
    mean_risk: Floats
    grouped: Band | None
    cases: Integers
    method: str


@dataclass(frozen=True)
class RiskHistogram:
    """How the predicted risks lie, per outcome: ``edges`` (k + 1,), counts per bin (k,)."""

    edges: Floats
    events: Integers
    non_events: Integers


@dataclass(frozen=True)
class DecisionLines:
    """Clinical usefulness per threshold k/100, every array of shape (99,).

    ``net_benefit`` in true positives per case, with its band; ``treat_all`` likewise (treat none is
    0); ``standardised`` is net benefit over prevalence; ``interventions_avoided`` per 100 cases
    against treating all; ``gain`` is the net benefit less that of the better of treating all and
    treating none, with a band of its own.
    """

    threshold: Floats
    net_benefit: Band
    treat_all: Floats
    standardised: Floats
    interventions_avoided: Floats
    gain: Band
    method: str


@dataclass(frozen=True)
class ExplorerSteps:
    """Integers and rates at every threshold k/1000, k = 0..1000: all arrays but two of shape (1001,).

    ``true_positives`` and its three kin are counts; ``rates`` maps ``sensitivity``, ``specificity``,
    ``ppv``, ``npv`` and ``accuracy`` to a Band of Wilson bounds, ``net_benefit`` is in true positives per
    case at the threshold itself (NaN at threshold 1, where the odds are infinite). ``changes``, shape
    (c,), are the steps at which some count differs from the step before; there ``ratios`` gives
    ``lr_positive`` and ``lr_negative``.
    """

    threshold: Floats
    true_positives: Integers
    false_positives: Integers
    false_negatives: Integers
    true_negatives: Integers
    rates: Mapping[str, Band]
    net_benefit: Floats
    changes: NDArray[np.intp]
    ratios: Mapping[str, Band]


@dataclass(frozen=True)
class PopulationCurves:
    """Everything to draw of one model on one population.

    ``roc`` is None with one class absent; ``calibration`` likewise; ``decision`` and ``explorer`` are
    None where the population is given threshold-free measures only (``val``).
    """

    model: str
    population: str
    cases: int
    events: int
    roc: RocLine | None
    calibration: CalibrationLines | None
    risks: RiskHistogram
    decision: DecisionLines | None
    explorer: ExplorerSteps | None


@dataclass(frozen=True)
class DecisionDifference:
    """Net benefit of the first model minus that of the second, per threshold k/100, shape (99,)."""

    population: str
    models: tuple[str, str]
    threshold: Floats
    difference: Band
    method: str


@dataclass(frozen=True)
class Curves:
    """All lines of one evaluation: ``models[MODEL][POPULATION]``, and the paired decision curves."""

    condition: str
    level: float
    models: Mapping[str, Mapping[str, PopulationCurves]]
    decision_differences: tuple[DecisionDifference, ...]


@on_one_thread
def curves(frame: pd.DataFrame, evaluation: Evaluation, *, progress: Progress | None = None) -> Curves:
    """The lines behind an evaluation: what it holds already, and ROC curves and steps from its table.

    Parameters
    ----------
    frame : the table of ``evaluation`` as ``check_predictions`` or ``read_predictions`` gives it.
    evaluation : its level, draws and seed are taken over, so that bands and numbers agree.
    progress : called with (done, total) after each model on each population.

    Raises
    ------
    InputError : the table is not fit, or not that of the evaluation.
    """
    scale = Scale(evaluation.level, evaluation.draws, evaluation.seed)
    table = without_repeats(frame)
    parts = populations(table, shared_cases_only=bool(evaluation.shared_cases))
    work = [(part, model) for part in parts for model in part.models]
    models: dict[str, dict[str, PopulationCurves]] = {model: {} for model in evaluation.models}
    for done, (part, model) in enumerate(work, start=1):
        scores = _scores_of(evaluation, part, model)
        models[model][part.name] = _population_curves(part, model, scores, scale)
        if progress:
            progress(done, len(work))
    first = None if evaluation.primary is None else evaluation.primary.model
    decided = [] if ranked_by(table) == SCORE else [part for part in parts if part.name != VAL]
    pairs = ((part, pair) for part in decided for pair in part.pairs(first))
    return Curves(
        evaluation.condition,
        evaluation.level,
        models,
        tuple(_difference(part, *pair, scale) for part, pair in pairs),
    )


def _scores_of(evaluation: Evaluation, part: Population, model: str) -> PopulationScores:
    scored = evaluation.models.get(model, {}).get(part.name)
    cases = part.models[model]
    if scored is None or (scored.cases, scored.events) != (len(cases), int(cases.outcome.sum())):
        raise InputError(
            f"The table is not the one that was evaluated: {model!r} on {part.name!r} differs. "
            "Evaluate the table again."
        )
    return scored


def _population_curves(
    part: Population, model: str, scores: PopulationScores, scale: Scale
) -> PopulationCurves:
    cases = part.models[model]
    both = 0 < scores.events < scores.cases
    return PopulationCurves(
        model=model,
        population=part.name,
        cases=scores.cases,
        events=scores.events,
        roc=_roc(cases, scale) if both else None,
        calibration=_calibration(cases, scores.calibration_curve, scale)
        if scores.calibration_curve
        else None,
        risks=_histogram(cases),
        decision=_decision(scores) if scores.decision_curve else None,
        # Thresholds belong to decisions, and `val` is given threshold-free lines only.
        explorer=None if part.name == VAL or cases.ranking else _explorer(cases, scale),
    )


def _roc(cases: Cases, scale: Scale) -> RocLine:
    curve = roc_curve(cases.outcome, cases.risk)
    kept = _thinned(curve.sensitivity - curve.specificity)
    band = roc_band(
        cases.outcome, cases.risk, group=cases.group, draws=scale.draws, seed=scale.seed, level=scale.level
    )
    order = np.argsort(1 - band.specificity, kind="stable")
    return RocLine(
        1 - curve.specificity[kept],
        curve.sensitivity[kept],
        curve.threshold[kept],
        1 - band.specificity[order],
        Band(band.sensitivity[order], band.low[order], band.high[order]),
        band.method,
    )


def _thinned(way: Floats) -> NDArray[np.intp]:
    """Indices of at most ``MOST_POINTS`` points, evenly spaced along the curve; the ends always among them.

    ``way`` rises along the curve by the steps in both rates, so no left-out point is further from a
    kept one than the whole way over the number of points: less than a pixel of any figure.
    """
    if len(way) <= MOST_POINTS:
        return np.arange(len(way))
    places = np.searchsorted(way, np.linspace(way[0], way[-1], MOST_POINTS))
    return np.unique(np.concatenate([[0], places, [len(way) - 1]]))


def _calibration(cases: Cases, smooth: SmoothedCurve, scale: Scale) -> CalibrationLines:
    grouped = grouped_curve(cases.outcome, cases.risk, group=cases.group, level=scale.level)
    return CalibrationLines(
        smooth.risk,
        Band(smooth.observed, smooth.low, smooth.high) if len(smooth.risk) else None,
        grouped.mean_risk,
        Band(grouped.observed, grouped.low, grouped.high),
        grouped.cases,
        f"{smooth.method}; {grouped.method}",
    )


def _histogram(cases: Cases) -> RiskHistogram:
    edges = np.arange(BINS + 1) / BINS
    if cases.ranking:
        edges = cases.risk.min() + edges * max(np.ptp(cases.risk), 1e-300)
    events, _ = np.histogram(cases.risk[cases.outcome], edges)
    non_events, _ = np.histogram(cases.risk[~cases.outcome], edges)
    return RiskHistogram(edges, events, non_events)


def _decision(scores: PopulationScores) -> DecisionLines | None:
    curve = scores.decision_curve
    if curve is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        standardised = curve.net_benefit / scores.prevalence
    return DecisionLines(
        curve.threshold,
        Band(curve.net_benefit, curve.low, curve.high),
        curve.treat_all,
        np.where(np.isfinite(standardised), standardised, np.nan),
        100 * (curve.net_benefit - curve.treat_all) * (1 - curve.threshold) / curve.threshold,
        Band(curve.gain, curve.gain_low, curve.gain_high),
        curve.method,
    )


def _explorer(cases: Cases, scale: Scale) -> ExplorerSteps:
    steps = np.arange(STEPS + 1) / STEPS
    table = threshold_table(cases.outcome, cases.risk, steps, group=cases.group, level=scale.level)
    inner = decision_curve(cases.outcome, cases.risk, thresholds=steps[1:-1], draws=0).net_benefit
    changes, few = _changes(table), few_groups(shared_groups(cases.group, len(cases)))
    return ExplorerSteps(
        steps,
        table.true_positives,
        table.false_positives,
        table.false_negatives,
        table.true_negatives,
        {
            name: Band(*getattr(table, name))
            for name in ("sensitivity", "specificity", "ppv", "npv", "accuracy")
        },
        # At threshold 0 every case is flagged and a false alarm costs nothing; at 1 its cost is infinite.
        np.concatenate([[cases.outcome.mean()], inner, [np.nan]]),
        changes,
        {
            "lr_positive": _ratios(likelihood_ratio_positive, table, changes, scale.level, few),
            "lr_negative": _ratios(likelihood_ratio_negative, table, changes, scale.level, few),
        },
    )


def _changes(table: ThresholdTable) -> NDArray[np.intp]:
    """The steps at which some count differs from the step before."""
    counts = np.stack([table.true_positives, table.false_positives])
    return np.flatnonzero(np.concatenate([[True], np.any(np.diff(counts, axis=1) != 0, axis=0)]))


def _ratios(
    ratio: Callable[..., Estimate], table: ThresholdTable, steps: NDArray[np.intp], level: float, few: str
) -> Band:
    """A likelihood ratio at some steps of a table; one without a bound above has its score bound below."""
    cells = zip(*(getattr(table, name)[steps].tolist() for name in COUNTS), strict=True)
    worth = zip(
        table.independent_events[steps].tolist(), table.independent_non_events[steps].tolist(), strict=True
    )
    found = [_ratio(ratio, Counts(*counts), each, level) for counts, each in zip(cells, worth, strict=True)]
    value, low, high = np.array(found).T
    return Band(value, *(np.full_like(each, np.nan) if few else each for each in (low, high)))


def _ratio(
    ratio: Callable[..., Estimate], table: Counts, worth: tuple[float, float], level: float
) -> tuple[float, float, float]:
    found = ratio(table, level=level, independent=worth)
    hit = table.true_positives if ratio is likelihood_ratio_positive else table.false_negatives
    if not np.isnan(found.value) or not (hit and table.non_events):
        return found.value, found.low, found.high
    return (
        found.value,
        *score_bounds_of_ratio(hit / table.events, worth[0], 0.0, worth[1], level=level),
    )


def _difference(
    part: Population, first: str, second: str, one: Cases, other: Cases, scale: Scale
) -> DecisionDifference:
    compared = compare_decision_curves(one.outcome, one.risk, other.risk, group=one.group, **vars(scale))
    band = Band(compared.difference, compared.low, compared.high)
    return DecisionDifference(part.name, (first, second), compared.threshold, band, compared.method)
