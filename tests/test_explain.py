"""Maps of a finished run: that they are those of its models, that the checks tell good from bad, refusals."""

import html
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from clineval.cli import main
from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.evaluation import read_evaluation
from clineval.models.classifier import risk_of
from clineval.models.preprocessing import View
from clineval.pipeline import explain
from clineval.pipeline.explain import check_test_maps, explainer, move, occlude, rank_correlation
from clineval.pipeline.predict import predict
from clineval.pipeline.stored_run import final_risks, read_run, score_images
from clineval.predictions import read_predictions
from clineval.reporting import maps
from clineval.reporting.artefacts import CheckedMaps, read_artefacts, read_maps, write_gallery
from clineval.reporting.maps import STEP, checked, draw_explanation
from clineval.reporting.report import write_report
from clineval.reporting.style import new_figure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(finished_run):
    return read_run(finished_run)


@pytest.fixture(scope="module")
def square():
    return phantom(seed=9, cases=(60, 20, 30)).images[4]


@pytest.fixture(scope="module")
def explained(run, square):
    return {name: explainer(run, name).explain(square, image=name, stride=4) for name in run.names}


def ended(capsys, *words):
    code = main.run_command(list(map(str, words)))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


# Maps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matching", [True, False])
def test_a_map_is_the_loss_of_final_risk_patch_by_patch_of_every_model(run, square, matching):
    whole, *hidden = (
        final_risks(run, [score_images(run, images, matching=matching).risks])
        for images in (square[None], occlude(square, patch=5, stride=7))
    )
    for name in run.names:
        found = explainer(run, name, matching=matching).explain(square, stride=7)
        assert found.risk == whole[name][0]
        np.testing.assert_array_equal(found.map.ravel(), whole[name][0] - hidden[0][name])


def test_small_images_are_mapped_pixel_by_pixel_and_large_ones_by_fourteenths(run, square):
    assert explainer(run, "logreg").explain(square).map.shape == (28, 28)
    assert [explain.stride_for(side) for side in (28, 64, 128, 224)] == [1, 5, 10, 16]
    assert [explain.patch_for(side) for side in (28, 64, 128, 224)] == [5, 11, 23, 40]


def test_the_members_of_an_ensemble_average_to_the_map_of_the_whole(run, square):
    ready = explainer(run, "cnn", matching=False)
    hidden = occlude(square, patch=5, stride=7)
    members, whole = ready.risks([(ready._members, hidden), ([ready._as_trained], hidden)])
    np.testing.assert_allclose(members.mean(axis=-1), whole[:, 0], atol=1e-11)  # risks have 12 decimals


def test_seeds_are_compared_where_there_is_an_ensemble_only(explained):
    assert -1 <= explained["cnn"].check.seeds <= 1
    assert -1 <= explained["combined"].check.seeds <= 1
    assert np.isnan(explained["scattering"].check.seeds)


def test_the_same_image_has_the_same_map_and_check(run, square, explained):
    again = explainer(run, "combined").explain(square, image="combined", stride=4)
    assert again.to_json() == explained["combined"].to_json()


def test_a_map_without_the_wanted_agreement_or_stability_is_not_to_be_read():
    good = explain.MapCheck(agreement=0.1, stability=0.95, seeds=0.5)
    assert good.passed
    for bad, why in (
        (explain.MapCheck(0.3, 0.95, 0.5), "random weights"),
        (explain.MapCheck(0.1, 0.79, 0.5), "moves by one pixel"),
        (explain.MapCheck(float("nan"), 0.95, 0.5), "cannot be compared"),
        (explain.MapCheck(0.1, float("nan"), 0.5), "moves by one pixel"),
    ):
        assert not bad.passed
        assert why in bad.reason


def test_a_model_that_is_its_own_randomised_version_fails_the_check(run, square, monkeypatch):
    ready = explainer(run, "cnn")
    monkeypatch.setattr(explain, "_shuffled", lambda models, seed: ready._as_trained)
    check = explainer(run, "cnn").check(square)
    assert check.agreement == pytest.approx(1)
    assert not check.passed


def test_a_constant_model_has_a_map_of_zeros_that_is_not_to_be_read(run, square, monkeypatch):
    monkeypatch.setattr(
        explain, "final_risks", lambda run, views: {"logreg": np.full(len(views[0]["logreg"]), 0.2)}
    )
    found = explainer(run, "logreg").explain(square)
    assert not found.map.any()
    assert not found.check.passed


