"""Training one network: recipe, optimiser, augmentation, learning curve."""

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from clineval.errors import InputError
from clineval.models.network import GRID, DepthNet, build_network
from clineval.models.preprocessing import GreyScaling, augment, scale_grey
from clineval.settings import NetworkSettings

BETAS = (0.9, 0.999)  # memory of the gradient's mean and of its square, per step
EPSILON = 1e-8


class AdamW:
    """The steps of ``torch.optim.AdamW(fused=True)``, to the last bit.

    That class would import torch's compiler with its first step, which takes a second and 100 MB of
    every process. Norms and biases (arrays of one dimension) do not decay.
    """

    def __init__(self, network: nn.Module, *, weight_decay: float) -> None:
        weights = list(network.parameters())
        self._groups = [
            _Group([one for one in weights if one.ndim > 1], weight_decay),
            _Group([one for one in weights if one.ndim == 1], 0.0),
        ]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every weight against its gradient by about ``rate``."""
        for group in self._groups:
            group.step(rate)


class _Group:
    """Weights that share their decay, with the running means that their steps are made from."""

    def __init__(self, weights: list[nn.Parameter], weight_decay: float) -> None:
        self._weights: list[Tensor] = list(weights)
        self._weight_decay = weight_decay
        self._means = [torch.zeros_like(one, memory_format=torch.preserve_format) for one in weights]
        self._squares = [torch.zeros_like(one, memory_format=torch.preserve_format) for one in weights]
        self._steps = [torch.zeros((), dtype=torch.float32, device=one.device) for one in weights]

    def step(self, rate: float) -> None:
        torch._foreach_add_(self._steps, 1)
        torch._fused_adamw_(
            self._weights,
            _gradients(self._weights),
            self._means,
            self._squares,
            [],
            self._steps,
            lr=rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self._weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [one.grad for one in weights if one.grad is not None]


EARLY_STOPPING = ("guard", "strict", "off")
CHUNK = 64  # images scored at a time; fixed, so that a risk does not depend on how many are asked for
Weights = dict[str, Tensor]


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


@dataclass(frozen=True)
class Shown:
    """Cases as the network sees them: images (cases, 1, height, width), labels (cases,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class FittedMember:
    """One trained network: its weights by name and how it learnt."""

    weights: dict[str, NDArray[np.float32]]
    curve: LearningCurve


def fit_member(
    images: NDArray[np.uint8],
    outcome: NDArray[np.bool_],
    *,
    scaling: GreyScaling,
    settings: NetworkSettings,
    seed: int,
    fold: int = -1,
    early_stopping: str = "off",
    watch: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None,
    device: str = "cpu",
) -> FittedMember:
    """Train one network; the result depends on these arguments alone.

    Parameters
    ----------
    images, outcome : the training cases.
    watch : images and outcome of the validation split, for early stopping; never trained on.
    fold : the number of the fold left out, for the record.

    Raises
    ------
    InputError : nothing for early stopping to watch, fewer than two cases, or training that diverges.
    """
    check_stopping(early_stopping, None if watch is None else watch[1])
    train = Shown(scale_grey(images, scaling).to(device), _labels(outcome, device))
    watched = None
    if watch is not None and early_stopping != "off":
        watched = Shown(scale_grey(watch[0], scaling).to(device), _labels(watch[1], device))
    guard = _Guard(strict=early_stopping == "strict", settings=settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(*images.shape[1:], seed=seed).to(device)
        return _fit(network, train, watched, guard, settings=settings, seed=seed, fold=fold)


def member_risk(
    weights: dict[str, NDArray[np.float32]],
    images: NDArray[np.uint8],
    *,
    scaling: GreyScaling,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Risk by one network, shape (cases,): the mean over each image and its mirror image."""
    network = build_network(*images.shape[1:], seed=0).to(device).eval()
    network.load_state_dict(
        {name: torch.from_numpy(values) for name, values in weights.items()}, strict=False
    )
    scaled = scale_grey(images, scaling).to(device)
    with torch.inference_mode():
        risks = [
            _chunk_risk(network, scaled[start : start + CHUNK]) for start in range(0, len(scaled), CHUNK)
        ]
    return torch.cat(risks).numpy()


def check_stopping(early_stopping: str, outcome: NDArray[np.bool_] | None) -> None:
    """Refuse early stopping that has nothing to go by.

    Raises
    ------
    InputError : an unknown kind, no validation split, or one that lacks a class.
    """
    if early_stopping not in EARLY_STOPPING:
        raise InputError(
            f"Early stopping must be one of {', '.join(EARLY_STOPPING)}; came {early_stopping!r}."
        )
    if early_stopping == "off":
        return
    if outcome is None or not len(outcome):
        raise InputError(
            "Early stopping needs a validation split to watch; there is none. "
            "Give the cohort a split named val, or train with --early-stopping off."
        )
    if outcome.all() or not outcome.any():
        missing = "without" if outcome.all() else "with"
        raise InputError(
            f"Early stopping needs validation cases with and without the condition; none of the "
            f"{len(outcome)} is {missing} it. Use another split, or train with --early-stopping off."
        )


def _fit(
    network: DepthNet,
    train: Shown,
    watched: Shown | None,
    guard: "_Guard",
    *,
    settings: NetworkSettings,
    seed: int,
    fold: int,
) -> FittedMember:
    chance = torch.Generator().manual_seed(seed)
    batch = min(settings.batch, len(train.labels))
    steps = len(train.labels) // batch
    settings = replace(settings, epochs=epochs_of(steps, settings))
    optimiser = AdamW(network, weight_decay=settings.weight_decay)
    averaged = copy.deepcopy(network).eval()
    pair = _Averaging(network, averaged, settings.average_decay)
    losses: list[float] = []
    for epoch in range(settings.epochs):
        losses.append(
            _epoch(
                network, train, optimiser, pair, epoch=epoch, steps=steps, settings=settings, chance=chance
            )
        )
        if not math.isfinite(losses[-1]) and watched is None:
            raise _diverged(seed, epoch + 1)
        if watched is not None and guard.stops(_loss(averaged, watched), averaged):
            break
    weights = guard.kept(averaged, seed=seed) if watched is not None else _weights(averaged)
    return FittedMember(weights, guard.curve(seed=seed, fold=fold, train_loss=losses))


def _epoch(
    network: DepthNet,
    train: Shown,
    optimiser: AdamW,
    averaging: "_Averaging",
    *,
    epoch: int,
    steps: int,
    settings: NetworkSettings,
    chance: torch.Generator,
) -> float:
    """One pass over freshly augmented images in a new order; the mean loss."""
    height, width = train.images.shape[2:]
    shift = max(1, round(settings.shift * min(height, width) / (2 * GRID))) if settings.shift else 0
    images = augment(train.images, shift=shift, generator=chance)
    order = torch.randperm(len(images), generator=chance).to(images.device)
    batch = min(settings.batch, len(images))
    total = torch.zeros((), device=images.device)
    for step in range(steps):
        chosen = order[step * batch : (step + 1) * batch]
        network.zero_grad()
        loss = functional.cross_entropy(
            network(images[chosen]), train.labels[chosen], label_smoothing=settings.label_smoothing
        )
        loss.backward()
        optimiser.step(learning_rate(epoch * steps + step, settings.epochs * steps, settings))
        averaging.update()
        total += loss.detach()
    return float(total) / steps


def epochs_of(steps: int, settings: NetworkSettings) -> int:
    """Passes over the images, each of so many steps: as set, or fewer where there are many images."""
    return max(1, min(settings.epochs, settings.most_steps // steps))


def learning_rate(step: int, steps: int, settings: NetworkSettings) -> float:
    """Step size at ``step`` of ``steps``: a straight rise from 0, then half a cosine back to 0."""
    rise = settings.warm_up * steps
    if step < rise:
        return settings.learning_rate * (step + 1) / max(1.0, rise)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


class _Averaging:
    """Keeps a running average of a network's weights and normalisation statistics, step by step."""

    def __init__(self, network: nn.Module, averaged: nn.Module, decay: float) -> None:
        self._live = _floats(network)
        self._averaged = _floats(averaged)
        self._decay = decay
        self._step = 0

    def update(self) -> None:
        decay = min(self._decay, (1 + self._step) / (10 + self._step))
        torch._foreach_lerp_(self._averaged, self._live, 1 - decay)
        self._step += 1


class _Guard:
    """Watches the validation loss of the averaged weights and remembers the best epoch's."""

    def __init__(self, *, strict: bool, settings: NetworkSettings) -> None:
        self._strict = strict
        self._patience = settings.strict_patience if strict else settings.patience
        self._losses: list[float] = []
        self._best = math.inf
        self._best_epoch: int | None = None
        self._best_weights: dict[str, NDArray[np.float32]] | None = None
        self._fired = False

    def stops(self, loss: float, averaged: nn.Module) -> bool:
        """Note an epoch's loss; True where training should end here."""
        self._losses.append(loss)
        if loss < self._best:
            self._best, self._best_epoch = loss, len(self._losses)
            self._best_weights = _weights(averaged)
        waited = len(self._losses) - (self._best_epoch or 0)
        self._fired = not math.isfinite(loss) or waited >= self._patience
        return self._fired

    def kept(self, averaged: nn.Module, *, seed: int) -> dict[str, NDArray[np.float32]]:
        """The best epoch's weights where the guard fired or is strict, else the last epoch's."""
        if not (self._fired or self._strict):
            return _weights(averaged)
        if self._best_weights is None:
            raise _diverged(seed, len(self._losses))
        return self._best_weights

    def curve(self, *, seed: int, fold: int, train_loss: list[float]) -> LearningCurve:
        restored = self._best_epoch is not None and (self._fired or self._strict)
        stopped = len(train_loss)
        kept = self._best_epoch if restored and self._best_epoch is not None else stopped
        return LearningCurve(
            seed,
            fold,
            tuple(train_loss),
            tuple(self._losses),
            self._best_epoch,
            stopped,
            kept,
            self._fired or kept < stopped,
        )


def _loss(network: nn.Module, watched: Shown) -> float:
    with torch.inference_mode():
        return float(functional.cross_entropy(network(watched.images), watched.labels))


def _chunk_risk(network: nn.Module, images: Tensor) -> Tensor:
    """Risks of up to ``CHUNK`` images, computed in a full chunk so that company changes no bit."""
    full = functional.pad(images, (0, 0, 0, 0, 0, 0, 0, CHUNK - len(images)))
    full = full.contiguous(memory_format=torch.channels_last)
    both = torch.stack([network(full), network(full.flip(3))]).cpu().double()
    return functional.softmax(both, dim=2)[:, : len(images), 1].mean(0)


def _labels(outcome: NDArray[np.bool_], device: str) -> Tensor:
    return torch.from_numpy(outcome.astype(np.int64)).to(device)


def _floats(network: nn.Module) -> list[Tensor]:
    return [values for values in network.state_dict().values() if values.is_floating_point()]


def _weights(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    return {
        name: values.detach().cpu().contiguous().numpy().copy()
        for name, values in network.state_dict().items()
        if values.is_floating_point()
    }


def _diverged(seed: int, epoch: int) -> InputError:
    return InputError(
        f"The training of seed {seed} diverged: its loss was not a finite number in epoch {epoch}. "
        "Lower the learning rate."
    )
