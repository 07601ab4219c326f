"""A study of several readers: modalities against each other, and a model against the panel."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError, option
from clineval.files import to_plain
from clineval.settings import ReaderSettings
from clineval.statistics import readers as panels
from clineval.statistics.auc import auc_logit
from clineval.statistics.counts import flagged
from clineval.statistics.intervals import Estimate, undefined
from clineval.statistics.model_and_reader import MOST_LEVELS, kappa, non_inferiority, ordinal_levels
from clineval.statistics.readings import MEASURES, Performance, Readings, arrange_readings, reader_performance
from clineval.statistics.roc import roc_curve
from clineval.tables.reader_study import ReadingTable

Floats = NDArray[np.float64]

SCHEMA = 1
PLANNED_READERS = (3, 4, 5, 6, 8, 10, 15, 20)  # for each, the cases that give the wanted power
COVARIANCE_NAMES = {"delong": "DeLong", "jackknife": "jackknife"}


@dataclass(frozen=True)
class PanelOfModality:
    """The readers of one modality: the average reader's measures, and each reader's.

    ``readers`` holds AUCs; ``sensitivity``, ``specificity`` and ``rates`` are there where a cut was given.
    """

    auc: Estimate
    readers: Mapping[str, Estimate]
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None
    rates: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModalityComparison:
    """The average reader with one modality less the average reader with another.

    ``df``: NaN where the test is a normal one; ``method`` says so.
    """

    measure: str
    modalities: tuple[str, str]
    design: str
    covariance: str
    difference: Estimate
    statistic: float
    df: float
    p_value: float
    method: str


@dataclass(frozen=True)
class ModelAgainstPanel:
    """A model less the average reader of a modality; ``non_inferior`` is None where no margin was given."""

    model: str
    modality: str
    measure: str
    design: str
    covariance: str
    model_auc: Estimate
    difference: Estimate
    statistic: float
    df: float
    p_value: float
    margin: float | None
    non_inferior: bool | None
    method: str


@dataclass(frozen=True)
class ReaderAgreement:
    """Weighted kappa (quadratic weights) of two readers, on the cases that both read with one modality."""

    readers: tuple[str, str]
    cases: int
    kappa: Estimate


@dataclass(frozen=True)
class ModalityTestRecord:
    """Whether any two of the modalities differ: F, or chi-squared with fixed readers."""

    measure: str
    design: str
    statistic: float
    df: tuple[float, float]
    p_value: float
    method: str


@dataclass(frozen=True)
class Plan:
    """For each number of readers the cases that find ``difference`` with the power wanted."""

    wanted: float
    difference: float
    design: str
    studies: tuple[panels.PlannedStudy, ...]


@dataclass(frozen=True)
class ReaderStudy:
    """What ``readers.json`` holds.

    ``agreement`` and ``mean_kappa``, the mean over pairs, are by modality and empty where ``no_agreement``
    says why.
    """

    schema: int
    condition: str
    cases: int
    events: int
    groups: int
    readings: int
    level: float
    design: str
    covariance: str
    cut: float | None
    threshold: float | None
    modalities: Mapping[str, PanelOfModality]
    comparisons: tuple[ModalityComparison, ...]
    tests: tuple[ModalityTestRecord, ...]
    components: panels.Components
    model_against_readers: tuple[ModelAgainstPanel, ...]
    plan: Plan | None = None
    agreement: Mapping[str, tuple[ReaderAgreement, ...]] = field(default_factory=dict)
    mean_kappa: Mapping[str, Estimate] = field(default_factory=dict)
    no_agreement: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values only, None where a number is undefined; its method says why."""
        content: dict[str, Any] = to_plain(self)
        return content


@dataclass(frozen=True)
class ReaderCurve:
    """One reader's ROC curve with one modality, and its point at the cut; a model's ``modality`` is empty."""

    modality: str
    reader: str
    false_positive_rate: Floats
    sensitivity: Floats
    threshold: Floats
    acts: tuple[float, float] | None


@dataclass(frozen=True)
class ModelScores:
    """A model's score of each case: ``case`` and ``risk`` of shape (n,); any score serves for ranking."""

    name: str
    case: NDArray[np.str_]
    risk: Floats


