"""Trainings over processes: none outlives the last training or a killed program for long."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from clineval.data.phantom import phantom
from clineval.errors import InputError, on_command_line, option
from clineval.models import parallel
from clineval.models.parallel import Fitted, Job, Material, perform, train_in_processes
from clineval.models.stored import Stored, write_arrays
from clineval.settings import LogisticSettings

FITTED = Fitted(
    stored=Stored({"scaling": {"mean": 0.3, "sd": 0.1}, "curve": [0.5, 0.25]}, {"weight": np.arange(3.0)}),
    risk=np.array([0.1, 0.9]),
    out_of_fold=np.array([np.nan, 0.5]),
    seconds=1.5,
)


def test_a_training_comes_back_from_its_file_as_it_was_filed(tmp_path):
    parallel._write(tmp_path / "a.safetensors", FITTED)
    again = parallel._read(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.stored.arrays["weight"], FITTED.stored.arrays["weight"])
    np.testing.assert_array_equal(again.risk, FITTED.risk)
    np.testing.assert_array_equal(again.out_of_fold, FITTED.out_of_fold)
    assert json.dumps(again.stored.record) == json.dumps(FITTED.stored.record)  # the order of its keys too


@pytest.mark.parametrize("record", [{}, {"record": {"a": 1}, "seconds": 1}, {"record": "{", "seconds": 1}])
def test_a_file_of_another_form_counts_as_no_training(tmp_path, record):
    write_arrays(tmp_path / "a.safetensors", {"result/risk": FITTED.risk}, record)
    assert parallel._read(tmp_path / "a.safetensors") is None


COHORT = phantom(3, cases=(90, 30, 20))
TRAIN = np.flatnonzero(COHORT.within("train"))
MATERIAL = Material.of(COHORT)
QUICK, LONG = LogisticSettings((1e-3,), folds=3), LogisticSettings(tuple(np.linspace(1e-4, 1, 9999)))


def tasks(settings, seeds):
    """Regressions: their workers need not load torch."""
    return {f"{seed}": (MATERIAL, Job("logreg", TRAIN, TRAIN[:0], settings, seed=seed)) for seed in seeds}


TASKS = tasks(QUICK, range(3))
WORKER = """
import os, subprocess, sys, time
child = "from clineval.models.parallel import end_with; end_with({}); import time; time.sleep(60)"
print(subprocess.Popen([sys.executable, "-c", child.format(os.getpid())]).pid, flush=True)
time.sleep(60)
"""
TRAINER = """
import os, subprocess, time
from clineval.models.training_process import trainer
with trainer(()):
    listed = subprocess.check_output(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], text=True)
    print(*[line.split()[0] for line in listed.splitlines() if "training_process" in line], flush=True)
    time.sleep(60)
"""


def children():
    """Processes that this one has started and that still run; -ww, or COLUMNS would cut their names."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    return [line for line in listed.stdout.splitlines() if "parallel import work" in line]


def none_is_left(seconds):
    deadline = time.monotonic() + seconds
    while children() and time.monotonic() < deadline:
        time.sleep(0.1)
    return children() == []


@pytest.mark.slow
def test_all_are_trained_as_in_one_process_and_the_workers_end_soon_after_the_last(monkeypatch):
    monkeypatch.setattr(parallel, "IDLE_SECONDS", 1.0)
    found = dict(train_in_processes(TASKS, 2))
    assert sorted(found) == sorted(TASKS)
    np.testing.assert_array_equal(found["2"].risk, perform(*TASKS["2"]).risk)
    assert none_is_left(20)


def named() -> str:
    return option("--jobs")


@pytest.mark.slow
def test_what_is_done_in_other_processes_and_threads_names_options_as_whoever_asked_writes_them():
    for asked, expected in ((True, "--jobs"), (False, "jobs")):
        with on_command_line(asked), parallel._in_processes([named, named], 2) as arriving:
            assert list(arriving) == [expected] * 2
        with on_command_line(asked), ThreadPoolExecutor(1) as apart:
            assert apart.submit(named).result() == expected
        assert named() == "jobs"


@pytest.mark.slow
def test_an_error_in_a_training_ends_the_rest():
    broken = {**TASKS, "broken": (MATERIAL, Job("no such kind", TRAIN, TRAIN[:0], QUICK, seed=0))}
    with pytest.raises(KeyError, match="no such kind"):
        dict(train_in_processes(dict(reversed(broken.items())), 2))
    assert none_is_left(5)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_named_and_the_rest_end():
    arriving = train_in_processes({**TASKS, **tasks(LONG, (7, 8))}, 2)
    next(arriving)
    with killing(), pytest.raises(MemoryError, match="ended from outside"):
        list(arriving)
    assert none_is_left(5)


