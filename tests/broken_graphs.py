"""Changes to an ONNX graph that each make a file to be refused."""

from onnx import TensorProto, helper


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
