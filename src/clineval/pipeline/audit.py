"""The audit step: examine the images of a data set or of a user, and write what was found."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from clineval import results
from clineval.data import load_cohort
from clineval.data.audit import Audit, audit, audit_images, grouped
from clineval.data.cohort import Cohort, Source
from clineval.data.duplicates import Pair, given
from clineval.data.findings import (
    QUANTITIES,
    Finding,
    check_codes,
    counts,
    file_quantities,
    findings,
    in_order,
    picture_quantities,
)
from clineval.data.image_files import as_cell
from clineval.data.own_images import OwnCohort, OwnImages, read_own_images
from clineval.data.similarity import Images
from clineval.errors import Announce, InputError, option, silent
from clineval.files import CsvRows, text_cell, write_json
from clineval.predictions import OUT_OF_FOLD, TEST
from clineval.results.folder import replace_folder, require_apart
from clineval.settings import EvaluationSettings

if TYPE_CHECKING:
    from clineval.evaluation import Evaluation

PAIR_COLUMNS = (
    "case_a", "case_b", "split_a", "split_b", "outcome_a", "outcome_b", "similarity", "detail", "kind",
    "contradictory", "across_splits", "rows", "columns", "mirrored", "group",
)  # fmt: skip


@dataclass(frozen=True)
class AuditedImages:
    """What an audit examined and what it found; ``failing`` are the codes asked for that were found."""

    folder: Path
    audit: Audit
    findings: tuple[Finding, ...]
    failing: tuple[str, ...]
    source: Source
    cases: int


@dataclass(frozen=True)
class _Looked:
    audit: Audit
    findings: tuple[Finding, ...]
    images: Images
    condition: str
    source: Source


def audit_source(
    source: Path | None = None,
    *,
    dataset: str | None = None,
    condition: str | None = None,
    size: int = 28,
    seed: int = 0,
    threshold: float | None = None,
    fail_on: Iterable[str] = (),
    out: Path | None = None,
    force: bool = False,
    command: Iterable[str] = ("clineval", "audit"),
    announce: Announce = silent,
) -> AuditedImages:
    """Audit a data set, or a user's own images, and write what was found into a folder.

    Parameters
    ----------
    source : a folder of images or a CSV that names them; without it ``dataset`` is audited.
    dataset, condition, size, seed : as for ``load_cohort``; ``dataset`` defaults to ``auto``.
    threshold : least similarity of a near-duplicate, above 0 and at most 1; None reads it off the data.
    fail_on : codes of findings, ``failing`` of the result says which of them were found.
    out : results folder; by default ``results-audit``.
    announce : called with each step's name; returns the step's ``progress(done, total)``.

    Raises
    ------
    InputError : both a source and a dataset, an unknown code, fewer than two images that can be read, or
        an output folder that is not fit.
    """
    asked = check_codes(fail_on)
    if threshold is not None:
        given(threshold)  # refused before thousands of images are read
    if source is not None and dataset is not None:
        raise InputError(
            f"audit needs either images of your own or {option('--dataset')}; got {source.name} and "
            f"{dataset}."
        )
    recorder = results.Recorder()
    settings = {
        "threshold": threshold,
        "dataset": dataset,
        "condition": condition,
        "size": size,
        "seed": seed,
    }
    target = out if out is not None else Path("results-audit")
    if (
        source is not None
        and source.is_dir()
        and Path(os.path.realpath(target)).is_relative_to(source.resolve())
    ):
        raise InputError(
            f"{option('--out')} {target} lies inside the audited images; choose a folder outside them."
        )
    require_apart(target, source)
    with replace_folder(target, kind="audit", force=force) as folder:
        with recorder.step("audit"):
            looked = (
                _look_at_dataset(dataset or "auto", condition, size, seed, threshold, folder, announce)
                if source is None
                else _look_at_own_images(_read(source, target, announce), threshold, announce)
            )
            _write_findings(looked.audit, looked.findings, looked.source, folder)
        with recorder.step("draw"):
            draw_audit(
                looked.audit, looked.images, folder, condition=looked.condition, notice=looked.source.notice
            )
        about = {**asdict(looked.source), "notice": looked.source.notice}
        results.seal(
            folder,
            results.describe(
                kind="audit", command=command, settings=settings, source=about, recorder=recorder
            ),
        )
    found = counts(looked.findings)
    failing = tuple(code for code in asked if code in found)
    return AuditedImages(
        target, looked.audit, looked.findings, failing, looked.source, len(looked.audit.case)
    )


def write_audit(found: Audit, cohort: Cohort, folder: Path, *, seed: int) -> tuple[Finding, ...]:
    """Write ``audit.json``, the near-duplicates and the split by group of a cohort; return the findings.

    Parameters
    ----------
    cohort : as it was audited, under its own groups.
    seed : of the split by group; it is left out, silently, where the cohort has no train, val and test.
    """
    every = findings(found, cohort.images, own_group=cohort.group)
    _write_findings(found, every, cohort.source, folder)
    if {"train", "val", "test"} == set(cohort.split.tolist()):
        redrawn = grouped(cohort, found, seed=seed)
        _write_split(cohort, redrawn, folder / f"{cohort.source.dataset}_grouped_split.csv")
    return every


def draw_audit(found: Audit, images: Images, folder: Path, *, condition: str = "", notice: str = "") -> None:
    """Draw the near-duplicates, the pairs around the threshold, and the gap that the threshold rests on."""
    from clineval.reporting import data_plots

    about = {"condition": condition, "notice": notice}
    data_plots.write_gallery_of_duplicates(found, images, folder / "duplicates.png", **about)
    data_plots.write_gallery_at_threshold(found, images, folder / "duplicates_threshold.png", **about)
    data_plots.write_nearest(found, folder / "duplicates_similarity.png", notice=notice)


def _look_at_dataset(
    dataset: str,
    condition: str | None,
    size: int,
    seed: int,
    threshold: float | None,
    folder: Path,
    announce: Announce,
) -> _Looked:
    announce("Loading")
    cohort = load_cohort(dataset, size=size, seed=seed, condition=condition, announce=announce)
    found = audit(cohort, threshold=threshold, progress=announce("Comparing"))
    every = write_audit(found, cohort, folder, seed=seed)
    return _Looked(found, every, cohort.images, cohort.condition, cohort.source)


def _read(source: Path, target: Path, announce: Announce) -> OwnImages:
    """The user's images, which must not lie where the findings are to."""
    own = read_own_images(source, progress=announce("Reading"))
    require_apart(target, *own.folders)
    return own


