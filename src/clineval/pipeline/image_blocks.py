"""Image files found, and read in blocks."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clineval.data.image_files import ENDINGS, files_below, in_utf8, read_image
from clineval.data.preparation import Unusable, square_to_score
from clineval.refusal import Refusal

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
    Refusal : nothing was named, something is not there, or a folder holds no image.
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
        raise Refusal("predict needs image files or folders of them; none was named.")
    for source in map(Path, sources):
        if os.path.isdir(source):  # False, too, of a name that no file can have
            below = files_below(source)
            if not below:
                raise Refusal(f"{source} holds no images; looked for {' '.join(ENDINGS)}.")
            yield from ((path, path.relative_to(source).as_posix()) for path in below)
        elif os.path.isfile(source):
            yield source, source.name
        else:
            raise Refusal(f"There is no file or folder {source}; name images or folders of them.")
