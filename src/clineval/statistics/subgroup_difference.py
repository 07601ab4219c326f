"""A part of the cases against all the others: how much better or worse a model does there, with an interval.

Both intervals are joined by Zou and Donner's square-and-add rule (MOVER 2008, doi:10.1002/sim.3095). Where
a group has cases on both sides, as a patient with a left and a right breast, the two estimates are not
independent; their correlation over the groups enters the rule.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from clineval.statistics.auc import auc_logit, square_and_add
from clineval.statistics.counts import Bools, checked_cases, group_codes, takes_series
from clineval.statistics.intervals import Estimate, undefined
from clineval.statistics.rates import grouped_rate

Floats = NDArray[np.float64]


@takes_series
def auc_of_part_less_rest(
    outcome: ArrayLike,
    risk: ArrayLike,
    part: Bools,
    *,
    group: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The AUC within a part of the cases less that within the others; below 0 the part is ranked worse.

    Parameters
    ----------
    outcome, risk, group : shape (n,).
    part : shape (n,), True where the case belongs to the part.
    """
    outcome, risk = checked_cases(outcome, risk)
    code = group_codes(group, len(outcome))
    sides = (part, ~part)
    aucs = [auc_logit(outcome[on], risk[on], group=code[on], level=level) for on in sides]
    if not all(np.isfinite([each.low, each.high]).all() for each in aucs):
        return undefined(_lacking(aucs), level=level)
    shares = [_sums(_auc_influence(outcome[on], risk[on]), code[on], code) for on in sides]
    return _difference(aucs[0], aucs[1], _correlation(*shares), what="AUC")


@takes_series
def rate_of_part_less_rest(
    right: Bools, part: Bools, *, group: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """A rate, such as the sensitivity, within a part of the cases less that within the others.

    Parameters
    ----------
    right : shape (n,), whether the case counts; of the sensitivity, the cases with the condition that are
        flagged among all that have it.
    part, group : shape (n,), as for ``auc_of_part_less_rest``.
    """
    code = group_codes(group, len(right))
    sides = (part, ~part)
    rates = [grouped_rate(right[on], code[on], level=level) for on in sides]
    if not all(np.isfinite(each.value) for each in rates):
        return undefined(_lacking(rates), level=level)
    shares = [_sums(right[on] - right[on].mean(), code[on], code) for on in sides]
    return _difference(rates[0], rates[1], _correlation(*shares), what="rate")


def _auc_influence(outcome: Bools, risk: Floats) -> Floats:
    """How far each case moves the AUC, shape (n,): its placement less the AUC, over the cases like it."""
    among_all = rankdata(risk)
    influence = np.empty(len(risk))
    for side, sign in ((outcome, 1.0), (~outcome, -1.0)):
        beaten = (among_all[side] - rankdata(risk[side])) / np.count_nonzero(~side)
        influence[side] = sign * (beaten - beaten.mean()) / np.count_nonzero(side)
    return influence


def _sums(values: Floats, own: NDArray[np.intp], code: NDArray[np.intp]) -> Floats:
    """The sum per group, over all groups of the population."""
    return np.bincount(own, weights=values, minlength=int(code.max()) + 1).astype(np.float64)


def _correlation(first: Floats, second: Floats) -> float:
    """Of two estimates through the groups that have cases in both; 0 where none has."""
    spread = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / spread if spread > 0 else 0.0


def _difference(first: Estimate, second: Estimate, correlation: float, *, what: str) -> Estimate:
    low, high = square_and_add(first, second, correlation=correlation)
    shared = f", correlated by {correlation:+.2f} through groups on both sides" if correlation else ""
    method = f"MOVER of the {what}'s two intervals{shared}"
    return Estimate(first.value - second.value, low, high, first.level, method)


def _lacking(estimates: list[Estimate]) -> str:
    side, each = next(
        (side, each)
        for side, each in zip(("the part", "the others"), estimates, strict=True)
        if not np.isfinite([each.value, each.low, each.high]).all()
    )
    return f"{side}: {each.method}"
