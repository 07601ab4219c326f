"""Each example goes from images to a report by one command, and to the risk of an image by another."""

import csv
import importlib.util
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from short_program import shorten
from typer.testing import CliRunner

from clineval.cli.main import app, run_command
from clineval.data.phantom import phantom
from clineval.models.classifier import given_model
from clineval.models.ensemble import train_models
from clineval.settings import TrainingSettings

EXAMPLES = Path(__file__).parents[1] / "examples"
CASES = (60, 20, 30)
SMALL = phantom(0, cases=CASES)
SOURCES = {
    "pipeline": f"{EXAMPLES / 'sklearn_pipeline.py'}:make",
    "network": f"{EXAMPLES / 'torch_network.py'}:make",
    "net": f"{EXAMPLES / 'skorch_network.py'}:make",
    "timm": f"{EXAMPLES / 'timm_network.py'}:make",
    "monai": f"{EXAMPLES / 'monai_network.py'}:make",
    "blob": "blob.onnx",
}
NEEDS = {
    "pipeline": ["skl2onnx"],
    "net": ["skorch"],
    "timm": ["skorch", "timm"],
    "monai": ["skorch", "monai"],
}
LEARNING = [name for name in SOURCES if name != "blob"]


def require(name):
    absent = [each for each in NEEDS.get(name, ()) if importlib.util.find_spec(each) is None]
    if absent:
        pytest.skip(f"the example {name} needs {' and '.join(absent)}, not installed here")


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNING)
def test_an_example_gives_the_same_bytes_on_one_process_and_on_two_and_for_its_seed(name):
    require(name)
    given = given_model(name, SOURCES[name], SMALL, timeout=600, check_seed=True)
    settings = TrainingSettings(models=(), members=2)
    one, two = (
        train_models(SMALL, settings=settings, names=names, given=(given,), jobs=jobs)[0]
        for jobs, names in ((1, (name,)), (2, (name, "logreg")))
    )
    assert one.stored.record == two.stored.record
    assert one.stored.record["seed_difference"] == 0
    assert one.stored.record["largest_difference"] < 1e-5
    assert one.stored.arrays["graph"].tobytes() == two.stored.arrays["graph"].tobytes()
    assert one.risk.tobytes() == two.risk.tobytes()
    assert one.out_of_fold.tobytes() == two.out_of_fold.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_an_example_goes_from_images_to_report_and_predict(name, tmp_path, monkeypatch, capsys, undrawn):
    require(name)
    monkeypatch.chdir(tmp_path)
    shorten(monkeypatch.setattr, cases=CASES)
    if name == "blob":
        subprocess.run([sys.executable, EXAMPLES / "onnx_file.py"], check=True)
    run = ["run", "--dataset", "phantom", "--only", "--model", f"{name}={SOURCES[name]}", "--jobs", "1"]
    run += ["--split", "deduplicated"]  # trained once, not a second time without near-duplicates
    done = CliRunner().invoke(app, [*run, "--out", "results"], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"{name} (" in (tmp_path / "results" / "report.html").read_text()
    row = int(np.flatnonzero(SMALL.within("test"))[0])
    Image.fromarray(SMALL.images[row]).save("image.png")
    said = CliRunner().invoke(
        app, ["predict", "--all-models", "results", "image.png", "--no-matching"], catch_exceptions=False
    )
    (answer,) = csv.DictReader(io.StringIO(said.stdout))
    table = pd.read_csv("results/predictions.csv")
    assert set(table["model"]) == {name}  # --only: no built-in model
    there = table[(table["model"] == name) & (table["case"] == SMALL.case[row])]
    assert float(answer[f"risk_{name}"]) == there["risk"].item()
    assert run_command(["verify", "results", "--retrain"]) != 0
    refused = capsys.readouterr().err
    assert "never makes the program run a user's code" in refused
    assert f"--model {name}={Path(SOURCES[name]).name} (SHA-256 " in refused
    if name == "blob":  # nothing is trained again
        words = ["verify", "results", "--retrain", "--model", f"{name}={SOURCES[name]}"]
        assert CliRunner().invoke(app, words).exit_code == 0
