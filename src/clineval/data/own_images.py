"""A user's own images, for the audit: a folder, or a table that names image files."""

import os
import warnings
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.data.cohort import Source
from clineval.data.image_checks import bears_marks
from clineval.data.image_files import ENDINGS, files_below, fingerprint, in_utf8, read_image
from clineval.data.preparation import Unusable, square
from clineval.data.similarity import Images, Progress
from clineval.refusal import Refusal
from clineval.table_files import read_columns

SIDE, SMALL_SIDE = 128, 64  # pixels of the square that every image is brought to
MOST_AT_SIDE = 20_000  # images; beyond, the smaller square, of which 100,000 take 400 MB
SPLIT_OF_FOLDER = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
COLUMNS = {
    "image": ("image", "file", "filename", "path"),
    "split": ("split",),
    "outcome": ("outcome", "label"),
    "group": ("group", "patient"),
}


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be used, and why."""

    case: str
    reason: str


@dataclass(frozen=True)
class OwnImages:
    """The images that could be read, one entry per image in every array.

    Attributes
    ----------
    images : uint8, shape (cases, side, side): the middle square of each, grey, side 128 (64 if very many).
    case : str, the path below the folder, with forward slashes.
    split : str, ``all`` where neither folders nor a column name one.
    outcome : labels as they came, or None; group : patients as they came, or None.
    fingerprint : equal where the whole decoded images are equal.
    marked : bool, text or measuring marks lie in the whole picture, of which the square may show a part, or
        a DICOM file says so.
    sizes : number of different sizes among the files; ``folders`` are those that one of them lies in.
    """

    images: Images
    case: NDArray[np.str_]
    split: NDArray[np.str_]
    outcome: NDArray[np.str_] | None
    group: NDArray[np.str_] | None
    fingerprint: NDArray[np.bytes_]
    marked: NDArray[np.bool_]
    sizes: int
    unreadable: tuple[Unreadable, ...]
    folders: tuple[Path, ...]
    source: Source


@dataclass(frozen=True)
class _Entry:
    case: str
    path: Path
    split: str = "all"
    outcome: str = ""
    group: str = ""


@dataclass(frozen=True)
class _Decoded:
    image: Images
    size: tuple[int, int]
    fingerprint: bytes
    marked: bool


def read_own_images(source: Path, *, progress: Progress | None = None) -> OwnImages:
    """The images of a folder (with those below it), or of a CSV that names files beside or below it.

    A file that cannot be read, is too large, or lies outside the folder is named with its reason
    and left out; the rest is prepared as BreastMNIST was from its source. In a folder, subfolders
    called train, val or test make the splits. In a CSV the file column is one of image, file,
    filename, path; split, outcome (or label) and group (or patient) are used where they are there.

    Raises
    ------
    Refusal : no such folder or table, a table without a file column, or not one image to read.
    """
    entries, root, has = _of_table(source) if source.suffix.lower() == ".csv" else _of_folder(source)
    read = _read_all(entries, root, progress)
    good = [(entry, result) for entry, result in read if isinstance(result, _Decoded)]
    bad = tuple(Unreadable(entry.case, result) for entry, result in read if isinstance(result, str))
    if not good:
        raise Refusal(
            f"None of the {len(bad)} images of {source.name} could be read; the first: {bad[0].reason}."
        )
    return OwnImages(
        images=np.stack([decoded.image for _, decoded in good]),
        case=np.array([entry.case for entry, _ in good]),
        split=np.array([entry.split for entry, _ in good]),
        outcome=np.array([entry.outcome for entry, _ in good]) if "outcome" in has else None,
        group=np.array([entry.group or entry.case for entry, _ in good]) if "group" in has else None,
        fingerprint=np.array([decoded.fingerprint for _, decoded in good], dtype=np.bytes_),
        marked=np.array([decoded.marked for _, decoded in good], dtype=bool),
        sizes=len({decoded.size for _, decoded in good}),
        unreadable=bad,
        folders=tuple(sorted({entry.path.parent for entry in entries})),
        source=Source(dataset="own", title=source.name, file=source.name),
    )


def _of_folder(folder: Path) -> tuple[list[_Entry], Path, set[str]]:
    if not folder.is_dir():
        came = "a file of another kind" if folder.exists() else "nothing of that name"
        raise Refusal(f"An audit needs a folder of images or a .csv that names them; {folder} is {came}.")
    files = files_below(folder)
    if not files:
        raise Refusal(f"{folder} holds no images; looked for {' '.join(ENDINGS)} in it and below it.")
    names = [in_utf8(path.relative_to(folder)) for path in files]
    entries = [_Entry(name, path, _split_of(name)) for name, path in zip(names, files, strict=True)]
    return entries, folder, set()


def _split_of(name: str) -> str:
    parts = [part.lower() for part in PurePosixPath(name).parts[:-1]]
    return next((SPLIT_OF_FOLDER[part] for part in parts if part in SPLIT_OF_FOLDER), "all")


def _of_table(table: Path) -> tuple[list[_Entry], Path, set[str]]:
    frame = _read_table(table)
    found = {
        name: column for name, names in COLUMNS.items() if (column := _first_of(names, frame)) is not None
    }
    if "image" not in found:
        came = ", ".join(map(str, frame.columns))
        raise Refusal(f"{table.name} needs a column image (or file, filename, path); came {came}.")
    if frame.empty:
        raise Refusal(f"{table.name} names no images: it has a header and no rows.")
    kept = frame[list(found.values())].set_axis(list(found), axis=1)
    entries = [
        _Entry(case=row["image"], path=table.parent / row["image"], **_rest(row))
        for row in kept.to_dict("records")
    ]
    return entries, table.parent, set(found)


def _read_table(table: Path) -> pd.DataFrame:
    if not table.is_file():
        raise Refusal(f"There is no table {table}; name a .csv of images or a folder.")
    if not table.stat().st_size:
        raise Refusal(f"{table.name} is empty; a header line and one row per image are needed.")
    columns, _ = read_columns(table)
    return pd.DataFrame({name: [cell or "" for cell in cells.to_pylist()] for name, cells in columns.items()})


def _first_of(names: tuple[str, ...], frame: pd.DataFrame) -> str | None:
    by_name = {str(column).strip().lower(): str(column) for column in frame.columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _rest(row: Mapping[Hashable, str]) -> dict[str, str]:
    rest = {str(name): value for name, value in row.items() if name != "image"}
    return {**rest, "split": rest.get("split") or "all"}


def _read_all(
    entries: list[_Entry], root: Path, progress: Progress | None
) -> list[tuple[_Entry, "_Decoded | str"]]:
    """Each entry with its image, or with the reason why there is none."""
    read = []
    home, side = root.resolve(), SIDE if len(entries) <= MOST_AT_SIDE else SMALL_SIDE
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # decoders warn of oddities that do not touch the pixels
        decode: Callable[[_Entry], _Decoded | str] = lambda entry: _read_one(entry.path, home, side)  # noqa: E731
        for done, (entry, result) in enumerate(zip(entries, pool.map(decode, entries), strict=True), start=1):
            read.append((entry, result))
            if progress is not None:
                progress(done, len(entries))
    return read


def _read_one(path: Path, home: Path, side: int) -> "_Decoded | str":
    try:
        read = read_image(path, home=home, bits=None)
    except Unusable as reason:
        return str(reason)
    grey, marked = read.grey, read.burnt_in or bears_marks(read.grey)
    return _Decoded(square(grey, side=side), grey.size, fingerprint(grey), marked)