def test_the_layers_of_a_network_are_randomised_from_the_top(run, square):
    steps = explainer(run, "cnn").down_the_layers(square)
    assert list(steps) == ["head", "blocks.2", "blocks.1", "blocks.0", "stem"]
    assert all(-1 <= value <= 1 for value in steps.values())
    assert list(explainer(run, "combined").down_the_layers(square)) == list(steps)
    assert list(explainer(run, "scattering").down_the_layers(square)) == ["dual coefficients"]


def test_the_share_on_burnt_in_marks_is_told_where_there_are_any(run, square):
    marked = np.full_like(square, 20)
    marked[5:12, 10] = marked[5:12, 16] = 250
    found = explainer(run, "logreg").explain(marked)
    rows, columns = np.nonzero(explain.stroke_pixels(marked))
    assert set(columns) == {10, 16}
    share = np.abs(found.map[rows, columns]).sum() / np.abs(found.map).sum()
    assert found.check.marks == pytest.approx(share)
    assert found.check.marks_area == pytest.approx(len(rows) / 784)
    assert np.isnan(explainer(run, "logreg").explain(np.full_like(square, 20)).check.marks)


# Rank correlation and moves ---------------------------------------------------------------------------


def test_rank_correlation_by_hand():
    one = np.array([[1.0, 2.0], [3.0, 4.0]])
    other = np.array([[1.0, 3.0], [2.0, 4.0]])
    assert rank_correlation(one, other) == pytest.approx(1 - 6 * 2 / (4 * 15))  # 1 - 6 sum d^2 / n (n^2 - 1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert np.isnan(rank_correlation(one, np.zeros((2, 2))))


def test_rank_correlation_is_that_of_scipy_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.integers(0, 6, (2, 7, 7)).astype(float)
        assert rank_correlation(one, other) == pytest.approx(
            spearmanr(one.ravel(), other.ravel())[0], abs=1e-12
        )


def test_an_image_is_moved_with_its_edges_repeated():
    image = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert move(image, (1, 1)).tolist() == [[0, 0, 1], [0, 0, 1], [3, 3, 4]]


# Of a run's test images -------------------------------------------------------------------------------


def test_a_run_checks_test_images_and_keeps_the_maps_of_missed_cases(run):
    cohort = phantom(seed=1, cases=(150, 60, 90))
    test = [str(case) for case in cohort.case[cohort.within("test")]]
    maps = check_test_maps(run, cohort, missed=test[:2])
    assert (maps.model, maps.cases, len(maps.checks)) == (run.primary[0], 90, explain.SAMPLE)
    assert list(maps.missed) == test[:2]
    assert "8 of 90 test images" in maps.sentence
    found, check = maps.missed[test[0]]
    alone = explainer(run, matching=False).explain(cohort.images[cohort.within("test")][0], stride=2)
    np.testing.assert_array_equal(found, alone.map)
    assert check == alone.check


def test_a_run_records_its_maps_and_the_report_shows_those_of_missed_cases(finished_run, tmp_path):
    folder = shutil.copytree(finished_run, tmp_path / "run")
    cohort = phantom(seed=1, cases=(150, 60, 90))
    evaluation, table = (
        read_evaluation(folder / "evaluation.json"),
        read_predictions(folder / "predictions.csv"),
    )
    maps = explain.write_test_maps(folder, cohort, table=table, evaluation=evaluation)
    assert maps.missed
    write_gallery(folder, cohort=cohort, table=table, evaluation=evaluation)
    artefacts = read_artefacts(folder)
    again = read_maps(artefacts.maps)
    assert again.to_json() == maps.to_json()
    page = write_report(folder, artefacts).read_text(encoding="utf-8")
    assert html.escape(maps.sentence) in page
    for case, (_, check) in maps.missed.items():
        assert f"Map over image {case}" in page
        assert check.passed or html.escape(check.reason, quote=False) in page


def test_a_run_without_a_stored_model_has_no_maps(finished_run, tmp_path):
    folder = shutil.copytree(finished_run, tmp_path / "run")
    for name in ("logreg", "cnn", "scattering"):
        (folder / "models" / f"{name}.json").unlink()
    evaluation, table = (
        read_evaluation(folder / "evaluation.json"),
        read_predictions(folder / "predictions.csv"),
    )
    assert explain.write_test_maps(folder, phantom(seed=1), table=table, evaluation=evaluation) is None
    assert not (folder / "maps.json").exists()


