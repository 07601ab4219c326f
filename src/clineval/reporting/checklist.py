"""TRIPOD+AI, CLAIM 2024 and STARD-AI row by row: done, needs the author's words, or not applicable."""

import csv
import io
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

from clineval.files import write_whole
from clineval.reporting.artefacts import Artefacts, read_artefacts
from clineval.reporting.subject import subject_of

FILE = "checklist.csv"
ITEMS = Path(__file__).parent / "checklist_items.csv"
STATUSES = DONE, WORDS, NOT_APPLICABLE = "done", "needs the author's words", "not applicable"


@dataclass(frozen=True)
class Item:
    """One item of a guideline as it lies in ``checklist_items.csv``.

    ``needs`` names the artefacts, joined by ``;``, that answer it (``@subgroups`` and ``@external`` stand
    for populations of the evaluation); ``done`` says what they show, ``prompt`` what the author must
    write where they are missing, ``not_applicable`` why the item does not apply.
    """

    guideline: str
    item: str
    topic: str
    needs: str
    anchor: str
    done: str
    prompt: str
    not_applicable: str


@dataclass(frozen=True)
class Row:
    """One item answered; ``anchor`` is the report's section, empty where the author must write."""

    guideline: str
    item: str
    topic: str
    status: str
    where: str
    anchor: str


def write_checklist(folder: Path, artefacts: Artefacts | None = None) -> Path:
    """Write ``checklist.csv`` from the artefacts in ``folder``; InputError where they make no report.

    Parameters
    ----------
    artefacts : those of the folder, where they are at hand.
    """
    path = folder / FILE
    write_whole(path, _as_csv(rows_for(artefacts or read_artefacts(folder))))
    return path


def rows_for(artefacts: Artefacts) -> tuple[Row, ...]:
    """Every item with its status under the artefacts that are there."""
    there = _facts(artefacts)
    return tuple(_row(item, artefacts, there) for item in items())


@cache
def items() -> tuple[Item, ...]:
    """The items that the program knows of."""
    with ITEMS.open(encoding="utf-8", newline="") as file:
        return tuple(Item(**row) for row in csv.DictReader(file))


def _row(item: Item, artefacts: Artefacts, there: frozenset[str]) -> Row:
    needed = [need for need in item.needs.split(";") if need]
    if item.not_applicable:
        return Row(item.guideline, item.item, item.topic, NOT_APPLICABLE, item.not_applicable, "")
    if needed and all(need in there or artefacts.has(need) for need in needed):
        files = ", ".join(need for need in needed if not need.startswith("@")) or "evaluation.json"
        anchor = "cohort" if item.anchor == "external" and artefacts.transport else item.anchor
        return Row(item.guideline, item.item, item.topic, DONE, f"{item.done} ({files})", anchor)
    return Row(item.guideline, item.item, item.topic, WORDS, item.prompt, "")


def _facts(artefacts: Artefacts) -> frozenset[str]:
    """What the evaluation holds beyond the existence of its file."""
    evaluation = artefacts.evaluation
    scored = [scores for by_population in evaluation.models.values() for scores in by_population.values()]
    found = {"@subgroups": any(scores.subgroups for scores in scored)}
    found["@external"] = bool(subject_of(evaluation).external or artefacts.transport)
    return frozenset(name for name, there in found.items() if there)


def _as_csv(rows: tuple[Row, ...]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()
