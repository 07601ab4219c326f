"""Strips of images: as given, as prepared, and as scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from clineval.data.own_images import RawSample, RawSamples
from clineval.reporting.style import (
    ABSENT,
    COLUMN,
    INK,
    MUTED,
    PRESENT,
    Heading,
    journal_style,
    lay_out,
    new_figure,
    save,
    shorten,
)

WIDTH = 7.2  # inches; 183 mm, two columns of most journals
PAIR, PAIR_GAP = 2.06, 0.12  # width of a pair and of the space to the next, in heights of an image
ROW = 1.42  # height of a row with heading and captions, in heights of an image
ROW_HEADING, CAPTION = 0.17, 0.06  # from the row's upper edge to the images, from the images to a caption
LONGEST_NAME, LONGEST_VALUE = 22, 60  # letters
DASHES = ("-", (0, (2.5, 1.5)))  # of the outlines: the first square, the second
Box = tuple[float, float, float, float]  # left, upper, right and lower edge in pixels of the file


def write_check_strip(
    drawn: RawSamples, path: Path, *, preparation: str, condition: str, notice: str = ""
) -> None:
    """Draw raw and prepared pictures side by side, the square that was cut outlined, as ``path`` (png).

    Colour of the outline tells the outcome. Where no picture may be shown the figure says so.
    """
    with journal_style():
        figure, (ax,) = new_figure()
        across = draw_check_strip(drawn, ax, condition=condition)
        rows = max(1, len(drawn.cases))
        inner = WIDTH - 0.3
        height = rows * ROW * inner / (across * (PAIR + PAIR_GAP))
        heading = Heading(
            f"Images as given and as prepared{f', by {shorten(drawn.by, 30)}' if drawn.by else ''}",
            f"Left of each pair the file, its cut outlined; right what the models see: {preparation}",
            notice,
        )
        lay_out(figure, heading, width=WIDTH, height=height, left=0.07, below=0.05)
        save(figure, path.with_suffix(""))


def draw_check_strip(drawn: RawSamples, ax: Axes, *, condition: str) -> int:
    """Pairs of raw and prepared pictures, a row per value; returns how many pairs a row has."""
    by_value = {value: [s for s in drawn.samples if s.value == value] for value in drawn.cases}
    across = max(1, *(len(samples) for samples in by_value.values())) if by_value else 1
    for row, (value, samples) in enumerate(by_value.items()):
        name = f"{shorten(value, LONGEST_VALUE)}  (n = {drawn.cases[value]})"
        empty = "" if samples else ": no picture shown, text is burnt into every one"
        ax.text(0, row * ROW + ROW_HEADING - 0.05, name + empty, fontsize=7, fontweight="bold", va="bottom")
        for place, sample in enumerate(samples):
            _draw_pair(sample, ax, left=place * (PAIR + PAIR_GAP), top=row * ROW + ROW_HEADING)
    name_outcomes(ax, condition, what="cut")
    ax.set_xlim(0, across * (PAIR + PAIR_GAP))
    ax.set_ylim(max(1, len(by_value)) * ROW, 0)
    ax.axis("off")
    return across


def _draw_pair(sample: RawSample, ax: Axes, *, left: float, top: float) -> None:
    draw_file(sample, (sample.box,), ax, left=left, top=top)
    show(sample.prepared, ax, (left + 1.06, left + 2.06, top + 1, top), smooth=False)
    name = shorten(sample.case, LONGEST_NAME)
    ax.text(left, top + 1 + CAPTION, name, fontsize=5.4, va="top", color=INK)


def draw_file(sample: RawSample, boxes: Sequence[Box], ax: Axes, *, left: float, top: float) -> None:
    """A file as given, within a square of side 1, each differing cut outlined, the second dashed."""
    height, width = sample.raw.shape
    scale = 1 / max(height, width, *(abs(edge) for box in boxes for edge in box))
    x, y = left + (1 - width * scale) / 2, top + (1 - height * scale) / 2
    show(sample.raw, ax, (x, x + width * scale, y + height * scale, y), smooth=True)
    for place, (start, upper, end, lower) in enumerate(dict.fromkeys(boxes)):
        outline = Rectangle(
            (x + start * scale, y + upper * scale),
            (end - start) * scale,
            (lower - upper) * scale,
            fill=False,
            edgecolor=PRESENT if sample.outcome else ABSENT,
            linestyle=DASHES[place % len(DASHES)],
            linewidth=1.1,
        )
        ax.add_patch(outline)


def name_outcomes(ax: Axes, condition: str, *, what: str) -> None:
    """Entries of the legend that say which colour of an outline is which outcome."""
    for label, colour in ((shorten(condition, 30), PRESENT), (f"not {shorten(condition, 30)}", ABSENT)):
        ax.plot([], [], color=colour, linewidth=1.5, label=f"{what} of an image with outcome: {label}")


def show(picture: np.ndarray, ax: Axes, extent: tuple[float, float, float, float], *, smooth: bool) -> None:
    """A grey picture in its place: left, right, lower and upper edge; ``smooth`` where it is made smaller."""
    how = "antialiased" if smooth else "nearest"
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation=how, extent=extent, aspect="auto")


LEAST = 4  # pictures that a line has space for, so that few are not drawn huge
GAP = 0.06  # between two pictures, in heights of one
LINE, HEADING = 1.2, 0.3  # heights of an image's line with its caption, and of a scanner's name
TOP = 0.42  # for the names of the columns


@dataclass(frozen=True)
class ScoredSquares:
    """One image with the outline of each square in its file, and the pictures that were scored.

    ``pictures`` are in the order of the columns; None where a square is the first one again.
    """

    sample: RawSample
    boxes: tuple[Box, ...]
    pictures: tuple[NDArray[np.uint8] | None, ...]


def write_scored_strip(
    drawn: RawSamples,
    squares: Sequence[ScoredSquares],
    path: Path,
    *,
    names: Sequence[str],
    views: str,
    condition: str,
    notice: str = "",
) -> None:
    """Draw a line per image: the file with its squares outlined, then each picture, as ``path`` (png).

    Parameters
    ----------
    drawn : the values by which images were drawn, with how many there are of each.
    names : of the pictures, one per column.
    views : which model scores further views, in words; empty where none does.
    """
    with journal_style():
        figure, (ax,) = new_figure()
        rows = draw_scored_strip(drawn, squares, ax, names=names, condition=condition)
        across = _across(names)
        two = any(len(each.boxes) > 1 for each in squares)
        further = f" Views, shown of the first square and not mirrored: {views}." if views else ""
        heading = Heading(
            f"Images as given and as scored{f', by {shorten(drawn.by, 14)}' if drawn.by else ''}",
            f"Left the file, its squares outlined{', the second dashed' if two else ''}; beside it what the "
            f"models see.{further}",
            notice,
        )
        lay_out(figure, heading, height=rows * (COLUMN - 0.3) / across, left=0.07, below=0.05)
        save(figure, path.with_suffix(""))


def draw_scored_strip(
    drawn: RawSamples, squares: Sequence[ScoredSquares], ax: Axes, *, names: Sequence[str], condition: str
) -> float:
    """The lines on one Axes; returns the height of all of them, in heights of a picture."""
    for place, name in enumerate(("as\ngiven", *names)):
        ax.text(place * (1 + GAP) + 0.5, TOP - 0.06, name, fontsize=6, ha="center", va="bottom", color=MUTED)
    top = TOP
    for value, count in drawn.cases.items():
        of_it = [each for each in squares if each.sample.value == value]
        empty = "" if of_it else ": none shown, text is burnt into every one"
        title = f"{shorten(value, 34)} (n = {count}){empty}"
        ax.text(0, top + HEADING - 0.06, title, fontsize=6.8, fontweight="bold", va="bottom")
        top += HEADING
        for each in of_it:
            _draw_line(each, ax, top=top)
            top += LINE
    name_outcomes(ax, condition, what="squares")
    ax.set_xlim(0, _across(names))
    ax.set_ylim(top, 0)
    ax.axis("off")
    return top


def _across(names: Sequence[str]) -> float:
    """Width of the file and the named pictures with the gaps between them, in heights of a picture."""
    return max(LEAST, 1 + len(names)) * (1 + GAP) - GAP


def _draw_line(each: ScoredSquares, ax: Axes, *, top: float) -> None:
    draw_file(each.sample, each.boxes, ax, left=0, top=top)
    for place, picture in enumerate(each.pictures, start=1):
        corner = place * (1 + GAP)
        if picture is None:
            words = "the same\nsquare"
            ax.text(corner + 0.5, top + 0.5, words, fontsize=6, ha="center", va="center", color=MUTED)
        else:
            show(picture, ax, (corner, corner + 1, top + 1, top), smooth=False)
    ax.text(0, top + 1.02, shorten(each.sample.case, 40), fontsize=5.6, va="top", color=INK)
