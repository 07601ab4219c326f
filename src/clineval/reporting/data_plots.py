"""Figures of the data and of its audit, and strips of images: as given, as prepared, and as scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from clineval.data.audit import Audit
from clineval.data.cohort import GreyLevels, SplitCount
from clineval.data.duplicates import DETAIL, Pair
from clineval.data.own_images import RawSample, RawSamples
from clineval.data.similarity import evenly_spaced
from clineval.reporting.sentences import percent, whole
from clineval.reporting.style import (
    ABSENT,
    COLUMN,
    INK,
    MODEL_COLOURS,
    MUTED,
    PRESENT,
    Heading,
    journal_style,
    lay_out,
    new_figure,
    save,
    shorten,
)

TILE = 1.42  # height of a small image with its two lines of caption, in widths


class LearningCurve(Protocol):
    """How one member learnt, epoch by epoch, as training records it."""

    @property
    def seed(self) -> int: ...
    @property
    def train_loss(self) -> Sequence[float]: ...
    @property
    def val_loss(self) -> Sequence[float]: ...
    @property
    def kept_epoch(self) -> int: ...
    @property
    def fired(self) -> bool: ...


def draw_class_distribution(splits: Sequence[SplitCount], ax: Axes, *, condition: str) -> None:
    """Cases with and without the condition per split, each bar with its count and the prevalence."""
    place = np.arange(len(splits))
    events = np.array([split.events for split in splits])
    others = np.array([split.cases - split.events for split in splits])
    bars = (
        (place - 0.2, events, PRESENT, shorten(condition, 24)),
        (place + 0.2, others, ABSENT, f"not {shorten(condition, 24)}"),
    )
    for where, counts, colour, label in bars:
        ax.bar(where, counts, width=0.38, color=colour, label=label)
        for at, count in zip(where, counts, strict=True):
            ax.annotate(
                whole(int(count)), (at, count), xytext=(0, 2), textcoords="offset points", ha="center"
            )
    ax.set_xticks(place)
    ax.set_xticklabels(
        [f"{shorten(s.split, 18)}\nn = {whole(s.cases)}\n{percent(s.prevalence)}" for s in splits]
    )
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.12)
    ax.set_ylabel("cases")


def draw_grey_levels(levels: GreyLevels, ax: Axes, *, colour: str) -> None:
    """How often each grey level occurs in all images of a class, with mean and median."""
    share = levels.histogram / max(levels.histogram.sum(), 1)
    bins = share.reshape(64, 4).sum(axis=1)  # four grey levels a bar: 256 would be hairlines in a column
    ax.stairs(100 * bins, np.arange(65) * 4, fill=True, color=colour, linewidth=0)
    if levels.cases:
        ax.axvline(levels.mean, color=INK, linewidth=1, label=f"mean {levels.mean:.0f}, SD {levels.sd:.0f}")
        median = levels.quantiles[0.50]
        ax.axvline(median, color=INK, linewidth=1, linestyle=(0, (3, 2)), label=f"median {median:.0f}")
    ax.set_xlim(0, 256)
    ax.set_xticks([0, 64, 128, 192, 255])
    ax.set_xlabel("grey level of a pixel (0 black to 255 white)")
    ax.set_ylabel("share of pixels, %")


def draw_learning_curves(curves: Sequence[LearningCurve], ax: Axes) -> None:
    """Training and validation loss of each member per epoch; a mark where its kept weights come from."""
    for index, curve in enumerate(curves):
        epochs = np.arange(1, len(curve.train_loss) + 1)
        alpha = 0.9 if len(curves) == 1 else 0.55
        ax.plot(
            epochs,
            curve.train_loss,
            color=MUTED,
            linewidth=0.9,
            alpha=alpha,
            label="training" if not index else None,
        )
        if len(curve.val_loss):
            ax.plot(
                np.arange(1, len(curve.val_loss) + 1), curve.val_loss, color=MODEL_COLOURS[0], linewidth=1.1,
                alpha=alpha, label="validation" if not index else None,
            )  # fmt: skip
    _mark_kept(curves, ax)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.set_ylabel("cross-entropy loss")


def _mark_kept(curves: Sequence[LearningCurve], ax: Axes) -> None:
    """The epoch whose weights each member kept, on its validation curve where there is one."""
    labelled: set[bool] = set()
    for curve in curves:
        watched = curve.val_loss if len(curve.val_loss) else curve.train_loss
        if not 1 <= curve.kept_epoch <= len(watched):
            continue
        words = "stopped early, best weights kept" if curve.fired else "weights kept (stopping did not fire)"
        ax.plot(
            [curve.kept_epoch], [watched[curve.kept_epoch - 1]], linestyle="none",
            marker="D" if curve.fired else "o", markersize=4.5, markerfacecolor=PRESENT,
            markeredgecolor="white", markeredgewidth=0.6, zorder=5,
            label=None if curve.fired in labelled else words,
        )  # fmt: skip
        labelled.add(curve.fired)


def draw_tiles(
    images: Sequence[NDArray[np.uint8]], captions: Sequence[str], ax: Axes, *, columns: int
) -> None:
    """Grey images in rows, a caption under each, at their own pixels; a tile is 1 wide and TILE high."""
    rows = max(1, -(-len(images) // columns))
    ax.set_xlim(0, columns)
    ax.set_ylim(rows * TILE, 0)
    ax.axis("off")
    if not images:
        return
    extent = (0, columns, rows * TILE, 0)
    mosaic = _mosaic(images, rows=rows, columns=columns)
    ax.imshow(mosaic, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent, aspect="auto")
    for place, caption in enumerate(captions):
        spot = (place % columns + 0.5, place // columns * TILE + 0.99)
        ax.text(*spot, caption, fontsize=5.4, ha="center", va="top", linespacing=1.15)


def _mosaic(images: Sequence[NDArray[np.uint8]], *, rows: int, columns: int) -> NDArray[np.uint8]:
    """One white sheet with every image in its cell: a single picture draws ten times faster than many."""
    height, width = images[0].shape
    margin = max(1, width // 28)
    across = width + 2 * margin
    down = round(across * TILE)
    sheet = np.full((rows * down, columns * across), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * down + margin, place % columns * across + margin
        sheet[top : top + height, left : left + width] = image
    return sheet


Images = NDArray[np.uint8]
Place = tuple[float, float, float, float]  # left, bottom, right and top edge, as shares of the Axes

ACROSS = 4  # pairs a row
EACH = 12  # pairs a section
WIDTH = 7.2  # inches; 183 mm, two columns of most journals
PAIR_HEIGHT = 1.2  # inches: height of a pair with its caption
HEADING = 0.32  # inches, of which
ABOVE = 0.1  # part a heading from the row above
HEAD = 0.5  # inches for the title
GAP = 0.06  # of an image's width, between the two images of a pair
WARNING = "#A01616"
LONGEST = 15  # letters of a caption's line that fit above one image of a pair
UNDIVIDED = "all"  # the split of images that are in none


@dataclass(frozen=True)
class Section:
    """Some pairs under a heading."""

    heading: str
    pairs: tuple[Pair, ...]


def write_gallery_of_duplicates(
    audit: Audit, images: Images, path: Path, *, condition: str = "", notice: str = ""
) -> None:
    """Duplicates by kind, worst first; of a kind with many, pairs from its whole range of similarity."""
    shown = sections_by_kind(audit.pairs)
    count = sum(len(section.pairs) for section in shown)
    subtitle = (
        f"{count} of {len(audit.pairs)} pairs at similarity {audit.threshold.value:.3g} and above"
        f"{_second_look(audit)}; worst kinds first, each from its most to its least similar"
        if audit.pairs
        else f"No two of the {len(audit.case)} images reach similarity {audit.threshold.value:.3g}"
    )
    title = "Images that count as the same picture"
    _write(shown, images, path, title=title, subtitle=subtitle, condition=condition, notice=notice)


def write_gallery_at_threshold(
    audit: Audit, images: Images, path: Path, *, condition: str = "", notice: str = ""
) -> None:
    """The pairs on both sides of the cut, so that a reader can judge it."""
    shown = sections_at_threshold(audit)
    subtitle = f"The cut is at similarity {audit.threshold.value:.3g}. {_origin(audit)}"
    title = "Where near-duplicates end: pairs around the threshold"
    _write(shown, images, path, title=title, subtitle=subtitle, condition=condition, notice=notice)


def write_nearest(audit: Audit, path: Path, *, notice: str = "") -> None:
    """The distribution of nearest-neighbour similarities with the threshold in its gap."""
    with journal_style():
        figure, (ax,) = new_figure()
        draw_nearest(audit, ax)
        subtitle = (
            f"{len(audit.nearest)} different images; threshold {audit.threshold.value:.3g}. {_origin(audit)}"
        )
        heading = Heading("Images with and without a near-duplicate", subtitle, notice)
        save(lay_out(figure, heading), path.with_suffix(""))


def sections_by_kind(pairs: Sequence[Pair]) -> tuple[Section, ...]:
    """Every pair under the worst thing that can be said of it; up to twelve of each kind."""
    kinds: tuple[tuple[str, Callable[[Pair], bool]], ...] = (
        ("Opposite labels on one picture", lambda pair: pair.contradictory),
        (
            "A test image and a training or validation image",
            lambda pair: "test" in pair.splits and pair.across_splits,
        ),
        ("Across other splits", lambda pair: pair.across_splits),
        ("Within one split", lambda pair: True),
    )
    sections, rest = [], list(pairs)
    for heading, belongs in kinds:
        chosen = sorted(filter(belongs, rest), key=lambda pair: -pair.similarity)
        rest = [pair for pair in rest if not belongs(pair)]
        if chosen:
            sections.append(_section(heading, chosen))
    return tuple(sections)


def sections_at_threshold(audit: Audit) -> tuple[Section, ...]:
    """The least similar near-duplicates, those found by detail alone, and the most similar others."""
    cut = audit.threshold.value
    ranked = sorted(audit.pairs, key=lambda pair: pair.similarity)
    above = [pair for pair in ranked if pair.similarity >= cut]
    by_detail = [pair for pair in ranked if pair.similarity < cut][::-1]
    every = (
        Section("Near-duplicates: the least similar at or above the cut", tuple(above[:EACH][::-1])),
        Section(
            f"Near-duplicates: below the cut, but fine detail agrees (at least {DETAIL:g})",
            tuple(by_detail[: 2 * EACH]),
        ),
        Section("Not near-duplicates: the most similar below the cut", audit.below[:EACH]),
    )
    return tuple(section for section in every if section.pairs)


def draw_pair(
    pair: Pair, images: Images, ax: Axes, *, box: Place = (0.0, 0.0, 1.0, 1.0), condition: str = ""
) -> None:
    """Two images side by side, each under its name, split and label, with their similarity below.

    ``box`` is where in the Axes the images go: left, bottom, right and top edge, as shares of it.
    """
    left, bottom, right, top = box
    ax.imshow(
        _side_by_side(pair, images), cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto",
        extent=(left, right, bottom, top), transform=ax.transAxes,
    )  # fmt: skip
    ax.set_axis_off()
    for place, end in ((left, 0), (right, 1)):
        ax.text(
            place, top + 0.03 * (top - bottom), _caption(pair, end, condition), transform=ax.transAxes,
            fontsize=5.6, ha="left" if end == 0 else "right", va="bottom", color=INK, linespacing=1.15,
        )  # fmt: skip
    ax.text(
        (left + right) / 2, bottom - 0.03 * (top - bottom), _evidence(pair), transform=ax.transAxes,
        fontsize=5.6, ha="center", va="top", color=WARNING if pair.contradictory else MUTED,
    )  # fmt: skip


def _side_by_side(pair: Pair, images: Images) -> Images:
    left, right = (images[position] for position in pair.positions)
    gap = np.full((left.shape[0], max(1, round(GAP * left.shape[1]))), 255, np.uint8)
    return np.hstack([left, gap, right])


def draw_nearest(audit: Audit, ax: Axes) -> None:
    """Histogram of nearest-neighbour similarities on Fisher's z scale, and the threshold."""
    scale = np.arctanh(np.clip(audit.nearest, -0.9999, 0.9999))
    ax.hist(scale, bins=40, color=ABSENT, alpha=0.75)
    ax.axvline(np.arctanh(min(audit.threshold.value, 0.9999)), color=PRESENT, label="threshold")
    ticks = np.array([0.0, 0.5, 0.8, 0.9, 0.97, 0.99, 0.999])
    ticks = ticks[np.arctanh(ticks) >= scale.min(initial=0.0)]
    ax.set_xticks(np.arctanh(ticks), [f"{tick:g}" for tick in ticks])
    ax.set_xlabel("Similarity to the nearest neighbour")
    ax.set_ylabel("Images")


