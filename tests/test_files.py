"""Files: strict JSON, and records to it and back by their type hints."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from clineval.files import from_plain, to_plain, write_json


@dataclass(frozen=True)
class Inner:
    name: str
    value: float
    parts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(metadata={"inline": ("name", "value")})
    scores: Mapping[str, Inner] = field(metadata={"inline": ("first", "second")})
    line: NDArray[np.float64]
    pair: tuple[str, float]
    reason: str = field(default="", metadata={"empty": True})
    maybe: Inner | None = None
    renamed: int = field(default=3, metadata={"key": "other_name"})
    counted: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counted", len(self.line))


def outer(**changed):
    given = {
        "inner": Inner("a", 0.25),
        "scores": {"second": Inner("b", math.nan, (1, 2))},
        "line": np.array([0.5, math.nan, math.inf]),
        "pair": ("x", 2.0),
    }
    return Outer(**(given | changed))


def test_inline_fields_stand_at_the_level_of_the_record_and_what_is_no_number_is_null():
    assert to_plain(outer()) == {
        "name": "a",
        "value": 0.25,
        "second": {"name": "b", "value": None, "parts": [1, 2]},
        "line": [0.5, None, None],
        "pair": ["x", 2.0],
        "reason": None,
        "maybe": None,
        "other_name": 3,
        "counted": 3,
    }


def test_what_was_written_reads_back_to_the_same_json():
    for record in (outer(), outer(reason="none", maybe=Inner("c", 1.0), renamed=7)):
        text = json.dumps(to_plain(record), allow_nan=False)
        again = from_plain(Outer, json.loads(text))
        assert json.dumps(to_plain(again)) == text
        assert isinstance(again.line, np.ndarray)
        assert again.maybe == record.maybe


def test_numpy_s_own_numbers_are_plain():
    given = {"a": np.float64(0.5), "b": np.int64(2), "c": np.bool_(True), "d": np.float64("nan")}
    assert to_plain(given) == {"a": 0.5, "b": 2, "c": True, "d": None}


def test_what_is_missing_is_as_by_default_and_else_named():
    content = to_plain(outer())
    del content["other_name"], content["maybe"]
    assert from_plain(Outer, content).renamed == 3
    del content["line"]
    with pytest.raises(ValueError, match=r"^line is missing"):
        from_plain(Outer, content)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("line", 3, "line is 3"),
        ("pair", ["x"], "pair is"),
        ("pair", ["x", "y"], r"pair\[1\] is 'y'"),
        ("second", 3, "second is 3"),
        ("second", {"name": 4, "value": 1.0}, "second.name is 4"),
        ("value", True, "value is True"),
        ("other_name", 1.5, "other_name is 1.5"),
        ("maybe", [], "maybe is"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_place(key, value, place):
    with pytest.raises(ValueError, match=place):
        from_plain(Outer, {**to_plain(outer()), key: value})


def test_unknown_keys_are_passed_over_unless_strict():
    content = {**to_plain(Inner("a", 1.0)), "later": 5}
    assert from_plain(Inner, content) == Inner("a", 1.0)
    with pytest.raises(ValueError, match=r"settings has \['later'\], which Inner does not know"):
        from_plain(Inner, content, place="settings", strict=True)


def test_json_is_strict_in_the_order_given_and_ends_its_last_line(tmp_path):
    write_json({"b": "ä", "a": [1.5, None]}, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == '{\n "b": "ä",\n "a": [\n  1.5,\n  null\n ]\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"a": math.nan}, tmp_path / "a.json")
