"""What each step towards an external image gives: a ladder, climbed once, that chose nothing.

Runs trained on BreastMNIST alone are applied, frozen, to BUS-BRA: from one network on plainly resized images
to the final models on images prepared as ``clineval validate`` prepares them. AUC with intervals clustered
by patient (logit scale, 95 %).

    CLINEVAL_BUSBRA=FOLDER python research/ladder_busbra.py RESULTS [RESULTS_64 RESULTS_224] [--record FILE]

The first folder is the run of the headline; further ones are runs at other sizes. Writes ladder_busbra.csv.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from clineval.data.own_images import OwnCohort, read_own_cohort
from clineval.models.network import Networks
from clineval.models.stored import Floats
from clineval.pipeline.stored_run import StoredRun, final_risks, read_run, score_images
from clineval.statistics.roc import auc_logit
from clineval.tables.own_table import Columns

RECORD = Path(__file__).with_name("ladder_busbra.csv")
COLUMNS = Columns("ID", "Pathology", "malignant", "Case")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--record", type=Path, default=RECORD)
    asked = parser.parse_args()
    rows = [row for folder in asked.results for row in _climb(read_run(folder))]
    table = pd.DataFrame(rows)
    table.to_csv(asked.record, index=False, float_format="%.4f")
    sys.stdout.write(table.to_string(index=False, float_format=lambda value: f"{value:.3f}") + "\n")


def _climb(run: StoredRun) -> Iterator[dict[str, object]]:
    """The steps at one size, each on top of those before it."""
    external = _external(run)
    middle, upper = external.cohort.images, external.further[0]
    steps: dict[str, tuple[list[NDArray[np.uint8]], bool]] = {
        "plain resize": ([_resized(external, run.side)], False),
        "middle square": ([middle], False),
        "and a matched view": ([middle], True),
        "and the upper square": ([middle, upper], True),
    }
    for step, (views, matching) in steps.items():
        yield {
            "side": run.side,
            "step": step,
            "model": "one network",
            **_one_network(run, external, views, matching),
        }
        for model, risk in _risks(run, views, matching).items():
            yield {"side": run.side, "step": step, "model": model, **_auc(external, risk)}


def _risks(run: StoredRun, views: list[NDArray[np.uint8]], matching: bool) -> dict[str, Floats]:
    """The final risks by model, the mean over the views."""
    return final_risks(run, [score_images(run, view, matching=matching).risks for view in views])


def _external(run: StoredRun) -> OwnCohort:
    folder = Path(os.environ["CLINEVAL_BUSBRA"])
    return read_own_cohort(
        folder / "bus_data.csv",
        COLUMNS,
        image_folder=folder / "images",
        size=run.side,
        also=("top",),
        condition=run.condition,
        name="busbra",
    )


def _resized(external: OwnCohort, side: int) -> NDArray[np.uint8]:
    """The whole images squashed into squares."""
    small = []
    for path in external.paths:
        with Image.open(path) as image:
            small.append(np.asarray(image.convert("L").resize((side, side), Image.Resampling.BILINEAR)))
    return np.stack(small)


def _one_network(
    run: StoredRun, external: OwnCohort, views: list[NDArray[np.uint8]], matching: bool
) -> dict[str, float]:
    """The mean AUC of the ensemble's networks, each on its own; the mean has no interval."""
    aucs = []
    for member in run.models["cnn"].members:
        alone = replace(run, models={"cnn": Networks((member,))}, parts={})
        aucs.append(_auc(external, _risks(alone, views, matching)["cnn"])["auc"])
    return {"auc": float(np.mean(aucs)), "low": np.nan, "high": np.nan}


def _auc(external: OwnCohort, risk: Floats) -> dict[str, float]:
    cohort = external.cohort
    found = auc_logit(cohort.outcome, risk, group=cohort.group)
    return {"auc": found.value, "low": found.low, "high": found.high}


if __name__ == "__main__":
    main()
