"""Arrays with their record on disk: whole or not at all, checked on the way back."""

import errno
import json

import numpy as np
import pytest

from clineval.errors import InputError
from clineval.models import arrays as storage
from clineval.models.arrays import read_arrays, require_shapes, write_arrays

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

    monkeypatch.setattr(storage.os, "fsync", full)
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
    with pytest.raises(InputError, match="is not a whole model file"):
        read_arrays(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"x.safetensors is not there"):
        read_arrays(tmp_path / "x.safetensors")


def test_a_file_of_another_program_is_refused(tmp_path):
    (tmp_path / "x").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="is not a whole model file"):
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
    with pytest.raises(InputError, match="b holds values that are no finite numbers"):
        require_shapes(tmp_path / "x", {"b": np.array([np.nan])}, {"b": (1,)})
