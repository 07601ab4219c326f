"""Randomised models: every learnt weight is moved and none is lost, from the top, by the seed alone."""

import json
import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clineval.models import onnx_graph, onnx_model
from clineval.models.logistic import LogisticModel
from clineval.models.network import Network, Networks, member_shapes
from clineval.models.preprocessing import PixelScaling, View
from clineval.models.randomised import NETWORK_LAYERS, cascade, randomised
from clineval.models.scattering import ENDS, ScatteringModel
from clineval.models.svm import SupportVectorModel

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "onnx_file.py"))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (4, 28, 28)).astype(np.uint8)


@pytest.fixture
def logistic(rng):
    scaling = PixelScaling(np.full(784, 0.4), np.full(784, 0.2), "train")
    return LogisticModel(scaling, rng.normal(0, 0.05, 784), -1.0)


@pytest.fixture
def scattering(rng):
    features, vectors = ENDS[-1], 12
    return ScatteringModel(
        SupportVectorModel(
            np.zeros(features, np.float32),
            np.ones(features, np.float32),
            rng.normal(0, 1, (vectors, features)).astype(np.float32),
            rng.normal(0, 1, vectors),
            intercept=0.1,
            ends=ENDS,
            gammas=tuple(1e-4 for _ in ENDS),
            slope=1.0,
            platt_intercept=-1.0,
        )
    )


def network(seed):
    rng = np.random.default_rng(seed)
    weights = {
        name: (
            rng.random(shape) + 0.5 if "norm" in name or "shortcut.1" in name else rng.normal(0, 0.1, shape)
        )
        for name, shape in member_shapes(28, 28).items()
    }
    return Network({name: values.astype(np.float32) for name, values in weights.items()}, 0.3, 0.2)


def graph_model(model=None):
    graph = onnx_graph.open_given_graph((model or EXAMPLE["graph"]()).SerializeToString())
    return onnx_model.OnnxModel(graph, onnx_model.reading_of(EXAMPLE["READING"], graph))


def same_values(one, other):
    return np.array_equal(np.sort(one, axis=None), np.sort(other, axis=None))


def test_a_logistic_regression_keeps_its_coefficients_in_another_order(logistic, images):
    other = randomised(logistic, seed=0)
    assert same_values(other.coefficients, logistic.coefficients)
    assert not np.array_equal(other.coefficients, logistic.coefficients)
    assert (other.scaling, other.intercept) == (logistic.scaling, logistic.intercept)
    assert not np.allclose(other.risk(View(images)), logistic.risk(View(images)))


def test_a_kernel_machine_keeps_its_support_vectors_and_shuffles_their_weights(scattering, images):
    other = randomised(scattering, seed=0).machine
    assert other.support_vectors is scattering.machine.support_vectors
    assert same_values(other.dual, scattering.machine.dual)
    assert not np.array_equal(other.dual, scattering.machine.dual)


def test_shuffled_machines_share_the_features_of_a_view(scattering, images, monkeypatch):
    from clineval.models import scattering as room

    calls = []
    compute = room.scattering_features

    def counted(these):
        calls.append(len(these))
        return compute(these)

    monkeypatch.setattr(room, "scattering_features", counted)
    view = View(images)
    for model in (scattering, randomised(scattering, seed=0), randomised(scattering, seed=1)):
        model.risk(view)
    assert calls == [4]


def test_a_network_is_shuffled_layer_by_layer_from_the_top(images):
    model = Networks((network(0), network(1)))
    stages = cascade(model, seed=0)
    assert tuple(name for name, _ in stages) == NETWORK_LAYERS
    for place, (_, stage) in enumerate(stages):
        for member, trained in zip(stage.members, model.members, strict=True):
            for name, values in trained.weights.items():
                down_to_here = name.startswith(NETWORK_LAYERS[: place + 1])
                assert same_values(member.weights[name], values)
                if values.size > 2:  # two biases may keep their order
                    assert np.array_equal(member.weights[name], values) != down_to_here


