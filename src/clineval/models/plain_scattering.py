"""Wavelet scattering features in numpy and scipy alone, as ``scattering`` computes them with torch.

Waves along rows or columns are separable, for their fronts do not fade: two matrix products, which take
less than a Fourier transform. Diagonal waves are products of transforms; an image with its reflected
border is 32, 36 or 44 pixels wide by scale, and both diagonals share its transform.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

SIDE = 28  # pixels; larger images are averaged down to it
SCALES, ORIENTATIONS = 3, 4
WINDOW, STRIDE, MARGIN = 8, 4, 2
FLOOR = 1e-3
FEATURES = 2989
PART = 8  # images at a time: their maps stay in the processor's cache

Maps = NDArray[np.float32]


def plain_scattering_features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logarithms of the windowed scattering coefficients, shape (cases, 2989)."""
    grey = shrink(images)
    parts = [_part_features(grey[start : start + PART]) for start in range(0, len(grey), PART)]
    return np.concatenate(parts) if parts else np.empty((0, FEATURES), np.float32)


def shrink(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images of any size averaged down to 28 x 28 pixels, grey levels in [0, 1]."""
    grey = images.astype(np.float32) / np.float32(255)
    height, width = images.shape[1:]
    if (height, width) == (SIDE, SIDE):
        return grey
    return _averaging(height) @ grey @ _averaging(width).T


def _part_features(grey: Maps) -> NDArray[np.float32]:
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
    kept = slice(border, -border)
    seen = fft.fft2(np.pad(maps, [(0, 0), (border, border), (border, border)], mode="reflect"))
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
    places = np.pad(np.arange(SIDE), half, mode="reflect")
    matrices = np.zeros((len(kernels), SIDE, SIDE))
    for matrix, kernel in zip(matrices, kernels, strict=True):
        for row in range(SIDE):
            np.add.at(matrix[row], places[row : row + 2 * half + 1], kernel)
    return matrices[:2].reshape(-1, SIDE).astype(np.float32), matrices[2].astype(np.float32)


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
    """One wavelet, rounded to single precision as the models learnt from it."""
    half, sigma, frequency = 2 ** (scale + 1), 1.1 * 2**scale, 2.2 / 2**scale
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
    places = np.pad(np.arange(SIDE), MARGIN, mode="reflect")
    matrix = np.zeros(((SIDE + 2 * MARGIN - WINDOW) // STRIDE + 1, SIDE), np.float32)
    for row in range(len(matrix)):
        np.add.at(matrix[row], places[row * STRIDE : row * STRIDE + WINDOW], 1 / WINDOW)
    return matrix


@cache
def _averaging(length: int) -> NDArray[np.float32]:
    """The matrix that takes ``length`` places to 28 means, each over the places that its cell touches."""
    matrix = np.zeros((SIDE, length), np.float32)
    for row in range(SIDE):
        start, end = row * length // SIDE, -(-(row + 1) * length // SIDE)
        matrix[row, start:end] = 1 / (end - start)
    return matrix
