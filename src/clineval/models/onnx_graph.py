"""ONNX graphs made in memory and run on one thread: the only module that imports onnx and onnxruntime."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
        "anew: pip install --force-reinstall onnx onnxruntime"
    ) from error

OPSET, IR_VERSION = 17, 8  # what onnxruntime reads since 1.12
CHANNEL = np.array([1], np.int64)  # the axis of channels
ERRORS_ONLY = 3
MOST_GRAPH = 2**28  # bytes of a graph from a file
STANDARD = ("", "ai.onnx", "ai.onnx.ml")  # domains whose operators onnxruntime has itself


def one_thread_session(graph: bytes) -> onnxruntime.InferenceSession:
    """A graph ready to be run on one thread of the processor; safe to be asked by many threads at once."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


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
    """A graph from a file, checked, ready to be run on one thread."""

    input: Port
    outputs: tuple[Port, ...]
    session: Any

    def run(self, values: NDArray[Any], *, output: str) -> NDArray[Any]:
        """One output's value; ValueError where the graph cannot be run on these values."""
        try:
            return np.asarray(self.session.run([output], {self.input.name: values})[0])
        except Exception as error:  # onnxruntime has no common class of its errors
            raise ValueError(f"the graph cannot be run ({_first_line(error)})") from error


def open_given_graph(content: bytes) -> GivenGraph:
    """Check a graph from any source and open it; nothing in it can run code or reach another file.

    Raises
    ------
    ValueError : above 256 MiB, no ONNX, external data, an operator that is not standard, a tensor that
        claims more bytes than the file has, or not exactly one input.
    """
    if len(content) > MOST_GRAPH:
        raise ValueError(f"expected at most {MOST_GRAPH >> 20} MiB, got {len(content) >> 20} MiB")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # of protobuf, whose classes differ by version
        raise ValueError("it is no ONNX model") from error
    _require_standard(model)
    for tensor in _tensors(model.graph):
        _require_inside(tensor, len(content))
    own = {tensor.name for tensor in model.graph.initializer}
    inputs = [_port(each) for each in model.graph.input if each.name not in own]
    if len(inputs) != 1:
        raise ValueError(f"expected one input, got {len(inputs)} ({', '.join(each.name for each in inputs)})")
    try:
        session = one_thread_session(content)
    except Exception as error:
        raise ValueError(f"onnxruntime does not load it ({_first_line(error)})") from error
    return GivenGraph(inputs[0], tuple(map(_port, model.graph.output)), session)


def _require_standard(model: onnx.ModelProto) -> None:
    if model.functions or model.graph.sparse_initializer:
        raise ValueError("expected no functions and no sparse tensors of its own")
    odd = sorted({node.domain for node in _nodes(model.graph)} - set(STANDARD))
    if odd:
        raise ValueError(f"expected standard operators, got some of the domain {odd[0]!r:.60}")


def _require_inside(tensor: TensorProto, size: int) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(f"its weights are in another file ({tensor.name!r:.60}); save it as one file")
    claimed = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    if claimed > size or min(tensor.dims, default=0) < 0:
        raise ValueError(f"{tensor.name!r:.60} claims {claimed >> 20} MiB in a file of {size >> 10} KiB")


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from _nodes(inner)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors
        for inner in _subgraphs(node):
            yield from _tensors(inner)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _port(value: ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    shape = tuple(each.dim_value if each.HasField("dim_value") else None for each in tensor.shape.dim)
    element = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else "no tensor"
    return Port(value.name, element, shape)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
