"""Whether ranges hold the next site: for 4 to 10 sites the prediction interval keeps at least 93 %.

Sites whose true values are normal about 0 with standard deviation tau, estimated with standard errors of .12
to .5 (a logit AUC from 20 to 300 cancers has such). Beside our prediction interval stand the two in common
use, t with k - 2 degrees of freedom with the plain standard error of the mean (Higgins, Thompson and
Spiegelhalter 2009) and with Hartung and Knapp's (Partlett and Riley 2017), both at REML's tau. Then sites of
simulated images: AUC and sensitivity as the package estimates them, by the cancers that each site has.

    python benchmarks/bench_meta_analysis.py [--sets 2000] [--out benchmarks/meta_analysis.md]
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import expit, logit, ndtri
from scipy.stats import t as student

from clineval.statistics.meta_analysis import logit_rates, on_scale, random_effects
from clineval.statistics.roc import auc_logit

TAIL = 0.025
TAU = 0.4  # of the simulated images


def held(values, errors, new):
    """Whether ours, k - 2, k - 2 with Hartung and Knapp hold ``new``, and ours of the mean 0; the mean."""
    summary = random_effects(values, errors)
    tau2, sites = summary.tau.value**2, len(values)
    plain = 1 / np.sum(1 / (np.asarray(errors) ** 2 + tau2))
    half = student.ppf(1 - TAIL, sites - 2) * np.sqrt([tau2 + plain, tau2 + summary.standard_error**2])
    ours = TAIL <= summary.next_site.chance_below(new) <= 1 - TAIL
    return [
        ours,
        *(np.abs(new - summary.mean.value) <= half),
        summary.mean.low <= 0 <= summary.mean.high,
        summary.scale_mean,
    ]


def normal_sites(rng, sites, tau):
    errors = np.exp(rng.uniform(np.log(0.12), np.log(0.5), sites))
    return rng.normal(0, np.hypot(errors, tau)), errors


def auc_sites(rng, sites, tau, cancers, mean):
    """logit AUC less its mean, from so many cancers a site and three times as many others."""
    rows = []
    while len(rows) < sites:
        true = expit(logit(mean) + tau * rng.normal())
        outcome = np.arange(4 * cancers) < cancers
        score = rng.normal(size=4 * cancers) + np.sqrt(2) * ndtri(true) * outcome
        row = on_scale(auc_logit(outcome, score), "logit")
        if np.isfinite(row[1]):
            rows.append((row[0] - logit(mean), row[1]))
    return np.array(rows).T


def rate_counts(rng, sites, tau, cancers, mean):
    return rng.binomial(cancers, expit(logit(mean) + tau * rng.normal(size=sites)))


def rate_sites(rng, sites, tau, cancers, mean):
    """logit sensitivity less its mean, from so many cancers a site."""
    values, errors = logit_rates(rate_counts(rng, sites, tau, cancers, mean), np.full(sites, cancers))
    return values - logit(mean), errors


def rate_sites_own(rng, sites, tau, cancers, mean):
    """The same with each site's own variance, and half a case added at none and all only."""
    found = rate_counts(rng, sites, tau, cancers, mean)
    half = 0.5 * ((found == 0) | (found == cancers))
    hit, missed = found + half, cancers - found + half
    return np.log(hit / missed) - logit(mean), np.sqrt(1 / hit + 1 / missed)


def coverage(sets, draw, tau, seed):
    """The shares of sets whose intervals hold their target, and the mean of the means, which should be 0."""
    rng = np.random.default_rng([2019, *seed])
    rows = np.mean([held(*draw(rng), tau * rng.normal()) for _ in range(sets)], axis=0)
    return rows[:-1], rows[-1]


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
            draw = partial(normal_sites, sites=sites, tau=tau)
            yield line(f"{sites}, {tau}", coverage(sets, draw, tau, [sites, int(10 * tau)])[0])
    yield ""
    yield (
        f"Sites of simulated images: six sites, tau {TAU} on the logit scale; *found* is the mean of the "
        "means. Rates once with the variance of each site's own rate."
    )
    yield ""
    yield f"| measure, cancers a site | true | found | {head}"
    yield "|---|---|---|---|---|---|---|"
    for number, (name, images, true) in enumerate(MEASURES):
        for cancers in (5, 10, 20, 40):
            draw = partial(images, sites=6, tau=TAU, cancers=cancers, mean=true)
            shares, mean = coverage(sets, draw, TAU, [number, cancers])
            found = expit(logit(true) + mean)
            yield line(f"{name}, {cancers} | {true:.2f} | {found:.3f}", shares)


MEASURES = [
    ("AUC", auc_sites, 0.85),
    ("sensitivity", rate_sites, 0.85),
    ("sensitivity", rate_sites, 0.95),
    ("sensitivity, own variance", rate_sites_own, 0.85),
    ("sensitivity, own variance", rate_sites_own, 0.95),
]

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
