"""Brier score, log loss and Murphy's parts: by hand, against R, and by laws."""

import math

import numpy as np
import pytest
from clinical_reference import LETTERS, NAMES, as_student, cases, cases_of, golden, triple
from discrimination_reference import law, naive_auc
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from clineval.statistics import scores as module
from clineval.statistics.intervals import bootstrap_weights
from clineval.statistics.scores import (
    brier,
    coarsened,
    columns_by_risk,
    levels_of,
    log_loss,
    murphy_decomposition,
    resampled_levels,
    scaled_brier,
)

R = golden("calibration")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", LETTERS)
def test_scores_and_their_intervals_are_r_s(name, letter):
    outcome, risk, group = cases_of(name, letter)
    theirs = R[name][letter]["scores"]
    assert brier(outcome, risk).value == pytest.approx(R[name][letter]["smoothed"]["brier"], rel=1e-9)
    for measure, function in {"brier": brier, "log_loss": log_loss}.items():
        plain, grouped = function(outcome, risk), function(outcome, risk, group=group)
        row = theirs[measure]
        if row["value"] == "Inf":
            assert math.isnan(plain.value)
            assert "infinite" in plain.method
            continue
        if "NaN" in row["by_case"]:  # R's 0 * log(0)
            continue
        assert triple(plain) == pytest.approx([row["value"], *row["by_case"]], rel=1e-9)
        assert [grouped.low, grouped.high] == pytest.approx(as_student(row["by_group"], group), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", LETTERS)
def test_the_scaled_brier_score_is_r_s(name, letter):
    outcome, risk, group = cases_of(name, letter)
    row = R[name][letter]["scores"]["one_less_scaled_brier"]
    found, grouped = scaled_brier(outcome, risk), scaled_brier(outcome, risk, group=group)
    assert [1 - value for value in triple(found)] == pytest.approx(
        [row["value"], *row["by_case"][::-1]], rel=1e-9
    )
    assert [1 - grouped.high, 1 - grouped.low] == pytest.approx(as_student(row["by_group"], group), rel=1e-9)


def test_scores_by_hand():
    assert brier([1, 0], [0.7, 0.4]).value == pytest.approx((0.09 + 0.16) / 2)
    assert log_loss([1, 0], [0.7, 0.4]).value == pytest.approx(-(math.log(0.7) + math.log(0.6)) / 2)
    assert scaled_brier([1, 0], [0.7, 0.4]).value == pytest.approx(1 - 0.125 / 0.25)


@law(cases())
def test_scores_are_scikit_learn_s(drawn):
    assert brier(*drawn).value == pytest.approx(brier_score_loss(*drawn))
    assert log_loss(*drawn).value == pytest.approx(sklearn_log_loss(*drawn))


@law(cases())
def test_a_score_lies_in_its_interval_and_the_complement_has_the_same(drawn):
    outcome, risk = drawn
    for function in (brier, log_loss, scaled_brier):
        found = function(outcome, risk)
        assert found.low <= found.value <= found.high
        assert triple(function(~outcome, 1 - risk)) == pytest.approx(triple(found))


@law(cases())
def test_the_prevalence_for_everybody_has_a_scaled_brier_score_of_0(drawn):
    outcome, _ = drawn
    assert scaled_brier(outcome, np.full(len(outcome), outcome.mean())).value == pytest.approx(0, abs=1e-12)


@law(cases(least=10))
def test_copies_in_a_group_tell_no_more_than_one(drawn):
    outcome, risk = drawn
    copied = np.repeat(outcome, 3), np.repeat(risk, 3)
    for function in (brier, log_loss, scaled_brier):
        grouped = function(*copied, group=np.repeat(np.arange(len(risk)), 3))
        once = function(outcome, risk)
        turned = (lambda x: 1 - x) if function is scaled_brier else (lambda x: x)
        expected = as_student([turned(once.low), turned(once.high)], np.arange(len(risk)))
        assert [turned(grouped.low), turned(grouped.high)] == pytest.approx(expected)
        assert grouped.value == pytest.approx(once.value)


def test_perfect_risks_score_0_without_an_interval():
    for function in (brier, log_loss):
        found = function([1, 0, 1], [1, 0, 1])
        assert found.value == 0
        assert math.isnan(found.low)
        assert "no logarithm" in found.method
    assert scaled_brier([1, 0], [1, 0]).value == 1


def test_a_sure_risk_that_proved_right_costs_no_surprise_and_one_that_proved_wrong_is_infinite():
    assert log_loss([1, 0], [1, 0.5]).value == pytest.approx(math.log(2) / 2)
    found = log_loss([1, 0, 0], [0, 0.5, 1])
    assert math.isnan(found.value)
    assert "infinite: 2 cases" in found.method


def test_without_cases_or_a_class_the_scores_say_why_they_are_undefined():
    assert brier([], []).method == log_loss([], []).method == "no cases"
    assert "with and without" in scaled_brier([1, 1], [0.5, 0.6]).method
    assert "single case" in brier([1], [0.4]).method


def test_a_risk_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match=r"between 0 and 1; got -0.1 in row 1"):
        brier([1], [-0.1])


