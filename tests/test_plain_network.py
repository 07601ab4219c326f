"""A stored network without torch: its arrays are those that torch trained."""

import numpy as np
import pytest
from networks import a_network, arrays_of

from clineval.learning import models, plain_network

SIZES = ((28, 28), (64, 64), (128, 128), (30, 44))


def test_it_is_the_twin_of_the_architecture_that_is_trained():
    assert plain_network.ARCHITECTURE == models.ARCHITECTURE


@pytest.mark.parametrize("size", SIZES)
def test_its_arrays_are_those_of_the_trained_network(size):
    trained = {name: array.shape for name, array in arrays_of(models.build_network(*size, seed=0)).items()}
    assert plain_network.shapes_of(*size) == trained


def test_a_folded_layer_is_the_convolution_and_its_normalisation_in_one():
    weights = arrays_of(a_network(28, 28))
    stem = plain_network.plain_network(weights, mean=0.33, sd=0.21).stem
    scale = weights["stem_norm.weight"] / np.sqrt(weights["stem_norm.running_var"] + 1e-5)
    np.testing.assert_allclose(stem.weights[3], weights["stem.weight"][3] * scale[3], rtol=1e-6)
    shift = weights["stem_norm.bias"] - weights["stem_norm.running_mean"] * scale
    np.testing.assert_allclose(stem.bias, shift, rtol=1e-5, atol=1e-7)
    assert (stem.side, stem.stride) == (5, 2)


def test_only_blocks_that_halve_the_maps_have_layers_in_their_shortcut():
    blocks = plain_network.plain_network(arrays_of(a_network(28, 28)), mean=0.33, sd=0.21).blocks
    assert [block.shortcut is not None for block in blocks] == [False, True, True]
    assert [block.channels_in for block in blocks] == [16, 16, 32]
