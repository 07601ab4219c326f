"""What comes of results when the disk, the memory, the clock or another program fails at any moment."""

import contextlib
import errno
import json
import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from clineval import files
from clineval.cli import main
from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.results import folder as run_folder
from clineval.results import hash_folder
from clineval.results.folder import replace_folder

pytestmark = pytest.mark.slow

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """Called with (event, path) before any file is opened to be written, made, moved or removed."""

    seen = None


def _hook(event, words):
    if Watch.seen is None:
        return
    if event in CHANGES or (event == "open" and len(words) == 3 and words[2] & WRITING):
        with contextlib.suppress(TypeError):
            Watch.seen(event, Path(os.fsdecode(words[0])))


sys.addaudithook(_hook)  # a hook stays for good; without a watch it does nothing


@contextlib.contextmanager
def watched(below, seen):
    Watch.seen = lambda event, path: seen(event, path) if path.is_relative_to(below) else None
    try:
        yield
    finally:
        Watch.seen = None


def whole(target):
    return None if not target.exists() else {**hash_folder(target)}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("case,outcome,risk\na,1,.5\nb,0,.4\nc,1,.7\nd,0,.2\n")
    return path


def evaluate(table, out, *words):
    command = ["evaluate", str(table), "--draws", "20", "--out", str(out), "--quiet", *words]
    return main.run_command(command)


@pytest.fixture
def home(tmp_path, table):
    """A folder that holds results of an earlier evaluation and nothing else."""
    (tmp_path / "home").mkdir()
    assert evaluate(table, tmp_path / "home" / "results") == 0
    return tmp_path / "home"


KILLED_AT_EVERY_CHANGE = """
    import os, signal, sys
    from pathlib import Path
    from clineval.results import folder as run_folder
    if sys.argv[2] == "two renames":
        run_folder._exchange = lambda one, other: False
    if sys.argv[2] == "in place":
        Path(sys.argv[1]).mkdir(parents=True)
        os.path.ismount = lambda path: os.fspath(path) == sys.argv[1]
    target, at, seen = Path(sys.argv[1]), 0, 0

    def write(content):
        with run_folder.replace_folder(target, kind="run") as folder:
            (folder / "provenance.json").write_text('{"kind": "run", "artefacts": {"content.txt": ""}}')
            (folder / "content.txt").write_text(content)

    def hook(event, words):
        global seen
        if at and event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock"):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    write("old")
    sys.addaudithook(hook)
    alive, gaps = False, 0
    while not alive:
        at += 1
        child = os.fork()
        if child == 0:
            write("new")
            os._exit(0)
        alive = os.waitpid(child, 0)[1] == 0
        at, kept = 0, at
        gaps += not target.exists()
        run_folder.recover(target)
        names = sorted(path.name for path in target.iterdir())
        assert names == ["content.txt", "provenance.json"], (kept, names)
        assert (target / "content.txt").read_text() in ("old", "new"), kept
        write("old")
        assert sorted(path.name for path in target.parent.iterdir()) == ["results"], kept
        at = kept
    print(at, gaps)
"""


@pytest.mark.parametrize("way", ["exchange", "two renames", "in place"])
def test_a_kill_before_any_change_on_disk_leaves_the_old_results_or_the_new(tmp_path, way):
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(KILLED_AT_EVERY_CHANGE),
        str(tmp_path / "in" / "results"),
        way,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    moments, gaps = map(int, done.stdout.split())
    assert moments > 15
    if way == "two renames":
        assert gaps > 0  # a moment without results, which the next command puts right
    elif sys.platform == "linux":
        assert gaps == 0


def test_without_an_exchange_the_folder_is_replaced_in_two_renames(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.ctypes, "CDLL", lambda name: object())
    for content in ("first", "second"):
        with replace_folder(tmp_path / "results", kind="run") as folder:
            (folder / "provenance.json").write_text('{"kind": "run", "artefacts": {"content.txt": ""}}')
            (folder / "content.txt").write_text(content)
    assert (tmp_path / "results" / "content.txt").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_reader_leaves_the_folder_of_a_living_run_alone(tmp_path):
    with replace_folder(tmp_path / "results", kind="run") as folder:
        (folder / "half.txt").write_text("half")
        run_folder.recover(tmp_path / "results")
        assert (folder / "half.txt").exists()


