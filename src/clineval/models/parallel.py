"""Run trainings in worker processes that end with their parent, or on a Dask cluster."""

import asyncio
import atexit
import contextlib
import errno
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from io import BytesIO
from itertools import chain
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clineval.data.cohort import Cohort, grouped_folds
from clineval.errors import InputError, Progress, is_on_command_line, on_command_line, option
from clineval.files import program_version
from clineval.models.classifier import KINDS, Lesson, risk_of
from clineval.models.network import ARCHITECTURE
from clineval.models.preprocessing import View
from clineval.models.stored import Floats, Stored, read_arrays, write_arrays
from clineval.models.training_process import ONE_THREAD, shared_address, use_shared
from clineval.models.user_model import Factory, Learnt, changed_modules, ready

FORMAT = 5  # of a finished training; another number is trained again
PACKAGES = ("torch", "onnxruntime", "scikit-learn", "numpy", "scipy")
COLOUR = ("python",)  # kinds that see a set in colour as it is
NOT_LEARNT_FROM = ("path", "import_from", "timeout")  # of a user's model: where it lies, how long it may take
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Material:
    """What all trainings of a run share: images (cases, height, width), outcomes and groups (cases,).

    Outcomes of cases outside the training and validation splits are not in it: they are set to False.
    For a user's Python model the images of a set in colour are in colour, (cases, height, width, 3).
    """

    images: NDArray[np.uint8]
    outcome: NDArray[np.bool_]
    group: NDArray[np.str_]

    @staticmethod
    def of(cohort: Cohort, kind: str | None = None) -> "Material":
        """The cohort's material for a kind of model, without the outcomes of the test split."""
        known = cohort.within("train", "val")
        images = cohort.images
        if kind in COLOUR and cohort.colour is not None:
            images = cohort.colour
        return Material(images, np.where(known, cohort.outcome, False), cohort.group)


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes
    ----------
    kind : of ``classifier.KINDS``; ``settings`` are that kind's.
    train, watch : indices into the material of the cases learnt from and of those watched to stop early.
    fold : number of the fold that was left out of ``train``; -1 where none was.
    own_folds : grouped folds of ``train`` whose held-out risks are wanted too; 0 for none.
    strict : of early stopping, always keep the moment of smallest loss.
    keep_model : False where only the risks are wanted, as in a study of thousands.
    call : the user's factory where no file leads to it; such a training is done in this process, and
        never filed.
    """

    kind: str
    train: Indices
    watch: Indices
    settings: Any
    seed: int
    fold: int = -1
    own_folds: int = 0
    strict: bool = False
    device: str = "cpu"
    keep_model: bool = True
    call: Factory | None = None


@dataclass(frozen=True)
class Fitted:
    """What one training gave.

    Attributes
    ----------
    stored : the model; without arrays where it was not to be kept.
    risk : of every case of the material, by the stored form, shape (cases,).
    out_of_fold : of the training cases, shape (cases,), NaN where none was asked for.
    seconds : processor time.
    """

    stored: Stored
    risk: Floats
    out_of_fold: Floats
    seconds: float


def key_of(material: Material, job: Job) -> str:
    """The name that a training is filed under: a hash of its data, settings, seed, fold and libraries.

    For a user's Python model the hash covers its file. The modules that it imports are known only after it
    has run, so they are kept in the record of the training.
    """
    facts = {
        "format": FORMAT,
        "kind": job.kind,
        "architecture": ARCHITECTURE,
        "settings": _learnt_from(job.settings),
        "seed": job.seed,
        "fold": job.fold,
        "own_folds": job.own_folds,
        "strict": job.strict,
        "device": job.device,
        "keep_model": job.keep_model,
        "versions": versions(),
        "shape": material.images.shape,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for values in (
        material.images,
        material.outcome[job.train],
        material.outcome[job.watch],
        job.train,
        job.watch,
    ):
        digest.update(np.ascontiguousarray(values).tobytes())
    digest.update("\n".join(str(name) for name in material.group[job.train]).encode())
    return f"{job.kind}-{digest.hexdigest()[:24]}"


def _learnt_from(settings: Any) -> dict[str, Any]:
    known = asdict(settings)
    file = {"file": Path(known["path"]).name} if "path" in known else {}
    return file | {name: value for name, value in known.items() if name not in NOT_LEARNT_FROM}


def versions() -> dict[str, str]:
    """Of the packages that decide a training's bits."""
    return {name: version(name) for name in PACKAGES}


