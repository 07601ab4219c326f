"""Sections of the report that every kind of results shares."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clineval.evaluation.records import PopulationScores, ScoredPoint, SubgroupCell, SubgroupTable
from clineval.reporting import sentences
from clineval.reporting import sentences as wording
from clineval.reporting.artefacts import Artefacts, file_hash
from clineval.reporting.gallery import main_point
from clineval.reporting.sentences import (
    chosen_words,
    defined,
    interval,
    listed,
    number,
    percent,
    signed,
    whole,
)
from clineval.reporting.subject import ELSEWHERE, Subject, main_comparison, turned
from clineval.reporting.tables import AS_PERCENT, MEASURE_NAMES, Cell, Row, Table, cell, signed_cell
from clineval.results import LEDGER, read_openings
from clineval.statistics.intervals import Estimate

Fact = tuple[str, str, str]  # name, value, and what stands small behind it


def header(artefacts: Artefacts, subject: Subject) -> dict[str, Any]:
    """Title, kind and facts, by the names that the template uses."""
    if artefacts.transport:
        return _of_validation(artefacts.transport, subject)
    return {
        "kind": " · ".join(filter(None, ("Clinical evaluation", artefacts.dataset))),
        "title": _page_title(artefacts, subject),
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


def _page_title(artefacts: Artefacts, subject: Subject) -> str:
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


Rows = list[tuple[str, str]]

WITHOUT_NUMBERS = ("cores", "thread_variables", "arithmetic_libraries")
"""Of the machine: no number depends on them, so that the page does not either."""

SHORT = 12  # digits of a hash that tell it from others to the eye
NOT_RECORDED = "not recorded"


def origin(artefacts: Artefacts) -> list[tuple[str, Rows]]:
    """What does not change between two runs of the same program on the same data and settings."""
    record = artefacts.provenance
    if not record:
        return []
    program = [
        ("Program", str(record.get("program", ""))),
        ("Commit", commit_words(record.get("commit"), "not from a checkout")),
        (f"SHA-256 of {artefacts.table_name}", file_hash(artefacts.folder / artefacts.table_name)),
        ("SHA-256 of evaluation.json", file_hash(artefacts.folder / "evaluation.json")),
    ]
    machine = {k: v for k, v in record.get("platform", {}).items() if k not in WITHOUT_NUMBERS}
    groups = [
        ("Program and tables", program),
        ("Data", _flat({k: v for k, v in artefacts.source.items() if k != "labels"})),
        ("Settings", _flat(record.get("settings", {}))),
        ("Versions", _flat(record.get("versions", {}))),
        ("Machine", _flat(machine)),
    ]
    return [(heading, rows) for heading, rows in groups if rows]


def openings(artefacts: Artefacts) -> dict[str, Any]:
    """How often each population kept for testing was opened and by which settings; empty if unknown."""
    entries = read_openings(artefacts.folder / LEDGER)
    if not entries:
        return {}
    headings = (
        "population",
        "times",
        "settings",
        "what differs from the first",
        "models",
        "program",
    )
    return {"sentences": list(_sentences(entries)), "table": Table(headings, tuple(_rows(entries)))}


def _sentences(entries: list[dict[str, Any]]) -> Iterator[str]:
    for population in dict.fromkeys(str(entry.get("population")) for entry in entries):
        of_it = [entry for entry in entries if str(entry.get("population")) == population]
        settings = {_frozen(entry).get("settings_sha256") for entry in of_it}
        times = "once" if len(of_it) == 1 else f"{len(of_it)} times"
        by = "one setting" if len(settings) == 1 else f"{len(settings)} different settings"
        yield f"“{population}” was opened {times} in this results folder, under {by}."


def _rows(entries: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    first = next((found for entry in entries if (found := _settings(entry)) is not None), None)
    counted: dict[tuple[str, ...], int] = {}
    for entry in entries:
        frozen = _frozen(entry)
        key = (
            str(entry.get("population")),
            _short(frozen.get("settings_sha256")),
            _changes(first, _settings(entry)),
            _short(frozen.get("models_sha256")),
            commit_words(entry.get("commit"), "not from a checkout", digits=SHORT),
        )
        counted[key] = counted.get(key, 0) + 1
    for (population, *rest), times in counted.items():
        yield (population, str(times), *rest)


def _frozen(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    frozen = entry.get("frozen")
    return frozen if isinstance(frozen, Mapping) else {}


def _settings(entry: Mapping[str, Any]) -> dict[str, str] | None:
    frozen = _frozen(entry)
    settings = frozen.get("settings")
    if not isinstance(settings, Mapping):
        return None
    return {**dict(_flat(settings)), "data": _short(frozen.get("data_sha256"))}


def _changes(first: Mapping[str, str] | None, other: Mapping[str, str] | None) -> str:
    if first is None or other is None:
        return NOT_RECORDED
    names = dict.fromkeys((*first, *other))
    said = [f"{name} {other.get(name, 'not set')}" for name in names if first.get(name) != other.get(name)]
    return "; ".join(said) or "nothing"


def _short(digest: Any) -> str:
    return str(digest)[:SHORT] if digest else NOT_RECORDED


def commit_words(commit: Any, otherwise: str, *, digits: int = 40) -> str:
    """A recorded commit in words, ``otherwise`` where there is none."""
    if not isinstance(commit, Mapping) or not commit.get("hash"):
        return otherwise
    return (
        f"{str(commit['hash'])[:digits]}{'' if commit.get('clean', True) else ', with changes not committed'}"
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Rows:
    """Names and values, a row each; what was not set, and lists of records, are left out."""
    rows: Rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            words = [str(each) for each in value if not isinstance(each, Mapping)]
            rows += [(f"{prefix}{name}", ", ".join(words))] if words else []
        elif value not in ("", None):
            rows.append((f"{prefix}{name}", str(value)))
    return rows


HEADINGS = ("measure", "truth", "intervals that held it", "all too high", "all too low", "mean width")


@dataclass(frozen=True)
class SimulatedCoverage:
    """How often our intervals hold the truth on simulated sets of one model's size, events and AUC."""

    title: str
    table: Table


