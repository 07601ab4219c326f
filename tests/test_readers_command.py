"""clineval readers: a study in long form to readers.json, figures and report, or one clear line."""

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from discrimination_reference import REFERENCE, naive_auc
from statsmodels.stats.inter_rater import cohens_kappa

from clineval.cli import main
from clineval.evaluation.reader_study import Plan
from clineval.reporting.readers import plan_sentence
from clineval.reporting.sentences import difference_words, whole
from clineval.results import read_openings
from clineval.statistics.intervals import Estimate
from clineval.statistics.readers import PlannedStudy

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted")]

R = json.loads((REFERENCE / "readers.json").read_text())
STUDIES = pd.read_csv(REFERENCE / "readers_studies.csv", float_precision="round_trip")
CONTRACT = {
    "modalities": {"auc", "readers"},
    "comparisons": {
        "modalities", "design", "covariance", "difference", "statistic", "df", "p_value", "method",
    },
    "model_against_readers": {
        "model", "modality", "difference", "df", "p_value", "margin", "non_inferior", "method",
    },
}  # fmt: skip


def study(name="factorial"):
    return STUDIES[STUDIES["study"] == name].drop(columns=["study", "risk"]).reset_index(drop=True)


def close(theirs):
    return pytest.approx(theirs, rel=1e-9, abs=1e-14)


def saved(frame, folder, name="study.csv"):
    frame.to_csv(folder / name, index=False)
    return folder / name


