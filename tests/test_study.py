"""Studies: what is trained on what, resumed, the same on any number of processes; their scores by hand."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from clineval.cli.main import app
from clineval.cli.options import seed_list
from clineval.data import phantom as phantom_set
from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models import parallel
from clineval.models.classifier import given_model
from clineval.pipeline import study as study_module
from clineval.pipeline.study import (
    check_study,
    claim_folder,
    learning_curve,
    plan,
    run_study,
    score,
    split_variance,
    study,
    summarise,
)
from clineval.pipeline.verify import verify_results
from clineval.settings import (
    DataSettings,
    LogisticSettings,
    NetworkSettings,
    RunSettings,
    StudySettings,
    TrainingSettings,
)

pytestmark = pytest.mark.slow

COHORT = phantom(4, cases=(60, 16, 16))
POOL = COHORT.within("train", "val")
TRAINING = TrainingSettings(
    members=2,
    network=NetworkSettings(epochs=1, batch=16),
    logistic=LogisticSettings(strengths=(1e-2,), folds=3),
)
SETTINGS = StudySettings(models=("logreg", "cnn_single", "cnn"), seeds=(0, 1), folds=2, repeats=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return tmp_path_factory.mktemp("finished")


@pytest.fixture(scope="module")
def risks(finished):
    return study(COHORT, settings=SETTINGS, training=TRAINING, jobs=1, finished=finished)


def test_every_case_of_train_and_val_is_held_out_once_per_model_seed_and_repeat(risks):
    counted = risks.groupby(["model", "seed", "repeat"]).agg(
        cases=("case", "size"), unique=("case", "nunique")
    )
    assert (counted == POOL.sum()).all(axis=None)
    assert set(risks["case"]) == set(COHORT.case[POOL])


def test_a_model_without_chance_is_trained_with_one_seed_only(risks):
    assert risks.groupby("model")["seed"].nunique().to_dict() == {"cnn": 2, "cnn_single": 2, "logreg": 1}


def test_test_images_are_neither_trained_on_nor_scored():
    test = set(np.flatnonzero(COHORT.within("test")))
    for point in plan(COHORT, SETTINGS):
        assert not test & {*point.train, *point.held_out}


def test_no_group_is_trained_on_and_held_out():
    paired = COHORT.with_groups(np.array([f"pair {number // 3}" for number in range(len(COHORT))]))
    for point in plan(paired, SETTINGS):
        assert not set(paired.group[point.train]) & set(paired.group[point.held_out])


def test_the_deduplicated_variant_leaves_out_near_duplicates_of_test_images_only():
    group = COHORT.group.copy()
    first_train, first_test = (
        np.flatnonzero(COHORT.within("train"))[0],
        np.flatnonzero(COHORT.within("test"))[0],
    )
    group[first_train] = group[first_test]
    twinned = COHORT.with_groups(group)
    points = plan(twinned, replace(SETTINGS, variants=("official", "deduplicated"), models=("logreg",)))
    official, deduplicated = ([p for p in points if p.variant == v] for v in ("official", "deduplicated"))
    for with_twin, without in zip(official, deduplicated, strict=True):
        assert set(with_twin.train) - set(without.train) <= {first_train}
        assert first_train not in without.train
        assert np.array_equal(with_twin.held_out, without.held_out)


def test_smaller_fractions_lie_within_larger_ones_at_the_same_prevalence():
    fractions = (0.3, 0.6, 1.0)
    points = plan(COHORT, replace(SETTINGS, fractions=fractions, models=("logreg",)))
    for fold in range(2):
        small, middle, whole = ([*p.train] for p in points if p.fold == fold)
        assert set(small) < set(middle) < set(whole)
        assert len(small) == pytest.approx(0.3 * len(whole), abs=1)
        assert COHORT.outcome[small].mean() == pytest.approx(COHORT.outcome[whole].mean(), abs=0.05)


def test_the_combined_model_is_the_mean_on_the_logit_scale(tmp_path):
    settings = replace(SETTINGS, models=("cnn", "scattering", "combined"), seeds=(0, 1))
    found = study(COHORT, settings=settings, training=TRAINING, jobs=1, finished=tmp_path)
    logit = np.log(found["risk"] / (1 - found["risk"]))
    wide = found.assign(logit=logit).pivot_table(index=["case", "seed"], columns="model", values="logit")
    machine = wide.xs(0, level="seed")["scattering"]
    for seed in (0, 1):
        one = wide.xs(seed, level="seed")
        np.testing.assert_allclose(one["combined"], (one["cnn"] + machine) / 2, atol=1e-9)


def test_with_transfer_the_combined_model_is_two_thirds_transfer_as_in_a_run(monkeypatch):
    logit = {"cnn": -1.0, "scattering": 0.5, "transfer": 2.0}

    def trained(batches, **_):
        for place, (_material, job) in enumerate(batches):
            risk = np.full(len(COHORT), 1 / (1 + np.exp(-logit[job.kind])))
            yield place, parallel.Fitted(None, risk, risk, 1.0)

    monkeypatch.setattr(study_module, "as_finished", trained)
    settings = replace(SETTINGS, models=(*logit, "combined"), seeds=(0, 1))
    found = study(COHORT, settings=settings, training=TRAINING)
    combined = found[found["model"] == "combined"]
    mean = ((-1.0 + 0.5) / 2 + 2 * 2.0) / 3
    np.testing.assert_allclose(combined["risk"], 1 / (1 + np.exp(-mean)), rtol=1e-12)
    assert set(combined["cpu_seconds"]) == {TRAINING.members + 2.0}
    assert {point.parts for point in plan(COHORT, settings) if point.model != "combined"} == {()}


def test_a_finished_study_is_read_back_not_trained_again(risks, finished, monkeypatch):
    monkeypatch.setattr(parallel, "_fit", None)
    again = study(COHORT, settings=SETTINGS, training=TRAINING, jobs=1, finished=finished)
    pd.testing.assert_frame_equal(again, risks)


def test_an_interrupted_study_trains_only_what_is_missing(risks, finished, tmp_path):
    files = sorted(finished.iterdir())
    for path in files[::2]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    calls = []
    again = study(
        COHORT,
        settings=SETTINGS,
        training=TRAINING,
        jobs=1,
        finished=tmp_path,
        progress=lambda *at: calls.append(at),
    )
    assert calls[0][0] == 0
    assert calls[-1] == (len(files), len(files))
    pd.testing.assert_frame_equal(again.drop(columns="cpu_seconds"), risks.drop(columns="cpu_seconds"))


def test_each_point_is_shown_as_soon_as_its_trainings_are_done(finished):
    shown = []
    study(COHORT, settings=SETTINGS, training=TRAINING, jobs=1, finished=finished, watch=shown.append)
    assert len(shown) == len(plan(COHORT, SETTINGS))
    assert all(len(rows.groupby(["model", "fold", "seed"])) == 1 for rows in shown)


def test_strict_early_stopping_watches_an_eighth_of_the_training_part_never_the_held_out_fold(tmp_path):
    strict = replace(TRAINING, early_stopping="strict")
    settings = replace(SETTINGS, models=("cnn_single",), seeds=(0,), folds=2)
    study(COHORT, settings=settings, training=strict, jobs=1, finished=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ("forest",)}, "Models of a study are .*; got forest"),
        ({"models": ("combined",)}, "The model combined is made of cnn and scattering"),
        ({"variants": ("half",)}, "Variants of a study are official, deduplicated"),
        ({"seeds": (1, 1)}, "seeds, each once; got 1, 1"),
        ({"fractions": (0.0, 1.0)}, "above 0 and up to 1"),
        ({"folds": 1}, "at least 2 folds"),
    ],
)
def test_settings_that_make_no_study_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        check_study(replace(SETTINGS, **changes))


@pytest.mark.parametrize("accepts", [False, True])
def test_a_cluster_that_does_not_answer_is_refused_within_its_patience(monkeypatch, accepts):
    pytest.importorskip("distributed")
    monkeypatch.setattr(parallel, "PATIENCE", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if accepts:  # connections are taken and nobody says a word
            taken.listen(8)
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(InputError, match="did not answer within 1 s"):
            study(COHORT, settings=SETTINGS, training=TRAINING, cluster=address)
        assert time.monotonic() - began < 9


def test_a_worker_of_another_version_refuses_the_training():
    expected = {**parallel.worker_versions(), "torch": "1.0"}
    with pytest.raises(InputError, match=r"a worker has torch .* instead of 1\.0"):
        parallel.perform_like(expected, None, None)


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_ends_with_the_same_bytes(risks, tmp_path):
    pytest.importorskip("distributed")
    with scheduler(tmp_path) as (address, start_worker):
        first, _ = start_worker(), start_worker()
        seen = []

        def kill_after_two(done, total):
            if done == 2 and not seen:
                seen.append(done)
                os.kill(first.pid, signal.SIGKILL)

        over_two = study(
            COHORT, settings=SETTINGS, training=TRAINING, cluster=address, progress=kill_after_two
        )
    assert seen == [2]
    pd.testing.assert_frame_equal(over_two.drop(columns="cpu_seconds"), risks.drop(columns="cpu_seconds"))


@pytest.mark.slow
def test_a_cluster_that_loses_its_scheduler_is_named_and_what_was_finished_is_kept(tmp_path):
    pytest.importorskip("distributed")
    finished = tmp_path / "finished"
    with scheduler(tmp_path) as (address, start_worker):
        start_worker()
        own = start_worker.__self__.processes[0]
        with pytest.raises(InputError, match=r"was lost \(.*repeat the command, with or without cluster"):
            study(
                COHORT,
                settings=replace(SETTINGS, models=("logreg",)),  # whose worker loads no torch
                training=TRAINING,
                cluster=address,
                finished=finished,
                progress=lambda done, total: own.kill() if done == 1 else None,
            )
    assert list(finished.iterdir())


MINE = """
import os
import numpy as np
class Model:
    def fit(self, images, outcome):
        self.at = images.mean() + self.seed
    def predict_proba(self, images):
        return 1 / (1 + np.exp((images.mean(axis=(1, 2)) - self.at) / 20))
