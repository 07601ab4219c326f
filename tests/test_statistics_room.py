"""What holds for every module of statistics/: frozen records, one default, and what Python may hand over."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
from types import UnionType
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import ArrayLike

import clineval.statistics
from clineval.evaluation.external import probe
from clineval.settings import EvaluationSettings
from clineval.statistics.readings import arrange_readings
from clineval.statistics.recalibration import Recalibration
from clineval.statistics.updating import LocalKernel

MODULES = [
    importlib.import_module(f"clineval.statistics.{found.name}")
    for found in pkgutil.iter_modules(clineval.statistics.__path__)
]
RECORDS = [
    each
    for module in MODULES
    for _, each in inspect.getmembers(module, inspect.isclass)
    if dataclasses.is_dataclass(each) and each.__module__ == module.__name__
]
FUNCTIONS = [
    each
    for module in MODULES
    for name, each in inspect.getmembers(module, inspect.isfunction)
    if each.__module__ == module.__name__ and not name.startswith("_")
]
FUNCTIONS.append(probe)  # arrays in, a record out, beside the external comparison that it belongs to
NO_DRAWS = 0  # where a bootstrap is an extra
PROC_S_DRAWS = 2000  # where roc.py resamples as pROC does, it does so as often
DEFAULTS = {name: getattr(EvaluationSettings, name) for name in ("level", "draws", "seed")}


@pytest.mark.parametrize("record", RECORDS, ids=lambda each: each.__qualname__)
def test_every_record_is_frozen(record):
    assert record.__dataclass_params__.frozen


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each.__qualname__)
def test_level_draws_and_seed_are_by_default_those_of_the_settings(function):
    for name, parameter in inspect.signature(function).parameters.items():
        if name in DEFAULTS and parameter.default is not inspect.Parameter.empty:
            known = {DEFAULTS[name], PROC_S_DRAWS, NO_DRAWS} if name == "draws" else {DEFAULTS[name]}
            assert parameter.default in known, name


def takes_arrays(annotation) -> bool:
    return all(part in get_args(annotation) for part in get_args(ArrayLike))


# What others call with arrays already checked and aligned, and two cohorts, aligned one by one.
AFTER_ALIGNMENT = {
    *("checked_cases", "checked_risks", "flagged", "wilson_bounds", "bootstrap_weights", "weight_blocks"),
    *("worth_of_moments", "grouped_folds", "compare_auc_unpaired"),
}
INNER = AFTER_ALIGNMENT - {"compare_auc_unpaired"} | {
    *("checked_outcome", "finite", "numbers", "probabilities", "true_or_false", "ascending"),
    *("group_codes", "shared_groups", "resampling_units", "resampled_levels"),
    *("degenerate_auc", "percentile_interval", "holm", "ordinal_levels"),
}  # called with one array, or between functions


def test_every_function_of_several_arrays_aligns_their_series():
    several = {
        each.__name__: each
        for each in FUNCTIONS
        if sum(takes_arrays(one.annotation) for one in inspect.signature(each).parameters.values()) > 1
    }
    plain = {name for name, each in several.items() if not hasattr(each, "__wrapped__")}
    assert plain == AFTER_ALIGNMENT


@pytest.mark.parametrize("module", MODULES, ids=lambda each: each.__name__)
def test_the_examples_in_docstrings_run(module):
    found = doctest.testmod(module, extraglobs=vars(module))
    assert found.failed == 0


def test_there_are_examples():
    assert sum(doctest.testmod(module, extraglobs=vars(module)).attempted for module in MODULES) >= 10


# What Python may hand over ---------------------------------------------------------------------------

N = 60
RNG = np.random.default_rng(0)
OUTCOME, GROUP = np.arange(N) % 3 == 0, np.arange(N) // 2
FIRST, SECOND = (1 / (1 + np.exp(-RNG.normal(1.2 * OUTCOME - 1))) for _ in range(2))
TRUE_OR_FALSE = dict.fromkeys(("outcome", "outcome_a", "outcome_b", "right"), OUTCOME) | dict.fromkeys(
    ("part", "category"), np.arange(N) % 2 == 0
)
GROUPS = dict.fromkeys(("group", "group_a", "group_b"), GROUP)
NUMBERS = {
    **dict.fromkeys(("risk", "risk_a", "head_risk"), FIRST),
    "risk_b": SECOND,
    **dict.fromkeys(("reading", "second", "rating"), np.round(4 * SECOND)),
    "first": np.round(4 * FIRST),
}
PER_CASE = TRUE_OR_FALSE | GROUPS | NUMBERS
KERNEL = np.outer(FIRST, FIRST) + np.eye(N)
OTHERS = {
    **{"level": 0.95, "draws": 10, "seed": 0, "repeats": 1, "folds": 2, "numbers": (5, 10)},
    **{"threshold": 0.3, "threshold_a": 0.3, "threshold_b": 0.4, "cut": 2, "thresholds": [0.2, 0.5]},
    **{"target": 0.7, "prevalence": 0.2, "trained_at": 0.3, "specificity": 0.8, "sensitivity": 0.8},
    **{"low": 0.5, "rule_out": 0.2, "rule_in": 0.5, "population": "x", "fitted_on": "y"},
    **{"step": "intercept", "steps": ("nothing", "intercept")},
    "recalibration": Recalibration("platt", "y", N, 20),
    "quantities": {"brightness": SECOND},
    "kernel": KERNEL,
    "local": LocalKernel(KERNEL, np.zeros(N)),
    "statistic": lambda outcome, risk, *weights: weights[0] @ risk if weights else risk.mean(),
    "reader": np.repeat(["a", "b"], N // 2),
    "case": np.tile(np.arange(N // 2), 2),
    "study": arrange_readings(
        np.concatenate([FIRST, SECOND, FIRST[::-1]]),
        outcome=np.tile(OUTCOME, 3),
        reader=np.repeat(["a", "b", "c"], N),
        case=np.tile(np.arange(N), 3),
    ),
}
OWN = {"arrange_readings": {"outcome": np.tile(OUTCOME[: N // 2], 2), "group": GROUP[: N // 2].repeat(2)}}


def arrays_of(function) -> dict[str, np.ndarray]:
    """The arrays with one value per case that a function takes, by name."""
    own = PER_CASE | OWN.get(function.__name__, {})
    return {name: own[name] for name in inspect.signature(function).parameters if name in own}


def called(function, **changes):
    """A function's answer on valid arrays, with some of them given otherwise."""
    names = inspect.signature(function).parameters
    given = {name: OTHERS[name] for name in names if name in OTHERS} | arrays_of(function) | changes
    if function.__name__ == "arrange_readings":
        given.pop("group")
    return function(**given)


