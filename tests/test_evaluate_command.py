"""clineval evaluate: a table from any source to an evaluation and a report, or one clear line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clineval.cli import main
from clineval.data.cohort import Cohort, LabelMeaning, Source
from clineval.errors import InputError
from clineval.evaluation import read_evaluation
from clineval.pipeline.evaluate import evaluate_file, read_result_file
from clineval.predictions import read_predictions
from clineval.statistics import roc

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted")]

FAST = ("--draws", "20")


def table(cases: int = 60, models: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    outcome = np.random.default_rng(1).random(cases) < 0.4
    parts = [
        pd.DataFrame(
            {
                "model": model,
                "case": range(cases),
                "outcome": outcome.astype(int),
                "risk": np.random.default_rng([2, number]).beta(2 + 2 * outcome, 3),
            }
        )
        for number, model in enumerate(models)
    ]
    return pd.concat(parts, ignore_index=True)


def saved(frame: pd.DataFrame, folder: Path, name: str = "mine.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def ended(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main.run_command([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


# --- what is written --------------------------------------------------------------------------------


def test_the_command_writes_evaluation_report_table_and_provenance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = saved(table(), tmp_path), tmp_path / "deep" / "out"
    code, shown, _ = ended(
        capsys, "evaluate", path, "--condition", "cancer", "--threshold", 0.2, "--out", out, *FAST
    )
    assert code == 0
    assert "report.html" in shown
    written = {each.name for each in out.iterdir()}
    assert written >= {"evaluation.json", "report.html", "predictions.csv", "provenance.json"}
    content = json.loads((out / "evaluation.json").read_text())
    assert content["condition"] == "cancer"
    assert "cancer" in (out / "report.html").read_text()
    given = content["models"]["a"]["test"]["operating_points"][-1]
    assert (given["name"], given["threshold"], given["chosen_on"]) == ("given", 0.2, "given")


@pytest.mark.slow
def test_the_installed_command_does_the_same_in_a_process_of_its_own(tmp_path: Path) -> None:
    path, out = saved(table(cases=30, models=("a",)), tmp_path), tmp_path / "out"
    door = [sys.executable, "-c", "from clineval.cli.main import main; main()"]
    done = subprocess.run(
        [*door, "evaluate", str(path), "--out", str(out), *FAST], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert read_evaluation(out / "evaluation.json").models["a"]["test"].cases == 30


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(capsys, "evaluate", tmp_path / "nothing.csv", "--out", tmp_path / "out")
    assert (code, out) == (3, "")
    assert "nothing.csv is not there" in " ".join(err.split())
    assert "Scoring" not in err


def test_two_evaluations_of_one_table_are_the_same_bytes(tmp_path: Path) -> None:
    path = saved(table(), tmp_path)
    for name in ("one", "two"):
        evaluate_file(path, out=tmp_path / name, draws=20)
    for name in ("evaluation.json", "predictions.csv", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_a_csv_and_its_parquet_give_the_same_numbers(tmp_path: Path) -> None:
    frame = table()
    frame.to_parquet(tmp_path / "mine.parquet")
    one = evaluate_file(saved(frame, tmp_path), out=tmp_path / "one", draws=20)
    two = evaluate_file(tmp_path / "mine.parquet", out=tmp_path / "two", draws=20)
    assert one.to_json() == two.to_json()


def test_columns_are_mapped_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    renamed = table(models=("a",)).rename(
        columns={"outcome": "y", "risk": "p", "case": "image", "model": "net"}
    )
    renamed["patient"] = renamed["image"] // 2
    options = (
        "--outcome-column",
        "y",
        "--risk-column",
        "p",
        "--case-column",
        "image",
        "--model-column",
        "net",
    )
    code, _, _ = ended(
        capsys,
        "evaluate",
        saved(renamed, tmp_path),
        *options,
        "--group-column",
        "patient",
        "--out",
        tmp_path / "o",
        *FAST,
    )
    assert code == 0
    scored = read_evaluation(tmp_path / "o" / "evaluation.json").models["a"]["test"]
    assert (scored.cases, scored.groups) == (60, 30)


@pytest.mark.parametrize("column", ["patient", "Patient_ID", "subject"])
def test_patients_that_repeat_without_a_group_column_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    frame, out = table(models=("a",)), tmp_path / "out"
    path = saved(frame.assign(**{column: np.arange(len(frame)) // 2}, site="s"), tmp_path)
    said = (
        f"Column '{column}' has repeated values, and cases count as independent: name it with "
        f"--group-column {column}, or intervals may be too narrow."
    )
    code, _, err = ended(capsys, "evaluate", path, "--out", out, *FAST)
    assert code == 0
    assert err.count(said) == 1
    assert said in read_evaluation(out / "evaluation.json").warnings
    assert f"--group-column {column}" in (out / "report.html").read_text(encoding="utf-8")
    assert main.run_command(["verify", str(out)]) == 0
    code, _, err = ended(capsys, "evaluate", path, "--group-column", column, "--out", out, *FAST, "--force")
    assert (code, "count as independent" in err) == (0, False)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "test: 60 cases of 30 groups, " in page


def test_patients_of_one_image_each_are_not_warned_of(tmp_path: Path) -> None:
    frame = table()  # of two models: a patient stands once for each
    path = saved(frame.assign(patient=frame["case"], patient_age=50), tmp_path)
    assert evaluate_file(path, out=tmp_path / "out", draws=20).warnings == ()


def test_what_is_scored_is_the_table_that_lies_in_the_folder(tmp_path: Path) -> None:
    evaluation = evaluate_file(saved(table(), tmp_path), out=tmp_path / "out", draws=20)
    back = read_predictions(tmp_path / "out" / "predictions.csv")
    own = back[back["model"] == "a"]
    assert evaluation.models["a"]["test"].measures["auc"].value == roc.auc(own["outcome"], own["risk"]).value


def test_subgroups_can_be_chosen_and_verify_scores_the_same(tmp_path: Path) -> None:
    frame = table().assign(device=["A", "B", "C"] * 40, site=["x", "y"] * 60)
    evaluate_file(saved(frame, tmp_path), attributes=["site"], out=tmp_path / "out", draws=20)
    (_, scores), *_ = read_evaluation(tmp_path / "out" / "evaluation.json").models["a"].items()
    assert {one.attribute: one.skipped for one in scores.subgroups} == {
        "site": "",
        "device": "not among the columns that were chosen",
    }
    assert main.run_command(["verify", str(tmp_path / "out")]) == 0
    with pytest.raises(InputError, match="attributes needs one of the table's further columns"):
        evaluate_file(saved(frame, tmp_path), attributes=["sight"], out=tmp_path / "other", draws=20)
    assert not (tmp_path / "other").exists()


def test_the_command_takes_the_columns_that_make_subgroups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table(models=("a",)).assign(site="north", device="old")
    out = tmp_path / "out"
    code, _, _ = ended(capsys, "evaluate", saved(frame, tmp_path), "--attribute", "site", "--out", out, *FAST)
    assert code == 0
    page = (out / "report.html").read_text()
    assert "<code>clineval evaluate --attribute COLUMN</code> chooses others" in page
    code, _, err = ended(
        capsys, "evaluate", saved(frame, tmp_path), "--attribute", "sight", "--out", tmp_path / "other", *FAST
    )
    assert code == 3
    assert "--attribute needs one of the table's further columns" in err


def test_coverage_is_simulated_at_the_size_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clineval.pipeline.evaluate.SIMULATIONS", 40)
    evaluate_file(saved(table(models=("a",)), tmp_path), out=tmp_path / "out", draws=20, coverage=True)
    content = json.loads((tmp_path / "out" / "coverage.json").read_text())
    (simulated,) = content["populations"]
    assert (simulated["model"], simulated["population"], simulated["cases"]) == ("a", "test", 60)
    rows = {row["measure"]: row for row in simulated["measures"]}
    assert 0.7 < rows["auc_logit"]["covered"] <= 1
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "a on test: 40 simulated sets of 60 cases" in page
    assert f"{100 * rows['auc_logit']['covered']:.1f}%" in page[page.index("simulated sets") :]


def test_coverage_simulates_the_groups_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clineval.pipeline.evaluate.SIMULATIONS", 60)
    frame = table(models=("a",))
    named = frame["case"].astype(str)
    tripled = pd.concat([frame.assign(case=named + copy, group=named) for copy in "abc"])
    evaluate_file(saved(tripled, tmp_path), out=tmp_path / "out", draws=20, coverage=True)
    (simulated,) = json.loads((tmp_path / "out" / "coverage.json").read_text())["populations"]
    assert (simulated["cases"], simulated["groups"]) == (180, 60)
    assert simulated["correlation_of_outcomes"] == 1
    assert simulated["correlation_of_scores"] > 0.9
    rows = {row["measure"]: row for row in simulated["measures"]}
    # As wide as sixty independent cases have it, not as 180.
    assert rows["sensitivity"]["mean_width"] > 0.25
    assert rows["ppv"]["covered"] > 0.85


def test_coverage_of_a_set_too_large_to_simulate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clineval.pipeline.evaluate.MOST_SIMULATED", 50)
    with pytest.raises(InputError, match="up to 50 cases; got 60"):
        evaluate_file(saved(table(), tmp_path), out=tmp_path / "out", draws=20, coverage=True)
    assert not (tmp_path / "out").exists()


def test_shared_cases_only_compares_on_what_models_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(table().iloc[:-5], tmp_path)
    code, _, err = ended(capsys, "evaluate", path, "--out", tmp_path / "out", *FAST)
    assert (code, (tmp_path / "out").exists()) == (3, False)
    assert "55 shared" in err
    assert "--shared-cases-only" in err
    code, _, _ = ended(capsys, "evaluate", path, "--shared-cases-only", "--out", tmp_path / "out", *FAST)
    assert code == 0
    kept = read_evaluation(tmp_path / "out" / "evaluation.json").shared_cases
    assert kept == {"test": {"kept": 55, "a": 60, "b": 55}}
    assert "<script>alert" not in (tmp_path / "out" / "report.html").read_text()


# --- what is refused --------------------------------------------------------------------------------

BAD = {
    "missing column": ("outcome,p\n1,0.5\n", "lacks the column 'risk'"),
    "empty": ("", "is empty"),
    "header only": ("outcome,risk\n", "no rows"),
    "risk above 1": ("outcome,risk\n1,0.5\n0,1.2\n", "row 2 (line 3), column 'risk'"),
    "risk below 0": ("outcome,risk\n1,-0.5\n", "row 1 (line 2), column 'risk'"),
    "risk not a number": ("outcome,risk\n1,nan\n", "row 1 (line 2), column 'risk'"),
    "risk in words": ("outcome,risk\n1,high\n", "row 1 (line 2), column 'risk'"),
    "outcome 2": ("outcome,risk\n2,0.5\n", "row 1 (line 2), column 'outcome'"),
    "duplicate": ("case,outcome,risk\nx,1,0.5\nx,1,0.6\n", "row 2 (line 3), column 'case'"),
    "disagreement": ("model,case,outcome,risk\na,x,1,0.5\nb,x,0,0.6\n", "row 2 (line 3), column 'outcome'"),
    "other cases": ("model,case,outcome,risk\na,x,1,0.5\nb,y,0,0.6\n", "column 'case'"),
    "binary": (b"\x00\x01\x02", "neither a CSV nor a Parquet"),
    "encoding": (b"outcome,risk,site\n1,0.5,\xe9\n", "line 2"),
    "ragged": ("outcome,risk\n1,0.5\n1\n", "line 3"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_ends_in_one_line_exit_3_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    content, words = BAD[kind]
    path = tmp_path / "mine.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = ended(capsys, "evaluate", path, "--out", tmp_path / "out", *FAST)
    message = " ".join(err.split())
    assert code == 3
    assert words in message
    assert "Traceback" not in err
    assert out == ""
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine.csv"]


def test_a_folder_and_a_bad_option_value_are_refused_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(capsys, "evaluate", tmp_path, "--out", tmp_path / "out")[0] == 3
    path = saved(table(), tmp_path)
    for option in (("--threshold", 1.5), ("--level", 95), ("--draws", 0), ("--medmnist", "breastmnist")):
        code, _, err = ended(capsys, "evaluate", path, *option, "--out", tmp_path / "out")
        assert (code, (tmp_path / "out").exists()) == (3, False), option
        assert "Traceback" not in err


def test_a_folder_that_the_program_did_not_write_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    code, _, err = ended(capsys, "evaluate", saved(table(), tmp_path), "--out", out, *FAST)
    assert code == 3
    assert "not written by clineval" in " ".join(err.split())
    assert [each.name for each in out.iterdir()] == ["thesis.txt"]


def test_one_class_absent_is_scored_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(table(models=("a",)).assign(outcome=0), tmp_path)
    code, _, _ = ended(capsys, "evaluate", path, "--out", tmp_path / "out", *FAST)
    assert code == 0
    scored = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["a"]["test"]
    assert scored["auc"]["value"] is None
    assert "condition" in scored["auc"]["method"]
    assert scored["brier"]["value"] is not None


def test_markup_in_names_never_reaches_the_report_as_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    frame = table(models=(evil, "b")).assign(split=f"abroad{evil}", site=evil)
    frame["case"] = frame["case"].astype(str) + evil
    evaluate_file(saved(frame, tmp_path), condition=evil, out=tmp_path / "out", draws=20)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert" in page


def test_a_formula_in_a_cell_stays_text_in_the_stored_table(tmp_path: Path) -> None:
    frame = table(models=("=cmd|'/C calc'!A1", "b"))
    evaluate_file(saved(frame, tmp_path), out=tmp_path / "out", draws=20)
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert lines[1].startswith("'=cmd")
    assert read_predictions(tmp_path / "out" / "predictions.csv")["model"].iloc[0] == "=cmd|'/C calc'!A1"


def test_the_table_that_is_read_is_never_deleted_by_writing(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    path = saved(table(), tmp_path / "mine")
    with pytest.raises(InputError, match=r"holds mine\.csv, which the command reads and would delete"):
        evaluate_file(path, out=tmp_path / "mine", force=True)
    assert path.is_file()


def test_the_stored_table_of_an_evaluation_may_be_scored_again_in_its_place(tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate_file(saved(table(), tmp_path), out=out, draws=20)
    before = (out / "predictions.csv").read_bytes()
    evaluate_file(out / "predictions.csv", out=out, draws=20)
    assert (out / "predictions.csv").read_bytes() == before


# --- MedMNIST's own result files --------------------------------------------------------------------


LABELS = (LabelMeaning(0, "malignant", is_condition=True), LabelMeaning(1, "benign", is_condition=False))
CASES = 24


def small_set() -> Cohort:
    """A set of the shape of BreastMNIST with 6 + 24 cases, label 0 malignant."""
    split = np.repeat(["train", "test"], [6, CASES])
    case = np.array([f"{name}/{i}" for name, n in (("train", 6), ("test", CASES)) for i in range(n)])
    return Cohort(
        condition="malignant",
        images=np.zeros((len(case), 4, 4), dtype=np.uint8),
        outcome=np.arange(len(case)) % 3 == 0,
        split=split,
        case=case,
        group=case,
        source=Source("smallmnist", "SmallMNIST", labels=LABELS),
    )


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Cohort:
    """The test cases of a small set that stands in for the official one."""
    cohort = small_set()
    monkeypatch.setattr("clineval.pipeline.evaluate.load_cohort", lambda name: cohort)
    return cohort.select(cohort.within("test"))


def result_file(
    folder: Path, scores: np.ndarray, name: str = "smallmnist_test_[AUC]0.901_[ACC]0.863@run1.csv"
) -> Path:
    """As MedMNIST's evaluator writes it: the index and the scores, no header."""
    pd.DataFrame(scores).to_csv(folder / name, header=False)
    return folder / name


