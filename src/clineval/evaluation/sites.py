"""Sites of one cohort: each site's own numbers, and what they say of a site not yet seen."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clineval.errors import InputError, in_short, option
from clineval.evaluation.operating_points import HALF, SENSITIVITY_90, aim
from clineval.evaluation.populations import Cases, differences, populations
from clineval.evaluation.records import (
    MeasureOverSites,
    ModelOverSites,
    Point,
    Primary,
    Scale,
    SitePlanned,
    SiteStudy,
    Summary,
)
from clineval.statistics import calibration, roc
from clineval.statistics.auc import auc_variance
from clineval.statistics.counts import flagged
from clineval.statistics.decision_curve import net_benefit
from clineval.statistics.differences import gap_tests
from clineval.statistics.intervals import Estimate, effective_groups, independent_cases, shared_groups
from clineval.statistics.meta_analysis import (
    LEAST_OF_A_CLASS,
    LEAST_TO_PREDICT,
    RandomEffects,
    leave_one_site_out,
    logit_rates,
    on_scale,
    on_scale_by_variance,
    plan_sites,
    random_effects,
)
from clineval.statistics.operating_point import operating_point

MOST_SITES = 50
"""Values beyond which a column names no sites."""

LONGEST_NAME = 80
"""Characters of the name of a site or an external cohort."""

SCALES = {
    "auc_logit": "logit",
    "observed_expected": "log",
    "calibration_intercept": "identity",
    "calibration_slope": "identity",
    "sensitivity": "logit",
    "specificity": "logit",
    "net_benefit": "identity",
}
"""What is summed up over sites, each on its scale; sensitivity to net benefit at the frozen threshold."""

RATES = ("sensitivity", "specificity")
TOLERANCE = 0.05
"""How far below its target the next site's sensitivity may lie in the probability that is given."""

Texts = NDArray[np.str_]
Known = dict[str, tuple[float, float]]


def plan(
    outcome: ArrayLike, site: ArrayLike, group: ArrayLike | None, *, column: str
) -> tuple[SitePlanned, ...]:
    """What becomes of each site of a column, in the order of its names.

    Parameters
    ----------
    outcome, site, group : shape (n,); ``group`` None where each case stands alone.
    column : the column's name, for refusals.

    Raises
    ------
    InputError : a case has no site, there is one site or far too many, a group has cases of two sites, or
        fewer than two sites have enough cases.
    """
    outcome, site = np.asarray(outcome, dtype=bool), np.asarray(site).astype(str)
    names = _names(site, column)
    if group is not None:
        _refuse_shared(site, np.asarray(group), column)
    counted = [
        _counted(outcome[site == name], None if group is None else np.asarray(group)[site == name])
        for name in names
    ]
    shared = any(groups < cases for cases, _, groups, *_ in counted)
    found = plan_sites(
        [each[3] for each in counted],
        [each[4] for each in counted],
        of="patients or groups" if shared else "cases",
    )
    planned = tuple(
        SitePlanned(name, *each[:3], use, reason)
        for name, each, use, reason in zip(names, counted, found.use, found.reason, strict=True)
    )
    _require_two(planned, column)
    return planned


def over_sites(
    frame: pd.DataFrame,
    site: Mapping[str, str],
    *,
    column: str,
    condition: str,
    points: Mapping[str, Sequence[Point]],
    primary: Primary | None,
    scale: Scale,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
) -> SiteStudy:
    """Every model of a cohort's table at each site, summed up by random effects.

    Parameters
    ----------
    frame : table as ``check_predictions`` gives it, with one population.
    site : the site of each case.
    points : the frozen thresholds of each model; the primary one is taken, in other models that of its name.
    thresholds : by model and site, where each site was left out of its model's training; then ``points`` only
        name them.

    Raises
    ------
    InputError : as ``plan``.
    """
    (cohort,) = populations(frame)
    first = next(iter(cohort.models.values()))
    where = frame["case"].iloc[first.rows].map(site).to_numpy(str)
    planned = plan(first.outcome, where, first.group, column=column)
    alone, named = units(planned), _primary_point(points, primary)
    models = {
        model: _over_sites(
            cases,
            _masks(frame, cases, site, alone),
            _point(points[model], named),
            scale,
            own=None if thresholds is None else thresholds[model],
        )
        for model, cases in cohort.models.items()
    }
    main = primary.model if primary is not None and primary.model in models else next(iter(models))
    left_out = thresholds is not None
    return SiteStudy(column, cohort.name, condition, scale.level, main, planned, models, left_out)


