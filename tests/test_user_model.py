"""Models of a user's in Python: trained in a process of their own, stored as ONNX, refused in one line."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from clineval.cli.main import app
from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models import user_model, user_worker
from clineval.models.classifier import KINDS
from clineval.models.ensemble import check_own_name, train_models
from clineval.models.given import given_model
from clineval.models.preprocessing import View
from clineval.pipeline import stored_run
from clineval.settings import TrainingSettings

SETTINGS = TrainingSettings(models=(), members=3)
GOOD = """
import numpy as np
class Model:
    def __init__(self, seed): self.seed = seed
    def fit(self, images, outcome, groups):
        assert images.dtype == np.uint8 and len(images) == len(outcome) == len(groups)
        mean = images.reshape(len(images), -1).mean(axis=1)
        self.at = mean.mean()
        self.sign = 1 if mean[outcome == 1].mean() > mean[outcome == 0].mean() else -1
    def predict_proba(self, images):
        mean = images.reshape(len(images), -1).mean(axis=1)
        return 1 / (1 + np.exp(-self.sign * (mean - self.at) / 20))
def make(seed):
    print("x" * 1_000_000)
    return Model(seed)
"""
ONNX = """
    def to_onnx(self, path):
        import onnx
        from onnx import TensorProto, helper
        of = lambda name, value: helper.make_tensor(name, TensorProto.FLOAT, [], [value])
        nodes = [
            helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Sub", ["mean", "at"], ["gap"]),
            helper.make_node("Mul", ["gap", "slope"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["risk"]),
        ]
        graph = helper.make_graph(
            nodes, "mean",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["cases", 28, 28])],
            [helper.make_tensor_value_info("risk", TensorProto.FLOAT, ["cases"])],
            [of("at", self.at + SHIFT), of("slope", self.sign / 20)],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
