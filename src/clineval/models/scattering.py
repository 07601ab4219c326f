"""A support vector machine on wavelet scattering features, and the distance from training images among them.

Mallat S (2012) Group invariant scattering, doi:10.1002/cpa.21413;
Bruna J, Mallat S (2013) Invariant scattering convolution networks, doi:10.1109/TPAMI.2012.230.

Waves along rows or columns are separable, for their fronts do not fade: two matrix products, which take
less than a Fourier transform. Diagonal waves are products of transforms; an image with its reflected
border is 32, 36 or 44 pixels wide by scale, and both diagonals share its transform.

The distance is that of probabilistic principal components (Tipping and Bishop 1999,
doi:10.1111/1467-9868.00196): what an image does along the directions in which training images vary
counts by how much they vary there, everything else by the little that is left.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from clineval.models import svm
from clineval.models.preprocessing import SEEN_SIDE as SIDE
from clineval.models.preprocessing import Images, View, grey_distance, shrink
from clineval.models.stored import Arrays, Floats, Shapes, Stored, finite
from clineval.settings import ScatteringSettings

SCALES = 3  # wavelengths 2.9, 5.7 and 11.4 pixels
ORIENTATIONS = 4
SIGMA = 1.1  # standard deviation of the finest wavelet along its wave, pixels; across it does not fade
FREQUENCY = 2.2  # of the finest wavelet, radians a pixel
WINDOW, STRIDE, MARGIN = 8, 4, 2  # pixels: averaging window, its step, the reflected border
FEATURES = 2989  # (1 + 12 + 48) maps of 7 x 7 windows
ENDS = (637, FEATURES)  # of the features of orders 0 and 1, and of order 2
FLOOR = 1e-3  # added before the logarithm, so that an empty window stays finite
PART = 8  # images at a time: their maps stay in the processor's cache

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class ScatteringModel:
    """A fitted machine on scattering features."""

    machine: svm.SupportVectorModel

    def risk(self, view: View) -> Floats:
        """Risk of each image, shape (cases,)."""
        return self.machine.risk(self.features(view))

    def features(self, view: View) -> Maps:
        """What the machine sees of each image, shape (cases, 2989)."""
        return view.computed(scattering_features)


def fit(
    view: View,
    outcome: NDArray[np.bool_],
    group: NDArray[np.str_],
    *,
    settings: ScatteringSettings,
    seed: int,
) -> Stored:
    """The machine learnt from these cases.

    Raises
    ------
    InputError : all features are constant, or there are too few groups for the folds of Platt scaling.
    """
    features = view.computed(scattering_features)
    machine = svm.fit(features, outcome, group, ends=ENDS, settings=settings, seed=seed)
    return svm.stored(machine)


def shapes(record: Mapping[str, Any], _height: int, _width: int) -> Shapes:
    """The arrays of a stored machine; ValueError where its record is not one of scattering features."""
    return svm.shapes(record, ends=ENDS)


def read(record: Mapping[str, Any], arrays: Arrays) -> ScatteringModel:
    """The model from its stored form."""
    return ScatteringModel(svm.read(record, arrays))


def scattering_features(images: Images) -> Maps:
    """Logarithms of the windowed scattering coefficients, shape (cases, 2989).

    61 maps (the image itself, 12 wavelet moduli, 48 moduli of coarser wavelets of those), each averaged
    in 7 x 7 overlapping windows. Images of any size are averaged down to 28 x 28 first. The same image
    has the same features to the last bit, alone or among others.
    """
    features = np.empty((len(images), FEATURES), np.float32)
    for start in range(0, len(images), PART):
        part = np.zeros((PART, *images.shape[1:]), np.uint8)  # always full, so that sums keep their order
        kept = min(PART, len(images) - start)
        part[:kept] = images[start : start + kept]
        features[start : start + kept] = _part_features(shrink(part))[:kept]
    return features


def _part_features(grey: Maps) -> Maps:
    image = grey - grey.mean(axis=(1, 2), keepdims=True)
    first = [_modulus(image, scale) for scale in range(SCALES)]
    maps = [image[:, None], *first]
    for fine in range(SCALES - 1):
        for coarse in range(fine + 1, SCALES):
            maps.append(_modulus(first[fine], coarse).reshape(len(grey), -1, SIDE, SIDE))
    windows = _window_means(np.concatenate(maps, axis=1))
    return np.log(np.abs(windows) + np.float32(FLOOR)).reshape(len(grey), -1)


def _modulus(maps: Maps, scale: int) -> Maps:
    """Strength of the response to each orientation at one scale, shape (..., orientations, 28, 28)."""
    flat = maps.reshape(-1, SIDE, SIDE)
    strength = np.empty((len(flat), ORIENTATIONS, SIDE, SIDE), np.float32)
    strength[:, 0] = _along_rows(flat, scale)
    strength[:, 2] = _along_rows(flat.transpose(0, 2, 1), scale).transpose(0, 2, 1)
    strength[:, 1::2] = _diagonal(flat, scale)
    return strength.reshape(*maps.shape[:-2], ORIENTATIONS, SIDE, SIDE)


def _along_rows(maps: Maps, scale: int) -> Maps:
    """Strength of the response to waves that run along rows, of the shape of ``maps``."""
    wave, front = _lines(scale)
    waves = (maps.reshape(-1, SIDE) @ wave.T).reshape(-1, SIDE, 2 * SIDE)
    response = np.square(front @ waves)
    return np.sqrt(response[..., :SIDE] + response[..., SIDE:])


def _diagonal(maps: Maps, scale: int) -> Maps:
    """Strength of the response to waves along either diagonal, shape (maps, 2, 28, 28)."""
    border = _border(scale)
    kept, places = slice(border, -border), _reflected(border)
    seen = fft.fft2(maps.take(places, axis=1).take(places, axis=2))
    rows = fft.ifft(seen[:, None] * _spectra(scale), axis=-2, overwrite_x=True)[:, :, kept]
    return np.abs(fft.ifft(rows, axis=-1, overwrite_x=True)[..., kept])


def _border(scale: int) -> int:
    """Pixels of reflected border that a scale's wavelets reach into: half of their width."""
    return 2 ** (scale + 1)


