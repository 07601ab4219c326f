"""An external cohort: what a frozen model loses there, what recalibration gains, what pictures alone say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from clineval.evaluation.populations import Cases, populations
from clineval.evaluation.records import Point, Scale
from clineval.files import to_plain
from clineval.settings import EvaluationSettings
from clineval.statistics import calibration
from clineval.statistics.auc import auc_logit, compare_auc, compare_auc_unpaired
from clineval.statistics.counts import Bools, Floats, checked_risks, takes_series
from clineval.statistics.differences import compare_brier, compare_log_loss
from clineval.statistics.intervals import (
    Estimate,
    effective_groups,
    few_groups,
    percentile_interval,
    resampling_units,
    shared_groups,
    square_and_add,
    undefined,
    without_bounds,
)
from clineval.statistics.operating_point import operating_point
from clineval.statistics.recalibration import fit_intercept, fit_platt
from clineval.statistics.scores import brier
from clineval.statistics.updating import grouped_folds

INTERNAL = ("test", "test_clean")  # populations of the run that an external one is set beside
FOLDS = 5  # grouped folds of the external cohort: a repair is fitted on four and judged on the fifth
MEASURES = ("calibration_intercept", "calibration_slope", "observed_expected", "ici", "brier")
RATES = ("sensitivity", "specificity")
BINS = 20  # of the distribution of risks


@dataclass(frozen=True)
class Mix:
    """How a model sees a population.

    Attributes
    ----------
    prevalence, mean_risk : 0 to 1.
    mean_log_odds, sd_log_odds : of the risks that have log odds; a smaller spread is a harder mix of cases.
    expected_auc : the AUC if the risks were calibrated: it differs between populations by case mix alone.
        Van Klaveren et al. 2016, doi:10.1002/sim.6997.
    risks : cases per twentieth of the scale from 0 to 1.
    """

    cases: int
    events: int
    groups: int
    prevalence: float
    mean_risk: float
    mean_log_odds: float
    sd_log_odds: float
    expected_auc: float
    risks: tuple[int, ...]


@dataclass(frozen=True)
class Drop:
    """The internal AUC and the external one less it, unpaired; below 0 the model ranks worse externally."""

    population: str
    auc: Estimate
    difference: Estimate
    p_value: float


@dataclass(frozen=True)
class Repair:
    """What a recalibration on the external cohort would improve, judged on cases that it was not fitted on.

    ``reason`` says why there is none; then the mappings are empty. ``changes`` are after less before.
    """

    kind: str
    after: Mapping[str, Estimate] = field(default_factory=dict)
    changes: Mapping[str, Estimate] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class ExternalPoint:
    """A frozen threshold on both cohorts; ``difference`` is external less internal, by rate."""

    point: Point = field(metadata={"inline": ("name", "threshold", "chosen_on")})
    internal: Mapping[str, Estimate]
    external: Mapping[str, Estimate]
    difference: Mapping[str, Estimate]


@dataclass(frozen=True)
class ExternalComparison:
    """One model on both cohorts; ``calibration`` maps a measure to its Estimates on both."""

    external_auc: Estimate
    drops: tuple[Drop, ...]
    mix: Mapping[str, Mix]
    calibration: Mapping[str, Mapping[str, Estimate]]
    repairs: tuple[Repair, ...]
    points: tuple[ExternalPoint, ...]


def transport(
    internal: pd.DataFrame | None,
    external: pd.DataFrame,
    *,
    points: Mapping[str, tuple[Point, ...]],
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, ExternalComparison]:
    """Every model of an external table beside itself on the test cases of the run that it comes from.

    Parameters
    ----------
    internal, external : tables as ``check_predictions`` gives them; the second has one population. Internal
        is None for a model without a run.
    points : the frozen thresholds of each model.
    level, draws, seed : of the intervals and the bootstrap; the seed also draws the folds of the repairs.
    """
    parts = () if internal is None else populations(internal)
    tested = {part.name: part.models for part in parts if part.name in INTERNAL}
    (whole,) = populations(external)
    found = {}
    for model, cases in whole.models.items():
        own = {name: models[model] for name, models in tested.items() if model in models}
        found[model] = _compared(own, cases, points[model], Scale(level, draws, seed))
    return found


def _compared(
    internal: Mapping[str, Cases], cases: Cases, points: tuple[Point, ...], scale: Scale
) -> ExternalComparison:
    first = next(iter(internal.values()), None)
    both = {"external": cases} if first is None else {"internal": first, "external": cases}
    measured = {where: _calibration(each, scale) for where, each in both.items()}
    return ExternalComparison(
        external_auc=auc_logit(cases.outcome, cases.risk, group=cases.group, level=scale.level),
        drops=tuple(_drop(name, each, cases, scale) for name, each in internal.items()),
        mix={where: _mix(each) for where, each in {**internal, "external": cases}.items()},
        calibration={name: {where: each[name] for where, each in measured.items()} for name in MEASURES},
        repairs=tuple(_repairs(cases, scale)),
        points=() if first is None else tuple(_points(first, cases, points, scale)),
    )


def _drop(name: str, internal: Cases, cases: Cases, scale: Scale) -> Drop:
    compared = compare_auc_unpaired(
        cases.outcome,
        cases.risk,
        internal.outcome,
        internal.risk,
        group_a=cases.group,
        group_b=internal.group,
        level=scale.level,
    )
    auc = auc_logit(internal.outcome, internal.risk, group=internal.group, level=scale.level)
    return Drop(name, auc, compared.difference, compared.p_value)


def _mix(cases: Cases) -> Mix:
    inner = (cases.risk > 0) & (cases.risk < 1)
    log_odds = logit(cases.risk[inner])
    return Mix(
        len(cases),
        int(cases.outcome.sum()),
        cases.groups,
        float(cases.outcome.mean()),
        float(cases.risk.mean()),
        float(log_odds.mean()) if len(log_odds) else np.nan,
        float(log_odds.std(ddof=1)) if len(log_odds) > 1 else np.nan,
        expected_auc(cases.risk),
        tuple(np.histogram(cases.risk, bins=BINS, range=(0, 1))[0].tolist()),
    )


def expected_auc(risk: Floats) -> float:
    """The AUC if the risks were calibrated: NaN where all are 0 or all are 1.

    Over all pairs of cases i and j, the share of risk[i] * (1 - risk[j]) in which risk[i] is the higher one,
    ties counting half.
    """
    values, place = np.unique(risk, return_inverse=True)
    present = np.bincount(place, weights=risk)
    absent = np.bincount(place, weights=1 - risk)
    below = np.cumsum(absent) - absent
    # A case is not paired with itself; its own share is a tie.
    own = float((risk * (1 - risk)).sum())
    pairs = float(present.sum() * absent.sum()) - own
    right = float((present * (below + absent / 2)).sum()) - own / 2
    return right / pairs if pairs > 0 and len(values) > 0 else np.nan


def _calibration(cases: Cases, scale: Scale) -> dict[str, Estimate]:
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    data = (cases.outcome, cases.risk)
    return {
        "calibration_intercept": calibration.calibration_intercept(*data, **plain),
        "calibration_slope": calibration.calibration_slope(*data, **plain),
        "observed_expected": calibration.observed_expected(*data, **plain),
        "brier": brier(*data, **plain),
        "ici": calibration.ici(*data, **plain, draws=scale.draws, seed=scale.seed),
    }


def _repairs(cases: Cases, scale: Scale) -> Iterator[Repair]:
    for kind, fit in (("intercept", fit_intercept), ("intercept and slope", fit_platt)):
        recalibrated = np.empty_like(cases.risk)
        fold = grouped_folds(cases.outcome, cases.group, folds=FOLDS, seed=scale.seed)
        try:
            for number in range(FOLDS):
                inside, left_out = fold != number, fold == number
                fitted = fit(cases.outcome[inside], cases.risk[inside], fitted_on="external")
                recalibrated[left_out] = fitted.apply(cases.risk[left_out])
        except ValueError as error:  # the statistic's own word that there is nothing to fit
            yield Repair(kind, reason=str(error))
            continue
        after = replace(cases, risk=recalibrated)
        paired: dict[str, Any] = {"group": cases.group, "level": scale.level}
        changes = {
            "brier": compare_brier(cases.outcome, recalibrated, cases.risk, **paired).difference,
            "log_loss": compare_log_loss(cases.outcome, recalibrated, cases.risk, **paired).difference,
        }
        yield Repair(kind, _calibration(after, scale), changes)


def _points(
    internal: Cases, cases: Cases, points: tuple[Point, ...], scale: Scale
) -> Iterator[ExternalPoint]:
    for point in points:
        if np.isnan(point.threshold):
            continue
        here, there = (_rates(each, point.threshold, scale.level) for each in (internal, cases))
        gap = {name: rate_difference(there[name], here[name]) for name in RATES}
        yield ExternalPoint(point, here, there, gap)


def _rates(cases: Cases, threshold: float, level: float) -> dict[str, Estimate]:
    scored = operating_point(cases.outcome, cases.risk, threshold, group=cases.group, level=level)
    return {name: getattr(scored, name) for name in RATES}


def rate_difference(first: Estimate, second: Estimate) -> Estimate:
    """Two rates on different cases: the first less the second, its interval from theirs.

    Of two Wilson intervals Newcombe's 1998, method 10,
    doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I; of others, such as those of cases in
    groups, the same step with theirs. Undefined where a rate is, with its reason.
    """
    reason = next((each.method for each in (first, second) if np.isnan(each.value)), "")
    if reason:
        return undefined(reason, level=first.level)
    low, high = square_and_add(first, second)
    methods = dict.fromkeys((first.method, second.method))
    plain = list(methods) == ["Wilson score"]
    words = (
        "Newcombe, from both Wilson intervals" if plain else f"MOVER of both intervals: {'; '.join(methods)}"
    )
    return Estimate(first.value - second.value, low, high, first.level, words)


@dataclass(frozen=True)
class Probes:
    """Quantities of the picture against a model on the same cases.

    ``alone`` maps a quantity to its AUC, below 0.5 where cases with the condition have less of it;
    ``together`` is the AUC of all of them, ``model`` that of the model, ``difference`` the model less the
    quantities, paired, with ``p_value``. ``explained`` is the share of the variance of the model's log
    odds that the quantities predict; at or below 0 they predict none.
    """

    alone: Mapping[str, Estimate]
    together: Estimate
    model: Estimate
    difference: Estimate
    p_value: float
    explained: Estimate


@takes_series
def probe(
    outcome: ArrayLike,
    risk: ArrayLike,
    quantities: Mapping[str, ArrayLike],
    *,
    group: ArrayLike | None = None,
    folds: int = 5,
    repeats: int = 10,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Probes:
    """Whether the picture's border, marks, size or brightness would rank the cases without the tissue.

    Parameters
    ----------
    outcome, risk, group : shape (n,); ``risk`` is the model's.
    quantities : by name, each of shape (n,), finite; at least one.
    folds, repeats : of the cross-fitting over whole groups.
    draws, seed, level : of the bootstrap interval of ``explained``, which draws whole groups.

    Notes
    -----
    Together: a linear regression of the outcome on all quantities, which is Fisher's discriminant (1936,
    doi:10.1111/j.1469-1809.1936.tb02137.x), fitted on all folds but one and applied to that one; a case has
    the mean over the repeats. Explained: 1 - sum of squared errors / sum of squares of the log odds about
    their mean, predicted in the same way; risks of 0 and 1 are left out.
    """
    outcome, risk = checked_risks(outcome, risk)
    columns = np.column_stack([np.asarray(each, dtype=np.float64) for each in quantities.values()])
    if not np.isfinite(columns).all():
        raise ValueError("Expected finite quantities.")
    parts = [grouped_folds(outcome, group, folds=folds, seed=(seed, repeat)) for repeat in range(repeats)]
    score = _cross_fitted(columns, outcome.astype(np.float64), parts)
    compared = compare_auc(outcome, risk, score, group=group, level=level)
    return Probes(
        alone={
            name: auc_logit(outcome, column, group=group, level=level)
            for name, column in zip(quantities, columns.T, strict=True)
        },
        together=auc_logit(outcome, score, group=group, level=level),
        model=auc_logit(outcome, risk, group=group, level=level),
        difference=compared.difference,
        p_value=compared.p_value,
        explained=_explained(outcome, risk, columns, parts, group, draws, seed, level),
    )


def probes_record(
    outcome: ArrayLike,
    risk: ArrayLike,
    quantities: Mapping[str, NDArray[np.float64]],
    *,
    group: ArrayLike,
    model: str,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """The quantities of some pictures beside a model, as plain values; those that are constant are named."""
    differing = {name: values for name, values in quantities.items() if np.ptp(values) > 0}
    constant = [name for name in quantities if name not in differing]
    if not differing:
        return {"model": model, "constant": constant}
    found = probe(
        outcome,
        risk,
        differing,
        group=group,
        draws=settings.draws,
        seed=settings.seed,
        level=settings.level,
    )
    record = to_plain(found)
    return {**record, "model": model, "model_auc": record["model"], "constant": constant}


def _cross_fitted(columns: Floats, wanted: Floats, parts: list[NDArray[np.intp]]) -> Floats:
    """Each case's prediction by regressions that did not see it, shape (n,), the mean over the repeats."""
    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    # The scale of a quantity changes no prediction, it only keeps the regression well-conditioned.
    design = np.column_stack([np.ones(len(columns)), (columns - centre) / np.where(spread > 0, spread, 1)])
    found = np.zeros((len(parts), len(columns)))
    for row, fold in zip(found, parts, strict=True):
        for number in range(int(fold.max()) + 1):
            out = fold == number
            row[out] = design[out] @ np.linalg.lstsq(design[~out], wanted[~out], rcond=None)[0]
    return found.mean(axis=0)


