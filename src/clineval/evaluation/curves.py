"""Curves: the lines and counts that figures, report and explorer draw, so that they compute nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


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
    cases: Counts
    method: str


@dataclass(frozen=True)
class RiskHistogram:
    """How the predicted risks lie, per outcome: ``edges`` (k + 1,), counts per bin (k,)."""

    edges: Floats
    events: Counts
    non_events: Counts


@dataclass(frozen=True)
class DecisionLines:
    """Clinical usefulness per threshold k/100, every array of shape (99,).

    ``net_benefit`` in true positives per case, with its band; ``treat_all`` likewise (treat none is
    0); ``standardised`` is net benefit over prevalence; ``interventions_avoided`` per 100 cases
    against treating all; ``probability_useful``: share of bootstrap draws in which the model beats
    both treating all and treating none (NaN where no bootstrap was made).
    """

    threshold: Floats
    net_benefit: Band
    treat_all: Floats
    standardised: Floats
    interventions_avoided: Floats
    probability_useful: Floats
    method: str


@dataclass(frozen=True)
class ExplorerSteps:
    """Counts and rates at every threshold k/1000, k = 0..1000: all arrays of shape (1001,).

    ``true_positives`` and its three kin are counts; ``rates`` maps ``sensitivity``, ``specificity``,
    ``ppv``, ``npv`` and ``accuracy`` to a Band of Wilson bounds, ``net_benefit`` is in true positives
    per case at the threshold itself (NaN at threshold 1, where the odds are infinite).
    """

    threshold: Floats
    true_positives: Counts
    false_positives: Counts
    false_negatives: Counts
    true_negatives: Counts
    rates: Mapping[str, Band]
    net_benefit: Floats


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
