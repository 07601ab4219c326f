"""The report in a real browser: silent, offline, exact, reachable by keyboard, readable by all."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from simulated_results import table, write_results
from test_adoption import adopted
from test_adoption import table as cases_of_a_site
from transport_content import write_validation

from clineval.evaluation import read_evaluation
from clineval.predictions import read_predictions
from clineval.reporting.adoption import write_adoption_figure, write_adoption_page
from clineval.reporting.report import write_report
from clineval.reporting.sentences import frequencies, natural, number, percent
from clineval.statistics.counts import counts
from clineval.statistics.intervals import wilson
from clineval.statistics.operating_point import (
    likelihood_ratio_negative,
    likelihood_ratio_positive,
    net_benefit_at_prevalence,
    npv_at_prevalence,
    ppv_at_prevalence,
)

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
COMMITTED = Path(__file__).parents[2] / "results" / "report.html"
MAIN = "logreg"  # the model that ranks best out of fold in the simulated results
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
def results(tmp_path_factory) -> Path:
    """A results folder with its report."""
    folder = write_results(tmp_path_factory.mktemp("results"), table())
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def idle(browser) -> Iterator[list]:
    """Pages that no test has now: opening one takes the browser a process, going on with one does not."""
    pages = []
    yield pages
    for page in pages:
        page.context.close()


@pytest.fixture
def opened(browser, idle, results):
    """Open the report, or another file, as ``opened(width=..., scheme=..., fragment=..., path=...)``."""
    pages = []

    def open_page(*, width=1280, height=800, scheme="light", fragment="", path=None):
        page = idle.pop() if idle else listening(browser.new_page())
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(media="screen", color_scheme=scheme)
        page.goto((path or results / "report.html").as_uri() + fragment)
        return page

    yield open_page
    for page in pages:
        page.goto("about:blank")
        page.heard.clear()
        idle.append(page)


def listening(page):
    """The page, with what its console says and what it asks the network for in ``heard``."""
    page.heard = []
    page.on("console", lambda message: page.heard.append(message.text))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    page.on(
        "request",
        lambda asked: page.heard.append(asked.url) if asked.url.startswith(("http:", "https:")) else None,
    )
    return page


def move(page, slider: str, value: float) -> None:
    """Set a slider as a hand would: its value, then the event."""
    page.evaluate(
        """([id, value]) => {
          const slider = document.getElementById(id);
          slider.value = value;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        [slider, str(value)],
    )


def shown(page) -> dict[str, str]:
    """Every live number of the page, by its measure."""
    return page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('[data-measure]')]"
        ".map((each) => [each.dataset.measure, each.textContent]))"
    )


def intervals(page) -> dict[str, str]:
    """Every interval of the page, by its measure."""
    found = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('[data-interval]')]"
        ".map((each) => [each.dataset.interval, each.textContent]))"
    )
    return found


def bounds(estimate, write) -> str:
    """An interval as the page writes it."""
    if np.isnan(estimate.value) or np.isnan(estimate.low):
        return "no interval"
    return f"{write(estimate.low)} to {write(estimate.high)}"


def test_the_page_is_silent_and_asks_the_network_for_nothing(opened):
    page = opened()
    move(page, "threshold", 0.3)
    move(page, "prevalence", 0.01)
    page.select_option("#population", "test_clean")
    page.wait_for_timeout(500)
    assert page.heard == []


@pytest.fixture(scope="module")
def validation(tmp_path_factory) -> Path:
    """A validation's report."""
    return write_report(write_validation(tmp_path_factory.mktemp("validated") / "out"))


@pytest.fixture(scope="module")
def primary(results):
    """The primary threshold of the report's model, ``MAIN``, scored on test."""
    evaluation = read_evaluation(results / "evaluation.json")
    assert evaluation.primary.model == MAIN
    return evaluation.models[MAIN]["test"].point("sensitivity_90")


