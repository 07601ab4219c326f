"""A stored network without torch: what arrays it has, and its layers with the normalisations folded in."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ARCHITECTURE = "depthnet-3"  # the one of clineval.learning.models that this is the twin of
GRID, WIDTH, BLOCKS = 14, 16, 3
EPSILON = 1e-5  # of torch's batch normalisation

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Convolution:
    """A convolution with the normalisation after it folded in.

    ``weights`` have shape (channels out, channels in, side, side); half a side of zeros surrounds the maps.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int = 1

    @property
    def side(self) -> int:
        """Rows and columns of the kernel."""
        return self.weights.shape[2]


@dataclass(frozen=True)
class Block:
    """Two convolutions and a shortcut around them; with one the maps are halved first."""

    first: Convolution
    second: Convolution
    shortcut: Convolution | None

    @property
    def channels_in(self) -> int:
        """Maps that the block takes."""
        return self.first.weights.shape[1]


@dataclass(frozen=True)
class PlainNetwork:
    """One member, ready to be applied.

    Attributes
    ----------
    mean, sd : of the grey levels (0 to 1 scale) of its training images.
    head : shape (channels * rows,), channels first: present minus absent.
    """

    mean: float
    sd: float
    stem: Convolution
    blocks: tuple[Block, ...]
    head: NDArray[np.float32]
    head_bias: float


def stride_of(height: int, width: int) -> int:
    """The stem's stride, which brings an image of any size to about 14 x 14 cells."""
    return max(1, round(min(height, width) / GRID))


def shapes_of(height: int, width: int) -> dict[str, tuple[int, ...]]:
    """The arrays of one member and their shapes, for images of that size."""
    stride, rows = stride_of(height, width), height
    for step in (stride, 2, 2):
        rows = (rows - 1) // step + 1
    shapes: dict[str, tuple[int, ...]] = {
        "stem.weight": (WIDTH, 1, 2 * stride + 1, 2 * stride + 1),
        **_norm_shapes("stem_norm", WIDTH),
        "head.weight": (2, 4 * WIDTH * rows),
        "head.bias": (2,),
    }
    for number in range(BLOCKS):
        inside, outside, name = WIDTH * 2 ** max(0, number - 1), WIDTH * 2**number, f"blocks.{number}"
        shapes[f"{name}.first.weight"] = (outside, inside, 3, 3)
        shapes[f"{name}.second.weight"] = (outside, outside, 3, 3)
        shapes |= _norm_shapes(f"{name}.first_norm", outside) | _norm_shapes(f"{name}.second_norm", outside)
        if outside > inside:
            shapes[f"{name}.shortcut.0.weight"] = (outside, inside, 1, 1)
            shapes |= _norm_shapes(f"{name}.shortcut.1", outside)
    return shapes


def plain_network(weights: Weights, *, mean: float, sd: float) -> PlainNetwork:
    """A member from its arrays by their torch names, as ``shapes_of`` lists them."""
    side = weights["stem.weight"].shape[2]
    stem = _folded(weights, "stem", "stem_norm", stride=(side - 1) // 2)
    head = weights["head.weight"][1] - weights["head.weight"][0]
    return PlainNetwork(
        mean,
        sd,
        stem,
        tuple(_block(weights, f"blocks.{number}") for number in range(BLOCKS)),
        head.astype(np.float32),
        float(weights["head.bias"][1] - weights["head.bias"][0]),
    )


def _block(weights: Weights, name: str) -> Block:
    halves = f"{name}.shortcut.0.weight" in weights
    return Block(
        _folded(weights, f"{name}.first", f"{name}.first_norm"),
        _folded(weights, f"{name}.second", f"{name}.second_norm"),
        _folded(weights, f"{name}.shortcut.0", f"{name}.shortcut.1") if halves else None,
    )


def _folded(weights: Weights, name: str, norm: str, *, stride: int = 1) -> Convolution:
    kernel = weights[f"{name}.weight"].astype(np.float64)
    spread = np.sqrt(weights[f"{norm}.running_var"].astype(np.float64) + EPSILON)
    scale = weights[f"{norm}.weight"] / spread
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    scaled = kernel * scale[:, None, None, None]
    return Convolution(scaled.astype(np.float32), bias.astype(np.float32), stride)


def _norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
