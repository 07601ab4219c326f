"""The records of models beside readers: what stands under "readers" in evaluation.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clineval.statistics.auc import Comparison
from clineval.statistics.intervals import Estimate
from clineval.statistics.joint_reading import JointReading, WithinCategory
from clineval.statistics.paired_reader import AtCuts, AtReader, NonInferiority

Floats = NDArray[np.float64]


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
    """The reader's empirical ROC curve, each of shape (k,), from acting on nobody to acting on everybody."""

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

    ``auc``: DeLong's, or clustered by group; ``auc_logit`` is the one to read.
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
