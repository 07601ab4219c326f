"""Sites in words, tables and forest plots, as journals draw them."""

import base64
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from clineval.errors import InputError
from clineval.evaluation.operating_points import aim
from clineval.evaluation.sites import (
    RATES,
    TOLERANCE,
    MeasureOverSites,
    ModelOverSites,
    SitePlanned,
    SiteStudy,
)
from clineval.files import from_plain
from clineval.reporting.sections import gap_sentences
from clineval.reporting.sentences import (
    count_words,
    defined,
    level_name,
    listed,
    number,
    p_text,
    points,
    target_percent,
    whole,
    whole_percent,
)
from clineval.reporting.style import (
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
from clineval.reporting.tables import AS_PERCENT, MEASURE_NAMES, Cell, Row, Table, cell, signed_cell
from clineval.statistics.differences import GapTest
from clineval.statistics.intervals import Estimate

DRAWN = ("auc_logit", "sensitivity", "specificity", "observed_expected")
PLAIN_NAMES = {"auc_logit": "AUC"}
REFERENCE = {"auc_logit": 0.5, "observed_expected": 1.0}  # chance; risks that are right on average
WIDTH, LEFT, RIGHT = 5.5, 1.75, 1.25  # inches: one and a half columns, room for names and for numbers
ROW = 0.2  # inches of a site's line
UNINFORMATIVE = 0.5
"""Width of a prediction interval of a rate or an AUC beyond which it says nothing of the next site."""
MOST_ODD = 10.0  # an observed/expected ratio beyond this, or its inverse, is not on the axis


def read_study(content: Mapping[str, Any]) -> SiteStudy:
    """The record of ``sites.json``; InputError where it is incomplete."""
    try:
        study: SiteStudy = from_plain(SiteStudy, content)
    except ValueError as error:
        raise InputError(
            f"sites.json is incomplete ({error}); write it again with: clineval validate"
        ) from error
    return study


def name_of(measure: str) -> str:
    """A measure as figures, tables and sentences call it."""
    return PLAIN_NAMES.get(measure, MEASURE_NAMES.get(measure, measure))


# --- words and tables ---------------------------------------------------------------------------------


def site_parts(study: SiteStudy, folder: Path) -> dict[str, Any]:
    """What the report's chapter on sites shows, of the primary model."""
    model = study.models[study.primary]
    return {
        "title": f"Sites{', each left out once' if study.left_out else ''}: what to expect at the next one "
        f"(column {study.column})",
        "summary": _in_short(model),
        "sentences": list(sentences(study)),
        "figures": [
            (name_of(measure), base64.b64encode(path.read_bytes()).decode("ascii"))
            for measure in DRAWN
            if (path := folder / f"{_stem(measure)}.png").is_file()
        ],
        "table": _table(study),
        "gaps": gap_sentences(_by_measure(model)),
        "apart": _apart(model),
        "without": _without(model),
    }


def _by_measure(model: ModelOverSites) -> dict[str, dict[str, GapTest]]:
    """What each site's difference from all others shows, by measure and site."""
    names = dict.fromkeys(name for tests in model.tests.values() for name in tests)
    return {
        name: {site: tests[name] for site, tests in model.tests.items() if name in tests} for name in names
    }


def _apart(model: ModelOverSites) -> Table | None:
    """Each site less all other cases, with p values corrected for the number of sites."""
    names = list(_by_measure(model))
    rows: list[Row] = []
    for site, gaps in model.less_rest.items():
        cells: list[Cell] = []
        for name in names:
            shown = signed_cell(gaps.get(name), as_points=name in AS_PERCENT)
            tested = model.tests[site].get(name)
            cells.append(replace(shown, words="" if tested is None else p_text(tested.p_holm)))
        rows.append((site, *cells))
    headings = (f"{name_of(name)}{', percentage points' if name in AS_PERCENT else ''}" for name in names)
    return Table(("site less all others", *headings), tuple(rows)) if names else None


def _in_short(model: ModelOverSites) -> str:
    if unknown := _inconclusive(model):
        return unknown
    found = model.measures["sensitivity"].summary
    if found is None or not defined(found.prediction):
        return f"{count_words(len(model.sites))} sites"
    return (
        f"sensitivity at the next site: {whole_percent(found.prediction.low)} to "
        f"{whole_percent(found.prediction.high)}"
    )


def _inconclusive(model: ModelOverSites) -> str:
    """Of which measures the next site may have almost any value; empty where of none."""
    judged = ("auc_logit", *RATES)
    unknown = [name for name in judged if _says_nothing(model.measures[name])]
    if not unknown:
        return ""
    of = "" if len(unknown) == len(judged) else f"{listed([name_of(name) for name in unknown])} at "
    return f"{count_words(len(model.sites))} sites: no conclusion about {of}the next one"


def _says_nothing(over: MeasureOverSites) -> bool:
    ahead = None if over.summary is None else over.summary.prediction
    return ahead is None or not defined(ahead) or ahead.high - ahead.low > UNINFORMATIVE


def sentences(study: SiteStudy) -> Iterator[str]:
    """What the sites allow one to say of the primary model, in sentences for report and terminal."""
    model = study.models[study.primary]
    if unknown := _inconclusive(model):
        yield f"{unknown[0].upper()}{unknown[1:]}."
    if study.left_out:
        yield (
            "Each site was scored by models that were trained, recalibrated and given their threshold on the "
            "training and validation cases of the other sites; test cases took no part."
        )
    at = f" at {_threshold(study, model)}"
    for measure in ("sensitivity", "specificity", "auc_logit", "observed_expected"):
        yield from _of_measure(measure, model.measures[measure], at=at if measure in AS_PERCENT else "")
    if not math.isnan(model.reached):
        wanted = target_percent((aim(model.point) or 0) - TOLERANCE)
        yield (
            f"The probability that the next site's sensitivity is {wanted} or more is "
            f"{whole_percent(model.reached)}."
        )
    yield from _left_out(study.plan)
    yield (
        "This takes the sites at hand for a sample of the sites to come: scanners of one hospital say "
        "nothing of other hospitals."
    )


def _threshold(study: SiteStudy, model: ModelOverSites) -> str:
    if study.left_out:
        return f"the threshold that the other sites froze (site by site {_range(model.thresholds.values())})"
    return f"the frozen threshold {number(model.threshold, 2)}"


def _range(values: Collection[float]) -> str:
    low, high = min(values), max(values)
    return number(low, 2) if low == high else f"{number(low, 2)} to {number(high, 2)}"


def _of_measure(measure: str, over: MeasureOverSites, *, at: str) -> Iterator[str]:
    found = over.summary
    name = name_of(measure)
    name = name[0].upper() + name[1:]
    if found is None:
        yield f"{name}: fewer than two sites have an estimate, so there is no summary."
        return
    write = _writer(measure)
    interval = f"{level_name(found.mean)} {_bounds(found.mean, write)}"
    mean = f"{name}{at}: {write(found.mean.value)} on average ({interval})"
    if defined(found.prediction):
        yield (
            f"{mean}; at the next site between {_bounds(found.prediction, write, ' and ')} "
            f"({found.prediction.level * 100:g}% prediction interval). {_without_one(over, write)}"
        )
    else:
        yield f"{mean}; {found.prediction.method}."


def _without_one(over: MeasureOverSites, write: Any) -> str:
    means = [each.mean.value for each in over.without.values()]
    if not means:
        return ""
    return f"Without any one site the mean is {write(min(means))} to {write(max(means))}."


def _left_out(plan: tuple[SitePlanned, ...]) -> Iterator[str]:
    for use, words in (("pooled", "Pooled into one"), ("left out", "Left out as too small")):
        named = [f"{each.name} ({each.reason})" for each in plan if each.use == use]
        if named:
            yield f"{words}: {listed(named)}."


def _writer(measure: str) -> Any:
    return whole_percent if measure in AS_PERCENT else lambda value: number(value, 2)


def _bounds(found: Estimate, write: Any, between: str = " to ") -> str:
    return f"{write(found.low)}{between}{write(found.high)}"


def _table(study: SiteStudy) -> Table:
    model = study.models[study.primary]
    counts = {each.name: each for each in study.plan}
    rows: list[Row] = []
    for name, measures in model.sites.items():
        cells = (cell(measures[each], as_percent=each in AS_PERCENT) for each in model.measures)
        rows.append((name, *_counted(name, counts, study.plan), *cells))
    rows.extend(
        (each.name, *_counts_of(each), Cell("left out", "", each.reason), *[""] * (len(model.measures) - 1))
        for each in study.plan
        if each.use == "left out"
    )
    for words, pick in (
        ("mean of the sites", "mean"),
        ("next site (prediction interval)", "prediction"),
        ("tau (between sites)", "tau"),
        ("I²", "i_squared"),
    ):
        rows.append(
            (words, "", "", *(_summary_cell(each, over, pick) for each, over in model.measures.items()))
        )
    headings = ("site", f"cases ({study.condition})", "patients or groups", *map(name_of, model.measures))
    return Table(headings, tuple(rows), first=len(rows))


def _counted(name: str, counts: Mapping[str, SitePlanned], plan: tuple[SitePlanned, ...]) -> tuple[str, str]:
    if name in counts and counts[name].use == "own":
        return _counts_of(counts[name])
    pooled = [each for each in plan if each.use == "pooled"]
    cases, events, groups = (
        sum(each) for each in zip(*((one.cases, one.events, one.groups) for one in pooled), strict=True)
    )
    return _counts_of(SitePlanned(name, cases, events, groups, "own", ""))


def _counts_of(site: SitePlanned) -> tuple[str, str]:
    return f"{whole(site.cases)} ({whole(site.events)})", whole(site.groups)


SCALES = {"logit": "logit scale", "log": "log scale", "identity": "own scale"}
"""On which scale a spread between sites is measured."""


def _summary_cell(measure: str, over: MeasureOverSites, pick: str) -> Cell:
    if over.summary is None:
        return Cell("–", "", "fewer than two sites have an estimate")
    as_percent = pick == "i_squared" or (measure in AS_PERCENT and pick != "tau")
    found = cell(getattr(over.summary, pick), as_percent=as_percent)
    return replace(found, words=SCALES[over.scale]) if pick == "tau" else found


def _without(model: ModelOverSites) -> Table | None:
    names = list(dict.fromkeys(name for over in model.measures.values() for name in over.without))
    rows: list[Row] = []
    for name in names:
        found = (over.without.get(name) for over in model.measures.values())
        shown = zip(model.measures, found, strict=True)
        cells = (
            cell(None if each is None else each.mean, as_percent=measure in AS_PERCENT)
            for measure, each in shown
        )
        rows.append((name, *cells))
    return Table(("without", *map(name_of, model.measures)), tuple(rows)) if rows else None


# --- figures ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ForestRow:
    """A line of a forest plot: a site's own estimate, its counts and its share of the weight."""

    name: str
    counts: str
    estimate: Estimate
    weight: float


def write_site_figures(
    study: SiteStudy, folder: Path, *, formats: tuple[str, ...] = ("png",), notice: str = ""
) -> None:
    """Draw ``sites_auc``, ``sites_sensitivity``, ``sites_specificity`` and ``sites_observed_expected``.

    Their numbers are in ``sites.csv``.
    """
    with journal_style():
        for measure in DRAWN:
            save(forest_figure(study, measure, notice=notice), folder / _stem(measure), formats=formats)


def _stem(measure: str) -> str:
    return f"sites_{measure.removesuffix('_logit')}"


def forest_figure(study: SiteStudy, measure: str, *, notice: str = "") -> Figure:
    """One measure of the primary model: each site, the summary as a diamond, the next site as a bar."""
    model = study.models[study.primary]
    rows, over = forest_rows(study, measure), model.measures[measure]
    figure, (ax,) = new_figure()
    draw_forest(
        rows, over, ax, measure=measure, target=aim(model.point) if measure == "sensitivity" else None
    )
    name = name_of(measure)
    frozen = "the others' threshold" if study.left_out else f"threshold {number(model.threshold, 2)}"
    at = f" at {frozen}" if measure in AS_PERCENT else ""
    about = (
        f"{study.primary}{at} on {study.population}. Squares: each site's own, sized by weight, with "
        f"{100 * study.level:g}% CI; diamond: mean; bar: {100 * study.level:g}% prediction interval"
    )
    heading = Heading(
        shorten(f"{name[0].upper()}{name[1:]} by {study.column}", 60), shorten(about, 200), notice
    )
    lay_out(figure, heading, width=WIDTH, height=ROW * (len(rows) + 3), left=LEFT)
    place = ax.get_position()
    ax.set_position((place.x0, place.y0, place.width - RIGHT / WIDTH, place.height))
    return figure


def forest_rows(study: SiteStudy, measure: str) -> list[ForestRow]:
    """A row per site that is not left out, in the order drawn."""
    model, counts = study.models[study.primary], {each.name: each for each in study.plan}
    return [
        ForestRow(
            name,
            _counted(name, counts, study.plan)[0],
            measures[measure],
            model.measures[measure].weights.get(name, math.nan),
        )
        for name, measures in model.sites.items()
    ]


def draw_forest(
    rows: list[ForestRow], over: MeasureOverSites, ax: Axes, *, measure: str, target: float | None = None
) -> None:
    """Squares with intervals, the diamond of the mean and the bar of the prediction interval below."""
    write = points if measure in AS_PERCENT else lambda value: number(value, 2)
    for place, row in enumerate(rows):
        _draw_site(row, place, ax)
        _number(row.estimate, place, ax, write)
    names = [f"{shorten(row.name, 24)}  {row.counts}" for row in rows]
    if over.summary is not None:
        names += ["mean of the sites", "next site"]
        _draw_summary(over, len(rows), ax)
        _number(over.summary.mean, len(rows), ax, write)
        _number(over.summary.prediction, len(rows) + 1, ax, write, value=False)
        ax.axhline(len(rows) - 0.5, color=MUTED, linewidth=0.6)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(rows) + 1.7, -0.7)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    _set_scale(rows, over, ax, measure)
    line = REFERENCE.get(measure, target)
    if line is not None:
        ax.axvline(line, color=MUTED, linewidth=0.8, dashes=(3, 3))
    ax.set_xlabel(name_of(measure) + (f" (dashed: the target {target:g})" if target else ""))


