"""Features of the pretrained network for all that the candidates of plan_external.md need, kept on disk."""

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import dark_blob
import numpy as np
import scanner_shifts
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from transport_models import LEVELS, SEVERITIES

from clineval.data import preparation
from clineval.models import transfer
from clineval.models.onnx_graph import Graph, one_thread_session
from clineval.models.preprocessing import match_mean_and_spread, mean_histogram

Images = NDArray[np.uint8]
Squares = Mapping[str, Images]

BLOCKS = (4, 7, 10, 12, 14)
SIZES = {number: transfer.BLOCKS[number].project.shape[0] * transfer.ROWS for number in BLOCKS}
MOVE = 16  # pixels of 224


def keep_features(images: Images, folder: Path, *, views: tuple[str, ...], jobs: int) -> None:
    """Features of every condition and copy, one file per square and view; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(name, views) for name in CONDITIONS] + [(name, ("as stored",)) for name in COPIES]
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(partial(_keep, images, folder), tasks))


def read(folder: Path, name: str) -> NDArray[np.float32]:
    """Mean and spread over x of the blocks' rows, shape (cases, 2, features)."""
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def squares_of(folder: Path, condition: str) -> tuple[str, ...]:
    """The squares that a condition was seen in: the upper one of upright images only."""
    return tuple(
        one for one in ("middle", "upper") if (folder / f"{condition}-{one}-as stored.npy").is_file()
    )


def _keep(images: Images, folder: Path, task: tuple[str, tuple[str, ...]]) -> None:
    name, views = task
    if all((folder / f"{name}-middle-{view}.npy").is_file() for view in views):
        return
    for square, seen in {**CONDITIONS, **COPIES}[name](images).items():  # the middle square last
        for view in views:
            path = folder / f"{name}-{square}-{view}.npy"
            if not path.is_file():
                np.save(path, VIEWS[view](seen, _grey(images)))


@cache
def _network() -> Any:
    return one_thread_session(_graph())


def _features(images: Images) -> NDArray[np.float32]:
    batches = (
        np.ascontiguousarray(images[start : start + transfer.BATCH])
        for start in range(0, len(images), transfer.BATCH)
    )
    flat = np.concatenate([_network().run(None, {"images": batch})[0] for batch in batches])
    return flat.reshape(len(images), 2, -1)


