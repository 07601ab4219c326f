"""How long-running work tells its caller what it does and how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with what is done and how much there is in all."""

Announce = Callable[[str], Progress]
"""Called with a step's name as it begins; returns the step's progress."""


def silent(_step: str) -> Progress:
    """An ``Announce`` that shows nothing, for callers without a screen."""
    return lambda done, total: None
