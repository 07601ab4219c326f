"""Figures by their names, the same bytes each time, their data beside them."""

import hashlib
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from simulated_results import phantom_run, table

from clineval.errors import InputError
from clineval.evaluation import evaluate
from clineval.evaluation.curves import curves
from clineval.predictions import check_predictions
from clineval.reporting.artefacts import failures
from clineval.reporting.figures import slug, write_exploration_figures, write_figures
from clineval.reporting.style import Heading, lay_out, new_figure, save, shorten

pytestmark = pytest.mark.slow

NAMES = {
    "class_distribution_by_split",
    "pixel_intensity_hist_class0",
    "pixel_intensity_hist_class1",
    "examples_class0",
    "examples_class1",
    "decision_curve_test",
    "learning_curve_cnn",
    *(
        f"{kind}_{model}_test"
        for kind in ("roc", "cm", "calibration", "risk_distribution", "failures")
        for model in ("logreg", "cnn")
    ),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """What the figures of a phantom run are drawn from."""
    return phantom_run(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def drawn(records, tmp_path_factory):
    """Folder and names of the run's figures."""
    folder = tmp_path_factory.mktemp("drawn")
    return folder, draw(folder, records)


def draw(folder, records, **more):
    """Every figure of the data and of the models; their names."""
    of_models = {name: records[name] for name in ("table", "evaluation", "curves", "cohort")}
    return (
        *write_exploration_figures(
            folder, records["exploration"], records["cohort"], learning_curves=records["learning_curves"]
        ),
        *write_figures(folder, **of_models, **more),
    )


@pytest.mark.slow
def test_every_promised_figure_is_there_by_its_name(drawn):
    folder, names = drawn
    assert set(names) == NAMES
    assert all((folder / f"{name}.png").is_file() for name in NAMES)


@pytest.mark.slow
def test_each_figures_data_lie_beside_it(drawn, records):
    folder, _ = drawn
    for name in NAMES:
        assert (folder / f"{name}.csv").is_file(), name
    points = pd.read_csv(folder / "cm_cnn_test.csv")
    scored = records["evaluation"].models["cnn"]["test"].operating_points
    assert points["true_positives"].tolist() == [point.counts["true_positives"] for point in scored]


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes_in_every_format(records, tmp_path):
    rows = records["table"].query("model == 'cnn'")
    scored = evaluate(rows, condition="malignant", draws=20)
    given = {"table": rows, "evaluation": scored, "curves": curves(rows, scored)}
    hashes = []
    for place in ("first", "second"):
        folder = tmp_path / place
        folder.mkdir()
        write_figures(folder, **given, formats=("png", "svg", "pdf"))
        hashes.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()})
    assert hashes[0] == hashes[1]
    assert {name.split(".")[-1] for name in hashes[0]} == {"png", "svg", "pdf", "csv"}


def test_exploration_figures_have_300_dots_per_inch_and_tell_neither_program_nor_time(records, tmp_path):
    names = write_exploration_figures(tmp_path, records["exploration"], records["cohort"])
    assert set(names) == {name for name in NAMES if name.startswith(("class", "pixel", "examples"))}
    with Image.open(tmp_path / "class_distribution_by_split.png") as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.5)
        assert picture.width == 1050
        assert set(picture.info) <= {"dpi"}


def test_pyplot_is_never_loaded():
    code = "import clineval.reporting.figures, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_unknown_format_is_refused(records, tmp_path):
    with pytest.raises(InputError, match="png, svg, pdf; got gif"):
        draw(tmp_path, records, formats=("gif",))


def test_phantom_figures_say_so_on_their_face():
    figure, _ = new_figure()
    lay_out(figure, Heading("title", "subtitle", "SYNTHETIC PHANTOM DATA: no real data"))
    assert [text.get_text() for text in figure.texts if text.get_gid() == "notice"] == [
        "SYNTHETIC PHANTOM DATA"
    ]


def test_a_title_names_model_population_n_and_condition(records, monkeypatch, tmp_path):
    from clineval.reporting import figures

    seen = {}

    def keep(figure, stem, formats):
        seen[stem.name] = {text.get_gid(): text.get_text() for text in figure.texts}
        return []

    monkeypatch.setattr(figures, "packed", keep)
    draw(tmp_path, records)
    heading = seen["roc_cnn_test"]
    assert heading["title"] == "ROC curve: cnn"
    flat = " ".join(heading["subtitle"].split())
    assert "test: n = 30, 8 malignant" in flat
    assert heading["notice"] == "SYNTHETIC PHANTOM DATA"
    assert "label 0 = malignant" in seen["pixel_intensity_hist_class0"]["title"]


