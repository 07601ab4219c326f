"""How the mix of cases and of grey levels differs between a run's test cases and other patients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from clineval.reporting.figure_style import (
    ABSENT,
    MUTED,
    PRESENT,
    Heading,
    journal_style,
    lay_out_stacked,
    new_figure,
    save,
    shorten,
)
from clineval.reporting.transported import ELSEWHERE, HOME, spoken_model
from clineval.reporting.wording import number, whole


def draw_risks(cases: Mapping[str, Sequence[int]], ax: Axes, *, thresholds: Sequence[float]) -> None:
    """Share of the cases per interval of risk, one outline per population; frozen thresholds as lines."""
    for (name, counts), colour in zip(cases.items(), (ABSENT, PRESENT), strict=False):
        shares = 100 * np.asarray(counts) / max(1, sum(counts))
        edges = np.linspace(0, 1, len(shares) + 1)
        ax.stairs(shares, edges, color=colour, linewidth=1.4, label=name)
        ax.stairs(shares, edges, color=colour, alpha=0.12, fill=True)
    for threshold in thresholds:
        ax.axvline(threshold, color=MUTED, linewidth=0.8, dashes=(3, 3))
        ax.annotate(
            number(threshold, 2), (threshold, 1), xycoords=("data", "axes fraction"), xytext=(2, -2),
            textcoords="offset points", va="top", fontsize=6.5, color=MUTED,
        )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_xlabel("predicted risk (lines: frozen thresholds)")
    ax.set_ylabel("% of cases")


def draw_grey(shares: Mapping[str, Sequence[float]], ax: Axes) -> None:
    """How often each grey level occurs, one line per set of images, eight levels at a time."""
    styles = ((ABSENT, (0, (3, 2))), (PRESENT, "-"))
    for (name, share), (colour, dashes) in zip(shares.items(), styles, strict=False):
        grouped = 100 * np.asarray(share).reshape(-1, 8).sum(axis=1)
        ax.plot(np.arange(len(grouped)) * 8 + 4, grouped, color=colour, linestyle=dashes, label=name)
    ax.set_xlim(0, 255)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("grey level, 0 to 255")
    ax.set_ylabel("% of pixels, per 8 grey levels")


def write_case_mix(content: Mapping[str, Any], path: Path, *, notice: str = "") -> None:
    """Draw risks and grey levels at home and elsewhere as ``path`` (png).

    ``content`` is what ``transport.json`` holds.
    """
    model, name = spoken_model(content), shorten(content["external"], 30)
    record = content["models"][model]
    names = {HOME: "test cases at home", ELSEWHERE: name}
    found = {
        f"{words} (n = {whole(record['mix'][where]['cases'])})": record["mix"][where]["risks"]
        for where, words in names.items()
        if where in record["mix"]
    }
    grey = content["images"]["grey_levels"]
    with journal_style():
        figure, (upper, lower) = new_figure(panels=2)
        draw_risks(found, upper, thresholds=[point["threshold"] for point in record["points"]])
        here = list(found)[-1]  # under one name in both panels, for they share a legend
        draw_grey({"training images": grey["training"], here: grey["external"]}, lower)
        heading = Heading(
            "Other patients, other images",
            f"Above the risks by {model} at home and on {name}; below the grey levels of the prepared "
            "images, before any are matched",
            notice,
        )
        save(lay_out_stacked(figure, heading, height=1.7), path.with_suffix(""))
