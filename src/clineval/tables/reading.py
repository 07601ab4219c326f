"""CSV and Parquet tables as they stand: every cell as text or as it is stored, with the place of each row."""

import codecs
import contextlib
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from clineval.errors import InputError
from clineval.files import is_formula
from clineval.tables.parquet import check_columns, read_parquet

_SEPARATOR = re.compile(r'"?sep=(?P<by>[,;\t|])"?[,;\t]*', re.IGNORECASE)  # Excel's own first line
_QUOTED = re.compile(r'"[^"]*"')


LONGEST_HEADER = 1_000_000  # bytes of a CSV's first line
LONGEST_ROW = 1 << 23  # bytes of a CSV's row


@dataclass(frozen=True)
class Origin:
    """Where rows came from, so that a refusal names a row as its owner sees it; ``path`` is a CSV's."""

    name: str
    path: Path | None = None
    delimiter: str = ","

    def row(self, index: int) -> str:
        """Row ``index`` (from 0) in words, counted from 1, with the line where it is a text file."""
        line = self.line(index)
        return f"{self.name}, row {index + 1}" + (f" (line {line})" if line else "")

    def line(self, index: int) -> int | None:
        """The line, from 1, on which a row of a CSV begins; read anew, which only a refusal has to do."""
        if self.path is None:
            return None
        rows = (line for line, row in _lines_and_rows(self.path, self.delimiter) if _is_filled(row))
        with contextlib.suppress(csv.Error, OSError):
            return next((line for number, line in enumerate(rows, start=-1) if number == index), None)
        return None


def read_columns(path: Path) -> tuple[dict[str, pa.ChunkedArray], Origin]:
    """The columns of a CSV (all text) or Parquet file by name, and where its rows stand.

    A CSV is in UTF-8 or UTF-16 and separated by what a first line ``sep=;`` says, else by comma, semicolon
    or tab, whichever its header holds most outside quotes; cells lose the spaces around them. Rows and
    unnamed columns that hold nothing, as spreadsheets leave them, are left out. A Parquet file has no lines
    to name.

    Raises
    ------
    InputError : the file is missing, empty, a folder, of another kind, or broken; a line is named if one is.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; predictions are one CSV or Parquet file.")
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device has no end
        raise InputError(f"{path} is a pipe or a device; expected a plain CSV or Parquet file.")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise InputError(f"{path} is not there; name a CSV or Parquet file of predictions.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not head:
        raise InputError(f"{path} is empty; a header line and one row per model and case are needed.")
    if head[:4] == b"PAR1":
        return read_parquet(path), Origin(path.name)
    return _read_csv(path, head)


def _read_csv(path: Path, head: bytes) -> tuple[dict[str, pa.ChunkedArray], Origin]:
    _refuse_foreign_bytes(path, head)
    names, delimiter, lines = _header(path)
    check_columns(path, len(names))
    places = [str(place) for place in range(len(names))]  # of unnamed columns there may be several
    try:
        table = pyarrow.csv.read_csv(
            _in_utf8(path) if _is_utf16(head) else path,
            read_options=pyarrow.csv.ReadOptions(
                column_names=places, skip_rows=lines, block_size=LONGEST_ROW
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(places, pa.string())),
        )
    except pa.ArrowInvalid as error:
        raise _unreadable_csv(path, error, delimiter, cells=len(names)) from error
    _refuse_swallowed_rows(path, delimiter, rows=table.num_rows + lines)
    trimmed = [_unguarded(pc.utf8_trim_whitespace(column)) for column in table.columns]
    return _filled(names, trimmed, path.name), Origin(path.name, path, delimiter)


def _is_utf16(head: bytes) -> bool:
    return head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _in_utf8(path: Path) -> BinaryIO:
    """The bytes of a CSV in UTF-8; one in UTF-16, as Excel's "Unicode text" is, is turned into it."""
    file = path.open("rb")
    if not _is_utf16(file.read(2)):
        file.seek(0)
        return file
    with file:
        file.seek(0)
        try:
            return io.BytesIO(file.read().decode("utf-16").encode())
        except UnicodeError:
            raise InputError(f"{path.name} is not whole text in UTF-16; save it as CSV in UTF-8.") from None


