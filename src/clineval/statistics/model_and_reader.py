"""A model and one reader on the same cases: which does better, where they agree, what they do together."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clineval.statistics.auc import missing_outcome
from clineval.statistics.counts import (
    Bools,
    Floats,
    checked_cases,
    finite,
    flagged,
    group_codes,
    takes_series,
    true_or_false,
)
from clineval.statistics.differences import PairedRates, correlation_through_groups, mcnemar
from clineval.statistics.intervals import (
    Estimate,
    effective_groups,
    few_groups,
    grouped_rate,
    percentile_interval,
    quantile_by_group,
    shared_groups,
    square_and_add,
    undefined,
    weight_blocks,
    without_bounds,
)

KAPPA_WEIGHTS = {"none": 0, "linear": 1, "quadratic": 2}
MOST_LEVELS = 20  # different ratings up to which they count as ordinal categories of a weighted kappa
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
class NonInferiority:
    """Whether a difference is shown to be no worse than the margin given beforehand.

    ``bound``: the lower one-sided bound of the difference. ``met``: whether it lies above -margin, None
    where there is no bound.
    """

    margin: float
    difference: Estimate
    bound: float
    met: bool | None
    method: str


@dataclass(frozen=True)
class AtReader:
    """The model where it is as specific, or as sensitive, as the reader.

    ``sensitivity``: the model's at the reader's specificity; ``sensitivity_difference``: that less the
    reader's sensitivity; the other two are the mirror image.
    """

    sensitivity: Estimate
    sensitivity_difference: Estimate
    specificity: Estimate
    specificity_difference: Estimate


@dataclass(frozen=True)
class FlaggedBy:
    """How many cases both flag, one alone flags, or neither flags."""

    both: int
    model_only: int
    reader_only: int
    neither: int


@dataclass(frozen=True)
class Agreement:
    """Who flags whom, among cases with and without the condition, and kappa over all."""

    events: FlaggedBy
    non_events: FlaggedBy
    kappa: Estimate


@dataclass(frozen=True)
class AtCuts:
    """A model at its threshold less a reader at their cut, on the same cases, and how far they agree."""

    agreement: Agreement
    rates: PairedRates
    ppv: Estimate
    npv: Estimate


@takes_series
def at_cuts(
    outcome: ArrayLike,
    risk: ArrayLike,
    reading: ArrayLike,
    *,
    threshold: float,
    cut: float,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> AtCuts:
    """Whom the model and the reader flag at their cuts; every difference is model less reader.

    Parameters
    ----------
    outcome, risk, reading : shape (n,), finite; readings may be ordinal categories as numbers.
    threshold, cut : the model flags where the risk is at least the one, the reader where the reading is
        at least the other; both fixed beforehand.
    group : shape (n,); every interval and test then respects it.

    Raises
    ------
    ValueError
        Where the arrays differ in length or a number is not finite.
    """
    outcome, risk = checked_cases(outcome, risk)
    _, reading = checked_cases(outcome, reading)
    model, reader = flagged(risk, threshold), flagged(reading, cut)
    return AtCuts(
        agreement=Agreement(
            _flagged_by(model[outcome], reader[outcome]),
            _flagged_by(model[~outcome], reader[~outcome]),
            kappa(model, reader, group=group, level=level),
        ),
        rates=mcnemar(
            outcome, risk, reading, threshold_a=threshold, threshold_b=cut, group=group, level=level
        ),
        ppv=_predictive_difference(outcome, model, reader, "flags", group, level),
        npv=_predictive_difference(~outcome, ~model, ~reader, "clears", group, level),
    )


def _flagged_by(model: Bools, reader: Bools) -> FlaggedBy:
    cells = (model & reader, model & ~reader, ~model & reader, ~model & ~reader)
    return FlaggedBy(*(int(np.count_nonzero(cell)) for cell in cells))


def non_inferiority(difference: Estimate, *, margin: float, bound: Estimate | None = None) -> NonInferiority:
    """Whether a difference (new less standard) shows that the new one is worse by less than the margin.

    The lower bound of a two-sided 95 % interval is a one-sided 97.5 % bound: met where it lies above
    -margin. The margin must have been given before the numbers were seen; it is the loss that would still
    be accepted. Piaggio et al. 2012 (CONSORT), doi:10.1001/jama.2012.87802.

    Parameters
    ----------
    difference : with its two-sided interval, such as that of an AUC or of a sensitivity.
    margin : above 0, on the scale of the difference.
    bound : the same difference with the bounds that are to decide; by default its own.
    """
    if not (margin > 0 and np.isfinite(margin)):
        raise ValueError(f"Expected a margin above 0, got {margin}.")
    if np.isnan(difference.low):
        return NonInferiority(margin, difference, np.nan, None, f"no bound: {difference.method}")
    decides = difference if bound is None or np.isnan(bound.low) else bound
    method = f"one-sided {(1 + difference.level) / 2:.1%} bound of: {decides.method}"
    return NonInferiority(margin, difference, decides.low, bool(decides.low > -margin), method)


@takes_series
def at_reader(
    outcome: ArrayLike,
    risk: ArrayLike,
    reading: ArrayLike,
    *,
    cut: float,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> AtReader:
    """The model's sensitivity where it is as specific as the reader, and the mirror image.

    Read off the model's ROC curve, straight between its points. Each resample draws cases, or groups,
    and recomputes the reader's point and the model's curve, so that the interval holds the chance in both.

    Parameters as for ``at_cuts``; ``draws`` and ``seed`` are of the bootstrap.
    """
    outcome, risk = checked_cases(outcome, risk)
    _, reading = checked_cases(outcome, reading)
    if reason := missing_outcome(outcome):
        return AtReader(*[undefined(reason, level=level)] * 4)
    acts = flagged(reading, cut)
    found = _read_off_at(outcome, risk, acts, np.ones((1, len(outcome))))[0]
    blocks = weight_blocks(outcome, group=group, draws=draws, seed=seed)
    drawn = np.concatenate([_read_off_at(outcome, risk, acts, weights) for weights in blocks])
    code = shared_groups(group, len(outcome))
    words = (
        f"percentile bootstrap of both, {draws} draws of {'cases' if code is None else 'groups'}; "
        "covers 83 to 96 % where it says 95 %, least with few events"  # benchmarks/coverage.md
    )
    estimates = (
        percentile_interval(float(v), d, level=level, method=words, groups=effective_groups(code))
        for v, d in zip(found, drawn.T, strict=True)
    )
    return AtReader(*(without_bounds(each, few_groups(code)) for each in estimates))


def _read_off_at(outcome: Bools, risk: Floats, acts: Bools, weights: Floats) -> Floats:
    """The four numbers of ``AtReader`` in each resample, shape (draws, 4)."""
    order = np.argsort(-risk, kind="stable")
    last = np.append(np.flatnonzero(np.diff(risk[order])), len(risk) - 1)
    event, other = weights * outcome, weights * ~outcome
    caught, alarmed = (_cumulated(each[:, order])[:, np.append(0, last + 1)] for each in (event, other))
    sensitivity = event @ acts / event.sum(axis=1)
    specificity = other @ ~acts / other.sum(axis=1)
    alarm = other @ acts / other.sum(axis=1)
    rows = zip(caught / caught[:, -1:], alarmed / alarmed[:, -1:], sensitivity, alarm, strict=True)
    # np.interp takes the last of equal abscissae: of a vertical step of the curve its better end.
    read = np.array([(np.interp(a, x, y), 1 - np.interp(-s, -y[::-1], x[::-1])) for y, x, s, a in rows])
    return np.column_stack([read[:, 0], read[:, 0] - sensitivity, read[:, 1], read[:, 1] - specificity])


def _cumulated(weights: Floats) -> Floats:
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)


@takes_series
def kappa(
    first: ArrayLike,
    second: ArrayLike,
    *,
    weights: str = "none",
    categories: ArrayLike | None = None,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """How far two readers agree beyond chance: 1 is perfect agreement, 0 what chance alone would give.

    Parameters
    ----------
    first, second : shape (n,), flags or ordinal categories as numbers.
    weights : "none" counts agreement only; "linear" and "quadratic" give part of it to near categories.
    categories : all categories in order; None takes those seen. It matters for weights alone.
    group : shape (n,); with groups of several cases the variance is that between groups.

    Notes
    -----
    Cohen 1968, doi:10.1037/h0026256; large-sample variance of Fleiss, Cohen and Everitt 1969,
    doi:10.1037/h0028106. Kappa falls where one category is rare, at the same share of agreement.
    """
    if weights not in KAPPA_WEIGHTS:
        raise ValueError(f"Expected weights none, linear or quadratic, got {weights!r}.")
    first, second, seen = _categorised(first, second, categories)
    if not len(first):
        return undefined("no cases", level=level)
    agreed = _agreement_weights(seen, KAPPA_WEIGHTS[weights])
    share = np.zeros((seen, seen))
    np.add.at(share, (first, second), 1 / len(first))
    row, column = agreed @ share.sum(axis=0), share.sum(axis=1) @ agreed
    observed, expected = float((agreed * share).sum()), float(share.sum(axis=1) @ row)
    if 1 - expected < 1e-12:
        return undefined("kappa is undefined: both give one and the same category throughout", level=level)
    value = (observed - expected) / (1 - expected)
    words = "kappa, large-sample" if weights == "none" else f"kappa, {weights} weights, large-sample"
    # How far each case moves kappa: summed in square, Fleiss, Cohen and Everitt's variance.
    moved = agreed[first, second] * (1 - expected) - (row[first] + column[second]) * (1 - observed)
    moved -= observed * expected - 2 * expected + observed
    return _wald(value, moved / (1 - expected) ** 2 / len(first), group, level, words)


def ordinal_levels(ratings: ArrayLike) -> Floats | None:
    """The categories of ordinal ratings in order, shape (k,); None where there are more than 20.

    Of whole numbers, those between the lowest and the highest that nobody gave are categories too: they
    hold the others apart.
    """
    seen = np.unique(finite(ratings, "rating"))
    if len(seen) and (seen == np.round(seen)).all() and np.ptp(seen) < MOST_LEVELS:
        return np.arange(seen[0], seen[-1] + 1)
    return seen if len(seen) <= MOST_LEVELS else None


def _categorised(
    first: ArrayLike, second: ArrayLike, categories: ArrayLike | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    first, second = finite(first, "rating"), finite(second, "rating")
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"Expected two ratings per case, got {first.shape} and {second.shape}.")
    both = np.concatenate([first, second])
    known = np.unique(both) if categories is None else np.asarray(categories, dtype=np.float64)
    strange = both[~np.isin(both, known)]
    if len(strange):
        raise ValueError(f"Expected ratings among the categories given, got {strange[0]:g}.")
    place = np.argmax(both[:, None] == known[None, :], axis=1) if len(both) else np.zeros(0, np.intp)
    return place[: len(first)], place[len(first) :], len(known)


def _agreement_weights(categories: int, exponent: int) -> Floats:
    apart = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories)))
    if not exponent:
        return (apart == 0).astype(np.float64)
    return 1 - (apart / max(1, categories - 1)) ** exponent


def _predictive_difference(
    outcome: Bools, model: Bools, reader: Bools, does: str, group: ArrayLike | None, level: float
) -> Estimate:
    """PPV of model less reader, by the delta method (Wang et al. 2006, doi:10.1002/sim.2332)."""
    idle = [who for who, acts in (("model", model), ("reader", reader)) if not acts.any()]
    if idle:
        return undefined(f"the {' and the '.join(idle)} {does} no case", level=level)
    values = [float(outcome[acts].mean()) for acts in (model, reader)]
    moved = sum(
        sign * acts * (outcome - value) / np.count_nonzero(acts)
        for sign, acts, value in zip((1, -1), (model, reader), values, strict=True)
    )
    return _wald(values[0] - values[1], np.asarray(moved), group, level, "predictive values, delta method")


def _wald(value: float, moved: Floats, group: ArrayLike | None, level: float, words: str) -> Estimate:
    """A value and the interval from how far each case moves it, summed over the cases of a group."""
    code = shared_groups(group, len(moved))
    if few := few_groups(code):
        return Estimate(value, np.nan, np.nan, level, few)
    by_unit = moved if code is None else np.bincount(code, weights=moved)
    units = len(by_unit)
    variance = float(by_unit @ by_unit) * (1 if code is None else units / (units - 1))
    if variance < 1e-14 or units < 2:
        return Estimate(
            value, np.nan, np.nan, level, f"no interval: no spread between cases or groups ({words})"
        )
    reach = quantile_by_group(level, effective_groups(code)) * np.sqrt(variance)
    words += "" if code is None else f", variance between {units} groups, Student's t"
    return Estimate(value, float(value - reach), float(value + reach), level, words)


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
    strategies: Collection[str] = tuple(STRATEGIES),
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
    strategies : the ways wanted, of ``STRATEGIES``.

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
    few = few_groups(shared_groups(group, len(outcome)))
    setting = _Setting(
        outcome, group_codes(group, len(outcome)), group is not None, few, at, level, acting_threshold
    )
    model, reader = flagged(risk, threshold), flagged(reading, cut)
    ways = _ways(
        model, reader, None if category is None else true_or_false(category, "category", len(outcome))
    )
    return tuple(
        _joined(name, threshold, cut, reader, way, setting)
        for name, way in ways.items()
        if name in strategies
    )


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
    strategies: Collection[str] = tuple(STRATEGIES),
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
        strategies=strategies,
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
    inside = true_or_false(category, "category", len(outcome))
    code, few = group_codes(group, len(outcome))[inside], few_groups(shared_groups(group, len(outcome)))
    cleared, event = ~flagged(risk[inside], threshold), outcome[inside]
    spared, missed = (
        without_bounds(grouped_rate(cleared & side, code, level=level), few) for side in (~event, event)
    )
    return WithinCategory(len(event), int(event.sum()), _times(spared, 100), _times(missed, 100))


@dataclass(frozen=True)
class _Setting:
    """What every number of a joint reading needs besides the decisions."""

    outcome: Bools
    code: np.ndarray
    grouped: bool
    few: str
    prevalence: float
    level: float
    acting_threshold: float | None

    def rate(self, which: Bools, side: Bools) -> Estimate:
        """The share of the cases of a side, its value alone where groups are too few for an interval."""
        return without_bounds(grouped_rate(which[side], self.code[side], level=self.level), self.few)


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
        return _times(setting.rate(which, side), 1000 * share)

    def if_settled(found: Estimate) -> Estimate:
        return undefined("left open: it depends on the other reader", level=level) if refers else found

    return JointReading(
        strategy,
        float(threshold),
        float(cut),
        setting.prevalence,
        sensitivity=if_settled(setting.rate(final, outcome)),
        specificity=if_settled(setting.rate(~final, ~outcome)),
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
    one, two = (setting.rate(which, side) for side in (outcome, ~outcome))
    value = weights[0] * one.value + weights[1] * two.value
    if setting.few:
        return Estimate(value, np.nan, np.nan, level, setting.few)
    sums = [_deviations(which, side, code) for side in (outcome, ~outcome)]
    shared = correlation_through_groups(*sums)
    low, high = square_and_add(one, two, weights=weights, correlation=shared)
    method = f"MOVER of Wilson's intervals at prevalence {setting.prevalence:.3g}"
    return Estimate(value, low, high, level, method + (", by group" if setting.grouped else ""))


def _deviations(which: Bools, side: Bools, code: np.ndarray) -> Floats:
    return np.bincount(code[side], which[side] - which[side].mean(), int(code.max()) + 1).astype(np.float64)


def _net_benefit(final: Bools, setting: _Setting) -> Estimate:
    if setting.acting_threshold is None:
        return undefined("no threshold to act at was given", level=setting.level)
    odds = setting.acting_threshold / (1 - setting.acting_threshold)
    return _weighted(final, setting, cost=-odds)


def _times(found: Estimate, factor: float) -> Estimate:
    return Estimate(found.value * factor, found.low * factor, found.high * factor, found.level, found.method)


def _plus(found: Estimate, amount: float) -> Estimate:
    return Estimate(found.value + amount, found.low + amount, found.high + amount, found.level, found.method)
