"""The records of an Evaluation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError
from clineval.statistics.intervals import Estimate

MOST_DRAWS = 1_000_000  # a percentile is then known to .0002; more only fills memory


@dataclass(frozen=True)
class Scale:
    """What all statistics of one evaluation share.

    Attributes
    ----------
    level : coverage aimed at by every interval, between 0 and 1.
    draws : bootstrap resamples, at least 1.
    seed : of the bootstrap; the same table and seed give the same numbers.
    """

    level: float = 0.95
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(
                f"The level of the intervals lies between 0 and 1, such as 0.95; came {self.level}."
            )
        if not 1 <= self.draws <= MOST_DRAWS:
            raise InputError(f"A bootstrap needs from 1 to {MOST_DRAWS:,} draws; came {self.draws:,}.")
        if self.seed < 0:
            raise InputError(f"A seed of at least 0 is needed; came {self.seed}.")


COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")
"""The four cells of the 2x2, in the order in which they are written."""

RATES = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "lr_positive", "lr_negative")
"""The rates that every operating point carries."""

APPENDIX_RATES = ("balanced_accuracy", "f1", "mcc")
"""Rates that a report shows in an appendix only: none of them weighs the two kinds of error."""

MEASURES = (
    "auc",
    "auc_logit",
    "average_precision",
    "brier",
    "scaled_brier",
    "log_loss",
    "calibration_intercept",
    "calibration_slope",
    "observed_expected",
    "ici",
)
"""The threshold-free measures that every population carries, in the order in which they are written."""

EXTENDED_MEASURES = ("e50", "e90", "partial_auc")
"""Further threshold-free measures, beyond the contract."""

READ_OFF_MEASURES = ("sensitivity_at_specificity_90", "specificity_at_sensitivity_90")
"""One rate where the other is .90 on these very cases: given where thresholds may be scored."""


@dataclass(frozen=True)
class Point:
    """A threshold that was fixed before the cases it is applied to were scored.

    Attributes
    ----------
    name : ``half``, ``sensitivity_90`` or ``given``.
    threshold : flagged means ``risk >= threshold``; NaN where none could be chosen.
    chosen_on : ``fixed``, ``given``, ``val`` or ``train_out_of_fold``.
    rule : in words, how it was chosen; where it could not be, why.
    choice : how firmly it stands; None where nothing was chosen from data.
    """

    name: str
    threshold: float
    chosen_on: str
    rule: str = ""
    choice: "Choice | None" = None


@dataclass(frozen=True)
class Primary:
    """What a report speaks of first: one model at one threshold.

    ``chosen_on`` says where the threshold comes from, as in ``Point``; ``rule`` is the sentence that says
    how model and threshold were chosen.
    """

    model: str
    threshold: float
    chosen_on: str
    rule: str


@dataclass(frozen=True)
class Choice:
    """How firmly a chosen threshold stands.

    Attributes
    ----------
    target : the sensitivity aimed at, 0 to 1.
    low, high : where the chosen threshold falls when the choice is repeated on bootstrap draws.
    probability_target_met : that the target truly holds at the threshold, 0 to 1.
    events : how many cases with the condition the choice rests on.
    sentence : the same in words.
    """

    target: float
    low: float
    high: float
    probability_target_met: float
    events: int
    sentence: str


@dataclass(frozen=True)
class ScoredPoint:
    """The 2x2 at one threshold and what follows from it.

    ``counts`` holds the four cells of ``COUNTS`` (None where the threshold is undefined), ``rates``
    the Estimates of ``RATES``, ``appendix`` those of ``APPENDIX_RATES``; ``net_benefit`` is that at
    the threshold itself, ``gain`` the same less the better of treating all and treating none (None in
    files of versions before it).
    """

    name: str
    threshold: float
    chosen_on: str
    rule: str
    counts: Mapping[str, int | None]
    rates: Mapping[str, Estimate]
    appendix: Mapping[str, Estimate] = field(default_factory=dict)
    net_benefit: float = math.nan
    gain: Estimate | None = None


@dataclass(frozen=True)
class DecisionArrays:
    """Net benefit of acting on the model, per threshold, beside treating all (treating none is 0).

    All arrays have the shape (99,): ``threshold`` is k/100 for k = 1..99, net benefit is in units of
    true positives per case, ``low`` and ``high`` bound it at the evaluation's level.
    """

    threshold: NDArray[np.float64]
    net_benefit: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    treat_all: NDArray[np.float64]
    method: str = ""


@dataclass(frozen=True)
class SubgroupCell:
    """One value of one attribute: how many cases, and how the model does among them.

    ``suppressed`` says why no estimate is given; then ``measures`` is empty. ``measures`` holds
    ``auc_logit``, ``sensitivity`` and ``specificity`` (at the frozen threshold of the table),
    ``calibration_intercept`` and ``observed_expected``; ``less_rest`` the first three less those of all
    other cases of the population.
    """

    value: str
    cases: int
    events: int
    measures: Mapping[str, Estimate] = field(default_factory=dict)
    less_rest: Mapping[str, Estimate] = field(default_factory=dict)
    suppressed: str = ""


@dataclass(frozen=True)
class SubgroupTable:
    """One attribute of one population: a cell per value and the widest gap per measure.

    ``largest_gap`` maps a measure to ``{"highest", "lowest", "gap"}``: the two values of the
    attribute and the difference of their estimates. ``skipped`` says why an attribute has no cells.
    """

    attribute: str
    point: str
    threshold: float
    cells: tuple[SubgroupCell, ...]
    largest_gap: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: str = ""


@dataclass(frozen=True)
class Spread:
    """How far one measure moves when only the seed or the fold of the training changes.

    This is not an interval over cases. ``sd`` is the sample standard deviation (n - 1) of ``values``.
    """

    measure: str
    over: str
    members: tuple[str, ...]
    values: tuple[float, ...]
    mean: float
    sd: float
    lowest: float
    highest: float
    method: str = ""


@dataclass(frozen=True)
class Adequacy:
    """What this many cases can and cannot tell, in one sentence and the numbers behind it."""

    sentence: str
    auc_half_width: float
    smallest_detectable_difference: float
    cases_for_auc_width_10: float
    cases_for_slope_width_40: float
    cases_for_observed_expected_width_20: float


@dataclass(frozen=True)
class PopulationScores:
    """One model on one population.

    Attributes
    ----------
    cases, events, groups : counts; ``groups`` is the number of independent groups.
    used_for : empty for a population kept for testing, else what it was used for before.
    measures : the threshold-free Estimates, keyed by ``MEASURES``, ``EXTENDED_MEASURES``
        and, where thresholds may be scored, ``READ_OFF_MEASURES``.
    operating_points : none where thresholds may not be scored here.
    decision_curve : None where thresholds may not be scored here.
    spread : over seeds or folds, kept apart from the intervals over cases.
    removed : of ``test_clean``, how many cases of ``test`` have a twin in development data.
    brier_parts : Murphy's decomposition of the Brier score, see ``MurphyDecomposition``.
    notes : what a reader must know beside the numbers.
    """

    cases: int
    events: int
    groups: int
    used_for: str
    measures: Mapping[str, Estimate]
    operating_points: tuple[ScoredPoint, ...] = ()
    decision_curve: DecisionArrays | None = None
    subgroups: tuple[SubgroupTable, ...] = ()
    spread: tuple[Spread, ...] = ()
    adequacy: Adequacy | None = None
    removed: int | None = None
    brier_parts: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def prevalence(self) -> float:
        """Share of the cases in which the condition is present, 0 to 1."""
        return self.events / self.cases

    def point(self, name: str) -> ScoredPoint:
        """The first operating point of that name; KeyError where there is none."""
        for scored in self.operating_points:
            if scored.name == name:
                return scored
        raise KeyError(name)


@dataclass(frozen=True)
class ModelComparison:
    """Two models on the same cases: ``difference`` is the first minus the second.

    ``measure`` is a key of the population (``auc``, ``brier``); ``statistic`` and ``p_value`` are NaN
    where they are undefined, and the reason stands in ``method``.
    """

    measure: str
    population: str
    models: tuple[str, str]
    difference: Estimate
    statistic: float
    p_value: float
    method: str


@dataclass(frozen=True)
class PointComparison:
    """Two models at their operating points of one name, on the same cases.

    ``differences`` maps ``sensitivity``, ``specificity`` and ``net_benefit`` to Estimates of the
    first model minus the second; ``p_values`` maps ``sensitivity`` and ``specificity`` to McNemar's
    exact test; ``discordant`` counts the cases that only one of the two gets right:
    ``events_first_only``, ``events_second_only``, ``non_events_first_only``, ``non_events_second_only``.
    """

    point: str
    population: str
    models: tuple[str, str]
    thresholds: tuple[float, float]
    differences: Mapping[str, Estimate]
    p_values: Mapping[str, float]
    discordant: Mapping[str, int]
    method: str
