"""Image files of any source: found by content or by the names in a table, read with care, and described."""

import ctypes
import hashlib
import io
import os
import re
import struct
import threading
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from ctypes.util import find_library
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clineval.data import dicom
from clineval.data.preparation import (
    DEEP,
    Unusable,
    grey_of,
    grey_of_levels,
    is_deep,
    share_coloured,
    square,
    square_to_score,
)
from clineval.errors import InputError, Progress, in_short
from clineval.files import in_utf8

STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
PHOTOMETRIC, BITS_PER_SAMPLE, SAMPLE_FORMAT = 262, 258, 339  # tags
WHITE_IS_ZERO, BLACK_IS_ZERO, SIGNED = 0, 1, 2  # their values
MOST_TAGS = 1000  # that are looked at


def with_black_zero(content: bytes) -> tuple[bytes, bool]:
    """A TIFF file of more than eight bits marked as one whose zero is black, and whether it is white.

    Pillow inverts up to eight bits only; deeper files it reads as they are, and some of them not at all.
    """
    if not content.startswith(STARTS):
        return content, False
    _mute_library()
    order, wide = "<" if content[:2] == b"II" else ">", content[2:4] in (b"+\x00", b"\x00+")
    start = struct.unpack_from(f"{order}Q" if wide else f"{order}I", content, 8 if wide else 4)[0]
    count = struct.unpack_from(f"{order}Q" if wide else f"{order}H", content, start)[0]
    first, size, value = start + (8 if wide else 2), 20 if wide else 12, 12 if wide else 8
    places = {
        struct.unpack_from(f"{order}H", content, first + size * number)[0]: first + size * number + value
        for number in range(min(count, MOST_TAGS))
    }
    bits, photometric = (
        struct.unpack_from(f"{order}H", content, places[tag])[0] if tag in places else 1
        for tag in (BITS_PER_SAMPLE, PHOTOMETRIC)
    )
    if photometric != WHITE_IS_ZERO or not 8 < bits <= DEEP:
        return content, False
    place = places[PHOTOMETRIC]
    return content[:place] + struct.pack(f"{order}H", BLACK_IS_ZERO) + content[place + 2 :], True


def says_its_white(image: Image.Image) -> bool:
    """Whether samples are signed, or of 9 to 15 bits: then the file says what their white is."""
    bits, signed = _samples(image)
    return len(image.getbands()) == 1 and (8 < bits < DEEP or (signed and 8 <= bits <= DEEP))


def grey_levels(image: Image.Image, bits: int | None, *, inverted: bool) -> tuple[NDArray[Any], int | None]:
    """The grey levels of such a TIFF file, 0 black, and the bits of their white."""
    stated, signed = _samples(image)
    levels = np.asarray(image).view(np.int8) if stated == 8 else np.asarray(image)
    if levels.min(initial=0) < 0:
        raise Unusable("it holds negative grey levels, whose black nobody can know; save it unsigned")
    if inverted:
        levels = (2 ** (stated - signed) - 1 - levels.astype(np.int32)).astype(np.uint16)
    return levels, None if bits is None and stated > 8 else min(bits or DEEP, stated - signed)


def _samples(image: Any) -> tuple[int, bool]:
    """Bits of each sample of a TIFF file, and whether they are signed."""
    bits = int(image.tag_v2.get(BITS_PER_SAMPLE, (1,))[0])
    return bits, SIGNED in np.ravel(image.tag_v2.get(SAMPLE_FORMAT, 1))


@cache
def _mute_library() -> None:
    """Keep libtiff, on which Pillow calls, from writing its own lines to standard error beside a refusal."""
    places = [str(path) for path in Path(Image.__file__).parents[1].glob("pillow.libs/libtiff*")]
    for name in places or filter(None, [find_library("tiff")]):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(name).TIFFSetErrorHandler(None)


FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000")  # the readers of Pillow that may run
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".j2k", ".jpf",
)  # fmt: skip
ENDINGS = (*SUFFIXES, *dicom.SUFFIXES)  # a file with one of these is meant as an image, whatever it holds
MAGIC = (
    *STARTS, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51",
)  # fmt: skip
LEFT_BEHIND = ("thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store")  # by Windows and macOS
LEFT_BEHIND_FOLDER = "__MACOSX"
DISC_INDEX = b"\x02\x00\x02\x00UI\x14\x001.2.840.10008.1.3.10"  # the kind of a DICOMDIR, in its header
HEAD = 256  # bytes that tell what a file holds
MOST_PIXELS = 50_000_000  # per image; a small file can unpack to more than the memory holds
PIXELS_PER_BYTE = 10_000  # no picture packs so well: 1,032 is the most that deflate can, in eight-bit grey
LARGE = 10_000_000  # pixels from which on that is looked at
MOST_BYTES = 500_000_000  # per file
MOST_AT_ONCE = 400_000_000  # bytes that all threads together may take for decoding
READERS = min(os.cpu_count() or 1, 8)  # threads; each keeps one file and one decoded image
SMALL = 8192  # bytes; to decode less is mostly Python's own work, which threads do not share
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with what a cell begins that spreadsheets compute
SEVERAL_VIEWS = "MPO"  # a camera's format: the first frame is the picture
Made = TypeVar("Made")


@dataclass(frozen=True)
class ReadImage:
    """One decoded file.

    Attributes
    ----------
    grey : in Pillow's mode ``L``, of the file's own size.
    sha256 : of the file's bytes.
    picture : the same in red, green and blue, where that was asked for.
    colour, deep : it was stored in colour; with more than eight bits.
    coloured : share of the pixels that have a colour, 0 to 1.
    burnt_in : a DICOM file says that names or marks are drawn into its picture.
    marked : the whole picture looks as if text or measuring marks were burnt in, where that was looked for.
    identifying : keywords of a DICOM file's filled tags that identify a patient; never their content.
    """

    grey: Image.Image
    sha256: str
    colour: bool = False
    deep: bool = False
    coloured: float = 0.0
    burnt_in: bool = False
    marked: bool = False
    identifying: tuple[str, ...] = ()
    picture: Image.Image | None = None

    def without_picture(self) -> "ReadImage":
        """The same facts with an empty picture, so that thousands can be kept."""
        return replace(self, grey=Image.new("L", (1, 1)), picture=None)


@dataclass(frozen=True)
class HeldFile:
    """A file in memory, as it comes over a network, with the name that it goes by.

    ``most_pixels`` may be fewer than the program reads of a file on the disk, never more.
    """

    name: str
    content: bytes
    most_pixels: int = MOST_PIXELS

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return Path(self.name).suffix


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be used, and why."""

    case: str
    reason: str


class Budget:
    """Memory shared by threads: who wants more than is free waits until others have given theirs back."""

    def __init__(self, size: int) -> None:
        self._size, self._taken = size, 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Hold so many bytes; more than there are in all are given to one alone."""
        amount = min(amount, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._taken + amount <= self._size)
            self._taken += amount
        try:
            yield
        finally:
            with self._changed:
                self._taken -= amount
                self._changed.notify_all()


DECODING = Budget(MOST_AT_ONCE)


# Found ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """Image files with the names that they go by (UTF-8), and the names of files that are no images."""

    images: tuple[tuple[Path, str], ...]
    passed_over: tuple[str, ...]

    @property
    def note(self) -> str:
        """How many files were passed over and which; empty where none was."""
        if not self.passed_over:
            return ""
        count = len(self.passed_over)
        what = "file passed over as no image" if count == 1 else "files passed over as no images"
        return f"{count:,} {what}: {in_short(self.passed_over)}"