"""


@pytest.fixture(scope="module")
def cohort():
    return phantom(1, cases=(60, 20, 20))


def learn(cohort, tmp_path: Path, code: str, *, timeout: float = 60.0, jobs: int = 1):
    (tmp_path / "mine.py").write_text(code)
    given = given_model("mine", f"{tmp_path / 'mine.py'}:make", cohort, timeout=timeout)
    (model,) = train_models(cohort, settings=SETTINGS, names=("mine",), given=(given,), jobs=jobs)
    return model


def stored_code(shift: float) -> str:
    return GOOD.replace("def make", ONNX.replace("SHIFT", repr(shift)) + "def make")


def test_a_model_without_a_graph_is_scored_in_the_run_and_named_so(cohort, tmp_path):
    model = learn(cohort, tmp_path, GOOD)
    assert model.stored.arrays == {}
    assert model.stored.record["origin"] == user_model.NOT_STORED
    assert "to_onnx" in model.stored.record["not_stored"]
    train = cohort.within("train")
    assert np.isfinite(model.out_of_fold[train]).all()
    assert np.isnan(model.out_of_fold[~train]).all()
    assert not np.array_equal(model.out_of_fold[train], model.risk[train])  # by models of the folds
    with pytest.raises(ValueError, match="it was not stored"):
        KINDS["python"].read(model.stored.record, {})


@pytest.mark.slow
def test_a_model_with_a_graph_is_scored_by_that_and_the_difference_is_recorded(cohort, tmp_path):
    model = learn(cohort, tmp_path, stored_code(0.0))
    assert model.stored.record["origin"] == user_model.ORIGIN
    assert 0 <= model.stored.record["largest_difference"] < 1e-5
    again = KINDS["onnx"].read(model.stored.record, model.stored.arrays)
    np.testing.assert_array_equal(again.risk(View(cohort.images[5:8])), model.risk[5:8])
    alike = learn(cohort, tmp_path, stored_code(0.0))
    np.testing.assert_array_equal(alike.risk, model.risk)
    np.testing.assert_array_equal(alike.out_of_fold, model.out_of_fold)


@pytest.mark.slow
def test_a_graph_that_is_another_model_is_not_stored(cohort, tmp_path):
    model = learn(cohort, tmp_path, stored_code(1.0))
    assert model.stored.arrays == {}
    assert "differ from its own by up to 0.01" in model.stored.record["not_stored"]


def giving(value: str) -> str:
    """The model whose ``predict_proba`` gives something else."""
    return GOOD.replace("return 1 / (1 + np.exp(-self.sign * (mean - self.at) / 20))", f"return {value}")


FEW = "images, outcome, groups):\n        if len(images) < 60: raise ValueError('too few')"
RISK = "1 / (1 + np.exp(self.at - mean))"
WRONG = {
    "raises": (
        "def make(seed):\n    raise ValueError('no\\nsecond line')",
        r"Model mine, on the whole training split: raised ValueError: no \(mine\.py, line 2\)\.$",
    ),
    "wrong arguments": ("def make(): pass", r"raised TypeError: make\(\) takes 0 positional arguments"),
    "absent": ("x = 1", r"Model mine, loading: expected a function make in mine\.py, got None"),
    "no python": ("def make(", r"Model mine, loading: raised SyntaxError"),
    "exits": ("raise SystemExit(3)", r"Model mine, loading: raised SystemExit: 3"),
    "no fit": ("make = lambda seed: 3", r"expected an object with fit\(images, outcome\), got int"),
    "shape": (giving("np.ones((3, 4))"), r"of shape \(100,\) or \(100, 2\) for 100 images, got \(3, 4\)"),
    "nan": (giving("np.nan * mean"), r"expected risks from 0 to 1, got nan \(100 of 100"),
    "above 1": (giving(f"9 * {RISK}"), "expected risks from 0 to 1, got"),
    "constant": (giving("0.3 + 0 * mean"), "gives the same risk, 0.3, to all 100 images"),
    "labels": (giving("mean > self.at"), r"gives labels \(nothing but 0 and 1\) where risks are expected"),
    "text": (giving("'high'"), "expected numbers from predict_proba, got str"),
    "one fold": (
        GOOD.replace("images, outcome, groups):", FEW),
        r"Model mine, fold 1 of 3: raised ValueError: too few",
    ),
    "killed": ("import os\nos.kill(os.getpid(), 9)", r"its process ended without a result \(signal 9\)"),
    "silent end": ("import os\nos._exit(0)", r"its process ended without a result \(exit code 0\)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_model_is_refused_in_one_line_that_names_model_and_fold(cohort, tmp_path, case):
    code, said = WRONG[case]
    with pytest.raises(InputError, match=said) as refused:
        learn(cohort, tmp_path, code)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("Model mine, ")


def test_a_model_that_takes_too_long_is_ended(cohort, tmp_path):
    code = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    with pytest.raises(
        InputError, match=r"Model mine, loading: it did not end within 2 s; .*--model-timeout"
    ):
        learn(cohort, tmp_path, code, timeout=2.0)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_model_is_named_before_anything_of_it_is_imported(cohort, tmp_path, monkeypatch):
    package = tmp_path / "pack"
    package.mkdir()
    for name in ("__init__.py", "inner.py"):
        (package / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    given = given_model("mine", "pack.inner:make", cohort, timeout=9.0)
    assert (given.about.file, given.about.factory) == ("inner.py", "make")
    assert len(given.about.sha256) == 64
    assert not (tmp_path / "ran").exists()
    assert "pack" not in sys.modules


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("absent.py:make", "there is no absent.py"),
        ("absent_package.module:make", "there is no absent_package.module"),
        ("mine.py", r"needs FILE\.py:FACTORY"),
        ("mine.py:", r"needs FILE\.py:FACTORY"),
        ("absent.onnx", r"absent\.onnx cannot be read"),
    ],
)
def test_a_source_that_is_not_there_is_refused(cohort, tmp_path, monkeypatch, source, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        given_model("mine", source, cohort, timeout=9.0)


@pytest.mark.parametrize("name", ["cnn", "combined", "x_deduplicated", "a/b", ".x", "", "a" * 61])
def test_a_taken_or_unfit_name_is_refused(name):
    with pytest.raises(InputError, match="A model of yours needs a name"):
        check_own_name(name)


@pytest.mark.parametrize("given", [["mine"], ["=x.py:make"], ["a=x.py:m", "a=y.py:m"]])
def test_the_option_needs_a_name_and_a_source(tmp_path, given):
    words = [word for value in given for word in ("--model", value)]
    said = CliRunner().invoke(app, ["run", "--dataset", "phantom", *words, "--out", str(tmp_path / "x")])
    assert "--model needs NAME=FILE.py:FACTORY" in str(said.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_whose_model_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "mine.py").write_text("def make(seed):\n    raise ValueError('no')")
    words = ["run", "--dataset", "phantom", "--only", "--model", f"mine={tmp_path / 'mine.py'}:make"]
    said = CliRunner().invoke(app, [*words, "--jobs", "1", "--out", str(tmp_path / "out")])
    assert "Model mine, on the whole training split: raised ValueError: no" in str(said.exception)
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert left == {"mine.py"}


def test_the_column_of_the_condition_follows_the_classes():
    class Known:
        classes_ = np.array([1, 0])

    assert user_worker._column(Known()) == 0
    assert user_worker._column(object()) == 1
    Known.classes_ = np.array([1, 2])
    with pytest.raises(user_worker.Unfit, match="expected the classes 0 and 1"):
        user_worker._column(Known())


def test_a_decision_value_becomes_a_risk_on_the_logit_scale():
    class Machine:
        def decision_function(self, images):
            return np.linspace(-2, 2, len(images))

    risk = user_worker._risk(Machine(), np.zeros((5, 2, 2), np.uint8))
    np.testing.assert_allclose(np.log(risk / (1 - risk)), np.linspace(-2, 2, 5), atol=1e-12)
    assert json.dumps(risk.tolist())


def test_a_run_of_models_that_could_not_be_stored_is_refused_with_the_reason(tmp_path):
    records = {"mine": {"training": {"not_stored": "it has no to_onnx(path)"}}}
    with pytest.raises(InputError, match=r"has none: mine could not be stored \(it has no to_onnx\(path\)\)"):
        stored_run._stored(tmp_path, records, {}, {}, fit="crop")
