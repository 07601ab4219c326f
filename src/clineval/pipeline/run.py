"""The work of clineval run, train, explore and fetch: data, audit, models, evaluation, report."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval import results
from clineval.data import load_cohort, medmnist
from clineval.data.audit import Audit, apply_split, audit, check_way
from clineval.data.cohort import Cohort, Exploration, Source, by_group
from clineval.data.cohort import explore as explore_cohort
from clineval.data.medmnist import STANDARD
from clineval.data.medmnist_files import SIZES, UNWRITABLE, Unavailable
from clineval.data.own_images import OWN, OwnCohort, draw_samples, read_own_cohort
from clineval.errors import Announce, InputError, Progress, checked_seed, option, require_extra, silent
from clineval.evaluation import Evaluation
from clineval.evaluation.curves import Curves, curves
from clineval.evaluation.operating_points import given_point, parse_rule
from clineval.evaluation.records import SiteStudy
from clineval.evaluation.sites import site_rows
from clineval.files import PREDICTIONS, write_json
from clineval.models.classifier import KINDS, Given, ModelSource, given_model, parts_of_combined, ready
from clineval.models.ensemble import check_device, check_early_stopping, check_names, check_own_name
from clineval.models.parallel import beside, checked_workers, load_training
from clineval.models.user_model import TIMEOUT
from clineval.pipeline.audit import draw_audit, write_audit, write_run_probes
from clineval.pipeline.explain import write_test_maps
from clineval.pipeline.scoring import open_and_score
from clineval.pipeline.train import (
    COMBINATION,
    FinalModel,
    check_sites,
    seed_differences,
    train_all,
    training_seconds,
    write_left_out_sites,
    write_tables,
)
from clineval.predictions import read_predictions
from clineval.results.folder import replace_folder, require_apart
from clineval.settings import OwnSettings, RunSettings
from clineval.tables import own_table
from clineval.tables.columns import ALIKE, OTHERS, SHORTENED
from clineval.tables.own_table import Columns


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
    InputError : the table or an image is not fit, a split is missing or holds one class only, or the size
        is none that the models know.
    """
    given = settings.data.own or OwnSettings()
    if settings.data.size not in SIZES:
        sizes = ", ".join(str(size) for size in SIZES)
        raise InputError(
            f"{option('--size')} needs one of {sizes} (pixels per side); got {settings.data.size}."
        )
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
    if settings.data.site_column is not None:
        check_sites(cohort.select(cohort.within("train", "val")), settings.data.site_column)
    return replace(read, cohort=cohort)


def draw_check_strip(own: OwnCohort, folder: Path) -> None:
    """Draw ``check_strip.png``: some images as they were given beside what the models see, by scanner."""
    from clineval.reporting.data_plots import write_check_strip

    source = own.cohort.source
    write_check_strip(
        draw_samples(own),
        folder / "check_strip.png",
        preparation=source.preparation,
        condition=own.cohort.condition,
        notice=source.notice,
    )


def _divided(cohort: Cohort, settings: RunSettings, given: OwnSettings, announce: Announce) -> Cohort:
    present = set(cohort.split.tolist())
    if given.split_column is not None and not {"train", "test"} <= present:
        found = ", ".join(sorted(present))
        raise InputError(
            f"{option('--split-column')} needs train and test among its values (val is optional); "
            f"got {found}."
        )
    if "val" in present:
        return cohort
    progress = announce("Looking for near-duplicates, so that none are separated")
    group = audit(cohort, threshold=settings.audit.threshold, progress=progress).group_of
    seed = settings.training.seed
    if given.split_column is None:
        shares = (given.val_share, given.test_share)
        split = by_group(cohort.outcome, group, shares=shares, seed=seed)
        return _noted(replace(cohort, split=split), "Train, val and test were made by group", given)
    split = cohort.split.astype("U5")
    train = np.flatnonzero(split == "train")
    of_train = (min(0.5, given.val_share * len(cohort) / len(train)), 0.0)
    split[train] = by_group(cohort.outcome[train], group[train], shares=of_train, seed=seed)
    return _noted(replace(cohort, split=split), "Val was drawn from train by group", given)


def _noted(cohort: Cohort, how: str, given: OwnSettings) -> Cohort:
    patients = (
        f"column {given.group_column} joined with near-duplicates"
        if given.group_column
        else "near-duplicates only"
    )
    note = f"{how} ({patients}), stratified by outcome, from the run's seed."
    return replace(cohort, source=replace(cohort.source, notes=(*cohort.source.notes, note)))


