"""A user's Python model: found without importing it, trained in a process of its own, stored as ONNX."""

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.data.cohort import grouped_folds
from clineval.errors import InputError, option
from clineval.models import onnx_model, training_process, user_worker
from clineval.models.onnx_graph import GivenGraph, open_given_graph
from clineval.models.preprocessing import Images
from clineval.models.stored import Floats, Stored
from clineval.models.training_process import Ending

TIMEOUT = 3600.0  # seconds that one training and its scoring may take
TOLERANCE = 1e-3  # difference of a risk above which a graph is not the model
ORIGIN = "own Python model"
NOT_STORED = "own Python model, not stored"
OTHER_RISKS = "risks of one seed differ"
SAME_RISKS = "same seed, same risks: checked"
Factory = Callable[[int], Any]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class PythonModel:
    """Where a model is made: ``factory(seed)`` of the file ``path``, imported as ``module`` where it has one.

    Attributes
    ----------
    import_from : folder from which the file imports what lies beside it.
    timeout : seconds that one training and its scoring may take; and the scoring by its graphs.
    check_seed : whether the first fold is trained twice, to see that the same seed gives the same risks.
    """

    name: str
    path: str
    module: str | None
    factory: str
    sha256: str
    import_from: str
    timeout: float
    check_seed: bool = False


@dataclass(frozen=True)
class Learnt:
    """A model learnt from the whole training split, and what it and its fold members give.

    Attributes
    ----------
    stored : the graph with its reading; without arrays where the model could not be stored.
    risk : of every image, by the stored form where there is one, shape (cases,).
    out_of_fold : of the training cases, by the models of the folds in the same form, shape (training,).
    seconds : of the processor, in the process that trained it; 0 where that was this one.
    """

    stored: Stored
    risk: Floats
    out_of_fold: Floats
    seconds: float = 0.0


def python_model(
    name: str, source: str, *, timeout: float = TIMEOUT, check_seed: bool = False
) -> PythonModel:
    """The model that ``FILE.py:FACTORY`` or ``package.module:FACTORY`` names; nothing is imported.

    Raises
    ------
    InputError : there is no such file or module, or the time is not above 0.
    """
    _refuse_within_training(name)
    where, _, factory = source.rpartition(":")
    if not where or not factory.isidentifier():
        raise InputError(
            f"Model {name} needs FILE.py:FACTORY, package.module:FACTORY or FILE.onnx; got {source!r:.120}."
        )
    _check_timeout(timeout)
    path, module = (Path(where), None) if where.endswith(".py") else (_file_of(where, Path.cwd()), where)
    if path is None or not path.is_file():
        raise InputError(f"Model {name}: there is no {where}; name a Python file or module that is there.")
    folder = path.parent if module is None else Path.cwd()
    return PythonModel(
        name,
        path=str(path.resolve()),
        module=module,
        factory=factory,
        sha256=user_worker.sha256_of(path),
        import_from=str(folder.resolve()),
        timeout=timeout,
        check_seed=check_seed,
    )


def callable_model(
    name: str, factory: Factory, *, timeout: float = TIMEOUT, check_seed: bool = False
) -> tuple[PythonModel, bool]:
    """The model that a function or class of a running program makes, and whether its file leads to it.

    Where it does, the model is trained in a process of its own, which imports that file. What no file
    leads to, such as a lambda or what a notebook defines, is never sent to another process.

    Raises
    ------
    InputError : it cannot be called, or the time is not above 0.
    """
    _refuse_within_training(name)
    _check_timeout(timeout)
    if not callable(factory):
        raise InputError(
            f"Model {name} needs a function of a seed, FILE.py:FACTORY or FILE.onnx; got {factory!r:.80}."
        )
    module = sys.modules.get(getattr(factory, "__module__", None) or "")
    path = _file_of_loaded(module)
    words: str = getattr(factory, "__qualname__", None) or type(factory).__qualname__
    imported = None if module is None or module.__name__ == "__main__" else module.__name__
    root = _import_root(path, imported) if path is not None else None
    model = PythonModel(
        name,
        path=str(path or ""),
        module=imported,
        factory=words,
        sha256=user_worker.sha256_of(path) if path is not None else "",
        import_from=str(root or ""),
        timeout=timeout,
        check_seed=check_seed,
    )
    return model, root is not None and user_worker.part_of(module, words) is factory


def _file_of_loaded(module: Any) -> Path | None:
    path = getattr(module, "__file__", None)
    return Path(path).resolve() if path is not None and Path(path).is_file() else None


