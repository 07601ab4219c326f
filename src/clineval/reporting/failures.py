"""The wrong calls that a report shows, each with its image, its risks and what it resembles."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clineval.evaluation.records import OperatingPoint
from clineval.predictions import ranked_by
from clineval.reporting.artefacts import Artefacts
from clineval.reporting.gallery import failures, worst
from clineval.reporting.sentences import Subject, chosen_words, number, whole
from clineval.reporting.tables import Table

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
    cards = [
        _card(case, outcome, risks.get(case, {}), models, near=case in near, artefacts=artefacts)
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
