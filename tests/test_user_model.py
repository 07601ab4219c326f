"""Models of a user's in Python: trained in a process of their own, stored as ONNX, refused in one line."""

import json
import os
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from broken_graphs import endless
from onnx import TensorProto, helper
from PIL import Image
from test_medmnist import every, stand_in
from typer.testing import CliRunner

import clineval
from clineval.cli.main import app, run_command
from clineval.data import phantom as phantom_set
from clineval.data.phantom import phantom
from clineval.errors import InputError, silent
from clineval.models import training_process, user_model, user_worker
from clineval.models.classifier import KINDS, given_model
from clineval.models.ensemble import check_own_name, train_models
from clineval.models.logistic import LogisticModel
from clineval.models.preprocessing import ORIGINAL, PixelScaling, View
from clineval.pipeline import stored_run
from clineval.pipeline.adopt import _scaled_by
from clineval.pipeline.explain import explainer
from clineval.pipeline.run import OwnImages
from clineval.pipeline.validate import read_external, validate
from clineval.predictions import read_predictions
from clineval.settings import AdoptionSettings, EvaluationSettings, TrainingSettings, ValidationSettings

EXAMPLES = Path(__file__).parents[1] / "examples"
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


def learn(cohort, tmp_path: Path, code: str, *, timeout: float = 60.0, check_seed: bool = False):
    (tmp_path / "mine.py").write_text(code)
    return learn_from(cohort, f"{tmp_path / 'mine.py'}:make", timeout=timeout, check_seed=check_seed)


def learn_from(cohort, source, *, timeout: float = 60.0, check_seed: bool = False, **options):
    given = given_model("mine", source, cohort, timeout=timeout, check_seed=check_seed)
    options = {"jobs": 1, **options}
    (model,) = train_models(cohort, settings=SETTINGS, names=("mine",), given=(given,), **options)
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
def test_out_of_fold_risks_come_from_the_graphs_of_the_folds_too(cohort, tmp_path):
    as_fitted = learn(cohort, tmp_path, GOOD).out_of_fold[cohort.within("train")]
    by_graph = learn(cohort, tmp_path, stored_code(0.01)).out_of_fold[cohort.within("train")]
    logit = [np.log(risk / (1 - risk)) for risk in (as_fitted, by_graph)]
    np.testing.assert_allclose(np.abs(logit[0] - logit[1]), 0.01 / 20, rtol=0.02)  # float32 grey means


@pytest.mark.slow
def test_a_model_of_which_a_fold_has_no_graph_is_not_stored(cohort, tmp_path):
    code = stored_code(0.0).replace(
        "import onnx\n", "import onnx\n        assert self.cases == 60, 'few'\n", 1
    )
    code = code.replace("self.at = mean.mean()", "self.at, self.cases = mean.mean(), len(images)")
    model = learn(cohort, tmp_path, code)
    assert model.stored.arrays == {}
    assert model.stored.record["not_stored"] == "of the model of fold 1, its to_onnx failed (few)"


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["0", "os.urandom(1)[0] / 64"])
def test_a_model_that_is_another_one_with_the_same_seed_is_found(cohort, tmp_path, noise):
    code = GOOD.replace("self.at = mean.mean()", f"self.at = mean.mean() + {noise}")
    record = learn(cohort, tmp_path, f"import os\n{code}", check_seed=True).stored.record
    differ = record["seed_difference"]
    assert (differ == 0) == (noise == "0")
    assert (f"risks of one seed differ by up to {differ:.2g}" in record["origin"]) == (noise != "0")
    assert record["origin"].endswith("same seed, same risks: checked") == (noise == "0")


class Brightness:
    """Ranks by mean grey level, or by the red of colour images."""

    def __init__(self, seed):
        self.at = 0.0

    def fit(self, images, outcome):
        sys.stdout.write("a line for every fit\n" * 50_000)
        self.at = self.level(images).mean()
        self.sign = 1 if self.level(images[outcome == 1]).mean() > self.at else -1

    def level(self, images):
        return (images[..., 0] if images.ndim == 4 else images).mean(axis=(1, 2))

    def predict_proba(self, images):
        return 1 / (1 + np.exp(-self.sign * (self.level(images) - self.at) / 20))


