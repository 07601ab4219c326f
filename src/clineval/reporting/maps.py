"""Pictures of maps: the change in risk over the image, with contours and numbers beside the colours."""

import base64
import io
from math import isnan
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from clineval.reporting.artefacts import Explanation, Floats, MapCheck
from clineval.reporting.data_plots import WIDTH, show
from clineval.reporting.sentences import number, signed, whole_percent
from clineval.reporting.style import INK, MUTED, Heading, journal_style, lay_out, new_figure, save, shorten

RAISES, LOWERS = "#C44E00", "#1F5FA8"
STRONGEST = 0.75  # share of the colour where a map is largest
LINES = (1 / 3, 2 / 3)  # of the largest change: where contours run
STEP = 1.1  # from one picture to the next, in heights of a picture
SCREEN_DPI = 150
TILE, TILE_DPI = 1.12, 200  # inches of a small picture, dots per inch


def write_explanation(found: Explanation, path: Path) -> None:
    """Draw the image, its map and the map of the randomised model side by side, as ``path`` (png)."""
    with journal_style():
        save(_figure(found), path.with_suffix(""))


def explanation_png(found: Explanation) -> bytes:
    """The same picture as bytes, for a page or a notebook."""
    kept = io.BytesIO()
    with journal_style():
        _figure(found).savefig(kept, format="png", dpi=SCREEN_DPI, metadata={"Software": None})
    return kept.getvalue()


def _figure(found: Explanation) -> Figure:
    figure, (ax,) = new_figure()
    height = draw_explanation(found, ax)
    threshold = "" if found.threshold is None else f", {_call(found)} {number(found.threshold, 3)}"
    alone = ", by this square alone" if found.risk_in_words == f"{found.risk:.3f}" else ""
    warned = "".join(f"WARNING: {text} " for text in found.warnings.values())
    heading = Heading(
        f"What the risk of {shorten(found.image, 40)} depends on, by {shorten(found.model, 20)}",
        f"{warned}Risk of {shorten(found.condition, 30)} {found.risk_in_words}{threshold}{alone}. The maps: "
        f"how far {found.patch} x {found.patch} pixels raise it, against the image's mean grey in their "
        f"place. {checked(found.check)} A map shows neither where the lesion is nor a cause.",
        found.notice,
    )
    inner = WIDTH - 0.3
    return lay_out(figure, heading, width=WIDTH, height=height * inner / _ACROSS, left=0.07, below=0.05)


_ACROSS = 2 * STEP + 1
_TITLE, _SCALE = 0.1, 0.22
_KEY = (
    "Each map has its own scale (percentage\npoints of risk). Solid line: the patch\n"
    "raises the risk, dashed: it lowers it."
)


def draw_explanation(found: Explanation, ax: Axes) -> float:
    """Image, map and map of the randomised model in a row; returns the height, in heights of a picture.

    Each map's colours reach as far as its own largest change, which stands under it: the maps are compared
    by where they change, and one that is weak beside the other would be invisible on the other's scale.
    """
    side = found.square.shape[0]
    pictures: list[tuple[str, Floats | None]] = [("The image, as the model sees it", None)]
    pictures.append(("Its map" if found.check.passed else "Its map: failed its check", found.map))
    if found.randomised is not None:
        pictures.append(("The same with random weights", found.randomised))
    for place, (title, changes) in enumerate(pictures):
        left = place * STEP
        show(found.square, ax, (left, left + 1, _TITLE + 1, _TITLE), smooth=False)
        ax.text(left, _TITLE - 0.03, title, fontsize=7, fontweight="bold", va="bottom")
        if changes is not None:
            largest = largest_change(changes)
            reach = changes.shape[0] * found.stride / side
            box = (left, left + reach, _TITLE + reach, _TITLE)
            draw_map(changes, ax, box, largest=largest, grey=not found.check.passed)
            if found.check.passed:
                _draw_extremes(changes, ax, box)
                _draw_scale(ax, left=left, top=_TITLE + 1.05, largest=largest)
    grey = "The map is grey" if found.randomised is None else "Both maps are grey"
    words = _KEY if found.check.passed else f"{grey}: not to be read."
    ax.text(0, _TITLE + 1.04, words, fontsize=6, va="top", color=MUTED, linespacing=1.3)
    bottom = _TITLE + 1 + _SCALE
    ax.set_xlim(0, _ACROSS)
    ax.set_ylim(bottom, 0)
    ax.axis("off")
    return bottom


def draw_map(
    changes: Floats, ax: Axes, box: tuple[float, float, float, float], *, largest: float, grey: bool
) -> None:
    """Changes in risk over a picture: colour, and contours that are dashed where the patch lowers the risk.

    A grey map has neither.

    Parameters
    ----------
    changes : shape (rows, columns), in risk.
    box : left, right, lower and upper edge.
    largest : absolute change at which the colour is strongest; ``grey`` for a map that is not to be read.
    """
    left, right, lower, upper = box
    ax.imshow(_coloured(changes, largest, grey=grey), extent=box, aspect="auto", interpolation="nearest")
    if grey:
        frame = Rectangle((left, upper), right - left, lower - upper, fill=False, hatch="//", linewidth=0)
        frame.set_edgecolor("#999999")
        ax.add_patch(frame)
    elif np.ptp(changes) > 0 and min(changes.shape) > 1:
        _draw_contours(changes, ax, box, largest)


