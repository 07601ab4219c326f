"""Files of rows and columns: what is read as it stands, what is refused by its kind and line."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from clineval.errors import InputError
from clineval.files import text_cell
from clineval.tables import reading
from clineval.tables.reading import read_columns


def written(folder: Path, text: str | bytes, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_columns(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def cells(path: Path) -> dict[str, list[object]]:
    return {name: column.to_pylist() for name, column in read_columns(path)[0].items()}


def test_cells_of_a_csv_are_text_without_the_spaces_around_them(tmp_path: Path) -> None:
    path = written(tmp_path, '\ufeffa, b\r\n 1,NA \r\n,"x, y"\r\n')
    assert cells(path) == {"a": ["1", ""], "b": ["NA", "x, y"]}
    assert read_columns(path)[1].row(0) == "mine.csv, row 1 (line 2)"


def test_the_delimiter_is_the_one_that_the_header_holds_most(tmp_path: Path) -> None:
    assert cells(written(tmp_path, "a;b, c;d\n1;2;3\n")) == {"a": ["1"], "b, c": ["2"], "d": ["3"]}


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=;;;"])
def test_a_first_line_of_excel_says_what_separates_the_cells(tmp_path: Path, first: str) -> None:
    path = written(tmp_path, f"{first}\r\na,b;c\r\n1;2\r\n")
    assert cells(path) == {"a,b": ["1"], "c": ["2"]}
    assert read_columns(path)[1].row(0) == "mine.csv, row 1 (line 3)"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_the_encodings_in_which_excel_saves_text_are_read(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""
    text = f'{mark}outcome\tsite\r\n1\t"Zürich\tB"\r\n0\tGraz\r\n'
    path = written(tmp_path, text.encode(encoding))
    assert cells(path) == {"outcome": ["1", "0"], "site": ["Zürich\tB", "Graz"]}
    assert read_columns(path)[1].row(1) == "mine.csv, row 2 (line 3)"


def test_a_line_break_in_a_quoted_header_becomes_a_space(tmp_path: Path) -> None:
    path = written(tmp_path, '"risk\n(0, 1)";"outcome"\n.5;1\n')
    assert cells(path) == {"risk (0, 1)": [".5"], "outcome": ["1"]}
    assert read_columns(path)[1].row(0) == "mine.csv, row 1 (line 3)"


def test_lines_without_content_before_the_header_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, "\n;;\na;b;\n1;2;\n")
    assert cells(path) == {"a": ["1"], "b": ["2"]}
    assert read_columns(path)[1].row(0) == "mine.csv, row 1 (line 4)"


def test_a_delimiter_within_quotes_of_the_header_separates_nothing(tmp_path: Path) -> None:
    assert cells(written(tmp_path, '"a, 1, 2";"b"\n1;2\n')) == {"a, 1, 2": ["1"], "b": ["2"]}


def test_rows_and_unnamed_columns_without_content_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,,\n1,2,,\n,,,\n3,,,\n,,,\n")
    assert cells(path) == {"a": ["1", "3"], "b": ["2", ""]}
    assert read_columns(path)[1].row(1) == "mine.csv, row 2 (line 4)"


def test_one_unnamed_column_is_kept_as_the_row_numbers_of_pandas_are(tmp_path: Path) -> None:
    assert cells(written(tmp_path, ",a\n0,5\n1,6\n")) == {"": ["0", "1"], "a": ["5", "6"]}


def test_several_unnamed_columns_with_content_are_refused_by_their_places(tmp_path: Path) -> None:
    assert "the columns 2, 3 hold values and have no name" in refusal_of(written(tmp_path, "a,,\n1,2,3\n"))


def test_a_parquet_keeps_its_types_and_has_no_lines(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"a": [1, 2], "b": [0.5, None]}), tmp_path / "x")
    assert cells(tmp_path / "x") == {"a": [1, 2], "b": [0.5, None]}
    assert read_columns(tmp_path / "x")[1].row(0) == "x, row 1"


def test_a_parquet_of_broken_text_is_refused(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    pyarrow.parquet.write_table(pa.table({"a": broken}), tmp_path / "x")
    assert "not a valid Parquet file; " in refusal_of(tmp_path / "x")


def test_a_row_of_another_length_is_named_by_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, 'a,b\n1,"two\nlines"\n1\n')
    assert "line 4: expected 2 cells, as in the header, got 1" in refusal_of(path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_is_named_by_the_line_on_which_it_begins(tmp_path: Path, end: str) -> None:
    lines = ["a,b", "", '1,"two', 'lines"', "", "", "2,x", '"3', '3",y']
    origin = read_columns(written(tmp_path, end.join(lines) + end))[1]
    assert [origin.line(index) for index in range(4)] == [3, 7, 8, None]
    assert origin.row(1) == "mine.csv, row 2 (line 7)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a,b\n1,x\n2,"y\n3,z\n4,z\n', "line 3: a quote in this row is never closed"),
        ('a,b\n1,x\n"2,y\n3,z\n', "line 3: a quote in this row is never closed"),
        ('a,b\n1,"x\n2,y\n3,"z\n4,u\n', "line 2: a quote in this row is closed before its cell ends"),
        ('a,b\n1,"x' + "\n2,y" * 50_000, "line 2: a quote in this row is never closed"),
        ('a,b\n1,"', "line 2: a quote in this row is never closed"),
    ],
)
def test_a_quote_that_swallows_rows_is_refused_by_the_line_where_it_opens(
    tmp_path: Path, text: str, words: str
) -> None:
    assert words in refusal_of(written(tmp_path, text))


@pytest.mark.parametrize("cell", ['5" probe', '"a ""b"" c"', '"two\nlines"', '""'])
def test_quotes_that_swallow_nothing_are_read(tmp_path: Path, cell: str) -> None:
    assert len(cells(written(tmp_path, f"a,b\n1,{cell}\n2,x\n"))["a"]) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 rest of a workbook", ["Excel", "save it as CSV"]),
        (b"\x89PNG\r\n\x1a\n", ["picture"]),
        (b'{"outcome":{"0":1}}', ["not a CSV but JSON"]),
        (b'[{"outcome":1}]', ["not a CSV but JSON"]),
        (b'{\n "outcome": 1\n}', ["not a CSV but JSON"]),
        (b"<html><table><tr><td>outcome</td></tr></table>", ["a web page", "save it as CSV"]),
        ("outcome,risk\n1,.9\n".encode("utf-32"), ["text in UTF-32", "save it as CSV"]),
        (b"\xff\xfeo\x00u\x00t", ["not valid UTF-16"]),
        (b"outcome,risk", ["a header but no rows"]),
        (b"\n;;\n\n", ["empty lines only"]),
        (b'"a,b\n1,2\n', ["line 1", "never closed"]),
        (b"outcome,risk\n1,0,55\n", ["line 2", "expected 2 cells", "got 3", "decimal comma"]),
        (b"outc\x00me", ["neither a CSV nor a Parquet"]),
        (b"outcome,risk,site\n1,0.5,caf\xe9\n", ["line 2", "not UTF-8"]),
        (b"outcome,r\xefsk\n1,0.5\n", ["line 1", "not UTF-8"]),
        (b"PAR1 and then nothing", ["not a valid Parquet"]),
    ],
)
def test_a_file_of_another_kind_is_refused_by_what_it_is(
    tmp_path: Path, content: bytes, words: list[str]
) -> None:
    message = refusal_of(written(tmp_path, content))
    for word in words:
        assert word in message


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal_of(tmp_path)
    assert "is not there" in refusal_of(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1", "'=1"),
        ("'=1", "''=1"),
        ("@a", "'@a"),
        ("-1.5e-3", "-1.5e-3"),
        ("+.5", "+.5"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_only_what_a_spreadsheet_would_run_gets_an_apostrophe(cell: str, shown: str) -> None:
    assert text_cell(cell) == shown


def test_the_apostrophe_is_taken_away_again_in_cells_and_header(tmp_path: Path) -> None:
    path = written(tmp_path, "'=a,b\n'=1,''=2\n'quoted',-3\n")
    assert cells(path) == {"=a": ["=1", "'quoted'"], "b": ["'=2", "-3"]}


def test_a_quoted_cell_longer_than_pythons_limit_is_read(tmp_path: Path) -> None:
    long = "x," * 100_000
    assert cells(written(tmp_path, f'a,b\n1,"{long}"\n2,"y"\n')) == {"a": ["1", "2"], "b": [long, "y"]}
    assert csv.field_size_limit() == 131_072, "a setting of the whole program is left as it was"


def test_a_header_that_goes_on_for_ever_is_refused_and_not_cut(tmp_path: Path) -> None:
    path = written(tmp_path, "a" * 1_000_100 + ",b\n1,2\n")
    assert "expected column names in at most 1,000,000 bytes, got more" in refusal_of(path)


def test_a_header_cell_longer_than_pythons_limit_is_a_name(tmp_path: Path) -> None:
    name = "n" * 200_000
    assert cells(written(tmp_path, f"{name},b\n1,2\n")) == {name: ["1"], "b": ["2"]}


def test_a_row_beyond_the_longest_is_refused_as_such(tmp_path: Path) -> None:
    path = written(tmp_path, 'a,b\n1,"' + "x" * 20_000_000 + '"\n')
    assert "has a row of more than 8,388,608 bytes" in refusal_of(path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_more_columns_than_are_read_are_refused(tmp_path: Path, ending: str) -> None:
    names = [f"c{place}" for place in range(5_001)]
    path = tmp_path / f"wide.{ending}"
    if ending == "csv":
        path.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    else:
        pa.parquet.write_table(pa.table({name: [1] for name in names}), path)
    assert "has 5,001 columns; at most 5,000 are read" in refusal_of(path)


def test_a_pipe_or_device_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("pipe.csv", "zero.csv"):
        assert "is a pipe or a device; expected a plain CSV or Parquet file" in refusal_of(tmp_path / name)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_a_parquet_file_keep_their_type(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"a": pa.array(["x", None, "x"], pa.string()).cast(kind), "b": [1.5, 2.5, None]})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    found = read_columns(tmp_path / "t.parquet")[0]
    assert found["a"].type == kind
    assert (found["a"].to_pylist(), found["b"].to_pylist()) == (["x", None, "x"], [1.5, 2.5, None])


# VmHWM is the peak of this process alone; ru_maxrss starts at that of the process that started it.
MEASURED = """
import re, sys, time
from pathlib import Path
from clineval.errors import InputError
from clineval.tables.reading import (read_columns)
began = time.process_time()
try:
    read_columns(Path(sys.argv[1]))