def dying_as_it_sends() -> bytes:
    """A result that takes long to send, by a process that is killed while it does."""

    def die():
        while "send" not in sys._current_frames()[threading.main_thread().ident].f_code.co_name:
            time.sleep(0.0005)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=die).start()
    return bytes(200_000_000)


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_sends_its_result_is_named():
    with (
        pytest.raises(MemoryError, match="ended from outside"),
        parallel._in_processes([dying_as_it_sends], 1) as sent,
    ):
        list(sent)
    assert children() == []


@pytest.mark.slow
def test_an_idle_worker_does_the_next_call_and_one_that_has_ended_or_sleeps_is_replaced():
    numbers = []
    for number in (0, signal.SIGKILL, signal.SIGSTOP, 0):
        with parallel._in_processes([os.getpid], 2) as arriving:
            numbers += arriving
        os.kill(numbers[-1], number)
    assert numbers[0] == numbers[1]
    assert len({*numbers}) == 3


class Odd(Exception):
    """An error that can be sent but not read."""

    def __init__(self, one, other):
        super().__init__(one)


class Held(Exception):
    """An error that cannot be sent."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


def raising(kind, *words):
    raise kind(*words)


def ending():
    os._exit(7)


@pytest.mark.slow
def test_what_cannot_be_sent_or_read_is_an_error_and_the_worker_goes_on():
    numbers = []
    for call, expected in (
        (os.getpid, None),
        (threading.Lock, "cannot pickle"),
        (partial(id, threading.Lock()), "cannot pickle"),
        (partial(raising, Odd, "not found", 2), "Odd: not found"),
        (partial(raising, Held, "not held"), "Held: not held"),
        (os.getpid, None),
    ):
        if expected is None:
            with parallel._in_processes([call], 1) as arriving:
                numbers += arriving
        else:
            with (
                pytest.raises((TypeError, RuntimeError), match=expected),
                parallel._in_processes([call], 1) as arriving,
            ):
                list(arriving)
    assert numbers[0] == numbers[1] != os.getpid()


def test_where_no_further_file_may_be_opened_fewer_jobs_are_advised(monkeypatch):
    monkeypatch.setattr(parallel, "_idle", [])
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with (
            pytest.raises(InputError, match=r"\(too many open files\); use fewer jobs"),
            parallel._in_processes([os.getpid], 1) as arriving,
        ):
            list(arriving)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


LEFT_OPEN = """
import time
from functools import partial
from clineval.models import parallel
block = parallel._in_processes([partial(time.sleep, seconds) for seconds in (0, 60, 60, 60)], 2)
arriving = block.__enter__()
next(arriving)
raise SystemExit(3)
"""


@pytest.mark.slow
def test_a_program_that_ends_in_the_midst_of_calls_does_not_wait_for_them():
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", LEFT_OPEN]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stderr) == (3, "")


MOVED = """
import os, sys
sys.path[:] = [os.path.relpath({source!r}), *(folder for folder in sys.path if folder != {source!r})]
from clineval.models import parallel
os.chdir("/")
with parallel._in_processes([os.getpid], 1) as arriving:
    assert [*arriving] != [os.getpid()]
"""


@pytest.mark.slow
def test_a_worker_finds_the_package_where_the_program_found_it_by_a_relative_path_and_moved():
    source = str(Path(parallel.__file__).parents[2])
    subprocess.run([sys.executable, "-c", MOVED.format(source=source)], check=True, timeout=50)


@pytest.mark.slow
def test_a_worker_that_ends_itself_is_not_called_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="exit code 7"), parallel._in_processes([ending], 1) as arriving:
        list(arriving)


@contextlib.contextmanager
def killing():
    """Kill every process there is, again and again."""
    over = threading.Event()

    def kill():
        while not over.wait(0.2):
            for line in children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


@pytest.mark.parametrize("started", [WORKER, TRAINER])
@pytest.mark.slow
def test_a_worker_ends_when_its_program_is_killed(started):
    program = subprocess.Popen([sys.executable, "-c", started], stdout=subprocess.PIPE, text=True)
    with program:
        worker = int(program.stdout.readline())
        time.sleep(1)
        os.kill(worker, 0)  # it lives
        program.kill()
        program.wait()
    deadline = time.monotonic() + 20
    while runs(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    if runs(worker):
        os.kill(worker, signal.SIGKILL)
        raise AssertionError("the worker outlived its program")


def runs(process):
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True)
    return bool(listed.stdout.strip()) and "Z" not in listed.stdout
