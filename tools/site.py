"""Hooks of the documentation site: records become pages of it, formulas MathML."""

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ("benchmarks", "research")  # folders whose Markdown files are pages of the site
MATH = re.compile(r"(?P<code>```.*?```|`[^`\n]*`)|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\n]+)\$", re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside ``docs/``: the report, its figures, the records of measurements."""
    results = ROOT / "results"
    records = [path for folder in RECORDS for path in sorted((ROOT / folder).glob("*.md"))]
    for path in [results / "report.html", *sorted(results.glob("*.png")), *records]:
        at = "report.html" if path.name == "report.html" else f"{path.parent.name}/{path.name}"
        content = path.read_bytes() if path.suffix != ".md" else path.read_text(encoding="utf-8")
        files.append(File.generated(config, at, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to records and results stay in the site, those to other files become words."""
    up = "../" * page.file.src_uri.count("/")
    markdown = re.sub(r"\]\((?:\.\./)+(benchmarks|research|results)/", rf"]({up}\1/", markdown)
    markdown = re.sub(r"\]\((?:\.\./)+docs/", rf"]({up}", markdown)
    markdown = re.sub(r"\[([^\]]+)\]\((?:\.\./)+[\w./#-]+\)", lambda found: _kept(found, up), markdown)
    return with_mathml(markdown)


def with_mathml(markdown: str) -> str:
    """The page with ``$...$`` and ``$$...$$`` as MathML, which browsers show without a script."""
    return MATH.sub(_mathml, markdown)


def _mathml(found: re.Match[str]) -> str:
    if found["code"]:
        return found["code"]
    if found["block"]:
        return _converted(found["block"], display="block")
    # In a span, else Markdown would take a formula at the start of a line for a block of its own.
    return f"<span>{_converted(found['inline'], display='inline')}</span>"


def _converted(formula: str, *, display: str) -> str:
    return str(convert(formula, display=display)).replace("|", "&#124;")


def _kept(found: re.Match[str], up: str) -> str:
    """The link, where it leads to a page of the site; else its words alone."""
    target = found[0][found[0].index("](") + 2 : -1].removeprefix(up)
    inside = target.startswith(("benchmarks/", "research/", "results/"))
    return found[0] if inside or (ROOT / "docs" / target.partition("#")[0]).is_file() else found[1]
