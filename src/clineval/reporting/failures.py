"""Which cases a model gets wrong at its operating point, missed ones first."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clineval.evaluation.record import PopulationScores, ScoredPoint
from clineval.statistics.counting import flagged

PREFERRED = ("sensitivity_90", "half", "given")  # the point whose errors are looked at, the first there is


@dataclass(frozen=True)
class Failures:
    """The wrong calls of one model at one operating point.

    ``cases`` has the columns ``case``, ``outcome`` (1 missed, 0 false alarm) and ``risk``: missed cases
    first, those with the lowest risk first; then false alarms, those with the highest risk first.
    """

    point: ScoredPoint
    cases: pd.DataFrame

    @property
    def missed(self) -> int:
        """Cases with the condition that were not flagged."""
        return int(self.cases["outcome"].sum())

    @property
    def alarms(self) -> int:
        """Cases without the condition that were flagged."""
        return len(self.cases) - self.missed


def main_point(scores: PopulationScores) -> ScoredPoint | None:
    """The operating point that the failures and the headline speak of."""
    there = [point for point in scores.operating_points if not np.isnan(point.threshold)]
    return next((point for name in PREFERRED for point in there if point.name == name), None)


def failures(table: pd.DataFrame, scores: PopulationScores, *, model: str, population: str) -> Failures:
    """The wrong calls of ``model`` among one split of the table; ValueError without a threshold."""
    point = main_point(scores)
    if point is None:
        raise ValueError(f"{model} has no threshold on {population}, so none of its calls is wrong.")
    rows = table[(table["model"] == model) & (table["split"] == population)]
    wrong = rows[flagged(rows["risk"], point.threshold) != rows["outcome"].astype(bool)]
    worst_first = np.where(wrong["outcome"].astype(bool), wrong["risk"], -wrong["risk"])
    ordered = wrong.assign(outcome=wrong["outcome"].astype(int), _worst=worst_first)
    ordered = ordered.sort_values(["outcome", "_worst", "case"], ascending=[False, True, True], kind="stable")
    return Failures(point, ordered[["case", "outcome", "risk"]].reset_index(drop=True))
