"""Program and machine: commit, versions, processor, and what differs from a recorded run."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from clineval.files import program_version

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
)
ARITHMETIC_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
)
"""Variables that choose other machine instructions for the same sums, and so may change last digits."""

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "torch",
    "safetensors",
    "joblib",
    "threadpoolctl",
    "Pillow",
    "pydicom",
    "pynndescent",
    "matplotlib",
    "jinja2",
)
INSTRUCTION_SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


def versions() -> dict[str, str]:
    """Versions of Python and of every installed package that touches the numbers."""
    found = {"python": platform.python_version(), "clineval": program_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def machine() -> dict[str, Any]:
    """Processor, its instruction sets, cores, threads and arithmetic; neither host nor user is named."""
    model, flags = _processor()
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "c_library": " ".join(platform.libc_ver()).strip() or None,
        "processor": model,
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "cores": os.cpu_count(),
        "thread_variables": _set_among(THREAD_VARIABLES),
        "arithmetic_variables": _set_among(ARITHMETIC_VARIABLES),
        "arithmetic_libraries": _arithmetic_libraries(),
    }


def commit() -> dict[str, Any] | None:
    """Git commit of the program, its day, and whether the tree was clean; None outside a checkout."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    identity = _git(root, "show", "--no-patch", "--format=%H %cs", "HEAD")
    if not identity:
        return None
    status = _git(root, "status", "--porcelain", "--", "src", "requirements.lock", "pyproject.toml")
    name, day = identity.split()
    return {"hash": name, "day": day, "clean": status == ""}


def _set_among(names: tuple[str, ...]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _arithmetic_libraries() -> list[dict[str, Any]]:
    """The libraries for linear algebra and threads that are loaded now, and how many threads each may use."""
    found = (
        {
            "library": library["internal_api"],
            "version": library["version"],
            "kernels": library.get("architecture"),
            "threads": library["num_threads"],
        }
        for library in threadpool_info()
    )
    return sorted(found, key=str)


def _processor() -> tuple[str, frozenset[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor(), frozenset()
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags") or facts.get("Features") or ""
    return facts.get("model name") or platform.processor(), frozenset(flags.split())


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


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
