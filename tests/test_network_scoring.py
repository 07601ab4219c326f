"""A stored network without torch: its arrays are those that torch trained."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from networks import a_network, arrays_of, images_of

from clineval.cli.exit_codes import REFUSED
from clineval.models import network, network_scoring
from clineval.models import network as models
from clineval.models.network_scoring import OnnxEnsemble, onnx_graph, plain_network
from clineval.models.preprocessing import GreyScaling, scale_grey

SIZES = ((28, 28), (64, 64), (128, 128), (30, 44))
SCALINGS = ((0.33, 0.21), (0.4, 0.18))


def members_of(size: tuple[int, int]) -> list[models.DepthNet]:
    return [a_network(*size, seed=seed) for seed in (3, 5)]


def ensemble_of(networks: list[models.DepthNet]) -> OnnxEnsemble:
    folded = [
        plain_network(arrays_of(network), mean=mean, sd=sd)
        for network, (mean, sd) in zip(networks, SCALINGS, strict=True)
    ]
    return OnnxEnsemble(folded)


@pytest.mark.parametrize("size", SIZES)
def test_its_log_odds_are_those_of_each_network_in_torch(size):
    networks, images = members_of(size), images_of(*size)
    expected = []
    with torch.inference_mode():
        for network, (mean, sd) in zip(networks, SCALINGS, strict=True):
            scores = network(scale_grey(images, GreyScaling(mean, sd, "train"))).numpy().astype(np.float64)
            expected.append(scores[:, 1] - scores[:, 0])
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(ensemble_of(networks)(images), np.stack(expected, axis=1), atol=2e-5)


def test_an_image_seen_mirrored_counts_as_its_mirror_image():
    ensemble, images = ensemble_of(members_of((28, 28))), images_of(28, 28)
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    np.testing.assert_array_equal(ensemble(images[:, :, ::-1]), ensemble(mirrored))


def test_no_image_changes_a_bit_of_another():
    ensemble, images = ensemble_of(members_of((28, 28))), images_of(28, 28, count=64)
    together = ensemble(images)
    alone = np.concatenate([ensemble(image[None]) for image in images])
    np.testing.assert_array_equal(together, alone)


def test_the_graph_is_the_same_to_the_last_byte_each_time_and_passes_the_checker():
    folded = [plain_network(arrays_of(a_network(28, 28)), mean=0.3, sd=0.2)]
    graph = onnx_graph(folded)
    assert graph == onnx_graph(folded)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)


def test_where_the_runtime_cannot_be_loaded_a_command_says_so_in_one_line(tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('cannot enable executable stack')")
    ended = subprocess.run(
        [sys.executable, "-m", "clineval", "predict", "results", "lesion.png"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == REFUSED
    (line,) = ended.stderr.splitlines()
    assert "onnxruntime, which cannot be loaded here (cannot enable executable stack). Install" in line


def test_it_is_the_twin_of_the_architecture_that_is_trained():
    assert network_scoring.ARCHITECTURE == network.ARCHITECTURE


@pytest.mark.parametrize("size", SIZES)
def test_its_arrays_are_those_of_the_trained_network(size):
    trained = {name: array.shape for name, array in arrays_of(network.build_network(*size, seed=0)).items()}
    assert network_scoring.shapes_of(*size) == trained


def test_a_folded_layer_is_the_convolution_and_its_normalisation_in_one():
    weights = arrays_of(a_network(28, 28))
    stem = network_scoring.plain_network(weights, mean=0.33, sd=0.21).stem
    scale = weights["stem_norm.weight"] / np.sqrt(weights["stem_norm.running_var"] + 1e-5)
    np.testing.assert_allclose(stem.weights[3], weights["stem.weight"][3] * scale[3], rtol=1e-6)
    shift = weights["stem_norm.bias"] - weights["stem_norm.running_mean"] * scale
    np.testing.assert_allclose(stem.bias, shift, rtol=1e-5, atol=1e-7)
    assert (stem.side, stem.stride) == (5, 2)


def test_only_blocks_that_halve_the_maps_have_layers_in_their_shortcut():
    blocks = network_scoring.plain_network(arrays_of(a_network(28, 28)), mean=0.33, sd=0.21).blocks
    assert [block.shortcut is not None for block in blocks] == [False, True, True]
    assert [block.channels_in for block in blocks] == [16, 16, 32]
