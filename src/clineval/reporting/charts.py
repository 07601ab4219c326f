"""The report's charts as SVG: marks and axes, every model on one frame, the primary one with its band."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from clineval.evaluation.curves import (
    Band,
    CalibrationLines,
    DecisionDifference,
    DecisionLines,
    PopulationCurves,
    RiskHistogram,
)
from clineval.evaluation.records import OperatingPoint
from clineval.reporting.sentences import cases_of, defined, number, whole

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 420.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 60.0, 12.0, 10.0, 46.0


@dataclass(frozen=True)
class Axis:
    """One axis: its words, its range and the values that get a tick, each with its text."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


UNIT_TICKS = tuple((k / 5, f"{k / 5:.1f}") for k in range(6))


def unit_axis(label: str) -> Axis:
    """An axis from 0 to 1."""
    return Axis(label, 0.0, 1.0, UNIT_TICKS)


def axis_over(label: str, low: float, high: float, *, whole: bool = False) -> Axis:
    """An axis over a range, with some five round ticks."""
    step = _round_step((high - low) / 5)
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    values = [first * step + k * step for k in range(int((high - first * step) / step + 1e-9) + 1)]
    digits = 0 if whole else max(0, -math.floor(math.log10(step) + 1e-9))
    return Axis(
        label, low, high, tuple((v, f"{abs(v) if whole else v:.{digits}f}".replace("-", "−")) for v in values)
    )


def _round_step(raw: float) -> float:
    size = 10.0 ** math.floor(math.log10(raw))
    return next(factor * size for factor in (1, 2, 5, 10) if raw <= factor * size * (1 + 1e-9))


def largest(*arrays: Floats, least: float) -> float:
    """The largest defined value of some arrays, at least ``least``: where an axis may end."""
    return max([least, *(float(values[np.isfinite(values)].max(initial=least)) for values in arrays)])


@dataclass(frozen=True)
class Frame:
    """Where values lie on the page: units of the drawing per unit of each axis."""

    x: Axis
    y: Axis
    width: float = WIDTH
    height: float = HEIGHT

    def across(self, value: float) -> float:
        """Horizontal position of a value."""
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return LEFT + share * (self.width - LEFT - RIGHT)

    def down(self, value: float) -> float:
        """Vertical position of a value, kept inside the frame."""
        share = (value - self.y.low) / (self.y.high - self.y.low)
        share = min(max(share, 0.0), 1.0)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)


def _spot(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def path(frame: Frame, x: Iterable[float], y: Iterable[float]) -> str:
    """The drawing commands of a line; it breaks where a value is undefined, and repeats no point."""
    commands: list[str] = []
    pen_down, last = False, ""
    for here, there in zip(x, y, strict=True):
        if math.isnan(there) or math.isnan(here):
            pen_down = False
            continue
        spot = f"{_spot(frame.across(here))} {_spot(frame.down(there))}"
        if not pen_down or spot != last:
            commands.append(f"{'L' if pen_down else 'M'}{spot}")
        pen_down, last = True, spot
    return "".join(commands)


def line(frame: Frame, x: Iterable[float], y: Iterable[float], *, css: str) -> Markup:
    """A line of values."""
    return Markup('<path class="line {}" d="{}"/>').format(css, path(frame, x, y))


def area(frame: Frame, x: Floats, low: Floats, high: Floats, *, css: str) -> Markup:
    """The band between two lines, where both are defined."""
    kept = ~(np.isnan(low) | np.isnan(high))
    outline = np.concatenate([x[kept], x[kept][::-1]]), np.concatenate([high[kept], low[kept][::-1]])
    return (
        Markup('<path class="band {}" d="{}Z"/>').format(css, path(frame, *outline))
        if kept.any()
        else Markup("")
    )


def bar(frame: Frame, x: tuple[float, float], y: tuple[float, float], *, css: str) -> Markup:
    """A filled box between two values on each axis."""
    left, right = frame.across(x[0]), frame.across(x[1])
    top, foot = frame.down(max(y)), frame.down(min(y))
    return Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}"/>').format(
        css, _spot(left), _spot(top), _spot(max(right - left, 0)), _spot(max(foot - top, 0))
    )


def whisker(frame: Frame, x: float, low: float, high: float, *, css: str) -> Markup:
    """An interval as an upright bar."""
    spot = _spot(frame.across(x))
    return Markup('<path class="line {}" d="M{} {}V{}"/>').format(
        css, spot, _spot(frame.down(low)), _spot(frame.down(high))
    )


