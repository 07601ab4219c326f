"""A user's own images with their outcomes: a table and a folder become a cohort."""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from clineval.data.cohort import Cohort, Source
from clineval.data.image_files import ENDINGS, ReadImage, read_image
from clineval.data.own_table import Columns, OwnTable, read_own_table
from clineval.data.preparation import DEEP, Unusable, check_preparation, in_words, square_to_score
from clineval.refusal import Refusal, in_short

Progress = Callable[[int, int], None]

OWN = "own"  # the name of a user's images among the data sets
UNDIVIDED = "all"  # the split of cases that are in none yet


@dataclass(frozen=True)
class Prepared:
    """Images brought to squares, in the order of their files.

    Attributes
    ----------
    images : uint8, shape (files, side, side).
    further : the same files cut in further ways, each of that shape.
    sha256 : of each file's bytes.
    colour, deep, burnt_in : bool, shape (files,), what ``ReadImage`` says of each.
    identifying : keywords of identifying DICOM tags, and how many files have each filled.
    """

    images: NDArray[np.uint8]
    further: tuple[NDArray[np.uint8], ...]
    sha256: tuple[str, ...]
    colour: NDArray[np.bool_]
    deep: NDArray[np.bool_]
    burnt_in: NDArray[np.bool_]
    identifying: Counter[str]


@dataclass(frozen=True)
class OwnCohort:
    """A cohort with the file of each of its cases and how it was prepared, to draw a check strip from.

    ``burnt_in``, bool of shape (cases,), is True where a file says that its picture holds text;
    ``further`` holds the images cut in further ways, where these were asked for.
    """

    cohort: Cohort
    paths: tuple[Path, ...]
    burnt_in: NDArray[np.bool_]
    fit: str
    bits: int
    further: tuple[NDArray[np.uint8], ...] = ()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder that one of the files lies in."""
        return tuple(sorted({path.parent for path in self.paths}))


def read_cohort(
    table: Path,
    *,
    image_folder: Path | None = None,
    image_column: str = "image",
    outcome_column: str = "outcome",
    positive: str = "1",
    group_column: str | None = None,
    split_column: str | None = None,
    size: int = 28,
    fit: str = "crop",
    bits: int = DEEP,
    condition: str | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> Cohort:
    """The images that a table names, prepared as BreastMNIST was, with their outcomes and patients.

    Parameters
    ----------
    image_folder : where the images lie; by default beside the table. Nothing outside it is opened.
    image_column : names each file, its ending optional; ``outcome_column`` holds ``positive`` where the
        condition is present and anything else where it is not.
    group_column : cases that are not independent share its value, as a patient's images do.
    split_column : train, val or test. Without it every case is in ``name``, or in ``all``.
    size, fit, bits : of the prepared square; see ``preparation``.
    condition : what the outcome is called; by default ``positive``.
    name : of an external cohort, which is one split of that name.
    progress : called with (files read, files in all).

    Raises
    ------
    Refusal : the table is not whole, or an image is missing, outside the folder or cannot be used;
        up to ten are named with their rows.
    """
    columns = Columns(image_column, outcome_column, positive, group_column, split_column)
    return read_own_cohort(
        table,
        columns,
        image_folder=image_folder,
        size=size,
        fit=fit,
        bits=bits,
        condition=condition,
        name=name,
        progress=progress,
    ).cohort


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
    progress: Progress | None = None,
) -> OwnCohort:
    """``read_cohort`` with what a check strip needs beside it, and the images cut ``also`` in other ways."""
    check_preparation(size=size, fit=fit, bits=bits)
    table = Path(table)
    rows = read_own_table(table, columns)
    folder = table.parent if image_folder is None else Path(image_folder)
    if not folder.is_dir():
        raise Refusal(f"--image-folder needs a folder of images; {folder} is none.")
    paths = find_files(rows, folder)
    prepared = prepare_files(
        paths,
        names=_named(rows),
        home=folder.resolve(),
        size=size,
        fit=fit,
        also=also,
        bits=bits,
        progress=progress,
    )
    source = Source(
        dataset=OWN,
        title=name or table.stem,
        file=table.name,
        sha256=_digest(table, prepared.sha256),
        preparation=in_words(side=size, fit=fit),
        notes=tuple(_notes(rows, columns, prepared)),
    )
    case, wanted = _cases(rows, folder), condition or columns.positive
    cohort = _cohort(rows, prepared.images, source, case=case, condition=wanted, name=name)
    return OwnCohort(cohort, tuple(paths), prepared.burnt_in, fit, bits, prepared.further)


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


def prepare_files(
    paths: Sequence[Path],
    *,
    names: Sequence[str] | None = None,
    home: Path | None = None,
    size: int = 28,
    fit: str = "crop",
    also: Sequence[str] = (),
    bits: int = DEEP,
    progress: Progress | None = None,
) -> Prepared:
    """Read and prepare files, a few at a time in memory, on all cores.

    Parameters
    ----------
    names : what each file is called in a refusal; by default its file name.
    home : folder, resolved, outside which no file is opened; None allows any place.
    also : further ways to cut each file, beside ``fit``; it is read once.

    Raises
    ------
    Refusal : one or more files cannot be used; counted, and up to ten named with the reason.
    """
    shown = [path.name for path in paths] if names is None else names
    views = {cut: np.zeros((len(paths), size, size), np.uint8) for cut in (fit, *also)}
    told: list[ReadImage | str] = []

    def prepare(place: int) -> ReadImage | str:
        try:
            read = read_image(paths[place], home=home, bits=bits)
            for cut, images in views.items():
                images[place] = square_to_score(read.grey, side=size, fit=cut)
        except Unusable as reason:
            return str(reason)
        return read.without_picture()

    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # decoders warn of oddities that do not touch the pixels
        for done, result in enumerate(pool.map(prepare, range(len(paths))), start=1):
            told.append(result)
            if progress is not None:
                progress(done, len(paths))
    bad = [f"{shown[place]}: {why}" for place, why in enumerate(told) if isinstance(why, str)]
    if bad:
        raise Refusal(f"{len(bad)} of {len(paths)} images cannot be used: {in_short(bad)}.")
    return _gathered(tuple(views.values()), [read for read in told if isinstance(read, ReadImage)])


def _gathered(views: tuple[NDArray[np.uint8], ...], read: Sequence[ReadImage]) -> Prepared:
    return Prepared(
        images=views[0],
        further=views[1:],
        sha256=tuple(each.sha256 for each in read),
        colour=np.array([each.colour for each in read], dtype=bool),
        deep=np.array([each.deep for each in read], dtype=bool),
        burnt_in=np.array([each.burnt_in for each in read], dtype=bool),
        identifying=Counter(keyword for each in read for keyword in each.identifying),
    )


def find_files(rows: OwnTable, folder: Path) -> list[Path]:
    """The file of every row, its ending filled in where the table leaves it out.

    Raises
    ------
    Refusal : files are missing (all counted, up to ten named), outside the folder or named twice, or a
        name without its ending fits several files.
    """
    listings: dict[Path, _Listing] = {}
    paths, missing = [], []
    for index, named in enumerate(rows.image.tolist()):
        wanted = folder / named
        if ".." in PurePosixPath(named).parts or not _inside(wanted, folder):
            raise Refusal(
                f"{rows.row(index)}: image {named!r} lies outside the image folder; only files below "
                f"{folder.name or folder} are opened. Copy it in, or name another --image-folder."
            )
        if wanted.parent not in listings:
            listings[wanted.parent] = _Listing.of(wanted.parent)
        found = listings[wanted.parent].names_of(wanted.name)
        if len(found) > 1:
            raise Refusal(
                f"{rows.row(index)}: image {named!r} fits {' and '.join(found)}; "
                "write its ending into the table."
            )
        if not found:
            missing.append(f"row {index + 1}: {named}")
        paths.append(wanted.parent / found[0] if found else wanted)
    _check_named_once(rows, paths)
    if missing:
        raise Refusal(
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
            raise Refusal(
                f"{rows.row(index)}: image {str(rows.image[index])!r} is the file of row {earlier + 1} "
                "again; keep one row per image."
            )


@dataclass(frozen=True)
class _Listing:
    """The files of one folder, looked up once: 10,000 rows ask 10,000 times."""

    names: frozenset[str]
    by_stem: dict[str, list[str]]

    @classmethod
    def of(cls, folder: Path) -> "_Listing":
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        by_stem: dict[str, list[str]] = {}
        for name in names:
            stem, ending = os.path.splitext(name)
            if ending.lower() in ENDINGS:
                by_stem.setdefault(stem, []).append(name)
        return cls(frozenset(names), by_stem)

    def names_of(self, wanted: str) -> list[str]:
        return [wanted] if wanted in self.names else self.by_stem.get(wanted, [])


def _inside(wanted: Path, folder: Path) -> bool:
    return os.path.abspath(wanted).startswith(os.path.join(os.path.abspath(folder), ""))


def _cases(rows: OwnTable, folder: Path) -> NDArray[np.str_]:
    """Each image as the table names it, below the folder: no other folder's name reaches a result."""
    home = os.path.abspath(folder)
    return np.array([os.path.relpath(os.path.join(home, named), home) for named in rows.image.tolist()])