def test_every_file_is_on_the_disk_before_the_results_get_their_name(tmp_path, monkeypatch):
    synced, order = set(), []
    fsync, exchange = os.fsync, run_folder._exchange
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.add(os.fstat(handle).st_ino), fsync(handle)))

    def noted(fresh, target):
        order.extend(path for path in (fresh, *fresh.rglob("*")) if path.stat().st_ino not in synced)
        return exchange(fresh, target)

    monkeypatch.setattr(run_folder, "_exchange", noted)
    for _ in range(2):
        with replace_folder(tmp_path / "results", kind="run") as folder:
            (folder / "provenance.json").write_text('{"kind": "run", "artefacts": {"models/a.json": ""}}')
            (folder / "models").mkdir()
            (folder / "models" / "a.json").write_text("a")
    assert order == []
    assert tmp_path.stat().st_ino in synced


def within_fresh(path, home):
    return path == home or path.relative_to(home).parts[0].startswith((".results.tmp-", ".results.lock"))


def test_a_command_touches_its_target_only_by_renaming(table, home):
    early = []

    def seen(event, path):
        if not within_fresh(path, home):
            early.append((event, path.name))

    with watched(home, seen):
        assert evaluate(table, home / "results") == 0
        assert main.run_command(["report", str(home / "results"), "--quiet"]) == 0
    assert early == []


def small_phantom(*words, **named):
    return phantom(seed=0, cases=(90, 30, 40), reason="a test asked for it")


@pytest.mark.slow
def test_a_study_writes_each_file_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("clineval.pipeline.run.load_cohort", small_phantom)
    home, early = tmp_path / "study", []

    def seen(event, path):
        inside = [part for part in path.relative_to(home).parts if ".tmp-" in part]
        if event == "open" and not inside:
            early.append(path.name)

    words = ["study", "--models", "logreg", "--folds", "2", "--repeats", "1", "--jobs", "1"]
    with watched(home, seen):
        assert main.run_command([*words, "--dataset", "phantom", "--out", str(home), "--quiet"]) == 0
    assert early == []
    assert (home / "study_risks.parquet").exists()
    assert list(home.glob("*.png"))
    assert not [path.name for path in home.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_at_any_change_is_one_line_and_leaves_the_old_results(table, home, code, capsys):
    before, left, tried = whole(home / "results"), -1, 0
    while True:
        tried += 1
        left = tried

        def fail(event, path):
            nonlocal left
            left -= 1
            # of all that a full disk refuses; removing and renaming away go on
            if left == 0 and event in ("open", "os.mkdir"):
                raise OSError(code, os.strerror(code), str(path))

        with watched(home, fail):
            ended = evaluate(table, home / "results")
        told = capsys.readouterr().err
        if left > 0:
            break
        assert [path.name for path in home.iterdir()] == ["results"], tried
        if ended == 0:  # nothing but a rename or a removal stood at this place
            before = whole(home / "results")
            continue
        assert ended == 3, told
        assert len(told.splitlines()) == 1
        assert "the disk is full" in told or "read-only" in told
        assert whole(home / "results") == before
    assert tried > 8


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 100, 2_000, 20_000, 60_000])
def test_a_write_that_stops_halfway_leaves_the_old_results(table, home, limit, capsys):
    before = whole(home / "results")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        ended = evaluate(table, home / "results")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    told = capsys.readouterr().err
    assert ended == 3, told
    assert len(told.splitlines()) == 1
    assert whole(home / "results") == before
    assert [path.name for path in home.iterdir()] == ["results"]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.parametrize("kilobytes", [4, 40, 100])
