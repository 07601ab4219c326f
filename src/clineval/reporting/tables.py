"""The tables of a report: records in, cells of text out."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from clineval.evaluation import Evaluation
from clineval.evaluation.records import ModelComparison, OperatingPoint, PointComparison, PopulationScores
from clineval.reporting import sentences
from clineval.reporting.artefacts import Artefacts
from clineval.reporting.sentences import (
    Subject,
    chosen_words,
    negated,
    number,
    percent,
    population_name,
    turned,
    whole,
)
from clineval.statistics.intervals import Estimate

MEASURE_NAMES = {
    "auc_logit": "AUC, logit interval",
    "auc": "AUC, DeLong interval",
    "partial_auc": "partial AUC",
    "sensitivity_at_specificity_90": "sensitivity at specificity 90%",
    "specificity_at_sensitivity_90": "specificity at sensitivity 90%",
    "brier": "Brier score",
    "scaled_brier": "scaled Brier score",
    "log_loss": "log loss",
    "calibration_intercept": "calibration intercept",
    "calibration_slope": "calibration slope",
    "observed_expected": "observed/expected",
    "ici": "integrated calibration index",
    "e50": "median calibration error (E50)",
    "e90": "90th percentile of calibration error (E90)",
    "average_precision": "average precision",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "lr_positive": "LR+",
    "lr_negative": "LR−",
    "net_benefit": "net benefit",
}
DISCRIMINATION = (
    "auc_logit",
    "auc",
    "partial_auc",
    "sensitivity_at_specificity_90",
    "specificity_at_sensitivity_90",
)
CALIBRATION = (
    "calibration_intercept",
    "calibration_slope",
    "observed_expected",
    "ici",
    "brier",
    "scaled_brier",
)
AS_PERCENT = frozenset(
    {"sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy",
     "sensitivity_at_specificity_90", "specificity_at_sensitivity_90"}
)  # fmt: skip
POINT_RATES = ("sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative")


@dataclass(frozen=True)
class Cell:
    """One number of a table: text, interval, how it was made or why it is missing, and words below it."""

    text: str
    interval: str = ""
    method: str = ""
    words: str = ""


Row = tuple[str | Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings; the first of each row is its heading.

    ``first`` rows are shown, the others on demand.
    """

    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    first: int = 40


def cell(estimate: Estimate | None, *, as_percent: bool = False) -> Cell:
    """A number with its interval for a table."""
    if estimate is None or not sentences.defined(estimate):
        return Cell("not defined", "", sentences.reason(estimate))
    value = percent(estimate.value) if as_percent else number(estimate.value)
    return Cell(value, sentences.interval(estimate, as_percent=as_percent), estimate.method)


def signed_cell(gap: Estimate | None, *, as_points: bool = False) -> Cell:
    """A difference for a table, its plus sign written; of two proportions in percentage points."""
    if gap is None or not sentences.defined(gap):
        return cell(gap)
    bounds = sentences.interval(gap, as_points=as_points)
    return Cell(sentences.signed(gap.value, as_points=as_points), bounds, gap.method)


def measure_table(subject: Subject, names: Sequence[str], populations: Iterable[str]) -> Table:
    """Measures of every model on some populations, one row each."""
    kept = [name for name in names if _anywhere(subject.evaluation, name)]
    rows: list[Row] = []
    for model, population, scores in _by_model(subject, populations):
        cells = [cell(scores.measures.get(name), as_percent=name in AS_PERCENT) for name in kept]
        rows.append((subject.evaluation.named(model), population_name(population), *cells))
    headings = ("model", "population", *(MEASURE_NAMES[name] for name in kept))
    return Table(headings, tuple(rows), _of_pair(subject, rows))


def _by_model(subject: Subject, populations: Iterable[str]) -> Iterator[tuple[str, str, PopulationScores]]:
    """Every model with each population that it was scored on, the primary model and the baseline first."""
    asked = tuple(populations)
    for model in dict.fromkeys([*subject.pair, *subject.evaluation.models]):
        for population in asked:
            scores = subject.scores(model, population)
            if scores is not None:
                yield model, population, scores


def _of_pair(subject: Subject, rows: Sequence[Row]) -> int:
    """How many of the rows speak of the primary model and the baseline: they come first."""
    pair = {subject.evaluation.named(model) for model in subject.pair}
    return sum(row[0] in pair for row in rows) or len(rows)


def _anywhere(evaluation: Evaluation, name: str) -> bool:
    return any(name in scores.measures for by in evaluation.models.values() for scores in by.values())


