"""Models beside readers of the table: sentences, tables, charts and figures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes

from clineval.evaluation import Evaluation
from clineval.evaluation.curves import Curves, RocLine
from clineval.evaluation.records import (
    AgainstOneReader,
    AtPoint,
    CountLine,
    InCategory,
    ReaderScores,
    Together,
    TriageCurve,
)
from clineval.reporting.charts import (
    Chart,
    Entry,
    Frame,
    area,
    axis_over,
    draw,
    line,
    mark,
    swatch,
    unit_axis,
)
from clineval.reporting.figures import write
from clineval.reporting.sentences import (
    Subject,
    compared,
    defined,
    margin_words,
    number,
    percent,
    population_name,
    two_decimals,
    whole,
)
from clineval.reporting.style import (
    INK,
    MODEL_COLOURS,
    MUTED,
    Heading,
    journal_style,
    lay_out,
    new_figure,
    save,
    shorten,
)
from clineval.reporting.tables import Cell, Table, cell
from clineval.statistics.intervals import Estimate
from clineval.statistics.model_and_reader import STRATEGIES, NonInferiority

COUNTED = ("read", "flagged", "caught", "missed", "false_alarms", "lost", "gained", "spared", "added")
COUNT_NAMES = {"false_alarms": "false alarms"}


@dataclass(frozen=True)
class Beside:
    """One reader beside the primary model, with what a page shows of it."""

    column: str
    population: str
    sentences: tuple[str, ...]
    charts: tuple[Chart, ...]
    reader: Table
    against: Table
    rates: Table | None
    within: Table | None
    together: Table | None
    others: Table | None
    per: str
    ways: tuple[tuple[str, str], ...]


def beside_readers(subject: Subject, curves: Curves) -> list[Beside]:
    """Every reader on the main population, then on the external ones; empty without readers."""
    found = []
    for population in (subject.population, *subject.external):
        for column, scores in subject.evaluation.readers.get(population, {}).items():
            found.append(_beside(subject, curves, population, column, scores))
    return found


def _beside(subject: Subject, curves: Curves, population: str, column: str, scores: ReaderScores) -> Beside:
    main = subject.main if subject.main in scores.against else next(iter(scores.against))
    scores = replace(scores, against={main: scores.against[main], **scores.against})
    at = _primary(subject, scores.against[main], population)
    own = [each for each in scores.together if each.model == main and _at(each, at)]
    others = [each for each in scores.together if each not in own]
    key = f"beside-{population}-{column}".replace(" ", "-")
    charts = [_roc_chart(curves, population, column, scores, main, key=f"{key}-roc")]
    against = scores.against[main]
    if against.curve is not None:
        charts += [
            _triage_chart(against.curve, at, scores, first=first, key=f"{key}-{name}")
            for name, first in (("first", True), ("second", False))
        ]
    return Beside(
        column=column,
        population=population_name(population),
        sentences=tuple(reader_sentences(subject, population, column, scores)),
        charts=tuple(each for each in charts if each is not None),
        reader=_reader_table(scores, subject.condition),
        against=_against_table(column, scores),
        rates=_rate_table(scores) if scores.cut is not None else None,
        within=_within_table(scores),
        together=together_table(own) if own else None,
        others=together_table(others) if others else None,
        per=_per(scores),
        ways=tuple((name, STRATEGIES[name]) for name in dict.fromkeys(each.strategy for each in own)),
    )


def _primary(subject: Subject, against: AgainstOneReader, population: str) -> AtPoint | None:
    """The model beside the reader at the primary threshold, else at the last of its thresholds."""
    point = subject.point(population=population)
    same = [each for each in against.points if point is not None and each.threshold == point.threshold]
    return next(iter(same or against.points), None)


# --- in words ---------------------------------------------------------------------------------------


def beside_lines(subject: Subject) -> list[str]:
    """How the primary model ranks beside each reader of the main population, one sentence each."""
    there = subject.evaluation.readers.get(subject.population, {})
    return [next(reader_sentences(subject, subject.population, *each)) for each in there.items()]


def named_reader(column: str, scores: ReaderScores) -> str:
    """The reader with the cut: ``BIRADS at ≥ 4``."""
    return column if scores.cut is None else f"{column} at ≥ {scores.cut.at}"


def reader_sentences(subject: Subject, population: str, column: str, scores: ReaderScores) -> Iterator[str]:
    """What the intervals allow one to say of the primary model beside a reader."""
    main = subject.main if subject.main in scores.against else next(iter(scores.against))
    against = scores.against[main]
    said = _capital(compared(main, column, against.auc.difference, "auc"))
    yield said + _margin_words(against.non_inferiority, "auc")
    at = _primary(subject, against, population)
    if at is not None:
        yield from _rate_sentences(main, named_reader(column, scores), at)
    if against.within is not None:
        yield _within_sentence(main, column, against.within, at, subject.condition)
    rows = [each for each in scores.together if each.model == main and _at(each, at)]
    first = next((each for each in rows if each.strategy == "AI first"), None)
    if first is not None:
        yield _first_sentence(main, first, subject.condition)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:] if text.startswith(("the ", "there ")) else text


def _rate_sentences(main: str, reader: str, at: AtPoint) -> Iterator[str]:
    where = f"At its threshold {number(at.threshold)} "
    for measure in ("sensitivity", "specificity"):
        difference = getattr(at.at_cuts.rates, measure).difference
        said = compared(main, reader, difference, measure)
        said = where + (said[0].lower() + said[1:] if said.startswith("There ") else said)
        yield said + _margin_words(at.non_inferiority.get(measure), measure)


def _margin_words(met: NonInferiority | None, measure: str) -> str:
    return "" if met is None else " " + margin_words(met.margin, met.difference, met.met, measure)


def _within_sentence(main: str, column: str, within: InCategory, at: AtPoint | None, condition: str) -> str:
    counted = f"{whole(within.cases)} cases, {whole(within.events)} {condition}"
    said = f"Within {column} {within.category} ({counted}) "
    said += (
        f"{main} ranks with an AUC of {two_decimals(within.auc)}"
        if defined(within.auc)
        else f"the AUC of {main} is not defined ({within.auc.method})"
    )
    if at is None or at.name not in within.points:
        return f"{said}."
    found = within.points[at.name]
    return (
        f"{said}; acting there only from {number(at.threshold)} on would spare {_count(found.spared)} and "
        f"miss {_count(found.missed)} {condition} per 100 cases."
    )


def _first_sentence(main: str, row: Together, condition: str) -> str:
    saved = Estimate(
        1000 - row.read.value, 1000 - row.read.high, 1000 - row.read.low, row.read.level, row.read.method
    )
    return (
        f"If the reader read only what {main} flags from {number(row.threshold)} on, {_count(saved)} of "
        f"1,000 readings would be saved and {_count(row.lost)} {condition} cases lost that the reader would "
        f"have found (prevalence {percent(row.prevalence)})."
    )


def _count(found: Estimate) -> str:
    if not defined(found):
        return f"an unknown number ({found.method})"
    bounds = "" if math.isnan(found.low) else f" ({_tenth(found.low)} to {_tenth(found.high)})"
    return f"{_tenth(found.value)}{bounds}"


def _tenth(value: float) -> str:
    return number(value, 0 if abs(value) >= 10 else 1)


def _at(row: Together, at: AtPoint | None) -> bool:
    return at is not None and row.threshold == at.threshold


def _per(scores: ReaderScores) -> str:
    if not scores.together:
        return ""
    first = scores.together[0]
    return f"per 1,000 cases at a prevalence of {percent(first.prevalence)}"


# --- tables -----------------------------------------------------------------------------------------


def _reader_table(scores: ReaderScores, condition: str) -> Table:
    rows: list[tuple[str | Cell, ...]] = [("AUC", cell(scores.auc_logit))]
    if scores.cut is not None:
        rows += [
            (f"{name} at ≥ {scores.cut.at}", cell(getattr(scores.cut, field), as_percent=True))
            for name, field in (
                ("sensitivity", "sensitivity"),
                ("specificity", "specificity"),
                ("PPV", "ppv"),
                ("NPV", "npv"),
            )
        ]
    rows += [(f"weighted kappa with {other}", cell(found)) for other, found in scores.agreement.items()]
    rows += [
        (f"rating {each.value}", f"{whole(each.cases)} cases, {whole(each.events)} {condition}")
        for each in scores.categories
    ]
    return Table(("reader", "value"), tuple(rows))


def _difference_cell(found: Estimate, measure: str) -> Cell:
    if not defined(found):
        return Cell("not defined", "", found.method)
    scale, digits = (1.0, 3) if measure == "auc" else (100.0, 1)
    value, low, high = (
        ("+" if each > 0 else "") + number(scale * each, digits) if not math.isnan(each) else ""
        for each in (found.value, found.low, found.high)
    )
    return Cell(value, f"{low} to {high}" if low else "", found.method)


def _against_table(column: str, scores: ReaderScores) -> Table:
    rows = []
    for model, against in scores.against.items():
        there = against.at_reader
        rows.append(
            (
                model,
                _difference_cell(against.auc.difference, "auc"),
                *(
                    (
                        _difference_cell(there.sensitivity_difference, "rate"),
                        _difference_cell(there.specificity_difference, "rate"),
                    )
                    if there is not None
                    else ("–", "–")
                ),
                _met_words(against),
            )
        )
    headings = (
        f"model less {column}",
        "AUC",
        "sensitivity at the reader's specificity",
        "specificity at the reader's sensitivity",
        "non-inferior by AUC",
    )
    return Table(headings, tuple(rows))


def _met_words(against: AgainstOneReader) -> str:
    met = against.non_inferiority
    if met is None:
        return "–"
    return {True: "shown", False: "not shown", None: "no interval"}[met.met] + f" (margin {met.margin:g})"


def _rate_table(scores: ReaderScores) -> Table:
    rows = []
    for model, against in scores.against.items():
        for at in against.points:
            agreed, rates = at.at_cuts.agreement, at.at_cuts.rates
            rows.append(
                (
                    model,
                    f"{number(at.threshold)} ({at.name})",
                    _difference_cell(rates.sensitivity.difference, "rate"),
                    _difference_cell(rates.specificity.difference, "rate"),
                    _difference_cell(at.at_cuts.ppv, "rate"),
                    _difference_cell(at.at_cuts.npv, "rate"),
                    f"{agreed.events.model_only} / {agreed.events.reader_only}",
                    f"{agreed.non_events.model_only} / {agreed.non_events.reader_only}",
                    cell(agreed.kappa),
                )
            )
    headings = (
        "model",
        "threshold",
        "sensitivity",
        "specificity",
        "PPV",
        "NPV",
        "found by model / reader only",
        "false alarms by model / reader only",
        "kappa",
    )
    return Table(headings, tuple(rows))


def _within_table(scores: ReaderScores) -> Table | None:
    rows = []
    for model, against in scores.against.items():
        if against.within is None:
            continue
        for name, found in against.within.points.items():
            rows.append(
                (model, name, cell(against.within.auc), _count_cell(found.spared), _count_cell(found.missed))
            )
    headings = ("model", "threshold", "AUC within the category", "spared per 100", "missed per 100")
    return Table(headings, tuple(rows)) if rows else None


def _count_cell(found: Estimate) -> Cell:
    if not defined(found):
        return Cell("–", "", found.method)
    bounds = (
        ""
        if found.low == found.high or math.isnan(found.low)
        else f"{_tenth(found.low)} to {_tenth(found.high)}"
    )
    return Cell(_tenth(found.value), bounds, found.method)


def together_table(rows: Sequence[Together]) -> Table:
    """Ways of reading together, per 1,000 cases; net benefit where a threshold to act at was given."""
    benefit = any(defined(row.net_benefit) for row in rows)
    models = len({row.model for row in rows}) > 1
    several = len({(row.model, row.point) for row in rows}) > 1
    found = tuple(
        (
            _way(row, models, several),
            *(_count_cell(getattr(row, name)) for name in COUNTED),
            cell(row.sensitivity, as_percent=True),
            cell(row.specificity, as_percent=True),
            *((_benefit(row.net_benefit),) if benefit else ()),
        )
        for row in rows
    )
    names = tuple(COUNT_NAMES.get(name, name) for name in COUNTED)
    headings = ("strategy", *names, "sensitivity", "specificity", *(("net benefit",) if benefit else ()))
    return Table(headings, found)


def _way(row: Together, models: bool, several: bool) -> str:
    who = f" ({row.model}, {row.point})" if models else f" ({row.point})" if several else ""
    return row.strategy + who


def _benefit(found: Estimate) -> Cell:
    if not defined(found):
        return Cell("–", "", found.method)
    return Cell(number(found.value, 4), f"{number(found.low, 4)} to {number(found.high, 4)}", found.method)


# --- charts -----------------------------------------------------------------------------------------


def _roc_chart(
    curves: Curves,
    population: str,
    column: str,
    scores: ReaderScores,
    main: str,
    *,
    key: str,
) -> Chart | None:
    """The primary model's ROC curve with the reader's points, the one at the cut filled."""
    drawn = curves.models.get(main, {}).get(population)
    if drawn is None or drawn.roc is None or scores.roc is None:
        return None
    frame = Frame(unit_axis("1 − specificity"), unit_axis("sensitivity"))
    marks = [line(frame, (0, 1), (0, 1), css="chance")]
    band = drawn.roc.band
    if band is not None:
        marks.append(area(frame, drawn.roc.grid, band.low, band.high, css="m0"))
    marks.append(line(frame, drawn.roc.false_positive_rate, drawn.roc.sensitivity, css="m0"))
    marks.append(line(frame, scores.roc.false_positive_rate, scores.roc.sensitivity, css="m1"))
    legend = [
        Entry(swatch("m0", shape="band" if band is not None else "line"), main),
        Entry(swatch("m1"), f"{column}, AUC {number(scores.auc_logit.value, 2)}"),
    ]
    if scores.cut is not None:
        words = named_reader(column, scores)
        marks.append(reader_mark(frame, scores, words))
        legend.append(Entry(swatch("point", shape="diamond"), words))
    title = f"ROC: {main} and {column}"
    described = "; ".join(entry.words for entry in legend)
    return Chart(title, draw(frame, marks, key=key, title=title, description=described), tuple(legend))


def reader_mark(frame: Frame, scores: ReaderScores, words: str) -> Markup:
    """The reader's point at the cut on a ROC plot."""
    if scores.cut is None or not (defined(scores.cut.sensitivity) and defined(scores.cut.specificity)):
        return Markup("")
    x, y = 1 - scores.cut.specificity.value, scores.cut.sensitivity.value
    return mark(frame, x, y, shape="diamond", css="point", words=words)


