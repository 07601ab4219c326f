"""What every kind of report says: question, limits, labels, audit, subgroups, guarantees, and its sources."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clineval.evaluation.operating_points import THESE_CASES_ONLY
from clineval.evaluation.records import PopulationScores, SubgroupCell, SubgroupTable
from clineval.evaluation.scores import RESPECTED
from clineval.files import EVALUATION
from clineval.reporting.artefacts import Artefacts
from clineval.reporting.sentences import (
    CLEAN,
    Subject,
    cases_of,
    covers,
    defined,
    interval,
    listed,
    number,
    p_text,
    percent,
    population_name,
    signed,
    turned,
    two_decimals,
    whole,
    whole_percent,
    with_condition,
)
from clineval.reporting.tables import AS_PERCENT, MEASURE_NAMES, Cell, Row, Table, cell, signed_cell
from clineval.results import LEDGER, hash_file, read_openings
from clineval.settings import WITHOUT_NEAR_DUPLICATES
from clineval.statistics.differences import GapTest
from clineval.statistics.intervals import Estimate
from clineval.statistics.thresholds import GuaranteedThreshold

UNLIKE, UNLIKE_WORDS = "unlike_training", "unlike the training images"  # attribute of validations, 1 or 0
PRETRAINED = "pretrained on ImageNet"
TEXTURE = (
    "Much of what the model pretrained on ImageNet gains lies in fine texture, which may be speckle or a "
    "signature of how this collection was acquired: blurring BreastMNIST's images by 3 of 224 pixels lowered "
    "its cross-validated AUC from 0.93 to 0.85. Do not expect the gain in images of another source."
)


def asked(artefacts: Artefacts, subject: Subject) -> dict[str, str]:
    """What was asked of which cases: the page's title, the line above it and the one below."""
    scores = subject.evaluation.models[subject.main][subject.population]
    present = (
        f"{whole(scores.events)} {with_condition(subject.condition)} ({whole_percent(scores.prevalence)})"
    )
    transport, model = artefacts.transport, subject.evaluation.named(subject.main)
    if transport:
        name = str(transport["external"])
        origin = "" if "alone" in transport else f", trained on {transport['internal']},"
        return {
            "title": f"Does the model “{model}”{origin} hold in {name}?",
            "kind": f"External validation · {name} · {whole(scores.cases)} cases, {present}"
            f"{_patients(transport, subject)}",
        }
    where = f" in {artefacts.dataset}" if artefacts.dataset else ""
    named = artefacts.dataset or artefacts.table_name or "a table of predictions"
    data = ", ".join(filter(None, (named, split_words(artefacts))))
    counted = f"{_grouped_count(artefacts, scores)}, {present}"
    return {
        "title": f"Does the model “{model}” recognise {cases_of(subject.condition)}{where}?",
        "kind": f"Clinical evaluation · {data} · {subject.population}: {counted}",
    }


def _grouped_count(artefacts: Artefacts, scores: PopulationScores) -> str:
    """``120 cases of 60 groups``; cases alone where no group joins them but near-duplicates."""
    data = artefacts.provenance.get("settings", {}).get("data", {})
    near_duplicates = bool(data) and not (data.get("own") or {}).get("group_column")
    joined = scores.groups < scores.cases and not near_duplicates
    return f"{whole(scores.cases)} cases" + (f" of {whole(scores.groups)} groups" if joined else "")


def split_words(artefacts: Artefacts) -> str:
    """How the cases were split: by the set's own rule, or own images by their table or by group."""
    data = artefacts.provenance.get("settings", {}).get("data", {})
    if not data.get("split"):
        return ""
    if not data.get("own"):
        return f"{data['split']} split"
    column = data["own"].get("split_column")
    return f"split by column {column}" if column else "split by group, seeded"


def _patients(transport: Mapping[str, Any], subject: Subject) -> str:
    if not transport.get("group_column"):
        return " · every image counts as a patient"
    mix = transport["models"][subject.main]["mix"]["external"]
    return f" · {whole(mix['groups'])} patients"


def elsewhere(artefacts: Artefacts) -> str:
    """That a run of one data set says nothing of other hospitals, and which command does; else empty."""
    if artefacts.provenance.get("kind") != "run" or artefacts.evaluation.sites is not None:
        return ""
    return "This page says nothing about other hospitals: clineval validate RESULTS TABLE finds out."