def _graph() -> bytes:
    """The product's network, read at more blocks: means over x in seven rows, then the spreads."""
    weights, graph = transfer.pretrained_network().weights, Graph()
    centre = graph.constant(np.array(transfer.GREY_CENTRE, np.float32))
    stem = transfer._convolution(
        graph, graph.add("Sub", graph.grey("images"), centre), transfer.STEM, weights
    )
    maps, side = transfer._capped(graph, stem), transfer.SIDE // transfer.STEM.stride
    means, spreads = [], []
    for number, block in enumerate(transfer.BLOCKS):
        maps, side = transfer._applied(graph, maps, block, weights), side // block.depthwise.stride
        if number in BLOCKS:
            strip = [side // transfer.ROWS, side]
            mean = graph.add("AveragePool", maps, kernel_shape=strip, strides=strip)
            square = graph.add("AveragePool", graph.add("Mul", maps, maps), kernel_shape=strip, strides=strip)
            variance = graph.add("Relu", graph.add("Sub", square, graph.add("Mul", mean, mean)))
            means.append(graph.add("Flatten", mean))
            spreads.append(graph.add("Flatten", graph.add("Sqrt", variance)))
    size = 2 * sum(SIZES.values())
    image = (transfer.SIDE, transfer.SIDE)
    return graph.finished(means + spreads, name="wide", image=image, output=("features", size))


@cache
def _matching_to(content: bytes) -> NDArray[np.float64]:
    return mean_histogram(np.frombuffer(content, np.uint8))


def _grey(images: Images) -> NDArray[np.float64]:
    return _matching_to(images.tobytes())


# Views: functions of a square and of the mean histogram of all images.


def _blurred(images: Images, pixels: float) -> Images:
    return np.rint(gaussian_filter(images.astype(np.float32), (0, pixels, pixels), mode="reflect")).astype(
        np.uint8
    )


def _mirrored(images: Images) -> Images:
    return images[:, :, ::-1]


def _crops(images: Images, shown: Images) -> Images:
    """Crops of the images as a view shows them; the blob is looked for in the images as they are."""
    return np.stack(
        [dark_blob.crop(one, dark_blob.find(image)) for image, one in zip(images, shown, strict=True)]
    )


def _shapes(images: Images) -> NDArray[np.float64]:
    return np.stack([dark_blob.shape(image, dark_blob.find(image)) for image in images])


VIEWS: Mapping[str, Callable[[Images, NDArray[np.float64]], NDArray[Any]]] = {
    "as stored": lambda images, grey: _features(images),
    "matched, mirrored": lambda images, grey: _features(_mirrored(match_mean_and_spread(images, grey))),
    "mirrored": lambda images, grey: _features(_mirrored(images)),
    "matched": lambda images, grey: _features(match_mean_and_spread(images, grey)),
    "blurred": lambda images, grey: _features(_blurred(images, 2)),
    "crop": lambda images, grey: _features(_crops(images, images)),
    "crop, matched, mirrored": lambda images, grey: _features(
        _mirrored(_crops(images, match_mean_and_spread(images, grey)))
    ),
    "shape": lambda images, grey: _shapes(images),
}


# What is shown: functions of the images at 224 pixels.


def _corrupted(images: Images, *, kind: str, level: int) -> Squares:
    return {"middle": preparation.corrupt(images, kind, level)}


def _shifted(images: Images, *, kind: str, level: int, seed: int = 0) -> Squares:
    pictures = scanner_shifts.shift_images(images, kind, level, seed=seed)
    middle, upper = (
        np.stack([preparation.square(picture, side=transfer.SIDE, fit=fit) for picture in pictures])
        for fit in ("crop", "top")
    )
    return {"upper": upper, "middle": middle} if (middle != upper).any() else {"middle": middle}


def _moved(images: Images, *, down: int, right: int) -> Squares:
    padded = np.pad(images, ((0, 0), (MOVE, MOVE), (MOVE, MOVE)), mode="reflect")
    top, left = MOVE - down, MOVE - right
    return {"middle": padded[:, top : top + transfer.SIDE, left : left + transfer.SIDE]}


def _blurred_at_random(images: Images) -> Squares:
    strengths = np.random.default_rng(0).uniform(1, 3, len(images))
    pairs = zip(images, strengths, strict=True)
    return {"middle": np.stack([_blurred(image[None], pixels)[0] for image, pixels in pairs])}


def _half_width(images: Images, *, seed: int) -> Squares:
    half = images.shape[2] // 2
    starts = np.random.default_rng(seed).integers(0, half + 1, len(images))
    parts = (image[:, start : start + half] for image, start in zip(images, starts, strict=True))
    pictures = (scanner_shifts.as_picture(part.astype(np.float64)) for part in parts)
    return {"middle": np.stack([np.asarray(each.resize((transfer.SIDE,) * 2)) for each in pictures])}


CONDITIONS: Mapping[str, Callable[[Images], Squares]] = {  # in the order of transport_models.conditions
    "clean-0": lambda images: {"middle": images},
    **{
        f"{kind}-{level}": partial(_corrupted, kind=kind, level=level)
        for kind, level in product(preparation.KINDS, SEVERITIES)
    },
    **{
        f"{kind} (scanner)-{level}": partial(_shifted, kind=kind, level=level)
        for kind in scanner_shifts.KINDS
        for level in (scanner_shifts.LEVELS if kind == "scanner" else LEVELS)
    },
}
COPIES: Mapping[str, Callable[[Images], Squares]] = {
    **{f"scanner copy {seed}": partial(_shifted, kind="scanner", level=1, seed=seed) for seed in range(1, 5)},
    "mirror copy": lambda images: {"middle": _mirrored(images)},
    **{
        f"moved copy {down} {right}": partial(_moved, down=down, right=right)
        for down, right in ((MOVE, 0), (-MOVE, 0), (0, MOVE), (0, -MOVE))
    },
    "blurred copy": _blurred_at_random,
    **{f"half width copy {seed}": partial(_half_width, seed=seed) for seed in (1, 2)},
    "strip copy": partial(_shifted, kind="portrait", level=2, seed=5),
}
