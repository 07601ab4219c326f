"""Thresholds with a guarantee from development data, in sentences and a table."""

from collections.abc import Iterator
from math import isnan
from typing import Any

from clineval.evaluation.guarantees import NOT_ELSEWHERE
from clineval.reporting.sentences import number, whole
from clineval.reporting.subject import Subject, population_name
from clineval.reporting.tables import Row, Table, cell
from clineval.statistics.thresholds import GuaranteedThreshold


def guaranteed(subject: Subject) -> dict[str, Any] | None:
    """The primary model's guarantees in sentences, and every model's deferred cases; None where not asked."""
    evaluation = subject.evaluation
    if not evaluation.guarantees and not evaluation.deferred:
        return None
    return {"sentences": list(_sentences(subject)), "table": _table(subject)}


def _sentences(subject: Subject) -> Iterator[str]:
    for found in subject.evaluation.guarantees.get(subject.main, ()):
        yield guarantee_words(subject.main, found)
    region = subject.evaluation.deferred.get(subject.population, {}).get(subject.main)
    if region is not None:
        limits = f"below {number(region.rule_out)} and in from {number(region.rule_in)}"
        yield (
            f"On {population_name(subject.population)} {subject.main} rules out {limits}; "
            f"{whole(region.deferred_cases)} cases lie between and are deferred to a reader."
        )


def guarantee_words(model: str, found: GuaranteedThreshold) -> str:
    """What development data show of a threshold, or why they show nothing; never for another hospital."""
    aim = f"a {found.rule} of at least {found.target:.0%}"
    if isnan(found.threshold):
        return f"{model}: {aim} {found.method}."
    return (
        f"{model}: development data show with {found.confidence:.0%} confidence that the threshold "
        f"{number(found.threshold)} reaches {aim}, {NOT_ELSEWHERE} ({found.method}; "
        f"{whole(found.allowed)} of {whole(found.units)} may be wrong)."
    )


def _table(subject: Subject) -> Table | None:
    rates = ("deferred", "missed", "false_alarms", "npv", "ppv", "sensitivity", "specificity")
    rows: tuple[Row, ...] = tuple(
        (
            f"{model}, {population_name(population)}",
            f"below {number(region.rule_out)}, from {number(region.rule_in)}",
            *[cell(getattr(region, name), as_percent=True) for name in rates],
        )
        for population, models in subject.evaluation.deferred.items()
        for model, region in models.items()
    )
    headings = (
        "model", "ruled out, in", "deferred", "missed, of those with the condition",
        "false alarms, of those without it", "NPV", "PPV", "sensitivity", "specificity",
    )  # fmt: skip
    return Table(headings, rows) if rows else None
