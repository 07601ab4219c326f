"""A validation's report: internal beside external, and never more than the intervals allow."""

import copy
import dataclasses
import json

import pytest
from transport_content import content, write_validation

from clineval.errors import InputError
from clineval.reporting.artefacts import read_artefacts
from clineval.reporting.external import (
    beside,
    external_parts,
    fall,
    holds,
    robustness_table,
    spoken,
    subject_in,
    unlike,
    verdict_in,
)
from clineval.reporting.report import write_report
from clineval.reporting.sentences import number, percent, signed
from clineval.reporting.verdict import NO, UNCLEAR, YES, verdict_on
from clineval.statistics.intervals import Estimate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_validation(tmp_path_factory.mktemp("validated") / "out")


@pytest.fixture(scope="module")
def artefacts(folder):
    return read_artefacts(folder)


@pytest.fixture(scope="module")
def subject(artefacts):
    return subject_in(artefacts)


@pytest.fixture(scope="module")
def given(artefacts):
    return artefacts.transport


@pytest.fixture(scope="module")
def found(given, subject):
    return external_parts(given, subject)


@pytest.fixture
def record(given):
    """The whole content, and what is known of the primary model, to be changed by a test."""
    turned = copy.deepcopy(given)
    return turned, turned["models"]["combined"]


def cells(table, row: int) -> list[str]:
    return [value if isinstance(value, str) else value.text for value in table.rows[row]]


def test_the_drop_is_given_with_both_aucs_and_what_calibrated_risks_would_give(given, found):
    record = given["models"]["combined"]
    drop = record["drops"][0]
    assert cells(found["drops"], 0)[2:5] == [
        number(each["value"]) for each in (drop["auc"], record["external_auc"], drop["difference"])
    ]
    promised = [number(record["mix"][where]["expected_auc"]) for where in ("test", "external")]
    assert cells(found["drops"], 0)[-1] == " / ".join(promised)


def test_a_gain_carries_its_sign(record, subject):
    turned, combined = record
    combined["drops"][0]["difference"].update(value=0.2, low=0.1, high=0.3)
    assert cells(external_parts(turned, subject)["drops"], 0)[4] == "+0.200"


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (-0.14, -0.22, -0.06, "Lower than on the internal test cases by 0.14 (0.06 to 0.22)."),
        (0.08, 0.01, 0.15, "Higher than on the internal test cases by 0.08 (0.01 to 0.15)."),
        (-0.03, -0.1, 0.04, "No evidence of a fall from the internal test cases: −0.03 (−0.10 to 0.04)."),
        (-0.03, None, None, "Change from the internal test cases: −0.03 (no interval: few groups)."),
    ],
)
def test_the_fall_of_the_auc_is_said_with_its_interval(record, subject, value, low, high, said):
    turned, combined = record
    combined["drops"][0]["difference"].update(value=value, low=low, high=high, method="few groups")
    assert fall(turned, subject) == said


def test_without_internal_test_cases_no_fall_is_said(record, subject):
    turned, combined = record
    combined["drops"] = []
    assert fall(turned, subject) == ""


def test_the_light_on_ranking_says_the_fall(folder, given, subject):
    page = write_report(folder).read_text()
    light = page.split("Does it rank?")[1].split("</article>")[0]
    assert fall(given, subject) in light


def gap(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high)


NONE = Estimate(0.0, float("nan"), float("nan"))


@pytest.mark.parametrize(
    ("shortfall", "change", "excluded", "state"),
    [
        (gap(-0.05, 0.03), gap(-0.1, 0.02), False, YES),
        (gap(0.01, 0.03), gap(0.01, 0.02), False, YES),
        (gap(-0.05, 0.03), gap(-0.1, 0.02), True, UNCLEAR),
        (gap(-0.051, 0.03), gap(-0.1, 0.02), False, UNCLEAR),
        (gap(-0.2, 0.0), gap(-0.1, 0.0), False, UNCLEAR),
        (gap(-0.2, -0.001), gap(-0.1, 0.02), False, NO),
        (gap(-0.05, 0.03), gap(-0.1, -0.001), False, NO),
        (gap(-0.2, -0.1), None, True, NO),
        (gap(-0.05, 0.03), None, False, UNCLEAR),
        (gap(-0.05, 0.03), NONE, False, UNCLEAR),
        (NONE, gap(-0.1, 0.02), False, UNCLEAR),
        (None, None, False, UNCLEAR),
    ],
)
def test_a_model_holds_only_where_neither_sensitivity_nor_auc_fell(shortfall, change, excluded, state):
    assert holds(shortfall, change, excluded=excluded) == state


