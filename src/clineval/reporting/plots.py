"""Figures of a model's performance and of studies: learning curves, repeats, an external cohort."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from clineval.evaluation.curves import CalibrationLines, DecisionLines, RiskHistogram, RocLine
from clineval.evaluation.records import OperatingPoint
from clineval.reporting.charts import largest
from clineval.reporting.external import spoken
from clineval.reporting.sentences import (
    EXTERNAL,
    INTERNAL,
    aim_words,
    defined,
    number,
    percent,
    whole,
    with_interval,
)
from clineval.reporting.style import (
    ABSENT,
    CALLS,
    COLUMN,
    INK,
    MODEL_COLOURS,
    MODEL_DASHES,
    MUTED,
    PRESENT,
    Heading,
    journal_style,
    lay_out,
    lay_out_stacked,
    new_figure,
    save,
    shorten,
)
from clineval.statistics.intervals import Estimate

_MARKS = {"half": "o", "sensitivity_90": "D", "given": "^"}
UP_TO = 0.5  # threshold up to which decision curves are drawn: few clinics act at more
MOST_BANDS = 3  # bands over each other that an eye can tell apart


def draw_roc(
    line: RocLine,
    ax: Axes,
    *,
    points: Sequence[OperatingPoint],
    measures: Mapping[str, Estimate],
) -> None:
    """The ROC curve with its band, the operating points marked, the AUC with its interval in the legend."""
    if line.band is not None:
        ax.fill_between(line.grid, line.band.low, line.band.high, color=INK, alpha=0.16, linewidth=0)
    ax.plot(line.false_positive_rate, line.sensitivity, color=INK, label=auc_label(measures))
    for point in points:
        _mark(point, ax)
    _diagonal(ax, label="chance, AUC 0.5")
    _unit_square(ax)
    ax.set_xlabel("1 − specificity (false-positive rate)")
    ax.set_ylabel("sensitivity")


def auc_label(measures: Mapping[str, Estimate]) -> str:
    """The AUC's logit interval first, DeLong's plain one beside it."""
    logit, plain = measures.get("auc_logit"), measures.get("auc")
    lines = [f"AUC {with_interval(logit if defined(logit) else plain)}"]
    if defined(logit) and defined(plain) and plain is not None:
        lines.append(f"DeLong, untransformed: {number(plain.low)} to {number(plain.high)}")
    return "\n".join(lines)


def _mark(point: OperatingPoint, ax: Axes) -> None:
    sensitivity, specificity = point.rates["sensitivity"], point.rates["specificity"]
    if not (defined(sensitivity) and defined(specificity)):
        return
    ax.plot(
        [1 - specificity.value], [sensitivity.value], linestyle="none", marker=_MARKS.get(point.name, "s"),
        markersize=6, markerfacecolor=INK, markeredgecolor="white", markeredgewidth=0.8, zorder=5,
        clip_on=False, label=f"threshold {number(point.threshold)}, {aim_words(point)}:\n"
        f"sensitivity {percent(sensitivity.value)}, specificity {percent(specificity.value)}",
    )  # fmt: skip


def _diagonal(ax: Axes, *, label: str) -> None:
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)), label=label, zorder=1)


def _unit_square(ax: Axes) -> None:
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.02)
    ticks = np.linspace(0, 1, 6)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)


def draw_confusion(point: OperatingPoint, ax: Axes, *, condition: str) -> None:
    """The 2x2 at one threshold: reference standard in rows, the model's call in columns, rates below."""
    cells = [("true_positives", "false_negatives"), ("false_positives", "true_negatives")]
    for row, names in enumerate(cells):
        total = sum(point.counts[name] or 0 for name in names)
        for column, name in enumerate(names):
            _cell(ax, column, row, count=point.counts[name], total=total, name=name)
    ax.set(xlim=(0, 2), ylim=(2, 0), xticks=[0.5, 1.5], yticks=[0.5, 1.5])
    ax.set_xticklabels(
        [f"flagged\nrisk ≥ {number(point.threshold)}", f"not flagged\nrisk < {number(point.threshold)}"]
    )
    ax.set_yticklabels([shorten(condition, 22), f"not {shorten(condition, 18)}"], rotation=90, va="center")
    ax.set_ylabel("reference standard")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(
        f"sensitivity {with_interval(point.rates['sensitivity'], as_percent=True, name_level=False)}\n"
        f"specificity {with_interval(point.rates['specificity'], as_percent=True, name_level=False)}",
        labelpad=4,
    )


