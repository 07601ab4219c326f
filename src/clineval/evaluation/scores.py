"""Scores of a model on one population: ranking, calibration, spread, adequacy; and of two models compared."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from clineval.evaluation.operating_points import points_for, score_point
from clineval.evaluation.populations import Cases, Population
from clineval.evaluation.records import (
    Adequacy,
    DecisionArrays,
    GroupScores,
    ModelComparison,
    Point,
    PointComparison,
    PopulationScores,
    Scale,
    Spread,
)
from clineval.predictions import MEMBER_COLUMNS, OUT_OF_FOLD, VAL, encode, ranked_by
from clineval.statistics import calibration, roc, sample_size
from clineval.statistics.auc import auc_design_effect
from clineval.statistics.calibration import CalibrationErrors
from clineval.statistics.counts import group_codes
from clineval.statistics.decision_curve import compare_decision_curves, decision_curve
from clineval.statistics.differences import compare_brier, mcnemar
from clineval.statistics.intervals import FEWEST_GROUPS, Estimate, few_groups, undefined, without_bounds
from clineval.statistics.scores import brier, log_loss, murphy_decomposition, scaled_brier

MEASURES = {"auc": roc.auc, "brier": brier}
"""What is followed from member to member: one measure of ranking and one of the risks themselves."""

MANY_A_GROUP = 10
"""Cases a group from which its column is suspected not to name patients."""

RESPECTED = "every confidence interval respects them."
"""How a note ends that is no limit: cases of one group are resampled together."""

NO_PROBABILITIES = (
    "scores that are no probabilities rank cases and say nothing of how likely the condition is"
)

PROBABILITY_MEASURES = (
    *("brier", "scaled_brier", "log_loss", "calibration_intercept", "calibration_slope"),
    *("observed_expected", "ici", "e50", "e90"),
)
"""What needs probabilities; not given for scores that rank and no more."""

_SD = "spread over trained members, not an interval over cases; sample standard deviation"
_FOLDS = "; each member is scored on its own cases, so the spread holds their differences too"


def spread_of(members: pd.DataFrame, *, population: str) -> tuple[Spread, ...]:
    """The spread of each measure over the members of one model on one population.

    Parameters
    ----------
    members : rows of one model and population with ``seed`` and/or ``fold`` beside outcome and risk.
    population : its name; out-of-fold rows are kept apart, for there members see different cases.

    Returns
    -------
    A Spread per measure; none where there are fewer than two members.
    """
    over, codes, names = _member_codes(members)
    if len(names) < 2:
        return ()
    parts = _parts(members, codes, len(names))
    words = _SD + (_FOLDS if population == OUT_OF_FOLD else "")
    followed = MEASURES if ranked_by(members) == "risk" else ("auc",)
    return tuple(_spread(measure, over, names, parts, words) for measure in followed)


def _member_codes(members: pd.DataFrame) -> tuple[str, NDArray[np.int64], tuple[str, ...]]:
    """What tells the members apart (``seed``, ``fold`` or both), each row's member, the members' names."""
    there = [name for name in MEMBER_COLUMNS if name in members]
    varying = [name for name in there if members[name].nunique() > 1] or there[:1]
    keys = pd.MultiIndex.from_arrays([members[name].astype(str) for name in varying])
    codes, values = pd.factorize(keys)
    names = tuple(
        ", ".join(f"{column} {part}" for column, part in zip(varying, value, strict=True)) for value in values
    )
    return " and ".join(varying), codes, names


def _parts(members: pd.DataFrame, codes: NDArray[np.int64], number: int) -> list[tuple[NDArray, NDArray]]:
    outcome, risk = members["outcome"].to_numpy(), members[ranked_by(members)].to_numpy()
    return [(outcome[codes == code], risk[codes == code]) for code in range(number)]


def _spread(
    measure: str, over: str, names: tuple[str, ...], parts: list[tuple[NDArray, NDArray]], words: str
) -> Spread:
    values = np.array([MEASURES[measure](outcome, risk).value for outcome, risk in parts])
    known = values[~np.isnan(values)]
    if len(known) < len(values):
        words += f"; undefined for {len(values) - len(known)} of {len(values)} members"
    mean, sd, lowest, highest = _summary(known)
    return Spread(measure, over, names, tuple(values.tolist()), mean, sd, lowest, highest, words)


def _summary(values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Mean, sample standard deviation, lowest and highest; NaN of fewer than two values."""
    if len(values) < 2:
        return np.nan, np.nan, np.nan, np.nan
    return float(values.mean()), float(values.std(ddof=1)), float(values.min()), float(values.max())


