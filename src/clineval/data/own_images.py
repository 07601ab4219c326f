"""A user's own images: found, read, checked, brought to squares, and sampled for display."""

import hashlib
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from clineval.data.cohort import Cohort, Source
from clineval.data.findings import bears_marks
from clineval.data.image_files import (
    Missing,
    NamedFiles,
    ReadImage,
    Unreadable,
    find_images,
    fingerprint,
    in_slashes,
    read_image,
    read_images,
    read_squares,
)
from clineval.data.preparation import (
    DEEP,
    Unusable,
    box_of,
    check_preparation,
    grey_of_colour,
    in_words,
    square,
)
from clineval.data.similarity import Images
from clineval.errors import InputError, Progress, in_short, option
from clineval.tables import own_table
from clineval.tables.columns import SPLITS, split_meant, split_of
from clineval.tables.own_table import Columns, OwnTable, read_own_table
from clineval.tables.reading import read_columns

SIDE, SMALL_SIDE = 128, 64  # pixels of the square that every image is brought to
MOST_AT_SIDE = 20_000  # images; beyond, the smaller square, of which 100,000 take 400 MB
COLUMNS = {
    "image": ("image", "file", "filename", "path"),
    "split": ("split", "set", "subset", "partition"),
    "outcome": ("outcome", "label"),
    "group": ("group", "patient", "patient_id", "patientid", "subject", "subject_id"),
}

NO_WORD = "condition"
_SAYS_YES = ("1", "1.0", "true", "yes", "y", "+", "positive")  # values that name no condition


@dataclass(frozen=True)
class OwnImages:
    """The images that could be read, one entry per image in every array.

    Attributes
    ----------
    images : uint8, shape (cases, side, side): the middle square of each, grey, side 128 (64 if very many).
    case : str, the path below the folder, with forward slashes.
    split : str, ``all`` where neither folders nor a column name one.
    outcome : labels as given, or None; group : patients as given, or None.
    fingerprint : equal where the whole decoded images are equal.
    marked : bool, text or measuring marks lie in the whole picture, of which the square may show a part, or
        a DICOM file says so.
    sizes : number of different sizes among the files; ``folders`` are those that one of them lies in.
    passed_over : how many files of the folder are no images and which, in words; empty where none is.
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
    passed_over: str = ""


@dataclass(frozen=True)
class _Entry:
    case: str
    path: Path | Unusable
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
    InputError : no such folder or table, a table without a file column, or not one image to read.
    """
    entries, root, has, passed_over = (
        _of_table(source) if source.suffix.lower() == ".csv" else _of_folder(source)
    )
    read = _read_all(entries, root, progress)
    good = [(entry, result) for entry, result in read if isinstance(result, _Decoded)]
    bad = tuple(Unreadable(entry.case, str(result)) for entry, result in read if isinstance(result, Unusable))
    if not good:
        raise InputError(
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
        folders=tuple(sorted({entry.path.parent for entry in entries if isinstance(entry.path, Path)})),
        source=Source(dataset="own", title=source.name, file=source.name),
        passed_over=passed_over,
    )


def _of_folder(folder: Path) -> tuple[list[_Entry], Path, set[str], str]:
    if not folder.is_dir():
        state = "is a file of another kind" if folder.exists() else "is not there"
        raise InputError(f"An audit needs a folder of images or a .csv that names them; {folder} {state}.")
    found = find_images([folder])
    return [_Entry(name, path, _split_of(name)) for path, name in found.images], folder, set(), found.note


def _split_of(name: str) -> str:
    return next(filter(None, map(split_of, PurePosixPath(name).parts[:-1])), "all")


def _of_table(table: Path) -> tuple[list[_Entry], Path, set[str], str]:
    frame = _read_table(table)
    found = {
        name: column for name, names in COLUMNS.items() if (column := _first_of(names, frame)) is not None
    }
    if "image" not in found:
        got = ", ".join(map(str, frame.columns))
        raise InputError(f"{table.name} needs a column image (or file, filename, path); got {got}.")
    if frame.empty:
        raise InputError(f"{table.name} names no images: it has a header and no rows.")
    kept = frame[list(found.values())].set_axis(list(found), axis=1)
    files = NamedFiles(table.parent)
    entries = [
        _Entry(case=row["image"], path=_path_of(files, row["image"]), **_rest(row))
        for row in kept.to_dict("records")
    ]
    return entries, table.parent, set(found), ""


