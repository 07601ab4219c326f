"""Scores: every measure of one model on one population."""

from typing import Any

from clineval.evaluation.adequacy import adequacy_of
from clineval.evaluation.points import points_for, score_point
from clineval.evaluation.populations import Cases, Population
from clineval.evaluation.record import DecisionArrays, Point, PopulationScores
from clineval.evaluation.scale import Scale
from clineval.predictions import VAL
from clineval.statistics import calibration, roc
from clineval.statistics.decision_curve import decision_curve
from clineval.statistics.intervals import Estimate


def score(population: Population, model: str, points: tuple[Point, ...], scale: Scale) -> PopulationScores:
    """Everything about one model on one population but subgroups and spread."""
    cases, name = population.models[model], population.name
    measures = threshold_free(cases, scale)
    return PopulationScores(
        cases=len(cases),
        events=int(cases.outcome.sum()),
        groups=cases.groups,
        used_for=population.used_for,
        measures=measures,
        operating_points=tuple(
            score_point(cases, point, population=name, level=scale.level)
            for point in points_for(name, points)
        ),
        # A net benefit belongs to a threshold, and `val` is given threshold-free measures only.
        decision_curve=None if name == VAL else _decision(cases, scale),
        adequacy=adequacy_of(cases, measures["auc"], scale),
        removed=population.removed,
    )


def threshold_free(cases: Cases, scale: Scale) -> dict[str, Estimate]:
    """Discrimination and calibration with their intervals, keyed as in ``evaluation.json``."""
    data = (cases.outcome, cases.risk)
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    drawn = {**plain, "draws": scale.draws, "seed": scale.seed}
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
        "sensitivity_at_specificity_90": roc.sensitivity_at_specificity(*data, 0.9, **drawn),
        "specificity_at_sensitivity_90": roc.specificity_at_sensitivity(*data, 0.9, **drawn),
    }


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
