"""The same trainings on a Dask cluster: bounded hand-out, versions checked, lost workers outlived."""

import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from clineval.errors import InputError
from clineval.models.jobs import Fitted, Job, Material, perform

PATIENCE = 10  # seconds that a cluster has to answer
AHEAD = 3  # trainings handed out per worker, so that none waits and the scheduler's memory stays bounded
LOSSES = 5  # times that one training may lose its worker before the study gives up
PACKAGES = ("breastmnist-clinical-evaluation", "torch", "scikit-learn", "numpy", "scipy")


def train_on_cluster(
    material: Material, jobs: dict[str, Job], *, address: str
) -> Iterator[tuple[str, Fitted]]:
    """Each training's key and result, as they finish; a training whose worker is lost is given to another.

    Parameters
    ----------
    address : of the scheduler, ``tcp://HOST:8786``.

    Raises
    ------
    InputError : Dask is not installed, nobody answers in 10 seconds, or a worker has other versions.
    """
    distributed = _distributed()
    client = _connect(distributed, address)
    try:
        _check_versions(client)
        yield from _hand_out(distributed, client, material, jobs)
    finally:
        client.close(timeout=2)


def versions() -> dict[str, str]:
    """What decides a training's bits, besides its settings: the Python and package versions."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def perform_like(expected: dict[str, str], material: Material, job: Job) -> Fitted:
    """One training on a worker, refused where the worker's versions are not ``expected``."""
    found = versions()
    if found != expected:
        raise _other_versions("a worker", expected, found)
    return perform(material, job)


def _hand_out(
    distributed: Any, client: Any, material: Material, jobs: dict[str, Job]
) -> Iterator[tuple[str, Fitted]]:
    expected, waiting = versions(), iter(jobs.items())
    running: dict[Any, str] = {}
    finished = distributed.as_completed(loop=client.loop)

    def hand_out(count: int) -> None:
        for key, job in (item for _, item in zip(range(count), waiting, strict=False)):
            future = client.submit(perform_like, expected, material, job, pure=False, retries=LOSSES)
            running[future] = key
            finished.add(future)

    hand_out(AHEAD * max(1, len(client.nthreads())))
    for future in finished:
        yield running.pop(future), future.result()
        future.release()
        hand_out(1)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError("A cluster needs Dask; install it with: pip install 'clineval[cluster]'") from None
    return distributed


def _connect(distributed: Any, address: str) -> Any:

    try:
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
