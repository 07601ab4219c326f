"""What a report says of clinical utility: where a model helps, and where having none is better."""

import json

import numpy as np
import pandas as pd
import pytest
from simulated_results import table, write_results

from clineval.evaluation import evaluate
from clineval.evaluation.curves import Band, DecisionLines
from clineval.reporting.artefacts import Artefacts, read_artefacts
from clineval.reporting.content import harmful_spans, useful_span
from clineval.reporting.external import subject_in
from clineval.reporting.sections import (
    NOT_RECORDED,
    header,
    leak_table,
    openings,
    origin,
    utility_sentences,
    verdict,
)
from clineval.reporting.subject import subject_of
from clineval.results import open_ledger
from clineval.statistics.intervals import Estimate, undefined


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "a table of predictions"),
        ({"split": "grouped"}, "grouped split"),
        ({"split": "official", "own": {"split_column": "part"}}, "split by column part"),
        ({"split": "official", "own": {"split_column": None}}, "split by group, seeded"),
    ],
)
def test_the_split_of_own_images_is_not_called_official(tmp_path, data, words):
    artefacts = read_artefacts(write_results(tmp_path / "r", table(("only",), splits=("test",)), draws=20))
    given = {**vars(artefacts), "provenance": {"settings": {"data": data}}}
    changed = type(artefacts)(**given)
    facts = {name: value for name, value, _ in header(changed, subject_in(changed))["facts"]}
    assert facts["Data"] == words


def test_a_table_of_predictions_has_a_title_without_a_data_set(tmp_path):
    artefacts = read_artefacts(write_results(tmp_path / "r", table(("only",), splits=("test",)), draws=20))
    found = header(artefacts, subject_in(artefacts))
    assert found["kind"] == "Clinical evaluation"
    assert found["title"].startswith("How well does a model recognise “")


RECORD = {
    "program": "clineval 0",
    "commit": {"hash": "a" * 40, "clean": False},
    "settings": {"data": {"own": None, "condition": None}, "training": {"seed": 0, "seeds": [1, 2]}},
    "versions": {"numpy": "2"},
    "platform": {
        "processor": "P",
        "cores": 7,
        "thread_variables": {"OMP_NUM_THREADS": "3"},
        "arithmetic_variables": {},
        "arithmetic_libraries": [{"library": "blas", "threads": 3}],
    },
    "data": {"title": "T", "url": "", "notes": [], "labels": [{"code": 0}], "synthetic": False},
}


@pytest.fixture
def folder(tmp_path):
    for name in ("predictions.csv", "evaluation.json"):
        (tmp_path / name).write_text(name)
    return tmp_path


def artefacts(folder, record=RECORD):
    return Artefacts(folder, table=None, table_name="predictions.csv", evaluation=None, provenance=record)


def test_what_was_not_set_or_not_recorded_is_left_out(folder):
    groups = dict(origin(artefacts(folder)))
    assert groups["Settings"] == [("training.seed", "0"), ("training.seeds", "1, 2")]
    assert groups["Data"] == [("title", "T"), ("synthetic", "False")]
    assert "None" not in json.dumps(groups)


def test_threads_and_cores_are_left_out_for_no_number_depends_on_them(folder):
    assert dict(origin(artefacts(folder)))["Machine"] == [("processor", "P")]


def test_a_commit_with_changes_says_so_and_none_says_that(folder):
    assert ("Commit", f"{'a' * 40}, with changes not committed") in origin(artefacts(folder))[0][1]
    assert ("Commit", "not from a checkout") in origin(artefacts(folder, {**RECORD, "commit": None}))[0][1]


def test_no_provenance_and_no_ledger_give_nothing(folder):
    assert origin(artefacts(folder, {})) == []
    assert openings(artefacts(folder)) == {}


def opened(folder, *, population="test", data="d", **settings):
    frozen = {"settings": settings, "settings_sha256": f"{sorted(settings.items())}", "data_sha256": data}
    open_ledger(folder / "ledger.jsonl", population=population, frozen=frozen)


def test_openings_are_counted_by_population_and_settings(folder):
    opened(folder, seed=0, draws=5)
    opened(folder, seed=0, draws=5)
    opened(folder, seed=1, draws=5)
    opened(folder, seed=0, draws=5, data="other")
    opened(folder, population="hospital-b", seed=0, draws=5)
    told = openings(artefacts(folder))
    assert told["sentences"] == [
        "“test” was opened 4 times in this results folder, under 2 different settings.",
        "“hospital-b” was opened once in this results folder, under one setting.",
    ]
    assert [(row[0], row[1], row[3]) for row in told["table"].rows] == [
        ("test", "2", "nothing"),
        ("test", "1", "seed 1"),
        ("test", "1", "data other"),
        ("hospital-b", "1", "nothing"),
    ]


def test_lines_without_settings_do_not_hide_what_later_ones_changed(folder):
    path = folder / "ledger.jsonl"
    open_ledger(path, population="test", frozen={"models_sha256": "m"})
    opened(folder, seed=0)
    opened(folder, seed=1)
    changes = [row[3] for row in openings(artefacts(folder))["table"].rows]
    assert changes == ["not recorded", "nothing", "seed 1"]


@pytest.mark.parametrize("line", ['{"population": 3, "frozen": 7, "commit": "x"}', "{}", '{"frozen": {}}'])
def test_a_ledger_of_another_form_says_not_recorded(folder, line):
    (folder / "ledger.jsonl").write_text(line + "\n")
    (row,) = openings(artefacts(folder))["table"].rows
    assert row[2:5] == (NOT_RECORDED, NOT_RECORDED, NOT_RECORDED)


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


THRESHOLD = np.arange(1, 100) / 100
NONE = np.zeros(99)


def lines(low: np.ndarray, high: np.ndarray) -> DecisionLines:
    """A band of net benefits where flagging everyone gives .1 below a threshold of .2, and else does harm."""
    everyone = np.where(THRESHOLD < 0.2, 0.1, -0.1)
    return DecisionLines(THRESHOLD, Band((low + high) / 2, low, high), everyone, NONE, NONE, NONE, "drawn")


def test_thresholds_at_which_a_model_is_worse_than_none_are_named():
    inside = (THRESHOLD > 0.095) & (THRESHOLD < 0.155)
    found = harmful_spans(lines(NONE - 0.2, np.where(inside, 0.05, 0.2)))
    assert found == [(0.1, 0.15)]
    (said,) = utility_sentences({"cnn": None}, {"cnn": found})
    assert said == (
        "cnn: at no threshold does its whole interval lie above flagging everyone and no one. At thresholds "
        "from 0.10 to 0.15 it lies wholly below the better of these two: there flagging everyone, or no one, "
        "does more good than following the model."
    )


def test_a_single_threshold_and_one_without_harm_are_said_plainly():
    (one,) = utility_sentences({"cnn": (0.2, 0.3)}, {"cnn": [(0.11, 0.11), (0.5, 0.6)]})
    assert "At thresholds of 0.11 and from 0.50 to 0.60 it lies wholly below" in one
    assert utility_sentences({"cnn": (0.2, 0.3)}, {"cnn": []}) == [
        "cnn: its whole interval lies above flagging everyone and no one at thresholds from 0.20 to 0.30."
    ]


def test_the_longest_run_of_useful_thresholds_is_given():
    helps = ((THRESHOLD > 0.295) & (THRESHOLD < 0.405)) | (THRESHOLD > 0.945)
    assert useful_span(lines(np.where(helps, 0.01, -0.2), NONE + 0.2)) == (0.3, 0.4)
    assert useful_span(lines(NONE - 0.2, NONE + 0.2)) is None
