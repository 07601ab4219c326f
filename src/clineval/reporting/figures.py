"""Every figure of a run, by its name: the records on the axes, titled, with their data beside them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from clineval.data.audit import Audit
from clineval.data.cohort import Cohort
from clineval.data.exploration import Exploration
from clineval.evaluation import Evaluation
from clineval.evaluation.curves import Curves
from clineval.refusal import Refusal
from clineval.reporting import data_plots, figure_data
from clineval.reporting.audit_plots import write_duplicates
from clineval.reporting.data_figures import of_data, of_learning
from clineval.reporting.drawing import Drawing, Setting
from clineval.reporting.figure_style import FORMATS, journal_style, save
from clineval.reporting.gallery import write_gallery
from clineval.reporting.model_figures import Material, of_models

Progress = Callable[[int, int], None]


def write_figures(
    folder: Path,
    *,
    table: pd.DataFrame,
    evaluation: Evaluation,
    curves: Curves,
    exploration: Exploration | None = None,
    audit: Audit | None = None,
    cohort: Cohort | None = None,
    learning_curves: Sequence[data_plots.LearningCurve] = (),
    formats: Sequence[str] = ("png",),
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Draw everything that can be drawn from what is given, each figure with its data as CSV beside it.

    Parameters
    ----------
    table : the predictions, as read back from disk.
    learning_curves : one per member of the CNN.
    formats : of ``png`` (300 dpi), ``svg`` and ``pdf`` (fonts embedded).

    Returns
    -------
    Names of the figures, without ending, in the order written.

    Raises
    ------
    Refusal : an unknown format.
    """
    unknown = [kind for kind in formats if kind not in FORMATS]
    if unknown:
        raise Refusal(
            f"Figures come as {', '.join(FORMATS)}; came {', '.join(unknown)}. Name them as --figures png,pdf"
        )
    setting = Setting.of(cohort, exploration)
    drawings = [
        *(of_data(exploration, cohort, setting) if exploration is not None else ()),
        *of_models(Material(table, evaluation, curves, cohort, setting)),
        *(of_learning(learning_curves, evaluation.condition, setting) if learning_curves else ()),
    ]
    names = _write(drawings, folder, formats=tuple(formats), progress=progress)
    if cohort is not None:
        write_gallery(folder, cohort=cohort, table=table, evaluation=evaluation, exploration=exploration)
        if audit is not None:
            write_duplicates(audit, cohort, folder / "duplicates.png")
            names.append("duplicates")
    return tuple(names)


def write_exploration_figures(
    folder: Path, exploration: Exploration, cohort: Cohort, *, formats: Sequence[str] = ("png",)
) -> tuple[str, ...]:
    """Draw the data alone: classes per split, grey levels, examples; returns the figures' names."""
    drawings = list(of_data(exploration, cohort, Setting.of(cohort, exploration)))
    return tuple(_write(drawings, folder, formats=tuple(formats)))


def _write(
    drawings: Sequence[Drawing], folder: Path, *, formats: tuple[str, ...], progress: Progress | None = None
) -> list[str]:
    for done, drawing in enumerate(drawings):
        with journal_style():
            save(drawing.draw(), folder / drawing.stem, formats=formats)
        figure_data.write(drawing.data(), folder / f"{drawing.stem}.csv")
        if progress:
            progress(done + 1, len(drawings))
    return [drawing.stem for drawing in drawings]
