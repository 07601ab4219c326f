"""One self-contained page that a clinician can read, made from what lies in a results folder."""

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from clineval.errors import InputError
from clineval.evaluation.curves import Curves, DecisionLines, PopulationCurves
from clineval.evaluation.curves import curves as curves_of
from clineval.evaluation.records import RANKING, OperatingPoint
from clineval.files import REPORT, program_version, write_whole
from clineval.predictions import ranked_by
from clineval.reporting import charts, external, sections, sentences, tables
from clineval.reporting.artefacts import (
    MOST_ALARMS,
    MOST_MISSED,
    ROBUSTNESS,
    Artefacts,
    extremes,
    failures,
    read_artefacts,
    read_maps,
    worst,
)
from clineval.reporting.beside import beside_readers, reader_marks
from clineval.reporting.model_card import STATUSES, rows_for
from clineval.reporting.sections import guaranteed, openings, origin, simulated_coverage
from clineval.reporting.sentences import (
    Subject,
    chosen_words,
    main_comparison,
    number,
    percent,
    whole,
)
from clineval.reporting.tables import Table
from clineval.reporting.verdict import ROC_FRAME, explorer_data, opening_state, sign

HERE = Path(__file__).parent


def write_report(folder: Path, artefacts: Artefacts | None = None, *, curves: Curves | None = None) -> Path:
    """Write ``report.html`` from the artefacts in ``folder``; sections without their artefact are left out.

    Parameters
    ----------
    artefacts : those of the folder, where they are at hand.
    curves : what ``evaluation.curves`` made of the folder's table, where it is at hand; else made here.

    Raises
    ------
    InputError : the table or the evaluation is missing, of another schema, or altered since it was written.
    """
    artefacts = artefacts or read_artefacts(folder)
    drawn = curves if curves is not None else curves_of(artefacts.table, artefacts.evaluation)
    path = folder / REPORT
    write_whole(path, render(artefacts, drawn))
    return path


def render(artefacts: Artefacts, curves: Curves) -> str:
    """The page as text; the same artefacts give the same text."""
    return page("report.html.jinja", content(artefacts, curves), script=_asset("report.js"))


def page(name: str, content: Mapping[str, Any], *, script: str = "") -> str:
    """A page that stands alone: a template of this package with the report's style, and its policy."""
    style = _asset("report.css")
    return template(name).render(
        **content,
        style=Markup(style),
        script=Markup(script),
        policy=_content_policy(style=style, script=script),
    )


def _content_policy(*, style: str, script: str) -> str:
    """What a browser may do with the page: its style and script by their hashes, embedded images, no more."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_source_hash(style)}'; "
        f"script-src '{_source_hash(script)}'; base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@cache
def template(name: str) -> jinja2.Template:
    """A page of this package, names in it made safe."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


LEARNING = "learning_curve_cnn.csv"
LARGEST_PICTURE = 600_000  # bytes of an image file that is embedded; a larger one stays beside the page

CLINICAL = (
    ("answer", "Verdict", "verdict"),
    ("curves", "Curves", "curves"),
    ("limits", "Limits", "limits"),
    ("cohort", "External cohort", "cohort"),
    ("sites", "Sites", "sites"),
    ("failures", "Wrong calls", "failures"),
    ("readers", "Readers", "readers"),
    ("points", "Thresholds", "points"),
    ("guaranteed", "Guarantee", "guaranteed"),
    ("subgroups", "Subgroups", "subgroups"),
    ("data", "Data", "counts"),
)
EVIDENCE = (
    ("discrimination", "Ranking", "auc"),
    ("calibration", "Calibration", "calibration"),
    ("utility", "Net benefit", "decision"),
    ("operating", "Thresholds", "points"),
    ("subgroups-all", "Subgroups", "subgroups_in_full"),
    ("transport", "External cohort in detail", "cohort"),
    ("external", "Other populations", "external"),
    ("watched", "Development data", "watched"),
    ("cases", "Wrong calls in detail", "failures"),
    ("probes", "Shortcut features", "probes"),
    ("audit", "Audit", "has_audit"),
    ("training", "Training", "learning_chart"),
    ("appendix", "Measures that mislead", "appendix"),
    ("checklists", "Checklists", "checklist"),
    ("methods", "Methods", "level"),
    ("provenance", "Provenance", "program"),
)


