"""Tables of predictions as spreadsheets, other programs and other people write them."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from clineval.cli.main import run_command

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted")]

CASES = Path(__file__).parent / "cases"
BASE = CASES / "base" / "base.csv"
WITH_INTERVAL = ("calibration_slope", "observed_expected", "brier", "ici")


@pytest.fixture
def score(tmp_path, capsys):
    """Runs ``clineval evaluate``: exit code, standard error and, where it was scored, evaluation.json."""

    def scored(table, *words):
        out = tmp_path / "evaluation"
        capsys.readouterr()
        code = run_command(
            ["evaluate", str(table), *map(str, words), "--draws", "20", "--out", str(out), "--force"]
        )
        path = out / "evaluation.json"
        record = json.loads(path.read_text()) if code == 0 else None
        return SimpleNamespace(code=code, said=capsys.readouterr().err, record=record, folder=out)

    return scored


def measures(ended, population="test"):
    """What evaluation.json says of the first model."""
    assert ended.code == 0, ended.said
    return next(iter(ended.record["models"].values()))[population]


def assert_base(found):
    """The scores of the 60 cases of base.csv, whatever form they came in."""
    assert (found["cases"], found["events"]) == (60, 24)
    for name, value, low, high in (
        ("auc", 0.831019, 0.726006, 0.936031),
        ("auc_logit", 0.831019, 0.699528, 0.912190),
        ("calibration_slope", 1.353894, 0.625611, 2.082177),
    ):
        estimate = found[name]
        expected = pytest.approx((value, low, high), abs=1e-6)  # the digits that the table of cases gives
        assert (estimate["value"], estimate["low"], estimate["high"]) == expected
    assert found["calibration_intercept"]["value"] == pytest.approx(0.071311, abs=1e-6)
    assert found["ici"]["value"] == pytest.approx(0.048559, abs=1e-6)
    assert found["brier"]["value"] == pytest.approx(0.163319, abs=1e-6)


def refusal(ended) -> str:
    """The one line of a refusal, in which Python's own words have no place."""
    assert ended.code == 3, ended.said
    lines = [line for line in ended.said.splitlines() if "clineval: " in line and "Scoring" not in line]
    assert len(lines) == 1
    assert not re.search(r"NoneType|has no attribute|invalid literal|Traceback|object is not", lines[0])
    return lines[0]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_the_base_table_has_the_scores_that_the_other_forms_must_reach(score):
    assert_base(measures(score(BASE)))


# Words of the splits ----------------------------------------------------------------------------------

LOWER = CASES / "splits" / "lower.csv"
WORDS = {
    "capital": ("Train", "Val", "Test"),
    "long": ("training", "Validation", "TEST"),
    "short": ("TRAIN", "valid", "testing"),
    "dev": ("Training", "dev", "test"),
}


@pytest.mark.parametrize(
    "words",
    WORDS.values(),
    ids=WORDS.keys(),
)
def test_split_words_are_read_whatever_their_case_and_length(score, tmp_path, words):
    table = pd.read_csv(LOWER)
    table["split"] = table["split"].map(dict(zip(("train", "val", "test"), words, strict=True)))
    table.to_csv(tmp_path / "lower.csv", index=False)
    expected = score(LOWER).record
    found = score(tmp_path / "lower.csv")
    assert found.record["models"] == expected["models"]


def test_the_table_with_capital_split_words_is_scored_as_the_one_without(score):
    expected, found = score(LOWER).record["models"], score(CASES / "splits" / "capital.csv").record["models"]
    assert found["capital"] == expected["lower"]
    assert "Train" not in found["capital"]


@pytest.mark.parametrize("word", ["trian", "vald", "tset", "tests", "derivation", "1"])
def test_a_misspelt_split_word_is_refused_and_never_taken_for_a_cohort(score, tmp_path, word):
    table = pd.read_csv(LOWER)
    meant = {"trian": "train", "vald": "val", "derivation": "train"}.get(word, "test")
    table["split"] = table["split"].replace(meant, word)
    table.to_csv(tmp_path / "misspelt.csv", index=False)
    said = refusal(score(tmp_path / "misspelt.csv"))
    assert word in said
    assert meant in said


def test_an_external_cohort_keeps_its_own_name(score, tmp_path):
    table = pd.read_csv(LOWER)
    table["split"] = table["split"].replace("test", "hospital-b")
    table.to_csv(tmp_path / "external.csv", index=False)
    assert measures(score(tmp_path / "external.csv"), "hospital-b")["cases"] == 60


# Few groups -------------------------------------------------------------------------------------------

FEW = ("groups/diagnosis.csv", "groups/one.csv", "csv-excel/ids.csv")  # 2, 1 and 3 groups


