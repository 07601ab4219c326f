"""Small trained-looking networks and images for the tests of what applies them."""

import numpy as np
import torch

from clineval.models.network import Network
from clineval.models.network_training import DepthNet, build_network


def images_of(height: int, width: int, count: int = 5) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (count, height, width), dtype=np.uint8)


def a_network(height: int, width: int, seed: int = 3) -> DepthNet:
    """A network whose normalisations have seen something, so that folding them in is put to the test."""
    network = build_network(height, width, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for name, values in network.state_dict().items():
        if ("norm" in name or "shortcut.1" in name) and values.is_floating_point():
            values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return network.eval()


def arrays_of(network: DepthNet) -> dict[str, np.ndarray]:
    return {
        name: values.numpy() for name, values in network.state_dict().items() if values.is_floating_point()
    }


def stored_network(network: DepthNet, *, mean: float = 0.33, sd: float = 0.21) -> Network:
    """The network as it is scored."""
    return Network(arrays_of(network), mean, sd)
