"""Readers in words, figures and a page: a study of several, with a model beside them."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clineval.evaluation.reader_study import (
    COVARIANCE_NAMES,
    ModalityComparison,
    ModelAgainstPanel,
    Plan,
    ReaderCurve,
    ReaderStudy,
)
from clineval.files import REPORT, program_version, write_whole
from clineval.reporting.figures import write
from clineval.reporting.report import page
from clineval.reporting.sentences import (
    UNNAMED,
    compared,
    covers,
    defined,
    difference_digits,
    difference_words,
    level_name,
    listed,
    margin_size,
    margin_words,
    measure_name,
    number,
    p_text,
    signed_difference,
    whole,
    whole_percent,
    with_condition,
)
from clineval.reporting.style import (
    INK,
    MODEL_COLOURS,
    MODEL_DASHES,
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

READER_COLOURS = MODEL_COLOURS[2:]  # of the modalities; a model is drawn in ink
RATES = ("sensitivity", "specificity")
SPEAKS = {
    "random": "readers and cases are random: this speaks for other readers and other cases like these",
    "fixed_readers": "readers are fixed: this speaks for these readers only, on other cases like these",
    "fixed_cases": "cases are fixed: this speaks for other readers, on these cases only",
}
COMPONENTS = {
    "reader": "readers",
    "modality_reader": "modality by reader",
    "error": "error variance",
    "cov1": "Cov1: same reader, other modality",
    "cov2": "Cov2: other reader, same modality",
    "cov3": "Cov3: both other",
}


# --- in words ---------------------------------------------------------------------------------------


def study_sentences(study: ReaderStudy) -> list[str]:
    """What the study allows one to say, the chosen design's answers first."""
    return [*_of_modalities(study), *_of_model(study)] or [_of_average(study)]


def _of_modalities(study: ReaderStudy) -> Iterator[str]:
    for each in study.comparisons:
        if each.design != study.design:
            continue
        if defined(each.difference) and covers(each.difference, 0.0) and p_text(each.p_value):
            yield _may_be_chance(study, each)
            continue
        one, other = (f"with modality {name}" for name in each.modalities)
        reader = f"The average reader {one}"
        yield compared(reader, other, each.difference, each.measure, p_value=each.p_value)


def _may_be_chance(study: ReaderStudy, found: ModalityComparison) -> str:
    """The average reader's measure with either modality, and a difference whose interval includes 0."""
    panels = [study.modalities[name] for name in found.modalities]
    counts = {len(panel.readers) for panel in panels}
    whose = f" of {counts.pop()} readers" if len(counts) == 1 else ""
    values = [getattr(panel, found.measure) for panel in panels]
    write = (lambda each: number(each, 2)) if found.measure == "auc" else whole_percent
    each_of = ", ".join(
        f"{write(value.value)} with modality {name}"
        for name, value in zip(found.modalities, values, strict=True)
    )
    gap = difference_words(found.difference, found.measure)
    return (
        f"Average {measure_name(found.measure)}{whose}: {each_of}; the difference, {gap}, may be chance "
        f"({p_text(found.p_value)})."
    )


def _of_model(study: ReaderStudy) -> Iterator[str]:
    for each in study.model_against_readers:
        reader = _average(study, each.modality)
        said = compared(each.model, reader, each.difference, each.measure, p_value=each.p_value)
        if each.margin is not None:
            said += " " + margin_words(each.margin, each.difference, each.non_inferior, each.measure)
        yield said


def _average(study: ReaderStudy, modality: str) -> str:
    return "the average reader" + ("" if len(study.modalities) == 1 else f" with modality {modality}")


def _of_average(study: ReaderStudy) -> str:
    auc = next(iter(study.modalities.values())).auc
    bounds = "" if isnan(auc.low) else f" ({level_name(auc)} {number(auc.low, 2)} to {number(auc.high, 2)})"
    return f"The average reader has an AUC of {number(auc.value, 2)}{bounds}."


