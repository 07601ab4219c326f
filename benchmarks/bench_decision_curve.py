"""A decision curve costs a fraction of a sort, and its band hardly more however many the cases.

Claims, least CPU seconds of three trials, ratios within one run:
- With a band of 1,000 bootstrap draws at n = 156: at most .3 s.
- Without a band at n = 1 million: at most 2 numpy.argsort of the risks.
- Against dcurves (PyPI), which has no band: time for the same 99 thresholds, and the largest difference of
  net benefit, risks that equal a threshold included.

    python benchmarks/bench_decision_curve.py [--cases 10000000] [--out benchmarks/decision_curve.md]
"""

import argparse
import platform
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import dcurves
import numpy as np
import pandas as pd
import scipy

from clineval.statistics.decision_curve import compare_decision_curves, decision_curve, decision_grid


def seconds(call, *, trials=3):
    taken = []
    for _ in range(trials):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def cohort(cases, *, seed=0):
    rng = np.random.default_rng(seed)
    risk = rng.beta(0.6, 1.6, cases)
    near = np.clip(risk + rng.normal(0, 0.05, cases), 0.001, 0.999)
    return rng.random(cases) < risk, risk, near


def by_dcurves(outcome, risk):
    data = pd.DataFrame({"outcome": outcome.astype(int), "risk": risk})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = dcurves.dca(data=data, outcome="outcome", modelnames=["risk"], thresholds=decision_grid())
    return table[table["model"] == "risk"].sort_values("threshold")["net_benefit"].to_numpy()


def sizes(most):
    yield "| n | argsort, s | no band, argsorts | band of 1,000, s | two models, band, s | band by pairs, s |"
    yield "|---|---|---|---|---|---|"
    for n in (10**k for k in range(3, 8) if 10**k <= most):
        outcome, risk, near = cohort(n)
        pairs = np.random.default_rng(1).permutation(n) // 2
        calls = (
            lambda: np.argsort(risk),  # noqa: B023
            lambda: decision_curve(outcome, risk, draws=0),  # noqa: B023
            lambda: decision_curve(outcome, risk),  # noqa: B023
            lambda: compare_decision_curves(outcome, risk, near),  # noqa: B023
            lambda: decision_curve(outcome, risk, group=pairs),  # noqa: B023
        )
        sort, plain, band, two, grouped = (seconds(call) for call in calls)
        yield f"| {n:,} | {sort:.4f} | {plain / sort:.2f} | {band:.3f} | {two:.3f} | {grouped:.3f} |"


def against_dcurves():
    yield "| sample | clineval, s | dcurves, s | times faster | largest difference |"
    yield "|---|---|---|---|---|"
    for name, n, digits in (
        ("156 cases", 156, None),
        ("156, risks rounded to .01", 156, 2),
        ("100,000", 100_000, None),
    ):
        outcome, risk, _ = cohort(n)
        risk = risk if digits is None else risk.round(digits)
        ours = decision_curve(outcome, risk, draws=0).net_benefit
        difference = np.abs(ours - by_dcurves(outcome, risk)).max()
        fast = seconds(lambda: decision_curve(outcome, risk, draws=0))  # noqa: B023
        slow = seconds(lambda: by_dcurves(outcome, risk))  # noqa: B023
        yield f"| {name} | {fast:.5f} | {slow:.3f} | {slow / fast:.0f} | {difference:.2g} |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("decision_curve.md"))
    given = parser.parse_args()
    outcome, risk, _ = cohort(156)
    band = seconds(lambda: decision_curve(outcome, risk))
    lines = [
        "# Decision curves: time",
        "",
        f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, scipy "
        f"{scipy.__version__}, dcurves {version('dcurves')}; least CPU seconds of three trials; "
        "`python benchmarks/bench_decision_curve.py`.",
        "",
        f"Band of 1,000 draws at n = 156: **{band:.3f} s** (claim: at most .3).",
        "",
        "## From a thousand cases to ten million",
        "",
        *sizes(given.cases),
        "",
        "## Against dcurves",
        "",
        "The same numbers; dcurves gives no interval.",
        "",
        *against_dcurves(),
    ]
    given.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
