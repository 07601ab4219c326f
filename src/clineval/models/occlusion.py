"""Maps of what a risk rests on, by occlusion, and networks with shuffled weights that such maps are held to.

Zeiler MD, Fergus R (2014) Visualizing and understanding convolutional networks,
doi:10.1007/978-3-319-10590-1_53; the randomised model: Adebayo J et al. (2018) Sanity checks for saliency
maps, arXiv:1810.03292.

Adebayo J, Gilmer J, Muelly M, Goodfellow I, Hardt M, Kim B (2018) Sanity checks for saliency maps,
arXiv:1810.03292. Shuffled weights keep their distribution, so that risks do not saturate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.models import onnx_graph
from clineval.models.classifier import Classifier
from clineval.models.logistic import LogisticModel
from clineval.models.network import BLOCKS, Network, Networks
from clineval.models.onnx_model import OnnxModel
from clineval.models.preprocessing import Images
from clineval.models.scattering import ScatteringModel
from clineval.models.transfer import TransferModel


def occlude(
    image: Images,
    *,
    patch: int,
    stride: int = 1,
    shift: tuple[int, int] = (0, 0),
    cells: NDArray[np.int64] | None = None,
) -> Images:
    """The image with each patch in turn replaced by its mean grey level, shape (patches, height, width).

    A patch is centred at its cell, as far as whole pixels go; cells are taken row by row.

    Parameters
    ----------
    image : grey levels, uint8, shape (height, width).
    patch, stride : pixels a side of a patch, and from one cell to the next; at the edges patches are cut off.
    shift : rows and columns by which all patches are moved, for an image that was moved by as much.
    cells : numbers of those of each row and column that are hidden in turn; by default all.

    >>> image = np.array([[0, 0], [0, 200]], np.uint8)
    >>> occlude(image, patch=1)[3].tolist()
    [[0, 0], [0, 50]]
    """
    if patch < 1 or stride < 1:
        raise ValueError(f"expected a patch and a stride of at least 1 pixel, got {patch} and {stride}")
    (top, height), (left, width) = ((shift[axis], image.shape[axis]) for axis in (0, 1))
    fill = np.uint8(np.rint(image.mean()))
    rows = _hidden(height, patch=patch, stride=stride, shift=top)
    columns = _hidden(width, patch=patch, stride=stride, shift=left)
    if cells is not None:
        rows, columns = rows[cells], columns[cells]
    hidden = rows[:, None, :, None] & columns[None, :, None, :]
    return np.where(hidden, fill, image).reshape(-1, height, width)


def _hidden(length: int, *, patch: int, stride: int, shift: int) -> NDArray[np.bool_]:
    """Which places of a line each patch hides, bool, shape (cells, length)."""
    first = np.arange(0, length, stride)[:, None] + (stride - patch) // 2 + shift
    places = np.arange(length)
    return (places >= first) & (places < first + patch)


NETWORK_LAYERS = ("head", *(f"blocks.{number}" for number in reversed(range(BLOCKS))), "stem")
NORMALISATION = ("weight", "bias", "running_mean", "running_var")
GRAPH_STAGES = 4  # of a user's graph: its uppermost quarter of layers, half, and so on
Stages = tuple[tuple[str, Classifier], ...]


@singledispatch
def randomised(model: Classifier, *, seed: int) -> Classifier | None:
    """The model with all its learnt weights shuffled; None where it has none that can be."""
    stages = cascade(model, seed=seed)
    return stages[-1][1] if stages else None


@randomised.register
def _whole_graph(model: OnnxModel, *, seed: int) -> OnnxModel | None:
    layers = onnx_graph.count_layers(model.graph.content)
    return _with_shuffled(model, layers, seed) if layers else None


@singledispatch
def cascade(model: Classifier, *, seed: int) -> Stages:
    """The model with ever more of its weights shuffled, from the top; the last has all shuffled.

    A network's layers are shuffled one after the other from the output down. Kernel machines have their
    dual coefficients shuffled, as if labels had been; a logistic regression its coefficients: one stage.
    Each stage goes by the name of the layer that was shuffled last. Empty where there is nothing to shuffle.
    """
    raise TypeError(f"expected a stored model, got {type(model).__name__}")


@cascade.register
def _logistic(model: LogisticModel, *, seed: int) -> Stages:
    shuffled = np.random.default_rng(seed).permutation(model.coefficients)
    return (("coefficients", replace(model, coefficients=shuffled)),)


@cascade.register(ScatteringModel)
@cascade.register(TransferModel)
def _kernel_machine(model: ScatteringModel | TransferModel, *, seed: int) -> Stages:
    dual = np.random.default_rng(seed).permutation(model.machine.dual)
    return (("dual coefficients", replace(model, machine=replace(model.machine, dual=dual))),)


@cascade.register
def _networks(model: Networks, *, seed: int) -> Stages:
    rng = np.random.default_rng(seed)
    whole = [Network(_shuffled(member.weights, rng), member.mean, member.sd) for member in model.members]

    def down_to(layer: int) -> Networks:
        return Networks(
            tuple(
                replace(
                    member, weights=_with_layers(member.weights, each.weights, NETWORK_LAYERS[: layer + 1])
                )
                for member, each in zip(model.members, whole, strict=True)
            )
        )

    return tuple((name, down_to(layer)) for layer, name in enumerate(NETWORK_LAYERS))


@cascade.register
def _graph(model: OnnxModel, *, seed: int) -> Stages:
    layers = onnx_graph.count_layers(model.graph.content)
    ends = sorted({-(-layers * stage // GRAPH_STAGES) for stage in range(1, GRAPH_STAGES + 1)} - {0})
    return tuple((f"{end} of {layers} layers", _with_shuffled(model, end, seed)) for end in ends)


def _with_shuffled(model: OnnxModel, layers: int, seed: int) -> OnnxModel:
    content = onnx_graph.shuffle_layers(model.graph.content, layers=layers, seed=seed)
    return replace(model, graph=onnx_graph.open_given_graph(content))


def _shuffled(weights: Mapping[str, NDArray[np.float32]], rng: np.random.Generator) -> dict[str, Any]:
    """All of a network's arrays shuffled; those of one normalisation stay together, channel by channel.

    In the order of their names: a file's arrays are read in another order each time.
    """
    found: dict[str, Any] = {}
    for name, values in sorted(weights.items()):
        if name in found:
            continue
        norm = list(_normalisation(name, weights))
        if norm:
            order = rng.permutation(len(values))
            found |= {each: weights[each][order] for each in norm}
        else:
            found[name] = rng.permutation(values.ravel()).reshape(values.shape)
    return found


def _normalisation(name: str, weights: Mapping[str, Any]) -> Iterator[str]:
    """The four arrays of the normalisation that this one belongs to; none where it belongs to none."""
    layer = name.rpartition(".")[0]
    if f"{layer}.running_var" in weights:
        yield from (f"{layer}.{part}" for part in NORMALISATION)


def _with_layers(
    weights: Mapping[str, Any], shuffled: Mapping[str, Any], layers: Sequence[str]
) -> dict[str, Any]:
    return {
        name: shuffled[name] if name.startswith(tuple(layers)) else values for name, values in weights.items()
    }
