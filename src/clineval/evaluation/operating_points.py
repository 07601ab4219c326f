"""Thresholds frozen on development data: the operating points, the primary one, guarantees."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clineval.errors import InputError, in_short, option
from clineval.evaluation.populations import TEST_CLEAN, Cases, Population
from clineval.evaluation.records import Choice, OperatingPoint, Point, Primary, Scale
from clineval.predictions import OUT_OF_FOLD, TEST, VAL
from clineval.settings import is_retrained
from clineval.statistics.decision_curve import decision_curve
from clineval.statistics.intervals import Estimate, undefined
from clineval.statistics.operating_point import operating_point
from clineval.statistics.roc import auc
from clineval.statistics.thresholds import (
    DeferRegion,
    GuaranteedThreshold,
    choose_threshold,
    defer_region,
    guaranteed_threshold,
)


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


def point_name(target: float) -> str:
    """What a threshold chosen for this sensitivity, between 0 and 1, is called.

    >>> point_name(0.925)
    'sensitivity_92_5'
    """
    percent = f"{100 * target:.9f}".rstrip("0").rstrip(".")
    return f"sensitivity_{percent.replace('.', '_')}"


def aim(point: str) -> float | None:
    """The sensitivity that a threshold of this name was chosen for; None for others.

    >>> aim("sensitivity_92_5")
    0.925
    """
    found = re.fullmatch(r"sensitivity_(\d+)(?:_(\d+))?", point)
    return None if found is None else float(f"{found[1]}.{found[2] or 0}e-2")


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
    """Thresholds that may be scored on a population: none on ``val``, else all not chosen on it."""
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


GUARANTEED = "guaranteed_"  # how the name of such a threshold begins: guaranteed_sensitivity_90
THESE_CASES_ONLY = "for cases like these, not for another hospital"

_RULE = re.compile(
    r"\s*(?P<measure>sensitivity|specificity)\s*>=\s*(?P<target>0?\.\d+)\s*@\s*(?P<confidence>0?\.\d+)\s*"
)


@dataclass(frozen=True)
class Rule:
    """A sensitivity or specificity that a threshold must reach, and with which confidence."""

    measure: str
    target: float
    confidence: float

    @property
    def name(self) -> str:
        """The name of the threshold: ``guaranteed_sensitivity_90``."""
        return f"{GUARANTEED}{self.measure}_{100 * self.target:g}"


def parse_rule(text: str) -> Rule:
    """The rule that a text such as ``sensitivity>=0.90@0.95`` names.

    Raises
    ------
    InputError : it is of another form.

    Examples
    --------
    >>> parse_rule("sensitivity>=0.90@0.95")
    Rule(measure='sensitivity', target=0.9, confidence=0.95)
    """
    found = _RULE.fullmatch(text)
    rule = found and Rule(found["measure"], float(found["target"]), float(found["confidence"]))
    if not rule or not (0 < rule.target < 1 and 0 < rule.confidence < 1):
        raise InputError(
            f"{option('--threshold-rule', 'threshold_rules')} needs a sensitivity or specificity and a "
            f"confidence, such as 'sensitivity>=0.90@0.95'; got {text!r}."
        )
    return rule


def guarantees(
    development: Sequence[Population], model: str, rules: Iterable[Rule]
) -> dict[Point, GuaranteedThreshold]:
    """A threshold for each rule from out-of-fold training data, else ``val``; NaN where too few events.

    Raises
    ------
    InputError : the table has no development data of the model.
    """
    there = {one.name: one.models[model] for one in development if model in one.models}
    source = next((name for name in (OUT_OF_FOLD, VAL) if name in there), None)
    found: dict[Point, GuaranteedThreshold] = {}
    for rule in rules:
        if source is None:
            raise InputError(
                f"{option('--threshold-rule', 'threshold_rules')} needs development data of {model!r}: rows "
                f"of split {OUT_OF_FOLD} or {VAL}; got none. A guarantee cannot come from the cases that are "
                "scored."
            )
        cases = there[source]
        chosen = guaranteed_threshold(
            cases.outcome,
            cases.risk,
            target=rule.target,
            rule=rule.measure,
            confidence=rule.confidence,
            group=cases.group,
        )
        words = f"{rule.measure} of at least {rule.target:.2f} with {rule.confidence:.0%} confidence"
        said = (
            f"{words} {chosen.method}"
            if np.isnan(chosen.threshold)
            else f"{words}, {THESE_CASES_ONLY} ({chosen.method})"
        )
        found[Point(rule.name, chosen.threshold, source, said)] = chosen
    return found


def deferred(
    parts: Iterable[Population], frozen: Mapping[str, Sequence[Point]], *, level: float
) -> dict[str, dict[str, DeferRegion]]:
    """What lies between each model's rule-out and rule-in threshold, on each population kept for testing."""
    found: dict[str, dict[str, DeferRegion]] = {}
    for part in parts:
        for model, cases in part.models.items():
            out, rule_in = (
                _frozen_threshold(frozen[model], measure) for measure in ("sensitivity", "specificity")
            )
            if part.used_for or np.isnan(out) or np.isnan(rule_in):
                continue
            found.setdefault(part.name, {})[model] = defer_region(
                cases.outcome, cases.risk, rule_out=out, rule_in=rule_in, group=cases.group, level=level
            )
    return found


