"""A model in an ONNX file without a run: validate and predict take it, and say what only a run would give."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from broken_graphs import claiming, custom, endless, external, two_outputs
from finished_run import WORDS, write_cohort
from onnx import TensorProto, helper, numpy_helper
from scipy.special import expit

import clineval
from clineval.cli.console import DONE, REFUSED
from clineval.cli.main import run_command
from clineval.data.own_images import prepare_files
from clineval.evaluation import read_evaluation
from clineval.models import onnx_graph
from clineval.pipeline.stored_run import cut_for, read_run
from clineval.predictions import read_predictions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted")]

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "onnx_file.py"))
NAME = "hospital-b"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("external") / "cohort")


def write(folder: Path, *, model=None, **changes) -> Path:
    """``blob.onnx`` and the record beside it, changed; what is None is left out of the record."""
    path = folder / "blob.onnx"
    path.write_bytes((EXAMPLE["graph"]() if model is None else model).SerializeToString())
    record = {name: value for name, value in {**EXAMPLE["READING"], **changes}.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(record))
    return path


def words(path: Path, cohort: Path, out: Path, *further: str) -> list[str]:
    place = ["--name", NAME, "--image-folder", str(cohort / "images"), "--out", str(out), "--quiet"]
    return ["validate", str(path), str(cohort / "cohort.csv"), *WORDS, *place, *further]


# predict ----------------------------------------------------------------------------------------------


def test_a_risk_is_that_of_the_graph_on_the_middle_square_and_no_threshold_flags_nothing(
    cohort, tmp_path, capsys
):
    files = sorted((cohort / "images").iterdir())[:5]
    found = clineval.predict(write(tmp_path), files)
    pixels = (prepare_files(files, size=28).images.reshape(5, -1) / 255 - 0.5) / 0.5
    expected = expit((pixels @ EXAMPLE["weights"]().astype(np.float64))[:, 0])
    np.testing.assert_allclose([image.risk["blob"] for image in found], expected, atol=1e-6)  # float32
    assert [image.flagged for image in found] == [{"blob": {}}] * 5
    assert {(image.unlike_training, image.texture_distance) for image in found} == {(None, None)}
    assert found.limits == {}
    assert run_command(["predict", str(tmp_path / "blob.onnx"), str(files[0]), "--quiet"]) == DONE
    shown = capsys.readouterr()
    assert shown.out == f"file,risk,flagged,warning\n{files[0].name},{expected[0]:.3f},no threshold,\n"
    (line,) = (line for line in shown.err.splitlines() if "without a run" in line)
    for lacking in ("thresholds chosen out of fold", "internal figures", "distance", "matched grey levels"):
        assert lacking in line
    assert "Not flagged: no threshold (--threshold, or in blob.json)." in line


def test_a_threshold_is_taken_from_the_record_or_the_command_and_that_of_the_command_counts(cohort, tmp_path):
    files = sorted((cohort / "images").iterdir())[:8]
    path = write(tmp_path, threshold=0.6, condition=None)
    own, given = clineval.predict(path, files), clineval.predict(path, files, thresholds=(0.4, 0.7))
    assert own.condition == "condition"
    assert own.primary == ("blob", 0.6)
    assert given.primary == ("blob", 0.4)
    assert [one.threshold for one in given.thresholds["blob"]] == [0.4, 0.7]
    for image in own:
        assert image.flagged["blob"] == {"given": image.risk["blob"] >= 0.6}
    assert "Not flagged" not in own.notice
    assert {line.split(",")[2] for line in own.to_short_csv().splitlines()[1:]} == {"yes", "no"}


def test_tables_and_json_leave_out_what_is_not_known(cohort, tmp_path):
    found = clineval.predict(write(tmp_path), [cohort / "images" / "im000.png"])
    assert found.to_csv().splitlines()[0] == "image,risk_blob,coloured,warnings,warning"
    (image,) = json.loads(found.to_json())["images"]
    assert set(image) == {"image", "risk", "flagged", "coloured", "warnings"}


def test_grey_levels_are_not_matched_and_no_upper_square_is_added(tmp_path):
    run = read_run(write(tmp_path))
    assert run.views == {"blob": ("original",)}
    assert cut_for(run, "as-trained", second_view=True) == ("crop",)
    assert cut_for(run, "pad", second_view=True) == ("pad",)


def test_a_name_that_is_none_for_a_model_is_made_one(tmp_path):
    path = write(tmp_path)
    odd = path.rename(tmp_path / "my net (2).onnx")
    path.with_suffix(".json").rename(odd.with_suffix(".json"))
    assert read_run(odd).names == ("my_net_2_",)


# validate ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validated(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    assert run_command(words(write(folder, threshold=0.5), cohort, folder / "out")) == DONE
    return folder / "out"


def test_the_cohort_is_scored_at_the_models_own_threshold(validated, cohort):
    evaluation = read_evaluation(validated / "evaluation.json")
    scores = evaluation.models["blob"][NAME]
    table = read_predictions(validated / "predictions.csv")
    flagged = (table["risk"] >= 0.5) & (table["outcome"] == 1)
    assert scores.point("given").true_positives == flagged.sum()
    assert scores.cases == 60
    assert evaluation.primary is not None
    assert (evaluation.primary.model, evaluation.primary.threshold) == ("blob", 0.5)
    assert evaluation.origins == {"blob": "trained elsewhere"}
    risks = {image.image: image.risk["blob"] for image in clineval.predict(
        validated.parent / "blob.onnx", sorted((cohort / "images").iterdir()))}  # fmt: skip
    assert [risks[f"{case}.png"] for case in table["case"]] == table["risk"].tolist()
    assert "unlike_training" not in table


def test_the_terminal_says_first_whether_it_holds_as_the_page_does(cohort, tmp_path, capsys):
    """Without internal test cases nothing can hold or fail to: the answer is that it is uncertain."""
    asked = words(write(tmp_path, threshold=0.3), cohort, tmp_path / "out")
    assert run_command([word for word in asked if word != "--quiet"]) == DONE
    answer = " ".join(capsys.readouterr().out.split()).split("Primary model")[0]
    page = (tmp_path / "out" / "report.html").read_text()
    opening = page.split('class="verdict"><strong>')[1].split("</strong>")[0]
    assert opening.startswith("Uncertain: at the frozen threshold it misses ")
    assert opening in answer


def test_the_report_shows_the_external_part_alone_with_the_reason(validated):
    page = (validated / "report.html").read_text()
    assert f"{NAME} alone" in page
    assert "blob.onnx is a model without a run: thresholds chosen out of fold" in page
    assert "whether the model learnt from these images cannot be seen" in page
    for absent in ("AUC, internal and external", "side by side", "trained on ,", "Rates at the frozen"):
        assert absent not in page
    assert "Not described: the model was trained elsewhere" in (validated / "model_card.md").read_text()
    content = json.loads((validated / "transport.json").read_text())
    assert content["models"]["blob"]["drops"] == []
    assert "training" not in content["images"]["mean_grey"]


def test_provenance_and_ledger_name_the_file_its_hash_and_how_it_was_read(validated):
    sha256 = clineval.results.hash_file(validated.parent / "blob.onnx")
    data = json.loads((validated / "provenance.json").read_text())["data"]
    assert data["models_sha256"] == {"blob.onnx": sha256}
    assert data["reading"]["image"] == 28
    (line,) = (validated / "ledger.jsonl").read_text().splitlines()
    frozen = json.loads(line)["frozen"]
    assert frozen["thresholds"] == {"blob": [{"name": "given", "threshold": 0.5, "chosen_on": "given"}]}


def test_verify_accepts_it_and_report_writes_it_again(validated, tmp_path):
    copy = shutil.copytree(validated, tmp_path / "out")
    assert run_command(["verify", str(copy), "--quiet"]) == DONE
    assert run_command(["report", str(copy), "--quiet"]) == DONE
    assert (copy / "report.html").read_bytes() == (validated / "report.html").read_bytes()


def test_without_a_threshold_the_validation_ranks_and_calibrates_and_flags_nothing(
    cohort, tmp_path, monkeypatch
):
    monkeypatch.setattr("clineval.reporting.figures.write_figures", lambda *given, **named: None)
    monkeypatch.setattr("clineval.pipeline.external.SEVERITIES", (3,))
    out = tmp_path / "out"
    assert run_command(words(write(tmp_path), cohort, out, "--corruptions", "--probes")) == DONE
    record = json.loads((out / "evaluation.json").read_text())
    assert record["primary"]["threshold"] is None
    (point,) = record["models"]["blob"][NAME]["operating_points"]
    assert point["threshold"] is None
    assert record["models"]["blob"][NAME]["auc"]["value"] > 0
    assert "No threshold was fixed beforehand" in (out / "report.html").read_text()
    assert run_command(["verify", str(out), "--quiet"]) == DONE


# What is refused, in one line, with nothing half-written ----------------------------------------------


def labels(model):
    model.graph.node.append(helper.make_node("Cast", ["risk"], ["label"], to=TensorProto.INT64))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("label", TensorProto.INT64, ["cases", 1]))


def without_columns(model):
    """The output's shape is open, and holds nothing."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "zero"))
    model.graph.node.append(helper.make_node("Slice", ["risk", "zero", "zero"], ["part"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("part", TensorProto.FLOAT, None))


def greedy(model):
    """A constant of 16 GiB that the file need not hold."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**32]), "shape"))
    model.graph.node[2].output[0] = "once"
    one = numpy_helper.from_array(np.ones(1, np.float32))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["much"], value=one))
    model.graph.node.append(helper.make_node("ReduceMean", ["much"], ["mean"], keepdims=0))
    model.graph.node.append(helper.make_node("Mul", ["once", "mean"], ["risk"]))


def changed(change) -> onnx.ModelProto:
    model = EXAMPLE["graph"]()
    change(model)
    return model


BAD = {
    "another size": (None, {"image": 64}, "its record says images of shape (1, 64, 64)"),
    "two outputs": (two_outputs, {"output": None}, "the graph has 2 outputs (risk, log_odds); say which one"),
    "external data": (external, {}, "its weights are in another file"),
    "2 GB claimed": (claiming, {}, "claims 2048 MiB in a file of"),
    "custom operators": (custom, {}, "got some of the domain 'com.example'"),
    "labels": (labels, {"output": None}, "expected risks, floating-point numbers, from label, got int64"),
    "no columns": (without_columns, {"output": {"column": 0}}, "expected a column 0, got 0 of them"),
    "endless": (endless, {}, "the graph takes longer than 0.3 s for an image"),
    "greedy": (greedy, {}, "it needs more memory than the 4 GiB that such graphs have"),
    "a key misspelt": (None, {"treshold": 0.5}, "its record says 'treshold', which is none of image"),
    "a key misspelt within": (None, {"scaling": {"divide": 2}}, "says 'divide' of scaling, which is none of"),
    "no proportion": (None, {"threshold": 1.5}, "expected a threshold from 0 to 1, got 1.5"),
    "a yes": (None, {"threshold": True}, "expected a finite number, got True"),
    "no word": (None, {"condition": 1}, "expected printable words for the condition, got 1"),
}  # fmt: skip


def refused(capsys, command: list[str], folder: Path) -> str:
    before = sorted(path.name for path in folder.iterdir())
    assert run_command(command) == REFUSED
    shown = capsys.readouterr()
    (line,) = (line for line in shown.err.splitlines() if "without a run" not in line)
    assert shown.out == ""
    assert sorted(path.name for path in folder.iterdir()) == before
    return line


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("command", ["validate", "predict"])
def test_a_bad_model_is_one_line_that_names_it(cohort, tmp_path, capsys, monkeypatch, kind, command):
    change, record, said = BAD[kind]
    monkeypatch.setattr(onnx_graph, "MOST_SECONDS", 0.3)
    path = write(tmp_path, model=changed(change or (lambda model: None)), **record)
    asked = {
        "validate": words(path, cohort, tmp_path / "out"),
        "predict": ["predict", str(path), str(cohort / "images" / "im000.png"), "--quiet"],
    }
    line = refused(capsys, asked[command], tmp_path)
    assert line.startswith("clineval: Model blob")
    assert said in line


def test_a_missing_record_and_a_file_above_the_stated_size_are_refused_unread(cohort, tmp_path, capsys):
    path = write(tmp_path)
    path.with_suffix(".json").unlink()
    predict = ["predict", str(path), str(cohort / "images"), "--quiet"]
    assert "Model blob needs blob.json beside its graph" in refused(capsys, predict, tmp_path)
    with path.open("wb") as file:
        file.truncate(onnx_graph.MOST_GRAPH + 1)
    assert "at most 268,435,456 are read" in refused(capsys, predict, tmp_path)


def test_a_bad_model_stops_a_run_before_it_writes(tmp_path, capsys):
    path = write(tmp_path, model=changed(external))
    run = ["run", "--only", "--dataset", "phantom", "--model", f"blob={path}", "--out", str(tmp_path / "out")]
    assert "its weights are in another file" in refused(capsys, [*run, "--quiet"], tmp_path)


def test_it_runs_on_one_thread(tmp_path):
    options = onnx_graph.open_given_graph(write(tmp_path).read_bytes()).session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_thresholds_that_are_none_and_options_that_need_one_are_refused(cohort, tmp_path, capsys):
    path, out = write(tmp_path), tmp_path / "out"
    said = refused(capsys, words(path, cohort, out, "--threshold", "1.2"), tmp_path)
    assert "--threshold needs a number from 0 to 1; got 1.2" in said
    said = refused(capsys, words(path, cohort, out, "--site-column", "device"), tmp_path)
    assert "blob.onnx has none; give it with --threshold" in said
    adopt = ["adopt", *words(path, cohort, out)[1:]]
    assert "adopt needs the folder of a run" in refused(capsys, adopt, tmp_path)


def constant(model):
    """The graph with weights of 0: one risk, whatever the image."""
    for weights in model.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype.kind == "f" and values.size > 100:
            weights.CopyFrom(numpy_helper.from_array(np.zeros_like(values), weights.name))
    return model


def test_a_graph_of_one_risk_for_all_is_scored_and_said(cohort, tmp_path, capsys):
    path = write(tmp_path, model=constant(EXAMPLE["graph"]()), threshold=0.5)
    assert run_command(words(path, cohort, tmp_path / "out")) == DONE
    said = " ".join(capsys.readouterr().err.split())
    assert f"{NAME}: the risk by blob is constant, " in said
    assert run_command(["predict", str(path), str(cohort / "images"), "--quiet"]) == DONE
    said = " ".join(capsys.readouterr().err.split())
    assert "The risk by blob is" in said
    assert "for all " in said


@pytest.mark.parametrize("again", ['"image": 28', '"output": {"column": 0, "column": 1}'])
def test_a_record_that_says_one_thing_twice_is_refused(cohort, tmp_path, capsys, again):
    path = write(tmp_path)
    record = path.with_suffix(".json")
    record.write_text(record.read_text().rstrip().removesuffix("}") + f", {again}}}")
    for command in (words(path, cohort, tmp_path / "out"), ["predict", str(path), str(cohort / "images")]):
        assert run_command(command) == REFUSED
        assert "stands twice in one object" in " ".join(capsys.readouterr().err.split())
