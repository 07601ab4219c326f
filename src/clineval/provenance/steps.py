"""What a run cost: wall time, processor time and peak memory of each step, workers included."""

import contextlib
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clineval.provenance import clock

PROCESSES = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Step:
    """One step of a run: wall and CPU time in seconds, workers included, and peak memory in MB so far.

    ``peak_memory_mb`` is that of the largest single process.
    """

    name: str
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float


@dataclass
class Recorder:
    """Collects the steps of one run as they end; ``training`` is CPU seconds per model, workers included."""

    started: str = field(default_factory=lambda: clock.now())
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
                round(max(0.0, _cpu_seconds() - cpu), 3),
                round(_peak_memory_mb(), 1),
            )
        )


def _cpu_seconds() -> float:
    """Seconds of this process, of its children that have ended, and of those that still live."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage) + sum(_cpu_of(each) for each in _children())


def _peak_memory_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    ended = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(*(size * unit for size in ended), *(_peak_of(each) for each in _children()), 0) / 1e6


def _children() -> list[Path]:
    """The living children of this process, where the system lists them: workers wait between steps."""
    own = str(os.getpid())
    return [each for each in PROCESSES.glob("[0-9]*") if _fields(each)[1:2] == [own]]


def _fields(process: Path) -> list[str]:
    """The fields of a process from its state on; empty where it has just ended."""
    try:
        return (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_of(process: Path) -> float:
    # proc(5): user and system time of the process and of its own ended children are fields 14 to 17.
    return sum(int(ticks) for ticks in _fields(process)[11:15]) / TICKS


def _peak_of(process: Path) -> int:
    try:
        text = (process / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else 0