def _filled(names: list[str], columns: list[pa.ChunkedArray], file: str) -> dict[str, pa.ChunkedArray]:
    """The columns by name, without the unnamed ones and the rows that hold nothing."""

    def filled(place: int) -> Any:
        return pc.not_equal(columns[place], "")

    kept = [place for place, name in enumerate(names) if name or pc.any(filled(place)).as_py()]
    unnamed = [place + 1 for place in kept if not names[place]]
    if len(unnamed) > 1:
        listed = ", ".join(map(str, unnamed))
        raise InputError(f"{file}, line 1: the columns {listed} hold values and have no name; name them.")
    if not kept or any(pc.all(filled(place)).as_py() for place in kept):  # mostly the first one has no gap
        return {names[place]: columns[place] for place in kept}
    rows = reduce(pc.or_, map(filled, kept))
    return {names[place]: columns[place].filter(rows) for place in kept}


def _refuse_foreign_bytes(path: Path, head: bytes) -> None:
    kinds = {
        b"PK\x03\x04": "an Excel workbook or zip archive",
        b"\xd0\xcf\x11\xe0": "an old Excel workbook",
        b"\x89PNG": "a picture",
        b"\x1f\x8b": "a gzip archive",
        b"\x93NUM": "a NumPy file",
    }
    for magic, kind in kinds.items():
        if head.startswith(magic):
            raise InputError(f"{path} is not a CSV but {kind}; save it as CSV in UTF-8, or as Parquet.")
    if b"\x00" in head and not _is_utf16(head):
        raise InputError(f"{path} is neither a CSV nor a Parquet file; save the predictions as CSV in UTF-8.")


def _header(path: Path) -> tuple[list[str], str, int]:
    """Column names, the delimiter, and the line that the names end on; lines without content come first."""
    with _in_utf8(path) as file:
        declared, text, raw, line = "", "", b"", 0
        while not text.strip(",;\t "):
            if not (raw := _record(file, path)):
                raise InputError(f"{path.name} has empty lines only; expected column names and rows.")
            text, line = _decoded(raw, path), line + 1 + raw.rstrip(b"\r\n").count(b"\n")
            if line == 1 and (found := _SEPARATOR.fullmatch(text)):
                declared, text = found["by"], ""
    if "\r" in text:
        raise InputError(
            f"{path.name}, line {line}: expected lines that end in LF or CR LF, got CR alone. "
            "Save the file as CSV in UTF-8 anew."
        )
    delimiter = declared or max(",;\t", key=_QUOTED.sub("", text).count)
    if raw.count(b'"') % 2:
        _refuse_swallowed_rows(path, delimiter)
    names = _names(text, delimiter)
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise InputError(
            f"{path.name}, line {line}: two columns are named {twice!r}; give each column its own name."
        )
    return names, delimiter, line


def _record(file: BinaryIO, path: Path) -> bytes:
    """One line, and those after it that a quote joins to it; empty at the end of the file."""
    record = file.readline(LONGEST_HEADER)
    while len(record) < LONGEST_HEADER and record.count(b'"') % 2 and (more := file.readline(LONGEST_HEADER)):
        record += more
    if len(record) >= LONGEST_HEADER and not record.count(b'"') % 2:
        raise InputError(
            f"{path.name}, line 1: expected column names in at most {LONGEST_HEADER:,} bytes, got more. "
            "Is the first line the header?"
        )
    return record


def _decoded(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8-sig").rstrip("\r\n").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, _first_undecodable_line(path)) from error


def _names(text: str, delimiter: str) -> list[str]:
    """The names in a header, each on one line and without the spaces around it."""
    with _long_cells():
        lines = text.splitlines(keepends=True)
        cells = next(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), [])
    return [_bare(" ".join(cell.split("\n")).strip()) for cell in cells]


