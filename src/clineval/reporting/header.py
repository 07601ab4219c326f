"""What stands above a report: its title, and what was scored where, in short."""

from collections.abc import Mapping
from typing import Any

from clineval.reporting.artefacts import Artefacts
from clineval.reporting.origin import commit_words
from clineval.reporting.subject import Subject
from clineval.reporting.transported import ELSEWHERE
from clineval.reporting.wording import percent, whole

Fact = tuple[str, str, str]  # name, value, and what stands small behind it


def header(artefacts: Artefacts, subject: Subject) -> dict[str, Any]:
    """Title, kind and facts, by the names that the template uses."""
    if artefacts.transport:
        return _of_validation(artefacts.transport, subject)
    return {
        "kind": " · ".join(filter(None, ("Clinical evaluation", artefacts.dataset))),
        "title": _title(artefacts, subject),
        "facts": [
            ("Condition", subject.condition, ""),
            ("Population", subject.population, ""),
            *_counted(subject),
            ("Models", str(len(subject.evaluation.models)), ""),
            ("Data", _data_state(artefacts, subject), ""),
        ],
    }


def _of_validation(content: Mapping[str, Any], subject: Subject) -> dict[str, Any]:
    home, name = content["internal"], content["external"]
    cases, events = _counted(subject)
    return {
        "kind": f"External validation · {name}",
        "title": f"Do the models trained on {home} hold among the patients of {name}?",
        "facts": [
            ("Condition", subject.condition, ""),
            ("Run that was validated", *_run(content)),
            ("External cohort", name, ""),
            ("Images", *cases[1:]),
            *_patients(content, subject),
            events,
            ("Models", str(len(subject.evaluation.models)), ""),
            ("Frozen", "everything", "scaling, models, recalibrations, thresholds"),
        ],
    }


def _run(content: Mapping[str, Any]) -> tuple[str, str]:
    """The data set of the run, and its size, split and commit where they are recorded."""
    run = content.get("run") or {}
    side = f"{run['side']} × {run['side']} pixels" if run.get("side") else ""
    split = f"{run['split']} split" if run.get("split") else ""
    digits = commit_words(run.get("commit"), "", digits=12)
    commit = f"commit {digits}" if digits else ""
    return str(content["internal"]), ", ".join(filter(None, (side, split, commit)))


def _patients(content: Mapping[str, Any], subject: Subject) -> list[Fact]:
    column = content.get("group_column")
    if not column:
        return [("Patients", "not told apart", "every image counts alone")]
    mix = content["models"][subject.main]["mix"][ELSEWHERE]
    return [("Patients or groups", whole(mix["groups"]), f"column {column}")]


def _counted(subject: Subject) -> tuple[Fact, Fact]:
    scores = subject.scores(subject.main)
    if scores is None:
        scores = subject.evaluation.models[subject.models()[0]][subject.population]
    share = f"({percent(scores.prevalence)})"
    return ("Cases", whole(scores.cases), ""), ("With the condition", whole(scores.events), share)


def _title(artefacts: Artefacts, subject: Subject) -> str:
    where = f" in {artefacts.dataset}" if artefacts.dataset else ""
    count = len(subject.models())
    models = "a model" if count == 1 else f"{count} models"
    return f"How well {'does' if count == 1 else 'do'} {models} recognise “{subject.condition}”{where}?"


def _split(data: Mapping[str, Any]) -> str:
    """How the cases were parted: by a rule of the set's, or own images by their table or by group."""
    if not data.get("own"):
        return f"{data['split']} split"
    column = data["own"].get("split_column")
    return f"split by column {column}" if column else "split by group, seeded"


def _data_state(artefacts: Artefacts, subject: Subject) -> str:
    if artefacts.synthetic:
        return "synthetic phantoms, not patients"
    data = artefacts.provenance.get("settings", {}).get("data", {})
    if not data.get("split"):
        return "a table of predictions"
    return _split(data) + (", and test clean of twins" if "test_clean" in subject.others else "")
