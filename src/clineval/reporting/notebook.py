"""What an Evaluation shows of itself: five lines, a card in a notebook, a page, three curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError
from clineval.evaluation import Evaluation
from clineval.evaluation.curves import Curves, PopulationCurves
from clineval.evaluation.curves import curves as curves_of
from clineval.evaluation.records import OperatingPoint
from clineval.files import write_whole
from clineval.reporting import sections, sentences
from clineval.reporting.artefacts import Artefacts, png
from clineval.reporting.sentences import number, subject_of, whole, whole_percent, with_condition
from clineval.reporting.verdict import opening_state, sign, verdict_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def in_short(evaluation: Evaluation) -> str:
    """Five lines: what was evaluated, the primary model and threshold, its calls, its AUC, the verdict."""
    subject = subject_of(evaluation)
    scores, point = subject.scores(subject.main), subject.point()
    if scores is None:
        return f"Evaluation of {evaluation.condition!r}: no population was scored"
    count = f"{len(evaluation.models)} model{'s' if len(evaluation.models) > 1 else ''}"
    present = (
        f"{whole(scores.events)} {with_condition(subject.condition)} ({whole_percent(scores.prevalence)})"
    )
    threshold = "" if point is None else f", threshold {number(point.threshold)}"
    if point is not None and sentences.is_default(point):
        threshold += f", {sentences.origin_words(point)}"
    lines = (
        f"Evaluation of {count} on {subject.population!r}: {whole(scores.cases)} cases, {present}",
        f"Primary model: {evaluation.named(subject.main)}{threshold}",
        _calls(point, subject.condition),
        f"AUC {sentences.two_decimals(scores.measures.get('auc_logit'))}",
        verdict_on(subject).brief,
    )
    return "\n".join(lines)


def without_overlap(evaluation: Evaluation) -> list[str]:
    """The AUC without the test cases that share a group with development data, in a line; else no line."""
    subject = subject_of(evaluation)
    clean = subject.scores(subject.main, sentences.CLEAN) if subject.population == "test" else None
    if clean is None or not clean.removed:
        return []
    auc = sentences.two_decimals(clean.measures.get("auc_logit"))
    cases = "case that shares" if clean.removed == 1 else f"{whole(clean.removed)} cases that share"
    return [f"AUC {auc} without the {cases} a group with development data"]


def _calls(point: OperatingPoint | None, condition: str) -> str:
    """What happens at the threshold, in counts, on one line."""
    if point is None:
        return "No threshold was fixed beforehand"
    cells = {name: int(value or 0) for name, value in point.counts.items()}
    present = cells["true_positives"] + cells["false_negatives"]
    absent = cells["false_positives"] + cells["true_negatives"]
    return (
        f"Found {cells['true_positives']} of {present} {sentences.cases_of(condition)}, "
        f"missed {cells['false_negatives']}; "
        f"{cells['false_positives']} false alarms among {absent} others"
    )


def card(evaluation: Evaluation) -> str:
    """The report's first screen in small, as HTML for a notebook."""
    subject = subject_of(evaluation)
    artefacts = _in_memory(evaluation, Path())
    point = subject.point()
    content: dict[str, Any] = {
        **sections.asked(artefacts, subject),
        "condition": subject.condition,
        "verdict": verdict_on(subject),
        "detection": sentences.detection(point, condition=subject.condition) if point is not None else "",
        "state": opening_state(subject, subject.population),
        "signs": {call: sign(call) for call in ("found", "missed", "alarms", "cleared")},
    }
    from clineval.reporting.report import template

    return template("card.html.jinja").render(**content)


def write_page(evaluation: Evaluation, path: str | Path) -> Path:
    """Write the whole report as one page.

    Raises
    ------
    InputError : ``path`` is a folder, or the evaluation has not its table.
    """
    from clineval.reporting.report import render

    target = Path(path)
    if target.is_dir():
        example = target / "report.html"
        raise InputError(f"report needs a file to write; {target} is a folder. Say for example: {example}")
    with TemporaryDirectory() as empty:
        artefacts = _in_memory(evaluation, Path(empty))
        write_whole(target, render(artefacts, _curves(evaluation)))
    return target


