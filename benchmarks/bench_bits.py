"""Threads, locale and working folder change no bit; another instruction set changes some, and by how much.

Claims, on BreastMNIST at 28 x 28, against one training and one evaluation with the machine as it is:
- any number of trainings at once and any number of threads: the same bytes.
- other machine instructions for the same sums, as another processor would choose them: risks differ in the
  digits shown, and the cross-validated AUC hardly; numbers recomputed from one table differ in the last
  digits only. The tolerances of `clineval verify` stand above the largest of these.

    CLINEVAL_DATA=FOLDER python benchmarks/bench_bits.py [--out benchmarks/bits.md]

Every row is a process of its own with the variables shown; one trial each, for nothing in it is random. Test
outcomes are not scored: the AUC is that of out-of-fold risks. The evaluation is of simulated risks.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

KEY = ["model", "split", "case"]
TRAINED = ("logreg", "cnn", "scattering", "combined")
ROWS = {
    "as it is": {},
    "one training at once, threads 3": {"JOBS": "1", "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "2"},
    "torch: AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "torch: no vector instructions": {"ATEN_CPU_CAPABILITY": "default"},
    "oneDNN: AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "torch, oneDNN, OpenBLAS and numpy: AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL",
    },
    "OpenBLAS: Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "numpy: AVX2": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL"},
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--out", type=Path)
    words.add_argument("--keep", type=Path, help="a folder that keeps what was measured; goes on there")
    words.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.child:
        write_numbers(given.child)
        return
    with tempfile.TemporaryDirectory() as place:
        kept = given.keep or Path(place)
        for name, variables in ROWS.items():
            measure(folder_of(kept, name), variables)
        text = record(kept)
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


def folder_of(kept: Path, name: str) -> Path:
    return kept / "".join(letter if letter.isalnum() else "-" for letter in name)


def measure(folder: Path, variables: dict[str, str]) -> None:
    if (folder / "evaluation.json").is_file():  # written last
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {"JOBS": "2", "OMP_NUM_THREADS": "1", **os.environ, **variables}
    subprocess.run([sys.executable, __file__, "--child", str(folder)], env=environment, check=True)


def write_numbers(folder: Path) -> None:
    """Train on the images as a run does, and evaluate one simulated table, under this process's variables."""
    from clineval.evaluation import evaluate, write_evaluation
    from clineval.pipeline.run import audit_and_group, load, silent
    from clineval.pipeline.train import train_all, write_tables
    from clineval.settings import DataSettings, RunSettings

    settings = RunSettings(data=DataSettings(dataset="breastmnist"))
    findings, cohort = audit_and_group(load(settings), settings, folder)
    models = train_all(cohort, findings, settings, jobs=int(os.environ["JOBS"]), announce=silent)
    write_tables(models, folder)
    write_evaluation(evaluate(simulated()), folder / "evaluation.json")


def simulated() -> pd.DataFrame:
    """Out-of-fold and test rows of two models, with groups, the same to the last bit on every machine."""
    chance = np.random.default_rng(0)
    frames = []
    for model in ("one", "other"):
        for split, cases in (("train_out_of_fold", 546), ("test", 156)):
            outcome = np.arange(cases) % 4 == 0
            risk = 1 / (1 + np.exp(1.5 - 2 * outcome - chance.normal(size=cases)))
            case = [f"{split}/{index}" for index in range(cases)]
            group = [f"{split}/{index - index % 2}" for index in range(cases)]
            frames.append(
                pd.DataFrame(
                    {
                        "model": model,
                        "split": split,
                        "case": case,
                        "group": group,
                        "outcome": outcome.astype(int),
                        "risk": np.array([int(value * 4096) / 4096 + 1e-4 for value in risk]),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def record(place: Path) -> str:
    lines = [
        "# Which bits change, and by how much",
        "",
        f"{processor()}, {os.cpu_count()} cores; python {platform.python_version()}, numpy {np.__version__}, "
        f"torch {torch.__version__}, {' '.join(platform.libc_ver())}. Written by benchmarks/bench_bits.py.",
        "",
        "Difference of risks from the first row, by model: the largest; the mean over the cases of the split "
        "where it is largest; in brackets the change of the AUC of out-of-fold risks. The last columns: the "
        "largest relative difference of a number evaluated from one and the same table, and whether the "
        "audit's file is the same.",
        "",
        "| set | " + " | ".join(TRAINED) + " | bytes of predictions | evaluation | audit |",
        "|---|" + "---|" * (len(TRAINED) + 3),
    ]
    first = folder_of(place, next(iter(ROWS)))
    for name in ROWS:
        lines.append(f"| {name} | " + " | ".join(cells(first, folder_of(place, name))) + " |")
    return "\n".join(lines) + "\n"


def cells(first: Path, other: Path) -> list[str]:
    one, two = (table(folder / "predictions.csv") for folder in (first, other))
    gap = (one["risk"] - two["risk"]).abs()
    found = []
    for model in TRAINED:
        change = out_of_fold_auc(two, model) - out_of_fold_auc(one, model)
        mean = gap[model].groupby(level="split").mean().max()
        found.append(f"{gap[model].max():.2g}; {mean:.2g} ({change:+.4f})" if mean else "same")
    found.append("same" if same(first, other, "predictions.csv") else "other")
    found.append(f"{furthest(*(numbers(folder / 'evaluation.json') for folder in (first, other))):.2g}")
    found.append("same" if same(first, other, "audit.json") else "other")
    return found


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path).set_index(KEY).sort_index()


def out_of_fold_auc(risks: pd.DataFrame, model: str) -> float:
    from clineval.statistics.roc import auc

    rows = risks.loc[(model, "train_out_of_fold")]
    return auc(rows["outcome"].to_numpy(bool), rows["risk"].to_numpy(float)).value


def same(first: Path, other: Path, name: str) -> bool:
    return (first / name).read_bytes() == (other / name).read_bytes()


def numbers(path: Path) -> list[float]:
    def leaves(value):
        for each in value.values() if isinstance(value, dict) else value:
            if isinstance(each, dict | list):
                yield from leaves(each)
            elif isinstance(each, int | float):
                yield float(each)

    return list(leaves(json.loads(path.read_text(encoding="utf-8"))))


def furthest(one: list[float], other: list[float]) -> float:
    """Largest relative difference, absolute below 1: as ``clineval verify`` compares."""
    if len(one) != len(other):
        return float("inf")
    left, right = np.array(one), np.array(other)
    return float((np.abs(left - right) / np.maximum(1, np.maximum(np.abs(left), np.abs(right)))).max())


def processor() -> str:
    from clineval.results import machine

    return str(machine()["processor"])


if __name__ == "__main__":
    main()
