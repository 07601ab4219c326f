"""Multi-reader studies: MRMCaov's values, cases worked by hand, naive references and laws."""

import dataclasses
import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from discrimination_reference import REFERENCE, naive_auc

from clineval.statistics.auc import auc, auc_difference_by_logit, compare_auc
from clineval.statistics.model_and_reader import non_inferiority
from clineval.statistics.readers import (
    DESIGNS,
    average_reader,
    compare_modalities,
    each_reader,
    model_against_panel,
    power,
    study_sizes,
    variance_components,
)
from clineval.statistics.readings import MEASURES, arrange_readings, reader_performance

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from bench_readers import MARGIN, one_reader, verdicts

R = json.loads((REFERENCE / "readers.json").read_text())
STUDIES = pd.read_csv(REFERENCE / "readers_studies.csv", float_precision="round_trip")
CUT = 4  # of the synthetic studies, in readers.R too


def arranged(rows, **columns):
    return arrange_readings(
        rows["rating"],
        outcome=rows["outcome"],
        reader=rows["reader"],
        case=rows["case"],
        modality=rows["modality"],
        **{name: rows[column] for name, column in columns.items()},
    )


def synthetic(name, **columns):
    return arranged(STUDIES[STUDIES["study"] == name], **columns)


def panel(ratings, outcome, group=None):
    """A study from ratings of shape (modalities, readers, cases)."""
    ratings = np.asarray(ratings, dtype=float)
    m, r, c = (index.ravel() for index in np.indices(ratings.shape))
    return arrange_readings(
        ratings.ravel(),
        outcome=np.asarray(outcome)[c],
        reader=r,
        case=c,
        modality=m,
        group=None if group is None else np.asarray(group)[c],
    )


def close(theirs, abs=1e-15):
    return pytest.approx(np.array(theirs, dtype=float), rel=1e-9, abs=abs, nan_ok=True)


def numbers(difference):
    found, df = difference.difference, difference.df if np.isfinite(difference.df) else np.nan
    return [found.value, difference.standard_error, df, found.low, found.high, difference.p_value]


def with_width(rows, *, error=1, bounds):
    """MRMCaov's rows, without the bounds of intervals of no width: ours then has none, and says why."""
    rows = np.array(rows, dtype=float)
    flat = rows[:, error] < 1e-9
    rows[np.ix_(flat, bounds)] = np.nan
    return rows


def is_theirs(performance, theirs, design):
    test = compare_modalities(performance, design=design)
    assert [test.statistic, test.p_value] == close([theirs["statistic"], theirs["p_value"]], abs=1e-14)
    assert np.array([numbers(each) for each in test.differences]) == close(theirs["differences"], abs=1e-14)
    averages = average_reader(performance, design=design)
    means = [
        [
            each.average.value,
            each.standard_error,
            each.df if np.isfinite(each.df) else np.nan,
            each.average.low,
            each.average.high,
        ]
        for each in averages
    ]
    expected = with_width(theirs["means"], bounds=[3, 4])
    expected[expected[:, 2] > 1e12, 2] = np.nan  # readers who are all alike: infinite, or 1e59 in R
    assert np.array(means) == close(expected)
    if theirs["components"]:
        found = dataclasses.asdict(variance_components(performance))
        assert [found[name] for name in theirs["components"]] == close(list(theirs["components"].values()))
    if theirs["readers"]:
        found = list(itertools.chain(*each_reader(performance)))
        errors = np.sqrt(np.einsum("trtr->tr", performance.covariance)).ravel()
        table = [[each.value, error, each.low, each.high] for each, error in zip(found, errors, strict=True)]
        assert np.array(table) == close(with_width(theirs["readers"], bounds=[2, 3]))


@pytest.mark.parametrize(
    ("study", "measure", "covariance"),
    [(s, m, c) for s, measures in R["studies"].items() for m, found in measures.items() for c in found],
)
@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_gives_mrmcaov_s_values(study, measure, covariance, design):
    cut = None if measure == "auc" else CUT
    performance = reader_performance(synthetic(study), measure=measure, cut=cut, covariance=covariance)
    is_theirs(performance, R["studies"][study][measure][covariance][design], design)


