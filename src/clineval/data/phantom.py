"""The phantom set: synthetic lesions with known near-duplicates and known answers."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.special import expit

from clineval.data.cohort import Cohort, LabelMeaning, Source
from clineval.errors import InputError

SIZE = 28  # pixels per side of a finished image
MARGIN = 2  # pixels drawn around the finished image, so that a planted copy can be a shifted crop
CANVAS = SIZE + 2 * MARGIN
WITHOUT_MASS = 0.23  # of the images that are not malignant; 133 of 570 in the set behind BreastMNIST

_FINE = 2  # samples per pixel and axis while drawing

Field = NDArray[np.floating]


def draw(outcome: NDArray[np.bool_], *, seed: int) -> NDArray[np.uint8]:
    """Grey images of shape (images, CANVAS, CANVAS), uint8: a malignant-looking mass where ``outcome``.

    Where it is False the mass is benign-looking, or there is none. Cut ``MARGIN`` pixels off each side
    for the finished image.
    """
    scenes = _scenes(outcome, np.random.default_rng([seed, 1]))
    return _seen(scenes, np.random.default_rng([seed, 2]))


# What is in each image -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scenes:
    """Geometry and acoustics of every image, one entry per image; lengths in pixels of the canvas."""

    has_mass: NDArray[np.bool_]
    centre_x: Field
    centre_y: Field
    half_width: Field
    half_height: Field
    tilt: Field  # radians
    lobes: Field  # amplitude of each contour harmonic, shape (images, harmonics)
    lobe_phase: Field
    edge: Field  # width of the boundary, as a proportion of the radius
    echo: Field  # echogenicity of the mass as a proportion of its surroundings
    attenuation: Field  # nepers per pixel beyond what the gain compensates; negative = enhancement


_HARMONICS = np.arange(2, 9, dtype=np.float32)


def _scenes(outcome: NDArray[np.bool_], rng: np.random.Generator) -> _Scenes:
    """Draw every mass. The classes overlap in each feature, as they do in patients."""
    count = len(outcome)

    def normal() -> Field:
        return rng.standard_normal(count, dtype=np.float32)

    def uniform(low: float, high: float) -> Field:
        return rng.uniform(low, high, count).astype(np.float32)

    # How suspicious a mass looks; every sign of malignancy follows it, each with its own noise.
    suspicion = np.where(outcome, 1.15, -1.15).astype(np.float32) + 0.75 * normal()
    radius = uniform(3.8, 8.0)
    height_to_width = np.exp(-0.16 + 0.20 * suspicion + 0.10 * normal())  # taller than wide is suspect
    irregular = 0.04 + 0.20 * expit(1.8 * (suspicion + 0.4 * normal()))
    lobes = irregular[:, None] * rng.normal(size=(count, len(_HARMONICS))).astype(np.float32)
    return _Scenes(
        has_mass=outcome | (rng.random(count) >= WITHOUT_MASS),
        centre_x=uniform(8, CANVAS - 8),
        centre_y=uniform(9, CANVAS - 14),
        half_width=radius / np.sqrt(height_to_width),
        half_height=radius * np.sqrt(height_to_width),
        tilt=0.30 * normal(),
        lobes=lobes / np.sqrt(_HARMONICS / 2),
        lobe_phase=rng.uniform(0, 2 * np.pi, lobes.shape).astype(np.float32),
        edge=0.10 + 0.14 * expit(suspicion + normal()),
        echo=np.exp(-1.9 + 0.5 * normal()),
        attenuation=np.clip(0.031 * suspicion + 0.045 * normal() - 0.01, -0.12, 0.12),
    )


# How it is seen ---------------------------------------------------------------------------------------


def _seen(scenes: _Scenes, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Grey images, uint8, shape (images, canvas, canvas)."""
    count = len(scenes.has_mass)
    mass = _mass(scenes)
    tissue = _tissue(count, rng)
    amplitude = tissue * (1 - mass * (1 - scenes.echo[:, None, None]))
    path = np.cumsum(mass, axis=1) / _FINE  # pixels of mass that the pulse has crossed
    amplitude *= np.exp(-scenes.attenuation[:, None, None] * path)
    amplitude *= _gain(count, rng) * _speckle(count, rng)
    decibels = 20 * np.log10(np.maximum(amplitude, 1e-4))  # a floor far below what shows as black
    shown = np.clip(_level(count, rng) + decibels * (255 / 58), 0, 255)  # 58 dB from black to white
    pixels = shown.reshape(count, CANVAS, _FINE, CANVAS, _FINE).mean(axis=(2, 4))
    return np.rint(pixels).astype(np.uint8)


