"""The score of models under simulated shifts, as research/README.md defines it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logit
from scipy.stats import rankdata
from transport_models import Floats, Indices, Shown


@dataclass(frozen=True)
class Bench:
    """What every score needs: outcomes of the pool, folds by repeat, what was shown."""

    outcome: np.ndarray
    folds: Mapping[int, list[Indices]]
    shown: list[Shown]


def scores(bench: Bench, odds: list[Floats], repeat: int) -> dict[str, float]:
    """The score and what it is made of, from log odds by condition; an AUC is the mean over folds."""
    aucs = np.array([fold_auc(bench, each, repeat) for each in odds])
    kinds = np.array([one.kind for one in bench.shown])
    by_kind = {kind: float(aucs[kinds == kind].mean()) for kind in dict.fromkeys(kinds)}
    single = float(np.mean([value for kind, value in by_kind.items() if kind not in ("clean", "scanner")]))
    score = (by_kind["clean"] + single + by_kind["scanner"]) / 3
    return {"score": score, "single": single, "worst": float(aucs.min()), **by_kind}


def fold_auc(bench: Bench, odds: Floats, repeat: int) -> float:
    """The mean over folds of the AUC of the cases left out."""
    return float(np.mean([auc(bench.outcome[fold], odds[fold]) for fold in bench.folds[repeat]]))


def auc(outcome: np.ndarray, risk: Floats) -> float:
    ranks, events = rankdata(risk), int(outcome.sum())
    return float((ranks[outcome].sum() - events * (events + 1) / 2) / (events * (len(outcome) - events)))


def mean_odds(*odds: list[Floats]) -> list[Floats]:
    """Condition by condition the mean of several models' log odds."""
    return [np.mean(each, axis=0) for each in zip(*odds, strict=True)]


def log_odds(risk: Floats) -> Floats:
    return logit(np.clip(risk, 1e-12, 1 - 1e-12))
