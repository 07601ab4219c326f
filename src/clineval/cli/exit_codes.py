"""How a command ends: whatever was raised becomes one line on standard error and an exit code."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from clineval.cli.console import complain
from clineval.errors import EXTRAS, InputError, how_to_install

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
SHORT_OF_MEMORY = ("cannot allocate memory", "can't start new thread", "failed to map segment")
"""How libraries say it that do not raise a MemoryError."""


def interrupt_on_signals() -> None:
    """Let a request to end (TERM) and a terminal that closes (HUP) end the program as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup has HUP ignored, and it stays so
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def exit_code(command: Callable[[], Any]) -> int:
    """Run one command; every way in which it can end becomes one line and an exit code."""
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()
        return _interrupted() if code == INTERRUPTED else int(code or DONE)
    except typer.Exit as ending:
        return ending.exit_code
    except InputError as error:
        return _ended(str(error), code=REFUSED)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        return _output_closed()
    except SystemExit as ending:  # with 1, how rich and typer end when a pipe is closed
        return _output_closed() if ending.code else DONE
    except OSError as error:
        return _short_of_memory(error) if _is_about_memory(error) else _write_fault(error)
    except MemoryError as error:
        return _short_of_memory(error)
    except ModuleNotFoundError as error:
        return _missing_extra(error)
    except Exception as error:
        if hasattr(error, "format_message"):  # what the command line's parser raises
            return _wrong_usage(error)
        return _short_of_memory(error) if _is_about_memory(error) else _unexpected()


def _interrupted() -> int:
    return _ended("interrupted; nothing half-written was left", code=INTERRUPTED)


def _ended(line: str, *, code: int) -> int:
    complain(line)
    return code


def _wrong_usage(error: Any) -> int:
    """A missing value or one of the wrong type is refused like any other; an unknown word is wrong usage."""
    context = getattr(error, "ctx", None)
    where = context.command_path if context else "clineval"
    without_value = hasattr(error, "option_name") and not hasattr(error, "possibilities")
    code = REFUSED if isinstance(error, typer.BadParameter) or without_value else USAGE
    return _ended(f"{error.format_message()} See: {where} --help", code=code)


def _output_closed() -> int:
    """Whoever read the output has closed it, as ``head`` does; the rest is not written anywhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
    return _ended("standard output was closed before everything was written to it", code=REFUSED)


def _missing_extra(error: ModuleNotFoundError) -> int:
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return _unexpected()
    return _ended(f"this needs {package}: {how_to_install(EXTRAS[package])}", code=REFUSED)


def _is_about_memory(error: BaseException) -> bool:
    words = str(error).lower()
    return getattr(error, "errno", None) == errno.ENOMEM or any(each in words for each in SHORT_OF_MEMORY)


def _short_of_memory(error: BaseException) -> int:
    what = f" ({error})" if str(error) else ""
    return _ended(f"out of memory{what}; use fewer --jobs or a smaller --size", code=UNEXPECTED)


def _write_fault(error: OSError) -> int:
    if _from_semaphores(error):
        return _ended(
            "trainings in several processes need a /dev/shm that can be written; make it so, or use --jobs 1",
            code=REFUSED,
        )
    if error.errno not in WRITE_FAULTS:
        return _unexpected()
    where = f" at {error.filename}" if error.filename else ""
    return _ended(
        f"could not write: {WRITE_FAULTS[error.errno]}{where}; free some room or choose another --out",
        code=REFUSED,
    )


def _from_semaphores(error: OSError) -> bool:
    """Whether the system refused a semaphore, which lies in shared memory."""
    frames = traceback.extract_tb(error.__traceback__)
    return not error.filename and bool(frames) and "synchronize" in os.path.basename(frames[-1].filename)


def _unexpected() -> int:
    traceback.print_exc()
    return _ended("unexpected fault, a defect of clineval; please report the lines above", code=UNEXPECTED)
