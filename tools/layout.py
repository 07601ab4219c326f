"""Counts of the layout of src/clineval: modules, lines, arrows between packages, lengths of functions.

``python tools/layout.py`` prints them. An arrow is an import of one top-level package or file by another;
an arrow runs upwards where the importing one stands below in FLOORS.
"""

import ast
import statistics
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "clineval"
FLOORS = (
    ("cli", "__main__"),
    ("pipeline",),
    ("reporting",),
    ("evaluation", "models"),
    ("predictions",),
    ("results", "data"),
    ("files",),
    ("errors", "settings", "statistics"),
)


def main() -> None:
    """Print the counts."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    arrows = {(part_of(path), to) for path, tree in trees.items() for to in imported(tree)}
    arrows = {(one, other) for one, other in arrows if one != other and "__init__" not in (one, other)}
    lengths = sorted(
        code_lines(node)
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    )
    records = sum(is_record(node) for tree in trees.values() for node in ast.walk(tree))
    print(f"modules                      {len(trees)}")
    print(f"lines                        {sum(len(p.read_text().splitlines()) for p in trees)}")
    print(f"floors                       {len(FLOORS)}")
    print(f"arrows between packages      {len(arrows)}")
    print(f"arrows that run upwards      {sum(floor(one) > floor(other) for one, other in arrows)}")
    print(f"dataclasses                  {records}")
    print(f"functions                    {len(lengths)}")
    print(f"code lines of the median     {statistics.median(lengths):g}")
    print(f"code lines, nine in ten      {lengths[int(0.9 * len(lengths))]}")


def part_of(path: Path) -> str:
    """The top-level package or file that a module belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.Module) -> set[str]:
    """The top-level packages and files of clineval that a module imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "clineval":
            parts = node.module.split(".")[1:]
            names |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found = [alias.name.split(".") for alias in node.names if alias.name.startswith("clineval.")]
            names |= {parts[1] for parts in found}
    return {name for name in names if not name.startswith("__")}


def floor(name: str) -> int:
    """The place of a package among FLOORS, 0 at the top."""
    return next(place for place, names in enumerate(FLOORS) if name in names)


def code_lines(function: ast.FunctionDef) -> int:
    """Lines of a function's statements, its signature and docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def is_record(node: ast.AST) -> bool:
    """Whether a class is a dataclass."""
    return isinstance(node, ast.ClassDef) and any(
        "dataclass" in ast.dump(each) for each in node.decorator_list
    )


if __name__ == "__main__":
    main()