def _import_root(path: Path, module: str | None) -> Path | None:
    """The folder from which a module's file is imported by its name; None where its place is another."""
    if module is None:
        return path.parent
    parts = module.split(".")
    place = path.parent if path.name == "__init__.py" else path.with_suffix("")
    return place.parents[len(parts) - 1] if place.parts[-len(parts) :] == tuple(parts) else None


def _check_timeout(timeout: float) -> None:
    if not timeout > 0:
        raise InputError(f"{option('--model-timeout')} needs seconds above 0; got {timeout:g}.")


def _refuse_within_training(name: str) -> None:
    """Refuse where this process is one that trains a model: importing the model's file began a run."""
    if os.environ.get(training_process.TRAINING) == "1":
        raise InputError(
            f"Model {name}: importing its file begins a run; put that under if __name__ == '__main__':"
        )


def train(
    model: PythonModel,
    images: Images,
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    train: Indices,
    folds: int,
    seed: int,
    factory: Factory | None = None,
) -> Learnt:
    """Train the model on the training split and in its folds, and bring it to its stored form.

    Parameters
    ----------
    images : all of them, uint8, shape (cases, side, side), or (cases, side, side, 3) where they are in
        colour; ``train`` says which are learnt from.
    outcome, group : of the training cases, shape (training,).
    folds : grouped folds of the training cases, 0 for none.
    factory : makes the model in this process, where no file leads to it.

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
        }
        known = outcome.astype(bool), material["group"]
        material["fold"] = (
            grouped_folds(*known, folds=folds, seed=seed) if folds else np.full(len(train), user_worker.WHOLE)
        )
        user_worker.write_arrays(folder / user_worker.MATERIAL, material)
        plan = {**vars(model), "seed": seed, "folds": folds}
        (folder / user_worker.PLAN).write_text(json.dumps(plan), encoding="utf-8")
        ending = _run(model, folder) if factory is None else _run_here(factory, folder)
        problem = _problem(ending, folder, timeout=model.timeout)
        if problem:
            raise InputError(f"Model {model.name}, {training_process.stage_of(folder)}: {problem}.")
        result = user_worker.read_arrays(folder / user_worker.RESULT)
        fitted = _Risks(*(_drawn_in(result[name]) for name in ("risk", "out_of_fold")))
        facts = json.loads((folder / user_worker.FACTS).read_text(encoding="utf-8"))
        learnt = _brought_to_stored_form(model, facts, folder, material, fitted)
        return replace(learnt, seconds=ending.seconds)


def refuse(record: Mapping[str, Any], *_: Any) -> Any:
    """A model that could not be stored has no stored form: always ValueError."""
    raise ValueError(f"it was not stored: {record.get('not_stored')}")


def changed_modules(model: PythonModel, record: Mapping[str, Any]) -> list[str]:
    """The modules of the user's that a recorded training loaded and that are others now, or gone.

    Nothing is imported.
    """

    def now(module: str) -> str:
        path = _file_of(module, Path(model.import_from))
        return user_worker.sha256_of(path) if path is not None else ""

    loaded = record.get("imports", {})
    return [module for module, sha256 in loaded.items() if not sha256 or now(module) != sha256]


def _file_of(module: str, folder: Path) -> Path | None:
    """The file of a module, looked for in a folder first; no package on the way to it is imported."""
    places: Sequence[str] = [str(folder), str(Path.cwd()), *sys.path]
    spec = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, places) if places and part.isidentifier() else None
        places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(spec.origin) if spec is not None and spec.origin else None


def _run(model: PythonModel, folder: Path) -> Ending:
    packages = training_process.packages_of(Path(model.path))
    return training_process.train(folder, timeout=model.timeout, packages=packages)


def _run_here(factory: Factory, folder: Path) -> Ending:
    """Train in this process, without a limit of time."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return Ending(int(not user_worker.work(folder, factory)))


def ready(models: Sequence[PythonModel]) -> contextlib.AbstractContextManager[None]:
    """While its block runs, processes for these models start at once: what their files import is loaded."""
    packages = [name for model in models for name in training_process.packages_of(Path(model.path))]
    return training_process.sharing(tuple(dict.fromkeys(packages))) if models else contextlib.nullcontext()


def _problem(ending: Ending, folder: Path, *, timeout: float) -> str:
    """What went wrong in a process that trained a model; empty where nothing did."""
    if ending.late:
        return f"it did not end within {timeout:g} s; allow more with {option('--model-timeout')}"
    written = folder / user_worker.PROBLEM
    if written.is_file():
        return str(json.loads(written.read_text(encoding="utf-8")))
    if ending.code == 0 and (folder / user_worker.FACTS).is_file():
        return ""
    if ending.code is None or ending.code == -signal.SIGKILL:
        return "its process was killed, as the system does where memory runs out"
    how = f"signal {-ending.code}" if ending.code < 0 else f"exit code {ending.code}"
    return f"its process ended without a result ({how})"