def find_images(sources: Sequence[Path | str]) -> Found:
    """Every image file named, or below a folder that was.

    A file in a folder goes by its path below it; one that shares its name with another by its path as
    given. In a folder files are known by their content; one with an image's ending counts as an image
    whatever it holds, so that a broken one is named. What macOS and Windows leave behind (``._x``,
    ``__MACOSX``, ``.DS_Store``, ``Thumbs.db``) and the index of a DICOM disc are passed over. Links to
    folders are not followed, so that no circle can be walked.

    Raises
    ------
    InputError : nothing was named, something is not there, or there is no image.
    """
    images: list[tuple[Path, str]] = []
    others: list[tuple[Path, str]] = []
    for path, name, kept in _files(sources):
        (images if kept else others).append((path, name))
    counted = Counter(name for _, name in images)
    shown = [path.as_posix() if counted[name] > 1 else name for path, name in images]
    paths = [path for path, _ in images]
    return Found(
        tuple(zip(paths, map(in_utf8, shown), strict=True)), tuple(in_utf8(name) for _, name in others)
    )


def _files(sources: Sequence[Path | str]) -> Iterator[tuple[Path, str, bool]]:
    """Each file, the name it goes by, and whether it counts as an image."""
    if not sources or not all(map(str, sources)):
        raise InputError("expected image files or folders of them; none was named.")
    for source in map(Path, sources):
        if os.path.isdir(source):  # False, too, of a name that no file can have
            below = [(path, path.relative_to(source).as_posix(), is_image(path)) for path in _below(source)]
            if not any(kept for _, _, kept in below):
                others = f" Of {len(below):,} files none begins as an image does." if below else ""
                raise InputError(f"{source} holds no images; looked for {' '.join(ENDINGS)}.{others}")
            yield from below
        elif os.path.isfile(source):
            yield source, source.name, not _left_behind(source)
        else:
            raise InputError(f"There is no file or folder {source}; name images or folders of them.")


def _below(folder: Path) -> list[Path]:
    return sorted(Path(base, name) for base, _, names in os.walk(folder, followlinks=False) for name in names)


def is_image(path: Path) -> bool:
    """Whether a file is meant as an image: by its content, or by its ending if no system left it behind."""
    if _left_behind(path):
        return False
    return path.suffix.lower() in ENDINGS or _holds_image(path)


def _left_behind(path: Path) -> bool:
    name = path.name.lower()
    if name in LEFT_BEHIND or LEFT_BEHIND_FOLDER in path.parts:
        return True
    return name.startswith("._") and not _holds_image(path)


def _holds_image(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return _is_picture(head) or (dicom.is_dicom(head) and DISC_INDEX not in head)


def _is_picture(head: bytes) -> bool:
    """Whether a file begins like one of the formats that Pillow may read."""
    riff = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4)
    return head.startswith(MAGIC) or riff or bitmap


def as_cell(name: str) -> str:
    """A file's name as a cell of a table: it still leads to the file, and no spreadsheet computes it."""
    return f"./{name}" if name.startswith(FORMULA) else name


# Read -------------------------------------------------------------------------------------------------


def read_images(
    paths: Sequence[Path | HeldFile],
    make: Callable[[int, ReadImage], Made],
    *,
    home: Path | None = None,
    bits: int | None = DEEP,
    colour: bool = False,
    progress: Progress | None = None,
) -> Iterator[Made | Unusable]:
    """What ``make`` makes of each file's number and image, in order, or why the file cannot be used.

    Files are read on several cores, or by one thread where they are small; ``make`` is called in the
    thread that read the file and may itself raise ``Unusable``.

    Parameters
    ----------
    home, bits, colour : as for ``read_image``.
    progress : called with (files read, files in all).
    """

    def one(place: int) -> Made | Unusable:
        try:
            return make(place, read_image(paths[place], home=home, bits=bits, colour=colour))
        except Unusable as reason:
            return type(reason)(*reason.args)  # without its traceback, which keeps the file's bytes

    with warnings.catch_warnings(), ThreadPoolExecutor(READERS) as pool:
        warnings.simplefilter("ignore")  # decoders warn of oddities that do not touch the pixels
        made = (map if _mean_size(paths) < SMALL else pool.map)(one, range(len(paths)))
        for done, each in enumerate(made, start=1):
            yield each
            if progress is not None:
                progress(done, len(paths))


