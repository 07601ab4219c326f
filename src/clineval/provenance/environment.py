"""What differs between the machine and versions of a record and those of here and now."""

from collections.abc import Iterator, Mapping
from typing import Any

from clineval.provenance.program_and_machine import machine, versions

PLATFORM = (
    "system",
    "machine",
    "c_library",
    "processor",
    "instruction_sets",
    "arithmetic_variables",
)
"""What of the platform may change the last digits of a number; threads and cores do not."""

WITHOUT_NUMBERS = frozenset({"clineval", "jinja2", "joblib", "matplotlib", "pyarrow", "safetensors"})
"""Packages that move numbers about, or draw them, and compute none."""


def environment_differences(record: Mapping[str, Any]) -> list[str]:
    """What differs, in words; empty where the same bytes are to be expected of the same program."""
    return [
        *_differences(record["platform"], machine(), PLATFORM),
        *_differences(record["versions"], versions(), _packages(record)),
    ]


def _packages(record: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys((*record["versions"], *versions()))
    return [name for name in names if name not in WITHOUT_NUMBERS]


def _differences(then: Mapping[str, Any], now: Mapping[str, Any], names: Any) -> Iterator[str]:
    for name in names:
        # A record of before a field was kept says nothing of it.
        if name in then and then[name] != now.get(name):
            yield f"{name.replace('_', ' ')} ({_words(then[name])} then, {_words(now.get(name))} now)"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={each}" for name, each in value.items()) or "none set"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