def _check_classes(cohort: Cohort) -> None:
    for name in ("train", "val", "test"):
        outcome: NDArray[np.bool_] = cohort.outcome[cohort.within(name)]
        if not outcome.any() or outcome.all():
            raise InputError(
                f"{cohort.source.file}: each of train, val and test needs cases with and without "
                f"{cohort.condition}; {name} has {int(outcome.sum())} of {len(outcome)} with it. "
                f"Fix the splits, or leave {option('--split-column')} out to have them made."
            )


FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Finished:
    """Where results lie, and the cohort that they are of."""

    folder: Path
    cohort: Cohort


@dataclass(frozen=True)
class FinishedRun(Finished):
    """What a run made and where it lies."""

    audit: Audit
    evaluation: Evaluation


def run(
    settings: RunSettings = RunSettings(),  # noqa: B008 - frozen
    *,
    own: OwnImages | None = None,
    models: Mapping[str, ModelSource] | None = None,
    model_timeout: float = TIMEOUT,
    check_seed: bool = False,
    out: Path | None = None,
    jobs: int | None = None,
    formats: Sequence[str] = ("png",),
    force: bool = False,
    resume: bool = False,
    command: Iterable[str] = ("clineval", "run"),
    announce: Announce = silent,
    warn: Callable[[str], None] = lambda notice: None,
) -> FinishedRun:
    """Take a data set from images to a report; the folder appears whole or not at all.

    Parameters
    ----------
    own : a user's own images, in place of the data set that the settings name.
    models : models of the user's beside those of the settings: by name ``FILE.py:FACTORY``,
        ``package.module:FACTORY`` or a factory itself, a function of a seed (imported by name and trained in
        a process of its own; one that no file leads to is trained in this process), or ``FILE.onnx``.
    model_timeout : seconds that one training of a Python model may take, and the scoring of all images by a
        graph.
    check_seed : train the first fold of each Python model twice; say whether its risks are the same.
    out : results folder; by default ``results``, ``results-phantom`` for phantom data, or
        ``results-own`` for a user's images.
    jobs : trainings at once, at least 1; all cores by default. With 1 all is done in this process. The
        numbers do not depend on it.
    formats : figure formats, of png, svg and pdf.
    resume : reuse the trainings that an interrupted run of the same settings finished.
    command : the words to record in the provenance.
    announce : called with each step's name; returns the step's ``progress(done, total)``.
    warn : called with what must be known: before anything is trained that data are synthetic, and after
        it of models that give other risks for the same seed.

    Raises
    ------
    InputError : a setting, the data, or the output folder is not fit.
    """
    check_formats(formats)
    require_extra("train", for_what="run, which trains models,")
    sources = models or {}
    learning = _check_models(settings, sources, check_seed=check_seed)
    _check_training(settings, jobs)
    recorder = results.Recorder()
    with recorder.step("load"):
        read = load_own(own, settings, announce=announce) if own is not None else None
        cohort = load(settings, colour=bool(learning), announce=announce) if read is None else read.cohort
    for line in (cohort.source.notice, *said_first(cohort)):
        if line:
            warn(line)
    given = [
        given_model(name, source, cohort, timeout=model_timeout, check_seed=check_seed)
        for name, source in sources.items()
    ]
    for line in trained_here(given):
        warn(line)
    settings = _named(settings, cohort, given)
    target = results_folder(out, cohort.source)
    if own is not None and read is not None:
        require_apart(target, own.table, own.folder, *read.folders)
    with ready(given), replace_folder(target, kind="run", force=force) as folder:
        finished = _finished_members(target, keep=resume)
        with recorder.step("audit"), _loading_what_trains(settings.training.models, jobs):
            whole = cohort
            findings, cohort = audit_and_group(cohort, settings, folder, announce=announce)
        with recorder.step("explore"):
            exploration = write_exploration(cohort, folder)
        with recorder.step("train"):
            trained = train_all(
                cohort, findings, settings, given=given, jobs=jobs, finished=finished, announce=announce
            )
            write_tables(trained, folder)
            recorder.training.update(training_seconds(trained))
            recorder.seed_differences.update(seed_differences(trained))
        for line in _seeds_checked(recorder.seed_differences):
            warn(line)
        if settings.data.site_column is not None:
            with recorder.step("sites"):
                write_left_out_sites(
                    cohort, settings, folder, given=given, jobs=jobs, finished=finished, announce=announce
                )
        of_data = partial(
            draw_data, folder, whole, cohort, findings, exploration, models=trained, own=read, formats=formats
        )
        with recorder.step("evaluate"), beside(of_data, workers=jobs):
            table = read_predictions(folder / PREDICTIONS)
            evaluation = open_test(folder, cohort, settings, table=table, announce=announce)
            lines = curves(table, evaluation)
        if settings.probes:
            with recorder.step("probes"):
                write_run_probes(
                    cohort, read, table, evaluation, settings.evaluation, folder, announce=announce
                )
        announce("Drawing figures, checking maps")
        of_models = partial(
            draw_models, folder, table, evaluation, lines, exploration, cohort, formats=formats
        )
        with recorder.step("draw"), beside(of_models, workers=jobs):
            write_test_maps(folder, cohort, table=table, evaluation=evaluation)
            if evaluation.sites is not None:
                write_sites(evaluation.sites, folder, formats=formats, notice=whole.source.notice)
        with recorder.step("report"):
            results.seal(folder, facts("run", command, settings, cohort, recorder))
            write_words(folder, lines, table=table, announce=announce)
        results.seal(folder, facts("run", command, settings, cohort, recorder))
    shutil.rmtree(finished, ignore_errors=True)
    return FinishedRun(target, cohort, findings, evaluation)