def perform(material: Material, job: Job) -> Fitted:
    """Do one training, on one thread, and score every case by the stored form; depends on these alone."""
    began = _processor_seconds()
    with _ALONE, threadpool_limits(1), _memory_named():
        kind = KINDS[job.kind]
        if kind.at_once is not None:
            return _at_once(kind.at_once, material, job, began)
        whole = View(material.images)
        stored = _fit(material, job, whole, job.train)
        risk = risk_of(kind.read(stored.record, stored.arrays), whole)
        out_of_fold = np.full(len(whole), np.nan)
        for inside, outside in _own_folds(material, job):
            fold = _fit(material, job, whole, inside)
            out_of_fold[outside] = risk_of(kind.read(fold.record, fold.arrays), whole.take(outside))
    kept = stored if job.keep_model else Stored(stored.record, {})
    return Fitted(kept, risk, out_of_fold, _processor_seconds() - began)


def _at_once(learn: Callable[..., Learnt], material: Material, job: Job, began: float) -> Fitted:
    """The training of a model that learns from the split and its folds in one go."""
    outcome, group = material.outcome[job.train], material.group[job.train]
    learnt = learn(
        job.settings,
        material.images,
        outcome,
        group,
        train=job.train,
        folds=job.own_folds,
        seed=job.seed,
        factory=job.call,
    )
    out_of_fold = np.full(len(material.images), np.nan)
    out_of_fold[job.train] = learnt.out_of_fold
    kept = learnt.stored if job.keep_model else Stored(learnt.stored.record, {})
    return Fitted(kept, learnt.risk, out_of_fold, _processor_seconds() - began + learnt.seconds)


def _processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def _fit(material: Material, job: Job, whole: View, cases: Indices) -> Stored:
    return KINDS[job.kind].fit(
        Lesson(
            view=whole.take(cases),
            outcome=material.outcome[cases],
            group=material.group[cases],
            settings=job.settings,
            seed=job.seed,
            fold=job.fold,
            watched=whole.take(job.watch),
            watched_outcome=material.outcome[job.watch],
            strict=job.strict,
            device=job.device,
        )
    )


@contextlib.contextmanager
def _memory_named() -> Iterator[None]:
    """Raise as MemoryError what torch, out of memory, raises as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if "not enough memory" in str(error) or "out of memory" in str(error):
            raise MemoryError(str(error).splitlines()[0]) from error
        raise


_ALONE = threading.Lock()  # torch's chance and thread count are the process's: two threads would mix them


def _own_folds(material: Material, job: Job) -> list[tuple[Indices, Indices]]:
    """Cases inside and outside each fold of the training cases, as indices into the material."""
    if not job.own_folds:
        return []
    fold = grouped_folds(
        material.outcome[job.train], material.group[job.train], folds=job.own_folds, seed=job.seed
    )
    return [(job.train[fold != number], job.train[fold == number]) for number in range(job.own_folds)]


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
            f"it again and repeat the command, with or without {option('--cluster')}."
        ) from error
    except distributed.KilledWorker as error:
        raise InputError(
            f"The cluster at {address} lost {LOSSES + 1} workers over one training, probably for want of "
            "memory. Give each worker more, or start fewer on a machine."
        ) from error
    finally:
        client.close(timeout=2)


def worker_versions() -> dict[str, str]:
    """What decides a training's bits, besides its settings: the Python and package versions."""
    return {"python": platform.python_version(), PROGRAM: program_version(), **versions()}


def perform_like(
    expected: dict[str, str], material: Material, job: Job, asked: bool = False
) -> Fitted | InputError:
    """One training on a worker, refused where the worker's versions are not ``expected``.

    ``asked`` says whether the command line did, for messages.

    What a model of the user's does wrong is returned, for raising it would have it tried again.
    """
    found = worker_versions()
    if found != expected:
        raise _other_versions("a worker", expected, found)
    try:
        with on_command_line(asked):
            return perform(material, job)
    except InputError as error:
        return error


def _hand_out(
    distributed: Any, client: Any, tasks: Mapping[str, tuple[Material, Job]]
) -> Generator[tuple[str, Fitted]]:
    expected, waiting = worker_versions(), iter(tasks.items())
    running: dict[Any, str] = {}
    finished = distributed.as_completed(loop=client.loop)

    def hand_out(count: int) -> None:
        for key, task in (item for _, item in zip(range(count), waiting, strict=False)):
            future = client.submit(
                perform_like, expected, *task, is_on_command_line(), pure=False, retries=LOSSES
            )
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
    expected = worker_versions()
    for worker, found in client.run(worker_versions).items():
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


WATCH_SECONDS = 0.25  # between two checks of a process whether its parent still lives
ENDING_SECONDS = 5  # that a process whose pipe has ended has to end itself
ANSWER_SECONDS = 2.0  # that an idle process has to answer, before another takes its place
IDLE_SECONDS = 20.0  # after which a process without work ends
Task = tuple[Material, Job]
Keyed = tuple[str, Fitted]
T = TypeVar("T")