def _cell(ax: Axes, column: int, row: int, *, count: int | None, total: int, name: str) -> None:
    ax.add_patch(Rectangle((column + 0.02, row + 0.02), 0.96, 0.96, facecolor=CALLS[name], edgecolor="none"))
    ax.text(
        column + 0.5, row + 0.40, "–" if count is None else str(count), ha="center", va="center", fontsize=16
    )
    share = f"{percent(count / total)} of row" if count is not None and total else ""
    ax.text(
        column + 0.5, row + 0.66, name.replace("_", " "), ha="center", va="center", fontsize=6.8, color=INK
    )
    ax.text(column + 0.5, row + 0.80, share, ha="center", va="center", fontsize=6.5, color=MUTED)


def draw_calibration(
    lines: CalibrationLines,
    ax: Axes,
    *,
    risks: RiskHistogram,
    measures: Mapping[str, Estimate],
    condition: str,
) -> None:
    """Observed share against predicted risk: smooth with band, groups with bars, the risks along the foot."""
    if lines.smooth is not None:
        # A smoother knows no bounds; a share lies between 0 and 1, and the foot is for the risks.
        smooth = lines.smooth
        value, low, high = (np.clip(part, 0, 1) for part in (smooth.value, smooth.low, smooth.high))
        ax.fill_between(lines.risk, low, high, color=INK, alpha=0.13, linewidth=0)
        ax.plot(lines.risk, value, color=INK, label=f"smoothed, with band\n{_calibration_summary(measures)}")
    if lines.grouped is not None:
        _draw_groups(lines, ax)
    _diagonal(ax, label="perfect calibration")
    _spikes(risks, ax)
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.16, 1.02)
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.set_xlabel(f"predicted risk of {shorten(condition, 30)}")
    ax.set_ylabel(f"observed share {shorten(condition, 30)}")


def _draw_groups(lines: CalibrationLines, ax: Axes) -> None:
    groups = lines.grouped
    if groups is None:
        return
    reach = np.clip(np.vstack([groups.value - groups.low, groups.high - groups.value]), 0, None)
    ax.errorbar(
        lines.mean_risk, groups.value, yerr=reach, fmt="s", color=INK, markersize=3, elinewidth=0.8,
        label="groups of cases, Wilson bars",
    )  # fmt: skip


def _spikes(risks: RiskHistogram, ax: Axes) -> None:
    """Cases per risk along the foot: with the condition upwards, without it downwards."""
    tallest = max(risks.events.max(initial=0), risks.non_events.max(initial=0), 1)
    up, down = -0.085 + 0.06 * risks.events / tallest, -0.095 - 0.06 * risks.non_events / tallest
    ax.stairs(up, risks.edges, baseline=-0.085, fill=True, color=PRESENT, linewidth=0)
    ax.stairs(down, risks.edges, baseline=-0.095, fill=True, color=ABSENT, linewidth=0)


def _calibration_summary(measures: Mapping[str, Estimate]) -> str:
    """Intercept, slope and observed over expected, in a line each, as far as they are defined."""
    named = {"intercept": "calibration_intercept", "slope": "calibration_slope", "O/E": "observed_expected"}
    lines = (
        f"{name} {with_interval(measures.get(key), name_level=False)}"
        for name, key in named.items()
        if defined(measures.get(key))
    )
    return "\n".join(lines) or "no summary defined"