def _section(heading: str, chosen: list[Pair]) -> Section:
    places = evenly_spaced(len(chosen), EACH)
    words = heading if len(places) == len(chosen) else f"{heading} ({len(places)} of {len(chosen)})"
    return Section(words, tuple(chosen[place] for place in places))


def _caption(pair: Pair, end: int, condition: str) -> str:
    """An image's name, its split where the name does not tell it, and its label, a line each."""
    name, split = pair.cases[end], pair.splits[end]
    lines = [name if len(name) <= LONGEST else name.removesuffix(PurePosixPath(name).suffix)]
    if split != UNDIVIDED and not name.startswith(f"{split}/"):
        lines.append(split)
    if pair.outcomes is not None:
        outcome = pair.outcomes[end]
        lines.append(outcome if isinstance(outcome, str) else condition if outcome else f"not {condition}")
    return "\n".join(_shorten_inside(line, LONGEST) for line in lines)


def _shorten_inside(text: str, length: int) -> str:
    """At most ``length`` characters that keep a name's beginning and its end, where file names differ."""
    clean = " ".join(text.split())
    if len(clean) > length:
        tail = 2 * (length - 1) // 3
        clean = f"{clean[: length - 1 - tail]}…{clean[-tail:]}"
    return shorten(clean, length)


