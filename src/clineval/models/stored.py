"""Models on disk: safetensors and JSON, nothing that can run code; checked before they are used."""

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from clineval.errors import InputError, option
from clineval.files import parse_json, read_regular, write_whole

FORMAT = 3  # of a stored model; changes with anything that changes what arrays or features mean
LARGEST = float(np.finfo(np.float64).max)
RECORD = "record"  # the one metadata entry of a file of arrays, a JSON text
MOST_BYTES, MOST_JSON, MOST_HEADER = 2**29, 2**22, 2**24  # of a file of arrays, a record, a file's header
Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Stored:
    """A fitted model in its stored form: a record for JSON (no times in it) and arrays by name."""

    record: dict[str, Any]
    arrays: Arrays


def write_model(model: Stored, folder: Path, name: str) -> None:
    """Write ``NAME.safetensors`` (the arrays) and ``NAME.json`` (the record) into ``folder``.

    Raises
    ------
    InputError : the folder cannot be written, or the disk is full.
    """
    write_arrays(folder / f"{name}.safetensors", model.arrays, {"format": FORMAT, "model": name})
    text = json.dumps({"format": FORMAT, "model": name, **model.record}, indent=2, allow_nan=False)
    _write(folder / f"{name}.json", (text + "\n").encode())


def read_record(path: Path) -> dict[str, Any]:
    """The JSON record of a stored model.

    Raises
    ------
    InputError : the file is missing, no regular file, above 4 MiB, no JSON object, or of another format.
    """
    try:
        record = parse_json(read_regular(path, most=MOST_JSON))
    except FileNotFoundError:
        raise InputError(
            f"Expected a trained model; {path} is not there. Train one with: clineval run"
        ) from None
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not the record of a model ({error}); train again.") from error
    found = record.get("format") if isinstance(record, dict) else None
    if not isinstance(record, dict) or found != FORMAT:
        raise InputError(
            f"{path} is not of format {FORMAT}, which this version reads; got format {found!r}. Train again."
        )
    return record


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> None:
    """Write arrays with their record as one file that is there whole or not at all.

    Raises
    ------
    InputError : the folder cannot be written, or the disk is full; no partial file is left.
    """
    text = json.dumps(record, sort_keys=True)
    _write(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {RECORD: text}))


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Arrays by name and the record beside them.

    Raises
    ------
    InputError : the file is missing, no regular file, above 512 MiB, truncated, or not one of clineval's.
    """
    try:
        content = read_regular(path, most=MOST_BYTES)
        record = parse_json(_header(content)["__metadata__"][RECORD])
        if not isinstance(record, dict):
            raise ValueError(f"a record that is a {type(record).__name__}")
        return load(content), record
    except FileNotFoundError:
        raise InputError(f"Expected a model file; {path} is not there.") from None
    except InputError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"{path} is incomplete, or no model file of clineval ({error}); remove it and train again."
        ) from error


def require_shapes(
    path: Path, arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a file whose arrays are not those that its kind of model has.

    Raises
    ------
    InputError : an array is missing, unexpected, of another shape, or holds NaN or infinite values.
    """
    found = {name: tuple(array.shape) for name, array in arrays.items()}
    for name in sorted({*found, *shapes}):
        if found.get(name) != shapes.get(name):
            raise InputError(
                f"{path} does not fit its model: {name} should have shape {shapes.get(name, 'none')}, "
                f"has {found.get(name, 'none')}. Train again, or use the file with its own record."
            )
        if arrays[name].dtype.kind not in "fiu" or not np.isfinite(arrays[name]).all():
            raise InputError(
                f"{path} is damaged: {name} holds values that are not finite numbers. Train again."
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


def positive(value: Any) -> float:
    """A finite number above 0, of a stored record; ValueError where it is none."""
    number = real(value)
    if number <= 0:
        raise ValueError(f"expected a number above 0, got {value!r:.60}")
    return number


def real(value: Any) -> float:
    """A finite number of a stored record; ValueError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ValueError(f"expected a finite number, got {value!r:.60}")
    return float(value)


def _header(content: bytes) -> Any:
    """What stands before the arrays: their names and places, and the record."""
    length = int.from_bytes(content[:8], "little")
    if length > MOST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    return json.loads(content[8 : 8 + length])


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise InputError(
            f"Cannot save {path.name} in {path.parent}: {reason}. Make room or choose another folder; the "
            f"same again with {option('--resume', 'resume=True')} reuses the trainings that are finished (a "
            "study always does)."
        ) from error
