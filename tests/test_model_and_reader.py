"""A model and one reader: references that share no step, counts by pandas, cases by hand and laws."""

import json

import numpy as np
import pandas as pd
import pytest
from clinical_reference import freedom, sample
from discrimination_reference import REFERENCE
from scipy.stats import norm
from scipy.stats import t as student
from statsmodels.stats.inter_rater import cohens_kappa

from clineval.statistics.auc import compare_auc
from clineval.statistics.differences import mcnemar
from clineval.statistics.intervals import Estimate, bootstrap_weights, grouped_rate, wilson
from clineval.statistics.model_and_reader import (
    STRATEGIES,
    at_cuts,
    at_reader,
    joint_reading_curve,
    joint_readings,
    kappa,
    non_inferiority,
    ordinal_levels,
    within_category,
)
from clineval.statistics.roc import sensitivity_at_specificity, specificity_at_sensitivity

R = json.loads((REFERENCE / "readers.json").read_text())["kappa"]
STUDIES = pd.read_csv(REFERENCE / "readers_studies.csv", float_precision="round_trip")
NUMBERS = (
    "read",
    "flagged",
    "caught",
    "missed",
    "false_alarms",
    "lost",
    "gained",
    "spared",
    "added",
    "referred",
)


@pytest.fixture
def cases():
    """Outcome, risk of a model, ordinal reading and group of 120 cases."""
    outcome, risk, other, group = sample("tied")
    return outcome, risk, np.digitize(other, [0.25, 0.45, 0.65, 0.85]) + 1.0, group


def ratings():
    rows = STUDIES[(STUDIES["study"] == "factorial") & (STUDIES["modality"] == "m1")]
    wide = rows.pivot(index="case", columns="reader", values="rating")
    return wide["r1"].to_numpy(), wide["r2"].to_numpy()


@pytest.mark.parametrize(("weights", "name"), [("linear", "Equal-Spacing"), ("quadratic", "Fleiss-Cohen")])
def test_kappa_is_vcd_s(weights, name):
    for mine, theirs in ((weights, R[name]["weighted"]), ("none", R[name]["plain"])):
        found = kappa(*ratings(), weights=mine, categories=range(1, 6))
        assert found.value == pytest.approx(theirs[0], rel=1e-9)
        assert (found.high - found.low) / 2 / 1.959963984540054 == pytest.approx(theirs[1], rel=1e-9)


@pytest.mark.parametrize(
    ("weights", "wt"), [("none", None), ("linear", "linear"), ("quadratic", "quadratic")]
)
def test_kappa_is_statsmodels_kappa(cases, weights, wt):
    _, risk, reading, _ = cases
    second = np.digitize(risk, [0.3, 0.5, 0.6, 0.8]) + 1.0
    table = np.zeros((5, 5))
    np.add.at(table, (reading.astype(int) - 1, second.astype(int) - 1), 1)
    theirs = cohens_kappa(table, wt=wt)
    found = kappa(reading, second, weights=weights, categories=[1, 2, 3, 4, 5])
    assert found.value == pytest.approx(theirs.kappa, rel=1e-9)
    assert found.low == pytest.approx(theirs.kappa_low, rel=1e-9)


def test_kappa_worked_by_hand():
    # Agreement on 20 + 15 of 50; by chance .5 x .6 + .5 x .4 = .5: (.7 - .5) / (1 - .5) = .4.
    first = [1] * 25 + [0] * 25
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert kappa(first, second).value == pytest.approx(0.4)


def test_weighted_kappa_worked_by_hand():
    # Squared distance 1/4 on average; by chance, over all 16 pairs of ratings, 20/16: 1 - 0.25/1.25 = 0.8.
    found = kappa([1, 1, 2, 3], [1, 2, 2, 3], weights="quadratic")
    assert found.value == pytest.approx(0.8, rel=1e-12)
    assert found.method == "kappa, quadratic weights, large-sample"


def test_a_level_that_nobody_gave_holds_the_others_apart():
    assert ordinal_levels([5, 1, 2, 2]).tolist() == [1, 2, 3, 4, 5]
    assert ordinal_levels([0, 25, 50, 25, 100]).tolist() == [0, 25, 50, 100]
    assert ordinal_levels([0.5, 0.25]).tolist() == [0.25, 0.5]
    assert len(ordinal_levels(range(1, 21))) == 20
    assert ordinal_levels(range(1, 22)) is None
    first, second = [1, 2, 5, 5], [2, 2, 5, 1]
    apart = np.subtract.outer(first, second).astype(float) ** 2
    naive = 1 - np.diag(apart).mean() / apart.mean()
    levels = ordinal_levels([*first, *second])
    assert kappa(first, second, weights="quadratic", categories=levels).value == pytest.approx(naive)