def content(artefacts: Artefacts, curves: Curves) -> dict[str, Any]:
    """Everything that the template shows; it decides nothing itself."""
    evaluation = artefacts.evaluation
    subject = external.subject_in(artefacts)
    page = {
        **sections.asked(artefacts, subject),
        "condition": subject.condition,
        "population": subject.population,
        "main": subject.main,
        "baseline": subject.baseline,
        "synthetic": artefacts.synthetic,
        "synthetic_reason": artefacts.synthetic_reason,
        "level": f"{evaluation.level * 100:g}%",
        "draws": whole(evaluation.draws),
        **_verdict(artefacts, subject, curves),
        **_explorer(artefacts, curves, subject),
        **_curves(subject, curves),
        "limits": sections.limits(subject, artefacts),
        "leak": sections.leak_table(subject),
        "cohort": _cohort(artefacts, subject),
        "sites": _sites(artefacts),
        **_failures(subject, artefacts),
        **_points(subject, curves),
        "readers": beside_readers(subject, curves),
        "guaranteed": guaranteed(subject),
        "subgroups": sections.subgroup_summary(subject),
        "subgroup_gaps": sections.subgroup_gaps(subject),
        "probes": external.run_probes(artefacts.probes),
        "subgroups_in_full": sections.subgroup_sections(subject),
        **_data(subject, artefacts),
        **_evidence(subject, curves, artefacts),
        **_checklists(artefacts),
        "simulated": simulated_coverage(artefacts.coverage),
        "provenance": origin(artefacts),
        "openings": openings(artefacts),
        "program": f"clineval {program_version()}",
        "table_name": artefacts.table_name,
    }
    page["scores"] = RANKING in evaluation.notes
    if page["scores"]:  # which say nothing of how likely the condition is
        page |= {"calibration": None, "risks": []}
    page["has_audit"] = any(page[name] for name in ("audit", "differences", "check_strip"))
    return {**page, "chapters": _there(CLINICAL, page), "evidence": _there(EVIDENCE, page)}


def _sites(artefacts: Artefacts) -> dict[str, Any]:
    """The chapter on several sites; empty for results of one. Its module draws, so it is loaded on demand."""
    inside = artefacts.evaluation.sites
    if not artefacts.sites and inside is None:
        return {}
    from clineval.reporting.sites import read_study, site_parts

    return site_parts(inside or read_study(artefacts.sites), artefacts.folder)


def _verdict(artefacts: Artefacts, subject: Subject, curves: Curves) -> dict[str, Any]:
    transport, primary = artefacts.transport, subject.evaluation.primary
    where = str(transport.get("external", ""))
    point = subject.point()
    return {
        "verdict": external.verdict_in(transport, subject, curves),
        "elsewhere": sections.elsewhere(artefacts) or external.unlike(transport),
        "detection": sentences.detection(point, condition=subject.condition) if point is not None else "",
        "rule": sentences.rule_words(primary.rule) if primary is not None else "",
        "beside": external.beside(transport, subject) if transport else {},
        "names": (str(transport.get("internal", "")), where),
    }


def _explorer(artefacts: Artefacts, curves: Curves, subject: Subject) -> dict[str, Any]:
    data = explorer_data(subject, curves, dataset=artefacts.dataset_id)
    if not data:
        return {"explorer": None, "explorer_json": Markup("")}
    populations = data["populations"]
    there = {model for entry in populations.values() for model in entry["models"]}
    labels = {
        point["name"]: point["label"]
        for entry in populations.values()
        for rows in entry["models"].values()
        for point in rows["points"]
    }
    own = populations[data["opens_on"]]["prevalence"]
    first = {
        point["name"]: point["label"]
        for point in populations[data["opens_on"]]["models"][subject.main]["points"]
    }
    view = {
        "models": [
            (name, subject.evaluation.named(name))
            for name in dict.fromkeys([*subject.pair, *subject.evaluation.models])
            if name in there
        ],
        "populations": list(populations),
        "opens_on": data["opens_on"],
        "highest_share": data["highest_share"],
        "share": min(max(own, 0.001), data["highest_share"]),
        "own": percent(own),
        "buttons": list({**labels, **first}.items()),
        "roc": _explorer_roc(reader_marks(subject.evaluation, ROC_FRAME)),
        "signs": {call: sign(call) for call in data["shapes"]},
        **opening_state(subject, data["opens_on"], dataset=artefacts.dataset_id),
    }
    return {"explorer": view, "explorer_json": embedded_json(data)}