def _unreadable_csv(path: Path, error: pa.ArrowInvalid, delimiter: str, *, cells: int) -> InputError:
    if "Could not skip" in str(error):  # not even a line end after the header
        return InputError(f"{path.name} has a header but no rows; expected one row per case.")
    if "straddl" in str(error):
        return InputError(f"{path.name} has a row of more than {LONGEST_ROW:,} bytes; shorten its cells.")
    if "UTF8" in str(error):
        return _wrong_encoding(path, _first_undecodable_line(path))
    _refuse_swallowed_rows(path, delimiter)
    odd = _first_odd_row(path, delimiter, cells)
    if odd:
        comma = delimiter == "," and odd[1] > cells
        return InputError(
            f"{path.name}, line {odd[0]}: expected {cells} cells, as in the header, got {odd[1]}."
            + (
                " If numbers have a decimal comma, save it with semicolons between the cells."
                if comma
                else ""
            )
        )
    return InputError(
        f"{path.name} is not a whole CSV; each row needs as many cells as the header. Save it anew."
    )


def _first_odd_row(path: Path, delimiter: str, cells: int) -> tuple[int, int] | None:
    """Line and number of cells of the first row that differs from the header; None where none does."""
    with contextlib.suppress(csv.Error):
        for line, row in _lines_and_rows(path, delimiter):
            if _is_filled(row) and len(row) != cells:
                return line, len(row)
    return None


def _lines_and_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row, the header and blank ones included, with its first line; a line ``sep=`` is left out."""
    with _long_cells(), _lines(path) as file:
        reader = csv.reader(file, delimiter=delimiter)
        begins = 1
        for row in reader:
            if begins > 1 or not _SEPARATOR.fullmatch(delimiter.join(row)):
                yield begins, row
            begins = reader.line_num + 1


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    """Let Python's reader take cells as long as a row may be; its own limit is 131,072 characters."""
    before = csv.field_size_limit(LONGEST_ROW)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _is_filled(row: list[str]) -> bool:
    return any(cell.strip() for cell in row)


def _refuse_swallowed_rows(path: Path, delimiter: str, *, rows: int = -1) -> None:
    """A quote that is never closed makes one cell of all the rows below it, and no reader complains."""
    quotes = lines = 0
    with _in_utf8(path) as file:
        for line in file:
            quotes += line.count(b'"')
            lines += bool(line.strip(b"\r\n"))
    if not quotes or (quotes % 2 == 0 and lines == rows):
        return
    with _long_cells(), _lines(path) as file:
        reader, begins = csv.reader(file, delimiter=delimiter, strict=True), 1
        try:
            for _ in reader:
                begins = reader.line_num + 1
        except csv.Error as error:
            expected = "expected after" in str(error)  # else the file, or the longest row, ended first
            what = "closed before its cell ends" if expected else "never closed"
            raise InputError(
                f"{path.name}, line {begins}: a quote in this row is {what}, so that rows below it would be "
                "read as one cell. Close it, or write a quote within a cell twice."
            ) from error


def _lines(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(_in_utf8(path), encoding="utf-8-sig", errors="replace", newline="")


def _first_undecodable_line(path: Path) -> int:
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 1


def _wrong_encoding(path: Path, line: int) -> InputError:
    return InputError(f"{path.name}, line {line}: the text is not UTF-8; save the file as CSV in UTF-8.")


def _unguarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take the apostrophe of ``text_cell`` away again; every cell is searched in one vectorised match."""
    if not pc.any(pc.match_substring_regex(column, r"^'+[=+\-@\t\r]")).as_py():
        return column
    return pa.chunked_array([[_bare(cell) for cell in column.to_pylist()]], type=pa.string())


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and is_formula(cell[1:]) else cell