def _frozen_threshold(points: Iterable[Point], measure: str) -> float:
    """The first guaranteed threshold of a measure; NaN where there is none."""
    named = (point.threshold for point in points if point.name.startswith(f"{GUARANTEED}{measure}_"))
    return next(named, np.nan)


TIE = 0.001
"""Difference of AUC below which two models are alike, and the simpler one is taken."""


def choose_primary(
    development: Sequence[Population],
    points: Mapping[str, Iterable[Point]],
    *,
    scored: Iterable[str] = (),
    named: str | None = None,
) -> Primary:
    """The model and the threshold that a report speaks of first.

    The model is the one that the user named, else the one with the highest AUC out of fold, else on
    ``val``, else the first of the table. The threshold is the first that the user gave, else the one
    chosen for sensitivity .90, else one half. No outcome kept for testing takes part.

    Parameters
    ----------
    development : the populations that were used before, ``train_out_of_fold`` and ``val``.
    points : the frozen thresholds of each model, the simplest model first.
    scored : models on the cases kept for testing; the others are no candidates. None given: all are.
    named : the model that the user named.

    Raises
    ------
    InputError : the named model is not in the table.

    References
    ----------
    docs/methods/primary.md
    """
    if named is not None and named not in points:
        asked = option("--primary", "primary")
        raise InputError(
            f"{asked} needs one of the table's models ({in_short(list(points))}); got {named!r}."
        )
    wanted = set(scored) or set(points)
    there = [name for name in points if name in wanted] or list(points)
    model, why = (named, "named by the user") if named is not None else _best(development, there)
    point, how = _primary_threshold(tuple(points[model]))
    return Primary(model, point.threshold, point.chosen_on, f"Model: {why}. Threshold: {how}.")


def _best(development: Sequence[Population], models: Sequence[str]) -> tuple[str, str]:
    """The model that ranks best on development data, and the reason in words."""
    candidates = [name for name in models if not is_retrained(name, models)]
    for name, words in ((OUT_OF_FOLD, "out of fold on train"), (VAL, "on val")):
        aucs = _aucs(development, name, candidates)
        if aucs:
            best = max(aucs.values())
            chosen = next(model for model in candidates if aucs.get(model, -1.0) >= best - TIE)
            return chosen, _why(chosen, words, aucs, left_out=len(candidates) < len(models))
    return candidates[0], f"the first in the table, which has no {OUT_OF_FOLD} or {VAL} rows to choose it on"


def _aucs(development: Sequence[Population], name: str, models: Sequence[str]) -> dict[str, float]:
    """The AUC of each candidate on one population, where it is defined."""
    there = next((part.models for part in development if part.name == name), {})
    found = {model: auc(there[model].outcome, there[model].risk).value for model in models if model in there}
    return {model: value for model, value in found.items() if not math.isnan(value)}


def _why(model: str, words: str, aucs: Mapping[str, float], *, left_out: bool) -> str:
    if len(aucs) == 1:
        return f"the only one with predictions {words}"
    beaten = any(value > aucs[model] for value in aucs.values())
    what = f"the simplest within {TIE:g} of the highest AUC" if beaten else "the highest AUC"
    without = ", models trained without near-duplicates left out" if left_out else ""
    return f"{what} {words}, {aucs[model]:.3f} (of {len(aucs)} models{without})"


def _primary_threshold(points: tuple[Point, ...]) -> tuple[Point, str]:
    for point in points:
        if point.chosen_on == "given":
            return point, "given by the user"
    for point in points:
        if point.name == SENSITIVITY_90 and not math.isnan(point.threshold):
            return point, point.rule
    if HALF not in points and points:
        return points[0], f"none, for scores have no half and none could be chosen ({_lacking(points)})"
    return HALF, f"one half, since none could be chosen for sensitivity 0.90 ({_lacking(points)})"


def _lacking(points: tuple[Point, ...]) -> str:
    return next((point.rule for point in points if point.name == SENSITIVITY_90), "none was frozen")