def _drawn_in(risk: Floats) -> Floats:
    """Risks of next to 0 and 1 set to ``onnx_model.CERTAIN``, as those of stored graphs are."""
    return np.clip(risk, onnx_model.CERTAIN, 1 - onnx_model.CERTAIN)


@dataclass(frozen=True)
class _Risks:
    """Of every image and, out of fold, of the training cases; clipped as those of graphs are."""

    whole: Floats
    out_of_fold: Floats


def _brought_to_stored_form(
    model: PythonModel,
    facts: Mapping[str, Any],
    folder: Path,
    material: Mapping[str, NDArray[Any]],
    fitted: _Risks,
) -> Learnt:
    """What the model gives by its graphs, where all of them are the models that were fitted."""
    about: dict[str, Any] = {
        "file": Path(model.path).name or None,
        "sha256": model.sha256 or None,
        "factory": model.factory,
        "imports": facts["imports"],
        "learnt_on": "train",
    }
    seed = facts["seed_difference"]
    if seed is not None:
        about["seed_difference"] = seed
    suffix = "" if seed is None else f", {OTHER_RISKS} by up to {seed:.2g}" if seed else f", {SAME_RISKS}"
    try:
        with onnx_model.scored_within(model.timeout, model.name):
            content, reading, by_graph = _by_graphs(facts["graphs"], folder, material)
        _check_alike(by_graph, fitted, TOLERANCE)
    except _NotStorable as reason:
        about |= {"origin": NOT_STORED + suffix, "not_stored": str(reason)}
        return Learnt(Stored({"kind": "python", **about}, {}), fitted.whole, fitted.out_of_fold)
    about |= {"origin": ORIGIN + suffix, "largest_difference": _difference(by_graph, fitted)}
    return Learnt(onnx_model.stored(content, vars(reading), about), by_graph.whole, by_graph.out_of_fold)


class _NotStorable(Exception):
    """Why a model counts as not stored."""


def _by_graphs(
    facts: Sequence[Mapping[str, Any]], folder: Path, material: Mapping[str, NDArray[Any]]
) -> tuple[bytes, onnx_model.Reading, _Risks]:
    """The graph of the whole split's model, its reading, and the risks by it and by those of the folds."""
    images, fold = material["images"], material["fold"]
    content, reading, whole = _by_graph(facts[0], folder / user_worker.graph_file(user_worker.WHOLE), images)
    out_of_fold = np.full(len(fold), np.nan)
    for number in range(int(fold.max()) + 1):
        asked = images[material["train"][fold == number]]
        try:
            _, _, out_of_fold[fold == number] = _by_graph(
                facts[number + 1], folder / user_worker.graph_file(number), asked
            )
        except _NotStorable as error:
            raise _NotStorable(f"of the model of fold {number + 1}, {error}") from error
    return content, reading, _Risks(whole, out_of_fold)


def _by_graph(
    facts: Mapping[str, Any], path: Path, images: Images
) -> tuple[bytes, onnx_model.Reading, Floats]:
    if "reason" in facts:
        raise _NotStorable(str(facts["reason"]))
    try:
        content = path.read_bytes()
        graph = open_given_graph(content)
        reading = onnx_model.reading_of(_completed(facts["described"], graph, images), graph)
        return content, reading, onnx_model.OnnxModel(graph, reading).of(images)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _NotStorable(f"its graph cannot be used ({error})") from error


def _difference(a: _Risks, b: _Risks) -> float:
    gaps = np.abs(np.concatenate([a.whole - b.whole, a.out_of_fold - b.out_of_fold]))
    return float(np.nanmax(gaps))


def _check_alike(by_graph: _Risks, fitted: _Risks, tolerance: float) -> None:
    difference = _difference(by_graph, fitted)
    if not difference <= tolerance:
        raise _NotStorable(f"its graph gives risks that differ from its own by up to {difference:.2g}")


def _completed(described: Mapping[str, Any], graph: GivenGraph, images: Images) -> dict[str, Any]:
    """What a model says of its graph, with the rest as the images and the graph's own form suggest."""
    shape, colour = graph.input.shape, images.ndim == 4
    last = "NHWC" if shape[-1:] == (3,) else "NCHW"
    layout = {2: "flat", 3: "NHW", 4: last}.get(len(shape), "NHW")
    known = {"image": images.shape[1], "layout": layout, **({"channels": 3} if colour else {})}
    output = dict(described.get("output", {}))
    if len(graph.outputs) == 1 and graph.outputs[0].shape[1:] == (2,):
        output.setdefault("column", 1)
    return {**known, **described, "output": output, "colour": colour}
