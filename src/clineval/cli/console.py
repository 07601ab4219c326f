"""What the command line shows, how a command ends, and its exit code."""

import errno
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from textwrap import wrap
from time import monotonic
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from clineval.errors import EXTRAS, Announce, InputError, Progress, how_to_install

STUDY_FORMS = {"fraction": "g", "cases": ",.0f", "events": ",.0f", "trained_on": ",.0f", "cpu_seconds": ".1f"}
NARROWEST = 80  # columns of the narrowest terminal
WIDTH = 170  # columns of a table that goes to a file rather than to a terminal


class Screen:
    """How much is shown: the one piece of state, set again for every command."""

    quiet = False


def _safe(text: str) -> str:
    """Text from a file as rich may print it: no markup of its own, nothing that steers the terminal."""
    return escape(visible(text))


def visible(text: str) -> str:
    """The same text with every character that steers a terminal or turns its line about written out.

    A name from an untrusted file may hold such: ``\\x1b[2J`` clears the screen, ``\\u202e`` shows what
    follows from right to left, so that ``gpj.exe`` looks like ``exe.jpg``.
    """
    spaced = text.replace("\u00a0", " ").replace(
        "\u202f", " "
    )  # of a number and its unit; they steer nothing
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in spaced
    )


def complain(line: str) -> None:
    """One line on standard error, whatever the message's own line breaks and control characters."""
    print("clineval: " + visible(" ".join(line.split())), file=sys.stderr, flush=True)  # noqa: T201


def say(line: str, *, style: str | None = None) -> None:
    """One line on standard output, unless the command is to be quiet."""
    if line and not Screen.quiet:
        Console().print(_safe(line), style=style, soft_wrap=True, highlight=False)


def notify(notice: str) -> None:
    """What must be known before the work begins, on standard error, above the bars where there are any."""
    if not Screen.quiet:
        complain(notice)


@contextmanager
def display() -> Iterator[Announce]:
    """Yield ``announce(step) -> progress(done, total)``; bars on a terminal, lines elsewhere."""
    if Screen.quiet:
        yield lambda step: _nothing
    elif not sys.stderr.isatty():
        yield _announce_by_line
    else:
        with _bars() as bars:
            yield lambda step: _bar(bars, step)


@contextmanager
def study_display() -> Iterator[tuple[Announce, Callable[[Any], None] | None]]:
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
    """A line for the step, and how far it is after 5 seconds, 10 more, 20 more, 40 more, then each minute."""
    complain(step)
    wait, said = 5.0, monotonic()

    def show(done: int, total: int) -> None:
        nonlocal wait, said
        if done < total and monotonic() - said >= wait:
            complain(f"{step}: {done:,} of {total:,}")
            wait, said = min(2 * wait, 60.0), monotonic()

    return show


def _bars() -> Any:
    from rich import progress
    from rich.table import Column

    counted = (progress.MofNCompleteColumn, progress.TimeElapsedColumn, progress.TimeRemainingColumn)
    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),  # the one that shrinks in a narrow terminal
        *(column(table_column=Column(no_wrap=True)) for column in counted),
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


def show_answer(evaluation: Any, report: Path, *, external: bool = False, table: bool = False) -> None:
    """The answer in five lines, the last one the report's path; with ``table`` every model before them.

    Of an external cohort one line before them says which it is; where test cases overlap with development
    data, one more says the AUC without them.
    """
    if Screen.quiet:
        return
    from clineval.reporting.notebook import in_short, without_overlap
    from clineval.reporting.sentences import subject_of

    if table:
        show_evaluation(evaluation, main=subject_of(evaluation).main)
    lines = in_short(evaluation).splitlines()
    lines[-1:-1] = without_overlap(evaluation)
    answer = [*(lines if external else lines[1:]), *_beside_readers(subject_of(evaluation))]
    for line in answer:
        for part in wrap(line, NARROWEST, subsequent_indent="  ", break_long_words=False):
            say(part)
    say(f"Report: {report}")


def _beside_readers(subject: Any) -> list[str]:
    """How the primary model ranks beside each reader, where there are any."""
    if not subject.evaluation.readers:
        return []
    from clineval.reporting.beside import beside_lines

    return [f"Reader: {said}" for said in beside_lines(subject)]


