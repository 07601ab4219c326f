"""A results folder is replaced whole or not at all: its lock, its staging folder, the swap, the recovery."""

import contextlib
import ctypes
import errno
import glob
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from clineval.errors import InputError, in_short, option
from clineval.files import LEDGER, PROVENANCE, read_regular, sync

DATA = ".npz"  # ending of a data set's file
PUBLISHED = "published"  # field of a provenance: a record that no command replaces unless forced
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers leave, never worth keeping
STAGED = ".clineval-new"  # finished results inside a folder that cannot be renamed
NAMES = ".names"  # in STAGED: every name that the folder will hold
SIGN = ".clineval"  # in a staging folder: the program made it
WITHOUT_EVALUATION = {
    "audit": "scores no model",
    "explore": "scores no model",
    "train": "scores no test case",
    "study": "cross-validates models",
    "readers": "compares readers",
}
"""Commands whose folders hold no evaluation, and what they do instead."""

_HERE = -100  # AT_FDCWD of the C library: paths start at the working folder
_RENAME_EXCHANGE = 2  # of renameat2 in linux/fs.h
_NOT_TO_BE_RENAMED = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)


def require_apart(out: Path, *read: Path | None) -> None:
    """Refuse an output folder that holds what the command reads: replacing it would delete that."""
    target = Path(os.path.realpath(out))  # unlike ``resolve`` it takes links that lead to themselves
    for path in read:
        if path is not None and Path(os.path.realpath(path)).is_relative_to(target):
            raise InputError(
                f"{option('--out')} {out} holds {path.name or path}, which the command reads and would "
                "delete; choose another folder."
            )


@contextlib.contextmanager
def replace_folder(target: Path, *, kind: str, force: bool = False, carries: bool = False) -> Iterator[Path]:
    """Hand out an empty folder beside ``target`` and put it in its place when the block ends well.

    Where the block raises, or the process is killed, ``target`` stays as it was. A ledger in the
    old folder is copied into the new one first, for it must outlive every run. A folder that cannot be
    renamed (a mount point, a folder of a container's lower layer, one whose parent is not writable) is
    filled in place instead; the next command finishes that where a kill interrupted it.

    Parameters
    ----------
    kind : the command whose results these are; a folder of another kind is not replaced.
    force : replace a folder that is of another kind, published, not the program's own, or holds files
        that the program did not write.
    carries : the block copies every file of the old folder, whoever wrote it.

    Raises
    ------
    InputError : ``target`` is a file, not the program's own, locked by another run, or cannot be written.
    """
    target = Path(os.path.abspath(target))
    with hold_folder(target):
        _repair(target)
        _check_replaceable(target, kind=kind, force=force, carries=carries)
        staging = _make_staging(target)
        fresh = staging / "new"
        try:
            fresh.mkdir()
            fresh.chmod(0o755)
            if (target / LEDGER).is_file():
                shutil.copy2(target / LEDGER, fresh / LEDGER)
            yield fresh
            _sync_tree(fresh)
            _swap(fresh, target)
            _remove(staging)
        except BaseException:
            _repair(target)
            raise