class Red(Brightness):
    """The same of colour images, which writes its own graph."""

    def to_onnx(self, path):
        nodes = [
            helper.make_node("Gather", ["images", "red"], ["level"], axis=3),
            helper.make_node("ReduceMean", ["level"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Sub", ["mean", "at"], ["gap"]),
            helper.make_node("Mul", ["gap", "slope"], ["log_odds"]),
            helper.make_node("Sigmoid", ["log_odds"], ["risk"]),
        ]
        graph = helper.make_graph(
            nodes,
            "red",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["cases", 28, 28, 3])],
            [helper.make_tensor_value_info("risk", TensorProto.FLOAT, ["cases"])],
            [
                helper.make_tensor("red", TensorProto.INT64, [], [0]),
                helper.make_tensor("at", TensorProto.FLOAT, [], [self.at]),
                helper.make_tensor("slope", TensorProto.FLOAT, [], [self.sign / 20]),
            ],
        )
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.mark.slow
def test_a_factory_from_python_is_trained_in_a_process_of_its_own_or_in_this_one(cohort, tmp_path, capsys):
    given = given_model("mine", Brightness, cohort, timeout=60)
    assert (given.about.file, given.about.factory, given.call) == ("test_user_model.py", "Brightness", None)
    nameless = given_model("mine", lambda seed: Brightness(seed), cohort, timeout=60)
    assert nameless.call is not None
    elsewhere = learn_from(cohort, Brightness)
    here = learn_from(cohort, lambda seed: Brightness(seed), jobs=2, finished=tmp_path)
    np.testing.assert_array_equal(elsewhere.risk, here.risk)
    np.testing.assert_array_equal(elsewhere.out_of_fold, here.out_of_fold)
    assert not list(tmp_path.iterdir())  # another lambda would be found under the same name
    assert capsys.readouterr().out == ""


def test_a_factory_of_this_process_that_fails_is_named_with_the_fold(cohort):
    def make(seed):
        raise ValueError("no")

    with pytest.raises(InputError, match=r"^Model mine, on the whole training split: raised ValueError: no"):
        learn_from(cohort, make)
    with pytest.raises(InputError, match=r"Model mine needs a function of a seed, .*; got 3"):
        given_model("mine", 3, cohort, timeout=60)


def test_an_interruption_of_a_training_in_this_process_ends_the_program(cohort):
    def make(seed):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_from(cohort, make)


@pytest.mark.slow
def test_a_file_that_begins_a_run_where_it_is_imported_is_told_so(cohort, tmp_path):
    code = (
        "from clineval.data.phantom import phantom\nfrom clineval.models.classifier import given_model\n"
        "given_model('mine', 'mine.py:make', phantom(1, cases=(8, 8, 8)), timeout=9)\n" + GOOD
    )
    with pytest.raises(InputError, match="importing its file begins a run; put that under if __name__"):
        learn(cohort, tmp_path, code)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_run_from_python_in_colour_says_where_risks_of_one_seed_differ(tmp_path, monkeypatch):
    cases = {"train": 90, "val": 30, "test": 40}
    generator = np.random.default_rng(3)
    labels = {
        f"{name}_labels": np.array([4, 1, 5] * 40, np.uint8)[:count, None] for name, count in cases.items()
    }
    images = {}
    for name, count in cases.items():
        shown = generator.integers(0, 200, (count, 28, 28, 3), dtype=np.uint8)
        shown[..., 0] += (labels[f"{name}_labels"][:, :, None] == 4).astype(np.uint8) * 9
        images[f"{name}_images"] = shown
    arrays = stand_in(monkeypatch, tmp_path, "dermamnist", cases=cases, **images, **labels)
    monkeypatch.setenv("CLINEVAL_DATA", str(tmp_path))
    seen, said = [], []

    class Noisy(Brightness):
        def fit(self, images, outcome):
            seen.append(images.shape[1:])
            super().fit(images, outcome)
            self.at += os.urandom(1)[0] / 64

    settings = clineval.RunSettings(
        data=clineval.DataSettings("dermamnist", condition="melanoma"),
        training=clineval.TrainingSettings(models=()),
        evaluation=EvaluationSettings(draws=50),
    )
    models = {"red": Red, "noisy": Noisy}
    out = tmp_path / "out"
    run = clineval.run(settings, models=models, check_seed=True, out=out, jobs=1, warn=said.append)
    assert set(seen) == {(28, 28, 3)}
    assert np.array_equal(run.cohort.colour, every(arrays, "images"))
    record = json.loads((out / "provenance.json").read_text())
    differ = record["seed_differences"]
    assert differ["red"] == 0 < differ["noisy"]
    assert any("Model noisy is trained in this process" in line for line in said)
    assert [f"up to {differ['noisy']:.2g}." in line for line in said].count(True) == 1
    assert said.count("Model red: same seed, same risks: checked.") == 1
    assert "same seed, same risks: checked" in (out / "report.html").read_text()
    assert f"risks of one seed differ by up to {differ['noisy']:.2g}" in (out / "report.html").read_text()
    assert [given["file"] for given in record["settings"]["training"]["given"]] == ["test_user_model.py"] * 2
    records = json.loads((out / "models" / "models.json").read_text())
    assert records["red"]["training"]["reading"]["layout"] == "NHWC"
    assert records["red"]["training"]["largest_difference"] < 1e-5
    assert "to_onnx" in records["noisy"]["training"]["not_stored"]
    check_new_images_in_colour(run, tmp_path)


