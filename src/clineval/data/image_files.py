"""Image files of users: decoded with limits, and read in blocks by several threads."""

import hashlib
import io
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clineval.data import dicom
from clineval.data.preparation import DEEP, Unusable, grey_of, square_to_score
from clineval.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
ENDINGS = (*SUFFIXES, *dicom.SUFFIXES)  # of every file that can be read
MOST_PIXELS = 100_000_000  # per image; a small file can unpack to more than the memory holds
PIXELS_PER_BYTE = 10_000  # no picture packs so well: 1,032 is the most that deflate can, in eight-bit grey
LARGE = 10_000_000  # pixels from which on that is looked at
MOST_BYTES = 500_000_000  # per file; one for each core is in memory at once
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with what a cell begins that spreadsheets compute
SEVERAL_VIEWS = "MPO"  # a camera's format: the first frame is the picture


@dataclass(frozen=True)
class ReadImage:
    """One decoded file.

    Attributes
    ----------
    grey : in Pillow's mode ``L``, of the file's own size.
    sha256 : of the file's bytes.
    colour, deep : it was stored in colour; with more than eight bits.
    burnt_in : a DICOM file says that names or marks are drawn into its picture.
    identifying : keywords of a DICOM file's filled tags that identify a patient; never their content.
    """

    grey: Image.Image
    sha256: str
    colour: bool = False
    deep: bool = False
    burnt_in: bool = False
    identifying: tuple[str, ...] = ()

    def without_picture(self) -> "ReadImage":
        """The same facts with an empty picture, so that thousands can be kept."""
        return replace(self, grey=Image.new("L", (1, 1)))


def files_below(folder: Path) -> list[Path]:
    """Every image file in a folder and below it, by its ending, in order.

    Links to folders are not followed, so that no circle can be walked.
    """
    return sorted(
        Path(base, name)
        for base, _, names in os.walk(folder, followlinks=False)
        for name in names
        if os.path.splitext(name)[1].lower() in ENDINGS
    )


def in_utf8(name: str | Path) -> str:
    """A file's name as results can hold it: one that is no UTF-8 is told by its bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def read_image(path: Path, *, home: Path | None = None, bits: int | None = DEEP) -> ReadImage:
    """Decode one PNG, JPEG, TIFF, DICOM or similar file into eight-bit grey.

    Parameters
    ----------
    home : folder, resolved, that the file must lie in, links followed; None allows any place.
    bits : white of deep images is ``2**bits - 1``; see ``preparation.grey_of``. DICOM files say their own.

    Raises
    ------
    Unusable : the file is missing, outside ``home``, empty, too large, broken, several pictures in one,
        or without a grey picture; the message is a clause that follows the file's name.
    """
    content = _content(path, home)
    digest = hashlib.sha256(content).hexdigest()
    if dicom.looks_like_dicom(path, content):
        return _of_dicom(content, digest)
    try:
        with Image.open(io.BytesIO(content)) as image:
            _check(image, stored=len(content))
            ImageOps.exif_transpose(image, in_place=True)
            if image.has_transparency_data and not image.convert("RGBA").getchannel("A").getextrema()[1]:
                raise Unusable("it is wholly transparent, so it shows nothing")
            deep, colour = image.mode.startswith(("I", "F")), len(image.getbands()) >= 3
            return ReadImage(grey_of(image, bits=bits), digest, colour=colour, deep=deep)
    except Unusable:
        raise
    except Exception as error:  # on a broken file Pillow's readers may raise anything, TypeError included
        raise Unusable(_in_words(error)) from error


def _of_dicom(content: bytes, digest: str) -> ReadImage:
    picture = dicom.read_dicom(content, most_pixels=MOST_PIXELS)
    return ReadImage(
        Image.fromarray(picture.grey),
        digest,
        deep=picture.bits > 8,
        burnt_in=picture.burnt_in,
        identifying=picture.identifying,
    )


def _content(path: Path, home: Path | None) -> bytes:
    try:
        if home is not None and not path.resolve().is_relative_to(home):
            raise Unusable("it lies outside the image folder; copy it in, or name the folder that holds it")
        size = path.stat().st_size
        if not path.is_file():
            raise Unusable("it is a folder or a device, not a file")
        if size > MOST_BYTES:
            raise Unusable(f"it has {size:,} bytes, more than {MOST_BYTES:,}")
        if not size:
            raise Unusable("it is empty (0 bytes)")
        return path.read_bytes()
    except FileNotFoundError:
        raise Unusable("no such file") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads back to itself
        reason = getattr(error, "strerror", None) or "a circle of links"
        raise Unusable(f"it cannot be read ({reason})") from error


def _check(image: Image.Image, *, stored: int) -> None:
    pixels, claim = image.width * image.height, f"it claims {image.width} x {image.height} pixels"
    if pixels > MOST_PIXELS:
        raise Unusable(f"{claim}, more than {MOST_PIXELS:,}")
    if pixels > max(LARGE, PIXELS_PER_BYTE * stored):
        raise Unusable(f"{claim} in {stored:,} bytes, as a decompression bomb does")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != SEVERAL_VIEWS:
        raise Unusable(f"it holds {frames} pictures; save the one that is meant as a file of its own")


def _in_words(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"it claims more than {MOST_PIXELS:,} pixels, as a decompression bomb does"
    words = " ".join(str(error).split())
    if isinstance(error, Image.UnidentifiedImageError):  # its message is the address of a buffer
        words = "no known format"
    return f"it is no image that can be read ({words or type(error).__name__})"


def as_cell(name: str) -> str:
    """A file's name as a cell of a table: it still leads to the file, and no spreadsheet computes it."""
    return f"./{name}" if name.startswith(FORMULA) else name