def make(seed):
    open(os.path.join(os.path.dirname(__file__), "trained"), "a").write("x")
    model = Model()
    model.seed = seed
    return model
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return given_model("mine", f"{tmp_path / 'mine.py'}:make", COHORT, timeout=60)


ALONE = StudySettings(models=(), seeds=(0, 1), folds=2, repeats=1, fractions=(0.5, 1.0))


@pytest.mark.slow
def test_a_model_of_the_users_is_studied_over_seeds_folds_and_fractions_and_read_back(mine, tmp_path):
    known = {"settings": ALONE, "training": TRAINING, "given": (mine,), "finished": tmp_path / "finished"}
    first = study(COHORT, jobs=2, **known)
    counted = first.groupby(["model", "seed", "fraction"])["case"].nunique()
    assert counted.to_dict() == {("mine", seed, part): POOL.sum() for seed in (0, 1) for part in (0.5, 1.0)}
    assert len((tmp_path / "trained").read_text()) == 8
    pd.testing.assert_frame_equal(study(COHORT, jobs=1, **known), first)
    assert len((tmp_path / "trained").read_text()) == 8


@pytest.mark.slow
def test_a_cluster_studies_a_model_of_the_users_and_names_what_it_does_wrong(mine, tmp_path):
    pytest.importorskip("distributed")
    with scheduler(tmp_path) as (address, start_worker):
        start_worker()
        over_it = study(COHORT, settings=ALONE, training=TRAINING, given=(mine,), cluster=address)
        here = study(COHORT, settings=ALONE, training=TRAINING, given=(mine,), jobs=1)
        pd.testing.assert_frame_equal(over_it.drop(columns="cpu_seconds"), here.drop(columns="cpu_seconds"))
        (tmp_path / "mine.py").write_text("")
        with pytest.raises(InputError, match=r"Model mine, loading: mine\.py was changed while it was used"):
            study(COHORT, settings=ALONE, training=TRAINING, given=(mine,), cluster=address)


