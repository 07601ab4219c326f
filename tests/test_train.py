"""Whether a model's risks are recalibrated is decided on out-of-fold risks alone."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from finished_run import WORDS, read_rows, write_cohort, write_table
from short_program import shorten

from clineval.cli.console import DONE, REFUSED
from clineval.cli.main import run_command
from clineval.data.phantom import phantom
from clineval.errors import silent
from clineval.evaluation import read_evaluation
from clineval.models.classifier import given_model
from clineval.models.ensemble import TrainedModel
from clineval.models.stored import Stored
from clineval.pipeline.scoring import FROZEN, SITE_TABLE
from clineval.pipeline.train import choose_recalibration, finalise, left_out_sites, write_left_out_sites
from clineval.predictions import read_predictions
from clineval.settings import DataSettings, RunSettings, TrainingSettings
from clineval.statistics.counts import flagged
from clineval.statistics.intervals import independent_cases
from clineval.statistics.meta_analysis import logit_rates, random_effects
from clineval.statistics.roc import auc_logit

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted")]


def cases(slope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, risk and group of 400 cases whose logit rises ``slope`` times as fast as the risk says."""
    generator = np.random.default_rng(0)
    logit = generator.normal(0, 1.5, 400)
    outcome = generator.random(400) < 1 / (1 + np.exp(-slope * logit))
    return outcome, 1 / (1 + np.exp(-logit)), np.arange(400).astype(str)


def test_overconfident_risks_are_recalibrated():
    outcome, risk, group = cases(0.3)
    choice = choose_recalibration(outcome, risk, group=group)
    assert choice.kind in ("temperature", "platt")
    assert choice.log_loss[choice.kind] < choice.log_loss["none"]


def test_a_model_that_ranks_the_wrong_way_round_is_left_as_it_is_and_the_reason_says_so():
    outcome, risk, group = cases(-1.0)
    choice = choose_recalibration(outcome, risk, group=group)
    assert choice.kind == "none"
    assert "platt cannot be fitted on every fold" in choice.reason
    assert np.array_equal(choice.apply(risk), risk)


def test_a_mean_of_members_is_not_recalibrated_by_its_members():
    cohort = phantom(3, cases=(60, 16, 16))
    risk = np.linspace(0.1, 0.9, len(cohort))
    out_of_fold = np.where(cohort.within("train"), risk, np.nan)
    model = TrainedModel("cnn", "cnn", Stored({}, {}), risk, out_of_fold, None, (), 0.0)
    assert finalise(model, cohort).recalibration.kind == "none"
    assert np.array_equal(finalise(model, cohort).risk, risk)


SETTINGS = RunSettings(
    data=DataSettings(site_column="device"), training=TrainingSettings(models=("logreg",), members=2)
)


@pytest.fixture(scope="module")
def cohort():
    """Phantoms of three devices; a test split; one near-duplicate group that two devices share."""
    drawn = phantom(seed=1, cases=(180, 60, 60), reason="a test asked for it")
    device = np.array(["x", "y", "z"])[np.arange(len(drawn)) % 3]
    group = drawn.group.astype("U20")
    train = np.flatnonzero(drawn.within("train"))
    group[train[:2]] = "shared"
    return replace(drawn, group=group, attributes={"device": device})


def test_a_site_is_scored_by_the_development_cases_of_the_others_alone(cohort):
    found = {site.name: site.cohort for site in left_out_sites(cohort, "device")}
    assert list(found) == ["x", "y", "z"]
    sealed = set(cohort.case[cohort.within("test")])
    for name, parted in found.items():
        here = parted.within("test")
        assert set(parted.attributes["device"][here]) == {name}
        assert name not in parted.attributes["device"][~here]
        assert not set(parted.group[here]) & set(parted.group[~here])
        assert not set(parted.case) & sealed
    assert len(found["z"]) == 240  # the group that x and y share is in both parts of no cohort but theirs
    assert len(found["x"]) == 239


def test_outcomes_of_the_site_left_out_change_none_of_its_risks(cohort, tmp_path):
    given = {"jobs": 1, "finished": tmp_path / "members", "announce": silent}
    write_left_out_sites(cohort, SETTINGS, tmp_path, **given)
    first = read_predictions(tmp_path / SITE_TABLE)
    flipped = np.where(cohort.attributes["device"] == "y", ~cohort.outcome, cohort.outcome)
    write_left_out_sites(replace(cohort, outcome=flipped), SETTINGS, tmp_path, **given)
    second = read_predictions(tmp_path / SITE_TABLE)
    of_y = (first["device"] == "y").to_numpy()
    for column in ("risk", FROZEN):
        assert first.loc[of_y, column].tolist() == second.loc[of_y, column].tolist()
    assert first.loc[~of_y, "risk"].tolist() != second.loc[~of_y, "risk"].tolist()


