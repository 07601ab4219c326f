"""What corruptions do to each model: discrimination, sensitivity at the frozen threshold, calibration."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clineval.reporting.figure_style import (
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

WIDTH, ROW = 7.2, 1.25  # inches: a page's width, the height of one row of panels
ROWS = {
    "auc": ("AUC", 0.5),
    "sensitivity": ("sensitivity at the\nfrozen threshold", None),
    "calibration_intercept": ("calibration\nintercept", 0.0),
}
WITH_BAND = ("combined", "cnn")  # the first of these that is there gets its interval drawn


def draw_measure(table: pd.DataFrame, ax: Axes, *, kind: str, measure: str) -> None:
    """One measure against the severity of one corruption, a line per model; severity 0 is as it is.

    Parameters
    ----------
    table : as ``clineval.pipeline.robustness`` makes it.
    measure : a column with ``_low`` and ``_high`` beside it.
    """
    models = list(dict.fromkeys(table["model"]))
    banded = _banded(table)
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


def robustness_figure(table: pd.DataFrame, *, about: str, notice: str = "") -> Figure:
    """A column of panels per corruption, a row per measure."""
    kinds = [kind for kind in dict.fromkeys(table["corruption"]) if kind != "as it is"]
    figure, axes = new_figure(panels=len(kinds))
    banded = _banded(table)
    heading = Heading(
        "Robustness to worse scanners and archives",
        f"{about}; severity 0 is the cohort as it is, 5 what a careful reader would reject; "
        f"band: 95% interval of {banded}",
        notice,
    )
    for kind, ax in zip(kinds, axes, strict=True):
        draw_measure(table, ax, kind=kind, measure=next(iter(ROWS)))
    lay_out(figure, heading, width=WIDTH, height=ROW * len(ROWS), left=0.1)
    _split_rows(figure, axes, kinds, table)
    return figure


def write_robustness_figure(table: pd.DataFrame, path: Path, *, about: str, notice: str = "") -> None:
    """Draw the figure as ``path`` (png)."""
    with journal_style():
        save(robustness_figure(table, about=about, notice=notice), path.with_suffix(""))


def _banded(table: pd.DataFrame) -> str:
    names = table["model"].unique().tolist()
    return next((name for name in WITH_BAND if name in names), names[0])


def _split_rows(figure: Figure, axes: list[Axes], kinds: list[str], table: pd.DataFrame) -> None:
    """Divide each panel that ``lay_out`` placed into one per measure, all of a row on one scale."""
    edge, gap = 0.085, 0.012  # shares of the page: room for the labels at the left, between columns
    across = (1 - edge - gap) / len(axes)
    bottom, height = axes[0].get_position().y0, axes[0].get_position().height / len(ROWS)
    for row, (measure, (label, level)) in enumerate(ROWS.items()):
        low, high = _limits(table, measure, level)
        for place, (kind, first) in enumerate(zip(kinds, axes, strict=True)):
            ax = first if row == 0 else figure.add_axes((0.1, 0.1, 0.1, 0.1), label=f"{measure} {kind}")
            if row:
                draw_measure(table, ax, kind=kind, measure=measure)
            foot = bottom + (len(ROWS) - 1 - row) * height
            ax.set_position((edge + place * across, foot + 0.06 * height, across - gap, 0.82 * height))
            ax.set_ylim(low, high)
            if level is not None:
                ax.axhline(level, color=MUTED, linewidth=0.7, dashes=(3, 3))
            ax.tick_params(labelleft=place == 0, labelbottom=row == len(ROWS) - 1)
            if row == 0:
                ax.set_title(shorten(kind, 20), fontsize=7.5, color=INK, pad=3)
            if row == len(ROWS) - 1:
                ax.set_xlabel("severity")
            if place == 0:
                ax.set_ylabel(label)


def _limits(table: pd.DataFrame, measure: str, level: float | None) -> tuple[float, float]:
    banded = table[table["model"] == _banded(table)]
    edges = [banded[f"{measure}_low"].min(), banded[f"{measure}_high"].max()]
    values = [table[measure].min(), table[measure].max(), *edges, *([level] if level is not None else [])]
    room = 0.08 * (max(values) - min(values) or 1.0)
    return min(values) - room, max(values) + room