def test_a_study_refuses_a_model_that_learns_nothing_or_has_a_taken_name(mine):
    taken = replace(mine, about=replace(mine.about, name="cnn_single"))
    for model in (replace(mine, kind="onnx"), taken):
        with pytest.raises(InputError, match="expects models that it can train, under names other than"):
            check_study(ALONE, {model.name: model})


@pytest.mark.slow
def test_the_command_studies_a_model_and_refuses_to_go_on_with_another_file(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_set, "phantom", lambda seed, reason: COHORT)
    (tmp_path / "mine.py").write_text(MINE)
    words = ["study", "--dataset", "phantom", "--only", "--model", f"mine={tmp_path / 'mine.py'}:make"]
    words += ["--folds", "2", "--repeats", "1", "--jobs", "1", "--out", str(tmp_path / "study")]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert set(pd.read_csv(tmp_path / "study" / "study_summary.csv")["model"]) == {"mine"}
    record = json.loads((tmp_path / "study" / "provenance.json").read_text())
    assert record["settings"]["study"]["given"][0]["file"] == "mine.py"
    (tmp_path / "mine.py").write_text(MINE + "# changed")
    again = CliRunner().invoke(app, words)
    assert "holds a study of other settings: study.given was" in str(again.exception)


class scheduler:
    """A Dask scheduler on loopback, with a way to start workers; all end with the block."""

    def __init__(self, folder):
        self.file, self.processes = folder / "scheduler.json", []

    def __enter__(self):
        quiet = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self._start("distributed.cli.dask_scheduler", *quiet, "--scheduler-file", str(self.file))
        deadline = time.monotonic() + 60
        while not self.file.is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.2)
        self.address = json.loads(self.file.read_text())["address"]
        return self.address, self._start_worker

    def _start_worker(self):
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        return self._start("distributed.cli.dask_worker", self.address, *options)

    def _start(self, module, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.file.parent,
        )
        self.processes.append(process)
        return process

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


