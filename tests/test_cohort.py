"""What exploration counts and draws, against arithmetic by hand and another way to the same number."""

import json
import math

import numpy as np
import pytest

from clineval.data.cohort import (
    EXAMPLES,
    QUANTILES,
    Cohort,
    LabelMeaning,
    Source,
    class_name,
    derived_seed,
    explore,
    grouped_folds,
    some_cases,
)
from clineval.data.phantom import phantom
from clineval.errors import InputError


def cohort_of(
    images: np.ndarray, outcome: list[int], split: list[str], source: Source | None = None
) -> Cohort:
    case = np.array([f"{where}/{row}" for row, where in enumerate(split)])
    return Cohort(
        condition="malignant",
        images=images.astype(np.uint8),
        outcome=np.array(outcome, bool),
        split=np.array(split),
        case=case,
        group=case.copy(),
        source=source or Source(dataset="mine", title="My cohort"),
    )


@pytest.fixture(scope="module")
def some() -> Cohort:
    return phantom(cases=(60, 16, 24))


@pytest.fixture(scope="module")
def flat() -> Cohort:
    """Six images of one grey level each."""
    levels = np.array([10, 20, 30, 40, 50, 60], np.uint8)
    images = np.broadcast_to(levels[:, None, None], (6, 4, 4))
    return cohort_of(images, [1, 0, 1, 0, 0, 1], ["train"] * 4 + ["test"] * 2)


def test_counts_and_prevalence_by_hand(flat: Cohort) -> None:
    first, second = explore(flat).splits
    assert (first.split, first.cases, first.events, first.prevalence) == ("train", 4, 2, 0.5)
    assert (second.split, second.cases, second.events, second.prevalence) == ("test", 2, 1, 0.5)


def test_grey_levels_by_hand(flat: Cohort) -> None:
    malignant = explore(flat).of("train", 1)  # grey levels 10 and 30, sixteen pixels each
    assert malignant.cases == 2
    assert malignant.mean == 20
    assert malignant.sd == 10
    assert malignant.histogram[[10, 30]].tolist() == [16, 16]
    assert malignant.histogram.sum() == 32
    assert dict(malignant.quantiles) == {0.05: 10, 0.25: 10, 0.5: 10, 0.75: 30, 0.95: 30}


def test_the_whole_class_is_every_split_together(some: Cohort) -> None:
    found = explore(some)
    for outcome in (1, 0):
        parts = [found.of(split, outcome).histogram for split in ("train", "val", "test")]
        whole = found.of("all", outcome)
        assert (whole.histogram == sum(parts)).all()
        assert whole.histogram.sum() == (some.outcome == bool(outcome)).sum() * 28 * 28


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("outcome", [0, 1])
def test_summaries_agree_with_the_pixels_themselves(some: Cohort, split: str, outcome: int) -> None:
    pixels = some.images[some.within(split) & (some.outcome == bool(outcome))].ravel().astype(float)
    found = explore(some).of(split, outcome)
    assert found.mean == pytest.approx(pixels.mean(), abs=1e-9)
    assert found.sd == pytest.approx(pixels.std(), abs=1e-9)
    expected = np.quantile(pixels, QUANTILES, method="inverted_cdf")
    assert list(found.quantiles.values()) == expected.tolist()


def test_a_difference_by_hand() -> None:
    levels = np.array([10, 20, 30, 40, 60, 80], np.uint8)  # train 10 20 30, test 40 60 80
    images = np.broadcast_to(levels[:, None, None], (6, 4, 4))
    found = explore(cohort_of(images, [1, 0, 1, 0, 0, 1], ["train"] * 3 + ["test"] * 3)).differences
    brightness = next(row for row in found if row.measure.startswith("brightness"))
    assert (brightness.first, brightness.second) == ("train", "test")
    assert (brightness.first_mean, brightness.second_mean) == (20, 60)
    # standard deviations 10 and 20: root mean square sqrt(250)
    assert brightness.standardised == pytest.approx(-40 / math.sqrt(250))


def test_every_pair_of_splits_is_compared_and_prevalence_too(some: Cohort) -> None:
    found = explore(some)
    pairs = {(row.first, row.second) for row in found.differences}
    assert pairs == {("train", "val"), ("train", "test"), ("val", "test")}
    assert sum(row.measure == "prevalence" for row in found.differences) == 3


def test_equal_splits_differ_by_nothing(some: Cohort) -> None:
    once = some.select(some.within("train"))
    twice = cohort_of(
        np.concatenate([once.images, once.images]),
        [*once.outcome.tolist(), *once.outcome.tolist()],
        ["train"] * len(once) + ["test"] * len(once),
    )
    assert all(row.standardised == 0 for row in explore(twice).differences)


def test_what_cannot_be_standardised_is_nan_with_the_reason(flat: Cohort) -> None:
    found = {row.measure: row for row in explore(flat).differences}
    contrast = found["contrast (SD of grey levels)"]  # no image has any
    assert math.isnan(contrast.standardised)
    assert contrast.method == "undefined: no spread on either side"
    single = cohort_of(np.zeros((3, 4, 4)), [1, 0, 1], ["train", "train", "test"])
    assert {row.method for row in explore(single).differences} == {"undefined: fewer than 2 cases on a side"}


def test_a_class_that_a_split_lacks_is_undefined_there_and_not_zero() -> None:
    cohort = cohort_of(np.full((3, 4, 4), 9), [1, 0, 0], ["train", "train", "test"])
    absent = explore(cohort).of("test", 1)
    assert absent.cases == 0
    assert math.isnan(absent.mean)
    assert all(math.isnan(value) for value in absent.quantiles.values())


