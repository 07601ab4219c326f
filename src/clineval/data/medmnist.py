"""MedMNIST sets as cohorts by name: found, fetched, checked and read; the phantom where none can be had.

BreastMNIST codes *malignant as 0*, and this module alone turns that code into ``outcome``. A file is
used only if it is, byte for byte, the official one. Every image is read straight into its place, so
that a set of a hundred thousand is in memory once.
"""

import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from clineval.data import phantom
from clineval.data.cohort import Cohort, LabelMeaning, Source
from clineval.data.medmnist_files import (
    SETS,
    SIZES,
    SetFacts,
    Unavailable,
    cache_folder,
    file_name,
    find,
    search_folders,
    set_facts,
)
from clineval.data.preparation import grey_of_colour
from clineval.errors import Announce, InputError, option, silent

SPLITS = ("train", "val", "test")
HEADER_BYTES = 4096  # more than any array's header in an official file
LABEL_BYTES = 8  # at most, of one label
BLOCK_BYTES = 1 << 22  # of images that are unpacked at once
JOINED = " or "  # between the names of several labels that make one condition


@dataclass(frozen=True)
class Condition:
    """The labels that count as the condition, by code, and what they are called together."""

    name: str
    codes: tuple[int, ...]


@dataclass(frozen=True)
class _Arrays:
    """All images of a set, shape (cases, size, size), and their labels, shape (cases, columns).

    ``colour`` are the same images before they became grey, (cases, size, size, 3), where they were asked for.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.integer]
    colour: NDArray[np.uint8] | None = None


def condition_of(dataset: str, asked: str | None = None) -> Condition:
    """Which labels of a set are the condition: those asked for, or the one that a two-class set has.

    One label, or several joined by `` or ``, against all the rest; capitals do not matter.

    Raises
    ------
    InputError : a set of more classes and none asked for, an unknown name (the labels are listed), or
        every class asked for.
    """
    facts = set_facts(dataset, SIZES[0])
    known = {name.casefold(): code for code, name in enumerate(facts.labels)}
    wanted = (facts.condition if asked is None else asked).strip().casefold()
    listed = ", ".join(repr(name) for name in facts.labels)
    if not wanted:
        raise InputError(
            f"{facts.title} has {len(facts.labels)} {'findings' if facts.multi_label else 'classes'}; "
            f"say which is the condition, e.g. {option('--condition')} {facts.labels[0]!r}: one of {listed}, "
            f"or several joined by {JOINED.strip()!r}."
        )
    parts = [wanted] if wanted in known else [part.strip() for part in wanted.split(JOINED)]
    unknown = [part for part in parts if part not in known]
    if unknown:
        raise InputError(f"{option('--condition')} needs a label of {facts.title}: {listed}; got {asked!r}.")
    codes = tuple(sorted({known[part] for part in parts}))
    if len(codes) == len(facts.labels) and not facts.multi_label:
        raise InputError(
            f"{option('--condition')} needs some of the classes of {facts.title}, for a rest to compare with."
        )
    return Condition(JOINED.join(facts.labels[code] for code in codes), codes)


def load(
    dataset: str = "breastmnist",
    *,
    size: int = 28,
    condition: str | None = None,
    folders: Sequence[Path] | None = None,
) -> Cohort:
    """The official images and outcomes, from the first folder that has the file; downloads nothing.

    ``condition`` is as for ``condition_of``.

    Raises
    ------
    Unavailable : no folder has the file.
    InputError : the data set, size or condition is unknown, or the file found is not the official one.
    """
    condition_of(dataset, condition)
    path = find(dataset, size=size, folders=folders)
    if path is None:
        places = ", ".join(str(folder) for folder in (search_folders() if folders is None else folders))
        raise Unavailable(
            f"{file_name(dataset, size)} is needed and is in none of: {places}. {_remedies(dataset, size)}",
            cause="no folder has the file",
        )
    return read(path, dataset, size=size, condition=condition)


def fetch(
    dataset: str = "breastmnist",
    *,
    size: int = 28,
    folder: Path | None = None,
    address: str | None = None,
    wait: float = 1.0,
    announce: Announce = silent,
) -> Path:
    """Download the official file into ``folder`` (default: the cache) and say where it lies.

    A right file already there is kept and nothing is downloaded; a wrong one is refused and not
    overwritten. ``address`` replaces the official folder of the files (a mirror inside a hospital),
    ``wait`` is the pause in seconds before the first new attempt; ``announce`` hears of each
    attempt, and its progress gets bytes.

    Raises
    ------
    Unavailable : it cannot be had; the message names the cause and the three remedies.
    InputError : what was downloaded, or what already lies there, is not the official file.
    """
    facts = set_facts(dataset, size)
    target = (cache_folder() if folder is None else Path(folder)) / file_name(dataset, size)
    if os.path.lexists(target):
        _read_checked(target, dataset, size)
        return target
    if address is not None and not re.fullmatch(r"https?://[\w.-]+(:\d+)?(/[^\s]*)?", address):
        raise InputError(
            f"{option('--address')} needs the http or https address of a folder of files; got {address!r}."
        )
    url = f"{(address or facts.address).rstrip('/')}/{target.name}?download=1"
    from clineval.data.download import download  # what speaks to the network, loaded only here

    new = not target.parent.exists()
    try:
        return download(
            url,
            target,
            checksum=":".join(_checksum(facts, size)),
            most_bytes=_most_bytes(facts, size),
            wait=wait,
            announce=announce,
        )
    except Unavailable as error:
        raise Unavailable(f"{error} {_remedies(dataset, size, target)}", cause=error.cause) from error
    except InputError as error:
        raise InputError(f"{error} {_remedies(dataset, size, target)}") from error
    finally:
        if new:
            with suppress(OSError):  # only an empty folder goes: the one made for what could not be had
                target.parent.rmdir()


def _most_bytes(facts: SetFacts, size: int) -> int:
    """More than an official file can have: its images as they are, its labels, and something for the zip."""
    cases = sum(facts.cases.values())
    return 2**20 + cases * (size * size * facts.channels + LABEL_BYTES * _columns(facts)) * 11 // 10


def _remedies(dataset: str, size: int, target: Path | None = None) -> str:
    place = target or cache_folder() / file_name(dataset, size)
    synthetic = option("--dataset phantom", 'dataset="phantom"')
    if size != phantom.SIZE:
        synthetic += option(f" --size {phantom.SIZE}", f", size={phantom.SIZE}")
    return (
        f"Put the file at {place}, or set CLINEVAL_DATA to the folder that holds it, "
        f"or use {synthetic} (synthetic images)."
    )


def read(
    path: Path,
    dataset: str = "breastmnist",
    *,
    size: int = 28,
    condition: str | None = None,
    colour: bool = False,
) -> Cohort:
    """The cohort in one official file, after its content and its checksum were checked.

    Colour images become grey by the luma of ITU-R BT.601, for the built-in models take one channel; where
    ``colour`` is asked for they are kept in colour as well.

    Raises
    ------
    InputError : the file cannot be read, or is truncated, corrupt, altered, or another file; says which.
        Or the condition is unknown.
    """
    facts, wanted = set_facts(dataset, size), condition_of(dataset, condition)
    arrays, digest = _read_checked(path, dataset, size, colour=colour and facts.channels > 1)
    case = np.array([f"{split}/{index}" for split in SPLITS for index in range(facts.cases[split])])
    return Cohort(
        condition=wanted.name,
        images=arrays.images,
        colour=arrays.colour,
        outcome=_outcome(arrays.labels, facts, wanted),
        split=np.repeat(SPLITS, [facts.cases[split] for split in SPLITS]),
        case=case,
        group=case.copy(),
        source=Source(
            dataset=dataset,
            title=facts.title,
            file=_shown(path),
            sha256=digest,
            url=f"{facts.address}/{path.name}",
            licence=facts.licence,
            citation=facts.citation,
            labels=_meanings(facts, wanted),
            preparation="" if facts.channels == 1 else "colour turned grey (ITU-R BT.601)",
        ),
    )


def _read_checked(path: Path, dataset: str, size: int, *, colour: bool = False) -> tuple[_Arrays, str]:
    """Images and labels of an official file, and its SHA-256."""
    facts = set_facts(dataset, size)
    _check_extent(path, dataset, size)
    kind, expected = _checksum(facts, size)
    try:
        arrays = _arrays(path, facts, size, colour=colour)
        digests = {name: _digest(path, name) for name in {kind, "sha256"}}
        if digests[kind] != expected:
            name = {"sha256": "SHA-256", "md5": "MD5"}[kind]
            raise InputError(f"its {name} is {digests[kind]}, the official file's {expected}")
    except InputError as error:
        raise InputError(
            f"{path} is not the official {file_name(dataset, size)}: {error}. "
            f"Remove it and fetch it again, or point CLINEVAL_DATA at another folder."
        ) from error
    return arrays, digests["sha256"]


def _checksum(facts: SetFacts, size: int) -> tuple[str, str]:
    """Kind and value of the checksum that a file must have: SHA-256 where it is known, else MD5."""
    return ("sha256", facts.sha256[size]) if size in facts.sha256 else ("md5", facts.md5[size])


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def _check_extent(path: Path, dataset: str, size: int) -> None:
    """The file is one that can be read and has at most as many bytes as the official one can have."""
    if not path.is_file():  # a folder, a broken link, a pipe that would never end
        raise InputError(f"{path} needs to be a file; it is a folder, a broken link or a device.")
    most = _uncompressed_bytes(SETS[dataset], size)
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    if length > most:
        raise InputError(
            f"{path} is not the official {file_name(dataset, size)}: it has more than {most} bytes, the most "
            f"that {size} x {size} pixels take. Remove it, or name it after its own size."
        )


def _uncompressed_bytes(facts: SetFacts, size: int) -> int:
    per_case = size * size * facts.channels + LABEL_BYTES * _columns(facts)
    return sum(facts.cases.values()) * per_case + 2 * len(facts.cases) * HEADER_BYTES


def _columns(facts: SetFacts) -> int:
    return len(facts.labels) if facts.multi_label else 1


def _arrays(path: Path, facts: SetFacts, size: int, *, colour: bool) -> _Arrays:
    """The checked arrays of an npz; refuses with a clause that says what is wrong."""
    total = sum(facts.cases.values())
    images = np.empty((total, size, size), np.uint8)
    as_they_are = np.empty((*images.shape, facts.channels), np.uint8) if colour else None
    labels = []
    try:
        with zipfile.ZipFile(path) as archive:
            start = 0
            for split in SPLITS:
                stop = start + facts.cases[split]
                kept = None if as_they_are is None else as_they_are[start:stop]
                _read_images(archive, f"{split}_images", facts, into=images[start:stop], kept=kept)
                labels.append(_labels(archive, split, facts))
                start = stop
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"it is truncated or corrupt, {path.stat().st_size} bytes long ({error})") from error
    for split, of_split in zip(SPLITS, labels, strict=True):
        _check_labels(of_split, split, facts)
    return _Arrays(images, np.concatenate(labels), as_they_are)


def _read_images(
    archive: zipfile.ZipFile,
    key: str,
    facts: SetFacts,
    *,
    into: NDArray[np.uint8],
    kept: NDArray[np.uint8] | None,
) -> None:
    """Unpack one split's images, block by block, into their place; in colour into ``kept``."""
    colour = () if facts.channels == 1 else (facts.channels,)
    shape = (*into.shape, *colour)
    bytes_each = int(np.prod(shape[1:]))
    step = max(1, BLOCK_BYTES // bytes_each)
    with _member(archive, key, shape, kinds="u", widest=1) as (member, _):
        for start in range(0, len(into), step):
            part = into[start : start + step]
            block = _exactly(member, len(part) * bytes_each)
            pixels = np.frombuffer(block, np.uint8).reshape(len(part), *shape[1:])
            part[...] = grey_of_colour(pixels) if colour else pixels
            if kept is not None:
                kept[start : start + step] = pixels
        _check_ended(member, key)


def _labels(archive: zipfile.ZipFile, split: str, facts: SetFacts) -> NDArray[np.integer]:
    key, shape = f"{split}_labels", (facts.cases[split], _columns(facts))
    with _member(archive, key, shape, kinds="ui", widest=LABEL_BYTES) as (member, dtype):
        content = _exactly(member, int(np.prod(shape)) * dtype.itemsize)
        _check_ended(member, key)
    return np.frombuffer(content, dtype).reshape(shape)


@contextmanager
def _member(
    archive: zipfile.ZipFile, key: str, shape: tuple[int, ...], *, kinds: str, widest: int
) -> Iterator[tuple[IO[bytes], np.dtype]]:
    """One array, open behind its header; refused by that header before anything is unpacked into memory."""
    if f"{key}.npy" not in archive.namelist():
        raise InputError(f"it lacks {key} and has {', '.join(archive.namelist()) or 'nothing'}"[:300])
    with archive.open(f"{key}.npy") as member:
        declared, dtype, by_columns = _header(member)
        if dtype.kind not in kinds or dtype.itemsize > widest or declared != shape or by_columns:
            needed = "uint8" if widest == 1 else "whole numbers"
            raise InputError(f"{key} needs {needed} of shape {shape} and is {dtype} of shape {declared}")
        yield member, dtype


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, type and order of one array as declared. numpy parses it as Python, so it may raise anything."""
    try:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError("npy version other than 1.0")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(member)
    except Exception as error:
        raise InputError(f"it holds an array whose header cannot be read ({type(error).__name__})") from error
    return shape, dtype, by_columns


def _exactly(member: IO[bytes], count: int) -> bytes:
    content = member.read(count)
    if len(content) < count:
        raise EOFError("an array ends early")
    return content


def _check_ended(member: IO[bytes], key: str) -> None:
    """Nothing may follow; reading to the end also makes zipfile compare the member's own checksum."""
    if member.read(1):
        raise InputError(f"{key} unpacks to more bytes than its header declares")


def _check_labels(labels: NDArray[np.integer], split: str, facts: SetFacts) -> None:
    """Only labels that the set has, and as many cases of the condition as were counted."""
    known = list(range(2 if facts.multi_label else len(facts.labels)))
    strange = np.setdiff1d(labels, known)
    if strange.size:
        raise InputError(f"{split}_labels holds {strange[:5].tolist()}, labels other than {known}")
    if not facts.events:
        return
    wanted = (facts.labels.index(facts.condition),)
    events = int(_outcome(labels, facts, Condition(facts.condition, wanted)).sum())
    if events != facts.events[split]:
        raise InputError(
            f"{split} has {events} {facts.condition} cases, not {facts.events[split]} (labels reversed?)"
        )


def _outcome(labels: NDArray[np.integer], facts: SetFacts, wanted: Condition) -> NDArray[np.bool_]:
    """True where the condition is present: for BreastMNIST ``labels == 0``, malignant. Written here only."""
    if facts.multi_label:
        return (labels[:, wanted.codes] != 0).any(axis=1)
    return np.isin(labels[:, 0], wanted.codes)


def _meanings(facts: SetFacts, wanted: Condition) -> tuple[LabelMeaning, ...]:
    if facts.multi_label:
        return LabelMeaning(1, wanted.name, True), LabelMeaning(0, f"no {wanted.name}", False)
    return tuple(LabelMeaning(code, name, code in wanted.codes) for code, name in enumerate(facts.labels))


def _shown(path: Path) -> str:
    """The path as records may hold it: below ``$CLINEVAL_DATA``, else the file's name alone."""
    named = os.environ.get("CLINEVAL_DATA", "")
    inside = named and path.parent == Path(os.path.expanduser(named))
    return f"$CLINEVAL_DATA/{path.name}" if inside else path.name


STANDARD = "breastmnist"  # what ``auto`` means where it can be had


def load_cohort(
    dataset: str = "auto",
    *,
    size: int = 28,
    seed: int = 0,
    condition: str | None = None,
    colour: bool = False,
    announce: Announce = silent,
) -> Cohort:
    """The cohort of a data set by its name.

    ``breastmnist``, like any other MedMNIST set, is strict: from ``$CLINEVAL_DATA``, ``./data``,
    ``~/.medmnist``, the cache, or a verified download, or refused. ``phantom`` is the synthetic set,
    drawn from ``seed``. ``auto`` is BreastMNIST where it can be had and else the phantom, whose
    ``source.reason`` then says why. A file that is present but wrong is refused, never replaced.

    ``condition`` names the label, or labels joined by `` or ``, that the outcome is True for: needed
    for sets of more than two classes, never guessed. ``colour`` keeps the images of a set in colour beside
    the grey ones. ``announce`` hears of every wait for the network.

    Raises
    ------
    InputError : unknown name, size or condition, a wrong file, or data that are not there (with remedies).
    """
    if dataset == "phantom":
        return _phantom(size, condition, seed=seed, reason="it was asked for with --dataset phantom")
    name = STANDARD if dataset == "auto" else dataset
    try:
        return _official(name, size, condition, colour=colour, announce=announce)
    except Unavailable as error:
        if dataset != "auto" or size != phantom.SIZE:
            raise
        return _phantom(size, condition, seed=seed, reason=_why(name, error))


def _official(
    name: str,
    size: int,
    condition: str | None,
    *,
    colour: bool,
    announce: Announce,
) -> Cohort:
    condition_of(name, condition)  # refused before anything is downloaded
    path = find(name, size=size)
    if path is None:
        path = fetch(name, size=size, announce=announce)
    return read(path, name, size=size, condition=condition, colour=colour)


def _phantom(size: int, condition: str | None, *, seed: int, reason: str) -> Cohort:
    if condition not in (None, phantom.CONDITION):
        raise InputError(f"The phantom set has one condition, {phantom.CONDITION}; got {condition!r}.")
    if size != phantom.SIZE:
        raise InputError(
            f"The phantom set needs {option('--size')} {phantom.SIZE}; got {size}. Real data exists at more "
            "sizes."
        )
    return phantom.phantom(seed=seed, reason=reason)


def _why(name: str, error: Unavailable) -> str:
    return (
        f"{SETS[name].title} is not in $CLINEVAL_DATA, ./data, ~/.medmnist or the cache, "
        f"and could not be downloaded: {error.cause}"
    )
