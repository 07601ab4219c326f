"""AUC with its interval at ten million cases costs less than two argsorts; 10,000 bootstraps take a blink.

Claims, each a ratio measured in one run (least CPU seconds of three trials):
- AUC with DeLong's interval on 10 million cases: at most 2 numpy.argsort of the risks; a paired
  comparison at most 5; peak memory at most 6 times the columns outcome (bool) and risk (float64).
- 10,000 stratified bootstraps of the AUC at n = 156: at most .15 s, and at least 100 times faster than a
  loop over sklearn.metrics.roc_auc_score; 200 of them at n = 1 million: at most 60 argsorts.
- Side by side with confidenceinterval, MLstatkit and scikit-learn: time, and answers in hard cases.

    python benchmarks/bench_auc.py [--cases 10000000] [--peers PYTHON] [--out benchmarks/auc.md]

PYTHON is an interpreter of another environment with: pip install confidenceinterval MLstatkit scikit-learn
"""

import argparse
import json
import platform
import subprocess
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import scipy
import sklearn
from sklearn.metrics import roc_auc_score

from clineval.statistics.intervals import bootstrap_weights
from clineval.statistics.roc import auc, average_precision, bootstrap_auc, compare_auc, roc_band


def seconds(call, *, trials=3):
    taken = []
    for _ in range(trials):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def peak_bytes(call):
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def cohort(cases, *, seed=0, prevalence=0.27):
    rng = np.random.default_rng(seed)
    outcome = rng.permutation(np.arange(cases) < round(prevalence * cases))
    shared = rng.normal(size=cases)
    a, b = (1 / (1 + np.exp(1 - 1.6 * outcome - shared - 0.5 * rng.normal(size=cases))) for _ in range(2))
    return outcome, a, b


def large(cases):
    yield "| n | argsort, s | AUC, argsorts | paired, argsorts | AUC, memory | paired, memory |"
    yield "|---|---|---|---|---|---|"
    n = 1000
    while n <= cases:
        outcome, a, b = cohort(n)
        columns = outcome.nbytes + a.nbytes
        sort = seconds(lambda a=a: np.argsort(a))
        calls = (lambda: auc(outcome, a)), (lambda: compare_auc(outcome, a, b))  # noqa: B023
        ratios = [seconds(call) / sort for call in calls]
        # The inputs count too: outcome and risk for one model, and another risk for two.
        held = [
            (peak_bytes(call) + inputs) / columns
            for call, inputs in zip(calls, (columns, columns + b.nbytes), strict=True)
        ]
        yield row(
            [f"{n:,}", f"{sort:.2g}", *(f"{ratio:.2f}" for ratio in ratios), *(f"{x:.1f}" for x in held)]
        )
        n *= 10


def resampled_small():
    outcome, a, _ = cohort(156)
    ours = seconds(lambda: bootstrap_auc(outcome, a, draws=10_000))
    weights = bootstrap_weights(outcome, draws=300).astype(int)
    rows = [np.repeat(np.arange(156), row) for row in weights]
    loop = seconds(lambda: [roc_auc_score(outcome[row], a[row]) for row in rows]) * 10_000 / len(rows)
    precision = seconds(lambda: average_precision(outcome, a, draws=10_000))
    band = seconds(lambda: roc_band(outcome, a, draws=2000))
    yield f"- AUC: {ours:.3f} s"
    yield f"- a loop over scikit-learn's roc_auc_score: {loop:.1f} s, {loop / ours:.0f} times as long"
    yield f"- average precision: {precision:.3f} s; ROC band of 2,000 draws: {band:.3f} s"


def resampled_large(n=1_000_000):
    outcome, a, _ = cohort(n)
    sort = seconds(lambda: np.argsort(a))
    for of in (bootstrap_auc, average_precision, roc_band):
        taken = seconds(lambda of=of: of(outcome, a, draws=200), trials=2)
        yield f"- {of.__name__}: {taken / sort:.1f} argsorts"


def hard_samples():
    """Where tools go wrong, and four sizes for their time."""
    rng = np.random.default_rng(3)
    one_event = np.arange(20) < 1
    tied = np.arange(6) < 3
    made = {
        "one event of 20": (one_event, np.linspace(0.9, 0.1, 20)[rng.permutation(20)], rng.random(20)),
        "AUC 1, 12 of 30": (np.arange(30) < 12, np.linspace(0.9, 0.1, 30), rng.random(30)),
        "one risk for all": (tied, np.full(6, 0.5), np.full(6, 0.5)),
        "six cases, ties": (
            tied,
            np.array([0.5, 0.5, 0.7, 0.5, 0.2, 0.3]),
            np.array([0.3, 0.6, 0.7, 0.5, 0.2, 0.4]),
        ),
        "the model itself": (*cohort(156)[:2], cohort(156)[1]),
    }
    sizes = {f"n = {n:,}": cohort(n) for n in (156, 10_000, 1_000_000)}
    return made, sizes


