"""Arrays, Series and data frames from Python: the evaluation of the same numbers in a file, or a refusal."""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest

import clineval
from clineval.errors import InputError
from clineval.evaluation.evaluate import to_predictions
from clineval.predictions import read_predictions

BASE = Path(__file__).parent / "cases" / "base" / "base.csv"
FRAME = pd.read_csv(BASE)
OUTCOME, RISK = FRAME["outcome"].to_numpy(), FRAME["risk"].to_numpy()
READ = read_predictions(BASE)[["outcome", "risk"]]


def same(table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(table[["outcome", "risk"]], READ)
    assert table["model"].unique().tolist() == ["model"]


@pytest.mark.parametrize("module", ["errors", "evaluation.evaluate", "files"])
def test_the_examples_hold(module):
    assert doctest.testmod(importlib.import_module(f"clineval.{module}")).failed == 0


@pytest.mark.parametrize(
    "kind",
    [list, tuple, np.asarray, pd.Series, pd.array, polars.Series, pa.array, lambda x: np.asarray(x)[:, None]],
)
def test_any_kind_of_array_is_the_table_of_the_file(kind):
    same(to_predictions(kind(OUTCOME), kind(RISK)))
    same(to_predictions(kind(OUTCOME.astype(bool)), RISK))


@pytest.mark.parametrize(
    "kind", [lambda x: x, polars.from_pandas, pa.Table.from_pandas, lambda x: x.to_dict("list")]
)
def test_any_kind_of_table_is_the_table_of_the_file(kind):
    same(to_predictions(kind(FRAME)))
    renamed = kind(FRAME.rename(columns={"risk": "p"}))
    same(to_predictions(renamed, columns={"risk": "p"}))


def test_words_and_single_precision_are_read_as_from_a_file():
    words = polars.Series(np.where(OUTCOME == 1, "malignant", "benign")).cast(polars.Categorical)
    same(to_predictions(words, RISK.astype(np.float32), positive="malignant"))
    same(to_predictions(OUTCOME + 1.0, RISK, positive=2))
    same(to_predictions(OUTCOME == 1, RISK, positive=True))


def test_several_models_come_as_a_mapping_or_a_frame():
    other = 1 - RISK
    mapped = to_predictions(OUTCOME, {"a": RISK, "b": other})
    for frame in (pd.DataFrame, polars.DataFrame):
        pd.testing.assert_frame_equal(to_predictions(OUTCOME, frame({"a": RISK, "b": other})), mapped)
    assert mapped.groupby("model")["risk"].apply(list).to_dict() == {"a": list(RISK), "b": list(other)}
    assert mapped["case"].tolist() == [str(row) for _ in "ab" for row in range(1, 61)]


@pytest.mark.parametrize("frame", [dict, pd.DataFrame, polars.DataFrame, pa.table])
def test_attributes_come_as_any_kind_of_frame(frame):
    age = np.arange(60)
    assert to_predictions(OUTCOME, RISK, attributes=frame({"age": age}))["age"].tolist() == age.tolist()


def test_series_are_brought_into_one_order_by_their_index():
    names = pd.Index([f"p{row}" for row in range(60)])
    outcome, risk = pd.Series(OUTCOME, names), pd.Series(RISK, names)
    same(to_predictions(outcome, risk.sample(frac=1, random_state=0)))
    shuffled = pd.DataFrame({"a": risk, "b": risk}).sample(frac=1, random_state=0)
    table = to_predictions(outcome, shuffled, group=pd.Series(names, names)[::-1])
    assert table["group"].tolist() == 2 * names.tolist()
    assert table["risk"].tolist() == 2 * RISK.tolist()
    with pytest.raises(InputError, match="Series risk of 'model' has another index than the first"):
        to_predictions(outcome, risk.reset_index(drop=True))
    with pytest.raises(InputError, match="the same labels, each once"):
        to_predictions(outcome, risk.set_axis(names[:30].repeat(2)))


def test_group_split_case_and_attributes_are_columns():
    side = np.where(np.arange(60) % 2, "left", "right")
    table = to_predictions(
        OUTCOME, RISK, group=np.arange(60) // 2, split=["Val"] * 20 + ["TEST"] * 40, attributes={"side": side}
    )
    assert table["group"].nunique() == 30
    assert table["split"].value_counts().to_dict() == {"test": 40, "val": 20}
    assert table["side"].tolist() == side.tolist()


def test_the_evaluation_is_that_of_the_file():
    expected = clineval.evaluate(read_predictions(BASE).assign(model="model"), draws=20)
    found = clineval.evaluate(OUTCOME, RISK, draws=20)
    assert found.to_json() == expected.to_json()
    grouped = clineval.evaluate(
        OUTCOME, RISK, attributes={"side": np.arange(60) % 2}, condition="malignant", draws=20
    )
    (side,) = grouped.models["model"]["test"].subgroups
    assert [cell.cases for cell in side.cells] == [30, 30]


REFUSED = {
    "no risk": (lambda: (OUTCOME,), {}, r"got ndarray alone: evaluate\(outcome, risk\)"),
    "a file's name": (lambda: ("base.csv",), {}, "got str alone"),
    "lengths": (lambda: (OUTCOME, RISK[1:]), {}, "outcome has 60, risk of 'model' has 59"),
    "both classes": (
        lambda: (OUTCOME, np.stack([1 - RISK, RISK], axis=1)),
        {},
        r"got shape \(60, 2\)\. Pass the column of the condition, such as probabilities\[:, 1\]",
    ),
    "one number": (lambda: (OUTCOME, 0.5), {}, "risk of 'model' as one value per case, got float"),
    "logits": (lambda: (OUTCOME, np.log(RISK / (1 - RISK))), {}, r"scores such as logits.*scores=True"),
    "not a number": (lambda: (OUTCOME, np.where(RISK > 0.9, np.nan, RISK)), {}, "from 0 to 1, got nothing"),
    "infinite": (lambda: (OUTCOME, np.where(RISK > 0.9, np.inf, RISK)), {}, "from 0 to 1, got inf"),
    "words": (lambda: (np.where(OUTCOME, "sick", "well"), RISK), {}, "which value .* with positive=VALUE"),
    "a word": (lambda: (OUTCOME, RISK), {"positive": "sick"}, "positive='sick' is in no row; the values are"),
    "no group": (
        lambda: (OUTCOME, RISK),
        {"group": [None, *range(59)]},
        "row 1, column 'group': expected a name",
    ),
    "masked": (
        lambda: (np.ma.array(OUTCOME, mask=np.arange(len(OUTCOME)) == 1), RISK),
        {},
        "row 2, column 'outcome': expected an outcome, got nothing",
    ),
    "taken": (lambda: (OUTCOME, RISK), {"attributes": {"case": OUTCOME}}, "attributes has 'case'"),
    "columns": (lambda: (OUTCOME, RISK), {"columns": {"risk": "p"}}, "columns names those of a table"),
    "no column": (lambda: (FRAME.rename(columns={"risk": "p"}),), {}, r'with columns=\{"risk": NAME\}'),
    "no attribute": (lambda: (FRAME,), {"attributes": ["site"]}, "attributes needs one of the table's"),
    "no model": (lambda: (OUTCOME, RISK), {"primary": "best"}, "primary needs one of the table's models"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_in_the_words_of_python(kind):
    given, named, words = REFUSED[kind]
    with pytest.raises(InputError, match=words) as caught:
        clineval.evaluate(*given(), **named, draws=20)
    assert "--" not in str(caught.value)


def test_models_on_different_cases_are_refused_in_the_words_of_python():
    named = FRAME.assign(case=range(60))
    frame = pd.concat([named.assign(model="a"), named.assign(model="b").iloc[1:]])
    with pytest.raises(InputError, match="with shared_cases_only=True"):
        clineval.evaluate(frame, draws=20)


def test_what_is_read_otherwise_than_as_written_is_a_warning():
    risk = RISK.copy()
    risk[0] = 1.00000978
    with pytest.warns(UserWarning, match="column 'risk': 1 value beyond 0 or 1 by rounding clipped"):
        assert to_predictions(OUTCOME, risk)["risk"].max() == 1


def repeating(column):
    return {column: [f"P{place // 2}" for place in range(len(FRAME))]}


@pytest.mark.parametrize(
    ("given", "how"),
    [
        (lambda: {"outcome": FRAME.assign(**repeating("patient"))}, r"columns=\{'group': 'patient'\}"),
        (
            lambda: {"outcome": OUTCOME, "risk": RISK, "attributes": repeating("patient")},
            "group= instead of attributes=",
        ),
    ],
)
def test_patients_who_repeat_without_a_group_are_warned_of_as_on_the_command_line(given, how):
    (said,) = clineval.evaluate(**given(), draws=20).warnings
    words = f"Column 'patient' has repeated values, and cases count as independent: name it with {how}, or"
    assert re.match(words, said)


def test_patients_who_group_the_cases_or_occur_once_are_not_warned_of():
    frame = FRAME.assign(**repeating("patient"))
    assert clineval.evaluate(frame, columns={"group": "patient"}, draws=20).warnings == ()
    once = FRAME.assign(patient=[f"P{place}" for place in range(len(FRAME))])
    assert clineval.evaluate(once, draws=20).warnings == ()
