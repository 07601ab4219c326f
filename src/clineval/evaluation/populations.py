"""Populations: the rows of a table as outcome and risk per model, aligned case by case."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.errors import InputError, option
from clineval.predictions import (
    MEMBER_COLUMNS,
    OUT_OF_FOLD,
    SCORE,
    TEST,
    TRAIN,
    VAL,
    codes_of,
    encode,
    ranked_by,
)

TEST_CLEAN = "test_clean"

MOST_COMPARED = 12
"""Models up to which every two are compared (66 pairs); of more each is compared with the primary one."""

USED_FOR = {
    VAL: "development: early stopping, recalibration or thresholds may rest on these cases",
    OUT_OF_FOLD: "development: models were built on these cases, each scored by members that never saw it",
}
"""What a population was used for before it was scored; the others were kept for testing."""


@dataclass(frozen=True)
class Cases:
    """The rows of one model in one population.

    Attributes
    ----------
    outcome, risk : shape (n,), bool and float64 in [0, 1].
    case : codes of the cases, shape (n,); equal codes are the same case.
    group : codes of the groups, shape (n,), or None where every case stands for itself.
    rows : where the cases stand in the table, shape (n,).
    ranking : whether ``risk`` holds scores of any range, which rank cases and say no more.
    """

    outcome: NDArray[np.bool_]
    risk: NDArray[np.float64]
    case: NDArray[np.int32]
    group: NDArray[np.int32] | None
    rows: NDArray[np.int64]
    ranking: bool = False

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def groups(self) -> int:
        """Number of independent groups."""
        return len(self) if self.group is None else len(np.unique(self.group))

    def select(self, chosen: NDArray[np.generic]) -> "Cases":
        """The cases of a mask or of indices; groups that hold one case each are dropped."""
        group = None if self.group is None else self.group[chosen]
        return Cases(
            self.outcome[chosen],
            self.risk[chosen],
            self.case[chosen],
            _shared(group),
            self.rows[chosen],
            self.ranking,
        )


@dataclass(frozen=True)
class Population:
    """Cases of one split per model, in one order wherever the models were scored on the same ones.

    ``used_for`` is empty where the cases were kept for testing; ``removed`` counts the test cases that
    ``test_clean`` leaves out; ``shared`` the cases kept and those of each model, where only shared
    ones were asked for and some were not.
    """

    name: str
    used_for: str
    models: Mapping[str, Cases]
    removed: int | None = None
    shared: Mapping[str, int] | None = None

    def pairs(self, primary: str | None = None) -> Iterator[tuple[str, str, Cases, Cases]]:
        """Every two models that were scored on the same cases; of many models those with the primary one."""
        for first, second in combinations(self.models, 2):
            if len(self.models) > MOST_COMPARED and primary not in (first, second):
                continue
            one, other = self.models[first], self.models[second]
            if np.array_equal(one.case, other.case):
                yield first, second, one, other


def populations(frame: pd.DataFrame, *, shared_cases_only: bool = False) -> tuple[Population, ...]:
    """Every split of a checked table but ``train`` as a population, and ``test_clean`` beside ``test``.

    ``test_clean`` is given where the table has groups and rows of development data: without either
    it is not known which test cases have a near-duplicate there. Tests and external cohorts come first.

    Parameters
    ----------
    frame : as ``check_predictions`` gives it, one row per model, split and case.
    shared_cases_only : score models that were given different cases on those they share.

    Raises
    ------
    InputError : two models were scored on different cases of a population kept for testing.
    """
    columns = _Columns.of(frame)
    _refuse_reserved(columns)
    built = [_population(columns, split) for split in _in_reading_order(columns.splits)]
    aligned = [_aligned(one, columns, shared_cases_only=shared_cases_only) for one in built]
    clean = _test_clean(aligned, columns)
    return tuple(part for one in aligned for part in ((one, clean) if one.name == TEST and clean else (one,)))


@dataclass(frozen=True)
class _Columns:
    """The table as codes and what they stand for; text is compared once, here."""

    model: NDArray[np.int32]
    models: list[str]
    split: NDArray[np.int32]
    splits: list[str]
    case: NDArray[np.int32]
    group: NDArray[np.int32] | None
    outcome: NDArray[np.bool_]
    risk: NDArray[np.float64]
    names: pd.Series
    ranking: bool

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "_Columns":
        model, models = encode(frame["model"])
        split, splits = encode(frame["split"])
        return cls(
            model,
            models,
            split,
            splits,
            codes_of(frame["case"]),
            codes_of(frame["group"]) if "group" in frame else None,
            frame["outcome"].to_numpy(),
            frame[ranked_by(frame)].to_numpy(),
            frame["case"],
            ranked_by(frame) == SCORE,
        )

    def cases(self, rows: NDArray[np.int64]) -> Cases:
        group = None if self.group is None else self.group[rows]
        return Cases(self.outcome[rows], self.risk[rows], self.case[rows], _shared(group), rows, self.ranking)


def without_repeats(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per model, split and case: where seeds or folds repeat a case its risks are averaged.

    A table with seeds or folds is scored as the mean of its members, which is how an ensemble is used.
    """
    if not any(name in frame for name in MEMBER_COLUMNS):
        return frame
    keys = [codes_of(frame[name]) for name in ("model", "split", "case")]
    code, _ = pd.factorize(pd.MultiIndex.from_arrays(keys))
    once = frame.drop(columns=[name for name in MEMBER_COLUMNS if name in frame])
    first = np.flatnonzero(~pd.Series(code).duplicated().to_numpy())
    if len(first) == len(frame):
        return once
    ranked = ranked_by(frame)
    mean = np.bincount(code, weights=frame[ranked]) / np.bincount(code)
    # Rounding may lift a mean of ones a hair above 1.
    mean = mean if ranked == SCORE else np.clip(mean, 0, 1)
    return once.iloc[first].assign(**{ranked: mean}).reset_index(drop=True)


