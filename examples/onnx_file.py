"""Write blob.onnx and blob.json, a frozen model: clineval run --model blob=blob.onnx

It learns nothing: the darker an image's middle is than the whole, the higher the risk.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 28  # pixels


def weights():
    """Of each pixel: minus one over the middle, plus one over the whole, shape (784, 1)."""
    middle = np.zeros((SIDE, SIDE), np.float32)
    middle[10:18, 10:18] = 1 / 64
    return (np.full((SIDE, SIDE), 1 / SIDE**2, np.float32) - middle).reshape(-1, 1) * 8


def graph():
    """Images, float32 (cases, 1, 28, 28) from -1 to 1, to risks (cases, 1)."""
    nodes = [
        helper.make_node("Flatten", ["images"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weights"], ["log_odds"]),
        helper.make_node("Sigmoid", ["log_odds"], ["risk"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["cases", 1, SIDE, SIDE])
    risk = helper.make_tensor_value_info("risk", TensorProto.FLOAT, ["cases", 1])
    constants = [numpy_helper.from_array(weights(), "weights")]
    whole = helper.make_graph(nodes, "blob", [images], [risk], constants)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


READING = {
    "image": SIDE,
    "channels": 1,
    "layout": "NCHW",
    "scaling": {"divide_by": 255, "mean": 0.5, "sd": 0.5},
    "output": {"name": "risk", "column": 0, "holds": "probability"},
    "condition": "malignant",
}

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    onnx.save(graph(), folder / "blob.onnx")
    (folder / "blob.json").write_text(json.dumps(READING, indent=2) + "\n")
