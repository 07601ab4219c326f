"""Multi-reader multi-case studies: the average reader, between modalities and beside a model.

The analysis is Obuchowski and Rockette's (1995, doi:10.1080/03610919508813243) with Hillis' degrees of
freedom (2007, doi:10.1002/sim.2532; 2014, doi:10.1002/sim.5926), as R's MRMCaov 0.3.0 gives it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtr, stdtr, stdtrit
from scipy.stats import chi2, f, ncf, ncx2

from clineval.statistics.counts import Floats, checked_cases, flagged, takes_series
from clineval.statistics.intervals import Estimate, normal_quantile, square_and_add
from clineval.statistics.readings import MEASURES, Performance, Readings, known_word, reader_performance

DESIGNS = {
    "random": "random readers and cases",
    "fixed_readers": "these readers, random cases",
    "fixed_cases": "random readers, these cases",
}
NO_SPREAD = 1e-14  # a smaller variance, a standard error of 1e-7, is the rounding of numbers between 0 and 1
MOST_CASES = 1_000_000  # a planned study that needs more is reported as out of reach


@dataclass(frozen=True)
class Components:
    """Where the variation comes from: readers, modality by reader, and the error with its covariances.

    ``cov1``: same reader, other modality; ``cov2``: same modality, other reader; ``cov3``: both other.
    Estimates may be below 0. ``cases``: how many cases the error belongs to.
    """

    reader: float
    modality_reader: float
    error: float
    cov1: float
    cov2: float
    cov3: float
    cases: int


@dataclass(frozen=True)
class Difference:
    """One reader-averaged number less another: ``df`` is infinite where the test is a normal one.

    ``bound`` has the bounds that decide on a margin of non-inferiority, where they are others.
    """

    names: tuple[str, str]
    difference: Estimate
    standard_error: float
    df: float
    statistic: float
    p_value: float
    bound: Estimate | None = None


@dataclass(frozen=True)
class ModalityTest:
    """Whether the modalities differ at all (F; chi-squared for fixed readers), and each pair's difference."""

    design: str
    statistic: float
    df: tuple[float, float]
    p_value: float
    differences: tuple[Difference, ...]
    method: str


@dataclass(frozen=True)
class ReaderAverage:
    """The average reader of one modality, with an interval."""

    modality: str
    average: Estimate
    standard_error: float
    df: float


@dataclass(frozen=True)
class PlannedStudy:
    """Readers and cases that reach a power; ``cases`` is None where no number of cases does."""

    readers: int
    cases: int | None
    power: float


def variance_components(performance: Performance) -> Components:
    """How much readers differ, and how their errors are correlated through the cases they share."""
    value, T, R = performance.value, *performance.value.shape
    cov1, cov2, cov3, error = _mean_covariances(performance)
    _, MS_R, MS_TR = _mean_squares(value)
    return Components(
        reader=(MS_R - MS_TR) / T - cov1 + cov3 if R > 1 and T > 1 else np.nan,
        modality_reader=MS_TR - error + cov1 + (cov2 - cov3) if R > 1 and T > 1 else np.nan,
        error=error,
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
        cases=performance.cases,
    )


def _mean_covariances(performance: Performance) -> tuple[float, float, float, float]:
    """Cov1, Cov2, Cov3 and the mean variance; 0 between what shares no case by design, as in MRMCaov."""
    C, (T, R) = performance.covariance, performance.value.shape
    own = float(np.einsum("trtr->", C))
    of_reader = float(np.einsum("trur->", C)) - own
    of_modality = float(np.einsum("trts->", C)) - own
    neither = float(C.sum()) - own - of_reader - of_modality
    apart = performance.nested
    cov1 = of_reader / (R * T * (T - 1)) if T > 1 and apart != "modalities" else 0.0
    cov2 = of_modality / (T * R * (R - 1)) if R > 1 and apart != "readers" else 0.0
    cov3 = neither / (T * (T - 1) * R * (R - 1)) if T > 1 and R > 1 and not apart else 0.0
    return cov1, cov2, cov3, own / (T * R)