def check_new_images_in_colour(run, folder):
    """Test images as files have the table's risks by predict and validate, and no map."""
    table = read_predictions(run.folder / "predictions.csv")
    test = np.flatnonzero(run.cohort.within("test"))
    expected = table[(table["model"] == "red") & (table["split"] == "test")].set_index("case")["risk"]
    (folder / "images").mkdir()
    rows = []
    for row in test:
        Image.fromarray(run.cohort.colour[row]).save(folder / "images" / f"{row}.png")
        rows.append({"image": f"{row}.png", "outcome": int(run.cohort.outcome[row])})
    pd.DataFrame(rows).to_csv(folder / "new.csv", index=False)
    wanted = {f"{row}.png": expected[run.cohort.case[row]] for row in test}
    found = clineval.predict(run.folder, [folder / "images"])
    assert {each.image: each.risk["red"] for each in found} == wanted
    arrays = clineval.load_run(run.folder).predict(list(run.cohort.colour[test]))
    assert [each.risk["red"] for each in arrays.predictions] == list(wanted.values())
    with pytest.raises(InputError, match="A map covers parts of grey images; red takes images in colour"):
        explainer(stored_run.read_run(run.folder))
    own = OwnImages(folder / "new.csv", folder / "images")
    settings = ValidationSettings(name="b", evaluation=EvaluationSettings(draws=50))
    validated = validate(run.folder, own, settings, out=folder / "b")
    risks = read_predictions(validated.folder / "predictions.csv")
    assert dict(zip(risks["case"], risks["risk"], strict=True)) == wanted
    check_standardised_in_colour(run.folder, own, settings, wanted)
    with pytest.raises(InputError, match=r"^corruptions changes grey images; red takes them in colour"):
        validate(run.folder, own, replace(settings, corruptions=True), out=folder / "c")


def check_standardised_in_colour(folder, own, settings, wanted):
    """A colour model sees colour where a grey one beside it is standardised by the local images."""
    parent = stored_run.read_run(folder)
    pixels = np.ones(parent.side**2)
    plain = LogisticModel(PixelScaling(100 * pixels, 50 * pixels, "train"), pixels / 100, 0.0)
    both = replace(
        parent,
        models={**parent.models, "plain": plain},
        views={**parent.views, "plain": (ORIGINAL,)},
        recalibrations={**parent.recalibrations, "plain": None},
    )
    settings = replace(settings, own=replace(settings.own, fit="crop"))
    external = read_external(both, own, settings, (), silent)
    found = _scaled_by(both, external, AdoptionSettings(settings), 1)
    assert found.models == ("plain",)
    assert dict(zip(external.cohort.case.tolist(), found.risks["red"], strict=True)) == wanted


