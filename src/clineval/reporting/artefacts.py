"""What lies in a results folder, read and checked for the report."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from clineval.errors import InputError
from clineval.evaluation import Evaluation, read_evaluation
from clineval.predictions import read_predictions
from clineval.reporting.gallery import Gallery, read_gallery

TABLES = ("predictions.csv", "predictions.parquet")
EVALUATION, PROVENANCE = "evaluation.json", "provenance.json"
AUDIT, EXPLORATION, STORED = "audit.json", "exploration.json", "models/shipped.json"
TRANSPORT, ROBUSTNESS, COVERAGE = "transport.json", "robustness.csv", "coverage.json"
SITES, PROBES = "sites.json", "probes.json"


@dataclass(frozen=True)
class Artefacts:
    """The records of one results folder; an empty dict where a file is not there."""

    folder: Path
    table: pd.DataFrame
    table_name: str
    evaluation: Evaluation
    audit: dict[str, Any] = field(default_factory=dict)
    exploration: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)
    transport: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] = field(default_factory=dict)
    sites: dict[str, Any] = field(default_factory=dict)
    probes: dict[str, Any] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery)

    @property
    def source(self) -> dict[str, Any]:
        """Where the images are from, as the provenance says; empty for a table of predictions."""
        source = self.provenance.get("data", {})
        return source if isinstance(source, dict) else {}

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up."""
        return bool(self.source.get("synthetic")) or bool(self.exploration.get("notice"))

    @property
    def synthetic_reason(self) -> str:
        """Why made-up data were used."""
        said = str(self.source.get("reason") or self.exploration.get("notice", ""))
        return said.split(": ", 1)[-1]

    @property
    def dataset_id(self) -> str:
        """The data set's short name; empty for a table of predictions."""
        return str(self.source.get("dataset", ""))

    @property
    def dataset(self) -> str:
        """The data set's name in words; empty for a table of predictions."""
        return str(self.source.get("title") or self.exploration.get("dataset", ""))

    def has(self, name: str) -> bool:
        """Whether a file lies in the folder."""
        return (self.folder / name).is_file()


def read_artefacts(folder: Path, *, table: pd.DataFrame | None = None) -> Artefacts:
    """Read what a report is made of.

    Parameters
    ----------
    table : the folder's table as it was read before, where it is at hand.

    Raises
    ------
    InputError : the folder, its table or its evaluation is missing, of another schema, or not what the
        provenance beside it says.
    """
    if not folder.is_dir():
        raise InputError(f"A results folder is needed; {folder} is not a folder. Make one with: clineval run")
    table_name = next((name for name in TABLES if (folder / name).is_file()), None)
    if table_name is None or not (folder / EVALUATION).is_file():
        lacking = EVALUATION if table_name else TABLES[0]
        raise InputError(
            f"{folder} lacks {lacking}, which a report is made from; write it with: clineval run"
        )
    provenance = _read_json(folder, PROVENANCE)
    written = (
        table_name,
        EVALUATION,
        AUDIT,
        EXPLORATION,
        STORED,
        TRANSPORT,
        ROBUSTNESS,
        COVERAGE,
        SITES,
        PROBES,
    )
    _refuse_altered(folder, provenance, (*written, "gallery.json"))
    evaluation = read_evaluation(folder / EVALUATION)
    table = read_predictions(folder / table_name, scores=None) if table is None else table
    _refuse_unknown_models(evaluation, table, table_name)
    return Artefacts(
        folder=folder,
        table=table,
        table_name=table_name,
        evaluation=evaluation,
        audit=_read_json(folder, AUDIT),
        exploration=_read_json(folder, EXPLORATION),
        provenance=provenance,
        stored=_read_json(folder, STORED),
        transport=_read_json(folder, TRANSPORT),
        coverage=_read_json(folder, COVERAGE),
        sites=_read_json(folder, SITES),
        probes=_read_json(folder, PROBES),
        gallery=read_gallery(folder),
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{name} in {folder} cannot be read ({error}); write the results again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{name} in {folder} is not a JSON object; write the results again.")
    return content


def _refuse_altered(folder: Path, provenance: dict[str, Any], names: tuple[str, ...]) -> None:
    """A file that changed after the run would make a page that looks like the run's and is not."""
    recorded = provenance.get("artefacts") or {}
    for name in names:
        path = folder / name
        if name in recorded and path.is_file() and file_hash(path) != recorded[name]:
            raise InputError(
                f"{name} is not the file that {PROVENANCE} recorded: it was changed after it was written. "
                "See what differs with: clineval verify RESULTS"
            )


def _refuse_unknown_models(evaluation: Evaluation, table: pd.DataFrame, table_name: str) -> None:
    unknown = set(evaluation.models) - set(table["model"].unique())
    if unknown:
        raise InputError(
            f"{EVALUATION} scores {sorted(unknown)[0]!r}, a model that {table_name} does not hold; "
            "they are of different runs. Write both again with: clineval evaluate"
        )
