"""A results folder is replaced whole or not at all: lock, temporary folder beside it, swap, recovery."""

import contextlib
import ctypes
import errno
import fcntl
import glob
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clineval.errors import InputError

MARKER = "provenance.json"
LEDGER = "ledger.jsonl"
DATA = ".npz"  # ending of a data set's file
BEING_REPLACED = ".being-replaced"
PUBLISHED = "published"  # field of a provenance: a record that no command replaces unless forced

_HERE = -100  # AT_FDCWD of the C library: paths start at the working folder
_RENAME_EXCHANGE = 2  # of renameat2 in linux/fs.h


def require_apart(out: Path, *read: Path | None) -> None:
    """Refuse an output folder that holds what the command reads: replacing it would delete that."""
    target = out.resolve()
    for path in read:
        if path is not None and path.resolve().is_relative_to(target):
            raise InputError(
                f"--out {out} holds {path.name or path}, which the command reads and would delete; choose "
                "another folder."
            )


@contextlib.contextmanager
def replace_folder(target: Path, *, kind: str, force: bool = False) -> Iterator[Path]:
    """Hand out an empty folder beside ``target`` and put it in its place when the block ends well.

    Where the block raises, or the process is killed, ``target`` stays as it was. A ledger in the
    old folder is copied into the new one first, for it must outlive every run.

    Parameters
    ----------
    kind : the command whose results these are; a folder of another kind is not replaced.
    force : replace a folder that is of another kind or not the program's own.

    Raises
    ------
    InputError : ``target`` is a file, a stranger's folder, locked by another run, or cannot be written.
    """
    target = Path(os.path.abspath(target))
    with hold_folder(target):
        _put_right(target)
        _check_replaceable(target, kind=kind, force=force)
        fresh = _make_temporary(target)
        try:
            if (target / LEDGER).is_file():
                shutil.copy2(target / LEDGER, fresh / LEDGER)
            yield fresh
            _sync_tree(fresh)
            _swap(fresh, target)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            _put_right(target)
            raise


@contextlib.contextmanager
def hold_folder(target: Path) -> Iterator[None]:
    """Let nobody else write ``target`` while the block runs; the folders above it are made.

    The system drops the lock with the process, so a dead run leaves none behind.

    Raises
    ------
    InputError : another process holds it (it is named), or the place cannot be written.
    """
    target = Path(os.path.abspath(target))
    if not target.name:
        raise InputError(f"{target} is a whole disk, not a results folder; choose another --out.")
    _make_parents(target)
    path = _lock_file(target)
    handle = _acquire(path, target)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def recover(target: Path) -> None:
    """Undo what a killed run left: put an old folder back where no new one came, drop leftovers.

    Where a living run is at work on the folder, it is left to that run.
    """
    target = Path(os.path.abspath(target))
    left_over = target.name and ((_old(target) / BEING_REPLACED).exists() or _is_marked(target))
    if left_over:
        with contextlib.suppress(InputError), hold_folder(target):
            _put_right(target)


def folder_kind(folder: Path) -> str | None:
    """The command that wrote ``folder``, by its provenance; None where the program did not write it."""
    kind = _provenance(folder).get("kind")
    return kind if isinstance(kind, str) else None


def is_published(folder: Path) -> bool:
    """Whether the folder is marked as a published record."""
    return _provenance(folder).get(PUBLISHED) is True


def _provenance(folder: Path) -> dict[str, Any]:
    """What ``provenance.json`` holds, unchecked; empty where there is none that can be read."""
    try:
        record = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def foreign_entries(folder: Path) -> list[str]:
    """Names below a folder that are neither plain files nor folders: links, pipes, devices."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not (path.is_file() or path.is_dir())
    ]


def require_results(folder: Path, *needed: str) -> Path:
    """The folder itself, put right after a kill; a InputError where it or a file in it is missing."""
    recover(folder)
    if not folder.is_dir():
        raise InputError(f"A results folder is needed; {folder} is not a folder. Make one with: clineval run")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is not a whole results folder: it lacks {', '.join(missing)}. "
            "Name a folder written by clineval, or write it anew with: clineval run"
        )
    return folder


def unwritable(folder: Path, error: OSError) -> InputError:
    """The refusal that says why nothing can be written into a folder."""
    reason = {
        errno.EACCES: "it is not writable for this user",
        errno.EROFS: "it is on a read-only file system",
        errno.ENOSPC: "the disk is full",
        errno.ENOENT: "no file can be made there",
    }.get(error.errno or 0, error.strerror or str(error))
    return InputError(f"Cannot write into {folder}: {reason}. Choose another --out.")


def require_writable(folder: Path) -> None:
    """Refuse a folder into which no file can be written, before any work is done for it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
        _sync(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def move_whole(source: Path, folder: Path) -> None:
    """Move a finished file of the same disk into a folder, over one of its name, in one step."""
    _sync(source)
    os.replace(source, folder / source.name)
    _sync(folder)


@dataclass(frozen=True)
class _Holder:
    """Who holds a lock, as the lock file says."""

    process: int
    host: str


def _old(target: Path) -> Path:
    return target.with_name(target.name + ".old")


def _temporary_prefix(target: Path) -> str:
    return f".{target.name}.tmp-"


def _lock_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _is_marked(target: Path) -> bool:
    return (target / BEING_REPLACED).exists()


def _put_right(target: Path) -> None:
    """What :func:`recover` does, for the one who holds the lock."""
    old = _old(target)
    if _is_marked(old):
        if target.exists():
            _discard(old, target)
        else:
            os.rename(old, target)
    if _is_marked(target):
        with contextlib.suppress(OSError):
            (target / BEING_REPLACED).unlink()


def _make_parents(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"The output folder {target} lies below a file; choose another --out.") from error
    except OSError as error:
        raise unwritable(target.parent, error) from error


def _make_temporary(target: Path) -> Path:
    prefix = _temporary_prefix(target)
    for leftover in target.parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=prefix))
    except OSError as error:
        raise unwritable(target.parent, error) from error
    fresh.chmod(0o755)
    return fresh


