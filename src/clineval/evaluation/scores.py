"""Scores of one model on one population: discrimination, calibration, spread over trainings, adequacy."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.evaluation.operating_points import score_point
from clineval.evaluation.populations import Cases, Population
from clineval.evaluation.records import Adequacy, DecisionArrays, Point, PopulationScores, Scale, Spread
from clineval.predictions import MEMBER_COLUMNS, OUT_OF_FOLD, VAL, encode
from clineval.statistics import calibration, roc, sample_size
from clineval.statistics.decision_curve import decision_curve
from clineval.statistics.intervals import Estimate

MEASURES = {"auc": roc.auc, "brier": calibration.brier}
"""What is followed from member to member: one measure of ranking and one of the risks themselves."""

_SD = "spread over trained members, not an interval over cases; sample standard deviation"
_FOLDS = "; each member is scored on its own cases, so the spread holds their differences too"


def spread_of(members: pd.DataFrame, *, population: str) -> tuple[Spread, ...]:
    """The spread of each measure over the members of one model on one population.

    Parameters
    ----------
    members : rows of one model and population with ``seed`` and/or ``fold`` beside outcome and risk.
    population : its name; out-of-fold rows are told apart, for there members see different cases.

    Returns
    -------
    A Spread per measure; none where there are fewer than two members.
    """
    over, codes, names = _member_codes(members)
    if len(names) < 2:
        return ()
    parts = _parts(members, codes, len(names))
    words = _SD + (_FOLDS if population == OUT_OF_FOLD else "")
    return tuple(_spread(measure, over, names, parts, words) for measure in MEASURES)


def _member_codes(members: pd.DataFrame) -> tuple[str, NDArray[np.int64], tuple[str, ...]]:
    """What tells the members apart (``seed``, ``fold`` or both), each row's member, the members' names."""
    there = [name for name in MEMBER_COLUMNS if name in members]
    varying = [name for name in there if members[name].nunique() > 1] or there[:1]
    keys = pd.MultiIndex.from_arrays([members[name].astype(str) for name in varying])
    codes, values = pd.factorize(keys)
    names = tuple(
        ", ".join(f"{column} {part}" for column, part in zip(varying, value, strict=True)) for value in values
    )
    return " and ".join(varying), codes, names


def _parts(members: pd.DataFrame, codes: NDArray[np.int64], number: int) -> list[tuple[NDArray, NDArray]]:
    outcome, risk = members["outcome"].to_numpy(), members["risk"].to_numpy()
    return [(outcome[codes == code], risk[codes == code]) for code in range(number)]


def _spread(
    measure: str, over: str, names: tuple[str, ...], parts: list[tuple[NDArray, NDArray]], words: str
) -> Spread:
    values = np.array([MEASURES[measure](outcome, risk).value for outcome, risk in parts])
    known = values[~np.isnan(values)]
    if len(known) < len(values):
        words += f"; undefined for {len(values) - len(known)} of {len(values)} members"
    mean, sd, lowest, highest = _summary(known)
    return Spread(measure, over, names, tuple(values.tolist()), mean, sd, lowest, highest, words)


def _summary(values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Mean, sample standard deviation, lowest and highest; NaN of fewer than two values."""
    if len(values) < 2:
        return np.nan, np.nan, np.nan, np.nan
    return float(values.mean()), float(values.std(ddof=1)), float(values.min()), float(values.max())