@contextlib.contextmanager
def hold_folder(target: Path) -> Iterator[None]:
    """Keep every other process from writing ``target`` while the block runs; its parents are made.

    The system drops the lock with the process, so a dead run leaves none behind.

    Raises
    ------
    InputError : another process holds it (it is named), or the place cannot be written.
    """
    target = Path(os.path.abspath(target))
    if not target.name:
        raise InputError(f"{target} is a whole disk, not a results folder; choose another {option('--out')}.")
    _make_parents(target)
    path = _lock_file(target)
    lock = _acquire(path, target)
    try:
        with contextlib.suppress(OSError):  # it only serves the message of a process that finds the lock
            path.write_text(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: whoever opened it meanwhile sees that it is gone
        lock.release()


def recover(target: Path) -> None:
    """Undo or finish what a killed run left: restore an old folder that has no successor, drop leftovers.

    Where a living run is at work on the folder, it is left to that run.
    """
    target = Path(os.path.abspath(target))
    if target.name and _is_left_over(target):
        with contextlib.suppress(InputError), hold_folder(target):
            _repair(target)


def watch(folder: Path) -> Callable[[], None]:
    """A function that refuses if ``folder`` was replaced since: what was read may then be of two runs.

    Raises
    ------
    InputError : by the function, where another run replaced the folder in the meantime.
    """
    before = _identity(folder)

    def unchanged() -> None:
        if _identity(folder) != before:
            raise InputError(f"{folder} was replaced by another run while it was read; repeat the command.")

    return unchanged


def _identity(folder: Path) -> tuple[int, ...]:
    """What changes when a folder, or the provenance in it, is replaced."""
    try:
        whole, record = folder.stat(), (folder / PROVENANCE).stat()
    except OSError:
        return ()
    return (whole.st_dev, whole.st_ino, record.st_ino, record.st_mtime_ns)


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
        record = json.loads(read_regular(folder / PROVENANCE))
    except (OSError, ValueError, RecursionError):  # an InputError is a ValueError
        return {}
    return record if isinstance(record, dict) else {}


def foreign_entries(folder: Path) -> list[str]:
    """Names below a folder that are neither plain files nor folders: links, pipes, devices."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not (path.is_file() or path.is_dir())
    ]


def unknown_files(folder: Path) -> list[str]:
    """Names below a results folder, links and pipes included, that its provenance does not list."""
    listed = _provenance(folder).get("artefacts")
    known = {*(listed if isinstance(listed, dict) else ()), PROVENANCE, LEDGER, _lock_file(folder).name}
    found = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir())
    names = (path.relative_to(folder).as_posix() for path in found if path.name not in LITTER)
    return [name for name in names if name not in known]


def require_results(folder: Path, *needed: str) -> Path:
    """The folder itself, recovered after a kill; an InputError where it or a file in it is missing."""
    recover(folder)
    if not folder.is_dir():
        raise InputError(f"A results folder is needed; {folder} is not a folder. Make one with: clineval run")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        _refuse_other_kind(folder, missing)
        raise InputError(
            f"{folder} is an incomplete results folder: it lacks {', '.join(missing)}. "
            "Name a folder written by clineval, or write it again with: clineval run"
        )
    return folder


def _refuse_other_kind(folder: Path, missing: Sequence[str]) -> None:
    """Say whose folder it is where the command that wrote it writes none of the missing files."""
    record = _provenance(folder)
    kind, listed = record.get("kind"), record.get("artefacts")
    if kind in WITHOUT_EVALUATION and isinstance(listed, dict) and not listed.keys() & set(missing):
        raise InputError(
            f"{folder} was written by clineval {kind}, which {WITHOUT_EVALUATION[kind]} and writes no "
            f"{in_short(missing)}. Name a folder of clineval run, evaluate or validate, or make one with: "
            "clineval run"
        )


def unwritable(folder: Path, error: OSError) -> InputError:
    """The refusal that says why nothing can be written into a folder."""
    reason = {
        errno.EACCES: "it is not writable for this user",
        errno.EROFS: "it is on a read-only file system",
        errno.ENOSPC: "the disk is full",
        errno.ENOENT: "no file can be made there",
    }.get(error.errno or 0, error.strerror or str(error))
    return InputError(f"Cannot write into {folder}: {reason}. Choose another {option('--out')}.")


def require_writable(folder: Path) -> None:
    """Refuse a folder into which no file can be written, before any work is done for it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error


def move_whole(source: Path, folder: Path) -> None:
    """Move a finished file of the same disk into a folder, over one of its name, in one step."""
    sync(source)
    os.replace(source, folder / source.name)
    sync(folder)


@dataclass(frozen=True)
class _Holder:
    """Who holds a lock, as the lock file says."""

    process: int
    host: str


def _in_place(target: Path) -> bool:
    """Whether the folder is filled where it is: a mount point, or one beside which nothing can be made."""
    return target.is_dir() and (os.path.ismount(target) or not os.access(target.parent, os.W_OK))


def _place(target: Path) -> Path:
    """The folder in which lock and staging folder of ``target`` are made."""
    return target if _in_place(target) else target.parent


def _lock_file(target: Path) -> Path:
    return _place(target) / f".{target.name}.lock"


def _staging_folders(target: Path) -> Iterator[Path]:
    """Folders in which a run of this program was making new results for ``target``."""
    for place in dict.fromkeys((target.parent, target)):
        for path in place.glob(f"{glob.escape(_prefix(target))}*"):
            if path.is_dir() and not path.is_symlink() and _is_staging(path, target):
                yield path


def _is_staging(path: Path, target: Path) -> bool:
    """Whether the program made it, by its sign; or it is empty, as a kill before the sign leaves it."""
    try:
        return not any(path.iterdir()) or json.loads(read_regular(path / SIGN)) == _sign(target)
    except (OSError, ValueError, RecursionError):
        return False


def _sign(target: Path) -> dict[str, str]:
    return {"made by": "clineval", "for": target.name}


def _prefix(target: Path) -> str:
    return f".{target.name}.tmp-"


def _make_staging(target: Path) -> Path:
    place = _place(target)
    try:
        staging = Path(tempfile.mkdtemp(dir=place, prefix=_prefix(target)))
    except OSError as error:
        raise unwritable(place, error) from error
    try:
        (staging / SIGN).write_text(json.dumps(_sign(target)))
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)  # without its sign nobody would know it for ours
        raise unwritable(place, error) from error
    return staging


