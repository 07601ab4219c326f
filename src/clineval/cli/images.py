"""Commands that look at images and train on them: fetch, explore, audit, run, train, study."""

from pathlib import Path
from typing import Annotated

import typer

from clineval.cli.console import (
    FOUND,
    complain,
    display,
    notify,
    say,
    show_answer,
    show_findings,
    show_study,
    study_display,
)
from clineval.cli.options import (
    Bits,
    Condition,
    Dataset,
    Device,
    Figures,
    Force,
    GroupColumn,
    ImageColumn,
    ImageFolder,
    Jobs,
    Models,
    ModelTimeout,
    Only,
    Out,
    OutcomeColumn,
    OwnModels,
    Positive,
    Primary,
    Probes,
    Resume,
    RunOut,
    Seed,
    Size,
    Split,
    TableToo,
    Threshold,
    ThresholdRule,
    comma_list,
    command,
    named_sources,
    numbers,
    run_settings,
    seed_list,
)
from clineval.errors import InputError, checked_seed
from clineval.files import REPORT


def fetch(
    dataset: Annotated[str, typer.Option(help="Data set to download.")] = "breastmnist",
    size: Size = 28,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the file.", show_default="the cache")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Folder of the files on a mirror.", metavar="URL", show_default="the record"),
    ] = None,
) -> None:
    """Download BreastMNIST, or another 2-D MedMNIST set, and check it against its published checksum.

    Examples:
      clineval fetch --size 64
      clineval fetch --dataset pneumoniamnist
    """
    from clineval.pipeline.run import fetch_file

    with display() as announce:
        path = fetch_file(dataset, size=size, folder=to, address=address, announce=announce)
    say(f"{path} is there, its checksum as published.")


def explore(
    dataset: Dataset = "auto",
    size: Size = 28,
    condition: Condition = None,
    seed: Seed = 0,
    out: Out = None,
    force: Force = False,
) -> None:
    """Counts, prevalence, intensities and differences between the splits; no model.

    Examples:
      clineval explore --out exploration
      clineval explore --dataset dermamnist --condition melanoma --out skin
    """
    from clineval.pipeline.run import explore as explore_pipeline

    with display() as announce:
        explored = explore_pipeline(
            run_settings(dataset=dataset, size=size, condition=condition, seed=seed),
            out=out,
            force=force,
            command=command(),
            announce=announce,
        )
    say(explored.cohort.source.notice, style="bold red")
    say(f"Exploration: {explored.folder / 'exploration.json'} and the figures beside it")


def audit(
    images: Annotated[
        Path | None,
        typer.Argument(help="A folder of images, or a CSV that names them.", show_default="a data set"),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="auto, phantom, breastmnist or another MedMNIST set, instead of images of your own."
        ),
    ] = None,
    condition: Condition = None,
    size: Annotated[
        int | None, typer.Option(help="Pixels per side of a data set: 28, 64, 128 or 224.", show_default="28")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Least similarity of a near-duplicate.", show_default="read off the data"),
    ] = None,
    fail_on: Annotated[
        str, typer.Option(help="Codes such as AUD001,AUD003: exit 4 where one of them is found.")
    ] = "",
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the split by group of a data set.", show_default="0", callback=checked_seed
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the findings.", show_default="results-audit")
    ] = None,
    force: Force = False,
) -> None:
    """Near-duplicate images, near-duplicates across splits, contradictory labels, single images worth a look.

    A CSV needs a column image (or file, filename, path). Columns split (or
    set), outcome (or label) and group (or patient, patient_id) are used where
    they are there. In a folder, subfolders named train, val and test are the splits.

    Codes:
      AUD001 contradictory labels           AUD002 near-duplicate across train and test
      AUD003 near-duplicate across val and test       AUD004 near-duplicate across other splits
      AUD005 one patient in several splits  AUD006 byte-identical images
      AUD007 near-duplicate images          AUD008 chained group
      AUD009 near-duplicate that detail does not confirm
      AUD010 blank image                    AUD011 saturated image
      AUD012 text or measuring marks burnt in
      AUD013 unlike the rest                AUD014 unreadable file
      AUD015 images of different sizes      AUD016 files passed over

    Examples:
      clineval audit --dataset breastmnist --out audit
      clineval audit my-images/ --fail-on AUD001,AUD003
    """
    from clineval.pipeline.audit import audit_source

    if images is not None and not (condition is None and size is None and seed is None):
        raise InputError(
            "--condition, --size and --seed are for data sets; images of your own need none of them."
        )
    with display() as announce:
        audited = audit_source(
            images,
            dataset=dataset,
            condition=condition,
            size=28 if size is None else size,
            seed=seed or 0,
            threshold=threshold,
            fail_on=comma_list(fail_on),
            out=out,
            force=force,
            command=command(),
            announce=announce,
        )
    say(audited.source.notice, style="bold red")
    say(f"{audited.cases} images. Threshold: {audited.audit.threshold.reason}")
    show_findings(audited.findings)
    say(f"Findings: {audited.folder / 'audit.json'} and the galleries beside it")
    if audited.failing:
        complain(f"found {', '.join(audited.failing)}, as named by --fail-on")
        raise typer.Exit(FOUND)


