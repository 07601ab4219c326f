"""Operating points: thresholds frozen on development data, scored elsewhere."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from clineval.errors import InputError
from clineval.evaluation.populations import TEST_CLEAN, Cases, Population
from clineval.evaluation.records import Choice, OperatingPoint, Point, Scale
from clineval.predictions import OUT_OF_FOLD, TEST, VAL
from clineval.statistics.decision_curve import decision_curve
from clineval.statistics.intervals import Estimate, undefined
from clineval.statistics.operating_point import choose_threshold, operating_point


@dataclass(frozen=True)
class Learnt:
    """Something that a model took from data: ``what`` ("its recalibration"), from ``population``."""

    model: str
    what: str
    population: str


def refuse_learnt_there(learnt: Iterable[Learnt], sealed: Iterable[str]) -> None:
    """Refuse to score a population that a model learnt something on.

    Parameters
    ----------
    learnt : what the models learnt, and where.
    sealed : names of the populations that are to be scored as kept for testing.

    Raises
    ------
    InputError : naming the model, what it learnt, and the population.
    """
    scored = set(sealed)
    for one in learnt:
        if one.population in scored or (one.population == TEST_CLEAN and TEST in scored):
            raise InputError(
                f"Of model {one.model!r}, {one.what} was learnt on {one.population!r} and cannot be scored "
                "there: it would be flattered. Learn it on other cases, or score it on other cases."
            )


CHOSEN_ON = ("fixed", "given", VAL, OUT_OF_FOLD)
"""Where a threshold may come from; never from the population that it is scored on."""

HALF = Point("half", 0.5, "fixed", "flagged where the condition is at least as likely as not")
SENSITIVITY_90 = "sensitivity_90"
TARGET = 0.9


def freeze_points(
    populations: Sequence[Population],
    model: str,
    *,
    given: tuple[Point, ...],
    scale: Scale,
    ranking: bool = False,
) -> tuple[Point, ...]:
    """The thresholds of one model: one half, the one that reaches sensitivity .90, and those given.

    Scores that are no probabilities have no half.
    """
    return (*(() if ranking else (HALF,)), _sensitivity_90(populations, model, scale), *given)


def given_point(threshold: float, *, ranking: bool = False) -> Point:
    """A threshold that the user named; InputError unless it is a number from 0 to 1, or any of scores."""
    if ranking and math.isfinite(threshold):
        return Point("given", threshold + 0.0, "given", "named by the user")
    if not 0 <= threshold <= 1:
        raise InputError(f"A threshold must be a number from 0 to 1; got {threshold}.")
    return Point("given", threshold + 0.0, "given", "named by the user")  # -0.0 is 0.0


def checked_points(points: Mapping[str, Iterable[Point]], model: str) -> tuple[Point, ...]:
    """The frozen thresholds of one model; InputError where it has none or one comes from scored cases."""
    if model not in points:
        raise InputError(
            f"No frozen thresholds were given for model {model!r}; they are there for {sorted(points)}."
        )
    for point in points[model]:
        if point.chosen_on not in CHOSEN_ON:
            raise InputError(
                f"The threshold {point.name!r} of {model!r} was chosen on {point.chosen_on!r}; "
                f"it may come from {', '.join(CHOSEN_ON)} only, never from the cases that it is scored on."
            )
    return tuple(points[model])


def points_for(population: str, points: Iterable[Point]) -> tuple[Point, ...]:
    """The thresholds that may be scored there: none on ``val``, elsewhere all that were not chosen there."""
    return () if population == VAL else tuple(point for point in points if point.chosen_on != population)


def score_point(cases: Cases, point: Point, *, population: str, scale: Scale) -> OperatingPoint:
    """The 2x2 and its rates at a frozen threshold.

    Raises
    ------
    InputError : the threshold was chosen on this very population, so it would flatter itself.
    """
    if point.chosen_on == population:
        raise InputError(
            f"The threshold {point.name!r} was chosen on {population!r} and cannot be scored there: it "
            "would be flattered. Score it on cases that took no part in the choice."
        )
    scored = operating_point(cases.outcome, cases.risk, point, group=cases.group, level=scale.level)
    if math.isnan(point.threshold):
        return scored
    if cases.ranking:
        return replace(scored, gain=undefined("scores have no net benefit", level=scale.level))
    net_benefit, gain = _net_benefit(cases, point.threshold, scale)
    return replace(scored, net_benefit=net_benefit, gain=gain)


def _net_benefit(cases: Cases, threshold: float, scale: Scale) -> tuple[float, Estimate]:
    """Net benefit at the threshold itself and its gain; NaN at 0 and 1, where nothing is left to weigh."""
    if not 0 < threshold < 1:
        return math.nan, undefined("thresholds of 0 and 1 leave nothing to weigh", level=scale.level)
    curve = decision_curve(
        cases.outcome, cases.risk, thresholds=[threshold], group=cases.group, **vars(scale)
    )
    value, low, high = (float(line[0]) for line in (curve.gain, curve.gain_low, curve.gain_high))
    return float(curve.net_benefit[0]), Estimate(value, low, high, scale.level, curve.method)


def _sensitivity_90(populations: Sequence[Population], model: str, scale: Scale) -> Point:
    """The largest threshold that reaches sensitivity .90 out of fold, else on ``val``, else none."""
    there = {one.name: one.models[model] for one in populations if model in one.models}
    source = next((name for name in (OUT_OF_FOLD, VAL) if name in there), None)
    if source is None:
        reason = f"the table has no {OUT_OF_FOLD} and no {VAL} rows to choose it on"
        return Point(SENSITIVITY_90, math.nan, VAL, reason)
    if not there[source].outcome.any():
        reason = f"{source} has no case with the condition to choose it on"
        return Point(SENSITIVITY_90, math.nan, source, reason)
    threshold, choice = _chosen(there[source], scale)
    rule = f"the largest threshold that reaches sensitivity {TARGET:.2f} on {source}"
    return Point(SENSITIVITY_90, threshold, source, rule, choice)


def _chosen(cases: Cases, scale: Scale) -> tuple[float, Choice]:
    """The threshold that these cases choose, and how firmly it stands."""
    chosen = choose_threshold(
        cases.outcome, cases.risk, rule="sensitivity", target=TARGET, group=cases.group, **vars(scale)
    )
    low, high = chosen.threshold.low, chosen.threshold.high
    events = int(cases.outcome.sum())
    return chosen.value, Choice(TARGET, low, high, chosen.probability_met, events, chosen.sentence)
