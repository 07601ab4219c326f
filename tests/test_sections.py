"""What every report says: the question, its limits, near-duplicates and subgroups."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from simulated_results import table, write_results

from clineval.evaluation import evaluate
from clineval.evaluation.curves import curves
from clineval.reporting.artefacts import read_artefacts
from clineval.reporting.external import subject_in
from clineval.reporting.report import render
from clineval.reporting.sections import (
    asked,
    change_words,
    elsewhere,
    gap_sentences,
    leak_table,
    limits,
    split_words,
)
from clineval.reporting.sentences import subject_of
from clineval.statistics.differences import GapTest
from clineval.statistics.intervals import Estimate, undefined


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, ""),
        ({"split": "grouped"}, "grouped split"),
        ({"split": "official", "own": {"split_column": "part"}}, "split by column part"),
        ({"split": "official", "own": {"split_column": None}}, "split by group, seeded"),
    ],
)
def test_the_split_of_own_images_is_not_called_official(tmp_path, data, words):
    artefacts = read_artefacts(write_results(tmp_path / "r", table(("only",), splits=("test",)), draws=20))
    changed = dataclasses.replace(artefacts, provenance={"settings": {"data": data}})
    assert split_words(changed) == words
    assert words in asked(changed, subject_in(changed))["kind"]


def test_intervals_that_respect_groups_are_no_limit(tmp_path):
    rows = table(("only",), splits=("test",))
    rows["group"] = [f"g{k // 2}" for k in range(len(rows))]
    artefacts = read_artefacts(write_results(tmp_path / "r", rows, draws=20))
    notes = artefacts.evaluation.models["only"]["test"].notes
    assert any("confidence interval respects them" in note for note in notes)
    assert not any("respects" in sentence for sentence in limits(subject_in(artefacts), artefacts))


def test_a_run_says_on_its_first_screen_that_other_hospitals_are_unknown(tmp_path):
    artefacts = read_artefacts(write_results(tmp_path / "r", table(("only",), splits=("test",)), draws=20))
    run = dataclasses.replace(artefacts, provenance={"kind": "run"})
    assert "clineval validate RESULTS TABLE" in elsewhere(run)
    page = render(run, curves(run.table, run.evaluation))
    assert elsewhere(run) in page.split('<div class="hero">')[0]
    assert not any("hospital" in sentence for sentence in limits(subject_in(run), run))
    assert elsewhere(artefacts) == ""  # where a table of predictions is from is not known
    assert any("hospital" in sentence for sentence in limits(subject_in(artefacts), artefacts))


def test_a_table_of_predictions_has_a_question_without_a_data_set(tmp_path):
    artefacts = read_artefacts(write_results(tmp_path / "r", table(("only",), splits=("test",)), draws=20))
    found = asked(artefacts, subject_in(artefacts))
    assert found["kind"] == "Clinical evaluation · predictions.csv · test: 156 cases, 42 malignant (27%)"
    assert found["title"] == "Does the model “only” recognise malignant cases?"


def scored(models, *, near=20, cases=160, seed=0):
    """A table of some models on one test set, of which the first ``near`` cases are near-duplicates."""
    chance = np.random.default_rng(seed)
    outcome = chance.random(cases) < 0.3
    signal = outcome + chance.normal(0, 1, cases)
    rows = []
    for name, noise in models.items():
        risk = 1 / (1 + np.exp(-(signal + chance.normal(0, noise, cases) - 0.5)))
        test = pd.DataFrame({"split": "test", "case": [f"test/{k}" for k in range(cases)], "risk": risk})
        train = test.head(near).assign(split="train", case=[f"train/{k}" for k in range(near)])
        both = pd.concat([test, train])
        both["outcome"] = np.r_[outcome, outcome[:near]].astype(int)
        both["group"] = [f"g{k}" for k in (*range(cases), *range(near))]
        rows.append(both.assign(model=name))
    return subject_of(evaluate(pd.concat(rows, ignore_index=True), condition="malignant", draws=50))


def test_both_models_stand_on_all_of_test_on_the_clean_test_and_trained_without_near_duplicates():
    subject = scored({"logreg": 1, "cnn": 0.5, "logreg_deduplicated": 1.2, "cnn_deduplicated": 0.6})
    table = leak_table(subject)
    assert [row[0] for row in table.rows] == [subject.main, *({"logreg", "cnn"} - {subject.main})]
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
        (-0.03, 0.01, "no evidence of inflation by near-duplicates"),
        (-0.05, -0.01, "lower without near-duplicates; fewer images may play a part"),
        (0.01, 0.05, "higher without near-duplicates"),
    ],
)
def test_words_follow_the_interval(low, high, words):
    assert change_words(Estimate((low + high) / 2, low, high)) == words


def test_nothing_is_said_without_an_interval():
    assert change_words(None) == change_words(undefined("one class is absent")) == "no interval"


# Many subgroups ------------------------------------------------------------------------------------------


def test_differences_that_remain_after_correction_are_named_with_what_could_have_been_seen():
    tests = {
        "sensitivity": {"a": GapTest(0.001, 0.003, 3, 0.12), "b": GapTest(0.04, 0.08, 3, 0.3)},
        "auc_logit": {"a": GapTest(0.5, 0.5, 3, 0.104)},
    }
    first, second = gap_sentences(tests)
    assert first == (
        "Different from all other cases (corrected by Holm for 3 comparisons of each measure): "
        "a (sensitivity, p\u00a0=\u00a00.003)."
    )
    assert (
        "a difference in sensitivity of 12 to 30 percentage points and a difference in AUC of 0.10" in second
    )


def test_differences_without_an_interval_say_nothing_of_what_could_have_been_seen():
    unknown = GapTest(math.nan, math.nan, 0, math.nan)
    assert gap_sentences({"sensitivity": {"a": unknown}}) == [
        "No evidence of a difference from all other cases (uncorrected)."
    ]
    assert gap_sentences({"sensitivity": {}}) == []