def _path_of(files: NamedFiles, name: str) -> Path | Unusable:
    try:
        return files.find(name)
    except Unusable as reason:
        return reason


def _read_table(table: Path) -> pd.DataFrame:
    if not table.is_file():
        raise InputError(f"There is no table {table}; name a .csv of images or a folder.")
    if not table.stat().st_size:
        raise InputError(f"{table.name} is empty; a header line and one row per image are needed.")
    columns, _ = read_columns(table)
    return pd.DataFrame({name: [cell or "" for cell in cells.to_pylist()] for name, cells in columns.items()})


def _first_of(names: tuple[str, ...], frame: pd.DataFrame) -> str | None:
    by_name = {str(column).strip().lower(): str(column) for column in frame.columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _rest(row: Mapping[Hashable, str]) -> dict[str, str]:
    rest = {str(name): value for name, value in row.items() if name != "image"}
    split = rest.get("split") or "all"
    meant = split_meant(split) if split_of(split) is None else None
    if meant in SPLITS:  # a number, as of a fold, is no slip of a word
        raise InputError(
            f"Column split: expected train, val, test or a name unlike these, got {split!r}. Write {meant} "
            "if that is meant."
        )
    return {**rest, "split": split_of(split) or split}


def _read_all(
    entries: list[_Entry], root: Path, progress: Progress | None
) -> list[tuple[_Entry, _Decoded | Unusable]]:
    """Each entry with its image, or with the reason why there is none."""
    side = SIDE if len(entries) <= MOST_AT_SIDE else SMALL_SIDE

    def decode(_place: int, read: ReadImage) -> _Decoded:
        grey, marked = read.grey, read.burnt_in or bears_marks(read.grey)
        return _Decoded(square(grey, side=side), grey.size, fingerprint(grey), marked)

    paths = [entry.path for entry in entries if isinstance(entry.path, Path)]
    read = read_images(paths, decode, home=root.resolve(), bits=None, progress=progress)
    return [(entry, entry.path if isinstance(entry.path, Unusable) else next(read)) for entry in entries]


OWN = "own"  # the name of a user's images among the data sets
UNDIVIDED = "all"  # the split of cases that are in none yet


@dataclass(frozen=True)
class Prepared:
    """Images brought to squares, in the order of their files.

    Attributes
    ----------
    images : uint8, shape (files, side, side), or (files, side, side, 3) where colour was asked for.
    further : the same files cut in further ways, each of that shape.
    read : what each file holds, less its picture.
    left_out : why each file that cannot be used cannot, by its place; its images are left out above.
    """

    images: NDArray[np.uint8]
    further: tuple[NDArray[np.uint8], ...]
    read: tuple[ReadImage, ...]
    left_out: Mapping[int, str]


@dataclass(frozen=True)
class OwnCohort:
    """A cohort with the file of each of its cases and how it was prepared, to draw a check strip from.

    ``read`` says what each file holds, less its picture; ``further`` holds the images cut in further ways,
    where these were asked for; ``unreadable`` names the files that could not be used, where these were to be
    left out.
    """

    cohort: Cohort
    paths: tuple[Path, ...]
    read: tuple[ReadImage, ...]
    fit: str
    bits: int
    further: tuple[NDArray[np.uint8], ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def burnt_in(self) -> NDArray[np.bool_]:
        """Which files say that their picture holds text, shape (cases,)."""
        return np.array([each.burnt_in for each in self.read], dtype=bool)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder that one of the files lies in."""
        return tuple(sorted({path.parent for path in self.paths}))


def read_own_cohort(
    table: Path,
    columns: Columns,
    *,
    image_folder: Path | None = None,
    size: int = 28,
    fit: str = "crop",
    also: Sequence[str] = (),
    bits: int = DEEP,
    condition: str | None = None,
    name: str | None = None,
    skip_unreadable: bool = False,
    colour: bool = False,
    progress: Progress | None = None,
) -> OwnCohort:
    """The images that a table names, prepared as BreastMNIST was, with their outcomes, patients and files.

    Parameters
    ----------
    columns : of the table; without a split column every case is in ``name``, or in ``all``.
    image_folder : where the images lie; by default beside the table. Nothing outside it is opened.
    size, fit, bits : of the prepared square; see ``preparation``. ``also`` names further ways to cut it.
    condition : what the outcome is called; by default ``positive``, and "condition" where that is 1 or yes.
    name : of an external cohort, which is one split of that name.
    skip_unreadable : leave out the images that are missing or cannot be used, and name them.
    colour : keep the images in colour beside the grey ones.
    progress : called with (files read, files in all).

    Raises
    ------
    InputError : the table is incomplete, or an image is missing, outside the folder or cannot be used;
        up to ten are named with their rows.
    """
    check_preparation(size=size, fit=fit, bits=bits)
    rows, folder = read_own_table(Path(table), columns), Path(image_folder or Path(table).parent)
    if not folder.is_dir():
        raise InputError(f"{option('--image-folder')} needs a folder of images; {folder} is none.")
    paths, names = find_files(rows, folder, skip_missing=skip_unreadable), _named(rows)
    prepared = prepare_files(
        paths,
        names=names,
        home=folder.resolve(),
        size=size,
        fit=fit,
        also=also,
        bits=bits,
        skip_unreadable=skip_unreadable,
        colour=colour,
        progress=progress,
    )
    images = grey_of_colour(prepared.images) if colour else prepared.images
    unreadable = tuple(Unreadable(names[place], why) for place, why in prepared.left_out.items())
    kept = np.setdiff1d(np.arange(len(paths)), list(prepared.left_out))
    rows = rows.select(kept)
    _check_both_classes(rows, columns)
    source = Source(
        dataset=OWN,
        title=name or Path(table).stem,
        file=Path(table).name,
        sha256=_digest(Path(table), [each.sha256 for each in prepared.read]),
        preparation=in_words(side=size, fit=fit),
        notes=tuple(_notes(rows, columns, prepared.read, unreadable)),
    )
    wanted = condition or (NO_WORD if columns.positive.casefold() in _SAYS_YES else columns.positive)
    cohort = _cohort(rows, images, source, case=_cases(rows, folder), condition=wanted, name=name)
    return OwnCohort(
        replace(cohort, colour=prepared.images if colour else None),
        tuple(paths[place] for place in kept),
        prepared.read,
        fit,
        bits,
        prepared.further,
        unreadable,
    )


def _cohort(
    rows: OwnTable,
    images: NDArray[np.uint8],
    source: Source,
    *,
    case: NDArray[np.str_],
    condition: str,
    name: str | None,
) -> Cohort:
    given = rows.split if name is None else None
    return Cohort(
        condition=condition,
        images=images,
        outcome=rows.outcome,
        split=np.full(len(case), name or UNDIVIDED) if given is None else given,
        case=case,
        group=case.copy() if rows.group is None else rows.group,
        source=source,
        attributes=rows.attributes,
    )


def _check_both_classes(rows: OwnTable, columns: Columns) -> None:
    if rows.outcome.all() or not rows.outcome.any():
        raise InputError(
            f"{rows.name}: {int(rows.outcome.sum())} of the {len(rows.outcome)} images that can be used are "
            f"{columns.positive}; expected some of each class."
        )


def prepare_files(
    paths: Sequence[Path],
    *,
    names: Sequence[str] | None = None,
    home: Path | None = None,
    size: int = 28,
    fit: str = "crop",
    also: Sequence[str] = (),
    bits: int = DEEP,
    skip_unreadable: bool = False,
    colour: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Read and prepare files, a few at a time in memory, on several cores.

    Parameters
    ----------
    names : what each file is called in a refusal; by default its file name.
    home : folder, resolved, outside which no file is opened; None allows any place.
    also : further ways to cut each file, beside ``fit``; it is read once.
    skip_unreadable : leave out files that cannot be used.
    colour : keep red, green and blue.

    Raises
    ------
    InputError : one or more files cannot be used (counted, and up to ten named with the reason), or none can.
    """
    shown = [path.name for path in paths] if names is None else names
    cuts = (fit, *also)
    squares = read_squares(
        paths,
        side=size,
        fits=cuts,
        home=home,
        bits=bits,
        colour=colour,
        marked=bears_marks,
        progress=progress,
    )
    bad = {place: str(why) for place, why in enumerate(squares.read) if isinstance(why, Unusable)}
    if bad and not (skip_unreadable and len(bad) < len(paths)):
        listed = in_short([f"{shown[place]}: {why}" for place, why in bad.items()])
        raise InputError(f"{len(bad)} of {len(paths)} images cannot be used: {listed}.")
    views = tuple(view[squares.usable] if bad else view for view in squares.views)
    return Prepared(
        views[0], views[1:], tuple(each for each in squares.read if isinstance(each, ReadImage)), bad
    )


def find_files(rows: OwnTable, folder: Path, *, skip_missing: bool = False) -> list[Path]:
    """The file of every row, also of a table that leaves endings out or was written on another system.

    Where ``skip_missing``, a file that is not there has the path under which it was looked for.

    Raises
    ------
    InputError : files are missing (all counted, up to ten named), outside the folder or named twice, or a
        name without its ending fits several files.
    """
    files = NamedFiles(folder)
    paths, missing = [], []
    for index, named in enumerate(rows.image.tolist()):
        try:
            paths.append(files.find(named))
        except Missing:
            missing.append(f"row {index + 1}: {named}")
            paths.append(folder / named)
        except Unusable as reason:
            raise InputError(f"{rows.row(index)}: image {named!r}: {reason}.") from None
    _check_named_once(rows, paths)
    if missing and not skip_missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} images that {rows.name} names are not in "
            f"{folder.name or folder}: {in_short(missing)}. Name their folder with --image-folder."
        )
    return paths


