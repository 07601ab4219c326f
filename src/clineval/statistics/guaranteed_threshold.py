"""A threshold shown with stated confidence to reach a sensitivity or a specificity on cases like these."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from clineval.statistics.counts import Bools, Floats, checked_cases, flagged, group_codes
from clineval.statistics.intervals import Estimate
from clineval.statistics.rates import grouped_rate
from clineval.statistics.thresholds import events_to_guarantee


@dataclass(frozen=True)
class GuaranteedThreshold:
    """A threshold with a guarantee; NaN where these cases are too few for any.

    ``units``: cases, or groups, that could be got wrong; ``allowed``: how many of them may be wrong here
    (-1: too few units); ``needed``: units with none wrong that a guarantee takes.
    """

    threshold: float
    rule: str
    target: float
    confidence: float
    units: int
    allowed: int
    needed: int
    method: str


@dataclass(frozen=True)
class DeferRegion:
    """Three zones: ruled out below one threshold, ruled in from another, deferred to a reader between them.

    ``deferred``: share of all cases. ``missed``: share of those with the condition that are ruled out;
    ``false_alarms``: share of those without it that are ruled in. ``npv`` and ``ppv``: of the cases ruled
    out and in. ``sensitivity`` and ``specificity``: among the cases decided.
    """

    rule_out: float
    rule_in: float
    deferred_cases: int
    deferred: Estimate
    missed: Estimate
    false_alarms: Estimate
    npv: Estimate
    ppv: Estimate
    sensitivity: Estimate
    specificity: Estimate


def guaranteed_threshold(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    target: float,
    rule: str = "sensitivity",
    confidence: float = 0.95,
    group: ArrayLike | None = None,
) -> GuaranteedThreshold:
    """The largest threshold that has the target sensitivity, or the smallest with the target specificity.

    Parameters
    ----------
    outcome, risk : shape (n,), the development data: cases that did not train the model.
    target : sensitivity or specificity to reach, between 0 and 1.
    rule : "sensitivity" or "specificity".
    confidence : the chance, over development data drawn anew, that the true rate reaches the target.
    group : shape (n,); a group is one unit, and wrong as soon as one of its cases (with the condition, or
        without it for specificity) is.

    Returns
    -------
    GuaranteedThreshold: for cases like these, of the same hospital; nothing is said of another one.

    Notes
    -----
    Exact whatever the distribution of risks: at the k-th largest of m units' risks the true rate is
    Beta(k, m + 1 - k), and reaches the target with probability P(Bin(m, target) < k); with none wrong
    1 - target^m, so that .90 at 95 % takes 29. Wilks 1941, doi:10.1214/aoms/1177731788.
    """
    if rule not in ("sensitivity", "specificity"):
        raise ValueError(f"Expected as rule sensitivity or specificity, got {rule!r}.")
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1, got {confidence}.")
    needed = events_to_guarantee(target, level=confidence)
    outcome, risk = checked_cases(outcome, risk)
    sensitivity = rule == "sensitivity"
    side, code = outcome == sensitivity, group_codes(group, len(outcome))
    hardest = _hardest(risk[side], code[side], sensitivity=sensitivity)
    units = len(hardest)
    right = int(binom.ppf(confidence, units, target)) + 1 if units else 1
    kind = f"{'cases' if group is None else 'groups'} {'with' if sensitivity else 'without'} the condition"
    found = GuaranteedThreshold(np.nan, rule, target, confidence, units, -1, needed, "")
    if right > units:
        reason = f"cannot be guaranteed with {units} {kind}: it takes at least {needed}, none of them wrong"
        return replace(found, method=reason)
    threshold = float(hardest[units - right]) if sensitivity else _next_above(risk, hardest[right - 1])
    method = f"exact, order statistic {right} of {units} {kind}"
    return replace(found, threshold=threshold, allowed=units - right, method=method)


def _hardest(risk: Floats, code: NDArray[np.intp], *, sensitivity: bool) -> Floats:
    """Each unit's lowest risk (for specificity the highest), ascending: right when all of it is."""
    if not len(risk):
        return np.zeros(0)
    own = np.unique(code, return_inverse=True)[1]
    found = np.full(int(own.max()) + 1, np.inf if sensitivity else -np.inf)
    (np.minimum if sensitivity else np.maximum).at(found, own, risk)
    return np.sort(found)


def _next_above(risk: Floats, last: float) -> float:
    above = risk[risk > last]
    return float(above.min()) if len(above) else float(np.nextafter(last, np.inf))


def defer_region(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    rule_out: float,
    rule_in: float,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> DeferRegion:
    """What is decided below a rule-out and from a rule-in threshold, and how much is deferred between them.

    Parameters
    ----------
    outcome, risk, group : shape (n,). On the data that chose the thresholds the numbers are flattered.
    rule_out : cases with a risk below it are ruled out; with a guaranteed sensitivity.
    rule_in : cases with a risk of at least this are ruled in; with a guaranteed specificity. One below
        ``rule_out`` is raised to it: nothing is then deferred.

    Notes
    -----
    Wilson's intervals, by group those of as many independent cases as the groups are worth.
    """
    if np.isnan(rule_out) or np.isnan(rule_in):
        raise ValueError(f"Expected two thresholds, got {rule_out} and {rule_in}: one cannot be guaranteed.")
    outcome, risk = checked_cases(outcome, risk)
    rule_in = max(rule_in, rule_out)
    code = group_codes(group, len(outcome))
    out, ruled_in = ~flagged(risk, rule_out), flagged(risk, rule_in)
    decided = out | ruled_in

    def share(of: Bools, right: Bools, reason: str) -> Estimate:
        return grouped_rate(right[of], code[of], reason=reason, level=level)

    return DeferRegion(
        float(rule_out),
        float(rule_in),
        int(np.count_nonzero(~decided)),
        deferred=share(np.ones_like(out), ~decided, "no cases"),
        missed=share(outcome, out, "no case has the condition"),
        false_alarms=share(~outcome, ruled_in, "no case is without the condition"),
        npv=share(out, ~outcome, "no case is ruled out"),
        ppv=share(ruled_in, outcome, "no case is ruled in"),
        sensitivity=share(outcome & decided, ruled_in, "no case with the condition is decided"),
        specificity=share(~outcome & decided, out, "no case without the condition is decided"),
    )
