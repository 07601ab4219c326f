"""The wrong calls that a report shows, each with its image, its risks and what it resembles."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clineval.reporting.artefacts import Artefacts
from clineval.reporting.gallery import MOST_ALARMS, MOST_MISSED, failures, main_point
from clineval.reporting.sections import twin_cases
from clineval.reporting.sentences import chosen_words, number, whole
from clineval.reporting.subject import SPOKEN, Subject
from clineval.reporting.tables import Table

OPEN_CARDS = 12  # failures shown per model before the rest is folded away
MOST_CARDS = 60  # failures of one population that the page holds; the table has them all


def failure_cards(subject: Subject, artefacts: Artefacts) -> list[dict[str, Any]]:
    """The main model's wrong calls, then the combined one's and the baseline's; empty without a threshold."""
    if not (artefacts.table["split"] == subject.population).any():
        return []
    first = [name for name in (subject.main, *SPOKEN, subject.baseline) if name]
    return [
        _failures_of(model, subject, artefacts)
        for model in dict.fromkeys(first)
        if (scores := subject.scores(model)) is not None and main_point(scores) is not None
    ]


def _failures_of(model: str, subject: Subject, artefacts: Artefacts) -> dict[str, Any]:
    scores = subject.evaluation.models[model][subject.population]
    found = failures(artefacts.table, scores, model=model, population=subject.population)
    missed = found.cases[found.cases["outcome"] == 1].head(MOST_MISSED)
    alarms = found.cases[found.cases["outcome"] == 0].head(MOST_ALARMS)
    shown = [*missed["case"], *alarms["case"]][:MOST_CARDS]
    risks = _risks_of(shown, subject, artefacts)
    twins = twin_cases(artefacts)
    outcomes = {**dict.fromkeys(missed["case"], 1), **dict.fromkeys(alarms["case"], 0)}
    models = list(dict.fromkeys([subject.main, *subject.models()]))
    cards = [
        _card(case, outcomes[case], risks.get(case, {}), models, twin=case in twins, artefacts=artefacts)
        for case in shown
    ]
    with_images = any(card["image"] for card in cards)
    threshold = f"threshold {number(found.point.threshold)}, {chosen_words(found.point)}"
    return {
        "name": model,
        "table": None if with_images else _failure_table(cards, subject),
        "title": f"{model} at {threshold}: {whole(found.missed)} missed, {whole(found.alarms)} false alarms",
        "cards": cards,
        "open": OPEN_CARDS,
        "left_out": len(found.cases) - len(cards),
    }


def _failure_table(cards: Iterable[Mapping[str, Any]], subject: Subject) -> Table:
    """The wrong calls as plain rows, for a table that came without images."""
    models = subject.models()
    rows = []
    for card in cards:
        risks = dict(card["risks"])
        kind = "missed" if card["outcome"] else "false alarm"
        rows.append((card["case"], kind, *(risks.get(model, "–") for model in models)))
    return Table(("case", "call", *(f"risk by {model}" for model in models)), tuple(rows))


def _risks_of(
    cases: Iterable[str], subject: Subject, artefacts: Artefacts
) -> Mapping[str, Mapping[str, float]]:
    table = artefacts.table
    rows = table[(table["split"] == subject.population) & table["case"].isin(list(cases))]
    found: dict[str, dict[str, float]] = {}
    for case, model, risk in zip(rows["case"], rows["model"], rows["risk"], strict=True):
        found.setdefault(case, {})[model] = risk
    return found


def _card(
    case: str,
    outcome: int,
    risks: Mapping[str, float],
    models: Sequence[str],
    *,
    twin: bool,
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
        "twin": twin,
        "nearest": nearest,
    }
