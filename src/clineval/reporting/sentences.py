"""What a report speaks of, and sentences from numbers: none says more than its interval allows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan

from clineval.evaluation import Evaluation, Primary
from clineval.evaluation.operating_points import GUARANTEED, aim
from clineval.evaluation.records import ModelComparison, OperatingPoint, PopulationScores
from clineval.statistics.intervals import Estimate

INTERNAL, EXTERNAL = "test", "external"  # in transport.json
CLEAN = "test_clean"
HEADLINE = ("logreg", "cnn")  # baseline and main model of files that declare no primary one
PREFERRED = ("given", "sensitivity_90", "half")  # the main threshold of files that declare none


@dataclass(frozen=True)
class Subject:
    """Which models and populations the report speaks of, in order.

    ``main`` is the primary model, ``baseline`` the model beside it.
    """

    evaluation: Evaluation
    main: str
    baseline: str | None
    population: str
    others: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    watched: tuple[str, ...] = field(default=())

    @property
    def condition(self) -> str:
        """The word for outcome 1."""
        return self.evaluation.condition

    @property
    def pair(self) -> tuple[str, ...]:
        """The primary model, then the baseline where there is one."""
        return (self.main,) if self.baseline is None else (self.main, self.baseline)

    def scores(self, model: str, population: str | None = None) -> PopulationScores | None:
        """One model on one population, the main one by default; None where it was not scored there."""
        return self.evaluation.models.get(model, {}).get(population or self.population)

    def models(self, population: str | None = None) -> list[str]:
        """Models scored on a population: the primary one, the baseline, then the others."""
        order = dict.fromkeys([*self.pair, *self.evaluation.models])
        return [name for name in order if self.scores(name, population) is not None]

    def point(self, model: str | None = None, population: str | None = None) -> OperatingPoint | None:
        """The primary threshold of a model, the primary one by default; None where it has none."""
        scores = self.scores(model or self.main, population)
        return None if scores is None else main_point(scores, self.evaluation.primary)


def main_point(scores: PopulationScores, primary: Primary | None = None) -> OperatingPoint | None:
    """The operating point that is spoken of first: the primary threshold, or a model's own of its kind."""
    there = [point for point in scores.operating_points if not math.isnan(point.threshold)]
    if primary is not None:
        kin = [point for point in there if point.chosen_on == primary.chosen_on]
        same = [point for point in kin if point.threshold == primary.threshold]
        if kin:
            return (same or kin)[0]
    return next((point for name in PREFERRED for point in there if point.name == name), None)


def subject_of(evaluation: Evaluation, *, main: str | None = None) -> Subject:
    """What the evaluation declares primary; of files of versions before that, the CNN beside its baseline.

    The main population is ``test`` where there is one.

    Parameters
    ----------
    main : the model to speak of first in files that declare none.
    """
    tested, watched = _populations(evaluation)
    population = "test" if "test" in tested else (tested or watched)[0]
    there = [name for name, by_population in evaluation.models.items() if population in by_population]
    wanted = evaluation.primary.model if evaluation.primary is not None else main or HEADLINE[1]
    first = wanted if wanted in there else there[min(1, len(there) - 1)]
    others = [name for name in dict.fromkeys([HEADLINE[0], *there]) if name in there and name != first]
    return Subject(
        evaluation,
        main=first,
        baseline=next(iter(others), None),
        population=population,
        others=tuple(name for name in tested if name == "test_clean"),
        external=tuple(name for name in tested if name not in (population, "test_clean")),
        watched=tuple(name for name in watched if name != population),
    )


def _populations(evaluation: Evaluation) -> tuple[list[str], list[str]]:
    """Populations kept for testing, and those that were used before."""
    used = {
        name: scores.used_for
        for by_population in evaluation.models.values()
        for name, scores in by_population.items()
    }
    return [name for name in used if not used[name]], [name for name in used if used[name]]


def population_name(population: str) -> str:
    """A population in words, where it is one of the program's own."""
    return {
        "test_clean": "test_clean (no near-duplicate in train or val)",
        "train_out_of_fold": "train, out of fold",
    }.get(population, population)


def main_comparison(subject: Subject) -> ModelComparison | None:
    """Main model minus baseline in AUC on the main population."""
    wanted = {subject.main, subject.baseline}
    for each in subject.evaluation.comparisons:
        if each.measure == "auc" and each.population == subject.population and set(each.models) == wanted:
            return each if each.models[0] == subject.main else turned(each)
    return None


def turned(comparison: ModelComparison) -> ModelComparison:
    """The same comparison the other way round."""
    return replace(
        comparison,
        models=(comparison.models[1], comparison.models[0]),
        difference=negated(comparison.difference),
        statistic=-comparison.statistic,
    )


def negated(difference: Estimate) -> Estimate:
    """A difference taken the other way round."""
    return replace(difference, value=-difference.value, low=-difference.high, high=-difference.low)


# The word for those who are examined, where the data set says who they are.
PEOPLE = {"breastmnist": "women", "phantom": "cases"}


def share(prevalence: float) -> str:
    """A prevalence in words: whole percent, one decimal below ten percent."""
    return percent(prevalence) if prevalence < 0.1 else whole_percent(prevalence)


UNNAMED = "condition"  # the word for outcome 1 where the user gave none


def cases_of(condition: str, *, one: bool = False) -> str:
    """``malignant cases``; ``cases with the condition`` where no word was given."""
    word = "case" if one else "cases"
    return f"{word} with the condition" if condition == UNNAMED else f"{condition} {word}"


def with_condition(condition: str) -> str:
    """What follows a count: ``malignant``; ``with the condition`` where no word was given."""
    return "with the condition" if condition == UNNAMED else condition


