"""``ro-crate-metadata.json``: what lies in a results folder, in the words that research archives read."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clineval.files import FILE, LEDGER, UNHASHED, program_version, write_whole

CRATE = "ro-crate-metadata.json"
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
RELEASED = "2026-11-23"  # day of this version, for a program that is not run from a checkout
CONTEXT = [f"{SPECIFICATION}/context", {"sha256": "http://schema.org/sha256"}]
LICENCES = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC 4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
}
FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
WORDS = {
    "predictions.csv": "The risk of every case by every model: all numbers follow from this table",
    "evaluation.json": "Every statistic with its interval",
    "report.html": "The report, for reading",
    FILE: "Command, settings, versions, machine, steps with their times, and a hash of each file",
    LEDGER: "Every opening of the test set, chained by hash",
}


def write_crate(folder: Path, record: Mapping[str, Any], *, hashes: Mapping[str, str]) -> None:
    """Describe the files of a folder as an RO-Crate 1.1, with no time of the run in it.

    The day that the standard asks for is that of the program's commit, so that two runs of one program
    on the same data and settings write the same bytes.
    """
    described = {name: digest for name, digest in sorted(hashes.items()) if name != CRATE}
    graph = list(_entities(folder, record, described))
    text = json.dumps({"@context": CONTEXT, "@graph": graph}, indent=1, ensure_ascii=False)
    write_whole(folder / CRATE, text + "\n")


def _entities(folder: Path, record: Mapping[str, Any], hashes: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    files = [*_files(folder, hashes)]
    software = [*_software(record)]
    data, licence = _data(record["data"]), _licence(record["data"])
    yield {
        "@id": CRATE,
        "@type": "CreativeWork",
        "conformsTo": {"@id": SPECIFICATION},
        "about": {"@id": "./"},
    }
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Results of clineval {record['kind']}: {data['name']}",
        "description": _description(record),
        "datePublished": (record.get("commit") or {}).get("day") or RELEASED,
        "license": {"@id": licence["@id"]},
        "hasPart": [_link(file) for file in files],
        "mentions": {"@id": "#run"},
    }
    yield {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"clineval {record['kind']}",
        "description": f"Settings, machine and steps are in {FILE}",
        "instrument": {"@id": "#clineval"},
        "object": _link(data),
        "result": {"@id": "./"},
    }
    yield from (*software, data, licence, *files)


def _description(record: Mapping[str, Any]) -> str:
    notice = str(record["data"].get("notice") or "")
    first = f"Written by {record['program']}; clineval verify checks it against {FILE}."
    return f"{notice}. {first}" if notice else first


def _files(folder: Path, hashes: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, digest in hashes.items():
        if (folder / name).is_file():
            size = (folder / name).stat().st_size
            yield {**_file(name), "contentSize": str(size), "sha256": digest}
    # These two hold times, so neither their size nor their hash may stand here.
    yield from (_file(name) for name in UNHASHED if name == FILE or (folder / name).is_file())


def _file(name: str) -> dict[str, Any]:
    kind = FORMATS.get(Path(name).suffix, "application/octet-stream")
    said = {"description": WORDS[name]} if name in WORDS else {}
    return {"@id": quote(name), "@type": "File", "name": name, **said, "encodingFormat": kind}


def _software(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    others = {name: value for name, value in record["versions"].items() if name != "clineval"}
    commit = (record.get("commit") or {}).get("hash")
    yield {
        "@id": "#clineval",
        "@type": "SoftwareApplication",
        "name": "clineval",
        "softwareVersion": program_version(),
        **({"identifier": commit} if commit else {}),
        "softwareRequirements": [{"@id": f"#{name}"} for name in others],
    }
    for name, version in others.items():
        yield {
            "@id": f"#{name}",
            "@type": "SoftwareApplication",
            "name": name,
            "softwareVersion": version,
        }


def _data(source: Mapping[str, Any]) -> dict[str, Any]:
    said = {"sha256": source.get("sha256"), "citation": source.get("citation"), "url": source.get("url")}
    return {
        "@id": "#data",
        "@type": "Dataset",
        "name": str(source.get("title") or source.get("dataset") or "data"),
        **{name: value for name, value in said.items() if value},
    }


def _licence(source: Mapping[str, Any]) -> dict[str, Any]:
    name = str(source.get("licence") or "not stated")
    return {
        "@id": LICENCES.get(name, "#licence"),
        "@type": "CreativeWork",
        "name": name,
        "description": "Licence of the data that these results, and the images shown in them, come from",
    }


def _link(entity: Mapping[str, Any]) -> dict[str, str]:
    return {"@id": entity["@id"]}
