"""CSV and Parquet tables as they stand: every cell as text or as it is stored, with the place of each row."""

import codecs
import contextlib
import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from clineval.errors import InputError
from clineval.files import in_utf8, is_formula

_SEPARATOR = re.compile(r'"?sep=(?P<by>[,;\t|])"?[,;\t]*', re.IGNORECASE)  # Excel's own first line
_QUOTED = re.compile(r'"[^"]*"')


LONGEST_HEADER = 1_000_000  # bytes of a CSV's first line
LONGEST_ROW = 1 << 23  # bytes of a CSV's row
VALUE_BYTES = 8  # of a number in memory
LEAST_BUDGET = 1 << 28  # bytes of memory that any Parquet file may take
MOST_GROWTH = 200  # times its own size that a larger one may take; columns of one value shrink much
MOST_TABLE = 1 << 34  # bytes of memory for any table
MOST_COLUMNS = 5_000
MOST_PAGES = 500_000  # whose headers are read in four seconds
MOST_FOOTER = 1 << 22  # bytes, read in four seconds


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
        """The line, from 1, on which a row of a CSV begins; read again, which only a refusal has to do."""
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
        raise InputError(f"{path} is a folder; expected a CSV or Parquet file.")
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device has no end
        raise InputError(f"{path} is a pipe or a device; expected a plain CSV or Parquet file.")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise InputError(f"{path} is not there; name a CSV or Parquet file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not head:
        raise InputError(f"{path} is empty; expected a header line and rows below it.")
    if head[:4] == b"PAR1":
        return _read_parquet(path), Origin(in_utf8(path.name))
    return _read_csv(path, head)


def _read_csv(path: Path, head: bytes) -> tuple[dict[str, pa.ChunkedArray], Origin]:
    _refuse_foreign_bytes(path, head)
    names, delimiter, lines = _header(path)
    _check_columns(path, len(names))
    places = [str(place) for place in range(len(names))]  # of unnamed columns there may be several
    try:
        with _in_utf8(path) if _is_utf16(head) else _opened(path) as file:
            table = pyarrow.csv.read_csv(
                file,
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
    return _filled(names, trimmed, path.name), Origin(in_utf8(path.name), path, delimiter)


def _opened(path: Path) -> pa.OSFile:
    """A file for pyarrow, which takes no path whose bytes are no text and expands ``~`` in one."""
    return pa.OSFile(os.fsencode(path))


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
            raise InputError(f"{path.name} is not valid UTF-16; save it as CSV in UTF-8.") from None


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
        b"\xff\xfe\x00\x00": "text in UTF-32",
        b"%PDF": "a PDF",
        b"$FL": "an SPSS file",
        **dict.fromkeys((b"<!", b"<htm", b"<HTM", b"<?xml", b"<tabl"), "a web page, as some programs export"),
        **dict.fromkeys((b'{"', b"{\n", b"{\r", b"{ ", b'[{"', b"[\n", b"[\r"), "JSON"),
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
            "Save the file again as CSV in UTF-8."
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
        f"{path.name} is not a valid CSV; each row needs as many cells as the header. Save it again."
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


_TEXT = "BYTE_ARRAY"  # what Parquet calls the form of texts
_DICTIONARY_PAGE = 2  # a kind of page; the other kinds hold values
_REFERENCES = (2, 8)  # encodings of values that refer to the dictionary
_PREFIXES = 7  # the encoding of texts by what each shares with the one before it


def _read_parquet(path: Path) -> dict[str, pa.ChunkedArray]:
    """The columns of a Parquet file by name, as they are stored, refused before they would fill the memory.

    A few bytes may stand for gigabytes: by compression, by runs of one value, by a long text that many rows
    refer to or share the start of. What each page claims to take is added up before any is decoded.

    Raises
    ------
    InputError : the file is broken, has too many columns, or takes far more memory than its size.
    """
    try:
        with _opened(path) as opened, pyarrow.parquet.ParquetFile(opened) as file, path.open("rb") as raw:
            _check_columns(path, len(file.schema_arrow))
            _check_budget(path, file, raw)
            table = file.read()
        table.validate(full=True)  # what a broken file holds: text that is no UTF-8, indices out of bounds
        return dict(zip(table.column_names, table.columns, strict=True))
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a valid Parquet file; write it again, or as CSV.") from error


def _check_columns(path: Path, columns: int) -> None:
    """Refuse a table of more columns than are read."""
    if columns > MOST_COLUMNS:
        raise InputError(
            f"{path.name} has {columns:,} columns; at most {MOST_COLUMNS:,} are read. Leave some out."
        )


@dataclass(frozen=True)
class _Page:
    """What a page's header says: kind, bytes when decompressed, values, and how these are encoded."""

    kind: int
    size: int
    values: int
    encoding: int


@dataclass(frozen=True)
class _Chunk:
    """A column's part in one group of rows."""

    name: str
    group: int
    is_text: bool
    values: int
    width: int  # bytes of a value that is no text
    pages: list[_Page]

    @property
    def decompressed(self) -> int:
        return sum(page.size for page in self.pages)

    @property
    def dictionary(self) -> int:
        """Bytes of its dictionary, 0 where it has none."""
        return sum(page.size for page in self.pages if page.kind == _DICTIONARY_PAGE)

    def written_out(self, longest: int) -> int:
        """The most that its texts take beyond their pages; ``longest`` is that of its dictionary."""
        referred = sum(page.values for page in self._of(*_REFERENCES))
        return longest * referred + sum(page.values * page.size for page in self._of(_PREFIXES))

    def reach(self, longest: int) -> int:
        """The most bytes that one of its texts has, those apart that stand in full."""
        return max([longest, *(page.size for page in self._of(_PREFIXES))])

    def _of(self, *encodings: int) -> list[_Page]:
        values = [page for page in self.pages if page.kind != _DICTIONARY_PAGE]
        return [page for page in values if page.encoding in encodings]


def _check_budget(path: Path, file: pyarrow.parquet.ParquetFile, raw: BinaryIO) -> None:
    chunks = list(_chunks(path, file, raw))
    _check_size(path, sum(chunk.values * chunk.width for chunk in chunks))
    _check_size(path, sum(chunk.decompressed for chunk in chunks))
    texts = [chunk for chunk in chunks if chunk.is_text]
    longest = _longest(path, texts)
    most = sum(chunk.decompressed + chunk.written_out(longest[chunk.name, chunk.group]) for chunk in texts)
    if most <= _allowed(path):
        return
    if len(file.schema) != len(file.schema_arrow):  # of lists, a row may hold any number of texts
        _check_size(path, most)
    total = 0
    for name in sorted({chunk.name for chunk in texts}):
        reach = max(chunk.reach(longest[name, chunk.group]) for chunk in texts if chunk.name == name)
        rows = max(1, _allowed(path) // max(1, reach) // 4)
        for batch in file.iter_batches(batch_size=rows, columns=[name], use_threads=False):
            total += _written_out(batch.column(0))
            _check_size(path, total)


def _chunks(path: Path, file: pyarrow.parquet.ParquetFile, raw: BinaryIO) -> Iterator[_Chunk]:
    kinds = [file.schema.column(place) for place in range(len(file.schema))]
    read = 0
    for group, (rows, stored) in enumerate(_groups(path, raw)):
        for kind, about in zip(kinds, stored, strict=True):
            pages = list(islice(_pages(raw, about), MOST_PAGES))
            read += len(pages)
            if read >= MOST_PAGES:
                raise InputError(
                    f"{path.name} has {MOST_PAGES:,} pages or more; write it with larger groups of rows."
                )
            values = max(rows, about[_VALUES], sum(page.values for page in pages))
            width = VALUE_BYTES if kind.physical_type == _TEXT else max(VALUE_BYTES, kind.length)
            yield _Chunk(kind.path, group, kind.physical_type == _TEXT, values, width, pages)


def _longest(path: Path, texts: list[_Chunk]) -> dict[tuple[str, int], int]:
    """Bytes of the longest text in each chunk's dictionary, which is read alone; 0 where it has none."""
    found = {(chunk.name, chunk.group): chunk.dictionary for chunk in texts}
    names = sorted({chunk.name for chunk in texts if chunk.dictionary})
    with _opened(path) as opened, pyarrow.parquet.ParquetFile(opened, read_dictionary=names) as file:
        for name, group in [key for key, size in found.items() if size]:
            for batch in islice(file.iter_batches(batch_size=1, row_groups=[group], columns=[name]), 1):
                words = batch.column(0)
                if pa.types.is_dictionary(words.type) and len(words.dictionary):
                    found[name, group] = pc.max(pc.binary_length(words.dictionary)).as_py() or 0
    return found


def _written_out(column: pa.Array) -> int:
    """Bytes of a column when each text that is referred to is written out."""
    if not pa.types.is_dictionary(column.type):
        return column.nbytes
    return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def _allowed(path: Path) -> int:
    return min(max(LEAST_BUDGET, MOST_GROWTH * path.stat().st_size), MOST_TABLE)


def _check_size(path: Path, needed: int) -> None:
    if needed > _allowed(path):
        raise InputError(
            f"{path.name} has {path.stat().st_size:,} bytes and would take {needed:,} in memory; at most "
            f"{_allowed(path):,} are taken for a file of its size. Write it with fewer rows or columns, or "
            "as CSV."
        )


def _groups(path: Path, raw: BinaryIO) -> Iterator[tuple[int, list[dict[int, int]]]]:
    """The rows of each group and what the file's footer says of each of its columns.

    The footer is read here because pyarrow ends the program where what it says of a column is broken.
    """
    raw.seek(-8, os.SEEK_END)
    length = int.from_bytes(raw.read(4), "little")
    if length > MOST_FOOTER:
        raise InputError(
            f"{path.name} has a footer of {length:,} bytes; at most {MOST_FOOTER:,} are read. Write it with "
            "larger groups of rows."
        )
    raw.seek(-8 - length, os.SEEK_END)
    footer = _struct(io.BytesIO(raw.read(length)), lists=True)
    for group in _list_in(footer, 4):
        columns = [_struct_in(column, 3) for column in _list_in(group, 1)]
        yield _whole(group, 3), [{field: _whole(about, field) for field in _OF_CHUNK} for about in columns]


def _pages(raw: BinaryIO, chunk: Mapping[int, int]) -> Iterator[_Page]:
    """The headers of a chunk's pages, as the reader of the values will meet them."""
    begin = min((chunk[field] for field in _STARTS if chunk[field]), default=0)
    end, left = begin + chunk[_COMPRESSED], chunk[_VALUES]
    raw.seek(begin)
    while raw.tell() < end and left > 0:
        page, compressed = _page(_struct(raw))
        yield page
        left -= page.values if page.kind != _DICTIONARY_PAGE else 0
        raw.seek(compressed, 1)


def _page(header: dict[int, Any]) -> tuple[_Page, int]:
    """A page and its bytes in the file, from the header's fields by their numbers in Parquet's definition."""
    about = next((_struct_in(header, field) for field in (5, 7, 8) if field in header), {})
    numbers = [header.get(field, -1) for field in (1, 2, 3)]
    numbers += [about.get(1, 0), about.get(4 if 8 in header else 2, 0)]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise EOFError("a page's header does not say what the page holds")
    kind, size, compressed, values, encoding = numbers
    return _Page(kind, size, values, encoding), compressed


_STRUCT, _BINARY, _DOUBLE, _BYTE = 12, 8, 7, 3
_NUMBERS, _LISTS, _TRUTHS = (4, 5, 6), (9, 10), (1, 2)
_DEEPEST = 8  # structs and lists within each other
_VALUES, _COMPRESSED, _STARTS = 5, 7, (9, 11)  # what the footer says of a chunk: where its pages start, last
_OF_CHUNK = (_VALUES, _COMPRESSED, *_STARTS)


def _struct_in(struct: Mapping[int, Any], field: int) -> dict[int, Any]:
    found = struct.get(field)
    if not isinstance(found, dict):
        raise EOFError("a part is missing or of another kind")
    return found


def _list_in(struct: Mapping[int, Any], field: int) -> list[dict[int, Any]]:
    found = struct.get(field)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise EOFError("a list is missing or of another kind")
    return found


def _whole(struct: Mapping[int, Any], field: int) -> int:
    """A number from 0 on; 0 where there is none."""
    found = struct.get(field, 0)
    if not isinstance(found, int) or found < 0:
        raise EOFError("a number is negative or of another kind")
    return found


def _struct(raw: BinaryIO, depth: int = 0, *, lists: bool = False) -> dict[int, Any]:
    """The numbers, structs and, where asked for, lists of a Thrift struct by field, in the compact form."""
    found: dict[int, Any] = {}
    field = 0
    while head := _byte(raw):
        step, kind = head >> 4, head & 15
        field = field + step if step else _number(raw)
        if kind not in _TRUTHS:  # true and false have no bytes of their own
            found[field] = _value(raw, kind, depth, lists)
    return found


def _value(raw: BinaryIO, kind: int, depth: int, lists: bool) -> Any:
    """A number, struct or list; None of another kind."""
    if kind in _NUMBERS:
        return _number(raw)
    if kind == _STRUCT and depth < _DEEPEST:
        return _struct(raw, depth + 1, lists=lists)
    if kind in _LISTS and lists and depth < _DEEPEST:
        head = _byte(raw)
        count = head >> 4 if head >> 4 < 15 else _unsigned(raw)
        of = _BYTE if head & 15 in _TRUTHS else head & 15
        return [_value(raw, of, depth + 1, lists) for _ in range(count)]
    if kind == _BINARY:
        raw.seek(_unsigned(raw), os.SEEK_CUR)
    elif kind in (_BYTE, _DOUBLE):
        for _ in range(1 if kind == _BYTE else 8):
            _byte(raw)
    else:
        raise EOFError(f"a field of kind {kind}")
    return None


def _number(raw: BinaryIO) -> int:
    value = _unsigned(raw)
    return (value >> 1) ^ -(value & 1)


def _unsigned(raw: BinaryIO) -> int:
    value = 0
    for place in range(10):
        byte = _byte(raw)
        value |= (byte & 127) << 7 * place
        if byte < 128 and value < 1 << 63:
            return value
    raise EOFError("a number has no end or is too large")


def _byte(raw: BinaryIO) -> int:
    byte = raw.read(1)
    if not byte:
        raise EOFError("the file ends within a header")
    return byte[0]
