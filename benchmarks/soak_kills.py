"""Claim: a run that is killed at any moment leaves the old results or the new, never a mixture, and resumes.

    python benchmarks/soak_kills.py [KILLS] [SEED]        (20 and 0 by default; make soak)

A short run (60 + 24 + 40 phantoms, two networks of two epochs, all figures) is started again and
again over results of other data, killed with all its workers by SIGKILL at a moment drawn over the
length of an undisturbed run, and then gone on with by --resume, on one worker where it was two. After
each kill the folder must hold the old results or the new to the byte and pass ``clineval verify``;
after each resume it must hold the bytes of a run that nobody disturbed. One line per kill goes to
standard output; exit 1 where one of them failed. The committed record is benchmarks/soak_kills.log.
"""

import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clineval import __version__
from clineval.pipeline.verify import verify_results
from clineval.results import hash_folder
from clineval.results.folder import recover

SHORT_RUN = """
import sys
from dataclasses import replace
from clineval.cli import images, main
from clineval.data.phantom import phantom
import clineval.pipeline.run as pipeline

whole, _ = images.run_settings, pipeline.load_cohort  # what is replaced is there

def short(**named):
    settings = whole(**named)
    network = replace(settings.training.network, epochs=2)
    return replace(
        settings,
        training=replace(settings.training, members=2, network=network),
        evaluation=replace(settings.evaluation, draws=50),
    )

images.run_settings = short
pipeline.load_cohort = lambda *words, seed, **named: phantom(seed=seed, cases=(60, 24, 40), reason="a soak")
sys.exit(main.run_command(sys.argv[1:]))
"""


def start(folder: Path, seed: int, jobs: int, *words: str) -> subprocess.Popen[bytes]:
    """The short run as a process of a session of its own."""
    command = [sys.executable, "-c", SHORT_RUN, "run", "--dataset", "phantom", "--quiet"]
    return subprocess.Popen(
        [*command, "--seed", str(seed), "--jobs", str(jobs), "--out", "results", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def undisturbed(folder: Path, seed: int, jobs: int) -> tuple[dict[str, str], float]:
    """Hashes of what an undisturbed run writes, and the seconds that it takes."""
    began = time.perf_counter()
    if start(folder, seed, jobs).wait():
        raise SystemExit("the undisturbed run failed")
    return hash_folder(folder / "results"), time.perf_counter() - began


def killed(folder: Path, moment: float) -> bool:
    """Start the run of seed 1 and kill it after ``moment`` seconds; False where it was done by then."""
    process = start(folder, 1, 2)
    try:
        process.wait(timeout=moment)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def what_lies_there(folder: Path, known: dict[str, dict[str, str]]) -> str:
    """The name of the known results that lie there to the byte and verify, else ``MIXED``.

    The recovery with which every command begins comes first.
    """
    recover(folder / "results")
    found = hash_folder(folder / "results")
    names = [name for name, hashes in known.items() if hashes == found]
    return names[0] if names and not verify_results(folder / "results").differences else "MIXED"


def soak(kills: int, seed: int) -> bool:
    """Kill and resume ``kills`` times; True where each was whole and each resumed run the same."""
    chance = random.Random(seed)
    whole = same = 0
    with tempfile.TemporaryDirectory() as name:
        folder, kept = Path(name) / "work", Path(name) / "kept"
        folder.mkdir()
        old, seconds = undisturbed(folder, 0, 2)
        shutil.copytree(folder / "results", kept)
        # the report counts the openings of test, so a run over new results differs from one over old
        known = {"old": old, "new": undisturbed(folder, 1, 1)[0], "newer": undisturbed(folder, 1, 1)[0]}
        print(f"{kills} kills, seed {seed}, clineval {__version__}, Python {platform.python_version()}")
        print(f"an undisturbed run takes {seconds:.0f} s and writes {len(old)} files", flush=True)
        for number in range(1, kills + 1):
            shutil.rmtree(folder / "results")
            shutil.copytree(kept, folder / "results")
            moment = chance.uniform(0, seconds)
            ended = "killed" if killed(folder, moment) else "done before the kill"
            there = what_lies_there(folder, known)
            whole += there in ("old", "new")
            code = start(folder, 1, 1, "--resume").wait()
            then = what_lies_there(folder, known)
            same += code == 0 and (there, then) in (("old", "new"), ("new", "newer"))
            print(f"{number:3} at {moment:5.1f} s: {ended}, {there} results", end="")
            print(f"; resumed with exit {code} to {then} results; {_beside(folder)}", flush=True)
    print(f"whole after the kill: {whole} of {kills}")
    print(f"same bytes as undisturbed after --resume: {same} of {kills}")
    return whole == same == kills


def _beside(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.name != "results")
    return f"beside them {', '.join(names)}" if names else "nothing beside them"


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(not soak(*(numbers + [20, 0][len(numbers) :])))
