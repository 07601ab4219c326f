"""The served page in a real browser: warnings before the number, many files, keyboard, silence."""

import copy
import csv
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
pytest.importorskip("fastapi", reason="FastAPI is not installed (the extra 'serve')")
import httpx
from test_serve import serving

from clineval.evaluation import read_evaluation
from clineval.pipeline.predict import predict
from clineval.statistics.counts import Counts
from clineval.statistics.operating_point import npv_at_prevalence, ppv_at_prevalence

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
RESULTS = Path(__file__).parents[2] / "results"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium, one for all tests of this file."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of the committed run, stopped in the end."""
    if not (RESULTS / "provenance.json").is_file():
        pytest.skip("no committed results/ yet")
    with serving(RESULTS) as (address, _port, _process):
        yield address


@pytest.fixture(scope="module")
def idle() -> Iterator[list]:
    """Pages that no test has now: opening one takes the browser a process, going on with one does not."""
    pages = []
    yield pages
    for page in pages:
        page.context.close()


@pytest.fixture
def opened(browser, idle, address):
    """The page, as ``opened(width=..., height=...)``, which must have been silent in the end."""
    pages = []

    def open_page(*, width=1280, height=900):
        page = idle.pop() if idle else listening(browser.new_page(), address)
        page.set_viewport_size({"width": width, "height": height})
        page.goto(address)
        page.wait_for_selector("html.ready")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        assert page.heard == []
        page.unroute_all()
        page.goto("about:blank")
        idle.append(page)


def listening(page, address):
    """The page, with what its console says and what it asks of others than the server in ``heard``."""
    page.heard = []
    page.on("console", lambda message: page.heard.append(message.text))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    here = (address, "data:", "blob:" + address, "about:")
    page.on("request", lambda asked: None if asked.url.startswith(here) else page.heard.append(asked.url))
    return page


CHANCE = np.random.default_rng(8)
MARKED = CHANCE.integers(40, 80, (300, 220), np.uint8)
for place in range(20, 200, 8):
    MARKED[140:152, place : place + 2] = 250


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Path]:
    """Noise, a picture with strokes as of letters, a text named .png, and smooth pictures."""
    folder = tmp_path_factory.mktemp("images")
    smooth = [np.outer(np.linspace(20, 90, 60), np.linspace(0.4, 1.3, 60)).astype(np.uint8)] * 3
    for number, pixels in enumerate([CHANCE.integers(0, 256, (50, 50), np.uint8), MARKED, *smooth]):
        Image.fromarray(np.roll(pixels, number, 0)).save(folder / f"image-{number}.png")
    (folder / "text.png").write_text("no image")
    (folder / "=1+1.png").write_bytes((folder / "image-2.png").read_bytes())
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def mapped(address, images) -> dict:
    """What the server answers that is asked for the map of image-1.png."""
    content = named(images, "image-1.png").read_bytes()
    return httpx.post(f"{address}api/explain", files={"images": content}, timeout=60).json()


def drop(page, paths):
    page.set_input_files("#files", [str(path) for path in paths])


def show_one(page, path):
    drop(page, [path])
    page.wait_for_selector("#one:not([hidden])")


def show_many(page, paths):
    drop(page, paths)
    page.locator("#spoken", has_text="images scored").wait_for(state="attached")


def warn_of(page, *codes):
    """The page hears these warnings of every image and no others."""
    page.evaluate(
        """(codes) => {
          const asked = window.fetch;
          window.fetch = async (address, options) => {
            const answer = await asked(address, options);
            if (!address.startsWith("/api/examine")) return answer;
            const content = await answer.json();
            for (const look of content.images) look.warnings = codes.map((code) => ({ code, text: code }));
            return new Response(JSON.stringify(content), { status: answer.status });
          };
        }""",
        list(codes),
    )


def named(images, name):
    return next(path for path in images if path.name == name)


def rows(page):
    return page.eval_on_selector_all(
        "#rows tbody tr", "all => all.map(each => [...each.cells].map(cell => cell.innerText.trim()))"
    )


