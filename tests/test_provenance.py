"""Where a result came from is recorded, and says nothing of the user's folders."""

import getpass
import hashlib
import json
import socket
import subprocess
import sys

import numpy as np

from clineval import results
from clineval.errors import InputError
from clineval.results.environment import environment_differences


def described(command=("clineval", "run")):
    recorder = results.Recorder()
    with recorder.step("count"):
        np.arange(1000).sum()
    return results.describe(
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
    assert results.scrub_command(words) == ["clineval", "run", "--out", "results", "--to=x", "--seed", "3"]


def test_neither_host_nor_user_is_recorded(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "planted-host")
    text = json.dumps(described(("clineval", "run", "--out", "/home/planted-user/x")))
    assert "planted-host" not in text
    assert "planted-user" not in text
    assert f"/{getpass.getuser()}/" not in text


def test_the_hash_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert results.hash_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_a_seal_hashes_every_file_but_provenance_and_ledger(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "cnn.json").write_text("{}")
    (tmp_path / "predictions.csv").write_text("x")
    (tmp_path / "ledger.jsonl").write_text("x")
    results.seal(tmp_path, described())
    sealed = json.loads((tmp_path / "provenance.json").read_text())
    assert sorted(sealed["artefacts"]) == ["models/cnn.json", "predictions.csv", "ro-crate-metadata.json"]


def test_equal_settings_have_equal_hashes_whatever_their_order():
    one, other = results.hash_settings({"a": 1, "b": 2}), results.hash_settings({"b": 2, "a": 1})
    assert one == other != results.hash_settings({"a": 1, "b": 3})


def test_seeds_are_named_by_their_place_in_the_settings():
    settings = {
        "training": {"seed": 3, "seeds": [1, 2], "epochs": 4},
        "evaluation": {"seed": 0},
        "seed": None,
    }
    assert results.seeds_of(settings) == {
        "training.seed": 3,
        "training.seeds": [1, 2],
        "evaluation.seed": 0,
    }


def test_a_record_says_what_else_a_number_may_depend_on(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    record = described()
    machine = record["platform"]
    assert machine["thread_variables"]["OMP_NUM_THREADS"] == "3"
    assert machine["arithmetic_variables"] == {"ATEN_CPU_CAPABILITY": "avx2"}
    assert {"system", "machine", "processor", "instruction_sets", "cores", "c_library"} <= machine.keys()
    assert any("blas" in library["library"] for library in machine["arithmetic_libraries"])
    assert all("/" not in str(library) for library in machine["arithmetic_libraries"])
    assert {"numpy", "scipy", "pandas", "torch", "scikit-learn", "Pillow"} <= record["versions"].keys()
    assert record["commit"].keys() == {"hash", "day", "clean"}
    assert record["started"].endswith("+00:00")


def test_a_words_bytes_that_are_no_text_do_not_stop_the_record(tmp_path):
    results.seal(tmp_path, described(("clineval", "run", "--out", "/x/caf\udce9")))
    assert json.loads((tmp_path / "provenance.json").read_text())["command"][-1] == "caf?"


def test_time_and_memory_of_a_living_worker_are_counted(tmp_path):
    work = (
        "import sys; x = bytearray(300_000_000); sum(range(3_000_000)); print(flush=True); sys.stdin.read()"
    )
    recorder = results.Recorder()
    with recorder.step("work"):
        worker = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        worker.stdout.readline()
    worker.communicate()
    (step,) = recorder.steps
    assert step.cpu_seconds > 0.02
    assert step.peak_memory_mb > 300


def refused_or_odd(path):
    try:
        return not results.is_as_sealed(path, results.read_provenance(path))
    except InputError as refusal:
        return path.name in str(refusal)


def test_a_flipped_byte_of_a_provenance_no_longer_fits_its_seal(tmp_path):
    (tmp_path / "predictions.csv").write_text("x")
    results.seal(tmp_path, described())
    path = tmp_path / "provenance.json"
    content = path.read_bytes()
    assert results.is_as_sealed(path, results.read_provenance(path))
    for place in range(0, len(content), 11):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert refused_or_odd(path), place


def test_a_reseal_changes_the_named_hashes_only(tmp_path):
    for name in ("report.html", "predictions.csv"):
        (tmp_path / name).write_text("old")
    results.seal(tmp_path, described())
    before = results.read_provenance(tmp_path / "provenance.json")
    for name in ("report.html", "predictions.csv"):
        (tmp_path / name).write_text("new")
    results.reseal(tmp_path, before, names=("report.html", "checklist.csv"))
    after = results.read_provenance(tmp_path / "provenance.json")
    changed = {name for name in after["artefacts"] if after["artefacts"][name] != before["artefacts"][name]}
    assert changed == {"report.html", results.CRATE}
    assert results.is_as_sealed(tmp_path / "provenance.json", after)


def test_a_reseal_does_not_mend_a_broken_seal(tmp_path):
    results.seal(tmp_path, described())
    path = tmp_path / "provenance.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    results.reseal(tmp_path, results.read_provenance(path), names=())
    assert not results.is_as_sealed(path, results.read_provenance(path))


def test_outside_a_checkout_no_commit_is_claimed(monkeypatch):
    monkeypatch.setattr("clineval.results.environment._git", lambda root, *words: None)
    assert results.commit() is None


def test_a_machine_without_cpuinfo_is_described_all_the_same(monkeypatch):
    monkeypatch.setattr("clineval.results.environment.Path.read_text", _absent)
    assert results.machine()["instruction_sets"] == []


def _absent(*_words, **_named):
    raise FileNotFoundError


def test_what_differs_from_the_machine_of_a_record_is_named():
    record = described()
    assert environment_differences(record) == []
    record["versions"] = {**record["versions"], "numpy": "1.0", "matplotlib": "1.0"}
    record["platform"] = {**record["platform"], "processor": "Abacus", "cores": 999}
    processor, numpy = environment_differences(record)
    assert processor.startswith("processor (Abacus then, ")
    assert numpy == f"numpy (1.0 then, {np.__version__} now)"


def test_variables_that_choose_other_instructions_count_as_another_machine(monkeypatch):
    record = described()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    (line,) = environment_differences(record)
    assert line == "arithmetic variables (none set then, ATEN_CPU_CAPABILITY=default now)"
