"""The primary model and threshold: what a report speaks of first, chosen on development data."""

import math
from collections.abc import Iterable, Mapping, Sequence

from clineval.errors import InputError, in_short, option
from clineval.evaluation.operating_points import HALF, SENSITIVITY_90
from clineval.evaluation.populations import Population
from clineval.evaluation.records import Point, Primary
from clineval.predictions import OUT_OF_FOLD, VAL
from clineval.statistics.roc import auc

TIE = 0.001
"""Difference of AUC below which two models are alike, and the simpler one is taken."""

WITHOUT_NEAR_DUPLICATES = "_deduplicated"
"""How the name of a model ends that was trained a second time, without the near-duplicates of test images."""


def choose_primary(
    development: Sequence[Population],
    points: Mapping[str, Iterable[Point]],
    *,
    scored: Iterable[str] = (),
    named: str | None = None,
) -> Primary:
    """The model and the threshold that a report speaks of first.

    The model is the one that the user named, else the one with the highest AUC out of fold, else on
    ``val``, else the first of the table. The threshold is the first that the user gave, else the one
    chosen for sensitivity .90, else one half. No outcome kept for testing takes part.

    Parameters
    ----------
    development : the populations that were used before, ``train_out_of_fold`` and ``val``.
    points : the frozen thresholds of each model, the simplest model first.
    scored : models on the cases kept for testing; the others are no candidates. None given: all are.
    named : the model that the user named.

    Raises
    ------
    InputError : the named model is not in the table.

    References
    ----------
    docs/methods/primary.md
    """
    if named is not None and named not in points:
        asked = option("--primary", "primary")
        raise InputError(
            f"{asked} needs one of the table's models ({in_short(list(points))}); got {named!r}."
        )
    wanted = set(scored) or set(points)
    there = [name for name in points if name in wanted] or list(points)
    model, why = (named, "named by the user") if named is not None else _best(development, there)
    point, how = _threshold(tuple(points[model]))
    return Primary(model, point.threshold, point.chosen_on, f"Model: {why}. Threshold: {how}.")


def _best(development: Sequence[Population], models: Sequence[str]) -> tuple[str, str]:
    """The model that ranks best on development data, and the reason in words."""
    candidates = [name for name in models if not _repeated(name, models)]
    for name, words in ((OUT_OF_FOLD, "out of fold on train"), (VAL, "on val")):
        aucs = _aucs(development, name, candidates)
        if aucs:
            best = max(aucs.values())
            chosen = next(model for model in candidates if aucs.get(model, -1.0) >= best - TIE)
            return chosen, _why(chosen, words, aucs, left_out=len(candidates) < len(models))
    return candidates[0], f"the first in the table, which has no {OUT_OF_FOLD} or {VAL} rows to choose it on"


def _repeated(name: str, models: Sequence[str]) -> bool:
    return name.removesuffix(WITHOUT_NEAR_DUPLICATES) in set(models) - {name}


def _aucs(development: Sequence[Population], name: str, models: Sequence[str]) -> dict[str, float]:
    """The AUC of each candidate on one population, where it is defined."""
    there = next((part.models for part in development if part.name == name), {})
    found = {model: auc(there[model].outcome, there[model].risk).value for model in models if model in there}
    return {model: value for model, value in found.items() if not math.isnan(value)}


def _why(model: str, words: str, aucs: Mapping[str, float], *, left_out: bool) -> str:
    if len(aucs) == 1:
        return f"the only one with predictions {words}"
    beaten = any(value > aucs[model] for value in aucs.values())
    what = f"the simplest within {TIE:g} of the highest AUC" if beaten else "the highest AUC"
    without = ", models trained without near-duplicates left out" if left_out else ""
    return f"{what} {words}, {aucs[model]:.3f} (of {len(aucs)} models{without})"


def _threshold(points: tuple[Point, ...]) -> tuple[Point, str]:
    for point in points:
        if point.chosen_on == "given":
            return point, "given by the user"
    for point in points:
        if point.name == SENSITIVITY_90 and not math.isnan(point.threshold):
            return point, point.rule
    if HALF not in points and points:
        return points[0], f"none, for scores have no half and none could be chosen ({_lacking(points)})"
    return HALF, f"one half, since none could be chosen for sensitivity 0.90 ({_lacking(points)})"


def _lacking(points: tuple[Point, ...]) -> str:
    return next((point.rule for point in points if point.name == SENSITIVITY_90), "none was frozen")
