"""Code, messages, report and pages use the field's words, not a private vocabulary."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRIVATE = {
    r"came(?! (from|to)\b)": "expected A, got B",
    r'(?<!"test_with_)(?<!"val_with_)twins?': "near-duplicates",
    r"at home": "development data, internal",
    r"strangers?'": "untrusted",
    r"anybody's": "from any source",
    r"doubts?": "confidence interval",
    r"mend(ed|s|ing)?": "fix, recalibrate",
    r"(further|every) looks?": "views",
    r"(as )?shipped|as they ship": "final, stored",
    r"tells? (nobody|no one) apart|can(not)? be told (apart|from)": "is constant; cannot be distinguished",
    r"chosen by nobody": "picked at even intervals",
    r"cannot tell|can and cannot tell": "cannot show, cannot distinguish",
    r"flagging (everybody|nobody)": "treating all, treating none",
    r"the door": "the command line",
}
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
    *sorted((ROOT / "examples").glob("*")),
    *sorted((ROOT / "research").glob("*.py")),
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG", "research/README")),
]
SOURCE = [
    path for path in (ROOT / "src").rglob("*") if path.suffix in {".py", ".jinja", ".js", ".css", ".csv"}
]


@pytest.mark.parametrize("private", PRIVATE)
def test_no_private_word_stands_in_code_or_pages(private):
    pattern = re.compile(rf"(?:\b|(?<=[_\d]))(?:{private})(?:\b|(?=[_\d]))", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]!r}, say {PRIVATE[private]}"
        for path in [*SOURCE, *PAGES]
        if path.is_file()
        for hit in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