@pytest.fixture(scope="module")
def readers_folder():
    """Folder of the published studies, through CLINEVAL_READERS; skips, saying why, where absent."""
    named = os.environ.get("CLINEVAL_READERS", "")
    if not named or not (Path(named) / "reference.csv").is_file():
        pytest.skip(
            "the published studies are not there: CLINEVAL_READERS names no folder with reference.csv"
        )
    return Path(named)


def published(folder, name):
    rows = pd.read_csv(folder / f"{name.lower()}.csv", dtype={"reader": str, "treatment": str, "case": str})
    return arranged(rows.rename(columns={"treatment": "modality", "truth": "outcome"}))


def reference(folder, name, covariance, design):
    """MRMCaov's tables of one analysis in the shape of readers.json."""
    rows = pd.read_csv(folder / "reference.csv", dtype={"row": str}, float_precision="round_trip")
    rows = rows[(rows["dataset"] == name) & (rows["covariance"] == covariance) & (rows["design"] == design)]
    tables = dict(list(rows.groupby("table", sort=False)))

    def values(table, keys):
        if table not in tables:
            return None
        found = []
        for _, one in tables[table].groupby("row", sort=False):
            ci = one.loc[one["key"] == "CI", "value"].tolist()
            by_key = dict(zip(one["key"], one["value"], strict=True)) | {"low": ci[0], "high": ci[1]}
            found.append([by_key.get(key, np.nan) for key in keys])
        return found

    equality = dict(zip(tables["test_equality"]["key"], tables["test_equality"]["value"], strict=True))
    components = None
    if "vcov_comps" in tables:
        estimates = tables["vcov_comps"].query("key == 'Estimate'")["value"]
        names = ("reader", "modality_reader", "error", "cov1", "cov2", "cov3")
        components = dict(zip(names, estimates, strict=True))
    return {
        "statistic": equality.get("F", equality.get("X2")),
        "p_value": equality["p-value"],
        "components": components,
        "differences": values("test_diffs", ("Estimate", "StdErr", "df", "low", "high", "p-value")),
        "means": values("test_means", ("Estimate", "StdErr", "df", "low", "high")),
        "readers": values("reader_means", ("empirical_auc", "StdErr", "low", "high")),
    }


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(
    ("name", "covariance"), [("VanDyke", "DeLong"), ("VanDyke", "jackknife"), ("Kundel", "jackknife")]
)
def test_published_studies_give_mrmcaov_s_values(readers_folder, name, covariance, design):
    performance = reader_performance(published(readers_folder, name), covariance=covariance.lower())
    is_theirs(performance, reference(readers_folder, name, covariance, design), design)


@pytest.mark.parametrize("covariance", R["against"])
@pytest.mark.parametrize("design", DESIGNS)
def test_a_model_against_the_panel_is_hillis_analysis_of_one_modality(covariance, design):
    rows = STUDIES[(STUDIES["study"] == "factorial") & (STUDIES["modality"] == "m1")]
    study = arranged(rows)
    risk = rows.drop_duplicates("case").sort_values("case")["risk"]
    found = model_against_panel(study, risk, covariance=covariance, design=design)
    theirs = R["against"][covariance][design]
    expected = [theirs["difference"], theirs["error"], theirs["df"], *theirs["interval"], theirs["p_value"]]
    assert numbers(found) == close(expected, abs=1e-14)