def _named(rows: OwnTable) -> list[str]:
    return [f"row {index + 1}, {named}" for index, named in enumerate(rows.image.tolist())]


def _digest(table: Path, files: Iterable[str]) -> str:
    """One SHA-256 over the table's bytes and those of every image, in the table's order."""
    whole = hashlib.sha256(table.read_bytes())
    for digest in files:
        whole.update(bytes.fromhex(digest))
    return whole.hexdigest()


def _notes(rows: OwnTable, columns: Columns, prepared: Prepared) -> Iterable[str]:
    """What a reader of the results should know of the files, in sentences without any patient's data."""
    values = ", ".join(f"{value} ({count})" for value, count in rows.values.items())
    yield f"Column {columns.outcome}: {columns.positive} is the condition; the values are {values}."
    total = len(prepared.images)
    if rows.left_out:
        yield f"Columns left out because their names say that they identify: {', '.join(rows.left_out)}."
    for flags, words in (
        (prepared.colour, "were stored in colour and turned grey (ITU-R BT.601)"),
        (prepared.deep, "were stored with more than 8 bits and scaled to 8"),
        (
            prepared.burnt_in,
            "say that text is burnt into the picture (BurnedInAnnotation YES); look for names",
        ),
    ):
        if flags.any():
            yield f"{int(flags.sum())} of {total} images {words}."
    if prepared.identifying:
        tags = ", ".join(f"{keyword} ({count})" for keyword, count in sorted(prepared.identifying.items()))
        yield f"Filled DICOM tags that identify a patient, their content copied nowhere: {tags}."
