"""Quantities that should not matter: what pictures show, how it ranks, what of a risk it explains."""

import json

import numpy as np
import pytest
from finished_run import WORDS, write_cohort
from PIL import Image
from scipy.special import expit

from clineval.cli.console import DONE
from clineval.cli.main import run_command
from clineval.data.findings import QUANTITIES, file_quantities, picture_quantities
from clineval.predictions import read_predictions
from clineval.statistics.auc import auc_logit, compare_auc
from clineval.statistics.probes import probe


def picture(grey: np.ndarray) -> dict[str, float]:
    return dict(zip(QUANTITIES, picture_quantities(Image.fromarray(grey.astype(np.uint8))), strict=True))


def test_the_quantities_of_a_picture_by_hand():
    grey = np.full((100, 200), 50)
    grey[5:-5, 5:-5] = 150
    found = picture(grey)
    assert found["border brightness"] == 50
    assert found["mean grey"] == pytest.approx((150 * 90 * 190 + 50 * (20_000 - 90 * 190)) / 20_000)
    assert found["size"] == pytest.approx(np.log(20_000))
    assert found["aspect"] == pytest.approx(np.log(2))
    assert found["text or measuring marks"] == 0


def test_a_blurred_picture_has_less_focus_and_its_size_does_not_matter():
    noise = np.random.default_rng(0).integers(0, 255, (256, 256))
    sharp = Image.fromarray(noise.astype(np.uint8))
    soft = sharp.resize((64, 64), Image.Resampling.BOX).resize((256, 256), Image.Resampling.BICUBIC)
    place = QUANTITIES.index("focus")
    assert picture_quantities(soft)[place] < picture_quantities(sharp)[place] - 1
    larger = soft.resize((512, 512), Image.Resampling.BICUBIC)
    assert picture_quantities(larger)[place] == pytest.approx(picture_quantities(soft)[place], abs=0.3)


def test_files_are_measured_in_their_order(tmp_path):
    for name, grey in (("a", 10), ("b", 200)):
        Image.new("L", (40, 30), grey).save(tmp_path / f"{name}.png")
    found = file_quantities([tmp_path / "a.png", tmp_path / "b.png"])
    assert found["mean grey"].tolist() == [10, 200]
    assert list(found) == list(QUANTITIES)


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
def test_probes_of_a_run_are_those_of_its_primary_model_on_development_and_test(tmp_path):
    folder, out = write_cohort(tmp_path / "cohort", patients=90), tmp_path / "out"
    given = ["--cohort", str(folder / "cohort.csv"), "--image-folder", str(folder / "images"), *WORDS]
    assert (
        run_command(["run", *given, "--models", "logreg", "--probes", "--out", str(out), "--quiet"]) == DONE
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
