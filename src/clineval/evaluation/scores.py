"""Scores: every measure of one model on one population."""

from dataclasses import asdict
from typing import Any

from clineval.evaluation.adequacy import adequacy_of
from clineval.evaluation.points import score_point
from clineval.evaluation.populations import Cases, Population
from clineval.evaluation.record import DecisionArrays, Point, PopulationScores
from clineval.evaluation.scale import Scale
from clineval.predictions import VAL
from clineval.statistics import calibration, roc
from clineval.statistics.decision_curve import decision_curve
from clineval.statistics.intervals import Estimate


def score(population: Population, model: str, points: tuple[Point, ...], scale: Scale) -> PopulationScores:
    """Everything about one model on one population but subgroups and spread.

    ``points`` are the thresholds that may be scored there, see ``points_for``.
    """
    cases, name = population.models[model], population.name
    # A net benefit or a rate at a given rate belongs to a threshold, of which `val` is given none.
    decided = name != VAL
    measures = threshold_free(cases, scale) | (read_off(cases, scale) if decided else {})
    return PopulationScores(
        cases=len(cases),
        events=int(cases.outcome.sum()),
        groups=cases.groups,
        used_for=population.used_for,
        measures=measures,
        operating_points=tuple(
            score_point(cases, point, population=name, level=scale.level) for point in points
        ),
        decision_curve=_decision(cases, scale) if decided else None,
        adequacy=None if population.used_for else adequacy_of(cases, measures["auc"], scale),
        removed=population.removed,
        brier_parts=_brier_parts(cases),
        notes=_notes(cases),
    )


def threshold_free(cases: Cases, scale: Scale) -> dict[str, Estimate]:
    """Discrimination and calibration with their intervals, keyed as in ``evaluation.json``."""
    data = (cases.outcome, cases.risk)
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    drawn: dict[str, Any] = {"group": cases.group, **vars(scale)}
    errors = calibration.calibration_errors(*data, **drawn)
    return {
        "auc": roc.auc(*data, **plain),
        "auc_logit": roc.auc_logit(*data, **plain),
        "average_precision": roc.average_precision(*data, **drawn),
        "brier": calibration.brier(*data, **plain),
        "scaled_brier": calibration.scaled_brier(*data, **plain),
        "log_loss": calibration.log_loss(*data, **plain),
        "calibration_intercept": calibration.calibration_intercept(*data, **plain),
        "calibration_slope": calibration.calibration_slope(*data, **plain),
        "observed_expected": calibration.observed_expected(*data, **plain),
        "ici": errors.ici,
        "e50": errors.e50,
        "e90": errors.e90,
        "partial_auc": roc.partial_auc(*data, over="sensitivity", low=0.8, **drawn),
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
    parts = asdict(calibration.murphy_decomposition(cases.outcome, cases.risk))
    return {name: parts[name] for name in parts if name not in ("brier", "bins")}


def _notes(cases: Cases) -> tuple[str, ...]:
    if cases.group is None:
        return ()
    return (
        f"{len(cases)} cases stand in {cases.groups} groups: under Operating points intervals of rates "
        "(Wilson) take cases as independent and are too narrow; the others respect the groups.",
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
        curve.method,
    )
