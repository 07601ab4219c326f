"""What a study's risks say: a score per training, the spread of each model, the learning curve."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.statistics.intervals import normal_quantile
from clineval.statistics.roc import auc

TRAINING = ["model", "variant", "fraction", "repeat", "fold", "seed"]
CONDITION = ["model", "variant", "fraction"]
DRAWS = 2000  # resamples of the bootstrap behind a learning curve's band


def score(risks: pd.DataFrame) -> pd.DataFrame:
    """One row per training, scored on its held-out cases.

    Columns: the training's ``model`` to ``seed``, ``trained_on``, ``cases``, ``events``, ``auc``,
    ``auc_error`` (DeLong's standard error, by group), ``brier``, ``log_loss``, ``cpu_seconds``.
    """
    scored = [
        {**dict(zip(TRAINING, name, strict=True)), **_scores(rows)}
        for name, rows in risks.groupby(TRAINING, sort=False)
    ]
    return pd.DataFrame(scored)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model, variant and fraction: the mean over folds, repeats and seeds, and its spread.

    ``auc_sd`` is the standard deviation of whole cross-validations (one repeat with one seed each),
    NaN where there is only one.
    """
    runs = scores.groupby([*CONDITION, "repeat", "seed"], sort=False)[["auc", "brier", "log_loss"]].mean()
    by_condition = runs.groupby(CONDITION, sort=False)
    summary = by_condition.mean().join(by_condition["auc"].std().rename("auc_sd"))
    summary["cross_validations"] = by_condition.size()
    trainings = scores.groupby(CONDITION, sort=False)
    summary["trained_on"] = trainings["trained_on"].mean()
    summary["cpu_seconds"] = trainings["cpu_seconds"].mean()
    return summary.reset_index()


def split_variance(scores: pd.DataFrame) -> pd.DataFrame:
    """Where the spread of a fold's AUC comes from, as standard deviations, per model, variant and fraction.

    ``cases`` is what the number of held-out cases alone explains (DeLong); ``folds`` what folds differ
    by beyond that; ``repeats`` the spread of whole cross-validations over fold drawings; ``seeds`` the
    spread over seeds on the same fold. NaN where there is only one to compare.
    """
    rows = [
        {**dict(zip(CONDITION, name, strict=True)), **_sources(group)}
        for name, group in scores.groupby(CONDITION, sort=False)
    ]
    return pd.DataFrame(rows)


def learning_curve(scores: pd.DataFrame, *, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """AUC against the number of training cases, with a band, and what the double of the data would buy.

    Per model and variant one row per fraction, ``kind`` "measured", then one at twice the largest
    number, ``kind`` "extrapolated": a straight line in 1 / sqrt(cases) through the measured means, the
    rate at which many learning curves flatten. Bands are percentiles of a bootstrap over folds, so
    they hold what the choice of folds adds and not the choice of the cohort.
    """
    rows = [
        row
        for _, part in scores.groupby(["model", "variant"], sort=False)
        for row in _curve(part, level, seed)
    ]
    return pd.DataFrame(rows)


def _scores(rows: pd.DataFrame) -> dict[str, float]:
    outcome, risk = rows["outcome"].to_numpy(bool), rows["risk"].to_numpy(float)
    estimate = auc(outcome, risk, group=rows["group"].to_numpy(str))
    return {
        "trained_on": int(rows["trained_on"].iloc[0]),
        "cases": len(rows),
        "events": int(outcome.sum()),
        "auc": estimate.value,
        "auc_error": (estimate.high - estimate.low) / (2 * normal_quantile(estimate.level)),
        "brier": float(np.mean((risk - outcome) ** 2)),
        "log_loss": float(-np.mean(np.log(np.where(outcome, risk, 1 - risk)))),
        "cpu_seconds": float(rows["cpu_seconds"].iloc[0]),
    }


def _sources(scores: pd.DataFrame) -> dict[str, float]:
    cases = float(np.mean(scores["auc_error"] ** 2))
    seeds = scores.groupby(["repeat", "fold"])["auc"].var().mean()
    fold_means = scores.groupby(["repeat", "fold"])["auc"].mean()
    folds = fold_means.groupby("repeat").var().mean()
    repeats = fold_means.groupby("repeat").mean().var()
    beyond = max(0.0, folds - cases) if np.isfinite(folds) else np.nan
    return {
        "cases": float(np.sqrt(cases)),
        "folds": float(np.sqrt(beyond)),
        "repeats": float(np.sqrt(repeats)),
        "seeds": float(np.sqrt(seeds)),
    }


def _curve(scores: pd.DataFrame, level: float, seed: int) -> Iterator[dict[str, object]]:
    table = scores.pivot_table(index=["repeat", "fold"], columns="fraction", values="auc")
    cases = scores.groupby("fraction")["trained_on"].mean().to_numpy()
    drawn = np.random.default_rng(seed).integers(0, len(table), (DRAWS, len(table)))
    means = table.to_numpy()[drawn].mean(axis=1)
    about = {"model": scores["model"].iloc[0], "variant": scores["variant"].iloc[0]}
    tail = [(1 - level) / 2, (1 + level) / 2]
    for place, fraction in enumerate(table.columns):
        low, high = np.quantile(means[:, place], tail)
        value = float(table[fraction].mean())
        yield {
            **about,
            "kind": "measured",
            "trained_on": cases[place],
            "auc": value,
            "low": low,
            "high": high,
        }
    if len(cases) < 3:
        return
    double = 2 * cases.max()
    low, high = np.quantile(_at(means, cases, double), tail)
    value = float(_at(table.to_numpy().mean(axis=0)[None], cases, double)[0])
    yield {**about, "kind": "extrapolated", "trained_on": double, "auc": value, "low": low, "high": high}


def _at(means: NDArray[np.float64], cases: NDArray[np.float64], wanted: float) -> NDArray[np.float64]:
    """Values at ``wanted`` cases of lines in 1 / sqrt(cases), one per row of ``means``."""
    design = np.stack([np.ones_like(cases), 1 / np.sqrt(cases)])
    line = means @ np.linalg.pinv(design)
    return line @ np.array([1.0, 1 / np.sqrt(wanted)])