def draw_risk_distribution(
    risks: RiskHistogram, ax: Axes, *, condition: str, points: Sequence[OperatingPoint] = ()
) -> None:
    """Where the risks lie: with the condition upwards, without it downwards, thresholds as lines."""
    events, others = int(risks.events.sum()), int(risks.non_events.sum())
    words = shorten(condition, 24)
    up, down = f"{words} (n = {events}), upwards", f"not {words} (n = {others}), downwards"
    ax.stairs(risks.events, risks.edges, fill=True, color=PRESENT, linewidth=0, label=up)
    ax.stairs(-risks.non_events, risks.edges, fill=True, color=ABSENT, linewidth=0, label=down)
    ax.axhline(0, color=INK, linewidth=0.8)
    for point, dash in zip(points, [(0, (4, 2)), (0, (1, 1.5)), (0, (4, 1, 1, 1))], strict=False):
        if not np.isnan(point.threshold):
            ax.axvline(
                point.threshold, color=INK, linewidth=1, linestyle=dash,
                label=f"threshold {number(point.threshold)}, {aim_words(point)}",
            )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.margins(y=0.12)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    ax.set_xlabel(f"predicted risk of {shorten(condition, 30)}")
    ax.set_ylabel("cases")


def draw_decision_curves(
    curves: Mapping[str, DecisionLines], ax: Axes, *, with_band: Collection[str] = ()
) -> None:
    """Net benefit per threshold of each model, beside treating all and treating none.

    More than three bands cannot be distinguished: then only the models of ``with_band`` have one.
    """
    first = next(iter(curves.values()))
    ax.plot(
        first.threshold,
        first.treat_all,
        color=MUTED,
        linewidth=1.1,
        linestyle=(0, (1, 1)),
        label="treating all",
    )
    ax.axhline(0, color=INK, linewidth=0.9, label="treating none")
    for index, (model, lines) in enumerate(curves.items()):
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        band = lines.net_benefit
        if len(curves) <= MOST_BANDS or model in with_band:
            ax.fill_between(lines.threshold, band.low, band.high, color=colour, alpha=0.13, linewidth=0)
        ax.plot(
            lines.threshold, band.value, color=colour, label=shorten(model, 34),
            linestyle=MODEL_DASHES[index % len(MODEL_DASHES)],
        )  # fmt: skip
    tallest = largest(*(lines.net_benefit.high for lines in curves.values()), least=0.01)
    ax.set_ylim(-0.25 * tallest, 1.08 * tallest)
    ax.set_xlim(0, UP_TO)
    ax.set_xlabel("threshold probability (risk at which one would act)")
    ax.set_ylabel("net benefit (true positives per case)")


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
    table : as ``clineval.pipeline.external`` makes it.
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
    ax.set_xlim(-0.25, 5.25)  # space between the last number of a panel and the first of the next
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
    """Space for every value, for the interval that is drawn and for ``level``, as far as they are defined."""
    banded = table[table["model"] == spoken(table["model"].unique())]
    drawn = [table[measure], banded[f"{measure}_low"], banded[f"{measure}_high"]]
    values = pd.concat([*drawn, pd.Series([] if level is None else [level], dtype=float)]).dropna()
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    room = 0.08 * (high - low or 1.0)
    return low - room, high + room


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


def write_case_mix(content: Mapping[str, Any], path: Path, *, notice: str = "") -> None:
    """Draw risks and grey levels of internal test cases, if any, and the external cohort as ``path`` (png).

    ``content`` is what ``transport.json`` holds.
    """
    model, name = spoken(content["models"], None), shorten(content["external"], 30)
    record = content["models"][model]
    names = {INTERNAL: "internal test cases", EXTERNAL: name}
    found = {
        f"{words} (n = {whole(record['mix'][where]['cases'])})": record["mix"][where]["risks"]
        for where, words in names.items()
        if where in record["mix"]
    }
    grey = content["images"]["grey_levels"]
    where = f"on {name}" if "alone" in content else f"internal and on {name}"
    with journal_style():
        figure, (upper, lower) = new_figure(panels=2)
        draw_risks(found, upper, thresholds=[point["threshold"] for point in record["points"]])
        here = list(found)[-1]  # under one name in both panels, for they share a legend
        trained = {"training images": grey["training"]} if "training" in grey else {}
        draw_grey({**trained, here: grey["external"]}, lower)
        heading = Heading(
            "Other patients, other images",
            f"Above the risks by {model}, {where}; below the grey levels of the prepared "
            "images, before any are matched",
            notice,
        )
        save(lay_out_stacked(figure, heading, height=1.7), path.with_suffix(""))
