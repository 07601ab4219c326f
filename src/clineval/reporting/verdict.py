"""The verdict on one model at one threshold: four lights, each with its sentence, and a headline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clineval.evaluation.curves import Curves, DecisionLines
from clineval.evaluation.records import OperatingPoint, PopulationScores
from clineval.reporting.sentences import (
    Subject,
    cases_of,
    defined,
    is_default,
    listed,
    number,
    reason,
    share,
    whole,
)
from clineval.statistics.intervals import Estimate

YES, UNCLEAR, NO = "yes", "unclear", "no"
ANSWERS = {YES: "Yes", UNCLEAR: "Uncertain", NO: "No"}

POOR = 0.7
"""AUC below which a ranking is called poor by convention (Hosmer, Lemeshow and Sturdivant 2013)."""

TOLERANCE = (0.8, 1.25)
"""Observed over expected, and calibration slope, between which a departure from 1 is held to be small."""

FEWEST = 100
"""Cases with the condition, and without, that are advised: Collins et al. 2016, doi:10.1002/sim.6787."""

LEAST = 10
"""Cases with the condition, and without, below which no interval is trusted enough to say that it helps."""

WIDTHS = {"auc_logit": 0.1, "calibration_slope": 0.4, "observed_expected": 0.2}
"""Widths of intervals that make a measure precise: Riley et al. 2021, doi:10.1002/sim.9025."""

WIDE = {
    "auc_logit": "the AUC",
    "calibration_slope": "the calibration slope",
    "observed_expected": "observed/expected",
}
SHOWN_UP_TO = 0.5  # thresholds of the decision curve that sentences speak of


@dataclass(frozen=True)
class Light:
    """One question with its answer.

    ``name`` is ranking, risks, benefit or data; ``state`` is YES, UNCLEAR or NO; ``fault`` is what the
    headline says of it: of benefit always, of the others where they are not YES.
    """

    name: str
    question: str
    state: str
    sentence: str
    fault: str = ""

    @property
    def answer(self) -> str:
        """The state in words."""
        return "Partly" if (self.name, self.state) == ("data", UNCLEAR) else ANSWERS[self.state]


@dataclass(frozen=True)
class Verdict:
    """A headline and the four lights that it follows from, in the order ranking, risks, benefit, data."""

    headline: str
    lights: tuple[Light, ...]

    @property
    def states(self) -> Mapping[str, str]:
        """The state of each light by its name."""
        return {light.name: light.state for light in self.lights}

    @property
    def brief(self) -> str:
        """The headline in a line below the cohort's own counts: without the cohort's prevalence."""
        start, told, rest = self.headline.partition(") ")
        here = bool(told) and start.startswith("At this cohort's prevalence (")
        return rest[0].upper() + rest[1:] if here else self.headline


def judge(
    scores: PopulationScores,
    point: OperatingPoint | None,
    *,
    condition: str,
    lines: DecisionLines | None = None,
    where: str = "",
) -> Verdict:
    """The verdict on a model: no light is YES where its interval leaves the contrary possible.

    Parameters
    ----------
    scores : the model on the population that is judged.
    point : its primary threshold there; None where it has none.
    lines : its decision curve, to say at which other thresholds it does not help.
    where : the population's name, where the headline must name it.

    References
    ----------
    docs/methods/verdict.md
    """
    lights = (
        _ranking(scores, condition),
        _risks(scores),
        _benefit(scores, point, lines, where=where),
        _data(scores),
    )
    return Verdict(_headline(lights), lights)


def verdict_on(subject: Subject, curves: Curves | None = None, *, where: str = "") -> Verdict:
    """The verdict on the primary model and threshold; with ``curves`` it says where there is no gain."""
    scores = subject.evaluation.models[subject.main][subject.population]
    drawn = curves.models[subject.main][subject.population] if curves is not None else None
    lines = drawn.decision if drawn is not None else None
    point = subject.point()
    return judge(scores, point, condition=subject.condition, lines=lines, where=where)


def _ranking(scores: PopulationScores, condition: str) -> Light:
    question = "Does it rank?"
    auc = scores.measures.get("auc_logit")
    if auc is None or not _bounded(auc):
        return Light("ranking", question, UNCLEAR, f"No AUC: {reason(auc)}.", "its ranking cannot be judged")
    said = f"AUC {number(auc.value, 2)} ({_level(auc)} {number(auc.low, 2)} to {number(auc.high, 2)})"
    if auc.low >= POOR:
        pairs = f"in {100 * auc.value:.0f} of 100 pairs the {cases_of(condition, one=True)}"
        return Light("ranking", question, YES, f"{said}: {pairs} gets the higher risk.")
    if auc.high < POOR:
        way = " and it ranks the wrong way round" if auc.high < 0.5 else ""
        sentence = f"{said}: the whole interval lies below {POOR:.2f}{way}."
        return Light("ranking", question, NO, sentence, "it ranks poorly")
    if auc.low > 0.5:
        sentence = f"{said}: better than chance, but the interval reaches below {POOR:.2f}."
        return Light("ranking", question, UNCLEAR, sentence, "how well it ranks is uncertain")
    sentence = (
        f"{said}: the interval includes 0.50, so there is no evidence that it ranks better than chance."
    )
    return Light("ranking", question, UNCLEAR, sentence, "there is no evidence that it ranks")


def _risks(scores: PopulationScores) -> Light:
    question = "Are the risks right?"
    ratios = [scores.measures.get(name) for name in ("observed_expected", "calibration_slope")]
    missing = [each for each in ratios if each is None or not _bounded(each)]
    if missing:
        fault = "whether its risks are right cannot be judged"
        return Light("risks", question, UNCLEAR, f"Cannot be judged: {reason(missing[0])}.", fault)
    level, slope = (each for each in ratios if each is not None)
    seen = f"observed/expected ratio {_with_bounds(level)}"
    spread = f"calibration slope {_with_bounds(slope)}"
    if _tolerable(level) and _tolerable(slope):
        return Light("risks", question, YES, f"Close to what was observed: {seen}; {spread}.")
    wrong = [_level_words(level, seen)] if _off(level) else []
    wrong += [f"too {'extreme' if slope.value < 1 else 'timid'}, {spread}"] if _off(slope) else []
    if wrong:
        fault = f"its risks are {'too ' + _direction(level) if _off(level) else 'off'}"
        return Light("risks", question, NO, f"The risks are {'; '.join(wrong)}.", fault)
    sentence = f"No departure found, but one is not excluded: {seen}; {spread}."
    return Light("risks", question, UNCLEAR, sentence, "whether its risks are right is uncertain")


def _level_words(level: Estimate, seen: str) -> str:
    return f"too {_direction(level)}: {seen}"


def _direction(level: Estimate) -> str:
    return "low" if level.value > 1 else "high"


def _tolerable(ratio: Estimate) -> bool:
    return TOLERANCE[0] <= ratio.low and ratio.high <= TOLERANCE[1]


def _off(ratio: Estimate) -> bool:
    """Whether the interval excludes 1 and is not wholly within the tolerance."""
    return not ratio.low <= 1 <= ratio.high and not _tolerable(ratio)


def _benefit(
    scores: PopulationScores, point: OperatingPoint | None, lines: DecisionLines | None, *, where: str
) -> Light:
    prevalence, fewer = scores.prevalence, min(scores.events, scores.cases - scores.events)
    question, inside = "Does it help at this threshold?", f"in {where} " if where else ""
    if point is None or math.isnan(point.threshold):
        fault = f"{inside}the model has no threshold"
        return Light("benefit", question, UNCLEAR, "No threshold was fixed beforehand.", fault)
    gain = point.gain
    if gain is None or not _bounded(gain):
        why = "its interval was not computed; evaluate the table again" if gain is None else reason(gain)
        fault = f"{inside}whether the model helps at this threshold cannot be judged"
        return Light("benefit", question, UNCLEAR, f"Net benefit cannot be judged: {why}.", fault)
    other = _other(point)
    amount = f"{_per_thousand(abs(gain.value))} net true positives per 1,000"
    size = f"{amount} {'more' if gain.value >= 0 else 'fewer'} than {other}"
    here = f"at this cohort's prevalence ({share(prevalence)})"
    place = f"in {where} (prevalence {share(prevalence)})" if where else here
    threshold = "the default threshold of 0.5" if is_default(point) else "this threshold"
    said = f"{size} ({_level(gain)} {_signed(gain.low)} to {_signed(gain.high)}) {here}"
    if gain.low > 0 and fewer < LEAST:
        sentence = f"{said}, but from fewer than {LEAST} cases of a kind no interval is reliable."
        fault = f"{place} there are too few cases to say whether the model helps at {threshold}"
        return Light("benefit", question, UNCLEAR, sentence, fault)
    if gain.low > 0:
        fault = f"{place} the model helps at {threshold}"
        return Light("benefit", question, YES, f"{said}.{not_helpful(lines)}", fault)
    if gain.high < 0:
        sentence = f"{said}; {other} would do more good.{not_helpful(lines)}"
        fault = f"{place} the model does less good than {other} at {threshold}"
        return Light("benefit", question, NO, sentence, fault)
    sentence = f"{said}; no evidence of a gain.{not_helpful(lines)}"
    fault = f"{place} there is no evidence that the model helps at {threshold}"
    return Light("benefit", question, UNCLEAR, sentence, fault)


def _other(point: OperatingPoint) -> str:
    """The better of the two policies that need no model."""
    gain = point.gain.value if point.gain is not None else 0.0
    return "acting on all" if point.net_benefit - gain > 1e-9 else "acting on none"


def not_helpful(lines: DecisionLines | None) -> str:
    """Where, up to a threshold of one half, the decision curve shows no gain, and where of these a loss."""
    if lines is None:
        return ""
    inside = lines.threshold <= SHOWN_UP_TO + 1e-9
    none = inside & ~(lines.gain.low > 0)
    if not none.any():
        return ""
    loss = none & (lines.gain.high < 0)
    within = f"; a loss at {_spans(lines, loss)}" if loss.any() else ""
    return f" No gain at {_where(lines, none)}{within}."


def _where(lines: DecisionLines, at: np.ndarray) -> str:
    everywhere = bool(at[lines.threshold <= SHOWN_UP_TO + 1e-9].all())
    return f"any threshold up to {SHOWN_UP_TO:.2f}" if everywhere else f"thresholds of {_spans(lines, at)}"


def _spans(lines: DecisionLines, where: np.ndarray) -> str:
    """The runs of thresholds where something holds, in words."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(int)))
    ends = zip(lines.threshold[edges[::2]], lines.threshold[edges[1::2] - 1], strict=True)
    return listed([number(a, 2) if a == b else f"{number(a, 2)} to {number(b, 2)}" for a, b in ends])


