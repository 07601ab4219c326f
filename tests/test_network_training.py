"""One network from one seed: deterministic, guarded, refused where it cannot learn."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models.network_training import (
    CHUNK,
    AdamW,
    _Guard,
    epochs_of,
    fit_member,
    learning_rate,
    member_risk,
)
from clineval.models.preprocessing import learn_grey_scaling
from clineval.models.threads import one_thread
from clineval.settings import NetworkSettings


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))


def test_its_steps_are_those_of_torch_to_the_last_bit():
    ours, theirs = network(), network()
    weights = list(theirs.parameters())
    groups = [
        {"params": [one for one in weights if one.ndim > 1], "weight_decay": 0.05},
        {"params": [one for one in weights if one.ndim == 1], "weight_decay": 0.0},
    ]
    torchs, own = torch.optim.AdamW(groups, fused=True), AdamW(ours, weight_decay=0.05)
    images = torch.randn(8, 1, 8, 8)
    for step in range(5):
        rate = 0.01 / (step + 1)
        for group in torchs.param_groups:
            group["lr"] = rate
        for one in (ours, theirs):
            one.zero_grad()
            one(images).square().sum().backward()
        torchs.step()
        own.step(rate)
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


TRAINING = """
import sys
from clineval.data.phantom import phantom
from clineval.models.jobs import Job, Material, perform
from clineval.settings import NetworkSettings

cohort = phantom(0, cases=(90, 30, 20))
train = cohort.within("train").nonzero()[0]
perform(Material.of(cohort), Job("cnn", train, train[:0], NetworkSettings(epochs=1), seed=0))
sys.exit("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_a_training_does_not_import_torchs_compiler():
    assert subprocess.run([sys.executable, "-c", TRAINING]).returncode == 0


COHORT = phantom(1, cases=(96, 32, 16))
TRAIN, VAL = COHORT.select(COHORT.within("train")), COHORT.select(COHORT.within("val"))
SCALING = learn_grey_scaling(TRAIN.images, learnt_on="train")
QUICK = NetworkSettings(epochs=4, batch=32)


def fit(settings=QUICK, *, seed=0, early_stopping="guard", watch=(VAL.images, VAL.outcome)):
    with one_thread():
        return fit_member(
            TRAIN.images,
            TRAIN.outcome,
            scaling=SCALING,
            settings=settings,
            seed=seed,
            early_stopping=early_stopping,
            watch=watch,
        )


@pytest.fixture(scope="module")
def fitted():
    return fit()


def test_the_same_seed_gives_the_same_bytes_whatever_torchs_own_chance(fitted):
    torch.manual_seed(99)
    again = fit()
    assert all(np.array_equal(fitted.weights[name], again.weights[name]) for name in fitted.weights)
    assert fitted.curve == again.curve


def test_another_seed_gives_other_weights(fitted):
    assert not np.array_equal(fit(seed=1).weights["stem.weight"], fitted.weights["stem.weight"])


def test_a_guard_that_does_not_fire_changes_nothing(fitted):
    unwatched = fit(early_stopping="off", watch=None)
    assert not fitted.curve.fired
    assert all(np.array_equal(fitted.weights[name], unwatched.weights[name]) for name in fitted.weights)


def test_the_guard_fires_on_a_run_that_gets_worse_and_restores_the_best_weights():
    settings = replace(QUICK, epochs=12, batch=16, patience=3)
    # Against reversed labels the loss rises the better the network learns.
    curve = fit(settings, watch=(TRAIN.images, ~TRAIN.outcome)).curve
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
        fit(replace(QUICK, learning_rate=1e30, warm_up=0.0))


def test_an_unwatched_run_that_diverges_is_refused_too():
    with pytest.raises(InputError, match="diverged: its loss was not a finite number in epoch"):
        fit(replace(QUICK, learning_rate=1e30, warm_up=0.0), early_stopping="off", watch=None)


def test_strict_early_stopping_keeps_the_epoch_of_smallest_validation_loss():
    curve = fit(early_stopping="strict").curve
    assert curve.kept_epoch == 1 + int(np.argmin(curve.val_loss))


def test_early_stopping_without_a_validation_split_is_refused():
    with pytest.raises(InputError, match="needs a validation split to watch; there is none"):
        fit(watch=None)


@pytest.mark.parametrize(("value", "missing"), [(False, "with"), (True, "without")])
def test_a_validation_split_of_one_class_is_refused(value, missing):
    with pytest.raises(InputError, match=f"none of the 32 is {missing} it"):
        fit(watch=(VAL.images, np.full(32, value)))


def test_an_unknown_kind_of_early_stopping_is_refused():
    with pytest.raises(InputError, match="guard, strict, off; came 'sometimes'"):
        fit(early_stopping="sometimes")


def test_fewer_cases_than_a_batch_still_learn():
    with one_thread():
        small = fit_member(
            TRAIN.images[:20], TRAIN.outcome[:20], scaling=SCALING, settings=NetworkSettings(epochs=1), seed=0
        )
    assert len(small.curve.train_loss) == 1


def test_the_risk_of_an_image_does_not_depend_on_its_company(fitted):
    images = np.concatenate([TRAIN.images, VAL.images])
    assert len(images) > CHUNK
    with one_thread():
        together = member_risk(fitted.weights, images, scaling=SCALING)
        alone = [member_risk(fitted.weights, images[k : k + 1], scaling=SCALING)[0] for k in (0, 63, 64, 127)]
    assert list(together[[0, 63, 64, 127]]) == alone


def test_an_image_and_its_mirror_image_have_the_same_risk(fitted):
    with one_thread():
        risk, mirrored = (
            member_risk(fitted.weights, images, scaling=SCALING)
            for images in (VAL.images, VAL.images[:, :, ::-1])
        )
    np.testing.assert_allclose(risk, mirrored, atol=1e-6)


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
    fewer = fit(replace(QUICK, epochs=100, most_steps=12))  # four epochs of three steps
    assert all(np.array_equal(fitted.weights[name], fewer.weights[name]) for name in fitted.weights)
