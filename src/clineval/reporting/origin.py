"""Where a report's numbers come from: program, data, settings, openings of test, coverage of intervals."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clineval.reporting.artefacts import Artefacts, file_hash
from clineval.reporting.sentences import number, percent, whole
from clineval.reporting.tables import MEASURE_NAMES, Cell, Row, Table
from clineval.results import LEDGER, read_openings

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
