"""What corruptions do to each model: discrimination, sensitivity at the frozen threshold, calibration."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clineval.reporting.figure_style import (
    COLUMN,
    INK,
    MODEL_COLOURS,
    MODEL_DASHES,
    MUTED,
    Heading,
    journal_style,
    lay_out,
    new_figure,
    save,
    shorten,
)
from clineval.reporting.transported import spoken

ACROSS = 3  # panels side by side: a column's width, so that they read on a small screen too
ROW, BLOCK = 0.86, 0.34  # inches: the height of a row of panels, and of the name above those of a measure
ROWS = {
    "auc": ("AUC", 0.5),
    "sensitivity": ("sensitivity at the frozen threshold", None),
    "calibration_intercept": ("calibration intercept", 0.0),
}


def draw_measure(table: pd.DataFrame, ax: Axes, *, kind: str, measure: str) -> None:
    """One measure against the severity of one corruption, a line per model; severity 0 is as it is.

    Parameters
    ----------
    table : as ``clineval.pipeline.robustness`` makes it.
    measure : a column with ``_low`` and ``_high`` beside it.
    """
    models = list(dict.fromkeys(table["model"]))
    banded = spoken(table["model"].unique())
    for place, model in enumerate(models):
        rows = table[(table["model"] == model) & table["corruption"].isin([kind, "as it is"])]
        rows = rows.sort_values("severity")
        colour, dashes = (each[place % len(each)] for each in (MODEL_COLOURS, MODEL_DASHES))
        ax.plot(rows["severity"], rows[measure], color=colour, linestyle=dashes, linewidth=1.2, label=model)
        if model == banded:
            low, high = rows[f"{measure}_low"], rows[f"{measure}_high"]
            ax.fill_between(rows["severity"], low, high, color=colour, alpha=0.14, linewidth=0)
    ax.set_xlim(-0.25, 5.25)  # room between the last number of a panel and the first of the next
    ax.set_xticks(range(6))


def robustness_figure(table: pd.DataFrame, *, about: str, level: float = 0.95, notice: str = "") -> Figure:
    """A block of panels per measure, in it a panel per corruption, all of a block on one scale.

    ``level`` is what the table's intervals aim at; those of the model that is spoken of are drawn.
    """
    kinds = [kind for kind in dict.fromkeys(table["corruption"]) if kind != "as it is"]
    figure, axes = new_figure(panels=len(kinds) * len(ROWS))
    heading = Heading(
        "Robustness to worse scanners",
        f"{about}; severity 0 is the cohort as it is, 5 what a careful reader would reject; "
        f"band: {100 * level:g}% interval of {spoken(table['model'].unique())}",
        notice,
    )
    panels = [(measure, kind) for measure in ROWS for kind in kinds]
    for (measure, kind), ax in zip(panels, axes, strict=True):
        draw_measure(table, ax, kind=kind, measure=measure)
    lay_out(figure, heading, height=_block(kinds) * len(ROWS), below=0.36)
    for place, measure in enumerate(ROWS):
        of_it = axes[place * len(kinds) : (place + 1) * len(kinds)]
        _place(figure, of_it, kinds, _limits(table, measure, ROWS[measure][1]), measure=measure)
    return figure


def _block(kinds: Sequence[str]) -> float:
    """Inches that the panels of one measure take, their name included."""
    return BLOCK + ROW * -(-len(kinds) // ACROSS)


def write_robustness_figure(
    table: pd.DataFrame, path: Path, *, about: str, level: float = 0.95, notice: str = ""
) -> None:
    """Draw the figure as ``path`` (png)."""
    with journal_style():
        save(robustness_figure(table, about=about, level=level, notice=notice), path.with_suffix(""))


def _place(
    figure: Figure, axes: Sequence[Axes], kinds: Sequence[str], limits: tuple[float, float], *, measure: str
) -> None:
    """Put the panels of one measure into rows below its name, over the foot that ``lay_out`` left."""
    page = figure.get_size_inches()[1]
    place = list(ROWS).index(measure)
    label, level = ROWS[measure]
    top = axes[0].get_position().y0 * page + _block(kinds) * (len(ROWS) - place)
    left, inner = 0.42, (COLUMN - 0.42 - 0.1) / ACROSS
    figure.text(left / COLUMN, (top - 0.1) / page, label, fontsize=7.5, fontweight="bold", va="top")
    for count, (kind, ax) in enumerate(zip(kinds, axes, strict=True)):
        row, column = divmod(count, ACROSS)
        foot = top - BLOCK - (row + 1) * ROW
        across = (left + column * inner) / COLUMN
        ax.set_position((across, (foot + 0.06) / page, (inner - 0.08) / COLUMN, (ROW - 0.22) / page))
        ax.set_ylim(*limits)
        ax.set_title(shorten(kind, 20), fontsize=6.6, color=INK, pad=2)
        if level is not None:
            ax.axhline(level, color=MUTED, linewidth=0.7, dashes=(3, 3))
        last = place == len(ROWS) - 1 and count + ACROSS >= len(kinds)
        ax.tick_params(labelleft=column == 0, labelbottom=last)
        if last:
            ax.set_xlabel("severity")


def _limits(table: pd.DataFrame, measure: str, level: float | None) -> tuple[float, float]:
    """Room for every value, for the interval that is drawn and for ``level``, as far as they are defined."""
    banded = table[table["model"] == spoken(table["model"].unique())]
    drawn = [table[measure], banded[f"{measure}_low"], banded[f"{measure}_high"]]
    values = pd.concat([*drawn, pd.Series([] if level is None else [level], dtype=float)]).dropna()
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    room = 0.08 * (high - low or 1.0)
    return low - room, high + room
