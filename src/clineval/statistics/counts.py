"""Cases and counts: checked arrays of outcomes and risks, and the 2x2 table at thresholds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

P = ParamSpec("P")
R = TypeVar("R")


def takes_series(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, its pandas Series brought into the order of the first one by their index.

    A data frame of one column, of pandas or polars, is that column; a Series of polars has no index and
    belongs by its order, as an array does.

    Raises
    ------
    ValueError
        Where two Series do not have the same labels, each once: pass arrays where rows belong together
        by their order. Where a threshold, level or other single number is text, missing or NaN.
    """
    names = signature(function).parameters
    single = {name: kinds for name, each in names.items() if (kinds := _kinds_of_number(each.annotation))}

    @wraps(function)
    def aligned(*args: P.args, **named: P.kwargs) -> R:
        given = {name: _column(value) for name, value in (*zip(names, args, strict=False), *named.items())}
        for name in single.keys() & given.keys():
            _check_number(name, given[name], single[name])
        series = {name: value for name, value in given.items() if hasattr(value, "reindex")}
        if len(series) > 1:
            given = given | _aligned(series)
        return function(**given)  # type: ignore[call-arg]

    return aligned


def _kinds_of_number(annotation: Any) -> tuple[Any, ...]:
    """float, int and None as far as a parameter takes a number or None; none where it takes anything else."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return kinds if all(kind in (float, int, NoneType) for kind in kinds) else ()


def _check_number(name: str, value: Any, kinds: tuple[Any, ...]) -> None:
    if value is None and NoneType in kinds:
        return
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "biuf" or np.isnan(number):
        raise ValueError(f"Expected a number as {name}; got {value!r}.")
    if float not in kinds and number.dtype.kind == "f":
        raise ValueError(f"Expected a whole number as {name}; got {value!r}.")


def _column(value: Any) -> Any:
    """The one column of a data frame that has no more; anything else as it is."""
    columns = list(getattr(value, "column_names", getattr(value, "columns", ())))
    return value[columns[0]] if len(columns) == 1 and hasattr(value, "shape") else value


def _aligned(series: Mapping[str, Any]) -> dict[str, Any]:
    """The values of every Series in the order of the first one's index."""
    first, reference = next(iter(series.items()))
    index, found = reference.index, {}
    for name, each in series.items():
        if not each.index.equals(index):
            if not (index.is_unique and each.index.is_unique and set(each.index) == set(index)):
                raise ValueError(
                    f"{first} and {name} are Series of different index; expected the same labels, each once. "
                    "Where their rows belong together by order, pass arrays (.to_numpy())."
                )
            each = each.reindex(index)
        found[name] = each.to_numpy()
    return found