def test_the_risk_is_the_score_of_the_malignant_label_and_the_outcome_comes_from_the_set(
    tmp_path: Path, official
) -> None:
    malignant = np.random.default_rng(0).random(len(official))
    path = result_file(tmp_path, np.stack([malignant, 1 - malignant], axis=1))
    frame, cohort = read_result_file(path, "smallmnist")
    assert frame["risk"].tolist() == malignant.tolist()
    assert frame["outcome"].tolist() == official.outcome.tolist()
    assert frame["case"].tolist() == official.case.tolist()
    assert frame["model"].unique().tolist() == ["run1"]
    assert cohort.condition == "malignant"


def test_shuffled_rows_a_header_and_a_single_score_are_read_as_well(tmp_path: Path, official) -> None:
    n = len(official)
    benign = np.random.default_rng(0).random(n)
    order = np.random.default_rng(1).permutation(n)
    path = tmp_path / "smallmnist_test.csv"
    pd.DataFrame({"index": order, "score_1": benign[order]}).to_csv(path, index=False)
    frame, _ = read_result_file(path, "smallmnist")
    np.testing.assert_array_equal(frame["risk"], 1 - benign[order])
    assert frame["case"].tolist() == official.case[order].tolist()
    assert frame["model"].unique().tolist() == ["model"]