def site_rows(study: SiteStudy) -> Iterator[dict[str, Any]]:
    """A row per model, measure and site, then the summary, the next site, and the summary without each.

    AUC and rates of a site are followed by their difference from those of all other cases.
    """
    for model, found in study.models.items():
        for measure, over in found.measures.items():
            about = {"model": model, "measure": measure, "threshold": found.threshold}
            for name, measures in found.sites.items():
                about["threshold"] = found.thresholds.get(name, found.threshold)
                weight = over.weights.get(name, math.nan)
                yield {**about, "row": "site", "site": name, **_plain(measures[measure]), "weight": weight}
                if (gap := found.less_rest.get(name, {}).get(measure)) is not None:
                    tested = found.tests[name][measure]
                    yield {
                        **about, "row": "less all others", "site": name, **_plain(gap),
                        "p_holm": tested.p_holm, "smallest_gap": tested.smallest_gap,
                    }  # fmt: skip
            about["threshold"] = found.threshold
            if over.summary is None:
                continue
            for row, each in (("mean", over.summary.mean), ("next site", over.summary.prediction)):
                yield {**about, "row": row, "site": "", **_plain(each)}
            for row, each in (("tau", over.summary.tau), ("i_squared", over.summary.i_squared)):
                yield {**about, "row": row, "site": "", **_plain(each)}
            for name, summary in over.without.items():
                yield {**about, "row": "mean without", "site": name, **_plain(summary.mean)}


def _plain(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "method": found.method}


def _names(site: Texts, column: str) -> list[str]:
    empty = int((site == "").sum())
    if empty:
        raise InputError(
            f"{option('--site-column')} {column} is empty in {empty} of {len(site)} rows; fill the "
            "cells, or take these rows out."
        )
    names = np.unique(site).tolist()
    if not 2 <= len(names) <= MOST_SITES:
        got = f"only {names[0]!r}" if len(names) == 1 else f"{len(names)} values"
        raise InputError(
            f"{option('--site-column')} needs a column with 2 to {MOST_SITES} sites; {column} has {got}. "
            "Name the column that says where, or with which scanner, each image was taken."
        )
    for name in names:
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise InputError(
                f"{option('--site-column')} {column} needs names of up to {LONGEST_NAME} printable "
                f"characters; got {name[:LONGEST_NAME]!r} ({len(name)} characters). Give the "
                "site a shorter, plain name."
            )
    return names


def _refuse_shared(site: Texts, group: NDArray[Any], column: str) -> None:
    pairs = pd.DataFrame({"group": group, "site": site}).drop_duplicates()
    twice = pairs[pairs["group"].duplicated(keep=False)]
    if len(twice):
        who = twice["group"].iloc[0]
        where = twice.loc[twice["group"] == who, "site"].tolist()
        raise InputError(
            f"{option('--site-column')} {column}: {twice['group'].nunique()} of {pairs['group'].nunique()} "
            f"groups have images of more than one site, such as {str(who)!r} ({', '.join(where[:3])}); sites "
            "count as independent, so keep all images of a patient at one site."
        )


def _counted(outcome: NDArray[np.bool_], group: NDArray[Any] | None) -> tuple[int, int, int, int, int]:
    """Cases, events, groups; then events and non-events as far as they are independent."""
    cases, events = len(outcome), int(outcome.sum())
    if group is None:
        return cases, events, cases, events, cases - events
    present, absent = (len(np.unique(group[of])) for of in (outcome, ~outcome))
    return cases, events, len(np.unique(group)), present, absent


def _require_two(planned: Sequence[SitePlanned], column: str) -> None:
    if len(units(planned)) < 2:
        own = sum(each.use == "own" for each in planned)
        reasons = in_short([f"{each.name}: {each.reason}" for each in planned if each.reason])
        raise InputError(
            f"{option('--site-column')} {column}: expected at least 2 sites with {LEAST_OF_A_CLASS} cases "
            f"with and without the condition each, got {own} ({reasons}). Add cases, or leave the option out."
        )


def units(planned: Sequence[SitePlanned]) -> dict[str, tuple[str, ...]]:
    """The sites that stand alone, and the pooled ones as one, by the name that each is given."""
    alone: dict[str, tuple[str, ...]] = {each.name: (each.name,) for each in planned if each.use == "own"}
    pooled = tuple(each.name for each in planned if each.use == "pooled")
    together = f"{len(pooled)} small sites, pooled"
    while together in alone:  # a site's own name
        together = f"{together} here"
    return {**alone, together: pooled} if pooled else alone


def _masks(
    frame: pd.DataFrame, cases: Cases, site: Mapping[str, str], alone: Mapping[str, tuple[str, ...]]
) -> dict[str, NDArray[np.bool_]]:
    where = frame["case"].iloc[cases.rows].map(site).to_numpy(str)
    return {name: np.isin(where, members) for name, members in alone.items()}


def _primary_point(points: Mapping[str, Sequence[Point]], primary: Primary | None) -> str:
    """The name of the primary threshold."""
    if primary is None:
        return SENSITIVITY_90
    own = points.get(primary.model, ())
    return next((point.name for point in own if point.threshold == primary.threshold), SENSITIVITY_90)


def _point(points: Sequence[Point], named: str) -> Point:
    """The threshold of that name, or one half where there is none."""
    return next((each for each in points if each.name == named and not math.isnan(each.threshold)), HALF)


