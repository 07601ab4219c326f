"""The report's section on other patients: every number from transport.json, every sentence true of it."""

import copy

import pytest
from transport_content import content

from clineval.refusal import Refusal
from clineval.reporting.transported import robustness_table, spoken_model, transported
from clineval.reporting.wording import number, percent


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
    with pytest.raises(Refusal, match=r"transport\.json is not whole"):
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
    with pytest.raises(Refusal, match=r"robustness\.csv is not whole"):
        robustness_table(tmp_path / "robustness.csv")