def _refuse_reserved(columns: _Columns) -> None:
    if TEST_CLEAN in columns.splits:
        row = int(np.argmax(columns.split == columns.splits.index(TEST_CLEAN)))
        raise InputError(
            f"Row {row + 1}, column 'split': the name {TEST_CLEAN!r} is kept for the test cases "
            "without a near-duplicate in development data, which are found by group; rename the split."
        )


def _in_reading_order(splits: list[str]) -> list[str]:
    kept = [name for name in splits if name not in (TRAIN, TEST, *USED_FOR)]
    scored = [TEST, *kept, OUT_OF_FOLD, VAL]
    return [name for name in scored if name in splits]


def _population(columns: _Columns, split: str) -> Population:
    rows = np.flatnonzero(columns.split == columns.splits.index(split))
    model = columns.model[rows]
    order = np.argsort(model, kind="stable")
    ends = np.searchsorted(model[order], np.arange(len(columns.models) + 1))
    parts = {name: rows[order[ends[code] : ends[code + 1]]] for code, name in enumerate(columns.models)}
    models = {name: columns.cases(part) for name, part in parts.items() if len(part)}
    return Population(split, USED_FOR.get(split, ""), models)


def _aligned(population: Population, columns: _Columns, *, shared_cases_only: bool) -> Population:
    """The same population with the cases of all models in the order of the first."""
    names = list(population.models)
    first = population.models[names[0]]
    ordered = {names[0]: first, **{name: _ordered_as(first, population.models[name]) for name in names[1:]}}
    odd = next((name for name in names[1:] if not np.array_equal(ordered[name].case, first.case)), None)
    if odd is None or population.used_for:
        return replace(population, models=ordered)
    if not shared_cases_only:
        raise _different_cases(population, names[0], odd, columns)
    return _shared_part(replace(population, models=ordered))


def _ordered_as(reference: Cases, given: Cases) -> Cases:
    """``given`` in the order of ``reference``: shared cases first, the others after them."""
    if np.array_equal(reference.case, given.case):
        return given
    place = np.full(int(max(reference.case.max(), given.case.max())) + 1, len(reference), dtype=np.int64)
    place[reference.case] = np.arange(len(reference))
    return given.select(np.argsort(place[given.case], kind="stable"))


def _shared_part(population: Population) -> Population:
    shared = next(iter(population.models.values())).case
    for cases in population.models.values():
        shared = shared[np.isin(shared, cases.case)]
    if not len(shared):
        raise InputError(
            f"The models share no case of {population.name!r}, so there is nothing to compare them on."
        )
    kept = {name: cases.select(np.isin(cases.case, shared)) for name, cases in population.models.items()}
    counts = {"kept": len(shared), **{name: len(cases) for name, cases in population.models.items()}}
    return replace(population, models=kept, shared=counts)


def _different_cases(population: Population, first: str, second: str, columns: _Columns) -> InputError:
    one, other = population.models[first], population.models[second]
    shared = int(np.isin(one.case, other.case).sum())
    alone, owner, lacking = (one, first, second) if shared < len(one) else (other, second, first)
    fellow = other if alone is one else one
    row = int(alone.rows[~np.isin(alone.case, fellow.case)][0])
    name, split = columns.names.iloc[row], population.name
    return InputError(
        f"Row {row + 1}, column 'case': {name!r} of split {split!r} was scored by model {owner!r} but not by "
        f"{lacking!r} ({first!r} has {len(one)} cases, {second!r} {len(other)}, {shared} shared). "
        "Give both models the same cases, or compare them on the shared ones with "
        f"{option('--shared-cases-only', 'shared_cases_only=True')}."
    )


def _test_clean(aligned: list[Population], columns: _Columns) -> Population | None:
    test = next((one for one in aligned if one.name == TEST), None)
    codes = [columns.splits.index(name) for name in (TRAIN, VAL, OUT_OF_FOLD) if name in columns.splits]
    if test is None or columns.group is None or not codes:
        return None
    used = np.zeros(int(columns.group.max()) + 1, dtype=np.bool_)
    used[columns.group[np.isin(columns.split, codes)]] = True
    models = {name: cases.select(~used[columns.group[cases.rows]]) for name, cases in test.models.items()}
    models = {name: cases for name, cases in models.items() if len(cases)}
    removed = len(next(iter(test.models.values()))) - len(next(iter(models.values()))) if models else None
    return Population(TEST_CLEAN, "", models, removed) if models else None


def _shared(group: NDArray[np.int32] | None) -> NDArray[np.int32] | None:
    """The groups, or None where none holds more than one case: then a case is its own group."""
    if group is None or not len(group):
        return None
    return group if np.bincount(group - group.min()).max() > 1 else None