def test_classes_differ_by_what_the_phantom_was_given(some: Cohort) -> None:
    found = explore(some).class_differences
    assert {(row.first, row.second) for row in found} == {
        ("malignant (synthetic)", "normal or benign (synthetic)")
    }
    assert len(found) == 5


def test_examples_are_training_cases_of_their_class_evenly_spaced(some: Cohort) -> None:
    malignant, other = explore(some).examples
    assert (malignant.outcome, malignant.label, malignant.name) == (1, 0, "malignant (synthetic)")
    assert (other.outcome, other.label) == (0, 1)
    for example in (malignant, other):
        rows = [int(np.flatnonzero(some.case == case)[0]) for case in example.cases]
        assert len(rows) == len(set(rows)) == EXAMPLES
        assert rows == sorted(rows)
        assert all(case.startswith("train/") for case in example.cases)
        assert (some.outcome[rows] == bool(example.outcome)).all()


def test_without_training_cases_examples_come_from_what_there_is() -> None:
    cohort = cohort_of(np.zeros((3, 4, 4)), [1, 1, 0], ["clinic"] * 3)
    assert explore(cohort).examples[0].cases == ("clinic/0", "clinic/1")


def test_class_names_are_the_sources_words_or_the_condition(flat: Cohort) -> None:
    assert (class_name(flat, 1), class_name(flat, 0)) == ("malignant", "not malignant")
    words = (LabelMeaning(0, "cancer", True), LabelMeaning(1, "no cancer", False))
    named = cohort_of(flat.images, [1] * 6, ["train"] * 6, Source("mine", "My cohort", labels=words))
    assert (class_name(named, 1), class_name(named, 0)) == ("cancer", "no cancer")


def test_splits_come_in_the_official_order_and_others_after() -> None:
    cohort = cohort_of(np.zeros((4, 4, 4)), [1, 0, 1, 0], ["site b", "test", "train", "site a"])
    assert [count.split for count in explore(cohort).splits] == ["train", "test", "site a", "site b"]


def test_json_is_strict_and_holds_null_for_what_is_undefined(flat: Cohort, some: Cohort) -> None:
    for cohort in (flat, some):
        text = json.dumps(explore(cohort).to_json(), allow_nan=False)
        assert json.loads(text)["schema"] == 1
    assert '"standardised": null' in json.dumps(explore(flat).to_json())
    assert explore(some).to_json()["notice"].startswith("SYNTHETIC PHANTOM DATA")


def test_an_empty_cohort_and_an_unknown_split_are_refused(some: Cohort) -> None:
    with pytest.raises(InputError, match="at least one case"):
        explore(some.select(np.zeros(len(some), bool)))
    with pytest.raises(InputError, match="No split 'elsewhere' with outcome 1"):
        explore(some).of("elsewhere", 1)


@pytest.mark.real_data
def test_breastmnist_has_the_published_counts_and_brightness(real_breastmnist: Cohort) -> None:
    found = explore(real_breastmnist)
    assert [(row.split, row.cases, row.events) for row in found.splits] == [
        ("train", 546, 147),
        ("val", 78, 21),
        ("test", 156, 42),
    ]
    train = [found.of("train", outcome) for outcome in (1, 0)]
    mean = sum(part.mean * part.cases for part in train) / 546
    assert mean / 255 == pytest.approx(0.3276, abs=0.0001)  # measured on the official training images


GROUP = np.repeat(np.arange(60), 2).astype(str)
OUTCOME = np.repeat(np.arange(60) < 20, 2)


def test_cases_of_one_group_share_a_fold() -> None:
    fold = grouped_folds(OUTCOME, GROUP, folds=5)
    assert all(len(set(fold[name == GROUP])) == 1 for name in set(GROUP))


def test_every_fold_has_about_the_same_prevalence() -> None:
    fold = grouped_folds(OUTCOME, GROUP, folds=5)
    assert [int(OUTCOME[fold == number].sum()) for number in range(5)] == [8] * 5


def test_another_seed_draws_other_folds() -> None:
    assert not np.array_equal(
        grouped_folds(OUTCOME, GROUP, folds=5, seed=0), grouped_folds(OUTCOME, GROUP, folds=5, seed=1)
    )


def test_too_few_groups_with_the_condition_are_refused() -> None:
    outcome = np.repeat(np.arange(60) < 3, 2)
    with pytest.raises(InputError, match=r"5 grouped folds needs at least 5 .* has 3 and 57"):
        grouped_folds(outcome, GROUP, folds=5)


def test_seeds_of_two_purposes_differ() -> None:
    assert derived_seed(0, "folds", 1) == derived_seed(0, "folds", 1)
    assert derived_seed(0, "folds", 1) != derived_seed(0, "folds", 2)
    assert derived_seed(1, 2) != derived_seed(12)


def test_some_cases_are_whole_groups_at_the_same_prevalence() -> None:
    group = np.repeat(np.arange(500), 2).astype(str)
    outcome = np.arange(1000) < 200
    some = some_cases(outcome, group, most=300, seed=1)
    assert 290 <= len(some) <= 300
    assert outcome[some].mean() == pytest.approx(0.2, abs=0.01)
    assert (np.unique(group[some], return_counts=True)[1] == 2).all()
    assert not np.array_equal(some, some_cases(outcome, group, most=300, seed=2))


def test_all_cases_are_taken_where_there_are_no_more_than_asked_for() -> None:
    outcome = np.arange(10) < 3
    assert some_cases(outcome, np.arange(10).astype(str), most=10).tolist() == list(range(10))
