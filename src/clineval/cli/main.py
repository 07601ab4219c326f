"""The command line: parses, calls, prints, chooses the exit code; nothing else prints or exits."""

import gc
import os
import resource
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from clineval.cli import external, images, scoring
from clineval.cli.console import DONE, Screen, exit_code, interrupt_on_signals
from clineval.cli.options import Command, arrange, help_text
from clineval.errors import InputError, on_command_line
from clineval.files import program_version

LEAST_MEMORY = 1 << 30  # bytes; the libraries for arithmetic end without a word below about 0.8 of it
SHARED = ("--quiet", "-q", "--version")

app = typer.Typer(
    name="clineval",
    no_args_is_help=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=(
        "From medical images to an evaluation that a clinician can check.\n\n"
        "[bold]clineval run[/] audits the images, trains the models, scores the test set once and writes "
        "figures, tables and report.html. Have predictions of your own? [bold]clineval evaluate FILE[/] "
        "scores any CSV or Parquet table of outcomes and risks.\n\n"
        "--quiet and --version may also follow any command."
    ),
)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    Screen.quiet = quiet
    if version:
        typer.echo(f"clineval {program_version()}")
        raise typer.Exit(DONE)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


COMMANDS = {
    "Start here": (
        images.run,
        scoring.evaluate,
        external.validate,
        external.predict,
        external.explain,
        external.serve,
        scoring.readers,
    ),
    "Data": (images.audit, images.fetch, images.explore),
    "Models": (images.train, images.study, external.adopt),
    "Results": (scoring.report, scoring.verify, scoring.compare),
}
"""The commands by what they are about, in the order of the README."""

for _panel, _commands in COMMANDS.items():
    for _command in _commands:
        app.command(cls=Command, help=help_text(_command), rich_help_panel=_panel)(_command)


def main() -> None:
    """Run the command line and leave with its exit code."""
    interrupt_on_signals()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that the terminal cannot show is written out
            stream.reconfigure(errors="backslashreplace")
    code = run_command(sys.argv[1:])
    gc.freeze()  # skips Python's last walk through its memory, which takes half a second and frees nothing
    sys.exit(code)


def _open_closed_streams() -> None:
    """Lead streams that the caller has closed nowhere, so that no opened file takes their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is the stream's
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, mode))


def run_command(words: list[str]) -> int:
    """Run one command line and say with which exit code it ended."""
    with on_command_line():
        return exit_code(lambda: _opened(words))


def _opened(words: list[str]) -> Any:
    """What the command ended with. An empty word, as an unset shell variable leaves it, names nothing."""
    _check_surroundings()
    words = [_expand_home(word) for word in words]
    for place, word in enumerate(words):
        if word.startswith("--") and word.endswith("="):
            raise InputError(f"{word[:-1]} needs a value.")
        if not word:
            before = " ".join(["clineval", *words[:place]])
            raise InputError(f"An empty word follows '{before}'; name what is meant, or leave it out.")
    parser = arrange(typer.main.get_command(app))
    return parser.main(args=_shared_first(words), prog_name="clineval", standalone_mode=False)


def _expand_home(word: str) -> str:
    """A word with the home folder where its path begins with it, which no shell writes out behind ``=``."""
    option, equals, path = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{Path(path).expanduser()}" if path.startswith("~/") else word


def _check_surroundings() -> None:
    """Refuse what no command can work in, before libraries fail on it in ways of their own."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise InputError("The working folder is no longer there; change to one that is.") from None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 < limit < LEAST_MEMORY:
        raise InputError(
            f"clineval needs {LEAST_MEMORY >> 20:,} MB of address space to start; the limit is "
            f"{limit >> 20:,} MB. Raise it with: ulimit -v unlimited"
        )


def _shared_first(words: list[str]) -> list[str]:
    """The words with the options that every command shares moved before the command, where they are read."""
    shared = [word for word in words if word in SHARED]
    return shared + [word for word in words if word not in SHARED]
