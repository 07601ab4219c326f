"""The whole job through the command line: on a small phantom set, and on real BreastMNIST where present."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from short_program import shorten

from clineval.cli import main
from clineval.pipeline import verify
from clineval.results import hash_folder
from clineval.settings import NetworkSettings

CASES = (90, 30, 50)
FIGURES = (
    "class_distribution_by_split.png",
    "pixel_intensity_hist_class0.png",
    "pixel_intensity_hist_class1.png",
    "roc_logreg_test.png",
    "cm_logreg_test.png",
    "roc_cnn_test.png",
    "cm_cnn_test.png",
    "calibration_logreg_test.png",
    "calibration_cnn_test.png",
    "decision_curve_test.png",
    "learning_curve_cnn.png",
    "duplicates.png",
    "risk_distribution_logreg_test.png",
    "risk_distribution_cnn_test.png",
    "failures_logreg_test.png",
    "failures_cnn_test.png",
)
TABLES = ("predictions.csv", "members.csv", "evaluation.json", "audit.json", "exploration.json")
WORDS = ("report.html", "checklist.csv", "model_card.md", "provenance.json", "ledger.jsonl")

# Painted by two runs of test_reproducibility, whose bytes are the same.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A small phantom run, one training at once."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch.setattr, cases=CASES, epochs=4, draws=100)
        patch.chdir(folder)
        words = ["run", "--dataset", "phantom", "--jobs", "1", "--out", "results", "--quiet"]
        assert main.run_command(words) == 0
    return folder / "results"


def test_a_run_writes_every_artefact_of_the_contract(results):
    for name in (*FIGURES, *TABLES, *WORDS):
        assert (results / name).stat().st_size > 0, name
    assert (results / "models").is_dir()


def test_a_run_leaves_nothing_beside_its_results(results):
    assert [path.name for path in results.parent.iterdir()] == ["results"]


def test_a_run_is_repeated_with_other_workers_to_the_same_bytes(results, monkeypatch, capsys):
    shorten(monkeypatch.setattr, cases=CASES)
    ledger = (results / "ledger.jsonl").read_bytes()
    assert main.run_command(["verify", str(results), "--retrain", "--jobs", "2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "files have the same bytes, predictions.csv among them" in said
    assert (results / "ledger.jsonl").read_bytes() == ledger, "a repetition is no opening"


def test_phantom_results_say_so_everywhere(results):
    notice = "SYNTHETIC PHANTOM DATA"
    assert notice in (results / "report.html").read_text()
    assert notice in (results / "model_card.md").read_text()
    assert notice in json.loads((results / "provenance.json").read_text())["data"]["notice"]


def test_the_table_holds_each_model_on_each_case_once(results):
    table = pd.read_csv(results / "predictions.csv")
    assert not table.duplicated(["model", "split", "case"]).any()
    cnn = table[table["model"] == "cnn"]
    assert cnn["split"].value_counts().to_dict() == {
        "train": CASES[0],
        "train_out_of_fold": CASES[0],
        "test": CASES[2],
        "val": CASES[1],
    }
    assert table["risk"].between(0, 1).all()


def test_the_final_risk_is_the_mean_of_the_members(results):
    table, members = pd.read_csv(results / "predictions.csv"), pd.read_csv(results / "members.csv")
    mean = members[members["model"] == "cnn"].query("split == 'test'").groupby("case")["risk"].mean()
    final = table.query("model == 'cnn' and split == 'test'").set_index("case")["risk"]
    np.testing.assert_allclose(mean[final.index], final, atol=1e-11)


def test_thresholds_are_chosen_off_the_test_set(results):
    evaluation = json.loads((results / "evaluation.json").read_text())
    table = pd.read_csv(results / "predictions.csv")
    for model in ("logreg", "cnn", "scattering", "combined"):
        points = evaluation["models"][model]["test"]["operating_points"]
        chosen = {point["name"]: point for point in points}
        assert (chosen["half"]["threshold"], chosen["half"]["chosen_on"]) == (0.5, "fixed")
        assert chosen["sensitivity_90"]["chosen_on"] == "train_out_of_fold"
        apart = table[(table["model"] == model) & (table["split"] == "train_out_of_fold")]
        found = apart.loc[apart["outcome"] == 1, "risk"]
        threshold = chosen["sensitivity_90"]["threshold"]
        assert (found >= threshold).mean() >= 0.9
        assert (found > threshold).mean() < 0.9


def test_verify_finds_a_run_as_it_was_written(results, capsys):
    assert main.run_command(["verify", str(results)]) == 0
    assert "every artefact is as it was written" in capsys.readouterr().out


def test_verify_names_every_artefact_in_which_a_byte_was_flipped(results, tmp_path, capsys):
    copy = shutil.copytree(results, tmp_path / "copy")
    names = sorted(hash_folder(copy))
    assert {"models/models.json", "ro-crate-metadata.json", "roc_cnn_test.png"} <= set(names)
    for name in names:
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
    assert main.run_command(["verify", str(copy)]) == 4
    told = capsys.readouterr().err
    for name in names:
        assert f"clineval: {name}: its content differs" in told


def test_verify_recomputes_the_evaluation_from_the_table(results, tmp_path):
    shutil.copytree(results, tmp_path / "copy")
    evaluation = json.loads((results / "evaluation.json").read_text())
    evaluation["models"]["cnn"]["test"]["auc"]["value"] += 1e-9
    (tmp_path / "copy" / "evaluation.json").write_text(json.dumps(evaluation))
    differences = verify.verify_results(tmp_path / "copy").differences
    assert any(
        "does not follow from predictions.csv, first at models.cnn.test.auc.value" in line
        for line in differences
    )


def test_a_report_written_again_is_the_same_report(results, tmp_path):
    shutil.copytree(results, tmp_path / "copy")
    assert main.run_command(["report", str(tmp_path / "copy"), "--quiet"]) == 0
    assert (tmp_path / "copy" / "report.html").read_bytes() == (results / "report.html").read_bytes()
    assert verify.verify_results(tmp_path / "copy").differences == ()


@pytest.fixture(scope="module")
def real_run(real_data_folder, tmp_path_factory):
    """The headline pair on real BreastMNIST, with three networks in place of five, trained once."""
    out = tmp_path_factory.mktemp("real") / "results"
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch.setattr, members=3, epochs=NetworkSettings.epochs)
        patch.setattr("clineval.pipeline.train.PAIR", ())
        patch.setattr("clineval.reporting.figures.write_figures", lambda folder, **named: None)
        words = ["run", "--dataset", "breastmnist", "--models", "logreg,cnn", "--jobs", "1", "--quiet"]
        assert main.run_command([*words, "--out", str(out)]) == 0
    return out


@pytest.mark.real_data
def test_real_breastmnist_reaches_the_figures_it_is_known_for(real_run):
    models = json.loads((real_run / "evaluation.json").read_text())["models"]
    auc = {name: models[name]["test"]["auc"]["value"] for name in models}
    assert models["cnn"]["test"]["cases"] == 156
    assert models["cnn"]["test"]["events"] == 42
    assert auc["logreg"] >= 0.80
    assert auc["cnn"] >= 0.87
    assert auc["cnn"] > auc["logreg"]
    members = pd.read_csv(real_run / "members.csv").query("model == 'cnn' and split == 'test'")
    assert members.groupby("seed")["risk"].count().to_dict() == dict.fromkeys(range(3), 156)


@pytest.mark.real_data
def test_the_clean_test_leaves_out_every_image_with_a_twin(real_run):
    audit = json.loads((real_run / "audit.json").read_text())
    models = json.loads((real_run / "evaluation.json").read_text())["models"]
    assert 50 <= audit["test_with_twin"] <= 70
    assert models["cnn"]["test_clean"]["cases"] == 156 - audit["test_with_twin"] == len(audit["test_clean"])
    assert ["train/115", "test/76"] in audit["byte_identical"] or ["test/76", "train/115"] in audit[
        "byte_identical"
    ]


@pytest.mark.real_data
def test_a_real_run_verifies(real_run):
    assert verify.verify_results(real_run).differences == ()
