"""Splits and folds that keep near-duplicates and images of one patient together."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clineval.data.audit import Audit, shares_group
from clineval.data.cohort import Cohort
from clineval.errors import InputError, option

WAYS = ("official", "deduplicated", "grouped")


def check_way(how: str) -> None:
    """Refuse an unknown way to split, as InputError."""
    if how not in WAYS:
        raise InputError(f"{option('--split')} needs one of {', '.join(WAYS)}; got {how!r}.")


def apply_split(cohort: Cohort, audit: Audit, how: str = "official", *, seed: int = 0) -> Cohort:
    """The cohort under one of the three splits, its groups being those of the audit.

    Parameters
    ----------
    how : ``official``, ``deduplicated`` or ``grouped``.
    seed : chooses the grouped split; the other two need none.

    Raises
    ------
    InputError : an unknown way, or a cohort that has no train, val and test to split anew.
    """
    check_way(how)
    if how == "grouped":
        return grouped(cohort, audit, seed=seed)
    return deduplicated(cohort, audit) if how == "deduplicated" else official(cohort, audit)


def official(cohort: Cohort, audit: Audit) -> Cohort:
    """The split as given; cases that show the same picture share a group."""
    return cohort.with_groups(audit.group_of)


def deduplicated(cohort: Cohort, audit: Audit) -> Cohort:
    """Train and val without images that have a near-duplicate in test, and without contradictory ones.

    Test stays whole, so that a model trained on this can be compared case by case with one trained
    on everything. Where two images outside test contradict each other both go, for nobody can
    tell which label is right.
    """
    return official(cohort, audit).select(~superfluous(cohort, audit))


def superfluous(cohort: Cohort, audit: Audit) -> NDArray[np.bool_]:
    """Mask of the cases that ``deduplicated`` drops, shape (cases,)."""
    contradictory = np.zeros(len(cohort), bool)
    contradictory[[position for pair in audit.pairs if pair.contradictory for position in pair.positions]] = (
        True
    )
    return cohort.within("train", "val") & (
        shares_group(audit.group_of, cohort.split, "test") | contradictory
    )


def grouped(cohort: Cohort, audit: Audit, *, seed: int = 0) -> Cohort:
    """Train, val and test drawn anew: no group is parted; sizes and prevalence are near the official ones.

    Cases keep their names, so that ``test/76`` may now lie in train.

    Parameters
    ----------
    seed : chooses the split; the same seed gives the same split.

    Raises
    ------
    InputError : the cohort lacks train, val or test, or has too few groups of either outcome.
    """
    sizes = {name: int(cohort.within(name).sum()) for name in ("train", "val", "test")}
    if not all(sizes.values()) or sum(sizes.values()) != len(cohort):
        got = ", ".join(np.unique(cohort.split).tolist())
        raise InputError(f"--split grouped needs a cohort of train, val and test; got {got}.")
    shares = (sizes["val"] / len(cohort), sizes["test"] / len(cohort))
    split = by_group(cohort.outcome, audit.group_of, shares=shares, seed=seed)
    return replace(official(cohort, audit), split=split, case=audit.case)


def by_group(
    outcome: NDArray[np.bool_], group: NDArray[np.str_], *, shares: tuple[float, float], seed: int = 0
) -> NDArray[np.str_]:
    """Train, val or test for every case, shape (cases,): no group is parted, prevalence is about equal.

    Parameters
    ----------
    outcome, group : shape (cases,).
    shares : about how much of all cases goes to val and to test (0 makes none); the rest is train.
    seed : chooses the split; the same seed gives the same split.

    Raises
    ------
    InputError : too few groups of either outcome.
    """
    split = np.full(len(outcome), "train", dtype="U5")
    for name, share in (("test", shares[1]), ("val", shares[0])):
        rest = np.flatnonzero(split == "train")
        if share:
            of_rest = share * len(outcome) / len(rest)
            split[rest[_drawn(outcome[rest], group[rest], share=of_rest, seed=seed)]] = name
    return split


def _drawn(
    outcome: NDArray[np.bool_], group: NDArray[np.str_], *, share: float, seed: int
) -> NDArray[np.int64]:
    """Positions of about a ``share`` of the cases: whole groups, at about the prevalence of all."""
    folds = max(2, round(1 / share))
    scarcer = min(len(np.unique(group[outcome])), len(np.unique(group[~outcome])))
    if scarcer < folds:
        raise InputError(
            f"A split by group needs at least {folds} groups with and without the condition; got {scarcer}."
        )
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    _, drawn = next(iter(splitter.split(outcome, outcome, groups=group)))
    return np.asarray(drawn, dtype=np.int64)


def grouped_folds(
    outcome: NDArray[np.bool_], group: NDArray[Any], *, folds: int, seed: int = 0
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


def _check_enough(outcome: NDArray[np.bool_], group: NDArray[Any], folds: int) -> None:
    with_condition = len(np.unique(group[outcome]))
    without = len(np.unique(group[~outcome]))
    if min(with_condition, without) < folds:
        raise InputError(
            f"Training in {folds} grouped folds needs at least {folds} independent groups of cases with the "
            f"condition and {folds} without; the training split has {with_condition} and {without}. "
            "Use more cases or fewer folds."
        )
