"""The synthetic phantom set: its shape, its physics, and what is planted in it."""

import time

import numpy as np
import pytest
from scipy.stats import rankdata
from spoilt_images import with_artefacts

from clineval.data.cohort import Cohort
from clineval.data.phantom import CASES, Planted, phantom, planted
from clineval.errors import InputError

SMALL = (120, 30, 40)


@pytest.fixture(scope="module")
def drawn() -> tuple[Cohort, float]:
    """The default set, and the CPU seconds that drawing it took."""
    start = time.process_time()
    cohort = phantom(seed=0)
    return cohort, time.process_time() - start


@pytest.fixture(scope="module")
def whole(drawn: tuple[Cohort, float]) -> Cohort:
    return drawn[0]


def image_of(cohort: Cohort, case: str) -> np.ndarray:
    return cohort.images[int(np.flatnonzero(cohort.case == case)[0])]


def outcome_of(cohort: Cohort, case: str) -> bool:
    return bool(cohort.outcome[int(np.flatnonzero(cohort.case == case)[0])])


@pytest.mark.slow
def test_splits_and_events_are_those_of_breastmnist(whole: Cohort) -> None:
    found = {
        split: (int(whole.within(split).sum()), int(whole.outcome[whole.within(split)].sum()))
        for split in whole.split
    }
    assert found == {"train": (546, 147), "val": (78, 21), "test": (156, 42)}
    assert {meaning.code: meaning.is_condition for meaning in whole.source.labels} == {0: True, 1: False}
    assert len(set(whole.case.tolist())) == sum(CASES)


def test_it_says_that_it_is_synthetic(whole: Cohort) -> None:
    assert whole.source.synthetic
    assert whole.source.notice.startswith("SYNTHETIC PHANTOM DATA: ")
    assert phantom(cases=(8, 8, 8), reason="no network").source.notice == "SYNTHETIC PHANTOM DATA: no network"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = phantom(0, cases=SMALL), phantom(0, cases=SMALL), phantom(1, cases=SMALL)
    assert first.images.tobytes() == again.images.tobytes()
    assert (first.outcome == again.outcome).all()
    assert (first.images != other.images).mean() > 0.9


def test_it_leaves_the_global_random_state_alone() -> None:
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    phantom(cases=(8, 8, 8))
    assert np.random.random() == expected


def test_the_default_set_is_drawn_in_under_two_seconds(drawn: tuple[Cohort, float]) -> None:
    assert drawn[1] < 2


@pytest.mark.parametrize("cases", [(120, 30), (120, 30, 7), (0, 0, 0)])
def test_too_few_cases_are_refused(cases: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="three split sizes of at least 8"):
        phantom(cases=cases)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="seed of at least 0"):
        phantom(seed=-1)


# What the images look like ------------------------------------------------------------------------------


def test_images_use_the_grey_scale_without_saturating(whole: Cohort) -> None:
    assert 70 < whole.images.mean() < 110  # BreastMNIST: 84
    assert 30 < whole.images.std() < 60  # BreastMNIST: 52
    assert (whole.images == 255).mean() < 0.01


def test_brightness_falls_with_depth_as_after_imperfect_time_gain(whole: Cohort) -> None:
    rows = whole.images.mean(axis=(0, 2))
    assert rows[2:8].mean() > rows[-6:].mean() + 10


def test_malignant_masses_cast_shadows_and_benign_ones_enhance(whole: Cohort) -> None:
    lower = whole.images[:, 18:].mean(axis=(1, 2)) - whole.images[:, :6].mean(axis=(1, 2))
    assert lower[whole.outcome].mean() < lower[~whole.outcome].mean() - 3


def area(score: np.ndarray, outcome: np.ndarray) -> float:
    """AUC by ranks, for a plain number per image."""
    events = int(outcome.sum())
    ranks = rankdata(score)[outcome].sum() - events * (events + 1) / 2
    return float(ranks / (events * (len(outcome) - events)))


def test_no_plain_number_of_an_image_gives_the_outcome_away(whole: Cohort) -> None:
    plain = {
        "brightness": -whole.images.mean(axis=(1, 2)),
        "contrast": whole.images.std(axis=(1, 2)),
        "darkest": -whole.images.min(axis=(1, 2)).astype(float),
        "dark share": (whole.images < 40).mean(axis=(1, 2)),
    }
    areas = {name: area(score, whole.outcome) for name, score in plain.items()}
    assert all(0.3 < value < 0.75 for value in areas.values()), areas


def test_position_in_the_set_says_nothing_of_the_outcome(whole: Cohort) -> None:
    for split in ("train", "val", "test"):
        outcome = whole.outcome[whole.within(split)]
        assert 0.35 < area(np.arange(len(outcome)), outcome) < 0.65


# What is planted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cases", [CASES, SMALL])
def test_every_corruption_is_planted_across_splits(cases: tuple[int, ...]) -> None:
    across = {pair.corruption for pair in planted(cases=cases) if pair.original[:4] != pair.copy[:4]}
    assert across == {
        "exact",
        "shifted by 1 px",
        "shifted by 2 px",
        "flipped left-right",
        "brightened",
        "contrast changed",
        "JPEG-compressed",
        "exact, label contradicts",
    }


