"""The report by its content: what it says, what it leaves out, what it refuses."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from simulated_results import phantom_run, table, write_results

from clineval.errors import InputError
from clineval.evaluation import read_evaluation
from clineval.reporting.artefacts import write_gallery
from clineval.reporting.report import embedded_json, write_report


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A folder of two simulated models with its report."""
    folder = write_results(tmp_path_factory.mktemp("results"), table())
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(results) -> str:
    return (results / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def phantom_page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("phantom")
    records = phantom_run(folder)
    kept = {name: records[name] for name in ("cohort", "table", "evaluation", "exploration")}
    write_gallery(folder, **kept)
    return write_report(folder).read_text(encoding="utf-8")


class Words(HTMLParser):
    """The visible text of a page, and the sections it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.sections: list[str] = []
        self.hidden = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.hidden = tag in ("script", "style")
        if tag == "section":
            self.sections.append(dict(attrs)["id"])

    def handle_endtag(self, tag):
        self.hidden = False

    def handle_data(self, data):
        if not self.hidden:
            self.text.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self.text).split())


def copy_of(results: Path, folder: Path) -> Path:
    folder.mkdir()
    for name in ("predictions.csv", "evaluation.json"):
        (folder / name).write_bytes((results / name).read_bytes())
    return folder


def test_a_table_gets_every_section_but_those_that_need_images(page):
    assert Words(page).sections == [
        "answer",
        "curves",
        "limits",
        "failures",
        "points",
        "data",
        "evidence",
        "discrimination",
        "calibration",
        "utility",
        "operating",
        "watched",
        "cases",
        "appendix",
        "checklists",
        "methods",
        "provenance",
    ]


def test_every_entry_of_the_bar_leads_to_a_section_and_every_chapter_is_closed(page):
    entries = re.findall(r'<li><a href="#([a-z-]+)">', page)
    assert entries == ["answer", "curves", "limits", "failures", "points", "data", "evidence"]
    chapters = re.findall(r'class="chapter"><details( open)?>', page)
    assert len(chapters) == 13
    assert not any(chapters)


def test_the_first_screen_answers_with_the_evaluations_numbers(page, results):
    said = str(Words(page))
    evaluation = read_evaluation(results / "evaluation.json")
    model = evaluation.primary.model
    auc = evaluation.models[model]["test"].measures["auc_logit"]
    point = evaluation.models[model]["test"].point("sensitivity_90")
    assert f"Does the model “{model}” recognise malignant cases?" in said
    assert f"AUC {auc.value:.2f} (95% CI {auc.low:.2f} to {auc.high:.2f})" in said
    assert f"it finds {point.counts['true_positives']} of 42 malignant cases" in said
    assert "The outcome is 1 where the condition, malignant, is present" in said
    assert page.index('class="verdict"') < page.index('id="explorer"') < page.index('class="lights"')


def test_the_explorer_shows_the_primary_threshold_before_a_script_runs(page, results):
    evaluation = read_evaluation(results / "evaluation.json")
    point = evaluation.models[evaluation.primary.model]["test"].point("sensitivity_90")
    found = round(1000 * 42 / 156 * point.rates["sensitivity"].value)
    assert f'<b data-people="found">{found}</b>' in page
    assert page.count("a4.2 4.2 0 1 0 8.4 0a4.2") == found + 2  # and in the legend and the script's data


def test_no_page_calls_a_model_better_where_the_paired_interval_covers_0(tmp_path):
    frame = table(("a", "b"), cases=40, events=12, splits=("test",))
    frame.loc[frame["model"] == "b", "risk"] = frame.loc[frame["model"] == "a", "risk"].to_numpy() * 0.99
    said = str(Words(write_report(write_results(tmp_path / "r", frame)).read_text(encoding="utf-8")))
    assert "these cases do not show which of the two is better" in said
    assert "is better on these cases" not in said
    assert "is better here" not in said


def test_the_page_is_one_file_that_loads_nothing(page):
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith(("#", "data:", "https://doi.org/")) for source in sources)
    assert "@import" not in page
    assert not re.search(r"url\((?!data:)", page)
    assert not re.search(r'\sstyle="', page)
    assert not re.search(r"\son[a-z]+=", page)


def test_the_policy_allows_its_own_style_and_script_by_their_hashes_alone(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1).replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    for tag, source in (("style", "style-src"), ("script", "script-src")):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, flags=re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
        assert f"{source} 'sha256-{digest}'" in policy


def test_the_same_folder_gives_the_same_bytes_and_no_date(results, page):
    assert write_report(results).read_text(encoding="utf-8") == page
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b|\b\d\d:\d\d:\d\d\b", str(Words(page)))


def test_the_page_stays_small(page):
    assert len(page.encode("utf-8")) < 1_000_000


@pytest.mark.slow
def test_a_phantom_page_says_so_first_and_in_large_letters(phantom_page):
    body = phantom_page.split("<body>")[1]
    assert body.index("SYNTHETIC PHANTOM DATA") < body.index("<h1")
    assert "made up by the program" in body


def test_a_page_with_images_proves_the_polarity_and_shows_the_audit(phantom_page):
    words = Words(phantom_page)
    assert {"data", "failures", "audit"} <= set(words.sections)
    assert 'id="polarity"' in phantom_page
    assert "label 0 means malignant (synthetic) (the condition)" in str(words)
    assert phantom_page.count('alt="Image train/') >= 8
    assert "near-duplicates where their similarity reaches" in str(words)
    assert "Most like it in train" in phantom_page
    assert "chosen by nobody" not in phantom_page


def test_synthetic_images_are_counted_as_cases_not_as_women(phantom_page, page):
    def data(text: str) -> dict:
        return json.loads(re.search(r'id="explorer-data">(.*?)</script>', text, flags=re.S).group(1))

    assert data(phantom_page)["populations"]["test"]["people"] == "cases"
    assert data(page)["populations"]["test"]["people"] == "people"


def test_embedded_json_cannot_end_its_element():
    text = str(embedded_json({"name": "</script><!-- & \u2028"}))
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": "</script><!-- & \u2028"}


def test_names_with_markup_are_text(tmp_path):
    names = ("<img src=x onerror=alert(1)>", "\"quoted\" & 'so'", "🩻" * 300)
    folder = write_results(
        tmp_path / "r", table(names, splits=("test",), cases=40, events=15), condition="<b>x</b>"
    )
    page = write_report(folder).read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "<b>x</b>" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


@pytest.mark.parametrize("events", [0, 30])
def test_a_population_with_one_outcome_only_gets_a_page_that_says_what_is_undefined(tmp_path, events):
    folder = write_results(tmp_path / "r", table(("one",), splits=("test",), cases=30, events=events))
    said = str(Words(write_report(folder).read_text(encoding="utf-8")))
    assert "not defined" in said
    assert not re.search(r"\b(nan|inf|None)\b", said)


def test_one_model_needs_no_comparison(tmp_path):
    folder = write_results(tmp_path / "r", table(("only",)))
    said = str(Words(write_report(folder).read_text(encoding="utf-8")))
    assert "Does the model “only” recognise" in said
    assert "Paired comparisons" not in said


@pytest.mark.slow
def test_twelve_models_and_two_outside_populations_fit_on_one_page(tmp_path):
    models = [f"model {letter}" for letter in "abcdefghijkl"]
    frame = table(models, cases=60, events=20, splits=("test", "hospital b", "hospital c"))
    path = write_report(write_results(tmp_path / "r", frame, draws=20))
    words = Words(path.read_text(encoding="utf-8"))
    assert "external" in words.sections
    assert path.stat().st_size < 3_000_000
    assert all(model in str(words) for model in models)


def test_attributes_become_subgroups_with_small_cells_as_counts_only(tmp_path):
    frame = table(("only",), splits=("test",), cases=120, events=40)
    frame["device <b>"] = ["A", "B", "B"] * 40
    frame.loc[frame.index[:3], "device <b>"] = "rare"
    page = write_report(write_results(tmp_path / "r", frame, draws=20)).read_text(encoding="utf-8")
    said = str(Words(page))
    assert "subgroups" in Words(page).sections
    assert "only by device <b>, threshold" in said
    assert re.search(r"vs rest [+−]0\.\d{3} \(−0\.\d{3} to 0\.\d{3}\)", said)
    assert re.search(r"vs rest [+−]?\d+\.\d pp \(−\d+\.\d to \d+\.\d\)", said)
    assert "device <b>" not in page


def test_a_table_without_a_test_split_is_reported_on_what_it_has(tmp_path):
    folder = write_results(tmp_path / "r", table(cases=60, events=20, splits=("clinic",)))
    assert "clinic: 60 cases, 20 malignant (33%)" in str(
        Words(write_report(folder).read_text(encoding="utf-8"))
    )


@pytest.mark.parametrize("name", ["predictions.csv", "evaluation.json"])
def test_a_folder_that_lacks_a_file_is_refused_with_its_name(results, tmp_path, name):
    folder = copy_of(results, tmp_path / "r")
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"lacks {name}.*clineval run"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        write_report(tmp_path / "nowhere")


def test_an_evaluation_of_another_schema_is_refused(results, tmp_path):
    folder = copy_of(results, tmp_path / "r")
    content = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    (folder / "evaluation.json").write_text(json.dumps({**content, "schema": 0}), encoding="utf-8")
    with pytest.raises(InputError, match="schema 1; got 0"):
        write_report(folder)


@pytest.mark.slow
def test_a_file_altered_after_the_run_is_refused(results, tmp_path):
    folder = copy_of(results, tmp_path / "r")
    hashes = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("predictions.csv", "evaluation.json")
    }
    (folder / "provenance.json").write_text(json.dumps({"artefacts": hashes}), encoding="utf-8")
    write_report(folder)
    with (folder / "predictions.csv").open("a", encoding="utf-8") as file:
        file.write("cnn,test,test/999,test/999,1,0.5\n")
    with pytest.raises(InputError, match=r"predictions\.csv is not the file .* clineval verify"):
        write_report(folder)


def test_an_evaluation_of_another_table_is_refused(results, tmp_path):
    folder = copy_of(results, tmp_path / "r")
    text = (folder / "predictions.csv").read_text(encoding="utf-8").replace("cnn,", "other,")
    (folder / "predictions.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"scores 'cnn', a model that predictions\.csv does not hold"):
        write_report(folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}'])
def test_a_half_written_file_beside_is_refused_in_one_line(results, tmp_path, content):
    folder = copy_of(results, tmp_path / "r")
    (folder / "gallery.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="gallery") as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)


def test_no_key_of_the_program_stands_for_a_threshold_or_a_split(phantom_page):
    """Of tables and sentences; the ledger, commands and file names say their keys."""
    words = " ".join(Words(phantom_page).text)
    assert "chosen for 90% sensitivity" in words
    assert "sensitivity_90" not in words
    assert "train_out_of_fold" not in words