def test_hand_worked_study_of_two_readers():
    # Events rated (3, 2), non-events (1, 2) by reader 0: pairs 1, 1, 1, 1/2, an AUC of 7/8. By reader 1
    # (3, 1) and (1, 2): pairs 1, 1, 1/2, 0, an AUC of 5/8.
    study = panel([[[3, 2, 1, 2], [3, 1, 1, 2]]], [1, 1, 0, 0])
    performance = reader_performance(study)
    assert performance.value == close([[7 / 8, 5 / 8]])
    # Placements: reader 0 events 1, 3/4, non-events 1, 3/4; reader 1 events 1, 1/4, non-events 3/4, 1/2.
    # Variances (1/32 + 1/32) / 2 = 1/32 and (9/32 + 1/32) / 2 = 5/32; covariance (3/32 + 1/32) / 2 = 1/16.
    assert performance.covariance.reshape(2, 2) == close([[1 / 32, 1 / 16], [1 / 16, 5 / 32]])
    (average,) = average_reader(performance)
    # MS(R) = (1/4)^2 / 2 = 1/32; variance 1/64 + 1/16 = 5/64; df = ((1/32 + 1/8) / (1/32))^2 = 25.
    assert [average.average.value, average.standard_error, average.df] == close([3 / 4, np.sqrt(5) / 8, 25])
    rates = reader_performance(study, measure="sensitivity", cut=2)
    assert rates.value == close([[1, 1 / 2]])
    # 0/1 of events: reader 0 (1, 1) without variance, reader 1 (1, 0) with (1/2) / 2 = 1/4.
    assert rates.covariance.reshape(2, 2) == close([[0, 0], [0, 1 / 4]])
    assert reader_performance(study, measure="specificity", cut=2).value == close([[1 / 2, 1 / 2]])


def naive_jackknife(rows, measure):
    """Values without each group in turn by refitting, and their covariance."""

    def value(cell):
        if measure == "auc":
            return naive_auc(cell["outcome"] == 1, cell["rating"])
        side = cell[cell["outcome"] == (measure == "sensitivity")]
        return np.mean((side["rating"] >= CUT) == (measure == "sensitivity"))

    if measure != "auc":
        rows = rows[rows["outcome"] == (measure == "sensitivity")]
    cells = sorted(set(zip(rows["modality"], rows["reader"], strict=True)))
    of = {key: rows[(rows["modality"] == key[0]) & (rows["reader"] == key[1])] for key in cells}
    groups = sorted(rows["group"].unique())
    without = np.array([[value(of[key][of[key]["group"] != g]) for key in cells] for g in groups])
    return (len(groups) - 1) * np.cov(without.T, ddof=0) * 1.0


@pytest.mark.parametrize("study", ["factorial", "partly_shared"])
@pytest.mark.parametrize("measure", MEASURES)
def test_groups_are_left_out_whole(study, measure):
    rows = STUDIES[STUDIES["study"] == study]
    cut = None if measure == "auc" else CUT
    found = reader_performance(
        arranged(rows, group="group"), measure=measure, cut=cut, covariance="jackknife"
    )
    cells = found.value.size
    assert found.covariance.reshape(cells, cells) == close(naive_jackknife(rows, measure))
    assert f"jackknife over {rows['group'].nunique() if measure == 'auc' else ''}" in found.method


@pytest.mark.parametrize("clustered", [False, True])
def test_delong_covariances_are_those_of_one_and_two_models(clustered):
    rows = STUDIES[STUDIES["study"] == "factorial"]
    group = {"group": "group"} if clustered else {}
    study = arranged(rows, **group)
    given = {"group": study.group if clustered else None}
    (first, second), *_ = study.rating[0, :2], None
    performance = reader_performance(study)
    one = auc(study.outcome, first, **given)
    two = compare_auc(study.outcome, first, second, **given)
    C = performance.covariance[0, :2, 0, :2]
    if not clustered:  # with groups the AUC's own interval has Student's t, a reader's the normal one
        assert each_reader(performance)[0][0].low == close(one.low)
    error = two.difference.value / two.statistic
    assert np.sqrt(C[0, 0] + C[1, 1] - 2 * C[0, 1]) == close(abs(error))
    assert ("Obuchowski" in performance.method) is clustered


def test_groups_of_one_change_nothing():
    rows = STUDIES[STUDIES["study"] == "factorial"]
    plain, grouped = arranged(rows), arranged(rows, group="case")
    for covariance in ("delong", "jackknife"):
        one, two = (reader_performance(each, covariance=covariance) for each in (plain, grouped))
        assert one.covariance == close(two.covariance)
        assert one.method == two.method


