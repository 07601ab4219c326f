"""Counts of the layout of src/clineval: modules, lines, arrows between packages, lengths of functions.

``python tools/layout.py`` prints them. An arrow is an import of one top-level package or file by another;
an arrow runs upwards where the importing one stands on a lower floor. Floors: the contract in pyproject.toml.
"""

import ast
import re
import statistics
import tomllib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "clineval"
CONTRACT = PACKAGE.parents[1] / "pyproject.toml"


def main() -> None:
    """Print the counts."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    arrows = {(part_of(path), to) for path, tree in trees.items() for to in imported(tree)}
    arrows = {
        (one, other) for one, other in arrows if one != other and not {"__init__", "__main__"} & {one, other}
    }
    lengths = sorted(
        code_lines(node)
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    )
    floors = floors_of_contract()
    upwards = [(one, other) for one, other in arrows if floor(one, floors) > floor(other, floors)]
    records = sum(is_record(node) for tree in trees.values() for node in ast.walk(tree))
    print(f"modules                      {len(trees)}")
    print(f"lines                        {sum(len(p.read_text().splitlines()) for p in trees)}")
    print(f"floors                       {len(floors)}")
    print(f"arrows between packages      {len(arrows)}")
    print(f"arrows that run upwards      {len(upwards)}")
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


def floors_of_contract() -> list[set[str]]:
    """The names on each floor, the highest first."""
    contracts = tomllib.loads(CONTRACT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [{name.strip().removeprefix("clineval.") for name in re.split("[|:]", layer)} for layer in layers]


def floor(name: str, floors: list[set[str]]) -> int:
    """The place of a package among the floors, 0 at the top; what is on none stands on the lowest."""
    return next((place for place, names in enumerate(floors) if name in names), len(floors) - 1)


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