@law(cases(), st.integers(1, 12))
def test_murphy_s_parts_add_up_to_the_brier_score(drawn, bins):
    found = murphy_decomposition(*drawn, bins=bins)
    parts = found.reliability - found.resolution + found.uncertainty
    parts += found.within_bin_variance - found.within_bin_covariance
    assert parts == pytest.approx(found.brier, abs=1e-15)
    assert found.brier == pytest.approx(brier(*drawn).value)


@law(cases(tied=True))
def test_with_a_bin_per_distinct_risk_the_three_classical_parts_suffice(drawn):
    found = murphy_decomposition(*drawn, bins=10)
    assert found.within_bin_variance == pytest.approx(0, abs=1e-30)
    assert found.reliability - found.resolution + found.uncertainty == pytest.approx(found.brier, abs=1e-15)


def test_murphy_s_parts_by_hand():
    found = murphy_decomposition([0, 1, 1, 1], [0.25, 0.25, 0.75, 0.75])
    assert found.reliability == pytest.approx((0.25**2 + 0.25**2) / 2)
    assert found.resolution == pytest.approx(0.25**2)
    assert found.uncertainty == pytest.approx(0.75 * 0.25)
    assert found.bins == 2


def test_nothing_cannot_be_decomposed():
    with pytest.raises(ValueError, match="At least one case and one bin are needed; got 0 and 10"):
        murphy_decomposition([], [])


@pytest.mark.parametrize("share", [0.25, 0.3])
def test_one_risk_for_all_has_a_scaled_score_of_0_or_below_and_an_interval_only_where_it_varies(share):
    outcome = np.arange(40) < 12
    found = scaled_brier(outcome, np.full(40, share))
    assert found.value == pytest.approx(0 if share == 0.3 else -0.0119, abs=1e-4)
    assert math.isnan(found.low) == (share == 0.3)
    if share == 0.3:
        assert "show no spread" in found.method


@pytest.fixture
def few_bins(monkeypatch):
    """Bins at a size that a naive reference can follow."""
    monkeypatch.setattr(module, "LARGE", 30)
    monkeypatch.setattr(module, "BINS", 8)


def concordance(levels):
    below = levels.non_events.sum() - np.cumsum(levels.non_events)
    right = levels.events @ (below + levels.concordance * levels.non_events)
    return right / (levels.events.sum() * levels.non_events.sum())


def test_levels_are_the_distinct_risks_from_the_top():
    levels = levels_of(np.array([True, False, True, False]), np.array([0.2, 0.7, 0.7, 0.1]))
    assert levels.risk.tolist() == [0.7, 0.2, 0.1]
    assert levels.events.tolist() == [1, 1, 0]
    assert levels.non_events.tolist() == [1, 0, 1]
    assert levels.start.tolist() == [0, 2, 3]


def test_few_cases_are_never_binned():
    levels = levels_of(np.arange(40) < 9, np.arange(40.0))
    assert coarsened(levels) is levels