def _draw_site(row: ForestRow, place: int, ax: Axes) -> None:
    found = row.estimate
    if not math.isnan(found.low):
        ax.plot([found.low, found.high], [place, place], color=MODEL_COLOURS[0], linewidth=1.2)
    size = 3.0 if math.isnan(row.weight) else 3.0 + 6.0 * math.sqrt(row.weight)
    ax.plot(found.value, place, "s", color=MODEL_COLOURS[0], markersize=size)


def _draw_summary(over: MeasureOverSites, place: int, ax: Axes) -> None:
    assert over.summary is not None
    mean, ahead = over.summary.mean, over.summary.prediction
    corners = [(mean.low, place), (mean.value, place - 0.3), (mean.high, place), (mean.value, place + 0.3)]
    ax.add_patch(Polygon(corners, closed=True, facecolor=INK, gid="mean"))
    if defined(ahead):
        bar = Rectangle((ahead.low, place + 0.86), ahead.high - ahead.low, 0.28, facecolor=PRESENT)
        bar.set_gid("prediction")
        ax.add_patch(bar)


def _number(found: Estimate, place: int, ax: Axes, write: Any, *, value: bool = True) -> None:
    """A value with its interval to the right of the axes."""
    if not defined(found):
        text = "no interval from so few sites" if not value else "not defined"
    elif math.isnan(found.low):
        text = f"{write(found.value)} (no interval)"
    else:
        bounds = f"{write(found.low)} to {write(found.high)}"
        text = f"{write(found.value)} ({bounds})" if value else bounds
    ax.annotate(
        text, (1.03, place), xycoords=("axes fraction", "data"),
        va="center", fontsize=6.5, annotation_clip=False,
    )  # fmt: skip


