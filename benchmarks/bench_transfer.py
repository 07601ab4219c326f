"""Claim: features of a network pretrained on ImageNet lift the AUC of grouped cross-validation above .92.

Against: `combined` (five networks and the scattering machine, trained from nothing), on the same images
(at 28 pixels, or at --size 224), folds and near-duplicates (found at 224 pixels, or at --groups 28: other
folds). Everything that `transfer` fixes was chosen before, by grouped cross-validation of train + val.

    CLINEVAL_DATA=FOLDER python benchmarks/bench_transfer.py              # cross-validation, time, size
    CLINEVAL_DATA=FOLDER python benchmarks/bench_transfer.py --drawings 12   # of `transfer` alone
    CLINEVAL_DATA=FOLDER python benchmarks/bench_transfer.py --cost       # time and size alone
    CLINEVAL_DATA=FOLDER python benchmarks/bench_transfer.py --texture    # of `transfer` alone, blurred
    CLINEVAL_DATA=FOLDER python benchmarks/bench_transfer.py --test       # opens the official test split
    CLINEVAL_BUSBRA=FOLDER python benchmarks/bench_transfer.py --blur RESULTS  # a run's models on BUS-BRA

Trials: two grouped cross-validations (5 folds x 2 drawings of train + val, the audit's groups); three
fits on train and three scorings of val on one thread. `mixed` is two thirds transfer, one third `combined`,
on the logit scale. --keep FOLDER keeps the trainings of `combined` (4 processor minutes at 28 pixels, 15
at 224) for a second call. The last line is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from clineval.data import medmnist
from clineval.data.audit import audit
from clineval.data.cohort import Cohort
from clineval.errors import silent
from clineval.models import transfer
from clineval.models.classifier import mean_of, risk_of
from clineval.models.ensemble import train_models
from clineval.models.preprocessing import View
from clineval.models.stored import Stored, write_arrays
from clineval.pipeline.external import robustness
from clineval.pipeline.run import OwnImages
from clineval.pipeline.stored_run import read_run
from clineval.pipeline.study import plan, score, study, summarise
from clineval.pipeline.validate import read_external
from clineval.settings import OwnSettings, StudySettings, TrainingSettings, ValidationSettings
from clineval.statistics.roc import auc

PLAN = StudySettings(models=("cnn", "scattering", "combined"), folds=5, repeats=2)
TRAINING = TrainingSettings()
TRIALS = 3
MEASURES = ["auc", "auc_sd", "brier", "log_loss", "cpu_seconds"]


def main() -> None:
    asked = _arguments()
    if asked.blur:
        blurred(asked.blur, Path(os.environ["CLINEVAL_BUSBRA"]))
        return
    cohort = load(transfer.SIDE)
    cohort = cohort.with_groups(audit(load(asked.groups)).group_of)
    small = load(asked.size).with_groups(cohort.group)
    if asked.drawings:
        result = many_drawings(cohort, asked.drawings)
    elif asked.texture:
        result = texture(cohort)
    elif asked.cost:
        result = cost(cohort)
    elif asked.test:
        result = official_test(cohort, small, asked.jobs)
    else:
        result = {**cost(cohort), **cross_validation(cohort, small, asked.keep, asked.jobs)}
    say(json.dumps(result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=28, help="of the images of `combined`")
    parser.add_argument("--groups", type=int, default=transfer.SIDE, help="size at which they are found")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--drawings", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--texture", action="store_true")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--blur", type=Path, help="folder of a run with transfer", metavar="RESULTS")
    return parser.parse_args()


def load(size: int) -> Cohort:
    return medmnist.load("breastmnist", size=size, folders=[os.environ["CLINEVAL_DATA"]])


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def fit(whole: View, cohort: Cohort, train: NDArray[np.int64]) -> Stored:
    """`transfer` learnt from these cases."""
    return transfer.fit(whole.take(train), cohort.outcome[train], cohort.group[train], seed=0)


def cost(cohort: Cohort) -> dict[str, float]:
    """Least time of three fits on train and of three scorings of val, one thread each; the size stored."""
    train, val = cohort.within("train"), cohort.within("val")
    fits, scorings = [], []
    for _ in range(TRIALS):
        began = time.perf_counter(), time.process_time()
        learnt = transfer.fit(View(cohort.images[train]), cohort.outcome[train], cohort.group[train], seed=0)
        fits.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        model = transfer.read(learnt.record, learnt.arrays)
        risk_of(model, View(cohort.images[val][:1]))  # opens the session
        began = time.perf_counter(), time.process_time()
        risk_of(model, View(cohort.images[val]))
        scorings.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "transfer.safetensors"
        write_arrays(file, learnt.arrays, learnt.record)
        size = file.stat().st_size
    per_image = 1000 * np.min(scorings, axis=0) / val.sum()
    say(f"fit on {train.sum()}: {np.min(fits, axis=0)} s wall, processor; Platt {learnt.arrays['platt']}")
    say(f"an image: {per_image} ms wall, processor; stored {size / 1e6:.1f} MB")
    fit_wall, fit_cpu = np.min(fits, axis=0)
    return {
        "fit_wall_seconds": fit_wall,
        "fit_cpu_seconds": fit_cpu,
        "image_wall_ms": per_image[0],
        "image_cpu_ms": per_image[1],
        "stored_mb": size / 1e6,
    }


def cross_validation(cohort: Cohort, small: Cohort, keep: Path | None, jobs: int) -> dict[str, float]:
    """Mean over folds and drawings of the AUC of each model, every one on the same folds."""
    alone = transfer_rows(cohort, PLAN)
    say(summarise(score(alone)).set_index("model")[MEASURES].to_string(float_format="{:.4f}".format))
    others = study(small, settings=PLAN, training=TRAINING, jobs=jobs, finished=keep)
    every = pd.concat([others, alone, mixed(others, alone)], ignore_index=True)
    scores = score(every)
    say(scores.pivot_table(index=["repeat", "fold"], columns="model", values="auc").round(4).to_string())
    summary = summarise(scores).set_index("model")
    say(summary[MEASURES].to_string(float_format="{:.4f}".format))
    return {f"cv_{name}": float(value) for name, value in summary["auc"].items()}


def many_drawings(cohort: Cohort, drawings: int) -> dict[str, float]:
    """How far the mean AUC over five folds depends on how they are drawn."""
    scores = score(transfer_rows(cohort, replace(PLAN, repeats=drawings)))
    by_drawing = scores.groupby("repeat")["auc"].mean()
    say(by_drawing.round(4).to_string())
    return {"mean": float(by_drawing.mean()), "sd": float(by_drawing.std())}


def texture(cohort: Cohort) -> dict[str, float]:
    """AUC over the folds of images as they are and under a Gaussian of 3 pixels, learnt from the former."""
    soft = np.stack([gaussian_filter(image.astype(np.float32), 3, mode="reflect") for image in cohort.images])
    blurred = View(np.rint(soft).astype(np.uint8))
    shown = {"as they are": None, "blurred": blurred}
    scores = {name: score(transfer_rows(cohort, PLAN, view)) for name, view in shown.items()}
    return {name: float(summarise(each)["auc"].iloc[0]) for name, each in scores.items()}


def transfer_rows(cohort: Cohort, settings: StudySettings, shown: View | None = None) -> pd.DataFrame:
    """Out-of-fold risks of `transfer`; the features are computed once, for no outcome is in them.

    ``shown`` is what the models score in place of the images that they learn from.
    """
    whole, parts = View(cohort.images), []
    shown = whole if shown is None else shown
    whole.computed(transfer.pretrained_network())
    for point in plan(cohort, settings):
        if point.model != "combined":
            continue
        train, held_out = point.train, point.held_out
        began = time.process_time()
        learnt = fit(whole, cohort, train)
        model = transfer.read(learnt.record, learnt.arrays)
        seconds = time.process_time() - began
        parts.append(
            pd.DataFrame(
                {
                    "model": "transfer",
                    "variant": point.variant,
                    "fraction": point.fraction,
                    "repeat": point.repeat,
                    "fold": point.fold,
                    "seed": point.seed,
                    "split": "cross_validation",
                    "case": cohort.case[held_out],
                    "group": cohort.group[held_out],
                    "outcome": cohort.outcome[held_out].astype(int),
                    "risk": risk_of(model, shown.take(held_out)),
                    "trained_on": len(train),
                    "cpu_seconds": seconds,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def mixed(others: pd.DataFrame, alone: pd.DataFrame) -> pd.DataFrame:
    """Two thirds transfer, one third `combined`, on the logit scale."""
    combined = others[others["model"] == "combined"].reset_index(drop=True)
    place = ["repeat", "fold", "case"]
    if not combined[place].equals(alone[place]):
        raise RuntimeError("The two tables hold other cases or other folds.")
    risk = mean_of([combined["risk"].to_numpy(), *[alone["risk"].to_numpy()] * 2])
    seconds = combined["cpu_seconds"] + alone["cpu_seconds"]
    return combined.assign(model="mixed", risk=risk, cpu_seconds=seconds)


def official_test(cohort: Cohort, small: Cohort, jobs: int) -> dict[str, float]:
    """AUC on the official test split, all fitted on train only."""
    train, test = cohort.within("train"), cohort.within("test")
    clean = test & ~np.isin(cohort.group, cohort.group[cohort.within("train", "val")])
    learnt = fit(View(cohort.images), cohort, np.flatnonzero(train))
    model = transfer.read(learnt.record, learnt.arrays)
    trained = train_models(small, settings=TRAINING, names=("cnn", "scattering"), jobs=jobs)
    alone = np.full(len(cohort.images), np.nan)
    alone[test] = risk_of(model, View(cohort.images[test]))
    combined = mean_of([each.risk for each in trained])
    risks = {"transfer": alone, "combined": combined, "mixed": mean_of([combined, alone, alone])}
    result: dict[str, float] = {}
    for name, risk in risks.items():
        whole, part = (auc(cohort.outcome[cases], risk[cases]) for cases in (test, clean))
        say(f"{name}: test {whole.value:.4f} ({whole.low:.4f} to {whole.high:.4f}), {test.sum()} images")
        say(f"  without near-duplicates {part.value:.4f} ({part.low:.4f} to {part.high:.4f}), {clean.sum()}")
        accuracy = np.mean((risk[test] >= 0.5) == cohort.outcome[test])
        say(f"  accuracy at .5 {accuracy:.4f}")
        result |= {f"test_{name}": whole.value, f"clean_{name}": part.value}
    return result


def blurred(results: Path, folder: Path) -> None:
    """AUC of every model of a run on BUS-BRA as it is and blurred, nothing fitted or chosen."""
    run = read_run(results)
    columns = OwnSettings("ID", "Pathology", "malignant", "Case")
    settings = ValidationSettings("bus-bra", columns)
    own = OwnImages(folder / "bus_data.csv", folder / "images")
    external = read_external(run, own, settings, ("top",), silent)
    views = (external.cohort.images, *external.further)
    table = robustness(run, external.cohort, views, settings, kinds=("blur",))
    say(table.pivot_table(index="severity", columns="model", values="auc").round(3).to_string())


if __name__ == "__main__":
    main()