def reader_marks(evaluation: Evaluation, frame: Frame) -> list[Markup]:
    """Each reader's point on a ROC plot, marked with the population on which it is shown."""
    return [
        Markup('<g data-reader-on="{}">{}</g>').format(
            population, reader_mark(frame, scores, named_reader(column, scores))
        )
        for population, readers in evaluation.readers.items()
        for column, scores in readers.items()
        if scores.cut is not None
    ]


def _triage_chart(
    curve: TriageCurve, at: AtPoint | None, scores: ReaderScores, *, first: bool, key: str
) -> Chart:
    """What is gained for what is given up as the model's threshold moves, AI first or as second reader."""
    across, up, words = _triage(curve, first=first)
    frame = Frame(
        axis_over(words[0], 0.0, max(float(across.max()), 1.0), whole=True),
        axis_over(words[1], 0.0, 1.05 * max(float(np.nanmax(up.high)), 1.0)),
        height=320,
    )
    marks = [area(frame, across, up.low, up.high, css="m0"), line(frame, across, up.value, css="m0")]
    legend = [
        Entry(
            swatch("m0", shape="band"),
            f"thresholds from {number(curve.threshold[0])} to {number(curve.threshold[-1])}",
        )
    ]
    if at is not None:
        place = int(np.argmin(np.abs(curve.threshold - at.threshold)))
        said = f"threshold {number(at.threshold)}"
        marks.append(
            mark(frame, float(across[place]), float(up.value[place]), shape="circle", css="point", words=said)
        )
        legend.append(Entry(swatch("point", shape="circle"), said))
    drawing = draw(frame, marks, key=key, title=words[2], description=_per(scores))
    return Chart(words[2], drawing, tuple(legend))


