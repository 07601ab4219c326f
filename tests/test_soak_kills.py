"""The long soak lies outside the tests; that it still fits the program is tested here."""

import subprocess
import sys
from pathlib import Path

import pytest

import clineval

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_the_run_that_is_soaked_finds_all_that_it_replaces():
    start = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import soak_kills; exec(soak_kills.SHORT_RUN)"
    )
    ended = subprocess.run([sys.executable, "-c", start, "--version"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert clineval.__version__ in ended.stdout