def _mean_squares(value: Floats) -> tuple[float, float, float]:
    """Mean squares of modality, reader and their interaction; NaN where there is one level only."""
    T, R = value.shape
    t, r, overall = value.mean(axis=1, keepdims=True), value.mean(axis=0, keepdims=True), value.mean()
    return (
        _mean_square(R * np.sum((t - overall) ** 2), T - 1),
        _mean_square(T * np.sum((r - overall) ** 2), R - 1),
        _mean_square(np.sum((value - t - r + overall) ** 2), (T - 1) * (R - 1)),
    )


def _mean_square(squares: float, df: int) -> float:
    return float(squares / df) if df else np.nan


def compare_modalities(
    performance: Performance, *, design: str = "random", level: float = 0.95
) -> ModalityTest:
    """Whether readers do better with one modality than with another, over the average reader.

    Parameters
    ----------
    performance : of two modalities or more, from ``reader_performance``.
    design : "random" (speaks for other readers and other cases), "fixed_readers" (these readers only) or
        "fixed_cases" (these cases only).

    Raises
    ------
    ValueError
        With one modality, or with one reader unless the readers are fixed.
    """
    T, R = performance.value.shape
    _check_design(design, R)
    if T < 2:
        raise ValueError(f"Expected at least two modalities to compare, got {T}.")
    variance, df = _variance_of_difference(performance, design)
    statistic, p_value = _overall_test(performance.value, variance, df, design)
    method, average = _words(performance, design), performance.value.mean(axis=1)
    differences = tuple(
        _difference((one, two), float(average[a] - average[b]), variance, df, level, method)
        for (a, one), (b, two) in combinations(enumerate(performance.modalities), 2)
    )
    return ModalityTest(design, statistic, (float(T - 1), df), p_value, differences, method)


def _overall_test(value: Floats, variance: float, df: float, design: str) -> tuple[float, float]:
    """Whether the modalities differ at all: F, or for fixed readers chi-squared, and its p value."""
    T, R = value.shape
    if not variance > NO_SPREAD:
        return np.nan, np.nan
    # R/2 of a difference's variance is the denominator of the F test.
    F = _mean_squares(value)[0] / (variance * R / 2)
    if design == "fixed_readers":
        return F * (T - 1), float(chi2.sf(F * (T - 1), T - 1))
    # Hillis' degrees of freedom are infinite where all readers differ alike.
    p_value = f.sf(F, T - 1, df) if np.isfinite(df) else chi2.sf(F * (T - 1), T - 1)
    return F, float(p_value)


def _check_design(design: str, readers: int) -> None:
    known_word(design, DESIGNS, "design")
    if readers < 2 and design != "fixed_readers":
        raise ValueError(
            f"Expected at least two readers to speak for others, got {readers}. Take the readers as fixed."
        )


def _variance_of_difference(performance: Performance, design: str) -> tuple[float, float]:
    """Variance of a difference of two modalities' averages, and its degrees of freedom."""
    T, R = performance.value.shape
    MS_TR = _mean_squares(performance.value)[2]
    if design == "fixed_cases":
        return 2 / R * MS_TR, float((T - 1) * (R - 1))
    cov1, cov2, cov3, error = _mean_covariances(performance)
    if design == "fixed_readers":
        return 2 / R * (error - cov1 + (R - 1) * (cov2 - cov3)), np.inf
    denominator = MS_TR + R * max(cov2 - cov3, 0)
    return 2 / R * denominator, _hillis_df(denominator, MS_TR, (T - 1) * (R - 1))


def _hillis_df(denominator: float, mean_square: float, df: int) -> float:
    """Hillis 2007: infinite where all the variance comes from the cases."""
    return float(df * (denominator / mean_square) ** 2) if mean_square > NO_SPREAD else np.inf


