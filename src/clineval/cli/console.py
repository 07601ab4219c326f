"""What the door shows: lines, progress, and the compact table at the end of a command."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from typing import Any

from rich.console import Console
from rich.markup import escape

Progress = Callable[[int, int], None]
STUDY_FORMS = {"fraction": "g", "cases": ",.0f", "events": ",.0f", "trained_on": ",.0f", "cpu_seconds": ".1f"}
WIDTH = 170  # columns of a table that goes to a file rather than to a terminal


class Screen:
    """How much is shown: the one piece of state, set anew for every command."""

    quiet = False


def _safe(text: str) -> str:
    """Text from a file as rich may print it: no markup of its own, nothing that steers the terminal."""
    return escape(visible(text))


def visible(text: str) -> str:
    """The same text with every character that steers a terminal or turns its line about written out.

    A name from a stranger's file may hold such: ``\\x1b[2J`` clears the screen, ``\\u202e`` shows what
    follows from right to left, so that ``gpj.exe`` looks like ``exe.jpg``.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def complain(line: str) -> None:
    """One line on standard error, whatever the message's own line breaks and control characters."""
    print("clineval: " + visible(" ".join(line.split())), file=sys.stderr, flush=True)  # noqa: T201


def say(line: str, *, style: str | None = None) -> None:
    """One line on standard output, unless the command is to be quiet."""
    if line and not Screen.quiet:
        Console().print(_safe(line), style=style, soft_wrap=True, highlight=False)


@contextmanager
def display() -> Iterator[Callable[[str], Progress]]:
    """Yield ``announce(step) -> progress(done, total)``; bars on a terminal, a line a step elsewhere."""
    if Screen.quiet:
        yield lambda step: _nothing
    elif not sys.stderr.isatty():
        yield _announce_by_line
    else:
        with _bars() as bars:
            yield lambda step: _bar(bars, step)


@contextmanager
def study_display() -> Iterator[tuple[Callable[[str], Progress], Callable[[Any], None] | None]]:
    """As :func:`display`, and ``show(summary)``: the table so far above the bars, None off a terminal."""
    if Screen.quiet or not sys.stderr.isatty():
        with display() as announce:
            yield announce, None
        return
    from rich.console import Group
    from rich.live import Live

    bars = _bars()
    with Live(bars, console=Console(stderr=True), transient=True) as live:
        yield lambda step: _bar(bars, step), lambda summary: live.update(Group(study_table(summary), bars))


def _nothing(_done: int, _total: int) -> None:
    """Show no progress."""


def _announce_by_line(step: str) -> Progress:
    complain(step)
    return _nothing


def _bars() -> Any:
    from rich import progress

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _bar(bars: Any, step: str) -> Progress:
    for earlier in bars.tasks:
        bars.update(earlier.id, completed=earlier.total or 1, total=earlier.total or 1)
    task = bars.add_task(_safe(step), total=None)
    return lambda done, total: bars.update(task, completed=done, total=total)


def _print(table: Any) -> None:
    """Print a table over the terminal's width, or over a fixed one into a file."""
    (Console() if sys.stdout.isatty() else Console(width=WIDTH)).print(table)


def show_study(summary: Any) -> None:
    """The summary of a study at its end."""
    if not Screen.quiet:
        _print(study_table(summary))


def study_table(summary: Any) -> Any:
    """The summary of a study: a row per model, variant and fraction (a DataFrame)."""
    from rich.table import Table

    table = Table(title="Grouped cross-validation on train and val; the test set was not scored")
    for name in summary.columns:
        table.add_column(name.replace("_", " "))
    for row in summary.itertuples(index=False):
        table.add_row(*(_study_cell(name, cell) for name, cell in zip(summary.columns, row, strict=True)))
    return table


def _study_cell(name: str, cell: Any) -> str:
    """Counts as whole numbers, for means of them over folds are no finer; a dash where nothing is defined."""
    if not isinstance(cell, float):
        return _safe(str(cell))
    if isnan(cell):
        return "–"
    return f"{cell:{STUDY_FORMS.get(name, '.3f')}}"


def show_evaluation(evaluation: Any, *, main: str) -> None:
    """The compact table at the end: models by populations kept for testing, with intervals.

    ``main`` is the model that the report speaks of first.
    """
    if Screen.quiet:
        return
    from rich.table import Table

    record = evaluation.to_json()
    table = Table(
        title=f"Condition: {_safe(record['condition'])}; values with {record['level']:.0%} intervals",
        caption=f"Sensitivity and specificity at the threshold named. {_safe(_caption(record, main))}",
    )
    for heading in (
        "model",
        "population",
        "n (events)",
        "AUC",
        "Brier",
        "threshold",
        "sensitivity",
        "specificity",
    ):
        table.add_column(heading, overflow="fold")
    for model, populations in record["models"].items():
        for population, measures in populations.items():
            for row in _summary_rows(measures):
                table.add_row(_safe(model), _safe(population), *row)
    _print(table)


def show_findings(findings: Any) -> None:
    """How often each kind of finding was made, the worst kinds first."""
    if Screen.quiet:
        return
    from rich.table import Table

    table = Table("code", "found", "what", "severity")
    counted = Counter((finding.code, finding.kind.title, finding.kind.severity) for finding in findings)
    for (code, title, severity), number in counted.items():
        table.add_row(code, f"{number:,}", _safe(title), severity)
    if not counted:
        say("Nothing was found.")
    else:
        _print(table)


def _caption(record: dict[str, Any], main: str) -> str:
    models = record["models"]
    for model in sorted(models, key=lambda name: name != main):
        for scores in models[model].values():
            if scores.get("adequacy"):
                sentence = scores["adequacy"]["sentence"]
                return f"Judged by the AUC of {model}: {sentence[0].lower()}{sentence[1:]}"
    return ""


def _summary_rows(measures: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Rows for a population kept for testing: thresholds that were given, else the chosen one."""
    points = measures.get("operating_points") or []
    if not points or measures.get("used_for"):
        return
    cases = f"{measures['cases']:,} ({measures['events']:,})"
    scores = (_interval(measures["auc_logit"]), _interval(measures["brier"]))
    for point in _shown_points(points):
        rates = (_interval(point["sensitivity"]), _interval(point["specificity"]))
        yield cases, *scores, f"{point['threshold']:.3f} {point['name']}", *rates


def _shown_points(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The thresholds that the user named; without any, the one chosen for sensitivity, else the first."""
    named = [point for point in points if point["name"] == "given"]
    chosen = [
        point for point in points if point["name"] == "sensitivity_90" and point["threshold"] is not None
    ]
    return named or chosen or points[:1]


def _interval(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "undefined"
    low, high = (
        f"{bound:.3f}" if bound is not None else "?" for bound in (estimate["low"], estimate["high"])
    )
    return f"{estimate['value']:.3f} ({low}-{high})"
