"""The models of a run: strictly separated splits, out-of-fold risks, the same bytes however they are run."""

import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.models import parallel
from clineval.models.classifier import KINDS, read_model, risk_of
from clineval.models.ensemble import train_cohorts, train_models
from clineval.models.preprocessing import View
from clineval.models.stored import write_model
from clineval.settings import LogisticSettings, NetworkSettings, TrainingSettings

COHORT = phantom(3, cases=(60, 16, 16))
SETTINGS = TrainingSettings(
    members=3,
    network=NetworkSettings(epochs=2, batch=32),
    logistic=LogisticSettings(strengths=(1e-3, 1e-2), folds=3),
)
NAMES = TrainingSettings.models
TRAIN = COHORT.within("train")


@pytest.fixture(scope="module")
def models():
    return dict(zip(NAMES, train_models(COHORT, settings=SETTINGS, names=NAMES, jobs=1), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_every_case_has_a_risk_between_0_and_1(models, name):
    risk = models[name].risk
    assert risk.shape == (len(COHORT),)
    assert risk.dtype == np.float64
    assert ((risk > 0) & (risk < 1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_out_of_fold_risks_are_those_of_training_cases_only(models, name):
    assert np.array_equal(np.isfinite(models[name].out_of_fold), TRAIN)
    assert not np.array_equal(models[name].out_of_fold[TRAIN], models[name].risk[TRAIN])


def test_the_ensemble_is_the_mean_of_its_members(models):
    members = models["cnn"].members
    assert len(members) == 3 * len(COHORT)
    mean = members.groupby("case", sort=False)["risk"].mean().loc[COHORT.case]
    np.testing.assert_allclose(models["cnn"].risk, mean, atol=1e-12)


def test_each_training_case_is_left_out_by_one_member_whose_risk_is_its_out_of_fold_risk(models):
    members = models["cnn"].members
    left_out = members[members["split"] == "train_out_of_fold"].set_index("case")["risk"]
    assert sorted(left_out.index) == sorted(COHORT.case[TRAIN])
    assert np.array_equal(left_out.loc[COHORT.case[TRAIN]], models["cnn"].out_of_fold[TRAIN])


@pytest.mark.slow
def test_members_of_several_repeats_each_leave_every_case_out_once():
    twice = replace(SETTINGS, repeats=2, network=NetworkSettings(epochs=1, batch=64))
    (model,) = train_models(COHORT, settings=twice, names=["cnn"], jobs=1)
    left_out = model.members[model.members["split"] == "train_out_of_fold"]
    assert sorted(left_out["fold"].unique()) == [0, 1, 2, 3, 4, 5]
    assert (left_out.groupby("case").size() == 2).all()


def test_cases_of_one_group_are_left_out_together():
    paired = COHORT.with_groups(np.array([f"pair {number // 2}" for number in range(len(COHORT))]))
    (model,) = train_models(paired, settings=SETTINGS, names=["cnn"], jobs=1)
    left_out = model.members[model.members["split"] == "train_out_of_fold"]
    assert (left_out.groupby("group")["fold"].nunique() == 1).all()


@pytest.mark.slow
def test_outcomes_of_the_test_split_change_nothing(models):
    flipped = replace(COHORT, outcome=np.where(COHORT.within("test"), ~COHORT.outcome, COHORT.outcome))
    again = train_models(flipped, settings=SETTINGS, names=NAMES, jobs=1)
    for model in again:
        assert np.array_equal(model.risk, models[model.kind].risk)


@pytest.mark.slow
def test_outcomes_of_the_validation_split_change_no_risk_while_the_guard_is_silent(models):
    val = np.flatnonzero(COHORT.within("val"))
    outcome = COHORT.outcome.copy()
    outcome[val] = np.roll(outcome[val], 1)
    for model in train_models(replace(COHORT, outcome=outcome), settings=SETTINGS, names=NAMES, jobs=1):
        assert np.array_equal(model.risk, models[model.kind].risk)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_back_gives_every_risk_of_training_to_the_last_bit(models, name, tmp_path):
    write_model(models[name].stored, tmp_path, name)
    read = read_model(tmp_path, name)
    assert read.image == (28, 28)
    assert np.array_equal(risk_of(read.classifier, View(COHORT.images)), models[name].risk)
    assert np.array_equal(risk_of(read.classifier, View(COHORT.images[[7]])), models[name].risk[[7]])


def test_out_of_fold_risks_are_those_of_the_stored_members(models):
    members, model = models["cnn"].members, models["cnn"].stored
    networks = KINDS["cnn"].read(model.record, model.arrays).members
    for network, (_, rows) in zip(networks, members.groupby("fold"), strict=True):
        assert np.array_equal(network.risk(View(COHORT.images)), rows["risk"].to_numpy())


@pytest.mark.slow
def test_several_cohorts_are_trained_together_as_apart(models):
    fewer = COHORT.select(~COHORT.within("test"))
    first, second = train_cohorts(
        [(COHORT, ("scattering",)), (fewer, ("logreg", "scattering"))], settings=SETTINGS, jobs=1
    )
    assert [[model.kind for model in one] for one in (first, second)] == [
        ["scattering"],
        ["logreg", "scattering"],
    ]
    assert np.array_equal(first[0].risk, models["scattering"].risk)
    assert np.array_equal(second[0].risk, models["logreg"].risk[~COHORT.within("test")])


def test_a_model_may_be_stored_under_another_name(models, tmp_path):
    write_model(models["logreg"].stored, tmp_path, "logreg_deduplicated")
    read = read_model(tmp_path, "logreg_deduplicated")
    assert np.array_equal(risk_of(read.classifier, View(COHORT.images)), models["logreg"].risk)


def test_finished_trainings_are_reused(models, tmp_path, monkeypatch):
    train_models(COHORT, settings=SETTINGS, names=["cnn"], jobs=1, finished=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(parallel, "_fit", None)
    (again,) = train_models(COHORT, settings=SETTINGS, names=["cnn"], jobs=1, finished=tmp_path)
    assert np.array_equal(again.risk, models["cnn"].risk)
    assert again.stored.record == models["cnn"].stored.record
    assert again.curves == models["cnn"].curves


@pytest.mark.slow
def test_only_the_missing_and_the_damaged_are_trained_again(models, tmp_path):
    done = []
    train_models(COHORT, settings=SETTINGS, names=["cnn"], jobs=1, finished=tmp_path)
    first, second, third = sorted(tmp_path.iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:100])
    kept = third.stat().st_mtime_ns
    (again,) = train_models(
        COHORT,
        settings=SETTINGS,
        names=["cnn"],
        jobs=1,
        finished=tmp_path,
        progress=lambda *at: done.append(at),
    )
    assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert third.stat().st_mtime_ns == kept
    assert np.array_equal(again.risk, models["cnn"].risk)


def test_other_settings_do_not_reuse_a_finished_training(tmp_path):
    train_models(COHORT, settings=SETTINGS, names=["scattering"], jobs=1, finished=tmp_path)
    other = replace(SETTINGS, scattering=replace(SETTINGS.scattering, penalty=1.0))
    train_models(COHORT, settings=other, names=["scattering"], jobs=1, finished=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_fills_up_keeps_what_was_saved(tmp_path, monkeypatch):
    saved = []

    def nearly_full(handle):
        if stat.S_ISREG(os.fstat(handle).st_mode):  # folders are synced too
            saved.append(handle)
        if len(saved) > 1:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", nearly_full)
        with pytest.raises(InputError, match=r"the disk is full.* with resume=True reuses the trainings"):
            train_models(COHORT, settings=SETTINGS, names=["cnn"], jobs=1, finished=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_training_leaves_torchs_settings_as_they_were():
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    train_models(COHORT, settings=SETTINGS, names=["logreg"], jobs=1)
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == strict


def train_cases(outcome, split):
    """The first cases of the phantom set with these outcomes and splits."""
    few = COHORT.select(np.arange(len(outcome)))
    return replace(few, outcome=np.array(outcome), split=np.array(split))


@pytest.mark.parametrize(("value", "said"), [(True, "all with it"), (False, "all without it")])
def test_a_training_split_of_one_class_is_refused(value, said):
    outcome = np.where(TRAIN, value, COHORT.outcome)
    with pytest.raises(InputError, match=f"its 60 cases are {said}"):
        train_models(replace(COHORT, outcome=outcome), settings=SETTINGS, jobs=1)


def test_five_training_cases_are_refused():
    few = train_cases([True, False, True, False, False, True, False], ["train"] * 5 + ["val"] * 2)
    with pytest.raises(InputError, match=r"at least 3 independent groups .* has 2 and 3"):
        train_models(few, settings=SETTINGS, jobs=1)


@pytest.mark.parametrize("name", NAMES)
def test_constant_images_are_refused(name):
    blank = replace(COHORT, images=np.full_like(COHORT.images, 77))
    with pytest.raises(InputError, match="constant"):
        train_models(blank, settings=SETTINGS, names=[name], jobs=1)


def test_a_validation_split_without_events_is_refused():
    outcome = COHORT.outcome & ~COHORT.within("val")
    with pytest.raises(InputError, match="none of the 16 is with it"):
        train_models(replace(COHORT, outcome=outcome), settings=SETTINGS, jobs=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (1, 2, 1)}, "Each member needs a seed of its own; 1 was given more than once"),
        ({"seeds": (1, 2)}, "One seed per member is needed: 3; got 2"),
        ({"members": 1}, "At least 2 members"),
        ({"device": "abacus"}, "The device must be one of cpu, cuda, mps; got 'abacus'"),
        ({"early_stopping": "never"}, "guard, strict, off; got 'never'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        train_models(COHORT, settings=replace(SETTINGS, **changes), jobs=1)


def test_a_validation_split_is_needed_only_where_something_watches_it():
    without = COHORT.select(~COHORT.within("val"))
    with pytest.raises(InputError, match="needs a validation split to watch; there is none"):
        train_models(without, settings=SETTINGS, names=["cnn"], jobs=1)
    train_models(without, settings=SETTINGS, names=["scattering"], jobs=1)


def test_a_device_that_is_not_there_is_refused():
    import torch

    absent = "cuda" if not torch.cuda.is_available() else "mps"
    with pytest.raises(InputError, match=f"This machine has no {absent} device"):
        train_models(COHORT, settings=replace(SETTINGS, device=absent), jobs=1)


def test_unknown_and_repeated_models_are_refused():
    for names in (["forest"], ["cnn", "cnn"]):
        with pytest.raises(InputError, match=r"Models to train are logreg, .*, transfer, each once"):
            train_models(COHORT, settings=SETTINGS, names=names, jobs=1)


def test_fewer_than_one_training_at_once_is_refused():
    with pytest.raises(InputError, match="jobs needs a number of at least 1; got 0"):
        train_models(COHORT, settings=SETTINGS, jobs=0)


SCRIPT = """
import sys
from clineval.data.phantom import phantom
from clineval.models.ensemble import train_models
from clineval.settings import LogisticSettings, NetworkSettings, TrainingSettings

network = NetworkSettings(epochs=int(sys.argv[2]), batch=32)
settings = TrainingSettings(members=3, network=network, logistic=LogisticSettings((1e-3, 1e-2), folds=3))
tell = (lambda done, total: print(done, file=sys.stderr, flush=True)) if "tell" in sys.argv else None
cohort = phantom(3, cases=(60, 16, 16))
for model in train_models(cohort, settings=settings, jobs=int(sys.argv[1]), progress=tell):
    print(model.kind, model.risk.tobytes().hex(), model.out_of_fold.tobytes().hex())
"""


@pytest.mark.slow
def test_processes_and_thread_variables_change_no_byte(models):
    four = {f"{library}_NUM_THREADS": "4" for library in ("OMP", "MKL", "OPENBLAS")}
    words = [sys.executable, "-c", SCRIPT, "2", "2"]
    done = subprocess.run(words, env={**os.environ, **four}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    risks = (
        (name, model.risk.tobytes().hex(), model.out_of_fold.tobytes().hex())
        for name, model in models.items()
    )
    assert done.stdout.splitlines() == [" ".join(each) for each in risks]


@pytest.mark.slow
def test_ctrl_c_ends_the_run_and_its_workers():
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "2", "2000", "tell"], stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        while run.stderr.readline() not in (b"1\n", b""):
            pass  # until the first training is finished, and others are at work
        assert len(in_session(run.pid)) >= 3
        os.kill(run.pid, signal.SIGINT)
        run.communicate(timeout=20)
        assert run.returncode != 0
        deadline = time.monotonic() + 10
        while in_session(run.pid) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert in_session(run.pid) == []
    finally:
        for process in in_session(run.pid):
            os.kill(process, signal.SIGKILL)


def in_session(leader):
    """Processes of one session that have not ended, by /proc."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc to see whether the workers have ended")
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(name))
    return found
