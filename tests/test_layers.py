"""Who may import whom is held by contracts that fail when they are broken."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def contracts_hold(folder):
    """Exit status of import-linter on a copy of the package, imported from that copy."""
    words = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode == 0, done.stdout


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "src" / "clineval", tmp_path / "src" / "clineval")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("statistics/roc.py", "import torch"),
        ("statistics/roc.py", "import pandas"),
        ("evaluation/records.py", "import clineval.data.cohort"),
        ("data/cohort.py", "import clineval.models.network"),
        ("reporting/sentences.py", "import clineval.pipeline.run"),
        ("results/provenance.py", "import clineval.data.cohort"),
        ("models/stored.py", "import clineval.statistics.auc"),
        ("data/cohort.py", "import clineval.data.audit"),
        ("settings.py", "import clineval.data.cohort"),
    ],
)
def test_a_planted_import_breaks_a_contract(copy, module, statement):
    path = copy / "src" / "clineval" / module
    path.write_text(path.read_text() + f"\n{statement}\n")
    held, told = contracts_hold(copy)
    assert not held
    assert "BROKEN" in told


def test_the_packages_as_they_are_keep_their_contracts(copy):
    held, told = contracts_hold(copy)
    assert held, told


def test_nothing_inside_the_package_imports_from_its_front_door():
    """The public API is for users: a name taken from ``clineval`` itself would close a circle."""
    package = ROOT / "src" / "clineval"
    parts = {path.stem for path in package.iterdir()}
    taken = {
        (path.name, alias.name)
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "clineval"
        for alias in node.names
    }
    assert {(name, what) for name, what in taken if what not in parts} == set()