def show_evaluation(evaluation: Any, *, main: str) -> None:
    """The table of every model: models by populations kept for testing, with intervals.

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
                table.add_row(_safe(evaluation.named(model)), _safe(population), *row)
    _print(table)


def show_readers(study: Any) -> None:
    """Each modality's average reader and each reader, then the differences of the chosen design."""
    if Screen.quiet:
        return
    from rich.table import Table

    from clineval.reporting.readers import plan_sentence
    from clineval.reporting.sentences import difference_words, measure_name, p_text, with_condition

    content = study.to_json()
    events = f"{content['events']:,} {_safe(with_condition(study.condition))}"
    table = Table(title=f"{content['cases']:,} cases ({events}); AUC with {content['level']:.0%} intervals")
    for heading in ("modality", "reader", "AUC"):
        table.add_column(heading, overflow="fold")
    for modality, panel in content["modalities"].items():
        for reader, auc in {**panel["readers"], "average reader": panel["auc"]}.items():
            table.add_row(_safe(modality), _safe(reader), _with_bounds(auc))
    _print(table)
    design = f"design {study.design.replace('_', ' ')}"
    for each in study.comparisons:
        if each.design == study.design:
            what = f"modality {each.modalities[0]} minus {each.modalities[1]}, {measure_name(each.measure)}"
            found = difference_words(each.difference, each.measure)
            say(", ".join(filter(None, (f"{what}: {found}", p_text(each.p_value), design))))
    for each in study.model_against_readers:
        margin = "" if each.margin is None else f"margin {each.margin:g} {_met(each.non_inferior)}"
        who = (
            f"{each.model} minus the average reader (modality {each.modality}), {measure_name(each.measure)}"
        )
        found = difference_words(each.difference, each.measure)
        say(", ".join(filter(None, (f"{who}: {found}", p_text(each.p_value), design, margin))))
    if study.plan is not None:
        say(plan_sentence(study.plan))


def _with_bounds(estimate: dict[str, Any]) -> str:
    """A value with its interval; of differences the bounds may lie below 0."""
    if estimate["value"] is None:
        return "undefined"
    ends = [estimate["low"], estimate["high"]]
    bounds = "no interval" if None in ends else " to ".join(f"{end:.3f}" for end in ends)
    return f"{estimate['value']:.3f} ({bounds})"


def _met(non_inferior: bool | None) -> str:
    return {True: "met", False: "not met", None: "cannot be judged"}[non_inferior]


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


def show_comparison(found: Any, *, names: tuple[str, str]) -> None:
    """Two results folders side by side: what they were made with, then what differs in their numbers."""
    for each in found.made:
        say(f"{each.what}: {each.one} | {each.other}")
    for gap in found.groups:
        say(f"On {gap.population!r} {_groups_words(gap, names)}.")
    if Screen.quiet:
        return
    _print(_risk_table(found.risks))
    _print(_threshold_table(found.thresholds, names))
    _print_measures(found.measures, names)


def _groups_words(gap: Any, names: tuple[str, str]) -> str:
    """``g2 groups the cases (266 groups of 472), g1 does not``."""
    counts = ((gap.one, gap.one_cases), (gap.other, gap.other_cases))
    said = [
        f"{name} groups the cases ({groups:,} groups of {cases:,})"
        if groups < cases
        else f"{name} does not group its {cases:,} cases"
        for name, (groups, cases) in zip(names, counts, strict=True)
    ]
    return ", ".join(said)


def _risk_table(gaps: Any) -> Any:
    from rich.table import Table

    table = Table(
        "model", "split", "cases", "largest difference", "of case", "mean difference", title="Risks"
    )
    for gap in gaps:
        cases = f"{gap.cases:,}" + (f" ({gap.unshared:,} in one only)" if gap.unshared else "")
        table.add_row(
            _safe(gap.model),
            _safe(gap.split),
            cases,
            f"{gap.largest:.2g}",
            _safe(gap.case) if gap.largest > 0 else "",
            f"{gap.mean:.2g}",
        )
    return table


def _threshold_table(gaps: Any, names: tuple[str, str]) -> Any:
    from rich.table import Table

    one, other = map(_safe, names)
    table = Table("model", "threshold", one, other, "split", "flags that turned", title="Thresholds")
    for gap in gaps:
        values = ("none" if value is None else f"{value:.6g}" for value in (gap.one, gap.other))
        turned = f"{gap.turned:,} of {gap.cases:,}"
        if (gap.one is None) != (gap.other is None):
            turned = f"only in {one if gap.other is None else other}"
        table.add_row(_safe(gap.model), _safe(gap.name), *values, _safe(gap.split), turned)
    return table


def _print_measures(gaps: Any, names: tuple[str, str]) -> None:
    from rich.table import Table

    apart = [gap for gap in gaps if gap.differs]
    if not apart:
        say(f"All {len(gaps):,} measures are equal.")
        return
    one, other = map(_safe, names)
    title = f"Measures: {len(apart):,} of {len(gaps):,} differ"
    table = Table("model", "population", "measure", one, other, "difference", title=title)
    for gap in apart:
        pairs = ((gap.one, gap.one_interval), (gap.other, gap.other_interval))
        values = (
            "undefined" if isnan(value) else f"{value:.6g} ({bounds[0]:.6g} to {bounds[1]:.6g})"
            for value, bounds in pairs
        )
        difference = "" if isnan(gap.difference) else f"{gap.difference:+.2g}"
        table.add_row(_safe(gap.model), _safe(gap.population), gap.measure, *values, difference)
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
    scores = (_with_bounds(measures["auc_logit"]), _with_bounds(measures["brier"]))
    for point in _shown_points(points):
        rates = (_with_bounds(point["sensitivity"]), _with_bounds(point["specificity"]))
        yield cases, *scores, f"{point['threshold']:.3f} {point['name']}", *rates