def analyse(
    table: ReadingTable, settings: ReaderSettings, *, condition: str, model: ModelScores | None = None
) -> ReaderStudy:
    """Everything that ``readers.json`` says of a study.

    Raises
    ------
    InputError : the readings do not fit the design or the covariance; row and column are named.
    """
    study = arranged(table)
    check_fit(table, study, settings)
    risk = None if model is None else _aligned(model, study, table)
    found = {measure: _performance(study, measure, settings) for measure in _measures(settings)}
    several = len(study.modalities) > 1
    agreement, no_agreement = _agreement(study, settings.level)
    return ReaderStudy(
        schema=SCHEMA,
        condition=condition,
        cases=len(study.cases),
        events=int(study.outcome.sum()),
        groups=len(np.unique(study.group)),
        readings=len(table.rating),
        level=settings.level,
        design=settings.design,
        covariance=settings.covariance,
        cut=settings.cut,
        threshold=settings.threshold,
        modalities=_panels(found, settings),
        comparisons=tuple(_comparisons(found, settings)) if several else (),
        tests=tuple(_tests(found, settings)) if several else (),
        components=panels.variance_components(found["auc"]),
        model_against_readers=()
        if model is None or risk is None
        else tuple(_model_against(model.name, study, risk, settings)),
        plan=_plan(found["auc"], settings),
        agreement=agreement,
        mean_kappa={modality: _mean_kappa(pairs, settings.level) for modality, pairs in agreement.items()},
        no_agreement=no_agreement,
    )


def arranged(table: ReadingTable) -> Readings:
    """The table as modality by reader by case."""
    return arrange_readings(
        table.rating,
        outcome=table.outcome,
        reader=table.reader,
        case=table.case,
        modality=table.modality,
        group=table.group,
    )


def reader_curves(
    table: ReadingTable, settings: ReaderSettings, model: ModelScores | None = None
) -> tuple[ReaderCurve, ...]:
    """Each reader's ROC curve with each modality, then the model's."""
    study = arranged(table)
    curves = [
        _curve(modality, reader, study.rating[m, r], study.outcome, settings.cut)
        for m, modality in enumerate(study.modalities)
        for r, reader in enumerate(study.readers)
    ]
    if model is not None:
        risk = _aligned(model, study, table)
        curves.append(_curve("", model.name, risk, study.outcome, settings.threshold))
    return tuple(curves)


def _curve(
    modality: str, reader: str, rating: Floats, outcome: NDArray[np.bool_], cut: float | None
) -> ReaderCurve:
    read = ~np.isnan(rating)
    rating, outcome = rating[read], outcome[read]
    line = roc_curve(outcome, rating)
    acts = None if cut is None else flagged(rating, cut)
    point = None if acts is None else (float(acts[~outcome].mean()), float(acts[outcome].mean()))
    return ReaderCurve(modality, reader, 1 - line.specificity, line.sensitivity, line.threshold, point)


def check_fit(table: ReadingTable, study: Readings, settings: ReaderSettings) -> None:
    """Refuse a study that its design, measure or covariance cannot be taken from.

    Raises
    ------
    InputError : one reader only, a modality or reader without both outcomes, one rating throughout, or a
        case that not every reader read where the covariance needs it; row and column are named.
    """
    columns = table.columns
    if len(study.readers) < 2 and settings.design != "fixed_readers":
        fixed = option("--design fixed-readers", 'design="fixed_readers"')
        raise InputError(
            f"{table.row(0)}, column {columns.reader!r}: expected at least two readers, got "
            f"{study.readers[0]!r} in every row. Take the reader as fixed ({fixed}), or set a "
            "model beside one reader with: clineval evaluate --reader COLUMN"
        )
    for modality in study.modalities:
        _check_modality(table, modality)
    for modality in study.modalities:
        for reader in study.readers:
            _check_reader(table, reader, modality)
    if settings.covariance == "delong":
        _check_complete(table, study)


def _check_modality(table: ReadingTable, modality: str) -> None:
    rows = np.flatnonzero(table.modality == modality)
    if len(set(table.outcome[rows].tolist())) < 2:
        has = "with" if table.outcome[rows[0]] else "without"
        column = table.columns.modality or table.columns.outcome
        raise InputError(
            f"{table.row(int(rows[0]))}, column {column!r}: expected cases with and without the condition "
            f"for {modality!r}, got only cases {has} it in its {len(rows)} rows."
        )


