"""Commands that train models: the whole run, the training alone, a study of many."""

from pathlib import Path
from typing import Annotated

import typer

from clineval.cli.console import display, notify, say, show_answer, show_study, study_display
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
    Out,
    OutcomeColumn,
    Positive,
    Primary,
    RunOut,
    Seed,
    Size,
    Split,
    TableToo,
    Threshold,
    comma_list,
    command,
    named_sources,
    numbers,
    run_settings,
    seed_list,
)
from clineval.cli.readers import ThresholdRule
from clineval.errors import InputError


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
    fit: Annotated[str, typer.Option(help="crop (middle square, as BreastMNIST), top, or pad.")] = "crop",
    bits: Bits = 16,
    models: Models = "logreg,cnn,scattering",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model of your own, NAME=FILE.py:FACTORY, NAME=package.module:FACTORY or NAME=FILE.onnx; "
            "may be repeated. A Python file is run: name only what you trust.",
            metavar="NAME=SOURCE",
        ),
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="Train the models of --model alone.")] = False,
    model_timeout: Annotated[
        float, typer.Option(help="Seconds that one training of a model of your own may take.")
    ] = 3600.0,
    threshold: Threshold = None,
    primary: Primary = None,
    threshold_rule: ThresholdRule = None,
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
    resume: Annotated[
        bool, typer.Option("--resume", help="Reuse the trainings that an interrupted run finished.")
    ] = False,
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
    if cohort is None and (image_folder or group_column or split_column):
        raise InputError("--image-folder and the column options need --cohort TABLE beside them.")
    own = OwnSettings(image_column, outcome_column, positive, group_column, split_column, fit, bits)
    settings = run_settings(
        dataset=dataset if cohort is None else "own",
        size=size,
        split=split,
        condition=condition,
        own=None if cohort is None else own,
        seed=seed,
        device=device,
        early_stopping=early_stopping,
        thresholds=tuple(threshold or ()),
        primary=primary,
        threshold_rules=tuple(threshold_rule or ()),
        models=() if only else comma_list(models),
    )
    with display() as announce:
        finished = run_pipeline(
            settings,
            own=None if cohort is None else OwnImages(cohort, image_folder),
            models=named_sources(model or []),
            model_timeout=model_timeout,
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
    show_answer(finished.evaluation, finished.folder / "report.html", table=table)


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
    resume: Annotated[
        bool, typer.Option("--resume", help="Reuse the trainings that an interrupted run finished.")
    ] = False,
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
    seeds: Annotated[str, typer.Option(help="Each training is repeated with each, e.g. 0,1 or 0-9.")] = "0",
    folds: Annotated[int, typer.Option(help="Grouped folds; each is held out once per repeat.")] = 5,
    repeats: Annotated[int, typer.Option(help="Times that the folds are drawn anew.")] = 2,
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
    """
    from clineval.pipeline.study import run_study
    from clineval.settings import StudySettings

    plan = StudySettings(
        models=comma_list(models),
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
            out=out,
            jobs=jobs,
            cluster=cluster,
            command=command(),
            announce=announce,
            show=show,
        )
    show_study(found.summary)
    say(f"Study: {found.folder / 'study_scores.csv'} and the figures beside it")