def _check_replaceable(target: Path, *, kind: str, force: bool) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"The output folder {target} is a file or a link; choose another --out.")
    if _holds_the_user(target):
        raise InputError(
            f"{target} holds the working or home folder and is never replaced; choose another --out."
        )
    if _old(target).exists():
        raise InputError(
            f"{_old(target)} is in the way of replacing {target.name}; move it, or choose another --out."
        )
    if not target.exists() or not any(target.iterdir()):
        return
    data = next((path.name for path in sorted(target.iterdir()) if path.suffix == DATA), None)
    if data:  # no command writes one: it is a data set that somebody downloaded
        raise InputError(f"{target} holds the data set {data} and is never replaced; choose another --out.")
    if force:
        return
    found = folder_kind(target)
    if found is None:
        raise InputError(
            f"{target} is not empty and was not written by clineval; nothing was touched. "
            "Choose another --out, or replace the folder with --force."
        )
    if is_published(target):
        raise InputError(
            f"{target} is a published record and stays as it is: choose another folder, for example "
            "--out my-results, or replace the record with --force."
        )
    if found != kind:
        raise InputError(
            f"{target} holds the results of 'clineval {found}'; 'clineval {kind}' would replace them. "
            "Choose another --out, or replace them with --force."
        )


def _holds_the_user(target: Path) -> bool:
    here, real = Path.cwd().resolve(), target.resolve()
    return real in (here, *here.parents) or real in (Path.home().resolve(), *Path.home().resolve().parents)


def _swap(fresh: Path, target: Path) -> None:
    """Put the fresh folder in the place of the old; without an exchange there is a moment between."""
    if not target.exists():
        os.rename(fresh, target)
        _sync(target.parent)
    elif _exchange(fresh, target):
        _sync(target.parent)
        shutil.rmtree(fresh, ignore_errors=True)
    else:
        (target / BEING_REPLACED).touch()
        os.rename(target, _old(target))
        os.rename(fresh, target)
        _sync(target.parent)
        _discard(_old(target), target)


def _discard(old: Path, target: Path) -> None:
    """Remove a replaced folder; under the name of a leftover, so that a kill halfway leaves no riddle."""
    leftover = old
    with contextlib.suppress(OSError):  # on a full disk no name can be made
        leftover = Path(tempfile.mkdtemp(dir=target.parent, prefix=_temporary_prefix(target)))
        os.rename(old, leftover)
    shutil.rmtree(leftover, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step that no kill can part; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _RENAME_EXCHANGE) == 0


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _acquire(path: Path, target: Path) -> int:
    while True:
        handle = _open_lock(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read_holder(handle)
            os.close(handle)
            who = f"process {holder.process} on {holder.host}" if holder else "another process"
            raise InputError(
                f"{target} is being written by {who}; wait for it to end, or choose another --out."
            ) from error
        if _is_still(path, handle):
            return handle
        os.close(handle)


def _open_lock(path: Path) -> int:
    """Open or make the lock file; a link or pipe of that name, as another user may lay, is not followed."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path} is a link where a lock file is needed; remove it.") from error
        raise unwritable(path.parent, error) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{path} is a device or pipe where a lock file is needed; remove it.")
    return handle


def _is_still(path: Path, handle: int) -> bool:
    """Whether the locked file is the one that the name leads to, not one just removed by its holder."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _read_holder(handle: int) -> _Holder | None:
    try:
        record = json.loads(os.pread(handle, 1000, 0))
        return _Holder(int(record["process"]), str(record["host"]))
    except (ValueError, KeyError, TypeError):
        return None
