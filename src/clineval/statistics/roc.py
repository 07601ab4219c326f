"""The ROC curve with its rates, band and areas."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from clineval.statistics.auc import (
    Comparison,
    auc,
    auc_logit,
    compare_auc,
    compare_auc_unpaired,
    degenerate_auc,
    missing_outcome,
)
from clineval.statistics.counts import Floats, checked_cases, group_codes, takes_series
from clineval.statistics.intervals import (
    MOST_UNITS,
    Estimate,
    clopper_pearson,
    effective_groups,
    few_groups,
    normal_quantile,
    percentile_interval,
    quantile_by_group,
    shared_groups,
    tails,
    undefined,
)
from clineval.statistics.scores import Levels, coarsened, levels_of, resampled_levels

__all__ = [
    "Comparison",
    "RocBand",
    "RocCurve",
    "auc",
    "auc_logit",
    "average_precision",
    "bootstrap_auc",
    "compare_auc",
    "compare_auc_unpaired",
    "partial_auc",
    "roc_band",
    "roc_curve",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
]


@dataclass(frozen=True)
class RocCurve:
    """What flagging ``risk >= threshold`` catches and spares, each of shape (k,), thresholds descending.

    The first threshold is infinite and flags no case, the last is the lowest risk and flags every case.
    """

    threshold: Floats
    sensitivity: Floats
    specificity: Floats


@dataclass(frozen=True)
class RocBand:
    """The ROC curve on a grid of specificities with a pointwise bootstrap band, each of shape (k,)."""

    specificity: Floats
    sensitivity: Floats
    low: Floats
    high: Floats
    level: float
    method: str


# From a curve's sensitivity and specificity, each (k,) by descending threshold, to the numbers wanted.
Reading = Callable[[Floats, Floats], float | Floats]

# From events and non-events per level, each (rows, L), to a number or numbers per row.
Statistic = Callable[[Levels, Floats, Floats], Floats]


@takes_series
def roc_curve(outcome: ArrayLike, risk: ArrayLike) -> RocCurve:
    """Sensitivity and specificity at every threshold that makes a difference.

    >>> curve = roc_curve([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    >>> curve.sensitivity.tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    risk : shape (n,), finite.

    Raises
    ------
    ValueError
        Where one outcome is missing: a curve needs both.
    """
    outcome, risk = checked_cases(outcome, risk)
    if reason := missing_outcome(outcome):
        raise ValueError(f"A ROC curve {reason}.")
    levels = levels_of(outcome, risk)
    sensitivity, specificity = _rates(levels.events, levels.non_events)
    return RocCurve(np.concatenate([[np.inf], levels.risk]), sensitivity, specificity)


@takes_series
def sensitivity_at_specificity(
    outcome: ArrayLike,
    risk: ArrayLike,
    specificity: float,
    *,
    group: ArrayLike | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The share of cases with the condition that is caught where this share of the others is spared.

    Read off the curve, straight between its points, with a bootstrap interval (pROC's ``ci.se``, Robin
    et al. 2011, doi:10.1186/1471-2105-12-77). The threshold moves with every resample: this is not the
    interval of one fixed threshold.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    specificity : between 0 and 1.
    """
    _check_proportions("A specificity", specificity)

    def read(sensitivity: Floats, specificities: Floats) -> Floats:
        return _read_off(specificities, sensitivity, specificity)

    outcome, risk = checked_cases(outcome, risk)
    estimate = _resampled(_by_row(read), outcome, risk, group=group, draws=draws, seed=seed, level=level)
    return _with_width(estimate, binomial_in=_units(outcome, group))


@takes_series
def specificity_at_sensitivity(
    outcome: ArrayLike,
    risk: ArrayLike,
    sensitivity: float,
    *,
    group: ArrayLike | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The share of cases without the condition that is spared where this share of the others is caught.

    The mirror image of ``sensitivity_at_specificity`` (pROC's ``ci.sp``).
    """
    _check_proportions("A sensitivity", sensitivity)

    def read(sensitivities: Floats, specificity: Floats) -> Floats:
        return _read_off(sensitivities[::-1], specificity[::-1], sensitivity)

    outcome, risk = checked_cases(outcome, risk)
    estimate = _resampled(_by_row(read), outcome, risk, group=group, draws=draws, seed=seed, level=level)
    return _with_width(estimate, binomial_in=_units(~outcome, group))


@takes_series
def roc_band(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    specificity: ArrayLike | None = None,
    group: ArrayLike | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> RocBand:
    """The ROC curve with a band that holds its sensitivity at each specificity, one at a time.

    A pointwise bootstrap band: the whole curve leaves it somewhere more often than 1 - level says. The
    band is NaN where an outcome has a single case or group.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    specificity : shape (k,), each between 0 and 1; by default 0, .01, ... 1.

    Raises
    ------
    ValueError
        Where one outcome is missing.
    """
    grid = np.arange(101) / 100 if specificity is None else np.asarray(specificity, dtype=np.float64)
    _check_proportions("Every specificity", grid)
    normal_quantile(level)  # refuses a level outside (0, 1)
    outcome, risk = checked_cases(outcome, risk)
    if reason := missing_outcome(outcome):
        raise ValueError(f"A ROC curve {reason}.")

    def read(sensitivity: Floats, specificities: Floats) -> Floats:
        return _read_off(specificities, sensitivity, grid)

    levels = levels_of(outcome, risk)
    value = read(*_rates(levels.events, levels.non_events))
    if reason := _single_unit(outcome, group):
        return RocBand(grid, value, np.full(len(grid), np.nan), np.full(len(grid), np.nan), level, reason)
    drawn, method, groups = _drawn(_by_row(read), outcome, levels, group=group, draws=draws, seed=seed)
    low, high = np.quantile(drawn, tails(level, groups), axis=0)
    return RocBand(grid, value, low, high, level, f"pointwise {method}")


@takes_series
def partial_auc(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    low: float,
    high: float = 1.0,
    over: str = "specificity",
    group: ArrayLike | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The AUC of the part of the curve that a clinic would use, on the scale where .5 is useless.

    The area between two specificities (or sensitivities), rescaled so that the diagonal gives .5 and a
    perfect curve 1; below .5 where the curve runs under the diagonal there. Percentile bootstrap.
    McClish 1989, doi:10.1177/0272989X8900900307.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    low, high : 0 <= low < high <= 1.
    over : ``"specificity"`` or ``"sensitivity"``: which of the two ``low`` and ``high`` bound.
    """
    _check_proportions("A bound of a partial AUC", (low, high))
    if not low < high or over not in ("specificity", "sensitivity"):
        raise ValueError(
            f"A partial AUC needs low < high, over 'specificity' or 'sensitivity'; "
            f"got {low}, {high}, {over!r}."
        )

    def read(sensitivity: Floats, specificity: Floats) -> float:
        if over == "sensitivity":
            sensitivity, specificity = specificity[::-1], sensitivity[::-1]
        return _standardised_area(1 - specificity, sensitivity, 1 - high, 1 - low)

    outcome, risk = checked_cases(outcome, risk)
    found = _on_logit_scale(_by_row(read), outcome, risk, group=group, draws=draws, seed=seed, level=level)
    if np.isnan(found.low):
        return found
    return replace(
        found, method=f"{found.method}; covers 86 to 97 % where it says 95 %, less with few events"
    )


@takes_series
def bootstrap_auc(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The AUC with a percentile bootstrap interval, all resamples computed at once.

    At an AUC of 1 or 0, where every resample is the same,
    the exact bound of ``auc`` stands instead. Above 50,000 cases resamples are drawn by quantile bin,
    which keeps the value exact.
    """
    outcome, risk = checked_cases(outcome, risk)
    estimate = _resampled(_concordance, outcome, risk, group=group, draws=draws, seed=seed, level=level)
    return degenerate_auc(outcome, risk, estimate.value, group=group, level=level) or estimate


@takes_series
def average_precision(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The mean share of true alarms as the threshold falls: the area under the precision-recall curve.

    Depends on the prevalence of these cases: 10 % of events give a useless model .1. The step-wise sum,
    which does not flatter as straight lines between points do; tied risks enter together. The interval is
    on the logit scale, with the error of bootstrap resamples that leave the number of events to chance.
    Davis and Goadrich 2006, doi:10.1145/1143844.1143874; logit interval: Boyd, Eng and Page 2013,
    doi:10.1007/978-3-642-40994-3_29.
    """
    outcome, risk = checked_cases(outcome, risk)
    return _on_logit_scale(
        _stepwise_precision, outcome, risk, group=group, draws=draws, seed=seed, level=level
    )


def _on_logit_scale(
    statistic: Statistic,
    outcome: NDArray[np.bool_],
    risk: Floats,
    *,
    group: ArrayLike | None,
    draws: int,
    seed: int,
    level: float,
) -> Estimate:
    """A number between 0 and 1, its interval from the spread of its logit over resamples of all cases."""
    normal_quantile(level)  # refuses a level outside (0, 1)
    if reason := missing_outcome(outcome):
        return undefined(reason, level=level)
    levels = levels_of(outcome, risk)
    value = float(statistic(levels, levels.events[None], levels.non_events[None])[0])
    if reason := _single_unit(outcome, group):
        return Estimate(value, np.nan, np.nan, level, reason)
    if not 0 < value < 1:
        return Estimate(value, np.nan, np.nan, level, f"no interval: {value:g} has no logit")
    drawn, words, groups = _drawn(
        statistic, outcome, levels, group=group, draws=draws, seed=seed, stratified=False
    )
    drawn = drawn[(drawn > 0) & (drawn < 1)]
    if 2 * len(drawn) < draws:
        return Estimate(value, np.nan, np.nan, level, "no interval: most resamples give 0, 1 or nothing")
    error = float(np.std(logit(drawn), ddof=1)) if len(drawn) > 1 else np.nan
    reach = quantile_by_group(level, groups) * error
    low, high = expit(logit(value) + np.array([-reach, reach]))
    method = f"logit scale, error of {words.removeprefix('percentile ')}, events left to chance"
    return Estimate(value, float(low), float(high), level, method)


def _resampled(
    statistic: Statistic,
    outcome: NDArray[np.bool_],
    risk: Floats,
    *,
    group: ArrayLike | None,
    draws: int,
    seed: int,
    level: float,
) -> Estimate:
    """A statistic of the levels with its percentile interval, undefined where resampling shows nothing."""
    normal_quantile(level)  # refuses a level outside (0, 1)
    if reason := missing_outcome(outcome):
        return undefined(reason, level=level)
    levels = levels_of(outcome, risk)
    value = float(statistic(levels, levels.events[None], levels.non_events[None])[0])
    if reason := _single_unit(outcome, group):
        return Estimate(value, np.nan, np.nan, level, reason)
    drawn, method, groups = _drawn(statistic, outcome, levels, group=group, draws=draws, seed=seed)
    return percentile_interval(value, drawn, level=level, method=method, groups=groups)


def _drawn(
    statistic: Statistic,
    outcome: NDArray[np.bool_],
    levels: Levels,
    *,
    group: ArrayLike | None,
    draws: int,
    seed: int,
    stratified: bool = True,
) -> tuple[Floats, str, float]:
    """The statistic over resamples, shape (draws, ...), how they were drawn, and the number of groups."""
    coarse, code = coarsened(levels), shared_groups(group, len(outcome))
    blocks = resampled_levels(outcome, coarse, group=code, draws=draws, seed=seed, stratified=stratified)
    with np.errstate(invalid="ignore"):  # a resample may lack an outcome: its number is NaN
        drawn = np.concatenate([statistic(coarse, *block) for block in blocks])
    words, groups = f"percentile bootstrap, {draws} draws", np.inf
    if code is not None:
        groups = effective_groups(code)
        words += (
            " of groups" if coarse is levels else f" of groups, gathered into {MOST_UNITS} units of a kind"
        )
    return (
        drawn,
        words if coarse is levels else f"{words}, risks in {len(coarse.start)} quantile bins",
        groups,
    )


def _by_row(read: Reading) -> Statistic:
    """A reading of one curve as a statistic of many resamples."""

    def statistic(levels: Levels, events: Floats, non_events: Floats) -> Floats:
        both = (events.sum(axis=1) > 0) & (non_events.sum(axis=1) > 0)
        curves = zip(*_rates(events[both], non_events[both]), strict=True)
        read_off = [read(sensitivity, specificity) for sensitivity, specificity in curves]
        found = np.full((len(both), *np.shape(read_off[0] if read_off else 0.0)), np.nan)
        found[both] = read_off
        return found

    return statistic


def _rates(events: Floats, non_events: Floats) -> tuple[Floats, Floats]:
    """Sensitivity and specificity as the threshold falls through the levels, shape (..., L + 1)."""
    start = np.zeros((*events.shape[:-1], 1))
    caught = np.concatenate([start, np.cumsum(events, axis=-1)], axis=-1)
    alarmed = np.concatenate([start, np.cumsum(non_events, axis=-1)], axis=-1)
    # Counts divided once: 9 of 10 must be the very number .9 that a user asks for.
    return caught / caught[..., -1:], (alarmed[..., -1:] - alarmed) / alarmed[..., -1:]


def _read_off(given: Floats, wanted: Floats, at: ArrayLike) -> Floats:
    """The best ``wanted`` rate, ascending, where the ``given`` one, descending, is ``at``; straight between.

    ``np.interp`` takes the last of equal abscissae: of a vertical step its upper end.
    """
    return np.interp(-np.asarray(at), -given, wanted)


def _standardised_area(across: Floats, up: Floats, low: float, high: float) -> float:
    """McClish's rescaled area under an ascending curve between two abscissae."""
    within = slice(*np.searchsorted(across, [low, high], side="right"))
    at = np.concatenate([[low], across[within], [high]])
    height = np.concatenate([np.interp([low], across, up), up[within], np.interp([high], across, up)])
    area = np.diff(at) @ (height[1:] + height[:-1]) / 2
    useless, perfect = (high**2 - low**2) / 2, high - low
    return float((1 + (area - useless) / (perfect - useless)) / 2)


def _concordance(levels: Levels, events: Floats, non_events: Floats) -> Floats:
    """The AUC of each row: the share of pairs ranked rightly, ties counting half."""
    passed = np.cumsum(non_events, axis=1)
    total = passed[:, -1]
    exceeded = total[:, None] - passed + levels.concordance * non_events
    return np.einsum("ij,ij->i", events, exceeded) / (events.sum(axis=1) * total)


def _stepwise_precision(levels: Levels, events: Floats, non_events: Floats) -> Floats:
    """The average precision of each row, all cases of a level entering together."""
    caught = np.cumsum(events, axis=1)
    flagged = caught + np.cumsum(non_events, axis=1)
    # A level above all that were drawn flags no case; it holds no event to be weighed either.
    precision = np.divide(caught, flagged, out=np.zeros_like(caught), where=flagged > 0)
    return np.einsum("ij,ij->i", events, precision) / caught[:, -1]


def _with_width(estimate: Estimate, *, binomial_in: int) -> Estimate:
    """A rate of 0 or 1 in every resample with an exact binomial interval instead of none."""
    if (
        estimate.value not in (0.0, 1.0)
        or not np.isnan(estimate.low)
        or "every resample" not in estimate.method
    ):
        return estimate
    exact = clopper_pearson(round(estimate.value * binomial_in), binomial_in, level=estimate.level)
    why = "every resample gives the same number"
    return replace(exact, method=f"{why}; exact binomial bound on {binomial_in} instead")


def _units(chosen: NDArray[np.bool_], group: ArrayLike | None) -> int:
    """How many groups hold a chosen case; without groups how many cases are chosen."""
    if group is None:
        return int(np.count_nonzero(chosen))
    return len(np.unique(group_codes(group, len(chosen))[chosen]))


def _single_unit(outcome: NDArray[np.bool_], group: ArrayLike | None) -> str:
    """Why resampling these cases would show no spread, or too little; empty where it would."""
    if few := few_groups(shared_groups(group, len(outcome))):
        return few
    events, others = _units(outcome, group), _units(~outcome, group)
    if min(events, others) > 1:
        return ""
    kind = "" if group is None else "groups with "
    return (
        f"no interval: resampling needs two {kind}events and two {kind}non-events; "
        f"there are {events} and {others}"
    )


def _check_proportions(what: str, values: ArrayLike) -> None:
    values = np.asarray(values)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"{what} lies between 0 and 1; got {values}.")