def _set_scale(rows: list[ForestRow], over: MeasureOverSites, ax: Axes, measure: str) -> None:
    ends = _ends(rows, over)
    if measure == "observed_expected":
        ax.set_xscale("log")
        above = [end for end in ends if end > 0]
        ax.set_xlim(max(min(above) / 1.1, 1 / MOST_ODD), min(max(above) * 1.1, MOST_ODD))
        _plain_ticks(ax)
    elif measure in AS_PERCENT:
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    else:
        ax.set_xlim(0.0 if min(ends) < 0.4 else 0.4, 1)


def _ends(rows: list[ForestRow], over: MeasureOverSites) -> list[float]:
    """Every number that is drawn, and 1, which is always on the axis."""
    drawn = [row.estimate for row in rows]
    if over.summary is not None:
        drawn += [over.summary.mean, over.summary.prediction]
    ends = (end for each in drawn for end in (each.value, each.low, each.high))
    return [1.0, *(end for end in ends if not math.isnan(end))]


def _plain_ticks(ax: Axes) -> None:
    """Ratios as they are spoken: 0.5, 1, 2."""
    low, high = ax.get_xlim()
    ticks = [tick for tick in (0.1, 0.2, 0.33, 0.5, 0.67, 1, 1.5, 2, 3, 5, 10) if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