def ended(capsys, *words):
    code = main.run_command([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def analysed(capsys, frame, folder, *words):
    """The content of readers.json after a command that must end well."""
    out = folder / "out"
    path = saved(frame, folder) if isinstance(frame, pd.DataFrame) else frame
    code, _, err = ended(capsys, "readers", path, "--out", out, *words)
    assert code == 0, err
    return json.loads((out / "readers.json").read_text())


def refused(capsys, frame, folder, *words):
    """The one line of a command that must be refused with nothing written."""
    out = folder / "out"
    path = saved(frame, folder) if isinstance(frame, pd.DataFrame) else frame
    code, shown, err = ended(capsys, "--quiet", "readers", path, "--out", out, *words)
    assert (code, shown) == (3, "")
    assert not out.exists()
    assert err.count("\n") == 1
    return err


def predictions(folder, frame=None):
    """A model's table: the risks that the synthetic study holds, one row per case."""
    rows = STUDIES[STUDIES["study"] == "factorial"].drop_duplicates("case")
    table = rows[["case", "outcome", "risk"]].assign(model="cnn", split="test") if frame is None else frame
    return saved(table, folder, "predictions.csv")


# --- what is written --------------------------------------------------------------------------------


def test_the_command_writes_what_the_contract_names(tmp_path, capsys):
    words = ("--modality-column", "modality", "--predictions", predictions(tmp_path), "--margin", "0.3")
    found = analysed(capsys, study(), tmp_path, *words, "--condition", "malignant")
    assert {"schema", "condition", "cases", "events", "components"} <= found.keys()
    assert (found["condition"], found["cases"], found["events"]) == ("malignant", 40, 16)
    for name, keys in CONTRACT.items():
        rows = found[name].values() if isinstance(found[name], dict) else found[name]
        assert all(keys <= row.keys() for row in rows), name
    assert list(found["modalities"]["m1"]["readers"]) == ["r1", "r2", "r3", "r4"]
    assert {"value", "low", "high", "level", "method"} == found["modalities"]["m1"]["auc"].keys()
    written = {path.name for path in (tmp_path / "out").iterdir()}
    figures = {
        f"readers_{name}.{kind}" for name in ("forest", "roc", "components") for kind in ("png", "csv")
    }
    assert written >= figures | {
        "readers.csv",
        "readings.csv",
        "report.html",
        "provenance.json",
        "ledger.jsonl",
    }
    assert "malignant" in (tmp_path / "out" / "report.html").read_text()


def test_the_numbers_are_those_of_mrmcaov_on_a_synthetic_study(tmp_path, capsys):
    theirs = R["studies"]["factorial"]["auc"]["delong"]
    found = analysed(capsys, study(), tmp_path, "--modality-column", "modality")
    assert [each["design"] for each in found["comparisons"]] == ["random", "fixed_readers", "fixed_cases"]
    for each in found["comparisons"]:
        value, _, df, low, high, p_value = theirs[each["design"]]["differences"][0]
        got = each["difference"]
        assert [got["value"], got["low"], got["high"], each["p_value"]] == close([value, low, high, p_value])
        assert each["df"] == (None if df is None else close(df))
    for name, value in theirs["random"]["components"].items():
        assert found["components"][name] == close(value)
    one = study().query("modality == 'm1' and reader == 'r2'")
    naive = naive_auc(one["outcome"].to_numpy(bool), one["rating"].to_numpy(float))
    assert found["modalities"]["m1"]["readers"]["r2"]["value"] == pytest.approx(naive, abs=1e-12)


@pytest.mark.parametrize(("name", "covariance"), [("VanDyke", "DeLong"), ("Kundel", "jackknife")])
def test_published_studies_come_out_as_in_mrmcaov(name, covariance, tmp_path, capsys):
    folder = Path(os.environ.get("CLINEVAL_READERS", ""))
    if not (folder / "reference.csv").is_file():
        pytest.skip(
            "the published studies are not there: CLINEVAL_READERS names no folder with reference.csv"
        )
    words = (
        "--modality-column",
        "treatment",
        "--outcome-column",
        "truth",
        "--covariance",
        covariance.lower(),
    )
    found = analysed(capsys, folder / f"{name.lower()}.csv", tmp_path, *words)
    rows = pd.read_csv(folder / "reference.csv", float_precision="round_trip")
    rows = rows[(rows["dataset"] == name) & (rows["covariance"] == covariance)]
    for each in found["comparisons"]:
        row = rows[(rows["design"] == each["design"]) & (rows["table"] == "test_diffs")]
        row = row[row["row"] == " - ".join(each["modalities"])]
        theirs = row.groupby("key")["value"].apply(lambda values: [float(value) for value in values])
        got = each["difference"]
        assert got["value"] == close(theirs["Estimate"][0])
        assert [got["low"], got["high"]] == close(sorted(theirs["CI"]))
        assert each["p_value"] == close(theirs["p-value"][0])
    for modality, panel in found["modalities"].items():
        row = rows[(rows["design"] == "random") & (rows["table"] == "test_means") & (rows["row"] == modality)]
        theirs = row.groupby("key")["value"].apply(lambda values: [float(value) for value in values])
        assert [panel["auc"]["low"], panel["auc"]["high"]] == close(sorted(theirs["CI"]))


def test_infinite_degrees_of_freedom_are_null_with_the_reason(tmp_path, capsys):
    found = analysed(capsys, study(), tmp_path, "--modality-column", "modality", "--design", "fixed-readers")
    first = found["comparisons"][0]
    assert (first["design"], first["df"]) == ("fixed_readers", None)
    assert "degrees of freedom infinite" in first["method"]


def test_imrmcs_own_file_and_its_columns_give_the_same_numbers(tmp_path, capsys):
    rows = study()
    plain = analysed(capsys, rows, tmp_path, "--modality-column", "modality")
    cases = rows.drop_duplicates("case")
    readings = [f"{r.reader},{r.case},{r.modality},{r.rating}" for r in rows.itertuples()]
    truth = [f"-1,{r.case},0,{r.outcome}" for r in cases.itertuples()]
    text = "\n".join(["A study", "NR: 4", "BEGIN DATA:", *truth, *readings]) + "\n"
    (tmp_path / "study.imrmc").write_text(text)
    (tmp_path / "columns.csv").write_text("\n".join(["readerID,caseID,modalityID,score", *truth, *readings]))
    for name in ("study.imrmc", "columns.csv"):
        found = analysed(capsys, tmp_path / name, tmp_path)
        assert found["comparisons"] == plain["comparisons"]
        assert found["modalities"] == plain["modalities"]


def test_words_in_their_order_are_read_as_numbers_are(tmp_path, capsys):
    order = ["none", "benign", "4a", "4b", "malignant"]
    rows = study()
    worded = rows.assign(rating=[order[rating - 1] for rating in rows["rating"]])
    words = ("--modality-column", "modality")
    as_numbers = analysed(capsys, rows, tmp_path, *words, "--cut", "4")
    found = analysed(capsys, worded, tmp_path, *words, "--reader-order", ",".join(order), "--cut", "4b")
    assert found["comparisons"] == as_numbers["comparisons"]
    assert found["modalities"]["m1"]["sensitivity"] == as_numbers["modalities"]["m1"]["sensitivity"]


def test_rates_at_the_cut_are_those_counted_by_hand(tmp_path, capsys):
    rows = study()
    found = analysed(capsys, rows, tmp_path, "--modality-column", "modality", "--cut", "3")
    acts = rows.assign(right=(rows["rating"] >= 3) == (rows["outcome"] == 1))
    share = acts.groupby(["modality", "reader", "outcome"])["right"].mean()
    for modality, panel in found["modalities"].items():
        for reader, rates in panel["rates"].items():
            assert rates["sensitivity"]["value"] == pytest.approx(share[modality, reader, 1], abs=1e-12)
            assert rates["specificity"]["value"] == pytest.approx(share[modality, reader, 0], abs=1e-12)
        averaged = np.mean([rates["sensitivity"]["value"] for rates in panel["rates"].values()])
        assert panel["sensitivity"]["value"] == pytest.approx(averaged, abs=1e-12)


def test_a_model_stands_beside_the_panel_and_the_margin_decides(tmp_path, capsys):
    words = ("--modality-column", "modality", "--predictions", predictions(tmp_path), "--model", "cnn")
    found = analysed(capsys, study(), tmp_path, *words, "--margin", "0.9")
    wide = found["model_against_readers"]
    assert [each["modality"] for each in wide] == ["m1", "m2"]
    for each in wide:
        panel = found["modalities"][each["modality"]]
        expected = each["model_auc"]["value"] - panel["auc"]["value"]
        assert each["difference"]["value"] == pytest.approx(expected, abs=1e-12)
        assert (each["margin"], each["non_inferior"]) == (0.9, each["difference"]["low"] > -0.9)
    narrow = analysed(capsys, study(), tmp_path, *words, "--margin", "0.001")["model_against_readers"]
    assert [each["non_inferior"] for each in narrow] == [
        each["difference"]["low"] > -0.001 for each in narrow
    ]


def test_scores_that_are_no_probabilities_rank_as_well(tmp_path, capsys):
    rows = STUDIES[STUDIES["study"] == "factorial"].drop_duplicates("case")
    table = rows[["case", "outcome"]].assign(risk=10 * rows["risk"] - 30)
    path = predictions(tmp_path, table)
    words = ("--modality-column", "modality", "--predictions")
    scores = analysed(capsys, study(), tmp_path, *words, path)["model_against_readers"]
    risks = analysed(capsys, study(), tmp_path, *words, predictions(tmp_path))["model_against_readers"]
    assert scores[0]["difference"]["value"] == pytest.approx(risks[0]["difference"]["value"], abs=1e-12)


def test_sensitivity_and_specificity_of_a_model_have_their_margins(tmp_path, capsys):
    words = (
        *("--modality-column", "modality", "--predictions", predictions(tmp_path)),
        *("--cut", "3", "--threshold", "0.5", "--margin", "sensitivity=0.2"),
    )
    found = analysed(capsys, study(), tmp_path, *words)["model_against_readers"]
    margins = {(each["modality"], each["measure"]): each["margin"] for each in found}
    assert margins["m1", "sensitivity"] == 0.2
    assert {margins["m1", "auc"], margins["m1", "specificity"]} == {None}


def test_the_margin_stands_in_the_ledger_with_the_hash_of_the_readings(tmp_path, capsys):
    words = ("--modality-column", "modality", "--predictions", predictions(tmp_path), "--margin", "0.05")
    analysed(capsys, study(), tmp_path, *words)
    (opening,) = read_openings(tmp_path / "out" / "ledger.jsonl")
    assert opening["frozen"]["margins"] == {"auc": 0.05}
    assert opening["population"] == "readers"
    code, _, err = ended(capsys, "verify", tmp_path / "out")
    assert code == 0, err


def test_power_gives_cases_for_each_number_of_readers(tmp_path, capsys):
    words = ("--modality-column", "modality", "--power", "0.8", "--difference", "0.1")
    plan = analysed(capsys, study(), tmp_path, *words)["plan"]
    assert (plan["wanted"], plan["difference"], plan["design"]) == (0.8, 0.1, "random")
    reached = [each for each in plan["studies"] if each["cases"] is not None]
    assert all(each["power"] >= 0.8 for each in reached)
    cases = [each["cases"] for each in reached]
    assert cases == sorted(cases, reverse=True)


def test_the_terminal_says_how_many_readers_and_cases_and_what_minus_what(tmp_path, capsys):
    words = (
        "--modality-column",
        "modality",
        "--power",
        "0.8",
        "--difference",
        "0.1",
        "--out",
        tmp_path / "o",
    )
    code, shown, err = ended(capsys, "readers", saved(study(), tmp_path), *words)
    assert code == 0, err
    shown = " ".join(shown.split())
    found = json.loads((tmp_path / "o" / "readers.json").read_text())
    difference = Estimate(**found["comparisons"][0]["difference"])
    said = f"modality m1 minus m2, AUC: {difference_words(difference, 'auc')}, p"
    assert re.search(re.escape(said) + r" [=<] \d\.\d{3}, design random", shown)
    assert "with the condition); AUC with" in shown
    assert "For a power of 80% to find a true difference in AUC of 0.1 " in shown
    for each in found["plan"]["studies"]:
        if each["cases"] is not None:
            assert f"{each['readers']} readers and {whole(each['cases'])} cases" in shown


def test_a_plan_in_words_names_the_readers_that_are_too_few():
    def said(*studies):
        return plan_sentence(Plan(0.8, 0.05, "random", tuple(PlannedStudy(*each, 0.8) for each in studies)))

    asked = "For a power of 80% to find a true difference in AUC of 0.05 "
    assert said((3, None), (4, None)) == asked + "no number of cases is enough with up to 4 readers."
    assert said((3, None), (4, 1200), (5, 300)) == (
        asked + "a study needs 4 readers and 1200 cases or 5 readers and 300 cases; with 3 readers no number "
        "of cases is enough."
    )
    assert said((3, 90)) == asked + "a study needs 3 readers and 90 cases."


def test_each_pair_of_readers_has_its_weighted_kappa(tmp_path, capsys):
    rows = study()
    found = analysed(capsys, rows, tmp_path, "--modality-column", "modality")
    pairs = [["r1", "r2"], ["r1", "r3"], ["r1", "r4"], ["r2", "r3"], ["r2", "r4"], ["r3", "r4"]]
    for modality, agreement in found["agreement"].items():
        wide = rows[rows["modality"] == modality].pivot(index="case", columns="reader", values="rating")
        assert [each["readers"] for each in agreement] == pairs
        for each in agreement:
            first, second = (wide[reader].to_numpy() for reader in each["readers"])
            # Naive: squared distance seen over that of every rating of one with every rating of the other.
            chance = np.mean([(a - b) ** 2 for a in first for b in second])
            assert each["kappa"]["value"] == pytest.approx(
                1 - np.mean((first - second) ** 2) / chance, rel=1e-9
            )
            table = pd.crosstab(first, second).reindex(index=range(1, 6), columns=range(1, 6), fill_value=0)
            theirs = cohens_kappa(table.to_numpy(), wt="quadratic")
            bounds = [each["kappa"]["low"], each["kappa"]["high"]]
            assert bounds == pytest.approx([theirs.kappa_low, theirs.kappa_upp], rel=1e-9)
            assert each["cases"] == 40
        mean = np.mean([each["kappa"]["value"] for each in agreement])
        assert found["mean_kappa"][modality]["value"] == pytest.approx(mean, rel=1e-12)
        assert found["mean_kappa"][modality]["low"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<details id="agreement"><summary>Agreement between readers</summary>' in page
    assert page.count("mean of the pairs") == 2


def test_kappa_is_of_the_cases_that_both_read_and_respects_groups(tmp_path, capsys):
    rows = study()
    rows = rows[~((rows["reader"] == "r3") & (rows["modality"] == "m2") & (rows["case"] == "c05"))]
    words = ("--modality-column", "modality", "--covariance", "jackknife", "--group-column", "group")
    found = analysed(capsys, rows, tmp_path, *words)
    cases = {tuple(each["readers"]): each["cases"] for each in found["agreement"]["m2"]}
    assert (cases["r1", "r2"], cases["r1", "r3"]) == (40, 39)
    assert "between 20 groups" in found["agreement"]["m2"][0]["kappa"]["method"]


def test_ratings_that_are_no_categories_have_no_kappa_and_say_why(tmp_path, capsys):
    rows = study()
    rows["rating"] = rows["rating"] + np.linspace(0, 0.5, len(rows))
    found = analysed(capsys, rows, tmp_path, "--modality-column", "modality")
    assert found["agreement"] == {}
    assert found["no_agreement"] == "the ratings have more than 20 levels and are no ordinal categories"
    assert f"No kappa between readers: {found['no_agreement']}." in (tmp_path / "out/report.html").read_text()


def test_two_runs_give_the_same_bytes(tmp_path, capsys):
    texts = []
    for _ in range(2):
        analysed(capsys, study(), tmp_path, "--modality-column", "modality", "--cut", "3")
        out = tmp_path / "out"
        texts.append(
            {p.name: p.read_bytes() for p in out.iterdir() if p.suffix in (".json", ".csv", ".html")}
        )
    for each in texts:
        each.pop("provenance.json"), each.pop("ro-crate-metadata.json", None)
    assert texts[0] == texts[1]


def test_the_report_of_a_folder_is_written_again_to_the_same_bytes(tmp_path, capsys):
    words = ("--modality-column", "modality", "--predictions", predictions(tmp_path), "--margin", "0.05")
    analysed(capsys, study(), tmp_path, *words, "--cut", "3", "--threshold", "0.5")
    out = tmp_path / "out"
    before = (out / "report.html").read_bytes()
    (out / "report.html").write_text("lost")
    code, shown, err = ended(capsys, "report", out)
    assert (code, shown.strip()) == (0, f"Report: {out / 'report.html'}"), err
    assert (out / "report.html").read_bytes() == before
    assert ended(capsys, "verify", out)[0] == 0
    (out / "readers.json").write_text("[]")
    code, _, err = ended(capsys, "--quiet", "report", out)
    assert code == 3
    assert "readers.json is not of the form that this version reads" in err


def test_the_page_loads_nothing_from_outside_and_says_no_more_than_its_intervals(tmp_path, capsys):
    found = analysed(capsys, study(), tmp_path, "--modality-column", "modality")
    page = (tmp_path / "out" / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#|https://doi\.org/)', page)
    first = found["comparisons"][0]["difference"]
    if first["low"] < 0 < first["high"]:
        count = len(found["modalities"]["m1"]["readers"])
        one, two = (found["modalities"][name]["auc"]["value"] for name in ("m1", "m2"))
        assert f"Average AUC of {count} readers: {one:.2f} with modality m1, {two:.2f} with modality" in page
        assert "may be chance (p" in page
    assert "Research only: not a medical device" in page


def test_names_from_the_table_cannot_become_markup_or_formulas(tmp_path, capsys):
    rows = study()
    rows["reader"] = rows["reader"].replace({"r1": "<script>alert(1)</script>", "r2": "=1+1"})
    analysed(capsys, rows, tmp_path, "--modality-column", "modality")
    out = tmp_path / "out"
    assert "<script>" not in (out / "report.html").read_text()
    assert ",=1+1" not in (out / "readers.csv").read_text()
    assert ",=1+1" not in (out / "readings.csv").read_text()


def test_twenty_readers_of_a_thousand_cases_take_under_five_seconds(tmp_path):
    from clineval.evaluation.reader_study import analyse
    from clineval.settings import ReaderSettings
    from clineval.tables.reader_study import ReadingColumns, ReadingTable

    rng = np.random.default_rng(0)
    m, r, c = (index.ravel() for index in np.indices((2, 20, 1000)))
    outcome = (rng.random(1000) < 0.3)[c]
    rating = rng.normal(outcome * 1.5, 1)
    table = ReadingTable(
        "study", rating, outcome, r.astype(str), c.astype(str), m.astype(str), None,
        ReadingColumns(modality="modality"), str,
    )  # fmt: skip
    started = time.process_time()
    analyse(table, ReaderSettings(), condition="condition")
    assert time.process_time() - started < 5


# --- what is refused --------------------------------------------------------------------------------


def test_one_reader_only_is_refused_unless_fixed(tmp_path, capsys):
    rows = study()[study()["reader"] == "r1"]
    line = refused(capsys, rows, tmp_path, "--modality-column", "modality")
    assert "study.csv, row 1 (line 2), column 'reader': expected at least two readers, got 'r1'" in line
    found = analysed(capsys, rows, tmp_path, "--modality-column", "modality", "--design", "fixed-readers")
    assert [each["design"] for each in found["comparisons"]] == ["fixed_readers"]


def test_a_reader_with_one_rating_throughout_is_named(tmp_path, capsys):
    rows = study()
    rows.loc[(rows["reader"] == "r2") & (rows["modality"] == "m1"), "rating"] = 3
    line = refused(capsys, rows, tmp_path, "--modality-column", "modality")
    assert "row 41 (line 42), column 'rating': expected different ratings from" in line
    assert "reader 'r2' with modality 'm1'" in line
    assert "got 3 in all 40 rows" in line


def test_a_case_not_read_by_all_is_named_and_the_jackknife_takes_it(tmp_path, capsys):
    rows = study()
    rows = rows[~((rows["reader"] == "r3") & (rows["modality"] == "m2") & (rows["case"] == "c05"))]
    line = refused(capsys, rows, tmp_path, "--modality-column", "modality")
    assert "row 5 (line 6), column 'case': expected case 'c05' to be read by every reader" in line
    assert "got no row by reader 'r3' with modality 'm2' (1 readings are missing)" in line
    words = ("--modality-column", "modality", "--covariance", "jackknife")
    assert analysed(capsys, rows, tmp_path, *words)["covariance"] == "jackknife"


def test_a_rating_not_in_the_order_is_named(tmp_path, capsys):
    rows = study().astype({"rating": str})
    rows.loc[7, "rating"] = "4d"
    words = ("--modality-column", "modality", "--reader-order", "1,2,3,4,5")
    line = refused(capsys, rows, tmp_path, *words)
    assert "row 8 (line 9), column 'rating': expected one of 1, 2, 3, 4, 5 (--reader-order), got '4d'" in line


def test_ratings_in_words_need_their_order(tmp_path, capsys):
    rows = study().astype({"rating": str})
    rows.loc[2, "rating"] = "benign"
    line = refused(capsys, rows, tmp_path, "--modality-column", "modality")
    assert "row 3 (line 4), column 'rating': expected a number, got 'benign'" in line
    assert "--reader-order" in line


def test_two_truths_for_a_case_are_named(tmp_path, capsys):
    rows = study()
    rows.loc[45, "outcome"] = 1 - rows.loc[45, "outcome"]
    line = refused(capsys, rows, tmp_path, "--modality-column", "modality")
    assert "row 46 (line 47), column 'outcome': expected one outcome for case 'c06'" in line
    assert "in row 6." in line


def test_a_modality_with_one_class_is_named(tmp_path, capsys):
    rows = study()
    rows = rows[(rows["modality"] == "m1") | (rows["outcome"] == 0)]
    line = refused(capsys, rows, tmp_path, "--modality-column", "modality", "--covariance", "jackknife")
    assert "row 161 (line 162), column 'modality': expected cases with and without the condition" in line


def test_two_groups_for_a_case_and_two_readings_of_a_case_are_named(tmp_path, capsys):
    rows = study()
    rows.loc[45, "group"] = "g99"
    line = refused(capsys, rows, tmp_path, "--modality-column", "modality", "--group-column", "group")
    assert "row 46 (line 47), column 'group': expected one group for case 'c06', got 'g99'" in line
    line = refused(capsys, study(), tmp_path)
    assert "row 161 (line 162), column 'rating': expected one rating by reader 'r1' of case 'c01'" in line
    assert "--modality-column" in line


@pytest.mark.parametrize(
    ("column", "option"),
    [("reader", "--reader-column"), ("rating", "--rating-column"), ("outcome", "--outcome-column")],
)
def test_a_missing_column_says_which_option_names_it(column, option, tmp_path, capsys):
    line = refused(capsys, study().rename(columns={column: "other"}), tmp_path)
    assert f"has no column {column!r}; it has" in line
    assert option in line


def test_empty_cells_are_named(tmp_path, capsys):
    rows = study().astype({"rating": object})
    rows.loc[3, "rating"] = ""
    line = refused(capsys, rows, tmp_path, "--modality-column", "modality")
    assert "row 4 (line 5), column 'rating': expected a value, got nothing" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--design", "all"), "--design needs one of random, fixed-readers, fixed-cases; got 'all'"),
        (("--covariance", "none"), "--covariance needs one of delong, jackknife; got 'none'"),
        (("--power", "0.8"), "--power and --difference need each other"),
        (("--power", "1.8", "--difference", "0.1"), "--power needs a number between 0 and 1; got 1.8"),
        (("--margin", "0.05"), "--margin needs --predictions"),
        (("--margin", "-1"), "--margin needs a number between 0 and 1"),
        (("--threshold", "0.5"), "--threshold needs --predictions and --cut"),
        (("--model", "cnn"), "--model has no effect without --predictions"),
        (("--positive", "yes"), "column 'outcome': expected rows with and without --positive 'yes'"),
        (("--cut", "99"), "study.csv: no rating reaches the cut 99; ratings go from 1 to "),
        (("--cut", "1"), "study.csv: every rating reaches the cut 1; ratings go from 1 to "),
        (("--cut", "high"), "--cut: expected a number, got 'high'"),
    ],
)
def test_options_that_do_not_fit_are_refused(words, said, tmp_path, capsys):
    assert said in refused(capsys, study(), tmp_path, "--modality-column", "modality", *words)


def test_power_needs_two_modalities(tmp_path, capsys):
    rows = study()[study()["modality"] == "m1"]
    line = refused(capsys, rows, tmp_path, "--power", "0.8", "--difference", "0.1")
    assert "--power plans a comparison of two modalities" in line


def test_predictions_must_cover_the_cases_and_agree_on_the_outcome(tmp_path, capsys):
    rows = STUDIES[STUDIES["study"] == "factorial"].drop_duplicates("case")[["case", "outcome", "risk"]]
    words = ("--modality-column", "modality", "--predictions")
    line = refused(capsys, study(), tmp_path, *words, predictions(tmp_path, rows[rows["case"] != "c07"]))
    assert "expected a prediction of 'predictions' for case 'c07', got none" in line
    other = rows.assign(outcome=rows["outcome"].where(rows["case"] != "c02", 1 - rows["outcome"]))
    line = refused(capsys, study(), tmp_path, *words, predictions(tmp_path, other))
    assert "predictions.csv, row 2 (line 3), column 'outcome': expected the outcome of study.csv" in line
    twice = pd.concat([rows, rows.iloc[[3]]])
    line = refused(capsys, study(), tmp_path, *words, predictions(tmp_path, twice))
    assert "row 41 (line 42), column 'case': expected one prediction of 'predictions'" in line
    several = pd.concat([rows.assign(model=name) for name in ("a", "b")])
    line = refused(capsys, study(), tmp_path, *words, predictions(tmp_path, several))
    assert "expected --model to name one of a, b; got none" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "BEGIN DATA:\n-1,1,0,0\n-1,2,0,1\n1,3,1,2\n",
            "line 4, column 'caseID': expected a row of reader -1",
        ),
        ("BEGIN DATA:\n-1,1,0,7\n", "line 2, column 'score': expected 0 or 1, got"),
        ("BEGIN DATA:\n-1,1,0\n", "line 2: expected reader, case, modality and score"),
        ("BEGIN DATA:\n", "has no rows after BEGIN DATA"),
    ],
)
def test_broken_files_of_imrmc_are_named_by_line(text, said, tmp_path, capsys):
    (tmp_path / "study.imrmc").write_text(text)
    assert said in refused(capsys, tmp_path / "study.imrmc", tmp_path)


