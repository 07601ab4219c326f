"""A repeated run: what is compared, within what, and what cannot be repeated."""

import hashlib
import json
import runpy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from clineval import results
from clineval.data.phantom import phantom
from clineval.errors import InputError, on_command_line, silent
from clineval.models.classifier import given_model
from clineval.pipeline import retrain
from clineval.pipeline.retrain import MEMBER_TOLERANCE, NETWORK_TOLERANCE, TOLERANCE, repeat_run, settings_of
from clineval.pipeline.run import OwnImages
from clineval.settings import DataSettings, GivenModel, OwnSettings, RunSettings, TrainingSettings

SETTINGS = RunSettings(data=DataSettings(dataset="phantom"), training=TrainingSettings(seed=4, seeds=(1, 2)))


RECORDS = {
    "logreg": {"training": {"kind": "logreg"}},
    "cnn": {"training": {"kind": "cnn"}},
    "combined": {"mean_logit_of": ["cnn", "logreg"]},
}


def table(shift=0.0, *, model="logreg", case="test/3"):
    rows = [
        {"model": each, "split": split, "case": f"{split}/{k}", "outcome": k % 2, "risk": 0.3 + k / 100}
        for each in RECORDS
        for split in ("val", "test", "train_out_of_fold")
        for k in range(10)
    ]
    frame = pd.DataFrame(rows)
    frame.loc[(frame["model"] == model) & (frame["case"] == case), "risk"] += shift
    return frame


def write_run(folder, *, kind="run", source=(), shift=0.0, settings=SETTINGS):
    folder.mkdir(exist_ok=True)
    table(shift).to_csv(folder / "predictions.csv", index=False)
    (folder / "audit.json").write_text("{}")
    (folder / "models").mkdir()
    (folder / "models" / "models.json").write_text(json.dumps(RECORDS))
    record = results.describe(
        kind=kind,
        command=("clineval", kind),
        settings=asdict(settings),
        source={"dataset": "phantom", "title": "Phantoms", "sha256": "a", "condition": "ill", **dict(source)},
        recorder=results.Recorder(),
    )
    results.seal(folder, record)
    return folder


@pytest.fixture
def repeated(tmp_path, monkeypatch):
    """``repeat_run`` with a training that gives the same table, one risk of it moved by ``shift``."""
    folder = write_run(tmp_path / "results")

    def with_shift(shift, *, model="logreg", case="test/3", frame=None):
        def train(_folder, record, settings, place, **_named):
            moved = table(shift, model=model, case=case) if frame is None else frame
            moved.to_csv(place / "predictions.csv", index=False)
            (place / "models").mkdir()
            (place / "models" / "models.json").write_text(json.dumps(RECORDS))
            (place / "audit.json").write_text("{}" if not shift else "{ }")

        monkeypatch.setattr(retrain, "_repeat", train)
        return repeat_run(folder, announce=lambda step: lambda done, total: None)

    return with_shift


def test_the_same_bytes_are_said_to_be_the_same(repeated):
    verdict = repeated(0.0)
    assert verdict.differences == ()
    assert verdict.notes == ("retrained: 3 files have the same bytes, predictions.csv among them",)


def test_on_the_same_machine_the_last_digit_counts(repeated):
    audit, predictions = repeated(1e-11).differences
    assert audit == "audit.json: retraining gives other bytes"
    assert predictions.startswith("predictions.csv: retraining gives other bytes; the largest difference")
    assert "1e-11 for logreg (of test/3; " in predictions


@pytest.fixture
def elsewhere(monkeypatch):
    monkeypatch.setattr(retrain, "environment_differences", lambda record: ["torch (1 then, 2 now)"])


@pytest.mark.parametrize(
    ("model", "shift"),
    [("logreg", TOLERANCE / 2), ("cnn", NETWORK_TOLERANCE * 9), ("combined", NETWORK_TOLERANCE * 9)],
)
@pytest.mark.usefixtures("elsewhere")
def test_on_another_machine_the_stated_tolerance_counts_and_it_says_so(repeated, model, shift):
    verdict = repeated(shift, model=model)  # one case of ten moved: the mean moves a tenth as far
    assert verdict.differences == ()
    assert "within what another machine may do" in verdict.notes[0]
    assert f"for {model} (of test/3" in verdict.notes[0]
    assert "torch (1 then, 2 now)" in verdict.notes[1]