def _in_memory(evaluation: Evaluation, folder: Path) -> Artefacts:
    """What a results folder of this evaluation alone would hold."""
    return Artefacts(folder=folder, table=evaluation.table, table_name="", evaluation=evaluation)


@dataclass(frozen=True)
class Plots:
    """Curves of the primary model on the main population, drawn on axes of yours.

    Examples
    --------
    >>> import clineval, matplotlib.figure, pandas
    >>> table = pandas.DataFrame({"outcome": [0, 1] * 30, "risk": [0.2, 0.7, 0.4, 0.6, 0.1, 0.3] * 10})
    >>> ax = matplotlib.figure.Figure().add_subplot()
    >>> clineval.evaluate(table, condition="malignant", draws=20).plot.roc(ax)
    """

    evaluation: Evaluation

    def roc(self, ax: "Axes") -> None:
        """Sensitivity against 1 − specificity, both 0 to 1, with the thresholds marked."""
        drawn, scores = self._primary()
        if drawn.roc is None:
            raise InputError("No ROC curve: one of the two outcomes is absent.")
        _plots().draw_roc(drawn.roc, ax, points=scores.operating_points, measures=scores.measures)

    def calibration(self, ax: "Axes") -> None:
        """The observed share against the predicted risk, both 0 to 1, smoothed and in groups."""
        drawn, scores = self._primary()
        if drawn.calibration is None:
            raise InputError("No calibration curve: one of the two outcomes is absent.")
        named = {"measures": scores.measures, "condition": self.evaluation.condition}
        _plots().draw_calibration(drawn.calibration, ax, risks=drawn.risks, **named)

    def decision_curve(self, ax: "Axes") -> None:
        """Net benefit, in found cases per case, against the threshold; beside treating all and none."""
        drawn, _ = self._primary()
        if drawn.decision is None:
            raise InputError("No decision curve: thresholds are not scored on these cases.")
        _plots().draw_decision_curves({drawn.model: drawn.decision}, ax)

    def _primary(self) -> tuple[PopulationCurves, Any]:
        subject = subject_of(self.evaluation)
        drawn = _curves(self.evaluation).models[subject.main][subject.population]
        return drawn, self.evaluation.models[subject.main][subject.population]


def _plots() -> ModuleType:
    """Matplotlib is loaded when something is drawn, not when five lines are printed."""
    return import_module("clineval.reporting.plots")


_last: list[tuple[Evaluation, Curves]] = []  # the curves of one evaluation, computed once


def _curves(evaluation: Evaluation) -> Curves:
    if evaluation.table is None:
        raise InputError(
            "An evaluation read from a file has not the table that curves are drawn from. "
            "Evaluate the table again: clineval.evaluate(table)"
        )
    if not _last or _last[0][0] is not evaluation:
        _last[:] = [(evaluation, curves_of(evaluation.table, evaluation))]
    return _last[0][1]


@dataclass(frozen=True)
class PictureRow:
    """One image of a table in a notebook: its prepared square, its name and what the run says of it."""

    square: NDArray[np.uint8]
    image: str
    risk: float
    warning: str


def picture_table(
    rows: Sequence[PictureRow], *, condition: str, model: str, threshold: float, notice: str, left_out: int
) -> str:
    """Thumbnail, risk, flag and warning of each image, as HTML for a notebook.

    Parameters
    ----------
    threshold : NaN where there is none; then nothing is flagged.
    left_out : how many images are not shown.
    """
    from clineval.reporting.report import template

    at = "no threshold" if math.isnan(threshold) else f"flagged at {number(threshold)} or above"
    return template("pictures.html.jinja").render(
        rows=[
            {
                "image": each.image,
                "picture": png(each.square),
                "risk": number(each.risk, 3),
                "call": _call(each, threshold),
                "warning": each.warning,
            }
            for each in rows
        ],
        caption=f"Risk of {condition} by {model}, {at}. For research only.",
        notice=notice,
        left_out=left_out,
    )


def _call(row: PictureRow, threshold: float) -> str:
    if math.isnan(threshold):
        return "no threshold"
    return "flagged" if row.risk >= threshold else "not flagged"
