"""Claim: files bred towards new branches of the readers do not break them either.

    python benchmarks/fuzz_coverage.py [RUNS] [READER...]      (20000 and the text readers; part of make fuzz)

Where atheris is installed (``pip install atheris``; it has no build for every system, so it is in no
lock), its coverage-guided fuzzing gives each reader RUNS files bred from the whole ones of
benchmarks/fuzz_readers.py. A refusal and a file read are right; anything else ends the run with the input.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

TEXT = ("predictions-csv", "own-table", "medmnist-results", "evaluation", "provenance", "ledger", "study")

SHARED = "/dev/shm"


def breed(name: str, runs: int) -> None:
    """Fuzz one reader in this process, which ends with the last run or the first wrong outcome."""
    import atheris

    corpus, folder = Path(tempfile.mkdtemp()), tempfile.mkdtemp(dir=SHARED if os.path.isdir(SHARED) else None)
    with atheris.instrument_imports(include=["clineval"]):
        import fuzz_readers

        reader = fuzz_readers.READERS[name]()
        path = Path(folder) / reader.file
        path.write_bytes(reader.seeds[0])
        reader.read(path)  # a reader may import only when it is called
    for number, seed in enumerate(reader.seeds):
        (corpus / str(number)).write_bytes(seed)

    def give(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(*fuzz_readers.REFUSALS):
            reader.read(path)

    limits = [f"-runs={runs}", "-timeout=5", "-rss_limit_mb=4096", "-max_len=20000", "-seed=1"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], give)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        breed(sys.argv[2], int(sys.argv[3]))
    if find_spec("atheris") is None:
        print("coverage-guided fuzzing left out: atheris is not installed (pip install atheris)")
        sys.exit(0)
    count = sys.argv[1] if len(sys.argv) > 1 else "20000"
    failed = []
    for name in sys.argv[2:] or TEXT:
        ended = subprocess.run(
            [sys.executable, __file__, "--one", name, count], capture_output=True, text=True
        )
        last = [line for line in ended.stderr.splitlines() if "cov:" in line or "Error" in line][-1:]
        print(f"{name:20} {count} runs, exit {ended.returncode}: {' '.join(last)[:150]}", flush=True)
        failed += [name] if ended.returncode else []
    sys.exit(bool(failed))
