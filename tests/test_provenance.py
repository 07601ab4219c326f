"""Where a result came from is recorded, and says nothing of the user's folders."""

import getpass
import hashlib
import json
import socket

import numpy as np
import pytest

from clineval import provenance


def described(command=("clineval", "run")):
    recorder = provenance.Recorder()
    with recorder.step("count"):
        np.arange(1000).sum()
    return provenance.describe(
        kind="run", command=command, settings={"seed": 0}, source={"dataset": "phantom"}, recorder=recorder
    )


def test_a_record_names_command_settings_versions_machine_and_steps():
    record = described()
    assert record["command"] == ["clineval", "run"]
    assert record["settings"] == {"seed": 0}
    assert record["versions"]["numpy"] == np.__version__
    assert record["platform"]["cores"] >= 1
    (step,) = record["steps"]
    assert step["name"] == "count"
    assert step["wall_seconds"] >= 0
    assert step["peak_memory_mb"] > 1


def test_paths_in_the_command_are_cut_to_their_last_part():
    words = [
        "clineval",
        "run",
        "--out",
        "/home/someone/secret/results",
        "--to=/data/private/x",
        "--seed",
        "3",
    ]
    assert provenance.scrub_command(words) == ["clineval", "run", "--out", "results", "--to=x", "--seed", "3"]


def test_neither_host_nor_user_is_recorded(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "planted-host")
    text = json.dumps(described(("clineval", "run", "--out", "/home/planted-user/x")))
    assert "planted-host" not in text
    assert "planted-user" not in text
    assert f"/{getpass.getuser()}/" not in text


def test_the_hash_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert provenance.hash_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_a_seal_hashes_every_file_but_provenance_and_ledger(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "cnn.json").write_text("{}")
    (tmp_path / "predictions.csv").write_text("x")
    (tmp_path / "ledger.jsonl").write_text("x")
    provenance.seal(tmp_path, described())
    sealed = json.loads((tmp_path / "provenance.json").read_text())
    assert sorted(sealed["artefacts"]) == ["models/cnn.json", "predictions.csv", "ro-crate-metadata.json"]


def test_openings_of_the_test_set_are_counted_and_chained(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    for expected in (1, 2, 3):
        assert provenance.open_ledger(ledger, population="test", frozen={"settings": "abc"}) == expected
    assert provenance.broken_link(ledger) is None


@pytest.mark.parametrize(("doomed", "noticed"), [(0, 1), (1, 2)])
def test_a_dropped_opening_breaks_the_chain(tmp_path, doomed, noticed):
    ledger = tmp_path / "ledger.jsonl"
    for seed in range(4):
        provenance.open_ledger(ledger, population="test", frozen={"seed": seed})
    lines = ledger.read_text().splitlines()
    del lines[doomed]
    ledger.write_text("\n".join(lines) + "\n")
    assert provenance.broken_link(ledger) == noticed


def test_an_altered_opening_breaks_the_chain_at_the_next_line(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    for seed in range(3):
        provenance.open_ledger(ledger, population="test", frozen={"seed": seed})
    ledger.write_text(ledger.read_text().replace('"seed": 1', '"seed": 7'))
    assert provenance.broken_link(ledger) == 3


def test_a_truncated_ledger_line_is_noticed(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    provenance.open_ledger(ledger, population="test", frozen={})
    ledger.write_text(ledger.read_text()[:20])
    assert provenance.broken_link(ledger) == 1


def test_equal_settings_have_equal_hashes_whatever_their_order():
    one, other = provenance.hash_settings({"a": 1, "b": 2}), provenance.hash_settings({"b": 2, "a": 1})
    assert one == other != provenance.hash_settings({"a": 1, "b": 3})