def test_one_image_shows_its_warnings_before_its_risk_as_predict_gives_it(opened, images):
    page, path = opened(), named(images, "image-1.png")
    show_one(page, path)
    (expected,) = predict(RESULTS, [path])
    model = read_evaluation(RESULTS / "evaluation.json").primary.model
    assert page.inner_text("#risk") == f"{expected.risk[model]:.3f}"
    text = page.inner_text("#one")
    note = "Note: The image contains text or measuring marks; their effect on the risk is not known."
    assert page.inner_text("#warnings .remark") == note
    assert text.index("Warning:") < text.index(note) < text.index(page.inner_text("#risk"))
    heard = page.text_content("#spoken")
    assert heard.index("Warning:") < heard.index("Risk")
    assert page.locator("#nearest .tile").count() == 4
    page.click("#others summary")
    assert page.locator("#models tbody tr").count() == 8
    thresholds = page.inner_text("#models")
    assert "0.500 (default)" in thresholds
    assert "(set for 90% sensitivity)" in thresholds
    for picture in ("#picture", "#square"):
        assert page.eval_on_selector(picture, "each => each.naturalWidth") > 0
    assert "220 × 300" in page.inner_text("#picture-words")


def test_an_image_can_be_dropped_on_the_page(opened, images):
    page = opened()
    content = named(images, "image-2.png").read_bytes()
    page.evaluate(
        """(bytes) => {
          const carried = new DataTransfer();
          carried.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true }));
        }""",
        list(content),
    )
    page.wait_for_selector("#one:not([hidden])")
    assert page.inner_text("#one-h") == "dropped.png"


def test_an_image_that_cannot_be_used_is_named_with_the_reason(opened, images):
    page = opened()
    drop(page, [named(images, "text.png")])
    page.wait_for_selector("#trouble:not([hidden])")
    assert page.inner_text("#trouble") == "text.png: it cannot be read as an image (no known format)"
    assert page.locator("#one").is_hidden()
    show_one(page, named(images, "image-2.png"))
    assert page.locator("#trouble").is_hidden()
    assert any("422" in line for line in page.heard), "the browser itself tells of the refusal"
    page.heard.clear()


