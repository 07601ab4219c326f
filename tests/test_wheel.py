"""The wheel, installed outside the repository without torch, evaluates, predicts and verifies."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_run import WORDS, write_cohort
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "statsmodels", "pydicom", "dask", "distributed", "pynndescent", "fastapi")

WITHOUT = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def clineval(tmp_path_factory):
    """Runs the command of a fresh environment that has the wheel, the core's packages and nothing heavy.

    The packages are those installed here, through a path file, with every heavy one refused: no network.
    """
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    shutil.copytree(ROOT / "src" / "clineval", source / "src" / "clineval")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(place), str(source)], check=True, capture_output=True)
    (wheel,) = place.glob("clineval-*.whl")
    venv.create(place / "env", with_pip=False)
    python = place / "env" / "bin" / "python"
    words = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(packages),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    (packages / "without_heavy_packages.py").write_text(WITHOUT)
    (packages / "core.pth").write_text(f"import without_heavy_packages\n{sysconfig.get_path('purelib')}\n")

    def run(*words, folder, code="from clineval.cli.main import main; main()"):
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        line = [str(python), "-c", code, *map(str, words)]
        return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)

    return run


IN_TURN = """
import contextlib, io, json, sys
from clineval.cli.main import run_command
told = {}
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command(words)
    told[" ".join(words[:1] + words[-1:])] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def ended(clineval, finished_run, tmp_path_factory):
    """Code, output and errors of each command by its first and last word, in one process of the wheel.

    None loads a heavy package for the next: all are refused.
    """
    folder = tmp_path_factory.mktemp("home")
    chance = np.random.default_rng(0)
    outcome = np.arange(60) % 3 == 0
    risk = np.clip(0.3 * outcome + 0.6 * chance.random(60), 0, 1)
    pd.DataFrame({"outcome": outcome.astype(int), "risk": risk}).to_csv(folder / "t.csv", index=False)
    (folder / "pictures").mkdir()
    for number in range(4):
        picture = chance.integers(0, 255, (64, 64), np.uint8)
        Image.fromarray(picture).save(folder / "pictures" / f"{number}.png")
    cohort, run = write_cohort(folder / "cohort"), str(finished_run)
    place = ["--name", "b", "--image-folder", str(cohort / "images")]
    commands = [
        ["evaluate", "t.csv", "--draws", "50", "--out", "out"],
        *(["report", "out"], ["verify", "out"], ["compare", "out", "out"]),
        ["predict", run, "pictures/0.png", "--format", "json"],
        ["validate", run, str(cohort / "cohort.csv"), *place, *WORDS, "--out", "validated"],
        ["audit", "pictures", "--out", "audited"],
        ["serve", run, "--no-open"],
        *(["run"], ["train"], ["study"], ["verify", "out", "--retrain"]),
    ]
    done = clineval(json.dumps(commands), folder=folder, code=IN_TURN)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


pytestmark = pytest.mark.slow


def test_the_package_comes_from_the_wheel_and_knows_its_version(clineval, tmp_path):
    done = clineval("--version", folder=tmp_path)
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (done.stdout, done.stderr) == (f"clineval {stated}\n", "")


@pytest.mark.parametrize(
    "command",
    [
        *("evaluate out", "report out", "verify out", "compare out", "predict json", "validate validated"),
        "audit audited",
    ],
)
def test_what_trains_nothing_needs_no_torch(ended, command):
    code, out, err = ended[command]
    assert code == 0, err
    assert command != "predict json" or len(json.loads(out)["images"]) == 1


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("serve --no-open", "serve"),
        *((command, "train") for command in ("run run", "train train", "study study", "verify --retrain")),
    ],
)
def test_a_command_that_serves_or_trains_says_which_extra_it_needs(ended, command, extra):
    code, _, err = ended[command]
    assert code == 3
    assert f"pip install 'clineval[{extra}]'" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert command != "serve --no-open" or len(err.splitlines()) == 1


def pins(name):
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", (ROOT / name).read_text(), flags=re.M))


def canonical(pinned):
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pinned.items()}


def test_the_hashes_are_of_the_very_versions_of_the_lock():
    locked, hashed = canonical(pins("requirements.lock")), canonical(pins("requirements.hashes"))
    assert locked.keys() - hashed.keys() == {"torch"}, "torch differs by index, so its hash would"
    assert {name: locked[name] for name in hashed} == hashed
    blocks = re.split(r"^(?=[A-Za-z])", (ROOT / "requirements.hashes").read_text(), flags=re.M)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)


def test_the_core_has_none_of_the_heavy_packages_and_all_has_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = " ".join(project["dependencies"])
    assert not [name for name in ("torch", "statsmodels", "pydicom", "tqdm") if name in core]
    (everything,) = project["optional-dependencies"]["all"]
    for extra in ("train", "dicom", "cluster", "audit", "transfer", "serve"):
        assert extra in everything
    assert ".[all]" in (ROOT / "requirements.txt").read_text().splitlines()