def test_kappa_of_perfect_constant_and_doubled_ratings():
    first, second = ratings()
    assert kappa(first, first).value == pytest.approx(1)
    assert kappa(first, first).method.startswith("no interval: no spread")
    constant = kappa(np.ones(9), np.ones(9))
    assert np.isnan(constant.value)
    assert "one and the same category" in constant.method
    once = kappa(first, second)
    twice = kappa(np.tile(first, 2), np.tile(second, 2), group=np.tile(np.arange(len(first)), 2))
    # Each case twice as its own group: what one case tells, groups / (groups - 1), and Student's t.
    wider = np.sqrt(len(first) / (len(first) - 1)) * student.ppf(0.975, len(first) - 1) / norm.ppf(0.975)
    assert twice.value == pytest.approx(once.value)
    assert twice.high - twice.low == pytest.approx((once.high - once.low) * wider)
    with pytest.raises(ValueError, match="Expected ratings among the categories given, got 5"):
        kappa(first, second, categories=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="Expected weights none, linear or quadratic, got 'cubic'"):
        kappa(first, second, weights="cubic")
    with pytest.raises(ValueError, match="Expected two ratings per case"):
        kappa(first, second[1:])


def test_rates_are_the_paired_comparison_of_two_models(cases):
    outcome, risk, reading, group = cases
    for given in ({}, {"group": group}):
        found = at_cuts(outcome, risk, reading, threshold=0.5, cut=3, **given)
        assert found.rates == mcnemar(outcome, risk, reading, threshold_a=0.5, threshold_b=3, **given)


def test_agreement_counts_every_case_once(cases):
    outcome, risk, reading, _ = cases
    found = at_cuts(outcome, risk, reading, threshold=0.5, cut=3).agreement
    for side, cells in ((True, found.events), (False, found.non_events)):
        table = pd.crosstab(risk[outcome == side] >= 0.5, reading[outcome == side] >= 3)
        counted = [table.at[True, True], table.at[True, False], table.at[False, True], table.at[False, False]]
        assert [cells.both, cells.model_only, cells.reader_only, cells.neither] == counted


def numeric_delta(cells, statistic):
    """Variance of a statistic of multinomial counts by numeric differentiation: sum p d^2 - (sum p d)^2."""
    n, p = cells.sum(), cells / cells.sum()
    step = 1e-6
    slope = np.empty_like(p)
    for i in range(len(p)):
        up, down = p.copy(), p.copy()
        up[i] += step
        down[i] -= step
        slope[i] = (statistic(up) - statistic(down)) / (2 * step)
    return (p @ slope**2 - (p @ slope) ** 2) / n


def test_predictive_differences_have_the_multinomial_delta_variance(cases):
    outcome, risk, reading, _ = cases
    model, reader = risk >= 0.5, reading >= 3
    code = outcome * 4 + model * 2 + reader
    cells = np.bincount(code, minlength=8).astype(float)
    index = np.arange(8)
    has, flags_m, flags_r = index >= 4, index // 2 % 2 == 1, index % 2 == 1

    def ppv(p):
        return p[has & flags_m].sum() / p[flags_m].sum() - p[has & flags_r].sum() / p[flags_r].sum()

    def npv(p):
        return p[~has & ~flags_m].sum() / p[~flags_m].sum() - p[~has & ~flags_r].sum() / p[~flags_r].sum()

    found = at_cuts(outcome, risk, reading, threshold=0.5, cut=3)
    for mine, statistic in ((found.ppv, ppv), (found.npv, npv)):
        assert mine.value == pytest.approx(statistic(cells / cells.sum()), rel=1e-9)
        error = np.sqrt(numeric_delta(cells, statistic))
        # Numeric derivatives hold to about 1e-9 of the error.
        assert (mine.high - mine.low) / 2 / 1.959963984540054 == pytest.approx(error, rel=1e-6)


