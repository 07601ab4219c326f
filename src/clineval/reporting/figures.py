"""Every figure of a results folder with its CSV."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from clineval.data.cohort import Cohort, Example, Exploration
from clineval.errors import InputError, Progress, option
from clineval.evaluation import Evaluation
from clineval.evaluation.curves import Curves, PopulationCurves
from clineval.evaluation.records import COUNTS, RATES, OperatingPoint, PopulationScores
from clineval.files import CsvRows, text_cell
from clineval.reporting import data_plots, plots
from clineval.reporting.artefacts import Failures, failures
from clineval.reporting.data_plots import LearningCurve
from clineval.reporting.sentences import aim_words, main_point, number, subject_of, whole
from clineval.reporting.style import (
    ABSENT,
    COLUMN,
    FORMATS,
    PRESENT,
    Heading,
    journal_style,
    lay_out,
    new_figure,
    packed,
    shorten,
)
from clineval.settings import is_retrained


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, text that a spreadsheet would run as a formula made harmless."""
    texts = [
        name
        for name in frame.columns
        if frame[name].dtype == object or pd.api.types.is_string_dtype(frame[name])
    ]
    safe = frame.assign(**{name: [text_cell(str(cell)) for cell in frame[name]] for name in texts})
    with path.open("w", newline="", encoding="utf-8") as file:
        safe.to_csv(CsvRows(file), index=False, lineterminator="\r\n")


def of_splits(exploration: Exploration) -> pd.DataFrame:
    """Cases, events and prevalence per split."""
    return pd.DataFrame(
        [
            {"split": each.split, "cases": each.cases, "events": each.events, "prevalence": each.prevalence}
            for each in exploration.splits
        ]
    )


def of_grey_levels(exploration: Exploration, outcome: int) -> pd.DataFrame:
    """Pixels per grey level, per split and in all."""
    levels = {each.split: each.histogram for each in exploration.grey_levels if each.outcome == outcome}
    return pd.DataFrame({"grey_level": np.arange(256), **levels})


def of_examples(example: Example) -> pd.DataFrame:
    """Which cases are shown."""
    return pd.DataFrame({"case": list(example.cases), "class": example.name})


def of_roc(curves: PopulationCurves) -> pd.DataFrame:
    """The curve and, in further rows, the band on its grid."""
    line = curves.roc
    if line is None:
        return pd.DataFrame()
    curve = pd.DataFrame(
        {
            "part": "curve",
            "false_positive_rate": line.false_positive_rate,
            "sensitivity": line.sensitivity,
            "threshold": line.threshold,
        }
    )
    if line.band is None:
        return curve
    band = {"sensitivity": line.band.value, "low": line.band.low, "high": line.band.high}
    return pd.concat([curve, pd.DataFrame({"part": "band", "false_positive_rate": line.grid, **band})])


def of_points(scores: PopulationScores) -> pd.DataFrame:
    """The 2x2 and its rates per operating point, with bounds."""
    rows = []
    for point in scores.operating_points:
        row: dict[str, object] = {
            "point": point.name,
            "threshold": point.threshold,
            "chosen_on": point.chosen_on,
        }
        row.update({name: point.counts[name] for name in COUNTS})
        for name in RATES:
            rate = point.rates[name]
            row.update({name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high})
        rows.append(row)
    return pd.DataFrame(rows)


def of_calibration(curves: PopulationCurves) -> pd.DataFrame:
    """The smoothed line and, in further rows, the groups of cases."""
    lines, parts = curves.calibration, []
    if lines is None:
        return pd.DataFrame()
    if lines.smooth is not None:
        smooth = {"observed": lines.smooth.value, "low": lines.smooth.low, "high": lines.smooth.high}
        parts.append(pd.DataFrame({"part": "smoothed", "risk": lines.risk, **smooth}))
    if lines.grouped is not None:
        groups = {"observed": lines.grouped.value, "low": lines.grouped.low, "high": lines.grouped.high}
        parts.append(
            pd.DataFrame({"part": "groups", "risk": lines.mean_risk, **groups, "cases": lines.cases})
        )
    return pd.concat(parts) if parts else pd.DataFrame()