def upright(frame: Frame, x: float, *, css: str) -> Markup:
    """A line over the whole height, such as a threshold."""
    return whisker(frame, x, frame.y.low, frame.y.high, css=css)


_SHAPES = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",
    "diamond": "M0 -6.5L6.5 0L0 6.5L-6.5 0Z",
    "triangle": "M0 -6L6 5L-6 5Z",
    "square": "M-3 -3H3V3H-3Z",
}


def mark(frame: Frame, x: float, y: float, *, shape: str, css: str, words: str = "") -> Markup:
    """A point; ``words`` is what a pointer resting on it is told."""
    title = Markup("<title>{}</title>").format(words) if words else Markup("")
    return Markup('<path class="mark {}" transform="translate({} {})" d="{}">{}</path>').format(
        css, _spot(frame.across(x)), _spot(frame.down(y)), _SHAPES[shape], title
    )


def draw(frame: Frame, marks: Iterable[Markup], *, key: str, title: str, description: str) -> Markup:
    """The whole chart; ``key`` is unique on the page, title and description are for screen readers."""
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{key}-t {key}-d">'
        '<title id="{key}-t">{title}</title><desc id="{key}-d">{description}</desc>{axes}{marks}</svg>'
    ).format(
        w=_spot(frame.width), h=_spot(frame.height), key=key, title=title, description=description,
        axes=_axes(frame), marks=Markup("").join(marks),
    )  # fmt: skip


def _axes(frame: Frame) -> Markup:
    """Grid, ticks and names; the values themselves are told to screen readers by title and description."""
    parts = [*_across_the_frame(frame), *_up_the_frame(frame)]
    return Markup('<g class="axes" aria-hidden="true">{}</g>').format(Markup("").join(parts))


def _across_the_frame(frame: Frame) -> list[Markup]:
    """The horizontal grid with the ticks of y, and the name of x below."""
    ends = {"left": _spot(LEFT), "right": _spot(frame.width - RIGHT), "text": _spot(LEFT - 6)}
    tick = Markup(
        '<path class="grid" d="M{left} {at}H{right}"/>'
        '<text class="tick end" x="{text}" y="{foot}">{words}</text>'
    )
    parts = []
    for value, words in frame.y.ticks:
        at = frame.down(value)
        parts.append(tick.format(at=_spot(at), foot=_spot(at + 4), words=words, **ends))
    middle = _spot((LEFT + frame.width - RIGHT) / 2)
    name = Markup('<text class="name mid" x="{}" y="{}">{}</text>')
    return [*parts, name.format(middle, _spot(frame.height - 8), shorten(frame.x.label))]


def _up_the_frame(frame: Frame) -> list[Markup]:
    """The vertical grid with the ticks of x, and the name of y beside."""
    foot = frame.height - BOTTOM
    tick = Markup(
        '<path class="grid" d="M{at} {top}V{foot}"/><text class="tick mid" x="{at}" y="{text}">{words}</text>'
    )
    parts = [
        tick.format(
            at=_spot(frame.across(value)),
            top=_spot(TOP),
            foot=_spot(foot),
            text=_spot(foot + 16),
            words=words,
        )
        for value, words in frame.x.ticks
    ]
    name = Markup('<text class="name mid" transform="translate(13 {}) rotate(-90)">{}</text>')
    return [*parts, name.format(_spot((TOP + foot) / 2), shorten(frame.y.label))]


def shorten(text: str, length: int = 48) -> str:
    """A name cut to ``length`` characters, where a drawing has no more space."""
    clean = " ".join(text.split())
    return clean if len(clean) <= length else f"{clean[: length - 1]}…"


def swatch(css: str, *, shape: str = "line") -> Markup:
    """A legend's sample of a line, band, bar or mark."""
    inner = {
        "line": Markup('<path class="line {}" d="M1 7H27"/>').format(css),
        "band": Markup(
            '<path class="line {0}" d="M1 7H27"/><path class="band {0}" d="M1 1H27V13H1Z"/>'
        ).format(css),
        "bar": Markup('<rect class="bar {}" x="6" y="1" width="14" height="12"/>').format(css),
    }.get(shape)
    if inner is None:
        inner = Markup('<path class="mark {}" transform="translate(14 7)" d="{}"/>').format(
            css, _SHAPES[shape]
        )
    return Markup('<svg class="swatch" viewBox="0 0 28 14" aria-hidden="true">{}</svg>').format(inner)


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
    described = f"Foot: risks by {drawn[0].model}, upwards of {cases_of(condition)}, downwards of the others"
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
    title = f"{whole(drawn.events)} {cases_of(condition)} upwards, {whole(others)} others downwards"
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
