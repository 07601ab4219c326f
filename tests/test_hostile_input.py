"""What an untrusted or a careless file may do: be refused in one line, and nothing else."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clineval.cli import main
from clineval.data.image_files import read_image
from clineval.data.preparation import Unusable
from clineval.errors import InputError
from clineval.evaluation import read_evaluation
from clineval.pipeline.run import run
from clineval.results import hash_folder
from clineval.settings import RunSettings, TrainingSettings

pytestmark = pytest.mark.slow


def ended(capsys, *words):
    code = main.run_command([*map(str, words), "--quiet"])
    return code, capsys.readouterr().err


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("case,outcome,risk\na,1,.5\nb,0,.4\nc,1,.7\nd,0,.2\n")
    return path


@pytest.fixture
def results(tmp_path, table):
    assert (
        main.run_command(["evaluate", str(table), "--draws", "20", "--out", str(tmp_path / "r"), "--quiet"])
        == 0
    )
    return tmp_path / "r"


def reseal(results):
    """Hashes written again after tampering, as someone would who knows the format."""
    path = results / "provenance.json"
    record = json.loads(path.read_text())
    record["artefacts"] = hash_folder(results)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("case,outcome,risk\ra,1,.5\rb,0,.4\r", "line 1.*lines that end"),
        ("case,outcome,risk\na,1,0.1_5\nb,0,.4\n", "line 2.*risk"),
        ("case,outcome,risk\na,1,٠.٥\nb,0,.4\n", "line 2.*risk"),
    ],
)
def test_odd_text_is_refused_by_its_line(capsys, tmp_path, content, words):
    path = tmp_path / "odd.csv"
    path.write_bytes(content.encode())
    code, err = ended(capsys, "evaluate", path, "--out", tmp_path / "o")
    assert code == 3
    assert len(err.splitlines()) == 1
    assert pd.Series([err]).str.contains(words, regex=True).all(), err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("words", [("--seed", -1), ("--draws", 99_999_999_999), ("--out", "/")])
def test_impossible_options_are_refused(capsys, tmp_path, table, words):
    code, err = ended(capsys, "evaluate", table, "--out", tmp_path / "o", *words)
    assert code == 3, err
    assert len(err.splitlines()) == 1


def test_risks_at_the_edge_of_floating_point_leave_the_rest_of_the_evaluation(tmp_path):
    path = tmp_path / "edge.csv"
    risk = np.where(np.arange(20) % 3 == 0, 5e-324, 1 - 2**-53)
    frame = pd.DataFrame({"case": [f"c{k}" for k in range(20)], "outcome": np.arange(20) % 2, "risk": risk})
    frame.to_csv(path, index=False)
    assert (
        main.run_command(["evaluate", str(path), "--draws", "20", "--out", str(tmp_path / "o"), "--quiet"])
        == 0
    )
    scores = json.loads((tmp_path / "o" / "evaluation.json").read_text())["models"]["edge"]["test"]
    assert scores["auc"]["value"] is not None


def test_half_precision_names_are_read(tmp_path):
    path = tmp_path / "half.parquet"
    case = np.arange(6, dtype=np.float16)
    frame = pd.DataFrame({"case": case, "outcome": [0, 1] * 3, "risk": np.linspace(0.1, 0.9, 6)})
    frame.to_parquet(path)
    assert (
        main.run_command(["evaluate", str(path), "--draws", "20", "--out", str(tmp_path / "o"), "--quiet"])
        == 0
    )


def test_a_threshold_named_twice_is_reported_once(tmp_path, table):
    words = ["--threshold", ".3", "--threshold", "0.30", "--threshold", "0", "--threshold", "-0.0"]
    out = tmp_path / "o"
    assert (
        main.run_command(["evaluate", str(table), *words, "--draws", "20", "--out", str(out), "--quiet"]) == 0
    )
    points = json.loads((out / "evaluation.json").read_text())["models"]["s"]["test"]["operating_points"]
    assert [point["threshold"] for point in points if point["name"] == "given"] == [0.3, 0.0]


def test_links_in_a_results_folder_are_neither_followed_nor_copied(capsys, tmp_path, results):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("SECRET")
    (results / "linked").symlink_to(tmp_path / "secret")
    (results / "key.txt").symlink_to(tmp_path / "secret" / "key")
    os.mkfifo(results / "pipe")
    code, err = ended(capsys, "report", results)
    assert code == 3
    assert "key.txt, linked, pipe, which no run writes" in err
    assert (results / "key.txt").is_symlink()
    code, err = ended(capsys, "verify", results)
    assert code == 4
    assert err.count("a link or special file, not written by the run") == 3


@pytest.mark.parametrize("command", ["verify", "report"])
@pytest.mark.parametrize("content", ["null", "{}", '{"schema": 0}'])
def test_a_provenance_of_another_form_is_refused(capsys, results, command, content):
    (results / "provenance.json").write_text(content)
    code, err = ended(capsys, command, results)
    assert code == 3
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("command", "expected"), [("verify", 4), ("report", 3)])
def test_a_provenance_nested_without_end_is_altered_to_verify_and_refused_by_report(
    capsys, results, command, expected
):
    (results / "provenance.json").write_text("[" * 100_000)
    code, err = ended(capsys, command, results)
    assert code == expected
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("field", ["settings", "versions", "platform", "data", "command", "kind"])
def test_a_provenance_field_of_another_kind_is_refused(capsys, results, field):
    path = results / "provenance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: 5}))
    for command in ("verify", "report"):
        code, err = ended(capsys, command, results)
        assert code == 3
        assert field in err


@pytest.mark.parametrize("field", ["cases", "events"])
def test_an_evaluation_of_another_form_is_refused_by_report_and_seen_by_verify(capsys, results, field):
    path = results / "evaluation.json"
    record = json.loads(path.read_text())
    record["models"]["s"]["test"][field] = "x"
    path.write_text(json.dumps(record))
    reseal(results)
    assert ended(capsys, "report", results)[0] == 3
    assert ended(capsys, "verify", results)[0] == 4


def test_verify_recomputes_the_evaluation_of_anybodys_table(capsys, results):
    assert ended(capsys, "verify", results)[0] == 0
    path = results / "evaluation.json"
    record = json.loads(path.read_text())
    record["models"]["s"]["test"]["auc"]["value"] = 0.99
    path.write_text(json.dumps(record))
    reseal(results)
    code, err = ended(capsys, "verify", results)
    assert code == 4
    assert "first at models.s.test.auc.value" in err


def test_a_folder_in_the_place_of_the_report_is_refused(capsys, results):
    (results / "report.html").unlink()
    (results / "report.html").mkdir()
    assert ended(capsys, "report", results)[0] == 3


def images(folder, *names):
    folder.mkdir()
    chance = np.random.default_rng(0)
    for name in names:
        picture = Image.fromarray(chance.integers(0, 255, (40, 40), dtype=np.uint8))
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            picture.save(file, format="PNG")
    return folder


def test_an_image_whose_name_is_no_text_is_audited_under_its_bytes(tmp_path):
    folder = images(tmp_path / "images", b"a.png", b"b.png", b"\xff\xfe.png")
    assert main.run_command(["audit", str(folder), "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert json.loads((tmp_path / "a" / "audit.json").read_text())["cases"] == 3


def test_findings_are_not_written_among_the_images(capsys, tmp_path):
    folder = images(tmp_path / "images", b"a.png", b"b.png")
    code, err = ended(capsys, "audit", folder, "--out", folder / "audit")
    assert code == 3
    assert "inside the audited images" in err


@pytest.mark.parametrize(
    "words",
    [("evaluate", "{table}", "--out"), ("explore", "--dataset", "phantom", "--out"), ("fetch", "--to")],
)
def test_a_place_where_nothing_can_be_made_is_named_in_one_line(capsys, table, words):
    code, err = ended(capsys, *(word.format(table=table) for word in words), "/proc/x")
    assert code == 3
    assert len(err.splitlines()) == 1
    assert "/proc" in err
    assert "choose another" in err.lower()


@pytest.mark.parametrize("address", ["http://[", "file:///etc", "nonsense"])
def test_an_address_that_is_none_is_refused_at_once_and_leaves_no_folder(capsys, tmp_path, address):
    code, err = ended(capsys, "fetch", "--address", address, "--to", tmp_path / "new")
    assert code == 3
    assert "--address needs the http or https address" in err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("value", ["x", [1, 2, 3], 10**400])
def test_an_evaluation_with_something_else_where_a_number_belongs_is_refused(results, value):
    record = json.loads((results / "evaluation.json").read_text())
    record["models"]["s"]["test"]["auc"]["value"] = value
    record["models"]["s"]["test"]["operating_points"][0]["threshold"] = value
    record["points"]["s"][0]["threshold"] = value
    (results / "evaluation.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="is incomplete"):
        read_evaluation(results / "evaluation.json")


def test_a_small_picture_that_claims_to_be_huge_is_refused_before_it_is_unpacked(tmp_path):
    stream = io.BytesIO()
    Image.new("L", (30, 20)).save(stream, "TIFF")
    content = stream.getvalue()
    height = content.index(b"\x01\x01\x04\x00\x01\x00\x00\x00\x14\x00\x00\x00")
    content = content[: height + 8] + (1_397_172).to_bytes(4, "little") + content[height + 12 :]
    (tmp_path / "bomb.tif").write_bytes(content)
    with pytest.raises(Unusable, match=r"claims 30 x 1397172 pixels in .* as a decompression bomb does"):
        read_image(tmp_path / "bomb.tif")


UNREADABLE = b"f\xfcr.csv"  # a name in Latin-1, as an old share holds it


def test_a_table_whose_name_is_no_text_is_scored_under_its_bytes(tmp_path, table):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), UNREADABLE))
    os.rename(table, path)
    words = ["evaluate", path, "--draws", "20", "--quiet", "--out"]
    out = tmp_path / os.fsdecode(b"o\xfct")
    assert main.run_command([*words, str(out)]) == 0
    assert list(read_evaluation(out / "evaluation.json").models) == ["f\\xfcr"]
    assert main.run_command(["verify", str(out), "--quiet"]) == 0
    pd.read_csv(path).to_parquet(tmp_path / "t.parquet")
    os.replace(tmp_path / "t.parquet", path)
    assert main.run_command([*words, str(out)]) == 0


@pytest.mark.parametrize("command", ["evaluate", "readers", "audit"])
def test_a_link_that_leads_to_itself_is_refused_in_one_line(capsys, tmp_path, command):
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    code, err = ended(capsys, command, loop, "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (3, 1)
    assert "loop.csv" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_do_not_stop_the_work(tmp_path, table, closed):
    command = f"{sys.executable} -m clineval evaluate {table} --draws 20 --out {tmp_path / 'out'} {closed}"
    assert subprocess.run(command, shell=True, check=False).returncode == 0
    assert main.run_command(["verify", str(tmp_path / "out"), "--quiet"]) == 0


def test_a_file_that_is_no_json_is_refused_in_words_of_its_reader(capsys, results):
    for content, words in ((b"", "no JSON from line 1 on"), (b"\xff", "no text in UTF-8")):
        (results / "evaluation.json").write_bytes(content)
        reseal(results)
        code, err = ended(capsys, "report", results)
        assert code == 3
        assert words in err


@pytest.mark.parametrize("seed", ["-1", "2147483648", "99999999999999999999"])
def test_a_seed_out_of_range_is_refused_in_one_line(capsys, tmp_path, table, seed):
    for words in (("evaluate", table), ("audit",), ("explore", "--dataset", "phantom"), ("run",), ("train",)):
        code, err = ended(capsys, *words, "--seed", seed, "--out", tmp_path / "out")
        assert (code, err.count("\n")) == (3, 1)
        assert "seed" in err
    assert not (tmp_path / "out").exists()


def test_a_run_from_python_refuses_a_seed_before_anything_is_loaded(tmp_path):
    settings = RunSettings(training=TrainingSettings(seed=-1))
    with pytest.raises(InputError, match="seed needs a number from 0 to 2,147,483,647; got -1"):
        run(settings, out=tmp_path / "out")
