"""Changes to an ONNX graph that each make a file to be refused."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def external(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def claiming(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.dims[:] = [2**29]


def custom(model):
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def two_outputs(model):
    model.graph.output.append(helper.make_tensor_value_info("log_odds", TensorProto.FLOAT, ["cases", 1]))


def endless(model):
    body = helper.make_graph(
        [helper.make_node("Identity", [one], [other]) for one, other in (("go", "on"), ("in", "out"))],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("in", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("out", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "turns"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node[2].output[0] = "once"
    model.graph.node.append(helper.make_node("Loop", ["turns", "yes", "once"], ["risk"], body=body))
