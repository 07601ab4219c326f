"""The door: parses, calls, prints, chooses the exit code; nothing else prints or exits."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from clineval import __version__
from clineval.ending import DONE, FOUND, exit_code
from clineval.options import (
    Bits,
    Condition,
    Dataset,
    Device,
    Figures,
    Fit,
    Force,
    GroupColumn,
    ImageColumn,
    ImageFolder,
    Jobs,
    Matching,
    Out,
    OutcomeColumn,
    Positive,
    SecondView,
    Seed,
    Size,
    Split,
)
from clineval.refusal import Refusal
from clineval.screen import (
    Screen,
    complain,
    display,
    say,
    show_evaluation,
    show_findings,
    show_study,
    study_display,
)

SHARED = ("--quiet", "-q", "--version")

app = typer.Typer(
    name="clineval",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=(
        "From medical images to an evaluation that a clinician can check.\n\n"
        "Start with [bold]clineval run[/]: it audits the images, trains the models, scores the test set once "
        "and writes figures, tables and report.html. Have predictions of your own? "
        "[bold]clineval evaluate FILE[/] scores any CSV or Parquet table of outcomes and risks.\n\n"
        "--quiet and --version may also follow any command."
    ),
)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    Screen.quiet = quiet
    if version:
        typer.echo(f"clineval {__version__}")
        raise typer.Exit(DONE)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
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
    seed: Seed = 0,
    jobs: Jobs = None,
    device: Device = "cpu",
    early_stopping: Annotated[
        str, typer.Option(help="guard (patience sized to the schedule) or strict.")
    ] = "guard",
    figures: Figures = "png",
    out: Out = None,
    force: Force = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Reuse the trainings that an interrupted run finished.")
    ] = False,
) -> None:
    """The whole job: data, audit, models, evaluation, figures and report.

    Examples:
      clineval run
      clineval run --dataset breastmnist --jobs 2 --out my-results
      clineval run --dataset phantom --seed 7
      clineval run --dataset dermamnist --condition melanoma
      clineval run --cohort my.csv --image-folder images --outcome-column pathology --positive malignant
    """
    from clineval.pipeline.cohort_run import OwnImages
    from clineval.pipeline.run import run as run_pipeline
    from clineval.settings import OwnSettings

    if cohort is not None and dataset != "auto":
        raise Refusal(f"run needs either --cohort or --dataset; came {cohort.name} and {dataset}.")
    if cohort is None and (image_folder or group_column or split_column):
        raise Refusal("--image-folder and the column options need --cohort TABLE beside them.")
    own = OwnSettings(image_column, outcome_column, positive, group_column, split_column, fit, bits)
    settings = _run_settings(
        dataset=dataset if cohort is None else "own",
        size=size,
        split=split,
        condition=condition,
        own=None if cohort is None else own,
        seed=seed,
        device=device,
        early_stopping=early_stopping,
    )
    with display() as announce:
        finished = run_pipeline(
            settings,
            own=None if cohort is None else OwnImages(cohort, image_folder),
            out=out,
            jobs=jobs,
            formats=_comma_list(figures),
            force=force,
            resume=resume,
            command=_command(),
            announce=announce,
        )
    say(finished.cohort.source.notice, style="bold red")
    show_evaluation(finished.evaluation)
    say(f"Report: {finished.folder / 'report.html'}")


@app.command()
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
    from clineval.pipeline.fetch import fetch_file

    with display() as announce:
        path = fetch_file(
            dataset, size=size, folder=to, address=address, progress=announce(f"Fetching {dataset} at {size}")
        )
    say(f"{path} is there, its checksum as published.")


@app.command()
def explore(
    dataset: Dataset = "auto",
    size: Size = 28,
    condition: Condition = None,
    seed: Seed = 0,
    out: Out = None,
    force: Force = False,
) -> None:
    """Counts, prevalence, intensities and differences between the splits; no model.

    Example: clineval explore --out exploration
    """
    from clineval.pipeline.run import explore as explore_pipeline

    with display() as announce:
        explored = explore_pipeline(
            _run_settings(dataset=dataset, size=size, condition=condition, seed=seed),
            out=out,
            force=force,
            command=_command(),
            announce=announce,
        )
    say(explored.cohort.source.notice, style="bold red")
    say(f"Exploration: {explored.folder / 'exploration.json'} and the figures beside it")


@app.command()
def train(
    dataset: Dataset = "auto",
    size: Size = 28,
    split: Split = "official",
    condition: Condition = None,
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

    Example: clineval train --out trained
    """
    from clineval.pipeline.run import train as train_pipeline

    settings = _run_settings(
        dataset=dataset,
        size=size,
        split=split,
        condition=condition,
        seed=seed,
        device=device,
        early_stopping=early_stopping,
    )
    with display() as announce:
        trained = train_pipeline(
            settings, out=out, jobs=jobs, force=force, resume=resume, command=_command(), announce=announce
        )
    say(trained.cohort.source.notice, style="bold red")
    say(f"Models: {trained.folder / 'models'}; risks on train and val: {trained.folder / 'predictions.csv'}")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="CSV or Parquet: one row per model and case.")],
    condition: Annotated[
        str | None, typer.Option(help="What outcome 1 stands for, e.g. malignant.", show_default="condition")
    ] = None,
    threshold: Annotated[
        list[float] | None, typer.Option(help="A further threshold to report; may be repeated.")
    ] = None,
    model_column: Annotated[str | None, typer.Option(help="Column that names the model.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column that names the split.")] = None,
    case_column: Annotated[str | None, typer.Option(help="Column that names the case.")] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column shared by dependent cases, e.g. patient.")
    ] = None,
    outcome_column: Annotated[str | None, typer.Option(help="Column with 0/1 or true/false.")] = None,
    risk_column: Annotated[
        str | None, typer.Option(help="Column with the predicted probability, 0 to 1.")
    ] = None,
    medmnist: Annotated[
        str | None, typer.Option(help="The file is MedMNIST's own result file on this set.", metavar="NAME")
    ] = None,
    shared_cases_only: Annotated[
        bool, typer.Option("--shared-cases-only", help="Score models on the cases that all of them have.")
    ] = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Simulate how often the intervals cover at this n and events.")
    ] = False,
    level: Annotated[float, typer.Option(help="Coverage aimed at by the intervals.")] = 0.95,
    draws: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 1000,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option("--out", help="Folder for evaluation.json and report.html.")] = Path(
        "results"
    ),
    force: Force = False,
) -> None:
    """Score anybody's predictions, whatever program made them.

    Needed are an outcome (0/1) and a risk (0 to 1) per row; model, split, case, group and attribute
    columns are used where they are there.

    Examples:
      clineval evaluate predictions.csv --condition malignant --out my-evaluation
      clineval evaluate scores.parquet --risk-column p --outcome-column y --group-column patient
    """
    from clineval.pipeline.evaluate import evaluate_file

    named = {
        "model": model_column,
        "split": split_column,
        "case": case_column,
        "group": group_column,
        "outcome": outcome_column,
        "risk": risk_column,
    }
    with display() as announce:
        evaluation = evaluate_file(
            predictions,
            condition=condition,
            thresholds=threshold or (),
            columns={name: column for name, column in named.items() if column is not None},
            medmnist=medmnist,
            level=level,
            draws=draws,
            seed=seed,
            coverage=coverage,
            shared_cases_only=shared_cases_only,
            out=out,
            force=force,
            command=_command(),
            announce=announce,
        )
    show_evaluation(evaluation)
    say(f"Report: {out / 'report.html'}")


