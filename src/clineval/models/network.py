"""The convolutional networks in their stored form: checked weights, applied as ONNX graphs.

``network_training`` has the same architecture for training; a test holds the two together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clineval.models.onnx_graph import Graph, one_thread_session
from clineval.models.preprocessing import Images, View
from clineval.models.stored import Arrays, Floats, Shapes, Stored, positive, real

ARCHITECTURE = "depthnet-3"  # changes with anything that changes what weights mean
GRID = 14  # rows and columns after the stem, whatever the size of the image
WIDTH = 16  # channels after the stem; multiples of 16 fill the vector units
BLOCKS = 3  # of WIDTH, 2 WIDTH and 4 WIDTH channels
EPSILON = 1e-5  # of torch's batch normalisation
BATCH = 16  # images seen at once: their maps stay in the processor's cache
MOST_MEMBERS = 1000  # of a stored ensemble
EDGES = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)  # a line on every side of each map
BLUR = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]).astype(np.float32)

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Network:
    """One trained network.

    Attributes
    ----------
    weights : its arrays by their torch names, as ``member_shapes`` lists them.
    mean, sd : of the grey levels (0 to 1 scale) of its training images.
    """

    weights: Weights
    mean: float
    sd: float

    def risk(self, view: View) -> Floats:
        """Risk of each image, shape (cases,): the mean over image and mirror image, or one of them."""
        return np.mean([self._one_way(view.images, mirrored) for mirrored in view.mirrored], axis=0)

    def log_odds(self, images: Images) -> NDArray[np.float32]:
        """Log odds of the condition, shape (cases,), of images as they are."""
        whole = np.ascontiguousarray(images)
        parts = [whole[start : start + BATCH] for start in range(0, len(whole), BATCH)]
        found = [self._session.run(None, {"images": part})[0][:, 0] for part in parts]
        return np.concatenate([np.empty(0, np.float32), *found])

    def _one_way(self, images: Images, mirrored: bool) -> Floats:
        return expit(self.log_odds(images[:, :, ::-1] if mirrored else images).astype(np.float64))

    @cached_property
    def _session(self) -> Any:
        return one_thread_session(onnx_graph(self.weights, mean=self.mean, sd=self.sd))


@dataclass(frozen=True)
class Networks:
    """An ensemble: the mean risk of several networks, or of one."""

    members: tuple[Network, ...]

    def risk(self, view: View) -> Floats:
        """Risk of each image, shape (cases,)."""
        return np.mean([member.risk(view) for member in self.members], axis=0)


@dataclass(frozen=True)
class LearningCurve:
    """How one member learnt, epoch by epoch (epochs are counted from 1).

    Attributes
    ----------
    train_loss : mean cross-entropy of the augmented training images (labels smoothed), per epoch.
    val_loss : cross-entropy of the averaged weights on the validation split; empty where not watched.
    best_epoch : epoch of the smallest validation loss; None where not watched.
    stopped_epoch : last epoch trained.
    kept_epoch : epoch whose weights were kept.
    fired : whether early stopping ended the training or changed the weights kept.
    """

    seed: int
    fold: int
    train_loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    best_epoch: int | None
    stopped_epoch: int
    kept_epoch: int
    fired: bool


def join(parts: Sequence[Stored]) -> Stored:
    """The ensemble of the members of several ensembles, in order."""
    members = [(part, number) for part in parts for number in range(len(part.record["members"]))]
    arrays = {
        f"{_prefix(place)}{name}": array
        for place, (part, number) in enumerate(members)
        for name, array in _member_arrays(part.arrays, number).items()
    }
    record = {**parts[0].record, "members": [part.record["members"][number] for part, number in members]}
    return Stored(record, arrays)


def stored(network: Network) -> Stored:
    """An ensemble of this one network in its stored form."""
    record = {
        "architecture": ARCHITECTURE,
        "members": [{"scaling": {"mean": network.mean, "sd": network.sd, "learnt_on": "train"}}],
    }
    return Stored(record, {_prefix(0) + name: array for name, array in network.weights.items()})


def shapes(record: Mapping[str, Any], height: int, width: int) -> Shapes:
    """The arrays of a stored ensemble; ValueError where its record is not one of this architecture."""
    if record["architecture"] != ARCHITECTURE:
        raise ValueError(f"architecture {record['architecture']!r}; this version has {ARCHITECTURE}")
    if not 1 <= len(record["members"]) <= MOST_MEMBERS:
        raise ValueError(f"{len(record['members'])} members, not 1 to {MOST_MEMBERS}")
    one = member_shapes(height, width)
    return {
        _prefix(number) + name: shape
        for number in range(len(record["members"]))
        for name, shape in one.items()
    }


def read(record: Mapping[str, Any], arrays: Arrays) -> Networks:
    """The ensemble from its stored form; ValueError where a scale or a variance is not one."""
    return Networks(
        tuple(
            Network(
                _checked(_member_arrays(arrays, number)),
                mean=real(member["scaling"]["mean"]),
                sd=positive(member["scaling"]["sd"]),
            )
            for number, member in enumerate(record["members"])
        )
    )


def stride_of(height: int, width: int) -> int:
    """The stem's stride, which brings an image of any size to about 14 x 14 cells."""
    return max(1, round(min(height, width) / GRID))


