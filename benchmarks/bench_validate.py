"""Claim: a run is validated on 472 images within 30 s, on 10,000 in less than 2 GB; predict answers in 1.5 s.

Usage: python benchmarks/bench_validate.py [RESULTS]   (default results)
Each measurement is a process of its own: wall and CPU seconds, peak memory. Images are phantoms written as
PNG of 300 x 360 pixels (upright, so that two squares of each are scored) and of 28 x 28 pixels (square, as
MedMNIST's own files). Two cores are assumed; CPU seconds over two is what they would take at best.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from clineval.data.phantom import phantom

TRIALS = 5
SMALL, LARGE = 472, 10_000
CORES = 2


@dataclass(frozen=True)
class Cost:
    """Of one process: seconds on the clock, seconds of all cores, peak memory in MB."""

    wall: float
    cpu: float
    memory: float

    def __str__(self) -> str:
        return f"{self.wall:7.1f} s wall, {self.cpu:7.1f} s CPU, peak {self.memory:5.0f} MB"


def main(results: Path) -> None:
    """Print each measurement beside its target."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        upright = write_images(folder / "upright", LARGE, size=(300, 360))
        square = write_images(folder / "square", LARGE, size=(28, 28))
        few = write_table(folder / "few.csv", SMALL)
        many = write_table(folder / "many.csv", LARGE)
        base = idle()
        print(f"a process of Python and numpy alone: {base}")
        answers = [run(["predict", str(results), str(upright / "im00000.png")]) for _ in range(TRIALS)]
        print(f"predict, one image, best of {TRIALS} (target 1.5 s): {min(answers, key=lambda c: c.wall)}")
        for label, place in (("28 x 28", square), ("300 x 360, two squares each", upright)):
            cost = run(["predict", str(results), str(place), "--out", str(folder / "risks.csv")])
            speed, best = LARGE / cost.wall, LARGE / cost.cpu * CORES
            print(f"predict, {LARGE:,} images {label} (target 1,000/s): {cost}")
            print(f"  = {speed:,.0f} images/s on the clock, {best:,.0f}/s by CPU seconds over {CORES} cores")
        for label, table, target in ((SMALL, few, "30 s"), (LARGE, many, "2,000 MB")):
            cost = run(validate_words(results, table, upright, folder / f"validated-{label}"))
            print(f"validate, {label:,} images (target {target}): {cost}")


def write_images(folder: Path, count: int, *, size: tuple[int, int]) -> Path:
    """So many PNG files: phantoms blown up to ``size`` (width, height), each with noise of its own."""
    folder.mkdir()
    drawn = phantom(0, cases=(400, 8, 8)).images
    random = np.random.default_rng(0)
    for number in range(count):
        image = Image.fromarray(drawn[number % len(drawn)]).resize(size, Image.Resampling.BILINEAR)
        noisy = np.asarray(image) + random.normal(0, 6, size[::-1])
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / f"im{number:05d}.png")
    return folder


def write_table(path: Path, count: int) -> Path:
    """A table of so many images, two a patient, a third with the condition, four scanners."""
    lines = [
        f"im{row:05d},p{row // 2},{'malignant' if row // 2 % 3 == 0 else 'benign'},scanner {row // 2 % 4}"
        for row in range(count)
    ]
    path.write_text("\n".join(["id,patient,pathology,device", *lines]) + "\n")
    return path


def validate_words(results: Path, table: Path, images: Path, out: Path) -> list[str]:
    """The command line of a validation."""
    columns = ["--image-column", "id", "--outcome-column", "pathology", "--positive", "malignant"]
    place = ["--group-column", "patient", "--image-folder", str(images), "--name", "hospital-b"]
    return ["validate", str(results), str(table), *columns, *place, "--out", str(out)]


def run(words: Sequence[str]) -> Cost:
    """What one command of the program costs."""
    return cost_of([sys.executable, "-m", "clineval", "--quiet", *words])


def idle() -> Cost:
    """What a process costs that does nothing, for comparison in the same minute."""
    return cost_of([sys.executable, "-c", "import numpy"])


def cost_of(command: Sequence[str]) -> Cost:
    """Run a command to its end."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {said.decode()}")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
