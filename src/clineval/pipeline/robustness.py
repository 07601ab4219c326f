"""A cohort as worse scanners and archives would show it: what the frozen models make of that."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.data.cohort import Cohort
from clineval.data.corruptions import KINDS, SEVERITIES, corrupt
from clineval.models.stored import Floats
from clineval.pipeline.stored_run import StoredRun, final_risks, score_images
from clineval.progress import Announce, Progress
from clineval.settings import ValidationSettings
from clineval.statistics.calibration import calibration_intercept, calibration_slope
from clineval.statistics.intervals import Estimate
from clineval.statistics.operating_point import operating_point
from clineval.statistics.roc import auc_logit
from clineval.statistics.thresholds import Point

FILE = "robustness.csv"
AS_IT_IS = "as it is"
NO_THRESHOLD = Point("given", math.nan, "given", "none was given")


def write_robustness(
    run: StoredRun,
    cohort: Cohort,
    views: Sequence[NDArray[np.uint8]],
    settings: ValidationSettings,
    folder: Path,
    *,
    jobs: int | None = None,
    announce: Announce,
) -> pd.DataFrame:
    """Write ``robustness.csv`` and its figure: every corruption at every severity, nothing fitted anew."""
    from clineval.reporting.plots import write_robustness_figure

    copies = len(KINDS) * len(SEVERITIES)
    step = f"Scoring {copies} corrupted copies of the images, about {copies} times what scoring them took"
    table = robustness(run, cohort, views, settings, jobs=jobs, progress=announce(step))
    table.to_csv(folder / FILE, index=False, lineterminator="\n")
    about = f"{cohort.source.title}: n = {len(cohort)}, {int(cohort.outcome.sum())} {cohort.condition}"
    level = settings.evaluation.level
    write_robustness_figure(
        table, folder / "robustness.png", about=about, level=level, notice=cohort.source.notice
    )
    return table


def robustness(
    run: StoredRun,
    cohort: Cohort,
    views: Sequence[NDArray[np.uint8]],
    settings: ValidationSettings,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """AUC, sensitivity and specificity at the frozen threshold, and calibration, per corruption and severity.

    Parameters
    ----------
    views : the squares of every image that the run's risk is the mean of, each (cases, side, side).
    jobs : threads; all cores by default. The numbers do not depend on it.
    progress : called with (squares scored, squares in all), every few dozen of them.

    Returns
    -------
    One row per corruption, severity and model (severity 0 is the cohort as it is), with each
    measure's value, ``_low`` and ``_high``.
    """
    grid = [(AS_IT_IS, 0), *((kind, severity) for kind in KINDS for severity in SEVERITIES)]
    rows: list[dict[str, Any]] = []
    each, total = len(cohort), len(grid) * len(views) * len(cohort)
    for done, (kind, severity) in enumerate(grid):
        scored = []
        for place, view in enumerate(views):
            shown = _shown(view, kind, severity, settings.evaluation.seed)
            count = _going_on(progress, (done * len(views) + place) * each, total)
            one = score_images(run, shown, matching=settings.matching, jobs=jobs, progress=count)
            scored.append(one.risks)
        about = {"corruption": kind, "severity": severity}
        risks = final_risks(run, scored)
        rows.extend({**about, **row} for row in _rows(run, cohort, risks, settings.evaluation.level))
    return pd.DataFrame(rows)


def _going_on(progress: Progress | None, before: int, total: int) -> Progress | None:
    """The progress of a part that begins when ``before`` of all are done."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _shown(view: NDArray[np.uint8], kind: str, severity: int, seed: int) -> NDArray[np.uint8]:
    return corrupt(view, kind, severity, seed=seed) if severity else view


def _rows(
    run: StoredRun, cohort: Cohort, risks: Mapping[str, Floats], level: float
) -> Iterator[dict[str, Any]]:
    for model, risk in risks.items():
        row: dict[str, Any] = {"model": model}
        for name, estimate in _measures(run, model, cohort, risk, level):
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        yield row


def _measures(
    run: StoredRun, model: str, cohort: Cohort, risk: Floats, level: float
) -> Iterator[tuple[str, Estimate]]:
    plain: dict[str, Any] = {"group": cohort.group, "level": level}
    yield "auc", auc_logit(cohort.outcome, risk, **plain)
    chosen = [each for each in run.thresholds[model] if each.chosen_on != "fixed"] or run.thresholds[model]
    threshold = chosen[0].threshold if chosen else NO_THRESHOLD
    point = operating_point(cohort.outcome, risk, threshold, **plain)
    yield "sensitivity", point.sensitivity
    yield "specificity", point.specificity
    yield "calibration_intercept", calibration_intercept(cohort.outcome, risk, **plain)
    yield "calibration_slope", calibration_slope(cohort.outcome, risk, **plain)
