"""The work of clineval evaluate and report: table to evaluation, figures, report; a report written again."""

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval import results
from clineval import results as provenance
from clineval.data import load_cohort
from clineval.data.cohort import Cohort, Source
from clineval.errors import Announce, InputError, Progress, option, reason_of, silent
from clineval.evaluation import Evaluation
from clineval.evaluation.adoption import Adoption
from clineval.evaluation.curves import Curves, curves
from clineval.evaluation.populations import Cases, populations, ungrouped_column, without_repeats
from clineval.files import (
    ADOPTION,
    EVALUATION,
    PREDICTIONS,
    PREDICTIONS_PARQUET,
    READERS,
    REPORT,
    from_plain,
    in_utf8,
    to_plain,
    write_json,
)
from clineval.pipeline.readers import write_reader_report_again
from clineval.pipeline.run import write_words
from clineval.pipeline.scoring import open_and_score
from clineval.predictions import attributes as attributes_of
from clineval.predictions import check_predictions, read_predictions, write_predictions
from clineval.reporting.adoption import PAGE, write_adoption_page
from clineval.reporting.artefacts import read_artefacts
from clineval.reporting.beside import write_beside_figures
from clineval.reporting.report import write_report
from clineval.reporting.sentences import subject_of
from clineval.results.folder import (
    folder_kind,
    foreign_entries,
    replace_folder,
    require_apart,
    require_results,
)
from clineval.settings import BesideReaders, EvaluationSettings
from clineval.statistics import sample_size
from clineval.tables import own_table

MOST_CSV_ROWS = 1_000_000
"""Rows beyond which the folder's copy of the table is Parquet: a CSV of more is slow to write and to open."""


