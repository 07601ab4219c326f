"""The records of an Evaluation, those of readers and of sites too, and the Evaluation to and from JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError, checked_seed, reason_of
from clineval.files import from_plain, parse_json, to_plain, write_json
from clineval.settings import EvaluationSettings
from clineval.statistics.auc import Comparison
from clineval.statistics.calibration import SmoothedCurve
from clineval.statistics.differences import GapTest
from clineval.statistics.intervals import Estimate
from clineval.statistics.model_and_reader import (
    AtCuts,
    AtReader,
    JointReading,
    NonInferiority,
    WithinCategory,
)
from clineval.statistics.operating_point import COUNTS, RATES, OperatingPoint
from clineval.statistics.thresholds import Choice, DeferRegion, GuaranteedThreshold, Point

SITES_SCHEMA = 1


@dataclass(frozen=True)
class SitePlanned:
    """What becomes of a site: ``use`` is own, pooled or left out, for the ``reason`` given.

    ``groups`` is the number of patients or other groups, that of the cases where each stands alone.
    """

    name: str
    cases: int
    events: int
    groups: int
    use: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """One measure over sites, in natural units; ``tau`` is on the scale of the summary.

    ``prediction`` is the interval for the true value at the next site.
    """

    mean: Estimate
    prediction: Estimate
    tau: Estimate
    i_squared: Estimate
    q: float
    p_value: float


@dataclass(frozen=True)
class MeasureOverSites:
    """One measure: the summary, each site's weight in it, the sites it lacks, and it without each site.

    ``left_out`` maps a site to the reason. ``summary`` is None where fewer than two sites are left.
    """

    scale: str
    summary: Summary | None
    weights: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, Summary] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelOverSites:
    """A model at a frozen threshold: each site's own measures, and each measure over sites.

    Where each site was left out of its model's training, ``thresholds`` has the one frozen on the other
    sites, by site, and ``threshold`` is NaN.

    ``less_rest`` has AUC, sensitivity and specificity of each site less those of all other cases, ``tests``
    what these differences show, corrected for the number of sites.
    ``reached`` is the probability that the next site's sensitivity lies at most ``TOLERANCE`` below the
    one that the threshold was chosen for; NaN where it was chosen otherwise, or sites are too few.
    """

    point: str
    threshold: float
    sites: Mapping[str, Mapping[str, Estimate]]
    measures: Mapping[str, MeasureOverSites]
    reached: float
    less_rest: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    tests: Mapping[str, Mapping[str, GapTest]] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SiteStudy:
    """How much sites differ, for every model of a cohort; ``primary`` is the model to speak of first.

    ``left_out`` is True where each site was scored by models that were trained on the other sites.
    """

    column: str
    population: str
    condition: str
    level: float
    primary: str
    plan: tuple[SitePlanned, ...]
    models: Mapping[str, ModelOverSites]
    left_out: bool = False
    schema: int = SITES_SCHEMA


Floats = NDArray[np.float64]


RANKING = (
    "The models were given as scores that are no probabilities: how they rank is shown, and rates at "
    "thresholds that were given; calibration and net benefit need probabilities and are left out."
)
"""The note of an evaluation of scores."""


@dataclass(frozen=True)
class Category:
    """How many cases a reader put into one category, and how many of these have the condition."""

    value: str
    cases: int
    events: int


@dataclass(frozen=True)
class ReaderPoint:
    """The reader at the cut: ``at`` in the words of the table, ``value`` as a number; counts and rates."""

    at: str
    value: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate


@dataclass(frozen=True)
class ReaderRoc:
    """The reader's empirical ROC curve, each of shape (k,), from acting on no case to acting on all."""

    false_positive_rate: Floats
    sensitivity: Floats


@dataclass(frozen=True)
class AtPoint:
    """A model at one frozen threshold less the reader at the cut; ``non_inferiority`` by measure."""

    name: str
    threshold: float
    chosen_on: str
    at_cuts: AtCuts
    non_inferiority: Mapping[str, NonInferiority] = field(default_factory=dict)


@dataclass(frozen=True)
class InCategory:
    """A model among the cases of one category of the reader: its AUC there, and what each threshold does."""

    category: str
    cases: int
    events: int
    auc: Estimate
    points: Mapping[str, WithinCategory] = field(default_factory=dict)


