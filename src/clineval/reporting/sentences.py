"""Sentences made from numbers and their intervals: none says more than its interval allows."""

import math
from collections.abc import Mapping, Sequence

from clineval.evaluation.guarantees import GUARANTEED
from clineval.evaluation.records import OperatingPoint
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


def whole_percent(value: float | None) -> str:
    """A proportion in whole percent, for sentences."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.0f}%"


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


def covers(estimate: Estimate, value: float) -> bool:
    """Whether the interval leaves ``value`` possible; an undefined bound leaves everything possible."""
    return not (estimate.low > value or estimate.high < value)


def p_text(p_value: float | None) -> str:
    """``p = 0.012`` unbroken, never ``p = 0.000``; empty where there is none."""
    if p_value is None or math.isnan(p_value):
        return ""
    return "p\u00a0<\u00a00.001" if p_value < 0.001 else f"p\u00a0=\u00a0{p_value:.3f}"


def chosen_words(point: OperatingPoint) -> str:
    """How a threshold was chosen, and on which cases."""
    if point.chosen_on in ("fixed", "given"):
        return point.chosen_on
    return f"{aim_words(point)} on {split_name(point.chosen_on)}"


def aim_words(point: OperatingPoint) -> str:
    """How a threshold was chosen, in three words."""
    if point.chosen_on in ("fixed", "given"):
        return point.chosen_on
    if point.name.startswith(GUARANTEED):
        measure, _, aim = point.name.removeprefix(GUARANTEED).partition("_")
        return f"guaranteed {aim}% {measure}"
    target = point.name.removeprefix("sensitivity_")
    return f"chosen for {target}% sensitivity" if target.isdigit() else "chosen"


def split_name(split: str) -> str:
    """A split in words, where it is one of the program's own."""
    return {"train_out_of_fold": "out-of-fold training data", "val": "validation data"}.get(split, split)


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def two_decimals(estimate: Estimate | None) -> str:
    """``0.91 (0.83 to 0.95)``, for headlines; or why there is no such number."""
    if estimate is None or not defined(estimate):
        return f"not defined ({reason(estimate)})"
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return f"{number(estimate.value, 2)} (no interval)"
    return f"{number(estimate.value, 2)} ({number(estimate.low, 2)} to {number(estimate.high, 2)})"


def difference(first: str, second: str, estimate: Estimate, *, measure: str) -> str:
    """What a paired difference ``first`` minus ``second`` allows one to say."""
    if not defined(estimate):
        return f"The difference in {measure} between {first} and {second} is not defined: {reason(estimate)}."
    lead = f"Difference in {measure}, {first} minus {second}: {with_interval(estimate)}"
    if covers(estimate, 0.0) or not interval(estimate):
        return f"{lead}; these cases do not show which of the two is better."
    return f"{lead}; {first if estimate.value > 0 else second} is better on these cases."


def detection(point: OperatingPoint, *, condition: str) -> str:
    """What happens to the cases at one threshold, in counts."""
    count = {name: int(value or 0) for name, value in point.counts.items()}
    present = count["true_positives"] + count["false_negatives"]
    absent = count["false_positives"] + count["true_negatives"]
    found = f"it finds {count['true_positives']} of {present} {condition} cases" if present else ""
    alarms = f"raises {count['false_positives']} false alarms among {absent} others" if absent else ""
    said = listed([part for part in (found, alarms) if part])
    return f"At the threshold {number(point.threshold, 2)} ({chosen_words(point)}) {said}."


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