def of_risks(curves: PopulationCurves) -> pd.DataFrame:
    """Cases per interval of risk and outcome."""
    risks = curves.risks
    return pd.DataFrame(
        {
            "from": risks.edges[:-1],
            "to": risks.edges[1:],
            "events": risks.events,
            "non_events": risks.non_events,
        }
    )


def of_decision(curves: Curves, population: str) -> pd.DataFrame:
    """Net benefit per model and threshold, with its band."""
    parts = []
    for model, by_population in curves.models.items():
        lines = by_population[population].decision if population in by_population else None
        if lines is None:
            continue
        band = lines.net_benefit
        parts.append(
            pd.DataFrame(
                {
                    "model": model,
                    "threshold": lines.threshold,
                    "net_benefit": band.value,
                    "low": band.low,
                    "high": band.high,
                    "treat_all": lines.treat_all,
                    "interventions_avoided": lines.interventions_avoided,
                }
            )
        )
    return pd.concat(parts) if parts else pd.DataFrame()


def learning_table(learning_curves: Sequence[LearningCurve]) -> pd.DataFrame:
    """Losses per member and epoch."""
    parts = []
    for member, curve in enumerate(learning_curves):
        frame = pd.DataFrame({"member": member, "epoch": np.arange(1, len(curve.train_loss) + 1)})
        frame["train_loss"] = curve.train_loss
        frame["val_loss"] = pd.Series(curve.val_loss, dtype=float)
        frame["kept"] = frame["epoch"] == curve.kept_epoch
        parts.append(frame)
    return pd.concat(parts)


@dataclass(frozen=True)
class Drawing:
    """One figure to be written: its name without ending, how to draw it, and its data."""

    stem: str
    draw: Callable[[], Figure]
    data: Callable[[], pd.DataFrame]


@dataclass(frozen=True)
class Setting:
    """What every title says of the data: their name, and the notice where they are synthetic."""

    dataset: str = ""
    notice: str = ""

    @classmethod
    def of(cls, cohort: Cohort | None) -> "Setting":
        """As the cohort says."""
        return cls() if cohort is None else cls(cohort.source.title, cohort.source.notice)

    def heading(self, title: str, subtitle: str) -> Heading:
        """A title with its subtitle and notice."""
        return Heading(title, subtitle, self.notice)

    def where(self, population: str) -> str:
        """Data set and population."""
        return f"{self.dataset}, {shorten(population, 30)}" if self.dataset else shorten(population, 40)


def slug(name: str) -> str:
    """A name that any file system takes; a name that had to be changed ends in a hash of the old one."""
    clean = re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("._-")[:60]
    return name if clean == name else f"{clean or 'name'}-{sha256(name.encode()).hexdigest()[:6]}"


