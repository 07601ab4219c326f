"""Claim: a study's wall time falls with the number of cluster workers, and its bytes stay the same.

Against: the same study in one process without a cluster. A Dask scheduler and workers of one thread each
are started on loopback; the data are phantoms; 12 networks of 30 epochs; one trial each. The last line is
one JSON object with `seconds` by number of workers (0 = no cluster), `speed_up` of 2 workers over 1,
`asker_ms_per_training` (processor time of the asking process), `same_bytes`.

    python benchmarks/bench_scaling.py
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clineval.data.phantom import phantom
from clineval.pipeline.study import study
from clineval.settings import StudySettings, TrainingSettings

PLAN = StudySettings(models=("cnn_single",), seeds=(0, 1, 2), folds=4, repeats=1)
TRAININGS = 12
FOLDER = tempfile.gettempdir()  # where workers may keep their scratch files


def main() -> None:
    cohort = phantom(0)
    results = {0: timed(cohort, None)}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            processes, address = start_cluster(Path(folder), workers)
            try:
                timed(cohort, address, seeds=(99,))  # the workers import what they need
                results[workers] = timed(cohort, address)
            finally:
                for process in reversed(processes):
                    process.terminate()
                    process.wait()
    for workers, (seconds, asker, _) in results.items():
        sys.stdout.write(f"{workers} workers: {seconds:.1f} s wall, {asker:.1f} s of the asking process\n")
    report = {
        "seconds": {str(workers): seconds for workers, (seconds, _, _) in results.items()},
        "speed_up": results[1][0] / results[2][0],
        "asker_ms_per_training": 1000 * results[2][1] / TRAININGS,
        "same_bytes": len({digest for _, _, digest in results.values()}) == 1,
    }
    sys.stdout.write(json.dumps(report) + "\n")


def timed(cohort, address, seeds=PLAN.seeds):
    """Wall seconds, processor seconds of this process, and a digest of the risks."""
    plan = StudySettings(PLAN.models, seeds, PLAN.folds, PLAN.repeats)
    wall, cpu = time.perf_counter(), time.process_time()
    risks = study(cohort, settings=plan, training=TrainingSettings(), jobs=1, cluster=address)
    digest = hashlib.sha256(risks["risk"].to_numpy().tobytes()).hexdigest()
    return time.perf_counter() - wall, time.process_time() - cpu, digest


def start_cluster(folder, workers):
    file = folder / "scheduler.json"
    processes = [start("dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))]
    while not file.is_file() or not file.read_text().strip():
        time.sleep(0.1)
    address = json.loads(file.read_text())["address"]
    processes += [start("dask_worker", address, "--nthreads", "1", "--no-nanny") for _ in range(workers)]
    return processes, address


def start(module, *arguments):
    command = [sys.executable, "-m", f"distributed.cli.{module}", "--host", "127.0.0.1", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=FOLDER)


if __name__ == "__main__":
    main()
