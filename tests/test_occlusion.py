"""Occlusion maps: by hand for a linear model, against a naive loop, and what no model may break."""

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
from clineval.models.occlusion import NETWORK_LAYERS, cascade, occlude, randomised
from clineval.models.preprocessing import PixelScaling, View
from clineval.models.scattering import ENDS, ScatteringModel
from clineval.models.svm import SupportVectorModel


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 256, (8, 8)).astype(np.uint8)


def linear(weights):
    """A risk that is linear in the grey levels."""
    return lambda images: 0.5 + np.tensordot(images / 255, weights, axes=2)


def occlusion_map(risk_of, image, *, stride=1, **which):
    """The risk of the image less that of the image with each patch hidden, shape (rows, columns)."""
    rows, columns = (-(-side // stride) for side in image.shape)
    changes = risk_of(image[None]) - risk_of(occlude(image, stride=stride, **which))
    return changes.reshape(rows, columns)


def test_the_map_of_a_linear_model_is_its_weights_times_the_difference_from_the_mean():
    image = np.array([[10, 20], [30, 140]], np.uint8)  # mean 50
    weights = np.array([[0.1, -0.2], [0.3, 0.0]])
    by_hand = [[0.1 * -40 / 255, -0.2 * -30 / 255], [0.3 * -20 / 255, 0.0]]
    np.testing.assert_allclose(occlusion_map(linear(weights), image, patch=1), by_hand, atol=1e-12)


def test_the_map_of_a_patch_is_the_sum_of_the_maps_of_its_pixels_where_the_risk_is_linear(image):
    risk_of = linear(np.random.default_rng(0).normal(0, 0.01, image.shape))
    single = occlusion_map(risk_of, image, patch=1)
    wide = occlusion_map(risk_of, image, patch=3)
    np.testing.assert_allclose(wide[4, 5], single[3:6, 4:7].sum(), atol=1e-12)
    np.testing.assert_allclose(wide[0, 0], single[:2, :2].sum(), atol=1e-12)  # cut off at the corner


@pytest.mark.parametrize(("patch", "stride"), [(1, 1), (3, 1), (4, 2), (5, 3), (8, 8), (11, 4)])
def test_the_map_is_that_of_a_loop_over_patches(image, patch, stride):
    weights = np.random.default_rng(1).normal(0, 1, image.shape)

    def risk_of(images):
        return 1 / (1 + np.exp(-np.tensordot(images / 255 - 0.5, weights, axes=2)))

    fill = round(float(np.mean(image)))
    found = []
    for row in range(0, 8, stride):
        line = []
        for column in range(0, 8, stride):
            hidden = image.copy()
            for y in range(8):
                for x in range(8):
                    if (
                        0 <= y - row - (stride - patch) // 2 < patch
                        and 0 <= x - column - (stride - patch) // 2 < patch
                    ):
                        hidden[y, x] = fill
            line.append(risk_of(image[None])[0] - risk_of(hidden[None])[0])
        found.append(line)
    mapped = occlusion_map(risk_of, image, patch=patch, stride=stride)
    np.testing.assert_allclose(mapped, found, atol=1e-12)


def test_some_cells_of_each_row_and_column_can_be_hidden_alone(image):
    cells = np.array([1, 3])
    some = occlude(image, patch=3, stride=2, shift=(1, 1), cells=cells)
    every = occlude(image, patch=3, stride=2, shift=(1, 1)).reshape(4, 4, 8, 8)
    np.testing.assert_array_equal(some, every[np.ix_(cells, cells)].reshape(4, 8, 8))


def test_a_model_that_ignores_the_image_has_a_map_of_zeros(image):
    mapped = occlusion_map(lambda images: np.full(len(images), 0.3), image, patch=3)
    assert mapped.shape == (8, 8)
    assert not mapped.any()


def test_a_part_that_the_model_ignores_has_a_map_of_zero(image):
    mapped = occlusion_map(lambda images: images[:, 0, 0] / 255, image, patch=3)
    assert mapped[0, 0] != 0
    assert not mapped[2:, :].any()
    assert not mapped[:, 2:].any()


def test_a_moved_image_under_moved_patches_has_the_same_map_inside(image):
    moved = np.roll(image, (1, 1), axis=(0, 1))  # the same pixels, so the same mean
    total = np.random.default_rng(2).normal(0, 1, 256)

    def risk_of(images):  # blind to where a grey level is
        return total[images].sum(axis=(1, 2))

    ours = occlusion_map(risk_of, image, patch=2, stride=2)
    theirs = occlusion_map(risk_of, moved, patch=2, stride=2, shift=(1, 1))
    np.testing.assert_allclose(theirs[:-1, :-1], ours[:-1, :-1], atol=1e-9)


def test_every_cell_hides_the_pixels_around_it(image):
    occluded = occlude(image, patch=3)
    assert occluded.shape == (64, 8, 8)
    changed = occluded[3 * 8 + 4] != image
    assert not changed[:2].any()
    assert not changed[5:].any()
    assert (occluded[3 * 8 + 4, 2:5, 3:6] == round(float(image.mean()))).all()


@pytest.mark.parametrize(("patch", "stride"), [(0, 1), (1, 0)])
def test_a_patch_or_a_step_of_no_pixel_is_refused(image, patch, stride):
    with pytest.raises(ValueError, match="at least 1 pixel"):
        occlude(image, patch=patch, stride=stride)


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


def test_the_order_in_which_arrays_were_read_does_not_matter():
    trained = network(0)
    turned = Network(dict(reversed(trained.weights.items())), trained.mean, trained.sd)
    (one,), (other,) = (randomised(Networks((each,)), seed=0).members for each in (trained, turned))
    for name, values in one.weights.items():
        assert np.array_equal(values, other.weights[name])


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
