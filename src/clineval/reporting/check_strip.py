"""A check strip: a user's images as they came beside what the models see, row by row of scanner or site."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from clineval.data.raw_samples import RawSample, RawSamples
from clineval.reporting.figure_style import (
    ABSENT,
    INK,
    PRESENT,
    Heading,
    journal_style,
    lay_out,
    new_figure,
    save,
    shorten,
)

WIDTH = 7.2  # inches; 183 mm, two columns of most journals
PAIR, GAP = 2.06, 0.12  # width of a pair and of the room to the next, in heights of an image
ROW = 1.42  # height of a row with heading and captions, in heights of an image
HEADING, CAPTION = 0.17, 0.06  # from the row's upper edge to the images, from the images to a caption
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
        height = rows * ROW * inner / (across * (PAIR + GAP))
        heading = Heading(
            f"Images as they came and as prepared{f', by {shorten(drawn.by, 30)}' if drawn.by else ''}",
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
        ax.text(0, row * ROW + HEADING - 0.05, name + empty, fontsize=7, fontweight="bold", va="bottom")
        for place, sample in enumerate(samples):
            _draw_pair(sample, ax, left=place * (PAIR + GAP), top=row * ROW + HEADING)
    name_outcomes(ax, condition, what="cut")
    ax.set_xlim(0, across * (PAIR + GAP))
    ax.set_ylim(max(1, len(by_value)) * ROW, 0)
    ax.axis("off")
    return across


def _draw_pair(sample: RawSample, ax: Axes, *, left: float, top: float) -> None:
    draw_file(sample, (sample.box,), ax, left=left, top=top)
    show(sample.prepared, ax, (left + 1.06, left + 2.06, top + 1, top), smooth=False)
    name = shorten(sample.case, LONGEST_NAME)
    ax.text(left, top + 1 + CAPTION, name, fontsize=5.4, va="top", color=INK)


def draw_file(sample: RawSample, boxes: Sequence[Box], ax: Axes, *, left: float, top: float) -> None:
    """A file as it came, within a square of side 1, each differing cut outlined, the second dashed."""
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