def test_predictive_values_of_who_flags_nobody_are_undefined_with_the_reason(cases):
    outcome, risk, reading, _ = cases
    found = at_cuts(outcome, risk, reading, threshold=2, cut=3)
    assert np.isnan(found.ppv.value)
    assert found.ppv.method == "the model flags no case"
    assert np.isfinite(found.npv.value)


def expanded_tail(group):
    """Hesterberg's share of resamples beyond each bound, for so many groups as of one size."""
    degrees = freedom(group)
    return norm.cdf(-np.sqrt((degrees + 1) / degrees) * student.ppf(0.975, degrees))


def test_the_model_at_the_reader_s_point_is_read_off_its_roc_curve(cases):
    outcome, risk, reading, group = cases
    found = at_reader(outcome, risk, reading, cut=3, draws=20)
    acts = reading >= 3
    spared, caught = np.mean(~acts[~outcome]), np.mean(acts[outcome])
    assert found.sensitivity.value == pytest.approx(
        sensitivity_at_specificity(outcome, risk, spared, draws=2).value, rel=1e-9
    )
    assert found.specificity.value == pytest.approx(
        specificity_at_sensitivity(outcome, risk, caught, draws=2).value, rel=1e-9
    )
    assert found.sensitivity_difference.value == pytest.approx(found.sensitivity.value - caught)
    assert found.specificity_difference.value == pytest.approx(found.specificity.value - spared)
    for given in ({}, {"group": group}):
        drawn = at_reader(outcome, risk, reading, cut=3, draws=40, **given).sensitivity_difference
        differences = []
        for weights in bootstrap_weights(outcome, draws=40, **given):
            rows = np.repeat(np.arange(len(outcome)), weights.astype(int))
            at = np.mean(~acts[rows][~outcome[rows]])
            one = sensitivity_at_specificity(outcome[rows], risk[rows], at, draws=2).value
            differences.append(one - np.mean(acts[rows][outcome[rows]]))
        outer = expanded_tail(group) if given else 0.025
        assert [drawn.low, drawn.high] == pytest.approx(
            np.quantile(differences, [outer, 1 - outer]), rel=1e-9
        )


def test_at_the_reader_s_point_worked_by_hand():
    # The reader spares 2 of 4 and catches 2 of 3. The model's two highest non-events are .7 and .5: at
    # two false alarms it catches .9, .6 and (of a step at .5, its upper end) .55: all three. To catch two
    # it needs one false alarm, .7: a specificity of 3/4.
    outcome = [1, 1, 1, 0, 0, 0, 0]
    risk = [0.9, 0.6, 0.55, 0.7, 0.5, 0.2, 0.1]
    reading = [1, 1, 0, 1, 1, 0, 0]
    found = at_reader(outcome, risk, reading, cut=1, draws=50)
    assert found.sensitivity.value == 1
    assert found.sensitivity_difference.value == pytest.approx(1 / 3)
    assert found.specificity.value == pytest.approx(3 / 4)
    assert found.specificity_difference.value == pytest.approx(1 / 4)


def test_a_reader_against_itself_differs_by_nothing(cases):
    outcome, _, reading, group = cases
    found = at_cuts(outcome, reading, reading, threshold=3, cut=3, group=group)
    assert compare_auc(outcome, reading, reading, group=group).difference.value == 0
    assert found.rates.sensitivity.p_value == 1
    assert found.agreement.kappa.value == pytest.approx(1)
    agreed = found.agreement
    assert (agreed.events.model_only, agreed.non_events.reader_only) == (0, 0)
    assert found.ppv.value == 0
    ranked = at_reader(outcome, reading, reading, cut=3, group=group, draws=30)
    assert ranked.sensitivity_difference.value == pytest.approx(0, abs=1e-12)
    assert ranked.sensitivity_difference.method.startswith("no interval: every resample")


def test_one_class_has_no_point_and_says_why():
    found = at_reader([1, 1], [0.2, 0.4], [1, 2], cut=2)
    assert np.isnan(found.sensitivity.value)
    assert "needs cases with and without the condition" in found.sensitivity.method


