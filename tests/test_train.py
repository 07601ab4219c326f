"""Whether a model's risks are recalibrated is decided on out-of-fold risks alone."""

import numpy as np

from clineval.data.phantom import phantom
from clineval.models.ensemble import TrainedModel
from clineval.models.stored import Stored
from clineval.pipeline.train import choose_recalibration, finalise


def cases(slope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, risk and group of 400 cases whose logit rises ``slope`` times as fast as the risk says."""
    generator = np.random.default_rng(0)
    logit = generator.normal(0, 1.5, 400)
    outcome = generator.random(400) < 1 / (1 + np.exp(-slope * logit))
    return outcome, 1 / (1 + np.exp(-logit)), np.arange(400).astype(str)


def test_overconfident_risks_are_recalibrated():
    outcome, risk, group = cases(0.3)
    choice = choose_recalibration(outcome, risk, group=group)
    assert choice.kind in ("temperature", "platt")
    assert choice.log_loss[choice.kind] < choice.log_loss["none"]


def test_a_model_that_ranks_the_wrong_way_round_is_left_as_it_is_and_the_reason_says_so():
    outcome, risk, group = cases(-1.0)
    choice = choose_recalibration(outcome, risk, group=group)
    assert choice.kind == "none"
    assert "platt cannot be fitted on every fold" in choice.reason
    assert np.array_equal(choice.apply(risk), risk)


def test_a_mean_of_members_is_not_recalibrated_by_its_members():
    cohort = phantom(3, cases=(60, 16, 16))
    risk = np.linspace(0.1, 0.9, len(cohort))
    out_of_fold = np.where(cohort.within("train"), risk, np.nan)
    model = TrainedModel("cnn", "cnn", Stored({}, {}), risk, out_of_fold, None, (), 0.0)
    assert finalise(model, cohort).recalibration.kind == "none"
    assert np.array_equal(finalise(model, cohort).risk, risk)
