"""Whether a model's risks are recalibrated, decided on out-of-fold risks of the training split alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from clineval.statistics.calibration import Recalibration, fit_platt, fit_temperature

Floats = NDArray[np.float64]

FITTED_ON = "train_out_of_fold"
FITS = {"temperature": fit_temperature, "platt": fit_platt}
LEFT_AS_IT_IS = {
    "cnn": (
        "its out-of-fold risks are those of single members, the shipped risk is their mean: "
        "a recalibration fitted on members would over-soften the mean"
    ),
    "scattering": "its Platt scaling, learnt out of fold, is part of the model",
}


@dataclass(frozen=True)
class Choice:
    """The recalibration chosen, why, and the cross-fitted log loss of every candidate.

    ``log_loss`` maps ``none``, ``temperature`` and ``platt`` to the mean negative log likelihood per
    case, each fitted on four grouped folds and scored on the fifth; empty where none was tried.
    """

    kind: str
    reason: str
    log_loss: Mapping[str, float]
    recalibration: Recalibration | None = None

    @classmethod
    def none(cls, reason: str) -> "Choice":
        """No recalibration, with the reason."""
        return cls("none", reason, {})

    def apply(self, risk: Floats) -> Floats:
        """Recalibrated risks, shape (cases,)."""
        return risk if self.recalibration is None else self.recalibration.apply(risk)

    def to_json(self) -> dict[str, Any]:
        """What was chosen, as plain JSON."""
        fitted = None if self.recalibration is None else self.recalibration.to_json()
        return {"kind": self.kind, "reason": self.reason, "log_loss": dict(self.log_loss), "fitted": fitted}


def choose_recalibration(
    model: str, outcome: NDArray[np.bool_], risk: Floats, *, group: NDArray[np.str_]
) -> Choice:
    """Choose none, temperature or Platt by the cross-fitted log loss of out-of-fold risks.

    A candidate that cannot be fitted, as where a model ranks no better than chance, is left out and
    the reason says so.

    Parameters
    ----------
    outcome, risk, group : shape (training cases,); ``risk`` by models that did not see the case's group.
    """
    if model in LEFT_AS_IT_IS:
        return Choice.none(LEFT_AS_IT_IS[model])
    losses = {"none": _log_loss(outcome, risk)}
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(risk, outcome, group))
    failed = ""
    for kind, fit in FITS.items():
        crossed = np.empty_like(risk)
        try:
            for others, held_out in folds:
                fitted = fit(outcome[others], risk[others], fitted_on=FITTED_ON)
                crossed[held_out] = fitted.apply(risk[held_out])
        except ValueError as error:  # the statistic's own word that there is nothing to fit
            failed += f"; {kind} cannot be fitted on every fold ({error})"
        else:
            losses[kind] = _log_loss(outcome, crossed)
    best = min(losses, key=losses.__getitem__)
    if best == "none":
        return Choice("none", f"no candidate lowers the cross-fitted log loss{failed}", losses)
    fitted = FITS[best](outcome, risk, fitted_on=FITTED_ON)
    return Choice(best, f"lowest cross-fitted log loss{failed}", losses, fitted)


def _log_loss(outcome: NDArray[np.bool_], risk: Floats) -> float:
    return float(-np.log(np.where(outcome, risk, 1 - risk)).mean())
