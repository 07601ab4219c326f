import inspect
import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from clineval.data import duplicates, similarity
from clineval.data.similarity import (
    ALIGNMENTS,
    Alignment,
    TooManyPairs,
    alignments,
    detail_of,
    find_pairs,
    nearest,
    similarity_of,
)


def smooth_images(count, *, side=28, seed=0, blur=2.0):
    """Random images with the smoothness of ultrasound at 28 pixels."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(count, side, side)), (0, blur, blur))
    return np.clip(127 + 60 * field / field.std(), 0, 255).astype(np.uint8)


def naive_similarity(a, b, shift=2):
    """The definition, pixel by pixel through numpy's own correlation: no matrix product, no bound."""
    height, width = a.shape
    best = -1.0
    for other in (b, b[:, ::-1]):
        for dy in range(-shift, shift + 1):
            for dx in range(-shift, shift + 1):
                rows = [y for y in range(height) if 0 <= y - dy < height]
                columns = [x for x in range(width) if 0 <= x - dx < width]
                here = a[np.ix_(rows, columns)].ravel()
                there = other[np.ix_([y - dy for y in rows], [x - dx for x in columns])].ravel()
                best = max(best, np.corrcoef(here, there)[0, 1])
    return best


def test_similarity_is_the_largest_correlation_over_displacements_and_mirroring():
    images = smooth_images(6)
    first, second = np.triu_indices(6, 1)
    expected = [naive_similarity(images[i], images[j]) for i, j in zip(first, second, strict=True)]
    # 1e-5: the products are in single precision
    np.testing.assert_allclose(similarity_of(images, first, second).similarity, expected, atol=1e-5)


@pytest.mark.slow
def test_the_bounded_search_finds_exactly_the_pairs_that_the_definition_finds():
    common, own = smooth_images(1, seed=1).astype(float), smooth_images(18).astype(float)
    share = np.linspace(0.3, 0.9, 18)[:, None, None]  # of what all images have in common
    images = (share * common + (1 - share) * own).astype(np.uint8)
    first, second = np.triu_indices(18, 1)
    every = np.array([naive_similarity(images[i], images[j]) for i, j in zip(first, second, strict=True)])
    for threshold in (0.6, 0.8, 0.9):
        found = find_pairs(images, threshold)
        wanted = np.flatnonzero(every >= threshold)
        assert len(wanted) > 5
        assert list(zip(found.first, found.second, strict=True)) == list(
            zip(first[wanted], second[wanted], strict=True)
        )
        np.testing.assert_allclose(found.similarity, every[wanted], atol=1e-5)


def test_noise_takes_more_cosines_so_that_few_of_its_pairs_are_correlated_in_full():
    noise = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)
    assert (similarity._features(smooth_images(300), 0.85), similarity._features(noise, 0.85)) == (63, 191)
    vectors = similarity.overlap(noise, Alignment(0, 0, False))

    def share(kept):
        blocks = similarity._candidates(*vectors, similarity.cosines(28, 28, kept=kept), 0.85, None)
        return sum(len(first) for first, _ in blocks) / (300 * 299 / 2)

    assert share(63) > 0.9
    assert share(191) < 0.01
    noise[1] = np.clip(noise[0].astype(int) + 5, 0, 255)
    found = find_pairs(noise, 0.85)
    assert (found.first.tolist(), found.second.tolist()) == ([0], [1])


def test_similarity_does_not_depend_on_which_image_comes_first():
    images = smooth_images(10)
    first, second = np.triu_indices(10, 1)
    forth = similarity_of(images, first, second).similarity
    np.testing.assert_allclose(forth, similarity_of(images, second, first).similarity, atol=1e-6)


def test_brightness_and_contrast_do_not_change_similarity():
    image = smooth_images(1)[0] // 2 + 20
    brighter = (image * 1.5 + 10).astype(np.uint8)
    found = similarity_of(np.stack([image, brighter]), np.array([0]), np.array([1]))
    assert found.similarity[0] > 0.9999