def tiles(
    cohort: Cohort,
    cases: list[str],
    captions: list[str],
    *,
    columns: int,
    setting: Setting,
    title: str,
    subtitle: str,
) -> Figure:
    """Some images of a cohort in rows, a caption under each."""
    figure, (ax,) = new_figure()
    row_of = {str(case): row for row, case in enumerate(cohort.case)}
    data_plots.draw_tiles([cohort.images[row_of[case]] for case in cases], captions, ax, columns=columns)
    rows = max(1, -(-len(cases) // columns))
    height = rows * data_plots.TILE * (COLUMN - 0.2) / columns
    return lay_out(figure, setting.heading(title, subtitle), height=height, left=0.0, below=0.02)


MOST_TILES = 24  # small images of one failure figure
SQUARE = 2.7  # inches: as high as a column's panel is wide


@dataclass(frozen=True)
class Material:
    """What the figures of the models are made from."""

    table: pd.DataFrame
    evaluation: Evaluation
    curves: Curves
    cohort: Cohort | None
    setting: Setting

    def subtitle(self, population: str, scores: PopulationScores) -> str:
        """Population, n and condition, for below a title."""
        events = f"{whole(scores.events)} {shorten(self.evaluation.condition, 30)}"
        return f"{self.setting.where(population)}: n = {whole(scores.cases)}, {events}"


def of_models(material: Material) -> Iterator[Drawing]:
    """Every figure of every model on every population kept for testing."""
    for population in tested_populations(material.evaluation):
        models = [name for name, scored in material.evaluation.models.items() if population in scored]
        for model in filter(lambda name: not is_retrained(name, models), models):
            yield from _of_model(_Scene(material, model, population))
        if any(material.curves.models[name][population].decision is not None for name in models):
            yield Drawing(
                f"decision_curve_{slug(population)}",
                partial(_decision, material, population),
                partial(of_decision, material.curves, population),
            )


def tested_populations(evaluation: Evaluation) -> list[str]:
    """Populations with thresholds scored, but for the clean part of test: the figures' populations."""
    names: dict[str, None] = {}
    for by_population in evaluation.models.values():
        names.update(dict.fromkeys(name for name, scores in by_population.items() if not scores.used_for))
    return [name for name in names if name != "test_clean"]


@dataclass(frozen=True)
class _Scene:
    """One model on one population, with what is drawn of it."""

    material: Material
    model: str
    population: str

    @property
    def ending(self) -> str:
        return f"{slug(self.model)}_{slug(self.population)}"

    @property
    def curves(self) -> PopulationCurves:
        return self.material.curves.models[self.model][self.population]

    @property
    def scores(self) -> PopulationScores:
        return self.material.evaluation.models[self.model][self.population]

    @property
    def point(self) -> OperatingPoint | None:
        return main_point(self.scores, self.material.evaluation.primary)

    @property
    def condition(self) -> str:
        return self.material.evaluation.condition

    def heading(self, title: str) -> Heading:
        """A title with the model, the population, n and the condition."""
        return self.material.setting.heading(f"{title}: {shorten(self.model, 26)}", self.subtitle)

    @property
    def subtitle(self) -> str:
        """Population, n, condition, and the model's origin where it must be said."""
        origin = self.material.evaluation.origins.get(self.model)
        return self.material.subtitle(self.population, self.scores) + (f"; {origin}" if origin else "")


def _of_model(scene: _Scene) -> Iterator[Drawing]:
    curves = scene.curves
    if curves.roc is not None:
        yield Drawing(f"roc_{scene.ending}", lambda: _roc(scene), lambda: of_roc(curves))
    if scene.scores.operating_points:
        yield Drawing(f"cm_{scene.ending}", lambda: _confusion(scene), lambda: of_points(scene.scores))
    if curves.calibration is not None:
        yield Drawing(
            f"calibration_{scene.ending}",
            lambda: _calibration(scene),
            lambda: of_calibration(curves),
        )
    yield Drawing(f"risk_distribution_{scene.ending}", lambda: _risks(scene), lambda: of_risks(curves))
    cohort = scene.material.cohort
    if cohort is not None and scene.population in cohort.split and scene.point is not None:
        yield Drawing(
            f"failures_{scene.ending}",
            lambda: _failures(scene, cohort),
            lambda: _wrong_calls(scene).cases,
        )


def _roc(scene: _Scene) -> Figure:
    figure, (ax,) = new_figure()
    line = scene.curves.roc
    if line is not None:
        plots.draw_roc(line, ax, points=scene.scores.operating_points, measures=scene.scores.measures)
    return lay_out(figure, scene.heading("ROC curve"), height=SQUARE)


def _confusion(scene: _Scene) -> Figure:
    points = [point for point in scene.scores.operating_points if not math.isnan(point.threshold)][:2]
    figure, axes = new_figure(panels=max(len(points), 1))
    for ax, point in zip(axes, points, strict=False):
        plots.draw_confusion(point, ax, condition=scene.condition)
    width = 2.55 * len(axes) + 0.14
    return lay_out(figure, scene.heading("Confusion matrix"), width=width, height=1.95, above=0.5, below=0.38)


def _calibration(scene: _Scene) -> Figure:
    figure, (ax,) = new_figure()
    lines = scene.curves.calibration
    if lines is not None:
        plots.draw_calibration(
            lines, ax, risks=scene.curves.risks, measures=scene.scores.measures, condition=scene.condition
        )
    return lay_out(figure, scene.heading("Calibration"), height=SQUARE)


def _risks(scene: _Scene) -> Figure:
    figure, (ax,) = new_figure()
    points = scene.scores.operating_points
    plots.draw_risk_distribution(scene.curves.risks, ax, condition=scene.condition, points=points)
    return lay_out(figure, scene.heading("Predicted risks by outcome"), height=1.9)


def _failures(scene: _Scene, cohort: Cohort) -> Figure:
    found = _wrong_calls(scene)
    shown = found.cases[found.cases["case"].isin(cohort.case)].head(MOST_TILES)
    captions = [
        f"{'MISSED' if row.outcome else 'alarm'} {row.risk:.2f}\n{shorten(str(row.case), 14)}"
        for row in shown.itertuples()
    ]
    return tiles(
        cohort, [str(case) for case in shown["case"]], captions, columns=6, setting=scene.material.setting,
        title=f"{found.missed} missed, {found.alarms} false alarms: {shorten(scene.model, 20)}",
        subtitle=f"{scene.subtitle}; "
        f"threshold {number(found.point.threshold)}, {aim_words(found.point)}; risk and case below",
    )  # fmt: skip


def _wrong_calls(scene: _Scene) -> Failures:
    point = scene.point
    if point is None:
        raise ValueError(f"{scene.model} has no threshold on {scene.population}, so no call of it is wrong.")
    return failures(scene.material.table, point, model=scene.model, population=scene.population)


def _decision(material: Material, population: str) -> Figure:
    subject = subject_of(material.evaluation)
    lines = {name: material.curves.models[name][population].decision for name in subject.models(population)}
    figure, (ax,) = new_figure()
    named = material.evaluation.named
    drawn = {named(model): line for model, line in lines.items() if line is not None}
    plots.draw_decision_curves(drawn, ax, with_band=[named(model) for model in subject.pair])
    first = material.evaluation.models[next(model for model, line in lines.items() if line)][population]
    heading = material.setting.heading("Decision curve", material.subtitle(population, first))
    return lay_out(figure, heading, height=2.5)


def of_data(exploration: Exploration, cohort: Cohort | None, setting: Setting) -> Iterator[Drawing]:
    """Classes per split, and of each class its grey levels and examples."""
    yield Drawing(
        "class_distribution_by_split",
        lambda: _class_distribution(exploration, setting),
        lambda: of_splits(exploration),
    )
    for example in exploration.examples:
        label = example.label if example.label is not None else 1 - example.outcome
        yield Drawing(
            f"pixel_intensity_hist_class{label}",
            partial(_grey_levels, exploration, example, setting),
            partial(of_grey_levels, exploration, example.outcome),
        )
        if cohort is not None:
            yield Drawing(
                f"examples_class{label}",
                partial(_examples, cohort, example, setting),
                partial(of_examples, example),
            )


def _class_distribution(exploration: Exploration, setting: Setting) -> Figure:
    figure, (ax,) = new_figure()
    data_plots.draw_class_distribution(exploration.splits, ax, condition=exploration.condition)
    cases = sum(split.cases for split in exploration.splits)
    events = sum(split.events for split in exploration.splits)
    counted = f"n = {whole(cases)}, {whole(events)} {shorten(exploration.condition, 30)}"
    heading = setting.heading("Cases per split, with prevalence", f"{setting.where('all splits')}: {counted}")
    return lay_out(figure, heading, below=0.5)


def _grey_levels(exploration: Exploration, example: Example, setting: Setting) -> Figure:
    figure, (ax,) = new_figure()
    levels = exploration.of("all", example.outcome)
    data_plots.draw_grey_levels(levels, ax, colour=PRESENT if example.outcome else ABSENT)
    counted = (
        f"n = {whole(levels.cases)} images, every pixel; condition: {shorten(exploration.condition, 20)}"
    )
    title = f"Grey levels, {class_words(example)}"
    return lay_out(figure, setting.heading(title, f"{setting.where('all splits')}: {counted}"), height=1.8)


def class_words(example: Example) -> str:
    """A class by its label in the file and what that means."""
    name = shorten(example.name, 26)
    return name if example.label is None else f"label {example.label} = {name}"


def _examples(cohort: Cohort, example: Example, setting: Setting) -> Figure:
    captions = [shorten(case, 16) for case in example.cases]
    title = f"Examples, {class_words(example)}"
    words = f"{setting.where('train')}: picked at even intervals"
    return tiles(
        cohort, list(example.cases), captions, columns=4, setting=setting, title=title, subtitle=words
    )


def of_learning(
    learning_curves: Sequence[data_plots.LearningCurve], condition: str, setting: Setting
) -> Iterator[Drawing]:
    """The learning curves of the CNN's members."""
    yield Drawing(
        "learning_curve_cnn",
        lambda: _learning(learning_curves, condition, setting),
        lambda: learning_table(learning_curves),
    )


def _learning(
    learning_curves: Sequence[data_plots.LearningCurve], condition: str, setting: Setting
) -> Figure:
    figure, (ax,) = new_figure()
    data_plots.draw_learning_curves(learning_curves, ax)
    members, fired = len(learning_curves), sum(curve.fired for curve in learning_curves)
    subtitle = (
        f"{setting.where('train and val')}: {members} member{'s' if members > 1 else ''}, "
        f"condition: {shorten(condition, 24)}; early stopping fired in {fired} of {members}"
    )
    return lay_out(figure, setting.heading("Learning curve: cnn", subtitle), height=2.1)


def write_figures(
    folder: Path,
    *,
    table: pd.DataFrame,
    evaluation: Evaluation,
    curves: Curves,
    cohort: Cohort | None = None,
    formats: Sequence[str] = ("png",),
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Draw what an evaluation gives of each model, each figure with its data as CSV beside it.

    Parameters
    ----------
    table : the predictions, as read back from disk.
    formats : of ``png`` (300 dpi), ``svg`` and ``pdf`` (fonts embedded).

    Returns
    -------
    Names of the figures, without ending, in the order written.

    Raises
    ------
    InputError : an unknown format.
    """
    unknown = [kind for kind in formats if kind not in FORMATS]
    if unknown:
        asked = option("--figures png,pdf", 'formats=("png", "pdf")')
        raise InputError(
            f"Figures come as {', '.join(FORMATS)}; got {', '.join(unknown)}. Name them as {asked}"
        )
    drawings = list(of_models(Material(table, evaluation, curves, cohort, Setting.of(cohort))))
    return tuple(_write(drawings, folder, formats=tuple(formats), progress=progress))


def write_exploration_figures(
    folder: Path,
    exploration: Exploration,
    cohort: Cohort,
    *,
    learning_curves: Sequence[data_plots.LearningCurve] = (),
    formats: Sequence[str] = ("png",),
) -> tuple[str, ...]:
    """Draw what no score is in: classes per split, grey levels, examples, and how the CNN's members learnt.

    Returns the figures' names.
    """
    setting = Setting.of(cohort)
    drawings = [
        *of_data(exploration, cohort, setting),
        *(of_learning(learning_curves, exploration.condition, setting) if learning_curves else ()),
    ]
    return tuple(_write(drawings, folder, formats=tuple(formats)))


def _write(
    drawings: Sequence[Drawing], folder: Path, *, formats: tuple[str, ...], progress: Progress | None = None
) -> list[str]:
    packing: list[Future[None]] = []
    with ThreadPoolExecutor(1) as encoder:
        for done, drawing in enumerate(drawings):
            with journal_style():
                left = packed(drawing.draw(), folder / drawing.stem, formats=formats)
            packing += [encoder.submit(pack) for pack in left]
            write(drawing.data(), folder / f"{drawing.stem}.csv")
            if progress:
                progress(done + 1, len(drawings))
    for each in packing:
        each.result()  # a full disk is not overlooked
    return [drawing.stem for drawing in drawings]