def _check_reader(table: ReadingTable, reader: str, modality: str) -> None:
    rows = np.flatnonzero((table.reader == reader) & (table.modality == modality))
    who = f"reader {reader!r}" + (
        f" with modality {modality!r}" if len(set(table.modality.tolist())) > 1 else ""
    )
    if not len(rows):
        first = int(np.argmax(table.reader == reader))
        raise InputError(
            f"{table.row(first)}, column {table.columns.reader!r}: expected readings from {who}, got none."
        )
    events = int(table.outcome[rows].sum())
    if min(events, len(rows) - events) < 2:
        raise InputError(
            f"{table.row(int(rows[0]))}, column {table.columns.outcome!r}: expected at least two cases with "
            f"and two without the condition from {who}, got {events} and {len(rows) - events}."
        )
    if np.ptp(table.rating[rows]) == 0:
        raise InputError(
            f"{table.row(int(rows[0]))}, column {table.columns.rating!r}: expected different ratings "
            f"from {who}, got {table.rating[rows[0]]:g} in all {len(rows)} rows."
        )


def _check_complete(table: ReadingTable, study: Readings) -> None:
    missing = np.argwhere(np.isnan(study.rating))
    if len(missing):
        m, r, c = missing[0]
        first = int(np.argmax(table.case == study.cases[c]))
        modality = f" with modality {study.modalities[m]!r}" if len(study.modalities) > 1 else ""
        who = f"reader {study.readers[r]!r}{modality}"
        other = option("--covariance jackknife", 'covariance="jackknife"')
        raise InputError(
            f"{table.row(first)}, column {table.columns.case!r}: expected case {study.cases[c]!r} to be "
            f"read by every reader, got no row by {who} ({len(missing)} readings are missing). Add "
            f"them, or use {other}."
        )


def _aligned(model: ModelScores, study: Readings, table: ReadingTable) -> Floats:
    risk = dict(zip(model.case.tolist(), model.risk.tolist(), strict=True))
    for case in study.cases:
        if case not in risk:
            row = table.row(int(np.argmax(table.case == case)))
            raise InputError(
                f"{row}, column {table.columns.case!r}: expected a prediction of {model.name!r} for case "
                f"{case!r}, got none; its cases have names such as {str(model.case[0])!r}."
            )
    found = np.array([risk[case] for case in study.cases])
    if np.ptp(found) == 0:
        raise InputError(f"Expected different risks from {model.name!r}, got {found[0]:g} for every case.")
    return found


def _measures(settings: ReaderSettings) -> tuple[str, ...]:
    return MEASURES if settings.cut is not None else MEASURES[:1]


def _performance(study: Readings, measure: str, settings: ReaderSettings) -> Performance:
    return reader_performance(study, measure=measure, cut=settings.cut, covariance=settings.covariance)


def _panels(found: Mapping[str, Performance], settings: ReaderSettings) -> dict[str, PanelOfModality]:
    average, each = {}, {}
    for measure, performance in found.items():
        average[measure] = panels.average_reader(performance, design=settings.design, level=settings.level)
        each[measure] = panels.each_reader(performance, level=settings.level)
    first = found["auc"]
    rates = [measure for measure in found if measure != "auc"]
    return {
        modality: PanelOfModality(
            **{measure: average[measure][m].average for measure in found},
            readers=dict(zip(first.readers, each["auc"][m], strict=True)),
            rates={
                reader: {rate: each[rate][m][r] for rate in rates}
                for r, reader in enumerate(first.readers)
                if rates
            },
        )
        for m, modality in enumerate(first.modalities)
    }


def _designs(settings: ReaderSettings, readers: int) -> list[str]:
    """Every design that this many readers allow, the chosen one first."""
    allowed = list(panels.DESIGNS) if readers > 1 else ["fixed_readers"]
    return sorted(allowed, key=lambda design: design != settings.design)


def _comparisons(found: Mapping[str, Performance], settings: ReaderSettings) -> Iterator[ModalityComparison]:
    for measure, performance in found.items():
        for design in _designs(settings, len(performance.readers)):
            tested = panels.compare_modalities(performance, design=design, level=settings.level)
            for each in tested.differences:
                yield ModalityComparison(
                    measure,
                    each.names,
                    design,
                    COVARIANCE_NAMES[settings.covariance],
                    each.difference,
                    each.statistic,
                    each.df,
                    each.p_value,
                    _with_df(each),
                )


