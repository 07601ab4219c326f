"""How many local events it takes until a locally set threshold can be relied on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clineval.statistics.counts import Bools, Floats, checked_risks, group_codes
from clineval.statistics.thresholds import least_sure_count, threshold_for_sensitivity

# Events of a local sample at which the curve is drawn.
NUMBERS = (10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200)
# The share of adoptions that should reach the target.
NINE_IN_TEN = 0.9


@dataclass(frozen=True)
class LocalCases:
    """How well a locally set threshold keeps its sensitivity, by the number of local events that set it.

    Each of shape (k,): ``events``; ``sensitivity`` and ``specificity`` to expect; ``worst_tenth``, the
    sensitivity that one adoption in ten stays below; ``reached``, the share of adoptions whose sensitivity
    is at least ``target`` - ``tolerance``. ``needed`` is the least of ``events`` from which on nine in ten
    reach it, NaN where none does, with the ``reason``.
    """

    events: NDArray[np.intp]
    sensitivity: Floats
    worst_tenth: Floats
    specificity: Floats
    reached: Floats
    target: float
    tolerance: float
    assurance: float | None
    needed: float
    reason: str


def local_cases_needed(
    outcome: ArrayLike,
    risk: ArrayLike,
    *,
    target: float = 0.9,
    tolerance: float = 0.05,
    assurance: float | None = None,
    numbers: Sequence[int] = NUMBERS,
    group: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> LocalCases:
    """The sensitivity to expect of a threshold set on so many local events, and how many are enough.

    The cohort at hand stands for all of the site's patients: local samples of so many events are drawn
    from it, whole groups with replacement, each sets a threshold, and the sensitivity and specificity of
    that threshold are those in the whole cohort.

    Parameters
    ----------
    outcome, risk, group : shape (n,), the cohort at hand.
    target : sensitivity that the threshold is set for, between 0 and 1.
    tolerance : how far below the target an adoption may end, 0 or more. Without ``assurance`` about half
        of all adoptions end below the target itself, however many cases there are.
    assurance : None sets the threshold at the target sensitivity of the sample; a probability such as 0.9
        sets it lower, so that the true sensitivity reaches the target with that probability (at the lowest
        event's risk where the sample is too small for that).
    numbers : events in a local sample, ascending, each at least 1; the last group may bring some more.
    draws, seed : of the samples of each number.
    """
    outcome, risk = checked_risks(outcome, risk)
    if not 0 < np.count_nonzero(outcome) < len(outcome):
        raise ValueError("Expected local cases with and without the condition; got one class only.")
    groups, rng = _events_by_group(outcome, risk, group), np.random.default_rng(seed)
    thresholds = np.array(
        [[_threshold(_sample(groups, m, rng), target, assurance) for _ in range(draws)] for m in numbers]
    )
    sensitivity = 1 - _share_below(risk[outcome], thresholds)
    # A rate is a ratio of counts: one that equals the target may differ from it in the last bit.
    reached = (sensitivity >= target - tolerance - 1e-12).mean(axis=1)
    needed, reason = _needed(numbers, reached)
    return LocalCases(
        events=np.asarray(numbers, dtype=np.intp),
        sensitivity=sensitivity.mean(axis=1),
        worst_tenth=np.quantile(sensitivity, 0.1, axis=1),
        specificity=_share_below(risk[~outcome], thresholds).mean(axis=1),
        reached=reached,
        target=target,
        tolerance=tolerance,
        assurance=assurance,
        needed=needed,
        reason=reason,
    )


def local_threshold(
    outcome: ArrayLike, risk: ArrayLike, *, target: float, assurance: float | None = None
) -> float:
    """The threshold that local cases set for a sensitivity.

    Parameters
    ----------
    outcome, risk : shape (n,), at least one event.
    target, assurance : as for ``local_cases_needed``; the assurance takes events as independent.
    """
    total = int(np.count_nonzero(outcome))
    if assurance is None or not total:
        return threshold_for_sensitivity(outcome, risk, target)
    return threshold_for_sensitivity(
        outcome, risk, min(least_sure_count(total, target, assurance), total) / total
    )


def _events_by_group(outcome: Bools, risk: Floats, group: ArrayLike | None) -> list[Floats]:
    code = np.unique(group_codes(group, len(outcome))[outcome], return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    return np.split(risk[outcome][order], np.cumsum(np.bincount(code))[:-1])


def _sample(groups: list[Floats], number: int, rng: np.random.Generator) -> Floats:
    """The risks of at least ``number`` events, from whole groups drawn with replacement."""
    drawn = rng.integers(len(groups), size=number)
    events = np.cumsum([len(groups[each]) for each in drawn])
    return np.concatenate([groups[each] for each in drawn[: np.searchsorted(events, number) + 1]])


def _threshold(events: Floats, target: float, assurance: float | None) -> float:
    return local_threshold(np.ones(len(events), dtype=bool), events, target=target, assurance=assurance)


def _share_below(risk: Floats, thresholds: Floats) -> Floats:
    """The share of cases that each threshold does not flag."""
    return np.searchsorted(np.sort(risk), thresholds) / len(risk)


def _needed(numbers: Sequence[int], reached: Floats) -> tuple[float, str]:
    """The least number from which on nine in ten reach the target, and the reason where there is none."""
    enough = int(np.append(0, np.flatnonzero(reached < NINE_IN_TEN) + 1)[-1])
    if enough < len(numbers):
        return float(numbers[enough]), ""
    return math.nan, f"with {numbers[-1]} events, the most considered, {reached[-1]:.0%} reach it"