def _shown_points(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The thresholds that the user named; without any, the one chosen for sensitivity, else the first."""
    named = [point for point in points if point["name"] == "given"]
    chosen = [
        point for point in points if point["name"] == "sensitivity_90" and point["threshold"] is not None
    ]
    return named or chosen or points[:1]


DONE, UNEXPECTED, USAGE, REFUSED, FOUND, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 4, 130, 141
WRITE_FAULTS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENAMETOOLONG: "a name is too long for the file system",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission was denied",
    errno.EFBIG: "a file grew beyond the limit set for this process",
    errno.EPERM: "the operation is not permitted",
}
SHORT_OF_MEMORY = ("cannot allocate memory", "can't start new thread", "failed to map segment")
"""How libraries say it that do not raise a MemoryError."""


def interrupt_on_signals() -> None:
    """Let a request to end (TERM) and a terminal that closes (HUP) end the program as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup has HUP ignored, and it stays so
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def exit_code(command: Callable[[], Any]) -> int:
    """Run one command; every way in which it can end becomes one line and an exit code."""
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()
        return _interrupted() if code == INTERRUPTED else int(code or DONE)
    except typer.Exit as ending:
        return ending.exit_code
    except InputError as error:
        return _ended(str(error), code=REFUSED)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        return _output_closed()
    except SystemExit as ending:  # with 1, how rich and typer end when a pipe is closed
        return _output_closed() if ending.code else DONE
    except OSError as error:
        return _short_of_memory(error) if _is_about_memory(error) else _write_fault(error)
    except MemoryError as error:
        return _short_of_memory(error)
    except ModuleNotFoundError as error:
        return _missing_extra(error)
    except Exception as error:
        if hasattr(error, "format_message"):  # what the command line's parser raises
            return _wrong_usage(error)
        return _short_of_memory(error) if _is_about_memory(error) else _unexpected()


def _interrupted() -> int:
    return _ended("interrupted; nothing half-written was left", code=INTERRUPTED)


def _ended(line: str, *, code: int) -> int:
    complain(line)
    return code


def _wrong_usage(error: Any) -> int:
    """A missing value or one of the wrong type is refused like any other; an unknown word is wrong usage."""
    context = getattr(error, "ctx", None)
    where = context.command_path if context else "clineval"
    without_value = hasattr(error, "option_name") and not hasattr(error, "possibilities")
    code = REFUSED if isinstance(error, typer.BadParameter) or without_value else USAGE
    return _ended(f"{error.format_message().rstrip('.')}. See: {where} --help", code=code)


def _output_closed() -> int:
    """Whoever read the output has closed it, as ``head`` does: end without a word, as other programs do."""
    _drop_output()
    return PIPE_CLOSED


def _drop_output() -> None:
    """Lead streams that cannot be written nowhere, or Python would complain of them as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]


def _missing_extra(error: ModuleNotFoundError) -> int:
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return _unexpected()
    return _ended(f"this needs {package}: {how_to_install(EXTRAS[package])}", code=REFUSED)


def _is_about_memory(error: BaseException) -> bool:
    words = str(error).lower()
    return getattr(error, "errno", None) == errno.ENOMEM or any(each in words for each in SHORT_OF_MEMORY)


def _short_of_memory(error: BaseException) -> int:
    what = f" ({error})" if str(error) else ""
    return _ended(f"out of memory{what}; use fewer --jobs or a smaller --size", code=UNEXPECTED)


def _write_fault(error: OSError) -> int:
    if _from_semaphores(error):
        return _ended(
            "trainings in several processes need a /dev/shm that can be written; make it so, or use --jobs 1",
            code=REFUSED,
        )
    if error.errno not in WRITE_FAULTS:
        return _unexpected()
    _drop_output()
    where = f" at {error.filename}" if error.filename else ""
    return _ended(
        f"could not write: {WRITE_FAULTS[error.errno]}{where}; free some room or choose another --out",
        code=REFUSED,
    )


def _from_semaphores(error: OSError) -> bool:
    """Whether the system refused a semaphore, which lies in shared memory."""
    frames = traceback.extract_tb(error.__traceback__)
    return not error.filename and bool(frames) and "synchronize" in os.path.basename(frames[-1].filename)


def _unexpected() -> int:
    traceback.print_exc()
    return _ended("unexpected fault, a defect of clineval; please report the lines above", code=UNEXPECTED)