def explore(
    settings: RunSettings,
    *,
    out: Path | None = None,
    force: bool = False,
    command: Iterable[str] = ("clineval", "explore"),
    announce: Announce = silent,
) -> Finished:
    """Write ``exploration.json`` and its figures. Raises as ``run`` does."""
    recorder = results.Recorder()
    with recorder.step("load"):
        cohort = load(settings, announce=announce)
    target = results_folder(out, cohort.source)
    with replace_folder(target, kind="explore", force=force) as folder:
        with recorder.step("explore"):
            exploration = write_exploration(cohort, folder)
        with recorder.step("draw"):
            from clineval.reporting.figures import write_exploration_figures

            write_exploration_figures(folder, exploration, cohort)
        results.seal(folder, facts("explore", command, settings, cohort, recorder))
    return Finished(target, cohort)


def train(
    settings: RunSettings,
    *,
    out: Path | None = None,
    jobs: int | None = None,
    force: bool = False,
    resume: bool = False,
    command: Iterable[str] = ("clineval", "train"),
    announce: Announce = silent,
) -> Finished:
    """Write models and the risks on train and val, none on test. Raises as ``run`` does."""
    require_extra("train", for_what="train")
    _check_training(settings, jobs)
    recorder = results.Recorder()
    with recorder.step("load"):
        cohort = load(settings, announce=announce)
    target = results_folder(out, cohort.source)
    with replace_folder(target, kind="train", force=force) as folder:
        finished = _finished_members(target, keep=resume)
        with recorder.step("audit"):
            findings, cohort = audit_and_group(cohort, settings, folder, announce=announce)
        with recorder.step("train"):
            models = train_all(cohort, findings, settings, jobs=jobs, finished=finished, announce=announce)
        with recorder.step("table"):
            write_tables(models, folder, leave_out="test")
        results.seal(folder, facts("train", command, settings, cohort, recorder))
    shutil.rmtree(finished, ignore_errors=True)
    return Finished(target, cohort)


def load(settings: RunSettings, *, colour: bool = False, announce: Announce = silent) -> Cohort:
    """The cohort that the settings name; its source says whether it is real.

    ``colour`` keeps the images of a set in colour for models that take them so.
    """
    announce("Loading the images")
    return load_cohort(
        settings.data.dataset,
        size=settings.data.size,
        seed=settings.training.seed,
        condition=settings.data.condition,
        colour=colour,
        announce=announce,
    )


def _loading_what_trains(names: Sequence[str], jobs: int | None) -> AbstractContextManager[None]:
    """Load beside the block what trains a network; other models need nothing that takes seconds."""
    networks = any(KINDS[name].join is not None for name in names)
    return beside(load_training, workers=jobs) if networks else nullcontext()


def trained_here(given: Iterable[Given]) -> list[str]:
    """What a user should know of models that are trained in the process of the program itself."""
    return [
        f"Model {model.name} is trained in this process, one training at a time and without "
        f"{option('--model-timeout')}: its factory is in no file that could be imported by another process."
        for model in given
        if model.call is not None
    ]


def _is_onnx(source: ModelSource) -> bool:
    return isinstance(source, str) and source.lower().endswith(".onnx")


def _seeds_checked(differences: Mapping[str, float]) -> Iterable[str]:
    return (
        f"Model {name} gives other risks for the same seed: its first fold, trained twice, differs by up to "
        f"{difference:.2g}. Its figures cannot be repeated exactly."
        if difference > 0
        else f"Model {name}: same seed, same risks: checked."
        for name, difference in differences.items()
    )


