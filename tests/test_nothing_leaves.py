"""Every command under strace, its home empty: no address but loopback, no file but where it is told."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from finished_run import WORDS, write_cohort
from test_main import COMMANDS
from test_medmnist import Server

NETWORK = ("connect", "bind", "sendto", "sendmsg")
FILES = ("open", "openat", "creat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "symlink", "link")
UNSET = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY", "MPLCONFIGDIR")
# Devices, what the kernel shows of a process, and the shared memory of a pool's semaphores.
NO_FILES = ("/dev/null", "/dev/tty", "/dev/urandom", "/dev/shm/", "/proc/self/", "/proc/thread-self/")
LOOPBACK = re.compile(r'inet_addr\("127\.0\.0\.1"\)|"::1"')
CALL = re.compile(r"^\d+ +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="no strace to watch a command's calls with"),
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, finished_run):
    """What the commands read: a run, a report's folder, a cohort of images, predictions, a reader study."""
    folder = tmp_path_factory.mktemp("inputs")
    write_cohort(folder / "cohort", patients=48)
    shutil.copytree(finished_run, folder / "run")
    rng = np.random.default_rng(0)
    outcome = rng.random(60) < 0.4
    risk = np.clip(0.3 * outcome + 0.6 * rng.random(60), 0, 1).round(4)
    pd.DataFrame({"outcome": outcome.astype(int), "risk": risk}).to_csv(folder / "table.csv", index=False)
    read = [
        (f"r{reader}", case, "malignant" if outcome[case] else "benign", round(risk[case] + rng.random(), 2))
        for reader in range(3)
        for case in range(60)
    ]
    columns = ["reader", "case", "pathology", "rating"]
    pd.DataFrame(read, columns=columns).to_csv(folder / "readings.csv", index=False)
    return folder


def ways(inputs: Path) -> dict[str, list[str]]:
    """The words of each command but its ``--out``; what they write there is theirs."""
    run, images = str(inputs / "run"), str(inputs / "cohort" / "images")
    cohort = [str(inputs / "cohort" / "cohort.csv"), "--image-folder", images, *WORDS]
    phantom = ["--dataset", "phantom"]
    study = ["--models", "logreg", "--folds", "2", "--repeats", "1", "--seeds", "0", "--jobs", "1"]
    columns = ["--reader-column", "reader", "--case-column", "case", "--rating-column", "rating"]
    truth = ["--outcome-column", "pathology", "--positive", "malignant"]
    return {
        "run": [*phantom, "--models", "cnn", "--jobs", "2"],
        "explore": phantom,
        "audit": [images],
        "train": [*phantom, "--models", "logreg", "--jobs", "1"],
        "evaluate": [str(inputs / "table.csv"), "--draws", "50"],
        "report": [run],
        "study": [*phantom, *study],
        "adopt": [run, *cohort, "--name", "another hospital"],
        "validate": [run, *cohort, "--name", "another hospital"],
        "predict": [run, images],
        "explain": [run, str(sorted((inputs / "cohort" / "images").iterdir())[0]), "--model", "logreg"],
        "readers": [str(inputs / "readings.csv"), *columns, *truth],
        "verify": [run],
        "compare": [run, run],
    }


APART = {"fetch", "serve"}  # the one needs a server, the other is one: tests of their own
WITHOUT_OUT = ("report", "verify", "compare")  # they write into the folder that they are given, or nothing
IN_ONE_FILE = {"predict": "risks.csv"}
UNPAINTED = ("run", "adopt", "validate", "evaluate", "audit", "study", "readers")  # explore paints like them