def members_by_population(
    members: pd.DataFrame, clean: frozenset[str] | None
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Model, population and rows of a table of members; ``clean`` are the cases of ``test_clean``."""
    model, models = encode(members["model"])
    split, splits = encode(members["split"])
    for m, model_name in enumerate(models):
        for s, split_name in enumerate(splits):
            rows = members[(model == m) & (split == s)]
            if len(rows):
                yield model_name, split_name, rows
                if split_name == "test" and clean is not None:
                    yield model_name, "test_clean", rows[rows["case"].isin(clean)]


def adequacy_of(cases: Cases, measures: Mapping[str, Estimate], scale: Scale) -> Adequacy | None:
    """The sentence for the report and the numbers behind it; None where one class is absent.

    Where cases come in groups each number of cases is multiplied by the design effect of its measure.
    """
    events = int(cases.outcome.sum())
    others = len(cases) - events
    if not events or not others:
        return None
    level, auc = scale.level, measures["auc"].value
    effect = auc_design_effect(cases.outcome, cases.risk, group=cases.group)
    worth = events / effect, others / effect
    known, inner = min(worth) >= 1, 0 < auc < 1
    expected = sample_size.auc_precision(auc, *worth, level=level) if known else None
    return Adequacy(
        sentence=sample_size.sentence(auc, events, others, design_effect=effect, level=level)
        if known
        else "Groups are too few or too alike to say what these cases can show.",
        auc_half_width=math.nan if expected is None else (expected.high - expected.low) / 2,
        smallest_detectable_difference=(
            sample_size.smallest_detectable_difference(auc, *worth, level=level)
            if known and inner
            else math.nan
        ),
        cases_for_auc_width_10=_whole(_cases_for_auc(auc, events / len(cases), level) * effect),
        cases_for_slope_width_40=_whole(_cases_for_slope(cases, measures, level)),
        cases_for_observed_expected_width_20=_whole(_cases_for_level(cases, measures, level)),
    )


def _effect(cases: Cases, measures: Mapping[str, Estimate], name: str) -> float:
    """The design effect of a measure: the square of how much wider groups make its interval, at least 1."""
    if cases.group is None:
        return 1.0
    alone = getattr(calibration, name)(cases.outcome, cases.risk, level=measures[name].level)
    widths = (each.high - each.low for each in (measures[name], alone))
    grouped, plain = widths
    return max(1.0, (grouped / plain) ** 2) if plain > 0 else math.nan


def _whole(cases: float) -> float:
    return cases if math.isnan(cases) else float(math.ceil(cases - 1e-9))


def _cases_for_auc(auc: float, prevalence: float, level: float) -> float:
    """Cases for an interval of width .10 around an AUC like this one; NaN below .5 and at 1."""
    if not 0.5 < auc < 1:
        return math.nan
    return sample_size.sample_size_for_auc(auc, prevalence, width=0.1, level=level).cases


def _cases_for_slope(cases: Cases, measures: Mapping[str, Estimate], level: float) -> float:
    """Cases for a slope's interval of width .40 with risks like these; NaN where none or all are equal."""
    if cases.ranking:
        return math.nan
    try:
        alone = sample_size.sample_size_for_slope(cases.risk, width=0.4, level=level).cases
    except ValueError:
        return math.nan
    return alone * _effect(cases, measures, "calibration_slope")


def _cases_for_level(cases: Cases, measures: Mapping[str, Estimate], level: float) -> float:
    """Cases for an interval of observed/expected of width .20; NaN where there are no risks."""
    if cases.ranking:
        return math.nan
    share = float(cases.outcome.mean())
    alone = sample_size.sample_size_for_observed_expected(share, level=level).cases
    return alone * _effect(cases, measures, "observed_expected")


def ranked_by_group(parts: Iterable[Population], scale: Scale) -> dict[str, dict[str, GroupScores]]:
    """Every model's ranking of patients in every population kept for testing whose cases come in groups."""
    return {
        part.name: {
            model: _of_groups(cases, scale) for model, cases in part.models.items() if cases.group is not None
        }
        for part in parts
        if not part.used_for and any(cases.group is not None for cases in part.models.values())
    }


def _of_groups(cases: Cases, scale: Scale) -> GroupScores:
    code = group_codes(cases.group, len(cases))
    sizes = np.bincount(code)
    events = np.bincount(code, weights=cases.outcome)
    with np.errstate(invalid="ignore"):  # a mean of risks of 0 and 1 is none
        ranks = np.bincount(code, weights=cases.risk if cases.ranking else logit(cases.risk)) / sizes
    known = ~np.isnan(ranks)
    auc = (
        roc.auc_logit(events > 0, ranks if cases.ranking else expit(ranks), level=scale.level)
        if known.all()
        else undefined("a patient has risks of exactly 0 and of exactly 1", level=scale.level)
    )
    mixed = int(((events > 0) & (events < sizes)).sum())
    return GroupScores(len(sizes), int((events > 0).sum()), mixed, without_bounds(auc, few_groups(code)))


def score(population: Population, model: str, points: tuple[Point, ...], scale: Scale) -> PopulationScores:
    """Everything about one model on one population but subgroups and spread.

    ``points`` are the thresholds that may be scored there, see ``points_for``.
    """
    cases, name = population.models[model], population.name
    # A net benefit or a rate at a given rate belongs to a threshold, of which `val` is given none.
    decided = name != VAL
    if cases.ranking:
        return _ranked(population, cases, points, scale, decided=decided)
    smooth = calibration.smoothed_calibration(cases.outcome, cases.risk, group=cases.group, **vars(scale))
    measures = threshold_free(cases, scale, smooth.errors) | (read_off(cases, scale) if decided else {})
    return PopulationScores(
        cases=len(cases),
        events=int(cases.outcome.sum()),
        groups=cases.groups,
        used_for=population.used_for,
        measures=measures,
        operating_points=tuple(score_point(cases, point, population=name, scale=scale) for point in points),
        decision_curve=_decision(cases, scale) if decided else None,
        calibration_curve=smooth.curve if cases.outcome.any() and not cases.outcome.all() else None,
        adequacy=None if population.used_for else adequacy_of(cases, measures, scale),
        removed=population.removed,
        brier_parts=_brier_parts(cases),
        notes=(*_notes(cases), *_reversal(measures["auc_logit"])),
    )


def _ranked(
    population: Population, cases: Cases, points: tuple[Point, ...], scale: Scale, *, decided: bool
) -> PopulationScores:
    """Everything about a model whose scores are no probabilities: how it ranks, and the given thresholds."""
    measures = dict.fromkeys(PROBABILITY_MEASURES, undefined(NO_PROBABILITIES, level=scale.level))
    measures |= discrimination(cases, scale) | (read_off(cases, scale) if decided else {})
    return PopulationScores(
        cases=len(cases),
        events=int(cases.outcome.sum()),
        groups=cases.groups,
        used_for=population.used_for,
        measures=measures,
        operating_points=tuple(
            score_point(cases, point, population=population.name, scale=scale) for point in points
        ),
        adequacy=None if population.used_for else adequacy_of(cases, measures, scale),
        removed=population.removed,
        notes=(*_notes(cases), *_reversal(measures["auc_logit"])),
    )


def discrimination(cases: Cases, scale: Scale) -> dict[str, Estimate]:
    """The measures of ranking with their intervals: any score serves."""
    data = (cases.outcome, cases.risk)
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    drawn: dict[str, Any] = {"group": cases.group, **vars(scale)}
    return {
        "auc": roc.auc(*data, **plain),
        "auc_logit": roc.auc_logit(*data, **plain),
        "average_precision": roc.average_precision(*data, **drawn),
        "partial_auc": roc.partial_auc(*data, over="sensitivity", low=0.8, **drawn),
    }


def threshold_free(cases: Cases, scale: Scale, errors: CalibrationErrors) -> dict[str, Estimate]:
    """Discrimination and calibration with their intervals, keyed as in ``evaluation.json``."""
    data = (cases.outcome, cases.risk)
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    return {
        **discrimination(cases, scale),
        "brier": brier(*data, **plain),
        "scaled_brier": scaled_brier(*data, **plain),
        "log_loss": log_loss(*data, **plain),
        "calibration_intercept": calibration.calibration_intercept(*data, **plain),
        "calibration_slope": calibration.calibration_slope(*data, **plain),
        "observed_expected": calibration.observed_expected(*data, **plain),
        "ici": errors.ici,
        "e50": errors.e50,
        "e90": errors.e90,
    }


def read_off(cases: Cases, scale: Scale) -> dict[str, Estimate]:
    """One rate where the other is .90 on the cases' own curve: flattered, since they choose the threshold."""
    data = (cases.outcome, cases.risk, 0.9)
    drawn: dict[str, Any] = {"group": cases.group, **vars(scale)}
    return {
        "sensitivity_at_specificity_90": roc.sensitivity_at_specificity(*data, **drawn),
        "specificity_at_sensitivity_90": roc.specificity_at_sensitivity(*data, **drawn),
    }


def _brier_parts(cases: Cases) -> dict[str, float]:
    parts = asdict(murphy_decomposition(cases.outcome, cases.risk))
    return {name: parts[name] for name in parts if name not in ("brier", "bins")}


def _notes(cases: Cases) -> tuple[str, ...]:
    if cases.group is None:
        return ()
    if cases.groups < FEWEST_GROUPS:
        return (f"{_belonging(cases)}: too few for any confidence interval.",)
    return (f"{_belonging(cases)}: {RESPECTED}",)


def _reversal(auc: Estimate) -> Iterator[str]:
    """A sentence where the risks rank the wrong way round beyond chance."""
    if auc.high < 0.5:
        yield (
            f"AUC {auc.value:.2f}, its confidence interval below 0.5: it ranks the wrong way round. Does a "
            "high risk mean the condition, or the other class? Nothing was flipped."
        )


def _belonging(cases: Cases) -> str:
    return f"{len(cases)} cases belong to {cases.groups} group{'' if cases.groups == 1 else 's'}"


def group_warnings(parts: Iterable[Population]) -> Iterator[str]:
    """Of each population kept for testing whose groups are too few, or so few that they are no patients."""
    for part in parts:
        cases = next(iter(part.models.values()))
        if part.used_for or cases.group is None:
            continue
        belong = f"{part.name}: {_belonging(cases)}"
        if cases.groups < FEWEST_GROUPS:
            yield (
                f"{belong}, fewer than {FEWEST_GROUPS}: no confidence interval is given. If the column does "
                "not name patients, leave it out."
            )
        elif cases.groups < len(cases) / MANY_A_GROUP:
            yield (
                f"{belong}, fewer than a tenth of the cases. If the column does not name patients, the "
                "confidence intervals are too wide; leave it out."
            )


def constant_warnings(parts: Iterable[Population]) -> Iterator[str]:
    """Of each population kept for testing the models that give all its cases one risk."""
    for part in parts:
        for model, cases in part.models.items():
            if not part.used_for and len(cases) > 1 and np.ptp(cases.risk) == 0:
                what = "score" if cases.ranking else "risk"
                yield (
                    f"{part.name}: the {what} by {model} is constant, {cases.risk[0]:g} in all {len(cases)} "
                    "cases, so that it ranks none above another. Look whether the right column was read, or "
                    "whether the model sees the images as it was trained to."
                )


def _decision(cases: Cases, scale: Scale) -> DecisionArrays:
    curve = decision_curve(
        cases.outcome, cases.risk, group=cases.group, draws=scale.draws, seed=scale.seed, level=scale.level
    )
    return DecisionArrays(
        curve.threshold,
        curve.net_benefit,
        curve.low,
        curve.high,
        curve.treat_all,
        curve.gain,
        curve.gain_low,
        curve.gain_high,
        curve.method,
    )


def compare(population: Population, scale: Scale, *, primary: str | None = None) -> Iterator[ModelComparison]:
    """Paired differences in AUC and Brier score of every two models, the first minus the second."""
    for first, second, one, other in population.pairs(primary):
        measured = {"auc": roc.compare_auc} | ({} if one.ranking else {"brier": compare_brier})
        for measure, difference in measured.items():
            result = difference(one.outcome, one.risk, other.risk, group=one.group, level=scale.level)
            yield ModelComparison(
                measure,
                population.name,
                (first, second),
                result.difference,
                result.statistic,
                result.p_value,
                result.method,
            )


def compare_points(
    population: Population,
    points: Mapping[str, tuple[Point, ...]],
    scale: Scale,
    *,
    primary: str | None = None,
) -> Iterator[PointComparison]:
    """Every two models at their thresholds of one name, on the same cases."""
    for first, second, one, other in population.pairs(primary):
        mine, theirs = (points_for(population.name, points[model]) for model in (first, second))
        for a, b in _matched(mine, theirs):
            yield _at_points((first, second), one, other, a, b, population=population.name, scale=scale)


def _matched(mine: tuple[Point, ...], theirs: tuple[Point, ...]) -> Iterator[tuple[Point, Point]]:
    """Points of one name in their order, where both models have a threshold."""
    for a in mine:
        if math.isnan(a.threshold):
            continue
        for b in theirs:
            if (
                a.name == b.name
                and (a.name != "given" or a.threshold == b.threshold)
                and not math.isnan(b.threshold)
            ):
                yield a, b
                break


def _at_points(
    models: tuple[str, str], one: Cases, other: Cases, a: Point, b: Point, *, population: str, scale: Scale
) -> PointComparison:
    rates = mcnemar(
        one.outcome,
        one.risk,
        other.risk,
        threshold_a=a.threshold,
        threshold_b=b.threshold,
        group=one.group,
        level=scale.level,
    )
    both = {"sensitivity": rates.sensitivity, "specificity": rates.specificity}
    return PointComparison(
        a.name,
        population,
        models,
        (a.threshold, b.threshold),
        {**{name: rate.difference for name, rate in both.items()}, **_net_benefit(one, other, a, b, scale)},
        {name: rate.p_value for name, rate in both.items()},
        {
            "events_first_only": rates.sensitivity.only_a,
            "events_second_only": rates.sensitivity.only_b,
            "non_events_first_only": rates.specificity.only_a,
            "non_events_second_only": rates.specificity.only_b,
        },
        rates.sensitivity.method,
    )


def _net_benefit(one: Cases, other: Cases, a: Point, b: Point, scale: Scale) -> dict[str, Estimate]:
    """Difference in net benefit, given only where both act at one threshold: it fixes what an error costs."""
    if one.ranking or a.threshold != b.threshold or not 0 < a.threshold < 1:
        return {}
    compared = compare_decision_curves(
        one.outcome,
        one.risk,
        other.risk,
        thresholds=[a.threshold],
        group=one.group,
        draws=scale.draws,
        seed=scale.seed,
        level=scale.level,
    )
    return {
        "net_benefit": Estimate(
            float(compared.difference[0]),
            float(compared.low[0]),
            float(compared.high[0]),
            scale.level,
            compared.method,
        )
    }