@cache
def _lines(scale: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a wave along a line of 28 places does to it, real over imaginary part, and what its front does.

    Shapes (56, 28) and (28, 28); borders reflected.
    """
    half = _border(scale)
    weights = _wavelet(scale, 0.0)[0]  # all rows are alike
    kernels = np.stack([weights.real, weights.imag, np.ones_like(weights.real)])
    places = _reflected(half)
    matrices = np.zeros((len(kernels), SIDE, SIDE))
    for matrix, kernel in zip(matrices, kernels, strict=True):
        for row in range(SIDE):
            np.add.at(matrix[row], places[row : row + 2 * half + 1], kernel)
    return matrices[:2].reshape(-1, SIDE).astype(np.float32), matrices[2].astype(np.float32)


@cache
def _reflected(border: int) -> NDArray[np.int64]:
    """Which of 28 places each place of a line with its reflected border shows."""
    return np.pad(np.arange(SIDE), border, mode="reflect")


@cache
def _spectra(scale: int) -> NDArray[np.complex64]:
    """What the diagonal wavelets of one scale do to a Fourier transform, shape (2, length, length)."""
    half = _border(scale)
    length = SIDE + 2 * half
    turns = range(1, ORIENTATIONS, 2)
    kernels = np.zeros((len(turns), length, length), dtype=np.complex128)
    kernels[:, : 2 * half + 1, : 2 * half + 1] = np.stack(
        [_wavelet(scale, math.pi * turn / ORIENTATIONS) for turn in turns]
    )
    centred = np.roll(kernels, (-half, -half), axis=(1, 2))
    # A correlation, not a convolution: the kernel is turned round, real and imaginary part alike.
    turned = np.roll(centred[:, ::-1, ::-1], (1, 1), axis=(1, 2))
    return fft.fft2(turned).astype(np.complex64)


def _wavelet(scale: int, angle: float) -> NDArray[np.complex64]:
    """A Morlet wavelet along its wave, its fronts as long as the kernel, in single precision.

    Margins and shadows are long: letting the fronts fade costs .01 of grouped cross-validated AUC.
    """
    half, sigma, frequency = _border(scale), SIGMA * 2**scale, FREQUENCY / 2**scale
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    along = x * math.cos(angle) + y * math.sin(angle)
    envelope = np.exp(-(along**2) / (2 * sigma**2))
    envelope /= envelope.sum()
    wave = np.cos(frequency * along)
    real = envelope * (wave - (envelope * wave).sum())
    imaginary = envelope * np.sin(frequency * along)
    return real.astype(np.float32) + 1j * imaginary.astype(np.float32)


def _window_means(maps: Maps) -> Maps:
    """Means in 7 x 7 overlapping windows of 8 x 8 pixels, borders reflected."""
    means = _windows()
    return np.asarray(means @ maps @ means.T, dtype=np.float32)


@cache
def _windows() -> NDArray[np.float32]:
    """The matrix that takes 28 places to the means of 7 windows over them."""
    places = _reflected(MARGIN)
    matrix = np.zeros(((SIDE + 2 * MARGIN - WINDOW) // STRIDE + 1, SIDE), np.float32)
    for row in range(len(matrix)):
        np.add.at(matrix[row], places[row * STRIDE : row * STRIDE + WINDOW], 1 / WINDOW)
    return matrix


DIRECTIONS = 20  # in which training images are taken to vary; the rest counts as noise
SHARE = 0.99  # of the validation images that must lie within a limit


@dataclass(frozen=True)
class Novelty:
    """What training images are like, and how far from that validation images still lie.

    Attributes
    ----------
    centre, scale : mean and spread of each scattering feature, shape (features,).
    axes : directions of largest variance, shape (directions, features); ``variance`` along each.
    noise : variance per feature of what the directions leave.
    grey : shape (256,), the mean histogram of the training images.
    texture_limit, grey_limit : what 99 of 100 validation images stay within; NaN without such images.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    axes: NDArray[np.float32]
    variance: Floats
    noise: float
    grey: Floats
    texture_limit: float
    grey_limit: float


@dataclass(frozen=True)
class Distance:
    """Of each image, shape (cases,): ``texture`` (about 1 for a training image), ``grey`` (0 to 255 levels).

    ``unlike`` is True where either is beyond its limit.
    """

    texture: Floats
    grey: Floats
    unlike: NDArray[np.bool_]


def learn_novelty(train: NDArray[np.uint8], validation: NDArray[np.uint8], *, grey: Floats) -> Novelty:
    """Directions from the training images, limits from the validation images, shapes (cases, height, width).

    ``grey`` is the training images' mean histogram.
    """
    features = scattering_features(train)
    centre, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > 0, spread, np.float32(1))
    variances, axes = _principal((features - centre) / scale)
    kept = min(DIRECTIONS, len(train) - 1)
    noise = float(variances[kept:].sum() / (features.shape[1] - kept))
    start = Novelty(centre, scale, axes[:kept], variances[:kept], noise, grey, float("nan"), float("nan"))
    far = distance(start, View(validation))
    return Novelty(**{**vars(start), "texture_limit": _limit(far.texture), "grey_limit": _limit(far.grey)})


