"""Whether results are what they say: every hash, the evaluation from its table, the ledger, the README."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clineval import provenance
from clineval.refusal import Refusal
from clineval.run_folder import foreign_entries, require_results

KINDS = {"kind": str, "command": list, "settings": dict, "versions": dict, "platform": dict, "data": dict}
"""What the fields of a provenance hold."""


def verify_results(folder: Path) -> list[str]:
    """Compare a results folder with its own provenance; return one line for each thing that differs.

    Checked are the SHA-256 of every artefact, that ``evaluation.json`` follows from
    ``predictions.csv`` to the last digit, that the chain of ``ledger.jsonl`` is whole, and, where a
    README.md stands in the folder above, that it quotes these results.

    Raises
    ------
    Refusal : ``folder`` is not a results folder, or its provenance is unreadable or of another schema.
    """
    require_results(folder, provenance.FILE)
    record = read_provenance(folder / provenance.FILE)
    return [
        *_artefact_differences(folder, record["artefacts"]),
        *_evaluation_differences(folder, record),
        *_ledger_differences(folder),
        *_readme_differences(folder),
    ]


def read_provenance(path: Path) -> dict[str, Any]:
    """A folder's provenance, checked to be of this schema and to list a SHA-256 of each artefact.

    Raises
    ------
    Refusal : it is not JSON, of another schema, or without hashes.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise Refusal(f"{path} cannot be read as JSON ({error}); write the results anew.") from error
    if not isinstance(record, dict) or record.get("schema") != provenance.SCHEMA:
        raise Refusal(
            f"{path} is not of schema {provenance.SCHEMA}, which this version of clineval reads; "
            "verify with the version that wrote it, or write the results anew."
        )
    hashes = record.get("artefacts")
    if not isinstance(hashes, dict) or not all(_is_sha256(value) for value in hashes.values()):
        raise Refusal(f"{path} lists no SHA-256 of each artefact; write the results anew.")
    wrong = [name for name, kind in KINDS.items() if not isinstance(record.get(name), kind)]
    if wrong:
        raise Refusal(f"{path} lacks {', '.join(wrong)}, or holds something else there; write it anew.")
    return record


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _artefact_differences(folder: Path, expected: dict[str, str]) -> Iterator[str]:
    for name in foreign_entries(folder):
        yield f"{name}: a link or special file, not written by the run"
    found = provenance.hash_folder(folder)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"{name}: missing from {folder.name}"
        elif name not in expected:
            yield f"{name}: not written by the run"
        elif found[name] != expected[name]:
            yield f"{name}: its content differs from what the run wrote"


def _evaluation_differences(folder: Path, record: dict[str, Any]) -> Iterator[str]:
    if "evaluation.json" not in record["artefacts"]:
        return
    from clineval.pipeline.scoring import score_folder

    try:
        written = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        scored = score_folder(folder, record["settings"]["evaluation"], condition=record["data"]["condition"])
        computed = json.loads(json.dumps(scored.to_json()))
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        yield f"evaluation.json: cannot be recomputed from predictions.csv ({error})"
        return
    place = first_difference(written, computed)
    if place:
        yield f"evaluation.json: does not follow from predictions.csv, first at {place}"


def first_difference(left: Any, right: Any, place: str = "") -> str | None:
    """Path of the first place where two JSON values differ; None where they are equal."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = sorted(left.keys() | right.keys())
        pairs = [(f"{place}.{key}".lstrip("."), left.get(key), right.get(key)) for key in keys]
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        pairs = [(f"{place}[{index}]", *both) for index, both in enumerate(zip(left, right, strict=True))]
    else:
        return None if left == right else place or "the top"
    return next(
        (found for where, one, other in pairs if (found := first_difference(one, other, where))), None
    )


def _ledger_differences(folder: Path) -> Iterator[str]:
    path = folder / provenance.LEDGER
    if path.is_file() and (number := provenance.broken_link(path)) is not None:
        yield f"{provenance.LEDGER}: line {number} does not follow from the line before"


def _readme_differences(folder: Path) -> Iterator[str]:
    readme = folder.resolve().parent / "README.md"
    if not readme.is_file() or not (folder / "evaluation.json").is_file():
        return
    from clineval.reporting.readme import quotes_results

    if quotes_results(readme.read_text(encoding="utf-8"), folder) is False:
        yield "README.md: its numbers are not those of evaluation.json; write them with: make readme"
