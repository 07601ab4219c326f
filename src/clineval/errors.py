"""The one exception by which a room refuses what it was given."""

from collections.abc import Sequence

MOST_SHOWN = 10  # names in one refusal


class InputError(ValueError):
    """Bad or missing input: says what was needed, what came, and what to do.

    Every room may raise it; the door turns it into one line and exit code 3. Its message is
    written for the person who typed the command, so it names the file, row or option.
    """


def in_short(lines: Sequence[str]) -> str:
    """Up to ten of many lines, and how many more there are."""
    more = f"; and {len(lines) - MOST_SHOWN} more" if len(lines) > MOST_SHOWN else ""
    return "; ".join(lines[:MOST_SHOWN]) + more