def _evidence(pair: Pair) -> str:
    if pair.byte_identical:
        words = "byte-identical"
    else:
        words = f"similarity {pair.similarity:.4f}, detail {pair.detail:.2f}"
    return f"{words}{', mirrored' if pair.alignment.flipped else ''}"


def _second_look(audit: Audit) -> str:
    below = sum(pair.similarity < audit.threshold.value for pair in audit.pairs)
    return f" (and {below} below it whose detail agrees)" if below else ""


def _origin(audit: Audit) -> str:
    words = {
        "gap": "It lies in the gap of the nearest-neighbour similarities.",
        "fence": "The similarities show no gap; it lies far above their bulk.",
        "fallback": "Too few images to read it off the data.",
        "given": "It was asked for.",
    }
    return words[audit.threshold.origin]


def _write(
    sections: Sequence[Section],
    images: Images,
    path: Path,
    *,
    title: str,
    subtitle: str,
    condition: str,
    notice: str,
) -> None:
    with journal_style():
        figure = _page(sections, images, condition=condition)
        height = figure.get_figheight()
        figure.text(0.02, 1 - 0.14 / height, title, fontsize=10, fontweight="bold", va="top")
        figure.text(0.02, 1 - 0.38 / height, subtitle, fontsize=6.8, color=MUTED, va="top")
        if notice:
            figure.text(
                0.98, 1 - 0.14 / height, notice.split(":")[0], ha="right", va="top", color="white",
                fontsize=7.5, fontweight="bold", gid="notice",
                bbox={"facecolor": WARNING, "edgecolor": "none", "pad": 2.5},
            )  # fmt: skip
        save(figure, path.with_suffix(""))


