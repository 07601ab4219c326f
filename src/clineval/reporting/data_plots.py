"""What the images and the training look like: counts, grey levels, learning curves, small images."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from clineval.data.exploration import GreyLevels, SplitCount
from clineval.reporting.figure_style import ABSENT, INK, MODEL_COLOURS, MUTED, PRESENT, shorten
from clineval.reporting.wording import percent, whole

TILE = 1.42  # height of a small image with its two lines of caption, in widths


class LearningCurve(Protocol):
    """How one member learnt, epoch by epoch, as the learning room records it."""

    @property
    def seed(self) -> int: ...
    @property
    def train_loss(self) -> Sequence[float]: ...
    @property
    def val_loss(self) -> Sequence[float]: ...
    @property
    def kept_epoch(self) -> int: ...
    @property
    def fired(self) -> bool: ...


def draw_class_distribution(splits: Sequence[SplitCount], ax: Axes, *, condition: str) -> None:
    """Cases with and without the condition per split, each bar with its count and the prevalence."""
    place = np.arange(len(splits))
    events = np.array([split.events for split in splits])
    others = np.array([split.cases - split.events for split in splits])
    bars = (
        (place - 0.2, events, PRESENT, shorten(condition, 24)),
        (place + 0.2, others, ABSENT, f"not {shorten(condition, 24)}"),
    )
    for where, counts, colour, label in bars:
        ax.bar(where, counts, width=0.38, color=colour, label=label)
        for at, count in zip(where, counts, strict=True):
            ax.annotate(
                whole(int(count)), (at, count), xytext=(0, 2), textcoords="offset points", ha="center"
            )
    ax.set_xticks(place)
    ax.set_xticklabels(
        [f"{shorten(s.split, 18)}\nn = {whole(s.cases)}\n{percent(s.prevalence)}" for s in splits]
    )
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.12)
    ax.set_ylabel("cases")


def draw_grey_levels(levels: GreyLevels, ax: Axes, *, colour: str) -> None:
    """How often each grey level occurs in all images of a class, with mean and median."""
    share = levels.histogram / max(levels.histogram.sum(), 1)
    bins = share.reshape(64, 4).sum(axis=1)  # four grey levels a bar: 256 would be hairlines in a column
    ax.stairs(100 * bins, np.arange(65) * 4, fill=True, color=colour, linewidth=0)
    if levels.cases:
        ax.axvline(levels.mean, color=INK, linewidth=1, label=f"mean {levels.mean:.0f}, SD {levels.sd:.0f}")
        median = levels.quantiles[0.50]
        ax.axvline(median, color=INK, linewidth=1, linestyle=(0, (3, 2)), label=f"median {median:.0f}")
    ax.set_xlim(0, 256)
    ax.set_xticks([0, 64, 128, 192, 255])
    ax.set_xlabel("grey level of a pixel (0 black to 255 white)")
    ax.set_ylabel("share of pixels, %")


def draw_learning_curves(curves: Sequence[LearningCurve], ax: Axes) -> None:
    """Training and validation loss of each member per epoch; a mark where its kept weights come from."""
    for index, curve in enumerate(curves):
        epochs = np.arange(1, len(curve.train_loss) + 1)
        alpha = 0.9 if len(curves) == 1 else 0.55
        ax.plot(
            epochs,
            curve.train_loss,
            color=MUTED,
            linewidth=0.9,
            alpha=alpha,
            label="training" if not index else None,
        )
        if len(curve.val_loss):
            ax.plot(
                np.arange(1, len(curve.val_loss) + 1), curve.val_loss, color=MODEL_COLOURS[0], linewidth=1.1,
                alpha=alpha, label="validation" if not index else None,
            )  # fmt: skip
    _mark_kept(curves, ax)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.set_ylabel("cross-entropy loss")


def _mark_kept(curves: Sequence[LearningCurve], ax: Axes) -> None:
    """The epoch whose weights each member kept, on its validation curve where there is one."""
    labelled: set[bool] = set()
    for curve in curves:
        watched = curve.val_loss if len(curve.val_loss) else curve.train_loss
        if not 1 <= curve.kept_epoch <= len(watched):
            continue
        words = "stopped early, best weights kept" if curve.fired else "weights kept (stopping did not fire)"
        ax.plot(
            [curve.kept_epoch], [watched[curve.kept_epoch - 1]], linestyle="none",
            marker="D" if curve.fired else "o", markersize=4.5, markerfacecolor=PRESENT,
            markeredgecolor="white", markeredgewidth=0.6, zorder=5,
            label=None if curve.fired in labelled else words,
        )  # fmt: skip
        labelled.add(curve.fired)


def draw_tiles(
    images: Sequence[NDArray[np.uint8]], captions: Sequence[str], ax: Axes, *, columns: int
) -> None:
    """Grey images in rows, a caption under each, at their own pixels; a tile is 1 wide and TILE high."""
    rows = max(1, -(-len(images) // columns))
    ax.set_xlim(0, columns)
    ax.set_ylim(rows * TILE, 0)
    ax.axis("off")
    if not images:
        return
    extent = (0, columns, rows * TILE, 0)
    mosaic = _mosaic(images, rows=rows, columns=columns)
    ax.imshow(mosaic, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent, aspect="auto")
    for place, caption in enumerate(captions):
        spot = (place % columns + 0.5, place // columns * TILE + 0.99)
        ax.text(*spot, caption, fontsize=5.4, ha="center", va="top", linespacing=1.15)


def _mosaic(images: Sequence[NDArray[np.uint8]], *, rows: int, columns: int) -> NDArray[np.uint8]:
    """One white sheet with every image in its cell: a single picture draws ten times faster than many."""
    height, width = images[0].shape
    margin = max(1, width // 28)
    across = width + 2 * margin
    down = round(across * TILE)
    sheet = np.full((rows * down, columns * across), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * down + margin, place % columns * across + margin
        sheet[top : top + height, left : left + width] = image
    return sheet
