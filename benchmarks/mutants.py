"""Claim: of small defects planted in statistics/, the tests of that room notice at least 85 in a hundred.

    python benchmarks/mutants.py [MUTANTS] [SEED] [MODULE...]       (300, 0 and all by default; make mutants)

From every place in statistics/ where an operator, a comparison, a number, a truth value or a statement
could be another, MUTANTS are drawn. Each is planted alone in a copy of the package and the fast tests of
its module are run, in a process that has numpy and scipy loaded already; a survivor then meets the fast
tests of the whole room. Tests that fail, or run for two minutes, have killed it. Messages, annotations and
docstrings are left as they are. One line per survivor; exit 1 below 85 %. The record of the last run, with
what each survivor is, lies in benchmarks/mutants.md.
"""

import ast
import contextlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOM = "src/clineval/statistics"
NEEDED = 0.85
MOST_SECONDS = 120
LOADED = ("numpy", "scipy.stats", "scipy.special", "scipy.optimize", "pandas", "pytest", "hypothesis")
TESTS = {
    "counts": ("counts", "operating_point", "auc"),
    "rates": ("rates", "operating_point"),
    "recalibration": ("recalibration", "calibration"),
    "scores": ("scores", "calibration"),
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One planted defect: the module, its new source, the line as it was, and what changed in it."""

    module: str
    source: str
    line: int
    statement: str
    change: str


def places_of(module: str) -> list[tuple[str, int]]:
    """Every place of a module where something could be another, by its number."""
    places = enumerate(_changeable(_tree(module)))
    return [(module, number) for number, node in places if _changed(node) is not None]


def mutant_at(module: str, place: int) -> Mutant:
    """The module with what stands at one place changed."""
    tree, other = _tree(module), _tree(module)
    node, target = list(_changeable(tree))[place], list(_changeable(other))[place]
    changed = _changed(target)
    assert changed is not None
    _replace(other, target, changed)
    source = ast.unparse(ast.fix_missing_locations(other))
    change = f"{ast.unparse(node)}  became  {ast.unparse(changed)}"
    return Mutant(module, source, node.lineno, _line(tree, node), change)


def _tree(module: str) -> ast.Module:
    return ast.parse((ROOT / ROOM / f"{module}.py").read_text(encoding="utf-8"))


def _line(tree: ast.AST, node: ast.AST) -> str:
    """The first line of the innermost statement that holds the node."""
    holders = [
        each
        for each in ast.walk(tree)
        if isinstance(each, ast.stmt) and any(n is node for n in ast.walk(each))
    ]
    return ast.unparse(min(holders, key=lambda each: len(list(ast.walk(each))))).splitlines()[0]


def _changeable(tree: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Expressions and statements to be changed, without what only speaks: messages, annotations, texts."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)):
            continue
        if isinstance(child, (ast.expr, ast.stmt)):
            yield child
        yield from _changeable(_without_annotations(child))


def _without_annotations(node: ast.AST) -> ast.AST:
    """A view of the node that has no annotation and no subscript that is one."""
    hidden = [name for name in ("annotation", "returns") if getattr(node, name, None) is not None]
    if not hidden:
        return node
    view = type(node)(**{name: value for name, value in ast.iter_fields(node) if name not in hidden})
    return ast.copy_location(view, node)


def _changed(node: ast.expr | ast.stmt) -> ast.AST | None:
    """The same node with its operator, number or truth value another; None where there is none."""
    changed = deepcopy(node)
    match changed:
        case ast.Compare(ops=[op, *rest]) if type(op) in COMPARISONS:
            changed.ops = [COMPARISONS[type(op)](), *rest]
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            changed.op = OPERATORS[type(op)]()
        case ast.BoolOp(op=op):
            changed.op = ast.Or() if isinstance(op, ast.And) else ast.And()
        case ast.UnaryOp(operand=operand):
            changed = operand
        case ast.Constant(value=bool(value)):
            changed.value = not value
        case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
            changed.value = value + 1
        case ast.IfExp(body=body, orelse=orelse):
            changed.body, changed.orelse = orelse, body
        case ast.Expr(value=ast.Call()):
            changed = ast.copy_location(ast.Pass(), node)
        case _:
            return None
    return changed


def _replace(tree: ast.AST, target: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(each is target for each in value):
                setattr(parent, name, [new if each is target else each for each in value])


def tests_of(module: str) -> list[str]:
    """The test files of a module, its own first."""
    return [str(ROOT / "tests" / f"test_{name}.py") for name in TESTS.get(module, (module,))]


def whole_room() -> list[str]:
    """The test files of every module of the room."""
    names = sorted(path.stem for path in (ROOT / ROOM).glob("*.py"))
    files = [tests_of(module)[0] for module in names]
    return [str(ROOT / "tests" / "test_statistics_room.py"), *(file for file in files if Path(file).exists())]


def passes(files: list[str]) -> bool:
    """Whether the fast tests of some files pass, in a child that loads the package again."""
    child = os.fork()
    if child == 0:
        os.setsid()
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            import pytest

            words = [
                "-x",
                "-q",
                "-m",
                "not slow",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:xdist",
                "--assert=plain",
            ]
            code = pytest.main([*words, f"--rootdir={ROOT}", *files])
        os._exit(int(code != 0))
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def survives(mutant: Mutant, package: Path) -> bool:
    """Whether neither the module's tests nor those of the room notice the mutant."""
    path = package / "statistics" / f"{mutant.module}.py"
    whole = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    try:
        return passes(tests_of(mutant.module)) and passes(whole_room())
    finally:
        path.write_text(whole, encoding="utf-8")


def main(count: int, seed: int, modules: list[str]) -> bool:
    """Plant a sample of mutants; True where enough were killed."""
    every = [place for module in modules for place in places_of(module)]
    sample = [mutant_at(*place) for place in random.Random(seed).sample(every, min(count, len(every)))]
    print(f"{len(sample)} of {len(every)} mutants of {len(modules)} modules, seed {seed}", flush=True)
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "clineval"
        shutil.copytree(ROOT / "src" / "clineval", package, ignore=shutil.ignore_patterns("__pycache__"))
        sys.path[:0] = [folder, str(ROOT / "tests")]
        if not passes(whole_room()):
            raise SystemExit("the tests fail without any mutant")
        for number, mutant in enumerate(sorted(sample, key=lambda each: (each.module, each.line)), start=1):
            if survives(mutant, package):
                survivors.append(mutant)
                print(f"survived: {mutant.module}.py:{mutant.line}", flush=True)
                print(f"    {mutant.statement}\n    {mutant.change}", flush=True)
            if number % 50 == 0:
                print(f"({number} done)", flush=True)
    killed = 1 - len(survivors) / len(sample)
    for module in modules:
        planted = sum(mutant.module == module for mutant in sample)
        left = sum(mutant.module == module for mutant in survivors)
        print(f"{module:18} {planted - left:3} of {planted:3} killed")
    print(f"killed: {killed:.1%} ({len(sample) - len(survivors)} of {len(sample)})")
    return killed >= NEEDED


if __name__ == "__main__":
    os.environ.update({"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    sys.dont_write_bytecode = True
    for name in LOADED:
        importlib.import_module(name)
    os.chdir(ROOT)
    numbers = [int(word) for word in sys.argv[1:3]] + [300, 0][len(sys.argv[1:3]) :]
    everything = sorted(path.stem for path in (ROOT / ROOM).glob("*.py") if path.stem != "__init__")
    sys.exit(not main(*numbers, sys.argv[3:] or everything))