@pytest.mark.parametrize(
    ("agreement", "stability", "said"),
    [
        (0.1, 0.7966, r"(rank correlation 0.797, must be at least 0.8)"),
        (0.1, 0.5, r"(rank correlation 0.50, must be at least 0.8)"),
        (0.3001, 0.9, r"(0.3001; limit 0.3)"),
        (0.3, 0.9, r"(0.30; limit 0.3)"),
    ],
)
def test_a_number_that_fails_never_looks_like_its_limit(agreement, stability, said):
    assert said in explain.MapCheck(agreement, stability, float("nan")).reason


@pytest.mark.parametrize(
    ("agreement", "stability", "said"),
    [(0.1, 0.9, "depend on the model"), (0.4, 0.9, "fail this check"), (0.1, 0.5, "fail this check")],
)
def test_the_sentence_says_whether_the_maps_passed(agreement, stability, said):
    check = explain.MapCheck(agreement, stability, float("nan"))
    maps = CheckedMaps("logreg", 90, (check, check), {})
    assert said in maps.sentence
    assert f"{agreement:.2f}" in maps.sentence
    assert f"{'0' if maps.passed else '2'} of these 2 maps fail" in maps.sentence
    assert "members" not in maps.sentence


# The picture ------------------------------------------------------------------------------------------


def drawn(found):
    _, (ax,) = new_figure()
    draw_explanation(found, ax)
    return ax


def test_the_picture_has_scales_in_percentage_points_and_lines_beside_the_colours(run, square):
    found = explainer(run, "logreg").explain(square, stride=4)
    ramp = np.linspace(-0.2, 0.3, found.map.size).reshape(found.map.shape)
    passed = replace(found.check, agreement=0.1, stability=0.9)
    ax = drawn(replace(found, map=ramp, randomised=ramp / 2, check=passed))
    words = [text.get_text() for text in ax.texts]
    assert {"+30.0", "−30.0", "▲ +30.0", "▼ −20.0", "+15.0", "−15.0", "▲ +15.0"} <= set(words)
    dashed = [dashes for each in ax.collections for _, dashes in each.get_linestyle()]
    assert None in dashed  # solid: raises the risk
    assert any(dashed)
    assert "Its map" in words


def test_a_map_weak_beside_that_of_random_weights_has_colours_as_strong(run, square):
    found = explainer(run, "logreg").explain(square, stride=4)
    ramp = np.linspace(-0.2, 0.3, found.map.size).reshape(found.map.shape)
    passed = replace(found.check, agreement=0.1, stability=0.9)
    ax = drawn(replace(found, map=ramp / 20, randomised=ramp, check=passed))
    arrays = [np.asarray(image.get_array()) for image in ax.images]
    own, other = (each for each in arrays if each.shape == (*ramp.shape, 4))
    np.testing.assert_allclose(own, other, rtol=0, atol=1e-12)
    assert {"+1.5", "−1.5", "+30.0", "−30.0"} <= {text.get_text() for text in ax.texts}


def test_a_map_that_failed_is_drawn_without_colour(run, square):
    found = explainer(run, "logreg").explain(square)
    failed = replace(found, check=replace(found.check, agreement=0.9))
    ax = drawn(failed)
    assert "Its map: failed its check" in [text.get_text() for text in ax.texts]
    (overlay,) = (
        image
        for image in ax.images
        if image.get_array().shape == (28, 28, 4) and image.get_extent()[0] == STEP
    )
    red, green, blue, _ = np.moveaxis(overlay.get_array(), -1, 0)
    assert (red == green).all()
    assert (green == blue).all()
    assert "NOT TO BE READ" in checked(failed.check)


def test_a_map_that_failed_has_no_numbers_and_no_contours_and_its_control_is_muted_too(run, square):
    found = explainer(run, "logreg").explain(square)
    ax = drawn(replace(found, check=replace(found.check, agreement=0.9)))
    maps = [np.asarray(image.get_array()) for image in ax.images if image.get_array().shape[-1] == 4]
    assert len(maps) == 2
    assert all((each[..., 0] == each[..., 2]).all() for each in maps)
    assert not ax.collections
    assert not [text.get_text() for text in ax.texts if any(map(str.isdigit, text.get_text()))]


# The command ------------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path, square):
    path = tmp_path / "lesion.png"
    Image.fromarray(square).save(path)
    return path


