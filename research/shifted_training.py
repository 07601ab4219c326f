"""Ways of training that might travel better: other augmentation, or grey levels matched before learning."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from clineval.models import network_training
from clineval.models.network_training import augment
from clineval.models.parallel import Job, Material
from clineval.models.preprocessing import histograms

Change = Callable[[Tensor, torch.Generator], Tensor]
MEAN, SD = 0.33, 0.21  # of the grey levels, to undo the networks' scaling; need not be exact
COPIES = 3  # changed copies of each image, for the models that do not learn in epochs


@contextmanager
def as_if(
    training: str | None, material: Material, job: Job, grey: NDArray[np.float64]
) -> Iterator[tuple[Material, Job]]:
    """Material and job of a training of that kind (None: unchanged); networks are augmented so meanwhile."""
    if training == "matched":
        yield replace(material, images=match_histograms(material.images, grey)), job
    elif training in _CHANGES and job.kind == "cnn":
        with patch.object(network_training, "augment", _augmenting(training)):
            yield material, job
    elif training in _CHANGES:
        yield _with_copies(training, material, job)
    else:
        yield material, job


def match_histograms(images: NDArray[np.uint8], grey: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Each grey level where as many pixels of the training images lie below it; darker stays darker."""
    filled = np.flatnonzero(grey)
    to = np.interp(_below(histograms(images)), _below(grey)[filled], filled)
    flat = images.reshape(len(images), -1).astype(np.int64)
    return np.take_along_axis(np.rint(to).astype(np.uint8), flat, axis=1).reshape(images.shape)


def _below(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of pixels darker than each level, half of the level's own counted."""
    return np.cumsum(shares, axis=-1) - shares / 2


def _augmenting(training: str | None) -> Callable[..., Tensor]:
    change = _CHANGES[training]

    def augmenting(images: Tensor, *, shift: int, generator: torch.Generator) -> Tensor:
        grey = augment(images, shift=shift, generator=generator) * SD + MEAN
        changed = (change(grey.clamp(0, 1), generator).clamp(0, 1) - MEAN) / SD
        return changed.contiguous(memory_format=torch.channels_last)

    return augmenting


def _with_copies(training: str | None, material: Material, job: Job) -> tuple[Material, Job]:
    """The training cases and changed copies of them, in the same groups, behind the material's cases."""
    generator = torch.Generator().manual_seed(0)
    images = torch.from_numpy(material.images[job.train] / np.float32(255))[:, None]
    copies = [
        (255 * _CHANGES[training](images, generator).clamp(0, 1)).round().to(torch.uint8)[:, 0].numpy()
        for _ in range(COPIES)
    ]
    places = len(material.images) + np.arange(COPIES * len(job.train))
    wider = Material(
        np.concatenate([material.images, *copies]),
        np.concatenate([material.outcome, *[material.outcome[job.train]] * COPIES]),
        np.concatenate([material.group, *[material.group[job.train]] * COPIES]),
    )
    return wider, replace(job, train=np.concatenate([job.train, places]))


def _intensity(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast up to 30 %, a power of up to e^.5, white noise, half of the images slightly blurred."""
    grey = _power(grey, 0.5, generator)
    mean = grey.mean((2, 3), keepdim=True)
    grey = mean + (grey - mean) * (1 + 0.3 * _uniform(grey, generator))
    grey = _softened(grey, generator)
    return grey + 0.04 * _uniform(grey, generator).abs() * torch.randn(grey.shape, generator=generator)


def _scanner(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Power, dynamic range, gain over depth, blur and coarse speckle, each at random strength."""
    grey = _softened(_power(grey, 0.5, generator), generator)
    grey = 1 - (1 - grey) * torch.exp(0.3 * _uniform(grey, generator))
    grey = grey + 0.1 * _curve(grey, generator)
    coarse = torch.randn((len(grey), 1, 14, 14), generator=generator)
    coarse = functional.interpolate(coarse, size=grey.shape[2:], mode="bilinear")
    fine = torch.randn(grey.shape, generator=generator)
    return grey + 0.06 * _uniform(grey, generator).abs() * (coarse + 0.5 * fine)


def _geometry(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Up to a quarter nearer or farther, up to a fifth wider or narrower."""
    size = torch.exp(0.22 * _uniform(grey, generator))[:, 0, 0, 0]
    aspect = torch.exp(0.1 * _uniform(grey, generator))[:, 0, 0, 0]
    matrix = torch.zeros(len(grey), 2, 3)
    matrix[:, 0, 0], matrix[:, 1, 1] = size * aspect, size / aspect
    grid = functional.affine_grid(matrix, list(grey.shape), align_corners=False)
    return functional.grid_sample(grey, grid, padding_mode="reflection", align_corners=False)


def _in_turn(first: Change, second: Change) -> Change:
    return lambda grey, generator: second(first(grey, generator), generator)


def _of_half(change: Change) -> Change:
    """Half of the images changed, redrawn each time; the others as they are."""

    def of_half(grey: Tensor, generator: torch.Generator) -> Tensor:
        return torch.where(_uniform(grey, generator) < 0, change(grey, generator), grey)

    return of_half


_CHANGES: Mapping[str | None, Change] = {
    "intensity": _intensity,
    "scanner": _scanner,
    "geometry": _geometry,
    "geometry and intensity": _in_turn(_geometry, _intensity),
    "scanner and geometry": _in_turn(_geometry, _scanner),
    "intensity, half": _of_half(_intensity),
    "scanner, half": _of_half(_scanner),
    "geometry, half": _of_half(_geometry),
    "geometry and scanner, each half": _in_turn(_of_half(_geometry), _of_half(_scanner)),
}


def _uniform(grey: Tensor, generator: torch.Generator) -> Tensor:
    """One number between -1 and 1 per image."""
    return 2 * torch.rand((len(grey), 1, 1, 1), generator=generator) - 1


def _power(grey: Tensor, reach: float, generator: torch.Generator) -> Tensor:
    return grey.clamp(1e-4, 1) ** torch.exp(reach * _uniform(grey, generator))


def _softened(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images mixed with a blurred self."""
    line = torch.tensor([0.06, 0.24, 0.4, 0.24, 0.06])
    kernel = (line[:, None] * line)[None, None]
    blurred = functional.conv2d(functional.pad(grey, (2,) * 4, mode="reflect"), kernel)
    return grey + _uniform(grey, generator).clamp(0, 1) * (blurred - grey)


def _curve(grey: Tensor, generator: torch.Generator) -> Tensor:
    """A smooth curve over depth, of unit spread, per image: shape (cases, 1, rows, 1)."""
    depth = torch.linspace(0, torch.pi, grey.shape[2])
    waves = torch.stack([torch.cos(wave * depth) for wave in range(4)])
    heights = torch.randn((len(grey), 4), generator=generator)
    return (heights @ waves / 2)[:, None, :, None]