def test_the_order_of_rows_and_the_names_of_readers_change_no_panel_number():
    rows = STUDIES[STUDIES["study"] == "partly_shared"]
    renamed = rows.sample(frac=1, random_state=1).replace({"reader": {"r1": "r3", "r3": "r1"}})
    found = [
        numbers(compare_modalities(reader_performance(arranged(each), covariance="jackknife")).differences[0])
        for each in (rows, renamed)
    ]
    assert found[0] == close(found[1])


def test_a_monotone_change_of_ratings_changes_nothing():
    study = synthetic("factorial")
    bent = dataclasses.replace(study, rating=np.exp(study.rating))
    assert reader_performance(bent).covariance == close(reader_performance(study).covariance)


def test_one_reader_twice_has_no_reader_variance():
    study = synthetic("factorial")
    twice = dataclasses.replace(study, rating=study.rating[:, [0, 0]], readers=("a", "b"))
    for each, alone in zip(average_reader(reader_performance(twice)), study.rating[:, 0], strict=True):
        assert each.standard_error == close(
            np.sqrt(reader_performance(twice).covariance[0, 0, 0, 0])
            if each.modality == "m1"
            else np.sqrt(reader_performance(twice).covariance[1, 0, 1, 0])
        )
        assert each.df == np.inf
        assert each.average.value == close(naive_auc(study.outcome, alone))


def test_the_same_modality_twice_differs_by_nothing_and_has_no_test():
    study = synthetic("factorial")
    same = dataclasses.replace(study, rating=study.rating[[0, 0]])
    for design in DESIGNS:
        (difference,) = compare_modalities(reader_performance(same), design=design).differences
        assert difference.difference.value == 0
        assert np.isnan([difference.p_value, difference.difference.low]).all()
        assert difference.difference.method.startswith("no interval: the variance is 0")


def test_a_model_that_is_the_one_fixed_reader_s_equal_is_compared_as_two_models():
    study = synthetic("factorial")
    one = dataclasses.replace(study, rating=study.rating[:1, :1], modalities=("m1",), readers=("r1",))
    risk = study.rating[1, 0]
    found = model_against_panel(one, risk, design="fixed_readers")
    two = compare_auc(study.outcome, risk, study.rating[0, 0])
    assert [found.difference.low, found.difference.high] == close([two.difference.low, two.difference.high])
    assert found.p_value == close(two.p_value)
    bound = auc_difference_by_logit(study.outcome, risk, study.rating[0, 0])
    assert [found.bound.low, found.bound.high] == close([bound.low, bound.high], abs=1e-12)


def test_a_model_that_reads_as_every_reader_does_differs_by_nothing():
    study = synthetic("factorial")
    alike = dataclasses.replace(
        study, rating=study.rating[:1, [0, 0, 0]], modalities=("m1",), readers=tuple("abc")
    )
    found = model_against_panel(alike, study.rating[0, 0])
    assert found.difference.value == 0
    assert np.isnan(found.p_value)
    assert non_inferiority(found.difference, margin=0.05).met is None


def test_a_model_that_is_as_accurate_as_the_average_reader_has_a_p_value_of_1():
    # Readers of AUC 3/4 and 1/4 by symmetric errors; a model of AUC 1/2 is their average.
    outcome = [1, 1, 0, 0]
    study = panel([[[4, 2, 1, 3], [1, 3, 4, 2]]], outcome)
    assert reader_performance(study).value == close([[3 / 4, 1 / 4]])
    found = model_against_panel(study, [4, 1, 2, 3])
    assert found.difference.value == 0
    assert found.p_value == close(1)


def test_a_model_against_the_panel_by_rates_takes_threshold_and_cut():
    rows = STUDIES[(STUDIES["study"] == "factorial") & (STUDIES["modality"] == "m1")]
    study, risk = arranged(rows), rows.drop_duplicates("case").sort_values("case")["risk"].to_numpy()
    for measure, side in (("sensitivity", study.outcome), ("specificity", ~study.outcome)):
        found = model_against_panel(study, risk, measure=measure, threshold=0.5, cut=CUT)
        model = np.mean((risk >= 0.5)[side] == (measure == "sensitivity"))
        panel_mean = np.mean((study.rating[0] >= CUT)[:, side] == (measure == "sensitivity"))
        assert found.difference.value == close(model - panel_mean)
        assert found.difference.low < found.difference.value < found.difference.high


