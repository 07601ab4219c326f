"""Verification names what differs in a results folder, and nothing else."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clineval import results as provenance
from clineval.cli import main
from clineval.errors import InputError
from clineval.files import hash_file
from clineval.pipeline import verify
from clineval.pipeline.verify import compare_results, first_difference, verify_results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A folder of ``clineval evaluate``: two models on val and test, opened three times."""
    folder = tmp_path_factory.mktemp("evaluated")
    chance = np.random.default_rng(0)
    rows = [
        {
            "model": model,
            "split": split,
            "case": f"{split}/{k}",
            "outcome": k % 3 == 0,
            "risk": chance.random(),
        }
        for model in ("first", "second")
        for split in ("val", "test")
        for k in range(40)
    ]
    pd.DataFrame(rows).astype({"outcome": int}).to_csv(folder / "table.csv", index=False)
    for seed in ("0", "0", "1"):
        words = ["evaluate", str(folder / "table.csv"), "--draws", "20", "--seed", seed, "--quiet"]
        assert main.run_command([*words, "--out", str(folder / "results")]) == 0
    return folder / "results"


@pytest.fixture
def results(evaluated, tmp_path):
    """A copy to be spoilt."""
    return shutil.copytree(evaluated, tmp_path / "results")


def ended(capsys, folder):
    code = main.run_command(["verify", str(folder), "--quiet"])
    return code, capsys.readouterr().err


def reseal(folder):
    """All hashes written again after tampering, as someone would who knows the format."""
    record = json.loads((folder / "provenance.json").read_text())
    hashed = {
        "artefacts": provenance.hash_folder(folder),
        "ledger": provenance.ledger_state(folder / "ledger.jsonl"),
    }
    (folder / "provenance.json").write_text(provenance.render({**record, **hashed}))


def flip(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int((len(content) - 1) * place)] ^= 1
    path.write_bytes(content)


def test_results_as_they_were_written_verify_without_a_word(results, capsys):
    assert ended(capsys, results) == (0, "")
    assert verify_results(results) == verify.Verdict(())


def test_a_flipped_byte_is_named_in_whichever_artefact_it_is(results):
    names = sorted(path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file())
    hashed = [name for name in names if name not in ("provenance.json", "ledger.jsonl")]
    assert "ro-crate-metadata.json" in hashed
    for name in hashed:
        flip(results / name)
    flip(results / "ledger.jsonl", place=0.99)
    told = verify_results(results).differences
    for name in (*hashed, "ledger.jsonl"):
        assert any(line.startswith(f"{name}: ") for line in told), name


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 1.0])
def test_a_flipped_byte_of_the_provenance_is_named(results, capsys, place):
    flip(results / "provenance.json", place)
    code, err = ended(capsys, results)
    assert code in (3, 4)
    assert "provenance.json" in err


def test_missing_and_foreign_files_are_named(results, capsys):
    (results / "checklist.csv").unlink(missing_ok=True)
    (results / "predictions.csv").unlink()
    (results / "thesis.tex").write_text("mine")
    (results / "linked").symlink_to("/etc")
    code, err = ended(capsys, results)
    assert code == 4
    for line in (
        "predictions.csv: missing from results",
        "thesis.tex: not written by the run",
        "linked: a link or special file, not written by the run",
        "evaluation.json: cannot be recomputed from predictions.csv",
    ):
        assert line in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: {**record, "schema": 2}, "is not of schema 1"),
        (lambda record: {**record, "artefacts": {"a": hashlib.md5(b"").hexdigest()}}, "no SHA-256 of each"),
        (lambda record: {**record, "artefacts": {"a": "sha512:" + "0" * 57}}, "no SHA-256 of each"),
        (lambda record: {**record, "platform": None}, "lacks platform"),
        (lambda record: {"evaluation": 3}, "is not of schema 1"),
    ],
)
def test_results_of_another_schema_or_hash_are_refused_in_one_line(results, capsys, change, words):
    path = results / "provenance.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    code, err = ended(capsys, results)
    assert code == 3
    assert words in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("byte", [b"\xff", b"}", b"\n"])
def test_a_provenance_that_cannot_be_read_is_named_as_altered(results, capsys, byte):
    path = results / "provenance.json"
    path.write_bytes(path.read_bytes().replace(b'"schema"', byte + b'schema"', 1))
    code, err = ended(capsys, results)
    assert code == 4
    assert "provenance.json: its content differs from what the run wrote" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["evaluation.json", "report.html", "ledger.jsonl", "predictions.csv"])