@app.command()
def audit(
    images: Annotated[
        Path | None,
        typer.Argument(help="A folder of images, or a CSV that names them.", show_default="a data set"),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="auto, breastmnist or phantom, instead of images of your own.")
    ] = None,
    condition: Condition = None,
    size: Annotated[
        int | None, typer.Option(help="Pixels per side of a data set: 28, 64, 128 or 224.", show_default="28")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least similarity of a twin.", show_default="read off the data")
    ] = None,
    fail_on: Annotated[
        str, typer.Option(help="Codes such as AUD001,AUD003: exit 4 where one of them is found.")
    ] = "",
    seed: Annotated[
        int | None, typer.Option(help="Seed of the split by group of a data set.", show_default="0")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the findings.", show_default="results-audit")
    ] = None,
    force: Force = False,
) -> None:
    """Near-duplicate images, twins across splits, contradictory labels, single images worth a look.

    A CSV needs a column image (or file, filename, path). Columns split,
    outcome (or label) and group (or patient) are used where they are there.
    In a folder, subfolders named train, val and test are the splits.

    Codes:
      AUD001 contradictory labels           AUD002 twin across train and test
      AUD003 twin across val and test       AUD004 twin across other splits
      AUD005 one patient in several splits  AUD006 byte-identical images
      AUD007 near-duplicate images          AUD008 chained group
      AUD009 twin that detail does not confirm
      AUD010 blank image                    AUD011 saturated image
      AUD012 text or measuring marks burnt in
      AUD013 unlike the rest                AUD014 unreadable file
      AUD015 images of different sizes

    Examples:
      clineval audit --dataset breastmnist --out audit
      clineval audit my-images/ --fail-on AUD001,AUD003
    """
    from clineval.pipeline.audit import audit_source

    if images is not None and not (condition is None and size is None and seed is None):
        raise Refusal(
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
            fail_on=_comma_list(fail_on),
            out=out,
            force=force,
            command=_command(),
            announce=announce,
        )
    say(audited.source.notice, style="bold red")
    say(f"{audited.cases} images. Threshold: {audited.audit.threshold.reason}")
    show_findings(audited.findings)
    say(f"Findings: {audited.folder / 'audit.json'} and the galleries beside it")
    if audited.failing:
        complain(f"found {', '.join(audited.failing)}, as named by --fail-on")
        raise typer.Exit(FOUND)


