"""Commands that score risks and readers, and check results: evaluate, readers, report, verify, compare."""

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
    show_comparison,
    show_readers,
)
from clineval.cli.options import (
    MEASURES,
    ActingThreshold,
    Attribute,
    ByGroup,
    CaseGroupColumn,
    Force,
    Jobs,
    Level,
    Margin,
    OutcomeColumn,
    OutFolder,
    Positive,
    Prevalence,
    Primary,
    Reader,
    ReaderCategory,
    ReaderOrder,
    Seed,
    TableToo,
    Threshold,
    ThresholdRule,
    beside_readers,
    comma_list,
    command,
    margins,
    named_sources,
    one_of,
)
from clineval.files import EVALUATION, REPORT

DESIGNS = {"random": "random", "fixed-readers": "fixed_readers", "fixed-cases": "fixed_cases"}
COVARIANCES = ("delong", "jackknife")


def readers(
    table: Annotated[Path, typer.Argument(help="CSV or Parquet, one row per reading; or iMRMC's own file.")],
    reader_column: Annotated[str, typer.Option(help="Column that names the reader.")] = "reader",
    case_column: Annotated[str, typer.Option(help="Column that names the case.")] = "case",
    rating_column: Annotated[
        str, typer.Option(help="Column with the rating: the higher, the more suspicious.")
    ] = "rating",
    outcome_column: OutcomeColumn = "outcome",
    positive: Positive = "1",
    modality_column: Annotated[
        str | None,
        typer.Option(help="Column with what the readers read with, such as without and with AI."),
    ] = None,
    group_column: CaseGroupColumn = None,
    reader_order: ReaderOrder = None,
    cut: Annotated[
        str | None,
        typer.Option(help="Rating from which readers act; adds sensitivity and specificity."),
    ] = None,
    condition: Annotated[
        str, typer.Option(help="What the outcome stands for, e.g. malignant.")
    ] = "condition",
    predictions: Annotated[
        Path | None,
        typer.Option(help="Predictions of the same cases: sets a model beside the readers.", metavar="TABLE"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Which model of --predictions.", show_default="the only one")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Risk from which the model flags; with --cut.")
    ] = None,
    margin: Margin = None,
    design: Annotated[
        str,
        typer.Option(
            help="random (speaks for other readers and cases), fixed-readers (these readers) or fixed-cases."
        ),
    ] = "random",
    covariance: Annotated[
        str, typer.Option(help="delong, or jackknife where not every reader read every case.")
    ] = "delong",
    power: Annotated[
        float | None,
        typer.Option(help="Readers and cases that a new study needs for this power; with --difference."),
    ] = None,
    difference: Annotated[
        float | None, typer.Option(help="With --power: the true difference in AUC to find.")
    ] = None,
    level: Level = 0.95,
    out: OutFolder = Path("readers"),
    force: Force = False,
) -> None:
    """Several readers of the same cases: modality against modality, and a model against the readers.

    Examples:
      clineval readers study.csv --modality-column modality --out readers
      clineval readers study.csv --predictions predictions.csv --model cnn \\
        --margin 0.05
      clineval readers study.csv --modality-column modality --power 0.8 \\
        --difference 0.05
    """
    from clineval.pipeline.readers import ModelFile, ReadingColumns, read_study
    from clineval.settings import ReaderSettings

    settings = ReaderSettings(
        design=DESIGNS[one_of(design, DESIGNS, "--design")],
        covariance=one_of(covariance, COVARIANCES, "--covariance"),
        threshold=threshold,
        margins=margins(margin or (), MEASURES if threshold is not None else MEASURES[:1]),
        power=power,
        difference=difference,
        level=level,
    )
    columns = ReadingColumns(
        reader_column,
        case_column,
        rating_column,
        outcome_column,
        positive,
        modality_column,
        group_column,
        comma_list(reader_order or ""),
    )
    with display() as announce:
        study = read_study(
            table,
            columns,
            settings,
            cut=cut,
            model=None if predictions is None else ModelFile(predictions, model),
            condition=condition,
            out=out,
            force=force,
            command=command(),
            announce=announce,
            warn=notify,
        )
    show_readers(study)
    say(f"Report: {out / 'report.html'}")


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
    group_column: CaseGroupColumn = None,
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
            "--scores", help="Its values are scores, not probabilities (logits, ratings): rank only."
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
    level: Level = 0.95,
    draws: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 1000,
    seed: Seed = 0,
    table: TableToo = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print evaluation.json instead of the answer, for programs.")
    ] = False,
    by_group: ByGroup = False,
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
            by_group=by_group,
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
        typer.echo((out / EVALUATION).read_text(encoding="utf-8"), nl=False)
    else:
        show_answer(evaluation, out / REPORT, table=table)


def report(
    results: Annotated[
        Path, typer.Argument(help="Folder written by clineval run, evaluate, validate or readers.")
    ] = Path("results"),
    force: Annotated[bool, typer.Option("--force", help="Write into a published record, too.")] = False,
) -> None:
    """Rewrite report.html, checklist.csv and model_card.md from a results folder.

    Examples:
      clineval report results
      clineval report results-b
    """
    from clineval.pipeline.evaluate import rewrite_report

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
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="With --retrain, for a model of your own. A Python file is run: name only what you trust.",
            metavar="NAME=SOURCE",
        ),
    ] = None,
    model_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds that one training of a model of your own may take, or its scoring of all images."
        ),
    ] = 3600.0,
    jobs: Jobs = None,
) -> None:
    """Check every artefact's hash, recompute the evaluation, and compare report and README to it.

    Exit code 4 names each file that differs.

    Examples:
      clineval verify results
      clineval verify results --retrain
      clineval verify results --retrain --model mine=my_model.py:make
      clineval verify results-b
    """
    from clineval.pipeline.verify import verify_results

    verdicts = [verify_results(results)]
    if retrain:
        from clineval.pipeline.retrain import repeat_run
        from clineval.pipeline.run import OwnImages

        own = None if cohort is None else OwnImages(cohort, image_folder)
        with display() as announce:
            again = repeat_run(
                results,
                own=own,
                models=named_sources(model or []),
                model_timeout=model_timeout,
                jobs=jobs,
                announce=announce,
            )
        verdicts.append(again)
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
    """Two results folders side by side: settings, versions, risks, groups, thresholds, flags, measures.

    Exit code 0 where risks, groups, thresholds, flags, measures and their intervals are equal, 4 where they
    are not. A difference is the second folder's value less the first one's.

    Example:
      clineval compare results my-results
    """
    from clineval.pipeline.verify import compare_results

    found = compare_results(one, other)
    show_comparison(found, names=(str(one), str(other)))
    if not found.equal:
        complain(f"{one} and {other} differ.")
        raise typer.Exit(FOUND)
    say(f"{one} and {other} hold the same risks, groups, thresholds, flags, measures and intervals.")