def fingerprint(grey: Image.Image) -> bytes:
    """Equal where two decoded images have the same size and pixels."""
    return hashlib.blake2b(f"{grey.size}".encode() + np.asarray(grey).tobytes(), digest_size=16).digest()


BLOCK = 1024  # files read at a time: bounds the memory
SMALL = 8192  # bytes; to decode less is mostly Python's own work, which threads do not share
File = tuple[Path, str]  # and the name that it goes by


@dataclass(frozen=True)
class Block:
    """Some files as they are to be scored.

    Attributes
    ----------
    names : of the files.
    views : for each way of cutting the square uint8, shape (files, side, side); black where unusable.
    reasons : a clause for each file that cannot be used.
    """

    names: Sequence[str]
    views: Sequence[NDArray[np.uint8]]
    reasons: Sequence[str]


def find_files(sources: Sequence[Path | str]) -> list[File]:
    """Every image file named, or below a folder that was, and the name it goes by (UTF-8).

    A file in a folder goes by its path below it; one that shares its name with another by its path as given.

    Raises
    ------
    InputError : nothing was named, something is not there, or a folder holds no image.
    """
    listed = list(_files(sources))
    counted = Counter(name for _, name in listed)
    shown = (path.as_posix() if counted[name] > 1 else name for path, name in listed)
    return [(path, in_utf8(name)) for (path, _), name in zip(listed, shown, strict=True)]


def read_blocks(files: Sequence[File], *, side: int, fits: Sequence[str], bits: int) -> Iterator[Block]:
    """The files in blocks, in order, read on all cores, or by one thread where they are small.

    Parameters
    ----------
    side : pixels of the squares; ``fits`` are the ways of cutting them.
    bits : white of deep images; see ``clineval.data.preparation``.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # decoders warn of oddities that do not touch the pixels
        for start in range(0, len(files), BLOCK):
            yield _read(pool, files[start : start + BLOCK], side=side, fits=fits, bits=bits)


def _read(
    pool: ThreadPoolExecutor, files: Sequence[File], *, side: int, fits: Sequence[str], bits: int
) -> Block:
    views = [np.zeros((len(files), side, side), np.uint8) for _ in fits]

    def read(place: int) -> str:
        path, name = files[place]
        try:
            grey = read_image(path, bits=bits).grey
            views[0][place] = square_to_score(grey, side=side, fit=fits[0])
            for view, fit in zip(views[1:], fits[1:], strict=True):
                alone = grey.width == grey.height  # then there is but one square
                view[place] = views[0][place] if alone else square_to_score(grey, side=side, fit=fit)
        except Unusable as reason:
            return f"{name}: {reason}"
        return ""

    each = map if _mean_size(files) < SMALL else pool.map
    reasons = [reason for reason in each(read, range(len(files))) if reason]
    return Block([name for _, name in files], views, reasons)


def _mean_size(files: Sequence[File]) -> float:
    """Bytes of one file; what cannot be looked at any more is named when it is read."""
    sizes = []
    for path, _ in files:
        with suppress(OSError):
            sizes.append(path.stat().st_size)
    return sum(sizes) / len(files)


def _files(sources: Sequence[Path | str]) -> Iterator[File]:
    if not sources or not all(map(str, sources)):
        raise InputError("predict needs image files or folders of them; none was named.")
    for source in map(Path, sources):
        if os.path.isdir(source):  # False, too, of a name that no file can have
            below = files_below(source)
            if not below:
                raise InputError(f"{source} holds no images; looked for {' '.join(ENDINGS)}.")
            yield from ((path, path.relative_to(source).as_posix()) for path in below)
        elif os.path.isfile(source):
            yield source, source.name
        else:
            raise InputError(f"There is no file or folder {source}; name images or folders of them.")