def counts_table(artefacts: Artefacts, subject: Subject) -> Table:
    """Cases and events per split of the data, else per population of the table."""
    splits = artefacts.exploration.get("splits")
    if splits:
        rows = [
            (each["split"], whole(each["cases"]), whole(each["events"]), percent(each["prevalence"]))
            for each in splits
        ]
        return Table(("split", "cases", subject.condition, "prevalence"), tuple(rows))
    rows = []
    for population in subject.evaluation.populations:
        scores = next(
            s for by in subject.evaluation.models.values() for name, s in by.items() if name == population
        )
        rows.append(
            (
                population_name(population),
                whole(scores.cases),
                whole(scores.events),
                percent(scores.prevalence),
            )
        )
    return Table(("population", "cases", subject.condition, "prevalence"), tuple(rows))


def split_differences(artefacts: Artefacts) -> Table | None:
    """How train and test differ, standardised."""
    rows = [
        (
            each["measure"],
            number(each["first_mean"]),
            number(each["second_mean"]),
            number(each["standardised"]),
        )
        for each in artefacts.exploration.get("differences", ())
        if (each["first"], each["second"]) == ("train", "test")
    ]
    return (
        Table(("property", "train, mean", "test, mean", "standardised difference"), tuple(rows))
        if rows
        else None
    )


def comparison_table(subject: Subject, populations: Iterable[str]) -> Table:
    """Every paired comparison on some populations."""
    rows = []
    wanted = set(populations)
    for each in sorted(map(turned, subject.evaluation.comparisons), key=partial(_rank, subject)):
        if each.population in wanted:
            rows.append(
                (
                    " − ".join(map(subject.evaluation.named, each.models)),
                    population_name(each.population),
                    MEASURE_NAMES.get(each.measure, each.measure).split(",")[0],
                    signed_cell(each.difference),
                    sentences.p_text(each.p_value) or "–",
                    _verdict(each),
                )
            )
    headings = ("models", "population", "measure", "difference", "p", "what it says")
    return Table(headings, tuple(rows), first=4)


def _rank(subject: Subject, comparison: ModelComparison | PointComparison) -> int:
    """Its place: the primary model against the baseline, then against others, then the rest."""
    models = set(comparison.models)
    return 0 if models == set(subject.pair) else 1 if subject.main in models else 2


def _verdict(comparison: ModelComparison) -> str:
    gap = comparison.difference
    if not sentences.defined(gap) or not sentences.interval(gap):
        return "no interval, no statement"
    if sentences.covers(gap, 0.0):
        return "covers 0: not shown to differ"
    lower_is_better = comparison.measure in ("brier", "log_loss", "ici")
    first = (gap.value > 0) != lower_is_better
    return f"excludes 0: {comparison.models[0 if first else 1]} is better here"


def by_group_table(subject: Subject, populations: Iterable[str]) -> Table | None:
    """The AUC by patient beside that by case, where it was asked for."""
    rows: list[Row] = []
    for population in populations:
        for model, found in subject.evaluation.by_group.get(population, {}).items():
            scores = subject.scores(model, population)
            by_case = scores.measures.get("auc_logit") if scores is not None else None
            mixed = f", {whole(found.mixed)} with cases of both outcomes" if found.mixed else ""
            counted = f"{whole(found.groups)} ({whole(found.events)} {subject.condition}{mixed})"
            name = subject.evaluation.named(model)
            rows.append((name, population_name(population), counted, cell(found.auc_logit), cell(by_case)))
    headings = ("model", "population", "patients or groups", "AUC by patient", "AUC by case")
    return Table(headings, tuple(rows)) if rows else None


def spread_table(subject: Subject, population: str) -> Table | None:
    """How far the measures move when only the seed or the fold of the training changes."""
    rows = []
    for model in subject.models(population):
        scores = subject.scores(model, population)
        for each in scores.spread if scores is not None else ():
            rows.append(
                (
                    subject.evaluation.named(model),
                    MEASURE_NAMES.get(each.measure, each.measure).split(",")[0],
                    f"{len(each.values)} {each.over}",
                    number(each.mean),
                    number(each.sd),
                    f"{number(each.lowest)} to {number(each.highest)}",
                )
            )
    return Table(("model", "measure", "over", "mean", "SD", "range"), tuple(rows)) if rows else None


def point_table(subject: Subject, population: str, *, models: Collection[str] | None = None) -> Table:
    """The operating points of some models on a population, of all by default."""
    headings = (
        "model",
        "threshold",
        "found",
        "missed",
        "false alarms",
        "cleared",
        *(MEASURE_NAMES[n] for n in POINT_RATES),
    )
    rows = [
        (subject.evaluation.named(model), *_point_cells(point))
        for model, _, _ in _by_model(subject, [population])
        for point in _primary_first(subject, model, population)
        if models is None or model in models
    ]
    return Table(headings, tuple(rows), _of_pair(subject, rows))


