"""Makes readers_studies.csv: small synthetic reader studies of five designs; `python readers_studies.py`."""

from pathlib import Path

import numpy as np
import pandas as pd


def study(name, rng, *, readers, modalities, cases, read):
    """Rows of one study; ``read(reader, modality, case)`` says whether the reading was made."""
    outcome = rng.permutation(np.arange(cases) % 5 < 2)
    case_effect, skill = rng.normal(0, 0.8, cases), rng.normal(1.4, 0.3, (modalities, readers))
    risk = np.round(1 / (1 + np.exp(-(case_effect + 1.2 * outcome + rng.normal(0, 0.7, cases) - 0.6))), 3)
    rows = []
    for m in range(modalities):
        for r in range(readers):
            latent = case_effect + (skill[m, r] + 0.2 * m) * outcome + rng.normal(0, 0.8, cases)
            rating = 1 + np.digitize(latent, [-0.8, 0.1, 0.9, 1.9])
            rows += [
                (
                    name,
                    f"r{r + 1}",
                    f"m{m + 1}",
                    f"c{c + 1:02d}",
                    f"g{c // 2:02d}",
                    int(outcome[c]),
                    rating[c],
                    risk[c],
                )
                for c in range(cases)
                if read(r, m, c)
            ]
    return rows


def main():
    rng = np.random.default_rng(16)
    rows = [
        *study("factorial", rng, readers=4, modalities=2, cases=40, read=lambda r, m, c: True),
        *study("three", rng, readers=3, modalities=3, cases=30, read=lambda r, m, c: True),
        *study(
            "partly_shared",
            rng,
            readers=3,
            modalities=2,
            cases=45,
            read=lambda r, m, c: 15 * m <= c < 30 + 15 * m and (7 * r + 5 * m + c) % 11 > 0,
        ),
        *study("nested_readers", rng, readers=3, modalities=2, cases=60, read=lambda r, m, c: c // 20 == r),
        *study(
            "nested_modalities", rng, readers=3, modalities=2, cases=48, read=lambda r, m, c: c // 24 == m
        ),
    ]
    columns = ["study", "reader", "modality", "case", "group", "outcome", "rating", "risk"]
    pd.DataFrame(rows, columns=columns).to_csv(Path(__file__).with_name("readers_studies.csv"), index=False)


if __name__ == "__main__":
    main()
