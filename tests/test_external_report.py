"""The answer of a validation: what is lost and what that means, never more than the intervals allow."""

import copy
import json
import re

import pytest
from transport_content import content, write_validation

from clineval.errors import InputError
from clineval.reporting.artefacts import read_artefacts
from clineval.reporting.external import answer, robustness_table, spoken_model, subject_in, table, transported
from clineval.reporting.report import write_report
from clineval.reporting.sentences import number, percent, signed


@pytest.fixture(scope="module")
def given():
    return content()


@pytest.fixture(scope="module")
def found(given):
    return transported(given)


def cells(table, row: int) -> list[str]:
    return [value if isinstance(value, str) else value.text for value in table.rows[row]]


def test_the_drop_stands_with_both_aucs_and_what_the_risks_promise(given, found):
    record = given["models"]["combined"]
    row = next(index for index, row in enumerate(found["drops"].rows) if row[0] == "combined")
    drop = record["drops"][0]
    assert cells(found["drops"], row)[2:5] == [
        number(each["value"]) for each in (drop["auc"], record["external_auc"], drop["difference"])
    ]
    promised = [number(record["mix"][where]["expected_auc"]) for where in ("test", "external")]
    assert cells(found["drops"], row)[-1] == " / ".join(promised)


def test_a_gain_carries_its_sign(given):
    turned = copy.deepcopy(given)
    for record in turned["models"].values():
        gap = record["drops"][0]["difference"]
        gap.update(value=0.2, low=0.1, high=0.3)
    assert cells(transported(turned)["drops"], 0)[4] == "+0.200"


def test_the_model_that_is_spoken_of_stands_first_in_every_table(found):
    for name in ("drops", "points", "calibration", "repairs", "mix"):
        assert list(dict.fromkeys(row[0] for row in found[name].rows)) == ["combined", "logreg", "cnn"]
    assert found["steps"].headings[2:] == ("combined", "logreg", "cnn")


def test_rates_at_every_frozen_threshold_stand_side_by_side(given, found):
    assert len(found["points"].rows) == 3 * 2 * 2
    point = given["models"]["combined"]["points"][1]  # the chosen one stands before one half
    assert cells(found["points"], 0)[:5] == [
        "combined", "0.200", "sensitivity", percent(point["internal"]["sensitivity"]["value"]),
        percent(point["external"]["sensitivity"]["value"]),
    ]  # fmt: skip


def test_a_difference_of_two_rates_is_in_percentage_points(given, found):
    assert found["points"].headings[-1] == "difference, percentage points"
    gap = given["models"]["combined"]["points"][1]["difference"]["sensitivity"]
    shown = found["points"].rows[0][-1]
    texts, values = (shown.text, *shown.interval.split(" to ")), map(gap.get, ("value", "low", "high"))
    for text, value in zip(texts, values, strict=True):
        assert float(text.replace("−", "-")) == pytest.approx(100 * value, abs=0.051)
    assert "%" not in shown.text + shown.interval


def test_calibration_repairs_mix_and_steps_are_there_for_every_model(found):
    assert len(found["calibration"].rows) == 3 * 5
    assert [row[1] for row in found["repairs"].rows] == ["intercept", "intercept and slope"] * 3
    assert [row[1] for row in found["mix"].rows] == ["test", "hospital-b"] * 3
    assert [row[:2] for row in found["steps"].rows] == [
        ("middle square", "nothing"),
        ("+ a further look: grey levels matched", "their grey levels"),
    ]


def test_a_repair_that_could_not_be_made_says_why(given):
    turned = copy.deepcopy(given)
    turned["models"]["combined"]["repairs"][0] = {
        "kind": "intercept",
        "after": {},
        "changes": {},
        "reason": "no events",
    }
    table = transported(turned)["repairs"]
    (row,) = (row for row in table.rows if row[0] == "combined" and row[1] == "intercept")
    assert row[2].words == "no events"
    assert not any("Recalibrating" in sentence for sentence in transported(turned)["sentences"])


def test_sentences_speak_of_the_combined_model(given, found):
    assert spoken_model(given) == "combined"
    said = " ".join(found["sentences"])
    assert "Were every risk true, combined would reach an AUC of" in said
    assert "Recalibrating the intercept of combined alone" in said


def test_what_risks_promise_is_doubted_where_they_are_not_true(found):
    assert any("But its risks are not true elsewhere" in sentence for sentence in found["sentences"])
    true = content(shift=0.0)
    assert not any("But its risks" in sentence for sentence in transported(true)["sentences"])
    true["models"]["combined"]["calibration"]["calibration_slope"]["external"].update(low=0.1, high=0.9)
    assert any("But its risks are not true" in sentence for sentence in transported(true)["sentences"])