def test_a_model_is_compared_on_the_cases_of_its_modality_alone():
    rows = STUDIES[STUDIES["study"] == "partly_shared"]
    study = arranged(rows)
    risk = rows.drop_duplicates("case").sort_values("case")["risk"].to_numpy()
    found = model_against_panel(study, risk, modality="m2", covariance="jackknife")
    alone = rows[rows["modality"] == "m2"]
    read = np.isin(study.cases, alone["case"].unique())
    assert found == model_against_panel(arranged(alone), risk[read], covariance="jackknife")
    changed = np.where(read, risk, 1 - risk)
    assert found == model_against_panel(study, changed, modality="m2", covariance="jackknife")
    with pytest.raises(ValueError, match="Expected as modality one of m1, m2, got 'm3'"):
        model_against_panel(study, risk, modality="m3")
    with pytest.raises(ValueError, match="Expected as modality one of m1, m2, got None"):
        model_against_panel(study, risk)


def test_perfect_readers_have_no_interval_and_say_why():
    study = panel([[[1, 2, 3, 4, 5, 6]] * 2], [0, 0, 0, 1, 1, 1])
    (average,) = average_reader(reader_performance(study))
    assert average.average.value == 1
    assert np.isnan(average.average.low)
    assert average.average.method.startswith("no interval: the variance is 0")
    assert np.isnan(each_reader(reader_performance(study))[0][0].high)


def test_a_group_that_holds_every_event_leaves_no_covariance():
    ratings, outcome = [[[1, 2, 3, 4], [3, 1, 4, 2]]], [0, 0, 1, 1]
    for group, covariance in itertools.product(([0, 1, 2, 2], [0, 0, 0, 0]), ("jackknife", "delong")):
        study = panel(ratings, outcome, group=group)
        performance = reader_performance(study, covariance=covariance)
        assert np.isnan(performance.covariance).all()
        assert each_reader(performance)[0][0].method.startswith("no interval")
        (average,) = average_reader(performance)
        assert np.isnan(average.average.low)
    assert average_reader(performance, design="fixed_cases")[0].average.method.endswith("Student's t")


@pytest.mark.parametrize(
    "found", R["power"], ids=lambda each: f"{each['option']}-{each['readers']}-{each['cases']}"
)
def test_power_is_rjafroc_s(found):
    designs = {"RRRC": "random", "FRRC": "fixed_readers", "RRFC": "fixed_cases"}
    components = variance_components(reader_performance(synthetic("factorial")))
    pilot = dataclasses.replace(
        components,
        modality_reader=0.00020040252,
        cov1=0.00034661371,
        cov2=0.00034407483,
        cov3=0.00023902837,
        error=0.00080228827,
        cases=114,
    )
    design = designs[found["option"]]
    mine = power(pilot, difference=0.05, readers=found["readers"], cases=found["cases"], design=design)
    # R and Boost each stop the series of the noncentral distributions at about 1e-9.
    assert mine == pytest.approx(found["power"], rel=1e-8)
    (planned,) = study_sizes(pilot, difference=0.05, readers=[found["readers"]], design=design)
    if planned.cases is None:
        assert planned.power < 0.8
        return
    at = [
        power(pilot, difference=0.05, readers=found["readers"], cases=planned.cases - less, design=design)
        for less in (0, 1)
    ]
    assert at[0] >= 0.8 > at[1]