def run_jobs(
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    finished: Path | None = None,
    progress: Progress | None = None,
) -> list[Fitted]:
    """Do every training that is not filed under its key yet; the results in the order of ``tasks``.

    The results do not depend on ``workers`` or on which trainings were filed before.

    Parameters
    ----------
    workers : trainings at once; all cores by default.
    finished : folder in which finished trainings are kept and looked for.
    progress : called with (done, total) whenever a training is done.
    """
    results = dict(as_finished(tasks, workers=workers, finished=finished, progress=progress))
    return [results[number] for number in range(len(tasks))]


def as_finished(
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    cluster: str | None = None,
    finished: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Fitted]]:
    """The same, but each result with its place in ``tasks`` as soon as it is there, in no fixed order.

    ``cluster`` is the address of a Dask scheduler, ``tcp://HOST:8786``, instead of local processes.
    """
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
    fresh = _filing(finished, missing, workers=workers, cluster=cluster)
    own = [job.settings for _, job in tasks if job.kind == "python" and job.call is None]
    with ready([] if cluster else own), contextlib.closing(fresh):
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
        return joblib.cpu_count()  # which knows what a container may use
    if workers < 1:
        raise InputError(f"{option('--jobs')} needs a number of at least 1; got {workers}.")
    return workers


def train_in_processes(tasks: Mapping[str, Task], workers: int) -> Iterator[Keyed]:
    """Each training's key and result, as they finish. Idle processes end after some seconds.

    Raises
    ------
    InputError : the system allows no further process.
    MemoryError : a process was ended from outside, as the system does where memory runs out.
    RuntimeError : a process ended itself, by an error of a library.
    """
    calls = [partial(_train, shared_address(), key, *task) for key, task in tasks.items()]
    with _in_processes(calls, min(workers, len(calls))) as arriving:
        yield from arriving


@contextlib.contextmanager
def beside(call: Callable[[], object], *, workers: int | None = None) -> Iterator[None]:
    """Do a call in a process of its own while the block runs; before it where one process is allowed.

    Nothing of what either does may depend on the other. An error in the block ends the call.

    Raises
    ------
    MemoryError : as ``train_in_processes``; and what the call raises.
    """
    if checked_workers(workers) == 1:
        call()
        yield
    else:
        with _in_processes([call], 1) as arriving:
            yield
            list(arriving)


def load_training() -> None:
    """Import what trains, which takes a process seconds that it may spend before it is given work."""
    import sklearn.linear_model
    import sklearn.svm  # noqa: F401

    import clineval.models.network_training  # noqa: F401


@contextlib.contextmanager
def _in_processes(calls: Sequence[Callable[[], T]], workers: int) -> Iterator[Iterator[T]]:
    """What calls give, made in so many processes, as they finish; what is left at the end is killed.

    The end is that of the block, or of the program where that leaves the block open.
    """
    asked, lock, over = is_on_command_line(), threading.Lock(), threading.Event()
    waiting, answers = iter(calls), SimpleQueue[T | Exception]()
    busy: set[_Worker] = set()

    def answer(call: Callable[[], T]) -> T | Exception:
        message = _message((asked, call))
        with lock:
            if over.is_set():
                raise CancelledError
            with _limit_named():
                busy.add(worker := _idle_worker() or _started())
        received = _answer_to(message, worker)
        with lock:
            busy.remove(worker)
            _idle.append(worker)
        result: T | Exception = ForkingPickler.loads(received)
        return result

    def answer_some() -> None:
        for call in waiting:  # which all threads share
            try:
                answers.put(answer(call))
            except CancelledError:
                return
            except Exception as error:
                answers.put(error)

    def end() -> None:
        with lock:
            over.set()
            for worker in busy:
                _end(worker)
        for thread in threads:
            if thread.ident is not None:  # it was started
                thread.join()
        if busy:  # an error or an interruption: nothing will be asked of the others soon
            _end_idle()

    # a program that ends would wait for threads that are no daemons, until the last call is done
    threads = [Thread(target=answer_some, daemon=True) for _ in range(workers)]
    atexit.register(end)
    try:
        for thread in threads:
            thread.start()
        yield (_unless_error(answers.get()) for _ in calls)
    finally:
        end()
        atexit.unregister(end)


def _unless_error(result: T | Exception) -> T:
    if isinstance(result, Exception):
        raise result
    return result