def test_the_images_are_spoken_of_and_none_was_trained_on(found):
    said = " ".join(found["images"])
    assert "The mean grey level is 61 of 255 here and 84 in training" in said
    assert "30 of 200 images (15.0%) lie further from the training images" in said
    assert "No image here shows the same picture as a training image." in said


def test_images_that_were_trained_on_are_named_up_to_ten():
    said = " ".join(transported(content(twins=12))["images"])
    assert "12 images show the same picture as a training image, so these cases are not external" in said
    assert "im9 as train/9; and 2 more" in said


def test_without_limits_from_validation_images_nothing_is_said_of_unlike_ones(given):
    turned = copy.deepcopy(given)
    turned["images"]["texture_distance"]["limit"] = None
    assert not any("lie further" in sentence for sentence in transported(turned)["images"])


def test_without_test_cases_at_home_the_external_auc_stands_alone():
    found = transported(content(home=False))
    assert found["drops"].rows == ()
    assert not any("Were every risk true" in sentence for sentence in found["sentences"])


@pytest.mark.parametrize("lost", ["models", "images", "steps", "external", "seen_in_training"])
def test_a_file_that_lacks_something_is_refused(given, lost):
    with pytest.raises(InputError, match=r"transport\.json is not whole"):
        transported({name: value for name, value in given.items() if name != lost})


HEADER = "corruption,severity,model," + ",".join(
    f"{name}{end}"
    for name in ("auc", "sensitivity", "specificity", "calibration_intercept")
    for end in ("", "_low", "_high")
)


def test_the_table_of_corruptions_speaks_of_one_model_at_three_severities(tmp_path):
    numbers = ",".join(["0.7,0.6,0.8"] * 3 + [",,"])
    lines = [
        f"{kind},{severity},{model},{numbers}"
        for kind, severity in (("as it is", 0), ("blur", 1), ("blur", 5))
        for model in ("logreg", "cnn")
    ]
    (tmp_path / "robustness.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    table = robustness_table(tmp_path / "robustness.csv")
    assert table.headings[0] == "corruption (cnn)"
    assert [row[:2] for row in table.rows] == [("as it is", "0"), ("blur", "5")]
    assert cells(table, 1)[2:4] == ["0.700", "70.0%"]
    assert cells(table, 1)[5] == "not defined"


@pytest.mark.parametrize("text", ["", "corruption,severity\nblur,3\n", HEADER + "\nblur,5,cnn,high\n"])
def test_a_broken_table_of_corruptions_is_refused(tmp_path, text):
    (tmp_path / "robustness.csv").write_text(text)
    with pytest.raises(InputError, match=r"robustness\.csv is not whole"):
        robustness_table(tmp_path / "robustness.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_validation(tmp_path_factory.mktemp("validated") / "out")


@pytest.fixture(scope="module")
def artefacts(folder):
    return read_artefacts(folder)


@pytest.fixture
def record(artefacts):
    """What is known of the combined model, to be changed by a test."""
    turned = copy.deepcopy(artefacts.transport)
    return turned, turned["models"]["combined"]


def said(artefacts, transport):
    changed = type(artefacts)(**{**vars(artefacts), "transport": transport})
    return answer(changed, subject_in(changed))


def test_it_speaks_of_the_combined_model_with_both_aucs_their_difference_and_both_sensitivities(artefacts):
    found = " ".join(answer(artefacts, subject_in(artefacts)))
    record = artefacts.transport["models"]["combined"]
    drop, point = record["drops"][0], record["points"][1]
    for number_ in (record["external_auc"], drop["auc"], drop["difference"]):
        assert all(number(number_[part]) in found for part in ("value", "low", "high"))
    for where in ("internal", "external"):
        assert percent(point[where]["sensitivity"]["value"]) in found
    assert "At the threshold frozen at home, 0.200 (chosen for a sensitivity of 90%)" in found
    assert "logreg" not in found


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [
        (
            {"value": -0.2, "low": -0.3, "high": -0.1},
            "These patients are ranked worse: on hospital-b combined has",
        ),
        ({"value": 0.2, "low": 0.1, "high": 0.3}, "These patients are ranked better: on"),
        (
            {"value": -0.02, "low": -0.1, "high": 0.06},
            "No loss in ranking can be shown, but one of up to 0.100 is not excluded: on",
        ),
        ({"value": -0.2, "low": None, "high": None}, "Whether the ranking holds these cases cannot tell: on"),
    ],
)
def test_the_verdict_says_no_more_than_the_interval(artefacts, record, gap, verdict):
    transport, combined = record
    combined["drops"][0]["difference"].update(gap)
    assert said(artefacts, transport)[0].startswith(verdict)


@pytest.mark.parametrize(
    ("here", "meaning"),
    [
        ({"value": 0.7, "low": 0.6, "high": 0.8}, "about 30 would be missed here"),
        (
            {"value": 0.7, "low": 0.6, "high": 0.8},
            "the frozen threshold misses its aim, and would have to be",
        ),
        ({"value": 0.96, "low": 0.92, "high": 0.98}, "the frozen threshold keeps its aim."),
        ({"value": 0.93, "low": 0.85, "high": 0.96}, "possible, and so does a sensitivity of 85.0%."),
        ({"value": 0.88, "low": 0.8, "high": 0.93}, "possible, and so does a sensitivity of 80.0%."),
    ],
)
def test_what_the_threshold_means_follows_its_aim_and_the_interval(artefacts, record, here, meaning):
    transport, combined = record
    combined["points"][1]["external"]["sensitivity"].update(here)
    assert meaning in said(artefacts, transport)[2]


def test_without_a_sensitivity_at_home_that_here_is_said_alone(artefacts, record):
    transport, combined = record
    combined["points"][1]["internal"]["sensitivity"].update(value=None, low=None, high=None)
    _, _, meaning, _ = said(artefacts, transport)
    assert re.match(r"So of 100 malignant cases about \d+ would be missed here: ", meaning)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            {"value": 1.9, "low": 1.6, "high": 2.3},
            "Its risks are too low here: 1.90 (1.60 to 2.30) malignant",
        ),
        ({"value": 0.5, "low": 0.4, "high": 0.7}, "Its risks are too high here"),
        ({"value": 1.1, "low": 0.9, "high": 1.3}, "That its risks are off on average cannot be shown: 1.10"),
        (
            {"value": None, "low": None, "high": None, "method": "no event is expected"},
            "Whether its risks are right on average these cases cannot tell: no event is expected.",
        ),
    ],
)
def test_the_level_of_the_risks_is_judged_by_its_interval(artefacts, record, found, words):
    transport, combined = record
    combined["calibration"]["observed_expected"]["external"].update(found)
    assert said(artefacts, transport)[-1].startswith(words)


