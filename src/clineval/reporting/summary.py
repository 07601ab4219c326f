"""An evaluation in five lines: the primary model, what it finds and misses, its AUC, and the verdict."""

import math
import textwrap
from collections.abc import Iterator

from clineval.evaluation.records import OperatingPoint
from clineval.reporting.sentences import chosen_words, defined, number, reason
from clineval.reporting.subject import Subject
from clineval.reporting.verdict import judge
from clineval.statistics.intervals import Estimate

WIDTH = 80  # columns of the narrowest terminal
LABEL = 10  # columns of a line's label


def in_few_lines(subject: Subject, *, where: str = "") -> list[str]:
    """The answer as lines of at most 80 columns, each with its label.

    Parameters
    ----------
    where : the name of an external cohort, which the verdict then names.
    """
    scores = subject.evaluation.models[subject.main][subject.population]
    point = subject.point()
    verdict = judge(scores, point, condition=subject.condition, where=where)
    lines = {
        "Model": _model(subject.evaluation.named(subject.main), point),
        "Found": _found(subject, scores.cases, scores.events, point),
        "AUC": f"{_auc(scores.measures.get('auc_logit'))}, {scores.cases:,} cases of {subject.population}",
        "Verdict": verdict.headline,
    }
    return [line for label, text in lines.items() for line in labelled(label, text)]


def labelled(label: str, text: str) -> Iterator[str]:
    """A text under its label, wrapped to the terminal's width without breaking a word."""
    first, rest = f"{label:<{LABEL}}", " " * LABEL
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False
    )


def _model(model: str, point: OperatingPoint | None) -> str:
    if point is None or math.isnan(point.threshold):
        return f"{model}, without a threshold"
    return f"{model} at threshold {number(point.threshold, 3)} ({chosen_words(point)})"


def _found(subject: Subject, cases: int, events: int, point: OperatingPoint | None) -> str:
    if point is None or point.counts.get("true_positives") is None:
        return f"{events:,} of {cases:,} cases have the condition ({subject.condition})"
    found, missed, alarms = (
        point.counts[cell] or 0 for cell in ("true_positives", "false_negatives", "false_positives")
    )
    of_others = f"{alarms:,} false alarms in {cases - events:,} others"
    return f"{found:,} of {events:,} {subject.condition}, {missed:,} missed; {of_others}"


def _auc(estimate: Estimate | None) -> str:
    if estimate is None or not defined(estimate):
        return f"undefined ({reason(estimate)})"
    bounds = f"{number(estimate.low, 2)} to {number(estimate.high, 2)}"
    return f"{number(estimate.value, 2)} ({100 * estimate.level:g}% CI {bounds})"
