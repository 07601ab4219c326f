"""Internal-external cross-validation: each site of a run's own images scored by models of the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.data.cohort import Cohort
from clineval.errors import Announce, InputError, in_short
from clineval.evaluation.operating_points import TARGET
from clineval.evaluation.sites import plan, units
from clineval.models.classifier import parts_of_combined
from clineval.models.ensemble import TrainedModel, train_cohorts
from clineval.pipeline.scoring import FROZEN, LEFT_OUT, SITE_TABLE
from clineval.pipeline.stored_run import DECIMALS
from clineval.pipeline.train import FinalModel, combine, finalise
from clineval.predictions import write_predictions
from clineval.settings import RunSettings
from clineval.statistics.thresholds import threshold_for_sensitivity

DEVELOPMENT = ("train", "val")


@dataclass(frozen=True)
class Site:
    """A site that is left out, or small ones together, and the cohort in which it is the test split."""

    name: str
    cohort: Cohort


def check_sites(cohort: Cohort, column: str) -> None:
    """Refuse a column that names no sites, before anything is trained or scored.

    Raises
    ------
    InputError : there is no such column, or its sites are too few, too many or too small, or share patients.
    """
    plan(cohort.outcome, site_of(cohort, column), _groups(cohort), column=column)


def site_of(cohort: Cohort, column: str) -> NDArray[np.str_]:
    """Where each image was taken, shape (cases,)."""
    if column not in cohort.attributes:
        known = in_short(list(cohort.attributes)) or "none"
        raise InputError(
            f"--site-column needs one of the table's further columns ({known}); got {column!r}, which is not "
            "there, serves as image, outcome or group, or is left out as it identifies people."
        )
    return cohort.attributes[column].astype(str)


def write_left_out_sites(
    cohort: Cohort,
    settings: RunSettings,
    folder: Path,
    *,
    jobs: int | None,
    finished: Path,
    announce: Announce,
) -> None:
    """Train the run's own models once without each site, and write their risks of that site's cases.

    Train and val take part; test stays sealed. Models are trained, recalibrated, combined and given their
    threshold (the one named first, else sensitivity .90 out of fold) as in the run itself, on the other
    sites alone.

    Parameters
    ----------
    cohort : with near-duplicates joined in its groups; images of other sites that have one at the site left
        out are left out, too.

    Raises
    ------
    InputError : as ``check_sites``, or the other sites of one are too few to train on.
    """
    column = str(settings.data.site_column)
    sites = list(left_out_sites(cohort, column))
    names = settings.training.models
    trained = train_cohorts(
        [(site.cohort, names) for site in sites],
        settings=settings.training,
        jobs=jobs,
        finished=finished,
        progress=announce(f"Training without each of {len(sites)} sites"),
    )
    frames = [
        _scored(model, site, column, settings)
        for site, models in zip(sites, trained, strict=True)
        for model in _final(models, site.cohort)
    ]
    write_predictions(pd.concat(frames, ignore_index=True), folder / SITE_TABLE)


def left_out_sites(cohort: Cohort, column: str) -> Iterator[Site]:
    """Each site in turn as the test split of the development cases of all others."""
    inside = cohort.select(cohort.within(*DEVELOPMENT))
    site = site_of(inside, column)
    planned = plan(inside.outcome, site, _within(site, inside.group), column=column)
    for name, members in units(planned).items():
        here = np.isin(site, members)
        others = ~here & ~np.isin(inside.group, inside.group[here])
        parted = replace(inside, split=np.where(here, "test", inside.split))
        yield Site(name, parted.select(here | others))


def _within(site: NDArray[np.str_], group: NDArray[np.str_]) -> NDArray[np.str_]:
    """Groups parted by site: a near-duplicate at another site takes no part in the training."""
    return np.array([f"{where}/{each}" for where, each in zip(site, group, strict=True)])


def _groups(cohort: Cohort) -> NDArray[np.str_] | None:
    """The patients, None where every image is of another."""
    return cohort.group if len(np.unique(cohort.group)) < len(cohort) else None


def _final(trained: Sequence[TrainedModel], cohort: Cohort) -> tuple[FinalModel, ...]:
    """The trained models recalibrated, and their combination, as in a run."""
    models = {model.name: finalise(model, cohort) for model in trained}
    parts = parts_of_combined(list(models))
    return (*models.values(), *([combine([models[part] for part in parts])] if parts else []))


def _scored(model: FinalModel, site: Site, column: str, settings: RunSettings) -> pd.DataFrame:
    """The site's cases with their risks and the threshold that the other sites froze."""
    cohort = model.cohort
    here = cohort.within("test")
    place = cohort.attributes[column].astype(str)[here]
    return pd.DataFrame(
        {
            "model": model.name,
            "split": LEFT_OUT,
            "case": cohort.case[here],
            "group": _within(place, cohort.group[here]),
            "outcome": cohort.outcome[here].astype(int),
            "risk": np.round(model.risk[here], DECIMALS),
            FROZEN: _threshold(model, settings),
            column: place,
        }
    )


def _threshold(model: FinalModel, settings: RunSettings) -> float:
    given, train = settings.evaluation.thresholds, model.cohort.within("train")
    if given:
        return given[0]
    out_of_fold = np.round(model.out_of_fold[train], DECIMALS)
    return float(threshold_for_sensitivity(model.cohort.outcome[train], out_of_fold, TARGET))
