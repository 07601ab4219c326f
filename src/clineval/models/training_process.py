"""Processes that train users' models: forked from one that loaded what their files import, ended whole."""

import ast
import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clineval.models.user_worker import STAGE, work

TRAINING = "CLINEVAL_TRAINS_A_MODEL"  # in the environment of a process that does
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PRELOADED = ("numpy", "scipy", "pandas", "sklearn", "skorch", "torch")  # that may be forked once imported
POLL_SECONDS = 0.02
ENDING_SECONDS = 10.0  # that processes have to be gone once they were killed
MOST_FOLDER = 60  # bytes of the folder of temporary files in which a socket is made
DIE_WITH_PARENT, ADOPT_ORPHANS = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER of Linux's prctl


@dataclass(frozen=True)
class Ending:
    """How the process of a training ended.

    Attributes
    ----------
    code : its exit code, the negative number of a signal, or None where nobody is left to say.
    late : whether it was ended because one stage took longer than it may.
    seconds : of the processor, with those of every process that it started.
    """

    code: int | None = None
    late: bool = False
    seconds: float = 0.0


def packages_of(path: Path) -> tuple[str, ...]:
    """What a Python file imports of packages that are slow to load; nothing of the file is run."""
    try:
        statements = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ()
    names = [each.name for one in statements if isinstance(one, ast.Import) for each in one.names]
    names += [one.module or "" for one in statements if isinstance(one, ast.ImportFrom) and not one.level]
    return tuple(dict.fromkeys(name for name in names if name.split(".")[0] in PRELOADED))


@contextlib.contextmanager
def trainer(packages: Sequence[str]) -> Iterator[str]:
    """While the block runs, a process that forks one for each training; its address.

    It loads the packages once for all and ends with the block or with this process.
    """
    with tempfile.TemporaryDirectory(prefix="clineval-", dir=_short_folder()) as place:
        address = f"{place}/trainer"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(address)
            listening.listen()
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(listening.fileno()), *packages],
                stdin=subprocess.PIPE,  # which closes where this process ends, and so ends that one
                stdout=subprocess.DEVNULL,  # models may print what they like
                stderr=subprocess.DEVNULL,
                env={**os.environ, **dict.fromkeys((*ONE_THREAD, TRAINING), "1"), "PYTHONHASHSEED": "0"},
                pass_fds=[listening.fileno()],
                start_new_session=True,
            )
        try:
            yield address
        finally:
            process.kill()
            process.communicate()


def _short_folder() -> str | None:
    """Where a socket's path stays short enough, for systems allow some 100 characters; None for the usual."""
    return None if len(os.fsencode(tempfile.gettempdir())) < MOST_FOLDER else "/tmp"


_shared: list[str] = []  # the address of the trainer that serves this process


def shared_address() -> str | None:
    """The trainer that serves this process, for processes that it starts."""
    return _shared[-1] if _shared else None


@contextlib.contextmanager
def sharing(packages: Sequence[str]) -> Iterator[None]:
    """While the block runs, one trainer serves all trainings of this process."""
    if _shared:
        yield
        return
    with trainer(packages) as address:
        use_shared(address)
        try:
            yield
        finally:
            use_shared(None)


def use_shared(address: str | None) -> None:
    """Have a trainer that another process started serve this one; None for none."""
    _shared[:] = [] if address is None else [address]


def train(folder: Path, *, timeout: float, packages: Sequence[str]) -> Ending:
    """Have the plan of a folder carried out in a process of its own; all that it started ends with it.

    Parameters
    ----------
    timeout : seconds that one stage may take; its name is in a file of the folder.
    packages : loaded first where no trainer serves this process yet.
    """
    with contextlib.ExitStack() as stack:
        try:
            connection = _connected(_shared[-1] if _shared else "")
        except OSError:  # none, or one that has ended
            connection = _connected(stack.enter_context(trainer(packages)))
        with connection:
            return _asked(connection, folder, timeout)


def _connected(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _asked(connection: socket.socket, folder: Path, timeout: float) -> Ending:
    """Ask for a training and wait for its end; an interruption here ends it there."""
    question = {"folder": str(folder.resolve()), "timeout": timeout}
    answers = connection.makefile("rb")
    try:
        connection.sendall(json.dumps(question).encode() + b"\n")
        connection.settimeout(timeout)
        if not answers.readline():  # as soon as its process is there
            return Ending()
        connection.settimeout(None)
        answer = answers.readline()
        return Ending(**json.loads(answer)) if answer else Ending()
    except TimeoutError:
        return Ending(late=True)
    except ConnectionError:
        return Ending()
    finally:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(ENDING_SECONDS)
            while connection.recv(4096):
                pass
        answers.close()


def _serve(listening: socket.socket, packages: Sequence[str]) -> None:
    """Load the packages, then fork a keeper for each training, until standard input closes."""
    for name in packages:
        with contextlib.suppress(Exception):  # the model's file will say what is wrong
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _end_after(_keep, connection)
        connection.close()


def _end_after(function, *arguments) -> None:  # type: ignore[no-untyped-def]
    """End this forked process with what the function returns, whatever happens in it."""
    code = 1
    try:
        code = function(*arguments)
    finally:
        os._exit(code)


def _keep(connection: socket.socket) -> int:
    """Fork a training, end it where it is late or nobody waits for it, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    question = json.loads(connection.makefile("rb").readline())
    folder = Path(question["folder"])
    _control(ADOPT_ORPHANS, 1)  # so that what a model starts and leaves is found below this process
    worker = os.fork()
    if worker == 0:
        connection.close()
        _end_after(_work, folder)
    connection.sendall(b"\n")
    status, late = _wait(worker, connection, folder, question["timeout"])
    status = _end_all(worker, status)
    code = None if status is None else os.waitstatus_to_exitcode(status)
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(asdict(Ending(code, late, _processor_seconds()))).encode() + b"\n")
    return 0


def _work(folder: Path) -> int:
    os.setsid()
    _control(DIE_WITH_PARENT, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return int(not work(folder))


def _wait(worker: int, connection: socket.socket, folder: Path, timeout: float) -> tuple[int | None, bool]:
    """Wait for the worker's end; its status if it ended, and whether a stage takes longer than it may."""
    stage, began = "", time.monotonic()
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return status, False
        now = stage_of(folder)
        if now != stage:
            stage, began = now, time.monotonic()
        elif time.monotonic() - began > timeout:
            return None, True
        if select.select([connection], [], [], POLL_SECONDS)[0]:
            return None, False  # nobody waits for it


def stage_of(folder: Path) -> str:
    """What a training is at."""
    try:
        return (folder / STAGE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return "starting"


def _end_all(worker: int, status: int | None) -> int | None:
    """Kill the worker and all that was started below it, adopted or not; the worker's status."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline:
        for child in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            ended, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:  # nothing is left
            break
        if ended == worker:
            status = found
        elif not ended:
            time.sleep(POLL_SECONDS)
    return status


def _children() -> list[int]:
    """Processes right below this one, by what Linux says of each; none on other systems."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def _control(what: int, value: int) -> None:
    """Linux's prctl; nothing on other systems."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(what, value, 0, 0, 0)


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        _serve(listening, sys.argv[2:])