ABOUT = {"model": "cnn", "variant": "official", "fraction": 1.0, "repeat": 0, "fold": 0, "seed": 0}
PLAN = StudySettings(models=("logreg", "cnn_single"), seeds=(0, 1), folds=3, repeats=1, fractions=(0.5, 1.0))
QUICK = RunSettings(
    data=DataSettings(dataset="phantom"),
    training=TrainingSettings(
        members=2,
        network=NetworkSettings(epochs=1),
        logistic=LogisticSettings(strengths=(1e-3,), folds=2),
    ),
)


def held_out_rows(outcome, risk, **changes):
    """The held-out rows of one training, every case a group of its own."""
    cases = [f"train/{number}" for number in range(len(risk))]
    held_out = {"case": cases, "group": cases, "outcome": outcome, "risk": risk}
    return pd.DataFrame({**ABOUT, **changes, **held_out, "trained_on": 100, "cpu_seconds": 2.0})


def scores(values, **columns):
    """Scores with these AUCs and the columns given; the rest as ``ABOUT`` has it."""
    fixed = {"trained_on": 100, "auc_error": 0.0, "brier": 0.1, "log_loss": 0.4, "cpu_seconds": 2.0}
    return pd.DataFrame({**ABOUT, **fixed, **columns, "auc": values})