def said_first(cohort: Cohort) -> list[str]:
    """What a user should know first: columns left out, values spelt in two ways, more than two outcomes."""
    said = (own_table.NOTE, ALIKE, OTHERS, SHORTENED)
    return [note for note in cohort.source.notes if any(words in note for words in said)]


def results_folder(out: Path | None, source: Source) -> Path:
    """Where results go: ``out`` where given, and by default one folder each for real, phantom, own data."""
    by_default = (
        "results-phantom" if source.synthetic else f"results-{OWN}" if source.dataset == OWN else "results"
    )
    return Path(out if out is not None else by_default)


def audit_and_group(
    cohort: Cohort, settings: RunSettings, folder: Path, *, announce: Announce = silent
) -> tuple[Audit, Cohort]:
    """Audit the images, write what was found, and return the cohort under its duplicate groups."""
    findings = audit(cohort, threshold=settings.audit.threshold, progress=announce("Auditing the images"))
    write_audit(findings, cohort, folder, seed=settings.training.seed)
    grouped = cohort.with_groups(findings.group_of)
    return findings, apply_split(grouped, findings, settings.data.split, seed=settings.training.seed)


def _named(settings: RunSettings, cohort: Cohort, given: Sequence[Given]) -> RunSettings:
    """The settings with the user's models, and with the data set that ``auto`` found.

    Asking for the set by name is no other setting. Phantoms that stand in for it keep ``auto``, and with it
    the reason why.
    """
    described = tuple(model.about for model in given)
    settings = replace(settings, training=replace(settings.training, given=described))
    if settings.data.dataset != "auto" or cohort.source.dataset != STANDARD:
        return settings
    return replace(settings, data=replace(settings.data, dataset=STANDARD))


def write_sites(
    study: SiteStudy, folder: Path, *, formats: Sequence[str] = ("png",), notice: str = ""
) -> None:
    """Write ``sites.csv`` and the forest plots."""
    from clineval.reporting.figures import write
    from clineval.reporting.sites import write_site_figures

    write(pd.DataFrame(site_rows(study)), folder / "sites.csv")
    write_site_figures(study, folder, formats=tuple(formats), notice=notice)


def write_exploration(cohort: Cohort, folder: Path) -> Exploration:
    """Describe the images in numbers and write ``exploration.json``."""
    exploration = explore_cohort(cohort)
    write_json(exploration.to_json(), folder / "exploration.json", indent=2)
    return exploration


def open_test(
    folder: Path,
    cohort: Cohort,
    settings: RunSettings,
    *,
    table: pd.DataFrame | None = None,
    announce: Announce = silent,
) -> Evaluation:
    """Open the test set: the ledger's line first, then the scores of the table as it lies on disk.

    ``table`` is what was read from the folder before, where it is at hand.
    """
    chosen = asdict(settings)
    frozen = {
        "dataset": cohort.source.dataset,
        "data_sha256": cohort.source.sha256,
        "settings": chosen,
        "settings_sha256": results.hash_settings(chosen),
        "models_sha256": results.hash_settings(results.hash_folder(folder / "models")),
    }
    return open_and_score(
        folder,
        chosen["evaluation"],
        condition=cohort.condition,
        frozen=frozen,
        table=table,
        progress=announce("Scoring the table, test included"),
    )


def draw_data(
    folder: Path,
    whole: Cohort,
    cohort: Cohort,
    findings: Audit,
    exploration: Exploration,
    *,
    models: Sequence[FinalModel],
    own: OwnCohort | None,
    formats: Sequence[str],
) -> None:
    """Draw the figures of audit, exploration and learning, which no score is in.

    ``whole`` is the cohort that was audited, ``own`` a user's images as they were read.
    """
    from clineval.reporting.figures import write_exploration_figures

    draw_audit(findings, whole.images, folder, condition=whole.condition, notice=whole.source.notice)
    learnt = [curve for model in models if model.name == "cnn" for curve in model.learning_curves]
    write_exploration_figures(folder, exploration, cohort, learning_curves=learnt, formats=formats)
    if own is not None:
        draw_check_strip(own, folder)


def draw_models(
    folder: Path,
    table: pd.DataFrame,
    evaluation: Evaluation,
    lines: Curves,
    exploration: Exploration,
    cohort: Cohort,
    *,
    formats: Sequence[str],
    progress: Progress | None = None,
) -> None:
    """Draw the figures of the evaluation, and collect the images that the report shows."""
    from clineval.reporting.artefacts import write_gallery
    from clineval.reporting.figures import write_figures

    write_figures(
        folder,
        table=table,
        evaluation=evaluation,
        curves=lines,
        cohort=cohort,
        formats=formats,
        progress=progress,
    )
    write_gallery(folder, cohort=cohort, table=table, evaluation=evaluation, exploration=exploration)


