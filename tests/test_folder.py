"""A results folder is replaced whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from clineval.errors import InputError
from clineval.results import folder as run_folder
from clineval.results.folder import replace_folder


def write_results(target, content="old", kind="run", **options):
    with replace_folder(target, kind=kind, **options) as folder:
        (folder / "provenance.json").write_text(json.dumps({"kind": kind}))
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
    with pytest.raises(InputError, match=r"not written by clineval.*--force"):
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
    with pytest.raises(InputError, match=r"results is a published record .*--out my-results.*--force"):
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


def test_a_users_own_old_folder_is_never_removed(tmp_path):
    write_results(tmp_path / "results")
    (tmp_path / "results.old").mkdir()
    (tmp_path / "results.old" / "mine").write_text("mine")
    with pytest.raises(InputError, match="in the way"):
        write_results(tmp_path / "results")
    assert (tmp_path / "results.old" / "mine").exists()


def test_a_kill_between_the_two_renames_is_put_right(tmp_path):
    write_results(tmp_path / "results", "first")
    (tmp_path / "results" / run_folder.BEING_REPLACED).touch()
    os.rename(tmp_path / "results", tmp_path / "results.old")
    run_folder.recover(tmp_path / "results")
    assert (tmp_path / "results" / "content.txt").read_text() == "first"
    assert names_beside(tmp_path / "results") == ["results"]
    assert not (tmp_path / "results" / run_folder.BEING_REPLACED).exists()


def test_a_kill_after_the_two_renames_is_put_right(tmp_path):
    write_results(tmp_path / "results", "new")
    write_results(tmp_path / "results.old", "old")
    (tmp_path / "results.old" / run_folder.BEING_REPLACED).touch()
    run_folder.recover(tmp_path / "results")
    assert (tmp_path / "results" / "content.txt").read_text() == "new"
    assert names_beside(tmp_path / "results") == ["results"]


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
    run_folder.write_whole(path, "first")
    with pytest.raises(TypeError):
        run_folder.write_whole(path, 3)
    assert path.read_text() == "first"
    assert [found.name for found in tmp_path.iterdir()] == ["a.txt"]


def test_missing_results_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        run_folder.require_results(tmp_path / "nowhere")
    write_results(tmp_path / "results")
    with pytest.raises(InputError, match=r"lacks evaluation\.json"):
        run_folder.require_results(tmp_path / "results", "evaluation.json", "content.txt")