def _remove(staging: Path) -> None:
    """Remove a staging folder, its sign last, so that a kill halfway leaves one that is still known."""
    for path in staging.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != SIGN:
            path.unlink(missing_ok=True)
    shutil.rmtree(staging, ignore_errors=True)


def _is_left_over(target: Path) -> bool:
    """Whether a run is at work on the folder, or was killed at it."""
    lock_inside = _place(target) == target and _lock_file(target).exists()
    return lock_inside or any(_staging_folders(target)) or (target / STAGED).is_dir()


def _repair(target: Path) -> None:
    """What :func:`recover` does, for the one who holds the lock."""
    for staging in list(_staging_folders(target)):
        if (staging / "old").is_dir() and not target.exists():
            os.rename(staging / "old", target)
        _remove(staging)
    if (target / STAGED).is_dir():
        _finish(target)


def _make_parents(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"The output folder {target} lies below a file; choose another {option('--out')}."
        ) from error
    except OSError as error:
        raise unwritable(target.parent, error) from error


def _check_replaceable(target: Path, *, kind: str, force: bool, carries: bool) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"The output folder {target} is a file or a link; choose another {option('--out')}.")
    if _holds_the_user(target):
        raise InputError(
            f"{target} holds the working or home folder and is never replaced; choose another "
            f"{option('--out')}."
        )
    if not target.exists() or {path.name for path in target.iterdir()} <= {_lock_file(target).name}:
        return
    data = next((path.name for path in sorted(target.iterdir()) if path.suffix == DATA), None)
    if data:  # no command writes one: it is a data set that somebody downloaded
        raise InputError(
            f"{target} holds the data set {data} and is never replaced; choose another {option('--out')}."
        )
    if force:
        return
    found = folder_kind(target)
    if found is None:
        raise InputError(
            f"{target} is not empty and was not written by clineval; nothing was touched. "
            f"Choose another {option('--out')}, or replace the folder with {option('--force', 'force=True')}."
        )
    if is_published(target):
        raise InputError(
            f"{target} is a published record and stays as it is: choose another folder, for example "
            f"{option('--out my-results', 'out=my-results')}, or replace the record with "
            f"{option('--force', 'force=True')}."
        )
    if found != kind:
        raise InputError(
            f"{target} holds the results of 'clineval {found}'; 'clineval {kind}' would replace them. "
            f"Choose another {option('--out')}, or replace them with {option('--force', 'force=True')}."
        )
    unknown = [] if carries else unknown_files(target)
    if unknown:
        raise InputError(
            f"{target} holds files that clineval did not write and would delete: {in_short(unknown)}. Move "
            f"them, choose another {option('--out')}, or have them deleted with "
            f"{option('--force', 'force=True')}."
        )


