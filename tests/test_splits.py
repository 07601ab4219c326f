import dataclasses

import numpy as np
import pytest

from clineval.data import splits
from clineval.data.audit import audit
from clineval.data.phantom import phantom
from clineval.data.splits import derived_seed, grouped_folds, some_cases
from clineval.errors import InputError

SIZES = (80, 24, 30)


@pytest.fixture(scope="module")
def cohort():
    return phantom(0, cases=SIZES)


@pytest.fixture(scope="module")
def found(cohort):
    return audit(cohort)


def parted(cohort):
    """Groups that lie in more than one split."""
    return {g for g in cohort.group.tolist() if len(set(cohort.split[cohort.group == g].tolist())) > 1}


def test_the_official_split_keeps_every_case_and_takes_the_groups_of_the_audit(cohort, found):
    same = splits.apply_split(cohort, found, "official")
    assert same.case.tolist() == cohort.case.tolist()
    assert same.split.tolist() == cohort.split.tolist()
    assert same.group.tolist() == found.group_of.tolist()
    assert parted(same)


def test_deduplicated_parts_no_group_between_test_and_the_rest(cohort, found):
    less = splits.deduplicated(cohort, found)
    test = set(less.group[less.within("test")].tolist())
    assert not test & set(less.group[~less.within("test")].tolist())


def test_deduplicated_keeps_test_whole_and_drops_only_cases_with_a_reason(cohort, found):
    less = splits.deduplicated(cohort, found)
    assert less.within("test").sum() == SIZES[2]
    dropped = set(cohort.case.tolist()) - set(less.case.tolist())
    reasons = {n for pair in found.pairs if "test" in pair.splits or pair.contradictory for n in pair.cases}
    assert dropped
    assert dropped <= reasons


def test_deduplicated_drops_both_images_of_a_contradiction_outside_test(cohort):
    images, split = cohort.images.copy(), cohort.split
    a, b = np.flatnonzero(split == "train")[:2]
    images[b] = images[a]
    outcome = cohort.outcome.copy()
    outcome[a], outcome[b] = True, False
    wrong = dataclasses.replace(cohort, images=images, outcome=outcome)
    less = splits.deduplicated(wrong, audit(wrong))
    assert not {str(cohort.case[a]), str(cohort.case[b])} & set(less.case.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_grouped_parts_no_group_and_keeps_sizes_and_prevalence(cohort, found, seed):
    anew = splits.grouped(cohort, found, seed=seed)
    assert not parted(anew)
    assert sorted(anew.case.tolist()) == sorted(cohort.case.tolist())
    for name, size in zip(("train", "val", "test"), SIZES, strict=True):
        here = anew.within(name)
        assert abs(here.sum() - size) <= 0.15 * size
        assert abs(anew.outcome[here].mean() - cohort.outcome.mean()) <= 0.05


def test_the_same_seed_gives_the_same_grouped_split_and_another_seed_another(cohort, found):
    first, again, other = (splits.grouped(cohort, found, seed=seed).split.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_grouped_keeps_the_images_with_their_cases(cohort, found):
    anew = splits.grouped(cohort, found)
    row = {name: position for position, name in enumerate(cohort.case.tolist())}
    for position, name in enumerate(anew.case.tolist()):
        assert np.array_equal(anew.images[position], cohort.images[row[name]])


def test_an_unknown_way_to_split_is_refused(cohort, found):
    with pytest.raises(InputError, match="official, deduplicated, grouped; got 'random'"):
        splits.apply_split(cohort, found, "random")


def test_grouped_is_refused_without_the_three_splits(cohort):
    only = cohort.select(cohort.within("train"))
    with pytest.raises(InputError, match="needs a cohort of train, val and test; got train"):
        splits.grouped(only, audit(only))


def test_grouped_is_refused_where_there_are_too_few_groups(cohort, found):
    outcome = np.zeros(len(cohort), bool)
    outcome[:2] = True
    with pytest.raises(InputError, match="groups with and without the condition"):
        splits.grouped(dataclasses.replace(cohort, outcome=outcome), found)


@pytest.mark.slow
@pytest.mark.real_data
def test_breastmnist_deduplicated_and_grouped_keep_their_promises(real_breastmnist):
    found = audit(real_breastmnist)
    less = splits.deduplicated(real_breastmnist, found)
    assert less.within("test").sum() == 156
    assert 60 <= 546 - less.within("train").sum() <= 90
    assert "train/115" not in less.case.tolist()
    anew = splits.grouped(real_breastmnist, found, seed=0)
    assert not parted(anew)
    sizes = [int(anew.within(name).sum()) for name in ("train", "val", "test")]
    np.testing.assert_allclose(sizes, [546, 78, 156], atol=3)


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
