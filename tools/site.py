"""Hooks of the documentation site: the committed report, figures and benchmark records become pages of it."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside ``docs/``: the report, its figures, the records of the benchmarks."""
    results, benchmarks = ROOT / "results", ROOT / "benchmarks"
    for path in [results / "report.html", *sorted(results.glob("*.png")), *sorted(benchmarks.glob("*.md"))]:
        at = "report.html" if path.name == "report.html" else f"{path.parent.name}/{path.name}"
        content = path.read_bytes() if path.suffix != ".md" else path.read_text(encoding="utf-8")
        files.append(File.generated(config, at, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to benchmarks and results stay in the site; those to other files become words."""
    up = "../" * page.file.src_uri.count("/")
    markdown = re.sub(r"\]\((?:\.\./)+(benchmarks|results)/", rf"]({up}\1/", markdown)
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+[\w./-]+\)", lambda found: _kept(found, up), markdown)


def _kept(found: re.Match[str], up: str) -> str:
    """The link, where it leads to a page of the site; its words alone elsewhere."""
    target = found[0][found[0].index("](") + 2 : -1].removeprefix(up)
    return (
        found[0]
        if target.startswith(("benchmarks/", "results/")) or (ROOT / "docs" / target).is_file()
        else found[1]
    )
