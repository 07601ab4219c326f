"""An untrusted file runs nothing: no pickle anywhere, no eval, no formula in a spreadsheet, no script."""

import io
import json
import os
import pickle
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_run import WORDS, write_cohort

import clineval
from clineval.cli import main
from clineval.data import medmnist
from clineval.errors import InputError
from clineval.models.classifier import read_model
from clineval.models.stored import FORMAT, read_arrays

SOURCE = Path(clineval.__file__).parent
FORBIDDEN = (
    r"\bpickle\b(?!d)", r"\bmarshal\b", r"\bshelve\b", r"\bdill\b", r"\bcloudpickle\b", r"\bjoblib\.load\b",
    r"\btorch\.load\b", r"\bnp\.load\b", r"allow_pickle=True", r"\bread_pickle\b", r"(?<![\w.])eval\(",
    r"(?<![\w.])exec\(", r"shell=True", r"\bos\.system\b", r"\byaml\.load\b", r"\bwith_trust\b",
)  # fmt: skip


@pytest.mark.slow
def test_no_module_unpickles_evaluates_or_opens_a_shell():
    found = [
        f"{path.relative_to(SOURCE)}: {match.group()}"
        for path in sorted(SOURCE.rglob("*.py"))
        for word in FORBIDDEN
        for match in re.finditer(word, path.read_text(encoding="utf-8"))
    ]
    # weights of a pinned package, by their SHA-256, tensors only; at training, never of a results folder
    assert found == ["models/transfer.py: torch.load"]
    assert "weights_only=True" in (SOURCE / "models" / "transfer.py").read_text(encoding="utf-8")


class Bomb:
    """What a malicious file holds: unpickled, it makes a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "ran"


def test_the_bomb_goes_off_where_it_is_unpickled(trace):
    pickle.loads(pickle.dumps(Bomb(trace)))
    assert trace.exists()


def npz_of_objects(trace):
    held = np.empty((1, 1), dtype=object)
    held[0, 0] = Bomb(trace)
    stream = io.BytesIO()
    np.savez(
        stream, **{f"{split}_{kind}": held for split in medmnist.SPLITS for kind in ("images", "labels")}
    )
    return stream.getvalue()


def test_an_npz_of_pickled_objects_is_refused_and_runs_nothing(tmp_path, trace):
    (tmp_path / "breastmnist.npz").write_bytes(npz_of_objects(trace))
    with pytest.raises(InputError, match="needs uint8 of shape"):
        medmnist.load(folders=[tmp_path])
    assert not trace.exists()


def torch_file(trace):
    stream = io.BytesIO()
    torch.save(Bomb(trace), stream)
    return stream.getvalue()


def zip_of_pickle(trace):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Bomb(trace)))
    return stream.getvalue()


@pytest.mark.parametrize("content", [torch_file, zip_of_pickle, lambda trace: pickle.dumps(Bomb(trace))])
def test_a_pickle_in_the_place_of_a_model_is_refused_and_runs_nothing(tmp_path, trace, content):
    (tmp_path / "cnn.safetensors").write_bytes(content(trace))
    with pytest.raises(InputError, match="is incomplete, or no model file"):
        read_arrays(tmp_path / "cnn.safetensors")
    assert not trace.exists()


NAMES = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "'=1", "<script>alert(1)</script>", "../../x")


@pytest.mark.slow
def test_names_from_a_table_are_neither_formulas_nor_scripts_nor_paths_in_the_results(tmp_path):
    rows = [
        f'"{name}",{case},{case % 2},{(case * 37 % 97) / 97:.3f},"{name}"'
        for name in NAMES
        for case in range(8)
    ]
    (tmp_path / "t.csv").write_text("model,case,outcome,risk,site\n" + "\n".join(rows) + "\n")
    words = [
        "evaluate",
        str(tmp_path / "t.csv"),
        "--draws",
        "20",
        "--out",
        str(tmp_path / "in" / "out"),
        "--quiet",
    ]
    assert main.run_command(words) == 0
    written = [path for path in (tmp_path / "in").rglob("*") if path.is_file()]
    assert all(path.is_relative_to(tmp_path / "in" / "out") for path in written)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "t.csv"]
    for path in written:
        if path.suffix == ".csv":
            for cell in re.split(r'[,\n"]+', path.read_text()):
                assert not re.match(r"[=+@\t\r]|-(?![\d.])|-\d\+", cell), (path.name, cell)
    assert "<script>alert" not in (tmp_path / "in" / "out" / "report.html").read_text()


@pytest.mark.slow
def test_a_results_folder_that_names_a_python_file_never_has_it_imported(
    finished_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("clineval.reporting.figures.write_figures", lambda *given, **named: None)
    folder, ran = shutil.copytree(finished_run, tmp_path / "run"), tmp_path / "ran"
    trap = f"open({str(ran)!r}, 'w').close()\ndef make(seed):\n    raise SystemExit\n"
    for place in (tmp_path, folder, folder / "models"):
        (place / "trap.py").write_text(trap)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    named = {"name": "mine", "file": "trap.py", "sha256": "0" * 64, "factory": "make"}
    record = json.loads((folder / "provenance.json").read_text())
    record["settings"]["training"]["given"] = [named, {**named, "name": "other", "file": "trap"}]
    record["command"] = ["clineval", "run", "--model", "mine=trap.py:make"]
    (folder / "provenance.json").write_text(json.dumps(record))
    cohort = write_cohort(tmp_path / "external")
    table, images = str(cohort / "cohort.csv"), str(cohort / "images")
    asked = {
        ("predict", "run", f"{images}/im000.png"): 0,
        ("validate", "run", table, *WORDS, "--name", "b", "--image-folder", images, "--out", "b"): 0,
        ("report", "run"): 0,
        ("verify", "run"): 4,  # it holds files that the run did not write
        ("verify", "b"): 0,
        ("verify", "run", "--retrain"): 3,
    }
    for words, code in asked.items():
        assert main.run_command([*words, "--quiet"]) == code, words
        assert not ran.exists(), words
        assert "trap" not in sys.modules
    said = capsys.readouterr().err
    assert (
        "Give what you trust again: --model mine=trap.py:make (SHA-256 000000000000); --model other" in said
    )


def test_a_stored_model_of_the_kind_that_is_python_is_refused(tmp_path):
    record = {"format": FORMAT, "kind": "python", "image": [28, 28], "file": "trap.py", "factory": "make"}
    (tmp_path / "mine.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"mine\.json is not the record of a model that this version reads"):
        read_model(tmp_path, "mine")
