"""Images that were trained on are recognised from a trace without pixels; others are not."""

import numpy as np
import pytest

from clineval.data.audit import audit
from clineval.data.phantom import phantom
from clineval.data.similarity import WAVES, digests, recognise, trace


@pytest.fixture(scope="module")
def cohort():
    found = phantom(5, cases=(120, 20, 40))
    return found.with_groups(audit(found).group_of)


@pytest.fixture(scope="module")
def kept(cohort):
    train = cohort.within("train")
    return trace(cohort.images[train], case=cohort.case[train], group=cohort.group[train])


def train_images(cohort):
    return cohort.images[cohort.within("train")]


@pytest.mark.slow
def test_an_image_that_was_trained_on_is_recognised_by_its_bytes(cohort, kept):
    found = recognise(kept, train_images(cohort)[[7, 30]])
    assert [each.training_case for each in found] == cohort.case[cohort.within("train")][[7, 30]].tolist()
    assert all(each.identical and each.similarity == 1 for each in found)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.roll(image, 1, axis=1),
        lambda image: image[:, ::-1],
        lambda image: np.clip(image.astype(int) * 0.8 + 12, 0, 255).astype(np.uint8),
        lambda image: np.clip(image + np.random.default_rng(1).normal(0, 4, image.shape), 0, 255).astype(
            np.uint8
        ),
    ],
    ids=["displaced", "mirrored", "another gain", "noise"],
)
def test_the_same_picture_changed_is_recognised_though_its_bytes_differ(cohort, kept, change):
    (found,) = recognise(kept, change(train_images(cohort)[11])[None])
    assert found.training_case == cohort.case[cohort.within("train")][11]
    assert not found.identical
    assert kept.limit < found.similarity <= 1


def test_images_that_the_audit_calls_different_are_not_recognised(cohort, kept):
    train_groups = set(cohort.group[cohort.within("train")].tolist())
    others = ~cohort.within("train") & ~np.isin(cohort.group, list(train_groups))
    assert len(recognise(kept, cohort.images[others])) <= 1


def test_the_trace_holds_unit_vectors_and_far_fewer_numbers_than_pixels(cohort, kept):
    assert kept.layout.shape == (120, WAVES)
    np.testing.assert_allclose(np.linalg.norm(kept.layout, axis=1), 1, atol=1e-5)
    assert WAVES < 28 * 28 / 5


def test_equal_images_alone_have_equal_fingerprints(cohort):
    images = train_images(cohort)[:20]
    assert len(set(digests(images).tolist())) == len(np.unique(images.reshape(20, -1), axis=0))
    changed = images[:1].copy()
    changed[0, 0, 0] ^= 1
    assert digests(changed)[0] != digests(images)[0]


def test_a_blank_image_and_no_image_resemble_nothing(kept):
    assert recognise(kept, np.zeros((3, 28, 28), np.uint8)) == ()
    assert recognise(kept, np.zeros((0, 28, 28), np.uint8)) == ()