except InputError as error:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
    print(time.process_time() - began, peak, error)
"""


def bomb_of_runs(path: Path) -> None:
    """20 million rows of one value in each of eight columns."""
    part = pa.table({f"c{place}": pa.array(np.zeros(1_000_000)) for place in range(8)})
    with pa.parquet.ParquetWriter(path, part.schema, compression="zstd") as writer:
        for _ in range(20):
            writer.write_table(part, row_group_size=1_000_000)


def bomb_of_references(path: Path) -> None:
    """A text of a million letters to which each of 5,000 rows refers."""
    references = pa.array(np.zeros(5_000, np.int32))
    texts = pa.DictionaryArray.from_arrays(references, pa.array(["x" * 1_000_000]))
    with pa.parquet.ParquetWriter(path, pa.schema({"a": texts.type}), store_schema=False) as writer:
        writer.write_table(pa.table({"a": texts}))


def bomb_of_compression(path: Path) -> None:
    """Different texts, a gigabyte of them, that compression shrinks to almost nothing."""
    texts = pa.array([f"{row}" + "x" * 1_000_000 for row in range(100)])
    with pa.parquet.ParquetWriter(
        path, pa.schema({"a": pa.string()}), compression="zstd", use_dictionary=False
    ) as writer:
        for _ in range(10):
            writer.write_table(pa.table({"a": texts}))


def bomb_of_prefixes(path: Path) -> None:
    """Texts of a million letters, each with the start of the one before it and one letter more."""
    texts = pa.array(["x" * (1_000_000 + row) for row in range(350)])
    with pa.parquet.ParquetWriter(
        path,
        pa.schema({"a": pa.string()}),
        compression="zstd",
        use_dictionary=False,
        column_encoding="DELTA_BYTE_ARRAY",
    ) as writer:
        for _ in range(4):
            writer.write_table(pa.table({"a": texts}))


def bomb_of_wide_numbers(path: Path) -> None:
    """A value of a million fixed bytes to which each of 5,000 rows refers."""
    wide = pa.array([b"x" * 1_000_000] * 300, pa.binary(1_000_000))
    with pa.parquet.ParquetWriter(path, pa.schema({"a": wide.type}), compression="zstd") as writer:
        for _ in range(17):
            writer.write_table(pa.table({"a": wide}))


def number(value: int) -> bytes:
    """A number as a page's header has it: zigzag, seven bits a byte."""
    value, found = value * 2, b""
    while value > 127:
        value, found = value >> 7, found + bytes([value & 127 | 128])
    return found + bytes([value])