def test_the_command_writes_a_picture_and_a_record_of_each_image(capsys, finished_run, picture, tmp_path):
    out = tmp_path / "deep" / "maps"
    code, shown, _ = ended(capsys, "explain", finished_run, picture, "--out", out, "--model", "logreg")
    assert code == 0
    assert "lesion.png: risk" in shown
    assert sorted(path.name for path in out.iterdir()) == ["lesion_map.json", "lesion_map.png"]
    record = json.loads((out / "lesion_map.json").read_text())
    assert np.array(record["map"]).shape == np.array(record["randomised"]).shape == (28, 28)
    assert record["model"] == "logreg"
    assert set(record["check"]) >= {"agreement", "stability", "seeds", "passed", "reason"}
    with Image.open(out / "lesion_map.png") as drawn:
        assert min(drawn.size) > 600


def test_the_record_has_the_risk_of_the_mapped_square(capsys, finished_run, picture, tmp_path, square):
    ended(capsys, "explain", finished_run, picture, "--out", tmp_path / "maps", "--no-matching")
    record = json.loads((tmp_path / "maps" / "lesion_map.json").read_text())
    run = read_run(finished_run)
    risks = final_risks(run, [score_images(run, square[None], matching=False).risks])
    assert record["risk"] == risks[record["model"]][0]


def test_the_risk_of_predict_stands_beside_that_of_the_square_where_they_differ(
    capsys, finished_run, tmp_path
):
    upright = np.random.default_rng(3).integers(0, 256, (60, 40), np.uint8)
    upright[:20] //= 8  # the upper square differs from the middle one
    path = tmp_path / "upright.png"
    Image.fromarray(upright).save(path)
    (told,), (alone,) = predict(finished_run, [path]), predict(finished_run, [path], second_view=False)
    both, own = told.risk["logreg"], alone.risk["logreg"]
    assert f"{both:.3f}" != f"{own:.3f}"
    out = tmp_path / "maps"
    code, shown, _ = ended(capsys, "explain", finished_run, path, "--out", out, "--model", "logreg")
    assert code == 0
    words = f"{both:.3f} (the middle square alone, which this map explains: {own:.3f})"
    assert f"upright.png: risk {words} by logreg" in shown


def test_the_picture_of_a_map_has_the_risk_of_predict_beside_that_of_the_square(run, square):
    found = explainer(run, "logreg").explain(square, stride=14)
    same, other = (
        " ".join(text.get_text() for text in maps._figure(each).texts).replace("\n", " ")
        for each in (found, replace(found, risk=0.015, predicted=0.009))
    )
    assert "by this square alone" in same
    assert "0.009 (the middle square alone, which this map explains: 0.015)" in other


def test_the_command_gives_the_warnings_of_predict_before_the_risk(capsys, finished_run, tmp_path):
    grey = np.tile(np.linspace(10, 200, 256).astype(np.uint8), (256, 1)).T
    grey[100:112, [place + step for place in range(20, 230, 8) for step in (0, 1)]] = 250  # like letters
    Image.fromarray(grey).save(tmp_path / "text.png")
    (told,) = predict(finished_run, [tmp_path / "text.png"], second_view=False)
    assert "burnt_in" in [each.code for each in told.warnings]
    out = tmp_path / "maps"
    code, _, said = ended(capsys, "explain", finished_run, tmp_path / "text.png", "--out", out)
    assert code == 0
    for each in told.warnings:
        assert f"text.png: {each.text}" in said
    record = json.loads((out / "text_map.json").read_text())
    assert record["warnings"] == [vars(each) for each in told.warnings]


def test_the_picture_of_a_map_has_its_warnings_before_the_risk(run, square):
    found = replace(
        explainer(run, "logreg").explain(square, stride=14), warnings={"burnt_in": "Text is burnt in."}
    )
    words = " ".join(text.get_text() for text in maps._figure(found).texts).replace("\n", " ")
    assert "WARNING: Text is burnt in. Risk of" in words


def test_images_of_one_name_have_files_of_their_own(finished_run, square, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(square).save(tmp_path / folder / "x.png")
    assert explain._stems(["x.png", "x.png", "../x y.png"]) == ["x_map", "x_map-2", "x_y_map"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("RUN", "nothing.png"), "There is no file or folder"),
        (("RUN", "PICTURE", "--model", "resnet"), "--model needs one of logreg, cnn, scattering, combined"),
        (("RUN", "TEXT"), "cannot be used"),
        (("RUN", "PICTURE", "--fit", "stretch"), "--fit needs one of"),
        (("EMPTY", "PICTURE"), "clineval run"),
        (("RUN", "PICTURE", "--out", "RUN/maps"), "lies inside the run"),
        (("RUN", "PICTURE", "--out", "PICTURE"), "needs a folder"),
    ],
)
def test_what_cannot_be_mapped_is_refused_in_one_line(capsys, finished_run, picture, tmp_path, words, said):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    names = {
        "RUN": str(finished_run), "PICTURE": str(picture), "TEXT": str(tmp_path / "text.png"),
        "EMPTY": str(tmp_path / "empty"),
    }  # fmt: skip
    given = [names.get(word, word.replace("RUN", str(finished_run))) for word in words]
    out = () if "--out" in words else ("--out", tmp_path / "maps")
    code, _, complaint = ended(capsys, "explain", *given, *out)
    assert code == 3
    assert len(complaint.strip().splitlines()) <= 2  # the step, where it had begun
    assert said in complaint
    assert not (tmp_path / "maps").exists()


