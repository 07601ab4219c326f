"""The documentation site: what its hooks make of a page."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site():
    spec = spec_from_file_location("site_hooks", ROOT / "tools" / "site.py")
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("code", ["`$HOME and $PATH`", "```\necho $A $B\n```"])
def test_dollars_in_code_are_no_formula(site, code):
    assert site.with_mathml(code) == code


def test_a_formula_becomes_mathml(site):
    made = site.with_mathml(r"a share of $|\hat p|$ and $$\frac{k}{N}$$")
    assert made.count('display="inline"') == made.count('display="block"') == 1
    assert "<mfrac>" in made
    assert made.count("<span>") == 1  # else Markdown would break a line that begins with a formula
    assert "|" not in made  # else a formula would end a cell of a table


def test_every_formula_of_the_pages_is_understood(site):
    for path in sorted((ROOT / "docs").rglob("*.md")):
        made = re.sub(
            r"```.*?```|`[^`\n]*`", "", site.with_mathml(path.read_text(encoding="utf-8")), flags=re.DOTALL
        )
        left = [line for line in made.splitlines() if "$" in line or re.search(r"\\[a-zA-Z]", line)]
        assert left == [], path.name