def test_it_opens_on_test_at_the_primary_model_threshold_and_the_datas_own_prevalence(opened, primary):
    page = opened()
    assert page.input_value("#population") == "test"
    assert page.input_value("#model") == MAIN
    assert page.get_attribute("[data-point=sensitivity_90]", "aria-pressed") == "true"
    assert shown(page)["true_positives"] == str(primary.counts["true_positives"])
    assert float(page.input_value("#prevalence")) == pytest.approx(42 / 156)
    assert page.eval_on_selector_all("#model option", "all => all.map(each => each.value)") == [
        MAIN,
        "cnn",
    ]


def test_a_validation_opens_on_its_cohort_at_the_threshold_that_was_frozen(opened, validation):
    page = opened(path=validation)
    assert page.input_value("#population") == "hospital-b"
    assert page.input_value("#model") == "combined"
    assert float(page.input_value("#threshold")) == 0.2
    assert page.get_attribute("[data-point=sensitivity_90]", "aria-pressed") == "true"
    page.click("[data-point=half]")
    assert float(page.input_value("#threshold")) == 0.5


def box(page, selector: str) -> dict[str, float]:
    """Where an element lies on the page, in pixels."""
    return page.eval_on_selector(
        selector, "e => { const b = e.getBoundingClientRect(); return { top: b.top, bottom: b.bottom }; }"
    )


@pytest.mark.parametrize("kind", ["run", "validation"])
def test_the_first_screen_holds_the_verdict_the_explorer_and_the_lights(opened, validation, kind):
    path = validation if kind == "validation" else None
    page = opened(path=path)
    for selector in (".verdict", "#icons", ".matrix", "#threshold", "#prevalence", ".lights"):
        assert 0 <= box(page, selector)["top"] < box(page, selector)["bottom"] <= 800, selector
    phone = opened(path=path, width=390, height=844)
    for selector in (".verdict", "#explorer", ".lights"):
        assert box(phone, selector)["bottom"] <= 2 * 844, selector


@pytest.mark.parametrize("kind", ["run", "validation"])
def test_with_chapters_closed_the_page_is_at_most_five_screens(opened, validation, kind):
    page = opened(path=validation if kind == "validation" else None)
    assert page.evaluate("document.documentElement.scrollHeight") <= 5 * 800


@pytest.mark.parametrize("width", [1280, 390])
def test_a_preset_does_not_move_the_layout(opened, width):
    page = opened(width=width)
    places = """() => [...document.querySelectorAll("#explorer *:not(path, option, span, b), .lights, h2")]
      .filter((each) => each.offsetParent && !each.closest("svg, .further"))
      .map((each) => [each.tagName, each.id, each.className, each.getBoundingClientRect()])
      .map(([tag, id, css, box]) => [tag, id, css, Math.round(box.top + scrollY), Math.round(box.height)])"""
    before = page.evaluate(places)
    for name in ("half", "sensitivity_90"):
        page.click(f"[data-point={name}]")
        assert page.evaluate(places) == before, name
    for share in ("0.005", "0.2", "own"):
        page.click(f"[data-share='{share}']")
        assert page.evaluate(places) == before, share
    move(page, "threshold", 1)
    assert page.evaluate(places) == before


def test_a_link_opens_the_chapter_that_it_leads_to(opened):
    page = opened()
    page.click('.topnav a[href="#failures"]')
    assert page.evaluate("document.querySelector('#failures > details').open")
    again = opened(fragment="#polarity")
    assert again.evaluate("document.querySelector('#data > details').open")
    assert again.evaluate("document.querySelectorAll('.chapter > details[open]').length") == 1


def test_the_page_is_ready_within_a_second(opened):
    took = []
    for _ in range(3):
        page = opened()
        assert page.evaluate("document.documentElement.classList.contains('ready')")
        loaded = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
        took.append(page.evaluate(loaded))
    assert min(took) < 1000


def test_the_table_of_thresholds_fits_a_page_of_1200_pixels(opened):
    page = opened(width=1200)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    widths = page.evaluate(
        "[...document.querySelectorAll('.scroll:has(.many)')].map(box => [box.scrollWidth, box.clientWidth])"
    )
    assert widths
    assert all(wanted <= given for wanted, given in widths)