def _data(scores: PopulationScores) -> Light:
    question = "Are there enough data?"
    present, absent = scores.events, scores.cases - scores.events
    counted = f"{whole(present)} with the condition, {whole(absent)} without"
    if min(present, absent) < FEWEST:
        sentence = f"{counted}: at least {FEWEST} of each are advised.{_rival(scores)}"
        return Light("data", question, NO, sentence, "the cases are too few to be sure")
    wide = [name for name, width in WIDTHS.items() if not _narrow(scores.measures.get(name), width)]
    if wide:
        names = listed([WIDE[name] for name in wide])
        sentence = f"{counted}: enough to judge, but the interval of {names} is wider than advised."
        return Light("data", question, UNCLEAR, sentence, "more cases are needed for precise numbers")
    return Light("data", question, YES, f"{counted}, and every main interval is as narrow as advised.")


def _rival(scores: PopulationScores) -> str:
    """What this many cases cannot show: how far another model's AUC would have to lie away."""
    auc = scores.measures.get("auc")
    if scores.adequacy is None or auc is None or not 0 < auc.value < 1:
        return ""
    gap = scores.adequacy.smallest_detectable_difference
    if math.isnan(gap):
        return " Even a perfect model would be shown to rank better in fewer than four of five such studies."
    return f" Another model must gain {gap:.2f} of AUC to be shown to rank better."


