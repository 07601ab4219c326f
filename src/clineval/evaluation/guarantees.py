"""Thresholds with a guarantee from development data, and what lies between two of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clineval.errors import InputError
from clineval.evaluation.populations import Population
from clineval.evaluation.records import Point
from clineval.predictions import OUT_OF_FOLD, VAL
from clineval.statistics.thresholds import (
    DeferRegion,
    GuaranteedThreshold,
    defer_region,
    guaranteed_threshold,
)

GUARANTEED = "guaranteed_"  # how the name of such a threshold begins: guaranteed_sensitivity_90
NOT_ELSEWHERE = "for cases like these, not for another hospital"

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
            "--threshold-rule needs a sensitivity or specificity and a confidence, such as "
            f"'sensitivity>=0.90@0.95'; got {text!r}."
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
                f"--threshold-rule needs development data of {model!r}: rows of split {OUT_OF_FOLD} or "
                f"{VAL}; got none. A guarantee cannot come from the cases that are scored."
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
            else f"{words}, {NOT_ELSEWHERE} ({chosen.method})"
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
            out, rule_in = (_threshold(frozen[model], measure) for measure in ("sensitivity", "specificity"))
            if part.used_for or np.isnan(out) or np.isnan(rule_in):
                continue
            found.setdefault(part.name, {})[model] = defer_region(
                cases.outcome, cases.risk, rule_out=out, rule_in=rule_in, group=cases.group, level=level
            )
    return found


def _threshold(points: Iterable[Point], measure: str) -> float:
    """The first guaranteed threshold of a measure; NaN where there is none."""
    named = (point.threshold for point in points if point.name.startswith(f"{GUARANTEED}{measure}_"))
    return next(named, np.nan)
