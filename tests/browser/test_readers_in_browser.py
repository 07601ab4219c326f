"""Pages other than a run's in a real browser: readers, an adoption and a validation, on a telephone too."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from test_adoption import adopted
from test_adoption import table as local_table
from test_beside_readers import FAST, READER, saved, table
from test_readers_command import saved as saved_study
from test_readers_command import study
from transport_content import write_validation

from clineval.cli import main
from clineval.reporting.adoption import write_adoption_page
from clineval.reporting.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


def opened(browser, page: Path, *, width=1200):
    """The page, and what it complained of or asked the network for."""
    tab, wrong = browser.new_page(viewport={"width": width, "height": 900}), []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("request", lambda asked: wrong.append(asked.url) if asked.url.startswith("http") else None)
    tab.goto(page.as_uri())
    return tab, wrong


def test_the_reader_s_point_is_shown_on_its_own_population_only(browser, tmp_path):
    words = ["evaluate", saved(table(), tmp_path), "--out", tmp_path / "out", *FAST, *READER, "--quiet"]
    assert main.run_command([str(word) for word in words]) == 0
    tab, wrong = opened(browser, tmp_path / "out" / "report.html")
    shown = "[data-reader-on]:not(.away)"
    assert tab.locator(shown).count() == 1
    assert tab.locator(shown).get_attribute("data-reader-on") == "test"
    tab.select_option("#population", "test_clean")
    assert tab.locator(shown).get_attribute("data-reader-on") == "test_clean"
    tab.locator("#readers summary").first.click()
    assert "BIRADS at ≥ 4a" in tab.locator("#readers").inner_text()
    assert wrong == []
    tab.close()


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_of_a_study_fits_the_screen_and_loads_nothing(browser, tmp_path, width):
    words = ["readers", saved_study(study(), tmp_path), "--modality-column", "modality", "--cut", "3"]
    assert main.run_command([*map(str, words), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    tab, wrong = opened(browser, tmp_path / "out" / "report.html", width=width)
    assert wrong == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("img").count() == 3
    tab.close()


def test_an_adoption_shows_both_rates_on_a_telephone_and_breaks_no_option(browser, tmp_path):
    tab, wrong = opened(browser, write_adoption_page(adopted(local_table(120, seed=3)), tmp_path), width=390)
    width = "each => [each.scrollWidth, each.clientWidth]"
    inside, shown = tab.locator(".compact .scroll").evaluate(width)
    assert inside <= shown
    assert tab.locator(".compact thead th").all_inner_texts()[-2:] == ["sensitivity", "specificity"]
    for option in tab.locator("header code").all():
        assert option.evaluate("each => each.getClientRects().length") == 1
    assert wrong == []
    tab.close()


def test_a_validation_s_answer_stands_on_a_telephone_s_first_screen(browser, tmp_path):
    tab, wrong = opened(browser, write_report(write_validation(tmp_path / "out")), width=390)
    answer = tab.locator(".verdict strong")
    assert answer.inner_text().startswith(("Yes: ", "No: ", "Uncertain: "))
    box = answer.bounding_box()
    assert box["y"] + box["height"] < 450
    assert wrong == []
    tab.close()
