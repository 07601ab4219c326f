"""One figure to be written, and what its title says of the data."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import pandas as pd
from matplotlib.figure import Figure

from clineval.data.cohort import Cohort
from clineval.data.exploration import Exploration
from clineval.reporting import data_plots
from clineval.reporting.figure_style import COLUMN, Heading, lay_out, new_figure, shorten


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
    def of(cls, cohort: Cohort | None, exploration: Exploration | None) -> "Setting":
        """As the cohort says, else the exploration."""
        if cohort is not None:
            return cls(cohort.source.title, cohort.source.notice)
        return cls(exploration.dataset, exploration.notice) if exploration is not None else cls()

    def heading(self, title: str, subtitle: str) -> Heading:
        """A title with what stands above and below it."""
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
