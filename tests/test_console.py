"""The live table of a study: on a terminal only, and never against the user's wish."""

import io
import sys

import pandas as pd
import pytest

from clineval.cli import console
from clineval.cli.console import Screen, show_study, study_display


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("süd 北 ½ “x”", "süd 北 ½ “x”"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("bell\x07 null\0 zero\u200bwidth", "bell\\x07 null\\x00 zero\\u200bwidth"),
        ("\ud800", "\\ud800"),
        ("p\u00a0=\u00a00.051, 5\u202fmm", "p = 0.051, 5 mm"),
    ],
)
def test_characters_that_steer_a_terminal_are_written_out(text, shown):
    assert console.visible(text) == shown


def test_a_refusal_that_quotes_a_name_prints_it_harmlessly(capsys):
    console.complain("no column 'a\u202eb\x1b[31m'\nin mine.csv")
    assert capsys.readouterr().err == "clineval: no column 'a\\u202eb\\x1b[31m' in mine.csv\n"


def test_what_is_said_holds_neither_markup_nor_control_characters(capsys):
    console.say("[bold]x[/bold] \x1b[2J\u202e")
    assert capsys.readouterr().out == "[bold]x[/bold] \\x1b[2J\\u202e\n"


SUMMARY = pd.DataFrame({"model": ["scattering"], "auc": [0.8123], "cross_validations": [2]})


class Terminal(io.StringIO):
    """Standard error of a wide terminal."""

    def isatty(self):
        return True


def terminal_of(monkeypatch):
    """Put in place by the test itself: pytest's own capture takes over after fixtures."""
    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return seen


def test_on_a_terminal_the_table_so_far_is_shown_with_time_left(monkeypatch):
    terminal = terminal_of(monkeypatch)
    with study_display() as (announce, show):
        progress = announce("Training")
        progress(1, 4)
        show(SUMMARY)
    shown = terminal.getvalue()
    assert all(part in shown for part in ("scattering", "0.812", "Training", "1/4", "-:--:--"))


def test_the_live_table_is_gone_at_the_end_for_the_final_one(monkeypatch):
    terminal = terminal_of(monkeypatch)
    with study_display() as (_, show):
        show(SUMMARY)
    assert terminal.getvalue().endswith("\x1b[2K")  # the last line is erased


def test_what_is_undefined_is_a_dash_and_counts_are_whole(capsys):
    row = {"model": "cnn", "fraction": 1.0, "trained_on": 436.8, "cases": 624.0, "auc": 0.8456}
    show_study(pd.DataFrame([{**row, "auc_sd": float("nan")}]))
    shown = capsys.readouterr().out
    assert [part.strip() for part in shown.splitlines()[-2].strip("│").split("│")] == [
        "cnn", "1", "437", "624", "0.846", "–",
    ]  # fmt: skip


def test_elsewhere_each_step_is_a_line_and_no_table_comes(capsys):
    with study_display() as (announce, show):
        announce("Training")(1, 4)
    assert show is None
    assert capsys.readouterr().err == "clineval: Training\n"


def test_off_a_terminal_a_long_step_says_how_far_it_is_ever_more_rarely(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(console, "monotonic", lambda: now)
    with console.display() as announce:
        progress = announce("Scoring")
        for now in range(1, 31):
            progress(now, 30)
    said = [f"clineval: Scoring: {done} of 30" for done in (5, 15)]
    assert capsys.readouterr().err.splitlines() == ["clineval: Scoring", *said]


def test_a_quiet_study_shows_nothing(monkeypatch):
    terminal = terminal_of(monkeypatch)
    monkeypatch.setattr(Screen, "quiet", True)
    with study_display() as (announce, show):
        announce("Training")(1, 4)
    assert show is None
    assert terminal.getvalue() == ""