def limits(subject: Subject, artefacts: Artefacts) -> list[str]:
    """What the results cannot show, in sentences."""
    said = []
    scores = subject.scores(subject.main)
    near = artefacts.audit.get("test_with_twin")
    if near and scores is not None:
        said.append(
            f"{near} of {scores.cases} test images have a near-duplicate in the data that the models learnt "
            f"from.{_clean_words(subject)}"
        )
    if not subject.external and not artefacts.transport and not elsewhere(artefacts):
        said.append(
            "No external cohort was scored: nothing here says how the model does in another hospital."
        )
    if not artefacts.transport:
        said.append(
            "The share with the condition is that of this collection, not of a clinic: set your own in the "
            "explorer."
        )
    if any(PRETRAINED in origin for origin in subject.evaluation.origins.values()):
        said.append(TEXTURE)
    notes = (*subject.evaluation.warnings, *subject.evaluation.notes)
    own = [note for note in scores.notes if not note.endswith(RESPECTED)] if scores is not None else []
    return [*said, *own, *notes]


def _clean_words(subject: Subject) -> str:
    scores = subject.scores(subject.main, CLEAN)
    if scores is None:
        return ""
    clean = scores.measures.get("auc_logit")
    return f" Without them ({whole(scores.cases)} images) the AUC of {subject.main} is {two_decimals(clean)}."


def labels(artefacts: Artefacts) -> dict[str, Any]:
    """Which label is the condition, with example images of both classes."""
    images = artefacts.gallery.images
    examples = [
        {
            "name": each["name"], "label": each["label"], "outcome": each["outcome"],
            "images": [(case, images[case]) for case in each["cases"] if case in images],
        }
        for each in artefacts.gallery.examples
    ]  # fmt: skip
    return {"labels": artefacts.source.get("labels") or [], "examples": examples}


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
        "test_with_near_duplicate": audit.get("test_with_twin", 0),
        "val_with_near_duplicate": audit.get("val_with_twin", 0),
        "test_clean": len(audit.get("test_clean", [])),
    }