def _page(sections: Sequence[Section], images: Images, *, condition: str) -> Figure:
    """Sections below one another, pairs in rows of four, everything placed in inches."""
    rows = [-(-len(section.pairs) // ACROSS) for section in sections]
    height = HEAD + sum(HEADING + count * PAIR_HEIGHT for count in rows) + 0.1
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))  # one for all pairs: Axes take longer than what is drawn in them
    ax.set_axis_off()
    top = HEAD
    for section, count in zip(sections, rows, strict=True):
        figure.text(
            0.02, 1 - (top + ABOVE) / height, section.heading, fontsize=8, fontweight="bold", va="top"
        )
        for place, pair in enumerate(section.pairs):
            down, across = divmod(place, ACROSS)
            box = _box(down, across, top=top + HEADING, height=height, side=images.shape[1:])
            draw_pair(pair, images, ax, box=box, condition=condition)
        top += HEADING + count * PAIR_HEIGHT
    return figure


def _box(down: int, across: int, *, top: float, height: float, side: Sequence[int]) -> Place:
    """Left, bottom, right and top edge of a pair's images, as proportions of the figure."""
    cell, margin = (WIDTH - 0.24) / ACROSS, 0.12
    room = PAIR_HEIGHT - 0.50  # the caption needs three lines above, the evidence one below
    longer = (2 + GAP) * side[1] / side[0]  # how many times as wide as high a pair is
    wide = min(cell - 0.12, room * longer)
    middle = margin + (across + 0.5) * cell
    centre = top + down * PAIR_HEIGHT + 0.28 + room / 2
    return (
        (middle - wide / 2) / WIDTH,
        1 - (centre + wide / longer / 2) / height,
        (middle + wide / 2) / WIDTH,
        1 - (centre - wide / longer / 2) / height,
    )


