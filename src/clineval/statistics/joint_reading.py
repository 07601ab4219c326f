"""A model and a reader together: what is read, found, missed and spared under each way of combining them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from clineval.statistics.counts import (
    Bools,
    Floats,
    checked_cases,
    checked_outcome,
    flagged,
    group_codes,
    takes_series,
)
from clineval.statistics.differences import PairedRates, mcnemar
from clineval.statistics.intervals import Estimate, undefined
from clineval.statistics.rates import grouped_rate

STRATEGIES = {
    "reader alone": "the reader reads every case and decides",
    "model alone": "nobody reads; the model decides",
    "AI first": "the reader reads only what the model flags; the rest is cleared unread",
    "second reader": "the reader reads every case; it is flagged where either flags it",
    "both must flag": "the reader reads every case; it is flagged where both flag it",
    "AI within the category": "the model decides within the category, the reader outside it",
    "referral of disagreement": "where the two disagree another reader decides",
}


@dataclass(frozen=True)
class JointReading:
    """One way of combining model and reader, per 1,000 cases at a prevalence.

    ``read``: readings by a person, a second one of the same case included. ``flagged``, ``caught``,
    ``missed``, ``false_alarms``: what comes of it. ``lost``: cases with the condition that the reader alone
    would have flagged; ``gained``: those found beyond the reader; ``spared`` and ``added``: false alarms
    fewer and more. ``referred``: cases left to another reader, counted beside it in ``read`` only. What
    cannot occur in a way is 0 by design.
    ``net_benefit``: per case, at the threshold at which one acts.
    """

    strategy: str
    threshold: float
    cut: float
    prevalence: float
    sensitivity: Estimate
    specificity: Estimate
    read: Estimate
    flagged: Estimate
    caught: Estimate
    missed: Estimate
    false_alarms: Estimate
    lost: Estimate
    gained: Estimate
    spared: Estimate
    added: Estimate
    referred: Estimate
    net_benefit: Estimate
    against_reader: PairedRates | None


@dataclass(frozen=True)
class WithinCategory:
    """The model alone within a category, such as BI-RADS 4, where the reader acts on every case.

    ``spared`` (cases without the condition below the threshold) and ``missed`` (with it): per 100 cases
    of the category.
    """

    cases: int
    events: int
    spared: Estimate
    missed: Estimate


@takes_series
def joint_readings(
    outcome: ArrayLike,
    risk: ArrayLike,
    reading: ArrayLike,
    *,
    threshold: float,
    cut: float,
    prevalence: float | None = None,
    acting_threshold: float | None = None,
    category: ArrayLike | None = None,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[JointReading, ...]:
    """Each way of combining a model with a reader, in the order of ``STRATEGIES``.

    Parameters
    ----------
    outcome, risk, reading : shape (n,), finite.
    threshold, cut : the model flags where the risk is at least the one, the reader where the reading is
        at least the other.
    prevalence : between 0 and 1; None takes that of these cases, as if it were known.
    acting_threshold : the risk at which one acts, such as .02 for a biopsy, in [0, 1); None leaves net
        benefit out.
    category : shape (n,), True where the model may decide alone; None leaves that strategy out.
    group : shape (n,); intervals then respect it.

    Notes
    -----
    Rates have Wilson's interval, by group that of as many independent cases as the groups are worth. A
    number per 1,000 joins those of cases with and without the condition by Zou and Donner's rule (MOVER
    2008, doi:10.1002/sim.3095), with their correlation over the groups. Net benefit: Vickers and Elkin
    2006, doi:10.1177/0272989X06295361. What a reader would have said of a case in another set-up is
    taken to be what was said here.
    """
    outcome, risk = checked_cases(outcome, risk)
    _, reading = checked_cases(outcome, reading)
    if not 0 < np.count_nonzero(outcome) < len(outcome):
        raise ValueError(
            f"Expected cases with and without the condition, got {outcome.sum()} of {len(outcome)}."
        )
    at = float(outcome.mean()) if prevalence is None else prevalence
    if not 0 < at < 1:
        raise ValueError(f"Expected a prevalence between 0 and 1, got {prevalence}.")
    if acting_threshold is not None and not 0 <= acting_threshold < 1:
        raise ValueError(f"Expected a threshold to act at in [0, 1), got {acting_threshold}.")
    setting = _Setting(
        outcome, group_codes(group, len(outcome)), group is not None, at, level, acting_threshold
    )
    model, reader = flagged(risk, threshold), flagged(reading, cut)
    ways = _ways(model, reader, None if category is None else _inside(category, len(outcome)))
    return tuple(_joined(name, threshold, cut, reader, way, setting) for name, way in ways.items())


@takes_series
def joint_reading_curve(
    outcome: ArrayLike,
    risk: ArrayLike,
    reading: ArrayLike,
    *,
    thresholds: Iterable[float],
    cut: float,
    prevalence: float | None = None,
    acting_threshold: float | None = None,
    category: ArrayLike | None = None,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[tuple[JointReading, ...], ...]:
    """``joint_readings`` at each of the model's thresholds, to draw what a lower or higher one would do."""
    at = partial(
        joint_readings,
        outcome,
        risk,
        reading,
        cut=cut,
        prevalence=prevalence,
        acting_threshold=acting_threshold,
        category=category,
        group=group,
        level=level,
    )
    return tuple(at(threshold=threshold) for threshold in thresholds)


