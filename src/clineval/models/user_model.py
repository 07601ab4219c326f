"""A user's Python model: found without importing it, trained in a process of its own, stored as ONNX."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError
from clineval.models import onnx_model, user_worker
from clineval.models.onnx_graph import GivenGraph, open_given_graph
from clineval.models.preprocessing import Images, View
from clineval.models.stored import Floats, Stored

TIMEOUT = 3600.0  # seconds that one training and its scoring may take
TOLERANCE = 1e-3  # difference of a risk above which a graph is not the model
POLL_SECONDS = 0.05
ORIGIN = "the user's Python model"
NOT_STORED = "the user's Python model, not stored"
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class PythonModel:
    """Where a model is made: ``factory(seed)`` of the file ``path``, imported as ``module`` where it has one.

    Attributes
    ----------
    import_from : folder from which the file imports what lies beside it.
    timeout : seconds that one training and its scoring may take.
    """

    name: str
    path: str
    module: str | None
    factory: str
    sha256: str
    import_from: str
    timeout: float


@dataclass(frozen=True)
class Learnt:
    """A model learnt from the whole training split, and what it and its fold members give.

    Attributes
    ----------
    stored : the graph with its reading; without arrays where the model could not be stored.
    risk : of every image, by the stored form where there is one, shape (cases,).
    out_of_fold : of the training cases, by the models of the folds as they were fitted, shape (training,).
    """

    stored: Stored
    risk: Floats
    out_of_fold: Floats


def python_model(name: str, source: str, *, timeout: float = TIMEOUT) -> PythonModel:
    """The model that ``FILE.py:FACTORY`` or ``package.module:FACTORY`` names; nothing is imported.

    Raises
    ------
    InputError : there is no such file or module, or the time is not above 0.
    """
    where, _, factory = source.rpartition(":")
    if not where or not factory.isidentifier():
        raise InputError(
            f"Model {name} needs FILE.py:FACTORY, package.module:FACTORY or FILE.onnx; got {source!r:.120}."
        )
    if not timeout > 0:
        raise InputError(f"--model-timeout needs seconds above 0; got {timeout:g}.")
    path, module = (Path(where), None) if where.endswith(".py") else (_file_of(where), where)
    if path is None or not path.is_file():
        raise InputError(f"Model {name}: there is no {where}; name a Python file or module that is there.")
    content, folder = path.read_bytes(), path.parent if module is None else Path.cwd()
    return PythonModel(
        name,
        path=str(path.resolve()),
        module=module,
        factory=factory,
        sha256=hashlib.sha256(content).hexdigest(),
        import_from=str(folder.resolve()),
        timeout=timeout,
    )


def train(
    model: PythonModel,
    images: Images,
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    train: Indices,
    fold: Indices,
    seed: int,
) -> Learnt:
    """Train the model on the training split and in its folds, and bring it to its stored form.

    Parameters
    ----------
    images : all of them, uint8, shape (cases, side, side); ``train`` says which are learnt from.
    outcome, group, fold : of the training cases, shape (training,); ``fold`` counts from 0.

    Raises
    ------
    InputError : the model raises, takes too long, ends its process or gives something other than risks;
        the message names the model and the fold.
    """
    with tempfile.TemporaryDirectory(prefix="clineval-model-") as place:
        folder = Path(place)
        material: dict[str, NDArray[Any]] = {
            "images": images,
            "outcome": outcome.astype(np.int64),
            "group": np.unique(group, return_inverse=True)[1].astype(np.int64),
            "train": train,
            "fold": fold,
        }
        user_worker.write_arrays(folder / user_worker.MATERIAL, material)
        plan = {**vars(model), "seed": seed, "folds": int(fold.max()) + 1}
        (folder / user_worker.PLAN).write_text(json.dumps(plan), encoding="utf-8")
        _run(model, folder)
        result = user_worker.read_arrays(folder / user_worker.RESULT)
        risk, out_of_fold = (_drawn_in(result[name]) for name in ("risk", "out_of_fold"))
        facts = json.loads((folder / user_worker.FACTS).read_text(encoding="utf-8"))
        return _brought_to_stored_form(model, facts, folder / user_worker.GRAPH, images, risk, out_of_fold)


def refuse(record: Mapping[str, Any], *_: Any) -> Any:
    """A model that could not be stored has no stored form: always ValueError."""
    raise ValueError(f"it was not stored: {record.get('not_stored')}")


def _file_of(module: str) -> Path | None:
    """The file of a module, found without importing any package on the way."""
    places: Sequence[str] | None = [str(Path.cwd()), *sys.path]
    spec = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, places) if places else None
        places = list(spec.submodule_search_locations or ()) if spec else None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _run(model: PythonModel, folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "clineval.models.user_worker", str(folder)],
        stdin=subprocess.PIPE,  # which closes where this process ends, and so ends that one
        stdout=subprocess.DEVNULL,  # it may print what it likes
        stderr=subprocess.DEVNULL,
        env={**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "PYTHONHASHSEED": "0"},
        start_new_session=True,
    )
    try:
        late = _wait(process, folder, model.timeout)
    finally:
        _end(process)
    problem = _problem(process, folder, late=late, timeout=model.timeout)
    if problem:
        raise InputError(f"Model {model.name}, {_stage(folder)}: {problem}.")


ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def _wait(process: "subprocess.Popen[bytes]", folder: Path, timeout: float) -> bool:
    """Wait for the end; True where one stage takes longer than it may."""
    stage, began = _stage(folder), time.monotonic()
    while True:
        try:
            process.wait(POLL_SECONDS)
            return False
        except subprocess.TimeoutExpired:
            now = _stage(folder)
            if now != stage:
                stage, began = now, time.monotonic()
            elif time.monotonic() - began > timeout:
                return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and those that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, and so has its group
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _problem(process: "subprocess.Popen[bytes]", folder: Path, *, late: bool, timeout: float) -> str:
    if late:
        return f"it did not end within {timeout:g} s; allow more with --model-timeout"
    written = folder / user_worker.PROBLEM
    if written.is_file():
        return str(json.loads(written.read_text(encoding="utf-8")))
    if process.returncode == 0 and (folder / user_worker.FACTS).is_file():
        return ""
    how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit code {process.returncode}"
    return f"its process ended without a result ({how}), as it does where memory runs out"


def _stage(folder: Path) -> str:
    path = folder / user_worker.STAGE
    return path.read_text(encoding="utf-8") if path.is_file() else "starting"


def _drawn_in(risk: Floats) -> Floats:
    """Risks of next to 0 and 1 set to ``onnx_model.CERTAIN``, as those of stored graphs are."""
    return np.clip(risk, onnx_model.CERTAIN, 1 - onnx_model.CERTAIN)


def _brought_to_stored_form(
    model: PythonModel,
    facts: Mapping[str, Any],
    path: Path,
    images: Images,
    risk: Floats,
    out_of_fold: Floats,
) -> Learnt:
    about: dict[str, Any] = {"file": Path(model.path).name, "sha256": model.sha256, "factory": model.factory}
    reason = str(facts.get("reason", ""))
    if not reason:
        try:
            content = path.read_bytes()
            graph = open_given_graph(content)
            reading = onnx_model.reading_of(_completed(facts["described"], graph, images.shape[1]), graph)
            by_graph = onnx_model.OnnxModel(graph, reading).risk(View(images))
            difference = float(np.abs(by_graph - risk).max())
            if difference <= TOLERANCE:
                about |= {"origin": ORIGIN, "largest_difference": difference, "learnt_on": "train"}
                return Learnt(onnx_model.stored(content, vars(reading), about), by_graph, out_of_fold)
            reason = f"its graph gives risks that differ from its own by up to {difference:.2g}"
        except (OSError, KeyError, TypeError, ValueError) as error:
            reason = f"its graph cannot be used ({error})"
    about |= {"origin": NOT_STORED, "not_stored": reason, "learnt_on": "train"}
    return Learnt(Stored({"kind": "python", **about}, {}), risk, out_of_fold)


def _completed(described: Mapping[str, Any], graph: GivenGraph, side: int) -> dict[str, Any]:
    """What a model says of its graph, with the rest as the graph's own form suggests."""
    layout = {2: "flat", 3: "NHW", 4: "NCHW"}.get(len(graph.input.shape), "NHW")
    output = dict(described.get("output", {}))
    if len(graph.outputs) == 1 and graph.outputs[0].shape[1:] == (2,):
        output.setdefault("column", 1)
    return {"image": side, "layout": layout, **described, "output": output}