@pytest.mark.parametrize("name", FEW)
def test_too_few_groups_give_no_interval_and_the_reason(score, name):
    found = measures(score(CASES / name))
    for measure in WITH_INTERVAL:
        estimate = found[measure]
        assert (estimate["low"], estimate["high"]) == (None, None), measure
        assert "group" in estimate["method"], measure
    assert found["brier"]["value"] == pytest.approx(0.163319, abs=1e-6)
    curve = found["decision_curve"]
    assert all(bound is None for bound in (*curve["low"], *curve["high"]))


@pytest.mark.parametrize("name", FEW)
def test_groups_fewer_than_a_tenth_of_the_cases_are_warned_of(score, name):
    ended = score(CASES / name)
    measures(ended)
    assert re.search(r"\b[123] groups?\b", ended.said), ended.said


def test_a_group_that_holds_two_splits_is_warned_of(score, tmp_path):
    table = pd.read_csv(LOWER)
    table["group"] = np.arange(len(table)) % 30
    table.to_csv(tmp_path / "across.csv", index=False)
    ended = score(tmp_path / "across.csv")
    assert ended.code == 0
    assert re.search(r"group.*(train|split)", ended.said)


def test_patients_of_two_images_keep_their_intervals(score):
    found = measures(score(CASES / "groups" / "patients.csv"))
    assert found["groups"] == 28
    for measure in WITH_INTERVAL:
        assert found[measure]["high"] is not None


# Risks stored in fewer bits ---------------------------------------------------------------------------


def counts(found, threshold):
    (point,) = (
        one
        for one in found["operating_points"]
        if one["name"] == "given" and one["threshold"] == pytest.approx(threshold, abs=1e-6)
    )
    cells = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    return tuple(point[cell] for cell in cells)


def test_single_precision_risks_give_the_counts_of_the_numbers_that_were_meant(score):
    folder = CASES / "float32"
    expected = counts(measures(score(folder / "f32.csv", "--threshold", "0.7")), 0.7)
    assert expected == (20, 5, 10, 25)
    assert counts(measures(score(folder / "f32.parquet", "--threshold", "0.7")), 0.7) == expected


def test_half_precision_risks_give_the_same_counts(score, tmp_path):
    table = pd.read_csv(CASES / "float32" / "f32.csv").astype({"risk": np.float16})
    table.to_parquet(tmp_path / "f16.parquet")
    assert counts(measures(score(tmp_path / "f16.parquet", "--threshold", "0.4")), 0.4) == (30, 5, 0, 25)


# Decimal commas, thousands separators and units in attributes -----------------------------------------

EXCEL = CASES / "csv-excel"


def subgroups(ended):
    found = measures(ended)["subgroups"]
    assert found
    return json.dumps(found)


def test_an_attribute_with_decimal_commas_makes_the_subgroups_of_one_with_points(score, tmp_path):
    for name, other in (("age-dot", "dot"), ("age-only", "comma")):
        (tmp_path / other).mkdir()
        write(tmp_path / other / "age.csv", (EXCEL / f"{name}.csv").read_text())
    expected = subgroups(score(tmp_path / "dot" / "age.csv"))
    assert subgroups(score(tmp_path / "comma" / "age.csv")) == expected


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("{whole},{tenth}", id="decimal comma"),
        pytest.param("1.0{whole},{tenth}", id="points between thousands"),
        pytest.param("1,0{whole}.{tenth}", id="commas between thousands"),
        pytest.param("{whole}.{tenth} mm", id="unit"),
        pytest.param("{whole},{tenth} mm", id="unit and comma"),
    ],
)
def test_an_attribute_in_another_notation_makes_the_subgroups_of_the_plain_number(score, tmp_path, form):
    table = pd.read_csv(EXCEL / "age-dot.csv", sep=";", dtype={"age": str})
    told = [form.format(whole=age.partition(".")[0], tenth=age.partition(".")[2]) for age in table["age"]]
    plain = [("10" if "1.0" in form or "1,0" in form else "") + age for age in table["age"]]
    for folder, ages in (("plain", plain), ("told", told)):
        (tmp_path / folder).mkdir()
        table.assign(age=ages).to_csv(tmp_path / folder / "age.csv", sep=";", index=False)
    expected = subgroups(score(tmp_path / "plain" / "age.csv"))
    found = subgroups(score(tmp_path / "told" / "age.csv"))
    assert found.replace(" mm", "") == expected


# What Excel writes ------------------------------------------------------------------------------------

