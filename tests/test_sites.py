"""Sites of a cohort: each site's own numbers, the summary, the next site, and what is refused."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from finished_run import WORDS, read_rows, write_cohort, write_table
from scipy.special import logit

from clineval.cli.console import DONE, REFUSED
from clineval.cli.main import run_command
from clineval.data.findings import QUANTITIES
from clineval.errors import InputError
from clineval.evaluation.records import Point, Primary, Scale
from clineval.evaluation.sites import SCALES, SiteStudy, over_sites, plan, site_rows
from clineval.files import from_plain, to_plain
from clineval.predictions import check_predictions
from clineval.reporting.sites import DRAWN, forest_figure, forest_rows, sentences, site_parts
from clineval.statistics.auc import auc_variance
from clineval.statistics.calibration import observed_expected
from clineval.statistics.counts import flagged
from clineval.statistics.meta_analysis import logit_rates, random_effects
from clineval.statistics.roc import auc_logit

pytestmark = pytest.mark.usefixtures("unpainted")

POINT = Point("sensitivity_90", 0.3, "train_out_of_fold", "chosen for sensitivity 0.90")
PRIMARY = Primary("m", 0.3, "train_out_of_fold", "")


def table(sites: dict[str, tuple[int, int]], *, seed: int = 0, per_patient: int = 1) -> pd.DataFrame:
    """Cases with and without the condition at each site, risks that rise with it."""
    rng, rows = np.random.default_rng(seed), []
    for site, (events, others) in sites.items():
        for place in range(events + others):
            outcome = place < events
            risk = 1 / (1 + np.exp(-rng.normal(0.8 if outcome else -1.2, 1.1)))
            rows.append((f"{site}{place}", f"{site}{place // per_patient}", int(outcome), risk, site))
    return pd.DataFrame(rows, columns=["case", "group", "outcome", "risk", "site"])


def study(cases: pd.DataFrame, *, column: str = "site", **changes) -> SiteStudy:
    frame = cases.assign(model="m", split="elsewhere").drop(columns="site")
    given = {
        "column": column,
        "condition": "malignant",
        "points": {"m": (POINT,)},
        "primary": PRIMARY,
        "scale": Scale(),
    } | changes
    return over_sites(check_predictions(frame), dict(zip(cases["case"], cases["site"], strict=True)), **given)


FOUR = {"a": (30, 60), "b": (25, 40), "c": (40, 50), "d": (15, 45)}


@pytest.fixture(scope="module")
def four() -> tuple[pd.DataFrame, SiteStudy]:
    cases = table(FOUR)
    return cases, study(cases)


# The numbers -------------------------------------------------------------------------------------------


def test_a_sites_numbers_are_those_of_its_cases_alone(four):
    cases, found = four
    of_a = cases[cases["site"] == "a"]
    measures = found.models["m"].sites["a"]
    assert list(measures) == list(SCALES)
    assert measures["auc_logit"] == auc_logit(of_a["outcome"], of_a["risk"])
    assert measures["observed_expected"] == observed_expected(of_a["outcome"], of_a["risk"])
    called = (of_a["risk"] >= 0.3).to_numpy()
    present = of_a["outcome"].to_numpy() == 1
    assert measures["sensitivity"].value == called[present].mean()
    assert measures["specificity"].value == (~called[~present]).mean()
    benefit = (called & present).mean() - (called & ~present).mean() * 0.3 / 0.7
    assert measures["net_benefit"].value == pytest.approx(benefit, abs=1e-15)


def test_the_summary_is_that_of_the_statistics_on_numbers_taken_by_hand(four):
    cases, found = four
    parts = [part for _, part in cases.groupby("site")]
    value = [auc_logit(part["outcome"], part["risk"]).value for part in parts]
    error = [
        math.sqrt(auc_variance(part["outcome"], part["risk"])) / (auc * (1 - auc))
        for auc, part in zip(value, parts, strict=True)
    ]
    expected = random_effects(logit(value), error, scale="logit")
    auc = found.models["m"].measures["auc_logit"]
    assert auc.summary.mean.value == pytest.approx(expected.mean.value, abs=1e-12)
    assert auc.summary.prediction.low == pytest.approx(expected.prediction.low, abs=1e-9)
    assert sum(auc.weights.values()) == pytest.approx(1)
    assert list(auc.without) == ["a", "b", "c", "d"]
    hits = [int(flagged(part["risk"][part["outcome"] == 1], 0.3).sum()) for part in parts]
    expected = random_effects(*logit_rates(hits, [30, 25, 40, 15]), scale="logit")
    model = found.models["m"]
    assert model.measures["sensitivity"].summary.mean.value == pytest.approx(expected.mean.value, abs=1e-12)
    assert model.reached == pytest.approx(expected.chance_next_site_reaches(0.85), abs=1e-12)


def test_the_means_without_a_site_are_those_of_a_study_without_it(four):
    cases, found = four
    without = study(cases[cases["site"] != "b"])
    for measure in SCALES:
        left = found.models["m"].measures[measure].without["b"]
        if measure not in ("sensitivity", "specificity"):  # their variance is at the rate of all sites
            assert left.mean.value == pytest.approx(
                without.models["m"].measures[measure].summary.mean.value, abs=1e-9
            )


@pytest.mark.slow
def test_patients_within_a_site_count_once_each():
    """Every image twice under one patient says no more of a site than every image once."""
    once = table(FOUR)
    twice = pd.concat([once, once.assign(case=once["case"] + " again")], ignore_index=True)
    for measure in ("auc_logit", "observed_expected", "sensitivity", "net_benefit"):
        one, two = (study(each).models["m"].measures[measure].summary.mean for each in (once, twice))
        assert two.high - two.low > 0.98 * (one.high - one.low)


def test_small_sites_are_pooled_and_a_lonely_one_is_left_out_with_the_reason():
    pooled = study(table({**FOUR, "e": (6, 20), "f": (7, 4)}))
    assert {each.name: each.use for each in pooled.plan}["e"] == "pooled"
    assert list(pooled.models["m"].sites)[-1] == "2 small sites, pooled"
    left = study(table({**FOUR, "e": (0, 20)}))
    lonely = left.plan[-1]
    assert (lonely.use, lonely.reason) == (
        "left out",
        "0 cases with and 20 without the condition; 10 of each are needed",
    )
    assert "e" not in left.models["m"].sites
    assert any("Left out as too small: e (0 cases with" in each for each in sentences(left))


def test_where_cases_come_in_groups_a_site_needs_as_many_groups():
    cases = table({**FOUR, "e": (12, 40)}, per_patient=2)
    small = study(cases).plan[-1]
    assert small.reason == "6 patients or groups with and 20 without the condition; 10 of each are needed"


def test_a_site_in_which_everything_is_found_keeps_its_place_in_the_summary_of_sensitivity():
    cases = table(FOUR)
    cases.loc[(cases["site"] == "a") & (cases["outcome"] == 1), "risk"] = 0.9
    model = study(cases).models["m"]
    assert model.sites["a"]["sensitivity"].value == 1.0
    assert "a" in model.measures["sensitivity"].weights


def test_a_site_that_ranks_without_error_has_no_place_in_the_summary_of_the_auc():
    cases = table(FOUR)
    of_a = cases["site"] == "a"
    cases.loc[of_a, "risk"] = np.where(cases.loc[of_a, "outcome"] == 1, 0.9, 0.1)
    auc = study(cases).models["m"].measures["auc_logit"]
    assert list(auc.left_out) == ["a"]
    assert "a" not in auc.weights


def test_two_sites_have_a_mean_and_no_prediction():
    found = study(table({"a": (30, 60), "b": (25, 40)}))
    summary = found.models["m"].measures["sensitivity"].summary
    assert summary.mean.value > 0
    assert math.isnan(summary.prediction.low)
    assert "at least 3 sites" in summary.prediction.method
    assert math.isnan(found.models["m"].reached)
    assert any("needs at least 3 sites" in each for each in sentences(found))
    assert next(sentences(found)) == "Two sites: no conclusion about the next one."


@pytest.mark.parametrize("name", ["X" * 81, "two\nlines", "\u202eback"])
def test_names_of_sites_are_short_and_printable(name):
    with pytest.raises(InputError, match="needs names of up to 80 printable characters; got") as refused:
        study(table({name: (30, 60), "b": (25, 40)}))
    assert len(str(refused.value)) < 250


def test_a_site_called_as_pooled_ones_are_stays_apart_from_them():
    """Two sites too small to stand alone, and one of the name that the two get together."""
    taken = "2 small sites, pooled"
    found = study(table({taken: (30, 60), "a": (6, 9), "b": (7, 9)}))
    assert list(found.models["m"].sites) == [taken, f"{taken} here"]
    cases = {each.name: each.cases for each in found.plan}
    assert cases == {taken: 90, "a": 15, "b": 16}


def test_few_sites_that_differ_begin_with_no_conclusion_and_many_alike_do_not(tmp_path):
    cases = table(dict.fromkeys("abc", (15, 25)))
    cases.loc[cases["site"] == "a", "risk"] **= 4
    cases.loc[cases["site"] == "b", "risk"] **= 0.25
    few = study(cases)
    ahead = few.models["m"].measures["sensitivity"].summary.prediction
    assert ahead.high - ahead.low > 0.5
    said = "hree sites: no conclusion about sensitivity and specificity at the next one"
    assert next(sentences(few)) == f"T{said}."
    assert site_parts(few, tmp_path)["summary"] == f"t{said}"
    cases.loc[cases["site"] == "a", "risk"] = cases["risk"].to_numpy()[::-1][: (cases["site"] == "a").sum()]
    assert next(sentences(study(cases))) == "Three sites: no conclusion about the next one."
    many = study(table(dict.fromkeys("abcdefgh", (60, 90))))
    assert not any("no conclusion" in each for each in sentences(many))


def test_the_record_reads_back_from_json(four):
    content = json.loads(json.dumps(to_plain(four[1])))
    assert to_plain(from_plain(SiteStudy, content)) == content


def test_each_site_is_set_against_all_others_and_corrected_for_the_number_of_sites(four):
    cases, found = four
    model, of_a = found.models["m"], (cases["site"] == "a").to_numpy()
    gap = model.less_rest["a"]["auc_logit"]
    outcome, risk = cases["outcome"].to_numpy(bool), cases["risk"].to_numpy()
    assert gap.value == pytest.approx(
        auc_logit(outcome[of_a], risk[of_a]).value - auc_logit(outcome[~of_a], risk[~of_a]).value
    )
    assert {each["auc_logit"].comparisons for each in model.tests.values()} == {4}
    two = study(table({"a": (30, 60), "b": (25, 40)})).models["m"]
    assert {each["sensitivity"].comparisons for each in two.tests.values()} == {1}


# What is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sites", "words"),
    [
        (["x"] * 40, "only 'x'"),
        (["x", ""] * 20, "is empty in 20 of 40 rows"),
        ([f"s{n}" for n in range(500)], "has 500 values"),
        (["x", "y"] * 20, "expected at least 2 sites with 10 cases with and without"),
    ],
)
def test_a_column_that_is_none_of_sites_is_refused(sites, words):
    outcome = np.arange(len(sites)) < 5
    with pytest.raises(InputError, match=words):
        plan(outcome, sites, None, column="Device")


def test_sites_that_share_patients_are_refused_and_one_is_named():
    outcome, site = np.arange(80) % 2 == 0, np.repeat(["x", "y"], 40)
    group = np.array([f"p{n % 60}" for n in range(80)])
    with pytest.raises(InputError, match=r"20 of 60 groups have images of more than one site.*\(x, y\)"):
        plan(outcome, site, group, column="Device")


# What is drawn and said ----------------------------------------------------------------------------------


def test_the_forest_draws_each_sites_own_rate_the_diamond_and_the_bar(four):
    found = four[1]
    model = found.models["m"]
    figure = forest_figure(found, "sensitivity")
    (ax,) = figure.axes
    drawn = {line.get_ydata()[0]: line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1}
    own = [measures["sensitivity"].value for measures in model.sites.values()]
    assert [drawn[place] for place in range(4)] == own
    shapes = {patch.get_gid(): patch for patch in ax.patches}
    summary = model.measures["sensitivity"].summary
    corners = shapes["mean"].get_xy()[:, 0]
    assert (corners.min(), corners.max()) == (summary.mean.low, summary.mean.high)
    bar = shapes["prediction"]
    assert bar.get_x() == summary.prediction.low
    assert bar.get_x() + bar.get_width() == pytest.approx(summary.prediction.high)
    assert next(row.counts for row in forest_rows(found, "sensitivity")) == "90 (30)"


@pytest.mark.slow
def test_every_measure_is_drawn_of_any_sites(four):
    lonely = study(table({"a": (30, 60), "b": (25, 40), "c": (0, 4)}))
    for found in (four[1], lonely):
        for measure in DRAWN:
            assert forest_figure(found, measure, notice="SYNTHETIC: x").axes


def test_the_sentences_quote_the_record(four, tmp_path):
    found = four[1]
    summary = found.models["m"].measures["sensitivity"].summary
    said = " ".join(sentences(found))
    assert f"{100 * summary.mean.value:.0f}% on average" in said
    assert f"between {100 * summary.prediction.low:.0f}% and {100 * summary.prediction.high:.0f}%" in said
    assert "85% or more is" in said
    parts = site_parts(found, tmp_path)
    assert len(parts["table"].rows) == 4 + 4
    assert len(parts["without"].rows) == 4
    assert len(parts["apart"].rows) == 4
    assert "corrected by Holm for 4 comparisons" in parts["gaps"][0]
    assert "with 80% power a difference in AUC of 0." in parts["gaps"][1]
    rows = list(site_rows(found))
    assert sum(row["row"] == "site" for row in rows) == 4 * len(SCALES)


# The command ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """150 patients, the two images of each from one of three scanners."""
    folder = write_cohort(tmp_path_factory.mktemp("sites") / "cohort", patients=150)
    rows = [(*row[:3], f"scanner {int(row[1][1:]) % 3}", row[4]) for row in read_rows(folder / "cohort.csv")]
    write_table(folder / "cohort.csv", rows)
    return folder


def words(run, cohort, out, column, *, table="cohort.csv"):
    return [
        "validate", str(run), str(cohort / table), *WORDS, "--name", "hospital-b", "--image-folder",
        str(cohort / "images"), "--out", str(out), "--site-column", column,
    ]  # fmt: skip


@pytest.mark.slow
def test_the_command_writes_record_table_figures_and_chapter(finished_run, cohort, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_command([*words(finished_run, cohort, out, "device"), "--probes"]) == DONE
    found = from_plain(SiteStudy, json.loads((out / "sites.json").read_text()))
    assert {each.use for each in found.plan} == {"own"}
    assert len(found.plan) == 3
    assert list(found.models) == ["logreg", "cnn", "scattering", "combined"]
    table = pd.read_csv(out / "sites.csv")
    assert set(table["row"]) >= {"site", "mean", "next site", "tau", "i_squared", "mean without"}
    for name in ("auc", "sensitivity", "specificity", "observed_expected"):
        assert (out / f"sites_{name}.png").is_file()
    page = (out / "report.html").read_text()
    probes = json.loads((out / "transport.json").read_text())["probes"]
    assert set(probes["alone"]) | set(probes["constant"]) == set(QUANTITIES)
    assert "What the pictures say without the tissue" in page
    assert 'id="sites"' in page
    assert "next site" in page
    assert "at the next site" in " ".join(capsys.readouterr().out.split())
    assert run_command(["verify", str(out)]) == DONE
    assert run_command(["report", str(out)]) == DONE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("nowhere", "--site-column needs one of the table's further columns"),
        ("patient", "--site-column needs one of the table's further columns"),
        ("side", "have images of more than one site"),
    ],
)
def test_the_command_refuses_a_wrong_column_and_writes_nothing(
    finished_run, cohort, tmp_path, capsys, column, said
):
    assert run_command(words(finished_run, cohort, tmp_path / "out", column)) == REFUSED
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert not (tmp_path / "out").exists()


def tables_of(cohort, folder):
    """The cohort's table as one for each scanner."""
    rows = read_rows(cohort / "cohort.csv")
    names = [f"{number}.csv" for number in range(3)]
    for number, name in enumerate(names):
        write_table(folder / name, [row for row in rows if row[3] == f"scanner {number}"])
    return [str(folder / name) for name in names]


