"""A model card in the Hugging Face layout, and the checklists TRIPOD+AI, CLAIM 2024 and STARD-AI."""

import csv
import io
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from clineval.evaluation.records import PopulationScores
from clineval.files import EVALUATION, program_version, write_whole
from clineval.reporting import sections
from clineval.reporting.artefacts import Artefacts, read_artefacts
from clineval.reporting.external import subject_in, verdict_in
from clineval.reporting.sections import commit_words
from clineval.reporting.sentences import (
    Subject,
    chosen_words,
    number,
    percent,
    subject_of,
    whole,
    with_interval,
)

CHECKLIST = "checklist.csv"
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
    path = folder / CHECKLIST
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
        files = ", ".join(need for need in needed if not need.startswith("@")) or EVALUATION
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


CARD = "model_card.md"
SAID_ABOVE = ("condition", "image", "kind")  # keys of a model's record that the card's head already holds
METRICS = (("roc_auc", "AUC", "auc"), ("brier_score", "Brier score", "brier"))


def write_model_card(folder: Path, artefacts: Artefacts | None = None) -> Path:
    """Write ``model_card.md`` from the artefacts in ``folder``; InputError where they make no report.

    Parameters
    ----------
    artefacts : those of the folder, where they are at hand.
    """
    artefacts = artefacts or read_artefacts(folder)
    path = folder / CARD
    text = _template().render(**_content(artefacts, subject_in(artefacts)))
    write_whole(path, _spaced(text))
    return path


def _spaced(text: str) -> str:
    """One empty line before every heading and never two together."""
    apart = re.sub(r"\n(#+ )", r"\n\n\1", text)
    return re.sub(r"\n{3,}", "\n\n", apart).strip() + "\n"


@cache
def _template() -> jinja2.Template:
    # Markdown, not HTML: names are made safe by ``_plain`` instead of by entities.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("model_card.md.jinja")


def _content(artefacts: Artefacts, subject: Subject) -> dict[str, Any]:
    source, commit = artefacts.source, artefacts.provenance.get("commit") or {}
    size = artefacts.exploration.get("image_size")
    pixels = f"grey images of {size[0]} x {size[1]} pixels" if size else "not described beside the table"
    return {
        "title": _title(artefacts, subject),
        "run": _run(artefacts),
        "dataset_id": "" if artefacts.transport else plain(str(source.get("dataset", ""))),
        "index": [] if artefacts.synthetic else _index(artefacts, subject),
        "synthetic": artefacts.synthetic,
        "synthetic_reason": plain(artefacts.synthetic_reason),
        "models": [plain(subject.evaluation.named(model)) for model in subject.evaluation.models],
        "condition": plain(subject.condition),
        "input": pixels,
        "program": f"clineval {program_version()}",
        "commit": commit.get("hash", ""),
        "data_licence": source.get("licence", ""),
        "details": [
            _details(subject.evaluation.named(model), record) for model, record in artefacts.stored.items()
        ],
        "limits": [plain(sentence) for sentence in sections.limits(subject, artefacts)],
        "training": _training(artefacts, subject),
        "data_sentence": _data_sentence(subject),
        "answer": [plain(sentence) for sentence in _answer(artefacts, subject)],
        "results": _results(subject),
        "points": _points(subject),
        "level": f"{subject.evaluation.level * 100:g}%",
        "citation": source.get("citation", ""),
    }


def _title(artefacts: Artefacts, subject: Subject) -> str:
    name = plain(artefacts.dataset or subject.population)
    internal = artefacts.transport.get("internal")
    return f"models trained on {plain(str(internal))}, validated on {name}" if internal else name


def _run(artefacts: Artefacts) -> dict[str, Any]:
    """Where the models are that a validation scored; empty for a run, which holds its own."""
    run = artefacts.transport.get("run") or {}
    if not artefacts.transport:
        return {}
    named = str(run.get("file") or run.get("folder") or "RESULTS")
    folder = " ".join(named.replace("`", "").split())
    return {
        "folder": folder,
        "file": "file" in run,
        "quoted": shlex.quote(folder),
        "commit": commit_words(run.get("commit"), "", digits=12),
        "models_sha256": str(run.get("models_sha256") or "")[:12],
    }


