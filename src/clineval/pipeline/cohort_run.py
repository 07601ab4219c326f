"""A user's own images made ready for a run: read, and split by patient where the table does not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clineval.data import splits
from clineval.data.audit import audit
from clineval.data.cohort import Cohort
from clineval.data.medmnist_facts import SIZES
from clineval.data.own_cohort import OwnCohort, read_own_cohort
from clineval.data.own_table import Columns
from clineval.data.raw_samples import draw_samples
from clineval.refusal import Refusal
from clineval.settings import OwnSettings, RunSettings

Announce = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class OwnImages:
    """Where a user's images are: the table that names them, and their folder (by default the table's)."""

    table: Path
    folder: Path | None = None


def load_own(own: OwnImages, settings: RunSettings, *, announce: Announce) -> OwnCohort:
    """The user's cohort in train, val and test.

    Splits are those of the table's column. Without one they are made by group: a patient's images, and
    images that show the same picture, stay together; prevalence is about the same in each; the seed of
    the run chooses. A table that has only train and test gets its val from train in the same way.

    Raises
    ------
    Refusal : the table or an image is not fit, a split is missing or holds one class only, or the size
        is none that the models know.
    """
    given = settings.data.own or OwnSettings()
    if settings.data.size not in SIZES:
        sizes = ", ".join(str(size) for size in SIZES)
        raise Refusal(f"--size needs one of {sizes} (pixels per side); came {settings.data.size}.")
    read = read_own_cohort(
        own.table,
        Columns(
            given.image_column, given.outcome_column, given.positive, given.group_column, given.split_column
        ),
        image_folder=own.folder,
        size=settings.data.size,
        fit=given.fit,
        bits=given.bits,
        condition=settings.data.condition,
        progress=announce("Reading the images"),
    )
    cohort = _divided(read.cohort, settings, given, announce)
    _check_classes(cohort)
    return replace(read, cohort=cohort)


def draw_check_strip(own: OwnCohort, folder: Path, *, by: str | None = None) -> None:
    """Draw ``check_strip.png``: some images as they came beside what the models see, by scanner."""
    from clineval.reporting.check_strip import write_check_strip  # matplotlib is loaded only to draw

    source = own.cohort.source
    write_check_strip(
        draw_samples(own, by=by),
        folder / "check_strip.png",
        preparation=source.preparation,
        condition=own.cohort.condition,
        notice=source.notice,
    )


def _divided(cohort: Cohort, settings: RunSettings, given: OwnSettings, announce: Announce) -> Cohort:
    present = set(cohort.split.tolist())
    if given.split_column is not None and not {"train", "test"} <= present:
        came = ", ".join(sorted(present))
        raise Refusal(f"--split-column needs train and test among its values (val is optional); came {came}.")
    if "val" in present:
        return cohort
    progress = announce("Looking for twins, so that none are parted")
    group = audit(cohort, threshold=settings.audit.threshold, progress=progress).group_of
    seed = settings.training.seed
    if given.split_column is None:
        shares = (given.val_share, given.test_share)
        split = splits.by_group(cohort.outcome, group, shares=shares, seed=seed)
        return _noted(replace(cohort, split=split), "Train, val and test were made by group", given)
    split = cohort.split.astype("U5")
    train = np.flatnonzero(split == "train")
    of_train = (min(0.5, given.val_share * len(cohort) / len(train)), 0.0)
    split[train] = splits.by_group(cohort.outcome[train], group[train], shares=of_train, seed=seed)
    return _noted(replace(cohort, split=split), "Val was drawn from train by group", given)


def _noted(cohort: Cohort, how: str, given: OwnSettings) -> Cohort:
    patients = f"column {given.group_column} joined with twins" if given.group_column else "twins only"
    note = f"{how} ({patients}), stratified by outcome, from the run's seed."
    return replace(cohort, source=replace(cohort.source, notes=(*cohort.source.notes, note)))


def _check_classes(cohort: Cohort) -> None:
    for name in ("train", "val", "test"):
        outcome: NDArray[np.bool_] = cohort.outcome[cohort.within(name)]
        if not outcome.any() or outcome.all():
            raise Refusal(
                f"{cohort.source.file}: each of train, val and test needs cases with and without "
                f"{cohort.condition}; {name} has {int(outcome.sum())} of {len(outcome)} with it. "
                "Mend the splits, or leave --split-column out to have them made."
            )
