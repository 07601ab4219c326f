"""Trainings over the cores of this machine: this process trains too, while the others start."""

import os
from collections import deque
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread
from typing import Any

from clineval.learning.jobs import Fitted, Job, Material, perform
from clineval.learning.orphans import end_with

Arrived = tuple[str, Fitted] | BaseException


def train_in_processes(
    material: Material, jobs: dict[str, Job], workers: int
) -> Iterator[tuple[str, Fitted]]:
    """Each training's key and result, as they finish; the processes end with the last of them.

    A process needs seconds to import torch, which this one has done: it takes trainings itself, and
    ``workers`` - 1 others take theirs from the same list as soon as they can.

    Raises
    ------
    MemoryError : a process was ended from outside, as the system does where memory runs out.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    waiting = deque(jobs.items())
    arrived: SimpleQueue[Arrived] = SimpleQueue()
    others = min(workers, len(jobs)) - 1
    pool = ProcessPoolExecutor(others, initializer=end_with, initargs=(os.getpid(),))
    try:
        for _ in range(others):
            Thread(target=_feed, args=(pool, material, waiting, arrived), daemon=True).start()
        yield from _take_part(material, waiting, arrived, len(jobs))
    finally:
        waiting.clear()
        pool.shutdown(kill_workers=True)


def _take_part(
    material: Material, waiting: deque[tuple[str, Job]], arrived: SimpleQueue[Arrived], wanted: int
) -> Iterator[tuple[str, Fitted]]:
    """Train while there is something left to start, then wait for the others."""
    while wanted:
        own = _next(waiting) if arrived.empty() else None
        if own is not None:
            yield own[0], perform(material, own[1])
        else:
            yield _opened(arrived.get())
        wanted -= 1


def _feed(
    pool: Any, material: Material, waiting: deque[tuple[str, Job]], arrived: SimpleQueue[Arrived]
) -> None:
    """Keep one process busy until nothing waits; what goes wrong arrives like a result."""
    try:
        while (item := _next(waiting)) is not None:
            arrived.put((item[0], pool.submit(perform, material, item[1]).result()))
    except BaseException as error:
        arrived.put(error)


def _next(waiting: deque[tuple[str, Job]]) -> tuple[str, Job] | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None


def _opened(arrived: Arrived) -> tuple[str, Fitted]:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    if isinstance(arrived, TerminatedWorkerError):
        raise MemoryError(
            "a training process was ended from outside, as the system does where memory runs out"
        ) from arrived
    if isinstance(arrived, BaseException):
        raise arrived
    return arrived
