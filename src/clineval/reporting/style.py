"""The style of every figure: sizes of a journal column, colours for colour-blind readers, no clock."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

COLUMN = 3.5  # inches; 89 mm, one column of most journals
DPI = 300  # dots per inch, what journals ask of line art with shading
FORMATS = ("png", "svg", "pdf")

# Okabe and Ito's palette (Okabe M, Ito K. Color Universal Design, 2008), darkest first.
PRESENT = "#C44E00"  # the condition is present
ABSENT = "#7C8790"  # it is absent
INK = "#222222"
MUTED = "#6B6B6B"
GRID = "#E3E3E3"
CALLS = {  # of the 2x2, as on the report's page
    "true_positives": "#DBEAF6",
    "false_negatives": "#FAD7DF",
    "false_positives": "#EBE4F7",
    "true_negatives": "#EDF0F2",
}
MODEL_COLOURS = ("#15202B", "#66727D", "#8A5A2B", "#2F7D75", "#97721A", "#8D97A0")  # the primary one in ink
MODEL_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1)), (0, (8, 2, 2, 2, 2, 2)))

STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the bytes are the same everywhere
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "text.color": INK,
    "axes.labelcolor": INK,
    "legend.fontsize": 6.8,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,  # TrueType, so that journals can edit and search the text
    "svg.fonttype": "path",  # glyphs travel with the file
    "svg.hashsalt": "clineval",  # element ids depend on the drawing alone
}

# matplotlib writes its version and the time into files unless told not to; bytes must depend on data alone.
_SILENT: Mapping[str, Mapping[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def journal_style() -> Iterator[None]:
    """Draw and save under the one style, and leave matplotlib's settings as they were."""
    with matplotlib.rc_context(cast(Any, dict(STYLE))):
        yield


@dataclass(frozen=True)
class Heading:
    """The heading of every figure: what is drawn, of what, and the notice where the data are synthetic."""

    title: str
    subtitle: str
    notice: str = ""