def watched(
    words: list[str], place: Path, *, meanwhile: Callable[[subprocess.Popen[str]], None] | None = None
) -> tuple[list[str], int, str]:
    """The calls of a command, its exit status and what it said; home, temporary and working folder empty.

    ``meanwhile`` is called with the command's process while it runs.
    """
    for name in ("home", "temporary", "here"):
        (place / name).mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    folders = {"HOME": str(place / "home"), "TMPDIR": str(place / "temporary")}
    calls, traced = place / "calls", ",".join((*NETWORK, *FILES))
    strace = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-s",
        "4096",
        "--seccomp-bpf",
        "-e",
        f"trace={traced}",
        "-o",
        str(calls),
    ]
    less = ["--unpainted"] if words[0] in UNPAINTED else []
    quiet = [] if meanwhile else ["--quiet"]  # a server tells its address
    with subprocess.Popen(
        [*strace, sys.executable, Path(__file__).with_name("short_program.py"), *less, *words, *quiet],
        cwd=place / "here",
        env={**kept, **folders, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            if meanwhile:
                meanwhile(process)
            _, said = process.communicate(timeout=300)
        finally:
            process.kill()
    return calls.read_text(encoding="utf-8", errors="replace").splitlines(), process.returncode, said


def written(calls: list[str], here: Path) -> list[str]:
    """The files and folders that calls made, opened for writing, or moved."""
    found = set()
    for line in calls:
        call = CALL.match(line)
        if not call or call["result"].startswith("-") or call["call"] in NETWORK:
            continue
        opens, arguments = call["call"].startswith("open"), call["arguments"]
        if opens and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", arguments):
            continue
        if "O_TMPFILE" in arguments:  # tells whether a folder may be written into, and has no name
            continue
        found |= {str(here / name) for name in re.findall(r'"((?:[^"\\]|\\.)*)"', arguments)}
    return sorted(path for path in found if not path.startswith(NO_FILES))


def test_every_command_that_writes_results_is_watched(inputs):
    assert set(ways(inputs)) == set(COMMANDS) - APART


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in APART])
def test_a_command_reaches_no_address_and_writes_only_where_it_is_told(inputs, tmp_path, command):
    out = tmp_path / "here" / IN_ONE_FILE.get(command, "out")
    where = [] if command in WITHOUT_OUT else ["--out", out.name]
    calls, code, said = watched([command, *ways(inputs)[command], *where], tmp_path)
    assert code == 0, said
    check(calls, tmp_path, own=inputs / "run" if command == "report" else out)


def check(calls: list[str], place: Path, *, own: Path) -> None:
    """No address but loopback, no file but in ``own`` and the caches that SECURITY.md names."""
    assert [line for line in calls if "AF_INET" in line and not LOOPBACK.search(line)] == []
    beside = own.parent / f".{own.name}."  # the lock and the folder that takes the place of the old one
    home = place / "home"
    caches = [str(home / name / "matplotlib") for name in (".cache", ".config")]  # SECURITY.md names them
    allowed = (str(own), str(beside), str(place / "temporary"), *caches)
    elsewhere = [path for path in written(calls, place / "here") if not path.startswith(allowed)]
    assert [path for path in elsewhere if path not in (str(home / ".cache"), str(home / ".config"))] == []
    assert [*(place / "temporary").iterdir()] == []
    assert [path for path in home.rglob("*") if path.is_file() and "matplotlib" not in path.parts] == []


def test_a_server_listens_to_loopback_alone_and_writes_nothing(inputs, tmp_path):
    picture = sorted((inputs / "cohort" / "images").iterdir())[0]
    answers = []

    def ask(process: subprocess.Popen[str]) -> None:
        address = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
        for path in ("api/predict", "api/explain"):
            form = {"images": (picture.name, picture.read_bytes())}
            answers.append(httpx.post(f"{address}{path}", files=form, timeout=120).status_code)
        process.send_signal(signal.SIGINT)

    words = ["serve", str(inputs / "run"), "--port", "0", "--no-open"]
    calls, code, said = watched(words, tmp_path, meanwhile=ask)
    assert (code, answers) == (0, [200, 200]), said
    check(calls, tmp_path, own=tmp_path / "here" / "nothing")
    assert [*(tmp_path / "here").iterdir()] == []


@pytest.mark.parametrize("official", [True, False])
def test_fetch_asks_the_address_that_it_is_given_and_no_other(request, tmp_path, official):
    content = b"something else"
    if official:
        content = (request.getfixturevalue("real_data_folder") / "breastmnist.npz").read_bytes()
    server = Server()
    server.answers = [(200, content, len(content))]
    out = tmp_path / "here" / "fetched"
    words = ["fetch", "--address", server.address, "--to", str(out)]
    try:
        calls, code, said = watched(words, tmp_path)
    finally:
        server.close()
    assert code == (0 if official else 3), said
    check(calls, tmp_path, own=out)
    assert [path.name for path in out.parent.rglob("*.npz")] == ["breastmnist.npz"] * official
    port = server.address.rpartition(":")[2]
    connected = [line for line in calls if "connect(" in line and "AF_INET" in line]
    assert connected
    assert all(f"htons({port})" in line for line in connected)
