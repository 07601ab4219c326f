"""Models beside a reader of the table: evaluate and validate with --reader, recounted with pandas."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from discrimination_reference import naive_auc
from finished_run import WORDS, read_rows, write_cohort

import clineval
from clineval.cli import main
from clineval.errors import InputError
from clineval.evaluation import Evaluation, read_evaluation
from clineval.results import read_openings
from clineval.settings import BesideReaders

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted")]


@pytest.fixture(autouse=True, scope="module")
def _short_curves():
    """Curves over thresholds have few points: each takes as long as one choice of threshold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clineval.evaluation.readers.STEPS", 8)
        yield


RATINGS = ["2", "3", "4a", "4b", "5"]
ORDER = ",".join(RATINGS)
FAST = ("--draws", "20")


def table(cases=160, models=("a", "b"), seed=7):
    """Models and a reader of the same cases, two cases a patient, with out-of-fold rows before."""
    rng = np.random.default_rng(seed)
    parts = []
    for split in ("train_out_of_fold", "test"):
        outcome = rng.random(cases) < 0.35
        rating = np.digitize(rng.normal(2.2 * outcome, 1), [-0.8, 0.3, 1.2, 2.4])
        for model in models:
            risk = np.round(1 / (1 + np.exp(-rng.normal(1.4 * outcome - 0.8, 1))), 6)
            parts.append(
                pd.DataFrame(
                    {
                        "model": model,
                        "split": split,
                        "case": [f"{split}/{number}" for number in range(cases)],
                        "group": [f"{split}/{number // 2}" for number in range(cases)],
                        "outcome": outcome.astype(int),
                        "risk": risk,
                        "BIRADS": [RATINGS[place] for place in rating],
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def saved(frame, folder, name="table.csv"):
    frame.to_csv(folder / name, index=False)
    return folder / name


def ended(capsys, *words):
    code = main.run_command([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def refused(capsys, frame, folder, *words):
    out = folder / "refused"
    path = saved(frame, folder, "refused.csv")
    code, shown, err = ended(capsys, "--quiet", "evaluate", path, "--out", out, *FAST, *words)
    assert (code, shown) == (3, ""), err
    assert not out.exists()
    assert err.count("\n") == 1
    return err


READER = (
    *("--reader", "BIRADS>=4a", "--reader-order", ORDER, "--reader-category", "4a,4b"),
    *("--margin", "0.05", "--prevalence", "0.05", "--acting-threshold", "0.02"),
)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    words = ["evaluate", saved(table(), folder), "--out", folder / "out", *FAST, *READER, "--quiet"]
    assert main.run_command([str(word) for word in words]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def content(out):
    return json.loads((out / "evaluation.json").read_text())


def counted(rows, row, *, category):
    """Every count and rate of one way of reading together, made from the rows with pandas alone."""
    reader, model = rows["rating"] >= row["cut"], rows["risk"] >= row["threshold"]
    flags = {
        "reader alone": reader,
        "model alone": model,
        "AI first": model & reader,
        "second reader": model | reader,
        "both must flag": model & reader,
        "AI within the category": model.where(rows["rating"].isin(category), reader),
        "referral of disagreement": model & reader,
    }[row["strategy"]]
    referred = (model != reader) & (row["strategy"] == "referral of disagreement")
    read = {"model alone": 0 * reader, "AI first": model}.get(row["strategy"], reader | ~reader)
    present = rows["outcome"] == 1

    def per_1000(which, side=None):
        prevalence = row["prevalence"]
        shares = (which[present].mean(), which[~present].mean())
        weights = (prevalence * (side is not False), (1 - prevalence) * (side is not True))
        return 1000 * (weights[0] * shares[0] + weights[1] * shares[1])

    counts = {
        "flagged": per_1000(flags),
        "caught": per_1000(flags, True),
        "missed": per_1000(~flags & ~referred, True),
        "false_alarms": per_1000(flags, False),
        "lost": per_1000(reader & ~flags & ~referred, True),
        "gained": per_1000(~reader & flags, True),
        "spared": per_1000(reader & ~flags & ~referred, False),
        "added": per_1000(~reader & flags, False),
        "referred": per_1000(referred),
        "read": per_1000(read.astype(float)) + per_1000(referred),
    }
    if row["strategy"] == "referral of disagreement":
        return {**counts, "sensitivity": None, "specificity": None, "net_benefit": None}
    rates = {"sensitivity": flags[present].mean(), "specificity": (~flags[~present]).mean()}
    benefit = None
    if row["net_benefit"]["value"] is not None:
        benefit = (counts["caught"] - counts["false_alarms"] * 0.02 / 0.98) / 1000
    return {**counts, **rates, "net_benefit": benefit}


def check_together(scores, rows, *, category):
    """``rows`` : model, outcome, risk and the reader's rating as a number."""
    assert scores["together"]
    for row in scores["together"]:
        own = rows[rows["model"] == row["model"]]
        for name, value in counted(own, row, category=category).items():
            found = row[name]["value"]
            assert found == (None if value is None else pytest.approx(value, abs=1e-9)), (
                row["strategy"],
                name,
            )


# --- what is computed -------------------------------------------------------------------------------


def test_the_contract_s_keys_are_there(content):
    scores = content["readers"]["test"]["BIRADS"]
    assert {"auc", "cut", "against", "together"} <= scores.keys()
    assert list(scores["against"]) == ["a", "b"]
    assert scores["cut"]["at"] == "4a"
    assert {"sensitivity", "specificity", "true_positives"} <= scores["cut"].keys()


def test_the_reader_s_auc_and_point_are_those_counted_by_hand(content):
    rows = table().query("split == 'test' and model == 'a'")
    rating = rows["BIRADS"].map(RATINGS.index).to_numpy(float)
    present = rows["outcome"].to_numpy(bool)
    scores = content["readers"]["test"]["BIRADS"]
    assert scores["auc"]["value"] == pytest.approx(naive_auc(present, rating), abs=1e-12)
    acts = rating >= 2
    assert scores["cut"]["true_positives"] == (acts & present).sum()
    assert scores["cut"]["false_positives"] == (acts & ~present).sum()
    assert scores["cut"]["sensitivity"]["value"] == pytest.approx(acts[present].mean(), abs=1e-12)
    assert scores["cut"]["specificity"]["value"] == pytest.approx((~acts[~present]).mean(), abs=1e-12)
    counts = {each["value"]: (each["cases"], each["events"]) for each in scores["categories"]}
    assert counts == {
        name: (int((rows["BIRADS"] == name).sum()), int(rows["outcome"][rows["BIRADS"] == name].sum()))
        for name in RATINGS
    }


def test_every_row_of_reading_together_is_the_one_that_pandas_counts(content):
    rows = table().query("split == 'test'")
    rows = rows.assign(rating=rows["BIRADS"].map(RATINGS.index) + 1)
    check_together(content["readers"]["test"]["BIRADS"], rows, category=[3, 4])


def test_differences_are_model_less_reader_and_name_their_groups(content):
    rows = table().query("split == 'test' and model == 'b'")
    present = rows["outcome"].to_numpy(bool)
    mine = naive_auc(present, rows["risk"].to_numpy())
    theirs = naive_auc(present, rows["BIRADS"].map(RATINGS.index).to_numpy(float))
    against = content["readers"]["test"]["BIRADS"]["against"]["b"]
    assert against["auc"]["difference"]["value"] == pytest.approx(mine - theirs, abs=1e-12)
    assert "groups" in against["auc"]["difference"]["method"]
    met = against["non_inferiority"]
    assert met["margin"] == 0.05
    assert met["met"] == (met["bound"] > -0.05)
    assert "MOVER of two logit intervals" in met["method"]
    for at in against["points"]:
        flags = rows["risk"] >= at["threshold"]
        acts = rows["BIRADS"].map(RATINGS.index) >= 2
        both = at["at_cuts"]["agreement"]["events"]
        assert both["model_only"] == int((flags & ~acts & present).sum())
        assert set(at["non_inferiority"]) == {"sensitivity", "specificity"}


def test_within_the_category_the_model_ranks_alone(content):
    rows = table().query("split == 'test' and model == 'a' and BIRADS in ['4a', '4b']")
    within = content["readers"]["test"]["BIRADS"]["against"]["a"]["within"]
    present = rows["outcome"].to_numpy(bool)
    assert (within["category"], within["cases"], within["events"]) == ("4a, 4b", len(rows), present.sum())
    assert within["auc"]["value"] == pytest.approx(naive_auc(present, rows["risk"].to_numpy()), abs=1e-12)
    threshold = next(p for p in content["points"]["a"] if p["name"] == "sensitivity_90")["threshold"]
    missed = 100 * ((rows["risk"] < threshold) & present).mean()
    assert within["points"]["sensitivity_90"]["missed"]["value"] == pytest.approx(missed, abs=1e-9)


def test_the_curve_passes_through_reading_all_and_reading_none(content):
    curve = content["readers"]["test"]["BIRADS"]["against"]["a"]["curve"]
    assert curve["read"]["value"][0] == pytest.approx(1000)
    assert curve["lost"]["value"][0] == 0
    assert curve["lost"]["value"] == sorted(curve["lost"]["value"])
    assert curve["read"]["value"] == sorted(curve["read"]["value"], reverse=True)


def test_the_margin_is_in_the_ledger_before_the_numbers(out):
    opening = read_openings(out / "ledger.jsonl")[0]
    asked = opening["frozen"]["settings"]["evaluation"]["readers"]
    assert asked["margins"] == {"auc": 0.05, "sensitivity": 0.05, "specificity": 0.05}


def test_the_folder_verifies_and_reads_back_to_the_same_record(out, capsys):
    found = read_evaluation(out / "evaluation.json")
    assert Evaluation.from_json(found.to_json()) is not None
    assert found.to_json() == json.loads((out / "evaluation.json").read_text())
    code, _, err = ended(capsys, "verify", out)
    assert code == 0, err


def test_report_figures_and_tables_show_the_reader(out, content):
    page = (out / "report.html").read_text()
    assert "Beside the readers" in page
    difference = content["readers"]["test"]["BIRADS"]["against"]
    primary = content["primary"]["model"]
    if difference[primary]["auc"]["difference"]["high"] < 0:
        assert f"{primary} ranks worse than BIRADS: −" in page
    assert 'data-reader-on="test"' in page
    written = {path.name for path in out.iterdir()}
    assert written >= {
        f"reader_{what}_birads_test.{kind}" for what in ("roc", "triage") for kind in ("png", "csv")
    }
    together = pd.read_csv(out / "reading_together.csv")
    assert set(together["strategy"]) == {
        row["strategy"] for row in content["readers"]["test"]["BIRADS"]["together"]
    }
    assert {"auc", "sensitivity"} <= set(pd.read_csv(out / "beside_readers.csv")["measure"])


def test_a_reader_without_a_cut_is_ranked_only(tmp_path, capsys):
    words = ("--reader", "BIRADS", "--reader-order", ORDER)
    code, shown, err = ended(
        capsys, "evaluate", saved(table(), tmp_path), "--out", tmp_path / "o", *FAST, *words
    )
    assert code == 0, err
    scores = json.loads((tmp_path / "o" / "evaluation.json").read_text())["readers"]["test"]["BIRADS"]
    assert scores["cut"] is None
    assert "Reader: " in shown
    assert scores["together"] == []
    assert scores["against"]["a"]["auc"]["difference"]["value"] is not None


def test_scores_serve_as_readings_and_the_python_call_takes_them():
    frame = table(models=("a",))
    frame["second"] = frame.groupby("split")["risk"].transform(lambda each: 10 * each[::-1].to_numpy() - 3)
    found = clineval.evaluate(frame, readers=BesideReaders(("second>=0",)), draws=20)
    scores = found.readers["test"]["second"]
    assert scores.categories == ()
    assert scores.against["a"].within is None
    assert scores.cut.value == 0


def test_readers_on_one_scale_have_their_weighted_kappa(tmp_path, capsys):
    frame = table(models=("a",))
    place = frame["BIRADS"].map(RATINGS.index)
    frame["second"] = [RATINGS[max(0, spot - row % 2)] for row, spot in enumerate(place)]
    frame["score"] = np.where(frame["risk"] > 0.5, 60, 10)
    words = ("--reader", "BIRADS>=4a", "--reader", "second", "--reader-order", ORDER)
    out = tmp_path / "o"
    code, _, err = ended(capsys, "evaluate", saved(frame, tmp_path), "--out", out, *FAST, *words)
    assert code == 0, err
    scores = json.loads((out / "evaluation.json").read_text())["readers"]["test"]
    rows = frame.query("split == 'test'")
    first, second = (rows[name].map(RATINGS.index).to_numpy() for name in ("BIRADS", "second"))
    chance = np.mean([(a - b) ** 2 for a in first for b in second])
    expected = 1 - np.mean((first - second) ** 2) / chance
    assert scores["BIRADS"]["agreement"]["second"]["value"] == pytest.approx(expected, rel=1e-9)
    assert scores["second"]["agreement"]["BIRADS"]["value"] == pytest.approx(expected, rel=1e-9)
    assert "variance between 80 groups" in scores["BIRADS"]["agreement"]["second"]["method"]
    assert "weighted kappa with second" in (out / "report.html").read_text()
    assert ended(capsys, "verify", out)[0] == 0
    frame["level"] = place + 1
    other = clineval.evaluate(frame, readers=BesideReaders(("level", "score")), draws=20)
    assert other.readers["test"]["level"].agreement == {}  # 1 to 5 and 10 or 60: not one scale
    assert "agreement" not in other.to_json()["readers"]["test"]["level"]


def test_a_model_that_is_the_reader_differs_by_nothing():
    frame = table(models=("a",))
    frame["said"] = frame["risk"]
    found = clineval.evaluate(frame, readers=BesideReaders(("said>=0.5",)), draws=20)
    against = found.readers["test"]["said"].against["a"]
    assert against.auc.difference.value == 0
    half = next(at for at in against.points if at.name == "half")
    assert half.at_cuts.agreement.kappa.value == pytest.approx(1)


def test_without_a_reader_the_evaluation_has_no_such_keys():
    content = clineval.evaluate(table(models=("a",)), draws=20).to_json()
    assert not {"readers", "guarantees", "deferred"} & content.keys()


# --- a threshold with a guarantee -------------------------------------------------------------------


def test_a_guaranteed_threshold_is_the_order_statistic_of_development_groups():
    frame = table(models=("a",))
    found = clineval.evaluate(frame, threshold_rules=["sensitivity>=0.90@0.95"], draws=20)
    (guarantee,) = found.guarantees["a"]
    before = frame.query("split == 'train_out_of_fold' and outcome == 1")
    hardest = before.groupby("group")["risk"].min().sort_values().to_numpy()
    # The largest number wrong of which a sensitivity below .90 would give so few in at most 5 % of samples.
    units = len(hardest)

    def chance(wrong):
        return sum(math.comb(units, k) * 0.1**k * 0.9 ** (units - k) for k in range(wrong + 1))

    allowed = max(wrong for wrong in range(units) if chance(wrong) <= 0.05)
    assert (guarantee.units, guarantee.allowed) == (units, allowed)
    assert guarantee.threshold == hardest[allowed]
    point = found.models["a"]["test"].point("guaranteed_sensitivity_90")
    assert (point.threshold, point.chosen_on) == (guarantee.threshold, "train_out_of_fold")
    assert "not for another hospital" in point.rule


def test_too_few_events_give_no_threshold_and_say_how_many_it_takes():
    frame = table(cases=40, models=("a",))
    found = clineval.evaluate(frame, threshold_rules=["sensitivity>=0.90@0.95"], draws=20)
    (guarantee,) = found.guarantees["a"]
    assert np.isnan(guarantee.threshold)
    assert guarantee.needed == 29
    assert "cannot be guaranteed with" in guarantee.method
    point = next(each for each in found.points["a"] if each.name == "guaranteed_sensitivity_90")
    assert np.isnan(point.threshold)
    assert "it takes at least 29" in point.rule


def test_cases_between_rule_out_and_rule_in_are_deferred(tmp_path, capsys):
    words = ("--threshold-rule", "sensitivity>=0.90@0.95", "--threshold-rule", "specificity>=0.90@0.95")
    path, out = saved(table(), tmp_path), tmp_path / "out"
    code, _, err = ended(capsys, "evaluate", path, "--out", out, *FAST, *words)
    assert code == 0, err
    content = json.loads((out / "evaluation.json").read_text())
    rows = table().query("split == 'test' and model == 'a'")
    region = content["deferred"]["test"]["a"]
    between = (rows["risk"] >= region["rule_out"]) & (rows["risk"] < region["rule_in"])
    assert region["deferred_cases"] == between.sum()
    decided = rows[~between]
    right = (decided["risk"] >= region["rule_in"])[decided["outcome"] == 1].mean()
    assert region["sensitivity"]["value"] == pytest.approx(right, abs=1e-12)
    page = (out / "report.html").read_text()
    assert "not for another hospital" in page
    assert "are deferred to a reader" in page
    code, _, err = ended(capsys, "verify", out)
    assert code == 0, err


def test_a_guarantee_needs_development_data_and_a_rule_that_can_be_read(tmp_path, capsys):
    rule = ("--threshold-rule", "sensitivity>=0.90@0.95")
    line = refused(capsys, table().query("split == 'test'"), tmp_path, *rule)
    assert "needs development data of 'a': rows of split train_out_of_fold or val; got none" in line
    line = refused(capsys, table(), tmp_path, "--threshold-rule", "sensitivity>=90")
    assert "such as 'sensitivity>=0.90@0.95'; got 'sensitivity>=90'" in line


def test_run_refuses_a_rule_that_cannot_be_read_before_it_trains(tmp_path, capsys):
    words = (
        "run",
        "--dataset",
        "phantom",
        "--threshold-rule",
        "specificity>=1@0.95",
        "--out",
        tmp_path / "o",
    )
    code, _, err = ended(capsys, *words, "--quiet")
    assert code == 3
    assert "got 'specificity>=1@0.95'" in err
    assert not (tmp_path / "o").exists()


# --- what is refused --------------------------------------------------------------------------------


def test_readings_that_do_not_fit_are_named_by_row_and_column(tmp_path, capsys):
    reader = ("--reader", "BIRADS>=4a", "--reader-order", ORDER)
    first = int(np.flatnonzero(table()["split"] == "test")[0])
    frame = table()
    frame.loc[first + 3, "BIRADS"] = ""
    frame.loc[first + 3 + 160, "BIRADS"] = ""
    line = refused(capsys, frame, tmp_path, *reader)
    assert (
        f"Row {first + 4}, column 'BIRADS': expected a reading of every case that is scored, got nothing"
        in line
    )
    frame = table()
    frame.loc[first + 5, "BIRADS"] = "6"
    line = refused(capsys, frame, tmp_path, *reader)
    assert (
        f"Row {first + 6}, column 'BIRADS': expected one of 2, 3, 4a, 4b, 5 (--reader-order), got '6'" in line
    )
    line = refused(capsys, table(), tmp_path, "--reader", "BIRADS>=4a")
    assert "column 'BIRADS': expected a number, got '" in line
    line = refused(capsys, table().assign(BIRADS="3"), tmp_path, "--reader", "BIRADS>=4")
    assert "column 'BIRADS': expected different ratings, got '3' in all 320 rows" in line


def test_two_readings_of_one_case_are_named(tmp_path, capsys):
    frame = table()
    row = int(np.flatnonzero((frame["split"] == "test") & (frame["model"] == "b"))[7])
    frame.loc[row, "BIRADS"] = "5" if frame.loc[row, "BIRADS"] != "5" else "2"
    line = refused(capsys, frame, tmp_path, "--reader", "BIRADS>=4a", "--reader-order", ORDER)
    assert f"Row {row + 1}, column 'BIRADS': expected one reading of case 'test/7', got another" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reader", "PIRADS"), "--reader needs a column of the table, or one with a cut such as"),
        (("--reader", "BIRADS>="), "--reader needs a column of the table, or one with a cut such as"),
        (("--margin", "0.05"), "--margin has no effect without --reader"),
        (("--reader", "BIRADS>=4c", "--reader-order", ORDER), "--reader: expected one of 2, 3, 4a, 4b, 5"),
        (
            ("--reader", "BIRADS>=2", "--reader-order", ORDER),
            "--reader BIRADS>=2: every rating reaches the cut 2; ratings go from 2 to 5. Choose another cut.",
        ),
        (
            ("--reader", "BIRADS>=5", "--reader-order", ORDER, "--prevalence", "3"),
            "--prevalence needs a number between 0 and 1; got 3",
        ),
        (
            ("--reader", "BIRADS>=5", "--reader-order", ORDER, "--margin", "auc=x"),
            "--margin needs a number between 0 and 1",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(words, said, tmp_path, capsys):
    assert said in refused(capsys, table(), tmp_path, *words)


def test_the_python_call_refuses_alike():
    with pytest.raises(InputError, match="readers needs a column of the table"):
        clineval.evaluate(table(), readers=BesideReaders(("PIRADS",)))


# --- an external cohort -----------------------------------------------------------------------------


@pytest.mark.slow
def test_validate_sets_the_run_s_models_beside_the_reader(finished_run, tmp_path, capsys, undrawn):
    cohort = write_cohort(tmp_path / "cohort")
    rows = read_rows(cohort / "cohort.csv")
    frame = pd.read_csv(cohort / "cohort.csv")
    rng = np.random.default_rng(0)
    frame["BIRADS"] = np.clip(
        np.round(rng.normal(3 + 1.5 * (frame["pathology"] == "malignant"), 0.8)), 2, 5
    ).astype(int)
    frame.to_csv(cohort / "cohort.csv", index=False)
    assert len(rows) == len(frame)
    words = (
        *("validate", finished_run, cohort / "cohort.csv", *WORDS, "--name", "hospital-b"),
        *("--image-folder", cohort / "images", "--reader", "BIRADS>=4", "--margin", "0.1"),
    )
    code, _, err = ended(capsys, *words, "--out", tmp_path / "out")
    assert code == 0, err
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    scored = pd.read_csv(tmp_path / "out" / "predictions.csv")
    check_together(
        content["readers"]["hospital-b"]["BIRADS"], scored.assign(rating=scored["BIRADS"]), category=[4]
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Beside the readers" in page
    code, _, err = ended(capsys, "verify", tmp_path / "out")
    assert code == 0, err
    shutil.rmtree(tmp_path / "out")
    code, _, err = ended(capsys, *words[:-4], "--reader", "PIRADS", "--out", tmp_path / "out")
    assert code == 3
    assert "--reader needs a column of the table" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.real_data
def test_bi_rads_of_bus_bra_is_the_reader_that_pandas_counts(busbra_folder: Path, tmp_path, capsys):
    given = pd.read_csv(busbra_folder / "bus_data.csv")
    present = (given["Pathology"] == "malignant").to_numpy()
    rng = np.random.default_rng(1)
    risk = np.round(1 / (1 + np.exp(-rng.normal(1.1 * present - 1, 1))), 6)
    frame = pd.DataFrame(
        {
            "model": "m",
            "split": "bus-bra",
            "case": given["ID"],
            "group": given["Case"],
            "outcome": present.astype(int),
            "risk": risk,
            "BIRADS": given["BIRADS"],
        }
    )
    words = ("--reader", "BIRADS>=4", "--threshold", "0.3", "--acting-threshold", "0.02", *FAST)
    code, _, err = ended(capsys, "evaluate", saved(frame, tmp_path), "--out", tmp_path / "out", *words)
    assert code == 0, err
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())["readers"]["bus-bra"]["BIRADS"]
    rating = given["BIRADS"].to_numpy(float)
    assert scores["auc"]["value"] == pytest.approx(naive_auc(present, rating), abs=1e-12)
    assert round(scores["auc"]["value"], 2) == 0.91
    acts = rating >= 4
    assert scores["cut"]["sensitivity"]["value"] == pytest.approx(acts[present].mean(), abs=1e-12)
    assert scores["cut"]["specificity"]["value"] == pytest.approx((~acts[~present]).mean(), abs=1e-12)
    check_together(scores, frame.assign(rating=rating), category=[4])
    within = scores["against"]["m"]["within"]
    inside = rating == 4
    assert (within["cases"], within["events"]) == (inside.sum(), (inside & present).sum())
    assert within["auc"]["value"] == pytest.approx(naive_auc(present[inside], risk[inside]), abs=1e-12)
