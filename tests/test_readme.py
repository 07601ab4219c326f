"""The README quotes the published record in results/ and nothing else."""

import json
import re
import sys
from pathlib import Path

import pytest

from clineval.errors import InputError
from clineval.files import hash_file, hash_text
from clineval.pipeline.verify import QUOTATION
from clineval.results.folder import is_published

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import readme  # noqa: E402


@pytest.fixture
def text():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_quotes_the_evaluation_of_the_published_record_by_its_hash(text):
    quoted = QUOTATION.search(text)["evaluation"]
    recorded = hash_file(ROOT / "results" / "evaluation.json")
    assert quoted == recorded, (
        f"README quotes {quoted}, results/ holds {recorded}: renew both by make results"
    )


def test_the_text_of_the_readme_is_what_the_record_says(text):
    assert readme.with_results(text, ROOT / "results") == text, "renew README and record by make results"


def test_the_record_is_marked_as_published():
    assert is_published(ROOT / "results")


def test_a_changed_number_no_longer_fits_the_hash_of_the_text(text):
    quoted = QUOTATION.search(text)
    number = re.search(r"0\.\d{2}", quoted["text"]).group()
    assert hash_text(quoted["text"].replace(number, "0.99", 1)) != quoted["of_text"]
    assert hash_text(quoted["text"]) == quoted["of_text"]


def test_outside_the_marked_part_is_no_result(text):
    prose = QUOTATION.sub("", text)
    without_links = re.sub(r"\(http[^)]*\)|doi:[^\]\s]+", "", prose)
    assert set(re.findall(r"\d*\.\d+", without_links)) <= {"0.5", "4.0", "3.11"}


def test_every_figure_and_file_that_the_readme_shows_is_there(text):
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_a_readme_without_the_marks_is_refused():
    with pytest.raises(InputError, match="results:begin"):
        readme.with_results("# no marks", ROOT / "results")


def test_the_front_page_is_short_and_shows_a_picture_at_once(text):
    assert len(text) <= 5000
    assert text.index("](docs/report.png)") < 600


def test_the_near_duplicates_that_the_prose_counts_are_those_of_the_audit(text):
    audit = json.loads((ROOT / "results" / "audit.json").read_text())
    assert f"{audit['test_with_twin']} test images have a near-duplicate" in text


def test_a_failure_to_transfer_is_claimed_only_where_the_interval_lies_below_the_target():
    evaluation = json.loads((ROOT / "results" / "evaluation.json").read_text())
    external = json.loads((ROOT / "docs" / "external.json").read_text())
    for high, words in ((0.8, "does not transfer"), (0.95, "no evidence that the frozen threshold")):
        external["operating_points"][0]["sensitivity"].update(high=high)
        assert words in readme.results_in_words(evaluation, external)


def test_a_gain_is_claimed_only_where_the_interval_leaves_out_0():
    evaluation = json.loads((ROOT / "results" / "evaluation.json").read_text())
    external = json.loads((ROOT / "docs" / "external.json").read_text())
    pair = {evaluation["primary"]["model"], "logreg"}
    (gain,) = (
        one
        for one in evaluation["comparisons"]
        if (one["measure"], one["population"]) == ("auc", "test") and set(one["models"]) == pair
    )
    gain["models"] = [evaluation["primary"]["model"], "logreg"]
    for low, high, words in ((-0.01, 0.2, "cannot be distinguished from"), (0.01, 0.2, "is higher than")):
        gain["difference"].update(value=0.1, low=low, high=high)
        assert words in readme.results_in_words(evaluation, external)