def _explorer_roc(readers: Sequence[Markup]) -> Markup:
    """Axes, the line that the script fills, readers' points, and the point that the script moves."""
    marks = [
        charts.line(ROC_FRAME, (0, 1), (0, 1), css="chance"),
        Markup('<path id="explorer-roc-line" class="line m0"/>'),
        *readers,
        Markup('<path id="explorer-roc-spot" class="mark point" d="M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0Z"/>'),
    ]
    return charts.draw(
        ROC_FRAME,
        marks,
        key="explorer-roc",
        title="ROC curve of the chosen model with the chosen threshold",
        description="The point moves with the threshold; its sensitivity and specificity are in the table.",
    )


def embedded_json(value: Any) -> Markup:
    """JSON for a script element: nothing in it can end the element or start a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _drawn(
    subject: Subject, curves: Curves, population: str | None = None, models: Sequence[str] | None = None
) -> list[PopulationCurves]:
    """The curves of some models on a population, in the order of the subject: the primary model first."""
    where = population or subject.population
    names = subject.models(where) if models is None else models
    return [curves.models[name][where] for name in names if where in curves.models.get(name, {})]


def _decision_lines(drawn: Sequence[PopulationCurves]) -> dict[str, DecisionLines]:
    return {each.model: each.decision for each in drawn if each.decision is not None}


def _auc_words(subject: Subject, population: str, *, digits: int) -> dict[str, str]:
    found = {}
    for model in subject.models(population):
        auc = subject.evaluation.models[model][population].measures.get("auc_logit")
        if auc is not None and sentences.defined(auc):
            found[model] = charts.auc_words(auc.value, auc.low, auc.high, digits=digits)
    return found


def _curves(subject: Subject, curves: Curves) -> dict[str, Any]:
    """The three curves behind the lights: the primary model over the baseline."""
    pair, point = _drawn(subject, curves, models=subject.pair), subject.point()
    aucs = _auc_words(subject, subject.population, digits=2)
    found = (
        charts.roc(pair, point=point, aucs=aucs, key="roc", title="Ranking: ROC curve"),
        charts.calibration(pair, condition=subject.condition, key="cal", title="Risks: calibration"),
        charts.decision_curve(
            _decision_lines(pair), point=point, key="decision", title="Benefit: decision curve"
        ),
    )
    return {"curves": [chart for chart in found if chart is not None]}


def _cohort(artefacts: Artefacts, subject: Subject) -> dict[str, Any]:
    """The chapters on an external cohort; empty for results that are no validation."""
    if not artefacts.transport:
        return {}
    pictures = {"case_mix": "case_mix.png", "robustness": "robustness.png", "strip": "check_strip.png"}
    shown = {name: _picture(artefacts, file) for name, file in pictures.items()}
    there = artefacts.has(ROBUSTNESS)
    table = external.robustness_table(artefacts.folder / ROBUSTNESS, subject) if there else None
    return {**external.external_parts(artefacts.transport, subject), **shown, "robustness_table": table}


def _picture(artefacts: Artefacts, name: str) -> str:
    path = artefacts.folder / name
    if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
        return ""
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _failures(subject: Subject, artefacts: Artefacts) -> dict[str, Any]:
    found = failure_cards(subject, artefacts)
    neighbours = any(card["nearest"] for model in found for card in model["cards"])
    maps = read_maps(artefacts.maps)
    return {
        "failures": found,
        "neighbours": neighbours,
        "most": (MOST_MISSED, MOST_ALARMS),
        "maps": maps.sentence if maps is not None else "",
    }


def _points(subject: Subject, curves: Curves) -> dict[str, Any]:
    """What other thresholds would do, and where the risks lie."""
    (drawn,) = _drawn(subject, curves, models=[subject.main])
    chart = charts.risk_distribution(drawn, condition=subject.condition, point=subject.point(), key="risks")
    table = tables.point_table(subject, subject.population, models=subject.pair)
    return {
        "risks": [chart],
        "points": table if table.rows else None,
        "scored_at": _scored_at(subject),
        "mcnemar": tables.mcnemar_table(subject, subject.population),
    }


def _scored_at(subject: Subject) -> str:
    """How many thresholds the models of the pair were scored at, and how these were chosen."""
    scored = [subject.scores(model) for model in subject.pair]
    points = [point for each in scored if each is not None for point in each.operating_points]
    there = {(point.threshold, chosen_words(point)) for point in points if not math.isnan(point.threshold)}
    ways = Counter(words for _, words in sorted(there))
    said = ", ".join(f"{count} {words}" for words, count in ways.items()) or "none"
    return f"{ways.total()} threshold{'' if ways.total() == 1 else 's'} scored: {said}"


def _data(subject: Subject, artefacts: Artefacts) -> dict[str, Any]:
    """Labels, counts and the audit."""
    return {
        **sections.labels(artefacts),
        "counts": tables.counts_table(artefacts, subject),
        "source": artefacts.source,
        "audit": sections.audit_facts(artefacts),
        "duplicates": _picture(artefacts, "duplicates.png"),
        "differences": tables.split_differences(artefacts),
        "check_strip": "" if artefacts.transport else _picture(artefacts, "check_strip.png"),
        "learning_chart": _learning_chart(artefacts),
    }


def _learning_chart(artefacts: Artefacts) -> charts.Chart | None:
    """How the network learnt, from the data that lie beside their figure."""
    path = artefacts.folder / LEARNING
    if not path.is_file():
        return None
    try:
        return charts.learning(pd.read_csv(path), key="learning")
    except (ValueError, KeyError) as error:
        raise InputError(f"{LEARNING} is incomplete ({error}); write the results again.") from error


def _evidence(subject: Subject, curves: Curves, artefacts: Artefacts) -> dict[str, Any]:
    """All models, all comparisons, every population."""
    tested = [subject.population, *subject.others]
    return {
        **_ranking(subject, curves, tested),
        **_calibration(subject, curves, artefacts, tested),
        **_utility(subject, curves),
        "all_points": tables.point_table(subject, subject.population),
        "mcnemar": tables.mcnemar_table(subject, subject.population),
        "external": [_external(subject, curves, name) for name in subject.external],
        "watched": _watched(subject),
        "appendix": tables.appendix_table(subject),
    }


def _ranking(subject: Subject, curves: Curves, tested: list[str]) -> dict[str, Any]:
    every = _drawn(subject, curves)
    aucs = _auc_words(subject, subject.population, digits=3)
    chart = charts.roc(every, point=None, aucs=aucs, key="roc-all", title="ROC curves of all models")
    return {
        "auc": tables.measure_table(subject, tables.DISCRIMINATION, tested),
        "rocs": [chart] if chart is not None and len(every) > 2 else [],
        "difference": _difference(subject),
        "comparisons": tables.comparison_table(subject, tested),
        "spread": tables.spread_table(subject, subject.population),
        "by_group": tables.by_group_table(subject, [*tested, *subject.external]),
    }


def _difference(subject: Subject) -> str:
    pair = main_comparison(subject)
    return sentences.difference(*pair.models, pair.difference, measure="AUC") if pair is not None else ""


def _calibration(subject: Subject, curves: Curves, artefacts: Artefacts, tested: list[str]) -> dict[str, Any]:
    every = _drawn(subject, curves)
    chart = charts.calibration(
        every, condition=subject.condition, key="cal-all", title="Calibration of all models"
    )
    return {
        "calibration": tables.measure_table(subject, tables.CALIBRATION, tested),
        "calibrations": [chart] if chart is not None and len(every) > 2 else [],
        "recalibration": tables.recalibration_table(artefacts),
        "brier": tables.brier_table(subject),
    }


def _utility(subject: Subject, curves: Curves) -> dict[str, Any]:
    every = _decision_lines(_drawn(subject, curves))
    pair = {name: every[name] for name in subject.pair if name in every}
    found = [charts.interventions_avoided(pair, key="avoided")]
    for each in curves.decision_differences:
        if each.population == subject.population and set(each.models) == set(subject.pair):
            found.append(charts.decision_difference(each, key="decision-difference"))
    if len(every) > len(pair):
        title = "Decision curves of all models"
        found.append(charts.decision_curve(every, point=None, key="decision-all", title=title))
    return {"decision": [chart for chart in found if chart is not None]}


def _external(subject: Subject, curves: Curves, population: str) -> dict[str, Any]:
    scores = subject.evaluation.models[subject.models(population)[0]][population]
    pair = _drawn(subject, curves, population)[:2]
    key = f"external-{subject.external.index(population)}"
    aucs = _auc_words(subject, population, digits=3)
    point = subject.point(pair[0].model, population)
    found = (
        charts.roc(pair, point=point, aucs=aucs, key=f"{key}-roc"),
        charts.calibration(pair, condition=subject.condition, key=f"{key}-cal"),
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


def _there(chapters: Sequence[tuple[str, str, str]], page: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The chapters that are on this page."""
    return [(anchor, name) for anchor, name, needed in chapters if page[needed]]


