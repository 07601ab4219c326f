"""Architecture of the convolutional network."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

ARCHITECTURE = "depthnet-3"  # changes with anything that changes what weights mean
GRID = 14  # rows and columns after the stem, whatever the size of the image
WIDTH = 16  # channels after the stem; multiples of 16 fill the vector units
DROPOUT = 0.2


class Residual(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation, and a shortcut around them.

    With more channels going out than coming in, the maps are halved first, for both ways alike.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.halves = channels_out > channels_in
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if self.halves:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (cases, channels_in, rows, columns) to (cases, channels_out, ...)."""
        if self.halves:
            maps = halved(maps)
        inner = functional.relu(self.first_norm(self.first(maps)), inplace=True)
        inner = self.second_norm(self.second(inner))
        return functional.relu(inner.add_(self.shortcut(maps)), inplace=True)


class DepthNet(nn.Module):
    """A residual network of 78,000 weights whose head averages over left and right but keeps depth.

    Where a lesion lies from left to right says nothing; how deep it lies, and what is below it
    (shadow, enhancement), does: worth .014 of grouped cross-validated AUC over global averaging.

    Parameters
    ----------
    height, width : pixels of an image; the stem's stride brings either to about 14 cells.
    """

    def __init__(self, height: int = 28, width: int = 28) -> None:
        super().__init__()
        stride = max(1, round(min(height, width) / GRID))
        self.stem = nn.Conv2d(1, WIDTH, 2 * stride + 1, stride, stride, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTH)
        self.blocks = nn.Sequential(
            Residual(WIDTH, WIDTH),
            Residual(WIDTH, 2 * WIDTH),
            Residual(2 * WIDTH, 4 * WIDTH),
        )
        rows = _after(_after(_after(height, stride), 2), 2)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(4 * WIDTH * rows, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Scores for absent and present, shape (cases, 2), of images (cases, 1, height, width)."""
        # Of one channel torch cannot tell the layouts apart; told here, all maps after it are channels-last.
        images = images.squeeze(1).unsqueeze(3).permute(0, 3, 1, 2)
        maps = functional.relu(self.stem_norm(self.stem(images)), inplace=True)
        maps = self.blocks(maps)
        if maps.requires_grad:
            maps.register_hook(_channels_last)
        return self.head(self.dropout(maps.mean(3).flatten(1)))


def halved(maps: Tensor) -> Tensor:
    """Every second row and column of the maps, blurred first so that speckle does not turn into a pattern.

    Weights 1 2 1 in both directions, edges repeated: Zhang R (2019), Making convolutional networks
    shift-invariant again, arXiv:1904.11486. As two matrix products it takes a third of the time of a
    convolution channel by channel.
    """
    cases, channels, rows, columns = maps.shape
    down, across = _blur(rows, maps.device), _blur(columns, maps.device)
    lines = maps.permute(0, 2, 3, 1).reshape(cases, rows, columns * channels)
    lines = torch.bmm(down.expand(cases, -1, -1), lines).view(-1, columns, channels)
    small = torch.bmm(across.expand(len(lines), -1, -1), lines)
    return small.view(cases, len(down), len(across), channels).permute(0, 3, 1, 2)


def build_network(height: int, width: int, *, seed: int) -> DepthNet:
    """A fresh network whose first weights depend on ``seed`` alone; torch's own chance is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DepthNet(height, width)
    for weights in network.parameters():
        if weights.ndim == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)
    return network


def parameters_of(network: nn.Module) -> int:
    """How many weights the network learns."""
    return sum(weights.numel() for weights in network.parameters())


@cache
def _blur(length: int, device: torch.device) -> Tensor:
    """The matrix that takes ``length`` places to every second one, weights 1 2 1, edges repeated."""
    with torch.inference_mode(False):  # it serves trainings later, whoever asks first
        kept = torch.arange(0, length, 2)
        matrix = torch.zeros(len(kept), length)
        for offset, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            matrix[torch.arange(len(kept)), (kept + offset).clamp(0, length - 1)] += weight
        return matrix.to(device)


def _channels_last(gradient: Tensor) -> Tensor:
    """The gradient in the layout of the maps; as the mean leaves it, all below runs a tenth slower."""
    return gradient.contiguous(memory_format=torch.channels_last)


def _after(length: int, stride: int) -> int:
    return (length - 1) // stride + 1