def test_a_table_wider_than_the_screen_is_shaded_at_the_edge_and_the_page_is_not_wider(opened, validation):
    shades = []
    for width in (390, 1280):
        page = opened(width=width, path=validation, fragment="#cohort")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        found = page.eval_on_selector(
            "#cohort .scroll",
            "box => [box.scrollWidth > box.clientWidth, getComputedStyle(box).backgroundAttachment]",
        )
        shades.append(found)
    assert shades == [[True, "local, local, scroll, scroll"], [False, "local, local, scroll, scroll"]]


def test_both_sliders_move_every_number_as_the_python_functions_say(opened, results):
    page = opened()
    rows = read_predictions(results / "predictions.csv")
    rng = np.random.default_rng(5)
    settings = [
        (0.0, 0.1),
        (1.0, 0.1),
        (0.5, 0.001),
        *zip(rng.random(22), rng.uniform(0.001, 0.5, 22), strict=True),
    ]
    for place, (threshold, prevalence) in enumerate(settings):
        model = ("cnn", "logreg")[place % 2]
        threshold, prevalence = round(threshold, 3), round(prevalence, 3)
        page.select_option("#model", model)
        move(page, "threshold", threshold)
        move(page, "prevalence", prevalence)
        mine = rows[(rows["model"] == model) & (rows["split"] == "test")]
        cells = counts(mine["outcome"].to_numpy(), mine["risk"].to_numpy(), threshold)
        ppv, npv = ppv_at_prevalence(cells, prevalence), npv_at_prevalence(cells, prevalence)
        sensitivity = wilson(cells.true_positives, cells.events)
        specificity = wilson(cells.true_negatives, cells.non_events)
        benefit = net_benefit_at_prevalence(cells, threshold, prevalence).value if threshold < 1 else np.nan
        expected = {
            "true_positives": str(cells.true_positives),
            "false_positives": str(cells.false_positives),
            "false_negatives": str(cells.false_negatives),
            "true_negatives": str(cells.true_negatives),
            "sensitivity": percent(sensitivity.value),
            "specificity": percent(specificity.value),
            "ppv": percent(ppv.value),
            "npv": percent(npv.value),
            "net_benefit": number(benefit),
        }
        expected = {name: "not defined" if text == "–" else text for name, text in expected.items()}
        assert shown(page) == expected, (model, threshold, prevalence)
        beside = intervals(page)
        assert beside["sensitivity"] == bounds(sensitivity, percent)
        assert beside["specificity"] == bounds(specificity, percent)
        for name, estimate in (("ppv", ppv), ("npv", npv)):
            if not np.isnan(estimate.value):
                assert beside[name] == bounds(estimate, percent), (name, model, threshold, prevalence)
        for name, ratio in (
            ("lr_positive", likelihood_ratio_positive(cells)),
            ("lr_negative", likelihood_ratio_negative(cells)),
        ):
            if not np.isnan(ratio.value):
                assert beside[name] == bounds(ratio, number)
                assert page.text_content(f"[data-rate={name}]") == number(ratio.value)


def test_at_another_prevalence_the_box_says_what_treating_all_or_none_would_do(opened):
    page = opened()
    assert page.inner_text("#policies").startswith("Net true positives per 1,000 at prevalence 26.9%: ")
    assert page.inner_text("[data-carried=PPV]") == "PPV"
    page.click("[data-point=half]")
    move(page, "prevalence", 0.005)
    assert float(shown(page)["net_benefit"].replace("−", "-")) < 0
    each = round(1000 * float(shown(page)["net_benefit"].replace("−", "-")))
    said = page.inner_text("#policies")
    assert said.startswith(
        f"Net true positives per 1,000 at prevalence 0.5%: −{-each}, better than acting on all (−9"
    )
    assert said.endswith("), worse than on none.")
    assert page.inner_text("[data-carried=PPV]") == "PPV at 0.5%"
    assert "at this cohort's prevalence (27%)" in page.inner_text(".lights").replace("\n", " ")


