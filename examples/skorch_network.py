"""A torch network trained by skorch: clineval run --model net=examples/skorch_network.py:make"""

import torch
from skorch import NeuralNetClassifier
from torch import nn


class Network(nn.Module):
    """Log odds of both outcomes, shape (cases, 2), from grey levels 0 to 255, shape (cases, side, side)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
        )  # fmt: skip

    def forward(self, images):
        """The network takes images as they are, so that what is stored does too."""
        return self.layers(images[:, None].float() / 127.5 - 1)


def make(seed):
    """The model, not yet fitted; once it is, its network is stored by torch's exporter."""
    torch.manual_seed(seed)
    return NeuralNetClassifier(
        Network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=15,
        batch_size=32,
        train_split=None,
        verbose=0,
    )
