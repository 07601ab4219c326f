"""Subgroups as a report shows them: the main model first, each cell beside the rest, what is left out."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from clineval.evaluation.record import SubgroupCell, SubgroupTable
from clineval.reporting.subject import Subject
from clineval.reporting.tables import AS_PERCENT, MEASURE_NAMES, Cell, Row, Table, cell
from clineval.reporting.wording import defined, interval, listed, number, signed, whole
from clineval.statistics.intervals import Estimate


def subgroup_sections(subject: Subject) -> list[dict[str, Any]]:
    """Per population its models, the main one first, and which columns make no subgroups."""
    found = []
    for population in (subject.population, *subject.external):
        names = subject.models(population)
        first = [subject.main] if subject.main in names else []
        models = [_of_model(name, population, subject) for name in dict.fromkeys([*first, *names])]
        shown = [each for each in models if each["tables"] or each["counts"]]
        left_out = _left_out(subject, names, population)
        if shown or left_out:
            found.append({"population": population, "models": shown, "left_out": left_out})
    return found


def _of_model(model: str, population: str, subject: Subject) -> dict[str, Any]:
    scores = subject.scores(model, population)
    tables = [each for each in (scores.subgroups if scores is not None else ()) if not each.skipped]
    return {
        "name": model,
        "tables": [_shown(each, model) for each in tables if _estimated(each)],
        "counts": [_shown(each, model) for each in tables if not _estimated(each)],
    }


def _estimated(table: SubgroupTable) -> bool:
    return any(each.measures for each in table.cells)


def _shown(table: SubgroupTable, model: str) -> dict[str, Any]:
    name = f"{model} by {table.attribute}, threshold {number(table.threshold)}"
    return {"attribute": table.attribute, "name": name, "table": _cells(table)}


def _left_out(subject: Subject, models: Iterable[str], population: str) -> list[str]:
    """One sentence per reason, with the columns that it concerns."""
    reasons: dict[str, dict[str, None]] = {}
    for model in models:
        scores = subject.scores(model, population)
        for each in scores.subgroups if scores is not None else ():
            if each.skipped:
                reasons.setdefault(each.skipped, {})[each.attribute] = None
    return [f"{listed(list(columns))}: {reason}" for reason, columns in reasons.items()]


def _cells(table: SubgroupTable) -> Table:
    names = list(dict.fromkeys(name for each in table.cells for name in each.measures))
    rows: list[Row] = []
    for each in table.cells:
        cells: Iterable[str | Cell]
        if each.suppressed:
            cells = [Cell("–", "", each.suppressed) for _ in names]
        else:
            cells = [_cell(each, name) for name in names]
        rows.append((each.value, whole(each.cases), whole(each.events), *cells))
    headings = (table.attribute, "cases", "events", *(MEASURE_NAMES.get(name, name) for name in names))
    return Table(headings, tuple(rows))


def _cell(found: SubgroupCell, name: str) -> Cell:
    """A measure within the subgroup and below it how far it lies from that of all other cases."""
    shown = cell(found.measures.get(name), as_percent=name in AS_PERCENT)
    apart = found.less_rest.get(name)
    if apart is None or not defined(apart):
        return shown
    return replace(shown, words=f"vs rest {_apart(apart, as_points=name in AS_PERCENT)}")


def _apart(gap: Estimate, *, as_points: bool) -> str:
    size, bounds = signed(gap.value, as_points=as_points), interval(gap, as_points=as_points)
    return f"{size}{' pp' if as_points else ''} ({bounds})"
