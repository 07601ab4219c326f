"""A model and a reader together: against counts by pandas, cases by hand and laws."""

import numpy as np
import pandas as pd
import pytest
from clinical_reference import sample

from clineval.statistics.intervals import wilson
from clineval.statistics.joint_reading import (
    STRATEGIES,
    joint_reading_curve,
    joint_readings,
    within_category,
)
from clineval.statistics.rates import grouped_rate

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
