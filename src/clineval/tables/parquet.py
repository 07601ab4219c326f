"""Parquet tables, refused before they are decoded where they would be far larger than their files."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from clineval.errors import InputError

VALUE_BYTES = 8  # of a number in memory
LEAST_BUDGET = 1 << 28  # bytes of memory that any Parquet file may take
MOST_GROWTH = 200  # times its own size that a larger one may take; columns of one value shrink much
MOST_TABLE = 1 << 34  # bytes of memory for any table
MOST_COLUMNS = 5_000
MOST_PAGES = 500_000  # whose headers are read in four seconds

TEXT = "BYTE_ARRAY"  # what Parquet calls the form of texts
_DICTIONARY_PAGE = 2  # a kind of page; the other kinds hold values
_REFERENCES = (2, 8)  # encodings of values that refer to the dictionary
_PREFIXES = 7  # the encoding of texts by what each shares with the one before it


def read_parquet(path: Path) -> dict[str, pa.ChunkedArray]:
    """The columns of a Parquet file by name, as they are stored.

    A few bytes may stand for gigabytes: by compression, by runs of one value, by a long text that many rows
    refer to or share the start of. What each page claims to take is added up before any is decoded.

    Raises
    ------
    InputError : the file is broken, has too many columns, or takes far more memory than its size.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file, path.open("rb") as raw:
            check_columns(path, len(file.schema_arrow))
            _check_budget(path, file, raw)
            table = file.read()
        table.validate(full=True)  # what a broken file holds: text that is no UTF-8, indices out of bounds
        return dict(zip(table.column_names, table.columns, strict=True))
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a whole Parquet file; write it anew, or as CSV.") from error


def check_columns(path: Path, columns: int) -> None:
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
    read = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group)
        for place in range(rows.num_columns):
            stored, kind = rows.column(place), file.schema.column(place)
            pages = list(islice(_pages(raw, stored), MOST_PAGES))
            read += len(pages)
            if read >= MOST_PAGES:
                raise InputError(
                    f"{path.name} has {MOST_PAGES:,} pages or more; write it with larger groups of rows."
                )
            values = max(0, rows.num_rows, stored.num_values, sum(page.values for page in pages))
            width = VALUE_BYTES if kind.physical_type == TEXT else max(VALUE_BYTES, kind.length)
            yield _Chunk(kind.path, group, kind.physical_type == TEXT, values, width, pages)


def _longest(path: Path, texts: list[_Chunk]) -> dict[tuple[str, int], int]:
    """Bytes of the longest text in each chunk's dictionary, which is read alone; 0 where it has none."""
    found = {(chunk.name, chunk.group): chunk.dictionary for chunk in texts}
    names = sorted({chunk.name for chunk in texts if chunk.dictionary})
    with pyarrow.parquet.ParquetFile(path, read_dictionary=names) as file:
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


def _pages(raw: BinaryIO, chunk: Any) -> Iterator[_Page]:
    """The headers of a chunk's pages, as the reader of the values will meet them."""
    starts = [chunk.data_page_offset, chunk.dictionary_page_offset]
    begin = min(start for start in starts if start)
    end, left = begin + max(0, chunk.total_compressed_size), chunk.num_values
    raw.seek(begin)
    while raw.tell() < end and left > 0:
        page, compressed = _page(_struct(raw))
        yield page
        left -= page.values if page.kind != _DICTIONARY_PAGE else 0
        raw.seek(compressed, 1)


def _page(header: dict[int, Any]) -> tuple[_Page, int]:
    """A page and its bytes in the file, from the header's fields by their numbers in Parquet's definition."""
    about = header.get(5) or header.get(7) or header.get(8) or {}
    numbers = [header.get(field, -1) for field in (1, 2, 3)]
    numbers += [about.get(1, 0), about.get(4 if 8 in header else 2, 0)]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise EOFError("a page's header does not say what the page holds")
    kind, size, compressed, values, encoding = numbers
    return _Page(kind, size, values, encoding), compressed


_STRUCT, _BINARY, _DOUBLE, _BYTE = 12, 8, 7, 3
_NUMBERS = (4, 5, 6)
_DEEPEST = 4  # structs within a page's header


def _struct(raw: BinaryIO, depth: int = 0) -> dict[int, Any]:
    """The numbers and structs among a Thrift struct's fields, in the compact form that Parquet uses."""
    found: dict[int, Any] = {}
    field = 0
    while head := _byte(raw):
        step, kind = head >> 4, head & 15
        field = field + step if step else _number(raw)
        if kind in _NUMBERS:
            found[field] = _number(raw)
        elif kind == _STRUCT and depth < _DEEPEST:
            found[field] = _struct(raw, depth + 1)
        elif kind == _BINARY:
            raw.seek(_unsigned(raw), 1)
        elif kind in (_BYTE, _DOUBLE):
            raw.seek(1 if kind == _BYTE else 8, 1)
        elif kind not in (1, 2):  # true and false have no bytes of their own
            raise EOFError(f"a page's header has a field of kind {kind}")
    return found


def _number(raw: BinaryIO) -> int:
    value = _unsigned(raw)
    return (value >> 1) ^ -(value & 1)


def _unsigned(raw: BinaryIO) -> int:
    value = 0
    for place in range(10):
        byte = _byte(raw)
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value
    raise EOFError("a number in a page's header has no end")


def _byte(raw: BinaryIO) -> int:
    byte = raw.read(1)
    if not byte:
        raise EOFError("the file ends within a page's header")
    return byte[0]
