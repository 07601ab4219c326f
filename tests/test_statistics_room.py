"""What holds for every module of statistics/: frozen records, and defaults that are those of the settings."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
from typing import get_args

import pytest
from numpy.typing import ArrayLike

import clineval.statistics
from clineval.settings import EvaluationSettings

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