def _check_named_once(rows: OwnTable, paths: Sequence[Path]) -> None:
    """With its ending and without, one file may stand under two names."""
    first: dict[str, int] = {}
    for index, path in enumerate(paths):
        earlier = first.setdefault(os.path.abspath(path), index)
        if earlier != index:
            raise InputError(
                f"{rows.row(index)}: image {str(rows.image[index])!r} is the file of row {earlier + 1} "
                "again; keep one row per image."
            )


def _cases(rows: OwnTable, folder: Path) -> NDArray[np.str_]:
    """Each image as the table names it, below the folder: no other folder's name reaches a result."""
    home = os.path.abspath(folder)
    return np.array(
        [os.path.relpath(os.path.join(home, in_slashes(named)), home) for named in rows.image.tolist()]
    )


def _named(rows: OwnTable) -> list[str]:
    return [f"row {index + 1}, {named}" for index, named in enumerate(rows.image.tolist())]


def _digest(table: Path, files: Iterable[str]) -> str:
    """One SHA-256 over the table's bytes and those of every image, in the table's order."""
    whole = hashlib.sha256(table.read_bytes())
    for digest in files:
        whole.update(bytes.fromhex(digest))
    return whole.hexdigest()


def _notes(
    rows: OwnTable, columns: Columns, read: Sequence[ReadImage], unreadable: Sequence[Unreadable]
) -> Iterable[str]:
    """What a reader of the results should know of the files, in sentences without any patient's data."""
    values = ", ".join(f"{value} ({count})" for value, count in rows.values.items())
    yield f"Column {columns.outcome}: {columns.positive} is the condition; the values are {values}."
    if unreadable:
        listed = in_short([f"{each.case}: {each.reason}" for each in unreadable])
        yield (
            f"{len(unreadable)} of {len(read) + len(unreadable)} images cannot be used and were left out: "
            f"{listed}."
        )
    yield from rows.notes
    if rows.left_out:
        yield own_table.note(rows.left_out)
    yield from _notes_on_images(read)