@pytest.mark.parametrize("way", ["pipe", "device", "link"])
def test_what_is_no_regular_file_is_named_and_not_read(results, capsys, name, way):
    (results / name).unlink()
    if way == "pipe":
        os.mkfifo(results / name)
    else:
        (results / name).symlink_to("/dev/zero" if way == "device" else "/etc/hosts")
    code, err = ended(capsys, results)
    assert code == 4
    assert f"{name}: a link or special file, not written by the run" in err
    assert "were not read: regular files are needed" in err


def test_a_provenance_that_is_a_pipe_is_refused_at_once(results, capsys):
    (results / "provenance.json").unlink()
    os.mkfifo(results / "provenance.json")
    assert ended(capsys, results)[0] == 3
    assert main.run_command(["evaluate", "nowhere.csv", "--out", str(results)]) == 3


def test_a_folder_without_a_provenance_is_no_results_folder(results, capsys):
    (results / "provenance.json").unlink()
    code, err = ended(capsys, results)
    assert code == 3
    assert "it lacks provenance.json" in err


def lines_of(results):
    return (results / "ledger.jsonl").read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda lines: [lines[1], lines[0], lines[2]], "line 1 does not follow"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not follow"),
        (lambda lines: [lines[0].replace('"test"', '"tess"'), *lines[1:]], "line 2 does not follow"),
        (lambda lines: [*lines[:2], lines[2][:50]], "line 3 does not follow"),
        (lambda lines: lines[:2], "lines were altered, cut off or added"),
        (lambda lines: [*lines, lines[2]], "line 4 does not follow"),
        (lambda lines: [*lines[:2], lines[2].replace('"draws": 20', '"draws": 30')], "lines were altered"),
        (lambda lines: [], "line 1 does not follow"),
    ],
)
def test_a_ledger_reordered_edited_cut_or_lengthened_is_noticed(results, capsys, spoil, words):
    (results / "ledger.jsonl").write_text("".join(spoil(lines_of(results))))
    code, err = ended(capsys, results)
    assert code == 4
    assert f"clineval: ledger.jsonl: {words}" in err or words in err


def test_a_ledger_that_is_gone_is_missed(results, capsys):
    (results / "ledger.jsonl").unlink()
    code, err = ended(capsys, results)
    assert code == 4
    assert "ledger.jsonl: missing from results, so no opening of its test cases is on record" in err


@pytest.mark.parametrize(
    ("key", "word"), [("predictions_sha256", "predictions"), ("settings_sha256", "settings")]
)
def test_a_last_opening_of_other_things_is_noticed_behind_fresh_hashes(results, key, word):
    lines = [json.loads(line) for line in lines_of(results)]
    lines[-1]["frozen"][key] = "0" * 64
    (results / "ledger.jsonl").write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
    reseal(results)
    (line,) = verify_results(results).differences
    assert line == f"ledger.jsonl: at its last opening other {word} were frozen than lie here"


def test_an_evaluation_that_does_not_follow_is_noticed_behind_fresh_hashes(results):
    path = results / "evaluation.json"
    record = json.loads(path.read_text())
    record["models"]["first"]["test"]["brier"]["value"] += 1e-13
    path.write_text(json.dumps(record))
    reseal(results)
    told = verify_results(results).differences
    assert told[0].endswith("does not follow from predictions.csv, first at models.first.test.brier.value")


def test_a_report_that_quotes_other_numbers_is_noticed_behind_fresh_hashes(results):
    path = results / "report.html"
    value = json.loads((results / "evaluation.json").read_text())["models"]["first"]["test"]["auc_logit"][
        "value"
    ]
    assert f">{value:.3f}<" in path.read_text()
    path.write_text(path.read_text().replace(f">{value:.3f}<", ">0.999<"))
    reseal(results)
    (line,) = verify_results(results).differences
    assert line.startswith("report.html: does not quote evaluation.json; it lacks the row: first test")


def readme_beside(results, text="AUC 0.912", *, of):
    (results.parent / "README.md").write_text(f"# Title\n\n{verify.marked(text, evaluation=of)}\n")


def test_a_readme_that_names_this_evaluation_must_hold_the_text_written_from_it(results):
    readme_beside(results, of=hash_file(results / "evaluation.json"))
    assert verify_results(results) == verify.Verdict(())
    path = results.parent / "README.md"
    path.write_text(path.read_text().replace("0.912", "0.999"))
    (line,) = verify_results(results).differences
    assert line == "README.md: its numbers were altered since they were written from evaluation.json"


