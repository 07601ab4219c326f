"""A check strip of a validation: files beside every square that was scored, an image a line, by scanner."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from clineval.data.raw_samples import RawSample, RawSamples
from clineval.reporting.check_strip import Box, draw_file, name_outcomes, show
from clineval.reporting.figure_style import (
    COLUMN,
    INK,
    MUTED,
    Heading,
    journal_style,
    lay_out,
    new_figure,
    save,
    shorten,
)

LEAST = 4  # pictures that a line has room for, so that few are not drawn huge
GAP = 0.06  # between two pictures, in heights of one
LINE, HEADING = 1.2, 0.3  # heights of an image's line with its caption, and of a scanner's name
TOP = 0.42  # for the names of the columns


@dataclass(frozen=True)
class ScoredSquares:
    """One image with the outline of each square in its file, and the pictures that were scored.

    ``pictures`` stand in the order of the columns; None where a square is the first one again.
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
    looks: str,
    condition: str,
    notice: str = "",
) -> None:
    """Draw a line per image: the file with its squares outlined, then each picture, as ``path`` (png).

    Parameters
    ----------
    drawn : the values by which images were drawn, with how many there are of each.
    names : of the pictures, one per column.
    looks : which model looks further, in words; empty where none does.
    """
    with journal_style():
        figure, (ax,) = new_figure()
        rows = draw_scored_strip(drawn, squares, ax, names=names, condition=condition)
        across = _across(names)
        two = any(len(each.boxes) > 1 for each in squares)
        further = f" Looks, shown of the first square and not mirrored: {looks}." if looks else ""
        heading = Heading(
            f"Images as they came and as scored{f', by {shorten(drawn.by, 14)}' if drawn.by else ''}",
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
    for place, name in enumerate(("as it\ncame", *names)):
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
