"""How a command ends: whatever was raised becomes one line on stderr and an exit code."""

import errno
import traceback
from collections.abc import Callable
from typing import Any

import typer

from clineval.cli.console import complain
from clineval.errors import InputError

DONE, UNEXPECTED, USAGE, REFUSED, FOUND, INTERRUPTED = 0, 1, 2, 3, 4, 130
WRITE_FAULTS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENAMETOOLONG: "a name is too long for the file system",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission was denied",
    errno.EFBIG: "a file grew beyond the limit set for this process",
    errno.EPERM: "the operation is not permitted",
}

# typer carries a copy of click whose usage error it does not name; its public child leads to it
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def exit_code(command: Callable[[], Any]) -> int:
    """Run one command; every way in which it can end becomes one line and an exit code."""
    try:
        code = command()
        return _interrupted() if code == INTERRUPTED else int(code or DONE)
    except typer.Exit as ending:
        return ending.exit_code
    except _UsageError as error:
        return _wrong_usage(error)
    except InputError as error:
        return _ended(str(error), code=REFUSED)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except OSError as error:
        return _write_fault(error)
    except MemoryError as error:
        what = f" ({error})" if str(error) else ""
        return _ended(f"out of memory{what}; use fewer --jobs or a smaller --size", code=UNEXPECTED)
    except Exception:
        return _unexpected()


def _interrupted() -> int:
    return _ended("interrupted; nothing half-written was left", code=INTERRUPTED)


def _ended(line: str, *, code: int) -> int:
    complain(line)
    return code


def _wrong_usage(error: Any) -> int:
    """A missing value or one of the wrong type is refused like any other; an unknown word is wrong usage."""
    where = error.ctx.command_path if error.ctx else "clineval"
    known = isinstance(error, typer.BadParameter) or type(error).__name__ == "BadOptionUsage"
    code = REFUSED if known else USAGE
    return _ended(f"{error.format_message()} See: {where} --help", code=code)


def _write_fault(error: OSError) -> int:
    if error.errno not in WRITE_FAULTS:
        return _unexpected()
    where = f" at {error.filename}" if error.filename else ""
    return _ended(
        f"could not write: {WRITE_FAULTS[error.errno]}{where}; free some room or choose another --out",
        code=REFUSED,
    )


def _unexpected() -> int:
    traceback.print_exc()
    return _ended("unexpected fault, a defect of clineval; please report the lines above", code=UNEXPECTED)
