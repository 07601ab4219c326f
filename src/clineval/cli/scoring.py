"""Commands that score risks and readers and keep results: evaluate, readers, report, verify."""

from pathlib import Path
from typing import Annotated, Any

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
    Attribute,
    ByGroup,
    Force,
    Jobs,
    Primary,
    Seed,
    TableToo,
    Threshold,
    comma_list,
    command,
    named_sources,
)
from clineval.errors import InputError

DESIGNS = {"random": "random", "fixed-readers": "fixed_readers", "fixed-cases": "fixed_cases"}
COVARIANCES = ("delong", "jackknife")
MEASURES = ("auc", "sensitivity", "specificity")

Margin = Annotated[
    list[str] | None,
    typer.Option(
        help="Loss still accepted, fixed before the numbers are seen, such as 0.05 or sensitivity=0.05; may "
        "be repeated. A bare number is for AUC, and for sensitivity and specificity where there are cuts."
    ),
]
Reader = Annotated[
    list[str] | None,
    typer.Option(
        help="Column with what a reader said; 'BIRADS>=4' names where the reader acts. May be repeated.",
        metavar="COLUMN",
    ),
]
ReaderCategory = Annotated[
    str | None,
    typer.Option(
        help="Categories in which the model may decide alone, such as 4a,4b,4c.",
        show_default="the one at the cut",
    ),
]
Prevalence = Annotated[
    float | None,
    typer.Option(
        help="Share of people with the condition where you work, for counts per 1,000 beside a reader.",
        show_default="as in the cases scored",
    ),
]
ActingThreshold = Annotated[
    float | None,
    typer.Option(
        help="Risk at which one acts, such as 0.02 for a biopsy; adds net benefit to reading together."
    ),
]
ThresholdRule = Annotated[
    list[str] | None,
    typer.Option(
        help="A threshold that development data guarantee, such as 'sensitivity>=0.90@0.95' (95% "
        "confidence); with one of specificity too, cases between the two are deferred. May be repeated.",
        metavar="RULE",
    ),
]
ReaderOrder = Annotated[
    str | None,
    typer.Option(
        help="Categories from least to most suspicious, such as 1,2,3,4a,4b,4c,5.",
        show_default="ratings are numbers",
    ),
]


def readers(
    table: Annotated[Path, typer.Argument(help="CSV or Parquet, one row per reading; or iMRMC's own file.")],
    reader_column: Annotated[str, typer.Option(help="Column that names the reader.")] = "reader",
    case_column: Annotated[str, typer.Option(help="Column that names the case.")] = "case",
    rating_column: Annotated[
        str, typer.Option(help="Column with the rating: the higher, the more suspicious.")
    ] = "rating",
    outcome_column: Annotated[str, typer.Option(help="Column that holds the outcome.")] = "outcome",
    positive: Annotated[str, typer.Option(help="Its value where the condition is present.")] = "1",
    modality_column: Annotated[
        str | None,
        typer.Option(help="Column with what the readers read with, such as without and with AI."),
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column shared by dependent cases, e.g. patient.")
    ] = None,
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
    level: Annotated[float, typer.Option(help="Coverage aimed at by the intervals.")] = 0.95,
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; parents are made.")] = Path(
        "readers"
    ),
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

    if model is not None and predictions is None:
        raise InputError("--model needs --predictions beside it: the table that holds the model's risks.")
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
        )
    show_readers(study)
    say(f"Report: {out / 'report.html'}")


def beside_readers(
    given: "list[str] | None",
    *,
    order: str | None,
    category: str | None,
    margin: "list[str] | None",
    prevalence: float | None,
    acting_threshold: float | None,
) -> Any:
    """The settings of --reader and what belongs to it; None without a reader."""
    from clineval.settings import BesideReaders

    if not given:
        if any((order, category, margin, prevalence, acting_threshold)):
            raise InputError(
                "--reader-order, --reader-category, --margin, --prevalence and --acting-threshold need "
                "--reader."
            )
        return None
    cuts = any(">=" in reader for reader in given)
    return BesideReaders(
        tuple(given),
        comma_list(order or ""),
        comma_list(category or ""),
        margins(margin or (), MEASURES if cuts else MEASURES[:1]),
        prevalence,
        acting_threshold,
    )


def one_of(word: str, words: "tuple[str, ...] | dict[str, str]", option: str) -> str:
    """The word itself; InputError that names the option where it is none of these."""
    if word not in words:
        raise InputError(f"{option} needs one of {', '.join(words)}; got {word!r}.")
    return word


def margins(given: "list[str] | tuple[str, ...]", bare: tuple[str, ...]) -> dict[str, float]:
    """Margins by measure: ``0.05`` for each of ``bare``, ``sensitivity=0.05`` for that one."""
    found: dict[str, float] = {}
    for text in given:
        measure, equals, value = text.rpartition("=")
        try:
            margin = float(value)
        except ValueError:
            margin = 0.0
        if not 0 < margin < 1 or (equals and measure not in MEASURES):
            raise InputError(
                f"--margin needs a number between 0 and 1, such as 0.05 or sensitivity=0.05; got {text!r}."
            )
        found |= dict.fromkeys((measure,) if equals else bare, margin)
    return found


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
        float, typer.Option(help="Seconds that one training of a model of your own may take.")
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

    if (cohort or image_folder or model or jobs) and not retrain:
        raise InputError("--cohort, --image-folder, --model and --jobs need --retrain beside them.")
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
    """Two results folders side by side: settings, versions, processor, risks, thresholds, flags, measures.

    Exit code 0 where risks, thresholds, flags and measures are equal, 4 where they are not. A difference
    is the second folder's value less the first one's.

    Example:
      clineval compare results my-results
    """
    from clineval.pipeline.verify import compare_results

    found = compare_results(one, other)
    show_comparison(found, names=(str(one), str(other)))
    if not found.equal:
        complain(f"{one} and {other} differ.")
        raise typer.Exit(FOUND)
    say(f"{one} and {other} hold the same risks, thresholds, flags and measures.")