def _over_sites(
    cases: Cases,
    masks: Mapping[str, NDArray[np.bool_]],
    point: Point,
    scale: Scale,
    *,
    own: Mapping[str, float] | None,
) -> ModelOverSites:
    parts = {name: cases.select(np.flatnonzero(mask)) for name, mask in masks.items()}
    thresholds = dict.fromkeys(parts, point.threshold) if own is None else {name: own[name] for name in parts}
    sites = {name: dict(_measured(part, thresholds[name], scale)) for name, part in parts.items()}
    over: dict[str, MeasureOverSites] = {}
    reached = math.nan
    for measure, on in SCALES.items():
        known, left_out = _known(measure, on, parts, sites, thresholds)
        over[measure], found = _summed_up(known, left_out, on, scale.level)
        if measure == "sensitivity" and found is not None and (target := aim(point.name)) is not None:
            reached = found.chance_next_site_reaches(target - TOLERANCE)
    if own is not None:  # risks of different models are not ranked against each other
        return ModelOverSites(point.name, math.nan, sites, over, reached, thresholds=thresholds)
    apart = {name: dict(differences(mask, cases, point.threshold, scale)) for name, mask in masks.items()}
    tests = gap_tests(apart, mirrored=_mirrored(masks, len(cases)))
    return ModelOverSites(point.name, point.threshold, sites, over, reached, apart, tests)


def _mirrored(masks: Mapping[str, NDArray[np.bool_]], cases: int) -> dict[str, str]:
    """The second of two sites that are all the cases: what sets it apart is what sets the first apart."""
    every = sum(int(mask.sum()) for mask in masks.values()) == cases
    first, *further = masks
    return {further[0]: first} if len(further) == 1 and every else {}


def _measured(cases: Cases, threshold: float, scale: Scale) -> Iterator[tuple[str, Estimate]]:
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    both = (cases.outcome, cases.risk)
    yield "auc_logit", roc.auc_logit(*both, **plain)
    yield "observed_expected", calibration.observed_expected(*both, **plain)
    yield "calibration_intercept", calibration.calibration_intercept(*both, **plain)
    yield "calibration_slope", calibration.calibration_slope(*both, **plain)
    scored = operating_point(*both, threshold, **plain)
    yield "sensitivity", scored.sensitivity
    yield "specificity", scored.specificity
    yield "net_benefit", net_benefit(*both, threshold, **plain)


def _known(
    measure: str,
    scale: str,
    parts: Mapping[str, Cases],
    sites: Mapping[str, Mapping[str, Estimate]],
    thresholds: Mapping[str, float],
) -> tuple[Known, dict[str, str]]:
    """Each site's estimate and standard error on the scale, and the sites without, each with the reason."""
    if measure in RATES:
        return _known_rates(measure, parts, thresholds), {}
    known = {}
    for name, part in parts.items():
        groups = effective_groups(shared_groups(part.group, len(part)))
        if measure == "auc_logit":
            variance = auc_variance(part.outcome, part.risk, group=part.group)
            known[name] = on_scale_by_variance(sites[name][measure].value, variance, scale)
        else:
            known[name] = on_scale(sites[name][measure], scale, groups=groups)
    lacking = {name for name, (_, error) in known.items() if not error > 0}
    reasons = {name: sites[name][measure].method or "no standard error" for name in lacking}
    return {name: each for name, each in known.items() if name not in lacking}, reasons


def _known_rates(measure: str, parts: Mapping[str, Cases], thresholds: Mapping[str, float]) -> Known:
    """By counts, so that a site in which all are found does not drop out."""
    hits, totals, worth = [], [], []
    for name, part in parts.items():
        called = flagged(part.risk, thresholds[name])
        of, right = (part.outcome, called) if measure == "sensitivity" else (~part.outcome, ~called)
        hits.append(int(right[of].sum()))
        totals.append(int(of.sum()))
        code = None if part.group is None else np.unique(part.group[of], return_inverse=True)[1]
        worth.append(totals[-1] if code is None else independent_cases(right[of], code).cases)
    value, error = logit_rates(hits, totals, independent=worth)
    return dict(zip(parts, zip(value.tolist(), error.tolist(), strict=True), strict=True))


def _summed_up(
    known: Known, left_out: Mapping[str, str], scale: str, level: float
) -> tuple[MeasureOverSites, RandomEffects | None]:
    if len(known) < 2:
        return MeasureOverSites(scale, None, left_out=left_out), None
    value, error = np.array(list(known.values())).T
    given: dict[str, Any] = {"scale": scale, "site": list(known), "level": level}
    found = random_effects(value, error, **given)
    without = leave_one_site_out(value, error, **given) if len(known) >= LEAST_TO_PREDICT else ()
    return MeasureOverSites(
        scale,
        _summary(found),
        {each.name: each.weight for each in found.sites},
        left_out,
        {name: _summary(each) for name, each in zip(known, without, strict=False)},
    ), found


def _summary(found: RandomEffects) -> Summary:
    return Summary(found.mean, found.prediction, found.tau, found.i_squared, found.q, found.p_value)