def checked_cases(outcome: ArrayLike, risk: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Who had the condition and what risk they were given, as arrays of one length.

    Parameters
    ----------
    outcome : shape (n,), True or 1 where the condition is present, False or 0 where it is absent.
    risk : shape (n,), finite; any real score serves where only the order counts.

    Raises
    ------
    ValueError
        Where the two differ in shape, an outcome is neither 0 nor 1, or a risk is not finite; rows are
        counted from 1.
    """
    outcome, risk = checked_outcome(outcome), numbers(risk, "risk")
    if risk.shape != outcome.shape:
        raise ValueError(
            f"Expected one risk per outcome; got {len(outcome)} outcomes and {risk.shape} risks."
        )
    return outcome, finite(risk, "risk")


def finite(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """An array of float64, shape (n,); ValueError where a value is no finite number."""
    given = numbers(values, what)
    # min and max say the same as isfinite().all() without an array of n flags; NaN passes through both.
    if given.size and not (np.isfinite(given.min()) and np.isfinite(given.max())):
        row = int(np.flatnonzero(~np.isfinite(given))[0])
        raise ValueError(f"Expected a finite number for every {what}; got {given[row]} in row {row + 1}.")
    return given


def numbers(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """An array of float64; ValueError where a value is text or missing without being NaN."""
    given = _as_given(values)
    if given.dtype.kind in "biuf":
        return given.astype(np.float64, copy=False)
    for row, value in enumerate(given.ravel().tolist()):
        if isinstance(value, (str, bytes, complex)) or _missing(value):
            raise ValueError(f"Expected a number for every {what}; got {_shown(value)} in row {row + 1}.")
    try:
        return given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected a number for every {what}; got {given.dtype} values.") from error


def checked_outcome(outcome: ArrayLike) -> NDArray[np.bool_]:
    """Who had the condition, shape (n,), as True and False; 0 and 1 are read as such, nothing else is."""
    outcome = _as_given(outcome)
    if outcome.ndim != 1:
        raise ValueError(f"Expected outcomes in one dimension; got shape {outcome.shape}.")
    if outcome.dtype == np.bool_:
        return outcome
    if outcome.dtype.kind in "OUS":
        return np.array(
            [_as_outcome(value, row) for row, value in enumerate(outcome.tolist())], dtype=np.bool_
        )
    known = (outcome == 0) | (outcome == 1)
    if not np.all(known):
        row = int(np.flatnonzero(~known)[0])
        raise ValueError(f"Expected every outcome to be 0 or 1; got {_shown(outcome[row])} in row {row + 1}.")
    return outcome == 1


def _as_given(values: ArrayLike) -> NDArray[Any]:
    """An array whose values are those of the list: numpy would make text of all numbers beside one word."""
    array = np.asarray(values)
    mixed = array.dtype.kind in "USc" and isinstance(values, (list, tuple))
    return np.asarray(values, dtype=object) if mixed else array


def true_or_false(values: ArrayLike, what: str, cases: int) -> NDArray[np.bool_]:
    """Whether something holds of each case, shape (cases,), read as an outcome is."""
    found = checked_outcome(values)
    if len(found) != cases:
        raise ValueError(f"Expected one {what} per case, got {len(found)} for {cases} cases.")
    return found


def _as_outcome(value: Any, row: int) -> bool:
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    raise ValueError(f"Expected every outcome to be 0 or 1; got {_shown(value)} in row {row + 1}.")


def group_codes(group: ArrayLike | None, cases: int) -> NDArray[np.intp]:
    """Which group each case belongs to, shape (cases,), numbered from 0 by first appearance.

    Without groups each case is its own, so that a statistic by group then equals the plain one.

    Raises
    ------
    ValueError
        Where there is not one group per case, or a case has none (None, NaN, NA).
    """
    if group is None:
        return np.arange(cases)
    # A list is kept as it is: numpy would make text of None and NaN beside names.
    group = np.asarray(group, dtype=object if isinstance(group, (list, tuple)) else None)
    if group.shape != (cases,):
        raise ValueError(f"Expected one group per case; got {group.shape} for {cases} cases.")
    if group.dtype.kind == "O":
        return _object_codes(group.tolist())
    if group.dtype.kind in "fM" and (missing := np.flatnonzero(np.isnan(group))).size:
        raise _no_group(int(missing[0]), "nan" if group.dtype.kind == "f" else "no time")
    _, first, code = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[code]


def _object_codes(group: list[Any]) -> NDArray[np.intp]:
    seen: dict[Any, int] = {}
    code = np.empty(len(group), dtype=np.intp)
    for row, value in enumerate(group):
        if _missing(value):
            raise _no_group(row, _shown(value))
        code[row] = seen.setdefault(value, len(seen))
    return code


def _no_group(row: int, shown: str) -> ValueError:
    return ValueError(
        f"Expected a group for every case; got {shown} in row {row + 1}. "
        "Give a case without a known group one of its own."
    )


def _missing(value: Any) -> bool:
    """Whether a value is None, NaN, or pandas' NA or NaT, of which only the name is known here."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _shown(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)[:60]


Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Cases per pass of `steps_reached`: its temporaries then stay within a core's cache.
BLOCK = 2**15


def flagged(risk: ArrayLike, threshold: ArrayLike) -> Bools:
    """Whether a case is flagged: its risk reaches the threshold (``risk >= threshold``)."""
    return np.asarray(risk) >= np.asarray(threshold)


@dataclass(frozen=True)
class Counts:
    """The 2x2 table of flagged against condition present."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def events(self) -> int:
        """Cases with the condition."""
        return self.true_positives + self.false_negatives

    @property
    def non_events(self) -> int:
        """Cases without the condition."""
        return self.false_positives + self.true_negatives

    @property
    def flagged(self) -> int:
        """Cases at or above the threshold."""
        return self.true_positives + self.false_positives

    @property
    def cases(self) -> int:
        """All cases."""
        return self.events + self.non_events


@takes_series
def counts(outcome: ArrayLike, risk: ArrayLike, threshold: float) -> Counts:
    """The 2x2 table at one threshold.

    Parameters
    ----------
    outcome : shape (n,), True where the condition is present.
    risk : shape (n,).
    threshold : a case is flagged where its risk is at least this.
    """
    outcome, risk = checked_cases(outcome, risk)
    reached = flagged(risk, threshold)
    true_positives = int(np.count_nonzero(reached & outcome))
    false_positives = int(np.count_nonzero(reached)) - true_positives
    events = int(np.count_nonzero(outcome))
    return Counts(
        true_positives,
        false_positives,
        events - true_positives,
        len(outcome) - events - false_positives,
    )


def checked_risks(outcome: ArrayLike, risk: ArrayLike) -> tuple[Bools, Floats]:
    """Outcomes and risks of one length, every risk a probability in [0, 1]; ValueError otherwise."""
    outcome, risk = checked_cases(outcome, risk)
    return outcome, _within_0_and_1(risk)


def probabilities(risk: ArrayLike) -> Floats:
    """Risks as an array of float64 in [0, 1]; ValueError otherwise."""
    return _within_0_and_1(finite(risk, "risk"))


def checked_prevalence(prevalence: float) -> float:
    """A prevalence, in (0, 1)."""
    if not 0 < prevalence < 1:
        raise ValueError(f"A prevalence must lie between 0 and 1; got {prevalence}.")
    return prevalence


def _within_0_and_1(risk: Floats) -> Floats:
    if risk.size and not (risk.min() >= 0 and risk.max() <= 1):
        row = int(np.flatnonzero((risk < 0) | (risk > 1))[0])
        raise ValueError(f"Expected every risk between 0 and 1; got {risk[row]} in row {row + 1}.")
    return risk


def steps_reached(risk: Floats, thresholds: Floats) -> NDArray[np.intp]:
    """How many of the ascending thresholds each risk reaches, shape (n,): exact under ``>=``.

    On the decision grid k/100 an index is guessed by multiplication and corrected by comparison with the
    grid itself, which costs a tenth of a search; any other grid is searched.
    """
    steps = _decimal_steps(thresholds)
    if steps is None:
        return np.searchsorted(thresholds, risk, side="right")
    # Grid value j stands at place j + 1, between fences that no risk passes.
    fenced = np.concatenate(([-np.inf], np.arange(steps + 1) / steps, [np.inf]))
    first = round(float(thresholds[0]) * steps)
    reached = np.empty(len(risk), dtype=np.intp)
    for start in range(0, len(risk), BLOCK):
        block = risk[start : start + BLOCK]
        guess = (block * steps).astype(np.intp)
        guess += block >= fenced[guess + 2]
        guess -= block < fenced[guess + 1]
        reached[start : start + BLOCK] = np.clip(guess - first + 1, 0, len(thresholds))
    return reached


def _decimal_steps(thresholds: Floats) -> int | None:
    """100 or 1000 where the thresholds are consecutive values of k/100 or k/1000 in [0, 1], else None."""
    if not len(thresholds) or not (thresholds[0] >= 0 and thresholds[-1] <= 1):
        return None
    for steps in (100, 1000):
        first = round(float(thresholds[0]) * steps)
        if np.array_equal(thresholds, np.arange(first, first + len(thresholds)) / steps):
            return steps
    return None


def flagged_counts(outcome: Bools, risk: Floats, thresholds: Floats) -> tuple[Integers, Integers]:
    """True and false positives at each of many ascending thresholds, each shape (k,), without a sort."""
    reached = steps_reached(risk, thresholds)
    every = np.bincount(reached, minlength=len(thresholds) + 1)
    events = np.bincount(reached[outcome], minlength=len(thresholds) + 1)
    return _from_above(events), _from_above(every - events)


def _from_above(histogram: Integers) -> Integers:
    """Cases that reach at least step 1, 2, ... from cases that reach exactly step 0, 1, ..."""
    return np.cumsum(histogram[::-1])[::-1][1:]


def ascending(thresholds: ArrayLike) -> Floats:
    """Thresholds as an array of strictly ascending numbers, shape (k,); ValueError otherwise."""
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if thresholds.ndim != 1 or not np.all(np.isfinite(thresholds)) or np.any(np.diff(thresholds) <= 0):
        raise ValueError("Thresholds must be finite numbers in strictly ascending order.")
    return thresholds