PAIR, PAIR_GAP = 2.06, 0.12  # width of a pair and of the space to the next, in heights of an image
ROW = 1.42  # height of a row with heading and captions, in heights of an image
ROW_HEADING, CAPTION = 0.17, 0.06  # from the row's upper edge to the images, from the images to a caption
LONGEST_NAME, LONGEST_VALUE = 22, 60  # letters
DASHES = ("-", (0, (2.5, 1.5)))  # of the outlines: the first square, the second
Box = tuple[float, float, float, float]  # left, upper, right and lower edge in pixels of the file


def write_check_strip(
    drawn: RawSamples, path: Path, *, preparation: str, condition: str, notice: str = ""
) -> None:
    """Draw raw and prepared pictures side by side, the square that was cut outlined, as ``path`` (png).

    Colour of the outline tells the outcome. Where no picture may be shown the figure says so.
    """
    with journal_style():
        figure, (ax,) = new_figure()
        across = draw_check_strip(drawn, ax, condition=condition)
        rows = max(1, len(drawn.cases))
        inner = WIDTH - 0.3
        height = rows * ROW * inner / (across * (PAIR + PAIR_GAP))
        heading = Heading(
            f"Images as given and as prepared{f', by {shorten(drawn.by, 30)}' if drawn.by else ''}",
            f"Left of each pair the file, its cut outlined; right what the models see: {preparation}",
            notice,
        )
        lay_out(figure, heading, width=WIDTH, height=height, left=0.07, below=0.05)
        save(figure, path.with_suffix(""))


def draw_check_strip(drawn: RawSamples, ax: Axes, *, condition: str) -> int:
    """Pairs of raw and prepared pictures, a row per value; returns how many pairs a row has."""
    by_value = {value: [s for s in drawn.samples if s.value == value] for value in drawn.cases}
    across = max(1, *(len(samples) for samples in by_value.values())) if by_value else 1
    for row, (value, samples) in enumerate(by_value.items()):
        name = f"{shorten(value, LONGEST_VALUE)}  (n = {drawn.cases[value]})"
        empty = "" if samples else ": no picture shown, text is burnt into every one"
        ax.text(0, row * ROW + ROW_HEADING - 0.05, name + empty, fontsize=7, fontweight="bold", va="bottom")
        for place, sample in enumerate(samples):
            _draw_pair(sample, ax, left=place * (PAIR + PAIR_GAP), top=row * ROW + ROW_HEADING)
    name_outcomes(ax, condition, what="cut")
    ax.set_xlim(0, across * (PAIR + PAIR_GAP))
    ax.set_ylim(max(1, len(by_value)) * ROW, 0)
    ax.axis("off")
    return across


def _draw_pair(sample: RawSample, ax: Axes, *, left: float, top: float) -> None:
    draw_file(sample, (sample.box,), ax, left=left, top=top)
    show(sample.prepared, ax, (left + 1.06, left + 2.06, top + 1, top), smooth=False)
    name = shorten(sample.case, LONGEST_NAME)
    ax.text(left, top + 1 + CAPTION, name, fontsize=5.4, va="top", color=INK)


def draw_file(sample: RawSample, boxes: Sequence[Box], ax: Axes, *, left: float, top: float) -> None:
    """A file as given, within a square of side 1, each differing cut outlined, the second dashed."""
    height, width = sample.raw.shape
    scale = 1 / max(height, width, *(abs(edge) for box in boxes for edge in box))
    x, y = left + (1 - width * scale) / 2, top + (1 - height * scale) / 2
    show(sample.raw, ax, (x, x + width * scale, y + height * scale, y), smooth=True)
    for place, (start, upper, end, lower) in enumerate(dict.fromkeys(boxes)):
        outline = Rectangle(
            (x + start * scale, y + upper * scale),
            (end - start) * scale,
            (lower - upper) * scale,
            fill=False,
            edgecolor=PRESENT if sample.outcome else ABSENT,
            linestyle=DASHES[place % len(DASHES)],
            linewidth=1.1,
        )
        ax.add_patch(outline)


