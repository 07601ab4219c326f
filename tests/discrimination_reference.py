"""What the tests of discrimination share: samples with R's verdicts, naive references, laws."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings

from clineval.statistics.intervals import bootstrap_weights, percentile_interval

REFERENCE = Path(__file__).parent / "reference"
GOLDEN = json.loads((REFERENCE / "discrimination.json").read_text())
NAMES = ("small", "tied", "rare", "useless", "perfect", "breastmnist")
_SAMPLES = pd.read_csv(REFERENCE / "discrimination_samples.csv", float_precision="round_trip")


def sample(name):
    """Outcome, risk of model a, risk of model b, and group of one sample."""
    rows = _SAMPLES[_SAMPLES["sample"] == name]
    outcome = rows["outcome"].to_numpy() == 1
    return outcome, rows["risk_a"].to_numpy(), rows["risk_b"].to_numpy(), rows["group"].to_numpy()


def naive_auc(outcome, risk):
    """The share of event/non-event pairs ranked rightly, by looking at each pair."""
    events = [r for y, r in zip(outcome, risk, strict=True) if y]
    others = [r for y, r in zip(outcome, risk, strict=True) if not y]
    right = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in events for b in others)
    return right / (len(events) * len(others))


def bootstrap(statistic, outcome, risk, *, group=None, draws=1000, seed=0):
    """A percentile bootstrap of any number, one resample after the other."""
    weights = bootstrap_weights(outcome, group=group, draws=draws, seed=seed).astype(int)
    rows = (np.repeat(np.arange(len(outcome)), row) for row in weights)
    drawn = [statistic(outcome[row], risk[row]) for row in rows]
    words = f"percentile bootstrap, {draws} draws{'' if group is None else ' of groups'}"
    return percentile_interval(statistic(outcome, risk), drawn, level=0.95, method=words)


def naive_average_precision(outcome, risk):
    """The step-wise sum over distinct thresholds, by counting afresh at each."""
    total, events = 0.0, sum(outcome)
    for threshold in sorted(set(risk), reverse=True):
        flagged = [y for y, r in zip(outcome, risk, strict=True) if r >= threshold]
        gained = sum(1 for y, r in zip(outcome, risk, strict=True) if y and r == threshold)
        total += gained / events * sum(flagged) / len(flagged)
    return total


def law(*strategies):
    """A test over drawn samples: forty of them, without a deadline that a busy machine would miss."""
    return lambda test: settings(max_examples=40, deadline=None)(given(*strategies)(test))