def test_the_command_names_the_sets_own_condition(
    tmp_path: Path, official, capsys: pytest.CaptureFixture[str]
) -> None:
    malignant = np.where(official.outcome, 0.8, 0.3)
    path = result_file(tmp_path, np.stack([malignant, 1 - malignant], axis=1))
    code, _, _ = ended(capsys, "evaluate", path, "--medmnist", "smallmnist", "--out", tmp_path / "out", *FAST)
    assert code == 0
    evaluation = read_evaluation(tmp_path / "out" / "evaluation.json")
    assert evaluation.condition == "malignant"
    assert evaluation.models["run1"]["test"].measures["auc"].value == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scores: scores[:-1], "has 23 of the split's 24 cases; the first missing is 23"),
        (lambda scores: np.vstack([scores, scores[:1]]), "row 25, column 'index'"),
        (lambda scores: scores * 3, "column 'score_"),
        (lambda scores: scores / 2, "must sum to 1"),
        (lambda scores: np.hstack([scores, scores]), "one or two scores"),
        (lambda scores: np.where(np.arange(CASES)[:, None] == 7, np.nan, scores), "row 8, column 'score_0'"),
    ],
)
def test_result_files_that_do_not_fit_the_set_are_refused(
    tmp_path: Path, official, change, words: str
) -> None:
    malignant = np.random.default_rng(0).random(len(official))
    path = result_file(tmp_path, change(np.stack([malignant, 1 - malignant], axis=1)))
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        read_result_file(path, "smallmnist")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.csv", "not named like a MedMNIST result file"),
        ("smallmnist_train_[AUC]1.000@x.csv", "training cases"),
        ("octmnist_test_[AUC]1.000@x.csv", "holds results on 'octmnist'"),
    ],
)
def test_a_result_file_is_known_by_its_name(tmp_path: Path, name: str, words: str) -> None:
    path = result_file(tmp_path, np.full((CASES, 2), 0.5), name)
    with pytest.raises(InputError, match=words):
        read_result_file(path, "smallmnist")


