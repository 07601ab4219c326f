"""Claim: the report of a finished run is interactive within a second of being opened.

Usage: python benchmarks/bench_report.py [RESULTS]   (default results; needs Chromium and Playwright)
Opens report.html five times in headless Chromium and prints the milliseconds to ``domInteractive``.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

TRIALS = 5
WHEN = "performance.getEntriesByType('navigation')[0].domInteractive"


def main(results: Path) -> None:
    """Print each opening's time and the worst of them."""
    address = (results / "report.html").resolve().as_uri()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        took = []
        for _ in range(TRIALS):
            page = browser.new_page()
            page.goto(address)
            took.append(page.evaluate(WHEN))
            page.close()
        browser.close()
    print(f"domInteractive, ms: {', '.join(f'{each:.0f}' for each in took)}; worst {max(took):.0f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