IN_SHORT = {"auc_logit": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"}
ALPHA = 0.05  # of a difference that remains after Holm's correction


def subgroup_summary(subject: Subject) -> Table | None:
    """The primary model in every subgroup with an estimate, each beside all other cases."""
    scores = subject.scores(subject.main)
    rows: list[Row] = [
        (_named(table, each), whole(each.cases), whole(each.events), *_in_short(each))
        for table in (scores.subgroups if scores is not None else ())
        for each in table.cells
        if not table.skipped and _estimated(table)
    ]
    headings = ("subgroup", "cases", subject.condition, *(MEASURE_NAMES[name] for name in IN_SHORT))
    return Table(headings, tuple(rows)) if rows else None


def _named(table: SubgroupTable, each: SubgroupCell) -> str:
    return f"{_attribute(table)}: {_value(table, each)}"


def _attribute(table: SubgroupTable) -> str:
    """A column in words, where it is the program's own."""
    return UNLIKE_WORDS if table.attribute == UNLIKE else table.attribute


def _value(table: SubgroupTable, each: SubgroupCell) -> str:
    return {"0": "no", "1": "yes"}.get(each.value, each.value) if table.attribute == UNLIKE else each.value


def subgroup_gaps(subject: Subject) -> list[str]:
    """Which differences between subgroups remain after correction, and which could have been seen at all."""
    scores = subject.scores(subject.main)
    cells = {
        _named(table, each): each
        for table in (scores.subgroups if scores is not None else ())
        for each in table.cells
    }
    return gap_sentences(
        {
            name: {where: each.tests[name] for where, each in cells.items() if name in each.tests}
            for name in IN_SHORT
        }
    )


def gap_sentences(tests: Mapping[str, Mapping[str, GapTest]]) -> list[str]:
    """What the differences of some parts of the cases from all others show.

    Parameters
    ----------
    tests : by measure and part.
    """
    found = {name: of for name, of in tests.items() if of}
    if not found:
        return []
    remaining = [
        f"{where} ({IN_SHORT[name]}, {p_text(each.p_holm)})"
        for name, of in found.items()
        for where, each in of.items()
        if each.p_holm < ALPHA
    ]
    most = max(each.comparisons for of in found.values() for each in of.values())
    corrected = f"corrected by Holm for {most} comparisons of each measure" if most > 1 else "uncorrected"
    first = (
        f"Different from all other cases ({corrected}): {listed(remaining)}."
        if remaining
        else f"No evidence of a difference from all other cases ({corrected})."
    )
    seen = [_seen(name, [each.smallest_gap for each in of.values()]) for name, of in found.items()]
    known = [each for each in seen if each]
    if not known:
        return [first]
    return [
        first,
        f"A single comparison, uncorrected, would find with 80% power {listed(known)} (from the largest "
        "subgroup to the smallest).",
    ]


def _seen(measure: str, gaps: Iterable[float]) -> str:
    """The smallest differences in a measure that would have been found."""
    known = sorted(gap for gap in gaps if not math.isnan(gap))
    if not known:
        return ""
    points = measure in AS_PERCENT
    least, most = (f"{100 * each:.0f}" if points else number(each, 2) for each in (known[0], known[-1]))
    size = least if least == most else f"{least} to {most}"
    return f"a difference in {IN_SHORT[measure]} of {size}{' percentage points' if points else ''}"


def _in_short(each: SubgroupCell) -> list[Cell]:
    if each.suppressed:
        return [Cell("–", "", each.suppressed) for _ in IN_SHORT]
    return [_cell(each, name) for name in IN_SHORT]


def subgroup_sections(subject: Subject) -> list[dict[str, Any]]:
    """Per population its models, the main one first, and which columns make no subgroups."""
    found = []
    for population in (subject.population, *subject.external):
        names = subject.models(population)
        models = [_of_model(name, population, subject) for name in names]
        shown = [each for each in models if each["tables"] or each["counts"]]
        left_out = _left_out(subject, names, population)
        if shown or left_out:
            found.append({"population": population, "models": shown, "left_out": left_out})
    return found


def _of_model(model: str, population: str, subject: Subject) -> dict[str, Any]:
    scores = subject.scores(model, population)
    tables = [each for each in (scores.subgroups if scores is not None else ()) if not each.skipped]
    return {
        "name": subject.evaluation.named(model),
        "tables": [_shown(each, model) for each in tables if _estimated(each)],
        "counts": [_shown(each, model) for each in tables if not _estimated(each)],
    }


def _estimated(table: SubgroupTable) -> bool:
    return any(each.measures for each in table.cells)


def _shown(table: SubgroupTable, model: str) -> dict[str, Any]:
    name = f"{model} by {_attribute(table)}, threshold {number(table.threshold)}"
    return {"attribute": _attribute(table), "name": name, "table": _cells(table)}


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
        rows.append((_value(table, each), whole(each.cases), whole(each.events), *cells))
    headings = (_attribute(table), "cases", "events", *(MEASURE_NAMES.get(name, name) for name in names))
    return Table(headings, tuple(rows))


def _cell(found: SubgroupCell, name: str) -> Cell:
    """A measure within the subgroup and below it how far it lies from that of all other cases."""
    shown = cell(found.measures.get(name), as_percent=name in AS_PERCENT)
    apart = found.less_rest.get(name)
    if apart is None or not defined(apart):
        return shown
    words = f"vs rest {_apart(apart, as_points=name in AS_PERCENT)}"
    tested = found.tests.get(name)
    p_value = "" if tested is None else p_text(tested.p_holm)
    return replace(shown, words=f"{words}, {p_value}" if p_value else words)


def _apart(gap: Estimate, *, as_points: bool) -> str:
    size, bounds = signed(gap.value, as_points=as_points), interval(gap, as_points=as_points)
    return f"{size}{' pp' if as_points else ''} ({bounds})"


def leak_table(subject: Subject) -> Table | None:
    """Per model its AUC on all of test, on the clean test, and trained without near-duplicates."""
    pairs = [name for name in subject.models() if f"{name}{WITHOUT_NEAR_DUPLICATES}" in subject.models()]
    clean = [name for name in subject.pair if CLEAN in subject.others]
    shown = list(dict.fromkeys([subject.main, *pairs] if pairs else clean))
    if not shown:
        return None
    headings = ["model", "all of test", "clean test"]
    if pairs:
        headings += ["all of test, trained without near-duplicates", "change", "what it says"]
    return Table(tuple(headings), tuple(_leak_row(subject, name, changed=bool(pairs)) for name in shown))


def _leak_row(subject: Subject, model: str, *, changed: bool) -> Row:
    name = subject.evaluation.named(model)
    row: list[str | Cell] = [name, cell(_auc(subject, model)), cell(_auc(subject, model, CLEAN))]
    if changed and f"{model}{WITHOUT_NEAR_DUPLICATES}" not in subject.models():
        row += ["not trained so", "–", "–"]
    elif changed:
        change = _change(subject, model)
        without = _auc(subject, f"{model}{WITHOUT_NEAR_DUPLICATES}")
        row += [cell(without), signed_cell(change), change_words(change)]
    return tuple(row)


def _auc(subject: Subject, model: str, population: str | None = None) -> Estimate | None:
    scores = subject.scores(model, population)
    return None if scores is None else scores.measures.get("auc_logit")


def _change(subject: Subject, model: str) -> Estimate | None:
    """AUC trained without near-duplicates minus AUC trained on everything, on the same test cases."""
    wanted = (f"{model}{WITHOUT_NEAR_DUPLICATES}", model)
    for found in subject.evaluation.comparisons:
        for each in (found, turned(found)):
            if (each.measure, each.population, each.models) == ("auc", subject.population, wanted):
                return each.difference
    return None


def change_words(change: Estimate | None) -> str:
    """What the paired interval of the change says of an inflation by near-duplicates."""
    if change is None or not defined(change) or not interval(change):
        return "no interval"
    if covers(change, 0.0):
        return "no evidence of inflation by near-duplicates"
    lower = "lower without near-duplicates; fewer images may play a part"
    return lower if change.value < 0 else "higher without near-duplicates"


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
        (f"SHA-256 of {artefacts.table_name}", hash_file(artefacts.folder / artefacts.table_name)),
        (f"SHA-256 of {EVALUATION}", hash_file(artefacts.folder / EVALUATION)),
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


HEADINGS = ("measure", "truth", "intervals that include it", "all too high", "all too low", "mean width")


@dataclass(frozen=True)
class SimulatedCoverage:
    """How often the intervals include the truth on simulated sets of one model's size, events and AUC."""

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


def guaranteed(subject: Subject) -> dict[str, Any] | None:
    """The primary model's guarantees in sentences, and every model's deferred cases; None where not asked."""
    evaluation = subject.evaluation
    if not evaluation.guarantees and not evaluation.deferred:
        return None
    return {"sentences": list(_guarantee_sentences(subject)), "table": _guarantee_table(subject)}


def _guarantee_sentences(subject: Subject) -> Iterator[str]:
    for found in subject.evaluation.guarantees.get(subject.main, ()):
        yield guarantee_words(subject.main, found)
    region = subject.evaluation.deferred.get(subject.population, {}).get(subject.main)
    if region is not None:
        limits = f"below {number(region.rule_out)} and in from {number(region.rule_in)}"
        yield (
            f"On {population_name(subject.population)} {subject.main} rules out {limits}; "
            f"{whole(region.deferred_cases)} cases lie between and are deferred to a reader."
        )


def guarantee_words(model: str, found: GuaranteedThreshold) -> str:
    """What development data show of a threshold, or why they show nothing; never for another hospital."""
    aim = f"a {found.rule} of at least {found.target:.0%}"
    if math.isnan(found.threshold):
        return f"{model}: {aim} {found.method}."
    return (
        f"{model}: development data show with {found.confidence:.0%} confidence that the threshold "
        f"{number(found.threshold)} reaches {aim}, {THESE_CASES_ONLY} ({found.method}; "
        f"{whole(found.allowed)} of {whole(found.units)} may be wrong)."
    )


def _guarantee_table(subject: Subject) -> Table | None:
    rates = ("deferred", "missed", "false_alarms", "npv", "ppv", "sensitivity", "specificity")
    rows: tuple[Row, ...] = tuple(
        (
            f"{model}, {population_name(population)}",
            f"below {number(region.rule_out)}, from {number(region.rule_in)}",
            *[cell(getattr(region, name), as_percent=True) for name in rates],
        )
        for population, models in subject.evaluation.deferred.items()
        for model, region in models.items()
    )
    headings = (
        "model", "ruled out, in", "deferred", "missed, of those with the condition",
        "false alarms, of those without it", "NPV", "PPV", "sensitivity", "specificity",
    )  # fmt: skip
    return Table(headings, rows) if rows else None