def rows_of(height: int, width: int) -> int:
    """Rows of the last maps, which the head keeps apart."""
    rows = height
    for step in (stride_of(height, width), 2, 2):
        rows = (rows - 1) // step + 1
    return rows


def member_shapes(height: int, width: int) -> Shapes:
    """The arrays of one network by their torch names, for images of that size."""
    side = 2 * stride_of(height, width) + 1
    found: Shapes = {
        "stem.weight": (WIDTH, 1, side, side),
        **_norm_shapes("stem_norm", WIDTH),
        "head.weight": (2, 4 * WIDTH * rows_of(height, width)),
        "head.bias": (2,),
    }
    for number in range(BLOCKS):
        inside, outside, name = WIDTH * 2 ** max(0, number - 1), WIDTH * 2**number, f"blocks.{number}"
        found[f"{name}.first.weight"] = (outside, inside, 3, 3)
        found[f"{name}.second.weight"] = (outside, outside, 3, 3)
        found |= _norm_shapes(f"{name}.first_norm", outside) | _norm_shapes(f"{name}.second_norm", outside)
        if outside > inside:
            found[f"{name}.shortcut.0.weight"] = (outside, inside, 1, 1)
            found |= _norm_shapes(f"{name}.shortcut.1", outside)
    return found


def onnx_graph(weights: Weights, *, mean: float, sd: float) -> bytes:
    """A network as an ONNX model: uint8 ``images`` (cases, height, width) to ``log_odds`` (cases, 1)."""
    graph = Graph()
    centred = graph.add("Sub", graph.grey("images"), graph.constant(np.array(255 * mean, np.float32)))
    scaled = graph.add("Div", centred, graph.constant(np.array(255 * sd, np.float32)))
    stride = (weights["stem.weight"].shape[2] - 1) // 2
    maps = graph.add("Relu", _convolution(graph, scaled, weights, "stem", "stem_norm", stride=stride))
    for number in range(BLOCKS):
        maps = _block(graph, maps, weights, f"blocks.{number}")
    depth = graph.add("Flatten", graph.add("ReduceMean", maps, axes=[3], keepdims=0))
    head, bias = (weights[f"head.{part}"][1] - weights[f"head.{part}"][0] for part in ("weight", "bias"))
    answer = graph.add("Gemm", depth, graph.constant(head[:, None]), graph.constant(bias[None]))
    return graph.finished([answer], name="depthnet", image=("height", "width"), output=("log_odds", 1))


def _block(graph: Graph, maps: str, weights: Weights, name: str) -> str:
    """Two convolutions and a shortcut around them; where that has weights, the maps are halved first."""
    halves = f"{name}.shortcut.0.weight" in weights
    if halves:
        maps = _halved(graph, maps, channels=weights[f"{name}.first.weight"].shape[1])
    inner = graph.add("Relu", _convolution(graph, maps, weights, f"{name}.first", f"{name}.first_norm"))
    inner = _convolution(graph, inner, weights, f"{name}.second", f"{name}.second_norm")
    shortcut = (f"{name}.shortcut.0", f"{name}.shortcut.1")
    around = _convolution(graph, maps, weights, *shortcut) if halves else maps
    return graph.add("Relu", graph.add("Add", inner, around))


def _halved(graph: Graph, maps: str, *, channels: int) -> str:
    """Every second row and column after a blur of 1 2 1 in both directions, edges repeated."""
    edged = graph.add("Pad", maps, graph.constant(EDGES), mode="edge")
    blur = graph.constant(np.tile(BLUR, (channels, 1, 1, 1)))
    return graph.add("Conv", edged, blur, kernel_shape=[3, 3], strides=[2, 2], group=channels)


def _convolution(graph: Graph, maps: str, weights: Weights, name: str, norm: str, *, stride: int = 1) -> str:
    """A convolution with the normalisation after it folded in; half a kernel of zeros around the maps."""
    spread = np.sqrt(weights[f"{norm}.running_var"].astype(np.float64) + EPSILON)
    gain = weights[f"{norm}.weight"] / spread
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain
    kernel = weights[f"{name}.weight"].astype(np.float64) * gain[:, None, None, None]
    side = kernel.shape[2]
    return graph.add(
        "Conv",
        maps,
        graph.constant(kernel.astype(np.float32)),
        graph.constant(bias.astype(np.float32)),
        kernel_shape=[side, side],
        strides=[stride, stride],
        pads=[side // 2] * 4,
    )


def _checked(weights: Arrays) -> Arrays:
    negative = [name for name, values in weights.items() if name.endswith("running_var") and values.min() < 0]
    if negative:
        raise ValueError(f"a variance below 0 in {negative[0]}")
    return {name: values.astype(np.float32, copy=False) for name, values in weights.items()}


def _member_arrays(arrays: Arrays, number: int) -> Arrays:
    prefix = _prefix(number)
    return {name.removeprefix(prefix): one for name, one in arrays.items() if name.startswith(prefix)}


def _prefix(number: int) -> str:
    return f"member{number}."


def _norm_shapes(name: str, channels: int) -> Shapes:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
