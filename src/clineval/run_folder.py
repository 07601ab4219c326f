"""A results folder is replaced whole or not at all: its lock, its temporary twin, the swap, the recovery."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clineval.refusal import Refusal

MARKER = "provenance.json"
LEDGER = "ledger.jsonl"
BEING_REPLACED = ".being-replaced"


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
    Refusal : ``target`` is a file, a stranger's folder, locked by another run, or cannot be written.
    """
    target = Path(os.path.abspath(target))
    if not target.name:
        raise Refusal(f"{target} is a whole disk, not a results folder; choose another --out.")
    _make_parents(target)
    with _lock(target):
        recover(target)
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
            raise


def recover(target: Path) -> None:
    """Undo what a killed run left: put an old folder back where no new one came, drop leftovers."""
    target = Path(os.path.abspath(target))
    if not target.name:
        return
    old = _old(target)
    if (old / BEING_REPLACED).exists():
        if target.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, target)
    with contextlib.suppress(OSError):
        (target / BEING_REPLACED).unlink(missing_ok=True)


def folder_kind(folder: Path) -> str | None:
    """The command that wrote ``folder``, by its provenance; None where the program did not write it."""
    try:
        record = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kind = record.get("kind") if isinstance(record, dict) else None
    return kind if isinstance(kind, str) else None


def foreign_entries(folder: Path) -> list[str]:
    """Names below a folder that are neither plain files nor folders: links, pipes, devices."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not (path.is_file() or path.is_dir())
    ]


def require_results(folder: Path, *needed: str) -> Path:
    """The folder itself, put right after a kill; a Refusal where it or a file in it is missing."""
    recover(folder)
    if not folder.is_dir():
        raise Refusal(f"A results folder is needed; {folder} is not a folder. Make one with: clineval run")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise Refusal(
            f"{folder} is not a whole results folder: it lacks {', '.join(missing)}. "
            "Name a folder written by clineval, or write it anew with: clineval run"
        )
    return folder


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
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class _Holder:
    """Who holds a lock, as the lock file says."""

    process: int
    host: str


def _old(target: Path) -> Path:
    return target.with_name(target.name + ".old")


def _make_parents(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Refusal(f"The output folder {target} lies below a file; choose another --out.") from error
    except OSError as error:
        raise _unwritable(target.parent, error) from error


def _make_temporary(target: Path) -> Path:
    prefix = f".{target.name}.tmp-"
    for leftover in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=prefix))
    except OSError as error:
        raise _unwritable(target.parent, error) from error
    fresh.chmod(0o755)
    return fresh


def _unwritable(folder: Path, error: OSError) -> Refusal:
    reason = {
        errno.EACCES: "it is not writable for this user",
        errno.EROFS: "it is on a read-only file system",
        errno.ENOSPC: "the disk is full",
    }.get(error.errno or 0, error.strerror or str(error))
    return Refusal(f"Cannot write into {folder}: {reason}. Choose another folder with --out.")


def _check_replaceable(target: Path, *, kind: str, force: bool) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise Refusal(f"The output folder {target} is a file or a link; choose another --out.")
    if _holds_the_user(target):
        raise Refusal(
            f"{target} holds the working or home folder and is never replaced; choose another --out."
        )
    if _old(target).exists():
        raise Refusal(
            f"{_old(target)} is in the way of replacing {target.name}; move it, or choose another --out."
        )
    if force or not target.exists() or not any(target.iterdir()):
        return
    found = folder_kind(target)
    if found is None:
        raise Refusal(
            f"{target} is not empty and was not written by clineval; nothing was touched. "
            "Choose another --out, or replace the folder with --force."
        )
    if found != kind:
        raise Refusal(
            f"{target} holds the results of 'clineval {found}'; 'clineval {kind}' would replace them. "
            "Choose another --out, or replace them with --force."
        )


def _holds_the_user(target: Path) -> bool:
    here, real = Path.cwd().resolve(), target.resolve()
    return real in (here, *here.parents) or real in (Path.home().resolve(), *Path.home().resolve().parents)


def _swap(fresh: Path, target: Path) -> None:
    if target.exists():
        (target / BEING_REPLACED).touch()
        os.rename(target, _old(target))
    os.rename(fresh, target)
    _sync(target.parent)
    shutil.rmtree(_old(target), ignore_errors=True)


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


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Hold the folder's lock; the system drops it with the process, so a dead run leaves none behind."""
    path = target.with_name(f".{target.name}.lock")
    handle = _acquire(path, target)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path, target: Path) -> int:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _unwritable(path.parent, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read_holder(handle)
            os.close(handle)
            who = f"process {holder.process} on {holder.host}" if holder else "another process"
            raise Refusal(
                f"{target} is being written by {who}; wait for it to end, or choose another --out."
            ) from error
        if _is_still(path, handle):
            return handle
        os.close(handle)


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
