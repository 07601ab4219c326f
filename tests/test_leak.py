"""The headline stands beside its duplicate-free counterparts, in words that the intervals allow."""

import numpy as np
import pandas as pd
import pytest

from clineval.evaluation import evaluate
from clineval.reporting.leak import leak_table, verdict
from clineval.reporting.subject import subject_of
from clineval.statistics.intervals import Estimate, undefined


def scored(models, *, twins=20, cases=160, seed=0):
    """A table of some models on one test set, of which the first ``twins`` cases have a twin in train."""
    chance = np.random.default_rng(seed)
    outcome = chance.random(cases) < 0.3
    signal = outcome + chance.normal(0, 1, cases)
    rows = []
    for name, noise in models.items():
        risk = 1 / (1 + np.exp(-(signal + chance.normal(0, noise, cases) - 0.5)))
        test = pd.DataFrame({"split": "test", "case": [f"test/{k}" for k in range(cases)], "risk": risk})
        train = test.head(twins).assign(split="train", case=[f"train/{k}" for k in range(twins)])
        both = pd.concat([test, train])
        both["outcome"] = np.r_[outcome, outcome[:twins]].astype(int)
        both["group"] = [f"g{k}" for k in (*range(cases), *range(twins))]
        rows.append(both.assign(model=name))
    return subject_of(evaluate(pd.concat(rows, ignore_index=True), condition="malignant", draws=50))


def test_both_models_stand_on_all_of_test_on_the_clean_test_and_trained_without_twins():
    subject = scored({"logreg": 1, "cnn": 0.5, "logreg_deduplicated": 1.2, "cnn_deduplicated": 0.6})
    table = leak_table(subject)
    assert [row[0] for row in table.rows] == ["logreg", "cnn"]
    assert len(table.headings) == 6
    models = subject.evaluation.models
    for row in table.rows:
        whole, clean = (models[row[0]][name].measures["auc_logit"].value for name in ("test", "test_clean"))
        without = models[f"{row[0]}_deduplicated"]["test"].measures["auc_logit"].value
        assert [each.text for each in row[1:4]] == [f"{value:.3f}" for value in (whole, clean, without)]
        assert float(row[4].text.replace("−", "-")) == pytest.approx(without - whole, abs=1e-3)


def test_without_such_trainings_the_clean_test_stands_alone():
    table = leak_table(scored({"logreg": 1, "cnn": 0.5}))
    assert table.headings == ("model", "all of test", "clean test")


def test_a_table_without_groups_has_no_such_table():
    frame = pd.DataFrame({"outcome": [0, 1] * 30, "risk": np.linspace(0.1, 0.9, 60)})
    assert leak_table(subject_of(evaluate(frame, draws=20))) is None


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.03, 0.01, "compatible with no inflation by twins"),
        (-0.05, -0.01, "lower without twins; fewer images may play a part"),
        (0.01, 0.05, "higher without twins"),
    ],
)
def test_words_follow_the_interval(low, high, words):
    assert verdict(Estimate((low + high) / 2, low, high)) == words


def test_nothing_is_said_without_an_interval():
    assert verdict(None) == verdict(undefined("one class is absent")) == "no interval, no statement"
