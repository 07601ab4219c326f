"""The evaluation of a table: its contract, its populations, its frozen thresholds, its comparisons."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from clineval.errors import InputError
from clineval.evaluation import Evaluation, Point, evaluate, read_evaluation, write_evaluation
from clineval.evaluation.curves import curves
from clineval.evaluation.evaluate import evaluate_checked, on_one_thread
from clineval.evaluation.operating_points import checked_points, given_point, points_for, score_point
from clineval.evaluation.populations import populations, without_repeats
from clineval.evaluation.records import Scale
from clineval.predictions import check_predictions, read_predictions, write_predictions
from clineval.statistics import roc
from clineval.statistics.differences import holm, p_value_of, smallest_gap
from clineval.statistics.thresholds import threshold_for_sensitivity


def threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_one_thread_is_used_inside_and_the_former_number_after():
    with threadpool_limits(limits=2):
        before = threads()
        assert set(on_one_thread(threads)()) == {1}
        assert threads() == before


def test_arguments_result_and_name_pass_through():
    @on_one_thread
    def power(base: int, *, exponent: int) -> int:
        """Power."""
        return base**exponent

    assert power(2, exponent=5) == 32
    assert (power.__name__, power.__doc__) == ("power", "Power.")


def test_two_threads_give_the_last_digit_of_one():
    chance = np.random.default_rng(0)
    outcome = np.arange(400) % 4 == 0
    risk = 1 / (1 + np.exp(1.2 - 1.5 * outcome - chance.normal(size=400)))
    table = pd.DataFrame(
        {"model": "m", "split": "test", "case": np.arange(400).astype(str), "outcome": outcome, "risk": risk}
    )
    found = []
    for number in (1, 2):
        with threadpool_limits(limits=number):
            evaluation = evaluate(table, draws=200)
            found.append((evaluation.to_json(), repr(curves(table, evaluation))))
    assert found[0] == found[1]


CONTRACT = {
    "cases", "events", "groups", "auc", "average_precision", "brier", "scaled_brier", "log_loss",
    "calibration_intercept", "calibration_slope", "observed_expected", "ici", "operating_points",
    "decision_curve",
}  # fmt: skip
POINT = {
    "name", "threshold", "chosen_on", "true_positives", "false_positives", "false_negatives",
    "true_negatives", "sensitivity", "specificity", "ppv", "npv", "accuracy", "lr_positive", "lr_negative",
}  # fmt: skip
ESTIMATE = {"value", "low", "high", "level", "method"}
SIZES = {"train": 60, "train_out_of_fold": 60, "val": 40, "test": 80}


def rows(model: str, split: str, cases: int, *, noise: float, seed: int = 0) -> pd.DataFrame:
    """Cases whose outcome and signal depend on the split alone, and whose risk on the model too."""
    shared = np.random.default_rng([seed, len(split), cases])
    outcome = shared.random(cases) < 0.35
    signal = shared.normal(size=cases) + 1.8 * outcome - 1.5
    own = np.random.default_rng([seed, len(split), cases, len(model)]).normal(size=cases)
    name = "train" if split == "train_out_of_fold" else split
    return pd.DataFrame(
        {
            "model": model,
            "split": split,
            "case": [f"{name}/{i}" for i in range(cases)],
            # Every test case with a number below 20 has a near-duplicate in train.
            "group": [
                f"twin{i}" if name in ("train", "test") and i < 20 else f"{name}{i}" for i in range(cases)
            ],
            "outcome": outcome.astype(int),
            "risk": 1 / (1 + np.exp(-signal - noise * own)),
        }
    )


def whole_table() -> pd.DataFrame:
    parts = [
        rows(model, split, cases, noise=noise)
        for model, noise in (("logreg", 0.9), ("cnn", 0.3))
        for split, cases in SIZES.items()
    ]
    return pd.concat(parts, ignore_index=True)


TABLE = whole_table()
FAST = {"draws": 40, "seed": 1}


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(TABLE, condition="malignant", thresholds=[0.2, 0.7], **FAST)


@pytest.fixture(scope="module")
def content(evaluation: Evaluation) -> dict[str, Any]:
    return json.loads(json.dumps(evaluation.to_json(), allow_nan=False))


def only(table: pd.DataFrame, *splits: str, models: tuple[str, ...] = ("logreg", "cnn")) -> pd.DataFrame:
    return table[table["split"].isin(splits) & table["model"].isin(models)].reset_index(drop=True)


def estimates(value: object, path: str = "") -> dict[str, Mapping[str, Any]]:
    """Every Estimate below a JSON value, by its path."""
    if isinstance(value, dict) and set(value) >= ESTIMATE:
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {key: one for name, part in items for key, one in estimates(part, f"{path}.{name}").items()}


# --- the contract -----------------------------------------------------------------------------------


def test_the_top_level_is_that_of_the_contract(content: dict[str, Any]) -> None:
    assert content["schema"] == 1
    assert content["condition"] == "malignant"
    assert content["level"] == 0.95
    assert list(content["models"]) == ["logreg", "cnn"]


def test_every_population_carries_every_key_of_the_contract(content: dict[str, Any]) -> None:
    for scored in content["models"].values():
        for population in scored.values():
            assert set(population) >= CONTRACT | {"auc_logit"}


def test_every_operating_point_carries_every_key_of_the_contract(content: dict[str, Any]) -> None:
    points = content["models"]["cnn"]["test"]["operating_points"]
    assert [point["name"] for point in points] == ["half", "sensitivity_90", "given", "given"]
    assert [point["chosen_on"] for point in points] == ["fixed", "train_out_of_fold", "given", "given"]
    assert [point["threshold"] for point in points][2:] == [0.2, 0.7]
    for point in points:
        assert set(point) >= POINT
        cells = [
            point[name] for name in ("true_positives", "false_positives", "false_negatives", "true_negatives")
        ]
        assert sum(cells) == SIZES["test"]


def test_every_estimate_is_whole_and_a_missing_number_has_its_reason(content: dict[str, Any]) -> None:
    found = estimates(content)
    assert len(found) > 100
    for path, estimate in found.items():
        assert set(estimate) == ESTIMATE, path
        assert estimate["level"] == 0.95
        if None in (estimate["value"], estimate["low"], estimate["high"]):
            assert len(estimate["method"]) > 10, path
        else:
            assert estimate["low"] <= estimate["value"] <= estimate["high"], path


def test_the_decision_curve_stands_on_hundredths(content: dict[str, Any]) -> None:
    curve = content["models"]["cnn"]["test"]["decision_curve"]
    assert curve["threshold"] == [k / 100 for k in range(1, 100)]
    assert all(len(curve[name]) == 99 for name in ("net_benefit", "low", "high", "treat_all"))


def test_a_comparison_carries_every_key_of_the_contract(content: dict[str, Any]) -> None:
    comparison = content["comparisons"][0]
    assert set(comparison) >= {
        "measure",
        "population",
        "models",
        "difference",
        "statistic",
        "p_value",
        "method",
    }
    for one in content["comparisons"]:
        assert one["models"] == ["logreg", "cnn"]
        assert one["measure"] in content["models"]["cnn"][one["population"]]
    measures = {(one["population"], one["measure"]) for one in content["comparisons"]}
    assert measures >= {
        (name, measure) for name in ("test", "test_clean", "val") for measure in ("auc", "brier")
    }


def test_the_json_reads_back_to_the_same_record(evaluation: Evaluation, content: dict[str, Any]) -> None:
    back = Evaluation.from_json(content)
    assert json.dumps(back.to_json()) == json.dumps(content)
    assert back.models["cnn"]["test"].measures["auc"] == evaluation.models["cnn"]["test"].measures["auc"]


def test_the_file_is_strict_json_and_the_same_table_gives_the_same_bytes(tmp_path) -> None:
    table = only(TABLE, "val", "test")
    write_predictions(check_predictions(table), tmp_path / "table.csv")
    for name in ("one.json", "two.json"):
        write_evaluation(evaluate(read_predictions(tmp_path / "table.csv"), **FAST), tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads((tmp_path / "one.json").read_text(), parse_constant=refuse)
    assert read_evaluation(tmp_path / "one.json").populations == ("test", "test_clean", "val")


def test_another_schema_and_a_part_of_an_evaluation_are_refused(content: dict[str, Any], tmp_path) -> None:
    with pytest.raises(InputError, match="evaluation of schema 1; got 2"):
        Evaluation.from_json({**content, "schema": 2})
    with pytest.raises(InputError, match="incomplete"):
        Evaluation.from_json({key: value for key, value in content.items() if key != "models"})
    (tmp_path / "evaluation.json").write_text("[1]")
    with pytest.raises(InputError, match="not an evaluation"):
        read_evaluation(tmp_path / "evaluation.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_evaluation(tmp_path / "missing.json")


# --- populations ------------------------------------------------------------------------------------


def test_every_split_but_train_is_a_population_and_tests_come_first(evaluation: Evaluation) -> None:
    assert evaluation.populations == ("test", "test_clean", "train_out_of_fold", "val")


def test_test_clean_leaves_out_exactly_the_cases_with_a_twin_in_development_data(
    evaluation: Evaluation,
) -> None:
    clean = evaluation.models["cnn"]["test_clean"]
    assert clean.removed == 20
    assert clean.cases == SIZES["test"] - 20
    kept = only(TABLE, "test", models=("cnn",)).iloc[20:]
    assert clean.events == kept["outcome"].sum()
    assert clean.measures["auc"].value == roc.auc(kept["outcome"], kept["risk"]).value


@pytest.mark.parametrize("used", ["train", "val", "train_out_of_fold"])
def test_a_twin_in_any_development_split_removes_a_test_case(used: str) -> None:
    table = only(TABLE, "test", models=("cnn",))
    twin = table.head(1).assign(split=used, case="other", outcome=1 - table["outcome"].iloc[0])
    clean = next(
        one for one in populations(check_predictions(pd.concat([table, twin]))) if one.name == "test_clean"
    )
    assert clean.removed == 1


def test_without_groups_or_development_data_there_is_no_test_clean_and_a_note_says_why() -> None:
    shared = TABLE.assign(group="one")
    for table, why in (
        (TABLE.drop(columns="group"), "The table names no groups, so overlap"),
        (only(TABLE, "test"), "The table has no training rows, so overlap"),
        (shared, "Every test case shares a group with development data"),
    ):
        scored = evaluate(table, **FAST)
        assert "test_clean" not in scored.populations
        assert [note.startswith(why) for note in scored.notes] == [True]


def test_val_is_given_threshold_free_measures_only_and_says_what_it_was_used_for(
    content: dict[str, Any],
) -> None:
    val = content["models"]["cnn"]["val"]
    assert val["operating_points"] == []
    assert val["decision_curve"] is None
    assert val["adequacy"] is None
    assert not any("_at_" in name for name in val)
    assert "development" in val["used_for"]
    assert val["auc"]["value"] > 0.5
    assert content["models"]["cnn"]["test"]["used_for"] is None


def test_no_point_that_was_chosen_out_of_fold_is_scored_there(evaluation: Evaluation) -> None:
    names = [point.name for point in evaluation.models["cnn"]["train_out_of_fold"].operating_points]
    assert names == ["half", "given", "given"]


def test_an_external_cohort_is_a_population_by_its_name() -> None:
    table = only(TABLE, "test").replace({"split": {"test": "busbra"}})
    scored = evaluate(table, **FAST)
    assert scored.populations == ("busbra",)
    assert scored.models["cnn"]["busbra"].used_for == ""


def test_training_rows_alone_are_refused_and_so_is_the_name_test_clean() -> None:
    with pytest.raises(InputError, match="split 'train' only"):
        evaluate(only(TABLE, "train"))
    with pytest.raises(InputError, match="Row 1, column 'split': the name 'test_clean' is kept"):
        evaluate(only(TABLE, "test").assign(split="test_clean"))


def test_groups_within_a_population_cluster_its_intervals(evaluation: Evaluation) -> None:
    pairs = only(TABLE, "test").assign(
        group=lambda table: table["case"].str.extract(r"(\d+)")[0].astype(int) // 2
    )
    clustered = evaluate(pairs, **FAST).models["cnn"]["test"]
    assert clustered.groups == SIZES["test"] // 2
    assert "cluster" in clustered.measures["auc"].method
    single = evaluation.models["cnn"]["test"]
    assert single.groups == single.cases
    assert "cluster" not in single.measures["auc"].method


def test_the_order_of_a_models_rows_does_not_matter() -> None:
    table = only(TABLE, "test")
    turned = pd.concat([table[table["model"] == "logreg"], table[table["model"] == "cnn"].iloc[::-1]])
    one, other = evaluate(table, **FAST), evaluate(turned, **FAST)
    assert one.to_json() == other.to_json()


# --- one class, few cases ---------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [0, 1])
def test_with_one_class_absent_what_needs_both_is_null_with_the_reason_and_the_rest_is_given(
    outcome: int,
) -> None:
    table = only(TABLE, "test", models=("cnn",)).assign(outcome=outcome)
    scored = json.loads(json.dumps(evaluate(table, **FAST).to_json(), allow_nan=False))["models"]["cnn"][
        "test"
    ]
    for measure in ("auc", "auc_logit", "average_precision", "calibration_slope", "scaled_brier"):
        assert scored[measure]["value"] is None, measure
        assert len(scored[measure]["method"]) > 10
    assert scored["brier"]["value"] is not None
    half = scored["operating_points"][0]
    assert (half["sensitivity"]["value"] is None) == (outcome == 0)
    assert half["accuracy"]["value"] is not None
    assert scored["adequacy"] is None


def test_one_case_alone_is_scored_without_an_error() -> None:
    scored = evaluate(pd.DataFrame({"outcome": [1], "risk": [0.4]}), **FAST)
    json.dumps(scored.to_json(), allow_nan=False)
    assert scored.models["model"]["test"].cases == 1


@pytest.mark.parametrize("risks", [[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0], [0.5] * 4])
def test_perfect_reversed_and_constant_risks_give_strict_json(risks: list[float]) -> None:
    table = pd.DataFrame({"outcome": [0, 0, 1, 1], "risk": risks})
    json.dumps(evaluate(table, **FAST).to_json(), allow_nan=False)


# --- thresholds -------------------------------------------------------------------------------------


def test_the_threshold_for_sensitivity_is_chosen_out_of_fold_and_scored_elsewhere(
    evaluation: Evaluation,
) -> None:
    own = only(TABLE, "train_out_of_fold", models=("cnn",))
    chosen = evaluation.models["cnn"]["test"].point("sensitivity_90")
    assert chosen.threshold == threshold_for_sensitivity(own["outcome"], own["risk"], 0.9)
    assert chosen.chosen_on == "train_out_of_fold"
    frozen = next(point for point in evaluation.points["cnn"] if point.name == "sensitivity_90")
    assert frozen.choice is not None
    assert 0 <= frozen.choice.probability_target_met <= 1
    assert frozen.choice.events == own["outcome"].sum()


def test_without_out_of_fold_rows_the_threshold_is_chosen_on_val() -> None:
    scored = evaluate(only(TABLE, "val", "test"), **FAST)
    val = only(TABLE, "val", models=("cnn",))
    chosen = scored.models["cnn"]["test"].point("sensitivity_90")
    assert chosen.chosen_on == "val"
    assert chosen.threshold == threshold_for_sensitivity(val["outcome"], val["risk"], 0.9)


def test_with_nothing_to_choose_it_on_the_threshold_is_null_with_the_reason() -> None:
    scored = evaluate(only(TABLE, "test"), **FAST).to_json()["models"]["cnn"]["test"]
    point = scored["operating_points"][1]
    assert point["name"] == "sensitivity_90"
    assert point["threshold"] is None
    assert point["true_positives"] is None
    assert point["sensitivity"]["value"] is None
    assert "no train_out_of_fold and no val rows" in point["sensitivity"]["method"]


def test_a_threshold_chosen_on_the_population_being_scored_is_refused() -> None:
    test = populations(check_predictions(only(TABLE, "test")))[0]
    chosen = Point("sensitivity_90", 0.3, "test")
    with pytest.raises(InputError, match="was chosen on 'test' and cannot be scored there"):
        score_point(test.models["cnn"], chosen, population="test", scale=Scale())
    with pytest.raises(InputError, match="chosen on 'test'; it may come from fixed, given"):
        evaluate(only(TABLE, "test"), points={"cnn": [chosen], "logreg": [chosen]}, **FAST)
    assert points_for("val", [Point("half", 0.5, "fixed")]) == ()
    assert points_for("train_out_of_fold", [Point("sensitivity_90", 0.3, "train_out_of_fold")]) == ()


def test_frozen_thresholds_replace_the_choice_on_a_further_cohort(evaluation: Evaluation) -> None:
    abroad = only(TABLE, "test").replace({"split": {"test": "busbra"}})
    scored = evaluate(abroad, points=evaluation.points, **FAST)
    frozen = [point.threshold for point in evaluation.points["cnn"]]
    assert [point.threshold for point in scored.models["cnn"]["busbra"].operating_points] == frozen
    with pytest.raises(InputError, match="No frozen thresholds were given for model 'cnn'"):
        checked_points({"logreg": ()}, "cnn")


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        given_point(threshold)


def test_a_level_or_a_number_of_draws_that_means_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        evaluate(TABLE, level=95)
    with pytest.raises(InputError, match="from 1 to 1,000,000 draws"):
        evaluate(TABLE, draws=0)
    with pytest.raises(InputError, match="seed needs a number from 0 to 2,147,483,647"):
        evaluate(TABLE, seed=-1)


def test_thresholds_0_and_1_flag_all_and_only_certain_cases() -> None:
    scored = evaluate(only(TABLE, "test"), thresholds=[0, 1], **FAST).models["cnn"]["test"]
    _, _, everybody, nobody = scored.operating_points
    assert everybody.counts["false_negatives"] == everybody.counts["true_negatives"] == 0
    assert nobody.counts["true_positives"] == nobody.counts["false_positives"] == 0
    assert np.isnan(everybody.net_benefit)


# --- comparisons ------------------------------------------------------------------------------------


def test_a_comparison_is_the_first_model_minus_the_second_on_the_same_cases(evaluation: Evaluation) -> None:
    found = next(one for one in evaluation.comparisons if (one.measure, one.population) == ("auc", "test"))
    first, second = (evaluation.models[model]["test"].measures["auc"].value for model in ("logreg", "cnn"))
    assert found.difference.value == pytest.approx(first - second, abs=1e-12)
    logreg, cnn = (only(TABLE, "test", models=(model,)) for model in ("logreg", "cnn"))
    expected = roc.compare_auc(cnn["outcome"], logreg["risk"], cnn["risk"])
    assert (found.statistic, found.p_value) == (expected.statistic, expected.p_value)


def test_points_of_one_name_are_compared_by_mcnemar_and_net_benefit_at_one_threshold(
    evaluation: Evaluation,
) -> None:
    on_test = [one for one in evaluation.point_comparisons if one.population == "test"]
    assert [one.point for one in on_test] == ["half", "sensitivity_90", "given", "given"]
    half, chosen = on_test[:2]
    assert set(half.differences) == {"sensitivity", "specificity", "net_benefit"}
    assert set(chosen.differences) == {"sensitivity", "specificity"}
    assert 0 <= half.p_values["sensitivity"] <= 1
    assert not any(one.population == "val" for one in evaluation.point_comparisons)
    thresholds = [one.thresholds for one in on_test[2:]]
    assert thresholds == [(0.2, 0.2), (0.7, 0.7)]


def test_models_scored_on_different_cases_are_refused_with_the_counts() -> None:
    table = only(TABLE, "test").iloc[:-10]
    with pytest.raises(InputError) as caught:
        evaluate(table, **FAST)
    message = str(caught.value)
    for word in (
        "column 'case'",
        "'test/70'",
        "'logreg' has 80 cases, 'cnn' 70, 70 shared",
        "shared_cases_only=True",
    ):
        assert word in message


def test_if_asked_they_are_compared_on_what_they_share_with_the_counts() -> None:
    table = only(TABLE, "test").iloc[5:-10]
    scored = evaluate(table, shared_cases_only=True, **FAST)
    assert scored.shared_cases == {"test": {"kept": 65, "logreg": 75, "cnn": 70}}
    assert {scored.models[model]["test"].cases for model in ("logreg", "cnn")} == {65}
    assert len(scored.comparisons) == 2
    with pytest.raises(InputError, match="share no case"):
        evaluate(pd.concat([table.head(5), table.tail(5)]), shared_cases_only=True)


def test_development_data_may_differ_and_is_then_not_compared() -> None:
    dropped = (
        (TABLE["model"] == "cnn") & (TABLE["split"] == "train_out_of_fold") & (TABLE["case"] == "train/0")
    )
    scored = evaluate(TABLE[~dropped], **FAST)
    assert {one.population for one in scored.comparisons} == {"test", "test_clean", "val"}


# --- patients ---------------------------------------------------------------------------------------


def test_patients_are_ranked_by_the_mean_log_odds_of_their_images() -> None:
    place = np.arange(160)
    table = rows("cnn", "test", 160, noise=0.6).assign(group=(place // 4).astype(str))
    found = evaluate(table, by_group=True, **FAST).by_group["test"]["cnn"]
    risk, outcome, mixed = [], [], 0
    for _, own in table.groupby("group"):
        odds = np.log(own["risk"] / (1 - own["risk"]))
        risk.append(odds.mean())
        outcome.append(own["outcome"].any())
        mixed += own["outcome"].nunique() == 2
    higher = np.subtract.outer(np.array(risk)[outcome], np.array(risk)[~np.array(outcome)])
    assert found.auc_logit.value == pytest.approx(((higher > 0) + (higher == 0) / 2).mean())
    assert (found.groups, found.events, found.mixed) == (40, sum(outcome), mixed)


def test_patients_are_ranked_only_where_that_is_asked_for_and_cases_come_in_groups() -> None:
    table = check_predictions(rows("cnn", "test", 160, noise=0.6))
    assert evaluate_checked(table, **FAST).by_group == {}
    alone = evaluate_checked(table, by_group=True, **FAST)
    assert alone.by_group == {}
    assert "by_group" not in alone.to_json()


# --- subgroups --------------------------------------------------------------------------------------


def with_attribute(values: object) -> pd.DataFrame:
    table = only(TABLE, "test")
    return table.assign(site=np.tile(values, 2))


def test_a_subgroup_table_has_counts_estimates_and_the_widest_gap() -> None:
    table = rows("cnn", "test", 160, noise=0.3).assign(site=np.where(np.arange(160) % 2, "B", "A"))
    scored = evaluate(table, **FAST).models["cnn"]["test"]
    (found,) = scored.subgroups
    assert found.attribute == "site"
    assert [cell.value for cell in found.cells] == ["A", "B"]
    assert sum(cell.cases for cell in found.cells) == 160
    assert sum(cell.events for cell in found.cells) == scored.events
    values = {cell.value: cell.measures["auc_logit"].value for cell in found.cells}
    gap = found.largest_gap["auc_logit"]
    assert gap["gap"] == pytest.approx(abs(values["A"] - values["B"]))
    assert values[gap["highest"]] > values[gap["lowest"]]
    part = table.iloc[::2]
    assert values["A"] == roc.auc(part["outcome"], part["risk"]).value


def test_a_small_cell_is_counted_but_not_estimated_and_says_why() -> None:
    scored = evaluate(with_attribute(np.where(np.arange(80) < 8, "rare", "usual")), **FAST)
    rare, usual = scored.models["cnn"]["test"].subgroups[0].cells
    assert (rare.value, rare.cases, rare.measures) == ("rare", 8, {})
    assert "fewer than 10" in rare.suppressed
    assert usual.measures
    assert scored.models["cnn"]["test"].subgroups[0].largest_gap == {}


def test_numbers_are_cut_at_their_quartiles_and_missing_values_stand_last() -> None:
    ages = np.arange(80.0)
    ages[3] = np.nan
    cells = evaluate(with_attribute(ages), **FAST).models["cnn"]["test"].subgroups[0].cells
    assert [cell.value for cell in cells] == [
        "up to 20.5", "above 20.5 to 40", "above 40 to 59.5", "above 59.5", "not recorded",
    ]  # fmt: skip
    assert sum(cell.cases for cell in cells) == 80


def test_quartiles_have_six_digits_and_all_of_them_where_six_do_not_tell_them_apart() -> None:
    for values, first in (
        (np.arange(80) / 7, "up to 2.82143"),
        (1e6 + np.arange(80) / 8, "up to 1000002.46875"),
    ):
        cells = evaluate(with_attribute(values), **FAST).models["cnn"]["test"].subgroups[0].cells
        assert cells[0].value == first


def test_the_rates_of_a_cell_respect_groups_as_its_difference_from_the_rest_does() -> None:
    place = np.arange(160)
    table = rows("cnn", "test", 160, noise=0.3).assign(
        site=np.where(place % 4 < 2, "A", "B"), group=(place // 2).astype(str)
    )
    for cell in evaluate(table, **FAST).models["cnn"]["test"].subgroups[0].cells:
        assert "independent ones" in cell.measures["specificity"].method


def test_few_numbers_are_values_in_their_order() -> None:
    cells = evaluate(with_attribute(np.arange(80) % 3 + 9), **FAST).models["cnn"]["test"].subgroups[0].cells
    assert [cell.value for cell in cells] == ["9", "10", "11"]


def test_an_attribute_with_one_value_is_no_grouping() -> None:
    (table,) = evaluate(with_attribute(["A"] * 80), **FAST).models["cnn"]["test"].subgroups
    assert (table.cells, table.skipped) == ((), "every case has the same value")


def test_text_values_stand_in_the_order_of_the_alphabet_with_missing_ones_last() -> None:
    sites = np.array(["B", "A", None, "C"] * 20, dtype=object)
    cells = evaluate(with_attribute(sites), **FAST).models["cnn"]["test"].subgroups[0].cells
    assert [(cell.value, cell.cases) for cell in cells] == [
        ("A", 20),
        ("B", 20),
        ("C", 20),
        ("not recorded", 20),
    ]


def test_names_are_no_grouping() -> None:
    table = (
        evaluate(with_attribute([f"patient {i}" for i in range(80)]), **FAST)
        .models["cnn"]["test"]
        .subgroups[0]
    )
    assert table.cells == ()
    assert "80 different values" in table.skipped


def test_each_cell_is_set_against_all_other_cases() -> None:
    table = rows("cnn", "test", 160, noise=0.3).assign(site=np.where(np.arange(160) % 2, "B", "A"))
    cells = evaluate(table, **FAST).models["cnn"]["test"].subgroups[0].cells
    apart = {cell.value: cell.less_rest for cell in cells}
    assert list(apart["A"]) == ["auc_logit", "sensitivity", "specificity"]
    for name, difference in apart["A"].items():  # of two cells each is the other's rest
        assert difference.value == pytest.approx(-apart["B"][name].value)
        assert difference.low <= difference.value <= difference.high
    aucs = [roc.auc(part["outcome"], part["risk"]).value for part in (table[::2], table[1::2])]
    assert apart["A"]["auc_logit"].value == pytest.approx(aucs[0] - aucs[1])


def test_a_cells_tests_are_corrected_for_all_cells_and_a_column_of_two_values_counts_once() -> None:
    place = np.arange(240)
    table = rows("cnn", "test", 240, noise=0.3).assign(
        site=np.where(place % 2, "B", "A"), device=np.array(["X", "Y", "Z"])[place // 80]
    )
    tables = evaluate(table, **FAST).models["cnn"]["test"].subgroups
    cells = {(one.attribute, cell.value): cell for one in tables for cell in one.cells}
    assert {each.tests["auc_logit"].comparisons for each in cells.values()} == {4}
    first, second = (cells["site", value].tests["auc_logit"] for value in "AB")
    assert first.p_value == pytest.approx(second.p_value)
    assert first.p_holm == second.p_holm
    family = [cells[key] for key in cells if key != ("site", "B")]
    p_values = [p_value_of(each.less_rest["auc_logit"]) for each in family]
    assert [each.tests["auc_logit"].p_holm for each in family] == holm(p_values).tolist()
    gap = cells["device", "X"].less_rest["sensitivity"]
    assert cells["device", "X"].tests["sensitivity"].smallest_gap == smallest_gap(gap)


def test_a_cell_is_not_set_against_a_rest_too_small_to_be_estimated() -> None:
    scored = evaluate(with_attribute(np.where(np.arange(80) < 8, "rare", "usual")), **FAST)
    _, usual = scored.models["cnn"]["test"].subgroups[0].cells
    assert usual.less_rest == {}


def test_subgroups_can_be_chosen_and_the_others_say_that_they_were_not() -> None:
    table = with_attribute(["A", "B"] * 40).assign(device=["X", "X", "Y", "Y"] * 40)
    tables = evaluate(table, attributes=["site"], **FAST).models["cnn"]["test"].subgroups
    assert [(one.attribute, one.skipped) for one in tables] == [
        ("site", ""),
        ("device", "not among the columns that were chosen"),
    ]
    with pytest.raises(InputError, match="attributes needs one of the table's further columns"):
        evaluate(table, attributes=["scanner"], **FAST)


def test_development_data_gets_no_subgroup_tables() -> None:
    scored = evaluate(only(TABLE, "val", "test").assign(site="A"), **FAST)
    assert scored.models["cnn"]["val"].subgroups == ()
    assert len(scored.models["cnn"]["test"].subgroups) == 1


# --- seeds and folds --------------------------------------------------------------------------------


def members_of(seeds: int) -> pd.DataFrame:
    parts = [rows("cnn", "test", 80, noise=0.3).assign(seed=seed) for seed in range(seeds)]
    rng = np.random.default_rng(3)
    return pd.concat(
        [part.assign(risk=np.clip(part["risk"] + rng.normal(0, 0.05, 80), 0, 1)) for part in parts]
    )


def test_a_table_with_seeds_is_scored_as_the_mean_of_its_members() -> None:
    members = members_of(3)
    table = without_repeats(check_predictions(members))
    assert len(table) == 80
    expected = members.groupby("case", sort=False)["risk"].mean()
    np.testing.assert_allclose(table["risk"], expected, rtol=0, atol=1e-15)


def test_the_spread_over_seeds_stands_apart_from_the_interval_over_cases() -> None:
    members = members_of(3)
    spread = evaluate(members, **FAST).models["cnn"]["test"].spread
    aucs = [roc.auc(part["outcome"], part["risk"]).value for _, part in members.groupby("seed")]
    found = next(one for one in spread if one.measure == "auc")
    assert found.over == "seed"
    assert found.members == ("seed 0", "seed 1", "seed 2")
    assert list(found.values) == aucs
    assert found.sd == pytest.approx(np.std(aucs, ddof=1))
    assert (found.lowest, found.highest) == (min(aucs), max(aucs))


def test_members_beside_the_table_give_its_spread_on_test_and_test_clean() -> None:
    members = only(TABLE, "test", models=("cnn",))
    members = pd.concat(
        [members.assign(seed=7, fold=0), members.assign(seed=8, fold=1, risk=1 - members["risk"])]
    )
    scored = evaluate(TABLE, members=members, **FAST)
    for name in ("test", "test_clean"):
        first, second = next(one for one in scored.models["cnn"][name].spread if one.measure == "auc").values
        assert first == scored.models["cnn"][name].measures["auc"].value
        assert first + second == pytest.approx(1)
    assert scored.models["logreg"]["test"].spread == ()
    assert scored.models["cnn"]["test"].spread[0].over == "seed and fold"


def test_folds_of_one_cross_validation_are_pooled_and_their_spread_is_told() -> None:
    table = rows("cnn", "cohort", 80, noise=0.3).assign(fold=np.arange(80) % 4)
    scored = evaluate(table, **FAST).models["cnn"]["cohort"]
    assert scored.cases == 80
    assert [one.over for one in scored.spread] == ["fold", "fold"]
    assert len(scored.spread[0].members) == 4


def test_progress_counts_every_model_on_every_population() -> None:
    seen: list[tuple[int, int]] = []
    evaluate(only(TABLE, "val", "test"), progress=lambda done, total: seen.append((done, total)), **FAST)
    assert seen == [(done, 6) for done in range(1, 7)]


# --- groups -----------------------------------------------------------------------------------------


def plain_table(cases: int) -> pd.DataFrame:
    """Test cases of two models, each alone, with an attribute of two values."""
    parts = [rows(model, "test", cases, noise=noise) for model, noise in (("logreg", 0.9), ("cnn", 0.3))]
    device = np.arange(cases) % 2
    return pd.concat([part.drop(columns="group").assign(device=device) for part in parts], ignore_index=True)


def tripled(table: pd.DataFrame) -> pd.DataFrame:
    """Each row three times under one group."""
    copies = [table.assign(case=table["case"] + f"/{copy}", group=table["case"]) for copy in "abc"]
    return pd.concat(copies, ignore_index=True)


def test_the_lines_that_are_drawn_respect_groups_as_the_numbers_do() -> None:
    table = plain_table(120)
    drawn = []
    for one in (table, tripled(table)):
        evaluation = evaluate(one, draws=400)
        drawn.append(curves(check_predictions(one), evaluation).models["cnn"]["test"])
    once, thrice = drawn
    for name in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
        bands = [each.explorer.rates[name] for each in (once, thrice)]
        ratio = (bands[1].high - bands[1].low) / (bands[0].high - bands[0].low)
        assert np.nanmin(ratio) > 0.85, name
        assert bands[1].value == pytest.approx(bands[0].value, nan_ok=True)
    bars = [each.calibration.grouped for each in (once, thrice)]
    assert np.min((bars[1].high - bars[1].low) / (bars[0].high - bars[0].low)) > 0.85
    roc = [each.roc.band for each in (once, thrice)]
    assert np.mean(roc[1].high - roc[1].low) > 0.85 * np.mean(roc[0].high - roc[0].low)


def test_what_a_set_can_show_shrinks_to_its_groups() -> None:
    table = plain_table(160)
    once, thrice = (evaluate(one, draws=20).models["cnn"]["test"].adequacy for one in (table, tripled(table)))
    assert thrice.auc_half_width == pytest.approx(once.auc_half_width, rel=0.03)
    assert thrice.cases_for_auc_width_10 == pytest.approx(3 * once.cases_for_auc_width_10, rel=0.03)
    assert thrice.cases_for_observed_expected_width_20 > 2.9 * once.cases_for_observed_expected_width_20
    assert "worth 158 independent ones" in thrice.sentence


def test_few_groups_give_values_without_intervals_and_a_warning() -> None:
    table = plain_table(60)
    evaluation = evaluate(table.assign(group=np.tile(np.arange(60) % 4, 2).astype(str)), draws=20)
    assert any("4 groups, fewer than 10" in each for each in evaluation.warnings)
    assert evaluation.models["cnn"]["test"].measures["auc"].value > 0.5


def test_groups_across_splits_and_groups_that_are_no_patients_are_warned_of() -> None:
    across = evaluate(TABLE, **FAST).warnings
    assert any("20 groups have cases in more than one split" in each for each in across)
    table = plain_table(160)
    many = evaluate(table.assign(group=np.tile(np.arange(160) % 12, 2).astype(str)), draws=20).warnings
    assert any("160 cases belong to 12 groups, fewer than a tenth" in each for each in many)
    assert evaluate(table, draws=20).warnings == ()


# --- many models and many columns -------------------------------------------------------------------


def test_of_many_models_each_is_compared_with_the_primary_one() -> None:
    table = pd.concat([rows(f"m{number}", "test", 40, noise=0.1 * number) for number in range(14)])
    evaluation = evaluate(table, primary="m3", draws=20)
    pairs = {one.models for one in evaluation.comparisons}
    assert len(pairs) == 13
    assert all("m3" in pair for pair in pairs)
    assert any("Of 14 models each is compared with the primary one only" in note for note in evaluation.notes)
