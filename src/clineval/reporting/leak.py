"""The headline beside its duplicate-free counterparts: the clean test, and training without twins."""

from clineval.reporting import wording
from clineval.reporting.subject import Subject, turned
from clineval.reporting.tables import Cell, Row, Table, cell, signed
from clineval.statistics.intervals import Estimate

WITHOUT_TWINS = "_deduplicated"
CLEAN = "test_clean"


def leak_table(subject: Subject) -> Table | None:
    """Per model its AUC on all of test, on the clean test, and trained without twins; None with neither."""
    pairs = [name for name in subject.models() if f"{name}{WITHOUT_TWINS}" in subject.models()]
    shown = pairs or [name for name in (subject.baseline, subject.main) if name and CLEAN in subject.others]
    if not shown:
        return None
    headings = ["model", "all of test", "clean test"]
    if pairs:
        headings += ["all of test, trained without twins", "change", "what it says"]
    return Table(tuple(headings), tuple(_row(subject, name, changed=bool(pairs)) for name in shown))


def _row(subject: Subject, model: str, *, changed: bool) -> Row:
    row: list[str | Cell] = [model, cell(_auc(subject, model)), cell(_auc(subject, model, CLEAN))]
    if changed:
        change = _change(subject, model)
        row += [cell(_auc(subject, f"{model}{WITHOUT_TWINS}")), signed(change), verdict(change)]
    return tuple(row)


def _auc(subject: Subject, model: str, population: str | None = None) -> Estimate | None:
    scores = subject.scores(model, population)
    return None if scores is None else scores.measures.get("auc_logit")


def _change(subject: Subject, model: str) -> Estimate | None:
    """AUC trained without twins minus AUC trained on everything, on the same test cases."""
    wanted = (f"{model}{WITHOUT_TWINS}", model)
    for found in subject.evaluation.comparisons:
        for each in (found, turned(found)):
            if (each.measure, each.population, each.models) == ("auc", subject.population, wanted):
                return each.difference
    return None


def verdict(change: Estimate | None) -> str:
    """What the paired interval of the change allows to be said of an inflation by twins."""
    if change is None or not wording.defined(change) or not wording.interval(change):
        return "no interval, no statement"
    if wording.covers(change, 0.0):
        return "compatible with no inflation by twins"
    return "lower without twins; fewer images may play a part" if change.value < 0 else "higher without twins"
