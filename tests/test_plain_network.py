"""The network without torch: the same log odds as the trained one, whatever the image's size."""

import numpy as np
import pytest
import torch

from clineval.learning import models, plain_network
from clineval.learning.preprocessing import GreyScaling, scale_grey

SIZES = ((28, 28), (64, 64), (128, 128), (30, 44))


def images_of(height: int, width: int, count: int = 5) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (count, height, width), dtype=np.uint8)


def a_network(height: int, width: int) -> models.DepthNet:
    """A network whose normalisations have seen something, so that folding them in is put to the test."""
    network = models.build_network(height, width, seed=3)
    generator = torch.Generator().manual_seed(4)
    for name, values in network.state_dict().items():
        if ("norm" in name or "shortcut.2" in name) and values.is_floating_point():
            values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return network.eval()


def arrays_of(network: models.DepthNet) -> dict[str, np.ndarray]:
    return {
        name: values.numpy() for name, values in network.state_dict().items() if values.is_floating_point()
    }


def test_it_is_the_twin_of_the_architecture_that_is_trained():
    assert plain_network.ARCHITECTURE == models.ARCHITECTURE


@pytest.mark.parametrize("size", SIZES)
def test_its_arrays_are_those_of_the_trained_network(size):
    trained = {name: array.shape for name, array in arrays_of(models.build_network(*size, seed=0)).items()}
    assert plain_network.shapes_of(*size) == trained


@pytest.mark.parametrize("size", SIZES)
def test_its_log_odds_are_those_of_torch_for_the_image_and_its_mirror_image(size):
    network, images = a_network(*size), images_of(*size)
    plain = plain_network.plain_network(arrays_of(network), mean=0.33, sd=0.21)
    with torch.inference_mode():
        grey = scale_grey(images, GreyScaling(0.33, 0.21, "train"))
        scores = [network(side).numpy().astype(np.float64) for side in (grey, grey.flip(3))]
    expected = np.stack([side[:, 1] - side[:, 0] for side in scores], axis=1)
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(plain_network.log_odds(plain, images), expected, atol=2e-5)


def test_a_mirrored_image_has_the_same_two_log_odds_in_the_other_order():
    plain = plain_network.plain_network(arrays_of(a_network(28, 28)), mean=0.33, sd=0.21)
    images = images_of(28, 28)
    seen, mirrored = (plain_network.log_odds(plain, each) for each in (images, images[:, :, ::-1]))
    np.testing.assert_array_equal(seen, mirrored[:, ::-1])
