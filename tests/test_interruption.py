"""A run that is interrupted or killed leaves no half results and no worker, and goes on when asked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from short_program import shorten

from clineval.cli import main
from clineval.reporting import figures
from clineval.results import hash_folder

pytestmark = pytest.mark.slow

RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as would one under nohup
sys.path.insert(0, {tests!r})
from short_program import main, shorten
shorten(setattr, members=3, epochs=6)
main.main()
"""
WORDS = ["run", "--dataset", "phantom", "--models", "cnn", "--out", "results"]


def start(folder):
    command = [sys.executable, "-c", RUN.format(tests=str(Path(__file__).parent)), *WORDS, "--jobs", "2"]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)


def until_training(process, folder):
    """Wait until the first member is finished, so that workers are at work."""
    for line in process.stderr:
        if "Training" in line:
            break
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any(path.suffix == ".safetensors" for path in folder.rglob("*")):
            return
        time.sleep(0.05)
    raise AssertionError("no training was finished within two minutes")


def members_of_session(session):
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,stat=,args=", "-s", str(session)], capture_output=True, text=True
    ).stdout
    return [line for line in found.splitlines() if "Z" not in line.split()[1]]


def workers_of(session):
    return [int(line.split()[0]) for line in members_of_session(session) if "parallel import work" in line]


def wait_for_silence(session, seconds, who=members_of_session):
    deadline = time.monotonic() + seconds
    while who(session) and time.monotonic() < deadline:
        time.sleep(0.05)
    return who(session)


@pytest.mark.parametrize(
    ("send", "number"),
    [
        (os.killpg, signal.SIGINT),
        (os.killpg, signal.SIGTERM),
        (os.killpg, signal.SIGHUP),
        (os.kill, signal.SIGTERM),
    ],
)
def test_an_interrupted_run_ends_its_workers_within_two_seconds_and_leaves_no_results(tmp_path, send, number):
    process = start(tmp_path)
    until_training(process, tmp_path)
    assert workers_of(process.pid)
    send(process.pid, number)  # to all, as Ctrl-C does, or to the program alone
    assert wait_for_silence(process.pid, 2, workers_of) == []
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.strip().splitlines()[-1] == "clineval: interrupted; nothing half-written was left"
    assert "KeyError" not in told
    assert wait_for_silence(process.pid, 5) == []
    assert [path.name for path in tmp_path.iterdir()] == [".results.members"]


def test_a_worker_that_the_system_ends_for_want_of_memory_is_named(tmp_path):
    process = start(tmp_path)
    until_training(process, tmp_path)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    last = told.strip().splitlines()[-1]
    assert "out of memory (a process of this run was ended from outside" in last
    assert last.endswith("use fewer --jobs or a smaller --size")
    assert wait_for_silence(process.pid, 5) == []
    assert [path.name for path in tmp_path.iterdir()] == [".results.members"]


def test_a_killed_run_can_be_resumed_to_the_bytes_of_an_undisturbed_one(tmp_path, monkeypatch):
    process = start(tmp_path)
    until_training(process, tmp_path)
    process.kill()
    process.wait()
    assert not (tmp_path / "results").exists()
    assert wait_for_silence(process.pid, 20) == []
    process.stderr.close()
    assert 0 < len([*(tmp_path / ".results.members").glob("*.safetensors")]) < 6
    (tmp_path / "apart").mkdir()
    monkeypatch.setattr(sys, "argv", ["clineval", *WORDS])
    monkeypatch.setattr(figures, "write_figures", lambda folder, **named: None)
    shorten(monkeypatch.setattr, members=3, epochs=6)
    for folder, words in ((tmp_path, ["--resume"]), (tmp_path / "apart", [])):
        monkeypatch.chdir(folder)
        assert main.run_command([*WORDS, "--jobs", "1", "--quiet", *words]) == 0
    one, other = hash_folder(tmp_path / "results"), hash_folder(tmp_path / "apart" / "results")
    assert {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)} == set()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["apart", "results"]