@law(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 25))
def test_bins_hold_every_case_once_and_keep_the_auc(seed, distinct, events):
    rng = np.random.default_rng(seed)
    outcome, risk = rng.permutation(np.arange(50) < events), rng.integers(0, distinct**2, 50).astype(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LARGE", 30)
        patch.setattr(module, "BINS", 8)
        bins = coarsened(levels_of(outcome, risk))
    assert len(bins.start) <= 9
    assert bins.events.sum() == events
    assert (bins.events + bins.non_events).sum() == 50
    assert concordance(bins) == pytest.approx(naive_auc(outcome, risk), rel=1e-12)


def test_a_rare_event_stands_at_the_end_of_its_bin(few_bins):
    outcome = np.zeros(100, dtype=bool)
    outcome[[3, 40, 90]] = True
    bins = coarsened(levels_of(outcome, -np.arange(100.0)))
    ends = np.append(bins.start[1:], 100) - 1
    assert {3, 40, 90} <= set(ends)


@pytest.mark.parametrize("group", [None, np.arange(20) // 3])
def test_resampled_levels_are_the_weights_of_their_cases(group):
    rng = np.random.default_rng(1)
    outcome, risk = np.arange(20) < 8, rng.integers(0, 6, 20).astype(float)
    levels = levels_of(outcome, risk)
    blocks = list(resampled_levels(outcome, levels, group=group, draws=15, seed=2))
    events, others = (np.concatenate(part) for part in zip(*blocks, strict=True))
    weights = bootstrap_weights(outcome, group=group, draws=15, seed=2)
    for place, risk_of_level in enumerate(levels.risk):
        here = risk == risk_of_level
        assert np.array_equal(events[:, place], weights[:, here & outcome].sum(axis=1))
        assert np.array_equal(others[:, place], weights[:, here & ~outcome].sum(axis=1))


@pytest.mark.parametrize("size", [1, 3])
def test_bins_are_resampled_as_their_cases_would_be(size, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 30)
    monkeypatch.setattr(module, "BINS", 8)
    outcome, risk = np.arange(60) % 4 == 0, np.arange(60.0)
    group = None if size == 1 else np.arange(60) // size
    bins = coarsened(levels_of(outcome, risk))
    by_bin = np.concatenate(
        [np.hstack(b) for b in resampled_levels(outcome, bins, group=group, draws=9000, seed=3)]
    )
    monkeypatch.setattr(module, "LARGE", 100)
    by_case = np.concatenate(
        [np.hstack(b) for b in resampled_levels(outcome, bins, group=group, draws=9000, seed=4)]
    )
    counts = np.concatenate([bins.events, bins.non_events])
    assert by_bin.shape == by_case.shape == (9000, 2 * len(bins.start))
    assert by_bin.mean(axis=0) == pytest.approx(counts, abs=0.12)
    assert by_bin.sum(axis=1).mean() == pytest.approx(60)
    assert np.cov(by_bin.T) == pytest.approx(np.cov(by_case.T), abs=0.4)


def test_few_distinct_risks_have_a_column_each():
    columns = columns_by_risk(np.array([0.3, 0.1, 0.3, 0.9]), 3)
    assert columns.of_case.tolist() == [1, 0, 1, 2]
    assert columns.least.tolist() == [0.1, 0.3, 0.9]
    assert not columns.binned


def test_many_distinct_risks_are_cut_into_equal_shares():
    columns = columns_by_risk(np.random.default_rng(0).random(1000), 10)
    assert np.bincount(columns.of_case).tolist() == [100] * 10
    assert columns.binned


@law(cases(), st.integers(1, 12))
def test_columns_rise_with_risk_and_never_part_equal_risks(drawn, most):
    _, risk = drawn
    columns = columns_by_risk(risk, most)
    assert columns.number <= most
    for value in set(risk):
        assert len(set(columns.of_case[risk == value])) == 1
    order = np.argsort(risk)
    assert (np.diff(columns.of_case[order]) >= 0).all()
    assert columns.least == pytest.approx([risk[columns.of_case == k].min() for k in range(columns.number)])


def test_no_cases_have_no_columns():
    assert columns_by_risk(np.zeros(0), 10).number == 0
