"""The figures of the models: curves, 2x2, risks and wrong calls, on every population that is a test."""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from clineval.data.cohort import Cohort
from clineval.evaluation import Evaluation
from clineval.evaluation.curves import Curves, PopulationCurves
from clineval.evaluation.record import PopulationScores
from clineval.reporting import figure_data, plots
from clineval.reporting.drawing import Drawing, Setting, slug, tiles
from clineval.reporting.failures import failures, main_point
from clineval.reporting.figure_style import Heading, lay_out, new_figure, shorten
from clineval.reporting.subject import HEADLINE
from clineval.reporting.wording import aim_words, number, whole

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
        for model in filter(lambda name: not is_variant(name, models), models):
            yield from _of_model(_Scene(material, model, population))
        if any(material.curves.models[name][population].decision is not None for name in models):
            yield Drawing(
                f"decision_curve_{slug(population)}",
                partial(_decision, material, population),
                partial(figure_data.of_decision, material.curves, population),
            )


def is_variant(name: str, models: Collection[str]) -> bool:
    """Whether a model is another one trained otherwise (``cnn_deduplicated``): shown beside it, not apart."""
    return any(name.startswith(f"{other}_") for other in models if other != name)


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
    def condition(self) -> str:
        return self.material.evaluation.condition

    def heading(self, title: str) -> Heading:
        """A title with the model, the population, n and the condition."""
        subtitle = self.material.subtitle(self.population, self.scores)
        return self.material.setting.heading(f"{title}: {shorten(self.model, 26)}", subtitle)


def _of_model(scene: _Scene) -> Iterator[Drawing]:
    curves = scene.curves
    if curves.roc is not None:
        yield Drawing(f"roc_{scene.ending}", lambda: _roc(scene), lambda: figure_data.of_roc(curves))
    if scene.scores.operating_points:
        yield Drawing(
            f"cm_{scene.ending}", lambda: _confusion(scene), lambda: figure_data.of_points(scene.scores)
        )
    if curves.calibration is not None:
        yield Drawing(
            f"calibration_{scene.ending}",
            lambda: _calibration(scene),
            lambda: figure_data.of_calibration(curves),
        )
    yield Drawing(
        f"risk_distribution_{scene.ending}", lambda: _risks(scene), lambda: figure_data.of_risks(curves)
    )
    cohort = scene.material.cohort
    if cohort is not None and scene.population in cohort.split and main_point(scene.scores) is not None:
        yield Drawing(
            f"failures_{scene.ending}", lambda: _failures(scene, cohort), lambda: _failure_data(scene)
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
    found = failures(scene.material.table, scene.scores, model=scene.model, population=scene.population)
    shown = found.cases[found.cases["case"].isin(cohort.case)].head(MOST_TILES)
    captions = [
        f"{'MISSED' if row.outcome else 'alarm'} {row.risk:.2f}\n{shorten(str(row.case), 14)}"
        for row in shown.itertuples()
    ]
    return tiles(
        cohort, [str(case) for case in shown["case"]], captions, columns=6, setting=scene.material.setting,
        title=f"{found.missed} missed, {found.alarms} false alarms: {shorten(scene.model, 20)}",
        subtitle=f"{scene.material.subtitle(scene.population, scene.scores)}; "
        f"threshold {number(found.point.threshold)}, {aim_words(found.point)}; risk and case below",
    )  # fmt: skip


def _failure_data(scene: _Scene) -> pd.DataFrame:
    return failures(scene.material.table, scene.scores, model=scene.model, population=scene.population).cases


def _decision(material: Material, population: str) -> Figure:
    lines = {
        model: by_population[population].decision
        for model, by_population in material.curves.models.items()
        if population in by_population and by_population[population].decision is not None
    }
    figure, (ax,) = new_figure()
    drawn = {model: line for model, line in lines.items() if line is not None}
    plots.draw_decision_curves(drawn, ax, with_band=HEADLINE)
    first = material.evaluation.models[next(iter(lines))][population]
    heading = material.setting.heading("Decision curve", material.subtitle(population, first))
    return lay_out(figure, heading, height=2.5)