@pytest.mark.parametrize("width", [3.5, 5.24, 7.2, 5.2400001])
def test_a_png_has_the_pixels_that_were_drawn_whatever_its_width(tmp_path, width):
    figure = Figure(figsize=(width, 1.71))
    figure.add_artist(Rectangle((0.5, 0), 0.5, 1, color="black", transform=figure.transFigure))
    save(figure, tmp_path / "half")
    picture = np.asarray(Image.open(tmp_path / "half.png").convert("L"))
    assert picture.shape[1] == pytest.approx(300 * width, abs=1)
    middle = picture.shape[1] // 2
    for row in picture[20:-20:50]:  # a wrong row length would shear the edge
        assert np.flatnonzero(row < 128).min() == pytest.approx(middle, abs=4)


def test_a_file_that_cannot_be_written_is_not_overlooked(records, monkeypatch, tmp_path):
    from clineval.reporting import figures

    def full():
        raise OSError("No space left on device")

    monkeypatch.setattr(figures, "packed", lambda figure, stem, formats: [full])
    with pytest.raises(OSError, match="No space left"):
        draw(tmp_path, records)


def test_a_model_whose_name_begins_like_another_has_figures_of_its_own(tmp_path):
    frame = check_predictions(
        table(("cnn", "cnn_v2", "cnn_deduplicated"), splits=("test",), cases=40, events=15)
    )
    evaluation = evaluate(frame, condition="malignant", draws=20)
    names = write_figures(tmp_path, table=frame, evaluation=evaluation, curves=curves(frame, evaluation))
    for kind in ("roc", "cm", "calibration", "risk_distribution"):
        assert {f"{kind}_cnn_test", f"{kind}_cnn_v2_test"} <= set(names)
    assert not [name for name in names if "deduplicated" in name]


def test_strange_names_become_file_names_that_differ(tmp_path):
    assert slug("cnn") == "cnn"
    assert slug("a/b") != slug("a b")
    assert all(letter.isalnum() or letter in "._-" for letter in slug("../../etc/passwd 🩻"))
    assert len(slug("x" * 300)) < 80


@pytest.mark.slow
def test_names_that_the_font_lacks_are_drawn_as_boxes_without_a_warning(tmp_path):
    assert shorten("🩻 scan", 20) == "□ scan"
    assert shorten("$x$", 20) == r"\$x\$"
    frame = check_predictions(table(("_hidden $a$ 🩻" + "b" * 300,), splits=("test",), cases=40, events=15))
    evaluation = evaluate(frame, condition="漢字 & <b>", draws=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_figures(tmp_path, table=frame, evaluation=evaluation, curves=curves(frame, evaluation))


def test_a_population_without_events_still_gets_what_can_be_drawn(tmp_path):
    frame = check_predictions(table(("one",), splits=("test",), cases=30, events=0))
    evaluation = evaluate(frame, draws=20)
    names = write_figures(tmp_path, table=frame, evaluation=evaluation, curves=curves(frame, evaluation))
    assert "risk_distribution_one_test" in names
    assert "roc_one_test" not in names


def test_failures_list_missed_cases_first_and_the_worst_of_them_first(records):
    point = records["evaluation"].models["logreg"]["test"].point("sensitivity_90")
    cases = failures(records["table"], point, model="logreg", population="test").cases
    assert set(cases["outcome"]) == {0, 1}
    missed = cases[cases["outcome"] == 1]
    alarms = cases[cases["outcome"] == 0]
    assert missed.index.max() < alarms.index.min()
    assert np.all(np.diff(missed["risk"]) >= 0)
    assert np.all(np.diff(alarms["risk"]) <= 0)


def test_letters_that_the_font_lacks_are_drawn_as_boxes_and_not_warned_of(tmp_path):
    figure = Figure(figsize=(3, 2))
    text = figure.text(0.5, 0.5, "hôpital 日本")
    save(figure, tmp_path / "named")
    assert text.get_text() == "hôpital □□"
    assert (tmp_path / "named.png").is_file()