def with_rate(subject, value: float, low: float, high: float, *, gain: Estimate | None = None):
    """The subject with another sensitivity at its primary threshold, and no net loss there."""
    scores, point = subject.scores(subject.main), subject.point()
    rates = {**point.rates, "sensitivity": Estimate(value, low, high)}
    changed = dataclasses.replace(point, gain=gain or Estimate(0.05, 0.01, 0.09), **rates)
    points = tuple(changed if each is point else each for each in scores.operating_points)
    scores = dataclasses.replace(scores, operating_points=points)
    models = {
        **subject.evaluation.models,
        subject.main: {**subject.evaluation.models[subject.main], subject.population: scores},
    }
    return dataclasses.replace(subject, evaluation=dataclasses.replace(subject.evaluation, models=models))


def opening(turned, combined, subject, change=(-0.03, -0.1, 0.04)) -> str:
    combined["drops"][0]["difference"].update(zip(("value", "low", "high"), change, strict=True))
    at = next(each for each in combined["points"] if each["name"] == "sensitivity_90")
    at["internal"]["sensitivity"]["value"] = 0.93
    return verdict_in(turned, subject).opening


@pytest.mark.parametrize(
    ("rate", "change", "said"),
    [
        (
            (0.53, 0.43, 0.63),
            (-0.16, -0.23, -0.06),
            "No: at the frozen threshold it misses 47 of 100 malignant cases here, 7 of 100 on the internal "
            "test cases. Set a threshold on local patients before any use: clineval adopt.",
        ),
        (
            (0.9, 0.86, 0.95),
            (-0.16, -0.23, -0.06),
            "No: its AUC is lower here by 0.16 (0.06 to 0.23); at the frozen threshold it misses 10 "
            "of 100 malignant cases here, 7 of 100 on the internal test cases. A local threshold does not "
            "restore the ranking. What local cases would change: clineval adopt.",
        ),
        (
            (0.88, 0.79, 0.95),
            (-0.03, -0.1, 0.04),
            "Uncertain: at the frozen threshold it misses 12 of 100 malignant cases here (5 to 21), 7 of 100 "
            "on the internal test cases. Validate it on more local patients before any use.",
        ),
        (
            (0.92, 0.86, 0.95),
            (-0.03, -0.1, 0.04),
            "Yes: at the frozen threshold it misses 8 of 100 malignant cases here, 7 of 100 on the internal "
            "test cases, with no evidence of a lower AUC. Check it on later patients before use.",
        ),
    ],
)
def test_a_validation_opens_with_the_answer_and_what_to_do(record, subject, rate, change, said):
    assert opening(*record, with_rate(subject, *rate), change) == said


def test_yes_is_not_said_of_images_seen_in_training_or_of_a_net_loss(record, subject):
    loss = with_rate(subject, 0.92, 0.86, 0.95, gain=Estimate(-0.05, -0.09, -0.01))
    assert "but acting without the model would do more good" in opening(*record, loss)
    record[0]["seen_in_training"] = [{}]
    known = opening(*record, with_rate(subject, 0.92, 0.86, 0.95))
    assert known.startswith("Uncertain: ")
    assert "some of these images were seen in training" in known


def test_the_answer_names_the_aim_where_the_internal_cases_miss_it_too(record, subject):
    turned, combined = record
    combined["points"] = []
    said = verdict_in(turned, with_rate(subject, 0.53, 0.43, 0.63)).opening
    assert "misses 47 of 100 malignant cases here; the aim is 10 at most. Set a threshold" in said


def test_only_a_validation_opens_with_an_answer(folder, given, subject):
    found, page = verdict_in(given, subject), write_report(folder).read_text()
    assert f"<strong>{found.opening}</strong> <span>{found.headline}</span>" in page
    assert verdict_in({}, subject) == verdict_on(subject)
    assert verdict_on(subject).opening == ""


@pytest.mark.parametrize(
    ("change", "state", "answer"),
    [
        ((-0.16, -0.23, -0.06), UNCLEAR, "Worse here"),
        ((-0.16, -0.23, 0.0), YES, "Yes"),
        ((0.16, 0.06, 0.23), YES, "Yes"),
    ],
)
def test_the_light_on_ranking_is_not_green_where_the_auc_fell(
    record, subject, change, state, answer, monkeypatch
):
    turned, combined = record
    combined["drops"][0]["difference"].update(zip(("value", "low", "high"), change, strict=True))
    monkeypatch.setitem(subject.scores(subject.main).measures, "auc_logit", Estimate(0.8, 0.75, 0.85))
    light = verdict_in(turned, subject).lights[0]
    assert (light.state, light.answer) == (state, answer)


