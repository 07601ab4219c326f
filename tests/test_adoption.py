"""Adopting a run at one more site: what is updated, what that buys, how many cases, what is refused."""

import json
import math
import shutil
from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pytest
from finished_run import WORDS, read_rows, write_cohort, write_table
from PIL import Image

from clineval.cli.console import DONE, REFUSED
from clineval.cli.main import run_command
from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.evaluation import read_evaluation
from clineval.evaluation.adoption import (
    Adoption,
    LocalHeads,
    StandardisedRisks,
    adopt,
    applied,
    check_enough,
)
from clineval.evaluation.operating_points import aim, point_name
from clineval.evaluation.records import Primary
from clineval.files import from_plain, to_plain
from clineval.pipeline.predict import predict
from clineval.pipeline.serve import describe_run, open_run
from clineval.predictions import check_predictions, read_predictions
from clineval.reporting.adoption import (
    before_after,
    headline,
    ladder_table,
    local_cases_figure,
    sentences,
    unbroken,
    warning,
    write_adoption_figure,
    write_adoption_page,
)
from clineval.results import hash_folder
from clineval.settings import AdoptionSettings, EvaluationSettings, ValidationSettings
from clineval.statistics.intervals import Estimate, undefined
from clineval.statistics.sample_size import local_cases_needed
from clineval.statistics.thresholds import local_threshold, threshold_for_sensitivity
from clineval.statistics.updating import STEPS, EvaluatedHead, evaluate_updates

pytestmark = pytest.mark.usefixtures("unpainted")
PRIMARY = Primary("m", 0.5, "train_out_of_fold", "")
LOCAL = ValidationSettings("hospital-b", evaluation=EvaluationSettings(draws=100))


