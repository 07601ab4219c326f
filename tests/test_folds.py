"""Grouped folds."""

import numpy as np
import pytest

from clineval.errors import InputError
from clineval.models.folds import derived_seed, grouped_folds, some_cases

GROUP = np.repeat(np.arange(60), 2).astype(str)
OUTCOME = np.repeat(np.arange(60) < 20, 2)


def test_cases_of_one_group_share_a_fold():
    fold = grouped_folds(OUTCOME, GROUP, folds=5)
    assert all(len(set(fold[name == GROUP])) == 1 for name in set(GROUP))


def test_every_fold_has_about_the_same_prevalence():
    fold = grouped_folds(OUTCOME, GROUP, folds=5)
    assert [int(OUTCOME[fold == number].sum()) for number in range(5)] == [8] * 5


def test_another_seed_draws_other_folds():
    assert not np.array_equal(
        grouped_folds(OUTCOME, GROUP, folds=5, seed=0), grouped_folds(OUTCOME, GROUP, folds=5, seed=1)
    )


def test_too_few_groups_with_the_condition_are_refused():
    outcome = np.repeat(np.arange(60) < 3, 2)
    with pytest.raises(InputError, match=r"5 grouped folds needs at least 5 .* has 3 and 57"):
        grouped_folds(outcome, GROUP, folds=5)


def test_seeds_of_two_purposes_differ():
    assert derived_seed(0, "folds", 1) == derived_seed(0, "folds", 1)
    assert derived_seed(0, "folds", 1) != derived_seed(0, "folds", 2)
    assert derived_seed(1, 2) != derived_seed(12)


def test_some_cases_are_whole_groups_at_the_same_prevalence():
    group = np.repeat(np.arange(500), 2).astype(str)
    outcome = np.arange(1000) < 200
    some = some_cases(outcome, group, most=300, seed=1)
    assert 290 <= len(some) <= 300
    assert outcome[some].mean() == pytest.approx(0.2, abs=0.01)
    assert (np.unique(group[some], return_counts=True)[1] == 2).all()
    assert not np.array_equal(some, some_cases(outcome, group, most=300, seed=2))


def test_all_cases_are_taken_where_there_are_no_more_than_asked_for():
    outcome = np.arange(10) < 3
    assert some_cases(outcome, np.arange(10).astype(str), most=10).tolist() == list(range(10))
