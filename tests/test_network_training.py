"""One network from one seed: its architecture, deterministic, guarded, refused where it cannot learn."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models.network import read
from clineval.models.network_training import (
    Decaying,
    Watched,
    _Guard,
    augment,
    build_network,
    epochs_of,
    fit,
    learning_rate,
    one_thread,
    optimisers_of,
    parameters_of,
    scale_grey,
)
from clineval.models.preprocessing import GreyScaling, View
from clineval.settings import NetworkSettings

COHORT = phantom(1, cases=(96, 32, 16))
TRAIN, VAL = COHORT.select(COHORT.within("train")), COHORT.select(COHORT.within("val"))
WATCHED = Watched(VAL.images, VAL.outcome)
QUICK = NetworkSettings(epochs=4, batch=32)


def trained(settings=QUICK, *, seed=0, watched=WATCHED, strict=False):
    return fit(TRAIN.images, TRAIN.outcome, settings=settings, seed=seed, watched=watched, strict=strict)


def curve_of(stored):
    return SimpleNamespace(**stored.record["curve"])


@pytest.fixture(scope="module")
def fitted():
    return trained()


def test_the_same_seed_gives_the_same_bytes_whatever_torchs_own_chance(fitted):
    torch.manual_seed(99)
    again = trained()
    assert all(np.array_equal(fitted.arrays[name], again.arrays[name]) for name in fitted.arrays)
    assert fitted.record == again.record


def test_another_seed_gives_other_weights(fitted):
    assert not np.array_equal(
        trained(seed=1).arrays["member0.stem.weight"], fitted.arrays["member0.stem.weight"]
    )


def test_a_guard_that_does_not_fire_changes_nothing(fitted):
    unwatched = trained(watched=None)
    assert not curve_of(fitted).fired
    assert all(np.array_equal(fitted.arrays[name], unwatched.arrays[name]) for name in fitted.arrays)


def test_the_guard_fires_on_a_run_that_gets_worse_and_restores_the_best_weights():
    settings = replace(QUICK, epochs=12, batch=16, patience=3)
    # Against reversed labels the loss rises the better the network learns.
    curve = curve_of(trained(settings, watched=Watched(TRAIN.images, ~TRAIN.outcome)))
    assert curve.fired
    assert curve.stopped_epoch == curve.best_epoch + 3 < 12
    assert curve.kept_epoch == curve.best_epoch == 1 + int(np.argmin(curve.val_loss))


def test_the_guard_fires_at_once_on_a_loss_that_is_no_number_and_restores_the_best_weights():
    guard, weights = _Guard(strict=False, settings=QUICK), torch.nn.Linear(1, 1)
    assert not guard.stops(0.7, weights)
    best = float(weights.weight.detach())
    weights.weight.data.fill_(9.0)
    assert guard.stops(math.nan, weights)
    assert guard.kept(weights, seed=0)["weight"].item() == best


def test_a_loss_that_is_not_finite_in_the_first_epoch_is_refused():
    with pytest.raises(InputError, match=r"training of seed 0 diverged.* Lower the learning rate"):
        trained(replace(QUICK, learning_rate=1e30, warm_up=0.0))


def test_an_unwatched_run_that_diverges_is_refused_too():
    with pytest.raises(InputError, match="diverged: its loss was not a finite number in epoch"):
        trained(replace(QUICK, learning_rate=1e30, warm_up=0.0), watched=None)


def test_strict_early_stopping_keeps_the_epoch_of_smallest_validation_loss():
    curve = curve_of(trained(strict=True))
    assert curve.kept_epoch == 1 + int(np.argmin(curve.val_loss))


def test_fewer_cases_than_a_batch_still_learn():
    small = fit(TRAIN.images[:20], TRAIN.outcome[:20], settings=NetworkSettings(epochs=1), seed=0)
    assert len(small.record["curve"]["train_loss"]) == 1


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing():
    settings = NetworkSettings(learning_rate=1.0, warm_up=0.25)
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[24] == max(rates) == 1.0
    assert rates[62] == pytest.approx(0.5 * (1 + math.cos(math.pi * 37 / 75)))
    assert rates[-1] < 0.001


def test_many_images_are_passed_over_fewer_times():
    settings = replace(QUICK, epochs=30, most_steps=10_000)
    assert [epochs_of(steps, settings) for steps in (9, 333, 980, 20_000)] == [30, 30, 10, 1]


def test_the_schedule_ends_with_the_last_epoch_trained(fitted):
    fewer = trained(replace(QUICK, epochs=100, most_steps=12))  # four epochs of three steps
    assert all(np.array_equal(fitted.arrays[name], fewer.arrays[name]) for name in fitted.arrays)


def test_norms_and_biases_do_not_decay():
    network = build_network(28, 28, seed=0)
    decaying, others = optimisers_of(network, QUICK)
    assert {one.ndim for one in decaying.weights} == {2, 4}
    assert {one.ndim for one in others.weights} == {1}
    assert (decaying.decay, others.decay) == (QUICK.weight_decay, 0.0)
    assert parameters_of(network) == sum(one.numel() for one in (*decaying.weights, *others.weights))


def test_three_steps_are_those_of_adamw_by_hand():
    """Loshchilov, Hutter (2019), Decoupled weight decay regularization, arXiv:1711.05101, algorithm 2."""
    weight = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    optimiser = Decaying([weight], decay=0.1)
    hand, mean, square = np.array([1.0, -2.0, 0.5]), np.zeros(3), np.zeros(3)
    for step, rate in enumerate((0.1, 0.2, 0.05), start=1):
        weight.square().sum().backward()
        optimiser.step(rate)
        mean, square = 0.9 * mean + 0.1 * 2 * hand, 0.999 * square + 0.001 * (2 * hand) ** 2
        move = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        hand = hand - rate * (0.1 * hand + move)
        assert weight.grad is None
    np.testing.assert_allclose(weight.detach().numpy(), hand, rtol=1e-6)  # float32


def test_the_stored_network_gives_the_loss_that_was_watched(fitted):
    """The loss in torch of the weights that were kept, from the risks of the stored form."""
    model = read(fitted.record, fitted.arrays)
    odds = model.members[0].log_odds(VAL.images).astype(np.float64)
    losses = np.logaddexp(0.0, np.where(VAL.outcome, -odds, odds))
    assert losses.mean() == pytest.approx(curve_of(fitted).val_loss[-1], abs=1e-5)  # float32 in torch


def test_an_image_and_its_mirror_image_have_the_same_risk(fitted):
    model = read(fitted.record, fitted.arrays)
    risk, mirrored = (model.risk(View(images)) for images in (VAL.images, VAL.images[:, :, ::-1]))
    np.testing.assert_array_equal(risk, mirrored)


def test_torchs_settings_are_put_back():
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with one_thread():
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == strict


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 20, 24), dtype=np.uint8)


def test_scaled_training_images_have_mean_zero_and_spread_one():
    scaled = scale_grey(IMAGES, GreyScaling((IMAGES / 255).mean(), (IMAGES / 255).std(), "train"))
    assert scaled.shape == (40, 1, 20, 24)
    assert scaled.dtype == torch.float32
    assert float(scaled.mean()) == pytest.approx(0, abs=1e-5)
    assert float(scaled.std()) == pytest.approx(1, abs=1e-3)


def test_the_same_generator_state_gives_the_same_augmentation():
    images = torch.from_numpy(IMAGES[:, None].astype(np.float32))
    first, again = (augment(images, shift=2, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(images, shift=2, generator=torch.Generator().manual_seed(4)))


def test_augmentation_only_mirrors_and_moves_with_reflected_borders():
    images = torch.from_numpy(IMAGES[:, None].astype(np.float32))
    moved = augment(images, shift=2, generator=torch.Generator().manual_seed(0)).numpy()[:, 0]
    for image, variant in zip(IMAGES.astype(np.float32), moved, strict=True):
        assert any(np.array_equal(variant, candidate) for candidate in _all_variants(image, 2))


def test_without_a_shift_half_of_the_images_are_mirrored():
    images = torch.from_numpy(np.tile(IMAGES, (25, 1, 1))[:, None].astype(np.float32))
    moved = augment(images, shift=0, generator=torch.Generator().manual_seed(0))
    mirrored = (moved == images.flip(3)).flatten(1).all(1)
    assert 430 < int(mirrored.sum()) < 570


def _all_variants(image, shift):
    height, width = image.shape
    padded = np.pad(image, shift, mode="reflect")
    for down in range(2 * shift + 1):
        for right in range(2 * shift + 1):
            part = padded[down : down + height, right : right + width]
            yield part
            yield part[:, ::-1]


def test_the_network_has_fewer_than_half_a_million_weights():
    assert parameters_of(build_network(28, 28, seed=0)) == 77_874


def test_the_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_network(28, 28, seed=5).state_dict()
    torch.manual_seed(2)
    again = build_network(28, 28, seed=5).state_dict()
    other = build_network(28, 28, seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


def test_building_a_network_leaves_torchs_own_chance_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_network(28, 28, seed=0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (128, 128), (224, 224), (16, 40)])
def test_images_of_every_size_give_two_scores(size):
    network = build_network(*size, seed=0).eval()
    with torch.inference_mode():
        assert network(torch.zeros(3, 1, *size)).shape == (3, 2)


def test_moving_a_lesion_sideways_matters_less_than_moving_it_in_depth():
    torch.manual_seed(0)
    network = build_network(28, 28, seed=0).eval()
    image = torch.zeros(1, 1, 28, 28)
    image[..., 12:16, 12:16] = 3.0
    with torch.inference_mode():
        centre, sideways, deeper = network(torch.cat([image, image.roll(8, 3), image.roll(8, 2)]))
    assert (sideways - centre).abs().max() < 0.5 * (deeper - centre).abs().max()


def test_a_gradient_reaches_every_weight():
    network = build_network(28, 28, seed=0).train()
    network(torch.randn(8, 1, 28, 28)).square().sum().backward()
    assert all(weights.grad is not None and weights.grad.any() for weights in network.parameters())
