"""What the scripts and notebooks take from clineval is there; nothing of them runs here."""

import ast
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "examples", "notebooks", "research", "tools")
FILES = sorted(
    path.relative_to(ROOT)
    for folder in FOLDERS
    for pattern in ("*.py", "*.ipynb")
    for path in (ROOT / folder).rglob(pattern)
)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_name_that_a_script_takes_from_clineval_exists(path):
    assert list(missing(code_of(ROOT / path))) == []


def test_a_name_that_is_gone_is_found():
    code = "from clineval.errors import InputError, Gone\nimport clineval, clineval.gone.too\nclineval.gone"
    assert list(missing(code)) == ["clineval.errors.Gone", "clineval.gone.too", "clineval.gone"]


def code_of(path: Path) -> str:
    """A script, or the code cells of a notebook less the lines that only IPython reads."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join(line for cell in cells for line in "".join(cell).splitlines() if line[:1] != "%")


def missing(code: str) -> Iterator[str]:
    """Full names that the code imports from clineval, or reads of a module of it, and that do not exist."""
    modules: dict[str, ModuleType] = {}
    tree = ast.parse(code)
    for node in ast.walk(tree):
        for full, bound in imported(node):
            try:
                found = resolved(full)
            except (ImportError, AttributeError):
                yield full
            else:
                if isinstance(found, ModuleType):
                    modules[bound] = found
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            module = modules[node.value.id]
            if not hasattr(module, node.attr):
                yield f"{module.__name__}.{node.attr}"


def imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The full names that one statement imports from clineval, and what the code calls them."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == "clineval":
                yield alias.name, alias.asname or alias.name
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "clineval":
        yield from ((f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names)


def resolved(full: str) -> object:
    """A module, or a name in one."""
    place, _, name = full.rpartition(".")
    if not place:
        return import_module(name)
    module = import_module(place)
    return getattr(module, name) if hasattr(module, name) else import_module(full)
