"""Claim: a run's ensemble is more accurate than ResNet-18 and trains in less than a fortieth of its time.

Against: the ResNet-18 recipe that MedMNIST v2 published for these images (11.2 M parameters, three-channel
input, stride-1 stem, batch 128, Adam 1e-3, 100 epochs; test AUC .901, mean of 3 runs), written afresh here.
Its epochs are timed, not its accuracy. Both use the same two cores in the same run.

    CLINEVAL_DATA=FOLDER python benchmarks/bench_training.py

Trials: the ensemble once, 2 epochs of ResNet-18 after one step of warm-up, 5 single seeds, two grouped
cross-validations (5 folds x 2 repeats each). The last line is one JSON object:

ensemble_seconds      wall time of all that `combined` needs, process start included
resnet18_epoch_seconds, ratio   the faster of the timed epochs; 100 of them over ensemble_seconds
test_auc_mean         mean official-test AUC of single networks fitted on all of train, not in the time
test_auc_ensemble     official-test AUC of `combined`
grouped_cv_auc        of `combined`, near-duplicates of train + val by the audit in one fold
grouped_cv_auc_correlation   the same where only pixel correlation of .95 or more makes near-duplicates
peak_share            of the single-thread float32 matrix product's speed, over one member's whole training
"""

import json
import os
import platform
import sys
import time

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from clineval.data import medmnist
from clineval.data.audit import audit
from clineval.data.cohort import Cohort
from clineval.models.classifier import mean_of
from clineval.models.ensemble import train_models
from clineval.models.network_training import build_network, one_thread, parameters_of
from clineval.models.parallel import Job, Material, perform, run_jobs
from clineval.pipeline.study import score, study, summarise
from clineval.settings import StudySettings, TrainingSettings
from clineval.statistics.roc import auc

CORES = 2
SEEDS = 5
SAME = 0.95  # correlation of pixels
SETTINGS = TrainingSettings()