COLOURED = {
    "skl2onnx": (EXAMPLES / "sklearn_pipeline.py").read_text(),
    "torch": """
import torch
from torch import nn
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 784, 1))
    def forward(self, images):
        return self.layers(images / 255)
    def fit(self, images, outcome):
        torch.nn.init.normal_(self.layers[1].weight, std=0.01)
        self.eval()
    @torch.no_grad()
    def predict_proba(self, images):
        return torch.sigmoid(self(torch.tensor(images).permute(0, 3, 1, 2).float()))[:, 0].numpy()
def make(seed):
    return Network()
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", COLOURED)
def test_a_model_of_colour_images_is_stored(cohort, tmp_path, kind):
    shades = np.stack([cohort.images, cohort.images // 2, 255 - cohort.images], axis=-1)
    model = learn(replace(cohort, colour=shades), tmp_path, COLOURED[kind])
    reading = model.stored.record["reading"]
    assert (reading["channels"], reading["colour"]) == (3, True)
    assert reading["layout"] == {"skl2onnx": "flat", "torch": "NCHW"}[kind]
    assert model.stored.record["largest_difference"] < 1e-5
    again = KINDS["onnx"].read(model.stored.record, model.stored.arrays)
    view = View(cohort.images[5:8], colour=shades[5:8])
    np.testing.assert_array_equal(again.risk(view), model.risk[5:8])


def test_a_seed_is_checked_of_python_models_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["run", "--dataset", "phantom", "--check-seed"]) == 3
    assert "--check-seed expects a Python model" in capsys.readouterr().err


TORCH = """
import torch
from torch import nn
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, COLUMNS))
    def forward(self, images):
        return self.layers(IN)
    def fit(self, images, outcome):
        torch.nn.init.normal_(self.layers[2].weight, std=0.01)
        self.eval()
    @torch.no_grad()
    def predict_proba(self, images):
        images = torch.tensor(images).float()
        return OUT
def make(seed):
    return Network()