IN_SHORT = 9  # missed cases, and false alarms, shown as small images in the clinician's part
OPEN_CARDS = 12  # failures shown per model before the rest is folded away
MOST_CARDS = 60  # failures of one population that the page holds; the table has them all


def failure_cards(subject: Subject, artefacts: Artefacts) -> list[dict[str, Any]]:
    """The wrong calls of the primary model, then of the baseline; empty without a threshold."""
    if not (artefacts.table["split"] == subject.population).any():
        return []
    return [
        _of_model(model, point, subject, artefacts)
        for model in subject.pair
        if (point := subject.point(model)) is not None
    ]


def _of_model(model: str, point: OperatingPoint, subject: Subject, artefacts: Artefacts) -> dict[str, Any]:
    found = failures(artefacts.table, point, model=model, population=subject.population)
    shown = worst(found.cases).head(MOST_CARDS)
    risks = _risks_of(shown["case"], subject, artefacts)
    near = near_duplicate_cases(artefacts)
    models = [model, *(name for name in subject.models() if name != model)]
    maps = map_pictures(artefacts) if artefacts.maps.get("model") == model else {}
    cards = [
        _card(case, outcome, risks.get(case, {}), models, near=case in near, artefacts=artefacts)
        | {"map": maps.get(case)}
        for case, outcome in zip(shown["case"].astype(str), shown["outcome"].astype(int), strict=True)
    ]
    missed, alarms = ([card for card in cards if card["outcome"] == outcome] for outcome in (1, 0))
    name = subject.evaluation.named(model)
    threshold = f"threshold {number(point.threshold)}, {chosen_words(point)}"
    return {
        "name": model,
        "table": None if any(card["image"] for card in cards) else _table(cards, subject),
        "title": f"{name} at {threshold}: {whole(found.missed)} missed, {whole(found.alarms)} false alarms",
        "missed": found.missed,
        "alarms": found.alarms,
        "cards": cards,
        "shown": [*missed[:IN_SHORT], *alarms[:IN_SHORT]],
        "open": OPEN_CARDS,
        "left_out": len(found.cases) - len(cards),
    }