def _look_at_own_images(own: OwnImages, threshold: float | None, announce: Announce) -> _Looked:
    found = audit_images(
        own.images,
        case=own.case,
        split=own.split,
        outcome=own.outcome,
        group=own.group,
        fingerprint=own.fingerprint,
        threshold=threshold,
        progress=announce("Comparing"),
    )
    every = [*findings(found, own.images, own_group=own.group, marked=own.marked), *_about_files(own)]
    return _Looked(found, in_order(every), own.images, "", own.source)


def _about_files(own: OwnImages) -> list[Finding]:
    nothing = float("nan")
    every = [Finding("AUD014", (file.case,), nothing, file.reason) for file in own.unreadable]
    if own.sizes > 1:
        words = f"{own.sizes} different sizes; compared as squares of {own.images.shape[1]} pixels"
        every.append(Finding("AUD015", (), nothing, words))
    if own.passed_over:
        every.append(Finding("AUD016", (), nothing, own.passed_over))
    return every


def _write_findings(found: Audit, every: Sequence[Finding], source: Source, folder: Path) -> None:
    record = {
        **found.to_json(),
        "notice": source.notice,
        "counts": counts(every),
        "findings": [finding.to_json() for finding in every],
    }
    write_json(record, folder / "audit.json", indent=2)
    group = dict(zip(found.case.tolist(), found.group_of.tolist(), strict=True))
    rows = (_pair_row(pair, group[pair.cases[0]]) for pair in found.pairs)
    _write_csv(folder / f"{source.dataset}_near_duplicates.csv", PAIR_COLUMNS, rows)
    lines = (
        (f.code, f.kind.severity, f.kind.title, as_cell(" ".join(f.cases)), f.similarity, f.words)
        for f in every
    )
    _write_csv(
        folder / "audit_findings.csv", ("code", "severity", "title", "cases", "similarity", "words"), lines
    )


