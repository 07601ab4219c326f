"""Files: written whole or not at all, read where they are regular, hashed; records to JSON and back."""

import hashlib
import io
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TextIO, Union, cast, get_args, get_origin, get_type_hints

from clineval.errors import InputError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def in_utf8(name: str | Path) -> str:
    """A file's name as results can hold it: one that is no UTF-8 is told by its bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


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


# What the files of a results folder are called.
PREDICTIONS, PREDICTIONS_PARQUET = "predictions.csv", "predictions.parquet"
EVALUATION, REPORT = "evaluation.json", "report.html"
ADOPTION, ADOPTION_PAGE, READERS = "adoption.json", "adoption.html", "readers.json"
PROVENANCE, LEDGER = "provenance.json", "ledger.jsonl"
UNHASHED = (PROVENANCE, LEDGER)
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


def parse_json(content: bytes | str, **how: Any) -> Any:
    """JSON of which no object says one thing twice: a reader would take the last, people see the first.

    Raises
    ------
    ValueError : it is no JSON, or a key stands twice in one object.

    Examples
    --------
    >>> parse_json('{"column": 0, "column": 1}')
    Traceback (most recent call last):
    ...
    ValueError: the key 'column' stands twice in one object
    """
    return json.loads(content, object_pairs_hook=_once, **how)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.60} stands twice in one object")
    return found


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


def json_text(content: Any, *, indent: int = 1) -> str:
    """Plain values as strict JSON, which has no NaN and no infinity (ValueError), keys in their order."""
    return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(content: Any, path: Path, *, indent: int = 1) -> None:
    """Write plain values as ``json_text`` puts them, into a folder that is itself written whole."""
    path.write_text(json_text(content, indent=indent), encoding="utf-8")


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


def to_plain(value: Any) -> Any:
    """A record, or mappings and tuples of such, as plain JSON values.

    Strict JSON: NaN and infinity are null, arrays and tuples are lists. A field's metadata may say ``inline``
    (names of the entries of the mapping or record that stand at the level of the record itself), ``key``
    (another name in JSON), ``empty`` (null in JSON where the text is empty), ``sparse`` (not in JSON where
    nothing is in it) and ``left_out`` (not in JSON).
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if is_dataclass(value):
        return dict(_entries(value))
    if isinstance(value, Mapping):
        return {str(name): to_plain(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(each) for each in value]
    return to_plain(value.tolist()) if hasattr(value, "tolist") else value


def _entries(record: Any) -> Iterator[tuple[str, Any]]:
    for each in fields(record):
        value = getattr(record, each.name)
        if "left_out" in each.metadata or ("sparse" in each.metadata and not value):
            continue
        if names := each.metadata.get("inline"):
            inner = to_plain(value)
            yield from ((name, inner[name]) for name in names if name in inner)
        else:
            yield _key(each), None if "empty" in each.metadata and value == "" else to_plain(value)


def from_plain(kind: Any, content: Any, *, place: str = "", strict: bool = False) -> Any:
    """The value of a type hint from its plain JSON: a record, or mappings and tuples of such.

    What the JSON lacks is as by default.

    Parameters
    ----------
    place : where the content stands, for the message.
    strict : whether keys that the record does not know are refused.

    Raises
    ------
    ValueError : something is missing or of another kind; its place is named.
    """
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind, content, place, strict)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        return _either(arguments, content, place, strict)
    if origin is tuple:
        return tuple(_items(arguments, content, place, strict))
    if origin is not None and issubclass(origin, Mapping):
        _require(isinstance(content, Mapping), content, place)
        return {
            name: from_plain(arguments[1], each, place=f"{place}.{name}", strict=strict)
            for name, each in content.items()
        }
    if origin is not None:
        return _array(content, place)
    return _scalar(kind, content, place)


def _record(kind: type, content: Any, place: str, strict: bool) -> Any:
    _require(isinstance(content, Mapping), content, place)
    hints = _hints(kind)
    known = [each for each in fields(kind) if each.init]
    if strict and (odd := set(content) - {_key(each) for each in known}):
        raise ValueError(f"{place or 'the content'} has {sorted(odd)}, which {kind.__name__} does not know")
    given = {}
    for each in known:
        names, where = each.metadata.get("inline"), f"{place}.{_key(each)}".lstrip(".")
        if names:
            inner = {name: content[name] for name in names if name in content}
            given[each.name] = from_plain(hints[each.name], inner, place=place, strict=strict)
        elif _key(each) in content:
            value = content[_key(each)]
            value = "" if value is None and "empty" in each.metadata else value
            given[each.name] = from_plain(hints[each.name], value, place=where, strict=strict)
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"{where} is missing")
    return kind(**given)


def _either(kinds: tuple[Any, ...], content: Any, place: str, strict: bool) -> Any:
    if content is None and NoneType in kinds:
        return None
    failures = []
    for kind in kinds:
        try:
            return from_plain(kind, content, place=place, strict=strict)
        except ValueError as error:
            failures.append(error)
    raise failures[0]


def _items(kinds: tuple[Any, ...], content: Any, place: str, strict: bool) -> Iterator[Any]:
    _require(isinstance(content, (list, tuple)), content, place)
    endless = len(kinds) == 2 and kinds[1] is Ellipsis
    _require(endless or len(kinds) == len(content), content, place)
    for index, each in enumerate(content):
        yield from_plain(
            kinds[0] if endless else kinds[index], each, place=f"{place}[{index}]", strict=strict
        )


def _array(content: Any, place: str) -> Any:
    import numpy as np  # the command line needs none to begin

    _require(isinstance(content, list), content, place)
    return np.array([math.nan if each is None else each for each in content], dtype=np.float64)


def _scalar(kind: Any, content: Any, place: str) -> Any:
    if kind is Any:
        return content
    if kind is float:
        _require(
            content is None or (isinstance(content, (int, float)) and not isinstance(content, bool)),
            content,
            place,
        )
        return math.nan if content is None else float(content)
    _require(isinstance(content, kind) and (kind is bool or not isinstance(content, bool)), content, place)
    return content


def _require(fits: bool, content: Any, place: str) -> None:
    if not fits:
        raise ValueError(
            f"{place or 'the content'} is {content!r:.60}, which is not of the kind that it must be"
        )


def _key(each: "Field[Any]") -> str:
    return cast(str, each.metadata.get("key", each.name))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
