"""Claim: the report is at most five screens closed, four printed pages before the evidence and 2 MB; it is
interactive within a second of being opened, and its sliders answer within 50 ms.

Usage: python benchmarks/bench_report.py [RESULTS]...   (default results; needs Chromium and Playwright)
Of each folder it prints the size of report.html, its screens of 1280 x 800, the pages of the clinician's
part, the milliseconds to ``domInteractive`` of five openings in headless Chromium, and the median of a
hundred steps of the threshold slider, layout included.
"""

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

TRIALS = 5
WHEN = "performance.getEntriesByType('navigation')[0].domInteractive"
SCREENS = "document.documentElement.scrollHeight / 800"
SLIDE = """() => {
  const slider = document.getElementById("threshold");
  const took = [];
  for (let step = 0; step <= 1000; step += 10) {
    const start = performance.now();
    slider.value = step / 1000;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    document.body.getBoundingClientRect();
    took.push(performance.now() - start);
  }
  return took.sort((a, b) => a - b)[Math.floor(took.length / 2)];
}"""


def main(folders: list[Path]) -> None:
    """Print the figures of each folder's report."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for folder in folders:
            measure(browser, folder / "report.html")
        browser.close()


def measure(browser: Browser, path: Path) -> None:
    """Print the figures of one page."""
    took, slid = [], []
    for _ in range(TRIALS):
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(path.resolve().as_uri())
        took.append(page.evaluate(WHEN))
        screens = page.evaluate(SCREENS)
        slid.append(page.evaluate(SLIDE))
        page.evaluate("document.getElementById('evidence').hidden = true")
        pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True)))
        page.close()
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {screens:.1f} screens, {pages} printed pages")
    print(f"  domInteractive, ms: {', '.join(f'{each:.0f}' for each in took)}; worst {max(took):.0f}")
    print(f"  threshold slider, ms per step: {', '.join(f'{each:.1f}' for each in slid)}")


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:] or ["results"]])