def test_many_images_are_a_table_that_sorts_opens_and_saves(opened, images, tmp_path):
    page = opened()
    show_many(page, images)
    assert [row[0] for row in rows(page)] == [path.name for path in images]
    risks = [float(row[2]) for row in rows(page) if row[2] != "–"]
    page.click("#rows th[data-key=risk] button")
    assert page.get_attribute("#rows th[data-key=risk]", "aria-sort") == "ascending"
    assert [float(row[2]) for row in rows(page) if row[2] != "–"] == sorted(risks)
    page.click("#rows th[data-key=risk] button")
    assert page.get_attribute("#rows th[data-key=risk]", "aria-sort") == "descending"
    assert [float(row[2]) for row in rows(page) if row[2] != "–"] == sorted(risks, reverse=True)
    assert "cannot be used: it cannot be read" in rows(page)[-1][1]
    page.click("#rows tbody button:has-text('image-1.png')")
    page.wait_for_selector("#one:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "one-h"
    with page.expect_download() as saving:
        page.click("#save")
    saving.value.save_as(tmp_path / "risks.csv")
    check_saved(tmp_path / "risks.csv", images)


def check_saved(path, images):
    """The saved table has the numbers of predict, to the last digit, and no formula for a spreadsheet."""
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    saved = {row["image"]: row for row in rows}
    good = [path for path in images if path.name != "text.png"]
    for each in predict(RESULTS, good):
        row = saved["./=1+1.png" if each.image == "=1+1.png" else each.image]
        for model, risk in each.risk.items():
            assert float(row[f"risk_{model}"]) == risk
            for name, yes in each.flagged[model].items():
                assert row[f"flagged_{model}_{name}"] == str(int(yes))
    assert saved["text.png"]["reason"].startswith("it cannot be read as an image")


def test_the_prevalence_moves_what_a_flag_means_as_the_python_functions_say(opened, images):
    page = opened()
    warn_of(page)
    show_one(page, named(images, "image-1.png"))
    evaluation = read_evaluation(RESULTS / "evaluation.json")
    primary = evaluation.primary
    scores = evaluation.models[primary.model]["test"]
    point = next(each for each in scores.operating_points if each.threshold == primary.threshold)
    cells = Counts(**{name: int(value) for name, value in point.counts.items()})
    said = "chosen to find 90% of the malignant cases (by cross-validation in the training data)"
    assert said in page.inner_text("#rule")
    assert "sensitivity 0.90 on training data, out of fold" in page.text_content("#rule-exactly")
    flagged = page.inner_text("#call").startswith("flagged")
    carried = ppv_at_prevalence if flagged else npv_at_prevalence
    for share in (0.005, 0.02, 0.2):
        page.click(f"[data-share='{share}']")
        value = carried(cells, share).value
        had = 100 * (value if flagged else 1 - value)
        of = next(each for each in (100, 1000, 10_000) if had * each >= 100)
        said = page.inner_text("#meaning")
        assert f"Of {of:,} {'' if flagged else 'not '}flagged, {had * of / 100:.0f} (" in said, share
        assert f"would have it at a prevalence of {100 * share:.1f}%" in said
        assert said.startswith("These are figures of the test images of BreastMNIST. In another hospital")
        assert "CI 0 to 0)" not in said
    assert page.inner_text("#meaning-h") == "What that meant on the test set of BreastMNIST"
    page.click("[data-share=own]")
    assert "at the prevalence of the test set of BreastMNIST" in page.inner_text("#meaning")
    all_flagged = cells.true_positives + cells.false_positives
    assert f"{all_flagged if flagged else 156 - all_flagged} were" in page.inner_text("#meaning")
    page.focus("#prevalence")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#prevalence-value") == "27.5%"


@pytest.mark.parametrize(
    ("passed", "words"), [(True, "It passed its check."), (False, "Not to be read: it fails for the test.")]
)
def test_the_map_stands_beside_that_of_random_weights_and_is_grey_where_it_failed(
    opened, mapped, images, passed, words
):
    page, path = opened(), named(images, "image-1.png")
    found = copy.deepcopy(mapped)
    found["check"] |= {"passed": passed, "reason": "" if passed else "it fails for the test"}
    page.route("**/api/explain", lambda route: route.fulfill(json=found))
    warn_of(page)
    show_one(page, path)
    page.click("#show-map")
    page.locator("#map-shown svg").nth(1).wait_for()
    text = page.inner_text("#map-shown")
    assert words in text
    assert "The same with random weights" in text
    assert page.locator("#map-shown svg.grey").count() == (0 if passed else 2)
    assert page.locator("#map-shown svg text").count() == (text.count("▲") + text.count("▼") if passed else 0)
    largest = [f"{100 * np.abs(found[name]).max():.1f}" for name in ("map", "randomised")]
    scales = re.findall(r"strongest colour: ([\d.]+) percentage points", text)
    assert scales == (largest if passed else [])
    label = page.get_attribute("#map-shown svg >> nth=0", "aria-label")
    assert ("percentage points" if passed else "not to be read") in label


def test_a_risk_not_to_be_relied_on_is_muted_and_its_flag_and_map_say_so(opened, mapped, images):
    page, path = opened(), named(images, "image-1.png")
    found = copy.deepcopy(mapped)
    found["check"] |= {"passed": True, "reason": ""}
    page.route("**/api/explain", lambda route: route.fulfill(json=found))
    warn_of(page, "unlike_training")
    show_one(page, path)
    assert page.locator(".risk.muted").count() == 1
    assert "flagged; do not rely on it (threshold" in page.inner_text("#call")
    assert page.inner_text("#meaning") == "Not given for this image: see the warning above."
    assert page.locator("#prevalence").is_hidden()
    page.click("#show-map")
    page.locator("#map-shown .warning").wait_for()
    text = page.inner_text("#map-shown")
    assert "passed its check, but the warning above holds for it too" in text
    assert f"its risk is {found['risk']:.3f}, which is averaged with" in text
    assert f"to the {page.inner_text('#risk')} above" in text


def test_marks_in_the_picture_are_a_grey_note_and_no_warning(opened, images):
    page = opened()
    warn_of(page, "burnt_in")
    show_one(page, named(images, "image-2.png"))
    assert page.inner_text("#warnings") == "Note: burnt_in"
    assert page.locator(".risk.muted").count() == 0
    assert "do not rely" not in page.inner_text("#call")
    show_many(page, images[1:3])
    assert "0 with warnings, 2 with notes only" in page.text_content("#spoken")


@pytest.mark.parametrize("adopted", [True, False])
def test_a_threshold_without_a_test_set_has_no_slider_and_an_adopted_one_says_what_it_did(
    browser, address, images, adopted
):
    told = httpx.get(f"{address}api/model").json()
    model = told["primary"]["model"]
    for each in told["models"][model]:
        each |= {"true_positives": None, "rule": None}
    rates = {"sensitivity": [0.89, 0.83, 0.95], "specificity": [0.54, 0.48, 0.6]}
    rule = "chosen for sensitivity 0.90 on 137 local cases with the condition"
    told |= {"cases": None, "events": None, "population": "", "adoption_page": adopted}
    told["adoption"] = {"site": "hospital-b", "rule": rule, "level": 0.95, **rates} if adopted else None
    page = browser.new_page()
    page.route("**/api/model", lambda route: route.fulfill(json=told))
    page.goto(address)
    page.wait_for_selector("html.ready")
    warn_of(page)
    show_one(page, named(images, "image-2.png"))
    heading, said = page.inner_text("#meaning-h"), page.inner_text("#meaning")
    assert page.locator("#carry").is_hidden()
    assert page.locator("#adoption-link").is_visible() == adopted
    assert heading == ("What the threshold did in hospital-b" if adopted else "What a flag means")
    if adopted:
        assert said == (
            "In hospital-b, on local patients not used for fitting: found 89 of 100 with the condition "
            "(95% CI 83 to 95), 46 false alarms per 100 others (40 to 52)."
        )
        assert f"the threshold was {rule}." in page.inner_text("#rule")
    page.close()


def test_a_risk_has_the_same_digits_everywhere(opened, images):
    page = opened()
    show_one(page, named(images, "image-2.png"))
    assert page.inner_text("#scale .at") == page.inner_text("#risk")
    threshold = page.inner_text("#scale .first").removeprefix("threshold ")
    assert f"(threshold {threshold})" in page.inner_text("#call")


def test_the_field_names_the_file_that_is_shown_and_takes_it_again(opened, images):
    page, path = opened(), named(images, "image-2.png")
    show_one(page, path)
    assert page.eval_on_selector("#files", "each => each.files[0].name") == path.name
    assert page.locator("#progress").is_hidden()
    with page.expect_file_chooser() as choosing:
        page.click("#files")
    with page.expect_response("**/api/examine*"):
        choosing.value.set_files(str(path))


def test_file_warning_risk_and_flag_are_in_sight_at_360_pixels(opened, images):
    page = opened(width=360)
    show_many(page, images)
    heads = page.locator("#rows thead th")
    assert heads.all_inner_texts()[:4] == ["File", "Warnings", "Risk", "Flagged"]
    for place in range(4):
        box = heads.nth(place).bounding_box()
        assert box["x"] + box["width"] <= 360
    assert page.locator("#rows tbody tr", has_text="image-1.png").locator("wbr").count() == 3


def test_the_keyboard_alone_reaches_everything(opened, images):
    page = opened()
    warn_of(page)
    show_many(page, images)
    page.click("#rows tbody button:has-text('image-0.png')")
    page.wait_for_selector("#one:not([hidden])")
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.focus(".skip")
    reached = set()
    for _ in range(60):
        reached.add(
            page.evaluate(
                "(document.activeElement.id || document.activeElement.dataset.share || "
                "document.activeElement.innerText || document.activeElement.tagName)"
            )
        )
        page.keyboard.press("Tab")
    assert {
        "files",
        "save",
        "prevalence",
        "own",
        "Risk",
        "image-0.png",
        "Other models and thresholds",
    } <= reached


def test_the_notice_stays_in_sight_and_cannot_be_closed(opened, images):
    page = opened(height=500)
    show_many(page, images)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    top = page.eval_on_selector(".research", "each => each.getBoundingClientRect().top")
    assert top == 0
    assert page.locator(".research button").count() == 0


def test_the_report_and_its_explorer_open_at_the_same_prevalence(opened, images):
    page = opened()
    show_one(page, named(images, "image-2.png"))
    page.click("[data-share='0.02']")
    page.click("#report-link")
    page.wait_for_selector("html.ready")
    assert float(page.input_value("#prevalence")) == 0.02
    assert page.locator("#explorer").is_visible()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_width_scrolls_sideways(opened, images, width):
    page = opened(width=width)
    show_many(page, images)
    page.click("#rows tbody button:has-text('image-1.png')")
    page.wait_for_selector("#one:not([hidden])")
    page.click("#others summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser, address, images, scheme):
    axe = os.environ.get("CLINEVAL_AXE")
    if not axe or not Path(axe).is_file():
        pytest.skip("axe-core is not there: CLINEVAL_AXE names no axe.min.js")
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("html.ready")
    show_many(page, images)
    page.click("#rows tbody button:has-text('image-1.png')")
    page.wait_for_selector("#one:not([hidden])")
    page.click("#others summary")
    page.click("#show-map")
    page.locator("#map-shown svg").nth(1).wait_for()
    assert violations(page, axe) == []
    page.goto(f"{address}api")
    assert violations(page, axe) == []
    context.close()


def violations(page, axe):
    page.evaluate(Path(axe).read_text(encoding="utf-8") + "; 0")
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in serious]


def test_a_changed_folder_is_said_on_the_page(browser, tmp_path, images):
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder)
    with serving(folder) as (address, _port, _process):
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("html.ready")
        record = folder / "provenance.json"
        record.write_bytes(record.read_bytes())
        drop(page, [images[0]])
        page.wait_for_selector("#trouble:not([hidden])")
        assert "restart clineval serve" in page.inner_text("#trouble")
        page.close()
