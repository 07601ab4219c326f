"""A recalibration as it was fitted, applied to further risks; no solver is loaded for that."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recalibration:
    """How to mend a risk, and on which population that was learnt.

    ``temperature`` and ``platt``: logit(new) = intercept + slope * logit(risk), temperature = 1 / slope.
    ``isotonic``: straight lines through ``knots``, pairs of risk and new risk.
    """

    kind: str
    fitted_on: str
    cases: int
    events: int
    intercept: float = 0.0
    slope: float = 1.0
    knots: tuple[tuple[float, float], ...] = ()

    @property
    def temperature(self) -> float:
        """What the log-odds are divided by; above 1 makes risks less extreme."""
        return 1 / self.slope

    def apply(self, risk: ArrayLike) -> Floats:
        """The mended risks, shape (n,). The order of risks stays; 0 and 1 stay except under isotonic."""
        risk = np.asarray(risk, dtype=np.float64)
        if self.kind == "isotonic":
            return np.interp(risk, *np.transpose(self.knots))
        return expit(self.intercept + self.slope * logit(risk))

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON; written and read back it gives the same floats."""
        return {**asdict(self), "knots": [list(knot) for knot in self.knots]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Recalibration":
        """The record that ``to_json`` gave."""
        return cls(**{**fields, "knots": tuple((float(x), float(y)) for x, y in fields["knots"])})
