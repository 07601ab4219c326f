"""Differences from readers in words, bounded by their intervals."""

from math import isnan

from clineval.reporting.sentences import defined, level_name, number
from clineval.statistics.intervals import Estimate

VERBS = {
    "auc": ("ranks better than", "ranks worse than", "ranks better or worse than"),
    "sensitivity": ("is more sensitive than", "is less sensitive than", "is more or less sensitive than"),
    "specificity": ("is more specific than", "is less specific than", "is more or less specific than"),
}


def compared(subject: str, other: str, difference: Estimate, measure: str) -> str:
    """One sentence on ``subject`` less ``other``, bounded by its interval.

    ``ranks worse than BI-RADS: −0.15 (95% CI −0.20 to −0.10)``.
    """
    better, worse, neither = VERBS[measure]
    if not defined(difference):
        return f"{subject} cannot be compared with {other} by {measure_name(measure)}: {difference.method}."
    if isnan(difference.low):
        return f"{subject} less {other}, {measure_name(measure)}: {_gap(difference, measure)}."
    said = _gap(difference, measure)
    if difference.low > 0 or difference.high < 0:
        return f"{subject} {better if difference.low > 0 else worse} {other}: {said}."
    return f"There is no evidence that {subject} {neither} {other}: {said}."


def margin_words(margin: float, difference: Estimate, met: bool | None, measure: str) -> str:
    """Whether non-inferiority is shown, with the bound that decides it."""
    at = f"margin {margin_size(margin, measure)}, fixed before the numbers were seen"
    if met is None:
        return f"Non-inferiority ({at}) cannot be judged: there is no interval."
    bound = signed_difference(difference.low, measure, _digits(difference))
    return f"Non-inferiority ({at}) is {'shown' if met else 'not shown'}: the lower bound is {bound}."


def measure_name(measure: str) -> str:
    """A measure as a sentence names it."""
    return "AUC" if measure == "auc" else measure


def _gap(difference: Estimate, measure: str) -> str:
    digits = _digits(difference)
    value = signed_difference(difference.value, measure, digits)
    if isnan(difference.low):
        return f"{value} (no interval)"
    bounds = (signed_difference(bound, measure, digits) for bound in (difference.low, difference.high))
    unit = "" if measure == "auc" else " percentage points"
    return f"{value} ({level_name(difference)} {' to '.join(bounds)}){unit}"


def _digits(difference: Estimate) -> int:
    """Two decimals, three where two would print a bound beside 0 as 0."""
    bounds = (difference.low, difference.high)
    return 3 if any(bound and abs(bound) < 0.005 for bound in bounds if not isnan(bound)) else 2


def signed_difference(value: float, measure: str, digits: int) -> str:
    """A difference, its plus sign written; of rates in percentage points, two decimals fewer."""
    text = number(value, digits) if measure == "auc" else number(100 * value, digits - 2)
    return f"+{text}" if value > 0 else text


def margin_size(margin: float, measure: str) -> str:
    """A margin as a sentence gives it."""
    return f"{margin:g}" if measure == "auc" else f"{100 * margin:g} percentage points"