def _draw_extremes(changes: Floats, ax: Axes, box: tuple[float, float, float, float]) -> None:
    """The largest rise and fall of risk in percentage points, each at its cell."""
    for place, mark in ((changes.argmax(), "▲"), (changes.argmin(), "▼")):
        row, column = np.unravel_index(place, changes.shape)
        value = float(changes[row, column])
        if (value > 0) == (mark == "▲") and value != 0:
            _write_number(ax, box, changes.shape, (int(row), int(column)), f"{mark} {_points(value)}")


def map_tile(changes: Floats, picture: str, *, grey: bool) -> bytes:
    """A map over its image, a base64 PNG, as a small PNG."""
    with journal_style(), Image.open(io.BytesIO(base64.b64decode(picture)), formats=("PNG",)) as image:
        figure = Figure(figsize=(TILE, TILE), dpi=TILE_DPI)
        FigureCanvasAgg(figure)
        ax = figure.add_axes((0, 0, 1, 1))
        box = (0.0, 1.0, 1.0, 0.0)
        show(np.asarray(image.convert("L")), ax, box, smooth=False)
        draw_map(changes, ax, box, largest=largest_change(changes), grey=grey)
        ax.set_xlim(0, 1)
        ax.set_ylim(1, 0)
        ax.axis("off")
        kept = io.BytesIO()
        figure.savefig(kept, format="png", dpi=TILE_DPI, metadata={"Software": None})
    return kept.getvalue()


def checked(check: MapCheck) -> str:
    """What the check of a map showed, in one or two sentences."""
    parts = [
        f"Rank correlation, regardless of sign, with random weights {number(check.agreement, 2)}",
        f"with the image moved by one pixel {number(check.stability, 2)}",
    ]
    if not isnan(check.seeds):
        parts.append(f"between members of the ensemble {number(check.seeds, 2)}")
    if not isnan(check.marks):
        area = f"on {whole_percent(check.marks_area)} of the area"
        parts.append(f"{whole_percent(check.marks)} of the map lies on text or marks burnt in, {area}")
    verdict = "passed." if check.passed else f"NOT TO BE READ: {check.reason}."
    return f"{', '.join(parts)}: {verdict}"


def _call(found: Explanation) -> str:
    return "flagged at the threshold" if found.flagged else "not flagged at the threshold"


def largest_change(found: Floats) -> float:
    """The largest absolute change of maps; 1 where all are 0, so that it can be divided by."""
    return float(np.abs(found).max()) or 1.0


def _points(change: float) -> str:
    return signed(change, as_points=True)


def _coloured(changes: Floats, largest: float, *, grey: bool) -> Floats:
    """Red, green, blue and how strong, shape (rows, columns, 4)."""
    share = np.clip(changes / largest, -1, 1)
    colours = ("#808080", "#808080") if grey else (RAISES, LOWERS)
    raised, lowered = (np.array(to_rgb(each)) for each in colours)
    colour = np.where(share[..., None] > 0, raised, lowered)
    return np.concatenate([colour, STRONGEST * np.abs(share)[..., None]], axis=-1)


def _draw_contours(changes: Floats, ax: Axes, box: tuple[float, float, float, float], largest: float) -> None:
    left, right, lower, upper = box
    rows, columns = changes.shape
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = upper + (np.arange(rows) + 0.5) * (lower - upper) / rows
    for sign, dash, colour in ((1, "solid", "#FFD9B8"), (-1, "dashed", "#BBDDFF")):
        levels = sorted(sign * share * largest for share in LINES)
        if changes.min() < levels[-1] and changes.max() > levels[0]:
            ax.contour(x, y, changes, levels=levels, colors=colour, linestyles=dash, linewidths=0.8)


def _write_number(
    ax: Axes,
    box: tuple[float, float, float, float],
    shape: tuple[int, ...],
    cell: tuple[int, int],
    words: str,
) -> None:
    """A number at a cell, drawn inwards so that it stays over the picture."""
    left, right, lower, upper = box
    x = left + (cell[1] + 0.5) * (right - left) / shape[1]
    y = upper + (cell[0] + 0.5) * (lower - upper) / shape[0]
    ax.text(
        x,
        y,
        words,
        fontsize=5.6,
        color="white",
        ha="left" if x < (left + right) / 2 else "right",
        va="center",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "#00000099", "edgecolor": "none"},
    )


def _draw_scale(ax: Axes, *, left: float, top: float, largest: float) -> None:
    """The scale under a map: percentage points of risk by colour."""
    shades = _coloured(np.linspace(-largest, largest, 101)[None], largest, grey=False)
    ax.imshow(shades, extent=(left, left + 1, top + 0.045, top), aspect="auto", interpolation="nearest")
    for place, value, side in ((0.0, -largest, "left"), (0.5, 0.0, "center"), (1.0, largest, "right")):
        ax.text(left + place, top + 0.06, _points(value), fontsize=6, ha=side, va="top", color=INK)
