"""Where a result came from: command, settings, commit, versions, machine, steps, hashes, test openings."""

import contextlib
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from clineval import __version__

SCHEMA = 1
FILE = "provenance.json"
LEDGER = "ledger.jsonl"
UNHASHED = (FILE, LEDGER)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "PYTHONHASHSEED",
)
PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "statsmodels",
    "torch",
    "safetensors",
    "joblib",
    "Pillow",
    "matplotlib",
    "jinja2",
)
INSTRUCTION_SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


@dataclass(frozen=True)
class Step:
    """One step of a run: wall and CPU time in seconds (ended children included), peak memory in MB so far."""

    name: str
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float


@dataclass
class Recorder:
    """Collects the steps of one run as they end; ``training`` is CPU seconds per model, workers included."""

    started: str = field(default_factory=lambda: _now())
    steps: list[Step] = field(default_factory=list)
    training: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block under ``name``."""
        wall, cpu = time.perf_counter(), _cpu_seconds()
        yield
        self.steps.append(
            Step(
                name,
                round(time.perf_counter() - wall, 3),
                round(_cpu_seconds() - cpu, 3),
                round(_peak_memory_mb(), 1),
            )
        )


def describe(
    *,
    kind: str,
    command: Iterable[str],
    settings: Mapping[str, Any],
    source: Mapping[str, Any],
    recorder: Recorder,
) -> dict[str, Any]:
    """All that is known before the artefacts are hashed; paths in ``command`` become file names."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "program": f"clineval {__version__}",
        "command": scrub_command(command),
        "settings": dict(settings),
        "commit": commit(),
        "versions": versions(),
        "platform": machine(),
        "data": dict(source),
        "started": recorder.started,
        "steps": [asdict(step) for step in recorder.steps],
        "training_cpu_seconds": dict(recorder.training),
    }


def seal(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``provenance.json`` with the SHA-256 of every artefact beside it."""
    text = json.dumps({**record, "artefacts": hash_folder(folder)}, indent=2, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def hash_folder(folder: Path) -> dict[str, str]:
    """SHA-256 of every plain file below ``folder`` but provenance and ledger, by its path within."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: hash_file(path) for name, path in names.items() if name not in UNHASHED}


def hash_file(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scrub_command(words: Iterable[str]) -> list[str]:
    """The command's words with every path cut to its last part: no folder of a user reaches the results."""
    return [_scrub(word) for word in words]


def _scrub(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (Path(value).name or value if os.sep in value else value)


def versions() -> dict[str, str]:
    """Versions of Python and of every installed package that touches the numbers."""
    found = {"python": platform.python_version(), "clineval": __version__}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def machine() -> dict[str, Any]:
    """Processor, its instruction sets, cores and thread variables; neither host nor user is named."""
    model, flags = _processor()
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": model,
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "cores": os.cpu_count(),
        "thread_variables": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
    }


def commit() -> dict[str, Any] | None:
    """Git commit of the program and whether its tree was clean; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    identity = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--", "src", "requirements.lock", "pyproject.toml")
    return {"hash": identity, "clean": status == ""} if identity else None


def open_ledger(path: Path, *, population: str, frozen: Mapping[str, Any]) -> int:
    """Append one opening of a sealed population to the ledger; return how many there are now.

    Each line holds the SHA-256 of the line before, so that none can be dropped or altered unseen.
    ``frozen`` says what was fixed before the opening (settings, thresholds, their hashes).
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    entry = {
        "opened": _now(),
        "population": population,
        "commit": commit(),
        "frozen": dict(frozen),
        "previous": _hash_text(lines[-1]) if lines else None,
    }
    lines.append(json.dumps(entry, sort_keys=True, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def broken_link(path: Path) -> int | None:
    """Number of the first ledger line (from 1) that does not follow from the one before; None if whole."""
    previous = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            return number
        if not isinstance(entry, dict) or entry.get("previous") != previous:
            return number
        previous = _hash_text(line)
    return None


def hash_settings(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings in canonical JSON: equal settings, equal hash."""
    return _hash_text(json.dumps(settings, sort_keys=True, default=str))


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage)


def _peak_memory_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return (
        max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        * unit
        / 1e6
    )


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
