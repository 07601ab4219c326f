"""Internal beside external, and what pictures alone say: each number by another way than the code's."""

import json

import numpy as np
import pandas as pd
import pytest
from clinical_reference import freedom
from finished_run import WORDS, write_cohort
from scipy.special import expit, logit
from scipy.stats import t as student
from short_program import shorten

from clineval.cli.console import DONE
from clineval.cli.main import run_command
from clineval.data.findings import file_quantities
from clineval.evaluation.external import FOLDS, expected_auc, probe, rate_difference, transport
from clineval.evaluation.records import Point
from clineval.files import to_plain
from clineval.predictions import check_predictions, read_predictions
from clineval.statistics.auc import auc_logit, compare_auc
from clineval.statistics.intervals import Estimate, grouped_rate, wilson
from clineval.statistics.updating import grouped_folds

pytestmark = pytest.mark.usefixtures("unpainted")
POINTS = {"cnn": (Point("half", 0.5, "fixed"), Point("sensitivity_90", 0.2, "train_out_of_fold"))}
HOME, THERE = 160, 300


def cases(
    split: str, count: int, *, seed: int, shift: float = 0.0, signal: float = 1.5, prefix: str = ""
) -> pd.DataFrame:
    """Simulated risks that are true for ``shift`` 0; two cases share a group."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(-0.8, signal, count)
    outcome = random.random(count) < expit(log_odds)
    return pd.DataFrame(
        {
            "model": "cnn",
            "split": split,
            "case": [f"{prefix}{split}/{row}" for row in range(count)],
            "group": [f"{prefix}{split}/{row // 2}" for row in range(count)],
            "outcome": outcome.astype(int),
            "risk": expit(log_odds + shift),
        }
    )


INTERNAL = check_predictions(pd.concat([cases("train", 50, seed=1), cases("test", HOME, seed=2)]))
EXTERNAL = check_predictions(cases("hospital-b", THERE, seed=3, shift=-1.2, signal=0.9))


@pytest.fixture(scope="module")
def found():
    return transport(INTERNAL, EXTERNAL, points=POINTS, draws=50)["cnn"]


def placements(frame: pd.DataFrame) -> tuple[float, float, float]:
    """AUC and its logit bounds for clustered cases, by loops over pairs and groups (Obuchowski 1997)."""
    present, absent = frame[frame["outcome"] == 1], frame[frame["outcome"] == 0]
    wins = lambda a, b: 1.0 if a > b else 0.5 if a == b else 0.0  # noqa: E731
    of_present = {i: np.mean([wins(r, s) for s in absent["risk"]]) for i, r in present["risk"].items()}
    of_absent = {j: np.mean([wins(r, s) for r in present["risk"]]) for j, s in absent["risk"].items()}
    auc, m, n = np.mean(list(of_present.values())), len(present), len(absent)
    groups = frame["group"].unique()
    summed = []
    for group in groups:
        rows = frame.index[frame["group"] == group]
        x = sum(of_present[i] - auc for i in rows if i in of_present)
        y = sum(of_absent[j] - auc for j in rows if j in of_absent)
        summed.append((x, y))
    events = sum(any(i in of_present for i in frame.index[frame["group"] == g]) for g in groups)
    others = sum(any(j in of_absent for j in frame.index[frame["group"] == g]) for g in groups)
    x, y = np.array(summed).T
    total = len(groups)
    s10 = events / ((events - 1) * m) * np.sum(x**2)
    s01 = others / ((others - 1) * n) * np.sum(y**2)
    s11 = total / (total - 1) * np.sum(x * y)
    few10, few01 = (freedom(frame.loc[list(side), "group"]) for side in (of_present, of_absent))
    degrees = (s10 / m + s01 / n) ** 2 / ((s10 / m) ** 2 / few10 + (s01 / n) ** 2 / few01)
    error = np.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n)) / (auc * (1 - auc))
    reach = student.ppf(0.975, degrees) * error
    return auc, expit(logit(auc) - reach), expit(logit(auc) + reach)


# Discrimination ---------------------------------------------------------------------------------------


def test_the_drop_is_the_unpaired_difference_of_clustered_aucs(found):
    """Different cases: the two logit intervals joined by the square-and-add rule."""
    home = INTERNAL[INTERNAL["split"] == "test"].reset_index(drop=True)
    (a, a_low, a_high), (b, b_low, b_high) = placements(EXTERNAL.reset_index(drop=True)), placements(home)
    drop = found.drops[0]
    assert drop.population == "test"
    assert drop.auc.value == pytest.approx(b, abs=1e-12)
    assert drop.difference.value == pytest.approx(a - b, abs=1e-12)
    assert drop.difference.low == pytest.approx(a - b - np.hypot(a - a_low, b_high - b), abs=1e-9)
    assert drop.difference.high == pytest.approx(a - b + np.hypot(a_high - a, b - b_low), abs=1e-9)
    assert (drop.p_value < 0.05) == (drop.difference.high < 0)


def test_a_cohort_beside_itself_drops_by_nothing():
    there = check_predictions(cases("elsewhere", HOME, seed=2))
    same = transport(INTERNAL, there, points=POINTS, draws=50)["cnn"]
    assert same.drops[0].difference.value == pytest.approx(0, abs=1e-12)
    assert all(gap.value == 0 for point in same.points for gap in point.difference.values())
    for measure in same.calibration.values():
        assert measure["internal"].value == pytest.approx(measure["external"].value)


# Case mix ---------------------------------------------------------------------------------------------


def test_the_expected_auc_is_the_share_of_true_pairs_by_a_double_loop():
    for risk in (np.random.default_rng(0).random(40), np.array([0.2, 0.2, 0.7, 0.7, 0.7, 1.0, 0.0])):
        right = pairs = 0.0
        for i, first in enumerate(risk):
            for j, second in enumerate(risk):
                if i != j:
                    weight = first * (1 - second)
                    pairs += weight
                    right += weight * (1.0 if first > second else 0.5 if first == second else 0.0)
        assert expected_auc(risk) == pytest.approx(right / pairs, abs=1e-12)


def test_the_expected_auc_is_the_auc_where_the_risks_are_true():
    random = np.random.default_rng(4)
    risk = expit(random.normal(-1, 1.3, 4000))
    drawn = random.random((300, 4000)) < risk
    order = risk.argsort().argsort() + 1
    aucs = [(order[o].sum() - o.sum() * (o.sum() + 1) / 2) / (o.sum() * (~o).sum()) for o in drawn]
    assert expected_auc(risk) == pytest.approx(np.mean(aucs), abs=0.002)


@pytest.mark.parametrize(
    ("risk", "expected"), [([0.3] * 5, 0.5), ([1.0, 0.0], 1.0), ([1.0, 1.0], np.nan), ([], np.nan)]
)
def test_the_expected_auc_of_simple_risks(risk, expected):
    assert expected_auc(np.array(risk)) == pytest.approx(expected, nan_ok=True)


def test_a_population_is_described_as_the_model_sees_it(found):
    mix, risk = found.mix["external"], EXTERNAL["risk"].to_numpy()
    assert (mix.cases, mix.groups, mix.events) == (THERE, THERE // 2, EXTERNAL["outcome"].sum())
    assert mix.mean_risk == pytest.approx(risk.mean())
    assert mix.sd_log_odds == pytest.approx(np.std(logit(risk), ddof=1))
    assert mix.risks == tuple(sum(1 for r in risk if k / 20 <= r < (k + 1) / 20) for k in range(20))
    assert set(found.mix) == {"test", "test_clean", "external"}


# Calibration and repair -------------------------------------------------------------------------------


def test_the_intercept_that_is_missing_is_found_and_recalibrated(found):
    """Every log odds is 1.2 too low, so that is what the intercept says and what recalibration takes away."""
    assert found.calibration["calibration_intercept"]["external"].value == pytest.approx(1.2, abs=0.3)
    alone, both = found.repairs
    assert (alone.kind, both.kind) == ("intercept", "intercept and slope")
    assert abs(alone.after["calibration_intercept"].value) < 0.1
    assert alone.changes["brier"].high < 0
    assert alone.changes["log_loss"].high < 0


def test_a_repair_is_judged_on_groups_that_it_was_not_fitted_on():
    """Outcomes at random: a repair that had seen them would gain, this one must not."""
    random = np.random.default_rng(8)
    frame = cases("elsewhere", 40, seed=9)
    frame["outcome"], frame["risk"] = (
        random.integers(0, 2, 40),
        np.repeat(0.5, 40) + random.normal(0, 0.01, 40),
    )
    found = transport(INTERNAL, check_predictions(frame), points=POINTS, draws=20)["cnn"]
    assert found.repairs[0].changes["brier"].value > -0.002


def test_risks_that_are_true_gain_nothing_by_mending():
    there = check_predictions(cases("elsewhere", 400, seed=12))
    alone = transport(INTERNAL, there, points=POINTS, draws=20)["cnn"].repairs[0]
    assert alone.changes["brier"].value == pytest.approx(0, abs=0.003)


def test_a_recalibrated_intercept_is_the_one_that_makes_expected_equal_observed():
    """In each fold the shift is found again by bisection on the other folds."""
    frame = EXTERNAL.reset_index(drop=True)
    fold = grouped_folds(frame["outcome"], frame["group"], folds=FOLDS, seed=0)
    outcome, log_odds = frame["outcome"].to_numpy(), logit(frame["risk"].to_numpy())
    recalibrated = np.empty(len(frame))
    for number in range(FOLDS):
        rest, low, high = fold != number, -10.0, 10.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (
                (middle, high)
                if expit(log_odds[rest] + middle).sum() < outcome[rest].sum()
                else (low, middle)
            )
        recalibrated[~rest] = expit(log_odds[~rest] + middle)
    change = np.mean((recalibrated - outcome) ** 2) - np.mean((frame["risk"] - outcome) ** 2)
    alone = transport(INTERNAL, EXTERNAL, points=POINTS, draws=20)["cnn"].repairs[0]
    assert alone.changes["brier"].value == pytest.approx(change, abs=1e-9)


def test_where_nothing_can_be_fitted_the_repair_says_why():
    there = check_predictions(cases("elsewhere", 60, seed=5).assign(outcome=[1] + [0] * 59))
    found = transport(INTERNAL, there, points=POINTS, draws=20)["cnn"]
    assert all(repair.reason and not repair.changes for repair in found.repairs)


# Thresholds -------------------------------------------------------------------------------------------


def test_rates_at_frozen_thresholds_stand_side_by_side(found):
    home = INTERNAL[INTERNAL["split"] == "test"]
    for point, threshold in zip(found.points, (0.5, 0.2), strict=True):
        for rates, frame in ((point.internal, home), (point.external, EXTERNAL)):
            events = frame[frame["outcome"] == 1]
            assert rates["sensitivity"].value == pytest.approx((events["risk"] >= threshold).mean())
        assert point.difference["sensitivity"].value == pytest.approx(
            point.external["sensitivity"].value - point.internal["sensitivity"].value
        )


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_the_difference_of_two_rates_has_newcombes_published_interval(first, second, low, high):
    """Newcombe 1998, Statistics in Medicine 17:873, table II, method 10."""
    gap = rate_difference(wilson(*first), wilson(*second))
    assert gap.low == pytest.approx(low, abs=6e-5)
    assert gap.high == pytest.approx(high, abs=6e-5)


def test_an_undefined_rate_has_an_undefined_difference_with_its_reason():
    nothing = Estimate(np.nan, np.nan, np.nan, 0.95, "no cases with the condition")
    for gap in (rate_difference(nothing, wilson(3, 10)), rate_difference(wilson(3, 10), nothing)):
        assert np.isnan(gap.value)
        assert gap.method == "no cases with the condition"


def test_a_difference_of_rates_names_newcombe_only_where_both_intervals_are_wilsons():
    plain, right = wilson(9, 10), np.arange(60) % 4 > 0
    grouped = grouped_rate(right, np.arange(60) // 3)
    assert rate_difference(plain, wilson(3, 10)).method == "Newcombe, from both Wilson intervals"
    assert rate_difference(grouped, plain).method == (
        f"MOVER of both intervals: {grouped.method}; Wilson score"
    )


def test_a_threshold_that_was_never_found_is_left_out():
    points = {"cnn": (*POINTS["cnn"], Point("given", np.nan, "val"))}
    assert len(transport(INTERNAL, EXTERNAL, points=points, draws=20)["cnn"].points) == 2


# As a whole -------------------------------------------------------------------------------------------


def test_a_model_that_was_not_scored_at_home_has_an_external_auc_and_no_drop():
    internal = INTERNAL.assign(model="another")
    found = transport(internal, EXTERNAL, points=POINTS, draws=20)["cnn"]
    assert found.drops == ()
    assert found.points == ()
    assert found.external_auc.value > 0.5


def test_it_is_written_as_plain_json_with_none_for_what_is_undefined(found):
    text = json.dumps(to_plain({"cnn": found}), allow_nan=False)
    back = json.loads(text)["cnn"]
    assert back["drops"][0]["difference"]["value"] == found.drops[0].difference.value
    assert to_plain(np.nan) is None
    assert to_plain((1.0, np.nan)) == [1.0, None]


# What the pictures say without the tissue -----------------------------------------------------------------


def sample(n: int = 400, seed: int = 1):
    rng = np.random.default_rng(seed)
    border, size = rng.normal(size=(2, n))
    outcome = rng.random(n) < expit(1.2 * border - 0.6)
    return outcome, border, size, rng


def test_one_quantity_ranks_alone_as_its_auc_says():
    outcome, border, size, rng = sample()
    risk = expit(border + rng.normal(size=len(border)))
    found = probe(outcome, risk, {"border": border, "size": size})
    assert found.alone["border"] == auc_logit(outcome, border)
    assert found.model == auc_logit(outcome, risk)
    assert found.together.value == pytest.approx(found.alone["border"].value, abs=0.02)


def test_the_regression_is_that_of_a_reference_solved_fold_by_fold():
    """Normal equations on the raw columns, one repeat."""
    from clineval.statistics.updating import grouped_folds

    outcome, border, size, rng = sample(120)
    risk = expit(rng.normal(size=len(border)))
    found = probe(outcome, risk, {"border": border, "size": 100 + 5 * size}, repeats=1)
    fold, score = grouped_folds(outcome, None, folds=5, seed=(0, 0)), np.zeros(len(outcome))
    x = np.column_stack([np.ones(len(outcome)), border, 100 + 5 * size])
    for number in range(5):
        train = fold != number
        beta = np.linalg.inv(x[train].T @ x[train]) @ x[train].T @ outcome[train]
        score[~train] = x[~train] @ beta
    assert found.together.value == pytest.approx(auc_logit(outcome, score).value, abs=1e-9)
    assert found.difference.value == pytest.approx(
        compare_auc(outcome, risk, score).difference.value, abs=1e-9
    )


def test_a_model_that_reads_the_border_alone_is_found_out():
    outcome, border, size, _ = sample()
    found = probe(outcome, expit(2 * border), {"border": border, "size": size})
    assert found.explained.value > 0.999
    assert found.difference.low < 0.01


def test_quantities_that_say_nothing_explain_nothing():
    outcome, border, size, rng = sample()
    found = probe(outcome, expit(border), {"size": size, "noise": rng.normal(size=len(size))})
    assert found.explained.value < 0.02
    assert abs(found.together.value - 0.5) < 0.1
    assert found.difference.low > 0.1


def test_scale_and_shift_of_a_quantity_change_nothing():
    outcome, border, size, rng = sample()
    risk = expit(border + rng.normal(size=len(border)))
    one = probe(outcome, risk, {"border": border, "size": size}, draws=50)
    two = probe(outcome, risk, {"border": 255 + 3 * border, "size": 1e4 * size}, draws=50)
    assert two.together.value == pytest.approx(one.together.value, abs=1e-12)
    assert two.explained.value == pytest.approx(one.explained.value, abs=1e-9)


def test_groups_stay_whole_and_copies_make_nothing_narrower():
    outcome, border, size, rng = sample(100)
    risk = expit(border + rng.normal(size=100))
    twice = np.repeat(np.arange(100), 2)
    one = probe(outcome, risk, {"border": border, "size": size})
    two = probe(outcome[twice], risk[twice], {"border": border[twice], "size": size[twice]}, group=twice)
    width = [each.explained.high - each.explained.low for each in (one, two)]
    assert width[1] > 0.9 * width[0]


def test_a_quantity_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        probe([True, False] * 10, [0.5] * 20, {"x": [np.nan] * 20})


def test_risks_that_do_not_differ_have_nothing_to_explain():
    outcome, border, _, _ = sample(60)
    assert np.isnan(probe(outcome, np.full(60, 0.3), {"border": border}).explained.value)


# The command ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_probes_of_a_run_are_those_of_its_primary_model_on_development_and_test(
    tmp_path, monkeypatch, undrawn
):
    shorten(monkeypatch.setattr, members=3)
    folder, out = write_cohort(tmp_path / "cohort", patients=90), tmp_path / "out"
    given = ["--cohort", str(folder / "cohort.csv"), "--image-folder", str(folder / "images"), *WORDS]
    assert (
        run_command(
            ["run", *given, "--models", "logreg", "--probes", "--jobs", "1", "--out", str(out), "--quiet"]
        )
        == DONE
    )
    found = json.loads((out / "probes.json").read_text())
    assert list(found) == ["train_out_of_fold", "test"]
    predictions = read_predictions(out / "predictions.csv")
    for population, record in found.items():
        rows = predictions[predictions["split"] == population]
        measured = file_quantities([folder / "images" / f"{case}.png" for case in rows["case"]])
        differing = {name: values for name, values in measured.items() if name not in record["constant"]}
        expected = probe(rows["outcome"] == 1, rows["risk"], differing, group=rows["group"])
        assert record["model"] == "logreg"
        assert record["together"]["value"] == pytest.approx(expected.together.value)
        assert record["explained"]["value"] == pytest.approx(expected.explained.value)
    page = (out / "report.html").read_text()
    assert "What the pictures say without the tissue" in page
    assert run_command(["verify", str(out)]) == DONE
    assert run_command(["report", str(out)]) == DONE
    assert (out / "report.html").read_text() == page