WALKED = [
    each
    for each in FUNCTIONS
    if each.__name__ not in INNER
    and set(arrays_of(each))
    & {name for name, one in inspect.signature(each).parameters.items() if takes_arrays(one.annotation)}
]
by_name = pytest.mark.parametrize("function", WALKED, ids=lambda each: each.__name__)


def with_fourth(values, value) -> list:
    return [value if row == 3 else each for row, each in enumerate(values.tolist())]


def missing_groups(group):
    yield np.where(np.arange(N) == 3, np.nan, group)
    yield with_fourth(group.astype(str), None)
    yield pd.Series(with_fourth(group, pd.NA), dtype="Int64")
    yield pd.Series(pd.Categorical(with_fourth(group.astype(str), None)))
    yield pd.Series(pd.to_datetime(with_fourth(np.full(N, "2020-01-01"), None)))
    yield pa.array(with_fourth(group, None))
    yield pytest.importorskip("polars").Series(with_fourth(group, None))


def no_outcomes(outcome):
    yield pd.array(with_fourth(outcome, pd.NA), dtype="boolean")
    yield with_fourth(outcome, None)
    yield with_fourth(outcome, "yes")
    yield with_fourth(outcome.astype(int), 2)
    yield np.where(np.arange(N) == 3, np.nan, outcome)
    yield pa.array(with_fourth(outcome, None))
    yield pytest.importorskip("polars").Series(with_fourth(outcome, None))