@pytest.mark.usefixtures("elsewhere")
def test_single_networks_out_of_fold_may_differ_more(repeated):
    case = "train_out_of_fold/3"
    assert repeated(MEMBER_TOLERANCE * 9, model="cnn", case=case).differences == ()


@pytest.mark.parametrize(
    ("model", "case", "shift"),
    [
        ("logreg", "test/3", TOLERANCE * 2),
        ("cnn", "test/3", NETWORK_TOLERANCE * 11),
        ("cnn", "train_out_of_fold/3", MEMBER_TOLERANCE * 11),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_beyond_the_tolerance_no_machine_is_an_excuse(repeated, model, case, shift):
    verdict = repeated(shift, model=model, case=case)
    assert [line.split(":")[0] for line in verdict.differences] == ["audit.json", "predictions.csv"]
    assert "torch (1 then, 2 now)" in verdict.notes[0]


@pytest.mark.usefixtures("elsewhere")
def test_other_cases_differ_on_any_machine(repeated):
    (line,) = repeated(0.0, frame=table().iloc[1:]).differences
    assert line == "predictions.csv: retraining gives other bytes; other models or cases"


def test_another_program_is_named_where_the_bytes_differ(repeated, monkeypatch):
    monkeypatch.setattr(results, "commit", lambda: {"hash": "f" * 40, "clean": False})
    (note,) = repeated(1e-11).notes
    assert note.endswith(f"commit {'f' * 12} with changes now)")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("evaluate", "verify without --retrain recomputes them all"),
        ("validate", "verify --retrain the run whose models it applied"),
        ("study", "the same clineval study with another --out repeats them"),
        ("audit", "it trained nothing"),
        ("explore", "it trained nothing"),
        ("dream", "this version does not know how"),
    ],
)
def test_what_trained_nothing_says_what_can_be_repeated_instead(tmp_path, kind, words):
    folder = write_run(tmp_path / "results", kind=kind)
    with pytest.raises(InputError, match=words):
        repeat_run(folder, announce=None)


def test_a_run_on_own_images_asks_for_them(tmp_path):
    folder = write_run(tmp_path / "results", source={"dataset": "own", "file": "cohort.csv"})
    with pytest.raises(InputError, match=r"table cohort\.csv, which no results folder holds.*own=OwnImages"):
        repeat_run(folder, announce=None)
    with on_command_line(), pytest.raises(InputError, match="with --cohort TABLE and --image-folder FOLDER"):
        repeat_run(folder, announce=None)


def test_own_images_are_not_taken_for_a_data_set(tmp_path):
    folder = write_run(tmp_path / "results")
    with pytest.raises(InputError, match="made from Phantoms; leave out own"):
        repeat_run(folder, own=OwnImages(tmp_path / "x.csv"), announce=None)


def test_settings_come_back_from_their_record_as_they_were():
    settings = RunSettings(
        data=DataSettings(dataset="auto", own=OwnSettings(group_column="patient")),
        training=TrainingSettings(seed=4, seeds=(1, 2)),
    )
    record = {"settings": json.loads(json.dumps(asdict(settings))), "data": {"dataset": "own"}}
    found = settings_of(record)
    assert found.data == DataSettings(dataset="own", own=OwnSettings(group_column="patient"))
    assert (found.training, found.evaluation, found.audit) == (
        settings.training,
        settings.evaluation,
        settings.audit,
    )


