"""A frozen model at one more site: what local labelled cases change, what that buys, how many it takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from clineval.errors import InputError
from clineval.evaluation.operating_points import HALF, point_name
from clineval.evaluation.populations import TEST_CLEAN, Cases, Population, populations
from clineval.evaluation.records import Point, Primary, scale_of
from clineval.predictions import OUT_OF_FOLD, VAL
from clineval.settings import AdoptionSettings
from clineval.statistics.auc import auc_logit, compare_auc
from clineval.statistics.counts import Floats, flagged
from clineval.statistics.intervals import Estimate
from clineval.statistics.operating_point import operating_point
from clineval.statistics.recalibration import ClosedTest, Recalibration, closed_testing
from clineval.statistics.sample_size import LocalCases, local_cases_needed
from clineval.statistics.thresholds import local_threshold
from clineval.statistics.updating import (
    HEADS,
    STEPS,
    EvaluatedHead,
    EvaluatedUpdate,
    Head,
    bounded_logit,
    evaluate_heads,
    evaluate_updates,
    fit_update,
    least_events,
)

ASSURANCE = 0.9
"""Probability of reaching the target in the second curve of how many local cases are needed."""

TOLERANCE = 0.05
"""How far below its target an adoption may end and still count as having reached it."""

UPDATES = (*(step for step in STEPS if step != "threshold"), *HEADS)
"""Updates of the risks that may be asked for; the threshold is set locally in every case.

Models without a last layer that can be refitted get closed testing's choice."""

SCHEMA = 1


@dataclass(frozen=True)
class AdoptedModel:
    """One model for the site: its recalibration, None for none, and its thresholds, half among them.

    ``taken`` is the update made of the one asked for; ``reason`` says why it could not be fitted.
    ``penalty`` is that of a refitted head, NaN for none.
    """

    taken: str
    recalibration: Recalibration | None
    points: tuple[Point, ...]
    reason: str = ""
    penalty: float = math.nan


@dataclass(frozen=True)
class ShareFlagged:
    """A threshold set without labels, so that the share flagged is that of the development data.

    A sensitivity analysis: it keeps the target only where the site has the same prevalence and risks that
    mean the same.
    """

    share: float
    population: str
    threshold: float
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class Standardised:
    """The primary model with features standardised by the local images, at its frozen threshold.

    ``models`` are those standardised: the primary model itself, or the parts that it is the mean of; the
    other parts stay as they are. A sensitivity analysis: a risk then depends on the images beside it, and no
    sensitivity is kept.
    """

    models: tuple[str, ...]
    auc: Estimate
    gain: Estimate
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class Adoption:
    """What adopting a run at a site changes and buys, of the primary model unless said otherwise.

    ``ladder`` has each step of updating, scored on local cases that took no part in its fit. ``curves``
    say how many local events it takes, with the threshold at the target and with assurance. ``heads`` has, of
    each model whose last layer can be refitted, what that buys; ``no_heads`` says why there is none.
    ``seen_in_training`` counts local images that show the same picture as a training image of the run.
    """

    site: str
    parent: str
    condition: str
    level: float
    target: float
    assurance: float | None
    update: str
    model: str
    frozen_threshold: float
    cases: int
    events: int
    groups: int
    folds: int
    repeats: int
    ladder: tuple[EvaluatedUpdate, ...]
    closed_test: ClosedTest | None
    models: Mapping[str, AdoptedModel]
    curves: tuple[LocalCases, ...]
    share_flagged: ShareFlagged | None = None
    heads: Mapping[str, tuple[EvaluatedHead, ...]] = field(default_factory=dict)
    no_heads: str = ""
    standardised: Standardised | None = None
    seen_in_training: int = 0
    schema: int = SCHEMA


def check_enough(
    outcome: ArrayLike, group: ArrayLike | None, *, target: float, folds: int, condition: str
) -> None:
    """Refuse an adoption on fewer cases than can set a threshold, and say how many are needed.

    Parameters
    ----------
    outcome, group : shape (n,); ``group`` None where each case stands alone.

    Raises
    ------
    InputError : a class has fewer independent cases than ``least_events`` of the target, or than folds.
    """
    outcome = np.asarray(outcome, dtype=bool)
    least = max(least_events(target), folds)
    for words, members in ((condition, outcome), (f"not {condition}", ~outcome)):
        there = int(members.sum()) if group is None else len(np.unique(np.asarray(group)[members]))
        if there < least:
            whose = "cases" if group is None else "patients with cases"
            raise InputError(
                f"Adopting for a sensitivity of {target:g} needs at least {least} local {whose} that are "
                f"{words}; got {there}: label {least - there} more. With the least the sensitivity is still "
                "uncertain; docs/sites-and-adoption.md says how many make it sure."
            )