def average_reader(
    performance: Performance, *, design: str = "random", level: float = 0.95
) -> tuple[ReaderAverage, ...]:
    """The average reader of each modality, with an interval of that modality's readings alone.

    Parameters as for ``compare_modalities``. Bounds are cut at 0 and 1. Hillis 2014,
    doi:10.1002/sim.5926.
    """
    _check_design(design, performance.value.shape[1])
    method = _words(performance, design)
    averages = []
    for place, modality in enumerate(performance.modalities):
        value, C = performance.value[place], performance.covariance[place, :, place, :]
        cov2 = 0.0 if performance.nested == "readers" else _mean_off_diagonal(C)
        variance, df = _variance_of_average(value, float(np.trace(C)) / len(C), cov2, design)
        found = _interval(float(value.mean()), variance, df, level, method)
        averages.append(ReaderAverage(modality, _within_0_and_1(found), float(np.sqrt(variance)), df))
    return tuple(averages)


def _mean_off_diagonal(C: Floats) -> float:
    R = len(C)
    return float(C.sum() - np.trace(C)) / (R * (R - 1)) if R > 1 else 0.0


def _variance_of_average(value: Floats, error: float, cov2: float, design: str) -> tuple[float, float]:
    """Variance of the mean of readers' values, and its degrees of freedom."""
    R = len(value)
    if design == "fixed_readers":
        return (error + (R - 1) * max(cov2, 0)) / R, np.inf
    MS_R = float(value.var(ddof=1))
    if design == "fixed_cases":
        return MS_R / R, float(R - 1)
    return MS_R / R + max(cov2, 0), _hillis_df(MS_R + R * max(cov2, 0), MS_R, R - 1)


def each_reader(performance: Performance, *, level: float = 0.95) -> tuple[tuple[Estimate, ...], ...]:
    """Each reader's value with each modality, as rows of modalities; normal intervals, cut at 0 and 1."""
    rows = []
    for place, values in enumerate(performance.value):
        variances = np.diagonal(performance.covariance[place, :, place, :])
        found = [
            _interval(float(v), float(s), np.inf, level, performance.method)
            for v, s in zip(values, variances, strict=True)
        ]
        rows.append(tuple(_within_0_and_1(each) for each in found))
    return tuple(rows)


@takes_series
def model_against_panel(
    study: Readings,
    risk: ArrayLike,
    *,
    modality: str | None = None,
    measure: str = "auc",
    threshold: float | None = None,
    cut: float | None = None,
    covariance: str = "delong",
    design: str = "random",
    level: float = 0.95,
) -> Difference:
    """How much better (above 0) or worse a model is than the average reader, on the cases that they read.

    Parameters
    ----------
    risk : shape (cases,), in the order of ``study.cases``; any score serves for the AUC.
    modality : with which the readers read; None: the only one.
    threshold, cut : at which the model flags and the readers act; needed for sensitivity and specificity.
    measure, covariance, design, level : as for ``reader_performance`` and ``compare_modalities``.

    Notes
    -----
    Each reader's difference to the model is analysed as a single modality (Hillis et al. 2005,
    doi:10.1002/sim.2024; Hillis 2007, doi:10.1002/sim.2532, page 607), as in RJafroc:
    t with (J - 1) ((MS + max(J Cov2, 0)) / MS)^2 degrees of freedom, Cov2 that of two differences.
    """
    _check_design(design, len(study.readers))
    known_word(measure, MEASURES, "measure")
    panel = _of_modality(study, modality)
    _, risk = checked_cases(study.outcome, risk)
    joined = _with_model(panel, risk[np.isin(study.cases, panel.cases)], measure, threshold, cut)
    at = None if measure == "auc" else 1
    found = reader_performance(joined, measure=measure, cut=at, covariance=covariance)
    C = found.covariance[0, :, 0, :]
    psi = found.value[0, 0] - found.value[0, 1:]
    spread = C[1:, 1:] - C[1:, :1] - C[:1, 1:] + C[0, 0]
    error = float(np.trace(spread)) / len(psi)
    variance, df = _variance_of_average(psi, error, _mean_off_diagonal(spread), design)
    words = _words(found, design)
    difference = _difference(("model", "average reader"), float(psi.mean()), variance, df, level, words)
    if measure != "auc":
        return difference
    bound = _by_logit(found.value[0], difference, float(C[0, 0]), float(C[0, 1:].mean()))
    return replace(difference, bound=bound)