def write_words(
    folder: Path,
    lines: Curves | None = None,
    *,
    table: pd.DataFrame | None = None,
    announce: Announce = silent,
) -> None:
    """Write checklist, model card and report from what lies in the folder.

    ``lines`` and ``table`` are those of the folder where they are at hand: they save time.
    """
    from clineval.reporting.artefacts import read_artefacts
    from clineval.reporting.model_card import write_checklist, write_model_card
    from clineval.reporting.report import write_report

    progress = announce("Writing the report")
    artefacts = read_artefacts(folder, table=table)
    write_checklist(folder, artefacts)
    progress(1, 3)
    write_model_card(folder, artefacts)
    progress(2, 3)
    write_report(folder, artefacts, curves=lines)
    progress(3, 3)


def facts(
    kind: str, command: Iterable[str], settings: RunSettings, cohort: Cohort, recorder: results.Recorder
) -> dict[str, Any]:
    """The provenance of a folder, less the hashes of what lies in it."""
    source = {"condition": cohort.condition, **asdict(cohort.source), "notice": cohort.source.notice}
    return results.describe(
        kind=kind, command=command, settings=asdict(settings), source=source, recorder=recorder
    )


def _finished_members(target: Path, *, keep: bool) -> Path:
    """Where finished trainings wait beside the results, so that a killed run can go on."""
    folder = target.with_name(f".{target.name}.members")
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def check_formats(formats: Sequence[str]) -> None:
    """Refuse unknown figure formats before anything is computed."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or "png" not in formats:
        raise InputError(
            f"Figures are needed as png, with svg or pdf beside it; got {', '.join(formats) or 'nothing'}. "
            f"Say for example: {option('--figures png,svg,pdf', 'formats=png,svg,pdf')}"
        )


def _check_models(
    settings: RunSettings, sources: Mapping[str, ModelSource], *, check_seed: bool
) -> tuple[str, ...]:
    """Refuse unknown models, impossible thresholds and an unknown primary model before anything is loaded.

    The answer is the names of the user's models that learn in the run.
    """
    for name in sources:
        check_own_name(name)
    if settings.training.models or not sources:
        check_names(settings.training.models)
    asked, trained = settings.evaluation, (*settings.training.models, *sources)
    for threshold in asked.thresholds:
        given_point(threshold)
    for rule in asked.threshold_rules:
        parse_rule(rule)
    known = (*trained, COMBINATION) if parts_of_combined(trained) else trained
    if asked.primary is not None and asked.primary not in known:
        raise InputError(f"{option('--primary')} needs one of {', '.join(known)}; got {asked.primary!r}.")
    learning = tuple(name for name, source in sources.items() if not _is_onnx(source))
    if settings.data.site_column is not None and not (settings.training.models or learning):
        raise InputError(f"{option('--site-column')} expects a model that is trained in this run; got none.")
    if check_seed and not learning:
        example = option("--model NAME=FILE.py:FACTORY", "in models")
        raise InputError(f"{option('--check-seed')} expects a Python model, {example}; got none.")
    return learning


def _check_training(settings: RunSettings, jobs: int | None) -> None:
    """Refuse an unknown split, device or early stopping, and jobs or seeds out of range, before loading."""
    check_way(settings.data.split)
    check_device(settings.training.device)
    check_early_stopping(settings.training.early_stopping)
    checked_workers(jobs)
    for seed in (settings.training.seed, settings.evaluation.seed):
        checked_seed(seed)


def fetch_file(
    dataset: str = "breastmnist",
    *,
    size: int = 28,
    folder: Path | None = None,
    address: str | None = None,
    announce: Announce = silent,
) -> Path:
    """The official file of a data set in ``folder`` (default: the cache), downloaded if it is not there.

    ``address`` replaces the official folder of the files (a mirror); ``announce`` hears of each
    attempt, and its progress gets bytes done and bytes in all.

    Raises
    ------
    InputError : unknown name or size, a wrong file already there, or the file cannot be had (with remedies).
    """
    if dataset == "phantom":
        raise InputError("fetch needs a data set to download; the phantom set is drawn where it is used.")
    name = "breastmnist" if dataset == "auto" else dataset
    try:
        return medmnist.fetch(name, size=size, folder=folder, address=address, announce=announce)
    except Unavailable as failure:
        if folder is not None and failure.cause.startswith(UNWRITABLE):
            raise InputError(
                f"{option('--to', 'folder')} {folder}: {failure.cause}; choose another folder."
            ) from failure
        raise