def _grid() -> tuple[Field, Field]:
    """Depth and lateral position of every fine sample, pixels."""
    position = (np.arange(CANVAS * _FINE, dtype=np.float32) + 0.5) / _FINE
    return position[:, None], position[None, :]


def _mass(scenes: _Scenes) -> Field:
    """Proportion of each sample that lies in a mass, 0 to 1."""
    depth, lateral = _grid()
    x = lateral[None] - scenes.centre_x[:, None, None]
    y = depth[None] - scenes.centre_y[:, None, None]
    cosine, sine = np.cos(scenes.tilt)[:, None, None], np.sin(scenes.tilt)[:, None, None]
    across = (cosine * x + sine * y) / scenes.half_width[:, None, None]
    along = (cosine * y - sine * x) / scenes.half_height[:, None, None]
    contour = _contour(scenes, np.arctan2(along, across))
    inside = (contour - np.hypot(across, along)) / scenes.edge[:, None, None]
    return np.where(scenes.has_mass[:, None, None], expit(2 * inside), 0)


def _contour(scenes: _Scenes, angle: Field) -> Field:
    """Radius of the boundary at ``angle``, as a proportion of the ellipse's; looked up on a fine circle."""
    circle = np.linspace(-np.pi, np.pi, 256, endpoint=False, dtype=np.float32)
    waves = np.cos(_HARMONICS[None, :, None] * circle + scenes.lobe_phase[:, :, None])
    radius = np.clip(1 + np.einsum("ik,ikt->it", scenes.lobes, waves), 0.35, 1.9)
    step = ((angle + np.pi) * (256 / (2 * np.pi))).astype(np.intp) % 256
    return np.take_along_axis(radius, step.reshape(len(radius), -1), axis=1).reshape(angle.shape)


def _tissue(count: int, rng: np.random.Generator) -> Field:
    """Echogenicity of skin, fat, gland and muscle with wavy borders and a mottle of their own."""
    depth, lateral = _grid()
    borders = np.cumsum(rng.uniform((1.5, 3, 9), (4, 9, 18), (count, 3)), axis=1)
    echoes = np.exp(rng.normal((0.9, -0.5, 0.2, -0.4), 0.35, (count, 4))).astype(np.float32)
    tissue = np.broadcast_to(echoes[:, 0, None, None], (count, CANVAS * _FINE, CANVAS * _FINE)).copy()
    for layer in range(3):
        wave = rng.uniform(0.3, 1.8, (count, 1)) * np.sin(
            rng.uniform(0.08, 0.35, (count, 1)) * lateral + rng.uniform(0, 2 * np.pi, (count, 1))
        )
        below = depth[None] > (borders[:, layer, None] + wave)[:, None, :]
        tissue = np.where(below, echoes[:, layer + 1, None, None], tissue)
    return tissue * np.exp(_mottle(count, rng))