def evaluate_file(
    predictions: Path,
    *,
    condition: str | None = None,
    thresholds: Iterable[float] = (),
    columns: Mapping[str, str] | None = None,
    positive: str | None = None,
    scores: bool = False,
    medmnist: str | None = None,
    level: float = EvaluationSettings.level,
    draws: int = EvaluationSettings.draws,
    seed: int = EvaluationSettings.seed,
    primary: str | None = None,
    coverage: bool = False,
    shared_cases_only: bool = False,
    attributes: Iterable[str] = (),
    threshold_rules: Iterable[str] = (),
    readers: BesideReaders | None = None,
    by_group: bool = False,
    out: Path = Path("evaluation"),
    force: bool = False,
    command: Iterable[str] = ("clineval", "evaluate"),
    announce: Announce = silent,
    warn: Callable[[str], None] = lambda line: None,
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
    positive : the outcome column's value where the condition is present; by default 1 or true.
    scores : whether the column of risks holds scores that are no probabilities, which rank and no more.
    medmnist : name of the MedMNIST set that the result file belongs to.
    level, draws, seed : of the intervals and the bootstrap.
    primary : the model to speak of first; by default chosen on development data, or the table's first.
    coverage : also simulate how often our own intervals cover at this many cases and events.
    shared_cases_only : score models that were given different cases on the shared ones.
    attributes : columns to make subgroups of; by default all that can group cases.
    threshold_rules : such as "sensitivity>=0.90@0.95": a threshold with a guarantee from development data.
    readers : columns with what readers said, to set every model beside them.
    by_group : rank patients too, by the mean log odds of their cases.
    out, force : the folder to write, replaced whole or not at all.
    command : the words to record in the provenance.
    announce : called with each step's name; returns the step's ``progress(done, total)``.
    warn : told in a sentence what should be known first: columns left out, numbers read otherwise than as
        written; the report says it too.

    Raises
    ------
    InputError : the table, an option or the folder is not fit; nothing is written then.
    """
    if condition is not None and not condition.strip():
        name = option("--condition", "condition")
        raise InputError(f"{name} needs a word for what outcome 1 stands for, e.g. malignant; got nothing.")
    if folder_kind(out) is None:  # the table of a folder of ours comes back as it was
        require_apart(out, predictions)
    settings = EvaluationSettings(
        level, draws, seed, tuple(thresholds), primary, tuple(threshold_rules), readers, by_group
    )
    asked: dict[str, Any] = {
        **asdict(settings),
        "thresholds": list(settings.thresholds),
        "shared_cases_only": shared_cases_only,
        "attributes": list(attributes),
    }
    recorder = results.Recorder()
    with recorder.step("read"):
        table, source, word, ungrouped = _read(predictions, columns or {}, positive, medmnist, scores=scores)
    asked |= {"ungrouped": ungrouped} if ungrouped else {}
    for line in source.notes:
        warn(line)
    with replace_folder(out, kind="evaluate", force=force) as folder:
        with recorder.step("table"):
            store_table(table, folder)
        frozen = {
            "data_sha256": source.sha256,
            "settings": {"evaluation": asked},
            "settings_sha256": results.hash_settings({"evaluation": asked}),
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
                    evaluation, table, folder / "coverage.json", progress=announce("Simulating the coverage")
                )

        with recorder.step("report"):
            results.seal(folder, _facts(command, asked, source, evaluation.condition, recorder))
            drawn = _draw_readers(folder, evaluation, table) if evaluation.readers else None
            write_report(folder, read_artefacts(folder, table=table), curves=drawn)
        results.seal(folder, _facts(command, asked, source, evaluation.condition, recorder))
    return evaluation


def _draw_readers(folder: Path, evaluation: Evaluation, table: pd.DataFrame) -> Curves:
    """The figures of readers beside models, and the curves that the report shows too."""
    drawn = curves(table, evaluation)
    write_beside_figures(folder, subject_of(evaluation), drawn)
    return drawn


def store_table(table: pd.DataFrame, folder: Path) -> None:
    """Write a checked table into a folder; what lies there reads back as that very table."""
    # a CSV of many rows is slow to write and to open
    write_predictions(table, folder / (PREDICTIONS_PARQUET if len(table) > MOST_CSV_ROWS else PREDICTIONS))


def _read(
    path: Path, columns: Mapping[str, str], positive: str | None, medmnist: str | None, *, scores: bool
) -> tuple[pd.DataFrame, Source, str, str | None]:
    """The table, where it came from, the word for its condition, and a column that should group its cases."""
    if medmnist:
        table, cohort = read_result_file(path, medmnist)
        return table, cohort.source, cohort.condition, None
    said: list[str] = []
    if not columns and is_first_form(path):
        table = read_first_form(path, positive)
    else:
        table = read_predictions(path, columns=columns, positive=positive, scores=scores, warn=said.append)
    hidden = own_table.left_out(attributes_of(table))
    notes = (*said, own_table.note(hidden)) if hidden else tuple(said)
    name = in_utf8(path.name)
    source = Source("predictions", name, file=name, sha256=results.hash_file(path), notes=notes)
    return table.drop(columns=[*hidden]), source, "condition", ungrouped_column(table)


def _facts(
    command: Iterable[str],
    settings: Mapping[str, Any],
    source: Source,
    condition: str,
    recorder: results.Recorder,
) -> dict[str, Any]:
    """The provenance of the folder, less the hashes of what lies in it."""
    return results.describe(
        kind="evaluate",
        command=command,
        settings={"evaluation": dict(settings)},
        source={"condition": condition, **asdict(source), "notice": source.notice},
        recorder=recorder,
    )


SIMULATIONS = 2000
"""Simulated sets: 2,000 leave a standard error of .005 around a coverage of .95."""

MOST_SIMULATED = 20_000
"""Cases of a set beyond which 2,000 of them would take hours."""


def write_coverage(
    evaluation: Evaluation, table: pd.DataFrame, path: Path, *, progress: Progress | None = None
) -> None:
    """Simulate sets as large and grouped as those kept for testing; write how often our intervals hold.

    Parameters
    ----------
    table : that of the evaluation, checked; its groups are simulated, alike as they are.

    Raises
    ------
    InputError : no population can be simulated, or one is so large that simulating it would take hours.
    """
    wanted = list(_simulable(evaluation, table))
    if not wanted:
        raise InputError(
            f"{option('--coverage')} needs a model with an AUC above .5 and below 1 on cases of both "
            "outcomes; got none."
        )
    found = [
        {
            "model": model,
            "population": name,
            **_simulate(cases, auc, evaluation, progress=_part_of(progress, part, len(wanted))),
        }
        for part, (model, name, cases, auc) in enumerate(wanted)
    ]
    content = {
        "level": evaluation.level,
        "seed": evaluation.seed,
        "simulations": SIMULATIONS,
        "populations": found,
    }
    write_json(content, path)


def _simulable(evaluation: Evaluation, table: pd.DataFrame) -> Iterator[tuple[str, str, Cases, float]]:
    """Model, population, cases and AUC of all that is kept for testing and can be simulated."""
    parts = populations(without_repeats(table), shared_cases_only=bool(evaluation.shared_cases))
    for part in parts:
        for model, cases in part.models.items():
            auc = evaluation.models[model][part.name].measures["auc"].value
            if part.used_for or not 0.5 < auc < 1:
                continue
            if len(cases) > MOST_SIMULATED:
                raise InputError(
                    f"{option('--coverage')} simulates sets of the size of {part.name!r}, up to "
                    f"{MOST_SIMULATED} cases; got {len(cases)}, at which no interval's method needs a "
                    "simulation. Leave it out."
                )
            yield model, part.name, cases, auc


def _simulate(
    cases: Cases, auc: float, evaluation: Evaluation, *, progress: Progress | None
) -> dict[str, Any]:
    group = np.arange(len(cases)) if cases.group is None else cases.group
    sizes = np.unique(group, return_counts=True)[1].tolist()
    scores_alike, outcomes_alike = sample_size.group_correlations(cases.outcome, cases.risk, group)
    events = int(cases.outcome.sum())
    rows = sample_size.coverage(
        len(cases),
        events,
        auc,
        sizes=sizes,
        correlation=scores_alike,
        outcome_correlation=outcomes_alike,
        simulations=SIMULATIONS,
        level=evaluation.level,
        seed=evaluation.seed,
        progress=progress,
    )
    return {
        "cases": len(cases),
        "events": events,
        "groups": len(sizes),
        "correlation_of_scores": scores_alike,
        "correlation_of_outcomes": outcomes_alike,
        "expected_auc": auc,
        "measures": to_plain(rows),
    }


def _part_of(progress: Progress | None, part: int, parts: int) -> Progress | None:
    """The progress of one of several equal parts, as that of the whole."""
    return None if progress is None else lambda done, total: progress(part * total + done, parts * total)


_NAME = re.compile(r"(?P<flag>[a-z0-9]+)(_(?P<size>64|128|224))?_(?P<split>train|val|test)(?P<rest>.*)\.csv")
_FIRST_FORM = re.compile(rb'(\xef\xbb\xbf)?"?id"?,"?true_0"?,"?score_0"?\b', re.IGNORECASE)
_FORM = "index,score_0,score_1 (one row per case), as MedMNIST's evaluator writes it"


@dataclass(frozen=True)
class _Rows:
    """The rows of a result file and which of their cells hold the true label, if any, and the scores."""

    name: str
    cells: list[list[str]]
    first_line: int
    label: int | None
    scores: tuple[int, ...]

    def place(self, row: int) -> str:
        """A row in words."""
        return f"{self.name}, row {self.first_line + row}"


def read_result_file(path: Path, dataset: str) -> tuple[pd.DataFrame, Cohort]:
    """The table in a result file such as ``breastmnist_test_[AUC]0.901_[ACC]0.863@run1.csv``.

    A row is the case's index in the official split and a score per label, without a header; a file with
    one score holds that of label 1. The first form of these files has a header and the true label beside
    the index (``id,true_0,score_0,score_1``), which must be that of the data set. The risk is the score of
    the label that is the condition (BreastMNIST: malignant, label 0), never the one that MedMNIST calls
    positive. The outcomes come from the data set, whose cohort is handed back beside the table. The model
    is named by what follows the ``@``.

    Raises
    ------
    InputError : the name or a row is not of that form, or the cases are not those of the split.
    """
    flag, split, model = _parsed_name(path)
    if flag != dataset:
        said = option(f"--medmnist says {dataset!r}", f"got medmnist={dataset!r}")
        raise InputError(f"{path.name} holds results on {flag!r} by its name; {said}.")
    rows = _rows(path)
    cohort = load_cohort(dataset)
    official = cohort.select(cohort.within(split))
    index = _indices(rows, cases=len(official))
    condition = next(label.code for label in cohort.source.labels if label.is_condition)
    _check_labels(rows, official.outcome[index], condition)
    table = pd.DataFrame(
        {
            "model": model,
            "split": split,
            "case": official.case[index],
            "outcome": official.outcome[index],
            "risk": [_risk(rows, line, condition) for line in range(len(rows.cells))],
        }
    )
    return check_predictions(table), cohort


def is_first_form(path: Path) -> bool:
    """Whether a file's header is that of MedMNIST's first result form, ``id,true_0,score_0``."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return bool(_FIRST_FORM.match(file.read(100)))


def read_first_form(path: Path, positive: str | None) -> pd.DataFrame:
    """The table in a file of MedMNIST's first result form by its own true labels, as one model on ``test``.

    Raises
    ------
    InputError : ``positive`` is not the label of the condition, 0 or 1, or a row is not of that form.
    """
    if positive not in ("0", "1"):
        named, given = option("--medmnist NAME", "medmnist=NAME"), option("--positive", "positive")
        raise InputError(
            f"{path.name} is MedMNIST's first result form: expected the label of the condition, {given} 0 or "
            f"{given} 1, got {'nothing' if positive is None else repr(positive)}. Or take the data set's own "
            f"outcomes with {named}."
        )
    rows, condition = _rows(path), int(positive)
    cells = [row[rows.label or 1].strip() if len(row) > 1 else "" for row in rows.cells]
    table = {
        "model": path.stem,
        "case": [row[0].strip() for row in rows.cells],
        "outcome": cells,
        "risk": [_risk(rows, line, condition) for line in range(len(rows.cells))],
    }
    return check_predictions(pd.DataFrame(table), positive=positive)


def _parsed_name(path: Path) -> tuple[str, str, str]:
    found = _NAME.fullmatch(path.name)
    if not found:
        raise InputError(
            f"{path.name} is not named like a MedMNIST result file, such as "
            "breastmnist_test_[AUC]0.901_[ACC]0.863@run1.csv; rename it, or leave out "
            f"{option('--medmnist', 'medmnist')}."
        )
    if found["split"] == "train":
        raise InputError(f"{path.name} holds training cases, which are never evaluated; give the test file.")
    return found["flag"], found["split"], found["rest"].partition("@")[2] or "model"


def _rows(path: Path) -> _Rows:
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file. Expected {_FORM}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Expected {_FORM}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV in UTF-8. Expected {_FORM}.") from error
    if not cells:
        raise InputError(f"{path.name} is empty; expected {_FORM}.")
    headed = not _is_number(cells[0][0])
    header = [cell.strip().casefold() for cell in cells[0]] if headed else []
    labels = [place for place, name in enumerate(header) if name.startswith("true_")]
    label = labels[0] if len(labels) == 1 else None
    scores = tuple(place for place in range(1, len(cells[0])) if place != label)
    return _Rows(path.name, cells[headed:], 1 + headed, label, scores)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _indices(rows: _Rows, *, cases: int) -> NDArray[np.int64]:
    seen: dict[int, int] = {}
    for line, row in enumerate(rows.cells):
        cell = row[0].strip()
        if not cell.isdecimal() or int(cell) >= cases:
            raise InputError(
                f"{rows.place(line)}, column 'index': expected a case from 0 to {cases - 1}, got {cell!r}."
            )
        if int(cell) in seen:
            first = rows.first_line + seen[int(cell)]
            raise InputError(
                f"{rows.place(line)}, column 'index': case {cell} stands twice (first in row {first})."
            )
        seen[int(cell)] = line
    if len(seen) != cases:
        missing = next(index for index in range(cases) if index not in seen)
        raise InputError(
            f"{rows.name} has {len(seen)} of the split's {cases} cases; the first missing is {missing}."
        )
    return np.array(list(seen), dtype=np.int64)


def _check_labels(rows: _Rows, outcome: NDArray[np.bool_], condition: int) -> None:
    """Refuse true labels that are not those of the data set: the file is then of other cases."""
    if rows.label is None:
        return
    cells = [row[rows.label].strip() if rows.label < len(row) else "" for row in rows.cells]
    other = [
        line
        for line, (cell, present) in enumerate(zip(cells, outcome.tolist(), strict=True))
        if not _is_number(cell) or (float(cell) == condition) != present
    ]
    if other:
        raise InputError(
            f"{rows.place(other[0])}, column 'true_0': {len(other)} of {len(cells)} cases, this one first, "
            "have another label in the data set; is the file of another split or set? Its own labels can be "
            f"scored: leave out {option('--medmnist', 'medmnist')} and say which label is the condition "
            f"with {option(f'--positive {condition}', f'positive={condition}')}."
        )


def _risk(rows: _Rows, line: int, condition: int) -> float:
    """The score of the condition's label, 0 to 1."""
    row, place = rows.cells[line], rows.place(line)
    if len(rows.scores) not in (1, 2) or len(row) != 1 + len(rows.scores) + (rows.label is not None):
        got = len(row) - 1 - (rows.label is not None)
        raise InputError(f"{place}: expected one or two scores, got {got}. Expected {_FORM}.")
    scores = [float(row[column]) if _is_number(row[column]) else np.nan for column in rows.scores]
    for column, score in enumerate(scores):
        if not 0 <= score <= 1:
            raise InputError(
                f"{place}, column 'score_{column}': expected a probability from 0 to 1, got "
                f"{row[rows.scores[column]]!r}."
            )
    if len(scores) == 1:
        return scores[0] if condition == 1 else 1 - scores[0]
    if abs(sum(scores) - 1) > 0.01:
        raise InputError(
            f"{place}: the scores of the two labels must sum to 1; they sum to {sum(scores):.3f}."
        )
    return scores[condition]


WORDS = (REPORT, "checklist.csv", "model_card.md")


def rewrite_report(results: Path, *, force: bool = False) -> Path:
    """Write report, checklist and model card again; return the report's path.

    Every other artefact keeps the hash that the run gave it, so that tampering stays visible.

    Parameters
    ----------
    force : write into a published record, too.

    Raises
    ------
    InputError : ``results`` is published, or an incomplete results folder, or a file in it is of another
        schema.
    """
    require_results(results, provenance.PROVENANCE)
    record = provenance.read_provenance(results / provenance.PROVENANCE)
    of_readers = record["kind"] == "readers"
    require_results(results, *((READERS,) if of_readers else (EVALUATION, PREDICTIONS)))
    adopted = record["kind"] == "adopt"
    words = (PAGE,) if adopted else WORDS[:1] if of_readers else WORDS
    foreign = [*foreign_entries(results), *(name for name in words if (results / name).is_dir())]
    if foreign:
        raise InputError(
            f"{results} holds {', '.join(foreign[:10])}, which no run writes (a link, a pipe, or a folder "
            "where a file belongs); remove it, or write the results again."
        )
    with replace_folder(results, kind=record["kind"], force=force, carries=True) as folder:
        shutil.copytree(results, folder, dirs_exist_ok=True)
        if of_readers:
            write_reader_report_again(folder, record)
        else:
            _write_words(folder, results, record if adopted else None)
        provenance.reseal(folder, record, names=words)
    return results / words[0]


def _write_words(folder: Path, results: Path, adoption: Mapping[str, Any] | None) -> None:
    """Write report, checklist and card, or an adoption's page; a file of another schema is refused by name.

    ``adoption`` : the provenance of one, None for other results: no report is made of cases that fitted it.
    """
    try:
        if adoption is None:
            write_words(folder)
        else:
            notice = str(adoption["data"].get("notice", ""))
            write_adoption_page(read_adoption(folder, adoption), folder, notice=notice)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{results}: provenance.json or evaluation.json is not of the form that this version reads "
            f"({reason_of(error)}); write the results again."
        ) from error


def read_adoption(folder: Path, record: Mapping[str, Any]) -> Adoption:
    """The record of an adoption, as the provenance beside it recorded it.

    Raises
    ------
    InputError : it is missing, incomplete, or was changed since.
    """
    path = folder / ADOPTION
    if any(results.altered(folder, record.get("artefacts", {}), [path.name])):
        raise InputError(f"{path.name} is not the file that clineval adopt wrote; adopt again.")
    try:
        found: Adoption = from_plain(Adoption, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path.name} is incomplete ({reason_of(error)}); adopt again.") from error
    return found
