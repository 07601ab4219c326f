"""The process in which a user's Python model is trained and asked: arrays in, arrays out."""

import copy
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import random
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import expit, softmax

from clineval.errors import InputError

MATERIAL, PLAN, STAGE = "material.safetensors", "plan.json", "stage.txt"
RESULT, FACTS, PROBLEM = "result.safetensors", "facts.json", "problem.json"
WHOLE = -1  # in place of a fold's number
TRIED = 64  # images by which the form that a torch module takes is found
CLOSE = 1e-4  # difference of a risk by which it is that form, and by which it is the same alone
ALONE = 8  # images that are asked for again, each by itself
MOST_TEXT = 300  # characters of a message from the user's code
ROUNDING = 1e-6  # by which a risk in single precision may pass 0 or 1
GROUPS = ("groups", "group")  # what the parameter of fit may be called
LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
PROGRAM = Path(__file__).resolve().parents[1]
INSTALLED = {"site-packages", "dist-packages"}  # folders of packages that a user installed
Images = NDArray[np.uint8]
Floats = NDArray[np.float64]


class Unfit(Exception):
    """What the model did is not what a model must do; the message says both."""


def work(folder: Path, factory: Callable[[int], Any] | None = None) -> bool:
    """Train the model of a plan as a whole and in each fold; write its risks, and its graphs if it has some.

    What goes wrong is written to ``problem.json`` in one sentence; the answer is then False.

    Parameters
    ----------
    factory : makes the model in this process; by default the plan says where to find it.
    """
    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    try:
        _work(folder, plan, factory)
    except BaseException as error:  # the user's code may raise anything, SystemExit too
        if factory is not None and isinstance(error, KeyboardInterrupt):
            raise  # of the user, at the terminal of this process
        ours = isinstance(error, Unfit | InputError)
        problem = str(error) if ours else _raised(error, plan)
        (folder / PROBLEM).write_text(json.dumps(problem[:MOST_TEXT].rstrip(".")), encoding="utf-8")
        return False
    return True


def graph_file(number: int) -> str:
    """Name of the graph of a fold's model, or of the whole training split's."""
    return "graph.onnx" if number == WHOLE else f"graph-{number}.onnx"


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def part_of(module: Any, words: str) -> Any:
    """What a module holds under a name, which may have dots; None where there is nothing."""
    for part in words.split("."):
        module = getattr(module, part, None)
    return module


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays of numbers by name."""
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file that ``write_arrays`` wrote."""
    return load_file(path)


def _work(folder: Path, plan: dict[str, Any], factory: Callable[[int], Any] | None) -> None:
    material = read_arrays(folder / MATERIAL)
    images, outcome, train = (material[name] for name in ("images", "outcome", "train"))
    group = material["group"].astype(str)  # by number: no name of a patient is in it
    _stage(folder, "loading")
    began, from_file = time.time(), factory is None
    factory = factory or _factory(plan)
    fold = material["fold"]

    def learn(inside: NDArray[np.bool_], asked: Images) -> tuple[Any, Floats]:
        model = _fitted(factory, images[train[inside]], outcome[inside], group[inside], plan["seed"])
        risk = _risk(model, asked)
        _refuse_company(model, asked, risk)
        return model, risk

    _stage(folder, "on the whole training split")
    model, risk = learn(np.ones(len(train), dtype=bool), images)
    _refuse_labels(risk)
    graphs = [_stored(model, folder / graph_file(WHOLE), images, risk)]
    out_of_fold, again = np.full(len(train), np.nan), None
    for number in range(plan["folds"]):
        words = f"fold {number + 1} of {plan['folds']}"
        _stage(folder, words)
        inside, asked = fold != number, images[train[fold == number]]
        part, out_of_fold[~inside] = learn(inside, asked)
        if "reason" not in graphs[-1]:
            graphs.append(_stored(part, folder / graph_file(number), asked, out_of_fold[~inside]))
        if number == 0 and plan["check_seed"]:
            _stage(folder, f"{words}, a second time")
            again = float(np.abs(learn(inside, asked)[1] - out_of_fold[~inside]).max())
    write_arrays(folder / RESULT, {"risk": risk, "out_of_fold": out_of_fold})
    facts = {
        "graphs": graphs,
        "seed_difference": again,
        "imports": _imports(plan, began) if from_file else {},
    }
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _stage(folder: Path, words: str) -> None:
    temporary = folder / f"{STAGE}.tmp"
    temporary.write_text(words, encoding="utf-8")
    os.replace(temporary, folder / STAGE)


