"""The primary model and threshold are chosen on development data, by a stated rule."""

import numpy as np
import pandas as pd
import pytest

from clineval.errors import InputError
from clineval.evaluation import Evaluation, Point, Primary, evaluate
from clineval.evaluation.operating_points import HALF, SENSITIVITY_90, choose_primary, given_point
from clineval.evaluation.populations import populations
from clineval.predictions import check_predictions

CHOSEN = Point(SENSITIVITY_90, 0.12, "train_out_of_fold", "the largest threshold that reaches it")
MISSING = Point(SENSITIVITY_90, float("nan"), "val", "there are no rows to choose it on")


def table(**noise_of):
    """Rows out of fold and on test; of two models the one with less noise ranks better in both."""
    frames = []
    for model, (out_of_fold, test) in noise_of.items():
        for split, noise in (("train_out_of_fold", out_of_fold), ("test", test)):
            chance = np.random.default_rng(len(split))
            outcome = np.arange(120) % 3 == 0
            risk = 1 / (1 + np.exp(1 - 2 * outcome - noise * chance.normal(size=120)))
            cases = [f"{split}/{i}" for i in range(120)]
            frames.append(
                pd.DataFrame(
                    {"model": model, "split": split, "case": cases, "outcome": outcome, "risk": risk}
                )
            )
    return check_predictions(pd.concat(frames, ignore_index=True))


def chosen(frame, points=(HALF, CHOSEN), **named):
    parts = populations(frame)
    models = frame["model"].unique()
    return choose_primary([part for part in parts if part.used_for], dict.fromkeys(models, points), **named)


def test_the_model_that_ranks_best_out_of_fold_is_chosen_and_not_the_one_that_ranks_best_on_test():
    found = chosen(table(plain=(2.0, 0.5), deep=(1.0, 3.0)))
    assert found.model == "deep"
    assert (found.threshold, found.chosen_on) == (CHOSEN.threshold, "train_out_of_fold")
    assert found.rule.startswith("Model: the highest AUC out of fold on train, 0.9")
    assert found.rule.endswith("(of 2 models). Threshold: the largest threshold that reaches it.")


def test_a_tie_goes_to_the_simpler_model_which_is_the_earlier_one():
    found = chosen(table(plain=(1.0001, 1.0), deep=(1.0, 1.0)))
    assert found.model == "plain"
    assert chosen(table(deep=(1.0, 1.0), plain=(1.0001, 1.0))).model == "deep"


def test_a_model_beaten_by_less_than_a_thousandth_is_named_as_the_simplest_of_those():
    outcome = np.arange(4000) % 2 == 0
    risk = np.where(outcome, 0.6, 0.4)
    worse = risk.copy()
    worse[0] = 0.1  # one event below all others
    frame = pd.concat(
        [
            pd.DataFrame(
                {
                    "model": model,
                    "split": "train_out_of_fold",
                    "case": np.arange(4000).astype(str),
                    "outcome": outcome,
                    "risk": values,
                }
            )
            for model, values in (("plain", worse), ("deep", risk))
        ]
    )
    found = chosen(check_predictions(frame))
    assert found.model == "plain"
    assert "the simplest within 0.001 of the highest AUC out of fold on train" in found.rule


def test_a_model_trained_without_near_duplicates_is_no_candidate_beside_the_model_itself():
    found = chosen(table(cnn=(2.0, 1.0), cnn_deduplicated=(0.5, 1.0)))
    assert found.model == "cnn"
    assert "only one with predictions out of fold" in found.rule
    three = chosen(table(logreg=(3.0, 1.0), cnn=(2.0, 1.0), cnn_deduplicated=(0.5, 1.0)))
    assert three.model == "cnn"
    assert "models trained without near-duplicates left out" in three.rule
    assert chosen(table(cnn_deduplicated=(0.5, 1.0))).model == "cnn_deduplicated"


def test_val_serves_where_there_are_no_predictions_out_of_fold():
    frame = table(plain=(2.0, 0.5), deep=(1.0, 3.0))
    frame["split"] = frame["split"].replace("train_out_of_fold", "val")
    found = chosen(frame)
    assert found.model == "deep"
    assert "the highest AUC on val" in found.rule


def test_without_development_data_the_first_model_is_taken_and_the_rule_says_so():
    frame = table(plain=(2.0, 2.0), deep=(1.0, 1.0))
    found = chosen(frame[frame["split"] == "test"].reset_index(drop=True), (HALF, MISSING))
    assert found.model == "plain"
    assert "the first in the table, which has no train_out_of_fold or val rows" in found.rule
    assert (found.threshold, found.chosen_on) == (0.5, "fixed")
    assert "one half, since none could be chosen" in found.rule
    assert MISSING.rule in found.rule


def test_a_threshold_of_the_user_wins_and_the_first_of_two():
    points = (HALF, CHOSEN, given_point(0.3), given_point(0.2))
    found = chosen(table(plain=(1.0, 1.0)), points)
    assert (found.threshold, found.chosen_on) == (0.3, "given")


def test_a_named_model_wins_and_an_unknown_one_is_refused():
    frame = table(plain=(2.0, 0.5), deep=(1.0, 3.0))
    found = chosen(frame, named="plain")
    assert found.model == "plain"
    assert found.rule.startswith("Model: named by the user.")
    with pytest.raises(InputError, match=r"primary needs one of .*plain; deep.*; got 'deeper'"):
        chosen(frame, named="deeper")


def test_a_model_that_was_not_scored_on_the_cases_kept_for_testing_is_no_candidate():
    frame = table(plain=(2.0, 0.5), deep=(1.0, 3.0))
    assert chosen(frame, scored=["plain"]).model == "plain"


def test_the_evaluation_holds_it_and_gives_it_back():
    frame = table(plain=(2.0, 0.5), deep=(1.0, 3.0))
    evaluation = evaluate(frame, draws=20)
    written = evaluation.to_json()["primary"]
    assert list(written) == ["model", "threshold", "chosen_on", "rule"]
    assert written["model"] == "deep"
    assert type(evaluation).from_json(evaluation.to_json()).primary == evaluation.primary
    named = evaluate(frame, draws=20, primary="plain", thresholds=[0.4]).primary
    assert (named.model, named.threshold, named.chosen_on) == ("plain", 0.4, "given")


def test_what_was_frozen_elsewhere_is_taken_as_it_stands():
    frame = table(plain=(2.0, 0.5), deep=(1.0, 3.0))
    frozen = Primary("plain", 0.11, "train_out_of_fold", "as the run says")
    points = {name: [HALF] for name in ("plain", "deep")}
    assert evaluate(frame, draws=20, points=points, primary=frozen).primary == frozen


def test_an_evaluation_from_before_has_none():
    content = evaluate(table(plain=(1.0, 1.0)), draws=20).to_json()
    del content["primary"]
    assert Evaluation.from_json(content).primary is None