def people(dataset: str, scores: PopulationScores | None = None) -> str:
    """Who is counted in natural frequencies: ``women`` for breast images, else ``people``.

    ``cases`` for synthetic images, and where several may be of one person: fewer groups than cases.
    """
    if scores is not None and scores.groups < scores.cases:
        return "cases"
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


def target_percent(value: float) -> str:
    """A target as it was asked for: ``90%``, ``92.5%``."""
    return f"{round(100 * value, 9):g}%"


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


def count_words(count: int) -> str:
    """A count in words up to ten: ``three``."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[count] if count < len(words) else whole(count)


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


def is_default(point: OperatingPoint) -> bool:
    """Whether a threshold is the program's own one half, which no one gave and no data chose."""
    return point.chosen_on == "fixed"


def origin_words(point: OperatingPoint) -> str:
    """How a threshold was chosen; of a default, that none was."""
    if not is_default(point):
        return chosen_words(point)
    return "a default; no threshold was chosen"


def chosen_words(point: OperatingPoint) -> str:
    """How a threshold was chosen, and on which cases."""
    if point.chosen_on in ("fixed", "given"):
        return aim_words(point)
    return f"{aim_words(point)} on {split_name(point.chosen_on)}"


def aim_words(point: OperatingPoint) -> str:
    """How a threshold was chosen, in three words."""
    if point.chosen_on in ("fixed", "given"):
        return "default" if is_default(point) else "given"
    if point.name.startswith(GUARANTEED):
        measure, _, percents = point.name.removeprefix(GUARANTEED).partition("_")
        return f"guaranteed {percents}% {measure}"
    target = aim(point.name)
    return "chosen" if target is None else f"chosen for {target_percent(target)} sensitivity"


def split_name(split: str) -> str:
    """A split in words, where it is one of the program's own."""
    return {"train_out_of_fold": "out-of-fold training data", "val": "validation data"}.get(split, split)


def rule_words(rule: str) -> str:
    """How something was chosen, with the program's own splits in words."""
    return rule.replace("train_out_of_fold", split_name("train_out_of_fold"))


def listed(names: Sequence[str], *, last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


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
    found = f"it finds {count['true_positives']} of {present} {cases_of(condition)}" if present else ""
    alarms = f"raises {count['false_positives']} false alarms among {absent} others" if absent else ""
    said = listed([part for part in (found, alarms) if part])
    return f"At the threshold {number(point.threshold, 2)} ({origin_words(point)}) {said}."


def frequencies(*, prevalence: float, sensitivity: float, specificity: float) -> dict[str, int]:
    """The four cells among 1,000 people, in whole people that add up."""
    of = 1000
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
    named = "" if condition == UNNAMED else f" ({condition})"
    return (
        f"Of {present + absent:,} {people}, {present} have the condition{named}: "
        f"{cells['true_positives']} found, {cells['false_negatives']} missed. "
        f"Of the {absent} without it, {cells['false_positives']} get a false alarm."
    )


VERBS = {
    "auc": ("ranks better than", "ranks worse than", "ranks better or worse than"),
    "sensitivity": ("is more sensitive than", "is less sensitive than", "is more or less sensitive than"),
    "specificity": ("is more specific than", "is less specific than", "is more or less specific than"),
}


def compared(
    subject: str, other: str, difference: Estimate, measure: str, *, p_value: float = math.nan
) -> str:
    """One sentence on ``subject`` less ``other``, bounded by its interval.

    ``ranks worse than BI-RADS: −0.15 (95% CI −0.20 to −0.10)``; with its p value where one is given.
    """
    better, worse, neither = VERBS[measure]
    if not defined(difference):
        return f"{subject} cannot be compared with {other} by {measure_name(measure)}: {difference.method}."
    if isnan(difference.low):
        return f"{subject} less {other}, {measure_name(measure)}: {difference_words(difference, measure)}."
    said = difference_words(difference, measure)
    p = p_text(p_value)
    if difference.low > 0 or difference.high < 0:
        return f"{subject} {better if difference.low > 0 else worse} {other}: {said}{', ' if p else ''}{p}."
    if p:
        name = measure_name(measure)
        return f"The difference in {name}, {subject} less {other}, {said}, may be chance ({p})."
    return f"There is no evidence that {subject} {neither} {other}: {said}."


def margin_words(margin: float, difference: Estimate, met: bool | None, measure: str) -> str:
    """Whether non-inferiority is shown, with the bound that decides it."""
    at = f"margin {margin_size(margin, measure)}, fixed before the numbers were seen"
    if met is None:
        return f"Non-inferiority ({at}) cannot be judged: there is no interval."
    bound = signed_difference(difference.low, measure, difference_digits(difference))
    return f"Non-inferiority ({at}) is {'shown' if met else 'not shown'}: the lower bound is {bound}."


def measure_name(measure: str) -> str:
    """A measure as a sentence names it."""
    return "AUC" if measure == "auc" else measure


def difference_words(difference: Estimate, measure: str) -> str:
    """``−0.044 (95% CI −0.088 to +0.000)``; of rates in percentage points; or why there is none."""
    if not defined(difference):
        return f"not defined ({reason(difference)})"
    digits = difference_digits(difference)
    value = signed_difference(difference.value, measure, digits)
    if isnan(difference.low):
        return f"{value} (no interval)"
    bounds = (signed_difference(bound, measure, digits) for bound in (difference.low, difference.high))
    unit = "" if measure == "auc" else " percentage points"
    return f"{value} ({level_name(difference)} {' to '.join(bounds)}){unit}"


def difference_digits(difference: Estimate) -> int:
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