def test_an_empty_or_unreadable_result_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "smallmnist_test.csv"
    path.write_text("")
    with pytest.raises(InputError, match="is empty; expected index,score_0,score_1"):
        read_result_file(path, "smallmnist")
    path.write_bytes(b"0,\xff\xfe\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_result_file(path, "smallmnist")


@pytest.mark.real_data
def test_a_breastmnist_result_file_is_scored_with_malignant_as_the_condition(
    tmp_path: Path, real_breastmnist
) -> None:
    official = real_breastmnist.select(real_breastmnist.within("test"))
    malignant = np.where(official.outcome, 0.7, 0.2)
    malignant[0] = 0.5
    name = "breastmnist_test_[AUC]0.000_[ACC]0.000@mine.csv"
    path = result_file(tmp_path, np.stack([malignant, 1 - malignant], axis=1), name)
    scored = evaluate_file(path, medmnist="breastmnist", out=tmp_path / "out", draws=20).models["mine"][
        "test"
    ]
    assert (scored.cases, scored.events) == (156, 42)
    assert scored.measures["auc"].value == roc.auc(official.outcome, malignant).value


@pytest.mark.parametrize("word", [" ", "  "])
def test_a_condition_without_a_word_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    path, out = saved(table(), tmp_path), tmp_path / "out"
    code, _, said = ended(capsys, "evaluate", path, "--condition", word, "--out", out)
    assert (code, out.exists()) == (3, False)
    assert "--condition needs a word" in said


def test_a_given_threshold_is_what_the_terminal_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = saved(table(models=("a",)), tmp_path), tmp_path / "out"
    words = ["evaluate", path, "--threshold", 0.2, "--threshold", 0.3, "--out", out, "--draws", 20]
    _, shown, _ = ended(capsys, *words)
    assert "Primary model: a, threshold 0.200" in shown
    _, shown, _ = ended(capsys, *words, "--table")
    assert "0.200 given" in shown
    assert "0.300 given" in shown
    assert "half" not in shown