@dataclass(frozen=True, eq=False)
class _Worker:
    """A process that makes calls, and a pipe to it alone, which ends where the process does."""

    process: subprocess.Popen[bytes]
    pipe: Connection


_idle: list[_Worker] = []  # processes of this one that wait for a call
os.register_at_fork(after_in_child=_idle.clear)  # they are the parent's, who goes on asking them
START = f"import sys; number, parent, idle, *sys.path = sys.argv[1:]; from {__name__} import work; "
START += "work(int(number), int(parent), float(idle))"


def _started() -> _Worker:
    """A new process. It hears neither Ctrl-C nor the end of a terminal, for it ends with this one."""
    ours, theirs = Pipe()
    facts = (theirs.fileno(), os.getpid(), IDLE_SECONDS)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])  # which it inherits
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, [*facts, *sys.path, Path(__file__).parents[2]])],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **dict.fromkeys(ONE_THREAD, "1")},
            pass_fds=[theirs.fileno()],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return _Worker(process, ours)


@contextlib.contextmanager
def _limit_named() -> Iterator[None]:
    """Say what to do where the system allows no further process, or no further file."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EMFILE, errno.ENFILE):
            raise
        raise InputError(
            f"No further process can be started ({os.strerror(error.errno).lower()}); use fewer "
            f"{option('--jobs')}, or raise the limits that ulimit -n and ulimit -u show."
        ) from error


def _idle_worker() -> _Worker | None:
    """A process that still waits for a call, as its answer to one shows."""
    while True:
        try:
            worker = _idle.pop()
        except IndexError:
            return None
        with contextlib.suppress(EOFError, OSError):
            worker.pipe.send_bytes(_message((False, os.getpid)))
            if worker.pipe.poll(ANSWER_SECONDS) and worker.pipe.recv_bytes():
                return worker
        _end(worker)


def _message(thing: object) -> bytes:
    """What a pipe carries; ``ForkingPickler.dumps`` gives a view, which must end before its buffer does."""
    buffer = BytesIO()
    ForkingPickler(buffer).dump(thing)
    return buffer.getvalue()


def _answer_to(message: bytes, worker: _Worker) -> bytes:
    """The worker's answer to a call; both as they are sent."""
    try:
        worker.pipe.send_bytes(message)
        return worker.pipe.recv_bytes()
    except (EOFError, OSError) as error:
        raise _unexpected_end(worker) from error


def _unexpected_end(worker: _Worker) -> Exception:
    try:
        code = worker.process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    if code == -signal.SIGKILL:
        return MemoryError(
            "a process of this run was ended from outside, as the system does where memory runs out"
        )
    return RuntimeError(f"a process of this run ended before its call did, with exit code {code}")


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.wait()


@atexit.register
def _end_idle() -> None:
    with contextlib.suppress(IndexError):
        while True:
            _end(_idle.pop())


def work(number: int, parent: int, idle: float) -> None:
    """Answer the calls that come through a pipe, until it ends or none comes for so many seconds."""
    end_with(parent)
    os.set_inheritable(number, False)
    with Connection(number) as pipe, contextlib.suppress(EOFError, OSError):
        while pipe.poll(idle):
            pipe.send_bytes(_answer(pipe.recv_bytes()))


def _answer(message: bytes) -> bytes:
    """The result of the call in a message, or the error that it raises, as a message."""
    try:
        asked, call = ForkingPickler.loads(message)
        with on_command_line(asked):
            return _message(call())
    except Exception as error:
        error.add_note(traceback.format_exc())
        return _as_message(error)


def _as_message(error: Exception) -> bytes:
    """An error as it is sent; one that cannot be sent and read is named by another."""
    try:
        message = _message(error)
        ForkingPickler.loads(message)
    except Exception:
        named = RuntimeError(f"{type(error).__name__}: {error}")
        named.add_note(traceback.format_exc())
        message = _message(named)
    return message


def end_with(parent: int) -> None:
    """End this process, from a thread of its own, as soon as ``parent`` is no longer its parent.

    A program that is killed has no chance to end its workers.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _train(trainer: str | None, key: str, material: Material, job: Job) -> Keyed:
    """One training in a process of its own; ``trainer`` is the address of that of users' models, if any."""
    use_shared(trainer)
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
    """Trainings filed earlier, taken out of ``missing``.

    One whose file is damaged stays in it, and one that ran modules of the user's that are others by now.
    """
    for key, path in paths.items():
        fitted = _read(path) if path.is_file() else None
        if fitted is not None and not _changed(missing[key][1], fitted):
            del missing[key]
            yield key, fitted


def _changed(job: Job, fitted: Fitted) -> list[str]:
    return changed_modules(job.settings, fitted.stored.record) if job.kind == "python" else []


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