def several(run, cohort, tables, out, *further):
    place = ["--image-folder", str(cohort / "images"), "--out", str(out)]
    return ["validate", str(run), *tables, *WORDS, *place, *further]


@pytest.mark.slow
def test_several_tables_are_sites_as_a_column_of_one_table_is(finished_run, cohort, tmp_path, undrawn):
    names = [word for site in ("b", "c", "d") for word in ("--name", site)]
    tables = tables_of(cohort, tmp_path)
    assert run_command(several(finished_run, cohort, tables, tmp_path / "out", *names)) == DONE
    found = from_plain(SiteStudy, json.loads((tmp_path / "out" / "sites.json").read_text()))
    assert (found.column, found.population) == ("site", "b + c + d")
    assert [each.name for each in found.plan] == ["b", "c", "d"]
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["case"].str.split("/").str[0].tolist() == table["site"].tolist()
    rows = read_rows(cohort / "cohort.csv")
    assert set(table["group"]) == {row[1] for row in rows}
    of_b = table[(table["model"] == "combined") & (table["site"] == "b")]
    auc = auc_logit(of_b["outcome"].to_numpy(bool), of_b["risk"], group=of_b["group"].to_numpy())
    assert found.models["combined"].sites["b"]["auc_logit"].value == pytest.approx(auc.value)
    assert run_command(["verify", str(tmp_path / "out")]) == DONE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "further", "said"),
    [
        (("b", "c"), (), "as many different names as tables; got 3 tables and the names b; c"),
        (("b", "c", "c"), (), "as many different names as tables"),
        (("b", "c", "d"), ("--site-column", "device"), "Several tables are sites themselves"),
        (("b", "c", "d"), ("--image-folder", "elsewhere"), "expects one folder, or one for each of 3 tables"),
        (("b", "c", "test"), (), "--name needs a name of its own"),
    ],
)
def test_several_tables_that_do_not_fit_are_refused(
    finished_run, cohort, tmp_path, capsys, names, further, said
):
    named = [word for name in names for word in ("--name", name)]
    given = several(finished_run, cohort, tables_of(cohort, tmp_path), tmp_path / "out", *named, *further)
    assert run_command(given) == REFUSED
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_patient_in_two_tables_is_refused(finished_run, cohort, tmp_path, capsys):
    first, second, _ = tables_of(cohort, tmp_path)
    moved = read_rows(tmp_path / "0.csv")[0]
    write_table(tmp_path / "1.csv", [*read_rows(tmp_path / "1.csv"), moved])
    names = ["--name", "b", "--name", "c"]
    assert run_command(several(finished_run, cohort, [first, second], tmp_path / "out", *names)) == REFUSED
    assert "the same file in two tables" in capsys.readouterr().err