def _notes_on_images(read: Sequence[ReadImage]) -> Iterable[str]:
    for count, words in (
        (sum(each.colour for each in read), "were stored in colour and turned grey (ITU-R BT.601)"),
        (sum(each.deep for each in read), "were stored with more than 8 bits and scaled to 8"),
        (
            sum(each.burnt_in for each in read),
            "say that text is burnt into the picture (BurnedInAnnotation YES); look for names",
        ),
    ):
        if count:
            yield f"{count} of {len(read)} images {words}."
    coloured = [each.coloured for each in read if each.coloured]
    if coloured:
        yield (
            f"{len(coloured)} of {len(read)} images have coloured pixels, at most {max(coloured):.1%} of an "
            "image's; their luma was taken."
        )
    tags = Counter(keyword for each in read for keyword in each.identifying)
    if tags:
        listed = ", ".join(f"{keyword} ({count})" for keyword, count in sorted(tags.items()))
        yield f"Filled DICOM tags that identify a patient, their content copied nowhere: {listed}."


SCANNER = ("device", "scanner", "manufacturer", "vendor", "machine", "site", "hospital", "centre", "center")
LONGEST = 64  # pixels of the raw picture's longer side: the cut is seen, ordinary print is not legible
MOST_VALUES = 6  # rows of a check strip


