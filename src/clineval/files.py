"""Files: written whole or not at all, read where they are regular, hashed, stamped with time and version."""

import hashlib
import io
import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from clineval.errors import InputError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def text_cell(cell: str) -> str:
    """The same cell as a spreadsheet will show it: text that looks like a formula gets an apostrophe."""
    return f"'{cell}" if is_formula(cell) else cell


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet would compute the cell instead of showing it."""
    return bool(_FORMULA.match(cell)) and not _NUMBER.fullmatch(cell.lstrip("'"))


class CsvRows(io.TextIOBase):
    """What a CSV writer writes to, so that rows end in a line feed and cells keep every line break.

    The writer quotes a carriage return in a cell only where one is part of its own line end, as it is by
    default; bare, it would end the row for whoever reads the file.

    >>> import csv
    >>> text = io.StringIO()
    >>> csv.writer(CsvRows(text)).writerow(("a\\rb", "c"))
    8
    >>> text.getvalue()
    '"a\\rb",c\\n'
    """

    mode = "w"

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        """Write a row that ends as the writer's rows do by default."""
        return self._file.write(row.removesuffix("\r\n") + "\n")


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
    """SHA-256 of a regular file, as hexadecimal."""
    if not path.is_file():
        raise InputError(f"{path} is missing or no regular file.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_settings(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings in canonical JSON: equal settings, equal hash."""
    return hash_text(json.dumps(settings, sort_keys=True, default=str))


def hash_text(text: str) -> str:
    """SHA-256 of a text in UTF-8, as hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def now() -> str:
    """The time in UTC to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


MOST_BYTES = 1 << 30  # of a file that is read as a whole; results hold none near it


def read_regular(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file; a pipe, a device or a file beyond ``most`` bytes is refused unread.

    Raises
    ------
    InputError : it is no regular file, or too large.
    OSError : it is missing or cannot be read.
    """
    # without blocking, for opening a pipe waits for somebody to write into it
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path} is a pipe, a device or a folder; a regular file is needed.")
        if found.st_size > most:
            raise InputError(f"{path} has {found.st_size:,} bytes; at most {most:,} are read.")
        return file.read()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
        sync(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Have the system bring a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


UNKNOWN = "0+unknown"  # of source files that no installation stands behind


@cache
def program_version() -> str:
    """The version of the installed distribution ``clineval``."""
    try:
        return metadata.version("clineval")
    except metadata.PackageNotFoundError:
        return UNKNOWN