def distance(known: Novelty, view: View) -> Distance:
    """How far each image of a view lies from the training images.

    Raises
    ------
    InputError : a distance is not a finite number, which must not pass for one within the limits.
    """
    standard = (view.computed(scattering_features) - known.centre) / known.scale
    # sums along each row, so that no image changes a bit of another's
    along = np.stack([(standard * axis).sum(axis=1) for axis in known.axes], axis=1)
    left = np.maximum((standard**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
    squared = (along**2 / known.variance).sum(axis=1) + left / known.noise
    texture = np.sqrt(squared / standard.shape[1])
    grey = grey_distance(view.images, known.grey)
    unlike = (texture > known.texture_limit) | (grey > known.grey_limit)
    return Distance(finite(texture), finite(grey), unlike)


def _principal(standard: NDArray[np.float32]) -> tuple[Floats, NDArray[np.float32]]:
    """Variances along the principal directions, largest first, and the directions of up to 20 of them."""
    values, vectors = np.linalg.eigh(
        standard.astype(np.float64) @ standard.T
    )  # cases are fewer than features
    variances, vectors = np.maximum(values[::-1], 0.0) / len(standard), vectors[:, ::-1][:, :DIRECTIONS]
    axes = vectors.T @ standard
    return variances, (axes / np.linalg.norm(axes, axis=1, keepdims=True)).astype(np.float32)


def _limit(values: Floats) -> float:
    return float(np.quantile(values, SHARE, method="higher")) if len(values) else float("nan")
