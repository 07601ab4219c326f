"""The report's charts: every model on one frame, the primary one with its band."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from clineval.evaluation.curves import (
    Band,
    CalibrationLines,
    DecisionDifference,
    DecisionLines,
    PopulationCurves,
    RiskHistogram,
)
from clineval.evaluation.records import OperatingPoint
from clineval.reporting.sentences import defined, number, whole
from clineval.reporting.svg import (
    UNIT_TICKS,
    Axis,
    Frame,
    area,
    axis_over,
    bar,
    draw,
    largest,
    line,
    mark,
    swatch,
    unit_axis,
    upright,
    whisker,
)

MODELS = 6  # dashes before they repeat
HALF = 0.5  # threshold up to which decision curves are drawn: few clinics act at more


@dataclass(frozen=True)
class Entry:
    """One line of a legend."""

    sample: Markup
    words: str


@dataclass(frozen=True)
class Chart:
    """A drawing with its caption and its legend."""

    title: str
    drawing: Markup
    legend: tuple[Entry, ...]


def model_class(place: int) -> str:
    """The class that styles the model in that place, the primary one first."""
    return f"m{place % MODELS}"


def roc(
    drawn: Sequence[PopulationCurves],
    *,
    point: OperatingPoint | None,
    aucs: Mapping[str, str],
    key: str,
    title: str = "ROC curve",
) -> Chart | None:
    """The ROC curves of several models; the first with its band and its primary threshold.

    ``aucs`` is what the legend says of each model.
    """
    frame = Frame(unit_axis("1 − specificity"), unit_axis("sensitivity"))
    marks = [line(frame, (0, 1), (0, 1), css="chance")]
    legend: list[Entry] = []
    for place, each in reversed(list(enumerate(drawn))):
        if each.roc is None:
            continue
        css, band = model_class(place), each.roc.band
        if place == 0 and band is not None:
            marks.append(area(frame, each.roc.grid, band.low, band.high, css=css))
        marks.append(line(frame, each.roc.false_positive_rate, each.roc.sensitivity, css=css))
        legend.insert(0, Entry(_sample(css, place), f"{each.model}, {aucs.get(each.model, '')}"))
    if not legend:
        return None
    if point is not None and defined(point.rates["sensitivity"]) and defined(point.rates["specificity"]):
        rates = [point.rates[name].value for name in ("sensitivity", "specificity")]
        words = f"threshold {number(point.threshold)}"
        marks.append(mark(frame, 1 - rates[1], rates[0], shape="circle", css="point", words=words))
        legend.append(Entry(swatch("point", shape="circle"), words))
    described = "; ".join(entry.words for entry in legend)
    return Chart(title, draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def _sample(css: str, place: int) -> Markup:
    return swatch(css, shape="line" if place else "band")


def calibration(
    drawn: Sequence[PopulationCurves], *, condition: str, key: str, title: str = "Calibration"
) -> Chart | None:
    """Observed share against predicted risk, smoothed; of the first model with band, groups and risks."""
    y = Axis(f"observed share {condition}", -0.17, 1.0, UNIT_TICKS)
    frame = Frame(unit_axis(f"predicted risk of {condition}"), y)
    marks = [line(frame, (0, 1), (0, 1), css="chance")]
    legend = [Entry(swatch("chance"), "perfect calibration")]
    for place, each in reversed(list(enumerate(drawn))):
        if each.calibration is None:
            continue
        css = model_class(place)
        marks += _smooth(each.calibration, frame, css=css, banded=not place)
        if place == 0:
            marks += [*_groups(each.calibration, frame), *_spikes(each.risks, frame)]
        legend.insert(0, Entry(_sample(css, place), each.model))
    if len(legend) == 1:
        return None
    legend.append(Entry(swatch("groups", shape="square"), f"groups of cases by {drawn[0].model}"))
    described = f"Foot: risks by {drawn[0].model}, upwards of {condition} cases, downwards of the others"
    return Chart(title, draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def _smooth(lines: CalibrationLines, frame: Frame, *, css: str, banded: bool) -> list[Markup]:
    if lines.smooth is None:
        return []
    # A smoother knows no bounds; a share lies between 0 and 1, and the foot is for the risks.
    value, low, high = (
        np.clip(part, 0, 1) for part in (lines.smooth.value, lines.smooth.low, lines.smooth.high)
    )
    shaded = [area(frame, lines.risk, low, high, css=css)] if banded else []
    return [*shaded, line(frame, lines.risk, value, css=css)]


def _groups(lines: CalibrationLines, frame: Frame) -> list[Markup]:
    if lines.grouped is None:
        return []
    marks = []
    ends = zip(lines.mean_risk, lines.grouped.value, lines.grouped.low, lines.grouped.high, strict=True)
    for risk, share, low, high in ends:
        marks.append(whisker(frame, risk, low, high, css="groups"))
        marks.append(mark(frame, risk, share, shape="square", css="groups"))
    return marks


def _spikes(risks: RiskHistogram, frame: Frame) -> list[Markup]:
    tallest = max(int(risks.events.max(initial=0)), int(risks.non_events.max(initial=0)), 1)
    marks = []
    for left, right, events, others in _bins(risks):
        inner = (left + 0.08 * (right - left), right - 0.08 * (right - left))
        if events:
            marks.append(bar(frame, inner, (-0.09, -0.09 + 0.07 * events / tallest), css="spike"))
        if others:
            marks.append(bar(frame, inner, (-0.1, -0.1 - 0.07 * others / tallest), css="spike faded"))
    return marks


def _bins(risks: RiskHistogram) -> list[tuple[float, float, int, int]]:
    return [
        (float(left), float(right), int(events), int(others))
        for left, right, events, others in zip(
            risks.edges[:-1], risks.edges[1:], risks.events, risks.non_events, strict=True
        )
    ]


CALLS = {"found": "found", "missed": "missed", "alarms": "false alarms", "cleared": "cleared"}


def risk_distribution(
    drawn: PopulationCurves, *, condition: str, point: OperatingPoint | None, key: str
) -> Chart:
    """Where the risks lie per outcome, in the colours of the calls at the primary threshold.

    A bar that the threshold cuts changes colour there; exact counts are in the 2x2.
    """
    risks = drawn.risks
    tallest = [1.08 * max(int(part.max(initial=0)), 1) for part in (risks.events, risks.non_events)]
    frame = Frame(
        unit_axis(f"predicted risk of {condition}"),
        axis_over("cases", -tallest[1], tallest[0], whole=True),
        height=300,
    )
    at = point.threshold if point is not None else 2.0
    marks = []
    for left, right, events, others in _bins(risks):
        for low, high, flagged in ((left, min(right, at), False), (max(left, at), right, True)):
            if high > low:
                calls = ("found", "alarms") if flagged else ("missed", "cleared")
                marks.append(bar(frame, (low, high), (0, events), css=calls[0]))
                marks.append(bar(frame, (low, high), (0, -others), css=calls[1]))
    marks.append(line(frame, (0, 1), (0, 0), css="zero"))
    legend = [Entry(swatch(css, shape="bar"), words) for css, words in CALLS.items()]
    if point is not None:
        marks.append(upright(frame, at, css="threshold"))
        legend.append(Entry(swatch("threshold"), f"threshold {number(at)}"))
    others = drawn.cases - drawn.events
    title = f"{whole(drawn.events)} {condition} cases upwards, {whole(others)} others downwards"
    described = f"Risks by {drawn.model}, coloured by the call at the threshold"
    return Chart(title, draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def decision_curve(
    lines: Mapping[str, DecisionLines],
    *,
    point: OperatingPoint | None,
    key: str,
    title: str = "Decision curve",
) -> Chart | None:
    """Net benefit per threshold up to one half, or to 1 where the primary threshold lies above."""
    if not lines:
        return None
    end = 1.0 if point is not None and point.threshold > HALF else HALF
    inside = next(iter(lines.values())).threshold <= end + 1e-9
    first = next(iter(lines.values()))
    top = largest(*(each.net_benefit.high[inside] for each in lines.values()), least=0.01)
    frame = Frame(
        axis_over("threshold (risk at which one would act)", 0.0, end),
        axis_over("net benefit (found per case)", -0.2 * top, 1.05 * top),
    )
    thresholds = first.threshold[inside]
    marks = [
        line(frame, (0, end), (0, 0), css="zero"),
        line(frame, thresholds, _above(first.treat_all[inside], frame), css="all"),
    ]
    legend = [Entry(swatch("all"), "treating all"), Entry(swatch("zero"), "treating none")]
    for place, (model, curve) in reversed(list(enumerate(lines.items()))):
        css, band = model_class(place), curve.net_benefit
        if place == 0:
            marks.append(area(frame, thresholds, band.low[inside], band.high[inside], css=css))
        marks.append(line(frame, thresholds, _above(band.value[inside], frame), css=css))
        legend.insert(0, Entry(_sample(css, place), model))
    if point is not None:
        marks.append(upright(frame, point.threshold, css="threshold"))
        legend.append(Entry(swatch("threshold"), f"threshold {number(point.threshold)}"))
    described = f"Net benefit of {', '.join(lines)} against treating all and treating none"
    return Chart(title, draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def _above(values: np.ndarray, frame: Frame) -> np.ndarray:
    """A line without what lies below the frame."""
    return np.where(values >= frame.y.low, values, np.nan)


def interventions_avoided(lines: Mapping[str, DecisionLines], *, key: str) -> Chart | None:
    """False alarms spared per 100 cases against treating all, with no case missed on balance."""
    if not lines:
        return None
    inside = next(iter(lines.values())).threshold <= HALF + 1e-9
    top = largest(*(curve.interventions_avoided[inside] for curve in lines.values()), least=1.0)
    frame = Frame(
        axis_over("threshold", 0.0, HALF), axis_over("interventions avoided per 100 cases", 0.0, 1.05 * top)
    )
    marks, legend = [], []
    for place, (model, curve) in enumerate(lines.items()):
        css = model_class(place)
        values = _above(curve.interventions_avoided[inside], frame)
        marks.append(line(frame, curve.threshold[inside], values, css=css))
        legend.append(Entry(swatch(css), model))
    title = "Interventions avoided"
    described = "Net reduction in interventions per 100 cases against treating all, per threshold"
    return Chart(title, draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def decision_difference(lines: DecisionDifference, *, key: str) -> Chart:
    """Net benefit of the later model less that of the earlier, with its band, as the comparisons have it."""
    inside = lines.threshold <= HALF + 1e-9
    given = lines.difference
    band = Band(-given.value[inside], -given.high[inside], -given.low[inside])
    reach = 1.05 * largest(np.abs(band.low), np.abs(band.high), least=0.01)
    frame = Frame(axis_over("threshold", 0.0, HALF), axis_over("difference in net benefit", -reach, reach))
    second, first = lines.models
    thresholds = lines.threshold[inside]
    marks = [
        line(frame, (0, HALF), (0, 0), css="zero"),
        area(frame, thresholds, band.low, band.high, css="m0"),
        line(frame, thresholds, band.value, css="m0"),
    ]
    legend = (Entry(swatch("m0", shape="band"), f"above 0 favours {first}, below {second}"),)
    title = f"Net benefit: {first} minus {second}"
    return Chart(title, draw(frame, marks, key=key, title=title, description=lines.method), legend)


def learning(losses: pd.DataFrame, *, key: str) -> Chart | None:
    """Losses per epoch of every member, with the epoch whose weights it kept.

    ``losses`` has the columns ``member``, ``epoch``, ``train_loss``, ``val_loss`` and ``kept``.
    """
    if losses.empty:
        return None
    top = 1.05 * largest(losses[["train_loss", "val_loss"]].to_numpy(float), least=0.1)
    frame = Frame(
        axis_over("epoch", 0, float(losses["epoch"].max()) + 0.5, whole=True),
        axis_over("cross-entropy loss", 0.0, top),
        height=320,
    )
    marks, kept = [], []
    for member, rows in losses.groupby("member"):
        watched = rows["val_loss"].where(rows["val_loss"].notna(), rows["train_loss"])
        marks.append(line(frame, rows["epoch"], rows["train_loss"], css="faint"))
        marks.append(line(frame, rows["epoch"], rows["val_loss"], css="m0 thin"))
        for epoch, loss in zip(rows["epoch"][rows["kept"]], watched[rows["kept"]], strict=True):
            kept.append(mark(frame, epoch, loss, shape="circle", css="point", words=f"member {member}"))
    legend = (
        Entry(swatch("faint"), "training"),
        Entry(swatch("m0 thin"), "validation"),
        Entry(swatch("point", shape="circle"), "weights kept, one mark per member"),
    )
    title = f"Training of the network, {losses['member'].nunique()} members"
    described = "Loss on training and validation data per epoch; the marks show the epoch that was kept"
    drawing = draw(frame, [*marks, *kept], key=key, title=title, description=described)
    return Chart(title, drawing, legend)


def auc_words(value: float, low: float, high: float, *, digits: int) -> str:
    """``AUC 0.93 (0.85 to 0.97)``."""
    return f"AUC {number(value, digits)} ({number(low, digits)} to {number(high, digits)})"
