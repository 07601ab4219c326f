"""How well a model discriminates, calibrates and helps: one record on one Axes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from clineval.evaluation.curves import CalibrationLines, DecisionLines, RiskHistogram, RocLine
from clineval.evaluation.record import ScoredPoint
from clineval.reporting.figure_style import (
    ABSENT,
    INK,
    MODEL_COLOURS,
    MODEL_DASHES,
    MUTED,
    PRESENT,
    shorten,
)
from clineval.reporting.wording import chosen_words, defined, number, percent, with_interval
from clineval.statistics.intervals import Estimate

_MARKS = {"half": "o", "sensitivity_90": "D", "given": "^"}
_RIGHT, _WRONG = "#DCEBF5", "#F9DFCC"


def draw_roc(
    line: RocLine,
    ax: Axes,
    *,
    points: Sequence[ScoredPoint],
    measures: Mapping[str, Estimate],
    colour: str = ABSENT,
) -> None:
    """The ROC curve with its band, the operating points marked, the AUC with its interval in the legend."""
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)), label="chance, AUC 0.5")
    if line.band is not None:
        ax.fill_between(line.grid, line.band.low, line.band.high, color=colour, alpha=0.16, linewidth=0)
    ax.plot(line.false_positive_rate, line.sensitivity, color=colour, label=auc_label(measures))
    for point in points:
        _mark(point, ax)
    _unit_square(ax)
    ax.set_xlabel("1 − specificity (false-positive rate)")
    ax.set_ylabel("sensitivity")
    ax.legend(loc="lower right", borderaxespad=0.2, handletextpad=0.5)


def auc_label(measures: Mapping[str, Estimate]) -> str:
    """The AUC's logit interval first, DeLong's plain one beside it."""
    logit, plain = measures.get("auc_logit"), measures.get("auc")
    lines = [f"AUC {with_interval(logit if defined(logit) else plain)}"]
    if defined(logit) and defined(plain) and plain is not None:
        lines.append(f"DeLong, untransformed: {number(plain.low)} to {number(plain.high)}")
    return "\n".join(lines)


def _mark(point: ScoredPoint, ax: Axes) -> None:
    sensitivity, specificity = point.rates["sensitivity"], point.rates["specificity"]
    if not (defined(sensitivity) and defined(specificity)):
        return
    ax.plot(
        [1 - specificity.value], [sensitivity.value], linestyle="none", marker=_MARKS.get(point.name, "s"),
        markersize=6, markerfacecolor=PRESENT, markeredgecolor="white", markeredgewidth=0.8, zorder=5,
        clip_on=False, label=f"threshold {number(point.threshold)}, {chosen_words(point)}:\n"
        f"sensitivity {percent(sensitivity.value)}, specificity {percent(specificity.value)}",
    )  # fmt: skip


def _unit_square(ax: Axes) -> None:
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.02)
    ax.set_aspect("equal")
    ticks = np.linspace(0, 1, 6)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)


def draw_confusion(point: ScoredPoint, ax: Axes, *, condition: str) -> None:
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
    ax.set_aspect("equal")
    ax.set_xlabel(
        f"sensitivity {with_interval(point.rates['sensitivity'], as_percent=True, name_level=False)}\n"
        f"specificity {with_interval(point.rates['specificity'], as_percent=True, name_level=False)}",
        labelpad=6,
    )


def _cell(ax: Axes, column: int, row: int, *, count: int | None, total: int, name: str) -> None:
    colour = _RIGHT if name.startswith("true") else _WRONG
    ax.add_patch(Rectangle((column + 0.02, row + 0.02), 0.96, 0.96, facecolor=colour, edgecolor="none"))
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
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)), label="perfect calibration")
    if lines.smooth is not None:
        ax.fill_between(
            lines.risk, lines.smooth.low, lines.smooth.high, color=ABSENT, alpha=0.16, linewidth=0
        )
        ax.plot(lines.risk, lines.smooth.value, color=ABSENT, label="smoothed, with band")
    if lines.grouped is not None:
        _draw_groups(lines, ax)
    _spikes(risks, ax)
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.16, 1.02)
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.set_xlabel(f"predicted risk of {shorten(condition, 30)}")
    ax.set_ylabel(f"observed share {shorten(condition, 30)}")
    ax.legend(loc="upper left", title=_calibration_summary(measures), title_fontsize=6.8, alignment="left")


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
    middle, width = (risks.edges[1:] + risks.edges[:-1]) / 2, np.diff(risks.edges)
    tallest = max(risks.events.max(initial=0), risks.non_events.max(initial=0), 1)
    ax.bar(
        middle, 0.06 * risks.events / tallest, width=width * 0.85, bottom=-0.085, color=PRESENT, linewidth=0
    )
    ax.bar(
        middle,
        -0.06 * risks.non_events / tallest,
        width=width * 0.85,
        bottom=-0.095,
        color=ABSENT,
        linewidth=0,
    )


def _calibration_summary(measures: Mapping[str, Estimate]) -> str:
    named = {"intercept": "calibration_intercept", "slope": "calibration_slope", "O/E": "observed_expected"}
    return "\n".join(
        f"{name} {with_interval(measures.get(key), name_level=False)}"
        for name, key in named.items()
        if defined(measures.get(key))
    )


def draw_risk_distribution(
    risks: RiskHistogram, ax: Axes, *, condition: str, points: Sequence[ScoredPoint] = ()
) -> None:
    """Where the risks lie: with the condition upwards, without it downwards, thresholds as lines."""
    left, width = risks.edges[:-1], np.diff(risks.edges)
    events, others = int(risks.events.sum()), int(risks.non_events.sum())
    options = {"align": "edge", "edgecolor": "white", "linewidth": 0.4}
    words = shorten(condition, 24)
    ax.bar(left, risks.events, width=width, color=PRESENT, label=f"{words} (n = {events})", **options)
    ax.bar(left, -risks.non_events, width=width, color=ABSENT, label=f"not {words} (n = {others})", **options)
    ax.axhline(0, color=INK, linewidth=0.8)
    for point, dash in zip(points, [(0, (4, 2)), (0, (1, 1.5)), (0, (4, 1, 1, 1))], strict=False):
        if not np.isnan(point.threshold):
            ax.axvline(
                point.threshold, color=INK, linewidth=1, linestyle=dash,
                label=f"threshold {number(point.threshold)}, {chosen_words(point)}",
            )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.margins(y=0.12)
    ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    ax.set_xlabel(f"predicted risk of {shorten(condition, 30)}")
    ax.set_ylabel("cases")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, columnspacing=1.0)


def draw_decision_curves(curves: Mapping[str, DecisionLines], ax: Axes) -> None:
    """Net benefit per threshold of each model with its band, beside flagging everyone and no one."""
    first = next(iter(curves.values()))
    ax.plot(
        first.threshold,
        first.treat_all,
        color=MUTED,
        linewidth=1.1,
        linestyle=(0, (1, 1)),
        label="flag everyone",
    )
    ax.axhline(0, color=INK, linewidth=0.9, label="flag no one")
    for index, (model, lines) in enumerate(curves.items()):
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        band = lines.net_benefit
        ax.fill_between(lines.threshold, band.low, band.high, color=colour, alpha=0.12, linewidth=0)
        ax.plot(
            lines.threshold, band.value, color=colour, label=shorten(model, 34),
            linestyle=MODEL_DASHES[index % len(MODEL_DASHES)],
        )  # fmt: skip
    tallest = max(float(np.nanmax(lines.net_benefit.high, initial=0.01)) for lines in curves.values())
    ax.set_ylim(-0.25 * tallest, 1.08 * tallest)
    ax.set_xlim(0, 1)
    ax.set_xlabel("threshold probability (risk at which one would act)")
    ax.set_ylabel("net benefit (true positives per case)")
    ax.legend(loc="upper right")