@dataclass(frozen=True)
class LocalHeads:
    """The last layers that can be refitted on the local cases.

    Attributes
    ----------
    kernels : by model, shape (cases, cases), in the order of its rows.
    fitted : by model the head that was refitted, where the update asks for it.
    parts : of models that are the mean of others on the logit scale.
    reason : why there is none.
    """

    kernels: Mapping[str, Floats] = field(default_factory=dict)
    fitted: Mapping[str, Head] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: str = ""

    def of(self, model: str) -> tuple[str, ...]:
        """The model and what it is the mean of."""
        return (model, *self.parts.get(model, ()))


@dataclass(frozen=True)
class StandardisedRisks:
    """Risks by model, in the order of its rows, with features of ``models`` standardised by local images."""

    models: tuple[str, ...] = ()
    risks: Mapping[str, Floats] = field(default_factory=dict)


def adopt(
    frame: pd.DataFrame,
    *,
    parent: str,
    development: pd.DataFrame,
    primary: Primary,
    condition: str,
    settings: AdoptionSettings,
    heads: LocalHeads = LocalHeads(),
    standardised: StandardisedRisks = StandardisedRisks(),
) -> Adoption:
    """Update every model of a run on the labelled cases of one site, and score each step of it.

    Parameters
    ----------
    frame : the frozen models' risks of the local cases, one population, as ``check_predictions`` gives it.
    parent : the run's name; ``development`` its own table, for the share that it flags.
    primary : the run's primary model and threshold.
    standardised : reported where the primary model or a part of it is among its models.

    Raises
    ------
    InputError : as ``check_enough``.
    """
    (local,) = populations(frame)
    main = primary.model if primary.model in local.models else next(iter(local.models))
    cases, target = local.models[main], settings.target
    check_enough(cases.outcome, cases.group, target=target, folds=settings.folds, condition=condition)
    refitted, scale = populations(with_heads(frame, heads))[0].models, scale_of(settings.local.evaluation)
    resampled: dict[str, Any] = {"group": cases.group, "draws": scale.draws, "seed": scale.seed}
    return Adoption(
        site=local.name,
        parent=parent,
        condition=condition,
        level=scale.level,
        target=target,
        assurance=settings.assurance,
        update=settings.update,
        model=main,
        frozen_threshold=primary.threshold,
        cases=len(cases),
        events=int(cases.outcome.sum()),
        groups=cases.groups,
        folds=settings.folds,
        repeats=settings.repeats,
        ladder=evaluate_updates(
            cases.outcome,
            cases.risk,
            threshold=primary.threshold,
            target=target,
            assurance=settings.assurance,
            folds=settings.folds,
            repeats=settings.repeats,
            level=scale.level,
            **resampled,
        ),
        closed_test=_closed_test(cases),
        models={name: _adopted(each, heads.fitted.get(name), settings) for name, each in refitted.items()},
        curves=tuple(
            local_cases_needed(
                cases.outcome, cases.risk, target=target, tolerance=TOLERANCE, assurance=how, **resampled
            )
            for how in (None, ASSURANCE)
        ),
        share_flagged=_share_flagged(cases, development, main, primary.threshold, scale.level),
        heads=_heads(frame, local, heads, settings),
        no_heads=heads.reason,
        standardised=_standardised(
            frame,
            cases,
            replace(standardised, models=tuple(n for n in standardised.models if n in heads.of(main))),
            primary=replace(primary, model=main),
            level=scale.level,
        ),
    )


def _standardised(
    frame: pd.DataFrame, cases: Cases, given: StandardisedRisks, *, primary: Primary, level: float
) -> Standardised | None:
    if not given.models:
        return None
    order = frame.groupby("model").cumcount().to_numpy()[cases.rows]
    risk = given.risks[primary.model][order]
    plain: dict[str, Any] = {"group": cases.group, "level": level}
    scored = operating_point(cases.outcome, risk, primary.threshold, **plain)
    return Standardised(
        given.models,
        auc_logit(cases.outcome, risk, **plain),
        compare_auc(cases.outcome, risk, cases.risk, **plain).difference,
        scored.sensitivity,
        scored.specificity,
    )


