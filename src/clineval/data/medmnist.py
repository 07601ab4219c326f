"""MedMNIST sets as cohorts: their source, checksum, licence and what their labels mean.

BreastMNIST codes *malignant as 0*, and this module alone turns that code into ``outcome``. A file is
used only if it is, byte for byte, the official one.
"""

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pooch
from numpy.typing import NDArray

from clineval.data.cohort import Cohort, LabelMeaning, Source
from clineval.data.download import Unavailable, download
from clineval.refusal import Refusal

SPLITS = ("train", "val", "test")
HEADER_BYTES = 4096  # more than any array's header in an official file


@dataclass(frozen=True)
class SetFacts:
    """What is known of one MedMNIST set; a further greyscale two-class set is one more row of ``SETS``.

    ``cases`` and ``events`` (cases with the condition) are per split; ``sha256`` is per size in pixels.
    """

    title: str
    condition: str
    labels: tuple[LabelMeaning, ...]
    cases: Mapping[str, int]
    events: Mapping[str, int]
    sha256: Mapping[int, str]
    address: str
    licence: str
    citation: str


SETS: Mapping[str, SetFacts] = {
    "breastmnist": SetFacts(
        title="BreastMNIST",
        condition="malignant",
        labels=(
            LabelMeaning(code=0, name="malignant", is_condition=True),
            LabelMeaning(code=1, name="normal or benign", is_condition=False),
        ),
        cases={"train": 546, "val": 78, "test": 156},
        events={"train": 147, "val": 21, "test": 42},
        sha256={
            28: "3a22d2a4625e7dd8903f0f59030e81a3d0c222bece2e5e10927456cb50efdec1",
            64: "c18cdad0c6a4669aaedd761b2f278373eac3a5afe111e685165dc623c1a7b9ed",
            128: "9bc7bf4489ae1477439da8b0108a8c63164cf943fd4bd225b8fab075ea8f22ce",
            224: "833ebdedcee2fd9aec6e242b0c59af91410302d9b6247a012bd71af51ac867bb",
        },
        address="https://zenodo.org/records/10519652/files",
        licence="CC BY 4.0",
        citation=(
            "Yang et al. 2023, Scientific Data 10:41, doi:10.1038/s41597-022-01721-8; source images: "
            "Al-Dhabyani et al. 2020, Data in Brief 28:104863, doi:10.1016/j.dib.2019.104863"
        ),
    ),
}


def set_facts(dataset: str, size: int) -> SetFacts:
    """The row of ``SETS`` for a data set that exists at ``size`` pixels; refuses any other name or size."""
    if dataset not in SETS:
        raise Refusal(f"--dataset needs auto, phantom or one of {', '.join(SETS)}; came {dataset!r}.")
    facts = SETS[dataset]
    if size not in facts.sha256:
        sizes = ", ".join(str(known) for known in facts.sha256)
        raise Refusal(f"--size needs one of {sizes} (pixels per side) for {dataset}; came {size!r}.")
    return facts


def file_name(dataset: str, size: int) -> str:
    """The official file's name: ``breastmnist.npz`` at 28 pixels, ``breastmnist_64.npz`` at 64."""
    return f"{dataset}.npz" if size == 28 else f"{dataset}_{size}.npz"


def cache_folder() -> Path:
    """Where a download is kept for this user; the folder need not exist yet."""
    return Path(pooch.os_cache("clineval"))


def search_folders() -> tuple[Path, ...]:
    """Where files are looked for, in order: ``$CLINEVAL_DATA``, ``./data``, ``~/.medmnist``, the cache."""
    named = os.environ.get("CLINEVAL_DATA", "")
    folders = [Path(os.path.expanduser(named))] if named else []
    if folders and folders[0].exists() and not folders[0].is_dir():
        raise Refusal(
            f"CLINEVAL_DATA needs to name a folder; {named} is a file. Name the folder that holds it."
        )
    return (*folders, Path("data"), Path(os.path.expanduser("~/.medmnist")), cache_folder())


