"""ONNX graphs made in memory and run on one thread: the only module that imports onnx and onnxruntime."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError

# onnxruntime reads this when it is imported; later it has already looked up its host and written its files
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
try:
    import onnx
    import onnxruntime
    from onnx import NodeProto, TensorProto, helper, numpy_helper
except ImportError as error:  # left out, or of a build that this system does not load
    raise InputError(
        f"Networks are applied by onnx and onnxruntime, which cannot be loaded here ({error}). Install them "
        "anew: pip install --force-reinstall onnx onnxruntime"
    ) from error

OPSET, IR_VERSION = 17, 8  # what onnxruntime reads since 1.12
CHANNEL = np.array([1], np.int64)  # the axis of channels
ERRORS_ONLY = 3


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
