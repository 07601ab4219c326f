"""A run in a notebook: the numbers of predict, a table with pictures, maps by number or name."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import clineval
from clineval.data.phantom import phantom
from clineval.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loaded(finished_run):
    return clineval.load_run(finished_run)


def test_a_run_prints_in_three_lines(loaded):
    lines = repr(loaded).splitlines()
    assert len(lines) == 3
    assert loaded.run.condition in lines[0]
    assert all(name in lines[1] for name in loaded.run.names)
    assert lines[2] == f"Primary: {loaded.run.primary[0]}, flagged at {loaded.run.primary[1]:.3f} or above"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("images")
    images = phantom(seed=9, cases=(60, 20, 30)).images[:3]
    for number, image in enumerate(images):
        Image.fromarray(image).save(place / f"{number}.png")
    tall = np.concatenate([images[0], images[1]])
    Image.fromarray(tall).save(place / "<b>tall.png")
    return place


@pytest.fixture(scope="module")
def predicted(loaded, folder):
    return loaded.predict(folder)


def test_the_risks_are_those_of_predict_to_the_last_digit(predicted, finished_run, folder):
    expected = clineval.predict(finished_run, [folder])
    assert [each.risk for each in predicted.predictions] == [each.risk for each in expected]
    model, threshold = expected.primary
    table = predicted.table
    assert list(table["image"]) == [each.image for each in expected]
    assert list(table["risk"]) == [each.risk[model] for each in expected]
    assert list(table["flagged"]) == [each.risk[model] >= threshold for each in expected]
    assert list(table["warning"]) == [each.warning for each in expected]
    assert {"risk_logreg", "risk_cnn", "risk_scattering", "risk_combined"} <= set(table.columns)


def test_prepared_images_are_taken_as_they_are(loaded):
    images = phantom(seed=9, cases=(60, 20, 30)).images[:2]
    both, one = loaded.predict(images), loaded.predict(images[0])
    assert len(both) == 2
    assert both.predictions[0].risk == one.predictions[0].risk


def test_arrays_grey_or_in_colour_and_images_of_pillow_are_taken_one_or_several(loaded, folder):
    images = list(phantom(seed=9, cases=(60, 20, 30)).images[:2])
    expected = [each.risk for each in loaded.predict(np.stack(images)).predictions]
    colour = [np.repeat(each[..., None], 3, axis=2) for each in images]
    pillow = [Image.fromarray(each) for each in images]
    for several in (images, tuple(images), colour, np.stack(colour), pillow):
        assert [each.risk for each in loaded.predict(several).predictions] == expected
    for single in (colour[0], pillow[0], pillow[0].convert("RGBA")):
        assert [each.risk for each in loaded.predict(single).predictions] == expected[:1]
    with Image.open(folder / "<b>tall.png") as tall:  # cut and seen twice, as its file is
        assert (
            loaded.predict(tall).predictions[0].risk
            == loaded.predict(folder / "<b>tall.png").predictions[0].risk
        )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "got NoneType"),
        (3, "got int"),
        ([None], "got NoneType"),
        ([[1, 2]], "got list"),
        ([np.zeros((28, 28), np.uint8), "a.png"], "got ndarray, str"),
        ([], "at least one image"),
        ([np.zeros((28, 28))], "got float64 of shape"),
        ([np.zeros((28, 30), np.uint8)], r"got uint8 of shape \(28, 30\)"),
        (np.zeros((2, 2, 28, 28, 3), np.uint8), "Prepare them to that size"),
        (Image.new("F", (28, 28)), "that PNG can hold"),
    ],
)
def test_what_is_no_image_is_refused_with_what_is_accepted(loaded, given, said):
    with pytest.raises(InputError, match=said):
        loaded.predict(given)


def test_a_notebook_shows_thumbnail_risk_call_and_warning_and_escapes_names(predicted):
    page = predicted._repr_html_()
    assert page.count("data:image/png;base64,") == len(predicted) == 4
    assert "SYNTHETIC PHANTOM DATA" in page
    assert f"{predicted.table['risk'][1]:.3f}" in page
    assert "flagged" in page
    assert "<b>tall" not in page
    assert "&lt;b&gt;tall.png" in page
    assert "<script" not in page
    assert page.index(">warning<") < page.index(">risk<")  # before the number, not after


def test_an_image_is_explained_by_number_or_name_and_shows_its_map(predicted):
    by_number = predicted.explain(0, model="logreg")
    by_name = predicted.explain("0.png", model="logreg")
    assert by_number.to_json() == by_name.to_json()
    assert by_number._repr_png_().startswith(b"\x89PNG")
    assert predicted.explain(2).model == predicted.run.primary[0]


def test_print_shows_the_warning_and_the_risk_of_every_image_whatever_the_width(loaded, predicted):
    for shown in (str(predicted), repr(predicted)):
        header, *lines = shown.splitlines()
        assert header.split() == ["image", "warning", "risk", "flagged"]
        assert len(lines) == len(predicted)
        for line, each in zip(lines, predicted.predictions, strict=True):
            assert each.warning in line
            assert f"{each.risk[predicted.run.primary[0]]:.3f}" in line
    assert list(predicted.table.columns[:4]) == ["image", "warning", "risk", "flagged"]
    assert any(each.warning for each in predicted.predictions)


def test_a_model_is_made_ready_to_be_mapped_once(loaded, predicted):
    first = loaded.explainer("logreg")
    assert loaded.explainer("logreg") is first
    assert loaded.explainer("logreg", matching=False) is not first
    assert predicted.loaded.explainer() is loaded.explainer(loaded.run.primary[0])


def test_a_map_prints_as_one_line_without_its_pixels(predicted):
    found = predicted.explain("0.png", model="logreg")
    check = "check passed" if found.check.passed else "not to be read"
    assert str(found) == repr(found) == f"Map of 0.png: risk {found.risk:.3f} by logreg; {check}"


def test_a_map_has_the_warnings_of_its_image(predicted):
    for told in predicted.predictions:
        found = predicted.explain(told.image, model="logreg")
        assert found.warnings == {each.code: each.text for each in told.warnings}


@pytest.mark.parametrize(("asked", "said"), [(7, "one of 4 images"), ("x.png", "0 are called 'x.png'")])
def test_an_image_that_is_not_there_is_refused(predicted, asked, said):
    with pytest.raises(InputError, match=said):
        predicted.explain(asked)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="clineval run"):
        clineval.load_run(tmp_path)


def test_a_run_is_asked_without_torch_and_without_what_draws(finished_run):
    code = (
        "import clineval, numpy, sys;"
        f"found = clineval.load_run({str(finished_run)!r}).predict(numpy.zeros((1, 28, 28), 'uint8') + 9);"
        "drawing = 'matplotlib' in sys.modules; found._repr_html_(); found.explain(0, model='logreg');"
        "sys.exit('torch' in sys.modules or drawing)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_map_is_of_the_image_that_was_scored_whatever_became_of_the_array(loaded):
    images = phantom(seed=9, cases=(60, 20, 30)).images[:2].copy()
    expected = loaded.predict(images.copy()).explain(0).risk
    found = loaded.predict(images)
    images[:] = 0
    assert found.explain(0).risk == expected


def test_no_images_are_refused(loaded):
    with pytest.raises(InputError, match="at least one image"):
        loaded.predict(np.zeros((0, 28, 28), np.uint8))


def test_an_image_of_pillow_is_read_as_its_file_is(finished_run, tmp_path):
    upright = np.tile(np.linspace(10, 200, 200).astype(np.uint8), (240, 1))
    turned = Image.Exif()
    turned[0x112] = 6  # to be turned by a quarter
    Image.fromarray(upright).save(tmp_path / "turned.jpg", exif=turned, quality=95)
    Image.fromarray(upright).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    loaded = clineval.load_run(finished_run)
    for path in (tmp_path / "turned.jpg", tmp_path / "cmyk.jpg"):
        with Image.open(path) as picture:
            (file,), (held,) = loaded.predict(path).predictions, loaded.predict(picture).predictions
        assert file.risk == held.risk, path


def test_an_image_of_pillow_of_several_pictures_is_refused_as_its_file_is(finished_run, tmp_path):
    one = Image.fromarray(np.zeros((40, 40), np.uint8))
    one.save(tmp_path / "two.png", save_all=True, append_images=[one.point(lambda grey: 255 - grey)])
    with Image.open(tmp_path / "two.png") as two, pytest.raises(InputError, match="holds 2 pictures"):
        clineval.load_run(finished_run).predict(two)


def test_the_notebook_warns_of_what_the_command_warns_of(finished_run, tmp_path):
    grey = np.tile(np.linspace(10, 200, 256).astype(np.uint8), (256, 1)).T
    grey[100:112, [place + step for place in range(20, 230, 8) for step in (0, 1)]] = 250  # like letters
    Image.fromarray(grey).save(tmp_path / "text.png")
    (shown,) = clineval.load_run(finished_run).predict(tmp_path / "text.png").predictions
    (told,) = clineval.predict(finished_run, [tmp_path / "text.png"])
    assert shown.warnings == told.warnings
    assert "burnt_in" in [each.code for each in shown.warnings]


def test_a_map_in_a_notebook_gives_the_risk_that_predict_gives_beside_that_of_its_square(
    finished_run, tmp_path
):
    grey = np.tile(np.linspace(10, 200, 30).astype(np.uint8), (40, 1)).T.repeat(2, axis=0)
    Image.fromarray(grey).save(tmp_path / "upright.png")
    (told,) = clineval.predict(finished_run, [tmp_path / "upright.png"])
    found = clineval.load_run(finished_run).predict(tmp_path / "upright.png").explain(0)
    assert found.predicted == told.risk[found.model] != found.risk


def test_a_map_is_asked_for_by_a_number_of_numpy_too(predicted):
    (place,) = np.flatnonzero(predicted.table["image"] == "1.png")
    assert predicted.explain(place, model="logreg").image == "1.png"
