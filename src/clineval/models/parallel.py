"""Many trainings at once: workers of one thread each, which end with their parent."""

import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from clineval.errors import InputError
from clineval.models.arrays import read_arrays, write_arrays
from clineval.models.jobs import Fitted, Job, Material, key_of, perform
from clineval.progress import Progress

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


def run_jobs(
    material: Material,
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
    cluster: str | None = None,
    finished: Path | None = None,
    progress: Progress | None = None,
) -> list[Fitted]:
    """Do every training that is not filed under its key yet; the results in the order of ``jobs``.

    The results do not depend on ``workers``, on ``cluster`` or on which trainings were filed before.

    Parameters
    ----------
    workers : trainings at once, this process among them; all cores by default.
    cluster : address of a Dask scheduler, ``tcp://HOST:8786``, instead of local processes.
    finished : folder in which finished trainings are kept and looked for.
    progress : called with (done, total) whenever a training is done.
    """
    results = dict(
        as_finished(material, jobs, workers=workers, cluster=cluster, finished=finished, progress=progress)
    )
    return [results[number] for number in range(len(jobs))]


def as_finished(
    material: Material,
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
    cluster: str | None = None,
    finished: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Fitted]]:
    """The same, but each result with its place in ``jobs`` as soon as it is there, in no fixed order."""
    workers = checked_workers(workers)
    report = progress or (lambda done, total: None)
    places: dict[str, list[int]] = {}
    for number, job in enumerate(jobs):
        places.setdefault(key_of(material, job), []).append(number)
    filed = {key: _path(finished, key) for key in places} if finished is not None else {}
    done = 0
    report(done, len(jobs))
    missing = {key: jobs[numbers[0]] for key, numbers in places.items()}
    for key, fitted in chain(
        _filed(filed, missing),
        _filing(finished, _trained(material, missing, workers=workers, cluster=cluster)),
    ):
        yield from ((number, fitted) for number in places[key])
        done += len(places[key])
        report(done, len(jobs))


def checked_workers(workers: int | None) -> int:
    """How many processes to use: as asked, or one per core that this process may run on.

    Raises
    ------
    InputError : fewer than one was asked for.
    """
    if workers is None:
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if workers < 1:
        raise InputError(f"At least 1 training at once is needed; came --jobs {workers}.")
    return workers


def _trained(
    material: Material, missing: dict[str, Job], *, workers: int, cluster: str | None
) -> Iterator[tuple[str, Fitted]]:
    if cluster is not None:
        from clineval.models.cluster import train_on_cluster

        yield from train_on_cluster(material, missing, address=cluster)
    elif workers == 1 or len(missing) < 2:
        yield from ((key, perform(material, job)) for key, job in missing.items())
    else:
        yield from train_in_processes(material, missing, workers)


def _path(finished: Path, key: str) -> Path:
    return finished / f"{key}.safetensors"


def _filing(finished: Path | None, trained: Iterator[tuple[str, Fitted]]) -> Iterator[tuple[str, Fitted]]:
    """Pass each training on when it is safely filed."""
    for key, fitted in trained:
        if finished is not None:
            _write(_path(finished, key), fitted)
        yield key, fitted


def _filed(paths: dict[str, Path], missing: dict[str, Job]) -> Iterator[tuple[str, Fitted]]:
    """Trainings filed earlier, taken out of ``missing``; one whose file is damaged stays in it."""
    for key, path in paths.items():
        fitted = _read(path) if path.is_file() else None
        if fitted is not None:
            del missing[key]
            yield key, fitted


def _write(path: Path, fitted: Fitted) -> None:
    results = {"result/risk": fitted.risk, "result/out_of_fold": fitted.out_of_fold}
    weights = {f"weights/{name}": array for name, array in fitted.arrays.items()}
    # the record as a text of its own keeps its order, which the models' files show
    record = {"record": json.dumps(fitted.record), "seconds": fitted.seconds}
    write_arrays(path, {**weights, **results}, record)


def _read(path: Path) -> Fitted | None:
    try:
        arrays, record = read_arrays(path)
        prefix = "weights/"
        weights = {
            name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)
        }
        learnt, risks = json.loads(record["record"]), (arrays["result/risk"], arrays["result/out_of_fold"])
        return Fitted(weights, learnt, *risks, record["seconds"])
    except (InputError, KeyError, TypeError, ValueError):
        return None


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
