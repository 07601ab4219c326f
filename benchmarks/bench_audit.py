"""The audit finds every planted near-duplicate and nothing else, in seconds; the usual tools do not.

Claims:
- 780 images at 28 x 28 in under 2 s; 10,000 in under 90 s and 2 GB on two cores; 100,000 through an
  approximate first pass whose recall is measured against the exact search.
- On the phantom set: recall 1 for each corruption and precision 1 at the default threshold.
- Side by side on the same images, as PNG files, each tool at its defaults: imagededup, cleanvision, fastdup.

    python benchmarks/bench_audit.py [--sizes 780 10000] [--approximate 20000] [--peers PYTHON] [--out FILE]

PYTHON is an interpreter of another environment with any of: pip install imagededup cleanvision fastdup.
Images are phantoms (seeds 0 and 100 onwards, 10,000 a seed). One trial per row; each row in a process of
its own, so that its peak memory is its own.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import scipy
from PIL import Image

from clineval.data import duplicates
from clineval.data.audit import audit
from clineval.data.phantom import phantom, planted

PART = 10_000  # images drawn from one seed
PEERS = Path(__file__).with_name("peers_audit.py")


def many_images(count):
    """Distinct phantom images, drawn in parts so that drawing does not decide the peak memory."""
    if count <= PART:
        images = phantom(0, cases=(count - 2 * (count // 5), count // 5, count // 5)).images
    else:
        parts = [phantom(100 + k, cases=(6000, 2000, 2000)).images for k in range(-(-count // PART))]
        images = np.concatenate(parts)[:count]
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    return images[np.sort(first)]


def one_search(images, *, exact):
    duplicates.EXACT_UP_TO = sys.maxsize if exact else 0
    wall, cpu = time.perf_counter(), time.process_time()
    found = duplicates.find_duplicates(images)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    pairs = {
        (int(a), int(b))
        for a, b in zip(found.listed.first[found.counted], found.listed.second[found.counted], strict=True)
    }
    peak = _peak_megabytes()
    return {"images": len(images), "wall": wall, "cpu": cpu, "peak_mb": peak, "pairs": sorted(pairs)}


def _peak_megabytes():
    """This program's own peak; getrusage would count the parent's too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def in_its_own_process(file, *, exact):
    command = [sys.executable, __file__, "--one", str(file), "exact" if exact else "approximate"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def table_of_times(sizes, approximate):
    lines = [
        "| images | search | wall, s | CPU, s | peak, MB | near-duplicates | recall |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for size in sorted({*sizes, *approximate}):
            file = Path(folder) / f"{size}.npy"
            np.save(file, many_images(size))
            exact = in_its_own_process(file, exact=True) if size in sizes else None
            if exact:
                lines.append(_row(exact, "exact", "1"))
            if size in approximate:
                nearly = in_its_own_process(file, exact=False)
                lines.append(_row(nearly, "approximate", _recall(nearly, exact)))
    return lines


def _row(result, search, recall):
    return (
        f"| {result['images']:,} | {search} | {result['wall']:.1f} | {result['cpu']:.1f} | "
        f"{result['peak_mb']:.0f} | {len(result['pairs'])} | {recall} |"
    )


def _recall(nearly, exact):
    if exact is None:
        return "not measured"
    every, got = set(map(tuple, exact["pairs"])), set(map(tuple, nearly["pairs"]))
    return f"{len(every & got)} of {len(every)}"


def side_by_side(peers):
    cohort = phantom(0)
    wanted = {frozenset((pair.original, pair.copy)): pair.corruption for pair in planted(0)}
    start = time.perf_counter()
    ours = {frozenset(pair.cases) for pair in audit(cohort).pairs}
    answers = [("clineval audit", time.perf_counter() - start, ours)]
    if peers:
        with tempfile.TemporaryDirectory() as folder:
            for name, image in zip(cohort.case.tolist(), cohort.images, strict=True):
                Image.fromarray(image).save(Path(folder) / f"{name.replace('/', '_')}.png")
            command = [peers, str(PEERS), folder]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for line in filter(lambda text: text.startswith("{"), output.splitlines()):
            answers.append(_answer_of(json.loads(line)))
    return _comparison(answers, wanted)


def _answer_of(record):
    if "error" in record:
        return record["tool"], float("nan"), record["error"]
    pairs = {frozenset(Path(name).stem.replace("_", "/") for name in pair) for pair in record["pairs"]}
    return record["tool"], record["seconds"], pairs


def _comparison(answers, wanted):
    kinds = sorted(set(wanted.values()))
    lines = [
        "| tool | recall | precision | pairs reported | wall, s | " + " | ".join(kinds) + " |",
        "|---|---|---|---|---|" + "---|" * len(kinds),
    ]
    for tool, taken, pairs in answers:
        if isinstance(pairs, str):
            lines.append(f"| {tool} | did not run: {pairs} |" + " |" * (3 + len(kinds)))
            continue
        hits = pairs & set(wanted)
        found, total = defaultdict(int), defaultdict(int)
        for pair, kind in wanted.items():
            total[kind] += 1
            found[kind] += pair in hits
        precision = f"{len(hits) / len(pairs):.3g}" if pairs else "none reported"
        by_kind = " | ".join(f"{found[kind]}/{total[kind]}" for kind in kinds)
        lines.append(
            f"| {tool} | {len(hits)}/{len(wanted)} | {precision} | {len(pairs)} | {taken:.1f} | {by_kind} |"
        )
    return lines


def setting():
    return (
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"{os.cpu_count()} cores ({platform.machine()}), one trial a row; times include whatever else the "
        f"machine was doing (load average {os.getloadavg()[0]:.1f} at the start)."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[780, 3000, 10_000])
    parser.add_argument("--approximate", type=int, nargs="*", default=[])
    parser.add_argument("--peers")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        images = np.load(options.one[0], allow_pickle=False)
        print(json.dumps(one_search(images, exact=options.one[1] == "exact")))
        return
    lines = ["# The audit: time and recall", "", setting(), "", "## Time against the number of images", ""]
    lines += table_of_times(options.sizes, options.approximate)
    lines += ["", "## Recall by corruption on the phantom set (seed 0, 780 images, 29 planted pairs)", ""]
    lines += side_by_side(options.peers)
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