def with_heads(frame: pd.DataFrame, heads: LocalHeads) -> pd.DataFrame:
    """The table with the risks that refitted heads give out of fold, in the means of models, too."""
    if not heads.fitted:
        return frame
    of = {str(model): rows["risk"].to_numpy(np.float64) for model, rows in frame.groupby("model")}
    own = of | {name: head.out_of_fold for name, head in heads.fitted.items()}
    own |= {
        name: expit(np.mean([bounded_logit(own[part]) for part in names], axis=0))
        for name, names in heads.parts.items()
        if set(names) & set(heads.fitted)
    }
    risk = frame["risk"].to_numpy(np.float64).copy()
    for name, values in own.items():
        risk[(frame["model"] == name).to_numpy()] = values
    return frame.assign(risk=risk)


def _heads(
    frame: pd.DataFrame, local: Population, heads: LocalHeads, settings: AdoptionSettings
) -> dict[str, tuple[EvaluatedHead, ...]]:
    """What a refitted head buys, of each model that has one and of means that hold such a model."""
    place, scale = frame.groupby("model").cumcount().to_numpy(), scale_of(settings.local.evaluation)
    shares = {name: (name, 1.0) for name in heads.kernels} | {
        name: (part, names.count(part) / len(names))
        for name, names in heads.parts.items()
        for part in dict.fromkeys(names)
        if part in heads.kernels
    }
    found = {}
    for name, (part, share) in shares.items():
        cases, order = local.models[name], place[local.models[name].rows]
        found[name] = evaluate_heads(
            cases.outcome,
            cases.risk,
            heads.kernels[part][np.ix_(order, order)],
            share=share,
            head_risk=local.models[part].risk,
            target=settings.target,
            assurance=settings.assurance,
            group=cases.group,
            folds=settings.folds,
            draws=scale.draws,
            seed=scale.seed,
            level=scale.level,
        )
    return found


def applied(model: AdoptedModel, risk: Floats) -> Floats:
    """The site's risks of cases to which the frozen model gives these, shape (n,)."""
    return risk if model.recalibration is None else model.recalibration.apply(risk)


def _adopted(cases: Cases, head: Head | None, settings: AdoptionSettings) -> AdoptedModel:
    update, target, assurance = settings.update, settings.target, settings.assurance
    reason, penalty = "", math.nan if head is None else head.penalty
    asked = "closed_testing" if update in HEADS else update
    try:
        fitted = fit_update(
            cases.outcome, cases.risk, asked, threshold=HALF.threshold, fitted_on=VAL, group=cases.group
        )
        taken, recalibration = fitted.taken, fitted.recalibration
        if head is not None:  # its risks were fitted here
            taken, recalibration = update, None
    except ValueError as error:  # the statistic's own word that there is nothing to fit
        taken, recalibration, reason = "nothing", None, str(error)
    model = AdoptedModel(taken, recalibration, (), reason)
    risk = applied(model, cases.risk)
    own = _rounded_down(local_threshold(cases.outcome, risk, target=target, assurance=assurance))
    sure = "" if assurance is None else f", reached with a probability of {assurance:g}"
    events = int(cases.outcome.sum())
    wanted = np.format_float_positional(target, min_digits=2)
    rule = f"chosen for sensitivity {wanted} on {events} local cases with the condition{sure}"
    points = (HALF, Point(point_name(target), own, VAL, rule))
    return AdoptedModel(taken, recalibration, points, reason, penalty)


def _rounded_down(threshold: float) -> float:
    """To nine decimals, so that the case whose risk it is stays flagged however its risk is rounded."""
    return math.floor(threshold * 1e9) / 1e9


def _closed_test(cases: Cases) -> ClosedTest | None:
    try:
        return closed_testing(cases.outcome, cases.risk, group=cases.group)
    except ValueError:  # then the ladder says why
        return None


def _share_flagged(
    cases: Cases, development: pd.DataFrame, model: str, threshold: float, level: float
) -> ShareFlagged | None:
    """What a threshold that flags the share of the development data finds here; None without such data."""
    there = {each.name: each.models[model] for each in populations(development) if model in each.models}
    name = next((name for name in (OUT_OF_FOLD, VAL, *there) if name in there and name != TEST_CLEAN), None)
    if name is None:
        return None
    share = float(flagged(there[name].risk, threshold).mean())
    own = _highest(cases.risk, share)
    scored = operating_point(cases.outcome, cases.risk, own, group=cases.group, level=level)
    return ShareFlagged(share, name, own, scored.sensitivity, scored.specificity)


def _highest(risk: NDArray[np.float64], share: float) -> float:
    """The threshold that flags this share of the cases, or the next more."""
    flagged_here = min(max(math.ceil(share * len(risk) - 1e-9), 1), len(risk))
    return float(np.sort(risk)[len(risk) - flagged_here])