def test_a_readme_that_quotes_another_run_is_said_and_is_no_difference(results, capsys):
    readme_beside(results, of="0" * 64)
    verdict = verify_results(results)
    assert verdict.differences == ()
    assert verdict.notes == (
        "README.md quotes another run, whose evaluation.json has the SHA-256 000000000000...",
    )
    assert main.run_command(["verify", str(results)]) == 0
    assert "README.md quotes another run" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["A README that quotes nothing.", "<!-- results:begin -->\n<!-- results:end -->"]
)
def test_a_readme_that_names_no_evaluation_is_left_alone(results, text):
    (results.parent / "README.md").write_text(text)
    assert verify_results(results) == verify.Verdict(())


def test_results_without_a_seal_are_told_to_be_written_again(results):
    path = results / "provenance.json"
    record = json.loads(path.read_text())
    del record["seal"]
    path.write_text(json.dumps(record))
    (line,) = verify_results(results).differences
    assert line.startswith("provenance.json: carries no seal of its own")


def moved_by(results, amount):
    path = results / "evaluation.json"
    record = json.loads(path.read_text())
    record["models"]["first"]["test"]["brier"]["value"] *= 1 + amount
    path.write_text(json.dumps(record))
    reseal(results)
    return verify_results(results)


def test_on_another_processor_last_digits_may_differ_and_it_says_so(results, monkeypatch):
    monkeypatch.setattr(verify, "environment_differences", lambda record: ["processor (A then, B now)"])
    verdict = moved_by(results, 1e-12)
    assert verdict.differences == ()
    (note,) = verdict.notes
    assert "within 1e-09 instead of to the last digit" in note
    assert "processor (A then, B now)" in note


def test_on_another_processor_more_than_last_digits_may_not_differ(results, monkeypatch):
    monkeypatch.setattr(verify, "environment_differences", lambda record: ["processor (A then, B now)"])
    (line,) = moved_by(results, 1e-6).differences
    assert "first at models.first.test.brier.value" in line


def test_the_first_difference_is_named_by_its_path():
    left = {"a": [1, {"b": 2.0}], "c": None}
    assert first_difference(left, {"a": [1, {"b": 2.0}], "c": None}) is None
    assert first_difference(left, {"a": [1, {"b": 2.5}], "c": None}) == "a[1].b"
    assert first_difference(left, {"a": [1], "c": None}) == "a"
    assert first_difference(left, {"a": [1, {"b": 2.0}], "c": 0}) == "c"
    assert first_difference({"n": 1}, {"n": 1 + 1e-12}, tolerance=1e-9) == "n", "counts have no tolerance"
    assert first_difference(1, 2) == "the top"


def test_options_of_retrain_need_retrain(results, capsys):
    assert main.run_command(["verify", str(results), "--jobs", "1"]) == 3
    assert "--jobs has no effect without --retrain" in capsys.readouterr().err


ROOT = Path(__file__).resolve().parents[1]


def write_table(path, *, moved=0.0, cases=40):
    chance = np.random.default_rng(0)
    rows = [
        {
            "model": "m",
            "split": split,
            "case": f"{split}/{k}",
            "outcome": k % 2,
            "risk": chance.uniform(0.1, 0.8),
        }
        for split in ("val", "test")
        for k in range(cases)
    ]
    table = pd.DataFrame(rows)
    table.loc[table["case"] == "test/0", "risk"] += moved
    table.to_csv(path, index=False)
    return table


def evaluated_copy(folder, *options, **changes):
    folder.mkdir()
    write_table(folder / "table.csv", **changes)
    words = [
        "evaluate",
        str(folder / "table.csv"),
        "--draws",
        "20",
        "--threshold",
        "0.3",
        "--quiet",
        *options,
    ]
    assert main.run_command([*words, "--out", str(folder / "results")]) == 0
    return folder / "results"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return evaluated_copy(tmp_path_factory.mktemp("compare") / "first")


def test_a_folder_equals_its_copy(first, tmp_path, capsys):
    copy = shutil.copytree(first, tmp_path / "copy")
    found = compare_results(first, copy)
    assert found.equal
    assert found.made == ()
    assert [(gap.split, gap.cases, gap.largest) for gap in found.risks] == [
        ("val", 40, 0.0),
        ("test", 40, 0.0),
    ]
    assert main.run_command(["compare", str(first), str(copy)]) == 0
    assert "hold the same risks, groups, thresholds, flags, measures and intervals" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_moved_risk_is_found_with_its_case_its_flag_and_every_measure(first, tmp_path, capsys):
    other = evaluated_copy(tmp_path / "other", moved=0.19)
    found = compare_results(first, other)
    (gap,) = [gap for gap in found.risks if gap.split == "test"]
    assert gap.case == "test/0"
    assert gap.largest == pytest.approx(0.19)
    assert gap.mean == pytest.approx(0.19 / 40)
    one = json.loads((first / "evaluation.json").read_text())["models"]["m"]["test"]["brier"]["value"]
    two = json.loads((other / "evaluation.json").read_text())["models"]["m"]["test"]["brier"]["value"]
    (brier,) = [gap for gap in found.measures if (gap.population, gap.measure) == ("test", "brier")]
    assert (brier.one, brier.other, brier.difference) == (one, two, two - one)
    assert main.run_command(["compare", str(first), str(other)]) == 4
    shown = capsys.readouterr()
    assert "differ." in shown.err
    assert "test/0" in shown.out