def table(cases: int, *, seed: int, shift: float = 0.0, split: str = "hospital-b") -> pd.DataFrame:
    """Risks that rank well and are ``shift`` log odds too high."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-0.8, 1.3, cases)
    outcome = rng.random(cases) < 1 / (1 + np.exp(-truth))
    risk = 1 / (1 + np.exp(-(truth + shift)))
    case = [f"{split}{row}" for row in range(cases)]
    return check_predictions(
        pd.DataFrame(
            {"model": "m", "split": split, "case": case, "outcome": outcome.astype(int), "risk": risk}
        )
    )


def adopted(frame: pd.DataFrame, **changes) -> Adoption:
    asked = {name: changes.pop(name) for name in ("assurance", "update") if name in changes}
    given = {
        "parent": "results",
        "development": table(400, seed=1, split="train_out_of_fold"),
        "primary": PRIMARY,
        "condition": "malignant",
        "settings": AdoptionSettings(LOCAL, repeats=3, **asked),
    } | changes
    return adopt(frame, **given)


@pytest.fixture(scope="module")
def shifted() -> tuple[pd.DataFrame, Adoption]:
    frame = table(300, seed=2, shift=-1.5)
    return frame, adopted(frame)


# The record ---------------------------------------------------------------------------------------------


def test_the_ladder_is_that_of_the_statistics(shifted):
    frame, found = shifted
    expected = evaluate_updates(frame["outcome"], frame["risk"], threshold=0.5, repeats=3, draws=100)
    assert [each.step for each in found.ladder] == list(STEPS)
    for one, other in zip(found.ladder, expected, strict=True):
        assert one.scores == other.scores


def test_the_sites_model_flags_at_the_local_threshold_on_recalibrated_risks(shifted):
    frame, found = shifted
    model = found.models["m"]
    half, point = model.points
    assert (half.name, half.threshold) == ("half", 0.5)
    assert (point.name, point.chosen_on) == ("sensitivity_90", "val")
    risk = applied(model, frame["risk"].to_numpy())
    assert model.taken in ("intercept", "intercept_slope")
    # Recalibration keeps the order: the flags are those of a threshold set on the frozen risks.
    own = threshold_for_sensitivity(frame["outcome"], frame["risk"], 0.9)
    assert ((risk >= point.threshold) == (frame["risk"] >= own)).all()
    assert risk.mean() == pytest.approx(frame["outcome"].mean(), abs=1e-9)


def test_risks_that_are_right_are_left_alone_by_closed_testing():
    found = adopted(table(300, seed=3))
    assert found.models["m"].recalibration is None
    assert found.closed_test.chosen == "nothing"


def test_an_update_that_cannot_be_fitted_leaves_the_risks_and_says_why():
    frame = table(300, seed=2)
    frame["risk"] = np.where(frame["outcome"], 0.8, 0.2)
    model = adopted(frame, update="intercept_slope").models["m"]
    assert model.recalibration is None
    assert model.reason


def test_without_labels_as_many_are_flagged_as_in_development(shifted):
    frame, found = shifted
    share = found.share_flagged
    development = table(400, seed=1, split="train_out_of_fold")
    assert share.share == (development["risk"] >= 0.5).mean()
    assert (frame["risk"] >= share.threshold).mean() == pytest.approx(share.share, abs=1 / 300)
    assert "the target may be missed, because prevalence" in " ".join(sentences(found))


def test_the_record_reads_back_from_json(shifted):
    content = json.loads(json.dumps(to_plain(shifted[1])))
    assert to_plain(from_plain(Adoption, content)) == content


def test_a_threshold_is_named_for_its_target():
    assert [point_name(each) for each in (0.9, 0.95, 0.975)] == [
        "sensitivity_90", "sensitivity_95", "sensitivity_97_5",
    ]  # fmt: skip


@pytest.mark.parametrize("target", [0.9, 0.925, 0.29, 1 / 1024, 0.999])
def test_the_aim_is_read_from_the_name(target):
    assert aim(point_name(target)) == target


@pytest.mark.parametrize(
    "name", ["half", "given", "sensitivity_", "sensitivity_9x", "guaranteed_specificity_90"]
)
def test_other_thresholds_have_no_aim(name):
    assert aim(name) is None


# Features standardised by the local images ----------------------------------------------------------------


@pytest.mark.slow
def test_standardisation_is_reported_only_where_it_changes_the_primary_model():
    """The mean of a and b, of which b is standardised; the primary model may be it, a part or neither."""
    frame = pd.concat([table(200, seed=2).assign(model=model) for model in ("a", "b", "both")])
    frame = check_predictions(frame)
    risks = {model: rows["risk"].to_numpy() for model, rows in frame.groupby("model")}
    risks |= {"b": risks["b"] ** 2, "both": risks["both"] ** 1.5}
    given = {
        "standardised": StandardisedRisks(("b", "c"), risks),
        "heads": LocalHeads(parts={"both": ("a", "b")}),
    }
    found = {model: adopted(frame, primary=replace(PRIMARY, model=model), **given) for model in risks}
    assert found["a"].standardised is None
    assert "standardised" not in " ".join(sentences(found["a"]))
    assert [found[model].standardised.models for model in ("b", "both")] == [("b",), ("b",)]
    assert "the features of b standardised by the local images, both has" in " ".join(
        sentences(found["both"])
    )


@pytest.mark.slow
def test_assurance_sets_the_threshold_lower_and_reaches_the_target_more_often(shifted):
    frame, plain = shifted
    sure = adopted(frame, assurance=0.9)
    assert sure.models["m"].points[1].threshold < plain.models["m"].points[1].threshold
    rates = [each.ladder[1].scores.sensitivity.value for each in (plain, sure)]
    assert rates[0] < rates[1]
    curve = local_cases_needed(frame["outcome"], frame["risk"], assurance=0.9, tolerance=0.05, draws=100)
    assert sure.curves[1].sensitivity.tolist() == curve.sensitivity.tolist()


def test_a_sure_local_threshold_is_the_order_statistic_by_hand():
    """Of 29 events none may be missed for .90 with a probability of .95; for .5 the 19th from the top."""
    risk = np.arange(1, 30) / 30
    outcome = np.ones(29, dtype=bool)
    assert local_threshold(outcome, risk, target=0.9, assurance=0.95) == risk[0]
    chance = [sum(math.comb(29, j) * 0.5**29 for j in range(k)) for k in range(30)]
    k = next(k for k in range(15, 30) if chance[k] >= 0.95)
    assert local_threshold(outcome, risk, target=0.5, assurance=0.95) == risk[29 - k]


# What is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("events", "others", "words"), [(9, 50, "got 9: label 1 more"), (50, 3, "got 3")])
def test_fewer_cases_than_can_set_a_threshold_are_refused_with_the_number_needed(events, others, words):
    outcome = np.arange(events + others) < events
    with pytest.raises(InputError, match=f"at least 10 local cases .* {words}"):
        check_enough(outcome, None, target=0.9, folds=5, condition="malignant")


def test_patients_count_once():
    outcome, group = np.arange(60) < 30, np.arange(60) // 5
    with pytest.raises(InputError, match="at least 10 local patients with cases that are malignant; got 6"):
        check_enough(outcome, group, target=0.9, folds=5, condition="malignant")


# Words and figure -----------------------------------------------------------------------------------------


def test_the_page_says_what_each_step_buys(shifted):
    found = shifted[1]
    said = " ".join(headline(found))
    rates = found.ladder[1].scores
    assert f": m finds {100 * rates.sensitivity.value:.0f}% (" in said
    assert f", at {100 * (1 - rates.specificity.value):.0f} false alarms per 100 others." in said
    rows = [row[0] for row in ladder_table(found).rows]
    assert rows[:2] == ["nothing, old threshold 0.500", "threshold only"]
    assert all(row.endswith("old threshold 0.500 (not what is installed)") for row in rows[2:])


def test_the_recommendation_and_the_new_threshold_are_said_once_each(shifted):
    frame, found = shifted
    first, second = next(sentences(found)), headline(found)[1]
    threshold = found.models["m"].points[-1].threshold
    assert first == (
        f"New threshold of m at hospital-b: {threshold:.3f}, on the updated risks (before: 0.500), for a "
        "sensitivity of 90%."
    )
    assert str(int(frame["outcome"].sum())) in second
    left = next(sentences(adopted(frame, update="nothing")))
    assert "updated risks" not in left


@pytest.mark.parametrize(
    ("plain", "sure", "assurance", "said"),
    [
        (50, 20, None, "enough to keep 85% or more in nine of ten adoptions. Check the threshold"),
        (200, 20, None, "may fall lower; --assurance 0.9 would have found about 94%, at 57 false alarms per"),
        (200, 20, 0.9, "enough to keep 85% or more"),
        (math.nan, 200, None, "may fall lower. Collect more labelled cases before use."),
        (10, 200, 0.9, "may fall lower; 200 are needed. Collect more labelled cases before use."),
    ],
)
def test_the_recommendation_follows_from_the_number_of_local_cases(shifted, plain, sure, assurance, said):
    found = shifted[1]
    numbers = len(found.curves[0].events)
    rates = {"sensitivity": np.full(numbers, 0.937), "specificity": np.full(numbers, 0.434)}
    curves = [replace(each, needed=n, **rates) for each, n in zip(found.curves, (plain, sure), strict=True)]
    second = headline(replace(found, curves=tuple(curves), assurance=assurance))[1]
    assert said in second
    assert ("so few" in second) == ("may fall lower" in said)


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(0.96, 0.91, 0.99), "Yes: m finds 96% (91% to 99%) of malignant cases, target 90%, at"),
        (
            Estimate(0.87, 0.82, 0.93),
            "Nearly: m finds 87% (82% to 93%) of malignant cases instead of 90%",
        ),
        (Estimate(0.91, 0.85, 0.95), "Probably: m finds 91% (85% to 95%) of malignant cases, target 90%, at"),
        (Estimate(0.96, 0.89, 0.99), "Probably: m finds 96% (89% to 99%) of malignant cases, target 90%, at"),
        (Estimate(0.88, 0.67, 1.0), "Uncertain: m finds 88% (67% to 100%) of malignant cases instead of 90%"),
        (Estimate(0.88, math.nan, math.nan), "Uncertain: m finds 88% of malignant cases instead of 90%"),
        (Estimate(0.8, 0.6, 0.95), "Uncertain: m finds 80% (60% to 95%) of malignant cases instead of 90%"),
        (Estimate(0.8, 0.7, 0.88), "No: m finds 80% (70% to 88%) of malignant cases instead of 90%"),
        (
            undefined("5 of 100 fits failed"),
            "a sensitivity of 90% at hospital-b is not known: 5 of",
        ),
    ],
)
def test_the_headline_says_no_more_of_the_target_than_the_interval_does(shifted, estimate, said):
    found = shifted[1]
    step = found.ladder[1]
    changed = replace(step, scores=replace(step.scores, sensitivity=estimate))
    assert said in headline(replace(found, ladder=(found.ladder[0], changed, *found.ladder[2:])))[0]


def test_a_target_in_half_per_cents_is_said_as_it_was_asked_for(shifted):
    found = replace(shifted[1], target=0.925)
    assert "92.5%" in headline(found)[0]
    assert "for a sensitivity of 92.5%" in next(sentences(found))


def test_the_headline_is_of_the_model_that_was_written(shifted):
    """With a last layer refitted, what flags is that model and not the frozen one at a local threshold."""
    found = shifted[1]
    heads = tuple(
        EvaluatedHead(
            step, found.ladder[1].scores.brier, found.ladder[1].scores.brier,
            replace(found.ladder[1].scores, sensitivity=Estimate(value, 0.85, 0.95)),
            found.ladder[1].change, (),
        )
        for step, value in (("threshold", 0.88), ("head", 0.91), ("head_shrunken", 0.92))
    )  # fmt: skip
    refitted = replace(found, update="head", heads={"m": heads})
    assert ": m, its last layer refitted, finds 91% (85% to 95%)" in headline(refitted)[0]
    assert before_after(refitted).rows[1][2].text == "91.0%"
    assert "finds 91%" not in headline(replace(found, heads={"m": heads}))[0]


def test_local_images_that_were_trained_on_are_said_on_page_and_first_screen(shifted, tmp_path):
    assert warning(shifted[1]) == ""
    found = replace(shifted[1], seen_in_training=3)
    assert warning(found).startswith("3 of 300 local images show the same picture as a training image")
    page = write_adoption_page(found, tmp_path).read_text()
    assert warning(found) in page.split("<table>")[0]


def test_the_page_opens_with_the_answer_a_small_table_and_the_figure(shifted, tmp_path):
    found = shifted[1]
    write_adoption_figure(found, tmp_path)
    page = unescape(write_adoption_page(found, tmp_path).read_text())
    opening, rest = page.split('<h2 id="detail-h">')
    for sentence in headline(found):
        assert unescape(str(unbroken(sentence))) in opening
    assert unbroken("a <b> --assurance 0.9, at") == "a &lt;b&gt; <code>--assurance 0.9</code>, at"
    assert [row[0] for row in before_after(found).rows] == ["m, as it was", "m, adopted"]
    assert '<div class="compact">' in opening
    assert opening.count("<table>") == opening.count("<figure") == 1
    assert "<li>" not in opening
    for sentence in sentences(found):
        assert sentence in rest


def test_the_figure_draws_both_curves_and_the_number_that_is_enough(shifted):
    found = shifted[1]
    upper, lower = local_cases_figure(found, notice="SYNTHETIC: x").axes
    drawn = [list(line.get_ydata()) for line in upper.lines]
    for curve in found.curves:
        assert curve.sensitivity.tolist() in drawn
        assert curve.worst_tenth.tolist() in drawn
        assert curve.specificity.tolist() in [list(line.get_ydata()) for line in lower.lines]


# The command ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("local") / "cohort", patients=60)


def words(run, cohort, out, *further, table="cohort.csv"):
    place = ["--name", "hospital-b", "--image-folder", str(cohort / "images"), "--out", str(out)]
    return ["adopt", str(run), str(cohort / table), *WORDS, *place, *further]


@pytest.fixture(scope="module")
def site(finished_run, cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("adopted") / "site"
    before = hash_folder(finished_run)
    assert run_command(words(finished_run, cohort, out, "--quiet")) == DONE
    assert hash_folder(finished_run) == before
    return out


@pytest.mark.slow
def test_the_command_writes_a_run_of_the_site_with_its_parents_hashes(site, finished_run):
    found = from_plain(Adoption, json.loads((site / "adoption.json").read_text()))
    record = json.loads((site / "provenance.json").read_text())
    assert found.standardised.models == ("scattering",)  # the part of the primary model
    assert 0 < found.standardised.auc.value < 1
    assert record["kind"] == "adopt"
    assert record["data"]["parent"]["run"] == finished_run.name
    assert len(record["data"]["parent"]["parent_models_sha256"]) == 64
    kept = {name for name in hash_folder(finished_run / "models") if name != "models.json"}
    assert all(
        hash_folder(site / "models")[name] == hash_folder(finished_run / "models")[name] for name in kept
    )
    evaluation = read_evaluation(site / "evaluation.json")
    assert evaluation.primary.threshold == found.models[found.model].points[-1].threshold
    assert list(evaluation.models[found.model]) == ["val"]
    assert not evaluation.models[found.model]["val"].operating_points
    opened = [json.loads(line) for line in (site / "ledger.jsonl").read_text().splitlines()]
    assert [entry["population"] for entry in opened] == ["hospital-b"]
    for name in ("adoption.html", "adoption.csv", "local_cases.csv", "local_cases.png"):
        assert (site / name).is_file()
    assert run_command(["verify", str(site)]) == DONE


@pytest.mark.slow
def test_serve_tells_what_the_local_threshold_did_in_cross_fitting(site):
    pytest.importorskip("fastapi", reason="FastAPI is not installed (the extra 'serve')")
    record = json.loads((site / "adoption.json").read_text())
    step = next(each for each in record["ladder"] if each["step"] == "threshold")
    served = open_run(site)
    told = describe_run(served)["adoption"]
    for name in ("sensitivity", "specificity"):
        assert told[name] == [step["scores"][name][each] for each in ("value", "low", "high")]
    assert told["site"] == "hospital-b"
    assert told["rule"] == record["models"][record["model"]]["points"][-1]["rule"]
    assert served.adoption_page == (site / "adoption.html").read_bytes()


@pytest.mark.slow
def test_predict_gives_the_sites_risks_and_flags(site, cohort):
    written = read_predictions(site / "predictions.csv").set_index(["model", "case"])["risk"]
    found = predict(site, [cohort / "images" / "im000.png", cohort / "images" / "im007.png"])
    for image in found:
        for model, risk in image.risk.items():
            assert risk == pytest.approx(written[model, image.image.removesuffix(".png")], abs=1e-9)
    thresholds = {point.name: point.threshold for point in found.thresholds["combined"]}
    assert set(thresholds) == {"half", "sensitivity_90"}


@pytest.mark.slow
def test_validate_scores_the_site_at_its_own_threshold(site, cohort, tmp_path, undrawn):
    place = ["--name", "later", "--image-folder", str(cohort / "images"), "--out", str(tmp_path / "out")]
    assert run_command(["validate", str(site), str(cohort / "cohort.csv"), *WORDS, *place, "--quiet"]) == DONE
    later = read_evaluation(tmp_path / "out" / "evaluation.json")
    own = read_evaluation(site / "evaluation.json").primary
    scored = later.models[own.model]["later"].point("sensitivity_90")
    assert scored.threshold == own.threshold
    assert scored.sensitivity.value >= 0.9


@pytest.mark.slow
def test_the_same_command_writes_the_same_numbers(site, finished_run, cohort, tmp_path):
    assert run_command(words(finished_run, cohort, tmp_path / "again", "--quiet")) == DONE
    for name in ("adoption.json", "evaluation.json", "models/models.json", "local_cases.png"):
        assert (tmp_path / "again" / name).read_bytes() == (site / name).read_bytes()


def refused(command, capsys, out) -> str:
    assert run_command(command) == REFUSED
    assert not out.exists()
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("further", "said"),
    [
        (["--jobs", "0"], "--jobs needs a number of at least 1"),
        (["--seed", "99999999999999999999"], "--seed needs a number from 0 to 2,147,483,647"),
        (("--update", "refit"), "--update needs one of nothing, intercept"),
        (("--target", "90"), "--target needs a number between 0 and 1"),
        (("--assurance", "1"), "--assurance needs a number between 0 and 1"),
        (("--target", "0.99"), "at least 100 local patients with cases that are malignant"),
    ],
)
def test_wrong_options_are_refused(finished_run, cohort, tmp_path, capsys, further, said):
    assert said in refused(words(finished_run, cohort, tmp_path / "o", *further), capsys, tmp_path / "o")


@pytest.mark.slow
def test_labels_of_one_class_are_refused(finished_run, cohort, tmp_path, capsys):
    rows = [row for row in read_rows(cohort / "cohort.csv") if row[2] == "malignant"]
    write_table(cohort / "one.csv", rows)
    command = words(finished_run, cohort, tmp_path / "o", table="one.csv")
    assert "expected both classes" in refused(command, capsys, tmp_path / "o")


@pytest.mark.slow
def test_a_parent_that_was_changed_is_refused(finished_run, cohort, tmp_path, capsys):
    copy = shutil.copytree(finished_run, tmp_path / "copy")
    path = copy / "models" / "models.json"
    path.write_text(path.read_text() + " ")
    said = refused(words(copy, cohort, tmp_path / "o"), capsys, tmp_path / "o")
    assert "models/models.json in" in said
    assert "is not the file that the run wrote" in said


@pytest.mark.slow
@pytest.mark.parametrize("command", ["adopt", "validate"])
def test_a_parent_whose_predictions_were_changed_is_refused(finished_run, cohort, tmp_path, capsys, command):
    copy = shutil.copytree(finished_run, tmp_path / "copy")
    path = copy / "predictions.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].rpartition(",")[0] + ",0.5"
    path.write_text("\n".join(lines) + "\n")
    given = [command, *words(copy, cohort, tmp_path / "o")[1:]]
    assert "predictions.csv in" in refused(given, capsys, tmp_path / "o")


@pytest.mark.slow
def test_a_refitted_head_is_what_predict_applies(finished_run, cohort, tmp_path):
    out = tmp_path / "head"
    assert run_command(words(finished_run, cohort, out, "--update", "head_shrunken", "--quiet")) == DONE
    found = from_plain(Adoption, json.loads((out / "adoption.json").read_text()))
    assert [name for name, model in found.models.items() if model.taken == "head_shrunken"] == ["logreg"]
    assert [each.step for each in found.heads["logreg"]] == ["threshold", "head", "head_shrunken"]
    written = read_predictions(out / "predictions.csv")
    own = written[written["model"] == "logreg"].set_index("case")  # out of fold
    names = [cohort / "images" / f"{case}.png" for case in own.index]
    applied_here = np.array([each.risk["logreg"] for each in predict(out, names)])
    frozen = read_predictions(out / "local_predictions.csv")
    before = frozen[frozen["model"] == "logreg"].set_index("case")["risk"][own.index].to_numpy()
    outcome = own["outcome"].to_numpy(bool)
    fitted, parent = (-np.log(np.where(outcome, risk, 1 - risk)).mean() for risk in (applied_here, before))
    assert fitted < parent  # it was fitted on these cases
    assert np.corrcoef(applied_here, own["risk"])[0, 1] > 0.7
    record = json.loads((out / "models" / "logreg.json").read_text())
    assert record["head"]["penalty"] == found.models["logreg"].penalty
    assert run_command(["verify", str(out)]) == DONE


@pytest.mark.slow
def test_the_page_of_an_adoption_is_written_again_to_the_same_bytes(site, tmp_path, capsys):
    copy = shutil.copytree(site, tmp_path / "copy")
    assert run_command(["report", str(copy)]) == DONE
    assert (copy / "adoption.html").read_bytes() == (site / "adoption.html").read_bytes()
    assert not (copy / "report.html").exists()
    assert run_command(["verify", str(copy)]) == DONE
    path = copy / "adoption.json"
    path.write_text(path.read_text().replace('"repeats": 20', '"repeats": 21'))
    assert run_command(["report", str(copy)]) == REFUSED
    assert "is not the file that clineval adopt wrote" in capsys.readouterr().err


@pytest.mark.slow
def test_a_site_is_not_adopted_again(site, cohort, tmp_path, capsys):
    said = refused(words(site, cohort, tmp_path / "o"), capsys, tmp_path / "o")
    assert "was adopted already, for 'hospital-b'; name the run it was adopted from, 'run'" in said


@pytest.mark.slow
def test_adopting_on_training_images_is_warned_of(finished_run, tmp_path, capsys):
    """The run's own training images as files: phantoms of the same seed."""
    drawn = phantom(seed=1, cases=(150, 60, 90))
    train = np.flatnonzero(drawn.within("train"))
    (tmp_path / "images").mkdir()
    rows = []
    for row in train:
        Image.fromarray(drawn.images[row]).save(tmp_path / "images" / f"{row}.png")
        rows.append((row, row, "malignant" if drawn.outcome[row] else "benign", "a", "left"))
    marked = np.tile(np.linspace(10, 200, 256).astype(np.uint8), (256, 1)).T
    marked[100:112, [place + step for place in range(20, 230, 8) for step in (0, 1)]] = 250  # like letters
    Image.fromarray(marked).save(tmp_path / "images" / "marked.png")
    write_table(tmp_path / "cohort.csv", [*rows, ("marked", "marked", "benign", "a", "left")])
    assert run_command(words(finished_run, tmp_path, tmp_path / "o")) == DONE
    found = from_plain(Adoption, json.loads((tmp_path / "o" / "adoption.json").read_text()))
    assert found.seen_in_training == len(train)
    said = " ".join(capsys.readouterr().err.split())
    assert "Warning: 150 of 151 local images show the same picture" in said
    assert "Warning for 1 of 151 images: text or measuring marks burnt in." in said
    assert "seen in training" not in said  # said once, in the words above
