"""Everything that the report's template shows, gathered section by section."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from clineval import __version__
from clineval.errors import InputError
from clineval.evaluation.curves import Curves, DecisionLines
from clineval.reporting import charts, external, sections, tables
from clineval.reporting import charts as report_charts
from clineval.reporting.artefacts import ROBUSTNESS, Artefacts
from clineval.reporting.checklist import STATUSES, rows_for
from clineval.reporting.explorer import ROC_FRAME, explorer_data
from clineval.reporting.external import answer, robustness_table, subject_in, transported
from clineval.reporting.failures import failure_cards
from clineval.reporting.gallery import MOST_ALARMS, MOST_MISSED
from clineval.reporting.sections import (
    header,
    leak_table,
    openings,
    origin,
    simulated_coverage,
    subgroup_sections,
)
from clineval.reporting.sentences import chosen_words, number, people, whole
from clineval.reporting.subject import Subject
from clineval.reporting.tables import Table

LEARNING = "learning_curve_cnn.csv"
LARGEST_PICTURE = 700_000  # bytes of an image file that is embedded; a larger one stays beside the page
SECTIONS = (
    ("answer", "The answer", "answer"),
    ("elsewhere", "At home and elsewhere", "elsewhere"),
    ("polarity", "Which label is the condition", "counts"),
    ("data", "The data and their audit", "has_data"),
    ("discrimination", "Discrimination", "auc"),
    ("points", "Operating points", "has_points"),
    ("explorer", "The explorer", "explorer"),
    ("calibration", "Calibration", "calibration"),
    ("risks", "Risks by outcome", "risks"),
    ("utility", "Clinical utility", "decision"),
    ("failures", "Failures", "failures"),
    ("subgroups", "Subgroups", "subgroups"),
    ("external", "Other populations", "external"),
    ("watched", "Populations used before", "watched"),
    ("appendix", "Measures that mislead", "appendix"),
    ("checklists", "Checklists", "checklist"),
    ("methods", "Methods", "level"),
    ("provenance", "Provenance", "program"),
)


def content(artefacts: Artefacts, curves: Curves) -> dict[str, Any]:
    """Everything that the template shows; it decides nothing itself."""
    evaluation = artefacts.evaluation
    subject = subject_in(artefacts)
    tested = [subject.population, *subject.others]
    live = _explorer(artefacts, curves, subject)
    page = {
        **header(artefacts, subject),
        "condition": subject.condition,
        "population": subject.population,
        "synthetic": artefacts.synthetic,
        "synthetic_reason": artefacts.synthetic_reason,
        "level": f"{evaluation.level * 100:g}%",
        "draws": whole(evaluation.draws),
        "answer": answer(artefacts, subject),
        "answer_table": external.table(artefacts.transport) if artefacts.transport else None,
        "leak": leak_table(subject),
        "elsewhere": _elsewhere(artefacts),
        "check_strip": "" if artefacts.transport else _picture(artefacts, "check_strip.png"),
        "limits": sections.limits(subject, artefacts),
        **sections.polarity(subject, artefacts),
        "counts": tables.counts_table(artefacts, subject),
        "source": artefacts.source,
        "audit": sections.audit_facts(artefacts),
        "duplicates": _picture(artefacts, "duplicates.png"),
        "differences": tables.split_differences(artefacts),
        "learning_chart": _learning_chart(artefacts),
        **_discrimination(subject, curves, tested),
        **_operating(subject, artefacts),
        **live,
        **_calibration(subject, curves, artefacts, tested),
        "risks": _risk_charts(subject, curves, subject.population),
        **_utility(subject, curves),
        **_failures(subject, artefacts),
        "subgroups": subgroup_sections(subject),
        "external": [_external(subject, curves, name) for name in subject.external],
        "watched": _watched(subject),
        "appendix": tables.appendix_table(subject),
        **_checklists(artefacts),
        "simulated": simulated_coverage(artefacts.coverage),
        "provenance": origin(artefacts),
        "openings": openings(artefacts),
        "program": f"clineval {__version__}",
        "table_name": artefacts.table_name,
    }
    return {**page, "contents": _contents(page)}


def _elsewhere(artefacts: Artefacts) -> dict[str, Any]:
    """The section on a frozen run among other patients; empty for results that are no validation."""
    if not artefacts.transport:
        return {}
    pictures = {"case_mix": "case_mix.png", "robustness": "robustness.png", "strip": "check_strip.png"}
    shown = {name: _picture(artefacts, file) for name, file in pictures.items()}
    table = robustness_table(artefacts.folder / ROBUSTNESS) if artefacts.has(ROBUSTNESS) else None
    return {**transported(artefacts.transport), **shown, "robustness_table": table}


def _picture(artefacts: Artefacts, name: str) -> str:
    path = artefacts.folder / name
    if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
        return ""
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _learning_chart(artefacts: Artefacts) -> report_charts.Chart | None:
    """The learning curves, from the data that lie beside their figure."""
    path = artefacts.folder / LEARNING
    if not path.is_file():
        return None
    try:
        return report_charts.learning(pd.read_csv(path), key="learning")
    except (ValueError, KeyError) as error:
        raise InputError(f"{LEARNING} is not whole ({error}); write the results anew.") from error


def _discrimination(subject: Subject, curves: Curves, tested: list[str]) -> dict[str, Any]:
    drawn = _drawn(subject, curves, subject.population)
    rocs = (
        report_charts.roc(
            each, subject.evaluation.models[model][each.population], key=f"roc-{index}", index=index
        )
        for index, model, each in drawn
    )
    return {
        "auc": tables.measure_table(subject, tables.DISCRIMINATION, tested),
        "rocs": [chart for chart in rocs if chart is not None],
        "comparisons": tables.comparison_table(subject, tested),
        "spread": tables.spread_table(subject, subject.population),
    }


def _drawn(subject: Subject, curves: Curves, population: str) -> list[tuple[int, str, Any]]:
    """Place among all models, name, and curves of each model on a population; the main pair first."""
    order = list(subject.evaluation.models)
    first = [name for name in (subject.baseline, subject.main) if name]
    return [
        (order.index(model), model, curves.models[model][population])
        for model in dict.fromkeys([*first, *order])
        if population in curves.models.get(model, {})
    ]


def _operating(subject: Subject, artefacts: Artefacts) -> dict[str, Any]:
    return {
        "frequencies": sections.frequency_sentences(subject, people(artefacts.dataset_id)),
        "points": tables.point_table(subject, subject.population),
        "matrices": _matrices(subject),
        "mcnemar": tables.mcnemar_table(subject, subject.population),
    }


def _matrices(subject: Subject) -> list[dict[str, str]]:
    """The 2x2 of the main model and its baseline at each operating point."""
    found = []
    for model in filter(None, (subject.baseline, subject.main)):
        scores = subject.scores(model)
        for point in scores.operating_points if scores is not None else ():
            if not np.isnan(point.threshold):
                counts = {name: whole(int(value or 0)) for name, value in point.counts.items()}
                words = {"model": model, "threshold": number(point.threshold), "chosen": chosen_words(point)}
                found.append({**counts, **words})
    return found


def _explorer(artefacts: Artefacts, curves: Curves, subject: Subject) -> dict[str, Any]:
    who = people(artefacts.dataset_id)
    at = "sensitivity_90" if artefacts.transport else "half"
    data = explorer_data(subject.evaluation, curves, people=who, opens_on=subject.population, opens_at=at)
    if not data:
        return {"explorer": None, "explorer_json": Markup("")}
    there = {model for entry in data["populations"].values() for model in entry["models"]}
    points = {
        point["name"]: point["label"]
        for entry in data["populations"].values()
        for rows in entry["models"].values()
        for point in rows["points"]
    }
    first = [subject.main] if subject.main in there else []
    view = {
        "models": list(
            dict.fromkeys([*first, *(name for name in subject.evaluation.models if name in there)])
        ),
        "populations": list(data["populations"]),
        "opens_on": data["opens_on"],
        "highest_share": data["highest_share"],
        "share": min(max(data["populations"][data["opens_on"]]["prevalence"], 0.001), data["highest_share"]),
        "buttons": list(points.items()),
        "roc": _explorer_roc(),
    }
    return {"explorer": view, "explorer_json": embedded_json(data)}


def _explorer_roc() -> Markup:
    """Axes, the line that the script fills, and the point that it moves."""
    marks = [
        charts.line(ROC_FRAME, (0, 1), (0, 1), css="chance"),
        Markup('<path id="explorer-roc-line" class="line m0"/>'),
        Markup('<path id="explorer-roc-spot" class="mark point" d="M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0Z"/>'),
    ]
    return charts.draw(
        ROC_FRAME,
        marks,
        key="explorer-roc",
        title="ROC curve of the chosen model with the chosen threshold",
        description="The point moves with the threshold; its sensitivity and specificity stand in the table.",
    )


def embedded_json(value: Any) -> Markup:
    """JSON for a script element: nothing in it can end the element or start a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _calibration(subject: Subject, curves: Curves, artefacts: Artefacts, tested: list[str]) -> dict[str, Any]:
    found = (
        report_charts.calibration(
            each,
            subject.evaluation.models[model][each.population],
            condition=subject.condition,
            key=f"calibration-{index}",
            index=index,
        )
        for index, model, each in _drawn(subject, curves, subject.population)
    )
    return {
        "calibration": tables.measure_table(subject, tables.CALIBRATION, tested),
        "calibrations": [chart for chart in found if chart is not None],
        "calibration_said": sections.calibration_sentences(subject),
        "recalibration": tables.recalibration_table(artefacts),
        "brier": tables.brier_table(subject),
        "before_after": tables.before_after_table(artefacts, subject),
    }