OWN_NAMES = {
    "tie.csv": ("--risk-column", "risk, malignant"),
    "more.csv": ("--risk-column", "risk (0, 1)", "--outcome-column", "outcome, 1 = malignant"),
}


@pytest.mark.parametrize(
    "name",
    [
        *("semicolon.csv", "quoted.csv"),
        *("sep.csv", "two.csv", "rows.csv", "tie.csv", "more.csv"),
    ],
)
def test_a_table_as_excel_writes_it_has_the_scores_of_the_plain_one(score, name):
    assert_base(measures(score(EXCEL / name, *OWN_NAMES.get(name, ()))))


@pytest.mark.parametrize("name", ["semicolon.csv", "quoted.csv"])
def test_a_decimal_comma_that_was_read_is_said(score, name):
    ended = score(EXCEL / name)
    assert ended.code == 0
    assert "decimal comma" in ended.said


def test_a_column_of_commas_and_points_is_refused_by_the_comma(score, tmp_path):
    text = (EXCEL / "semicolon.csv").read_text().replace("0,5579", "0.5579", 1)
    assert "comma" in refusal(score(write(tmp_path / "mixed.csv", text)))


def test_semicolons_at_the_end_of_every_line_are_empty_columns(score, tmp_path):
    text = "".join(f"{line};;;\n" for line in BASE.read_text().replace(",", ";").splitlines())
    assert_base(measures(score(write(tmp_path / "trailing.csv", f"sep=;\n{text}"))))


# Words of the outcome ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("malignant.csv", "malignant"),
        ("one-two.csv", "2"),
        ("yes-no.csv", "yes"),
        ("minus.csv", "1"),
        ("minus.csv", "1.0"),
    ],
)
def test_the_word_for_the_condition_can_be_named(score, name, word):
    assert_base(measures(score(CASES / "outcomes" / name, "--positive", word)))


@pytest.mark.parametrize("name", ["malignant.csv", "one-two.csv", "minus.csv", "yes-no.csv"])
def test_an_outcome_in_words_is_never_guessed(score, name):
    refusal(score(CASES / "outcomes" / name))


def test_a_refused_outcome_word_leads_to_the_option(score):
    assert "--positive" in refusal(score(CASES / "outcomes" / "malignant.csv"))


# MedMNIST's first result form -------------------------------------------------------------------------


@pytest.fixture
def first_form(tmp_path, real_data_folder, real_breastmnist, monkeypatch):
    """A file of the first form on the official test cases, with one score (of label 1) or two; its AUC."""
    monkeypatch.setenv("CLINEVAL_DATA", str(real_data_folder))
    malignant = real_breastmnist.select(real_breastmnist.within("test")).outcome
    risk = np.round(np.random.default_rng(0).random(len(malignant)), 4)

    def written(scores):
        columns = {"score_0": risk, "score_1": 1 - risk} if scores == 2 else {"score_0": 1 - risk}
        path = tmp_path / "breastmnist_test_v1.csv"
        table = pd.DataFrame({"true_0": (~malignant).astype(int), **columns}).rename_axis("id")
        table.to_csv(path, encoding="utf-8-sig")
        sick, well = risk[malignant], risk[~malignant]
        return path, (sick[:, None] > well).mean() + (sick[:, None] == well).mean() / 2

    return written


@pytest.mark.real_data
@pytest.mark.parametrize("scores", [1, 2])
def test_the_first_result_form_of_medmnist_is_read(score, first_form, scores):
    path, wins = first_form(scores)
    found = measures(score(path, "--medmnist", "breastmnist"))
    assert (found["cases"], found["events"]) == (156, 42)
    assert found["auc"]["value"] == pytest.approx(wins, abs=1e-9)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["breastmnist_test_v1.csv", "breastmnist_test_v1one.csv"])
def test_labels_that_are_not_those_of_the_data_set_are_refused(score, real_data_folder, monkeypatch, name):
    monkeypatch.setenv("CLINEVAL_DATA", str(real_data_folder))
    said = refusal(score(CASES / "medmnist-v1" / name, "--medmnist", "breastmnist"))
    assert "'true_0'" in said
    assert "84 of 156 cases" in said
    assert "leave out --medmnist and say which label is the condition with --positive 0" in said


@pytest.mark.parametrize("condition", [0, 1])
@pytest.mark.parametrize("name", ["breastmnist_test_v1.csv", "breastmnist_test_v1one.csv"])
def test_the_first_result_form_is_scored_by_its_own_labels(score, name, condition):
    rows = pd.read_csv(CASES / "medmnist-v1" / name)
    of_one = rows["score_1"] if "score_1" in rows else rows["score_0"]
    sick, well = (of_one[rows["true_0"] == label].to_numpy() for label in (1, 0))
    wins = ((sick[:, None] > well).mean() + (sick[:, None] == well).mean() / 2).item()
    found = measures(score(CASES / "medmnist-v1" / name, "--positive", str(condition)))
    assert (found["cases"], found["events"]) == (156, (rows["true_0"] == condition).sum())
    assert found["auc"]["value"] == pytest.approx(wins, abs=1e-9)


