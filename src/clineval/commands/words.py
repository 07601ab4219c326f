"""What commands make of the words that they are given."""

import sys
from collections.abc import Callable
from inspect import cleandoc
from typing import Any

from rich.markup import escape

from clineval.refusal import Refusal


def command() -> list[str]:
    """The command line as it was given, for the provenance."""
    return ["clineval", *sys.argv[1:]]


def comma_list(text: str) -> tuple[str, ...]:
    """The parts between commas, less blanks."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str, kind: type, option: str) -> tuple[Any, ...]:
    """Numbers between commas; a Refusal that names the option where one is none."""
    try:
        return tuple(kind(part) for part in comma_list(text))
    except ValueError:
        raise Refusal(f"{option} needs numbers between commas; came {text!r}.") from None


def help_text(command: Callable[..., None]) -> str:
    """A command's docstring as ``--help`` shows it: sentences flow, lists and examples keep their indents."""
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(_as_listed(each) if "\n  " in each else " ".join(each.split()) for each in paragraphs)


def _as_listed(paragraph: str) -> str:
    """Lines as they stand; a tag without effect holds an indent, which typer would take away."""
    return "\n".join(f"[none]{escape(line)}[/none]" for line in paragraph.split("\n"))


def run_settings(
    *,
    dataset: str,
    size: int,
    seed: int,
    split: str = "official",
    condition: str | None = None,
    own: Any = None,
    device: str = "cpu",
    early_stopping: str = "guard",
) -> Any:
    """The settings of a run; loaded late, for --help must answer at once."""
    from clineval import settings as rooms

    return rooms.RunSettings(
        data=rooms.DataSettings(dataset=dataset, size=size, split=split, condition=condition, own=own),
        training=rooms.TrainingSettings(seed=seed, device=device, early_stopping=early_stopping),
        evaluation=rooms.EvaluationSettings(seed=seed),
    )