def _pair_row(pair: Pair, group: str) -> tuple[Any, ...]:
    outcomes = ("", "") if pair.outcomes is None else pair.outcomes
    return (
        *map(as_cell, pair.cases),
        *(text_cell(str(word)) for word in (*pair.splits, *outcomes)),
        pair.similarity,
        pair.detail,
        pair.kind,
        int(pair.contradictory),
        int(pair.across_splits),
        pair.alignment.dy,
        pair.alignment.dx,
        int(pair.alignment.flipped),
        as_cell(group),
    )


def _write_split(cohort: Cohort, redrawn: Cohort, path: Path) -> None:
    columns = (redrawn.case, cohort.split, redrawn.split, redrawn.group, redrawn.outcome.astype(int))
    rows = zip(*(_plain(column) for column in columns), strict=True)
    _write_csv(path, ("case", "official_split", "grouped_split", "group", "outcome"), rows)


def _plain(column: NDArray[np.generic]) -> list[Any]:
    return column.tolist()


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(CsvRows(file))
        writer.writerow(header)
        writer.writerows(rows)


MEASURING = "Measuring border, marks, size and focus of the pictures"


def write_run_probes(
    cohort: Cohort,
    read: OwnCohort | None,
    table: pd.DataFrame,
    evaluation: "Evaluation",
    settings: EvaluationSettings,
    folder: Path,
    *,
    announce: Announce,
) -> None:
    """Write ``probes.json``: the primary model beside the pictures, out of fold on train and on test.

    Parameters
    ----------
    cohort : the run's; ``read`` the files of its cases, where they are a user's own. Of other sets the
        squares are measured, in which size and aspect are the same.
    table : the run's predictions, as read back.
    """
    from clineval.evaluation.external import probes_record  # the audit of images needs no statistics
    from clineval.reporting.artefacts import PROBES

    quantities = _by_case(cohort, read, announce)
    model = evaluation.primary.model if evaluation.primary is not None else str(table["model"].iloc[0])
    record = {}
    for population in (OUT_OF_FOLD, TEST):
        rows = table[(table["model"] == model) & (table["split"] == population)]
        if not len(rows) or rows["outcome"].nunique() < 2:
            continue
        measured = quantities.loc[rows["case"]]
        record[population] = probes_record(
            rows["outcome"].to_numpy(bool),
            rows["risk"].to_numpy(np.float64),
            {str(name): measured[name].to_numpy(np.float64) for name in measured},
            group=rows["group"].to_numpy() if "group" in rows else rows["case"].to_numpy(),
            model=model,
            settings=settings,
        )
    write_json(record, folder / PROBES)


def _by_case(cohort: Cohort, read: OwnCohort | None, announce: Announce) -> pd.DataFrame:
    """The quantities of every picture, a row for each case by its name."""
    progress = announce(MEASURING)
    if read is not None:
        found = file_quantities(read.paths, bits=read.bits, progress=progress)
        return pd.DataFrame(found, index=read.cohort.case)
    rows = []
    for done, image in enumerate(cohort.images, start=1):
        rows.append(picture_quantities(Image.fromarray(image)))
        if done % 100 == 0 or done == len(cohort):
            progress(done, len(cohort))
    return pd.DataFrame(np.array(rows), columns=list(QUANTITIES), index=cohort.case)
