"""A results folder is replaced whole or not at all."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from clineval.errors import InputError, on_command_line
from clineval.files import write_whole
from clineval.results import folder as run_folder
from clineval.results.folder import replace_folder


def write_results(target, content="old", kind="run", **options):
    with replace_folder(target, kind=kind, **options) as folder:
        (folder / "provenance.json").write_text(json.dumps({"kind": kind, "artefacts": {"content.txt": ""}}))
        (folder / "content.txt").write_text(content)


def names_beside(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_results_appear_whole_and_leave_nothing_beside(tmp_path):
    target = tmp_path / "deep" / "results"
    write_results(target, "first")
    assert (target / "content.txt").read_text() == "first"
    assert names_beside(target) == ["results"]


def test_a_second_run_replaces_the_first(tmp_path):
    write_results(tmp_path / "results", "first")
    write_results(tmp_path / "results", "second")
    assert (tmp_path / "results" / "content.txt").read_text() == "second"
    assert names_beside(tmp_path / "results") == ["results"]


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_a_failing_run_leaves_the_old_results_untouched(tmp_path, fault):
    write_results(tmp_path / "results", "first")

    def fail():
        with replace_folder(tmp_path / "results", kind="run") as folder:
            (folder / "content.txt").write_text("half")
            raise fault

    with pytest.raises(fault):
        fail()
    assert (tmp_path / "results" / "content.txt").read_text() == "first"
    assert names_beside(tmp_path / "results") == ["results"]


def test_the_ledger_outlives_the_run_that_wrote_it(tmp_path):
    with replace_folder(tmp_path / "results", kind="run") as folder:
        (folder / "provenance.json").write_text('{"kind": "run"}')
        (folder / "ledger.jsonl").write_text("line\n")
    with replace_folder(tmp_path / "results", kind="run") as folder:
        assert (folder / "ledger.jsonl").read_text() == "line\n"


def test_a_strangers_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"not written by clineval.*force=True"):
        write_results(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_force_replaces_a_strangers_folder(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "junk").write_text("x")
    write_results(tmp_path / "scratch", force=True)
    assert sorted(path.name for path in (tmp_path / "scratch").iterdir()) == [
        "content.txt",
        "provenance.json",
    ]


def test_results_of_another_command_are_not_replaced_unasked(tmp_path):
    write_results(tmp_path / "results", kind="run")
    with pytest.raises(InputError, match="holds the results of 'clineval run'"):
        write_results(tmp_path / "results", kind="evaluate")


def test_a_published_record_is_not_replaced_unless_forced(tmp_path):
    write_results(tmp_path / "results", "published")
    record = {"kind": "run", run_folder.PUBLISHED: True}
    (tmp_path / "results" / "provenance.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"results is a published record .*out=my-results.*force=True"):
        write_results(tmp_path / "results", "new")
    with on_command_line(), pytest.raises(InputError, match=r"--out my-results, or .* with --force\.$"):
        write_results(tmp_path / "results", "new")
    assert (tmp_path / "results" / "content.txt").read_text() == "published"
    write_results(tmp_path / "results", "new", force=True)
    assert (tmp_path / "results" / "content.txt").read_text() == "new"
    assert not run_folder.is_published(tmp_path / "results")


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    write_results(tmp_path / "empty")
    assert (tmp_path / "empty" / "content.txt").exists()


def test_a_folder_with_a_data_set_is_not_replaced_even_by_force(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "breastmnist.npz").write_bytes(b"images")
    with pytest.raises(InputError, match=r"holds the data set breastmnist\.npz and is never replaced"):
        write_results(tmp_path / "data", force=True)
    assert (tmp_path / "data" / "breastmnist.npz").read_bytes() == b"images"


def test_neither_the_home_nor_the_working_folder_is_replaced_even_by_force(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for target in (tmp_path / "here", tmp_path):
        with pytest.raises(InputError, match="never replaced"):
            write_results(target, force=True)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(InputError, match="is a file or a link"):
        write_results(tmp_path / "results", force=True)
    with pytest.raises(InputError, match="lies below a file"):
        write_results(tmp_path / "results" / "below")


def make_staging(target, *inside):
    """What a run leaves when it is killed: its staging folder, with its sign."""
    staging = target.with_name(f".{target.name}.tmp-abc")
    staging.mkdir()
    (staging / run_folder.SIGN).write_text(json.dumps(run_folder._sign(target)))
    for name in inside:
        (staging / name).mkdir()
        (staging / name / "content.txt").write_text(name)
    return staging


def test_a_kill_between_the_two_renames_is_undone(tmp_path):
    make_staging(tmp_path / "results", "new", "old")
    run_folder.recover(tmp_path / "results")
    assert (tmp_path / "results" / "content.txt").read_text() == "old"
    assert names_beside(tmp_path / "results") == ["results"]


def test_what_a_kill_after_the_swap_leaves_is_removed(tmp_path):
    write_results(tmp_path / "results", "new")
    make_staging(tmp_path / "results", "old")
    run_folder.recover(tmp_path / "results")
    assert (tmp_path / "results" / "content.txt").read_text() == "new"
    assert names_beside(tmp_path / "results") == ["results"]


@pytest.mark.parametrize("name", [".results.tmp-mine", "results.old", ".results.tmp-x.txt"])
def test_a_users_own_folder_of_such_a_name_is_never_removed(tmp_path, name):
    write_results(tmp_path / "results")
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("mine")
    write_results(tmp_path / "results")
    run_folder.recover(tmp_path / "results")
    assert (tmp_path / name / "mine").read_text() == "mine"


def test_a_folder_with_files_of_others_is_refused_by_their_names(tmp_path):
    write_results(tmp_path / "results", "first")
    (tmp_path / "results" / "notes.txt").write_text("mine")
    (tmp_path / "results" / ".git").mkdir()
    (tmp_path / "results" / ".git" / "config").write_text("mine")
    (tmp_path / "results" / "link").symlink_to("/etc/hosts")
    with pytest.raises(InputError, match=r"did not write and would delete: \.git/config; link; notes\.txt\."):
        write_results(tmp_path / "results", "second")
    assert (tmp_path / "results" / "notes.txt").read_text() == "mine"
    write_results(tmp_path / "results", "second", force=True)
    assert not (tmp_path / "results" / "notes.txt").exists()


def test_what_file_managers_leave_is_no_file_of_others(tmp_path):
    write_results(tmp_path / "results", "first")
    (tmp_path / "results" / ".DS_Store").write_bytes(b"x")
    write_results(tmp_path / "results", "second")
    assert (tmp_path / "results" / "content.txt").read_text() == "second"


def in_place(monkeypatch, target):
    """As if the target were a mount point."""
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) == os.fspath(target))


def test_a_mount_point_is_filled_in_place_and_left_clean(tmp_path, monkeypatch):
    target = tmp_path / "results"
    target.mkdir()
    inode = target.stat().st_ino
    in_place(monkeypatch, target)
    for content in ("first", "second"):
        write_results(target, content)
        assert (target / "content.txt").read_text() == content
    assert target.stat().st_ino == inode
    assert names_beside(target) == ["results"]
    assert sorted(path.name for path in target.iterdir()) == ["content.txt", "provenance.json"]


def test_a_failing_run_leaves_the_content_of_a_mount_point(tmp_path, monkeypatch):
    target = tmp_path / "results"
    target.mkdir()
    in_place(monkeypatch, target)
    write_results(target, "first")

    def fail():
        with replace_folder(target, kind="run") as folder:
            (folder / "content.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (target / "content.txt").read_text() == "first"
    assert sorted(path.name for path in target.iterdir()) == ["content.txt", "provenance.json"]


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV, errno.EACCES])
def test_a_folder_that_turns_out_not_to_be_renamed_gets_its_results_all_the_same(tmp_path, monkeypatch, code):
    target, rename = tmp_path / "results", os.rename
    write_results(target, "first")

    def refuse(one, other):
        crossing = code == errno.EXDEV and os.path.basename(other) == run_folder.STAGED and "new" in str(one)
        if os.fspath(one) == os.fspath(target) or (crossing and target not in one.parents):
            raise OSError(code, os.strerror(code), str(one))
        rename(one, other)

    monkeypatch.setattr(run_folder, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", refuse)
    write_results(target, "second")
    assert (target / "content.txt").read_text() == "second"
    assert names_beside(target) == ["results"]
    assert sorted(path.name for path in target.iterdir()) == ["content.txt", "provenance.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk")
def test_a_real_mount_point_is_filled(tmp_path):
    target = tmp_path / "disk"
    target.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(target)], capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        for content in ("first", "second"):
            write_results(target, content)
            assert (target / "content.txt").read_text() == content
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_a_folder_replaced_while_it_is_read_is_noticed(tmp_path):
    write_results(tmp_path / "results", "first")
    unchanged = run_folder.watch(tmp_path / "results")
    unchanged()
    write_results(tmp_path / "results", "second")
    with pytest.raises(InputError, match="was replaced by another run while it was read"):
        unchanged()


HOLD = """
    import sys, time
    from pathlib import Path
    from clineval.results.folder import replace_folder
    with replace_folder(Path(sys.argv[1]), kind="run") as folder:
        (folder / "half.txt").write_text("half")
        print("holding", flush=True)
        time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path / "results")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "holding\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_into_one_folder_is_told_who_holds_it(tmp_path, holder):
    with pytest.raises(InputError, match=f"is being written by process {holder.pid}"):
        write_results(tmp_path / "results")


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_no_lock_and_no_half_results(tmp_path, holder, kill):
    holder.send_signal(kill)
    holder.wait(timeout=10)
    time.sleep(0.05)
    assert not (tmp_path / "results").exists()
    write_results(tmp_path / "results", "next")
    assert names_beside(tmp_path / "results") == ["results"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "first")
    with pytest.raises(TypeError):
        write_whole(path, 3)
    assert path.read_text() == "first"
    assert [found.name for found in tmp_path.iterdir()] == ["a.txt"]


def test_missing_results_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        run_folder.require_results(tmp_path / "nowhere")
    write_results(tmp_path / "results")
    with pytest.raises(InputError, match=r"lacks evaluation\.json"):
        run_folder.require_results(tmp_path / "results", "evaluation.json", "content.txt")


def test_a_folder_of_a_command_without_an_evaluation_is_named_for_what_it_is(tmp_path):
    record = {"kind": "train", "artefacts": {"predictions.csv": "0" * 64}}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    said = r"was written by clineval train, which scores no test case and writes no evaluation\.json\. Name a"
    with pytest.raises(InputError, match=said):
        run_folder.require_results(tmp_path, "provenance.json", "evaluation.json")
    with pytest.raises(InputError, match=r"is an incomplete results folder: it lacks predictions\.csv"):
        run_folder.require_results(tmp_path, "predictions.csv")