def test_without_test_cases_at_home_the_external_auc_stands_alone_of_validation_answer(artefacts):
    first, *rest = said(artefacts, content(home=False))
    assert first.startswith("On hospital-b combined reaches an AUC of")
    assert len(rest) == 1
    row = table(content(home=False)).rows[0]
    assert row[1].text == row[4].text == "–"


def test_images_that_were_trained_on_are_spoken_of_before_anything_else(artefacts):
    first, second, *_ = said(artefacts, content(twins=12))
    assert first.startswith("12 of 200 images show the same picture as a training image of the run")
    assert second == said(artefacts, content())[0]


def test_the_table_has_every_model_the_combined_one_first(artefacts):
    found = table(artefacts.transport)
    assert [row[0] for row in found.rows] == ["combined", "logreg", "cnn"]
    assert len(set(map(len, [found.headings, *found.rows]))) == 1
    point = artefacts.transport["models"]["cnn"]["points"][1]
    assert found.rows[2][6].text == percent(point["external"]["sensitivity"]["value"])
    assert found.headings[7] == "difference, percentage points"
    assert found.rows[2][7].text == signed(point["difference"]["sensitivity"]["value"], as_points=True)


@pytest.mark.parametrize("lost", ["models", "external"])
def test_a_file_that_lacks_something_is_refused_of_validation_answer(artefacts, lost):
    whole = artefacts.transport
    with pytest.raises(InputError, match=r"transport\.json is not whole"):
        said(artefacts, {name: value for name, value in whole.items() if name != lost})


def test_the_page_says_what_was_validated_where_and_promises_nothing_that_is_not_there(folder):
    page = write_report(folder).read_text(encoding="utf-8")
    for words in (
        "External validation · hospital-b",
        "Do the models trained on BreastMNIST hold among the patients of hospital-b?",
        "28 × 28 pixels, official split, commit abababababab",
        "column patient",
        "scaling, models, recalibrations, thresholds",
        "Every model at home and here, frozen",
        "Wrong calls of combined",
        "combined by device, threshold 0.200",
        "in percentage points (pp) for the rates",
        " pp (",
        "histology: counts only",
        "No subgroups were made of Width: named for the picture&#39;s file, not for the patient",
        "Judged by the AUC of combined: with",
        '"opens_at":"sensitivity_90"',
    ):
        assert words in page, words
    for words in ("a table of predictions", "training images most like it", "> 40 more<", "by Width"):
        assert words not in page


def test_a_transport_file_of_an_earlier_version_makes_a_page_too(tmp_path):
    given = content()
    del given["run"], given["group_column"]
    folder = write_validation(tmp_path / "out")

    (folder / "transport.json").write_text(json.dumps(given), encoding="utf-8")
    page = write_report(folder).read_text(encoding="utf-8")
    assert "every image counts alone" in page