def _mottle(count: int, rng: np.random.Generator) -> Field:
    """Lobules and septa: a smooth random field, wider than deep and tilted, in nepers."""
    side = CANVAS * _FINE
    spare = side // 4  # rows above and below, for the tilt
    noise = rng.standard_normal((count, side + 2 * spare, side), dtype=np.float32)
    field = gaussian_filter(noise, (0, 1.6, 5.0), truncate=3)
    tilt = np.clip(rng.normal(0, 0.16, (count, 1, 1)), -0.5, 0.5)
    row = np.arange(side)[:, None] + np.rint(tilt * (np.arange(side) - side / 2)).astype(np.intp)
    strength = rng.uniform(0.30, 0.65, (count, 1, 1)).astype(np.float32)
    return strength / field.std() * np.take_along_axis(field, row + spare, axis=1)


def _speckle(count: int, rng: np.random.Generator) -> Field:
    """Rayleigh amplitude of mean 1: the modulus of waves scattered within the pulse's width."""
    waves = rng.standard_normal((2, count, CANVAS * _FINE, CANVAS * _FINE), dtype=np.float32)
    waves = gaussian_filter1d(waves, 0.5, axis=3, truncate=3)  # the beam is wider than the pulse is long
    modulus = np.hypot(waves[0], waves[1])
    return modulus / modulus.mean()


def _gain(count: int, rng: np.random.Generator) -> Field:
    """What the time-gain compensation leaves: a slope in depth, and poorer contact at one side."""
    depth, lateral = _grid()
    slope = rng.normal(-0.038, 0.022, (count, 1, 1)).astype(np.float32)
    side = rng.normal(0, 0.015, (count, 1, 1)).astype(np.float32)
    return np.exp(slope * (depth - CANVAS / 2) + side * (lateral - CANVAS / 2))


def _level(count: int, rng: np.random.Generator) -> Field:
    """Overall brightness chosen by the operator, grey levels."""
    return rng.normal(108, 14, (count, 1, 1)).astype(np.float32)


__all__ = ["CASES", "CONDITION", "SIZE", "Planted", "phantom", "planted"]

CONDITION = "malignant"

SPLITS = ("train", "val", "test")
CASES = (546, 78, 156)  # images of each split: the sizes of BreastMNIST
PREVALENCE = 7 / 26  # of malignant images in each of BreastMNIST's splits: 147, 21 and 42

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Planted:
    """One planted pair: ``copy`` shows ``original`` again after ``corruption``; cases as ``split/index``."""

    original: str
    copy: str
    corruption: str


def phantom(
    seed: int = 0, *, cases: Sequence[int] = CASES, reason: str = "it was made by phantom()"
) -> Cohort:
    """A synthetic cohort with the split sizes and prevalence of BreastMNIST, label coding included.

    Parameters
    ----------
    seed : chooses tissue, masses, speckle and the planted pairs; the same seed gives the same bytes.
    cases : images in train, val and test, each at least 8; 27 % of each are malignant.
    reason : why synthetic images are shown, for every artefact made of them.

    ``planted(seed, cases=cases)`` names the near-duplicates that were planted.
    """
    outcome, split, case = _layout(seed, cases)
    canvas = draw(outcome, seed=seed)
    images = np.ascontiguousarray(canvas[:, MARGIN:-MARGIN, MARGIN:-MARGIN])
    index = {name: row for row, name in enumerate(case.tolist())}
    for pair in planted(seed, cases=cases):
        images[index[pair.copy]] = _CORRUPTIONS[pair.corruption](canvas[index[pair.original]])
    return Cohort(
        condition=CONDITION,
        images=images,
        outcome=outcome,
        split=split,
        case=case,
        group=case.copy(),
        source=_source(seed, reason, sha256(images.tobytes() + outcome.tobytes()).hexdigest()),
    )


def _source(seed: int, reason: str, digest: str) -> Source:
    return Source(
        dataset="phantom",
        title=f"Synthetic ultrasound phantoms (seed {seed})",
        sha256=digest,
        licence="MIT",
        labels=(
            LabelMeaning(code=0, name="malignant (synthetic)", is_condition=True),
            LabelMeaning(code=1, name="normal or benign (synthetic)", is_condition=False),
        ),
        synthetic=True,
        reason=reason,
    )