def _factory(plan: dict[str, Any]) -> Callable[[int], Any]:
    path = Path(plan["path"])
    if not path.is_file():
        raise Unfit(
            f"{path.name} is not at the same place on this machine; put it there with what it imports"
        )
    if sha256_of(path) != plan["sha256"]:
        raise Unfit(f"{path.name} was changed while it was used; start again")
    sys.dont_write_bytecode = True  # nothing appears beside a user's file
    sys.path.insert(0, plan["import_from"])
    if plan["module"] is None:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise Unfit(f"{path.name} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(plan["module"])
    factory = part_of(module, plan["factory"])
    if not callable(factory):
        raise Unfit(f"expected a function {plan['factory']} in {path.name}, got {factory!r:.60}")
    return factory


def _imports(plan: dict[str, Any], began: float) -> dict[str, str]:
    """SHA-256 of each module of the user's that is loaded, besides the factory's file, by the module's name.

    Modules of Python, of this program and of installed packages are left out, but for those of the package
    that the factory is in. The hash is empty of a module that is no file, as in an archive, or whose file
    was written after the training ``began``: what was loaded is then not known.
    """
    own, found = (plan["module"] or "").partition(".")[0], {}
    for name, module in sorted(sys.modules.items()):
        # as the loader set it: torch has modules made of classes whose own attribute names no file
        path = Path(getattr(module, "__dict__", {}).get("__file__") or plan["path"]).resolve()
        if path != Path(plan["path"]) and (name.partition(".")[0] == own or not _is_installed(path)):
            known = path.is_file() and path.stat().st_mtime < began
            found[name] = sha256_of(path) if known else ""
    return found


def _is_installed(path: Path) -> bool:
    below = any(path.is_relative_to(place) for place in (*LIBRARIES, PROGRAM))
    return below or not INSTALLED.isdisjoint(path.parts)


def _fitted(
    factory: Callable[[int], Any],
    images: Images,
    outcome: NDArray[np.int64],
    group: NDArray[np.str_],
    seed: int,
) -> Any:
    random.seed(seed)
    np.random.seed(seed)  # for code without a generator of its own
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
        sys.modules["torch"].set_num_threads(1)
    model = factory(seed)
    if not callable(getattr(model, "fit", None)):
        raise Unfit(f"expected an object with fit(images, outcome), got {type(model).__name__}")
    wanted = [name for name in GROUPS if name in inspect.signature(model.fit).parameters]
    model.fit(images.copy(), outcome.copy(), **{name: group.copy() for name in wanted[:1]})
    return model


def _risk(model: Any, images: Images) -> Floats:
    """Risk of each image, shape (cases,); Unfit where the model gives something else."""
    if callable(getattr(model, "predict_proba", None)):
        values = _numbers(model.predict_proba(images.copy()), "predict_proba")
        risk = values[:, _column(model)] if values.shape == (len(images), 2) else values
    elif callable(getattr(model, "decision_function", None)):
        risk = expit(_numbers(model.decision_function(images.copy()), "decision_function"))
    else:
        raise Unfit("expected an object with predict_proba or decision_function, it has neither")
    risk = np.atleast_1d(risk)  # of one image, squeezed
    if risk.shape not in ((len(images),), (len(images), 1)):
        raise Unfit(
            f"expected risks of shape ({len(images)},) or ({len(images)}, 2) for {len(images)} images, got "
            f"{risk.shape}"
        )
    risk = risk.reshape(-1)
    bad = risk[~((risk >= -ROUNDING) & (risk <= 1 + ROUNDING))]
    if len(bad):
        raise Unfit(f"expected risks from 0 to 1, got {bad[0]:g} ({len(bad)} of {len(risk)} images)")
    _refuse_constant(risk)
    return risk


def _refuse_constant(risk: Floats) -> None:
    if len(risk) > 1 and np.ptp(risk) == 0:
        raise Unfit(f"gives the same risk, {risk[0]:g}, to all {len(risk)} images: it has learnt nothing")


def _refuse_company(model: Any, images: Images, risk: Floats) -> None:
    """Refuse a model that gives some of the images another risk alone, from the last to the first."""
    for place in np.unique(np.linspace(0, len(images) - 1, ALONE).astype(int))[::-1]:
        alone = _risk(model, images[place : place + 1])[0]
        if abs(alone - risk[place]) > CLOSE:
            raise Unfit(
                f"the risk of an image depends on the images beside it or on chance ({risk[place]:.4f} among "
                f"{len(images)}, {alone:.4f} alone)"
            )


def _numbers(values: Any, name: str) -> Floats:
    expected = f"expected numbers from {name}, got"
    if values is None or np.iscomplexobj(values) or np.ma.is_masked(values):
        what = "None" if values is None else "complex ones" if np.iscomplexobj(values) else "masked ones"
        raise Unfit(f"{expected} {what}")
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Unfit(f"{expected} {type(values).__name__} ({error})") from error


def _column(model: Any) -> int:
    """Where the condition, outcome 1, stands among the columns of ``predict_proba``."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return 1
    known = np.asarray(classes).tolist()
    if known not in ([0, 1], [1, 0]):
        raise Unfit(
            "expected the classes 0 and 1 in classes_, in the order of the columns of predict_proba, got "
            f"{known!r:.60}"
        )
    return int(known.index(1))


def refuse_uninformative(risk: Floats) -> None:
    """Refuse one risk for all images, and nothing but risks of next to 0 and 1. Raises Unfit."""
    _refuse_constant(risk)
    _refuse_labels(risk)


def _refuse_labels(risk: Floats) -> None:
    if set(np.unique(np.round(risk, 5))) <= {0.0, 1.0}:
        raise Unfit("gives labels (0 or 1), where risks are expected; use probabilities")


def _stored(model: Any, path: Path, images: Images, risk: Floats) -> dict[str, Any]:
    """How to read the graph that was written, or the reason why there is none.

    Parameters
    ----------
    images, risk : of the images, by the model as it is.
    """
    for words, write in WRITERS.items():
        try:
            described = write(model, path, images[:TRIED], risk[:TRIED])
        except Exception as error:  # of the user's code or a converter; the model is then not storable
            if path.is_file():
                path.unlink()
            return {"reason": f"{words} failed ({_first_line(error)})"}
        if described is not None:
            return {"described": described}
    return {"reason": "it has no to_onnx(path), is no torch module and skl2onnx does not convert it"}


def _own_graph(model: Any, path: Path, images: Images, risk: Floats) -> dict[str, Any] | None:
    if not callable(getattr(model, "to_onnx", None)):
        return None
    described = model.to_onnx(path)
    if not path.is_file():
        raise Unfit(f"to_onnx wrote no {path.name}")
    return described if isinstance(described, dict) else {}


FORMS: tuple[tuple[str, str, int], ...] = (
    ("NHW", "uint8", 1),
    ("NHW", "float32", 1),
    ("NCHW", "float32", 1),
    ("NHW", "float32", 255),
    ("NCHW", "float32", 255),
    ("flat", "float32", 1),
    ("flat", "float32", 255),
)
"""Layout, type and divisor of the grey levels that a torch module may take; NHW is NHWC in colour."""


def _by_torch(model: Any, path: Path, images: Images, risk: Floats) -> dict[str, Any] | None:
    """Of a fitted torch module, or of a skorch net that may end a pipeline.

    Among the forms of an image and the meanings of an output those are taken with which the module gives
    the risks that the model gave.
    """
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    module = getattr(last, "module_", last)
    if "torch" not in sys.modules:
        return None
    import torch

    if not isinstance(module, torch.nn.Module):
        return None
    module = copy.deepcopy(module).cpu().eval()
    for form in FORMS:
        holds = _meaning(module, _formed(images, form), risk)
        if holds is not None:
            _export(module, _formed(images[:1], form), path)
            layout, _, divide_by = form
            layout = "NHWC" if layout == "NHW" and images.ndim == 4 else layout
            return {"layout": layout, "scaling": {"divide_by": divide_by}, "output": {"holds": holds}}
    raise Unfit("its module alone does not give the risks of predict_proba; write a to_onnx(path)")


def _formed(images: Images, form: tuple[str, str, int]) -> NDArray[Any]:
    layout, element, divide_by = form
    values: NDArray[Any] = images if element == "uint8" else (images / divide_by).astype(np.float32)
    if layout == "NCHW":
        return values[:, None] if values.ndim == 3 else np.moveaxis(values, -1, 1).copy()
    return values.reshape(len(values), -1) if layout == "flat" else values.copy()


def _meaning(module: Any, values: NDArray[Any], risk: Floats) -> str | None:
    """What the module's output holds where it gives these risks: probability, logit or logits; else None."""
    import torch

    try:
        with torch.no_grad():
            given = module(torch.from_numpy(values)).double().numpy().reshape(len(values), -1)
    except Exception:  # it takes images of another form
        return None
    if given.shape[1] == 1:
        meanings = {"probability": given[:, 0], "logit": expit(given[:, 0])}
    elif given.shape[1] == 2:
        meanings = {"probability": given[:, 1], "logits": softmax(given, axis=1)[:, 1]}
    else:
        return None
    return next((name for name, each in meanings.items() if np.abs(each - risk).max() <= CLOSE), None)


def _export(module: Any, one: NDArray[Any], path: Path) -> None:
    import torch.onnx

    torch.onnx.export(
        module,
        (torch.from_numpy(one),),
        str(path),
        input_names=["images"],
        output_names=["risk"],
        dynamic_axes={"images": {0: "cases"}, "risk": {0: "cases"}},
        dynamo=False,  # the other exporter needs a further package
    )


def _by_skl2onnx(model: Any, path: Path, images: Images, risk: Floats) -> dict[str, Any] | None:
    """Of a scikit-learn classifier of flat pixels, after a first step that flattens them."""
    if "sklearn" not in sys.modules or importlib.util.find_spec("skl2onnx") is None:
        return None
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    if not isinstance(model, BaseEstimator) or not hasattr(model, "predict_proba"):
        return None
    if isinstance(model, Pipeline) and isinstance(model.steps[0][1], FunctionTransformer):
        model = Pipeline(model.steps[1:])
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    pixels = [("images", FloatTensorType([None, images[0].size]))]
    graph = to_onnx(model, initial_types=pixels, options={"zipmap": False}, target_opset=17)
    path.write_bytes(graph.SerializeToString())
    column = _column(model)
    return {"layout": "flat", "output": {"name": graph.graph.output[1].name, "column": column}}


WRITERS: dict[str, Callable[[Any, Path, Images, Floats], dict[str, Any] | None]] = {
    "its to_onnx": _own_graph,
    "torch's exporter": _by_torch,
    "skl2onnx": _by_skl2onnx,
}
"""What brings a model to a graph, in the order in which it is tried; None from one that cannot."""


def _raised(error: BaseException, plan: dict[str, Any]) -> str:
    """An exception of the user's code: its kind, its first line, and where in the user's file it arose."""
    here = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == Path(plan["path"]).resolve()
    ]
    where = f" ({Path(plan['path']).name}, line {here[-1].lineno})" if here else ""
    if isinstance(error, ImportError) and "no known parent package" in str(error):
        where += "; write 'import sibling', or give it as package.module:FACTORY"
    return f"raised {type(error).__name__}: {_first_line(error)}"[: MOST_TEXT - len(where)] + where


def _first_line(error: BaseException) -> str:
    try:
        return next(_lines(str(error)), "no message")
    except Exception:  # the user's own exception cannot say what it is
        return "no message"


def _lines(text: str) -> Iterator[str]:
    return (line.strip()[:MOST_TEXT] for line in text.splitlines() if line.strip())
