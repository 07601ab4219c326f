"""A network of timm, trained by skorch: clineval run --model timm=examples/timm_network.py:make"""

import timm
import torch
from skorch import NeuralNetClassifier
from torch import nn


class Network(nn.Module):
    """Log odds of both outcomes, shape (cases, 2), from grey levels 0 to 255, shape (cases, side, side)."""

    def __init__(self, architecture="resnet10t"):
        super().__init__()
        self.layers = timm.create_model(architecture, pretrained=False, in_chans=1, num_classes=2)

    def forward(self, images):
        """The network takes images as they are, so that what is stored does too."""
        return self.layers(images[:, None].float() / 127.5 - 1)


def make(seed):
    """The model, not yet fitted; once it is, its network is stored by torch's exporter."""
    torch.manual_seed(seed)
    return NeuralNetClassifier(
        Network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=0.001,
        max_epochs=5,
        batch_size=32,
        train_split=None,
        verbose=0,
    )