def _explained(
    outcome: Bools,
    risk: Floats,
    columns: Floats,
    parts: list[NDArray[np.intp]],
    group: ArrayLike | None,
    draws: int,
    seed: int,
    level: float,
) -> Estimate:
    kept = (risk > 0) & (risk < 1)
    log_odds = logit(risk[kept])
    if not kept.any() or np.ptp(log_odds) == 0:
        return undefined("the model's risks do not differ", level=level)
    missed = (log_odds - _cross_fitted(columns[kept], log_odds, [fold[kept] for fold in parts])) ** 2
    spread = (log_odds - log_odds.mean()) ** 2
    code = shared_groups(None if group is None else np.asarray(group)[kept], len(log_odds))
    units = resampling_units(outcome[kept], code, stratified=False)
    column = np.zeros(len(log_odds), dtype=np.intp)
    errors, squares = (
        units.weights(draws, seed) @ units.sums(column, 1, each)[:, 0] for each in (missed, spread)
    )
    words = f"cross-fitted {len(parts)} times, percentile of {draws} bootstrap draws"
    value = float(1 - missed.sum() / spread.sum())
    found = percentile_interval(
        value, 1 - errors / squares, level=level, method=words, groups=effective_groups(code)
    )
    return without_bounds(found, few_groups(code))
