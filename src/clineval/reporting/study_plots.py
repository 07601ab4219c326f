"""Figures of studies: learning curves, repeats, transport to an external cohort."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clineval.reporting.external import spoken
from clineval.reporting.sentences import number, whole
from clineval.reporting.style import (
    INK,
    MODEL_COLOURS,
    MODEL_DASHES,
    MUTED,
    Heading,
    journal_style,
    lay_out,
    lay_out_stacked,
    new_figure,
    save,
    shorten,
)
from clineval.reporting.subject import EXTERNAL, INTERNAL

SOURCES = {
    "cases": "held-out cases (sampling)",
    "folds": "folds, beyond sampling",
    "repeats": "drawing the folds again",
    "seeds": "seed of training",
}
TRAININGS = "cross-validated on train and val, near-duplicates in one fold"


def draw_spread(scores: pd.DataFrame, ax: Axes) -> None:
    """Each fold's AUC as a dot, one row per model; the mean as a bar with its value."""
    models = list(dict.fromkeys(scores["model"]))
    for row, model in enumerate(models):
        values = scores.loc[scores["model"] == model, "auc"].to_numpy()
        offset = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
        colour = MODEL_COLOURS[row % len(MODEL_COLOURS)]
        ax.plot(values, row + offset, "o", color=colour, markersize=3, alpha=0.6, markeredgewidth=0)
        ax.plot([values.mean()] * 2, [row - 0.34, row + 0.34], color=INK, linewidth=1.6)
        ax.annotate(
            f"{values.mean():.3f}",
            (values.mean(), row - 0.36),
            ha="center",
            va="bottom",
            fontsize=6.8,
        )
    ax.set_yticks(range(len(models)), models)
    ax.set_ylim(len(models) - 0.5, -0.75)
    ax.set_xlabel("AUC of one held-out fold (bar: mean)")
    ax.grid(axis="y", visible=False)


def draw_variance(variance: pd.DataFrame, ax: Axes) -> None:
    """Standard deviation of a fold's AUC by its source, a group of bars per model; none where unknown."""
    names = [name for name in SOURCES if variance[name].notna().any()]
    height = 0.8 / len(names)
    for place, name in enumerate(names):
        where = np.arange(len(variance)) + (place - (len(names) - 1) / 2) * height
        ax.barh(where, variance[name], height * 0.9, color=MODEL_COLOURS[place], label=SOURCES[name])
    ax.set_yticks(range(len(variance)), variance["model"])
    ax.invert_yaxis()
    ax.set_xlabel("standard deviation of AUC")
    ax.grid(axis="y", visible=False)


def draw_learning_curve(curve: pd.DataFrame, ax: Axes) -> None:
    """AUC against training cases with its band; the last stretch, dotted, is extrapolated."""
    for place, (name, part) in enumerate(curve.groupby(["model", "variant"], sort=False)):
        model, variant = name
        measured, beyond = part[part["kind"] == "measured"], part[part["kind"] == "extrapolated"]
        colour = MODEL_COLOURS[place % len(MODEL_COLOURS)]
        label = model if variant == "official" else f"{model}, {variant}"
        dashes = MODEL_DASHES[place % len(MODEL_DASHES)]
        ax.plot(measured["trained_on"], measured["auc"], color=colour, linestyle=dashes, label=label)
        ax.fill_between(
            measured["trained_on"], measured["low"], measured["high"], color=colour, alpha=0.13, linewidth=0
        )
        if len(beyond):
            last = pd.concat([measured.tail(1), beyond])
            ax.plot(last["trained_on"], last["auc"], color=colour, linestyle=":", linewidth=1.2)
            cases, auc, low, high = beyond[["trained_on", "auc", "low", "high"]].to_numpy().T
            ax.errorbar(cases, auc, [auc - low, high - auc], color=colour, fmt="o", markersize=3)
    if (curve["kind"] == "extrapolated").any():
        ax.axvline(
            curve.loc[curve["kind"] == "measured", "trained_on"].max(),
            color=MUTED,
            linewidth=0.7,
            dashes=(3, 3),
        )
    ax.set_xlabel("training cases (dotted: extrapolated to twice as many)")
    ax.set_ylabel("AUC, cross-validated")


def write_study_figures(
    folder: Path,
    *,
    scores: pd.DataFrame,
    variance: pd.DataFrame,
    curve: pd.DataFrame,
    about: str,
    notice: str = "",
) -> None:
    """Write the study's figures; the learning curve where there are several fractions.

    Parameters
    ----------
    scores, variance, curve : tables of :mod:`clineval.pipeline.study`.
    about : population and condition, for every heading.
    """
    whole = scores["fraction"].max()
    first = scores["variant"].iloc[0]
    trainings = scores[(scores["fraction"] == whole) & (scores["variant"] == first)]
    sources = variance[(variance["fraction"] == whole) & (variance["variant"] == first)]
    folds = f"{trainings['fold'].nunique()} folds x {trainings['repeat'].nunique()} repeats"
    models = trainings["model"].nunique()
    with journal_style():
        figure, (ax,) = new_figure()
        draw_spread(trainings, ax)
        heading = Heading("Spread over folds", f"{about}; {folds}, {TRAININGS}", notice)
        save(lay_out(figure, heading, height=0.5 + 0.42 * models, left=0.9), folder / "study_spread")
        figure, (ax,) = new_figure()
        draw_variance(sources, ax)
        heading = Heading("Where the spread comes from", f"{about}; {folds}, {TRAININGS}", notice)
        save(lay_out(figure, heading, height=0.5 + 0.45 * models, left=0.9), folder / "study_variance")
        if scores["fraction"].nunique() > 1:
            figure, (ax,) = new_figure()
            draw_learning_curve(curve, ax)
            heading = Heading("What more data would buy", f"{about}; {folds}, {TRAININGS}", notice)
            save(lay_out(figure, heading, height=2.4), folder / "study_learning_curve")


def draw_risks(cases: Mapping[str, Sequence[int]], ax: Axes, *, thresholds: Sequence[float]) -> None:
    """Share of the cases per interval of risk, one outline per population; frozen thresholds as lines."""
    for (name, counts), colour in zip(cases.items(), (MUTED, INK), strict=False):
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
    styles = ((MUTED, (0, (3, 2))), (INK, "-"))
    for (name, share), (colour, dashes) in zip(shares.items(), styles, strict=False):
        grouped = 100 * np.asarray(share).reshape(-1, 8).sum(axis=1)
        ax.plot(np.arange(len(grouped)) * 8 + 4, grouped, color=colour, linestyle=dashes, label=name)
    ax.set_xlim(0, 255)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("grey level, 0 to 255")
    ax.set_ylabel("% of pixels, per 8 grey levels")


def write_case_mix(
    content: Mapping[str, Any], path: Path, *, primary: str | None = None, notice: str = ""
) -> None:
    """Draw risks and grey levels of the internal test cases and the external cohort as ``path`` (png).

    ``content`` is what ``transport.json`` holds, ``primary`` the model whose risks are drawn.
    """
    model, name = spoken(content["models"], primary), shorten(content["external"], 30)
    record = content["models"][model]
    names = {INTERNAL: "internal test cases", EXTERNAL: name}
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
            f"Above the risks by {model}, internal and on {name}; below the grey levels of the prepared "
            "images, before any are matched",
            notice,
        )
        save(lay_out_stacked(figure, heading, height=1.7), path.with_suffix(""))