def _primary_first(subject: Subject, model: str, population: str) -> list[OperatingPoint]:
    scores, first = subject.scores(model, population), subject.point(model, population)
    return sorted(scores.operating_points if scores is not None else (), key=lambda point: point is not first)


def _point_cells(point: OperatingPoint) -> Iterable[str | Cell]:
    if np.isnan(point.threshold):
        return (Cell("none", words=point.rule), *("–",) * (4 + len(POINT_RATES)))
    order = ("true_positives", "false_negatives", "false_positives", "true_negatives")
    return (
        Cell(number(point.threshold), method=point.rule, words=chosen_words(point)),
        *(whole(int(point.counts[name] or 0)) for name in order),
        *(cell(point.rates[name], as_percent=name in AS_PERCENT) for name in POINT_RATES),
    )


def mcnemar_table(subject: Subject, population: str) -> Table | None:
    """Models against each other at their operating points, on the same cases."""
    rows = []
    for each in sorted(subject.evaluation.point_comparisons, key=partial(_rank, subject)):
        if each.population != population:
            continue
        for rate, kind in (("sensitivity", "events"), ("specificity", "non_events")):
            gap = each.differences.get(rate)
            if gap is None:
                continue
            only = (each.discordant[f"{kind}_second_only"], each.discordant[f"{kind}_first_only"])
            rows.append(
                (
                    f"{each.models[1]} − {each.models[0]}",
                    _point_words(subject, each),
                    rate,
                    signed_cell(negated(gap), as_points=True),
                    f"{only[0]} / {only[1]}", sentences.p_text(each.p_values.get(rate)) or "–",
                )
            )  # fmt: skip
    headings = (
        "models",
        "threshold",
        "rate",
        "difference, percentage points",
        "only first / only second right",
        "McNemar",
    )
    return Table(headings, tuple(rows), first=4) if rows else None


def _point_words(subject: Subject, compared: PointComparison) -> str:
    scores = subject.scores(compared.models[0], compared.population)
    points = () if scores is None else scores.operating_points
    named = {point.name: sentences.aim_words(point) for point in points}
    return named.get(compared.point, compared.point)


def recalibration_table(artefacts: Artefacts) -> Table | None:
    """Per model what recalibration was chosen, on which split, and the loss of each candidate."""
    rows = []
    for model, record in artefacts.stored.items():
        choice = record.get("recalibration", {}) if isinstance(record, Mapping) else {}
        if choice:
            losses = choice.get("log_loss", {})
            tried = ", ".join(f"{name} {number(value)}" for name, value in losses.items()) or "none tried"
            rows.append((model, str(choice.get("kind", "")), tried, str(choice.get("reason", ""))))
    headings = ("model", "chosen", "log loss before (none) and after, cross-fitted on train", "reason")
    return Table(headings, tuple(rows)) if rows else None


def brier_table(subject: Subject) -> Table | None:
    """The Brier score of each model taken apart, after Murphy."""
    names = ("reliability", "resolution", "uncertainty", "within_bin_variance", "within_bin_covariance")
    rows: list[Row] = []
    for model in subject.models():
        scores = subject.scores(model)
        if scores is not None and scores.brier_parts:
            parts = (number(scores.brier_parts.get(name), 4) for name in names)
            name = subject.evaluation.named(model)
            rows.append((name, cell(scores.measures.get("brier")), *parts))
    headings = ("model", "Brier score", *(name.replace("_", " ") for name in names))
    return Table(headings, tuple(rows)) if rows else None


def appendix_table(subject: Subject) -> Table:
    """Measures that people ask for although they mislead."""
    names = ("accuracy", "balanced_accuracy", "f1", "mcc")
    rows: list[Row] = []
    for model, _, scores in _by_model(subject, [subject.population]):
        precision = cell(scores.measures.get("average_precision"))
        for point in scores.operating_points:
            rates = {**point.rates, **vars(point.appendix)}
            cells = (cell(rates.get(name), as_percent=name in AS_PERCENT) for name in names)
            name = subject.evaluation.named(model)
            rows.append((name, number(point.threshold), *cells, precision))
    headings = ("model", "threshold", *(MEASURE_NAMES[name] for name in names), "average precision")
    return Table(headings, tuple(rows), _of_pair(subject, rows))