def test_flags_that_turn_are_counted_each_folder_at_its_own_threshold(first, tmp_path):
    before = pd.read_csv(first / "predictions.csv")
    risk = before.loc[before["case"] == "test/0", "risk"].item()
    other = evaluated_copy(tmp_path / "other", moved=0.5 - risk)
    turned = {gap.name: gap.turned for gap in compare_results(first, other).thresholds if gap.split == "test"}
    assert turned["half"] == int(risk < 0.5)
    assert turned["given"] == int(risk < 0.3)


def test_settings_that_differ_are_named_and_are_no_difference_of_the_results(first, tmp_path):
    other = evaluated_copy(tmp_path / "other", "--seed", "3")
    found = compare_results(first, other)
    assert [(made.what, made.one, made.other) for made in found.made] == [
        ("setting evaluation.seed", "0", "3")
    ]
    assert not found.equal, "the seed moves intervals of resamples"
    assert {gap.difference for gap in found.measures if gap.differs} == {0.0}


def test_results_of_which_one_groups_the_cases_are_not_equal(first, tmp_path, capsys):
    folder = tmp_path / "grouped"
    folder.mkdir()
    rows = write_table(folder / "table.csv")
    rows["patient"] = [f"p{int(case.split('/')[1]) // 2}" for case in rows["case"]]
    rows.to_csv(folder / "table.csv", index=False)
    out = folder / "results"
    words = ["evaluate", str(folder / "table.csv"), "--draws", "20", "--threshold", "0.3", "--quiet"]
    assert main.run_command([*words, "--group-column", "patient", "--out", str(out)]) == 0
    found = compare_results(first, out)
    assert {gap.population: (gap.one, gap.other) for gap in found.groups} == {
        "val": (40, 20),
        "test": (40, 20),
    }
    auc = next(gap for gap in found.measures if (gap.population, gap.measure) == ("test", "auc"))
    assert (auc.difference, auc.differs) == (0.0, True)
    assert main.run_command(["compare", str(first), str(out)]) == 4
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{out} groups the cases (20 groups of 40)" in shown
    assert "does not group its 40 cases" in shown


def test_a_threshold_of_one_folder_only_is_said_to_be(first, tmp_path, capsys):
    other = evaluated_copy(tmp_path / "other", "--threshold", "0.6")
    assert main.run_command(["compare", str(first), str(other)]) == 4
    assert "only in" in " ".join(capsys.readouterr().out.split())


def test_results_of_readers_are_not_compared(first, tmp_path):
    (tmp_path / "provenance.json").write_text('{"kind": "readers"}')
    with pytest.raises(InputError, match="holds results of clineval readers, which are not compared"):
        compare_results(first, tmp_path)


def test_versions_and_processor_that_differ_are_named(first, tmp_path):
    other = shutil.copytree(first, tmp_path / "other")
    path = other / "provenance.json"
    record = json.loads(path.read_text())
    record["versions"]["numpy"] = "0.1"
    record["platform"]["processor"] = "abacus"
    record["settings"]["evaluation"]["of_a_later_version"] = []
    path.write_text(json.dumps(record))
    named = {made.what: made.other for made in compare_results(first, other).made}
    assert named == {"version of numpy": "0.1", "processor": "abacus"}


def test_cases_of_one_folder_only_are_counted(first, tmp_path):
    other = evaluated_copy(tmp_path / "other", cases=38)
    found = compare_results(first, other)
    assert not found.equal
    assert {gap.split: (gap.cases, gap.unshared) for gap in found.risks} == {"val": (38, 2), "test": (38, 2)}


def test_folders_of_other_cases_are_refused(first):
    with pytest.raises(InputError, match="no case of the same model and split in common"):
        compare_results(first, ROOT / "results")


def test_the_published_record_equals_itself():
    assert compare_results(ROOT / "results", ROOT / "results").equal
