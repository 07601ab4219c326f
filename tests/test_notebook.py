"""What an Evaluation shows of itself: five lines, a card, a page, three curves."""

import subprocess
import sys

import pytest
from matplotlib.figure import Figure
from simulated_results import DRAWS, table

import clineval
from clineval.errors import InputError
from clineval.evaluation import Evaluation


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return clineval.evaluate(table(("cnn",)), condition="malignant", draws=DRAWS)


@pytest.fixture
def ax():
    return Figure().add_subplot()


def test_it_prints_in_five_lines_with_the_verdict_last(evaluation):
    first, model, calls, auc, verdict = str(evaluation).splitlines()
    assert first == "Evaluation of 1 model on 'test': 156 cases, 42 malignant (27%)"
    assert model.startswith("Primary model: cnn, threshold 0.")
    assert "of 42 malignant" in calls
    assert max(map(len, (first, model, calls, auc))) <= 80
    assert auc.startswith("AUC 0.")
    assert verdict.startswith("The model ")
    assert repr(evaluation) == str(evaluation)


@pytest.mark.slow
def test_printing_loads_no_matplotlib():
    code = (
        "import clineval, pandas, sys;"
        "frame = pandas.DataFrame({'outcome': [0, 1] * 20, 'risk': [.1, .8] * 20});"
        "found = clineval.evaluate(frame, draws=5); str(found);"
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_card_holds_question_verdict_people_and_lights_and_escapes_names(evaluation):
    card = evaluation._repr_html_()
    assert "Does the model “cnn” recognise malignant cases?" in card
    assert card.count('class="light ') == 4
    assert "Does it help at this threshold?" in card
    assert "<script" not in card
    odd = clineval.evaluate(table(("<b>x</b>",), splits=("test",)), condition="<i>", draws=5)._repr_html_()
    assert "<b>x</b>" not in odd
    assert "<i>" not in odd


def test_it_writes_the_page_that_a_folder_would_have(evaluation, tmp_path):
    path = evaluation.report(tmp_path / "page.html")
    page = path.read_text(encoding="utf-8")
    assert 'id="explorer"' in page
    assert "from a table in memory." in page
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_a_folder_in_place_of_the_page_is_refused_in_one_line(evaluation, tmp_path):
    with pytest.raises(
        InputError, match=r"^report needs a file to write; .* is a folder\. Say .*report\.html$"
    ):
        evaluation.report(tmp_path)
    assert not any(tmp_path.iterdir())


def test_curves_are_drawn_on_the_axes_given(evaluation, ax):
    evaluation.plot.roc(ax)
    assert ax.get_ylabel() == "sensitivity"
    for draw, label in (
        (evaluation.plot.calibration, "observed share malignant"),
        (evaluation.plot.decision_curve, "net benefit"),
    ):
        own = Figure().add_subplot()
        draw(own)
        assert own.get_ylabel().startswith(label)


def test_an_evaluation_read_back_prints_but_says_what_it_cannot_draw(evaluation, ax):
    again = Evaluation.from_json(evaluation.to_json())
    assert "table" not in evaluation.to_json()
    assert str(again) == str(evaluation)
    assert again._repr_html_() == evaluation._repr_html_()
    with pytest.raises(InputError, match=r"has not the table .* clineval\.evaluate\(table\)"):
        again.plot.roc(ax)


def test_one_outcome_alone_has_no_roc_curve(ax):
    frame = table(("only",), splits=("test",), cases=30, events=0)
    found = clineval.evaluate(frame, condition="malignant", draws=5)
    assert len(str(found).splitlines()) == 5
    with pytest.raises(InputError, match="one of the two outcomes is absent"):
        found.plot.roc(ax)
