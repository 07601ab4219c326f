"""Many trainings at once: processes of one thread each, which end with their parent."""

import contextlib
import json
import os
import time
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from pathlib import Path
from threading import Thread

import joblib

from clineval.errors import InputError, Progress
from clineval.models.jobs import Fitted, Job, Material, key_of, perform
from clineval.models.stored import Stored, read_arrays, write_arrays

WATCH_SECONDS = 0.25  # between two checks of a process whether its parent still lives
IDLE_SECONDS = 5  # after which a process without work ends
Task = tuple[Material, Job]
Keyed = tuple[str, Fitted]


def run_jobs(
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    cluster: str | None = None,
    finished: Path | None = None,
    progress: Progress | None = None,
) -> list[Fitted]:
    """Do every training that is not filed under its key yet; the results in the order of ``tasks``.

    The results do not depend on ``workers``, on ``cluster`` or on which trainings were filed before.

    Parameters
    ----------
    workers : trainings at once; all cores by default.
    cluster : address of a Dask scheduler, ``tcp://HOST:8786``, instead of local processes.
    finished : folder in which finished trainings are kept and looked for.
    progress : called with (done, total) whenever a training is done.
    """
    results = dict(as_finished(tasks, workers=workers, cluster=cluster, finished=finished, progress=progress))
    return [results[number] for number in range(len(tasks))]


def as_finished(
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    cluster: str | None = None,
    finished: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Fitted]]:
    """The same, but each result with its place in ``tasks`` as soon as it is there, in no fixed order."""
    workers = checked_workers(workers)
    report = progress or (lambda done, total: None)
    places: dict[str, list[int]] = {}
    for number, task in enumerate(tasks):
        places.setdefault(key_of(*task), []).append(number)
    missing = {key: tasks[numbers[0]] for key, numbers in places.items()}
    filed = {} if finished is None else {key: _path(finished, key) for key in missing if _sent(missing[key])}
    done = 0
    report(done, len(tasks))
    earlier = _filed(filed, missing)
    with contextlib.closing(_filing(finished, missing, workers=workers, cluster=cluster)) as fresh:
        for key, fitted in chain(earlier, fresh):
            yield from ((number, fitted) for number in places[key])
            done += len(places[key])
            report(done, len(tasks))


def checked_workers(workers: int | None) -> int:
    """How many processes to use: as asked, or one per core that this process may run on.

    Raises
    ------
    InputError : fewer than one was asked for.
    """
    if workers is None:
        return joblib.cpu_count()
    if workers < 1:
        raise InputError(f"Expected at least 1 training at once; got --jobs {workers}.")
    return workers


def train_in_processes(tasks: Mapping[str, Task], workers: int) -> Iterator[Keyed]:
    """Each training's key and result, as they finish. Idle processes end after some seconds.

    Raises
    ------
    MemoryError : a process was ended from outside, as the system does where memory runs out.
    """
    parallel = joblib.Parallel(
        min(workers, len(tasks)),
        backend="loky",
        return_as="generator_unordered",
        batch_size=1,
        max_nbytes=None,  # arrays travel with their training, not through shared memory that may be full
        idle_worker_timeout=IDLE_SECONDS,
    )
    parent = os.getpid()
    calls = (joblib.delayed(_perform)(parent, key, *task) for key, task in tasks.items())
    try:
        with warnings.catch_warnings(), contextlib.closing(parallel(calls)) as arriving:
            # of a process that was idle and ends just now: another takes its place
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
            yield from arriving
    except BrokenProcessPool as error:
        raise MemoryError(
            "a training process was ended from outside, as the system does where memory runs out"
        ) from error


def end_with(parent: int) -> None:
    """End this process, from a thread of its own, as soon as ``parent`` is no longer its parent.

    A program that is killed has no chance to end its workers.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


_WATCHED: list[int] = []  # the parent whose end this process watches for, once it does


def _perform(parent: int, key: str, material: Material, job: Job) -> Keyed:
    """One training in a process of its own."""
    if not _WATCHED:
        _WATCHED.append(parent)
        end_with(parent)
    return key, perform(material, job)


def _sent(task: Task) -> bool:
    """Whether a training may go to another process and be filed: no object of this process is in it."""
    return task[1].call is None


def _trained(every: dict[str, Task], *, workers: int, cluster: str | None) -> Generator[Keyed]:
    yield from ((key, perform(*task)) for key, task in every.items() if not _sent(task))
    missing = {key: task for key, task in every.items() if _sent(task)}
    if not missing:
        return
    if cluster is not None:
        from clineval.models.cluster import train_on_cluster

        yield from train_on_cluster(missing, address=cluster)
    elif workers == 1 or len(missing) < 2:
        yield from ((key, perform(*task)) for key, task in missing.items())
    else:
        yield from train_in_processes(missing, workers)


def _path(finished: Path, key: str) -> Path:
    return finished / f"{key}.safetensors"


def _filing(
    finished: Path | None, missing: dict[str, Task], *, workers: int, cluster: str | None
) -> Generator[Keyed]:
    """Do the missing trainings; pass each on when it is safely filed."""
    with contextlib.closing(_trained(missing, workers=workers, cluster=cluster)) as trained:
        for key, fitted in trained:
            if finished is not None and _sent(missing[key]):
                _write(_path(finished, key), fitted)
            yield key, fitted


def _filed(paths: dict[str, Path], missing: dict[str, Task]) -> Iterator[Keyed]:
    """Trainings filed earlier, taken out of ``missing``; one whose file is damaged stays in it."""
    for key, path in paths.items():
        fitted = _read(path) if path.is_file() else None
        if fitted is not None:
            del missing[key]
            yield key, fitted


def _write(path: Path, fitted: Fitted) -> None:
    results = {"result/risk": fitted.risk, "result/out_of_fold": fitted.out_of_fold}
    weights = {f"weights/{name}": array for name, array in fitted.stored.arrays.items()}
    # the record as a text of its own keeps its order, which the models' files show
    record = {"record": json.dumps(fitted.stored.record), "seconds": fitted.seconds}
    write_arrays(path, {**weights, **results}, record)


def _read(path: Path) -> Fitted | None:
    try:
        arrays, record = read_arrays(path)
        prefix = "weights/"
        weights = {
            name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)
        }
        learnt, risks = json.loads(record["record"]), (arrays["result/risk"], arrays["result/out_of_fold"])
        return Fitted(Stored(learnt, weights), *risks, record["seconds"])
    except (InputError, KeyError, TypeError, ValueError):
        return None
