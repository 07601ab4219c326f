"""Take docs/report.png, a picture of the first screen of a report.

    python tools/picture.py results/report.html

Needs Chromium and Playwright; a step of ``make results``.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "report.png"


def main() -> None:
    """Write the picture, or say what is missing."""
    browser = shutil.which("chromium")
    if browser is None:
        sys.exit("docs/report.png is kept as it is: taking it needs chromium, which is not installed.")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 720}, color_scheme="light")
        page.goto(Path(sys.argv[1]).resolve().as_uri())
        page.screenshot(path=PICTURE)
        chromium.close()


if __name__ == "__main__":
    main()