def _tests(found: Mapping[str, Performance], settings: ReaderSettings) -> Iterator[ModalityTestRecord]:
    for measure, performance in found.items():
        for design in _designs(settings, len(performance.readers)):
            test = panels.compare_modalities(performance, design=design, level=settings.level)
            yield ModalityTestRecord(measure, design, test.statistic, test.df, test.p_value, test.method)


def _with_df(found: panels.Difference) -> str:
    """The method, and that the degrees of freedom are infinite where they are: null in JSON."""
    infinite = "; degrees of freedom infinite, as of a normal test" if np.isinf(found.df) else ""
    return found.difference.method + infinite


def _model_against(
    model: str, study: Readings, risk: Floats, settings: ReaderSettings
) -> Iterator[ModelAgainstPanel]:
    measures = _measures(settings) if settings.threshold is not None else MEASURES[:1]
    for m, modality in enumerate(study.modalities):
        read = ~np.isnan(study.rating[m]).all(axis=0)
        group = study.group[read] if len(np.unique(study.group)) < len(study.group) else None
        own = auc_logit(study.outcome[read], risk[read], group=group, level=settings.level)
        for measure in measures:
            found = panels.model_against_panel(
                study,
                risk,
                modality=modality,
                measure=measure,
                threshold=settings.threshold,
                cut=settings.cut,
                covariance=settings.covariance,
                design=settings.design,
                level=settings.level,
            )
            margin = settings.margins.get(measure)
            judged = (
                None
                if margin is None
                else non_inferiority(found.difference, margin=margin, bound=found.bound)
            )
            yield ModelAgainstPanel(
                model=model,
                modality=modality,
                measure=measure,
                design=settings.design,
                covariance=COVARIANCE_NAMES[settings.covariance],
                model_auc=own,
                difference=found.difference,
                statistic=found.statistic,
                df=found.df,
                p_value=found.p_value,
                margin=margin,
                non_inferior=None if judged is None else judged.met,
                method=_with_df(found),
            )


def _agreement(study: Readings, level: float) -> tuple[dict[str, tuple[ReaderAgreement, ...]], str]:
    """Every pair of readers by modality, or nothing and the reason."""
    if len(study.readers) < 2:
        return {}, "there is one reader only"
    levels = ordinal_levels(study.rating[~np.isnan(study.rating)])
    if levels is None:
        return {}, f"the ratings have more than {MOST_LEVELS} levels and are no ordinal categories"
    return {
        modality: tuple(_pairs(study, study.rating[m], levels, level))
        for m, modality in enumerate(study.modalities)
    }, ""


def _pairs(study: Readings, rating: Floats, levels: Floats, level: float) -> Iterator[ReaderAgreement]:
    for pair in combinations(range(len(study.readers)), 2):
        both = ~np.isnan(rating[list(pair)]).any(axis=0)
        first, second = rating[list(pair)][:, both]
        found = kappa(
            first, second, weights="quadratic", categories=levels, group=study.group[both], level=level
        )
        yield ReaderAgreement((study.readers[pair[0]], study.readers[pair[1]]), int(both.sum()), found)


def _mean_kappa(pairs: tuple[ReaderAgreement, ...], level: float) -> Estimate:
    value = float(np.mean([each.kappa.value for each in pairs]))
    if np.isnan(value):
        return undefined("the kappa of a pair is undefined", level=level)
    words = f"no interval: mean of {len(pairs)} pairs, which share readers and cases"
    return Estimate(value, np.nan, np.nan, level, words)


def _plan(performance: Performance, settings: ReaderSettings) -> Plan | None:
    if settings.power is None or settings.difference is None:
        return None
    if len(performance.modalities) != 2:
        raise InputError(
            f"{option('--power')} plans a comparison of two modalities from the variances of a study that "
            f"has two, got {len(performance.modalities)}. Name the column with "
            f"{option('--modality-column', 'modality')}."
        )
    components = panels.variance_components(performance)
    if not np.isfinite([components.error, components.cov1]).all():
        raise InputError(
            f"{option('--power')} plans from the variances of this study, which has none: "
            f"{performance.method}."
        )
    studies = panels.study_sizes(
        components,
        difference=settings.difference,
        readers=PLANNED_READERS,
        wanted=settings.power,
        design=settings.design,
        level=settings.level,
    )
    return Plan(settings.power, settings.difference, settings.design, studies)
