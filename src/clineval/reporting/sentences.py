"""Sentences made from numbers and their intervals: none says more than its interval allows."""

import math
from collections.abc import Mapping, Sequence

from clineval.evaluation.records import ScoredPoint
from clineval.statistics.intervals import Estimate

# The word for those who are examined, where the data set says who they are.
PEOPLE = {"breastmnist": "women", "phantom": "women"}


def people(dataset: str) -> str:
    """Who is counted in natural frequencies: ``women`` for breast images, else ``people``."""
    return PEOPLE.get(dataset.split("_")[0], "people")


def number(value: float | None, digits: int = 3) -> str:
    """A number to ``digits`` decimals with a true minus sign; an en dash where it is not defined."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def percent(value: float | None) -> str:
    """A proportion in percent, one decimal, rounded as ``number`` rounds it to three."""
    if value is None or math.isnan(value):
        return "–"
    thousandths = round(float(f"{value:.3f}") * 1000)
    return f"{thousandths / 10:.1f}%".replace("-", "−")


def points(value: float | None) -> str:
    """A difference of two proportions in percentage points, one decimal, without the words."""
    return percent(value).removesuffix("%")


def signed(gap: float, *, as_points: bool = False) -> str:
    """A difference, its plus sign written; of two proportions ``as_points``, in percentage points."""
    size = points(gap) if as_points else number(gap)
    return f"+{size}" if gap > 0 else size


def whole(count: int) -> str:
    """A count with thin spaces between thousands, as the SI writes it; four digits stay together."""
    return f"{count:,}".replace(",", "\u202f") if count >= 10_000 else str(count)


def defined(estimate: Estimate | None) -> bool:
    """Whether there is a value to print."""
    return estimate is not None and not math.isnan(estimate.value)


def reason(estimate: Estimate | None) -> str:
    """Why a value is missing."""
    return estimate.method if estimate is not None and estimate.method else "not computed"


def interval(estimate: Estimate, *, as_percent: bool = False, as_points: bool = False) -> str:
    """``0.850 to 0.941``; empty where there is none."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    write = percent if as_percent else points if as_points else number
    return f"{write(estimate.low)} to {write(estimate.high)}"


def level_name(estimate: Estimate) -> str:
    """``95% CI``."""
    return f"{estimate.level * 100:g}% CI"


def with_interval(estimate: Estimate | None, *, as_percent: bool = False, name_level: bool = True) -> str:
    """``0.905 (95% CI 0.850 to 0.941)``, or why there is no such number."""
    if estimate is None or not defined(estimate):
        return f"not defined ({reason(estimate)})"
    value = percent(estimate.value) if as_percent else number(estimate.value)
    bounds = interval(estimate, as_percent=as_percent)
    if not bounds:
        return f"{value} (no interval)"
    return f"{value} ({level_name(estimate)} {bounds})" if name_level else f"{value} ({bounds})"


def with_interval_after_comma(estimate: Estimate | None, *, as_percent: bool = False) -> str:
    """``0.905, 95% CI 0.850 to 0.941``, for use inside brackets."""
    said = with_interval(estimate, as_percent=as_percent)
    return said.replace(" (", ", ", 1).removesuffix(")") if defined(estimate) else said


def covers(estimate: Estimate, value: float) -> bool:
    """Whether the interval leaves ``value`` possible; an undefined bound leaves everything possible."""
    return not (estimate.low > value or estimate.high < value)


def p_text(p_value: float | None) -> str:
    """``p = 0.012`` unbroken, never ``p = 0.000``; empty where there is none."""
    if p_value is None or math.isnan(p_value):
        return ""
    return "p\u00a0<\u00a00.001" if p_value < 0.001 else f"p\u00a0=\u00a0{p_value:.3f}"


def chosen_words(point: ScoredPoint) -> str:
    """How a threshold came about, and on which cases."""
    if point.chosen_on in ("fixed", "given"):
        return point.chosen_on
    return f"{aim_words(point)} on {split_name(point.chosen_on)}"


def aim_words(point: ScoredPoint) -> str:
    """How a threshold came about, in three words."""
    if point.chosen_on in ("fixed", "given"):
        return point.chosen_on
    target = point.name.removeprefix("sensitivity_")
    return f"chosen for sensitivity {target}%" if target.isdigit() else "chosen"


