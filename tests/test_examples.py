"""Each example goes from images to a report by one command, and to the risk of an image by another."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from clineval.cli.main import app
from clineval.data.phantom import phantom

EXAMPLES = Path(__file__).parents[1] / "examples"
SOURCES = {
    "pipeline": f"{EXAMPLES / 'sklearn_pipeline.py'}:make",
    "network": f"{EXAMPLES / 'torch_network.py'}:make",
    "blob": "blob.onnx",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_an_example_goes_from_images_to_report_and_predict(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, EXAMPLES / "onnx_file.py"], check=True)
    run = ["run", "--dataset", "phantom", "--only", "--model", f"{name}={SOURCES[name]}", "--jobs", "1"]
    done = CliRunner().invoke(app, [*run, "--out", "results"], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"{name} (" in (tmp_path / "results" / "report.html").read_text()
    cohort = phantom(0)
    row = int(np.flatnonzero(cohort.within("test"))[0])
    Image.fromarray(cohort.images[row]).save("image.png")
    said = CliRunner().invoke(
        app, ["predict", "--all-models", "results", "image.png", "--no-matching"], catch_exceptions=False
    )
    (answer,) = csv.DictReader(io.StringIO(said.stdout))
    table = pd.read_csv("results/predictions.csv")
    there = table[(table["model"] == name) & (table["case"] == cohort.case[row])]
    assert float(answer[f"risk_{name}"]) == there["risk"].item()
    again = CliRunner().invoke(app, ["verify", "results", "--retrain"])
    assert "never makes the program run a user's code" in str(again.exception)
    assert f"--model {name}={Path(SOURCES[name]).name} (SHA-256 " in str(again.exception)
    again = CliRunner().invoke(app, ["verify", "results", "--retrain", "--model", f"{name}={SOURCES[name]}"])
    assert again.exit_code == 0