def new_figure(*, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side that no global state knows of; ``lay_out`` gives it its size."""
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure, [figure.add_axes((0.1, 0.1, 0.8, 0.8), label=str(panel)) for panel in range(panels)]


def lay_out(
    figure: Figure,
    heading: Heading,
    *,
    width: float = COLUMN,
    height: float = 2.2,
    left: float = 0.52,
    above: float = 0.0,
    below: float = 0.42,
) -> Figure:
    """Put heading, panels and legend on a page just large enough, everything in inches.

    Parameters
    ----------
    width : of the page; ``height`` of the panels.
    left, above, below : room beside, above and below each panel for its labels.
    """
    legend = _entries(figure.axes)
    legend_height = 0.06 + _LINE * sum(1 + label.count("\n") for _, label in legend) if legend else 0.0
    subtitle = textwrap.fill(heading.subtitle, int(width * _LETTERS))
    top = (_NOTICE if heading.notice else 0.0) + 0.3 + _LINE * (1 + subtitle.count("\n")) + 0.12
    page = top + above + height + below + legend_height + 0.05
    figure.set_size_inches(width, page)
    share = (width - _EDGE) / len(figure.axes)
    for place, ax in enumerate(figure.axes):
        inner = share - left - (_EDGE if place == len(figure.axes) - 1 else 0.0)
        foot = 0.05 + legend_height + below
        ax.set_position(
            ((_EDGE / 2 + place * share + left) / width, foot / page, inner / width, height / page)
        )
    _write_heading(figure, heading, subtitle, width, page)
    if legend:
        _write_legend(figure, legend, width, page, legend_height)
    return figure


def lay_out_stacked(figure: Figure, heading: Heading, *, height: float) -> Figure:
    """Put the panels one below the other in a journal's column, so that they read on a small screen too.

    Parameters
    ----------
    height : of each panel in inches.
    """
    axes, below = figure.axes, 0.42  # inches under each panel for its labels
    step = height + below
    lay_out(figure, heading, height=height + (len(axes) - 1) * step, below=below)
    page = figure.get_size_inches()[1]
    foot = axes[0].get_position().y0
    left = (_EDGE / 2 + 0.52) / COLUMN
    for place, ax in enumerate(reversed(axes)):
        ax.set_position((left, foot + place * step / page, 1 - left - _EDGE / COLUMN, height / page))
    return figure


_LINE = 0.137  # inches a line of small text takes
_LETTERS = 19.0  # small letters to the inch
_EDGE = 0.14  # inches left free at the sides
_NOTICE = 0.27  # inches of the band that says that data are synthetic


def _entries(axes: Sequence[Axes]) -> list[tuple[Artist, str]]:
    found: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return [(handle, label) for label, handle in found.items()]


def _write_heading(figure: Figure, heading: Heading, subtitle: str, width: float, page: float) -> None:
    top = page - (_NOTICE if heading.notice else 0.0) - 0.09
    if heading.notice:
        band = Rectangle(
            (0, 1 - 0.24 / page), 1, 0.24 / page, facecolor="#A01616", transform=figure.transFigure
        )
        figure.add_artist(band)
        words: dict[str, Any] = {
            "color": "white",
            "fontweight": "bold",
            "fontsize": 8.5,
            "ha": "center",
            "va": "center",
        }
        figure.text(0.5, 1 - 0.12 / page, heading.notice.split(":")[0], gid="notice", **words)
    left = _EDGE / width
    figure.text(left, top / page, heading.title, fontsize=9, fontweight="bold", va="top", gid="title")
    spot = (top - 0.2) / page
    figure.text(left, spot, subtitle, fontsize=6.8, color=MUTED, va="top", gid="subtitle", linespacing=1.25)


def _write_legend(
    figure: Figure, legend: list[tuple[Artist, str]], width: float, page: float, height: float
) -> None:
    handles, labels = zip(*legend, strict=True)
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(_EDGE / width, (0.05 + height) / page),
        borderaxespad=0,
        borderpad=0,
        labelspacing=0.32,
        handletextpad=0.6,
    )


def shorten(text: str, length: int) -> str:
    """A name as a figure can show it: one line, at most ``length`` characters, none that the font lacks."""
    clean = " ".join(text.split())
    cut = clean if len(clean) <= length else f"{clean[: length - 1]}…"
    drawable = "".join(_drawable(letter) for letter in cut)
    # A dollar sign starts a formula, a leading underscore hides a label; neither is meant here.
    return ("\u2009" if drawable.startswith("_") else "") + drawable.replace("$", r"\$")


@cache
def _drawable(letter: str) -> str:
    if letter == "\n":
        return letter
    font = get_font(findfont(FontProperties(family=str(STYLE["font.family"]))))
    return letter if font.get_char_index(ord(letter)) else "\u25a1"


def save(figure: Figure, stem: Path, *, formats: tuple[str, ...] = ("png",)) -> None:
    """Write ``stem.png`` and kin; the same drawing gives the same bytes.

    Letters that the font lacks, as of names in other scripts, are drawn as empty boxes.
    """
    for pack in packed(figure, stem, formats=formats):
        pack()


def packed(figure: Figure, stem: Path, *, formats: tuple[str, ...]) -> list[Callable[[], None]]:
    """The figure drawn, and what is left to do to write it: packing may run beside the next drawing."""
    for text in _texts(figure):
        drawable = "".join(map(_drawable, text.get_text()))
        if drawable != text.get_text():
            text.set_text(drawable)
    left = []
    for kind in formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        if kind == "png":
            left.append(_drawn_png(figure, path))
        else:
            figure.savefig(path, format=kind, metadata=dict(_SILENT[kind]))
    return left


def _texts(artist: Artist) -> Iterator[Text]:
    """Every text of a figure, but no ticks of Axes that are switched off: making them takes longest."""
    unseen = [artist.xaxis, artist.yaxis] if isinstance(artist, Axes) and not artist.axison else []
    for child in artist.get_children():
        if isinstance(child, Text):
            yield child
        if child not in unseen:
            yield from _texts(child)


def _drawn_png(figure: Figure, path: Path) -> Callable[[], None]:
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.draw()
    picture = Image.fromarray(np.array(canvas.buffer_rgba()))
    # Level 4 packs line art as well as level 6 does, in half the time.
    return partial(picture.save, path, format="png", dpi=(DPI, DPI), compress_level=4)
