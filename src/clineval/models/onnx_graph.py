"""ONNX graphs made in memory and run on one thread: the only module that imports onnx and onnxruntime."""

import math
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError

# onnxruntime reads this when it is imported; later it has already looked up its host and written its files
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
try:
    import onnx
    import onnxruntime
    from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
except ImportError as error:  # left out, or of a build that this system does not load
    raise InputError(
        f"Networks are applied by onnx and onnxruntime, which cannot be loaded here ({error}). Install them "
        "again: pip install --force-reinstall onnx onnxruntime"
    ) from error

OPSET, IR_VERSION = 17, 8  # what onnxruntime reads since 1.12
CHANNEL = np.array([1], np.int64)  # the axis of channels
ERRORS_ONLY, SILENT = 3, 4
MOST_GRAPH = 2**28  # bytes of a graph from a file
MOST_MEMORY = 2**32  # bytes that graphs from files compute with, all at once
MOST_AT_ONCE = 8  # of their runs: each has its share of that memory on a machine of any size
MOST_SECONDS = 60.0  # of one run
_ends: ContextVar[float] = ContextVar("ends", default=math.inf)  # when all runs must have ended
LOOK_EVERY = 0.1  # seconds between two looks at the clock
_SOURCE = r"^\[ONNXRuntimeError\] : \d+ : \w+ : (/\S+:\d+ .*?\) )?"  # of its messages: where they arose
_NEWEST_OPSET = r"for domain (\S+) is till opset (\d+)"
_NEWEST_IR = r"max supported IR version: (\d+)"
STANDARD = ("", "ai.onnx", "ai.onnx.ml")  # domains whose operators onnxruntime has itself
RANDOM = (
    "RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike", "Multinomial", "Bernoulli",
)  # fmt: skip


def one_thread_session(graph: bytes) -> onnxruntime.InferenceSession:
    """A graph ready to be run on one thread of the processor; safe to be asked by many threads at once."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


_arena = onnxruntime.OrtMemoryInfo(
    "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
)
onnxruntime.create_and_register_allocator(_arena, onnxruntime.OrtArenaCfg({"max_mem": MOST_MEMORY}))
_places = threading.BoundedSemaphore(MOST_AT_ONCE)


class OutOfTime(Exception):
    """Graphs from files did not end within the seconds that they had together."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """In the block, graphs from files have so many seconds together: OutOfTime where that is not enough."""
    token = _ends.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends.reset(token)


class _Clock:
    """Ends runs that take longer than they may; one thread watches all of them."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[float, Any]] = {}
        self._any, self._starting = threading.Event(), threading.Lock()
        self._thread = threading.Thread()

    @contextmanager
    def watching(self, options: Any) -> Iterator[None]:
        """While the block runs it has a deadline, after which its options say that it must end."""
        self._running[id(options)] = (min(time.monotonic() + MOST_SECONDS, _ends.get()), options)
        self._any.set()
        if not self._thread.is_alive():
            self._start()
        try:
            yield
        finally:
            del self._running[id(options)]

    def _start(self) -> None:
        with self._starting:
            if not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while self._any.wait():
            time.sleep(LOOK_EVERY)
            for deadline, options in list(self._running.values()):
                if time.monotonic() > deadline:
                    options.terminate = True
            self._any.clear()
            if self._running:
                self._any.set()


_clock = _Clock()