@pytest.mark.slow
def test_a_table_without_the_condition_is_refused(finished_run, cohort, tmp_path, capsys):
    tables = tables_of(cohort, tmp_path)
    rows = [row for row in read_rows(tmp_path / "2.csv") if row[2] != "malignant"]
    write_table(tmp_path / "2.csv", rows)
    names = [word for site in ("b", "c", "d") for word in ("--name", site)]
    assert run_command(several(finished_run, cohort, tables, tmp_path / "out", *names)) == REFUSED
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("clineval: 2.csv, column 'pathology': --positive 'malignant' is in no row")


@pytest.mark.slow
def test_sites_that_differ_in_spelling_alone_are_counted_apart_and_said(
    finished_run, tmp_path, capsys, undrawn
):
    folder = write_cohort(tmp_path / "cohort", patients=100)
    table = pd.read_csv(folder / "cohort.csv")
    table["scanner"] = [("GE Logiq", "ge logiq ")[place // 2 % 2] for place in range(len(table))]
    table.to_csv(folder / "cohort.csv", index=False)
    words = ["validate", str(finished_run), str(folder / "cohort.csv"), "--name", "hospital-b", *WORDS]
    words += ["--image-folder", str(folder / "images"), "--site-column", "scanner", "--quiet"]
    assert run_command([*words, "--out", str(tmp_path / "out")]) == DONE
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "Column scanner: 'GE Logiq' and 'ge logiq' differ in nothing but case, blanks, zeros in front" in said
    )
