"""The one look of every figure: sizes of a journal column, colours for colour-blind readers, no clock."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

COLUMN = 3.5  # inches; 89 mm, one column of most journals
DPI = 300  # dots per inch, what journals ask of line art with shading
FORMATS = ("png", "svg", "pdf")

# Okabe and Ito's palette (Okabe M, Ito K. Color Universal Design, 2008), darkest first.
PRESENT = "#C44E00"  # the condition is there
ABSENT = "#0072B2"  # it is not
INK = "#222222"
MUTED = "#6B6B6B"
GRID = "#E3E3E3"
MODEL_COLOURS = ("#0072B2", "#C44E00", "#00795A", "#9B4A7F", "#8A6100", "#1F6E9C")
MODEL_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1)), (0, (8, 2, 2, 2, 2, 2)))

STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the bytes are the same everywhere
    "font.size": 7.5,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
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
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def journal_style() -> Iterator[None]:
    """Draw and save under the one style, and leave matplotlib's settings as they were."""
    with matplotlib.rc_context(dict(STYLE)):
        yield


def new_figure(*, width: float = COLUMN, height: float = 3.1) -> tuple[Figure, Axes]:
    """A figure with one Axes, in inches, that no global state knows of."""
    figure = empty_figure(width=width, height=height)
    return figure, figure.add_subplot()


def empty_figure(*, width: float = COLUMN, height: float = 3.1) -> Figure:
    """A figure without Axes, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def set_title(ax: Axes, title: str, subtitle: str, *, notice: str = "") -> None:
    """What is drawn, in bold; population, condition and n below it; a notice of synthetic data above."""
    lines = 1 + subtitle.count("\n")
    ax.set_title(title, pad=6 + 9.5 * lines)
    ax.annotate(
        subtitle, (0, 1), xytext=(0, 5), xycoords="axes fraction", textcoords="offset points",
        ha="left", va="bottom", fontsize=6.8, color=MUTED, annotation_clip=False, linespacing=1.25,
    )  # fmt: skip
    if notice:
        mark_synthetic(ax.figure, notice)  # type: ignore[arg-type]


def mark_synthetic(figure: Figure, notice: str) -> None:
    """Say on the figure itself that its data are made up."""
    if not any(text.get_gid() == "notice" for text in figure.texts):
        figure.suptitle(
            notice.split(":")[0], color="white", fontsize=7.5, fontweight="bold", gid="notice",
            bbox={"facecolor": "#A01616", "edgecolor": "none", "pad": 2.5},
        )  # fmt: skip


def shorten(text: str, length: int) -> str:
    """A name as a figure can show it: one line, at most ``length`` characters, none that the font lacks."""
    clean = " ".join(text.split())
    cut = clean if len(clean) <= length else f"{clean[: length - 1]}…"
    drawable = "".join(_drawable(letter) for letter in cut)
    # A dollar sign starts a formula, a leading underscore hides a label; neither is meant here.
    return ("\u2009" if drawable.startswith("_") else "") + drawable.replace("$", r"\$")


def _drawable(letter: str) -> str:
    font = get_font(findfont(FontProperties(family=str(STYLE["font.family"]))))
    return letter if font.get_char_index(ord(letter)) else "\u25a1"


def save(figure: Figure, stem: Path, *, formats: tuple[str, ...] = ("png",)) -> None:
    """Write ``stem.png`` and kin; the same drawing gives the same bytes."""
    for kind in formats:
        figure.savefig(stem.with_name(f"{stem.name}.{kind}"), format=kind, metadata=dict(_SILENT[kind]))