def test_non_inferiority_is_met_by_a_bound_above_the_margin():
    shown = non_inferiority(Estimate(0.01, -0.04, 0.06, 0.95, "DeLong"), margin=0.05)
    assert (shown.met, shown.bound) == (True, -0.04)
    assert shown.method == "one-sided 97.5% bound of: DeLong"
    assert non_inferiority(Estimate(0.01, -0.05, 0.06), margin=0.05).met is False
    without = non_inferiority(Estimate(0.0, np.nan, np.nan, 0.95, "no spread"), margin=0.05)
    assert without.met is None
    assert without.method == "no bound: no spread"
    for margin in (0, -0.1, np.nan):
        with pytest.raises(ValueError, match="Expected a margin above 0"):
            non_inferiority(Estimate(0.0, -1.0, 1.0), margin=margin)


def ten_cases():
    """Four with the condition, six without; the model flags from .5, the reader from 4."""
    outcome = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    risk = [0.9, 0.8, 0.2, 0.1, 0.7, 0.6, 0.3, 0.2, 0.1, 0.1]
    reading = [4, 2, 5, 1, 4, 3, 4, 2, 1, 1]
    return outcome, risk, reading


def by_name(found):
    return {each.strategy: each for each in found}


def values(one):
    return [round(getattr(one, name).value) for name in NUMBERS]


def test_every_way_worked_by_hand():
    # Of those with it: both flag 1, model only 1, reader only 1, neither 1. Without: 1, 1, 1, 3.
    category = [0, 1, 0, 0, 1, 1, 1, 0, 0, 0]
    found = by_name(
        joint_readings(*ten_cases(), threshold=0.5, cut=4, category=category, acting_threshold=0.2)
    )
    assert list(found) == list(STRATEGIES)
    # In the order of NUMBERS: read, flagged, caught, missed, false alarms, lost, gained, spared, ...
    assert values(found["reader alone"]) == [1000, 400, 200, 200, 200, 0, 0, 0, 0, 0]
    assert values(found["model alone"]) == [0, 400, 200, 200, 200, 100, 100, 100, 100, 0]
    assert values(found["AI first"]) == [400, 200, 100, 300, 100, 100, 0, 100, 0, 0]
    assert values(found["second reader"]) == [1000, 600, 300, 100, 300, 0, 100, 0, 100, 0]
    assert values(found["both must flag"]) == [1000, 200, 100, 300, 100, 100, 0, 100, 0, 0]
    # In the category (rows 2, 5, 6, 7) the model flags 2, 5, 6; outside it the reader flags 1 and 3.
    assert values(found["AI within the category"]) == [1000, 500, 300, 100, 200, 0, 100, 100, 100, 0]
    assert values(found["referral of disagreement"]) == [1400, 200, 100, 100, 100, 0, 0, 0, 0, 400]
    # 2 caught of 10 less 2 false alarms at odds of 1/4: .2 - .05.
    assert found["reader alone"].net_benefit.value == pytest.approx(0.15)
    assert found["second reader"].sensitivity.value == pytest.approx(3 / 4)
    assert found["second reader"].against_reader.sensitivity.difference.value == pytest.approx(1 / 4)


def test_numbers_move_with_the_prevalence():
    found = by_name(
        joint_readings(*ten_cases(), threshold=0.5, cut=4, prevalence=0.01, acting_threshold=0.02)
    )
    one = found["second reader"]
    # 3/4 of 10 per 1,000 and 3/6 of 990.
    assert one.caught.value == pytest.approx(7.5)
    assert one.false_alarms.value == pytest.approx(495)
    assert one.flagged.value == pytest.approx(502.5)
    assert one.net_benefit.value == pytest.approx(0.0075 - 0.495 * 0.02 / 0.98)
    caught = wilson(3, 4)
    assert [one.caught.low, one.caught.high] == pytest.approx([10 * caught.low, 10 * caught.high])


def test_intervals_of_sums_are_mover_s():
    found = by_name(joint_readings(*ten_cases(), threshold=0.5, cut=4, prevalence=0.3, acting_threshold=0.2))
    one = found["AI first"]
    hit, alarm = wilson(1, 4), wilson(1, 6)
    low = 0.3 / 4 + 0.7 / 6 - np.hypot(0.3 * (hit.value - hit.low), 0.7 * (alarm.value - alarm.low))
    assert one.flagged.low == pytest.approx(1000 * low)
    weight = 0.7 / 4
    benefit = 0.3 / 4 - weight / 6
    assert one.net_benefit.high == pytest.approx(
        benefit + np.hypot(0.3 * (hit.high - hit.value), weight * (alarm.value - alarm.low))
    )


