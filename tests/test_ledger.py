"""The ledger: a line for each opening, chained, and what tells that its end was cut off."""

import json

import pytest

from clineval import results
from clineval.results import broken_link, ledger_state, open_ledger, read_openings


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "ledger.jsonl"
    for seed in range(3):
        open_ledger(path, population="test", frozen={"seed": seed})
    return path


def test_openings_are_counted_and_chained(tmp_path):
    path = tmp_path / "ledger.jsonl"
    for expected in (1, 2, 3):
        assert open_ledger(path, population="test", frozen={"settings": "abc"}) == expected
    assert broken_link(path) is None
    assert len(read_openings(path)) == 3


def test_a_line_says_when_which_program_and_what_was_frozen(ledger):
    entry = read_openings(ledger)[1]
    assert entry["frozen"] == {"seed": 1}
    assert entry["population"] == "test"
    assert entry["opened"].endswith("+00:00")
    assert entry["commit"] == results.commit()


@pytest.mark.parametrize(("doomed", "noticed"), [(0, 1), (1, 2)])
def test_a_dropped_opening_breaks_the_chain(ledger, doomed, noticed):
    lines = ledger.read_text().splitlines()
    del lines[doomed]
    ledger.write_text("\n".join(lines) + "\n")
    assert broken_link(ledger) == noticed


def test_an_altered_opening_breaks_the_chain_at_the_next_line(ledger):
    ledger.write_text(ledger.read_text().replace('"seed": 1', '"seed": 7'))
    assert broken_link(ledger) == 3


@pytest.mark.parametrize("content", ["", "\n", '{"opened', "[1]", "[" * 100_000, "\udcff\n"])
def test_what_is_no_ledger_is_broken_at_its_first_line(tmp_path, content):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content.encode("utf-8", errors="surrogateescape"))
    assert broken_link(path) == 1
    assert read_openings(path) == []


def test_a_cut_end_keeps_the_chain_and_changes_the_state(ledger):
    whole = ledger_state(ledger)
    assert whole["openings"] == 3
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:2]))
    assert broken_link(ledger) is None
    assert ledger_state(ledger) != whole


def test_every_flipped_byte_breaks_the_chain_or_changes_the_state(ledger):
    content, whole = ledger.read_bytes(), ledger_state(ledger)
    for place in range(0, len(content), 7):
        ledger.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert broken_link(ledger) is not None or ledger_state(ledger) != whole, place


def test_names_that_hold_other_line_separators_do_not_break_a_line(tmp_path):
    path = tmp_path / "ledger.jsonl"
    for _ in range(2):
        open_ledger(path, population="north\u2028ward\u0085", frozen={})
    assert broken_link(path) is None
    assert len(read_openings(path)) == 2


def test_no_ledger_holds_no_opening(tmp_path):
    assert read_openings(tmp_path / "ledger.jsonl") == []
    assert ledger_state(tmp_path / "ledger.jsonl") is None


def test_a_clock_that_goes_back_does_not_break_the_chain(ledger, monkeypatch):
    monkeypatch.setattr("clineval.files.now", lambda: "1970-01-01T00:00:00+00:00")
    open_ledger(ledger, population="test", frozen={})
    assert broken_link(ledger) is None
    assert [json.loads(line)["opened"][:4] for line in ledger.read_text().splitlines()][-1] == "1970"
