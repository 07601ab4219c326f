"""The network: its size, its sense of depth, its seed."""

import pytest
import torch

from clineval.models.network import build_network, parameters_of


def test_the_network_has_fewer_than_half_a_million_weights():
    assert parameters_of(build_network(28, 28, seed=0)) == 77_874


def test_the_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_network(28, 28, seed=5).state_dict()
    torch.manual_seed(2)
    again = build_network(28, 28, seed=5).state_dict()
    other = build_network(28, 28, seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


def test_building_a_network_leaves_torchs_own_chance_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_network(28, 28, seed=0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (128, 128), (224, 224), (16, 40)])
def test_images_of_every_size_give_two_scores(size):
    network = build_network(*size, seed=0).eval()
    with torch.inference_mode():
        assert network(torch.zeros(3, 1, *size)).shape == (3, 2)


def test_moving_a_lesion_sideways_matters_less_than_moving_it_in_depth():
    torch.manual_seed(0)
    network = build_network(28, 28, seed=0).eval()
    image = torch.zeros(1, 1, 28, 28)
    image[..., 12:16, 12:16] = 3.0
    with torch.inference_mode():
        centre, sideways, deeper = network(torch.cat([image, image.roll(8, 3), image.roll(8, 2)]))
    assert (sideways - centre).abs().max() < 0.5 * (deeper - centre).abs().max()


def test_a_gradient_reaches_every_weight():
    network = build_network(28, 28, seed=0).train()
    network(torch.randn(8, 1, 28, 28)).square().sum().backward()
    assert all(weights.grad is not None and weights.grad.any() for weights in network.parameters())
