"""AdamW, against torch's own."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from clineval.learning.adamw import AdamW


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))


def test_its_steps_are_those_of_torch_to_the_last_bit():
    ours, theirs = network(), network()
    weights = list(theirs.parameters())
    groups = [
        {"params": [one for one in weights if one.ndim > 1], "weight_decay": 0.05},
        {"params": [one for one in weights if one.ndim == 1], "weight_decay": 0.0},
    ]
    torchs, own = torch.optim.AdamW(groups, fused=True), AdamW(ours, weight_decay=0.05)
    images = torch.randn(8, 1, 8, 8)
    for step in range(5):
        rate = 0.01 / (step + 1)
        for group in torchs.param_groups:
            group["lr"] = rate
        for one in (ours, theirs):
            one.zero_grad()
            one(images).square().sum().backward()
        torchs.step()
        own.step(rate)
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


TRAINING = """
import sys
from clineval.data.phantom import phantom
from clineval.learning.jobs import Job, Material, perform
from clineval.settings import NetworkSettings

cohort = phantom(0, cases=(90, 30, 20))
train = cohort.within("train").nonzero()[0]
perform(Material.of(cohort), Job("cnn", train, train[:0], NetworkSettings(epochs=1), seed=0))
sys.exit("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_a_training_does_not_import_torchs_compiler():
    assert subprocess.run([sys.executable, "-c", TRAINING]).returncode == 0
