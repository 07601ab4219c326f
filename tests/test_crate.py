"""The RO-Crate beside results: whole, linked, without a time, and the same bytes from run to run."""

import json
import re

import pytest

from clineval import results
from clineval.results import CRATE
from clineval.results.crate import RELEASED, write_crate

SOURCE = {
    "dataset": "breastmnist",
    "title": "BreastMNIST",
    "sha256": "ab" * 32,
    "licence": "CC BY 4.0",
    "citation": "Yang et al.",
    "url": "https://zenodo.org/records/10519652/files/breastmnist.npz",
    "notice": "",
}


def described(**source):
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
    results.seal(tmp_path, described())
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
    results.seal(folder, described())
    assert (folder / CRATE).read_bytes() == first


def test_its_day_is_that_of_the_programs_commit_or_of_the_version(folder):
    record = described()
    hashes = results.hash_folder(folder)
    for commit, day in (({"hash": "a", "day": "2020-02-02"}, "2020-02-02"), (None, RELEASED)):
        write_crate(folder, {**record, "commit": commit}, hashes=hashes)
        assert f'"datePublished": "{day}"' in (folder / CRATE).read_text()


def test_data_of_no_stated_licence_and_phantoms_say_so(folder):
    write_crate(folder, described(licence="", notice="SYNTHETIC PHANTOM DATA: a test"), hashes={})
    graph = {entity["@id"]: entity for entity in json.loads((folder / CRATE).read_text())["@graph"]}
    assert graph["#licence"]["name"] == "not stated"
    assert graph["./"]["description"].startswith("SYNTHETIC PHANTOM DATA: a test. Written by clineval")


def test_a_seal_covers_the_crate(folder):
    sealed = json.loads((folder / "provenance.json").read_text())
    assert sealed["artefacts"][CRATE] == results.hash_file(folder / CRATE)
