"""Whether a report shows the numbers of the evaluation that lies beside it."""

import html
import re
from collections.abc import Iterator

from clineval.evaluation import Evaluation
from clineval.reporting.subject import subject_of
from clineval.reporting.tables import DISCRIMINATION, Row, measure_table, point_table

ROW = re.compile(r"<tr>(.*?)</tr>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")


def misquoted(report: str, evaluation: Evaluation) -> str | None:
    """The first row of discrimination or operating points that the report lacks; None where it has all."""
    shown = {_words(html.unescape(TAG.sub(" ", row))) for row in ROW.findall(report)}
    return next((" ".join(row) for row in _rows(evaluation) if row not in shown), None)


def _rows(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    subject = subject_of(evaluation)
    tested = [subject.population, *subject.others]
    for table in (measure_table(subject, DISCRIMINATION, tested), point_table(subject, subject.population)):
        yield from (_words(_text(row)) for row in table.rows)


def _text(row: Row) -> str:
    return " ".join(
        cell if isinstance(cell, str) else f"{cell.text} {cell.interval} {cell.words}" for cell in row
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())