def plain(text: str) -> str:
    """A name that cannot change the layout of the page around it: one line, Markdown's signs escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _quoted(text: str) -> str:
    """A YAML string in double quotes."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _index(artefacts: Artefacts, subject: Subject) -> list[dict[str, Any]]:
    """What a model hub shows beside a model: the main population's measures."""
    return [
        {
            "name": _quoted(model),
            "dataset": _quoted(artefacts.dataset or subject.population),
            "dataset_type": _quoted(str(artefacts.source.get("dataset", "custom"))),
            "split": _quoted(subject.population),
            "metrics": [
                {"type": kind, "name": name, "value": round(scores.measures[key].value, 4)}
                for kind, name, key in METRICS
                if not np.isnan(scores.measures[key].value)
            ],
        }
        for model in subject.models()
        if (scores := subject.scores(model)) is not None
    ]


def _details(model: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What was recorded of one model: numbers and words, no arrays."""
    rows = [("cases trained on", record.get("trained_on", "")), *_short(record.get("training", {}))]
    choice = record.get("recalibration", {})
    if choice:
        rows.append(("recalibration", f"{choice.get('kind', '')}: {choice.get('reason', '')}"))
    if record.get("mean_logit_of"):
        counted = Counter(record["mean_logit_of"])
        parts = (name if times == 1 else f"{name} ({times} times)" for name, times in counted.items())
        rows.append(("mean, on the logit scale, of", ", ".join(parts)))
    return {"name": plain(model), "rows": [(plain(n), plain(str(v))) for n, v in rows if v not in ("", None)]}


def _short(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        words = f"{prefix}{name.replace('_', ' ')}"
        if name in SAID_ABOVE:
            continue
        if isinstance(value, Mapping):
            rows += _short(value, f"{words}, ")
        elif isinstance(value, list):
            if len(value) <= 12 and all(isinstance(each, int | float | str) for each in value):
                rows.append((words, ", ".join(map(_value, value))))
        else:
            rows.append((words, _value(value)))
    return rows


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _training(artefacts: Artefacts, subject: Subject) -> str:
    for split in artefacts.exploration.get("splits", ()):
        if split["split"] == "train":
            events = f"{whole(split['events'])} {plain(subject.condition)} ({percent(split['prevalence'])})"
            near = artefacts.audit.get("test_with_twin")
            leak = f" {near} test images have a near-duplicate in train or val." if near else ""
            return f"{plain(artefacts.dataset)}, split train: {whole(split['cases'])} images, {events}.{leak}"
    if "alone" in artefacts.transport:
        return "Not described: the model was trained elsewhere, without a run of this program."
    if artefacts.transport:
        internal = plain(str(artefacts.transport["internal"]))
        return f"{internal}; the card of that run describes it. No model learnt from the cases scored here."
    return "Not described beside the table of predictions."


def _data_sentence(subject: Subject) -> str:
    scores = subject.scores(subject.main)
    if scores is None:
        return ""
    events = f"{whole(scores.events)} with the condition ({percent(scores.prevalence)})"
    return f"Population {plain(subject.population)}: {whole(scores.cases)} cases, {events}."


def _answer(artefacts: Artefacts, subject: Subject) -> Iterator[str]:
    """The headline of the report, then each light."""
    found = verdict_in(artefacts.transport, subject)
    said = " ".join(filter(None, [found.opening, found.headline]))
    yield f"{subject.evaluation.named(subject.main)}: {said}"
    for light in found.lights:
        yield f"{light.question} {light.answer}. {light.sentence}"


def _results(subject: Subject) -> list[tuple[str, ...]]:
    names = ("auc_logit", "brier", "calibration_slope", "calibration_intercept")
    return [
        (
            plain(subject.evaluation.named(model)), plain(population),
            f"{whole(scores.cases)} ({whole(scores.events)})",
            *(plain(with_interval(scores.measures.get(name), name_level=False)) for name in names),
        )
        for model, population, scores in _tested(subject)
    ]  # fmt: skip


def _tested(subject: Subject) -> list[tuple[str, str, PopulationScores]]:
    return [
        (model, population, scores)
        for population in (subject.population, *subject.others, *subject.external)
        for model in subject.models(population)
        if (scores := subject.scores(model, population)) is not None
    ]


def _points(subject: Subject) -> list[tuple[str, ...]]:
    rows = []
    for model, population, scores in _tested(subject):
        for point in scores.operating_points:
            if np.isnan(point.threshold):
                continue
            counts = (point.counts[name] for name in ("true_positives", "false_negatives", "false_positives"))
            rates = (
                with_interval(point.rates[n], as_percent=True, name_level=False)
                for n in ("sensitivity", "specificity")
            )
            threshold = f"{number(point.threshold)}, {chosen_words(point)}"
            rows.append(
                (
                    plain(subject.evaluation.named(model)),
                    plain(population),
                    threshold,
                    *(whole(int(n or 0)) for n in counts),
                    *map(plain, rates),
                )
            )
    return rows
