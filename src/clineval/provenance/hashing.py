"""SHA-256 of files, of folders and of settings."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "provenance.json"
LEDGER = "ledger.jsonl"
UNHASHED = (FILE, LEDGER)
"""What holds times, and so differs between two runs that are otherwise the same."""


def hash_folder(folder: Path) -> dict[str, str]:
    """SHA-256 of every plain file below ``folder`` but provenance and ledger, by its path within."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: hash_file(path) for name, path in sorted(names.items()) if name not in UNHASHED}


def hash_file(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_settings(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings in canonical JSON: equal settings, equal hash."""
    return hash_text(json.dumps(settings, sort_keys=True, default=str))


def hash_text(text: str) -> str:
    """SHA-256 of a text in UTF-8, as hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