@app.command()
def study(
    models: Annotated[
        str, typer.Option(help="Comma-separated.")
    ] = "logreg,cnn_single,cnn,scattering,combined",
    seeds: Annotated[str, typer.Option(help="Each training is repeated with each.")] = "0",
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
      clineval study --models cnn_single --seeds 0,1,2,3,4 --fractions 0.1,0.3,1 --out learning-curve
    """
    from clineval.pipeline.study import run_study
    from clineval.settings import StudySettings

    plan = StudySettings(
        models=_comma_list(models),
        seeds=_numbers(seeds, int, "--seeds"),
        folds=folds,
        repeats=repeats,
        variants=_comma_list(variants),
        fractions=_numbers(fractions, float, "--fractions"),
    )
    settings = _run_settings(dataset=dataset, size=size, seed=0, device=device, early_stopping=early_stopping)
    with study_display() as (announce, show):
        found = run_study(
            settings,
            plan,
            out=out,
            jobs=jobs,
            cluster=cluster,
            command=_command(),
            announce=announce,
            show=show,
        )
    show_study(found.summary)
    say(f"Study: {found.folder / 'study_scores.csv'} and the figures beside it")


@app.command()
def validate(
    results: Annotated[Path, typer.Argument(help="Folder written by clineval run.")],
    table: Annotated[Path, typer.Argument(help="CSV or Parquet, one row per image of other patients.")],
    name: Annotated[str, typer.Option(help="What the external cohort is called in every result.")],
    image_folder: ImageFolder = None,
    image_column: ImageColumn = "image",
    outcome_column: OutcomeColumn = "outcome",
    positive: Positive = "1",
    group_column: GroupColumn = None,
    fit: Fit = "as-trained",
    bits: Bits = 16,
    matching: Matching = True,
    second_view: SecondView = True,
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help="Score the images also as worse scanners would show them.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of bootstrap and corruptions.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Threads; the numbers do not depend on it.", show_default="all cores")
    ] = None,
    figures: Figures = "png",
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; parents are made.")] = Path(
        "results-external"
    ),
    force: Force = False,
) -> None:
    """Does it hold elsewhere? A finished run, frozen, on the images of other patients.

    Models, recalibrations and thresholds stay as the run left them; the report sets the test cases of the
    run and these patients side by side.

    Example:
      clineval validate results cohort.csv --name hospital-b --image-folder images --image-column id \\
        --outcome-column pathology --positive malignant --group-column patient --out results-b
    """
    from clineval import settings as rooms
    from clineval.pipeline.cohort_run import OwnImages
    from clineval.pipeline.validate import validate as validate_run

    own = rooms.OwnSettings(image_column, outcome_column, positive, group_column, fit=fit, bits=bits)
    settings = rooms.ValidationSettings(
        name, own, matching, second_view, corruptions, rooms.EvaluationSettings(seed=seed)
    )
    with display() as announce:
        found = validate_run(
            results,
            OwnImages(table, image_folder),
            settings,
            out=out,
            force=force,
            jobs=jobs,
            formats=_comma_list(figures),
            command=_command(),
            announce=announce,
        )
    say(found.cohort.source.notice, style="bold red")
    show_evaluation(found.evaluation)
    say(f"Report: {found.folder / 'report.html'}")


@app.command()
def predict(
    results: Annotated[Path, typer.Argument(help="Folder written by clineval run.")],
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, TIFF or DICOM files, or folders of them.")],
    fit: Fit = "as-trained",
    bits: Bits = 16,
    matching: Matching = True,
    second_view: SecondView = True,
    form: Annotated[
        str | None,
        typer.Option("--format", help="csv or json.", show_default="as --out ends, else csv"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write.", show_default="standard output")
    ] = None,
) -> None:
    """Risk of each image, whether it is flagged at each frozen threshold, and whether it is unlike training.

    Examples:
      clineval predict results lesion.png
      clineval predict results images/ --out risks.csv
      clineval predict results lesion.dcm --format json
    """
    from clineval.pipeline.predict import FORMS, check_answer, write_answer
    from clineval.pipeline.predict import predict as predict_files

    form = form or (out.suffix.removeprefix(".").lower() if out is not None else FORMS[0])
    if form not in FORMS:
        raise Refusal(f"--format needs one of {', '.join(FORMS)}; came {form!r}.")
    if out is not None:
        check_answer(out)
    with display() as announce:
        found = predict_files(
            results,
            images,
            fit=fit,
            bits=bits,
            matching=matching,
            second_view=second_view,
            progress=announce("Scoring the images"),
        )
    if found.notice:
        complain(found.notice)
    text = found.to_csv() if form == "csv" else found.to_json()
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_answer(text, out)


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="Folder written by clineval run or evaluate.")] = Path(
        "results"
    ),
) -> None:
    """Write report.html, checklist.csv and model_card.md anew from a results folder.

    Example: clineval report results
    """
    from clineval.pipeline.report import rewrite_report

    say(f"Report: {rewrite_report(results)}")


@app.command()
def verify(
    results: Annotated[Path, typer.Argument(help="Folder written by clineval run or evaluate.")] = Path(
        "results"
    ),
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Also repeat the run from its settings; compare predictions.")
    ] = False,
    cohort: Annotated[
        Path | None,
        typer.Option(help="With --retrain, for images of your own: their table.", metavar="TABLE"),
    ] = None,
    image_folder: Annotated[
        Path | None, typer.Option(help="With --cohort: where the images lie.", show_default="the table's")
    ] = None,
    jobs: Jobs = None,
) -> None:
    """Check every artefact's hash, recompute the evaluation, and compare report and README to it.

    Exit code 4 names each file that differs.

    Examples:
      clineval verify results
      clineval verify results --retrain
    """
    from clineval.verify import verify_results

    if (cohort or image_folder or jobs) and not retrain:
        raise Refusal("--cohort, --image-folder and --jobs need --retrain beside them.")
    verdicts = [verify_results(results)]
    if retrain:
        from clineval.pipeline.cohort_run import OwnImages
        from clineval.retrain import repeat_run

        own = None if cohort is None else OwnImages(cohort, image_folder)
        with display() as announce:
            verdicts.append(repeat_run(results, own=own, jobs=jobs, announce=announce))
    for note in (note for verdict in verdicts for note in verdict.notes):
        say(f"{results}: {note}.")
    differences = [line for verdict in verdicts for line in verdict.differences]
    for line in differences:
        complain(line)
    if differences:
        raise typer.Exit(FOUND)
    say(f"{results}: every artefact is as it was written, and the evaluation follows from its table.")


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(words: list[str]) -> int:
    """Run one command line and say with which exit code it ended."""
    door = typer.main.get_command(app)
    return exit_code(
        lambda: door.main(args=_shared_first(words), prog_name="clineval", standalone_mode=False)
    )


def _shared_first(words: list[str]) -> list[str]:
    """The words with the options that every command shares moved before the command, where they are read."""
    shared = [word for word in words if word in SHARED]
    return shared + [word for word in words if word not in SHARED]


def _command() -> list[str]:
    return ["clineval", *sys.argv[1:]]


def _comma_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str, kind: type, option: str) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in _comma_list(text))
    except ValueError:
        raise Refusal(f"{option} needs numbers between commas; came {text!r}.") from None


def _run_settings(
    *,
    dataset: str,
    size: int,
    seed: int,
    split: str = "official",
    condition: str | None = None,
    own: Any = None,
    device: str = "cpu",
    early_stopping: str = "guard",
) -> Any:
    from clineval import settings as rooms

    return rooms.RunSettings(
        data=rooms.DataSettings(dataset=dataset, size=size, split=split, condition=condition, own=own),
        training=rooms.TrainingSettings(seed=seed, device=device, early_stopping=early_stopping),
        evaluation=rooms.EvaluationSettings(seed=seed),
    )


if __name__ == "__main__":
    main()