def _by_logit(value: Floats, found: Difference, of_model: float, shared: float) -> Estimate | None:
    """The model's AUC less the readers' mean with bounds by MOVER on the logit scale; None without them.

    ``value``, the model's AUC and then the readers'; ``of_model``, ``shared``: its variance, and the
    covariance with a reader's. The variance of the mean is what makes that of the difference the one found.
    """
    model, mean = float(value[0]), float(value[1:].mean())
    of_mean = found.standard_error**2 - of_model + 2 * shared
    if not (min(of_model, of_mean) > 0 and 0 < model < 1 and 0 < mean < 1) or np.isnan(found.difference.low):
        return None
    reach = (found.difference.high - found.difference.low) / 2 / found.standard_error
    estimates = []
    for auc, variance in ((model, of_model), (mean, of_mean)):
        away = reach * np.sqrt(variance) / (auc * (1 - auc))
        low, high = (float(expit(logit(auc) + step)) for step in (-away, away))
        estimates.append(Estimate(auc, low, high, found.difference.level, ""))
    alike = float(np.clip(shared / np.sqrt(of_model * of_mean), -1, 1))
    low, high = square_and_add(estimates[0], estimates[1], correlation=alike)
    method = f"MOVER on the logit scale ({found.difference.method})"
    return Estimate(found.difference.value, low, high, found.difference.level, method)


def _of_modality(study: Readings, modality: str | None) -> Readings:
    """The study of one modality, with the cases that any reader read with it."""
    place = 0 if modality is None and len(study.modalities) == 1 else _place(study.modalities, modality)
    rating = study.rating[place]
    read = ~np.isnan(rating).all(axis=0)
    return Readings(
        rating[None][:, :, read],
        study.outcome[read],
        study.group[read],
        (study.modalities[place],),
        study.readers,
        tuple(name for name, kept in zip(study.cases, read, strict=True) if kept),
    )


def _place(modalities: tuple[str, ...], modality: str | None) -> int:
    if modality not in modalities:
        raise ValueError(f"Expected as modality one of {', '.join(modalities)}, got {modality!r}.")
    return modalities.index(modality)


def _with_model(
    panel: Readings, risk: Floats, measure: str, threshold: float | None, cut: float | None
) -> Readings:
    """The panel with the model as its first reader; for a rate, each with 1 where it flags."""
    rating = panel.rating
    if measure == "auc":
        if risk.min() == risk.max():
            raise ValueError(f"Expected different risks from the model, got {risk[0]:g} for every case.")
    elif threshold is None or cut is None:
        raise ValueError(f"Expected the model's threshold and the readers' cut for the {measure}.")
    else:
        rating = np.where(np.isnan(rating), np.nan, flagged(rating, cut))
        risk = flagged(risk, threshold).astype(np.float64)
    both = np.concatenate([risk[None, None, :], rating], axis=1)
    return replace(panel, rating=both, readers=("model", *panel.readers))


