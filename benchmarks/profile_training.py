"""Claim: a training step is spent in convolutions, not in Python, copies or bookkeeping.

Against: nothing; this shows where one member's time goes. One thread, 30 steps of 64 images.

    python benchmarks/profile_training.py
"""

import sys

import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from clineval.models.network_training import build_network, one_thread, optimisers_of
from clineval.settings import NetworkSettings

STEPS = 30
SHOWN = 14


def main() -> None:
    network = build_network(28, 28, seed=0)
    optimisers = optimisers_of(network, NetworkSettings())
    images, labels = torch.randn(STEPS, 64, 1, 28, 28), torch.randint(0, 2, (STEPS, 64))

    def step(number: int) -> None:
        functional.cross_entropy(network(images[number]), labels[number]).backward()
        for optimiser in optimisers:
            optimiser.step(4e-3)

    with one_thread():
        for number in range(5):
            step(number)
        with profile(activities=[ProfilerActivity.CPU]) as measured:
            for number in range(STEPS):
                step(number)
    rows = sorted(measured.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    sys.stdout.write(f"{total / STEPS / 1000:.1f} ms a step, torch {torch.__version__}\n")
    for row in rows[:SHOWN]:
        share, each = row.self_cpu_time_total / total, row.self_cpu_time_total / STEPS / 1000
        sys.stdout.write(f"{share:6.1%} {each:7.2f} ms {row.count / STEPS:6.1f} calls  {row.key}\n")


if __name__ == "__main__":
    main()
