"""The same trainings on a Dask cluster: bounded hand-out, versions checked, lost workers outlived."""

import asyncio
import platform
from collections.abc import Generator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

from clineval.errors import InputError
from clineval.files import program_version
from clineval.models import jobs
from clineval.models.jobs import Fitted, Job, Material, perform

PATIENCE = 10  # seconds that a cluster has to answer
AHEAD = 3  # trainings handed out per worker, so that none waits and the scheduler's memory stays bounded
LOSSES = 5  # times that one training may lose its worker before the study gives up
PROGRAM = "clineval"


def train_on_cluster(
    tasks: Mapping[str, tuple[Material, Job]], *, address: str
) -> Generator[tuple[str, Fitted]]:
    """Each training's key and result, as they finish; a training whose worker is lost is given to another.

    Parameters
    ----------
    address : of the scheduler, ``tcp://HOST:8786``.

    Raises
    ------
    InputError : Dask is not installed, nobody answers in 10 seconds, a worker has other versions, the
        scheduler is lost, or one training loses its worker six times.
    """
    distributed = _distributed()
    client = _connected(distributed, address)
    try:
        _check_versions(client)
        yield from _hand_out(distributed, client, tasks)
    except (CancelledError, OSError) as error:  # a closed connection among them
        raise InputError(
            f"The cluster at {address} was lost ({type(error).__name__}). Finished trainings are kept: start "
            "it again and repeat the command, with or without --cluster."
        ) from error
    except distributed.KilledWorker as error:
        raise InputError(
            f"The cluster at {address} lost {LOSSES + 1} workers over one training, probably for want of "
            "memory. Give each worker more, or start fewer on a machine."
        ) from error
    finally:
        client.close(timeout=2)


def versions() -> dict[str, str]:
    """What decides a training's bits, besides its settings: the Python and package versions."""
    return {"python": platform.python_version(), PROGRAM: program_version(), **jobs.versions()}


def perform_like(expected: dict[str, str], material: Material, job: Job) -> Fitted | InputError:
    """One training on a worker, refused where the worker's versions are not ``expected``.

    What a model of the user's does wrong is returned, for raising it would have it tried again.
    """
    found = versions()
    if found != expected:
        raise _other_versions("a worker", expected, found)
    try:
        return perform(material, job)
    except InputError as error:
        return error


def _hand_out(
    distributed: Any, client: Any, tasks: Mapping[str, tuple[Material, Job]]
) -> Generator[tuple[str, Fitted]]:
    expected, waiting = versions(), iter(tasks.items())
    running: dict[Any, str] = {}
    finished = distributed.as_completed(loop=client.loop)

    def hand_out(count: int) -> None:
        for key, task in (item for _, item in zip(range(count), waiting, strict=False)):
            future = client.submit(perform_like, expected, *task, pure=False, retries=LOSSES)
            running[future] = key
            finished.add(future)

    hand_out(AHEAD * max(1, len(client.nthreads())))
    for future in finished:
        fitted = future.result()
        if isinstance(fitted, InputError):
            raise fitted
        yield running.pop(future), fitted
        future.release()
        hand_out(1)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError(f"A cluster needs Dask; install it with: pip install '{PROGRAM}[cluster]'") from None
    return distributed


def _connected(distributed: Any, address: str) -> Any:
    """A client of the scheduler at the address, once that has shown that it is one and has a worker."""
    try:
        with ThreadPoolExecutor(1) as apart:  # for a notebook runs a loop of its own
            apart.submit(asyncio.run, _identity(address)).result()
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (TimeoutError, OSError, ValueError) as error:
        raise InputError(
            f"The cluster at {address} did not answer within {PATIENCE} s ({type(error).__name__}). "
            "Check that its scheduler runs and that the address is tcp://HOST:PORT."
        ) from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except (TimeoutError, OSError) as error:
        client.close(timeout=2)
        raise InputError(
            f"The cluster at {address} has no worker. Start one with: dask worker {address} --nthreads 1"
        ) from error
    return client


async def _identity(address: str) -> Any:
    """What the peer says that it is; ``distributed.Client`` would wait for ever for one that says nothing."""
    from distributed.comm import connect

    async with asyncio.timeout(PATIENCE):
        peer = await connect(address, timeout=PATIENCE)
        try:
            await peer.write({"op": "identity", "reply": True})
            return await peer.read()
        finally:
            peer.abort()


def _check_versions(client: Any) -> None:
    expected = versions()
    for worker, found in client.run(versions).items():
        if found != expected:
            raise _other_versions(f"the worker {worker}", expected, found)


def _other_versions(who: str, expected: dict[str, str], found: dict[str, str]) -> InputError:
    differ = [
        f"{name} {found.get(name, 'missing')} instead of {expected[name]}"
        for name in expected
        if found.get(name) != expected[name]
    ]
    return InputError(
        f"Workers must have the versions of this machine; {who} has {', '.join(differ)}. "
        "Install the same requirements.lock there."
    )