def plan_sentence(plan: Plan) -> str:
    """How many readers and cases a study to come needs; too few readers are named."""
    asked = f"a power of {plan.wanted:.0%} to find a true difference in AUC of {plan.difference:g}"
    enough = [f"{each.readers} readers and {whole(each.cases)} cases" for each in plan.studies if each.cases]
    too_few = [str(each.readers) for each in plan.studies if not each.cases]
    if not enough:
        return f"For {asked} no number of cases is enough with up to {too_few[-1]} readers."
    said = f"For {asked} a study needs {listed(enough, last='or')}"
    return said + (
        f"; with {listed(too_few, last='or')} readers no number of cases is enough." if too_few else "."
    )


# --- figures ----------------------------------------------------------------------------------------


def write_reader_figures(folder: Path, study: ReaderStudy, curves: Sequence[ReaderCurve]) -> None:
    """Draw readers_forest, readers_roc and readers_components, each with its CSV."""
    forest = forest_rows(study)
    write(pd.DataFrame(forest), folder / "readers_forest.csv")
    write(_curve_rows(curves), folder / "readers_roc.csv")
    parts = component_rows(study)
    write(parts, folder / "readers_components.csv")
    about = f"{whole(study.cases)} cases, {whole(study.events)} {with_condition(study.condition)}"
    with journal_style():
        figure, (ax,) = new_figure()
        draw_forest(forest, ax)
        heading = Heading("AUC of each reader", f"{about}; {100 * study.level:g}% intervals")
        height = 0.3 + 0.155 * len(forest)
        save(lay_out(figure, heading, height=height, left=1.3), folder / "readers_forest")
        figure, (ax,) = new_figure()
        draw_reader_roc(curves, ax)
        save(lay_out(figure, Heading("ROC of each reader", about), height=2.75), folder / "readers_roc")
        if len(parts):
            figure, (ax,) = new_figure()
            draw_components(parts, ax)
            heading = Heading(
                "Where the variation comes from",
                f"Obuchowski-Rockette, {COVARIANCE_NAMES[study.covariance]} covariances",
            )
            save(lay_out(figure, heading, height=1.2, left=1.75), folder / "readers_components")


@dataclass(frozen=True)
class ForestRow:
    """One line of the forest; ``kind`` is reader, average or model."""

    modality: str
    who: str
    kind: str
    auc: float
    low: float
    high: float


def forest_rows(study: ReaderStudy) -> list[ForestRow]:
    """A row per reader, average reader and model, in the order drawn."""
    rows = []
    own = {each.modality: each for each in study.model_against_readers if each.measure == "auc"}
    for modality, panel in study.modalities.items():
        named = [("reader", reader, auc) for reader, auc in panel.readers.items()]
        named.append(("average", "average reader", panel.auc))
        if modality in own:
            named.append(("model", own[modality].model, own[modality].model_auc))
        for kind, who, auc in named:
            rows.append(ForestRow(modality, who, kind, auc.value, auc.low, auc.high))
    return rows


def draw_forest(rows: Sequence[ForestRow], ax: Axes) -> None:
    """One line per reader with its interval; average readers as diamonds, the model in black."""
    modalities = list(dict.fromkeys(row.modality for row in rows))
    colours = {name: READER_COLOURS[place % len(READER_COLOURS)] for place, name in enumerate(modalities)}
    shapes = {"reader": ("o", 3.5), "average": ("D", 5.0), "model": ("s", 4.5)}
    places = np.arange(len(rows)) + 0.6 * np.array([modalities.index(row.modality) for row in rows])
    for place, row in zip(places, rows, strict=True):
        colour = INK if row.kind == "model" else colours[row.modality]
        shape, size = shapes[row.kind]
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=1.2)
        ax.plot(row.auc, place, shape, color=colour, markersize=size)
    several = len(modalities) > 1
    names = [shorten(f"{row.who}, {row.modality}" if several else row.who, 26) for row in rows]
    ax.set_yticks(places, names)
    ax.set_ylim(places[-1] + 0.7, -0.7)
    ax.set_xlabel("AUC")
    ax.grid(axis="y", visible=False)


