"""No worker outlives its program; importable in an instant, before the libraries that take seconds."""

import os
import time
from threading import Thread

LOOK_SECONDS = 0.25  # between two looks of a worker at whether its program still lives


def end_with(parent: int) -> None:
    """End this process, from a thread of its own, as soon as ``parent`` is no longer its parent.

    A program that is killed has no chance to end its workers.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