def no_numbers(values):
    for each in ("0.3", None, np.nan, np.inf, 1j):
        yield with_fourth(values, each)
    yield pd.array(with_fourth(values, pd.NA), dtype="Float64")
    yield pa.array(with_fourth(values, None))
    yield pytest.importorskip("polars").Series(with_fourth(values, None))


@by_name
def test_a_missing_or_unfit_value_is_refused_with_its_row_counted_from_1(function):
    for name, values in arrays_of(function).items():
        if function.__name__ == "arrange_readings" and name != "rating":
            continue  # names are words there; outcomes stand once per reading
        unfit = missing_groups if name in GROUPS else no_outcomes if name in TRUE_OR_FALSE else no_numbers
        for bad in unfit(values):
            with pytest.raises(ValueError, match=r"row 4\b"):
                called(function, **{name: bad})


@pytest.mark.slow
@by_name
def test_frames_and_series_of_every_library_say_what_arrays_say(function):
    polars, expected = pytest.importorskip("polars"), repr(called(function))
    for name, values in arrays_of(function).items():
        if function.__name__ == "arrange_readings" and name == "group":
            continue
        forms = [
            *(polars.Series(values), polars.DataFrame({name: values}), pd.DataFrame({name: values})),
            *(pa.array(values), pa.chunked_array([values[:20], values[20:]]), pa.table({name: values})),
            *(values.tolist(), pd.Series(values), pd.Series(values).convert_dtypes()),
        ]
        for form in forms:
            assert repr(called(function, **{name: form})) == expected, (name, type(form))


@by_name
def test_a_single_number_that_is_text_or_missing_is_refused_by_its_name(function):
    for name, parameter in inspect.signature(function).parameters.items():
        union = isinstance(parameter.annotation, UnionType)
        kinds = get_args(parameter.annotation) if union else (parameter.annotation,)
        if all(kind in (float, int, type(None)) for kind in kinds):
            for bad in ("0.3", np.nan, pd.NA, [0.3], *(() if type(None) in kinds else (None,))):
                with pytest.raises(ValueError, match=rf"number as {name}; got"):
                    called(function, **{name: bad})


@by_name
def test_arrays_of_unequal_length_are_refused(function):
    arrays = arrays_of(function)
    for name, values in arrays.items():
        if len(arrays) > 1 and function.__name__ != "arrange_readings":
            with pytest.raises(ValueError):
                called(function, **{name: values[:-1]})


@by_name
def test_series_are_brought_into_the_order_of_the_first_one_s_index(function):
    arrays, labels = arrays_of(function), [f"p{row}" for row in range(N)]
    if len(arrays) < 2 or function.__name__ in ("arrange_readings", "compare_auc_unpaired"):
        return
    series = {
        name: pd.Series(values, index=labels).sample(frac=1, random_state=place) if place else
        pd.Series(values, index=labels)
        for place, (name, values) in enumerate(arrays.items())
    }  # fmt: skip
    assert repr(called(function, **series)) == repr(called(function))
    last = list(arrays)[-1]
    with pytest.raises(ValueError, match="different index"):
        called(function, **series | {last: pd.Series(arrays[last])})


def test_every_function_of_cases_is_walked():
    walked = {each.__name__ for each in WALKED}
    aligned = {each.__name__ for each in FUNCTIONS if hasattr(each, "__wrapped__")}
    assert {"auc", "kappa", "fit_update", "model_against_panel", "at_cuts"} <= walked
    of_sites = {"random_effects", "leave_one_site_out", "next_site", "logit_rates", "plan_sites"}
    assert aligned - walked == of_sites
