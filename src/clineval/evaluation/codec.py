"""Frozen records to JSON and back, by their type hints: it knows no record.

Strict JSON: NaN and infinity are null, arrays and tuples are lists. A field's metadata may say ``inline``
(names of the entries of the mapping or record that stand at the level of the record itself), ``key``
(another name in JSON), ``empty`` (null in JSON where the text is empty), ``sparse`` (not in JSON where
nothing is in it) and ``left_out`` (not in JSON).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import numpy as np


def to_plain(value: Any) -> Any:
    """A record, or mappings and tuples of such, as plain JSON values."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if is_dataclass(value):
        return dict(_entries(value))
    if isinstance(value, Mapping):
        return {str(name): to_plain(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(each) for each in value]
    return to_plain(value.tolist()) if isinstance(value, (np.ndarray, np.generic)) else value


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
    if origin is np.ndarray:
        _require(isinstance(content, list), content, place)
        return np.array([math.nan if each is None else each for each in content], dtype=np.float64)
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