@takes_series
def within_category(
    outcome: ArrayLike,
    risk: ArrayLike,
    category: ArrayLike,
    *,
    threshold: float,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> WithinCategory:
    """What the model would spare and miss among the cases of one category of the reader.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    category : shape (n,), True for the cases of the category, such as BI-RADS 4.
    threshold : cases of the category below it would be left alone.
    """
    outcome, risk = checked_cases(outcome, risk)
    inside = _inside(category, len(outcome))
    code = group_codes(np.arange(len(outcome)) if group is None else group, len(outcome))[inside]
    cleared, event = ~flagged(risk[inside], threshold), outcome[inside]
    spared, missed = (grouped_rate(cleared & side, code, level=level) for side in (~event, event))
    return WithinCategory(len(event), int(event.sum()), _times(spared, 100), _times(missed, 100))


def _inside(category: ArrayLike, cases: int) -> Bools:
    inside = checked_outcome(category)
    if len(inside) != cases:
        raise ValueError(f"Expected one category per case, got {len(inside)} for {cases} cases.")
    return inside


@dataclass(frozen=True)
class _Setting:
    """What every number of a joint reading needs besides the decisions."""

    outcome: Bools
    code: np.ndarray
    grouped: bool
    prevalence: float
    level: float
    acting_threshold: float | None


@dataclass(frozen=True)
class _Way:
    """Who is flagged, read and left to another reader; ``never``: what cannot occur in this way."""

    final: Bools
    read: Bools
    referred: Bools
    never: tuple[str, ...] = ()


def _ways(model: Bools, reader: Bools, category: Bools | None) -> dict[str, _Way]:
    every, none = np.ones_like(model), np.zeros_like(model)
    changes = ("lost", "gained", "spared", "added")
    ways = {
        "reader alone": _Way(reader, every, none, changes),
        "model alone": _Way(model, none, none),
        "AI first": _Way(model & reader, model, none, ("gained", "added")),
        "second reader": _Way(model | reader, every, none, ("lost", "spared")),
        "both must flag": _Way(model & reader, every, none, ("gained", "added")),
    }
    if category is not None:
        ways["AI within the category"] = _Way((category & model) | (~category & reader), every, none)
    ways["referral of disagreement"] = _Way(model & reader, every, model ^ reader, changes)
    return ways


def _joined(
    strategy: str, threshold: float, cut: float, reader: Bools, way: _Way, setting: _Setting
) -> JointReading:
    outcome, level, final, settled = setting.outcome, setting.level, way.final, ~way.referred
    refers = strategy == "referral of disagreement"

    def count(what: str, which: Bools) -> Estimate:
        """Per 1,000, of cases with or without the condition: 0 by design where it cannot occur."""
        if what in way.never:
            return _fixed(0, level)
        side = outcome if what in ("caught", "missed", "lost", "gained") else ~outcome
        share = setting.prevalence if side is outcome else 1 - setting.prevalence
        return _times(grouped_rate(which[side], setting.code[side], level=level), 1000 * share)

    def if_settled(found: Estimate) -> Estimate:
        return undefined("left open: it depends on the other reader", level=level) if refers else found

    return JointReading(
        strategy,
        float(threshold),
        float(cut),
        setting.prevalence,
        sensitivity=if_settled(grouped_rate(final[outcome], setting.code[outcome], level=level)),
        specificity=if_settled(grouped_rate(~final[~outcome], setting.code[~outcome], level=level)),
        read=_read(strategy, way, setting),
        flagged=_times(_weighted(final, setting), 1000),
        caught=count("caught", final),
        missed=count("missed", ~final & settled),
        false_alarms=count("false_alarms", final),
        lost=count("lost", reader & ~final),
        gained=count("gained", ~reader & final),
        spared=count("spared", reader & ~final),
        added=count("added", ~reader & final),
        referred=_times(_weighted(way.referred, setting), 1000) if refers else _fixed(0, level),
        net_benefit=if_settled(_net_benefit(final, setting)),
        against_reader=None if refers or strategy == "reader alone" else _paired(final, reader, setting),
    )


def _read(strategy: str, way: _Way, setting: _Setting) -> Estimate:
    """Readings per 1,000 cases, those of the other reader included."""
    if strategy == "AI first":
        return _times(_weighted(way.read, setting), 1000)
    if strategy == "referral of disagreement":
        return _plus(_times(_weighted(way.referred, setting), 1000), 1000)
    return _fixed(0 if strategy == "model alone" else 1000, setting.level)


def _fixed(value: float, level: float) -> Estimate:
    return Estimate(value, value, value, level, "by design")


def _paired(final: Bools, reader: Bools, setting: _Setting) -> PairedRates:
    """Sensitivity and specificity of the strategy less those of the reader alone."""
    return mcnemar(
        setting.outcome,
        final.astype(float),
        reader.astype(float),
        threshold_a=1,
        threshold_b=1,
        group=setting.code if setting.grouped else None,
        level=setting.level,
    )


def _weighted(which: Bools, setting: _Setting, *, cost: float = 1.0) -> Estimate:
    """prevalence x share among events + cost x (1 - prevalence) x share among the others."""
    outcome, code, level = setting.outcome, setting.code, setting.level
    weights = (setting.prevalence, cost * (1 - setting.prevalence))
    one, two = (grouped_rate(which[side], code[side], level=level) for side in (outcome, ~outcome))
    value = weights[0] * one.value + weights[1] * two.value
    sums = [_deviations(which, side, code) for side in (outcome, ~outcome)]
    shared = _correlation(*sums)
    below = _reach(weights, one.value - one.low, two.value - two.low, two.high - two.value, shared)
    above = _reach(weights, one.high - one.value, two.high - two.value, two.value - two.low, shared)
    method = f"MOVER of Wilson's intervals at prevalence {setting.prevalence:.3g}"
    return Estimate(
        value, value - below, value + above, level, method + (", by group" if setting.grouped else "")
    )


def _deviations(which: Bools, side: Bools, code: np.ndarray) -> Floats:
    return np.bincount(code[side], which[side] - which[side].mean(), int(code.max()) + 1).astype(np.float64)


def _correlation(first: Floats, second: Floats) -> float:
    spread = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / spread if spread > 0 else 0.0


def _reach(weights: tuple[float, float], one: float, same: float, opposite: float, shared: float) -> float:
    """How far a weighted sum reaches to one side; a negative weight takes the other side of its interval."""
    a, b = weights[0] * one, abs(weights[1]) * (same if weights[1] >= 0 else opposite)
    return float(np.sqrt(max(0.0, a**2 + b**2 + 2 * shared * np.sign(weights[1]) * a * b)))


def _net_benefit(final: Bools, setting: _Setting) -> Estimate:
    if setting.acting_threshold is None:
        return undefined("no threshold to act at was given", level=setting.level)
    odds = setting.acting_threshold / (1 - setting.acting_threshold)
    return _weighted(final, setting, cost=-odds)


def _times(found: Estimate, factor: float) -> Estimate:
    return Estimate(found.value * factor, found.low * factor, found.high * factor, found.level, found.method)


def _plus(found: Estimate, amount: float) -> Estimate:
    return Estimate(found.value + amount, found.low + amount, found.high + amount, found.level, found.method)