def _triage(curve: TriageCurve, *, first: bool) -> tuple[Any, CountLine, tuple[str, str, str]]:
    if first:
        words = ("readings saved per 1,000", "cases lost per 1,000", "AI first: saved and lost")
        return 1000 - curve.read.value, curve.lost, words
    words = (
        "false alarms added per 1,000",
        "cases gained per 1,000",
        "AI as second reader: gained and added",
    )
    return curve.added.value, curve.gained, words


# --- figures ----------------------------------------------------------------------------------------


def write_beside_figures(folder: Path, subject: Subject, curves: Curves, *, notice: str = "") -> None:
    """Draw the ROC and triage figure of each reader beside the primary model, with their CSVs and tables."""
    rows: list[dict[str, Any]] = []
    together: list[dict[str, Any]] = []
    for population, readers in subject.evaluation.readers.items():
        for column, scores in readers.items():
            rows += _difference_rows(population, column, scores)
            together += [
                {"population": population, "reader": column, **_flat(each)} for each in scores.together
            ]
            _draw_reader(folder, subject, curves, population, column, scores, notice)
    if rows:
        write(pd.DataFrame(rows), folder / "beside_readers.csv")
    if together:
        write(pd.DataFrame(together), folder / "reading_together.csv")


def _draw_reader(
    folder: Path,
    subject: Subject,
    curves: Curves,
    population: str,
    column: str,
    scores: ReaderScores,
    notice: str,
) -> None:
    main = subject.main if subject.main in scores.against else next(iter(scores.against))
    drawn = curves.models.get(main, {}).get(population)
    stem = _file_name(f"{column}_{population}")
    about = f"{population}: {whole(scores.cases)} cases, {whole(scores.events)} {subject.condition}"
    with journal_style():
        if drawn is not None and drawn.roc is not None and scores.roc is not None:
            write(_roc_rows(drawn.roc, main, column, scores), folder / f"reader_roc_{stem}.csv")
            figure, (ax,) = new_figure()
            draw_beside_roc(drawn.roc, scores, ax, model=main, reader=column)
            heading = Heading(shorten(f"{main} and {column}", 40), about, notice)
            save(lay_out(figure, heading, height=2.75), folder / f"reader_roc_{stem}")
        curve = scores.against[main].curve
        if curve is not None:
            write(_curve_frame(curve), folder / f"reader_triage_{stem}.csv")
            figure, (upper,) = new_figure()
            draw_triage(curve, upper)
            heading = Heading(shorten(f"Read only what {main} flags", 44), f"{about}; {_per(scores)}", notice)
            save(lay_out(figure, heading, height=2.1), folder / f"reader_triage_{stem}")


