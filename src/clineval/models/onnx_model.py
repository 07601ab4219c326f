"""A classifier that is an ONNX graph from a file, read as the record beside it says."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from clineval.errors import InputError, option
from clineval.files import parse_json, read_regular
from clineval.models.onnx_graph import (
    MOST_GRAPH,
    GivenGraph,
    OutOfTime,
    Port,
    in_names,
    open_given_graph,
    within,
)
from clineval.models.preprocessing import Images, View
from clineval.models.stored import Arrays, Floats, Shapes, Stored, positive, real

LAYOUTS = {"NHW": 3, "NCHW": 4, "NHWC": 4, "flat": 2}  # and how many axes the graph's input then has
HOLDS = ("probability", "logit", "logits")
MOST_JSON = 2**16  # bytes of a record beside a graph
MOST_DIGITS = 100  # of a whole number in it
MOST_WORD = 100  # characters of the condition's name
LARGEST_INPUT = float(np.finfo(np.float32).max)
CERTAIN = 1e-6  # risks nearer to 0 or 1 are set to this: log loss and calibration need finite odds
TRAINED_ELSEWHERE = "trained elsewhere"
FROZEN = f"{TRAINED_ELSEWHERE}; thresholds from val"
KEYS = {
    "": ("image", "channels", "layout", "scaling", "output", "condition", "threshold"),
    "scaling": ("divide_by", "mean", "sd"),
    "output": ("name", "column", "holds"),
}
"""What a record beside a graph may say; a key misspelt would otherwise be a default."""


@dataclass(frozen=True)
class Reading:
    """How an image goes into a graph and its risk comes out.

    Attributes
    ----------
    image : pixels a side of the square images.
    channels : 1, or 3 of which each gets the grey image, or the image's own ``colour``.
    layout : NHW, NCHW, NHWC or flat.
    divide_by, mean, sd : the input is (grey level / divide_by - mean) / sd; one mean and sd a channel.
    output : name of the output; ``column`` of it that is the condition, ``holds`` what stands there:
        probability, logit (of the condition), or logits (of all columns, before softmax).
    """

    image: int
    channels: int
    layout: str
    divide_by: float
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    output: str
    column: int
    holds: str
    colour: bool = False


@dataclass(frozen=True)
class OnnxModel:
    """A graph ready to be asked, one image at a time: a risk depends on its image alone."""

    graph: GivenGraph
    reading: Reading
    name: str = "An ONNX model"

    def risk(self, view: View) -> Floats:
        """Risk of each image, shape (cases,).

        Raises
        ------
        InputError : the graph cannot be run on an image, or gives no risk.
        """
        return self.of(view.colour if self.reading.colour and view.colour is not None else view.images)

    def of(self, images: Images) -> Floats:
        """The same of images of shape (cases, side, side), or (cases, side, side, 3) in colour."""
        try:
            return np.array([self._one(image) for image in images], dtype=np.float64)
        except ValueError as error:
            raise InputError(f"{self.name} cannot score an image: {error}.") from error

    def _one(self, image: Images) -> float:
        values = self.graph.run(_prepared(image, self.reading, self.graph.input), output=self.reading.output)
        row = np.asarray(values, dtype=np.float64).reshape(-1)
        if row.size <= self.reading.column:
            raise ValueError(f"expected a column {self.reading.column}, got {row.size} of them")
        if self.reading.holds == "logits":
            row = softmax(row)
        risk = float(row[self.reading.column])
        risk = float(expit(risk)) if self.reading.holds == "logit" else risk
        if not -CERTAIN <= risk <= 1 + CERTAIN:
            raise ValueError(f"expected a risk from 0 to 1, got {risk:g}")
        return min(max(risk, CERTAIN), 1 - CERTAIN)


@dataclass(frozen=True)
class FrozenModel:
    """A graph in a file, by the name that the user gave it; its bytes are those of ``sha256``.

    ``timeout`` : seconds that it has to score all images of a run.
    """

    name: str
    path: str
    sha256: str
    reading: dict[str, Any]
    timeout: float = math.inf


@dataclass(frozen=True)
class OpenModel:
    """A graph in a file, ready to be asked, and what the record beside it says of it.

    ``condition`` and ``threshold`` are None where the record has none.
    """

    settings: FrozenModel
    classifier: OnnxModel
    condition: str | None
    threshold: float | None


def open_model(name: str, path: Path) -> OpenModel:
    """Check a graph and the record beside it (``model.json`` of ``model.onnx``) against each other.

    Raises
    ------
    InputError : a file is missing, damaged or too large, or the two do not fit each other.
    """
    beside = path.with_suffix(".json")
    content, described = _content(name, path), _described(name, beside)
    try:
        _require_known(described)
        graph = open_given_graph(content)
        reading = reading_of(described, graph)
        threshold = described.get("threshold")
        return OpenModel(
            FrozenModel(name, str(path), hashlib.sha256(content).hexdigest(), asdict(reading)),
            OnnxModel(graph, reading, f"Model {name}"),
            _word(described.get("condition")),
            None if threshold is None else _proportion(threshold),
        )
    except KeyError as error:
        raise InputError(f"Model {name}: {beside.name} lacks {error}.") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"Model {name}, {path.name}: {error}.") from error


def frozen_model(name: str, path: Path, *, side: int, condition: str, timeout: float) -> FrozenModel:
    """The settings of a graph in a file that is to score the images of a run.

    Parameters
    ----------
    side, condition : of these images.
    timeout : seconds to score all of them.

    Raises
    ------
    InputError : as ``open_model``, or it takes other images or gives the risk of another condition.
    """
    model, beside = open_model(name, path), path.with_suffix(".json").name
    takes, found = model.classifier.reading.image, model.condition
    if takes != side:
        raise InputError(
            f"Model {name} takes images of {takes} x {takes} pixels; those of this run have "
            f"{side} x {side}. Choose {option(f'--size {takes}', f'size={takes}')}, or another model."
        )
    if found is None:
        raise InputError(f"Model {name}: {beside} lacks 'condition', which this run checks.")
    if found != condition:
        raise InputError(
            f"Model {name} gives the risk of {found!r} ({beside}); the condition of "
            f"this run is {condition!r}. Correct the one that is wrong."
        )
    return replace(model.settings, timeout=timeout)


def fit(settings: FrozenModel) -> Stored:
    """The stored form of a frozen model: nothing is learnt.

    Raises
    ------
    InputError : the file is not the one that was checked.
    """
    path = Path(settings.path)
    content = _content(settings.name, path)
    if hashlib.sha256(content).hexdigest() != settings.sha256:
        raise InputError(f"Model {settings.name}: {path.name} was changed while it was used; start again.")
    about = {"origin": FROZEN, "file": path.name, "sha256": settings.sha256}
    return stored(content, settings.reading, about)


@contextmanager
def scored_within(timeout: float, name: str) -> Iterator[None]:
    """In the block, the graphs of a model have so many seconds together to score a run's images.

    Raises
    ------
    InputError : that was not enough.
    """
    try:
        with within(timeout):
            yield
    except OutOfTime:
        raise InputError(
            f"Model {name}, scoring the images by its graph: it did not end within {timeout:g} s; allow more "
            f"with {option('--model-timeout')}."
        ) from None


def stored(content: bytes, reading: Mapping[str, Any], about: Mapping[str, Any]) -> Stored:
    """A graph and its reading in the form in which a run keeps them."""
    record = {"kind": "onnx", "reading": dict(reading), "bytes": len(content), **about}
    return Stored(record, {"graph": np.frombuffer(content, np.uint8)})


def shapes(record: Mapping[str, Any], height: int, width: int) -> Shapes:
    """The arrays of a stored graph; ValueError where it is for other images."""
    if (height, width) != (record["reading"]["image"],) * 2:
        raise ValueError(f"images of {height} x {width} pixels")
    return {"graph": (int(record["bytes"]),)}


def read(record: Mapping[str, Any], arrays: Arrays) -> OnnxModel:
    """The model from its stored form; ValueError where graph and reading do not fit each other."""
    graph = open_given_graph(arrays["graph"].astype(np.uint8).tobytes())
    file = record.get("file")  # none of a function that no file leads to
    name = OnnxModel.name if file is None else f"The model of {file!r:.80}"
    return OnnxModel(graph, reading_of(_nested(record["reading"]), graph), name)


def reading_of(described: Mapping[str, Any], graph: GivenGraph) -> Reading:
    """What a record says of a graph, checked against the graph.

    Parameters
    ----------
    described : ``image`` and ``layout``; ``channels`` (1), ``scaling`` with ``divide_by``, ``mean`` and
        ``sd`` (grey levels as they are) and ``output`` with ``name`` (of several), ``column`` (of several)
        and ``holds`` (probability), where they are not as in brackets.

    Raises
    ------
    KeyError, TypeError, ValueError : something is missing, of another kind, or unlike the graph.
    """
    scaling, output = described.get("scaling", {}), described.get("output", {})
    if not isinstance(scaling, Mapping) or not isinstance(output, Mapping):
        raise TypeError("expected objects for scaling and output")
    channels = _whole(described.get("channels", 1), "channels")
    chosen = _output(graph, output.get("name"))
    reading = Reading(
        image=_whole(described["image"], "image"),
        channels=channels,
        layout=str(described["layout"]),
        divide_by=positive(scaling.get("divide_by", 1)),
        mean=_per_channel(scaling.get("mean", 0), channels, real),
        sd=_per_channel(scaling.get("sd", 1), channels, positive),
        output=chosen.name,
        column=_column(chosen, output.get("column")),
        holds=str(output.get("holds", HOLDS[0])),
        colour=_yes_or_no(described.get("colour", False)),
    )
    _check(reading, graph.input)
    return reading


def _require_known(described: Mapping[str, Any]) -> None:
    for name, keys in KEYS.items():
        given = described.get(name, {}) if name else described
        odd = sorted(set(given) - set(keys)) if isinstance(given, Mapping) else []
        if odd:
            raise ValueError(
                f"its record says {odd[0]!r:.60}{f' of {name}' if name else ''}, which is none of "
                f"{', '.join(keys)}"
            )


def _check(reading: Reading, port: Port) -> None:
    if reading.layout not in LAYOUTS or reading.holds not in HOLDS or reading.channels not in (1, 3):
        raise ValueError(
            f"expected a layout of {', '.join(LAYOUTS)}, an output that holds {', '.join(HOLDS)} and 1 or 3 "
            f"channels, got {reading.layout!r}, {reading.holds!r} and {reading.channels}"
        )
    side, channels = reading.image, reading.channels
    wanted = {
        "NHW": (side, side),
        "NCHW": (channels, side, side),
        "NHWC": (side, side, channels),
        "flat": (side * side * channels,),
    }[reading.layout]
    fixed = port.shape[1:]
    if len(port.shape) != LAYOUTS[reading.layout] or any(
        there is not None and there != here for there, here in zip(fixed, wanted, strict=False)
    ):
        raise ValueError(
            f"its record says images of shape {wanted} ({reading.layout}), the graph takes {fixed}"
        )
    if port.shape[0] not in (None, 1):
        raise ValueError(f"expected a graph for any number of images, got one for {port.shape[0]} at once")
    plain = (reading.divide_by, set(reading.mean), set(reading.sd)) == (1, {0}, {1})
    if port.element not in ("float32", "uint8") or (port.element == "uint8" and not plain):
        raise ValueError(f"expected float32 values, or uint8 without scaling, got {port.element}")
    scaled = [
        (level / reading.divide_by - mean) / sd
        for level in (0, 255)
        for mean, sd in zip(reading.mean, reading.sd, strict=True)
    ]
    if not all(abs(each) <= LARGEST_INPUT for each in scaled):
        raise ValueError("its record scales grey levels beyond the range of float32; correct its scaling")
    if channels != 3 and reading.colour:
        raise ValueError("expected 3 channels of images in colour, got 1")
    if reading.layout == "NHW" and channels != 1:
        raise ValueError("expected 1 channel in the layout NHW, got 3")


def _prepared(image: Images, reading: Reading, port: Port) -> NDArray[Any]:
    shown = image if image.ndim == 3 else np.repeat(image[..., None], reading.channels, axis=2)
    values: NDArray[Any] = shown[None]
    if port.element != "uint8":
        scaled = (values / reading.divide_by - np.array(reading.mean)) / np.array(reading.sd)
        values = scaled.astype(np.float32)
    if reading.layout == "NCHW":
        values = values.transpose(0, 3, 1, 2)
    elif reading.layout == "NHW":
        values = values[..., 0]
    elif reading.layout == "flat":
        values = values.reshape(1, -1)
    return np.ascontiguousarray(values)


def _output(graph: GivenGraph, name: Any) -> Port:
    names = [each.name for each in graph.outputs]
    if name is None and len(names) != 1:
        raise ValueError(
            f"the graph has {len(names)} outputs ({in_names(names)}); say which one holds the risk: "
            '"output": {"name": ...}'
        )
    if name is not None and name not in names:
        raise ValueError(f"the graph has no output {name!r:.60}, only {in_names(names)}")
    chosen = graph.outputs[0 if name is None else names.index(name)]
    if not chosen.element.startswith("float"):
        raise ValueError(f"expected risks, floating-point numbers, from {chosen.name}, got {chosen.element}")
    return chosen


def _column(port: Port, column: Any) -> int:
    columns = port.shape[1] if len(port.shape) > 1 else 1
    if column is None and columns == 1:
        return 0
    if column is None:
        raise ValueError(
            f"the output {port.name} has {columns or 'open'} columns; say which one is the condition: "
            '"output": {"column": ...}'
        )
    if isinstance(column, bool) or not isinstance(column, int) or not 0 <= column < (columns or 1000):
        raise ValueError(f"expected a column from 0 to {(columns or 1000) - 1}, got {column!r:.60}")
    return column


def _word(condition: Any) -> str | None:
    if condition is None:
        return None
    if not isinstance(condition, str) or not condition.strip() or not condition.isprintable():
        raise ValueError(f"expected printable words for the condition, got {condition!a:.60}")
    if len(condition) > MOST_WORD:
        raise ValueError(f"expected at most {MOST_WORD} characters for the condition, got {len(condition)}")
    return condition


def _proportion(threshold: Any) -> float:
    number = real(threshold)
    if not 0 <= number <= 1:
        raise ValueError(f"expected a threshold from 0 to 1, got {threshold!r:.60}")
    return number


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false for colour, got {value!r:.60}")
    return value


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1024:
        raise ValueError(f"expected a whole number from 1 to 1024 for {name}, got {value!r:.60}")
    return value


def _per_channel(value: Any, channels: int, checked: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list | tuple) else [value] * channels
    if len(values) != channels:
        raise ValueError(f"expected one mean and one sd for each of {channels} channels, got {len(values)}")
    return tuple(checked(each) for each in values)


def _nested(reading: Mapping[str, Any]) -> dict[str, Any]:
    """A stored reading in the form of the record that a user writes."""
    return {
        **{name: reading[name] for name in ("image", "channels", "layout")},
        "colour": reading.get("colour", False),
        "scaling": {name: reading[name] for name in ("divide_by", "mean", "sd")},
        "output": {"name": reading["output"], "column": reading["column"], "holds": reading["holds"]},
    }


def _content(name: str, path: Path) -> bytes:
    try:
        return read_regular(path, most=MOST_GRAPH)
    except OSError as error:
        raise InputError(f"Model {name}: {path} cannot be read ({error.strerror}).") from error
    except InputError as error:
        raise InputError(f"Model {name}: {error}") from error


def _described(name: str, path: Path) -> dict[str, Any]:
    try:
        described = parse_json(read_regular(path, most=MOST_JSON), parse_int=_integer)
    except FileNotFoundError:
        raise InputError(
            f"Model {name} needs {path.name} beside its graph, which says how images go in and risks come "
            "out: docs/my-models.md"
        ) from None
    except InputError as error:  # no regular file, or too large
        raise InputError(f"Model {name}: {error}") from error
    except OSError as error:
        raise InputError(f"Model {name}: {path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"Model {name}: {path.name} cannot be read as JSON ({error}).") from error
    if not isinstance(described, dict):
        raise InputError(f"Model {name}: {path.name} is not a JSON object.")
    return described


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)