def run(
    dataset: Dataset = "auto",
    size: Size = 28,
    split: Split = "official",
    condition: Condition = None,
    cohort: Annotated[
        Path | None,
        typer.Option(help="Images of your own: a CSV or Parquet table, one row per image.", metavar="TABLE"),
    ] = None,
    image_folder: ImageFolder = None,
    image_column: ImageColumn = "image",
    outcome_column: OutcomeColumn = "outcome",
    positive: Positive = "1",
    group_column: GroupColumn = None,
    split_column: Annotated[
        str | None,
        typer.Option(help="Column with train, val, test.", show_default="made by group, stratified"),
    ] = None,
    site_column: Annotated[
        str | None,
        typer.Option(
            help="Column that says where, or with which scanner, each image was taken: each site is also "
            "left out once, and scored by models trained on the others."
        ),
    ] = None,
    fit: Annotated[str, typer.Option(help="crop (middle square, as BreastMNIST), top, or pad.")] = "crop",
    bits: Bits = 16,
    models: Models = "logreg,cnn,scattering",
    model: OwnModels = None,
    only: Only = False,
    model_timeout: ModelTimeout = 3600.0,
    check_seed: Annotated[
        bool,
        typer.Option("--check-seed", help="Train the first fold of a Python model twice; say what differs."),
    ] = False,
    threshold: Threshold = None,
    primary: Primary = None,
    threshold_rule: ThresholdRule = None,
    probes: Probes = False,
    seed: Seed = 0,
    jobs: Jobs = None,
    device: Device = "cpu",
    early_stopping: Annotated[
        str, typer.Option(help="guard (patience sized to the schedule) or strict.")
    ] = "guard",
    figures: Figures = "png",
    table: TableToo = False,
    out: RunOut = None,
    force: Force = False,
    resume: Resume = False,
) -> None:
    """The whole job: data, audit, models, evaluation, figures and report.

    Examples:
      clineval run --out my-results
      clineval run --dataset breastmnist --jobs 2 --out my-results
      clineval run --dataset phantom --seed 7
      clineval run --dataset dermamnist --condition melanoma
      clineval run --size 224 --models logreg,cnn,scattering,transfer
      clineval run --model mine=my_model.py:make --model frozen=net.onnx
      clineval run --cohort my.csv --image-folder images \\
        --outcome-column pathology --positive malignant
    """
    from clineval.pipeline.run import OwnImages
    from clineval.pipeline.run import run as run_pipeline
    from clineval.settings import OwnSettings

    if cohort is not None and dataset != "auto":
        raise InputError(f"run expects either --cohort or --dataset; got {cohort.name} and {dataset}.")
    own = OwnSettings(image_column, outcome_column, positive, group_column, split_column, fit, bits)
    settings = run_settings(
        dataset=dataset if cohort is None else "own",
        size=size,
        split=split,
        condition=condition,
        own=None if cohort is None else own,
        site_column=site_column,
        seed=seed,
        device=device,
        early_stopping=early_stopping,
        thresholds=tuple(threshold or ()),
        primary=primary,
        threshold_rules=tuple(threshold_rule or ()),
        models=() if only else comma_list(models),
        probes=probes,
    )
    with display() as announce:
        finished = run_pipeline(
            settings,
            own=None if cohort is None else OwnImages(cohort, image_folder),
            models=named_sources(model or []),
            model_timeout=model_timeout,
            check_seed=check_seed,
            out=out,
            jobs=jobs,
            formats=comma_list(figures),
            force=force,
            resume=resume,
            command=command(),
            announce=announce,
            warn=notify,
        )
    say(finished.cohort.source.notice, style="bold red")
    show_answer(finished.evaluation, finished.folder / REPORT, table=table)