def near_duplicate_cases(artefacts: Artefacts) -> set[str]:
    """Test cases that have a near-duplicate in development data."""
    groups = artefacts.audit.get("groups", [])
    clean = set(artefacts.audit.get("test_clean", []))
    return {case for group in groups for case in group["cases"] if case not in clean}


def map_pictures(artefacts: Artefacts) -> dict[str, dict[str, str]]:
    """By missed case the map over its image, as base64 PNG, and what to read beside it."""
    maps, images = read_maps(artefacts.maps), artefacts.gallery.images
    if maps is None or not images:
        return {}
    from clineval.reporting.maps import map_tile

    return {
        case: {
            "image": base64.b64encode(map_tile(found, images[case], grey=not check.passed)).decode("ascii"),
            "words": extremes(found),
            "reason": check.reason,
        }
        for case, (found, check) in maps.missed.items()
        if case in images
    }


def _table(cards: Iterable[Mapping[str, Any]], subject: Subject) -> Table:
    """The wrong calls as plain rows, for a table without images."""
    models = subject.models()
    rows = []
    for card in cards:
        risks = dict(card["risks"])
        kind = "missed" if card["outcome"] else "false alarm"
        rows.append((card["case"], kind, *(risks.get(model, "–") for model in models)))
    return Table(("case", "call", *(f"risk by {model}" for model in models)), tuple(rows), first=12)


def _risks_of(
    cases: Iterable[str], subject: Subject, artefacts: Artefacts
) -> Mapping[str, Mapping[str, float]]:
    table = artefacts.table
    rows = table[(table["split"] == subject.population) & table["case"].isin(list(cases))]
    found: dict[str, dict[str, float]] = {}
    for case, model, risk in zip(rows["case"], rows["model"], rows[ranked_by(rows)], strict=True):
        found.setdefault(case, {})[model] = risk
    return found


def _card(
    case: str,
    outcome: int,
    risks: Mapping[str, float],
    models: Sequence[str],
    *,
    near: bool,
    artefacts: Artefacts,
) -> dict[str, Any]:
    gallery = artefacts.gallery
    names = {each["outcome"]: each["name"] for each in gallery.examples}
    condition = artefacts.evaluation.condition
    nearest = [
        {
            "case": each["case"],
            "image": gallery.images.get(each["case"], ""),
            "similarity": number(each["similarity"], 2),
            "name": names.get(gallery.outcome.get(each["case"], -1), condition),
            "size": 56,
        }
        for each in gallery.nearest.get(case, ())
    ]
    return {
        "case": case,
        "outcome": outcome,
        "image": gallery.images.get(case, ""),
        "size": 112,
        "risks": [(model, number(risks[model], 2)) for model in models if model in risks],
        "near_duplicate": near,
        "nearest": nearest,
    }