def name_outcomes(ax: Axes, condition: str, *, what: str) -> None:
    """Entries of the legend that say which colour of an outline is which outcome."""
    for label, colour in ((shorten(condition, 30), PRESENT), (f"not {shorten(condition, 30)}", ABSENT)):
        ax.plot([], [], color=colour, linewidth=1.5, label=f"{what} of an image with outcome: {label}")


def show(picture: np.ndarray, ax: Axes, extent: tuple[float, float, float, float], *, smooth: bool) -> None:
    """A grey picture in its place: left, right, lower and upper edge; ``smooth`` where it is made smaller."""
    how = "antialiased" if smooth else "nearest"
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation=how, extent=extent, aspect="auto")


LEAST = 4  # pictures that a line has space for, so that few are not drawn huge
LINE, STRIP_HEADING = 1.2, 0.3  # heights of an image's line with its caption, and of a scanner's name
TOP = 0.42  # for the names of the columns


@dataclass(frozen=True)
class ScoredSquares:
    """One image with the outline of each square in its file, and the pictures that were scored.

    ``pictures`` are in the order of the columns; None where a square is the first one again.
    """

    sample: RawSample
    boxes: tuple[Box, ...]
    pictures: tuple[NDArray[np.uint8] | None, ...]


def write_scored_strip(
    drawn: RawSamples,
    squares: Sequence[ScoredSquares],
    path: Path,
    *,
    names: Sequence[str],
    views: str,
    condition: str,
    notice: str = "",
) -> None:
    """Draw a line per image: the file with its squares outlined, then each picture, as ``path`` (png).

    Parameters
    ----------
    drawn : the values by which images were drawn, with how many there are of each.
    names : of the pictures, one per column.
    views : which model scores further views, in words; empty where none does.
    """
    with journal_style():
        figure, (ax,) = new_figure()
        rows = draw_scored_strip(drawn, squares, ax, names=names, condition=condition)
        across = _across(names)
        two = any(len(each.boxes) > 1 for each in squares)
        further = f" Views, shown of the first square and not mirrored: {views}." if views else ""
        heading = Heading(
            f"Images as given and as scored{f', by {shorten(drawn.by, 14)}' if drawn.by else ''}",
            f"Left the file, its squares outlined{', the second dashed' if two else ''}; beside it what the "
            f"models see.{further}",
            notice,
        )
        lay_out(figure, heading, height=rows * (COLUMN - 0.3) / across, left=0.07, below=0.05)
        save(figure, path.with_suffix(""))


def draw_scored_strip(
    drawn: RawSamples, squares: Sequence[ScoredSquares], ax: Axes, *, names: Sequence[str], condition: str
) -> float:
    """The lines on one Axes; returns the height of all of them, in heights of a picture."""
    for place, name in enumerate(("as\ngiven", *names)):
        ax.text(place * (1 + GAP) + 0.5, TOP - 0.06, name, fontsize=6, ha="center", va="bottom", color=MUTED)
    top = TOP
    for value, count in drawn.cases.items():
        of_it = [each for each in squares if each.sample.value == value]
        empty = "" if of_it else ": none shown, text is burnt into every one"
        title = f"{shorten(value, 34)} (n = {count}){empty}"
        ax.text(0, top + STRIP_HEADING - 0.06, title, fontsize=6.8, fontweight="bold", va="bottom")
        top += STRIP_HEADING
        for each in of_it:
            _draw_line(each, ax, top=top)
            top += LINE
    name_outcomes(ax, condition, what="squares")
    ax.set_xlim(0, _across(names))
    ax.set_ylim(top, 0)
    ax.axis("off")
    return top


def _across(names: Sequence[str]) -> float:
    """Width of the file and the named pictures with the gaps between them, in heights of a picture."""
    return max(LEAST, 1 + len(names)) * (1 + GAP) - GAP


def _draw_line(each: ScoredSquares, ax: Axes, *, top: float) -> None:
    draw_file(each.sample, each.boxes, ax, left=0, top=top)
    for place, picture in enumerate(each.pictures, start=1):
        corner = place * (1 + GAP)
        if picture is None:
            words = "the same\nsquare"
            ax.text(corner + 0.5, top + 0.5, words, fontsize=6, ha="center", va="center", color=MUTED)
        else:
            show(picture, ax, (corner, corner + 1, top + 1, top), smooth=False)
    ax.text(0, top + 1.02, shorten(each.sample.case, 40), fontsize=5.6, va="top", color=INK)