def test_a_training_is_scored_on_its_held_out_cases():
    row = score(held_out_rows([1, 0, 1, 0], [0.9, 0.2, 0.4, 0.6])).iloc[0]
    assert row["auc"] == 0.75
    assert row["brier"] == pytest.approx((0.01 + 0.04 + 0.36 + 0.36) / 4)
    assert row["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.4]).mean())
    assert (row["cases"], row["events"], row["trained_on"], row["cpu_seconds"]) == (4, 2, 100, 2.0)


def test_trainings_are_scored_apart():
    both = pd.concat([held_out_rows([1, 0], [0.9, 0.1]), held_out_rows([1, 0], [0.1, 0.9], fold=1)])
    assert list(score(both)["auc"]) == [1.0, 0.0]


def test_the_spread_of_a_summary_is_that_of_whole_cross_validations():
    table = scores([0.8, 0.9, 0.7, 0.8], repeat=[0, 0, 1, 1], fold=[0, 1, 0, 1])
    row = summarise(table).iloc[0]
    assert row["auc"] == pytest.approx(0.8)
    assert row["auc_sd"] == pytest.approx(np.std([0.85, 0.75], ddof=1))
    assert row["cross_validations"] == 2


def test_one_cross_validation_has_no_spread():
    assert np.isnan(summarise(scores([0.8, 0.9], fold=[0, 1])).iloc[0]["auc_sd"])


def test_variance_is_given_to_seeds_folds_and_repeats():
    table = scores(
        [0.80, 0.82, 0.90, 0.92, 0.70, 0.72, 0.80, 0.82],
        repeat=[0] * 4 + [1] * 4,
        fold=[0, 0, 1, 1] * 2,
        seed=[0, 1] * 4,
    )
    row = split_variance(table).iloc[0]
    assert row["seeds"] == pytest.approx(np.std([0.80, 0.82], ddof=1))
    assert row["folds"] == pytest.approx(np.std([0.81, 0.91], ddof=1))
    assert row["repeats"] == pytest.approx(np.std([0.86, 0.76], ddof=1))
    assert row["cases"] == 0


def test_folds_that_differ_less_than_sampling_explains_add_nothing():
    row = split_variance(scores([0.80, 0.81], fold=[0, 1], auc_error=0.05)).iloc[0]
    assert row["cases"] == pytest.approx(0.05)
    assert row["folds"] == 0
    assert np.isnan(row["seeds"])


def test_a_learning_curve_on_its_line_extrapolates_along_it():
    cases = np.array([100.0, 200.0, 400.0])
    table = pd.concat(
        scores([0.95 - 1.5 / np.sqrt(n)] * 4, fold=range(4), fraction=n / 400, trained_on=n) for n in cases
    )
    curve = learning_curve(table)
    assert list(curve["kind"]) == ["measured"] * 3 + ["extrapolated"]
    beyond = curve.iloc[-1]
    assert beyond["trained_on"] == 800
    assert beyond[["auc", "low", "high"]].to_list() == pytest.approx([0.95 - 1.5 / np.sqrt(800)] * 3)


def test_two_fractions_are_too_few_to_extrapolate():
    table = pd.concat(scores([0.8, 0.9], fold=[0, 1], fraction=f, trained_on=f * 100) for f in (0.5, 1.0))
    assert set(learning_curve(table)["kind"]) == {"measured"}


def test_a_study_folder_of_other_settings_is_refused_and_says_which_differ(tmp_path):
    claim_folder(tmp_path / "study", {"study": {"folds": 5}, "seeds": (0, 1)})
    claim_folder(tmp_path / "study", {"study": {"folds": 5}, "seeds": (0, 1)})
    with pytest.raises(InputError, match=r"other settings: study\.folds was 5, is now 3\. Use those"):
        claim_folder(tmp_path / "study", {"study": {"folds": 3}, "seeds": (0, 1)})


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="is not empty and holds no study"):
        claim_folder(tmp_path, {})


@pytest.mark.parametrize("changes", [{"folds": 1}, {"folds": 40}, {"variants": ("half",)}])
def test_a_study_that_is_refused_leaves_no_folder(tmp_path, monkeypatch, changes):
    monkeypatch.setattr("clineval.pipeline.study.load", small_phantom)
    with pytest.raises(InputError):
        run_study(QUICK, replace(PLAN, **changes), out=tmp_path / "study", jobs=1)
    assert not (tmp_path / "study").exists()


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory):
    folder, shown = tmp_path_factory.mktemp("studies") / "study", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clineval.pipeline.study.load", small_phantom)
        return run_study(QUICK, PLAN, out=folder, jobs=1, show=shown.append), shown


