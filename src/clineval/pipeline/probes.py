"""What border, marks, size, aspect, focus and brightness of pictures say beside a model's risks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from clineval.data.cohort import Cohort
from clineval.data.findings import QUANTITIES, file_quantities, picture_quantities
from clineval.data.own_images import OwnCohort
from clineval.errors import Announce
from clineval.evaluation import Evaluation
from clineval.evaluation.codec import to_plain
from clineval.predictions import OUT_OF_FOLD, TEST
from clineval.settings import EvaluationSettings
from clineval.statistics.probes import probe

FILE = "probes.json"
MEASURING = "Measuring border, marks, size and focus of the pictures"
Quantities = dict[str, NDArray[np.float64]]


def probes_record(
    outcome: ArrayLike,
    risk: ArrayLike,
    quantities: Quantities,
    *,
    group: ArrayLike,
    model: str,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """The quantities of some pictures beside a model, as plain values; those that are constant are named."""
    differing = {name: values for name, values in quantities.items() if np.ptp(values) > 0}
    constant = [name for name in quantities if name not in differing]
    if not differing:
        return {"model": model, "constant": constant}
    found = probe(
        outcome,
        risk,
        differing,
        group=group,
        draws=settings.draws,
        seed=settings.seed,
        level=settings.level,
    )
    record = to_plain(found)
    return {**record, "model": model, "model_auc": record["model"], "constant": constant}


def write_run_probes(
    cohort: Cohort,
    read: OwnCohort | None,
    table: pd.DataFrame,
    evaluation: Evaluation,
    settings: EvaluationSettings,
    folder: Path,
    *,
    announce: Announce,
) -> None:
    """Write ``probes.json``: the primary model beside the pictures, out of fold on train and on test.

    Parameters
    ----------
    cohort : the run's; ``read`` the files of its cases, where they are a user's own. Of other sets the
        squares are measured, in which size and aspect are the same.
    table : the run's predictions, as read back.
    """
    quantities = _by_case(cohort, read, announce)
    model = evaluation.primary.model if evaluation.primary is not None else str(table["model"].iloc[0])
    record = {}
    for population in (OUT_OF_FOLD, TEST):
        rows = table[(table["model"] == model) & (table["split"] == population)]
        if not len(rows) or rows["outcome"].nunique() < 2:
            continue
        measured = quantities.loc[rows["case"]]
        record[population] = probes_record(
            rows["outcome"].to_numpy(bool),
            rows["risk"].to_numpy(np.float64),
            {str(name): measured[name].to_numpy(np.float64) for name in measured},
            group=rows["group"].to_numpy() if "group" in rows else rows["case"].to_numpy(),
            model=model,
            settings=settings,
        )
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def _by_case(cohort: Cohort, read: OwnCohort | None, announce: Announce) -> pd.DataFrame:
    """The quantities of every picture, a row for each case by its name."""
    progress = announce(MEASURING)
    if read is not None:
        found = file_quantities(read.paths, bits=read.bits, progress=progress)
        return pd.DataFrame(found, index=read.cohort.case)
    rows = []
    for done, image in enumerate(cohort.images, start=1):
        rows.append(picture_quantities(Image.fromarray(image)))
        if done % 100 == 0 or done == len(cohort):
            progress(done, len(cohort))
    return pd.DataFrame(np.array(rows), columns=list(QUANTITIES), index=cohort.case)