def _holds_the_user(target: Path) -> bool:
    here, real = Path.cwd().resolve(), target.resolve()
    return real in (here, *here.parents) or real in (Path.home().resolve(), *Path.home().resolve().parents)


def _swap(fresh: Path, target: Path) -> None:
    """Put the fresh folder in the place of the old, in one step where the system can exchange two names."""
    if not target.exists():
        os.rename(fresh, target)
    elif _in_place(target):
        _fill(fresh, target)
    elif not _exchange(fresh, target):
        try:
            os.rename(target, fresh.with_name("old"))
        except OSError as error:
            if error.errno not in _NOT_TO_BE_RENAMED:
                raise
            _fill(fresh, target)
            return
        os.rename(fresh, target)
    sync(target.parent)


def _fill(fresh: Path, target: Path) -> None:
    """Bring finished results into a folder that cannot be renamed: staged whole first, then moved up."""
    (fresh / NAMES).write_text(json.dumps([path.name for path in fresh.iterdir()]))
    try:
        os.rename(fresh, target / STAGED)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        inside = Path(tempfile.mkdtemp(dir=target, prefix=_prefix(target)))
        (inside / SIGN).write_text(json.dumps(_sign(target)))
        shutil.copytree(fresh, inside / "new")
        _sync_tree(inside / "new")
        os.rename(inside / "new", target / STAGED)
        _remove(inside)
    sync(target)
    _finish(target)


def _finish(target: Path) -> None:
    """Move staged results up and remove what is not theirs; may be repeated after a kill at any moment."""
    staged = target / STAGED
    if (staged / NAMES).is_file():
        kept = {*json.loads(read_regular(staged / NAMES)), STAGED, _lock_file(target).name}
        for path in list(target.iterdir()):
            if path.name not in kept and not _is_staging(path, target):
                _delete(path)
        for path in list(staged.iterdir()):
            if path.name != NAMES:
                _delete(target / path.name, folder_only=True)
                os.replace(path, target / path.name)
        sync(target)
        (staged / NAMES).unlink()
    shutil.rmtree(staged, ignore_errors=True)
    sync(target)


def _delete(path: Path, *, folder_only: bool = False) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif not folder_only:
        path.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step that no kill can part; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _RENAME_EXCHANGE) == 0


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)


def _acquire(path: Path, target: Path) -> FileLock:
    _refuse_odd_lock(path)
    lock = FileLock(path, timeout=0, mode=0o644, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        holder = _read_holder(path)
        who = f"process {holder.process} on {holder.host}" if holder else "another process"
        raise InputError(
            f"{target} is being written by {who}; wait for it to end, or choose another {option('--out')}."
        ) from error
    except OSError as error:
        raise unwritable(path.parent, error) from error
    return lock


def _refuse_odd_lock(path: Path) -> None:
    """Refuse a link or pipe of the lock's name, which another user may have put there."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if stat.S_ISLNK(mode):
        raise InputError(f"{path} is a link where a lock file is needed; remove it.")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is a device or pipe where a lock file is needed; remove it.")


def _read_holder(path: Path) -> _Holder | None:
    try:
        record = json.loads(read_regular(path))
        return _Holder(int(record["process"]), str(record["host"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
