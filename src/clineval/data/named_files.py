"""The image files that a table names, also a table that was written on another system."""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from clineval.data.image_files import is_image
from clineval.data.preparation import Unusable

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