def test_a_model_that_was_not_stored_is_refused_with_the_reason(run):
    without = replace(run, not_stored={"mine": "it has no graph"})
    with pytest.raises(InputError, match="mine could not be stored"):
        explainer(without, "mine")


def test_an_image_of_another_size_is_refused(run):
    with pytest.raises(InputError, match="28 x 28"):
        explainer(run).explain(np.zeros((64, 64), np.uint8))


def test_risk_of_a_version_is_that_of_the_stored_model(run, square):
    ready = explainer(run, "cnn", matching=False)
    risk = risk_of(run.models["cnn"], View(square[None]))
    assert ready.risks([([ready._as_trained], square[None])])[0][0, 0] == np.round(risk[0], 12)


def test_the_risks_do_not_depend_on_how_images_are_shared_among_cores(run, square, monkeypatch):
    ready, hidden = explainer(run), occlude(square, patch=5, stride=4)
    (together,) = ready.risks([(ready._versions, hidden)])
    monkeypatch.setattr(explain, "cpu_count", lambda: 5)
    apart = ready.risks([(ready._versions, hidden[:20]), (ready._versions, hidden[20:])])
    np.testing.assert_array_equal(np.concatenate(apart), together)


def test_the_map_of_random_weights_has_every_second_row_and_column_of_patches(run, square):
    ready = explainer(run, "logreg")
    found = ready.explain(square).randomised
    hidden = ready._hidden(square)
    (risks,) = ready.risks([(ready._randomised[:1], hidden)])
    every = (risks[0] - risks[1:]).reshape(28, 28)
    np.testing.assert_array_equal(found[1::2, 1::2], every[1::2, 1::2])
    np.testing.assert_array_equal(found, np.kron(every[1::2, 1::2], np.ones((2, 2))))


def test_a_check_compares_seven_by_seven_cells_of_the_map(run, square):
    ready = explainer(run, "combined")
    found = ready.explain(square)
    cells = np.arange(1, 28, 4)
    assert ready._checked.tolist() == cells.tolist()
    assert found.check == ready.check(square)
    grid = np.ix_(cells, cells)
    other = abs(rank_correlation(found.map[grid], found.randomised[grid]))
    tested, _ = ready.risks(ready._tests(square))
    own, *others = explain._changes(tested).T
    np.testing.assert_array_equal(found.map[grid].ravel(), own)
    assert abs(rank_correlation(own, others[0])) == other


@pytest.mark.parametrize("side", [16, 28, 32, 33, 64, 128, 224])
def test_seven_cells_a_side_are_compared_at_even_steps_whatever_the_size(run, side):
    cells = explain.Explainer(replace(run, side=side), "cnn")._checked
    assert len(set(cells)) == explain.CHECKED
    assert np.ptp(np.diff(cells)) <= 1
    last = -(-side // explain.stride_for(side)) - 1
    assert abs(cells[0] - (last - cells[-1])) <= cells[1] - cells[0]


def test_a_map_never_takes_the_place_of_an_image_of_a_folder_that_is_read(finished_run, tmp_path):
    pictures = phantom(seed=9, cases=(60, 20, 30)).images
    for name, image in {"a": pictures[0], "a_map": pictures[1]}.items():
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    before = (tmp_path / "a_map.png").read_bytes()
    with pytest.raises(InputError, match=r"a_map\.png is one of the images"):
        explain.explain(finished_run, [tmp_path], out=tmp_path, model="logreg")
    assert (tmp_path / "a_map.png").read_bytes() == before


def test_a_map_of_any_model_names_the_threshold_that_was_chosen_for_it(run, square):
    for model in ("logreg", "combined"):
        (chosen,) = [each.threshold for each in run.thresholds[model] if each.chosen_on != "fixed"]
        assert explainer(run, model).explain(square, stride=14).threshold == chosen