@dataclass(frozen=True)
class CountLine:
    """A count per 1,000 at each threshold with its bounds, each of shape (k,)."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class TriageCurve:
    """What other thresholds would do, per 1,000 cases, by ascending ``threshold`` of shape (k,).

    AI first: ``read`` by the reader, cancers ``lost`` and false alarms ``spared``. Second reader: cancers
    ``gained`` and false alarms ``added``.
    """

    threshold: Floats
    read: CountLine
    lost: CountLine
    spared: CountLine
    gained: CountLine
    added: CountLine


@dataclass(frozen=True)
class AgainstOneReader:
    """A model less the reader; what needs a cut is None or empty without one."""

    auc: Comparison
    non_inferiority: NonInferiority | None = None
    at_reader: AtReader | None = None
    points: tuple[AtPoint, ...] = ()
    within: InCategory | None = None
    curve: TriageCurve | None = None


@dataclass(frozen=True)
class Together(JointReading):
    """One way of combining a model at one of its thresholds with the reader at the cut."""

    model: str = ""
    point: str = ""


@dataclass(frozen=True)
class ReaderScores:
    """A reader on one population, and each model beside the reader.

    ``auc``: DeLong's, or clustered by group; ``auc_logit`` is the one to read. ``agreement``: weighted
    kappa (quadratic weights) with each further reader on the same scale.
    """

    auc: Estimate
    auc_logit: Estimate
    cases: int
    events: int
    categories: tuple[Category, ...]
    roc: ReaderRoc | None
    cut: ReaderPoint | None
    against: Mapping[str, AgainstOneReader]
    together: tuple[Together, ...]
    agreement: Mapping[str, Estimate] = field(default_factory=dict, metadata={"sparse": True})


__all__ = ["COUNTS", "RATES", "Choice", "Estimate", "OperatingPoint", "Point"]

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
                f"The level of the intervals lies between 0 and 1, such as 0.95; got {self.level}."
            )
        if not 1 <= self.draws <= MOST_DRAWS:
            raise InputError(f"A bootstrap needs from 1 to {MOST_DRAWS:,} draws; got {self.draws:,}.")
        checked_seed(self.seed)


def scale_of(settings: EvaluationSettings) -> Scale:
    """What was asked of all statistics of one evaluation; InputError where it cannot be met."""
    return Scale(settings.level, settings.draws, settings.seed)


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
class DecisionArrays:
    """Net benefit of acting on the model, per threshold, beside treating all (treating none is 0).

    All arrays have the shape (99,): ``threshold`` is k/100 for k = 1..99, net benefit is in units of
    true positives per case, ``low`` and ``high`` bound it at the evaluation's level. ``gain`` is the net
    benefit less that of the better of treating all and treating none, with bounds of its own.
    """

    threshold: NDArray[np.float64]
    net_benefit: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    treat_all: NDArray[np.float64]
    gain: NDArray[np.float64]
    gain_low: NDArray[np.float64]
    gain_high: NDArray[np.float64]
    method: str = ""


CELL_MEASURES = ("auc_logit", "sensitivity", "specificity", "calibration_intercept", "observed_expected")
"""What is estimated within a subgroup."""


@dataclass(frozen=True)
class SubgroupCell:
    """One value of one attribute: how many cases, and how the model does among them.

    ``suppressed`` says why no estimate is given; then ``measures`` is empty. ``measures`` holds
    ``auc_logit``, ``sensitivity`` and ``specificity`` (at the frozen threshold of the table),
    ``calibration_intercept`` and ``observed_expected``; ``less_rest`` the first three less those of all
    other cases of the population, ``tests`` what these differences show.
    """

    value: str
    cases: int
    events: int
    measures: Mapping[str, Estimate] = field(default_factory=dict, metadata={"inline": CELL_MEASURES})
    less_rest: Mapping[str, Estimate] = field(default_factory=dict)
    tests: Mapping[str, GapTest] = field(default_factory=dict)
    suppressed: str = field(default="", metadata={"empty": True})


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
    skipped: str = field(default="", metadata={"empty": True})


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
    """What this many cases can and cannot show, in one sentence and the numbers behind it."""

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
    calibration_curve : the smoothed one; None where one outcome is absent.
    prevalence : share of the cases in which the condition is present, 0 to 1.
    spread : over seeds or folds, kept apart from the intervals over cases.
    removed : of ``test_clean``, how many cases of ``test`` have a near-duplicate in development data.
    brier_parts : Murphy's decomposition of the Brier score, see ``MurphyDecomposition``.
    notes : what a reader must know beside the numbers.
    """

    cases: int
    events: int
    groups: int
    used_for: str = field(metadata={"empty": True})
    measures: Mapping[str, Estimate] = field(
        metadata={"inline": (*MEASURES, *EXTENDED_MEASURES, *READ_OFF_MEASURES)}
    )
    operating_points: tuple[OperatingPoint, ...] = ()
    decision_curve: DecisionArrays | None = None
    calibration_curve: SmoothedCurve | None = None
    subgroups: tuple[SubgroupTable, ...] = ()
    spread: tuple[Spread, ...] = ()
    adequacy: Adequacy | None = None
    removed: int | None = None
    brier_parts: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    prevalence: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prevalence", self.events / self.cases)

    def point(self, name: str) -> OperatingPoint:
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


@dataclass(frozen=True)
class GroupScores:
    """One model ranked by patient (or other group) instead of by case.

    A group has the condition where one of its cases has it; its risk is the mean of theirs on the logit
    scale, of scores that are no probabilities their mean. ``mixed`` groups have cases of both outcomes.
    """

    groups: int
    events: int
    mixed: int
    auc_logit: Estimate


