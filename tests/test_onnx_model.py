"""Frozen ONNX models: checked before they run, read as the record beside them says, scored as they are."""

import json
import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
from broken_graphs import claiming, custom, endless, external, two_outputs
from onnx import TensorProto, helper, numpy_helper

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models import onnx_graph, onnx_model
from clineval.models.classifier import KINDS, given_model
from clineval.models.ensemble import train_models
from clineval.models.preprocessing import View
from clineval.models.stored import read_arrays, real, write_arrays
from clineval.pipeline.train import finalise
from clineval.settings import TrainingSettings

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "onnx_file.py"))


@pytest.fixture(scope="module")
def cohort():
    return phantom(1, cases=(60, 20, 20))


def write(folder: Path, *, model=None, **changes) -> Path:
    path = folder / "blob.onnx"
    path.write_bytes((EXAMPLE["graph"]() if model is None else model).SerializeToString())
    path.with_suffix(".json").write_text(json.dumps({**EXAMPLE["READING"], **changes}))
    return path


def given(path: Path, cohort):
    return given_model("blob", str(path), cohort, timeout=9.0)


def changed(change) -> onnx.ModelProto:
    model = EXAMPLE["graph"]()
    change(model)
    return model


def test_risks_are_those_of_the_formula_and_the_same_alone(cohort, tmp_path):
    one = given(write(tmp_path), cohort)
    (model,) = train_models(cohort, settings=TrainingSettings(), names=("blob",), given=(one,), jobs=1)
    pixels = (cohort.images.reshape(len(cohort), -1) / 255 - 0.5) / 0.5
    expected = 1 / (1 + np.exp(-(pixels @ EXAMPLE["weights"]().astype(np.float64))[:, 0]))
    np.testing.assert_allclose(model.risk, expected, atol=1e-6)  # single precision
    again = KINDS["onnx"].read(model.stored.record, model.stored.arrays)
    np.testing.assert_array_equal(again.risk(View(cohort.images[3:4])), model.risk[3:4])
    assert np.isnan(model.out_of_fold).all()
    final = finalise(model, cohort)
    assert final.recalibration.kind == "none"
    assert final.origin == "trained elsewhere; thresholds from val"


@pytest.mark.slow
def test_scoring_ends_after_the_seconds_that_a_model_may_take(cohort, tmp_path):
    one = given_model("blob", str(write(tmp_path, model=changed(endless))), cohort, timeout=0.5)
    said = (
        r"^Model blob, scoring the images by its graph: it did not end within 0\.5 s; .*with model_timeout\.$"
    )
    with pytest.raises(InputError, match=said):
        train_models(cohort, settings=TrainingSettings(), names=("blob",), given=(one,), jobs=1)


def test_the_stored_form_reads_back(cohort, tmp_path):
    settings = given(write(tmp_path), cohort).settings
    stored = onnx_model.fit(settings)
    write_arrays(tmp_path / "m.safetensors", stored.arrays, {})
    record, (arrays, _) = json.loads(json.dumps(stored.record)), read_arrays(tmp_path / "m.safetensors")
    assert onnx_model.shapes(record, 28, 28) == {"graph": arrays["graph"].shape}
    with pytest.raises(ValueError, match="images of 64 x 64"):
        onnx_model.shapes(record, 64, 64)
    view = View(cohort.images[:3])
    np.testing.assert_array_equal(
        onnx_model.read(record, arrays).risk(view),
        onnx_model.read(stored.record, stored.arrays).risk(view),
    )


def two_inputs(model):
    model.graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, ["cases"]))


def hidden(model):
    """External data in a subgraph's constant."""
    inner = EXAMPLE["graph"]()
    external(inner)
    yes = numpy_helper.from_array(np.array(True), "yes")
    model.graph.initializer.append(yes)
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["other"], then_branch=inner.graph, else_branch=inner.graph)
    )


def random(model):
    model.graph.node.append(helper.make_node("RandomUniform", [], ["noise"], shape=[1]))


def dropping(model, training=True):
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "ratio"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(training), "training"))
    model.graph.node.append(helper.make_node("Dropout", ["risk", "ratio", "training"], ["dropped"]))