def simulated_coverage(record: Mapping[str, Any]) -> list[SimulatedCoverage]:
    """One table per model and population of ``coverage.json``; none where nothing was simulated."""
    return [
        SimulatedCoverage(
            _coverage_title(each, record), Table(HEADINGS, tuple(map(_coverage_row, each["measures"])))
        )
        for each in record.get("populations", ())
    ]


def _coverage_title(simulated: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    return (
        f"{simulated['model']} on {simulated['population']}: {whole(record['simulations'])} simulated sets "
        f"of {whole(simulated['cases'])} cases, {whole(simulated['events'])} with the condition, "
        f"AUC {number(simulated['expected_auc'])}"
    )


def _coverage_row(measure: Mapping[str, Any]) -> Row:
    held = Cell(
        percent(measure["covered"]),
        f"± {percent(1.96 * measure['error'])}" if measure["error"] is not None else "",
        words=f"undefined in {whole(measure['undefined'])}" if measure["undefined"] else "",
    )
    return (
        MEASURE_NAMES.get(measure["measure"], measure["measure"]),
        number(measure["truth"]),
        held,
        percent(measure["too_high"]),
        percent(measure["too_low"]),
        number(measure["mean_width"]),
    )


def subgroup_sections(subject: Subject) -> list[dict[str, Any]]:
    """Per population its models, the main one first, and which columns make no subgroups."""
    found = []
    for population in (subject.population, *subject.external):
        names = subject.models(population)
        first = [subject.main] if subject.main in names else []
        models = [_of_model(name, population, subject) for name in dict.fromkeys([*first, *names])]
        shown = [each for each in models if each["tables"] or each["counts"]]
        left_out = _left_out(subject, names, population)
        if shown or left_out:
            found.append({"population": population, "models": shown, "left_out": left_out})
    return found


def _of_model(model: str, population: str, subject: Subject) -> dict[str, Any]:
    scores = subject.scores(model, population)
    tables = [each for each in (scores.subgroups if scores is not None else ()) if not each.skipped]
    return {
        "name": model,
        "tables": [_shown(each, model) for each in tables if _estimated(each)],
        "counts": [_shown(each, model) for each in tables if not _estimated(each)],
    }


def _estimated(table: SubgroupTable) -> bool:
    return any(each.measures for each in table.cells)


def _shown(table: SubgroupTable, model: str) -> dict[str, Any]:
    name = f"{model} by {table.attribute}, threshold {number(table.threshold)}"
    return {"attribute": table.attribute, "name": name, "table": _cells(table)}


def _left_out(subject: Subject, models: Iterable[str], population: str) -> list[str]:
    """One sentence per reason, with the columns that it concerns."""
    reasons: dict[str, dict[str, None]] = {}
    for model in models:
        scores = subject.scores(model, population)
        for each in scores.subgroups if scores is not None else ():
            if each.skipped:
                reasons.setdefault(each.skipped, {})[each.attribute] = None
    return [f"{listed(list(columns))}: {reason}" for reason, columns in reasons.items()]


def _cells(table: SubgroupTable) -> Table:
    names = list(dict.fromkeys(name for each in table.cells for name in each.measures))
    rows: list[Row] = []
    for each in table.cells:
        cells: Iterable[str | Cell]
        if each.suppressed:
            cells = [Cell("–", "", each.suppressed) for _ in names]
        else:
            cells = [_cell(each, name) for name in names]
        rows.append((each.value, whole(each.cases), whole(each.events), *cells))
    headings = (table.attribute, "cases", "events", *(MEASURE_NAMES.get(name, name) for name in names))
    return Table(headings, tuple(rows))


def _cell(found: SubgroupCell, name: str) -> Cell:
    """A measure within the subgroup and below it how far it lies from that of all other cases."""
    shown = cell(found.measures.get(name), as_percent=name in AS_PERCENT)
    apart = found.less_rest.get(name)
    if apart is None or not defined(apart):
        return shown
    return replace(shown, words=f"vs rest {_apart(apart, as_points=name in AS_PERCENT)}")


def _apart(gap: Estimate, *, as_points: bool) -> str:
    size, bounds = signed(gap.value, as_points=as_points), interval(gap, as_points=as_points)
    return f"{size}{' pp' if as_points else ''} ({bounds})"


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
    return Table(tuple(headings), tuple(_leak_row(subject, name, changed=bool(pairs)) for name in shown))


def _leak_row(subject: Subject, model: str, *, changed: bool) -> Row:
    row: list[str | Cell] = [model, cell(_auc(subject, model)), cell(_auc(subject, model, CLEAN))]
    if changed:
        change = _change(subject, model)
        row += [cell(_auc(subject, f"{model}{WITHOUT_TWINS}")), signed_cell(change), verdict(change)]
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
    if change is None or not sentences.defined(change) or not sentences.interval(change):
        return "no interval, no statement"
    if sentences.covers(change, 0.0):
        return "compatible with no inflation by twins"
    return "lower without twins; fewer images may play a part" if change.value < 0 else "higher without twins"


def answer(subject: Subject) -> list[str]:
    """The answer in three sentences, as far as the numbers allow them."""
    scores = subject.scores(subject.main)
    if scores is None:
        return []
    sentences = [_ranking(subject, scores)]
    pair = main_comparison(subject)
    if pair is not None:
        sentences.append(
            wording.difference(*pair.models, pair.difference, measure="AUC", p_value=pair.p_value)
        )
    point = main_point(scores)
    if point is not None:
        sentences.append(detection(subject.main, point, subject.condition))
    return sentences


def _ranking(subject: Subject, scores: PopulationScores) -> str:
    best = scores.measures.get("auc_logit") or scores.measures.get("auc")
    said = wording.discrimination(subject.main, best, condition=subject.condition)
    other = subject.scores(subject.baseline) if subject.baseline else None
    if other is None or not wording.defined(other.measures.get("auc_logit")):
        return said
    return f"{said[:-1]}; {subject.baseline} reaches {wording.with_interval(other.measures['auc_logit'])}."


def detection(model: str, point: ScoredPoint, condition: str) -> str:
    """What happens at one operating point, in counts first."""
    count = {name: int(value or 0) for name, value in point.counts.items()}
    return wording.detection(
        model,
        condition=condition,
        threshold=f"{number(point.threshold)} ({chosen_words(point)})",
        found=count["true_positives"],
        present=count["true_positives"] + count["false_negatives"],
        alarms=count["false_positives"],
        absent=count["false_positives"] + count["true_negatives"],
        sensitivity=point.rates["sensitivity"],
        specificity=point.rates["specificity"],
    )


def limits(subject: Subject, artefacts: Artefacts) -> list[str]:
    """What the page cannot tell, in sentences."""
    said = []
    scores = subject.scores(subject.main)
    if scores is not None and scores.adequacy is not None:
        sentence = scores.adequacy.sentence
        said.append(f"Judged by the AUC of {subject.main}: {sentence[0].lower()}{sentence[1:]}")
    twins = artefacts.audit.get("test_with_twin")
    if twins and scores is not None:
        said.append(
            f"The split leaks: {twins} of {scores.cases} test images have a near-duplicate in the "
            "data that the models learnt from; results without them stand beside as test_clean."
        )
    if not subject.external and not artefacts.transport:
        said.append(
            "No external cohort was scored, so nothing here says how the models do at another hospital."
        )
    return [*said, *(scores.notes if scores is not None else ()), *subject.evaluation.notes]


def polarity(subject: Subject, artefacts: Artefacts) -> dict[str, Any]:
    """Which label is the condition, with counts and example images of both classes."""
    scores = subject.scores(subject.main)
    labels, images = artefacts.source.get("labels") or [], artefacts.gallery.images
    examples = [
        {
            "name": each["name"], "label": each["label"], "outcome": each["outcome"],
            "images": [(case, images[case]) for case in each["cases"] if case in images],
        }
        for each in artefacts.gallery.examples
    ]  # fmt: skip
    return {"labels": labels, "examples": examples, "scores": scores}


def audit_facts(artefacts: Artefacts) -> dict[str, Any]:
    """What the audit found, in counts."""
    audit = artefacts.audit
    if not audit:
        return {}
    groups = audit.get("groups", [])
    return {
        "measure": audit.get("measure", ""),
        "threshold": number(audit.get("threshold")),
        "reason": audit.get("threshold_reason", ""),
        "second_look": audit.get("second_look", ""),
        "groups": len(groups),
        "images": sum(len(group["cases"]) for group in groups),
        "byte_identical": audit.get("byte_identical", []),
        "contradictory": audit.get("contradictory", []),
        "cross_split_pairs": audit.get("cross_split_pairs", 0),
        "test_with_twin": audit.get("test_with_twin", 0),
        "val_with_twin": audit.get("val_with_twin", 0),
        "test_clean": len(audit.get("test_clean", [])),
    }


def twin_cases(artefacts: Artefacts) -> set[str]:
    """Test cases that have a twin in development data."""
    groups = artefacts.audit.get("groups", [])
    clean = set(artefacts.audit.get("test_clean", []))
    return {case for group in groups for case in group["cases"] if case not in clean}


def frequency_sentences(subject: Subject, people: str) -> list[str]:
    """What the main operating point of the main model and of its baseline means for 1,000 people."""
    said = []
    for model in filter(None, (subject.baseline, subject.main)):
        scores = subject.scores(model)
        point = main_point(scores) if scores is not None else None
        if scores is None or point is None:
            continue
        cells = wording.frequencies(
            prevalence=scores.prevalence,
            sensitivity=point.rates["sensitivity"].value,
            specificity=point.rates["specificity"].value,
        )
        lead = f"{model} at threshold {number(point.threshold)}, with the condition as common as here"
        said.append(f"{lead}: {wording.natural(cells, people=people, condition=subject.condition)}")
    return said


def calibration_sentences(subject: Subject) -> list[str]:
    """What the calibration of each model allows one to say."""
    said = []
    for model in subject.models():
        scores = subject.scores(model)
        if scores is not None:
            slope, intercept = (scores.measures.get(f"calibration_{name}") for name in ("slope", "intercept"))
            said.append(wording.calibration(model, slope, intercept))
    return said


def utility_sentences(
    useful: Mapping[str, tuple[float, float] | None], harmful: Mapping[str, list[tuple[float, float]]]
) -> list[str]:
    """Where the interval of the net benefit lies above both plain strategies, and where below the better."""
    return [_useful(model, span) + _harmful(harmful.get(model, [])) for model, span in useful.items()]


def _useful(model: str, span: tuple[float, float] | None) -> str:
    if span is None:
        return f"{model}: at no threshold does its whole interval lie above flagging everyone and no one."
    return (
        f"{model}: its whole interval lies above flagging everyone and no one at thresholds "
        f"from {number(span[0], 2)} to {number(span[1], 2)}."
    )


def _harmful(spans: list[tuple[float, float]]) -> str:
    """What a reader must not overlook: where following the model is worse than having none."""
    if not spans:
        return ""
    where = wording.listed([_from_to(span) for span in spans])
    return (
        f" At thresholds {where} it lies wholly below the better of these two: there flagging everyone, or "
        "no one, does more good than following the model."
    )


def _from_to(span: tuple[float, float]) -> str:
    low, high = (number(end, 2) for end in span)
    return f"of {low}" if low == high else f"from {low} to {high}"