def test_refusals_name_what_is_wrong():
    outcome, case, reader = [1, 0, 1, 0, 1, 0, 1, 0], [1, 2, 3, 4] * 2, ["a"] * 4 + ["b"] * 4
    rating = [3.0, 1, 2, 1, 3, 2, 2, 1]

    def given(**changed):
        columns = {"rating": rating, "outcome": outcome, "case": case, "reader": reader} | changed
        return arrange_readings(columns.pop("rating"), **columns)

    with pytest.raises(ValueError, match="Expected one outcome per case, got two for case 1"):
        given(outcome=[1, 0, 1, 0, 0, 0, 1, 0])
    with pytest.raises(ValueError, match="by reader a of case 3 with modality 0, got several"):
        given(case=[1, 2, 3, 3, *case[4:]], outcome=[1, 0, 1, 1, 1, 0, 1, 0])
    with pytest.raises(ValueError, match="Expected one group per case, got two for case 2"):
        given(group=[1, 1, 2, 2, 1, 2, 2, 2])
    with pytest.raises(ValueError, match="a finite number for every risk; got nan in row 2"):
        given(rating=[3, np.nan, *rating[2:]])
    with pytest.raises(ValueError, match="Expected different ratings from reader b, got 2 for"):
        reader_performance(given(rating=rating[:4] + [2.0] * 4))
    with pytest.raises(ValueError, match="two without the condition from reader a, got 4 and 0"):
        reader_performance(given(outcome=[1] * 8))
    with pytest.raises(ValueError, match="reader b did not read case 5"):
        reader_performance(
            given(rating=[*rating, 2], outcome=[*outcome, 1], case=[*case, 5], reader=[*reader, "a"])
        )
    with pytest.raises(ValueError, match="Expected a cut"):
        reader_performance(given(), measure="sensitivity")
    with pytest.raises(
        ValueError, match="Expected as measure one of auc, sensitivity, specificity, got 'roc'"
    ):
        reader_performance(given(), measure="roc")
    with pytest.raises(ValueError, match="Expected at least two modalities to compare, got 1"):
        compare_modalities(reader_performance(given()))
    alone = given(reader=["a"] * 4, rating=rating[:4], outcome=outcome[:4], case=case[:4])
    with pytest.raises(
        ValueError, match=r"Expected at least two readers .* got 1. Take the readers as fixed"
    ):
        average_reader(reader_performance(alone))
    assert average_reader(reader_performance(alone), design="fixed_readers")[0].average.value == 1
    with pytest.raises(ValueError, match=r"Expected different risks from the model, got 0\.5 for"):
        model_against_panel(given(), [0.5] * 4)
    with pytest.raises(ValueError, match="threshold and the readers' cut"):
        model_against_panel(given(), [0.5, 0.1, 0.2, 0.3], measure="sensitivity", cut=2)
    with pytest.raises(ValueError, match="Expected a margin above 0, got 0"):
        non_inferiority(average_reader(reader_performance(given()))[0].average, margin=0)


def test_a_modality_that_a_reader_did_not_use_is_named():
    rows = STUDIES[(STUDIES["study"] == "factorial")]
    rows = rows[~((rows["reader"] == "r2") & (rows["modality"] == "m2"))]
    with pytest.raises(ValueError, match="from reader r2 with modality m2, got 0 and 0"):
        reader_performance(arranged(rows), covariance="jackknife")


@pytest.mark.slow
def test_intervals_keep_their_level_in_simulated_studies():
    # 400 studies by Roe and Metz's model of 5 readers and 114 cases: three standard errors of a share of
    # .95 are .033, of .025 they are .023. benchmarks/bench_readers.py has more studies and settings.
    shares = np.mean([verdicts(seed, gain=0.03, model=-MARGIN) for seed in range(400)], axis=0)
    assert np.all((shares[:4] > 0.917) & (shares[:4] < 0.983))
    assert shares[4] < 0.048


@pytest.mark.slow
def test_one_reader_s_margin_is_passed_by_chance_in_one_of_forty():
    shares = np.mean([one_reader(seed) for seed in range(400)], axis=0)
    assert np.all(shares < 0.048)


def test_twenty_readers_of_a_thousand_cases_take_under_five_seconds():
    rng = np.random.default_rng(0)
    outcome = rng.random(1000) < 0.4
    ratings = rng.normal(size=(2, 20, 1000)) + 1.2 * outcome
    study = panel(ratings, outcome)
    start = time.perf_counter()
    compare_modalities(reader_performance(study))
    assert time.perf_counter() - start < 5