def stamped(*, opset=17, ir=8, trees=None):
    def change(model):
        model.opset_import[0].version, model.ir_version = opset, ir
        if trees:
            model.opset_import.append(helper.make_opsetid("ai.onnx.ml", trees))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            stamped(opset=999),
            r"it is of opset 999 of ai\.onnx; onnxruntime [0-9.]+, which is installed, reads",
        ),
        (
            stamped(trees=99),
            r"it is of opset 99 of ai\.onnx\.ml; .* reads up to \d+\. Export it with opset 17",
        ),
        (stamped(ir=99), r"it is of IR version 99; .* reads up to \d+\. Export it with opset 17, or install"),
        (random, r"expected the same risk at every call, got a random operator \(RandomUniform\)"),
        (dropping, r"got a random operator \(Dropout in training mode\)"),
        (external, "its weights are in another file"),
        (hidden, "its weights are in another file"),
        (claiming, "claims 2048 MiB in a file of"),
        (custom, r"expected standard operators, got some of the domain 'com\.example'"),
        (two_inputs, r"expected one input, got 2 \(images, age\)"),
    ],
)
def test_a_graph_that_could_harm_or_cannot_be_asked_is_refused(cohort, tmp_path, change, said):
    path = write(tmp_path, model=changed(change))
    with pytest.raises(InputError, match=f"Model blob, blob.onnx: .*{said}"):
        given(path, cohort)
    with pytest.raises(ValueError, match=said):  # in a results folder, too
        onnx_graph.open_given_graph(path.read_bytes())


def test_a_graph_that_onnxruntime_does_not_load_is_named_without_its_source_files():
    raw = "[ONNXRuntimeError] : 1 : FAIL : /src/core/graph/model.cc:256 A::B(C&&, const D&) No such E"
    assert onnx_graph._first_line(RuntimeError(raw)) == "No such E"
    assert onnx_graph._first_line(RuntimeError("[ONNXRuntimeError] : 10 : INVALID_GRAPH : Odd")) == "Odd"


def test_a_stored_graph_of_no_file_is_named_as_one(cohort, tmp_path):
    stored = onnx_model.fit(given(write(tmp_path), cohort).settings)
    named = (
        onnx_model.read(stored.record, stored.arrays),
        onnx_model.read({**stored.record, "file": None}, stored.arrays),
    )
    assert [each.name for each in named] == ["The model of 'blob.onnx'", "An ONNX model"]


@pytest.mark.parametrize(
    ("bias", "scale", "said"),
    [
        (0.3, 0.0, "gives the same risk, 0.3, to all 100 images: it has learnt nothing; is its record"),
        (0.0, 1.0, r"gives labels \(0 or 1\), where risks are expected; .* is its record"),
        (np.nan, 1.0, "cannot score an image: expected a risk from 0 to 1, got nan"),
    ],
)
def test_a_frozen_model_that_gives_no_risks_is_named_and_refused(cohort, tmp_path, bias, scale, said):
    def change(model):
        model.graph.output[0].name = "changed"
        for name, value in (("scale", scale), ("bias", bias)):
            model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
        model.graph.node.extend(
            [
                helper.make_node("Round", ["risk"], ["label"]),
                helper.make_node("Mul", ["label", "scale"], ["scaled"]),
                helper.make_node("Add", ["scaled", "bias"], ["changed"]),
            ]
        )

    one = given(write(tmp_path, model=changed(change), output={"column": 0}), cohort)
    with pytest.raises(InputError, match=f"^Model blob {said}"):
        train_models(cohort, settings=TrainingSettings(), names=("blob",), given=(one,), jobs=1)


def test_names_in_a_graph_never_steer_a_terminal(cohort, tmp_path):
    def change(model):
        two_outputs(model)
        odd = helper.make_node("Identity", ["risk"], ["odd\x1b[31m\n"])
        model.graph.node.append(odd)
        model.graph.output[1].name = odd.output[0]

    with pytest.raises(InputError, match=r"has 2 outputs \(risk, odd\\x1b\[31m\\n\)"):
        given(write(tmp_path, model=changed(change), output={"column": 0}), cohort)


def test_dropout_that_is_off_is_taken(cohort, tmp_path):
    given(write(tmp_path, model=changed(lambda model: dropping(model, training=False))), cohort)