def test_the_first_result_form_does_not_say_which_label_is_the_condition(score):
    said = refusal(score(CASES / "medmnist-v1" / "breastmnist_test_v1.csv"))
    assert "expected the label of the condition, --positive 0 or --positive 1, got nothing" in said
    assert "--medmnist NAME" in said


# Rounding, and messages that see the whole column -----------------------------------------------------

RISKS = CASES / "risks"


def test_a_risk_above_one_by_rounding_is_clipped_and_said(score, tmp_path):
    clipped = write(tmp_path / "above.csv", (RISKS / "above.csv").read_text().replace("1.00000978", "1"))
    expected = score(clipped).record["models"]
    ended = score(RISKS / "above.csv")
    assert ended.code == 0, ended.said
    assert ended.record["models"] == expected
    assert re.search(r"1 risk|1 value|clipped|rounding", ended.said)


def test_a_risk_below_zero_by_rounding_is_clipped(score, tmp_path):
    text = BASE.read_text().replace("0.2692", "-0.00001", 1)
    assert measures(score(write(tmp_path / "below.csv", text)))["cases"] == 60


def test_a_risk_above_one_by_more_than_rounding_is_refused(score, tmp_path):
    refusal(score(write(tmp_path / "more.csv", BASE.read_text().replace("0.5579", "1.002", 1))))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("logits.csv", "score|logit"),
        ("ratings.csv", "rating"),
        ("sign.csv", "percent"),
    ],
)
def test_the_message_judges_the_whole_column(score, name, words):
    said = refusal(score(RISKS / name))
    assert re.search(words, said), said
    if name != "sign.csv":
        assert "percentages" not in said


def test_percentages_are_called_percentages(score, tmp_path):
    table = pd.read_csv(BASE)
    table.assign(risk=100 * table["risk"]).to_csv(tmp_path / "percent.csv", index=False)
    assert "percentage" in refusal(score(tmp_path / "percent.csv"))


def test_an_auc_below_one_half_is_given_a_sentence_and_nothing_is_flipped(score):
    ended = score(RISKS / "flipped.csv")
    assert measures(ended)["auc"]["value"] == pytest.approx(1 - 0.831019, abs=1e-6)
    assert re.search(r"other class|reversed", json.dumps(ended.record["models"])), "not in evaluation.json"
    assert re.search(r"other class|reversed", (ended.folder / "report.html").read_text())


def test_a_file_of_the_imrmc_program_is_refused_by_its_missing_columns(score):
    assert "outcome" in refusal(score(RISKS / "imrmc.csv"))


# Values spelt in two ways -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("device", ("GE Logiq", "ge logiq", "Esaote")),
        ("device", ("GE Logiq", "GE  Logiq", "Esaote")),
        ("device", ("Caf\u00e9", "Cafe\u0301", "Esaote")),
        ("group", tuple(f"{letter}{number}" for number in range(20) for letter in "Pp")),
    ],
)
def test_values_that_differ_in_spelling_alone_are_counted_apart_and_said(score, tmp_path, column, values):
    table = pd.read_csv(BASE)
    table[column] = [values[place % len(values)] for place in range(len(table))]
    table.to_csv(tmp_path / "spelt.csv", index=False)
    ended = score(tmp_path / "spelt.csv")
    assert ended.code == 0, ended.said
    said = " ".join(ended.said.split())
    alike = " ".join(f"{values[0]!r} and {values[1]!r}".split())
    assert re.search(f"Column {column}: {alike}.* differ in nothing but case", said)
    assert "Esaote" not in said


def test_the_values_of_a_plain_table_are_no_spellings_of_each_other(score):
    assert "differ in nothing but" not in score(CASES / "groups" / "patients.csv").said


# One risk for all -------------------------------------------------------------------------------------


def test_a_constant_risk_is_scored_and_said(score, tmp_path):
    pd.read_csv(BASE).assign(risk=0.3).to_csv(tmp_path / "constant.csv", index=False)
    ended = score(tmp_path / "constant.csv")
    assert measures(ended)["auc"]["value"] == 0.5
    assert "test: the risk by constant is constant, 0.3 in all 60 cases" in " ".join(ended.said.split())
    assert "0.3 in all 60 cases" in (ended.folder / "report.html").read_text()