def power(
    components: Components,
    *,
    difference: float,
    readers: int,
    cases: int,
    design: str = "random",
    level: float = 0.95,
) -> float:
    """The chance that a study of so many readers and cases finds a difference between two modalities.

    Parameters
    ----------
    components : of a pilot study with two modalities, from ``variance_components``; cases like those.
    difference : of the reader-averaged measure, true in the planned study.
    level : 1 less the size of the two-sided test.

    Notes
    -----
    Hillis, Obuchowski and Berbaum 2011, doi:10.1016/j.acra.2010.09.007, equation 10 and table 2: errors
    shrink with the number of cases, negative estimates count as 0.
    """
    _check_design(design, readers)
    _known_components(components)
    var_TR, shared = max(components.modality_reader, 0.0), max(components.cov2 - components.cov3, 0.0)
    own = components.cases / cases * (components.error - components.cov1 - shared)
    shared *= components.cases / cases
    if design == "fixed_readers":
        noncentrality = difference**2 * readers / 2 / (own + readers * shared)
        return float(ncx2.sf(chi2.ppf(level, 1), 1, noncentrality))
    denominator = var_TR + own + (readers * shared if design == "random" else 0.0)
    df = readers - 1 if design == "fixed_cases" else _hillis_df(denominator, var_TR + own, readers - 1)
    return float(ncf.sf(f.ppf(level, 1, df), 1, df, difference**2 * readers / 2 / denominator))


def study_sizes(
    components: Components,
    *,
    difference: float,
    readers: Iterable[int],
    wanted: float = 0.8,
    design: str = "random",
    level: float = 0.95,
) -> tuple[PlannedStudy, ...]:
    """For each number of readers, the least number of cases that gives the power wanted.

    Parameters as for ``power``; ``wanted`` is the power, between 0 and 1.
    """
    if not 0 < wanted < 1:
        raise ValueError(f"Expected a power between 0 and 1, got {wanted}.")

    def planned(number: int) -> PlannedStudy:
        def at(cases: int) -> float:
            return power(
                components, difference=difference, readers=number, cases=cases, design=design, level=level
            )

        if at(MOST_CASES) < wanted:
            return PlannedStudy(number, None, at(MOST_CASES))
        low, high = 1, MOST_CASES
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if at(middle) >= wanted else (middle, high)
        return PlannedStudy(number, high, at(high))

    return tuple(planned(number) for number in readers)


def _known_components(components: Components) -> None:
    if not np.isfinite([components.modality_reader, components.error, components.cov1]).all():
        raise ValueError(
            "Expected components of a study with two modalities and several readers, got undefined ones."
        )
    if components.error - components.cov1 - max(components.cov2 - components.cov3, 0.0) <= 0:
        raise ValueError(
            "Expected an error variance above its covariances, got one below: the pilot study is too small."
        )


def _words(performance: Performance, design: str) -> str:
    how = "Student's t, Hillis' degrees of freedom" if design == "random" else "Student's t"
    if design == "fixed_cases":
        return f"Obuchowski-Rockette, {DESIGNS[design]}, Student's t"
    how = "normal" if design == "fixed_readers" else how
    return f"Obuchowski-Rockette, {DESIGNS[design]}, {performance.method}, {how}"


def _difference(
    names: tuple[str, str], value: float, variance: float, df: float, level: float, method: str
) -> Difference:
    estimate = _interval(value, variance, df, level, method)
    error = float(np.sqrt(variance)) if variance >= 0 else np.nan
    if np.isnan(estimate.low):
        return Difference(names, estimate, error, df, np.nan, np.nan)
    t = value / error
    p_value = 2 * (stdtr(df, -abs(t)) if np.isfinite(df) else ndtr(-abs(t)))
    return Difference(names, estimate, error, df, float(t), float(p_value))


def _interval(value: float, variance: float, df: float, level: float, method: str) -> Estimate:
    """Value and quantile times standard error; no bounds, with the reason, where there is no variance."""
    normal = normal_quantile(level)  # refuses a level outside (0, 1)
    if np.isnan(variance):
        return Estimate(value, np.nan, np.nan, level, method)
    if variance <= NO_SPREAD:
        kind = "below 0" if variance < -NO_SPREAD else "0"
        return Estimate(value, np.nan, np.nan, level, f"no interval: the variance is {kind} ({method})")
    reach = (stdtrit(df, (1 + level) / 2) if np.isfinite(df) else normal) * np.sqrt(variance)
    return Estimate(value, float(value - reach), float(value + reach), level, method)


def _within_0_and_1(found: Estimate) -> Estimate:
    if np.isnan(found.low):
        return found
    return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0), found.level, found.method)