def _layout(seed: int, cases: Sequence[int]) -> tuple[NDArray[np.bool_], NDArray[np.str_], NDArray[np.str_]]:
    """Outcome, split and case name of every image, each of shape (images,)."""
    if len(cases) != len(SPLITS) or min(cases) < 8 or seed < 0:
        raise InputError(
            f"A phantom set needs three split sizes of at least 8 and a seed of at least 0; "
            f"got {tuple(cases)} and {seed}."
        )
    rng = np.random.default_rng([seed, 0])
    outcome = [rng.permutation(np.arange(count) < round(count * PREVALENCE)) for count in cases]
    case = [f"{split}/{row}" for split, count in zip(SPLITS, cases, strict=True) for row in range(count)]
    return np.concatenate(outcome), np.repeat(SPLITS, cases), np.array(case)


# What is planted --------------------------------------------------------------------------------------


def _cropped(canvas: Grey, *, down: int = 0, right: int = 0) -> Grey:
    top, left = MARGIN + down, MARGIN + right
    return canvas[top : top + SIZE, left : left + SIZE]


def _compressed(image: Grey, *, quality: int) -> Grey:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    with Image.open(stream, formats=("JPEG",)) as again:
        return np.asarray(again)


def _rescaled(image: Grey, *, contrast: float = 1.0, brighter: float = 0.0) -> Grey:
    grey = image.astype(np.float64)
    return np.clip(np.rint((grey - grey.mean()) * contrast + grey.mean() + brighter), 0, 255).astype(np.uint8)


CONTRADICTION = "exact, label contradicts"
_CORRUPTIONS = {
    "exact": _cropped,
    "shifted by 1 px": lambda canvas: _cropped(canvas, right=1),
    "shifted by 2 px": lambda canvas: _cropped(canvas, right=-1, down=2),
    "flipped left-right": lambda canvas: _cropped(canvas)[:, ::-1],
    "brightened": lambda canvas: _rescaled(_cropped(canvas), brighter=25),
    "contrast changed": lambda canvas: _rescaled(_cropped(canvas), contrast=0.7),
    "JPEG-compressed": lambda canvas: _compressed(_cropped(canvas), quality=85),
    CONTRADICTION: _cropped,
}
_PLACES = (("train", "test"), ("train", "train"), ("train", "val"), ("val", "test"))  # original, copy


def planted(seed: int = 0, *, cases: Sequence[int] = CASES) -> tuple[Planted, ...]:
    """The pairs that ``phantom(seed, cases=cases)`` holds, the contradictory pair first.

    Each corruption is planted from train into test, within train, from train into val and from val into
    test, as far as a third of a split's images of each outcome suffices. No image stands in two pairs.
    Both images of a pair have the same outcome, except in the contradictory pair: a malignant training
    image that comes again, byte for byte, as a test image that is not malignant.
    """
    free = _free(seed, cases)
    pairs = [Planted(free["train", True].pop(), free["test", False].pop(), CONTRADICTION)]
    kinds = [kind for kind in _CORRUPTIONS if kind != CONTRADICTION]
    for turn, (place, kind) in enumerate(product(_PLACES, kinds)):
        malignant = turn % 3 == 0  # about the prevalence
        originals, copies = (free[split, malignant] for split in place)
        if originals and copies and (originals is not copies or len(copies) > 1):
            pairs.append(Planted(originals.pop(), copies.pop(), kind))
    return tuple(pairs)


def _free(seed: int, cases: Sequence[int]) -> dict[tuple[str, bool], list[str]]:
    """The cases that may be used for planting, in random order, by split and outcome."""
    outcome, split, case = _layout(seed, cases)
    rng = np.random.default_rng([seed, 3])
    free = {}
    for name, malignant in product(SPLITS, (True, False)):
        shuffled = rng.permutation(case[(split == name) & (outcome == malignant)])
        free[name, malignant] = shuffled[: max(1, len(shuffled) // 3)].tolist()
    return free
