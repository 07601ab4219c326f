"""From the table as it lies on disk to the evaluation, the same way for a run and for its verification."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from clineval.evaluation import Evaluation, evaluate
from clineval.evaluation.json_form import to_point
from clineval.evaluation.record import Point
from clineval.predictions import read_predictions


def score_folder(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    condition: str,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate the table of a folder, with the spread over ``members.csv`` where it is there.

    Parameters
    ----------
    settings : ``level``, ``draws`` and ``seed``, as in EvaluationSettings; where they were given,
        ``thresholds``, ``shared_cases_only``, and ``points``: by model, frozen elsewhere, as in
        ``evaluation.json``.
    condition : what ``outcome`` is 1 for.

    Raises
    ------
    Refusal : a table is missing or not fit to be scored.
    """
    members = folder / "members.csv"
    table = folder / "predictions.parquet"
    with threadpool_limits(1):  # the same last digit on any number of cores
        return evaluate(
            read_predictions(table if table.is_file() else folder / "predictions.csv"),
            condition=condition,
            members=read_predictions(members) if members.is_file() else None,
            level=settings["level"],
            draws=settings["draws"],
            seed=settings["seed"],
            thresholds=settings.get("thresholds", ()),
            points=_points(settings.get("points")),
            shared_cases_only=settings.get("shared_cases_only", False),
            progress=progress,
        )


def _points(given: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> dict[str, tuple[Point, ...]] | None:
    if given is None:
        return None
    return {model: tuple(to_point(one) for one in points) for model, points in given.items()}
