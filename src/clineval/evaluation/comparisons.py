"""Comparisons: every two models on the same cases, by ranking, by error and at their thresholds."""

import math
from collections.abc import Iterator, Mapping

from clineval.evaluation.operating_points import points_for
from clineval.evaluation.populations import Cases, Population
from clineval.evaluation.records import ModelComparison, Point, PointComparison, Scale
from clineval.statistics import roc
from clineval.statistics.decision_curve import compare_decision_curves
from clineval.statistics.differences import compare_brier
from clineval.statistics.intervals import Estimate
from clineval.statistics.operating_point import mcnemar


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