def train(
    dataset: Dataset = "auto",
    size: Size = 28,
    split: Split = "official",
    condition: Condition = None,
    models: Models = "logreg,cnn,scattering",
    seed: Seed = 0,
    jobs: Jobs = None,
    device: Device = "cpu",
    early_stopping: Annotated[str, typer.Option(help="guard or strict.")] = "guard",
    out: Out = None,
    force: Force = False,
    resume: Resume = False,
) -> None:
    """Train the models and write models/ and their risks on train and val; the test set stays sealed.

    Example:
      clineval train --out trained
    """
    from clineval.pipeline.run import train as train_pipeline

    settings = run_settings(
        dataset=dataset,
        size=size,
        split=split,
        condition=condition,
        seed=seed,
        device=device,
        early_stopping=early_stopping,
        models=comma_list(models),
    )
    with display() as announce:
        trained = train_pipeline(
            settings, out=out, jobs=jobs, force=force, resume=resume, command=command(), announce=announce
        )
    say(trained.cohort.source.notice, style="bold red")
    say(f"Models: {trained.folder / 'models'}; risks on train and val: {trained.folder / 'predictions.csv'}")


def study(
    models: Annotated[
        str,
        typer.Option(
            help="Comma-separated.", show_default="all of them: logreg, cnn_single, cnn, scattering, combined"
        ),
    ] = "logreg,cnn_single,cnn,scattering,combined",
    model: OwnModels = None,
    only: Only = False,
    model_timeout: ModelTimeout = 3600.0,
    seeds: Annotated[str, typer.Option(help="Each training is repeated with each, e.g. 0,1 or 0-9.")] = "0",
    folds: Annotated[int, typer.Option(help="Grouped folds; each is held out once per repeat.")] = 5,
    repeats: Annotated[int, typer.Option(help="Times that the folds are redrawn.")] = 2,
    variants: Annotated[str, typer.Option(help="official, deduplicated, or both.")] = "official",
    fractions: Annotated[str, typer.Option(help="Shares of the training part, e.g. 0.1,0.3,1.")] = "1",
    dataset: Dataset = "auto",
    size: Size = 28,
    early_stopping: Annotated[str, typer.Option(help="guard, strict or off.")] = "guard",
    jobs: Jobs = None,
    device: Device = "cpu",
    cluster: Annotated[
        str | None,
        typer.Option(help="A Dask scheduler instead of processes here.", metavar="tcp://HOST:8786"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder; an interrupted study in it goes on.")] = Path(
        "study"
    ),
) -> None:
    """Many trainings, scored by grouped cross-validation on train and val; test is never scored.

    Examples:
      clineval study --repeats 2 --out study
      clineval study --models cnn_single --seeds 0-4 \\
        --fractions 0.1,0.3,1 --out learning-curve
      clineval study --only --model mine=my_model.py:make
    """
    from clineval.pipeline.study import run_study
    from clineval.settings import StudySettings

    plan = StudySettings(
        models=() if only else comma_list(models),
        seeds=seed_list(seeds, "--seeds"),
        folds=folds,
        repeats=repeats,
        variants=comma_list(variants),
        fractions=numbers(fractions, float, "--fractions"),
    )
    settings = run_settings(dataset=dataset, size=size, seed=0, device=device, early_stopping=early_stopping)
    with study_display() as (announce, show):
        found = run_study(
            settings,
            plan,
            models=named_sources(model or []),
            model_timeout=model_timeout,
            out=out,
            jobs=jobs,
            cluster=cluster,
            command=command(),
            announce=announce,
            show=show,
            warn=notify,
        )
    show_study(found.summary)
    say(f"Study: {found.folder / 'study_scores.csv'} and the figures beside it")
