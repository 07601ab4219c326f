"""The convolutional network's forward pass in numpy alone, equal to torch's to about 1e-7."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

ARCHITECTURE = "depthnet-3"  # the one of clineval.learning.models that this is the twin of
GRID, WIDTH, BLOCKS = 14, 16, 3
EPSILON = 1e-5  # of torch's batch normalisation
PART = 16  # images at a time: their patches stay in the processor's cache

Maps = NDArray[np.float32]  # (cases, rows, columns, channels)
Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class _Convolution:
    """A convolution with the normalisation after it folded in: patches @ kernel + bias.

    ``kernel`` has shape (side * side * channels in, channels out).
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    side: int
    stride: int = 1

    def __call__(self, maps: Maps) -> Maps:
        seen = maps if self.side == 1 else _patches(maps, self.side, self.stride)
        found: Maps = seen @ self.kernel
        found += self.bias
        return found


@dataclass(frozen=True)
class _Block:
    """Two convolutions and a shortcut around them; with one the maps are halved first."""

    first: _Convolution
    second: _Convolution
    shortcut: _Convolution | None


@dataclass(frozen=True)
class PlainNetwork:
    """One member, ready to be applied.

    Attributes
    ----------
    mean, sd : of the grey levels (0 to 1 scale) of its training images.
    head : shape (rows, channels): present minus absent.
    """

    mean: float
    sd: float
    stem: _Convolution
    blocks: tuple[_Block, ...]
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
        head.reshape(4 * WIDTH, -1).T.astype(np.float32),
        float(weights["head.bias"][1] - weights["head.bias"][0]),
    )


def log_odds(network: PlainNetwork, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Log odds of the condition, shape (cases, 2): of each image and of its mirror image.

    Parameters
    ----------
    images : uint8, shape (cases, height, width).
    """
    scale = np.float32(network.sd)
    grey = (images.astype(np.float32) / np.float32(255) - np.float32(network.mean)) / scale
    both = np.stack([grey, grey[:, :, ::-1]])
    parts = [
        [_log_odds(network, side[start : start + PART, :, :, None]) for start in range(0, len(images), PART)]
        for side in both
    ]
    return np.stack([np.concatenate(side) for side in parts], axis=1)


def _log_odds(network: PlainNetwork, maps: Maps) -> NDArray[np.float64]:
    maps = _positive(network.stem(maps))
    for block in network.blocks:
        maps = _through(block, maps)
    return (maps.mean(axis=2) * network.head).sum(axis=(1, 2), dtype=np.float64) + network.head_bias


def _through(block: _Block, maps: Maps) -> Maps:
    if block.shortcut is not None:
        maps = _halved(maps)
    found = block.second(_positive(block.first(maps)))
    found += maps if block.shortcut is None else block.shortcut(maps)
    return _positive(found)


def _positive(maps: Maps) -> Maps:
    return np.maximum(maps, 0, out=maps)


def _halved(maps: Maps) -> Maps:
    """Every second row and column after a blur of 1 2 1 in both directions, edges repeated."""
    return _halved_rows(_halved_rows(maps).transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)


def _halved_rows(maps: Maps) -> Maps:
    """Every second row after a blur of 1 2 1 over rows."""
    small = maps[:, ::2] * np.float32(0.5)
    quarter = maps * np.float32(0.25)
    small[:, 0] += quarter[:, 0]
    small[:, 1:] += quarter[:, 1 : maps.shape[1] - 1 : 2]
    small[:, : maps.shape[1] // 2] += quarter[:, 1::2]
    if maps.shape[1] % 2:
        small[:, -1] += quarter[:, -1]
    return small


def _patches(maps: Maps, side: int, stride: int) -> Maps:
    """What a convolution sees around each place, shape (cases, rows, columns, side * side * channels)."""
    reach = side // 2
    cases, height, width, channels = maps.shape
    edged = np.zeros((cases, height + 2 * reach, width + 2 * reach, channels), np.float32)
    edged[:, reach : reach + height, reach : reach + width] = maps
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    image, row, column, value = edged.strides
    seen = as_strided(
        edged,
        (cases, rows, columns, side, side * channels),  # a line of a patch lies in one piece
        (image, stride * row, stride * column, row, value),
        writeable=False,
    )
    return seen.reshape(cases * rows * columns, -1).reshape(cases, rows, columns, -1)


def _block(weights: Weights, name: str) -> _Block:
    halves = f"{name}.shortcut.0.weight" in weights
    return _Block(
        _folded(weights, f"{name}.first", f"{name}.first_norm"),
        _folded(weights, f"{name}.second", f"{name}.second_norm"),
        _folded(weights, f"{name}.shortcut.0", f"{name}.shortcut.1") if halves else None,
    )


def _folded(weights: Weights, name: str, norm: str, *, stride: int = 1) -> _Convolution:
    kernel = weights[f"{name}.weight"].astype(np.float64)
    spread = np.sqrt(weights[f"{norm}.running_var"].astype(np.float64) + EPSILON)
    scale = weights[f"{norm}.weight"] / spread
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    flat = (kernel * scale[:, None, None, None]).transpose(2, 3, 1, 0).reshape(-1, len(kernel))
    return _Convolution(flat.astype(np.float32), bias.astype(np.float32), kernel.shape[2], stride)


def _norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