@dataclass(frozen=True)
class RawSample:
    """One case before and after preparation.

    Attributes
    ----------
    value : of the attribute by which the samples were drawn.
    raw : uint8, shape (height, width), the picture as given, made smaller.
    box : left, upper, right and lower edge in pixels of ``raw`` of the square that was cut; it may lie
        outside where the image was padded.
    prepared : uint8, shape (side, side).
    """

    case: str
    value: str
    outcome: bool
    raw: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    prepared: NDArray[np.uint8]


@dataclass(frozen=True)
class RawSamples:
    """Samples by the values of one attribute (``by`` is empty where there is none), most cases first."""

    by: str
    cases: Mapping[str, int]
    samples: tuple[RawSample, ...]


def draw_samples(own: OwnCohort, *, by: str | None = None, each: int = 4) -> RawSamples:
    """Cases at even steps through each value of an attribute, so that nobody chooses them.

    An image whose file says that names are burnt into it is never shown raw.

    Parameters
    ----------
    by : the attribute; by default the first that is called like a scanner or a site, else none.
    each : at most so many cases a value, of the six most frequent values.

    Raises
    ------
    InputError : the cohort has no attribute of that name.
    """
    attributes = own.cohort.attributes
    by = _scanner(attributes) if by is None else by
    if by and by not in attributes:
        raise InputError(f"A check strip needs one of the columns {', '.join(attributes)}; got {by!r}.")
    value = attributes[by].astype(str) if by else np.full(len(own.cohort), "all images")
    seen, count = np.unique(value, return_counts=True)
    order = np.argsort(-count, kind="stable")[:MOST_VALUES]
    samples: list[RawSample] = []
    for name in seen[order]:
        rows = np.flatnonzero((value == name) & ~own.burnt_in)
        steps = np.unique(np.linspace(0, len(rows) - 1, min(each, len(rows))).round().astype(int))
        samples.extend(_sample(own, int(rows[step]), str(name)) for step in steps)
    return RawSamples(by, {str(seen[place]): int(count[place]) for place in order}, tuple(samples))


def _scanner(attributes: Iterable[str]) -> str:
    return next((name for name in attributes if any(word in name.casefold() for word in SCANNER)), "")


def _sample(own: OwnCohort, row: int, value: str) -> RawSample:
    grey = read_image(own.paths[row], bits=own.bits).grey
    box = box_of(*grey.size, fit=own.fit)
    small = grey.copy()
    small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    shrunk = small.width / grey.width
    left, upper, right, lower = (edge * shrunk for edge in box)
    return RawSample(
        str(own.cohort.case[row]),
        value,
        bool(own.cohort.outcome[row]),
        np.asarray(small),
        (left, upper, right, lower),
        own.cohort.images[row],
    )