def main() -> None:
    cohort = medmnist.load("breastmnist", size=28, folders=[os.environ["CLINEVAL_DATA"]])
    cohort = cohort.with_groups(audit(cohort).group_of)
    say(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")

    began = time.perf_counter()
    cnn, scattering = train_models(cohort, settings=SETTINGS, names=("cnn", "scattering"), jobs=CORES)
    combined = mean_of([cnn.risk, scattering.risk])
    ensemble_seconds = time.perf_counter() - began
    say(f"ensemble of {SETTINGS.members} networks and the scattering machine: {ensemble_seconds:.1f} s wall")

    epoch_seconds = resnet18_epoch_seconds(cohort)
    say(f"ResNet-18, one epoch: {epoch_seconds:.1f} s; 100 epochs: {100 * epoch_seconds:.0f} s")

    peak_share = share_of_peak(cohort)
    say(f"one member runs at {peak_share:.0%} of this thread's matrix product")

    single = [test_auc(cohort, risk) for risk in single_seeds(cohort)]
    say(f"single seeds on all of train, test AUC: {np.mean(single):.4f}, SD {np.std(single, ddof=1):.4f}")
    for name, risk in (("cnn", cnn.risk), ("scattering", scattering.risk), ("combined", combined)):
        say(f"{name}, test AUC: {test_auc(cohort, risk):.4f}")

    summaries = {}
    for name, grouped in (("the audit's groups", cohort), ("correlation", by_correlation(cohort))):
        summaries[name] = cross_validate(grouped)
        say(f"grouped cross-validation, near-duplicates by {name}")
        say(summaries[name].to_string(float_format=lambda value: f"{value:.4f}"))
    result = {
        "ensemble_seconds": ensemble_seconds,
        "resnet18_epoch_seconds": epoch_seconds,
        "ratio": 100 * epoch_seconds / ensemble_seconds,
        "test_auc_mean": float(np.mean(single)),
        "test_auc_ensemble": test_auc(cohort, combined),
        "grouped_cv_auc": float(summaries["the audit's groups"].loc["combined", "auc"]),
        "grouped_cv_auc_correlation": float(summaries["correlation"].loc["combined", "auc"]),
        "peak_share": peak_share,
    }
    say(json.dumps(result))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def test_auc(cohort: Cohort, risk: np.ndarray) -> float:
    test = cohort.within("test")
    return auc(cohort.outcome[test], risk[test]).value


def single_seeds(cohort: Cohort) -> list[np.ndarray]:
    """Risks of networks that each saw all of train, watched on val by the guard as the members are."""
    train, val = (np.flatnonzero(cohort.within(split)) for split in ("train", "val"))
    material = Material.of(cohort)
    jobs = [
        (material, Job("cnn", train, val, SETTINGS.network, seed, strict=SETTINGS.early_stopping == "strict"))
        for seed in range(SEEDS)
    ]
    return [fitted.risk for fitted in run_jobs(jobs, workers=CORES)]


def cross_validate(cohort: Cohort):
    plan = StudySettings(models=("cnn", "scattering", "combined"), folds=5, repeats=2)
    summary = summarise(score(study(cohort, settings=plan, training=SETTINGS, jobs=CORES)))
    return summary.set_index("model")[["auc", "auc_sd", "brier", "log_loss", "cpu_seconds"]]


def by_correlation(cohort: Cohort) -> Cohort:
    """The cohort regrouped: chains of cases of train and val whose pixels correlate by .95 or more."""
    pool = np.flatnonzero(cohort.within("train", "val"))
    alike = np.corrcoef(cohort.images[pool].reshape(len(pool), -1)) >= SAME
    group = cohort.case.astype(object)
    group[pool] = [f"chain {number}" for number in connected_components(alike, directed=False)[1]]
    return cohort.with_groups(group.astype(str))


def share_of_peak(cohort: Cohort) -> float:
    """Speed of one member's whole training over that of a large matrix product, both on one thread."""
    train = np.flatnonzero(cohort.within("train"))
    job = Job("cnn", train, train[:0], SETTINGS.network, seed=0)
    network, batch = build_network(28, 28, seed=0), SETTINGS.network.batch
    with FlopCounterMode(display=False) as counter:
        network(torch.randn(batch, 1, 28, 28)).sum().backward()
    steps = SETTINGS.network.epochs * (len(train) // batch)
    with one_thread():
        left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
        peak = max(2 * 1024**3 / cpu_seconds(lambda: left @ right) for _ in range(30))
    perform(Material.of(cohort), job)  # warms caches
    seconds = min(perform(Material.of(cohort), job).seconds for _ in range(2))
    return counter.get_total_flops() * steps / seconds / peak


def cpu_seconds(work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


class Basic(nn.Module):
    """ResNet's basic block: He K, Zhang X, Ren S, Sun J (2016), doi:10.1109/CVPR.2016.90."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.inner(maps) + self.shortcut(maps))


def resnet18() -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
    ]
    channels = 64
    for wider, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Basic(channels, wider, stride), Basic(wider, wider, 1)]
        channels = wider
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))


def resnet18_epoch_seconds(cohort: Cohort) -> float:
    """Wall time of the faster of two epochs over train, on as many threads as there are cores to use."""
    train = cohort.within("train")
    images = torch.from_numpy(cohort.images[train] / np.float32(255))[:, None].repeat(1, 3, 1, 1)
    labels = torch.from_numpy(cohort.outcome[train].astype(np.int64))
    torch.manual_seed(0)
    network = resnet18()
    say(f"ResNet-18: {parameters_of(network) / 1e6:.1f} M parameters")
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(chosen: Tensor) -> None:
        optimiser.zero_grad()
        functional.cross_entropy(network(images[chosen]), labels[chosen]).backward()
        optimiser.step()

    threads = torch.get_num_threads()
    torch.set_num_threads(CORES)
    step(torch.arange(8))
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        for chosen in torch.randperm(len(images)).split(128):
            step(chosen)
        seconds.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return min(seconds)


if __name__ == "__main__":
    main()