def test_at_the_datas_own_prevalence_predictive_values_are_those_of_the_2x2(opened, results):
    page = opened()
    rows = read_predictions(results / "predictions.csv")
    mine = rows[(rows["model"] == MAIN) & (rows["split"] == "test")]
    cells = counts(mine["outcome"].to_numpy(), mine["risk"].to_numpy(), 0.37)
    move(page, "threshold", 0.37)
    ppv = wilson(cells.true_positives, cells.flagged)
    assert shown(page)["ppv"] == percent(ppv.value)
    assert intervals(page)["ppv"] == bounds(ppv, percent)


def test_a_button_sets_the_exact_threshold_that_was_fixed_beforehand(opened, primary):
    page = opened()
    page.click("[data-point=half]")
    page.click("[data-point=sensitivity_90]")
    assert shown(page)["true_positives"] == str(primary.counts["true_positives"])
    assert shown(page)["false_positives"] == str(primary.counts["false_positives"])
    assert page.inner_text("#threshold-value") == f"{primary.threshold:.5f}"
    assert page.inner_text("#threshold-words") == "chosen for 90% sensitivity on out-of-fold training data"


def test_the_people_of_the_icon_array_add_up_to_a_thousand(opened, results):
    page = opened()
    move(page, "threshold", 0.3)
    move(page, "prevalence", 0.027)
    people = page.eval_on_selector_all("[data-people]", "all => all.map(each => Number(each.textContent))")
    assert sum(people) == 1000
    rows = read_predictions(results / "predictions.csv").query("model == @MAIN and split == 'test'")
    cells = counts(rows["outcome"].to_numpy(), rows["risk"].to_numpy(), 0.3)
    expected = frequencies(
        prevalence=0.027,
        sensitivity=cells.true_positives / cells.events,
        specificity=cells.true_negatives / cells.non_events,
    )
    assert page.inner_text("#frequencies") == natural(expected, people="people", condition="malignant")
    drawn = page.evaluate(
        """["found", "missed", "alarms", "cleared"].map((call) =>
          (document.getElementById(`icons-${call}`).getAttribute("d").match(/M/g) || []).length)"""
    )
    assert drawn == people


def test_python_and_the_script_draw_the_same_thousand_people(opened, results):
    static = re.search(r'id="icons-missed" class="missed" d="([^"]*)"', (results / "report.html").read_text())
    assert opened().get_attribute("#icons-missed", "d") == static.group(1)


def test_the_fragment_restores_the_state(opened):
    page = opened()
    page.select_option("#population", "test_clean")
    page.select_option("#model", "logreg")
    move(page, "threshold", 0.123)
    move(page, "prevalence", 0.042)
    page.wait_for_timeout(400)
    fragment = page.evaluate("location.hash")
    again = opened(fragment=fragment)
    assert shown(again) == shown(page)
    assert again.input_value("#model") == "logreg"
    assert again.input_value("#threshold") == "0.123"
    assert parse_qs(fragment[1:])["prevalence"] == ["0.042"]


@pytest.mark.parametrize(
    "fragment", ["#threshold=2&model=nobody", "#threshold=%3Cb%3E&prevalence=x", "#threshold="]
)
def test_a_fragment_that_makes_no_sense_changes_nothing(opened, fragment):
    assert shown(opened(fragment=fragment)) == shown(opened())