"""
MODULES = {
    "logit": ("1", "images.float() / 255", "torch.sigmoid(self(images))[:, 0].numpy()", "uint8"),
    "logits": ("2", "images", "torch.softmax(self(images[:, None] / 255), 1).numpy()", "float32"),
    "probability": ("1", "torch.sigmoid(images / 99)", "self(images).numpy().clip(0, 1) * 0 + 0.4", None),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", MODULES)
def test_a_torch_module_is_stored_in_the_form_in_which_it_gives_its_risks(cohort, tmp_path, case):
    columns, inside, outside, element = MODULES[case]
    code = TORCH.replace("COLUMNS", columns).replace("IN)", f"{inside})").replace("OUT", outside)
    if element is None:
        code = code.replace(
            "* 0 + 0.4", "* 0.5 + 0.1 * (images.mean((1, 2), keepdim=False)[:, None] > 99).numpy()"
        )
        record = learn(cohort, tmp_path, code).stored.record
        assert "its module alone does not give the risks of predict_proba" in record["not_stored"]
        return
    model = learn(cohort, tmp_path, code)
    assert model.stored.record["reading"]["holds"] == case
    assert model.stored.record["largest_difference"] < 1e-5
    graph = KINDS["onnx"].read(model.stored.record, model.stored.arrays).graph
    assert graph.input.element == element


class Endless(Brightness):
    """Trained in no time, and stored as a graph that never ends."""

    def to_onnx(self, path):
        graph = runpy.run_path(str(EXAMPLES / "onnx_file.py"))["graph"]()
        endless(graph)
        path.write_bytes(graph.SerializeToString())


def test_scoring_by_a_graph_ends_after_the_seconds_that_a_model_may_take(cohort):
    said = (
        r"^Model mine, scoring the images by its graph: it did not end within 0\.5 s; .*with model_timeout\.$"
    )
    with pytest.raises(InputError, match=said):
        learn_from(cohort, lambda seed: Endless(seed), timeout=0.5)  # which is of the scoring alone here


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
    "labels": (giving("mean > self.at"), r"gives labels \(0 or 1\), where risks are expected"),
    "text": (giving("'high'"), "expected numbers from predict_proba, got str"),
    "one fold": (
        GOOD.replace("images, outcome, groups):", FEW),
        r"Model mine, fold 1 of 3: raised ValueError: too few",
    ),
    "killed": (
        "import os\nos.kill(os.getpid(), 9)",
        r"its process was killed, as the system does where",
    ),
    "ended": ("import os\nos.abort()", r"its process ended without a result \(signal 6\)\.$"),
    "complex": (giving("mean / 300 + 1j"), "expected numbers from predict_proba, got complex ones"),
    "masked": (giving("np.ma.masked_less(mean / 300, self.at / 300)"), "predict_proba, got masked ones"),
    "nothing": (giving("None"), "expected numbers from predict_proba, got None"),
    "no message": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError('no')\ndef make(seed): raise Odd",
        r"raised Odd: no message \(mine\.py, line 3\)",
    ),
    "full stop": ("raise ValueError('It ends with a full stop.')", r"full stop\. \(mine\.py, line 1\)\.$"),
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


@pytest.mark.slow
def test_a_model_that_takes_too_long_is_ended(cohort, tmp_path):
    code = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    with pytest.raises(
        InputError, match=r"Model mine, loading: it did not end within 2 s; .*with model_timeout"
    ):
        learn(cohort, tmp_path, code, timeout=2.0)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere what leaves its session is not found")
def test_what_a_model_starts_in_a_session_of_its_own_ends_with_it(cohort, tmp_path):
    leaving = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        f"        open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n        time.sleep(600)\n"
        "    os._exit(0)\n"
    )
    with pytest.raises(InputError, match="it did not end within 2 s"):
        learn(cohort, tmp_path, f"{leaving}time.sleep(600)", timeout=2.0)
    late = int((tmp_path / "pid").read_text())
    learn(cohort, tmp_path, leaving + GOOD)
    done = int((tmp_path / "pid").read_text())
    assert late != done
    for pid in (late, done):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_packages_that_are_slow_to_load_are_found_without_running_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import os, numpy as np\nfrom sklearn.svm import SVC\nfrom . import torch\nraise SystemExit\n"
    )
    assert training_process.packages_of(path) == ("numpy", "sklearn.svm")
    path.write_text("def make(")
    assert training_process.packages_of(path) == ()
    assert training_process.packages_of(tmp_path / "absent.py") == ()


@pytest.mark.slow
def test_trainings_share_one_trainer_and_go_on_without_it(cohort, tmp_path):
    began = (
        "import os\nopen(__file__ + '.parents', 'a').write(f'{os.getppid()} {os.getsid(os.getppid())}\\n')\n"
    )
    with training_process.sharing(()):
        address = training_process.shared_address()
        learn(cohort, tmp_path, began + GOOD)
        learn(cohort, tmp_path, began + GOOD)
        assert training_process.shared_address() == address
    lines = [line.split() for line in (tmp_path / "mine.py.parents").read_text().splitlines()]
    assert len({parent for parent, _ in lines}) == 2
    assert len({session for _, session in lines}) == 1
    assert training_process.shared_address() is None
    training_process.use_shared(address)  # as a process that outlives the run does
    try:
        learn(cohort, tmp_path, GOOD)
    finally:
        training_process.use_shared(None)


def trained_again(monkeypatch) -> list[str]:
    """The names of models whose training begins from now on."""
    begun, train = [], user_model._run
    monkeypatch.setattr(
        user_model, "_run", lambda model, place: begun.append(model.name) or train(model, place)
    )
    return begun


@pytest.mark.slow
def test_packages_that_are_installed_are_no_code_of_the_users(cohort, tmp_path):
    code = "import pandas, sklearn.svm, onnxruntime, clineval\n" + GOOD
    assert learn(cohort, tmp_path, code).stored.record["imports"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("source", ["{}/mine.py:make", "mine:make"])
def test_a_finished_training_is_reused_until_code_that_it_loaded_changes(
    cohort, tmp_path, monkeypatch, source
):
    home, moved, finished = tmp_path / "home", tmp_path / "moved", tmp_path / "finished"
    (home / "beside").mkdir(parents=True)
    finished.mkdir()
    code = GOOD.replace("import numpy as np", "import numpy as np\nimport beside", 1)
    code = code.replace("assert images.dtype", "import beside.late; assert images.dtype")
    for name, text in (("mine.py", code), ("beside/__init__.py", ""), ("beside/late.py", ""), ("odd.py", "")):
        (home / name).write_text(text)
    begun = trained_again(monkeypatch)

    def learn_at(place, *, timeout=60.0):
        monkeypatch.chdir(place)
        return learn_from(cohort, source.format(place), timeout=timeout, finished=finished)

    first = learn_at(home)
    assert set(first.stored.record["imports"]) == {"beside", "beside.late"}
    (home / "odd.py").write_text("changed, but never loaded")
    home.rename(moved)
    assert np.array_equal(learn_at(moved, timeout=99.0).risk, first.risk)
    assert begun == ["mine"]
    (moved / "beside" / "late.py").write_text("changed = True")
    learn_at(moved)
    assert begun == ["mine"] * 2
    learn_at(moved)
    assert begun == ["mine"] * 2
    (moved / "beside" / "late.py").unlink()
    with pytest.raises(InputError, match=r"No module named 'beside\.late'"):
        learn_at(moved)


@pytest.mark.slow
def test_code_that_is_written_while_a_training_runs_is_not_known_and_never_reused(
    cohort, tmp_path, monkeypatch
):
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "finished").mkdir()
    begun = trained_again(monkeypatch)
    code = "import pathlib, beside\n" + GOOD.replace(
        "print(", "pathlib.Path(beside.__file__).write_text(''); print("
    )
    for _ in range(2):
        (tmp_path / "mine.py").write_text(code)
        source = f"{tmp_path / 'mine.py'}:make"
        model = learn_from(cohort, source, finished=tmp_path / "finished")
    assert model.stored.record["imports"] == {"beside": ""}
    assert begun == ["mine"] * 2


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
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError('no')", "on the whole training split: raised ValueError: no"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "its process was killed, as the system does where memory runs out",
        ),
        ("import time; time.sleep(60)", "it did not end within 2 s; allow more with --model-timeout"),
    ],
)
def test_a_run_whose_model_fails_ends_with_exit_code_3_and_leaves_nothing_behind(
    code, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(phantom_set, "phantom", lambda seed, reason: phantom(1, cases=(60, 20, 20)))
    (tmp_path / "mine.py").write_text(f"def make(seed):\n    {code}\n")
    words = ["run", "--dataset", "phantom", "--only", "--model", f"mine={tmp_path / 'mine.py'}:make"]
    words += [
        "--jobs",
        "1",
        "--model-timeout",
        "2" if "sleep" in code else "600",
        "--quiet",
        "--out",
        str(tmp_path / "out"),
    ]
    assert run_command(words) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("clineval: Model mine, ")
    assert said in line
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert left == {"mine.py"}


@pytest.mark.slow
def test_a_megabyte_that_a_model_prints_is_dropped(cohort, tmp_path, capfd):
    printed = "import sys; sys.stderr.write('y' * 1_000_000)"
    learn(cohort, tmp_path, GOOD.replace("def make(seed):", f"def make(seed):\n    {printed}"))
    assert capfd.readouterr() == ("", "")


def test_the_column_of_the_condition_follows_the_classes():
    class Known:
        classes_ = np.array([1, 0])

    assert user_worker._column(Known()) == 0
    assert user_worker._column(object()) == 1
    Known.classes_ = np.array([1, 2])
    with pytest.raises(user_worker.Unfit, match=r"expected the classes 0 and 1 in classes_, .*\[1, 2\]"):
        user_worker._column(Known())
    Known.classes_ = ["benign", "malignant"]
    with pytest.raises(user_worker.Unfit, match=r"in classes_, .* got \['benign', 'malignant'\]"):
        user_worker._column(Known())


@pytest.mark.parametrize(
    "value",
    [
        "mean.argsort().argsort() / 2 / len(mean)",  # ranks in the batch
        "1 / (1 + np.exp(-(mean - mean.mean()) / (mean.std() + 1)))",
        "np.random.default_rng().random(len(mean))",
    ],
)
def test_a_risk_that_depends_on_the_batch_or_on_chance_is_refused(cohort, value):
    space: dict = {}
    exec(giving(value), space)
    said = (
        r"^Model mine, on the whole training split: the risk of an image depends on the images beside it or "
        r"on chance \(0\.\d+ among 100, 0\.\d+ alone\)\.$"
    )
    with pytest.raises(InputError, match=said):
        learn_from(cohort, lambda seed: space["make"](seed))


def test_a_risk_of_one_image_may_be_squeezed():
    class Squeezing:
        def predict_proba(self, images):
            return np.squeeze(images.mean(axis=(1, 2), keepdims=True) / 255)

    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    user_worker._refuse_company(Squeezing(), images, user_worker._risk(Squeezing(), images))


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