def _risk_charts(subject: Subject, curves: Curves, population: str) -> list[report_charts.Chart]:
    return [
        report_charts.risk_distribution(
            each,
            subject.evaluation.models[model][population],
            condition=subject.condition,
            key=f"risks-{index}",
        )
        for index, model, each in _drawn(subject, curves, population)
    ]


def _utility(subject: Subject, curves: Curves) -> dict[str, Any]:
    lines = _decision_lines(subject, curves, subject.population)
    pair = {name: lines[name] for name in (subject.baseline, subject.main) if name in lines}
    found = [report_charts.decision_curve(pair, population=subject.population, key="decision-pair")]
    found.append(report_charts.interventions_avoided(pair, population=subject.population, key="avoided"))
    for each in curves.decision_differences:
        if each.population == subject.population and set(each.models) == {subject.main, subject.baseline}:
            found.append(report_charts.decision_difference(each, key="decision-difference"))
    if len(lines) > len(pair):
        every = report_charts.decision_curve(
            lines, population=f"{subject.population}, all models", key="decision-all"
        )
        found.append(every)
    useful = {model: useful_span(line) for model, (_, line) in lines.items()}
    harmful = {model: harmful_spans(line) for model, (_, line) in lines.items()}
    return {
        "decision": [chart for chart in found if chart is not None],
        "utility_said": sections.utility_sentences(useful, harmful),
    }