def draw_reader_roc(curves: Sequence[ReaderCurve], ax: Axes) -> None:
    """Each reader's ROC curve in its modality's colour, points where readers act; the model on top."""
    modalities = [name for name in dict.fromkeys(each.modality for each in curves) if name]
    said: set[str] = set()
    for each in curves:
        model = not each.modality
        place = 0 if model else modalities.index(each.modality) % len(READER_COLOURS)
        colour = INK if model else READER_COLOURS[place]
        label = each.reader if model else ("readers" if len(modalities) == 1 else f"readers, {each.modality}")
        ax.plot(
            each.false_positive_rate,
            each.sensitivity,
            color=colour,
            linestyle="-" if model else MODEL_DASHES[place],
            linewidth=2.0 if model else 0.9,
            alpha=1.0 if model else 0.65,
            label=None if label in said else shorten(label, 40),
            zorder=3 if model else 2,
        )
        said.add(label)
        if each.acts is not None:
            ax.plot(*each.acts, "s" if model else "o", color=colour, markersize=4.5, zorder=4)
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(3, 3))
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.01)
    ax.set_xlabel("1 − specificity")
    ax.set_ylabel("sensitivity")


def component_rows(study: ReaderStudy) -> pd.DataFrame:
    """The defined components: name in the JSON, in words, and value (variance of an AUC)."""
    found = vars(study.components)
    rows = [(name, words, found[name]) for name, words in COMPONENTS.items() if not isnan(found[name])]
    return pd.DataFrame(rows, columns=["component", "words", "variance"])


def draw_components(rows: pd.DataFrame, ax: Axes) -> None:
    """Variance components and covariances as bars; estimates may lie below 0."""
    places = np.arange(len(rows))
    ax.barh(places, 1000 * rows["variance"], 0.65, color=READER_COLOURS[0])
    ax.set_yticks(places, rows["words"])
    ax.invert_yaxis()
    ax.axvline(0, color=INK, linewidth=0.7)
    ax.set_xlabel("variance of an AUC, in thousandths")
    ax.grid(axis="y", visible=False)


def _curve_rows(curves: Sequence[ReaderCurve]) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "modality": each.modality,
                "reader": each.reader,
                "threshold": each.threshold,
                "false_positive_rate": each.false_positive_rate,
                "sensitivity": each.sensitivity,
            }
        )
        for each in curves
    ]
    return pd.concat(parts, ignore_index=True)


# --- the page ---------------------------------------------------------------------------------------


def write_reader_report(folder: Path, study: ReaderStudy, *, source: str, facts: Mapping[str, str]) -> Path:
    """Write ``report.html`` of a reader study into its folder, with the figures that lie there.

    Parameters
    ----------
    source : the table's name. facts : how it was read, in words.
    """
    text = page("readers.html.jinja", _content(study, folder, source, facts))
    write_whole(folder / REPORT, text)
    return folder / REPORT


def _content(study: ReaderStudy, folder: Path, source: str, facts: Mapping[str, str]) -> dict[str, Any]:
    readers = {reader for panel in study.modalities.values() for reader in panel.readers}
    several = len(study.modalities) > 1
    counted = f"{len(readers)} readers" if len(readers) > 1 else "1 reader"
    return {
        "title": f"{counted}, {whole(study.cases)} cases"
        + ("" if study.condition == UNNAMED else f": {study.condition}"),
        "sentences": study_sentences(study),
        "speaks": SPEAKS[study.design],
        "counts": _counts(study, source, facts),
        "readers": _reader_table(study),
        "agreement": _agreement_table(study) if study.agreement else None,
        "no_agreement": study.no_agreement,
        "comparisons": _comparison_table(study.comparisons) if several else None,
        "tests": _test_table(study) if len(study.modalities) > 2 else None,
        "model": _model_table(study.model_against_readers) if study.model_against_readers else None,
        "components": _component_table(study),
        "plan": _plan_table(study),
        "planned": study.plan,
        "figures": {
            name: _picture(folder / f"readers_{name}.png") for name in ("forest", "roc", "components")
        },
        "rated": study.cut is not None,
        "covariance": COVARIANCE_NAMES[study.covariance],
        "margin": any(each.margin is not None for each in study.model_against_readers),
        "level": f"{100 * study.level:g}%",
        "program": f"clineval {program_version()}",
    }


def _counts(study: ReaderStudy, source: str, facts: Mapping[str, str]) -> Table:
    rows = {
        "table": source,
        "cases": f"{whole(study.cases)}, {whole(study.events)} of them {with_condition(study.condition)}",
        "readings": whole(study.readings),
        "modalities": ", ".join(study.modalities),
        **({"groups": whole(study.groups)} if study.groups < study.cases else {}),
        **facts,
    }
    return Table(("what", "value"), tuple(rows.items()))


