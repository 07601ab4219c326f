"""The ledger of test openings: a line for each, chained by hash to the line before."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clineval import files
from clineval.files import LEDGER, hash_file, hash_text, write_whole
from clineval.results.environment import commit

__all__ = ["LEDGER", "broken_link", "ledger_state", "open_ledger", "read_openings"]


def open_ledger(path: Path, *, population: str, frozen: Mapping[str, Any]) -> int:
    """Append one opening of a sealed population to the ledger; return how many there are now.

    Each line holds the SHA-256 of the line before, so that none can be dropped or altered unseen.
    ``frozen`` says what was fixed before the opening (settings, models, thresholds, their hashes).
    """
    lines = _lines(path) if path.is_file() else []
    entry = {
        "opened": files.now(),
        "population": population,
        "commit": commit(),
        "frozen": dict(frozen),
        "previous": hash_text(lines[-1]) if lines else None,
    }
    lines.append(json.dumps(entry, sort_keys=True, ensure_ascii=False))
    write_whole(path, "\n".join(lines) + "\n")
    return len(lines)


def read_openings(path: Path) -> list[dict[str, Any]]:
    """Every opening that the ledger holds, in its order; empty where there is no ledger.

    Lines that are no record are left out: ``broken_link`` is there to name them.
    """
    if not path.is_file():
        return []
    found = (_entry(line) for line in _lines(path))
    return [entry for entry in found if entry is not None]


def broken_link(path: Path) -> int | None:
    """Number of the first ledger line (from 1) that does not follow from the one before; None if whole."""
    previous = None
    for number, line in enumerate(_lines(path), start=1):
        entry = _entry(line)
        if entry is None or "previous" not in entry or entry["previous"] != previous:
            return number
        previous = hash_text(line)
    return None


def ledger_state(path: Path) -> dict[str, Any] | None:
    """How many openings the ledger holds and the hash of the whole; None where there is no ledger.

    The chain alone cannot tell that its last lines were cut off or altered; this, kept elsewhere, can.
    """
    return {"openings": len(_lines(path)), "sha256": hash_file(path)} if path.is_file() else None


def _lines(path: Path) -> list[str]:
    """The lines of a ledger. Only a newline ends one: names in an entry may hold other separators."""
    return path.read_bytes().decode("utf-8", errors="replace").removesuffix("\n").split("\n")


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