def small_phantom(settings, **_named):
    from clineval.data.phantom import phantom

    return phantom(6, cases=(60, 16, 16))


def test_a_study_leaves_its_tables_figures_and_trainings(finished_study):
    study, _ = finished_study
    assert {path.name for path in study.folder.iterdir()} == {
        "provenance.json",
        "ro-crate-metadata.json",
        "study.json",
        "study_risks.parquet",
        "trainings",
        *(f"study_{name}.csv" for name in ("scores", "summary", "variance", "curve")),
        *(f"study_{name}.png" for name in ("spread", "variance", "learning_curve")),
    }
    assert len(study.scores) == 3 * 2 * (1 + 2)


def test_the_summary_so_far_is_shown_after_every_training(finished_study):
    study, shown = finished_study
    assert len(shown) == len(study.scores)
    pd.testing.assert_frame_equal(
        shown[-1].sort_values(["model", "fraction"], ignore_index=True).drop(columns="cpu_seconds"),
        study.summary.sort_values(["model", "fraction"], ignore_index=True).drop(columns="cpu_seconds"),
    )


def test_the_same_study_again_gives_the_same_bytes_without_training(finished_study, monkeypatch):
    from clineval.models import parallel

    study, _ = finished_study
    before = {path.name: path.read_bytes() for path in study.folder.glob("study*")}
    monkeypatch.setattr(parallel, "_fit", None)
    monkeypatch.setattr("clineval.pipeline.study.load", small_phantom)
    run_study(QUICK, PLAN, out=study.folder, jobs=1)
    assert {path.name: path.read_bytes() for path in study.folder.glob("study*")} == before


def test_a_folder_of_another_study_is_refused_before_anything_is_trained(finished_study, monkeypatch):
    study, _ = finished_study
    monkeypatch.setattr("clineval.pipeline.study.load", small_phantom)
    with pytest.raises(InputError, match=r"study\.repeats was 1, is now 4"):
        run_study(QUICK, replace(PLAN, repeats=4), out=study.folder, jobs=1)


def test_the_figures_draw_the_numbers_of_the_tables(finished_study):
    from matplotlib.figure import Figure

    from clineval.reporting.plots import draw_learning_curve, draw_spread, draw_variance

    study, _ = finished_study
    spread, variance, curve = Figure().subplots(1, 3)
    draw_spread(study.scores, spread)
    means = study.scores.groupby("model", sort=False)["auc"].mean()
    assert [text.get_text() for text in spread.texts] == [f"{mean:.3f}" for mean in means]
    draw_variance(study.variance, variance)
    assert {f"{bar.get_width():.9f}" for bar in variance.patches} >= {
        f"{value:.9f}" for value in study.variance["cases"]
    }
    draw_learning_curve(study.curve, curve)
    logreg = study.curve[study.curve["model"] == "logreg"]
    assert np.array_equal(curve.lines[0].get_ydata(), logreg["auc"])


def test_a_study_verifies_and_names_a_changed_table(finished_study, tmp_path):
    folder = shutil.copytree(finished_study[0].folder, tmp_path / "study")
    assert verify_results(folder).differences == ()
    (folder / "study_scores.csv").write_text("auc\n1.0\n")
    assert verify_results(folder).differences == (
        "study_scores.csv: its content differs from what the run wrote",
    )


def test_seeds_are_numbers_and_ranges_of_them():
    assert seed_list("3, 0-2,7-7", "--seeds") == (3, 0, 1, 2, 7)
    assert seed_list("", "--seeds") == ()


@pytest.mark.parametrize("text", ["a", "1-", "-1", "0-9-2", "1.5", "0–9"])
def test_what_are_no_seeds_is_refused(text):
    with pytest.raises(InputError, match=r"--seeds expects whole numbers or ranges as 0-9"):
        seed_list(text, "--seeds")


@pytest.mark.parametrize("text", ["9-0", "0-10000000000"])
def test_ranges_that_are_empty_or_giant_are_refused(text):
    with pytest.raises(InputError, match="ranges upwards of at most 10,000 seeds"):
        seed_list(text, "--seeds")