def _reader_table(study: ReaderStudy) -> Table:
    several, rated = len(study.modalities) > 1, study.cut is not None
    rows: list[tuple[str | Cell, ...]] = []
    for modality, panel in study.modalities.items():
        averages = [panel.auc, panel.sensitivity, panel.specificity]
        named = {
            reader: [auc, *(panel.rates.get(reader, {}).get(rate) for rate in RATES)]
            for reader, auc in panel.readers.items()
        }
        for reader, found in {**named, "average reader": averages}.items():
            cells = [cell(found[0]), *(cell(each, as_percent=True) for each in found[1:] if rated)]
            rows.append((reader, *((modality,) if several else ()), *cells))
    headings = ("reader", *(("modality",) if several else ()), "AUC", *(RATES if rated else ()))
    return Table(headings, tuple(rows))


def _agreement_table(study: ReaderStudy) -> Table:
    several = len(study.modalities) > 1
    rows: list[tuple[str | Cell, ...]] = []
    for modality, pairs in study.agreement.items():
        named = (modality,) if several else ()
        rows += [(" and ".join(each.readers), *named, whole(each.cases), cell(each.kappa)) for each in pairs]
        rows.append(("mean of the pairs", *named, "–", cell(study.mean_kappa[modality])))
    headings = ("readers", *(("modality",) if several else ()), "cases read by both", "weighted kappa")
    return Table(headings, tuple(rows))


def _comparison_table(found: Sequence[ModalityComparison]) -> Table:
    rows = tuple(
        (
            " less ".join(each.modalities),
            measure_name(each.measure),
            each.design.replace("_", " "),
            _signed_cell(each.difference, each.measure),
            _df(each.df),
            p_text(each.p_value),
        )
        for each in found
    )
    return Table(("average reader with", "measure", "design", "difference", "df", "p"), rows)


def _test_table(study: ReaderStudy) -> Table:
    rows = tuple(
        (
            measure_name(each.measure),
            each.design.replace("_", " "),
            number(each.statistic),
            f"{each.df[0]:g}, {_df(each.df[1])}" if each.design != "fixed_readers" else f"{each.df[0]:g}",
            p_text(each.p_value),
        )
        for each in study.tests
    )
    return Table(("measure", "design", "F (fixed readers: chi-squared)", "df", "p"), rows)


def _model_table(found: Sequence[ModelAgainstPanel]) -> Table:
    rows = tuple(
        (
            each.model,
            each.modality,
            measure_name(each.measure),
            _signed_cell(each.difference, each.measure),
            _df(each.df),
            p_text(each.p_value),
            "–" if each.margin is None else margin_size(each.margin, each.measure),
            "–"
            if each.margin is None
            else {True: "shown", False: "not shown", None: "no interval"}[each.non_inferior],
        )
        for each in found
    )
    headings = (
        "model",
        "readers with",
        "measure",
        "model less average reader",
        "df",
        "p",
        "margin",
        "non-inferior",
    )
    return Table(headings, rows)


def _signed_cell(found: Estimate, measure: str) -> Cell:
    if not defined(found):
        return Cell("not defined", "", found.method)
    digits, unit = difference_digits(found), "" if measure == "auc" else " pp"
    value = signed_difference(found.value, measure, digits) + unit
    bounds = (
        ""
        if isnan(found.low)
        else " to ".join(signed_difference(b, measure, digits) for b in (found.low, found.high))
    )
    return Cell(value, bounds, found.method)


def _df(df: float) -> str:
    return "∞" if np.isinf(df) else number(df, 1)


def _component_table(study: ReaderStudy) -> Table:
    found = component_rows(study)
    texts = (f"{variance:.6f}".replace("-", "−") for variance in found["variance"])
    return Table(("part", "variance of an AUC"), tuple(zip(found["words"], texts, strict=True)))


def _plan_table(study: ReaderStudy) -> Table | None:
    if study.plan is None:
        return None
    rows = tuple(
        (
            str(each.readers),
            "no number of cases is enough" if each.cases is None else whole(each.cases),
            f"{each.power:.0%}",
        )
        for each in study.plan.studies
    )
    return Table(("readers", "cases", "power"), rows)


def _picture(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii") if path.is_file() else ""