def bomb_of_a_lie(path: Path) -> None:
    """A page of a megabyte whose header claims two gigabytes; its longer number stands in two bytes of the
    page's least text."""
    texts = [f"{row:04}" + "x" * 1_000 for row in range(1_000)]
    pa.parquet.write_table(pa.table({"a": texts}), path, compression="zstd", use_dictionary=False)
    whole = path.read_bytes()
    size, lie = 7, number(2_000_000_000)  # the size stands behind PAR1 and the kind of the page
    told = whole[size:][: next(place for place in range(9) if whole[size + place] < 128) + 1]
    more = len(lie) - len(told)
    least = whole.index(b"\xec\x07" + texts[0].encode())  # 1,004 bytes follow
    shorter = bytes([0xEC - more, 7])
    end = least + 2 + more
    path.write_bytes(whole[:size] + lie + whole[size + len(told) : least] + shorter + whole[end:])
    assert path.stat().st_size == len(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        bomb_of_runs,
        bomb_of_references,
        bomb_of_compression,
        bomb_of_prefixes,
        bomb_of_wide_numbers,
        bomb_of_a_lie,
    ],
)
def test_a_small_file_that_stands_for_gigabytes_is_refused_in_little_time_and_memory(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 4_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "bomb.parquet")], capture_output=True, text=True
    )
    seconds, kilobytes, message = done.stdout.split(maxsplit=2)
    assert float(seconds) < 5
    assert int(kilobytes) < 1_000_000
    assert "bytes and would take" in message