def draw_beside_roc(roc: RocLine, scores: ReaderScores, ax: Axes, *, model: str, reader: str) -> None:
    """A model's ROC curve with its band, and the reader's points; the one at the cut is filled."""
    if roc.band is not None:
        ax.fill_between(
            roc.grid, roc.band.low, roc.band.high, color=MODEL_COLOURS[0], alpha=0.13, linewidth=0
        )
    ax.plot(roc.false_positive_rate, roc.sensitivity, color=MODEL_COLOURS[0], label=shorten(model, 40))
    if scores.roc is not None:
        auc = number(scores.auc_logit.value, 2)
        ax.plot(
            scores.roc.false_positive_rate,
            scores.roc.sensitivity,
            color=MODEL_COLOURS[1],
            linewidth=1.0,
            marker="o" if scores.categories else None,
            markersize=4,
            markerfacecolor="white",
            label=shorten(f"{reader}, AUC {auc}", 44),
        )
    if scores.cut is not None and defined(scores.cut.sensitivity) and defined(scores.cut.specificity):
        ax.plot(
            1 - scores.cut.specificity.value,
            scores.cut.sensitivity.value,
            "D",
            color=INK,
            markersize=6,
            label=shorten(named_reader(reader, scores), 44),
        )
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(3, 3))
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.01)
    ax.set_xlabel("1 − specificity")
    ax.set_ylabel("sensitivity")