def test_the_default_set_holds_29_pairs_in_every_pair_of_splits() -> None:
    pairs = planted()
    places = {(pair.original.split("/")[0], pair.copy.split("/")[0]) for pair in pairs}
    assert len(pairs) == 29
    assert places == {("train", "train"), ("train", "val"), ("train", "test"), ("val", "test")}


@pytest.mark.parametrize("cases", [CASES, SMALL, (24, 8, 10), (8, 8, 8)])
def test_no_image_stands_in_two_pairs_and_no_split_is_flooded(cases: tuple[int, ...]) -> None:
    names = [name for pair in planted(cases=cases) for name in (pair.original, pair.copy)]
    assert len(names) == len(set(names))
    for split, count in zip(("train", "val", "test"), cases, strict=True):
        assert sum(name.startswith(split) for name in names) <= count / 3 + 1


def test_exactly_one_pair_contradicts_and_it_is_byte_identical(whole: Cohort) -> None:
    pairs = planted()
    opposed = [pair for pair in pairs if outcome_of(whole, pair.original) != outcome_of(whole, pair.copy)]
    assert [pair.corruption for pair in opposed] == ["exact, label contradicts"]
    (pair,) = opposed
    assert pair.original.startswith("train/")
    assert pair.copy.startswith("test/")
    assert outcome_of(whole, pair.original)
    assert (image_of(whole, pair.original) == image_of(whole, pair.copy)).all()


def pairs_of(kind: str) -> list[Planted]:
    return [pair for pair in planted() if pair.corruption == kind]


def test_each_copy_is_its_original_after_the_corruption_it_names(whole: Cohort) -> None:
    def both(kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
        found = [(image_of(whole, pair.original), image_of(whole, pair.copy)) for pair in pairs_of(kind)]
        assert len(found) == 4
        return [(one.astype(int), other.astype(int)) for one, other in found]

    assert all((one == other).all() for one, other in both("exact"))
    assert all((one[:, 1:] == other[:, :-1]).all() for one, other in both("shifted by 1 px"))
    assert all((one[2:, :-1] == other[:-2, 1:]).all() for one, other in both("shifted by 2 px"))
    assert all((one[:, ::-1] == other).all() for one, other in both("flipped left-right"))
    assert all((np.minimum(one + 25, 255) == other).all() for one, other in both("brightened"))
    assert all(0.65 < other.std() / one.std() < 0.75 for one, other in both("contrast changed"))
    assert all(0 < np.abs(one - other).mean() < 8 for one, other in both("JPEG-compressed"))


def best_correlation(images: np.ndarray, shift: int = 2) -> np.ndarray:
    """Largest correlation of every two images over shifts and mirroring, shape (images, images)."""
    count, side = images.shape[0], images.shape[1]
    best = np.full((count, count), -1.0, np.float32)
    for mirrored in (images, images[:, :, ::-1]):
        for down in range(-shift, shift + 1):
            for right in range(-shift, shift + 1):
                fixed = images[:, max(down, 0) : side + min(down, 0), max(right, 0) : side + min(right, 0)]
                moved = mirrored[
                    :, max(-down, 0) : side + min(-down, 0), max(-right, 0) : side + min(-right, 0)
                ]
                np.maximum(best, unit(fixed) @ unit(moved).T, out=best)
    return np.maximum(best, best.T)


def unit(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.mark.slow
def test_planted_pairs_are_alike_and_no_other_pair_is(whole: Cohort) -> None:
    best = best_correlation(whole.images)
    row = {name: index for index, name in enumerate(whole.case.tolist())}
    alike = []
    for pair in planted():
        one, other = row[pair.original], row[pair.copy]
        alike.append(best[one, other])
        best[one, other] = best[other, one] = -1
    np.fill_diagonal(best, -1)
    assert min(alike) > 0.97
    assert best.max() < 0.88


# Single images spoilt on request --------------------------------------------------------------------------


def test_artefacts_spoil_four_named_training_images_and_nothing_else() -> None:
    cohort = phantom(cases=SMALL)
    keep = {name for pair in planted(cases=SMALL) for name in (pair.original, pair.copy)}
    before = cohort.images.copy()
    spoilt, artefacts = with_artefacts(cohort, keep=keep)
    changed = (spoilt.images != cohort.images).any(axis=(1, 2))
    assert (cohort.images == before).all()
    assert set(cohort.case[changed].tolist()) == {artefact.case for artefact in artefacts}
    assert not keep & {artefact.case for artefact in artefacts}
    assert (spoilt.outcome == cohort.outcome).all()
    images = {artefact.kind: image_of(spoilt, artefact.case) for artefact in artefacts}
    assert images["blank"].std() == 0
    assert (images["saturated"] == 255).mean() > 0.3
    assert (images["burnt-in text"] == 255).sum() > 20
    assert (images["calipers"] == 255).sum() >= 18


def test_artefacts_need_training_images_to_spoil() -> None:
    cohort = phantom(cases=(8, 8, 8))
    with pytest.raises(ValueError, match="4 training images are needed to spoil; there are 0"):
        with_artefacts(cohort, keep=cohort.case.tolist())


# How hard it is -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_logistic_regression_on_pixels_finds_it_hard_and_not_hopeless(whole: Cohort) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pixels = whole.images.reshape(len(whole), -1) / 255
    train, test = whole.within("train"), whole.within("test")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=2000))
    model.fit(pixels[train], whole.outcome[train])
    assert 0.70 < area(model.predict_proba(pixels[test])[:, 1], whole.outcome[test]) < 0.84
