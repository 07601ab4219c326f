"""onnxruntime is imported in one place, and neither it nor anything else tells anybody or leaves a file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from finished_run import write_cohort

import clineval

SOURCE = Path(clineval.__file__).parent

TRAINING = """
import sys
import numpy as np
from clineval.data.phantom import phantom
from clineval.models.parallel import Job, Material
from clineval.models.parallel import train_in_processes
from clineval.settings import NetworkSettings

cohort = phantom(3, cases=(90, 30, 20))
train = np.flatnonzero(cohort.within("train"))
settings = NetworkSettings(epochs=1)
material = Material.of(cohort)
tasks = {str(k): (material, Job("cnn", train, train[:0], settings, seed=k)) for k in range(2)}
assert len(dict(train_in_processes(tasks, 2))) == 2
"""


def test_one_module_imports_onnxruntime_and_switches_its_telemetry_off_first():
    importing = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"^\s*(import|from) onnxruntime", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert importing == {"models/onnx_graph.py"}
    code = (SOURCE / "models" / "onnx_graph.py").read_text(encoding="utf-8")
    assert code.index('os.environ["ORT_DISABLE_TELEMETRY"] = "1"') < code.index("import onnxruntime")


def watched(folder, command) -> tuple[list[str], list[str]]:
    """Files that a command leaves in an empty home and temporary folder, and its calls for a socket."""
    home, temporary, calls = folder / "home", folder / "temporary", folder / "calls"
    for path in (home, temporary):
        path.mkdir()
    watching = shutil.which("strace")
    before = (
        [watching, "-f", "-qq", "--seccomp-bpf", "-e", "trace=socket,connect", "-o", str(calls)]
        if watching
        else []
    )
    unset = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    ended = subprocess.run(
        [*before, *command],
        env={**kept, "HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    left = [str(path) for place in (home, temporary) for path in place.rglob("*") if path.is_file()]
    if not watching:
        pytest.skip(f"no strace to watch calls for sockets with; files left: {left or 'none'}")
    return left, [line for line in calls.read_text().splitlines() if "AF_INET" in line]


@pytest.mark.slow
def test_scoring_opens_no_socket_and_leaves_no_file(finished_run, tmp_path):
    images = write_cohort(tmp_path / "cohort", patients=4) / "images"
    words = ["predict", str(finished_run), str(images), "--out", str(tmp_path / "risks.csv")]
    assert watched(tmp_path, [sys.executable, "-m", "clineval", *words]) == ([], [])


@pytest.mark.slow
def test_training_in_processes_opens_no_socket_and_leaves_no_file(tmp_path):
    assert watched(tmp_path, [sys.executable, "-c", TRAINING]) == ([], [])