def test_settings_that_an_older_record_lacks_are_as_by_default():
    record = {"settings": {"training": {"seed": 7}}, "data": {"dataset": "phantom"}}
    assert settings_of(record) == RunSettings(
        data=DataSettings(dataset="phantom"), training=TrainingSettings(seed=7)
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"magic": 1}, "settings has .'magic'., which RunSettings does not know"),
        ({"training": 3}, "settings.training is 3, which is not of the kind"),
        ({"training": {"network": {"epochs": "many"}}}, "settings.training.network.epochs is 'many'"),
        ({"training": {"seed": None}}, "settings.training.seed is None"),
        ({"data": {"own": {"bits": []}}}, "settings.data.own.bits is"),
    ],
)
def test_settings_of_another_form_are_refused_by_their_name(settings, words):
    with pytest.raises(InputError, match=words):
        settings_of({"settings": settings, "data": {"dataset": "phantom"}})


def test_gaps_are_found_whatever_the_order_of_rows(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    table().to_csv(tmp_path / "a" / "predictions.csv", index=False)
    table(0.25).sample(frac=1, random_state=0).to_csv(tmp_path / "b" / "predictions.csv", index=False)
    gaps = {gap.model: gap for gap in retrain._gaps(tmp_path / "a", tmp_path / "b")}
    assert gaps["logreg"].case == "test/3"
    np.testing.assert_allclose([gaps["logreg"].largest, gaps["logreg"].mean], [0.25, 0.025])
    assert (gaps["cnn"].largest, gaps["combined"].mean) == (0, 0)


def test_models_of_the_users_are_asked_for_and_others_in_their_place_are_named(tmp_path, monkeypatch):
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "onnx_file.py"))
    onnx.save(example["graph"](), tmp_path / "blob.onnx")
    (tmp_path / "blob.json").write_text(json.dumps(example["READING"]))
    cohort = phantom(1, cases=(16, 8, 8))
    own = replace(SETTINGS.training, given=(GivenModel("blob", "blob.onnx", "0" * 64),))
    folder = write_run(
        tmp_path / "results",
        settings=replace(SETTINGS, training=own),
        source={"sha256": cohort.source.sha256},
    )
    monkeypatch.setattr(retrain, "load", lambda *given, **named: cohort)
    with pytest.raises(InputError, match=r"again: models\['blob'\] = 'blob\.onnx' \(SHA-256 0{12}\)"):
        repeat_run(folder, announce=silent)
    with on_command_line(), pytest.raises(InputError, match=r"again: --model blob=blob\.onnx \(SHA-256 0"):
        repeat_run(folder, announce=silent)
    models = {"blob": str(tmp_path / "blob.onnx"), "mine": "mine.py:make"}
    with pytest.raises(InputError, match=r"models\['mine'\]: .* was made without a model of that name"):
        repeat_run(folder, models=models, announce=silent)
    del models["mine"]
    (line,) = repeat_run(folder, models=models, announce=silent).differences
    assert line.startswith(
        "it was models['blob'] = 'blob.onnx' (SHA-256 000000000000), now it is models['blob'] = 'blob"
    )
    assert line.endswith("; nothing was trained")


def test_modules_that_a_model_of_the_users_no_longer_finds_as_they_were_are_named(tmp_path, monkeypatch):
    cohort = phantom(1, cases=(16, 8, 8))
    for name in ("mine.py", "same.py", "other.py", "unknown.py"):
        (tmp_path / name).write_text("")
    given = given_model("mine", f"{tmp_path / 'mine.py'}:make", cohort, timeout=9)
    folder = write_run(
        tmp_path / "results",
        settings=replace(SETTINGS, training=replace(SETTINGS.training, given=(given.about,))),
        source={"sha256": cohort.source.sha256},
    )
    empty = hashlib.sha256(b"").hexdigest()
    imports = {"same": empty, "other": "0" * 64, "unknown": "", "absent": empty, "../odd\0": empty}
    (folder / "models").mkdir(exist_ok=True)
    record = {"mine": {"training": {"imports": imports}}}
    (folder / "models" / "models.json").write_text(json.dumps(record))
    monkeypatch.setattr(retrain, "load", lambda *given, **named: cohort)
    models = {"mine": f"{tmp_path / 'mine.py'}:make"}
    (line,) = repeat_run(folder, models=models, announce=silent).differences
    said = "modules of mine changed, or were not recorded (other; unknown; absent; ../odd\0)"
    assert line == f"{said}; nothing was trained"