@pytest.mark.slow
def test_a_model_of_the_users_is_trained_without_each_site_too_and_a_frozen_one_is_not(cohort, tmp_path):
    code = (
        "import numpy as np\n"
        "class Model:\n"
        "    def fit(self, images, outcome):\n"
        "        self.at = images.mean()\n"
        "    def predict_proba(self, images):\n"
        "        return 1 / (1 + np.exp((images.mean(axis=(1, 2)) - self.at) / 20))\n"
        "make = lambda seed: Model()\n"
    )
    (tmp_path / "mine.py").write_text(code)
    mine = given_model("mine", f"{tmp_path / 'mine.py'}:make", cohort, timeout=60)
    frozen = replace(mine, about=replace(mine.about, name="frozen"), kind="onnx")
    alone = replace(SETTINGS, training=replace(SETTINGS.training, models=()))
    how = {"jobs": 1, "finished": tmp_path / "members", "announce": silent}
    write_left_out_sites(cohort, alone, tmp_path, given=(mine, frozen), **how)
    table = read_predictions(tmp_path / SITE_TABLE)
    assert set(table["model"]) == {"mine"}
    assert set(table["device"]) == {"x", "y", "z"}


# The command ---------------------------------------------------------------------------------------------


def table(folder, *, device=lambda patient: f"scanner {patient % 3}"):
    rows = [(*row[:3], device(int(row[1][1:])), row[4]) for row in read_rows(folder / "cohort.csv")]
    write_table(folder / "cohort.csv", rows)
    return folder


def words(folder, out, *further):
    return [
        "run", "--cohort", str(folder / "cohort.csv"), "--image-folder", str(folder / "images"), *WORDS,
        "--models", "logreg", "--site-column", "device", "--out", str(out), "--quiet", *further,
    ]  # fmt: skip


@pytest.mark.slow
def test_the_summary_is_that_of_the_risks_that_lie_beside_it(tmp_path, monkeypatch, undrawn):
    shorten(monkeypatch.setattr, members=3)
    folder = table(write_cohort(tmp_path / "cohort", patients=150))
    assert run_command(words(folder, tmp_path / "out")) == DONE
    study = read_evaluation(tmp_path / "out" / "evaluation.json").sites
    assert (study.column, study.left_out, study.primary) == ("device", True, "logreg")
    frame = pd.read_csv(tmp_path / "out" / SITE_TABLE)
    model, hits, totals, worth = study.models["logreg"], [], [], []
    for name, of in frame.groupby("device"):
        outcome, group = of["outcome"].to_numpy(bool), of["group"].to_numpy()
        assert model.sites[name]["auc_logit"].value == pytest.approx(
            auc_logit(outcome, of["risk"], group=group).value
        )
        (threshold,) = set(of[FROZEN])
        assert model.thresholds[name] == threshold
        right = flagged(of["risk"].to_numpy(), threshold)[outcome]
        hits.append(right.sum())
        totals.append(len(right))
        worth.append(independent_cases(right, np.unique(group[outcome], return_inverse=True)[1]).cases)
    expected = random_effects(*logit_rates(hits, totals, independent=worth), scale="logit")
    summary = model.measures["sensitivity"].summary
    assert summary.prediction.low == pytest.approx(expected.prediction.low)
    assert summary.mean.value == pytest.approx(expected.mean.value)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Other sites, each left out once: " in page.split('<div class="hero">')[0]
    assert "test cases took no part" in page
    assert (tmp_path / "out" / "sites_sensitivity.png").is_file()
    assert run_command(["verify", str(tmp_path / "out")]) == DONE
    settings = json.loads((tmp_path / "out" / "provenance.json").read_text())["settings"]
    assert settings["data"]["site_column"] == "device"


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (lambda patient: "one", "only 'one'"),
        (lambda patient: f"scanner {patient}", "10 of each are needed"),
        (lambda patient: "scanner 0" if patient < 30 else "scanner 1", "expected at least 2 sites"),
    ],
)
def test_a_column_of_no_sites_is_refused_before_anything_is_trained(tmp_path, capsys, device, said):
    folder = table(write_cohort(tmp_path / "cohort", patients=60), device=device)
    assert run_command(words(folder, tmp_path / "out")) == REFUSED
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_site_column_needs_a_table(capsys):
    assert run_command(["run", "--site-column", "device"]) == REFUSED
    assert "--site-column has no effect without --cohort" in capsys.readouterr().err
