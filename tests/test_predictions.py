"""The table of predictions: what is read, what is refused and in which words, what is written."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clineval.errors import InputError
from clineval.predictions import (
    attributes,
    check_predictions,
    encode,
    read_predictions,
    spellings,
    write_predictions,
)

GOOD = "model,split,case,outcome,risk\na,test,1,1,0.9\na,test,2,0,0.25\n"


def written(folder: Path, text: str | bytes, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal_of(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_predictions(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- reading ----------------------------------------------------------------------------------------


def test_a_csv_is_read_with_the_types_of_the_contract(tmp_path: Path) -> None:
    table = read_predictions(written(tmp_path, GOOD))
    assert list(table.columns) == ["model", "split", "case", "outcome", "risk"]
    assert table["outcome"].dtype == bool
    assert table["risk"].dtype == np.float64
    assert table["case"].tolist() == ["1", "2"]


def test_a_table_of_outcome_and_risk_alone_is_one_model_named_as_the_file_on_test(tmp_path: Path) -> None:
    table = read_predictions(written(tmp_path, "outcome,risk\n1,0.9\n0,0.2\n", "resnet.csv"))
    assert table["model"].unique().tolist() == ["resnet"]
    assert table["split"].unique().tolist() == ["test"]
    assert table["case"].tolist() == ["1", "2"]
    assert "group" not in table


def test_without_cases_the_row_number_within_model_and_split_is_the_case(tmp_path: Path) -> None:
    text = "model,split,outcome,risk\na,test,1,.5\na,val,0,.5\na,test,0,.5\nb,test,1,.5\nb,test,0,.5\n"
    table = read_predictions(written(tmp_path, text))
    assert table["case"].tolist() == ["1", "1", "2", "1", "2"]


def test_columns_can_be_mapped_and_the_mapped_one_wins(tmp_path: Path) -> None:
    path = written(tmp_path, "y,p,risk,site\n1,0.9,high,A\n0,0.1,low,B\n")
    table = read_predictions(path, columns={"outcome": "y", "risk": "p"})
    assert table["risk"].tolist() == [0.9, 0.1]
    assert attributes(table) == ["site"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_comma_semicolon_and_tab_all_part_columns(tmp_path: Path, delimiter: str) -> None:
    table = read_predictions(written(tmp_path, GOOD.replace(",", delimiter)))
    assert table["risk"].tolist() == [0.9, 0.25]


def test_a_byte_order_mark_spaces_and_quotes_are_not_part_of_names_and_values(tmp_path: Path) -> None:
    text = '\ufeff"outcome", risk ,"site, ward"\r\n 1 , 0.5 ,"A, east"\r\n 0 , 0.25 ,"line\nbreak"\r\n'
    table = read_predictions(written(tmp_path, text))
    assert table["risk"].tolist() == [0.5, 0.25]
    assert attributes(table) == ["site, ward"]
    assert table["site, ward"].tolist() == ["A, east", "line\nbreak"]


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("true", "FALSE"), ("True", "False"), ("1.0", "0.0")])
def test_outcomes_may_be_numbers_or_words(tmp_path: Path, yes: str, no: str) -> None:
    table = read_predictions(written(tmp_path, f"outcome,risk\n{yes},0.5\n{no},0.5\n"))
    assert table["outcome"].tolist() == [True, False]


def test_numeric_attributes_are_numbers_and_others_text(tmp_path: Path) -> None:
    table = read_predictions(written(tmp_path, "outcome,risk,age,site\n1,.5,61,A\n0,.5,,B\n"))
    assert table["age"].tolist()[0] == 61
    assert np.isnan(table["age"].iloc[1])
    assert table["site"].tolist() == ["A", "B"]


def test_a_parquet_file_gives_the_same_table_as_its_csv(tmp_path: Path) -> None:
    table = read_predictions(written(tmp_path, GOOD))
    write_predictions(table, tmp_path / "mine.parquet")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "mine.parquet"), table)


def test_categories_numbers_and_mixed_cells_all_serve_as_names() -> None:
    frame = pd.DataFrame({"outcome": [1, 0], "risk": [0.5, 0.5]})
    for names in (pd.Categorical(["x", "y"]), [1, 2], [1.0, 2.0], np.array([1, "two"], dtype=object)):
        table = check_predictions(frame.assign(case=names))
        assert table["case"].nunique() == 2
    assert check_predictions(frame.assign(case=[1.0, 2.0]))["case"].tolist() == ["1", "2"]


def test_a_row_number_that_pandas_wrote_is_no_attribute(tmp_path: Path) -> None:
    frame = pd.DataFrame({"outcome": [1, 0], "risk": [0.5, 0.5]})
    frame.to_csv(tmp_path / "mine.csv")
    frame.iloc[::-1].to_parquet(tmp_path / "mine.parquet")
    assert attributes(read_predictions(tmp_path / "mine.csv")) == []
    assert attributes(read_predictions(tmp_path / "mine.parquet")) == []


def test_columns_of_any_kind_become_attributes() -> None:
    frame = pd.DataFrame(
        {
            "outcome": [1, 0],
            "risk": [0.5, 0.5],
            "tags": [["a"], ["b", "c"]],
            "day": pd.to_datetime(["2020-01-01"] * 2),
        }
    )
    table = check_predictions(
        frame.assign(case=[1e300, 2.0], kind=pd.Categorical(["x", None]), yes=[True, False])
    )
    assert table["tags"].tolist() == ["['a']", "['b', 'c']"]
    assert table["yes"].tolist() == ["true", "false"]
    assert table["case"].nunique() == 2


def test_codes_follow_first_appearance() -> None:
    codes, values = encode(pd.Series(["b", "a", "b"], dtype="string[pyarrow]"))
    assert codes.tolist() == [0, 1, 0]
    assert values == ["b", "a"]


# --- refusing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("outcome,p\n1,0.5\n", ["lacks the column 'risk'", "'p'", 'columns={"risk": NAME}']),
        ("risk\n0.5\n", ["lacks the column 'outcome'", 'columns={"outcome": NAME}']),
        ("y,p\n1,0.5\n", ["lacks the columns 'outcome' and 'risk'", "'y', 'p'", '"risk": NAME}']),
        ("", ["is empty"]),
        ("outcome,risk\n", ["no rows"]),
        ("outcome,risk\n1,0.5\n0,1.5\n", ["row 2 (line 3)", "'risk'", "from 0 to 1", "1.5"]),
        ("outcome,risk\n1,0.5\n0,-0.1\n", ["row 2 (line 3)", "'risk'", "-0.1"]),
        ("outcome,risk\n1,45\n", ["row 1 (line 2)", "'risk'", "percentages", "divide them by 100"]),
        ("outcome,risk\n1,nan\n", ["row 1 (line 2)", "'risk'", "nan"]),
        ("outcome,risk\n1,\n", ["row 1 (line 2)", "'risk'", "got nothing"]),
        ("outcome,risk\n1,0.2\n0,high\n", ["row 2 (line 3)", "'risk'", "'high'"]),
        ("outcome,risk\n1,inf\n", ["row 1 (line 2)", "'risk'", "inf"]),
        ("outcome,risk\n1,0.5\n2,0.5\n", ["row 2 (line 3)", "'outcome'", "'2'"]),
        ("outcome,risk\nmalignant,0.5\n", ["row 1 (line 2)", "'outcome'", "malignant"]),
        ("outcome,risk\n,0.5\n", ["row 1 (line 2)", "'outcome'", "got nothing"]),
        ("model,outcome,risk\n,1,0.5\n", ["row 1 (line 2)", "'model'", "expected a name"]),
        ("outcome,risk,risk\n1,0.5,0.5\n", ["line 1", "two columns are named 'risk'"]),
        ("outcome,risk\n1,0.5,9\n0,1\n", ["line 2", "expected 2 cells", "got 3"]),
        ("hello\nworld\n", ["lacks the column"]),
    ],
)
def test_a_bad_text_is_refused_by_row_and_column(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refusal_of(written(tmp_path, text))
    assert "mine.csv" in message
    for word in words:
        assert word in message


def test_a_case_that_stands_twice_is_refused_with_both_rows(tmp_path: Path) -> None:
    message = refusal_of(written(tmp_path, GOOD + "a,test,1,1,0.8\n"))
    for word in (
        "row 3 (line 4)",
        "'case'",
        "'1' stands twice",
        "model 'a'",
        "first in row 1",
        "give the one that groups them",
    ):
        assert word in message


def test_two_models_that_disagree_on_an_outcome_are_refused(tmp_path: Path) -> None:
    message = refusal_of(written(tmp_path, GOOD + "b,test,1,0,0.8\nb,test,2,0,0.1\n"))
    for word in ("row 3 (line 4)", "'outcome'", "case '1'", "0 for model 'b'", "1 for model 'a'", "row 1"):
        assert word in message


def test_two_models_that_disagree_on_a_group_are_refused(tmp_path: Path) -> None:
    text = "model,case,group,outcome,risk\na,1,g,1,.5\na,2,h,0,.5\nb,1,g,1,.5\nb,2,g,0,.5\n"
    message = refusal_of(written(tmp_path, text))
    for word in ("row 4 (line 5)", "'group'", "case '2' is in group 'g' here and in 'h' in row 2"):
        assert word in message


def test_one_case_name_in_two_splits_is_two_cases(tmp_path: Path) -> None:
    table = read_predictions(written(tmp_path, GOOD + "a,val,1,0,0.8\n"))
    assert len(table) == 3


def test_contradictions_are_found_in_sparse_tables_too() -> None:
    models = [f"m{i}" for i in range(60)]
    frame = pd.DataFrame(
        {"model": models, "case": models, "outcome": 1, "risk": 0.5}
    )  # 60 x 60 cells for 60 rows: counting would be dearer than searching
    check_predictions(frame)
    with pytest.raises(InputError, match="stands twice"):
        check_predictions(pd.concat([frame, frame.tail(1)]))
    with pytest.raises(InputError, match="has outcome 0"):
        check_predictions(pd.concat([frame, frame.tail(1).assign(model="other", outcome=0)]))


def test_the_same_case_under_two_seeds_is_no_duplicate() -> None:
    frame = pd.DataFrame({"case": [1, 1], "seed": [0, 1], "outcome": 1, "risk": 0.5})
    assert check_predictions(frame)["seed"].tolist() == ["0", "1"]


def test_a_mapping_to_what_is_not_there_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert "no column 'p' for risk" in refusal_of(path, columns={"risk": "p"})
    assert "'weight' is no column of the table" in refusal_of(path, columns={"weight": "risk"})


def test_only_a_data_frame_is_taken_from_memory() -> None:
    with pytest.raises(InputError, match="pandas DataFrame, got list"):
        check_predictions([1, 2])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="two columns of one name"):
        check_predictions(pd.DataFrame([[1, 0.5, 0.5]], columns=["outcome", "risk", "risk"]))


# --- writing ----------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_every_risk_reads_back_to_the_same_float(
    tmp_path_factory: pytest.TempPathFactory, risks: list[float]
) -> None:
    path = tmp_path_factory.mktemp("table") / "predictions.csv"
    table = check_predictions(pd.DataFrame({"outcome": 1, "risk": risks}))
    write_predictions(table, path)
    assert read_predictions(path)["risk"].tolist() == risks


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1),
        min_size=1,
        unique=True,
    )
)
def test_every_name_reads_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("table") / "predictions.csv"
    write_predictions(check_predictions(pd.DataFrame({"case": names, "outcome": 1, "risk": 0.5})), path)
    assert read_predictions(path)["case"].tolist() == names


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(width=32, allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    st.sampled_from(
        [" a ", "1,5", "1.234,5", "1,234", "12 mm", "NA", "nan", "inf", "1e300", "12345678901234567"]
    ),
    st.sampled_from(["0.10", "=1+1", "'=1", "'x", '"', "a,b", "a;b", "a\nb", "a\r\nb", "true", "1_000", "²"]),
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, width=32), CELLS, CELLS), min_size=1, max_size=6), st.data())
def test_what_is_written_reads_back_as_the_very_table_that_was_scored(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], data: st.DataObject
) -> None:
    risk, mixed, alike = zip(*rows, strict=True)
    one = data.draw(CELLS)
    frame = pd.DataFrame({"outcome": 1, "risk": np.array(risk, np.float32)})
    frame[" mixed\ncells "] = pd.Series(list(mixed), dtype=object)
    frame["alike"] = pd.Series([one] * len(rows), dtype=object)
    frame["text"] = pd.Series([None if cell is None else str(cell) for cell in alike], dtype=object)
    table = check_predictions(frame, warn=lambda sentence: None)
    for name in ("predictions.csv", "predictions.parquet"):
        path = tmp_path_factory.mktemp("table") / name
        write_predictions(table, path)
        back = read_predictions(path, warn=lambda sentence: None)
        pd.testing.assert_frame_equal(back, table, check_exact=True)


def test_a_carriage_return_in_a_cell_does_not_end_its_row(tmp_path: Path) -> None:
    frame = pd.DataFrame({"outcome": [1, 0], "risk": 0.5, "ward\r2": ["a\rb", "\r"]})
    table = check_predictions(frame, warn=lambda sentence: None)
    write_predictions(table, tmp_path / "predictions.csv")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "predictions.csv"), table)


@pytest.mark.parametrize("cell", ["=1+1", "+SUM(A1)", "-cmd|' /C calc'!A0", "@x", "'=1", "=cmd|'/C calc'!A1"])
def test_a_formula_stays_text_in_a_written_csv_and_reads_back(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(
        check_predictions(pd.DataFrame({"case": [cell], "outcome": 1, "risk": 0.5, "site": cell})), path
    )
    cells = path.read_text().splitlines()[1]
    assert "'" + cell in cells
    assert not cells.startswith(("=", "+", "-", "@"))
    back = read_predictions(path)
    assert back["case"].tolist() == back["site"].tolist() == [cell]


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        write_predictions(read_predictions(written(tmp_path, GOOD)), tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda text: ("outcome,risk\n" + text).encode("utf-8", "replace")),
    )
)
def test_any_bytes_are_a_table_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = written(tmp_path_factory.mktemp("bytes"), content)
    with contextlib.suppress(InputError):
        assert read_predictions(path)["risk"].between(0, 1).all()


def test_identifiers_too_long_for_a_float_stay_what_they_are(tmp_path):
    number = 2**53 + 1
    frame = pd.DataFrame({"outcome": [0, 1], "risk": [0.2, 0.3], "patient": [number, number + 2]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_predictions(tmp_path / "t.parquet")["patient"].tolist() == [str(number), str(number + 2)]


# --- what real tables hold ---------------------------------------------------------------------------


def read_and_told(path: Path, **options: object) -> tuple[pd.DataFrame, list[str]]:
    told: list[str] = []
    return read_predictions(path, warn=told.append, **options), told


def test_the_tables_own_names_are_read_whatever_their_case(tmp_path: Path) -> None:
    text = "Model,SPLIT,Case,Group,Outcome,Risk\na,Train,1,x,1,.9\na,Test,2,y,0,.2\n"
    table, told = read_and_told(written(tmp_path, text))
    assert table["split"].tolist() == ["train", "test"]
    assert table["group"].tolist() == ["x", "y"]
    assert (attributes(table), told) == ([], [])


def test_a_name_in_other_case_beside_the_right_one_or_a_mapped_one_is_an_attribute(tmp_path: Path) -> None:
    table, _ = read_and_told(written(tmp_path, "outcome,risk,Risk\n1,.9,.1\n0,.2,.1\n"))
    assert (table["risk"].tolist(), attributes(table)) == ([0.9, 0.2], ["Risk"])
    mapped = written(tmp_path, "outcome,p,Risk\n1,.9,.1\n0,.2,.1\n")
    table, _ = read_and_told(mapped, columns={"risk": "p"})
    assert (table["risk"].tolist(), attributes(table)) == ([0.9, 0.2], ["Risk"])
    assert "lacks the column 'risk'" in refusal_of(written(tmp_path, "outcome,Risk,RISK\n1,.9,.1\n"))


def test_a_column_that_holds_splits_and_is_not_named_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, "outcome,risk,data set\n1,.9,Training\n0,.2,Test\n")
    table, told = read_and_told(path)
    assert set(table["split"]) == {"test"}
    assert told == [
        "mine.csv, column 'data set' holds Training, Test, and every row is scored as test: where it names "
        "the splits, say so with columns={\"split\": 'data set'}."
    ]
    assert read_and_told(path, columns={"split": "data set"})[1] == []
    _, told = read_and_told(written(tmp_path, "outcome,risk,phase\n1,.9,\n0,.2,train\n1,.8,test\n"))
    assert "column 'phase' holds train, test" in told[0]
    assert read_and_told(written(tmp_path, "outcome,risk,phase\n1,.9,test\n0,.2,\n"))[1] == []
    assert read_and_told(written(tmp_path, "outcome,risk,phase\n1,.9,train\n0,.2,other\n"))[1] == []


@pytest.mark.parametrize("word", ["NA", "n/a", "NaN", "#N/A", "#REF!", "unknown", "?"])
def test_an_outcome_that_is_not_known_is_never_the_absence_of_the_condition(
    tmp_path: Path, word: str
) -> None:
    path = written(tmp_path, f"outcome,risk\nyes,.9\n{word},.3\nno,.2\n{word},.1\n")
    said = refusal_of(path, positive="yes")
    assert repr(word) in said
    assert "take the row out" in said
    assert repr(word) in refusal_of(written(tmp_path, f"outcome,risk\n1,.9\n{word},.3\n"))


def test_none_and_a_minus_may_stand_for_absence(tmp_path: Path) -> None:
    for yes, no in (("cancer", "none"), ("+", "-")):
        table, _ = read_and_told(written(tmp_path, f"outcome,risk\n{yes},.9\n{no},.2\n"), positive=yes)
        assert table["outcome"].tolist() == [True, False]


def test_names_that_differ_in_zeros_in_front_are_said() -> None:
    frame = pd.DataFrame({"outcome": [1, 0, 1], "risk": [0.5] * 3, "group": ["007", "7", "70"]})
    (said,) = spellings(check_predictions(frame))
    assert said.startswith("Column group: '007' and '7' differ in nothing but case, blanks, zeros in front")
    assert list(spellings(check_predictions(frame.assign(group=["7", "70", "0"])))) == []


def test_patients_that_a_spreadsheet_shortened_are_said() -> None:
    frame = pd.DataFrame({"outcome": [1, 0], "risk": [0.5] * 2, "group": ["1.23457E+11", "P2"]})
    (said,) = spellings(check_predictions(frame))
    assert said.startswith(
        "Column group: '1.23457E+11' is a number that a spreadsheet shortened, so that several"
    )


def test_a_code_for_not_known_among_numbers_is_said(tmp_path: Path) -> None:
    _, told = read_and_told(written(tmp_path, "outcome,risk,age,parity\n1,.9,61,9\n0,.2,-999,1\n0,.2,55,5\n"))
    assert told == [
        "mine.csv, column 'age': -999 in 1 row lies far from all other values; where it means \"not known\", "
        "empty the cell."
    ]


def test_lists_where_numbers_belong_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"outcome": [1, 0], "risk": [[0.5], [0.2]]})
    frame.to_parquet(tmp_path / "mine.parquet")
    assert "row 1, column 'risk': expected a probability" in refusal_of(tmp_path / "mine.parquet")


@pytest.mark.parametrize(("column", "meant"), [("outcome", "risk"), ("risk", "group")])
def test_one_column_for_two_things_is_refused_in_words_that_say_so(
    tmp_path: Path, column: str, meant: str
) -> None:
    said = refusal_of(written(tmp_path, "outcome,risk\n1,.9\n0,.2\n"), columns={meant: column})
    assert f"column {column!r} cannot be both {meant} and {column}" in said