@pytest.mark.slow
def test_no_broken_byte_of_a_parquet_file_ends_the_program(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"a": ["x", "y"] * 3, "b": [0.5, None] * 3}), tmp_path / "whole")
    code = f"""
from pathlib import Path
from clineval.errors import InputError
from clineval.tables.reading import read_columns
whole, path = Path({str(tmp_path / "whole")!r}).read_bytes(), Path({str(tmp_path / "x")!r})
for place in range(4, len(whole) - 4):
    for value in (whole[place] ^ 1, 0x19):  # another number, and a list in place of a field
        path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        try:
            read_columns(path)
        except InputError:
            pass
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_a_number_in_the_place_of_a_page_headers_part_is_refused() -> None:
    header = io.BytesIO(bytes([0x15, 0, 0x15, 2, 0x15, 2, 0x25, 2, 0]))  # field 5 holds 1
    with pytest.raises(EOFError, match="missing or of another kind"):
        reading._page(reading._struct(header))


def test_a_list_without_end_in_a_parquet_footer_is_refused_at_once() -> None:
    endless = bytes([0x49, 0xF7]) + b"\xff" * 8 + b"\x7f"  # more doubles than any file holds
    with pytest.raises(EOFError, match="the file ends"):
        reading._struct(io.BytesIO(endless), lists=True)
    with pytest.raises(EOFError, match="a field of kind 9"):
        reading._struct(io.BytesIO(endless))


def test_a_parquet_footer_that_is_too_long_is_refused_unread(tmp_path: Path) -> None:
    table = pa.table({"a": [1]}, metadata={"note": "x" * (reading.MOST_FOOTER + 1)})
    pyarrow.parquet.write_table(table, tmp_path / "x")
    assert "at most 4,194,304 are read" in refusal_of(tmp_path / "x")