def test_a_small_disk_that_runs_full_is_named(tmp_path, table, kilobytes, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        assert evaluate(table, disk / "results") == 3
        assert "the disk is full" in capsys.readouterr().err
        assert [path.name for path in disk.iterdir()] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("at", range(1, 5))
def test_a_disk_that_turns_out_full_when_synced_leaves_the_old_results(tmp_path, monkeypatch, at):
    def write(content):
        with replace_folder(tmp_path / "results", kind="run") as folder:
            (folder / "provenance.json").write_text('{"kind": "run", "artefacts": {"content.txt": ""}}')
            (folder / "content.txt").write_text(content)

    write("old")
    left = [at]

    def full(handle):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with contextlib.suppress(OSError):
        write("new")
    assert (tmp_path / "results" / "content.txt").read_text() == ("old" if at < 4 else "new")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("content", [b"", b"not JSON", b'{"process": []}', b"\xff" * 2000])
def test_a_lock_left_by_a_dead_process_does_not_hinder(tmp_path, content):
    (tmp_path / ".results.lock").write_bytes(content)
    with replace_folder(tmp_path / "results", kind="run") as folder:
        (folder / "content.txt").write_text("here")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_lock_that_is_a_link_or_a_pipe_is_refused_and_what_it_leads_to_kept(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".results.lock").symlink_to(tmp_path / "precious")
    with (
        pytest.raises(InputError, match="is a link where a lock file is needed"),
        replace_folder(tmp_path / "results", kind="run"),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "kept"
    (tmp_path / ".results.lock").unlink()
    os.mkfifo(tmp_path / ".results.lock")
    with pytest.raises(InputError, match="device or pipe"), replace_folder(tmp_path / "results", kind="run"):
        pass


def test_two_studies_in_one_folder_are_kept_apart(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("clineval.pipeline.run.load_cohort", small_phantom)
    with run_folder.hold_folder(tmp_path / "study"):
        words = ["study", "--dataset", "phantom", "--out", str(tmp_path / "study"), "--quiet"]
        assert main.run_command(words) == 3
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err


def test_a_clock_that_runs_backwards_changes_nothing_but_the_times(table, home, monkeypatch):
    before = whole(home / "results")
    hours = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(hours)))
    monkeypatch.setattr(files, "now", lambda: f"{next(hours)}")
    assert evaluate(table, home / "backwards") == 0
    assert whole(home / "backwards") == before
    record = json.loads((home / "backwards" / "provenance.json").read_text())
    assert all(step["wall_seconds"] >= 0 for step in record["steps"])
    assert main.run_command(["verify", str(home / "backwards"), "--quiet"]) == 0


def test_only_the_known_modules_write_files():
    """A new writer must stand in a folder that is swapped in whole, or write whole files; then add it."""
    source = Path(run_folder.__file__).parents[1]
    words = (
        "write_text(",
        "write_json(",
        "write_bytes(",
        "to_csv(",
        "to_parquet(",
        "savefig(",
        'open("w',
        ".save(",
        "os.fdopen(",
    )
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in words)
    }
    whole_files = {
        "results/folder.py",
        "data/download.py",
        "files.py",
        "models/stored.py",
        "models/user_model.py",
        "models/user_worker.py",
        "pipeline/study.py",
    }
    inside_a_swapped_folder = {
        "evaluation/records.py", "pipeline/audit.py", "pipeline/evaluate.py", "pipeline/train.py",
        "pipeline/external.py", "pipeline/run.py", "pipeline/validate.py",
        "pipeline/adopt.py", "pipeline/readers.py",
        "predictions.py", "results/provenance.py",
        "reporting/figures.py", "reporting/style.py", "reporting/artefacts.py", "reporting/maps.py",
    }  # fmt: skip
    in_memory = {
        "data/preparation.py",
        "data/phantom.py",
        "pipeline/predict.py",
        "pipeline/serve.py",
        "cli/external.py",
        "cli/main.py",  # os.devnull in place of a closed stream
    }
    assert found <= whole_files | inside_a_swapped_folder | in_memory