def test_images_unlike_the_training_images_are_counted_below_the_verdict(folder, record):
    turned, _ = record
    assert unlike(turned) == "30 of 200 images (15%) are unlike the training images."
    assert unlike(turned) in write_report(folder).read_text().split('class="hero"')[0]
    turned["images"]["texture_distance"]["limit"] = None
    assert unlike(turned) == unlike({}) == ""


def test_the_primary_model_comes_first_in_every_table_then_the_baseline(found):
    for name in ("summary", "drops", "points", "calibration", "recalibrated", "mix"):
        assert list(dict.fromkeys(row[0] for row in found[name].rows)) == ["combined", "logreg", "cnn"]
    assert found["steps"].headings[2:] == ("combined", "logreg", "cnn")


def test_rates_at_every_frozen_threshold_are_side_by_side(given, found):
    assert len(found["points"].rows) == 3 * 2 * 2
    point = given["models"]["combined"]["points"][1]  # the chosen one comes before one half
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


def test_calibration_recalibration_mix_and_steps_are_there_for_every_model(found):
    assert len(found["calibration"].rows) == 3 * 5
    assert [row[1] for row in found["recalibrated"].rows] == ["intercept", "intercept and slope"] * 3
    assert [row[1] for row in found["mix"].rows] == ["test", "hospital-b"] * 3
    assert [row[:2] for row in found["steps"].rows] == [
        ("middle square", "nothing"),
        ("+ a further look: grey levels matched", "their grey levels"),
    ]


def test_a_recalibration_that_could_not_be_made_says_why(record, subject):
    turned, combined = record
    combined["repairs"][0] = {"kind": "intercept", "after": {}, "changes": {}, "reason": "no events"}
    table = external_parts(turned, subject)["recalibrated"]
    assert table.rows[0][2].words == "no events"


def test_the_summary_has_every_model_with_both_sensitivities(given, found):
    table = found["summary"]
    assert len(set(map(len, [table.headings, *table.rows]))) == 1
    point = given["models"]["cnn"]["points"][1]
    assert table.rows[2][6].text == percent(point["external"]["sensitivity"]["value"])
    assert table.rows[2][7].text == signed(point["difference"]["sensitivity"]["value"], as_points=True)


def test_the_lights_have_internal_beside_external(given, subject):
    record, pairs = given["models"]["combined"], beside(given, subject)
    both = (record["drops"][0]["auc"], record["external_auc"])
    assert pairs["ranking"] == tuple(f"AUC {each['value']:.2f}" for each in both)
    assert pairs["data"][1] == f"{record['mix']['external']['events']} malignant"
    assert list(pairs) == ["ranking", "risks", "benefit", "data"]
    assert set(beside(content(tested=False), subject)) <= {"benefit"}


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        ({"value": -0.2, "low": -0.3, "high": -0.1}, "The ranking is worse here: AUC"),
        ({"value": 0.2, "low": 0.1, "high": 0.3}, "The ranking is better here: AUC"),
        (
            {"value": -0.02, "low": -0.1, "high": 0.06},
            "No evidence of a loss in ranking, but one of up to 0.10 is not excluded: AUC",
        ),
        ({"value": -0.2, "low": None, "high": None}, "Whether the ranking holds cannot be judged: AUC"),
    ],
)
def test_a_change_in_ranking_is_said_as_far_as_the_interval_allows(record, subject, gap, words):
    turned, combined = record
    combined["drops"][0]["difference"].update(gap)
    assert external_parts(turned, subject)["changes"][0].startswith(words)


@pytest.mark.parametrize(
    ("here", "words"),
    [
        ({"value": 0.7, "low": 0.6, "high": 0.8}, "30 of 100 malignant cases are missed"),
        ({"value": 0.7, "low": 0.6, "high": 0.8}, "It does not reach the sensitivity of 90%"),
        ({"value": 0.96, "low": 0.92, "high": 0.98}, "It reaches the sensitivity of 90%"),
        ({"value": 0.93, "low": 0.85, "high": 0.96}, "do not show whether it reaches the sensitivity of 90%"),
    ],
)
def test_what_the_threshold_means_follows_its_aim_and_the_interval(record, subject, here, words):
    turned, combined = record
    combined["points"][1]["external"]["sensitivity"].update(here)
    assert words in external_parts(turned, subject)["changes"][1]


def test_without_internal_test_cases_the_external_auc_is_given_alone(subject):
    found = external_parts(content(tested=False), subject)
    assert found["drops"].rows == ()
    assert "the run has no test cases of it to compare" in found["changes"][0]
    assert found["summary"].rows[0][1].text == found["summary"].rows[0][4].text == "–"


def test_images_that_were_trained_on_are_spoken_of_first_and_named_up_to_ten(subject):
    found = external_parts(content(seen=12), subject)
    assert found["changes"][0].startswith("12 of 200 images were seen in training")
    assert "im9 as train/9; and 2 more" in found["images"][-1]


