"""Marks, axes and legends of the report's charts, as SVG."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

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