def find(dataset: str, *, size: int = 28, folders: Sequence[Path] | None = None) -> Path | None:
    """The first folder's file of that data set, or None where no folder has one."""
    set_facts(dataset, size)
    places = search_folders() if folders is None else folders
    candidates = (Path(folder) / file_name(dataset, size) for folder in places)
    return next((path for path in candidates if os.path.lexists(path)), None)


def load(dataset: str = "breastmnist", *, size: int = 28, folders: Sequence[Path] | None = None) -> Cohort:
    """The official images and outcomes, from the first folder that has the file; downloads nothing.

    Raises
    ------
    Unavailable : no folder has the file.
    Refusal : the data set or size is unknown, or the file found is not the official one.
    """
    path = find(dataset, size=size, folders=folders)
    if path is None:
        places = ", ".join(str(folder) for folder in (search_folders() if folders is None else folders))
        raise Unavailable(
            f"{file_name(dataset, size)} is needed and is in none of: {places}. {_remedies(dataset, size)}",
            cause="no folder has the file",
        )
    return read(path, dataset, size=size)


def fetch(
    dataset: str = "breastmnist",
    *,
    size: int = 28,
    folder: Path | None = None,
    address: str | None = None,
    wait: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Download the official file into ``folder`` (default: the cache) and say where it lies.

    A right file already there is kept and nothing is downloaded; a wrong one is refused and not
    overwritten. ``address`` replaces the official folder of the files (a mirror inside a hospital),
    ``wait`` is the pause in seconds before the first new attempt; ``progress`` gets bytes.

    Raises
    ------
    Unavailable : it cannot be had; the message names the cause and the three remedies.
    Refusal : what came, or what already lies there, is not the official file.
    """
    facts = set_facts(dataset, size)
    target = (cache_folder() if folder is None else Path(folder)) / file_name(dataset, size)
    if os.path.lexists(target):
        read(target, dataset, size=size)
        return target
    url = f"{(address or facts.address).rstrip('/')}/{target.name}?download=1"
    try:
        return download(url, target, sha256=facts.sha256[size], wait=wait, progress=progress)
    except Unavailable as error:
        raise Unavailable(f"{error} {_remedies(dataset, size, target)}", cause=error.cause) from error
    except Refusal as error:
        raise Refusal(f"{error} {_remedies(dataset, size, target)}") from error


def _remedies(dataset: str, size: int, target: Path | None = None) -> str:
    place = target or cache_folder() / file_name(dataset, size)
    return (
        f"Put the file at {place}, or set CLINEVAL_DATA to the folder that holds it, "
        f"or use --dataset phantom{'' if size == 28 else ' --size 28'} (synthetic images)."
    )


def read(path: Path, dataset: str = "breastmnist", *, size: int = 28) -> Cohort:
    """The cohort in one official file, after its content and its checksum were checked.

    Raises
    ------
    Refusal : the file cannot be read, or is truncated, corrupt, altered, or another file; says which.
    """
    facts = set_facts(dataset, size)
    content = _content(path, dataset, size)
    digest = hashlib.sha256(content).hexdigest()
    try:
        arrays = _arrays(content, facts, size)
        if digest != facts.sha256[size]:
            raise Refusal(f"its SHA-256 is {digest}, the official file's {facts.sha256[size]}")
    except Refusal as error:
        raise Refusal(
            f"{path} is not the official {file_name(dataset, size)}: {error}. "
            f"Remove it and fetch it again, or point CLINEVAL_DATA at another folder."
        ) from error
    return _cohort(arrays, dataset, facts, path=path, digest=digest)


def _content(path: Path, dataset: str, size: int) -> bytes:
    """The file's bytes, at most as many as the official file can have."""
    most = _uncompressed_bytes(SETS[dataset], size)
    if not path.is_file():  # a folder, a broken link, a pipe that would never end
        raise Refusal(f"{path} needs to be a file; it is a folder, a broken link or a device.")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise Refusal(f"{path} cannot be read ({error.strerror}).") from error
    if len(content) > most:
        raise Refusal(
            f"{path} is not the official {file_name(dataset, size)}: it has more than {most} bytes, the most "
            f"that {size} x {size} pixels take. Remove it, or name it after its own size."
        )
    return content


def _uncompressed_bytes(facts: SetFacts, size: int) -> int:
    return sum(facts.cases.values()) * (size * size + 1) + 2 * len(facts.cases) * HEADER_BYTES


def _arrays(content: bytes, facts: SetFacts, size: int) -> dict[str, NDArray[np.uint8]]:
    """The six checked arrays of an npz; refuses with a clause that says what is wrong."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{split}_images": (cases, size, size) for split, cases in facts.cases.items()
    }
    shapes |= {f"{split}_labels": (cases, 1) for split, cases in facts.cases.items()}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {key: _array(archive, key, shape) for key, shape in shapes.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(f"it is truncated or corrupt, {len(content)} bytes long ({error})") from error
    for split in facts.cases:
        _check_labels(arrays[f"{split}_labels"], split, facts)
    return arrays


def _array(archive: zipfile.ZipFile, key: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """One member, refused by its declared size and header before anything is unpacked into memory."""
    if f"{key}.npy" not in archive.namelist():
        raise Refusal(f"it lacks {key} and has {', '.join(archive.namelist()) or 'nothing'}"[:300])
    needed = int(np.prod(shape)) + HEADER_BYTES
    with archive.open(f"{key}.npy") as member:
        declared, dtype = _header(member)
        if dtype != np.uint8 or declared != shape:
            raise Refusal(f"{key} needs uint8 of shape {shape} and is {dtype} of shape {declared}")
        if archive.getinfo(f"{key}.npy").file_size > needed:
            raise Refusal(f"{key} unpacks to more than {needed} bytes")
    with archive.open(f"{key}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Declared shape and type of one array. numpy parses it as Python source, so it may raise anything."""
    try:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError("npy version other than 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    except Exception as error:
        raise Refusal(f"it holds an array whose header cannot be read ({type(error).__name__})") from error
    return shape, dtype


def _check_labels(labels: NDArray[np.uint8], split: str, facts: SetFacts) -> None:
    known = [meaning.code for meaning in facts.labels]
    strange = np.setdiff1d(labels, known)
    if strange.size:
        raise Refusal(f"{split}_labels holds {strange[:5].tolist()}, labels other than {known}")
    events = int(_outcome(labels, facts).sum())
    if events != facts.events[split]:
        raise Refusal(
            f"{split} has {events} {facts.condition} cases, not {facts.events[split]} (labels reversed?)"
        )


def _outcome(labels: NDArray[np.uint8], facts: SetFacts) -> NDArray[np.bool_]:
    """True where the condition is present: for BreastMNIST ``labels == 0``, malignant. Written here only."""
    return np.isin(labels.ravel(), [meaning.code for meaning in facts.labels if meaning.is_condition])


def _cohort(
    arrays: Mapping[str, NDArray[np.uint8]], dataset: str, facts: SetFacts, *, path: Path, digest: str
) -> Cohort:
    case = np.array([f"{split}/{index}" for split in SPLITS for index in range(facts.cases[split])])
    return Cohort(
        condition=facts.condition,
        images=np.concatenate([arrays[f"{split}_images"] for split in SPLITS]),
        outcome=np.concatenate([_outcome(arrays[f"{split}_labels"], facts) for split in SPLITS]),
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
            labels=facts.labels,
        ),
    )


def _shown(path: Path) -> str:
    """The path as records may hold it: below ``$CLINEVAL_DATA``, else the file's name alone."""
    named = os.environ.get("CLINEVAL_DATA", "")
    inside = named and path.parent == Path(os.path.expanduser(named))
    return f"$CLINEVAL_DATA/{path.name}" if inside else path.name