def asked(python, samples):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples.npz"
        columns = {
            f"{name}_{part}": values
            for name, parts in samples.items()
            for part, values in zip(("outcome", "a", "b"), parts, strict=True)
        }
        np.savez(file, **columns)
        script = Path(__file__).with_name("peers_auc.py")
        return json.loads(
            subprocess.run([python, script, file], capture_output=True, text=True, check=True).stdout
        )


def row(cells):
    return "| " + " | ".join(cells) + " |"


def figures(values):
    """A peer's or our answer, short."""
    if isinstance(values, list):
        return "(" + ", ".join(figures(value) for value in values if not isinstance(value, (dict, str))) + ")"
    return f"{values:.4g}" if isinstance(values, float) else str(values)


def ours_on(outcome, a, b):
    estimate, comparison = auc(outcome, a), compare_auc(outcome, a, b)
    bounds = [estimate.low, estimate.high]
    return [estimate.value, bounds], [comparison.statistic, comparison.p_value], estimate.method


# What the table shows of confidenceinterval 1.0.5 and MLstatkit 0.1.91; look again with later versions.
READING = (
    "- *One event*: no variance can be had. We say so; confidenceinterval gives NaN without a reason and "
    "MLstatkit an interval without width, and a p value.",
    "- *AUC 1*: both peers give an interval from 1 to 1; ours ends at an exact bound.",
    "- *Ties in six cases*: confidenceinterval's interval passes 1.",
    "- *The model itself*, and *one risk for all*: MLstatkit gives p = 0, the strongest evidence, for no "
    "difference at all. Its sign is that of the second model minus the first.",
)


def side_by_side(python):
    made, sizes = hard_samples()
    told = asked(python, made | sizes)
    yield "Versions: " + ", ".join(f"{name} {number}" for name, number in told["versions"].items()) + "."
    yield ""
    yield "| sample | AUC (interval); z, p | in words | confidenceinterval: AUC | MLstatkit: z, p, ... |"
    yield "|---|---|---|---|---|"
    for name, parts in made.items():
        interval, test, words = ours_on(*parts)
        peers = told["samples"][name]
        others = [figures(peers[peer]["answer"]) for peer in ("confidenceinterval", "MLstatkit")]
        yield row([name, f"{figures(interval)}; {figures(test)}", words, *others])
    yield ""
    yield from READING
    yield ""
    yield "| CPU seconds | AUC | confidenceinterval | scikit-learn, no interval | paired | MLstatkit |"
    yield "|---|---|---|---|---|---|"
    for name, (outcome, a, b) in sizes.items():
        one, two = seconds(lambda: auc(outcome, a)), seconds(lambda: compare_auc(outcome, a, b))  # noqa: B023
        peers = {peer: got["seconds"] for peer, got in told["samples"][name].items()}
        taken = one, peers["confidenceinterval"], peers["scikit-learn"], two, peers["MLstatkit"]
        yield row([name, *(f"{each:.2g}" for each in taken)])


def report(cases, peers):
    yield "# Discrimination: speed, memory, peers"
    yield ""
    yield (
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"scikit-learn {sklearn.__version__}, {platform.machine()}. Least CPU seconds of three trials; "
        "`python benchmarks/bench_auc.py`."
    )
    yield "\n## One pass over many cases\n"
    yield (
        "Time in units of one `numpy.argsort` of the same risks; peak memory, inputs included, in units of "
        "the columns outcome (bool) and risk (float64). To reach at ten million: 2, 5 and 6.\n"
    )
    yield from large(cases)
    yield "\n## 10,000 stratified bootstraps at n = 156\n"
    yield from resampled_small()
    yield "\n## 200 stratified bootstraps at n = 1 million\n"
    yield from resampled_large()
    if peers:
        yield "\n## Side by side\n"
        yield from side_by_side(peers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000_000)
    parser.add_argument("--peers")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = []
    for line in report(options.cases, options.peers):
        print(line, flush=True)
        lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