def draw_triage(curve: TriageCurve, ax: Axes) -> None:
    """Cases lost against readings saved where the reader reads only what the model flags."""
    across, up, words = _triage(curve, first=True)
    ax.fill_between(across, up.low, up.high, color=MODEL_COLOURS[0], alpha=0.13, linewidth=0)
    ax.plot(across, up.value, color=MODEL_COLOURS[0])
    ax.set_xlabel(words[0])
    ax.set_ylabel(words[1])
    ax.set_ylim(bottom=0)


def _file_name(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text).lower()


def _roc_rows(roc: RocLine, model: str, reader: str, scores: ReaderScores) -> pd.DataFrame:
    lines = {"model": (model, roc), "reader": (reader, scores.roc)}
    return pd.concat(
        pd.DataFrame(
            {
                "part": part,
                "name": name,
                "false_positive_rate": each.false_positive_rate,
                "sensitivity": each.sensitivity,
            }
        )
        for part, (name, each) in lines.items()
        if each is not None
    )


def _curve_frame(curve: TriageCurve) -> pd.DataFrame:
    columns: dict[str, Any] = {"threshold": curve.threshold}
    for name in ("read", "lost", "spared", "gained", "added"):
        found: CountLine = getattr(curve, name)
        columns |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return pd.DataFrame(columns)


def _difference_rows(population: str, column: str, scores: ReaderScores) -> Iterator[dict[str, Any]]:
    """A row per model and measure: model less reader."""
    for model, against in scores.against.items():
        about = {"population": population, "reader": column, "model": model}
        yield {**about, "threshold": math.nan, "measure": "auc", **_numbers(against.auc.difference)}
        for at in against.points:
            rates = at.at_cuts.rates
            for measure, found in (
                ("sensitivity", rates.sensitivity.difference),
                ("specificity", rates.specificity.difference),
                ("ppv", at.at_cuts.ppv),
                ("npv", at.at_cuts.npv),
            ):
                yield {**about, "threshold": at.threshold, "measure": measure, **_numbers(found)}


def _flat(row: Together) -> dict[str, Any]:
    flat: dict[str, Any] = {"model": row.model, "point": row.point}
    for name, value in vars(row).items():
        if isinstance(value, Estimate):
            flat |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        elif name not in ("model", "point", "against_reader"):
            flat[name] = value
    return flat


def _numbers(found: Estimate) -> Mapping[str, Any]:
    return {"difference": found.value, "low": found.low, "high": found.high, "method": found.method}
