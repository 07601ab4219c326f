"""Models on disk: whole or not at all, checked on the way back, bounded."""

import errno
import json
import math
import os
import struct

import numpy as np
import pytest

from clineval.errors import InputError
from clineval.models import stored
from clineval.models.stored import (
    Stored,
    finite,
    positive,
    read_arrays,
    read_record,
    require_shapes,
    write_arrays,
    write_model,
)

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([0.1])}


def test_arrays_and_record_read_back_to_the_same_bits(tmp_path):
    write_arrays(tmp_path / "x.safetensors", ARRAYS, {"seed": 3})
    arrays, record = read_arrays(tmp_path / "x.safetensors")
    assert record == {"seed": 3}
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in ARRAYS.items()
    }


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ("x", "y"):
        write_arrays(tmp_path / name, ARRAYS, {"seed": 3, "fold": 1})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_a_full_disk_is_named_and_leaves_no_part_behind(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"Cannot save x.safetensors in .*: the disk is full\. Make room"):
        write_arrays(tmp_path / "x.safetensors", ARRAYS, {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot save x"):
        write_arrays(tmp_path / "file" / "x", ARRAYS, {})


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    write_arrays(path, ARRAYS, {})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="is incomplete, or no model file"):
        read_arrays(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"x.safetensors is not there"):
        read_arrays(tmp_path / "x.safetensors")


def test_a_file_of_another_program_is_refused(tmp_path):
    (tmp_path / "x").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="is incomplete, or no model file"):
        read_arrays(tmp_path / "x")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"a": (2, 3), "b": (2,)}, r"b should have shape \(2,\), has \(1,\)"),
        ({"a": (2, 3)}, r"b should have shape none"),
        ({"a": (2, 3), "b": (1,), "c": (1,)}, r"c should have shape \(1,\), has none"),
    ],
)
def test_arrays_of_other_shapes_are_refused(tmp_path, shapes, message):
    with pytest.raises(InputError, match=message):
        require_shapes(tmp_path / "x", ARRAYS, shapes)


def test_values_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(InputError, match="b holds values that are not finite numbers"):
        require_shapes(tmp_path / "x", {"b": np.array([np.nan])}, {"b": (1,)})


def test_values_that_are_not_finite_after_scaling_are_refused():
    with pytest.raises(InputError, match="1 of 3 are NaN or infinite"):
        finite(np.array([0.0, np.nan, 1.0]))


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "1", None, True, [1]])
def test_what_is_no_finite_number_above_0_is_none(value):
    with pytest.raises(ValueError, match="expected a"):
        positive(value)
    assert positive(2) == 2.0


def test_a_model_is_two_files_that_read_back(tmp_path):
    write_model(Stored({"kind": "logreg", "image": [28, 28]}, ARRAYS), tmp_path, "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "mine.safetensors"]
    record = read_record(tmp_path / "mine.json")
    assert (record["kind"], record["model"]) == ("logreg", "mine")
    assert set(read_arrays(tmp_path / "mine.safetensors")[0]) == set(ARRAYS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2", "not the record of a model"),
        ("[]", "is not of format 3, which this version reads; got format None"),
        ('{"format": 99}', "got format 99"),
        ("[" * 100_000, "not the record of a model"),
    ],
)
def test_what_is_no_record_of_this_format_is_refused(tmp_path, text, words):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_record(tmp_path / "x.json")


@pytest.mark.parametrize("read", [read_record, read_arrays])
def test_pipes_devices_and_links_to_them_are_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(InputError, match="a regular file is needed"):
            read(tmp_path / name)


def test_files_above_their_bound_are_refused_unread(tmp_path):
    for read, most in ((read_record, stored.MOST_JSON), (read_arrays, stored.MOST_BYTES)):
        with (tmp_path / "x").open("wb") as file:
            file.truncate(most + 1)  # a hole: no disk is used
        with pytest.raises(InputError, match="bytes; at most"):
            read(tmp_path / "x")


@pytest.mark.parametrize("length", [2**24 + 1, 2**60])
def test_a_header_that_claims_to_be_giant_is_refused(tmp_path, length):
    (tmp_path / "x").write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(InputError, match="is incomplete, or no model file"):
        read_arrays(tmp_path / "x")


def test_an_array_that_claims_to_be_giant_is_refused(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(InputError, match="is incomplete, or no model file"):
        read_arrays(tmp_path / "x")
