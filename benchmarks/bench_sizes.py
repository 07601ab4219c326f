"""What larger images give, and that a set as large as ChestMNIST trains within 24 GB.

Claims:
- The same models by one rule at 28, 64 and 224 pixels: grouped cross-validation of BreastMNIST (5 folds,
  near-duplicates of train + val in one fold), AUC and processor seconds of all that one model trains.
- 112,120 images of 28 pixels (made of phantoms, moved and mixed) train within 24 GB: peak memory and
  processor seconds of each model, the networks for --steps steps of the 10,000 that a run takes.

    CLINEVAL_DATA=FOLDER python benchmarks/bench_sizes.py --sizes 28 64 224 [--single] [--repeats N]
    python benchmarks/bench_sizes.py --cases 112120 [--steps 300]

Each size and each model of the large set runs in a process of its own, so that its peak memory is its own.
The last line of each is one JSON object.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

from clineval.data import medmnist
from clineval.data.audit import audit
from clineval.data.cohort import Cohort
from clineval.data.phantom import phantom
from clineval.models.ensemble import train_models
from clineval.pipeline.study import score, study, summarise
from clineval.settings import StudySettings, TrainingSettings

MODELS = ("logreg", "cnn", "scattering")
DRAWN = 10_000  # phantoms that the large set is made of


def main() -> None:
    asked = _arguments()
    if asked.large_model:
        say(train_large(asked.cases, asked.large_model, asked.steps))
    elif asked.one_size:
        say(by_size(asked.one_size, asked.repeats, single=asked.single))
    else:
        for size in asked.sizes:
            _in_own_process("--one-size", size, "--repeats", asked.repeats, *["--single"][: asked.single])
        for model in MODELS if asked.cases else ():
            _in_own_process("--large-model", model, "--cases", asked.cases, "--steps", asked.steps)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--single", action="store_true", help="one network a fold instead of five")
    parser.add_argument("--cases", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--one-size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--large-model", choices=MODELS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_own_process(*options: object) -> None:
    subprocess.run([sys.executable, __file__, *map(str, options)], check=True)


def by_size(size: int, repeats: int, *, single: bool) -> dict[str, object]:
    """Grouped cross-validation at one size; folds are drawn by the groups found at 28 pixels."""
    folder = [os.environ["CLINEVAL_DATA"]]
    groups = audit(medmnist.load("breastmnist", size=28, folders=folder)).group_of
    cohort = medmnist.load("breastmnist", size=size, folders=folder).with_groups(groups)
    names = ("logreg", "cnn_single", "scattering") if single else (*MODELS, "combined")
    plan = StudySettings(models=names, repeats=repeats)
    summary = summarise(score(study(cohort, settings=plan, training=TrainingSettings(), jobs=1)))
    return {"size": size, "peak_mb": peak_megabytes()} | {
        row.model: {"auc": round(row.auc, 4), "cpu_seconds": round(row.cpu_seconds, 1)}
        for row in summary.itertuples()
    }


def train_large(cases: int, model: str, steps: int) -> dict[str, object]:
    """One model trained on a large set, in this process."""
    cohort = large_set(cases)
    before = peak_megabytes()
    settings = TrainingSettings()
    settings = replace(settings, network=replace(settings.network, most_steps=steps))
    wall, cpu = time.perf_counter(), time.process_time()
    train_models(cohort, settings=settings, names=(model,), jobs=1)
    return {
        "model": model,
        "cases": cases,
        "peak_mb": peak_megabytes(),
        "peak_mb_before": before,
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
        **({"steps_of_each_network": _steps(cohort, settings)} if model == "cnn" else {}),
    }


def _steps(cohort: Cohort, settings: TrainingSettings) -> int:
    """How many steps one member takes: whole epochs, at least one."""
    shown = int(cohort.within("train").sum()) * (settings.members - 1) // settings.members
    epoch = shown // settings.network.batch
    return epoch * max(1, min(settings.network.epochs, settings.network.most_steps // epoch))


def large_set(cases: int) -> Cohort:
    """Moved and mixed copies of phantoms as a cohort, 70 % train, 10 % val, every case its own group."""
    drawn = phantom(0, cases=(DRAWN - 200, 100, 100))
    chance = np.random.default_rng(0)
    first, second = chance.integers(0, DRAWN, (2, cases))
    images = np.empty((cases, *drawn.images.shape[1:]), np.uint8)
    for place in range(cases):
        mixed = 0.8 * drawn.images[first[place]] + 0.2 * drawn.images[second[place], :, ::-1]
        images[place] = np.roll(mixed, chance.integers(-2, 3, 2), axis=(0, 1))
    split = np.where(np.arange(cases) < 0.7 * cases, "train", "test")
    split[(np.arange(cases) >= 0.7 * cases) & (np.arange(cases) < 0.8 * cases)] = "val"
    case = np.array([f"{name}/{place}" for place, name in enumerate(split)])
    return replace(
        drawn, images=images, outcome=drawn.outcome[first], split=split, case=case, group=case, attributes={}
    )


def peak_megabytes() -> int:
    used = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return used // 1024


def say(result: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
