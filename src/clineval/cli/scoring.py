"""Commands that score risks and keep results: evaluate, report, verify."""

from pathlib import Path
from typing import Annotated

import typer

from clineval.cli.console import FOUND, complain, display, notify, say, show_answer, show_comparison
from clineval.cli.options import Attribute, Force, Jobs, Primary, Seed, TableToo, Threshold, command
from clineval.cli.readers import (
    ActingThreshold,
    Margin,
    Prevalence,
    Reader,
    ReaderCategory,
    ReaderOrder,
    ThresholdRule,
    beside_readers,
)
from clineval.errors import InputError


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="CSV or Parquet: one row per model and case.")],
    condition: Annotated[
        str | None, typer.Option(help="What outcome 1 stands for, e.g. malignant.", show_default="condition")
    ] = None,
    threshold: Threshold = None,
    primary: Primary = None,
    model_column: Annotated[str | None, typer.Option(help="Column that names the model.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column that names the split.")] = None,
    case_column: Annotated[str | None, typer.Option(help="Column that names the case.")] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column shared by dependent cases, e.g. patient.")
    ] = None,
    outcome_column: Annotated[str | None, typer.Option(help="Column that holds the outcome.")] = None,
    positive: Annotated[
        str | None,
        typer.Option(
            help="Its value where the condition is present.", metavar="VALUE", show_default="1 or true"
        ),
    ] = None,
    risk_column: Annotated[
        str | None, typer.Option(help="Column with the predicted probability, 0 to 1.")
    ] = None,
    scores: Annotated[
        bool,
        typer.Option(
            "--scores", help="Its values are scores, no probabilities (logits, ratings): rank only."
        ),
    ] = False,
    medmnist: Annotated[
        str | None, typer.Option(help="The file is MedMNIST's own result file on this set.", metavar="NAME")
    ] = None,
    shared_cases_only: Annotated[
        bool, typer.Option("--shared-cases-only", help="Score models on the cases that all of them have.")
    ] = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Simulate how often the intervals cover at this n and events.")
    ] = False,
    attribute: Attribute = None,
    threshold_rule: ThresholdRule = None,
    reader: Reader = None,
    reader_order: ReaderOrder = None,
    reader_category: ReaderCategory = None,
    margin: Margin = None,
    prevalence: Prevalence = None,
    acting_threshold: ActingThreshold = None,
    level: Annotated[float, typer.Option(help="Coverage aimed at by the intervals.")] = 0.95,
    draws: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 1000,
    seed: Seed = 0,
    table: TableToo = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print evaluation.json instead of the answer, for programs.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for evaluation.json and report.html.")] = Path(
        "evaluation"
    ),
    force: Force = False,
) -> None:
    """Score predictions from any source.

    Each row needs an outcome (1 or 0, or words with --positive) and a risk (0 to 1). Columns of model,
    split, case, group and attributes are used where they are there.

    Examples:
      clineval evaluate predictions.csv --condition malignant --out my-evaluation
      clineval evaluate scores.parquet --risk-column p --outcome-column y \\
        --group-column patient
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
            positive=positive,
            scores=scores,
            medmnist=medmnist,
            primary=primary,
            level=level,
            draws=draws,
            seed=seed,
            coverage=coverage,
            shared_cases_only=shared_cases_only,
            attributes=attribute or (),
            threshold_rules=threshold_rule or (),
            readers=beside_readers(
                reader,
                order=reader_order,
                category=reader_category,
                margin=margin,
                prevalence=prevalence,
                acting_threshold=acting_threshold,
            ),
            out=out,
            force=force,
            command=command(),
            announce=announce,
            warn=notify,
        )
    for warning in evaluation.warnings:
        complain(f"Warning: {warning}")
    if json:
        typer.echo((out / "evaluation.json").read_text(encoding="utf-8"), nl=False)
    else:
        show_answer(evaluation, out / "report.html", table=table)


def report(
    results: Annotated[
        Path, typer.Argument(help="Folder written by clineval run, evaluate or validate.")
    ] = Path("results"),
    force: Annotated[bool, typer.Option("--force", help="Write into a published record, too.")] = False,
) -> None:
    """Write report.html, checklist.csv and model_card.md anew from a results folder.

    Examples:
      clineval report results
      clineval report results-b
    """
    from clineval.pipeline.report import rewrite_report

    say(f"Report: {rewrite_report(results, force=force)}")


def verify(
    results: Annotated[
        Path, typer.Argument(help="Folder written by clineval run, evaluate, validate or another command.")
    ] = Path("results"),
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
      clineval verify results-b
    """
    from clineval.pipeline.verify import verify_results

    if (cohort or image_folder or jobs) and not retrain:
        raise InputError("--cohort, --image-folder and --jobs need --retrain beside them.")
    verdicts = [verify_results(results)]
    if retrain:
        from clineval.pipeline.retrain import repeat_run
        from clineval.pipeline.run import OwnImages

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


def compare(
    one: Annotated[Path, typer.Argument(help="Folder written by clineval run, evaluate or validate.")],
    other: Annotated[Path, typer.Argument(help="Another one, of the same cases.")],
) -> None:
    """Two results folders side by side: settings, versions, processor, risks, thresholds, flags, measures.

    Exit code 0 where risks, thresholds, flags and measures are equal, 4 where they are not. A difference
    is the second folder's value less the first one's.

    Example:
      clineval compare results my-results
    """
    from clineval.pipeline.compare import compare_results

    found = compare_results(one, other)
    show_comparison(found, names=(str(one), str(other)))
    if not found.equal:
        complain(f"{one} and {other} differ.")
        raise typer.Exit(FOUND)
    say(f"{one} and {other} hold the same risks, thresholds, flags and measures.")
