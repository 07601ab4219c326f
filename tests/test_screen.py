"""What the door shows: names of strangers are shown, never obeyed."""

import pytest

from clineval import screen


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("süd 北 ½ “x”", "süd 北 ½ “x”"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("bell\x07 null\0 zero\u200bwidth", "bell\\x07 null\\x00 zero\\u200bwidth"),
        ("\ud800", "\\ud800"),
    ],
)
def test_characters_that_steer_a_terminal_are_written_out(text, shown):
    assert screen.visible(text) == shown


def test_a_refusal_that_quotes_a_name_prints_it_harmlessly(capsys):
    screen.complain("no column 'a\u202eb\x1b[31m'\nin mine.csv")
    assert capsys.readouterr().err == "clineval: no column 'a\\u202eb\\x1b[31m' in mine.csv\n"


def test_what_is_said_holds_neither_markup_nor_control_characters(capsys):
    screen.say("[bold]x[/bold] \x1b[2J\u202e")
    assert capsys.readouterr().out == "[bold]x[/bold] \\x1b[2J\\u202e\n"
