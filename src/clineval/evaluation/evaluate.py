"""A table of predictions, or arrays as Python holds them, to an Evaluation."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from clineval.errors import InputError, Progress
from clineval.evaluation.operating_points import (
    Learnt,
    checked_points,
    choose_primary,
    deferred,
    freeze_points,
    given_point,
    guarantees,
    parse_rule,
    points_for,
    refuse_learnt_there,
)
from clineval.evaluation.populations import (
    MOST_COMPARED,
    TEST_CLEAN,
    Population,
    check_chosen,
    populations,
    subgroup_tables,
    ungrouped_column,
    without_repeats,
)
from clineval.evaluation.readers import beside_readers, reader_columns
from clineval.evaluation.records import RANKING, Evaluation, Point, PopulationScores, Primary, Scale, Spread
from clineval.evaluation.scores import (
    compare,
    compare_points,
    constant_warnings,
    group_warnings,
    members_by_population,
    ranked_by_group,
    score,
    spread_of,
)
from clineval.predictions import (
    COLUMNS,
    MEMBER_COLUMNS,
    OUT_OF_FOLD,
    SCORE,
    TEST,
    TRAIN,
    VAL,
    check_predictions,
    codes_of,
    encode,
    ranked_by,
    spellings,
)
from clineval.predictions import attributes as attributes_of
from clineval.settings import BesideReaders
from clineval.tables.own_table import independence_warning

ONE_MODEL = "model"
"""What a single model is called that was given no name."""


def to_predictions(
    outcome: Any,
    risk: Any = None,
    *,
    group: ArrayLike | None = None,
    split: ArrayLike | None = None,
    case: ArrayLike | None = None,
    attributes: Mapping[str, ArrayLike] | pd.DataFrame | None = None,
    columns: Mapping[str, str] | None = None,
    positive: object = None,
    scores: bool = False,
) -> pd.DataFrame:
    """The checked table of predictions made of arrays, or of a table in memory.

    Parameters
    ----------
    outcome : shape (n,), 1 or True where the condition is present, or words with ``positive``; or a table
        (pandas, polars, pyarrow, a mapping of columns) with one row per model and case.
    risk : shape (n,), 0 to 1; of several models a mapping of names to such, or a data frame with a column
        each. None where ``outcome`` is a table.
    group : shape (n,), shared by cases that are not independent, such as the patient.
    split : shape (n,), train, val, test, train_out_of_fold or the name of an external cohort; default test.
    case : shape (n,), unique within a split; default the row number.
    attributes : further columns, each of shape (n,), to make subgroups of.
    columns : a table's own names for the columns, ``{"risk": "p_malignant"}``.
    positive : the outcome's value where the condition is present; by default 1 or true.
    scores : whether the risks are scores of any range, such as logits, by which cases are ranked and no more.

    pandas Series are brought into the order of the first one by their index.

    Raises
    ------
    InputError : a value is not what the table needs, lengths or indexes differ, or a column is missing.

    Examples
    --------
    >>> to_predictions(["sick", "well"], [0.9, 0.2], positive="sick")[["model", "outcome", "risk"]]
       model  outcome  risk
    0  model     True   0.9
    1  model    False   0.2
    """
    word = None if positive is None else str(positive)
    if risk is None:
        table = _table(outcome)
        stored = "score" in table and "risk" not in table and not columns  # as ``read_predictions`` gives it
        return check_predictions(table, columns=columns, positive=word, scores=scores or stored)
    if columns:
        raise InputError("columns names those of a table; expected a table alone, got outcome and risk too.")
    risks = _risks(risk)
    about = {"outcome": outcome, "group": group, "split": split, "case": case}
    further = _further(attributes)
    named = {name: values for name, values in {**about, **further}.items() if values is not None}
    together = _in_one_order({**named, **{("risk", model): values for model, values in risks.items()}})
    shared = {name: together[name] for name in named}
    frames = [pd.DataFrame({"model": model, **shared, "risk": together["risk", model]}) for model in risks]
    return check_predictions(pd.concat(frames, ignore_index=True), positive=word, scores=scores)


def _table(given: Any) -> pd.DataFrame:
    """A table in memory as a pandas frame."""
    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, Mapping):
        return pd.DataFrame(_in_one_order({str(name): values for name, values in given.items()}))
    if hasattr(given, "to_pandas") and hasattr(given, "columns"):  # polars, pyarrow and their kin
        frame: pd.DataFrame = given.to_pandas()
        return frame
    raise InputError(
        "Expected outcome and risk, or a table (pandas, polars, pyarrow), got "
        f"{type(given).__name__} alone: evaluate(outcome, risk)."
    )


def _risks(given: Any) -> dict[str, Any]:
    """The risks of each model by its name."""
    if hasattr(given, "columns") or isinstance(given, Mapping):
        return {str(name): given[name] for name in _names(given)}
    name = getattr(given, "name", None)
    return {name if isinstance(name, str) and name not in ("", "risk") else ONE_MODEL: given}


def _further(given: Any) -> dict[str, Any]:
    further = {} if given is None else {str(name): given[name] for name in _names(given)}
    taken = [name for name in further if name in (*COLUMNS, *MEMBER_COLUMNS)]
    if taken:
        raise InputError(f"attributes has {taken[0]!r}, which means something else in a table; rename it.")
    return further


def _names(given: Any) -> list[Any]:
    """Names of the columns of a mapping or a data frame, which each library keeps in its own place."""
    return list(getattr(given, "column_names", getattr(given, "columns", given)))


def _in_one_order(given: Mapping[Any, Any]) -> dict[Any, pd.Series]:
    """Columns of one length; pandas Series in the order of the first one's index, the rest as they stand."""
    first = next((values for values in given.values() if isinstance(values, pd.Series)), None)
    columns = {
        name: _aligned(name, values, first) if first is not None and isinstance(values, pd.Series) else values
        for name, values in given.items()
    }
    found = {name: _column(name, values) for name, values in columns.items()}
    lengths = {_called(name): len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InputError(f"Expected one value per case in each, got different lengths: {told}.")
    return found


def _aligned(name: Any, values: pd.Series, first: pd.Series) -> pd.Series:
    index = first.index
    if values.index.equals(index):
        return values
    once = index.is_unique and values.index.is_unique and len(values) == len(index)
    if once and values.index.isin(index).all():
        return values.reindex(index)
    raise InputError(
        f"The Series {_called(name)} has another index than the first; expected the same labels, each once. "
        "Where rows belong together by their order, pass arrays (.to_numpy())."
    )


def _column(name: Any, values: Any) -> pd.Series:
    if isinstance(values, pd.Series):
        return values.reset_index(drop=True)
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"Expected {_called(name)} as one value per case, got {type(values).__name__}.")
    array = np.asarray(values.tolist() if isinstance(values, np.ma.MaskedArray) else values)  # None if masked
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        of_two = " Pass the column of the condition, such as probabilities[:, 1]." if array.ndim == 2 else ""
        raise InputError(f"Expected {_called(name)} in one dimension, got shape {array.shape}.{of_two}")
    return pd.Series(array)


