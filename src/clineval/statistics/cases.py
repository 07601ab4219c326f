"""The cases that every statistic takes: outcome, risk and group as arrays, checked once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def checked_cases(outcome: ArrayLike, risk: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Who had the condition and what risk they were given, as arrays of one length.

    Parameters
    ----------
    outcome : shape (n,), True or 1 where the condition is present, False or 0 where it is absent.
    risk : shape (n,), finite; any real score serves where only the order counts.

    Raises
    ------
    ValueError
        Where the two differ in shape, an outcome is neither 0 nor 1, or a risk is not finite.
    """
    outcome, risk = checked_outcome(outcome), np.asarray(risk, dtype=np.float64)
    if risk.shape != outcome.shape:
        raise ValueError(f"One risk per outcome is needed; came {outcome.shape} and {risk.shape}.")
    # min and max say the same as isfinite().all() without an array of n flags; NaN passes through both.
    if risk.size and not (np.isfinite(risk.min()) and np.isfinite(risk.max())):
        row = int(np.flatnonzero(~np.isfinite(risk))[0])
        raise ValueError(f"Every risk must be a finite number; number {row} is {risk[row]}.")
    return outcome, risk


def checked_outcome(outcome: ArrayLike) -> NDArray[np.bool_]:
    """Who had the condition, shape (n,), as True and False; 0 and 1 are read as such, nothing else is."""
    outcome = np.asarray(outcome)
    if outcome.ndim != 1:
        raise ValueError(f"Outcomes must stand in one dimension; came shape {outcome.shape}.")
    if outcome.dtype == np.bool_:
        return outcome
    known = (outcome == 0) | (outcome == 1)
    if not np.all(known):
        row = int(np.flatnonzero(~known)[0])
        raise ValueError(f"Every outcome must be 0 or 1; number {row} is {outcome[row]!r}.")
    return outcome == 1


def group_codes(group: ArrayLike | None, cases: int) -> NDArray[np.intp]:
    """Which group each case belongs to, shape (cases,), numbered from 0 by first appearance.

    Without groups each case is its own, so that a statistic by group then equals the plain one.
    """
    if group is None:
        return np.arange(cases)
    group = np.asarray(group)
    if group.shape != (cases,):
        raise ValueError(f"One group per case is needed; came {group.shape} for {cases} cases.")
    _, first, code = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[code]
