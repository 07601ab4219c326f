"""An evaluation's curves as charts of the report, with legends, and words for screen readers."""

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
    RocLine,
)
from clineval.evaluation.record import PopulationScores, ScoredPoint
from clineval.reporting import charts
from clineval.reporting.wording import aim_words, defined, number, percent, with_interval

SHAPES = {"half": "circle", "sensitivity_90": "diamond", "given": "triangle"}
MODELS = 6  # colours and dashes before they repeat
MOST_BANDS = 3  # bands over each other that an eye can tell apart


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


def model_class(index: int) -> str:
    """The class that colours the ``index``-th model."""
    return f"m{index % MODELS}"


def roc(drawn: PopulationCurves, scores: PopulationScores, *, key: str, index: int) -> Chart | None:
    """The ROC curve with its band and the operating points."""
    if drawn.roc is None:
        return None
    frame = charts.Frame(charts.unit_axis("1 − specificity"), charts.unit_axis("sensitivity"))
    css = model_class(index)
    auc = scores.measures.get("auc_logit")
    marks = [charts.line(frame, (0, 1), (0, 1), css="chance"), *_roc_line(drawn.roc, frame, css=css)]
    legend = [Entry(charts.swatch(css, shape="band"), f"AUC {with_interval(auc)}; band pointwise")]
    for point in _drawable(scores.operating_points):
        sensitivity, specificity = point.rates["sensitivity"].value, point.rates["specificity"].value
        words = f"threshold {number(point.threshold)}, {aim_words(point)}"
        shape = SHAPES.get(point.name, "square")
        marks.append(charts.mark(frame, 1 - specificity, sensitivity, shape=shape, css="point", words=words))
        legend.append(
            Entry(
                charts.swatch("point", shape=shape),
                f"{words}: sensitivity {percent(sensitivity)}, specificity {percent(specificity)}",
            )
        )
    title = f"ROC curve: {drawn.model}, {drawn.population}"
    described = ". ".join([f"AUC {with_interval(auc)}", *(entry.words for entry in legend[1:])])
    return Chart(title, charts.draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def _roc_line(line: RocLine, frame: charts.Frame, *, css: str) -> list[Markup]:
    band = line.band
    shaded = [charts.area(frame, line.grid, band.low, band.high, css=css)] if band is not None else []
    return [*shaded, charts.line(frame, line.false_positive_rate, line.sensitivity, css=css)]


def _drawable(points: Sequence[ScoredPoint]) -> list[ScoredPoint]:
    return [p for p in points if defined(p.rates["sensitivity"]) and defined(p.rates["specificity"])]


def calibration(
    drawn: PopulationCurves, scores: PopulationScores, *, condition: str, key: str, index: int
) -> Chart | None:
    """Observed share against predicted risk, smoothed and in groups, with the risks along the foot."""
    lines = drawn.calibration
    if lines is None:
        return None
    y = charts.Axis(f"observed share {condition}", -0.17, 1.0, charts.UNIT_TICKS)
    frame = charts.Frame(charts.unit_axis(f"predicted risk of {condition}"), y, height=400)
    css = model_class(index)
    marks = [charts.line(frame, (0, 1), (0, 1), css="chance"), *_calibration_lines(lines, frame, css=css)]
    marks += _spikes(drawn.risks, frame)
    legend = [Entry(charts.swatch("chance"), "perfect calibration")]
    if lines.smooth is not None:
        legend.append(Entry(charts.swatch(css, shape="band"), "smoothed, with band"))
    if lines.grouped is not None:
        legend.append(Entry(charts.swatch("groups", shape="square"), "groups of cases, Wilson bars"))
    legend.append(Entry(charts.swatch("present", shape="bar"), f"risks of {condition} cases, upwards"))
    legend.append(Entry(charts.swatch("absent", shape="bar"), "risks of the others, downwards"))
    described = "; ".join(
        f"{words} {with_interval(scores.measures.get(name))}"
        for words, name in (("intercept", "calibration_intercept"), ("slope", "calibration_slope"))
    )
    title = f"Calibration: {drawn.model}, {drawn.population}"
    return Chart(title, charts.draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def _calibration_lines(lines: CalibrationLines, frame: charts.Frame, *, css: str) -> list[Markup]:
    marks = []
    if lines.smooth is not None:
        # A smoother knows no bounds; a share lies between 0 and 1, and the foot is for the risks.
        value, low, high = (
            np.clip(part, 0, 1) for part in (lines.smooth.value, lines.smooth.low, lines.smooth.high)
        )
        marks.append(charts.area(frame, lines.risk, low, high, css=css))
        marks.append(charts.line(frame, lines.risk, value, css=css))
    if lines.grouped is not None:
        ends = zip(lines.mean_risk, lines.grouped.value, lines.grouped.low, lines.grouped.high, strict=True)
        for risk, share, low, high in ends:
            marks.append(charts.whisker(frame, risk, low, high, css="groups"))
            marks.append(charts.mark(frame, risk, share, shape="square", css="groups"))
    return marks


def _spikes(risks: RiskHistogram, frame: charts.Frame) -> list[Markup]:
    tallest = max(int(risks.events.max(initial=0)), int(risks.non_events.max(initial=0)), 1)
    marks = []
    for left, right, events, others in zip(
        risks.edges[:-1], risks.edges[1:], risks.events, risks.non_events, strict=True
    ):
        inner = (left + 0.08 * (right - left), right - 0.08 * (right - left))
        if events:
            marks.append(charts.bar(frame, inner, (-0.09, -0.09 + 0.07 * events / tallest), css="present"))
        if others:
            marks.append(charts.bar(frame, inner, (-0.1, -0.1 - 0.07 * others / tallest), css="absent"))
    return marks


def risk_distribution(
    drawn: PopulationCurves, scores: PopulationScores, *, condition: str, key: str
) -> Chart:
    """Where the risks lie per outcome, with the thresholds."""
    risks = drawn.risks
    tallest = (
        1.08 * max(int(risks.events.max(initial=0)), 1),
        1.08 * max(int(risks.non_events.max(initial=0)), 1),
    )
    frame = charts.Frame(
        charts.unit_axis(f"predicted risk of {condition}"),
        charts.axis_over("cases", -tallest[1], tallest[0], whole=True),
        height=300,
    )
    marks = []
    for left, right, events, others in zip(
        risks.edges[:-1], risks.edges[1:], risks.events, risks.non_events, strict=True
    ):
        marks.append(charts.bar(frame, (left, right), (0, int(events)), css="present"))
        marks.append(charts.bar(frame, (left, right), (0, -int(others)), css="absent"))
    marks.append(charts.line(frame, (0, 1), (0, 0), css="zero"))
    absent = scores.cases - scores.events
    legend = [
        Entry(charts.swatch("present", shape="bar"), f"{condition} (n = {scores.events}), upwards"),
        Entry(charts.swatch("absent", shape="bar"), f"not {condition} (n = {absent}), downwards"),
    ]
    for place, point in enumerate(p for p in scores.operating_points if not np.isnan(p.threshold)):
        css = f"threshold t{place % 3}"
        marks.append(charts.upright(frame, point.threshold, css=css))
        words = f"threshold {number(point.threshold)}, {aim_words(point)}"
        legend.append(Entry(charts.swatch(css), words))
    title = f"Risks by outcome: {drawn.model}, {drawn.population}"
    described = f"{scores.events} cases with the condition, {absent} without"
    return Chart(title, charts.draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def decision_curve(
    lines: Mapping[str, tuple[int, DecisionLines]], *, population: str, key: str
) -> Chart | None:
    """Net benefit per threshold of several models, each with its place among all models."""
    if not lines:
        return None
    first = next(iter(lines.values()))[1]
    top = charts.largest(*(line.net_benefit.high for _, line in lines.values()), least=0.01)
    frame = charts.Frame(
        charts.unit_axis("threshold probability"),
        charts.axis_over("net benefit (true positives per case)", -0.3 * top, 1.05 * top),
        height=360,
    )
    banded = len(lines) <= MOST_BANDS
    above = np.where(first.treat_all >= frame.y.low, first.treat_all, np.nan)
    marks = [
        charts.line(frame, (0, 1), (0, 0), css="zero"),
        charts.line(frame, first.threshold, above, css="all"),
    ]
    legend = [Entry(charts.swatch("all"), "flag everyone"), Entry(charts.swatch("zero"), "flag no one")]
    for model, (index, line) in lines.items():
        css, band = model_class(index), line.net_benefit
        kept = np.where(band.value >= frame.y.low, band.value, np.nan)
        if banded:
            marks.append(charts.area(frame, line.threshold, band.low, band.high, css=css))
        marks.append(charts.line(frame, line.threshold, kept, css=css))
        legend.append(Entry(charts.swatch(css, shape="band" if banded else "line"), model))
    title = f"Decision curves: {population}"
    described = f"Net benefit of {', '.join(lines)} against flagging everyone and no one, per threshold"
    return Chart(title, charts.draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def interventions_avoided(
    lines: Mapping[str, tuple[int, DecisionLines]], *, population: str, key: str
) -> Chart | None:
    """False alarms spared per 100 cases against flagging everyone, at no missed case more in value."""
    if not lines:
        return None
    top = charts.largest(*(line.interventions_avoided for _, line in lines.values()), least=1.0)
    frame = charts.Frame(
        charts.unit_axis("threshold probability"),
        charts.axis_over("interventions avoided per 100 cases", 0.0, 1.05 * top),
        height=360,
    )
    marks, legend = [], []
    for model, (index, line) in lines.items():
        css = model_class(index)
        kept = np.where(line.interventions_avoided >= 0, line.interventions_avoided, np.nan)
        marks.append(charts.line(frame, line.threshold, kept, css=css))
        legend.append(Entry(charts.swatch(css), model))
    title = f"Interventions avoided: {population}"
    described = "Net reduction in interventions per 100 cases against flagging everyone, per threshold"
    return Chart(title, charts.draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def decision_difference(lines: DecisionDifference, *, key: str) -> Chart:
    """Net benefit of the later model minus that of the earlier, with its band, as the comparisons have it."""
    given = lines.difference
    band = Band(-given.value, -given.high, -given.low)
    reach = 1.05 * charts.largest(np.abs(band.low), np.abs(band.high), least=0.01)
    frame = charts.Frame(
        charts.unit_axis("threshold probability"),
        charts.axis_over("difference in net benefit", -reach, reach),
        height=360,
    )
    second, first = lines.models
    marks = [
        charts.line(frame, (0, 1), (0, 0), css="zero"),
        charts.area(frame, lines.threshold, band.low, band.high, css="m0"),
        charts.line(frame, lines.threshold, band.value, css="m0"),
    ]
    legend = (Entry(charts.swatch("m0", shape="band"), f"{first} minus {second}, with band"),)
    title = f"Difference in net benefit: {first} minus {second}, {lines.population}"
    described = f"Above 0 favours {first}, below 0 {second}; {lines.method}"
    return Chart(title, charts.draw(frame, marks, key=key, title=title, description=described), legend)


def learning(losses: pd.DataFrame, *, key: str) -> Chart | None:
    """Losses per epoch of every member, with the epoch whose weights it kept.

    ``losses`` has the columns ``member``, ``epoch``, ``train_loss``, ``val_loss`` and ``kept``.
    """
    if losses.empty:
        return None
    top = 1.05 * charts.largest(losses[["train_loss", "val_loss"]].to_numpy(float), least=0.1)
    frame = charts.Frame(
        charts.axis_over("epoch", 0, float(losses["epoch"].max()) + 0.5, whole=True),
        charts.axis_over("cross-entropy loss", 0.0, top),
        height=320,
    )
    marks, kept = [], []
    for member, rows in losses.groupby("member"):
        watched = rows["val_loss"].where(rows["val_loss"].notna(), rows["train_loss"])
        marks.append(charts.line(frame, rows["epoch"], rows["train_loss"], css="faint"))
        marks.append(charts.line(frame, rows["epoch"], rows["val_loss"], css="m0 thin"))
        for epoch, loss in zip(rows["epoch"][rows["kept"]], watched[rows["kept"]], strict=True):
            kept.append(
                charts.mark(frame, epoch, loss, shape="circle", css="point", words=f"member {member}")
            )
    legend = (
        Entry(charts.swatch("faint"), "training"),
        Entry(charts.swatch("m0 thin"), "validation"),
        Entry(charts.swatch("point", shape="circle"), "weights kept, one mark per member"),
    )
    title = f"Learning curves, {losses['member'].nunique()} members"
    described = "Loss on training and validation data per epoch; the marks show the epoch that was kept"
    drawing = charts.draw(frame, [*marks, *kept], key=key, title=title, description=described)
    return Chart(title, drawing, legend)
