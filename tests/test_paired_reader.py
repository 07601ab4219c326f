"""A model beside one reader: reference implementations that share no step, cases by hand and laws."""

import json

import numpy as np
import pandas as pd
import pytest
from clinical_reference import sample
from discrimination_reference import REFERENCE
from statsmodels.stats.inter_rater import cohens_kappa

from clineval.statistics.auc import compare_auc
from clineval.statistics.differences import mcnemar
from clineval.statistics.intervals import Estimate, bootstrap_weights
from clineval.statistics.paired_reader import (
    against_reader,
    at_reader,
    kappa,
    non_inferiority,
    ordinal_levels,
)
from clineval.statistics.roc import sensitivity_at_specificity, specificity_at_sensitivity

R = json.loads((REFERENCE / "readers.json").read_text())["kappa"]
STUDIES = pd.read_csv(REFERENCE / "readers_studies.csv", float_precision="round_trip")


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
    # Each case twice as its own group: what one case tells, and groups / (groups - 1).
    wider = np.sqrt(len(first) / (len(first) - 1))
    assert twice.value == pytest.approx(once.value)
    assert twice.high - twice.low == pytest.approx((once.high - once.low) * wider)
    with pytest.raises(ValueError, match="Expected ratings among the categories given, got 5"):
        kappa(first, second, categories=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="Expected weights none, linear or quadratic, got 'cubic'"):
        kappa(first, second, weights="cubic")
    with pytest.raises(ValueError, match="Expected two ratings per case"):
        kappa(first, second[1:])


def test_rates_and_auc_are_the_paired_comparisons_of_two_models(cases):
    outcome, risk, reading, group = cases
    for given in ({}, {"group": group}):
        found = against_reader(outcome, risk, reading, threshold=0.5, cut=3, draws=1, **given)
        assert found.auc == compare_auc(outcome, risk, reading, **given)
        assert found.at_cuts.rates == mcnemar(outcome, risk, reading, threshold_a=0.5, threshold_b=3, **given)


def test_agreement_counts_every_case_once(cases):
    outcome, risk, reading, _ = cases
    found = against_reader(outcome, risk, reading, threshold=0.5, cut=3, draws=1).at_cuts.agreement
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

    found = against_reader(outcome, risk, reading, threshold=0.5, cut=3, draws=1)
    for mine, statistic in ((found.at_cuts.ppv, ppv), (found.at_cuts.npv, npv)):
        assert mine.value == pytest.approx(statistic(cells / cells.sum()), rel=1e-9)
        error = np.sqrt(numeric_delta(cells, statistic))
        # Numeric derivatives hold to about 1e-9 of the error.
        assert (mine.high - mine.low) / 2 / 1.959963984540054 == pytest.approx(error, rel=1e-6)


def test_predictive_values_of_who_flags_nobody_are_undefined_with_the_reason(cases):
    outcome, risk, reading, _ = cases
    found = against_reader(outcome, risk, reading, threshold=2, cut=3, draws=1)
    assert np.isnan(found.at_cuts.ppv.value)
    assert found.at_cuts.ppv.method == "the model flags no case"
    assert np.isfinite(found.at_cuts.npv.value)


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
        assert [drawn.low, drawn.high] == pytest.approx(np.quantile(differences, [0.025, 0.975]), rel=1e-9)


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
    found = against_reader(outcome, reading, reading, threshold=3, cut=3, group=group, draws=30)
    assert found.auc.difference.value == 0
    assert found.at_cuts.rates.sensitivity.p_value == 1
    assert found.at_cuts.agreement.kappa.value == pytest.approx(1)
    agreed = found.at_cuts.agreement
    assert (agreed.events.model_only, agreed.non_events.reader_only) == (0, 0)
    assert found.at_cuts.ppv.value == 0
    assert found.at_reader.sensitivity_difference.value == pytest.approx(0, abs=1e-12)
    assert found.at_reader.sensitivity_difference.method.startswith("no interval: every resample")


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
