"""Stored models: read back, refused, their risks from 0 to 1; refitted heads; weights shuffled."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.special import expit, logit

from clineval.errors import InputError
from clineval.models import logistic, onnx_graph, onnx_model, svm
from clineval.models.classifier import (
    COMBINED,
    KINDS,
    NETWORK_LAYERS,
    NewHead,
    cascade,
    checked_risk,
    head_features,
    head_kernel,
    mean_of,
    randomised,
    read_model,
    risk_of,
    standardised_by,
    write_refitted,
)
from clineval.models.logistic import LogisticModel
from clineval.models.network import Network, Networks, member_shapes
from clineval.models.preprocessing import CHUNK, ORIGINAL, PixelScaling, View
from clineval.models.scattering import ENDS, ScatteringModel, scattering_features
from clineval.models.stored import Stored, read_arrays, read_record, write_arrays, write_model
from clineval.models.svm import SupportVectorModel
from clineval.models.transfer import TransferModel
from clineval.settings import ScatteringSettings, TrainingSettings

MODELS = TrainingSettings.models


@pytest.fixture
def models(finished_run, tmp_path):
    """The stored models, to be spoilt."""
    return shutil.copytree(finished_run / "models", tmp_path / "models")


def test_every_kind_sees_an_external_image_as_it_is():
    assert all(ORIGINAL in kind.views for kind in KINDS.values())
    assert set(COMBINED) < set(KINDS)


def test_the_mean_of_risks_is_taken_on_the_logit_scale():
    one, other = np.array([0.2, 0.5, 0.9]), np.array([0.2, 0.8, 0.99])
    odds = np.sqrt(one / (1 - one) * other / (1 - other))
    np.testing.assert_allclose(mean_of([one, other]), odds / (1 + odds), rtol=1e-12)
    assert mean_of([one]) is one


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, np.inf])
def test_a_risk_that_is_no_number_from_0_to_1_is_refused(wrong):
    with pytest.raises(InputError, match="not a number from 0 to 1"):
        checked_risk(np.array([0.5, wrong]))


def test_risks_are_asked_for_some_dozens_at_a_time():
    seen = []

    class Counting:
        def risk(self, view):
            seen.append(len(view))
            return np.full(len(view), 0.5)

    images = np.zeros((2 * CHUNK + 3, 28, 28), np.uint8)
    assert len(risk_of(Counting(), View(images))) == len(images)
    assert seen == [CHUNK, CHUNK, 3]
    assert risk_of(Counting(), View(images[:0])).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_missing_record_and_missing_arrays_are_refused(models, name):
    (models / f"{name}.safetensors").unlink()
    with pytest.raises(InputError, match=f"{name}.safetensors"):
        read_model(models, name)
    (models / f"{name}.json").unlink()
    with pytest.raises(InputError, match="Train one with: clineval run"):
        read_model(models, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"kind": "oracle"},
        {"kind": ["cnn"]},
        {"image": [28]},
        {"image": "large"},
        {"image": [28, 10**9]},
        {"image": [28, -28]},
        {"image": [True, True]},
        {"members": None},
        {"members": []},
        {"members": [{}] * 100_000},
        {"members": [{"scaling": {"mean": 0.3, "sd": 0.0}}] * 2},
        {"members": [{"scaling": {"mean": float("nan"), "sd": 1.0}}] * 2},
        {"architecture": "another"},
    ],
)
def test_a_record_of_another_kind_is_refused(models, change):
    path = models / "cnn.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"cnn\.json is not"):
        read_model(models, "cnn")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"ends": [-5, 2989]}, {"ends": [2989]}, {"vectors": 10**15}, {"vectors": -1}, {"gammas": [1, 0]}],
)
def test_a_machine_with_odd_parts_is_refused(models, change):
    path = models / "scattering.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"scattering\.(json|safetensors)"):
        read_model(models, "scattering")


@pytest.mark.slow
def test_arrays_that_do_not_fit_the_record_are_refused(models):
    shutil.copy(models / "logreg.safetensors", models / "cnn.safetensors")
    with pytest.raises(InputError, match=r"cnn\.safetensors does not fit its model"):
        read_model(models, "cnn")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "array", "value"),
    [
        ("logreg", "intercept", np.nan),
        ("logreg", "sd", 0.0),
        ("scattering", "dual", np.inf),
        ("scattering", "sd", -1),
    ],
)
def test_weights_and_scales_that_are_no_fit_numbers_are_refused(models, model, array, value):
    arrays, record = read_arrays(models / f"{model}.safetensors")
    arrays[array] = arrays[array].copy()
    arrays[array][0] = value
    write_arrays(models / f"{model}.safetensors", arrays, record)
    with pytest.raises(InputError, match=f"{model}"):
        read_model(models, model)


# Its head refitted at one more site -------------------------------------------------------------------------

IMAGES = np.random.default_rng(1).integers(0, 255, (40, 28, 28), dtype=np.uint8)
VIEWS = [View(IMAGES), View(255 - IMAGES)]


@pytest.mark.parametrize("kept", [None, (0.2, 1.3)])
def test_a_stored_logistic_regression_gives_the_risks_of_its_new_head(tmp_path, kept):
    rng = np.random.default_rng(2)
    scaling = PixelScaling(np.full(784, 0.5), np.full(784, 0.3), "train")
    model = LogisticModel(scaling, rng.normal(0, 0.01, 784), 0.1)
    arrays = {"coefficients": model.coefficients, "mean": scaling.mean, "sd": scaling.sd,
              "intercept": np.array([0.1])}  # fmt: skip
    write_model(Stored({"kind": "logreg", "learnt_on": "train"}, arrays), tmp_path, "logreg")
    features = head_features(model, VIEWS)
    head = NewHead(rng.normal(size=40), -0.4, 0.3, kept)
    write_refitted(model, features, head, tmp_path, "logreg")
    again = logistic.read(
        read_record(tmp_path / "logreg.json"), read_arrays(tmp_path / "logreg.safetensors")[0]
    )
    found = np.mean([logit(again.risk(view)) for view in VIEWS], axis=0)
    expected = head_kernel(model, features) @ head.weight + head.intercept
    if kept is not None:
        expected += kept[0] + kept[1] * np.mean([logit(model.risk(view)) for view in VIEWS], axis=0)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kept", [None, (0.0, 1.0)])
def test_a_stored_kernel_machine_gives_the_risks_of_its_new_head(tmp_path, kept):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 6)).astype(np.float32)
    settings = ScatteringSettings(penalty=3.0, sharpness=(1.0, 1.0))
    outcome, group = x[:, 0] > 0, np.arange(60).astype(str)
    machine = svm.fit(x, outcome, group, ends=(3, 6), settings=settings, seed=0)
    model = TransferModel(None, machine)
    write_model(svm.stored(machine), tmp_path, "transfer")
    seen = [rng.normal(size=(20, 6)).astype(np.float32) for _ in range(2)]  # two views of twenty images
    features = [machine.standardised(each) for each in seen]
    head = NewHead(rng.normal(size=20), 0.3, 3.0, kept)
    write_refitted(model, features, head, tmp_path, "transfer")
    record, (arrays, _) = (
        read_record(tmp_path / "transfer.json"), read_arrays(tmp_path / "transfer.safetensors")
    )  # fmt: skip
    assert svm.shapes(record, ends=(3, 6))["dual"] == arrays["dual"].shape
    again = svm.read(record, arrays)
    found = np.mean([logit(again.risk(each)) for each in seen], axis=0)
    expected = head_kernel(model, features) @ head.weight + head.intercept
    if kept is not None:
        expected += np.mean([logit(machine.risk(each)) for each in seen], axis=0)
    assert found == pytest.approx(expected, abs=1e-5)  # support vectors are kept in single precision


# Features standardised by local images --------------------------------------------------------------------


def test_pixels_are_standardised_by_the_images_themselves():
    rng = np.random.default_rng(2)
    scaling = PixelScaling(np.full(784, 0.5), np.full(784, 0.3), "train")
    model = LogisticModel(scaling, rng.normal(0, 0.01, 784), 0.1)
    pixels = IMAGES.reshape(40, 784) / 255
    expected = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0) @ model.coefficients + 0.1
    assert logit(standardised_by(model, IMAGES).risk(View(IMAGES))) == pytest.approx(expected, abs=1e-6)
    darker = (IMAGES * 0.5).astype(np.uint8)
    found = standardised_by(model, darker).risk(View(darker))
    assert found == pytest.approx(expit(expected), abs=0.02)  # a gain that all images share changes little


def test_scattering_features_are_standardised_and_a_network_has_no_scale_of_features():
    x = scattering_features(IMAGES)
    settings = ScatteringSettings(penalty=3.0, sharpness=(1.0, 1.0))
    outcome, group = np.arange(40) % 2 == 0, np.arange(40).astype(str)
    machine = svm.fit(x, outcome, group, ends=ENDS, settings=settings, seed=0)
    other = 255 - IMAGES
    found = standardised_by(ScatteringModel(machine), other)
    assert found.machine.mean == pytest.approx(scattering_features(other).mean(axis=0), abs=1e-4)
    assert found.machine.support_vectors is machine.support_vectors
    assert standardised_by(object(), IMAGES) is None


# Its weights shuffled -----------------------------------------------------------------------------------

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "onnx_file.py"))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (4, 28, 28)).astype(np.uint8)


@pytest.fixture
def regression(rng):
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


def test_a_logistic_regression_keeps_its_coefficients_in_another_order(regression, images):
    other = randomised(regression, seed=0)
    assert same_values(other.coefficients, regression.coefficients)
    assert not np.array_equal(other.coefficients, regression.coefficients)
    assert (other.scaling, other.intercept) == (regression.scaling, regression.intercept)
    assert not np.allclose(other.risk(View(images)), regression.risk(View(images)))


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


def test_the_seed_alone_decides(regression):
    one, again, other = (randomised(regression, seed=seed).coefficients for seed in (3, 3, 4))
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


@pytest.mark.slow
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
