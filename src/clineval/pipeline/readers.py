"""The work of clineval readers: a study of several readers to readers.json, figures and report."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from clineval import results
from clineval.errors import Announce, InputError, listed_columns, option, reason_of, silent
from clineval.evaluation.reader_study import ModelScores, ReaderStudy, analyse, reader_curves
from clineval.files import READERS, from_plain, hash_file, in_utf8, read_regular, write_json
from clineval.reporting.figures import write
from clineval.reporting.readers import write_reader_figures, write_reader_report
from clineval.results.folder import folder_kind, replace_folder, require_apart
from clineval.settings import ReaderSettings
from clineval.tables.reader_study import ReadingColumns, ReadingTable, cut_in, read_readings
from clineval.tables.reading import read_columns

OPENED = "readers"  # what the ledger calls the readings that are opened
POSITIVE_SHARES = ("power", "level")


@dataclass(frozen=True)
class ModelFile:
    """A table of predictions and which of its models stands beside the panel; None: its only one."""

    path: Path
    model: str | None = None


def read_study(
    table: Path,
    columns: ReadingColumns,
    settings: ReaderSettings,
    *,
    cut: str | None = None,
    model: ModelFile | None = None,
    condition: str = "condition",
    out: Path = Path("readers"),
    force: bool = False,
    command: Iterable[str] = ("clineval", "readers"),
    announce: Announce = silent,
    warn: Callable[[str], None] = lambda line: None,
) -> ReaderStudy:
    """Analyse a reader study and write ``readers.json``, tables, figures and ``report.html`` into ``out``.

    Parameters
    ----------
    table : one row per reading (CSV or Parquet), or iMRMC's own file.
    cut : the rating from which readers act, in the words of the table.
    model : predictions of the same cases, for a model beside the panel.
    condition : the word for what the outcome stands for.
    out, force : the folder to write, replaced whole or not at all.
    command : the words to record in the provenance.
    announce : called with each step's name; returns the step's ``progress(done, total)``.
    warn : called with each thing that should be known first.

    Raises
    ------
    InputError : the table, a model, an option or the folder is not fit; nothing is written then.
    """
    _check_settings(settings, model, cut)
    if folder_kind(out) is None:
        require_apart(out, table, None if model is None else model.path)
    recorder = results.Recorder()
    with recorder.step("read"):
        announce("Reading the study")
        readings = read_readings(table, columns)
        for line in readings.notes:
            warn(line)
        scores = None if model is None else _model_scores(model, readings)
        if cut is not None:
            settings = replace(settings, cut=_reached_cut(readings, columns.order, cut))
    asked = {"readers": {**asdict(settings), "columns": asdict(columns), "model": scores and scores.name}}
    about = _about(table, condition, model)
    with replace_folder(out, kind="readers", force=force) as folder, threadpool_limits(1):
        write(readings.frame(), folder / "readings.csv")
        _enter(folder, asked, about)
        with recorder.step("analyse"):
            announce("Analysing the readings")
            study = _analysed(readings, settings, condition, scores)
            write_json(study.to_json(), folder / READERS)
            write(pd.DataFrame(_rows(study)), folder / "readers.csv")
        with recorder.step("draw"):
            announce("Drawing the figures")
            write_reader_figures(folder, study, reader_curves(readings, settings, scores))
        with recorder.step("report"):
            write_reader_report(
                folder, study, source=in_utf8(table.name), facts=_facts(readings.columns, settings)
            )
        results.seal(
            folder,
            results.describe(
                kind="readers", command=command, settings=asked, source=about, recorder=recorder
            ),
        )
    return study


def _check_settings(settings: ReaderSettings, model: ModelFile | None, cut: str | None) -> None:
    for name in POSITIVE_SHARES:
        value = getattr(settings, name)
        if value is not None and not 0 < value < 1:
            raise InputError(f"{option(f'--{name}')} needs a number between 0 and 1; got {value:g}.")
    if (settings.power is None) != (settings.difference is None):
        example = option("--power 0.8 --difference 0.05", "power=0.8, difference=0.05")
        raise InputError(
            f"{option('--power')} and {option('--difference')} need each other, such as {example}."
        )
    if settings.difference is not None and not 0 < abs(settings.difference) < 1:
        raise InputError(
            f"{option('--difference')} needs a difference in AUC such as 0.05; got {settings.difference:g}."
        )
    predictions, cut_too = option("--predictions", "model"), option("--cut")
    if settings.threshold is not None and (cut is None or model is None):
        raise InputError(
            f"{option('--threshold')} needs {predictions} and {cut_too} beside it: "
            "where model and readers act."
        )
    if settings.margins and model is None:
        raise InputError(
            f"{option('--margin', 'margins')} needs {predictions}: it is for a model beside the readers."
        )
    if {"sensitivity", "specificity"} & set(settings.margins) and settings.threshold is None:
        raise InputError(
            f"A margin of sensitivity or specificity needs {cut_too} and {option('--threshold')} beside it."
        )


def _reached_cut(readings: ReadingTable, order: Sequence[str], cut: str) -> float:
    """The cut as a number; InputError where every rating, or none, reaches it."""
    number = cut_in(cut, order=order, option=option("--cut"))
    reached = readings.rating >= number
    if reached.any() and not reached.all():
        return number
    ends = readings.rating.min(), readings.rating.max()
    low, high = (order[int(end) - 1] if order else f"{end:g}" for end in ends)
    raise InputError(
        f"{readings.name}: {'every' if reached.any() else 'no'} rating reaches the cut {cut}; ratings go "
        f"from {low} to {high}. Choose another {option('--cut')}."
    )


def _model_scores(given: ModelFile, readings: ReadingTable) -> ModelScores:
    """The scores of one model on the cases of the study; its outcomes must be those of the study."""
    cells, origin = read_columns(given.path)
    for column in ("case", "risk"):
        if column not in cells:
            raise InputError(
                f"{given.path.name} has no column {column!r}; it has {listed_columns(column, cells)}."
            )
    frame = pd.DataFrame({name: _texts(column) for name, column in cells.items()})
    if "model" not in frame:
        frame["model"] = given.model or given.path.stem
    name = _chosen(given, list(dict.fromkeys(frame["model"])))
    frame = frame[(frame["model"] == name) & frame["case"].isin(readings.case)]
    risk = pd.to_numeric(frame["risk"], errors="coerce")
    if (odd := np.flatnonzero(~np.isfinite(risk))).size:
        row = origin.row(int(frame.index[odd[0]]))
        raise InputError(f"{row}, column 'risk': expected a number, got {frame['risk'].iloc[odd[0]]!r}.")
    if (twice := np.flatnonzero(frame["case"].duplicated())).size:
        row = origin.row(int(frame.index[twice[0]]))
        raise InputError(
            f"{row}, column 'case': expected one prediction of {name!r} for case "
            f"{frame['case'].iloc[twice[0]]!r}, got several (of several splits?). Keep one."
        )
    if "outcome" in frame:
        _check_outcomes(frame, readings, origin.row)
    return ModelScores(name, frame["case"].to_numpy(str), risk.to_numpy(np.float64))


def _texts(column: Any) -> list[str]:
    whole = (
        int(cell) if isinstance(cell, float) and cell.is_integer() else cell for cell in column.to_pylist()
    )
    return ["" if cell is None else str(cell).strip() for cell in whole]


def _chosen(given: ModelFile, models: list[str]) -> str:
    if given.model is None and len(models) == 1:
        return models[0]
    if given.model in models:
        return str(given.model)
    got = "none" if given.model is None else repr(given.model)
    raise InputError(
        f"{given.path.name}, column 'model': expected {option('--model')} to name one of "
        f"{', '.join(models)}; got {got}."
    )


def _check_outcomes(frame: pd.DataFrame, readings: ReadingTable, row: Any) -> None:
    known = dict(zip(readings.case.tolist(), readings.outcome.tolist(), strict=True))
    said = frame["outcome"].str.lower().isin(("1", "true", "1.0"))
    wrong = np.flatnonzero(said.to_numpy() != frame["case"].map(known).to_numpy(bool))
    if len(wrong):
        case = frame["case"].iloc[wrong[0]]
        here, there = ("with", "without") if said.iloc[wrong[0]] else ("without", "with")
        raise InputError(
            f"{row(int(frame.index[wrong[0]]))}, column 'outcome': expected the outcome of {readings.name}, "
            f"got case {case!r} {here} the condition here and {there} it there."
        )


def _about(table: Path, condition: str, model: ModelFile | None) -> dict[str, Any]:
    name = in_utf8(table.name)
    about = {"condition": condition, "dataset": "readings", "title": name, "file": name}
    about["sha256"] = hash_file(table)
    return about if model is None else {**about, "predictions_sha256": hash_file(model.path)}


def _enter(folder: Path, asked: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """The line of the ledger, with the margin, before a number is computed."""
    frozen = {
        "settings": asked,
        "settings_sha256": results.hash_settings(asked),
        "margins": asked["readers"]["margins"],
        "data_sha256": about["sha256"],
        "readings_sha256": hash_file(folder / "readings.csv"),
    }
    results.open_ledger(folder / results.LEDGER, population=OPENED, frozen=frozen)


def _analysed(
    readings: ReadingTable, settings: ReaderSettings, condition: str, scores: ModelScores | None
) -> ReaderStudy:
    try:
        return analyse(readings, settings, condition=condition, model=scores)
    except InputError:
        raise
    except ValueError as error:  # what only the numbers show, such as a pilot study that is too small
        raise InputError(f"{readings.name}: {error}") from error


def _rows(study: ReaderStudy) -> Iterator[dict[str, Any]]:
    """A row per modality, measure and reader, the average reader and the model among them."""
    for modality, panel in study.modalities.items():
        averages = {measure: getattr(panel, measure) for measure in ("auc", "sensitivity", "specificity")}
        for measure, average in averages.items():
            if average is None:
                continue
            each = (
                panel.readers
                if measure == "auc"
                else {reader: rates[measure] for reader, rates in panel.rates.items()}
            )
            for reader, found in {**each, "average reader": average}.items():
                yield {"modality": modality, "measure": measure, "reader": reader, **asdict(found)}
    for against in study.model_against_readers:
        if against.measure == "auc":
            own = asdict(against.model_auc)
            yield {"modality": against.modality, "measure": "auc", "reader": against.model, **own}


def write_reader_report_again(folder: Path, record: Mapping[str, Any]) -> None:
    """Rewrite the report of a reader study from its ``readers.json`` and ``record``, its provenance.

    Raises
    ------
    InputError : a file is not of the form that this version writes.
    """
    try:
        study = _with_endless_df(from_plain(ReaderStudy, json.loads(read_regular(folder / READERS))))
        asked = record["settings"]["readers"]
        settings = from_plain(ReaderSettings, {**asked, "columns": None, "model": None})
        facts = _facts(from_plain(ReadingColumns, asked["columns"]), settings)
        write_reader_report(folder, study, source=str(record["data"]["title"]), facts=facts)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{folder.name}: provenance.json or readers.json is not of the form that this version reads "
            f"({reason_of(error)}); write the results again."
        ) from error


def _with_endless_df(study: ReaderStudy) -> ReaderStudy:
    """The study with the infinite degrees of freedom that JSON cannot hold: where there is a p value."""

    def endless(each: Any) -> Any:
        return replace(each, df=np.inf) if np.isnan(each.df) and not np.isnan(each.p_value) else each

    return replace(
        study,
        comparisons=tuple(map(endless, study.comparisons)),
        model_against_readers=tuple(map(endless, study.model_against_readers)),
    )


def _facts(columns: ReadingColumns, settings: ReaderSettings) -> dict[str, str]:
    """What the report says of how the table was read."""
    order = columns.order
    facts = {"outcome": f"{columns.outcome} = {columns.positive}"}
    if order:
        facts["order of the ratings"] = ", ".join(order)
    if settings.cut is not None:
        facts["readers act from"] = order[int(settings.cut) - 1] if order else f"{settings.cut:g}"
    if settings.threshold is not None:
        facts["the model flags from"] = f"{settings.threshold:g}"
    return facts