@pytest.mark.parametrize(("dy", "dx"), [(0, 1), (2, -1), (-2, 2)])
def test_a_displaced_copy_is_recognised_with_its_displacement(dy, dx):
    large = smooth_images(1, side=40)[0]
    image, moved = large[6:34, 6:34], large[6 + dy : 34 + dy, 6 + dx : 34 + dx]
    found = similarity_of(np.stack([image, moved]), np.array([0]), np.array([1]))
    assert found.similarity[0] == pytest.approx(1.0, abs=1e-6)
    assert ALIGNMENTS[found.alignment[0]] == Alignment(dy, dx, False)


def test_a_mirror_image_is_recognised_as_mirrored():
    image = smooth_images(1)[0]
    found = find_pairs(np.stack([image, image[:, ::-1]]), 0.99)
    assert ALIGNMENTS[found.alignment[0]] == Alignment(0, 0, True)


def test_an_exact_copy_is_aligned_without_displacement():
    image = smooth_images(1)[0]
    found = find_pairs(np.stack([image, image]), 0.99)
    assert ALIGNMENTS[found.alignment[0]] == Alignment(0, 0, False)


def test_constant_images_match_nothing_and_raise_no_warning():
    images = np.stack([np.full((28, 28), 7, np.uint8), np.full((28, 28), 7, np.uint8), smooth_images(1)[0]])
    assert len(find_pairs(images, 0.5)) == 0
    assert nearest(images, np.arange(3)).max() <= 0.0


def test_the_nearest_neighbour_is_never_the_image_itself():
    images = smooth_images(12)
    first, second = np.triu_indices(12, 1)
    every = np.full((12, 12), -1.0)
    every[first, second] = every[second, first] = similarity_of(images, first, second).similarity
    np.testing.assert_allclose(nearest(images, np.arange(12)), every.max(axis=1), atol=1e-6)


def test_alignments_are_closed_under_exchange_of_the_two_images():
    every = set(alignments(2))
    assert len(every) == 50
    for a in every:
        swapped = Alignment(-a.dy, a.dx, True) if a.flipped else Alignment(-a.dy, -a.dx, False)
        assert swapped in every


def test_too_many_pairs_are_refused_with_the_way_out():
    images = smooth_images(30)
    with pytest.raises(TooManyPairs, match="raise --threshold"):
        find_pairs(images, 0.01, most=50)


def test_a_search_among_given_pairs_finds_those_that_reach_the_threshold_and_no_others():
    images = smooth_images(12)
    every = find_pairs(np.concatenate([images, images[:3]]), 0.99)
    among = (np.array([0, 1, 4]), np.array([12, 13, 5]))
    some = find_pairs(np.concatenate([images, images[:3]]), 0.99, among=among)
    assert len(every) == 3
    assert list(zip(some.first, some.second, strict=True)) == [(0, 12), (1, 13)]


# What pynndescent's search of one vector calls: written for compiled code alone, unlike the rest.
COMPILED = ("search", "distances")
CALLED = (
    "_four_alt_dot", "_four_sqeuclidean", "check_and_mark_visited", "four_distances", "make_heap",
    "mark_visited", "select_side", "simple_heap_push", "siftdown", "tau_rand_int",
)  # fmt: skip


def compile_as_little_as_can_be(monkeypatch):
    """Let pynndescent compile its search alone and interpret the rest: a quarter of the time, same code."""
    monkeypatch.setenv("NUMBA_OPT", "0")  # read when numba is loaded
    numba = pytest.importorskip("numba", reason="the extra audit is not installed")
    compiled = numba.njit

    def njit(*given, fastmath=False, inline="never", **_):
        def chosen(function):
            if function.__module__.rpartition(".")[2] in COMPILED or function.__name__ in CALLED:
                return compiled(fastmath=fastmath, inline=inline)(function)
            return function

        return chosen(given[0]) if inspect.isfunction(given[0] if given else None) else chosen

    monkeypatch.setattr(numba, "njit", njit)
    pytest.importorskip("pynndescent", reason="the extra audit is not installed")
    from pynndescent import kernels, pynndescent_, utils

    bits = {
        "int32_bits_as_float32": lambda number: np.int32(number).view(np.float32),
        "float32_bits_as_int32": lambda number: np.float32(number).view(np.int32),
    }
    for module, (name, function) in itertools.product((kernels, pynndescent_, utils), bits.items()):
        monkeypatch.setattr(module, name, function, raising=False)


