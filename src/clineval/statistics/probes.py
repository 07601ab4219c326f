"""How well quantities that should not matter rank the cases, and how much of a model's risk they explain."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from clineval.statistics.auc import auc_logit, compare_auc
from clineval.statistics.counts import Bools, Floats, checked_risks, takes_series
from clineval.statistics.intervals import (
    Estimate,
    effective_groups,
    few_groups,
    percentile_interval,
    resampling_units,
    shared_groups,
    undefined,
    without_bounds,
)
from clineval.statistics.updating import grouped_folds


@dataclass(frozen=True)
class Probes:
    """Quantities of the picture against a model on the same cases.

    ``alone`` maps a quantity to its AUC, below 0.5 where cases with the condition have less of it;
    ``together`` is the AUC of all of them, ``model`` that of the model, ``difference`` the model less the
    quantities, paired, with ``p_value``. ``explained`` is the share of the variance of the model's log
    odds that the quantities predict; at or below 0 they predict none.
    """

    alone: Mapping[str, Estimate]
    together: Estimate
    model: Estimate
    difference: Estimate
    p_value: float
    explained: Estimate


@takes_series
def probe(
    outcome: ArrayLike,
    risk: ArrayLike,
    quantities: Mapping[str, ArrayLike],
    *,
    group: ArrayLike | None = None,
    folds: int = 5,
    repeats: int = 10,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Probes:
    """Whether the picture's border, marks, size or brightness would rank the cases without the tissue.

    Parameters
    ----------
    outcome, risk, group : shape (n,); ``risk`` is the model's.
    quantities : by name, each of shape (n,), finite; at least one.
    folds, repeats : of the cross-fitting over whole groups.
    draws, seed, level : of the bootstrap interval of ``explained``, which draws whole groups.

    Notes
    -----
    Together: a linear regression of the outcome on all quantities, which is Fisher's discriminant (1936,
    doi:10.1111/j.1469-1809.1936.tb02137.x), fitted on all folds but one and applied to that one; a case has
    the mean over the repeats. Explained: 1 - sum of squared errors / sum of squares of the log odds about
    their mean, predicted in the same way; risks of 0 and 1 are left out.
    """
    outcome, risk = checked_risks(outcome, risk)
    columns = np.column_stack([np.asarray(each, dtype=np.float64) for each in quantities.values()])
    if not np.isfinite(columns).all():
        raise ValueError("Expected finite quantities.")
    parts = [grouped_folds(outcome, group, folds=folds, seed=(seed, repeat)) for repeat in range(repeats)]
    score = _cross_fitted(columns, outcome.astype(np.float64), parts)
    compared = compare_auc(outcome, risk, score, group=group, level=level)
    return Probes(
        alone={
            name: auc_logit(outcome, column, group=group, level=level)
            for name, column in zip(quantities, columns.T, strict=True)
        },
        together=auc_logit(outcome, score, group=group, level=level),
        model=auc_logit(outcome, risk, group=group, level=level),
        difference=compared.difference,
        p_value=compared.p_value,
        explained=_explained(outcome, risk, columns, parts, group, draws, seed, level),
    )


def _cross_fitted(columns: Floats, wanted: Floats, parts: list[NDArray[np.intp]]) -> Floats:
    """Each case's prediction by regressions that did not see it, shape (n,), the mean over the repeats."""
    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    # The scale of a quantity changes no prediction, it only keeps the regression well-conditioned.
    design = np.column_stack([np.ones(len(columns)), (columns - centre) / np.where(spread > 0, spread, 1)])
    found = np.zeros((len(parts), len(columns)))
    for row, fold in zip(found, parts, strict=True):
        for number in range(int(fold.max()) + 1):
            out = fold == number
            row[out] = design[out] @ np.linalg.lstsq(design[~out], wanted[~out], rcond=None)[0]
    return found.mean(axis=0)


def _explained(
    outcome: Bools,
    risk: Floats,
    columns: Floats,
    parts: list[NDArray[np.intp]],
    group: ArrayLike | None,
    draws: int,
    seed: int,
    level: float,
) -> Estimate:
    kept = (risk > 0) & (risk < 1)
    log_odds = logit(risk[kept])
    if not kept.any() or np.ptp(log_odds) == 0:
        return undefined("the model's risks do not differ", level=level)
    missed = (log_odds - _cross_fitted(columns[kept], log_odds, [fold[kept] for fold in parts])) ** 2
    spread = (log_odds - log_odds.mean()) ** 2
    code = shared_groups(None if group is None else np.asarray(group)[kept], len(log_odds))
    units = resampling_units(outcome[kept], code, stratified=False)
    column = np.zeros(len(log_odds), dtype=np.intp)
    errors, squares = (
        units.weights(draws, seed) @ units.sums(column, 1, each)[:, 0] for each in (missed, spread)
    )
    words = f"cross-fitted {len(parts)} times, percentile of {draws} bootstrap draws"
    value = float(1 - missed.sum() / spread.sum())
    found = percentile_interval(
        value, 1 - errors / squares, level=level, method=words, groups=effective_groups(code)
    )
    return without_bounds(found, few_groups(code))
