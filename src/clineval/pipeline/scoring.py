"""The one way to test outcomes: every opening is entered in the ledger before a number is computed."""

import json
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from clineval import results
from clineval.errors import Progress
from clineval.evaluation import Evaluation, Learnt, Point, Primary, write_evaluation
from clineval.evaluation.evaluate import evaluate_checked
from clineval.evaluation.records import Scale, SiteStudy
from clineval.evaluation.sites import over_sites, plan, units
from clineval.files import EVALUATION, PREDICTIONS, PREDICTIONS_PARQUET, from_plain
from clineval.predictions import attributes, read_predictions
from clineval.settings import BesideReaders
from clineval.tables.own_table import independence_warning

SITE_TABLE = "site_predictions.csv"  # each site scored by models trained on the others
LEFT_OUT = "left_out_site"  # the population in it
FROZEN = "frozen_threshold"  # its column: the threshold that the other sites froze; the next names the site
PART_OF_TEST = "test_clean"  # opened with ``test``, never apart


def open_and_score(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    condition: str,
    frozen: Mapping[str, Any],
    table: pd.DataFrame | None = None,
    models: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Enter an opening of each population kept for testing, then score the table and write the result.

    The thresholds are frozen on development data first and stand in the ledger's line.

    Parameters
    ----------
    folder : of results, with ``predictions.csv``; gets ``ledger.jsonl`` and ``evaluation.json``.
    settings, condition : as for ``score_folder``; ``models`` is the folder that says what the models learnt
        where, by default ``models`` of the folder.
    frozen : what was fixed before, for the ledger: settings, data and models.
    table : what lies in the folder, where it is at hand.

    Raises
    ------
    InputError : the table is not fit, or something was learnt on cases that are to be scored.
    """
    scored = _score(
        folder,
        settings,
        condition=condition,
        table=table,
        models=models,
        opening=lambda sealed, thresholds: _enter(folder, sealed, thresholds, frozen),
        progress=progress,
    )
    write_evaluation(scored, folder / EVALUATION)
    return scored


def score_folder(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    condition: str,
) -> Evaluation:
    """Score the table of a folder once more, as its opening did: a repetition, and no new opening.

    Parameters
    ----------
    settings : ``level``, ``draws`` and ``seed``, as in EvaluationSettings; where they were given,
        ``thresholds``, ``shared_cases_only``, ``attributes``, and ``points``: by model, frozen elsewhere,
        as in ``evaluation.json``, ``threshold_rules``, ``readers``, ``primary``: a model's name, or the
        record of ``evaluation.json``, and ``origins``: by model what must stand beside its figures, by
        default as the run's models say, and ``ungrouped``: a column whose values should have grouped cases.
    condition : what ``outcome`` is 1 for.

    Raises
    ------
    InputError : a table is missing or not fit, or something was learnt on cases that are to be scored.
    """
    return _score(folder, settings, condition=condition)


def learnt_by(models: Path) -> tuple[Learnt, ...]:
    """What every model of a run learnt on which split, as ``models.json`` says; empty without that file."""
    return tuple(one for model, record in _records(models).items() for one in _learnt(model, record))


def origins_of(models: Path) -> dict[str, str]:
    """By model of a run what must stand beside its figures; empty where nothing must."""
    return {name: record["origin"] for name, record in _records(models).items() if record.get("origin")}


def _score(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    condition: str,
    table: pd.DataFrame | None = None,
    models: Path | None = None,
    opening: Callable[..., None] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    members = folder / "members.csv"
    models = folder / "models" if models is None else models
    scored = evaluate_checked(
        read_predictions(_table_of(folder), scores=None) if table is None else table,
        condition=condition,
        points=_points(settings.get("points")),
        members=read_predictions(members, scores=None) if members.is_file() else None,
        level=settings["level"],
        draws=settings["draws"],
        seed=settings["seed"],
        thresholds=settings.get("thresholds", ()),
        shared_cases_only=settings.get("shared_cases_only", False),
        attributes=settings.get("attributes", ()),
        primary=_primary(settings.get("primary")),
        threshold_rules=settings.get("threshold_rules", ()),
        by_group=settings.get("by_group", False),
        readers=from_plain(BesideReaders | None, settings.get("readers")),
        learnt=learnt_by(models),
        origins=settings.get("origins", origins_of(models)),
        opening=opening,
        progress=progress,
    )
    ungrouped = settings.get("ungrouped")
    how = f"--group-column {shlex.quote(ungrouped or '')}"
    warned = (independence_warning(ungrouped, how),) if ungrouped else ()
    return replace(scored, sites=_sites(folder / SITE_TABLE, scored), warnings=(*warned, *scored.warnings))


def _sites(path: Path, scored: Evaluation) -> SiteStudy | None:
    """How sites differ that were left out of the training in turn; None where none was."""
    if not path.is_file():
        return None
    frame = read_predictions(path)
    column = next(name for name in attributes(frame) if name != FROZEN)
    where = dict(zip(frame["case"], frame[column].astype(str), strict=True))
    one = frame[frame["model"] == frame["model"].iloc[0]]
    alone = units(plan(one["outcome"], one[column].astype(str), one["group"], column=column))
    thresholds = {
        str(model): {
            name: float(of.loc[of[column].astype(str).isin(members), FROZEN].iloc[0])
            for name, members in alone.items()
        }
        for model, of in frame.groupby("model")
    }
    return over_sites(
        frame,
        where,
        column=column,
        condition=scored.condition,
        points=scored.points,
        primary=scored.primary,
        scale=Scale(scored.level, scored.draws, scored.seed),
        thresholds=thresholds,
    )


def _records(models: Path) -> dict[str, Any]:
    path = models / "models.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _enter(
    folder: Path, sealed: Iterable[str], points: Mapping[str, Iterable[Point]], frozen: Mapping[str, Any]
) -> None:
    """One line of the ledger for each population that is about to be scored."""
    fixed = {
        **frozen,
        "thresholds": {model: [_threshold(point) for point in fixed] for model, fixed in points.items()},
        "predictions_sha256": results.hash_file(_table_of(folder)),
    }
    for population in sealed:
        if population != PART_OF_TEST:
            results.open_ledger(folder / results.LEDGER, population=population, frozen=fixed)


def _points(given: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> dict[str, tuple[Point, ...]] | None:
    if given is None:
        return None
    return {model: tuple(from_plain(Point, one) for one in points) for model, points in given.items()}


def _primary(given: str | Mapping[str, Any] | None) -> str | Primary | None:
    return given if given is None or isinstance(given, str) else from_plain(Primary, given)


def _threshold(point: Point) -> dict[str, Any]:
    value = None if math.isnan(point.threshold) else point.threshold
    return {"name": point.name, "threshold": value, "chosen_on": point.chosen_on}


def _table_of(folder: Path) -> Path:
    parquet = folder / PREDICTIONS_PARQUET
    return parquet if parquet.is_file() else folder / PREDICTIONS


def _learnt(model: str, record: Mapping[str, Any]) -> Iterator[Learnt]:
    fitted = record["recalibration"]["fitted"]
    training = record.get("training", {})
    if fitted is not None:
        yield Learnt(model, "its recalibration", fitted["fitted_on"])
    if training.get("early_stopping", {}).get("kind", "off") != "off":
        yield Learnt(model, "when to stop its training", training["early_stopping"]["watched"])
    if "learnt_on" in training:
        yield Learnt(model, "its weights", training["learnt_on"])
    for member in training.get("members", ()):
        yield Learnt(model, "its scaling of grey levels", member["scaling"]["learnt_on"])
