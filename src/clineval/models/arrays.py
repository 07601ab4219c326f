"""Weights and their records on disk: safetensors and JSON, nothing that can run code."""

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from clineval.errors import InputError
from clineval.files import write_whole

RECORD = "record"  # the one metadata entry, a JSON text
Arrays = dict[str, NDArray[Any]]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> None:
    """Write arrays with their record as one file that is there whole or not at all.

    Raises
    ------
    InputError : the folder cannot be written, or the disk is full; no partial file is left.
    """
    text = json.dumps(record, sort_keys=True)
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {RECORD: text})
    write_bytes(path, content)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, over an older one of the name.

    Raises
    ------
    InputError : the folder cannot be written, or the disk is full; no partial file is left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Arrays by name and the record beside them.

    Raises
    ------
    InputError : the file is missing, truncated, or not one of ours.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            record = json.loads((file.metadata() or {})[RECORD])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"A model file is needed; {path} is not there.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"{path} is not a whole model file written by clineval ({error}); remove it and train again."
        ) from error
    return arrays, record


def require_shapes(
    path: Path, arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a file whose arrays are not those that its kind of model has.

    Raises
    ------
    InputError : an array is missing, unexpected, of another shape, or holds NaN.
    """
    found = {name: tuple(array.shape) for name, array in arrays.items()}
    for name in sorted({*found, *shapes}):
        if found.get(name) != shapes.get(name):
            raise InputError(
                f"{path} does not fit its model: {name} should have shape {shapes.get(name, 'none')}, "
                f"has {found.get(name, 'none')}. Train again, or use the file with its own record."
            )
        if not np.isfinite(arrays[name]).all():
            raise InputError(
                f"{path} is damaged: {name} holds values that are no finite numbers. Train again."
            )


def finite(values: NDArray[Any]) -> NDArray[Any]:
    """The values themselves, refused where any is not a finite number.

    Raises
    ------
    InputError : a value is NaN or infinite.
    """
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise InputError(
            f"Values must be finite after scaling; {bad} of {values.size} are NaN or infinite. "
            "Look for constant or corrupt images in the training split."
        )
    return values


def _unwritable(path: Path, error: OSError) -> InputError:
    reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
    return InputError(
        f"Cannot save {path.name} in {path.parent}: {reason}. Make room or choose another folder; the same "
        "command with --resume reuses the trainings that are finished (a study always does)."
    )
