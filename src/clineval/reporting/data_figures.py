"""The figures of the data and of learning: classes, grey levels, examples, learning curves."""

from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.figure import Figure

from clineval.data.cohort import Cohort
from clineval.data.exploration import Example, Exploration
from clineval.reporting import data_plots, figure_data
from clineval.reporting.drawing import Drawing, Setting, tiles
from clineval.reporting.figure_style import ABSENT, PRESENT, lay_out, new_figure, shorten
from clineval.reporting.wording import whole


def of_data(exploration: Exploration, cohort: Cohort | None, setting: Setting) -> Iterator[Drawing]:
    """Classes per split, and of each class its grey levels and examples."""
    yield Drawing(
        "class_distribution_by_split",
        lambda: _class_distribution(exploration, setting),
        lambda: figure_data.of_splits(exploration),
    )
    for example in exploration.examples:
        label = example.label if example.label is not None else 1 - example.outcome
        yield Drawing(
            f"pixel_intensity_hist_class{label}",
            partial(_grey_levels, exploration, example, setting),
            partial(figure_data.of_grey_levels, exploration, example.outcome),
        )
        if cohort is not None:
            yield Drawing(
                f"examples_class{label}",
                partial(_examples, cohort, example, setting),
                partial(figure_data.of_examples, example),
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
    """A class by its label in the file and what that stands for."""
    name = shorten(example.name, 26)
    return name if example.label is None else f"label {example.label} = {name}"


def _examples(cohort: Cohort, example: Example, setting: Setting) -> Figure:
    captions = [shorten(case, 16) for case in example.cases]
    title = f"Examples, {class_words(example)}"
    words = f"{setting.where('train')}: evenly spaced through the class, chosen by nobody"
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
        lambda: figure_data.of_learning(learning_curves),
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
