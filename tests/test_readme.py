"""The README quotes the committed results and nothing else."""

import json
import re
from pathlib import Path

import pytest

from clineval.errors import InputError
from clineval.reporting import readme

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def text():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_quotes_the_committed_results(text):
    assert readme.quotes_results(text, ROOT / "results") is True


def test_a_changed_number_is_noticed(text):
    number = re.search(r"0\.\d{3} \(0\.\d{3}", text).group()
    assert readme.quotes_results(text.replace(number, "0.999 (0.998", 1), ROOT / "results") is False


def test_outside_the_marked_part_stands_no_result(text):
    before, rest = text.split(readme.BEGIN)
    prose = before + rest.split(readme.END)[1]
    without_links = re.sub(r"\(http[^)]*\)|doi:[^\]\s]+", "", prose)
    allowed = {"0.2", "0.5", "4.0", "3.11", "0.90"}
    assert set(re.findall(r"\d*\.\d+", without_links)) - allowed - {".90", ".3"} == set()


def test_every_figure_and_file_that_the_readme_shows_is_there(text):
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_a_readme_without_the_marks_is_refused():
    with pytest.raises(InputError, match="results:begin"):
        readme.with_results("# no marks", ROOT / "results")
    assert readme.quotes_results("# no marks", ROOT / "results") is None


def test_a_gain_is_claimed_only_where_the_interval_leaves_out_0():
    evaluation = json.loads((ROOT / "results" / "evaluation.json").read_text())
    audit = json.loads((ROOT / "results" / "audit.json").read_text())
    (gain,) = (
        one
        for one in evaluation["comparisons"]
        if one["measure"] == "auc" and one["population"] == "test" and set(one["models"]) == {"cnn", "logreg"}
    )
    gain["models"] = ["cnn", "logreg"]
    for low, high, words in ((-0.01, 0.2, "cannot tell the two apart"), (0.01, 0.2, "a gain")):
        gain["difference"].update(value=0.1, low=low, high=high)
        assert words in readme.results_in_words(evaluation, audit)
