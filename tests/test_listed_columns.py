"""A refusal of a column names the one that differs only in case."""

from clineval.errors import listed_columns


def test_a_column_of_another_case_is_named():
    assert listed_columns("id", ["ID", "Case"]) == "ID, Case (did you mean ID?)"
    assert listed_columns("name", ["ID", "Case"]) == "ID, Case"
