"""Whether ranges hold the next site: for 4 to 10 sites the prediction interval keeps at least 93 %.

Sites whose true values are normal about 0 with standard deviation tau, estimated with standard errors of .12
to .5 (a logit AUC from 20 to 300 cancers has such). Beside our prediction interval stand the two in common
use, t with k - 2 degrees of freedom with the plain standard error of the mean (Higgins, Thompson and
Spiegelhalter 2009) and with Hartung and Knapp's (Partlett and Riley 2017), both at REML's tau. Then sites of
simulated images: AUC and sensitivity as the package estimates them, by the cancers that each site has.

    python benchmarks/bench_meta_analysis.py [--sets 2000] [--out benchmarks/meta_analysis.md]
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.special import expit, logit, ndtri
from scipy.stats import t as student

from clineval.statistics.meta_analysis import logit_rate, on_scale, random_effects
from clineval.statistics.roc import auc_logit

TAIL = 0.025
TAU = 0.4  # of the simulated images


def held(values, errors, new):
    """Whether each interval holds its target: ours, k - 2, k - 2 with Hartung and Knapp, ours of the mean."""
    summary = random_effects(values, errors)
    tau2, sites = summary.tau.value**2, len(values)
    plain = 1 / np.sum(1 / (np.asarray(errors) ** 2 + tau2))
    half = student.ppf(1 - TAIL, sites - 2) * np.sqrt([tau2 + plain, tau2 + summary.standard_error**2])
    ours = TAIL <= summary.next_site.chance_below(new) <= 1 - TAIL
    return [ours, *(np.abs(new - summary.mean.value) <= half), summary.mean.low <= 0 <= summary.mean.high]


def normal_sites(rng, sites, tau):
    errors = np.exp(rng.uniform(np.log(0.12), np.log(0.5), sites))
    return rng.normal(0, np.hypot(errors, tau)), errors


def auc_sites(rng, sites, tau, cancers):
    """logit AUC less its mean, .85, from so many cancers a site and three times as many others."""
    rows = []
    while len(rows) < sites:
        true = expit(logit(0.85) + tau * rng.normal())
        outcome = np.arange(4 * cancers) < cancers
        score = rng.normal(size=4 * cancers) + np.sqrt(2) * ndtri(true) * outcome
        row = on_scale(auc_logit(outcome, score), "logit")
        if np.isfinite(row[1]):
            rows.append((row[0] - logit(0.85), row[1]))
    return np.array(rows).T


def rate_sites(rng, sites, tau, cancers):
    """logit sensitivity less its mean, .85, from so many cancers a site."""
    true = expit(logit(0.85) + tau * rng.normal(size=sites))
    rows = [logit_rate(int(found), cancers) for found in rng.binomial(cancers, true)]
    return np.array([(value - logit(0.85), error) for value, error in rows]).T


def coverage(sets, draw, tau, seed):
    rng = np.random.default_rng([2019, *seed])
    return np.mean([held(*draw(rng), tau * rng.normal()) for _ in range(sets)], axis=0)


def line(name, shares):
    return f"| {name} | " + " | ".join(f"{share:.3f}" for share in shares) + " |"


def report(sets):
    head = "prediction (ours) | k - 2, plain | k - 2, Hartung-Knapp | mean (ours) |"
    yield "# Coverage of the summaries over sites"
    yield ""
    yield (
        f"{sets:,} simulated sets of sites a row, level .95 (standard error of a share near it "
        f"{np.sqrt(0.95 * 0.05 / sets):.3f}). `python benchmarks/bench_meta_analysis.py`."
    )
    yield ""
    yield f"| sites, tau | {head}"
    yield "|---|---|---|---|---|"
    for sites in (4, 6, 8, 10):
        for tau in (0.1, 0.2, 0.4, 0.8):
            shares = coverage(
                sets, lambda rng, k=sites, t=tau: normal_sites(rng, k, t), tau, [sites, int(10 * tau)]
            )
            yield line(f"{sites}, {tau}", shares)
    yield ""
    yield f"Sites of simulated images, six sites, tau {TAU} on the logit scale, mean .85:"
    yield ""
    yield f"| measure, cancers a site | {head}"
    yield "|---|---|---|---|---|"
    for number, (name, draw) in enumerate([("AUC", auc_sites), ("sensitivity", rate_sites)]):
        for cancers in (5, 10, 20, 40):
            shares = coverage(
                sets, lambda rng, each=draw, m=cancers: each(rng, 6, TAU, m), TAU, [number, cancers]
            )
            yield line(f"{name}, {cancers}", shares)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = []
    for each in report(options.sets):
        print(each, flush=True)
        lines.append(each)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
