"""Makes the samples that discrimination.R judges: small, tied, rare, useless, perfect, one of 42 in 156.

    python tests/reference/discrimination_samples.py && Rscript tests/reference/discrimination.R

writes discrimination_samples.csv and discrimination_resamples.csv, then discrimination.json.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from clineval.statistics.intervals import bootstrap_weights

HERE = Path(__file__).parent
DRAWS = 200


def sample(name: str, seed: int, *, cases: int, events: int, signal: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    outcome = rng.permutation(np.arange(cases) < events)
    shared = rng.normal(size=cases)
    scores = [signal * outcome + 0.7 * shared + 0.7 * rng.normal(size=cases) for _ in range(2)]
    risk_a, risk_b = (1 / (1 + np.exp(1 - score)) for score in scores)
    group = np.arange(cases) // 2  # neighbours share a patient, whatever their outcomes
    columns = {"outcome": outcome.astype(int), "risk_a": risk_a, "risk_b": risk_b, "group": group}
    return pd.DataFrame({"sample": name, **columns})


def samples() -> dict[str, pd.DataFrame]:
    made = [
        sample("small", 1, cases=24, events=9, signal=1.2),
        sample("tied", 2, cases=120, events=40, signal=1.0),
        sample("rare", 3, cases=1000, events=20, signal=1.5),
        sample("useless", 4, cases=150, events=60, signal=0.0),
        sample("perfect", 5, cases=40, events=14, signal=1.0),
        sample("breastmnist", 6, cases=156, events=42, signal=1.6),
    ]
    tables = {table["sample"].iloc[0]: table for table in made}
    tables["tied"][["risk_a", "risk_b"]] = tables["tied"][["risk_a", "risk_b"]].round(1)
    perfect = tables["perfect"]
    perfect["risk_a"] = np.where(perfect["outcome"] == 1, 0.6, 0.1) + np.arange(40) / 100
    return tables


if __name__ == "__main__":
    tables = samples()
    # %.17g, so that R reads the very same doubles.
    pd.concat(tables.values()).to_csv(HERE / "discrimination_samples.csv", index=False, float_format="%.17g")
    resamples = []
    for name in ("small", "tied"):
        weights = bootstrap_weights(tables[name]["outcome"], draws=DRAWS, seed=7).astype(int)
        counts = [" ".join(map(str, row)) for row in weights]
        resamples.append(pd.DataFrame({"sample": name, "counts": counts}))
    pd.concat(resamples).to_csv(HERE / "discrimination_resamples.csv", index=False)