def _called(name: Any) -> str:
    return f"risk of {name[1]!r}" if isinstance(name, tuple) else str(name)


P = ParamSpec("P")
R = TypeVar("R")


def on_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, its sums never split over threads: added up in another order they end otherwise."""

    @wraps(function)
    def limited(*args: P.args, **named: P.kwargs) -> R:
        with threadpool_limits(limits=1):
            return function(*args, **named)

    return limited


Opening = Callable[[tuple[str, ...], Mapping[str, tuple[Point, ...]]], None]


def evaluate(
    outcome: Any,
    risk: Any = None,
    *,
    group: ArrayLike | None = None,
    split: ArrayLike | None = None,
    case: ArrayLike | None = None,
    positive: object = None,
    columns: Mapping[str, str] | None = None,
    scores: bool = False,
    condition: str = "condition",
    thresholds: Iterable[float] = (),
    points: Mapping[str, Iterable[Point]] | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    members: pd.DataFrame | None = None,
    shared_cases_only: bool = False,
    learnt: Iterable[Learnt] = (),
    attributes: Iterable[str] | Mapping[str, ArrayLike] | pd.DataFrame = (),
    primary: str | Primary | None = None,
    threshold_rules: Iterable[str] = (),
    readers: BesideReaders | None = None,
    by_group: bool = False,
    opening: Opening | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """How well risks rank cases, whether they are right, and what they are good for, each with its interval.

    Parameters
    ----------
    outcome : shape (n,), 1 or True where the condition is present, or any value with ``positive``; or a
        table (pandas, polars, pyarrow) with one row per model and case, whose columns are ``outcome`` and
        ``risk`` and, where there are, ``model``, ``split``, ``case``, ``group`` and attributes.
    risk : shape (n,), 0 to 1; of several models a mapping of names to such, or a data frame with a column
        each. Left out where ``outcome`` is a table.
    group : shape (n,), shared by cases that are not independent, such as the patient: intervals respect it.
    split : shape (n,), train, val, test, train_out_of_fold or the name of a cohort; by default test.
    case : shape (n,), what a case is called, unique within a split; by default its row number.
    positive : the outcome's value where the condition is present; by default 1 or true.
    columns : a table's own names for the columns, ``{"risk": "p_malignant"}``.
    scores : whether the risks are scores of any range, such as logits: cases are then ranked, and nothing is
        said that needs probabilities.
    condition : the word for what outcome 1 stands for, such as ``"malignant"``.
    thresholds : further thresholds to report, 0 to 1; flagged means risk >= threshold.
    points : per model thresholds frozen elsewhere, instead of one half and the chosen one.
    level : coverage aimed at by the intervals, between 0 and 1.
    draws, seed : of the bootstrap.
    members : the same table for every member of the ensembles, with ``seed`` and/or ``fold``; gives the
        spread over trainings. A table with such columns serves as its own.
    shared_cases_only : score models that were given different cases on the shared ones only.
    learnt : what was learnt on which population, such as a recalibration; refused where that one is scored.
    attributes : columns of a table to make subgroups of, by default all that can group cases; beside arrays
        a mapping of names to such columns, each of shape (n,).
    primary : the model to speak of first, or the model and threshold that were frozen elsewhere; by default
        chosen on development data, see ``choose_primary``.
    threshold_rules : such as ``"sensitivity>=0.90@0.95"``: a threshold of which development data show this.
    readers : columns with what readers said, to set every model beside them.
    by_group : rank groups, such as patients, too, by the mean log odds of their cases.
    opening : called once, with the names of the populations kept for testing and the frozen thresholds,
        when these are frozen and before any number is computed from an outcome of those populations.
    progress : called with (done, total) after each model on each population.

    Raises
    ------
    InputError : a row is not what the table needs, models were scored on different cases, or a threshold
        was chosen, or something learnt, on the cases that it would be scored on.

    Examples
    --------
    >>> risk = [0.9, 0.8, 0.4, 0.6, 0.3, 0.2, 0.2, 0.1]
    >>> found = evaluate([1, 1, 1, 0, 0, 0, 0, 0], risk, condition="malignant", thresholds=[0.5], draws=100)
    >>> scores = found.models["model"]["test"]
    >>> round(scores.measures["auc"].value, 3)
    0.933
    >>> scores.point("given").true_positives, scores.point("given").false_positives
    (2, 1)
    """
    further = attributes if isinstance(attributes, (Mapping, pd.DataFrame)) else None
    table = to_predictions(
        outcome,
        risk,
        group=group,
        split=split,
        case=case,
        attributes=further,
        columns=columns,
        positive=positive,
        scores=scores,
    )
    evaluation = evaluate_checked(
        table,
        condition=condition,
        thresholds=thresholds,
        points=points,
        level=level,
        draws=draws,
        seed=seed,
        members=None if members is None else check_predictions(members),
        shared_cases_only=shared_cases_only,
        learnt=learnt,
        attributes=() if further is not None else cast(Iterable[str], attributes),
        primary=primary,
        threshold_rules=threshold_rules,
        readers=readers,
        by_group=by_group,
        opening=opening,
        progress=progress,
    )
    column = ungrouped_column(table)
    how = f"columns={{'group': {column!r}}}" if risk is None else "group= instead of attributes="
    warned = () if column is None else (independence_warning(column, how),)
    return replace(evaluation, table=table, warnings=(*warned, *evaluation.warnings))


@on_one_thread
def evaluate_checked(
    checked: pd.DataFrame,
    *,
    condition: str = "condition",
    thresholds: Iterable[float] = (),
    points: Mapping[str, Iterable[Point]] | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    members: pd.DataFrame | None = None,
    shared_cases_only: bool = False,
    learnt: Iterable[Learnt] = (),
    attributes: Iterable[str] = (),
    primary: str | Primary | None = None,
    threshold_rules: Iterable[str] = (),
    readers: BesideReaders | None = None,
    origins: Mapping[str, str] | None = None,
    by_group: bool = False,
    opening: Opening | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """``evaluate`` for tables that ``read_predictions`` or ``check_predictions`` has just checked."""
    scale, rules = Scale(level, draws, seed), tuple(parse_rule(rule) for rule in threshold_rules)
    ranking = ranked_by(checked) == SCORE
    given = tuple(dict.fromkeys(given_point(value, ranking=ranking) for value in thresholds))
    table, chosen = without_repeats(checked), tuple(dict.fromkeys(attributes))
    check_chosen(chosen, attributes_of(table))
    parts = populations(table, shared_cases_only=shared_cases_only)
    if not parts:
        raise InputError(
            "The table has rows of split 'train' only, which is never evaluated; give it rows to test on."
        )
    sealed = tuple(part.name for part in parts if not part.used_for)
    refuse_learnt_there(learnt, sealed)
    development = tuple(part for part in parts if part.used_for)
    frozen = {
        model: (*checked_points(points, model), *given)
        if points is not None
        else freeze_points(development, model, given=given, scale=scale, ranking=ranking)
        for model in encode(table["model"])[1]
    }
    asked = {model: guarantees(development, model, rules) for model in frozen if rules}
    frozen = {model: (*fixed, *asked.get(model, ())) for model, fixed in frozen.items()}
    columns = () if readers is None else reader_columns(table, parts, readers)
    first = (
        primary
        if isinstance(primary, Primary)
        else choose_primary(
            development,
            frozen,
            scored=next((part.models for part in parts if not part.used_for), ()),
            named=primary,
        )
    )
    if opening is not None:
        opening(sealed, frozen)
    spreads = _spreads(checked if members is None else members, table, parts)
    return Evaluation(
        condition=condition,
        level=level,
        draws=draws,
        seed=seed,
        models=_scores(table, parts, frozen, spreads, scale, chosen=chosen, progress=progress),
        comparisons=tuple(one for part in parts for one in compare(part, scale, primary=first.model)),
        point_comparisons=tuple(
            one for part in parts for one in compare_points(part, frozen, scale, primary=first.model)
        ),
        points=frozen,
        shared_cases={part.name: part.shared for part in parts if part.shared},
        notes=(*((RANKING,) if ranking else ()), *_notes(table, parts), *_pair_notes(parts)),
        warnings=tuple(
            dict.fromkeys(
                (
                    *group_warnings(parts),
                    *constant_warnings(parts),
                    *_groups_across(table),
                    *spellings(table),
                )
            )
        ),
        primary=first,
        readers={} if readers is None else beside_readers(columns, parts, frozen, readers, scale),
        guarantees={model: tuple(found.values()) for model, found in asked.items()},
        deferred=deferred(parts, frozen, level=level),
        by_group=ranked_by_group(parts, scale) if by_group else {},
        origins={model: words for model, words in (origins or {}).items() if model in frozen},
    )


def _scores(
    table: pd.DataFrame,
    parts: tuple[Population, ...],
    frozen: Mapping[str, tuple[Point, ...]],
    spreads: Mapping[tuple[str, str], tuple[Spread, ...]],
    scale: Scale,
    *,
    chosen: tuple[str, ...],
    progress: Progress | None,
) -> dict[str, dict[str, PopulationScores]]:
    work = [(model, part) for model in frozen for part in parts if model in part.models]
    scores: dict[str, dict[str, PopulationScores]] = {model: {} for model in frozen}
    for done, (model, part) in enumerate(work, start=1):
        may = points_for(part.name, frozen[model])
        scores[model][part.name] = replace(
            score(part, model, may, scale),
            subgroups=()
            if part.used_for
            else subgroup_tables(table, part.models[model], may, scale, chosen=chosen),
            spread=spreads.get((model, part.name), ()),
        )
        if progress:
            progress(done, len(work))
    return scores


def _spreads(
    members: pd.DataFrame, table: pd.DataFrame, parts: tuple[Population, ...]
) -> dict[tuple[str, str], tuple[Spread, ...]]:
    if not any(name in members for name in MEMBER_COLUMNS):
        return {}
    clean = next((part for part in parts if part.name == TEST_CLEAN), None)
    names = None
    if clean is not None:
        rows = next(iter(clean.models.values())).rows
        names = frozenset(table["case"].iloc[rows])
    return {
        (model, name): spread_of(rows, population=name)
        for model, name, rows in members_by_population(members, names)
    }


def _notes(table: pd.DataFrame, parts: tuple[Population, ...]) -> Iterator[str]:
    """Why no test cases without overlap with development data are scored apart, where none are."""
    names = {part.name for part in parts}
    if TEST not in names or TEST_CLEAN in names:
        return
    unchecked = "so overlap between training and test cases could not be checked."
    if not table["split"].isin((TRAIN, VAL, OUT_OF_FOLD)).any():
        yield f"The table has no training rows, {unchecked}"
    elif "group" not in table:
        yield f"The table names no groups, {unchecked}"
    else:
        yield "Every test case shares a group with development data, so no test case without overlap is left."


def _groups_across(table: pd.DataFrame) -> Iterator[str]:
    """A warning where groups have cases in more than one split: models may have learnt what is scored."""
    if "group" not in table:
        return
    codes, splits = codes_of(table["group"]), table["split"].replace({OUT_OF_FOLD: TRAIN})
    split_of = pd.Series(codes_of(splits))
    across = int((split_of.groupby(codes).nunique() > 1).sum())
    if across:
        yield (
            f"{across} group{' has' if across == 1 else 's have'} cases in more than one split, so models "
            f"may have learnt from what they are scored on. {TEST_CLEAN}, where it is given, is without them."
        )


def _pair_notes(parts: tuple[Population, ...]) -> Iterator[str]:
    most = max(len(part.models) for part in parts)
    if most > MOST_COMPARED:
        yield (
            f"Of {most} models each is compared with the primary one only; up to {MOST_COMPARED} models, "
            "every two are compared."
        )