@pytest.mark.slow
def test_the_approximate_search_finds_what_the_exact_one_finds(monkeypatch):
    compile_as_little_as_can_be(monkeypatch)
    large = smooth_images(600, side=34, blur=1.5)
    images = large[:, 3:31, 3:31].copy()
    images[300:325] = images[:25, :, ::-1]
    corners = [(dy, dx) for dy in (1, 2, 4, 5) for dx in (1, 2, 4, 5)] * 2  # one or two pixels off, each way
    images[400:432] = [large[25 + row, dy : dy + 28, dx : dx + 28] for row, (dy, dx) in enumerate(corners)]
    exact = find_pairs(images, 0.9)
    with np.errstate(over="ignore"):  # interpreted, the hashes of the search overflow as they are meant to
        nearly = duplicates.find_pairs_approximately(images, 0.9)
    found = set(zip(nearly.first, nearly.second, strict=True))
    assert len(exact) == 25 + 32
    assert found == set(zip(exact.first, exact.second, strict=True))


def test_progress_counts_the_alignments():
    seen = []
    find_pairs(smooth_images(4), 0.9, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(step, 50) for step in range(1, 51)]


def test_images_of_uneven_sides_are_compared_too():
    images = smooth_images(4, side=30)[:, :20, :]
    found = find_pairs(np.concatenate([images, images[:1]]), 0.99)
    assert (found.first.tolist(), found.second.tolist()) == ([0], [4])


def naive_detail(a, b, flipped):
    """The definition for 28 pixels: subtract the blur, then correlate on every overlap."""
    fine = [x.astype(np.float32) - gaussian_filter(x.astype(np.float32), 2, mode="nearest") for x in (a, b)]
    other = fine[1][:, ::-1] if flipped else fine[1]
    best = -1.0
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            here = fine[0][max(dy, 0) : 28 + min(dy, 0), max(dx, 0) : 28 + min(dx, 0)]
            there = other[max(-dy, 0) : 28 + min(-dy, 0), max(-dx, 0) : 28 + min(-dx, 0)]
            best = max(best, np.corrcoef(here.ravel(), there.ravel())[0, 1])
    return best


def test_detail_is_the_correlation_of_what_a_blur_takes_away():
    images = smooth_images(6, blur=1.0)
    first, second = np.array([0, 1, 2, 3]), np.array([1, 2, 5, 4])
    flipped = np.array([False, True, False, True])
    expected = [naive_detail(images[i], images[j], f) for i, j, f in zip(first, second, flipped, strict=True)]
    # 1e-4: Fourier transforms in single precision
    np.testing.assert_allclose(detail_of(images, first, second, flipped=flipped), expected, atol=1e-4)


def test_images_that_share_only_their_layout_agree_in_no_detail():
    depth = np.linspace(200, 30, 28)[:, None] * np.ones(28)
    texture = smooth_images(2, blur=1.0, seed=3).astype(float) - 127
    images = np.clip(depth + 0.15 * texture, 0, 255).astype(np.uint8)
    pair = np.array([0]), np.array([1])
    assert similarity_of(images, *pair).similarity[0] > 0.9
    assert detail_of(images, *pair, flipped=np.array([False]))[0] < 0.5


def test_detail_of_constant_images_is_zero():
    images = np.full((2, 28, 28), 9, np.uint8)
    assert detail_of(images, np.array([0]), np.array([1]), flipped=np.array([False]))[0] == 0.0


def test_detail_of_no_pairs_is_empty():
    none = np.empty(0, np.int64)
    assert detail_of(smooth_images(2), none, none, flipped=np.empty(0, bool)).shape == (0,)
