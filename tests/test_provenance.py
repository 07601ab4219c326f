"""Where a result came from is recorded, and says nothing of the user's folders."""

import getpass
import hashlib
import json
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from clineval import results
from clineval.errors import InputError
from clineval.results import CRATE, broken_link, ledger_state, open_ledger, read_openings
from clineval.results.provenance import RELEASED, environment_differences, write_crate


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
    monkeypatch.setattr("clineval.results.provenance._git", lambda root, *words: None)
    assert results.commit() is None


def test_a_machine_without_cpuinfo_is_described_all_the_same(monkeypatch):
    monkeypatch.setattr("clineval.results.provenance.Path.read_text", _absent)
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


SOURCE = {
    "dataset": "breastmnist",
    "title": "BreastMNIST",
    "sha256": "ab" * 32,
    "licence": "CC BY 4.0",
    "citation": "Yang et al.",
    "url": "https://zenodo.org/records/10519652/files/breastmnist.npz",
    "notice": "",
}


def described_files(**source):
    return results.describe(
        kind="run",
        command=("clineval", "run"),
        settings={"training": {"seed": 3}},
        source={**SOURCE, **source},
        recorder=results.Recorder(),
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "cnn.safetensors").write_bytes(b"12345")
    (tmp_path / "predictions.csv").write_text("model,risk\n")
    (tmp_path / "a name with 100% & spaces.png").write_bytes(b"x")
    (tmp_path / "ledger.jsonl").write_text("{}\n")
    results.seal(tmp_path, described_files())
    return tmp_path


@pytest.fixture
def graph(folder):
    return {entity["@id"]: entity for entity in json.loads((folder / CRATE).read_text())["@graph"]}


def test_the_descriptor_and_the_root_are_those_of_ro_crate_1_1(folder, graph):
    content = json.loads((folder / CRATE).read_text())
    assert content["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    assert graph[CRATE]["@type"] == "CreativeWork"
    assert graph[CRATE]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert graph[CRATE]["about"] == {"@id": "./"}
    root = graph["./"]
    assert root["@type"] == "Dataset"
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", root["datePublished"])
    assert root["name"]
    assert root["description"]
    assert graph[root["license"]["@id"]]["name"] == "CC BY 4.0"


def test_every_entity_has_an_id_and_a_type_and_every_link_leads_to_one(folder):
    entities = json.loads((folder / CRATE).read_text())["@graph"]
    assert len({entity["@id"] for entity in entities}) == len(entities)
    known = {entity["@id"] for entity in entities} | {"https://w3id.org/ro/crate/1.1"}
    for entity in entities:
        assert entity["@type"]
        for value in entity.values():
            for link in value if isinstance(value, list) else [value]:
                assert not isinstance(link, dict) or link["@id"] in known, link


def test_every_file_is_a_part_with_its_size_and_hash(folder, graph):
    parts = {link["@id"] for link in graph["./"]["hasPart"]}
    hashes = results.hash_folder(folder)
    assert {graph[part]["name"] for part in parts} == {*hashes, "provenance.json", "ledger.jsonl"} - {CRATE}
    assert "a%20name%20with%20100%25%20%26%20spaces.png" in parts
    weights = graph["models/cnn.safetensors"]
    assert weights["@type"] == "File"
    assert weights["contentSize"] == "5"
    assert weights["sha256"] == hashes["models/cnn.safetensors"]
    assert "sha256" not in graph["provenance.json"], "it holds times, so its hash would be one, too"


def test_program_versions_and_data_are_linked_from_the_run(graph):
    run = graph["#run"]
    assert run["@type"] == "CreateAction"
    program = graph[run["instrument"]["@id"]]
    assert program["identifier"] == results.commit()["hash"]
    versions = {graph[link["@id"]]["name"] for link in program["softwareRequirements"]}
    assert {"python", "numpy", "torch"} <= versions
    assert graph[run["object"]["@id"]]["sha256"] == SOURCE["sha256"]


def test_it_holds_no_time_and_is_the_same_on_another_day(folder, monkeypatch):
    first = (folder / CRATE).read_bytes()
    assert re.findall(rb"\d\d:\d\d", first) == []
    monkeypatch.setattr("clineval.files.now", lambda: "2031-01-01T00:00:00+00:00")
    (folder / "ledger.jsonl").write_text("{}\n{}\n")
    results.seal(folder, described_files())
    assert (folder / CRATE).read_bytes() == first


def test_its_day_is_that_of_the_programs_commit_or_of_the_version(folder):
    record = described_files()
    hashes = results.hash_folder(folder)
    for commit, day in (({"hash": "a", "day": "2020-02-02"}, "2020-02-02"), (None, RELEASED)):
        write_crate(folder, {**record, "commit": commit}, hashes=hashes)
        assert f'"datePublished": "{day}"' in (folder / CRATE).read_text()


def test_data_of_no_stated_licence_and_phantoms_say_so(folder):
    write_crate(folder, described_files(licence="", notice="SYNTHETIC PHANTOM DATA: a test"), hashes={})
    graph = {entity["@id"]: entity for entity in json.loads((folder / CRATE).read_text())["@graph"]}
    assert graph["#licence"]["name"] == "not stated"
    assert graph["./"]["description"].startswith("SYNTHETIC PHANTOM DATA: a test. Written by clineval")


def test_a_seal_covers_the_crate(folder):
    sealed = json.loads((folder / "provenance.json").read_text())
    assert sealed["artefacts"][CRATE] == results.hash_file(folder / CRATE)
