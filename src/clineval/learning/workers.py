"""Many trainings at once: over local processes or a cluster, each finished one kept as a file."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clineval.learning.jobs import Fitted, Job, Material, key_of, perform
from clineval.learning.storage import read_arrays, write_arrays
from clineval.refusal import Refusal

Progress = Callable[[int, int], None]


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
    workers : processes at once; all cores by default, 1 trains in this very process.
    cluster : address of a Dask scheduler, ``tcp://HOST:8786``, instead of local processes.
    finished : folder in which finished trainings are kept and looked for.
    progress : called with (done, total) whenever a training is done.
    """
    workers = checked_workers(workers)
    keys = [key_of(material, job) for job in jobs]
    results = {key: fitted for key in keys if (fitted := _filed(finished, key)) is not None}
    missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in results}
    report = progress or (lambda done, total: None)
    report(len(jobs) - len(missing), len(jobs))
    for key, fitted in _trained(material, missing, workers=workers, cluster=cluster):
        _file(finished, key, fitted)
        results[key] = fitted
        report(len(jobs) - len(missing) + sum(name in results for name in missing), len(jobs))
    return [results[key] for key in keys]


def checked_workers(workers: int | None) -> int:
    """How many processes to use: as asked, or one per core that this process may run on.

    Raises
    ------
    Refusal : fewer than one was asked for.
    """
    if workers is None:
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if workers < 1:
        raise Refusal(f"At least 1 training at once is needed; came --jobs {workers}.")
    return workers


def _trained(
    material: Material, missing: dict[str, Job], *, workers: int, cluster: str | None
) -> Iterator[tuple[str, Fitted]]:
    if cluster is not None:
        from clineval.learning.cluster import train_on_cluster

        yield from train_on_cluster(material, missing, address=cluster)
    elif workers == 1 or len(missing) < 2:
        yield from ((key, perform(material, job)) for key, job in missing.items())
    else:
        yield from _in_processes(material, missing, workers)


def _in_processes(material: Material, missing: dict[str, Job], workers: int) -> Iterator[tuple[str, Fitted]]:
    from joblib import Parallel, delayed

    pool = Parallel(
        n_jobs=min(workers, len(missing)),
        batch_size=1,
        return_as="generator_unordered",
        mmap_mode=None,
        max_nbytes=None,
    )
    yield from pool(delayed(_keyed)(key, material, job) for key, job in missing.items())


def _keyed(key: str, material: Material, job: Job) -> tuple[str, Fitted]:
    return key, perform(material, job)


def _path(finished: Path, key: str) -> Path:
    return finished / f"{key}.safetensors"


def _file(finished: Path | None, key: str, fitted: Fitted) -> None:
    if finished is None:
        return
    results = {"result/risk": fitted.risk, "result/out_of_fold": fitted.out_of_fold}
    weights = {f"weights/{name}": array for name, array in fitted.arrays.items()}
    record = {"record": fitted.record, "seconds": fitted.seconds}
    write_arrays(_path(finished, key), {**weights, **results}, record)


def _filed(finished: Path | None, key: str) -> Fitted | None:
    """The finished training of this key; None where there is none, or its file is damaged."""
    if finished is None or not _path(finished, key).is_file():
        return None
    try:
        arrays, record = read_arrays(_path(finished, key))
        return Fitted(
            arrays={
                name.removeprefix("weights/"): array
                for name, array in arrays.items()
                if name.startswith("weights/")
            },
            record=record["record"],
            risk=arrays["result/risk"],
            out_of_fold=arrays["result/out_of_fold"],
            seconds=record["seconds"],
        )
    except (Refusal, KeyError):
        return None