def _narrow(estimate: Estimate | None, width: float) -> bool:
    return estimate is not None and _bounded(estimate) and estimate.high - estimate.low <= width


def _headline(lights: Sequence[Light]) -> str:
    """One sentence: whether it helps, then what is wrong, else what is uncertain."""
    ranking, risks, benefit, data = lights
    others = [light for light in (ranking, risks, data) if light.state == NO]
    others = others or [light for light in (ranking, risks, data) if light.state == UNCLEAR]
    faults = listed([light.fault for light in others]) if others else ""
    said = benefit.fault[0].upper() + benefit.fault[1:]
    if benefit.state == YES:
        return f"{said}, but {faults}." if faults else f"{said}; it ranks well and its risks are right."
    return f"{said}; {faults}." if faults else f"{said}."


def _bounded(estimate: Estimate) -> bool:
    return defined(estimate) and not (math.isnan(estimate.low) or math.isnan(estimate.high))


def _level(estimate: Estimate) -> str:
    return f"{100 * estimate.level:g}% CI"


def _with_bounds(estimate: Estimate) -> str:
    """A value with its interval, two decimals each."""
    return f"{number(estimate.value, 2)} ({number(estimate.low, 2)} to {number(estimate.high, 2)})"


def _per_thousand(benefit: float) -> str:
    return f"{1000 * benefit:.0f}"


def _signed(benefit: float) -> str:
    text = f"{1000 * benefit:+.0f}".replace("-", "−")
    return text if text.strip("+−") != "0" else "0"
