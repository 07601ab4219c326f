"""The command line: one line for every ending, and the exit code that goes with it."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from clineval import __version__
from clineval.cli import main
from clineval.cli.options import NEEDS, REPLACES
from clineval.errors import InputError
from clineval.pipeline.verify import Verdict

DIFFERING = Verdict(("a.png: differs", "b.csv: missing"))
COMMANDS = (
    "run", "fetch", "explore", "audit", "train", "evaluate",
    "report", "study", "adopt", "validate", "predict", "explain", "serve", "readers", "verify", "compare",
)  # fmt: skip


def ended(capsys, *words):
    code = main.run_command(list(words))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def loaded_by(statement):
    code = f"{statement}; import sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    assert not {"torch", "pandas", "numpy", "sklearn", "matplotlib"} & set(loaded_by("import clineval"))


def test_the_door_opens_without_torch_and_without_numbers():
    assert not {"torch", "pandas", "scipy", "sklearn", "matplotlib"} & set(
        loaded_by("import clineval.cli.main")
    )


@pytest.mark.slow
def test_everything_right_of_the_table_loads_without_torch_and_scikit_learn():
    loaded = set(loaded_by("import clineval.evaluation, clineval.statistics.roc, clineval.predictions"))
    assert not {"torch", "sklearn", "matplotlib"} & loaded


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(capsys, words):
    code, out, _ = ended(capsys, *words)
    assert code == 0
    for command in COMMANDS:
        assert command in out


def test_help_lists_the_commands_in_the_order_of_the_readme(capsys):
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^Commands: (.*)\.$", readme, flags=re.M)
    listed = re.findall(r"`(\w+)`", line)
    _, out, _ = ended(capsys, "--help")
    shown = [word for word in re.findall(r"^│ (\w+)  ", out, flags=re.M) if word in COMMANDS]
    assert listed == shown
    assert set(shown) == set(COMMANDS)


def test_the_three_common_options_come_first_and_the_others_under_headings(capsys):
    _, out, _ = ended(capsys, "run", "--help")
    panels = re.split(r"^╭─ (\w+) ─+╮$", out, flags=re.M)[1:]
    options = {
        name: re.findall(r"^│ (--[a-z-]+)", text, flags=re.M)
        for name, text in zip(panels[::2], panels[1::2], strict=True)
    }
    assert list(options) == ["Options", "Data", "Models", "Output", "Expert"]
    assert options["Options"] == ["--dataset", "--cohort", "--out", "--help"]


@pytest.mark.slow
def test_the_shell_can_complete_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "clineval"],
        env={
            **os.environ,
            "_CLINEVAL_COMPLETE": "complete_bash",
            "COMP_WORDS": "clineval ev",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["evaluate"], "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_teaches_by_example(capsys, command):
    code, out, _ = ended(capsys, command, "--help")
    assert code == 0
    assert f"clineval {command}" in out.split("Example", 1)[1]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", ["80", "120"])
def test_examples_stand_indented_and_on_lines_of_their_own(capsys, monkeypatch, command, columns):
    monkeypatch.setenv("COLUMNS", columns)
    shown = ended(capsys, command, "--help")[1].splitlines()
    start = next(row for row, line in enumerate(shown) if line.startswith((" Examples:", " Example:")))
    listed = shown[start + 1 : shown.index(" " * int(columns), start)]
    assert listed
    assert all(line.startswith(("   clineval ", "     --")) for line in listed)


@pytest.mark.parametrize("words", [["--version"], ["run", "--version"], ["verify", "x", "--version"]])
def test_the_version_is_told_everywhere(capsys, words):
    assert ended(capsys, *words) == (0, f"clineval {__version__}\n", "")


@pytest.mark.parametrize(
    "words", [["run", "--nonsense"], ["nonsense"], ["report", "a", "b"], ["predict", "a", "-x"]]
)
def test_wrong_usage_ends_with_2_and_points_to_help(capsys, words):
    code, out, err = ended(capsys, *words)
    assert (code, out) == (2, "")
    assert "--help" in err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--size", "many"],
        ["run", "--size", "29"],
        ["run", "--dataset", "chairs"],
        ["run", "--split", "random"],
        ["run", "--device", "abacus"],
        ["run", "--early-stopping", "never"],
        ["run", "--figures", "gif"],
        ["run", "--jobs", "0"],
        ["run", "--dataset", "phantom", "--size", "64"],
        ["verify", "nowhere"],
        ["report", "nowhere"],
        ["evaluate", "nowhere.csv"],
        ["audit", "nowhere"],
        ["compare", "nowhere", "nowhere"],
        ["fetch", "--dataset", "chairs"],
        ["run", "--out"],
        ["evaluate"],
        ["predict", "nowhere"],
        ["validate", "nowhere", "nowhere.csv"],
        ["predict", "nowhere", ""],
        ["audit", ""],
        ["run", "--out="],
        ["audit", ".", "--fail-on", ""],
    ],
)
def test_a_bad_value_ends_with_3_in_one_line_and_writes_nothing(capsys, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = ended(capsys, *words)
    last = err.strip().splitlines()[-1]
    assert code == 3, err
    assert out == ""
    assert last.startswith("clineval: ")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def ended_by(fault, capsys, monkeypatch):
    def fail(_folder):
        raise fault

    monkeypatch.setattr("clineval.pipeline.verify.verify_results", fail)
    return ended(capsys, "verify", "results")


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (InputError("needed: a; came: b"), 3, "clineval: needed: a; came: b"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "/x/y"), 3, "read-only at /x/y"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "out of memory"),
        (ZeroDivisionError("x"), 1, "unexpected fault"),
    ],
)
def test_every_fault_has_its_exit_code_and_its_line(capsys, monkeypatch, fault, code, words):
    got, out, err = ended_by(fault, capsys, monkeypatch)
    assert (got, out) == (code, "")
    assert words in err


TABLE = "case,outcome,risk\na,1,.5\nb,0,.4\nc,1,.7\nd,0,.2\n"


def started(tmp_path, shell, **changes):
    """The exit code and standard error of a shell line in which ``clineval`` is the program."""
    (tmp_path / "t.csv").write_text(TABLE)
    line = shell.replace("clineval", f"{sys.executable} -m clineval")
    environment = {**os.environ, **changes}
    words = ["bash", "-o", "pipefail", "-c", line]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "run --outcome-column y",
            "--outcome-column has no effect without --cohort; leave it out, or give --cohort too.",
        ),
        (
            "run --positive 1 --fit top --bits 12",
            "--positive, --fit and --bits have no effect without --cohort; leave them",
        ),
        (
            "run --models logreg --device cpu --early-stopping strict",
            "--device and --early-stopping have no effect where no network is trained; leave them out, or "
            "name cnn in --models.",
        ),
        (
            "study --only --model a=a.py:f --device cpu",
            "no effect where no network is trained; leave it out.",
        ),
        (
            "train --models logreg,scattering --device cpu",
            "--device has no effect where no network is trained;",
        ),
        ("run --only", "--only has no effect without --model;"),
        ("run --model a=a.py:f --only --models cnn", "--models has no effect beside --only; leave it out."),
        ("study --model-timeout 9", "--model-timeout has no effect without --model;"),
        ("study --cluster tcp://h:1 --jobs 2", "--jobs has no effect beside --cluster;"),
        ("validate r t.csv --name b --prevalence .1", "--prevalence has no effect without --reader;"),
        ("evaluate t.csv --medmnist breastmnist --scores", "--scores has no effect beside --medmnist;"),
        ("evaluate t.csv --json --table", "--table has no effect beside --json;"),
        ("verify r --retrain --image-folder i", "--image-folder has no effect without --cohort;"),
        ("verify r --retrain --model-timeout 9", "--model-timeout has no effect without --model;"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(words, said, capsys):
    assert main.run_command(words.split()) == 3
    assert said in capsys.readouterr().err


def test_options_without_effect_are_named_as_their_commands_have_them():
    parser = typer.main.get_command(main.app)
    for table in (NEEDS, REPLACES):
        for name, options in table.items():
            known = {each.name for each in parser.commands[name].params}
            assert set(options) | set(" ".join(options.values()).split()) <= known


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "code", "words"),
    [
        ("clineval --help | true", 141, ""),
        ("clineval run --help | head -1 >/dev/null", 141, ""),
        ("clineval evaluate t.csv --draws 20 --json --quiet | true", 141, ""),
        ("clineval --help >&-", 0, ""),
        ("clineval --version >/dev/full", 3, "the disk is full"),
        ("mkdir x; cd x; rmdir ../x; clineval verify ..", 3, "The working folder is no longer there"),
        ("ulimit -v 500000; clineval verify .", 3, "needs 1,024 MB of address space to start"),
    ],
)
def test_odd_surroundings_are_one_line(tmp_path, shell, code, words):
    got, err = started(tmp_path, shell)
    assert (got, "Traceback" in err) == (code, False), err
    assert words in err
    assert len(err.splitlines()) == bool(words)


@pytest.mark.slow
def test_a_terminal_that_knows_ascii_only_gets_letters_written_out(tmp_path):
    got, err = started(tmp_path, "clineval evaluate süd.csv", PYTHONIOENCODING="ascii")
    assert got == 3
    assert "s\\xfcd.csv" in err
    ascii_only = "clineval evaluate t.csv --draws 20 --out out | cat"
    assert started(tmp_path, ascii_only, PYTHONIOENCODING="ascii")[0] == 0


def test_a_library_that_wants_memory_in_its_own_words_is_out_of_memory(capsys, monkeypatch):
    for fault in (
        ImportError("x.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ):
        code, _, err = ended_by(fault, capsys, monkeypatch)
        assert code == 1
        assert "out of memory" in err
        assert "Traceback" not in err


def test_a_refusal_of_many_lines_is_printed_as_one(capsys, monkeypatch):
    _, _, err = ended_by(InputError("one\ntwo"), capsys, monkeypatch)
    assert err == "clineval: one two\n"


def test_what_differs_ends_with_4_a_line_each(capsys, monkeypatch):
    monkeypatch.setattr("clineval.pipeline.verify.verify_results", lambda folder: DIFFERING)
    code, _, err = ended(capsys, "verify", "results")
    assert code == 4
    assert err == "clineval: a.png: differs\nclineval: b.csv: missing\n"


def test_quiet_prints_nothing_when_all_is_well(capsys, monkeypatch):
    monkeypatch.setattr("clineval.pipeline.verify.verify_results", lambda folder: Verdict(()))
    assert ended(capsys, "verify", "results", "--quiet") == (0, "", "")
    assert "every artefact" in ended(capsys, "verify", "results")[1]


def test_a_path_below_the_home_folder_is_found_behind_an_equals_sign_and_in_quotes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("outcome,risk\n" + "1,0.8\n0,0.2\n0,0.6\n1,0.5\n" * 5)
    words = ["evaluate", "~/mine.csv", "--out=~/scored", "--draws", "20", "--quiet"]
    assert main.run_command(words) == 0
    assert (tmp_path / "scored" / "evaluation.json").is_file()
    assert not (tmp_path / "~").exists()
