"""A torch network as a model: clineval run --model network=examples/torch_network.py:make"""

import numpy as np
import torch
from torch import nn

EPOCHS, BATCH = 15, 32


class Network(nn.Module):
    """Risk of each image, shape (cases,), from grey levels 0 to 255, shape (cases, side, side)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1),
        )  # fmt: skip

    def logits(self, images):
        """Log odds of the condition."""
        return self.layers(images[:, None] / 127.5 - 1)[:, 0]

    def forward(self, images):
        """The risk, as it is stored."""
        return torch.sigmoid(self.logits(images))


class Model:
    """What clineval asks of a model: fit, predict_proba and, to be stored, to_onnx."""

    def __init__(self, seed):
        self.generator = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.network = Network()

    def fit(self, images, outcome):
        """Learn from images, uint8, shape (cases, side, side), and outcomes, 0 or 1."""
        pixels, wanted = torch.tensor(images, dtype=torch.float32), torch.tensor(outcome, dtype=torch.float32)
        optimiser = torch.optim.Adam(self.network.parameters(), lr=0.01)
        for _ in range(EPOCHS):
            for rows in np.array_split(self.generator.permutation(len(images)), max(1, len(images) // BATCH)):
                loss = nn.functional.binary_cross_entropy_with_logits(
                    self.network.logits(pixels[rows]), wanted[rows]
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        self.side = images.shape[1]

    @torch.no_grad()
    def predict_proba(self, images):
        """Risk of each image, shape (cases,)."""
        return self.network(torch.tensor(images, dtype=torch.float32)).numpy()

    def to_onnx(self, path):
        """Write the network: float32 images (cases, side, side) to risks (cases,)."""
        one = torch.zeros(1, self.side, self.side)
        torch.onnx.export(
            self.network.eval(), (one,), str(path), input_names=["images"], output_names=["risk"],
            dynamic_axes={"images": {0: "cases"}, "risk": {0: "cases"}}, dynamo=False,
        )  # fmt: skip


def make(seed):
    """The model, not yet fitted."""
    return Model(seed)
