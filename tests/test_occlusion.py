"""Hidden patches of explain, without a run: by hand for a linear model, by a naive loop, and their laws."""

import numpy as np
import pytest

from clineval.pipeline.explain import occlude


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 256, (8, 8)).astype(np.uint8)


def linear(weights):
    """A risk that is linear in the grey levels."""
    return lambda images: 0.5 + np.tensordot(images / 255, weights, axes=2)


def occlusion_map(risk_of, image, *, stride=1, **which):
    """The risk of the image less that of the image with each patch hidden, shape (rows, columns)."""
    rows, columns = (-(-side // stride) for side in image.shape)
    changes = risk_of(image[None]) - risk_of(occlude(image, stride=stride, **which))
    return changes.reshape(rows, columns)


def test_the_map_of_a_linear_model_is_its_weights_times_the_difference_from_the_mean():
    image = np.array([[10, 20], [30, 140]], np.uint8)  # mean 50
    weights = np.array([[0.1, -0.2], [0.3, 0.0]])
    by_hand = [[0.1 * -40 / 255, -0.2 * -30 / 255], [0.3 * -20 / 255, 0.0]]
    np.testing.assert_allclose(occlusion_map(linear(weights), image, patch=1), by_hand, atol=1e-12)


def test_the_map_of_a_patch_is_the_sum_of_the_maps_of_its_pixels_where_the_risk_is_linear(image):
    risk_of = linear(np.random.default_rng(0).normal(0, 0.01, image.shape))
    single = occlusion_map(risk_of, image, patch=1)
    wide = occlusion_map(risk_of, image, patch=3)
    np.testing.assert_allclose(wide[4, 5], single[3:6, 4:7].sum(), atol=1e-12)
    np.testing.assert_allclose(wide[0, 0], single[:2, :2].sum(), atol=1e-12)  # cut off at the corner


@pytest.mark.parametrize(("patch", "stride"), [(1, 1), (3, 1), (4, 2), (5, 3), (8, 8), (11, 4)])
def test_the_map_is_that_of_a_loop_over_patches(image, patch, stride):
    weights = np.random.default_rng(1).normal(0, 1, image.shape)

    def risk_of(images):
        return 1 / (1 + np.exp(-np.tensordot(images / 255 - 0.5, weights, axes=2)))

    fill = round(float(np.mean(image)))
    found = []
    for row in range(0, 8, stride):
        line = []
        for column in range(0, 8, stride):
            hidden = image.copy()
            for y in range(8):
                for x in range(8):
                    if (
                        0 <= y - row - (stride - patch) // 2 < patch
                        and 0 <= x - column - (stride - patch) // 2 < patch
                    ):
                        hidden[y, x] = fill
            line.append(risk_of(image[None])[0] - risk_of(hidden[None])[0])
        found.append(line)
    mapped = occlusion_map(risk_of, image, patch=patch, stride=stride)
    np.testing.assert_allclose(mapped, found, atol=1e-12)


def test_some_cells_of_each_row_and_column_can_be_hidden_alone(image):
    cells = np.array([1, 3])
    some = occlude(image, patch=3, stride=2, shift=(1, 1), cells=cells)
    every = occlude(image, patch=3, stride=2, shift=(1, 1)).reshape(4, 4, 8, 8)
    np.testing.assert_array_equal(some, every[np.ix_(cells, cells)].reshape(4, 8, 8))


def test_a_model_that_ignores_the_image_has_a_map_of_zeros(image):
    mapped = occlusion_map(lambda images: np.full(len(images), 0.3), image, patch=3)
    assert mapped.shape == (8, 8)
    assert not mapped.any()


def test_a_part_that_the_model_ignores_has_a_map_of_zero(image):
    mapped = occlusion_map(lambda images: images[:, 0, 0] / 255, image, patch=3)
    assert mapped[0, 0] != 0
    assert not mapped[2:, :].any()
    assert not mapped[:, 2:].any()


def test_a_moved_image_under_moved_patches_has_the_same_map_inside(image):
    moved = np.roll(image, (1, 1), axis=(0, 1))  # the same pixels, so the same mean
    total = np.random.default_rng(2).normal(0, 1, 256)

    def risk_of(images):  # blind to where a grey level is
        return total[images].sum(axis=(1, 2))

    ours = occlusion_map(risk_of, image, patch=2, stride=2)
    theirs = occlusion_map(risk_of, moved, patch=2, stride=2, shift=(1, 1))
    np.testing.assert_allclose(theirs[:-1, :-1], ours[:-1, :-1], atol=1e-9)


def test_every_cell_hides_the_pixels_around_it(image):
    occluded = occlude(image, patch=3)
    assert occluded.shape == (64, 8, 8)
    changed = occluded[3 * 8 + 4] != image
    assert not changed[:2].any()
    assert not changed[5:].any()
    assert (occluded[3 * 8 + 4, 2:5, 3:6] == round(float(image.mean()))).all()


@pytest.mark.parametrize(("patch", "stride"), [(0, 1), (1, 0)])
def test_a_patch_or_a_step_of_no_pixel_is_refused(image, patch, stride):
    with pytest.raises(ValueError, match="at least 1 pixel"):
        occlude(image, patch=patch, stride=stride)