def test_a_shuffled_network_keeps_each_channels_normalisation_together():
    trained = network(0)
    (shuffled,) = randomised(Networks((trained,)), seed=0).members
    parts = ("weight", "bias", "running_mean", "running_var")

    def channels(weights):
        return {tuple(float(weights[f"stem_norm.{part}"][k]) for part in parts) for k in range(16)}

    assert channels(shuffled.weights) == channels(trained.weights)


def test_a_shuffled_network_still_tells_images_apart(images):
    risk = randomised(Networks((network(0),)), seed=0).risk(View(images))
    assert np.ptp(risk) > 0
    assert ((risk > 0) & (risk < 1)).all()


def test_the_seed_alone_decides(logistic):
    one, again, other = (randomised(logistic, seed=seed).coefficients for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_users_graph_keeps_its_weights_in_another_order(images):
    model = graph_model()
    other = randomised(model, seed=0)
    before, after = (
        numpy_helper.to_array(
            max(onnx.load_from_string(each.graph.content).graph.initializer, key=lambda t: np.prod(t.dims))
        )
        for each in (model, other)
    )
    assert same_values(before, after)
    assert not np.array_equal(before, after)
    assert not np.allclose(other.risk(View(images)), model.risk(View(images)))


def test_the_layers_of_a_users_graph_are_shuffled_from_the_output_down():
    rng = np.random.default_rng(0)
    names = ["first", "second", "third"]
    sizes = [(784, 8), (8, 4), (4, 1)]
    nodes = [
        helper.make_node("MatMul", [before, name], [f"{name}_out"])
        for before, name in zip(["x", "first_out", "second_out"], names, strict=True)
    ]
    nodes.append(helper.make_node("Sigmoid", ["third_out"], ["risk"]))
    constants = [
        numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name)
        for name, size in zip(names, sizes, strict=True)
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 784])],
        [helper.make_tensor_value_info("risk", TensorProto.FLOAT, [None, 1])],
        constants,
    )
    content = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    assert onnx_graph.count_layers(content) == 3
    for layers in range(4):
        shuffled = onnx.load_from_string(onnx_graph.shuffle_layers(content, layers=layers, seed=0))
        changed = {
            one.name
            for one, two in zip(graph.initializer, shuffled.graph.initializer, strict=True)
            if not np.array_equal(numpy_helper.to_array(one), numpy_helper.to_array(two))
        }
        assert changed == set(names[3 - layers :])


def test_a_graph_without_weights_has_no_randomised_version():
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sigmoid", ["mean"], ["risk"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 784])],
        [helper.make_tensor_value_info("risk", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    opened = onnx_graph.open_given_graph(model.SerializeToString())
    reading = onnx_model.reading_of(json.loads('{"image": 28, "layout": "flat"}'), opened)
    assert randomised(onnx_model.OnnxModel(opened, reading), seed=0) is None


def test_trees_of_a_users_graph_have_their_leaves_shuffled(images):
    sklearn_ensemble = pytest.importorskip("sklearn.ensemble")
    skl2onnx = pytest.importorskip("skl2onnx")
    rng = np.random.default_rng(0)
    forest = sklearn_ensemble.RandomForestClassifier(5, max_depth=3, random_state=0)
    forest.fit(rng.normal(size=(60, 784)), rng.integers(0, 2, 60))
    kinds = [("x", skl2onnx.common.data_types.FloatTensorType([None, 784]))]
    content = skl2onnx.to_onnx(
        forest, initial_types=kinds, options={"zipmap": False}, target_opset=17
    ).SerializeToString()
    assert onnx_graph.count_layers(content) == 1
    shuffled = onnx_graph.shuffle_layers(content, layers=1, seed=0)
    assert shuffled != content
    pixels = images.reshape(4, -1).astype(np.float32)
    name = onnx_graph.open_given_graph(content).outputs[1].name
    before, after = (
        onnx_graph.open_given_graph(each).run(pixels, output=name) for each in (content, shuffled)
    )
    assert before.shape == after.shape


def test_something_else_is_no_model():
    with pytest.raises(TypeError, match="expected a stored model, got str"):
        cascade("cnn", seed=0)