def test_groups_widen_the_intervals_of_cases_that_are_alike():
    outcome, risk, reading = (np.repeat(each, 3) for each in ten_cases())
    given = {"threshold": 0.5, "cut": 4, "acting_threshold": 0.2}
    plain = by_name(joint_readings(outcome, risk, reading, **given))
    grouped = by_name(joint_readings(outcome, risk, reading, group=np.arange(30) // 3, **given))
    single = by_name(joint_readings(outcome, risk, reading, group=np.arange(30), **given))
    for name, one in grouped.items():
        for number in ("sensitivity", "flagged", "caught", "net_benefit"):
            a, b, c = (getattr(found[name], number) for found in (plain, grouped, single))
            if np.isfinite(a.low):
                assert b.high - b.low > a.high - a.low
                assert c.low == pytest.approx(a.low)
        if one.against_reader:
            assert "groups" in one.against_reader.sensitivity.method


def test_events_and_others_of_one_group_are_correlated():
    # Every group holds an event and a non-event, and the model flags both or neither: shares that rise
    # together make their sum less certain and their difference more certain.
    rng = np.random.default_rng(0)
    outcome, group = np.tile([1, 0], 60), np.repeat(np.arange(60), 2)
    risk = np.repeat(rng.random(60), 2)
    alike = by_name(
        joint_readings(outcome, risk, risk, threshold=0.5, cut=0.5, group=group, acting_threshold=0.5)
    )
    apart = by_name(joint_readings(outcome, risk, risk, threshold=0.5, cut=0.5, acting_threshold=0.5))
    width = {
        name: [each["model alone"].flagged.high - each["model alone"].flagged.low for each in (alike, apart)]
        for name in ("flagged",)
    }
    assert width["flagged"][0] == pytest.approx(width["flagged"][1] * np.sqrt(2), rel=0.02)
    benefit = alike["model alone"].net_benefit
    assert benefit.value == pytest.approx(0)
    assert benefit.high - benefit.low < 0.02


def test_what_cannot_occur_is_0_by_design():
    found = by_name(joint_readings(*ten_cases(), threshold=0.5, cut=4))
    for strategy, number in (("AI first", "gained"), ("second reader", "lost"), ("reader alone", "spared")):
        estimate = getattr(found[strategy], number)
        assert (estimate.low, estimate.high, estimate.method) == (0, 0, "by design")
    assert found["second reader"].read.low == 1000
    assert found["second reader"].net_benefit.method == "no threshold to act at was given"
    referral = found["referral of disagreement"]
    assert np.isnan([referral.sensitivity.value, referral.net_benefit.value]).all()
    assert referral.sensitivity.method == "left open: it depends on the other reader"
    assert referral.against_reader is None


def test_a_model_that_flags_all_or_nobody_makes_the_ways_what_they_must_be():
    outcome, risk, reading = ten_cases()
    everyone = by_name(joint_readings(outcome, risk, reading, threshold=0, cut=4))
    nobody = by_name(joint_readings(outcome, risk, reading, threshold=2, cut=4))
    assert values(everyone["AI first"]) == values(everyone["reader alone"])
    assert values(everyone["second reader"])[1] == 1000
    assert values(nobody["AI first"])[:3] == [0, 0, 0]
    assert values(nobody["second reader"]) == values(nobody["reader alone"])


def test_the_curve_is_the_table_at_each_threshold():
    outcome, risk, other, group = sample("tied")
    given = {"cut": 0.5, "prevalence": 0.1, "acting_threshold": 0.05, "group": group}
    curve = joint_reading_curve(outcome, risk, other, thresholds=(0.3, 0.6), **given)
    for threshold, found in zip((0.3, 0.6), curve, strict=True):
        again = joint_readings(outcome, risk, other, threshold=threshold, **given)
        assert [values(each) for each in found] == [values(each) for each in again]
    read = [found[2].read.value for found in curve]
    assert read[0] > read[1]
    some = joint_reading_curve(outcome, risk, other, thresholds=[0.6], strategies=["AI first"], **given)
    assert [[values(each) for each in found] for found in some] == [[values(curve[1][2])]]


def test_within_a_category_spared_and_missed_are_per_100_of_it():
    outcome, risk, _ = ten_cases()
    category = [1, 0, 1, 1, 1, 0, 1, 1, 0, 0]
    found = within_category(outcome, risk, category, threshold=0.5)
    # Six cases: with it .9, .2, .1 (two missed); without it .7, .3, .2 (two spared).
    assert (found.cases, found.events) == (6, 3)
    assert found.missed.value == pytest.approx(100 * 2 / 6)
    assert found.spared.value == pytest.approx(100 * 2 / 6)
    interval = wilson(2, 6)
    assert [found.spared.low, found.spared.high] == pytest.approx([100 * interval.low, 100 * interval.high])
    empty = within_category(outcome, risk, np.zeros(10), threshold=0.5)
    assert np.isnan(empty.spared.value)


def test_bus_bra_rows_are_pandas_counts(busbra_folder):
    table = pd.read_csv(busbra_folder / "bus_data.csv")
    outcome = (table["Pathology"] == "malignant").to_numpy()
    reading = table["BIRADS"].astype(int).to_numpy()
    # A score of known ranking stands for a model: the file has none.
    risk = np.random.default_rng(1).random(len(table)) / 2 + outcome * 0.25
    four = reading == 4
    found = by_name(
        joint_readings(outcome, risk, reading, threshold=0.3, cut=4, category=four, group=table["Case"])
    )
    frame = pd.DataFrame({"y": outcome, "m": risk >= 0.3, "r": reading >= 4, "four": four})
    finals = {
        "reader alone": frame["r"],
        "model alone": frame["m"],
        "AI first": frame["m"] & frame["r"],
        "second reader": frame["m"] | frame["r"],
        "both must flag": frame["m"] & frame["r"],
        "AI within the category": frame["r"].where(~frame["four"], frame["m"]),
    }
    cases = len(frame)
    for name, final in finals.items():
        counted = pd.crosstab(frame["y"], final).reindex(
            index=[False, True], columns=[False, True], fill_value=0
        )
        one = found[name]
        assert one.caught.value * cases / 1000 == pytest.approx(counted.at[True, True])
        assert one.missed.value * cases / 1000 == pytest.approx(counted.at[True, False])
        assert one.false_alarms.value * cases / 1000 == pytest.approx(counted.at[False, True])
        lost = (frame["y"] & frame["r"] & ~final).sum()
        spared = (~frame["y"] & frame["r"] & ~final).sum()
        assert [one.lost.value, one.spared.value] == pytest.approx(
            [lost * 1000 / cases, spared * 1000 / cases]
        )
    referral = found["referral of disagreement"]
    assert referral.referred.value * cases / 1000 == pytest.approx((frame["m"] != frame["r"]).sum())
    inside = within_category(outcome, risk, four, threshold=0.3, group=table["Case"])
    low = frame[frame["four"] & ~frame["m"]]
    assert inside.spared.value == pytest.approx(100 * (~low["y"]).sum() / four.sum())
    assert inside.missed.value == pytest.approx(100 * low["y"].sum() / four.sum())


def test_refusals_name_what_is_wrong():
    outcome, risk, reading = ten_cases()
    with pytest.raises(ValueError, match="Expected cases with and without the condition, got 10 of 10"):
        joint_readings([1] * 10, risk, reading, threshold=0.5, cut=4)
    with pytest.raises(ValueError, match="Expected a prevalence between 0 and 1, got 1"):
        joint_readings(outcome, risk, reading, threshold=0.5, cut=4, prevalence=1)
    with pytest.raises(ValueError, match=r"Expected a threshold to act at in \[0, 1\), got 1"):
        joint_readings(outcome, risk, reading, threshold=0.5, cut=4, acting_threshold=1)
    with pytest.raises(ValueError, match="Expected one category per case, got 3 for 10 cases"):
        within_category(outcome, risk, [1, 0, 1], threshold=0.5)
    with pytest.raises(ValueError, match="Expected one category per case, got 3 for 10 cases"):
        joint_readings(outcome, risk, reading, threshold=0.5, cut=4, category=[1, 0, 1])


def test_a_grouped_rate_of_single_cases_is_wilson_s():
    right = np.array([True, True, False, True])
    assert grouped_rate(right, np.arange(4)) == wilson(3, 4)
    assert grouped_rate(right[:0], np.arange(0), reason="nobody").method == "nobody"
    assert grouped_rate(right, np.array([0, 0, 1, 1])).method.startswith("Wilson score, 4 cases in groups")