def test_the_folder_of_another_command_is_not_replaced(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    code, _, err = ended(
        capsys,
        "readers",
        saved(study(), tmp_path),
        "--modality-column",
        "modality",
        "--out",
        tmp_path / "out",
    )
    assert code == 3
    assert "was not written by clineval" in err
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(("column", "other"), [("reader", "R1 "), ("reader", "r1"), ("modality", "CT")])
def test_readers_and_modalities_that_differ_in_spelling_alone_are_refused(tmp_path, capsys, column, other):
    rows = [
        {
            "reader": f"R{reader}",
            "modality": "ct",
            "case": f"c{case}",
            "outcome": case % 2,
            "rating": case % 5,
        }
        for reader in (1, 2)
        for case in range(20)
    ]
    rows[3][column] = other
    frame = pd.DataFrame(rows)
    code, _, err = ended(
        capsys, "readers", saved(frame, tmp_path), "--modality-column", "modality", "--out", tmp_path / "out"
    )
    if other != other.strip():
        assert "differ in nothing" not in err, "blanks at the ends are taken off, as everywhere"
        return
    assert code == 3
    assert f"column {column!r}" in err
    assert "differ in nothing but case, blanks, zeros in front or Unicode form" in " ".join(err.split())
    assert not (tmp_path / "out").exists()


def test_an_outcome_of_three_values_is_read_as_asked_and_said(tmp_path, capsys):
    frame = pd.DataFrame(
        {"reader": r, "case": case, "outcome": case % 3, "rating": (case * r) % 5}
        for r in (1, 2)
        for case in range(30)
    )
    code, _, err = ended(capsys, "readers", saved(frame, tmp_path), "--out", tmp_path / "out")
    assert code == 0
    said = " ".join(err.split())
    assert "'1' means the condition; every other value counts as its absence: '0', '2'." in said


def readings():
    return pd.DataFrame(
        {"reader": f"R{r}", "case": case, "outcome": case % 2, "rating": (case * r) % 5 + 0.5}
        for r in (1, 2)
        for case in range(30)
    )


def test_names_of_columns_are_read_whatever_their_case(tmp_path, capsys):
    small = analysed(capsys, readings(), tmp_path, "--force")
    large = analysed(capsys, readings().rename(columns=str.title), tmp_path, "--force")
    assert large["modalities"] == small["modalities"]
    both = readings().assign(Reader="R1", READER="R1").drop(columns="reader")
    (tmp_path / "two").mkdir()
    assert "has no column 'reader'; it has" in refused(capsys, both, tmp_path / "two")


def test_ratings_with_decimal_commas_are_read_and_said(tmp_path, capsys):
    frame = readings()
    points = analysed(capsys, frame, tmp_path, "--force")
    commas = tmp_path / "commas.csv"
    frame.assign(rating=frame["rating"].astype(str).str.replace(".", ",")).to_csv(
        commas, sep=";", index=False
    )
    code, _, err = ended(capsys, "readers", commas, "--out", tmp_path / "commas")
    assert code == 0
    assert "column 'rating': read as numbers, with a decimal comma" in " ".join(err.split())
    assert (
        json.loads((tmp_path / "commas" / "readers.json").read_text())["modalities"] == points["modalities"]
    )


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (
            "rating",
            "NA",
            "row 4 (line 5), column 'rating': expected a rating, got 'NA'. Fill the cell, or take out",
        ),
        (
            "outcome",
            "unknown",
            "row 4 (line 5), column 'outcome': expected an outcome, got 'unknown'. Fill the",
        ),
        ("reader", "1.23457E+11", "column 'reader': '1.23457E+11' is a number that a spreadsheet shortened"),
    ],
)
def test_cells_that_say_nothing_or_too_little_are_refused(tmp_path, capsys, column, value, said):
    frame = readings().astype({column: object})
    frame.loc[3, column] = value
    assert said in refused(capsys, frame, tmp_path)


def test_a_rating_far_out_of_the_scale_is_said(tmp_path, capsys):
    frame = readings()
    frame.loc[3, "rating"] = 99
    code, _, err = ended(capsys, "readers", saved(frame, tmp_path), "--out", tmp_path / "out")
    assert code == 0
    assert "column 'rating': 99 in 1 row lies far from all other values" in " ".join(err.split())
