"""Folds that keep near-duplicates and images of one patient together."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from clineval.errors import InputError


def grouped_folds(
    outcome: NDArray[np.bool_], group: NDArray[np.str_], *, folds: int, seed: int = 0
) -> NDArray[np.int64]:
    """Number of the fold, 0 to ``folds`` - 1, that each case is held out in, shape (cases,).

    Cases of one group share a fold, and every fold has about the same prevalence.

    Raises
    ------
    InputError : too few groups with or without the condition for each fold to hold both.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    _check_enough(outcome, group, folds)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold = np.empty(len(outcome), dtype=np.int64)
    for number, (_, held_out) in enumerate(splitter.split(outcome, outcome, group)):
        fold[held_out] = number
    return fold


def some_cases(
    outcome: NDArray[np.bool_], group: NDArray[np.str_], *, most: int, seed: int = 0
) -> NDArray[np.int64]:
    """Places of about ``most`` of the cases, in order, whole groups at the same prevalence; all if no more.

    Groups are drawn from ``seed``, those with the condition and those without apart.
    """
    if len(outcome) <= most:
        return np.arange(len(outcome))
    _, member = np.unique(group, return_inverse=True)
    sizes = np.bincount(member)
    with_condition = np.bincount(member, weights=outcome) > 0
    order = np.random.default_rng(derived_seed(seed, "some cases")).permutation(len(sizes))
    taken = np.zeros(len(sizes), dtype=bool)
    for stratum in (order[with_condition[order]], order[~with_condition[order]]):
        share = most * sizes[stratum].sum() / len(outcome)
        taken[stratum[np.cumsum(sizes[stratum]) <= share]] = True
    return np.flatnonzero(taken[member])


def derived_seed(seed: int, *purpose: object) -> int:
    """A seed for one purpose, drawn from a run's seed so that two purposes never share their chance."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def _check_enough(outcome: NDArray[np.bool_], group: NDArray[np.str_], folds: int) -> None:
    with_condition = len(np.unique(group[outcome]))
    without = len(np.unique(group[~outcome]))
    if min(with_condition, without) < folds:
        raise InputError(
            f"Training in {folds} grouped folds needs at least {folds} independent groups of cases with the "
            f"condition and {folds} without; the training split has {with_condition} and {without}. "
            "Use more cases or fewer folds."
        )
