"""Choosing a threshold, how far the choice can be trusted, and thresholds with a guarantee."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincc
from scipy.stats import binom

from clineval.statistics.counts import (
    Bools,
    Floats,
    checked_cases,
    counts,
    flagged,
    group_codes,
    takes_series,
)
from clineval.statistics.intervals import (
    Estimate,
    effective_groups,
    few_groups,
    grouped_rate,
    percentile_interval,
    resampling_units,
    shared_groups,
    undefined,
    wilson,
)
from clineval.statistics.scores import columns_by_risk

# Cuts among which a resample chooses: every distinct risk, or as many quantile bins where there are more.
MOST_CUTS = 1000


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
    choice: Choice | None = None


@takes_series
def threshold_for_sensitivity(outcome: ArrayLike, risk: ArrayLike, target: float) -> float:
    """The largest threshold that still flags the target share of those with the condition.

    >>> threshold_for_sensitivity([1, 1, 1, 0, 0], [0.9, 0.6, 0.3, 0.4, 0.1], 0.6)
    0.6

    Parameters
    ----------
    outcome, risk : shape (n,).
    target : sensitivity to reach on these cases, in (0, 1].

    Returns
    -------
    The risk of a case: the k-th largest among the events, k the least count with k / events >= target.

    Raises
    ------
    ValueError
        Where no case has the condition, or the target is outside (0, 1].
    """
    outcome, risk = checked_cases(outcome, risk)
    events = _class(outcome, risk, present=True)
    return _kth_largest(events, _least_count(target, len(events)))


@takes_series
def threshold_for_specificity(outcome: ArrayLike, risk: ArrayLike, target: float) -> float:
    """The smallest threshold that leaves the target share of those without the condition unflagged.

    Parameters
    ----------
    outcome, risk : shape (n,).
    target : specificity to reach on these cases, in (0, 1].

    Returns
    -------
    The risk of a case; where even the largest risk flags too many, the next number above it, at which
    nobody is flagged.

    Raises
    ------
    ValueError
        Where every case has the condition, or the target is outside (0, 1].
    """
    outcome, risk = checked_cases(outcome, risk)
    non_events = _class(outcome, risk, present=False)
    spared = _least_count(target, len(non_events))
    last_spared = _kth_largest(non_events, len(non_events) - spared + 1)
    above = risk[risk > last_spared]
    return float(above.min()) if len(above) else float(np.nextafter(last_spared, np.inf))


@takes_series
def threshold_youden(outcome: ArrayLike, risk: ArrayLike) -> float:
    """The threshold with the largest sensitivity + specificity - 1; of several, the lowest.

    The lowest, because of two equal cuts the one that misses fewer is the safer. Youden 1950,
    doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3.
    """
    outcome, risk = checked_cases(outcome, risk)
    _class(outcome, risk, present=True), _class(outcome, risk, present=False)
    distinct, events, non_events = _descending_counts(outcome, risk)
    return float(distinct[_best_youden(events[None, :], non_events[None, :])[0]])


def threshold_for_harm_ratio(harm_ratio: float) -> float:
    """The threshold at which flagging pays, where one missed case weighs as much as so many false alarms.

    Parameters
    ----------
    harm_ratio : false alarms that one missed case outweighs, above 0; 9 gives the threshold 0.1.

    Returns
    -------
    1 / (1 + harm_ratio), the Bayes threshold of calibrated risks. Pauker and Kassirer 1975,
    doi:10.1056/NEJM197507312930501.
    """
    if not (harm_ratio > 0 and math.isfinite(harm_ratio)):
        raise ValueError(f"A harm ratio must be a number above 0; got {harm_ratio}.")
    return 1 / (1 + harm_ratio)


@dataclass(frozen=True)
class ChosenThreshold:
    """A threshold with the rule that chose it and what is known of how it will do on new cases.

    ``bootstrap`` holds the thresholds that the same rule chose in resamples, shape (draws,);
    ``threshold`` has their percentile interval. ``achieved`` is the target's rate on the very cases
    that chose it, so flattered. ``probability_met`` is the probability that the true rate reaches the
    target (NaN where the rule has none), ``guaranteed`` the nearest threshold at which that
    probability is at least ``level``, NaN where no threshold has it.
    """

    threshold: Estimate
    rule: str
    target: float
    achieved: Estimate
    probability_met: float
    guaranteed: float
    sentence: str
    bootstrap: Floats

    @property
    def value(self) -> float:
        """The threshold itself."""
        return self.threshold.value


@takes_series
def choose_threshold(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    rule: str = "sensitivity",
    target: float | None = None,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> ChosenThreshold:
    """A threshold by a rule, with its bootstrap distribution and the chance that its promise holds.

    Parameters
    ----------
    outcome, risk, group : shape (n,); with groups whole groups are resampled.
    rule : ``"sensitivity"`` or ``"specificity"`` (``target`` in (0, 1]), ``"youden"`` (no target) or
        ``"harm_ratio"`` (``target`` = false alarms that one missed case outweighs).
    draws, seed : of the bootstrap.
    level : of intervals and of what counts as guaranteed.

    Notes
    -----
    The threshold that flags k of m events is an order statistic, so the sensitivity that it truly has
    is Beta(k, m + 1 - k) whatever the risks' distribution, and reaches the target with the binomial
    probability P(Bin(m, target) < k) (with ties: at least). Wilks 1941, doi:10.1214/aoms/1177731788.
    Cases are taken as independent there; groups make the probability less certain than it says.
    """
    cases = _Cases(*checked_cases(outcome, risk), group, draws, seed, level)
    if rule in ("sensitivity", "specificity"):
        return _for_rate(cases, rule, _needed(rule, target))
    if rule == "youden":
        return _for_youden(cases)
    if rule == "harm_ratio":
        return _for_harm_ratio(_needed(rule, target), level)
    raise ValueError(f"A rule is 'sensitivity', 'specificity', 'youden' or 'harm_ratio'; got {rule!r}.")


def probability_target_met(successes: int, total: int, target: float) -> float:
    """The chance that a cut which catches ``successes`` of ``total`` truly reaches the target rate.

    P(Bin(total, target) < successes), exact for a cut placed on the risk of a case by that count.
    """
    return float(betaincc(successes, total + 1 - successes, target)) if successes else 0.0


def events_to_guarantee(target: float, *, level: float = 0.95) -> int:
    """The least number of events with which any threshold can guarantee the target sensitivity.

    The lowest cut, which flags all m events, reaches the target with probability 1 - target ** m.
    """
    if not 0 < target < 1:
        raise ValueError(f"A target that can be guaranteed lies between 0 and 1; got {target}.")
    return math.ceil(math.log1p(-level) / math.log(target))


def least_sure_count(total: int, target: float, level: float) -> int:
    """The least k whose cut truly reaches the target with probability ``level``; total + 1 where none.

    Parameters
    ----------
    total : events (or non-events) that choose, at least 1; the cut is the risk of the k-th from the top.
    target : sensitivity (or specificity) to reach on new cases, in (0, 1].
    level : the probability wanted, between 0 and 1; cases are taken as independent.
    """
    k = np.arange(_least_count(target, total), total + 1)
    sure = betaincc(k, total + 1.0 - k, target) >= level
    return int(k[np.argmax(sure)]) if sure.any() else total + 1


@takes_series
def local_threshold(
    outcome: ArrayLike, risk: ArrayLike, *, target: float, assurance: float | None = None
) -> float:
    """The threshold that local cases set for a sensitivity.

    Parameters
    ----------
    outcome, risk : shape (n,), at least one event.
    target, assurance : as for ``sample_size.local_cases_needed``; the assurance takes events as independent.
    """
    outcome, risk = checked_cases(outcome, risk)
    events = _class(outcome, risk, present=True)
    return _kth_largest(events, events_to_flag(len(events), target, assurance))


def events_to_flag(total: int, target: float, assurance: float | None) -> int:
    """How many of ``total`` local events, at least 1, ``local_threshold`` flags."""
    if assurance is None:
        return _least_count(target, total)
    return _least_count(min(least_sure_count(total, target, assurance), total) / total, total)


@dataclass(frozen=True)
class _Cases:
    """The cases that choose, and how they are resampled."""

    outcome: Bools
    risk: Floats
    group: ArrayLike | None
    draws: int
    seed: int
    level: float

    def interval(self, threshold: float, drawn: Floats) -> Estimate:
        code = shared_groups(self.group, len(self.outcome))
        if few := few_groups(code):
            return Estimate(threshold, np.nan, np.nan, self.level, few)
        words = f"percentile of {self.draws} bootstrap choices" + (
            "" if code is None else ", groups drawn whole"
        )
        groups = effective_groups(code)
        found = percentile_interval(threshold, drawn, level=self.level, method=words, groups=groups)
        if np.isnan(found.low) and len(drawn) and (drawn == threshold).all():
            return Estimate(threshold, threshold, threshold, self.level, f"{words}, which all gave this one")
        return found


def _needed(rule: str, target: float | None) -> float:
    if target is None:
        raise ValueError(f"The rule {rule!r} needs a target.")
    return target


def _class(outcome: Bools, risk: Floats, *, present: bool) -> Floats:
    chosen = risk[outcome == present]
    if not len(chosen):
        raise ValueError(
            f"A threshold needs cases {'with' if present else 'without'} the condition; got none."
        )
    return chosen


def _least_count(target: float, total: int) -> int:
    """The least k with k / total >= target, in floating point as the rate itself will be compared."""
    if not 0 < target <= 1:
        raise ValueError(f"A target must lie above 0 and not above 1; got {target}.")
    k = math.ceil(target * total)
    return k - 1 if (k - 1) / total >= target else k


def _kth_largest(values: Floats, k: int) -> float:
    return float(np.partition(values, len(values) - k)[len(values) - k])


def _descending_counts(outcome: Bools, risk: Floats) -> tuple[Floats, Floats, Floats]:
    """Distinct risks from the largest down, and the events and non-events that each would flag."""
    order = np.argsort(-risk, kind="stable")
    risk, outcome = risk[order], outcome[order]
    last = np.append(np.flatnonzero(np.diff(risk)), len(risk) - 1)
    events = np.cumsum(outcome)[last]
    return risk[last], events.astype(np.float64), last + 1.0 - events


def _best_youden(events: Floats, non_events: Floats) -> np.ndarray:
    """Column of the largest Youden index in each row of cumulative counts; of several, the last."""
    # Cross-multiplied counts are whole numbers: equal cuts tie exactly, as rates would not.
    index = events * non_events[:, -1:] - non_events * events[:, -1:]
    return index.shape[1] - 1 - np.argmax(index[:, ::-1], axis=1)


def _for_rate(cases: _Cases, rule: str, target: float) -> ChosenThreshold:
    sensitivity = rule == "sensitivity"
    choose = threshold_for_sensitivity if sensitivity else threshold_for_specificity
    threshold = choose(cases.outcome, cases.risk, target)
    table = counts(cases.outcome, cases.risk, threshold)
    met, total = (
        (table.true_positives, table.events) if sensitivity else (table.true_negatives, table.non_events)
    )
    sure = least_sure_count(total, target, cases.level)
    guaranteed = choose(cases.outcome, cases.risk, sure / total) if sure <= total else np.nan
    probability = probability_target_met(_least_count(target, total), total, target)
    promise = _promise(rule, target, total, probability, guaranteed, cases.level)
    if shared_groups(cases.group, table.cases) is not None:
        promise += " Cases that share a group make this less certain than it says."
    drawn = _cuts_for_rate(*_resampled(cases), target, sensitivity=sensitivity)
    return ChosenThreshold(
        threshold=cases.interval(threshold, drawn),
        rule=rule,
        target=target,
        achieved=wilson(met, total, level=cases.level),
        probability_met=probability,
        guaranteed=guaranteed,
        sentence=promise,
        bootstrap=drawn,
    )


def _promise(
    rule: str, target: float, total: int, probability: float, guaranteed: float, level: float
) -> str:
    kind = "events" if rule == "sensitivity" else "non-events"
    said = (
        f"With {total} {kind} the chance that this threshold truly reaches a {rule} of {target:g} on cases "
        f"like these is {probability:.2f}"
    )
    if probability >= level:
        return f"{said}."
    if not np.isnan(guaranteed):
        return f"{said}; {level:.0%} confidence needs the threshold {guaranteed:.6g}."
    if target == 1:
        return f"{said}; a {rule} of 1 cannot be guaranteed with any number of {kind}."
    return (
        f"{said}; at {level:.0%} confidence it cannot be guaranteed with {total} {kind} by any threshold: at "
        f"least {events_to_guarantee(target, level=level)} are needed."
    )


def _for_youden(cases: _Cases) -> ChosenThreshold:
    threshold = threshold_youden(cases.outcome, cases.risk)
    table = counts(cases.outcome, cases.risk, threshold)
    cut, events, non_events = _resampled(cases)
    drawn = cut[_best_youden(events, non_events)]
    index = table.true_positives / table.events - table.false_positives / table.non_events
    return ChosenThreshold(
        threshold=cases.interval(threshold, drawn),
        rule="youden",
        target=np.nan,
        achieved=Estimate(
            index,
            np.nan,
            np.nan,
            cases.level,
            "Youden index on the cases that chose the threshold: flattered",
        ),
        probability_met=np.nan,
        guaranteed=np.nan,
        sentence="The largest sensitivity + specificity on these cases: it promises neither on new ones.",
        bootstrap=drawn,
    )


def _for_harm_ratio(harm_ratio: float, level: float) -> ChosenThreshold:
    threshold = threshold_for_harm_ratio(harm_ratio)
    return ChosenThreshold(
        threshold=Estimate(
            threshold, threshold, threshold, level, "follows from the harm ratio alone, not from data"
        ),
        rule="harm_ratio",
        target=harm_ratio,
        achieved=undefined("a harm ratio sets no rate to achieve", level=level),
        probability_met=np.nan,
        guaranteed=np.nan,
        sentence=(
            f"One missed case weighs as much as {harm_ratio:g} false alarms; right for calibrated risks only."
        ),
        bootstrap=np.full(1, threshold),
    )


def _resampled(cases: _Cases) -> tuple[Floats, Floats, Floats]:
    """Cuts from the largest down (k,), and events and non-events that each flags by resample (draws, k)."""
    columns = columns_by_risk(cases.risk, MOST_CUTS)
    column, cut = columns.number - 1 - columns.of_case, columns.least[::-1]
    units = resampling_units(cases.outcome, cases.group, stratified=True)
    weights = units.weights(cases.draws, cases.seed)
    events = units.sums(column, len(cut), cases.outcome)
    every = units.sums(column, len(cut))
    return cut, np.cumsum(weights @ events, axis=1), np.cumsum(weights @ (every - events), axis=1)


def _cuts_for_rate(
    cut: Floats, events: Floats, non_events: Floats, target: float, *, sensitivity: bool
) -> Floats:
    """The threshold that the rule chooses in each resample, shape (draws,)."""
    if sensitivity:
        return cut[np.argmax(events / events[:, -1:] >= target, axis=1)]
    spared = (non_events[:, -1:] - non_events) / non_events[:, -1:] >= target
    # Sparing shrinks as the cut falls: the last cut that spares enough, or above all where none does.
    last = np.count_nonzero(spared, axis=1) - 1
    return np.where(last >= 0, cut[last], np.nextafter(cut[0], np.inf))


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


@takes_series
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
    confidence : the chance, over redrawn development data, that the true rate reaches the target.
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


@takes_series
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