def _bounded_session(graph: bytes) -> onnxruntime.InferenceSession:
    """The same for a graph from a file: within ``MOST_MEMORY``, and nothing of it is computed on loading."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(
        graph,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["ConstantFolding"],
        enable_fallback=0,  # which tries again and prints
    )


class Graph:
    """An ONNX graph under way; each node's output goes by its number.

    Graphs are made in memory from arrays that were checked, so that no file in another format is trusted.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One more operation; the name of its output."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, values: NDArray[np.generic]) -> str:
        """One more array of weights; its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def grey(self, images: str) -> str:
        """Images of whole grey levels as float32, one channel each."""
        return self.add("Unsqueeze", self.add("Cast", images, to=TensorProto.FLOAT), self.constant(CHANNEL))

    def finished(
        self, parts: Sequence[str], *, name: str, image: tuple[int | str, int | str], output: tuple[str, int]
    ) -> bytes:
        """The checked model: uint8 ``images`` (cases, *image) to float32 (cases, columns), part by part.

        ``output`` is the name of the answer and how many columns it has.
        """
        answer, columns = output
        self.nodes.append(helper.make_node("Concat", list(parts), [answer], axis=1))
        whole = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("images", TensorProto.UINT8, ["cases", *image])],
            [helper.make_tensor_value_info(answer, TensorProto.FLOAT, ["cases", columns])],
            self.constants,
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(whole, opset_imports=[opset], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model.SerializeToString()


@dataclass(frozen=True)
class Port:
    """An input or output of a graph: its elements (``uint8``, ``float32``) and its shape, None where open."""

    name: str
    element: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class GivenGraph:
    """A graph from a file, checked, ready to be run on one thread; ``content`` are the file's bytes."""

    input: Port
    outputs: tuple[Port, ...]
    session: Any
    content: bytes = field(repr=False)

    def run(self, values: NDArray[Any], *, output: str) -> NDArray[Any]:
        """One output's value, of floating-point numbers.

        Raises
        ------
        ValueError : the graph cannot be run on these values, takes more than a minute or more than its share
            of the memory, or gives no such numbers.
        OutOfTime : as ``within`` says.
        """
        _refuse_late()
        options = onnxruntime.RunOptions()
        options.log_severity_level = SILENT
        try:
            with _places, _clock.watching(options):
                answer = np.asarray(self.session.run([output], {self.input.name: values}, options)[0])
        except Exception as error:  # onnxruntime has no common class of its errors
            if options.terminate:
                _refuse_late()
                raise ValueError(f"the graph takes longer than {MOST_SECONDS:g} s for an image") from error
            raise ValueError(f"the graph cannot be run ({_first_line(error)})") from error
        if answer.dtype.kind != "f":
            raise ValueError(f"expected floating-point numbers from {output}, got {answer.dtype}")
        return answer


def _refuse_late() -> None:
    if time.monotonic() > _ends.get():
        raise OutOfTime


def open_given_graph(content: bytes) -> GivenGraph:
    """Check a graph from any source and open it; nothing in it can run code or reach another file.

    Raises
    ------
    ValueError : above 256 MiB, no ONNX, external data, an operator that is not standard or is random, a
        tensor that claims more bytes than the file has, or not exactly one input.
    """
    if not content:
        raise ValueError("it is empty")
    if len(content) > MOST_GRAPH:
        raise ValueError(f"expected at most {MOST_GRAPH >> 20} MiB, got {len(content) >> 20} MiB")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # of protobuf, whose classes differ by version
        raise ValueError("it is no ONNX model") from error
    graphs = tuple(_graphs(model.graph))
    _require_standard(model, graphs)
    for tensor in _tensors(graphs):
        _require_inside(tensor, len(content))
    _require_certain(graphs)
    own = {tensor.name for tensor in model.graph.initializer}
    inputs = [_port(each) for each in model.graph.input if each.name not in own]
    if len(inputs) != 1:
        named = in_names([each.name for each in inputs]) or "none"
        raise ValueError(f"expected one input, got {len(inputs)} ({named})")
    try:
        session = _bounded_session(content)
    except Exception as error:
        reason = _too_new(model, str(error)) or f"onnxruntime does not load it ({_first_line(error)})"
        raise ValueError(reason) from error
    return GivenGraph(inputs[0], tuple(map(_port, model.graph.output)), session, content)


def in_names(names: Sequence[str]) -> str:
    """Names from a file between commas."""
    return _printable(", ".join(names))