def test_of_two_outputs_the_record_must_name_one(cohort, tmp_path):
    model = changed(two_outputs)
    path = write(tmp_path, model=model, output={"column": 0})
    with pytest.raises(InputError, match=r"the graph has 2 outputs \(risk, log_odds\); say which one"):
        given(path, cohort)
    logit = given(write(tmp_path, model=model, output={"name": "log_odds", "holds": "logit"}), cohort)
    risk = given(write(tmp_path), cohort)
    form = onnx_model.fit(risk.settings)
    plain = onnx_model.read(form.record, form.arrays).risk(View(cohort.images[:5]))
    write(tmp_path, model=model, output={"name": "log_odds", "holds": "logit"})
    by_logit = onnx_model.fit(logit.settings)
    odds = onnx_model.read(by_logit.record, by_logit.arrays).risk(View(cohort.images[:5]))
    np.testing.assert_allclose(odds, plain, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": 64}, r"its record says images of shape \(1, 64, 64\) \(NCHW\), the graph takes"),
        ({"layout": "NHWC"}, r"its record says images of shape \(28, 28, 1\)"),
        ({"layout": "NHW"}, "the graph takes"),
        ({"layout": "odd"}, "expected a layout of NHW, NCHW, NHWC, flat"),
        ({"channels": 3}, "the graph takes"),
        ({"channels": "one"}, "expected a whole number from 1 to 1024 for channels"),
        ({"scaling": {"sd": 0}}, "expected a number above 0"),
        ({"scaling": {"mean": [0.1, 0.2]}}, "one mean and one sd for each of 1 channels, got 2"),
        ({"output": {"name": "absent"}}, "the graph has no output 'absent'"),
        ({"output": {"column": 7}}, "expected a column from 0 to 0, got 7"),
        ({"output": {"holds": "label"}}, "an output that holds probability, logit, logits"),
        ({"condition": "benign"}, "gives the risk of 'benign'.* the condition of this run is 'malignant'"),
        ({"condition": "a\nb"}, r"expected printable words for the condition, got 'a\\nb'"),
        ({"condition": "\ud800"}, r"expected printable words for the condition, got '\\ud800'"),
        ({"condition": "a" * 101}, "expected at most 100 characters for the condition, got 101"),
        ({"threshold": 10**399}, r"cannot be read as JSON \(a number of 400 digits\)"),
        ({"scaling": {"divide_by": 1e-320}}, "scales grey levels beyond the range of float32"),
        ({"scaling": {"mean": 1e308, "sd": 1e-300}}, "scales grey levels beyond the range of float32"),
        ({"output": "risk"}, "expected objects for scaling and output"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_in_one_line(cohort, tmp_path, changes, said):
    with pytest.raises(InputError, match=said) as refused:
        given(write(tmp_path, **changes), cohort)
    assert str(refused.value).startswith("Model blob")
    assert "\n" not in str(refused.value)


def test_a_model_of_another_size_names_the_size_to_choose(tmp_path):
    cohort = phantom(1, cases=(16, 8, 8))
    small = cohort.images[:, ::2, ::2]
    with pytest.raises(InputError, match=r"takes images of 28 x 28 pixels; those of this run have 14 x 14"):
        given(write(tmp_path), type(cohort)(**{**vars(cohort), "images": small}))


def test_a_missing_or_broken_record_and_graph_are_refused(cohort, tmp_path):
    path = write(tmp_path)
    path.with_suffix(".json").write_text("[1")
    with pytest.raises(InputError, match=r"blob\.json cannot be read as JSON"):
        given(path, cohort)
    path.with_suffix(".json").write_text('{"image": 28}')
    with pytest.raises(InputError, match=r"blob\.json lacks 'layout'"):
        given(path, cohort)
    path.with_suffix(".json").write_text(f'{{"image": {"9" * 5000}}}')
    with pytest.raises(InputError, match=r"cannot be read as JSON \(a number of 5000 digits\)\.$"):
        given(path, cohort)
    with pytest.raises(ValueError, match="expected a finite number, got 1000"):
        real(10**400)  # of a record in a results folder
    path.with_suffix(".json").write_text(" " * 70_000)
    with pytest.raises(
        InputError, match=r"^Model blob: \S+blob\.json has 70,000 bytes; at most 65,536 are read"
    ):
        given(path, cohort)
    path.with_suffix(".json").unlink()
    path.with_suffix(".json").mkdir()
    with pytest.raises(InputError, match=r"^Model blob: \S+blob\.json cannot be read \(Is a directory\)\.$"):
        given(path, cohort)
    path.with_suffix(".json").rmdir()
    with pytest.raises(InputError, match=r"Model blob needs blob\.json beside its graph"):
        given(path, cohort)
    write(tmp_path)
    path.write_bytes(b"\x00\xff not a graph")
    with pytest.raises(InputError, match=r"Model blob, blob\.onnx: "):
        given(path, cohort)


def test_a_file_that_changes_after_it_was_checked_is_refused(cohort, tmp_path):
    path = write(tmp_path)
    settings = given(path, cohort).settings
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(InputError, match="was changed while it was used"):
        onnx_model.fit(settings)


def test_what_is_no_risk_is_refused_and_certainty_is_drawn_in(cohort, tmp_path):
    path = write(tmp_path, model=changed(lambda model: model.graph.node[2].CopyFrom(
        helper.make_node("Identity", ["log_odds"], ["risk"]))))  # fmt: skip
    stored = onnx_model.fit(given(path, cohort).settings)
    with pytest.raises(InputError, match="expected a risk from 0 to 1, got"):
        onnx_model.read(stored.record, stored.arrays).risk(View(cohort.images))
    path = write(tmp_path, scaling={"divide_by": 1e-6, "mean": 0, "sd": 1})
    stored = onnx_model.fit(given(path, cohort).settings)
    risk = onnx_model.read(stored.record, stored.arrays).risk(View(cohort.images))
    assert risk.min() >= onnx_model.CERTAIN
    assert risk.max() <= 1 - onnx_model.CERTAIN
