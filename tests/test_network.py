"""A stored network gives the log odds of the one that was trained, to rounding, alone and in an ensemble."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from networks import a_network, arrays_of, images_of, stored_network
from scipy.special import expit

from clineval.cli.console import REFUSED
from clineval.models import network
from clineval.models.network import Networks, join, member_shapes, onnx_graph, read, shapes, stored
from clineval.models.network_training import build_network, scale_grey
from clineval.models.preprocessing import GreyScaling, View

SIZES = ((28, 28), (64, 64), (128, 128), (30, 44))


@pytest.mark.parametrize("size", SIZES)
def test_its_log_odds_are_those_of_the_network_in_torch(size):
    trained, images = a_network(*size), images_of(*size)
    with torch.inference_mode():
        scores = trained(scale_grey(images, GreyScaling(0.33, 0.21, "train"))).numpy().astype(np.float64)
    expected = scores[:, 1] - scores[:, 0]
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(stored_network(trained).log_odds(images), expected, atol=2e-5)


def test_its_risk_is_the_mean_over_image_and_mirror_image_or_one_of_them():
    member, images = stored_network(a_network(28, 28)), images_of(28, 28)
    ways = [expit(member.log_odds(one).astype(np.float64)) for one in (images, images[:, :, ::-1])]
    np.testing.assert_array_equal(member.risk(View(images)), np.mean(ways, axis=0))
    np.testing.assert_array_equal(member.risk(View(images, (False,))), ways[0])
    np.testing.assert_array_equal(member.risk(View(images, (True,))), ways[1])


def test_no_image_changes_a_bit_of_another():
    member, images = stored_network(a_network(28, 28)), images_of(28, 28, count=64)
    together = member.risk(View(images))
    alone = np.concatenate([member.risk(View(image[None])) for image in images])
    np.testing.assert_array_equal(together, alone)


def test_an_ensemble_is_the_mean_of_its_members_to_the_last_bit():
    members = [stored_network(a_network(28, 28, seed=seed), mean=0.3 + seed / 100) for seed in (3, 5, 9)]
    view = View(images_of(28, 28))
    joined = join([stored(member) for member in members])
    together = read(joined.record, joined.arrays)
    np.testing.assert_array_equal(together.risk(view), np.mean([one.risk(view) for one in members], axis=0))
    assert {name: array.shape for name, array in joined.arrays.items()} == shapes(joined.record, 28, 28)
    assert Networks((members[0],)).risk(view).tolist() == members[0].risk(view).tolist()


def test_the_graph_is_the_same_to_the_last_byte_each_time_and_passes_the_checker():
    weights = arrays_of(a_network(28, 28))
    graph = onnx_graph(weights, mean=0.3, sd=0.2)
    assert graph == onnx_graph(weights, mean=0.3, sd=0.2)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)


@pytest.mark.parametrize("size", [*SIZES, (224, 224), (16, 40)])
def test_its_arrays_are_those_of_the_trained_network(size):
    trained = {name: array.shape for name, array in arrays_of(build_network(*size, seed=0)).items()}
    assert member_shapes(*size) == trained


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "another"}, "architecture 'another'"),
        ({"members": []}, "0 members, not 1 to 1000"),
        ({"members": [{}] * 1001}, "1001 members"),
    ],
)
def test_a_record_of_another_kind_has_no_shapes(change, words):
    record = stored(stored_network(a_network(28, 28))).record
    with pytest.raises(ValueError, match=words):
        shapes({**record, **change}, 28, 28)


@pytest.mark.parametrize("sd", [0, -1.0, float("nan"), float("inf"), "1", True])
def test_a_scale_that_is_no_number_above_0_is_refused(sd):
    one = stored(stored_network(a_network(28, 28)))
    one.record["members"][0]["scaling"]["sd"] = sd
    with pytest.raises(ValueError, match="expected a"):
        read(one.record, one.arrays)


def test_a_variance_below_0_is_refused():
    one = stored(stored_network(a_network(28, 28)))
    one.arrays["member0.stem_norm.running_var"][2] = -1
    with pytest.raises(ValueError, match=r"a variance below 0 in stem_norm\.running_var"):
        read(one.record, one.arrays)


@pytest.mark.slow
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


def test_only_blocks_that_halve_the_maps_have_weights_in_their_shortcut():
    names = member_shapes(28, 28)
    assert [f"blocks.{number}.shortcut.0.weight" in names for number in range(network.BLOCKS)] == [
        False,
        True,
        True,
    ]