def _printable(text: str) -> str:
    """A text from a file; what would steer a terminal, or begin a new line, is written out."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


WEIGHTED = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "InstanceNormalization", "PRelu",
    "LayerNormalization", "LSTM", "GRU", "RNN", "Add", "Mul", "Sub", "Transpose", "Identity", "Cast",
    "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "DequantizeLinear",
)  # fmt: skip
"""Operators whose constant inputs are what was learnt; those of others may be sizes, bounds or axes."""
LEARNT = ("coefficients", "class_weights", "target_weights", "nodes_values")
"""What was learnt by the machines and trees of ai.onnx.ml, which keep it in attributes."""


def count_layers(content: bytes) -> int:
    """How many operations of a checked graph have learnt weights of their own that can be shuffled."""
    return len(_layers(onnx.load_model_from_string(content).graph))


def shuffle_layers(content: bytes, *, layers: int, seed: int) -> bytes:
    """A checked graph with the weights of its last so many layers shuffled, each array within itself."""
    model = onnx.load_model_from_string(content)
    rng = np.random.default_rng(seed)
    for weights in _layers(model.graph)[:layers]:
        for one in weights:
            if isinstance(one, TensorProto):
                values = numpy_helper.to_array(one)
                shuffled = rng.permutation(values.ravel()).reshape(values.shape)
                one.CopyFrom(numpy_helper.from_array(shuffled, one.name))
            else:
                one.floats[:] = rng.permutation(np.array(one.floats)).tolist()
    return bytes(model.SerializeToString())


def _layers(graph: GraphProto) -> list[list[Any]]:
    """The learnt tensors and attributes of each operation that has some, from the output down."""
    constants = {each.name: each for each in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.type == AttributeProto.TENSOR
    }
    seen: set[str] = set()
    found = []
    for node in reversed(graph.node):
        names = [name for name in node.input if name in constants and name not in seen]
        own = [constants[name] for name in names if node.op_type in WEIGHTED]
        weights: list[Any] = [each for each in own if _can_be_shuffled(each)]
        weights += [each for each in node.attribute if each.name in LEARNT and len(each.floats) > 1]
        if weights:
            found.append(weights)
            seen.update(names)
    return found


def _can_be_shuffled(tensor: TensorProto) -> bool:
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type).kind
    return math.prod(tensor.dims) > 1 and (kind == "f" or (kind in "iu" and len(tensor.dims) > 1))


def _require_standard(model: onnx.ModelProto, graphs: Sequence[GraphProto]) -> None:
    nodes = [node for graph in graphs for node in graph.node]
    kinds = {attribute.type for node in nodes for attribute in node.attribute}
    sparse = kinds & {AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS}
    if model.functions or sparse or any(graph.sparse_initializer for graph in graphs):
        raise ValueError("expected no functions and no sparse tensors of its own")
    odd = sorted({node.domain for node in nodes} - set(STANDARD))
    if odd:
        raise ValueError(f"expected standard operators, got some of the domain {odd[0]!r:.60}")


def _require_certain(graphs: Sequence[GraphProto]) -> None:
    nodes = [node for graph in graphs for node in graph.node]
    constants = {each.name: each for graph in graphs for each in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in nodes
        if node.op_type == "Constant" and node.output
        for attribute in node.attribute
    }
    for node in nodes:
        training = node.input[2] if node.op_type == "Dropout" and len(node.input) > 2 else ""
        off = training in constants and not numpy_helper.to_array(constants[training]).any()
        if node.op_type in RANDOM or (training and not off):
            what = f"{node.op_type} in training mode" if training else node.op_type
            raise ValueError(f"expected the same risk at every call, got a random operator ({what})")


def _require_inside(tensor: TensorProto, size: int) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(f"its weights are in another file ({tensor.name!r:.60}); save it as one file")
    try:
        element = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:
        raise ValueError(f"{tensor.name!r:.60} is of an unknown type of numbers") from None
    claimed = math.prod(tensor.dims) * element.itemsize
    if claimed > size or min(tensor.dims, default=0) < 0:
        raise ValueError(f"{tensor.name!r:.60} claims {claimed >> 20} MiB in a file of {size >> 10} KiB")


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and every graph within it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (
                *([attribute.g] if attribute.type == AttributeProto.GRAPH else ()),
                *attribute.graphs,
            ):
                yield from _graphs(inner)


def _tensors(graphs: Sequence[GraphProto]) -> Iterator[TensorProto]:
    for graph in graphs:
        yield from graph.initializer
        for attribute in (each for node in graph.node for each in node.attribute):
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors


def _port(value: ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    shape = tuple(each.dim_value if each.HasField("dim_value") else None for each in tensor.shape.dim)
    try:
        element = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else "no tensor"
    except KeyError:
        element = "an unknown type of numbers"
    return Port(value.name, element, shape)


def _too_new(model: onnx.ModelProto, said: str) -> str:
    """That the installed onnxruntime is older than a graph's opset or IR version; empty where it is not."""
    of_domain, of_format = re.search(_NEWEST_OPSET, said), re.search(_NEWEST_IR, said)
    if of_domain is not None:
        given = {each.domain or "ai.onnx": each.version for each in model.opset_import}
        domain, newest = of_domain.groups()
        found = f"opset {given.get(domain, 'unknown')} of {domain}"
    elif of_format is not None:
        found, newest = f"IR version {model.ir_version}", of_format[1]
    else:
        return ""
    return (
        f"it is of {found}; onnxruntime {onnxruntime.__version__}, which is installed, reads up to {newest}. "
        f"Export it with opset {OPSET}, or install a newer onnxruntime"
    )


def _first_line(error: Exception) -> str:
    if "bfc_arena" in str(error):  # onnxruntime's own words name its source files
        return f"it needs more memory than the {MOST_MEMORY >> 30} GiB that such graphs have"
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _printable(re.sub(_SOURCE, "", line))[:200]
