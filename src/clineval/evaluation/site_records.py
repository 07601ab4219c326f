"""The records of a study of several sites."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from clineval.statistics.differences import GapTest
from clineval.statistics.intervals import Estimate

SCHEMA = 1


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

    ``prediction`` is the interval for the true value at the next site. ``reason`` says why there is no
    summary; then the others are undefined.
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
    schema: int = SCHEMA
