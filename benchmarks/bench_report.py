"""Claim: the report is interactive within a second of being opened, its sliders answer within 50 ms.

Usage: python benchmarks/bench_report.py [RESULTS]   (default results; needs Chromium and Playwright)
Opens report.html five times in headless Chromium and prints the milliseconds to ``domInteractive``, and
the median of a hundred steps of the threshold slider, layout included.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

TRIALS = 5
WHEN = "performance.getEntriesByType('navigation')[0].domInteractive"
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


def main(results: Path) -> None:
    """Print each opening's time and the worst of them."""
    address = (results / "report.html").resolve().as_uri()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        took, slid = [], []
        for _ in range(TRIALS):
            page = browser.new_page()
            page.goto(address)
            took.append(page.evaluate(WHEN))
            slid.append(page.evaluate(SLIDE))
            page.close()
        browser.close()
    print(f"domInteractive, ms: {', '.join(f'{each:.0f}' for each in took)}; worst {max(took):.0f}")
    print(f"threshold slider, ms per step: {', '.join(f'{each:.1f}' for each in slid)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
