"""MedMNIST's own result files, as its evaluator writes them, with the outcomes of the data set."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.data import load_cohort
from clineval.data.cohort import Cohort
from clineval.predictions import check_predictions
from clineval.refusal import Refusal

_NAME = re.compile(r"(?P<flag>[a-z0-9]+)(_(?P<size>64|128|224))?_(?P<split>train|val|test)(?P<rest>.*)\.csv")
_FORM = "index,score_0,score_1 (one row per case), as MedMNIST's evaluator writes it"


def read_result_file(path: Path, dataset: str) -> tuple[pd.DataFrame, Cohort]:
    """The table in a result file such as ``breastmnist_test_[AUC]0.901_[ACC]0.863@run1.csv``.

    A row is the case's index in the official split and a score per label, without a header; a file with
    one score holds that of label 1. The risk is the score of the label that is the condition
    (BreastMNIST: malignant, label 0), never the one that MedMNIST calls positive. The outcomes come
    from the data set, whose cohort is handed back beside the table. The model is named by what follows
    the ``@``.

    Raises
    ------
    Refusal : the name or a row is not of that form, or the cases are not those of the split.
    """
    flag, split, model = _parsed_name(path)
    if flag != dataset:
        raise Refusal(f"{path.name} holds results on {flag!r} by its name; --medmnist says {dataset!r}.")
    rows, first_line = _rows(path)
    cohort = load_cohort(dataset)
    official = cohort.select(cohort.within(split))
    index = _indices(rows, path.name, first_line, cases=len(official))
    table = pd.DataFrame(
        {
            "model": model,
            "split": split,
            "case": official.case[index],
            "outcome": official.outcome[index],
            "risk": _risks(rows, cohort, path.name, first_line),
        }
    )
    return check_predictions(table), cohort


def _parsed_name(path: Path) -> tuple[str, str, str]:
    found = _NAME.fullmatch(path.name)
    if not found:
        raise Refusal(
            f"{path.name} is not named like a MedMNIST result file, such as "
            "breastmnist_test_[AUC]0.901_[ACC]0.863@run1.csv; rename it, or leave out --medmnist."
        )
    if found["split"] == "train":
        raise Refusal(f"{path.name} holds training cases, which are never evaluated; give the test file.")
    return found["flag"], found["split"], found["rest"].partition("@")[2] or "model"


def _rows(path: Path) -> tuple[list[list[str]], int]:
    """The cells of every row, and the number of the first row's line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refusal(f"{path} cannot be read as a CSV in UTF-8: {error}. Needed: {_FORM}.") from error
    if not rows:
        raise Refusal(f"{path.name} is empty; needed: {_FORM}.")
    headed = not _is_number(rows[0][0])
    return rows[headed:], 1 + headed


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _indices(rows: list[list[str]], name: str, first_line: int, *, cases: int) -> NDArray[np.int64]:
    seen: dict[int, int] = {}
    for line, row in enumerate(rows, start=first_line):
        cell = row[0].strip()
        if not cell.isdecimal() or int(cell) >= cases:
            raise Refusal(
                f"{name}, row {line}, column 'index': a case from 0 to {cases - 1} is needed; came {cell!r}."
            )
        if int(cell) in seen:
            first = seen[int(cell)]
            raise Refusal(
                f"{name}, row {line}, column 'index': case {cell} stands twice (first in row {first})."
            )
        seen[int(cell)] = line
    if len(seen) != cases:
        missing = next(index for index in range(cases) if index not in seen)
        raise Refusal(f"{name} has {len(seen)} of the split's {cases} cases; the first missing is {missing}.")
    return np.array(list(seen), dtype=np.int64)


def _risks(rows: list[list[str]], cohort: Cohort, name: str, first_line: int) -> NDArray[np.float64]:
    """The score of the condition's label, 0 to 1."""
    condition = next(label.code for label in cohort.source.labels if label.is_condition)
    return np.array(
        [_risk(row, condition, f"{name}, row {line}") for line, row in enumerate(rows, start=first_line)]
    )


def _risk(row: list[str], condition: int, place: str) -> float:
    scores = [float(cell) if _is_number(cell) else np.nan for cell in row[1:]]
    if len(scores) not in (1, 2):
        raise Refusal(f"{place}: one or two scores are needed; came {len(scores)}. Needed: {_FORM}.")
    for column, score in enumerate(scores):
        if not 0 <= score <= 1:
            came = row[1 + column]
            raise Refusal(
                f"{place}, column 'score_{column}': a probability from 0 to 1 is needed; came {came!r}."
            )
    if len(scores) == 1:
        return scores[0] if condition == 1 else 1 - scores[0]
    if abs(sum(scores) - 1) > 0.01:
        raise Refusal(f"{place}: the scores of the two labels must sum to 1; they sum to {sum(scores):.3f}.")
    return scores[condition]