def _decision_lines(
    subject: Subject, curves: Curves, population: str
) -> dict[str, tuple[int, DecisionLines]]:
    return {
        model: (index, each.decision)
        for index, model, each in _drawn(subject, curves, population)
        if each.decision is not None
    }


def useful_span(lines: DecisionLines) -> tuple[float, float] | None:
    """The longest run of thresholds where the lower bound beats flagging everyone and no one, if any."""
    runs = _spans(lines, lines.net_benefit.low > np.maximum(lines.treat_all, 0.0))
    return max(runs, key=lambda run: run[1] - run[0]) if runs else None


def harmful_spans(lines: DecisionLines) -> list[tuple[float, float]]:
    """The runs of thresholds where the upper bound lies below flagging everyone, or below flagging no one."""
    return _spans(lines, lines.net_benefit.high < np.maximum(lines.treat_all, 0.0))


def _spans(lines: DecisionLines, where: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """First and last threshold of each run where something holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(int)))
    ends = zip(edges[::2], edges[1::2] - 1, strict=True)
    return [(float(lines.threshold[start]), float(lines.threshold[end])) for start, end in ends]


def _failures(subject: Subject, artefacts: Artefacts) -> dict[str, Any]:
    found = failure_cards(subject, artefacts)
    neighbours = any(card["nearest"] for model in found for card in model["cards"])
    return {"failures": found, "neighbours": neighbours, "most": (MOST_MISSED, MOST_ALARMS)}


def _external(subject: Subject, curves: Curves, population: str) -> dict[str, Any]:
    scores = subject.evaluation.models[subject.models(population)[0]][population]
    shown = _drawn(subject, curves, population)[:2]
    place = subject.external.index(population)
    found = []
    for index, model, each in shown:
        those = subject.evaluation.models[model][population]
        key = f"external-{place}-{index}"
        found.append(report_charts.roc(each, those, key=f"{key}-roc", index=index))
        found.append(
            report_charts.calibration(each, those, condition=subject.condition, key=f"{key}-cal", index=index)
        )
    return {
        "name": population,
        "cases": whole(scores.cases),
        "events": whole(scores.events),
        "auc": tables.measure_table(subject, tables.DISCRIMINATION, [population]),
        "points": tables.point_table(subject, population),
        "calibration": tables.measure_table(subject, tables.CALIBRATION, [population]),
        "comparisons": tables.comparison_table(subject, [population]),
        "charts": [chart for chart in found if chart is not None],
    }


def _watched(subject: Subject) -> Table | None:
    names = ("auc_logit", "brier", "calibration_intercept", "calibration_slope")
    table = tables.measure_table(subject, names, subject.watched)
    return table if table.rows else None


def _checklists(artefacts: Artefacts) -> dict[str, Any]:
    rows = rows_for(artefacts)
    guidelines: dict[str, list[Any]] = {}
    for row in rows:
        guidelines.setdefault(row.guideline, []).append(row)
    counts = [(status, sum(row.status == status for row in rows)) for status in STATUSES]
    return {"checklist": list(guidelines.items()), "checklist_counts": counts}


def _contents(page: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sections that are on this page."""
    there = {
        **page,
        "has_data": any(page[name] for name in ("audit", "differences", "learning_chart", "check_strip")),
        "has_points": page["points"].rows,
    }
    return [(anchor, name) for anchor, name, needed in SECTIONS if there[needed]]
