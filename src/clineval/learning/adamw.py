"""AdamW: Loshchilov I, Hutter F (2019), Decoupled weight decay regularization, arXiv:1711.05101."""

import torch
from torch import Tensor, nn

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