def split_name(split: str) -> str:
    """A split in words, where it is one of the program's own."""
    return {"train_out_of_fold": "out-of-fold training data", "val": "validation data"}.get(split, split)


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def discrimination(model: str, auc: Estimate | None, *, condition: str) -> str:
    """How well a model orders cases, in the words of the AUC's definition."""
    if auc is None or not defined(auc):
        return f"For {model} the AUC is not defined: {reason(auc)}."
    return (
        f"Shown one {condition} case and one other, {model} gives the {condition} one the higher risk with "
        f"probability {with_interval(auc)} (the AUC)."
    )


def difference(first: str, second: str, estimate: Estimate, *, measure: str, p_value: float | None) -> str:
    """What a paired difference ``first`` minus ``second`` allows one to say."""
    if not defined(estimate):
        return f"The difference in {measure} between {first} and {second} is not defined: {reason(estimate)}."
    p = f", {p_text(p_value)}" if p_text(p_value) else ""
    bounds = f"({level_name(estimate)} {interval(estimate)}{p})" if interval(estimate) else "(no interval)"
    lead = f"The paired difference in {measure}, {first} minus {second}, is {signed(estimate.value)} {bounds}"
    if covers(estimate, 0.0) or not interval(estimate):
        return f"{lead}: the interval covers 0, so these cases do not tell which of the two is better."
    winner = first if estimate.value > 0 else second
    return f"{lead}: the interval excludes 0, so {winner} discriminates better on these cases."


def detection(
    model: str, *, condition: str, threshold: str, found: int, present: int, alarms: int, absent: int,
    sensitivity: Estimate, specificity: Estimate,
) -> str:  # fmt: skip
    """What happens to the cases at one threshold, in counts first."""
    parts = []
    if present:
        parts.append(
            f"found {found} of {present} {condition} cases "
            f"(sensitivity {with_interval_after_comma(sensitivity, as_percent=True)})"
        )
    if absent:
        parts.append(
            f"raised {alarms} false alarms among {absent} others "
            f"(specificity {with_interval_after_comma(specificity, as_percent=True)})"
        )
    return f"At the threshold {threshold}, {model} {' and '.join(parts)}."


def calibration(model: str, slope: Estimate | None, intercept: Estimate | None) -> str:
    """Whether the risks can be taken at face value, as far as the intervals can tell."""
    if slope is None or intercept is None or not (defined(slope) and defined(intercept)):
        lacking = slope if not defined(slope) else intercept
        return f"The calibration of {model} cannot be summarised: {reason(lacking)}."
    return f"{model}: {_level(intercept)}; {_spread(slope)}."


def _level(intercept: Estimate) -> str:
    bounds = f"intercept {with_interval(intercept, name_level=False)}"
    if covers(intercept, 0.0):
        return f"no departure of the mean risk can be shown ({bounds} covers 0)"
    return f"risks are too {'low' if intercept.value > 0 else 'high'} on average ({bounds})"


def _spread(slope: Estimate) -> str:
    bounds = f"slope {with_interval(slope, name_level=False)}"
    if covers(slope, 1.0):
        return f"no departure of their spread ({bounds} covers 1)"
    return f"risks are too {'extreme' if slope.value < 1 else 'timid'} ({bounds})"


def frequencies(
    *, prevalence: float, sensitivity: float, specificity: float, of: int = 1000
) -> dict[str, int]:
    """The four cells among ``of`` people, in whole people that add up."""
    present = round(of * prevalence)
    found = round(of * prevalence * sensitivity) if not math.isnan(sensitivity) else 0
    alarms = round(of * (1 - prevalence) * (1 - specificity)) if not math.isnan(specificity) else 0
    return {
        "true_positives": min(found, present),
        "false_negatives": present - min(found, present),
        "false_positives": min(alarms, of - present),
        "true_negatives": of - present - min(alarms, of - present),
    }


def natural(cells: Mapping[str, int], *, people: str, condition: str) -> str:
    """The cells of ``frequencies`` as a sentence that a patient could read, as the explorer says it."""
    present = cells["true_positives"] + cells["false_negatives"]
    absent = cells["false_positives"] + cells["true_negatives"]
    return (
        f"Of {present + absent:,} {people}, {present} have the condition ({condition}): "
        f"{cells['true_positives']} found, {cells['false_negatives']} missed. "
        f"Of the {absent} without it, {cells['false_positives']} get a false alarm."
    )