def test_the_images_are_compared_with_those_of_training(found):
    said = " ".join(found["images"])
    assert "The mean grey level is 61 of 255 here and 84 in training" in said
    assert "30 of 200 images (15%) are less like the training images" in said
    assert "No image here was seen in training." in said


def test_burnt_in_marks_are_told_with_the_images_that_have_them(subject):
    names = [f"image {number}" for number in range(12)]
    marked = {**content(), "warnings": {"burnt_in": names, "unlike_training": names}}
    (said,) = (each for each in external_parts(marked, subject)["images"] if "burnt in" in each)
    assert said.startswith("12 of 200 images have text or measuring marks burnt in: image 0; image 1;")
    assert said.endswith("image 9; and 2 more.")


def test_without_limits_from_validation_images_nothing_is_said_of_unlike_ones(record, subject):
    turned, _ = record
    turned["images"]["texture_distance"]["limit"] = None
    assert not any("less like" in sentence for sentence in external_parts(turned, subject)["images"])


@pytest.mark.parametrize("lost", ["models", "images", "steps", "external", "seen_in_training"])
def test_a_file_that_lacks_something_is_refused(given, subject, lost):
    with pytest.raises(InputError, match=r"transport\.json is incomplete"):
        external_parts({name: value for name, value in given.items() if name != lost}, subject)


HEADER = "corruption,severity,model," + ",".join(
    f"{name}{end}"
    for name in ("auc", "sensitivity", "specificity", "calibration_intercept")
    for end in ("", "_low", "_high")
)


def test_the_table_of_corruptions_speaks_of_one_model_at_three_severities(tmp_path, subject):
    numbers = ",".join(["0.7,0.6,0.8"] * 3 + [",,"])
    lines = [
        f"{kind},{severity},{model},{numbers}"
        for kind, severity in (("as it is", 0), ("blur", 1), ("blur", 5))
        for model in ("logreg", "combined")
    ]
    (tmp_path / "robustness.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    table = robustness_table(tmp_path / "robustness.csv", subject)
    assert table.headings[0] == "corruption (combined)"
    assert [row[:2] for row in table.rows] == [("as it is", "0"), ("blur", "5")]
    assert cells(table, 1)[2:4] == ["0.700", "70.0%"]
    assert cells(table, 1)[5] == "not defined"


@pytest.mark.parametrize("text", ["", "corruption,severity\nblur,3\n", HEADER + "\nblur,5,cnn,high\n"])
def test_a_broken_table_of_corruptions_is_refused(tmp_path, subject, text):
    (tmp_path / "robustness.csv").write_text(text)
    with pytest.raises(InputError, match=r"robustness\.csv is incomplete"):
        robustness_table(tmp_path / "robustness.csv", subject)


def test_the_model_spoken_of_is_the_primary_one_else_the_combined_one():
    assert spoken(["a", "combined", "cnn"], "a") == "a"
    assert spoken(["a", "cnn", "combined"]) == "combined"
    assert spoken(["a", "b"], "gone") == "a"


def test_files_that_declare_no_primary_model_speak_of_the_combined_one(artefacts):
    old = dataclasses.replace(artefacts.evaluation, primary=None)
    subject = subject_in(dataclasses.replace(artefacts, evaluation=old))
    assert (subject.main, subject.baseline) == ("combined", "logreg")
    assert subject.point().name == "sensitivity_90"


def test_the_page_says_what_was_validated_where_and_promises_nothing_that_is_not_there(folder):
    page = write_report(folder).read_text(encoding="utf-8")
    for words in (
        "External validation · hospital-b",
        "Does the model “combined”, trained on BreastMNIST, hold in hospital-b?",
        "28 × 28 pixels, official split, commit abababababab",
        "In hospital-b",
        "Ranking and found cases, internal and external",
        "Wrong calls of combined",
        "device: scanner 1",
        "in percentage points (pp) for the rates",
        " pp (",
        "histology: counts only",
        "No subgroups were made of Width: named for the image file, not for the patient",
        '"opens_at":"sensitivity_90"',
    ):
        assert words in page, words
    for words in ("training images most like", "by Width", "at home", "elsewhere:"):
        assert words not in page


@pytest.mark.slow
def test_a_transport_file_of_an_earlier_version_makes_a_page_too(tmp_path):
    given = content()
    del given["run"], given["group_column"]
    folder = write_validation(tmp_path / "out")
    (folder / "transport.json").write_text(json.dumps(given), encoding="utf-8")
    page = write_report(folder).read_text(encoding="utf-8")
    assert "every image counts as a patient" in page
