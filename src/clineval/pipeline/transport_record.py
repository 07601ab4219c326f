"""What ``transport.json`` holds: a frozen run's test cases at home beside the patients elsewhere."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clineval import provenance
from clineval.data.cohort import Cohort
from clineval.data.training_twins import recognise
from clineval.evaluation import Evaluation
from clineval.evaluation.record import Point
from clineval.evaluation.transport import to_json, transport
from clineval.learning.matching import mean_histogram
from clineval.learning.plain_models import Floats
from clineval.pipeline.external_scores import ExternalScores
from clineval.pipeline.stored_run import StoredRun
from clineval.predictions import read_predictions
from clineval.settings import ValidationSettings
from clineval.statistics.roc import auc_logit

FILE = "transport.json"
SCHEMA = 1


def transport_record(
    run: StoredRun,
    results: Path,
    table: pd.DataFrame,
    cohort: Cohort,
    scored: ExternalScores,
    at_home: Evaluation,
    settings: ValidationSettings,
) -> dict[str, Any]:
    """Everything that the validation's report sets side by side, as plain values.

    Parameters
    ----------
    results : the run's folder; ``at_home`` its evaluation.
    table : the predictions on ``cohort``, as read back from disk.
    """
    points: dict[str, tuple[Point, ...]] = {name: at_home.points[name] for name in run.names}
    models = transport(
        read_predictions(results / "predictions.csv"), table, points=points, **asdict(settings.evaluation)
    )
    return {
        "schema": SCHEMA,
        "external": settings.name,
        "group_column": settings.own.group_column,
        "internal": run.data_title,
        "run": _about(run, results),
        "condition": run.condition,
        "level": settings.evaluation.level,
        "steps": list(_steps(cohort, scored, settings)),
        "models": to_json(models),
        "images": _images(run, cohort, scored),
        "seen_in_training": [
            _twin(run, cohort, each) for each in recognise(run.reference.trace, cohort.images)
        ],
    }


def _about(run: StoredRun, results: Path) -> dict[str, Any]:
    """Which run was validated, in what its own provenance says of it."""
    record = provenance.read_provenance(results / provenance.FILE)
    data = record.get("settings", {}).get("data", {})
    return {
        "folder": results.resolve().name,
        "program": record.get("program"),
        "commit": record.get("commit"),
        "side": run.side,
        "split": None if data.get("own") else data.get("split"),  # the table's own, or one made by group
        "models_sha256": provenance.hash_settings(provenance.hash_folder(results / "models")),
    }


def _steps(cohort: Cohort, scored: ExternalScores, settings: ValidationSettings) -> Iterator[dict[str, Any]]:
    """What each step of preparation gave; none was chosen by it."""
    for place, (step, risks) in enumerate(scored.steps.items()):
        aucs = {
            model: auc_logit(cohort.outcome, risk, group=cohort.group, level=settings.evaluation.level)
            for model, risk in risks.items()
        }
        matched = settings.matching and place > 0  # from the further look on; the upper square is matched too
        yield {"step": step, "uses_grey_levels": matched, "auc": to_json(aucs)}


def _images(run: StoredRun, cohort: Cohort, scored: ExternalScores) -> dict[str, Any]:
    """Grey levels here and in training, and how many images are unlike those of training."""
    known, far = run.reference.familiarity, scored.seen.distance
    here = mean_histogram(cohort.images)
    return {
        "grey_levels": {"training": known.grey.tolist(), "external": here.tolist()},
        "mean_grey": {"training": _mean(known.grey), "external": _mean(here)},
        "sd_grey": {"training": _sd(known.grey), "external": _sd(here)},
        "unlike": int(far.unlike.sum()),
        "unlike_texture": int((far.texture > known.texture_limit).sum()),
        "unlike_grey": int((far.grey > known.grey_limit).sum()),
        "texture_distance": _quartiles(far.texture) | {"limit": to_json(known.texture_limit)},
        "grey_distance": _quartiles(far.grey) | {"limit": to_json(known.grey_limit)},
    }


def _twin(run: StoredRun, cohort: Cohort, found: Any) -> dict[str, Any]:
    about = {name: value for name, value in vars(found).items() if name != "row"}
    return {"case": str(cohort.case[found.row]), **about}


def _mean(shares: Floats) -> float:
    return float(shares @ np.arange(len(shares)))


def _sd(shares: Floats) -> float:
    return float(np.sqrt(shares @ (np.arange(len(shares)) - _mean(shares)) ** 2))


def _quartiles(values: Floats) -> dict[str, float]:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"lower_quartile": float(low), "median": float(median), "upper_quartile": float(high)}
