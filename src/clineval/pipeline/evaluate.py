"""The evaluate step: anybody's table of predictions to a folder with its evaluation and report."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from clineval import provenance
from clineval.data.cohort import Source
from clineval.evaluation import Evaluation
from clineval.pipeline.coverage import write_coverage
from clineval.pipeline.medmnist_results import read_result_file
from clineval.pipeline.scoring import open_and_score
from clineval.predictions import read_predictions, write_predictions
from clineval.refusal import Refusal
from clineval.reporting.report import write_report
from clineval.run_folder import folder_kind, replace_folder, require_apart
from clineval.settings import EvaluationSettings

MOST_CSV_ROWS = 1_000_000
"""Rows beyond which the folder's copy of the table is Parquet: a CSV of more is slow to write and to open."""

Progress = Callable[[int, int], None]
Announce = Callable[[str], Progress]


def silent(_step: str) -> Progress:
    """An ``announce`` that shows nothing, for callers without a screen."""
    return lambda done, total: None


def evaluate_file(
    predictions: Path,
    *,
    condition: str | None = None,
    thresholds: Iterable[float] = (),
    columns: Mapping[str, str] | None = None,
    medmnist: str | None = None,
    level: float = EvaluationSettings.level,
    draws: int = EvaluationSettings.draws,
    seed: int = EvaluationSettings.seed,
    coverage: bool = False,
    shared_cases_only: bool = False,
    attributes: Iterable[str] = (),
    out: Path = Path("results"),
    force: bool = False,
    command: Iterable[str] = ("clineval", "evaluate"),
    announce: Announce = silent,
) -> Evaluation:
    """Score a table and write ``evaluation.json``, ``report.html`` and the table itself into ``out``.

    Parameters
    ----------
    predictions : a CSV or Parquet file as ``clineval.predictions`` describes it, or with ``medmnist``
        a result file of that data set's own evaluator.
    condition : the word for what outcome 1 stands for; by default "condition", with ``medmnist`` the
        data set's own.
    thresholds : further thresholds to report, 0 to 1.
    columns : the file's names for the table's columns.
    medmnist : name of the MedMNIST set that the result file belongs to.
    level, draws, seed : of the intervals and the bootstrap.
    coverage : also simulate how often our own intervals cover at this many cases and events.
    shared_cases_only : score models that were given different cases on the shared ones.
    attributes : columns to make subgroups of; by default all that can group cases.
    out, force : the folder to write, replaced whole or not at all.
    command : the words to record in the provenance.
    announce : called with each step's name; returns the step's ``progress(done, total)``.

    Raises
    ------
    Refusal : the table, an option or the folder is not fit; nothing is written then.
    """
    if condition is not None and not condition.strip():
        raise Refusal("--condition needs a word for what outcome 1 stands for, e.g. malignant; came nothing.")
    if folder_kind(out) is None:  # the table of a folder of ours comes back as it was
        require_apart(out, predictions)
    settings = EvaluationSettings(level=level, draws=draws, seed=seed)
    asked = {
        **asdict(settings),
        "thresholds": list(thresholds),
        "shared_cases_only": shared_cases_only,
        "attributes": list(attributes),
    }
    recorder = provenance.Recorder()
    with recorder.step("read"):
        table, source, word = _read(predictions, columns or {}, medmnist)
    with replace_folder(out, kind="evaluate", force=force) as folder:
        with recorder.step("table"):
            table = store_table(table, folder)
        frozen = {
            "data_sha256": source.sha256,
            "settings": {"evaluation": asked},
            "settings_sha256": provenance.hash_settings({"evaluation": asked}),
        }
        with recorder.step("evaluate"):
            evaluation = open_and_score(
                folder,
                asked,
                condition=condition or word,
                frozen=frozen,
                table=table,
                progress=announce("Scoring the table"),
            )
        if coverage:
            with recorder.step("coverage"):
                write_coverage(
                    evaluation, folder / "coverage.json", progress=announce("Simulating the coverage")
                )

        with recorder.step("report"):
            provenance.seal(folder, _facts(command, asked, source, evaluation.condition, recorder))
            write_report(folder)
        provenance.seal(folder, _facts(command, asked, source, evaluation.condition, recorder))
    return evaluation


def store_table(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Write a table into a folder and hand back what lies there, for that is what must be scored."""
    if len(table) > MOST_CSV_ROWS:
        # Parquet holds the very bits of the table that came: reading ten million rows again shows nothing.
        write_predictions(table, folder / "predictions.parquet")
        return table
    write_predictions(table, folder / "predictions.csv")
    return read_predictions(folder / "predictions.csv")


def _read(path: Path, columns: Mapping[str, str], medmnist: str | None) -> tuple[pd.DataFrame, Source, str]:
    """The table, where it came from, and the word for its condition."""
    if medmnist:
        table, cohort = read_result_file(path, medmnist)
        return table, cohort.source, cohort.condition
    table = read_predictions(path, columns=columns)
    source = Source("predictions", path.name, file=path.name, sha256=provenance.hash_file(path))
    return table, source, "condition"


def _facts(
    command: Iterable[str],
    settings: Mapping[str, Any],
    source: Source,
    condition: str,
    recorder: provenance.Recorder,
) -> dict[str, Any]:
    """The provenance of the folder, less the hashes of what lies in it."""
    return provenance.describe(
        kind="evaluate",
        command=command,
        settings={"evaluation": dict(settings)},
        source={"condition": condition, **asdict(source), "notice": source.notice},
        recorder=recorder,
    )