SCHEMA = 1
ASKED_FOR = ("readers", "guarantees", "deferred", "by_group")  # not in the JSON unless asked for


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The statistics of a table.

    Attributes
    ----------
    condition : the word for what ``outcome`` 1 stands for.
    level : coverage aimed at by every interval, 0 to 1.
    draws, seed : of the bootstrap, so that the evaluation can be recomputed.
    primary : the model and threshold to speak of first; None in files of versions before it.
    models : scores per model and population, in the order of the table.
    comparisons : every pair of models on every population.
    point_comparisons : every pair of models at the operating points that both have.
    points : the thresholds of each model, frozen, for scoring further cohorts.
    shared_cases : per population the cases kept and those of each model, where only shared cases
        were scored because that was asked for.
    notes : what a reader must know beside the numbers.
    warnings : reasons not to trust the intervals, such as groups that are no patients.
    readers : per population and column, what a reader said and each model beside it.
    guarantees : per model the thresholds that development data guarantee, or why they do not.
    deferred : per population and model what lies between the guaranteed rule-out and rule-in thresholds.
    by_group : per population kept for testing and model, the ranking of patients.
    sites : of a run that left out each site in turn, how much sites differ; None for others.
    origins : by model what must stand beside its figures, such as "pretrained on ImageNet".
    table : what was evaluated, for drawing; None where the evaluation was read from a file.
    """

    condition: str
    level: float
    draws: int
    seed: int
    models: Mapping[str, Mapping[str, PopulationScores]]
    comparisons: tuple[ModelComparison, ...] = ()
    point_comparisons: tuple[PointComparison, ...] = ()
    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    shared_cases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    primary: Primary | None = None
    warnings: tuple[str, ...] = ()
    readers: Mapping[str, Mapping[str, ReaderScores]] = field(default_factory=dict)
    guarantees: Mapping[str, tuple[GuaranteedThreshold, ...]] = field(default_factory=dict)
    deferred: Mapping[str, Mapping[str, DeferRegion]] = field(default_factory=dict)
    by_group: Mapping[str, Mapping[str, GroupScores]] = field(default_factory=dict)
    sites: SiteStudy | None = field(default=None, metadata={"sparse": True})
    origins: Mapping[str, str] = field(default_factory=dict, metadata={"sparse": True})
    schema: int = SCHEMA
    table: Any = field(default=None, compare=False, metadata={"left_out": True})

    def __repr__(self) -> str:
        return str(_shown("in_short")(self))

    def _repr_html_(self) -> str:
        return str(_shown("card")(self))

    def report(self, path: str | Path) -> Path:
        """Write the whole report as one page, such as ``report.html``; return its path.

        Raises
        ------
        InputError : ``path`` is a folder.
        """
        return Path(_shown("write_page")(self, path))

    @property
    def plot(self) -> Any:
        """The primary model's ``plot.roc(ax)``, ``plot.calibration(ax)``, ``plot.decision_curve(ax)``."""
        return _shown("Plots")(self)

    def named(self, model: str) -> str:
        """The model's name with its origin, where it has one that must stand beside its figures."""
        return f"{model} ({self.origins[model]})" if model in self.origins else model

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of all populations, each once, in the order in which they first appear."""
        return tuple(dict.fromkeys(name for scores in self.models.values() for name in scores))

    def to_json(self) -> dict[str, Any]:
        """The contract of ``evaluation.json``: plain values only, None where a number is undefined."""
        content = to_plain(self)
        first = ("schema", "condition", "level", "draws", "seed", "primary")
        kept = {name: each for name, each in content.items() if each or name not in ASKED_FOR}
        return {**{name: content[name] for name in first}, **kept}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Evaluation":
        """The record of a ``to_json()``; InputError where a key is missing or of another schema."""
        if content.get("schema") != SCHEMA:
            raise InputError(
                f"Expected an evaluation of schema {SCHEMA}; got {content.get('schema')!r}. "
                "Write it again with this version: clineval evaluate."
            )
        try:
            evaluation: Evaluation = from_plain(cls, content)
        except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
            raise InputError(
                f"The evaluation is incomplete, or was written by another version: {error}. "
                "Write it again: clineval evaluate."
            ) from error
        return evaluation


def _shown(name: str) -> Any:
    """What reporting makes of an evaluation, loaded when first asked for: nothing here imports upwards."""
    return getattr(import_module("clineval.reporting.notebook"), name)


def write_evaluation(evaluation: Evaluation, path: str | Path) -> None:
    """Write ``evaluation.json``: strict JSON, keys in a fixed order, every float as it reads back."""
    write_json(evaluation.to_json(), Path(path))


def read_evaluation(path: str | Path) -> Evaluation:
    """Read ``evaluation.json``; InputError where it is not there or not an evaluation."""
    path = Path(path)
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as an evaluation: {reason_of(error)}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not an evaluation: expected a JSON object.")
    return Evaluation.from_json(content)