Seen = Callable[[int, ReadImage, NDArray[np.uint8]], None]


@dataclass(frozen=True)
class Squares:
    """Files brought to squares, in their order.

    Attributes
    ----------
    views : for each way of cutting uint8, shape (files, side, side), or (files, side, side, 3) where colour
        was asked for; black where a file cannot be used.
    read : of each file what it holds, less its picture, or why it cannot be used.
    """

    views: tuple[NDArray[np.uint8], ...]
    read: tuple[ReadImage | Unusable, ...]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which files can be used, shape (files,)."""
        return np.array([isinstance(each, ReadImage) for each in self.read], bool)


def read_squares(
    paths: Sequence[Path | HeldFile],
    *,
    side: int,
    fits: Sequence[str],
    home: Path | None = None,
    bits: int = DEEP,
    colour: bool = False,
    marked: Callable[[Image.Image], bool] = lambda picture: False,
    seen: Seen = lambda place, read, square: None,
    progress: Progress | None = None,
) -> Squares:
    """Read files and cut squares of ``side`` pixels from each, one for each of ``fits``, grey or in colour.

    Other parameters are those of ``read_images``.

    Parameters
    ----------
    marked : says of a whole picture whether marks are burnt in.
    seen : called, in any thread, with each usable file's number, its whole image and its first square.
    """
    channels = (3,) if colour else ()
    views = tuple(np.zeros((len(paths), side, side, *channels), np.uint8) for _ in fits)

    def cut(place: int, read: ReadImage) -> ReadImage:
        alone = read.grey.width == read.grey.height  # then there is but one square
        squares = [_square(read, side=side, fit=fit) for fit in (fits[:1] if alone else fits)]
        for view, found in zip(views, squares * len(fits) if alone else squares, strict=True):
            view[place] = found
        seen(place, read, squares[0])
        return replace(read.without_picture(), marked=marked(read.grey))

    read = read_images(paths, cut, home=home, bits=bits, colour=colour, progress=progress)
    return Squares(views, tuple(read))


def _square(read: ReadImage, *, side: int, fit: str) -> NDArray[np.uint8]:
    grey = square_to_score(read.grey, side=side, fit=fit)
    return grey if read.picture is None else square(read.picture, side=side, fit=fit)


def read_image(
    path: Path | HeldFile, *, home: Path | None = None, bits: int | None = DEEP, colour: bool = False
) -> ReadImage:
    """Decode one PNG, JPEG, JPEG 2000, TIFF, DICOM, BMP, WebP or GIF file into eight-bit grey.

    Parameters
    ----------
    home : folder, resolved, that the file must lie in, links followed; None allows any place.
    bits : white of deep images is ``2**bits - 1``; see ``preparation.grey_of``. DICOM files say their
        own, and so do TIFF files of 12 bits and of signed samples.
    colour : keep the picture in red, green and blue as well.

    Raises
    ------
    Unusable : the file is missing, outside ``home``, empty, too large, broken, several pictures in one,
        or without a grey picture; the message is a clause that follows the file's name.
    """
    content, most_pixels = _content(path, home)
    digest = hashlib.sha256(content).hexdigest()
    if dicom.is_dicom(content) or (path.suffix.lower() in dicom.SUFFIXES and not _is_picture(content)):
        read = _of_dicom(content, digest, most_pixels=most_pixels)
        return replace(read, picture=read.grey.convert("RGB")) if colour else read
    try:
        content, inverted = with_black_zero(content)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check(image, stored=len(content), most_pixels=most_pixels)
            with DECODING.take(_memory(image)):
                read = _decoded(image, digest, bits=bits, inverted=inverted)
                return replace(read, picture=_picture(image, read)) if colour else read
    except (Unusable, MemoryError):
        raise
    except Exception as error:  # on a broken file Pillow's readers may raise anything, TypeError included
        raise Unusable(_in_words(error)) from error


def _picture(image: Image.Image, read: ReadImage) -> Image.Image:
    """The picture in red, green and blue; what is transparent is black."""
    if not read.colour and image.mode != "P":
        return read.grey.convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    seen = image.convert("RGBA")
    return Image.composite(seen.convert("RGB"), Image.new("RGB", seen.size), seen.getchannel("A"))


def _decoded(image: Image.Image, digest: str, *, bits: int | None, inverted: bool) -> ReadImage:
    ImageOps.exif_transpose(image, in_place=True)
    if image.format == "TIFF" and (inverted or says_its_white(image)):
        levels, bits = grey_levels(image, bits, inverted=inverted)
        grey = Image.fromarray(grey_of_levels(levels, bits=bits))
        return ReadImage(grey, digest, deep=levels.itemsize > 1)
    colour = len(image.getbands()) >= 3
    coloured = share_coloured(image) if colour or image.mode == "P" else 0.0
    return ReadImage(grey_of(image, bits=bits), digest, colour=colour, deep=is_deep(image), coloured=coloured)


def _of_dicom(content: bytes, digest: str, *, most_pixels: int) -> ReadImage:
    picture = dicom.read_dicom(content, most_pixels=most_pixels, decoding=DECODING.take)
    return ReadImage(
        Image.fromarray(picture.grey),
        digest,
        deep=picture.bits > 8,
        coloured=picture.coloured,
        burnt_in=picture.burnt_in,
        identifying=picture.identifying,
    )


def _content(file: Path | HeldFile, home: Path | None) -> tuple[bytes, int]:
    """The bytes of a file, and the most pixels that they may claim."""
    if isinstance(file, Path):
        return _read(file, home), MOST_PIXELS
    _check_bytes(len(file.content))
    return file.content, min(file.most_pixels, MOST_PIXELS)


def _read(path: Path, home: Path | None) -> bytes:
    try:
        if home is not None and not path.resolve().is_relative_to(home):
            raise Unusable("it lies outside the image folder; copy it in, or name the folder that holds it")
        size = path.stat().st_size
        if not path.is_file():
            raise Unusable("it is a folder or a device, not a file")
        _check_bytes(size)
        return path.read_bytes()
    except FileNotFoundError:
        raise Unusable("no such file") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads back to itself
        reason = getattr(error, "strerror", None) or "a circle of links"
        raise Unusable(f"it cannot be read ({reason})") from error


def _check_bytes(size: int) -> None:
    if size > MOST_BYTES:
        raise Unusable(f"it has {size:,} bytes, more than {MOST_BYTES:,}")
    if not size:
        raise Unusable("it is empty (0 bytes)")


def _check(image: Image.Image, *, stored: int, most_pixels: int) -> None:
    pixels, claim = image.width * image.height, f"it claims {image.width} x {image.height} pixels"
    if pixels > most_pixels:
        raise Unusable(f"{claim}, more than {most_pixels:,}")
    if pixels > max(LARGE, PIXELS_PER_BYTE * stored):
        raise Unusable(f"{claim} in {stored:,} bytes, as a decompression bomb does")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != SEVERAL_VIEWS:
        raise Unusable(f"it holds {frames} pictures; save the one that is meant as a file of its own")


def _memory(image: Image.Image) -> int:
    """Bytes that decoding takes at most: channels as stored, what is made of them, the grey picture."""
    per_pixel = 6 if is_deep(image) else 3 if image.mode in ("1", "L") else 12
    return image.width * image.height * (per_pixel + 12 * (image.format == "JPEG2000"))


def _in_words(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"it claims more than {MOST_PIXELS:,} pixels, as a decompression bomb does"
    if isinstance(error, Image.UnidentifiedImageError):
        return "it cannot be read as an image (no known format)"
    cut = "truncated" in str(error) or "incomplete" in str(error)
    return f"it cannot be read as an image ({'cut short' if cut else 'damaged'})"


def _mean_size(files: Sequence[Path | HeldFile]) -> float:
    """Bytes of one file; what cannot be looked at any more is named when it is read."""
    held = sum(len(file.content) for file in files if isinstance(file, HeldFile))
    on_disk = [file for file in files if isinstance(file, Path) and os.path.isfile(file)]
    return (held + sum(map(os.path.getsize, on_disk))) / max(1, len(files))


def fingerprint(grey: Image.Image) -> bytes:
    """Equal where two decoded images have the same size and pixels."""
    digest = hashlib.blake2b(f"{grey.size}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(grey).data)
    return digest.digest()


DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # how a path begins that Windows gives a drive or another computer


class Missing(Unusable):
    """No file of that name."""


@dataclass(frozen=True)
class _Names:
    """The names in one folder, listed once: 10,000 rows ask 10,000 times."""

    exact: frozenset[str]
    alike: dict[str, list[str]]
    stem: dict[str, list[str]]
    stem_alike: dict[str, list[str]]


class NamedFiles:
    """Finds the files of a folder by the names that a table gives them.

    The ending may be left out. A backslash separates folders as a slash does. Where no file has the very
    name, one is taken that differs in nothing but upper and lower case or the form in which Unicode writes
    an accent (macOS keeps ``e`` and the accent apart), for other systems do not tell these apart.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))
        self._listed: dict[Path, _Names] = {}

    def find(self, name: str) -> Path:
        """The file of that name.

        Raises
        ------
        Missing : there is none.
        Unusable : the name leads out of the folder, to a drive, or to several files; the message is a clause
            that follows the name.
        """
        if DRIVE.match(name):
            raise Unusable(
                "it names a drive or another computer; write the path below the image folder, "
                "and name that folder"
            )
        for written in dict.fromkeys((name, in_slashes(name))):
            found = list(self._find(self._within(written)))
            if len(found) > 1:
                listed = " and ".join(path.name for path in found)
                raise Unusable(f"it fits {listed}; write its whole name into the table")
            if found:
                return found[0]
        raise Missing("no such file")

    def _within(self, name: str) -> PurePosixPath:
        whole = Path(os.path.abspath(self._folder / name))
        if ".." in PurePosixPath(name).parts or not whole.is_relative_to(self._folder):
            raise Unusable("it lies outside the image folder; copy it in, or name the folder that holds it")
        return PurePosixPath(whole.relative_to(self._folder))

    def _find(self, name: PurePosixPath) -> Iterator[Path]:
        folders = [self._folder]
        for part in name.parts[:-1]:
            folders = [folder / found for folder in folders for found in self._same(folder, part)]
        for folder in folders:
            found = self._same(folder, name.name) or self._without_ending(folder, name.name)
            yield from (folder / one for one in found)

    def _same(self, folder: Path, wanted: str) -> list[str]:
        names = self._names(folder)
        return [wanted] if wanted in names.exact else names.alike.get(_folded(wanted), [])

    def _without_ending(self, folder: Path, wanted: str) -> list[str]:
        names = self._names(folder)
        found = names.stem.get(wanted) or names.stem_alike.get(_folded(wanted), [])
        return [name for name in found if is_image(folder / name)]

    def _names(self, folder: Path) -> _Names:
        if folder not in self._listed:
            every = sorted(os.listdir(folder)) if folder.is_dir() else []
            stems = [os.path.splitext(name)[0] for name in every]
            self._listed[folder] = _Names(
                frozenset(every),
                _gathered(map(_folded, every), every),
                _gathered(iter(stems), every),
                _gathered(map(_folded, stems), every),
            )
        return self._listed[folder]


def in_slashes(name: str) -> str:
    """A path with slashes between its folders, as every system but Windows writes it."""
    return name.replace("\\", "/")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _gathered(keys: Iterator[str], names: list[str]) -> dict[str, list[str]]:
    by_key: dict[str, list[str]] = {}
    for key, name in zip(keys, names, strict=True):
        by_key.setdefault(key, []).append(name)
    return by_key
