"""Claim: `clineval evaluate` scores a 10-million-row Parquet table of two models in under 2 minutes and 8 GB.

Writes such a table (half the rows per model, text names of cases, one outcome and risk each), runs the
step in a fresh process with a memory gauge, and prints wall time, CPU time and peak memory; then a table
of time against rows, which grows as n log n. No peer does the same job, so the yardstick beside it is one
`numpy.argsort` of all risks in the same run.

    python benchmarks/bench_evaluate.py [ROWS ...]
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

ROWS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)

STEP = """
import json, resource, sys, time
from pathlib import Path
from clineval.pipeline.evaluate import evaluate_file
start = time.perf_counter()
evaluate_file(Path(sys.argv[1]), out=Path(sys.argv[2]), force=True)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6]))
"""


def write_table(path: Path, rows: int, *, seed: int = 0) -> np.ndarray:
    """Two models on the same cases, 27 % with the condition; returns all risks."""
    rng = np.random.default_rng(seed)
    cases = rows // 2
    outcome = rng.random(cases) < 0.27
    signal = rng.normal(size=cases) + 1.5 * outcome
    risks = [1 / (1 + np.exp(1.5 - signal - noise * rng.normal(size=cases))) for noise in (0.5, 0.8)]
    case = pc.binary_join_element_wise("case", pa.array(np.arange(cases)).cast(pa.string()), "-")
    model = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat([0, 1], cases), pa.int32()), ["first", "second"]
    )
    table = pa.table(
        {
            "model": model,
            "split": pa.DictionaryArray.from_arrays(pa.array(np.zeros(2 * cases), pa.int32()), ["test"]),
            "case": pa.concat_arrays([case, case]),
            "outcome": np.tile(outcome.astype(np.int8), 2),
            "risk": np.concatenate(risks),
        }
    )
    pyarrow.parquet.write_table(table, path)
    return np.concatenate(risks)


def measure(rows: int, folder: Path) -> tuple[float, float, float, float]:
    """Wall seconds, CPU seconds and peak GB of the step, and the seconds of one argsort."""
    path = folder / "table.parquet"
    risks = write_table(path, rows)
    start = time.perf_counter()
    np.argsort(risks)
    sort = time.perf_counter() - start
    del risks
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(path), str(folder / "out")],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return (*json.loads(done.stdout.splitlines()[-1]), sort)


def main() -> None:
    """Print the table."""
    sizes = [int(word) for word in sys.argv[1:]] or ROWS
    machine = platform.processor() or platform.machine()
    print(f"{machine}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{'rows':>10} {'wall s':>8} {'CPU s':>8} {'peak GB':>8} {'argsort s':>10} {'wall/argsort':>13}")
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            wall, cpu, peak, sort = measure(rows, Path(folder))
            print(f"{rows:>10} {wall:>8.2f} {cpu:>8.2f} {peak:>8.2f} {sort:>10.4f} {wall / sort:>13.0f}")


if __name__ == "__main__":
    main()