def test_the_keyboard_alone_reaches_and_moves_everything(opened):
    page = opened()
    reached = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "(document.activeElement.id || document.activeElement.dataset.point || "
            "document.activeElement.dataset.share || document.activeElement.tagName)"
        )
        reached.add(name)
        if name == "threshold":
            before = shown(page)["true_positives"], page.input_value("#threshold")
            for _ in range(40):
                page.keyboard.press("ArrowRight")
            assert float(page.input_value("#threshold")) == pytest.approx(float(before[1]) + 0.04)
        if name == "prevalence":
            page.keyboard.press("Home")
            page.keyboard.press("ArrowRight")
            assert float(page.input_value("#prevalence")) == pytest.approx(0.002)
    needed = {
        "threshold",
        "prevalence",
        "model",
        "population",
        "half",
        "sensitivity_90",
        "own",
        "A",
        "SUMMARY",
    }
    assert needed <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(opened, scheme):
    axe = os.environ.get("CLINEVAL_AXE")
    if not axe or not Path(axe).is_file():
        pytest.skip("axe-core is not there: CLINEVAL_AXE names no axe.min.js")
    page = opened(scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.evaluate(Path(axe).read_text(encoding="utf-8") + "; 0")
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in serious] == []


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_no_width_scrolls_sideways(opened, width):
    page = opened(width=width)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def adoption(tmp_path_factory) -> Path:
    """The page of an adoption with its figure."""
    found, folder = adopted(cases_of_a_site(300, seed=2, shift=-1.5)), tmp_path_factory.mktemp("adopted")
    write_adoption_figure(found, folder)
    return write_adoption_page(found, folder)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_of_an_adoption_answers_on_its_first_screen_and_prints_every_chapter(
    opened, adoption, width
):
    page = opened(path=adoption, width=width, height=844)
    assert box(page, "#answer table")["bottom"] <= 844
    assert page.evaluate("document.querySelectorAll('.chapter > details[open]').length") == 0
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    axe = os.environ.get("CLINEVAL_AXE")
    if axe and Path(axe).is_file():
        page.evaluate(Path(axe).read_text(encoding="utf-8") + "; 0")
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical", "moderate")] == []


@pytest.mark.parametrize("kind", ["run", "validation"])
def test_it_prints_the_clinicians_part_on_four_pages_and_every_chapter_after_them(
    opened, validation, tmp_path, kind
):
    page = opened(path=validation if kind == "validation" else None)
    page.pdf(path=str(tmp_path / "report.pdf"), prefer_css_page_size=True)
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    closed = page.evaluate("document.querySelectorAll('.chapter > details:not([open])').length")
    page.evaluate("document.getElementById('evidence').hidden = true")
    page.pdf(path=str(tmp_path / "clinical.pdf"), prefer_css_page_size=True)
    clinical = (tmp_path / "clinical.pdf").read_bytes()
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert closed == 0
    assert page.evaluate("document.querySelectorAll('.chapter > details[open]').length") == 0
    assert pages(clinical) <= 4
    assert pages(content) > pages(clinical)


def pages(content: bytes) -> int:
    """How many pages a PDF has."""
    return len(re.findall(rb"/Type\s*/Page\b", content))


def test_a_slider_step_writes_no_more_where_every_step_has_its_own_counts(tmp_path_factory, opened):
    few = open_with_cases(tmp_path_factory, opened, cases=200, events=50)
    many = open_with_cases(tmp_path_factory, opened, cases=20_000, events=5_000)
    assert 0 < many <= 2 * few


def open_with_cases(tmp_path_factory, opened, **size):
    """Nodes that the page writes at a hundred steps of the threshold slider."""
    folder = write_results(tmp_path_factory.mktemp("sized"), table(splits=("test",), **size), draws=2)
    path = write_report(folder)
    assert path.stat().st_size < 3_000_000
    return opened(path=path).evaluate(
        """async () => {
          let written = 0;
          const watch = new MutationObserver((records) => { written += records.length; });
          const every = { subtree: true, childList: true, attributes: true, characterData: true };
          watch.observe(document.body, every);
          const slider = document.getElementById("threshold");
          for (let step = 0; step < 1000; step += 10) {
            slider.value = step / 1000;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
          }
          await new Promise((done) => setTimeout(done, 50));
          return written;
        }"""
    )


def test_hostile_names_stay_text(opened, tmp_path):
    names = ("<img src=x onerror=alert(1)>\"'&", "</script><script>alert(2)</script>", "🩻 " + "long " * 60)
    folder = write_results(tmp_path / "hostile", table(names), condition="</style><b>bad & 'worse'")
    page = opened(path=write_report(folder), width=360)
    page.wait_for_timeout(300)
    assert page.heard == []
    assert page.input_value("#model") == names[0]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.querySelectorAll('main b b, img[src=x]').length") == 0


def test_the_committed_report_of_the_real_run_is_silent(opened):
    if not COMMITTED.is_file():
        pytest.skip("no committed results/report.html yet")
    page = opened(path=COMMITTED)
    move(page, "threshold", 0.25)
    page.wait_for_timeout(300)
    assert page.heard == []