def members_by_population(
    members: pd.DataFrame, clean: frozenset[str] | None
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Model, population and rows of a table of members; ``clean`` are the cases of ``test_clean``."""
    model, models = encode(members["model"])
    split, splits = encode(members["split"])
    for m, model_name in enumerate(models):
        for s, split_name in enumerate(splits):
            rows = members[(model == m) & (split == s)]
            if len(rows):
                yield model_name, split_name, rows
                if split_name == "test" and clean is not None:
                    yield model_name, "test_clean", rows[rows["case"].isin(clean)]


def adequacy_of(cases: Cases, auc: Estimate, scale: Scale) -> Adequacy | None:
    """The sentence for the report and the numbers behind it; None where one class is absent."""
    events = int(cases.outcome.sum())
    others = len(cases) - events
    if not events or not others:
        return None
    level = scale.level
    expected = sample_size.auc_precision(auc.value, events, others, level=level)
    inner = 0 < auc.value < 1
    return Adequacy(
        sentence=sample_size.sentence(auc.value, events, others, level=level),
        auc_half_width=(expected.high - expected.low) / 2,
        smallest_detectable_difference=(
            sample_size.smallest_detectable_difference(auc.value, events, others, level=level)
            if inner
            else math.nan
        ),
        cases_for_auc_width_10=_cases_for_auc(auc.value, events / len(cases), level),
        cases_for_slope_width_40=_cases_for_slope(cases, level),
        cases_for_observed_expected_width_20=sample_size.sample_size_for_observed_expected(
            events / len(cases), level=level
        ).cases,
    )


def _cases_for_auc(auc: float, prevalence: float, level: float) -> float:
    """Cases for an interval of width .10 around an AUC like this one; NaN below .5 and at 1."""
    if not 0.5 < auc < 1:
        return math.nan
    return sample_size.sample_size_for_auc(auc, prevalence, width=0.1, level=level).cases


def _cases_for_slope(cases: Cases, level: float) -> float:
    """Cases for a slope's interval of width .40 with risks like these; NaN where the risks are all equal."""
    try:
        return sample_size.sample_size_for_slope(cases.risk, width=0.4, level=level).cases
    except ValueError:
        return math.nan


def score(population: Population, model: str, points: tuple[Point, ...], scale: Scale) -> PopulationScores:
    """Everything about one model on one population but subgroups and spread.

    ``points`` are the thresholds that may be scored there, see ``points_for``.
    """
    cases, name = population.models[model], population.name
    # A net benefit or a rate at a given rate belongs to a threshold, of which `val` is given none.
    decided = name != VAL
    measures = threshold_free(cases, scale) | (read_off(cases, scale) if decided else {})
    return PopulationScores(
        cases=len(cases),
        events=int(cases.outcome.sum()),
        groups=cases.groups,
        used_for=population.used_for,
        measures=measures,
        operating_points=tuple(score_point(cases, point, population=name, scale=scale) for point in points),
        decision_curve=_decision(cases, scale) if decided else None,
        adequacy=None if population.used_for else adequacy_of(cases, measures["auc"], scale),
        removed=population.removed,
        brier_parts=_brier_parts(cases),
        notes=_notes(cases),
    )


def threshold_free(cases: Cases, scale: Scale) -> dict[str, Estimate]:
    """Discrimination and calibration with their intervals, keyed as in ``evaluation.json``."""
    data = (cases.outcome, cases.risk)
    plain: dict[str, Any] = {"group": cases.group, "level": scale.level}
    drawn: dict[str, Any] = {"group": cases.group, **vars(scale)}
    errors = calibration.calibration_errors(*data, **drawn)
    return {
        "auc": roc.auc(*data, **plain),
        "auc_logit": roc.auc_logit(*data, **plain),
        "average_precision": roc.average_precision(*data, **drawn),
        "brier": calibration.brier(*data, **plain),
        "scaled_brier": calibration.scaled_brier(*data, **plain),
        "log_loss": calibration.log_loss(*data, **plain),
        "calibration_intercept": calibration.calibration_intercept(*data, **plain),
        "calibration_slope": calibration.calibration_slope(*data, **plain),
        "observed_expected": calibration.observed_expected(*data, **plain),
        "ici": errors.ici,
        "e50": errors.e50,
        "e90": errors.e90,
        "partial_auc": roc.partial_auc(*data, over="sensitivity", low=0.8, **drawn),
    }


def read_off(cases: Cases, scale: Scale) -> dict[str, Estimate]:
    """One rate where the other is .90 on the cases' own curve: flattered, since they choose the threshold."""
    data = (cases.outcome, cases.risk, 0.9)
    drawn: dict[str, Any] = {"group": cases.group, **vars(scale)}
    return {
        "sensitivity_at_specificity_90": roc.sensitivity_at_specificity(*data, **drawn),
        "specificity_at_sensitivity_90": roc.specificity_at_sensitivity(*data, **drawn),
    }


def _brier_parts(cases: Cases) -> dict[str, float]:
    parts = asdict(calibration.murphy_decomposition(cases.outcome, cases.risk))
    return {name: parts[name] for name in parts if name not in ("brier", "bins")}


def _notes(cases: Cases) -> tuple[str, ...]:
    if cases.group is None:
        return ()
    return (
        f"{len(cases)} cases stand in {cases.groups} groups: under Operating points intervals of rates "
        "(Wilson) take cases as independent and are too narrow; the others respect the groups.",
    )


def _decision(cases: Cases, scale: Scale) -> DecisionArrays:
    curve = decision_curve(
        cases.outcome, cases.risk, group=cases.group, draws=scale.draws, seed=scale.seed, level=scale.level
    )
    return DecisionArrays(
        curve.threshold,
        curve.net_benefit,
        curve.low,
        curve.high,
        curve.treat_all,
        curve.method,
    )
