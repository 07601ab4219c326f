"""Broken files made from whole ones: bytes flipped, cut and spliced, and the edits a liar would make."""

import io
import json
import random
import struct
import zipfile
from typing import Any

ODD_NUMBERS = (0, 1, -1, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
ODD_TEXTS = (
    "", " ", "\n", "\r", "\0", ",", ";", "\t", '"', "'", "=1+1", "@x", "-", "+", "../../etc/passwd", "/",
    "nan", "inf", "-inf", "1e999", "0x10", "1_0", "٠", "\u202e", "\ufeff", "\u2028", "é", "𝔞", "<script>",
    "{{", "%s", "NULL", "None", "true", "9" * 400, "a" * 5000, "[" * 3000, "\x1b[2J",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**30, 2**63, 1e308, -1e308, 0.5, [], {}, [[]], {"": 0}, [None], "", "x",
    "../x", float("nan"), float("inf"), {"value": None}, ["a", 1], "\u202e",
)  # fmt: skip
MOST_BYTES = 200_000
MOST_EDITS = 5


def mutated(chance: random.Random, seeds: list[bytes], kind: str) -> bytes:
    """One broken file: an edit that knows the format half the time, and plain damage of the bytes."""
    content = chance.choice(seeds)
    edit = _EDITS.get(kind)
    if edit is not None and chance.random() < 0.6:
        content = edit(chance, content)
        if chance.random() < 0.7:
            return content[:MOST_BYTES]
    for _ in range(chance.randint(1, MOST_EDITS)):
        content = chance.choice(_DAMAGES)(chance, content, seeds)
    return content[:MOST_BYTES]


def _flipped(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    if not content:
        return content
    # the heads and tails of files hold what describes the rest
    end = chance.choice((64, 512, len(content)))
    place = chance.randrange(min(end, len(content)))
    place = place if chance.random() < 0.7 else len(content) - 1 - place
    return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]


def _overwritten(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    place = chance.randrange(len(content) + 1)
    new = chance.randbytes(chance.randint(1, 8))
    return content[:place] + new + content[place + len(new) :]


def _numbered(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    place, value = chance.randrange(len(content) + 1), chance.choice(ODD_NUMBERS)
    form = chance.choice(("<H", ">H", "<I", ">I", "<Q"))
    new = struct.pack(form, value & (2 ** (8 * struct.calcsize(form)) - 1))
    return content[:place] + new + content[place + len(new) :]


def _cut(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    start, stop = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:stop] if chance.random() < 0.5 else content[:start] + content[stop:]


def _inserted(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    place = chance.randrange(len(content) + 1)
    new = chance.choice(ODD_TEXTS).encode("utf-8", "surrogatepass")
    return content[:place] + new + content[place:]


def _doubled(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    start, stop = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:stop] + content[start:stop] + content[stop:]


def _spliced(chance: random.Random, content: bytes, seeds: list[bytes]) -> bytes:
    other = chance.choice(seeds)
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


_DAMAGES = (_flipped, _flipped, _overwritten, _numbered, _cut, _inserted, _doubled, _spliced)


def _edited_json(chance: random.Random, content: bytes) -> bytes:
    """One to three values of a JSON text replaced, taken out or doubled."""
    value = json.loads(content)
    for _ in range(chance.randint(1, 3)):
        value = _edited_value(chance, value)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _edited_value(chance: random.Random, value: Any) -> Any:
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.1:
        return chance.choice(ODD_VALUES)
    if isinstance(value, list):
        place = chance.randrange(len(value))
        new = _edited_value(chance, value[place])
        return chance.choice(([*value[:place], new, *value[place + 1 :]], value[:place], [*value, new]))
    name = chance.choice(list(value))
    if chance.random() < 0.2:
        return {key: kept for key, kept in value.items() if key != name}
    return {**value, name: _edited_value(chance, value[name])}


def _edited_lines(chance: random.Random, content: bytes) -> bytes:
    """JSON lines: one line edited, taken out or moved."""
    lines = content.splitlines()
    place = chance.randrange(len(lines))
    how = chance.randrange(3)
    if how == 0:
        lines[place] = _edited_json(chance, lines[place])
    elif how == 1:
        del lines[place]
    else:
        chance.shuffle(lines)
    return b"\n".join(lines) + b"\n"


def _edited_table(chance: random.Random, content: bytes) -> bytes:
    """A CSV whose cells, rows, quotes and line ends were changed."""
    rows = [line.split(",") for line in content.decode("utf-8", "replace").splitlines()] or [[""]]
    for _ in range(chance.randint(1, 4)):
        row = chance.choice(rows)
        place = chance.randrange(len(row)) if row else 0
        how = chance.randrange(5)
        if how == 0 and row:
            row[place] = chance.choice(ODD_TEXTS)
        elif how == 1:
            row.insert(place, chance.choice(ODD_TEXTS))
        elif how == 2 and row:
            del row[place]
        elif how == 3:
            rows.insert(chance.randrange(len(rows) + 1), list(chance.choice(rows)))
        elif row:
            row[place] = f'"{row[place]}'
    delimiter, end = chance.choice(",,,;\t"), chance.choice(("\n", "\n", "\r\n", "\r", "\n\n"))
    return end.join(delimiter.join(row) for row in rows).encode("utf-8", "surrogatepass")


def _edited_zip(chance: random.Random, content: bytes) -> bytes:
    """An archive whose checksums are right and whose members are not."""
    stream = io.BytesIO()
    method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(stream, "w", method) as broken:
        names = whole.namelist()
        wrong = chance.choice(names)
        for name in names:
            member = whole.read(name)
            if name == wrong:
                how = chance.randrange(4)
                member = _edited_header(chance, member) if how else member
                name = chance.choice(ODD_TEXTS[9:]) if how == 0 else name
                if how == 1:
                    continue
            broken.writestr(name[:100] or "x", member)
    return stream.getvalue()


def _edited_header(chance: random.Random, member: bytes) -> bytes:
    """A NumPy array whose declared shape, order or type is another."""
    old, new = chance.choice(
        (
            (b"(6,", b"(%d," % chance.choice(ODD_NUMBERS)),
            (b", 28,", b", 10**9,"),
            (b"|u1", chance.choice((b"|O", b"<f8", b"|S9", b"<M8", b"|V7"))),
            (b"False", b"True "),
            (b"'shape'", b"'shaqe'"),
            (b"}", b"} + [0]" + b"(" * chance.randrange(500)),
            (b"NUMPY\x01", b"NUMPY\x03"),
        )
    )
    damaged = member.replace(old, new, 1)
    return damaged if chance.random() < 0.8 else damaged + b"\0" * chance.randrange(100_000)


def _edited_safetensors(chance: random.Random, content: bytes) -> bytes:
    """A safetensors file whose header was edited and has its right length."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    record = json.loads(header["__metadata__"]["record"])
    if chance.random() < 0.5:
        header["__metadata__"]["record"] = json.dumps(_edited_value(chance, record))
    else:
        header = _edited_value(chance, header)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


_EDITS = {
    "json": _edited_json,
    "jsonl": _edited_lines,
    "csv": _edited_table,
    "npz": _edited_zip,
    "safetensors": _edited_safetensors,
}
