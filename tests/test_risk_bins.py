"""Columns of neighbouring risks: equal risks together, shares equal, order kept."""

import numpy as np
import pytest
from clinical_reference import cases
from discrimination_reference import law, naive_auc
from hypothesis import strategies as st

from clineval.statistics import risk_bins as module
from clineval.statistics.intervals import bootstrap_weights
from clineval.statistics.risk_bins import coarsened, columns_by_risk, levels_of, resampled_levels


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
